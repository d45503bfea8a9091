//! What an empty store must have.

use model::identity::{
    AssignmentDesired, Domain, DomainDesired, Endpoint, EndpointDesired, Project, ProjectDesired, Region, RegionDesired, Role, RoleDesired,
    Service, ServiceDesired, Target, User, UserDesired,
};
use model::{Id, Object, Secret, Timestamp};
use store::{Batch, Query, StoreError};

use super::nouns::name_pool;
use crate::App;
use crate::failure::Failure;

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
        let domain =
            Object::new(domain_id.clone(), None, "Default", DomainDesired { description: "The default domain".into(), enabled: true });
        let project = ProjectDesired {
            domain_id: domain_id.clone(),
            parent_id: None,
            description: "Operators".into(),
            enabled: true,
            tags: Vec::new(),
        };
        let user = UserDesired {
            domain_id: domain_id.clone(),
            default_project_id: Some(project_id.clone()),
            description: None,
            email: None,
            enabled: true,
            password_hash: Some(hash),
            tokens_not_before: Timestamp::default(),
        };
        let mut batch = Batch::wishes()
            .hold(&name_pool::<Domain>(""), "default", domain_id.as_str())
            .hold(&name_pool::<Project>(domain_id.as_str()), "admin", project_id.as_str())
            .hold(&name_pool::<User>(domain_id.as_str()), "admin", user_id.as_str())
            .create(&domain)
            .create(&Object::new(project_id.clone(), None, "admin", project))
            .create(&Object::new(user_id.clone(), None, "admin", user));
        for name in ROLES {
            let id: Id<Role> = parse(&hex(&format!("role/{name}")))?;
            batch =
                batch.hold(&name_pool::<Role>(""), name, id.as_str()).create(&Object::new(id.clone(), None, name, RoleDesired::default()));
            if name == "admin" {
                for target in [Target::Project(project_id.clone()), Target::System] {
                    let given = AssignmentDesired { role_id: id.clone(), user_id: user_id.clone(), target };
                    batch = batch.create(&Object::new(given.id(), None, "", given));
                }
            }
        }
        let region_id: Id<Region> = parse(&app.settings.region)?;
        batch = batch.create(&Object::new(region_id.clone(), None, "", RegionDesired::default()));
        for (service_type, name, path) in SERVICES {
            let id: Id<Service> = parse(&hex(&format!("service/{service_type}")))?;
            let service = ServiceDesired { service_type: service_type.into(), description: String::new(), enabled: true };
            batch = batch.create(&Object::new(id.clone(), None, name, service));
            for interface in ["public", "internal", "admin"] {
                let endpoint_id: Id<Endpoint> = parse(&hex(&format!("endpoint/{service_type}/{interface}")))?;
                let endpoint = EndpointDesired {
                    service_id: id.clone(),
                    region_id: Some(region_id.clone()),
                    interface: interface.into(),
                    url: path.into(),
                    enabled: true,
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
    Ok(())
}

fn parse<K>(text: &str) -> Result<Id<K>, Failure> {
    Id::parse(text).ok_or_else(|| Failure::Internal(format!("{text:?} is not an id")))
}
