//! `/v2.0/subnetpools`: where the prefixes of subnets come from.
//!
//! Source: `neutron/ipam/subnet_alloc.py` and what is said of subnet pools in `neutron/db/db_base_plugin_v2.py`.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::put as on_put;
use axum::{Json, Router};
use http::StatusCode;
use ipnet::IpNet;
use model::identity::Project;
use model::net::access::RbacPolicyDesired;
use model::net::pools::{AddressScope, SubnetPool, SubnetPoolDesired};
use model::net::{Network, Subnet};
use model::{Id, Object};
use network::addresses::version;
use network::prefixes::{carve as place, has_room, normalise, overlapping, quota_units, summarise};
use policy::Target;
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Shares, Work, field, named, permitted, shared_to, tagged_routes};
use super::policies::of_project;
use super::{Ask, Extension, access, address_scopes, extension, ipam, subnets};
use crate::App;
use crate::enforce::allows;
use crate::failure::Failure;
use crate::resource::{put, value};

pub(super) const EXTENSIONS: &[Extension] = &[
    extension(
        "default-subnetpools",
        "Default Subnetpools",
        "Provides ability to mark and use a subnetpool as the default.",
        "2016-02-18T18:00:00-00:00",
    ),
    extension("subnet_onboard", "Subnet Onboard", "Provides support for onboarding subnets into subnet pools", "2018-12-18T09:00:00-00:00"),
    extension(
        "subnetpool-prefix-ops",
        "Subnet Pool Prefix Operations",
        "Provides support for adjusting the prefix list of subnet pools",
        "2019-02-08T10:00:00-00:00",
    ),
];

/// The pool of values in which the default pool of each IP version is held.
const DEFAULTS: &str = "default subnetpool";
/// Least bits of a subnet's prefix unless said otherwise: of IPv4, of IPv6.
const LEAST: (u8, u8) = (8, 64);

pub(super) fn routes() -> Router<Arc<App>> {
    tagged_routes::<SubnetPool>()
        .route("/subnetpools/{id}/add_prefixes", on_put(add_prefixes))
        .route("/subnetpools/{id}/remove_prefixes", on_put(remove_prefixes))
        .route("/subnetpools/{id}/onboard_network_subnets", on_put(onboard))
}

/// What is read beside subnet pools.
#[derive(Default)]
pub(crate) struct Around {
    shares: Arc<Shares>,
    project: Option<Id<Project>>,
}

/// 4 or 6; 4 as long as it has no prefixes.
pub(super) fn version_of(pool: &SubnetPoolDesired) -> u8 {
    pool.prefixes.first().map_or(4, |it| version(it.network()))
}

fn spelled(v: &Value) -> String {
    match v {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

/// A whole number that is not negative.
fn count(v: &Value) -> Result<u64, String> {
    let number = match v {
        Value::Number(it) => it.as_i64(),
        Value::String(it) => it.parse().ok(),
        _ => None,
    };
    let number: i64 = number.ok_or_else(|| format!("'{}' is not an integer", spelled(v)))?;
    u64::try_from(number).map_err(|_| format!("'{number}' should be non-negative"))
}

/// Bits of a prefix. More than there can be are kept as too many.
fn bits(v: &Value) -> Result<u8, String> {
    Ok(u8::try_from(count(v)?).unwrap_or(u8::MAX))
}

fn prefixes(v: &Value) -> Result<Vec<IpNet>, String> {
    let list = v.as_array().ok_or_else(|| format!("'{}' is not a list", spelled(v)))?;
    let mut found = Vec::new();
    for one in list {
        let net = one.as_str().and_then(normalise).ok_or_else(|| format!("'{}' is not a valid IP subnet", spelled(one)))?;
        if found.contains(&net) {
            return Err(format!("Duplicate items in the list: '{}'", spelled(one)));
        }
        found.push(net);
    }
    Ok(found)
}

static FORM: LazyLock<Form<SubnetPool>> = LazyLock::new(|| {
    let mut form =
        Form::new("subnetpool", "subnetpools", "subnetpools", "SubnetPoolNotFound", "Subnet pool").shareable("subnetpool").standard();
    // Instead of the usual one: it must be given, and not be blank.
    form.fields.retain(|field| field.name != "name");
    form.fields(vec![
        field("name", |it: &Object<SubnetPool>, _: &Around| json!(it.name))
            .set(|it, v| {
                let name = value::text(v, 255)?;
                if name.trim().is_empty() {
                    return Err(format!("'{name}' Blank strings are not permitted"));
                }
                it.name = name;
                Ok(())
            })
            .required()
            .sort(),
        field("prefixes", |it: &Object<SubnetPool>, _| json!(it.desired.prefixes))
            .set(|it, v| put(&mut it.desired.prefixes, prefixes(v)))
            .required(),
        field("ip_version", |it: &Object<SubnetPool>, _| json!(version_of(&it.desired))).sort(),
        // As texts, as Neutron shows them.
        field("default_prefixlen", |it: &Object<SubnetPool>, _| json!(it.desired.default_prefixlen.to_string()))
            .set(|it, v| put(&mut it.desired.default_prefixlen, bits(v)))
            .sort(),
        field("min_prefixlen", |it: &Object<SubnetPool>, _| json!(it.desired.min_prefixlen.to_string()))
            .set(|it, v| put(&mut it.desired.min_prefixlen, bits(v)))
            .sort(),
        field("max_prefixlen", |it: &Object<SubnetPool>, _| json!(it.desired.max_prefixlen.to_string()))
            .set(|it, v| put(&mut it.desired.max_prefixlen, bits(v)))
            .sort(),
        field("default_quota", |it: &Object<SubnetPool>, _| json!(it.desired.default_quota))
            .set(|it, v| put(&mut it.desired.default_quota, if v.is_null() { Ok(None) } else { count(v).map(Some) }))
            .sort(),
        field("is_default", |it: &Object<SubnetPool>, _| json!(it.desired.is_default))
            .set(|it, v| put(&mut it.desired.is_default, value::boolean(v)))
            .create_by("create_subnetpool:is_default")
            .update_by("update_subnetpool:is_default")
            .free_default()
            .sort(),
        field("address_scope_id", |it: &Object<SubnetPool>, _| json!(it.desired.address_scope_id))
            .set(|it, v| put(&mut it.desired.address_scope_id, if v.is_null() { Ok(None) } else { ipam::uuid(v).map(Some) }))
            .sort()
            .column("address_scope_id"),
        field("shared", |it: &Object<SubnetPool>, around| json!(around.shares.is_shared(it.id.as_str(), around.project.as_ref())))
            .set_once(|_, v| value::boolean(v).map(drop))
            .sort(),
    ])
});

impl Noun for SubnetPool {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<SubnetPoolDesired, Failure> {
        Ok(SubnetPoolDesired {
            description: String::new(),
            tags: Vec::new(),
            prefixes: Vec::new(),
            default_prefixlen: 0,
            min_prefixlen: 0,
            max_prefixlen: 0,
            default_quota: None,
            is_default: false,
            address_scope_id: None,
        })
    }

    async fn around(ask: &Ask, _: &[Object<Self>]) -> Result<Around, Failure> {
        Ok(Around { shares: ask.shares().await?, project: ask.caller.project_id.clone() })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        shared_to(object, &around.shares, around.project.as_ref())
    }

    fn rules(verb: &'static str, body: &Body) -> Vec<String> {
        let shares = verb == "create" && address_scopes::is_true(body, "shared");
        shares.then(|| "create_subnetpool:shared".to_owned()).into_iter().collect()
    }

    async fn create(work: &mut Work<'_>, pool: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        compact(&mut pool.desired)?;
        let is_v4 = version_of(&pool.desired) == 4;
        let unset = |name: &str| body.get(name).is_none();
        if unset("min_prefixlen") {
            pool.desired.min_prefixlen = if is_v4 { LEAST.0 } else { LEAST.1 };
        }
        if unset("max_prefixlen") {
            pool.desired.max_prefixlen = if is_v4 { 32 } else { 128 };
        }
        if unset("default_prefixlen") {
            pool.desired.default_prefixlen = pool.desired.min_prefixlen;
        }
        check_bounds(&pool.desired)?;
        if pool.desired.is_default {
            hold_default(work, pool);
        }
        join_scope(work, pool, None).await?;
        access::share_at_creation(work, "subnetpool", pool, body)
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        if body.contains_key("prefixes") {
            grown(before, after)?;
        }
        changed(work, before, after).await
    }

    async fn delete(work: &mut Work<'_>, pool: &Object<Self>) -> Result<(), Failure> {
        let text = "Unable to delete subnet pool: Subnet pool has existing allocations.";
        work.referenced_means::<Subnet>("subnetpool_id", bad("SubnetPoolDeleteError", text));
        let key = version_of(&pool.desired).to_string();
        work.step(|batch| {
            let batch = batch.unless_referenced::<Subnet>("subnetpool_id", pool.id.as_str()).remove(pool);
            if pool.desired.is_default { batch.free(DEFAULTS, &key) } else { batch }
        });
        access::unshare_all(work, pool).await
    }
}

fn bad(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::BAD_REQUEST, kind, text)
}

fn conflict(kind: &'static str, text: impl Into<String>) -> Failure {
    Failure::named(StatusCode::CONFLICT, kind, text)
}

/// As few prefixes as cover the same, of one version.
fn compact(pool: &mut SubnetPoolDesired) -> Result<(), Failure> {
    if pool.prefixes.is_empty() {
        return Err(bad("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list."));
    }
    let ip_version = version_of(pool);
    if pool.prefixes.iter().any(|it| version(it.network()) != ip_version) {
        return Err(bad("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."));
    }
    pool.prefixes = summarise(pool.prefixes.iter().copied());
    Ok(())
}

fn check_bounds(pool: &SubnetPoolDesired) -> Result<(), Failure> {
    let (least, most, usual) = (pool.min_prefixlen, pool.max_prefixlen, pool.default_prefixlen);
    let top = if version_of(pool) == 4 { 32 } else { 128 };
    let wrong = |name: &str, has: u8, other: &str, bound: u8| {
        Err(bad("IllegalSubnetPoolPrefixBounds", format!("Illegal prefix bounds: {name}={has}, {other}={bound}.")))
    };
    if least > most {
        wrong("min_prefixlen", least, "max_prefixlen", most)
    } else if most > top {
        wrong("max_prefixlen", most, "ip_version_max", top)
    } else if usual < least {
        wrong("default_prefixlen", usual, "min_prefixlen", least)
    } else if usual > most {
        wrong("default_prefixlen", usual, "max_prefixlen", most)
    } else {
        Ok(())
    }
}

/// There is one default pool of an IP version.
fn hold_default(work: &mut Work<'_>, pool: &Object<SubnetPool>) {
    let key = version_of(&pool.desired).to_string();
    let text = "Invalid input for operation: A default subnetpool for this IP family has already been set. Only one default may exist per IP family.";
    work.value_taken_means(DEFAULTS, key.clone(), bad("InvalidInput", text));
    work.step(|batch| batch.hold(DEFAULTS, &key, pool.id.as_str()));
}

/// The default pool of an IP version, if the caller sees it.
///
/// # Errors
/// The store failed.
pub(super) async fn default_pool(ask: &Ask, version: u8) -> Result<Option<Object<SubnetPool>>, Failure> {
    let held = ask.app.store.allocation(DEFAULTS, &version.to_string()).await?;
    let Some(id) = held.and_then(|it| Id::<SubnetPool>::parse(&it.holder)) else { return Ok(None) };
    match named(ask, &id).await {
        Ok(pool) => Ok(Some(pool)),
        Err(failure) if failure.status() == StatusCode::NOT_FOUND => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A pool's prefixes are never taken away by a change of the list.
fn grown(before: &Object<SubnetPool>, after: &Object<SubnetPool>) -> Result<(), Failure> {
    let old: network::prefixes::AddressSet = before.desired.prefixes.iter().collect();
    let new: network::prefixes::AddressSet = after.desired.prefixes.iter().collect();
    if new.covers(&old) {
        return Ok(());
    }
    let text = "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.";
    Err(bad("IllegalSubnetPoolPrefixUpdate", text))
}

/// What belongs to a change of a pool beside the change itself.
async fn changed(work: &mut Work<'_>, before: &Object<SubnetPool>, after: &mut Object<SubnetPool>) -> Result<(), Failure> {
    compact(&mut after.desired)?;
    check_bounds(&after.desired)?;
    match (before.desired.is_default, after.desired.is_default) {
        (false, true) => hold_default(work, after),
        (true, false) => {
            let key = version_of(&before.desired).to_string();
            work.step(|batch| batch.free(DEFAULTS, &key));
        }
        (true, true) | (false, false) => {}
    }
    if let Some(scope) = &before.desired.address_scope_id {
        let is_admin =
            allows(&work.ask.app, &work.ask.caller, "network:context_is_admin", &of_project(work.ask.caller.project_id.as_ref()));
        let owner = work.ask.app.store.get::<AddressScope>(scope).await?.and_then(|it| it.project_id);
        if !is_admin && owner != work.ask.caller.project_id {
            let text = format!(
                "Illegal subnetpool update : subnetpool {} cannot be updated when associated with shared address scope {scope}.",
                before.id
            );
            return Err(bad("IllegalSubnetPoolUpdate", text));
        }
    }
    if before.desired.address_scope_id != after.desired.address_scope_id || before.desired.prefixes != after.desired.prefixes {
        join_scope(work, after, Some(before)).await?;
    }
    Ok(())
}

/// Checks a pool against its address scope: it is the caller's or shared, of the same version, and no other pool of it has any of the
/// prefixes; two pools that join at once meet in the scope's row.
async fn join_scope(work: &mut Work<'_>, pool: &Object<SubnetPool>, before: Option<&Object<SubnetPool>>) -> Result<(), Failure> {
    let Some(id) = pool.desired.address_scope_id.clone() else { return Ok(()) };
    work.in_turn(&format!("address_scope {id}")).await;
    let scope: Object<AddressScope> = named(work.ask, &id).await?;
    let versions = (version_of(&pool.desired), u8::from(scope.desired.ip_version));
    if versions.0 != versions.1 {
        let text = format!(
            "Illegal subnetpool association: subnetpool {} cannot associate with address scope {id} because subnetpool ip_version is not {}.",
            pool.id, versions.1
        );
        return Err(bad("IllegalSubnetPoolIpVersionAssociationToAddressScope", text));
    }
    if before.is_some_and(|it| it.desired.address_scope_id != pool.desired.address_scope_id) {
        keep_together(work, pool).await?;
    }
    let others = Query::<SubnetPool>::new().column("address_scope_id", [id.to_string()]);
    let others = work.ask.app.store.list(&others).await?;
    let made: Vec<Object<SubnetPool>> =
        work.made::<SubnetPool>().filter(|it| it.desired.address_scope_id.as_ref() == Some(&id)).cloned().collect();
    for other in others.iter().chain(&made).filter(|it| it.id != pool.id) {
        if overlapping(&other.desired.prefixes, &pool.desired.prefixes).is_some() {
            let text = "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.";
            return Err(conflict("AddressScopePrefixConflict", text));
        }
    }
    let name = format!("stirred {id}");
    if work.known::<()>(&name).is_none() {
        work.know(name, Arc::new(()));
        work.step(|batch| batch.want(&scope));
    }
    Ok(())
}

/// A pool changes its address scope only if no network has subnets of it beside others.
async fn keep_together(work: &mut Work<'_>, pool: &Object<SubnetPool>) -> Result<(), Failure> {
    let own = work.ask.app.store.list(&Query::<Subnet>::new().column("subnetpool_id", [pool.id.to_string()])).await?;
    if own.is_empty() {
        return Ok(());
    }
    let networks: HashSet<String> = own.iter().map(|it| it.desired.network_id.to_string()).collect();
    let all = work.ask.app.store.list(&Query::<Subnet>::new().column("network_id", networks)).await?;
    let is_other = |it: &&Object<Subnet>| {
        it.desired.subnetpool_id.as_ref() != Some(&pool.id) && version(it.desired.cidr.network()) == version_of(&pool.desired)
    };
    if all.iter().find(is_other).is_none() {
        return Ok(());
    }
    let text = "Subnets of the same address family hosted on the same network must all participate in the same address scope.";
    Err(bad("NetworkAddressScopeAffinityError", text))
}

/// Checks that those a pool is to be shared with see the address scope it is in.
///
/// # Errors
/// They do not.
pub(super) async fn check_share(ask: &Ask, policy: &RbacPolicyDesired) -> Result<(), Failure> {
    let Some(id) = Id::<SubnetPool>::parse(&policy.object_id) else { return Ok(()) };
    let Some(scope) = ask.app.store.get(&id).await?.and_then(|it| it.desired.address_scope_id) else { return Ok(()) };
    if ask.shares().await?.is_shared(scope.as_str(), policy.target.as_ref()) {
        return Ok(());
    }
    let text = format!(
        "Invalid input for operation: Failed to init policy {id} because target project doesn't have access to associated \
         address scope."
    );
    Err(bad("InvalidInput", text))
}

/// The prefixes taken of a pool, with those this batch takes, and their projects. Read once in an attempt.
async fn taken(work: &mut Work<'_>, pool: &Id<SubnetPool>) -> Result<Vec<(IpNet, Option<Id<Project>>)>, Failure> {
    let name = format!("carved {pool}");
    let of = |it: &Object<Subnet>| (it.desired.cidr, it.project_id.clone());
    let known: Arc<Vec<(IpNet, Option<Id<Project>>)>> = match work.known(&name) {
        Some(known) => known,
        None => {
            let query = Query::<Subnet>::new().with_deleted().column("subnetpool_id", [pool.to_string()]);
            let read = work.ask.app.store.list(&query).await?.iter().map(of).collect();
            work.know(name, Arc::new(read))
        }
    };
    let mut all = known.as_ref().clone();
    all.extend(work.made::<Subnet>().filter(|it| it.desired.subnetpool_id.as_ref() == Some(pool)).map(of));
    Ok(all)
}

/// Takes a prefix from a pool for a subnet of that project: the wanted one, or one of so many bits. Two that are taken at once meet in the
/// pool's row, which was read before what is taken was.
///
/// # Errors
/// There is no room, it is too large or too small, or the project has had its share.
pub(super) async fn carve(
    work: &mut Work<'_>,
    pool: &Object<SubnetPool>,
    project: Option<&Id<Project>>,
    wanted: Result<IpNet, u8>,
) -> Result<IpNet, Failure> {
    let length = wanted.as_ref().map_or_else(|length| *length, IpNet::prefix_len);
    let limit = |kind, what, bound| {
        Err(bad(kind, format!("Unable to allocate subnet with prefix length {length}, {what} allowed prefix is {bound}.")))
    };
    if length > pool.desired.max_prefixlen {
        return limit("MaxPrefixSubnetAllocationError", "maximum", pool.desired.max_prefixlen);
    }
    if length < pool.desired.min_prefixlen {
        return limit("MinPrefixSubnetAllocationError", "minimum", pool.desired.min_prefixlen);
    }
    let taken = taken(work, &pool.id).await?;
    let used: Vec<IpNet> = taken.iter().map(|it| it.0).collect();
    let none = |why: &str| conflict("SubnetAllocationError", format!("Failed to allocate subnet: {why}."));
    let found = match wanted {
        Ok(cidr) if has_room(&pool.desired.prefixes, &used, &cidr) => cidr,
        Ok(_) => return Err(none("Cannot allocate requested subnet from the available set of prefixes")),
        Err(length) => {
            let found = place(&pool.desired.prefixes, &used, length);
            found.ok_or_else(|| none(&format!("Insufficient prefix space to allocate subnet size /{length}")))?
        }
    };
    if let Some(quota) = pool.desired.default_quota.filter(|it| *it > 0) {
        let own = taken.iter().filter(|it| it.1.as_ref() == project).map(|it| &it.0);
        // Far beyond what numbers of this kind hold exactly no quota matters.
        #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "quotas are compared with sums of powers of two")]
        let quota = quota as f64;
        if quota_units(own.chain([&found])) > quota {
            return Err(conflict("SubnetPoolQuotaExceeded", "Per-project subnet pool prefix quota exceeded."));
        }
    }
    let name = format!("stirred {}", pool.id);
    if work.known::<()>(&name).is_none() {
        work.know(name, Arc::new(()));
        work.step(|batch| batch.want(pool));
    }
    Ok(found)
}

/// The prefixes of a request to add or remove some.
fn named_prefixes(body: &Bytes) -> Result<Vec<IpNet>, Failure> {
    let body = crate::resource::parse(body)?;
    let given = body.get("prefixes").filter(|it| it.as_array().is_some_and(|it| !it.is_empty()));
    let given = given.ok_or_else(|| bad("HTTPBadRequest", "Request body contains invalid data"))?;
    prefixes(given).map_err(|why| bad("HTTPBadRequest", format!("Invalid input for prefixes. Reason: {why}.")))
}

async fn add_prefixes(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let more = named_prefixes(&body)?;
    for tries in 0.. {
        let before = permitted::<SubnetPool>(&ask, &id, "add_prefixes").await?;
        let mut after = before.clone();
        after.desired.prefixes.extend(more.iter().copied());
        let mut work = Work::new(&ask, tries);
        changed(&mut work, &before, &mut after).await?;
        work.want(&before, &after);
        if work.apply().await? {
            return Ok(Json(json!({"prefixes": after.desired.prefixes})));
        }
    }
    Err(Failure::Internal("a race without an end".to_owned()))
}

async fn remove_prefixes(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let gone: network::prefixes::AddressSet = named_prefixes(&body)?.iter().collect();
    for tries in 0.. {
        let before = permitted::<SubnetPool>(&ask, &id, "remove_prefixes").await?;
        let has: network::prefixes::AddressSet = before.desired.prefixes.iter().collect();
        if !has.intersects(&gone) {
            return Ok(Json(json!({"prefixes": before.desired.prefixes})));
        }
        let mut work = Work::new(&ask, tries);
        let used: network::prefixes::AddressSet = taken(&mut work, &before.id).await?.iter().map(|it| it.0).collect();
        if used.intersects(&gone) {
            let text = "Illegal update to prefixes: One or more the prefixes to be removed is in use by a subnet..";
            return Err(bad("IllegalSubnetPoolPrefixUpdate", text));
        }
        let mut after = before.clone();
        after.desired.prefixes = has.difference(&gone).prefixes();
        work.want(&before, &after);
        if work.apply().await? {
            return Ok(Json(json!({"prefixes": after.desired.prefixes})));
        }
    }
    Err(Failure::Internal("a race without an end".to_owned()))
}

/// PUT `onboard_network_subnets`: the subnets of a network become the pool's, which grows by their prefixes.
async fn onboard(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let body = crate::resource::parse(&body)?;
    let missing = || bad("InvalidInput", "Invalid input for operation: network_id must be specified..");
    let given = body.get("network_id").and_then(Value::as_str).ok_or_else(missing)?;
    let unknown = || Failure::named(StatusCode::NOT_FOUND, "NetworkNotFound", format!("Network {given} could not be found."));
    let network = Id::<Network>::parse(given).ok_or_else(unknown)?;
    for tries in 0.. {
        let before = permitted::<SubnetPool>(&ask, &id, "onboard_network_subnets").await?;
        let mut work = Work::new(&ask, tries);
        let network = subnets::network(&mut work, &network).await?;
        let is_admin = allows(&ask.app, &ask.caller, "network:context_is_admin", &of_project(ask.caller.project_id.as_ref()));
        if !is_admin && network.project_id != ask.caller.project_id {
            return Err(Failure::named(StatusCode::FORBIDDEN, "NotAuthorized", "Not authorized."));
        }
        let all = ask.app.store.list(&Query::<Subnet>::new().column("network_id", [network.id.to_string()])).await?;
        let all: Vec<_> = all.into_iter().filter(|it| version(it.desired.cidr.network()) == version_of(&before.desired)).collect();
        let used: Vec<IpNet> = taken(&mut work, &before.id).await?.iter().map(|it| it.0).collect();
        let mut after = before.clone();
        for subnet in &all {
            if overlapping(&[subnet.desired.cidr], &used).is_some() {
                let text = format!(
                    "Illegal subnetpool update : Onboarding subnet {}: {} conflicts with allocated prefixes in subnet pool {}.",
                    subnet.id, subnet.desired.cidr, before.id
                );
                return Err(bad("IllegalSubnetPoolUpdate", text));
            }
            after.desired.prefixes.push(subnet.desired.cidr);
            let mut joined = subnet.clone();
            joined.desired.subnetpool_id = Some(before.id.clone());
            joined.desired.prefix_delegation = false;
            work.want(subnet, &joined);
        }
        changed(&mut work, &before, &mut after).await?;
        // Also when it had the prefixes before: whoever carves meets this.
        work.step(|batch| batch.want(&after).want(network.as_ref()));
        if work.apply().await? {
            let shown: Vec<Value> = all.iter().map(|it| json!({"id": it.id, "cidr": it.desired.cidr})).collect();
            return Ok(Json(Value::Array(shown)));
        }
    }
    Err(Failure::Internal("a race without an end".to_owned()))
}
