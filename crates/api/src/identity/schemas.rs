//! What requests to identity carry: a table for every body and every query Keystone 30.0.0 checks (Source: `keystone/*/schema.py` and the
//! decorators of `keystone/api/*.py`), each of the whole body, with the name the object is wrapped in.

use serde_json::{Map, Value};

use crate::schema::{
    ANY, BOOLEAN, Bond, Field, ID, Kind, NAME, PAGE_LENGTH, PATH, Schema, Shape, TAG, TEXT, URL, UUID, WORD, array, choice, closed,
    integer, name, object, open, shape, text,
};

/// A description of at most 255 characters, or none.
const SHORT: Shape = text(0, 255).or_null();
/// Text, or null.
const TEXT_OR_NULL: Shape = TEXT.or_null();
/// The id of a region, or null.
const REGION_ID: Shape = text(1, 255).or_null();
/// A count that fits an SQL integer, -1 being without limit.
const COUNT: Shape = integer(-1, 0x7fff_ffff);
/// The name of a project or domain.
const SHORT_NAME: Shape = name(64);
/// Tags of a project.
const TAGS: Shape = array(&TAG).at_most(80).unique();
/// Where an endpoint is reached from.
const INTERFACE: Shape = choice(&["admin", "internal", "public"]);

/// An object of whatever.
static ANYTHING: Schema = open(&[]);
/// The option projects, domains and roles have.
static IMMUTABLE: Schema = closed(&[("immutable", BOOLEAN.or_null())]);
/// A domain where one is referred to: by id or by name.
static DOMAIN_REFERENCE: Schema = open(&[("id", TEXT), ("name", TEXT)]);
/// A role where one is referred to: by id or by name, not both.
static ROLE_REFERENCE: Schema = closed(&[("id", ID), ("name", NAME)]).single();

// Domains.

const DOMAIN: &[Field] =
    &[("description", SHORT), ("enabled", WORD), ("name", SHORT_NAME), ("options", object(&IMMUTABLE)), ("tags", TAGS)];
static DOMAIN_NEW: Schema = open(&[
    ("explicit_domain_id", ID),
    ("description", SHORT),
    ("enabled", WORD),
    ("name", SHORT_NAME),
    ("options", object(&IMMUTABLE)),
    ("tags", TAGS),
])
.required(&["name"]);
static DOMAIN_CHANGE: Schema = open(DOMAIN).not_empty();
/// `POST /v3/domains`.
pub(crate) static DOMAIN_CREATE: Schema = closed(&[("domain", object(&DOMAIN_NEW))]).required(&["domain"]);
/// `PATCH /v3/domains/{domain_id}`.
pub(crate) static DOMAIN_UPDATE: Schema = closed(&[("domain", object(&DOMAIN_CHANGE))]).required(&["domain"]);
/// `GET /v3/domains`.
pub(crate) static DOMAIN_INDEX_QUERY: Schema = open(&[("enabled", WORD), ("name", SHORT_NAME), ("marker", TEXT), ("limit", PAGE_LENGTH)]);

/// `PUT` and `PATCH /v3/domains/{domain_id}/config` and below. Keystone has no schema for it: which groups and options there are is checked
/// by its meaning.
pub(crate) static DOMAIN_CONFIG: Schema = open(&[("config", object(&ANYTHING))]);

// Projects.

static PROJECT_NEW: Schema = open(&[
    ("description", TEXT_OR_NULL),
    ("domain_id", ID.or_null()),
    ("enabled", WORD),
    ("is_domain", WORD),
    ("parent_id", ID.or_null()),
    ("name", SHORT_NAME),
    ("tags", TAGS),
    ("options", object(&IMMUTABLE)),
])
.required(&["name"]);
static PROJECT_CHANGE: Schema =
    open(&[("description", TEXT_OR_NULL), ("enabled", WORD), ("name", SHORT_NAME), ("options", object(&IMMUTABLE)), ("tags", TAGS)]);
/// `POST /v3/projects`.
pub(crate) static PROJECT_CREATE: Schema = closed(&[("project", object(&PROJECT_NEW))]);
/// `PATCH /v3/projects/{project_id}`.
pub(crate) static PROJECT_UPDATE: Schema = closed(&[("project", object(&PROJECT_CHANGE))]);
/// `GET /v3/projects`.
pub(crate) static PROJECT_INDEX_QUERY: Schema = open(&[
    ("domain_id", ID),
    ("enabled", WORD),
    ("name", SHORT_NAME),
    ("parent_id", UUID),
    ("is_domain", WORD),
    ("tags", TEXT),
    ("tags-any", TEXT),
    ("not-tags", TEXT),
    ("not-tags-any", TEXT),
    ("marker", TEXT),
    ("limit", PAGE_LENGTH),
]);
/// `PUT /v3/projects/{project_id}/tags`: its form. [`PROJECT_TAGS`] is checked after it.
pub(crate) static PROJECT_TAGS_UPDATE: Schema = closed(&[("tags", array(&TAG))]);
/// All tags a project is to have.
pub(crate) static PROJECT_TAGS: Shape = TAGS;
/// The tag in `PUT /v3/projects/{project_id}/tags/{value}`.
pub(crate) static PROJECT_TAG: Shape = TAG;

// Users.

static MFA_RULE: Shape = array(&TEXT).at_least(1).unique();
static USER_OPTIONS: Schema = closed(&[
    ("ignore_change_password_upon_first_use", BOOLEAN.or_null()),
    ("ignore_password_expiry", BOOLEAN.or_null()),
    ("ignore_lockout_failure_attempts", BOOLEAN.or_null()),
    ("lock_password", BOOLEAN.or_null()),
    ("ignore_user_inactivity", BOOLEAN.or_null()),
    ("multi_factor_auth_rules", array(&MFA_RULE).unique().or_null()),
    ("multi_factor_auth_enabled", BOOLEAN.or_null()),
]);
static FEDERATED_PROTOCOL: Schema = open(&[("protocol_id", TEXT), ("unique_id", TEXT)]).required(&["protocol_id", "unique_id"]);
static FEDERATED: Schema =
    open(&[("idp_id", TEXT), ("protocols", array(&object(&FEDERATED_PROTOCOL)).at_least(1))]).required(&["idp_id", "protocols"]);
static FEDERATION: Shape = object(&FEDERATED);
const USER: &[Field] = &[
    ("default_project_id", TEXT_OR_NULL),
    ("description", TEXT_OR_NULL),
    ("domain_id", ID),
    ("enabled", WORD),
    ("federated", array(&FEDERATION)),
    ("name", NAME),
    ("password", TEXT_OR_NULL),
    ("options", object(&USER_OPTIONS)),
];
const USER_WITH_DOMAIN_FIRST: &[Field] = &[
    ("domain_id", ID),
    ("default_project_id", TEXT_OR_NULL),
    ("description", TEXT_OR_NULL),
    ("enabled", WORD),
    ("federated", array(&FEDERATION)),
    ("name", NAME),
    ("password", TEXT_OR_NULL),
    ("options", object(&USER_OPTIONS)),
];
static USER_NEW: Schema = open(USER_WITH_DOMAIN_FIRST).required(&["name"]);
static USER_CHANGE: Schema = open(USER).not_empty();
/// `POST /v3/users`.
pub(crate) static USER_CREATE: Schema = closed(&[("user", object(&USER_NEW))]).required(&["user"]);
/// `PATCH /v3/users/{user_id}`.
pub(crate) static USER_UPDATE: Schema = closed(&[("user", object(&USER_CHANGE))]).required(&["user"]);
/// `GET /v3/users`.
pub(crate) static USER_INDEX_QUERY: Schema = open(&[
    ("domain_id", ID),
    ("enabled", WORD),
    ("idp_id", TEXT),
    ("name", NAME),
    ("password_expires_at", TEXT),
    ("protocol_id", TEXT),
    ("unique_id", TEXT),
    ("marker", TEXT),
    ("limit", PAGE_LENGTH),
    ("sort_key", TEXT),
    ("sort_dir", choice(&["asc", "desc"])),
]);
static PASSWORDS: Schema = closed(&[("original_password", TEXT), ("password", TEXT)]).required(&["original_password", "password"]);
/// `POST /v3/users/{user_id}/password`.
pub(crate) static USER_PASSWORD: Schema = open(&[("user", object(&PASSWORDS))]).only("user");

// Groups.

static GROUP_NEW: Schema = open(&[("domain_id", ID), ("description", TEXT_OR_NULL), ("name", NAME)]).required(&["name"]);
static GROUP_CHANGE: Schema = open(&[("description", TEXT_OR_NULL), ("name", NAME)]).not_empty();
/// `POST /v3/groups`.
pub(crate) static GROUP_CREATE: Schema = closed(&[("group", object(&GROUP_NEW))]).required(&["group"]);
/// `PATCH /v3/groups/{group_id}`.
pub(crate) static GROUP_UPDATE: Schema = closed(&[("group", object(&GROUP_CHANGE))]).required(&["group"]);
/// `GET /v3/groups`.
pub(crate) static GROUP_INDEX_QUERY: Schema = open(&[
    ("domain_id", ID),
    ("name", NAME),
    ("marker", TEXT),
    ("limit", PAGE_LENGTH),
    ("sort_key", TEXT),
    ("sort_dir", choice(&["asc", "desc"])),
]);

// Roles.

const ROLE: &[Field] = &[("name", NAME), ("description", TEXT_OR_NULL), ("domain_id", ID.or_null()), ("options", object(&IMMUTABLE))];
static ROLE_NEW: Schema = open(ROLE).required(&["name"]);
static ROLE_CHANGE: Schema = open(ROLE).not_empty();
/// `POST /v3/roles`.
pub(crate) static ROLE_CREATE: Schema = closed(&[("role", object(&ROLE_NEW))]).required(&["role"]);
/// `PATCH /v3/roles/{role_id}`.
pub(crate) static ROLE_UPDATE: Schema = closed(&[("role", object(&ROLE_CHANGE))]).required(&["role"]);
/// `GET /v3/roles`.
pub(crate) static ROLE_INDEX_QUERY: Schema = open(&[("name", NAME), ("domain_id", ID)]);
/// `GET /v3/role_assignments`.
pub(crate) static ROLE_ASSIGNMENT_INDEX_QUERY: Schema = open(&[
    ("effective", ANY),
    ("include_names", ANY),
    ("include_subtree", ANY),
    ("group.id", ID),
    ("role.id", ID),
    ("scope.system", ANY),
    ("scope.domain.id", ID),
    ("scope.project.id", ID),
    ("user.id", TEXT),
    ("scope.OS-INHERIT:inherited_to", ANY),
])
.bound(&[
    Bond::Needs("include_subtree", "scope.project.id"),
    Bond::AtMostOne(&["user.id", "group.id"]),
    Bond::Never(&["effective", "group"]),
]);

// The catalog.

const REGION: &[Field] = &[("description", SHORT), ("id", REGION_ID), ("parent_region_id", REGION_ID)];
static REGION_NEW: Schema = open(&[("description", SHORT), ("id", text(0, 255).or_null()), ("parent_region_id", REGION_ID)]);
static REGION_CHANGE: Schema = open(REGION).not_empty();
/// `POST /v3/regions` and `PUT /v3/regions/{region_id}`.
pub(crate) static REGION_CREATE: Schema = open(&[("region", object(&REGION_NEW))]).required(&["region"]);
/// `PATCH /v3/regions/{region_id}`.
pub(crate) static REGION_UPDATE: Schema = closed(&[("region", object(&REGION_CHANGE))]).required(&["region"]);
/// `GET /v3/regions`.
pub(crate) static REGION_INDEX_QUERY: Schema = closed(&[("parent_region_id", REGION_ID)]);

const SERVICE: &[Field] = &[("enabled", BOOLEAN), ("type", text(1, 255)), ("name", text(1, 255))];
static SERVICE_NEW: Schema = open(SERVICE).required(&["type"]);
static SERVICE_CHANGE: Schema = open(SERVICE).not_empty();
/// `POST /v3/services`.
pub(crate) static SERVICE_CREATE: Schema = open(&[("service", object(&SERVICE_NEW))]);
/// `PATCH /v3/services/{service_id}`.
pub(crate) static SERVICE_UPDATE: Schema = open(&[("service", object(&SERVICE_CHANGE))]).required(&["service"]);
/// `GET /v3/services`.
pub(crate) static SERVICE_INDEX_QUERY: Schema = open(&[]);

const ENDPOINT: &[Field] = &[
    ("enabled", BOOLEAN),
    ("interface", INTERFACE),
    ("region_id", TEXT_OR_NULL),
    ("region", TEXT_OR_NULL),
    ("service_id", TEXT),
    ("url", URL),
    ("name", TEXT),
    ("description", TEXT_OR_NULL),
];
static ENDPOINT_NEW: Schema = open(&[
    ("id", TEXT),
    ("enabled", BOOLEAN),
    ("interface", INTERFACE),
    ("region_id", TEXT_OR_NULL),
    ("region", TEXT_OR_NULL),
    ("service_id", TEXT),
    ("url", URL),
    ("name", TEXT),
    ("description", TEXT_OR_NULL),
])
.required(&["interface", "service_id", "url"]);
static ENDPOINT_CHANGE: Schema = open(ENDPOINT).not_empty();
/// `POST /v3/endpoints`.
pub(crate) static ENDPOINT_CREATE: Schema = closed(&[("endpoint", object(&ENDPOINT_NEW))]);
/// `PATCH /v3/endpoints/{endpoint_id}`.
pub(crate) static ENDPOINT_UPDATE: Schema = closed(&[("endpoint", object(&ENDPOINT_CHANGE))]).required(&["endpoint"]);
/// `GET /v3/endpoints`.
pub(crate) static ENDPOINT_INDEX_QUERY: Schema = open(&[("interface", INTERFACE), ("region_id", TEXT_OR_NULL), ("service_id", TEXT)]);

static ENDPOINT_FILTERS: Schema =
    open(&[("interface", INTERFACE), ("service_id", TEXT), ("region_id", TEXT_OR_NULL), ("enabled", BOOLEAN)]);
const ENDPOINT_GROUP: &[Field] = &[("description", TEXT_OR_NULL), ("filters", object(&ENDPOINT_FILTERS)), ("name", NAME)];
static ENDPOINT_GROUP_NEW: Schema = closed(ENDPOINT_GROUP).required(&["name", "filters"]);
static ENDPOINT_GROUP_CHANGE: Schema = closed(ENDPOINT_GROUP).not_empty();
/// `POST /v3/OS-EP-FILTER/endpoint_groups`.
pub(crate) static ENDPOINT_GROUP_CREATE: Schema = closed(&[("endpoint_group", object(&ENDPOINT_GROUP_NEW))]);
/// `PATCH /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}`.
pub(crate) static ENDPOINT_GROUP_UPDATE: Schema =
    closed(&[("endpoint_group", object(&ENDPOINT_GROUP_CHANGE))]).required(&["endpoint_group"]);
/// `GET /v3/OS-EP-FILTER/endpoint_groups`.
pub(crate) static ENDPOINT_GROUP_INDEX_QUERY: Schema = closed(&[("name", NAME)]);

const POLICY: &[Field] = &[("blob", TEXT), ("type", text(0, 255))];
static POLICY_NEW: Schema = open(POLICY).required(&["blob", "type"]);
static POLICY_CHANGE: Schema = open(POLICY).not_empty();
/// `POST /v3/policies`.
pub(crate) static POLICY_CREATE: Schema = open(&[("policy", object(&POLICY_NEW))]).only("policy");
/// `PATCH /v3/policies/{policy_id}`.
pub(crate) static POLICY_UPDATE: Schema = open(&[("policy", object(&POLICY_CHANGE))]).only("policy");

// Credentials and delegation.

static CREDENTIAL_NEW: Schema = open(&[("id", TEXT), ("blob", TEXT), ("project_id", TEXT_OR_NULL), ("type", TEXT), ("user_id", TEXT)])
    .required(&["blob", "type", "user_id"])
    .bound(&[Bond::If("type", "ec2", &["blob", "type", "user_id", "project_id"])]);
static CREDENTIAL_CHANGE: Schema = closed(&[("blob", TEXT)]).required(&["blob"]).unknown_first();
/// `POST /v3/credentials`.
pub(crate) static CREDENTIAL_CREATE: Schema = open(&[("credential", object(&CREDENTIAL_NEW))]).required(&["credential"]);
/// `PATCH /v3/credentials/{credential_id}`.
pub(crate) static CREDENTIAL_UPDATE: Schema = open(&[("credential", object(&CREDENTIAL_CHANGE))]).required(&["credential"]);
/// `GET /v3/credentials`.
pub(crate) static CREDENTIAL_INDEX_QUERY: Schema = open(&[("user_id", TEXT), ("type", TEXT)]);
/// `POST /v3/users/{user_id}/credentials/OS-EC2`. Keystone has no schema for it and looks for a project by what it is given.
pub(crate) static EC2_CREDENTIAL_CREATE: Schema = open(&[("tenant_id", TEXT)]);

static ACCESS_RULE: Schema =
    open(&[("id", ID), ("path", PATH), ("service", ID), ("method", choice(&["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]))]);
static APPLICATION_CREDENTIAL_NEW: Schema = closed(&[
    ("id", TEXT),
    ("secret", TEXT_OR_NULL),
    ("name", NAME),
    ("description", TEXT_OR_NULL),
    ("expires_at", TEXT_OR_NULL),
    ("project_id", TEXT),
    ("access_rules", array(&object(&ACCESS_RULE))),
    ("unrestricted", BOOLEAN.or_null()),
    ("system", TEXT_OR_NULL),
    ("roles", array(&object(&ROLE_REFERENCE))),
])
.required(&["name"])
.unknown_first();
/// `POST /v3/users/{user_id}/application_credentials`.
pub(crate) static APPLICATION_CREDENTIAL_CREATE: Schema =
    closed(&[("application_credential", object(&APPLICATION_CREDENTIAL_NEW))]).required(&["application_credential"]);
/// `GET /v3/users/{user_id}/application_credentials`.
pub(crate) static APPLICATION_CREDENTIAL_INDEX_QUERY: Schema = open(&[("name", TEXT)]);
/// `GET /v3/users/{user_id}/access_rules`.
pub(crate) static ACCESS_RULE_INDEX_QUERY: Schema = open(&[("service", TEXT), ("path", TEXT), ("method", TEXT)]);

static TRUST_NEW: Schema = open(&[
    ("trustor_user_id", TEXT),
    ("trustee_user_id", TEXT),
    ("impersonation", BOOLEAN),
    ("project_id", TEXT_OR_NULL),
    ("remaining_uses", integer(1, i64::MAX).or_null()),
    ("expires_at", TEXT_OR_NULL),
    ("allow_redelegation", BOOLEAN.or_null()),
    ("redelegation_count", integer(0, i64::MAX).or_null()),
    ("redelegated_trust_id", TEXT_OR_NULL),
    ("roles", array(&object(&ROLE_REFERENCE))),
])
.required(&["trustor_user_id", "trustee_user_id", "impersonation"]);
/// `POST /v3/OS-TRUST/trusts`.
pub(crate) static TRUST_CREATE: Schema = closed(&[("trust", object(&TRUST_NEW))]).unknown_first().required(&["trust"]);
/// `GET /v3/OS-TRUST/trusts`.
pub(crate) static TRUST_INDEX_QUERY: Schema = open(&[("trustor_user_id", TEXT), ("trustee_user_id", TEXT)]);

static CONSUMER_NEW: Schema = open(&[("description", TEXT_OR_NULL)]);
static CONSUMER_CHANGE: Schema = open(&[("description", TEXT_OR_NULL)]).not_empty();
/// `POST /v3/OS-OAUTH1/consumers`.
pub(crate) static CONSUMER_CREATE: Schema = open(&[("consumer", object(&CONSUMER_NEW))]).only("consumer");
/// `PATCH /v3/OS-OAUTH1/consumers/{consumer_id}`. That it has no `secret` is checked after it.
pub(crate) static CONSUMER_UPDATE: Schema = open(&[("consumer", object(&CONSUMER_CHANGE))]).only("consumer");
/// `GET /v3/OS-OAUTH1/consumers`.
pub(crate) static CONSUMER_INDEX_QUERY: Schema = open(&[]);

// Limits.

const REGISTERED_LIMIT: &[Field] =
    &[("service_id", UUID), ("region_id", REGION_ID), ("resource_name", NAME), ("default_limit", COUNT), ("description", SHORT)];
static REGISTERED_LIMIT_NEW: Schema = closed(REGISTERED_LIMIT).unknown_first().required(&["service_id", "resource_name", "default_limit"]);
static REGISTERED_LIMIT_CHANGE: Schema = closed(REGISTERED_LIMIT);
/// `POST /v3/registered_limits`.
pub(crate) static REGISTERED_LIMITS_CREATE: Schema =
    closed(&[("registered_limits", array(&object(&REGISTERED_LIMIT_NEW)).at_least(1))]).required(&["registered_limits"]);
/// `PATCH /v3/registered_limits/{registered_limit_id}`.
pub(crate) static REGISTERED_LIMIT_UPDATE: Schema =
    closed(&[("registered_limit", object(&REGISTERED_LIMIT_CHANGE))]).unknown_first().required(&["registered_limit"]);
/// `GET /v3/registered_limits`.
pub(crate) static REGISTERED_LIMIT_INDEX_QUERY: Schema = open(&[("service_id", UUID), ("region_id", REGION_ID), ("resource_name", NAME)]);

static LIMIT_NEW: Schema = closed(&[
    ("project_id", ID.or_null()),
    ("domain_id", ID.or_null()),
    ("resource_name", NAME),
    ("region_id", REGION_ID),
    ("service_id", UUID),
    ("resource_limit", COUNT),
    ("description", SHORT),
])
.required(&["service_id", "resource_name", "resource_limit"])
.bound(&[Bond::OneOf(&[
    &["service_id", "resource_name", "resource_limit", "domain_id"],
    &["service_id", "resource_name", "resource_limit", "project_id"],
])]);
static LIMIT_CHANGE: Schema = closed(&[("resource_limit", COUNT), ("description", SHORT)]);
/// `POST /v3/limits`.
pub(crate) static LIMITS_CREATE: Schema = closed(&[("limits", array(&object(&LIMIT_NEW)).at_least(1))]).required(&["limits"]);
/// `PATCH /v3/limits/{limit_id}`.
pub(crate) static LIMIT_UPDATE: Schema = closed(&[("limit", object(&LIMIT_CHANGE))]).unknown_first().required(&["limit"]);
/// `GET /v3/limits`.
pub(crate) static LIMIT_INDEX_QUERY: Schema =
    open(&[("service_id", UUID), ("region_id", REGION_ID), ("resource_name", NAME), ("project_id", ID), ("domain_id", ID)]);

// Federation.

/// What an identity provider is named by elsewhere.
const REMOTE_ID: Shape = text(0, 64);
const IDENTITY_PROVIDER: &[Field] = &[
    ("enabled", WORD),
    ("description", TEXT_OR_NULL),
    ("authorization_ttl", integer(0, i64::MAX).or_null()),
    ("remote_ids", array(&REMOTE_ID).unique().or_null()),
];
static IDENTITY_PROVIDER_NEW: Schema = closed(&[
    ("enabled", WORD),
    ("description", TEXT_OR_NULL),
    ("authorization_ttl", integer(0, i64::MAX).or_null()),
    ("remote_ids", array(&REMOTE_ID).unique().or_null()),
    ("domain_id", ID.or_null()),
]);
static IDENTITY_PROVIDER_CHANGE: Schema = closed(IDENTITY_PROVIDER).unknown_first().not_empty();
/// `PUT /v3/OS-FEDERATION/identity_providers/{idp_id}`.
pub(crate) static IDENTITY_PROVIDER_CREATE: Schema = closed(&[("identity_provider", object(&IDENTITY_PROVIDER_NEW))]);
/// `PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}`.
pub(crate) static IDENTITY_PROVIDER_UPDATE: Schema =
    open(&[("identity_provider", object(&IDENTITY_PROVIDER_CHANGE))]).required(&["identity_provider"]);
/// `GET /v3/OS-FEDERATION/identity_providers`.
pub(crate) static IDENTITY_PROVIDER_INDEX_QUERY: Schema = open(&[("id", TEXT), ("enabled", WORD)]);

static MAPPING_RULE: Schema = closed(&[("local", array(&object(&ANYTHING))), ("remote", array(&object(&ANYTHING)).at_least(1))])
    .unknown_first()
    .required(&["local", "remote"]);
static MAPPING_RULES: Schema =
    open(&[("rules", array(&object(&MAPPING_RULE)).at_least(1)), ("schema_version", TEXT.or_null())]).required(&["rules"]);
/// `PUT` and `PATCH /v3/OS-FEDERATION/mappings/{mapping_id}`: its form. What rules may say is checked where they are applied.
pub(crate) static MAPPING_CREATE: Schema = open(&[("mapping", object(&MAPPING_RULES))]).only("mapping");

const PROTOCOL_MAPPING: Shape = text(1, 64);
/// Who the tokens of a provider are for, in a protocol: our own, with `jwks_uri`.
const AUDIENCE: Shape = text(1, 255);
const AUDIENCES: Shape = array(&AUDIENCE).at_most(64).unique();
static PROTOCOL_NEW: Schema = closed(&[
    ("mapping_id", PROTOCOL_MAPPING),
    ("remote_id_attribute", REMOTE_ID.or_null()),
    ("jwks_uri", URL.or_null()),
    ("audiences", AUDIENCES),
])
.unknown_first()
.required(&["mapping_id"]);
static PROTOCOL_CHANGE: Schema =
    closed(&[("mapping_id", PROTOCOL_MAPPING), ("remote_id_attribute", REMOTE_ID), ("jwks_uri", URL.or_null()), ("audiences", AUDIENCES)])
        .unknown_first()
        .not_empty()
        .required(&["mapping_id"]);
/// `PUT /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}`.
pub(crate) static PROTOCOL_CREATE: Schema = closed(&[("protocol", object(&PROTOCOL_NEW))]).required(&["protocol"]);
/// `PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}`.
pub(crate) static PROTOCOL_UPDATE: Schema = closed(&[("protocol", object(&PROTOCOL_CHANGE))]).required(&["protocol"]);

const SERVICE_PROVIDER: &[Field] =
    &[("auth_url", URL), ("sp_url", URL), ("description", TEXT_OR_NULL), ("enabled", WORD), ("relay_state_prefix", TEXT_OR_NULL)];
static SERVICE_PROVIDER_NEW: Schema = closed(SERVICE_PROVIDER).required(&["auth_url", "sp_url"]);
static SERVICE_PROVIDER_CHANGE: Schema = closed(SERVICE_PROVIDER).unknown_first().not_empty();
/// `PUT /v3/OS-FEDERATION/service_providers/{service_provider_id}`.
pub(crate) static SERVICE_PROVIDER_CREATE: Schema =
    closed(&[("service_provider", object(&SERVICE_PROVIDER_NEW))]).required(&["service_provider"]);
/// `PATCH /v3/OS-FEDERATION/service_providers/{service_provider_id}`.
pub(crate) static SERVICE_PROVIDER_UPDATE: Schema =
    closed(&[("service_provider", object(&SERVICE_PROVIDER_CHANGE))]).required(&["service_provider"]);
/// `GET /v3/OS-FEDERATION/service_providers`.
pub(crate) static SERVICE_PROVIDER_INDEX_QUERY: Schema = open(&[("id", TEXT), ("enabled", WORD)]);

// Logging in.

static AUTH_USER: Schema = open(&[("id", TEXT), ("name", TEXT), ("password", TEXT), ("domain", object(&DOMAIN_REFERENCE))]);
static AUTH_PASSWORD: Schema = open(&[("user", object(&AUTH_USER))]);
static AUTH_TOKEN: Schema = open(&[("id", TEXT)]).required(&["id"]);
static AUTH_IDENTITY: Schema =
    open(&[("methods", array(&TEXT)), ("password", object(&AUTH_PASSWORD)), ("token", object(&AUTH_TOKEN))]).required(&["methods"]);
static AUTH_PROJECT: Schema = open(&[("name", TEXT), ("id", TEXT), ("domain", object(&DOMAIN_REFERENCE))]);
static AUTH_TRUST: Schema = open(&[("id", TEXT)]);
static AUTH_SYSTEM: Schema = open(&[("all", BOOLEAN)]);
static AUTH_SCOPE: Schema = open(&[
    ("project", object(&AUTH_PROJECT)),
    ("domain", object(&DOMAIN_REFERENCE)),
    ("OS-TRUST:trust", object(&AUTH_TRUST)),
    ("system", object(&AUTH_SYSTEM)),
]);
static AUTH: Schema =
    open(&[("identity", object(&AUTH_IDENTITY)), ("scope", shape(Kind::ObjectOrText(&AUTH_SCOPE)))]).required(&["identity"]);
/// `POST /v3/auth/tokens`. [`check_token_names`] is called after it.
pub(crate) static TOKEN_ISSUE: Schema = open(&[("auth", object(&AUTH))]).only("auth");

/// Checks what [`TOKEN_ISSUE`] cannot say: that whoever and whatever is referred to in `auth` has an id or a name.
///
/// # Errors
/// The first complaint (Source: `keystone/auth/schema.py`).
pub(crate) fn check_token_names(auth: &Map<String, Value>) -> Result<(), String> {
    let password = auth.get("identity").and_then(|identity| identity.get("password"));
    let scope = auth.get("scope");
    let places = [
        (password.and_then(|it| it.get("user")), "identity/password/user"),
        (password.and_then(|it| it.get("user")?.get("domain")), "identity/password/user/domain"),
        (scope.and_then(|it| it.get("project")), "scope/project"),
        (scope.and_then(|it| it.get("project")?.get("domain")), "scope/project/domain"),
        (scope.and_then(|it| it.get("domain")), "scope/domain"),
    ];
    for (object, path) in places {
        if object.is_some_and(|object| object.get("id").is_none() && object.get("name").is_none()) {
            return Err(format!("Invalid input for field {path}: id or name must be present."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn complaint(schema: &Schema, body: Value) -> String {
        schema.check_value(&body).unwrap_err()
    }

    #[test]
    fn complains_as_keystone_does() {
        // Source: keystone.api.validation and keystone.common.validation 30.0.0 with jsonschema 4.26, given the same bodies.
        assert_eq!(complaint(&USER_CREATE, json!({})), "'user' is a required property");
        assert_eq!(
            complaint(&USER_CREATE, json!({"user": {"name": "x"}, "b": 1, "a": 1})),
            "Additional properties are not allowed ('a', 'b' were unexpected)"
        );
        assert_eq!(
            complaint(&USER_CREATE, json!({"user": {"name": ""}})),
            "Invalid input for field/attribute name. Value: . '' should be non-empty"
        );
        assert_eq!(
            complaint(&DOMAIN_UPDATE, json!({"domain": {"options": {"immutable": "true"}}})),
            "Invalid input for field/attribute immutable. Value: true. 'true' is not of type 'boolean', 'null'"
        );
        assert_eq!(
            complaint(&PROJECT_CREATE, json!({"project": {"name": "x", "tags": ["a", "a"]}})),
            "Invalid input for field/attribute tags. Value: ['a', 'a']. ['a', 'a'] has non-unique elements"
        );
        assert_eq!(
            complaint(
                &TRUST_CREATE,
                json!({"trust": {"trustor_user_id": "a", "trustee_user_id": "b", "impersonation": true, "roles": [{}]}})
            ),
            "Invalid input for field/attribute 0. Value: {}. {} should be non-empty"
        );
        assert_eq!(
            complaint(&TOKEN_ISSUE, json!({"auth": {"identity": {"methods": "password"}}})),
            "Invalid input for field 'identity/methods': 'password' is not of type 'array'"
        );
        assert_eq!(complaint(&POLICY_CREATE, json!({})), "'blob' is a required property");
    }

    #[test]
    fn passwords_are_not_said_back() {
        let said = [
            complaint(&USER_CREATE, json!({"user": {"password": "hunter2"}})),
            complaint(&USER_CREATE, json!({"user": {"name": "x", "password": ["hunter2"]}})),
            complaint(&USER_PASSWORD, json!({"user": {"original_password": "x", "password": {"a": "hunter2"}}})),
            complaint(&TOKEN_ISSUE, json!({"auth": {"identity": {"methods": ["token"], "token": "hunter2"}}})),
            complaint(&CREDENTIAL_UPDATE, json!({"credential": {"blob": {"secret": "hunter2"}}})),
        ];
        assert!(said.iter().all(|said| !said.contains("hunter2")), "{said:?}");
        assert_eq!(
            complaint(&USER_PASSWORD, json!({"user": {"original_password": null, "password": "x"}})),
            "Invalid input for field 'original_password': None is not of type 'string'"
        );
    }

    #[test]
    fn whoever_logs_in_is_named() {
        let auth = json!({"identity": {"methods": ["password"], "password": {"user": {"name": "x", "domain": {}}}}, "scope": "unscoped"});
        assert_eq!(
            check_token_names(auth.as_object().unwrap()).unwrap_err(),
            "Invalid input for field identity/password/user/domain: id or name must be present."
        );
    }

    #[test]
    fn bonds_of_limits_and_assignments_hold() {
        let service = "0123456789abcdef0123456789abcdef";
        let limit = json!({"service_id": service, "resource_name": "x", "resource_limit": 1});
        assert!(complaint(&LIMITS_CREATE, json!({"limits": [limit]})).ends_with("is not valid under any of the given schemas"));
        assert_eq!(
            ROLE_ASSIGNMENT_INDEX_QUERY.check_query([("include_subtree", "")]).unwrap_err(),
            "'scope.project.id' is a dependency of 'include_subtree'"
        );
        assert!(ROLE_ASSIGNMENT_INDEX_QUERY.check_query([("user.id", "a"), ("group.id", "b")]).is_err());
        assert_eq!(DOMAIN_INDEX_QUERY.check_query([("enabled", "no"), ("name__contains", "")]), Ok(()));
    }
}
