//! What only PostgreSQL can do to us: locks held by others, lines that break.

use std::time::Duration;

use store::{Batch, Query};

use crate::things::{create, network, read, subnet};
use crate::world::{World, on_postgres};

const OPEN: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";

async fn none_open(world: &World) {
    for _ in 0..100 {
        if world.raw_number(OPEN).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a transaction was left open");
}

#[test]
fn a_caller_that_gives_up_while_a_row_is_locked_leaves_no_transaction_in_the_pool() {
    on_postgres(async |world| {
        let net = network("net");
        create(&world.store, &net).await;
        let other = world.line().await;
        other.batch_execute("BEGIN; UPDATE r_network SET name = 'locked'").await.unwrap();
        // As many as there are lines in the pool, and more.
        let mut waiting = Vec::new();
        for at in 0..20 {
            let (store, mut mine) = (world.store.clone(), net.clone());
            mine.name = format!("{at}");
            let batch = Batch::wishes().hold("vlan", &format!("{at}"), "x").want(&mine);
            waiting.push(tokio::spawn(async move { store.apply(batch).await }));
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for task in waiting {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        other.batch_execute("ROLLBACK").await.unwrap();
        none_open(world).await;
        assert!(world.store.allocations("vlan").await.unwrap().is_empty(), "nothing of a batch that was given up is there");
        assert_eq!(read(&world.store, &net.id).await.name, "net");
        // And the pool is whole: more at once than it has lines.
        let tasks: Vec<_> = (0..30)
            .map(|_| {
                let (store, id) = (world.store.clone(), net.id.clone());
                tokio::spawn(async move { store.apply(Batch::wishes().create(&subnet(&id))).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        none_open(world).await;
    });
}

#[test]
fn lines_that_broke_are_replaced_unseen() {
    on_postgres(async |world| {
        let net = network("net");
        create(&world.store, &net).await;
        for round in 0..5 {
            let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE datname = current_database() AND application_name = 'cofferdam'";
            assert!(world.raw_number(cut).await > 0);
            if round % 2 == 0 {
                read(&world.store, &net.id).await;
            } else {
                world.store.apply(Batch::wishes().require(&net.id)).await.unwrap();
            }
            assert_eq!(world.store.count(&Query::<model::net::Network>::new()).await.unwrap(), 1);
        }
    });
}

#[test]
fn a_line_that_breaks_in_the_middle_of_a_batch_does_not_break_the_batch() {
    on_postgres(async |world| {
        let net = network("net");
        create(&world.store, &net).await;
        let other = world.line().await;
        other.batch_execute("BEGIN; UPDATE r_network SET name = 'locked'").await.unwrap();
        let store = world.store.clone();
        let (id, sub) = (net.id.clone(), subnet(&net.id));
        let batch = Batch::wishes().create(&sub).require(&id);
        let task = tokio::spawn(async move { store.apply(batch).await });
        let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'cofferdam' AND wait_event_type = 'Lock'";
        let began = std::time::Instant::now();
        while world.raw_number(cut).await == 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "the batch never waited for the lock");
        }
        other.batch_execute("ROLLBACK").await.unwrap();
        task.await.unwrap().unwrap();
        assert!(world.store.get(&sub.id).await.unwrap().is_some());
    });
}

#[test]
fn the_url_is_not_repeated_in_errors() {
    // No database is needed for this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for url in [
            "postgresql://u:hunter2@127.0.0.1:1/x",
            "postgresql://u:hunter2@[bad",
            "postgresql://u:hunter2@h/x?nonsense=1",
            "mysql://u:hunter2@h",
        ] {
            let error = store::Store::open(url).await.err().expect("cannot be opened");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    });
}
