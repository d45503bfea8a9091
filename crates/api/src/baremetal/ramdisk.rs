//! `/v1/lookup` and `/v1/heartbeat/{node}`: what the agent on a ramdisk asks, without a token of identity.
//!
//! Whoever shows the address of a card of a machine that is booting a ramdisk gets that machine's agent token, as long as nobody has
//! used it; after that it is shown to nobody. The token guards everything the agent is told and tells.

use std::sync::Arc;

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{AgentSession, AgentSessionDesired, BaremetalPort, Node, Phase};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError};
use subtle::ConstantTimeEq as _;

use super::node::parse_id;
use super::versions::HEARTBEAT_TIMEOUT;
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// What is shown of a token that was used.
const MASK: &str = "******";
/// Longest certificate of an agent, in bytes.
const MAX_CERTIFICATE: usize = 64 * 1024;

fn awaits_agent(node: &Object<Node>) -> bool {
    matches!(node.observed.phase, Phase::Agent | Phase::Work) && !node.is_deleting()
}

pub(super) async fn lookup(State(app): State<Arc<App>>, Parameters(query): Parameters) -> Result<Response, Failure> {
    let addresses: Vec<String> = query
        .get("addresses")
        .map(|text| text.split(',').map(|it| it.trim().to_ascii_lowercase()).filter(|it| !it.is_empty()).take(64).collect())
        .unwrap_or_default();
    let wanted = query.get("node_uuid").map(String::as_str).filter(|it| !it.is_empty());
    if addresses.is_empty() && wanted.is_none() {
        return Err(Failure::BadRequest("lookup needs addresses or node_uuid".into()));
    }
    let missing = || Failure::not_found("Node", wanted.unwrap_or("with these addresses"));
    let ports = app.store.list(&Query::<BaremetalPort>::new().column("address", addresses.iter().cloned())).await?;
    let id = match wanted {
        Some(text) => parse_id::<Node>(text).ok_or_else(missing)?,
        None => ports.first().map(|port| port.desired.node_id.clone()).ok_or_else(missing)?,
    };
    // Cards of two machines in one box, or another machine's: whoever asks is not the machine it says it is.
    if ports.iter().any(|port| port.desired.node_id != id) || (!addresses.is_empty() && ports.is_empty()) {
        return Err(missing());
    }
    for _ in 0..crate::race::RACES {
        let node = app.store.get(&id).await?.filter(awaits_agent).ok_or_else(missing)?;
        let session = match app.store.get(&session_id(&node)?).await? {
            Some(session) => session,
            None => {
                let desired = AgentSessionDesired {
                    token: Secret::random(),
                    callback_url: None,
                    verify_ca: None,
                    heartbeat_at: None,
                    agent_version: None,
                    status: None,
                    status_message: None,
                    pregenerated: false,
                };
                let session = Object::new(session_id(&node)?, None, "", desired);
                match app.store.apply(Batch::wishes().require(&node.id).create(&session)).await {
                    Ok(()) => session,
                    Err(StoreError::Exists { .. } | StoreError::Stale { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        return Ok(Json(found(&node, &session)).into_response());
    }
    Err(Failure::Conflict("the node is being changed; ask again".into()))
}

fn session_id(node: &Object<Node>) -> Result<Id<AgentSession>, Failure> {
    Id::parse(node.id.as_str()).ok_or_else(|| Failure::Internal("a node's id is no id".into()))
}

fn found(node: &Object<Node>, session: &Object<AgentSession>) -> Value {
    let is_used = session.desired.callback_url.is_some();
    json!({
        "node": {
            "uuid": node.id,
            "properties": node.desired.properties,
            "instance_info": node.desired.instance_info.masked(),
            "driver_internal_info": {},
        },
        "config": {
            "metrics": {"backend": "noop", "prepend_host": false, "prepend_uuid": false, "prepend_host_reverse": true, "global_prefix": null},
            "metrics_statsd": {"statsd_host": "localhost", "statsd_port": 8125},
            "heartbeat_timeout": HEARTBEAT_TIMEOUT,
            "agent_token": if is_used { MASK } else { session.desired.token.reveal() },
            "agent_token_required": true,
            // Images are verified by SHA-512.
            "agent_md5_checksum_enable": false,
            "disable_deep_image_inspection": false,
            "permitted_image_formats": ["raw"],
        },
    })
}

/// What a heartbeat says.
struct Beat {
    callback_url: String,
    token: String,
    verify_ca: String,
    version: Option<String>,
}

fn beat(body: &Value) -> Result<Beat, Failure> {
    let bad = |why: &str| Failure::BadRequest(why.to_owned());
    let text = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Failure::BadRequest(format!("{key}: a string"))),
    };
    let token = text("agent_token")?.ok_or_else(|| bad("Agent token is required for heartbeat processing"))?;
    let callback_url = text("callback_url")?.ok_or_else(|| bad("Mandatory field missing: callback_url"))?;
    let uri: http::Uri = callback_url.parse().map_err(|_| bad("callback_url: not a URL"))?;
    let host = uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']')).and_then(|host| host.parse::<IpAddr>().ok());
    if callback_url.len() > 2048 || uri.scheme_str() != Some("https") || host.is_none() {
        // Commands carry the token and the tenant's config drive.
        return Err(bad("callback_url: an https URL with an address: agents without TLS are not commanded"));
    }
    let verify_ca = text("agent_verify_ca")?.filter(|pem| pem.len() <= MAX_CERTIFICATE && pem.contains("BEGIN CERTIFICATE"));
    let verify_ca = verify_ca.ok_or_else(|| bad("agent_verify_ca: the agent's certificate, PEM, is needed to command it"))?;
    Ok(Beat { callback_url, token, verify_ca, version: text("agent_version")?.map(|it| it.chars().take(64).collect()) })
}

pub(super) async fn heartbeat(
    State(app): State<Arc<App>>,
    Path(ident): Path<String>,
    Json(body): Json<Value>,
) -> Result<Response, Failure> {
    let beat = beat(&body)?;
    for _ in 0..crate::race::RACES {
        let id: Id<Node> = parse_id(&ident).ok_or_else(|| Failure::not_found("Node", &ident))?;
        let node = app.store.get(&id).await?.ok_or_else(|| Failure::not_found("Node", &ident))?;
        let session = app.store.get(&session_id(&node)?).await?;
        let matches = |session: &Object<AgentSession>| bool::from(session.desired.token.reveal().as_bytes().ct_eq(beat.token.as_bytes()));
        let Some(mut session) = session.filter(matches) else {
            return Err(Failure::BadRequest("Invalid or missing agent token received.".into()));
        };
        let desired = &mut session.desired;
        if desired.callback_url.as_ref().is_some_and(|known| *known != beat.callback_url) {
            return Err(Failure::BadRequest("Detected change in ramdisk provided \"callback_url\"".into()));
        }
        if desired.verify_ca.as_ref().is_some_and(|known| *known != beat.verify_ca) {
            return Err(Failure::BadRequest("Detected change in ramdisk provided \"agent_verify_ca\"".into()));
        }
        if !awaits_agent(&node) {
            // The ramdisk is about to be switched off: nothing more is wanted of it.
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        desired.callback_url = Some(beat.callback_url.clone());
        desired.verify_ca = Some(beat.verify_ca.clone());
        desired.agent_version.clone_from(&beat.version);
        desired.heartbeat_at = Some(Timestamp::now());
        match app.store.apply(Batch::wishes().want(&session).wake(&node.id)).await {
            Ok(()) => return Ok(StatusCode::ACCEPTED.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("the node is being changed; beat again".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_that_are_not_taken() {
        let good = json!({"callback_url": "https://172.30.0.11:9999", "agent_token": "t", "agent_version": "1",
                          "agent_verify_ca": "-----BEGIN CERTIFICATE-----"});
        assert!(beat(&good).is_ok());
        for (key, value) in [
            ("agent_token", Value::Null),
            ("callback_url", Value::Null),
            ("callback_url", json!("http://172.30.0.11:9999")),
            ("callback_url", json!("https://agent.example:9999")),
            ("callback_url", json!("x")),
            ("agent_verify_ca", Value::Null),
            ("agent_verify_ca", json!("pem")),
            ("agent_token", json!(7)),
        ] {
            let mut body = good.clone();
            body[key] = value.clone();
            assert!(beat(&body).is_err(), "{key} {value}");
        }
    }
}
