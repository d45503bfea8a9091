//! `/v2.0/flavors` and `/v2.0/service_profiles`: kinds of service that users choose by name.

use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use model::identity::Project;
use model::net::flavors::{ServiceFlavor, ServiceFlavorDesired, ServiceProfile, ServiceProfileDesired};
use model::net::l3;
use model::{Id, Object};
use serde_json::{Value, json};
use store::Query;

use super::noun::{Body, Form, Noun, Work, field, find, permitted, routes as noun_routes};
use super::{Ask, Extension, extension};
use crate::App;
use crate::failure::Failure;
use crate::resource::{parse, put, rooted, value};

pub(super) const EXTENSIONS: &[Extension] =
    &[extension("flavors", "Neutron Service Flavors", "Flavor specification for Neutron advanced services.", "2015-09-17T10:00:00-00:00")];

/// Services that have flavors.
const SERVICE_TYPES: [&str; 8] = ["L3_ROUTER_NAT", "CORE", "METERING", "QOS", "SEGMENTS", "TRUNK", "LOADBALANCERV2", "DUMMY"];

pub(super) fn routes() -> Router<Arc<App>> {
    noun_routes::<ServiceFlavor>()
        .merge(noun_routes::<ServiceProfile>())
        .route("/flavors/{id}/service_profiles", post(bind))
        .route("/flavors/{id}/service_profiles/{profile}", get(bound).delete(unbind))
        .route("/flavors/{id}/next_providers", get(next_providers))
}

static FLAVOR: LazyLock<Form<ServiceFlavor>> = LazyLock::new(|| {
    Form::new("flavor", "flavors", "flavors", "FlavorNotFound", "Flavor").ownerless().named().fields(vec![
        field("description", |it: &Object<ServiceFlavor>, _: &()| json!(it.desired.description))
            .set(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
            .sort(),
        field("service_type", |it: &Object<ServiceFlavor>, _| json!(it.desired.service_type))
            .set_once(|it, v| put(&mut it.desired.service_type, value::text(v, 255)))
            .required()
            .sort(),
        field("enabled", |it: &Object<ServiceFlavor>, _| json!(it.desired.enabled))
            .set(|it, v| put(&mut it.desired.enabled, if v.is_null() { Ok(true) } else { value::boolean(v) }))
            .sort(),
        field("service_profiles", |it: &Object<ServiceFlavor>, _| json!(it.desired.service_profiles)),
    ])
});

impl Noun for ServiceFlavor {
    type Around = ();

    fn form() -> &'static Form<Self> {
        &FLAVOR
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<ServiceFlavorDesired, Failure> {
        Ok(ServiceFlavorDesired { description: String::new(), service_type: String::new(), enabled: true, service_profiles: Vec::new() })
    }

    async fn create(_: &mut Work<'_>, flavor: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        if !SERVICE_TYPES.contains(&flavor.desired.service_type.as_str()) {
            let text = format!("Invalid service type: {}.", flavor.desired.service_type);
            return Err(Failure::named(StatusCode::BAD_REQUEST, "InvalidServiceType", text));
        }
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, flavor: &Object<Self>) -> Result<(), Failure> {
        let text = format!("Flavor {} is used by some service instance.", flavor.id);
        work.referenced_means::<l3::Router>("flavor_id", Failure::named(StatusCode::CONFLICT, "FlavorInUse", text));
        work.step(|batch| batch.unless_referenced::<l3::Router>("flavor_id", flavor.id.as_str()).remove(flavor));
        Ok(())
    }
}

static PROFILE: LazyLock<Form<ServiceProfile>> = LazyLock::new(|| {
    Form::new("service_profile", "service_profiles", "service_profiles", "ServiceProfileNotFound", "Service Profile").ownerless().fields(
        vec![
            field("description", |it: &Object<ServiceProfile>, _: &Flavors| json!(it.desired.description))
                .set(|it, v| put(&mut it.desired.description, value::text(v, 1024)))
                .sort(),
            field("driver", |it: &Object<ServiceProfile>, _| json!(it.desired.driver))
                .set(|it, v| put(&mut it.desired.driver, value::text(v, 1024)))
                .sort(),
            field("metainfo", |it: &Object<ServiceProfile>, _| json!(it.desired.metainfo))
                .set(|it, v| put(&mut it.desired.metainfo, value::text(v, 4096)))
                .sort(),
            field("enabled", |it: &Object<ServiceProfile>, _| json!(it.desired.enabled))
                .set(|it, v| put(&mut it.desired.enabled, if v.is_null() { Ok(true) } else { value::boolean(v) }))
                .sort(),
            field("flavors", |it: &Object<ServiceProfile>, around: &Flavors| {
                let uses = |(_, profiles): &&(String, Vec<String>)| profiles.iter().any(|profile| profile == it.id.as_str());
                around.0.iter().filter(uses).map(|(id, _)| json!(id)).collect()
            }),
        ],
    )
});

/// Flavors and the profiles of each.
#[derive(Default)]
pub(crate) struct Flavors(Vec<(String, Vec<String>)>);

/// What can provide a service here. Drivers are named by operators, and none of ours has a name to choose it by.
fn no_driver(driver: &str) -> Result<(), Failure> {
    if driver.is_empty() {
        return Ok(());
    }
    let text = format!("Service Profile driver {driver} could not be found.");
    Err(Failure::named(StatusCode::NOT_FOUND, "ServiceProfileDriverNotFound", text))
}

fn in_use(id: &Id<ServiceProfile>) -> Failure {
    let text = format!("Service Profile {id} is used by some service instance.");
    Failure::named(StatusCode::CONFLICT, "ServiceProfileInUse", text)
}

impl Noun for ServiceProfile {
    type Around = Flavors;

    fn form() -> &'static Form<Self> {
        &PROFILE
    }

    fn blank(_: &Ask, _: Option<&Id<Project>>) -> Result<ServiceProfileDesired, Failure> {
        Ok(ServiceProfileDesired { description: String::new(), driver: String::new(), metainfo: String::new(), enabled: true })
    }

    async fn around(ask: &Ask, profiles: &[Object<Self>]) -> Result<Flavors, Failure> {
        let ids = profiles.iter().map(|it| it.id.to_string());
        let flavors = ask.app.store.list(&Query::<ServiceFlavor>::new().linked("service_profiles", ids)).await?;
        Ok(Flavors(flavors.into_iter().map(|it| (it.id.to_string(), it.desired.service_profiles)).collect()))
    }

    async fn create(_: &mut Work<'_>, profile: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        no_driver(&profile.desired.driver)?;
        if profile.desired.metainfo.is_empty() {
            let text = "Service Profile needs either a driver or metainfo.";
            return Err(Failure::named(StatusCode::BAD_REQUEST, "ServiceProfileEmpty", text));
        }
        Ok(())
    }

    async fn update(work: &mut Work<'_>, before: &Object<Self>, after: &mut Object<Self>, _: &Body) -> Result<(), Failure> {
        no_driver(&after.desired.driver)?;
        work.referenced_means::<ServiceFlavor>("service_profiles", in_use(&before.id));
        work.step(|batch| batch.unless_linked::<ServiceFlavor>("service_profiles", before.id.as_str()));
        Ok(())
    }

    async fn delete(work: &mut Work<'_>, profile: &Object<Self>) -> Result<(), Failure> {
        work.referenced_means::<ServiceFlavor>("service_profiles", in_use(&profile.id));
        work.step(|batch| batch.unless_linked::<ServiceFlavor>("service_profiles", profile.id.as_str()).remove(profile));
        Ok(())
    }
}

/// POST: a flavor is provided by this profile too.
async fn bind(ask: Ask, Path(id): Path<String>, body: Bytes) -> Result<Response, Failure> {
    let body = parse(&body)?;
    let wanted = rooted(&body, "service_profile")?.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    for tries in 0.. {
        let before = permitted::<ServiceFlavor>(&ask, &id, "create_flavor_service_profile").await?;
        let (profile, _) = find::<ServiceProfile>(&ask, &wanted).await?;
        let mut after = before.clone();
        if after.desired.service_profiles.iter().any(|it| it == profile.id.as_str()) {
            let text = format!("Service Profile {wanted} is already associated with flavor {id}.");
            return Err(Failure::named(StatusCode::CONFLICT, "FlavorServiceProfileBindingExists", text));
        }
        after.desired.service_profiles.push(profile.id.to_string());
        let mut work = Work::new(&ask, tries);
        work.want(&before, &after);
        work.step(|batch| batch.require(&profile.id));
        if work.apply().await? {
            break;
        }
    }
    let (flavor, _) = find::<ServiceFlavor>(&ask, &id).await?;
    let shown = super::noun::value_of(&ask, &flavor, &());
    Ok((StatusCode::CREATED, Json(json!({ "service_profile": shown }))).into_response())
}

fn unbound(profile: &str, flavor: &str) -> Failure {
    let text = format!("Service Profile {profile} is not associated with flavor {flavor}.");
    Failure::named(StatusCode::NOT_FOUND, "FlavorServiceProfileBindingNotFound", text)
}

async fn bound(ask: Ask, Path((id, profile)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let flavor = permitted::<ServiceFlavor>(&ask, &id, "get_flavor_service_profile").await?;
    if !flavor.desired.service_profiles.contains(&profile) {
        return Err(unbound(&profile, &id));
    }
    Ok(Json(json!({"service_profile": {"service_profile_id": profile, "flavor_id": id}})))
}

async fn unbind(ask: Ask, Path((id, profile)): Path<(String, String)>) -> Result<StatusCode, Failure> {
    for tries in 0.. {
        let before = permitted::<ServiceFlavor>(&ask, &id, "delete_flavor_service_profile").await?;
        let mut after = before.clone();
        after.desired.service_profiles.retain(|it| *it != profile);
        let mut work = Work::new(&ask, tries);
        if !work.want(&before, &after) {
            return Err(unbound(&profile, &id));
        }
        if work.apply().await? {
            break;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// GET: what would provide the flavor: the first enabled profile's driver.
async fn next_providers(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let (flavor, _) = find::<ServiceFlavor>(&ask, &id).await?;
    let first = flavor.desired.service_profiles.first().ok_or_else(|| unbound("", &id))?;
    let (profile, _) = find::<ServiceProfile>(&ask, first).await?;
    if !profile.desired.enabled {
        return Err(Failure::named(StatusCode::SERVICE_UNAVAILABLE, "ServiceProfileDisabled", "Service Profile is not enabled."));
    }
    let text = format!("Service Profile driver {} could not be found.", profile.desired.driver);
    Err(Failure::named(StatusCode::NOT_FOUND, "ServiceProfileDriverNotFound", text))
}
