//! Tokens: what they claim, what that means now, and for how long it may be remembered.
//!
//! A token is Fernet, so no replica keeps it. What it means is worked out from the store at its first use and remembered together with
//! the count of identity's changes ([`super::noun::EPOCH`]); at each further use one look at that counter tells whether it still holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::identity::keys::KeyRing;
use ::identity::payload::{Federated, Method, Payload, TokenScope};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::access::Revoked;
use model::identity::{AccessRule, ApplicationCredential, Domain, Membership, Project, Role, Target, Trust, User};
use model::{Id, Object, Timestamp};
use store::{Batch, Query, Store, StoreError};

use super::effective::{Inference, direct_on};
use super::hashing::Hashing;
use super::noun::EPOCH;
use super::revocation::void_before;
use crate::App;
use crate::caller::Caller;
use crate::failure::Failure;

/// Where the keys are.
pub(crate) const KEYS: &str = "identity/fernet";
/// Most tokens whose meaning is remembered.
const REMEMBERED: usize = 20_000;

/// Meanings, each with the count of changes it was worked out at.
type Remembered<K> = Mutex<HashMap<K, (i64, Arc<Valid>)>>;

/// What identity keeps in memory.
pub(crate) struct State {
    pub(crate) hashing: Hashing,
    ring: Mutex<Option<(i64, Arc<KeyRing>)>>,
    inference: Mutex<Option<(i64, Arc<Inference>)>>,
    meanings: Remembered<String>,
    /// What tokens of a user for a scope mean, whichever of them it is.
    scoped: Remembered<(Id<User>, Scope)>,
    pub(super) basic: super::basic::Cache,
    pub(super) catalogs: super::catalog::Cache,
    pub(super) providers: super::federation::Providers,
    pub(super) k8s: super::k8s::Policies,
}

impl State {
    /// Reads the keys all replicas share, making them at the first start.
    pub(crate) async fn open(app_store: &Store, settings: &super::IdentitySettings) -> Result<Self, StoreError> {
        let wrong = |why: String| StoreError::Open(format!("the keys of the tokens: {why}"));
        let first = KeyRing::first().map_err(|error| wrong(error.to_string()))?;
        let text = app_store.setting_or(KEYS, first.write().reveal()).await?;
        let ring = KeyRing::parse(&text).map_err(|error| wrong(error.to_string()))?;
        let epoch = app_store.counter(EPOCH).await?;
        Ok(Self {
            hashing: Hashing::new(settings).map_err(StoreError::Open)?,
            ring: Mutex::new(Some((epoch, Arc::new(ring)))),
            inference: Mutex::new(None),
            meanings: Mutex::new(HashMap::new()),
            scoped: Mutex::new(HashMap::new()),
            basic: super::basic::Cache::new().map_err(StoreError::Open)?,
            catalogs: super::catalog::Cache::default(),
            providers: super::federation::Providers::default(),
            k8s: super::k8s::Policies::default(),
        })
    }
}

/// How often identity changed so far. What is remembered of an earlier count does not hold.
pub(crate) async fn epoch(app: &App) -> Result<i64, Failure> {
    Ok(app.store.counter(EPOCH).await?)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is kept is replaced whole: a panic elsewhere leaves nothing half done in it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keys as of this count.
pub(super) async fn ring(app: &App, epoch: i64) -> Result<Arc<KeyRing>, Failure> {
    if let Some((of, ring)) = locked(&app.identity.ring).as_ref()
        && *of == epoch
    {
        return Ok(Arc::clone(ring));
    }
    let text = app.store.setting(KEYS).await?.ok_or_else(|| Failure::Internal("the keys of the tokens are gone".into()))?;
    let ring = Arc::new(KeyRing::parse(&text).map_err(|error| Failure::Internal(error.to_string()))?);
    *locked(&app.identity.ring) = Some((epoch, Arc::clone(&ring)));
    Ok(ring)
}

/// See [`crate::rotate_token_keys`].
pub(crate) async fn rotate(store: &Store, max_active_keys: u32) -> Result<Vec<u32>, StoreError> {
    let (text, mut ring) = read_ring(store).await?;
    ring.rotate(max_active_keys).map_err(|error| StoreError::Open(format!("the keys of the tokens: {error}")))?;
    store.apply(Batch::wishes().change(KEYS, &text, ring.write().reveal()).bump(EPOCH)).await?;
    Ok(ring.keys().keys().copied().collect())
}

/// See [`crate::token_keys`].
pub(crate) async fn key_numbers(store: &Store) -> Result<Vec<u32>, StoreError> {
    Ok(read_ring(store).await?.1.keys().keys().copied().collect())
}

async fn read_ring(store: &Store) -> Result<(String, KeyRing), StoreError> {
    let text = store.setting(KEYS).await?.ok_or_else(|| StoreError::Open("the store has no keys of tokens: it was never served".into()))?;
    let ring = KeyRing::parse(&text).map_err(|error| StoreError::Open(format!("the keys of the tokens: {error}")))?;
    Ok((text, ring))
}

/// Roles and what they imply, as of this count.
pub(super) async fn inference(app: &App, epoch: i64) -> Result<Arc<Inference>, Failure> {
    if let Some((of, inference)) = locked(&app.identity.inference).as_ref()
        && *of == epoch
    {
        return Ok(Arc::clone(inference));
    }
    let read = Arc::new(Inference::read(&app.store).await?);
    *locked(&app.identity.inference) = Some((epoch, Arc::clone(&read)));
    Ok(read)
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Unscoped,
    Project(Id<Project>),
    Domain(Id<Domain>),
    System,
}

/// What stands in a token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims {
    pub(crate) user: Id<User>,
    pub(crate) scope: Scope,
    pub(crate) methods: Vec<Method>,
    /// The token's own audit id, then that of the first of its chain if it was got by another.
    pub(crate) audit: Vec<String>,
    /// To the microsecond, which the envelope of a token does not hold; see [`audit_id`].
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) trust: Option<Id<Trust>>,
    pub(crate) app_cred: Option<Id<ApplicationCredential>>,
    pub(crate) federated: Option<Federated>,
    /// Of OAuth 2 with a client certificate: what the certificate must be.
    pub(crate) thumbprint: Option<String>,
}

/// Bytes of an audit id that are random; the rest tells the moment of issue within its second. The envelope of a token holds whole seconds,
/// which is too coarse to tell a token that was issued before something was revoked from one that was issued after.
const RANDOM: usize = 13;

fn audit_id(at: Timestamp) -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Internal(error.to_string()))?;
    let micros = u32::try_from(at.0.rem_euclid(1_000_000)).unwrap_or_default().to_be_bytes();
    for (place, byte) in bytes.iter_mut().skip(RANDOM).zip(micros.into_iter().skip(1)) {
        *place = byte;
    }
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn micros_in(audit_id: &str) -> i64 {
    let bytes = URL_SAFE_NO_PAD.decode(audit_id).unwrap_or_default();
    bytes.iter().skip(RANDOM).fold(0_i64, |sum, byte| (sum << 8 | i64::from(*byte)) & 0xff_ffff) % 1_000_000
}

impl Claims {
    /// Claims of a user from now on; the rest is for the caller to set.
    pub(crate) fn new(app: &App, user: Id<User>, scope: Scope, methods: Vec<Method>) -> Result<Self, Failure> {
        let now = Timestamp::now();
        Ok(Self {
            user,
            scope,
            methods: Method::canonical(&methods),
            audit: vec![audit_id(now)?],
            issued: now,
            // Whole seconds, as the other end of its life.
            expires: ::identity::token::issued(now).plus_seconds(i64::from(app.settings.identity.token_ttl_seconds)),
            trust: None,
            app_cred: None,
            federated: None,
            thumbprint: None,
        })
    }

    /// The audit id of the first token of the chain.
    pub(crate) fn chain(&self) -> &str {
        self.audit.last().map_or("", String::as_str)
    }

    fn payload(&self) -> Payload {
        let scope = match (&self.scope, &self.trust) {
            (Scope::Project(project), Some(trust)) => TokenScope::Trust { project: Some(project.to_string()), trust: trust.to_string() },
            (Scope::Project(id), None) => TokenScope::Project(id.to_string()),
            (Scope::Domain(id), _) => TokenScope::Domain(id.to_string()),
            (Scope::System, _) => TokenScope::System,
            (Scope::Unscoped, _) => TokenScope::Unscoped,
        };
        Payload {
            user_id: self.user.to_string(),
            methods: self.methods.clone(),
            scope,
            expires_at: self.expires,
            audit_ids: self.audit.clone(),
            federated: self.federated.clone(),
            app_cred_id: self.app_cred.as_ref().map(ToString::to_string),
            access_token_id: None,
            thumbprint: self.thumbprint.clone(),
        }
    }

    fn read(payload: Payload, issued: Timestamp) -> Option<Self> {
        let mut trust = None;
        let scope = match payload.scope {
            TokenScope::Unscoped => Scope::Unscoped,
            TokenScope::Project(id) => Scope::Project(Id::parse(&id)?),
            TokenScope::Domain(id) => Scope::Domain(Id::parse(&id)?),
            TokenScope::System => Scope::System,
            TokenScope::Trust { project, trust: id } => {
                trust = Some(Id::parse(&id)?);
                Scope::Project(Id::parse(&project?)?)
            }
        };
        // Nothing of ours gives these out.
        if payload.access_token_id.is_some() {
            return None;
        }
        let app_cred = match payload.app_cred_id {
            Some(id) => Some(Id::parse(&id)?),
            None => None,
        };
        let issued = Timestamp(issued.0.saturating_add(payload.audit_ids.first().map_or(0, |id| micros_in(id))));
        Some(Self {
            user: Id::parse(&payload.user_id)?,
            scope,
            methods: payload.methods,
            audit: payload.audit_ids,
            issued,
            expires: payload.expires_at,
            trust,
            app_cred,
            federated: payload.federated,
            thumbprint: payload.thumbprint,
        })
    }
}

/// An application credential with the calls it may make, if they are limited.
pub(crate) type Limited = (Object<ApplicationCredential>, Option<Vec<Object<AccessRule>>>);

/// A token that holds now, with what it means.
#[derive(Debug)]
pub(crate) struct Valid {
    pub(crate) claims: Claims,
    pub(crate) user: Object<User>,
    pub(crate) user_domain: Object<Domain>,
    pub(crate) project: Option<(Object<Project>, Object<Domain>)>,
    pub(crate) domain: Option<Object<Domain>>,
    pub(crate) roles: Vec<(Id<Role>, String)>,
    pub(crate) trust: Option<Object<Trust>>,
    pub(crate) app_cred: Option<Limited>,
    /// Tokens like this one that were issued before are void.
    not_before: Timestamp,
    /// When a membership by which it may have roles ends.
    membership_ends: Option<Timestamp>,
    /// Its answer, as last given, and for what address and form.
    pub(super) answer: Mutex<Option<(String, bytes::Bytes)>>,
}

/// The token of these claims.
pub(crate) async fn seal(app: &App, claims: &Claims) -> Result<String, Failure> {
    let ring = ring(app, epoch(app).await?).await?;
    ::identity::token::seal(&ring, &claims.payload(), claims.issued).map_err(|error| Failure::Internal(error.to_string()))
}

/// What a token means, if it is ours, not expired (by more than `window_seconds`), not revoked, and what it stands for is still there and
/// enabled.
pub(crate) async fn validate(app: &Arc<App>, text: &str, window_seconds: i64, epoch: i64) -> Result<Option<Arc<Valid>>, Failure> {
    let now = Timestamp::now();
    let lives = |claims: &Claims| claims.expires.plus_seconds(window_seconds) > now;
    let remembered = locked(&app.identity.meanings).get(text).filter(|(of, _)| *of == epoch).map(|(_, valid)| Arc::clone(valid));
    // Trusts, application credentials and memberships end by themselves: what had a part in it is worked out anew then.
    if let Some(valid) = remembered.filter(|it| !it.has_ended(now)) {
        return Ok(Some(valid).filter(|it| lives(&it.claims)));
    }
    let ring = ring(app, epoch).await?;
    let opened = ::identity::token::open(&ring, text).ok();
    let Some(claims) = opened.and_then(|(payload, issued)| Claims::read(payload, issued)).filter(lives) else { return Ok(None) };
    let Some(valid) = meaning(app, claims, epoch).await?.filter(|it| it.claims.issued >= it.not_before && !it.has_ended(now)) else {
        return Ok(None);
    };
    let valid = Arc::new(valid);
    remember(&app.identity.meanings, text.to_owned(), epoch, &valid);
    Ok(Some(valid))
}

fn remember<K: Eq + std::hash::Hash>(place: &Remembered<K>, key: K, epoch: i64, valid: &Arc<Valid>) {
    let mut place = locked(place);
    if place.len() >= REMEMBERED {
        // Those of another count are of no use; if that frees nothing, what was used last comes back soonest.
        place.retain(|_, (of, _)| *of == epoch);
        if place.len() >= REMEMBERED {
            place.clear();
        }
    }
    place.insert(key, (epoch, Arc::clone(valid)));
}

/// What claims that are about to be issued mean. Of a user's plain tokens for a scope all mean the same: that is worked out once. What they
/// were got by was looked at already.
pub(super) async fn meaning_of_new(app: &App, claims: Claims, epoch: i64) -> Result<Option<Valid>, Failure> {
    if claims.trust.is_some() || claims.app_cred.is_some() || claims.federated.is_some() {
        return meaning(app, claims, epoch).await;
    }
    let key = (claims.user.clone(), claims.scope.clone());
    let now = Timestamp::now();
    let remembered =
        locked(&app.identity.scoped).get(&key).filter(|(of, it)| *of == epoch && !it.has_ended(now)).map(|(_, it)| Arc::clone(it));
    if let Some(like) = remembered {
        return Ok(Some(like.with(claims)));
    }
    let found = meaning(app, claims, epoch).await?;
    if let Some(valid) = &found {
        remember(&app.identity.scoped, key, epoch, &Arc::new(valid.with(valid.claims.clone())));
    }
    Ok(found)
}

impl Valid {
    fn has_ended(&self, now: Timestamp) -> bool {
        let trust = self.trust.as_ref().and_then(|it| it.desired.expires_at);
        let app_cred = self.app_cred.as_ref().and_then(|(it, _)| it.desired.expires_at);
        [trust, app_cred, self.membership_ends].into_iter().flatten().any(|at| at <= now)
    }

    /// The same for other claims of the same user for the same scope.
    fn with(&self, claims: Claims) -> Self {
        Self {
            claims,
            user: self.user.clone(),
            user_domain: self.user_domain.clone(),
            project: self.project.clone(),
            domain: self.domain.clone(),
            roles: self.roles.clone(),
            trust: None,
            app_cred: None,
            not_before: self.not_before,
            membership_ends: self.membership_ends,
            answer: Mutex::new(None),
        }
    }

    /// Has claims that are about to be issued begin after what voids such tokens.
    pub(super) fn issue(mut self) -> Result<Self, Failure> {
        if self.claims.issued < self.not_before {
            self.claims.issued = self.not_before;
            if let Some(own) = self.claims.audit.first_mut() {
                *own = audit_id(self.not_before)?;
            }
        }
        Ok(self)
    }

    /// Who asks with this token.
    pub(crate) fn caller(self: &Arc<Self>, epoch: i64) -> Caller {
        let project = self.project.as_ref().map(|(project, _)| project.id.to_string());
        let credentials = policy::Credentials {
            user_id: self.user.id.to_string(),
            user_domain_id: self.user.desired.domain_id.to_string(),
            project_id: project,
            project_domain_id: self.project.as_ref().map(|(_, domain)| domain.id.to_string()),
            domain_id: self.domain.as_ref().map(|it| it.id.to_string()),
            system: self.claims.scope == Scope::System,
            roles: self.roles.iter().map(|(_, name)| name.clone()).collect(),
            trust_id: self.trust.as_ref().map(|it| it.id.to_string()),
            trustor_id: self.trust.as_ref().map(|it| it.desired.trustor_user_id.to_string()),
            trustee_id: self.trust.as_ref().map(|it| it.desired.trustee_user_id.to_string()),
            ..policy::Credentials::default()
        };
        Caller {
            user_id: self.user.id.clone(),
            user_name: self.user.name.clone(),
            user_domain_id: self.user.desired.domain_id.clone(),
            project_id: self.project.as_ref().map(|(project, _)| project.id.clone()),
            domain_id: self.domain.as_ref().map(|domain| domain.id.clone()),
            system: credentials.system,
            roles: credentials.roles.clone(),
            credentials: Arc::new(credentials),
            token: Arc::clone(self),
            epoch,
        }
    }
}

/// What claims mean now; `None` if they mean nothing any more. Whether such a token was revoked is for the caller to see.
pub(crate) async fn meaning(app: &App, claims: Claims, epoch: i64) -> Result<Option<Valid>, Failure> {
    let store = &app.store;
    let enabled = async |id: &Id<Domain>| Ok::<_, Failure>(store.get(id).await?.filter(|domain| domain.desired.enabled));
    let Some(user) = store.get(&claims.user).await?.filter(|user| user.desired.enabled) else { return Ok(None) };
    let Some(user_domain) = enabled(&user.desired.domain_id).await? else { return Ok(None) };
    let mut voids =
        vec![Revoked::User(user.id.clone()), Revoked::Domain(user_domain.id.clone()), Revoked::Chain(claims.chain().to_owned())];
    voids.extend(claims.audit.first().map(|id| Revoked::Token(id.clone())));
    let mut project = None;
    let mut domain = None;
    let target = match &claims.scope {
        Scope::Unscoped => None,
        Scope::Project(id) => {
            let Some(found) = store.get(id).await?.filter(|it| it.desired.enabled) else { return Ok(None) };
            let Some(its_domain) = enabled(&found.desired.domain_id).await? else { return Ok(None) };
            voids.extend([
                Revoked::Project(id.clone()),
                Revoked::Domain(its_domain.id.clone()),
                Revoked::UserOnProject(user.id.clone(), id.clone()),
            ]);
            project = Some((found, its_domain));
            Some(Target::Project(id.clone()))
        }
        Scope::Domain(id) => {
            let Some(found) = enabled(id).await? else { return Ok(None) };
            voids.extend([Revoked::Domain(id.clone()), Revoked::UserOnDomain(user.id.clone(), id.clone())]);
            domain = Some(found);
            Some(Target::Domain(id.clone()))
        }
        Scope::System => {
            voids.push(Revoked::UserOnSystem(user.id.clone()));
            Some(Target::System)
        }
    };
    let mut trust = None;
    let mut holder = user.id.clone();
    if let Some(id) = &claims.trust {
        let Some(found) = lent(app, id, &claims).await? else { return Ok(None) };
        voids.extend([
            Revoked::Trust(id.clone()),
            Revoked::User(found.desired.trustor_user_id.clone()),
            Revoked::User(found.desired.trustee_user_id.clone()),
        ]);
        voids.extend(project.iter().map(|(it, _)| Revoked::UserOnProject(found.desired.trustor_user_id.clone(), it.id.clone())));
        holder = found.desired.trustor_user_id.clone();
        trust = Some(found);
    }
    let mut app_cred = None;
    if let Some(id) = &claims.app_cred {
        let Some(found) = store.get(id).await?.filter(|it| it.desired.user_id == user.id) else { return Ok(None) };
        if claims.scope != Scope::Project(found.desired.of_project.clone()) {
            return Ok(None);
        }
        let rules = match &found.desired.access_rules {
            None => None,
            Some(ids) => Some(store.list(&Query::<AccessRule>::new().ids(ids.iter().map(ToString::to_string))).await?),
        };
        voids.push(Revoked::ApplicationCredential(id.clone()));
        app_cred = Some((found, rules));
    }
    let mut roles = Vec::new();
    let mut membership_ends = None;
    if let Some(target) = &target {
        membership_ends = first_membership_to_end(store, &holder).await?;
        let inference = inference(app, epoch).await?;
        let mut given = inference.closure(direct_on(store, &holder, target).await?);
        if let Some(trust) = &trust {
            // All that was lent must still be the lender's.
            if trust.desired.roles.iter().any(|role| !given.contains(role)) {
                return Ok(None);
            }
            given = inference.closure(trust.desired.roles.clone());
        }
        if let Some((found, _)) = &app_cred {
            let kept = found.desired.roles.iter().filter(|role| given.contains(*role)).cloned().collect::<Vec<_>>();
            given = inference.closure(kept);
        }
        roles = inference.named(&given);
        if roles.is_empty() {
            return Ok(None);
        }
    }
    let not_before = void_before(store, voids.iter().map(Revoked::key).collect()).await?;
    Ok(Some(Valid {
        claims,
        user,
        user_domain,
        project,
        domain,
        roles,
        trust,
        app_cred,
        not_before,
        membership_ends,
        answer: Mutex::new(None),
    }))
}

/// When the first of those memberships of a user ends that hold now: then what the user may must be worked out anew.
async fn first_membership_to_end(store: &Store, user: &Id<User>) -> Result<Option<Timestamp>, Failure> {
    let now = Timestamp::now();
    let found = store.list_few(&Query::<Membership>::new().column("user_id", [user.to_string()])).await?;
    Ok(found.into_iter().filter_map(|it| it.desired.expires_at).filter(|at| *at > now).min())
}

/// The trust, if both sides of it are there and enabled and it is the claims' user's.
async fn lent(app: &App, id: &Id<Trust>, claims: &Claims) -> Result<Option<Object<Trust>>, Failure> {
    let Some(trust) = app.store.get(id).await?.filter(|it| !it.is_deleting()) else { return Ok(None) };
    let named = if trust.desired.impersonation { &trust.desired.trustor_user_id } else { &trust.desired.trustee_user_id };
    let its_project = trust.desired.of_project.clone().map(Scope::Project);
    if *named != claims.user || its_project.as_ref() != Some(&claims.scope) {
        return Ok(None);
    }
    for user in [&trust.desired.trustor_user_id, &trust.desired.trustee_user_id] {
        let Some(user) = app.store.get(user).await?.filter(|it| it.desired.enabled) else { return Ok(None) };
        if app.store.get(&user.desired.domain_id).await?.is_none_or(|it| !it.desired.enabled) {
            return Ok(None);
        }
    }
    Ok(Some(trust))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_ids_tell_the_moment() {
        for micros in [0, 1, 999_999, 123_456] {
            let id = audit_id(Timestamp(1_795_258_140_000_000 + micros)).unwrap();
            assert_eq!((id.len(), micros_in(&id)), (22, micros));
            assert_ne!(id, audit_id(Timestamp(1_795_258_140_000_000 + micros)).unwrap());
        }
        assert!((0..1_000_000).contains(&micros_in("____________________8w")) && micros_in("no base64!") == 0);
    }
}
