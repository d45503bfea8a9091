//! `/v2.0/address-groups`: prefixes that rules of security groups name together.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::put as on_put;
use axum::{Json, Router};
use http::StatusCode;
use ipnet::IpNet;
use model::identity::Project;
use model::net::security::{AddressGroup, AddressGroupDesired, SecurityGroupRule};
use model::{Id, Object};
use network::prefixes::normalise;
use policy::Target;
use serde_json::{Value, json};

use super::noun::{Form, Noun, Shares, Work, field, find, permitted, routes as noun_routes, shared_to, value_of};
use super::{Ask, Extension, access, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{parse, put, value};

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("address-group", "Address group", "Support address group", "2020-07-15T10:00:00-00:00")];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<AddressGroup>()
        .route("/address-groups/{id}/add_addresses", on_put(add_addresses))
        .route("/address-groups/{id}/remove_addresses", on_put(remove_addresses))
}

/// What is read beside address groups.
#[derive(Default)]
pub(crate) struct Around {
    shares: Arc<Shares>,
    project: Option<Id<Project>>,
}

static FORM: LazyLock<Form<AddressGroup>> = LazyLock::new(|| {
    Form::new("address_group", "address_groups", "address-groups", "AddressGroupNotFound", "Address group")
        .shareable("address_group")
        .named()
        .fields(vec![
            field("description", |it: &Object<AddressGroup>, _| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
                .sort(),
            field("addresses", |it: &Object<AddressGroup>, _| json!(it.desired.addresses))
                .set_once(|it, v| put(&mut it.desired.addresses, listed(v))),
            field("shared", |it: &Object<AddressGroup>, around: &Around| {
                json!(around.shares.is_shared(it.id.as_str(), around.project.as_ref()))
            }),
        ])
        .stamped()
});

/// Reads the prefixes of a new group: in order, without the bits behind them, each once.
fn listed(value: &Value) -> Result<Vec<IpNet>, String> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let list =
        value.as_array().ok_or_else(|| format!("'{}' is not a list", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))?;
    let mut found = BTreeSet::new();
    let mut texts = BTreeSet::new();
    for it in list {
        let text = it.as_str().ok_or_else(|| format!("'{it}' is not a valid IP subnet"))?;
        if !texts.insert(text) {
            return Err(format!("Duplicate items in the list: '{text}'"));
        }
        let net = normalise(text).filter(|_| text.contains('/'));
        found.insert(net.ok_or_else(|| format!("'{text}' is not a valid IP subnet"))?);
    }
    Ok(found.into_iter().collect())
}

impl Noun for AddressGroup {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<AddressGroupDesired, Failure> {
        Ok(AddressGroupDesired { description: String::new(), addresses: Vec::new() })
    }

    async fn around(ask: &Ask, _: &[Object<Self>]) -> Result<Around, Failure> {
        Ok(Around { shares: ask.shares().await?, project: ask.caller.project_id.clone() })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        shared_to(object, &around.shares, around.project.as_ref())
    }

    async fn delete(work: &mut Work<'_>, group: &Object<Self>) -> Result<(), Failure> {
        let text = format!("Address group {} is in use on one or more security group rules.", group.id);
        work.referenced_means::<SecurityGroupRule>(
            "remote_address_group_id",
            Failure::named(StatusCode::CONFLICT, "AddressGroupInUse", text),
        );
        work.step(|batch| batch.unless_referenced::<SecurityGroupRule>("remote_address_group_id", group.id.as_str()).remove(group));
        access::unshare_all(work, group).await
    }
}

/// The prefixes that a request to add or to remove some names.
fn named(body: &Bytes) -> Result<BTreeSet<IpNet>, Failure> {
    let body = parse(body)?;
    let list = body.get("addresses").and_then(Value::as_array);
    let list = list.ok_or_else(|| Failure::BadRequest("Invalid input for addresses. Reason: it is not a list.".into()))?;
    let net = |it: &Value| {
        let found = it.as_str().and_then(normalise);
        let text = || format!("invalid IPNetwork {}", it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        found.ok_or_else(|| Failure::named(StatusCode::BAD_REQUEST, "AddrFormatError", text()))
    };
    list.iter().map(net).collect()
}

/// Prefixes as Neutron's messages list them.
fn spelled(them: &[&IpNet]) -> String {
    let quoted: Vec<String> = them.iter().map(|it| format!("'{it}'")).collect();
    format!("[{}]", quoted.join(", "))
}

/// Changes the prefixes of a group.
async fn change(
    ask: &Ask,
    id: &str,
    rule: &str,
    change: impl Fn(&Object<AddressGroup>, &mut BTreeSet<IpNet>) -> Result<(), Failure>,
) -> Result<Json<Value>, Failure> {
    for tries in 0.. {
        let before = permitted::<AddressGroup>(ask, id, rule).await?;
        let mut after = before.clone();
        let mut addresses = after.desired.addresses.iter().copied().collect();
        change(&before, &mut addresses)?;
        after.desired.addresses = addresses.into_iter().collect();
        let mut work = Work::new(ask, tries);
        work.want(&before, &after);
        if work.apply().await? {
            break;
        }
    }
    let (group, around) = find::<AddressGroup>(ask, id).await?;
    Ok(Json(json!({"address_group": value_of(ask, &group, &around)})))
}

async fn add_addresses(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let wanted = named(&body)?;
    change(&ask, &id, "add_addresses", |group, addresses| {
        let there: Vec<&IpNet> = wanted.iter().filter(|it| addresses.contains(it)).collect();
        if !there.is_empty() {
            let text = format!("Addresses {} already exist in the address group {}.", spelled(&there), group.id);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "AddressesAlreadyExist", text));
        }
        addresses.extend(wanted.iter().copied());
        Ok(())
    })
    .await
}

async fn remove_addresses(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Failure> {
    let wanted = named(&body)?;
    change(&ask, &id, "remove_addresses", |group, addresses| {
        let absent: Vec<&IpNet> = wanted.iter().filter(|it| !addresses.contains(it)).collect();
        if !absent.is_empty() {
            let text = format!("Addresses {} not found in the address group {}.", spelled(&absent), group.id);
            return Err(Failure::named(StatusCode::NOT_FOUND, "AddressesNotFound", text));
        }
        addresses.retain(|it| !wanted.contains(it));
        Ok(())
    })
    .await
}
