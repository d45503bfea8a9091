//! Who asks.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use http::request::Parts;
use model::Id;
use model::identity::{Domain, Project, User};

use crate::App;
use crate::failure::Failure;
use crate::identity::token::{self, Valid};

/// Who asks, for what, with which roles: what a valid token says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user_id: Id<User>,
    /// The user's name.
    pub user_name: String,
    /// The user's domain.
    pub user_domain_id: Id<Domain>,
    /// The project of a token scoped to one.
    pub project_id: Option<Id<Project>>,
    /// The domain of a token scoped to one.
    pub domain_id: Option<Id<Domain>>,
    /// Whether the token is scoped to the whole system.
    pub system: bool,
    /// Roles by name, with those they imply.
    pub roles: Vec<String>,
    /// The same as rules see it.
    pub credentials: Arc<policy::Credentials>,
    /// The token and all that it means.
    pub(crate) token: Arc<Valid>,
    /// How often identity had changed when the token was looked at.
    pub(crate) epoch: i64,
}

impl Caller {
    /// The project the caller works for.
    ///
    /// # Errors
    /// `Forbidden` if the token is not scoped to a project.
    pub fn project(&self) -> Result<&Id<Project>, Failure> {
        self.project_id.as_ref().ok_or_else(|| Failure::Forbidden("This needs a token scoped to a project.".into()))
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        // No text of ours holds a NUL, and one of the databases cannot be asked for one.
        if parts.uri.path().contains("%00") || parts.uri.query().is_some_and(|it| it.contains("%00")) {
            return Err(Failure::BadRequest("The address contains a NUL character.".into()));
        }
        let missing = || Failure::Unauthorized("The request you have made requires authentication.".into());
        let text = parts.headers.get("x-auth-token").and_then(|it| it.to_str().ok()).ok_or_else(missing)?;
        let epoch = token::epoch(app).await?;
        let valid = token::validate(app, text, 0, epoch).await?.ok_or_else(missing)?;
        let original = parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.path(), |it| it.0.path());
        crate::identity::access_rules::check(&valid, parts.method.as_str(), original)?;
        let caller = valid.caller(epoch);
        tracing::Span::current().record("user.id", caller.user_id.as_str());
        if let Some(project) = &caller.project_id {
            tracing::Span::current().record("project.id", project.as_str());
        }
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}
