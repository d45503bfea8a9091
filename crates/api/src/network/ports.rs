//! `/v2.0/ports`

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use http::StatusCode;
use model::identity::Project;
use model::net::bgpvpn::BgpvpnPortAssociation;
use model::net::l3::{FloatingIp, Router};
use model::net::qos::QosPolicy;
use model::net::security::SecurityGroup;
use model::net::trunk::TRUNK_PORTS;
use model::net::{FixedIp, Network, Port, PortDesired, Segment, VifType};
use model::{Id, Object};
use policy::Target;
use serde_json::{Map, Value, json};
use store::{Query, Term};

use super::noun::{Body, Form, Noun, Work, field, read_tags, tagged_routes};
use super::policies::{SeenNetwork, of_network, of_port};
use super::port_parts as parts;
use super::{
    Ask, Extension, bgpvpn_associations, bindings, extension, floating_ips, flow_classifiers, ipam, l3_ports, logs, qos, resource_requests,
    security_groups, trunks,
};
use crate::App;
use crate::caller::Caller;
use crate::enforce::allows;
use crate::failure::Failure;
use crate::resource::{equals, put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("binding", "Port Binding", "Expose port bindings of a virtual port to external application", "2014-02-03T10:00:00-00:00"),
    extension("port-security", "Port Security", "Provides port security", "2012-07-23T10:00:00-00:00"),
    extension("allowed-address-pairs", "Allowed Address Pairs", "Provides allowed address pairs", "2013-07-23T10:00:00-00:00"),
    extension(
        "aap-reject-multicast",
        "Allowed address pairs reject multicast extension",
        "Reject multicast addresses in Allowed Address Pairs",
        "2026-04-01T00:00:00-00:00",
    ),
    extension(
        "extra_dhcp_opt",
        "Neutron Extra DHCP options",
        "Extra options configuration for DHCP. For example PXE boot options to DHCP clients can be specified (e.g. tftp-server, server-ip-address, bootfile-name)",
        "2013-03-17T12:00:00-00:00",
    ),
    extension("dns-integration", "DNS Integration", "Provides integration with DNS.", "2015-08-15T18:00:00-00:00"),
    extension(
        "dns-domain-ports",
        "dns_domain for ports",
        "Allows the DNS domain to be specified for a network port.",
        "2017-04-24T10:00:00-00:00",
    ),
    extension("port-device-profile", "Port device profile", "Expose the port device profile (Cyborg)", "2020-12-17T10:00:00-00:00"),
    extension("port-hardware-offload-type", "Port hardware offload", "Expose port hardware offload extension", "2023-05-09T10:00:00-00:00"),
    extension("port-hints", "Port hints", "Backend specific port hints to allow backend specific tuning", "2023-01-01T00:00:00-00:00"),
    extension(
        "port-hint-ovs-tx-steering",
        "Port hint: Open vSwitch Tx steering",
        "Enable Port hint: Open vSwitch Tx steering",
        "2023-01-01T00:00:00-00:00",
    ),
    extension(
        "port-mac-address-regenerate",
        "Neutron Port MAC address regenerate",
        "Network port MAC address regenerate",
        "2018-05-03T10:00:00-00:00",
    ),
    extension(
        "port-numa-affinity-policy",
        "Port NUMA affinity policy",
        "Expose the port NUMA affinity policy",
        "2020-07-08T10:00:00-00:00",
    ),
    extension(
        "port-numa-affinity-policy-socket",
        "Port NUMA affinity policy \"socket\"",
        "Adds \"socket\" to the supported port NUMA affinity policies",
        "2024-02-09T10:00:00-00:00",
    ),
    extension("port-trusted-vif", "Port trusted vif", "Expose port 'trusted' attribute in the API", "2024-07-10T10:00:00-00:00"),
    extension(
        "port-security-groups-filtering",
        "Port filtering on security groups",
        "Provides security groups filtering when listing ports",
        "2018-01-09T09:00:00-00:00",
    ),
    extension(
        "ip-substring-filtering",
        "IP address substring filtering",
        "Provides IP address substring filtering when listing ports",
        "2017-11-28T09:00:00-00:00",
    ),
    extension(
        "tag-ports-during-bulk-creation",
        "Tag Ports During Bulk Creation",
        "Allow to tag ports during bulk creation",
        "2019-12-29T19:00:00-00:00",
    ),
    extension(
        "uplink-status-propagation",
        "Uplink status propagation extension",
        "Provides ability to propagate port uplink status.",
        "2018-05-31T18:00:00-00:00",
    ),
    extension(
        "uplink-status-propagation-updatable",
        "Uplink status propagation updatable extension",
        "Provides ability to update the port uplink status.",
        "2024-09-03T18:00:00-00:00",
    ),
    extension(
        "data-plane-status",
        "Port data plane status extension",
        "Expose status of underlying data plane",
        "2017-01-24T10:00:00-00:00",
    ),
    extension(
        "qos-port-network-policy",
        "QoS port network policy ID",
        "Adds a the QoS network ID to the port definition",
        "2019-11-01T10:00:00-00:00",
    ),
];

/// `device_owner`s that the control plane gives to its own ports.
const OURS: [&str; 2] = ["network:cofferdam-access", "baremetal:cluster"];

/// What binds the port's kind of network card.
pub(super) const VNIC_TYPES: [&str; 11] = [
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
];

/// Longest `binding:profile`, in characters of JSON.
const LONGEST_PROFILE: usize = 4095;

/// What ports need beside themselves to be shown and judged.
#[derive(Default)]
pub(crate) struct Beside {
    networks: HashMap<Id<Network>, Near>,
    /// By parent: what its trunk is.
    trunks: HashMap<Id<Port>, Value>,
    deferred: HashSet<Id<Port>>,
    /// What promises of QoS policies ask of hosts.
    requests: HashMap<Id<Port>, Value>,
}

/// A port's network, as far as its ports need it.
struct Near {
    seen: SeenNetwork,
    qos_policy_id: Option<Id<QosPolicy>>,
    segments: Vec<Segment>,
}

pub(super) fn routes() -> axum::Router<Arc<App>> {
    tagged_routes::<Port>()
}

/// `binding:profile`, or the `profile` of a binding that is not in force.
pub(super) fn profile(v: &Value) -> Result<Map<String, Value>, String> {
    let profile = match v {
        Value::Null => Map::new(),
        Value::Object(map) => map.clone(),
        other => return Err(format!("'{other}' is not a dictionary")),
    };
    if Value::Object(profile.clone()).to_string().chars().count() > LONGEST_PROFILE {
        return Err("binding:profile value too large".into());
    }
    let binding = model::net::Binding { profile, ..model::net::Binding::default() };
    binding.local_links()?;
    Ok(binding.profile)
}

fn maybe<T>(v: &Value, read: impl FnOnce(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
    if v.is_null() { Ok(None) } else { read(v).map(Some) }
}

static FORM: LazyLock<Form<Port>> = LazyLock::new(|| {
    let mut form = Form::new("port", "ports", "ports", "PortNotFound", "Port").standard();
    for it in &mut form.fields {
        if it.name == "tags" {
            *it = field::<Port>("tags", |it, _| json!(it.desired.tags)).set_once(|it, v| put(&mut it.desired.tags, read_tags(v)));
        }
    }
    form.fields(vec![
        field("network_id", |it: &Object<Port>, _: &Beside| json!(it.desired.network_id))
            .set_once(|it, v| put(&mut it.desired.network_id, parts::uuid(v)))
            .required()
            .sort()
            .column("network_id"),
        field("admin_state_up", |it: &Object<Port>, _| json!(it.desired.admin_state_up))
            .set(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v)))
            .sort(),
        field("status", |it: &Object<Port>, _| json!(it.status().as_str())).sort(),
        // Who may set these and three below depends on the network: they are read when it is known, as what the caller may not set is not
        // looked at. What is wrong with some has a name of its own in Neutron besides.
        field("mac_address", |it: &Object<Port>, _| json!(it.desired.mac_address))
            .set(|_, _| Ok(()))
            .create_by("create_port:mac_address")
            .update_by("update_port:mac_address")
            .sort()
            .column("mac_address"),
        field("fixed_ips", |it: &Object<Port>, _| json!(it.desired.fixed_ips))
            .set(|_, _| Ok(()))
            .create_by("create_port:fixed_ips")
            .update_by("update_port:fixed_ips")
            .filter(),
        field("device_id", |it: &Object<Port>, _| json!(it.desired.device_id))
            .set(|it, v| put(&mut it.desired.device_id, value::text(v, 255)))
            .create_by("create_port:device_id")
            .update_by("update_port:device_id")
            .free_default()
            .sort()
            .column("device_id"),
        field("device_owner", |it: &Object<Port>, _| json!(it.desired.device_owner))
            .set(|it, v| {
                it.desired.device_owner = value::text(v, 255)?;
                if OURS.contains(&it.desired.device_owner.as_str()) { Err("it is one of the control plane's own".into()) } else { Ok(()) }
            })
            .create_by("create_port:device_owner")
            .update_by("update_port:device_owner")
            .free_default()
            .sort()
            .column("device_owner"),
        field("port_security_enabled", |it: &Object<Port>, _| json!(it.desired.port_security_enabled))
            .set(|_, _| Ok(()))
            .create_by("create_port:port_security_enabled")
            .update_by("update_port:port_security_enabled"),
        field("security_groups", |it: &Object<Port>, _| json!(it.desired.security_groups))
            .set(|it, v| put(&mut it.desired.security_groups, groups(v)))
            .link("security_groups"),
        field("allowed_address_pairs", |it: &Object<Port>, _| {
            let pair = |it: &model::net::AddressPair| json!({"ip_address": it.ip_address, "mac_address": it.mac_address});
            it.desired.allowed_address_pairs.iter().map(pair).collect()
        })
        .set(|_, _| Ok(()))
        .create_by("create_port:allowed_address_pairs")
        .update_by("update_port:allowed_address_pairs"),
        field("extra_dhcp_opts", |it: &Object<Port>, _| json!(it.desired.extra_dhcp_opts)).set(|_, _| Ok(())),
    ])
    .fields(bound_fields())
    .fields(more_fields())
});

fn groups(v: &Value) -> Result<Vec<Id<SecurityGroup>>, String> {
    let mut groups = Vec::new();
    if v.is_null() {
        return Ok(groups);
    }
    for it in v.as_array().ok_or_else(|| format!("'{v}' is not a list"))? {
        let id: Id<SecurityGroup> = parts::uuid(it)?;
        if groups.contains(&id) {
            return Err(format!("Duplicate items in the list: '{id}'"));
        }
        groups.push(id);
    }
    Ok(groups)
}

/// `binding:profile`, with what is kept apart from it but read there by who binds the port.
fn shown_profile(port: &Object<Port>) -> Value {
    let mut profile = port.desired.binding.profile.clone();
    if let Some(trusted) = port.desired.trusted {
        profile.insert("trusted".to_owned(), json!(trusted));
    }
    Value::Object(profile)
}

/// Who binds the port, to what.
fn bound_fields() -> Vec<super::noun::Field<Port>> {
    vec![
        field("binding:vnic_type", |it: &Object<Port>, _: &Beside| json!(it.desired.binding.vnic_type))
            .set(|it, v| put(&mut it.desired.binding.vnic_type, parts::one_of(v, &VNIC_TYPES)))
            .create_by("create_port:binding:vnic_type")
            .update_by("update_port:binding:vnic_type")
            .free_default(),
        field("binding:host_id", |it: &Object<Port>, _| json!(it.desired.binding.host_id))
            .set(|it, v| put(&mut it.desired.binding.host_id, value::text(v, 255)))
            .read_by("get_port:binding:host_id")
            .create_by("create_port:binding:host_id")
            .update_by("update_port:binding:host_id")
            .filter()
            .column("host_id"),
        field("binding:profile", |it: &Object<Port>, _| shown_profile(it))
            .set(|it, v| put(&mut it.desired.binding.profile, profile(v)))
            .read_by("get_port:binding:profile")
            .create_by("create_port:binding:profile")
            .update_by("update_port:binding:profile"),
        field("binding:vif_type", |it: &Object<Port>, _| json!(it.vif_type().as_str())).read_by("get_port:binding:vif_type"),
        field("binding:vif_details", |it: &Object<Port>, _| vif_details(it)).read_by("get_port:binding:vif_details"),
    ]
}

/// What whoever bound the port says of it: a program on a host whatever it likes, the switch fabric why it is not ACTIVE.
fn vif_details(port: &Object<Port>) -> Value {
    match (&port.desired.plug, port.observed.reason.as_str()) {
        (Some(plug), _) => json!(plug.vif_details),
        (None, "") => json!({}),
        (None, reason) => json!({ "reason": reason }),
    }
}

fn more_fields() -> Vec<super::noun::Field<Port>> {
    vec![
        field("dns_name", |it: &Object<Port>, _: &Beside| json!(it.desired.dns_name))
            .set(|it, v| put(&mut it.desired.dns_name, parts::dns_name(v))),
        field("dns_domain", |it: &Object<Port>, _| json!(it.desired.dns_domain))
            .set(|it, v| put(&mut it.desired.dns_domain, parts::dns_domain(v))),
        field("dns_assignment", |it: &Object<Port>, _| parts::dns_assignment(&it.desired.dns_name, &it.desired.fixed_ips)),
        field("qos_policy_id", |it: &Object<Port>, _| json!(it.desired.qos_policy_id))
            .set(|it, v| put(&mut it.desired.qos_policy_id, maybe(v, parts::uuid))),
        field("qos_network_policy_id", |it: &Object<Port>, around: &Beside| {
            json!(around.networks.get(&it.desired.network_id).and_then(|it| it.qos_policy_id.as_ref()))
        }),
        field("resource_request", |it: &Object<Port>, around: &Beside| around.requests.get(&it.id).cloned().unwrap_or_default())
            .read_by("get_port:resource_request"),
        field("ip_allocation", |it: &Object<Port>, around: &Beside| json!(ipam::ip_allocation(it, around.deferred.contains(&it.id))))
            .sort(),
        field("propagate_uplink_status", |it: &Object<Port>, _| json!(it.desired.propagate_uplink_status))
            .set(|it, v| put(&mut it.desired.propagate_uplink_status, value::boolean(v))),
        field("numa_affinity_policy", |it: &Object<Port>, _| json!(it.desired.numa_affinity_policy)).set(|it, v| {
            let policy = maybe(v, |v| parts::one_of(v, &["required", "preferred", "legacy", "socket"]));
            put(&mut it.desired.numa_affinity_policy, policy)
        }),
        field("device_profile", |it: &Object<Port>, _| json!(it.desired.device_profile))
            .set_once(|it, v| put(&mut it.desired.device_profile, maybe(v, |v| value::text(v, 255)))),
        field("hints", |it: &Object<Port>, _| json!(it.desired.hints))
            .set(|it, v| put(&mut it.desired.hints, parts::hints(v)))
            .read_by("get_port:hints")
            .create_by("create_port:hints")
            .update_by("update_port:hints")
            .free_default(),
        field("trusted", |it: &Object<Port>, _| json!(it.desired.trusted))
            .set(|it, v| put(&mut it.desired.trusted, maybe(v, value::boolean)))
            .read_by("get_port:trusted")
            .create_by("create_port:trusted")
            .update_by("update_port:trusted"),
        field("data_plane_status", |it: &Object<Port>, _| json!(it.desired.data_plane_status))
            .set_later(|it, v| put(&mut it.desired.data_plane_status, maybe(v, |v| parts::one_of(v, &["ACTIVE", "DOWN"]))))
            .update_by("update_port:data_plane_status"),
        field("hardware_offload_type", |it: &Object<Port>, _| json!(it.desired.hardware_offload_type))
            .set_once(|it, v| put(&mut it.desired.hardware_offload_type, maybe(v, |v| parts::one_of(v, &["switchdev"])))),
        field("trunk_details", |it: &Object<Port>, around: &Beside| around.trunks.get(&it.id).cloned().unwrap_or_default())
            .shown_if(|it, around: &Beside| around.trunks.contains_key(&it.id)),
    ]
}

fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

fn invalid(name: &str, why: &str) -> Failure {
    bad("HTTPBadRequest", format!("Invalid input for {name}. Reason: {why}."))
}

/// Puts what only some may set of a network's ports from the body into the port, and returns the addresses it is to have, if it says so.
fn read(port: &mut Object<Port>, body: &Body) -> Result<Option<Vec<ipam::WantedIp>>, Failure> {
    let desired = &mut port.desired;
    match body.get("mac_address") {
        None if !desired.mac_address.is_empty() => {}
        None | Some(Value::Null) => desired.mac_address = parts::random_mac()?,
        Some(given) => desired.mac_address = parts::card_mac(given).map_err(|why| invalid("mac_address", &why))?,
    }
    if let Some(given) = body.get("port_security_enabled") {
        desired.port_security_enabled = value::boolean(given).map_err(|why| invalid("port_security_enabled", &why))?;
    }
    body.get("fixed_ips").map(ipam::wanted_ips).transpose().map_err(|why| invalid("fixed_ips", &why))
}

fn no_network(id: &Id<Network>) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NetworkNotFound", format!("Network {id} could not be found."))
}

fn mac_pool(network: &Id<Network>) -> String {
    format!("mac:{network}")
}

fn mac_in_use(network: &Id<Network>, mac: &str) -> Failure {
    conflict("MacAddressInUse", format!("Unable to complete operation for network {network}. The mac address {mac} is in use."))
}

/// A port's network, looked for once in an attempt.
///
/// # Errors
/// It is not there; for one that is `chosen` by the caller: not there for it.
pub(super) async fn network(work: &mut Work<'_>, id: &Id<Network>, chosen: bool) -> Result<Arc<Object<Network>>, Failure> {
    let name = format!("network {id} of ports");
    if let Some(known) = work.known(&name) {
        return Ok(known);
    }
    if let Some(made) = work.made::<Network>().find(|it| it.id == *id) {
        return Ok(Arc::new(made.clone()));
    }
    let ask = work.ask;
    let found = ask.app.store.get(id).await?.filter(|it: &Object<Network>| !it.is_deleting()).ok_or_else(|| no_network(id))?;
    if chosen {
        let seen = SeenNetwork::of(&found, ask.shares().await?.as_ref(), ask.caller.project_id.as_ref());
        if !allows(&ask.app, &ask.caller, "get_network", &of_network(&seen)) {
            return Err(no_network(id));
        }
    }
    work.gone_means::<Network>(no_network(id));
    Ok(work.know(name, Arc::new(found)))
}

/// Whether the caller sees the port. For other services.
pub(crate) async fn sees(app: &App, caller: &Caller, port: &Object<Port>) -> Result<bool, Failure> {
    let network = app.store.get::<Network>(&port.desired.network_id).await?;
    // Being shared or external makes nobody see the ports of a network.
    let network = network.map(|it| SeenNetwork { project_id: it.project_id, shared: false, external: false });
    Ok(allows(app, caller, "get_port", &of_port(port, network.as_ref())))
}

/// Those of ports whose owner is part of the network service itself are not filtered.
fn is_trusted(port: &Object<Port>) -> bool {
    port.desired.device_owner.starts_with("network:")
}

/// Gives a port the groups that its body names or, if it names none, the default one of its project.
async fn secure(work: &mut Work<'_>, port: &mut Object<Port>, body: &Body) -> Result<(), Failure> {
    if !port.desired.allowed_address_pairs.is_empty() && !port.desired.port_security_enabled {
        return Err(unsecured_pairs());
    }
    let named = body.contains_key("security_groups");
    if is_trusted(port) {
        port.desired.security_groups.clear();
    } else if !port.desired.port_security_enabled {
        if !port.desired.security_groups.is_empty() {
            return Err(unsecured_groups());
        }
    } else if named {
        security_groups::of_port(work.ask, port.project_id.as_ref(), &port.desired.security_groups).await?;
    } else if let Some(project) = port.project_id.clone() {
        port.desired.security_groups = vec![security_groups::default_group(work, &project).await?];
    }
    for id in &port.desired.security_groups {
        work.step(|batch| batch.require(id));
    }
    Ok(())
}

fn unsecured_pairs() -> Failure {
    conflict("AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port.")
}

fn unsecured_groups() -> Failure {
    let text = "Port security must be enabled and port must have an IP address in order to use security groups.";
    bad("PortSecurityAndIPRequiredForSecurityGroups", text)
}

/// The same of a change.
async fn secure_again(work: &mut Work<'_>, before: &Object<Port>, after: &mut Object<Port>, body: &Body) -> Result<(), Failure> {
    let named = body.contains_key("security_groups");
    if !after.desired.port_security_enabled {
        if !after.desired.allowed_address_pairs.is_empty() {
            return Err(unsecured_pairs());
        }
        if !after.desired.security_groups.is_empty() {
            return Err(if named {
                unsecured_groups()
            } else {
                let text =
                    "Port has security group associated. Cannot disable port security or IP address until security group is removed.";
                conflict("PortSecurityPortHasSecurityGroup", text)
            });
        }
        return Ok(());
    }
    if !named {
        return Ok(());
    }
    if is_trusted(after) {
        after.desired.security_groups.clear();
    }
    if after.desired.security_groups != before.desired.security_groups {
        security_groups::of_port(work.ask, after.project_id.as_ref(), &after.desired.security_groups).await?;
        for id in after.desired.security_groups.iter().filter(|id| !before.desired.security_groups.contains(id)) {
            work.step(|batch| batch.require(id));
        }
    }
    Ok(())
}

fn service_port(id: &Id<Port>, reason: impl std::fmt::Display) -> Failure {
    conflict("ServicePortInUse", format!("Port {id} cannot be deleted directly via the port API: {reason}."))
}

/// Our own ports are made, changed and removed by us alone.
fn not_ours(port: &Object<Port>) -> Result<(), Failure> {
    if OURS.contains(&port.desired.device_owner.as_str()) {
        return Err(service_port(&port.id, format!("has device owner {}", port.desired.device_owner)));
    }
    Ok(())
}

/// What may not be changed while something holds the port where it is.
fn movable(before: &Object<Port>, after: &Object<Port>) -> Result<(), Failure> {
    let (was, is) = (&before.desired, &after.desired);
    let vif = before.vif_type();
    if was.binding.vnic_type != is.binding.vnic_type && vif != VifType::Unbound {
        let text = format!(
            "Unable to complete operation on port {} for network {}. Port already has an attached device {}.",
            before.id, was.network_id, was.device_id
        );
        return Err(conflict("PortInUse", text));
    }
    if was.mac_address != is.mac_address && is.device_owner.starts_with("network:") {
        let text = format!("Operation mac address update is not supported for device_owner {} on port {}.", is.device_owner, before.id);
        return Err(conflict("UnsupportedPortDeviceOwner", text));
    }
    // The address of a machine's own card is what it is: whoever binds it says so.
    if was.mac_address != is.mac_address && before.is_bound() && was.binding.vnic_type != "baremetal" {
        let text = format!(
            "Unable to complete operation on port {}, port is already bound, port type: {}, old_mac {}, new_mac {}.",
            before.id,
            vif.as_str(),
            was.mac_address,
            is.mac_address
        );
        return Err(conflict("PortBound", text));
    }
    if was.numa_affinity_policy != is.numa_affinity_policy && before.is_bound() {
        let text = format!(
            "Unable to complete operation on port {}, port is already bound to host {}, numa_affinity_policy value given {}.",
            before.id,
            was.binding.host_id,
            is.numa_affinity_policy.as_deref().unwrap_or("None")
        );
        return Err(conflict("PortBoundNUMAAffinityPolicy", text));
    }
    Ok(())
}

/// What the ports' QoS policies, or their networks', ask of hosts.
async fn requests(ask: &Ask, ports: &[Object<Port>], networks: &HashMap<Id<Network>, Near>) -> Result<HashMap<Id<Port>, Value>, Failure> {
    let near = |port: &Object<Port>| networks.get(&port.desired.network_id);
    let policy = |port: &Object<Port>| port.desired.qos_policy_id.clone().or_else(|| near(port)?.qos_policy_id.clone());
    let policies: HashMap<&Id<Port>, Id<QosPolicy>> = ports.iter().filter_map(|it| Some((&it.id, policy(it)?))).collect();
    let rules = resource_requests::rules(ask, policies.values().collect()).await?;
    let request = |port: &Object<Port>| {
        let rules = rules.get(policies.get(&port.id)?)?;
        Some((port.id.clone(), resource_requests::request(port, rules, &near(port)?.segments)?))
    };
    Ok(ports.iter().filter_map(request).collect())
}

/// Addresses that routers and floating IPs count on stay.
async fn keep_addresses(ask: &Ask, before: &Object<Port>, after: &Object<Port>) -> Result<(), Failure> {
    let (was, is) = (&before.desired.fixed_ips, &after.desired.fixed_ips);
    if was == is {
        return Ok(());
    }
    let is_interface = l3_ports::INTERFACES.contains(&before.desired.device_owner.as_str());
    let v4 = |all: &[FixedIp]| all.iter().filter(|it| it.ip_address.is_ipv4()).map(|it| it.ip_address).collect::<BTreeSet<_>>();
    if is_interface && v4(was) != v4(is) && router_of(ask, &before.desired.device_id).await?.is_some() {
        return Err(bad("IPAddressChangeNotAllowed", format!("IP updates for port {} are not allowed", before.id)));
    }
    let query = Query::<FloatingIp>::new().column("port_id", [before.id.to_string()]);
    let floating = ask.app.store.list_few(&query).await?;
    if floating.iter().filter_map(|it| it.desired.fixed_ip_address).any(|ip| is.iter().all(|it| it.ip_address != ip)) {
        let why = "because its original fixed_ip has been associated to a floating ip";
        return Err(l3_ports::bad("port", format!("Cannot update the fixed_ips of the port {}, {why}", before.id)));
    }
    Ok(())
}

/// The router of that id, if there is one.
async fn router_of(ask: &Ask, device: &str) -> Result<Option<Object<Router>>, Failure> {
    match Id::parse(device) {
        Some(id) => Ok(ask.app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// Nobody passes a port off as an interface of another project's router.
async fn own_device(ask: &Ask, port: &Object<Port>) -> Result<(), Failure> {
    let desired = &port.desired;
    if !l3_ports::INTERFACES.contains(&desired.device_owner.as_str()) || desired.device_id.is_empty() || l3_ports::is_admin(ask) {
        return Ok(());
    }
    if router_of(ask, &desired.device_id).await?.is_some_and(|it| it.project_id != port.project_id) {
        let text = format!("The following device_id {} is not owned by your project or matches another project router.", desired.device_id);
        return Err(conflict("DeviceIDNotOwnedByTenant", text));
    }
    Ok(())
}

impl Noun for Port {
    type Around = Beside;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<PortDesired, Failure> {
        // Its network is always said; until it has a hardware address it is not made yet.
        Ok(PortDesired::new(Id::random(), String::new()))
    }

    async fn around(ask: &Ask, ports: &[Object<Self>]) -> Result<Beside, Failure> {
        let ids: BTreeSet<String> = ports.iter().map(|it| it.desired.network_id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Beside::default());
        }
        let shares = ask.shares().await?;
        let few = ids.len() <= 8;
        let query = Query::<Network>::new().with_deleted().ids(ids);
        let found = if few { ask.app.store.list_few(&query).await? } else { ask.app.store.list(&query).await? };
        let near = |it: Object<Network>| {
            let seen = SeenNetwork::of(&it, &shares, ask.caller.project_id.as_ref());
            (it.id, Near { seen, qos_policy_id: it.desired.qos_policy_id, segments: it.desired.segments })
        };
        let networks: HashMap<Id<Network>, Near> = found.into_iter().map(near).collect();
        // To judge one that is to be made its network will do.
        let ports = if ports.iter().any(|it| it.desired.mac_address.is_empty()) { &[] } else { ports };
        Ok(Beside {
            requests: requests(ask, ports, &networks).await?,
            networks,
            trunks: trunks::details(ask, ports).await?,
            deferred: ipam::deferred(ask, ports).await?,
        })
    }

    fn target(port: &Object<Self>, around: &Beside) -> Target {
        of_port(port, around.networks.get(&port.desired.network_id).map(|it| &it.seen))
    }

    async fn seen(ask: &Ask) -> Result<Vec<Term>, Failure> {
        Ok(ask.caller.project_id.iter().map(|project| Term::of_project::<Network>("network_id", project)).collect())
    }

    fn fits(name: &str, has: &Value, wanted: &[String]) -> bool {
        if name == "fixed_ips" { parts::fixed_ips_fit(has, wanted) } else { wanted.iter().any(|wanted| equals(has, wanted)) }
    }

    fn narrow(query: Query<Self>, name: &str, wanted: &[String]) -> Query<Self> {
        if name != "fixed_ips" {
            return query;
        }
        ["ip_address", "subnet_id"].into_iter().fold(query, |query, key| {
            let values: Vec<String> = parts::values_of(wanted, key).map(str::to_owned).collect();
            if values.is_empty() { query } else { query.linked(key, values) }
        })
    }

    fn rules(verb: &'static str, body: &Body) -> Vec<String> {
        let mut rules = Vec::new();
        for (name, members) in [("fixed_ips", ["ip_address", "subnet_id"]), ("allowed_address_pairs", ["ip_address", "mac_address"])] {
            let entries = body.get(name).and_then(Value::as_array);
            for member in members {
                if entries.is_some_and(|entries| entries.iter().any(|it| it.get(member).is_some())) {
                    rules.push(format!("{verb}_port:{name}:{member}"));
                }
            }
        }
        rules
    }

    async fn admit(work: &mut Work<'_>, port: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let network = network(work, &port.desired.network_id, true).await?;
        port.desired.port_security_enabled = network.desired.port_security_enabled;
        Ok(())
    }

    async fn create(work: &mut Work<'_>, port: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let network = network(work, &port.desired.network_id, true).await?;
        let wanted = read(port, body)?;
        own_device(work.ask, port).await?;
        if let Some(given) = body.get("allowed_address_pairs") {
            port.desired.allowed_address_pairs = parts::pairs(given, &port.desired.mac_address)?;
        }
        if let Some(given) = body.get("extra_dhcp_opts") {
            port.desired.extra_dhcp_opts = parts::dhcp_options(&[], given)?;
        }
        secure(work, port, body).await?;
        qos::used(work, port.desired.qos_policy_id.as_ref()).await?;
        bindings::bind(work, port, &network).await?;
        port.desired.fixed_ips = ipam::allocate(work, port, &network, wanted.as_deref(), &[]).await?;
        let pool = mac_pool(&network.id);
        let mac = &port.desired.mac_address;
        if body.get("mac_address").is_some_and(|it| !it.is_null()) {
            work.value_taken_means(&pool, mac, mac_in_use(&network.id, mac));
        }
        work.step(|batch| batch.hold(&pool, mac, port.id.as_str()));
        Ok(())
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        not_ours(before)?;
        let wanted = read(after, body)?;
        movable(before, after)?;
        own_device(work.ask, after).await?;
        let network = network(work, &before.desired.network_id, false).await?;
        if let Some(given) = body.get("allowed_address_pairs") {
            after.desired.allowed_address_pairs = parts::pairs(given, &after.desired.mac_address)?;
        }
        if let Some(given) = body.get("extra_dhcp_opts") {
            after.desired.extra_dhcp_opts = parts::dhcp_options(&before.desired.extra_dhcp_opts, given)?;
        }
        secure_again(work, before, after, body).await?;
        if after.desired.qos_policy_id != before.desired.qos_policy_id {
            qos::used(work, after.desired.qos_policy_id.as_ref()).await?;
        }
        // What could not be bound is tried again whenever the port is changed.
        let has_failed = after.desired.plug.as_ref().is_some_and(|it| it.vif_type == VifType::BindingFailed);
        if has_failed || after.desired.binding != before.desired.binding {
            bindings::bind(work, after, &network).await?;
            trunks::moved(work, before, after).await?;
        }
        after.desired.fixed_ips = match wanted {
            Some(wanted) => ipam::allocate(work, after, &network, Some(&wanted), &before.desired.fixed_ips).await?,
            None => ipam::follow(work, before, after, &network).await?,
        };
        keep_addresses(work.ask, before, after).await?;
        floating_ips::port_changed(work, before, after).await?;
        let (was, mac) = (&before.desired.mac_address, &after.desired.mac_address);
        if was != mac {
            let pool = mac_pool(&network.id);
            if body.get("mac_address").is_some_and(|it| !it.is_null()) {
                work.value_taken_means(&pool, mac, mac_in_use(&network.id, mac));
            }
            work.step(|batch| batch.free(&pool, was).hold(&pool, mac, after.id.as_str()));
        }
        Ok(())
    }

    /// The port is gone for its users at once. What it holds stays held until its switch port was read back as isolated, if it ever could
    /// have one.
    async fn delete(work: &mut Work<'_>, port: &Object<Self>) -> Result<(), Failure> {
        not_ours(port)?;
        let (store, id) = (&work.ask.app.store, port.id.as_str());
        if let Some(held) = store.allocation("vif", id).await? {
            return Err(service_port(&port.id, format!("it is attached to bare metal node {}", held.holder)));
        }
        if let Some(held) = store.allocation(TRUNK_PORTS, id).await? {
            return Err(trunks::in_use(&port.id, &held.holder));
        }
        floating_ips::port_removed(work, port).await?;
        flow_classifiers::port_removed(work, port);
        bgpvpn_associations::forget::<BgpvpnPortAssociation>(work, id).await?;
        logs::forget(work, "target_id", id).await?;
        // Nor may it be attached, or become part of a trunk, at this very moment.
        work.step(|batch| ["vif", TRUNK_PORTS].into_iter().fold(batch, |batch, pool| batch.hold(pool, id, id).free(pool, id)));
        if port.desired.was_wired {
            work.step(|batch| batch.mark_deleted(port).wake(&port.id));
            return Ok(());
        }
        ipam::release(work, port);
        work.step(|batch| batch.free(&mac_pool(&port.desired.network_id), &port.desired.mac_address).remove(port));
        Ok(())
    }
}
