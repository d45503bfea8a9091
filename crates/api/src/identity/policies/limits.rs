//! Limits.

use policy::{Rule, rule};

use super::{EVERY, SYSTEM_PROJECT};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("identity:get_registered_limit", "")
        .scopes(EVERY)
        .about("Show a registered limit")
        .guards(&[("GET", "/v3/registered_limits/{registered_limit_id}"), ("HEAD", "/v3/registered_limits/{registered_limit_id}")]),
    rule("identity:list_registered_limits", "")
        .scopes(EVERY)
        .about("List registered limits")
        .guards(&[("GET", "/v3/registered_limits"), ("HEAD", "/v3/registered_limits")]),
    rule("identity:create_registered_limits", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create registered limits")
        .guards(&[("POST", "/v3/registered_limits")]),
    rule("identity:update_registered_limit", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a registered limit")
        .guards(&[("PATCH", "/v3/registered_limits/{registered_limit_id}")]),
    rule("identity:delete_registered_limit", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a registered limit")
        .guards(&[("DELETE", "/v3/registered_limits/{registered_limit_id}")]),
    rule("identity:get_limit_model", "")
        .scopes(EVERY)
        .about("Show how limits are enforced")
        .guards(&[("GET", "/v3/limits/model"), ("HEAD", "/v3/limits/model")]),
    rule(
        "identity:get_limit",
        "rule:admin_required or (role:reader and system_scope:all) or (domain_id:%(target.limit.domain.id)s or \
         domain_id:%(target.limit.project.domain_id)s) or (project_id:%(target.limit.project_id)s and not \
         None:%(target.limit.project_id)s)",
    )
    .scopes(EVERY)
    .about("Show a limit")
    .guards(&[("GET", "/v3/limits/{limit_id}"), ("HEAD", "/v3/limits/{limit_id}")]),
    rule("identity:list_limits", "").scopes(EVERY).about("List limits").guards(&[("GET", "/v3/limits"), ("HEAD", "/v3/limits")]),
    rule("identity:create_limits", "rule:admin_required").scopes(SYSTEM_PROJECT).about("Create limits").guards(&[("POST", "/v3/limits")]),
    rule("identity:update_limit", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a limit")
        .guards(&[("PATCH", "/v3/limits/{limit_id}")]),
    rule("identity:delete_limit", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a limit")
        .guards(&[("DELETE", "/v3/limits/{limit_id}")]),
];
