//! Logging in: a token, and where the catalog says that services are.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::client::{Connection, Target};

/// Who measures.
#[derive(Clone)]
pub(crate) struct Admin {
    /// Name in the default domain.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: String,
    /// Project in the default domain.
    pub(crate) project: String,
}

/// What a log-in gives.
pub(crate) struct Session {
    /// The token.
    pub(crate) token: String,
    /// The project it is for.
    pub(crate) project_id: String,
    catalog: Value,
}

impl Session {
    /// The public endpoint of the first service of a type.
    pub(crate) fn endpoint(&self, service_type: &str) -> Option<&str> {
        let services = self.catalog.as_array().into_iter().flatten().filter(|it| it["type"] == service_type);
        let mut endpoints = services.filter_map(|it| it["endpoints"].as_array()).flatten();
        endpoints.find(|it| it["interface"] == "public")?["url"].as_str()
    }
}

/// Logs in with a project's scope.
///
/// # Errors
/// The service cannot be reached, or refuses.
pub(crate) async fn log_in(target: &Target, admin: &Admin, connection: &mut Connection) -> Result<Session> {
    let domain = json!({"id": "default"});
    let user = json!({"name": admin.user, "password": admin.password, "domain": domain});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": admin.project, "domain": domain}},
    }});
    let request = target.request("POST", "/auth/tokens", &[], Some(&body));
    let answer = connection.exchange(&request).await?;
    let mut shown = answer.json(201).with_context(|| format!("logging in as {}", admin.user))?;
    let project_id = shown["token"]["project"]["id"].as_str().context("a token without a project")?.to_owned();
    let token = answer.header("x-subject-token").context("an answer without X-Subject-Token")?.to_owned();
    Ok(Session { token, project_id, catalog: shown["token"]["catalog"].take() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_endpoint_of_the_type_is_found() {
        let catalog = json!([
            {"type": "identity", "endpoints": [{"interface": "public", "url": "http://h/v3"}]},
            {"type": "network", "endpoints": [{"interface": "admin", "url": "http://a"}, {"interface": "public", "url": "http://n"}]},
        ]);
        let session = Session { token: String::new(), project_id: String::new(), catalog };
        assert_eq!(session.endpoint("network"), Some("http://n"));
        assert_eq!(session.endpoint("image"), None);
    }
}
