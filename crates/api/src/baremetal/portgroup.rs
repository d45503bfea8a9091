//! `/v1/portgroups`: cards of a node that act as one.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use model::baremetal::{BaremetalPort, Node, Portgroup, PortgroupDesired, shown_state};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::Query;

use super::access::is_logical_name;
use super::resource::{
    Change, Detail, Field, Form, Ident, Resource, Rules, Search, Shape, Whose, field, find, held_name, id_of, links, listing, mac, name_of,
    unlocked,
};
use super::versions::Minor;
use super::{Ask, access};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// Allocation pool of hardware addresses.
const MAC_POOL: &str = "portgroup-mac";
/// Allocation pool of names.
const NAME_POOL: &str = "portgroup-name";
/// How cards share the traffic if nothing is said (Source: Ironic, `default_portgroup_mode`).
const MODE: &str = "active-backup";

static FIELDS: &[Field<Portgroup>] = &[
    field::<Portgroup>("address", 23, |it, _| json!(it.desired.address))
        .set(Shape::Mac, |it, value| {
            it.desired.address = value.as_str().map(str::to_owned);
            Ok(())
        })
        .brief()
        .column("address"),
    field::<Portgroup>("extra", 23, |it, _| Value::Object(it.desired.extra.clone())).map(|it| &mut it.desired.extra),
    field::<Portgroup>("internal_info", 23, |it, _| Value::Object(it.desired.internal_info.clone())),
    field::<Portgroup>("mode", 26, |it, _| json!(it.desired.mode)).set(Shape::Text(255), |it, value| {
        value.as_str().unwrap_or_default().clone_into(&mut it.desired.mode);
        Ok(())
    }),
    field::<Portgroup>("name", 23, |it, _| name_of(it))
        .set(Shape::Text(255), |it, value| {
            value.as_str().unwrap_or_default().clone_into(&mut it.name);
            Ok(())
        })
        .brief(),
    field::<Portgroup>("properties", 26, |it, _| Value::Object(it.desired.properties.clone())).map(|it| &mut it.desired.properties),
    field::<Portgroup>("standalone_ports_supported", 23, |it, _| json!(it.desired.standalone_ports_supported))
        .flag(true, |it| &mut it.desired.standalone_ports_supported),
    field::<Portgroup>("node_uuid", 23, |it, _| json!(it.desired.node_id))
        .set(Shape::Uuid, |it, value| {
            it.desired.node_id = id_of(&value).ok_or("Schema error for portgroup: None is not of type 'string'")?;
            Ok(())
        })
        .required(),
    field::<Portgroup>("physical_network", 102, |it, _| json!(it.desired.physical_network))
        .text(64, |it| &mut it.desired.physical_network)
        .early(),
    field::<Portgroup>("category", 103, |it, _| json!(it.desired.category)).text(80, |it| &mut it.desired.category).early(),
    field::<Portgroup>("dynamic_portgroup", 111, |it, _| json!(it.desired.dynamic_portgroup)),
    field::<Portgroup>("ports", 23, |it, ask| links(ask, &format!("portgroups/{}/ports", it.id))),
];

static FORM: Form<Portgroup> = Form {
    one: "portgroup",
    title: "Portgroup",
    a: "A portgroup",
    many: "portgroups",
    path: "portgroups",
    link: None,
    since: (23, "The API is not supported for this version"),
    writes_405: false,
    patch_since: None,
    named: true,
    detail: Detail::Path,
    rules: Rules {
        get: "baremetal:portgroup:get",
        list: Some(("baremetal:portgroup:list_all", "baremetal:portgroup:list")),
        create: "baremetal:portgroup:create",
        update: "baremetal:portgroup:update",
        delete: "baremetal:portgroup:delete",
    },
    whose: Whose::Node(|it| &it.desired.node_id),
    fields: FIELDS,
    patchable: &[
        "address",
        "extra",
        "mode",
        "name",
        "node_uuid",
        "properties",
        "standalone_ports_supported",
        "physical_network",
        "category",
    ],
    unsortable: &["extra", "internal_info", "properties", "ports"],
    filters: &[("node", 23), ("address", 23), ("shard", 106), ("conductor_groups", 23)],
};

/// Its cards.
async fn members(ask: &Ask, group: &Object<Portgroup>) -> Result<Vec<Object<BaremetalPort>>, Failure> {
    Ok(ask.app.store.list(&Query::<BaremetalPort>::new().column("portgroup_id", [group.id.to_string()])).await?)
}

impl Resource for Portgroup {
    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank() -> PortgroupDesired {
        PortgroupDesired {
            node_id: Id::random(),
            address: None,
            mode: MODE.into(),
            properties: Map::new(),
            standalone_ports_supported: true,
            physical_network: None,
            category: None,
            dynamic_portgroup: false,
            internal_info: Map::new(),
            extra: Map::new(),
        }
    }

    async fn settle(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        let node = change.node()?.clone();
        let name = change.after.name.clone();
        if !name.is_empty() && !is_logical_name(&name) {
            return Err(Failure::BadRequest(match &change.before {
                None => format!("Cannot create portgroup with invalid name '{name}'"),
                Some(before) => format!("Portgroup {}: Cannot change name to invalid name '{name}'", before.id),
            }));
        }
        if change.after.desired.mode.is_empty() {
            if change.before.is_some() {
                return Err(Failure::BadRequest("'mode' is a mandatory attribute and can not be removed".into()));
            }
            change.after.desired.mode = MODE.into();
        }
        unlocked(change, &node)?;
        if let Some(before) = change.before.clone() {
            may_change(change, &before, &node).await?;
        }
        change.hold(MAC_POOL, |it| it.desired.address.clone());
        change.hold(NAME_POOL, held_name);
        Ok(())
    }

    async fn release(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        access::unlocked(change.node()?)?;
        if !members(change.ask, &change.after).await?.is_empty() {
            return Err(Failure::BadRequest(format!(
                "Cannot complete the requested action because portgroup {} contains ports.",
                change.after.id
            )));
        }
        let id = change.after.id.to_string();
        change.step(|batch| batch.unless_referenced::<BaremetalPort>("portgroup_id", &id));
        change.free(&[MAC_POOL, NAME_POOL]);
        Ok(())
    }

    async fn filter(ask: &Ask, mut search: Search<Self>, query: &HashMap<String, String>) -> Result<Search<Self>, Failure> {
        let text = |name: &str| query.get(name).filter(|it| !it.is_empty());
        let (node, address, shard, groups) = (text("node"), text("address"), text("shard"), text("conductor_groups"));
        if [node, address, shard, groups].into_iter().flatten().count() > 1 {
            return Err(Failure::BadRequest("Filtering by node, address, or shard simultaneously is not supported.".into()));
        }
        if let Some(node) = node {
            search = search.column("node_id", [access::node(ask, node).await?.id.to_string()]);
        }
        if let Some(address) = address {
            let address = mac(address).ok_or_else(|| Failure::BadRequest(format!("Expected valid MAC address for address: {address}")))?;
            search = search.column("address", [address]);
        }
        for (column, values) in [("shard", shard), ("conductor_group", groups)] {
            if let Some(values) = values {
                let nodes = Query::<Node>::new().column(column, values.split(',').map(str::to_owned));
                let nodes = ask.app.store.list(&nodes).await?;
                search = search.column("node_id", nodes.into_iter().map(|node| node.id.to_string()));
            }
        }
        Ok(search)
    }

    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        match (pool, &object.desired.address) {
            (MAC_POOL, Some(address)) => Some(format!("A portgroup with MAC address {address} already exists.")),
            (NAME_POOL, _) => Some(format!("A portgroup with name {} already exists.", object.name)),
            _ => None,
        }
    }
}

/// What of a group may be changed while its node is as it is; its cards follow its physical network.
async fn may_change(change: &mut Change<'_, Portgroup>, before: &Object<Portgroup>, node: &Object<Node>) -> Result<(), Failure> {
    let state = shown_state(node).0;
    if state == "inspecting" && change.ask.minor >= Minor(39) {
        return Err(Failure::Conflict(format!(
            "Cannot update portgroup \"{}\" on node \"{}\" while it is in state \"{state}\".",
            before.id, node.id
        )));
    }
    let free = node.desired.maintenance || ["enroll", "inspecting", "inspect wait", "manageable"].contains(&state);
    if before.desired.standalone_ports_supported
        && !change.after.desired.standalone_ports_supported
        && members(change.ask, before).await?.iter().any(|port| port.desired.pxe_enabled)
    {
        return Err(Failure::Conflict(format!(
            "standalone_ports_supported can not be set to False, because the port group {} contains port with 'pxe_enabled' is set to True",
            before.id
        )));
    }
    let moved = before.desired.node_id != change.after.desired.node_id;
    let (old, new) = (&before.desired.physical_network, change.after.desired.physical_network.clone());
    let other_network = change.names("physical_network") && *old != new;
    if !moved && !other_network {
        return Ok(());
    }
    if !free {
        return Err(Failure::Conflict(format!(
            "Portgroup {} can not be associated to node {} unless the node is in a enroll, inspecting, inspect wait, manageable state or \
             in maintenance mode. Current state is '{state}'.",
            before.id, node.id
        )));
    }
    let ports = members(change.ask, before).await?;
    if moved && !ports.is_empty() {
        return Err(Failure::BadRequest(format!(
            "Portgroup {} can not be associated with node {} because there are ports associated with this portgroup.",
            before.id, node.id
        )));
    }
    if other_network {
        for mut port in ports {
            port.desired.physical_network.clone_from(&new);
            change.step(|batch| batch.want(&port));
        }
    }
    Ok(())
}

/// `GET /v1/portgroups/{ident}/ports`.
async fn ports(ask: Ask, Path(path): Path<Ident>, Parameters(query): Parameters) -> Result<Response, Failure> {
    ports_of(&ask, &path.ident, query, false).await
}

/// `GET /v1/portgroups/{ident}/ports/detail`.
async fn ports_detail(ask: Ask, Path(path): Path<Ident>, Parameters(query): Parameters) -> Result<Response, Failure> {
    ports_of(&ask, &path.ident, query, true).await
}

async fn ports_of(ask: &Ask, ident: &str, mut query: HashMap<String, String>, detail: bool) -> Result<Response, Failure> {
    if ask.minor < Minor(24) {
        return Err(Failure::NoRoute);
    }
    let (group, _) = find::<Portgroup>(ask, ident).await?;
    query.insert("portgroup".into(), group.id.to_string());
    let path = format!("portgroups/{}/ports{}", group.id, if detail { "/detail" } else { "" });
    listing::<BaremetalPort>(ask, query, detail, &path).await
}

/// What groups have beside what all resources have.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/portgroups/{ident}/ports", get(ports)).route("/v1/portgroups/{ident}/ports/detail", get(ports_detail))
}
