//! Which tokens were made void: events that say whose, issued before when. An event is kept as long as a token it voids could be shown.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::routing::get;
use axum::{Json, Router};
use model::access::{RevocationEventDesired, Revoked};
use model::identity::RevocationEvent;
use model::{Id, Object, Timestamp};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Store, StoreError, Wishes};

use super::ask::Ask;
use crate::App;
use crate::failure::Failure;

/// Most events that are tidied away with one that is written.
const TIDIED: usize = 50;

/// Adds the end of the subjects' tokens to a batch.
pub(super) async fn revoke(app: &App, mut batch: Batch<Wishes>, subjects: Vec<Revoked>) -> Result<Batch<Wishes>, Failure> {
    if subjects.is_empty() {
        return Ok(batch);
    }
    let now = Timestamp::now();
    let keep = i64::from(app.settings.identity.token_ttl_seconds) + i64::from(app.settings.identity.allow_expired_window_seconds);
    let old = app.store.list(&Query::<RevocationEvent>::new().sort("created_at", false).limit(TIDIED as u32)).await?;
    for event in old.iter().filter(|it| it.created_at.plus_seconds(keep) < now) {
        batch = batch.remove(event);
    }
    // The next microsecond: what was issued in this one ends too.
    let issued_before = Timestamp(now.0.saturating_add(1));
    for subject in subjects {
        batch =
            batch.create(&Object::<RevocationEvent>::new(Id::random_hex(), None, "", RevocationEventDesired { subject, issued_before }));
    }
    Ok(batch.bump(super::noun::EPOCH))
}

/// Tokens with one of these keys are void if issued before this moment.
pub(super) async fn void_before(store: &Store, keys: Vec<String>) -> Result<Timestamp, StoreError> {
    let events = store.list_few(&Query::<RevocationEvent>::new().column("subject", keys)).await?;
    Ok(events.into_iter().map(|it| it.desired.issued_before).max().unwrap_or_default())
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/OS-REVOKE/events", get(list))
}

/// GET /OS-REVOKE/events, `?since=` a moment.
async fn list(Shared(_): Shared<Arc<App>>, ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce("identity:list_revoke_events", json!({}))?;
    let since = match ask.parameters.first("since") {
        None => Timestamp::default(),
        Some(text) => ::identity::ec2::parse_iso8601(text)
            .ok_or_else(|| Failure::BadRequest(format!("Invalid input for field 'since': '{text}' is not a time")))?,
    };
    let events = ask.app.store.list(&Query::<RevocationEvent>::new()).await?;
    let items = events.iter().filter(|it| it.desired.issued_before >= since).map(show).collect();
    Ok(ask.listed("events", items))
}

fn show(event: &Object<RevocationEvent>) -> Value {
    let mut shown = Map::new();
    let mut put = |name: &str, id: &str| drop(shown.insert(name.to_owned(), json!(id)));
    match &event.desired.subject {
        Revoked::Token(id) => put("audit_id", id),
        Revoked::Chain(id) => put("audit_chain_id", id),
        Revoked::User(id) => put("user_id", id.as_str()),
        Revoked::Project(id) => put("project_id", id.as_str()),
        Revoked::Domain(id) => put("domain_id", id.as_str()),
        Revoked::UserOnProject(user, project) => {
            put("user_id", user.as_str());
            put("project_id", project.as_str());
        }
        Revoked::UserOnDomain(user, domain) => {
            put("user_id", user.as_str());
            put("domain_id", domain.as_str());
        }
        Revoked::UserOnSystem(user) => {
            put("user_id", user.as_str());
            put("system", "all");
        }
        Revoked::Trust(id) => put("OS-TRUST:trust_id", id.as_str()),
        Revoked::ApplicationCredential(id) => put("application_credential_id", id.as_str()),
    }
    put("issued_before", &event.desired.issued_before.iso_micros());
    Value::Object(shown)
}
