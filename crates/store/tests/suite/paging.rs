//! Paging visits every object once, in order, whatever the data.

use model::Timestamp;
use model::baremetal::Node;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use store::{Batch, Query};

use crate::things::{create, node, project};
use crate::world::{World, on_each};

const KEYS: [&str; 6] = ["id", "name", "created_at", "updated_at", "project_id", "resource_class"];

#[derive(Clone, Debug)]
struct Row {
    id: String,
    name: String,
    owner: Option<String>,
    class: Option<String>,
    created: i64,
    updated: Option<i64>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let few = || prop::sample::select(vec!["", "a", "A", "b", "é", "aa", "a b", "~"]).prop_map(str::to_owned);
    let row = ("[a-cA-C]{1,6}", few(), prop::option::of("[pq]"), prop::option::of(few()), 0..4_i64, prop::option::of(1..4_i64));
    let row = row.prop_map(|(id, name, owner, class, created, updated)| Row { id, name, owner, class, created, updated });
    prop::collection::vec(row, 0..14).prop_map(|mut rows| {
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows.dedup_by(|a, b| a.id == b.id);
        rows
    })
}

/// What the objects sort by: numbers before text, none as the smallest of its sort.
fn key(row: &Row, by: &str) -> (i64, String) {
    match by {
        "id" => (0, row.id.clone()),
        "name" => (0, row.name.clone()),
        "created_at" => (row.created, String::new()),
        "updated_at" => (row.updated.unwrap_or(0), String::new()),
        "project_id" => (0, row.owner.clone().unwrap_or_default()),
        _ => (0, row.class.clone().unwrap_or_default()),
    }
}

async fn check(world: &World, rows: &[Row], by: &str, down: bool, page: u32, owner: bool, back: bool) -> Result<(), TestCaseError> {
    let store = &world.store;
    world.raw("DELETE FROM r_node").await;
    let mut batch = Batch::wishes();
    for row in rows {
        let mut it = node(&row.name, row.class.as_deref());
        it.id = model::Id::parse(&row.id).unwrap();
        it.project_id = row.owner.as_deref().map(project);
        it.created_at = Timestamp(row.created);
        it.updated_at = row.updated.map(Timestamp);
        batch = batch.create(&it);
    }
    store.apply(batch).await.unwrap();
    let mut expected: Vec<&Row> = rows.iter().filter(|row| !owner || row.owner.as_deref() == Some("p")).collect();
    expected.sort_by_key(|row| (key(row, by), row.id.clone()));
    if down {
        expected.reverse();
    }
    let expected: Vec<&str> = expected.iter().map(|row| row.id.as_str()).collect();

    let mut seen: Vec<String> = Vec::new();
    loop {
        let mut query = Query::<Node>::new().sort(by, down).limit(page);
        if owner {
            query = query.project(&project("p"));
        }
        query = query.backwards(back);
        if let Some(last) = if back { seen.first() } else { seen.last() } {
            query = query.after(&model::Id::parse(last).unwrap());
        }
        let found = store.list(&query).await.unwrap();
        prop_assert!(found.len() <= page as usize);
        if found.is_empty() {
            break;
        }
        let found = found.iter().map(|it| it.id.to_string());
        // Backwards the last page comes first, each in the order of the whole.
        let at = if back { 0 } else { seen.len() };
        seen.splice(at..at, found);
        prop_assert!(seen.len() <= expected.len(), "pages overlap: {seen:?}");
    }
    prop_assert_eq!(seen, expected);
    Ok(())
}

#[test]
fn pages_visit_each_object_once_in_order() {
    on_each(async |world| {
        let seed = crate::seed();
        let config =
            Config { cases: 60, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(seed), ..Config::default() };
        let case = (rows(), prop::sample::select(KEYS.to_vec()), any::<bool>(), 1..5_u32, any::<bool>(), any::<bool>());
        let outcome = tokio::task::block_in_place(|| {
            TestRunner::new(config).run(&case, |(rows, by, down, page, owner, back)| {
                tokio::runtime::Handle::current().block_on(check(world, &rows, by, down, page, owner, back))
            })
        });
        if let Err(error) = outcome {
            panic!("on {}, seed {seed}: {error}", world.name());
        }
    });
}

#[test]
fn a_marker_that_is_not_there_ends_the_list() {
    on_each(async |world| {
        create(&world.store, &node("a", None)).await;
        let found = world.store.list(&Query::<Node>::new().after(&model::Id::random())).await.unwrap();
        assert!(found.is_empty());
    });
}

#[test]
fn a_marker_may_be_an_object_that_is_being_removed() {
    on_each(async |world| {
        let store = &world.store;
        let nodes = [node("a", None), node("b", None), node("c", None)];
        for it in &nodes {
            create(store, it).await;
        }
        store.apply(Batch::wishes().mark_deleted(&nodes[1])).await.unwrap();
        let found = store.list(&Query::<Node>::new().sort("name", false).after(&nodes[1].id)).await.unwrap();
        assert_eq!(found.into_iter().map(|it| it.name).collect::<Vec<_>>(), ["c"]);
    });
}
