//! Who binds ports, to what: programs on hosts here, the switch fabric in the engine.
//!
//! Below `/v2.0/ports/{id}/bindings` are all bindings of a port: the one in force, which the port itself shows, and those prepared for where
//! its machine is about to move. A program on a host says by `PUT /v2.0/cofferdam/ports/{id}/status` what became of a port that is bound
//! there; until then the port is `DOWN`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put as on_put};
use axum::{Json, Router};
use http::StatusCode;
use model::Object;
use model::net::operation::Agent;
use model::net::{Binding, BindingLevel, Network, NetworkType, OtherBinding, Plug, Port, PortStatus, Segment, VifType};
use serde_json::{Map, Value, json};
use store::Query;

use super::noun::{Body, Noun as _, Work, permitted};
use super::ports::{VNIC_TYPES, network, profile};
use super::{Ask, Extension, agents, extension, port_parts as parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{equals, parse, rooted, value};

pub(super) const EXTENSIONS: &[Extension] = &[extension(
    "binding-extended",
    "Port Bindings Extended",
    "Expose port bindings of a virtual port to external application",
    "2017-07-17T10:00:00-00:00",
)];

/// Who says what of ports: as a program on a host does.
pub(super) const HOST_RULE: &str = "update_port:binding:profile";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/ports/{id}/bindings", get(list).post(create))
        .route("/ports/{id}/bindings/{host}", get(show).put(update).delete(remove))
        .route("/ports/{id}/bindings/{host}/activate", on_put(activate))
        .route("/cofferdam/ports/{id}/status", on_put(report))
}

/// How programs of one type connect ports.
struct Mechanism {
    agent_type: &'static str,
    /// Its name in binding levels.
    driver: &'static str,
    /// Where an agent's configuration says which physical networks it reaches: an object with their names.
    mappings: &'static str,
    /// Whether it reaches tunnelled networks of the types in `tunnel_types`.
    tunnels: bool,
    /// For which network cards.
    vnics: &'static [&'static str],
    vif_type: fn(&str) -> VifType,
}

/// In the order they are tried. Source: `neutron/plugins/ml2/drivers`; the last is ours.
const MECHANISMS: [Mechanism; 5] = [
    Mechanism {
        agent_type: "Open vSwitch agent",
        driver: "openvswitch",
        mappings: "bridge_mappings",
        tunnels: true,
        vnics: &["normal", "direct", "smart-nic", "vdpa"],
        vif_type: |_| VifType::Ovs,
    },
    Mechanism {
        agent_type: "Linux bridge agent",
        driver: "linuxbridge",
        mappings: "interface_mappings",
        tunnels: true,
        vnics: &["normal"],
        vif_type: |_| VifType::Bridge,
    },
    Mechanism {
        agent_type: "NIC Switch agent",
        driver: "sriovnicswitch",
        mappings: "device_mappings",
        tunnels: false,
        vnics: &["direct", "macvtap", "direct-physical", "accelerator-direct", "accelerator-direct-physical"],
        vif_type: |vnic| if vnic.ends_with("direct-physical") { VifType::HostdevPhysical } else { VifType::HwVeb },
    },
    Mechanism {
        agent_type: "Macvtap agent",
        driver: "macvtap",
        mappings: "interface_mappings",
        tunnels: false,
        vnics: &["normal", "macvtap"],
        vif_type: |_| VifType::Macvtap,
    },
    Mechanism {
        agent_type: "Cofferdam host agent",
        driver: "cofferdam",
        mappings: "bridge_mappings",
        tunnels: true,
        vnics: &["normal", "direct"],
        vif_type: |_| VifType::Tap,
    },
];

impl Mechanism {
    /// Whether an agent with that configuration reaches the segment.
    fn reaches(&self, configurations: &Map<String, Value>, segment: &Segment) -> bool {
        match segment.network_type {
            NetworkType::Local => self.tunnels,
            NetworkType::Vxlan | NetworkType::Geneve => {
                let types = configurations.get("tunnel_types").and_then(Value::as_array);
                self.tunnels && types.is_some_and(|types| types.iter().any(|it| it == segment.network_type.as_str()))
            }
            NetworkType::Flat | NetworkType::Vlan => {
                let known = configurations.get(self.mappings).and_then(Value::as_object);
                segment.physical_network.as_ref().is_some_and(|name| known.is_some_and(|known| known.contains_key(name)))
            }
        }
    }

    /// What who connects the port has to know.
    fn details(&self, configurations: &Map<String, Value>, segment: &Segment) -> Map<String, Value> {
        let mut details = Map::new();
        let mut say = |key: &str, value: Value| drop(details.insert(key.to_owned(), value));
        say("port_filter", json!(self.driver != "sriovnicswitch" && self.driver != "macvtap"));
        say("connectivity", json!("l2"));
        say("bound_drivers", json!({"0": self.driver}));
        let of_segment = |key: &str| {
            let known = configurations.get(key).and_then(Value::as_object);
            segment.physical_network.as_ref().and_then(|name| known.and_then(|known| known.get(name))).cloned()
        };
        match self.driver {
            "openvswitch" => {
                say("ovs_hybrid_plug", configurations.get("ovs_hybrid_plug").cloned().unwrap_or(json!(false)));
                say("datapath_type", configurations.get("datapath_type").cloned().unwrap_or(json!("system")));
                say("bridge_name", configurations.get("integration_bridge").cloned().unwrap_or(json!("br-int")));
            }
            "sriovnicswitch" => say("vlan", json!(segment.vlan_id().map_or(0, model::net::VlanId::get).to_string())),
            "macvtap" => {
                say("physical_interface", of_segment(self.mappings).unwrap_or_default());
                say("macvtap_mode", json!("bridge"));
            }
            _ => {}
        }
        details
    }
}

/// What one of the host's agents, which are alive, makes of the binding.
fn plugged(agents: &[Object<Agent>], binding: &Binding, segments: &[Segment]) -> Plug {
    let fitting = MECHANISMS.iter().filter(|it| it.vnics.contains(&binding.vnic_type.as_str()));
    let ways = fitting.flat_map(|mechanism| {
        let own = agents.iter().filter(|it| it.desired.agent_type == mechanism.agent_type);
        own.flat_map(move |agent| segments.iter().map(move |segment| (mechanism, &agent.desired.configurations, segment)))
    });
    let mut ways = ways.filter(|(mechanism, configurations, segment)| mechanism.reaches(configurations, segment));
    match ways.next() {
        Some((mechanism, configurations, segment)) => Plug {
            vif_type: (mechanism.vif_type)(&binding.vnic_type),
            vif_details: mechanism.details(configurations, segment),
            levels: vec![BindingLevel { driver: mechanism.driver.to_owned(), segment_id: segment.id.clone() }],
            status: PortStatus::Down,
        },
        None => unplugged(VifType::BindingFailed),
    }
}

fn unplugged(vif_type: VifType) -> Plug {
    Plug { vif_type, vif_details: Map::new(), levels: Vec::new(), status: PortStatus::Down }
}

async fn plug(ask: &Ask, binding: &Binding, network: &Object<Network>) -> Result<Plug, Failure> {
    let mut agents = ask.app.store.list_few(&Query::<Agent>::new().column("host", [binding.host_id.clone()])).await?;
    agents.retain(agents::is_alive);
    Ok(plugged(&agents, binding, &network.desired.segments))
}

/// Binds a port as its binding is wanted now. What the switch fabric binds is left to the engine.
///
/// # Errors
/// The store failed; that nobody can bind it is none.
pub(super) async fn bind(work: &mut Work<'_>, port: &mut Object<Port>, network: &Object<Network>) -> Result<(), Failure> {
    let desired = &mut port.desired;
    desired.plug = None;
    if desired.binding.host_id.is_empty() {
        return Ok(());
    }
    desired.other_bindings.retain(|it| it.binding.host_id != desired.binding.host_id);
    if desired.binding.is_wired() {
        desired.was_wired = true;
        return Ok(());
    }
    desired.plug = Some(plug(work.ask, &desired.binding, network).await?);
    Ok(())
}

fn missing(port: &Object<Port>, host: &str) -> Failure {
    let text = format!("Binding for port {} for host {host} could not be found.", port.id);
    Failure::named(StatusCode::NOT_FOUND, "PortBindingNotFound", text)
}

fn failed(port: &Object<Port>, host: &str) -> Failure {
    let text = format!("Binding for port {} on host {host} could not be created or updated.", port.id);
    Failure::named(StatusCode::INTERNAL_SERVER_ERROR, "PortBindingError", text)
}

/// The port, if the rule lets the caller and its machine is one that moves.
async fn movable(ask: &Ask, id: &str, rule: &str) -> Result<Object<Port>, Failure> {
    let port = permitted::<Port>(ask, id, rule).await?;
    if ["compute:", "manila:"].iter().any(|it| port.desired.device_owner.starts_with(it)) {
        return Ok(port);
    }
    let text = format!("Bad port request: Invalid port {id}. Operation only valid on compute and shared filesystem ports.");
    Err(Failure::named(StatusCode::BAD_REQUEST, "BadRequest", text))
}

fn one_shown(port: &Object<Port>, binding: &Binding, vif_type: VifType, details: &Map<String, Value>, is_active: bool) -> Value {
    let mut profile = binding.profile.clone();
    if let (Some(trusted), true) = (port.desired.trusted, vif_type != VifType::Unbound) {
        profile.insert("trusted".to_owned(), json!(trusted));
    }
    json!({
        "host": binding.host_id, "vif_type": vif_type.as_str(), "vnic_type": binding.vnic_type,
        "status": if is_active { "ACTIVE" } else { "INACTIVE" }, "profile": profile, "vif_details": details,
    })
}

/// All bindings of a port, the one in force first.
fn shown(port: &Object<Port>) -> Vec<Value> {
    let nothing = Map::new();
    let details = port.desired.plug.as_ref().map_or(&nothing, |it| &it.vif_details);
    let mut all = vec![one_shown(port, &port.desired.binding, port.vif_type(), details, true)];
    all.extend(port.desired.other_bindings.iter().map(|it| one_shown(port, &it.binding, it.plug.vif_type, &it.plug.vif_details, false)));
    all
}

fn one_of_host(port: &Object<Port>, host: &str) -> Result<Value, Failure> {
    shown(port).into_iter().find(|it| it.get("host").and_then(Value::as_str) == Some(host)).ok_or_else(|| missing(port, host))
}

/// Only the fields that were asked for, if any were.
fn cut(mut it: Value, fields: &[String]) -> Value {
    if let (Some(map), false) = (it.as_object_mut(), fields.is_empty()) {
        map.retain(|key, _| fields.contains(key));
    }
    it
}

async fn list(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let port = movable(&ask, &id, "get_port_binding").await?;
    let filters: Vec<&(String, String)> =
        ask.parameters.0.iter().filter(|(key, _)| ["host", "vif_type", "vnic_type", "status"].contains(&key.as_str())).collect();
    let fits = |it: &Value| {
        filters.iter().all(|(key, _)| {
            let mut wanted = filters.iter().filter(|(name, _)| name == key);
            wanted.any(|(_, wanted)| it.get(key).is_some_and(|has| equals(has, wanted)))
        })
    };
    let fields = ask.parameters.fields();
    let found: Vec<Value> = shown(&port).into_iter().filter(fits).map(|it| cut(it, &fields)).collect();
    Ok(Json(json!({ "bindings": found })))
}

async fn show(ask: Ask, Path((id, host)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let port = movable(&ask, &id, "get_port_binding").await?;
    Ok(Json(json!({"binding": cut(one_of_host(&port, &host)?, &ask.parameters.fields())})))
}

/// Puts what a body says into a binding.
fn fill(binding: &mut Binding, body: &Body) -> Result<(), Failure> {
    let known = ["host", "vnic_type", "profile", "project_id", "tenant_id"];
    let unknown: Vec<&str> = body.keys().map(String::as_str).filter(|it| !known.contains(it)).collect();
    if !unknown.is_empty() {
        return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{}'", unknown.join(", "))));
    }
    let wrong = |name: &'static str| move |why: String| Failure::BadRequest(format!("Invalid input for {name}. Reason: {why}."));
    if let Some(it) = body.get("host") {
        binding.host_id = value::text(it, 255).map_err(wrong("host"))?;
    }
    if let Some(it) = body.get("vnic_type") {
        binding.vnic_type = parts::one_of(it, &VNIC_TYPES).map_err(wrong("vnic_type"))?;
    }
    if let Some(it) = body.get("profile") {
        binding.profile = profile(it).map_err(wrong("profile"))?;
    }
    Ok(())
}

/// What is to become of a port's binding to a host.
enum Change<'a> {
    Create(Binding),
    Fill(&'a Body),
    Remove,
    Activate,
}

/// Changes a port's binding to the host as often as it takes.
async fn change(ask: &Ask, id: &str, rule: &str, host: &str, change: Change<'_>) -> Result<Object<Port>, Failure> {
    for tries in 0.. {
        let before = movable(ask, id, rule).await?;
        let mut after = before.clone();
        let mut work = Work::new(ask, tries);
        match &change {
            Change::Create(binding) => add(&mut work, &mut after, binding).await?,
            Change::Fill(body) => refill(&mut work, &mut after, host, body).await?,
            Change::Remove => take(&mut work, &mut after, host).await?,
            Change::Activate => switch(&mut after, host)?,
        }
        work.want(&before, &after);
        if work.apply().await? {
            return Ok(after);
        }
    }
    Err(Port::form().missing(id))
}

/// Another binding as a program on the host makes it.
async fn prepared(work: &mut Work<'_>, port: &Object<Port>, binding: Binding) -> Result<OtherBinding, Failure> {
    let network = network(work, &port.desired.network_id, false).await?;
    let plug = if binding.is_wired() { unplugged(VifType::BindingFailed) } else { plug(work.ask, &binding, &network).await? };
    if plug.vif_type == VifType::BindingFailed {
        return Err(failed(port, &binding.host_id));
    }
    Ok(OtherBinding { binding, plug })
}

async fn add(work: &mut Work<'_>, port: &mut Object<Port>, binding: &Binding) -> Result<(), Failure> {
    if one_of_host(port, &binding.host_id).is_ok() {
        let text = format!("Binding for port {} on host {} already exists.", port.id, binding.host_id);
        return Err(Failure::named(StatusCode::CONFLICT, "PortBindingAlreadyExists", text));
    }
    let other = prepared(work, port, binding.clone()).await?;
    port.desired.other_bindings.push(other);
    Ok(())
}

async fn refill(work: &mut Work<'_>, port: &mut Object<Port>, host: &str, body: &Body) -> Result<(), Failure> {
    if port.desired.binding.host_id == host {
        fill(&mut port.desired.binding, body)?;
        let network = network(work, &port.desired.network_id, false).await?;
        bind(work, port, &network).await?;
        return if port.vif_type() == VifType::BindingFailed { Err(failed(port, host)) } else { Ok(()) };
    }
    let at = port.desired.other_bindings.iter().position(|it| it.binding.host_id == host).ok_or_else(|| missing(port, host))?;
    let mut binding = port.desired.other_bindings.remove(at).binding;
    fill(&mut binding, body)?;
    let other = prepared(work, port, binding).await?;
    port.desired.other_bindings.insert(at, other);
    Ok(())
}

async fn take(work: &mut Work<'_>, port: &mut Object<Port>, host: &str) -> Result<(), Failure> {
    one_of_host(port, host)?;
    if port.desired.binding.host_id == host {
        port.desired.binding = Binding { vnic_type: port.desired.binding.vnic_type.clone(), ..Binding::default() };
        let network = network(work, &port.desired.network_id, false).await?;
        bind(work, port, &network).await?;
    }
    port.desired.other_bindings.retain(|it| it.binding.host_id != host);
    Ok(())
}

/// Puts a prepared binding in force; the one that was is kept, but nobody carries it out any more.
fn switch(port: &mut Object<Port>, host: &str) -> Result<(), Failure> {
    if port.desired.binding.host_id == host {
        let text = format!("Binding for port {} on host {host} is already active.", port.id);
        return Err(Failure::named(StatusCode::CONFLICT, "PortBindingAlreadyActive", text));
    }
    let at = port.desired.other_bindings.iter().position(|it| it.binding.host_id == host).ok_or_else(|| missing(port, host))?;
    let next = port.desired.other_bindings.remove(at);
    let former = std::mem::replace(&mut port.desired.binding, next.binding);
    port.desired.plug = Some(Plug { status: PortStatus::Down, ..next.plug });
    if !former.host_id.is_empty() {
        port.desired.other_bindings.push(OtherBinding { binding: former, plug: unplugged(VifType::Unbound) });
    }
    Ok(())
}

async fn create(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let mut binding = Binding::default();
    fill(&mut binding, rooted(&body, "binding")?)?;
    if binding.host_id.is_empty() {
        return Err(Failure::BadRequest("Failed to parse request. Required attribute 'host' not specified".into()));
    }
    let host = binding.host_id.clone();
    let changed = change(&ask, &id, "create_port_binding", &host, Change::Create(binding)).await?;
    Ok((StatusCode::CREATED, Json(json!({"binding": one_of_host(&changed, &host)?}))).into_response())
}

async fn update(ask: Ask, Path((id, host)): Path<(String, String)>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let body = rooted(&body, "binding")?;
    if body.contains_key("host") && body.get("host").and_then(Value::as_str) != Some(host.as_str()) {
        return Err(Failure::BadRequest("Cannot update read-only attribute host".into()));
    }
    let changed = change(&ask, &id, "create_port_binding", &host, Change::Fill(body)).await?;
    Ok(Json(json!({"binding": one_of_host(&changed, &host)?})))
}

async fn remove(ask: Ask, Path((id, host)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    change(&ask, &id, "delete_port_binding", &host, Change::Remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn activate(ask: Ask, Path((id, host)): Path<(String, String)>, _: Bytes) -> Result<Json<Value>, Failure> {
    let changed = change(&ask, &id, "activate", &host, Change::Activate).await?;
    Ok(Json(one_of_host(&changed, &host)?))
}

/// What a program on a host says of a port that is bound there: `{"status": "ACTIVE", "host": "where it runs"}`.
async fn report(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let wrong = |why: String| Failure::BadRequest(format!("Invalid input for status. Reason: {why}."));
    let status = match parts::one_of(body.get("status").unwrap_or(&Value::Null), &["ACTIVE", "DOWN", "ERROR"]).map_err(wrong)?.as_str() {
        "ACTIVE" => PortStatus::Active,
        "ERROR" => PortStatus::Error,
        _ => PortStatus::Down,
    };
    for tries in 0.. {
        let before = permitted::<Port>(&ask, &id, HOST_RULE).await?;
        let mut after = before.clone();
        let host = &before.desired.binding.host_id;
        let is_there = body.get("host").is_none_or(|it| it.as_str() == Some(host.as_str()));
        match &mut after.desired.plug {
            Some(plug) if is_there && plug.vif_type != VifType::BindingFailed => plug.status = status,
            _ => {
                let text = format!("Port {id} is not bound by a program on that host.");
                return Err(Failure::named(StatusCode::CONFLICT, "PortNotBound", text));
            }
        }
        let mut work = Work::new(&ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    Ok(Json(json!({"status": status.as_str()})))
}

#[cfg(test)]
mod tests {
    use model::net::operation::AgentDesired;
    use model::{Id, Timestamp};

    use super::*;

    fn agent(agent_type: &str, configurations: Value) -> Object<Agent> {
        let desired = AgentDesired {
            agent_type: agent_type.into(),
            host: "h1".into(),
            binary: String::new(),
            topic: String::new(),
            availability_zone: String::new(),
            admin_state_up: true,
            description: String::new(),
            configurations: configurations.as_object().unwrap().clone(),
            started_at: Timestamp(0),
            heartbeat_at: Timestamp(1_000_000),
            resources_synced: None,
        };
        Object::new(AgentDesired::id_of(agent_type, "h1"), None, "", desired)
    }

    fn segment(network_type: NetworkType, physical_network: Option<&str>) -> Segment {
        Segment { id: Id::random(), network_type, physical_network: physical_network.map(str::to_owned), segmentation_id: Some(7) }
    }

    fn bound(agents: &[Object<Agent>], vnic: &str, segments: &[Segment]) -> (VifType, Option<String>) {
        let binding = Binding { host_id: "h1".into(), vnic_type: vnic.into(), ..Binding::default() };
        let plug = plugged(agents, &binding, segments);
        (plug.vif_type, plug.levels.first().map(|it| it.driver.clone()))
    }

    #[test]
    fn agents_bind_what_they_reach() {
        let ovs = agent("Open vSwitch agent", json!({"bridge_mappings": {"physnet1": "br-ex"}, "tunnel_types": ["vxlan"]}));
        let nic = agent("NIC Switch agent", json!({"device_mappings": {"physnet1": ["eth1"]}}));
        let both = [ovs.clone(), nic.clone()];
        let vlan = [segment(NetworkType::Vlan, Some("physnet1"))];
        let vxlan = [segment(NetworkType::Vxlan, None)];
        let ok = |vif: VifType, driver: &str| (vif, Some(driver.to_owned()));
        let failed = (VifType::BindingFailed, None);
        assert_eq!(bound(&both, "normal", &vlan), ok(VifType::Ovs, "openvswitch"));
        assert_eq!(bound(&both, "normal", &vxlan), ok(VifType::Ovs, "openvswitch"));
        assert_eq!(bound(&both, "normal", &[segment(NetworkType::Geneve, None)]), failed);
        assert_eq!(bound(&both, "normal", &[segment(NetworkType::Vlan, Some("physnet2"))]), failed);
        assert_eq!(bound(std::slice::from_ref(&nic), "direct", &vlan), ok(VifType::HwVeb, "sriovnicswitch"));
        assert_eq!(bound(std::slice::from_ref(&nic), "direct-physical", &vlan), ok(VifType::HostdevPhysical, "sriovnicswitch"));
        assert_eq!(bound(&[nic], "normal", &vlan), failed);
        assert_eq!(bound(&[], "normal", &vlan), failed);
        // Of several segments one that is reached will do, and the level says which.
        let two = [segment(NetworkType::Vlan, Some("physnet2")), segment(NetworkType::Vxlan, None)];
        let plug = plugged(&both, &Binding { host_id: "h1".into(), ..Binding::default() }, &two);
        assert_eq!(plug.levels[0].segment_id, two[1].id);
    }
}
