//! The machine's place on networks: off and isolated, on the provisioning network, on its tenant's. Nothing here goes on by the success
//! of an order, only by what was read back.

use std::time::Duration;

use drivers::bmc::{BmcError, BootDevice, PowerAction};
use model::baremetal::{
    BaremetalPort, Interface, NodeInventory, Phase, Place, Portgroup, PowerState, ProvisionRequest, ProvisionState, TENANT_VIF, Verb,
    bond_properties, places,
};
use model::fabric::Switch;
use model::net::{Binding, Port, PortStatus, ip_key};
use model::{Id, Object, Timestamp};
use serde_json::json;
use store::Query;

use super::isolation::Isolation;
use super::{Machine, SOON, WAIT};
use crate::runtime::{Fault, Look, Next};
use crate::{edge, inspection, provisioning};

/// How long a machine that was told to restart may still run what it ran, in seconds.
const RESTARTED: f64 = 10.0;

impl Machine<'_> {
    /// Its cards that act as one.
    async fn groups(&self) -> Result<Vec<Object<Portgroup>>, Fault> {
        Ok(self.cx.store.list(&Query::<Portgroup>::new().column("node_id", [self.node.id.to_string()])).await?)
    }

    /// The machine is off and nobody's: first the power, then every port it had, then the proof.
    pub(super) async fn off(mut self) -> Look {
        let deleting = self.node.observed.state == ProvisionState::Deleting;
        if self.is_wired() || self.has_agent() {
            match self.off_or_late().await {
                Err(fault @ Fault::Silent(_)) => {
                    // Its BMC may be without power, too.
                    return match self.supply_for_job().await? {
                        Some(held) => self.held_up(held).await,
                        None => Err(fault),
                    };
                }
                off => match off? {
                    Ok(true) => {}
                    Ok(false) => return self.going_off("being switched off").await,
                    Err(why) => return self.fail(&format!("it could not be switched off: {why}")).await,
                },
            }
        }
        for vif in self.node.desired.vifs.clone() {
            self.unbind(&vif).await?;
        }
        self.drop_ramdisk_port().await?;
        match self.isolation().await? {
            Err(reason) => self.wait(&reason, WAIT).await,
            Ok(isolation) if deleting => self.release_instance(&isolation).await,
            Ok(isolation) => {
                self.cx.store.apply(provisioning::free(self.cx.facts(), &self.node.id)).await?;
                self.node.observed.ramdisk_port = None;
                let tenants = matches!(self.node.observed.state, ProvisionState::Unrescuing)
                    || (self.node.observed.state == ProvisionState::Servicing && self.node.observed.job.steps.is_empty());
                self.phase(if tenants { Phase::Tenant } else { Phase::Before }, &format!("off and {}", isolation.called())).await
            }
        }
    }

    /// The tenant has nothing of the machine any more: what it was told to run and who had it are forgotten, then it is erased.
    async fn release_instance(mut self, isolation: &Isolation) -> Look {
        let clean = ProvisionRequest { verb: Verb::Provide, ..ProvisionRequest::default() };
        let planned = self.plan(ProvisionState::Cleaning, &clean).await?;
        let wired = self.is_wired();
        let desired = &mut self.node.desired;
        let vifs = std::mem::take(&mut desired.vifs);
        let owner = desired.instance_uuid.take();
        let allocation = desired.allocation_id.take();
        desired.instance_info = model::secret::Settings::default();
        desired.instance_name = None;
        desired.configdrive = None;
        let drive = desired.drive.take();
        desired.rescue_password = None;
        self.wants = true;
        let seen = &mut self.node.observed;
        seen.ramdisk_port = None;
        seen.image_verified = None;
        let why = match planned {
            Ok(job) => {
                seen.job = job;
                None
            }
            Err(why) => Some(why),
        };
        if wired {
            seen.isolated_at = isolation.proven_at();
        }
        let allocation = match allocation {
            Some(id) => self.cx.store.get(&id).await?,
            None => None,
        };
        let mut cards: Vec<Object<BaremetalPort>> = self.cards.clone();
        cards.retain_mut(|card| card.desired.internal_info.remove(TENANT_VIF).is_some());
        let mut groups = self.groups().await?;
        groups.retain_mut(|group| group.desired.internal_info.remove(TENANT_VIF).is_some());
        let id = self.node.id.clone();
        let first = match why {
            None if self.node.observed.job.no_ramdisk => self.after_place(ProvisionState::Cleaning),
            None => Phase::Place,
            Some(_) => Phase::Stop,
        };
        if let Some(why) = why {
            self.node.observed.failing = true;
            self.node.observed.last_error = Some(why);
        }
        let reason = if wired { format!("{}; to be erased", isolation.called()) } else { "to be erased".to_owned() };
        self.go_with(ProvisionState::Cleaning, first, &reason, |mut batch| {
            if let Some(drive) = &drive {
                batch = batch.remove(&drive.row());
            }
            if wired {
                let (severity, event, detail) = isolation.line();
                batch = batch.history(&id, severity, &event, &detail);
            }
            for vif in &vifs {
                batch = batch.free("vif", vif.as_str()).wake(vif);
            }
            batch = cards.iter().fold(batch, |batch, card| batch.want(card));
            batch = groups.iter().fold(batch, |batch, group| batch.want(group));
            if let Some(allocation) = &allocation {
                batch = batch.remove(allocation).free_held("allocation-name", allocation.id.as_str());
            }
            if let Some(owner) = owner {
                use model::Kind as _;
                batch = batch.wake_named(model::container_infra::Cluster::NAME, &owner);
            }
            batch.free("claim", id.as_str())
        })
        .await
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

    pub(super) fn ramdisk_port_id(&self) -> Id<Port> {
        Id::derived(&format!("ramdisk-port/{}", self.node.id))
    }

    fn boot_card(&self) -> Result<&Object<BaremetalPort>, Fault> {
        self.cards
            .iter()
            .find(|card| card.desired.pxe_enabled && card.desired.local_link_connection.is_some())
            .ok_or_else(|| Fault::outside("it has no port that is pxe_enabled and has a local_link_connection"))
    }

    /// How a port is bound there. Of a group the switches are told, too: whether it is one for them depends on its mode.
    /// (Source: Ironic, `get_local_group_information`.)
    fn binding(&self, place: &Place<'_>) -> Binding {
        let mut profile = serde_json::Map::new();
        let links: Vec<_> = place.cards.iter().map(|card| &card.desired.local_link_connection).collect();
        profile.insert("local_link_information".into(), json!(links));
        let network = match place.group {
            Some(group) => {
                let (name, mode) = (Some(&group.name).filter(|it| !it.is_empty()), &group.desired.mode);
                let told = json!({"id": group.id, "name": name, "bond_mode": mode, "bond_properties": bond_properties(group)});
                profile.insert("local_group_information".into(), told);
                &group.desired.physical_network
            }
            None => place.cards.first().map_or(&None, |card| &card.desired.physical_network),
        };
        if let Some(network) = network {
            profile.insert("physical_network".into(), json!(network));
        }
        Binding { host_id: self.node.id.to_string(), vnic_type: "baremetal".into(), profile }
    }

    /// A machine that is never switched off is restarted while it is isolated, so that what its tenant left running is not there when
    /// the provisioning network is. Tells how long to wait for that, if at all.
    async fn restart_isolated(&mut self) -> Result<Option<Duration>, Fault> {
        if !self.node.desired.disable_power_off {
            return Ok(None);
        }
        let since = self.node.observed.phase_since;
        match self.node.observed.restarted_at.filter(|at| *at >= since) {
            Some(at) if Timestamp::now().seconds_since(at) >= RESTARTED => Ok(None),
            Some(_) => Ok(Some(Duration::from_secs(1))),
            None => {
                let bmc = self.bmc().map_err(Fault::bmc)?;
                match bmc.set_boot(BootDevice::Pxe, true).await {
                    Ok(()) | Err(BmcError::Unsupported { .. }) => {}
                    Err(error) => return Err(Fault::bmc(error)),
                }
                bmc.set_power(PowerAction::Reset).await.map_err(Fault::bmc)?;
                self.node.observed.restarted_at = Some(Timestamp::now());
                self.save().await?;
                Ok(Some(Duration::from_secs(1)))
            }
        }
    }

    /// A port on the provisioning network, read back.
    pub(super) async fn plug(mut self) -> Look {
        if !self.is_wired() {
            return self.phase(Phase::Boot, "its network is nobody's").await;
        }
        if let Some(after) = self.restart_isolated().await? {
            return Ok(Next::Again(after));
        }
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
                let segment = match provisioning::take(self.cx, &self.node.id).await? {
                    Ok(segment) => segment,
                    Err(why) => return self.wait(&why, WAIT).await,
                };
                let network = segment.network;
                let Some(subnet) = self.cx.store.get(&segment.subnet).await? else {
                    return self.wait("the provisioning network is not there yet", WAIT).await;
                };
                let address = edge::next_address(self.cx, &subnet).await?;
                let mac = &card.desired.address;
                let (owner, binding) = ("baremetal:none", self.binding(&Place::card(&card)));
                let desired = edge::port(&network, &subnet.id, address, mac, owner, self.node.id.as_str(), binding);
                let name = format!("ramdisk of {}", self.node.name);
                let port = Object::new(id.clone(), None, name, desired);
                let batch = self.cx.facts().hold(&format!("ip:{}", subnet.id), &ip_key(address), id.as_str());
                let batch = batch.hold(&format!("mac:{network}"), mac, id.as_str());
                self.cx.store.apply(batch.create(&port).wake(&id)).await?;
                Ok(Next::Again(SOON))
            }
        }
    }

    pub(super) async fn stop(mut self) -> Look {
        match self.off_or_late().await? {
            Ok(true) => {}
            Ok(false) => return self.going_off("being switched off").await,
            // A job that failed ends although its machine may be on: no network is left to it, and nobody else is given it.
            Err(_) if self.node.observed.failing => {}
            Err(why) => return self.fail(&format!("it could not be switched off: {why}")).await,
        }
        if let Err(fault) = self.eject().await {
            tracing::warn!(node.id = %self.node.id, %fault, "its virtual medium could not be taken out");
        }
        self.phase(Phase::Unplug, "off").await
    }

    /// Off the provisioning network, proven.
    pub(super) async fn unplug(mut self) -> Look {
        self.drop_ramdisk_port().await?;
        let ends = self.node.observed.failing || self.node.observed.aborting;
        for vif in self.node.desired.vifs.clone().iter().filter(|_| ends) {
            self.unbind(vif).await?;
        }
        let isolation = match self.isolation().await? {
            Ok(isolation) => isolation,
            Err(reason) => return self.wait(&reason, WAIT).await,
        };
        if let Some(session) = self.session().await? {
            self.cx.store.apply(self.cx.facts().remove(&session)).await?;
        }
        self.cx.store.apply(provisioning::free(self.cx.facts(), &self.node.id)).await?;
        let seen = &mut self.node.observed;
        seen.ramdisk_port = None;
        seen.command = None;
        if ends {
            return self.failed().await;
        }
        match seen.state {
            ProvisionState::Cleaning => {
                let reason = if self.is_wired() { format!("erased, {}, offered", isolation.called()) } else { "cleaned".to_owned() };
                self.finish(&reason).await
            }
            ProvisionState::Inspecting => self.finish("inspected").await,
            _ => self.phase(Phase::Tenant, "off the provisioning network").await,
        }
    }

    /// What the machine's switches were heard to say does not fit what is stored of its cables.
    pub(super) async fn wiring_fault(&self) -> Result<Option<String>, Fault> {
        if !self.is_wired() {
            return Ok(None);
        }
        let Some(id) = Id::<NodeInventory>::parse(self.node.id.as_str()) else { return Ok(None) };
        let Some(known) = self.cx.store.get(&id).await? else { return Ok(None) };
        let switches = self.cx.store.list(&Query::<Switch>::new()).await?;
        let wrong = inspection::wiring::faults(&known.desired.inventory, &known.desired.plugin_data, &self.cards, &switches);
        Ok((!wrong.is_empty()).then(|| format!("its cables are not as stored: {}", wrong.join("; "))))
    }

    /// The tenant's ports, read back. A rescue ramdisk knows nothing of groups: one card of each is plugged for it.
    pub(super) async fn tenant(self) -> Look {
        if !self.is_wired() {
            return self.on_its_network().await;
        }
        if let Some(why) = self.wiring_fault().await? {
            return self.fail(&why).await;
        }
        let groups = self.groups().await?;
        let (cards, node) = (self.cards.clone(), self.node.clone());
        let places = places(&node, &cards, &groups);
        if let Some(vif) = places.left.first() {
            let why = format!("port {vif} is attached to a machine that has place for {} ports only", places.taken.len());
            return self.fail(&why).await;
        }
        let by_ramdisk = self.node.observed.state == ProvisionState::Rescuing;
        for (vif, place) in places.taken {
            let place = if by_ramdisk { place.alone() } else { place };
            let Some(mut port) = self.cx.store.get::<Port>(&vif).await?.filter(|it| !it.is_deleting()) else {
                let why = format!("port {vif} was deleted");
                return self.fail(&why).await;
            };
            let binding = self.binding(&place);
            let address = place.address().unwrap_or(&port.desired.mac_address).to_owned();
            if port.desired.binding != binding || port.desired.mac_address != address {
                let pool = format!("mac:{}", port.desired.network_id);
                let mut batch = self.cx.facts();
                if port.desired.mac_address != address {
                    batch = batch.free(&pool, &port.desired.mac_address).hold(&pool, &address, port.id.as_str());
                }
                port.desired.binding = binding;
                port.desired.plug = None;
                port.desired.was_wired = true;
                port.desired.mac_address = address;
                self.cx.store.apply(batch.want(&port).wake(&port.id)).await?;
                return Ok(Next::Again(SOON));
            }
            if port.observed.status != PortStatus::Active {
                let reason = format!("port {}: {}", port.id, port.observed.reason);
                return self.wait(&reason, WAIT).await;
            }
        }
        self.on_its_network().await
    }

    /// Its tenant's ports were read back, or its network is nobody's.
    async fn on_its_network(self) -> Look {
        match self.node.observed.state {
            ProvisionState::Adopting => self.finish("taken over as it runs").await,
            ProvisionState::Rescuing => self.finish("its rescue ramdisk is on its tenant's network").await,
            _ if !self.is_wired() && !self.has_agent() => self.finish("its power is nobody's here").await,
            _ => self.phase(Phase::Start, "its tenant's ports were read back").await,
        }
    }

    pub(super) async fn start(mut self) -> Look {
        if let Some(held) = self.supply_for_job().await? {
            return self.held_up(held).await;
        }
        let ramdisk = self.interface(Interface::Deploy) == "ramdisk";
        let bmc = match self.bmc() {
            Ok(bmc) => bmc,
            Err(error) => return self.refused(error).await,
        };
        let device = match self.node.desired.instance_info.text("boot_iso").filter(|_| ramdisk) {
            Some(iso) => {
                if let Err(error) = bmc.insert_media("cdrom", iso).await {
                    return self.refused(error).await;
                }
                BootDevice::Cdrom
            }
            None if ramdisk && self.is_wired() => {
                return self.fail("a ramdisk can only be run on a tenant's network from instance_info.boot_iso").await;
            }
            None if ramdisk => BootDevice::Pxe,
            None => BootDevice::Disk,
        };
        match bmc.set_boot(device, false).await {
            Ok(()) | Err(BmcError::Unsupported { .. }) => {}
            Err(error) => return self.refused(error).await,
        }
        let action = if self.node.desired.disable_power_off { PowerAction::Reset } else { PowerAction::On };
        if let Err(error) = bmc.set_power(action).await {
            return self.refused(error).await;
        }
        self.node.observed.power = Some(PowerState::On);
        let reason = match device {
            BootDevice::Disk => "boots from its disk",
            _ => "boots its ramdisk",
        };
        self.finish(reason).await
    }

    /// A BMC did not do what it was told: it is told again if it ever will.
    async fn refused(self, error: BmcError) -> Look {
        match error {
            BmcError::Unsupported { .. } | BmcError::Config { .. } => self.fail(&error.to_string()).await,
            other => Err(Fault::bmc(other)),
        }
    }
}
