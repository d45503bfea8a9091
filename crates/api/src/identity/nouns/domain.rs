//! Domains.

use axum::extract::Path;
use http::StatusCode;
use model::Object;
use model::identity::{Domain, DomainDesired, Project, User};
use serde_json::{Value, json};

use super::super::Ask;
use super::{Noun, find};
use crate::failure::Failure;
use crate::resource::value;

impl Noun for Domain {
    const SINGULAR: &'static str = "domain";
    const PLURAL: &'static str = "domains";
    const TITLE: &'static str = "Domain";
    const ATTRIBUTES: &'static [&'static str] = &["description", "enabled"];

    fn blank(_: &Ask) -> DomainDesired {
        DomainDesired::default()
    }

    fn scope(_: &DomainDesired) -> String {
        String::new()
    }

    fn take(desired: &mut DomainDesired, attribute: &str, value: &Value) -> Result<(), String> {
        match attribute {
            "enabled" => desired.enabled = value::boolean(value)?,
            _ => desired.description = value::text(value, 64 * 1024)?,
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Value {
        json!({"description": object.desired.description, "enabled": object.desired.enabled, "options": {}})
    }

    fn is_own(object: &Object<Self>, ask: &Ask) -> bool {
        ask.caller.user_domain_id == object.id
    }
}

pub(in super::super) fn shown(object: &Object<Domain>, ask: &Ask) -> Value {
    super::shown(object, ask)
}

/// DELETE /domains/{id}: disabled and empty ones only.
pub(in super::super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    ask.caller.require_admin()?;
    let domain = find::<Domain>(&ask, &id).await?;
    if domain.desired.enabled {
        return Err(Failure::Forbidden("Cannot delete a domain that is enabled, please disable it first.".into()));
    }
    let key = domain.id.to_string();
    super::delete_with(&ask, &domain, |batch| {
        batch.unless_referenced::<Project>("domain_id", &key).unless_referenced::<User>("domain_id", &key)
    })
    .await
}
