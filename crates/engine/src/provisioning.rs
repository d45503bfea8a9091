//! The networks that ramdisks run on: one that all share, or a VLAN of its own for each job, so that the ramdisks of two tenants'
//! machines never share a network.
//!
//! A segment of its own is held by its machine from before it is plugged until its switch port was proven isolated again. The network
//! of a segment stays when it is not held: on it is nobody but this host, and the next machine that holds the segment finds it ready.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use model::baremetal::Node;
use model::net::{Network, Port, PortStatus, Segment, Subnet, SubnetDesired, VlanId, ip_key, vlan_key};
use model::{Id, Object};
use net::Netns;
use store::{Allocation, Batch, Facts, StoreError};

use crate::config::{EdgeConfig, ProvisioningConfig};
use crate::edge::{ACCESS_OWNER, access_binding, attach, mac, network, port, usual_layout};
use crate::runtime::{Cx, Fault, Look, Next, Shared};

/// The name of this work in the queue.
pub(crate) const PROVISIONING: &str = "provisioning";
/// The pool of segments, by VLAN; a holder is a machine.
const POOL: &str = "provisioning";
const RESYNC: Duration = Duration::from_secs(30);

/// A network that ramdisks run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProvisioningSegment {
    pub(crate) vlan: VlanId,
    pub(crate) network: Id<Network>,
    pub(crate) subnet: Id<Subnet>,
    /// This host's own port on it.
    pub(crate) access: Id<Port>,
}

impl ProvisioningSegment {
    /// The one that all machines share.
    fn shared(config: &ProvisioningConfig) -> Self {
        Self {
            vlan: config.vlan,
            network: Id::derived("provisioning/network"),
            subnet: Id::derived("provisioning/subnet"),
            access: Id::derived("provisioning/access"),
        }
    }

    /// One that a machine has for itself.
    fn own(vlan: VlanId) -> Self {
        Self {
            vlan,
            network: Id::derived(&format!("provisioning/network/{vlan}")),
            subnet: Id::derived(&format!("provisioning/subnet/{vlan}")),
            access: Id::derived(&format!("provisioning/access/{vlan}")),
        }
    }

    /// The namespace this host is attached to it in.
    pub(crate) fn netns(&self, edge: &EdgeConfig) -> Netns {
        Netns::named(&format!("{}{}", edge.netns_prefix, self.network.short()))
    }
}

/// The VLANs of the fabric, each held by its network.
fn vlan_pool(shared: &Shared) -> String {
    format!("vlan:{}", shared.config.fabric.physical_network)
}

/// Whether a VLAN is held by another network than one for ramdisks.
fn is_anothers(it: &Allocation) -> bool {
    let own = it.value.parse().ok().and_then(VlanId::new).map(|vlan| ProvisioningSegment::own(vlan).network);
    own.is_none_or(|own| own.as_str() != it.holder)
}

fn config(shared: &Shared) -> Result<&ProvisioningConfig, Fault> {
    shared
        .config
        .provisioning
        .as_ref()
        .ok_or_else(|| Fault::outside("there is no provisioning network ([provisioning] in the configuration)"))
}

/// The segments that may have ramdisks on them now.
pub(crate) async fn in_use(shared: &Shared) -> Result<Vec<ProvisioningSegment>, StoreError> {
    let Some(config) = &shared.config.provisioning else { return Ok(Vec::new()) };
    if config.vlans.is_none() {
        return Ok(vec![ProvisioningSegment::shared(config)]);
    }
    let held = shared.store.allocations(POOL).await?;
    let vlans = held.iter().filter_map(|it| it.value.parse().ok().and_then(VlanId::new));
    Ok(vlans.map(ProvisioningSegment::own).collect())
}

/// The segment that a machine's ramdisk runs on; `None`: it holds none.
pub(crate) async fn of_node(shared: &Shared, node: &Id<Node>) -> Result<Option<ProvisioningSegment>, Fault> {
    let config = config(shared)?;
    if config.vlans.is_none() {
        return Ok(Some(ProvisioningSegment::shared(config)));
    }
    let held = shared.store.allocations(POOL).await?;
    let vlan = held.iter().find(|it| it.holder == node.as_str()).and_then(|it| it.value.parse().ok().and_then(VlanId::new));
    Ok(vlan.map(ProvisioningSegment::own))
}

/// A segment for a machine's ramdisk, with this host on it; the inner error says what is waited for.
pub(crate) async fn take(cx: &Cx, node: &Id<Node>) -> Result<Result<ProvisioningSegment, String>, Fault> {
    let config = config(cx)?.clone();
    let segment = match (of_node(cx, node).await?, config.vlans) {
        (Some(segment), _) => segment,
        (None, None) => ProvisioningSegment::shared(&config),
        (None, Some(range)) => {
            let taken: HashSet<String> = cx.store.allocations(POOL).await?.into_iter().map(|it| it.value).collect();
            // An administrator may have given some of them to networks of other kinds.
            let networks = cx.store.allocations(&vlan_pool(cx)).await?;
            let others: HashSet<&str> = networks.iter().filter(|it| is_anothers(it)).map(|it| it.value.as_str()).collect();
            let all = (range.first.get()..=range.last.get()).filter_map(VlanId::new);
            let Some(vlan) = all.into_iter().find(|it| !taken.contains(&vlan_key(*it)) && !others.contains(vlan_key(*it).as_str())) else {
                return Ok(Err(format!("all segments for ramdisks are in use: {} by machines", taken.len())));
            };
            // Who comes second finds it taken and takes the next at the next look.
            cx.store.apply(cx.facts().hold(POOL, &vlan_key(vlan), node.as_str()).wake_named(PROVISIONING, PROVISIONING)).await?;
            ProvisioningSegment::own(vlan)
        }
    };
    // Whoever lays the cable is one, by its lease: two at once would each take the other's away.
    if cx.store.get(&segment.network).await?.is_none()
        && let Err(why) = make(cx, &config, &segment).await?
    {
        if config.vlans.is_none() {
            return Err(Fault::Outside(why));
        }
        // Another takes its place. It never was, so nobody was plugged into it.
        cx.store.apply(free(cx.facts(), node)).await?;
        return Ok(Err(why));
    }
    let access = cx.store.get(&segment.access).await?;
    Ok(match access.filter(|it| it.observed.status == PortStatus::Active) {
        Some(_) => Ok(segment),
        None => Err("this host is not on its provisioning network yet".into()),
    })
}

/// Lets go of the segment a machine holds. Only for one that is proven isolated.
pub(crate) fn free(batch: Batch<Facts>, node: &Id<Node>) -> Batch<Facts> {
    batch.free_held(POOL, node.as_str())
}

/// The networks that ramdisks run on now exist, and this host is on them.
pub(crate) async fn reconcile(cx: &Cx) -> Look {
    let Some(config) = cx.config.provisioning.clone() else {
        return Ok(Next::Again(Duration::from_secs(3600)));
    };
    let mut wrong = None;
    for segment in in_use(cx).await? {
        match ensure(cx, &config, &segment).await {
            Ok(()) => {}
            Err(Fault::Store(error)) => return Err(error.into()),
            // The others are seen to all the same.
            Err(fault) => wrong = wrong.or(Some(fault)),
        }
    }
    wrong.map_or(Ok(Next::Again(RESYNC)), Err)
}

async fn ensure(cx: &Cx, config: &ProvisioningConfig, segment: &ProvisioningSegment) -> Result<(), Fault> {
    if cx.store.get(&segment.network).await?.is_none() {
        make(cx, config, segment).await?.map_err(Fault::Outside)?;
    }
    let Some(port) = cx.store.get(&segment.access).await? else {
        return Err(Fault::outside("the provisioning network has no access port"));
    };
    attach(cx, &port, config.cidr.prefix_len(), config.address6.map(|it| (it, 64))).await
}

/// Makes its network; the inner error says what of it is another's.
async fn make(cx: &Cx, config: &ProvisioningConfig, it: &ProvisioningSegment) -> Result<Result<(), String>, Fault> {
    let fabric = &cx.config.fabric.physical_network;
    let segment = Segment::vlan(fabric, it.vlan);
    let name = if config.vlans.is_some() { format!("provisioning-{}", it.vlan) } else { "provisioning".to_owned() };
    let of = Object::new(it.network.clone(), None, name.clone(), network(segment, "ramdisks of machines being deployed or erased"));
    let (_, pool) = usual_layout(config.cidr);
    let subnet = SubnetDesired { allocation_pools: vec![pool], ..SubnetDesired::new(it.network.clone(), ipnet::IpNet::V4(config.cidr)) };
    let subnet = Object::new(it.subnet.clone(), None, name, subnet);
    let mac = mac(&it.access);
    let address = IpAddr::V4(config.address);
    let desired = port(&it.network, &it.subnet, address, &mac, ACCESS_OWNER, "", access_binding(cx, &it.access)?);
    let access = Object::new(it.access.clone(), None, "control plane on the provisioning network", desired);
    let batch = cx
        .facts()
        .hold(&vlan_pool(cx), &vlan_key(it.vlan), it.network.as_str())
        .hold(&format!("ip:{}", it.subnet), &ip_key(address), it.access.as_str())
        .hold(&format!("mac:{}", it.network), &mac, it.access.as_str())
        .create(&of)
        .create(&subnet)
        .create(&access)
        .wake(&it.access)
        .wake_named(PROVISIONING, PROVISIONING);
    match cx.store.apply(batch).await {
        Err(StoreError::Taken { pool, value }) => Ok(Err(format!("the provisioning network cannot be made: {value} of {pool} is taken"))),
        // Another machine's look made it meanwhile.
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(Ok(())),
        Err(error) => Err(error.into()),
    }
}
