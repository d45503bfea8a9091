//! `/v2.0/rbac-policies`: what is shared with whom.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::access::{RbacAction, RbacPolicy, RbacPolicyDesired};
use model::net::l3::Router as NetworkRouter;
use model::net::pools::{AddressScope, SubnetPool};
use model::net::qos::QosPolicy;
use model::net::security::{AddressGroup, SecurityGroup};
use model::net::{Network, Port};
use model::{Id, Kind, Object};
use policy::Target;
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, SHARES_EPOCH, Work, field, routes as noun_routes};
use super::policies::of_project;
use super::{Ask, Extension, extension, subnetpools};
use crate::App;
use crate::failure::Failure;
use crate::resource::value;

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "rbac-policies",
        "RBAC Policies",
        "Allows creation and modification of policies that control tenant access to resources.",
        "2015-06-17T12:15:12-00:00",
    ),
    extension(
        "rbac-address-scope",
        "Add address_scope type to RBAC",
        "Add address_scope type to network RBAC",
        "2020-02-18T00:00:00-00:00",
    ),
    extension("rbac-subnetpool", "Add subnetpool type to RBAC", "Add subnetpool type to RBAC", "2020-02-20T00:00:00-00:00"),
    extension(
        "rbac-security-groups",
        "Add security_group type to network RBAC",
        "Add security_group type to network RBAC",
        "2019-03-03T00:00:00-00:00",
    ),
    extension("rbac-address-group", "RBAC Address Group", "Add address_group type to RBAC", "2021-01-31T00:00:00-00:00"),
];

/// What can be shared.
const TYPES: [&str; 6] = ["network", "qos_policy", "security_group", "address_scope", "subnetpool", "address_group"];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<RbacPolicy>()
}

fn target_shown(it: &Object<RbacPolicy>) -> Value {
    json!(it.desired.target.as_ref().map_or("*", |it| it.as_str()))
}

static FORM: LazyLock<Form<RbacPolicy>> = LazyLock::new(|| {
    Form::new("rbac_policy", "rbac_policies", "rbac-policies", "RbacPolicyNotFound", "RBAC policy with ID").fields(vec![
        field("object_type", |it: &Object<RbacPolicy>, _: &()| json!(it.desired.object_type))
            .set_once(|it, v| {
                let text = value::text(v, 255)?;
                if !TYPES.contains(&text.as_str()) {
                    return Err(format!("'{text}' is not one of {}", TYPES.join(", ")));
                }
                it.desired.object_type = text;
                Ok(())
            })
            .required()
            .sort(),
        field("object_id", |it: &Object<RbacPolicy>, _| json!(it.desired.object_id))
            .set_once(|it, v| {
                it.desired.object_id = value::id::<Network>(v)?.to_string();
                Ok(())
            })
            .required()
            .sort()
            .column("object_id"),
        field("action", |it: &Object<RbacPolicy>, _| json!(it.desired.action.as_str()))
            .set_once(|it, v| {
                it.desired.action = match v.as_str() {
                    Some("access_as_shared") => RbacAction::AccessAsShared,
                    Some("access_as_external") => RbacAction::AccessAsExternal,
                    _ => return Err(format!("{v} is not an action that can be allowed")),
                };
                Ok(())
            })
            .required()
            .sort(),
        // After what it is about: the same is said by either name.
        target_field("target_tenant", "create_rbac_policy:target_tenant", "update_rbac_policy:target_tenant"),
        target_field("target_project", "create_rbac_policy:target_project", "update_rbac_policy:target_project").unseen(),
    ])
});

fn target_field(name: &'static str, create: &'static str, update: &'static str) -> super::noun::Field<RbacPolicy> {
    field(name, |it: &Object<RbacPolicy>, _: &()| target_shown(it))
        .set(|it, v| {
            let text = value::text(v, 255)?;
            it.desired.target = if text == "*" { None } else { Some(Id::parse(&text).ok_or_else(|| format!("'{text}' is no project"))?) };
            Ok(())
        })
        .create_by(create)
        .update_by(update)
        .sort()
}

impl Noun for RbacPolicy {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<RbacPolicyDesired, Failure> {
        Ok(RbacPolicyDesired { object_type: String::new(), object_id: String::new(), action: RbacAction::AccessAsShared, target: None })
    }

    fn target(object: &Object<Self>, (): &()) -> Target {
        let mut target = of_project(object.project_id.as_ref());
        if let Some(map) = target.as_object_mut() {
            map.insert("target_tenant".into(), target_shown(object));
            map.insert("target_project".into(), target_shown(object));
        }
        target
    }

    async fn seen(ask: &Ask) -> Result<Vec<store::Term>, Failure> {
        let _ = ask;
        Ok(Vec::new())
    }

    async fn create(work: &mut Work<'_>, policy: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if !body.contains_key("target_tenant") && !body.contains_key("target_project") {
            return Err(Failure::BadRequest("Failed to parse request. Required attribute 'target_tenant' not specified".into()));
        }
        let is_network = policy.desired.object_type == "network";
        if policy.desired.action == RbacAction::AccessAsExternal && !is_network {
            return Err(refused(StatusCode::BAD_REQUEST, "InvalidInput", "Invalid input for operation: only networks can be external."));
        }
        let owner = owner_of(work.ask, &policy.desired).await?;
        let is_admin = crate::enforce::allows(&work.ask.app, &work.ask.caller, "network:context_is_admin", &Value::Null);
        if !is_admin && owner != work.ask.caller.project_id {
            let text = "Invalid input for operation: Only admins can manipulate policies on objects they do not own.";
            return Err(refused(StatusCode::BAD_REQUEST, "InvalidInput", text));
        }
        if policy.desired.object_type == "subnetpool" {
            subnetpools::check_share(work.ask, &policy.desired).await?;
        }
        hold(work, policy);
        touch(work, policy)
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if before.desired.target != after.desired.target {
            if let Some(next) = &after.desired.target {
                // Of networks alone upstream looks at what comes after.
                guard(work, before, Some(next).filter(|_| before.desired.object_type == "network")).await?;
            }
            let (pool, value) = key(before);
            work.step(|batch| batch.free(&pool, &value));
            hold(work, after);
            touch(work, before)?;
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, policy: &Object<Self>) -> Result<(), Failure> {
        guard(work, policy, None).await?;
        remove(work, policy);
        touch(work, policy)
    }
}

/// Whom a network is for is part of it: it counts as changed.
fn touch(work: &mut Work<'_>, policy: &Object<RbacPolicy>) -> Result<(), Failure> {
    if policy.desired.object_type == "network" {
        let id = parsed::<Network>(&policy.desired.object_id)?;
        work.step(|batch| batch.touch(&id));
    }
    Ok(())
}

fn refused(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(status, kind, text)
}

/// Where it is written that the same is not allowed twice.
fn key(policy: &Object<RbacPolicy>) -> (String, String) {
    let it = &policy.desired;
    let target = it.target.as_ref().map_or("*", |it| it.as_str());
    (format!("rbac:{}", it.object_id), format!("{} {target}", it.action.as_str()))
}

fn hold(work: &mut Work<'_>, policy: &Object<RbacPolicy>) {
    let (pool, value) = key(policy);
    work.taken_means(
        pool.clone(),
        refused(StatusCode::CONFLICT, "DuplicateRbacPolicy", "An RBAC policy already exists with those values."),
    );
    work.step(|batch| batch.hold(&pool, &value, policy.id.as_str()).bump(SHARES_EPOCH));
}

fn remove(work: &mut Work<'_>, policy: &Object<RbacPolicy>) {
    let (pool, value) = key(policy);
    work.step(|batch| batch.free(&pool, &value).remove(policy).bump(SHARES_EPOCH));
}

/// The project of the object a policy names.
async fn owner_of(ask: &Ask, policy: &RbacPolicyDesired) -> Result<Option<Id<Project>>, Failure> {
    async fn of<K: Kind>(ask: &Ask, id: &str, not_found: &'static str, called: &str) -> Result<Option<Id<Project>>, Failure> {
        let missing = || refused(StatusCode::NOT_FOUND, not_found, format!("{called} {id} could not be found."));
        let id = Id::<K>::parse(id).ok_or_else(missing)?;
        Ok(ask.app.store.get(&id).await?.filter(|it| !it.is_deleting()).ok_or_else(missing)?.project_id)
    }
    let id = &policy.object_id;
    match policy.object_type.as_str() {
        "network" => of::<Network>(ask, id, "NetworkNotFound", "Network").await,
        "qos_policy" => of::<QosPolicy>(ask, id, "QosPolicyNotFound", "QoS policy").await,
        "security_group" => of::<SecurityGroup>(ask, id, "SecurityGroupNotFound", "Security group").await,
        "address_scope" => of::<AddressScope>(ask, id, "AddressScopeNotFound", "Address scope").await,
        "subnetpool" => of::<SubnetPool>(ask, id, "SubnetPoolNotFound", "Subnet pool").await,
        _ => of::<AddressGroup>(ask, id, "AddressGroupNotFound", "Address group").await,
    }
}

/// Refuses to take back what others use by this policy alone; `next`: the project it is to name instead.
async fn guard(work: &mut Work<'_>, policy: &Object<RbacPolicy>, next: Option<&Id<Project>>) -> Result<(), Failure> {
    let ask = work.ask;
    if policy.desired.action == RbacAction::AccessAsExternal
        && policy.desired.target.is_none()
        && ask.app.store.get::<Network>(&parsed(&policy.desired.object_id)?).await?.is_some_and(|it| it.desired.is_default)
    {
        let text = format!(
            "RBAC policy on object {} cannot be removed because other objects depend on it.\nDetails: Default external networks must be shared to everyone.",
            policy.desired.object_id
        );
        return Err(refused(StatusCode::CONFLICT, "RbacPolicyInUse", text));
    }
    let users = users(ask, &policy.desired).await?;
    let rest = Query::<RbacPolicy>::new().column("object_id", [policy.desired.object_id.clone()]);
    let rest = ask.app.store.list_few(&rest).await?;
    let rest: Vec<_> = rest.iter().filter(|it| it.id != policy.id && it.desired.action == policy.desired.action).collect();
    let lost = |project: &&Id<Project>| {
        policy.desired.target.as_ref().is_none_or(|target| target == *project)
            && next != Some(*project)
            && !rest.iter().any(|it| it.desired.target.as_ref().is_none_or(|target| target == *project))
    };
    if let Some(project) = users.iter().find(lost) {
        let text = format!(
            "RBAC policy on object {} cannot be removed because other objects depend on it. Details: Callback failed: {} is in use by project {project}.",
            policy.desired.object_id, policy.desired.object_type
        );
        return Err(refused(StatusCode::CONFLICT, "RbacPolicyInUse", text));
    }
    Ok(())
}

/// The projects whose use of a shared object counts: others than its owner's.
async fn users(ask: &Ask, policy: &RbacPolicyDesired) -> Result<BTreeSet<Id<Project>>, Failure> {
    let id = policy.object_id.clone();
    let store = &ask.app.store;
    let (owner, users): (Option<Id<Project>>, Vec<Option<Id<Project>>>) = match policy.object_type.as_str() {
        "network" => {
            let owner = store.get::<Network>(&parsed(&id)?).await?.and_then(|it| it.project_id);
            let ports = Query::<Port>::new().column("network_id", [id]);
            if policy.action == RbacAction::AccessAsExternal {
                // Who uses it as an external one has a router there.
                let gateways = store.list(&ports.column("device_owner", ["network:router_gateway".to_owned()])).await?;
                let routers = Query::<NetworkRouter>::new().ids(gateways.into_iter().map(|it| it.desired.device_id));
                (owner, store.list(&routers).await?.into_iter().map(|it| it.project_id).collect())
            } else {
                // Ports of its own services are of no project.
                (owner, store.list(&ports).await?.into_iter().map(|it| it.project_id).collect())
            }
        }
        "security_group" => {
            let owner = store.get::<SecurityGroup>(&parsed(&id)?).await?.and_then(|it| it.project_id);
            let ports = store.list(&Query::<Port>::new().linked("security_groups", [id])).await?;
            (owner, ports.into_iter().map(|it| it.project_id).collect())
        }
        "address_scope" => {
            let owner = store.get::<AddressScope>(&parsed(&id)?).await?.and_then(|it| it.project_id);
            let pools = store.list(&Query::<SubnetPool>::new().column("address_scope_id", [id])).await?;
            (owner, pools.into_iter().map(|it| it.project_id).collect())
        }
        "subnetpool" => {
            let owner = store.get::<SubnetPool>(&parsed(&id)?).await?.and_then(|it| it.project_id);
            let subnets = store.list(&Query::<model::net::Subnet>::new().column("subnetpool_id", [id])).await?;
            (owner, subnets.into_iter().map(|it| it.project_id).collect())
        }
        "qos_policy" => {
            let owner = store.get::<QosPolicy>(&parsed(&id)?).await?.and_then(|it| it.project_id);
            let networks = store.list(&Query::<Network>::new().column("qos_policy_id", [id.clone()])).await?;
            let ports = store.list(&Query::<Port>::new().column("qos_policy_id", [id])).await?;
            (owner, networks.into_iter().map(|it| it.project_id).chain(ports.into_iter().map(|it| it.project_id)).collect())
        }
        _ => {
            let owner = store.get::<AddressGroup>(&parsed(&id)?).await?.and_then(|it| it.project_id);
            let rules = Query::<model::net::security::SecurityGroupRule>::new().column("remote_address_group_id", [id]);
            (owner, store.list(&rules).await?.into_iter().map(|it| it.project_id).collect())
        }
    };
    // What all may use but for networks stays so while anybody uses it, its owner too, as upstream has it.
    let counts_owner = policy.target.is_none() && policy.object_type != "network";
    Ok(users.into_iter().flatten().filter(|it| counts_owner || Some(it) != owner.as_ref()).collect())
}

fn parsed<K>(id: &str) -> Result<Id<K>, Failure> {
    Id::parse(id).ok_or_else(|| Failure::Internal(format!("'{id}' is no id")))
}

/// Shares an object of that type with a project, or with all.
pub(super) fn share<K: Kind>(work: &mut Work<'_>, object_type: &str, object: &Object<K>, action: RbacAction, target: Option<Id<Project>>) {
    let desired = RbacPolicyDesired { object_type: object_type.to_owned(), object_id: object.id.to_string(), action, target };
    let policy = Object::<RbacPolicy>::new(Id::random(), object.project_id.clone(), "", desired);
    hold(work, &policy);
    work.step(|batch| batch.create(&policy));
}

/// What `shared` means at creation: an RBAC policy for all.
///
/// # Errors
/// `shared` is neither true nor false.
pub(super) fn share_at_creation<K: Kind>(work: &mut Work<'_>, object_type: &str, object: &Object<K>, body: &Body) -> Result<(), Failure> {
    if super::address_scopes::is_true(body, "shared") {
        share(work, object_type, object, RbacAction::AccessAsShared, None);
    }
    Ok(())
}

/// Takes back what `shared` (or `router:external`) gave to all, unless somebody uses it by that alone.
///
/// # Errors
/// Others use it: `in_use`.
pub(super) async fn unshare<K: Kind>(work: &mut Work<'_>, object: &Object<K>, action: RbacAction, in_use: Failure) -> Result<(), Failure> {
    let query = Query::<RbacPolicy>::new().column("object_id", [object.id.to_string()]);
    for policy in work.ask.app.store.list_few(&query).await? {
        if policy.desired.action == action && policy.desired.target.is_none() {
            if guard(work, &policy, None).await.is_err() {
                return Err(in_use);
            }
            remove(work, &policy);
        }
    }
    Ok(())
}

/// Takes back all that allow that action on an object, whoever uses it.
///
/// # Errors
/// The store failed.
pub(super) async fn withdraw<K: Kind>(work: &mut Work<'_>, object: &Object<K>, action: RbacAction) -> Result<(), Failure> {
    let query = Query::<RbacPolicy>::new().column("object_id", [object.id.to_string()]);
    for policy in work.ask.app.store.list_few(&query).await?.iter().filter(|it| it.desired.action == action) {
        remove(work, policy);
    }
    Ok(())
}

/// Removes all policies about an object that is removed itself.
///
/// # Errors
/// The store failed.
pub(super) async fn unshare_all<K: Kind>(work: &mut Work<'_>, object: &Object<K>) -> Result<(), Failure> {
    let query = Query::<RbacPolicy>::new().column("object_id", [object.id.to_string()]);
    for policy in work.ask.app.store.list_few(&query).await? {
        remove(work, &policy);
    }
    Ok(())
}
