//! Lists: what the caller sees of a kind, filters, sorting, pages, links.

use std::cmp::Ordering;

use http::StatusCode;
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Query, Term};

use super::form::{PLAIN, store_key};
use super::{Noun, Sight, many_shown};
use crate::failure::Failure;
use crate::network::Ask;
use crate::resource::{Parameters, moment, order, value};

/// Parameters that are not filters.
const CONTROLS: [&str; 7] = ["fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir", "changed_since"];
/// Filters by tags, of everything that has tags: name, whether all or any are meant, whether those are meant that have them.
const TAGS: [(&str, bool, bool); 4] =
    [("tags", true, true), ("tags-any", false, true), ("not-tags", true, false), ("not-tags-any", false, false)];
/// Objects read at once while a page is looked for.
const CHUNK: u32 = 1000;

/// A filter: the place of the field in the form, and the values of which it is to have one.
struct Filter {
    at: usize,
    values: Vec<String>,
    /// Whether the store did it already.
    done: bool,
}

/// How a list is asked for.
struct Wanted {
    filters: Vec<Filter>,
    /// What tags: the values, whether all or any, whether with or without.
    tags: Vec<(Vec<String>, bool, bool)>,
    since: Option<String>,
    /// Fields to sort by, in order, and whether from the greatest down.
    sort: Vec<(usize, bool)>,
    limit: Option<usize>,
    marker: Option<String>,
    reverse: bool,
}

fn bad(text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", text)
}

impl Wanted {
    fn read<K: Noun>(parameters: &Parameters, sight: &Sight<'_, K>, ask: &Ask) -> Result<Self, Failure> {
        let form = K::form();
        let mut filters: Vec<Filter> = Vec::new();
        let mut tags = Vec::new();
        let mut unknown = Vec::new();
        let own = crate::network::policies::of_project(ask.caller.project_id.as_ref());
        for (name, value) in &parameters.0 {
            if CONTROLS.contains(&name.as_str()) {
                continue;
            }
            if let Some((_, all, with)) = TAGS.iter().find(|(it, _, _)| it == name).filter(|_| form.taggable) {
                tags.push((value.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect(), *all, *with));
                continue;
            }
            let known = form.fields.iter().position(|field| field.name == name && field.filter);
            let Some(at) = known.filter(|at| sight.reads(*at, || own.clone())) else {
                unknown.push(format!("'{name}'"));
                continue;
            };
            match filters.iter_mut().find(|it| it.at == at) {
                Some(filter) => filter.values.push(value.clone()),
                None => filters.push(Filter { at, values: vec![value.clone()], done: false }),
            }
        }
        if !unknown.is_empty() {
            return Err(bad(format!("[{}] is invalid attribute for filtering", unknown.join(", "))));
        }
        if parameters.first("tenant_id").is_some_and(|tenant| parameters.first("project_id").is_some_and(|project| project != tenant)) {
            let text = "Both tenant_id and project_id passed as filters.";
            return Err(Failure::named(StatusCode::BAD_REQUEST, "TenantIdProjectIdFilterConflict", text));
        }
        let reverse = match parameters.first("page_reverse") {
            Some(it) => value::boolean(&Value::from(it)).unwrap_or(false),
            None => false,
        };
        let limit = match parameters.first("limit") {
            None | Some("0" | "") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let text = format!("Bad limit request: Limit must be an integer 0 or greater and not '{text}'.");
                Failure::named(StatusCode::BAD_REQUEST, "BadRequest", text)
            })?),
        };
        Ok(Self {
            filters,
            tags,
            since: parameters.first("changed_since").map(moment).transpose()?,
            sort: Self::sort(parameters, sight, ask)?,
            limit,
            marker: parameters.first("marker").filter(|it| !it.is_empty()).map(str::to_owned),
            reverse,
        })
    }

    fn sort<K: Noun>(parameters: &Parameters, sight: &Sight<'_, K>, ask: &Ask) -> Result<Vec<(usize, bool)>, Failure> {
        let form = K::form();
        let own = crate::network::policies::of_project(ask.caller.project_id.as_ref());
        let keys: Vec<&str> = parameters.all("sort_key").collect();
        let directions: Vec<&str> = parameters.all("sort_dir").collect();
        if directions.len() != keys.len() {
            return Err(bad("The number of sort_keys and sort_dirs must be same"));
        }
        let mut sort = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let known = form.fields.iter().position(|field| field.name == *key && field.sort);
            let Some(field) = known.filter(|at| sight.reads(*at, || own.clone())) else {
                return Err(bad(format!("['{key}'] is invalid attribute for sort_keys")));
            };
            let descending = match directions.get(at) {
                None | Some(&"asc") => false,
                Some(&"desc") => true,
                Some(other) => return Err(bad(format!("['{other}'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'"))),
            };
            sort.push((field, descending));
        }
        Ok(sort)
    }

    /// Puts as much as it can to the store.
    fn query<K: Noun>(&mut self, mut query: Query<K>) -> Query<K> {
        let form = K::form();
        for filter in &mut self.filters {
            let Some(field) = form.fields.get(filter.at) else { continue };
            let plain = PLAIN.iter().find(|it| **it == field.name || (field.name == "tenant_id" && **it == "project_id"));
            let values = filter.values.clone();
            if field.name == "id" {
                query = query.ids(values);
            } else if let ("name", [name]) = (field.name, values.as_slice()) {
                query = query.name(name);
            } else if field.name == "name" {
                continue;
            } else if plain.is_some() {
                query = query.any_of(values.iter().filter_map(|it| Id::parse(it)).map(|it| Term::project(&it)).collect());
            } else if let Some(column) = field.column {
                query = query.column(column, values);
            } else if let Some(link) = field.link {
                query = query.linked(link, values);
            } else {
                query = K::narrow(query, field.name, &values);
                continue;
            }
            filter.done = true;
        }
        for (tags, all, with) in &self.tags {
            match (with, all) {
                (true, true) => query = tags.iter().fold(query, |query, tag| query.linked("tags", [tag.clone()])),
                (true, false) => query = query.linked("tags", tags.clone()),
                (false, _) => {}
            }
        }
        query
    }

    /// What of the filters the store could not do. Filters of a field that the caller may not read of this object find nothing.
    fn matches<K: Noun>(&self, object: &Object<K>, around: &K::Around, sight: &Sight<'_, K>) -> bool {
        let form = K::form();
        let fits = |filter: &Filter| {
            let Some(field) = form.fields.get(filter.at) else { return true };
            if field.read_rule.is_some() && !sight.reads(filter.at, || K::target(object, around)) {
                return false;
            }
            filter.done || K::fits(field.name, &(field.get)(object, around), &filter.values)
        };
        self.filters.iter().all(fits)
            && self
                .since
                .as_ref()
                .is_none_or(|since| object.updated_at.unwrap_or(object.created_at).iso_seconds().as_str() >= since.as_str())
            && self.tags.iter().filter(|(_, _, with)| !with).all(|(tags, all, _)| {
                let own = form.find("tags").map(|field| (field.get)(object, around)).unwrap_or_default();
                let has = |tag: &String| own.as_array().is_some_and(|own| own.iter().any(|it| it == tag));
                !(if *all { tags.iter().all(has) } else { tags.iter().any(has) })
            })
    }
}

/// Which there are for the caller, before any filter.
async fn visible<K: Noun>(ask: &Ask, sight: &Sight<'_, K>) -> Result<Option<Query<K>>, Failure> {
    let mut query = Query::<K>::new();
    match sight.sees_all() {
        Some(true) => {}
        Some(false) => return Ok(None),
        None => {
            let mut terms = K::seen(ask).await?;
            if let Some(project) = &ask.caller.project_id {
                terms.push(Term::project(project));
            }
            if let Some(object_type) = K::form().shareable {
                terms.push(Term::ids(ask.shares().await?.ids(object_type, ask.caller.project_id.as_ref())));
            }
            query = query.any_of(terms);
        }
    }
    if let (Some(column), Some(parent)) = (K::PARENT, &ask.inside) {
        query = query.column(column, [parent.clone()]);
    }
    Ok(Some(query))
}

/// The objects that match and the caller sees, in order, as the answer's text.
///
/// # Errors
/// What is wrong with the parameters.
pub(super) async fn list<K: Noun>(ask: &Ask) -> Result<Vec<u8>, Failure> {
    K::before_list(ask).await?;
    let sight = Sight::<K>::of(ask);
    let mut wanted = Wanted::read(&ask.parameters, &sight, ask)?;
    let Some(query) = visible::<K>(ask, &sight).await? else {
        return Ok(many_shown::<K>(ask, &[], &K::Around::default(), &[]));
    };
    let query = wanted.query(query);
    let (mut found, around) = if let (Some(limit), Some(sorted)) = (wanted.limit, by_store::<K>(&wanted)) {
        page(ask, &sight, &wanted, query.sort(sorted.0, sorted.1 != wanted.reverse), limit).await?
    } else {
        whole(ask, &sight, &wanted, query).await?
    };
    if wanted.reverse {
        found.reverse();
    }
    let links = links::<K>(ask, &wanted, &found);
    Ok(many_shown(ask, &found, &around, &links))
}

/// The one key by which the store sorts as is asked, if it can.
fn by_store<K: Noun>(wanted: &Wanted) -> Option<(&'static str, bool)> {
    match wanted.sort.as_slice() {
        [] => Some(("created_at", false)),
        [(at, descending)] => K::form().fields.get(*at).and_then(store_key).map(|key| (key, *descending)),
        _ => None,
    }
}

/// A page of what the store sorts: no more is read than it takes. In the order of reading: of a reversed page from its end.
async fn page<K: Noun>(
    ask: &Ask,
    sight: &Sight<'_, K>,
    wanted: &Wanted,
    query: Query<K>,
    limit: usize,
) -> Result<(Vec<Object<K>>, K::Around), Failure> {
    let chunk = u32::try_from(limit).unwrap_or(CHUNK).clamp(1, CHUNK);
    let mut found: Vec<Object<K>> = Vec::new();
    let mut after = match &wanted.marker {
        Some(marker) => Some(mark::<K>(ask, marker).await?),
        None => None,
    };
    let beside = loop {
        let mut next = query.clone().limit(chunk);
        if let Some(after) = &after {
            next = next.after(after);
        }
        let read = ask.app.store.list(&next).await?;
        let is_last = read.len() < usize::try_from(chunk).unwrap_or(usize::MAX);
        after = read.last().map(|it| it.id.clone());
        let (matching, around) = matching(ask, sight, wanted, read).await?;
        // What was read beside one chunk serves for it alone.
        let around = found.is_empty().then_some(around);
        found.extend(matching);
        if is_last || found.len() >= limit {
            break around;
        }
    };
    found.truncate(limit);
    let around = match beside {
        Some(around) => around,
        None => K::around(ask, &found).await?,
    };
    Ok((found, around))
}

async fn mark<K: Noun>(ask: &Ask, marker: &str) -> Result<Id<K>, Failure> {
    let missing = || K::form().missing(marker);
    let id = Id::parse(marker).ok_or_else(missing)?;
    ask.app.store.get::<K>(&id).await?.map(|it| it.id).ok_or_else(missing)
}

/// Those of the objects that match and the caller sees, and what was read beside them.
async fn matching<K: Noun>(
    ask: &Ask,
    sight: &Sight<'_, K>,
    wanted: &Wanted,
    mut read: Vec<Object<K>>,
) -> Result<(Vec<Object<K>>, K::Around), Failure> {
    let around = K::around(ask, &read).await?;
    read.retain(|it| sight.sees(|| K::target(it, &around)) && wanted.matches(it, &around, sight));
    Ok((read, around))
}

/// All that match, sorted and cut here.
async fn whole<K: Noun>(ask: &Ask, sight: &Sight<'_, K>, wanted: &Wanted, query: Query<K>) -> Result<(Vec<Object<K>>, K::Around), Failure> {
    let read = ask.app.store.list(&query).await?;
    let (mut found, around) = matching(ask, sight, wanted, read).await?;
    if !wanted.sort.is_empty() {
        let form = K::form();
        found.sort_by(|a, b| {
            for (at, descending) in &wanted.sort {
                let Some(field) = form.fields.get(*at) else { continue };
                let order = order(&(field.get)(a, &around), &(field.get)(b, &around));
                let order = if *descending { order.reverse() } else { order };
                if order != Ordering::Equal {
                    return order;
                }
            }
            a.id.cmp(&b.id)
        });
    }
    if wanted.reverse {
        found.reverse();
    }
    if let Some(marker) = &wanted.marker {
        match found.iter().position(|it| it.id.as_str() == marker) {
            Some(at) => drop(found.drain(..=at)),
            None => return Err(K::form().missing(marker)),
        }
    }
    found.truncate(wanted.limit.unwrap_or(usize::MAX));
    Ok((found, around))
}

/// Links to the pages before and after, as Neutron gives them: towards the end unless the page is short, back unless it is a short one read
/// backwards. Source: `neutron/api/api_common.py`.
fn links<K: Noun>(ask: &Ask, wanted: &Wanted, page: &[Object<K>]) -> Vec<Value> {
    let Some(limit) = wanted.limit else { return Vec::new() };
    let is_short = page.len() < limit;
    let mut links = Vec::new();
    let href = |marker: Option<&Object<K>>, reverse: bool| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(ask.parameters.0.iter().filter(|(key, _)| key != "marker" && key != "page_reverse"));
        if let Some(marker) = marker {
            query.append_pair("marker", marker.id.as_str());
        }
        if reverse {
            query.append_pair("page_reverse", "True");
        }
        format!("{}?{}", ask.address, query.finish())
    };
    if !is_short || wanted.reverse {
        links.push(json!({"rel": "next", "href": href(page.last(), false)}));
    }
    if !is_short || !wanted.reverse {
        links.push(json!({"rel": "previous", "href": href(page.first(), true)}));
    }
    links
}
