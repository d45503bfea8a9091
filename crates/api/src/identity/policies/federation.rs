//! Identity providers, mappings, protocols and service providers.

use policy::{Rule, rule};

use super::SYSTEM_PROJECT;

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("identity:create_identity_provider", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create an identity provider")
        .guards(&[("PUT", "/v3/OS-FEDERATION/identity_providers/{idp_id}")]),
    rule("identity:list_identity_providers", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List identity providers")
        .guards(&[("GET", "/v3/OS-FEDERATION/identity_providers"), ("HEAD", "/v3/OS-FEDERATION/identity_providers")]),
    rule("identity:get_identity_provider", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show an identity provider")
        .guards(&[("GET", "/v3/OS-FEDERATION/identity_providers/{idp_id}"), ("HEAD", "/v3/OS-FEDERATION/identity_providers/{idp_id}")]),
    rule("identity:update_identity_provider", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change an identity provider")
        .guards(&[("PATCH", "/v3/OS-FEDERATION/identity_providers/{idp_id}")]),
    rule("identity:delete_identity_provider", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an identity provider")
        .guards(&[("DELETE", "/v3/OS-FEDERATION/identity_providers/{idp_id}")]),
    rule("identity:create_mapping", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a mapping")
        .guards(&[("PUT", "/v3/OS-FEDERATION/mappings/{mapping_id}")]),
    rule("identity:get_mapping", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show a mapping")
        .guards(&[("GET", "/v3/OS-FEDERATION/mappings/{mapping_id}"), ("HEAD", "/v3/OS-FEDERATION/mappings/{mapping_id}")]),
    rule("identity:list_mappings", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List mappings")
        .guards(&[("GET", "/v3/OS-FEDERATION/mappings"), ("HEAD", "/v3/OS-FEDERATION/mappings")]),
    rule("identity:delete_mapping", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a mapping")
        .guards(&[("DELETE", "/v3/OS-FEDERATION/mappings/{mapping_id}")]),
    rule("identity:update_mapping", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a mapping")
        .guards(&[("PATCH", "/v3/OS-FEDERATION/mappings/{mapping_id}")]),
    rule("identity:create_protocol", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a protocol")
        .guards(&[("PUT", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}")]),
    rule("identity:update_protocol", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a protocol")
        .guards(&[("PATCH", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}")]),
    rule("identity:get_protocol", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show a protocol")
        .guards(&[("GET", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}")]),
    rule("identity:list_protocols", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List protocols")
        .guards(&[("GET", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols")]),
    rule("identity:delete_protocol", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a protocol")
        .guards(&[("DELETE", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}")]),
    rule("identity:create_service_provider", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a service provider")
        .guards(&[("PUT", "/v3/OS-FEDERATION/service_providers/{service_provider_id}")]),
    rule("identity:list_service_providers", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List service providers")
        .guards(&[("GET", "/v3/OS-FEDERATION/service_providers"), ("HEAD", "/v3/OS-FEDERATION/service_providers")]),
    rule("identity:get_service_provider", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show a service provider")
        .guards(&[
            ("GET", "/v3/OS-FEDERATION/service_providers/{service_provider_id}"),
            ("HEAD", "/v3/OS-FEDERATION/service_providers/{service_provider_id}"),
        ]),
    rule("identity:update_service_provider", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a service provider")
        .guards(&[("PATCH", "/v3/OS-FEDERATION/service_providers/{service_provider_id}")]),
    rule("identity:delete_service_provider", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a service provider")
        .guards(&[("DELETE", "/v3/OS-FEDERATION/service_providers/{service_provider_id}")]),
];
