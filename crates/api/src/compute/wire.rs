//! Flavors and key pairs as Nova shows and takes them.

use std::collections::BTreeMap;

use model::image_compute::{Flavor, FlavorDesired, Keypair};
use model::{Id, Object};
use serde_json::{Map, Value, json};

use super::ssh_key;
use crate::microversion::Version;

/// Nova's largest number.
const MAX_NUMBER: u64 = 2_147_483_647;

fn links(base: &str, id: &str) -> Value {
    json!([
        {"rel": "self", "href": format!("{base}/v2.1/flavors/{id}")},
        {"rel": "bookmark", "href": format!("{base}/flavors/{id}")},
    ])
}

/// A flavor in a list without details.
pub(super) fn flavor_brief(flavor: &Object<Flavor>, version: Version, base: &str) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), json!(flavor.id));
    out.insert("name".into(), json!(flavor.name));
    out.insert("links".into(), links(base, flavor.id.as_str()));
    if version >= Version(2, 55) {
        out.insert("description".into(), json!(flavor.desired.description));
    }
    Value::Object(out)
}

/// A flavor with all that the version knows.
pub(super) fn flavor(flavor: &Object<Flavor>, version: Version, base: &str) -> Value {
    let desired = &flavor.desired;
    let mut out = json!({
        "id": flavor.id,
        "name": flavor.name,
        "ram": desired.ram_mib,
        "vcpus": desired.vcpus,
        "disk": desired.disk_gib,
        "swap": "",
        "rxtx_factor": 1.0,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": false,
        "os-flavor-access:is_public": desired.is_public,
        "links": links(base, flavor.id.as_str()),
    });
    if let Some(map) = out.as_object_mut() {
        if version >= Version(2, 55) {
            map.insert("description".into(), json!(desired.description));
        }
        if version >= Version(2, 61) {
            map.insert("extra_specs".into(), json!(desired.extra_specs));
        }
    }
    out
}

/// Reads the body of a flavor's creation.
///
/// # Errors
/// Words that name what does not fit.
pub(super) fn new_flavor(body: &Value, version: Version) -> Result<Object<Flavor>, String> {
    let map = body.get("flavor").and_then(Value::as_object).ok_or("the body is an object with the member 'flavor'")?;
    let mut name = None;
    let mut id = None;
    let mut desired = FlavorDesired { ram_mib: 0, vcpus: 0, disk_gib: 0, is_public: true, description: None, extra_specs: BTreeMap::new() };
    let mut seen = (false, false, false);
    for (key, value) in map {
        let bad = |why: &str| format!("Invalid input for field/attribute {key}. Value: {value}. {why}");
        match key.as_str() {
            "name" => name = Some(title(value).ok_or_else(|| bad("1 to 255 printable characters"))?),
            "id" | "flavorid" if value.is_null() => {}
            "id" | "flavorid" => {
                // Nova takes numbers too; ours must fit our ids.
                let text = value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|it| it.to_string()));
                let fits = text.as_deref().and_then(Id::<Flavor>::parse);
                id = Some(fits.ok_or_else(|| bad("1 to 64 letters, digits, '.', '_', ':' and '-'"))?);
            }
            "ram" => (desired.ram_mib, seen.0) = (number(value, 1).ok_or_else(|| bad("a whole number from 1"))?, true),
            "vcpus" => (desired.vcpus, seen.1) = (number(value, 1).ok_or_else(|| bad("a whole number from 1"))?, true),
            "disk" => (desired.disk_gib, seen.2) = (number(value, 0).ok_or_else(|| bad("a whole number from 0"))?, true),
            "swap" | "OS-FLV-EXT-DATA:ephemeral" => {
                if !value.is_null() && number(value, 0) != Some(0) {
                    return Err(bad("a bare-metal machine has no such disk: 0"));
                }
            }
            "rxtx_factor" => {
                let factor = value.as_f64().or_else(|| value.as_str().and_then(|it| it.parse().ok()));
                if factor.is_none_or(|it| (it - 1.0).abs() > f64::EPSILON) {
                    return Err(bad("only 1.0"));
                }
            }
            "os-flavor-access:is_public" => desired.is_public = value.as_bool().ok_or_else(|| bad("true or false"))?,
            "description" if version >= Version(2, 55) => {
                desired.description = match value {
                    Value::Null => None,
                    Value::String(text) if text.chars().count() <= 65_535 => Some(text.clone()),
                    _ => return Err(bad("a string of at most 65535 characters")),
                }
            }
            _ => return Err(format!("Additional properties are not allowed ('{key}' was unexpected)")),
        }
    }
    let name = name.ok_or("'name' is a required property")?;
    for (given, key) in [(seen.0, "ram"), (seen.1, "vcpus"), (seen.2, "disk")] {
        if !given {
            return Err(format!("'{key}' is a required property"));
        }
    }
    Ok(Object::new(id.unwrap_or_else(Id::random), None, name, desired))
}

/// Reads extra specs.
///
/// # Errors
/// Words that name what does not fit.
pub(super) fn extra_specs(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let map = value.as_object().ok_or("extra specs are an object")?;
    if map.len() > 128 {
        return Err("there are at most 128 extra specs".into());
    }
    map.iter()
        .map(|(key, value)| {
            let fits = (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:. ".contains(&b));
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(it) => it.to_string(),
                _ => return Err(format!("the extra spec '{key}' is a string or a number")),
            };
            if !fits || text.chars().count() > 255 {
                return Err(format!("the extra spec '{key}': letters, digits, '-', '_', ':', '.' and blanks, at most 255; its value too"));
            }
            Ok((key.clone(), text))
        })
        .collect()
}

fn title(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = (1..=255).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn number(value: &Value, least: u64) -> Option<u64> {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|it| it.parse().ok()))?;
    (least..=MAX_NUMBER).contains(&number).then_some(number)
}

/// A key pair with the fields of lists.
pub(super) fn keypair_brief(keypair: &Object<Keypair>, version: Version) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("name".into(), json!(keypair.name));
    out.insert("public_key".into(), json!(keypair.desired.public_key));
    out.insert("fingerprint".into(), json!(keypair.desired.fingerprint));
    if version >= Version(2, 2) {
        out.insert("type".into(), json!("ssh"));
    }
    out
}

/// A key pair with all fields.
pub(super) fn keypair(keypair: &Object<Keypair>, version: Version) -> Value {
    let mut out = keypair_brief(keypair, version);
    out.insert("user_id".into(), json!(keypair.desired.user_id));
    out.insert("deleted".into(), json!(false));
    out.insert("deleted_at".into(), Value::Null);
    out.insert("updated_at".into(), Value::Null);
    // Nova numbers them; we have no number that means anything to anybody.
    out.insert("id".into(), json!(keypair.name));
    let created = keypair.desired.created_at.iso_micros();
    out.insert("created_at".into(), json!(created.trim_end_matches('Z')));
    Value::Object(out)
}

/// A key pair that is to be imported.
#[derive(Debug, PartialEq)]
pub(super) struct NewKeypair {
    pub name: String,
    pub public_key: String,
    pub fingerprint: String,
    /// Another user's, since 2.10.
    pub user_id: Option<String>,
}

/// Reads the body of a key pair's import.
///
/// # Errors
/// Words that name what does not fit.
pub(super) fn new_keypair(body: &Value, version: Version) -> Result<NewKeypair, String> {
    let map = body.get("keypair").and_then(Value::as_object).ok_or("the body is an object with the member 'keypair'")?;
    let (mut name, mut key, mut user_id) = (None, None, None);
    for (field, value) in map {
        match (field.as_str(), value) {
            ("name", Value::String(text)) => {
                let fits = (1..=255).contains(&text.len())
                    && text.trim() == text
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" @._-".contains(&b));
                if !fits {
                    return Err("Keypair name contains unsafe characters: letters, digits, ' ', '@', '.', '_' and '-', 1 to 255".into());
                }
                name = Some(text.clone());
            }
            ("public_key", Value::String(text)) => key = Some(text.clone()),
            ("type", Value::String(kind)) if version >= Version(2, 2) => {
                if kind != "ssh" {
                    return Err(format!("Invalid input for field/attribute type. Value: {kind}. only 'ssh'"));
                }
            }
            ("user_id", Value::String(id)) if version >= Version(2, 10) => user_id = Some(id.clone()),
            ("name" | "public_key", _) => return Err(format!("Invalid input for field/attribute {field}. a string")),
            _ => return Err(format!("Additional properties are not allowed ('{field}' was unexpected)")),
        }
    }
    let name = name.ok_or("'name' is a required property")?;
    let key = key.ok_or("this server makes no private keys: make one yourself and give its public_key")?;
    let (public_key, fingerprint) = ssh_key::read(&key).map_err(|why| format!("Keypair data is invalid: {why}"))?;
    Ok(NewKeypair { name, public_key, fingerprint, user_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: Version = Version(2, 61);

    #[test]
    fn flavors_are_read_and_shown() {
        let body = json!({"flavor": {"name": "bm", "ram": 512, "vcpus": "1", "disk": 4, "id": null, "swap": 0, "OS-FLV-EXT-DATA:ephemeral": 0,
                                     "rxtx_factor": 1.0, "os-flavor-access:is_public": true}});
        let read = new_flavor(&body, NEWEST).unwrap();
        let shown = flavor(&read, NEWEST, "http://x/compute");
        assert_eq!((&shown["vcpus"], &shown["extra_specs"]), (&json!(1), &json!({})));
        assert!(flavor(&read, Version(2, 60), "http://x").get("extra_specs").is_none());
        assert!(flavor(&read, Version(2, 54), "http://x").get("description").is_none());
        for (key, value) in [
            ("ram", json!(0)),
            ("ram", json!("x")),
            ("disk", json!(-1)),
            ("vcpus", json!(4_294_967_296_u64)),
            ("name", json!(" a")),
            ("name", json!("")),
            ("swap", json!(1)),
            ("rxtx_factor", json!(2)),
            ("id", json!("a b")),
            ("color", json!("red")),
        ] {
            let mut body = body.clone();
            body["flavor"][key] = value.clone();
            assert!(new_flavor(&body, NEWEST).is_err(), "{key} {value}");
        }
        assert!(new_flavor(&json!({"flavor": {"name": "x", "ram": 1, "vcpus": 1}}), NEWEST).is_err());
        assert!(new_flavor(&json!([]), NEWEST).is_err());
        let mut described = body;
        described["flavor"]["description"] = json!("d");
        assert!(new_flavor(&described, Version(2, 54)).is_err());
        assert_eq!(new_flavor(&described, NEWEST).unwrap().desired.description.as_deref(), Some("d"));
    }

    #[test]
    fn extra_specs_are_text() {
        assert_eq!(extra_specs(&json!({"resources:CUSTOM_BM": 1})).unwrap()["resources:CUSTOM_BM"], "1");
        assert!(extra_specs(&json!({"a/b": "1"})).is_err());
        assert!(extra_specs(&json!({"a": [1]})).is_err());
    }

    #[test]
    fn keys_are_imported_never_made() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f x";
        let read = new_keypair(&json!({"keypair": {"name": "me", "public_key": key, "type": "ssh"}}), NEWEST).unwrap();
        assert_eq!(read.fingerprint, "0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba");
        for body in [
            json!({"keypair": {"name": "me"}}),
            json!({"keypair": {"name": "a/b", "public_key": key}}),
            json!({"keypair": {"name": "me", "public_key": "x"}}),
            json!({"keypair": {"name": "me", "public_key": key, "type": "x509"}}),
            json!({"keypair": {"public_key": key}}),
            json!({"keypair": {"name": 7, "public_key": key}}),
        ] {
            assert!(new_keypair(&body, NEWEST).is_err(), "{body}");
        }
        assert!(new_keypair(&json!({"keypair": {"name": "me", "public_key": key, "type": "ssh"}}), Version(2, 1)).is_err());
    }
}
