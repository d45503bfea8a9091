//! The work queue: leases, wakes, attempts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::net::Network;
use model::{Id, Timestamp};
use store::{Batch, Claim, Outcome, Store, StoreError};

use crate::things::{create, kind_of, network, read};
use crate::world::{World, on_each, on_postgres};

const LONG: Duration = Duration::from_secs(600);

async fn wake(store: &Store, id: &Id<Network>) {
    store.apply(Batch::wishes().wake(id)).await.unwrap();
}

async fn claim(store: &Store, worker: &str) -> Option<Claim> {
    store.claim(worker, LONG).await.unwrap()
}

fn is_lost(result: Result<(), StoreError>) -> bool {
    kind_of(&result) == "lease lost"
}

#[test]
fn a_piece_of_work_is_held_by_one_worker_at_a_time() {
    on_each(async |world| {
        let pieces: HashSet<String> = (0..40).map(|_| Id::<Network>::random().to_string()).collect();
        for id in &pieces {
            wake(&world.store, &Id::parse(id).unwrap()).await;
        }
        let held: Arc<Mutex<HashSet<String>>> = Arc::default();
        let done: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let workers: Vec<_> = (0..8)
            .map(|at| {
                let (store, held, done, total) = (world.store.clone(), Arc::clone(&held), Arc::clone(&done), pieces.len());
                tokio::spawn(async move {
                    let me = format!("worker {at}");
                    // Each piece is due three times.
                    while done.lock().unwrap().values().filter(|times| **times >= 3).count() < total {
                        let Some(claim) = store.claim(&me, LONG).await.unwrap() else {
                            tokio::time::sleep(Duration::from_millis(2)).await;
                            continue;
                        };
                        assert!(held.lock().unwrap().insert(claim.id.clone()), "{} is held twice", claim.id);
                        tokio::time::sleep(Duration::from_millis(at % 3)).await;
                        store.apply(Batch::facts(&claim)).await.unwrap();
                        let times = {
                            let mut done = done.lock().unwrap();
                            let times = done.entry(claim.id.clone()).or_default();
                            *times += 1;
                            *times
                        };
                        assert!(held.lock().unwrap().remove(&claim.id));
                        let outcome = if times < 3 { Outcome::Again(Duration::ZERO) } else { Outcome::Gone };
                        store.finish(&claim, outcome).await.unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        assert!(done.lock().unwrap().values().all(|times| *times == 3), "nothing was done after it was gone: {:?}", done.lock().unwrap());
        assert_eq!(world.raw_number("SELECT COUNT(*) FROM work").await, 0);
    });
}

#[test]
fn one_claim_takes_one_piece() {
    on_each(async |world| {
        for _ in 0..5 {
            wake(&world.store, &Id::random()).await;
        }
        for taken in 1..=5 {
            assert!(claim(&world.store, "w").await.is_some());
            assert_eq!(world.raw_number("SELECT COUNT(*) FROM work WHERE worker IS NOT NULL").await, taken);
        }
        assert!(claim(&world.store, "w").await.is_none());
    });
}

#[test]
fn the_most_overdue_comes_first_and_what_is_not_due_does_not_come() {
    on_each(async |world| {
        let (first, second) = (Id::<Network>::random(), Id::<Network>::random());
        wake(&world.store, &first).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        wake(&world.store, &second).await;
        let one = claim(&world.store, "w").await.unwrap();
        assert_eq!((one.kind.as_str(), one.id.as_str(), one.attempts), ("network", first.as_str(), 0));
        world.store.finish(&one, Outcome::Again(LONG)).await.unwrap();
        assert_eq!(claim(&world.store, "w").await.unwrap().id, second.as_str());
        assert!(claim(&world.store, "w").await.is_none());
        // A wake brings forward what is not due yet.
        wake(&world.store, &first).await;
        assert_eq!(claim(&world.store, "w").await.unwrap().id, first.as_str());
    });
}

#[test]
fn a_wake_during_a_claim_makes_it_due_at_once() {
    on_each(async |world| {
        for outcome in [Outcome::Again(LONG), Outcome::Failed(LONG)] {
            let id = Id::<Network>::random();
            wake(&world.store, &id).await;
            let held = claim(&world.store, "w").await.unwrap();
            wake(&world.store, &id).await;
            assert!(claim(&world.store, "v").await.is_none(), "a wake does not take it from its worker");
            world.store.finish(&held, outcome).await.unwrap();
            let again = claim(&world.store, "v").await.unwrap();
            assert_eq!(again.id, id.as_str());
            world.store.finish(&again, Outcome::Again(LONG)).await.unwrap();
            assert!(claim(&world.store, "v").await.is_none(), "once is enough");
        }
    });
}

#[test]
fn an_expired_lease_hands_the_work_on_and_shuts_its_old_holder_out() {
    on_each(async |world| {
        let store = &world.store;
        let net = network("net");
        create(store, &net).await;
        wake(store, &net.id).await;
        let old = claim(store, "old").await.unwrap();
        assert!(claim(store, "new").await.is_none());
        // Its time runs out, of which its holder knows nothing.
        world.raw("UPDATE work SET lease_until = 1 WHERE worker IS NOT NULL").await;
        let new = claim(store, "new").await.unwrap();
        assert_eq!(new.id, old.id);

        assert!(is_lost(store.apply(Batch::facts(&old).observe(&net).hold("vlan", "1", "x")).await));
        assert!(is_lost(store.renew(&old, LONG).await));
        for outcome in [Outcome::Again(Duration::ZERO), Outcome::Failed(Duration::ZERO), Outcome::Gone] {
            assert!(is_lost(store.finish(&old, outcome).await), "{outcome:?} on {}", world.name());
        }
        assert_eq!(read(store, &net.id).await.revision, 1);
        assert!(store.allocation("vlan", "1").await.unwrap().is_none());
        assert!(claim(store, "third").await.is_none(), "the new holder keeps it");
        store.apply(Batch::facts(&new).observe(&net)).await.unwrap();
        store.finish(&new, Outcome::Gone).await.unwrap();
        assert!(is_lost(store.finish(&new, Outcome::Gone).await), "a claim is finished once");
        assert!(is_lost(store.apply(Batch::facts(&new)).await));
        assert_eq!(world.raw_number("SELECT COUNT(*) FROM work").await, 0);
    });
}

#[test]
fn the_same_worker_does_not_mistake_an_earlier_claim_for_its_own() {
    on_each(async |world| {
        wake(&world.store, &Id::random()).await;
        let first = world.store.claim("w", Duration::from_millis(10)).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        let second = world.store.claim("w", LONG).await.unwrap().unwrap();
        assert!(is_lost(world.store.apply(Batch::facts(&first)).await));
        world.store.apply(Batch::facts(&second)).await.unwrap();
    });
}

#[test]
fn a_renewed_lease_does_not_expire() {
    on_each(async |world| {
        wake(&world.store, &Id::random()).await;
        let held = world.store.claim("w", Duration::from_millis(40)).await.unwrap().unwrap();
        world.store.renew(&held, LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert!(claim(&world.store, "v").await.is_none());
        world.store.apply(Batch::facts(&held)).await.unwrap();
    });
}

#[test]
fn voided_leases_are_free_and_void() {
    on_each(async |world| {
        let store = &world.store;
        for _ in 0..3 {
            wake(store, &Id::random()).await;
        }
        let before = [claim(store, "w").await.unwrap(), claim(store, "w").await.unwrap()];
        store.void_leases().await.unwrap();
        for held in &before {
            assert!(is_lost(store.apply(Batch::facts(held)).await));
            assert!(is_lost(store.finish(held, Outcome::Again(LONG)).await));
        }
        for _ in 0..3 {
            assert!(claim(store, "w").await.is_some());
        }
        assert!(claim(store, "w").await.is_none());
    });
}

#[test]
fn failures_in_a_row_are_counted() {
    on_each(async |world| {
        let store = &world.store;
        wake(store, &Id::random()).await;
        for expected in 0..4 {
            let held = claim(store, "w").await.unwrap();
            assert_eq!(held.attempts, expected);
            store.finish(&held, Outcome::Failed(Duration::ZERO)).await.unwrap();
        }
        let held = claim(store, "w").await.unwrap();
        store.finish(&held, Outcome::Again(Duration::ZERO)).await.unwrap();
        assert_eq!(claim(store, "w").await.unwrap().attempts, 0, "success ends the row");
    });
}

#[test]
fn what_is_gone_is_removed_unless_woken_meanwhile() {
    on_each(async |world| {
        let store = &world.store;
        let id = Id::<Network>::random();
        wake(store, &id).await;
        let held = claim(store, "w").await.unwrap();
        store.finish(&held, Outcome::Failed(Duration::ZERO)).await.unwrap();
        let held = claim(store, "w").await.unwrap();
        wake(store, &id).await;
        store.finish(&held, Outcome::Gone).await.unwrap();
        let held = claim(store, "w").await.expect("it was made anew, so it is looked at");
        assert_eq!(held.attempts, 0, "what is new has not failed yet");
        store.finish(&held, Outcome::Gone).await.unwrap();
        assert_eq!(world.raw_number("SELECT COUNT(*) FROM work").await, 0);
    });
}

#[test]
fn waiting_ends_with_a_wake_also_one_that_came_a_moment_before() {
    on_each(async |world| {
        let store = &world.store;
        // Nothing happens: the time runs out.
        let began = Instant::now();
        store.woken(Duration::from_millis(50)).await;
        assert!(began.elapsed() >= Duration::from_millis(50));
        // While waiting.
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.woken(Duration::from_secs(20)).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        wake(store, &Id::random()).await;
        waiting.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
        // Between the look that found nothing and the waiting.
        assert!(claim(store, "w").await.is_some());
        while claim(store, "w").await.is_some() {}
        wake(store, &Id::random()).await;
        let began = Instant::now();
        store.woken(Duration::from_secs(20)).await;
        assert!(began.elapsed() < Duration::from_secs(5), "the wake was lost");
    });
}

#[test]
fn several_workers_find_all_that_was_woken_without_waiting() {
    on_each(async |world| {
        let store = &world.store;
        let done: Arc<Mutex<u32>> = Arc::default();
        let workers: Vec<_> = (0..4)
            .map(|at| {
                let (store, done) = (store.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    loop {
                        while let Some(held) = store.claim(&format!("{at}"), LONG).await.unwrap() {
                            *done.lock().unwrap() += 1;
                            // A slow piece of work: others must not wait for this worker to come back.
                            tokio::time::sleep(Duration::from_secs(30)).await;
                            drop(held);
                        }
                        store.woken(Duration::from_secs(30)).await;
                    }
                })
            })
            .collect();
        let began = Instant::now();
        for _ in 0..4 {
            wake(store, &Id::random()).await;
        }
        while *done.lock().unwrap() < 4 {
            assert!(began.elapsed() < Duration::from_secs(10), "only {} of 4 were found on {}", done.lock().unwrap(), world.name());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        workers.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

#[test]
fn work_on_nodes_is_taken_by_their_own_group() {
    use model::baremetal::{Action, CONSOLE_WORK, NodeAction, NodeActionDesired, POWER_SYNC_WORK, power_sync_of};
    on_each(async |world| {
        let store = &world.store;
        let of_group = |group: &str| {
            let mut it = crate::things::node(group, None);
            it.desired.conductor_group = group.to_owned();
            it
        };
        let (none, rack) = (of_group(""), of_group("rack1"));
        let action =
            NodeActionDesired { node_id: rack.id.clone(), action: Action::InjectNmi, until: model::Timestamp::now(), unwatched: false };
        let action: model::Object<NodeAction> = model::Object::new(Id::random(), None, "", action);
        let net = network("net");
        for node in [&none, &rack] {
            create(store, node).await;
        }
        create(store, &action).await;
        let gone = Id::<model::baremetal::Node>::random();
        let batch = Batch::wishes().wake(&rack.id).wake(&none.id).wake(&action.id).wake(&gone).wake_named(CONSOLE_WORK, rack.id.as_str());
        let batch = batch.wake_named(POWER_SYNC_WORK, &power_sync_of("rack1")).wake_named(POWER_SYNC_WORK, &power_sync_of(""));
        store.apply(batch).await.unwrap();
        let all = async |group: &str| {
            let mut out = HashSet::new();
            while let Some(claim) = store.claim_within(group, "w", LONG).await.unwrap() {
                out.insert((claim.kind.clone(), claim.id));
            }
            out
        };
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(kind, id)| ((*kind).to_owned(), (*id).to_owned())).collect::<HashSet<_>>();
        assert_eq!(all("other").await, set(&[("node", gone.as_str())]), "what is left of a node that is gone is anybody's");
        assert_eq!(all("").await, set(&[("node", none.id.as_str()), (POWER_SYNC_WORK, "power_sync")]));
        // Work on what belongs to no group is taken by all.
        store.apply(Batch::wishes().wake(&net.id)).await.unwrap();
        assert_eq!(all("other").await, set(&[("network", net.id.as_str())]));
        // The node says whose it is: it has moved.
        let mut moved = read(store, &rack.id).await;
        moved.desired.conductor_group = "rack2".into();
        store.apply(Batch::wishes().want(&moved)).await.unwrap();
        assert_eq!(all("rack1").await, set(&[(POWER_SYNC_WORK, "power_sync:rack1")]));
        let of_rack = [("node", rack.id.as_str()), ("node_action", action.id.as_str()), (CONSOLE_WORK, rack.id.as_str())];
        assert_eq!(all("rack2").await, set(&of_rack));
        assert!(store.claim("any", LONG).await.unwrap().is_none());
    });
}

/// Has the clock of the database wrong by so many seconds, for those who connect from now on.
async fn turn(world: &World, seconds: i32) {
    world
        .raw(&format!(
            "CREATE TABLE IF NOT EXISTS turned (seconds DOUBLE PRECISION NOT NULL); DELETE FROM turned; INSERT INTO turned VALUES ({seconds}); \
             CREATE OR REPLACE FUNCTION public.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS \
             'SELECT pg_catalog.statement_timestamp() + make_interval(secs => (SELECT seconds FROM public.turned))'; \
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$"
        ))
        .await;
}

#[test]
fn where_several_share_a_database_its_clock_counts_and_not_theirs() {
    on_postgres(async |world| {
        turn(world, 3_600).await;
        let store = Store::open(&world.url).await.unwrap();
        let id = Id::<Network>::random();
        wake(&store, &id).await;
        let ahead = store.now().await.unwrap().seconds_since(Timestamp::now());
        assert!((3_599.0..3_601.0).contains(&ahead), "{ahead}");
        let held = claim(&store, "w").await.expect("what was woken is due");
        assert!(claim(&store, "v").await.is_none());
        store.renew(&held, LONG).await.unwrap();
        assert_eq!(store.work_counts().await.unwrap()[0].held, 1);

        // It was set forward: the lease is over.
        turn(world, 3_600 + 601).await;
        let held = claim(&store, "v").await.expect("its lease is over");
        store.finish(&held, Outcome::Again(LONG)).await.unwrap();
        assert!(claim(&store, "v").await.is_none());
        turn(world, 3_600 + 2 * 601).await;
        assert!(claim(&store, "w").await.is_some(), "it is due again");

        // It was set back: whoever notices shortens the leases and wakes what is to be done.
        turn(world, 0).await;
        wake(&store, &id).await;
        assert!(claim(&store, "v").await.is_none());
        store.shorten_leases(Duration::from_millis(1_500)).await.unwrap();
        assert!(claim(&store, "v").await.is_none(), "who works can still renew it");
        tokio::time::sleep(Duration::from_millis(1_700)).await;
        assert!(claim(&store, "v").await.is_some());
    });
}

#[test]
fn leases_that_end_in_time_are_not_shortened() {
    on_each(async |world| {
        wake(&world.store, &Id::random()).await;
        let held = world.store.claim("w", Duration::from_millis(200)).await.unwrap().unwrap();
        assert!(held.asked.elapsed() < Duration::from_secs(60) && held.worker() == "w");
        world.store.shorten_leases(LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(claim(&world.store, "v").await.is_some(), "it was made longer");
    });
}
