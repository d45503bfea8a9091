//! Projects.

use axum::extract::Path;
use http::StatusCode;
use model::identity::{Assignment, Domain, Project, ProjectDesired, Target};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::super::Ask;
use super::{Noun, find};
use crate::App;
use crate::failure::Failure;
use crate::resource::value;

impl Noun for Project {
    const SINGULAR: &'static str = "project";
    const PLURAL: &'static str = "projects";
    const TITLE: &'static str = "Project";
    const ATTRIBUTES: &'static [&'static str] = &["domain_id", "description", "enabled", "is_domain", "parent_id", "tags"];

    fn blank(ask: &Ask) -> ProjectDesired {
        ProjectDesired {
            domain_id: ask.caller.user_domain_id.clone(),
            parent_id: None,
            description: String::new(),
            enabled: true,
            tags: Vec::new(),
        }
    }

    fn scope(desired: &ProjectDesired) -> String {
        desired.domain_id.to_string()
    }

    fn take(desired: &mut ProjectDesired, attribute: &str, value: &Value) -> Result<(), String> {
        match attribute {
            "domain_id" => desired.domain_id = value::id(value)?,
            "description" => desired.description = value::text(value, 64 * 1024)?,
            "enabled" => desired.enabled = value::boolean(value)?,
            "is_domain" => {
                if value::boolean(value)? {
                    return Err("a project cannot be a domain here".into());
                }
            }
            "parent_id" => {
                // Directly below the domain is all there is so far.
                if !value.is_null() && value.as_str() != Some(desired.domain_id.as_str()) {
                    return Err("projects lie directly below their domain".into());
                }
            }
            _ => {
                let tags = value.as_array().ok_or("it is not a list")?;
                if tags.len() > 80 {
                    return Err("there are more than 80".into());
                }
                desired.tags = tags.iter().map(|tag| value::text(tag, 255)).collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Value {
        let desired = &object.desired;
        json!({
            "domain_id": desired.domain_id, "parent_id": desired.domain_id, "description": desired.description, "enabled": desired.enabled,
            "is_domain": false, "tags": desired.tags, "options": {},
        })
    }

    fn is_own(object: &Object<Self>, ask: &Ask) -> bool {
        ask.caller.project_id.as_ref() == Some(&object.id)
    }
}

pub(in super::super) fn shown(object: &Object<Project>, ask: &Ask) -> Value {
    super::shown(object, ask)
}

pub(in super::super) async fn named(app: &App, domain: &Id<Domain>, name: &str) -> Result<Option<Object<Project>>, Failure> {
    super::named(app, domain.as_str(), name).await
}

/// DELETE /projects/{id}, with the roles given on it.
pub(in super::super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    ask.caller.require_admin()?;
    let project = find::<Project>(&ask, &id).await?;
    let given = ask.app.store.list(&Query::<Assignment>::new().column("target", [Target::Project(project.id.clone()).key()])).await?;
    super::delete_with(&ask, &project, |batch| given.iter().fold(batch, |batch, it| batch.remove(it))).await
}
