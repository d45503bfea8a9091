//! Service providers: other identity services that take our users.

use model::access::ServiceProviderDesired;
use model::identity::ServiceProvider;
use model::{Id, Object};
use serde_json::{Map, Value, json};

use super::Part;
use crate::failure::Failure;
use crate::identity::ask::Ask;
use crate::identity::noun::{Noun, read};
use crate::identity::schemas;
use crate::schema::Schema;

/// Of SAML's "enhanced client or proxy" (Source: Keystone, `[saml] relay_state_prefix`).
const RELAY_STATE_PREFIX: &str = "ss:mem:";

impl Noun for ServiceProvider {
    const SINGULAR: &'static str = "service_provider";
    const PLURAL: &'static str = "service_providers";
    const CREATE: &'static Schema = &schemas::SERVICE_PROVIDER_CREATE;
    const UPDATE: &'static Schema = &schemas::SERVICE_PROVIDER_UPDATE;
    const FILTERS: &'static [&'static str] = &["id", "enabled"];
    const QUERY: &'static Schema = &schemas::SERVICE_PROVIDER_INDEX_QUERY;

    fn blank(_: &Ask, _: &Map<String, Value>) -> Result<Object<Self>, Failure> {
        Ok(Object::new(Id::random_hex(), None, "", ServiceProviderDesired::default()))
    }

    async fn take(_: &Ask, object: &mut Object<Self>, body: &Map<String, Value>, _: Option<&Object<Self>>) -> Result<(), Failure> {
        let desired = &mut object.desired;
        for (place, key) in [(&mut desired.auth_url, "auth_url"), (&mut desired.sp_url, "sp_url")] {
            if let Some(url) = read::text(body, key) {
                *place = url;
            }
        }
        read::put(&mut desired.description, body, "description");
        read::put_bool(&mut desired.enabled, body, "enabled");
        read::put(&mut desired.relay_state_prefix, body, "relay_state_prefix");
        desired.relay_state_prefix.get_or_insert_with(|| RELAY_STATE_PREFIX.to_owned());
        Ok(())
    }

    fn show(object: &Object<Self>) -> Map<String, Value> {
        let desired = &object.desired;
        let shown = [
            ("auth_url", json!(desired.auth_url)),
            ("sp_url", json!(desired.sp_url)),
            ("enabled", json!(desired.enabled)),
            ("description", json!(desired.description)),
            ("relay_state_prefix", json!(desired.relay_state_prefix)),
        ];
        shown.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl Part for ServiceProvider {
    const WHAT: &'static str = "Service Provider";
}
