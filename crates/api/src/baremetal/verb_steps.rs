//! Steps that come with a verb: read from the request, or from a runbook.

use model::baremetal::{Node, OnChildren, Runbook, Step, Verb};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::Query;

use super::versions::Minor;
use super::words::{not_of_type, repr, too_early, unexpected};
use super::{Ask, access};
use crate::failure::Failure;

/// Whose steps can be named.
const INTERFACES: &[&str] = &["vendor", "power", "management", "firmware", "deploy", "bios", "raid"];
/// Most child nodes that one step names.
const MAX_CHILDREN: usize = 256;
/// Most steps of one request.
const MAX_STEPS: usize = 256;

/// Which steps a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Clean,
    Deploy,
    Service,
}

impl Of {
    /// What the list is called in a request.
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Clean => "clean_steps",
            Self::Deploy => "deploy_steps",
            Self::Service => "service_steps",
        }
    }
}

/// The steps of a list.
///
/// # Errors
/// `BadRequest`: it is no list of steps.
pub(super) fn read(of: Of, list: &[Value]) -> Result<Vec<Step>, Failure> {
    let bad = |why: String| Failure::BadRequest(format!("Invalid {}: {why}", of.argument()));
    if list.len() > MAX_STEPS {
        return Err(bad(format!("there are more than {MAX_STEPS}")));
    }
    list.iter().map(|item| step(of, item).map_err(&bad)).collect()
}

fn step(of: Of, item: &Value) -> Result<Step, String> {
    let map = item.as_object().ok_or_else(|| not_of_type(item, "object"))?;
    let known: &[&str] = match of {
        Of::Deploy => &["interface", "step", "args", "priority"],
        Of::Clean | Of::Service => &["interface", "step", "args", "order", "execute_on_child_nodes", "limit_child_node_execution"],
    };
    let required: &[&str] = if of == Of::Deploy { known } else { &["interface", "step"] };
    if let Some(missing) = required.iter().find(|key| !map.contains_key(**key)) {
        return Err(format!("'{missing}' is a required property"));
    }
    let other: Vec<&str> = map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
    if !other.is_empty() {
        return Err(unexpected(&other));
    }
    let interface = map.get("interface").unwrap_or(&Value::Null);
    if !interface.as_str().is_some_and(|it| INTERFACES.contains(&it)) {
        let names: Vec<Value> = INTERFACES.iter().map(|it| json!(it)).collect();
        return Err(format!("{} is not one of {}", repr(interface), repr(&Value::Array(names))));
    }
    let name = match map.get("step") {
        Some(Value::String(name)) if name.is_empty() => return Err("'' should be non-empty".into()),
        Some(Value::String(name)) => name.clone(),
        other => return Err(not_of_type(other.unwrap_or(&Value::Null), "string")),
    };
    let args = match map.get("args") {
        None => Map::new(),
        Some(Value::Object(args)) => args.clone(),
        Some(other) => return Err(not_of_type(other, "object")),
    };
    let children = children(map, &name)?;
    let priority = match map.get("priority").or_else(|| map.get("order")) {
        None => 0,
        Some(value) => whole(value).ok_or_else(|| format!("{} is not a whole number from 0 on", repr(value)))?,
    };
    Ok(Step { interface: interface.as_str().unwrap_or_default().to_owned(), step: name, args, priority, children })
}

/// On which nodes that are part of the node the step is done; `None`: on itself.
fn children(map: &Map<String, Value>, step: &str) -> Result<Option<OnChildren>, String> {
    let only = match map.get("limit_child_node_execution") {
        None => &Vec::new(),
        Some(Value::Array(list)) if list.len() > MAX_CHILDREN => {
            return Err(format!("step {step}: there are more than {MAX_CHILDREN} nodes"));
        }
        Some(Value::Array(list)) => list,
        Some(other) => return Err(not_of_type(other, "array")),
    };
    match map.get("execute_on_child_nodes") {
        None | Some(Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => {}
        Some(other) => return Err(not_of_type(other, "boolean")),
    }
    let wrong = || format!("Invalid entry detected for execute_on_child_node parameter in step {step}.");
    let only = only.iter().map(|it| it.as_str().and_then(access::parse_id::<Node>).ok_or_else(wrong)).collect::<Result<_, _>>()?;
    Ok(Some(OnChildren { only }))
}

/// Whether the caller may do to every node that the steps name what it asks for.
///
/// # Errors
/// `NotFound`, also for what the caller does not see; `Forbidden`.
pub(super) async fn children_permitted(ask: &Ask, steps: &[Step], rule: &str) -> Result<(), Failure> {
    let mut named: Vec<&Id<Node>> = steps.iter().filter_map(|it| it.children.as_ref()).flat_map(|it| &it.only).collect();
    named.sort();
    named.dedup();
    for id in named {
        access::permitted(ask, id.as_str(), rule).await?;
    }
    Ok(())
}

/// A number or the digits of one.
fn whole(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.filter(|it| *it >= 0)
}

/// What a runbook brings.
#[derive(Debug)]
pub(super) struct Expanded {
    pub id: Id<Runbook>,
    pub steps: Vec<Step>,
    pub disable_ramdisk: bool,
}

/// The runbook of that id or name, if the caller may use it on the node and the node has its trait.
///
/// # Errors
/// `NotAcceptable` before 1.92; `NotFound`, `Forbidden`; `BadRequest` where the node lacks the trait.
pub(super) async fn runbook(ask: &Ask, node: &Object<Node>, ident: &str) -> Result<Expanded, Failure> {
    if ask.minor < Minor(92) {
        return Err(too_early());
    }
    let found = match access::parse_id::<Runbook>(ident) {
        Some(id) => ask.app.store.get(&id).await?,
        None => ask.app.store.list(&Query::<Runbook>::new().name(ident)).await?.pop(),
    };
    let missing = || Failure::not_found("Runbook", ident);
    let found = found.filter(|it| !it.is_deleting()).ok_or_else(missing)?;
    let target = match &found.desired.owner {
        Some(owner) => json!({"runbook.owner": owner}),
        None => json!({}),
    };
    // What one may not see is not there.
    if !found.desired.public && access::require_of(ask, "baremetal:runbook:get", &target).is_err() {
        return Err(missing());
    }
    if !found.desired.public {
        access::require_of(ask, "baremetal:runbook:use", &target)?;
    }
    approved(ask, node, &found)?;
    let mut steps = found.desired.steps.clone();
    steps.sort_by_key(|it| it.priority);
    Ok(Expanded { id: found.id.clone(), steps, disable_ramdisk: found.desired.disable_ramdisk })
}

/// A runbook runs on nodes that have one of its traits; before 1.112 its name was its trait.
fn approved(ask: &Ask, node: &Object<Node>, runbook: &Object<Runbook>) -> Result<(), Failure> {
    let traits = &node.desired.traits;
    let bad = |text: String| Err(Failure::BadRequest(text));
    if ask.minor < Minor(112) {
        return match traits.contains(&runbook.name) || runbook.desired.traits.iter().any(|it| traits.contains(it)) {
            true => Ok(()),
            false => bad(format!(
                "This runbook has not been approved for use on this node {}. Please ask an administrator to add it to your node traits.",
                node.id
            )),
        };
    }
    if runbook.desired.traits.is_empty() {
        return bad(format!("Runbook {} has no traits configured. Please ask an administrator to add traits to the runbook.", runbook.id));
    }
    if runbook.desired.traits.iter().any(|it| traits.contains(it)) {
        return Ok(());
    }
    let mut names: Vec<Value> = runbook.desired.traits.iter().map(|it| json!(it)).collect();
    names.sort_by_key(ToString::to_string);
    bad(format!(
        "This runbook has not been approved for use on this node {}. The node does not have any of the runbook's traits {}. Please ask an \
         administrator to add a matching trait to your node.",
        node.id,
        repr(&Value::Array(names))
    ))
}

/// The list that a verb needs, if it needs one.
pub(super) fn needed(verb: Verb) -> Option<Of> {
    match verb {
        Verb::Clean => Some(Of::Clean),
        Verb::Service => Some(Of::Service),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        let steps = read(Of::Clean, &[json!({"interface": "deploy", "step": "erase_devices", "args": {"a": 1}, "order": "3"})]).unwrap();
        assert_eq!((steps[0].step.as_str(), steps[0].priority, steps[0].args["a"].clone()), ("erase_devices", 3, json!(1)));
        let steps = read(Of::Deploy, &[json!({"interface": "bios", "step": "x", "args": {}, "priority": 90})]).unwrap();
        assert_eq!(steps[0].priority, 90);
        let id = "11111111-1111-4111-8111-111111111111";
        let on = |more: Value| {
            let mut item = json!({"interface": "power", "step": "power_off", "execute_on_child_nodes": true});
            item.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            read(Of::Clean, &[item]).unwrap().remove(0).children
        };
        assert_eq!(on(json!({})), Some(OnChildren::default()));
        assert_eq!(on(json!({"limit_child_node_execution": [id]})).unwrap().only, [Id::parse(id).unwrap()]);
        assert_eq!(on(json!({"execute_on_child_nodes": false, "limit_child_node_execution": [id]})), None);
        for (of, item, word) in [
            (Of::Clean, json!(5), "not of type 'object'"),
            (Of::Clean, json!({"step": "x"}), "'interface' is a required property"),
            (Of::Clean, json!({"interface": "network", "step": "x"}), "is not one of"),
            (Of::Clean, json!({"interface": "deploy", "step": ""}), "non-empty"),
            (Of::Clean, json!({"interface": "deploy", "step": "x", "args": []}), "not of type 'object'"),
            (Of::Clean, json!({"interface": "deploy", "step": "x", "priority": 1}), "'priority' was unexpected"),
            (Of::Clean, json!({"interface": "deploy", "step": "x", "order": -1}), "whole number"),
            (Of::Service, json!({"interface": "deploy", "step": "x", "execute_on_child_nodes": "true"}), "not of type 'boolean'"),
            (Of::Service, json!({"interface": "deploy", "step": "x", "limit_child_node_execution": "a"}), "not of type 'array'"),
            (
                Of::Clean,
                json!({"interface": "power", "step": "reboot", "execute_on_child_nodes": true, "limit_child_node_execution": ["m1"]}),
                "Invalid entry detected for execute_on_child_node parameter in step reboot.",
            ),
            (
                Of::Deploy,
                json!({"interface": "power", "step": "x", "args": {}, "priority": 1, "execute_on_child_nodes": true}),
                "unexpected",
            ),
            (Of::Deploy, json!({"interface": "deploy", "step": "x", "args": {}}), "'priority' is a required property"),
        ] {
            let error = read(of, std::slice::from_ref(&item)).unwrap_err().message();
            assert!(error.starts_with(&format!("Invalid {}: ", of.argument())) && error.contains(word), "{item}: {error}");
        }
    }
}
