//! What an empty store must have.

use model::identity::{
    Actor, AssignmentDesired, Domain, DomainDesired, Endpoint, EndpointDesired, ImpliedRole, ImpliedRoleDesired, Project, ProjectDesired,
    Region, RegionDesired, Role, RoleDesired, Service, ServiceDesired, Target, User, UserDesired,
};
use model::password::{Options, PasswordState, SetBy};
use model::{Id, Object, Secret, Timestamp};
use serde_json::Map;
use store::{Batch, Query, StoreError};

use super::noun::{EPOCH, name_in};
use crate::App;
use crate::failure::Failure;

/// Who has one has the other.
const IMPLIED: [(&str, &str); 3] = [("admin", "manager"), ("manager", "member"), ("member", "reader")];
const ROLES: [&str; 5] = ["admin", "manager", "member", "reader", "service"];
/// Type, name and path of each service. The types and names are those that clients look for.
const SERVICES: [(&str, &str, &str); 6] = [
    ("identity", "keystone", "/identity/v3"),
    ("network", "neutron", "/network"),
    ("baremetal", "ironic", "/baremetal"),
    ("image", "glance", "/image"),
    ("compute", "nova", "/compute/v2.1"),
    ("container-infra", "magnum", "/container-infra/v1"),
];

/// Makes the domain, the roles, project and user `admin`, the region and the catalog, unless they are there. Ids are derived from names, so
/// that replicas which start together make the same.
pub(crate) async fn bootstrap(app: &App, admin_password: &Secret) -> Result<(), Failure> {
    let domain_id: Id<Domain> = Id::parse("default").ok_or_else(|| Failure::Internal("the id of the default domain".into()))?;
    let hex = |name: &str| Id::<()>::derived(&format!("bootstrap/{name}")).as_str().replace('-', "");
    let project_id: Id<Project> = parse(&hex("project/admin"))?;
    let user_id: Id<User> = parse(&hex("user/admin"))?;
    if app.store.list(&Query::<Endpoint>::new().limit(1)).await?.is_empty() {
        let hash = app.identity.hashing.hash(admin_password).await?;
        let domain = Object::new(
            domain_id.clone(),
            None,
            "Default",
            DomainDesired { description: "The default domain".into(), ..DomainDesired::default() },
        );
        let project = ProjectDesired {
            domain_id: domain_id.clone(),
            parent_id: None,
            description: "Operators".into(),
            enabled: true,
            tags: Vec::new(),
            immutable: None,
            extra: Map::new(),
        };
        let mut password = PasswordState::default();
        password.set_password(&app.settings.identity.security_compliance, &Options::default(), hash, SetBy::User, Timestamp::now());
        let user = UserDesired {
            domain_id: domain_id.clone(),
            default_project_id: Some(project_id.clone()),
            description: None,
            email: None,
            enabled: true,
            password_hash: None,
            extra: Map::new(),
            options: Options::default(),
            password,
            federated: Vec::new(),
        };
        let mut batch = Batch::wishes()
            .bump(EPOCH)
            .create(&domain)
            .create(&Object::new(project_id.clone(), None, "admin", project))
            .create(&Object::new(user_id.clone(), None, "admin", user));
        for (name, holder) in [
            (name_in::<Domain>("", "Default"), domain_id.as_str()),
            (name_in::<Project>(domain_id.as_str(), "admin"), project_id.as_str()),
            (name_in::<User>(domain_id.as_str(), "admin"), user_id.as_str()),
        ] {
            batch = batch.hold(&name.pool, &name.value, holder);
        }
        let role_id = |name: &str| parse::<Role>(&hex(&format!("role/{name}")));
        for name in ROLES {
            let id = role_id(name)?;
            let role = RoleDesired { immutable: Some(true), ..RoleDesired::default() };
            let held = name_in::<Role>("", name);
            batch = batch.hold(&held.pool, &held.value, id.as_str()).create(&Object::new(id, None, name, role));
        }
        for (prior, implied) in IMPLIED {
            let rule = ImpliedRoleDesired { prior_id: role_id(prior)?, implied_id: role_id(implied)? };
            batch = batch.create(&Object::new(rule.id(), None, "", rule));
        }
        for target in [Target::Project(project_id.clone()), Target::System] {
            let given = AssignmentDesired::new(role_id("admin")?, Actor::User(user_id.clone()), target, false);
            batch = batch.create(&Object::new(given.id(), None, "", given));
        }
        let region_id: Id<Region> = parse(&app.settings.identity.region)?;
        batch = batch.create(&Object::new(region_id.clone(), None, "", RegionDesired::default()));
        for (service_type, name, path) in SERVICES {
            let id: Id<Service> = parse(&hex(&format!("service/{service_type}")))?;
            let service =
                ServiceDesired { service_type: service_type.into(), description: String::new(), enabled: true, extra: Map::new() };
            batch = batch.create(&Object::new(id.clone(), None, name, service));
            for interface in ["public", "internal", "admin"] {
                let endpoint_id: Id<Endpoint> = parse(&hex(&format!("endpoint/{service_type}/{interface}")))?;
                let endpoint = EndpointDesired {
                    service_id: id.clone(),
                    region_id: Some(region_id.clone()),
                    interface: interface.into(),
                    url: path.into(),
                    enabled: true,
                    extra: Map::new(),
                };
                batch = batch.create(&Object::new(endpoint_id, None, "", endpoint));
            }
        }
        match app.store.apply(batch).await {
            Ok(()) => tracing::info!("made the domain, the roles, project and user admin, the region and the catalog"),
            Err(StoreError::Taken { .. } | StoreError::Exists { .. }) => tracing::info!("another replica made the first objects"),
            Err(error) => return Err(error.into()),
        }
    }
    imply(app).await
}

/// Stores of the first version had the roles imply one another without rules that say so.
async fn imply(app: &App) -> Result<(), Failure> {
    const DONE: &str = "identity/implied-roles";
    if app.store.setting(DONE).await?.is_some() {
        return Ok(());
    }
    let mut batch = Batch::wishes().set(DONE, "1").bump(EPOCH);
    if app.store.list(&Query::<ImpliedRole>::new().limit(1)).await?.is_empty() {
        for (prior, implied) in IMPLIED {
            let named = async |name: &str| Ok::<_, Failure>(super::noun::named::<Role>(app, "", name).await?.map(|it| it.id));
            if let (Some(prior_id), Some(implied_id)) = (named(prior).await?, named(implied).await?) {
                let rule = ImpliedRoleDesired { prior_id, implied_id };
                batch = batch.create(&Object::new(rule.id(), None, "", rule));
            }
        }
    }
    match app.store.apply(batch).await {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn parse<K>(text: &str) -> Result<Id<K>, Failure> {
    Id::parse(text).ok_or_else(|| Failure::Internal(format!("{text:?} is not an id")))
}
