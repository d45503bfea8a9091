//! `/v1/shards`: which shards nodes are in, and how many are in each.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::Node;
use serde_json::{Value, json};
use store::Query;

use super::resource::refused;
use super::versions::Minor;
use super::{Ask, access};
use crate::failure::Failure;

/// `GET /v1/shards`. Nodes in no shard are counted under `None`, as Ironic counts them.
pub(super) async fn list(ask: Ask) -> Result<Response, Failure> {
    if ask.minor < Minor(82) {
        return Err(refused(StatusCode::NOT_FOUND, "The API version does not allow shards"));
    }
    access::require_any(&ask, "baremetal:shards:get")?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for node in ask.app.store.list(&Query::<Node>::new()).await? {
        *counts.entry(node.desired.shard.unwrap_or_else(|| "None".into())).or_default() += 1;
    }
    let shards: Vec<Value> = counts.into_iter().map(|(name, count)| json!({"name": name, "count": count})).collect();
    Ok(Json(json!({ "shards": shards })).into_response())
}
