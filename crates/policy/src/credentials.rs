//! Who asks, and what rules may know about them.

use std::borrow::Cow;

use crate::Scope;

/// Who asks. Rules read it by the attribute names of oslo.context, see [`Credentials::attribute`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user_id: String,
    /// The domain the user is of.
    pub user_domain_id: String,
    /// The project the token is for.
    pub project_id: Option<String>,
    /// The domain that project is of.
    pub project_domain_id: Option<String>,
    /// The domain the token is for.
    pub domain_id: Option<String>,
    /// Whether the token is for the system.
    pub system: bool,
    /// The names of the roles held, implied ones included.
    pub roles: Vec<String>,
    /// The trust the token was made from.
    pub trust_id: Option<String>,
    /// The user who gave that trust.
    pub trustor_id: Option<String>,
    /// The user who received that trust.
    pub trustee_id: Option<String>,
    /// Whether the request also carries the valid token of a service.
    pub is_service: bool,
    /// What that token of a service says.
    pub service: ServiceCredentials,
}

/// What the token of a service says that came along with the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCredentials {
    /// The service's user.
    pub user_id: Option<String>,
    /// The domain that user is of.
    pub user_domain_id: Option<String>,
    /// The project of the service's token.
    pub project_id: Option<String>,
    /// The domain that project is of.
    pub project_domain_id: Option<String>,
    /// The names of the roles the service holds.
    pub roles: Vec<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    One(Cow<'a, str>),
    Many(&'a [String]),
}

impl Credentials {
    /// The scope of the token; none if it is unscoped.
    pub fn scope(&self) -> Option<Scope> {
        if self.system {
            Some(Scope::System)
        } else if self.domain_id.is_some() {
            Some(Scope::Domain)
        } else if self.project_id.is_some() {
            Some(Scope::Project)
        } else {
            None
        }
    }

    /// The value of the attribute `name`, as Python's `str()` renders it; none if there is no such attribute, or if it is
    /// a list (roles).
    ///
    /// Names are those of `RequestContext.to_policy_values` in oslo.context, where an attribute without a value is
    /// `None`; Keystone's `token.…` as far as the fields here tell; and `trust_id`, `trustor_id`, `trustee_id`,
    /// `trust.id`, `trust.trustor_id`, `trust.trustee_id`, `is_service`, which are missing without a value.
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.lookup(name)? {
            Found::One(value) => Some(value),
            Found::Many(_) => None,
        }
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<Found<'_>> {
        /// A context attribute is always there: without a value it is None.
        fn or_none(value: &Option<String>) -> Option<&str> {
            Some(value.as_deref().unwrap_or("None"))
        }
        let value = match name {
            "user_id" | "user" | "token.user.id" => Some(self.user_id.as_str()),
            "user_domain_id" | "user_domain" | "token.user.domain.id" => Some(self.user_domain_id.as_str()),
            "project_id" | "tenant_id" | "project" | "tenant" => or_none(&self.project_id),
            "project_domain_id" | "project_domain" => or_none(&self.project_domain_id),
            "domain_id" | "domain" => or_none(&self.domain_id),
            "system_scope" => Some(if self.system { "all" } else { "None" }),
            "system" => self.system.then_some("all"),
            // Without an admin project configured, every token counts as one of it.
            "is_admin_project" => Some("True"),
            "is_service" => Some(if self.is_service { "True" } else { "False" }),
            "service_user_id" => or_none(&self.service.user_id),
            "service_user_domain_id" => or_none(&self.service.user_domain_id),
            "service_project_id" => or_none(&self.service.project_id),
            "service_project_domain_id" => or_none(&self.service.project_domain_id),
            "trust_id" | "trust.id" => self.trust_id.as_deref(),
            "trustor_id" | "trust.trustor_id" => self.trustor_id.as_deref(),
            "trustee_id" | "trust.trustee_id" => self.trustee_id.as_deref(),
            // The token's body has exactly one of system, domain and project.
            "token.system.all" => self.system.then_some("True"),
            "token.domain.id" => self.only(Scope::Domain, &self.domain_id),
            "token.project.id" => self.only(Scope::Project, &self.project_id),
            "token.project.domain.id" => self.only(Scope::Project, &self.project_domain_id),
            "roles" => return Some(Found::Many(&self.roles)),
            "token.roles.name" => return self.scope().map(|_| Found::Many(&self.roles)),
            "service_roles" => return Some(Found::Many(&self.service.roles)),
            _ => None,
        };
        value.map(|value| Found::One(Cow::Borrowed(value)))
    }

    fn only<'a>(&self, scope: Scope, value: &'a Option<String>) -> Option<&'a str> {
        if self.scope() == Some(scope) { value.as_deref() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_wins_over_domain_over_project() {
        let mut who = Credentials { project_id: Some("p".into()), ..Credentials::default() };
        assert_eq!(who.scope(), Some(Scope::Project));
        who.domain_id = Some("d".into());
        assert_eq!(who.scope(), Some(Scope::Domain));
        who.system = true;
        assert_eq!(who.scope(), Some(Scope::System));
        assert_eq!(Credentials::default().scope(), None);
    }

    #[test]
    fn attributes_by_their_context_names() {
        let who = Credentials {
            user_id: "u".into(),
            project_id: Some("p".into()),
            project_domain_id: Some("d".into()),
            trustor_id: Some("t".into()),
            roles: vec!["member".into()],
            ..Credentials::default()
        };
        assert_eq!(who.attribute("user_id").as_deref(), Some("u"));
        assert_eq!(who.attribute("tenant_id").as_deref(), Some("p"));
        assert_eq!(who.attribute("token.project.domain.id").as_deref(), Some("d"));
        assert_eq!(who.attribute("token.domain.id"), None);
        assert_eq!(who.attribute("domain_id").as_deref(), Some("None"));
        assert_eq!(who.attribute("system_scope").as_deref(), Some("None"));
        assert_eq!(who.attribute("system"), None);
        assert_eq!(who.attribute("trust.trustor_id").as_deref(), Some("t"));
        assert_eq!(who.attribute("trust_id"), None);
        assert_eq!(who.attribute("roles"), None);
        assert_eq!(who.attribute("is_admin"), None);
        assert_eq!(who.attribute(""), None);
    }
}
