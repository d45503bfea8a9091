//! Batches: whole or not at all; allocations; history; settings.

use std::time::Duration;

use model::Timestamp;
use model::net::{Network, Subnet};
use serde_json::json;
use store::{Batch, Claim, Facts, Query, Severity, Store};

use crate::things::{create, kind_of, network, read, subnet};
use crate::world::on_each;

async fn claim(store: &Store) -> Claim {
    let it = network("claimed");
    store.apply(Batch::wishes().wake(&it.id)).await.unwrap();
    store.claim("w", Duration::from_secs(60)).await.unwrap().unwrap()
}

#[test]
fn a_batch_whose_last_step_fails_changes_nothing() {
    on_each(async |world| {
        let store = &world.store;
        let (old, new) = (network("old"), network("new"));
        create(store, &old).await;
        store.apply(Batch::wishes().hold("vlan", "0100", "x").hold("vlan", "0101", "y")).await.unwrap();
        let claim = claim(store).await;
        let mut renamed = old.clone();
        renamed.name = "renamed".into();
        let almost = || -> Batch<Facts> {
            Batch::facts(&claim)
                .create(&new)
                .want(&renamed)
                .hold("vlan", "0102", "z")
                .free("vlan", "0100")
                .quarantine("vlan", "0101", Timestamp(9))
                .history(&old.id, Severity::Info, "renamed", &json!({}))
                .wake(&new.id)
        };
        let failing = [
            ("taken", almost().hold("vlan", "0101", "w")),
            ("stale", almost().require(&network("nobody").id)),
            ("stale", almost().remove(&network("nobody"))),
            ("exists", almost().create(&new)),
            ("referenced", almost().create(&subnet(&old.id)).unless_referenced::<Subnet>("network_id", old.id.as_str())),
        ];
        for (why, batch) in failing {
            assert_eq!(kind_of(&store.apply(batch).await), why);
            assert!(store.get(&new.id).await.unwrap().is_none());
            assert_eq!(read(store, &old.id).await.name, "old");
            assert_eq!(read(store, &old.id).await.revision, 1);
            let held = store.allocations("vlan").await.unwrap();
            assert_eq!(held.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["0100", "0101"]);
            assert!(held.iter().all(|it| it.quarantined_at.is_none()));
            assert!(store.history("network", old.id.as_str(), 10).await.unwrap().is_empty());
            assert!(store.claim("w2", Duration::from_secs(1)).await.unwrap().is_none(), "the wake was undone");
            assert_eq!(store.count(&Query::<Subnet>::new()).await.unwrap(), 0);
        }
        store.apply(almost()).await.unwrap();
        assert_eq!(read(store, &old.id).await.name, "renamed");
        assert_eq!(store.allocation("vlan", "0101").await.unwrap().unwrap().quarantined_at, Some(Timestamp(9)));
        assert!(store.allocation("vlan", "0100").await.unwrap().is_none());
        assert_eq!(store.allocation("vlan", "0102").await.unwrap().unwrap().holder, "z");
    });
}

#[test]
fn an_empty_batch_is_no_fault() {
    on_each(async |world| {
        let batch = Batch::wishes();
        assert!(batch.is_empty());
        world.store.apply(batch).await.unwrap();
    });
}

#[test]
fn a_value_in_quarantine_is_nobodys_and_taken() {
    on_each(async |world| {
        let store = &world.store;
        store.apply(Batch::wishes().hold("vlan", "0100", "x").hold("mac", "0100", "x")).await.unwrap();
        assert_eq!(kind_of(&store.apply(Batch::wishes().hold("vlan", "0100", "x")).await), "taken");
        let claim = claim(store).await;
        store.apply(Batch::facts(&claim).quarantine("vlan", "0100", Timestamp(5))).await.unwrap();
        store.apply(Batch::facts(&claim).quarantine("vlan", "0100", Timestamp(6))).await.unwrap();
        assert_eq!(store.allocation("vlan", "0100").await.unwrap().unwrap().quarantined_at, Some(Timestamp(5)), "the first moment counts");
        assert_eq!(store.allocation("mac", "0100").await.unwrap().unwrap().quarantined_at, None, "pools do not mix");
        assert_eq!(kind_of(&store.apply(Batch::wishes().hold("vlan", "0100", "y")).await), "taken");
        let candidates = || ["0100", "0101"].map(str::to_owned).into_iter();
        assert_eq!(store.first_free("vlan", candidates()).await.unwrap().as_deref(), Some("0101"));
        store.apply(Batch::wishes().free("vlan", "0100")).await.unwrap();
        assert_eq!(store.first_free("vlan", candidates()).await.unwrap().as_deref(), Some("0100"));
        store.apply(Batch::wishes().hold("vlan", "0100", "y").hold("vlan", "0101", "y").hold("vlan", "0102", "z")).await.unwrap();
        assert_eq!(store.first_free("vlan", candidates()).await.unwrap(), None);
        store.apply(Batch::wishes().free_held("vlan", "y")).await.unwrap();
        let left = store.allocations("vlan").await.unwrap();
        assert_eq!(left.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["0102"]);
        assert!(store.allocation("mac", "0100").await.unwrap().is_some());
    });
}

#[test]
fn require_and_unless_referenced() {
    on_each(async |world| {
        let store = &world.store;
        let net = network("net");
        create(store, &net).await;
        store.apply(Batch::wishes().require(&net.id).unless_referenced::<Subnet>("network_id", net.id.as_str())).await.unwrap();
        assert_eq!(read(store, &net.id).await.revision, 1, "requiring an object does not make others' copies of it stale");
        let sub = subnet(&net.id);
        create(store, &sub).await;
        let remove = || Batch::wishes().unless_referenced::<Subnet>("network_id", net.id.as_str()).remove(&net);
        assert_eq!(kind_of(&store.apply(remove()).await), "referenced");
        // One that is being removed still refers.
        store.apply(Batch::wishes().mark_deleted(&sub)).await.unwrap();
        assert_eq!(kind_of(&store.apply(remove()).await), "referenced");
        store.apply(Batch::wishes().remove(&read(store, &sub.id).await)).await.unwrap();
        store.apply(remove()).await.unwrap();
        assert_eq!(kind_of(&store.apply(Batch::wishes().require(&net.id)).await), "stale");
    });
}

#[test]
fn history_is_newest_first_in_the_order_written() {
    on_each(async |world| {
        let store = &world.store;
        let (one, other) = (network("one"), network("other"));
        let mut batch = Batch::wishes().history(&other.id, Severity::Error, "elsewhere", &json!(null));
        for at in 0..20 {
            batch = batch.history(&one.id, Severity::Warning, &format!("event {at}"), &json!({"vlan": at}));
        }
        store.apply(batch).await.unwrap();
        let lines = store.history("network", one.id.as_str(), 5).await.unwrap();
        let events: Vec<&str> = lines.iter().map(|it| it.event.as_str()).collect();
        assert_eq!(events, ["event 19", "event 18", "event 17", "event 16", "event 15"]);
        assert_eq!((lines[0].severity.as_str(), &lines[0].detail), ("WARNING", &json!({"vlan": 19})));
        assert!(Timestamp::now().seconds_since(lines[0].at).abs() < 60.0);
        assert_eq!(store.history("network", one.id.as_str(), 100).await.unwrap().len(), 20);
        assert_eq!(store.history("subnet", one.id.as_str(), 100).await.unwrap().len(), 0);
        assert_eq!(store.history("network", other.id.as_str(), 100).await.unwrap().len(), 1);
    });
}

#[test]
fn of_those_that_race_for_a_setting_all_get_the_same() {
    on_each(async |world| {
        assert_eq!(world.store.setting("key").await.unwrap(), None);
        let racers: Vec<_> = (0..32)
            .map(|at| {
                let store = world.store.clone();
                tokio::spawn(async move { store.setting_or("key", &format!("value {at}")).await.unwrap() })
            })
            .collect();
        let mut got = Vec::new();
        for racer in racers {
            got.push(racer.await.unwrap());
        }
        assert!(got.iter().all(|it| *it == got[0]), "{got:?}");
        assert_eq!(world.store.setting("key").await.unwrap().as_deref(), Some(got[0].as_str()));
    });
}

#[test]
fn a_batch_may_be_large() {
    on_each(async |world| {
        let mut batch = Batch::wishes();
        for at in 0..500 {
            batch = batch.create(&network(&format!("net {at}")));
        }
        world.store.apply(batch).await.unwrap();
        let all = world.store.list(&Query::<Network>::new()).await.unwrap();
        assert_eq!(all.len(), 500);
        let ids: Vec<String> = all.iter().map(|it| it.id.to_string()).collect();
        assert_eq!(world.store.count(&Query::<Network>::new().ids(ids)).await.unwrap(), 500);
    });
}
