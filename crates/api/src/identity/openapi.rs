//! The description of this API in OpenAPI 3.1, put together from what is declared: the operations the rules guard, and the schemas that
//! bodies and queries are checked by.

use std::collections::BTreeMap;

use axum::Json;
use serde_json::{Map, Value, json};

use super::{policies, schemas};
use crate::schema::Schema;

/// Operations that no rule guards: whoever may call them proves it by what the body says, or needs to prove nothing.
const UNGUARDED: [(&str, &str, &str); 6] = [
    ("GET", "/v3", "Show the version"),
    ("POST", "/v3/auth/tokens", "Log in"),
    ("POST", "/v3/users/{user_id}/password", "Change one's own password"),
    ("POST", "/v3/OS-OAUTH2/token", "Get a token by OAuth 2 client credentials"),
    ("GET", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth", "Log in by an external provider"),
    ("POST", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth", "Log in by an external provider"),
];

/// The schema of the body of an operation.
fn body_of(method: &str, path: &str) -> Option<&'static Schema> {
    Some(match (method, path) {
        ("POST", "/v3/auth/tokens") => &schemas::TOKEN_ISSUE,
        ("POST", "/v3/domains") => &schemas::DOMAIN_CREATE,
        ("PATCH", "/v3/domains/{domain_id}") => &schemas::DOMAIN_UPDATE,
        ("PUT" | "PATCH", "/v3/domains/{domain_id}/config") => &schemas::DOMAIN_CONFIG,
        ("POST", "/v3/projects") => &schemas::PROJECT_CREATE,
        ("PATCH", "/v3/projects/{project_id}") => &schemas::PROJECT_UPDATE,
        ("PUT", "/v3/projects/{project_id}/tags") => &schemas::PROJECT_TAGS_UPDATE,
        ("POST", "/v3/users") => &schemas::USER_CREATE,
        ("PATCH", "/v3/users/{user_id}") => &schemas::USER_UPDATE,
        ("POST", "/v3/users/{user_id}/password") => &schemas::USER_PASSWORD,
        ("POST", "/v3/groups") => &schemas::GROUP_CREATE,
        ("PATCH", "/v3/groups/{group_id}") => &schemas::GROUP_UPDATE,
        ("POST", "/v3/roles") => &schemas::ROLE_CREATE,
        ("PATCH", "/v3/roles/{role_id}") => &schemas::ROLE_UPDATE,
        ("POST", "/v3/regions") | ("PUT", "/v3/regions/{region_id}") => &schemas::REGION_CREATE,
        ("PATCH", "/v3/regions/{region_id}") => &schemas::REGION_UPDATE,
        ("POST", "/v3/services") => &schemas::SERVICE_CREATE,
        ("PATCH", "/v3/services/{service_id}") => &schemas::SERVICE_UPDATE,
        ("POST", "/v3/endpoints") => &schemas::ENDPOINT_CREATE,
        ("PATCH", "/v3/endpoints/{endpoint_id}") => &schemas::ENDPOINT_UPDATE,
        ("POST", "/v3/OS-EP-FILTER/endpoint_groups") => &schemas::ENDPOINT_GROUP_CREATE,
        ("PATCH", "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}") => &schemas::ENDPOINT_GROUP_UPDATE,
        ("POST", "/v3/policies") => &schemas::POLICY_CREATE,
        ("PATCH", "/v3/policies/{policy_id}") => &schemas::POLICY_UPDATE,
        ("POST", "/v3/credentials") => &schemas::CREDENTIAL_CREATE,
        ("PATCH", "/v3/credentials/{credential_id}") => &schemas::CREDENTIAL_UPDATE,
        ("POST", "/v3/users/{user_id}/credentials/OS-EC2") => &schemas::EC2_CREDENTIAL_CREATE,
        ("POST", "/v3/users/{user_id}/application_credentials") => &schemas::APPLICATION_CREDENTIAL_CREATE,
        ("POST", "/v3/OS-TRUST/trusts") => &schemas::TRUST_CREATE,
        ("POST", "/v3/registered_limits") => &schemas::REGISTERED_LIMITS_CREATE,
        ("PATCH", "/v3/registered_limits/{registered_limit_id}") => &schemas::REGISTERED_LIMIT_UPDATE,
        ("POST", "/v3/limits") => &schemas::LIMITS_CREATE,
        ("PATCH", "/v3/limits/{limit_id}") => &schemas::LIMIT_UPDATE,
        ("PUT", "/v3/OS-FEDERATION/identity_providers/{idp_id}") => &schemas::IDENTITY_PROVIDER_CREATE,
        ("PATCH", "/v3/OS-FEDERATION/identity_providers/{idp_id}") => &schemas::IDENTITY_PROVIDER_UPDATE,
        ("PUT" | "PATCH", "/v3/OS-FEDERATION/mappings/{mapping_id}") => &schemas::MAPPING_CREATE,
        ("PUT", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}") => &schemas::PROTOCOL_CREATE,
        ("PATCH", "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}") => &schemas::PROTOCOL_UPDATE,
        ("PUT", "/v3/OS-FEDERATION/service_providers/{service_provider_id}") => &schemas::SERVICE_PROVIDER_CREATE,
        ("PATCH", "/v3/OS-FEDERATION/service_providers/{service_provider_id}") => &schemas::SERVICE_PROVIDER_UPDATE,
        _ => return None,
    })
}

/// The schema of the query of a list.
fn query_of(path: &str) -> Option<&'static Schema> {
    Some(match path {
        "/v3/domains" => &schemas::DOMAIN_INDEX_QUERY,
        "/v3/projects" => &schemas::PROJECT_INDEX_QUERY,
        "/v3/users" => &schemas::USER_INDEX_QUERY,
        "/v3/groups" => &schemas::GROUP_INDEX_QUERY,
        "/v3/roles" => &schemas::ROLE_INDEX_QUERY,
        "/v3/role_assignments" => &schemas::ROLE_ASSIGNMENT_INDEX_QUERY,
        "/v3/regions" => &schemas::REGION_INDEX_QUERY,
        "/v3/services" => &schemas::SERVICE_INDEX_QUERY,
        "/v3/endpoints" => &schemas::ENDPOINT_INDEX_QUERY,
        "/v3/OS-EP-FILTER/endpoint_groups" => &schemas::ENDPOINT_GROUP_INDEX_QUERY,
        "/v3/credentials" => &schemas::CREDENTIAL_INDEX_QUERY,
        "/v3/users/{user_id}/application_credentials" => &schemas::APPLICATION_CREDENTIAL_INDEX_QUERY,
        "/v3/users/{user_id}/access_rules" => &schemas::ACCESS_RULE_INDEX_QUERY,
        "/v3/OS-TRUST/trusts" => &schemas::TRUST_INDEX_QUERY,
        "/v3/registered_limits" => &schemas::REGISTERED_LIMIT_INDEX_QUERY,
        "/v3/limits" => &schemas::LIMIT_INDEX_QUERY,
        "/v3/OS-FEDERATION/identity_providers" => &schemas::IDENTITY_PROVIDER_INDEX_QUERY,
        "/v3/OS-FEDERATION/service_providers" => &schemas::SERVICE_PROVIDER_INDEX_QUERY,
        _ => return None,
    })
}

/// Names of the parameters of a path.
fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn operation(method: &str, path: &str, about: &str, rule: Option<&str>) -> Value {
    let mut parameters: Vec<Value> = placeholders(path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        .collect();
    if let Some(query) = query_of(path).filter(|_| method == "GET") {
        let shown = query.document();
        for (name, schema) in shown["properties"].as_object().into_iter().flatten() {
            parameters.push(json!({"name": name, "in": "query", "required": false, "schema": schema}));
        }
    }
    if path == "/v3/auth/tokens" && method != "POST" {
        parameters.push(json!({"name": "X-Subject-Token", "in": "header", "required": true, "schema": {"type": "string"}}));
    }
    let mut out = json!({
        "summary": about,
        "parameters": parameters,
        "responses": {"default": {"description": "The answer, or an error", "content": {"application/json": {"schema": {"type": "object"}}}}},
        "security": if rule.is_some() { json!([{"token": []}]) } else { json!([]) },
    });
    if let Some(rule) = rule {
        out["x-policy-rule"] = json!(rule);
    }
    if let Some(body) = body_of(method, path) {
        out["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": body.document()}}});
    }
    out
}

/// The document.
pub(super) fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut add = |method: &str, path: &'static str, about: &str, rule: Option<&str>| {
        let path = path.split('?').next().unwrap_or(path);
        paths.entry(path).or_default().entry(method.to_lowercase()).or_insert_with(|| operation(method, path, about, rule));
    };
    for (method, path, about) in UNGUARDED {
        add(method, path, about, None);
    }
    for rule in policies::RULES.iter().flat_map(|table| table.iter()) {
        for (method, path) in rule.operations.iter().filter(|(method, _)| *method != "HEAD") {
            add(method, path, rule.about, Some(rule.name));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Cofferdam identity", "version": super::VERSION, "description": "Keystone v3 as Cofferdam offers it."},
        "servers": [{"url": "/identity"}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}},
    })
}

/// GET /v3/openapi.json
pub(super) async fn show() -> Json<Value> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_has_its_operation() {
        let document = document();
        let operations: Vec<(&String, &String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, all)| all.as_object().unwrap().keys().map(move |it| (path, it)))
            .collect();
        assert!(operations.len() > 180, "{}", operations.len());
        let bodies = operations.iter().filter(|(path, method)| body_of(&method.to_uppercase(), path).is_some()).count();
        assert_eq!(bodies, 43, "a schema whose operation is not declared, or one more");
        assert!(document["paths"]["/v3/users"]["get"]["parameters"].as_array().unwrap().iter().any(|it| it["name"] == "domain_id"));
    }
}
