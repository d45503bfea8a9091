//! The declared default policies of the compute service, those of Nova (Source: `nova/policies`), for what is offered here.

use model::Id;
use model::identity::Project;
use policy::{Rule, Scope, Target, rule};
use serde_json::json;

/// Tokens of projects only.
const PROJECT: &[Scope] = &[Scope::Project];

const ADMIN: &str = "rule:compute:context_is_admin";
const READER: &str = "rule:project_reader_or_admin";
const OWN_KEYS: &str = "(rule:compute:context_is_admin) or user_id:%(user_id)s";

const fn on(rule: Rule, operations: &'static [(&'static str, &'static str)]) -> Rule {
    rule.scopes(PROJECT).guards(operations)
}

/// The rules.
pub(crate) static RULES: &[Rule] = &[
    rule("compute:context_is_admin", "role:admin").about("Base rule: an administrator"),
    rule("project_reader_api", "role:reader and project_id:%(project_id)s").about("Base rule: a reader of the project"),
    rule("project_reader_or_admin", "rule:project_reader_api or rule:compute:context_is_admin")
        .about("Base rule: a reader of the project, or an administrator"),
    on(rule("os_compute_api:os-flavor-manage:create", ADMIN), &[("POST", "/v2.1/flavors")]).about("Create a flavor"),
    on(rule("os_compute_api:os-flavor-manage:update", ADMIN), &[("PUT", "/v2.1/flavors/{id}")]).about("Describe a flavor"),
    on(rule("os_compute_api:os-flavor-manage:delete", ADMIN), &[("DELETE", "/v2.1/flavors/{id}")]).about("Delete a flavor"),
    on(
        rule("os_compute_api:os-flavor-extra-specs:index", READER),
        &[
            ("GET", "/v2.1/flavors/{id}/os-extra_specs"),
            ("GET", "/v2.1/flavors"),
            ("GET", "/v2.1/flavors/detail"),
            ("GET", "/v2.1/flavors/{id}"),
        ],
    )
    .about("See the extra specs of a flavor"),
    on(rule("os_compute_api:os-flavor-extra-specs:show", READER), &[("GET", "/v2.1/flavors/{id}/os-extra_specs/{key}")])
        .about("See one extra spec of a flavor"),
    on(rule("os_compute_api:os-flavor-extra-specs:create", ADMIN), &[("POST", "/v2.1/flavors/{id}/os-extra_specs")])
        .about("Add extra specs to a flavor"),
    on(rule("os_compute_api:os-flavor-extra-specs:update", ADMIN), &[("PUT", "/v2.1/flavors/{id}/os-extra_specs/{key}")])
        .about("Change an extra spec of a flavor"),
    on(rule("os_compute_api:os-flavor-extra-specs:delete", ADMIN), &[("DELETE", "/v2.1/flavors/{id}/os-extra_specs/{key}")])
        .about("Remove an extra spec of a flavor"),
    on(rule("os_compute_api:os-keypairs:index", OWN_KEYS), &[("GET", "/v2.1/os-keypairs")]).about("List the key pairs of a user"),
    on(rule("os_compute_api:os-keypairs:create", OWN_KEYS), &[("POST", "/v2.1/os-keypairs")]).about("Create a key pair of a user"),
    on(rule("os_compute_api:os-keypairs:show", OWN_KEYS), &[("GET", "/v2.1/os-keypairs/{name}")]).about("See a key pair of a user"),
    on(rule("os_compute_api:os-keypairs:delete", OWN_KEYS), &[("DELETE", "/v2.1/os-keypairs/{name}")]).about("Delete a key pair of a user"),
];

/// What rules see where nothing but the caller's project is concerned: flavors belong to no project.
pub(super) fn of_project(project: Option<&Id<Project>>) -> Target {
    project.map_or_else(|| json!({}), |project| json!({ "project_id": project }))
}

/// What rules see of the key pairs of that user.
pub(super) fn of_user(user: &str) -> Target {
    json!({ "user_id": user })
}
