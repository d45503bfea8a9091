//! Which agent serves which network or router: `/v2.0/agents/{id}/dhcp-networks`, `/v2.0/agents/{id}/l3-routers`, and the same from the
//! other side.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete as on_delete, get};
use axum::{Json, Router};
use http::StatusCode;
use model::net::Network;
use model::net::l3::Router as NetworkRouter;
use model::net::operation::{Agent, AgentBinding, AgentBindingDesired};
use model::{Id, Kind as _, Object};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError};

use super::agents::{DHCP, L3, nobodys};
use super::noun::{Noun, find, value_of};
use super::{Ask, Extension, extension};
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::resource::parse;

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("dhcp_agent_scheduler", "DHCP Agent Scheduler", "Schedule networks among dhcp agents", "2013-02-07T10:00:00-00:00"),
    extension("l3_agent_scheduler", "L3 Agent Scheduler", "Schedule routers among l3 agents", "2013-02-07T10:00:00-00:00"),
];

/// A kind of thing that agents serve.
trait Served: Noun {
    /// The type of agents that do.
    const AGENT: &'static str;
    /// The name of its id in a body.
    const ID: &'static str;
    /// What rules call them: to list, to add, to remove them, and to list their agents.
    const RULES: [&'static str; 4];
    /// What is said of an agent that does not serve such, or takes no work.
    fn wrong_agent(agent: &Id<Agent>) -> Failure;
    /// What is said of a thing that the agent serves already, or does not serve: by the exception's name and text.
    fn served(is_served: bool, id: &str, agent: &Id<Agent>) -> Failure;
}

impl Served for Network {
    const AGENT: &'static str = DHCP;
    const ID: &'static str = "network_id";
    const RULES: [&'static str; 4] = ["get_dhcp-networks", "create_dhcp-network", "delete_dhcp-network", "get_dhcp-agents"];

    fn wrong_agent(agent: &Id<Agent>) -> Failure {
        let text = format!("Agent {agent} is not a valid DHCP Agent or has been disabled.");
        Failure::named(StatusCode::NOT_FOUND, "InvalidDHCPAgent", text)
    }

    fn served(is_served: bool, id: &str, agent: &Id<Agent>) -> Failure {
        let (kind, text) = if is_served {
            ("NetworkHostedByDHCPAgent", format!("The network {id} has been already hosted by the DHCP Agent {agent}."))
        } else {
            ("NetworkNotHostedByDhcpAgent", format!("The network {id} is not hosted by the DHCP Agent {agent}."))
        };
        Failure::named(StatusCode::CONFLICT, kind, text)
    }
}

impl Served for NetworkRouter {
    const AGENT: &'static str = L3;
    const ID: &'static str = "router_id";
    const RULES: [&'static str; 4] = ["get_l3-routers", "create_l3-router", "delete_l3-router", "get_l3-agents"];

    fn wrong_agent(agent: &Id<Agent>) -> Failure {
        let text = format!("Agent {agent} is not a L3 Agent or has been disabled");
        Failure::named(StatusCode::NOT_FOUND, "InvalidL3Agent", text)
    }

    fn served(is_served: bool, id: &str, agent: &Id<Agent>) -> Failure {
        let (kind, text) = if is_served {
            ("RouterHostedByL3Agent", format!("The router {id} has been already hosted by the L3 Agent {agent}."))
        } else {
            ("RouterNotHostedByL3Agent", format!("The router {id} is not hosted by the L3 Agent {agent}."))
        };
        Failure::named(StatusCode::CONFLICT, kind, text)
    }
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(paths::<Network>("dhcp-networks", "/networks/{id}/dhcp-agents"))
        .merge(paths::<NetworkRouter>("l3-routers", "/routers/{id}/l3-agents"))
}

fn paths<K: Served>(collection: &str, agents: &str) -> Router<Arc<App>> {
    Router::new()
        .route(&format!("/agents/{{id}}/{collection}"), get(list::<K>).post(add::<K>))
        .route(&format!("/agents/{{id}}/{collection}/{{served}}"), on_delete(remove::<K>))
        .route(agents, get(agents_of::<K>))
}

fn may(ask: &Ask, rule: &str) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, &nobodys())
}

async fn bindings(ask: &Ask, column: &'static str, id: &str) -> Result<Vec<Object<AgentBinding>>, Failure> {
    Ok(ask.app.store.list(&Query::<AgentBinding>::new().column(column, [id.to_owned()])).await?)
}

async fn shown<K: Noun>(ask: &Ask, ids: Vec<String>) -> Result<Vec<Value>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let objects = ask.app.store.list(&Query::<K>::new().ids(ids)).await?;
    let around = K::around(ask, &objects).await?;
    Ok(objects.iter().map(|it| value_of(ask, it, &around)).collect())
}

async fn list<K: Served>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let [rule, ..] = K::RULES;
    may(&ask, rule)?;
    let (agent, ()) = find::<Agent>(&ask, &id).await?;
    let served = bindings(&ask, "agent_id", agent.id.as_str()).await?;
    let shown = shown::<K>(&ask, served.into_iter().map(|it| it.desired.served).collect()).await?;
    Ok(Json(json!({ K::form().plural: shown })))
}

async fn add<K: Served>(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Response, Failure> {
    let [_, rule, ..] = K::RULES;
    may(&ask, rule)?;
    let body = parse(&body)?;
    let served = body.get(K::ID).and_then(Value::as_str).ok_or_else(|| {
        let text = format!("Failed to parse request. Required attribute '{}' not specified", K::ID);
        Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", text)
    })?;
    let (thing, _) = find::<K>(&ask, served).await?;
    let (agent, ()) = find::<Agent>(&ask, &id).await?;
    if agent.desired.agent_type != K::AGENT || !agent.desired.admin_state_up {
        return Err(K::wrong_agent(&agent.id));
    }
    let desired = AgentBindingDesired { agent_id: agent.id.clone(), served: thing.id.to_string() };
    let binding = Object::<AgentBinding>::new(AgentBindingDesired::id_of(&agent.id, thing.id.as_str()), None, "", desired);
    match ask.app.store.apply(Batch::wishes().require(&thing.id).require(&agent.id).create(&binding)).await {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => return Err(K::served(true, served, &agent.id)),
        Err(StoreError::Stale { kind: Agent::NAME, .. }) => return Err(Agent::form().missing(&id)),
        Err(StoreError::Stale { .. }) => return Err(K::form().missing(served)),
        Err(error) => return Err(error.into()),
    }
    Ok((StatusCode::CREATED, Json(Value::Null)).into_response())
}

async fn remove<K: Served>(ask: Ask, Path((id, served)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let [_, _, rule, _] = K::RULES;
    may(&ask, rule)?;
    let (agent, ()) = find::<Agent>(&ask, &id).await?;
    let not_served = || K::served(false, &served, &agent.id);
    let binding = ask.app.store.get(&AgentBindingDesired::id_of(&agent.id, &served)).await?.ok_or_else(not_served)?;
    match ask.app.store.apply(Batch::wishes().remove(&binding)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // Somebody removed it as well.
        Err(StoreError::Stale { .. }) => Err(not_served()),
        Err(error) => Err(error.into()),
    }
}

async fn agents_of<K: Served>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let [.., rule] = K::RULES;
    may(&ask, rule)?;
    let served = bindings(&ask, "served", &id).await?;
    let shown = shown::<Agent>(&ask, served.into_iter().map(|it| it.desired.agent_id.to_string()).collect()).await?;
    Ok(Json(json!({ "agents": shown })))
}
