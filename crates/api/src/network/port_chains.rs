//! `/v2.0/sfc/port_chains`: groups of service functions that packets go through one after the other.

use std::sync::{Arc, LazyLock};

use axum::Router;
use model::identity::Project;
use model::net::chains::{
    CHAIN_IDS, CHAINED_CLASSIFIERS, CHAINED_GROUPS, Correlation, FlowClassifier, GRAPHED_CHAINS, PortChain, PortChainDesired, PortPair,
    PortPairGroup,
};
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::flow_classifiers::{self, alone, bad, conflict, spelled};
use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::{Ask, Extension, extension, port_pair_groups, port_pairs};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("sfc", "Service Function Chaining", "Service Function Chain extension.", "2015-10-05T10:00:00-00:00"),
    extension(
        "networking-sfc-tap",
        "Networking SFC Passive Tap Service Function support",
        "Extension for Passive TAP Service Function support",
        "2017-10-20T10:00:00-00:00",
    ),
];

/// What every change of classifiers of chains changes, so that no two are compared with what was there before both.
const ALL: &str = "sfc:port_chains";
/// The greatest number of a chain.
const MOST: u16 = u16::MAX;

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<PortChain>()
}

/// The chain is in a graph.
fn in_graph(id: &str) -> Failure {
    conflict("ServiceGraphPortChainInUse", format!("Port Chain {id} in use."))
}

/// The key of a number in the pool of such: all are of one length, so that they sort as numbers do.
fn key(number: u128) -> String {
    format!("{number:05}")
}

fn number(key: &str) -> Option<u128> {
    key.parse().ok()
}

/// What stands for a row of groups in the pool of such: short, however many there are.
fn row(groups: &[Id<PortPairGroup>]) -> String {
    let all: Vec<&str> = groups.iter().map(Id::as_str).collect();
    Id::<PortChain>::derived(&all.join(" ")).to_string()
}

fn parameters(it: &mut PortChainDesired, v: &Value) -> Result<(), String> {
    let Some(given) = port_pairs::keys_of(v, &["correlation", "symmetric"])? else { return Ok(()) };
    if let Some(v) = given.get("correlation") {
        it.correlation = port_pairs::correlation(v)?.ok_or("None is not in valid_values")?;
    }
    if let Some(v) = given.get("symmetric") {
        it.symmetric = value::boolean(v).map_err(|_| format!("'{}' cannot be converted to boolean", spelled(v)))?;
    }
    Ok(())
}

static FORM: LazyLock<Form<PortChain>> = LazyLock::new(|| {
    Form::new("port_chain", "port_chains", "sfc/port_chains", "PortChainNotFound", "Port Chain")
        .not_found_says(|id| format!("Port Chain {id} not found."))
        .named()
        .fields(vec![
            field("description", |it: &Object<PortChain>, _: &()| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 255)))
                .sort(),
            field("port_pair_groups", |it: &Object<PortChain>, _| json!(it.desired.port_pair_groups))
                .set(|it, v| put(&mut it.desired.port_pair_groups, port_pair_groups::ids(v)))
                .required()
                .link("port_pair_groups"),
            field("flow_classifiers", |it: &Object<PortChain>, _| json!(it.desired.flow_classifiers))
                .set(|it, v| put(&mut it.desired.flow_classifiers, port_pair_groups::ids(v)))
                .link("flow_classifiers"),
            field(
                "chain_parameters",
                |it: &Object<PortChain>, _| json!({"correlation": it.desired.correlation, "symmetric": it.desired.symmetric}),
            )
            .set_once(|it, v| parameters(&mut it.desired, v)),
            field("chain_id", |it: &Object<PortChain>, _| json!(it.desired.chain_id))
                .set_once(|it, v| {
                    let read = value::number(v, 0, i64::from(MOST)).map(|it| u16::try_from(it).unwrap_or_default());
                    put(&mut it.desired.chain_id, read)
                })
                .sort(),
        ])
});

/// Checks the groups of a chain, and takes their row: no other chain has the same. (Source: `networking_sfc/db/sfc_db.py`.)
async fn take_groups(
    work: &mut Work<'_>,
    had: &[Id<PortPairGroup>],
    chain: &Object<PortChain>,
) -> Result<Vec<Object<PortPairGroup>>, Failure> {
    let wanted = &chain.desired.port_pair_groups;
    if wanted.is_empty() {
        return Err(bad("PortPairGroupNotSpecified", "Port Pair Group is not specified in Port Chain."));
    }
    let mut groups: Vec<Object<PortPairGroup>> = Vec::with_capacity(wanted.len());
    for id in wanted {
        let group = named::<PortPairGroup>(work.ask, id).await?;
        if group.desired.tap_enabled && groups.last().is_some_and(|it| it.desired.tap_enabled) {
            return Err(bad("ConsecutiveTapPPGNotSupported", "Consecutive Tap PPG in port-chain is not supported now."));
        }
        work.gone_means::<PortPairGroup>(PortPairGroup::form().missing(id.as_str()));
        work.step(|batch| batch.require(id));
        groups.push(group);
    }
    if had == wanted.as_slice() {
        return Ok(groups);
    }
    let row_wanted = row(wanted);
    let held = work.ask.app.store.allocation(CHAINED_GROUPS, &row_wanted).await?.map(|it| it.holder);
    let made = work.made::<PortChain>().find(|it| it.desired.port_pair_groups == *wanted).map(|it| it.id.to_string());
    if let Some(other) = held.or(made) {
        let all: Vec<String> = wanted.iter().map(|it| format!("'{it}'")).collect();
        let text = format!("Port Pair Group(s) [{}] in use by Port Chain {other}.", all.join(", "));
        return Err(conflict("InvalidPortPairGroups", text));
    }
    work.step(|batch| {
        let batch = if had.is_empty() { batch } else { batch.free(CHAINED_GROUPS, &row(had)) };
        batch.hold(CHAINED_GROUPS, &row_wanted, chain.id.as_str())
    });
    Ok(groups)
}

/// The functions of these groups understand no other marks than the chain's.
async fn check_marks(ask: &Ask, groups: &[Object<PortPairGroup>], marks: Correlation) -> Result<(), Failure> {
    let pairs: Vec<String> = groups.iter().flat_map(|it| &it.desired.port_pairs).map(ToString::to_string).collect();
    if pairs.is_empty() {
        return Ok(());
    }
    let pairs = ask.app.store.list(&Query::<PortPair>::new().ids(pairs)).await?;
    let differs = |pair: &&Object<PortPair>| pair.desired.correlation.is_some_and(|it| it != marks);
    let Some(pair) = pairs.iter().find(differs) else { return Ok(()) };
    let group = groups.iter().find(|it| it.desired.port_pairs.contains(&pair.id)).map_or_else(String::new, |it| it.id.to_string());
    let text =
        format!("Port Chain attempted creation included a Port Pair Group ({group}) with a different protocol used as correlation type.");
    Err(bad("PortChainInconsistentCorrelations", text))
}

/// Checks the classifiers of a chain, and takes those it has not: each is in one chain only, and no packet may be meant by those of two.
async fn take_classifiers(work: &mut Work<'_>, had: &[Id<FlowClassifier>], chain: &Object<PortChain>) -> Result<(), Failure> {
    let wanted = &chain.desired.flow_classifiers;
    let mut classifiers = Vec::with_capacity(wanted.len());
    for id in wanted {
        classifiers.push(named::<FlowClassifier>(work.ask, id).await?);
        if !had.contains(id) {
            work.value_taken_means(CHAINED_CLASSIFIERS, id.as_str(), flow_classifiers::in_use(id.as_str()));
            work.gone_means::<FlowClassifier>(FlowClassifier::form().missing(id.as_str()));
            if work.ask.app.store.allocation(CHAINED_CLASSIFIERS, id.as_str()).await?.is_some() {
                return Err(flow_classifiers::in_use(id.as_str()));
            }
            work.step(|batch| batch.require(id).hold(CHAINED_CLASSIFIERS, id.as_str(), chain.id.as_str()));
        }
    }
    if wanted.iter().all(|it| had.contains(it)) {
        return Ok(());
    }
    alone(work, ALL).await?;
    let store = &work.ask.app.store;
    let stored = store.list(&Query::<PortChain>::new()).await?;
    let chains: Vec<&Object<PortChain>> = stored.iter().chain(work.made()).filter(|it| it.id != chain.id).collect();
    let others: Vec<String> = chains.iter().flat_map(|it| &it.desired.flow_classifiers).map(ToString::to_string).collect();
    if others.is_empty() {
        return Ok(());
    }
    for other in store.list(&Query::<FlowClassifier>::new().ids(others)).await? {
        let Some(own) = classifiers.iter().find(|it| it.desired.meets(&other.desired)) else { continue };
        let of = chains.iter().find(|it| it.desired.flow_classifiers.contains(&other.id)).map_or("", |it| it.id.as_str());
        let text = format!("Flow Classifier {} conflicts with Flow Classifier {} in port chain {of}.", own.id, other.id);
        return Err(bad("PortChainFlowClassifierInConflict", text));
    }
    Ok(())
}

/// Gives the chain its number: the one wanted, or the lowest that is free.
async fn take_number(work: &mut Work<'_>, chain: &mut Object<PortChain>) -> Result<(), Failure> {
    let wanted = chain.desired.chain_id;
    let chosen = if wanted == 0 {
        let all = [(1, u128::from(MOST) - 1)];
        let none = || bad("PortChainUnavailableChainId", format!("Port Chain {} no available chain id.", chain.id));
        work.pick(CHAIN_IDS, &all, key, number).await?.ok_or_else(none)?
    } else {
        let chosen = u128::from(wanted);
        let held = work.ask.app.store.allocation(CHAIN_IDS, &key(chosen)).await?.map(|it| it.holder);
        let made = work.made::<PortChain>().find(|it| it.desired.chain_id == wanted).map(|it| it.id.to_string());
        if let Some(other) = held.or(made) {
            let text = format!("Chain id {wanted} conflicts with Chain id in port chain {other}.");
            return Err(bad("PortChainChainIdInConflict", text));
        }
        work.claim(CHAIN_IDS, chosen);
        chosen
    };
    chain.desired.chain_id = u16::try_from(chosen).unwrap_or_default();
    work.step(|batch| batch.take(CHAIN_IDS, &key(chosen), chain.id.as_str()));
    Ok(())
}

impl Noun for PortChain {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<PortChainDesired, Failure> {
        Ok(PortChainDesired {
            description: String::new(),
            chain_id: 0,
            port_pair_groups: Vec::new(),
            flow_classifiers: Vec::new(),
            correlation: Correlation::Mpls,
            symmetric: false,
        })
    }

    async fn create(work: &mut Work<'_>, chain: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        let groups = take_groups(work, &[], chain).await?;
        check_marks(work.ask, &groups, chain.desired.correlation).await?;
        take_classifiers(work, &[], chain).await?;
        take_number(work, chain).await
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let id = before.id.as_str();
        if !body.contains_key("port_pair_groups") && !body.contains_key("flow_classifiers") {
            return Ok(());
        }
        work.value_taken_means(GRAPHED_CHAINS, id, in_graph(id));
        work.step(|batch| batch.hold(GRAPHED_CHAINS, id, id).free(GRAPHED_CHAINS, id));
        if body.contains_key("port_pair_groups") {
            take_groups(work, &before.desired.port_pair_groups, after).await?;
        }
        for left in before.desired.flow_classifiers.iter().filter(|it| !after.desired.flow_classifiers.contains(it)) {
            work.step(|batch| batch.free(CHAINED_CLASSIFIERS, left.as_str()));
        }
        take_classifiers(work, &before.desired.flow_classifiers, after).await
    }

    async fn delete(work: &mut Work<'_>, chain: &Object<Self>) -> Result<(), Failure> {
        let id = chain.id.as_str();
        work.value_taken_means(GRAPHED_CHAINS, id, in_graph(id));
        let number = key(u128::from(chain.desired.chain_id));
        work.step(|batch| {
            let batch = batch.remove(chain).hold(GRAPHED_CHAINS, id, id).free(GRAPHED_CHAINS, id);
            batch.free_held(CHAINED_CLASSIFIERS, id).free_held(CHAINED_GROUPS, id).give_back(CHAIN_IDS, &number)
        });
        Ok(())
    }
}
