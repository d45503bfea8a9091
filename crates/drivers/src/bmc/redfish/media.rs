//! Virtual media, under the system or under its managers (Source: DMTF DSP0268, `VirtualMedia`).

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use super::Redfish;
use super::connection::links;
use super::quirks::{MediaWish, media_wish};
use crate::bmc::{BmcError, Medium};

/// How often a change is looked for, and how long between.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_secs(1);

/// A place for a medium.
struct Place {
    path: String,
    resource: Value,
}

impl Place {
    fn is_for(&self, device_type: &str) -> bool {
        let has = |names: &[&str]| {
            self.resource["MediaTypes"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|it| names.contains(&it))
        };
        match device_type {
            "cdrom" => has(&["CD", "DVD"]),
            "floppy" => has(&["Floppy"]),
            "usb" | "disk" => has(&["USBStick"]),
            _ => false,
        }
    }

    fn device_type(&self) -> &'static str {
        ["cdrom", "usb", "floppy"].into_iter().find(|it| self.is_for(it)).unwrap_or("cdrom")
    }

    fn image(&self) -> Option<&str> {
        self.resource["Image"].as_str().filter(|it| !it.is_empty())
    }

    /// Whether there is a medium in it. Some say so only by the image.
    fn is_taken(&self) -> bool {
        self.resource["Inserted"].as_bool().unwrap_or_else(|| self.image().is_some())
    }

    fn action(&self, name: &str) -> Option<&str> {
        self.resource.pointer(&format!("/Actions/#VirtualMedia.{name}/target")).and_then(Value::as_str)
    }
}

impl Redfish {
    /// The places of the system itself first; those of its managers where it has none.
    async fn places(&self) -> Result<Vec<Place>, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let mut collections: Vec<String> = system["VirtualMedia"]["@odata.id"].as_str().map(str::to_owned).into_iter().collect();
        let mut managers = links(&system["Links"]["ManagedBy"]);
        let mut places = Vec::new();
        loop {
            for collection in collections.drain(..) {
                let members = match self.conn.members(&collection).await {
                    Ok(members) => members,
                    Err(BmcError::Rejected { .. }) => continue,
                    Err(error) => return Err(error),
                };
                for path in members {
                    if let Some(resource) = self.conn.maybe(&path).await? {
                        places.push(Place { path, resource });
                    }
                }
            }
            if !places.is_empty() || managers.is_empty() {
                return Ok(places);
            }
            let manager = self.conn.read(&managers.remove(0)).await?;
            collections.extend(manager["VirtualMedia"]["@odata.id"].as_str().map(str::to_owned));
        }
    }

    pub(super) async fn media(&self) -> Result<Vec<Medium>, BmcError> {
        let shown = |it: Place| Medium {
            device_type: it.device_type().to_owned(),
            image_url: it.image().map(str::to_owned),
            inserted: it.is_taken(),
        };
        Ok(self.places().await?.into_iter().map(shown).collect())
    }

    pub(super) async fn insert(&self, device_type: &str, url: &str) -> Result<(), BmcError> {
        let mut places = self.places().await?;
        // A stick takes the place of a floppy where there is no such drive.
        let wanted: &[&str] = if device_type == "floppy" { &["floppy", "usb"] } else { &[device_type] };
        let kind = wanted.iter().find(|kind| places.iter().any(|it| it.is_for(kind)));
        let Some(kind) = kind else {
            return Err(BmcError::Unsupported { what: format!("virtual media of type {device_type}") });
        };
        places.retain(|it| it.is_for(kind));
        if places.iter().any(|it| it.is_taken() && it.image() == Some(url)) {
            return Ok(());
        }
        // One that is empty is taken before one that must be emptied.
        places.sort_by_key(Place::is_taken);
        let mut refused = None;
        for place in &places {
            if place.is_taken() {
                self.take_out(place).await?;
            }
            match self.put_in(place, url).await {
                Ok(()) => return self.await_medium(&place.path, true).await,
                // Another place may take it: some have places for uploads only.
                Err(error @ (BmcError::Rejected { .. } | BmcError::Unsupported { .. })) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| self.conn.protocol("its virtual media vanished")))
    }

    pub(super) async fn eject(&self, device_type: Option<&str>) -> Result<(), BmcError> {
        for place in self.places().await? {
            if device_type.is_none_or(|kind| place.is_for(kind) || (kind == "floppy" && place.is_for("usb"))) && place.is_taken() {
                self.take_out(&place).await?;
            }
        }
        Ok(())
    }

    async fn put_in(&self, place: &Place, url: &str) -> Result<(), BmcError> {
        let Some(target) = place.action("InsertMedia") else {
            // Lenovo: without `Inserted` it is remembered and not put in (Source: sushy's release notes).
            let change = json!({"Image": url, "Inserted": true, "WriteProtected": true});
            return self.conn.patch(&place.path, &change, place.resource["@odata.etag"].as_str()).await.map(drop);
        };
        // Supermicro X11 refuses `Inserted` and `WriteProtected`; both are the default.
        let mut body = Map::from_iter([("Image".to_owned(), json!(url))]);
        let mut last = None;
        for _ in 0..4 {
            let answer = self.conn.raw(Method::POST, target, Some(&Value::Object(body.clone())), &[]).await?;
            if answer.is_success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            let error = self.conn.judged(&answer);
            match media_wish(&said) {
                Some(MediaWish::Protocol) if !body.contains_key("TransferProtocolType") => {
                    let protocol = url.split_once("://").map_or("HTTP", |(scheme, _)| scheme).to_ascii_uppercase();
                    body.insert("TransferProtocolType".into(), json!(protocol));
                }
                Some(MediaWish::Method) if !body.contains_key("TransferMethod") => {
                    body.insert("TransferMethod".into(), json!("Stream"));
                }
                Some(MediaWish::Account) if !body.contains_key("UserName") => {
                    body.insert("UserName".into(), json!("none"));
                    body.insert("Password".into(), json!("none"));
                }
                _ => return Err(error),
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| self.conn.protocol("it takes no medium")))
    }

    async fn take_out(&self, place: &Place) -> Result<(), BmcError> {
        let told = match place.action("EjectMedia") {
            // With an empty object: HPE and others refuse a request without a body.
            Some(target) => self.conn.post(target, &json!({})).await.map(drop),
            None => {
                let change = json!({"Image": null, "Inserted": false});
                self.conn.patch(&place.path, &change, place.resource["@odata.etag"].as_str()).await.map(drop)
            }
        };
        match told {
            Ok(()) => self.await_medium(&place.path, false).await,
            // It may be out already, by the machine itself.
            Err(error @ (BmcError::Rejected { .. } | BmcError::Conflict { .. })) => {
                let now = Place { path: place.path.clone(), resource: self.conn.read(&place.path).await? };
                if now.is_taken() { Err(error) } else { Ok(()) }
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until a medium is in, or out.
    async fn await_medium(&self, path: &str, is_in: bool) -> Result<(), BmcError> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let place = Place { path: path.to_owned(), resource: self.conn.read(path).await? };
            if place.is_taken() == is_in {
                return Ok(());
            }
        }
        Err(self.conn.conflict(if is_in { "the medium is not in yet" } else { "the medium is not out yet" }))
    }
}
