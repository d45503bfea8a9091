//! `/v2.0/sfc/port_pairs`: service functions, by the ports through which packets go in and come out.

use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::Port;
use model::net::chains::{Correlation, GROUPED_PAIRS, PAIRED_PORTS, PortPair, PortPairDesired};
use model::{Id, Object};
use serde_json::{Value, json};

use super::flow_classifiers::{bad, conflict, port_named, spelled};
use super::noun::{Body, Form, Noun, Work, field, routes as noun_routes};
use super::{Ask, port_parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<PortPair>()
}

/// The pair is in a group.
pub(super) fn in_use(id: &str) -> Failure {
    conflict("PortPairInUse", format!("Port Pair {id} in use."))
}

/// The marks of a chain that a value names; null: none.
pub(super) fn correlation(v: &Value) -> Result<Option<Correlation>, String> {
    if v.is_null() {
        return Ok(None);
    }
    serde_json::from_value(v.clone()).map(Some).map_err(|_| format!("{} is not in valid_values", spelled(v)))
}

/// The keys of a value that has none but these.
pub(super) fn keys_of<'a>(v: &'a Value, known: &[&str]) -> Result<Option<&'a serde_json::Map<String, Value>>, String> {
    if v.is_null() {
        return Ok(None);
    }
    let given = v.as_object().ok_or_else(|| format!("'{}' is not a dictionary", spelled(v)))?;
    let others: Vec<&str> = given.keys().map(String::as_str).filter(|it| !known.contains(it)).collect();
    if others.is_empty() { Ok(Some(given)) } else { Err(format!("Unexpected keys supplied: {}", others.join(", "))) }
}

fn parameters(it: &mut PortPairDesired, v: &Value) -> Result<(), String> {
    let Some(given) = keys_of(v, &["correlation", "weight"])? else { return Ok(()) };
    if let Some(v) = given.get("correlation") {
        it.correlation = correlation(v)?;
    }
    if let Some(v) = given.get("weight") {
        let weight = value::number(v, i64::MIN, i64::MAX).map_err(|_| format!("'{}' is not an integer", spelled(v)))?;
        if weight < 0 {
            return Err(format!("'{weight}' should be non-negative"));
        }
        it.weight = u32::try_from(weight).map_err(|_| format!("'{weight}' is too large"))?;
    }
    Ok(())
}

static FORM: LazyLock<Form<PortPair>> = LazyLock::new(|| {
    Form::new("port_pair", "port_pairs", "sfc/port_pairs", "PortPairNotFound", "Port Pair")
        .not_found_says(|id| format!("Port Pair {id} not found."))
        .named()
        .fields(vec![
            field("description", |it: &Object<PortPair>, _: &()| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 255)))
                .sort(),
            field("ingress", |it: &Object<PortPair>, _| json!(it.desired.ingress))
                .set_once(|it, v| put(&mut it.desired.ingress, port_parts::uuid(v)))
                .required()
                .sort()
                .column("ingress"),
            field("egress", |it: &Object<PortPair>, _| json!(it.desired.egress))
                .set_once(|it, v| put(&mut it.desired.egress, port_parts::uuid(v)))
                .required()
                .sort()
                .column("egress"),
            field(
                "service_function_parameters",
                |it: &Object<PortPair>, _| json!({"correlation": it.desired.correlation, "weight": it.desired.weight}),
            )
            .set_once(|it, v| parameters(&mut it.desired, v)),
        ])
});

impl Noun for PortPair {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<PortPairDesired, Failure> {
        Ok(PortPairDesired { description: String::new(), ingress: Id::random(), egress: Id::random(), correlation: None, weight: 1 })
    }

    /// (Source: `networking_sfc/db/sfc_db.py`.)
    async fn create(work: &mut Work<'_>, pair: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let (ingress, egress) = (&pair.desired.ingress, &pair.desired.egress);
        let ports = format!("{ingress} {egress}");
        let used = |by: &str| {
            let text = format!("Port Pair with ingress port {ingress} and egress port {egress} is already used by another Port Pair {by}.");
            bad("PortPairIngressEgressInUse", text)
        };
        let same = |it: &&Object<Self>| it.desired.ingress == *ingress && it.desired.egress == *egress;
        if let Some(held) = work.ask.app.store.allocation(PAIRED_PORTS, &ports).await? {
            return Err(used(&held.holder));
        }
        if let Some(made) = work.made::<Self>().find(same) {
            return Err(used(made.id.as_str()));
        }
        let mut devices = Vec::new();
        for id in [ingress, egress] {
            let missing = || Failure::named(StatusCode::NOT_FOUND, "PortPairPortNotFound", format!("Port Pair port {id} not found."));
            devices.push(port_named(work.ask, id, missing()).await?.desired.device_id);
            work.gone_means::<Port>(missing());
            work.step(|batch| batch.require(id));
        }
        match devices.as_slice() {
            [first, _] if first.is_empty() => {
                return Err(bad("PortPairIngressNoHost", format!("Port Pair ingress port {ingress} does not belong to a host.")));
            }
            [_, second] if second.is_empty() => {
                return Err(bad("PortPairEgressNoHost", format!("Port Pair egress port {egress} does not belong to a host.")));
            }
            [first, second] if first != second => {
                let text = format!("Port Pair ingress port {ingress} and egress port {egress} not in the same host.");
                return Err(bad("PortPairIngressEgressDifferentHost", text));
            }
            _ => {}
        }
        work.step(|batch| batch.hold(PAIRED_PORTS, &ports, pair.id.as_str()));
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, pair: &Object<Self>) -> Result<(), Failure> {
        let id = pair.id.as_str();
        work.value_taken_means(GROUPED_PAIRS, id, in_use(id));
        // A group that takes it at this very moment holds it, or finds it gone.
        work.step(|batch| batch.remove(pair).free_held(PAIRED_PORTS, id).hold(GROUPED_PAIRS, id, id).free(GROUPED_PAIRS, id));
        Ok(())
    }
}
