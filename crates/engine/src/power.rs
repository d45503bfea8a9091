//! Rounds over all machines of a conductor group: their power, now and then their health and sensors. One piece of work, leased by one
//! replica at a time; machines at rest need no wake-up of their own for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use drivers::bmc::{BmcError, Sensor};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use model::baremetal::{Interface, Node, NodeFault, Phase, PowerState, ProvisionState};
use model::{Id, Object};
use store::{Query, Severity, StoreError};

use crate::looks::Looks;
use crate::node;
use crate::runtime::{Cx, Look, Next};

/// How long one BMC is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// Nodes read from the store at once.
const PAGE: u32 = 500;
/// How often a round shows in the log, in rounds.
const SAID: u64 = 60;

/// What is counted of machines, in memory: what it was before a restart does not matter.
#[derive(Default)]
pub struct Metrics {
    /// Looks of all kinds.
    pub(crate) looks: Looks,
    inner: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    rounds: u64,
    round_seconds: f64,
    changes: u64,
    failures: u64,
    sensors_at: Option<Instant>,
    nodes: BTreeMap<String, OfNode>,
}

#[derive(Clone, Default)]
struct OfNode {
    name: String,
    state: &'static str,
    power: Option<bool>,
    read: Option<Instant>,
    maintenance: bool,
    health: Option<String>,
    failures: u32,
    sensors: Vec<Sensor>,
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}

impl Metrics {
    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        // Whoever panicked while counting did not break the counts.
        change(&mut self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// In the text form of Prometheus.
    pub fn render(&self) -> String {
        self.with(|counts| {
            let mut out = String::new();
            let mut put = |name: &str, kind: &str, lines: Vec<String>| {
                if !lines.is_empty() {
                    // Writing to a string cannot fail.
                    let _ok = writeln!(out, "# TYPE {name} {kind}\n{}", lines.join("\n")).is_ok();
                }
            };
            let one = |name: &str, value: f64| vec![format!("{name} {value}")];
            let rounds = u32::try_from(counts.rounds).map_or(f64::MAX, f64::from);
            put("cofferdam_power_sync_rounds_total", "counter", one("cofferdam_power_sync_rounds_total", rounds));
            put("cofferdam_power_sync_seconds", "gauge", one("cofferdam_power_sync_seconds", counts.round_seconds));
            let total = |it: u64| u32::try_from(it).map_or(f64::MAX, f64::from);
            put("cofferdam_power_changes_total", "counter", one("cofferdam_power_changes_total", total(counts.changes)));
            put("cofferdam_power_failures_total", "counter", one("cofferdam_power_failures_total", total(counts.failures)));
            let each = |line: &dyn Fn(&str, &OfNode) -> Option<String>| -> Vec<String> {
                let named = |(id, it): (&String, &OfNode)| {
                    let labels = format!("node=\"{}\",name=\"{}\"", label(id), label(&it.name));
                    line(&labels, it)
                };
                counts.nodes.iter().filter_map(named).collect()
            };
            put(
                "cofferdam_node_power",
                "gauge",
                each(&|labels, it| Some(format!("cofferdam_node_power{{{labels}}} {}", u8::from(it.power?)))),
            );
            put(
                "cofferdam_node_power_read_seconds",
                "gauge",
                each(&|labels, it| Some(format!("cofferdam_node_power_read_seconds{{{labels}}} {:.1}", it.read?.elapsed().as_secs_f64()))),
            );
            put(
                "cofferdam_node_state",
                "gauge",
                each(&|labels, it| Some(format!("cofferdam_node_state{{{labels},state=\"{}\"}} 1", it.state))),
            );
            put(
                "cofferdam_node_maintenance",
                "gauge",
                each(&|labels, it| Some(format!("cofferdam_node_maintenance{{{labels}}} {}", u8::from(it.maintenance)))),
            );
            put(
                "cofferdam_node_power_failures",
                "gauge",
                each(&|labels, it| Some(format!("cofferdam_node_power_failures{{{labels}}} {}", it.failures))),
            );
            put(
                "cofferdam_node_health",
                "gauge",
                each(&|labels, it| {
                    let health = it.health.as_ref()?;
                    Some(format!("cofferdam_node_health{{{labels},health=\"{}\"}} 1", label(health)))
                }),
            );
            let sensors = each(&|labels, it| {
                let lines: Vec<String> = it
                    .sensors
                    .iter()
                    .map(|sensor| {
                        let (kind, name, unit) = (sensor.kind, label(&sensor.name), sensor.unit);
                        format!("cofferdam_node_sensor{{{labels},kind=\"{kind}\",sensor=\"{name}\",unit=\"{unit}\"}} {}", sensor.value)
                    })
                    .collect();
                (!lines.is_empty()).then(|| lines.join("\n"))
            });
            put("cofferdam_node_sensor", "gauge", sensors);
            self.looks.render(&mut out);
            out
        })
    }
}

/// What a round asks beside power.
#[derive(Clone, Copy)]
struct Round {
    health: bool,
    sensors: bool,
}

/// One machine as one round found it.
enum Found {
    Power(drivers::bmc::PowerState),
    Silent(String),
}

/// Whether rounds ask for its power at all.
fn is_asked(node: &Object<Node>) -> bool {
    let fault = node.observed.fault == Some(NodeFault::PowerFailure);
    let known = !matches!(node.observed.state, ProvisionState::Enroll | ProvisionState::Verifying);
    let asked = node.desired.power_request.as_ref().is_some_and(|it| it.seq > node.observed.handled_power);
    known && node.observed.phase == Phase::Rest && !asked && (!node.desired.maintenance || fault)
}

pub(crate) async fn sync(cx: &Cx) -> Look {
    let began = Instant::now();
    let config = &cx.config.baremetal;
    let (rounds, sensors_at) = cx.metrics.with(|it| (it.rounds, it.sensors_at));
    let every = u64::from(config.sensors_interval_seconds);
    let round = Round {
        health: config.health_rounds > 0 && rounds % u64::from(config.health_rounds) == 0,
        sensors: every > 0 && sensors_at.is_none_or(|at| at.elapsed() >= Duration::from_secs(every)),
    };
    let width = usize::try_from(config.power_sync_concurrency.clamp(1, 4096)).unwrap_or(200);
    let mut later: Vec<Id<Node>> = Vec::new();
    let mut known = Vec::new();
    let mut looks = FuturesUnordered::new();
    let mut page = Some(Query::<Node>::new().sort("id", false).limit(PAGE));
    while let Some(query) = page.take() {
        let nodes = cx.store.list(&query).await?;
        if u32::try_from(nodes.len()).is_ok_and(|it| it >= PAGE)
            && let Some(last) = nodes.last()
        {
            page = Some(query.after(&last.id));
        }
        // By the index of groups the store would sort all nodes for each page.
        for node in nodes.into_iter().filter(|it| it.desired.conductor_group == cx.conductor.group) {
            known.push(node.id.to_string());
            note(cx, &node);
            if !is_asked(&node) {
                continue;
            }
            if node.observed.power_failures > 0 {
                // Those that did not answer last time come last: they hold nobody up.
                later.push(node.id.clone());
                continue;
            }
            looks.push(look(cx, node, round));
            settle(&mut looks, width).await?;
        }
    }
    settle(&mut looks, 1).await?;
    for id in later {
        if let Some(node) = cx.store.get(&id).await? {
            looks.push(look(cx, node, round));
            settle(&mut looks, width).await?;
        }
    }
    settle(&mut looks, 1).await?;
    let took = began.elapsed();
    known.sort();
    cx.metrics.with(|it| {
        it.rounds += 1;
        it.round_seconds = took.as_secs_f64();
        it.nodes.retain(|id, _| known.binary_search(id).is_ok());
        if round.sensors {
            it.sensors_at = Some(Instant::now());
        }
    });
    if rounds % SAID == 0 {
        tracing::info!(nodes = known.len(), took_ms = took.as_millis(), "read the power of all machines");
    }
    Ok(Next::Again(config.power_sync_interval().saturating_sub(took).max(Duration::from_secs(1))))
}

/// Waits until fewer than `width` looks are under way. One machine that cannot be written does not end the round; a lease that was
/// lost does.
async fn settle<F: Future<Output = Result<(), StoreError>>>(looks: &mut FuturesUnordered<F>, width: usize) -> Result<(), StoreError> {
    while looks.len() >= width {
        match looks.next().await {
            Some(Err(error @ StoreError::LeaseLost { .. })) => return Err(error),
            Some(Err(error)) if !error.is_race() => tracing::warn!(%error, "the power of a machine could not be written"),
            Some(_) => {}
            None => break,
        }
    }
    Ok(())
}

fn note(cx: &Cx, node: &Object<Node>) {
    cx.metrics.with(|counts| {
        let it = counts.nodes.entry(node.id.to_string()).or_default();
        it.name.clone_from(&node.name);
        it.state = node.observed.state.as_str();
        it.power = node.observed.power.map(|it| it == PowerState::On);
        it.maintenance = node.desired.maintenance;
        it.health.clone_from(&node.observed.health);
        it.failures = node.observed.power_failures;
    });
}

async fn look(cx: &Cx, before: Object<Node>, round: Round) -> Result<(), StoreError> {
    let mut node = before.clone();
    let found = match cx.outside.bmc(node::hardware(&node, &node.desired)) {
        Err(error) => Found::Silent(error.to_string()),
        Ok(bmc) => match tokio::time::timeout(LIMIT, bmc.power()).await {
            Ok(Ok(drivers::bmc::PowerState::Changing) | Err(BmcError::Unsupported { .. })) => return Ok(()),
            Ok(Ok(power)) => {
                cx.metrics.with(|it| it.nodes.entry(node.id.to_string()).or_default().read = Some(Instant::now()));
                if round.health
                    && let Ok(Ok(health)) = tokio::time::timeout(LIMIT, bmc.health()).await
                {
                    node.observed.health = health;
                }
                if round.sensors
                    && let Ok(Ok(sensors)) = tokio::time::timeout(LIMIT, bmc.sensors()).await
                {
                    cx.metrics.with(|it| it.nodes.entry(node.id.to_string()).or_default().sensors = sensors);
                }
                Found::Power(power)
            }
            Ok(Err(error)) => Found::Silent(error.to_string()),
            Err(_) => Found::Silent(format!("its BMC did not answer within {LIMIT:?}")),
        },
    };
    let (wants, line) = judge(&mut node, &found, cx.config.baremetal.power_failures.max(1));
    cx.metrics.with(|it| match &found {
        Found::Power(_) if before.observed.power != node.observed.power => it.changes += 1,
        Found::Power(_) => {}
        Found::Silent(_) => it.failures += 1,
    });
    if !wants && node.observed == before.observed {
        return Ok(());
    }
    let mut batch = cx.facts();
    if let Some((severity, line)) = line {
        let shown = model::baremetal::shown_state(&node).0;
        batch = batch.history(&node.id, severity, &line, &serde_json::json!({"state": shown}));
    }
    if wants {
        let mut then = node.clone();
        then.revision += 1;
        batch = batch.want(&node).observe(&then);
    } else {
        batch = batch.observe(&node);
    }
    // Somebody who works on it meanwhile is left alone: the next round looks again.
    cx.store.apply(batch).await
}

/// What follows from a look: whether what is wanted of the node changes too, and a line of history.
fn judge(node: &mut Object<Node>, found: &Found, limit: u32) -> (bool, Option<(Severity, String)>) {
    match found {
        Found::Power(power) => {
            let power = if *power == drivers::bmc::PowerState::On { PowerState::On } else { PowerState::Off };
            let before = node.observed.power.replace(power);
            node.observed.power_failures = 0;
            if node.observed.fault == Some(NodeFault::PowerFailure) {
                node.observed.fault = None;
                node.desired.maintenance = false;
                node.desired.maintenance_reason = None;
                return (true, Some((Severity::Info, "its BMC answers again; out of maintenance".into())));
            }
            let moved = before.is_some_and(|before| before != power);
            (false, moved.then(|| (Severity::Warning, format!("found in {}, nobody here asked for it", power.as_str()))))
        }
        Found::Silent(why) => {
            // What nobody can be asked about is as it was last said to be.
            if node.desired.interface(Interface::Power) == "fake" {
                return (false, None);
            }
            node.observed.power_failures = node.observed.power_failures.saturating_add(1).min(limit);
            if node.observed.power_failures < limit || node.observed.fault.is_some() || node.desired.maintenance {
                return (false, None);
            }
            let why = format!("its power could not be read {limit} times in a row: {why}");
            node.observed.fault = Some(NodeFault::PowerFailure);
            node.observed.last_error = Some(why.clone());
            node.observed.power = None;
            node.desired.maintenance = true;
            node.desired.maintenance_reason = Some(why.clone());
            (true, Some((Severity::Error, why)))
        }
    }
}

#[cfg(test)]
mod tests {
    use model::baremetal::NodeDesired;

    use super::*;

    #[test]
    fn maintenance_after_three_and_out_of_it_again() {
        let desired = NodeDesired { driver: "redfish".into(), ..NodeDesired::default() };
        let mut node: Object<Node> = Object::new(Id::random(), None, "n", desired);
        node.observed.power = Some(PowerState::On);
        let silent = || Found::Silent("no route".into());
        assert!(!judge(&mut node, &silent(), 3).0 && !judge(&mut node, &silent(), 3).0);
        assert!(!node.desired.maintenance);
        let (wants, line) = judge(&mut node, &silent(), 3);
        assert!(wants && line.unwrap().1.contains("no route") && node.desired.maintenance);
        assert_eq!((node.observed.fault, node.observed.power), (Some(NodeFault::PowerFailure), None));
        let seen = node.observed.clone();
        assert!(!judge(&mut node, &silent(), 3).0);
        assert_eq!(node.observed, seen, "nothing more to write");
        assert!(judge(&mut node, &Found::Power(drivers::bmc::PowerState::Off), 3).0);
        assert!(!node.desired.maintenance && node.observed.fault.is_none());
        assert_eq!(judge(&mut node, &Found::Power(drivers::bmc::PowerState::Off), 3).1, None);

        // Who was put into maintenance by hand stays there.
        node.desired.maintenance = true;
        for _ in 0..5 {
            assert!(!judge(&mut node, &silent(), 3).0);
        }
        assert!(!judge(&mut node, &Found::Power(drivers::bmc::PowerState::On), 3).0 && node.desired.maintenance);
    }

    #[test]
    fn prometheus_reads_it() {
        let metrics = Metrics::default();
        metrics.with(|it| {
            let sensor = Sensor { kind: "fan", name: "Fan \"1\"".into(), value: 1200.0, unit: "rpm" };
            let node = OfNode { name: "n".into(), state: "active", power: Some(true), sensors: vec![sensor], ..OfNode::default() };
            it.nodes.insert("id".into(), node);
        });
        let text = metrics.render();
        assert!(text.contains("cofferdam_node_power{node=\"id\",name=\"n\"} 1\n"), "{text}");
        assert!(text.contains("sensor=\"Fan \\\"1\\\"\",unit=\"rpm\"} 1200"), "{text}");
    }
}
