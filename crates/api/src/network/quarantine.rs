//! `/v2.0/cofferdam/quarantine`: what was let go and is not proven released yet, and an operator's word in place of the proof.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, put as on_put};
use axum::{Json, Router};
use model::baremetal::Node;
use model::fabric::{Forced, Switch, SwitchPort, Trace};
use model::identity::Project;
use model::net::{Network, NetworkType, Port, Segment};
use model::{Id, Object, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query, Severity, Wishes};

use super::Ask;
use super::agents::plain_list;
use super::fabric::use_said;
use super::policies::of_project;
use crate::App;
use crate::enforce::enforce;
use crate::failure::Failure;
use crate::race::RACES;
use crate::resource::{parse, rooted, value};

/// Longest reason, in characters.
const LONGEST_REASON: usize = 1024;
const FILTERS: [&str; 8] = ["id", "kind", "switch", "port", "physical_network", "segmentation_id", "holder", "waits_for"];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/cofferdam/quarantine", get(list))
        .route("/cofferdam/quarantine/{id}", get(show))
        .route("/cofferdam/quarantine/{id}/force", on_put(force))
}

/// One thing in quarantine.
enum Item {
    /// A switch port, not proven isolated.
    Port(Box<Object<SwitchPort>>),
    /// A segment, not proven gone from every switch, of a network that gave it up or is being removed.
    Segment { network: Box<Object<Network>>, segment: Segment, since: Timestamp },
}

/// What is in quarantine, and the switches that could prove it released.
struct Quarantine {
    /// When that was read.
    now: Timestamp,
    items: Vec<Item>,
    switches: Vec<Object<Switch>>,
    physical_network: String,
}

impl Item {
    fn id(&self) -> &str {
        match self {
            Self::Port(row) => row.id.as_str(),
            Self::Segment { segment, .. } => segment.id.as_str(),
        }
    }

    /// What it is called in texts.
    fn called(&self) -> String {
        match self {
            Self::Port(row) => format!("port {} of switch {}", row.desired.port, row.desired.switch),
            Self::Segment { segment, .. } => {
                let id = segment.segmentation_id.unwrap_or_default();
                match segment.network_type {
                    NetworkType::Vlan => format!("VLAN {id} of {}", segment.physical_network.as_deref().unwrap_or_default()),
                    other => format!("{} {id}", other.as_str().to_ascii_uppercase()),
                }
            }
        }
    }
}

/// Why a switch port is not proven isolated.
fn why_not_proven(row: &Object<SwitchPort>) -> String {
    let seen = &row.observed;
    let refused = if seen.refused.is_empty() { String::new() } else { format!("; the switch refuses: {}", seen.refused) };
    let why = match (&seen.seen, seen.read_at) {
        (_, None) => "it has not been read yet".to_owned(),
        _ if seen.generation != row.generation => "it has not been read since it was let go".to_owned(),
        (Some(seen), Some(at)) => format!("it was read as {} at {}", use_said(seen), at.iso_micros()),
        (None, Some(at)) if seen.note.is_empty() => format!("it was not found at {}", at.iso_micros()),
        (None, Some(at)) => format!("it was read as {} at {}", seen.note, at.iso_micros()),
    };
    why + &refused
}

impl Quarantine {
    async fn read(ask: &Ask) -> Result<Self, Failure> {
        let store = &ask.app.store;
        let rows = store.list(&Query::<SwitchPort>::new()).await?;
        let networks = store.list(&Query::<Network>::new().with_deleted()).await?;
        let switches = store.list(&Query::<Switch>::new()).await?;
        let ports = rows.into_iter().filter(Object::in_quarantine).map(|it| Item::Port(Box::new(it)));
        let mut items: Vec<Item> = ports.collect();
        // A VXLAN that no switch could have mapped is free at once.
        let may_be_left = |it: &Item| match it {
            Item::Segment { segment, .. } if segment.network_type == NetworkType::Vxlan => {
                segment.segmentation_id.is_some_and(|vni| switches.iter().any(|it| it.may_map(vni)))
            }
            _ => true,
        };
        items.extend(networks.into_iter().flat_map(segments).filter(may_be_left));
        items.sort_by(|a, b| a.id().cmp(b.id()));
        let now = store.now().await?;
        Ok(Self { now, items, switches, physical_network: ask.app.settings.fabric.physical_network.clone() })
    }

    /// The switches that are still to be read for it.
    fn waits_for(&self, item: &Item) -> Vec<&Object<Switch>> {
        match item {
            Item::Port(row) => self.switches.iter().filter(|it| it.id == row.desired.switch).collect(),
            Item::Segment { segment, since, .. } => {
                let trace = Trace::of(segment, &self.physical_network);
                self.switches.iter().filter(|it| trace.is_some_and(|trace| it.owes(trace, *since, self.now))).collect()
            }
        }
    }

    fn shown(&self, item: &Item) -> Value {
        let waits_for = self.waits_for(item);
        let faults: Vec<String> =
            waits_for.iter().filter(|it| !it.observed.fault.is_empty()).map(|it| format!("{}: {}", it.id, it.observed.fault)).collect();
        let names: Vec<&str> = waits_for.iter().map(|it| it.id.as_str()).collect();
        let mut shown = match item {
            Item::Port(row) => json!({
                "kind": "switch_port",
                "switch": row.desired.switch,
                "port": row.desired.port,
                "physical_network": self.physical_network,
                "segmentation_id": null,
                "holder": row.desired.holder,
                "since": row.desired.since.iso_micros(),
                "reason": why_not_proven(row),
            }),
            Item::Segment { network, segment, since } => json!({
                "kind": if segment.network_type == NetworkType::Vlan { "vlan" } else { "vni" },
                "switch": null,
                "port": null,
                "physical_network": segment.physical_network,
                "segmentation_id": segment.segmentation_id,
                "holder": network.id,
                "since": since.iso_micros(),
                "reason": match names.is_empty() {
                    true => "every switch was read without it; it is about to be freed".to_owned(),
                    false => format!("not read without it since: {}", names.join(", ")),
                },
            }),
        };
        shown["id"] = json!(item.id());
        shown["waits_for"] = json!(names);
        shown["fault"] = json!(faults.join("; "));
        shown
    }
}

/// The segments that a network gave up, or that it holds until it is gone.
fn segments(network: Object<Network>) -> Vec<Item> {
    let on_wire = |it: &Segment| !matches!(it.network_type, NetworkType::Flat | NetworkType::Local);
    let mut found: Vec<(Segment, Timestamp)> = Vec::new();
    let released = network.desired.released.iter().filter(|it| it.forced.is_none());
    found.extend(released.map(|it| (it.segment.clone(), it.at)));
    if network.is_deleting()
        && network.desired.forced.is_none()
        && let Some(since) = network.observed.quarantined_at
    {
        found.extend(network.desired.segments.iter().chain(&network.desired.dynamic).map(|it| (it.clone(), since)));
    }
    found.retain(|(it, _)| on_wire(it));
    let item = |(segment, since)| Item::Segment { network: Box::new(network.clone()), segment, since };
    found.into_iter().map(item).collect()
}

/// What waits for the switch to be read, but its own ports, in words.
pub(super) async fn waiting_for(ask: &Ask, switch: &Object<Switch>) -> Result<Vec<String>, Failure> {
    let all = Quarantine::read(ask).await?;
    let is_waiting = |it: &&Item| matches!(it, Item::Segment { .. }) && all.waits_for(it).iter().any(|it| it.id == switch.id);
    Ok(all.items.iter().filter(is_waiting).map(Item::called).collect())
}

fn permit(ask: &Ask, rule: &str) -> Result<(), Failure> {
    enforce(&ask.app, &ask.caller, rule, &of_project::<Project>(None))
}

/// GET …/quarantine
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    permit(&ask, "get_quarantine")?;
    let all = Quarantine::read(&ask).await?;
    let shown = all.items.iter().map(|it| all.shown(it)).collect();
    Ok(Json(json!({"quarantine": plain_list(&ask, &FILTERS, shown)?})))
}

fn missing(id: &str) -> Failure {
    Failure::named(http::StatusCode::NOT_FOUND, "QuarantineNotFound", format!("Nothing in quarantine has the id {id}."))
}

/// GET …/quarantine/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    permit(&ask, "get_quarantine")?;
    let all = Quarantine::read(&ask).await?;
    let item = all.items.iter().find(|it| it.id() == id).ok_or_else(|| missing(&id))?;
    Ok(Json(json!({"quarantine": all.shown(item)})))
}

/// PUT …/quarantine/{id}/force: an operator takes the responsibility that the switches cannot.
async fn force(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    permit(&ask, "force_quarantine")?;
    let body = parse(&body)?;
    let given = rooted(&body, "quarantine")?;
    if let Some(other) = given.keys().find(|it| *it != "reason") {
        return Err(Failure::BadRequest(format!("Unrecognized attribute(s) '{other}'")));
    }
    let reason = value::text(given.get("reason").unwrap_or(&Value::Null), LONGEST_REASON);
    let reason = reason.map_err(|why| Failure::BadRequest(format!("Invalid input for reason. Reason: {why}.")))?.trim().to_owned();
    if reason.is_empty() {
        return Err(Failure::BadRequest("Forcing something out of quarantine takes a reason, which is kept.".into()));
    }
    let word = Forced { by: ask.caller.user_id.to_string(), reason, at: Timestamp::now() };
    for _ in 0..RACES {
        let all = Quarantine::read(&ask).await?;
        let item = all.items.iter().find(|it| it.id() == id).ok_or_else(|| missing(&id))?;
        let mut shown = all.shown(item);
        let detail = json!({
            "by": word.by,
            "user": ask.caller.user_name,
            "reason": word.reason,
            "what": item.called(),
            "unproven_because": shown["reason"],
            "fault": shown["fault"],
        });
        let switches: Vec<Id<Switch>> = all.waits_for(item).iter().map(|it| it.id.clone()).collect();
        let batch = match item {
            Item::Port(row) => forced_port(&ask, row, &word, &detail).await?,
            Item::Segment { network, segment, .. } => forced_segment(network, segment, &word, &detail),
        };
        let batch = switches.iter().fold(batch, |batch, it| batch.history(it, Severity::Warning, FORCED, &detail).wake(it));
        match ask.app.store.apply(batch).await {
            Ok(()) => {}
            Err(error) if error.is_race() => continue,
            Err(error) => return Err(error.into()),
        }
        tracing::warn!(
            user.id = word.by,
            user.name = ask.caller.user_name,
            quarantine.id = id,
            reason = word.reason,
            unproven = %shown["reason"],
            "an operator forced {} out of quarantine, which no switch has proven released",
            item.called()
        );
        shown["forced"] = json!({"by": word.by, "reason": word.reason, "at": word.at.iso_micros()});
        return Ok(Json(json!({ "quarantine": shown })));
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// What history says.
const FORCED: &str = "forced out of quarantine by an operator, without proof";

async fn forced_port(ask: &Ask, row: &Object<SwitchPort>, word: &Forced, detail: &Value) -> Result<Batch<Wishes>, Failure> {
    let mut row = row.clone();
    row.desired.forced = Some(word.clone());
    let mut batch = Batch::wishes().want(&row).history(&row.id, Severity::Warning, FORCED, detail);
    let Some(holder) = &row.desired.holder else { return Ok(batch) };
    batch = batch.wake(holder);
    // The machine whose isolation is not proven has it in its history too. One that is being released has unbound the port by then; it is
    // attached to it until the end.
    let port: Option<Object<Port>> = ask.app.store.get(holder).await?;
    let attached = ask.app.store.allocation("vif", holder.as_str()).await?.map(|it| it.holder);
    let bound = port.map(|it| it.desired.binding.host_id).filter(|it| !it.is_empty());
    if let Some(node) = bound.or(attached).and_then(|it| Id::<Node>::parse(&it))
        && ask.app.store.get(&node).await?.is_some()
    {
        let event = format!("isolation of {}/{} forced by an operator, not proven", row.desired.switch, row.desired.port);
        batch = batch.history(&node, Severity::Warning, &event, detail).wake(&node);
    }
    Ok(batch)
}

/// Of a network that is being removed all segments are forced: it goes when none is held any more.
fn forced_segment(network: &Object<Network>, segment: &Segment, word: &Forced, detail: &Value) -> Batch<Wishes> {
    let mut network = network.clone();
    let mut released = network.desired.released.iter_mut().filter(|it| it.segment.id == segment.id);
    match released.next() {
        Some(it) => it.forced = Some(word.clone()),
        None => network.desired.forced = Some(word.clone()),
    }
    Batch::wishes().want(&network).history(&network.id, Severity::Warning, FORCED, detail).wake(&network.id)
}
