//! Config drives as they come with a verb: an image, its address, or what is to be on it, of which the image is made here.

// One writer of images for the engine's own drives and these; the crate that it is part of talks to devices, which the API does not.
#[path = "../../../drivers/src/iso9660.rs"]
#[expect(dead_code, reason = "the engine uses more of it")]
mod iso9660;

use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::baremetal::Node;
use model::{Object, Secret};
use serde_json::{Map, Value, json};

use self::iso9660::{Content, SECTOR};
use super::versions::Minor;
use super::words::{not_of_type, unexpected};
use crate::failure::Failure;

/// Longest config drive, in bytes of its text: Ironic's own limit is 64 MiB of image; a body here has at most one.
const MAX_TEXT: usize = 1024 * 1024;

fn bad(why: &str) -> Failure {
    Failure::BadRequest(format!("Invalid configdrive format: {why}"))
}

/// What is kept of a config drive: base64 of a gzip'ed image, or where that is.
///
/// # Errors
/// `BadRequest`: it is neither, or the version has it not yet.
pub(super) fn read(minor: Minor, node: &Object<Node>, value: &Value) -> Result<Secret, Failure> {
    match value {
        Value::String(text) if text.contains("://") => address(text),
        Value::String(text) => image(text),
        Value::Object(map) => {
            if minor < Minor(56) {
                let text = "Providing a JSON object for configdrive is only supported starting with API version 1.56";
                return Err(Failure::BadRequest(text.into()));
            }
            if map.contains_key("vendor_data") && minor < Minor(59) {
                let text = "Providing vendor_data in configdrive is only supported starting with API version 1.59";
                return Err(Failure::BadRequest(text.into()));
            }
            built(node, map)
        }
        other => Err(bad(&not_of_type(other, "object|string|null"))),
    }
}

/// The agent fetches it.
fn address(text: &str) -> Result<Secret, Failure> {
    let uri: Option<http::Uri> = text.parse().ok();
    match uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|it| !it.is_empty())) {
        true => Ok(Secret::new(text)),
        false => Err(bad("its address is neither http nor https")),
    }
}

fn image(text: &str) -> Result<Secret, Failure> {
    let neither = || bad("it is neither a JSON, nor a URL, nor a base64 string");
    if text.len() > MAX_TEXT {
        return Err(bad("it is larger than 1 MiB"));
    }
    let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(&plain).map_err(|_| neither())?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(bad("it is not gzip'ed"));
    }
    Ok(Secret::new(plain))
}

fn built(node: &Object<Node>, map: &Map<String, Value>) -> Result<Secret, Failure> {
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
    meta.entry("uuid").or_insert_with(|| json!(node.id));
    if !node.name.is_empty() {
        meta.entry("name").or_insert_with(|| json!(node.name));
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
    let text = packed(files)?;
    if text.len() > MAX_TEXT { Err(bad("it is larger than 1 MiB")) } else { Ok(Secret::new(text)) }
}

/// The image of these files, gzip'ed, as base64.
fn packed(files: Vec<(String, Vec<u8>)>) -> Result<String, Failure> {
    let files = files.into_iter().map(|(path, content)| (path, Content::Bytes(content))).collect();
    let image = iso9660::lay("config-2", files, None).map_err(|error| bad(&error.to_string()))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for part in image.parts {
        let Content::Bytes(mut bytes) = part else { continue };
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        gzip.write_all(&bytes).map_err(|error| bad(&error.to_string()))?;
    }
    let bytes = gzip.finish().map_err(|error| bad(&error.to_string()))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use model::Id;
    use model::baremetal::NodeDesired;

    use super::*;

    #[test]
    fn drives() {
        let node = Object::new(Id::random(), None, "m1", NodeDesired::default());
        let of = |minor, value: Value| read(Minor(minor), &node, &value);
        assert_eq!(of(1, json!("H4sIAAAA")).unwrap().reveal(), "H4sIAAAA");
        assert_eq!(of(1, json!("http://x/drive")).unwrap().reveal(), "http://x/drive");
        let drive = json!({"meta_data": {"hostname": "h1"}, "user_data": {"a": 1}, "network_data": {"links": []}, "vendor_data": {}});
        assert!(of(58, drive.clone()).unwrap_err().message().contains("1.59"));
        let built = of(59, drive).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(built.reveal()).unwrap();
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
            let error = of(minor, value.clone()).unwrap_err().message();
            assert!(error.contains(word), "{value}: {error}");
        }
    }
}
