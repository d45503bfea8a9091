//! `Subscribe`: once, when asked again, at intervals, and when something changes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::{Status, Streaming};

use super::proto::{
    Asked, ListMode, Notification, Path, PathElem, SubscribeRequest, SubscribeResponse, SubscriptionList, SubscriptionMode,
    Told as Response, Update,
};
use super::{encoded, now, paths};
use crate::netos::device::Device;
use crate::netos::openconfig;

/// What is told.
pub(super) type Told = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

/// How many messages wait for a slow client.
const WAITING: usize = 64;
/// The interval of samples if none is asked for, and the shortest.
const INTERVAL: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(100);

type Leaves = BTreeMap<String, (Vec<PathElem>, Value)>;
type Sender = mpsc::Sender<Result<SubscribeResponse, Status>>;

/// Takes a subscription and serves it in the background until either side ends it.
pub(super) async fn serve(device: Arc<Device>, mut asked: Streaming<SubscribeRequest>) -> Result<Told, Status> {
    let first = asked.message().await?.and_then(|it| it.request);
    let Some(Asked::Subscribe(list)) = first else { return Err(Status::invalid_argument("a subscription is expected first")) };
    let mut all = Vec::new();
    for it in &list.subscription {
        let elems = paths::elems(list.prefix.as_ref(), it.path.as_ref())?;
        // Refuses what is no path.
        paths::locate(&Value::Null, &elems)?;
        all.push(elems);
    }
    encoded(&Value::Null, list.encoding)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let service = Service { device, list, paths: all, sender };
        // Fails only when nobody listens any more.
        let _ended = service.run(asked).await;
    });
    Ok(Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|it| (it, receiver)) })))
}

struct Service {
    device: Arc<Device>,
    list: SubscriptionList,
    paths: Vec<Vec<PathElem>>,
    sender: Sender,
}

/// Nobody listens any more.
struct Gone;

impl Service {
    /// What the paths of these subscriptions show now.
    fn look(&self, wanted: impl Fn(usize) -> bool) -> Leaves {
        let running = self.device.running();
        let tree = openconfig::with_state(&openconfig::tree(&running), &running);
        let mut out = Leaves::new();
        for (_, path) in self.paths.iter().enumerate().filter(|(nth, _)| wanted(*nth)) {
            for it in paths::locate(&tree, path).unwrap_or_default() {
                it.leaves(&mut out);
            }
        }
        out
    }

    async fn send(&self, response: Response) -> Result<(), Gone> {
        self.sender.send(Ok(SubscribeResponse { response: Some(response) })).await.map_err(|_closed| Gone)
    }

    async fn tell(&self, changed: Vec<&(Vec<PathElem>, Value)>, gone: Vec<Vec<PathElem>>) -> Result<(), Gone> {
        if changed.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let path = |elem: Vec<PathElem>| Path { elem, ..Path::default() };
        let update = |(elems, value): &(Vec<PathElem>, Value)| Update {
            path: Some(path(elems.clone())),
            val: encoded(value, self.list.encoding).ok(),
        };
        let notification = Notification {
            timestamp: now(),
            update: changed.into_iter().map(update).collect(),
            delete: gone.into_iter().map(path).collect(),
            ..Notification::default()
        };
        self.device.faults().pass().await;
        self.send(Response::Update(notification)).await
    }

    async fn run(&self, mut asked: Streaming<SubscribeRequest>) -> Result<(), Gone> {
        let mut known = self.look(|_| true);
        if !self.list.updates_only {
            self.tell(known.values().collect(), Vec::new()).await?;
        }
        self.send(Response::SyncResponse(true)).await?;
        match ListMode::try_from(self.list.mode) {
            Ok(ListMode::Once) | Err(_) => return Ok(()),
            Ok(ListMode::Poll) => {
                while let Ok(Some(SubscribeRequest { request: Some(Asked::Poll(_)) })) = asked.message().await {
                    let now = self.look(|_| true);
                    self.tell(now.values().collect(), Vec::new()).await?;
                    self.send(Response::SyncResponse(true)).await?;
                }
                return Ok(());
            }
            Ok(ListMode::Stream) => {}
        }
        let is_sample = |nth: usize| self.list.subscription.get(nth).is_some_and(|it| it.mode == i32::from(SubscriptionMode::Sample));
        let intervals =
            self.list.subscription.iter().filter(|it| it.mode == i32::from(SubscriptionMode::Sample)).map(|it| match it.sample_interval {
                0 => INTERVAL,
                nanos => Duration::from_nanos(nanos).max(SHORTEST),
            });
        let interval = intervals.min();
        let period = interval.unwrap_or(INTERVAL);
        let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.device.changes();
        known = self.look(|nth| !is_sample(nth));
        loop {
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let now = self.look(|nth| !is_sample(nth));
                    let fresh = now.iter().filter(|(key, it)| known.get(*key) != Some(it)).map(|it| it.1).collect();
                    let gone = known.iter().filter(|(key, _)| !now.contains_key(*key)).map(|(_, it)| it.0.clone()).collect();
                    self.tell(fresh, gone).await?;
                    known = now;
                }
                _ = ticks.tick(), if interval.is_some() => {
                    let now = self.look(is_sample);
                    self.tell(now.values().collect(), Vec::new()).await?;
                }
                message = asked.message() => {
                    if !matches!(message, Ok(Some(_))) {
                        return Ok(());
                    }
                }
                () = self.sender.closed() => return Err(Gone),
            }
        }
    }
}
