//! `/v2.0/auto-allocated-topology`: a network with a way out for projects that want no more than that, made when it is asked for.
//!
//! Source: `neutron/services/auto_allocate/db.py`. It is made of calls of the API's own, in the caller's name, and of all or nothing in the
//! end: what was made in vain is taken away again.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router as Routes};
use http::StatusCode;
use model::identity::Project;
use model::net::l3::Router;
use model::net::pools::SubnetPool;
use model::net::{Network, Subnet};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Work, create, delete, update};
use super::policies::of_project;
use super::{Ask, Extension, extension, networks, router_interfaces, subnetpools};
use crate::App;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;

pub(super) const EXTENSIONS: &[Extension] = &[extension(
    "auto-allocated-topology",
    "Auto Allocated Topology Services",
    "Auto Allocated Topology Services.",
    "2016-01-01T00:00:00-00:00",
)];

/// The pool of values in which it is written which project has which topology: held by the network's and the router's id.
const TOPOLOGIES: &str = "auto-allocated-topology";
/// What is asked for when nothing is to be made.
const DRY_RUN: &str = "dry-run";

pub(super) fn routes() -> Routes<Arc<App>> {
    Routes::new().route(
        "/auto-allocated-topology/{project}",
        get(async |ask: Ask, Path(project): Path<String>| shown(&ask, &project).await)
            .delete(async |ask: Ask, Path(project): Path<String>| removed(&ask, &project).await),
    )
}

fn failed(why: &str) -> Failure {
    Failure::named(StatusCode::CONFLICT, "AutoAllocationFailure", format!("Deployment error: {why}."))
}

/// The project that is meant: the caller's if none is named.
fn project(ask: &Ask, named: &str, rule: &str) -> Result<Id<Project>, Failure> {
    let own = ask.caller.project()?;
    let id = if named == "None" || named == "null" { Some(own.clone()) } else { Id::parse(named) };
    let none = || Failure::named(StatusCode::FORBIDDEN, "NotAuthorized", "Not authorized.");
    let id = id.ok_or_else(none)?;
    let is_admin = allows(&ask.app, &ask.caller, "network:context_is_admin", &of_project(Some(&id)));
    if !is_admin && id != *own {
        return Err(none());
    }
    enforce(&ask.app, &ask.caller, rule, &of_project(Some(&id)))?;
    Ok(id)
}

/// A topology: its network and its router.
struct Topology {
    network: Id<Network>,
    router: Id<Router>,
}

async fn found(ask: &Ask, project: &Id<Project>) -> Result<Option<Topology>, Failure> {
    let held = ask.app.store.allocation(TOPOLOGIES, project.as_str()).await?;
    Ok(held.and_then(|it| {
        let (network, router) = it.holder.split_once(' ')?;
        Some(Topology { network: Id::parse(network)?, router: Id::parse(router)? })
    }))
}

async fn default_network(ask: &Ask) -> Result<String, Failure> {
    let held = ask.app.store.allocation(networks::DEFAULT.0, networks::DEFAULT.1).await?;
    held.map(|it| it.holder).ok_or_else(|| failed("No default router:external network"))
}

async fn default_pools(ask: &Ask) -> Result<Vec<(u8, Object<SubnetPool>)>, Failure> {
    let mut pools = Vec::new();
    for version in [4, 6] {
        pools.extend(subnetpools::default_pool(ask, version).await?.map(|it| (version, it)));
    }
    Ok(pools)
}

async fn shown(ask: &Ask, named: &str) -> Result<Json<Value>, Failure> {
    let project = project(ask, named, "get_auto_allocated_topology")?;
    let fields = ask.parameters.fields();
    let answer = |id: &str| Json(json!({"auto_allocated_topology": {"id": id, "project_id": project, "tenant_id": project}}));
    if fields.iter().any(|it| it == DRY_RUN) {
        default_network(ask).await?;
        if default_pools(ask).await?.is_empty() {
            return Err(failed("No default subnetpools defined"));
        }
        return Ok(answer("dry-run=pass"));
    }
    if !fields.is_empty() {
        return Err(Failure::named(StatusCode::BAD_REQUEST, "BadRequest", "Bad auto_allocate request: Unrecognized field."));
    }
    if let Some(there) = found(ask, &project).await? {
        return Ok(answer(there.network.as_str()));
    }
    let outside = default_network(ask).await?;
    let made = build(ask, &project, &outside).await?;
    let holder = format!("{} {}", made.network, made.router);
    let mut work = Work::new(ask, 0);
    let taken = || failed("Another topology is being made");
    work.value_taken_means(TOPOLOGIES, project.as_str(), taken());
    work.step(|batch| batch.hold(TOPOLOGIES, project.as_str(), &holder));
    match work.apply().await {
        Ok(true) => Ok(answer(made.network.as_str())),
        Ok(false) | Err(_) => {
            // Somebody else was first: theirs it is.
            take_away(ask, &made).await?;
            let there = found(ask, &project).await?.ok_or_else(taken)?;
            Ok(answer(there.network.as_str()))
        }
    }
}

fn body(value: Value) -> Body {
    match value {
        Value::Object(map) => map,
        _ => Body::new(),
    }
}

/// The one thing that a body makes.
fn one<K>(mut made: Vec<K>) -> Result<K, Failure> {
    made.pop().ok_or_else(|| Failure::Internal("nothing was made".to_owned()))
}

async fn build(ask: &Ask, project: &Id<Project>, outside: &str) -> Result<Topology, Failure> {
    let wanted = json!({"name": "auto_allocated_network", "admin_state_up": false, "project_id": project});
    let network: Object<Network> = one(create(ask, &[body(wanted)]).await?)?;
    let subnets = match subnets(ask, project, &network).await {
        Ok(subnets) => subnets,
        Err(failure) => {
            delete::<Network>(ask, network.id.as_str()).await?;
            return Err(failure);
        }
    };
    let router = json!({"name": "auto_allocated_router", "project_id": project, "external_gateway_info": {"network_id": outside}});
    let router: Object<Router> = match create(ask, &[body(router)]).await.and_then(one) {
        Ok(router) => router,
        Err(failure) => {
            delete::<Network>(ask, network.id.as_str()).await?;
            return Err(if failure.status() == StatusCode::BAD_REQUEST {
                failed("Unable to provide external connectivity")
            } else {
                failure
            });
        }
    };
    let made = Topology { network: network.id, router: router.id };
    for subnet in &subnets {
        let wanted = Bytes::from(json!({"subnet_id": subnet.id}).to_string());
        if let Err(failure) = router_interfaces::add(ask, made.router.as_str(), &wanted).await {
            take_away(ask, &made).await?;
            return Err(failure);
        }
    }
    if let Err(failure) = update::<Network>(ask, made.network.as_str(), &body(json!({"admin_state_up": true}))).await {
        take_away(ask, &made).await?;
        return Err(failure);
    }
    Ok(made)
}

/// A subnet from each default pool.
async fn subnets(ask: &Ask, project: &Id<Project>, network: &Object<Network>) -> Result<Vec<Object<Subnet>>, Failure> {
    let mut made = Vec::new();
    for (version, pool) in default_pools(ask).await? {
        let wanted = json!({
            "name": format!("auto_allocated_subnet_v{version}"),
            "network_id": network.id,
            "project_id": project,
            "ip_version": version,
            "subnetpool_id": pool.id,
        });
        made.extend(create::<Subnet>(ask, &[body(wanted)]).await?);
    }
    if made.is_empty() { Err(failed("Unable to provide project private network")) } else { Ok(made) }
}

/// What is not there any more need not be taken away.
fn unless_gone<T>(done: Result<T, Failure>) -> Result<(), Failure> {
    match done {
        Err(failure) if failure.status() != StatusCode::NOT_FOUND => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn take_away(ask: &Ask, topology: &Topology) -> Result<(), Failure> {
    let subnets = Query::<Subnet>::new().column("network_id", [topology.network.to_string()]);
    for subnet in ask.app.store.list(&subnets).await? {
        let wanted = Bytes::from(json!({"subnet_id": subnet.id}).to_string());
        unless_gone(router_interfaces::remove(ask, topology.router.as_str(), &wanted).await)?;
    }
    unless_gone(delete::<Router>(ask, topology.router.as_str()).await)?;
    unless_gone(delete::<Network>(ask, topology.network.as_str()).await)
}

async fn removed(ask: &Ask, named: &str) -> Result<StatusCode, Failure> {
    let project = project(ask, named, "delete_auto_allocated_topology")?;
    if let Some(topology) = found(ask, &project).await? {
        take_away(ask, &topology).await?;
        let mut work = Work::new(ask, 0);
        work.step(|batch| batch.free(TOPOLOGIES, project.as_str()));
        work.apply().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
