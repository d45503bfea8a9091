//! History does not grow for ever.

use std::time::Duration;

use serde_json::json;
use store::{Batch, Claim, HistoryOf, Severity, Store};

use crate::things::{create, kind_of, network, node, read};
use crate::world::on_each;

async fn claim(store: &Store) -> Claim {
    store.apply(Batch::wishes().wake_named("trim", "trim")).await.unwrap();
    store.claim("w", Duration::from_secs(60)).await.unwrap().unwrap()
}

async fn all(store: &Store) -> Vec<HistoryOf> {
    store.histories(None, 1000).await.unwrap()
}

async fn events(store: &Store, of: &HistoryOf) -> Vec<String> {
    store.history(&of.kind, &of.id, 10_000).await.unwrap().into_iter().map(|it| it.event).collect()
}

#[test]
fn each_history_is_told_once_with_how_much_it_is() {
    on_each(async |world| {
        let store = &world.store;
        let mut wanted = Vec::new();
        for at in 0..7_u32 {
            let one = node(&format!("n{at}"), None);
            create(store, &one).await;
            let line = |batch: Batch<_>, n| batch.history(&one.id, Severity::Info, &format!("event {n}"), &json!({}));
            store.apply((0..=at).fold(Batch::wishes(), line)).await.unwrap();
            if at % 3 == 2 {
                store.apply(Batch::wishes().remove(&read(store, &one.id).await)).await.unwrap();
            }
            wanted.push(("node".to_owned(), one.id.to_string(), u64::from(at) + 1, at % 3 == 2));
        }
        let net = network("n");
        store.apply(Batch::wishes().history(&net.id, Severity::Info, "never there", &json!({}))).await.unwrap();
        wanted.push(("network".into(), net.id.to_string(), 1, true));
        // Of a kind that is not known it is not known what is gone.
        world.raw("INSERT INTO history VALUES ('l', 'comet', 'halley', 7, 'INFO', 'came', '{}')").await;
        wanted.push(("comet".into(), "halley".into(), 1, false));
        wanted.sort();
        for page in [1, 2, 3, 100] {
            let mut told: Vec<HistoryOf> = Vec::new();
            loop {
                let after = told.last().map(|it| (it.kind.clone(), it.id.clone()));
                let next = store.histories(after.as_ref().map(|it| (it.0.as_str(), it.1.as_str())), page).await.unwrap();
                assert!(next.len() <= usize::try_from(page).unwrap());
                if next.is_empty() {
                    break;
                }
                told.extend(next);
            }
            let mut told: Vec<_> = told.into_iter().map(|it| (it.kind, it.id, it.lines, it.is_gone)).collect();
            told.sort();
            assert_eq!(told, wanted, "{page} at a time");
        }
        assert_eq!(all(store).await.iter().find(|it| it.kind == "comet").unwrap().newest.0, 7);
    });
}

#[test]
fn the_oldest_lines_go_and_no_others() {
    on_each(async |world| {
        let store = &world.store;
        let (one, other) = (node("one", None), node("other", None));
        for it in [&one, &other] {
            create(store, it).await;
            let line = |batch: Batch<_>, n| batch.history(&it.id, Severity::Info, &format!("{n}"), &json!({}));
            store.apply((0..1200).fold(Batch::wishes(), line)).await.unwrap();
        }
        // Lines of one moment are told apart by their ids.
        world.raw(&format!("UPDATE history SET at = 5 WHERE object_id = '{}' AND CAST(event AS INTEGER) < 4", one.id)).await;
        let of = all(store).await.into_iter().find(|it| it.id == one.id.as_str()).unwrap();
        let lease = claim(store).await;
        store.apply(Batch::facts(&lease).trim_history(&of, 2)).await.unwrap();
        assert_eq!(events(store, &of).await.len(), 1198);
        // What is written meanwhile is younger, and stays.
        store.apply(Batch::wishes().history(&one.id, Severity::Info, "late", &json!({}))).await.unwrap();
        store.apply(Batch::facts(&lease).trim_history(&of, 2).trim_history(&of, 1193)).await.unwrap();
        assert_eq!(events(store, &of).await, ["late", "1199", "1198", "1197"]);
        let untouched = HistoryOf { id: other.id.to_string(), ..of.clone() };
        assert_eq!(events(store, &untouched).await.len(), 1200);
        // Whoever lost its lease removes nothing.
        store.void_leases().await.unwrap();
        assert_eq!(kind_of(&store.apply(Batch::facts(&lease).trim_history(&of, 1)).await), "lease lost");
        assert_eq!(events(store, &of).await.len(), 4);
    });
}

#[test]
fn what_is_no_more_is_noted_once() {
    on_each(async |world| {
        let store = &world.store;
        let one = node("one", None);
        create(store, &one).await;
        store.apply(Batch::wishes().history(&one.id, Severity::Info, "made", &json!({}))).await.unwrap();
        let of = async || all(store).await.into_iter().next().unwrap();
        assert!(!of().await.is_gone && !of().await.is_noted);
        store.apply(Batch::wishes().remove(&read(store, &one.id).await)).await.unwrap();
        assert!(of().await.is_gone && !of().await.is_noted);
        let lease = claim(store).await;
        store.apply(Batch::facts(&lease).note_gone(&of().await)).await.unwrap();
        let noted = of().await;
        assert!(noted.is_gone && noted.is_noted && noted.lines == 2);
        assert_eq!(events(store, &noted).await, ["removed", "made"]);
        // One of the same id that is made anew is there again.
        create(store, &one).await;
        assert!(!of().await.is_gone);
        store.apply(Batch::wishes().remove(&read(store, &one.id).await)).await.unwrap();
        store.apply(Batch::facts(&lease).trim_history(&noted, 2)).await.unwrap();
        assert_eq!(all(store).await, []);
    });
}
