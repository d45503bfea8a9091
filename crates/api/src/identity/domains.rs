//! Domains, and the configuration of each.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use model::access::Revoked;
use model::identity::{Assignment, Domain, DomainDesired, Group, IdentityProvider, Limit, Project, Role, Target, User};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::ask::Ask;
use super::noun::{self, Name, Noun, name_in, read};
use super::revocation::revoke;
use super::{immutable, projects, schemas, users};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

impl Noun for Domain {
    const SINGULAR: &'static str = "domain";
    const PLURAL: &'static str = "domains";
    const CREATE: &'static Schema = &schemas::DOMAIN_CREATE;
    const UPDATE: &'static Schema = &schemas::DOMAIN_UPDATE;
    const FILTERS: &'static [&'static str] = &["name", "enabled"];
    const QUERY: &'static Schema = &schemas::DOMAIN_INDEX_QUERY;
    const NEW_COUNTS: bool = false;

    fn blank(_: &Ask, body: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let id = match body.get("explicit_domain_id").and_then(Value::as_str) {
            None => Id::random_hex(),
            Some(text) if text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit()) => {
                Id::parse(&text.to_ascii_lowercase()).unwrap_or_else(Id::random_hex)
            }
            Some(_) => {
                return Err(Failure::BadRequest("The explicit_domain_id must be a valid UUID in hexadecimal form without dashes.".into()));
            }
        };
        Ok(Object::new(id, None, "", DomainDesired::default()))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, before: Option<&Object<Self>>) -> Result<(), Failure> {
        immutable::check_change("domain", before.map(|it| (it.id.as_str(), it.desired.immutable)), body)?;
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
        read::extra(&mut desired.extra, body, &["name", "description", "enabled", "tags", "options", "explicit_domain_id", "is_domain"]);
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = desired.extra.clone();
        shown.insert("name".into(), json!(object.name));
        shown.insert("description".into(), json!(desired.description));
        shown.insert("enabled".into(), json!(desired.enabled));
        shown.insert("tags".into(), json!(desired.tags));
        shown.insert("options".into(), immutable::shown(desired.immutable));
        shown
    }

    fn names(object: &Object<Self>) -> Vec<Name> {
        vec![name_in::<Self>("", &object.name)]
    }

    fn domain(object: &Object<Self>) -> Option<&Id<Domain>> {
        Some(&object.id)
    }

    async fn along(ask: &Ask, before: &Object<Self>, after: &Object<Self>, batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        if before.desired.enabled && !after.desired.enabled {
            return revoke(&ask.app, batch, vec![Revoked::Domain(after.id.clone())]).await;
        }
        Ok(batch)
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        immutable::check_delete("domain", object.id.as_str(), object.desired.immutable)?;
        if object.desired.enabled {
            return Err(Failure::Forbidden("Cannot delete a domain that is enabled, please disable it first.".into()));
        }
        if object.id.as_str() == "default" {
            return Err(Failure::Forbidden("The default domain cannot be deleted.".into()));
        }
        let store = &ask.app.store;
        let id = object.id.to_string();
        for user in store.list(&Query::<User>::new().column("domain_id", [id.clone()])).await? {
            batch = users::with_all_of(ask, &user, batch).await?.remove(&user);
            batch = free(batch, User::names(&user));
        }
        for group in store.list(&Query::<Group>::new().column("domain_id", [id.clone()])).await? {
            batch = Group::cascade(ask, &group, batch).await?.remove(&group);
            batch = free(batch, Group::names(&group));
        }
        for project in store.list(&Query::<Project>::new().column("domain_id", [id.clone()])).await? {
            batch = projects::with_all_of(ask, &project, batch).await?.remove(&project);
            batch = free(batch, Project::names(&project));
        }
        for role in store.list(&Query::<Role>::new().column("domain_id", [id.clone()])).await? {
            batch = Role::cascade(ask, &role, batch).await?.remove(&role);
            batch = free(batch, Role::names(&role));
        }
        let given = store.list(&Query::<Assignment>::new().column("target", [Target::Domain(object.id.clone()).key()])).await?;
        batch = given.iter().fold(batch, Batch::remove);
        let limits = store.list(&Query::<Limit>::new().column("domain_id", [id.clone()])).await?;
        batch = limits.iter().fold(batch, Batch::remove);
        batch = batch.unless_referenced::<IdentityProvider>("domain_id", &id);
        revoke(&ask.app, batch, vec![Revoked::Domain(object.id.clone())]).await
    }
}

fn free(batch: Batch<Wishes>, names: Vec<Name>) -> Batch<Wishes> {
    names.iter().fold(batch, |batch, name| batch.free(&name.pool, &name.value))
}

/// The domain a body or a caller means where none is named: the token's own, else the caller's.
pub(super) fn default_for(ask: &Ask) -> Id<Domain> {
    if let Some(domain) = &ask.caller.domain_id {
        return domain.clone();
    }
    let of_project = ask.caller.token.project.as_ref().map(|(_, domain)| domain.id.clone());
    of_project.unwrap_or_else(|| ask.caller.user_domain_id.clone())
}

/// The domain a body names, else the caller's.
pub(super) fn named_in(ask: &Ask, body: &Map<String, Value>) -> Result<Id<Domain>, Failure> {
    match body.get("domain_id").and_then(Value::as_str) {
        Some(text) => super::ask::id_of("domain", text),
        None => Ok(default_for(ask)),
    }
}

/// Refuses a body that would move an object into another domain.
pub(super) fn check_stays(domain: &Id<Domain>, body: &Map<String, Value>) -> Result<(), Failure> {
    match body.get("domain_id").and_then(Value::as_str) {
        Some(text) if text != domain.as_str() => Err(Failure::BadRequest("The domain of an object cannot be changed: domain_id".into())),
        _ => Ok(()),
    }
}

/// GET /domains: with a domain's token that domain.
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let own = ask.caller.domain_id.clone();
    ask.enforce("identity:list_domains", own.as_ref().map_or_else(|| json!({}), |id| json!({"domain": {"id": id}})))?;
    noun::check_query(&ask, Domain::QUERY)?;
    let mut found = noun::candidates::<Domain>(&ask).await?;
    found.retain(|it| own.as_ref().is_none_or(|own| *own == it.id));
    noun::answer_list(&ask, &found)
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/domains", get(list).post(noun::create::<Domain>))
        .route("/domains/{id}", get(noun::show::<Domain>).patch(noun::update::<Domain>).delete(noun::delete::<Domain>))
}
