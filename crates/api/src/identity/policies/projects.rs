//! Domains, their configuration, and projects.

use policy::{Rule, rule};

use super::{EVERY, SYSTEM_PROJECT};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule(
        "identity:get_domain",
        "rule:admin_required or (role:reader and system_scope:all) or token.domain.id:%(target.domain.id)s or \
         token.project.domain.id:%(target.domain.id)s",
    )
    .scopes(EVERY)
    .about("Show a domain")
    .guards(&[("GET", "/v3/domains/{domain_id}")]),
    rule(
        "identity:list_domains",
        "rule:admin_required or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.domain.id)s)",
    )
    .scopes(EVERY)
    .about("List domains")
    .guards(&[("GET", "/v3/domains")]),
    rule("identity:create_domain", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a domain")
        .guards(&[("POST", "/v3/domains")]),
    rule("identity:update_domain", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a domain")
        .guards(&[("PATCH", "/v3/domains/{domain_id}")]),
    rule("identity:delete_domain", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a domain")
        .guards(&[("DELETE", "/v3/domains/{domain_id}")]),
    rule("identity:create_domain_config", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Set the configuration of a domain")
        .guards(&[("PUT", "/v3/domains/{domain_id}/config")]),
    rule("identity:get_domain_config", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show the configuration of a domain, in whole or in part")
        .guards(&[
            ("GET", "/v3/domains/{domain_id}/config"),
            ("HEAD", "/v3/domains/{domain_id}/config"),
            ("GET", "/v3/domains/{domain_id}/config/{group}"),
            ("HEAD", "/v3/domains/{domain_id}/config/{group}"),
            ("GET", "/v3/domains/{domain_id}/config/{group}/{option}"),
            ("HEAD", "/v3/domains/{domain_id}/config/{group}/{option}"),
        ]),
    rule("identity:get_security_compliance_domain_config", "").scopes(EVERY).about("Show what a domain demands of passwords").guards(&[
        ("GET", "/v3/domains/{domain_id}/config/security_compliance"),
        ("HEAD", "/v3/domains/{domain_id}/config/security_compliance"),
        ("GET", "/v3/domains/{domain_id}/config/security_compliance/{option}"),
        ("HEAD", "/v3/domains/{domain_id}/config/security_compliance/{option}"),
    ]),
    rule("identity:update_domain_config", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change the configuration of a domain, in whole or in part")
        .guards(&[
            ("PATCH", "/v3/domains/{domain_id}/config"),
            ("PATCH", "/v3/domains/{domain_id}/config/{group}"),
            ("PATCH", "/v3/domains/{domain_id}/config/{group}/{option}"),
        ]),
    rule("identity:delete_domain_config", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Drop the configuration of a domain, in whole or in part")
        .guards(&[
            ("DELETE", "/v3/domains/{domain_id}/config"),
            ("DELETE", "/v3/domains/{domain_id}/config/{group}"),
            ("DELETE", "/v3/domains/{domain_id}/config/{group}/{option}"),
        ]),
    rule("identity:get_domain_config_default", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show what holds where a domain configures nothing")
        .guards(&[
            ("GET", "/v3/domains/config/default"),
            ("HEAD", "/v3/domains/config/default"),
            ("GET", "/v3/domains/config/{group}/default"),
            ("HEAD", "/v3/domains/config/{group}/default"),
            ("GET", "/v3/domains/config/{group}/{option}/default"),
            ("HEAD", "/v3/domains/config/{group}/{option}/default"),
        ]),
    rule(
        "identity:get_project",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.project.domain_id)s \
         and not None:%(target.project.domain_id)s) or project_id:%(target.project.id)s",
    )
    .scopes(EVERY)
    .about("Show a project")
    .guards(&[("GET", "/v3/projects/{project_id}")]),
    rule(
        "identity:list_projects",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.domain_id)s)",
    )
    .scopes(EVERY)
    .about("List projects")
    .guards(&[("GET", "/v3/projects")]),
    rule(
        "identity:list_user_projects",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.user.domain_id)s) \
         or user_id:%(target.user.id)s",
    )
    .scopes(EVERY)
    .about("List the projects a user has roles on")
    .guards(&[("GET", "/v3/users/{user_id}/projects")]),
    rule(
        "identity:create_project",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Create a project")
    .guards(&[("POST", "/v3/projects")]),
    rule(
        "identity:update_project",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Change a project")
    .guards(&[("PATCH", "/v3/projects/{project_id}")]),
    rule(
        "identity:delete_project",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Delete a project")
    .guards(&[("DELETE", "/v3/projects/{project_id}")]),
    rule(
        "identity:list_project_tags",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.project.domain_id)s \
         and not None:%(target.project.domain_id)s) or project_id:%(target.project.id)s",
    )
    .scopes(EVERY)
    .about("List the tags of a project")
    .guards(&[("GET", "/v3/projects/{project_id}/tags"), ("HEAD", "/v3/projects/{project_id}/tags")]),
    rule(
        "identity:get_project_tag",
        "(rule:admin_required) or (role:reader and system_scope:all) or (role:reader and domain_id:%(target.project.domain_id)s \
         and not None:%(target.project.domain_id)s) or project_id:%(target.project.id)s",
    )
    .scopes(EVERY)
    .about("Check that a project has a tag")
    .guards(&[("GET", "/v3/projects/{project_id}/tags/{value}"), ("HEAD", "/v3/projects/{project_id}/tags/{value}")]),
    rule(
        "identity:update_project_tags",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Set all tags of a project")
    .guards(&[("PUT", "/v3/projects/{project_id}/tags")]),
    rule(
        "identity:create_project_tag",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Put a tag on a project")
    .guards(&[("PUT", "/v3/projects/{project_id}/tags/{value}")]),
    rule(
        "identity:delete_project_tags",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Take all tags off a project")
    .guards(&[("DELETE", "/v3/projects/{project_id}/tags")]),
    rule(
        "identity:delete_project_tag",
        "(rule:admin_required) or (role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
    )
    .scopes(EVERY)
    .about("Take a tag off a project")
    .guards(&[("DELETE", "/v3/projects/{project_id}/tags/{value}")]),
];
