//! `/v3/auth/…`: who somebody is, for what they want a token, and the token's body.

pub(super) mod password;
pub(super) mod render;
mod scope;

use std::sync::Arc;

use ::identity::payload::{Federated, Method};
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use model::access::Revoked;
use model::identity::{ApplicationCredential, Trust, User};
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value, json};
use store::Batch;

use super::ask::{Ask, forbidden, parsed, refused};
use super::token::{self, Claims, Scope, Valid};
use super::{application_credentials, credentials, effective, noun, revocation, schemas, trusts};
use crate::App;
use crate::failure::Failure;
use crate::links::origin;
use crate::resource::Parameters;

/// How long somebody may take between one factor and the next, in seconds.
const RECEIPT_SECONDS: i64 = 300;
/// Where it stands what was proved already.
const RECEIPT: &str = "openstack-auth-receipt";
/// The methods of which users may be asked for several.
pub(super) const METHODS: [&str; 4] = ["password", "token", "totp", "application_credential"];

/// Who somebody proved to be, and how.
pub(super) struct Proof {
    /// The user.
    pub(super) user: Object<User>,
    /// How.
    pub(super) methods: Vec<Method>,
    /// When what it was proved by ends.
    pub(super) until: Option<Timestamp>,
    /// The audit id of the first token of the chain, if it was proved by a token.
    pub(super) chain: Option<String>,
    /// The application credential it was proved by: it says the project.
    pub(super) app_cred: Option<Object<ApplicationCredential>>,
    /// What an external provider said.
    pub(super) federated: Option<Federated>,
    /// Whether the token it was proved by is the system's.
    pub(super) of_system: bool,
}

impl Proof {
    /// A proof by one method and nothing else.
    pub(super) fn new(user: Object<User>, method: Method) -> Self {
        Self { user, methods: vec![method], until: None, chain: None, app_cred: None, federated: None, of_system: false }
    }
}

/// For what a token is wanted.
pub(super) struct Wanted {
    pub(super) scope: Scope,
    pub(super) trust: Option<Object<Trust>>,
    /// Whether the client said so; a default project that cannot be had is no reason not to let the user in.
    pub(super) is_asked: bool,
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/auth/tokens", get(show).head(check).post(issue).delete(revoke))
        .route("/auth/projects", get(own_projects))
        .route("/auth/domains", get(own_domains))
        .route("/auth/system", get(own_system))
        .route("/auth/catalog", get(super::catalog::show))
}

/// POST /auth/tokens
async fn issue(Shared(app): Shared<Arc<App>>, headers: HeaderMap, uri: http::Uri, bytes: Bytes) -> Result<Response, Failure> {
    let body = parsed(&bytes, &schemas::TOKEN_ISSUE)?;
    let empty = Map::new();
    let auth = body.get("auth").and_then(Value::as_object).unwrap_or(&empty);
    schemas::check_token_names(auth).map_err(Failure::BadRequest)?;
    let identity = auth.get("identity").and_then(Value::as_object).unwrap_or(&empty);
    let methods = noun::strings(identity.get("methods").unwrap_or(&Value::Null));
    if methods.is_empty() {
        return Err(Failure::BadRequest("Expecting to find methods in identity.".into()));
    }
    let proof = prove(&app, &methods, identity).await?;
    let proof = with_receipt(&app, proof, &headers).await?;
    let names: Vec<&str> = proof.methods.iter().map(|it| it.name()).collect();
    if !proof.user.desired.options.factors_suffice(&names, &METHODS) {
        return one_more_factor(&app, &proof).await;
    }
    let wanted = scope::wanted(&app, &proof, auth.get("scope")).await?;
    let valid = grant(&app, proof, wanted).await?;
    let with_catalog = Parameters::parse(uri.query()).first("nocatalog").is_none();
    let answer = render::answer(&app, &valid, &origin(&app, &headers), with_catalog, token::epoch(&app).await?).await?;
    let sealed = token::seal(&app, &valid.claims).await?;
    tracing::info!(user.id = %valid.user.id, scope = ?valid.claims.scope, "token issued");
    Ok((StatusCode::CREATED, [("x-subject-token", sealed.as_str()), ("content-type", "application/json")], answer).into_response())
}

/// Has each method say who it is: all must mean the same user.
async fn prove(app: &Arc<App>, methods: &[String], identity: &Map<String, Value>) -> Result<Proof, Failure> {
    let mut proof: Option<Proof> = None;
    for method in methods {
        let data = identity.get(method).and_then(Value::as_object);
        let data = data.ok_or_else(|| Failure::BadRequest(format!("Expecting to find {method} in identity.")))?;
        let next = match method.as_str() {
            "password" => password::authenticate(app, data).await?,
            "token" => by_token(app, data).await?,
            "totp" => credentials::authenticate(app, data).await?,
            "application_credential" => application_credentials::authenticate(app, data).await?,
            _ => return Err(Failure::Unauthorized("Attempted to authenticate with an unsupported method.".into())),
        };
        proof = Some(match proof {
            None => next,
            Some(before) if before.user.id != next.user.id => return Err(refused()),
            Some(before) => Proof {
                methods: before.methods.into_iter().chain(next.methods).collect(),
                until: [before.until, next.until].into_iter().flatten().min(),
                chain: before.chain.or(next.chain),
                app_cred: before.app_cred.or(next.app_cred),
                federated: before.federated.or(next.federated),
                of_system: before.of_system || next.of_system,
                user: next.user,
            },
        });
    }
    proof.ok_or_else(refused)
}

/// A token in place of a password: what it was got by, its end and its chain go on. One that stands for part of somebody's roles gets no
/// other.
async fn by_token(app: &Arc<App>, data: &Map<String, Value>) -> Result<Proof, Failure> {
    let text = data.get("id").and_then(Value::as_str).unwrap_or_default();
    let valid = token::validate(app, text, 0, token::epoch(app).await?).await?.ok_or_else(refused)?;
    let claims = &valid.claims;
    if claims.trust.is_some() {
        return Err(forbidden("Using trust-scoped token to create another token. Create a new trust-scoped token instead."));
    }
    if claims.app_cred.is_some() || claims.thumbprint.is_some() || claims.methods.contains(&Method::Ec2Credential) {
        return Err(forbidden("Using a delegated token to create another token is not allowed."));
    }
    if !app.settings.identity.allow_rescope_scoped_token && claims.scope != Scope::Unscoped {
        return Err(forbidden("rescope a scoped token."));
    }
    if let Some(said) = &claims.federated {
        super::federation::check_offered(app, said).await?;
    }
    let mut methods = claims.methods.clone();
    methods.push(Method::Token);
    Ok(Proof {
        user: valid.user.clone(),
        methods,
        until: Some(claims.expires),
        chain: Some(claims.chain().to_owned()),
        app_cred: None,
        federated: claims.federated.clone(),
        of_system: claims.scope == Scope::System,
    })
}

/// Adds what a receipt says was proved before.
async fn with_receipt(app: &App, mut proof: Proof, headers: &HeaderMap) -> Result<Proof, Failure> {
    let Some(receipt) = headers.get(RECEIPT).and_then(|it| it.to_str().ok()) else { return Ok(proof) };
    let ring = token::ring(app, token::epoch(app).await?).await?;
    let now = Timestamp::now();
    let opened = ring.decrypt(receipt).ok().filter(|(_, at)| at.plus_seconds(RECEIPT_SECONDS) > now);
    let said: Value = opened.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok()).ok_or_else(refused)?;
    if said["receipt_of"].as_str() != Some(proof.user.id.as_str()) {
        return Err(refused());
    }
    proof.methods.extend(noun::strings(&said["methods"]).iter().filter_map(|name| Method::parse(name)));
    Ok(proof)
}

/// What was proved is right but not enough: a receipt for it, and what else is asked for (Source: Identity API reference, "Multi-factor
/// authentication").
async fn one_more_factor(app: &App, proof: &Proof) -> Result<Response, Failure> {
    let internal = |error: String| Failure::Internal(error);
    let now = Timestamp::now();
    let methods: Vec<&str> = Method::canonical(&proof.methods).iter().map(|it| it.name()).collect();
    let ring = token::ring(app, token::epoch(app).await?).await?;
    let said = json!({"receipt_of": proof.user.id, "methods": methods}).to_string();
    let sealed = ring.encrypt(said.as_bytes(), now).map_err(|error| internal(error.to_string()))?;
    let domain = app.store.get(&proof.user.desired.domain_id).await?.map(|it| it.name);
    let body = json!({
        "receipt": {
            "methods": methods,
            "user": {"id": proof.user.id, "name": proof.user.name, "domain": {"id": proof.user.desired.domain_id, "name": domain}},
            "expires_at": now.plus_seconds(RECEIPT_SECONDS).iso_micros(),
            "issued_at": now.iso_micros(),
        },
        "required_auth_methods": proof.user.desired.options.multi_factor_auth_rules,
    });
    Ok((StatusCode::UNAUTHORIZED, [(RECEIPT, sealed.trim_end_matches('='))], Json(body)).into_response())
}

/// What the token that is wanted means; it is for the caller to seal its claims.
///
/// # Errors
/// `Unauthorized` if the user has no role on what is asked for, or something in between is gone or disabled.
pub(super) async fn grant(app: &Arc<App>, proof: Proof, wanted: Wanted) -> Result<Arc<Valid>, Failure> {
    let epoch = token::epoch(app).await?;
    if proof.of_system && matches!(wanted.scope, Scope::Project(_) | Scope::Domain(_)) && wanted.is_asked {
        return Err(forbidden("Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed."));
    }
    let user = match &wanted.trust {
        Some(trust) if trust.desired.trustee_user_id != proof.user.id => return Err(Failure::Forbidden("User is not a trustee.".into())),
        Some(trust) if trust.desired.impersonation => trust.desired.trustor_user_id.clone(),
        _ => proof.user.id.clone(),
    };
    let mut claims = Claims::new(app, user, wanted.scope, proof.methods)?;
    claims.expires = proof.until.map_or(claims.expires, |until| until.min(claims.expires));
    for ends in [wanted.trust.as_ref().and_then(|it| it.desired.expires_at), proof.app_cred.as_ref().and_then(|it| it.desired.expires_at)] {
        claims.expires = ends.map_or(claims.expires, |ends| ends.min(claims.expires));
    }
    claims.audit.extend(proof.chain);
    claims.trust = wanted.trust.as_ref().map(|it| it.id.clone());
    claims.app_cred = proof.app_cred.map(|it| it.id);
    claims.federated = proof.federated;
    let valid = match token::meaning_of_new(app, claims.clone(), epoch).await? {
        Some(valid) => valid,
        None if !wanted.is_asked => {
            claims.scope = Scope::Unscoped;
            token::meaning_of_new(app, claims, epoch).await?.ok_or_else(refused)?
        }
        None => return Err(refused()),
    };
    if let Some(trust) = &wanted.trust {
        trusts::consume(app, trust).await?;
    }
    Ok(Arc::new(valid.issue()?))
}

/// The token a request is about.
async fn subject(ask: &Ask, headers: &HeaderMap, rule: &str) -> Result<(String, Arc<Valid>), Failure> {
    let not_found = |text: &str| Failure::named(StatusCode::NOT_FOUND, "NotFound", text.to_owned());
    let window = if ask.flag("allow_expired") { i64::from(ask.app.settings.identity.allow_expired_window_seconds) } else { 0 };
    let text = headers.get("x-subject-token").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let valid = if text.is_empty() { None } else { token::validate(&ask.app, text, window, ask.caller.epoch).await? };
    // Who does not know the calls a credential is limited to would let it do all.
    let knows_rules = headers.contains_key("openstack-identity-access-rules");
    let valid = valid.filter(|it| knows_rules || it.app_cred.as_ref().is_none_or(|(_, rules)| rules.is_none()));
    let target = valid
        .as_ref()
        .map_or_else(|| json!({}), |it| json!({"token": {"user_id": it.user.id, "user": {"domain": {"id": it.user.desired.domain_id}}}}));
    match (ask.enforce(rule, target), valid) {
        (Ok(()), Some(valid)) => Ok((text.to_owned(), valid)),
        // What is no token is nobody's: there is nothing to be let see.
        (_, None) if text.is_empty() => Err(not_found("No token in the request")),
        (_, None) => Err(not_found("Could not recognize Fernet token")),
        (Err(error), Some(_)) => Err(error),
    }
}

/// GET /auth/tokens
async fn show(ask: Ask, headers: HeaderMap) -> Result<Response, Failure> {
    let (text, valid) = subject(&ask, &headers, "identity:validate_token").await?;
    let with_catalog = ask.parameters.first("nocatalog").is_none();
    let answer = render::answer(&ask.app, &valid, &ask.origin, with_catalog, ask.caller.epoch).await?;
    Ok(([("x-subject-token", text.as_str()), ("content-type", "application/json")], answer).into_response())
}

/// HEAD /auth/tokens
async fn check(ask: Ask, headers: HeaderMap) -> Result<Response, Failure> {
    let (text, _) = subject(&ask, &headers, "identity:check_token").await?;
    Ok((StatusCode::OK, [("x-subject-token", text)]).into_response())
}

/// DELETE /auth/tokens: the token and what was got by it; `?cascade=false` it alone.
async fn revoke(ask: Ask, headers: HeaderMap) -> Result<StatusCode, Failure> {
    let (_, valid) = subject(&ask, &headers, "identity:revoke_token").await?;
    let own = valid.claims.audit.first().cloned().unwrap_or_default();
    let cascade = ask.parameters.first("cascade").is_none() || ask.flag("cascade");
    let subject = if cascade && own == valid.claims.chain() { Revoked::Chain(own) } else { Revoked::Token(own) };
    let batch = revocation::revoke(&ask.app, Batch::wishes(), vec![subject]).await?;
    ask.app.store.apply(batch).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GET /auth/projects, and /OS-FEDERATION/projects, as it was called before
pub(super) async fn own_projects(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_auth_projects", json!({}))?;
    let found = effective::projects_of(&ask.app.store, &ask.caller.user_id).await?;
    noun::answer_list(&ask, &found)
}

/// GET /auth/domains, and /OS-FEDERATION/domains, as it was called before
pub(super) async fn own_domains(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_auth_domains", json!({}))?;
    let found = effective::domains_of(&ask.app.store, &ask.caller.user_id).await?;
    noun::answer_list(&ask, &found)
}

/// GET /auth/system
async fn own_system(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:get_auth_system", json!({}))?;
    let roles = effective::direct_on(&ask.app.store, &ask.caller.user_id, &model::identity::Target::System).await?;
    let system = if roles.is_empty() { json!([]) } else { json!([{"all": true}]) };
    Ok(Json(json!({"system": system, "links": {"self": ask.link("auth/system")}})))
}

/// An id that a body gives, of whatever kind.
pub(super) fn id_in<K: model::Kind>(object: Option<&Value>) -> Option<Id<K>> {
    object.and_then(|it| it.get("id")).and_then(Value::as_str).and_then(Id::parse)
}
