//! Clusters: a network of their own, machines claimed, deployed and joined; and all of it taken apart again.
//!
//! What a cluster of one orchestrator needs of its machines lives behind [`orchestrator`]: everything else here is the same for all.

mod orchestrator;
mod swarm;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use model::baremetal::{BaremetalPort, Node, Portgroup, ProvisionRequest, ProvisionState, Verb, is_busy, places, transition};
use model::container_infra::{Cluster, ClusterStatus, Member};
use model::image_compute::{Flavor, Image, normalise_class};
use model::net::{Binding, Network, Port, PortStatus, Segment, Subnet, SubnetDesired, VlanId, ip_key, vlan_key};
use model::secret::Settings;
use model::{Id, Object, Secret, Timestamp};
use net::Netns;
use serde_json::json;
use store::{Query, Severity};

use crate::access::Listener;
use crate::edge;
use crate::runtime::{Cx, Fault, Look, Next, Shared};
use orchestrator::{MachineSpec, Orchestrator};

/// `device_owner` of the ports of a cluster's machines.
pub(crate) const MEMBER_OWNER: &str = "baremetal:cluster";
/// How often the health of a cluster is looked at.
const HEALTH: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_millis(700);
/// How long a machine that was told to boot from its disk may take until its daemon answers, in seconds.
const CLAIM_POOL: &str = "claim";
const ACCESS_POOL: &str = "access-port";

pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(cluster) = cx.load::<Cluster>().await? else {
        return Ok(Next::Gone);
    };
    let work = Work { cx, cluster };
    if work.cluster.is_deleting() {
        return work.take_apart().await;
    }
    match work.cluster.observed.status {
        ClusterStatus::CreateInProgress => work.create().await,
        ClusterStatus::CreateComplete => work.keep().await,
        ClusterStatus::CreateFailed | ClusterStatus::DeleteInProgress => Ok(Next::Again(Duration::from_secs(600))),
    }
}

struct Work<'a> {
    cx: &'a Cx,
    cluster: Object<Cluster>,
}

/// What a step of the creation found.
enum Step<T> {
    Done(T),
    /// Not yet, for this reason.
    Wait(String),
    /// Never.
    Failed(String),
}

/// What belongs to a cluster, by what it is.
fn child<K>(cluster: &Id<Cluster>, what: &str) -> Id<K> {
    Id::derived(&format!("cluster/{cluster}/{what}"))
}

/// The TCP port by which clients reach a cluster, if it has one, and where their connections end.
pub(crate) fn way_in(shared: &Shared, cluster: &Object<Cluster>) -> Option<(u16, (Netns, SocketAddr))> {
    let tcp_port = cluster.observed.access_tcp_port?;
    let master = cluster.observed.members.iter().find(|it| it.is_master)?;
    // Without an edge nothing leads there.
    let netns = edge::netns(shared, &child(&cluster.id, "network")).ok()?;
    let port = orchestrator::of(&cluster.desired.template.coe).map_or(0, Orchestrator::api_port);
    Some((tcp_port, (Netns::named(&netns), SocketAddr::new(master.address, port))))
}

impl Work<'_> {
    fn child<K>(&self, what: &str) -> Id<K> {
        child(&self.cluster.id, what)
    }

    async fn observe(&mut self) -> Result<(), Fault> {
        self.cx.store.apply(self.cx.facts().observe(&self.cluster)).await?;
        self.cluster.revision += 1;
        Ok(())
    }

    async fn wait(mut self, reason: &str, after: Duration) -> Look {
        if self.cluster.observed.status_reason.as_deref() != Some(reason) {
            tracing::info!(cluster.id = %self.cluster.id, cluster.name = self.cluster.name, reason, "cluster waits");
            self.cluster.observed.status_reason = Some(reason.to_owned());
            self.observe().await?;
        }
        Ok(Next::Again(after))
    }

    async fn fail(mut self, why: &str) -> Look {
        tracing::error!(cluster.id = %self.cluster.id, cluster.name = self.cluster.name, why, "the cluster could not be made");
        self.cluster.observed.status = ClusterStatus::CreateFailed;
        self.cluster.observed.status_reason = Some(why.to_owned());
        let batch = self.cx.facts().observe(&self.cluster);
        let batch = batch.history(&self.cluster.id, Severity::Error, "CREATE_FAILED", &json!({"reason": why}));
        self.cx.store.apply(batch).await?;
        Ok(Next::Again(Duration::from_secs(600)))
    }

    async fn create(mut self) -> Look {
        let limit = i64::from(self.cluster.desired.create_timeout_minutes) * 60;
        if limit > 0 && Timestamp::now() > self.cluster.created_at.plus_seconds(limit) {
            let awaited = self.cluster.observed.status_reason.clone().unwrap_or_default();
            return self.fail(&format!("not done within {} minutes: {awaited}", limit / 60)).await;
        }
        match self.steps().await? {
            Step::Done(()) => {
                let seen = &mut self.cluster.observed;
                seen.status = ClusterStatus::CreateComplete;
                seen.status_reason = Some("every machine was deployed, verified and joined".into());
                seen.created_at = Some(Timestamp::now());
                let took = Timestamp::now().seconds_since(self.cluster.created_at);
                let batch = self.cx.facts().observe(&self.cluster);
                let batch = batch.history(&self.cluster.id, Severity::Info, "CREATE_COMPLETE", &json!({"took_s": took}));
                self.cx.store.apply(batch).await?;
                tracing::info!(cluster.id = %self.cluster.id, cluster.name = self.cluster.name, took_s = took, "cluster is complete");
                Ok(Next::Again(HEALTH))
            }
            Step::Wait(reason) => self.wait(&reason, WAIT).await,
            Step::Failed(why) => self.fail(&why).await,
        }
    }

    async fn steps(&mut self) -> Result<Step<()>, Fault> {
        let subnet = self.network().await?;
        self.members(&subnet).await?;
        if let Step::Failed(why) = self.access(&subnet).await? {
            return Ok(Step::Failed(why));
        }
        if let Step::Wait(why) | Step::Failed(why) = self.claim().await? {
            return Ok(Step::Wait(why));
        }
        match self.deployed().await? {
            Step::Done(()) => {}
            Step::Wait(why) => return Ok(Step::Wait(why)),
            Step::Failed(why) => return Ok(Step::Failed(why)),
        }
        let Some(access) = self.cx.store.get::<Port>(&self.child("access")).await? else {
            return Ok(Step::Wait("the control plane's own port is being made".into()));
        };
        if access.observed.status != PortStatus::Active {
            return Ok(Step::Wait(format!("the control plane's own port: {}", access.observed.reason)));
        }
        let netns = Netns::named(&edge::netns(self.cx, &access.desired.network_id)?);
        match orchestrator::of(&self.cluster.desired.template.coe) {
            Some(kind) => Ok(match kind.join(&self.cluster, &netns).await {
                Ok(joined) => {
                    self.cluster.observed.coe_version = Some(joined.version);
                    self.cluster.observed.health_status = Some("HEALTHY".into());
                    self.cluster.observed.health_status_reason = joined.machines;
                    Step::Done(())
                }
                Err(why) => Step::Wait(why),
            }),
            None => Ok(Step::Failed(format!("no orchestrator is called {:?}", self.cluster.desired.template.coe))),
        }
    }

    /// The cluster's network and subnet.
    async fn network(&mut self) -> Result<Object<Subnet>, Fault> {
        let (network_id, subnet_id) = (self.child::<Network>("network"), self.child::<Subnet>("subnet"));
        if let Some(subnet) = self.cx.store.get(&subnet_id).await? {
            return Ok(subnet);
        }
        let fabric = &self.cx.config.fabric;
        let pool = format!("vlan:{}", fabric.physical_network);
        let range = fabric.vlan_range.first.get()..=fabric.vlan_range.last.get();
        let all = range.filter_map(VlanId::new).map(vlan_key);
        let Some(value) = self.cx.store.first_free(&pool, all).await? else {
            return Err(Fault::outside("no VLAN is free: all are in use or in quarantine"));
        };
        let vlan = value.parse().ok().and_then(VlanId::new).ok_or_else(|| Fault::outside("a VLAN that is none"))?;
        let segment = Segment::vlan(&fabric.physical_network, vlan);
        let project = self.cluster.project_id.clone();
        let description = format!("network of cluster {}", self.cluster.id);
        let network = Object::new(network_id.clone(), project.clone(), self.cluster.name.clone(), edge::network(segment, &description));
        let cidr = self.cluster.desired.template.fixed_subnet_cidr;
        let (gateway, addresses) = edge::usual_layout(cidr);
        let subnet = SubnetDesired {
            gateway_ip: Some(IpAddr::V4(gateway)),
            allocation_pools: vec![addresses],
            enable_dhcp: false,
            description,
            ..SubnetDesired::new(network_id.clone(), ipnet::IpNet::V4(cidr))
        };
        let subnet = Object::new(subnet_id.clone(), project, self.cluster.name.clone(), subnet);
        self.cluster.observed.network_id = Some(network_id.clone());
        self.cluster.observed.subnet_id = Some(subnet_id);
        let batch = self.cx.facts().hold(&pool, &value, network_id.as_str()).create(&network).create(&subnet).observe(&self.cluster);
        self.cx.store.apply(batch.wake(&network_id)).await?;
        self.cluster.revision += 1;
        Ok(subnet)
    }

    /// A port for each machine, made in order so that the first manager has the first address.
    async fn members(&mut self, subnet: &Object<Subnet>) -> Result<(), Fault> {
        let desired = &self.cluster.desired;
        let wanted = (0..desired.master_count)
            .map(|at| (true, format!("{}-master-{at}", self.cluster.name)))
            .chain((0..desired.node_count).map(|at| (false, format!("{}-node-{at}", self.cluster.name))))
            .collect::<Vec<_>>();
        for (is_master, name) in wanted {
            if self.cluster.observed.members.iter().any(|it| it.name == name) {
                continue;
            }
            let port_id: Id<Port> = self.child(&format!("port/{name}"));
            let address = edge::next_address(self.cx, subnet).await?;
            let mac = edge::mac(&port_id);
            let network = &subnet.desired.network_id;
            let binding = Binding { vnic_type: "baremetal".into(), ..Binding::default() };
            let desired = edge::port(network, &subnet.id, address, &mac, MEMBER_OWNER, self.cluster.id.as_str(), binding);
            let port = Object::new(port_id.clone(), self.cluster.project_id.clone(), name.clone(), desired);
            self.cluster.observed.members.push(Member { name, is_master, port_id: port_id.clone(), address, node_id: None });
            let batch = self.cx.facts().hold(&format!("ip:{}", subnet.id), &ip_key(address), port_id.as_str());
            let batch = batch.hold(&format!("mac:{network}"), &mac, port_id.as_str()).create(&port).wake(&port_id).observe(&self.cluster);
            self.cx.store.apply(batch).await?;
            self.cluster.revision += 1;
        }
        Ok(())
    }

    /// The control plane's own port on the network, its cable, and the TCP port by which clients come in.
    async fn access(&mut self, subnet: &Object<Subnet>) -> Result<Step<()>, Fault> {
        let id: Id<Port> = self.child("access");
        let port = match self.cx.store.get(&id).await? {
            Some(port) => port,
            None => {
                let network = &subnet.desired.network_id;
                let address = edge::next_address(self.cx, subnet).await?;
                let mac = edge::mac(&id);
                let binding = edge::access_binding(self.cx, &id)?;
                let desired = edge::port(network, &subnet.id, address, &mac, edge::ACCESS_OWNER, self.cluster.id.as_str(), binding);
                let port =
                    Object::new(id.clone(), self.cluster.project_id.clone(), format!("control plane on {}", self.cluster.name), desired);
                self.cluster.observed.access_port_id = Some(id.clone());
                let batch = self.cx.facts().hold(&format!("ip:{}", subnet.id), &ip_key(address), id.as_str());
                let batch = batch.hold(&format!("mac:{network}"), &mac, id.as_str()).create(&port).wake(&id).observe(&self.cluster);
                self.cx.store.apply(batch).await?;
                self.cluster.revision += 1;
                port
            }
        };
        edge::attach(self.cx, &port, subnet.desired.cidr.prefix_len(), None).await?;
        if self.cluster.observed.access_tcp_port.is_none() {
            let config = &self.cx.config.access;
            // A port that another program of this host has is passed over.
            let free = |port: &u16| std::net::TcpListener::bind((config.listen, *port)).is_ok();
            let all = (config.first_port..=config.last_port).filter(free).map(|it| format!("{it:05}"));
            let Some(value) = self.cx.store.first_free(ACCESS_POOL, all).await? else {
                return Ok(Step::Failed("no TCP port is free for access to another cluster".into()));
            };
            let number: Option<u16> = value.parse().ok();
            self.cluster.observed.access_tcp_port = number;
            self.cluster.observed.api_address = number.map(|it| format!("tcp://{}", SocketAddr::new(config.listen, it)));
            let batch = self.cx.facts().hold(ACCESS_POOL, &value, self.cluster.id.as_str()).observe(&self.cluster);
            self.cx.store.apply(batch).await?;
            self.cluster.revision += 1;
        }
        self.open_access()?;
        Ok(Step::Done(()))
    }

    /// Listens to the cluster's TCP port, or leaves that to the replica that does.
    fn open_access(&self) -> Result<(), Fault> {
        let Some((port, (netns, to))) = way_in(self.cx, &self.cluster) else { return Ok(()) };
        match self.cx.access.ensure(port, &netns, to).map_err(Fault::outside)? {
            Listener::Another if self.cx.store.is_embedded() => {
                Err(Fault::Outside(format!("another program of this host listens to TCP port {port}, by which the cluster is reached")))
            }
            Listener::Ours | Listener::Another => Ok(()),
        }
    }

    /// A machine for each member, taken and told to deploy in one transaction.
    async fn claim(&mut self) -> Result<Step<()>, Fault> {
        for at in 0..self.cluster.observed.members.len() {
            let Some(member) = self.cluster.observed.members.get(at).filter(|it| it.node_id.is_none()).cloned() else { continue };
            let flavor_id = if member.is_master { &self.cluster.desired.master_flavor_id } else { &self.cluster.desired.flavor_id };
            let Some(flavor) = self.cx.store.get::<Flavor>(flavor_id).await? else {
                return Ok(Step::Wait(format!("flavor {flavor_id} does not exist any more")));
            };
            let class = flavor.desired.resource_class().unwrap_or_default();
            let Some(mut node) = self.available(&class).await? else {
                return Ok(Step::Wait(format!("no machine of class {class} is available for {}", member.name)));
            };
            let seq = node.desired.request.as_ref().map_or(0, |it| it.seq).max(node.observed.handled) + 1;
            let image = &self.cluster.desired.template.image_id;
            if self.cx.store.get::<Image>(image).await?.is_none() {
                return Ok(Step::Wait(format!("image {image} does not exist any more")));
            }
            let mut info = Settings::default();
            info.0.insert("image_source".into(), json!(image));
            node.desired.instance_info = info;
            node.desired.instance_uuid = Some(self.cluster.id.to_string());
            node.desired.vifs = vec![member.port_id.clone()];
            let cards = self.cx.store.list(&Query::<BaremetalPort>::new().column("node_id", [node.id.to_string()])).await?;
            let groups = self.cx.store.list(&Query::<Portgroup>::new().column("node_id", [node.id.to_string()])).await?;
            let Some((_, place)) = places(&node, &cards, &groups).taken.into_iter().next() else {
                return Ok(Step::Wait(format!("{} has no port with a local_link_connection", node.name)));
            };
            let Some(port) = self.cx.store.get::<Port>(&member.port_id).await? else {
                return Ok(Step::Wait(format!("port {} does not exist any more", member.port_id)));
            };
            let mac = place.address().unwrap_or(&port.desired.mac_address);
            let other = node.desired.drive.take();
            node.desired.configdrive = Some(self.config_drive(&member, &node, media::configdrive::links("eth0", &place, mac))?);
            node.desired.request = Some(ProvisionRequest { seq, verb: Verb::Deploy, ..ProvisionRequest::default() });
            if let Some(slot) = self.cluster.observed.members.get_mut(at) {
                slot.node_id = Some(node.id.clone());
            }
            let batch = other.iter().fold(self.cx.facts(), |batch, other| batch.remove(&other.row()));
            let batch = batch.hold(CLAIM_POOL, node.id.as_str(), self.cluster.id.as_str());
            let batch = batch.hold("vif", member.port_id.as_str(), node.id.as_str()).want(&node).wake(&node.id).observe(&self.cluster);
            self.cx.store.apply(batch).await?;
            self.cluster.revision += 1;
            tracing::info!(cluster.name = self.cluster.name, node.name = node.name, member = member.name, "machine claimed");
        }
        Ok(Step::Done(()))
    }

    async fn available(&self, class: &str) -> Result<Option<Object<Node>>, Fault> {
        let project = self.cluster.project_id.as_ref().map(ToString::to_string);
        let query = Query::<Node>::new().column("provision_state", [ProvisionState::Available.as_str().to_owned()]).unset("instance_uuid");
        let fits = |node: &Object<Node>| {
            !is_busy(node)
                && !node.desired.maintenance
                && node.desired.resource_class.as_deref().map(normalise_class).as_deref() == Some(class)
                && [&node.desired.owner, &node.desired.lessee].iter().all(|who| who.is_none() || **who == project)
        };
        Ok(self.cx.store.list(&query.sort("name", false)).await?.into_iter().find(fits))
    }

    /// What the machine is told when it first boots from its disk.
    fn config_drive(&self, member: &Member, node: &Object<Node>, links: Vec<serde_json::Value>) -> Result<Secret, Fault> {
        let now = SystemTime::now();
        let desired = &self.cluster.desired;
        let authority = pki::Authority::load(&desired.ca_cert_pem, &desired.ca_key_pem).map_err(Fault::outside)?;
        // Clients reach the manager through this host; the name they check is this host's address.
        let names = vec![
            member.address.to_string(),
            member.name.clone(),
            self.cx.access.listen().to_string(),
            "127.0.0.1".into(),
            "localhost".into(),
        ];
        let identity = authority.issue_server(&member.name, &names, now).map_err(Fault::outside)?;
        let kind = orchestrator::of(&desired.template.coe).ok_or_else(|| Fault::outside("no such orchestrator"))?;
        let user_data = kind.user_data(&MachineSpec { ca_pem: &desired.ca_cert_pem, identity: &identity });
        let cidr = desired.template.fixed_subnet_cidr;
        let meta = json!({
            "uuid": node.id, "name": member.name, "hostname": member.name, "availability_zone": "nova",
            "public_keys": desired.public_key.as_ref().map_or_else(|| json!({}), |key| json!({"default": key})),
            "meta": {"cluster_id": self.cluster.id, "project_id": self.cluster.project_id},
        });
        let network = json!({
            "links": links,
            "networks": [{"id": "network0", "type": "ipv4", "link": "eth0", "ip_address": member.address, "netmask": cidr.netmask(), "routes": []}],
            "services": [],
        });
        let image = media::configdrive::openstack(&meta, &network, user_data.as_bytes()).map_err(Fault::outside)?;
        Ok(Secret::new(media::configdrive::encode(&image)))
    }

    /// Whether every machine runs, with what is awaited otherwise.
    async fn deployed(&self) -> Result<Step<()>, Fault> {
        let mut waiting = Vec::new();
        for member in &self.cluster.observed.members {
            let Some(id) = &member.node_id else { return Ok(Step::Wait(format!("{} has no machine yet", member.name))) };
            let Some(node) = self.cx.store.get(id).await? else {
                return Ok(Step::Failed(format!("the machine of {} was removed", member.name)));
            };
            if node.desired.instance_uuid.as_deref() != Some(self.cluster.id.as_str()) {
                return Ok(Step::Failed(format!("{} was taken from {} by an operator", node.name, member.name)));
            }
            match node.observed.state {
                ProvisionState::Active if !is_busy(&node) => {}
                ProvisionState::DeployFailed if !is_busy(&node) => {
                    let why = node.observed.last_error.clone().unwrap_or_default();
                    return Ok(Step::Failed(format!("{} ({}) could not be deployed: {why}", member.name, node.name)));
                }
                _ => waiting.push(format!("{} on {}: {}", member.name, node.name, node.observed.phase.as_str())),
            }
        }
        Ok(if waiting.is_empty() { Step::Done(()) } else { Step::Wait(format!("deploying {}", waiting.join(", "))) })
    }

    /// Complete: its access is kept open, its health looked at.
    async fn keep(mut self) -> Look {
        let Some(access) = self.cx.store.get::<Port>(&self.child("access")).await? else {
            return Err(Fault::outside("the cluster's access port is gone"));
        };
        edge::attach(self.cx, &access, self.cluster.desired.template.fixed_subnet_cidr.prefix_len(), None).await?;
        self.open_access()?;
        let netns = Netns::named(&edge::netns(self.cx, &access.desired.network_id)?);
        let Some(kind) = orchestrator::of(&self.cluster.desired.template.coe) else {
            return Ok(Next::Again(HEALTH));
        };
        let (status, machines) = match kind.health(&self.cluster, &netns).await {
            Ok(machines) if machines.values().all(|it| it == "ready") => ("HEALTHY", machines),
            Ok(machines) => ("UNHEALTHY", machines),
            Err(why) => ("UNKNOWN", [("api".to_owned(), why)].into()),
        };
        let seen = &mut self.cluster.observed;
        if seen.health_status.as_deref() != Some(status) || seen.health_status_reason != machines {
            seen.health_status = Some(status.to_owned());
            seen.health_status_reason = machines;
            self.observe().await?;
        }
        Ok(Next::Again(HEALTH))
    }

    async fn take_apart(mut self) -> Look {
        if self.cluster.observed.status != ClusterStatus::DeleteInProgress {
            self.cluster.observed.status = ClusterStatus::DeleteInProgress;
            self.cluster.observed.status_reason = Some("being taken apart".into());
            self.observe().await?;
        }
        if let Some(port) = self.cluster.observed.access_tcp_port {
            self.cx.access.close(port);
        }
        let mut waiting = Vec::new();
        for node in self.cx.store.list(&Query::<Node>::new().column("instance_uuid", [self.cluster.id.to_string()])).await? {
            let name = node.name.clone();
            waiting.push(format!("{name}: {}", self.give_back(node).await?));
        }
        if !waiting.is_empty() {
            return self.wait(&format!("machines are being taken back: {}", waiting.join(", ")), WAIT).await;
        }
        let network_id: Id<Network> = self.child("network");
        let ports = self.cx.store.list(&Query::<Port>::new().with_deleted().column("network_id", [network_id.to_string()])).await?;
        for port in ports.iter().filter(|it| !it.is_deleting()) {
            self.cx.store.apply(self.cx.facts().mark_deleted(port).wake(&port.id)).await?;
        }
        if !ports.is_empty() {
            return self.wait("ports are in quarantine until they are read back as isolated", WAIT).await;
        }
        if self.cx.config.edge.as_ref().is_some() {
            let edge_netns = self.cx.config.edge.as_ref().map(|it| it.netns.clone()).unwrap_or_default();
            let name = edge::netns(self.cx, &network_id)?;
            drivers::edge::remove_attachment(&name, &edge_netns, &edge::port_name(&self.child("access"))).await.map_err(Fault::outside)?;
        }
        if let Some(subnet) = self.cx.store.get::<Subnet>(&self.child("subnet")).await? {
            self.cx.store.apply(self.cx.facts().remove(&subnet)).await?;
        }
        match self.cx.store.get(&network_id).await? {
            Some(network) if !network.is_deleting() => {
                self.cx.store.apply(self.cx.facts().mark_deleted(&network).wake(&network_id)).await?;
                return self.wait("its VLAN is in quarantine until every switch is read back without it", WAIT).await;
            }
            Some(_) => return self.wait("its VLAN is in quarantine until every switch is read back without it", WAIT).await,
            None => {}
        }
        let batch = self.cx.facts().free_held(ACCESS_POOL, self.cluster.id.as_str()).free_held(CLAIM_POOL, self.cluster.id.as_str());
        let name_pool = "quota:cluster";
        self.cx.store.apply(batch.free_held(name_pool, self.cluster.id.as_str()).remove(&self.cluster)).await?;
        tracing::info!(cluster.id = %self.cluster.id, cluster.name = self.cluster.name, "cluster is gone");
        Ok(Next::Gone)
    }

    /// Asks a machine back; returns what is awaited.
    async fn give_back(&self, mut node: Object<Node>) -> Result<String, Fault> {
        let pending = node.desired.request.as_ref().is_some_and(|it| it.seq > node.observed.handled);
        if pending || transition(node.observed.state, node.observed.is_waiting(), Verb::Undeploy).is_none() {
            return Ok(node.observed.phase.as_str().to_owned());
        }
        let seq = node.desired.request.as_ref().map_or(0, |it| it.seq).max(node.observed.handled) + 1;
        node.desired.request = Some(ProvisionRequest { seq, verb: Verb::Undeploy, ..ProvisionRequest::default() });
        self.cx.store.apply(self.cx.facts().want(&node).wake(&node.id)).await?;
        Ok("asked back".into())
    }
}
