//! `PUT /v1/nodes/{node}/states/provision`: the verbs that take a node through its life.

use std::time::Duration;

use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::{FromRequest as _, Path, Request};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::baremetal::{
    ConfigDrive, ConfigDriveDesired, DriveOf, Interface, Node, ProvisionRequest, ProvisionState, Step, Verb, is_busy, shown_state,
    transition,
};
use model::image_compute::{Image, ImageStatus};
use model::secret::Settings;
use model::{Id, Object, Secret};
use serde_json::{Map, Value, json};
use store::{Batch, Severity, Wishes};
use tokio::sync::SemaphorePermit;

use super::node::{parse_id, said_by};
use super::node_fields::target_power;
use super::states::{accepted, change};
use super::verb_steps::{self as steps, Of};
use super::versions::Minor;
use super::words::{boolean, mandatory, needs, not_of_type, only, too_early};
use super::{Ask, access, configdrive};
use crate::failure::Failure;

const RULE: &str = "baremetal:node:set_provision_state";
/// Longest body, in bytes: that of a config drive of 64 MiB which cannot be compressed.
pub(super) const MAX_BODY: usize = configdrive::MAX_TEXT + (1 << 20);
/// How long a long body waits until others were taken.
const ROOM: Duration = Duration::from_secs(30);
/// How long a body may take to come.
const READ: Duration = Duration::from_secs(120);

/// What a request says beside its verb.
struct Asked<'a> {
    target: &'a str,
    clean_steps: Option<&'a Vec<Value>>,
    deploy_steps: Option<&'a Vec<Value>>,
    service_steps: Option<&'a Vec<Value>>,
    rescue_password: Option<&'a str>,
    disable_ramdisk: Option<bool>,
    runbook: Option<&'a str>,
}

fn asked(body: &Value) -> Result<Asked<'_>, Failure> {
    only(body, &["target", "clean_steps", "deploy_steps", "service_steps", "rescue_password", "disable_ramdisk", "runbook"])?;
    let given = |name: &str| body.get(name).filter(|it| !it.is_null());
    let list = |name: &str| match given(name) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(of_types(name, "<class 'NoneType'>, <class 'list'>", other)),
    };
    let text = |name: &str| match given(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(Failure::BadRequest(format!("Expected string for {name}: {}", super::words::repr(other)))),
    };
    Ok(Asked {
        target: mandatory(body, "target")?,
        clean_steps: list("clean_steps")?.filter(|it| !it.is_empty()),
        deploy_steps: list("deploy_steps")?.filter(|it| !it.is_empty()),
        service_steps: list("service_steps")?.filter(|it| !it.is_empty()),
        rescue_password: text("rescue_password")?,
        disable_ramdisk: given("disable_ramdisk").map(|it| boolean("disable_ramdisk", it)).transpose()?,
        runbook: text("runbook")?.filter(|it| !it.is_empty()),
    })
}

/// The config drive of a request: taken out of it, for it may be large.
fn drive_of(body: &mut Map<String, Value>) -> Result<Option<Value>, Failure> {
    match body.remove("configdrive") {
        None | Some(Value::Null) => Ok(None),
        Some(drive) if drive.is_string() || drive.is_object() => Ok(Some(drive).filter(|it| *it != "" && *it != json!({}))),
        Some(other) => Err(of_types("configdrive", "<class 'NoneType'>, <class 'dict'>, <class 'str'>", &other)),
    }
}

/// That an argument is of none of the types it may be of.
fn of_types(name: &str, types: &str, value: &Value) -> Failure {
    let shown = value.as_str().map_or_else(|| super::words::repr(value), str::to_owned);
    Failure::BadRequest(format!("Expected types {types} for {name}: {shown}"))
}

/// Whether the version has the verb under that name.
fn known_since(minor: Minor, target: &str, verb: Verb) -> Result<(), Failure> {
    let since = if target == "deploy" { 73 } else { verb.since() };
    if minor >= Minor(since) { Ok(()) } else { Err(too_early()) }
}

fn impossible(target: &str, node: &Object<Node>) -> Failure {
    Failure::BadRequest(format!(
        "The requested action \"{target}\" can not be performed on node \"{}\" while it is in state \"{}\".",
        node.id,
        shown_state(node).0
    ))
}

fn in_maintenance(node: &Object<Node>, what: &str) -> Failure {
    Failure::BadRequest(format!("The {what} operation can't be performed on node {} because it's in maintenance mode.", node.id))
}

/// Whether the node's state allows the verb.
fn possible(ask: &Ask, node: &Object<Node>, target: &str, verb: Option<Verb>) -> Result<(), Failure> {
    let seen = &node.observed;
    if node.desired.maintenance && matches!(verb, Some(Verb::Deploy | Verb::Rebuild)) {
        return Err(in_maintenance(node, "provisioning"));
    }
    // What is under way may be given up or let go whatever is asked of the power.
    let powered = target_power(node).is_some() && !matches!(verb, Some(Verb::Abort | Verb::Unhold));
    let pending = powered || node.desired.request.as_ref().is_some_and(|it| it.seq > seen.handled);
    let fits = verb.filter(|verb| transition(seen.state, seen.is_waiting(), *verb).is_some());
    let Some(verb) = fits.filter(|_| !pending) else {
        return Err(if pending || (is_busy(node) && !seen.is_waiting()) { access::locked(node) } else { impossible(target, node) });
    };
    // The first states that could be given up came before the others.
    let since = match (verb, seen.state) {
        (Verb::Abort, ProvisionState::Inspecting) => 41,
        (Verb::Abort, ProvisionState::Deploying) => 110,
        _ => 1,
    };
    if ask.minor < Minor(since) { Err(too_early()) } else { Ok(()) }
}

/// What else a node's state says about a verb.
fn permitted(node: &Object<Node>, verb: Verb) -> Result<(), Failure> {
    let id = &node.id;
    let wanted = &node.desired;
    match verb {
        Verb::Rebuild | Verb::Undeploy if wanted.protected.on => {
            Err(Failure::Forbidden(format!("Node {id} is protected and cannot be undeployed, rebuilt or deleted")))
        }
        Verb::Provide if wanted.retired.on => {
            Err(Failure::BadRequest(format!("The providing operation can't be performed on node {id} because it is retired.")))
        }
        Verb::Rescue if wanted.maintenance => Err(in_maintenance(node, "rescuing")),
        Verb::Unrescue if wanted.maintenance => Err(in_maintenance(node, "unrescuing")),
        Verb::Rescue if wanted.interface(Interface::Rescue) == "no-rescue" => Err(access::unsupported(node, "rescue")),
        Verb::Inspect if wanted.interface(Interface::Inspect) == "no-inspect" => Err(access::unsupported(node, "inspect")),
        _ => Ok(()),
    }
}

/// What comes of a request once all of it was looked at.
#[derive(Default)]
struct Plan {
    steps: Vec<Step>,
    runbook: Option<steps::Expanded>,
    disable_ramdisk: bool,
    configdrive: Option<Object<ConfigDrive>>,
    rescue_password: Option<Secret>,
}

async fn plan(ask: &Ask, node: &Object<Node>, verb: Verb, asked: &Asked<'_>, drive: Option<Value>) -> Result<Plan, Failure> {
    let bad = |text: String| Err(Failure::BadRequest(text));
    let mut plan = Plan::default();
    if drive.is_some() {
        let with_rebuild = ask.minor >= Minor(35);
        if asked.target != "active" && !(asked.target == "rebuild" && with_rebuild) {
            let states = if with_rebuild { "active, rebuild" } else { "active" };
            return bad(format!("Adding a config drive is only supported when setting provision state to {states}"));
        }
    }
    if let Some(ident) = asked.runbook {
        let runbook = steps::runbook(ask, node, ident).await?;
        let Some(of) = steps::needed(verb) else {
            return bad("\"runbooks\" is only valid when setting target provision state to any of ['clean', 'service']".into());
        };
        let given = if of == Of::Clean { asked.clean_steps } else { asked.service_steps };
        if given.is_some() {
            return bad(format!("Please provide either \"{}\" or a runbook, but not both.", of.argument()));
        }
        plan.steps.clone_from(&runbook.steps);
        plan.disable_ramdisk = runbook.disable_ramdisk;
        plan.runbook = Some(runbook);
    }
    if let Some(disable) = asked.disable_ramdisk {
        let since = match verb {
            Verb::Clean => 70,
            Verb::Service => 108,
            _ => return bad("disable_ramdisk is supported only with manual cleaning or servicing".into()),
        };
        if ask.minor < Minor(since) {
            return Err(Failure::NotAcceptable("disable_ramdisk is not acceptable in this API version".into()));
        }
        if plan.runbook.is_none() {
            plan.disable_ramdisk = disable;
        }
    }
    for (of, given, of_verb) in [(Of::Clean, asked.clean_steps, Verb::Clean), (Of::Service, asked.service_steps, Verb::Service)] {
        let name = of.argument();
        match given {
            Some(_) if verb != of_verb => {
                return bad(format!("\"{name}\" is only valid when setting target provision state to {}", of_verb.as_str()));
            }
            Some(list) => plan.steps = steps::read(of, list)?,
            None if verb == of_verb && plan.runbook.is_none() => {
                return bad(format!("\"{name}\" is required when setting target provision state to {}", of_verb.as_str()));
            }
            None => {}
        }
    }
    steps::children_permitted(ask, &plan.steps, RULE).await?;
    if let Some(list) = asked.deploy_steps {
        if ask.minor < Minor(69) {
            return Err(needs(69));
        }
        if !matches!(verb, Verb::Deploy | Verb::Rebuild) {
            return bad("\"deploy_steps\" is only valid when setting target provision state to active or rebuild".into());
        }
        plan.steps = steps::read(Of::Deploy, list)?;
    }
    match (asked.rescue_password, verb) {
        (None, Verb::Rescue) => {
            return bad("A non-empty \"rescue_password\" is required when setting target provision state to rescue".into());
        }
        (Some(password), Verb::Rescue) if password.trim().is_empty() => {
            return bad("A non-empty \"rescue_password\" is required when setting target provision state to rescue".into());
        }
        (Some(password), Verb::Rescue) => plan.rescue_password = Some(Secret::new(password)),
        (Some(_), _) => return bad("\"rescue_password\" is only valid when setting target provision state to rescue".into()),
        (None, _) => {}
    }
    if matches!(verb, Verb::Deploy | Verb::Rebuild) {
        deployable(ask, node).await?;
    }
    if let Some(drive) = drive {
        let drive = configdrive::read(ask.minor, node, drive).await?;
        plan.configdrive = Some(Object::new(Id::random(), None, "", ConfigDriveDesired { drive }));
    }
    Ok(plan)
}

/// The node's config drive is this one from now on.
fn give(node: &mut Object<Node>, drive: Option<&Object<ConfigDrive>>) -> Batch<Wishes> {
    let now = drive.map(|it| DriveOf { id: it.id.clone(), bytes: it.desired.drive.reveal().len() });
    let before = std::mem::replace(&mut node.desired.drive, now);
    node.desired.configdrive = None;
    let batch = before.iter().fold(Batch::wishes(), |batch, before| batch.remove(&before.row()));
    drive.into_iter().fold(batch, Batch::create)
}

/// Room for a body that is longer than others: who may not ask for the verb has none, nor do many at once.
async fn room<'a>(ask: &'a Ask, ident: &str) -> Result<SemaphorePermit<'a>, Failure> {
    access::permitted(ask, ident, RULE).await?;
    let busy = || Failure::Unavailable("Other large config drives are being taken; please retry.".into());
    let place = tokio::time::timeout(ROOM, ask.app.large_bodies.acquire()).await.map_err(|_| busy())?;
    place.map_err(|_| busy())
}

pub(super) async fn provision(ask: Ask, Path(ident): Path<String>, request: Request) -> Result<Response, Failure> {
    // Of a body that does not say how long it is, nothing is known.
    let length = request.body().size_hint().exact();
    let is_short = length.is_some_and(|it| it <= u64::try_from(crate::MAX_BODY_BYTES).unwrap_or(u64::MAX));
    let _room = if is_short { None } else { Some(room(&ask, &ident).await?) };
    let read = tokio::time::timeout(READ, Json::<Value>::from_request(request, &()));
    let Json(mut body) = match read.await {
        Ok(Ok(body)) => body,
        Ok(Err(refused)) => return Ok(refused.into_response()),
        Err(_) => return Err(Failure::named(StatusCode::REQUEST_TIMEOUT, "Client", format!("The body did not come within {READ:?}."))),
    };
    let Some(map) = body.as_object_mut() else {
        return Err(Failure::BadRequest(not_of_type(&body, "object")));
    };
    let drive = drive_of(map)?;
    let asked = asked(&body)?;
    let node = access::settled(&ask, access::permitted(&ask, &ident, RULE).await?).await?;
    access::served(&ask, &node)?;
    let verb = Verb::parse(asked.target);
    if let Some(verb) = verb.filter(|verb| !matches!(verb, Verb::Unhold | Verb::Service)) {
        known_since(ask.minor, asked.target, verb)?;
    }
    if asked.runbook.is_none() {
        for (given, rule) in [
            (asked.clean_steps, "baremetal:node:set_provision_state:clean_steps"),
            (asked.service_steps, "baremetal:node:set_provision_state:service_steps"),
        ] {
            if given.is_some() {
                access::require(&ask, rule, &node)?;
            }
        }
    }
    possible(&ask, &node, asked.target, verb)?;
    let Some(verb) = verb else { return Err(impossible(asked.target, &node)) };
    known_since(ask.minor, asked.target, verb)?;
    permitted(&node, verb)?;
    let plan = plan(&ask, &node, verb, &asked, drive).await?;
    change(&ask, &ident, RULE, |node| {
        possible(&ask, node, asked.target, Some(verb))?;
        permitted(node, verb)?;
        let detail = said_by(&ask, node, json!({}));
        let seq = node.desired.request.as_ref().map_or(0, |it| it.seq).max(node.observed.handled) + 1;
        node.desired.request = Some(ProvisionRequest {
            seq,
            verb,
            steps: plan.steps.clone(),
            runbook: plan.runbook.as_ref().map(|it| it.id.clone()),
            disable_ramdisk: plan.disable_ramdisk,
            user: Some(ask.caller.user_id.to_string()),
            project: ask.caller.project_id.as_ref().map(ToString::to_string),
        });
        let batch = match verb {
            // Rebuilt without one it keeps the one that it has.
            Verb::Deploy => give(node, plan.configdrive.as_ref()),
            Verb::Rebuild if plan.configdrive.is_some() => give(node, plan.configdrive.as_ref()),
            _ => Batch::wishes(),
        };
        if verb == Verb::Rescue {
            node.desired.rescue_password.clone_from(&plan.rescue_password);
        }
        Ok(batch.history(&node.id, Severity::Info, &format!("asked: {}", verb.as_str()), &detail))
    })
    .await?;
    Ok(accepted(&ask, &ident, "states"))
}

/// Whether what is to be deployed is there: the caller must see the image.
///
/// # Errors
/// `BadRequest` that says what is missing.
pub(super) async fn deployable(ask: &Ask, node: &Object<Node>) -> Result<(), Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Failed to validate deploy or power info for node {}: {why}", node.id));
    // These write no image.
    if !["direct"].contains(&node.desired.interface(Interface::Deploy)) {
        return Ok(());
    }
    let info = &node.desired.instance_info;
    let source = info.text("image_source").ok_or_else(|| {
        bad("Cannot validate image information because some parameters were missing in its instance_info. Missing are: ['image_source']".into())
    })?;
    if source.starts_with("http://") || source.starts_with("https://") || source.starts_with("file://") {
        return by_address(ask, node, source).map_err(bad);
    }
    let ident = source.strip_prefix("glance://").unwrap_or(source);
    let image = match parse_id::<Image>(ident) {
        Some(id) => ask.app.store.get(&id).await?,
        None => None,
    };
    let image = image
        .filter(|image| crate::image::sees(&ask.app, &ask.caller, image))
        .ok_or_else(|| bad(format!("there is no image '{source}'")))?;
    if image.desired.status != ImageStatus::Active {
        return Err(bad(format!("image {source} has no data")));
    }
    if !matches!(image.desired.disk_format.as_deref(), Some("raw" | "qcow2")) {
        return Err(bad(format!("image {source} is neither raw nor qcow2, the formats that are written to disks here")));
    }
    Ok(())
}

/// An image that is fetched by its address must come with what it is verified by; files of this host are the operator's.
fn by_address(ask: &Ask, node: &Object<Node>, source: &str) -> Result<(), String> {
    if source.starts_with("file://") && !access::may(ask, "baremetal:is_admin", node) {
        return Err(format!("'{source}': files of this host are deployed by its administrators only"));
    }
    let uri: Option<http::Uri> = source.strip_prefix("file://").is_none().then(|| source.parse().ok()).flatten();
    let is_path = source.strip_prefix("file://").is_some_and(|path| path.starts_with('/') && !path.split('/').any(|part| part == ".."));
    if !is_path && uri.is_none_or(|uri| uri.host().is_none_or(str::is_empty)) {
        return Err(format!("'{source}' is not the address of an image"));
    }
    let info = &node.desired.instance_info;
    let format = info.text("image_disk_format");
    if !matches!(format, None | Some("raw" | "qcow2")) {
        return Err(format!("image_disk_format: '{}' is neither raw nor qcow2", format.unwrap_or_default()));
    }
    checksum(info)
}

/// The checksum of an image: `image_os_hash_algo` with `image_os_hash_value`, or `image_checksum`, whose length says what it is. In place
/// of either may stand the address of a list of checksums, which the agent fetches.
fn checksum(info: &Settings) -> Result<(), String> {
    let is_hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_list = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    match (info.text("image_os_hash_algo"), info.text("image_os_hash_value")) {
        (Some("sha256"), Some(value)) if is_hex(value, 64) || is_list(value) => Ok(()),
        (Some("sha384"), Some(value)) if is_hex(value, 96) || is_list(value) => Ok(()),
        (Some("sha512"), Some(value)) if is_hex(value, 128) || is_list(value) => Ok(()),
        (Some(algorithm), _) => Err(format!("image_os_hash_value is not a checksum by {algorithm}; taken are sha256, sha384 and sha512")),
        (None, _) => match info.text("image_checksum") {
            Some(value) if is_hex(value, 64) || is_hex(value, 128) || is_list(value) => Ok(()),
            Some(_) => Err("image_checksum: taken are checksums by SHA-256 and SHA-512".into()),
            None => {
                Err("image_source is an address, and neither image_os_hash_algo with image_os_hash_value nor image_checksum is given"
                    .into())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        let of = |value: Value| checksum(&serde_json::from_value::<Settings>(value).unwrap());
        of(json!({"image_checksum": "a".repeat(64)})).unwrap();
        of(json!({"image_checksum": "https://x/SHA256SUMS"})).unwrap();
        of(json!({"image_os_hash_algo": "sha512", "image_os_hash_value": "0".repeat(128)})).unwrap();
        for bad in [
            json!({}),
            json!({"image_checksum": "d41d8cd98f00b204e9800998ecf8427e"}),
            json!({"image_os_hash_algo": "sha512", "image_os_hash_value": "0"}),
            json!({"image_os_hash_algo": "md5", "image_os_hash_value": "0"}),
        ] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
    }
}
