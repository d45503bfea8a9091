//! `/v1/clustertemplates`.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use model::container_infra::{Cluster, ClusterTemplate, ClusterTemplateDesired};
use model::image_compute::{Flavor, Image, ImageStatus};
use model::net::Network;
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError};

use super::policies::of_template;
use super::request::TemplateRequest;
use super::{Ask, labels, wire};
use crate::failure::Failure;
use crate::image;
use crate::json_patch;
use crate::page::{self, Parameters};

/// What is public is as good as the caller's own, to be seen.
fn sees(ask: &Ask, template: &Object<ClusterTemplate>) -> bool {
    let rule = "clustertemplate:get";
    ask.may(rule, &of_template(template)) || (template.desired.public && ask.may(rule, &ask.own()))
}

/// The template of that id or name.
///
/// # Errors
/// `NotFound`, also for what the caller does not see; `Conflict` if several have the name.
pub(super) async fn find(ask: &Ask, ident: &str) -> Result<Object<ClusterTemplate>, Failure> {
    if let Some(id) = Id::parse(ident)
        && let Some(found) = ask.app.store.get(&id).await?.filter(|it| sees(ask, it))
    {
        return Ok(found);
    }
    let mut named = ask.app.store.list(&Query::<ClusterTemplate>::new().name(ident)).await?;
    named.retain(|it| sees(ask, it) && !ident.is_empty());
    match (named.pop(), named.is_empty()) {
        (Some(found), true) => Ok(found),
        (None, _) => Err(Failure::not_found("ClusterTemplate", ident)),
        _ => Err(Failure::Conflict("Multiple ClusterTemplates exist with same name. Please use the ClusterTemplate uuid instead.".into())),
    }
}

pub(super) async fn list(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, "clustertemplate:get_all").await
}

pub(super) async fn list_detail(ask: Ask, Parameters(query): Parameters) -> Result<Response, Failure> {
    listing(&ask, &query, "clustertemplate:detail").await
}

async fn listing(ask: &Ask, query: &HashMap<String, String>, rule: &str) -> Result<Response, Failure> {
    ask.require(rule, &ask.own())?;
    let lists_hidden = ask.may("clustertemplate:get_all_all_projects", &ask.own());
    let mut found: Vec<Object<ClusterTemplate>> = ask.app.store.list(&Query::<ClusterTemplate>::new()).await?;
    found.retain(|it| sees(ask, it) && (!it.desired.hidden || lists_hidden));
    sort(&mut found, query, |it, key| wire::template(it, "").get(key).cloned())?;
    let (found, next) = page::cut(found, query, |it| it.id.as_str())?;
    let items = found.iter().map(|it| wire::template(it, &ask.base)).collect();
    Ok(page::answer("clustertemplates", items, next.map(|marker| page::next(&format!("{}/v1/clustertemplates", ask.base), query, &marker))))
}

/// Sorts by a text or number attribute.
pub(super) fn sort<T>(items: &mut [T], query: &HashMap<String, String>, value: impl Fn(&T, &str) -> Option<Value>) -> Result<(), Failure> {
    if let Some(key) = query.get("sort_key").filter(|key| *key != "id") {
        let rank = |item: &T| match value(item, key) {
            Some(Value::Number(number)) => (number.as_u64().unwrap_or(0), String::new()),
            Some(Value::String(text)) => (0, text),
            _ => (0, String::new()),
        };
        if let Some(first) = items.first()
            && value(first, key).is_none()
        {
            return Err(Failure::BadRequest(format!("The sort_key value '{key}' is an invalid field for sorting.")));
        }
        items.sort_by_key(rank);
    }
    if page::descending(query)? {
        items.reverse();
    }
    Ok(())
}

pub(super) async fn show(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    let template = find(&ask, &ident).await?;
    Ok(Json(wire::template(&template, &ask.base)).into_response())
}

pub(super) async fn create(ask: Ask, Json(body): Json<Value>) -> Result<Response, Failure> {
    ask.require("clustertemplate:create", &ask.own())?;
    let project = ask.caller.project()?.clone();
    let Value::Object(body) = body else { return Err(Failure::BadRequest("a cluster template is an object".into())) };
    let request = TemplateRequest::read(&body).map_err(Failure::BadRequest)?;
    if request.public || request.hidden {
        ask.require("clustertemplate:publish", &ask.own())?;
    }
    let name = request.name.clone().unwrap_or_else(|| format!("template-{}", Id::<ClusterTemplate>::random().short()));
    let desired = resolve(&ask, &request, ask.caller.user_id.as_str()).await?;
    let template = Object::new(Id::random(), Some(project), name, desired);
    ask.app.store.apply(holding(Batch::wishes(), &template.desired).create(&template)).await.map_err(stale)?;
    let location = format!("{}/v1/clustertemplates/{}", ask.base, template.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(wire::template(&template, &ask.base))).into_response())
}

/// Holds only while what the template names is there.
fn holding(batch: Batch<store::Wishes>, desired: &ClusterTemplateDesired) -> Batch<store::Wishes> {
    let batch = batch.require(&desired.image_id);
    [&desired.flavor_id, &desired.master_flavor_id].into_iter().flatten().fold(batch, |batch, flavor| batch.require(flavor))
}

fn stale(error: StoreError) -> Failure {
    match error {
        StoreError::Stale { kind, id } => Failure::BadRequest(format!("{kind} {id} does not exist any more.")),
        other => other.into(),
    }
}

/// Looks up what a request names.
async fn resolve(ask: &Ask, request: &TemplateRequest, user_id: &str) -> Result<ClusterTemplateDesired, Failure> {
    let image = image_of(ask, request.image.as_deref().unwrap_or_default()).await?;
    let flavor = match request.flavor.as_deref() {
        Some(ident) => Some(flavor_of(ask, ident).await?.id),
        None => None,
    };
    let master_flavor = match request.master_flavor.as_deref() {
        Some(ident) => Some(flavor_of(ask, ident).await?.id),
        None => None,
    };
    let external = match request.external_network.as_deref() {
        Some(ident) => Some(external_network(ask, ident).await?),
        None => None,
    };
    let distro = image.desired.properties.get("os_distro").filter(|it| !it.is_empty()).cloned();
    let distro = distro.ok_or_else(|| Failure::BadRequest(format!("Image {} doesn't contain os_distro field.", image.id)))?;
    Ok(ClusterTemplateDesired {
        user_id: user_id.to_owned(),
        coe: request.coe.clone().unwrap_or_default(),
        server_type: request.server_type.clone().unwrap_or_default(),
        image_id: image.id,
        cluster_distro: distro,
        flavor_id: flavor,
        master_flavor_id: master_flavor,
        keypair_id: request.keypair.clone(),
        dns_nameserver: request.dns_nameserver.clone(),
        external_network_id: external,
        public: request.public,
        hidden: request.hidden,
        labels: request.labels.clone(),
        fixed_subnet_cidr: labels::cidr(&request.labels, 1).map_err(Failure::BadRequest)?,
    })
}

async fn image_of(ask: &Ask, ident: &str) -> Result<Object<Image>, Failure> {
    let missing = || Failure::BadRequest(format!("Image {ident} could not be found."));
    if let Some(id) = Id::parse(ident)
        && let Some(found) = ask.app.store.get(&id).await?.filter(|it| image::sees(&ask.app, &ask.caller, it))
    {
        return usable(found);
    }
    let mut named = ask.app.store.list(&Query::<Image>::new().name(ident)).await?;
    named.retain(|it| image::sees(&ask.app, &ask.caller, it) && !ident.is_empty());
    match (named.pop(), named.is_empty()) {
        (Some(found), true) => usable(found),
        (None, _) => Err(missing()),
        _ => Err(Failure::Conflict(format!("Multiple images exist with same name {ident}. Please use the image id instead."))),
    }
}

/// Whether machines can be given the image.
fn usable(image: Object<Image>) -> Result<Object<Image>, Failure> {
    if image.desired.status != ImageStatus::Active {
        return Err(Failure::BadRequest(format!("Image {} has no data.", image.id)));
    }
    if image.desired.disk_format.as_deref() != Some("raw") {
        return Err(Failure::BadRequest(format!("Image {} is not raw, the format that is written to disks here.", image.id)));
    }
    Ok(image)
}

/// The flavor of that id or name; it must choose bare-metal machines.
pub(super) async fn flavor_of(ask: &Ask, ident: &str) -> Result<Object<Flavor>, Failure> {
    let found = crate::compute::find_flavor(&ask.app, &ask.caller, ident).await?;
    let flavor = found.ok_or_else(|| Failure::BadRequest(format!("Unable to find flavor {ident}.")))?;
    if flavor.desired.resource_class().is_none() {
        return Err(Failure::BadRequest(format!(
            "Flavor {ident} chooses no bare-metal machines: it needs the extra spec resources:CUSTOM_<CLASS>=1 with the machines' resource class."
        )));
    }
    Ok(flavor)
}

async fn external_network(ask: &Ask, ident: &str) -> Result<Id<Network>, Failure> {
    let by_id = match Id::parse(ident) {
        Some(id) => ask.app.store.get::<Network>(&id).await?,
        None => None,
    };
    let candidates = match by_id {
        Some(network) => vec![network],
        None => ask.app.store.list(&Query::<Network>::new().name(ident)).await?,
    };
    let (shares, project) = (ask.app.shares().await?, ask.caller.project_id.as_ref());
    let is_external = |it: &Object<Network>| shares.is_external(it.id.as_str(), project) && !it.is_deleting();
    let mut candidates = candidates.into_iter().filter(is_external);
    match (candidates.next(), candidates.next()) {
        (Some(network), None) => Ok(network.id),
        (None, _) => Err(Failure::BadRequest(format!("Unable to find external network {ident}."))),
        _ => Err(Failure::Conflict(format!("Multiple external networks exist with same name '{ident}'. Please use the id instead."))),
    }
}

/// The template, for what the rule guards.
async fn permitted(ask: &Ask, ident: &str, rule: &str) -> Result<Object<ClusterTemplate>, Failure> {
    let template = find(ask, ident).await?;
    ask.require(rule, &of_template(&template))?;
    Ok(template)
}

pub(super) async fn update(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    let operations = json_patch::parse(&body).map_err(|error| Failure::BadRequest(error.0))?;
    for operation in &operations {
        if !TemplateRequest::CHANGEABLE.contains(&operation.attribute()) {
            return Err(Failure::BadRequest(format!("'{}' is an attribute that cannot be updated", operation.pointer())));
        }
    }
    let only_surface = operations.iter().all(|operation| ["name", "public", "hidden"].contains(&operation.attribute()));
    for _ in 0..crate::race::RACES {
        let before = permitted(&ask, &ident, "clustertemplate:update").await?;
        let after = patched(&ask, &before, &operations).await?;
        let (old, new) = (&before.desired, &after.desired);
        if old.public != new.public || old.hidden != new.hidden {
            ask.require("clustertemplate:publish", &of_template(&before))?;
        }
        let mut batch = holding(Batch::wishes(), new);
        if !only_surface {
            batch = batch.unless_referenced::<Cluster>("cluster_template_id", before.id.as_str());
        }
        match ask.app.store.apply(batch.want(&after)).await {
            Ok(()) => {
                let fresh = find(&ask, before.id.as_str()).await?;
                return Ok(Json(wire::template(&fresh, &ask.base)).into_response());
            }
            Err(StoreError::Stale { .. }) => {}
            Err(StoreError::Referenced { .. }) => return Err(referenced(&before)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("cluster template {ident} is being changed by others; try again")))
}

fn referenced(template: &Object<ClusterTemplate>) -> Failure {
    Failure::BadRequest(format!("ClusterTemplate {} is referenced by one or multiple clusters.", template.id))
}

async fn patched(
    ask: &Ask,
    before: &Object<ClusterTemplate>,
    operations: &[json_patch::Operation],
) -> Result<Object<ClusterTemplate>, Failure> {
    let shown = wire::template(before, &ask.base);
    let of = |key: &str| shown.get(key).cloned().unwrap_or(Value::Null);
    let mut document: Map<String, Value> = TemplateRequest::CHANGEABLE.iter().map(|key| ((*key).to_owned(), of(key))).collect();
    for operation in operations {
        json_patch::apply(&mut document, operation).map_err(|error| Failure::BadRequest(error.0))?;
    }
    document.insert("coe".into(), json!(before.desired.coe));
    document.insert("server_type".into(), json!(before.desired.server_type));
    let request = TemplateRequest::read(&document).map_err(Failure::BadRequest)?;
    let mut after = before.clone();
    after.name = request.name.clone().ok_or_else(|| Failure::BadRequest("name: mandatory".into()))?;
    after.desired = resolve(ask, &request, &before.desired.user_id).await?;
    Ok(after)
}

pub(super) async fn delete(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    for _ in 0..crate::race::RACES {
        let template = permitted(&ask, &ident, "clustertemplate:delete").await?;
        let batch = Batch::wishes().remove(&template).unless_referenced::<Cluster>("cluster_template_id", template.id.as_str());
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(StoreError::Referenced { .. }) => return Err(referenced(&template)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict(format!("cluster template {ident} is being changed by others; try again")))
}
