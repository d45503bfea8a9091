//! `/v2.0/sfc/port_pair_groups`: service functions of which each packet goes through one.

use std::sync::{Arc, LazyLock};

use axum::Router;
use model::identity::Project;
use model::net::chains::{GROUP_IDS, GROUPED_PAIRS, PortChain, PortPair, PortPairGroup, PortPairGroupDesired};
use model::{Id, Object};
use serde_json::{Map, Value, json};

use super::flow_classifiers::{bad, conflict, prefix, spelled};
use super::noun::{Body, Form, Noun, Work, field, named, routes as noun_routes};
use super::{Ask, port_pairs, port_parts};
use crate::App;
use crate::failure::Failure;
use crate::resource::{put, value};

/// By what packets can be spread.
const LB_FIELDS: [&str; 8] = ["eth_src", "eth_dst", "ip_src", "ip_dst", "tcp_src", "tcp_dst", "udp_src", "udp_dst"];
/// What of a flow its functions can change.
const N_TUPLE: [&str; 6] = [
    "source_ip_prefix",
    "destination_ip_prefix",
    "source_port_range_min",
    "source_port_range_max",
    "destination_port_range_min",
    "destination_port_range_max",
];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<PortPairGroup>()
}

/// Ids, each once.
pub(super) fn ids<K>(v: &Value) -> Result<Vec<Id<K>>, String> {
    if v.is_null() {
        return Ok(Vec::new());
    }
    let list = v.as_array().ok_or_else(|| format!("'{}' is not a list", spelled(v)))?;
    let mut ids: Vec<Id<K>> = Vec::with_capacity(list.len());
    for it in list {
        let id = port_parts::uuid(it)?;
        if ids.contains(&id) {
            return Err(format!("Duplicate items in the list: '{id}'"));
        }
        ids.push(id);
    }
    Ok(ids)
}

/// The key of a number in the pool of such: all are of one length, so that they sort as numbers do.
fn key(number: u128) -> String {
    format!("{number:010}")
}

fn number(key: &str) -> Option<u128> {
    key.parse().ok()
}

fn parameters(it: &mut PortPairGroupDesired, v: &Value) -> Result<(), String> {
    let Some(given) = port_pairs::keys_of(v, &["lb_fields", "ppg_n_tuple_mapping"])? else { return Ok(()) };
    if let Some(v) = given.get("lb_fields") {
        let fields = v.as_array().ok_or_else(|| format!("'{}' is not a list", spelled(v)))?;
        let fields: Vec<String> = fields.iter().map(spelled).collect();
        let others: Vec<&str> = fields.iter().map(String::as_str).filter(|it| !LB_FIELDS.contains(it)).collect();
        if !others.is_empty() {
            return Err(format!("Illegal values in a list: {}", others.join(", ")));
        }
        it.lb_fields = fields;
    }
    let Some(v) = given.get("ppg_n_tuple_mapping") else { return Ok(()) };
    it.n_tuple_mapping.clear();
    // Those it does not know have a failure of their own.
    for (direction, tuple) in port_pairs::keys_of(v, &["ingress_n_tuple", "egress_n_tuple"])?.into_iter().flatten() {
        let known: Vec<&str> = tuple.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        for (name, part) in port_pairs::keys_of(tuple, &known)?.into_iter().flatten() {
            if name.ends_with("_prefix") {
                prefix(part)?;
            } else if !part.is_null() && N_TUPLE.contains(&name.as_str()) {
                value::number(part, 0, 65535)?;
            }
        }
        it.n_tuple_mapping.insert(direction.clone(), if tuple.is_null() { json!({}) } else { tuple.clone() });
    }
    Ok(())
}

/// Says what is wrong with what has a failure of its own.
fn check_mapping(it: &PortPairGroupDesired) -> Result<(), Failure> {
    let named = it.n_tuple_mapping.values().filter_map(Value::as_object).flat_map(Map::keys);
    let Some(unknown) = named.into_iter().find(|it| !N_TUPLE.contains(&it.as_str())) else { return Ok(()) };
    let supported: Vec<String> = N_TUPLE.iter().map(|it| format!("'{it}': None")).collect();
    let text = format!(
        "Invalid Port Pair Group N-Tuple Mapping parameters: Unknow key {unknown}.. Supported PPG classifier N-Tuple Mapping parameters are \
         {{{}}}.",
        supported.join(", ")
    );
    Err(bad("PPGParametersInvalidNTupleMappingParameter", text))
}

fn mapping_shown(it: &PortPairGroupDesired) -> Value {
    if it.n_tuple_mapping.is_empty() { json!({"ingress_n_tuple": {}, "egress_n_tuple": {}}) } else { json!(it.n_tuple_mapping) }
}

static FORM: LazyLock<Form<PortPairGroup>> = LazyLock::new(|| {
    Form::new("port_pair_group", "port_pair_groups", "sfc/port_pair_groups", "PortPairGroupNotFound", "Port Pair Group")
        .not_found_says(|id| format!("Port Pair Group {id} not found."))
        .named()
        .fields(vec![
            field("description", |it: &Object<PortPairGroup>, _: &()| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 255)))
                .sort(),
            field("group_id", |it: &Object<PortPairGroup>, _| json!(it.desired.group_id)).sort(),
            field("port_pairs", |it: &Object<PortPairGroup>, _| json!(it.desired.port_pairs))
                .set(|it, v| put(&mut it.desired.port_pairs, ids(v)))
                .link("port_pairs"),
            field("port_pair_group_parameters", |it: &Object<PortPairGroup>, _| {
                json!({"lb_fields": it.desired.lb_fields, "ppg_n_tuple_mapping": mapping_shown(&it.desired)})
            })
            .set_once(|it, v| parameters(&mut it.desired, v)),
            field("tap_enabled", |it: &Object<PortPairGroup>, _| json!(it.desired.tap_enabled))
                .set_once(|it, v| put(&mut it.desired.tap_enabled, value::boolean(v)))
                .sort(),
        ])
});

/// Checks the pairs a group is to have, and takes those it has not: each is in one group only. (Source: `networking_sfc/db/sfc_db.py`.)
async fn take_pairs(work: &mut Work<'_>, had: &[Id<PortPair>], group: &Object<PortPairGroup>) -> Result<(), Failure> {
    let mut first = None;
    for id in &group.desired.port_pairs {
        let pair = named::<PortPair>(work.ask, id).await?;
        if *first.get_or_insert(pair.desired.correlation) != pair.desired.correlation {
            let text = "Port Pair Group attempted creation included Port Pairs with inconsistent correlation types.";
            return Err(bad("InconsistentCorrelations", text));
        }
        if !had.contains(id) {
            work.value_taken_means(GROUPED_PAIRS, id.as_str(), port_pairs::in_use(id.as_str()));
            work.gone_means::<PortPair>(PortPair::form().missing(id.as_str()));
            work.step(|batch| batch.require(id).hold(GROUPED_PAIRS, id.as_str(), group.id.as_str()));
        }
    }
    if group.desired.tap_enabled && group.desired.port_pairs.len() > 1 {
        let text = "Multiple port pairs in Tap port-pair-group is not allowed.";
        return Err(bad("MultiplePortPairsInTapPPGNotSupported", text));
    }
    Ok(())
}

impl Noun for PortPairGroup {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<PortPairGroupDesired, Failure> {
        Ok(PortPairGroupDesired {
            description: String::new(),
            group_id: 0,
            port_pairs: Vec::new(),
            lb_fields: Vec::new(),
            n_tuple_mapping: Map::new(),
            tap_enabled: false,
        })
    }

    async fn create(work: &mut Work<'_>, group: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        check_mapping(&group.desired)?;
        take_pairs(work, &[], group).await?;
        let chosen = work.pick(GROUP_IDS, &[(1, u128::from(u32::MAX))], key, number).await?;
        let chosen = chosen.ok_or_else(|| conflict("ResourceExhausted", "No number is left for a Port Pair Group."))?;
        group.desired.group_id = u32::try_from(chosen).unwrap_or_default();
        work.step(|batch| batch.take(GROUP_IDS, &key(chosen), group.id.as_str()));
        Ok(())
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if !body.contains_key("port_pairs") {
            return Ok(());
        }
        for left in before.desired.port_pairs.iter().filter(|it| !after.desired.port_pairs.contains(it)) {
            work.step(|batch| batch.free(GROUPED_PAIRS, left.as_str()));
        }
        take_pairs(work, &before.desired.port_pairs, after).await
    }

    async fn delete(work: &mut Work<'_>, group: &Object<Self>) -> Result<(), Failure> {
        let id = group.id.as_str();
        work.referenced_means::<PortChain>("port_pair_groups", conflict("PortPairGroupInUse", format!("Port Pair Group {id} in use.")));
        let number = key(u128::from(group.desired.group_id));
        work.step(|batch| {
            // Removed first: a chain that takes it at this very moment finds it gone, or is seen.
            let batch = batch.remove(group).unless_linked::<PortChain>("port_pair_groups", id);
            batch.free_held(GROUPED_PAIRS, id).give_back(GROUP_IDS, &number)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_each_once() {
        let (a, b) = (Id::<PortPair>::random(), Id::<PortPair>::random());
        assert_eq!(ids::<PortPair>(&json!([a, b])).unwrap(), [a.clone(), b]);
        assert!(ids::<PortPair>(&json!([a, a])).unwrap_err().starts_with("Duplicate"));
        assert!(ids::<PortPair>(&json!(["x"])).is_err() && ids::<PortPair>(&json!("x")).is_err());
        assert_eq!(ids::<PortPair>(&json!(null)).unwrap(), []);
    }

    #[test]
    fn numbers_sort_as_texts() {
        assert!(key(9) < key(10) && key(u128::from(u32::MAX)).len() == key(1).len());
        assert_eq!(number(&key(77)), Some(77));
    }
}
