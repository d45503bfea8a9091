//! Consumers of OAuth 1.

use policy::{Rule, rule};

use super::SYSTEM_PROJECT;

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("identity:get_consumer", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show an OAuth 1 consumer")
        .guards(&[("GET", "/v3/OS-OAUTH1/consumers/{consumer_id}")]),
    rule("identity:list_consumers", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List OAuth 1 consumers")
        .guards(&[("GET", "/v3/OS-OAUTH1/consumers")]),
    rule("identity:create_consumer", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create an OAuth 1 consumer")
        .guards(&[("POST", "/v3/OS-OAUTH1/consumers")]),
    rule("identity:update_consumer", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change an OAuth 1 consumer")
        .guards(&[("PATCH", "/v3/OS-OAUTH1/consumers/{consumer_id}")]),
    rule("identity:delete_consumer", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an OAuth 1 consumer")
        .guards(&[("DELETE", "/v3/OS-OAUTH1/consumers/{consumer_id}")]),
];
