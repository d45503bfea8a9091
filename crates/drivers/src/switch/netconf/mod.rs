//! Switches with NETCONF over SSH (RFC 6241, RFC 6242) and the OpenConfig models.
//!
//! A change is made in the candidate, validated, and committed under a timer that takes it back (RFC 6241 section 8.4). It is confirmed
//! when the switch still answers and what is not ours is as it was: a port of ours that reads back otherwise stays what was committed, for
//! taking it back could open another one. What a switch cannot (candidate, timer, validation, a startup configuration) is left out.

mod framing;
mod session;
#[cfg(test)]
mod tests;
mod xml;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use self::session::Session;
use super::cli::switch::complete;
use super::openconfig::{self, asked, edits, instance};
use super::plan::{Plan, plan};
use super::{Ensured, Facts, Switch, SwitchConfig, SwitchError, SwitchSeen, SwitchWanted};
use crate::Fut;
use crate::transport::ssh::SshTarget;

/// Until both have said hello.
const LOG_IN: Duration = Duration::from_secs(15);
/// Reading all there is to read.
const READ: Duration = Duration::from_secs(25);
/// From the lock to the end of it.
const WRITE: Duration = Duration::from_secs(300);
/// How long the switch waits for the confirmation, in seconds; longer than we take to read it back.
const CONFIRM_SECONDS: u64 = 120;
/// How long a call waits for the one before it.
const TURN: Duration = Duration::from_secs(600);

/// What can be done. That nothing has to be saved is found out later, where it is so.
const FACTS: Facts = Facts { saves: true, ..openconfig::FACTS };

/// A switch that speaks NETCONF.
pub(in crate::switch) struct Netconf {
    config: SwitchConfig,
    target: SshTarget,
    /// Kept between calls, made again after any trouble. Locked during a call: one at a time.
    session: tokio::sync::Mutex<Option<Session>>,
}

impl Netconf {
    /// # Errors
    /// `Config`: see [`SshTarget::of`].
    pub(in crate::switch) fn new(config: SwitchConfig) -> Result<Self, SwitchError> {
        let target = SshTarget::of(&config)?;
        Ok(Self { config, target, session: tokio::sync::Mutex::new(None) })
    }

    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, Option<Session>>, SwitchError> {
        let late = |_| SwitchError::Timeout { switch: self.config.name.clone(), doing: "ending an earlier call" };
        timeout(TURN, self.session.lock()).await.map_err(late)
    }

    async fn open(&self) -> Result<Session, SwitchError> {
        let until = Instant::now() + LOG_IN;
        let ssh = self.target.open(until).await?;
        let stream = ssh.subsystem("netconf", until).await?;
        Session::begin(&self.config.name, Box::new(stream), Some(ssh), until).await
    }

    /// A session and what was read in it. A kept session may turn out to be dead only now.
    async fn look(&self, kept: &mut Option<Session>) -> Result<(Session, SwitchSeen), SwitchError> {
        if let Some(mut session) = kept.take().filter(|it| !it.is_closed()) {
            match read(&mut session, &self.config).await {
                Err(SwitchError::Unreachable { .. }) => {}
                other => return other.map(|seen| (session, seen)),
            }
        }
        let mut session = self.open().await?;
        let seen = read(&mut session, &self.config).await?;
        Ok((session, seen))
    }

    async fn apply(&self, wanted: &SwitchWanted) -> Result<Ensured, SwitchError> {
        let mut kept = self.turn().await?;
        let (mut session, before) = self.look(&mut kept).await?;
        let done = ensure(&mut session, &self.config, wanted, before).await;
        // After a refusal the session is as good as before; after anything else nobody knows.
        if matches!(done, Ok(_) | Err(SwitchError::Rejected { .. })) {
            kept.replace(session);
        }
        done
    }
}

impl Switch for Netconf {
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

    fn lingers(&self) -> Duration {
        Duration::from_secs(CONFIRM_SECONDS)
    }

    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>> {
        Box::pin(self.apply(wanted))
    }

    fn host_key(&self) -> Option<String> {
        self.target.learned()
    }
}

/// Reads what is in force, and what the next start comes back to.
async fn read(session: &mut Session, config: &SwitchConfig) -> Result<SwitchSeen, SwitchError> {
    let until = Instant::now() + READ;
    let running = datastore(session, config, "running", until).await?;
    // A switch that has no names beyond its configuration may refuse.
    let names = match session.call(&format!("<get>{}</get>", xml::names_filter()), until, "listing its interfaces").await {
        Ok(reply) => reply.child("data").map_or(Value::Null, xml::Node::value),
        Err(SwitchError::Rejected { .. }) => Value::Null,
        Err(error) => return Err(error),
    };
    let seen = openconfig::seen(&running, &names, config.isolation_vlan, &config.bridge).map_err(|reason| session.protocol(reason))?;
    if !session.can("startup:1.0") {
        return Ok(complete(seen, None));
    }
    let saved = match datastore(session, config, "startup", until).await {
        Ok(saved) => openconfig::seen(&saved, &Value::Null, config.isolation_vlan, &config.bridge).unwrap_or_default(),
        Err(SwitchError::Rejected { .. }) => SwitchSeen::default(),
        Err(error) => return Err(error),
    };
    Ok(complete(seen, Some(&saved)))
}

async fn datastore(session: &mut Session, config: &SwitchConfig, name: &str, until: Instant) -> Result<Value, SwitchError> {
    let filter = xml::filter(instance(&config.bridge));
    let call = format!("<get-config><source><{name}/></source>{filter}</get-config>");
    let reply = session.call(&call, until, "reading its configuration").await?;
    reply.child("data").map(xml::Node::value).ok_or_else(|| session.protocol("it answered a question with no data".into()))
}

fn planned(config: &SwitchConfig, wanted: &SwitchWanted, seen: &SwitchSeen) -> Result<Plan, SwitchError> {
    plan(wanted, seen, &FACTS, config.isolation_vlan).map_err(|reason| SwitchError::Rejected { switch: config.name.clone(), reason })
}

async fn ensure(session: &mut Session, config: &SwitchConfig, wanted: &SwitchWanted, before: SwitchSeen) -> Result<Ensured, SwitchError> {
    let plan = planned(config, wanted, &before)?;
    let saves = session.can("startup:1.0");
    if plan.changes.is_empty() && !(plan.save && saves) {
        return Ok(Ensured { after: before.clone(), before, committed: false });
    }
    let until = Instant::now() + WRITE;
    let target = if session.can("candidate:1.0") {
        "candidate"
    } else if session.can("writable-running:1.0") {
        "running"
    } else {
        return Err(SwitchError::Rejected { switch: config.name.clone(), reason: "its configuration cannot be written".into() });
    };
    session.call(&format!("<lock><target><{target}/></target></lock>"), until, "locking its configuration").await?;
    let done = change(session, config, wanted, target, until).await;
    if let Err(SwitchError::Rejected { .. }) = &done
        && target == "candidate"
    {
        discard(session, config, "<discard-changes/>", until).await;
    }
    if matches!(done, Ok(_) | Err(SwitchError::Rejected { .. })) {
        discard(session, config, &format!("<unlock><target><{target}/></target></unlock>"), until).await;
    }
    done?;
    let after = read(session, config).await?;
    Ok(Ensured { before, after, committed: true })
}

/// A step of giving up, whose failure changes nothing: the lock and the candidate end with the session at the latest.
async fn discard(session: &mut Session, config: &SwitchConfig, call: &str, until: Instant) {
    if let Err(error) = session.call(call, until, "letting its configuration go").await {
        tracing::debug!(switch.name = %config.name, %error, "it did not let its configuration go in an orderly way");
    }
}

/// Makes the change under the lock.
async fn change(
    session: &mut Session,
    config: &SwitchConfig,
    wanted: &SwitchWanted,
    target: &str,
    until: Instant,
) -> Result<(), SwitchError> {
    // Somebody may have been here between the reading and the lock.
    let before = read(session, config).await?;
    let plan = planned(config, wanted, &before)?;
    if !plan.changes.is_empty() {
        let rejected = |reason: String| SwitchError::Rejected { switch: config.name.clone(), reason };
        let edits = edits(&plan.changes, &before, config.isolation_vlan).map_err(rejected)?;
        let content = xml::config(&edits, instance(&config.bridge));
        let rollback = if session.can("rollback-on-error:1.0") { "<error-option>rollback-on-error</error-option>" } else { "" };
        let call = format!(
            "<edit-config><target><{target}/></target><default-operation>merge</default-operation>{rollback}{content}</edit-config>"
        );
        let done = match session.call(&call, until, "changing its configuration").await {
            Ok(_) if target == "candidate" => commit(session, config, wanted, &before, until).await,
            other => other.map(drop),
        };
        done.map_err(|error| match error {
            SwitchError::Rejected { reason, .. } => rejected(asked(&reason, &plan.changes)),
            other => other,
        })?;
    }
    if session.can("startup:1.0") {
        let call = "<copy-config><target><startup/></target><source><running/></source></copy-config>";
        session.call(call, until, "saving its configuration").await?;
    }
    Ok(())
}

async fn commit(
    session: &mut Session,
    config: &SwitchConfig,
    wanted: &SwitchWanted,
    before: &SwitchSeen,
    until: Instant,
) -> Result<(), SwitchError> {
    if session.can("validate:1.0") || session.can("validate:1.1") {
        session.call("<validate><source><candidate/></source></validate>", until, "validating the change").await?;
    }
    let can_cancel = session.can("confirmed-commit:1.1");
    if !can_cancel && !session.can("confirmed-commit:1.0") {
        session.call("<commit/>", until, "committing").await?;
        return Ok(());
    }
    let call = format!("<commit><confirmed/><confirm-timeout>{CONFIRM_SECONDS}</confirm-timeout></commit>");
    session.call(&call, until, "committing").await?;
    let after = read(session, config).await?;
    if let Some(port) = harmed(wanted, before, &after) {
        if !can_cancel {
            // The timer does, in its time: until then nobody knows.
            return Err(SwitchError::Timeout { switch: config.name.clone(), doing: "taking a change back that harmed others" });
        }
        session.call("<cancel-commit/>", until, "taking the change back").await.map_err(|error| match error {
            SwitchError::Rejected { switch, .. } => SwitchError::Timeout { switch, doing: "taking a change back that harmed others" },
            other => other,
        })?;
        let reason = format!("port {port}, which is not ours, became {}: the change is taken back", after.mode(&port));
        return Err(SwitchError::Rejected { switch: config.name.clone(), reason });
    }
    session.call("<commit/>", until, "confirming the change").await?;
    Ok(())
}

/// A port that is not ours and is otherwise than before.
fn harmed(wanted: &SwitchWanted, before: &SwitchSeen, after: &SwitchSeen) -> Option<String> {
    let is_ours = |port: &str| {
        let lag = |seen: &SwitchSeen| seen.lags.get(port).is_some_and(|it| it.is_ours);
        wanted.ports.contains_key(port) || wanted.uplinks.contains_key(port) || wanted.lags.contains_key(port) || lag(before) || lag(after)
    };
    before.ports.keys().find(|port| !is_ours(port) && before.mode(port) != after.mode(port)).cloned()
}
