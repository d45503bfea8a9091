//! The version documents and the microversions.

use serde_json::{Value, json};

use crate::microversion::{Range, Version};

/// What this server speaks. 1.4 brought the statistics; the next, 1.5, brought the rotation of a cluster's authority, which this
/// server does not do.
pub const RANGE: Range = Range { min: Version(1, 1), max: Version(1, 4) };

/// Names by which the version header may call this service.
pub const NAMES: &[&str] = &["container-infra", "container-infrastructure-management", "container-infrastructure"];
/// The name that answers use.
pub const NAME: &str = "container-infrastructure-management";

/// Header of the request, and of the answer with the version used.
pub const HEADER: &str = "openstack-api-version";
/// Header that tells the oldest version.
pub const MIN_HEADER: &str = "openstack-api-minimum-version";
/// Header that tells the newest version.
pub const MAX_HEADER: &str = "openstack-api-maximum-version";

/// The document at the service's root.
pub fn root(base: &str) -> Value {
    json!({
        "name": "OpenStack Magnum API",
        "description": "Magnum is an OpenStack project which aims to provide container cluster management.",
        "versions": [{
            "id": "v1",
            "status": "CURRENT",
            "min_version": RANGE.min.to_string(),
            "max_version": RANGE.max.to_string(),
            "links": [{"href": format!("{base}/v1/"), "rel": "self"}],
        }],
    })
}

/// The document at `/v1`.
pub fn document(base: &str) -> Value {
    let pair =
        |name: &str| json!([{"href": format!("{base}/v1/{name}/"), "rel": "self"}, {"href": format!("{base}/{name}/"), "rel": "bookmark"}]);
    json!({
        "id": "v1",
        "media_types": [{"base": "application/json", "type": "application/vnd.openstack.magnum.v1+json"}],
        "links": [{"href": format!("{base}/v1/"), "rel": "self"}],
        "clusters": pair("clusters"),
        "clustertemplates": pair("clustertemplates"),
        "certificates": pair("certificates"),
        "stats": pair("stats"),
    })
}
