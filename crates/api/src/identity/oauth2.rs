//! OAuth 2 for programs: an application credential as a client gets a token (Source: RFC 6749 sections 4.4 and 5; `keystone/api/os_oauth2.py`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use model::Timestamp;
use serde_json::{Map, json};

use super::auth::{METHODS, Wanted, grant};
use super::token::Scope;
use super::{application_credentials, basic, token};
use crate::App;
use crate::failure::Failure;

/// What does not succeed for want of the client's being known.
const UNKNOWN_CLIENT: &str = "Client authentication failed.";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/OS-OAUTH2/token", post(issue).fallback(async || no_method()))
}

fn no_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "other_error", "The method is not allowed for the requested URL.")
}

/// A failure in the form of RFC 6749.
fn error(status: StatusCode, error: &str, why: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": why}))).into_response()
}

/// POST /OS-OAUTH2/token
async fn issue(Shared(app): Shared<Arc<App>>, headers: HeaderMap, bytes: Bytes) -> Response {
    let form: BTreeMap<String, String> = form_urlencoded::parse(&bytes).into_owned().collect();
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        None => return error(StatusCode::BAD_REQUEST, "invalid_request", "The parameter grant_type is required."),
        Some(other) => {
            return error(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                &format!("The parameter grant_type {other} is not supported."),
            );
        }
    }
    let in_form = || Some((form.get("client_id")?.clone(), form.get("client_secret")?.clone()));
    let by_header = basic::client(&headers).map(|it| (it.name, it.secret.reveal().to_owned()));
    let client = by_header.or_else(in_form).filter(|(id, secret)| !id.is_empty() && !secret.is_empty());
    let Some((id, secret)) = client else {
        return error(StatusCode::UNAUTHORIZED, "invalid_client", UNKNOWN_CLIENT);
    };
    match by_secret(&app, id, secret).await {
        Ok((text, seconds)) => {
            let body = json!({"access_token": text, "token_type": "Bearer", "expires_in": seconds});
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(failure) => match failure.status() {
            StatusCode::UNAUTHORIZED => error(StatusCode::UNAUTHORIZED, "invalid_client", &failure.message()),
            StatusCode::BAD_REQUEST => error(StatusCode::BAD_REQUEST, "invalid_request", &failure.message()),
            status => {
                tracing::warn!(%failure, "no OAuth 2 token was issued");
                error(status, "other_error", "An unknown error occurred and failed to get an OAuth2.0 access token.")
            }
        },
    }
}

/// A token of an application credential, and for how many seconds it holds.
async fn by_secret(app: &Arc<App>, id: String, secret: String) -> Result<(String, i64), Failure> {
    let data: Map<_, _> = [("id".to_owned(), json!(id)), ("secret".to_owned(), json!(secret))].into_iter().collect();
    let proof = application_credentials::authenticate(app, &data).await?;
    let names: Vec<&str> = proof.methods.iter().map(|it| it.name()).collect();
    let project = proof.app_cred.as_ref().map(|it| it.desired.of_project.clone());
    let Some(project) = project.filter(|_| proof.user.desired.options.factors_suffice(&names, &METHODS)) else {
        return Err(super::ask::refused());
    };
    let valid = grant(app, proof, Wanted { scope: Scope::Project(project), trust: None, is_asked: true }).await?;
    let sealed = token::seal(app, &valid.claims).await?;
    tracing::info!(user.id = %valid.user.id, scope = ?valid.claims.scope, "token issued");
    #[expect(clippy::cast_possible_truncation, reason = "the seconds of a token are few")]
    let seconds = valid.claims.expires.seconds_since(Timestamp::now()).ceil() as i64;
    Ok((sealed, seconds))
}
