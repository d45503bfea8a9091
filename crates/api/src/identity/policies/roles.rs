//! Roles, what they imply, and who has them.

use policy::{Rule, rule};

use super::{EVERY, SYSTEM_PROJECT};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule(
        "identity:get_role",
        "(rule:admin_required or (role:reader and system_scope:all)) or (role:manager and rule:domain_managed_target_role)",
    )
    .scopes(EVERY)
    .about("Show a role")
    .guards(&[("GET", "/v3/roles/{role_id}"), ("HEAD", "/v3/roles/{role_id}")]),
    rule("identity:list_roles", "(rule:admin_required or (role:reader and system_scope:all)) or (role:manager and not domain_id:None)")
        .scopes(EVERY)
        .about("List roles")
        .guards(&[("GET", "/v3/roles"), ("HEAD", "/v3/roles")]),
    rule("identity:create_role", "rule:admin_required").scopes(SYSTEM_PROJECT).about("Create a role").guards(&[("POST", "/v3/roles")]),
    rule("identity:update_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a role")
        .guards(&[("PATCH", "/v3/roles/{role_id}")]),
    rule("identity:delete_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a role")
        .guards(&[("DELETE", "/v3/roles/{role_id}")]),
    rule("identity:get_domain_role", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show a role of a domain")
        .guards(&[("GET", "/v3/roles/{role_id}"), ("HEAD", "/v3/roles/{role_id}")]),
    rule("identity:list_domain_roles", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List roles of a domain")
        .guards(&[("GET", "/v3/roles?domain_id={domain_id}"), ("HEAD", "/v3/roles?domain_id={domain_id}")]),
    rule("identity:create_domain_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a role of a domain")
        .guards(&[("POST", "/v3/roles")]),
    rule("identity:update_domain_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a role of a domain")
        .guards(&[("PATCH", "/v3/roles/{role_id}")]),
    rule("identity:delete_domain_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a role of a domain")
        .guards(&[("DELETE", "/v3/roles/{role_id}")]),
    rule("identity:get_implied_role", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show that one role implies another")
        .guards(&[("GET", "/v3/roles/{prior_role_id}/implies/{implied_role_id}")]),
    rule("identity:list_implied_roles", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the roles a role implies")
        .guards(&[("GET", "/v3/roles/{prior_role_id}/implies"), ("HEAD", "/v3/roles/{prior_role_id}/implies")]),
    rule("identity:create_implied_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Let one role imply another")
        .guards(&[("PUT", "/v3/roles/{prior_role_id}/implies/{implied_role_id}")]),
    rule("identity:delete_implied_role", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Stop one role implying another")
        .guards(&[("DELETE", "/v3/roles/{prior_role_id}/implies/{implied_role_id}")]),
    rule("identity:list_role_inference_rules", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List which roles imply which")
        .guards(&[("GET", "/v3/role_inferences"), ("HEAD", "/v3/role_inferences")]),
    rule("identity:check_implied_role", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that one role implies another")
        .guards(&[("HEAD", "/v3/roles/{prior_role_id}/implies/{implied_role_id}")]),
    rule(
        "identity:check_grant",
        "(rule:admin_required) or ((role:reader and system_scope:all) or ((role:reader and domain_id:%(target.user.domain_id)s \
         and domain_id:%(target.project.domain_id)s) or (role:reader and domain_id:%(target.user.domain_id)s and \
         domain_id:%(target.domain.id)s) or (role:reader and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.project.domain_id)s) or (role:reader and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.domain.id)s)) and (domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s))",
    )
    .scopes(EVERY)
    .about("Check that a user or group has a role on a project or domain")
    .guards(&[
        ("HEAD", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}"),
        ("GET", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}"),
        ("HEAD", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}"),
        ("GET", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}"),
        ("HEAD", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}"),
        ("GET", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}"),
        ("HEAD", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}"),
        ("GET", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}"),
        ("HEAD", "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("GET", "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("HEAD", "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
        ("GET", "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
        ("HEAD", "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("GET", "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("HEAD", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
        ("GET", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
    ]),
    rule(
        "identity:list_grants",
        "(rule:admin_required) or ((role:reader and system_scope:all) or (role:reader and domain_id:%(target.user.domain_id)s \
         and domain_id:%(target.project.domain_id)s) or (role:reader and domain_id:%(target.user.domain_id)s and \
         domain_id:%(target.domain.id)s) or (role:reader and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.project.domain_id)s) or (role:reader and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.domain.id)s))",
    )
    .scopes(EVERY)
    .about("List the roles a user or group has on a project or domain")
    .guards(&[
        ("GET", "/v3/projects/{project_id}/users/{user_id}/roles"),
        ("HEAD", "/v3/projects/{project_id}/users/{user_id}/roles"),
        ("GET", "/v3/projects/{project_id}/groups/{group_id}/roles"),
        ("HEAD", "/v3/projects/{project_id}/groups/{group_id}/roles"),
        ("GET", "/v3/domains/{domain_id}/users/{user_id}/roles"),
        ("HEAD", "/v3/domains/{domain_id}/users/{user_id}/roles"),
        ("GET", "/v3/domains/{domain_id}/groups/{group_id}/roles"),
        ("HEAD", "/v3/domains/{domain_id}/groups/{group_id}/roles"),
        ("GET", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects"),
        ("GET", "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects"),
    ]),
    rule(
        "identity:create_grant",
        "(rule:admin_required) or ((role:admin and domain_id:%(target.user.domain_id)s and \
         domain_id:%(target.project.domain_id)s) or (role:admin and domain_id:%(target.user.domain_id)s and \
         domain_id:%(target.domain.id)s) or (role:admin and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.project.domain_id)s) or (role:admin and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.domain.id)s)) and (domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s) or \
         ((role:manager and domain_id:%(target.user.domain_id)s and domain_id:%(target.project.domain_id)s) or (role:manager \
         and domain_id:%(target.user.domain_id)s and domain_id:%(target.domain.id)s) or (role:manager and \
         domain_id:%(target.group.domain_id)s and domain_id:%(target.project.domain_id)s) or (role:manager and \
         domain_id:%(target.group.domain_id)s and domain_id:%(target.domain.id)s)) and rule:domain_managed_target_role",
    )
    .scopes(EVERY)
    .about("Give a user or group a role on a project or domain")
    .guards(&[
        ("PUT", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}"),
        ("PUT", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}"),
        ("PUT", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}"),
        ("PUT", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}"),
        ("PUT", "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("PUT", "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
        ("PUT", "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("PUT", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
    ]),
    rule(
        "identity:revoke_grant",
        "(rule:admin_required) or ((role:admin and domain_id:%(target.user.domain_id)s and \
         domain_id:%(target.project.domain_id)s) or (role:admin and domain_id:%(target.user.domain_id)s and \
         domain_id:%(target.domain.id)s) or (role:admin and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.project.domain_id)s) or (role:admin and domain_id:%(target.group.domain_id)s and \
         domain_id:%(target.domain.id)s)) and (domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s) or \
         ((role:manager and domain_id:%(target.user.domain_id)s and domain_id:%(target.project.domain_id)s) or (role:manager \
         and domain_id:%(target.user.domain_id)s and domain_id:%(target.domain.id)s) or (role:manager and \
         domain_id:%(target.group.domain_id)s and domain_id:%(target.project.domain_id)s) or (role:manager and \
         domain_id:%(target.group.domain_id)s and domain_id:%(target.domain.id)s)) and rule:domain_managed_target_role",
    )
    .scopes(EVERY)
    .about("Take a role on a project or domain from a user or group")
    .guards(&[
        ("DELETE", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}"),
        ("DELETE", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}"),
        ("DELETE", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}"),
        ("DELETE", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}"),
        ("DELETE", "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("DELETE", "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
        ("DELETE", "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"),
        ("DELETE", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects"),
    ]),
    rule("identity:list_system_grants_for_user", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the roles a user has on the system")
        .guards(&[("HEAD", "/v3/system/users/{user_id}/roles"), ("GET", "/v3/system/users/{user_id}/roles")]),
    rule("identity:check_system_grant_for_user", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a user has a role on the system")
        .guards(&[("HEAD", "/v3/system/users/{user_id}/roles/{role_id}"), ("GET", "/v3/system/users/{user_id}/roles/{role_id}")]),
    rule("identity:create_system_grant_for_user", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Give a user a role on the system")
        .guards(&[("PUT", "/v3/system/users/{user_id}/roles/{role_id}")]),
    rule("identity:revoke_system_grant_for_user", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Take a role on the system from a user")
        .guards(&[("DELETE", "/v3/system/users/{user_id}/roles/{role_id}")]),
    rule("identity:list_system_grants_for_group", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the roles a group has on the system")
        .guards(&[("HEAD", "/v3/system/groups/{group_id}/roles"), ("GET", "/v3/system/groups/{group_id}/roles")]),
    rule("identity:check_system_grant_for_group", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a group has a role on the system")
        .guards(&[("HEAD", "/v3/system/groups/{group_id}/roles/{role_id}"), ("GET", "/v3/system/groups/{group_id}/roles/{role_id}")]),
    rule("identity:create_system_grant_for_group", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Give a group a role on the system")
        .guards(&[("PUT", "/v3/system/groups/{group_id}/roles/{role_id}")]),
    rule("identity:revoke_system_grant_for_group", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Take a role on the system from a group")
        .guards(&[("DELETE", "/v3/system/groups/{group_id}/roles/{role_id}")]),
    rule(
        "identity:list_role_assignments",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.domain_id)s and not \
         None:%(target.domain_id)s)",
    )
    .scopes(EVERY)
    .about("List role assignments")
    .guards(&[("GET", "/v3/role_assignments"), ("HEAD", "/v3/role_assignments")]),
    rule(
        "identity:list_role_assignments_for_tree",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.domain_id)s and not \
         None:%(target.domain_id)s)",
    )
    .scopes(EVERY)
    .about("List role assignments of a project and all below it")
    .guards(&[("GET", "/v3/role_assignments?include_subtree"), ("HEAD", "/v3/role_assignments?include_subtree")]),
];
