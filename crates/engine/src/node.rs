//! Machines: from enrolment to service and back through erasing.
//!
//! Law of the place: a machine changes hands only while it is off, and goes on only after its switch ports were read back. Deploying
//! and cleaning share one sequence of phases (see [`Phase`]); each phase is entered by looking, so that a crash anywhere costs at
//! most the repetition of one phase.

use std::time::Duration;

use drivers::agent::{AgentClient, AgentError, CommandStatus};
use drivers::bmc::{Bmc, BootDevice, HardwareConfig, PowerAction};
use model::baremetal::{AgentCommand, AgentSession, BaremetalPort, Interface, Node, Phase, PowerState, PowerVerb, ProvisionState, Verb, transition};
use model::fabric::{self, Switch, SwitchPort, SwitchPortDesired};
use model::image_compute::{Image, ImageStatus};
use model::net::{Binding, LocalLink, Port, PortStatus, ip_key};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Value, json};
use store::{Query, Severity};

use crate::edge;
use crate::runtime::{Cx, Fault, Look, Next};

/// How often the power of an idle machine is read.
const RESYNC: Duration = Duration::from_secs(60);
/// How soon a condition outside is looked at again.
const SOON: Duration = Duration::from_millis(200);
const WAIT: Duration = Duration::from_millis(700);
/// How long a BMC may fail to answer before enrolling it is given up, in seconds.
const BMC_LIMIT: f64 = 30.0;
/// How long a ramdisk may take to call in before it is booted again, in seconds.
const AGENT_LIMIT: f64 = 300.0;
/// How often a ramdisk is booted in one job before the job has failed.
const MAX_BOOTS: u32 = 3;
/// How an agent's words begin when it could not fetch the image (Source: ironic-python-agent, errors.ImageDownloadError).
const DOWNLOAD_FAILED: &str = "Error downloading image";
/// How long writing or erasing may take, in seconds.
const WORK_LIMIT: f64 = 4.0 * 3600.0;

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(node) = cx.load::<Node>().await? else {
        return Ok(Next::Gone);
    };
    let cards = cx.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
    let look = Machine { cx, node, cards };
    if let Some(request) = look.node.desired.request.clone().filter(|it| it.seq > look.node.observed.handled) {
        return look.take_up(request.seq, request.verb).await;
    }
    match look.node.observed.phase {
        Phase::Rest => look.rest().await,
        Phase::Bmc => look.bmc_answers().await,
        Phase::Off | Phase::Place | Phase::Before => look.off().await,
        Phase::Plug => look.plug().await,
        Phase::Boot => look.boot().await,
        Phase::Agent => look.agent().await,
        Phase::Work => look.work().await,
        Phase::Stop => look.stop().await,
        Phase::Unplug => look.unplug().await,
        Phase::Tenant => look.tenant().await,
        Phase::Start => look.start().await,
    }
}

/// One look at one machine.
struct Machine<'a> {
    cx: &'a Cx,
    node: Object<Node>,
    cards: Vec<Object<BaremetalPort>>,
}

impl Machine<'_> {
    async fn take_up(mut self, seq: u64, verb: Verb) -> Look {
        let from = self.node.observed.state;
        self.node.observed.handled = seq;
        let Some((state, target)) = transition(from, self.node.observed.is_waiting(), verb) else {
            // The API checks this too; the state moved between its look and ours.
            self.node.observed.last_error = Some(format!("cannot {} from {}", verb.as_str(), from.as_str()));
            self.cx.store.apply(self.cx.facts().observe(&self.node)).await?;
            return Ok(Next::Again(RESYNC));
        };
        let seen = &mut self.node.observed;
        seen.last_error = None;
        seen.target = Some(target);
        seen.failing = false;
        seen.boots = 0;
        let phase = match state {
            ProvisionState::Verifying => Phase::Bmc,
            ProvisionState::Manageable => {
                seen.target = None;
                Phase::Rest
            }
            _ => Phase::Off,
        };
        self.to(state, phase, &format!("asked to {}", verb.as_str())).await
    }

    /// Writes the next phase (and state) with a line of history when the state changes.
    async fn to(mut self, state: ProvisionState, phase: Phase, reason: &str) -> Look {
        let now = Timestamp::now();
        let seen = &mut self.node.observed;
        let from = seen.state;
        let took = now.seconds_since(seen.phase_since);
        seen.state = state;
        seen.phase = phase;
        seen.phase_since = now;
        seen.reason = reason.to_owned();
        if from != state {
            seen.state_since = Some(now);
        }
        let mut batch = self.cx.facts().observe(&self.node);
        if from != state {
            let event = format!("{} -> {}", from.as_str(), state.as_str());
            let severity =
                if matches!(state, ProvisionState::CleanFailed | ProvisionState::DeployFailed) { Severity::Error } else { Severity::Info };
            batch = batch.history(&self.node.id, severity, &event, &json!({"reason": reason}));
            if let Some(owner) = &self.node.desired.instance_uuid {
                use model::Kind as _;
                batch = batch.wake_named(model::container_infra::Cluster::NAME, owner);
            }
        }
        self.cx.store.apply(batch).await?;
        tracing::info!(
            node.id = %self.node.id, node.name = self.node.name, state = state.as_str(), phase = phase.as_str(), took_s = took, reason, "node goes on"
        );
        Ok(Next::Again(if phase == Phase::Rest { RESYNC } else { Duration::ZERO }))
    }

    async fn phase(self, phase: Phase, reason: &str) -> Look {
        let state = self.node.observed.state;
        self.to(state, phase, reason).await
    }

    /// Still waiting for the same; the reason is shown to operators.
    async fn wait(mut self, reason: &str, after: Duration) -> Look {
        if self.node.observed.reason != reason {
            self.node.observed.reason = reason.to_owned();
            self.cx.store.apply(self.cx.facts().observe(&self.node)).await?;
        }
        Ok(Next::Again(after))
    }

    /// The job cannot be done: the machine is switched off and unplugged, then shown as failed.
    async fn fail(mut self, why: &str) -> Look {
        tracing::error!(node.id = %self.node.id, node.name = self.node.name, why, "the job on the node failed; isolating it");
        self.node.observed.failing = true;
        self.node.observed.last_error = Some(why.to_owned());
        self.phase(Phase::Stop, why).await
    }

    fn waited(&self) -> f64 {
        Timestamp::now().seconds_since(self.node.observed.phase_since)
    }

    fn bmc(&self) -> Result<Box<dyn Bmc>, Fault> {
        let desired = &self.node.desired;
        let config = HardwareConfig {
            node: self.node.id.to_string(),
            driver: desired.driver.clone(),
            interfaces: Interface::ALL.iter().map(|it| (*it, desired.interface(*it).to_owned())).collect(),
            info: desired.driver_info.clone(),
            properties: desired.properties.clone(),
            target_raid_config: desired.target_raid_config.clone(),
            power: self.node.observed.power.map(|it| match it {
                PowerState::On => drivers::bmc::PowerState::On,
                PowerState::Off => drivers::bmc::PowerState::Off,
            }),
        };
        drivers::bmc::open(config).map_err(Fault::outside)
    }

    /// Brings the machine to rest. True once its BMC says that it is off.
    async fn is_off(&mut self) -> Result<bool, Fault> {
        let bmc = self.bmc()?;
        let power = bmc.power().await.map_err(Fault::outside)?;
        if power == drivers::bmc::PowerState::On {
            bmc.set_power(PowerAction::Off).await.map_err(Fault::outside)?;
        }
        let off = power == drivers::bmc::PowerState::Off;
        if off {
            self.node.observed.power = Some(PowerState::Off);
        }
        Ok(off)
    }

    /// The cable ends of the machine, each with its switch.
    async fn cables(&self) -> Result<Vec<(Object<Switch>, LocalLink)>, Fault> {
        let switches = self.cx.store.list(&Query::<Switch>::new()).await?;
        let mut out = Vec::new();
        for card in &self.cards {
            let Some(link) = &card.desired.local_link_connection else { continue };
            let switch = fabric::find_switch(&switches, link)
                .ok_or_else(|| Fault::Outside(format!("no switch of ours is at the other end of {}", card.desired.address)))?;
            out.push((switch.clone(), link.clone()));
        }
        Ok(out)
    }

    /// Whether every switch port of the machine is held by nobody and was read back as isolated; `None` if so, else what is
    /// awaited, with the moment of the oldest proof.
    async fn isolation(&self) -> Result<Result<Timestamp, String>, Fault> {
        let mut oldest = Timestamp::now();
        for (switch, link) in self.cables().await? {
            let id = SwitchPortDesired::id_of(&switch.id, &link.port_id);
            let row = match self.cx.store.get::<SwitchPort>(&id).await? {
                Some(row) => row,
                None => {
                    crate::port::adopt(self.cx, &switch.id, &link.port_id).await?;
                    return Ok(Err(format!("{} of {} is being read for the first time", link.port_id, switch.id)));
                }
            };
            if !row.is_free() {
                return Ok(Err(format!("{} of {} is in quarantine until it is read back as isolated", link.port_id, switch.id)));
            }
            oldest = row.proof().map_or(oldest, |proof| proof.read_at.min(oldest));
        }
        Ok(Ok(oldest))
    }

    async fn rest(mut self) -> Look {
        if let Some(request) = self.node.desired.power_request.clone().filter(|it| it.seq > self.node.observed.handled_power) {
            let action = match request.verb {
                PowerVerb::On => PowerAction::On,
                PowerVerb::Off => PowerAction::Off,
                PowerVerb::SoftOff => PowerAction::SoftOff,
                PowerVerb::Reboot | PowerVerb::SoftReboot => PowerAction::Reset,
            };
            self.bmc()?.set_power(action).await.map_err(Fault::outside)?;
            self.node.observed.handled_power = request.seq;
            self.cx.store.apply(self.cx.facts().observe(&self.node)).await?;
            return Ok(Next::Again(SOON));
        }
        if self.node.observed.state == ProvisionState::Enroll {
            return Ok(Next::Again(RESYNC));
        }
        let power = match self.bmc()?.power().await.map_err(Fault::outside)? {
            drivers::bmc::PowerState::On => PowerState::On,
            drivers::bmc::PowerState::Off => PowerState::Off,
            drivers::bmc::PowerState::Changing => return Ok(Next::Again(SOON)),
        };
        if self.node.observed.power != Some(power) {
            self.node.observed.power = Some(power);
            self.cx.store.apply(self.cx.facts().observe(&self.node)).await?;
        }
        Ok(Next::Again(RESYNC))
    }

    /// Enrolling: the BMC answers, and the switch ports are known and isolated.
    async fn bmc_answers(mut self) -> Look {
        let tried = match self.bmc() {
            Ok(bmc) => bmc.power().await.map_err(Fault::outside),
            Err(fault) => Err(fault),
        };
        match tried {
            Ok(drivers::bmc::PowerState::Changing) => return Ok(Next::Again(SOON)),
            Ok(power) => {
                self.node.observed.power = Some(if power == drivers::bmc::PowerState::On { PowerState::On } else { PowerState::Off });
            }
            Err(fault) if self.waited() > BMC_LIMIT => {
                self.node.observed.last_error = Some(fault.to_string());
                self.node.observed.target = None;
                return self.to(ProvisionState::Enroll, Phase::Rest, &fault.to_string()).await;
            }
            Err(fault) => {
                let reason = fault.to_string();
                return self.wait(&reason, Duration::from_secs(2)).await;
            }
        }
        match self.isolation().await {
            Ok(Ok(_)) => {
                self.node.observed.target = None;
                self.to(ProvisionState::Manageable, Phase::Rest, "its BMC answers").await
            }
            Ok(Err(reason)) => self.wait(&reason, WAIT).await,
            Err(fault) => {
                self.node.observed.last_error = Some(fault.to_string());
                self.node.observed.target = None;
                self.to(ProvisionState::Enroll, Phase::Rest, &fault.to_string()).await
            }
        }
    }

    /// The machine is off and nobody's: first the power, then every port it had, then the proof.
    async fn off(mut self) -> Look {
        if !self.is_off().await? {
            return self.wait("being switched off", SOON).await;
        }
        for vif in self.node.desired.vifs.clone() {
            self.unbind(&vif).await?;
        }
        self.drop_ramdisk_port().await?;
        match self.isolation().await? {
            Err(reason) => self.wait(&reason, WAIT).await,
            Ok(proven) if self.node.observed.state == ProvisionState::Deleting => {
                let proof = json!({"read_at": proven.iso_micros()});
                let event = format!("isolation proven at {} by read-back", proven.iso_micros());
                self.node.observed.isolated_at = Some(proven);
                self.node.observed.ramdisk_port = None;
                let batch = self.cx.facts().history(&self.node.id, Severity::Info, &event, &proof);
                self.cx.store.apply(batch).await?;
                self.release_instance().await?;
                Ok(Next::Again(Duration::ZERO))
            }
            Ok(_) => {
                self.node.observed.ramdisk_port = None;
                self.phase(Phase::Plug, "off and isolated").await
            }
        }
    }

    /// The tenant has nothing of the machine any more: what it was told to run and who had it are forgotten, then it is erased.
    async fn release_instance(mut self) -> Result<(), Fault> {
        let desired = &mut self.node.desired;
        let vifs = std::mem::take(&mut desired.vifs);
        let owner = desired.instance_uuid.take();
        desired.instance_info = model::secret::Settings::default();
        desired.configdrive = None;
        let mut batch = self.cx.facts().want(&self.node);
        for vif in &vifs {
            batch = batch.free("vif", vif.as_str()).wake(vif);
        }
        if let Some(owner) = owner {
            use model::Kind as _;
            batch = batch.free("claim", self.node.id.as_str()).wake_named(model::container_infra::Cluster::NAME, &owner);
        }
        self.cx.store.apply(batch).await?;
        if let Some(fresh) = self.cx.load::<Node>().await? {
            let proven = self.node.observed.isolated_at;
            self.node = fresh;
            self.node.observed.isolated_at = proven;
            self.node.observed.ramdisk_port = None;
            self.node.observed.power = Some(PowerState::Off);
            self.to(ProvisionState::Cleaning, Phase::Plug, "isolated; to be erased").await?;
        }
        Ok(())
    }

    async fn unbind(&self, port: &Id<Port>) -> Result<(), Fault> {
        let Some(mut port) = self.cx.store.get::<Port>(port).await? else {
            return Ok(());
        };
        if port.desired.binding.host_id == self.node.id.as_str() {
            port.desired.binding.host_id = String::new();
            port.desired.binding.profile = serde_json::Map::new();
            self.cx.store.apply(self.cx.facts().want(&port).wake(&port.id)).await?;
        }
        Ok(())
    }

    async fn drop_ramdisk_port(&self) -> Result<(), Fault> {
        if let Some(port) = self.cx.store.get::<Port>(&self.ramdisk_port_id()).await?
            && !port.is_deleting()
        {
            self.cx.store.apply(self.cx.facts().mark_deleted(&port).wake(&port.id)).await?;
        }
        Ok(())
    }

    fn ramdisk_port_id(&self) -> Id<Port> {
        Id::derived(&format!("ramdisk-port/{}", self.node.id))
    }

    fn boot_card(&self) -> Result<&Object<BaremetalPort>, Fault> {
        self.cards
            .iter()
            .find(|card| card.desired.pxe_enabled && card.desired.local_link_connection.is_some())
            .ok_or_else(|| Fault::outside("it has no port that is pxe_enabled and has a local_link_connection"))
    }

    fn binding(&self, card: &Object<BaremetalPort>) -> Binding {
        let mut profile = serde_json::Map::new();
        profile.insert("local_link_information".into(), json!([card.desired.local_link_connection]));
        if let Some(network) = &card.desired.physical_network {
            profile.insert("physical_network".into(), json!(network));
        }
        Binding { host_id: self.node.id.to_string(), vnic_type: "baremetal".into(), profile }
    }

    /// A port on the provisioning network, read back.
    async fn plug(mut self) -> Look {
        let card = match self.boot_card() {
            Ok(card) => card.clone(),
            Err(fault) => return self.fail(&fault.to_string()).await,
        };
        let id = self.ramdisk_port_id();
        match self.cx.store.get::<Port>(&id).await? {
            Some(port) if port.is_deleting() => self.wait("its last port on the provisioning network is being removed", WAIT).await,
            Some(port) if port.observed.status == PortStatus::Active => {
                self.node.observed.ramdisk_port = Some(id);
                self.phase(Phase::Boot, "on the provisioning network").await
            }
            Some(port) => {
                let reason = format!("port on the provisioning network: {}", port.observed.reason);
                self.wait(&reason, WAIT).await
            }
            None => {
                let (network, subnet) = edge::provisioning_ids();
                let Some(subnet) = self.cx.store.get(&subnet).await? else {
                    return self.wait("the provisioning network is not there yet", WAIT).await;
                };
                let address = edge::next_address(self.cx, &subnet).await?;
                let desired = edge::port(
                    &network,
                    &subnet.id,
                    address,
                    &card.desired.address,
                    "baremetal:none",
                    self.node.id.as_str(),
                    self.binding(&card),
                );
                let name = format!("ramdisk of {}", self.node.name);
                let port = Object::new(id.clone(), None, name, desired);
                let batch = self.cx.facts().hold(&format!("ip:{}", subnet.id), &ip_key(address), id.as_str());
                let batch = batch.hold(&format!("mac:{network}"), &card.desired.address, id.as_str());
                self.cx.store.apply(batch.create(&port).wake(&id)).await?;
                Ok(Next::Again(SOON))
            }
        }
    }

    /// From a machine that is surely off, so that an agent of an earlier boot cannot be mistaken for this one's.
    async fn boot(mut self) -> Look {
        if !self.is_off().await? {
            return self.wait("being switched off before it boots", SOON).await;
        }
        let bmc = self.bmc()?;
        bmc.set_boot(BootDevice::Pxe, true).await.map_err(Fault::outside)?;
        bmc.set_power(PowerAction::On).await.map_err(Fault::outside)?;
        if let Some(session) = self.session().await? {
            self.cx.store.apply(self.cx.facts().remove(&session)).await?;
        }
        self.node.observed.power = Some(PowerState::On);
        self.node.observed.command = None;
        self.node.observed.booted_at = Some(Timestamp::now());
        self.node.observed.boots += 1;
        self.phase(Phase::Agent, "its ramdisk is booting").await
    }

    async fn session(&self) -> Result<Option<Object<AgentSession>>, Fault> {
        let Some(id) = Id::parse(self.node.id.as_str()) else { return Ok(None) };
        Ok(self.cx.store.get(&id).await?)
    }

    async fn agent(self) -> Look {
        if self.session().await?.is_some_and(|it| it.desired.callback_url.is_some()) {
            return self.phase(Phase::Work, "its agent called in").await;
        }
        if self.waited() > AGENT_LIMIT {
            let boots = self.node.observed.boots;
            if boots >= MAX_BOOTS {
                return self.fail(&format!("no agent called in after {boots} boots of {AGENT_LIMIT} s each")).await;
            }
            return self.phase(Phase::Boot, "no agent called in; booting again").await;
        }
        Ok(Next::Again(Duration::from_secs(2)))
    }

    /// Writing or erasing, by command of the agent; its result is the only thing believed.
    async fn work(mut self) -> Look {
        let Some(session) = self.session().await? else {
            return self.phase(Phase::Boot, "its agent's session is gone; booting again").await;
        };
        let Some(url) = session.desired.callback_url.clone() else {
            return self.phase(Phase::Agent, "its agent has not called in").await;
        };
        let (name, params) = match self.command().await? {
            Ok(command) => command,
            Err(why) => return self.fail(&why).await,
        };
        let netns = edge::provisioning_netns(self.cx)?;
        let client =
            AgentClient::new(&url, session.desired.token.clone(), session.desired.verify_ca.clone(), netns).map_err(Fault::outside)?;
        let commands = match client.commands().await {
            Ok(commands) => commands,
            Err(error @ (AgentError::Unreachable { .. } | AgentError::Timeout { .. })) => {
                if self.waited() > WORK_LIMIT {
                    return self.fail(&error.to_string()).await;
                }
                // The machine may have been switched off or reset by hand: then the ramdisk is booted again.
                let is_on = self.bmc()?.power().await.map_err(Fault::outside)? == drivers::bmc::PowerState::On;
                let quiet = session.desired.heartbeat_at.is_none_or(|at| Timestamp::now().seconds_since(at) > 60.0);
                if (!is_on || quiet) && self.node.observed.boots < MAX_BOOTS {
                    return self.phase(Phase::Boot, &format!("{error}; booting again")).await;
                }
                if quiet {
                    return self.fail(&error.to_string()).await;
                }
                return self.wait(&error.to_string(), Duration::from_secs(1)).await;
            }
            Err(error) => return self.fail(&error.to_string()).await,
        };
        let short = name.rsplit('.').next().unwrap_or(name);
        // A command this control plane gave and did not live to record is found by its name: one job gives one command.
        let known = self.node.observed.command.as_ref().map(|it| it.id.clone());
        let Some(state) =
            commands.iter().rfind(|it| known.as_ref().is_some_and(|id| *id == it.id.0) || it.name == short || it.name == name)
        else {
            let id = match client.start(name, params).await {
                Ok(id) => id,
                Err(AgentError::Busy { .. }) => return self.wait("its agent is busy", WAIT).await,
                Err(error @ (AgentError::Unreachable { .. } | AgentError::Timeout { .. })) => return Err(Fault::outside(error)),
                Err(error) => return self.fail(&error.to_string()).await,
            };
            self.node.observed.command = Some(AgentCommand { id: id.0, name: name.to_owned() });
            self.node.observed.reason = format!("its agent does {short}");
            self.cx.store.apply(self.cx.facts().observe(&self.node)).await?;
            return Ok(Next::Again(Duration::from_millis(300)));
        };
        match &state.status {
            CommandStatus::Succeeded => {
                if self.node.observed.state == ProvisionState::Cleaning {
                    self.node.observed.erased_at = Some(Timestamp::now());
                } else {
                    let digest = state.result.pointer("/deploy_result/verified").and_then(Value::as_str).map(str::to_owned);
                    if digest.is_none() {
                        return self.fail("the agent did not say that it verified the image on the disk").await;
                    }
                    self.node.observed.image_verified = digest;
                }
                self.phase(Phase::Stop, &format!("{short} succeeded")).await
            }
            CommandStatus::Running | CommandStatus::Other(_) if self.waited() > WORK_LIMIT => {
                self.fail(&format!("{short} took too long")).await
            }
            CommandStatus::Running | CommandStatus::Other(_) => Ok(Next::Again(Duration::from_millis(300))),
            CommandStatus::Failed | CommandStatus::VersionMismatch => {
                let why = state.error.clone().unwrap_or_else(|| "no reason given".into());
                // The image comes from here: that we were away for longer than the agent is patient is not the machine's fault.
                let began = self.node.observed.state_since.unwrap_or(self.node.observed.phase_since);
                if why.starts_with(DOWNLOAD_FAILED) && Timestamp::now().seconds_since(began) < WORK_LIMIT {
                    self.node.observed.boots = self.node.observed.boots.saturating_sub(1);
                    return self.phase(Phase::Boot, &format!("{short} failed: {why}; booting again")).await;
                }
                self.fail(&format!("{short} failed: {why}")).await
            }
        }
    }

    /// What the agent is to do in this state; the inner error says why that cannot be.
    async fn command(&self) -> Result<Result<(&'static str, Value), String>, Fault> {
        let node =
            json!({"uuid": self.node.id, "driver_internal_info": {}, "instance_info": {}, "properties": self.node.desired.properties});
        if self.node.observed.state == ProvisionState::Cleaning {
            let step =
                json!({"step": "erase_devices", "interface": "deploy", "priority": 10, "reboot_requested": false, "abortable": true});
            return Ok(Ok(("clean.execute_clean_step", json!({"step": step, "node": node, "ports": [], "clean_version": null}))));
        }
        let Some(image) = self.node.desired.instance_info.text("image_source").and_then(Id::<Image>::parse) else {
            return Ok(Err("instance_info has no image_source".into()));
        };
        let Some(image) = self.cx.store.get(&image).await?.filter(|it| it.desired.status == ImageStatus::Active) else {
            return Ok(Err(format!("image {image} is not there or has no data")));
        };
        let Some(provisioning) = &self.cx.config.provisioning else {
            return Ok(Err("no provisioning network is configured".into()));
        };
        let url = format!("http://{}:{}/images/{}/{}", provisioning.address, provisioning.http_port, self.node.id, image.id);
        let info = json!({
            "id": image.id, "urls": [url], "disk_format": image.desired.disk_format, "container_format": image.desired.container_format,
            "checksum": image.desired.checksum, "os_hash_algo": "sha512", "os_hash_value": image.desired.sha512,
            "size": image.desired.size_bytes, "stream_raw_images": true, "node_uuid": self.node.id,
        });
        let configdrive = self.node.desired.configdrive.as_ref().map(Secret::reveal);
        let step =
            json!({"interface": "deploy", "step": "write_image", "priority": 80, "args": {"image_info": info, "configdrive": configdrive}});
        Ok(Ok(("deploy.execute_deploy_step", json!({"step": step, "node": node, "ports": [], "deploy_version": null}))))
    }

    async fn stop(mut self) -> Look {
        if !self.is_off().await? {
            return self.wait("being switched off", SOON).await;
        }
        self.phase(Phase::Unplug, "off").await
    }

    /// Off the provisioning network, proven.
    async fn unplug(mut self) -> Look {
        self.drop_ramdisk_port().await?;
        for vif in self.node.desired.vifs.clone().iter().filter(|_| self.node.observed.failing) {
            self.unbind(vif).await?;
        }
        if let Err(reason) = self.isolation().await? {
            return self.wait(&reason, WAIT).await;
        }
        if let Some(session) = self.session().await? {
            self.cx.store.apply(self.cx.facts().remove(&session)).await?;
        }
        let seen = &mut self.node.observed;
        seen.ramdisk_port = None;
        seen.command = None;
        let failing = std::mem::take(&mut seen.failing);
        match seen.state {
            ProvisionState::Cleaning if failing => {
                seen.target = None;
                let why = seen.last_error.clone().unwrap_or_default();
                self.to(ProvisionState::CleanFailed, Phase::Rest, &why).await
            }
            ProvisionState::Cleaning => {
                seen.target = None;
                self.to(ProvisionState::Available, Phase::Rest, "erased, isolated, offered").await
            }
            _ if failing => {
                seen.target = None;
                let why = seen.last_error.clone().unwrap_or_default();
                self.to(ProvisionState::DeployFailed, Phase::Rest, &why).await
            }
            _ => self.phase(Phase::Tenant, "off the provisioning network").await,
        }
    }

    /// The tenant's ports, read back. Cards and ports are paired in order.
    async fn tenant(self) -> Look {
        let cards: Vec<_> = self.cards.iter().filter(|card| card.desired.local_link_connection.is_some()).cloned().collect();
        if self.node.desired.vifs.len() > cards.len() {
            let (vifs, cards) = (self.node.desired.vifs.len(), cards.len());
            return self.fail(&format!("{vifs} ports are attached to a machine with {cards} cards")).await;
        }
        for (vif, card) in self.node.desired.vifs.iter().zip(&cards) {
            let Some(mut port) = self.cx.store.get::<Port>(vif).await?.filter(|it| !it.is_deleting()) else {
                let why = format!("port {vif} was deleted");
                return self.fail(&why).await;
            };
            let binding = self.binding(card);
            if port.desired.binding != binding || port.desired.mac_address != card.desired.address {
                let pool = format!("mac:{}", port.desired.network_id);
                let mut batch = self.cx.facts();
                if port.desired.mac_address != card.desired.address {
                    batch = batch.free(&pool, &port.desired.mac_address).hold(&pool, &card.desired.address, port.id.as_str());
                }
                port.desired.binding = binding;
                port.desired.plug = None;
                port.desired.was_wired = true;
                port.desired.mac_address.clone_from(&card.desired.address);
                self.cx.store.apply(batch.want(&port).wake(&port.id)).await?;
                return Ok(Next::Again(SOON));
            }
            if port.observed.status != PortStatus::Active {
                let reason = format!("port {}: {}", port.id, port.observed.reason);
                return self.wait(&reason, WAIT).await;
            }
        }
        self.phase(Phase::Start, "its tenant's ports were read back").await
    }

    async fn start(mut self) -> Look {
        let bmc = self.bmc()?;
        bmc.set_boot(BootDevice::Disk, false).await.map_err(Fault::outside)?;
        bmc.set_power(PowerAction::On).await.map_err(Fault::outside)?;
        self.node.observed.power = Some(PowerState::On);
        self.node.observed.target = None;
        self.to(ProvisionState::Active, Phase::Rest, "boots from its disk").await
    }
}
