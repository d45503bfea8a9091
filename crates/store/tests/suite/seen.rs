//! Lists from memory: the same as those read, whoever changed what, in whichever process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Id;
use model::baremetal::Node;
use store::{Batch, Query, Seen, Store};

use crate::things::{create, node};
use crate::world::on_each;

/// What a list shows, whole.
fn told(node: &model::Object<Node>) -> String {
    format!("{} {} {:?} {:?} {node:?}", node.revision, node.created_at.0, node.updated_at, node.deleted_at)
}

async fn remembered(store: &Store, query: &Query<Node>) -> Vec<Arc<Seen<Node>>> {
    store.list_seen(query).await.unwrap()
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn pick(seed: &mut u64, of: usize) -> usize {
    usize::try_from(next(seed)).unwrap() % of.max(1)
}

/// Any change of any of them by one of two processes.
async fn change(store: &Store, seed: &mut u64, class: &[&str]) {
    let all = store.list(&Query::<Node>::new().with_deleted()).await.unwrap();
    let class = class[pick(seed, class.len())];
    let Some(mut it) = all.get(pick(seed, all.len())).cloned() else {
        return create(store, &node("first", Some(class))).await;
    };
    let batch = match next(seed) % 6 {
        0 => Batch::wishes().create(&node(&format!("n{}", next(seed)), Some(class))),
        1 => {
            it.desired.resource_class = Some(class.to_owned());
            it.desired.description = Some(format!("{}", next(seed)));
            Batch::wishes().want(&it)
        }
        2 => Batch::wishes().wake(&it.id).touch(&it.id),
        3 if !it.is_deleting() => Batch::wishes().mark_deleted(&it),
        4 => Batch::wishes().remove(&it),
        // The same id again, at the same revision as the one that was there at first.
        _ => {
            let mut again = node("again", Some(class));
            again.id = it.id.clone();
            store.apply(Batch::wishes().remove(&it)).await.unwrap();
            Batch::wishes().create(&again)
        }
    };
    match store.apply(batch).await {
        // Touching what is being removed.
        Err(store::StoreError::Stale { .. }) | Ok(()) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn whoever_changed_something_the_next_list_shows_it() {
    on_each(async |world| {
        let here = &world.store;
        let there = Store::open(&world.url).await.unwrap();
        let first = crate::seed();
        let mut seed = first;
        for number in 0..12 {
            create(here, &node(&format!("start{number}"), Some("gold"))).await;
        }
        for turn in 0..150 {
            let by = if next(&mut seed).is_multiple_of(2) { here } else { &there };
            change(by, &mut seed, &["gold", "iron"]).await;
            let marker = here.list(&Query::<Node>::new()).await.unwrap().get(2).map(|it| it.id.clone());
            let mut queries = vec![
                Query::<Node>::new(),
                Query::new().with_deleted().sort("id", true),
                Query::new().column("resource_class", ["gold".into()]),
                Query::new().sort("name", false).limit(4).backwards(true),
            ];
            queries.extend(marker.map(|it| Query::new().after(&it).limit(3)));
            for query in &queries {
                let read: Vec<String> = here.list(query).await.unwrap().iter().map(told).collect();
                let seen: Vec<String> = remembered(here, query).await.iter().map(|it| told(it)).collect();
                assert_eq!(seen, read, "seed {first}, turn {turn}");
            }
        }
    });
}

#[test]
fn what_did_not_change_is_neither_read_nor_rendered_again() {
    on_each(async |world| {
        let store = &world.store;
        for number in 0..6 {
            create(store, &node(&format!("n{number}"), None)).await;
        }
        let by_id = |all: &[Arc<Seen<Node>>]| -> BTreeMap<Id<Node>, *const Seen<Node>> {
            all.iter().map(|it| (it.id.clone(), Arc::as_ptr(it))).collect()
        };
        let before = remembered(store, &Query::new()).await;
        let mut changed = (**before[2]).clone();
        changed.desired.description = Some("other".into());
        store.apply(Batch::wishes().want(&changed)).await.unwrap();
        let after = remembered(store, &Query::new()).await;
        let (was, is) = (by_id(&before), by_id(&after));
        let other: Vec<&Id<Node>> = is.iter().filter(|it| was[it.0] != *it.1).map(|it| it.0).collect();
        assert_eq!(other, [&changed.id]);

        let view: Arc<str> = "names".into();
        let renders = |all: &[Arc<Seen<Node>>]| {
            let mut count = 0;
            for it in all {
                let bytes = it.view(&view, |node| {
                    count += 1;
                    format!("{} {:?}", node.name, node.desired.description).into_bytes()
                });
                assert_eq!(*bytes, *format!("{} {:?}", it.name, it.desired.description).into_bytes());
            }
            count
        };
        assert_eq!(renders(&before), 6);
        // Five of them are the same; the one that changed has nothing of what was rendered of it before.
        assert_eq!(renders(&after), 1);
        assert_eq!(renders(&remembered(store, &Query::new().sort("id", false)).await), 0);
    });
}

/// What changes while a list is put together is in it as it was at one moment: never one that the query would not find.
#[test]
fn lists_are_of_one_moment() {
    on_each(async |world| {
        let store = world.store.clone();
        let there = Store::open(&world.url).await.unwrap();
        for number in 0..20 {
            create(&store, &node(&format!("n{number}"), Some("gold"))).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = tokio::spawn(async move {
            let mut changes = 0_u32;
            while !stopped.load(Ordering::Relaxed) {
                for mut it in there.list(&Query::<Node>::new()).await.unwrap() {
                    let other = if it.desired.resource_class.as_deref() == Some("gold") { "iron" } else { "gold" };
                    it.desired.resource_class = Some(other.into());
                    there.apply(Batch::wishes().want(&it)).await.unwrap();
                    changes += 1;
                }
            }
            changes
        });
        for _ in 0..300 {
            for class in ["gold", "iron"] {
                for it in remembered(&store, &Query::new().column("resource_class", [class.to_owned()])).await {
                    assert_eq!(it.desired.resource_class.as_deref(), Some(class));
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writer.await.unwrap() > 0);
    });
}
