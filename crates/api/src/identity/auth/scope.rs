//! For what a token is wanted.

use std::sync::Arc;

use model::Id;
use model::identity::{Project, Trust};
use serde_json::Value;

use super::password::domain_in;
use super::{Proof, Wanted};
use crate::App;
use crate::failure::Failure;
use crate::identity::ask::refused;
use crate::identity::noun;
use crate::identity::token::Scope;

const SCOPES: [&str; 5] = ["project", "domain", "system", "unscoped", "OS-TRUST:trust"];

/// The scope a body asks for; without one the user's default project.
pub(super) async fn wanted(app: &Arc<App>, proof: &Proof, asked: Option<&Value>) -> Result<Wanted, Failure> {
    let of = |scope| Wanted { scope, trust: None, is_asked: true };
    if let Some(app_cred) = &proof.app_cred {
        if asked.is_some() {
            return Err(Failure::Unauthorized(
                "Error authenticating with application credential: Application credentials cannot request a scope.".into(),
            ));
        }
        return Ok(of(Scope::Project(app_cred.desired.of_project.clone())));
    }
    let Some(asked) = asked.filter(|it| !it.is_null()) else {
        let scope = proof.user.desired.default_project_id.clone().filter(|_| proof.federated.is_none());
        return Ok(Wanted { scope: scope.map_or(Scope::Unscoped, Scope::Project), trust: None, is_asked: false });
    };
    if asked.as_str() == Some("unscoped") {
        return Ok(of(Scope::Unscoped));
    }
    if SCOPES.iter().filter(|scope| asked.get(**scope).is_some()).count() != 1 {
        return Err(Failure::BadRequest(
            "Expecting to find system, project, domain, OS-TRUST:trust or unscoped in scope. The server could not comply with the request \
             since it is either malformed or otherwise incorrect. The client is assumed to be in error."
                .into(),
        ));
    }
    if asked.get("unscoped").is_some() {
        return Ok(of(Scope::Unscoped));
    }
    if let Some(system) = asked.get("system") {
        return match system.get("all").and_then(Value::as_bool) {
            Some(true) => Ok(of(Scope::System)),
            _ => Err(Failure::BadRequest("Expecting to find all, which is true, in system.".into())),
        };
    }
    if asked.get("domain").is_some() {
        return Ok(of(Scope::Domain(domain_in(app, asked.get("domain")).await?.ok_or_else(refused)?)));
    }
    if let Some(project) = asked.get("project") {
        return Ok(of(Scope::Project(project_in(app, project).await?)));
    }
    let id = asked.pointer("/OS-TRUST:trust/id").and_then(Value::as_str).unwrap_or_default();
    let trust = match Id::<Trust>::parse(id) {
        Some(id) => app.store.get(&id).await?,
        None => None,
    };
    let trust = trust.ok_or_else(refused)?;
    let scope = trust.desired.of_project.clone().map_or(Scope::Unscoped, Scope::Project);
    Ok(Wanted { scope, trust: Some(trust), is_asked: true })
}

/// The project that is named by id, or by name and domain.
pub(in crate::identity) async fn project_in(app: &App, asked: &Value) -> Result<Id<Project>, Failure> {
    if let Some(id) = asked.get("id").and_then(Value::as_str) {
        return Id::parse(id).ok_or_else(refused);
    }
    let name = asked.get("name").and_then(Value::as_str).ok_or_else(refused)?;
    if asked.get("domain").is_none() {
        return Err(Failure::BadRequest("Expecting to find domain in project.".into()));
    }
    let domain = domain_in(app, asked.get("domain")).await?.ok_or_else(refused)?;
    Ok(noun::named::<Project>(app, domain.as_str(), name).await?.ok_or_else(refused)?.id)
}
