//! Tokens: Fernet, so that no replica keeps them; what a token means is read anew at each use.

use std::sync::Arc;

use fernet::{Fernet, MultiFernet};
use model::identity::{Assignment, Domain, Project, Role, Target, User};
use model::{Id, Object, Timestamp};
use store::{Query, Store, StoreError};

use super::password::Hashing;
use crate::App;
use crate::caller::Caller;
use crate::failure::Failure;

/// Pool of the audit ids of revoked tokens.
pub(crate) const REVOKED: &str = "revoked-token";
/// Where the keys are: with spaces between them. The first seals, all open.
const KEYS: &str = "identity/fernet";

/// What identity keeps in memory.
pub(crate) struct State {
    fernet: MultiFernet,
    pub(crate) hashing: Hashing,
}

impl State {
    pub(crate) async fn open(store: &Store) -> Result<Self, StoreError> {
        let text = store.setting_or(KEYS, &Fernet::generate_key()).await?;
        let keys: Option<Vec<Fernet>> = text.split_whitespace().map(Fernet::new).collect();
        let keys = keys.filter(|keys| !keys.is_empty());
        let keys = keys.ok_or_else(|| StoreError::Open("the keys of the tokens in the store are not Fernet keys".into()))?;
        Ok(Self { fernet: MultiFernet::new(keys), hashing: Hashing::new() })
    }
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Unscoped,
    Project(Id<Project>),
    Domain(Id<Domain>),
    System,
}

/// What stands in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) user: Id<User>,
    pub(crate) scope: Scope,
    pub(crate) methods: Vec<String>,
    pub(crate) audit: String,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
}

impl Claims {
    fn write(&self) -> String {
        let scope = match &self.scope {
            Scope::Unscoped => "u".to_owned(),
            Scope::Project(id) => format!("p{id}"),
            Scope::Domain(id) => format!("d{id}"),
            Scope::System => "s".to_owned(),
        };
        let methods: String = self.methods.iter().map(|method| if method == "password" { 'p' } else { 't' }).collect();
        format!("{}|{scope}|{methods}|{}|{:x}|{:x}", self.user, self.audit, self.issued.0, self.expires.0)
    }

    fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('|').collect();
        let [user, scope, methods, audit, issued, expires] = parts.as_slice() else { return None };
        let scope = match scope.split_at_checked(1)? {
            ("u", "") => Scope::Unscoped,
            ("s", "") => Scope::System,
            ("p", id) => Scope::Project(Id::parse(id)?),
            ("d", id) => Scope::Domain(Id::parse(id)?),
            _ => return None,
        };
        let moment = |text: &str| i64::from_str_radix(text, 16).ok().map(Timestamp);
        Some(Self {
            user: Id::parse(user)?,
            scope,
            methods: methods.chars().map(|method| if method == 'p' { "password".to_owned() } else { "token".to_owned() }).collect(),
            audit: (*audit).to_owned(),
            issued: moment(issued)?,
            expires: moment(expires)?,
        })
    }
}

/// A token that holds now, with what it means.
pub(crate) struct Valid {
    pub(crate) claims: Claims,
    pub(crate) user: Object<User>,
    pub(crate) user_domain: Object<Domain>,
    pub(crate) project: Option<(Object<Project>, Object<Domain>)>,
    pub(crate) domain: Option<Object<Domain>>,
    pub(crate) roles: Vec<(Id<Role>, String)>,
    pub(crate) caller: Caller,
}

/// The token of these claims.
pub(crate) fn seal(app: &App, claims: &Claims) -> String {
    // Clients put tokens into headers and file names: without padding, as Keystone does.
    app.identity.fernet.encrypt(claims.write().as_bytes()).trim_end_matches('=').to_owned()
}

/// New claims, from now on.
pub(crate) fn claims(app: &App, user: Id<User>, scope: Scope, methods: Vec<String>, until: Option<Timestamp>) -> Claims {
    let now = Timestamp::now();
    let usual = now.plus_seconds(i64::from(app.settings.token_ttl_seconds));
    let audit: String = Id::<()>::random_hex().as_str().chars().take(22).collect();
    // A token got by a token does not outlive it.
    Claims { user, scope, methods, audit, issued: now, expires: until.map_or(usual, |until| until.min(usual)) }
}

/// What a token means, if it is ours, not expired, not revoked, and what it stands for is still there and enabled.
pub(crate) async fn validate(app: &Arc<App>, token: &str) -> Result<Option<Valid>, Failure> {
    // Longer is no token of ours; the bound keeps the work on strangers' headers small.
    if token.is_empty() || token.len() > 512 {
        return Ok(None);
    }
    let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
    let Some(claims) = app.identity.fernet.decrypt(&padded).ok().and_then(|it| String::from_utf8(it).ok()).and_then(|it| Claims::read(&it))
    else {
        return Ok(None);
    };
    if claims.expires <= Timestamp::now() || app.store.allocation(REVOKED, &claims.audit).await?.is_some() {
        return Ok(None);
    }
    meaning(app, claims).await
}

/// What claims mean now; `None` if they mean nothing any more.
pub(crate) async fn meaning(app: &Arc<App>, claims: Claims) -> Result<Option<Valid>, Failure> {
    let store = &app.store;
    let Some(user) = store.get(&claims.user).await?.filter(|user| user.desired.enabled && user.desired.tokens_not_before <= claims.issued)
    else {
        return Ok(None);
    };
    let enabled = async |id: &Id<Domain>| Ok::<_, Failure>(store.get(id).await?.filter(|domain| domain.desired.enabled));
    let Some(user_domain) = enabled(&user.desired.domain_id).await? else { return Ok(None) };
    let mut project = None;
    let mut domain = None;
    let target = match &claims.scope {
        Scope::Unscoped => None,
        Scope::Project(id) => {
            let Some(found) = store.get(id).await?.filter(|it| it.desired.enabled) else { return Ok(None) };
            let Some(its_domain) = enabled(&found.desired.domain_id).await? else { return Ok(None) };
            project = Some((found, its_domain));
            Some(Target::Project(id.clone()))
        }
        Scope::Domain(id) => {
            let Some(found) = enabled(id).await? else { return Ok(None) };
            domain = Some(found);
            Some(Target::Domain(id.clone()))
        }
        Scope::System => Some(Target::System),
    };
    let mut roles = Vec::new();
    if let Some(target) = &target {
        roles = roles_on(store, &user.id, target).await?;
        if roles.is_empty() {
            return Ok(None);
        }
    }
    let caller = Caller {
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        user_domain_id: user.desired.domain_id.clone(),
        project_id: project.as_ref().map(|(project, _)| project.id.clone()),
        domain_id: domain.as_ref().map(|domain| domain.id.clone()),
        system: claims.scope == Scope::System,
        roles: roles.iter().map(|(_, name)| name.clone()).collect(),
    };
    Ok(Some(Valid { claims, user, user_domain, project, domain, roles, caller }))
}

/// The roles a user has on a target, with those they imply: admin → manager → member → reader.
pub(crate) async fn roles_on(store: &Store, user: &Id<User>, target: &Target) -> Result<Vec<(Id<Role>, String)>, Failure> {
    let query = Query::<Assignment>::new().column("user_id", [user.to_string()]).column("target", [target.key()]);
    let given: Vec<String> = store.list(&query).await?.into_iter().map(|it| it.desired.role_id.to_string()).collect();
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let all = store.list(&Query::<Role>::new()).await?;
    let mut names: Vec<&str> =
        all.iter().filter(|role| given.iter().any(|id| id == role.id.as_str())).map(|role| role.name.as_str()).collect();
    for (role, implied) in [("admin", "manager"), ("manager", "member"), ("member", "reader")] {
        if names.contains(&role) && !names.contains(&implied) {
            names.push(implied);
        }
    }
    Ok(all.iter().filter(|role| names.contains(&role.name.as_str())).map(|role| (role.id.clone(), role.name.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_as_written() {
        for scope in [Scope::Unscoped, Scope::System, Scope::Project(Id::random_hex()), Scope::Domain(Id::parse("default").unwrap())] {
            let claims = Claims {
                user: Id::random_hex(),
                scope,
                methods: vec!["password".into(), "token".into()],
                audit: "a".repeat(22),
                issued: Timestamp(1_795_258_140_000_000),
                expires: Timestamp(1_795_258_140_000_001),
            };
            let text = claims.write();
            assert_eq!(Claims::read(&text).as_ref(), Some(&claims));
            let sealed = Fernet::new(&Fernet::generate_key()).unwrap().encrypt(text.as_bytes());
            assert!(sealed.len() < 255, "{} bytes", sealed.len());
        }
        for wrong in ["", "a|b", "a|x|p|c|1|2", "a|u|p|c|z|2", "a|pno spaces|p|c|1|2"] {
            assert_eq!(Claims::read(wrong), None, "{wrong}");
        }
    }
}
