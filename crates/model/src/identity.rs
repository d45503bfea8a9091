//! Domains, projects, users, roles, assignments and the service catalog.

use serde::{Deserialize, Serialize};

use crate::{Column, Id, Kind, Secret};

/// A domain: a name space of projects and users.
pub enum Domain {}
/// A project (tenant): what owns resources.
pub enum Project {}
/// A user.
pub enum User {}
/// A role.
pub enum Role {}
/// A role given to a user on a target.
pub enum Assignment {}
/// A region of the catalog.
pub enum Region {}
/// A service of the catalog.
pub enum Service {}
/// An endpoint of a service.
pub enum Endpoint {}

/// What is wanted of a [`Domain`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainDesired {
    /// Free text.
    pub description: String,
    /// A disabled domain's users cannot log in.
    pub enabled: bool,
}

impl Default for DomainDesired {
    fn default() -> Self {
        Self { description: String::new(), enabled: true }
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
    /// The hashed password in the modular crypt form; `None`: cannot log in by password.
    #[serde(default)]
    pub password_hash: Option<Secret>,
    /// Tokens issued before this moment are void (password change, disable).
    #[serde(default)]
    pub tokens_not_before: crate::Timestamp,
}

/// What is wanted of a [`Role`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleDesired {
    /// The domain of a domain-specific role.
    pub domain_id: Option<Id<Domain>>,
    /// Free text.
    pub description: Option<String>,
}

/// What a role is given on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is wanted of an [`Assignment`]. Its id is derived from all three, so the same assignment cannot exist twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignmentDesired {
    /// The role.
    pub role_id: Id<Role>,
    /// Who has it.
    pub user_id: Id<User>,
    /// On what.
    pub target: Target,
}

impl AssignmentDesired {
    /// The id of this assignment.
    pub fn id(&self) -> Id<Assignment> {
        Id::derived(&format!("assignment/{}/{}/{}", self.role_id, self.user_id, self.target.key()))
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
}

impl Kind for Domain {
    const NAME: &'static str = "domain";
    type Desired = DomainDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Project {
    const NAME: &'static str = "project";
    type Desired = ProjectDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "domain_id", value: |it| Some(it.desired.domain_id.to_string()) }];
}

impl Kind for User {
    const NAME: &'static str = "users";
    type Desired = UserDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "domain_id", value: |it| Some(it.desired.domain_id.to_string()) }];
}

impl Kind for Role {
    const NAME: &'static str = "role";
    type Desired = RoleDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Assignment {
    const NAME: &'static str = "assignment";
    type Desired = AssignmentDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "user_id", value: |it| Some(it.desired.user_id.to_string()) },
        Column { name: "role_id", value: |it| Some(it.desired.role_id.to_string()) },
        Column { name: "target", value: |it| Some(it.desired.target.key()) },
    ];
}

impl Kind for Region {
    const NAME: &'static str = "region";
    type Desired = RegionDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Service {
    const NAME: &'static str = "service";
    type Desired = ServiceDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[Column { name: "service_type", value: |it| Some(it.desired.service_type.clone()) }];
}

impl Kind for Endpoint {
    const NAME: &'static str = "endpoint";
    type Desired = EndpointDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "service_id", value: |it| Some(it.desired.service_id.to_string()) },
        Column { name: "interface", value: |it| Some(it.desired.interface.clone()) },
    ];
}
