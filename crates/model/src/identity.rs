//! Domains, projects, users, groups, roles, assignments and the service catalog; what lets in is in [`crate::access`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::password::{Options, PasswordState};
use crate::{Column, Id, Kind, Secret, Timestamp};

/// A domain: a name space of projects and users.
pub enum Domain {}
/// A project (tenant): what owns resources.
pub enum Project {}
/// A user.
pub enum User {}
/// A role.
pub enum Role {}
/// A group of users.
pub enum Group {}
/// That a user is in a group.
pub enum Membership {}
/// A role given to a user or a group on a target.
pub enum Assignment {}
/// That who has one role has another.
pub enum ImpliedRole {}
/// A region of the catalog.
pub enum Region {}
/// A service of the catalog.
pub enum Service {}
/// An endpoint of a service.
pub enum Endpoint {}
/// Endpoints chosen by what they are.
pub enum EndpointGroup {}
/// That a project sees an endpoint or an endpoint group.
pub enum ProjectEndpoint {}
/// A policy document, kept for others.
pub enum PolicyDocument {}
/// To which endpoints a policy document belongs.
pub enum PolicyAssociation {}
/// A credential: an EC2 key, a TOTP secret, a certificate.
pub enum Credential {}
/// A secret by which a program logs in with part of a user's roles.
pub enum ApplicationCredential {}
/// A call that an application credential may make.
pub enum AccessRule {}
/// Roles one user lends another.
pub enum Trust {}
/// The usual limit of a resource of a service.
pub enum RegisteredLimit {}
/// The limit of one project or domain.
pub enum Limit {}
/// An external identity provider.
pub enum IdentityProvider {}
/// How what a provider says becomes a user, groups and projects.
pub enum Mapping {}
/// How a provider is asked.
pub enum Protocol {}
/// Another identity service that takes our users.
pub enum ServiceProvider {}
/// A program known by OAuth.
pub enum OAuthConsumer {}
/// Tokens that were made void, as services ask for them.
pub enum RevocationEvent {}

/// What is wanted of a [`Domain`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainDesired {
    /// Free text.
    pub description: String,
    /// A disabled domain's users cannot log in.
    pub enabled: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// Whether it can be neither changed nor removed.
    pub immutable: Option<bool>,
    /// Attributes of clients that are stored and shown as they are.
    pub extra: Map<String, Value>,
    /// Its own configuration: group, option, value.
    pub config: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Default for DomainDesired {
    fn default() -> Self {
        Self { description: String::new(), enabled: true, tags: Vec::new(), immutable: None, extra: Map::new(), config: BTreeMap::new() }
    }
}

/// What is wanted of a [`Project`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectDesired {
    /// The domain it belongs to.
    pub domain_id: Id<Domain>,
    /// The project above it; `None` directly below the domain.
    #[serde(default)]
    pub parent_id: Option<Id<Project>>,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// A disabled project gives no tokens.
    pub enabled: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether it can be neither changed nor removed.
    #[serde(default)]
    pub immutable: Option<bool>,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`User`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserDesired {
    /// The domain it belongs to.
    pub domain_id: Id<Domain>,
    /// The project a token is scoped to when none is asked for.
    #[serde(default)]
    pub default_project_id: Option<Id<Project>>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// Mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// A disabled user cannot log in.
    pub enabled: bool,
    /// The hashed password as version 1 of the store has it; [`UserDesired::current_hash`] tells which counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Secret>,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// What rules of the installation do not hold for this user.
    #[serde(default)]
    pub options: Options,
    /// Earlier passwords, tries and times of use.
    #[serde(default)]
    pub password: PasswordState,
    /// Where an external provider knows the user from.
    #[serde(default)]
    pub federated: Vec<FederatedIdentity>,
}

impl UserDesired {
    /// The hash of the present password in the modular crypt form; `None`: the user cannot log in by password.
    pub fn current_hash(&self) -> Option<&Secret> {
        self.password.current().map(|it| &it.hash).or(self.password_hash.as_ref())
    }
}

/// Where an external provider knows a user from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedIdentity {
    /// The provider.
    pub idp_id: String,
    /// Its protocol.
    pub protocol_id: String,
    /// The user's id there.
    pub unique_id: String,
}

/// What is wanted of a [`Role`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleDesired {
    /// The domain of a domain-specific role.
    pub domain_id: Option<Id<Domain>>,
    /// Free text.
    pub description: Option<String>,
    /// Whether it can be neither changed nor removed.
    pub immutable: Option<bool>,
    /// Attributes of clients that are stored and shown as they are.
    pub extra: Map<String, Value>,
}

/// What a role is given on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One project.
    Project(Id<Project>),
    /// One domain.
    Domain(Id<Domain>),
    /// The whole system.
    System,
}

impl Target {
    /// `project:ID`, `domain:ID` or `system`: the value of the column `target`.
    pub fn key(&self) -> String {
        match self {
            Self::Project(id) => format!("project:{id}"),
            Self::Domain(id) => format!("domain:{id}"),
            Self::System => "system".to_owned(),
        }
    }
}

/// Who is given a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// One user.
    User(Id<User>),
    /// Whoever is in a group.
    Group(Id<Group>),
}

/// What is wanted of an [`Assignment`]. Its id is derived from all of it, so the same assignment cannot exist twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignmentDesired {
    /// The role.
    pub role_id: Id<Role>,
    /// The user who has it; `None` if a group has it.
    #[serde(default)]
    pub user_id: Option<Id<User>>,
    /// The group that has it; `None` if a user has it.
    #[serde(default)]
    pub group_id: Option<Id<Group>>,
    /// On what.
    pub target: Target,
    /// Whether it holds for the projects below the target and not for the target itself.
    #[serde(default)]
    pub inherited: bool,
}

impl AssignmentDesired {
    /// A role given to an actor.
    pub fn new(role_id: Id<Role>, actor: Actor, target: Target, inherited: bool) -> Self {
        let (user_id, group_id) = match actor {
            Actor::User(id) => (Some(id), None),
            Actor::Group(id) => (None, Some(id)),
        };
        Self { role_id, user_id, group_id, target, inherited }
    }

    /// The id of this assignment.
    pub fn id(&self) -> Id<Assignment> {
        let actor = match (&self.user_id, &self.group_id) {
            (Some(user), _) => user.to_string(),
            (None, Some(group)) => format!("group:{group}"),
            (None, None) => String::new(),
        };
        let inherited = if self.inherited { "/inherited" } else { "" };
        Id::derived(&format!("assignment/{}/{actor}/{}{inherited}", self.role_id, self.target.key()))
    }
}

/// What is wanted of a [`Region`]; its id is its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionDesired {
    /// Free text.
    pub description: String,
    /// The region above it.
    pub parent_region_id: Option<Id<Region>>,
    /// Attributes of clients that are stored and shown as they are.
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`Service`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDesired {
    /// Such as `identity`, `network`, `baremetal`, `container-infra`. (Wire name `type`.)
    pub service_type: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// A disabled service is left out of the catalog.
    pub enabled: bool,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointDesired {
    /// Its service.
    pub service_id: Id<Service>,
    /// Its region.
    pub region_id: Option<Id<Region>>,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// The URL. A URL that starts with `/` is this server's own: the catalog shows it below the address by which the client came.
    pub url: String,
    /// A disabled endpoint is left out of the catalog.
    pub enabled: bool,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`Group`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupDesired {
    /// The domain it belongs to.
    pub domain_id: Id<Domain>,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`Membership`]; its id is derived from both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MembershipDesired {
    /// Who.
    pub user_id: Id<User>,
    /// In what.
    pub group_id: Id<Group>,
    /// For a membership an external provider granted: when it ends unless the user logs in again.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl MembershipDesired {
    /// The id of this membership.
    pub fn id(&self) -> Id<Membership> {
        Id::derived(&format!("membership/{}/{}", self.user_id, self.group_id))
    }
}

/// What is wanted of an [`ImpliedRole`]; its id is derived from both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImpliedRoleDesired {
    /// Who has this one,
    pub prior_id: Id<Role>,
    /// has this one.
    pub implied_id: Id<Role>,
}

impl ImpliedRoleDesired {
    /// The id of this inference.
    pub fn id(&self) -> Id<ImpliedRole> {
        Id::derived(&format!("implied/{}/{}", self.prior_id, self.implied_id))
    }
}

/// What is wanted of an [`EndpointGroup`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointGroupDesired {
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// What its endpoints have in common: `service_id`, `region_id`, `interface`, `enabled`.
    pub filters: Map<String, Value>,
}

/// What is wanted of a [`ProjectEndpoint`]: one of the two is set. Its id is derived from all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectEndpointDesired {
    /// The project.
    pub project_id: Id<Project>,
    /// The endpoint it sees.
    pub endpoint_id: Option<Id<Endpoint>>,
    /// The endpoint group it sees.
    pub endpoint_group_id: Option<Id<EndpointGroup>>,
}

impl ProjectEndpointDesired {
    /// The id of this association.
    pub fn id(&self) -> Id<ProjectEndpoint> {
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        let (endpoint, group) = (self.endpoint_id.as_ref().map(Id::as_str), self.endpoint_group_id.as_ref().map(Id::as_str));
        Id::derived(&format!("project-endpoint/{}/{}/{}", self.project_id, text(endpoint), text(group)))
    }
}

/// What is wanted of a [`PolicyDocument`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyDocumentDesired {
    /// The document.
    pub blob: Value,
    /// Its media type.
    pub media_type: String,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`PolicyAssociation`]: an endpoint, a service, or a service in a region. Its id is derived from where, so that one
/// place has one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyAssociationDesired {
    /// The document.
    pub policy_id: Id<PolicyDocument>,
    /// The endpoint.
    pub endpoint_id: Option<Id<Endpoint>>,
    /// The service.
    pub service_id: Option<Id<Service>>,
    /// The region.
    pub region_id: Option<Id<Region>>,
}

impl PolicyAssociationDesired {
    /// The id of this association.
    pub fn id(&self) -> Id<PolicyAssociation> {
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        Id::derived(&format!(
            "policy-association/{}/{}/{}",
            text(self.endpoint_id.as_ref().map(Id::as_str)),
            text(self.service_id.as_ref().map(Id::as_str)),
            text(self.region_id.as_ref().map(Id::as_str))
        ))
    }
}

/// A kind whose table has the fixed columns and these: the text a column holds, by an expression on the object.
macro_rules! kind {
    ($kind:ty, $name:literal, $desired:ty $(, $column:literal = $value:expr)* $(,)?) => {
        impl Kind for $kind {
            const NAME: &'static str = $name;
            type Desired = $desired;
            type Observed = ();
            const COLUMNS: &'static [Column<Self>] = &[$(Column { name: $column, value: $value }),*];
        }
    };
}
pub(crate) use kind;

/// An id as a column holds it.
pub(crate) fn text<K>(id: Option<&Id<K>>) -> Option<String> {
    id.map(ToString::to_string)
}

kind!(Domain, "domain", DomainDesired);
kind!(
    Project,
    "project",
    ProjectDesired,
    "domain_id" = |it| Some(it.desired.domain_id.to_string()),
    "parent_id" = |it| text(it.desired.parent_id.as_ref()),
);
kind!(User, "users", UserDesired, "domain_id" = |it| Some(it.desired.domain_id.to_string()));
kind!(Group, "groups", GroupDesired, "domain_id" = |it| Some(it.desired.domain_id.to_string()));
kind!(
    Membership,
    "membership",
    MembershipDesired,
    "user_id" = |it| Some(it.desired.user_id.to_string()),
    "group_id" = |it| Some(it.desired.group_id.to_string()),
);
kind!(Role, "role", RoleDesired, "domain_id" = |it| text(it.desired.domain_id.as_ref()));
kind!(
    ImpliedRole,
    "implied_role",
    ImpliedRoleDesired,
    "prior_id" = |it| Some(it.desired.prior_id.to_string()),
    "implied_id" = |it| Some(it.desired.implied_id.to_string()),
);
kind!(
    Assignment,
    "assignment",
    AssignmentDesired,
    "user_id" = |it| text(it.desired.user_id.as_ref()),
    "role_id" = |it| Some(it.desired.role_id.to_string()),
    "target" = |it| Some(it.desired.target.key()),
    "group_id" = |it| text(it.desired.group_id.as_ref()),
);
kind!(Region, "region", RegionDesired, "parent_region_id" = |it| text(it.desired.parent_region_id.as_ref()));
kind!(Service, "service", ServiceDesired, "service_type" = |it| Some(it.desired.service_type.clone()));
kind!(
    Endpoint,
    "endpoint",
    EndpointDesired,
    "service_id" = |it| Some(it.desired.service_id.to_string()),
    "interface" = |it| Some(it.desired.interface.clone()),
);
kind!(EndpointGroup, "endpoint_group", EndpointGroupDesired);
kind!(
    ProjectEndpoint,
    "project_endpoint",
    ProjectEndpointDesired,
    "of_project" = |it| Some(it.desired.project_id.to_string()),
    "endpoint_id" = |it| text(it.desired.endpoint_id.as_ref()),
    "endpoint_group_id" = |it| text(it.desired.endpoint_group_id.as_ref()),
);
kind!(PolicyDocument, "policy", PolicyDocumentDesired);
kind!(
    PolicyAssociation,
    "policy_association",
    PolicyAssociationDesired,
    "policy_id" = |it| Some(it.desired.policy_id.to_string()),
    "endpoint_id" = |it| text(it.desired.endpoint_id.as_ref()),
    "service_id" = |it| text(it.desired.service_id.as_ref()),
    "region_id" = |it| text(it.desired.region_id.as_ref()),
);
