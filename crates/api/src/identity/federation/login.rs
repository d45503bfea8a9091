//! Logging in with what a provider issued: a JSON web token in the header `Authorization`, which clients send after they got it there.
//!
//! Upstream a web server checks the token and passes its claims on in the environment; mappings know them by the names `mod_auth_openidc`
//! gives them, so they have those names here too.

use std::sync::Arc;

use ::identity::jwt::{self, Expected, JwtError, MAX_TOKEN_BYTES};
use ::identity::mapping::{Assertion, MappingError, UserKind};
use ::identity::payload::{Federated, Method};
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use model::identity::{FederatedIdentity, IdentityProvider, Mapping, Protocol};
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value};

use super::keys::Source;
use super::shadow::{self, Known};
use super::{Part, mappings, protocols};
use crate::App;
use crate::failure::Failure;
use crate::identity::ask::{forbidden, missing, refused};
use crate::identity::auth::{self, Proof, Wanted, render};
use crate::identity::noun;
use crate::identity::token::{self, Scope};
use crate::links::origin;

/// The methods a protocol can be: those whose tokens upstream's plugin `mapped` issues.
const METHODS: [Method; 3] = [Method::Mapped, Method::Openid, Method::Saml2];
/// Methods users may be asked for several of.
const FACTORS: [&str; 4] = ["password", "token", "totp", "application_credential"];
/// The longest id or name a provider may give a user.
const MAX_NAME_BYTES: usize = 255;

/// The provider, if its users may log in.
///
/// # Errors
/// `NotFound` or `Forbidden`.
pub(super) async fn enabled_provider(app: &App, id: &str) -> Result<Object<IdentityProvider>, Failure> {
    let found = noun::get::<IdentityProvider>(app, id).await?.ok_or_else(|| missing(IdentityProvider::WHAT, id))?;
    if !found.desired.enabled {
        return Err(Failure::Forbidden(format!("Identity Provider {id} is disabled")));
    }
    Ok(found)
}

/// GET and POST /OS-FEDERATION/identity_providers/{idp}/protocols/{protocol}/auth: a token without a scope.
pub(super) async fn log_in(
    Shared(app): Shared<Arc<App>>,
    Path((idp, protocol)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let unsupported = || Failure::Unauthorized("Attempted to authenticate with an unsupported method.".into());
    let method = Method::parse(&protocol).filter(|it| METHODS.contains(it)).ok_or_else(unsupported)?;
    let provider = enabled_provider(&app, &idp).await?;
    let protocol = protocols::find(&app, &idp, &protocol).await?;
    let given = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok()).and_then(bearer).ok_or_else(refused)?;
    let claims = verified(&app, &provider, &protocol, given).await?;
    let proof = prove(&app, method, &provider, &protocol, &assertion(&claims)).await?;
    let names: Vec<&str> = proof.methods.iter().map(|it| it.name()).collect();
    if !proof.user.desired.options.factors_suffice(&names, &FACTORS) {
        return Err(refused());
    }
    let valid = auth::grant(&app, proof, Wanted { scope: Scope::Unscoped, trust: None, is_asked: true }).await?;
    let answer = render::answer(&app, &valid, &origin(&app, &headers), true, token::epoch(&app).await?).await?;
    let sealed = token::seal(&app, &valid.claims).await?;
    tracing::info!(user.id = %valid.user.id, provider = %provider.id, "token issued to a user of an identity provider");
    Ok((StatusCode::CREATED, [("x-subject-token", sealed.as_str()), ("content-type", "application/json")], answer).into_response())
}

fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|it| !it.is_empty())
}

/// The claims of a token that the provider issued for one of the protocol's audiences.
async fn verified(
    app: &App,
    provider: &Object<IdentityProvider>,
    protocol: &Object<Protocol>,
    given: &str,
) -> Result<Map<String, Value>, Failure> {
    let turned_down = |why: &str| {
        tracing::info!(provider = %provider.id, protocol = protocol.desired.protocol, why, "a token of an identity provider is refused");
        refused()
    };
    // What it says of its issuer only chooses among those that are trusted; the signature is checked by that issuer's keys.
    let said = issuer_of(given).ok_or_else(|| turned_down("it is not a JSON web token with an issuer"))?;
    let issuer = provider.desired.remote_ids.iter().find(|it| **it == said);
    let issuer = issuer.ok_or_else(|| turned_down("its issuer is none of the provider's remote_ids"))?;
    let source = match &protocol.desired.jwks_uri {
        Some(url) => Source::Direct(url.clone()),
        None => Source::Discovery(issuer.clone()),
    };
    let expected = Expected { issuer, audiences: &protocol.desired.audiences, now: Timestamp::now() };
    let keys = app.identity.providers.keys(&source).await.map_err(|why| turned_down(&why))?;
    let checked = match jwt::verify(&keys, given, &expected) {
        Err(JwtError::NoKey) => {
            let keys = app.identity.providers.keys_again(&source).await.map_err(|why| turned_down(&why))?;
            jwt::verify(&keys, given, &expected)
        }
        other => other,
    };
    checked.map_err(|error| turned_down(&error.to_string()))
}

/// Who issued a token, by its own word.
fn issuer_of(token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Claims under the names by which mappings know them: `OIDC-name`, `HTTP_OIDC_NAME`, and the plain one where that says nothing else.
fn assertion(claims: &Map<String, Value>) -> Assertion {
    let mut assertion = Assertion::new();
    let mut plain = Vec::new();
    for (name, value) in claims {
        let values = values_of(value);
        if values.is_empty() {
            continue;
        }
        let header: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        assertion.entry(format!("OIDC-{name}")).or_insert_with(|| values.clone());
        assertion.entry(format!("HTTP_OIDC_{header}")).or_insert_with(|| values.clone());
        plain.push((name, values));
    }
    for (name, values) in plain {
        assertion.entry(name.clone()).or_insert(values);
    }
    assertion
}

/// The values of a claim as text. Text is one value whatever is in it: only a list is several.
fn values_of(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(one_value).collect(),
        other => one_value(other).into_iter().collect(),
    }
}

fn one_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|it| !it.is_empty() && !it.contains('\0')),
        Value::Bool(yes) => Some(u8::from(*yes).to_string()),
        // An object or a number, as JSON writes it.
        other => Some(other.to_string()),
    }
}

/// Who somebody is by what the provider says.
async fn prove(
    app: &Arc<App>,
    method: Method,
    provider: &Object<IdentityProvider>,
    protocol: &Object<Protocol>,
    assertion: &Assertion,
) -> Result<Proof, Failure> {
    if let Some(attribute) = protocol.desired.remote_id_attribute.as_ref().filter(|it| !it.is_empty()) {
        let said = assertion
            .get(attribute)
            .ok_or_else(|| Failure::Unauthorized("Could not find Identity Provider identifier in environment".into()))?;
        if !said.iter().any(|it| provider.desired.remote_ids.contains(it)) {
            return Err(forbidden("Incoming identity provider identifier not included among the accepted identifiers."));
        }
    }
    let mapping = app.store.get::<Mapping>(&protocol.desired.mapping_id).await?;
    let mapping = mapping.ok_or_else(|| missing("mapping", protocol.desired.mapping_id.as_str()))?;
    let rules = mappings::rules(&mapping)?;
    let mapped = rules.apply(assertion).map_err(|error| {
        if matches!(error, MappingError::NothingMapped) {
            tracing::info!(mapping = %mapping.id, "no rule of the mapping fits what the provider says of a user");
        } else {
            tracing::warn!(mapping = %mapping.id, %error, "a mapping cannot be applied");
        }
        Failure::Unauthorized(MappingError::NothingMapped.to_string())
    })?;
    if mapped.user.kind == UserKind::Local {
        return Ok(Proof::new(shadow::local(app, &mapped.user).await?, method));
    }
    // Without a name or an id in the mapping the subject serves, in the place of upstream's REMOTE_USER.
    let subject = || assertion.get("OIDC-sub").and_then(|it| it.first()).cloned();
    let name = mapped.user.name.clone().filter(|it| !it.is_empty());
    let name = name.or_else(|| mapped.user.id.clone()).or_else(subject).filter(|it| fits(it)).ok_or_else(refused)?;
    let unique_id = mapped.user.id.clone().filter(|it| !it.is_empty()).unwrap_or_else(|| name.clone());
    if !fits(&unique_id) {
        return Err(refused());
    }
    let otherwise = provider.desired.domain_id.clone().ok_or_else(|| Failure::Internal(format!("{} has no domain", provider.id)))?;
    let domain_id = shadow::domain_of(app, mapped.user.domain.as_ref(), &otherwise).await?;
    let who = FederatedIdentity { idp_id: provider.id.to_string(), protocol_id: protocol.desired.protocol.clone(), unique_id };
    let groups = shadow::groups(app, &mapped.group_ids, &mapped.group_names).await?;
    let user = shadow::user(app, &Known { who, name, email: mapped.user.email.clone(), domain_id }).await?;
    let life = match provider.desired.authorization_ttl_minutes {
        Some(minutes) if minutes > 0 => i64::from(minutes) * 60,
        _ => i64::from(app.settings.identity.token_ttl_seconds),
    };
    shadow::join(app, &user.id, &groups, Timestamp::now().plus_seconds(life)).await?;
    shadow::projects(app, &user, provider, &otherwise, &mapped.projects, rules.version()).await?;
    let said = Federated {
        groups: groups.iter().map(Id::to_string).collect(),
        idp: provider.id.to_string(),
        protocol: protocol.desired.protocol.clone(),
    };
    Ok(Proof { federated: Some(said), ..Proof::new(user, method) })
}

fn fits(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{assertion, bearer, issuer_of};

    #[test]
    fn claims_have_the_names_mappings_know() {
        let claims = json!({
            "preferred_username": "ada", "groups": ["a;b", "c"], "email_verified": true, "exp": 5, "none": null, "empty": [],
            "realm_access": {"roles": ["x"]}, "OIDC-preferred_username": "mallory", "bad": "a\u{0}b",
        });
        let found = assertion(claims.as_object().unwrap());
        for name in ["preferred_username", "OIDC-preferred_username", "HTTP_OIDC_PREFERRED_USERNAME"] {
            assert_eq!(found[name], ["ada"], "{name}");
        }
        assert_eq!(found["OIDC-groups"], ["a;b", "c"]);
        assert_eq!(found["OIDC-email_verified"], ["1"]);
        assert_eq!(found["exp"], ["5"]);
        assert_eq!(found["OIDC-realm_access"], ["{\"roles\":[\"x\"]}"]);
        assert!(["OIDC-none", "OIDC-empty", "OIDC-bad"].iter().all(|name| !found.contains_key(*name)));
    }

    #[test]
    fn what_is_no_token_names_no_issuer() {
        assert_eq!(issuer_of("e30.eyJpc3MiOiJ4In0.e30").as_deref(), Some("x"));
        for text in ["", ".", "a.b.c", "e30.e30.e30", &"x".repeat(1 << 20)] {
            assert_eq!(issuer_of(text), None);
        }
        assert_eq!(bearer("bearer  x"), Some("x"));
        assert!(bearer("Basic x").is_none() && bearer("Bearer ").is_none() && bearer("Bearer").is_none());
    }
}
