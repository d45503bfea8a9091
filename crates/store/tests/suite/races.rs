//! What many do at once ends as if they had done it one after another.

use std::time::Duration;

use model::Timestamp;
use model::net::{Network, Subnet};
use store::{Batch, Query, Store, StoreError};

use crate::things::{create, kind_of, network, read, subnet};
use crate::world::on_each;

/// Small numbers from a seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn new() -> (Self, u64) {
        let seed = crate::seed() | 1;
        (Self(seed), seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

async fn all(tasks: Vec<tokio::task::JoinHandle<Result<(), StoreError>>>) -> Vec<&'static str> {
    let mut ends = Vec::new();
    for task in tasks {
        let result = task.await.unwrap();
        if let Err(StoreError::Database(why)) = &result {
            panic!("not a lost race but a failure: {why}");
        }
        ends.push(kind_of(&result));
    }
    ends
}

#[test]
fn a_value_has_one_holder_however_many_try() {
    on_each(async |world| {
        for value in 0..6 {
            let tasks = (0..32).map(|at| {
                let store = world.store.clone();
                tokio::spawn(async move { store.apply(Batch::wishes().hold("vlan", &format!("{value}"), &format!("holder {at}"))).await })
            });
            let ends = all(tasks.collect()).await;
            assert_eq!(ends.iter().filter(|it| **it == "ok").count(), 1, "value {value} on {}: {ends:?}", world.name());
            assert_eq!(ends.iter().filter(|it| **it == "taken").count(), 31);
            let winner = ends.iter().position(|it| *it == "ok").unwrap();
            let held = world.store.allocation("vlan", &format!("{value}")).await.unwrap().unwrap();
            assert_eq!(held.holder, format!("holder {winner}"));
        }
        assert_eq!(world.store.allocations("vlan").await.unwrap().len(), 6);
    });
}

#[test]
fn taking_the_first_free_gives_each_a_value_of_its_own() {
    on_each(async |world| {
        let tasks = (0..32).map(|at| {
            let store = world.store.clone();
            tokio::spawn(async move {
                loop {
                    let free = store.first_free("vlan", (0..32).map(|it| format!("{it:04}"))).await?.expect("as many values as tasks");
                    match store.apply(Batch::wishes().hold("vlan", &free, &format!("{at}"))).await {
                        Err(StoreError::Taken { .. }) => {}
                        other => return other,
                    }
                }
            })
        });
        assert!(all(tasks.collect()).await.iter().all(|it| *it == "ok"));
        assert_eq!(world.store.allocations("vlan").await.unwrap().len(), 32);
    });
}

#[test]
fn a_value_that_is_let_go_and_taken_again_is_never_held_twice() {
    on_each(async |world| {
        let store = &world.store;
        // 32 tasks hold, quarantine and free four values; each checks that nobody else has what it holds.
        store.apply(Batch::wishes().wake(&network("w").id)).await.unwrap();
        let claim = store.claim("w", Duration::from_secs(600)).await.unwrap().unwrap();
        let tasks = (0..32).map(|at| {
            let (store, claim) = (store.clone(), claim.clone());
            tokio::spawn(async move {
                let me = format!("{at}");
                for round in 0..6 {
                    let value = format!("{}", (at + round) % 4);
                    match store.apply(Batch::wishes().hold("pool", &value, &me)).await {
                        Ok(()) => {}
                        Err(StoreError::Taken { .. }) => continue,
                        Err(other) => return Err(other),
                    }
                    assert_eq!(store.allocation("pool", &value).await?.map(|it| it.holder).as_deref(), Some(me.as_str()));
                    store.apply(Batch::facts(&claim).quarantine("pool", &value, Timestamp::now())).await?;
                    let now = store.allocation("pool", &value).await?.unwrap();
                    assert!(now.holder == me && now.quarantined_at.is_some());
                    store.apply(Batch::facts(&claim).free("pool", &value)).await?;
                }
                Ok(())
            })
        });
        assert!(all(tasks.collect()).await.iter().all(|it| *it == "ok"));
        assert!(store.allocations("pool").await.unwrap().is_empty());
    });
}

#[test]
fn of_those_that_change_one_version_one_succeeds() {
    on_each(async |world| {
        let net = network("net");
        create(&world.store, &net).await;
        for round in 0..4 {
            let now = read(&world.store, &net.id).await;
            let tasks = (0..16).map(|at| {
                let (store, mut mine) = (world.store.clone(), now.clone());
                mine.name = format!("{at}");
                tokio::spawn(async move { store.apply(Batch::wishes().want(&mine)).await })
            });
            let ends = all(tasks.collect()).await;
            assert_eq!(ends.iter().filter(|it| **it == "ok").count(), 1, "round {round}: {ends:?}");
            assert_eq!(ends.iter().filter(|it| **it == "stale").count(), 15);
        }
        assert_eq!(read(&world.store, &net.id).await.revision, 5);
    });
}

#[test]
fn a_child_is_never_left_without_its_parent() {
    on_each(async |world| {
        let (mut dice, seed) = Dice::new();
        let (mut children, mut removals) = (0, 0);
        for round in 0..200 {
            let net = network("net");
            create(&world.store, &net).await;
            let sub = subnet(&net.id);
            let pause = |dice: &mut Dice| Duration::from_micros(dice.below(4) * dice.below(400));
            let (before_child, before_removal) = (pause(&mut dice), pause(&mut dice));
            let (store, id) = (world.store.clone(), net.id.clone());
            let child = tokio::spawn(async move {
                tokio::time::sleep(before_child).await;
                store.apply(Batch::wishes().require(&id).create(&sub)).await
            });
            let (store, parent) = (world.store.clone(), net.clone());
            // The two ways in which the API removes: at once, or by asking the engine to.
            let asks = dice.below(2) == 0;
            let removal = tokio::spawn(async move {
                tokio::time::sleep(before_removal).await;
                let batch = Batch::wishes().unless_referenced::<Subnet>("network_id", parent.id.as_str());
                store.apply(if asks { batch.mark_deleted(&parent) } else { batch.remove(&parent) }).await
            });
            let ends = all(vec![child, removal]).await;
            match ends.as_slice() {
                ["ok", "referenced"] => children += 1,
                ["stale", "ok"] => removals += 1,
                other => panic!("on {}, seed {seed}, round {round}: {other:?}", world.name()),
            }
        }
        assert_eq!(world.store.count(&Query::<Subnet>::new()).await.unwrap(), children);
        assert!(children > 0 && removals > 0, "seed {seed}: no race took place ({children}, {removals})");
    });
}

#[test]
fn sixty_four_at_once_on_the_same_few_rows_all_get_through() {
    on_each(async |world| {
        let nets = [network("a"), network("b"), network("c")];
        for net in &nets {
            create(&world.store, net).await;
        }
        let (mut dice, _) = Dice::new();
        let tasks: Vec<_> = (0..64)
            .map(|at| {
                // In any order, so that they also deadlock.
                let (first, second) = (dice.below(3), 1 + dice.below(2));
                let one = nets[usize::try_from(first).unwrap()].id.clone();
                let two = nets[usize::try_from((first + second) % 3).unwrap()].id.clone();
                let store = world.store.clone();
                tokio::spawn(async move {
                    let sub = subnet(&one);
                    store.apply(Batch::wishes().require(&one).hold("ip", &format!("{at}"), "x").require(&two).create(&sub).wake(&one)).await
                })
            })
            .collect();
        // Reads are not shut out meanwhile.
        for _ in 0..20 {
            tokio::time::timeout(Duration::from_secs(5), world.store.get(&nets[0].id)).await.expect("reads are not starved").unwrap();
        }
        assert!(all(tasks).await.iter().all(|it| *it == "ok"));
        assert_eq!(world.store.allocations("ip").await.unwrap().len(), 64);
        assert_eq!(world.store.count(&Query::<Subnet>::new()).await.unwrap(), 64);
    });
}

#[test]
fn of_many_at_once_those_that_fail_take_no_other_with_them() {
    on_each(async |world| {
        let (mut dice, seed) = Dice::new();
        let net = network("net");
        create(&world.store, &net).await;
        world.store.apply(Batch::wishes().hold("pool", "taken", "x")).await.unwrap();
        let (mut tasks, mut expected) = (Vec::new(), Vec::new());
        for at in 0..200 {
            let sub = subnet(&net.id);
            let batch = Batch::wishes().bump("counted").create(&sub).hold("pool", &format!("{at}"), "x").wake(&sub.id);
            // What fails does so when most of it is done.
            let (batch, end) = match dice.below(4) {
                0 => (batch.hold("pool", "taken", "x"), "taken"),
                1 => (batch.create(&net), "exists"),
                2 => (batch.require(&network("nobody").id), "stale"),
                _ => (batch, "ok"),
            };
            let store = world.store.clone();
            tasks.push(tokio::spawn(async move { (store.apply(batch).await, sub.id) }));
            expected.push(end);
        }
        let mut done = 0;
        for (at, (task, expected)) in tasks.into_iter().zip(expected).enumerate() {
            let (result, id) = task.await.unwrap();
            assert_eq!(kind_of(&result), expected, "on {}, seed {seed}, task {at}", world.name());
            let there = world.store.get(&id).await.unwrap().is_some();
            assert_eq!(there, expected == "ok", "on {}, seed {seed}, task {at}", world.name());
            done += i64::from(there);
        }
        assert_eq!(world.store.counter("counted").await.unwrap(), done, "on {}, seed {seed}", world.name());
        assert_eq!(world.store.usage("subnet", "finance").await.unwrap(), done);
        assert_eq!(i64::try_from(world.store.allocations("pool").await.unwrap().len()).unwrap(), done + 1);
        assert_eq!(world.raw_number("SELECT COUNT(*) FROM work").await, done);
    });
}

#[test]
fn callers_that_give_up_leave_nothing_half_done_and_nothing_open() {
    on_each(async |world| {
        let store = &world.store;
        let (mut dice, seed) = Dice::new();
        for round in 0..60 {
            let (net, value) = (network("net"), format!("{round}"));
            let sub = subnet(&net.id);
            let batch = Batch::wishes().hold("vlan", &value, "x").create(&net).create(&sub).wake(&net.id);
            let patience = Duration::from_micros(dice.below(3_000));
            // Either way is right: what counts is that all of it happened or none.
            drop(tokio::time::timeout(patience, store.apply(batch)).await);
            settle(store, &value, &net, &sub).await.unwrap_or_else(|why| panic!("on {}, seed {seed}, round {round}: {why}", world.name()));
        }
        if world.is_postgres() {
            let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
            for _ in 0..50 {
                if world.raw_number(open).await == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(world.raw_number(open).await, 0, "a transaction was left open");
        }
    });
}

/// Waits until what a caller that gave up had asked is done whole, or fails.
async fn settle(store: &Store, value: &str, net: &model::Object<Network>, sub: &model::Object<Subnet>) -> Result<(), String> {
    let mut last = (false, false, false);
    for _ in 0..100 {
        let held = store.allocation("vlan", value).await.unwrap().is_some();
        let there = (held, store.get(&net.id).await.unwrap().is_some(), store.get(&sub.id).await.unwrap().is_some());
        if (there == (true, true, true) || there == (false, false, false)) && there == last {
            return Ok(());
        }
        last = there;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(format!("half done: {last:?}"))
}
