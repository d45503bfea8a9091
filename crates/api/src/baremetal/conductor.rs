//! `/v1/conductors`: the processes that work on nodes, and which of them answers for a node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{Conductor, ConductorDesired, Node, is_busy, responsible};
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value, json};
use store::{Query, Store, StoreError};
use tokio::sync::RwLock;

use super::resource::{links, refused, time};
use super::versions::Minor;
use super::words::boolean;
use super::{Ask, access};
use crate::failure::Failure;
use crate::page::{self, Parameters};

/// For how long what was read of conductors is used for other requests.
const FRESH: Duration = Duration::from_secs(1);

/// The conductors that are alive, as they were a moment ago.
#[derive(Debug, Default)]
pub(super) struct Alive(Vec<(String, ConductorDesired)>);

impl Alive {
    /// Those that are alive by one clock or the other.
    fn of(all: Vec<Object<Conductor>>, clocks: [Timestamp; 2]) -> Self {
        let is_alive = |it: &ConductorDesired| clocks.iter().any(|now| it.is_alive(*now));
        let mut alive: Vec<_> = all.into_iter().filter(|it| is_alive(&it.desired)).map(|it| (it.name, it.desired)).collect();
        alive.sort_by(|a, b| a.0.cmp(&b.0));
        Self(alive)
    }

    /// The same for all in which [`Alive::of_node`] is the same for every node.
    pub(super) fn digest(&self) -> Id<()> {
        let each = self.0.iter().map(|(host, it)| json!([host, it.conductor_group, it.drivers]).to_string());
        Id::derived(&each.collect::<String>())
    }

    /// Their host names, in order.
    pub(super) fn hosts_for(&self, driver: &str) -> Vec<&str> {
        self.0.iter().filter(|it| it.1.drivers.iter().any(|it| it == driver)).map(|it| it.0.as_str()).collect()
    }

    /// The host name of the one that answers for a node: while a job is under way the one that last took it a step further, else one that
    /// is the same for all who ask. `None`: nobody works on nodes of its group.
    pub(super) fn of_node(&self, node: &Object<Node>) -> Option<&str> {
        let (group, driver) = (node.desired.conductor_group.as_str(), node.desired.driver.as_str());
        let able = || self.0.iter().filter(|it| it.1.serves(group, driver)).map(|it| it.0.as_str());
        let holder = node.observed.conductor.as_deref().filter(|_| is_busy(node));
        holder.and_then(|holder| able().find(|it| *it == holder)).or_else(|| responsible(able(), &node.id))
    }

    /// Refuses what nobody would do for the node.
    ///
    /// # Errors
    /// `status` in Ironic's words (`NoValidHost`) if no conductor of the node's group is alive; 503 if none is at all.
    pub(super) fn serve(&self, node: &Object<Node>, status: StatusCode) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Err(Failure::Unavailable("Resource temporarily unavailable, please retry.".into()));
        }
        match self.of_node(node) {
            Some(_) => Ok(()),
            None => Err(refused(
                status,
                format!(
                    "No valid host was found. Reason: No conductor service registered which supports driver {} for conductor group \"{}\". \
                     Ensure the driver is valid and enabled.",
                    node.desired.driver, node.desired.conductor_group
                ),
            )),
        }
    }
}

/// What was last read of conductors: it is asked at every request and seldom changes.
#[derive(Default)]
pub(crate) struct Cache {
    known: RwLock<Option<(Instant, Arc<Alive>)>>,
    steady: Mutex<Option<Steady>>,
}

/// A clock that does not jump with the wall's: when that is set forward nobody was silent meanwhile, but all that were heard of before
/// would count as dead until they are heard of again. It follows the wall's after a while.
#[derive(Clone, Copy)]
struct Steady {
    since: Instant,
    wall: Timestamp,
}

impl Steady {
    /// After how long it is set by the wall's clock.
    const FOLLOWS: Duration = Duration::from_secs(60);

    fn of(wall: Timestamp) -> Self {
        Self { since: Instant::now(), wall }
    }

    fn now(self) -> Timestamp {
        self.wall.plus_millis(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

impl Cache {
    /// The conductors that are alive; read anew at most once a second.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn alive(&self, store: &Store) -> Result<Arc<Alive>, StoreError> {
        let fresh = |known: &Option<(Instant, Arc<Alive>)>| known.as_ref().filter(|it| it.0.elapsed() < FRESH).map(|it| Arc::clone(&it.1));
        if let Some(alive) = fresh(&*self.known.read().await) {
            return Ok(alive);
        }
        // Who comes meanwhile waits for what the first reads.
        let mut known = self.known.write().await;
        if let Some(alive) = fresh(&known) {
            return Ok(alive);
        }
        // By the clock by which they say when they were heard of, whoever of them is asked.
        let now = store.now().await?;
        let alive = Arc::new(Alive::of(store.list_few(&Query::new()).await?, [now, self.steady(now)]));
        *known = Some((Instant::now(), Arc::clone(&alive)));
        Ok(alive)
    }

    fn steady(&self, wall: Timestamp) -> Timestamp {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = steady.filter(|it| it.since.elapsed() < Steady::FOLLOWS);
        steady.insert(usable.unwrap_or_else(|| Steady::of(wall))).now()
    }
}

/// Fields and whether they are shown in short lists; the links are shown always.
const FIELDS: [(&str, bool); 6] =
    [("created_at", false), ("updated_at", false), ("hostname", true), ("conductor_group", true), ("drivers", false), ("alive", true)];

fn gate(ask: &Ask) -> Result<(), Failure> {
    if ask.minor < Minor(49) {
        return Err(refused(StatusCode::NOT_FOUND, "The API is not supported for this version"));
    }
    access::require_any(ask, "baremetal:conductor:get")
}

fn shown(ask: &Ask, it: &Object<Conductor>, wanted: impl Fn(&str, bool) -> bool) -> Value {
    let mut out = Map::new();
    for (name, _) in FIELDS.into_iter().filter(|(name, brief)| wanted(name, *brief)) {
        let value = match name {
            "created_at" => time(Some(it.created_at)),
            "updated_at" => time(Some(it.desired.seen_at)),
            "hostname" => json!(it.name),
            "conductor_group" => json!(it.desired.conductor_group),
            "drivers" => json!(it.desired.drivers),
            _ => json!(it.desired.is_alive(Timestamp::now())),
        };
        out.insert(name.to_owned(), value);
    }
    out.insert("links".into(), links(ask, &format!("conductors/{}", it.name)));
    Value::Object(out)
}

/// The fields asked for.
fn fields(query: &HashMap<String, String>) -> Result<Option<Vec<&str>>, Failure> {
    let Some(text) = query.get("fields") else { return Ok(None) };
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    match names.iter().find(|name| **name != "links" && !FIELDS.iter().any(|(field, _)| field == *name)) {
        Some(name) => Err(Failure::BadRequest(format!("Field(s) \"{name}\" are not valid"))),
        None => Ok(Some(names)),
    }
}

/// Puts them into the order asked for; as Ironic numbers them, by default in the order in which they first came.
fn sort(all: &mut [Object<Conductor>], query: &HashMap<String, String>) -> Result<(), Failure> {
    let key = query.get("sort_key").map_or("id", String::as_str);
    all.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.name.cmp(&b.name)));
    match key {
        "id" | "created_at" => {}
        "hostname" => all.sort_by(|a, b| a.name.cmp(&b.name)),
        "conductor_group" => all.sort_by(|a, b| a.desired.conductor_group.cmp(&b.desired.conductor_group)),
        "updated_at" => all.sort_by_key(|it| it.desired.seen_at),
        other => return Err(Failure::BadRequest(format!("The sort_key value {other} is an invalid field for sorting"))),
    }
    if page::descending(query)? {
        all.reverse();
    }
    Ok(())
}

/// `GET /v1/conductors`.
pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    gate(&ask)?;
    let known = ["fields", "detail", "limit", "marker", "sort_key", "sort_dir"];
    if let Some(other) = query.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Failure::BadRequest(format!("Unexpected arguments: {other}")));
    }
    let detail = query.get("detail").map(|text| boolean("detail", &json!(text))).transpose()?.unwrap_or(false);
    let fields = fields(&query)?;
    if detail && fields.is_some() {
        return Err(Failure::BadRequest("Can not specify ?detail=True and fields in the same request.".into()));
    }
    match query.get("limit").map(|text| text.parse::<i64>()) {
        Some(Ok(limit)) if limit <= 0 => return Err(Failure::BadRequest("Limit must be positive".into())),
        Some(Err(_)) => return Err(Failure::BadRequest("Expected an integer for limit".into())),
        _ => {}
    }
    let mut all = ask.app.store.list(&Query::<Conductor>::new()).await?;
    sort(&mut all, &query)?;
    if let Some(marker) = query.get("marker").filter(|marker| !all.iter().any(|it| it.name == **marker)) {
        return Err(Failure::not_found("Conductor", marker));
    }
    let (all, next) = page::cut(all, &query, |it| it.name.as_str())?;
    let wanted = |name: &str, brief: bool| fields.as_ref().map_or(detail || brief, |it| it.contains(&name));
    let items = all.iter().map(|it| shown(&ask, it, wanted)).collect();
    let address = format!("{}/v1/conductors", ask.base);
    Ok(page::answer("conductors", items, next.map(|marker| page::next(&address, &query, &marker))))
}

/// `GET /v1/conductors/{hostname}`.
pub(super) async fn show(ask: Ask, Path(name): Path<String>, Parameters(query): Parameters) -> Result<Response, Failure> {
    gate(&ask)?;
    let fields = fields(&query)?;
    let found = ask.app.store.list(&Query::<Conductor>::new().name(&name)).await?.pop();
    let found = found.ok_or_else(|| Failure::not_found("Conductor", &name))?;
    Ok(Json(shown(&ask, &found, |name, _| fields.as_ref().is_none_or(|it| it.contains(&name)))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_makes_nobody_dead() {
        let heard = Timestamp::now();
        let desired = ConductorDesired {
            conductor_group: String::new(),
            drivers: vec!["redfish".into()],
            online: true,
            seen_at: heard,
            instance: "c1".into(),
        };
        let all = || vec![Object::<Conductor>::new(Id::random(), None, "c1", desired.clone())];
        let count = |clocks: [i64; 2]| Alive::of(all(), clocks.map(|it| heard.plus_seconds(it))).0.len();
        assert_eq!(count([3, 3]), 1);
        assert_eq!(count([900, 3]), 1, "the wall's clock was set forward");
        assert_eq!(count([-900, 3]), 1, "it was set back");
        assert_eq!(count([900, 900]), 0, "it was silent");
        let cache = Cache::default();
        assert!(cache.steady(Timestamp::now()) <= cache.steady(Timestamp::now()));
    }
}
