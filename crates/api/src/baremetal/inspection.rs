//! `/v1/continue_inspection`: what a ramdisk found out about its machine.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{Node, NodeInventory, NodeInventoryDesired, ProvisionState};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, StoreError};

use super::ramdisk::{Knock, cards, found, nothing, session};
use super::versions::Minor;
use super::words::not_of_type;
use crate::failure::Failure;
use crate::page::Parameters;

/// Largest inventory, in bytes of its text.
pub(super) const MAX_BODY: usize = 16 << 20;
/// Largest of what is kept of one.
const MAX_KEPT: usize = 4 << 20;

/// What was sent.
struct Told {
    inventory: Value,
    /// Of its cards.
    addresses: Vec<String>,
    /// What else was sent.
    rest: Map<String, Value>,
}

fn read(body: Value) -> Result<Told, Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Schema error for data: {why}"));
    let Value::Object(mut rest) = body else { return Err(bad(not_of_type(&body, "object"))) };
    let inventory = rest.remove("inventory").ok_or_else(|| bad("'inventory' is a required property".into()))?;
    if !inventory.is_object() {
        return Err(bad(not_of_type(&inventory, "object")));
    }
    for key in ["bmc_address", "bmc_v6address"] {
        if let Some(other) = inventory.get(key).filter(|it| !it.is_null() && !it.is_string()) {
            return Err(bad(not_of_type(other, "string|null")));
        }
    }
    let cards_of = inventory.get("interfaces").ok_or_else(|| bad("'interfaces' is a required property".into()))?;
    let list = cards_of.as_array().ok_or_else(|| bad(not_of_type(cards_of, "array")))?;
    if list.is_empty() {
        return Err(bad("[] should be non-empty".into()));
    }
    let mut texts = Vec::new();
    for card in list {
        let address = card.get("mac_address").ok_or_else(|| bad("'mac_address' is a required property".into()))?;
        texts.push(address.as_str().ok_or_else(|| bad(not_of_type(address, "string")))?.to_owned());
    }
    let addresses = cards(texts.iter().map(String::as_str));
    // The archive of the ramdisk's logs: large, and of no use to rules.
    rest.remove("logs");
    Ok(Told { inventory, addresses, rest })
}

pub(super) async fn proceed(knock: Knock, Parameters(query): Parameters, Json(body): Json<Value>) -> Result<Response, Failure> {
    let node_uuid = query.get("node_uuid").map(String::as_str).filter(|it| !it.is_empty());
    let with_token = knock.minor >= Minor(84);
    // The inspector's clients ask for no version, and name no node.
    if !with_token && (knock.minor != Minor(1) || node_uuid.is_some()) {
        return Err(Failure::named(StatusCode::NOT_FOUND, "NotFound", "API version 1.84 or newer is required"));
    }
    let Told { inventory, addresses, rest } = read(body)?;
    if addresses.is_empty() && node_uuid.is_none() {
        return Err(Failure::BadRequest("No lookup information provided".into()));
    }
    let desired = NodeInventoryDesired { inventory, plugin_data: Value::Object(rest) };
    if serde_json::to_string(&desired).map_or(usize::MAX, |it| it.len()) > MAX_KEPT {
        return Err(Failure::BadRequest(format!("Inventory is larger than {MAX_KEPT} bytes")));
    }
    for _ in 0..crate::race::RACES {
        let node = knock.find(&addresses, node_uuid).await?.filter(|it| it.observed.state == ProvisionState::Inspecting);
        let node = node.ok_or_else(nothing)?;
        // Before the inventory is known: a token may be made with it.
        let session = if with_token { session(&knock, &node).await? } else { None };
        if with_token && session.is_none() {
            continue;
        }
        match knock.app.store.apply(stored(&knock, &node, desired.clone()).await?).await {
            Ok(()) => {}
            Err(StoreError::Exists { .. } | StoreError::Stale { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        let answer = match &session {
            Some(session) => found(&knock, &node, session),
            None => json!({"uuid": node.id}),
        };
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    }
    Err(Failure::Conflict("the node is being changed; tell again".into()))
}

/// Puts the inventory in the place of the last one and has the node looked at.
async fn stored(knock: &Knock, node: &Object<Node>, desired: NodeInventoryDesired) -> Result<Batch<store::Wishes>, Failure> {
    let id: Id<NodeInventory> = Id::parse(node.id.as_str()).ok_or_else(|| Failure::Internal("a node's id is no id".into()))?;
    let batch = Batch::wishes().require(&node.id).wake(&node.id);
    Ok(match knock.app.store.get(&id).await? {
        Some(mut old) => {
            old.desired = desired;
            batch.want(&old)
        }
        None => batch.create(&Object::new(id, None, "", desired)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventories() {
        let body =
            json!({"inventory": {"interfaces": [{"mac_address": "52:54:00:AA:00:01"}, {"mac_address": "x"}]}, "logs": "…", "error": null});
        let Told { addresses, rest, .. } = read(body).unwrap();
        assert_eq!(addresses, ["52:54:00:aa:00:01"]);
        assert_eq!(rest.keys().collect::<Vec<_>>(), ["error"]);
        for bad in [
            json!([]),
            json!({}),
            json!({"inventory": {}}),
            json!({"inventory": {"interfaces": []}}),
            json!({"inventory": {"interfaces": [{"name": "eth0"}]}}),
            json!({"inventory": {"interfaces": [{"mac_address": 7}]}}),
            json!({"inventory": {"interfaces": [{"mac_address": "x"}], "bmc_address": 7}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
