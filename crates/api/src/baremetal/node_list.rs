//! Lists of nodes: filters, order, pages. What the store has columns for it filters, sorts and cuts by itself; the rest is looked at
//! page by page, so that a list never holds more than a page, unless it is sorted by something the store cannot sort by.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use axum::response::Response;
use model::baremetal::{Chassis, Node, NodeFault, ProvisionState};
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Query, Seen, Term};

use super::access::{self, parse_id};
use super::node_fields::{self, Shown, Wanted};
use super::versions::Minor;
use super::words::{boolean, needs, repr, too_early};
use super::{Ask, node};
use crate::failure::Failure;
use crate::page::{self, Parameters};

/// Most items of one answer.
const MAX_LIMIT: u32 = 1000;

type Params = HashMap<String, String>;
type Filter = Box<dyn Fn(&Object<Node>) -> bool + Send + Sync>;

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    let detail = flag(&query, "detail")?;
    if let Some(detail) = detail {
        if ask.minor < Minor(43) {
            let shown = if detail { "True" } else { "False" };
            return Err(Failure::BadRequest(format!("Invalid query parameter ?detail={shown} received.")));
        }
        if detail && query.contains_key("fields") {
            return Err(Failure::BadRequest("Can not specify ?detail=True and fields in the same request.".into()));
        }
    }
    let usual = if detail == Some(true) { Wanted::All } else { Wanted::Brief };
    listing(&ask, &query, usual, "nodes", None).await
}

pub(super) async fn list_detail(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    if let Some(other) = ["fields", "detail"].iter().find(|it| query.contains_key(**it)) {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    listing(&ask, &query, Wanted::All, "nodes/detail", None).await
}

/// The nodes in a chassis, as `/v1/chassis/{id}/nodes` shows them.
///
/// # Errors
/// As the list of all nodes.
pub(super) async fn of_chassis(ask: &Ask, query: &Params, chassis: &Id<Chassis>, detail: bool) -> Result<Response, Failure> {
    let usual = if detail || flag(query, "detail")? == Some(true) { Wanted::All } else { Wanted::Brief };
    let path = if detail { format!("chassis/{chassis}/nodes/detail") } else { format!("chassis/{chassis}/nodes") };
    listing(ask, query, usual, &path, Some(chassis)).await
}

/// The fields a request asks for.
pub(super) fn wanted(ask: &Ask, query: &Params, usual: Wanted) -> Result<Wanted, Failure> {
    let Some(names) = query.get("fields") else { return Ok(usual) };
    if ask.minor < Minor(8) {
        return Err(too_early());
    }
    let names: Vec<String> = names.split(',').map(|it| it.trim().to_ascii_lowercase()).filter(|it| !it.is_empty()).collect();
    for name in &names {
        match node_fields::since_of(name) {
            None => return Err(Failure::BadRequest(format!("Field {name} is not a valid field."))),
            Some(since) if since > ask.minor => return Err(too_early()),
            Some(_) => {}
        }
    }
    Ok(Wanted::These(names))
}

fn flag(query: &Params, key: &str) -> Result<Option<bool>, Failure> {
    query.get(key).map(|text| boolean(key, &json!(text))).transpose()
}

fn limit(query: &Params) -> Result<u32, Failure> {
    let Some(text) = query.get("limit") else { return Ok(MAX_LIMIT) };
    match text.trim().parse::<i64>() {
        Ok(limit) if limit <= 0 => Err(Failure::BadRequest("Limit must be positive".into())),
        Ok(limit) => Ok(u32::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)),
        Err(_) => Err(Failure::BadRequest(format!("Expected an integer for limit: {text}"))),
    }
}

/// What a list is to be sorted by.
enum Key {
    /// The store sorts by this.
    Store(&'static str),
    /// The shown value of this field.
    Shown(&'static node_fields::Field),
}

fn sort_key(ask: &Ask, query: &Params) -> Result<Key, Failure> {
    let name = query.get("sort_key").map_or("id", String::as_str);
    // Ironic's own numbers follow the order in which nodes were made.
    if name == "id" {
        return Ok(Key::Store("created_at"));
    }
    // What is not of the node's own row it is not sorted by.
    let own = Some(name).filter(|it| !["conductor", "chassis_uuid", "allocation_uuid"].contains(it));
    let field = own
        .and_then(node_fields::any)
        .ok_or_else(|| Failure::BadRequest(format!("The sort_key value \"{name}\" is an invalid field for sorting")))?;
    if field.since > ask.minor {
        return Err(too_early());
    }
    if !field.sorts {
        return Err(Failure::BadRequest(format!("The sort_key value {name} is an invalid field for sorting")));
    }
    Ok(match field.name {
        "uuid" => Key::Store("id"),
        "name" => Key::Store("name"),
        "created_at" => Key::Store("created_at"),
        "updated_at" => Key::Store("updated_at"),
        "provision_state" => Key::Store("provision_state"),
        "resource_class" => Key::Store("resource_class"),
        "instance_uuid" => Key::Store("instance_uuid"),
        "driver" => Key::Store("driver"),
        "owner" => Key::Store("owner"),
        "lessee" => Key::Store("lessee"),
        "conductor_group" => Key::Store("conductor_group"),
        "shard" => Key::Store("shard"),
        "parent_node" => Key::Store("parent_node"),
        _ => Key::Shown(field),
    })
}

async fn listing(ask: &Ask, query: &Params, usual: Wanted, path: &str, chassis: Option<&Id<Chassis>>) -> Result<Response, Failure> {
    let wanted = wanted(ask, query, usual)?;
    let key = sort_key(ask, query)?;
    let descending = page::descending(query)?;
    let limit = limit(query)?;
    let marker = marker(ask, query).await?;
    let mut sought = filtered(ask, query).await?;
    if let Some(chassis) = chassis {
        sought.find = sought.find.column("chassis_id", [chassis.to_string()]);
    }
    sought.find = scoped(ask, query, sought.find)?;
    let nodes = match key {
        Key::Store(column) => {
            sought.find = sought.find.sort(column, descending);
            paged(ask, &sought, marker, limit).await?
        }
        Key::Shown(field) => {
            sought.find = sought.find.sort("created_at", false);
            let mut nodes = paged(ask, &sought, None, u32::MAX).await?;
            sort(ask, &mut nodes, field, descending);
            let from = marker.and_then(|marker| nodes.iter().position(|node| node.id == marker)).map_or(0, |at| at + 1);
            nodes.into_iter().skip(from).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
        }
    };
    // As Ironic does: a full page has a next one, though it may be empty.
    let full = u32::try_from(nodes.len()).is_ok_and(|it| it == limit) && !query.contains_key("instance_uuid");
    let next = nodes.last().filter(|_| full).map(|last| next(ask, path, query, &wanted, limit, &last.id));
    // Whatever the brief form shows, who sees the node may see.
    let everything = wanted == Wanted::Brief || access::may_any(ask, "baremetal:node:get:filter_threshold");
    let items: Vec<Arc<[u8]>> = if everything {
        let view = view(ask, &wanted);
        nodes.iter().map(|it| it.view(&view, |node| rendered(ask, node, &wanted))).collect()
    } else {
        nodes.iter().map(|it| node::shown_to(ask, it, &wanted, false).into()).collect()
    };
    Ok(page::spliced("nodes", &items, next))
}

/// The name of what [`rendered`] makes of nodes: all that its outcome depends on but the node.
fn view(ask: &Ask, wanted: &Wanted) -> Arc<str> {
    // One by one, so that whatever is added to a request is considered here. Rendered is only what does not depend on who asks, and nothing
    // of the store is asked while it is.
    let Ask { app: _, caller: _, minor, base, conductors } = ask;
    let fields = match wanted {
        Wanted::Brief => "brief".to_owned(),
        Wanted::All => "all".to_owned(),
        Wanted::These(names) => format!("={}", names.join(",")),
    };
    format!("{} {fields} {base} {}", minor.0, conductors.digest()).into()
}

/// A node as JSON for somebody who may see all that is wanted of it.
fn rendered(ask: &Ask, node: &Object<Node>, wanted: &Wanted) -> Vec<u8> {
    match wanted {
        Wanted::Brief => node_fields::brief(node, ask.minor, &ask.base),
        wanted => node::shown_to(ask, node, wanted, true),
    }
}

/// The address of the next page. Ironic forgets some of the filters here; then the pages that follow are of another list.
fn next(ask: &Ask, path: &str, query: &Params, wanted: &Wanted, limit: u32, last: &Id<Node>) -> String {
    let text = |key: &str, usual: &str| query.get(key).cloned().unwrap_or_else(|| usual.to_owned());
    let mut pairs: Vec<(&str, String)> = vec![("sort_key", text("sort_key", "id")), ("sort_dir", text("sort_dir", "asc"))];
    let mut rest: Vec<(&str, String)> = query
        .iter()
        .filter(|(key, _)| !["sort_key", "sort_dir", "limit", "marker", "fields"].contains(&key.as_str()))
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    rest.sort_unstable();
    pairs.append(&mut rest);
    if let Wanted::These(names) = wanted {
        pairs.push(("fields", names.join(",")));
    }
    pairs.push(("limit", limit.to_string()));
    pairs.push(("marker", last.to_string()));
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    // Commas are plain in a query, and clients compare.
    format!("{}/v1/{path}?{}", ask.base, text.replace("%2C", ","))
}

async fn marker(ask: &Ask, query: &Params) -> Result<Option<Id<Node>>, Failure> {
    let Some(text) = query.get("marker") else { return Ok(None) };
    let id: Id<Node> = parse_id(text).ok_or_else(|| Failure::BadRequest(format!("Expected UUID for marker: {text}")))?;
    match ask.app.store.count(&Query::<Node>::new().id(&id)).await? {
        0 => Err(Failure::not_found("Node", text)),
        _ => Ok(Some(id)),
    }
}

/// Only what the caller may see: all, or the nodes that its project owns or leases.
fn scoped(ask: &Ask, query: &Params, find: Query<Node>) -> Result<Query<Node>, Failure> {
    let project = query.get("project").map(String::as_str);
    let of = |find: Query<Node>, id: &str| {
        find.any_of(vec![Term::column("owner", vec![id.to_owned()]), Term::column("lessee", vec![id.to_owned()])])
    };
    if access::lists_all(ask, "baremetal:node:list_all", "baremetal:node:list")? {
        return Ok(match project {
            Some(id) => of(find, id),
            None => find,
        });
    }
    let denied = || Failure::Forbidden("Access was denied to the following resource: baremetal:node:list_all".into());
    let own = ask.caller.project_id.as_ref().ok_or_else(denied)?.to_string();
    if project.is_some_and(|id| id != own) {
        return Err(denied());
    }
    Ok(of(find, &own))
}

/// Up to `limit` nodes that pass the filters, in the store's order, from after the marker.
async fn paged(ask: &Ask, sought: &Sought, marker: Option<Id<Node>>, limit: u32) -> Result<Vec<Arc<Seen<Node>>>, Failure> {
    let page = if sought.filters.is_empty() { limit.min(MAX_LIMIT) } else { MAX_LIMIT };
    let (page_len, limit) = (usize::try_from(page).unwrap_or(usize::MAX), usize::try_from(limit).unwrap_or(usize::MAX));
    let mut marker = marker;
    let mut out = Vec::new();
    loop {
        let mut query = sought.find.clone().limit(page);
        if let Some(marker) = &marker {
            query = query.after(marker);
        }
        let nodes = ask.app.store.list_seen(&query).await?;
        let is_last = nodes.len() < page_len;
        marker = nodes.last().map(|node| node.id.clone());
        for node in nodes {
            if sought.fits(&node) {
                out.push(node);
                if out.len() == limit {
                    return Ok(out);
                }
            }
        }
        if is_last {
            return Ok(out);
        }
    }
}

fn sort(ask: &Ask, nodes: &mut Vec<Arc<Seen<Node>>>, field: &node_fields::Field, descending: bool) {
    let key = |node: &Object<Node>| {
        (field.show)(&Shown { node, may: &|rule| access::may(ask, rule, node), minor: ask.minor, conductors: &ask.conductors })
    };
    let mut keyed: Vec<(Value, Arc<Seen<Node>>)> = std::mem::take(nodes).into_iter().map(|node| (key(&node), node)).collect();
    keyed.sort_by(|a, b| compare(&a.0, &b.0).then_with(|| a.1.created_at.cmp(&b.1.created_at)).then_with(|| a.1.id.cmp(&b.1.id)));
    if descending {
        keyed.reverse();
    }
    *nodes = keyed.into_iter().map(|it| it.1).collect();
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => (!a.is_null()).cmp(&!b.is_null()),
    }
}

/// The filters and the version that brought each, with whether its complaint names that version
/// (Source: `ironic/api/controllers/v1/utils.py`, `check_allow_filter_by_*`).
const FILTERS: &[(&str, u16, bool)] = &[
    ("provision_state", 9, false),
    ("driver", 16, true),
    ("resource_class", 21, true),
    ("fault", 42, true),
    ("conductor_group", 46, true),
    ("conductor", 49, true),
    ("owner", 50, true),
    ("lessee", 65, true),
    ("shard", 82, true),
    ("sharded", 82, true),
    ("include_children", 83, true),
    ("parent_node", 83, true),
    ("instance_name", 104, true),
];

const FAULTS: &[NodeFault] = &[NodeFault::PowerFailure, NodeFault::CleanFailure, NodeFault::RescueAbortFailure, NodeFault::ServiceFailure];

fn is_state(text: &str) -> bool {
    ProvisionState::ALL.iter().any(|state| state.as_str() == text || state.waiting_str() == text)
}

/// What is looked for.
struct Sought {
    /// What the store is asked.
    find: Query<Node>,
    /// What it cannot be asked.
    filters: Vec<Filter>,
    /// Also nodes that are part of others. There are few of them, so that they are left out here: to the store this would seem to be
    /// the narrowest of all conditions, and it would sort all nodes for each page.
    children: bool,
}

impl Sought {
    fn fits(&self, node: &Object<Node>) -> bool {
        (self.children || node.desired.parent_node.is_none()) && self.filters.iter().all(|filter| filter(node))
    }
}

/// The filters of a request.
async fn filtered(ask: &Ask, query: &Params) -> Result<Sought, Failure> {
    for (name, since, says) in FILTERS {
        if query.contains_key(*name) && ask.minor < Minor(*since) {
            return Err(match *name {
                "instance_name" => Failure::NotAcceptable("instance_name is not acceptable in this API version".into()),
                _ if *says => needs(*since),
                _ => too_early(),
            });
        }
    }
    let mut find = Query::<Node>::new();
    let mut filters: Vec<Filter> = Vec::new();
    let mut children = flag(query, "include_children")?.unwrap_or(false);
    for (key, value) in query {
        let text = value.clone();
        match key.as_str() {
            "fields" | "detail" | "limit" | "marker" | "sort_key" | "sort_dir" | "project" | "include_children" => {}
            "provision_state" if !is_state(value) => {
                return Err(Failure::BadRequest(format!("Provision state \"{value}\" is not valid")));
            }
            "provision_state" | "driver" | "resource_class" | "owner" | "lessee" => find = find.column(key, [text]),
            "conductor_group" => find = find.column(key, [text.to_ascii_lowercase()]),
            "shard" => find = find.column(key, value.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())),
            "sharded" => match boolean(key, &json!(value))? {
                true => filters.push(Box::new(|node| node.desired.shard.is_some())),
                false => find = find.unset("shard"),
            },
            "associated" => match boolean(key, &json!(value))? {
                true => filters.push(Box::new(|node| node.desired.instance_uuid.is_some())),
                false => find = find.unset("instance_uuid"),
            },
            "instance_uuid" => {
                let id = access::valid_uuid(value).ok_or_else(|| Failure::BadRequest(format!("Expected UUID for {key}: {value}")))?;
                find = find.column(key, [id]);
            }
            "chassis_uuid" => {
                let id: Id<Chassis> = parse_id(value).ok_or_else(|| Failure::BadRequest(format!("Expected UUID for {key}: {value}")))?;
                if ask.app.store.get(&id).await?.is_none() {
                    return Err(Failure::not_found("Chassis", value));
                }
                find = find.column("chassis_id", [id.to_string()]);
            }
            "parent_node" => {
                children = true;
                // Of a node that the caller does not see there are none.
                find = match access::node(ask, value).await {
                    Ok(parent) => find.column(key, [parent.id.to_string()]),
                    Err(Failure::NotFound { .. } | Failure::BadRequest(_)) => find.ids([]),
                    Err(other) => return Err(other),
                };
            }
            "maintenance" => {
                let on = boolean(key, &json!(value))?;
                filters.push(Box::new(move |node| node.desired.maintenance == on));
            }
            "retired" => {
                let on = boolean(key, &json!(value))?;
                filters.push(Box::new(move |node| node.desired.retired.on == on));
            }
            "fault" => {
                if !FAULTS.iter().any(|fault| fault.as_str() == value) {
                    let known: Vec<Value> = FAULTS.iter().map(|fault| json!(fault.as_str())).collect();
                    let known = known.iter().map(repr).collect::<Vec<_>>().join(", ");
                    return Err(Failure::BadRequest(format!("Unrecognized fault \"{value}\" is specified, allowed faults are ({known})")));
                }
                filters.push(Box::new(move |node| node.observed.fault.is_some_and(|fault| fault.as_str() == text)));
            }
            "conductor" => {
                let conductors = Arc::clone(&ask.conductors);
                filters.push(Box::new(move |node| conductors.of_node(node) == Some(text.as_str())));
            }
            "description_contains" => {
                let text = text.to_lowercase();
                filters.push(Box::new(move |node| node.desired.description.as_ref().is_some_and(|it| it.to_lowercase().contains(&text))));
            }
            "instance_name" => filters.push(Box::new(move |node| node.desired.instance_name.as_ref() == Some(&text))),
            _ => return Err(Failure::BadRequest(format!("Unexpected arguments: {key}"))),
        }
    }
    Ok(Sought { find, filters, children })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let of = |text: &str| limit(&HashMap::from([("limit".to_owned(), text.to_owned())]));
        assert_eq!(of("7").ok(), Some(7));
        assert_eq!(of("99999999999").ok(), Some(MAX_LIMIT));
        assert!(of("0").unwrap_err().message().contains("positive"));
        assert!(of("-1").is_err());
        assert!(of("x").unwrap_err().message().contains("integer"));
        assert_eq!(limit(&HashMap::new()).ok(), Some(MAX_LIMIT));
    }

    #[test]
    fn states_one_can_ask_for() {
        for state in ["available", "wait call-back", "clean wait", "service hold"] {
            assert!(is_state(state), "{state}");
        }
        assert!(!is_state("flying"));
    }
}
