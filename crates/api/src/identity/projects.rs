//! Projects: their tree within a domain, and their tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use model::access::Revoked;
use model::identity::{
    ApplicationCredential, Assignment, Credential, Domain, Limit, Project, ProjectDesired, ProjectEndpoint, Target, Trust, User,
};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::ask::{Ask, body_of, forbidden, missing, rooted};
use super::effective::{MAX_DEPTH, ancestors, projects_of, subtree};
use super::noun::{self, Name, Noun, name_in, read};
use super::revocation::revoke;
use super::{domains, immutable, schemas};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

/// Most tags of a project.
const MAX_TAGS: usize = 80;
const KNOWN: [&str; 8] = ["name", "domain_id", "parent_id", "is_domain", "description", "enabled", "tags", "options"];

impl Noun for Project {
    const SINGULAR: &'static str = "project";
    const PLURAL: &'static str = "projects";
    const CREATE: &'static Schema = &schemas::PROJECT_CREATE;
    const UPDATE: &'static Schema = &schemas::PROJECT_UPDATE;
    const FILTERS: &'static [&'static str] = &["domain_id", "enabled", "name", "parent_id", "is_domain"];
    const QUERY: &'static Schema = &schemas::PROJECT_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(ask: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = ProjectDesired {
            domain_id: domains::named_in(ask, body)?,
            parent_id: None,
            description: String::new(),
            enabled: true,
            tags: Vec::new(),
            immutable: None,
            extra: Map::new(),
        };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(ask: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        immutable::check_change("project", before.map(|it| (it.id.as_str(), it.desired.immutable)), body)?;
        match before {
            None => place(ask, object, body).await?,
            Some(before) => check_place(before, body)?,
        }
        if let Some(name) = read::text(body, "name") {
            object.name = noun::trimmed(&name)?;
        }
        let desired = &mut object.desired;
        if let Some(text) = body.get("description") {
            desired.description = text.as_str().unwrap_or_default().to_owned();
        }
        read::put_bool(&mut desired.enabled, body, "enabled");
        if let Some(tags) = body.get("tags") {
            desired.tags = noun::strings(tags);
        }
        read::immutable(&mut desired.immutable, body);
        read::extra(&mut desired.extra, body, &KNOWN);
        check_enabled(ask, object, before).await
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let parent = desired.parent_id.as_ref().map_or(desired.domain_id.as_str(), Id::as_str);
        let mut shown = desired.extra.clone();
        for (key, value) in [
            ("name", json!(object.name)),
            ("domain_id", json!(desired.domain_id)),
            ("parent_id", json!(parent)),
            ("is_domain", json!(false)),
            ("description", json!(desired.description)),
            ("enabled", json!(desired.enabled)),
            ("tags", json!(desired.tags)),
            ("options", immutable::shown(desired.immutable)),
        ] {
            shown.insert(key.into(), value);
        }
        shown
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        vec![name_in::<Self>(object.desired.domain_id.as_str(), &object.name)]
    }

    fn requires(object: &Object<Self>, batch: Batch<Wishes>) -> Batch<Wishes> {
        let batch = batch.require(&object.desired.domain_id);
        match &object.desired.parent_id {
            Some(parent) => batch.require(parent),
            None => batch,
        }
    }

    fn domain(object: &Object<Self>) -> Option<&Id<Domain>> {
        Some(&object.desired.domain_id)
    }

    async fn along(ask: &Ask, before: &Object<Self>, after: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        if before.desired.enabled && !after.desired.enabled {
            return revoke(&ask.app, batch, vec![Revoked::Project(after.id.clone())]).await;
        }
        Ok(batch)
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        immutable::check_delete("project", object.id.as_str(), object.desired.immutable)?;
        let below = ask.app.store.count(&Query::<Project>::new().column("parent_id", [object.id.to_string()])).await?;
        if below > 0 {
            return Err(forbidden(&format!(
                "Cannot delete the project {} since it is not a leaf in the hierarchy. Delete the projects below it first.",
                object.id
            )));
        }
        let batch = batch.unless_referenced::<Project>("parent_id", object.id.as_str());
        with_all_of(ask, object, batch).await
    }
}

/// What goes with a project.
pub(super) async fn with_all_of(ask: &Ask, object: &Object<Project>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
    let store = &ask.app.store;
    let id = object.id.to_string();
    let given = store.list(&Query::<Assignment>::new().column("target", [Target::Project(object.id.clone()).key()])).await?;
    batch = given.iter().fold(batch, Batch::remove);
    let limits = store.list(&Query::<Limit>::new().column("of_project", [id.clone()])).await?;
    batch = limits.iter().fold(batch, Batch::remove);
    let trusts = store.list(&Query::<Trust>::new().column("of_project", [id.clone()])).await?;
    batch = trusts.iter().fold(batch, Batch::remove);
    let seen = store.list(&Query::<ProjectEndpoint>::new().column("of_project", [id.clone()])).await?;
    batch = seen.iter().fold(batch, Batch::remove);
    for it in store.list(&Query::<Credential>::new().column("of_project", [id.clone()])).await? {
        batch = Credential::names(&it).iter().fold(batch.remove(&it), |batch, name| batch.free(&name.pool, &name.value));
    }
    for it in store.list(&Query::<ApplicationCredential>::new().column("of_project", [id.clone()])).await? {
        batch = super::application_credentials::removed(&it, batch);
    }
    revoke(&ask.app, batch, vec![Revoked::Project(object.id.clone())]).await
}

/// Where in the tree a new project goes.
async fn place(ask: &Ask, object: &mut Object<Project>, body: &Map<String, Value>) -> Result<(), Failure> {
    let bad = |text: String| Failure::BadRequest(text);
    let domain_given = body.get("domain_id").and_then(Value::as_str);
    if let Some(text) = body.get("parent_id").and_then(Value::as_str) {
        let as_domain = noun::get::<Domain>(&ask.app, text).await?;
        match noun::get::<Project>(&ask.app, text).await? {
            _ if as_domain.is_some() => {
                if domain_given.is_some_and(|it| it != text) {
                    return Err(bad("Cannot create project, the parent is of another domain.".into()));
                }
                object.desired.domain_id = super::ask::id_of("domain", text)?;
            }
            None => return Err(bad(format!("Could not find project: {text}."))),
            Some(parent) => {
                if domain_given.is_some_and(|it| it != parent.desired.domain_id.as_str()) {
                    return Err(bad("Cannot create project, the parent is of another domain.".into()));
                }
                let above = ancestors(&ask.app.store, &parent).await?;
                if above.len() + 2 >= MAX_DEPTH {
                    return Err(forbidden("the tree of projects would be too deep."));
                }
                if !parent.desired.enabled || above.iter().any(|it| !it.desired.enabled) {
                    return Err(forbidden(&format!("cannot create project in branch containing disabled projects: {text}.")));
                }
                object.desired.domain_id = parent.desired.domain_id.clone();
                object.desired.parent_id = Some(parent.id);
            }
        }
    }
    let domain = ask.app.store.get(&object.desired.domain_id).await?;
    if domain.is_none() {
        return Err(bad(format!("Could not find domain: {}.", object.desired.domain_id)));
    }
    Ok(())
}

/// Refuses a change that would move a project.
fn check_place(before: &Object<Project>, body: &Map<String, Value>) -> Result<(), Failure> {
    domains::check_stays(&before.desired.domain_id, body)?;
    let parent = before.desired.parent_id.as_ref().map_or(before.desired.domain_id.as_str(), Id::as_str);
    if body.get("parent_id").is_some_and(|it| it.as_str() != Some(parent)) {
        return Err(Failure::Forbidden("Update of `parent_id` is not allowed.".into()));
    }
    if body.get("is_domain").and_then(Value::as_bool) == Some(true) {
        return Err(Failure::BadRequest("Update of `is_domain` is not allowed.".into()));
    }
    Ok(())
}

/// A project below a disabled one cannot be enabled; one above an enabled one cannot be disabled.
async fn check_enabled(ask: &Ask, object: &Object<Project>, before: Option<&Object<Project>>) -> Result<(), Failure> {
    let store = &ask.app.store;
    match before.map(|it| (it.desired.enabled, object.desired.enabled)) {
        Some((false, true)) if ancestors(store, object).await?.iter().any(|it| !it.desired.enabled) => {
            Err(Failure::Forbidden(format!("Cannot enable project {} since it has disabled parents", object.id)))
        }
        Some((true, false)) if subtree(store, &object.id).await?.iter().any(|it| it.desired.enabled) => {
            Err(Failure::Forbidden(format!("Cannot disable project {} since its subtree contains enabled projects.", object.id)))
        }
        _ => Ok(()),
    }
}

/// A domain in the form of a project.
fn domain_as_project(domain: &Object<Domain>, ask: &Ask) -> Value {
    let mut shown = Domain::show(domain);
    shown.insert("id".into(), json!(domain.id));
    shown.insert("domain_id".into(), Value::Null);
    shown.insert("parent_id".into(), Value::Null);
    shown.insert("is_domain".into(), Value::Bool(true));
    ask.linked(Value::Object(shown), &format!("projects/{}", domain.id))
}

/// GET /projects: of the caller's domain for a domain's token; `is_domain` lists domains.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let target = ask.caller.domain_id.as_ref().map_or_else(|| json!({}), |domain| json!({"domain_id": domain}));
    ask.enforce("identity:list_projects", target)?;
    noun::check_query(&ask, Project::QUERY)?;
    if ask.flag("is_domain") {
        let found = ask.app.store.list(&Query::<Domain>::new()).await?;
        let own = |it: &&Object<Domain>| ask.caller.domain_id.as_ref().is_none_or(|domain| *domain == it.id);
        let items = found.iter().filter(own).map(|it| domain_as_project(it, &ask));
        let items = items.filter(|it| noun::kept(it, &ask, &["enabled", "name"])).collect();
        return noun::paged("projects", items, &ask);
    }
    if ask.parameters.first("parent_id").is_none()
        && let Some(page) = noun::store_page::<Project>(&ask).await?
    {
        return Ok(page);
    }
    let found = match ask.parameters.first("parent_id") {
        // Those directly below a domain have no parent in the store.
        Some(parent) if noun::get::<Domain>(&ask.app, parent).await?.is_some() => {
            ask.app.store.list(&Query::<Project>::new().column("domain_id", [parent.to_owned()])).await?
        }
        _ => noun::candidates::<Project>(&ask).await?,
    };
    let tagged: Vec<Object<Project>> = found.into_iter().filter(|it| fits_tags(&it.desired.tags, &ask)).collect();
    noun::answer_list(&ask, &tagged)
}

/// `tags` (all of them), `tags-any`, `not-tags` (not all of them), `not-tags-any`, each a list with commas.
fn fits_tags(has: &[String], ask: &Ask) -> bool {
    let wanted = |name: &str| ask.parameters.first(name).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let all = |tags: &Vec<String>| tags.iter().all(|tag| has.contains(tag));
    let any = |tags: &Vec<String>| tags.iter().any(|tag| has.contains(tag));
    wanted("tags").is_none_or(|it| all(&it))
        && wanted("tags-any").is_none_or(|it| any(&it))
        && wanted("not-tags").is_none_or(|it| !all(&it))
        && wanted("not-tags-any").is_none_or(|it| !any(&it))
}

/// POST /projects; one that `is_domain` is a domain.
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, Project::CREATE)?, "project")?;
    if body.get("is_domain").and_then(Value::as_bool) == Some(true) {
        for key in ["domain_id", "parent_id"] {
            if body.get(key).is_some_and(|it| !it.is_null()) {
                return Err(Failure::BadRequest("A project that acts as a domain has neither a domain_id nor a parent_id.".into()));
            }
        }
        ask.enforce("identity:create_project", json!({"project": {"domain_id": null}}))?;
        let object = Domain::blank(&ask, &body)?;
        let made = noun::create_from::<Domain>(&ask, object, &body, "identity:create_domain").await?;
        return Ok((StatusCode::CREATED, Json(json!({"project": domain_as_project(&made, &ask)}))));
    }
    let object = Project::blank(&ask, &body)?;
    let made = noun::create_from::<Project>(&ask, object, &body, "identity:create_project").await?;
    Ok((StatusCode::CREATED, Json(json!({"project": noun::shown(&made, &ask)}))))
}

/// GET /projects/{id}, with what is above and below it if asked for.
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    if let Some(domain) = noun::get::<Domain>(&ask.app, &id).await? {
        ask.enforce("identity:get_project", json!({"project": {"id": id, "domain_id": null}}))?;
        return Ok(Json(json!({"project": domain_as_project(&domain, &ask)})));
    }
    let project = noun::permitted::<Project>(&ask, &id, "identity:get_project").await?;
    let mut shown = noun::shown(&project, &ask);
    for (one, other) in [("parents_as_list", "parents_as_ids"), ("subtree_as_list", "subtree_as_ids")] {
        if ask.flag(one) && ask.flag(other) {
            return Err(Failure::BadRequest(format!("Cannot use {one} and {other} query params at the same time.")));
        }
    }
    let store = &ask.app.store;
    // Of the tree a user sees the projects it has a role on.
    let own: Vec<Id<Project>> = match ask.flag("parents_as_list") || ask.flag("subtree_as_list") {
        true => projects_of(store, &ask.caller.user_id).await?.into_iter().map(|it| it.id).collect(),
        false => Vec::new(),
    };
    let listed = |found: Vec<Object<Project>>| {
        let seen = found.iter().filter(|it| own.contains(&it.id));
        Value::Array(seen.map(|it| json!({"project": noun::shown(it, &ask)})).collect())
    };
    if ask.flag("parents_as_list") {
        shown["parents"] = listed(ancestors(store, &project).await?);
    } else if ask.flag("parents_as_ids") {
        let root = json!({ project.desired.domain_id.as_str(): null });
        shown["parents"] = ancestors(store, &project).await?.iter().rev().fold(root, |above, it| json!({ it.id.as_str(): above }));
    }
    if ask.flag("subtree_as_list") {
        shown["subtree"] = listed(subtree(store, &project.id).await?);
    } else if ask.flag("subtree_as_ids") {
        let mut children: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for it in subtree(store, &project.id).await? {
            children.entry(it.desired.parent_id.map(|it| it.to_string()).unwrap_or_default()).or_default().push(it.id.to_string());
        }
        shown["subtree"] = ids_below(project.id.as_str(), &children, 0);
    }
    Ok(Json(json!({"project": shown})))
}

fn ids_below(id: &str, children: &BTreeMap<String, Vec<String>>, depth: usize) -> Value {
    match children.get(id).filter(|_| depth < MAX_DEPTH) {
        None => Value::Null,
        Some(below) => Value::Object(below.iter().map(|it| (it.clone(), ids_below(it, children, depth + 1))).collect()),
    }
}

/// PATCH /projects/{id}
async fn update(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    if noun::get::<Domain>(&ask.app, &id).await?.is_some() {
        let body = body_of(&bytes, Project::UPDATE)?;
        let renamed = json!({"domain": body.get("project")}).to_string();
        let changed = noun::change::<Domain>(&ask, &id, renamed.as_bytes(), "identity:update_domain").await?;
        return Ok(Json(json!({"project": domain_as_project(&changed, &ask)})));
    }
    noun::update::<Project>(ask, Path(id), bytes).await
}

/// DELETE /projects/{id}
async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    if noun::get::<Domain>(&ask.app, &id).await?.is_some() {
        return noun::remove::<Domain>(&ask, &id, "identity:delete_domain").await;
    }
    noun::remove::<Project>(&ask, &id, "identity:delete_project").await
}

fn tags_answer(ask: &Ask, project: &Object<Project>) -> Json<Value> {
    Json(json!({"tags": project.desired.tags, "links": {"self": ask.link(&format!("projects/{}/tags", project.id))}}))
}

async fn put_tags(
    ask: &Ask,
    id: &str,
    rule: &str,
    change: impl Fn(&mut Vec<String>) -> Result<(), Failure>,
) -> Result<Object<Project>, Failure> {
    let mut project = noun::permitted::<Project>(ask, id, rule).await?;
    if project.desired.immutable == Some(true) {
        return Err(Failure::Forbidden(format!("Cannot change the tags of project {id}: it is immutable.")));
    }
    for _ in 0..crate::race::RACES {
        change(&mut project.desired.tags)?;
        if project.desired.tags.len() > MAX_TAGS {
            return Err(Failure::BadRequest(format!("Invalid input for field 'tags': there are more than {MAX_TAGS}")));
        }
        match ask.app.store.apply(Batch::wishes().want(&project)).await {
            Ok(()) => return Ok(project),
            Err(error) if error.is_race() => project = noun::find(&ask.app, id).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

async fn tags(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let project = noun::permitted::<Project>(&ask, &id, "identity:list_project_tags").await?;
    Ok(tags_answer(&ask, &project))
}

async fn set_tags(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    let body = body_of(&bytes, &schemas::PROJECT_TAGS_UPDATE)?;
    schemas::PROJECT_TAGS.check(body.get("tags").unwrap_or(&Value::Null)).map_err(Failure::BadRequest)?;
    let wanted = noun::strings(body.get("tags").unwrap_or(&Value::Null));
    let put = |tags: &mut Vec<String>| {
        tags.clone_from(&wanted);
        Ok(())
    };
    let project = put_tags(&ask, &id, "identity:update_project_tags", put).await?;
    Ok(tags_answer(&ask, &project))
}

async fn clear_tags(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    let clear = |tags: &mut Vec<String>| {
        tags.clear();
        Ok(())
    };
    put_tags(&ask, &id, "identity:delete_project_tags", clear).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tag(ask: Ask, Path((id, tag)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let project = noun::permitted::<Project>(&ask, &id, "identity:get_project_tag").await?;
    if project.desired.tags.contains(&tag) { Ok(StatusCode::NO_CONTENT) } else { Err(missing("project tag", &tag)) }
}

async fn add_tag(ask: Ask, Path((id, tag)): Path<(String, String)>) -> Result<Response, Failure> {
    schemas::PROJECT_TAG.check(&json!(tag)).map_err(Failure::BadRequest)?;
    let add = |tags: &mut Vec<String>| {
        if !tags.contains(&tag) {
            tags.push(tag.clone());
        }
        Ok(())
    };
    put_tags(&ask, &id, "identity:create_project_tag", add).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, ask.link(&format!("projects/{id}/tags/{tag}")))]).into_response())
}

async fn remove_tag(ask: Ask, Path((id, tag)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    let remove = |tags: &mut Vec<String>| match tags.iter().position(|it| *it == tag) {
        Some(at) => {
            tags.remove(at);
            Ok(())
        }
        None => Err(missing("project tag", &tag)),
    };
    put_tags(&ask, &id, "identity:delete_project_tag", remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GET /users/{id}/projects
async fn of_user(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let user = noun::permitted::<User>(&ask, &id, "identity:list_user_projects").await?;
    noun::answer_list(&ask, &projects_of(&ask.app.store, &user.id).await?)
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/projects", get(list).post(create))
        .route("/projects/{id}", get(show).patch(update).delete(delete))
        .route("/projects/{id}/tags", get(tags).put(set_tags).delete(clear_tags))
        .route("/projects/{id}/tags/{tag}", get(tag).put(add_tag).delete(remove_tag))
        .route("/users/{id}/projects", get(of_user))
}
