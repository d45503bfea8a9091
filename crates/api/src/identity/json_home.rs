//! What resources there are, in the form by which programs find them (Source: draft-nottingham-json-home-06; the names are those of the
//! Identity API reference).

use serde_json::{Map, Value, json};

const BASE: &str = "https://docs.openstack.org/api/openstack-identity/3";

/// What belongs to an extension, or to none, and how settled it is.
struct Part {
    /// The extension; empty: the API itself.
    extension: &'static str,
    is_experimental: bool,
    /// Name of the relation and path below the version.
    resources: &'static [(&'static str, &'static str)],
}

const fn part(extension: &'static str, resources: &'static [(&'static str, &'static str)]) -> Part {
    Part { extension, is_experimental: false, resources }
}

/// Every resource, in the order of the document.
static PARTS: &[Part] = &[
    part(
        "",
        &[
            ("auth_projects", "/auth/projects"),
            ("auth_domains", "/auth/domains"),
            ("auth_system", "/auth/system"),
            ("auth_catalog", "/auth/catalog"),
            ("auth_tokens", "/auth/tokens"),
            ("credentials", "/credentials"),
            ("credential", "/credentials/{credential_id}"),
            ("domains", "/domains"),
            ("domain", "/domains/{domain_id}"),
            ("domain_config", "/domains/{domain_id}/config"),
            ("domain_config_group", "/domains/{domain_id}/config/{group}"),
            ("domain_config_option", "/domains/{domain_id}/config/{group}/{option}"),
            ("domain_config_default", "/domains/config/default"),
            ("domain_config_default_group", "/domains/config/{group}/default"),
            ("domain_config_default_option", "/domains/config/{group}/{option}/default"),
            ("domain_user_roles", "/domains/{domain_id}/users/{user_id}/roles"),
            ("domain_user_role", "/domains/{domain_id}/users/{user_id}/roles/{role_id}"),
            ("domain_group_roles", "/domains/{domain_id}/groups/{group_id}/roles"),
            ("domain_group_role", "/domains/{domain_id}/groups/{group_id}/roles/{role_id}"),
            ("endpoints", "/endpoints"),
            ("endpoint", "/endpoints/{endpoint_id}"),
            ("groups", "/groups"),
            ("group", "/groups/{group_id}"),
            ("group_users", "/groups/{group_id}/users"),
            ("group_user", "/groups/{group_id}/users/{user_id}"),
            ("policies", "/policies"),
            ("policy", "/policies/{policy_id}"),
            ("projects", "/projects"),
            ("project", "/projects/{project_id}"),
            ("project_tags", "/projects/{project_id}/tags/{value}"),
            ("project_user_roles", "/projects/{project_id}/users/{user_id}/roles"),
            ("project_user_role", "/projects/{project_id}/users/{user_id}/roles/{role_id}"),
            ("project_group_roles", "/projects/{project_id}/groups/{group_id}/roles"),
            ("project_group_role", "/projects/{project_id}/groups/{group_id}/roles/{role_id}"),
            ("regions", "/regions"),
            ("region", "/regions/{region_id}"),
            ("role_assignments", "/role_assignments"),
            ("role_inferences", "/role_inferences"),
            ("roles", "/roles"),
            ("role", "/roles/{role_id}"),
            ("implied_roles", "/roles/{prior_role_id}/implies"),
            ("implied_role", "/roles/{prior_role_id}/implies/{implied_role_id}"),
            ("services", "/services"),
            ("service", "/services/{service_id}"),
            ("system_user_roles", "/system/users/{user_id}/roles"),
            ("system_user_role", "/system/users/{user_id}/roles/{role_id}"),
            ("system_group_roles", "/system/groups/{group_id}/roles"),
            ("system_group_role", "/system/groups/{group_id}/roles/{role_id}"),
            ("users", "/users"),
            ("user", "/users/{user_id}"),
            ("user_change_password", "/users/{user_id}/password"),
            ("user_groups", "/users/{user_id}/groups"),
            ("user_projects", "/users/{user_id}/projects"),
            ("user_tokens", "/users/{user_id}/tokens"),
            ("application_credentials", "/users/{user_id}/application_credentials"),
            ("application_credential", "/users/{user_id}/application_credentials/{application_credential_id}"),
            ("access_rules", "/users/{user_id}/access_rules"),
            ("access_rule", "/users/{user_id}/access_rules/{access_rule_id}"),
        ],
    ),
    Part {
        extension: "",
        is_experimental: true,
        resources: &[
            ("limits", "/limits"),
            ("limit", "/limits/{limit_id}"),
            ("limit_model", "/limits/model"),
            ("registered_limits", "/registered_limits"),
            ("registered_limit", "/registered_limits/{registered_limit_id}"),
        ],
    },
    part(
        "OS-EC2/1.0",
        &[
            ("ec2tokens", "/ec2tokens"),
            ("user_credentials", "/users/{user_id}/credentials/OS-EC2"),
            ("user_credential", "/users/{user_id}/credentials/OS-EC2/{credential_id}"),
        ],
    ),
    part("s3tokens/1.0", &[("s3tokens", "/s3tokens")]),
    part(
        "OS-ENDPOINT-POLICY/1.0",
        &[
            ("endpoint_policy", "/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy"),
            ("policy_endpoints", "/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints"),
            ("endpoint_policy_association", "/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}"),
            ("service_policy_association", "/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}"),
            ("region_and_service_policy_association", "/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}"),
        ],
    ),
    part(
        "OS-EP-FILTER/1.0",
        &[
            ("endpoint_groups", "/OS-EP-FILTER/endpoint_groups"),
            ("endpoint_group", "/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}"),
            ("endpoint_projects", "/OS-EP-FILTER/endpoints/{endpoint_id}/projects"),
            ("project_endpoint", "/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"),
            ("project_endpoints", "/OS-EP-FILTER/projects/{project_id}/endpoints"),
            ("project_endpoint_groups", "/OS-EP-FILTER/projects/{project_id}/endpoint_groups"),
            ("endpoints_in_endpoint_group", "/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints"),
            ("projects_associated_with_endpoint_group", "/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects"),
            ("endpoint_group_to_project_association", "/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}"),
        ],
    ),
    part(
        "OS-FEDERATION/1.0",
        &[
            ("projects", "/auth/projects"),
            ("domains", "/auth/domains"),
            ("identity_provider_protocol_auth", "/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth"),
            ("identity_providers", "/OS-FEDERATION/identity_providers"),
            ("identity_provider", "/OS-FEDERATION/identity_providers/{idp_id}"),
            ("identity_provider_protocols", "/OS-FEDERATION/identity_providers/{idp_id}/protocols"),
            ("identity_provider_protocol", "/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}"),
            ("mappings", "/OS-FEDERATION/mappings"),
            ("mapping", "/OS-FEDERATION/mappings/{mapping_id}"),
            ("service_providers", "/OS-FEDERATION/service_providers"),
            ("service_provider", "/OS-FEDERATION/service_providers/{service_provider_id}"),
        ],
    ),
    part(
        "OS-INHERIT/1.0",
        &[
            (
                "domain_user_role_inherited_to_projects",
                "/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
            ),
            ("domain_user_roles_inherited_to_projects", "/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects"),
            (
                "domain_group_role_inherited_to_projects",
                "/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
            ),
            ("domain_group_roles_inherited_to_projects", "/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects"),
            (
                "project_user_role_inherited_to_projects",
                "/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
            ),
            (
                "project_group_role_inherited_to_projects",
                "/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
            ),
        ],
    ),
    part("OS-OAUTH1/1.0", &[("consumers", "/OS-OAUTH1/consumers"), ("consumer", "/OS-OAUTH1/consumers/{consumer_id}")]),
    part("OS-OAUTH2/1.0", &[("token", "/OS-OAUTH2/token")]),
    part("OS-REVOKE/1.0", &[("events", "/OS-REVOKE/events")]),
    part(
        "OS-TRUST/1.0",
        &[
            ("trusts", "/OS-TRUST/trusts"),
            ("trust", "/OS-TRUST/trusts/{trust_id}"),
            ("trust_roles", "/OS-TRUST/trusts/{trust_id}/roles"),
            ("trust_role", "/OS-TRUST/trusts/{trust_id}/roles/{role_id}"),
        ],
    ),
];

/// What a parameter of a path means.
fn parameter(name: &str) -> String {
    let name = match name {
        "endpoint_group_id" => return format!("{BASE}/ext/OS-EP-FILTER/1.0/param/{name}"),
        "idp_id" | "protocol_id" | "mapping_id" | "service_provider_id" => return format!("{BASE}/ext/OS-FEDERATION/1.0/param/{name}"),
        "consumer_id" => return format!("{BASE}/ext/OS-OAUTH1/1.0/param/{name}"),
        "trust_id" => return format!("{BASE}/ext/OS-TRUST/1.0/param/{name}"),
        "group" => "config_group",
        "option" => "config_option",
        "value" => "tag_value",
        "prior_role_id" | "implied_role_id" => "role_id",
        other => other,
    };
    format!("{BASE}/param/{name}")
}

fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
}

/// The document. Its paths are below `/v3`.
pub(super) fn document() -> Value {
    let mut resources = Map::new();
    for part in PARTS {
        for (name, path) in part.resources {
            let relation = match part.extension {
                "" => format!("{BASE}/rel/{name}"),
                extension => format!("{BASE}/ext/{extension}/rel/{name}"),
            };
            let variables: Map<String, Value> = parameters(path).map(|it| (it.to_owned(), json!(parameter(it)))).collect();
            let mut resource = match variables.is_empty() {
                true => json!({ "href": path }),
                false => json!({"href-template": path, "href-vars": variables}),
            };
            if part.is_experimental {
                resource["hints"] = json!({"status": "experimental"});
            }
            resources.insert(relation, resource);
        }
    }
    json!({ "resources": resources })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_relation_is_there_twice() {
        let all: usize = PARTS.iter().map(|it| it.resources.len()).sum();
        assert_eq!(document()["resources"].as_object().unwrap().len(), all);
    }

    #[test]
    fn paths_with_parameters_are_templates() {
        let document = document();
        let policy = &document["resources"][format!("{BASE}/ext/OS-ENDPOINT-POLICY/1.0/rel/endpoint_policy")];
        assert_eq!(policy["href-template"], "/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy");
        assert_eq!(policy["href-vars"], json!({"endpoint_id": format!("{BASE}/param/endpoint_id")}));
        let tags = &document["resources"][format!("{BASE}/rel/project_tags")];
        assert_eq!(tags["href-vars"]["value"], format!("{BASE}/param/tag_value"));
        assert_eq!(document["resources"][format!("{BASE}/rel/limits")], json!({"href": "/limits", "hints": {"status": "experimental"}}));
    }
}
