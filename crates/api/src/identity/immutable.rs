//! Objects that can be neither changed nor removed (Source: Identity API reference, resource option `immutable`).

use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// Refuses a change of an immutable object that is not the end of its being so.
pub(super) fn check_change(what: &str, before: Option<(&str, Option<bool>)>, body: &Map<String, Value>) -> Result<(), Failure> {
    let Some((id, Some(true))) = before else { return Ok(()) };
    let ends = body.get("options").and_then(|it| it.get("immutable")).is_some_and(|it| it.as_bool() != Some(true));
    if ends && body.len() == 1 {
        return Ok(());
    }
    Err(Failure::Forbidden(format!("Cannot update {what} {id}: it is immutable. Set the option immutable to false first.")))
}

/// Refuses the removal of an immutable object.
pub(super) fn check_delete(what: &str, id: &str, is_immutable: Option<bool>) -> Result<(), Failure> {
    if is_immutable == Some(true) {
        return Err(Failure::Forbidden(format!("Cannot delete {what} {id}: it is immutable. Set the option immutable to false first.")));
    }
    Ok(())
}

/// `options` as shown: an option that was never set is not.
pub(super) fn shown(is_immutable: Option<bool>) -> Value {
    is_immutable.map_or_else(|| json!({}), |it| json!({"immutable": it}))
}
