//! A BMC that speaks Redfish (DMTF DSP0266): who may ask, and what each request reads or does.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderName, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::chance::Draw;
use super::documents::{self, ENABLED, LEDS, MODES, TARGETS};
use super::http::{Asked, Reply};
use super::machine::{self, Machine, Order, Power};
use super::{Shared, USER};

/// The header of a session's token.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// How many changes of settings can wait for a start.
const PENDING: usize = 64;

/// Answers a request.
pub(crate) fn answer(shared: &Arc<Shared>, machine: &Arc<Machine>, asked: &Asked) -> Reply {
    machine.lock().counts.bmc_requests += 1;
    let chance = shared.settings.bmc_fails;
    let fails = machine.happens(Draw::Bmc, chance);
    // Half of what goes wrong is done nevertheless.
    if fails && !machine.happens(Draw::Bmc, 0.5) {
        return busy();
    }
    let reply = admitted(machine, asked).unwrap_or_else(|| act(shared, machine, asked));
    let reply = if fails { busy() } else { reply };
    reply.with(HeaderName::from_static("odata-version"), "4.0").with(header::CACHE_CONTROL, "no-cache")
}

fn busy() -> Reply {
    error(StatusCode::SERVICE_UNAVAILABLE, "ServiceTemporarilyUnavailable", "The service is temporarily unavailable. Retry in 1 seconds.")
        .with(header::RETRY_AFTER, "1")
}

/// An error answer (DSP0266, "Error responses") with a message of the Base registry (DSP8011).
fn error(status: StatusCode, key: &str, message: &str) -> Reply {
    let id = format!("Base.1.18.{key}");
    let info = json!({"@odata.type": "#Message.v1_2_0.Message", "MessageId": id, "Message": message, "MessageArgs": [], "Severity": "Warning", "Resolution": "None."});
    Reply::json(status, json!({"error": {"code": id, "message": message, "@Message.ExtendedInfo": [info]}}))
}

fn not_found(path: &str) -> Reply {
    error(StatusCode::NOT_FOUND, "ResourceMissingAtURI", &format!("The resource at the URI '{path}' was not found."))
}

fn bad(key: &str, message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, key, message)
}

/// Refuses who shows neither password nor token, except to the root of the service and to who logs in.
fn admitted(machine: &Machine, asked: &Asked) -> Option<Reply> {
    let path = asked.path.trim_end_matches('/');
    let logs_in = asked.method == Method::POST && path == "/redfish/v1/SessionService/Sessions";
    if logs_in || matches!(path, "/redfish" | "/redfish/v1") {
        return None;
    }
    if let Some(token) = asked.headers.get(&TOKEN).and_then(|it| it.to_str().ok()) {
        if machine.lock().sessions.iter().any(|it| it == token) {
            return None;
        }
    } else if basic(asked) == Some(format!("{USER}:{}", machine.password)) {
        return None;
    }
    let refused = error(StatusCode::UNAUTHORIZED, "NoValidSession", "There is no valid session established with the implementation.");
    Some(refused.with(header::WWW_AUTHENTICATE, "Basic realm=\"Redfish\""))
}

fn basic(asked: &Asked) -> Option<String> {
    let (scheme, token) = asked.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let given = base64::engine::general_purpose::STANDARD.decode(token.trim()).ok()?;
    scheme.eq_ignore_ascii_case("basic").then(|| String::from_utf8(given).ok())?
}

fn act(shared: &Arc<Shared>, machine: &Arc<Machine>, asked: &Asked) -> Reply {
    let parts: Vec<&str> = asked.path.split('/').filter(|it| !it.is_empty()).collect();
    let Some(("redfish", rest)) = parts.split_first().map(|(first, rest)| (*first, rest)) else { return not_found(&asked.path) };
    if asked.method == Method::GET || asked.method == Method::HEAD {
        return read(machine, rest).map_or_else(|| not_found(&asked.path), Reply::ok);
    }
    if let ["v1", "SessionService", "Sessions", number] = rest
        && asked.method == Method::DELETE
    {
        machine.lock().sessions.retain(|it| !it.starts_with(number));
        return Reply::empty(StatusCode::NO_CONTENT);
    }
    let Ok(body) = body(asked) else {
        return bad("MalformedJSON", "The request body submitted was malformed JSON and could not be parsed by the receiving service.");
    };
    let mine = matches!(rest, ["v1", "Systems" | "Managers", name, ..] if *name == machine.name);
    let below = if mine { rest.get(3..).unwrap_or_default() } else { &[] };
    match (asked.method.as_str(), rest, below) {
        ("POST", ["v1", "SessionService", "Sessions"], _) => log_in(machine, &body),
        ("PATCH", ["v1", "Systems", _], []) if mine => patch_system(machine, &body),
        ("POST", ["v1", "Systems", ..], ["Actions", "ComputerSystem.Reset"]) => reset(shared, machine, &body),
        ("PATCH", ["v1", "Systems", ..], ["SecureBoot"]) => patch_secure_boot(machine, &body),
        ("POST", ["v1", "Systems", ..], ["SecureBoot", "Actions", "SecureBoot.ResetKeys"]) => Reply::empty(StatusCode::NO_CONTENT),
        ("PATCH" | "PUT", ["v1", "Systems", ..], ["Bios", "Settings"]) => patch_bios(machine, &body),
        ("POST", ["v1", "Systems", ..], ["Bios", "Actions", "Bios.ResetBios"]) => later(machine, None),
        ("POST", _, ["VirtualMedia", "Cd", "Actions", "VirtualMedia.InsertMedia"]) => match body.get("Image").and_then(Value::as_str) {
            Some(url) => {
                machine.lock().medium = Some(url.to_owned());
                Reply::empty(StatusCode::NO_CONTENT)
            }
            None => bad(
                "ActionParameterMissing",
                "The action VirtualMedia.InsertMedia requires that the parameter Image be present in the request body.",
            ),
        },
        ("POST", _, ["VirtualMedia", "Cd", "Actions", "VirtualMedia.EjectMedia"]) => {
            machine.lock().medium = None;
            Reply::empty(StatusCode::NO_CONTENT)
        }
        _ if read(machine, rest).is_some() => {
            error(StatusCode::METHOD_NOT_ALLOWED, "OperationNotAllowed", "The HTTP method is not allowed on this resource.")
        }
        _ => not_found(&asked.path),
    }
}

fn body(asked: &Asked) -> Result<Map<String, Value>, serde_json::Error> {
    if asked.body.is_empty() { Ok(Map::new()) } else { serde_json::from_slice(&asked.body) }
}

/// What a GET shows; the path is below `/redfish`.
fn read(machine: &Machine, path: &[&str]) -> Option<Value> {
    let name = machine.name.as_str();
    let state = machine.lock();
    let list = |path: String, kind: &str, members: &[&str]| Some(documents::collection(&path, kind, members));
    let system = documents::system_path(name);
    let manager = documents::manager_path(name);
    match path {
        [] => Some(json!({"v1": "/redfish/v1/"})),
        ["v1"] => Some(documents::service_root(machine)),
        ["v1", "SessionService"] => Some(documents::session_service()),
        ["v1", "SessionService", "Sessions"] => list("/redfish/v1/SessionService/Sessions".into(), "Session", &[]),
        ["v1", "Systems"] => list("/redfish/v1/Systems".into(), "ComputerSystem", &[name]),
        ["v1", "Managers"] => list("/redfish/v1/Managers".into(), "Manager", &[name]),
        ["v1", "Chassis"] => list("/redfish/v1/Chassis".into(), "Chassis", &[name]),
        ["v1", "Systems" | "Managers" | "Chassis", other, ..] if *other != name => None,
        ["v1", "Systems", _, below @ ..] => match below {
            [] => Some(documents::system(machine, &state)),
            ["EthernetInterfaces"] => list(format!("{system}/EthernetInterfaces"), "EthernetInterface", &["1"]),
            ["EthernetInterfaces", "1"] => Some(documents::card(machine, &state)),
            ["SimpleStorage"] => list(format!("{system}/SimpleStorage"), "SimpleStorage", &["1"]),
            ["SimpleStorage", "1"] => Some(documents::storage(machine)),
            ["SecureBoot"] => Some(documents::secure_boot(machine, &state)),
            ["Bios"] => Some(documents::bios(machine, &state, false)),
            ["Bios", "Settings"] => Some(documents::bios(machine, &state, true)),
            ["VirtualMedia"] => list(format!("{system}/VirtualMedia"), "VirtualMedia", &["Cd"]),
            ["VirtualMedia", "Cd"] => Some(documents::medium(&system, &state)),
            _ => None,
        },
        ["v1", "Managers", _, below @ ..] => match below {
            [] => Some(documents::manager(machine)),
            ["VirtualMedia"] => list(format!("{manager}/VirtualMedia"), "VirtualMedia", &["Cd"]),
            ["VirtualMedia", "Cd"] => Some(documents::medium(&manager, &state)),
            _ => None,
        },
        ["v1", "Chassis", _] => Some(documents::chassis(machine, &state)),
        ["v1", "Chassis", _, "Power"] => Some(documents::chassis_power(machine, &state)),
        ["v1", "Chassis", _, "Thermal"] => Some(documents::thermal(machine, &state)),
        _ => None,
    }
}

fn log_in(machine: &Machine, body: &Map<String, Value>) -> Reply {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("UserName") != USER || text("Password") != machine.password {
        return error(
            StatusCode::UNAUTHORIZED,
            "ResourceAtUriUnauthorized",
            "While accessing the resource, the service received an authorization error.",
        );
    }
    let token = machine.fresh_uuid();
    // The token begins with the session's number: so much of it is shown in the path.
    let number = token.split('-').next().unwrap_or_default().to_owned();
    machine.remember_session(token.clone());
    let session = documents::session(&number, USER);
    Reply::json(StatusCode::CREATED, session)
        .with(TOKEN, token)
        .with(header::LOCATION, format!("/redfish/v1/SessionService/Sessions/{number}"))
}

/// The value among those that can be, or what is wrong with it.
fn one_of<'a>(name: &str, value: &Value, all: &[&'a str]) -> Result<&'a str, Reply> {
    let Some(text) = value.as_str() else {
        return Err(bad(
            "PropertyValueTypeError",
            &format!("The value for the property {name} is not a type that the property can accept."),
        ));
    };
    let refused =
        || bad("PropertyValueNotInList", &format!("The value '{text}' for the property {name} is not in the list of acceptable values."));
    all.iter().copied().find(|it| *it == text).ok_or_else(refused)
}

fn patch_system(machine: &Machine, body: &Map<String, Value>) -> Reply {
    match patched(machine, body) {
        Ok(()) => Reply::empty(StatusCode::NO_CONTENT),
        Err(refused) => refused,
    }
}

/// All of it is checked before anything changes.
fn patched(machine: &Machine, body: &Map<String, Value>) -> Result<(), Reply> {
    let unknown =
        |name: &str| bad("PropertyUnknown", &format!("The property {name} is not in the list of valid properties for the resource."));
    let mut state = machine.lock();
    let (mut boot, mut is_legacy, mut led) = (state.boot, state.is_legacy, state.led);
    for (name, value) in body {
        match (name.as_str(), value) {
            ("IndicatorLED", value) => led = one_of(name, value, &LEDS)?,
            ("Boot", Value::Object(fields)) => {
                for (name, value) in fields {
                    match name.as_str() {
                        "BootSourceOverrideTarget" => boot.target = one_of(name, value, &TARGETS)?,
                        "BootSourceOverrideEnabled" => boot.enabled = one_of(name, value, &ENABLED)?,
                        "BootSourceOverrideMode" => is_legacy = one_of(name, value, &MODES)? == "Legacy",
                        _ => return Err(unknown(name)),
                    }
                }
            }
            _ => return Err(unknown(name)),
        }
    }
    if boot.target == "None" {
        boot.enabled = "Disabled";
    }
    (state.boot, state.is_legacy, state.led) = (boot, is_legacy, led);
    Ok(())
}

fn patch_secure_boot(machine: &Machine, body: &Map<String, Value>) -> Reply {
    match body.get("SecureBootEnable").and_then(Value::as_bool) {
        Some(wanted) => {
            machine.lock().secure_boot_wanted = wanted;
            Reply::empty(StatusCode::NO_CONTENT)
        }
        None => bad("PropertyMissing", "The property SecureBootEnable is a required property and must be included in the request."),
    }
}

fn patch_bios(machine: &Machine, body: &Map<String, Value>) -> Reply {
    let Some(attributes) = body.get("Attributes").and_then(Value::as_object) else {
        return bad("PropertyMissing", "The property Attributes is a required property and must be included in the request.");
    };
    let known = documents::bios_defaults();
    if let Some(name) = attributes.keys().find(|it| !known.contains_key(*it)) {
        return bad("PropertyUnknown", &format!("The property {name} is not in the list of valid properties for the resource."));
    }
    let changes: BTreeMap<String, Value> = attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    later(machine, Some(changes))
}

/// Keeps a change of settings for the next start.
fn later(machine: &Machine, change: Option<BTreeMap<String, Value>>) -> Reply {
    let mut state = machine.lock();
    let pending = &mut state.firmware.get_or_insert_default().pending;
    if pending.len() >= PENDING {
        return busy();
    }
    pending.push(change);
    Reply::empty(StatusCode::NO_CONTENT)
}

fn reset(shared: &Arc<Shared>, machine: &Arc<Machine>, body: &Map<String, Value>) -> Reply {
    let Some(kind) = body.get("ResetType") else {
        return bad(
            "ActionParameterMissing",
            "The action ComputerSystem.Reset requires that the parameter ResetType be present in the request body.",
        );
    };
    let is_off = machine.lock().power == Power::Off;
    let order = match kind.as_str() {
        Some("On" | "ForceOn") => Order::On,
        Some("ForceOff") => Order::Off,
        Some("PushPowerButton") if is_off => Order::On,
        Some("GracefulShutdown" | "ForceRestart" | "GracefulRestart" | "PowerCycle" | "Nmi") if is_off => {
            let message = "The request was unable to be serviced because the resource is in standby.";
            return error(StatusCode::CONFLICT, "ResourceInStandby", message);
        }
        Some("GracefulShutdown" | "PushPowerButton") => Order::Off,
        Some("ForceRestart" | "GracefulRestart" | "PowerCycle") => Order::Restart,
        Some("Nmi") => return Reply::empty(StatusCode::NO_CONTENT),
        _ => {
            return bad(
                "ActionParameterNotSupported",
                "The parameter ResetType for the action ComputerSystem.Reset has a value that is not supported.",
            );
        }
    };
    machine::order(shared, machine, order);
    Reply::empty(StatusCode::NO_CONTENT)
}
