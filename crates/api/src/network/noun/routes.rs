//! The paths of nouns.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete as on_delete, get as on_get, post as on_post, put as on_put};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::net::Described;
use serde_json::Value;

use super::{Body, Noun, create, delete, find, list, many_shown, one_shown, tags, update};
use crate::App;
use crate::failure::Failure;
use crate::network::{Ask, bodies};
use crate::resource::{parse, rooted};

type Routes = Router<Arc<App>>;

/// JSON text as an answer.
fn json_text(status: StatusCode, text: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn listed<K: Noun>(ask: Ask) -> Result<Response, Failure> {
    Ok(json_text(StatusCode::OK, list::list::<K>(&ask).await?))
}

async fn shown<K: Noun>(ask: &Ask, id: &str) -> Result<Response, Failure> {
    let (object, around) = find::<K>(ask, id).await?;
    Ok(json_text(StatusCode::OK, one_shown(ask, &object, &around, K::form().singular)))
}

async fn created<K: Noun>(ask: Ask, body: Bytes) -> Result<Response, Failure> {
    let form = K::form();
    let body = parse(&body)?;
    let (wanted, is_bulk) = bodies(&body, form.singular, form.plural)?;
    if is_bulk && !form.bulk {
        return Err(Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", "Bulk operation not supported"));
    }
    let made = create::<K>(&ask, &wanted).await?;
    // As they are now: what was made with them may have touched them.
    let around = K::around(&ask, &made).await?;
    let text = match made.first() {
        Some(one) if !is_bulk => one_shown(&ask, one, &around, form.singular),
        _ => many_shown(&ask, &made, &around, &[]),
    };
    Ok(json_text(StatusCode::CREATED, text))
}

async fn changed<K: Noun>(ask: &Ask, id: &str, body: &Bytes) -> Result<Response, Failure> {
    let form = K::form();
    let body: Value = parse(body)?;
    let wanted: &Body = rooted(&body, form.singular)?;
    let (object, around) = update::<K>(ask, id, wanted).await?;
    Ok(json_text(StatusCode::OK, one_shown(ask, &object, &around, form.singular)))
}

async fn removed<K: Noun>(ask: &Ask, id: &str, body: &Bytes) -> Result<StatusCode, Failure> {
    if !body.is_empty() {
        return Err(Failure::named(StatusCode::BAD_REQUEST, "HTTPBadRequest", "A request to delete has no body"));
    }
    delete::<K>(ask, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The verbs of a collection and of one thing of it, as far as the form has them.
fn with_verbs<K: Noun>(
    collection: MethodRouter<Arc<App>>,
    item: MethodRouter<Arc<App>>,
    post: MethodRouter<Arc<App>>,
    put: MethodRouter<Arc<App>>,
    remove: MethodRouter<Arc<App>>,
) -> (MethodRouter<Arc<App>>, MethodRouter<Arc<App>>) {
    let form = K::form();
    let collection = if form.creates { collection.merge(post) } else { collection };
    let item = if form.changes { item.merge(put) } else { item };
    (collection, item.merge(remove))
}

/// The paths of a noun: its collection and its things.
pub(crate) fn routes<K: Noun>() -> Routes {
    let form = K::form();
    let (collection, item) = with_verbs::<K>(
        on_get(listed::<K>),
        on_get(async |ask: Ask, Path(id): Path<String>| shown::<K>(&ask, &id).await),
        on_post(created::<K>),
        on_put(async |ask: Ask, Path(id): Path<String>, body: Bytes| changed::<K>(&ask, &id, &body).await),
        on_delete(async |ask: Ask, Path(id): Path<String>, body: Bytes| removed::<K>(&ask, &id, &body).await),
    );
    spellings(form.path).iter().fold(Router::new(), |router, path| {
        router.route(&format!("/{path}"), collection.clone()).route(&format!("/{path}/{{id}}"), item.clone())
    })
}

/// The ways to write a collection's path: hyphens and underscores stand for one another, as upstream has it.
fn spellings(path: &str) -> BTreeSet<String> {
    BTreeSet::from([path.to_owned(), path.replace('-', "_"), path.replace('_', "-")])
}

/// The paths of a noun that has tags.
pub(crate) fn tagged_routes<K: Noun>() -> Routes
where
    K::Desired: Described,
{
    let path = K::form().path;
    routes::<K>()
        .route(
            &format!("/{path}/{{id}}/tags"),
            on_get(tags::list::<K>).put(tags::replace::<K>).post(tags::add_many::<K>).delete(tags::clear::<K>),
        )
        .route(&format!("/{path}/{{id}}/tags/{{tag}}"), on_get(tags::has::<K>).put(tags::add::<K>).delete(tags::remove::<K>))
}

/// A noun that lies inside another: the rules of a QoS policy, the port forwardings of a floating IP.
pub(crate) trait Nested: Noun {
    /// What it lies in.
    type Parent: Noun;
}

/// Checks that the thing the path goes through is there for the caller, and says so to what comes after.
async fn inside<K: Nested>(mut ask: Ask, parent: String) -> Result<Ask, Failure> {
    let outside = ask.inside.take();
    let (object, _) = find::<K::Parent>(&ask, &parent).await?;
    debug_assert!(outside.is_none(), "nothing lies two levels deep");
    ask.inside = Some(object.id.to_string());
    Ok(ask)
}

/// The paths of a noun inside another: `/<parent's path>/{id}/<path>`.
pub(crate) fn nested_routes<K: Nested>() -> Routes {
    let (collection, item) = with_verbs::<K>(
        on_get(async |ask: Ask, Path(parent): Path<String>| listed::<K>(inside::<K>(ask, parent).await?).await),
        on_get(async |ask: Ask, Path((parent, id)): Path<(String, String)>| shown::<K>(&inside::<K>(ask, parent).await?, &id).await),
        on_post(async |ask: Ask, Path(parent): Path<String>, body: Bytes| created::<K>(inside::<K>(ask, parent).await?, body).await),
        on_put(async |ask: Ask, Path((parent, id)): Path<(String, String)>, body: Bytes| {
            changed::<K>(&inside::<K>(ask, parent).await?, &id, &body).await
        }),
        on_delete(async |ask: Ask, Path((parent, id)): Path<(String, String)>, body: Bytes| {
            removed::<K>(&inside::<K>(ask, parent).await?, &id, &body).await
        }),
    );
    let path = format!("/{}/{{parent}}/{}", K::Parent::form().path, K::form().path);
    Router::new().route(&path, collection).route(&format!("{path}/{{id}}"), item)
}
