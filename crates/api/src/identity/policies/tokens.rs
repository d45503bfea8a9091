//! Base rules, tokens, and what a caller asks about itself.

use policy::{Rule, rule};

use super::{EVERY, SYSTEM_PROJECT};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("admin_required", "role:admin or is_admin:1").about("Base rule: an administrator"),
    rule("service_role", "role:service").about("Base rule: a service"),
    rule("service_or_admin", "rule:admin_required or rule:service_role").about("Base rule: a service or an administrator"),
    rule("owner", "user_id:%(user_id)s").about("Base rule: the user the target belongs to"),
    rule("admin_or_owner", "rule:admin_required or rule:owner").about("Base rule: an administrator, or the user the target belongs to"),
    rule("token_subject", "user_id:%(target.token.user_id)s").about("Base rule: the user a token was issued to"),
    rule("admin_or_token_subject", "rule:admin_required or rule:token_subject")
        .about("Base rule: an administrator, or the user a token was issued to"),
    rule("service_admin_or_token_subject", "rule:service_or_admin or rule:token_subject")
        .about("Base rule: a service, an administrator, or the user a token was issued to"),
    rule("domain_managed_target_role", "'manager':%(target.role.name)s or 'member':%(target.role.name)s or 'reader':%(target.role.name)s")
        .about("Base rule: the role is one that managers of a domain may hand out"),
    rule("identity:get_auth_catalog", "")
        .about("Show the catalog of the token in use")
        .guards(&[("GET", "/v3/auth/catalog"), ("HEAD", "/v3/auth/catalog")]),
    rule("identity:get_auth_projects", "")
        .about("List the projects the caller may scope a token to")
        .guards(&[("GET", "/v3/auth/projects"), ("HEAD", "/v3/auth/projects")]),
    rule("identity:get_auth_domains", "")
        .about("List the domains the caller may scope a token to")
        .guards(&[("GET", "/v3/auth/domains"), ("HEAD", "/v3/auth/domains")]),
    rule("identity:get_auth_system", "")
        .about("List the systems the caller may scope a token to")
        .guards(&[("GET", "/v3/auth/system"), ("HEAD", "/v3/auth/system")]),
    rule("identity:check_token", "rule:admin_required or (role:reader and system_scope:all) or rule:token_subject")
        .scopes(EVERY)
        .about("Check that a token is valid")
        .guards(&[("HEAD", "/v3/auth/tokens")]),
    rule("identity:validate_token", "rule:admin_required or (role:reader and system_scope:all) or rule:service_role or rule:token_subject")
        .scopes(EVERY)
        .about("Show what a token stands for")
        .guards(&[("GET", "/v3/auth/tokens")]),
    rule("identity:revoke_token", "rule:admin_required or rule:token_subject")
        .scopes(EVERY)
        .about("Revoke a token")
        .guards(&[("DELETE", "/v3/auth/tokens")]),
    rule("identity:list_revoke_events", "rule:service_or_admin")
        .scopes(SYSTEM_PROJECT)
        .about("List what revoked tokens")
        .guards(&[("GET", "/v3/OS-REVOKE/events")]),
    rule("identity:ec2tokens_validate", "rule:service_or_admin")
        .scopes(EVERY)
        .about("Exchange a signed EC2 request for a token")
        .guards(&[("POST", "/v3/ec2tokens")]),
    rule("identity:s3tokens_validate", "rule:service_or_admin")
        .scopes(EVERY)
        .about("Exchange a signed S3 request for a token")
        .guards(&[("POST", "/v3/s3tokens")]),
];
