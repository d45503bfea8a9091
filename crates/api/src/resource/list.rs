//! Lists: filters, `fields`, sorting, `limit` and `marker`.

use model::{Kind, Object};
use serde_json::{Value, json};
use store::{Query, Store};

use super::{Resource, is};
use crate::caller::Caller;
use crate::failure::Failure;

/// The parameters of a URL, in order, repeated ones too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

/// Parameters that are not filters.
const CONTROLS: [&str; 8] = ["fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir", "project_id", "tenant_id"];

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

/// How a service lists.
pub(crate) struct Listing<'a, K: Kind> {
    pub(crate) resource: &'a Resource<K>,
    pub(crate) parameters: &'a Parameters,
    pub(crate) caller: &'a Caller,
    /// The address of this list, for links to the next page.
    pub(crate) href: String,
    /// Whether a filter nobody knows is an error; otherwise it is ignored.
    pub(crate) strict: bool,
}

impl<K: Kind> Listing<'_, K> {
    /// All objects that match and `sees` lets through, as the answer's body.
    pub(crate) async fn answer(&self, store: &Store, query: Query<K>, sees: impl Fn(&Object<K>) -> bool) -> Result<Value, Failure> {
        let (page, more) = self.page(store, query, sees).await?;
        let fields = self.parameters.fields();
        let items: Vec<Value> = page.iter().map(|it| self.resource.show(it, self.caller, &fields)).collect();
        let mut body = json!({ self.resource.plural: items });
        if let (true, Some(last)) = (more, page.last()) {
            let links = json!([{"rel": "next", "href": self.next(last.id.as_str())}]);
            if let Some(body) = body.as_object_mut() {
                body.insert(format!("{}_links", self.resource.plural), links);
            }
        }
        Ok(body)
    }

    async fn page(&self, store: &Store, mut query: Query<K>, sees: impl Fn(&Object<K>) -> bool) -> Result<(Vec<Object<K>>, bool), Failure> {
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
        self.sort(&mut found)?;
        if let Some(marker) = self.parameters.first("marker") {
            let at = found.iter().position(|it| it.id.as_str() == marker).map_or(found.len(), |at| at + 1);
            found.drain(..at);
        }
        let limit = self.parameters.limit()?.unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    fn filters(&self) -> Result<Vec<(&str, Vec<String>)>, Failure> {
        let mut out: Vec<(&str, Vec<String>)> = Vec::new();
        for (name, value) in &self.parameters.0 {
            // Projects are named two ways; both mean the field project_id where there is one.
            let name = if name == "tenant_id" { "project_id" } else { name.as_str() };
            if CONTROLS.contains(&name) && name != "project_id" {
                continue;
            }
            let known = self.resource.find(name).is_some_and(|field| is(field.read, self.caller));
            if !known {
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

    fn matches(&self, object: &Object<K>, name: &str, values: &[String]) -> bool {
        let Some(field) = self.resource.find(name) else { return true };
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
        if let Some(wrong) = keys.iter().find(|key| self.resource.find(key).is_none()) {
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

    fn next(&self, marker: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters.0.iter().filter(|(key, _)| key != "marker"));
        query.append_pair("marker", marker);
        format!("{}?{}", self.href, query.finish())
    }
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
