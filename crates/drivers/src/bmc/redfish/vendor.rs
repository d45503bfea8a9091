//! The methods that the Redfish vendor interface has (Source: Ironic documentation, "Redfish driver", vendor passthru).

use http::Method;
use serde_json::{Map, Value, json};

use super::Redfish;
use super::connection::path_of;
use crate::bmc::BmcError;

/// What is shown of a subscription.
const SHOWN: &[&str] = &["Id", "Context", "Protocol", "Destination", "EventTypes"];

impl Redfish {
    pub(super) async fn vendor_method(&self, method: &str, body: &Value) -> Result<Value, BmcError> {
        match method {
            "eject_vmedia" => {
                let device = match &body["boot_device"] {
                    Value::Null => None,
                    Value::String(text)
                        if ["cdrom", "floppy", "disk", "dvd", "cd", "usb"].contains(&text.to_ascii_lowercase().as_str()) =>
                    {
                        Some(text.to_ascii_lowercase())
                    }
                    other => return Err(self.conn.rejected(format!("Invalid boot device {other}: it must be cdrom, floppy or disk"))),
                };
                let device = device.as_deref().map(|it| if it == "dvd" || it == "cd" { "cdrom" } else { it });
                self.eject(device).await.map(|()| Value::Null)
            }
            "create_subscription" => self.subscribe(body).await,
            "delete_subscription" => {
                let path = self.subscription(body).await?;
                self.conn.call(Method::DELETE, &path, None).await.map(|_| Value::Null)
            }
            "get_all_subscriptions" => {
                let collection = self.conn.read(&self.subscriptions().await?).await?;
                Ok(json!({"Members": collection["Members"], "Name": collection["Name"]}))
            }
            "get_subscription" => Ok(shown(&self.conn.read(&self.subscription(body).await?).await?)),
            other => Err(BmcError::Unsupported { what: format!("vendor method {other}") }),
        }
    }

    async fn subscriptions(&self) -> Result<String, BmcError> {
        let root = self.conn.read(&self.conn.root.clone()).await?;
        let unsupported = || BmcError::Unsupported { what: "event subscriptions".into() };
        let service = root["EventService"]["@odata.id"].as_str().ok_or_else(unsupported)?;
        let service = self.conn.read(service).await?;
        service["Subscriptions"]["@odata.id"].as_str().map(str::to_owned).ok_or_else(unsupported)
    }

    async fn subscription(&self, body: &Value) -> Result<String, BmcError> {
        let id = body["id"].as_str().filter(|it| !it.is_empty() && it.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
        let id = id.ok_or_else(|| self.conn.rejected("id must be the id of a subscription"))?;
        Ok(format!("{}/{id}", self.subscriptions().await?.trim_end_matches('/')))
    }

    async fn subscribe(&self, body: &Value) -> Result<Value, BmcError> {
        let given = body.as_object().cloned().unwrap_or_default();
        if given.get("Destination").and_then(Value::as_str).is_none_or(|it| !it.starts_with("http")) {
            return Err(self.conn.rejected("Destination must be a URL"));
        }
        let mut wanted = Map::from_iter([
            ("Context".to_owned(), json!("")),
            ("EventTypes".to_owned(), json!(["Alert"])),
            ("Protocol".to_owned(), json!("Redfish")),
        ]);
        for (key, value) in given {
            if !["Destination", "Context", "EventTypes", "Protocol", "HttpHeaders"].contains(&key.as_str()) {
                return Err(self.conn.rejected(format!("{key} is no property of a subscription")));
            }
            wanted.insert(key, value);
        }
        let answer = self.conn.post(&self.subscriptions().await?, &Value::Object(wanted)).await?;
        let location = answer.headers.get("location").and_then(|it| it.to_str().ok());
        match location {
            Some(path) => Ok(shown(&self.conn.read(path_of(path)).await?)),
            None => Ok(shown(&answer.json().unwrap_or_default())),
        }
    }
}

fn shown(subscription: &Value) -> Value {
    SHOWN.iter().filter_map(|key| subscription.get(key).map(|it| ((*key).to_owned(), it.clone()))).collect::<Map<_, _>>().into()
}
