//! Config drives as they come with a verb: an image, its address, or what is to be on it, of which the image is made here.

use std::io::Read;

use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use flate2::read::MultiGzDecoder;
use media::configdrive::{MAX_IMAGE, build, encode};
use media::iso9660::IsoError;
use model::baremetal::Node;
use model::{Object, Secret};
use serde_json::{Map, Value, json};

use super::versions::Minor;
use super::words::{not_of_type, unexpected};
use crate::failure::Failure;

/// Longest text of a config drive, in bytes: base64 of an image of [`MAX_IMAGE`] that cannot be compressed, with some line breaks.
pub(super) const MAX_TEXT: usize = MAX_IMAGE / 3 * 4 + (2 << 20);

fn bad(why: &str) -> Failure {
    Failure::BadRequest(format!("Invalid configdrive format: {why}"))
}

/// What is kept of a config drive: base64 of a gzip'ed image, or where that is.
///
/// # Errors
/// `BadRequest`: it is neither, or the version has it not yet.
pub(super) async fn read(minor: Minor, node: &Object<Node>, value: Value) -> Result<Secret, Failure> {
    match value {
        Value::String(text) if text.contains("://") => address(text),
        Value::String(text) => elsewhere(move || image(text)).await,
        Value::Object(map) => {
            if minor < Minor(56) {
                let text = "Providing a JSON object for configdrive is only supported starting with API version 1.56";
                return Err(Failure::BadRequest(text.into()));
            }
            if map.contains_key("vendor_data") && minor < Minor(59) {
                let text = "Providing vendor_data in configdrive is only supported starting with API version 1.59";
                return Err(Failure::BadRequest(text.into()));
            }
            let (id, name) = (node.id.to_string(), node.name.clone());
            elsewhere(move || built(&id, &name, map)).await
        }
        other => Err(bad(&not_of_type(&other, "object|string|null"))),
    }
}

/// Where it holds up nobody: packing and unpacking takes a while.
async fn elsewhere(work: impl FnOnce() -> Result<Secret, Failure> + Send + 'static) -> Result<Secret, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Internal(format!("reading a config drive: {error}")))?
}

/// The agent fetches it.
fn address(text: String) -> Result<Secret, Failure> {
    let uri: Option<http::Uri> = text.parse().ok();
    match uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|it| !it.is_empty())) {
        true => Ok(Secret::new(text)),
        false => Err(bad("its address is neither http nor https")),
    }
}

/// Reads to the end, or to the limit; how much that was.
fn length(from: impl Read, limit: usize) -> std::io::Result<u64> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    std::io::copy(&mut from.take(limit.saturating_add(1)), &mut std::io::sink())
}

fn image(mut text: String) -> Result<Secret, Failure> {
    let neither = || bad("it is neither a JSON, nor a URL, nor a base64 string");
    let large = || bad("it is larger than 64 MiB");
    text.retain(|c| !c.is_ascii_whitespace());
    if text.len() > MAX_TEXT {
        return Err(large());
    }
    // Read as it is decoded: nothing of it is held twice.
    length(DecoderReader::new(text.as_bytes(), &STANDARD), usize::MAX).map_err(|_| neither())?;
    let mut magic = Vec::new();
    DecoderReader::new(text.as_bytes(), &STANDARD).take(2).read_to_end(&mut magic).map_err(|_| neither())?;
    if magic != [0x1f, 0x8b] {
        return Err(bad("it is not gzip'ed"));
    }
    // One that cannot be unpacked to its end is the agent's to refuse, as with Ironic.
    let unpacked = length(MultiGzDecoder::new(DecoderReader::new(text.as_bytes(), &STANDARD)), MAX_IMAGE);
    match unpacked {
        Ok(bytes) if usize::try_from(bytes).is_ok_and(|it| it > MAX_IMAGE) => Err(large()),
        Ok(_) | Err(_) => Ok(Secret::new(text)),
    }
}

fn built(id: &str, name: &str, map: Map<String, Value>) -> Result<Secret, Failure> {
    const KNOWN: &[&str] = &["meta_data", "network_data", "user_data", "vendor_data"];
    let other: Vec<&str> = map.keys().map(String::as_str).filter(|key| !KNOWN.contains(key)).collect();
    if !other.is_empty() {
        return Err(bad(&unexpected(&other)));
    }
    let object = |key: &str| match map.get(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(other) => Err(bad(&not_of_type(other, "object"))),
    };
    let mut meta = object("meta_data")?.unwrap_or_default();
    meta.entry("uuid").or_insert_with(|| json!(id));
    if !name.is_empty() {
        meta.entry("name").or_insert_with(|| json!(name));
    }
    let mut files = vec![("openstack/latest/meta_data.json".to_owned(), Value::Object(meta).to_string().into_bytes())];
    for (key, file) in [("network_data", "network_data.json"), ("vendor_data", "vendor_data2.json")] {
        if let Some(data) = object(key)? {
            files.push((format!("openstack/latest/{file}"), Value::Object(data).to_string().into_bytes()));
        }
    }
    let user_data = match map.get("user_data") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone().into_bytes()),
        Some(data @ (Value::Object(_) | Value::Array(_))) => Some(data.to_string().into_bytes()),
        Some(other) => return Err(bad(&not_of_type(other, "object|array|string|null"))),
    };
    files.extend(user_data.map(|data| ("openstack/latest/user_data".to_owned(), data)));
    let image = build(files).map_err(|error| match error {
        IsoError::TooLarge => bad("it is larger than 64 MiB"),
        IsoError::Path { .. } => bad(&error.to_string()),
    })?;
    Ok(Secret::new(encode(&image)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::Engine as _;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use model::Id;
    use model::baremetal::NodeDesired;

    use super::*;

    /// Zeroes, gzip'ed, as base64.
    fn zeroes(bytes: usize) -> String {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..bytes / 4096 {
            gzip.write_all(&[0; 4096]).unwrap();
        }
        STANDARD.encode(gzip.finish().unwrap())
    }

    #[tokio::test]
    async fn large_drives() {
        let node = Object::new(Id::random(), None, "m1", NodeDesired::default());
        let of = async |value: Value| read(Minor(60), &node, value).await;
        let text = zeroes(MAX_IMAGE);
        assert_eq!(of(json!(text)).await.unwrap().reveal(), text);
        // What is sent is short; what comes of it is not.
        assert!(of(json!(zeroes(MAX_IMAGE + 4096))).await.unwrap_err().message().contains("64 MiB"));
        assert!(of(json!("A".repeat(MAX_TEXT + 4))).await.unwrap_err().message().contains("64 MiB"));
        let lines = text.as_bytes().chunks(76).map(|it| std::str::from_utf8(it).unwrap()).collect::<Vec<_>>().join("\n");
        assert_eq!(of(json!(lines)).await.unwrap().reveal(), text, "Python's base64.encodebytes breaks lines");
        let built = of(json!({"user_data": "x".repeat(5 << 20)})).await.unwrap();
        let mut image = Vec::new();
        MultiGzDecoder::new(DecoderReader::new(built.reveal().as_bytes(), &STANDARD)).read_to_end(&mut image).unwrap();
        assert!(image.len() > 5 << 20 && image.windows(4).any(|it| it == b"xxxx"));
        assert!(of(json!({"user_data": "x".repeat(MAX_IMAGE)})).await.unwrap_err().message().contains("64 MiB"));
    }

    #[tokio::test]
    async fn drives() {
        let node = Object::new(Id::random(), None, "m1", NodeDesired::default());
        let of = async |minor, value: Value| read(Minor(minor), &node, value).await;
        assert_eq!(of(1, json!("H4sIAAAA")).await.unwrap().reveal(), "H4sIAAAA");
        assert_eq!(of(1, json!("http://x/drive")).await.unwrap().reveal(), "http://x/drive");
        let drive = json!({"meta_data": {"hostname": "h1"}, "user_data": {"a": 1}, "network_data": {"links": []}, "vendor_data": {}});
        assert!(of(58, drive.clone()).await.unwrap_err().message().contains("1.59"));
        let built = of(59, drive).await.unwrap();
        let bytes = STANDARD.decode(built.reveal()).unwrap();
        assert!(bytes.starts_with(&[0x1f, 0x8b]));
        for (minor, value, word) in [
            (55, json!({}), "1.56"),
            (60, json!({"meta": {}}), "'meta' was unexpected"),
            (60, json!({"meta_data": []}), "not of type"),
            (60, json!({"user_data": 7}), "not of type"),
            (60, json!("aGVsbG8="), "gzip"),
            (60, json!("x!"), "neither a JSON"),
            (60, json!("file:///etc/passwd"), "neither http nor https"),
            (60, json!(7), "not of type"),
        ] {
            let error = of(minor, value.clone()).await.unwrap_err().message();
            assert!(error.contains(word), "{value}: {error}");
        }
    }
}
