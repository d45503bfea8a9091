//! Users, groups, and the credentials and trusts they own.

use policy::{Rule, rule};

use super::{EVERY, PROJECT, SYSTEM_PROJECT};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule(
        "identity:get_user",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and \
         token.domain.id:%(target.user.domain_id)s) or user_id:%(target.user.id)s",
    )
    .scopes(EVERY)
    .about("Show a user")
    .guards(&[("GET", "/v3/users/{user_id}"), ("HEAD", "/v3/users/{user_id}")]),
    rule(
        "identity:list_users",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.domain_id)s)",
    )
    .scopes(EVERY)
    .about("List users")
    .guards(&[("GET", "/v3/users"), ("HEAD", "/v3/users")]),
    rule("identity:list_projects_for_user", "")
        .about("List the projects the caller may scope a token to (older name)")
        .guards(&[("GET", "/v3/auth/projects")]),
    rule("identity:list_domains_for_user", "")
        .about("List the domains the caller may scope a token to (older name)")
        .guards(&[("GET", "/v3/auth/domains")]),
    rule("identity:create_user", "(rule:admin_required) or (role:manager and token.domain.id:%(target.user.domain_id)s)")
        .scopes(EVERY)
        .about("Create a user")
        .guards(&[("POST", "/v3/users")]),
    rule("identity:update_user", "(rule:admin_required) or (role:manager and token.domain.id:%(target.user.domain_id)s)")
        .scopes(EVERY)
        .about("Change a user")
        .guards(&[("PATCH", "/v3/users/{user_id}")]),
    rule("identity:delete_user", "(rule:admin_required) or (role:manager and token.domain.id:%(target.user.domain_id)s)")
        .scopes(EVERY)
        .about("Delete a user")
        .guards(&[("DELETE", "/v3/users/{user_id}")]),
    rule("identity:revoke_tokens_for_user", "rule:admin_or_owner")
        .scopes(EVERY)
        .about("Revoke every token of a user")
        .guards(&[("DELETE", "/v3/users/{user_id}/tokens")]),
    rule(
        "identity:get_group",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.group.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Show a group")
    .guards(&[("GET", "/v3/groups/{group_id}"), ("HEAD", "/v3/groups/{group_id}")]),
    rule(
        "identity:list_groups",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.group.domain_id)s)",
    )
    .scopes(EVERY)
    .about("List groups")
    .guards(&[("GET", "/v3/groups"), ("HEAD", "/v3/groups")]),
    rule(
        "identity:list_groups_for_user",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.user.domain_id)s) \
         or user_id:%(user_id)s",
    )
    .scopes(EVERY)
    .about("List the groups a user is in")
    .guards(&[("GET", "/v3/users/{user_id}/groups"), ("HEAD", "/v3/users/{user_id}/groups")]),
    rule("identity:create_group", "(rule:admin_required) or (role:manager and domain_id:%(target.group.domain_id)s)")
        .scopes(EVERY)
        .about("Create a group")
        .guards(&[("POST", "/v3/groups")]),
    rule("identity:update_group", "(rule:admin_required) or (role:manager and domain_id:%(target.group.domain_id)s)")
        .scopes(EVERY)
        .about("Change a group")
        .guards(&[("PATCH", "/v3/groups/{group_id}")]),
    rule("identity:delete_group", "(rule:admin_required) or (role:manager and domain_id:%(target.group.domain_id)s)")
        .scopes(EVERY)
        .about("Delete a group")
        .guards(&[("DELETE", "/v3/groups/{group_id}")]),
    rule(
        "identity:list_users_in_group",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.group.domain_id)s)",
    )
    .scopes(EVERY)
    .about("List the users of a group")
    .guards(&[("GET", "/v3/groups/{group_id}/users"), ("HEAD", "/v3/groups/{group_id}/users")]),
    rule(
        "identity:remove_user_from_group",
        "(rule:admin_required) or (role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Take a user out of a group")
    .guards(&[("DELETE", "/v3/groups/{group_id}/users/{user_id}")]),
    rule(
        "identity:check_user_in_group",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.group.domain_id)s \
         and domain_id:%(target.user.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Check that a user is in a group")
    .guards(&[("HEAD", "/v3/groups/{group_id}/users/{user_id}"), ("GET", "/v3/groups/{group_id}/users/{user_id}")]),
    rule(
        "identity:add_user_to_group",
        "(rule:admin_required) or (role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Put a user into a group")
    .guards(&[("PUT", "/v3/groups/{group_id}/users/{user_id}")]),
    rule("identity:get_credential", "(rule:admin_required) or (role:reader and system_scope:all) or user_id:%(target.credential.user_id)s")
        .scopes(EVERY)
        .about("Show a credential")
        .guards(&[("GET", "/v3/credentials/{credential_id}")]),
    rule(
        "identity:list_credentials",
        "(rule:admin_required) or (role:reader and system_scope:all) or user_id:%(target.credential.user_id)s",
    )
    .scopes(EVERY)
    .about("List credentials")
    .guards(&[("GET", "/v3/credentials")]),
    rule("identity:create_credential", "(rule:admin_required) or user_id:%(target.credential.user_id)s")
        .scopes(EVERY)
        .about("Create a credential")
        .guards(&[("POST", "/v3/credentials")]),
    rule("identity:update_credential", "(rule:admin_required) or user_id:%(target.credential.user_id)s")
        .scopes(EVERY)
        .about("Change a credential")
        .guards(&[("PATCH", "/v3/credentials/{credential_id}")]),
    rule("identity:delete_credential", "(rule:admin_required) or user_id:%(target.credential.user_id)s")
        .scopes(EVERY)
        .about("Delete a credential")
        .guards(&[("DELETE", "/v3/credentials/{credential_id}")]),
    rule(
        "identity:ec2_get_credential",
        "(rule:admin_required) or (role:reader and system_scope:all) or user_id:%(target.credential.user_id)s",
    )
    .scopes(SYSTEM_PROJECT)
    .about("Show an EC2 credential")
    .guards(&[("GET", "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}")]),
    rule("identity:ec2_list_credentials", "(rule:admin_required) or (role:reader and system_scope:all) or rule:owner")
        .scopes(SYSTEM_PROJECT)
        .about("List EC2 credentials")
        .guards(&[("GET", "/v3/users/{user_id}/credentials/OS-EC2")]),
    rule("identity:ec2_create_credential", "(rule:admin_required) or (role:member and user_id:%(target.credential.user_id)s)")
        .scopes(SYSTEM_PROJECT)
        .about("Create an EC2 credential")
        .guards(&[("POST", "/v3/users/{user_id}/credentials/OS-EC2")]),
    rule("identity:ec2_delete_credential", "(rule:admin_required) or (role:member and user_id:%(target.credential.user_id)s)")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an EC2 credential")
        .guards(&[("DELETE", "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}")]),
    rule("identity:get_application_credential", "(rule:admin_required) or (role:reader and system_scope:all) or rule:owner")
        .scopes(SYSTEM_PROJECT)
        .about("Show an application credential")
        .guards(&[
            ("GET", "/v3/users/{user_id}/application_credentials/{application_credential_id}"),
            ("HEAD", "/v3/users/{user_id}/application_credentials/{application_credential_id}"),
        ]),
    rule("identity:list_application_credentials", "(rule:admin_required) or (role:reader and system_scope:all) or rule:owner")
        .scopes(SYSTEM_PROJECT)
        .about("List application credentials")
        .guards(&[("GET", "/v3/users/{user_id}/application_credentials"), ("HEAD", "/v3/users/{user_id}/application_credentials")]),
    rule("identity:create_application_credential", "user_id:%(user_id)s")
        .scopes(PROJECT)
        .about("Create an application credential")
        .guards(&[("POST", "/v3/users/{user_id}/application_credentials")]),
    rule("identity:delete_application_credential", "rule:admin_or_owner")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an application credential")
        .guards(&[("DELETE", "/v3/users/{user_id}/application_credentials/{application_credential_id}")]),
    rule("identity:get_access_rule", "(role:reader and system_scope:all) or user_id:%(target.user.id)s")
        .scopes(SYSTEM_PROJECT)
        .about("Show an access rule")
        .guards(&[
            ("GET", "/v3/users/{user_id}/access_rules/{access_rule_id}"),
            ("HEAD", "/v3/users/{user_id}/access_rules/{access_rule_id}"),
        ]),
    rule("identity:list_access_rules", "(role:reader and system_scope:all) or user_id:%(target.user.id)s")
        .scopes(SYSTEM_PROJECT)
        .about("List access rules")
        .guards(&[("GET", "/v3/users/{user_id}/access_rules"), ("HEAD", "/v3/users/{user_id}/access_rules")]),
    rule("identity:delete_access_rule", "(role:admin and system_scope:all) or user_id:%(target.user.id)s")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an access rule")
        .guards(&[("DELETE", "/v3/users/{user_id}/access_rules/{access_rule_id}")]),
    rule("identity:create_trust", "user_id:%(target.trust.trustor_user_id)s")
        .scopes(PROJECT)
        .about("Create a trust")
        .guards(&[("POST", "/v3/OS-TRUST/trusts")]),
    rule("identity:list_trusts", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List trusts")
        .guards(&[("GET", "/v3/OS-TRUST/trusts"), ("HEAD", "/v3/OS-TRUST/trusts")]),
    rule(
        "identity:list_trusts_for_trustor",
        "(rule:admin_required) or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s)",
    )
    .scopes(SYSTEM_PROJECT)
    .about("List the trusts a user gave")
    .guards(&[
        ("GET", "/v3/OS-TRUST/trusts?trustor_user_id={trustor_user_id}"),
        ("HEAD", "/v3/OS-TRUST/trusts?trustor_user_id={trustor_user_id}"),
    ]),
    rule(
        "identity:list_trusts_for_trustee",
        "(rule:admin_required) or (role:reader and system_scope:all or user_id:%(target.trust.trustee_user_id)s)",
    )
    .scopes(SYSTEM_PROJECT)
    .about("List the trusts given to a user")
    .guards(&[
        ("GET", "/v3/OS-TRUST/trusts?trustee_user_id={trustee_user_id}"),
        ("HEAD", "/v3/OS-TRUST/trusts?trustee_user_id={trustee_user_id}"),
    ]),
    rule(
        "identity:list_roles_for_trust",
        "(rule:admin_required) or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s or \
         user_id:%(target.trust.trustee_user_id)s)",
    )
    .scopes(SYSTEM_PROJECT)
    .about("List the roles a trust hands on")
    .guards(&[("GET", "/v3/OS-TRUST/trusts/{trust_id}/roles"), ("HEAD", "/v3/OS-TRUST/trusts/{trust_id}/roles")]),
    rule(
        "identity:get_role_for_trust",
        "(rule:admin_required) or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s or \
         user_id:%(target.trust.trustee_user_id)s)",
    )
    .scopes(SYSTEM_PROJECT)
    .about("Check that a trust hands on a role")
    .guards(&[("GET", "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}"), ("HEAD", "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}")]),
    rule("identity:delete_trust", "rule:admin_required or user_id:%(target.trust.trustor_user_id)s")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a trust")
        .guards(&[("DELETE", "/v3/OS-TRUST/trusts/{trust_id}")]),
    rule(
        "identity:get_trust",
        "(rule:admin_required) or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s or \
         user_id:%(target.trust.trustee_user_id)s)",
    )
    .scopes(SYSTEM_PROJECT)
    .about("Show a trust")
    .guards(&[("GET", "/v3/OS-TRUST/trusts/{trust_id}"), ("HEAD", "/v3/OS-TRUST/trusts/{trust_id}")]),
];
