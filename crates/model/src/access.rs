//! What lets in: credentials, application credentials, trusts, external providers; and the limits of projects.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::identity::{
    AccessRule, ApplicationCredential, Credential, Domain, IdentityProvider, Limit, Mapping, OAuthConsumer, Project, Protocol, Region,
    RegisteredLimit, RevocationEvent, Role, Service, ServiceProvider, Trust, User, kind, text,
};
use crate::{Column, Id, Kind, Secret, Timestamp};

/// What is wanted of a [`Credential`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CredentialDesired {
    /// Whose.
    pub user_id: Id<User>,
    /// The project of an EC2 key.
    pub of_project: Option<Id<Project>>,
    /// `ec2`, `totp`, `cert` or what the client calls it. (Wire name `type`.)
    pub credential_type: String,
    /// The secret itself, sealed with the installation's credential key.
    pub sealed_blob: Secret,
    /// The access key of an EC2 key.
    #[serde(default)]
    pub access: Option<String>,
    /// The trust by which it was made.
    #[serde(default)]
    pub trust_id: Option<Id<Trust>>,
    /// The application credential by which it was made.
    #[serde(default)]
    pub app_cred_id: Option<Id<ApplicationCredential>>,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// The last 30 s window, counted from 1970, whose TOTP passcode let the user in: it and earlier ones do so no more.
    #[serde(default)]
    pub used_window: Option<i64>,
}

/// What is wanted of an [`ApplicationCredential`]. Its project is the object's `project_id` column and `of_project`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApplicationCredentialDesired {
    /// Whose.
    pub user_id: Id<User>,
    /// For which project.
    pub of_project: Id<Project>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// The hashed secret.
    pub secret_hash: Secret,
    /// The roles it has, at most those of the user.
    pub roles: Vec<Id<Role>>,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether it may make and remove application credentials and trusts.
    #[serde(default)]
    pub unrestricted: bool,
    /// The calls it may make; `None`: all.
    #[serde(default)]
    pub access_rules: Option<Vec<Id<AccessRule>>>,
}

/// What is wanted of an [`AccessRule`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRuleDesired {
    /// Whose.
    pub user_id: Id<User>,
    /// The type of the service.
    pub service: String,
    /// The HTTP method.
    pub method: String,
    /// The path; `*` and `{name}` stand for one segment, `**` for any.
    pub path: String,
}

/// What is wanted of a [`Trust`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustDesired {
    /// Who lends.
    pub trustor_user_id: Id<User>,
    /// Who is lent to.
    pub trustee_user_id: Id<User>,
    /// On which project.
    pub of_project: Option<Id<Project>>,
    /// Whether tokens name the trustor as user.
    pub impersonation: bool,
    /// The roles lent.
    pub roles: Vec<Id<Role>>,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// How many tokens it still gives; `None`: any number.
    #[serde(default)]
    pub remaining_uses: Option<u32>,
    /// Whether the trustee may lend on.
    #[serde(default)]
    pub allow_redelegation: bool,
    /// How often it may be lent on.
    #[serde(default)]
    pub redelegation_count: u32,
    /// The trust this one was lent on from.
    #[serde(default)]
    pub redelegated_trust_id: Option<Id<Trust>>,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`RegisteredLimit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisteredLimitDesired {
    /// The service.
    pub service_id: Id<Service>,
    /// The region; `None`: all.
    pub region_id: Option<Id<Region>>,
    /// What is limited.
    pub resource_name: String,
    /// How many a project may have unless it has a limit of its own; -1: any number.
    pub default_limit: i64,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
}

/// What is wanted of a [`Limit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitDesired {
    /// The registered limit it departs from.
    pub registered_limit_id: Id<RegisteredLimit>,
    /// Of which project.
    pub of_project: Option<Id<Project>>,
    /// Or of which domain.
    pub domain_id: Option<Id<Domain>>,
    /// How many; -1: any number.
    pub resource_limit: i64,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
}

/// What is wanted of an [`IdentityProvider`]; its id is the client's choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentityProviderDesired {
    /// The domain of its users.
    pub domain_id: Option<Id<Domain>>,
    /// Free text.
    pub description: Option<String>,
    /// Users of a disabled provider cannot log in.
    pub enabled: bool,
    /// How long memberships it grants hold, in minutes.
    pub authorization_ttl_minutes: Option<u32>,
    /// Names it calls itself by: the issuers of its tokens.
    pub remote_ids: Vec<String>,
    /// Attributes of clients that are stored and shown as they are.
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`Mapping`]; its id is the client's choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MappingDesired {
    /// The rules.
    pub rules: Vec<Value>,
    /// Their version, such as `1.0`.
    pub schema_version: Option<String>,
}

/// What is wanted of a [`Protocol`]; its id is derived from provider and name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProtocolDesired {
    /// Its provider.
    pub idp_id: Id<IdentityProvider>,
    /// Its name, such as `openid`. (Wire name `id`.)
    pub protocol: String,
    /// Its mapping.
    pub mapping_id: Id<Mapping>,
    /// The claim that names the provider.
    #[serde(default)]
    pub remote_id_attribute: Option<String>,
    /// Where the provider publishes its keys; `None`: below its issuer by OpenID discovery.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Who its tokens must be for.
    #[serde(default)]
    pub audiences: Vec<String>,
}

impl ProtocolDesired {
    /// The id of this protocol.
    pub fn id(&self) -> Id<Protocol> {
        Id::derived(&format!("protocol/{}/{}", self.idp_id, self.protocol))
    }
}

/// What is wanted of a [`ServiceProvider`]; its id is the client's choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceProviderDesired {
    /// Where its tokens are got.
    pub auth_url: String,
    /// Where assertions are sent.
    pub sp_url: String,
    /// Free text.
    pub description: Option<String>,
    /// A disabled one is left out of the catalog.
    pub enabled: bool,
    /// Prefix of the relay state.
    pub relay_state_prefix: Option<String>,
}

/// What is wanted of an [`OAuthConsumer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OAuthConsumerDesired {
    /// Free text.
    pub description: Option<String>,
    /// Its secret, sealed with the installation's credential key.
    pub sealed_secret: Secret,
    /// Attributes of clients that are stored and shown as they are.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// What is wanted of a [`RevocationEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevocationEventDesired {
    /// Whose tokens are void.
    pub subject: Revoked,
    /// Those issued before this moment.
    pub issued_before: Timestamp,
}

/// Which tokens were made void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// One token, by its audit id.
    Token(String),
    /// A token and all that were got by it, by the audit id of the first.
    Chain(String),
    /// A user's.
    User(Id<User>),
    /// All for a project.
    Project(Id<Project>),
    /// All for a domain and of its users.
    Domain(Id<Domain>),
    /// A user's for a project.
    UserOnProject(Id<User>, Id<Project>),
    /// A user's for a domain.
    UserOnDomain(Id<User>, Id<Domain>),
    /// A user's for the system.
    UserOnSystem(Id<User>),
    /// A trust's.
    Trust(Id<Trust>),
    /// An application credential's.
    ApplicationCredential(Id<ApplicationCredential>),
}

impl Revoked {
    /// The value of the column `subject`.
    pub fn key(&self) -> String {
        match self {
            Self::Token(id) => format!("token:{id}"),
            Self::Chain(id) => format!("chain:{id}"),
            Self::User(id) => format!("user:{id}"),
            Self::Project(id) => format!("project:{id}"),
            Self::Domain(id) => format!("domain:{id}"),
            Self::UserOnProject(user, project) => format!("user:{user}/project:{project}"),
            Self::UserOnDomain(user, domain) => format!("user:{user}/domain:{domain}"),
            Self::UserOnSystem(user) => format!("user:{user}/system"),
            Self::Trust(id) => format!("trust:{id}"),
            Self::ApplicationCredential(id) => format!("application-credential:{id}"),
        }
    }
}

kind!(
    Credential,
    "credential",
    CredentialDesired,
    "user_id" = |it| Some(it.desired.user_id.to_string()),
    "credential_type" = |it| Some(it.desired.credential_type.clone()),
    "access" = |it| it.desired.access.clone(),
    "of_project" = |it| text(it.desired.of_project.as_ref()),
);
kind!(
    ApplicationCredential,
    "application_credential",
    ApplicationCredentialDesired,
    "user_id" = |it| Some(it.desired.user_id.to_string()),
    "of_project" = |it| Some(it.desired.of_project.to_string()),
);
kind!(AccessRule, "access_rule", AccessRuleDesired, "user_id" = |it| Some(it.desired.user_id.to_string()));
kind!(
    Trust,
    "trust",
    TrustDesired,
    "trustor_user_id" = |it| Some(it.desired.trustor_user_id.to_string()),
    "trustee_user_id" = |it| Some(it.desired.trustee_user_id.to_string()),
    "of_project" = |it| text(it.desired.of_project.as_ref()),
    "redelegated_trust_id" = |it| text(it.desired.redelegated_trust_id.as_ref()),
);
kind!(
    RegisteredLimit,
    "registered_limit",
    RegisteredLimitDesired,
    "service_id" = |it| Some(it.desired.service_id.to_string()),
    "region_id" = |it| text(it.desired.region_id.as_ref()),
    "resource_name" = |it| Some(it.desired.resource_name.clone()),
);
kind!(
    Limit,
    "limits",
    LimitDesired,
    "registered_limit_id" = |it| Some(it.desired.registered_limit_id.to_string()),
    "of_project" = |it| text(it.desired.of_project.as_ref()),
    "domain_id" = |it| text(it.desired.domain_id.as_ref()),
);
kind!(IdentityProvider, "identity_provider", IdentityProviderDesired, "domain_id" = |it| text(it.desired.domain_id.as_ref()));
kind!(Mapping, "mapping", MappingDesired);
kind!(
    Protocol,
    "protocol",
    ProtocolDesired,
    "idp_id" = |it| Some(it.desired.idp_id.to_string()),
    "mapping_id" = |it| Some(it.desired.mapping_id.to_string()),
);
kind!(ServiceProvider, "service_provider", ServiceProviderDesired);
kind!(OAuthConsumer, "oauth_consumer", OAuthConsumerDesired);
kind!(RevocationEvent, "revocation_event", RevocationEventDesired, "subject" = |it| Some(it.desired.subject.key()));
