//! The version documents and the microversions.

use serde_json::{Value, json};

use crate::microversion::{Range, Version};

/// What this server speaks: of Nova it has flavors and key pairs only. 2.61 puts extra specs into flavors, the newest thing here; of
/// what lies below it everything else answers 404.
pub const RANGE: Range = Range { min: Version(2, 1), max: Version(2, 61) };

/// Names by which the header that all services share calls this one.
pub const NAMES: &[&str] = &["compute"];
/// Header that all services share.
pub const HEADER: &str = "openstack-api-version";
/// Nova's own, older header.
pub const OLD_HEADER: &str = "x-openstack-nova-api-version";

fn v21(base: &str) -> Value {
    json!({
        "id": "v2.1",
        "status": "CURRENT",
        "version": RANGE.max.to_string(),
        "min_version": RANGE.min.to_string(),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": format!("{base}/v2.1/")}],
    })
}

/// The document at the service's root.
pub fn root(base: &str) -> Value {
    json!({"versions": [v21(base)]})
}

/// The document at `/v2.1`.
pub fn document(base: &str) -> Value {
    let mut version = v21(base);
    if let Some(map) = version.as_object_mut() {
        map.insert(
            "media-types".into(),
            json!([{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]),
        );
    }
    json!({ "version": version })
}
