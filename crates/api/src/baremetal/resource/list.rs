//! Lists.

use std::collections::HashMap;

use axum::extract::Path;
use axum::response::Response;
use http::Method;
use model::Object;
use model::baremetal::Node;
use serde_json::{Value, json};
use store::{Query, Term};

use super::act::{COMMON, Wanted, gate, shown, sortable};
use super::form::Form;
use super::{Detail, Resource, Whose, time};
use crate::baremetal::access::{self, may_any, require_any};
use crate::baremetal::words::{boolean, needs, too_early};
use crate::baremetal::{Ask, Minor};
use crate::failure::Failure;
use crate::page::{self, Parameters};
use crate::resource::order;

/// Most items of one answer.
const MAX_LIMIT: usize = 1000;

/// What is looked at once the store has answered.
type Keep<K> = Box<dyn Fn(&Object<K>) -> bool + Send + Sync>;

/// What a list looks for.
pub(in crate::baremetal) struct Search<K: Resource> {
    /// What the store is asked.
    pub(in crate::baremetal) query: Query<K>,
    /// What is looked at afterwards.
    pub(in crate::baremetal) keep: Vec<Keep<K>>,
}

impl<K: Resource> Search<K> {
    /// Only what the column says.
    pub(in crate::baremetal) fn column(mut self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        self.query = self.query.column(name, values);
        self
    }

    /// Only those of which this holds.
    pub(in crate::baremetal) fn keep(mut self, keep: impl Fn(&Object<K>) -> bool + Send + Sync + 'static) -> Self {
        self.keep.push(Box::new(keep));
        self
    }
}

/// Where a path is below a node.
#[derive(serde::Deserialize)]
pub(super) struct InNode {
    node: String,
}

pub(super) async fn list<K: Resource>(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing::<K>(&ask, query, false, K::form().path).await
}

pub(super) async fn detail<K: Resource>(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing::<K>(&ask, query, true, &format!("{}/detail", K::form().path)).await
}

pub(super) async fn of_node<K: Resource>(ask: Ask, Path(path): Path<InNode>, query: Parameters) -> Result<Response, Failure> {
    in_node::<K>(&ask, &path.node, query, false).await
}

pub(super) async fn detail_of_node<K: Resource>(ask: Ask, Path(path): Path<InNode>, query: Parameters) -> Result<Response, Failure> {
    in_node::<K>(&ask, &path.node, query, true).await
}

async fn in_node<K: Resource>(ask: &Ask, node: &str, Parameters(mut query): Parameters, detail: bool) -> Result<Response, Failure> {
    gate::<K>(ask, &Method::GET)?;
    if K::form().path == "portgroups" && ask.minor < Minor(24) {
        return Err(Failure::NoRoute);
    }
    let node = access::node(ask, node).await?;
    query.insert("node".into(), node.id.to_string());
    let path = format!("nodes/{}/{}{}", node.id, K::form().path, if detail { "/detail" } else { "" });
    listing::<K>(ask, query, detail, &path).await
}

/// Whether the list is to show details.
fn detailed<K: Resource>(ask: &Ask, query: &HashMap<String, String>, detail: bool) -> Result<bool, Failure> {
    let form = K::form();
    let asked = query.get("detail").map(|text| boolean("detail", &json!(text))).transpose()?;
    if asked.is_some() && (form.detail == Detail::Always || (form.detail == Detail::Path && ask.minor < Minor(43))) {
        let text = if asked == Some(true) { "True" } else { "False" };
        return Err(Failure::BadRequest(format!("Invalid query parameter ?detail={text} received.")));
    }
    let full = detail || form.detail == Detail::Always || asked == Some(true);
    if full && form.detail != Detail::Always && query.contains_key("fields") {
        let text = match form.detail {
            Detail::Argument if form.path.starts_with("volume") => "Can't fetch a subset of fields with 'detail' set",
            _ => "Can not specify ?detail=True and fields in the same request.",
        };
        return Err(Failure::BadRequest(text.into()));
    }
    Ok(full)
}

/// How a list is sorted.
enum Sort<K: Resource> {
    /// By the store.
    Store(&'static str),
    /// By us.
    Here(fn(&Object<K>, &Ask) -> Value),
}

fn sort_of<K: Resource>(ask: &Ask, form: &'static Form<K>, query: &HashMap<String, String>) -> Result<Sort<K>, Failure> {
    let key = query.get("sort_key").map_or("id", String::as_str);
    if form.unsortable.contains(&key) {
        return Err(Failure::BadRequest(format!("The sort_key value {key} is an invalid field for sorting")));
    }
    match key {
        // Ironic's internal ids grow.
        "id" | "created_at" => return Ok(Sort::Store("created_at")),
        "uuid" => return Ok(Sort::Store("id")),
        "updated_at" => return Ok(Sort::Here(|it, _| time(it.updated_at))),
        _ => {}
    }
    match form.field(key).filter(|field| sortable(field)) {
        Some(field) if ask.minor < Minor(field.since) => Err(too_early()),
        Some(_) if key == "name" => Ok(Sort::Store("name")),
        Some(field) => Ok(field.column.map_or(Sort::Here(field.get), Sort::Store)),
        None => Err(Failure::BadRequest(format!("The sort_key value \"{key}\" is an invalid field for sorting"))),
    }
}

fn limit_of(query: &HashMap<String, String>) -> Result<usize, Failure> {
    let Some(text) = query.get("limit") else { return Ok(MAX_LIMIT) };
    match text.parse::<i64>() {
        Ok(limit) if limit <= 0 => Err(Failure::BadRequest("Limit must be positive".into())),
        Ok(limit) => Ok(usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)),
        Err(_) => Err(Failure::BadRequest(format!("Expected an integer for limit: {text}"))),
    }
}

/// Narrows a list to what the caller may see.
async fn own<K: Resource>(ask: &Ask, query: Query<K>, owner: Option<&str>) -> Result<Query<K>, Failure> {
    let rules = &K::form().rules;
    let Some((all, own)) = rules.list else {
        return require_any(ask, rules.get).map(|()| query);
    };
    if may_any(ask, all) {
        return Ok(query);
    }
    let Some(project) = ask.caller.project_id.as_ref().filter(|it| owner.is_none_or(|owner| owner == it.as_str())) else {
        return require_any(ask, all).map(|()| query);
    };
    require_any(ask, own)?;
    if matches!(K::form().whose, Whose::Node(_)) {
        let of = |column: &str| Term::column(column, vec![project.to_string()]);
        let nodes = ask.app.store.list(&Query::<Node>::new().any_of(vec![of("owner"), of("lessee")])).await?;
        let seen = nodes.into_iter().filter(|node| access::may(ask, "baremetal:node:get", node)).map(|node| node.id.to_string());
        return Ok(query.column("node_id", seen));
    }
    Ok(K::own(ask, query))
}

/// A list, at that path below `/v1`.
///
/// # Errors
/// What is wrong with the query, and whom the rules do not let.
pub(in crate::baremetal) async fn listing<K: Resource>(
    ask: &Ask,
    query: HashMap<String, String>,
    detail: bool,
    path: &str,
) -> Result<Response, Failure> {
    gate::<K>(ask, &Method::GET)?;
    let form = K::form();
    let mut search = Search { query: own(ask, Query::<K>::new(), query.get("owner").map(String::as_str)).await?, keep: Vec::new() };
    let full = detailed::<K>(ask, &query, detail)?;
    let wanted = match query.get("fields") {
        Some(text) => Wanted::these::<K>(ask, text)?,
        None if full => Wanted::All,
        None => Wanted::Brief,
    };
    let mut names: Vec<&String> = query.keys().collect();
    names.sort();
    for name in names {
        if ["fields", "detail", "limit", "marker", "sort_key", "sort_dir"].contains(&name.as_str()) {
            continue;
        }
        let since = form.filters.iter().find(|(filter, _)| filter == name).map(|(_, since)| *since);
        let since = since.ok_or_else(|| Failure::BadRequest(format!("Unexpected arguments: {name}")))?;
        if ask.minor < Minor(since) {
            return Err(needs(since));
        }
    }
    search = K::filter(ask, search, &query).await?;
    let limit = limit_of(&query)?;
    let descending = page::descending(&query)?;
    let sort = sort_of(ask, form, &query)?;
    let marker = match query.get("marker") {
        None => None,
        Some(text) => {
            let id = access::parse_id::<K>(text);
            let id = id.ok_or_else(|| Failure::BadRequest(format!("Expected UUID for marker: {text}")))?;
            Some(ask.app.store.get(&id).await?.ok_or_else(|| form.missing(text))?.id)
        }
    };
    let Search { query: mut find, keep } = search;
    let items = match sort {
        Sort::Store(key) if keep.is_empty() => {
            find = find.sort(key, descending).limit(u32::try_from(limit).unwrap_or(u32::MAX));
            if let Some(marker) = &marker {
                find = find.after(marker);
            }
            ask.app.store.list(&find).await?
        }
        sort => {
            if let Sort::Store(key) = &sort {
                find = find.sort(key, descending);
            }
            let mut items = ask.app.store.list(&find).await?;
            items.retain(|item| keep.iter().all(|keep| keep(item)));
            if let Sort::Here(get) = sort {
                items.sort_by(|a, b| order(&get(a, ask), &get(b, ask)));
                if descending {
                    items.reverse();
                }
            }
            let from = match &marker {
                None => 0,
                Some(marker) => items.iter().position(|item| item.id == *marker).map_or(items.len(), |at| at + 1),
            };
            items.into_iter().skip(from).take(limit).collect()
        }
    };
    let full_page = items.len() == limit;
    let next = items.last().filter(|_| full_page).map(|last| next(ask, form, path, &query, limit, last.id.as_str(), full));
    let items = items.iter().map(|item| shown(ask, item, &wanted)).collect();
    Ok(page::answer(form.many, items, next))
}

/// The address of the next page: Ironic's parameters in Ironic's order, and the filters, which Ironic forgets.
fn next<K: Resource>(
    ask: &Ask,
    form: &Form<K>,
    path: &str,
    query: &HashMap<String, String>,
    limit: usize,
    marker: &str,
    full: bool,
) -> String {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (key, default) in [("sort_key", "id"), ("sort_dir", "asc")] {
        pairs.push((key, query.get(key).map_or(default, String::as_str).to_owned()));
    }
    let mut filters: Vec<&(&str, u16)> = form.filters.iter().filter(|(name, _)| query.contains_key(*name)).collect();
    filters.sort();
    // What the path says is not said again.
    for (name, _) in filters.into_iter().filter(|(name, _)| !(path.contains('/') && path.starts_with("nodes/") && *name == "node")) {
        pairs.push((name, query.get(*name).cloned().unwrap_or_default()));
    }
    if let Some(detail) = query.get("detail") {
        pairs.push(("detail", detail.clone()));
    }
    match query.get("fields") {
        Some(fields) => pairs.push(("fields", fields.clone())),
        None if full || ask.minor < Minor(8) => {}
        None => {
            let brief = form.fields.iter().filter(|field| field.brief && Minor(field.since) <= ask.minor).map(|field| field.name);
            let names: Vec<&str> = COMMON.iter().take(1).copied().chain(brief).collect();
            pairs.push(("fields", names.join(",")));
        }
    }
    pairs.push(("limit", limit.to_string()));
    pairs.push(("marker", marker.to_owned()));
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().replace("%2C", ",");
    format!("{}/v1/{path}?{text}", ask.base)
}
