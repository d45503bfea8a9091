//! `/v1/ports`: the network cards of nodes, and where their cables end.

use std::collections::HashMap;

use model::baremetal::{BaremetalPort, BaremetalPortDesired, Node, Portgroup, ProvisionState, shown_state};
use model::fabric::{Switch, find_switch};
use model::net::LocalLink;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::resource::{
    Body, Change, Detail, Field, Form, Resource, Rules, Search, Shape, Whose, field, held_name, id_of, input, mac, name_of, named_node,
    unlocked,
};
use super::versions::Minor;
use super::words::{repr, too_early};
use super::{Ask, access};
use crate::failure::Failure;

/// Allocation pool of hardware addresses; the holder is the port.
const MAC_POOL: &str = "baremetal-mac";
/// Allocation pool of switch ports, `<switch>/<port>`: a cable has one end at a machine.
const CABLE_POOL: &str = "cable";
/// Allocation pool of names.
const NAME_POOL: &str = "baremetal-port-name";

static FIELDS: &[Field<BaremetalPort>] = &[
    field::<BaremetalPort>("address", 1, |it, _| json!(it.desired.address))
        .set(Shape::Mac, |it, value| {
            let address = value.as_str().ok_or("Schema error for port: None is not of type 'string'")?;
            address.clone_into(&mut it.desired.address);
            Ok(())
        })
        .required()
        .brief()
        .column("address"),
    field::<BaremetalPort>("extra", 1, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<BaremetalPort>("internal_info", 18, |it, _| Value::Object(it.desired.internal_info.clone())),
    field::<BaremetalPort>("is_smartnic", 53, |it, _| json!(it.desired.is_smartnic)).flag(false, |it| &mut it.desired.is_smartnic),
    field::<BaremetalPort>("local_link_connection", 19, shown_link).raw(|it, _| Value::Object(link_of(it))).set(Shape::Map, set_link),
    field::<BaremetalPort>("physical_network", 34, |it, _| json!(it.desired.physical_network))
        .text(64, |it| &mut it.desired.physical_network),
    field::<BaremetalPort>("pxe_enabled", 19, |it, _| json!(it.desired.pxe_enabled)).flag(true, |it| &mut it.desired.pxe_enabled),
    field::<BaremetalPort>("node_uuid", 1, |it, _| json!(it.desired.node_id)).set(Shape::Uuid, |it, value| {
        it.desired.node_id = id_of(&value).ok_or("Schema error for port: None is not of type 'string'")?;
        Ok(())
    }),
    input::<BaremetalPort>("node_ident", 94, Shape::Must(255)),
    field::<BaremetalPort>("name", 88, |it, _| name_of(it)).early_patch().set(Shape::Text(255), |it, value| {
        value.as_str().unwrap_or_default().clone_into(&mut it.name);
        Ok(())
    }),
    field::<BaremetalPort>("description", 97, |it, _| json!(it.desired.description))
        .text(255, |it| &mut it.desired.description)
        .early_patch(),
    field::<BaremetalPort>("vendor", 100, |it, _| json!(it.desired.vendor)).text(32, |it| &mut it.desired.vendor).early_patch(),
    field::<BaremetalPort>("category", 101, |it, _| json!(it.desired.category)).text(80, |it| &mut it.desired.category).early_patch(),
    field::<BaremetalPort>("available_for_dynamic_portgroup", 111, |it, _| json!(it.desired.available_for_dynamic_portgroup))
        .flag(true, |it| &mut it.desired.available_for_dynamic_portgroup)
        .early_patch(),
    field::<BaremetalPort>("portgroup_uuid", 24, |it, _| json!(it.desired.portgroup_id)).set(Shape::Uuid, |it, value| {
        it.desired.portgroup_id = id_of(&value);
        Ok(())
    }),
];

static FORM: Form<BaremetalPort> = Form {
    one: "port",
    title: "Port",
    a: "A port",
    many: "ports",
    path: "ports",
    link: None,
    since: (1, ""),
    writes_405: false,
    patch_since: None,
    named: true,
    detail: Detail::Path,
    rules: Rules {
        get: "baremetal:port:get",
        list: Some(("baremetal:port:list_all", "baremetal:port:list")),
        create: "baremetal:port:create",
        update: "baremetal:port:update",
        delete: "baremetal:port:delete",
    },
    whose: Whose::Node(|it| &it.desired.node_id),
    fields: FIELDS,
    patchable: &[
        "address",
        "extra",
        "is_smartnic",
        "local_link_connection",
        "node_ident",
        "node_uuid",
        "physical_network",
        "portgroup_uuid",
        "pxe_enabled",
        "name",
        "description",
        "vendor",
        "category",
        "available_for_dynamic_portgroup",
    ],
    unsortable: &["extra", "internal_info", "local_link_connection"],
    filters: &[
        ("node", 1),
        ("node_uuid", 1),
        ("address", 1),
        ("portgroup", 24),
        ("shard", 82),
        ("description_contains", 1),
        ("conductor_groups", 1),
    ],
};

/// What a cable's end may be told by.
const LINK_KEYS: [&str; 7] =
    ["port_id", "switch_id", "hostname", "switch_info", "network_type", "vtep-logical-switch", "vtep-physical-switch"];

/// Where the cable ends, in the words of the user.
fn link_of(port: &Object<BaremetalPort>) -> Map<String, Value> {
    match (&port.desired.local_link_connection, port.desired.local_link.is_empty()) {
        (Some(link), true) => {
            let mut out = Map::from_iter([("port_id".to_owned(), json!(link.port_id))]);
            if !link.switch_id.is_empty() {
                out.insert("switch_id".into(), json!(link.switch_id));
            }
            if let Some(info) = &link.switch_info {
                out.insert("switch_info".into(), json!(info));
            }
            out
        }
        _ => port.desired.local_link.clone(),
    }
}

fn has_vtep(link: &Map<String, Value>) -> bool {
    link.keys().any(|key| key.starts_with("vtep-"))
}

fn shown_link(port: &Object<BaremetalPort>, ask: &Ask) -> Value {
    let link = link_of(port);
    // 1.90 brought VTEPs and 1.105 took them away.
    let knows_vtep = ask.minor >= Minor(90) && ask.minor < Minor(105);
    Value::Object(if has_vtep(&link) && !knows_vtep { Map::new() } else { link })
}

fn set_link(port: &mut Object<BaremetalPort>, value: Value) -> Result<(), String> {
    let (map, link) = read_link(value)?;
    port.desired.local_link = map;
    port.desired.local_link_connection = link;
    Ok(())
}

/// Where a cable ends, in the words of the user, and as the fabric takes it; `{}` is nowhere.
fn read_link(value: Value) -> Result<(Map<String, Value>, Option<LocalLink>), String> {
    let Value::Object(mut map) = value else { return Ok((Map::new(), None)) };
    if map.is_empty() {
        return Ok((map, None));
    }
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    let has = |key: &str| map.contains_key(key);
    let plain = map.iter().all(|(key, value)| {
        LINK_KEYS.contains(&key.as_str()) && value.as_str().is_some_and(|it| it.len() <= 255 && !it.contains(char::is_control))
    });
    let typed = text("network_type").is_none_or(|it| it == "managed" || it == "unmanaged");
    let vtep = has("vtep-logical-switch") && has("vtep-physical-switch");
    let pairs = vtep || !has_vtep(&map);
    // A switch can be told by its name too, which Ironic does not take without its id.
    let switch = has("switch_id") || has("switch_info");
    let whole = (has("port_id") && (switch || has("hostname") || vtep)) || text("network_type") == Some("unmanaged");
    if !(plain && typed && pairs && whole) || text("port_id") == Some("") {
        return Err(format!(
            "Schema error for local_link_connection: {} is not valid under any of the given schemas",
            repr(&Value::Object(map))
        ));
    }
    if let Some(id) = text("switch_id") {
        let id = switch_mac(id).ok_or_else(|| format!("Expected a MAC address or OpenFlow datapath ID but received {id}."))?;
        map.insert("switch_id".into(), json!(id));
    }
    let of = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let end = of("port_id").filter(|_| map.contains_key("switch_id") || map.contains_key("switch_info"));
    let link = end.map(|port_id| LocalLink { switch_id: of("switch_id").unwrap_or_default(), switch_info: of("switch_info"), port_id });
    Ok((map, link))
}

/// A switch's MAC address (6 bytes) or datapath id (8 bytes) in lower case, a MAC address with colons.
fn switch_mac(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| ![':', '-', '.'].contains(c)).collect::<String>().to_ascii_lowercase();
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        12 => {
            let pairs: Vec<String> = digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
            Some(pairs.join(":"))
        }
        16 => Some(digits),
        _ => None,
    }
}

/// The cable end as it is held: by the switch's name if we know the switch, so that two spellings of one end are one.
async fn cable(ask: &Ask, port: &Object<BaremetalPort>) -> Result<Option<String>, Failure> {
    let Some(link) = &port.desired.local_link_connection else { return Ok(None) };
    let switches = ask.app.store.list(&Query::<Switch>::new()).await?;
    let by_info = link.switch_info.clone().unwrap_or_default();
    let unknown = || if link.switch_id.is_empty() { by_info.clone() } else { link.switch_id.clone() };
    let switch = find_switch(&switches, link).map_or_else(unknown, |switch| switch.id.to_string());
    Ok(Some(format!("{switch}/{}", link.port_id)))
}

/// Removes a port and what it holds.
pub(super) fn released(batch: Batch<Wishes>, port: &Object<BaremetalPort>) -> Batch<Wishes> {
    let id = port.id.as_str();
    batch.free_held(MAC_POOL, id).free_held(CABLE_POOL, id).free_held(NAME_POOL, id).remove(port)
}

/// Ports of these nodes.
async fn of_nodes(ask: &Ask, search: Search<BaremetalPort>, nodes: Query<Node>) -> Result<Search<BaremetalPort>, Failure> {
    let nodes = ask.app.store.list(&nodes).await?;
    Ok(search.column("node_id", nodes.into_iter().map(|node| node.id.to_string())))
}

impl Resource for BaremetalPort {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> BaremetalPortDesired {
        BaremetalPortDesired {
            node_id: Id::random(),
            address: String::new(),
            pxe_enabled: true,
            local_link_connection: None,
            physical_network: None,
            portgroup_id: None,
            is_smartnic: false,
            description: None,
            vendor: None,
            category: None,
            internal_info: Map::new(),
            extra: Map::new(),
            local_link: Map::new(),
            available_for_dynamic_portgroup: true,
        }
    }

    async fn prepare(ask: &Ask, body: &mut Body) -> Result<(), Failure> {
        let both = (body.contains_key("node_uuid"), body.remove("node_ident"));
        match both {
            (false, Some(_)) if ask.minor < Minor(94) => Err(too_early()),
            (false, Some(ident)) => {
                let ident = ident.as_str().unwrap_or_default().to_owned();
                let node = named_node(ask, &ident).await;
                if node.is_err() {
                    access::require_any(ask, FORM.rules.create)?;
                }
                body.insert("node_uuid".into(), json!(node?.id));
                Ok(())
            }
            (true, None) => Ok(()),
            (has, _) => {
                let why = if has {
                    "is valid under each of {'required': ['node_uuid']}, {'required': ['node_ident']}"
                } else {
                    "is not valid under any of the given schemas"
                };
                Err(Failure::BadRequest(format!("Schema error for port: {} {why}", repr(&Value::Object(body.clone())))))
            }
        }
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let ask = change.ask;
        versions_of_link(change)?;
        let node = change.node()?.clone();
        unlocked(change, &node)?;
        if change.after.desired.physical_network.as_deref() == Some("") {
            return Err(Failure::BadRequest("A non-empty value is required when setting physical_network".into()));
        }
        let link = link_of(&change.after);
        if change.after.desired.is_smartnic && !(link.contains_key("port_id") && link.contains_key("hostname")) {
            return Err(Failure::BadRequest("Smart NIC port must have port_id and hostname in local_link_connection".into()));
        }
        match change.before.clone() {
            Some(before) => {
                may_change(change, &before, &node)?;
                may_leave(change, &before).await?;
            }
            None if in_use(&node) && change.after.desired.local_link_connection.is_some() => {
                return Err(Failure::Conflict(format!("A port with a cable cannot be added: node {} is in use.", node.id)));
            }
            None => {}
        }
        join_group(change, &node).await?;
        change.hold(MAC_POOL, |it| Some(it.desired.address.clone()));
        change.hold(NAME_POOL, held_name);
        let old = change.before.as_ref().and_then(|it| it.desired.local_link_connection.clone());
        if old != change.after.desired.local_link_connection {
            let (id, cable) = (change.after.id.to_string(), cable(ask, &change.after).await?);
            change.step(|batch| match &cable {
                Some(cable) => batch.free_held(CABLE_POOL, &id).hold(CABLE_POOL, cable, &id),
                None => batch.free_held(CABLE_POOL, &id),
            });
        }
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let node = change.node()?;
        access::unlocked(node)?;
        let own = change.after.desired.internal_info.get("tenant_vif_port_id").and_then(Value::as_str).map(str::to_owned);
        let vif = own.or_else(|| node.desired.vifs.first().map(ToString::to_string));
        if let Some(vif) = vif.filter(|_| !node.desired.maintenance) {
            return Err(Failure::Conflict(format!("Cannot delete the port {} as it is bound to VIF {vif} for use.", change.after.id)));
        }
        change.free(&[MAC_POOL, CABLE_POOL, NAME_POOL]);
        Ok(())
    }

    async fn filter(ask: &Ask, mut search: Search<Self>, query: &HashMap<String, String>) -> Result<Search<Self>, Failure> {
        let text = |name: &str| query.get(name).filter(|it| !it.is_empty());
        let node = text("node_uuid").or_else(|| text("node"));
        let (portgroup, shard) = (text("portgroup"), text("shard"));
        if [node, portgroup, shard].into_iter().flatten().count() > 1 {
            return Err(Failure::Forbidden("Operation not permitted.".into()));
        }
        let address = text("address");
        let groups = text("conductor_groups");
        if groups.is_some() && (node.is_some() || portgroup.is_some() || address.is_some()) {
            let why = "Filtering by conductor_groups cannot be combined with node_ident, portgroup_ident, or node address filters.";
            return Err(Failure::BadRequest(why.into()));
        }
        if let Some(node) = node {
            search = search.column("node_id", [access::node(ask, node).await?.id.to_string()]);
        }
        if let Some(group) = portgroup {
            let (group, _) = super::resource::find::<Portgroup>(ask, group).await?;
            search = search.column("portgroup_id", [group.id.to_string()]);
        }
        if let Some(shard) = shard {
            search = of_nodes(ask, search, Query::new().column("shard", shard.split(',').map(str::to_owned))).await?;
        }
        if let Some(groups) = groups {
            search = of_nodes(ask, search, Query::new().column("conductor_group", groups.split(',').map(str::to_owned))).await?;
        }
        if let Some(address) = address {
            let address = mac(address).ok_or_else(|| Failure::BadRequest(format!("Expected valid MAC address for address: {address}")))?;
            search = search.column("address", [address]);
        }
        if let Some(text) = text("description_contains").cloned() {
            search = search.keep(move |port| port.desired.description.as_ref().is_some_and(|it| it.contains(&text)));
        }
        Ok(search)
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        match pool {
            MAC_POOL => Some(format!("A port with MAC address {} already exists.", object.desired.address)),
            NAME_POOL => Some(format!("A port with name {} already exists.", object.name)),
            CABLE_POOL => Some("The cable already ends at another port: a switch port has one machine.".into()),
            _ => None,
        }
    }
}

/// Whether somebody's image runs on the machine or somebody's ports are attached to it.
fn in_use(node: &Object<Node>) -> bool {
    node.observed.state == ProvisionState::Active || node.desired.instance_uuid.is_some() || !node.desired.vifs.is_empty()
}

/// Refuses kinds of cable ends that the version does not know.
fn versions_of_link(change: &Change<'_, BaremetalPort>) -> Result<(), Failure> {
    if !change.names("local_link_connection") {
        return Ok(());
    }
    let link = &change.after.desired.local_link;
    let minor = change.ask.minor;
    if (link.contains_key("network_type") && minor < Minor(64)) || (has_vtep(link) && (minor < Minor(90) || minor >= Minor(105))) {
        return Err(too_early());
    }
    Ok(())
}

/// What of a card may be changed while its node is as it is.
fn may_change(change: &Change<'_, BaremetalPort>, before: &Object<BaremetalPort>, node: &Object<Node>) -> Result<(), Failure> {
    let (old, new) = (&before.desired, &change.after.desired);
    let state = shown_state(node).0;
    if state == "inspecting" && change.ask.minor >= Minor(39) {
        return Err(Failure::Conflict(format!(
            "Cannot update port \"{}\" on \"{}\" while it is in state \"{state}\".",
            before.id, node.id
        )));
    }
    let maintenance = node.desired.maintenance;
    if change.ask.minor >= Minor(102) && old.physical_network != new.physical_network && new.portgroup_id.is_some() {
        return Err(Failure::BadRequest("physical_network cannot be changed while the port belongs to a portgroup.".into()));
    }
    let taken = node.observed.state == ProvisionState::Active || node.desired.instance_uuid.is_some();
    if old.address != new.address && taken && !maintenance {
        return Err(Failure::Conflict(format!(
            "Cannot update hardware address for port {} as node {} is active or has instance UUID assigned",
            before.id, node.id
        )));
    }
    let moved_link = link_of(before) != link_of(&change.after);
    let moved = moved_link
        || old.portgroup_id != new.portgroup_id
        || old.pxe_enabled != new.pxe_enabled
        || old.physical_network != new.physical_network;
    let free = ["enroll", "inspecting", "inspect wait", "manageable"].contains(&state);
    if moved && !free && !maintenance {
        return Err(Failure::Conflict(format!(
            "Port {} can not have any connectivity attributes (portgroup_id, pxe_enabled, local_link_connection, physical_network) updated \
             unless node {} is in a enroll, inspecting, inspect wait, manageable state or in maintenance mode. The current state is {state}.",
            before.id, node.id
        )));
    }
    // The tenant's network is proven on the cable it was plugged into: maintenance does not move it.
    if moved_link && !node.desired.vifs.is_empty() {
        return Err(Failure::Conflict(format!("The cable of port {} cannot be moved: node {} has VIFs attached.", before.id, node.id)));
    }
    Ok(())
}

/// A card leaves a node only if that node is at rest and has nobody's ports.
async fn may_leave(change: &Change<'_, BaremetalPort>, before: &Object<BaremetalPort>) -> Result<(), Failure> {
    let left = &before.desired.node_id;
    if *left == change.after.desired.node_id {
        return Ok(());
    }
    let Some(node) = change.ask.app.store.get::<Node>(left).await? else { return Ok(()) };
    access::unlocked(&node)?;
    if in_use(&node) {
        return Err(Failure::Conflict(format!("Port {} cannot be moved: node {left} is in use.", before.id)));
    }
    Ok(())
}

/// What a group asks of a card that is or becomes part of it.
async fn join_group(change: &mut Change<'_, BaremetalPort>, node: &Object<Node>) -> Result<(), Failure> {
    let new = &change.after.desired;
    let Some(id) = new.portgroup_id.clone() else { return Ok(()) };
    let joins = change.before.as_ref().is_none_or(|it| it.desired.portgroup_id.as_ref() != Some(&id));
    let moves = change.before.as_ref().is_some_and(|it| it.desired.node_id != new.node_id);
    let watched = joins || moves || change.names("pxe_enabled") || change.names("physical_network");
    if !watched {
        return Ok(());
    }
    let store = &change.ask.app.store;
    let Some(mut group) = store.get::<Portgroup>(&id).await? else {
        return Err(Failure::BadRequest(format!("Portgroup {id} could not be found.")));
    };
    if group.desired.node_id != node.id {
        return Err(Failure::BadRequest("Port can not be added to a portgroup belonging to a different node.".into()));
    }
    let given = change.before.is_some() || change.names("pxe_enabled");
    if new.pxe_enabled && given && !group.desired.standalone_ports_supported {
        return Err(Failure::Conflict(format!(
            "Port group {id} doesn't support standalone ports. This port cannot be created as a member of that portgroup as the port's \
             'pxe_enabled' field was set to True."
        )));
    }
    let mut others = store.list(&Query::<BaremetalPort>::new().column("portgroup_id", [id.to_string()])).await?;
    others.retain(|port| port.id != change.after.id);
    let plugs = joins || change.names("physical_network");
    if let Some(other) = others.first().filter(|other| plugs && other.desired.physical_network != new.physical_network) {
        let named = |it: &Option<String>| it.clone().unwrap_or_else(|| "None".into());
        return Err(Failure::Conflict(format!(
            "Port with physical network {} cannot become a member of port group {id} which has ports in physical network {}.",
            named(&new.physical_network),
            named(&other.desired.physical_network)
        )));
    }
    if joins && others.is_empty() && group.desired.physical_network.is_none() && new.physical_network.is_some() {
        group.desired.physical_network.clone_from(&new.physical_network);
        change.step(|batch| batch.want(&group));
    } else {
        change.step(|batch| batch.require(&id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cable_ends() {
        let read = |value: Value| read_link(value);
        let (shown, end) = read(json!({"switch_id": "02-CF-00-00-00-01", "port_id": "p1"})).unwrap();
        let end = end.unwrap();
        assert_eq!((end.switch_id.as_str(), end.port_id.as_str()), ("02:cf:00:00:00:01", "p1"));
        assert_eq!(shown["switch_id"], "02:cf:00:00:00:01");
        assert_eq!(read(json!({})).unwrap(), (Map::new(), None));
        assert_eq!(read(Value::Null).unwrap(), (Map::new(), None));
        assert!(read(json!({"switch_info": "leaf1", "port_id": "p1"})).unwrap().1.is_some());
        assert!(read(json!({"switch_id": "0000aabbccddeeff", "port_id": "p1"})).unwrap().1.is_some());
        // These the fabric does not know: smart NICs do the switch's part, unmanaged ports are nobody's.
        for other in [
            json!({"port_id": "rep0-0", "hostname": "nic1"}),
            json!({"network_type": "unmanaged"}),
            json!({"port_id": "p1", "vtep-logical-switch": "a", "vtep-physical-switch": "b"}),
        ] {
            let (shown, end) = read(other.clone()).unwrap();
            assert_eq!((Value::Object(shown), end), (other, None));
        }
        for bad in [
            json!({"port_id": "p1"}),
            json!({"switch_id": "02:cf:00:00:00:01"}),
            json!({"switch_id": "leaf1", "port_id": "p1"}),
            json!({"switch_id": "02:cf:00:00:00:01", "port_id": ""}),
            json!({"switch_id": "02:cf:00:00:00:01", "port_id": 7}),
            json!({"switch_id": "02:cf:00:00:00:01", "port_id": "p1", "other": "x"}),
            json!({"port_id": "p1", "vtep-logical-switch": "a"}),
            json!({"network_type": "managed"}),
            json!({"network_type": "none", "port_id": "p1", "hostname": "h"}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
