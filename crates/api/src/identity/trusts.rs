//! Trusts: roles one user lends another on a project, for a time or a number of tokens (Source: Identity API reference, "OS-TRUST";
//! `keystone/api/trusts.py` and `keystone/trust`).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::access::{Revoked, TrustDesired};
use model::identity::{Project, Role, Target, Trust, User};
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query, StoreError};

use super::application_credentials::{expiry, is_delegated, role_shown, roles_in};
use super::ask::{Ask, body_of, forbidden, missing, refused, rooted};
use super::effective::{Inference, direct_on};
use super::noun::{self, EPOCH, read};
use super::revocation::revoke;
use super::{schemas, token};
use crate::App;
use crate::failure::Failure;
use crate::race::RACES;

/// How often a trust may be lent on.
const MAX_REDELEGATION: u32 = 3;
/// What of a body is not stored as it is.
const KNOWN: [&str; 15] = [
    "trustor_user_id",
    "trustee_user_id",
    "project_id",
    "impersonation",
    "roles",
    "roles_links",
    "expires_at",
    "deleted_at",
    "remaining_uses",
    "allow_redelegation",
    "redelegation_count",
    "redelegated_trust_id",
    "id",
    "links",
    "trust_id",
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/OS-TRUST/trusts", get(list).post(create))
        .route("/OS-TRUST/trusts/{id}", get(show).delete(delete))
        .route("/OS-TRUST/trusts/{id}/roles", get(list_roles))
        .route("/OS-TRUST/trusts/{id}/roles/{role}", get(show_role))
}

/// Trusts are not for who acts by an application credential or an EC2 key: what it lent would be more than it was given. Who acts by a
/// trust may lend on.
fn refuse_delegated(ask: &Ask) -> Result<(), Failure> {
    if is_delegated(ask) { Err(forbidden("Delegated tokens cannot manage trusts.")) } else { Ok(()) }
}

/// Whether it still gives tokens by itself.
fn lives(trust: &Object<Trust>) -> bool {
    let desired = &trust.desired;
    desired.expires_at.is_none_or(|at| at > Timestamp::now()) && desired.remaining_uses != Some(0)
}

/// The trusts this one was lent on from, nearest first.
async fn pedigree(app: &App, trust: &Object<Trust>) -> Result<Vec<Object<Trust>>, Failure> {
    let mut chain: Vec<Object<Trust>> = Vec::new();
    let mut next = trust.desired.redelegated_trust_id.clone();
    while let Some(id) = next {
        let above = app.store.get(&id).await?.filter(lives).filter(|_| chain.len() < MAX_REDELEGATION as usize);
        let above = above.ok_or_else(|| missing("trust", trust.id.as_str()))?;
        next = above.desired.redelegated_trust_id.clone();
        chain.push(above);
    }
    Ok(chain)
}

/// Refuses a trust that those it was lent on from do not cover, or whose agents are not all there and enabled.
async fn check_chain(app: &App, trust: &Object<Trust>) -> Result<(), Failure> {
    let chain = pedigree(app, trust).await?;
    let mut child = trust;
    for parent in &chain {
        check_covered(&parent.desired, &child.desired)?;
        let agent = app.store.get(&parent.desired.trustee_user_id).await?;
        if !agent.is_some_and(|it| it.desired.enabled) {
            return Err(Failure::Forbidden("One of the trust agents is disabled or deleted".into()));
        }
        child = parent;
    }
    Ok(())
}

/// Refuses what goes beyond the trust it is lent on from.
fn check_covered(parent: &TrustDesired, child: &TrustDesired) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::Forbidden(why.to_owned()));
    if parent.redelegation_count == 0 || parent.redelegation_count > MAX_REDELEGATION {
        return refuse(&format!(
            "Remaining redelegation depth of {} out of allowed range of [0..{MAX_REDELEGATION}]",
            parent.redelegation_count
        ));
    }
    if let Some(uses) = child.remaining_uses {
        return refuse(&format!("Field \"remaining_uses\" is set to {uses} while it must not be set in order to redelegate a trust"));
    }
    if parent.expires_at.is_some_and(|end| child.expires_at.is_none_or(|at| at > end)) {
        return refuse("Requested expiration time is more than redelegated trust can provide");
    }
    if child.roles.iter().any(|role| !parent.roles.contains(role)) {
        return refuse("Some of requested roles are not in redelegated trust");
    }
    if child.impersonation && !parent.impersonation {
        return refuse("Impersonation is not allowed because redelegated trust does not specify impersonation.");
    }
    // Keystone does not look at it: roles of the same name on another project of the lender's would be within reach.
    if child.of_project != parent.of_project {
        return refuse("The project is not the one of the redelegated trust");
    }
    Ok(())
}

/// The trust of an id, as long as it gives tokens.
///
/// # Errors
/// `NotFound`; `Forbidden` if one it was lent on from does not cover it any more.
async fn find(app: &App, text: &str) -> Result<Object<Trust>, Failure> {
    let found = match Id::<Trust>::parse(text) {
        Some(id) => app.store.get(&id).await?,
        None => None,
    };
    let found = found.filter(lives).ok_or_else(|| missing("trust", text))?;
    check_chain(app, &found).await?;
    Ok(found)
}

/// Takes one use of a trust; of those that want the last one at once, one gets it.
///
/// # Errors
/// `Unauthorized` if it has ended or none is left.
pub(super) async fn consume(app: &App, trust: &Object<Trust>) -> Result<(), Failure> {
    let mut trust = trust.clone();
    for _ in 0..RACES {
        if !lives(&trust) {
            return Err(refused());
        }
        check_chain(app, &trust).await.map_err(|error| if error.status() == StatusCode::NOT_FOUND { refused() } else { error })?;
        let Some(left) = trust.desired.remaining_uses else { return Ok(()) };
        trust.desired.remaining_uses = Some(left.saturating_sub(1));
        // Tokens got by it before mean what they meant: nothing to count.
        match app.store.apply(Batch::wishes().want(&trust)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_race() => trust = app.store.get(&trust.id).await?.ok_or_else(refused)?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Unavailable("Many ask for a token of this trust at once; try again.".into()))
}

fn path(trust: &Object<Trust>) -> String {
    format!("OS-TRUST/trusts/{}", trust.id)
}

/// What lists show: all but the roles.
fn brief(ask: &Ask, trust: &Object<Trust>) -> Value {
    let desired = &trust.desired;
    let mut shown = desired.extra.clone();
    for (key, value) in [
        ("id", json!(trust.id)),
        ("trustor_user_id", json!(desired.trustor_user_id)),
        ("trustee_user_id", json!(desired.trustee_user_id)),
        ("project_id", json!(desired.of_project)),
        ("impersonation", json!(desired.impersonation)),
        ("expires_at", json!(desired.expires_at.map(Timestamp::iso_micros))),
        ("remaining_uses", json!(desired.remaining_uses)),
        ("deleted_at", Value::Null),
        ("redelegated_trust_id", json!(desired.redelegated_trust_id)),
        ("redelegation_count", json!(desired.redelegation_count)),
    ] {
        shown.insert(key.into(), value);
    }
    ask.linked(Value::Object(shown), &path(trust))
}

fn role_linked(ask: &Ask, role: &Object<Role>) -> Value {
    ask.linked(role_shown(role), &format!("roles/{}", role.id))
}

fn roles_shown(ask: &Ask, trust: &Object<Trust>, inference: &Inference) -> Value {
    trust.desired.roles.iter().filter_map(|id| inference.roles.get(id)).map(|role| role_linked(ask, role)).collect()
}

fn roles_links(ask: &Ask, trust: &Object<Trust>) -> Value {
    json!({"self": ask.link(&format!("{}/roles", path(trust))), "next": null, "previous": null})
}

fn shown(ask: &Ask, trust: &Object<Trust>, inference: &Inference) -> Value {
    let mut shown = brief(ask, trust);
    shown["roles"] = roles_shown(ask, trust, inference);
    shown["roles_links"] = roles_links(ask, trust);
    shown
}

/// The trust if the rule lets the caller. Unlike elsewhere, one that is not there is said so first, as with Keystone.
async fn permitted(ask: &Ask, id: &str, rule: &str) -> Result<Object<Trust>, Failure> {
    let found = find(&ask.app, id).await?;
    let target = json!({"trust": {
        "id": found.id, "trustor_user_id": found.desired.trustor_user_id, "trustee_user_id": found.desired.trustee_user_id,
        "project_id": found.desired.of_project,
    }});
    ask.enforce_with(rule, target, &[("trust_id", id)])?;
    refuse_delegated(ask)?;
    Ok(found)
}

/// GET /OS-TRUST/trusts, `?trustor_user_id=` and `?trustee_user_id=`
async fn list(ask: Ask) -> Result<Json<Value>, Failure> {
    noun::check_query(&ask, &schemas::TRUST_INDEX_QUERY)?;
    let given = |name: &str| ask.parameters.first(name).filter(|it| !it.is_empty()).map(str::to_owned);
    let (trustor, trustee) = (given("trustor_user_id"), given("trustee_user_id"));
    match (&trustor, &trustee) {
        (Some(id), _) => ask.enforce("identity:list_trusts_for_trustor", json!({"trust": {"trustor_user_id": id}}))?,
        (None, Some(id)) => ask.enforce("identity:list_trusts_for_trustee", json!({"trust": {"trustee_user_id": id}}))?,
        (None, None) => ask.enforce("identity:list_trusts", json!({}))?,
    }
    refuse_delegated(&ask)?;
    let mut query = Query::<Trust>::new();
    for (column, id) in [("trustor_user_id", trustor), ("trustee_user_id", trustee)] {
        if let Some(id) = id {
            query = query.column(column, [id]);
        }
    }
    let found = ask.app.store.list(&query).await?;
    let items = found.iter().map(|it| brief(&ask, it)).collect();
    noun::paged("trusts", items, &ask)
}

/// GET /OS-TRUST/trusts/{id}
async fn show(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = permitted(&ask, &id, "identity:get_trust").await?;
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    Ok(Json(json!({"trust": shown(&ask, &found, &inference)})))
}

/// GET /OS-TRUST/trusts/{id}/roles
async fn list_roles(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let found = permitted(&ask, &id, "identity:list_roles_for_trust").await?;
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    Ok(Json(json!({"roles": roles_shown(&ask, &found, &inference), "links": roles_links(&ask, &found)})))
}

/// GET /OS-TRUST/trusts/{id}/roles/{role}
async fn show_role(ask: Ask, Path((id, role)): Path<(String, String)>) -> Result<Json<Value>, Failure> {
    let found = permitted(&ask, &id, "identity:get_role_for_trust").await?;
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    let lent = found.desired.roles.iter().find(|it| it.as_str() == role).and_then(|id| inference.roles.get(id));
    let lent = lent.ok_or_else(|| missing("role", &role))?;
    Ok(Json(json!({"role": role_linked(&ask, lent)})))
}

/// DELETE /OS-TRUST/trusts/{id}: with those that were lent on from it.
async fn delete(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    for _ in 0..RACES {
        let found = permitted(&ask, &id, "identity:delete_trust").await?;
        let mut gone = vec![found];
        let mut level: Vec<String> = vec![id.clone()];
        while !level.is_empty() {
            let below = ask.app.store.list(&Query::<Trust>::new().column("redelegated_trust_id", level)).await?;
            let new: Vec<Object<Trust>> = below.into_iter().filter(|it| !gone.iter().any(|other| other.id == it.id)).collect();
            level = new.iter().map(|it| it.id.to_string()).collect();
            gone.extend(new);
        }
        let batch = gone.iter().fold(Batch::wishes(), Batch::remove);
        let batch = revoke(&ask.app, batch, gone.iter().map(|it| Revoked::Trust(it.id.clone())).collect()).await?;
        match ask.app.store.apply(batch.bump(EPOCH)).await {
            Ok(()) => {
                tracing::info!(%id, lent_on = gone.len() - 1, "trust deleted");
                return Ok(StatusCode::NO_CONTENT);
            }
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Conflict("It was changed by somebody else meanwhile; try again.".into()))
}

/// A count of a body; null is none.
fn count(body: &Map<String, Value>, key: &str) -> Result<Option<u32>, Failure> {
    let Some(value) = body.get(key).filter(|it| !it.is_null()) else { return Ok(None) };
    let found = value.as_u64().and_then(|it| u32::try_from(it).ok());
    found.map(Some).ok_or_else(|| Failure::BadRequest(format!("Invalid input for field '{key}': {value} is not a count that can be kept")))
}

/// Takes how often the new trust may be used and lent on; `parent` is the trust it is lent on from.
fn take_counts(desired: &mut TrustDesired, body: &Map<String, Value>, parent: Option<&TrustDesired>) -> Result<(), Failure> {
    let asked = count(body, "redelegation_count")?;
    desired.remaining_uses = count(body, "remaining_uses")?;
    desired.allow_redelegation = body.get("allow_redelegation").and_then(Value::as_bool).unwrap_or_default() && asked != Some(0);
    if !desired.allow_redelegation {
        desired.redelegation_count = 0;
        return Ok(());
    }
    if let Some(asked) = asked.filter(|it| *it > MAX_REDELEGATION) {
        return Err(Failure::Forbidden(format!("Requested redelegation depth of {asked} is greater than allowed {MAX_REDELEGATION}")));
    }
    if desired.remaining_uses.is_some() {
        return Err(Failure::BadRequest("remaining_uses must not be set if redelegation is allowed".into()));
    }
    let left = parent.map(|it| it.redelegation_count.saturating_sub(1));
    if let (Some(left), Some(asked)) = (left, asked)
        && left != asked
    {
        return Err(Failure::Forbidden(
            "Modifying \"redelegation_count\" upon redelegation is forbidden. Omitting this parameter is advised.".into(),
        ));
    }
    desired.redelegation_count = left.or(asked).unwrap_or(MAX_REDELEGATION);
    Ok(())
}

/// The roles of a body, all of which the lender must have on the project.
async fn lent_roles(ask: &Ask, body: &Map<String, Value>, project: Option<&Id<Project>>) -> Result<Vec<Id<Role>>, Failure> {
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    let roles = roles_in(&inference, body.get("roles").unwrap_or(&Value::Null))?;
    let own = match project {
        None => std::collections::BTreeSet::new(),
        Some(project) => {
            ask.app.store.get(project).await?.ok_or_else(|| missing("project", project.as_str()))?;
            inference.closure(direct_on(&ask.app.store, &ask.caller.user_id, &Target::Project(project.clone())).await?)
        }
    };
    match roles.iter().find(|it| !own.contains(*it)) {
        Some(role) => Err(missing("role", role.as_str())),
        None => Ok(roles),
    }
}

/// POST /OS-TRUST/trusts: by the lender itself, or lent on with a token of a trust.
async fn create(ask: Ask, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let body = rooted(&body_of(&bytes, &schemas::TRUST_CREATE)?, "trust")?;
    ask.enforce("identity:create_trust", json!({ "trust": body }))?;
    refuse_delegated(&ask)?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|it| !it.is_empty());
    let has_roles = body.get("roles").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    if text("project_id").is_some() && !has_roles {
        return Err(forbidden("At least one role should be specified."));
    }
    if text("trustor_user_id") != Some(ask.caller.user_id.as_str()) {
        return Err(forbidden("The authenticated user should match the trustor."));
    }
    let trustee = noun::find::<User>(&ask.app, text("trustee_user_id").unwrap_or_default()).await?;
    let project = match text("project_id") {
        Some(id) => Some(super::ask::id_of::<Project>("project", id)?),
        None => None,
    };
    let mut desired = TrustDesired {
        trustor_user_id: ask.caller.user_id.clone(),
        trustee_user_id: trustee.id,
        roles: lent_roles(&ask, &body, project.as_ref()).await?,
        of_project: project,
        impersonation: body.get("impersonation").and_then(Value::as_bool).unwrap_or_default(),
        expires_at: match body.get("expires_at").and_then(Value::as_str) {
            Some(text) => Some(expiry(text)?),
            None => None,
        },
        remaining_uses: None,
        allow_redelegation: false,
        redelegation_count: 0,
        redelegated_trust_id: None,
        extra: Map::new(),
    };
    read::extra(&mut desired.extra, &body, &KNOWN);
    let parent = match &ask.caller.token.claims.trust {
        Some(id) => Some(find(&ask.app, id.as_str()).await?),
        None => None,
    };
    take_counts(&mut desired, &body, parent.as_ref().map(|it| &it.desired))?;
    let mut batch = Batch::wishes().require(&desired.trustor_user_id).require(&desired.trustee_user_id);
    if let Some(project) = &desired.of_project {
        batch = batch.require(project);
    }
    if let Some(parent) = &parent {
        desired.redelegated_trust_id = Some(parent.id.clone());
        for above in std::iter::once(parent).chain(&pedigree(&ask.app, parent).await?) {
            desired.expires_at = desired.expires_at.or(above.desired.expires_at);
            check_covered(&above.desired, &desired)?;
        }
        batch = batch.require(&parent.id);
    }
    refuse_duplicate(&ask.app, &desired).await?;
    let object = Object::<Trust>::new(Id::random_hex(), None, "", desired);
    ask.app.store.apply(batch.create(&object)).await.map_err(|error| match error {
        StoreError::Stale { kind, id } => missing(kind.trim_end_matches('s'), &id),
        other => other.into(),
    })?;
    tracing::info!(id = %object.id, trustor = %object.desired.trustor_user_id, trustee = %object.desired.trustee_user_id, "trust created");
    let inference = token::inference(&ask.app, ask.caller.epoch).await?;
    Ok((StatusCode::CREATED, Json(json!({"trust": shown(&ask, &object, &inference)}))))
}

/// Keystone keeps one of the same two users, project, impersonation and end; those without an end or a project are never the same.
async fn refuse_duplicate(app: &App, desired: &TrustDesired) -> Result<(), Failure> {
    if desired.expires_at.is_none() || desired.of_project.is_none() {
        return Ok(());
    }
    let query = Query::<Trust>::new().column("trustor_user_id", [desired.trustor_user_id.to_string()]);
    let found = app.store.list(&query.column("trustee_user_id", [desired.trustee_user_id.to_string()])).await?;
    let same = |it: &TrustDesired| {
        (&it.of_project, it.impersonation, it.expires_at) == (&desired.of_project, desired.impersonation, desired.expires_at)
    };
    match found.iter().any(|it| same(&it.desired)) {
        true => Err(Failure::Conflict("Conflict occurred attempting to store trust - Duplicate entry.".into())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(change: impl Fn(&mut TrustDesired)) -> TrustDesired {
        let id = |text: &str| Id::<Role>::parse(text).unwrap();
        let mut desired = TrustDesired {
            trustor_user_id: Id::parse("a").unwrap(),
            trustee_user_id: Id::parse("b").unwrap(),
            of_project: Id::parse("p"),
            impersonation: true,
            roles: vec![id("r1"), id("r2")],
            expires_at: Some(Timestamp(1_000)),
            remaining_uses: None,
            allow_redelegation: true,
            redelegation_count: 2,
            redelegated_trust_id: None,
            extra: Map::new(),
        };
        change(&mut desired);
        desired
    }

    #[test]
    fn what_a_trust_covers() {
        let parent = trust(|_| {});
        check_covered(&parent, &trust(|_| {})).unwrap();
        check_covered(&parent, &trust(|it| it.roles.truncate(1))).unwrap();
        check_covered(&trust(|it| it.expires_at = None), &trust(|_| {})).unwrap();
        let beyond: [fn(&mut TrustDesired); 5] = [
            |it| it.remaining_uses = Some(1),
            |it| it.expires_at = Some(Timestamp(1_001)),
            |it| it.expires_at = None,
            |it| it.roles.extend(Id::parse("r3")),
            |it| it.of_project = Id::parse("q"),
        ];
        for change in beyond {
            assert!(check_covered(&parent, &trust(change)).is_err(), "{:?}", trust(change));
        }
        assert!(check_covered(&trust(|it| it.redelegation_count = 0), &trust(|_| {})).is_err());
        assert!(check_covered(&trust(|it| it.impersonation = false), &trust(|_| {})).is_err());
    }

    #[test]
    fn how_often_it_may_be_lent_on() {
        let parent = trust(|_| {});
        let counted = |body: Value, parent: Option<&TrustDesired>| {
            let mut desired = trust(|_| {});
            take_counts(&mut desired, body.as_object().unwrap(), parent).map(|()| (desired.allow_redelegation, desired.redelegation_count))
        };
        assert_eq!(counted(json!({}), None).unwrap(), (false, 0));
        assert_eq!(counted(json!({"allow_redelegation": true}), None).unwrap(), (true, 3));
        assert_eq!(counted(json!({"allow_redelegation": true, "redelegation_count": null}), None).unwrap(), (true, 3));
        assert_eq!(counted(json!({"allow_redelegation": true, "redelegation_count": 1}), None).unwrap(), (true, 1));
        assert_eq!(counted(json!({"allow_redelegation": true, "redelegation_count": 0}), None).unwrap(), (false, 0));
        assert_eq!(counted(json!({"allow_redelegation": true}), Some(&parent)).unwrap(), (true, 1));
        assert_eq!(counted(json!({"redelegation_count": 9}), Some(&parent)).unwrap(), (false, 0));
        assert_eq!(counted(json!({"allow_redelegation": true, "redelegation_count": 4}), None).unwrap_err().status(), 403);
        assert_eq!(counted(json!({"allow_redelegation": true, "redelegation_count": 2}), Some(&parent)).unwrap_err().status(), 403);
        assert_eq!(counted(json!({"allow_redelegation": true, "remaining_uses": 1}), None).unwrap_err().status(), 400);
        assert_eq!(counted(json!({"remaining_uses": 5_000_000_000_u64}), None).unwrap_err().status(), 400);
    }
}
