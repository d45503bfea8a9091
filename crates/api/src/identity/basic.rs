//! HTTP's basic scheme in place of a token (Source: RFC 7617), for clients of a service that know nothing of identity: Metal3's operator
//! speaks to bare metal in no other way (Source: baremetal-operator, `pkg/provisioner/ironic/clients/auth.go`).
//!
//! The name is that of an application credential (its id) or of a user of the default domain, who works for the default project, or for the
//! only one there is a role on. It is the same as getting a token by the same proof and using it: what is demanded of passwords and of
//! factors, lock-out and revocation hold as there. So that not each request costs the hashing of a password the token is remembered, under a
//! digest that only this process can make.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use model::identity::ApplicationCredential;
use model::{Id, Secret, Timestamp};
use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};

use super::auth::{METHODS, Proof, Wanted, grant, password};
use super::token::{Scope, Valid};
use super::{application_credentials, ask, effective, token};
use crate::App;
use crate::failure::Failure;

/// Most proofs whose token is remembered.
const REMEMBERED: usize = 1000;
/// The domain whose users are named by their name alone.
const DOMAIN: &str = "default";

/// Tokens that proofs stand for.
pub(crate) struct Cache {
    key: [u8; 32],
    tokens: Mutex<HashMap<[u8; 32], Secret>>,
}

impl Cache {
    /// With a key of its own.
    ///
    /// # Errors
    /// There are no random numbers.
    pub(super) fn new() -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| error.to_string())?;
        Ok(Self { key, tokens: Mutex::default() })
    }

    fn digest(&self, client: &Client) -> [u8; 32] {
        // The length keeps names and secrets apart.
        Sha256::new()
            .chain_update(self.key)
            .chain_update(client.name.len().to_be_bytes())
            .chain_update(&client.name)
            .chain_update(client.secret.reveal())
            .finalize()
            .into()
    }

    fn get(&self, digest: &[u8; 32]) -> Option<Secret> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn put(&self, digest: [u8; 32], token: Secret) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= REMEMBERED {
            tokens.clear();
        }
        tokens.insert(digest, token);
    }
}

/// Who a request says it is from, and the secret that is to prove it.
pub(super) struct Client {
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// What the header of a request says, if it is of the basic scheme.
pub(super) fn client(headers: &HeaderMap) -> Option<Client> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, coded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(coded.trim()).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    Some(Client { name: name.to_owned(), secret: Secret::new(secret) })
}

/// The token that a request's basic proof stands for; none if it brings no such proof, or if the setting does not let it.
///
/// # Errors
/// `Unauthorized` if it proves nothing, or if there is no one project that it could be for.
pub(crate) async fn token_of(app: &Arc<App>, headers: &HeaderMap) -> Result<Option<Secret>, Failure> {
    if !app.settings.identity.http_basic {
        return Ok(None);
    }
    let Some(client) = client(headers) else { return Ok(None) };
    let digest = app.identity.basic.digest(&client);
    if let Some(known) = app.identity.basic.get(&digest)
        && let Some(valid) = token::validate(app, known.reveal(), 0, token::epoch(app).await?).await?
        && would_do_again(&valid, &client.name)
    {
        return Ok(Some(known));
    }
    let proof = prove(app, &client).await?;
    let names: Vec<&str> = proof.methods.iter().map(|it| it.name()).collect();
    if !proof.user.desired.options.factors_suffice(&names, &METHODS) {
        return Err(ask::refused());
    }
    let scope = scope(app, &proof).await?;
    let valid = grant(app, proof, Wanted { scope, trust: None, is_asked: true }).await?;
    let sealed = Secret::new(token::seal(app, &valid.claims).await?);
    tracing::info!(user.id = %valid.user.id, scope = ?valid.claims.scope, "let in by HTTP's basic scheme");
    app.identity.basic.put(digest, sealed.clone());
    Ok(Some(sealed))
}

/// Whether the same proof would give the same token now. A token holds for its time whatever is demanded later; but here nobody sees that
/// there is one.
fn would_do_again(valid: &Valid, name: &str) -> bool {
    let (user, claims) = (&valid.user, &valid.claims);
    let names: Vec<&str> = claims.methods.iter().map(|it| it.name()).collect();
    if !user.desired.options.factors_suffice(&names, &METHODS) {
        return false;
    }
    if let Some(app_cred) = &claims.app_cred {
        return app_cred.as_str() == name;
    }
    user.name == name
        && !user.desired.password.password_expired(&user.desired.options, Timestamp::now())
        && user.desired.default_project_id.as_ref().is_none_or(|it| claims.scope == Scope::Project(it.clone()))
}

async fn prove(app: &Arc<App>, client: &Client) -> Result<Proof, Failure> {
    if client.name.contains('\0') || client.secret.reveal().contains('\0') {
        return Err(ask::refused());
    }
    let of = |map: serde_json::Value| map.as_object().cloned().unwrap_or_else(Map::new);
    let app_cred = match Id::<ApplicationCredential>::parse(&client.name) {
        Some(id) => app.store.get(&id).await?,
        None => None,
    };
    if app_cred.is_some() {
        let data = of(json!({"id": client.name, "secret": client.secret.reveal()}));
        return application_credentials::authenticate(app, &data).await;
    }
    let user = json!({"name": client.name, "domain": {"id": DOMAIN}, "password": client.secret.reveal()});
    password::authenticate(app, &of(json!({ "user": user }))).await
}

/// The project that a proof is for.
async fn scope(app: &App, proof: &Proof) -> Result<Scope, Failure> {
    if let Some(app_cred) = &proof.app_cred {
        return Ok(Scope::Project(app_cred.desired.of_project.clone()));
    }
    if let Some(project) = &proof.user.desired.default_project_id {
        return Ok(Scope::Project(project.clone()));
    }
    match effective::projects_of(&app.store, &proof.user.id).await?.as_slice() {
        [only] => Ok(Scope::Project(only.id.clone())),
        _ => Err(Failure::Unauthorized("The user has no default project, and roles on none or on several.".into())),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_headers_say() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap())]);
            client(&headers).map(|it| (it.name, it.secret.reveal().to_owned()))
        };
        let pair = |name: &str, secret: &str| Some((name.to_owned(), secret.to_owned()));
        assert_eq!(of("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(of("bASIC YTo="), pair("a", ""));
        for wrong in ["Basic", "Basic ", "Basic YQ==", "Basic /w==", "Basic !", "Bearer YTpi"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn proofs_that_differ_are_kept_apart_and_few_are_kept() {
        let cache = Cache::new().unwrap();
        let of = |name: &str, secret: &str| cache.digest(&Client { name: name.into(), secret: Secret::new(secret) });
        assert_eq!(of("a", "bc"), of("a", "bc"));
        assert_ne!(of("a", "bc"), of("ab", "c"));
        assert_ne!(of("a", "bc"), Cache::new().unwrap().digest(&Client { name: "a".into(), secret: Secret::new("bc") }));
        for at in 0..=REMEMBERED {
            cache.put(of("a", &at.to_string()), Secret::new("t"));
        }
        assert!(cache.tokens.lock().unwrap().len() <= REMEMBERED);
        assert!(cache.get(&of("a", &REMEMBERED.to_string())).is_some());
    }
}
