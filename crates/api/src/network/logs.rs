//! `/v2.0/log`: which packets are to be logged.

use std::sync::{Arc, LazyLock};

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::Port;
use model::net::metering::{Log, LogDesired, LogEvent};
use model::net::security::SecurityGroup;
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Work, field, routes as noun_routes};
use super::policies::of_project;
use super::{Ask, Extension, extension};
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[extension(
    "logging",
    "Logging API Extension",
    "Provides a logging API for resources such as security group and firewall.",
    "2017-01-01T10:00:00-00:00",
)];

/// What can decide about packets and say so.
const LOGGABLE: &str = "security_group";

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<Log>().route("/log/loggable-resources", get(loggable))
}

async fn loggable(ask: Ask) -> Result<Json<Value>, Failure> {
    enforce(&ask.app, &ask.caller, "get_loggable_resource", &of_project(ask.caller.project_id.as_ref()))?;
    Ok(Json(json!({"loggable_resources": [{"type": LOGGABLE}]})))
}

fn id_or_null(v: &Value) -> Result<Option<String>, String> {
    if v.is_null() { Ok(None) } else { value::id::<()>(v).map(|it| Some(it.to_string())) }
}

static FORM: LazyLock<Form<Log>> = LazyLock::new(|| {
    Form::new("log", "logs", "log/logs", "LogResourceNotFound", "Log resource").named().stamped().fields(vec![
        field("description", |it: &Object<Log>, _: &()| json!(it.desired.description))
            .set(|it, v| put(&mut it.desired.description, value::text(v, 255)))
            .sort(),
        field("resource_type", |it: &Object<Log>, _| json!(it.desired.resource_type))
            .set_once(|it, v| put(&mut it.desired.resource_type, value::text(v, 255)))
            .required()
            .sort(),
        field("resource_id", |it: &Object<Log>, _| json!(it.desired.resource_id))
            .set_once(|it, v| put(&mut it.desired.resource_id, id_or_null(v)))
            .sort()
            .column("resource_id"),
        field("target_id", |it: &Object<Log>, _| json!(it.desired.target_id))
            .set_once(|it, v| put(&mut it.desired.target_id, id_or_null(v)))
            .sort()
            .column("target_id"),
        field("event", |it: &Object<Log>, _| json!(it.desired.event))
            .set_once(|it, v| {
                let read = serde_json::from_value::<LogEvent>(v.clone());
                put(&mut it.desired.event, read.map_err(|_| format!("{v} is not in ['ACCEPT', 'DROP', 'ALL']")))
            })
            .filter(),
        field("enabled", |it: &Object<Log>, _| json!(it.desired.enabled))
            .set(|it, v| put(&mut it.desired.enabled, value::boolean(v)))
            .sort(),
    ])
});

impl Noun for Log {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<LogDesired, Failure> {
        Ok(LogDesired {
            description: String::new(),
            resource_type: String::new(),
            resource_id: None,
            target_id: None,
            event: LogEvent::All,
            enabled: true,
        })
    }

    async fn create(work: &mut Work<'_>, log: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let it = &log.desired;
        if it.resource_type != LOGGABLE {
            let text = format!("Invalid log resource_type: {}.", it.resource_type);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "InvalidLogResourceType", text));
        }
        let store = &work.ask.app.store;
        if let Some(id) = &it.resource_id {
            let missing = || Failure::named(StatusCode::NOT_FOUND, "ResourceNotFound", format!("Resource {id} could not be found."));
            let group: Id<SecurityGroup> = Id::parse(id).ok_or_else(missing)?;
            store.get(&group).await?.ok_or_else(missing)?;
            work.gone_means::<SecurityGroup>(missing());
            work.step(|batch| batch.require(&group));
        }
        let Some(id) = &it.target_id else { return Ok(()) };
        let missing =
            || Failure::named(StatusCode::NOT_FOUND, "TargetResourceNotFound", format!("Target resource {id} could not be found."));
        let target: Id<Port> = Id::parse(id).ok_or_else(missing)?;
        let port = store.get(&target).await?.filter(|it| !it.is_deleting()).ok_or_else(missing)?;
        work.gone_means::<Port>(missing());
        work.step(|batch| batch.require(&target));
        if let Some(group) = &it.resource_id
            && !port.desired.security_groups.iter().any(|has| has.as_str() == group)
        {
            let text = format!("Invalid resource constraint between resource (security_group {group}) and target resource (port {id}).");
            return Err(Failure::named(StatusCode::BAD_REQUEST, "InvalidResourceConstraint", text));
        }
        Ok(())
    }
}

/// Removes what was to be logged of a security group or a port that goes away.
///
/// # Errors
/// The store failed.
pub(super) async fn forget(work: &mut Work<'_>, column: &'static str, id: &str) -> Result<(), Failure> {
    for log in work.ask.app.store.list_few(&Query::<Log>::new().column(column, [id.to_owned()])).await? {
        work.step(|batch| batch.remove(&log));
    }
    Ok(())
}
