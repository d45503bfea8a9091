//! What agents are given with the steps they do.

use std::sync::Arc;
use std::time::Duration;

use model::baremetal::{PlannedStep, StepState};
use model::image_compute::{Image, ImageStatus};
use model::{Id, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::agent::Silence;
use super::{Machine, plan};
use crate::boot::medium;
use crate::crypt;
use crate::image_cache::Progress;
use crate::runtime::Fault;

/// How soon an image that is being converted is looked at again.
const CONVERTING: Duration = Duration::from_secs(1);
/// How soon an image is looked for again that is not in this host's image folder: another replica may have it, too.
const MISSING: Duration = Duration::from_secs(5);
/// How long it is waited for, in seconds.
const MISSING_LIMIT: f64 = 900.0;

/// A config drive above this is sent only where there is room, in bytes.
const LARGE_DRIVE: usize = 1 << 20;
/// How many of those are held in memory at once.
pub(crate) const LARGE_DRIVES: usize = 2;
/// How soon a machine looks again for such room.
const ROOM: Duration = Duration::from_secs(1);

/// The parameters of a command, with the room that they take until they are sent.
pub(super) struct Params {
    pub(super) value: Value,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Machine<'_> {
    /// The parameters of the command for a step; the inner error is what is to be done instead.
    pub(super) async fn params(&self, stage: &str, step: &PlannedStep) -> Result<Result<Params, Silence>, Fault> {
        if step.step.interface == "rescue" {
            let Some(password) = &self.node.desired.rescue_password else {
                return Ok(Err(Silence::Fail("there is no rescue password".into())));
            };
            let hashed = crypt::sha512(password.reveal()).map_err(Fault::outside)?;
            return Ok(Ok(Params { value: json!({"rescue_password": hashed, "hashed": true}), room: None }));
        }
        let mut args = step.step.args.clone();
        let mut room = None;
        if (step.step.interface.as_str(), step.step.step.as_str()) == (plan::WRITE_IMAGE.0, plan::WRITE_IMAGE.1)
            && !args.contains_key("image_info")
        {
            let waited = match &step.progress {
                StepState::Begun { at, .. } => Timestamp::now().seconds_since(*at),
                _ => 0.0,
            };
            let info = match self.image_info(waited).await? {
                Ok(info) => info,
                Err(why) => return Ok(Err(why)),
            };
            args.insert("image_info".into(), info);
            if self.node.desired.drive.as_ref().is_some_and(|it| it.bytes > LARGE_DRIVE) {
                let Ok(free) = Arc::clone(&self.cx.large_drives).try_acquire_owned() else {
                    return Ok(Err(Silence::Wait("large config drives are being sent to other machines".into(), ROOM)));
                };
                room = Some(free);
            }
            let drive = match &self.node.desired.drive {
                None => self.node.desired.configdrive.clone(),
                Some(drive) => match self.cx.store.get(&drive.id).await? {
                    Some(row) => Some(row.desired.drive),
                    None => return Ok(Err(Silence::Fail("its config drive is not there".into()))),
                },
            };
            args.insert("configdrive".into(), json!(drive.as_ref().map(model::Secret::reveal)));
        }
        let told = json!({
            "interface": step.step.interface, "step": step.step.step, "priority": step.step.priority, "abortable": step.abortable,
            "reboot_requested": step.reboot_requested, "args": args,
        });
        let version = format!("{stage}_version");
        let value = json!({"step": told, "node": self.told(), "ports": self.told_ports(), version: self.node.observed.job.managers});
        Ok(Ok(Params { value, room }))
    }

    /// The image to write: one of ours, or one anywhere with its checksum. `waited`: since when it is asked for, in seconds.
    async fn image_info(&self, waited: f64) -> Result<Result<Value, Silence>, Fault> {
        let no = |why: String| Ok(Err(Silence::Fail(why)));
        let info = &self.node.desired.instance_info;
        let Some(source) = info.text("image_source") else {
            return no("instance_info has no image_source".into());
        };
        if source.contains("://") {
            return match foreign_image(source, &info.0) {
                Ok(mut image) => {
                    image["node_uuid"] = json!(self.node.id);
                    Ok(Ok(image))
                }
                Err(why) => no(why),
            };
        }
        let Some(id) = Id::<Image>::parse(source) else {
            return no(format!("image_source {source:?} is neither an image nor a URL"));
        };
        let Some(image) = self.cx.store.get(&id).await?.filter(|it| it.desired.status == ImageStatus::Active) else {
            return no(format!("image {id} is not there or has no data"));
        };
        let raw = match self.cx.images.raw(&image).await {
            Progress::Ready(raw) => raw,
            Progress::Converting => return Ok(Err(Silence::Wait("its image is being converted".into(), CONVERTING))),
            Progress::Missing(why) if waited < MISSING_LIMIT => return Ok(Err(Silence::Wait(why, MISSING))),
            Progress::Missing(why) | Progress::Failed(why) => return no(why),
        };
        let url = if self.is_wired() {
            let base = self.cx.config.provisioning.as_ref().map(|it| format!("http://{}:{}", it.address, it.http_port));
            base.map(|base| format!("{base}/images/{}/{}", self.node.id, image.id))
        } else {
            let session = self.session().await?;
            let base = self.cx.config.baremetal.api_url.as_deref();
            base.zip(session).map(|(base, session)| medium::image_url(base, &self.node.id, &session, &image.id))
        };
        let Some(url) = url else {
            let what = if self.is_wired() { "no provisioning network is configured" } else { "baremetal.api_url is not set" };
            return no(what.into());
        };
        // What is sent is the raw image, whatever was uploaded; so are its size and digest.
        Ok(Ok(json!({
            "id": image.id, "urls": [url], "disk_format": "raw", "container_format": image.desired.container_format,
            "checksum": image.desired.checksum.as_ref().filter(|_| image.desired.disk_format.as_deref() == Some("raw")),
            "os_hash_algo": "sha512", "os_hash_value": raw.sha512, "size": raw.size, "stream_raw_images": true, "node_uuid": self.node.id,
        })))
    }
}

/// An image that is not ours (Source: Ironic documentation, "Deploying with Bare Metal service", `image_checksum` and
/// `image_os_hash_algo`).
fn foreign_image(url: &str, info: &Map<String, Value>) -> Result<Value, String> {
    let text = |key: &str| info.get(key).and_then(Value::as_str);
    let checksum = text("image_checksum");
    let (algorithm, digest) = match (text("image_os_hash_algo"), text("image_os_hash_value")) {
        (Some(algorithm), Some(digest)) => (Some(algorithm), Some(digest)),
        _ => match checksum {
            Some(sum) if sum.len() == 64 && !sum.contains("://") => (Some("sha256"), Some(sum)),
            Some(sum) if sum.len() == 128 && !sum.contains("://") => (Some("sha512"), Some(sum)),
            Some(_) => (None, None),
            None => return Err("instance_info names an image by URL and no checksum of it".into()),
        },
    };
    Ok(json!({
        "id": url.rsplit('/').next().unwrap_or(url), "urls": [url], "disk_format": text("image_disk_format").unwrap_or("raw"),
        "container_format": text("image_container_format").unwrap_or("bare"), "checksum": checksum, "os_hash_algo": algorithm,
        "os_hash_value": digest, "stream_raw_images": true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_others_need_a_checksum() {
        let info = |value: Value| value.as_object().cloned().unwrap();
        let sum = "a".repeat(64);
        let image = foreign_image("http://x/y/disk.raw", &info(json!({"image_checksum": sum}))).unwrap();
        assert_eq!((image["id"].as_str(), image["os_hash_algo"].as_str()), (Some("disk.raw"), Some("sha256")));
        let given = info(json!({"image_os_hash_algo": "sha512", "image_os_hash_value": "ff", "image_disk_format": "qcow2"}));
        let image = foreign_image("http://x/y", &given).unwrap();
        assert_eq!((image["os_hash_value"].as_str(), image["disk_format"].as_str()), (Some("ff"), Some("qcow2")));
        let by_file = info(json!({"image_checksum": "http://x/SHA256SUMS"}));
        assert_eq!(foreign_image("http://x/y", &by_file).unwrap()["checksum"], "http://x/SHA256SUMS");
        assert!(foreign_image("http://x/y", &Map::new()).is_err());
    }
}
