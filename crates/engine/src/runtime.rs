//! The workers: take a piece of work, keep its lease, run the reconciler of its kind, say when to look again.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use drivers::bmc::BmcError;
use model::baremetal::{Allocation, AllocationState, CONSOLE_WORK, Node, NodeAction, POWER_SYNC_WORK, power_sync_of};
use model::container_infra::Cluster;
use model::fabric::{Switch, SwitchPort};
use model::net::{Network, Port, Subnet};
use model::{Id, Kind, Object, Timestamp};
use store::{Batch, Claim, Facts, Outcome, Query, Store, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::{self, Access};
use crate::config::EngineConfig;
use crate::console::Consoles;
use crate::image_cache::ImageCache;
use crate::outside::{Outside, World};
use crate::power::Metrics;
use crate::{
    allocation, boot, cluster, conductor, console, history, image_folder, network, node, node_action, port, power, provisioning, switch,
};

/// Pieces of work done at once. Most of them wait for somebody outside: a BMC that does not answer holds one place for as long as its
/// deadline, and is looked at ever more seldom.
const WORKERS: usize = 256;
/// How long a worker may be silent before another takes its work.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How often it says that it works.
const RENEW: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// How long after it could not until it tries again.
const AGAIN: Duration = Duration::from_secs(1);
/// So long after it last said so a look is given up, whoever has its lease by then: the store cannot be asked once more before it ends.
pub(crate) const GIVEN_UP: Duration = Duration::from_secs(LEASE.as_secs() - RENEW.as_secs());
/// How long one look may take; every call inside it has a shorter deadline of its own.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long a look at a switch may take: some need half a minute for each of reading, committing and saving.
const SWITCH_LIMIT: Duration = Duration::from_secs(600);
/// How often in a row one piece of work is gone on with before others have their turn.
const STRIDE: u32 = 16;
/// How long a round over all machines may take.
const ROUND_LIMIT: Duration = Duration::from_secs(900);
/// How long at most until a device that does not answer is tried again.
const SILENT_LIMIT: Duration = Duration::from_secs(30);
/// By how many seconds the clock may be set back without anybody noticing.
const SET_BACK: f64 = 2.0;
/// How often it is looked whether it was.
const CLOCK: Duration = Duration::from_secs(1);
/// How long a worker waits for a signal before it looks into the queue by itself (another replica may have put something there,
/// or something became due).
const IDLE: Duration = Duration::from_millis(150);

/// What a reconciler found.
pub(crate) enum Next {
    /// Look again after this time at the latest.
    Again(Duration),
    /// The object is no more.
    Gone,
    /// Who keeps the lease beyond this look has been given it.
    Kept,
}

/// Why a reconciler could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Outside(String),
    /// A device does not answer: it is tried ever more seldom.
    #[error("{0}")]
    Silent(String),
}

impl Fault {
    pub(crate) fn bmc(error: BmcError) -> Self {
        match error {
            BmcError::Unreachable { .. } | BmcError::Timeout { .. } => Self::Silent(error.to_string()),
            other => Self::Outside(other.to_string()),
        }
    }

    pub(crate) fn outside(error: impl std::fmt::Display) -> Self {
        Self::Outside(error.to_string())
    }
}

pub(crate) type Look = Result<Next, Fault>;

/// What all reconcilers share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) config: EngineConfig,
    pub(crate) switches: switch::Registry,
    pub(crate) in_use: switch::Remembered,
    pub(crate) access: Access,
    pub(crate) images: ImageCache,
    pub(crate) outside: Box<dyn Outside>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) consoles: Consoles,
    pub(crate) conductor: conductor::Registered,
    pub(crate) history_place: history::Place,
    /// How long one look at a machine may take.
    pub(crate) machine_look: Duration,
    /// Room for config drives that are sent to agents.
    pub(crate) large_drives: Arc<Semaphore>,
}

/// One look at one object.
pub(crate) struct Cx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) claim: Claim,
}

impl std::ops::Deref for Cx {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Cx {
    /// An empty batch under this look's lease.
    pub(crate) fn facts(&self) -> Batch<Facts> {
        Batch::facts(&self.claim)
    }

    /// The object this look is about.
    pub(crate) async fn load<K: Kind>(&self) -> Result<Option<Object<K>>, StoreError> {
        match Id::parse(&self.claim.id) {
            Some(id) => self.store.get(&id).await,
            None => Ok(None),
        }
    }
}

/// The engine.
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Opens the switches of the configuration and writes them into the store, and registers this process as a conductor; touches nothing
    /// outside yet.
    ///
    /// # Errors
    /// The configuration of a switch cannot be used, another conductor of this name is alive, or the store failed.
    pub async fn new(store: Store, config: EngineConfig) -> Result<Self, EngineError> {
        let switches = switch::Registry::new(&config.fabric, Arc::clone(&config.unseal))?;
        switch::declare_all(&store, &config.fabric).await?;
        let access = Access::new(config.access.listen);
        let images = ImageCache::new(&config.image_dir);
        let (outside, metrics) = (Box::new(World), Arc::new(Metrics::default()));
        let consoles = Consoles::default();
        let conductor = conductor::Registered::new(&store, &config).await?;
        tracing::info!(host = conductor.host, group = conductor.group, "registered as a conductor");
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                config,
                switches,
                in_use: switch::Remembered::default(),
                access,
                images,
                outside,
                metrics,
                consoles,
                conductor,
                history_place: history::Place::default(),
                machine_look: node::LOOK_LIMIT,
                large_drives: Arc::new(Semaphore::new(node::LARGE_DRIVES)),
            }),
        })
    }

    /// What is counted of machines, for whoever shows it.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// What is served with the main API: the virtual media that BMCs fetch, and consoles.
    pub fn media_router(&self) -> axum::Router {
        boot::medium::router(Arc::clone(&self.shared)).merge(console::router(Arc::clone(&self.shared)))
    }

    /// Works until `stop` turns true; then the looks under way end and their leases are given back. `agent_api` is what ramdisks
    /// may call on the provisioning network.
    ///
    /// # Errors
    /// A worker panicked: the process should end, another takes over.
    pub async fn run(self, agent_api: axum::Router, stop: watch::Receiver<bool>) -> Result<(), EngineError> {
        let shared = self.shared;
        if shared.store.is_embedded() {
            shared.store.void_leases().await?;
        } else {
            shared.store.shorten_leases(LEASE).await?;
        }
        wake_all(&shared.store, &shared.conductor.group).await?;
        let worker = Id::<()>::random().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(boot::serve(Arc::clone(&shared), agent_api, stop.clone()));
        tasks.spawn(console::serve(Arc::clone(&shared), stop.clone()));
        tasks.spawn(access::keep(Arc::clone(&shared), stop.clone()));
        tasks.spawn(image_folder::watch(Arc::clone(&shared), stop.clone()));
        tasks.spawn(conductor::beat(Arc::clone(&shared), stop.clone()));
        tasks.spawn(work(Arc::clone(&shared), worker, stop));
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|_| EngineError::Panicked)?;
        }
        Ok(())
    }
}

/// Why the engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A switch of the configuration cannot be used.
    #[error(transparent)]
    Switch(#[from] drivers::switch::SwitchError),
    /// This process cannot be registered as a conductor.
    #[error("{0}")]
    Conductor(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker panicked.
    #[error("a worker of the engine panicked")]
    Panicked,
}

/// So many are woken together: a batch fails as a whole when another replica is at one of them, and is tried again.
const WOKEN: usize = 16;

/// Everything is looked at once after a start: leases and timers of an earlier life do not matter.
async fn wake_all(store: &Store, group: &str) -> Result<(), StoreError> {
    async fn kind<K: Kind>(store: &Store, all: &mut Vec<(&'static str, String)>) -> Result<(), StoreError> {
        all.extend(store.list(&Query::<K>::new().with_deleted()).await?.into_iter().map(|it| (K::NAME, it.id.to_string())));
        Ok(())
    }
    // There are many of these for which nothing is ever to be done.
    async fn ports(store: &Store, woken: &mut Vec<(&'static str, String)>) -> Result<(), StoreError> {
        let all = store.list(&Query::<Port>::new().with_deleted()).await?;
        let busy = all.iter().filter(|it| it.is_deleting() || Port::has_work(it) || !it.desired.binding.host_id.is_empty());
        woken.extend(busy.map(|it| (Port::NAME, it.id.to_string())));
        Ok(())
    }
    // Of ten thousand machines most rest.
    async fn nodes(store: &Store, all: &mut Vec<(&'static str, String)>) -> Result<(), StoreError> {
        let mut query = Query::<Node>::new().with_deleted().limit(500);
        loop {
            let page = store.list(&query).await?;
            all.extend(page.iter().filter(|it| Node::has_work(it)).map(|it| (Node::NAME, it.id.to_string())));
            all.extend(page.iter().filter(|it| console::is_wanted(it)).map(|it| (CONSOLE_WORK, it.id.to_string())));
            match page.last() {
                Some(last) if page.len() == 500 => query = query.after(&last.id),
                _ => return Ok(()),
            }
        }
    }
    let mut all = vec![
        (provisioning::PROVISIONING, provisioning::PROVISIONING.to_owned()),
        (POWER_SYNC_WORK, power_sync_of(group)),
        (history::HISTORY_WORK, history::HISTORY_WORK.to_owned()),
    ];
    kind::<Switch>(store, &mut all).await?;
    ports(store, &mut all).await?;
    kind::<Network>(store, &mut all).await?;
    nodes(store, &mut all).await?;
    kind::<NodeAction>(store, &mut all).await?;
    let unplaced = Query::<Allocation>::new().column("state", [AllocationState::Allocating.as_str().to_owned()]);
    all.extend(store.list(&unplaced).await?.into_iter().map(|it| (Allocation::NAME, it.id.to_string())));
    kind::<Cluster>(store, &mut all).await?;
    for some in all.chunks(WOKEN) {
        store.apply(some.iter().fold(Batch::wishes(), |batch, (kind, id)| batch.wake_named(kind, id))).await?;
    }
    Ok(())
}

/// Takes up work as it becomes due, as much at once as there are places; ends when `stop` turns true and the looks under way ended.
async fn work(shared: Arc<Shared>, worker: String, mut stop: watch::Receiver<bool>) {
    let mut looks = JoinSet::new();
    let mut clock = None;
    while !*stop.borrow() {
        // When work is due is written by a clock on a wall. If that was set back, everything would wait for the time to come again.
        let before = clock;
        match was_set_back(&shared.store, &mut clock).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!("the clock was set back: everything is looked at anew");
                if let Err(error) = begin_anew(&shared).await {
                    tracing::error!(%error, "could not have everything looked at, trying again");
                    clock = before;
                }
            }
            Err(error) => tracing::warn!(%error, "what time it is is not known"),
        }
        while looks.len() >= WORKERS {
            ended(looks.join_next().await);
        }
        match shared.store.claim_within(&shared.conductor.group, &worker, LEASE).await {
            Ok(Some(claim)) => {
                let shared = Arc::clone(&shared);
                looks.spawn(async move { one(&shared, claim).await });
            }
            Ok(None) => {
                tokio::select! {
                    () = shared.store.woken(IDLE) => {}
                    _ = stop.changed() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "could not take work from the store");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        while let Some(look) = looks.try_join_next() {
            ended(Some(look));
        }
    }
    while let Some(look) = looks.join_next().await {
        ended(Some(look));
    }
}

/// Whether the clock by which work is due was set back since it was looked at last: then, and by the clock that never jumps.
async fn was_set_back(store: &Store, last: &mut Option<(Instant, Timestamp)>) -> Result<bool, StoreError> {
    if last.is_some_and(|(at, _)| at.elapsed() < CLOCK) {
        return Ok(false);
    }
    let asked = Instant::now();
    let wall = store.now().await?;
    let before = last.replace((Instant::now(), wall));
    Ok(before.is_some_and(|(at, was)| wall.seconds_since(was) < asked.duration_since(at).as_secs_f64() - SET_BACK))
}

async fn begin_anew(shared: &Shared) -> Result<(), StoreError> {
    shared.store.shorten_leases(LEASE).await?;
    wake_all(&shared.store, &shared.conductor.group).await
}

/// A look that panicked is a bug: the process ends, and leases do the rest.
fn ended(look: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = look
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

async fn one(shared: &Arc<Shared>, claim: Claim) {
    let cx = Cx { shared: Arc::clone(shared), claim };
    let limit = match cx.claim.kind.as_str() {
        POWER_SYNC_WORK | history::HISTORY_WORK => ROUND_LIMIT,
        Switch::NAME => SWITCH_LIMIT,
        // It has a limit of its own, after which it is written down that it was reached.
        Node::NAME => shared.machine_look + LOOK_LIMIT,
        _ => LOOK_LIMIT,
    };
    // What can go on at once does so under the same lease: giving it back and taking it again are two writes.
    let look = async {
        for _ in 0..STRIDE {
            match tokio::time::timeout(limit, reconcile(&cx)).await {
                Ok(Ok(Next::Again(after))) if after.is_zero() => {}
                other => return other,
            }
        }
        Ok(Ok(Next::Again(Duration::ZERO)))
    };
    let until = Until::of(cx.claim.asked);
    let began = Instant::now();
    let result = tokio::select! {
        result = until.bound(look) => match result {
            Some(result) => result.unwrap_or_else(|_| Err(Fault::Outside(format!("did not end within {limit:?}")))),
            None => {
                tracing::warn!(kind = cx.claim.kind, id = cx.claim.id, "too late: somebody else may have gone on");
                return;
            }
        },
        () = keep(&shared.store, &cx.claim, &until) => return,
    };
    shared.metrics.looks.note(&cx.claim.kind, began.elapsed(), result.is_ok());
    let outcome = match result {
        Ok(Next::Kept) => return,
        Ok(Next::Again(after)) => Outcome::Again(after),
        Ok(Next::Gone) => Outcome::Gone,
        Err(Fault::Store(error)) if error.is_race() => {
            tracing::debug!(%error, kind = cx.claim.kind, id = cx.claim.id, "decided on old facts, looking again");
            Outcome::Again(Duration::from_millis(5))
        }
        Err(Fault::Silent(why)) => {
            let after = Duration::from_millis(250 << cx.claim.attempts.min(8)).min(SILENT_LIMIT);
            tracing::warn!(why, kind = cx.claim.kind, id = cx.claim.id, attempts = cx.claim.attempts, "no answer, looking again");
            Outcome::Failed(after)
        }
        Err(fault) => {
            let after = Duration::from_millis(250 << cx.claim.attempts.min(5));
            tracing::warn!(%fault, kind = cx.claim.kind, id = cx.claim.id, attempts = cx.claim.attempts, "could not go on, looking again");
            Outcome::Failed(after)
        }
    };
    if let Err(error) = shared.store.finish(&cx.claim, outcome).await {
        tracing::debug!(%error, kind = cx.claim.kind, id = cx.claim.id, "could not give the lease back");
    }
}

/// Until when a look may go on unless its lease is renewed.
struct Until(Mutex<Instant>);

impl Until {
    /// Of a lease that was asked for then. What was asked for is granted later, so the lease ends later too.
    fn of(asked: Instant) -> Self {
        Self(Mutex::new(asked + GIVEN_UP))
    }

    fn renewed(&self, asked: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked + GIVEN_UP;
    }

    fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_past(&self) -> bool {
        Instant::now() >= self.get()
    }

    /// The look, as long as it may go on: asked before each of its steps and not only when a timer is up. A process that was stopped and
    /// goes on finds what it waited for and the timer both come, and another has done the work by then.
    async fn bound<T>(&self, look: impl Future<Output = T>) -> Option<T> {
        let mut look = std::pin::pin!(look);
        std::future::poll_fn(|cx| if self.is_past() { Poll::Ready(None) } else { look.as_mut().poll(cx).map(Some) }).await
    }
}

/// Keeps the lease; ends when it is lost, or so late that it will be before the store can be asked once more. Whoever looks stops then:
/// writes into the store are fenced, but what is sent to a switch or a BMC is not.
async fn keep(store: &Store, claim: &Claim, until: &Until) {
    loop {
        let end = until.get();
        let next = (end - RENEW).max(Instant::now() + AGAIN).min(end);
        tokio::time::sleep_until(next.into()).await;
        if until.is_past() {
            break;
        }
        let asked = Instant::now();
        match tokio::time::timeout_at(end.into(), store.renew(claim, LEASE)).await {
            Ok(Ok(())) => until.renewed(asked),
            Ok(Err(StoreError::LeaseLost { .. })) => break,
            Ok(Err(error)) => tracing::warn!(%error, kind = claim.kind, id = claim.id, "could not keep the lease"),
            Err(_) => tracing::warn!(kind = claim.kind, id = claim.id, "the store does not answer: could not keep the lease"),
        }
    }
    tracing::warn!(kind = claim.kind, id = claim.id, "the lease is lost: somebody else goes on");
}

async fn reconcile(cx: &Cx) -> Look {
    match cx.claim.kind.as_str() {
        Switch::NAME => switch::reconcile(cx).await,
        Port::NAME => port::reconcile(cx).await,
        Network::NAME => network::reconcile(cx).await,
        Node::NAME => node::reconcile(cx).await,
        NodeAction::NAME => node_action::reconcile(cx).await,
        CONSOLE_WORK => console::reconcile(cx).await,
        Allocation::NAME => allocation::reconcile(cx).await,
        POWER_SYNC_WORK => power::sync(cx).await,
        history::HISTORY_WORK => history::trim(cx).await,
        Cluster::NAME => cluster::reconcile(cx).await,
        provisioning::PROVISIONING => provisioning::reconcile(cx).await,
        // Woken by name although nothing is ever done for it: children that only their owners act on.
        Subnet::NAME | SwitchPort::NAME => Ok(Next::Gone),
        other => {
            tracing::warn!(kind = other, "nobody reconciles this kind");
            Ok(Next::Gone)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_lost_its_lease_stops() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("db").display())).await.unwrap();
        let leaf = model::Id::<Switch>::parse("leaf1").unwrap();
        store.apply(store::Batch::wishes().wake(&leaf)).await.unwrap();
        // As by a clock that is ahead: the lease is over for others at once.
        let mine = store.claim("one", Duration::ZERO).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let theirs = store.claim("other", LEASE).await.unwrap().unwrap();
        assert_eq!((&mine.kind, &mine.id), (&theirs.kind, &theirs.id));
        tokio::time::timeout(LEASE - Duration::from_secs(1), keep(&store, &mine, &Until::of(mine.asked)))
            .await
            .expect("it goes on without a lease");
        let kept = tokio::time::timeout(LEASE / 2, keep(&store, &theirs, &Until::of(theirs.asked))).await;
        assert!(kept.is_err(), "it stops although it has the lease");
    }

    #[tokio::test]
    async fn who_was_stopped_for_longer_than_its_lease_does_nothing_more() {
        let until = Until::of(Instant::now());
        let steps = std::sync::atomic::AtomicU32::new(0);
        let look = async {
            for _ in 0..3 {
                steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                // As if the process were stopped while it waits.
                *until.0.lock().unwrap() = Instant::now();
                tokio::task::yield_now().await;
            }
        };
        assert!(until.bound(look).await.is_none());
        assert_eq!(steps.into_inner(), 1, "it went on although its lease may be another's");
        until.renewed(Instant::now());
        assert_eq!(until.bound(async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("db").display())).await.unwrap();
        let mut clock = None;
        assert!(!was_set_back(&store, &mut clock).await.unwrap());
        let now = Timestamp::now();
        for (wall, is_back) in [(now, false), (now.plus_seconds(-900), false), (now.plus_seconds(900), true)] {
            clock = Some((Instant::now() - CLOCK, wall.plus_seconds(-1)));
            assert_eq!(was_set_back(&store, &mut clock).await.unwrap(), is_back);
        }
    }
}
