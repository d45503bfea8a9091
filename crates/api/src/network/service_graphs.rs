//! `/v2.0/sfc/service_graphs`: chains of service functions that lead into others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use axum::Router;
use model::identity::Project;
use model::net::chains::{FlowClassifier, GRAPHED_CHAINS, PortChain, PortPair, PortPairGroup, ServiceGraph, ServiceGraphDesired};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::Query;

use super::flow_classifiers::{bad, conflict, spelled};
use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::{Ask, Extension, extension, port_parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("service_graph", "Service Graph", "Service Graph extension.", "2017-09-20T00:00:00-00:00")];

/// Chains, and the chains that each of them leads into.
type Ways = BTreeMap<Id<PortChain>, Vec<Id<PortChain>>>;

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<ServiceGraph>()
}

/// The chains of a body; none: it names something that is no id.
fn ways(given: &Map<String, Value>) -> Option<Ways> {
    let one = |v: &Value| port_parts::uuid::<PortChain>(v).ok();
    let read = |(from, to): (&String, &Value)| {
        let to = to.as_array()?.iter().map(one).collect::<Option<Vec<_>>>()?;
        Some((one(&Value::from(from.as_str()))?, to))
    };
    given.iter().map(read).collect()
}

fn shown(it: &ServiceGraphDesired) -> Value {
    // One that leads nowhere is not shown, as Neutron does not keep it.
    let some = it.port_chains.iter().filter(|(_, to)| !to.is_empty());
    Value::Object(some.map(|(from, to)| (from.to_string(), json!(to))).collect())
}

static FORM: LazyLock<Form<ServiceGraph>> = LazyLock::new(|| {
    Form::new("service_graph", "service_graphs", "sfc/service_graphs", "ServiceGraphNotFound", "Service Graph")
        .not_found_says(|id| format!("Service Graph {id} not found."))
        .named()
        .fields(vec![
            field("description", |it: &Object<ServiceGraph>, _: &()| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 255)))
                .sort(),
            // What is no id in it has a failure of its own.
            field("port_chains", |it: &Object<ServiceGraph>, _| shown(&it.desired))
                .set_once(|it, v| match v {
                    Value::Object(given) => {
                        it.desired.port_chains = ways(given).unwrap_or_default();
                        Ok(())
                    }
                    Value::Null => Ok(()),
                    other => Err(format!("'{}' is not a dictionary", spelled(other))),
                })
                .required(),
        ])
});

/// Whether some chain leads back into itself.
fn has_loop(ways: &Ways) -> bool {
    // Chains that nothing leads into are taken away, until there are none: what is left leads in circles.
    let mut left: BTreeMap<_, _> = ways.iter().collect();
    loop {
        let reached: BTreeSet<&Id<PortChain>> = left.values().copied().flatten().collect();
        let before = left.len();
        left.retain(|from, _| reached.contains(from));
        if left.is_empty() || left.len() == before {
            return !left.is_empty();
        }
    }
}

/// What belongs to the chains of a graph.
struct Parts {
    chains: HashMap<Id<PortChain>, Object<PortChain>>,
    groups: HashMap<Id<PortPairGroup>, Object<PortPairGroup>>,
    pairs: HashMap<Id<PortPair>, Object<PortPair>>,
    classifiers: HashMap<Id<FlowClassifier>, Object<FlowClassifier>>,
}

async fn by_ids<K: model::Kind>(ask: &Ask, ids: BTreeSet<String>) -> Result<HashMap<Id<K>, Object<K>>, Failure> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(ask.app.store.list(&Query::<K>::new().ids(ids)).await?.into_iter().map(|it| (it.id.clone(), it)).collect())
}

impl Parts {
    async fn of(ask: &Ask, ids: &BTreeSet<Id<PortChain>>) -> Result<Self, Failure> {
        let mut chains = HashMap::new();
        for id in ids {
            chains.insert(id.clone(), named::<PortChain>(ask, id).await?);
        }
        let all = || chains.values().map(|it| &it.desired);
        let groups: HashMap<_, Object<PortPairGroup>> = by_ids(
            ask,
            all().flat_map(|it| [it.port_pair_groups.first(), it.port_pair_groups.last()]).flatten().map(ToString::to_string).collect(),
        )
        .await?;
        let pairs = by_ids(ask, groups.values().flat_map(|it| &it.desired.port_pairs).map(ToString::to_string).collect()).await?;
        let classifiers = by_ids(ask, all().flat_map(|it| &it.flow_classifiers).map(ToString::to_string).collect()).await?;
        Ok(Self { chains, groups, pairs, classifiers })
    }

    fn chain(&self, id: &Id<PortChain>) -> Result<&Object<PortChain>, Failure> {
        self.chains.get(id).ok_or_else(|| PortChain::form().missing(id.as_str()))
    }

    /// Packets can be told apart where a chain leads into others only if the functions there understand its marks.
    fn check_branch(&self, chain: &Object<PortChain>, group: Option<&Id<PortPairGroup>>) -> Result<(), Failure> {
        let pairs = group.and_then(|it| self.groups.get(it)).into_iter().flat_map(|it| &it.desired.port_pairs);
        if pairs.filter_map(|it| self.pairs.get(it)).all(|it| it.desired.correlation == Some(chain.desired.correlation)) {
            return Ok(());
        }
        let text = "Service Graphs require source (branching) and destination port pair groups (their PPs) to have correlation enabled.";
        Err(bad("ServiceGraphImpossibleBranching", text))
    }

    /// (Source: `networking_sfc/db/sfc_db.py`.)
    fn check(&self, ways: &Ways) -> Result<(), Failure> {
        let mut marks = None;
        for (from, to) in ways {
            let source = self.chain(from)?;
            self.check_branch(source, source.desired.port_pair_groups.last())?;
            let same = |marks: &mut Option<_>, chain: &Object<PortChain>| {
                if *marks.get_or_insert(chain.desired.correlation) == chain.desired.correlation {
                    return Ok(());
                }
                let text = "Service Graph may only connect port-chains sharing the same correlation.";
                Err(bad("ServiceGraphInconsistentEncapsulation", text))
            };
            same(&mut marks, source)?;
            let mut seen: Vec<&Id<PortChain>> = Vec::new();
            let mut flows: Vec<&Object<FlowClassifier>> = Vec::new();
            for id in to {
                if seen.contains(&id) {
                    let text = format!("Port Chain {id} is duplicated on one of the branching points being created.");
                    return Err(bad("ServiceGraphPortChainInConflict", text));
                }
                seen.push(id);
                let destination = self.chain(id)?;
                self.check_branch(destination, destination.desired.port_pair_groups.first())?;
                same(&mut marks, destination)?;
                for flow in destination.desired.flow_classifiers.iter().filter_map(|it| self.classifiers.get(it)) {
                    if let Some(other) = flows.iter().find(|it| it.desired.meets(&flow.desired)) {
                        let text = format!(
                            "Flow Classifier {} conflicts with Flow Classifier {} on one of the branching points being created.",
                            other.id, flow.id
                        );
                        return Err(bad("ServiceGraphFlowClassifierInConflict", text));
                    }
                    flows.push(flow);
                }
            }
        }
        if has_loop(ways) {
            return Err(bad("ServiceGraphLoopDetected", "Service Graph defined contains at least one port chain loop."));
        }
        Ok(())
    }
}

impl Noun for ServiceGraph {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<ServiceGraphDesired, Failure> {
        Ok(ServiceGraphDesired::default())
    }

    async fn create(work: &mut Work<'_>, graph: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if body.get("port_chains").and_then(Value::as_object).is_some_and(|it| ways(it).is_none()) {
            let text = "An invalid UUID was specified. Make sure only valid UUIDs are provided.";
            return Err(bad("InvalidUUID", text));
        }
        let ways = &graph.desired.port_chains;
        let ids: BTreeSet<Id<PortChain>> = ways.iter().flat_map(|(from, to)| std::iter::once(from).chain(to)).cloned().collect();
        let spell = |(from, to): (&Id<PortChain>, &Vec<Id<PortChain>>)| {
            let to: Vec<String> = to.iter().map(|it| format!("'{it}'")).collect();
            format!("'{from}': [{}]", to.join(", "))
        };
        let all: Vec<String> = ways.iter().map(spell).collect();
        let text = format!("Some of the Port Chain(s): {{{}}}, are already in use by a Service Graph.", all.join(", "));
        let used = conflict("ServiceGraphInvalidPortChains", text);
        for id in &ids {
            if work.ask.app.store.allocation(GRAPHED_CHAINS, id.as_str()).await?.is_some() {
                return Err(used);
            }
        }
        let parts = Parts::of(work.ask, &ids).await?;
        parts.check(ways)?;
        work.taken_means(GRAPHED_CHAINS, used);
        for chain in parts.chains.values() {
            work.gone_means::<PortChain>(PortChain::form().missing(chain.id.as_str()));
            // Only as it was when it was looked at.
            work.step(|batch| batch.want(chain).hold(GRAPHED_CHAINS, chain.id.as_str(), graph.id.as_str()));
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, graph: &Object<Self>) -> Result<(), Failure> {
        work.step(|batch| batch.remove(graph).free_held(GRAPHED_CHAINS, graph.id.as_str()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways_of(all: &[(&str, &[&str])]) -> Ways {
        let id = |name: &&str| Id::derived(name);
        all.iter().map(|(from, to)| (id(from), to.iter().map(id).collect())).collect()
    }

    #[test]
    fn loops_are_found() {
        assert!(!has_loop(&Ways::new()));
        assert!(!has_loop(&ways_of(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"])])));
        assert!(has_loop(&ways_of(&[("a", &["a"])])));
        assert!(has_loop(&ways_of(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])])));
        assert!(has_loop(&ways_of(&[("x", &["a"]), ("a", &["b"]), ("b", &["a", "y"])])));
    }

    #[test]
    fn ids_are_ids() {
        let read = |v: Value| ways(v.as_object().unwrap()).is_some();
        let id = Id::<PortChain>::random();
        assert!(read(json!({ id.as_str(): [id] })) && read(json!({})));
        assert!(!read(json!({"x": []})) && !read(json!({ id.as_str(): ["x"] })) && !read(json!({ id.as_str(): "x" })));
    }
}
