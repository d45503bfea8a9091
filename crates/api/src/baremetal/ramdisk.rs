//! `/v1/lookup` and `/v1/heartbeat/{node}`: what the agent on a ramdisk asks, without a token of identity.
//!
//! Whoever shows the address of a card of a machine that is booting a ramdisk gets that machine's agent token, as long as nobody has
//! used it; after that it is shown to nobody. The token guards everything the agent is told and tells. On the listener that everybody
//! reaches only machines are known that are on no provisioning network.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use model::baremetal::{AgentSession, AgentSessionDesired, BaremetalPort, Interface, Node, OnNetwork, Phase};
use model::{Id, Object, Secret, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query, StoreError};
use subtle::ConstantTimeEq as _;

use super::access::{is_logical_name, parse_id};
use super::node_fields::links;
use super::versions::{HEARTBEAT_TIMEOUT, Minor, RANGE};
use crate::App;
use crate::failure::Failure;
use crate::page::Parameters;

/// What is shown of a token that was used.
const MASK: &str = "******";
/// Longest certificate of an agent, in bytes.
const MAX_CERTIFICATE: usize = 64 * 1024;
/// Longest message of an agent on its own state, in characters.
const MAX_MESSAGE: usize = 1024;

/// Marks requests that came by the listener on the provisioning network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Provisioning;

/// A request of an agent.
pub(super) struct Knock {
    pub app: Arc<App>,
    pub minor: Minor,
    pub base: String,
    provisioning: bool,
    network: Option<OnNetwork>,
}

impl FromRequestParts<Arc<App>> for Knock {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        if parts.uri.path().contains("%00") || parts.uri.query().is_some_and(|it| it.contains("%00")) {
            return Err(Failure::BadRequest("The address contains a NUL character.".into()));
        }
        Ok(Self {
            app: Arc::clone(app),
            minor: parts.extensions.get::<Minor>().copied().unwrap_or(Minor(RANGE.min.1)),
            base: super::base(app, &parts.headers),
            provisioning: parts.extensions.get::<Provisioning>().is_some(),
            network: parts.extensions.get::<OnNetwork>().cloned(),
        })
    }
}

impl Knock {
    /// Whether the node's agent may ask by this listener: from the network its ramdisk is plugged into, and from no other.
    pub(super) async fn reaches(&self, node: &Object<Node>) -> Result<bool, Failure> {
        let Some(OnNetwork(network)) = self.network.as_ref().filter(|_| !is_unplugged(node)) else {
            return Ok(self.provisioning || is_unplugged(node));
        };
        let Some(port) = &node.observed.ramdisk_port else { return Ok(false) };
        Ok(self.app.store.get(port).await?.is_some_and(|port| port.desired.network_id == *network))
    }

    /// The node with these cards and this id, whichever are given: all that are known must be of one node.
    pub(super) async fn find(&self, addresses: &[String], wanted: Option<&str>) -> Result<Option<Object<Node>>, Failure> {
        let ports = self.app.store.list(&Query::<BaremetalPort>::new().column("address", addresses.iter().cloned())).await?;
        let id = match wanted {
            Some(text) => parse_id::<Node>(text),
            None => ports.first().map(|port| port.desired.node_id.clone()),
        };
        let Some(id) = id else { return Ok(None) };
        // Cards of two machines in one box, or another machine's: whoever asks is not the machine it says it is.
        if ports.iter().any(|port| port.desired.node_id != id) || (!addresses.is_empty() && ports.is_empty()) {
            return Ok(None);
        }
        match self.app.store.get(&id).await? {
            Some(node) if awaits_agent(&node) && self.reaches(&node).await? => Ok(Some(node)),
            _ => Ok(None),
        }
    }
}

/// Whether the node is on no network of ours: then its agent has no provisioning network to ask by.
fn is_unplugged(node: &Object<Node>) -> bool {
    node.desired.interface(Interface::Network) == "noop"
}

fn awaits_agent(node: &Object<Node>) -> bool {
    matches!(node.observed.phase, Phase::Agent | Phase::Work) && !node.is_deleting()
}

/// What is not there, or not to be told of: the two are not told apart.
pub(super) fn nothing() -> Failure {
    Failure::named(StatusCode::NOT_FOUND, "NotFound", "Resource could not be found.")
}

/// Addresses of cards as they are kept; what is none is left out.
pub(super) fn cards<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    texts.filter_map(super::resource::mac).take(64).collect()
}

pub(super) async fn lookup(knock: Knock, Parameters(query): Parameters) -> Result<Response, Failure> {
    if knock.minor < Minor(22) {
        return Err(nothing());
    }
    let addresses = cards(query.get("addresses").map_or("", String::as_str).split(',').map(str::trim));
    let wanted = query.get("node_uuid").map(String::as_str).filter(|it| !it.is_empty());
    if addresses.is_empty() && wanted.is_none() {
        return Err(Failure::BadRequest("At least one of 'addresses' and 'node_uuid' parameters is required".into()));
    }
    for _ in 0..crate::race::RACES {
        let node = knock.find(&addresses, wanted).await?.ok_or_else(nothing)?;
        if let Some(session) = session(&knock, &node).await? {
            return Ok(Json(found(&knock, &node, &session)).into_response());
        }
    }
    Err(Failure::Conflict("the node is being changed; ask again".into()))
}

/// The session of the node's boot, made if there is none; `None` if somebody else makes it.
pub(super) async fn session(knock: &Knock, node: &Object<Node>) -> Result<Option<Object<AgentSession>>, Failure> {
    let store = &knock.app.store;
    let old = store.get(&session_id(node)?).await?;
    // One of an earlier boot is that boot's; a token that we put into the ramdisk was made before it booted.
    let is_stale = |session: &Object<AgentSession>| {
        !session.desired.pregenerated && node.observed.booted_at.is_some_and(|booted| session.created_at < booted)
    };
    let mut batch = Batch::wishes().require(&node.id);
    match old {
        Some(session) if !is_stale(&session) => return Ok(Some(session)),
        Some(session) => batch = batch.remove(&session),
        None => {}
    }
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
    let session = Object::new(session_id(node)?, None, "", desired);
    match store.apply(batch.create(&session)).await {
        Ok(()) => Ok(Some(session)),
        Err(StoreError::Exists { .. } | StoreError::Stale { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn session_id(node: &Object<Node>) -> Result<Id<AgentSession>, Failure> {
    Id::parse(node.id.as_str()).ok_or_else(|| Failure::Internal("a node's id is no id".into()))
}

/// What an agent is told of its node and of how it is to behave (Source: `ironic/api/controllers/v1/ramdisk.py`).
pub(super) fn found(knock: &Knock, node: &Object<Node>, session: &Object<AgentSession>) -> Value {
    let is_used = session.desired.pregenerated || session.desired.callback_url.is_some();
    json!({
        "node": {
            "uuid": node.id,
            "properties": node.desired.properties,
            "instance_info": node.desired.instance_info.masked(),
            "driver_internal_info": {},
            "links": links(&knock.base, &format!("nodes/{}", node.id)),
        },
        "config": {
            "metrics": {"backend": "noop", "prepend_host": false, "prepend_uuid": false, "prepend_host_reverse": true, "global_prefix": null},
            "metrics_statsd": {"statsd_host": "localhost", "statsd_port": 8125},
            "heartbeat_timeout": HEARTBEAT_TIMEOUT,
            "agent_token": if is_used { MASK } else { session.desired.token.reveal() },
            "agent_token_required": true,
            // Images are verified by SHA-256 or SHA-512.
            "agent_md5_checksum_enable": false,
            "disable_deep_image_inspection": false,
            "permitted_image_formats": ["raw", "gpt", "qcow2", "iso"],
            // Where the controller is known already.
            "agent_skip_bmc_detect": node.desired.interface(Interface::Management) == "redfish",
        },
    })
}

/// What a heartbeat says.
struct Beat {
    callback_url: String,
    token: String,
    verify_ca: Option<String>,
    version: Option<String>,
    status: Option<String>,
    status_message: Option<String>,
}

fn beat(minor: Minor, body: &Value) -> Result<Beat, Failure> {
    let bad = |why: &str| Failure::BadRequest(why.to_owned());
    let text = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Failure::BadRequest(format!("Expected string for {key}"))),
    };
    super::words::only(
        body,
        &["callback_url", "agent_version", "agent_token", "agent_verify_ca", "agent_status", "agent_status_message", "node_ident"],
    )?;
    let version: Option<String> = text("agent_version")?.map(|it| it.chars().take(64).collect());
    if version.is_some() && minor < Minor(36) {
        return Err(bad("Field \"agent_version\" not recognised"));
    }
    let (status, status_message) = (text("agent_status")?, text("agent_status_message")?);
    if (status.is_some() || status_message.is_some()) && minor < Minor(72) {
        return Err(bad("Fields \"agent_status\" and \"agent_status_message\" not recognised."));
    }
    let verify_ca = text("agent_verify_ca")?;
    if verify_ca.is_some() && minor < Minor(68) {
        return Err(bad("Field \"agent_verify_ca\" not recognised in this version"));
    }
    if verify_ca.as_ref().is_some_and(|pem| pem.len() > MAX_CERTIFICATE || !pem.contains("BEGIN CERTIFICATE")) {
        return Err(bad("agent_verify_ca: not a certificate in PEM"));
    }
    let callback_url = text("callback_url")?.ok_or_else(|| bad("Missing mandatory parameter: callback_url"))?;
    let issue = || bad("An issue with the supplied \"callback_url\" has been detected.");
    let uri: http::Uri = callback_url.parse().map_err(|_| issue())?;
    if callback_url.len() > 2048 || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(issue());
    }
    let token = text("agent_token")?.ok_or_else(|| bad("Agent token is required for heartbeat processing."))?;
    if status.as_ref().is_some_and(|it| !["start", "end", "error"].contains(&it.as_str())) {
        return Err(bad("Agent status is invalid. Valid states are start,end,error."));
    }
    let status_message = status_message.map(|it| it.chars().take(MAX_MESSAGE).collect());
    Ok(Beat { callback_url, token, verify_ca, version, status, status_message })
}

/// Commands carry the token and the tenant's config drive: an agent that cannot be told from others by its certificate is not given
/// any, unless its machine is on no network of ours.
fn trusted(node: &Object<Node>, beat: &Beat) -> Result<(), Failure> {
    let uri: Option<http::Uri> = beat.callback_url.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host).map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    // Names are not asked of anybody: the answer could be another machine's address.
    if host.is_none_or(|host| host.parse::<IpAddr>().is_err()) {
        return Err(Failure::BadRequest("An issue with the supplied \"callback_url\" has been detected.".into()));
    }
    if is_unplugged(node) {
        return Ok(());
    }
    if !beat.callback_url.starts_with("https://") {
        return Err(Failure::BadRequest("callback_url: not https; agents without TLS are not commanded".into()));
    }
    match beat.verify_ca {
        Some(_) => Ok(()),
        None => Err(Failure::BadRequest("agent_verify_ca: the agent's certificate, PEM, is needed to command it".into())),
    }
}

/// Takes over what a heartbeat says, once. What was said in an earlier boot, with a token that outlives boots, is forgotten.
fn take_over(node: &Object<Node>, session: &mut AgentSessionDesired, beat: &Beat) -> Result<(), Failure> {
    let booted_since =
        session.pregenerated && node.observed.booted_at.is_some_and(|booted| session.heartbeat_at.is_some_and(|beat| beat < booted));
    if booted_since {
        session.callback_url = None;
        session.verify_ca = None;
    }
    let changed = |what: &str| Failure::BadRequest(format!("Detected change in ramdisk provided \"{what}\""));
    if session.callback_url.as_ref().is_some_and(|known| *known != beat.callback_url) {
        return Err(changed("callback_url"));
    }
    if session.callback_url.is_some() && session.verify_ca != beat.verify_ca {
        return Err(changed("agent_verify_ca"));
    }
    session.callback_url = Some(beat.callback_url.clone());
    session.verify_ca.clone_from(&beat.verify_ca);
    session.agent_version.clone_from(&beat.version);
    session.status.clone_from(&beat.status);
    session.status_message.clone_from(&beat.status_message);
    session.heartbeat_at = Some(Timestamp::now());
    Ok(())
}

/// The node of that id or name.
async fn named(app: &App, ident: &str) -> Result<Object<Node>, Failure> {
    let found = match parse_id::<Node>(ident) {
        Some(id) => app.store.get(&id).await?,
        None if is_logical_name(ident) => app.store.list(&Query::<Node>::new().name(ident)).await?.pop(),
        None => None,
    };
    found.ok_or_else(|| Failure::not_found("Node", ident))
}

/// A heartbeat that does not say whose.
pub(super) async fn heartbeat_of_none(knock: Knock) -> Failure {
    if knock.minor < Minor(22) { Failure::NoRoute } else { Failure::BadRequest("Missing mandatory parameter: node_ident".into()) }
}

pub(super) async fn heartbeat(knock: Knock, Path(ident): Path<String>, Json(body): Json<Value>) -> Result<Response, Failure> {
    if knock.minor < Minor(22) {
        return Err(nothing());
    }
    let beat = beat(knock.minor, &body)?;
    let store = &knock.app.store;
    for _ in 0..crate::race::RACES {
        let node = named(&knock.app, &ident).await?;
        if !knock.reaches(&node).await? {
            return Err(Failure::not_found("Node", &ident));
        }
        let session = store.get(&session_id(&node)?).await?;
        let matches = |session: &Object<AgentSession>| bool::from(session.desired.token.reveal().as_bytes().ct_eq(beat.token.as_bytes()));
        let Some(mut session) = session.filter(matches) else {
            return Err(Failure::BadRequest("Invalid or missing agent token received.".into()));
        };
        trusted(&node, &beat)?;
        if !awaits_agent(&node) {
            // The ramdisk is about to be switched off: nothing more is wanted of it. One that changed its address is still told so.
            take_over(&node, &mut session.desired, &beat)?;
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        take_over(&node, &mut session.desired, &beat)?;
        match store.apply(Batch::wishes().want(&session).wake(&node.id)).await {
            Ok(()) => return Ok(StatusCode::ACCEPTED.into_response()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("the node is being changed; beat again".into()))
}

#[cfg(test)]
mod tests {
    use model::baremetal::NodeDesired;

    use super::*;

    fn good() -> Value {
        json!({"callback_url": "https://172.30.0.11:9999", "agent_token": "t", "agent_version": "1",
               "agent_verify_ca": "-----BEGIN CERTIFICATE-----"})
    }

    fn with(key: &str, value: Value) -> Value {
        let mut body = good();
        body[key] = value;
        body
    }

    fn node(network: &str) -> Object<Node> {
        let mut desired = NodeDesired { driver: "redfish".into(), ..NodeDesired::default() };
        desired.interfaces.insert(Interface::Network, network.into());
        Object::new(Id::random(), None, "m1", desired)
    }

    #[test]
    fn beats_that_are_not_taken() {
        assert!(beat(Minor(72), &good()).is_ok());
        for (key, value) in [
            ("agent_token", Value::Null),
            ("callback_url", Value::Null),
            ("callback_url", json!("ftp://172.30.0.11:9999")),
            ("callback_url", json!("x")),
            ("agent_verify_ca", json!("pem")),
            ("agent_token", json!(7)),
            ("agent_status", json!("middle")),
            ("colour", json!("red")),
        ] {
            assert!(beat(Minor(72), &with(key, value.clone())).is_err(), "{key} {value}");
        }
        assert!(beat(Minor(71), &with("agent_status", json!("end"))).is_err());
        assert!(beat(Minor(67), &good()).is_err());
    }

    #[test]
    fn agents_without_tls_are_taken_only_where_no_network_is_ours() {
        let plain = beat(Minor(72), &with("callback_url", json!("http://172.30.0.11:9999"))).unwrap();
        let unknown = beat(Minor(72), &with("agent_verify_ca", Value::Null)).unwrap();
        let named = beat(Minor(72), &with("callback_url", json!("https://agent.example:9999"))).unwrap();
        assert!(trusted(&node("neutron"), &named).is_err() && trusted(&node("noop"), &named).is_err());
        for beat in [plain, unknown] {
            assert!(trusted(&node("neutron"), &beat).is_err());
            assert!(trusted(&node("noop"), &beat).is_ok());
        }
    }

    #[test]
    fn an_address_changes_only_with_a_new_boot() {
        let mut node = node("neutron");
        let first = beat(Minor(72), &good()).unwrap();
        let other = beat(Minor(72), &with("callback_url", json!("https://172.30.0.12:9999"))).unwrap();
        let mut session: AgentSessionDesired = serde_json::from_value(json!({"token": "t", "pregenerated": true})).unwrap();
        take_over(&node, &mut session, &first).unwrap();
        take_over(&node, &mut session, &first).unwrap();
        assert!(take_over(&node, &mut session, &other).is_err());
        node.observed.booted_at = Some(Timestamp::now().plus_seconds(1));
        take_over(&node, &mut session, &other).unwrap();
        session.pregenerated = false;
        assert!(take_over(&node, &mut session, &first).is_err());
    }
}
