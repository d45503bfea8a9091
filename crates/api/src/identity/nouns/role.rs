//! Roles.

use axum::extract::Path;
use http::StatusCode;
use model::Object;
use model::identity::{Assignment, Role, RoleDesired};
use serde_json::{Value, json};
use store::Query;

use super::super::Ask;
use super::{Noun, find};
use crate::failure::Failure;
use crate::resource::value;

impl Noun for Role {
    const SINGULAR: &'static str = "role";
    const PLURAL: &'static str = "roles";
    const TITLE: &'static str = "Role";
    const ATTRIBUTES: &'static [&'static str] = &["description"];

    fn blank(_: &Ask) -> RoleDesired {
        RoleDesired::default()
    }

    fn scope(_: &RoleDesired) -> String {
        String::new()
    }

    fn take(desired: &mut RoleDesired, _: &str, value: &Value) -> Result<(), String> {
        desired.description = if value.is_null() { None } else { Some(value::text(value, 255)?) };
        Ok(())
    }

    fn show(object: &Object<Self>) -> Value {
        json!({"description": object.desired.description, "domain_id": object.desired.domain_id, "options": {}})
    }

    fn is_own(_: &Object<Self>, _: &Ask) -> bool {
        false
    }
}

pub(in super::super) fn shown(object: &Object<Role>, ask: &Ask) -> Value {
    super::shown(object, ask)
}

/// DELETE /roles/{id}, and from whoever has it.
pub(in super::super) async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    ask.caller.require_admin()?;
    let role = find::<Role>(&ask, &id).await?;
    let given = ask.app.store.list(&Query::<Assignment>::new().column("role_id", [role.id.to_string()])).await?;
    super::delete_with(&ask, &role, |batch| given.iter().fold(batch, |batch, it| batch.remove(it))).await
}
