//! `/v1/clusters` and `/v1/stats`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{Node, ProvisionState, is_busy};
use model::container_infra::{Cluster, ClusterDesired, ClusterStatus, ClusterTemplate};
use model::identity::Project;
use model::image_compute::{Flavor, Keypair, normalise_class};
use model::{Id, Object};
use serde_json::{Value, json};
use store::{Batch, Query, Severity, StoreError};

use super::policies::{of_cluster, of_project};
use super::request::ClusterRequest;
use super::template;
use super::{Ask, labels, wire};
use crate::failure::Failure;
use crate::json_patch;
use crate::page::{self, Parameters};

/// Most clusters of a project (Magnum's default).
const QUOTA: u64 = 20;

/// The cluster of that id or name.
///
/// # Errors
/// `NotFound`, also for what the caller does not see; `Conflict` if several have the name.
pub(super) async fn find(ask: &Ask, ident: &str) -> Result<Object<Cluster>, Failure> {
    let sees = |it: &Object<Cluster>| ask.may("cluster:get", &of_cluster(it));
    if let Some(id) = Id::parse(ident)
        && let Some(found) = ask.app.store.get(&id).await?.filter(sees)
    {
        return Ok(found);
    }
    let mut named = ask.app.store.list(&Query::<Cluster>::new().name(ident).with_deleted()).await?;
    named.retain(|it| sees(it) && !ident.is_empty());
    match (named.pop(), named.is_empty()) {
        (Some(found), true) => Ok(found),
        (None, _) => Err(Failure::not_found("Cluster", ident)),
        _ => Err(Failure::Conflict("Multiple clusters exist with same name. Please use the cluster uuid instead.".into())),
    }
}

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, "cluster:get_all", "clusters", wire::cluster_brief).await
}

pub(super) async fn list_detail(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, "cluster:detail", "clusters/detail", wire::cluster).await
}

async fn listing(
    ask: &Ask,
    query: &std::collections::HashMap<String, String>,
    rule: &str,
    path: &str,
    show: fn(&Object<Cluster>, &str) -> Value,
) -> Result<Response, Failure> {
    ask.require(rule, &ask.own())?;
    let mut found: Vec<Object<Cluster>> = ask.app.store.list(&Query::<Cluster>::new().with_deleted()).await?;
    found.retain(|it| ask.may("cluster:get", &of_cluster(it)));
    template::sort(&mut found, query, |it, key| wire::cluster(it, "").get(key).cloned())?;
    let (found, next) = page::cut(found, query, |it| it.id.as_str())?;
    let items = found.iter().map(|it| show(it, &ask.base)).collect();
    Ok(page::answer("clusters", items, next.map(|marker| page::next(&format!("{}/v1/{path}", ask.base), query, &marker))))
}

pub(super) async fn show(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let cluster = find(&ask, &ident).await?;
    Ok(Json(wire::cluster(&cluster, &ask.base)).into_response())
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    ask.require("cluster:create", &ask.own())?;
    let project = ask.caller.project()?.clone();
    let Value::Object(body) = body else { return Err(Failure::BadRequest("a cluster is an object".into())) };
    let request = ClusterRequest::read(&body).map_err(Failure::BadRequest)?;
    for _ in 0..crate::race::RACES {
        let template = match template::find(&ask, &request.template).await {
            Err(Failure::NotFound { .. }) => {
                return Err(Failure::BadRequest(format!("ClusterTemplate {} could not be found.", request.template)));
            }
            other => other?,
        };
        let owner = ask.app.store.get::<Project>(&project).await?.ok_or_else(|| Failure::not_found("Project", project.as_str()))?;
        quota(&ask, &project).await?;
        let (flavor, master_flavor) = flavors(&ask, &request, &template).await?;
        capacity(&ask, &request, &flavor, &master_flavor, &project).await?;
        let desired = desired(&ask, &request, &template, &flavor, &master_flavor).await?;
        let cluster = Object::new(Id::<Cluster>::random(), Some(project.clone()), request.name.clone(), desired);
        // Writing the project makes two creations at once meet, so that the quota holds for both.
        let batch = Batch::wishes().require(&template.id).require(&flavor.id).require(&master_flavor.id);
        let batch = batch.require(&template.desired.image_id).want(&owner).create(&cluster).wake(&cluster.id);
        let detail = json!({"user": ask.caller.user_id, "template": template.id});
        match ask.app.store.apply(batch.history(&cluster.id, Severity::Info, "CREATE_IN_PROGRESS", &detail)).await {
            Ok(()) => return Ok((StatusCode::ACCEPTED, Json(json!({ "uuid": cluster.id }))).into_response()),
            Err(StoreError::Stale { kind: "image", id }) => {
                return Err(Failure::BadRequest(format!("The template's image {id} does not exist any more.")));
            }
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("the project is being changed by others; try again".into()))
}

async fn quota(ask: &Ask, project: &Id<Project>) -> Result<(), Failure> {
    let count = ask.app.store.count(&Query::<Cluster>::new().project(project).with_deleted()).await?;
    if count >= QUOTA {
        return Err(Failure::Forbidden(format!(
            "You have reached the maximum clusters per project, {QUOTA}. You may delete a cluster to make room for a new one."
        )));
    }
    Ok(())
}

/// The flavors of workers and managers.
async fn flavors(
    ask: &Ask,
    request: &ClusterRequest,
    template: &Object<ClusterTemplate>,
) -> Result<(Object<Flavor>, Object<Flavor>), Failure> {
    let from = &template.desired;
    let worker = request.flavor.clone().or_else(|| from.flavor_id.as_ref().map(ToString::to_string));
    let worker = worker.ok_or_else(|| Failure::BadRequest("flavor_id: neither the cluster nor its template names one".into()))?;
    let master = request.master_flavor.clone().or_else(|| from.master_flavor_id.as_ref().map(ToString::to_string));
    let master = master.unwrap_or_else(|| worker.clone());
    Ok((template::flavor_of(ask, &worker).await?, template::flavor_of(ask, &master).await?))
}

/// Refuses a cluster for which there are not enough machines now; that they are still there later is seen when they are taken.
async fn capacity(
    ask: &Ask,
    request: &ClusterRequest,
    flavor: &Object<Flavor>,
    master_flavor: &Object<Flavor>,
    project: &Id<Project>,
) -> Result<(), Failure> {
    let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
    for (flavor, count) in [(flavor, request.node_count), (master_flavor, request.master_count)] {
        *wanted.entry(flavor.desired.resource_class().unwrap_or_default()).or_default() += count;
    }
    let promised = promised(ask).await?;
    let query = Query::<Node>::new().column("provision_state", [ProvisionState::Available.as_str().to_owned()]).unset("instance_uuid");
    let nodes = ask.app.store.list(&query).await?;
    let is_ours = |who: &Option<String>| who.as_deref().is_none_or(|it| it == project.as_str());
    for (class, count) in wanted {
        let fits = |node: &&Object<Node>| {
            !is_busy(node)
                && !node.desired.maintenance
                && node.desired.resource_class.as_deref().map(normalise_class).as_deref() == Some(class.as_str())
                && is_ours(&node.desired.owner)
                && is_ours(&node.desired.lessee)
        };
        let free = u32::try_from(nodes.iter().filter(fits).count()).unwrap_or(u32::MAX);
        let free = free.saturating_sub(promised.get(&class).copied().unwrap_or(0));
        if free < count {
            return Err(Failure::Conflict(format!("Not enough machines of class {class} are available: {count} wanted, {free} free.")));
        }
    }
    Ok(())
}

/// Machines by class that clusters being made are still to take.
async fn promised(ask: &Ask) -> Result<BTreeMap<String, u32>, Failure> {
    let mut out: BTreeMap<String, u32> = BTreeMap::new();
    let mut classes: BTreeMap<String, String> = BTreeMap::new();
    for cluster in ask.app.store.list(&Query::<Cluster>::new()).await? {
        if cluster.observed.status != ClusterStatus::CreateInProgress {
            continue;
        }
        let desired = &cluster.desired;
        for (is_master, flavor, count) in
            [(true, &desired.master_flavor_id, desired.master_count), (false, &desired.flavor_id, desired.node_count)]
        {
            let class = match classes.get(flavor.as_str()) {
                Some(class) => class.clone(),
                None => {
                    let found = ask.app.store.get::<Flavor>(flavor).await?;
                    let class = found.and_then(|it| it.desired.resource_class()).unwrap_or_default();
                    classes.insert(flavor.to_string(), class.clone());
                    class
                }
            };
            let taken = cluster.observed.members.iter().filter(|it| it.is_master == is_master && it.node_id.is_some()).count();
            *out.entry(class).or_default() += count.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        }
    }
    Ok(out)
}

async fn desired(
    ask: &Ask,
    request: &ClusterRequest,
    template: &Object<ClusterTemplate>,
    flavor: &Object<Flavor>,
    master_flavor: &Object<Flavor>,
) -> Result<ClusterDesired, Failure> {
    let own = request.labels.clone();
    let labels = match own {
        None => template.desired.labels.clone(),
        Some(own) if request.merge_labels => {
            let mut all = template.desired.labels.clone();
            all.extend(own);
            all
        }
        Some(own) => own,
    };
    let mut from = template.desired.clone();
    from.fixed_subnet_cidr = labels::cidr(&labels, request.master_count + request.node_count).map_err(Failure::BadRequest)?;
    let keypair = request.keypair.clone().or_else(|| from.keypair_id.clone());
    let user = ask.caller.user_id.as_str();
    let public_key = match &keypair {
        None => None,
        Some(name) => {
            let found = ask.app.store.get::<Keypair>(&crate::compute::keypair_id(user, name)).await?;
            Some(found.ok_or_else(|| Failure::not_found("Keypair", name))?.desired.public_key)
        }
    };
    // Making a key takes a moment of computing.
    let name = format!("{} authority", request.name);
    let authority = tokio::task::spawn_blocking(move || pki::Authority::generate(&name, SystemTime::now())).await;
    let authority =
        authority.map_err(|error| Failure::Internal(error.to_string()))?.map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(ClusterDesired {
        user_id: user.to_owned(),
        cluster_template_id: template.id.clone(),
        template: from,
        master_count: request.master_count,
        node_count: request.node_count,
        flavor_id: flavor.id.clone(),
        master_flavor_id: master_flavor.id.clone(),
        keypair,
        public_key,
        labels,
        create_timeout_minutes: request.create_timeout_minutes,
        ca_cert_pem: authority.cert_pem,
        ca_key_pem: authority.key_pem,
    })
}

/// Nothing of a cluster changes once it is made, yet: a patch that asks for what already is succeeds, any other is refused by name.
pub(super) async fn update(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let operations = json_patch::parse(&body).map_err(|error| Failure::BadRequest(error.0))?;
    let cluster = find(&ask, &ident).await?;
    ask.require("cluster:update", &of_cluster(&cluster))?;
    let node_count = json!(cluster.desired.node_count);
    for operation in &operations {
        let same = match &operation.change {
            json_patch::Change::Add(value) | json_patch::Change::Replace(value) => *value == node_count,
            json_patch::Change::Remove => false,
        };
        match operation.attribute() {
            "node_count" if same => {}
            "node_count" => return Err(Failure::BadRequest("node_count: growing and shrinking a cluster is not offered".into())),
            other => return Err(Failure::BadRequest(format!("cannot change cluster property(ies) {other}."))),
        }
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "uuid": cluster.id }))).into_response())
}

pub(super) async fn delete(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let cluster = find(&ask, &ident).await?;
        ask.require("cluster:delete", &of_cluster(&cluster))?;
        if cluster.is_deleting() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let detail = json!({"user": ask.caller.user_id});
        let batch = Batch::wishes().mark_deleted(&cluster).history(&cluster.id, Severity::Info, "DELETE_IN_PROGRESS", &detail);
        match ask.app.store.apply(batch.wake(&cluster.id)).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("cluster {ident} is being changed by others; try again")))
}

/// `GET /v1/stats`, since 1.4: how much there is, of a project or for administrators of all.
pub(super) async fn stats(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    if ask.version < crate::microversion::Version(1, 4) {
        return Err(Failure::NoRoute);
    }
    let asked = query.get("project_id").map(String::as_str);
    let own = ask.caller.project_id.as_ref().map(Id::as_str);
    ask.require("stats:get_all", &of_project(asked.or(own)))?;
    let is_admin = ask.may("container-infra:context_is_admin", &ask.own());
    let project = asked.or(if is_admin { None } else { own });
    let mut clusters = ask.app.store.list(&Query::<Cluster>::new().with_deleted()).await?;
    clusters.retain(|it| project.is_none_or(|project| it.project_id.as_ref().map(Id::as_str) == Some(project)));
    let nodes: u64 = clusters.iter().map(|it| u64::from(it.desired.master_count) + u64::from(it.desired.node_count)).sum();
    Ok(Json(json!({"clusters": clusters.len(), "nodes": nodes})).into_response())
}
