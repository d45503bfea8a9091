//! `/v2.0/sfc/flow_classifiers`: which packets are led through chains of service functions.

use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use ipnet::IpNet;
use model::identity::Project;
use model::net::Port;
use model::net::chains::{CHAINED_CLASSIFIERS, FlowClassifier, FlowClassifierDesired, FlowPorts, FlowProtocol, PortPair};
use model::net::pools::IpVersion;
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::{Ask, Extension, extension, port_parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("flow_classifier", "Flow Classifier", "Flow Classifier Extension.", "2015-10-05T10:00:00-00:00")];

/// What every change of the set of classifiers changes, so that no two are compared with what was there before both.
const ALL: &str = "sfc:flow_classifiers";

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<FlowClassifier>()
}

/// A failure of status 400.
pub(super) fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

/// A failure of status 409.
pub(super) fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

/// What a field's setter would say of a value that is no id of its kind, a number, … : for those whose failures have names of their own.
pub(super) fn spelled(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

/// The classifier is in a chain.
pub(super) fn in_use(id: &str) -> Failure {
    conflict("FlowClassifierInUse", format!("Flow Classifier {id} in use."))
}

/// What all that is done under this name changes: of two that read at the same time one is done, the other reads again.
///
/// # Errors
/// The store failed.
pub(super) async fn alone(work: &mut Work<'_>, name: &'static str) -> Result<(), Failure> {
    if work.known::<()>(name).is_some() {
        return Ok(());
    }
    work.in_turn(name).await;
    let before = work.ask.app.store.setting_or(name, "").await?;
    let after = Id::<()>::random();
    work.step(|batch| batch.change(name, &before, after.as_str()));
    work.know(name.to_owned(), Arc::new(()));
    Ok(())
}

/// A port that a body names.
///
/// # Errors
/// `missing`: there is none for the caller.
pub(super) async fn port_named(ask: &Ask, id: &Id<Port>, missing: Failure) -> Result<Object<Port>, Failure> {
    named::<Port>(ask, id).await.map_err(|failure| match failure {
        Failure::Named { status: StatusCode::NOT_FOUND, .. } => missing,
        other => other,
    })
}

/// Text; null is empty text.
fn text(v: &Value) -> Result<String, String> {
    if v.is_null() { Ok(String::new()) } else { value::text(v, 255) }
}

/// The number of a port of a transport protocol, if there is one.
fn number(v: &Value) -> Result<Option<u16>, String> {
    if v.is_null() { Ok(None) } else { value::number(v, 0, 65535).map(|it| u16::try_from(it).ok()) }
}

/// A prefix of addresses, which a lone address is not.
pub(super) fn prefix(v: &Value) -> Result<Option<IpNet>, String> {
    if v.is_null() {
        return Ok(None);
    }
    let text = v.as_str().filter(|it| it.contains('/'));
    text.and_then(|it| it.parse().ok()).map(Some).ok_or_else(|| format!("'{}' is not a valid IP subnet", spelled(v)))
}

fn port_id(v: &Value) -> Result<Option<Id<Port>>, String> {
    if v.is_null() { Ok(None) } else { port_parts::uuid(v).map(Some) }
}

fn ethertype(v: &Value) -> Option<IpVersion> {
    match v {
        Value::Null => Some(IpVersion::V4),
        Value::String(it) if it.eq_ignore_ascii_case("ipv4") => Some(IpVersion::V4),
        Value::String(it) if it.eq_ignore_ascii_case("ipv6") => Some(IpVersion::V6),
        _ => None,
    }
}

fn ethertype_shown(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}

fn protocol(v: &Value) -> Option<Option<FlowProtocol>> {
    match v {
        Value::Null => Some(None),
        Value::String(it) => serde_json::from_value(Value::String(it.to_ascii_lowercase())).ok().map(Some),
        _ => None,
    }
}

/// Fields whose wrong values have failures of their own: what cannot be read is left as it was, and said by [`check_form`].
macro_rules! port_field {
    ($name:literal, $ports:ident, $end:ident) => {
        field($name, |it: &Object<FlowClassifier>, _: &()| json!(it.desired.$ports.$end))
            .set_once(|it, v| {
                it.desired.$ports.$end = number(v).unwrap_or_default();
                Ok(())
            })
            .sort()
    };
}

static FORM: LazyLock<Form<FlowClassifier>> = LazyLock::new(|| {
    Form::new("flow_classifier", "flow_classifiers", "sfc/flow_classifiers", "FlowClassifierNotFound", "Flow Classifier")
        .not_found_says(|id| format!("Flow Classifier {id} not found."))
        .fields(vec![
            field("name", |it: &Object<FlowClassifier>, _: &()| json!(it.name)).set(|it, v| put(&mut it.name, text(v))).sort(),
            field("description", |it: &Object<FlowClassifier>, _| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, text(v)))
                .sort(),
            field("ethertype", |it: &Object<FlowClassifier>, _| json!(ethertype_shown(it.desired.ethertype)))
                .set_once(|it, v| {
                    it.desired.ethertype = ethertype(v).unwrap_or(it.desired.ethertype);
                    Ok(())
                })
                .sort(),
            field("protocol", |it: &Object<FlowClassifier>, _| json!(it.desired.protocol))
                .set_once(|it, v| {
                    it.desired.protocol = protocol(v).unwrap_or_default();
                    Ok(())
                })
                .sort(),
            port_field!("source_port_range_min", source_ports, min),
            port_field!("source_port_range_max", source_ports, max),
            port_field!("destination_port_range_min", destination_ports, min),
            port_field!("destination_port_range_max", destination_ports, max),
            field("source_ip_prefix", |it: &Object<FlowClassifier>, _| json!(it.desired.source_ip_prefix))
                .set_once(|it, v| put(&mut it.desired.source_ip_prefix, prefix(v)))
                .sort(),
            field("destination_ip_prefix", |it: &Object<FlowClassifier>, _| json!(it.desired.destination_ip_prefix))
                .set_once(|it, v| put(&mut it.desired.destination_ip_prefix, prefix(v)))
                .sort(),
            field("logical_source_port", |it: &Object<FlowClassifier>, _| json!(it.desired.logical_source_port))
                .set_once(|it, v| put(&mut it.desired.logical_source_port, port_id(v)))
                .sort(),
            field("logical_destination_port", |it: &Object<FlowClassifier>, _| json!(it.desired.logical_destination_port))
                .set_once(|it, v| put(&mut it.desired.logical_destination_port, port_id(v)))
                .sort(),
            field("l7_parameters", |_: &Object<FlowClassifier>, _: &()| json!({}))
                .set_once(|_, v| if v.is_null() || v.is_object() { Ok(()) } else { Err(format!("'{}' is not a dictionary", spelled(v))) }),
        ])
});

/// Says what is wrong with fields whose failures have names. (Source: `networking_sfc/extensions/flowclassifier.py`.)
fn check_form(body: &Body) -> Result<(), Failure> {
    if let Some(v) = body.get("ethertype").filter(|it| ethertype(it).is_none()) {
        let text = format!("Flow Classifier does not support ethertype {}. Supported ethertype values are ['IPv4', 'IPv6'].", spelled(v));
        return Err(bad("FlowClassifierInvalidEthertype", text));
    }
    if let Some(v) = body.get("protocol").filter(|it| protocol(it).is_none()) {
        let text =
            format!("Flow Classifier does not support protocol {}. Supported protocol values are ['tcp', 'udp', 'icmp'].", spelled(v));
        return Err(bad("FlowClassifierInvalidProtocol", text));
    }
    for name in ["source_port_range_min", "source_port_range_max", "destination_port_range_min", "destination_port_range_max"] {
        if let Some(v) = body.get(name).filter(|it| number(it).is_err()) {
            return Err(bad("FlowClassifierInvalidPortValue", format!("Flow Classifier has invalid port value {}.", spelled(v))));
        }
    }
    if let Some(key) = body.get("l7_parameters").and_then(Value::as_object).and_then(|it| it.keys().next()) {
        let text = format!("Invalid Flow Classifier parameters: Unknown key {key}.. Supported flow classifier parameters are {{}}.");
        return Err(bad("FlowClassifierInvalidL7Parameter", text));
    }
    Ok(())
}

/// Whether its parts go together.
fn check(it: &FlowClassifierDesired) -> Result<(), Failure> {
    for FlowPorts { min, max } in [it.source_ports, it.destination_ports] {
        if let Some((min, max)) = min.zip(max).filter(|(min, max)| min > max) {
            let text = format!("Invalid IP protocol port range. min_port_range={min} must be lesser or equal to max_port_range={max}.");
            return Err(bad("FlowClassifierInvalidPortRange", text));
        }
        if (min.is_some() || max.is_some()) && !matches!(it.protocol, Some(FlowProtocol::Tcp | FlowProtocol::Udp)) {
            let text = "IP protocol must be TCP or UDP, if port range is given.";
            return Err(bad("FlowClassifierProtocolRequiredWithPorts", text));
        }
    }
    for prefix in [it.source_ip_prefix, it.destination_ip_prefix].into_iter().flatten() {
        if IpVersion::of(&prefix) != it.ethertype {
            let text = format!("IP prefix {prefix} format conflicts with ethertype {}.", ethertype_shown(it.ethertype));
            return Err(bad("FlowClassifierIpPrefixFormatConflictWithEthertype", text));
        }
    }
    Ok(())
}

impl Noun for FlowClassifier {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<FlowClassifierDesired, Failure> {
        Ok(FlowClassifierDesired {
            description: String::new(),
            ethertype: IpVersion::V4,
            protocol: None,
            source_ports: FlowPorts::default(),
            destination_ports: FlowPorts::default(),
            source_ip_prefix: None,
            destination_ip_prefix: None,
            logical_source_port: None,
            logical_destination_port: None,
        })
    }

    async fn create(work: &mut Work<'_>, classifier: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        check_form(body)?;
        let it = &classifier.desired;
        check(it)?;
        for id in [&it.logical_source_port, &it.logical_destination_port].into_iter().flatten() {
            let missing = || {
                Failure::named(StatusCode::NOT_FOUND, "FlowClassifierPortNotFound", format!("Flow Classifier Neutron Port {id} not found."))
            };
            port_named(work.ask, id, missing()).await?;
            work.gone_means::<Port>(missing());
            work.step(|batch| batch.require(id));
        }
        alone(work, ALL).await?;
        let others = work.ask.app.store.list(&Query::<Self>::new()).await?;
        if let Some(other) = others.iter().chain(work.made()).find(|other| other.desired.conflicts(it)) {
            let text = format!("Flow Classifier conflicts with another Flow Classifier {}.", other.id);
            return Err(bad("FlowClassifierInConflict", text));
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, classifier: &Object<Self>) -> Result<(), Failure> {
        let id = classifier.id.as_str();
        work.value_taken_means(CHAINED_CLASSIFIERS, id, in_use(id));
        // A chain that takes it at this very moment holds it, or finds it gone.
        work.step(|batch| batch.remove(classifier).hold(CHAINED_CLASSIFIERS, id, id).free(CHAINED_CLASSIFIERS, id));
        Ok(())
    }
}

/// What belongs to the removal of a port: it is refused if the port is a service function's, or packets are told by it (409
/// `ServicePortInUse`).
pub(super) fn port_removed(work: &mut Work<'_>, port: &Object<Port>) {
    let id = port.id.as_str();
    let used = |by: &str| {
        conflict("ServicePortInUse", format!("Port {id} cannot be deleted directly via the port API: still referenced by {by}."))
    };
    work.referenced_means::<PortPair>("ports", used("Port Pairs"));
    work.referenced_means::<FlowClassifier>("ports", used("Flow Classifiers"));
    work.step(|batch| batch.unless_linked::<PortPair>("ports", id).unless_linked::<FlowClassifier>("ports", id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_have_names() {
        let kind = |body: Value| match check_form(body.as_object().unwrap()) {
            Err(Failure::Named { kind, .. }) => kind,
            _ => "",
        };
        assert_eq!(kind(json!({"protocol": "TCP", "ethertype": "ipv6", "source_port_range_min": "7", "l7_parameters": {}})), "");
        assert_eq!(kind(json!({"protocol": 6})), "FlowClassifierInvalidProtocol");
        assert_eq!(kind(json!({"ethertype": "x"})), "FlowClassifierInvalidEthertype");
        assert_eq!(kind(json!({"source_port_range_min": 65536})), "FlowClassifierInvalidPortValue");
        assert_eq!(kind(json!({"l7_parameters": {"a": 1}})), "FlowClassifierInvalidL7Parameter");
        assert!(prefix(&json!("10.0.0.7")).is_err() && prefix(&json!("10.0.0.7/24")).is_ok());
    }
}
