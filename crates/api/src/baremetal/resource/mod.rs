//! Resources: what bare metal has beside nodes. A resource says once what it is called and what its fields are ([`Form`]), and what is
//! special when one is made, changed or removed; versions, bodies, patches, rules, lists, uniqueness and races are the same for all and
//! here (Source: Ironic API reference, and `ironic/api/controllers/v1` for the texts of refusals).

mod act;
mod form;
mod list;
pub(super) mod steps;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use model::baremetal::Node;
use model::{Id, Kind, Object, Timestamp};
use policy::Target;
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

pub(super) use act::{Ident, Wanted, find, gate, remove, shown};
pub(super) use form::{Detail, Field, Form, Rules, Shape, Whose, check, field, input, mac};
pub(super) use list::{Search, listing};

use super::policies::of_node;
use super::traits::is_trait;
use super::words::{not_of_type, repr};
use super::{Ask, access};
use crate::App;
use crate::enforce::allows;
use crate::failure::Failure;

/// A body's object.
pub(super) type Body = Map<String, Value>;

/// What bare metal has beside nodes.
pub(super) trait Resource: Kind {
    /// What it is called and what its fields are.
    fn form() -> &'static Form<Self>;

    /// What is wanted of one of which nothing is said.
    fn blank() -> Self::Desired;

    /// Looks at the body of a creation before its fields are written: puts what it refers to in other words into ours.
    fn prepare(ask: &Ask, body: &mut Body) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (ask, body);
        async { Ok(()) }
    }

    /// Whether the caller may make one. May change it.
    ///
    /// # Errors
    /// `Forbidden`.
    fn may_create(change: &mut Change<'_, Self>) -> Result<(), Failure> {
        change.require(Self::form().rules.create)
    }

    /// Whether the caller may change one so.
    ///
    /// # Errors
    /// `Forbidden`.
    fn may_patch(change: &Change<'_, Self>) -> Result<(), Failure> {
        change.require(Self::form().rules.update)
    }

    /// What else belongs to making or changing one: checks against others, what it holds. May change it further. It is stored by the
    /// caller.
    fn settle(change: &mut Change<'_, Self>) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = change;
        async { Ok(()) }
    }

    /// What else belongs to removing one, which is done by the caller: checks, what it held.
    fn release(change: &mut Change<'_, Self>) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = change;
        async { Ok(()) }
    }

    /// Narrows a list by the filters that the form names.
    fn filter(
        ask: &Ask,
        search: Search<Self>,
        query: &HashMap<String, String>,
    ) -> impl Future<Output = Result<Search<Self>, Failure>> + Send {
        let _ = (ask, query);
        async { Ok(search) }
    }

    /// Narrows a list to what a caller sees who may not list all. Of what belongs to nodes this is done by the caller.
    fn own(ask: &Ask, query: Query<Self>) -> Query<Self> {
        let _ = ask;
        query
    }

    /// What is said if a value of an allocation pool is another's.
    fn taken(pool: &str, object: &Object<Self>) -> Option<String> {
        let _ = (pool, object);
        None
    }

    /// A new one as it is shown to its maker.
    fn made(ask: &Ask, object: Object<Self>) -> impl Future<Output = Result<Object<Self>, Failure>> + Send {
        let _ = ask;
        std::future::ready(Ok(object))
    }

    /// Whether the caller sees it although its rule says no.
    fn is_public(object: &Object<Self>) -> bool {
        let _ = object;
        false
    }
}

/// One being made, changed or removed.
pub(super) struct Change<'a, K: Resource> {
    pub(super) ask: &'a Ask,
    /// As it is; none of a new one.
    pub(super) before: Option<Object<K>>,
    /// As it is to be.
    pub(super) after: Object<K>,
    /// What the body or the patch names.
    pub(super) given: BTreeSet<String>,
    /// The node it belongs to, of what belongs to nodes.
    pub(super) node: Option<Object<Node>>,
    batch: Batch<Wishes>,
}

impl<'a, K: Resource> Change<'a, K> {
    fn new(ask: &'a Ask, before: Option<Object<K>>, after: Object<K>, given: BTreeSet<String>, node: Option<Object<Node>>) -> Self {
        Self { ask, before, after, given, node, batch: Batch::wishes() }
    }

    /// Adds to what is written.
    pub(super) fn step(&mut self, step: impl FnOnce(Batch<Wishes>) -> Batch<Wishes>) {
        self.batch = step(std::mem::replace(&mut self.batch, Batch::wishes()));
    }

    /// Whether it is new, or the patch names this.
    pub(super) fn names(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// The node it belongs to.
    ///
    /// # Errors
    /// It belongs to none, which is our fault.
    pub(super) fn node(&self) -> Result<&Object<Node>, Failure> {
        self.node.as_ref().ok_or_else(|| Failure::Internal(format!("a {} without its node", K::NAME)))
    }

    /// Refuses whom the rule does not let, of this one.
    ///
    /// # Errors
    /// `Forbidden`.
    pub(super) fn require(&self, rule: &str) -> Result<(), Failure> {
        access::require_of(self.ask, rule, &target(&self.after, self.node.as_ref()))
    }

    /// Whether the rule lets the caller, of this one.
    pub(super) fn may(&self, rule: &str) -> bool {
        allows(&self.ask.app, &self.ask.caller, rule, &target(&self.after, self.node.as_ref()))
    }

    /// Holds in a pool what no other may have, in place of what was held there before.
    pub(super) fn hold(&mut self, pool: &'static str, value: fn(&Object<K>) -> Option<String>) {
        let (old, new) = (self.before.as_ref().and_then(value), value(&self.after));
        if old == new {
            return;
        }
        let id = self.after.id.to_string();
        if let Some(old) = old {
            self.step(|batch| batch.free(pool, &old));
        }
        if let Some(new) = new {
            self.step(|batch| batch.hold(pool, &new, &id));
        }
    }

    /// Frees what is held in these pools: of one being removed.
    pub(super) fn free(&mut self, pools: &[&'static str]) {
        let id = self.after.id.to_string();
        for pool in pools {
            self.step(|batch| batch.free_held(pool, &id));
        }
    }
}

/// What rules see of one.
fn target<K: Resource>(object: &Object<K>, node: Option<&Object<Node>>) -> Target {
    match (&K::form().whose, node) {
        (Whose::Node(_), Some(node)) => of_node(node),
        (Whose::Says(says), _) => says(object),
        _ => json!({}),
    }
}

/// Refuses while something works on the node; changes of words that nothing works with are let through while it waits for its agent.
///
/// # Errors
/// `Conflict`.
pub(super) fn unlocked<K: Resource>(change: &Change<'_, K>, node: &Object<Node>) -> Result<(), Failure> {
    const WORDS: [&str; 6] = ["extra", "name", "description", "vendor", "category", "available_for_dynamic_portgroup"];
    let words = change.before.is_some() && !change.given.is_empty() && change.given.iter().all(|name| WORDS.contains(&name.as_str()));
    let asked = node.desired.request.as_ref().is_some_and(|it| it.seq > node.observed.handled);
    if words && !asked && node.observed.is_waiting() { Ok(()) } else { access::unlocked(node) }
}

/// The node that a body or a filter names.
///
/// # Errors
/// 400: there is none for the caller.
pub(super) async fn named_node(ask: &Ask, ident: &str) -> Result<Object<Node>, Failure> {
    match access::node(ask, ident).await {
        Err(Failure::NotFound { .. }) => Err(Failure::BadRequest(format!("Node {ident} could not be found."))),
        other => other,
    }
}

/// A refusal with a status that has no variant of its own.
pub(super) fn refused(status: StatusCode, message: impl Into<String>) -> Failure {
    let kind = if status == StatusCode::METHOD_NOT_ALLOWED { super::BY_ROUTER } else { "Client" };
    Failure::named(status, kind, message)
}

/// A moment as shown.
pub(super) fn time(at: Option<Timestamp>) -> Value {
    json!(at.map(Timestamp::iso_offset))
}

/// The two links to something.
pub(super) fn links(ask: &Ask, path: &str) -> Value {
    json!([
        {"href": format!("{}/v1/{path}", ask.base), "rel": "self"},
        {"href": format!("{}/{path}", ask.base), "rel": "bookmark"},
    ])
}

/// The id in a value that passed [`Shape::Uuid`].
pub(super) fn id_of<K>(value: &Value) -> Option<Id<K>> {
    value.as_str().and_then(Id::parse)
}

/// The name of one, or null.
pub(super) fn name_of<K: Kind>(object: &Object<K>) -> Value {
    if object.name.is_empty() { Value::Null } else { json!(object.name) }
}

/// The name of one, if it has any: for [`Change::hold`].
pub(super) fn held_name<K: Kind>(object: &Object<K>) -> Option<String> {
    Some(object.name.clone()).filter(|it| !it.is_empty())
}

/// `/v1/…` of a resource.
fn routes_of<K: Resource>() -> Router<Arc<App>> {
    let form = K::form();
    let path = format!("/v1/{}", form.path);
    let mut out = Router::new()
        .route(&path, get(list::list::<K>).post(act::create::<K>))
        .route(&format!("{path}/{{ident}}"), get(act::show::<K>).patch(act::patch::<K>).delete(act::delete::<K>));
    if form.detail == Detail::Path {
        out = out.route(&format!("{path}/detail"), get(list::detail::<K>));
    }
    out
}

/// `/v1/nodes/{node}/…` of a resource that belongs to nodes.
fn routes_in_node<K: Resource>() -> Router<Arc<App>> {
    let form = K::form();
    let path = format!("/v1/nodes/{{node}}/{}", form.path);
    let mut out = Router::new()
        .route(&path, get(list::of_node::<K>))
        .route(&format!("{path}/{{ident}}"), get(act::malformed).post(act::malformed).patch(act::malformed).delete(act::malformed));
    if form.detail == Detail::Path {
        out = out.route(&format!("{path}/detail"), get(list::detail_of_node::<K>));
    }
    out
}

/// A trait: one of the standard list, or one's own (Source: the library os-traits).
///
/// # Errors
/// It is none, in the words of a JSON schema.
pub(super) fn check_trait(value: &Value) -> Result<String, String> {
    let name = value.as_str().ok_or_else(|| not_of_type(value, "string"))?;
    if name.is_empty() {
        return Err("'' should be non-empty".into());
    }
    if name.len() > 255 {
        return Err(format!("{} is too long", repr(value)));
    }
    if is_trait(name) {
        return Ok(name.to_owned());
    }
    Err(format!("{} is not valid under any of the given schemas", repr(value)))
}

/// All resources' paths, those below nodes too.
pub(super) fn routes() -> Router<Arc<App>> {
    use super::{allocation, chassis, conductor, driver, inspection_rule, portgroup, runbook, shard, volume};
    use model::baremetal as it;
    Router::new()
        .merge(routes_of::<it::BaremetalPort>())
        .merge(routes_in_node::<it::BaremetalPort>())
        .merge(routes_of::<it::Portgroup>())
        .merge(routes_in_node::<it::Portgroup>())
        .merge(portgroup::routes())
        .merge(routes_of::<it::Chassis>())
        .merge(chassis::routes())
        .merge(routes_of::<it::VolumeConnector>())
        .merge(routes_in_node::<it::VolumeConnector>())
        .merge(routes_of::<it::VolumeTarget>())
        .merge(routes_in_node::<it::VolumeTarget>())
        .merge(volume::routes())
        .merge(routes_of::<it::Allocation>())
        .merge(allocation::routes())
        .merge(routes_of::<it::DeployTemplate>())
        .merge(routes_of::<it::Runbook>())
        .merge(runbook::routes())
        .merge(routes_of::<it::InspectionRule>())
        .route("/v1/inspection_rules", axum::routing::delete(inspection_rule::delete_all))
        .merge(driver::routes())
        .route("/v1/conductors", get(conductor::list))
        .route("/v1/conductors/{hostname}", get(conductor::show))
        .route("/v1/shards", get(shard::list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traits() {
        for fine in ["CUSTOM_A_1", "HW_CPU_X86_VMX"] {
            assert_eq!(check_trait(&json!(fine)).as_deref(), Ok(fine));
        }
        for bad in [json!(""), json!("CUSTOM_"), json!("CUSTOM_a"), json!("FOO"), json!(7), json!(format!("CUSTOM_{}", "A".repeat(250)))] {
            assert!(check_trait(&bad).is_err(), "{bad}");
        }
    }
}
