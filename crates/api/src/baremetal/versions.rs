//! The version documents and the microversions.

use serde_json::{Value, json};

use crate::microversion::{Range, Version};

/// The minor part of a version `1.N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u16);

/// What this server speaks. 1.78 brought node history, the newest thing here; of what lies below it the parts that this server
/// does not have (chassis, port groups, allocations, deploy templates, traits, RAID, BIOS settings, volumes) answer 404.
pub const RANGE: Range = Range { min: Version(1, 1), max: Version(1, 78) };

/// Header that asks for a version and tells which was used.
pub const HEADER: &str = "x-openstack-ironic-api-version";
/// Header that tells the oldest version.
pub const MIN_HEADER: &str = "x-openstack-ironic-api-minimum-version";
/// Header that tells the newest version.
pub const MAX_HEADER: &str = "x-openstack-ironic-api-maximum-version";
/// Names by which the header that all services share calls this one.
pub const NAMES: &[&str] = &["baremetal"];

fn v1(base: &str) -> Value {
    json!({
        "id": "v1",
        "status": "CURRENT",
        "min_version": RANGE.min.to_string(),
        "version": RANGE.max.to_string(),
        "links": [{"href": format!("{base}/v1/"), "rel": "self"}],
    })
}

/// The document at the service's root. Agents and keystoneauth read `default_version.version`.
pub fn root(base: &str) -> Value {
    json!({
        "name": "OpenStack Ironic API",
        "description": "Ironic is an OpenStack project which enables the provision and management of baremetal machines.",
        "default_version": v1(base),
        "versions": [v1(base)],
    })
}

/// The document at `/v1`.
pub fn document(base: &str) -> Value {
    let pair =
        |name: &str| json!([{"href": format!("{base}/v1/{name}/"), "rel": "self"}, {"href": format!("{base}/{name}/"), "rel": "bookmark"}]);
    json!({
        "id": "v1",
        "version": v1(base),
        "links": [{"href": format!("{base}/v1/"), "rel": "self"}],
        "media_types": [{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"}],
        "nodes": pair("nodes"),
        "ports": pair("ports"),
        "drivers": pair("drivers"),
        "lookup": pair("lookup"),
        "heartbeat": pair("heartbeat"),
    })
}

/// Seconds within which an agent must be heard; it beats about twice in that time.
pub const HEARTBEAT_TIMEOUT: u32 = 10;
