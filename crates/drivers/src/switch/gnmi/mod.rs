//! Switches with gNMI and the OpenConfig models.
//!
//! A change is one `Set`, which a switch makes as a whole or not at all (gNMI specification, section 3.4.3); proof is a `Get` after it. What
//! survives a restart is not gNMI's to say: the switch has to be told to keep what is set (`operation set persistence` of Arista EOS,
//! `commit-save` of SR Linux).

mod client;
mod proto;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use self::client::{Client, Target};
use self::proto::{
    CONFIG, CapabilityRequest, CapabilityResponse, GetRequest, GetResponse, JSON, JSON_IETF, ON_CHANGE, Path, STATE, SetResponse,
    SubscribeRequest, SubscribeResponse, Subscription, SubscriptionList,
};
use super::cli::switch::complete;
use super::openconfig::{self, FACTS, asked, edits, instance};
use super::plan::{Change, plan};
use super::{Ensured, Facts, PortMode, SeenMode, Switch, SwitchConfig, SwitchError, SwitchSeen, SwitchWanted};
use crate::Fut;

/// Until it said what it can.
const CONNECT: Duration = Duration::from_secs(15);
/// Reading all there is to read.
const READ: Duration = Duration::from_secs(25);
/// Making a change.
const WRITE: Duration = Duration::from_secs(180);
/// How long a call waits for the one before it.
const TURN: Duration = Duration::from_secs(600);

/// A connection, and how values are written on it.
struct Session {
    client: Client,
    encoding: i32,
}

/// What the switch tells by itself.
struct Subscribed {
    told: Streaming<SubscribeResponse>,
    /// Whether all that there was at first has been told.
    is_synced: bool,
    /// The connection lasts as long as this.
    _client: Client,
}

/// A switch that speaks gNMI.
pub(in crate::switch) struct Gnmi {
    config: SwitchConfig,
    target: Arc<Target>,
    /// Kept between calls, made again after any trouble. Locked during a call: one at a time.
    session: tokio::sync::Mutex<Option<Session>>,
    /// Whether the last change ended in trouble. What is in force by it was perhaps not kept for a restart, which nobody can see.
    is_unsure: AtomicBool,
    /// Kept from one change to the next, so that none in between is missed.
    subscribed: tokio::sync::Mutex<Option<Subscribed>>,
    /// Whether it ever was listened to.
    was_subscribed: AtomicBool,
}

impl Gnmi {
    /// # Errors
    /// `Config`: the endpoint, a certificate or the login is not one.
    pub(in crate::switch) fn new(config: SwitchConfig) -> Result<Self, SwitchError> {
        let target = Arc::new(Target::of(&config)?);
        Ok(Self {
            config,
            target,
            session: tokio::sync::Mutex::new(None),
            is_unsure: AtomicBool::new(false),
            subscribed: tokio::sync::Mutex::new(None),
            was_subscribed: AtomicBool::new(false),
        })
    }

    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, Option<Session>>, SwitchError> {
        let late = |_| SwitchError::Timeout { switch: self.config.name.clone(), doing: "ending an earlier call" };
        timeout(TURN, self.session.lock()).await.map_err(late)
    }

    fn rejected(&self, reason: String) -> SwitchError {
        SwitchError::Rejected { switch: self.config.name.clone(), reason }
    }

    fn protocol(&self, reason: String) -> SwitchError {
        SwitchError::Protocol { switch: self.config.name.clone(), reason }
    }

    async fn open(&self) -> Result<Session, SwitchError> {
        let until = Instant::now() + CONNECT;
        let client = self.target.open(until).await?;
        let method = "/gnmi.gNMI/Capabilities";
        let can: Option<CapabilityResponse> = client.call(method, CapabilityRequest {}, until, "asking what it can do").await?;
        let can = can.unwrap_or_default();
        if !can.supported_models.is_empty() && !can.supported_models.iter().any(|it| it.name == "openconfig-interfaces") {
            return Err(self.rejected("it does not know the model openconfig-interfaces".into()));
        }
        let encodings = &can.supported_encodings;
        let encoding = if encodings.contains(&JSON_IETF) || encodings.is_empty() { JSON_IETF } else { JSON };
        if !encodings.is_empty() && !encodings.contains(&encoding) {
            return Err(self.rejected("it does not speak JSON".into()));
        }
        Ok(Session { client, encoding })
    }

    /// A session and what was read in it. A kept session may turn out to be dead only now.
    async fn look(&self, kept: &mut Option<Session>) -> Result<(Session, SwitchSeen), SwitchError> {
        if let Some(session) = kept.take() {
            match self.read(&session).await {
                Err(SwitchError::Unreachable { .. }) => {}
                other => return other.map(|seen| (session, seen)),
            }
        }
        let session = self.open().await?;
        let seen = self.read(&session).await?;
        Ok((session, seen))
    }

    async fn get(&self, session: &Session, path: Path, data_type: i32, tree: &mut Value, until: Instant) -> Result<(), SwitchError> {
        let message = GetRequest { path: vec![path], data_type, encoding: session.encoding, ..GetRequest::default() };
        let answer: Option<GetResponse> = session.client.call("/gnmi.gNMI/Get", message, until, "reading its configuration").await?;
        values::merge(tree, &answer.unwrap_or_default().notification).map_err(|reason| self.protocol(reason))
    }

    async fn read(&self, session: &Session) -> Result<SwitchSeen, SwitchError> {
        let until = Instant::now() + READ;
        let (mut config, mut states) = (json!({}), json!({}));
        let vlans = values::vlans(instance(&self.config.bridge));
        for path in [values::path(&[("interfaces", None)]), values::path(&[("lacp", None)]), vlans] {
            self.get(session, path, CONFIG, &mut config, until).await?;
        }
        let kinds = values::path(&[("interfaces", None), ("interface", Some(("name", "*"))), ("state", None), ("type", None)]);
        match self.get(session, kinds, STATE, &mut states, until).await {
            // A switch that has no names beyond its configuration may refuse.
            Ok(()) | Err(SwitchError::Rejected { .. }) => {}
            Err(error) => return Err(error),
        }
        let seen = openconfig::seen(&config, &states, self.config.isolation_vlan, &self.config.bridge);
        Ok(complete(seen.map_err(|reason| self.protocol(reason))?, None))
    }

    async fn apply(&self, wanted: &SwitchWanted) -> Result<Ensured, SwitchError> {
        let mut kept = self.turn().await?;
        let (session, before) = self.look(&mut kept).await?;
        let done = self.change(&session, wanted, before).await;
        // After a refusal the session is as good as before; after anything else nobody knows.
        if matches!(done, Ok(_) | Err(SwitchError::Rejected { .. })) {
            kept.replace(session);
        }
        done
    }

    async fn change(&self, session: &Session, wanted: &SwitchWanted, before: SwitchSeen) -> Result<Ensured, SwitchError> {
        let plan = plan(wanted, &before, &FACTS, self.config.isolation_vlan).map_err(|reason| self.rejected(reason))?;
        let changes = match plan.changes {
            none if none.is_empty() && self.is_unsure.load(Ordering::Relaxed) => again(wanted, &before),
            changes => changes,
        };
        if changes.is_empty() {
            return Ok(Ensured { after: before.clone(), before, committed: false });
        }
        let edits = edits(&changes, &before, self.config.isolation_vlan).map_err(|reason| self.rejected(reason))?;
        let message = values::request(&edits, instance(&self.config.bridge), session.encoding);
        let until = Instant::now() + WRITE;
        let doing = "changing its configuration";
        let done: Result<Option<SetResponse>, _> = session.client.call("/gnmi.gNMI/Set", message, until, doing).await;
        self.is_unsure.store(!matches!(done, Ok(Some(_))), Ordering::Relaxed);
        match done {
            Ok(Some(_)) => {}
            Ok(None) => return Err(self.rejected(asked(&format!("{doing}: it has no such thing"), &changes))),
            Err(SwitchError::Rejected { reason, .. }) => return Err(self.rejected(asked(&reason, &changes))),
            Err(error) => return Err(error),
        }
        let after = self.read(session).await?;
        Ok(Ensured { before, after, committed: true })
    }

    async fn subscribe(&self) -> Result<Subscribed, SwitchError> {
        let session = self.open().await?;
        let interface = |names: &[&'static str]| {
            let mut steps = vec![("interfaces", None), ("interface", Some(("name", "*")))];
            steps.extend(names.iter().map(|it| (*it, None)));
            values::path(&steps)
        };
        let paths = [
            interface(&["config"]),
            interface(&["ethernet", "config"]),
            interface(&["ethernet", "switched-vlan", "config"]),
            interface(&["aggregation", "switched-vlan", "config"]),
            values::vlans(instance(&self.config.bridge)),
        ];
        let subscription = paths.map(|path| Subscription { path: Some(path), mode: ON_CHANGE }).into();
        let list = SubscriptionList { subscription, encoding: session.encoding, ..SubscriptionList::default() };
        let asked = session.client.subscribe(SubscribeRequest { subscribe: Some(list) });
        let late = |_| SwitchError::Timeout { switch: self.config.name.clone(), doing: "subscribing to its changes" };
        let told = timeout(CONNECT, asked).await.map_err(late)??;
        Ok(Subscribed { told, is_synced: false, _client: session.client })
    }

    /// Waits for a change after all that there was at first has been told.
    async fn watch(&self) -> Result<(), SwitchError> {
        let mut kept = self.subscribed.lock().await;
        let subscribed = match &mut *kept {
            Some(subscribed) => subscribed,
            none => none.insert(self.subscribe().await?),
        };
        loop {
            let reason = match subscribed.told.message().await {
                Ok(Some(it)) if it.sync_response => {
                    subscribed.is_synced = true;
                    // What happened since it was listened to before, nobody knows.
                    if self.was_subscribed.swap(true, Ordering::Relaxed) {
                        return Ok(());
                    }
                    continue;
                }
                Ok(Some(it)) if subscribed.is_synced && it.update.is_some() => {
                    // One change can be many messages.
                    while let Some(Ok(Some(_))) = subscribed.told.message().now_or_never() {}
                    return Ok(());
                }
                Ok(Some(_)) => continue,
                Ok(None) => "it ended the subscription".to_owned(),
                Err(status) => status.message().to_owned(),
            };
            *kept = None;
            return Err(self.protocol(reason));
        }
    }
}

/// All that is wanted and is so, said once more.
fn again(wanted: &SwitchWanted, seen: &SwitchSeen) -> Vec<Change> {
    let is_so = |port: &str, mode: &PortMode| matches!(seen.mode(port), SeenMode::Known(known) if known == mode);
    let ports = wanted.ports.iter().filter(|(port, it)| is_so(port, &it.mode)).map(|(port, it)| Change::SetPort {
        port: port.clone(),
        mode: it.mode.clone(),
        seen: seen.mode(port).clone(),
    });
    let vlans = wanted.vlans.iter().filter(|(vlan, it)| seen.vlans.get(vlan).and_then(|seen| seen.name.as_ref()) == Some(&it.name));
    ports.chain(vlans.map(|(vlan, it)| Change::AddVlan { vlan: *vlan, name: it.name.clone() })).collect()
}

impl Switch for Gnmi {
    fn facts(&self) -> Facts {
        FACTS
    }

    fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>> {
        Box::pin(async {
            let mut kept = self.turn().await?;
            let (session, seen) = self.look(&mut kept).await?;
            kept.replace(session);
            Ok(seen)
        })
    }

    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>> {
        Box::pin(self.apply(wanted))
    }

    fn changed(&self) -> Option<Fut<'_, Result<(), SwitchError>>> {
        Some(Box::pin(self.watch()))
    }
}
