//! Services: what the catalog lists.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use model::identity::{Endpoint, PolicyAssociation, RegisteredLimit, Service, ServiceDesired};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::{Batch, Query, Wishes};

use super::ask::Ask;
use super::noun::{self, Noun, read};
use super::{endpoints, schemas};
use crate::App;
use crate::failure::Failure;
use crate::schema::Schema;

impl Noun for Service {
    const SINGULAR: &'static str = "service";
    const PLURAL: &'static str = "services";
    const CREATE: &'static Schema = &schemas::SERVICE_CREATE;
    const UPDATE: &'static Schema = &schemas::SERVICE_UPDATE;
    const FILTERS: &'static [&'static str] = &["type", "name"];
    const QUERY: &'static Schema = &schemas::SERVICE_INDEX_QUERY;

    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        let desired = ServiceDesired { service_type: String::new(), description: String::new(), enabled: true, extra: Map::new() };
        Ok(Object::new(Id::random_hex(), None, "", desired))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        if let Some(name) = read::text(body, "name") {
            object.name = name;
        }
        let desired = &mut object.desired;
        if let Some(kind) = read::text(body, "type") {
            desired.service_type = kind;
        }
        read::put_bool(&mut desired.enabled, body, "enabled");
        read::extra(&mut desired.extra, body, &["name", "type", "enabled", "description"]);
        match body.get("description") {
            None => {}
            Some(Value::String(text)) => {
                desired.description.clone_from(text);
                desired.extra.remove("description");
            }
            // Whatever else a client says is kept as it is: only a text fits the attribute.
            Some(other) => {
                desired.description.clear();
                desired.extra.insert("description".into(), other.clone());
            }
        }
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let mut shown = Map::new();
        if !desired.description.is_empty() {
            shown.insert("description".into(), json!(desired.description));
        }
        shown.extend(desired.extra.clone());
        shown.insert("name".into(), json!(object.name));
        shown.insert("type".into(), json!(desired.service_type));
        shown.insert("enabled".into(), json!(desired.enabled));
        shown
    }

    async fn cascade(ask: &Ask, object: &Object<Self>, mut batch: Batch<Wishes>) -> Result<Batch<Wishes>, Failure> {
        let store = &ask.app.store;
        let id = object.id.as_str();
        for it in store.list(&Query::<Endpoint>::new().column("service_id", [id.to_owned()])).await? {
            batch = endpoints::with_all_of(ask, &it, batch).await?.remove(&it);
        }
        let policies = store.list(&Query::<PolicyAssociation>::new().column("service_id", [id.to_owned()])).await?;
        batch = policies.iter().fold(batch, Batch::remove);
        Ok(batch.unless_referenced::<Endpoint>("service_id", id).unless_referenced::<RegisteredLimit>("service_id", id))
    }
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/services", get(noun::list::<Service>).post(noun::create::<Service>))
        .route("/services/{id}", get(noun::show::<Service>).patch(noun::update::<Service>).delete(noun::delete::<Service>))
}
