//! The lowest free value of a pool: right whatever is held, and found as fast.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use store::{Batch, Picked, Store, StoreError};

use crate::world::{World, on_each, on_sqlite};

fn key(value: u128) -> String {
    format!("{value:08x}")
}

fn unkey(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok()
}

async fn pick(store: &Store, pool: &str, ranges: &[(u128, u128)]) -> Option<Picked> {
    store.pick(pool, ranges, key, unkey, &HashSet::new(), 0).await.unwrap()
}

async fn take(store: &Store, pool: &str, ranges: &[(u128, u128)]) -> Option<u128> {
    let picked = pick(store, pool, ranges).await?;
    store.apply(Batch::wishes().take(pool, &picked.key, "x")).await.unwrap();
    Some(picked.value)
}

async fn fill(store: &Store, pool: &str, values: impl Iterator<Item = u128>) {
    let mut values = values.peekable();
    while values.peek().is_some() {
        let some: Vec<_> = values.by_ref().take(1000).collect();
        store.apply(some.into_iter().fold(Batch::wishes(), |batch, it| batch.hold(pool, &key(it), "x"))).await.unwrap();
    }
}

#[test]
fn the_lowest_free_value_is_picked() {
    on_each(async |world| {
        let store = &world.store;
        let ranges = [(10, 12), (20, 300)];
        for expected in [10, 11, 12, 20] {
            assert_eq!(take(store, "ip:s", &ranges).await, Some(expected));
        }
        store.apply(Batch::wishes().hold("ip:s", &key(21), "y").hold("ip:s", &key(23), "y")).await.unwrap();
        assert_eq!(take(store, "ip:s", &ranges).await, Some(22));
        for expected in 24..=300 {
            assert_eq!(take(store, "ip:s", &ranges).await, Some(expected));
        }
        assert_eq!(take(store, "ip:s", &ranges).await, None);
        assert_eq!(take(store, "ip:t", &ranges).await, Some(10), "pools do not mix");
        assert!(world.raw_number("SELECT COUNT(*) FROM hint WHERE pool = 'ip:s'").await > 0, "there is a hint by now");
        store.apply(Batch::wishes().free("ip:s", &key(250)).give_back("ip:s", &key(11)).free_held("ip:s", "y")).await.unwrap();
        store.apply(Batch::wishes().free("ip:s", &key(400))).await.unwrap();
        for expected in [11, 21, 23, 250] {
            assert_eq!(take(store, "ip:s", &ranges).await, Some(expected));
        }
        assert_eq!(take(store, "ip:s", &ranges).await, None);
        // Held behind the picker's back, then let go: it was a hole and is one again.
        store.apply(Batch::wishes().free("ip:s", &key(30))).await.unwrap();
        store.apply(Batch::wishes().hold("ip:s", &key(30), "y")).await.unwrap();
        assert_eq!(take(store, "ip:s", &ranges).await, None);
        store.apply(Batch::wishes().free("ip:s", &key(30))).await.unwrap();
        assert_eq!(take(store, "ip:s", &ranges).await, Some(30));
        store.apply(Batch::wishes().forget_pool("ip:s")).await.unwrap();
        assert_eq!(world.raw_number("SELECT COUNT(*) FROM hint").await + world.raw_number("SELECT COUNT(*) FROM hole").await, 0);
        assert_eq!(take(store, "ip:s", &ranges).await, Some(10));
    });
}

#[test]
fn ranges_may_change_at_any_time() {
    on_each(async |world| {
        let store = &world.store;
        for expected in 1000..1100 {
            assert_eq!(take(store, "ip:s", &[(1000, 2000)]).await, Some(expected));
        }
        store.apply(Batch::wishes().free("ip:s", &key(1050))).await.unwrap();
        // Outside of what is asked for a hole is none.
        assert_eq!(take(store, "ip:s", &[(1060, 1100)]).await, Some(1100));
        assert_eq!(take(store, "ip:s", &[(1060, 1100)]).await, None);
        // Below the hint, and through it.
        for expected in (900..1000).chain([1050]).chain(1101..1110) {
            assert_eq!(take(store, "ip:s", &[(900, 2000)]).await, Some(expected));
        }
        for value in [905, 1001, 1105] {
            store.apply(Batch::wishes().free("ip:s", &key(value))).await.unwrap();
        }
        assert_eq!(take(store, "ip:s", &[(1000, 2000)]).await, Some(1001));
        assert_eq!(take(store, "ip:s", &[(1100, 2000)]).await, Some(1105));
        assert_eq!(take(store, "ip:s", &[(1100, 2000), (0, 910)]).await, Some(0));
        assert_eq!(take(store, "ip:s", &[(900, 2000)]).await, Some(905));
        assert_eq!(take(store, "ip:s", &[(900, 2000)]).await, Some(1110));
        assert_eq!(take(store, "ip:s", &[(5, 4)]).await, None);
        assert_eq!(take(store, "ip:s", &[]).await, None);
    });
}

#[test]
fn the_end_of_the_numbers_is_a_value_like_others() {
    on_each(async |world| {
        fn key(value: u128) -> String {
            format!("{value:032x}")
        }
        let ranges = [(u128::MAX - 39, u128::MAX)];
        let mut got = BTreeSet::new();
        loop {
            let Some(picked) = world.store.pick("seg:x", &ranges, key, unkey, &HashSet::new(), 0).await.unwrap() else { break };
            world.store.apply(Batch::wishes().hold("seg:x", &picked.key, "x")).await.unwrap();
            assert!(got.insert(picked.value));
        }
        assert_eq!(got.len(), 40);
    });
}

#[test]
fn values_on_their_way_are_not_picked_again() {
    on_each(async |world| {
        let store = &world.store;
        let ranges = [(0, 49)];
        let mut picked = Vec::new();
        while let Some(it) = pick(store, "ip:s", &ranges).await {
            picked.push(it);
        }
        assert_eq!(picked.iter().map(|it| it.value).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        assert_eq!(pick(store, "ip:t", &ranges).await.unwrap().value, 0);
        picked.remove(7);
        assert_eq!(pick(store, "ip:s", &ranges).await.unwrap().value, 7);
        let skip: HashSet<u128> = [7].into();
        assert!(store.pick("ip:s", &ranges, key, unkey, &skip, 0).await.unwrap().is_none());
        picked.clear();
        assert_eq!(store.pick("ip:s", &ranges, key, unkey, &(0..40).collect(), 0).await.unwrap().unwrap().value, 40);
        let spread: BTreeSet<u128> = {
            let mut all = BTreeSet::new();
            for _ in 0..60 {
                all.insert(store.pick("ip:s", &ranges, key, unkey, &skip, 5).await.unwrap().unwrap().value);
            }
            all
        };
        assert!(spread.len() > 1 && spread.iter().all(|it| *it < 5), "{spread:?}");
        fill(store, "ip:s", 0..49).await;
        assert_eq!(
            store.pick("ip:s", &ranges, key, unkey, &skip, 100).await.unwrap().unwrap().value,
            49,
            "the last one whatever the spread"
        );
    });
}

#[test]
fn values_that_are_passed_over_for_ever_do_not_make_it_slow() {
    on_each(async |world| {
        let store = &world.store;
        let skip: HashSet<u128> = (0..40).map(|it| it * 5).collect();
        for _ in 0..200 {
            let picked = store.pick("ip:s", &[(0, 1000)], key, unkey, &skip, 0).await.unwrap().unwrap();
            assert!(!skip.contains(&picked.value));
            store.apply(Batch::wishes().hold("ip:s", &picked.key, "x")).await.unwrap();
        }
        // All up to 240 is held but for those.
        assert_eq!(store.allocations("ip:s").await.unwrap().last().unwrap().value, key(239));
        let upto = world.raw_number("SELECT COUNT(*) FROM hint WHERE pool = 'ip:s' AND upto >= '000000c0'").await;
        assert_eq!(upto, 1, "the hint went past what was skipped");
        for expected in [0, 5, 10] {
            assert_eq!(take(store, "ip:s", &[(0, 1000)]).await, Some(expected), "who does not skip them gets them");
        }
    });
}

/// How long a value takes to be found and held, and given back.
async fn pace(store: &Store, pool: &str) -> Duration {
    let ranges = [(0, 65_535)];
    // The first looks along what was held before there was a hint.
    let mut mine: Vec<u128> = vec![take(store, pool, &ranges).await.unwrap()];
    let began = Instant::now();
    for round in 0..100 {
        let back = mine.remove(round % mine.len());
        store.apply(Batch::wishes().free(pool, &key(back))).await.unwrap();
        assert_eq!(take(store, pool, &ranges).await, Some(back), "the one given back is the lowest");
        mine.push(back);
        mine.push(take(store, pool, &ranges).await.unwrap());
    }
    began.elapsed()
}

#[test]
fn a_pool_that_is_half_full_is_as_fast_as_an_empty_one() {
    on_each(async |world| {
        let store = &world.store;
        fill(store, "ip:half", 0..32_768).await;
        // Other work on the machine may slow one of the two down, but not each time.
        let mut seen = Vec::new();
        for round in 0..4 {
            let (empty, half) = (pace(store, &format!("ip:empty {round}")).await, pace(store, "ip:half").await);
            if half < empty * 3 {
                return;
            }
            seen.push((empty, half));
        }
        panic!("on {}: empty and half full {seen:?}", world.name());
    });
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Pick from the range of that number.
    Pick(usize),
    /// Pick, but not this.
    PickBut(usize, u128),
    Hold(u128),
    Free(u128),
    /// Free all that was held under that name.
    FreeHeld(u128),
    Fill(u128, u128),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let value = || 0..220_u128;
    let deed = prop_oneof![
        6 => (0..4_usize).prop_map(Deed::Pick),
        1 => ((0..4_usize), value()).prop_map(|(range, not)| Deed::PickBut(range, not)),
        2 => value().prop_map(Deed::Hold),
        4 => value().prop_map(Deed::Free),
        1 => (0..3_u128).prop_map(Deed::FreeHeld),
        1 => (value(), 0..90_u128).prop_map(|(from, length)| Deed::Fill(from, from + length)),
    ];
    prop::collection::vec(deed, 1..60)
}

const RANGES: [&[(u128, u128)]; 4] = [&[(0, 200)], &[(50, 120)], &[(100, 200), (10, 30)], &[(0, 40), (41, 90)]];

/// The store does what a plain set would.
async fn alike(world: &World, pool: &str, deeds: &[Deed]) -> Result<(), TestCaseError> {
    let store = &world.store;
    let mut held: BTreeSet<u128> = BTreeSet::new();
    let lowest = |held: &BTreeSet<u128>, range: usize, not: Option<u128>| {
        RANGES[range].iter().flat_map(|(from, to)| *from..=*to).filter(|it| !held.contains(it) && Some(*it) != not).min()
    };
    let holder = |value: u128| format!("{}", value % 3);
    for deed in deeds {
        match *deed {
            Deed::Pick(range) | Deed::PickBut(range, _) => {
                let not = if let Deed::PickBut(_, not) = *deed { Some(not) } else { None };
                let found = store.pick(pool, RANGES[range], key, unkey, &not.into_iter().collect(), 0).await.unwrap();
                prop_assert_eq!(found.as_ref().map(|it| it.value), lowest(&held, range, not), "{:?}", deed);
                if let Some(found) = found {
                    store.apply(Batch::wishes().hold(pool, &found.key, &holder(found.value))).await.unwrap();
                    held.insert(found.value);
                }
            }
            Deed::Hold(value) => {
                let result = store.apply(Batch::wishes().hold(pool, &key(value), &holder(value))).await;
                prop_assert_eq!(result.is_ok(), held.insert(value));
            }
            Deed::Free(value) => {
                store.apply(Batch::wishes().free(pool, &key(value))).await.unwrap();
                held.remove(&value);
            }
            Deed::FreeHeld(who) => {
                store.apply(Batch::wishes().free_held(pool, &who.to_string())).await.unwrap();
                held.retain(|it| it % 3 != who);
            }
            Deed::Fill(from, to) => {
                let new: Vec<u128> = (from..=to).filter(|it| !held.contains(it)).collect();
                store.apply(new.iter().fold(Batch::wishes(), |batch, it| batch.hold(pool, &key(*it), &holder(*it)))).await.unwrap();
                held.extend(new);
            }
        }
    }
    let wrong = "SELECT COUNT(*) FROM hole h WHERE EXISTS (SELECT 1 FROM allocation a WHERE a.pool = h.pool AND a.value = h.value)";
    prop_assert_eq!(world.raw_number(wrong).await, 0, "a hole is held");
    Ok(())
}

#[test]
fn it_gives_what_a_plain_set_would() {
    on_each(async |world| {
        let seed = crate::seed();
        let cases = if world.is_postgres() { 12 } else { 40 };
        let config =
            Config { cases, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(seed), ..Config::default() };
        let count = std::cell::Cell::new(0);
        let outcome = tokio::task::block_in_place(|| {
            TestRunner::new(config).run(&deeds(), |deeds| {
                count.set(count.get() + 1);
                tokio::runtime::Handle::current().block_on(alike(world, &format!("ip:{}", count.get()), &deeds))
            })
        });
        if let Err(error) = outcome {
            panic!("on {}, seed {seed}: {error}", world.name());
        }
    });
}

/// Takes and gives back at random; whoever holds a value finds nobody else in it.
async fn worker(store: Store, me: String, seed: u64, ranges: &'static [(u128, u128)], rounds: u32) -> Result<Vec<u128>, StoreError> {
    let mut dice = seed | 1;
    let mut below = move |limit: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 16) % limit
    };
    let mut mine = Vec::new();
    for _ in 0..rounds {
        if below(3) > 0 || mine.is_empty() {
            let mut spread = 0;
            loop {
                let Some(picked) = store.pick("ip:s", ranges, key, unkey, &HashSet::new(), spread).await? else { break };
                match store.apply(Batch::wishes().hold("ip:s", &picked.key, &me)).await {
                    Ok(()) => {
                        mine.push(picked.value);
                        break;
                    }
                    Err(StoreError::Taken { .. }) => spread = 16,
                    Err(other) => return Err(other),
                }
            }
        } else {
            let at = usize::try_from(below(mine.len() as u64)).unwrap();
            let value = mine.swap_remove(at);
            let held = store.allocation("ip:s", &key(value)).await?;
            assert_eq!(held.map(|it| it.holder).as_deref(), Some(me.as_str()), "{value}");
            store.apply(Batch::wishes().free("ip:s", &key(value))).await?;
        }
    }
    Ok(mine)
}

#[test]
fn many_at_once_never_share_a_value_and_lose_none() {
    on_each(async |world| {
        const RANGES: &[(u128, u128)] = &[(100, 219)];
        let seed = crate::seed();
        // Two stores on one database: as two processes.
        let stores = [world.store.clone(), Store::open(&world.url).await.unwrap()];
        let rounds = if world.is_postgres() { 25 } else { 40 };
        let tasks: Vec<_> = (0..8_u64)
            .map(|at| {
                let store = stores[usize::try_from(at % 2).unwrap()].clone();
                tokio::spawn(worker(store, format!("{at}"), seed.wrapping_mul(at + 1), RANGES, rounds))
            })
            .collect();
        let mut held = BTreeSet::new();
        for task in tasks {
            for value in task.await.unwrap().unwrap_or_else(|error| panic!("on {}, seed {seed}: {error}", world.name())) {
                assert!(held.insert(value), "on {}, seed {seed}: {value} twice", world.name());
            }
        }
        let store = &world.store;
        let stored: BTreeSet<u128> = store.allocations("ip:s").await.unwrap().iter().filter_map(|it| unkey(&it.value)).collect();
        assert_eq!(stored, held, "on {}, seed {seed}", world.name());
        // All the rest can be had, lowest first.
        let mut rest = Vec::new();
        while let Some(value) = take(store, "ip:s", RANGES).await {
            rest.push(value);
        }
        let expected: Vec<u128> = (100..=219).filter(|it| !held.contains(it)).collect();
        assert_eq!(rest, expected, "on {}, seed {seed}", world.name());
    });
}

#[test]
fn what_is_no_value_of_the_pool_is_not_in_the_way() {
    on_sqlite(async |world| {
        let store = &world.store;
        let batch = (0..100).fold(Batch::wishes(), |batch, at| batch.hold("ip:s", &format!("0000000z{at:04}"), "x"));
        store.apply(batch.hold("ip:s", &key(0), "x")).await.unwrap();
        assert_eq!(take(store, "ip:s", &[(0, 10)]).await, Some(1));
    });
}
