//! `/v1/nodes/{node}/traits`: what a machine can.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};
use store::{Batch, Severity};

use super::node::said_by;
use super::states::change;
use super::versions::Minor;
use super::words::{not_of_type, repr, too_early, unexpected};
use super::{Ask, access};
use crate::failure::Failure;

/// Most traits of one node.
const MAX_TRAITS: usize = 50;

/// The names that all of OpenStack shares (Source: os-traits 3).
static STANDARD: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("traits.txt").lines().collect());

/// Whether it is the name of a trait: a standard one, or `CUSTOM_` and capital letters, digits, underscores.
pub(super) fn is_trait(text: &str) -> bool {
    let custom = text
        .strip_prefix("CUSTOM_")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
    text.len() <= 255 && (custom || STANDARD.contains(text))
}

fn checked(name: &str, subject: &str) -> Result<(), Failure> {
    if is_trait(name) {
        return Ok(());
    }
    let shown = repr(&json!(name));
    let why = match name.len() {
        0 => "'' should be non-empty".to_owned(),
        256.. => format!("{shown} is too long"),
        _ => format!(
            "{shown} is not valid under any of the given schemas. Possible root cause: {shown} does not match '^CUSTOM_[A-Z0-9_]+$'"
        ),
    };
    Err(Failure::BadRequest(format!("Schema error for {subject}: {why}")))
}

/// Traits came with 1.37; before it each method says so in its own way.
fn since(ask: &Ask, early: impl Fn() -> Failure) -> Result<(), Failure> {
    if ask.minor < Minor(37) { Err(early()) } else { Ok(()) }
}

fn missing() -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NotFound", "Resource could not be found.")
}

/// How traits are set.
const HOW: &str = "A single node trait may be added via PUT /v1/nodes/<node identifier>/traits/<trait> with no body, or all node traits may \
                   be replaced via PUT /v1/nodes/<node identifier>/traits with the list of traits specified in the request body.";

pub(super) async fn list(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    since(&ask, too_early)?;
    let node = access::permitted(&ask, &ident, "baremetal:node:traits:list").await?;
    Ok(Json(json!({ "traits": node.desired.traits })).into_response())
}

/// Traits of a node that are to be.
enum Wanted {
    All(BTreeSet<String>),
    Also(String),
    Not(String),
}

async fn store(ask: &Ask, ident: &str, rule: &str, wanted: &Wanted) -> Result<Response, Failure> {
    change(ask, ident, rule, |node| {
        access::unlocked(node)?;
        let traits = &mut node.desired.traits;
        match wanted {
            Wanted::All(all) => traits.clone_from(all),
            Wanted::Also(one) => drop(traits.insert(one.clone())),
            Wanted::Not(one) => {
                if !traits.remove(one) {
                    let text = format!("Node {} doesn't have a trait '{one}'", node.id);
                    return Err(Failure::named(StatusCode::NOT_FOUND, "NodeTraitNotFound", text));
                }
            }
        }
        let count = traits.len();
        if count > MAX_TRAITS {
            let text = format!(
                "Could not modify traits for node {} as it would exceed the maximum number of traits per node ({count} vs. {MAX_TRAITS})",
                node.id
            );
            return Err(Failure::BadRequest(text));
        }
        Ok(Batch::wishes().history(&node.id, Severity::Info, "traits changed", &said_by(ask, node, json!({}))))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn replace(ask: Ask, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    since(&ask, || Failure::MethodNotAllowed)?;
    let bad = |why: String| Failure::BadRequest(format!("Schema error for body: {why}"));
    let rule = "baremetal:node:traits:set";
    let map = body.as_object().ok_or_else(|| bad(not_of_type(&body, "object")))?;
    let other: Vec<&str> = map.keys().map(String::as_str).filter(|key| *key != "traits").collect();
    if !other.is_empty() {
        return Err(bad(unexpected(&other)));
    }
    access::permitted(&ask, &ident, rule).await?;
    let list = match map.get("traits") {
        Some(Value::Array(list)) => list,
        Some(other) => return Err(bad(not_of_type(other, "array"))),
        None => {
            return Err(Failure::BadRequest(HOW.into()));
        }
    };
    let mut all = BTreeSet::new();
    for item in list {
        let name = item.as_str().ok_or_else(|| bad(not_of_type(item, "string")))?;
        checked(name, "body")?;
        all.insert(name.to_owned());
    }
    store(&ask, &ident, rule, &Wanted::All(all)).await
}

pub(super) async fn add(ask: Ask, Path((ident, name)): Path<(String, String)>, body: axum::body::Bytes) -> Result<Response, Failure> {
    since(&ask, || Failure::MethodNotAllowed)?;
    checked(&name, "trait")?;
    let rule = "baremetal:node:traits:set";
    access::permitted(&ask, &ident, rule).await?;
    let given = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    if given.get("traits").is_some() {
        return Err(Failure::BadRequest(HOW.into()));
    }
    if !body.is_empty() && !given.is_null() && given != json!({}) {
        return Err(Failure::BadRequest("No body should be provided when adding a trait".into()));
    }
    let location = format!("{}/v1/nodes/{ident}/traits/{name}", ask.base);
    let done = store(&ask, &ident, rule, &Wanted::Also(name)).await?;
    Ok(([(header::LOCATION, location)], done).into_response())
}

pub(super) async fn clear(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    since(&ask, missing)?;
    store(&ask, &ident, "baremetal:node:traits:delete", &Wanted::All(BTreeSet::new())).await
}

pub(super) async fn remove(ask: Ask, Path((ident, name)): Path<(String, String)>) -> Result<Response, Failure> {
    since(&ask, missing)?;
    store(&ask, &ident, "baremetal:node:traits:delete", &Wanted::Not(name)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["CUSTOM_A", "CUSTOM_GPU_1", "HW_CPU_X86_VMX", "COMPUTE_NODE"] {
            assert!(is_trait(good), "{good}");
        }
        for bad in ["", "CUSTOM_", "CUSTOM_a", "GPU", "hw_cpu_x86_vmx", &format!("CUSTOM_{}", "A".repeat(250))] {
            assert!(!is_trait(bad), "{bad}");
        }
    }
}
