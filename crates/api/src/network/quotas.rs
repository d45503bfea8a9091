//! `/v2.0/quotas`: how much of each resource a project may have.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::access::{Quota, QuotaDesired};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query};

use super::policies::of_project;
use super::{Ask, Extension, extension};
use crate::App;
use crate::enforce::{allows, enforce};
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::{parse, rooted, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("quotas", "Quota management support", "Expose functions for quotas management per project", "2012-07-29T10:00:00-00:00"),
    extension(
        "quota_details",
        "Quota details management support",
        "Expose functions for quotas usage statistics per project",
        "2017-02-10T10:00:00-00:00",
    ),
    extension(
        "quota-check-limit",
        "Quota engine limit check",
        "Support for checking the resource usage before applying a new quota limit",
        "2021-02-10T10:00:00-00:00",
    ),
    extension(
        "quota-check-limit-default",
        "Quota engine limit check by default",
        "By default, check the resource usage before applying a new quota limit",
        "2021-02-10T10:00:00-00:00",
    ),
];

/// Usual limits, as Neutron's configuration has them. -1: none. Source: `neutron/conf/quota.py` and the options of its plug-ins.
const DEFAULTS: &[(&str, i64)] = &[
    ("address_group", -1),
    ("bgpvpn", -1),
    ("flow_classifier", 100),
    ("floatingip", 50),
    ("l2-gateway-connection", -1),
    ("network", 100),
    ("port", 500),
    ("port_chain", 10),
    ("port_pair", 100),
    ("port_pair_group", 10),
    ("rbac_policy", 10),
    ("router", 10),
    ("router_route", 30),
    ("security_group", 10),
    ("security_group_rule", 100),
    ("service_graph", -1),
    ("subnet", 100),
    ("subnetpool", -1),
    ("trunk", -1),
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/quotas", get(list))
        // Before the project's own, as upstream: "tenant" and "project" are no projects.
        .route("/quotas/tenant", get(whose))
        .route("/quotas/project", get(whose))
        .route("/quotas/{project}", get(show).put(update).delete(reset))
        .route("/quotas/{project}/default", get(defaults))
        .route("/quotas/{project}/details", get(details))
        .route("/quotas/{project}/details.json", get(details))
}

/// The usual limit of a resource; none: nobody counts such.
fn usual(resource: &str) -> Option<i64> {
    DEFAULTS.iter().find(|(name, _)| *name == resource).map(|(_, limit)| *limit)
}

async fn of(ask: &Ask, project: &str) -> Result<Option<Object<Quota>>, Failure> {
    match Id::<Quota>::parse(project) {
        Some(id) => Ok(ask.app.store.get(&id).await?),
        None => Ok(None),
    }
}

/// How much of a resource a project may have; none: as much as it likes.
///
/// # Errors
/// The store failed.
pub(super) async fn limit(ask: &Ask, resource: &str, project: &Id<Project>) -> Result<Option<i64>, Failure> {
    let own = of(ask, project.as_str()).await?.and_then(|it| it.desired.limits.get(resource).copied());
    Ok(own.or_else(|| usual(resource)).filter(|limit| *limit >= 0))
}

fn limits(own: Option<&Object<Quota>>) -> Map<String, Value> {
    DEFAULTS
        .iter()
        .map(|(name, usual)| ((*name).to_owned(), json!(own.and_then(|it| it.desired.limits.get(*name)).unwrap_or(usual))))
        .collect()
}

fn may(ask: &Ask, rule: &str, project: &str) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, &of_project(Id::<Project>::parse(project).as_ref()))
}

async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    let mut shown = Vec::new();
    for quota in ask.app.store.list(&Query::<Quota>::new()).await? {
        if allows(&ask.app, &ask.caller, "get_quota", &of_project(Some(&quota.id))) {
            let mut one = limits(Some(&quota));
            one.insert("project_id".into(), json!(quota.id));
            one.insert("tenant_id".into(), json!(quota.id));
            shown.push(Value::Object(one));
        }
    }
    Ok(Json(json!({ "quotas": shown })))
}

async fn whose(ask: Ask) -> Result<Json<Value>, Failure> {
    let project = ask.caller.project()?;
    let last = if ask.address.ends_with("tenant") { "tenant" } else { "project" };
    Ok(Json(json!({ last: {format!("{last}_id"): project} })))
}

async fn show(ask: Ask, Path(project): Path<String>) -> Result<Json<Value>, Failure> {
    may(&ask, "get_quota", &project)?;
    Ok(Json(json!({"quota": limits(of(&ask, &project).await?.as_ref())})))
}

async fn defaults(ask: Ask, Path(project): Path<String>) -> Result<Json<Value>, Failure> {
    may(&ask, "get_quota", &project)?;
    Ok(Json(json!({"quota": limits(None)})))
}

async fn details(ask: Ask, Path(project): Path<String>) -> Result<Json<Value>, Failure> {
    may(&ask, "get_quota", &project)?;
    let own = of(&ask, &project).await?;
    let mut shown = Map::new();
    for (name, limit) in limits(own.as_ref()) {
        let used = ask.app.store.usage(&name, &project).await?;
        shown.insert(name, json!({"limit": limit, "used": used, "reserved": 0}));
    }
    Ok(Json(json!({ "quota": shown })))
}

fn bad(text: String) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", text)
}

async fn update(ask: Ask, Path(project): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    may(&ask, "update_quota", &project)?;
    let id = Id::<Quota>::parse(&project).ok_or_else(|| bad(format!("'{project}' is not the id of a project")))?;
    let body = parse(&body)?;
    let mut wanted = rooted(&body, "quota")?.clone();
    let forced = wanted.remove("force").is_some_and(|it| value::boolean(&it) == Ok(true));
    let check = wanted.remove("check_limit").is_none_or(|it| value::boolean(&it) != Ok(false)) && !forced;
    wanted.retain(|name, _| name != "project_id" && name != "tenant_id");
    let mut limits_wanted = QuotaDesired::default();
    for (name, value) in &wanted {
        if usual(name).is_none() {
            return Err(bad(format!("Unrecognized attribute(s) '{name}'")));
        }
        let limit =
            value::number(value, -1, i64::from(i32::MAX)).map_err(|why| bad(format!("Invalid input for {name}. Reason: {why}.")))?;
        let used = ask.app.store.usage(name, &project).await?;
        if check && limit >= 0 && limit < used {
            let text = format!("Quota limit for project {project} and resource {name} cannot be {limit}: {used} are in use.");
            return Err(Failure::named(StatusCode::BAD_REQUEST, "QuotaLimitBelowUsage", text));
        }
        limits_wanted.limits.insert(name.clone(), limit);
    }
    for _ in 0..RACES {
        let batch = match ask.app.store.get(&id).await? {
            Some(mut quota) => {
                quota.desired.limits.extend(limits_wanted.limits.clone());
                Batch::wishes().want(&quota)
            }
            None => Batch::wishes().create(&Object::new(id.clone(), None, "", limits_wanted.clone())),
        };
        match ask.app.store.apply(batch).await {
            Ok(()) => return Ok(Json(json!({"quota": limits(of(&ask, &project).await?.as_ref())}))),
            Err(store::StoreError::Exists { .. }) => {}
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

async fn reset(ask: Ask, Path(project): Path<String>) -> Result<Response, Failure> {
    may(&ask, "delete_quota", &project)?;
    let missing = || {
        let text = format!("Quota for tenant {project} could not be found.");
        Failure::named(StatusCode::NOT_FOUND, "TenantQuotaNotFound", text)
    };
    let quota = of(&ask, &project).await?.ok_or_else(missing)?;
    ask.app.store.apply(Batch::wishes().remove(&quota)).await?;
    Ok(axum::response::IntoResponse::into_response(StatusCode::NO_CONTENT))
}
