//! `/v2.0/trunks`: ports that carry the networks of others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, put as on_put};
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::trunk::{SubPort, TRUNK_PORTS, Trunk, TrunkDesired, TrunkStatus, trunk_holder};
use model::net::{Network, Port};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Work, field, find, named, permitted, tagged_routes, value_of};
use super::{Ask, Extension, bindings, extension, port_parts as parts, ports};
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::resource::{parse, put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("trunk", "Trunk Extension", "Provides support for trunk ports", "2016-01-01T10:00:00-00:00"),
    extension("trunk-details", "Trunk port details", "Expose trunk port details", "2016-01-01T10:00:00-00:00"),
];

/// The owner of ports that a trunk carries.
const OWNER: &str = "trunk:subport";
/// The one way in which packets of subports are told apart.
const VLAN: &str = "vlan";
/// As the subport's own network does it.
const INHERIT: &str = "inherit";
/// Most subports in one request.
const MOST: usize = 1000;

pub(super) fn routes() -> Router<Arc<App>> {
    tagged_routes::<Trunk>()
        .route("/trunks/{id}/add_subports", on_put(add))
        .route("/trunks/{id}/remove_subports", on_put(take))
        .route("/trunks/{id}/get_subports", get(sub_ports))
        .route("/cofferdam/trunks/{id}/status", on_put(report))
}

fn sub_shown(it: &SubPort) -> Value {
    json!({"port_id": it.port_id, "segmentation_type": it.segmentation_type, "segmentation_id": it.segmentation_id})
}

fn subs_shown(trunk: &Object<Trunk>) -> Value {
    trunk.desired.sub_ports.iter().map(sub_shown).collect()
}

static FORM: LazyLock<Form<Trunk>> = LazyLock::new(|| {
    Form::new("trunk", "trunks", "trunks", "TrunkNotFound", "Trunk").standard().fields(vec![
        field("admin_state_up", |it: &Object<Trunk>, _: &()| json!(it.desired.admin_state_up))
            .set(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v)))
            .sort(),
        field("port_id", |it: &Object<Trunk>, _| json!(it.desired.port_id))
            .set_once(|it, v| put(&mut it.desired.port_id, parts::uuid(v)))
            .required()
            .sort()
            .column("port_id"),
        field("status", |it: &Object<Trunk>, _| json!(it.desired.status.as_str())).sort(),
        // Taken with the ports at hand.
        field("sub_ports", |it: &Object<Trunk>, _| subs_shown(it)).set_once(|_, v| wanted(v).map(drop)),
    ])
});

fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

fn input(why: impl std::fmt::Display) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "InvalidInput", format!("Invalid input for operation: {why}."))
}

/// A subport as a body has it.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    port_id: Id<Port>,
    segmentation_type: Option<String>,
    segmentation_id: Option<Value>,
    /// As it was given.
    given: String,
}

/// Reads the subports of a body. Source of the texts: `neutron_lib/api/validators`.
fn wanted(value: &Value) -> Result<Vec<Wanted>, String> {
    let list = value.as_array().ok_or_else(|| format!("Invalid data format for subports: '{}' is not a list", parts::spelled(value)))?;
    if list.len() > MOST {
        return Err(format!("there are more than {MOST} subports"));
    }
    let (mut ports, mut tags) = (HashSet::new(), HashSet::new());
    let mut wanted = Vec::with_capacity(list.len());
    for it in list {
        let map = it.as_object().ok_or_else(|| format!("Invalid data format for subport: '{}' is not a dict", parts::spelled(it)))?;
        let id = map.get("port_id").ok_or("A valid port UUID must be specified")?;
        let port_id: Id<Port> = parts::uuid(id).map_err(|_| format!("Invalid UUID for subport: '{}'", parts::spelled(id)))?;
        if !ports.insert(port_id.clone()) {
            return Err(format!("Non unique UUID for subport: '{port_id}'"));
        }
        let kind = map.get("segmentation_type").filter(|it| !it.is_null()).map(parts::spelled);
        let tag = map.get("segmentation_id").filter(|it| !it.is_null()).cloned();
        if kind.as_deref() != Some(INHERIT) {
            if (kind.as_deref().is_none_or(str::is_empty) || tag.is_none()) && map.len() > 1 {
                return Err(format!(
                    "Invalid subport details '{it}': missing segmentation information. Must specify both segmentation_id and segmentation_type"
                ));
            }
            if let Some(tag) = &tag
                && !tags.insert((kind.clone(), parts::spelled(tag)))
            {
                return Err(format!("Segmentation ID '{}' for '{port_id}' is not unique", parts::spelled(tag)));
            }
        }
        wanted.push(Wanted { port_id, segmentation_type: kind, segmentation_id: tag, given: it.to_string() });
    }
    Ok(wanted)
}

fn parent_in_use(port: &Id<Port>) -> Failure {
    conflict("ParentPortInUse", format!("Port {port} is currently in use and is not eligible for use as a parent port."))
}

/// A port that a trunk has is to be removed.
pub(super) fn in_use(port: &Id<Port>, holder: &str) -> Failure {
    match holder.split_once(':') {
        Some(("parent", trunk)) => conflict("PortInUseAsTrunkParent", format!("Port {port} is currently a parent port for trunk {trunk}.")),
        Some((_, trunk)) => conflict("PortInUseAsSubPort", format!("Port {port} is currently a subport for trunk {trunk}.")),
        None => conflict("PortInUseAsSubPort", format!("Port {port} is currently a subport for trunk {holder}.")),
    }
}

/// A port is in no trunk yet.
async fn in_none(ask: &Ask, port: &Id<Port>) -> Result<(), Failure> {
    match ask.app.store.allocation(TRUNK_PORTS, port.as_str()).await? {
        None => Ok(()),
        Some(held) if held.holder.starts_with("parent:") => Err(parent_in_use(port)),
        Some(_) => Err(conflict("TrunkPortInUse", format!("Port {port} is in use by another trunk."))),
    }
}

fn is_enabled(trunk: &Object<Trunk>) -> Result<(), Failure> {
    if trunk.desired.admin_state_up {
        return Ok(());
    }
    Err(conflict("TrunkDisabled", format!("Trunk {} is currently disabled.", trunk.id)))
}

async fn networks_of(work: &mut Work<'_>, ports: &[&Object<Port>]) -> Result<HashMap<Id<Network>, Arc<Object<Network>>>, Failure> {
    let mut networks = HashMap::new();
    for port in ports {
        let id = &port.desired.network_id;
        networks.insert(id.clone(), ports::network(work, id, false).await?);
    }
    Ok(networks)
}

/// Adds subports to a trunk, whose parent is that port: the ports become the trunk's. Their tags are checked against those it has.
async fn add_to(work: &mut Work<'_>, trunk: &mut Object<Trunk>, parent: &Object<Port>, wanted: &[Wanted]) -> Result<(), Failure> {
    let ask = work.ask;
    let mut subs = Vec::with_capacity(wanted.len());
    for it in wanted {
        if it.port_id == parent.id {
            return Err(parent_in_use(&it.port_id));
        }
        subs.push(named::<Port>(ask, &it.port_id).await?);
    }
    let all: Vec<&Object<Port>> = subs.iter().chain([parent]).collect();
    let networks = networks_of(work, &all).await?;
    let mtu = |port: &Object<Port>| networks.get(&port.desired.network_id).map_or(0, |it| it.desired.mtu);
    for (it, port) in wanted.iter().zip(&subs) {
        if mtu(port) > mtu(parent) {
            let text =
                format!("MTU {} of subport {} cannot be greater than MTU {} of trunk {}.", mtu(port), port.id, mtu(parent), parent.id);
            return Err(conflict("SubPortMtuGreaterThanTrunkPortMtu", text));
        }
        let sub = tagged(it, networks.get(&port.desired.network_id).map(Arc::as_ref))?;
        in_none(ask, &port.id).await?;
        if !port.desired.device_id.is_empty() {
            let text = format!(
                "Unable to complete operation on port {} for network {}. Port already has an attached device {}.",
                port.id, port.desired.network_id, port.desired.device_id
            );
            return Err(conflict("PortInUse", text));
        }
        let clashes = |has: &&SubPort| has.segmentation_type == sub.segmentation_type && has.segmentation_id == sub.segmentation_id;
        if trunk.desired.sub_ports.iter().any(|has| clashes(&has)) {
            let text = format!(
                "segmentation_type {} and segmentation_id {} already in use on trunk {}.",
                sub.segmentation_type, sub.segmentation_id, trunk.id
            );
            return Err(conflict("DuplicateSubPort", text));
        }
        trunk.desired.sub_ports.push(sub);
        work.step(|batch| batch.hold(TRUNK_PORTS, port.id.as_str(), &trunk_holder(&trunk.id, false)));
        let mut after = port.clone();
        after.desired.device_owner = OWNER.into();
        if let Some(network) = networks.get(&port.desired.network_id) {
            follow(work, &mut after, parent, network).await?;
        }
        work.want(port, &after);
    }
    Ok(())
}

/// A subport is where its trunk's parent is.
async fn follow(work: &mut Work<'_>, port: &mut Object<Port>, parent: &Object<Port>, network: &Object<Network>) -> Result<(), Failure> {
    let host = &parent.desired.binding.host_id;
    // What the switch fabric binds is bound by its cable.
    if port.desired.binding.host_id == *host || parent.desired.binding.is_wired() {
        return Ok(());
    }
    port.desired.binding.host_id.clone_from(host);
    bindings::bind(work, port, network).await
}

/// How the packets of a subport are told apart, as asked for.
fn tagged(it: &Wanted, network: Option<&Object<Network>>) -> Result<SubPort, Failure> {
    let (kind, tag) = match it.segmentation_type.as_deref() {
        Some(INHERIT) => {
            let segment = network.and_then(|it| it.desired.segments.first());
            let kind = segment.map_or("", |it| it.network_type.as_str()).to_owned();
            (kind, segment.and_then(|it| it.segmentation_id).map(|it| json!(it)).unwrap_or_default())
        }
        Some(kind) => (kind.to_owned(), it.segmentation_id.clone().unwrap_or_default()),
        None => (String::new(), Value::Null),
    };
    if kind.is_empty() || (tag.is_null() && kind == VLAN) {
        return Err(input(format!(
            "Invalid subport details '{}': missing segmentation information. Must specify both segmentation_id and segmentation_type",
            it.given
        )));
    }
    let number = tag.as_u64().or_else(|| tag.as_str().and_then(|it| it.parse().ok()));
    if kind != VLAN {
        return Err(input(format!("Unknown segmentation_type '{kind}'")));
    }
    let Some(number) = number else {
        return Err(input(format!("Invalid subport details: segmentation_id '{}' is not an integer", parts::spelled(&tag))));
    };
    match u32::try_from(number).ok().filter(|it| (1..=4094).contains(it)) {
        Some(segmentation_id) => Ok(SubPort { port_id: it.port_id.clone(), segmentation_type: kind, segmentation_id }),
        None => Err(input(format!("Segmentation ID '{number}' is not in range"))),
    }
}

/// Whether what the port carries is settled with its binding: on a host it is, a switch port is set anew at any time. As in
/// networking-generic-switch, which tells Neutron `can_trunk_bound_port`.
fn is_fixed(parent: &Object<Port>) -> bool {
    let binding = &parent.desired.binding;
    !binding.host_id.is_empty() && !binding.is_wired()
}

/// What the switch ports of a trunk's port are to carry changes with the trunk.
fn look_again(work: &mut Work<'_>, parent: &Object<Port>) {
    if parent.desired.binding.is_wired() {
        work.step(|batch| batch.wake(&parent.id));
    }
}

/// Subports are nobody's any more.
async fn let_go(work: &mut Work<'_>, trunk: &Object<Trunk>, gone: &[SubPort]) -> Result<(), Failure> {
    for sub in gone {
        let id = &sub.port_id;
        work.step(|batch| batch.free(TRUNK_PORTS, id.as_str()));
        let Some(before) = work.ask.app.store.get(id).await?.filter(|it: &Object<Port>| !it.is_deleting()) else { continue };
        let mut after = before.clone();
        if after.desired.device_owner == OWNER {
            after.desired.device_owner.clear();
        }
        // Bound only because the parent was.
        if after.desired.plug.is_some() {
            after.desired.binding.host_id.clear();
            after.desired.plug = None;
        }
        work.want(&before, &after);
    }
    tracing::debug!(trunk.id = %trunk.id, subports = gone.len(), "subports let go");
    Ok(())
}

impl Noun for Trunk {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<TrunkDesired, Failure> {
        Ok(TrunkDesired {
            description: String::new(),
            tags: Vec::new(),
            admin_state_up: true,
            // Its port is always said.
            port_id: Id::random(),
            sub_ports: Vec::new(),
            status: TrunkStatus::Down,
        })
    }

    async fn create(work: &mut Work<'_>, trunk: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let parent = named::<Port>(work.ask, &trunk.desired.port_id).await?;
        in_none(work.ask, &parent.id).await?;
        if is_fixed(&parent) {
            return Err(parent_in_use(&parent.id));
        }
        look_again(work, &parent);
        work.step(|batch| batch.require(&parent.id).hold(TRUNK_PORTS, parent.id.as_str(), &trunk_holder(&trunk.id, true)));
        let subs = body.get("sub_ports").map(wanted).transpose().map_err(input)?.unwrap_or_default();
        add_to(work, trunk, &parent, &subs).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if before.desired.admin_state_up != after.desired.admin_state_up
            && let Some(parent) = work.ask.app.store.get::<Port>(&before.desired.port_id).await?
        {
            look_again(work, &parent);
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, trunk: &Object<Self>) -> Result<(), Failure> {
        is_enabled(trunk)?;
        let parent: Option<Object<Port>> = work.ask.app.store.get(&trunk.desired.port_id).await?;
        if parent.as_ref().is_some_and(is_fixed) {
            return Err(conflict("TrunkInUse", format!("Trunk {} is currently in use.", trunk.id)));
        }
        parent.iter().for_each(|it| look_again(work, it));
        let_go(work, trunk, &trunk.desired.sub_ports).await?;
        work.step(|batch| batch.free(TRUNK_PORTS, trunk.desired.port_id.as_str()).remove(trunk));
        Ok(())
    }
}

/// The subports of an action's body.
fn named_in(body: &Value) -> Result<Vec<Wanted>, Failure> {
    let list = body.get("sub_ports").ok_or_else(|| Failure::BadRequest("Unable to find 'sub_ports' in request body".into()))?;
    wanted(list).map_err(input)
}

async fn add(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    find::<Trunk>(&ask, &id).await?;
    let subs = named_in(&parse(&body)?)?;
    for tries in 0.. {
        let before = permitted::<Trunk>(&ask, &id, "add_subports").await?;
        let missing = || Port::form().missing(before.desired.port_id.as_str());
        let parent = ask.app.store.get(&before.desired.port_id).await?.ok_or_else(missing)?;
        let mut after = before.clone();
        let mut work = Work::new(&ask, tries);
        add_to(&mut work, &mut after, &parent, &subs).await?;
        is_enabled(&before)?;
        if before.desired.status == TrunkStatus::Error {
            let text = format!("Trunk {id} is in error state. Attempt to resolve the error condition before proceeding.");
            return Err(conflict("TrunkInErrorState", text));
        }
        after.desired.status = TrunkStatus::Down;
        work.step(|batch| batch.require(&parent.id));
        look_again(&mut work, &parent);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    bare(&ask, &id).await
}

async fn take(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    find::<Trunk>(&ask, &id).await?;
    let subs = named_in(&parse(&body)?)?;
    for tries in 0.. {
        let before = permitted::<Trunk>(&ask, &id, "remove_subports").await?;
        is_enabled(&before)?;
        let mut after = before.clone();
        let mut gone = Vec::new();
        for it in &subs {
            match after.desired.sub_ports.iter().position(|has| has.port_id == it.port_id) {
                Some(at) => gone.push(after.desired.sub_ports.remove(at)),
                None => {
                    let text = format!("SubPort {} on trunk {id} could not be found.", it.port_id);
                    return Err(Failure::named(StatusCode::NOT_FOUND, "SubPortNotFound", text));
                }
            }
        }
        after.desired.status = TrunkStatus::Down;
        let mut work = Work::new(&ask, tries);
        let_go(&mut work, &before, &gone).await?;
        if let Some(parent) = ask.app.store.get::<Port>(&before.desired.port_id).await? {
            look_again(&mut work, &parent);
        }
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    bare(&ask, &id).await
}

/// Actions answer with the trunk itself, without a root.
async fn bare(ask: &Ask, id: &str) -> Result<Json<Value>, Failure> {
    let (trunk, around) = find::<Trunk>(ask, id).await?;
    Ok(Json(value_of(ask, &trunk, &around)))
}

async fn sub_ports(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let (trunk, around) = find::<Trunk>(&ask, &id).await?;
    enforce(&ask.app, &ask.caller, "get_subports", &Trunk::target(&trunk, &around))?;
    Ok(Json(json!({"sub_ports": subs_shown(&trunk)})))
}

/// What a program on a host says of a trunk there: `{"status": "ACTIVE"}`.
async fn report(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = parse(&body)?;
    let names = TrunkStatus::ALL.map(TrunkStatus::as_str);
    let name = parts::one_of(body.get("status").unwrap_or(&Value::Null), &names)
        .map_err(|why| Failure::BadRequest(format!("Invalid input for status. Reason: {why}.")))?;
    for tries in 0.. {
        let (before, _) = find::<Trunk>(&ask, &id).await?;
        enforce(&ask.app, &ask.caller, bindings::HOST_RULE, &Trunk::target(&before, &()))?;
        let mut after = before.clone();
        after.desired.status = TrunkStatus::ALL.into_iter().find(|it| it.as_str() == name).unwrap_or_default();
        let mut work = Work::new(&ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    Ok(Json(json!({ "status": name })))
}

/// A port was bound elsewhere: so are the ports that its trunk carries, if it has one.
///
/// # Errors
/// The store failed.
pub(super) async fn moved(work: &mut Work<'_>, before: &Object<Port>, after: &Object<Port>) -> Result<(), Failure> {
    if before.desired.binding.host_id == after.desired.binding.host_id {
        return Ok(());
    }
    let query = Query::<Trunk>::new().column("port_id", [before.id.to_string()]);
    for trunk in work.ask.app.store.list_few(&query).await? {
        for sub in &trunk.desired.sub_ports {
            let Some(port) = work.ask.app.store.get(&sub.port_id).await?.filter(|it: &Object<Port>| !it.is_deleting()) else { continue };
            let network = ports::network(work, &port.desired.network_id, false).await?;
            let mut moved = port.clone();
            follow(work, &mut moved, after, &network).await?;
            work.want(&port, &moved);
        }
        if after.desired.binding.host_id.is_empty() && trunk.desired.status != TrunkStatus::Down {
            let mut down = trunk.clone();
            down.desired.status = TrunkStatus::Down;
            work.want(&trunk, &down);
        }
    }
    Ok(())
}

/// By parent, of these ports: what its trunk is, as `trunk_details` of a port has it.
///
/// # Errors
/// The store failed.
pub(super) async fn details(ask: &Ask, ports: &[Object<Port>]) -> Result<HashMap<Id<Port>, Value>, Failure> {
    let store = &ask.app.store;
    let of = |ports: &[Object<Port>]| Query::<Trunk>::new().column("port_id", ports.iter().map(|it| it.id.to_string()));
    let trunks = match ports {
        [] => Vec::new(),
        [_] => store.list_few(&of(ports)).await?,
        // Mostly there is none at all.
        _ if store.list_few(&Query::<Trunk>::new().limit(1)).await?.is_empty() => Vec::new(),
        _ => store.list(&of(ports)).await?,
    };
    let subs: Vec<String> = trunks.iter().flat_map(|it| &it.desired.sub_ports).map(|it| it.port_id.to_string()).collect();
    let found = if subs.is_empty() { Vec::new() } else { store.list(&Query::<Port>::new().ids(subs)).await? };
    let macs: BTreeMap<&str, &str> = found.iter().map(|it| (it.id.as_str(), it.desired.mac_address.as_str())).collect();
    let shown = |it: &SubPort| {
        let mut shown = sub_shown(it);
        if let (Some(map), Some(mac)) = (shown.as_object_mut(), macs.get(it.port_id.as_str())) {
            map.insert("mac_address".to_owned(), json!(mac));
        }
        shown
    };
    let detail = |it: &Object<Trunk>| {
        let subs: Vec<Value> = it.desired.sub_ports.iter().map(shown).collect();
        (it.desired.port_id.clone(), json!({"trunk_id": it.id, "sub_ports": subs}))
    };
    Ok(trunks.iter().map(detail).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subports_as_bodies_have_them() {
        let (a, b) = (Id::<Port>::random(), Id::<Port>::random());
        let good =
            json!([{"port_id": a, "segmentation_type": "vlan", "segmentation_id": 5}, {"port_id": b, "segmentation_type": "inherit"}]);
        assert_eq!(wanted(&good).unwrap().len(), 2);
        for wrong in [
            json!("x"),
            json!(["x"]),
            json!([{}]),
            json!([{"port_id": 5}]),
            json!([{"port_id": a}, {"port_id": a}]),
            json!([{"port_id": a, "segmentation_type": "vlan"}]),
            json!([{"port_id": a, "segmentation_id": 5}]),
            json!([
                {"port_id": a, "segmentation_type": "vlan", "segmentation_id": 5},
                {"port_id": b, "segmentation_type": "vlan", "segmentation_id": 5},
            ]),
        ] {
            assert!(wanted(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_are_vlans() {
        let one = |kind: &str, tag: Value| {
            let it =
                Wanted { port_id: Id::random(), segmentation_type: Some(kind.into()), segmentation_id: Some(tag), given: String::new() };
            tagged(&it, None).map(|it| it.segmentation_id)
        };
        assert_eq!(one("vlan", json!(4094)).unwrap(), 4094);
        assert_eq!(one("vlan", json!("7")).unwrap(), 7);
        for (kind, tag) in [("vlan", json!(0)), ("vlan", json!(4095)), ("vlan", json!("x")), ("vlan", json!(-1)), ("gre", json!(5))] {
            assert_eq!(one(kind, tag.clone()).unwrap_err().status(), StatusCode::BAD_REQUEST, "{kind} {tag}");
        }
    }
}
