//! Lists: filters, `fields`, sorting, `limit` and `marker`.

use model::{Kind, Object};
use policy::Target;
use serde_json::{Value, json};
use store::{Query, Store};

use super::{Field, Resource, View};
use crate::failure::Failure;

/// The parameters of a URL, in order, repeated ones too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

/// Parameters that are not filters.
const CONTROLS: [&str; 7] = ["fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir", "changed_since"];

impl Parameters {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The fields asked for; none: all.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.all("fields").filter(|it| !it.is_empty()).map(str::to_owned).collect()
    }

    fn limit(&self) -> Result<Option<usize>, Failure> {
        match self.first("limit") {
            None | Some("0") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Failure::BadRequest(format!("Bad limit request: '{text}' is not a whole number, not negative."))),
        }
    }
}

/// A page of a list.
pub(crate) struct Page<K: Kind> {
    pub(crate) items: Vec<Object<K>>,
    has_next: bool,
    has_previous: bool,
}

/// How a service lists.
pub(crate) struct Listing<'a, K: Kind> {
    pub(crate) resource: &'a Resource<K>,
    pub(crate) parameters: &'a Parameters,
    /// By whom and as what the rules of fields are asked.
    pub(crate) view: View<'a, K>,
    /// What rules see of an object of the caller's own: by it is decided which fields can be named at all.
    pub(crate) own: Target,
    /// The address of this list, for links to the next page.
    pub(crate) href: String,
    /// Whether a filter nobody knows is an error; otherwise it is ignored.
    pub(crate) strict: bool,
}

impl<K: Kind> Listing<'_, K> {
    /// All objects that match and `sees` lets through, as the answer's body.
    pub(crate) async fn answer(&self, store: &Store, query: Query<K>, sees: impl Fn(&Object<K>) -> bool) -> Result<Value, Failure> {
        let page = self.page(store, query, sees).await?;
        let fields = self.parameters.fields();
        Ok(self.body(&page, |it| self.resource.show(it, self.view, &fields)))
    }

    /// The answer's body for a page.
    pub(crate) fn body(&self, page: &Page<K>, show: impl Fn(&Object<K>) -> Value) -> Value {
        let items: Vec<Value> = page.items.iter().map(show).collect();
        let mut links = Vec::new();
        if let (true, Some(last)) = (page.has_next, page.items.last()) {
            links.push(json!({"rel": "next", "href": self.page_href(last.id.as_str(), false)}));
        }
        if let (true, Some(first)) = (page.has_previous, page.items.first()) {
            links.push(json!({"rel": "previous", "href": self.page_href(first.id.as_str(), true)}));
        }
        let mut body = json!({ self.resource.plural: items });
        if let (false, Some(body)) = (links.is_empty(), body.as_object_mut()) {
            body.insert(format!("{}_links", self.resource.plural), Value::from(links));
        }
        body
    }

    /// The objects that match and `sees` lets through, as far as `limit` and `marker` want them.
    pub(crate) async fn page(&self, store: &Store, mut query: Query<K>, sees: impl Fn(&Object<K>) -> bool) -> Result<Page<K>, Failure> {
        let filters = self.filters()?;
        for (name, values) in &filters {
            match *name {
                "id" => query = query.ids(values.clone()),
                "name" if values.len() == 1 => query = query.name(values.first().map_or("", String::as_str)),
                _ => {
                    if let Some(column) = self.resource.find(name).and_then(|field| field.column) {
                        query = query.column(column, values.clone());
                    }
                }
            }
        }
        let mut found = store.list(&query).await?;
        found.retain(|it| sees(it) && filters.iter().all(|(name, values)| self.matches(it, name, values)));
        if let Some(since) = self.parameters.first("changed_since") {
            let since = moment(since)?;
            found.retain(|it| it.updated_at.unwrap_or(it.created_at).iso_seconds().as_str() >= since.as_str());
        }
        self.sort(&mut found)?;
        let limit = self.parameters.limit()?.unwrap_or(usize::MAX);
        let is_reverse = match self.parameters.first("page_reverse") {
            Some(it) => super::value::boolean(&Value::from(it)).map_err(|why| Failure::BadRequest(format!("page_reverse: {why}")))?,
            None => false,
        };
        let all = found.len();
        let marker = self.parameters.first("marker").map(|marker| found.iter().position(|it| it.id.as_str() == marker));
        // A marker that is not there leads to an empty page, as in Neutron.
        let (from, to) = match (marker, is_reverse) {
            (Some(None), _) => (0, 0),
            (Some(Some(at)), false) => (at + 1, (at + 1).saturating_add(limit).min(all)),
            (None, false) => (0, limit.min(all)),
            (Some(Some(at)), true) => (at.saturating_sub(limit), at),
            (None, true) => (all.saturating_sub(limit), all),
        };
        let items: Vec<Object<K>> = found.drain(from..to).collect();
        Ok(Page { has_next: to < all, has_previous: from > 0, items })
    }

    fn filters(&self) -> Result<Vec<(&str, Vec<String>)>, Failure> {
        let mut out: Vec<(&str, Vec<String>)> = Vec::new();
        for (name, value) in &self.parameters.0 {
            // Projects are named two ways; both mean the field project_id where there is one.
            let name = if name == "tenant_id" { "project_id" } else { name.as_str() };
            if CONTROLS.contains(&name) {
                continue;
            }
            if self.readable(name).is_none() {
                if self.strict {
                    return Err(Failure::BadRequest(format!("['{name}'] is invalid attribute for filtering")));
                }
                continue;
            }
            match out.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value.clone()),
                None => out.push((name, vec![value.clone()])),
            }
        }
        Ok(out)
    }

    /// The field of that name, if the caller may read it of an object of its own.
    fn readable(&self, name: &str) -> Option<&Field<K>> {
        self.resource.find(name).filter(|field| self.view.allows(field.read_rule, &self.own))
    }

    fn matches(&self, object: &Object<K>, name: &str, values: &[String]) -> bool {
        let Some(field) = self.resource.find(name) else { return true };
        if field.read_rule.is_some() && !self.view.allows(field.read_rule, &(self.view.target)(object)) {
            return false;
        }
        let has = (field.get)(object);
        if name == "fixed_ips" {
            return values.iter().all(|wanted| fixed_ip(&has, wanted));
        }
        values.iter().any(|wanted| equals(&has, wanted))
    }

    fn sort(&self, found: &mut [Object<K>]) -> Result<(), Failure> {
        let keys: Vec<&str> = self.parameters.all("sort_key").collect();
        let directions: Vec<&str> = self.parameters.all("sort_dir").collect();
        if keys.is_empty() {
            return Ok(());
        }
        if !directions.is_empty() && directions.len() != keys.len() {
            return Err(Failure::BadRequest("The number of sort_keys and sort_dirs must be same".into()));
        }
        if let Some(wrong) = keys.iter().find(|key| self.readable(key).is_none()) {
            return Err(Failure::BadRequest(format!("'{wrong}' is not a key to sort by")));
        }
        if let Some(wrong) = directions.iter().find(|it| **it != "asc" && **it != "desc") {
            return Err(Failure::BadRequest(format!("'{wrong}' is neither asc nor desc")));
        }
        found.sort_by(|a, b| {
            for (at, key) in keys.iter().enumerate() {
                let Some(field) = self.resource.find(key) else { continue };
                let order = order(&(field.get)(a), &(field.get)(b));
                let order = if directions.get(at) == Some(&"desc") { order.reverse() } else { order };
                if order.is_ne() {
                    return order;
                }
            }
            a.id.cmp(&b.id)
        });
        Ok(())
    }

    fn page_href(&self, marker: &str, is_reverse: bool) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters.0.iter().filter(|(key, _)| key != "marker" && key != "page_reverse"));
        query.append_pair("marker", marker);
        if is_reverse {
            query.append_pair("page_reverse", "True");
        }
        format!("{}?{}", self.href, query.finish())
    }
}

/// A moment as clients write it (`2026-11-21T10:49:00`, with or without a fraction and `Z`), in the form objects show theirs in.
fn moment(text: &str) -> Result<String, Failure> {
    let plain: String = text.chars().take(19).map(|c| if c == ' ' { 'T' } else { c }).collect();
    let fits = plain.len() == 19
        && plain.bytes().zip(b"dddd-dd-ddTdd:dd:dd").all(|(has, form)| if *form == b'd' { has.is_ascii_digit() } else { has == *form });
    let rest = text.get(19..).unwrap_or_default().trim_end_matches('Z').trim_start_matches('.');
    if !fits || !rest.bytes().all(|it| it.is_ascii_digit()) {
        return Err(Failure::BadRequest(format!(
            "Invalid input for changed_since. Reason: '{text}' is not a time such as 2026-11-21T10:49:00."
        )));
    }
    Ok(format!("{plain}Z"))
}

fn equals(has: &Value, wanted: &str) -> bool {
    match has {
        Value::String(text) => text == wanted,
        Value::Bool(it) => super::value::boolean(&Value::from(wanted)).is_ok_and(|wanted| wanted == *it),
        Value::Number(it) => it.to_string() == wanted,
        Value::Null => wanted.is_empty(),
        Value::Array(items) => items.iter().any(|it| equals(it, wanted)),
        Value::Object(_) => false,
    }
}

/// `subnet_id=…`, `ip_address=…` or `ip_address_substr=…` of one of a port's addresses.
fn fixed_ip(has: &Value, wanted: &str) -> bool {
    let Some((key, value)) = wanted.split_once('=') else { return false };
    has.as_array().into_iter().flatten().any(|ip| match key {
        "ip_address_substr" => ip["ip_address"].as_str().is_some_and(|it| it.contains(value)),
        _ => ip[key].as_str() == Some(value),
    })
}

fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(std::cmp::Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => (!a.is_null()).cmp(&!b.is_null()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, read) in [
            ("2026-11-21T10:49:00", "2026-11-21T10:49:00Z"),
            ("2026-11-21 10:49:00Z", "2026-11-21T10:49:00Z"),
            ("2026-11-21T10:49:00.123456Z", "2026-11-21T10:49:00Z"),
        ] {
            assert_eq!(moment(text).unwrap(), read);
        }
        for wrong in ["", "now", "2026-11-21", "2026-11-21T10:49:00+01:00", "2026-11-2éT10:49:00", "２026-11-21T10:49:00"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
