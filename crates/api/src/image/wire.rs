//! An image as Glance shows it, and how its attributes are set.

use model::image_compute::{Image, ImageDesired, ImageStatus};
use model::{Id, Object};
use serde_json::{Map, Value, json};

/// Why an attribute cannot be set.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// Nobody sets it. (403 in Glance)
    ReadOnly(String),
    /// The value does not fit.
    Bad(String),
    /// The rules do not let the caller.
    Policy(String),
}

/// Attributes that only the server sets.
const READ_ONLY: &[&str] = &[
    "status",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "size",
    "virtual_size",
    "created_at",
    "updated_at",
    "self",
    "file",
    "schema",
    "locations",
    "direct_url",
];

/// Attributes of their own; every other is a free property.
const OWN: &[&str] =
    &["id", "name", "disk_format", "container_format", "visibility", "min_disk", "min_ram", "protected", "os_hidden", "tags", "owner"];

const DISK_FORMATS: &[&str] = &["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"];
const CONTAINER_FORMATS: &[&str] = &["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"];
const VISIBILITIES: &[&str] = &["public", "private", "shared", "community"];

/// A new image without data, private to its project's choosing.
pub(super) fn fresh() -> ImageDesired {
    ImageDesired {
        status: ImageStatus::Queued,
        disk_format: None,
        container_format: None,
        visibility: "shared".into(),
        min_disk: 0,
        min_ram: 0,
        protected: false,
        hidden: false,
        tags: Vec::new(),
        properties: std::collections::BTreeMap::new(),
        size_bytes: None,
        checksum: None,
        sha512: None,
    }
}

/// The image as shown.
pub(super) fn show(image: &Object<Image>) -> Map<String, Value> {
    let desired = &image.desired;
    let id = &image.id;
    let mut out = Map::new();
    for (key, value) in &desired.properties {
        out.insert(key.clone(), json!(value));
    }
    let own = json!({
        "id": id,
        "name": image.name,
        "status": desired.status.as_str(),
        "visibility": desired.visibility,
        "protected": desired.protected,
        "os_hidden": desired.hidden,
        "owner": image.project_id,
        "disk_format": desired.disk_format,
        "container_format": desired.container_format,
        "min_disk": desired.min_disk,
        "min_ram": desired.min_ram,
        "size": desired.size_bytes,
        "virtual_size": Value::Null,
        "checksum": desired.checksum,
        "os_hash_algo": desired.sha512.as_ref().map(|_| "sha512"),
        "os_hash_value": desired.sha512,
        "tags": desired.tags,
        "created_at": image.created_at.iso_seconds(),
        "updated_at": image.updated_at.unwrap_or(image.created_at).iso_seconds(),
        "self": format!("/v2/images/{id}"),
        "file": format!("/v2/images/{id}/file"),
        "schema": "/v2/schemas/image",
    });
    if let Value::Object(own) = own {
        out.extend(own);
    }
    out
}

/// What a patch works on: the attributes that can be changed.
pub(super) fn changeable(image: &Object<Image>) -> Map<String, Value> {
    show(image).into_iter().filter(|(key, _)| key != "id" && !READ_ONLY.contains(&key.as_str())).collect()
}

/// The rule of giving an image to another project.
pub(super) const GIVE: &str = "image:context_is_admin";

/// Sets an attribute; `Null` takes it away. `may` says whether a rule lets the caller.
pub(super) fn set(image: &mut Object<Image>, key: &str, value: Value, may: &dyn Fn(&str) -> bool) -> Result<(), Refusal> {
    let bad = |why: &str| Refusal::Bad(format!("Invalid value for {key}: {why}"));
    if READ_ONLY.contains(&key) || key == "id" {
        return Err(Refusal::ReadOnly(format!("Attribute '{key}' is read-only.")));
    }
    let desired = &mut image.desired;
    match key {
        "name" => image.name = optional_text(value).ok_or_else(|| bad("a string of at most 255 characters"))?.unwrap_or_default(),
        "disk_format" => desired.disk_format = one_of(value, DISK_FORMATS).map_err(|why| bad(&why))?,
        "container_format" => desired.container_format = one_of(value, CONTAINER_FORMATS).map_err(|why| bad(&why))?,
        "visibility" => {
            let chosen = one_of(value, VISIBILITIES).map_err(|why| bad(&why))?.unwrap_or_else(|| "shared".into());
            let rule = match chosen.as_str() {
                "public" => Some("publicize_image"),
                "community" => Some("communitize_image"),
                _ => None,
            };
            if let Some(rule) = rule.filter(|rule| chosen != desired.visibility && !may(rule)) {
                return Err(Refusal::Policy(format!("You are not authorized to complete {rule} action.")));
            }
            desired.visibility = chosen;
        }
        "min_disk" => desired.min_disk = size(&value).ok_or_else(|| bad("a whole number, not negative"))?,
        "min_ram" => desired.min_ram = size(&value).ok_or_else(|| bad("a whole number, not negative"))?,
        "protected" => desired.protected = value.as_bool().ok_or_else(|| bad("true or false"))?,
        "os_hidden" => desired.hidden = value.as_bool().ok_or_else(|| bad("true or false"))?,
        "tags" => {
            let tags: Option<Vec<String>> = value.as_array().map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            let mut tags = tags
                .filter(|tags| Some(tags.len()) == value.as_array().map(Vec::len) && tags.len() <= 128)
                .filter(|tags| tags.iter().all(|tag| tag.chars().count() <= 255))
                .ok_or_else(|| bad("a list of at most 128 strings of at most 255 characters"))?;
            tags.sort_unstable();
            tags.dedup();
            desired.tags = tags;
        }
        "owner" => {
            let owner = value.as_str().and_then(Id::parse).ok_or_else(|| bad("a project's id"))?;
            if image.project_id.as_ref() != Some(&owner) && !may(GIVE) {
                return Err(Refusal::Policy("You are not permitted to give images to another owner.".into()));
            }
            image.project_id = Some(owner);
        }
        _ => match value {
            Value::Null => drop(desired.properties.remove(key)),
            Value::String(text) => {
                if key.len() > 255 || text.len() > 65_535 {
                    return Err(bad("names of properties have at most 255 bytes, values at most 65535"));
                }
                if desired.properties.len() >= 128 && !desired.properties.contains_key(key) {
                    return Err(bad("an image has at most 128 properties"));
                }
                desired.properties.insert(key.to_owned(), text);
            }
            _ => return Err(bad("properties are strings")),
        },
    }
    Ok(())
}

/// Whether an attribute is one of the image's own rather than a property.
pub(super) fn is_own(key: &str) -> bool {
    OWN.contains(&key) || READ_ONLY.contains(&key)
}

fn optional_text(value: Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) if text.chars().count() <= 255 => Some(Some(text)),
        _ => None,
    }
}

fn one_of(value: Value, all: &[&str]) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if all.contains(&text.as_str()) => Ok(Some(text)),
        _ => Err(format!("one of {}", all.join(", "))),
    }
}

fn size(value: &Value) -> Option<u64> {
    value.as_u64().filter(|it| i32::try_from(*it).is_ok())
}

/// `GET /v2/schemas/image`.
pub(super) fn schema() -> Value {
    let text = |description: &str| json!({"type": ["null", "string"], "description": description});
    let fixed = |kind: &str, description: &str| json!({"type": ["null", kind], "readOnly": true, "description": description});
    json!({
        "name": "image",
        "properties": {
            "id": {"type": "string", "description": "An identifier for the image",
                   "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"},
            "name": {"type": ["null", "string"], "maxLength": 255, "description": "Descriptive name for the image"},
            "status": {"type": "string", "readOnly": true, "enum": ["queued", "saving", "active"], "description": "Status of the image"},
            "visibility": {"type": "string", "enum": VISIBILITIES, "description": "Scope of image accessibility"},
            "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
            "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list response."},
            "checksum": fixed("string", "md5 hash of image contents."),
            "os_hash_algo": fixed("string", "Algorithm to calculate the os_hash_value"),
            "os_hash_value": fixed("string", "Hexdigest of the image contents using the algorithm specified by the os_hash_algo"),
            "owner": text("Owner of the image"),
            "size": fixed("integer", "Size of image file in bytes"),
            "virtual_size": fixed("integer", "Virtual size of image in bytes"),
            "container_format": {"type": ["null", "string"], "enum": CONTAINER_FORMATS, "description": "Format of the container"},
            "disk_format": {"type": ["null", "string"], "enum": DISK_FORMATS, "description": "Format of the disk"},
            "created_at": {"type": "string", "readOnly": true, "description": "Date and time of image registration"},
            "updated_at": {"type": "string", "readOnly": true, "description": "Date and time of the last image modification"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}, "description": "List of strings related to the image"},
            "self": {"type": "string", "readOnly": true, "description": "An image self url"},
            "file": {"type": "string", "readOnly": true, "description": "An image file url"},
            "schema": {"type": "string", "readOnly": true, "description": "An image schema url"},
            "min_ram": {"type": "integer", "description": "Amount of ram (in MB) required to boot image."},
            "min_disk": {"type": "integer", "description": "Amount of disk space (in GB) required to boot image."},
            "os_distro": {"type": "string", "description": "Common name of operating system distribution"},
        },
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

/// `GET /v2/schemas/images`.
pub(super) fn list_schema() -> Value {
    json!({
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": schema()},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_properties() {
        let mut image = Object::new(Id::<Image>::random(), Id::parse("p1"), "", fresh());
        for (key, value) in [
            ("name", json!("debian")),
            ("disk_format", json!("raw")),
            ("os_distro", json!("debian")),
            ("tags", json!(["b", "a", "a"])),
            ("min_disk", json!(3)),
        ] {
            set(&mut image, key, value, &|_| false).unwrap();
        }
        let shown = show(&image);
        assert_eq!(shown["os_distro"], "debian");
        assert_eq!(shown["tags"], json!(["a", "b"]));
        assert_eq!(shown["status"], "queued");
        set(&mut image, "os_distro", Value::Null, &|_| false).unwrap();
        assert!(!show(&image).contains_key("os_distro"));
        // A property cannot pass for an attribute of the image's own.
        assert!(matches!(set(&mut image, "status", json!("active"), &|_| true), Err(Refusal::ReadOnly(_))));
        assert!(matches!(set(&mut image, "visibility", json!("public"), &|_| false), Err(Refusal::Policy(_))));
        assert!(matches!(set(&mut image, "owner", json!("p2"), &|_| false), Err(Refusal::Policy(_))));
        for (key, value) in [
            ("disk_format", json!("floppy")),
            ("min_disk", json!(-1)),
            ("min_ram", json!("4")),
            ("protected", json!("yes")),
            ("tags", json!([1])),
            ("os_distro", json!(7)),
            ("visibility", json!("everyone")),
        ] {
            assert!(matches!(set(&mut image, key, value.clone(), &|_| true), Err(Refusal::Bad(_))), "{key} {value}");
        }
    }
}
