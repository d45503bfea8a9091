//! `/v1/nodes/{node}/children`: the nodes that are part of a node.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use model::baremetal::Node;
use serde_json::{Value, json};
use store::Query;

use super::versions::Minor;
use super::{Ask, access};
use crate::failure::Failure;

pub(super) async fn list(ask: Ask, Path(ident): Path<String>) -> Result<Response, Failure> {
    if ask.minor < Minor(83) {
        return Err(Failure::NoRoute);
    }
    let parent = access::node(&ask, &ident).await?;
    let all = access::lists_all(&ask, "baremetal:node:list_all", "baremetal:node:list")?;
    let found = ask.app.store.list(&Query::<Node>::new().column("parent_node", [parent.id.to_string()])).await?;
    let seen = found.iter().filter(|node| all || access::may(&ask, "baremetal:node:get", node));
    let children: Vec<Value> = seen.map(|node| json!(node.id)).collect();
    let link = json!({"href": format!("{}/v1/nodes?parent_node={}", ask.base, parent.id), "rel": "children"});
    Ok(Json(json!({"children": children, "links": link})).into_response())
}
