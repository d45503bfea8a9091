//! `/tags` of every noun that has them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::net::Described;
use serde_json::{Value, json};

use super::{Noun, Work, find, permitted};
use crate::failure::Failure;
use crate::network::Ask;
use crate::resource::parse;

/// Most tags of one thing.
const MOST: usize = 50;
/// Longest tag, in characters.
const LONGEST: usize = 255;

/// Reads the list of tags in a body, without repeats, in order.
///
/// # Errors
/// It is no list of tags.
pub(crate) fn read(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or_else(|| format!("'{value}' is not a list"))?;
    let mut tags = Vec::new();
    for it in list {
        let tag = it.as_str().ok_or_else(|| format!("'{it}' is not a valid string"))?;
        checked(tag)?;
        if !tags.iter().any(|has| has == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.len() > MOST { Err(format!("The number of tags exceed the per-resource limit of {MOST}")) } else { Ok(tags) }
}

fn checked(tag: &str) -> Result<(), String> {
    if tag.is_empty() || tag.chars().count() > LONGEST || tag.contains('\0') {
        return Err(format!("'{tag}' is not a valid tag: it has 1 to {LONGEST} characters"));
    }
    Ok(())
}

fn bad(why: String) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", format!("Invalid input for tags. Reason: {why}."))
}

async fn set<K: Noun>(
    ask: &Ask,
    id: &str,
    verb: &str,
    change: impl Fn(&mut Vec<String>) -> Result<(), Failure>,
) -> Result<Vec<String>, Failure>
where
    K::Desired: Described,
{
    // Upstream names those of segments otherwise than all others.
    let rule = match K::form().rule {
        "segment" => format!("{verb}_segments_tags"),
        other => format!("{verb}_{other}:tags"),
    };
    for tries in 0.. {
        let before = permitted::<K>(ask, id, &rule).await?;
        let mut after = before.clone();
        change(after.desired.tags_mut())?;
        let mut work = Work::new(ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            return Ok(after.desired.tags().to_vec());
        }
    }
    Ok(Vec::new())
}

pub(super) async fn list<K: Noun>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure>
where
    K::Desired: Described,
{
    let (object, _) = find::<K>(&ask, &id).await?;
    Ok(Json(json!({"tags": object.desired.tags()})))
}

pub(super) async fn replace<K: Noun>(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure>
where
    K::Desired: Described,
{
    let wanted = read(parse(&body)?.get("tags").unwrap_or(&Value::Null)).map_err(bad)?;
    let tags = set::<K>(&ask, &id, "update", |tags| {
        tags.clone_from(&wanted);
        Ok(())
    })
    .await?;
    Ok(Json(json!({ "tags": tags })))
}

pub(super) async fn add_many<K: Noun>(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Response, Failure>
where
    K::Desired: Described,
{
    let wanted = read(parse(&body)?.get("tags").unwrap_or(&Value::Null)).map_err(bad)?;
    let tags = set::<K>(&ask, &id, "create", |tags| {
        for tag in &wanted {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        if tags.len() > MOST { Err(bad(format!("The number of tags exceed the per-resource limit of {MOST}"))) } else { Ok(()) }
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({ "tags": tags }))).into_response())
}

pub(super) async fn clear<K: Noun>(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure>
where
    K::Desired: Described,
{
    set::<K>(&ask, &id, "delete", |tags| {
        tags.clear();
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn no_tag(tag: &str) -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "TagNotFound", format!("Tag {tag} could not be found."))
}

pub(super) async fn has<K: Noun>(ask: Ask, Path((id, tag)): Path<(String, String)>) -> Result<StatusCode, Failure>
where
    K::Desired: Described,
{
    let (object, _) = find::<K>(&ask, &id).await?;
    if object.desired.tags().contains(&tag) { Ok(StatusCode::NO_CONTENT) } else { Err(no_tag(&tag)) }
}

pub(super) async fn add<K: Noun>(ask: Ask, Path((id, tag)): Path<(String, String)>) -> Result<StatusCode, Failure>
where
    K::Desired: Described,
{
    checked(&tag).map_err(bad)?;
    set::<K>(&ask, &id, "update", |tags| {
        if !tags.contains(&tag) {
            tags.push(tag.clone());
        }
        if tags.len() > MOST { Err(bad(format!("The number of tags exceed the per-resource limit of {MOST}"))) } else { Ok(()) }
    })
    .await?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn remove<K: Noun>(ask: Ask, Path((id, tag)): Path<(String, String)>) -> Result<StatusCode, Failure>
where
    K::Desired: Described,
{
    set::<K>(&ask, &id, "delete", |tags| {
        let before = tags.len();
        tags.retain(|it| *it != tag);
        if tags.len() == before { Err(no_tag(&tag)) } else { Ok(()) }
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
