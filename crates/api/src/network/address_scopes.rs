//! `/v2.0/address-scopes`

use std::sync::{Arc, LazyLock};

use axum::Router;
use http::StatusCode;
use model::identity::Project;
use model::net::access::RbacAction;
use model::net::pools::{AddressScope, AddressScopeDesired, IpVersion, SubnetPool};
use model::{Id, Object};
use policy::Target;
use serde_json::{Value, json};

use super::noun::{Body, Field, Form, Noun, Shares, Work, field, routes as noun_routes, shared_to};
use super::{Ask, Extension, access, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::value;

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("address-scope", "Address scope", "Address scopes extension.", "2015-07-26T10:00:00-00:00")];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<AddressScope>()
}

/// What is read beside address scopes.
#[derive(Default)]
pub(crate) struct Around {
    shares: Arc<Shares>,
    project: Option<Id<Project>>,
}

/// Of a kind that can be shared: `shared`, which at creation means an RBAC policy for all.
fn shared_field() -> Field<AddressScope> {
    field("shared", |it: &Object<AddressScope>, around: &Around| json!(around.shares.is_shared(it.id.as_str(), around.project.as_ref())))
        .set(|_, v| value::boolean(v).map(drop))
        .update_by("update_address_scope:shared")
        .filter()
}

static FORM: LazyLock<Form<AddressScope>> = LazyLock::new(|| {
    Form::new("address_scope", "address_scopes", "address-scopes", "AddressScopeNotFound", "Address scope")
        .shareable("address_scope")
        .named()
        .fields(vec![
            field("ip_version", |it: &Object<AddressScope>, _| json!(it.desired.ip_version))
                .set_once(|it, v| {
                    let number = value::number(v, 4, 6)?;
                    it.desired.ip_version =
                        u8::try_from(number).ok().and_then(|it| IpVersion::try_from(it).ok()).ok_or("it is not in [4, 6]")?;
                    Ok(())
                })
                .required()
                .sort(),
            shared_field(),
        ])
});

impl Noun for AddressScope {
    type Around = Around;

    fn form() -> &'static Form<Self> {
        &FORM
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<AddressScopeDesired, Failure> {
        Ok(AddressScopeDesired { ip_version: IpVersion::V4 })
    }

    async fn around(ask: &Ask, _: &[Object<Self>]) -> Result<Around, Failure> {
        Ok(Around { shares: ask.shares().await?, project: ask.caller.project_id.clone() })
    }

    fn target(object: &Object<Self>, around: &Around) -> Target {
        shared_to(object, &around.shares, around.project.as_ref())
    }

    // The field itself is stored elsewhere, so that the form cannot tell what is asked from what there is.
    fn rules(verb: &'static str, body: &Body) -> Vec<String> {
        let shares = verb == "create" && is_true(body, "shared");
        shares.then(|| "create_address_scope:shared".to_owned()).into_iter().collect()
    }

    async fn create(work: &mut Work<'_>, scope: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        access::share_at_creation(work, "address_scope", scope, body)
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, _: &mut Object<Self>, body: &Body) -> Result<(), Failure> {
        let Some(wanted) = body.get("shared").map(value::boolean).transpose().unwrap_or_default() else { return Ok(()) };
        let is_shared = work.ask.shares().await?.is_shared(before.id.as_str(), None);
        if is_shared && !wanted {
            let text = format!("Unable to update address scope {}: Shared address scope can't be unshared", before.id);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "AddressScopeUpdateError", text));
        }
        if wanted && !is_shared {
            access::share(work, "address_scope", before, RbacAction::AccessAsShared, None);
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, scope: &Object<Self>) -> Result<(), Failure> {
        let text = format!(
            "Unable to complete operation on address scope {}. There are one or more subnet pools in use on the address scope",
            scope.id
        );
        work.referenced_means::<SubnetPool>("address_scope_id", Failure::named(StatusCode::CONFLICT, "AddressScopeInUse", text));
        work.step(|batch| batch.unless_referenced::<SubnetPool>("address_scope_id", scope.id.as_str()).remove(scope));
        access::unshare_all(work, scope).await
    }
}

/// Whether a body asks for something that is shared.
pub(crate) fn is_true(body: &Body, name: &str) -> bool {
    body.get(name).is_some_and(|it: &Value| value::boolean(it) == Ok(true))
}
