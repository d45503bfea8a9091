//! The catalog, who sees which endpoint, and policies stored for others.

use policy::{Rule, rule};

use super::{EVERY, SYSTEM_PROJECT};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("identity:get_region", "")
        .scopes(EVERY)
        .about("Show a region")
        .guards(&[("GET", "/v3/regions/{region_id}"), ("HEAD", "/v3/regions/{region_id}")]),
    rule("identity:list_regions", "").scopes(EVERY).about("List regions").guards(&[("GET", "/v3/regions"), ("HEAD", "/v3/regions")]),
    rule("identity:create_region", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a region")
        .guards(&[("POST", "/v3/regions"), ("PUT", "/v3/regions/{region_id}")]),
    rule("identity:update_region", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a region")
        .guards(&[("PATCH", "/v3/regions/{region_id}")]),
    rule("identity:delete_region", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a region")
        .guards(&[("DELETE", "/v3/regions/{region_id}")]),
    rule("identity:get_service", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show a service")
        .guards(&[("GET", "/v3/services/{service_id}")]),
    rule("identity:list_services", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List services")
        .guards(&[("GET", "/v3/services")]),
    rule("identity:create_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a service")
        .guards(&[("POST", "/v3/services")]),
    rule("identity:update_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a service")
        .guards(&[("PATCH", "/v3/services/{service_id}")]),
    rule("identity:delete_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a service")
        .guards(&[("DELETE", "/v3/services/{service_id}")]),
    rule("identity:get_endpoint", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show an endpoint")
        .guards(&[("GET", "/v3/endpoints/{endpoint_id}")]),
    rule("identity:list_endpoints", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List endpoints")
        .guards(&[("GET", "/v3/endpoints")]),
    rule("identity:create_endpoint", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create an endpoint")
        .guards(&[("POST", "/v3/endpoints")]),
    rule("identity:update_endpoint", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change an endpoint")
        .guards(&[("PATCH", "/v3/endpoints/{endpoint_id}")]),
    rule("identity:delete_endpoint", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an endpoint")
        .guards(&[("DELETE", "/v3/endpoints/{endpoint_id}")]),
    rule("identity:create_endpoint_group", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create an endpoint group")
        .guards(&[("POST", "/v3/OS-EP-FILTER/endpoint_groups")]),
    rule("identity:list_endpoint_groups", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List endpoint groups")
        .guards(&[("GET", "/v3/OS-EP-FILTER/endpoint_groups")]),
    rule("identity:get_endpoint_group", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show an endpoint group")
        .guards(&[
            ("GET", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}"),
            ("HEAD", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}"),
        ]),
    rule("identity:update_endpoint_group", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change an endpoint group")
        .guards(&[("PATCH", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}")]),
    rule("identity:delete_endpoint_group", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete an endpoint group")
        .guards(&[("DELETE", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}")]),
    rule("identity:list_projects_associated_with_endpoint_group", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the projects an endpoint group is given to")
        .guards(&[("GET", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects")]),
    rule("identity:list_endpoints_associated_with_endpoint_group", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the endpoints an endpoint group selects")
        .guards(&[("GET", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints")]),
    rule("identity:get_endpoint_group_in_project", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a project has an endpoint group")
        .guards(&[
            ("GET", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}"),
            ("HEAD", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}"),
        ]),
    rule("identity:list_endpoint_groups_for_project", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the endpoint groups a project has")
        .guards(&[("GET", "/v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups")]),
    rule("identity:add_endpoint_group_to_project", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Give an endpoint group to a project")
        .guards(&[("PUT", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}")]),
    rule("identity:remove_endpoint_group_from_project", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Take an endpoint group from a project")
        .guards(&[("DELETE", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}")]),
    rule("identity:list_projects_for_endpoint", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the projects an endpoint is given to")
        .guards(&[("GET", "/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects")]),
    rule("identity:add_endpoint_to_project", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Give an endpoint to a project")
        .guards(&[("PUT", "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}")]),
    rule("identity:check_endpoint_in_project", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a project has an endpoint")
        .guards(&[
            ("GET", "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"),
            ("HEAD", "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"),
        ]),
    rule("identity:list_endpoints_for_project", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the endpoints a project has")
        .guards(&[("GET", "/v3/OS-EP-FILTER/projects/{project_id}/endpoints")]),
    rule("identity:remove_endpoint_from_project", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Take an endpoint from a project")
        .guards(&[("DELETE", "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}")]),
    rule("identity:get_policy", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show a policy")
        .guards(&[("GET", "/v3/policies/{policy_id}")]),
    rule("identity:list_policies", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List policies")
        .guards(&[("GET", "/v3/policies")]),
    rule("identity:create_policy", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Create a policy")
        .guards(&[("POST", "/v3/policies")]),
    rule("identity:update_policy", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Change a policy")
        .guards(&[("PATCH", "/v3/policies/{policy_id}")]),
    rule("identity:delete_policy", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Delete a policy")
        .guards(&[("DELETE", "/v3/policies/{policy_id}")]),
    rule("identity:create_policy_association_for_endpoint", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Attach a policy to an endpoint")
        .guards(&[("PUT", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}")]),
    rule("identity:check_policy_association_for_endpoint", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a policy is attached to an endpoint")
        .guards(&[
            ("GET", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}"),
            ("HEAD", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}"),
        ]),
    rule("identity:delete_policy_association_for_endpoint", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Detach a policy from an endpoint")
        .guards(&[("DELETE", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}")]),
    rule("identity:create_policy_association_for_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Attach a policy to a service")
        .guards(&[("PUT", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}")]),
    rule("identity:check_policy_association_for_service", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a policy is attached to a service")
        .guards(&[
            ("GET", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}"),
            ("HEAD", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}"),
        ]),
    rule("identity:delete_policy_association_for_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Detach a policy from a service")
        .guards(&[("DELETE", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}")]),
    rule("identity:create_policy_association_for_region_and_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Attach a policy to a service in a region")
        .guards(&[("PUT", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}")]),
    rule("identity:check_policy_association_for_region_and_service", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Check that a policy is attached to a service in a region")
        .guards(&[
            ("GET", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}"),
            ("HEAD", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}"),
        ]),
    rule("identity:delete_policy_association_for_region_and_service", "rule:admin_required")
        .scopes(SYSTEM_PROJECT)
        .about("Detach a policy from a service in a region")
        .guards(&[("DELETE", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}")]),
    rule("identity:get_policy_for_endpoint", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("Show the policy in force at an endpoint")
        .guards(&[
            ("GET", "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy"),
            ("HEAD", "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy"),
        ]),
    rule("identity:list_endpoints_for_policy", "rule:admin_required or (role:reader and system_scope:all)")
        .scopes(SYSTEM_PROJECT)
        .about("List the endpoints a policy is in force at")
        .guards(&[("GET", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints")]),
];
