//! External identity providers (Source: Identity API v3 extension OS-FEDERATION): who they are, what becomes of what they say, and
//! logging in with what they issue.

mod keys;
mod login;
mod mappings;
mod protocols;
mod providers;
mod service_providers;
mod shadow;

use std::future::Future;
use std::sync::Arc;

use ::identity::payload::Federated;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::identity::{IdentityProvider, Mapping, ServiceProvider};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Wishes};

use super::ask::{Ask, body_of, missing, rooted};
use super::auth;
use super::noun::{self, Noun};
use crate::App;
use crate::failure::Failure;

pub(super) use keys::Providers;
pub(super) use shadow::names_of_user;

/// An object whose id is the client's choice and stands in the path that makes it.
trait Part: Noun {
    /// As messages name it.
    const WHAT: &'static str;

    /// Links beside the one to itself, below which they are.
    fn related() -> &'static [&'static str] {
        &[]
    }

    /// Looks at a body before anything else does.
    fn look(_: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    /// What is made together with it.
    fn beside(_: &Object<Self>, _: &Map<String, Value>) -> Batch<Wishes> {
        Batch::wishes()
    }

    /// Why an object cannot be stored, if it is not that there is one of its id.
    fn conflict(_: &App, _: &Object<Self>) -> impl Future<Output = Result<Option<String>, Failure>> + Send {
        std::future::ready(Ok(None))
    }
}

fn shown<P: Part>(object: &Object<P>, ask: &Ask, in_list: bool) -> Value {
    let mut shown = P::show(object);
    shown.insert("id".into(), json!(object.id));
    let path = format!("OS-FEDERATION/{}/{}", P::PLURAL, object.id);
    let mut shown = ask.linked(Value::Object(shown), &path);
    for name in P::related().iter().filter(|_| in_list) {
        shown["links"][*name] = json!(ask.link(&format!("{path}/{name}")));
    }
    shown
}

/// A failure with the name messages give the thing.
fn worded<P: Part>(failure: Failure, id: &str) -> Failure {
    if failure.status() == StatusCode::NOT_FOUND { missing(P::WHAT, id) } else { failure }
}

async fn list<P: Part>(ask: Ask) -> Result<Json<Value>, Failure> {
    ask.enforce(&format!("identity:list_{}", P::PLURAL), json!({}))?;
    noun::check_query(&ask, P::QUERY)?;
    let found = noun::candidates::<P>(&ask).await?;
    let items = found.iter().map(|it| shown(it, &ask, true)).filter(|it| noun::kept(it, &ask, P::FILTERS)).collect();
    noun::paged(P::PLURAL, items, &ask)
}

async fn show<P: Part>(ask: Ask, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    let rule = format!("identity:get_{}", P::SINGULAR);
    let found = noun::permitted::<P>(&ask, &id, &rule).await.map_err(|error| worded::<P>(error, &id))?;
    Ok(Json(json!({ P::SINGULAR: shown(&found, &ask, false) })))
}

/// PUT makes it; there is no second PUT.
async fn put<P: Part>(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    P::look(&bytes)?;
    let body = rooted(&body_of(&bytes, P::CREATE)?, P::SINGULAR)?;
    let mut object = P::blank(&ask, &body)?;
    object.id = new_id("id", &id)?;
    ask.enforce(&format!("identity:create_{}", P::SINGULAR), json!({ P::SINGULAR: body }))?;
    P::take(&ask, &mut object, &body, None).await?;
    match noun::save::<P>(&ask, &object, P::beside(&object, &body)).await {
        Ok(()) => Ok((StatusCode::CREATED, Json(json!({ P::SINGULAR: shown(&object, &ask, false) })))),
        Err(Failure::Conflict(text)) => Err(conflict::<P>(&ask.app, &object, text).await?),
        Err(error) => Err(error),
    }
}

async fn conflict<P: Part>(app: &App, object: &Object<P>, text: String) -> Result<Failure, Failure> {
    let why = P::conflict(app, object).await?;
    Ok(Failure::Conflict(why.map_or(text, |why| format!("Conflict occurred attempting to store {} - {why}", P::SINGULAR))))
}

async fn update<P: Part>(ask: Ask, Path(id): Path<String>, bytes: Bytes) -> Result<Json<Value>, Failure> {
    P::look(&bytes)?;
    match noun::change::<P>(&ask, &id, &bytes, &format!("identity:update_{}", P::SINGULAR)).await {
        Ok(object) => Ok(Json(json!({ P::SINGULAR: shown(&object, &ask, false) }))),
        Err(Failure::Conflict(text)) => {
            let mut tried = noun::find::<P>(&ask.app, &id).await.map_err(|error| worded::<P>(error, &id))?;
            let before = tried.clone();
            P::take(&ask, &mut tried, &rooted(&body_of(&bytes, P::UPDATE)?, P::SINGULAR)?, Some(&before)).await?;
            Err(conflict::<P>(&ask.app, &tried, text).await?)
        }
        Err(error) => Err(worded::<P>(error, &id)),
    }
}

async fn delete<P: Part>(ask: Ask, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    noun::remove::<P>(&ask, &id, &format!("identity:delete_{}", P::SINGULAR)).await.map_err(|error| worded::<P>(error, &id))
}

/// An id a client chose.
fn new_id<K: model::Kind>(field: &str, text: &str) -> Result<Id<K>, Failure> {
    Id::parse(text).ok_or_else(|| {
        Failure::BadRequest(format!(
            "Invalid input for field '{field}': it is not 1 to 64 letters, digits, dots, underscores, colons or dashes"
        ))
    })
}

/// Refuses to go on with what a provider once said if it is disabled or gone, as logging in anew would be.
///
/// # Errors
/// `Forbidden` or `NotFound`.
pub(super) async fn check_offered(app: &App, said: &Federated) -> Result<(), Failure> {
    let provider = login::enabled_provider(app, &said.idp).await?;
    protocols::find(app, provider.id.as_str(), &said.protocol).await.map(drop)
}

fn part<P: Part>() -> Router<Arc<App>> {
    let all = format!("/OS-FEDERATION/{}", P::PLURAL);
    Router::new()
        .route(&all, get(list::<P>))
        .route(&format!("{all}/{{id}}"), get(show::<P>).put(put::<P>).patch(update::<P>).delete(delete::<P>))
}

pub(super) fn routes() -> Router<Arc<App>> {
    let own = "/OS-FEDERATION/identity_providers/{idp}/protocols";
    Router::new()
        .merge(part::<IdentityProvider>())
        .merge(part::<Mapping>())
        .merge(part::<ServiceProvider>())
        .route(own, get(protocols::list))
        .route(&format!("{own}/{{protocol}}"), get(protocols::show).put(protocols::put).patch(protocols::update).delete(protocols::delete))
        .route(&format!("{own}/{{protocol}}/auth"), get(login::log_in).post(login::log_in))
        .route("/OS-FEDERATION/projects", get(auth::own_projects))
        .route("/OS-FEDERATION/domains", get(auth::own_domains))
}
