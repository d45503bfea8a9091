//! Booting a ramdisk and being called by its agent.

use std::time::Duration;

use drivers::agent::{AgentError, CommandState, CommandStatus};
use drivers::bmc::{BmcError, BootDevice, PowerAction};
use model::baremetal::{AgentSession, AgentSessionDesired, Interface, NodeInventory, Phase, PowerState, ProvisionState};
use model::{Id, Object, Secret, Timestamp};
use net::Netns;
use serde_json::{Value, json};

use super::{MAX_BOOTS, Machine, SOON, WAIT};
use crate::boot::medium;
use crate::outside::Agent;
use crate::provisioning;
use crate::runtime::{Fault, Look, Next};

/// How long an agent may be silent before its machine is looked after, in seconds.
const QUIET: f64 = 60.0;

/// An agent that called in, and what it was told so far.
pub(super) struct Spoken {
    pub(super) agent: Box<dyn Agent>,
    pub(super) commands: Vec<CommandState>,
}

/// Why an agent is not spoken to now.
pub(super) enum Silence {
    /// Look again.
    Wait(String, Duration),
    /// Its ramdisk is to be booted again.
    Boot(String),
    /// The agent has not called in.
    Agent,
    /// The job cannot go on.
    Fail(String),
}

impl Machine<'_> {
    fn is_by_media(&self) -> bool {
        self.interface(Interface::Boot) == "redfish-virtual-media"
    }

    /// From a machine that is surely off, so that an agent of an earlier boot cannot be mistaken for this one's.
    pub(super) async fn boot(mut self) -> Look {
        match self.off_or_late().await? {
            Ok(true) => {}
            Ok(false) => return self.going_off("being switched off before it boots").await,
            Err(why) => return self.fail(&format!("it could not be switched off: {why}")).await,
        }
        if let Some(held) = self.supply_for_job().await? {
            return self.held_up(held).await;
        }
        match self.order_boot().await {
            Ok(()) => {}
            Err(Ok(fault)) => return Err(fault),
            Err(Err(why)) => return self.fail(&why).await,
        }
        let old = if self.is_by_media() { None } else { self.session().await? };
        self.node.observed.power = Some(PowerState::On);
        self.node.observed.command = None;
        self.node.observed.booted_at = Some(Timestamp::now());
        self.node.observed.boots += 1;
        let state = self.node.observed.state;
        self.go_with(state, Phase::Agent, "its ramdisk is booting", |batch| match &old {
            Some(session) => batch.remove(session),
            None => batch,
        })
        .await
    }

    /// Chooses what it boots from and switches it on. The inner errors: what may be tried again, and why it can not.
    async fn order_boot(&self) -> Result<(), Result<Fault, String>> {
        let bmc = self.bmc().map_err(|error| Err(error.to_string()))?;
        let soon = |error: BmcError| match error {
            BmcError::Unsupported { .. } | BmcError::Config { .. } => Err(error.to_string()),
            other => Ok(Fault::bmc(other)),
        };
        let device = match self.interface(Interface::Boot) {
            "redfish-virtual-media" => {
                let url = self.medium().await.map_err(Ok)?;
                let Some(url) = url else { return Err(Err("nobody knows where BMCs reach this control plane (baremetal.api_url)".into())) };
                bmc.insert_media("cdrom", &url).await.map_err(soon)?;
                BootDevice::Cdrom
            }
            "http" | "http-ipxe" => BootDevice::UefiHttp,
            _ => BootDevice::Pxe,
        };
        match bmc.set_boot(device, true).await {
            // Whose boot device nobody can set is set so by hand.
            Err(BmcError::Unsupported { .. }) if device != BootDevice::Cdrom => {}
            other => other.map_err(soon)?,
        }
        let action = if self.node.desired.disable_power_off { PowerAction::Reset } else { PowerAction::On };
        bmc.set_power(action).await.map_err(soon)
    }

    /// A new session whose token is written into the medium, and where the medium is.
    async fn medium(&self) -> Result<Option<String>, Fault> {
        let Some(base) = &self.cx.config.baremetal.api_url else { return Ok(None) };
        let Some(id) = Id::<AgentSession>::parse(self.node.id.as_str()) else { return Ok(None) };
        let desired = AgentSessionDesired {
            token: Secret::random(),
            callback_url: None,
            verify_ca: None,
            heartbeat_at: None,
            agent_version: None,
            status: None,
            status_message: None,
            pregenerated: true,
        };
        let session = Object::new(id, None, "", desired);
        if let Some(old) = self.session().await? {
            self.cx.store.apply(self.cx.facts().remove(&old)).await?;
        }
        self.cx.store.apply(self.cx.facts().create(&session)).await?;
        Ok(Some(medium::url(base, &self.node.id, &session)))
    }

    /// Takes the ramdisk's medium out.
    pub(super) async fn eject(&self) -> Result<(), BmcError> {
        if !self.is_by_media() {
            return Ok(());
        }
        match self.bmc()?.eject_media(Some("cdrom")).await {
            Err(BmcError::Unsupported { .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn session(&self) -> Result<Option<Object<AgentSession>>, Fault> {
        let Some(id) = Id::parse(self.node.id.as_str()) else { return Ok(None) };
        Ok(self.cx.store.get(&id).await?)
    }

    /// Has the machine prove what it booted, where that is asked of it; the inner error is what is to be done instead. What it proved is
    /// written with the phase that follows.
    async fn attested(&mut self) -> Result<Result<(), Silence>, Fault> {
        let info = &self.node.desired.driver_info.0;
        let set = |it: &Value| !matches!(it, Value::Null | Value::Bool(false));
        let key = "attestation_policy";
        let policy = info.get(key).or_else(|| self.node.desired.properties.get(key)).filter(|it| set(it));
        let of_image = self.node.desired.instance_info.0.get(key).filter(|it| set(it));
        if policy.is_none() && of_image.is_none() && !info.get("attestation").is_some_and(set) {
            return Ok(Ok(()));
        }
        let booted = self.node.observed.booted_at;
        if self.node.observed.attested_at.is_some_and(|at| booted.is_none_or(|booted| at >= booted)) {
            return Ok(Ok(()));
        }
        let failed = |why: String| Ok(Err(Silence::Fail(format!("attestation failed: {why}"))));
        let read = |it: Option<&Value>| attest::Policy::from_json(it.unwrap_or(&Value::Null));
        let policy = match (policy, of_image) {
            (Some(own), Some(image)) => read(Some(own)).and_then(|own| Ok(own.and(&read(Some(image))?))),
            (own, image) => read(own.or(image)),
        };
        let policy = match policy {
            Ok(policy) => policy,
            Err(error) => return failed(error.to_string()),
        };
        let Some(session) = self.session().await? else { return Ok(Err(Silence::Agent)) };
        let booted = booted.map(|it| it.0.to_string()).unwrap_or_default();
        let nonce = attest::nonce(&[self.node.id.as_str().as_bytes(), session.desired.token.reveal().as_bytes(), booted.as_bytes()]);
        let spoken = match self.speak().await? {
            Ok(spoken) => spoken,
            Err(silence) => return Ok(Err(silence)),
        };
        let params = json!({"nonce": attest::hex(&nonce), "pcrs": policy.registers().collect::<Vec<u8>>()});
        let answer = match self.ask(&spoken, "attest.quote", params).await? {
            Ok(answer) => answer,
            Err(silence) => return Ok(Err(silence)),
        };
        let enrolled = self.node.desired.driver_info.0.get("tpm_attestation_key").and_then(Value::as_str);
        let trust = match enrolled.or(self.node.observed.attestation_key.as_deref()) {
            Some(key) => attest::Trust::Pinned(key),
            None if self.cx.config.baremetal.attestation_first_use => attest::Trust::FirstUse,
            None => attest::Trust::Pinned(""),
        };
        match attest::Evidence::from_json(&answer).and_then(|it| attest::verify(&it, &nonce, trust, &policy)) {
            Ok(proved) => {
                self.node.observed.attestation_key = Some(proved.key);
                self.node.observed.attested_at = Some(Timestamp::now());
                Ok(Ok(()))
            }
            Err(error) => failed(error.to_string()),
        }
    }

    pub(super) async fn agent(mut self) -> Look {
        let limit = f64::from(self.cx.config.baremetal.agent_timeout_seconds);
        if self.node.observed.state == ProvisionState::Inspecting {
            if let Some(found) = self.fresh_inventory().await? {
                return self.inspected(found).await;
            }
        } else if self.session().await?.is_some_and(|it| it.desired.callback_url.is_some()) {
            if let Some(why) = self.wiring_fault().await? {
                return self.fail(&why).await;
            }
            match Box::pin(self.attested()).await? {
                Ok(()) => return self.phase(Phase::Work, "its agent called in").await,
                Err(Silence::Wait(_, after)) if self.waited() <= limit => return Ok(Next::Again(after)),
                Err(Silence::Wait(..) | Silence::Agent) => {}
                Err(silence) => return self.silence(silence).await,
            }
        }
        if self.waited() > limit {
            let boots = self.node.observed.boots;
            if boots >= MAX_BOOTS {
                return self.fail(&format!("no agent called in after {boots} boots of {limit} s each")).await;
            }
            return self.phase(Phase::Boot, "no agent called in; booting again").await;
        }
        // Whoever calls in wakes us.
        let left = (limit - self.waited()).clamp(1.0, 15.0);
        Ok(Next::Again(Duration::from_secs_f64(left)))
    }

    /// What inspection found, if that was since this one began.
    async fn fresh_inventory(&self) -> Result<Option<Object<NodeInventory>>, Fault> {
        let Some(id) = Id::<NodeInventory>::parse(self.node.id.as_str()) else { return Ok(None) };
        let since = self.node.observed.booted_at;
        Ok(self.cx.store.get(&id).await?.filter(|it| since.is_none_or(|since| it.updated_at.unwrap_or(it.created_at) >= since)))
    }

    /// The namespace its agent is reached from.
    async fn netns(&self) -> Result<Netns, Fault> {
        if !self.is_wired() {
            return Ok(Netns::host());
        }
        let edge =
            self.cx.config.edge.as_ref().ok_or_else(|| Fault::outside("this host has no edge switch ([edge] in the configuration)"))?;
        let segment = provisioning::of_node(self.cx, &self.node.id).await?;
        segment.map(|it| it.netns(edge)).ok_or_else(|| Fault::outside("its ramdisk is on no provisioning network"))
    }

    /// Its agent, with the list of what it was told.
    pub(super) async fn speak(&self) -> Result<Result<Spoken, Silence>, Fault> {
        let Some(session) = self.session().await? else {
            return Ok(Err(Silence::Boot("its agent's session is gone; booting again".into())));
        };
        let desired = &session.desired;
        let Some(url) = desired.callback_url.clone() else {
            return Ok(Err(Silence::Agent));
        };
        let agent =
            self.cx.outside.agent(&url, desired.token.clone(), desired.verify_ca.clone(), self.netns().await?).map_err(Fault::outside)?;
        match agent.commands().await {
            Ok(commands) => Ok(Ok(Spoken { agent, commands })),
            Err(error @ (AgentError::Unreachable { .. } | AgentError::Timeout { .. })) => {
                // The machine may have been switched off or reset by hand: then the ramdisk is booted again.
                let power = self.bmc().map_err(Fault::bmc)?.power().await.map_err(Fault::bmc)?;
                let is_on = power == drivers::bmc::PowerState::On || self.interface(Interface::Power) == "fake";
                let quiet = desired.heartbeat_at.is_none_or(|at| !(0.0..=QUIET).contains(&Timestamp::now().seconds_since(at)));
                Ok(Err(match (!is_on || quiet, self.node.observed.boots < MAX_BOOTS) {
                    (true, true) => Silence::Boot(format!("{error}; booting again")),
                    (true, false) => Silence::Fail(error.to_string()),
                    (false, _) => Silence::Wait(error.to_string(), Duration::from_secs(1)),
                }))
            }
            Err(error) => Ok(Err(Silence::Fail(error.to_string()))),
        }
    }

    /// Does what silence asks for.
    pub(super) async fn silence(self, silence: Silence) -> Look {
        match silence {
            Silence::Wait(why, _) if self.is_overdue() => self.fail(&why).await,
            Silence::Wait(why, after) => self.wait(&why, after).await,
            Silence::Boot(why) => self.phase(Phase::Boot, &why).await,
            Silence::Agent => self.phase(Phase::Agent, "its agent has not called in").await,
            Silence::Fail(why) => self.fail(&why).await,
        }
    }

    /// The node as agents are told it.
    pub(super) fn told(&self) -> Value {
        json!({
            "uuid": self.node.id, "name": self.node.name, "properties": self.node.desired.properties,
            "instance_info": {}, "driver": self.node.desired.driver, "target_raid_config": self.node.desired.target_raid_config,
            "raid_config": self.node.observed.raid_config,
            "driver_internal_info": {
                "agent_erase_devices_iterations": 1, "agent_erase_devices_zeroize": true, "agent_continue_if_secure_erase_failed": false,
                "agent_continue_if_ata_erase_failed": false, "agent_enable_nvme_secure_erase": true, "agent_enable_ata_secure_erase": true,
                "agent_erase_skip_read_only": false, "disk_erasure_concurrency": 4,
            },
        })
    }

    pub(super) fn told_ports(&self) -> Value {
        self.cards
            .iter()
            .map(|card| json!({"uuid": card.id, "address": card.desired.address, "pxe_enabled": card.desired.pxe_enabled}))
            .collect()
    }

    /// Asks the agent for what it answers at once (`clean.get_clean_steps`); an answer of this boot counts. The inner error is what is
    /// to be done instead.
    pub(super) async fn ask(&self, spoken: &Spoken, name: &str, params: Value) -> Result<Result<Value, Silence>, Fault> {
        let short = name.rsplit('.').next().unwrap_or(name);
        let known = spoken.commands.iter().rfind(|it| it.name == short || it.name == name);
        match known.map(|it| (&it.status, it)) {
            Some((CommandStatus::Succeeded, it)) => return Ok(Ok(it.result.clone())),
            Some((CommandStatus::Running, _)) => return Ok(Err(Silence::Wait(format!("its agent does {short}"), SOON))),
            Some((CommandStatus::Failed | CommandStatus::VersionMismatch | CommandStatus::Other(_), it)) => {
                let why = it.error.clone().unwrap_or_else(|| "no reason given".into());
                return Ok(Err(Silence::Fail(format!("{short} failed: {why}"))));
            }
            None => {}
        }
        match spoken.agent.start(name, params).await {
            Ok(_) => Ok(Err(Silence::Wait(format!("its agent does {short}"), Duration::from_millis(20)))),
            Err(AgentError::Busy { .. }) => Ok(Err(Silence::Wait("its agent is busy".into(), WAIT))),
            Err(error @ (AgentError::Unreachable { .. } | AgentError::Timeout { .. })) => Err(Fault::outside(error)),
            Err(error) => Ok(Err(Silence::Fail(error.to_string()))),
        }
    }
}
