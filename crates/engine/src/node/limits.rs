//! How much may be under way at once: jobs, and what the machines of a rack draw. Places are held in the store, so that they hold for
//! all replicas together and outlive each of them; a job gives its own back when it ends.

use std::collections::HashSet;
use std::time::Duration;

use model::Timestamp;
use model::baremetal::{Node, ProvisionState};
use store::{Batch, Facts};

use super::Machine;
use crate::runtime::{Fault, Look};

/// Places of jobs that deploy, rescue and service.
const DEPLOY: &str = "slot:deploy";
/// Places of jobs that clean and inspect.
const CLEAN: &str = "slot:clean";
/// Who waits for one, by since when.
const DEPLOY_QUEUE: &str = "wait:deploy";
const CLEAN_QUEUE: &str = "wait:clean";
/// The power of all racks: values begin with the rack's name.
const POWER: &str = "rack-power";
/// A rack's power is given out in pieces of so many watts.
const PIECE: u32 = 50;
/// How soon a job looks again for a place although nobody woke it.
const AGAIN: Duration = Duration::from_secs(10);
/// How many of those who wait are woken when a place comes free.
const WOKEN: usize = 2;

/// How many pieces a draw takes.
pub(super) fn pieces(watts: u32) -> u32 {
    watts.div_ceil(PIECE)
}

/// Free places below `limit`, in an order that differs from caller to caller so that few want the same.
pub(super) fn free(taken: &HashSet<String>, limit: u32, wanted: u32, seed: u32) -> Option<Vec<String>> {
    let wanted = usize::try_from(wanted).ok()?;
    let first = seed % limit.max(1);
    let all = (first..limit).chain(0..first.min(limit)).map(|at| format!("{at:05}"));
    let free: Vec<String> = all.filter(|it| !taken.contains(it)).take(wanted).collect();
    (free.len() == wanted).then_some(free)
}

/// Any number, which need not be a secret.
fn any() -> u32 {
    let mut bytes = [0_u8; 4];
    // Without randomness all try in one order: slower, not wrong.
    if getrandom::fill(&mut bytes).is_err() {
        return 0;
    }
    u32::from_le_bytes(bytes)
}

impl Machine<'_> {
    fn pool(&self) -> (&'static str, &'static str, u32) {
        let limits = &self.cx.config.baremetal;
        match self.node.observed.state {
            ProvisionState::Cleaning | ProvisionState::Inspecting => (CLEAN, CLEAN_QUEUE, limits.max_concurrent_clean),
            _ => (DEPLOY, DEPLOY_QUEUE, limits.max_concurrent_deploy),
        }
    }

    /// Its rack, how many pieces of power that has, and how many it takes.
    fn rack(&self) -> Option<(String, u32, u32)> {
        let properties = &self.node.desired.properties;
        let rack = properties.get("rack")?.as_str()?;
        let draw = properties.get("power_draw_watts")?;
        let draw = draw.as_u64().or_else(|| draw.as_str()?.parse().ok())?;
        let limit = self.cx.config.baremetal.rack_power_watts.of(rack)?;
        Some((rack.to_owned(), limit / PIECE, pieces(u32::try_from(draw).unwrap_or(u32::MAX))))
    }

    /// A place among the jobs that may run at once, and the power it will draw.
    pub(super) async fn place(self) -> Look {
        let (pool, queue, limit) = self.pool();
        let id = self.node.id.to_string();
        let mut takes: Vec<(String, String)> = Vec::new();
        let held = self.cx.store.allocations(pool).await?;
        if !held.iter().any(|it| it.holder == id) {
            let taken = held.into_iter().map(|it| it.value).collect();
            match free(&taken, limit.max(1), 1, any()) {
                Some(found) => takes.extend(found.into_iter().map(|it| (pool.to_owned(), it))),
                None => return self.queue(queue, &format!("{limit} jobs of its kind are under way; it waits for its turn")).await,
            }
        }
        if let Some((rack, limit, wanted)) = self.rack() {
            let held = self.cx.store.allocations(POWER).await?;
            if !held.iter().any(|it| it.holder == id) {
                let start = format!("{rack}/");
                let taken: HashSet<String> = held.iter().filter_map(|it| it.value.strip_prefix(&start)).map(str::to_owned).collect();
                let watts = wanted * PIECE;
                if wanted > limit {
                    let why = format!("it draws {watts} W, more than its rack may draw at all");
                    return self.fail(&why).await;
                }
                match free(&taken, limit, wanted, any()) {
                    Some(found) => takes.extend(found.into_iter().map(|it| (POWER.to_owned(), format!("{start}{it}")))),
                    None => return self.queue(queue, &format!("its rack has no {watts} W left for it")).await,
                }
            }
        }
        let state = self.node.observed.state;
        let phase = self.after_place(state);
        self.go_with(state, phase, "it has its place", |batch| {
            takes.iter().fold(batch, |batch, (pool, value)| batch.hold(pool, value, &id)).free_held(queue, &id)
        })
        .await
    }

    /// Waits for a place; whoever gives one back wakes the first of the queue.
    async fn queue(self, queue: &str, reason: &str) -> Look {
        let id = self.node.id.to_string();
        let mine = self.cx.store.allocations(queue).await?.into_iter().any(|it| it.holder == id);
        if !mine {
            let since = format!("{:020}-{id}", Timestamp::now().0);
            self.cx.store.apply(self.cx.facts().hold(queue, &since, &id)).await?;
        }
        self.wait(reason, AGAIN).await
    }

    /// Gives back what the job held, and wakes who waits for it.
    pub(super) async fn free_place(&self, mut batch: Batch<Facts>) -> Result<Batch<Facts>, Fault> {
        let id = self.node.id.as_str();
        for queue in [DEPLOY_QUEUE, CLEAN_QUEUE] {
            let waiting = self.cx.store.allocations(queue).await?;
            for it in waiting.iter().filter(|it| it.holder != id).take(WOKEN) {
                use model::Kind as _;
                batch = batch.wake_named(Node::NAME, &it.holder);
            }
        }
        Ok(free_all(batch, id))
    }
}

/// Gives back whatever a machine holds, also one that is not there any more.
pub(super) fn free_all(batch: Batch<Facts>, node: &str) -> Batch<Facts> {
    [DEPLOY, CLEAN, DEPLOY_QUEUE, CLEAN_QUEUE, POWER].into_iter().fold(batch, |batch, pool| batch.free_held(pool, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_up_to_the_limit_and_no_further() {
        for seed in [0, 1, 7, u32::MAX] {
            let mut taken = HashSet::new();
            for _ in 0..5 {
                let found = free(&taken, 5, 1, seed).unwrap();
                assert!(taken.insert(found[0].clone()), "{found:?} was taken");
            }
            assert_eq!(free(&taken, 5, 1, seed), None);
            taken.remove("00003");
            assert_eq!(free(&taken, 5, 1, seed), Some(vec!["00003".into()]));
            assert_eq!(free(&taken, 5, 2, seed), None);
            assert_eq!(free(&taken, 0, 1, seed), None);
        }
    }

    #[test]
    fn power_is_rounded_up() {
        assert_eq!((pieces(0), pieces(1), pieces(50), pieces(51), pieces(800)), (0, 1, 1, 2, 16));
    }
}
