//! Which project sees which endpoints: those given to it by themselves and those of the endpoint groups given to it (OS-EP-FILTER).

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::{Endpoint, EndpointGroup, EndpointGroupDesired, Project, ProjectEndpoint, ProjectEndpointDesired};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Store, StoreError, Wishes};

use super::ask::{Ask, body_of, rooted};
use super::noun::{self, EPOCH, Noun, read};
use super::{endpoints, schemas};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

/// What an endpoint group may select by.
const SELECTORS: [&str; 3] = ["service_id", "region_id", "interface"];

impl Noun for EndpointGroup {
    const SINGULAR: &'static str = "endpoint_group";
    const PLURAL: &'static str = "endpoint_groups";
    const CREATE: &'static Schema = &schemas::ENDPOINT_GROUP_CREATE;
    const UPDATE: &'static Schema = &schemas::ENDPOINT_GROUP_UPDATE;
    const FILTERS: &'static [&'static str] = &["name"];
    const QUERY: &'static Schema = &schemas::ENDPOINT_GROUP_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        if body.get("filters").and_then(Value::as_object).is_none_or(Map::is_empty) {
            return Err(Failure::BadRequest("filters field is required and cannot be empty".into()));
        }
        Ok(Object::new(Id::random_hex(), None, "", EndpointGroupDesired { description: None, filters: Map::new() }))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        if let Some(name) = read::text(body, "name") {
            object.name = name;
        }
        read::put(&mut object.desired.description, body, "description");
        if let Some(filters) = body.get("filters").and_then(Value::as_object) {
            if filters.keys().any(|key| !SELECTORS.contains(&key.as_str())) {
                return Err(Failure::BadRequest(format!(
                    "Expecting to find {} in endpoint_group. The server could not comply with the request since it is either malformed or \
                     otherwise incorrect. The client is assumed to be in error.",
                    SELECTORS.join(" or ")
                )));
            }
            object.desired.filters.clone_from(filters);
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("name".into(), json!(object.name));
        shown.insert("description".into(), json!(object.desired.description));
        shown.insert("filters".into(), json!(object.desired.filters));
        shown
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let given = given_by(&ask.app.store, "endpoint_group_id", object.id.as_str()).await?;
        Ok(given.iter().fold(batch, Batch::remove))
    }
}

/// Whether an endpoint is one of those an endpoint group selects.
fn selects(group: &EndpointGroupDesired, endpoint: &Object<Endpoint>) -> bool {
    let has = Endpoint::show(endpoint);
    group.filters.iter().all(|(key, wanted)| has.get(key) == Some(wanted))
}

async fn given_by(store: &Store, column: &str, id: &str) -> Result<Vec<Object<ProjectEndpoint>>, Failure> {
    Ok(store.list(&Query::<ProjectEndpoint>::new().column(column, [id.to_owned()])).await?)
}

/// The endpoints these associations mean, those given by themselves first, each once.
fn meant<'a>(
    given: &[&Object<ProjectEndpoint>],
    groups: &HashMap<Id<EndpointGroup>, Object<EndpointGroup>>,
    all: &'a [Object<Endpoint>],
) -> Vec<&'a Object<Endpoint>> {
    let direct = given.iter().filter_map(|it| it.desired.endpoint_id.as_ref()).filter_map(|id| all.iter().find(|it| it.id == *id));
    let mut found: Vec<&Object<Endpoint>> = direct.collect();
    for group in given.iter().filter_map(|it| groups.get(it.desired.endpoint_group_id.as_ref()?)) {
        for endpoint in all.iter().filter(|it| selects(&group.desired, it)) {
            if !found.iter().any(|it| it.id == endpoint.id) {
                found.push(endpoint);
            }
        }
    }
    found
}

/// Every group by its id.
async fn groups(store: &Store) -> Result<HashMap<Id<EndpointGroup>, Object<EndpointGroup>>, Failure> {
    Ok(store.list(&Query::<EndpointGroup>::new()).await?.into_iter().map(|it| (it.id.clone(), it)).collect())
}

/// The endpoints of each project that does not see all: one to which nothing that is there was given sees all.
pub(super) async fn restricted(store: &Store, all: &[Object<Endpoint>]) -> Result<HashMap<Id<Project>, Vec<Id<Endpoint>>>, Failure> {
    let given = store.list(&Query::<ProjectEndpoint>::new()).await?;
    if given.is_empty() {
        return Ok(HashMap::new());
    }
    let groups = groups(store).await?;
    let mut by_project: HashMap<Id<Project>, Vec<&Object<ProjectEndpoint>>> = HashMap::new();
    for it in &given {
        by_project.entry(it.desired.project_id.clone()).or_default().push(it);
    }
    let seen = by_project.into_iter().map(|(project, given)| {
        let ids: Vec<_> = meant(&given, &groups, all).into_iter().map(|it| it.id.clone()).collect();
        (project, ids)
    });
    Ok(seen.filter(|(_, ids)| !ids.is_empty()).collect())
}

fn shown(object: &Object<EndpointGroup>, ask: &Ask) -> Value {
    let mut shown = EndpointGroup::show(object);
    shown.insert("id".into(), json!(object.id));
    ask.linked(Value::Object(shown), &format!("OS-EP-FILTER/endpoint_groups/{}", object.id))
}

fn answered(object: &Object<EndpointGroup>, ask: &Ask) -> Json<Value> {
    Json(json!({"endpoint_group": shown(object, ask)}))
}

fn answer_groups<'a>(ask: &Ask, found: impl IntoIterator<Item = &'a Object<EndpointGroup>>) -> Result<Json<Value>, Failure> {
    let items = found.into_iter().map(|it| shown(it, ask)).filter(|it| noun::kept(it, ask, EndpointGroup::FILTERS)).collect();
    noun::paged("endpoint_groups", items, ask)
}

/// GET /OS-EP-FILTER/endpoint_groups
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_endpoint_groups", json!({}))?;
    noun::check_query(&ask, EndpointGroup::QUERY)?;
    let found = noun::candidates::<EndpointGroup>(&ask).await?;
    answer_groups(&ask, &found)
}

/// POST /OS-EP-FILTER/endpoint_groups
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, EndpointGroup::CREATE)?, "endpoint_group")?;
    ask.enforce("identity:create_endpoint_group", json!({ "endpoint_group": body }))?;
    let object = EndpointGroup::blank(&ask, &body)?;
    let made = noun::create_from::<EndpointGroup>(&ask, object, &body, "identity:create_endpoint_group").await?;
    Ok((StatusCode::CREATED, answered(&made, &ask)))
}

/// GET /OS-EP-FILTER/endpoint_groups/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    Ok(answered(&noun::permitted::<EndpointGroup>(&ask, &id, "identity:get_endpoint_group").await?, &ask))
}

/// PATCH /OS-EP-FILTER/endpoint_groups/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    Ok(answered(&noun::change::<EndpointGroup>(&ask, &id, &bytes, "identity:update_endpoint_group").await?, &ask))
}

/// GET /OS-EP-FILTER/endpoint_groups/{id}/endpoints
async fn endpoints_of_group(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let group = noun::permitted::<EndpointGroup>(&ask, &id, "identity:list_endpoints_associated_with_endpoint_group").await?;
    let all = ask.app.store.list(&Query::<Endpoint>::new()).await?;
    endpoints::answer_list(&ask, all.iter().filter(|it| selects(&group.desired, it)))
}

/// The projects of these associations.
async fn answer_projects(ask: &Ask, given: &[Object<ProjectEndpoint>]) -> Result<Json<Value>, Failure> {
    let ids = given.iter().map(|it| it.desired.project_id.to_string());
    noun::answer_list(ask, &ask.app.store.list(&Query::<Project>::new().ids(ids)).await?)
}

/// GET /OS-EP-FILTER/endpoint_groups/{id}/projects. As in Keystone, a group that is not there has no projects.
async fn projects_of_group(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_projects_associated_with_endpoint_group", json!({}))?;
    answer_projects(&ask, &given_by(&ask.app.store, "endpoint_group_id", &id).await?).await
}

/// GET /OS-EP-FILTER/endpoints/{id}/projects
async fn projects_of_endpoint(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let endpoint = noun::permitted::<Endpoint>(&ask, &id, "identity:list_projects_for_endpoint").await?;
    answer_projects(&ask, &given_by(&ask.app.store, "endpoint_id", endpoint.id.as_str()).await?).await
}

/// GET /OS-EP-FILTER/projects/{id}/endpoint_groups
async fn groups_of_project(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let project = noun::permitted::<Project>(&ask, &id, "identity:list_endpoint_groups_for_project").await?;
    let given = given_by(&ask.app.store, "of_project", project.id.as_str()).await?;
    let groups = groups(&ask.app.store).await?;
    answer_groups(&ask, given.iter().filter_map(|it| groups.get(it.desired.endpoint_group_id.as_ref()?)))
}

/// GET /OS-EP-FILTER/projects/{id}/endpoints
async fn endpoints_of_project(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let project = noun::permitted::<Project>(&ask, &id, "identity:list_endpoints_for_project").await?;
    let store = &ask.app.store;
    let given = given_by(store, "of_project", project.id.as_str()).await?;
    let all = store.list(&Query::<Endpoint>::new()).await?;
    endpoints::answer_list(&ask, meant(&given.iter().collect::<Vec<_>>(), &groups(store).await?, &all))
}

/// What is given to a project, or what would be, and whether it is.
struct Given {
    wanted: Object<ProjectEndpoint>,
    found: Option<Object<ProjectEndpoint>>,
    /// How Keystone calls the association.
    what: &'static str,
    /// What it says where there is none.
    none: String,
}

impl Given {
    async fn endpoint(ask: &Ask, project: &str, endpoint: &str, rule: &str) -> Result<Self, Failure> {
        ask.enforce(rule, json!({}))?;
        let endpoint = noun::find::<Endpoint>(&ask.app, endpoint).await?.id;
        let project = noun::find::<Project>(&ask.app, project).await?.id;
        let none = format!("Endpoint {endpoint} not found in project {project}");
        let desired = ProjectEndpointDesired { project_id: project, endpoint_id: Some(endpoint), endpoint_group_id: None };
        Self::read(ask, desired, "project_endpoint", none).await
    }

    async fn group(ask: &Ask, project: &str, group: &str, rule: &str) -> Result<Self, Failure> {
        ask.enforce(rule, json!({}))?;
        let project = noun::find::<Project>(&ask.app, project).await?.id;
        let group = noun::find::<EndpointGroup>(&ask.app, group).await?.id;
        let desired = ProjectEndpointDesired { project_id: project, endpoint_id: None, endpoint_group_id: Some(group) };
        Self::read(ask, desired, "project_endpoint_group", "Endpoint Group Project Association not found".into()).await
    }

    async fn read(ask: &Ask, desired: ProjectEndpointDesired, what: &'static str, none: String) -> Result<Self, Failure> {
        let wanted = Object::new(desired.id(), None, "", desired);
        let found = ask.app.store.get(&wanted.id).await?;
        Ok(Self { wanted, found, what, none })
    }

    fn there(self) -> Result<Object<ProjectEndpoint>, Failure> {
        self.found.ok_or_else(|| Failure::named(StatusCode::NOT_FOUND, "NotFound", self.none))
    }

    async fn give(self, ask: &Ask) -> Result<StatusCode, Failure> {
        let desired = &self.wanted.desired;
        let mut batch = Batch::wishes().require(&desired.project_id);
        if let Some(endpoint) = &desired.endpoint_id {
            batch = batch.require(endpoint);
        }
        if let Some(group) = &desired.endpoint_group_id {
            batch = batch.require(group);
        }
        match ask.app.store.apply(batch.create(&self.wanted).bump(EPOCH)).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT),
            Err(StoreError::Exists { .. }) => {
                Err(Failure::Conflict(format!("Conflict occurred attempting to store {} - Duplicate entry.", self.what)))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn take(self, ask: &Ask) -> Result<StatusCode, Failure> {
        let found = self.there()?;
        ask.app.store.apply(Batch::wishes().remove(&found).bump(EPOCH)).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

type Pair = Path<(String, String)>;

/// GET /OS-EP-FILTER/projects/{project}/endpoints/{endpoint}
async fn check_endpoint(ask: Ask, Path((project, endpoint)): Pair) -> Result<StatusCode, Failure> {
    Given::endpoint(&ask, &project, &endpoint, "identity:check_endpoint_in_project").await?.there()?;
    Ok(StatusCode::NO_CONTENT)
}

/// PUT /OS-EP-FILTER/projects/{project}/endpoints/{endpoint}
async fn give_endpoint(ask: Ask, Path((project, endpoint)): Pair) -> Result<StatusCode, Failure> {
    Given::endpoint(&ask, &project, &endpoint, "identity:add_endpoint_to_project").await?.give(&ask).await
}

/// DELETE /OS-EP-FILTER/projects/{project}/endpoints/{endpoint}
async fn take_endpoint(ask: Ask, Path((project, endpoint)): Pair) -> Result<StatusCode, Failure> {
    Given::endpoint(&ask, &project, &endpoint, "identity:remove_endpoint_from_project").await?.take(&ask).await
}

/// GET /OS-EP-FILTER/endpoint_groups/{group}/projects/{project}
async fn check_group(ask: Ask, Path((group, project)): Pair) -> Result<Json<Value>, Failure> {
    Given::group(&ask, &project, &group, "identity:get_endpoint_group_in_project").await?.there()?;
    let shown = json!({"endpoint_group_id": group, "project_id": project});
    let path = format!("OS-EP-FILTER/endpoint_groups/{group}/projects/{project}");
    Ok(Json(json!({"project_endpoint_group": ask.linked(shown, &path)})))
}

/// PUT /OS-EP-FILTER/endpoint_groups/{group}/projects/{project}
async fn give_group(ask: Ask, Path((group, project)): Pair) -> Result<StatusCode, Failure> {
    Given::group(&ask, &project, &group, "identity:add_endpoint_group_to_project").await?.give(&ask).await
}

/// DELETE /OS-EP-FILTER/endpoint_groups/{group}/projects/{project}
async fn take_group(ask: Ask, Path((group, project)): Pair) -> Result<StatusCode, Failure> {
    Given::group(&ask, &project, &group, "identity:remove_endpoint_group_from_project").await?.take(&ask).await
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/OS-EP-FILTER/endpoint_groups", get(list).post(create))
        .route("/OS-EP-FILTER/endpoint_groups/{id}", get(show).patch(update).delete(noun::delete::<EndpointGroup>))
        .route("/OS-EP-FILTER/endpoint_groups/{id}/endpoints", get(endpoints_of_group))
        .route("/OS-EP-FILTER/endpoint_groups/{id}/projects", get(projects_of_group))
        .route("/OS-EP-FILTER/endpoint_groups/{id}/projects/{project}", get(check_group).put(give_group).delete(take_group))
        .route("/OS-EP-FILTER/endpoints/{id}/projects", get(projects_of_endpoint))
        .route("/OS-EP-FILTER/projects/{id}/endpoint_groups", get(groups_of_project))
        .route("/OS-EP-FILTER/projects/{id}/endpoints", get(endpoints_of_project))
        .route("/OS-EP-FILTER/projects/{id}/endpoints/{endpoint}", get(check_endpoint).put(give_endpoint).delete(take_endpoint))
}
