//! A token's body (Source: Identity API reference, "Password authentication with scoped authorization").

use bytes::Bytes;
use model::Timestamp;
use model::identity::ServiceProvider;
use serde_json::{Map, Value, json};
use store::Query;

use crate::App;
use crate::failure::Failure;
use crate::identity::catalog;
use crate::identity::token::{Scope, Valid};

fn named(id: &str, name: &str) -> Value {
    json!({"id": id, "name": name})
}

/// The answer about a token. It is remembered with the token's meaning, for the address and form it was last asked for by.
pub(in crate::identity) async fn answer(app: &App, valid: &Valid, origin: &str, with_catalog: bool, epoch: i64) -> Result<Bytes, Failure> {
    let key = format!("{with_catalog}{origin}");
    let remembered = valid.answer.lock().ok().and_then(|it| it.as_ref().filter(|(of, _)| *of == key).map(|(_, bytes)| bytes.clone()));
    if let Some(bytes) = remembered {
        return Ok(bytes);
    }
    let mut token = body(valid);
    let providers = app.store.list_few(&Query::<ServiceProvider>::new()).await?;
    let enabled: Vec<Value> = providers
        .iter()
        .filter(|it| it.desired.enabled)
        .map(|it| {
            let desired = &it.desired;
            json!({"id": it.id, "auth_url": desired.auth_url, "sp_url": desired.sp_url, "relay_state_prefix": desired.relay_state_prefix})
        })
        .collect();
    if !enabled.is_empty() {
        token.insert("service_providers".into(), Value::Array(enabled));
    }
    let mut text = json!({ "token": token }).to_string();
    if with_catalog && valid.claims.scope != Scope::Unscoped {
        // The catalog is text already: it goes before the two braces at the end.
        let catalog = catalog::catalog(app, origin, valid, epoch).await?;
        text.truncate(text.len().saturating_sub(2));
        text.push_str(",\"catalog\":");
        text.push_str(&catalog);
        text.push_str("}}");
    }
    let bytes = Bytes::from(text);
    if let Ok(mut place) = valid.answer.lock() {
        *place = Some((key, bytes.clone()));
    }
    Ok(bytes)
}

fn body(valid: &Valid) -> Map<String, Value> {
    let claims = &valid.claims;
    let methods: Vec<&str> = claims.methods.iter().map(|it| it.name()).collect();
    let mut user = json!({
        "id": valid.user.id, "name": valid.user.name, "domain": named(valid.user_domain.id.as_str(), &valid.user_domain.name),
    });
    match &claims.federated {
        Some(said) => {
            let groups: Vec<Value> = said.groups.iter().map(|id| json!({ "id": id })).collect();
            user["OS-FEDERATION"] = json!({"groups": groups, "identity_provider": {"id": said.idp}, "protocol": {"id": said.protocol}});
        }
        None => user["password_expires_at"] = json!(valid.user.desired.password.password_expires_at().map(Timestamp::iso_micros)),
    }
    let mut token = Map::new();
    token.insert("methods".into(), json!(methods));
    token.insert("user".into(), user);
    token.insert("audit_ids".into(), json!(claims.audit));
    token.insert("expires_at".into(), json!(claims.expires.iso_micros()));
    token.insert("issued_at".into(), json!(::identity::token::issued(claims.issued).iso_micros()));
    if let Some((project, domain)) = &valid.project {
        let shown = json!({"id": project.id, "name": project.name, "domain": named(domain.id.as_str(), &domain.name)});
        token.insert("project".into(), shown);
        if valid.trust.is_none() {
            token.insert("is_domain".into(), Value::Bool(false));
        }
    }
    if let Some(domain) = &valid.domain {
        token.insert("domain".into(), named(domain.id.as_str(), &domain.name));
    }
    if claims.scope == Scope::System {
        token.insert("system".into(), json!({"all": true}));
    }
    if claims.scope != Scope::Unscoped {
        let roles: Vec<Value> = valid.roles.iter().map(|(id, name)| named(id.as_str(), name)).collect();
        token.insert("roles".into(), Value::Array(roles));
    }
    if let Some(trust) = &valid.trust {
        let shown = json!({
            "id": trust.id, "impersonation": trust.desired.impersonation,
            "trustor_user": {"id": trust.desired.trustor_user_id}, "trustee_user": {"id": trust.desired.trustee_user_id},
        });
        token.insert("OS-TRUST:trust".into(), shown);
    }
    if let Some((app_cred, rules)) = &valid.app_cred {
        let mut shown = json!({"id": app_cred.id, "name": app_cred.name, "restricted": !app_cred.desired.unrestricted});
        if let Some(rules) = rules {
            let rule = |it: &model::Object<model::identity::AccessRule>| json!({"id": it.id, "service": it.desired.service, "method": it.desired.method, "path": it.desired.path});
            shown["access_rules"] = Value::Array(rules.iter().map(rule).collect());
        }
        token.insert("application_credential".into(), shown);
    }
    if let Some(thumbprint) = &claims.thumbprint {
        token.insert("oauth2_credential".into(), json!({"x5t#S256": thumbprint}));
    }
    token
}
