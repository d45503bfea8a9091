//! Regions: a tree of places that endpoints are in.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::{Endpoint, PolicyAssociation, Region, RegionDesired, RegisteredLimit};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::ask::{Ask, body_of, id_of, missing, rooted};
use super::noun::{self, Noun, read};
use super::schemas;
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

impl Noun for Region {
    const SINGULAR: &'static str = "region";
    const PLURAL: &'static str = "regions";
    const CREATE: &'static Schema = &schemas::REGION_CREATE;
    const UPDATE: &'static Schema = &schemas::REGION_UPDATE;
    const FILTERS: &'static [&'static str] = &["parent_region_id"];
    const QUERY: &'static Schema = &schemas::REGION_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let id = match read::text(body, "id").filter(|it| !it.is_empty()) {
            None => Id::random_hex(),
            Some(text) => of_name(&text)?,
        };
        Ok(new(id))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        let desired = &mut object.desired;
        if let Some(text) = body.get("description") {
            desired.description = text.as_str().unwrap_or_default().to_owned();
        }
        read::extra(&mut desired.extra, body, &["description", "parent_region_id"]);
        if let Some(parent) = body.get("parent_region_id") {
            desired.parent_region_id = parent.as_str().map(|it| id_of("region", it)).transpose()?;
        }
        // A new region is above nothing; what moves is looked at by `along`.
        if let (None, Some(parent)) = (before, &desired.parent_region_id) {
            noun::find::<Self>(&ask.app, parent.as_str()).await?;
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let mut shown = object.desired.extra.clone();
        shown.insert("description".into(), json!(object.desired.description));
        shown.insert("parent_region_id".into(), json!(object.desired.parent_region_id));
        shown
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        match &object.desired.parent_region_id {
            Some(parent) => batch.require(parent),
            None => batch,
        }
    }

    async fn along(ask: &Ask, before: &Object<Self>, after: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        if before.desired.parent_region_id == after.desired.parent_region_id {
            return Ok(batch);
        }
        // Each region above counts as changed, so that of two moves which only together close a circle one is looked at again.
        Ok(above(ask, after).await?.iter().fold(batch, Batch::want))
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let store = &ask.app.store;
        let regions = store.list(&Query::<Region>::new()).await?;
        let tree = below(&object.id, &regions);
        let endpoints = store.list(&Query::<Endpoint>::new()).await?;
        if endpoints.iter().any(|it| it.desired.region_id.as_ref().is_some_and(|region| tree.contains(region))) {
            return Err(Failure::Forbidden(format!(
                "Unable to delete region {} because it or its child regions have associated endpoints.",
                object.id
            )));
        }
        batch = regions.iter().filter(|it| it.id != object.id && tree.contains(&it.id)).fold(batch, Batch::remove);
        let ids: Vec<String> = tree.iter().map(ToString::to_string).collect();
        let policies = store.list(&Query::<PolicyAssociation>::new().column("region_id", ids.iter().cloned())).await?;
        batch = policies.iter().fold(batch, Batch::remove);
        Ok(ids.iter().fold(batch, |batch, id| batch.unless_referenced::<RegisteredLimit>("region_id", id)))
    }
}

/// A region without anything said of it.
pub(super) fn new(id: Id<Region>) -> Object<Region> {
    Object::new(id, None, "", RegionDesired::default())
}

/// The id that a client gives a region.
///
/// # Errors
/// `BadRequest`.
pub(super) fn of_name(text: &str) -> Result<Id<Region>, Failure> {
    Id::parse(text).ok_or_else(|| {
        Failure::BadRequest("The id of a region has 1 to 64 letters, digits, dots, underscores, colons and dashes.".to_owned())
    })
}

/// The regions above one, nearest first.
///
/// # Errors
/// `NotFound` if one of them is missing, `BadRequest` if the region itself is among them.
async fn above(ask: &Ask, region: &Object<Region>) -> Result<Vec<Object<Region>>, Failure> {
    let mut found: Vec<Object<Region>> = Vec::new();
    let mut next = region.desired.parent_region_id.clone();
    while let Some(id) = next {
        if id == region.id || found.iter().any(|it| it.id == id) {
            return Err(Failure::BadRequest(format!("The specified parent region {id} would create a circular region hierarchy.")));
        }
        let parent = ask.app.store.get(&id).await?.ok_or_else(|| missing("region", id.as_str()))?;
        next = parent.desired.parent_region_id.clone();
        found.push(parent);
    }
    Ok(found)
}

/// A region and all below it.
pub(super) fn below(root: &Id<Region>, regions: &[Object<Region>]) -> HashSet<Id<Region>> {
    let mut found = HashSet::new();
    let mut left = vec![root.clone()];
    while let Some(id) = left.pop() {
        left.extend(regions.iter().filter(|it| it.desired.parent_region_id.as_ref() == Some(&id)).map(|it| it.id.clone()));
        // Not again, even if the tree were a circle.
        left.retain(|it| !found.contains(it) && *it != id);
        found.insert(id);
    }
    found
}

/// PUT /regions/{id}
async fn put(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, &schemas::REGION_CREATE)?, "region")?;
    ask.enforce("identity:create_region", json!({}))?;
    if let Some(other) = body.get("id").filter(|it| it.as_str() != Some(&id)) {
        let other = other.as_str().unwrap_or("None");
        return Err(Failure::BadRequest(format!("Conflicting region IDs specified: \"{id}\" != \"{other}\"")));
    }
    let made = noun::create_from::<Region>(&ask, new(of_name(&id)?), &body, "identity:create_region").await?;
    Ok((StatusCode::CREATED, Json(json!({"region": noun::shown(&made, &ask)}))))
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/regions", get(noun::list::<Region>).post(noun::create::<Region>))
        .route("/regions/{id}", get(noun::show::<Region>).put(put).patch(noun::update::<Region>).delete(noun::delete::<Region>))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: &str, parent: Option<&str>) -> Object<Region> {
        let mut made = new(Id::parse(id).unwrap());
        made.desired.parent_region_id = parent.and_then(Id::parse);
        made
    }

    #[test]
    fn what_is_below_is_found_even_in_a_circle() {
        let regions = [region("a", Some("c")), region("b", Some("a")), region("c", Some("b")), region("d", Some("b")), region("e", None)];
        let mut found: Vec<String> = below(&regions[0].id, &regions).iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(found, ["a", "b", "c", "d"]);
    }
}
