//! `/v2.0/agents` and `/v2.0/availability_zones`. Agents come into being by saying that they are there:
//! `PUT /v2.0/cofferdam/agents/{host}`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post as on_post, put as on_put};
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::operation::{Agent, AgentBinding, AgentDesired};
use model::{Id, Object, Timestamp};
use policy::Target;
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError};

use super::noun::{Form, Noun, Work, field, routes as noun_routes, value_of};
use super::{Ask, Extension, extension};
use crate::App;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::{equals, parse, put, rooted, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("agent", "agent", "The agent management extension.", "2013-02-03T10:00:00-00:00"),
    extension("agent_sort_key", "Agents Sort Key", "Enabling the keyword sort_key for sorting in agents.", "2013-02-03T10:00:00-00:00"),
    extension(
        "agent-resources-synced",
        "Agent's Resource View Synced to Placement",
        "Stores success/failure of last sync to Placement",
        "2018-12-19T00:00:00-00:00",
    ),
    extension("availability_zone", "Availability Zone", "The availability zone extension.", "2015-01-01T10:00:00-00:00"),
    extension(
        "availability_zone_filter",
        "Availability Zone Filter Extension",
        "Add filter parameters to AvailabilityZone resource",
        "2018-06-22T10:00:00-00:00",
    ),
    extension(
        "network_availability_zone",
        "Network Availability Zone",
        "Availability zone support for network.",
        "2015-01-01T10:00:00-00:00",
    ),
];

/// An agent that was silent for longer is down, in seconds. Source: `agent_down_time` of Neutron.
const DOWN_AFTER: f64 = 75.0;
/// The types of agents that serve networks and routers, as all agents of Neutron name themselves.
pub(super) const DHCP: &str = "DHCP agent";
pub(super) const L3: &str = "L3 agent";

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<Agent>()
        .route("/agents", on_post(refused))
        .route("/cofferdam/agents/{host}", on_put(heartbeat))
        .route("/availability_zones", get(list_zones))
}

/// Nobody makes agents by asking for them.
async fn refused(_: Ask, _: Bytes) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "BadRequest", "Bad agents request: Agent creation using API is not supported..")
}

/// Times as Neutron gives them for agents.
fn moment(at: Timestamp) -> Value {
    json!(at.iso_seconds().replace('T', " ").trim_end_matches('Z'))
}

/// Whether it was heard of lately.
pub(super) fn is_alive(agent: &Object<Agent>) -> bool {
    Timestamp::now().seconds_since(agent.desired.heartbeat_at) <= DOWN_AFTER
}

static FORM: LazyLock<Form<Agent>> = LazyLock::new(|| {
    Form::new("agent", "agents", "agents", "AgentNotFound", "Agent").ownerless().no_create().fields(vec![
        field("agent_type", |it: &Object<Agent>, _: &()| json!(it.desired.agent_type)).column("agent_type").sort(),
        field("binary", |it: &Object<Agent>, _| json!(it.desired.binary)).sort(),
        field("topic", |it: &Object<Agent>, _| json!(it.desired.topic)).sort(),
        field("host", |it: &Object<Agent>, _| json!(it.desired.host)).column("host").sort(),
        field("admin_state_up", |it: &Object<Agent>, _| json!(it.desired.admin_state_up))
            .set_later(|it, v| put(&mut it.desired.admin_state_up, value::boolean(v)))
            .sort(),
        field("created_at", |it: &Object<Agent>, _| moment(it.created_at)).sort(),
        field("started_at", |it: &Object<Agent>, _| moment(it.desired.started_at)).sort(),
        field("heartbeat_timestamp", |it: &Object<Agent>, _| moment(it.desired.heartbeat_at)).sort(),
        field("alive", |it: &Object<Agent>, _| json!(is_alive(it))).filter(),
        field("configurations", |it: &Object<Agent>, _| json!(it.desired.configurations)),
        field("description", |it: &Object<Agent>, _| json!(Some(&it.desired.description).filter(|it| !it.is_empty())))
            .set_later(|it, v| put(&mut it.desired.description, value::text(v, 255)))
            .sort(),
        field("resources_synced", |it: &Object<Agent>, _| json!(it.desired.resources_synced)),
        field("availability_zone", |it: &Object<Agent>, _| json!(Some(&it.desired.availability_zone).filter(|it| !it.is_empty()))).sort(),
    ])
});

impl Noun for Agent {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<AgentDesired, Failure> {
        Err(Failure::MethodNotAllowed)
    }

    async fn delete(work: &mut Work<'_>, agent: &Object<Self>) -> Result<(), Failure> {
        let bindings = Query::<AgentBinding>::new().column("agent_id", [agent.id.to_string()]);
        for binding in work.ask.app.store.list(&bindings).await? {
            work.step(|batch| batch.remove(&binding));
        }
        work.step(|batch| batch.remove(agent).unless_referenced::<AgentBinding>("agent_id", agent.id.as_str()));
        Ok(())
    }
}

fn bad(text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", text)
}

/// What an agent says of itself, read over what is known of it.
fn said(agent: &mut AgentDesired, body: &Map<String, Value>) -> Result<(), Failure> {
    for (name, v) in body {
        let wrong = |why: String| bad(format!("Invalid input for {name}. Reason: {why}."));
        match name.as_str() {
            // Read before: it says which agent it is.
            "agent_type" => {}
            "binary" => agent.binary = value::text(v, 255).map_err(wrong)?,
            "topic" => agent.topic = value::text(v, 255).map_err(wrong)?,
            "availability_zone" => agent.availability_zone = value::text(v, 255).map_err(wrong)?,
            "configurations" => agent.configurations = v.as_object().cloned().ok_or_else(|| wrong(format!("'{v}' is not a dictionary")))?,
            "resources_synced" => {
                agent.resources_synced = if v.is_null() { None } else { Some(value::boolean(v).map_err(wrong)?) };
            }
            "started" => {
                if value::boolean(v).map_err(wrong)? {
                    agent.started_at = agent.heartbeat_at;
                }
            }
            _ => return Err(bad(format!("Unrecognized attribute(s) '{name}'"))),
        }
    }
    Ok(())
}

/// `PUT /v2.0/cofferdam/agents/{host}`: an agent says that it is there, and how it is set up. For services and administrators.
async fn heartbeat(ask: Ask, Path(host): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let nobody = Value::Object(Map::new());
    if !allows(&ask.app, &ask.caller, "service_api", &nobody) {
        enforce(&ask.app, &ask.caller, "network:context_is_admin", &nobody)?;
    }
    let body = parse(&body)?;
    let body = rooted(&body, "agent")?;
    let agent_type = match body.get("agent_type").map(|it| value::text(it, 255)) {
        Some(Ok(text)) if !text.is_empty() => text,
        Some(Err(why)) => return Err(bad(format!("Invalid input for agent_type. Reason: {why}."))),
        _ => return Err(bad("Failed to parse request. Required attribute 'agent_type' not specified")),
    };
    if host.is_empty() || host.chars().count() > 255 {
        return Err(bad("Invalid input for host. Reason: it has 1 to 255 characters."));
    }
    let id = AgentDesired::id_of(&agent_type, &host);
    for _ in 0..RACES {
        let now = Timestamp::now();
        let (agent, batch) = match ask.app.store.get(&id).await? {
            Some(before) => {
                let mut after = before.clone();
                let was_alive = is_alive(&before);
                after.desired.heartbeat_at = now;
                if !was_alive {
                    after.desired.started_at = now;
                }
                said(&mut after.desired, body)?;
                let batch = Batch::wishes().want(&after);
                (after, batch)
            }
            None => {
                let mut desired = AgentDesired {
                    agent_type: agent_type.clone(),
                    host: host.clone(),
                    binary: String::new(),
                    topic: String::new(),
                    availability_zone: String::new(),
                    admin_state_up: true,
                    description: String::new(),
                    configurations: Map::new(),
                    started_at: now,
                    heartbeat_at: now,
                    resources_synced: None,
                };
                said(&mut desired, body)?;
                let made = Object::new(id.clone(), None, "", desired);
                let batch = Batch::wishes().create(&made);
                (made, batch)
            }
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(Json(json!({"agent": value_of::<Agent>(&ask, &agent, &())}))),
            Err(StoreError::Exists { .. }) => {}
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// The zones there are: by name and what runs there, whether any agent there takes work.
async fn zones(ask: &Ask) -> Result<BTreeMap<(String, &'static str), bool>, Failure> {
    let mut zones = BTreeMap::new();
    for agent in ask.app.store.list_few(&Query::<Agent>::new()).await? {
        let resource = match agent.desired.agent_type.as_str() {
            DHCP => "network",
            L3 => "router",
            _ => continue,
        };
        if !agent.desired.availability_zone.is_empty() {
            *zones.entry((agent.desired.availability_zone, resource)).or_default() |= agent.desired.admin_state_up;
        }
    }
    Ok(zones)
}

/// Checks that all the zones are there which hints name.
///
/// # Errors
/// `AvailabilityZoneNotFound`.
pub(super) async fn check_zones(ask: &Ask, resource: &'static str, hints: &[String]) -> Result<(), Failure> {
    if hints.is_empty() {
        return Ok(());
    }
    let zones = zones(ask).await?;
    match hints.iter().find(|it| !zones.contains_key(&((*it).clone(), resource))) {
        Some(missing) => {
            let text = format!("AvailabilityZone {missing} could not be found.");
            Err(Failure::named(StatusCode::NOT_FOUND, "AvailabilityZoneNotFound", text))
        }
        None => Ok(()),
    }
}

async fn list_zones(ask: Ask) -> Result<Json<Value>, Failure> {
    enforce(&ask.app, &ask.caller, "get_availability_zone", &Value::Object(Map::new()))?;
    let all = zones(&ask).await?.into_iter().map(|((name, resource), is_available)| {
        json!({"name": name, "resource": resource, "state": if is_available { "available" } else { "unavailable" }})
    });
    let names = ["name", "resource", "state"];
    let unknown = |name: &&str| !names.contains(name) && !CONTROLS.contains(name);
    if let Some(name) = ask.parameters.0.iter().map(|(name, _)| name.as_str()).find(unknown) {
        return Err(super::allocation::invalid(format!("'{name}' is not supported for filtering")));
    }
    Ok(Json(json!({"availability_zones": filtered(&ask, &names, all.collect())})))
}

/// Parameters that are not filters.
const CONTROLS: [&str; 6] = ["fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"];

/// A short list that is not kept in the store: filtered by these fields, with those fields that are asked for.
///
/// # Errors
/// A parameter is none of the filters.
pub(super) fn plain_list(ask: &Ask, filters: &[&str], all: Vec<Value>) -> Result<Vec<Value>, Failure> {
    let unknown = |name: &&str| !filters.contains(name) && !CONTROLS.contains(name);
    let unknown: Vec<String> = ask.parameters.0.iter().map(|(name, _)| name.as_str()).filter(unknown).map(|it| format!("'{it}'")).collect();
    if unknown.is_empty() {
        return Ok(filtered(ask, filters, all));
    }
    Err(bad(format!("[{}] is invalid attribute for filtering", unknown.join(", "))))
}

/// The same, whatever other parameters there are.
pub(super) fn filtered(ask: &Ask, filters: &[&str], mut all: Vec<Value>) -> Vec<Value> {
    let fits = |it: &Value, name: &str| {
        let mut wanted = ask.parameters.all(name).peekable();
        wanted.peek().is_none() || it.get(name).is_some_and(|has| wanted.any(|wanted| equals(has, wanted)))
    };
    all.retain(|it| filters.iter().all(|name| fits(it, name)));
    let fields = ask.parameters.fields();
    for it in all.iter_mut().filter_map(Value::as_object_mut).filter(|_| !fields.is_empty()) {
        it.retain(|name, _| fields.contains(name));
    }
    all
}

/// The target of rules that look at nobody's things.
pub(super) fn nobodys() -> Target {
    Value::Object(Map::new())
}
