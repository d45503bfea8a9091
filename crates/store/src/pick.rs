//! The lowest free value of a pool.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sql::{Step, Val};
use crate::{Store, StoreError, pool};

/// How many values may be on their way from [`Store::pick`] to their holders at once; more are picked, but not kept from others.
const FLIGHTS: usize = 65_536;
/// A walk over more values than this moves the hint.
const STRIDE: u64 = 32;
/// Values that are free but are to be passed over; with more of them on its way the hint stays.
const ASIDE: usize = 512;
/// Rows read at once, the first time and later in the same walk.
const PAGES: (u32, u32) = (64, 1024);

/// A free value, kept from other callers of this process until this goes away: hold it in a batch, then drop this. Another process may
/// still be first, see [`StoreError::Taken`].
pub struct Picked {
    /// The value.
    pub value: u128,
    /// Its key in the pool, as [`crate::Batch::hold`] takes it.
    pub key: String,
    pool: String,
    flights: Option<Arc<Flights>>,
}

impl std::fmt::Debug for Picked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picked").field("pool", &self.pool).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let Some(flights) = &self.flights {
            let mut air = flights.air();
            air.landed += 1;
            if let Some(pool) = air.pools.get_mut(&self.pool) {
                pool.remove(&self.value);
                if pool.is_empty() {
                    air.pools.remove(&self.pool);
                }
                air.count = air.count.saturating_sub(1);
            }
        }
    }
}

/// Values that were picked in this process and are not held yet.
#[derive(Default)]
pub(crate) struct Flights(Mutex<Air>);

#[derive(Default)]
struct Air {
    pools: HashMap<String, BTreeSet<u128>>,
    count: usize,
    /// How many there ever were that are no more: where it grew meanwhile, what was read as free may be held by now.
    landed: u64,
    /// Pools whose hint is being moved.
    moving: HashSet<String>,
}

impl Flights {
    fn air(&self) -> MutexGuard<'_, Air> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, pool: &str) -> (BTreeSet<u128>, u64) {
        let air = self.air();
        (air.pools.get(pool).cloned().unwrap_or_default(), air.landed)
    }
}

/// What is asked for.
struct Ask<'a> {
    pool: &'a str,
    key: fn(u128) -> String,
    unkey: fn(&str) -> Option<u128>,
    skip: &'a HashSet<u128>,
    away: &'a BTreeSet<u128>,
}

impl Ask<'_> {
    fn passes(&self, value: u128) -> bool {
        self.skip.contains(&value) || self.away.contains(&value)
    }
}

/// What a walk from a range's start, or from the end of the hint that covers it, went over without a gap: all of it is held, or free and
/// to be passed over.
struct Run {
    first: u128,
    from: u128,
    upto: u128,
    length: u64,
    aside: Vec<u128>,
    ended: bool,
}

impl Run {
    fn held(&mut self, value: u128) {
        if !self.ended {
            self.upto = value;
            self.length += 1;
        }
    }

    fn free(&mut self, value: u128, passes: bool) {
        self.ended |= !passes || self.aside.len() >= ASIDE;
        if !self.ended {
            self.aside.push(value);
            self.held(value);
        }
    }
}

/// A hint that is being moved.
struct Moving<'a>(&'a Flights, &'a str);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.air().moving.remove(self.1);
    }
}

impl Store {
    /// The lowest value that nobody holds of a tracked pool in `ranges` (both ends included, in the order of preference), passing over
    /// those of `skip` and those that other callers in this process picked. What it costs does not depend on how many are held.
    ///
    /// Tracked are pools whose names begin with `ip:`, `seg:`, `vlan:` or `subnetpool:`, and those of which all values are held by
    /// [`crate::Batch::take`] and freed by [`crate::Batch::give_back`]. `key` makes the text under which a value is held, of the same
    /// length for all values, sorting as they do; `unkey` reads it.
    ///
    /// Holding it may meet [`StoreError::Taken`]: ask again, then with a `spread` (such as 16): fewer than so many free values are
    /// passed over, by chance, so that those who race part.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pick(
        &self,
        pool: &str,
        ranges: &[(u128, u128)],
        key: fn(u128) -> String,
        unkey: fn(&str) -> Option<u128>,
        skip: &HashSet<u128>,
        spread: u32,
    ) -> Result<Option<Picked>, StoreError> {
        Ok(self.pick_many(pool, ranges, key, unkey, skip, spread, 1).await?.pop())
    }

    /// [`Store::pick`] of several values at once, at most `many`, in order; fewer if there are no more, but none only if there is none.
    /// Picking as many one by one walks over those that were picked before each time.
    ///
    /// # Errors
    /// See [`StoreError`].
    #[expect(clippy::too_many_arguments, reason = "those of `pick`, and how many")]
    pub async fn pick_many(
        &self,
        pool: &str,
        ranges: &[(u128, u128)],
        key: fn(u128) -> String,
        unkey: fn(&str) -> Option<u128>,
        skip: &HashSet<u128>,
        spread: u32,
        many: usize,
    ) -> Result<Vec<Picked>, StoreError> {
        let passed = if spread > 1 { getrandom::u32().unwrap_or(0) % spread } else { 0 };
        let passed = usize::try_from(passed).unwrap_or(0);
        let wanted = passed + many.max(1);
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        loop {
            let (away, landed) = self.flights.of(pool);
            let ask = Ask { pool, key, unkey, skip, away: &away };
            let mut found = Vec::new();
            for (start, end) in &ranges {
                self.gather(&ask, *start, *end, wanted, &mut found).await?;
                if found.len() >= wanted {
                    break;
                }
            }
            // Where there are fewer, from any of them on.
            let Some(first) = passed.checked_rem(found.len()) else {
                return Ok(Vec::new());
            };
            let chosen = found.into_iter().skip(first).take(many.max(1));
            let (mut picked, unchanged) = self.take_off(pool, key, chosen, landed);
            // From here on nobody else in this process picks them; somebody who did before may hold one by now.
            if !unchanged {
                let mut free = Vec::with_capacity(picked.len());
                for one in picked {
                    if self.allocation(pool, &one.key).await?.is_none() {
                        free.push(one);
                    }
                }
                picked = free;
            }
            if !picked.is_empty() {
                return Ok(picked);
            }
        }
    }

    /// Keeps values from other callers, but those that others took meanwhile; whether since then no value went to its holder.
    fn take_off(&self, pool: &str, key: fn(u128) -> String, values: impl Iterator<Item = u128>, landed: u64) -> (Vec<Picked>, bool) {
        let mut air = self.flights.air();
        let mut picked = Vec::new();
        for value in values {
            let mut one = Picked { value, key: key(value), pool: pool.to_owned(), flights: None };
            if air.count < FLIGHTS {
                if !air.pools.entry(pool.to_owned()).or_default().insert(value) {
                    continue;
                }
                air.count += 1;
                one.flights = Some(Arc::clone(&self.flights));
            }
            picked.push(one);
        }
        (picked, air.landed == landed)
    }

    /// Adds the lowest free values from `start` to `end` until there are `wanted`.
    async fn gather(&self, ask: &Ask<'_>, start: u128, end: u128, wanted: usize, found: &mut Vec<u128>) -> Result<(), StoreError> {
        if start > end {
            return Ok(());
        }
        let covering = self.covering(ask, start).await?;
        let mut first = start;
        let mut from = start;
        if let Some((hinted, upto)) = covering {
            first = hinted;
            // Below the hint all that is free is a hole.
            self.holes(ask, start, upto.min(end), wanted, found).await?;
            if found.len() >= wanted || upto >= end {
                return Ok(());
            }
            from = upto + 1;
        }
        let mut run = Run { first, from, upto: from, length: 0, aside: Vec::new(), ended: false };
        self.walk(ask, from, end, wanted, found, &mut run).await?;
        if run.length > STRIDE {
            self.advance(ask, &run).await;
        }
        Ok(())
    }

    /// The hint that covers a range's start, of several the one that reaches farthest.
    async fn covering(&self, ask: &Ask<'_>, start: u128) -> Result<Option<(u128, u128)>, StoreError> {
        let sql = "SELECT first, upto FROM hint WHERE pool = $1 AND first <= $2 AND upto >= $2 ORDER BY upto DESC LIMIT 1";
        let mut rows = self.backend.query_short(sql.into(), vec![Val::from(ask.pool), Val::Text((ask.key)(start))]).await?;
        let number = |text: Option<String>| text.and_then(|text| (ask.unkey)(&text));
        Ok(rows.first_mut().and_then(|row| number(row.take(0)).zip(number(row.take(1)))))
    }

    /// Free values below the end of a hint.
    async fn holes(&self, ask: &Ask<'_>, start: u128, end: u128, wanted: usize, found: &mut Vec<u128>) -> Result<(), StoreError> {
        let (mut from, to, mut limit) = ((ask.key)(start), (ask.key)(end), PAGES.0);
        loop {
            let sql = format!("SELECT value FROM hole WHERE pool = $1 AND value >= $2 AND value <= $3 ORDER BY value LIMIT {limit}");
            let params = vec![Val::from(ask.pool), Val::from(from.as_str()), Val::from(to.as_str())];
            let rows = self.backend.query_short(sql, params).await?;
            let last = rows.last().and_then(|row| row.text(0)).and_then(|text| (ask.unkey)(&text));
            let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            for value in rows.into_iter().filter_map(|mut row| row.take(0)).filter_map(|text| (ask.unkey)(&text)) {
                if !ask.passes(value) {
                    found.push(value);
                    if found.len() >= wanted {
                        return Ok(());
                    }
                }
            }
            match last {
                Some(last) if full && last < end => from = (ask.key)(last + 1),
                _ => return Ok(()),
            }
            limit = PAGES.1;
        }
    }

    /// Goes up from `from` along what is held and finds the gaps.
    async fn walk(
        &self,
        ask: &Ask<'_>,
        from: u128,
        end: u128,
        wanted: usize,
        found: &mut Vec<u128>,
        run: &mut Run,
    ) -> Result<(), StoreError> {
        let (to, mut limit) = ((ask.key)(end), PAGES.0);
        // The next value to look at; none when the numbers themselves end.
        let mut next = Some(from);
        while let Some(start) = next.filter(|it| *it <= end) {
            let sql = format!("SELECT value FROM allocation WHERE pool = $1 AND value >= $2 AND value <= $3 ORDER BY value LIMIT {limit}");
            let params = vec![Val::from(ask.pool), Val::Text((ask.key)(start)), Val::from(to.as_str())];
            let rows = self.backend.query_short(sql, params).await?;
            let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let mut at = start;
            for held in rows.into_iter().filter_map(|mut row| row.take(0)).filter_map(|text| (ask.unkey)(&text)) {
                if held > at && gap(ask, at, held - 1, wanted, found, run) {
                    return Ok(());
                }
                run.held(held);
                next = held.checked_add(1);
                at = next.unwrap_or(held);
            }
            if !full {
                if next.is_some_and(|it| it <= end) {
                    gap(ask, at, end, wanted, found, run);
                }
                return Ok(());
            }
            if next == Some(start) {
                // A page full of what is no value of this pool.
                return Ok(());
            }
            limit = PAGES.1;
        }
        Ok(())
    }

    /// Moves a hint up. Whoever asks next does without, should it fail.
    async fn advance(&self, ask: &Ask<'_>, run: &Run) {
        if !self.flights.air().moving.insert(ask.pool.to_owned()) {
            return;
        }
        let _moving = Moving(&self.flights, ask.pool);
        let mut steps = Vec::new();
        let text = |value: u128| Val::Text((ask.key)(value));
        // What is passed over is free: it becomes a hole, unless it is held by now.
        for value in &run.aside {
            let sql = "INSERT INTO hole (pool, value) SELECT CAST($1 AS TEXT), CAST($2 AS TEXT) WHERE NOT EXISTS \
                       (SELECT 1 FROM allocation WHERE pool = $1 AND value = $2) ON CONFLICT (pool, value) DO NOTHING";
            steps.push(Step::any(sql.into(), vec![Val::from(ask.pool), text(*value)]));
        }
        // In the same transaction all of the way is still held or a hole, else it stays: what was let go meanwhile and did not become a
        // hole, since the hint was below it, would never be found again.
        let counted = |table: &str| format!("(SELECT COUNT(*) FROM {table} WHERE pool = $1 AND value >= $4 AND value <= $3)");
        let sql = format!(
            "INSERT INTO hint (pool, first, upto) SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT) \
             WHERE {} + {} = $5 ON CONFLICT (pool, first) DO UPDATE SET \
             upto = CASE WHEN hint.upto < excluded.upto THEN excluded.upto ELSE hint.upto END",
            counted("allocation"),
            counted("hole")
        );
        let length = i64::try_from(run.length).unwrap_or(i64::MAX);
        steps.push(Step::any(sql, vec![Val::from(ask.pool), text(run.first), text(run.upto), text(run.from), Val::from(length)]));
        // In turn with those who hold and free, so that it does not collide with them.
        let hot = [pool::heat(ask.pool)].into();
        if let Err(error) = self.backend.transact(steps, &hot).await {
            tracing::debug!(%error, pool = ask.pool, "the hint of the pool was not moved");
        }
    }
}

/// Takes free values from a gap, both ends included. Whether there are enough now.
fn gap(ask: &Ask<'_>, start: u128, end: u128, wanted: usize, found: &mut Vec<u128>, run: &mut Run) -> bool {
    let mut at = start;
    loop {
        let passes = ask.passes(at);
        run.free(at, passes);
        if !passes {
            found.push(at);
            if found.len() >= wanted {
                return true;
            }
        }
        if at >= end {
            return false;
        }
        at += 1;
    }
}
