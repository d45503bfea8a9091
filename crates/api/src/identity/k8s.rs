//! Webhooks of Kubernetes API servers: whose a token is and what they may do (Source: `k8s-keystone-auth` of cloud-provider-openstack).
//! They ask without a token of their own, as they do there.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ::identity::k8s::{Decision, Named, Policy, Review, UserInfo, access_review_answer, token_review_answer};
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use model::Secret;
use model::identity::Group;
use serde_json::Value;
use store::Query;

use super::{effective, token};
use crate::App;
use crate::failure::Failure;

/// How often the file is looked at, at most.
const EVERY: Duration = Duration::from_secs(1);
/// The longest policy file that is read, in bytes.
const MAX_POLICY_BYTES: u64 = 4 << 20;

/// The policy file as last read.
#[derive(Default)]
pub(super) struct Policies {
    last: Mutex<Option<Last>>,
}

struct Last {
    policy: Arc<Policy>,
    /// Time of change and length; none while there is no file.
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl Policies {
    /// The policy in force: without a file the empty one, which allows nothing. A file that comes to have an error changes nothing.
    fn current(&self, path: Option<&Path>) -> Arc<Policy> {
        let Some(path) = path else { return Arc::default() };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|it| it.looked.elapsed() < EVERY) {
            return Arc::clone(&last.policy);
        }
        let stamp = std::fs::metadata(path).ok().map(|meta| (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()));
        let policy = match last.as_ref() {
            Some(last) if last.stamp == stamp => Arc::clone(&last.policy),
            before => match read(path, stamp.map(|(_, length)| length)) {
                Ok(policy) => Arc::new(policy),
                Err(why) => {
                    tracing::error!(path = %path.display(), why, "policy file of Kubernetes clusters refused; it stays as it was");
                    before.map(|it| Arc::clone(&it.policy)).unwrap_or_default()
                }
            },
        };
        *last = Some(Last { policy: Arc::clone(&policy), stamp, looked: Instant::now() });
        policy
    }
}

fn read(path: &Path, length: Option<u64>) -> Result<Policy, String> {
    let Some(length) = length else { return Ok(Policy::default()) };
    if length > MAX_POLICY_BYTES {
        return Err(format!("it has more than {MAX_POLICY_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Policy::parse(&text).map_err(|error| error.to_string())
}

/// POST /authenticate, /authorize, /webhook: either review at either path, by its kind.
async fn review(Shared(app): Shared<Arc<App>>, bytes: Bytes) -> Result<Response, Failure> {
    let body: Value = serde_json::from_slice(&bytes).map_err(|_| Failure::BadRequest("The request body is not valid JSON.".into()))?;
    match Review::parse(&body).map_err(|error| Failure::BadRequest(error.to_string()))? {
        Review::Token(token) => {
            let user = bearer(&app, &token).await?;
            let status = if user.is_some() { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            Ok((status, Json(token_review_answer(&body, user.as_ref()))).into_response())
        }
        Review::Access(asked) => {
            let policy = app.identity.k8s.current(app.settings.identity.k8s_policy_file.as_deref());
            let decision = policy.decide(&asked);
            if let Decision::Denied(why) = decision {
                tracing::debug!(user = asked.user, verb = asked.verb, why, "not allowed in a Kubernetes cluster");
            }
            Ok(Json(access_review_answer(&body, decision)).into_response())
        }
    }
}

/// Whose a token is, if it is for a project and for all calls.
async fn bearer(app: &Arc<App>, token: &Secret) -> Result<Option<UserInfo>, Failure> {
    let Some(valid) = token::validate(app, token.reveal(), 0, token::epoch(app).await?).await? else { return Ok(None) };
    let Some((project, _)) = &valid.project else { return Ok(None) };
    // A cluster does not know the calls an application credential is limited to.
    if valid.app_cred.as_ref().is_some_and(|(_, rules)| rules.is_some()) || valid.claims.thumbprint.is_some() {
        return Ok(None);
    }
    let ids = effective::groups_of(&app.store, &valid.user.id).await?;
    let groups = match ids.is_empty() {
        true => Vec::new(),
        false => app.store.list(&Query::<Group>::new().ids(ids.iter().map(ToString::to_string))).await?,
    };
    Ok(Some(UserInfo::new(
        Named { id: valid.user.id.as_str(), name: &valid.user.name },
        Named { id: valid.user_domain.id.as_str(), name: &valid.user_domain.name },
        Named { id: project.id.as_str(), name: &project.name },
        groups.into_iter().map(|it| it.name).collect(),
        valid.roles.iter().map(|(_, name)| name.clone()).collect(),
    )))
}

/// Below `/identity/k8s`; `/webhook` is upstream's path for both.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/authenticate", post(review)).route("/authorize", post(review)).route("/webhook", post(review))
}

#[cfg(test)]
mod tests {
    use super::{EVERY, Policies};

    #[test]
    fn the_file_is_read_again_when_it_changes_and_errors_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        let policies = Policies::default();
        let empty = || {
            if let Some(last) = policies.last.lock().unwrap().as_mut() {
                last.looked -= EVERY;
            }
            policies.current(Some(&path)).is_empty()
        };
        assert!(policies.current(None).is_empty() && empty());
        std::fs::write(&path, r#"[{"nonresource": {"verbs": ["get"], "path": "/healthz"}}]"#).unwrap();
        assert!(!empty());
        std::fs::write(&path, "nonsense").unwrap();
        assert!(!empty());
        std::fs::remove_file(&path).unwrap();
        assert!(empty());
    }
}
