//! The version documents and the microversions.

use serde_json::{Map, Value, json};

use crate::microversion::{Range, Version};

/// The minor part of a version `1.N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u16);

/// What this server speaks: all that Ironic 39 does.
pub const RANGE: Range = Range { min: Version(1, 1), max: Version(1, 115) };

/// Header that asks for a version and tells which was used.
pub const HEADER: &str = "x-openstack-ironic-api-version";
/// Header that tells the oldest version.
pub const MIN_HEADER: &str = "x-openstack-ironic-api-minimum-version";
/// Header that tells the newest version.
pub const MAX_HEADER: &str = "x-openstack-ironic-api-maximum-version";
/// Names by which the header that all services share calls this one.
pub const NAMES: &[&str] = &["baremetal"];

/// Who works on a node, where it is not known which process does.
pub(super) const CONDUCTOR: &str = "cofferdam";

/// Seconds within which an agent must be heard; it beats about twice in that time.
pub const HEARTBEAT_TIMEOUT: u32 = 10;

/// The resources at the root, with the minor that brought them (Source: the version document of Ironic 39 at each microversion).
const RESOURCES: &[(&str, u16)] = &[
    ("chassis", 1),
    ("nodes", 1),
    ("ports", 1),
    ("drivers", 1),
    ("lookup", 22),
    ("heartbeat", 22),
    ("portgroups", 23),
    ("volume", 32),
    ("conductors", 49),
    ("allocations", 52),
    ("events", 54),
    ("deploy_templates", 55),
    ("shards", 82),
    ("continue_inspection", 84),
    ("runbooks", 92),
    ("inspection_rules", 96),
];

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

/// The document at `/v1`: the resources that the version has.
pub fn document(base: &str, minor: Minor) -> Value {
    let mut out = Map::from_iter([
        ("id".to_owned(), json!("v1")),
        ("version".to_owned(), v1(base)),
        ("links".to_owned(), json!([{"href": format!("{base}/v1/"), "rel": "self"}])),
        ("media_types".to_owned(), json!({"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"})),
    ]);
    for (name, _) in RESOURCES.iter().filter(|(_, since)| Minor(*since) <= minor) {
        let links = json!([{"href": format!("{base}/v1/{name}/"), "rel": "self"}, {"href": format!("{base}/{name}/"), "rel": "bookmark"}]);
        out.insert((*name).to_owned(), links);
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_appear_with_their_version() {
        for minor in RANGE.min.1..=RANGE.max.1 {
            let document = document("http://x/baremetal", Minor(minor));
            for (name, since) in RESOURCES {
                assert_eq!(document.get(name).is_some(), minor >= *since, "{name} at 1.{minor}");
            }
            assert_eq!(document["version"]["version"], "1.115");
        }
    }
}
