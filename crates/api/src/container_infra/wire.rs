//! Cluster templates and clusters as Magnum shows them.

use std::collections::BTreeMap;

use model::container_infra::{Cluster, ClusterStatus, ClusterTemplate, Member};
use model::{Object, Timestamp};
use serde_json::{Map, Value, json};

use super::labels;

pub(super) fn links(base: &str, plural: &str, id: &str) -> Value {
    json!([
        {"href": format!("{base}/v1/{plural}/{id}"), "rel": "self"},
        {"href": format!("{base}/{plural}/{id}"), "rel": "bookmark"},
    ])
}

fn time(at: Option<Timestamp>) -> Value {
    json!(at.map(Timestamp::iso_offset))
}

/// A template.
pub(super) fn template(template: &Object<ClusterTemplate>, base: &str) -> Value {
    let desired = &template.desired;
    json!({
        "uuid": template.id,
        "name": template.name,
        "project_id": template.project_id,
        "user_id": desired.user_id,
        "coe": desired.coe,
        "server_type": desired.server_type,
        "image_id": desired.image_id,
        "cluster_distro": desired.cluster_distro,
        "flavor_id": desired.flavor_id,
        "master_flavor_id": desired.master_flavor_id,
        "keypair_id": desired.keypair_id,
        "dns_nameserver": desired.dns_nameserver,
        "external_network_id": desired.external_network_id,
        "public": desired.public,
        "hidden": desired.hidden,
        "labels": desired.labels,
        // What follows is the same for every template here: see `template::REFUSED`.
        "fixed_network": Value::Null,
        "fixed_subnet": Value::Null,
        "network_driver": Value::Null,
        "volume_driver": Value::Null,
        "docker_storage_driver": "overlay2",
        "docker_volume_size": Value::Null,
        "apiserver_port": Value::Null,
        "http_proxy": Value::Null,
        "https_proxy": Value::Null,
        "no_proxy": Value::Null,
        "insecure_registry": Value::Null,
        "registry_enabled": false,
        "tls_disabled": false,
        "master_lb_enabled": false,
        "floating_ip_enabled": false,
        "tags": Value::Null,
        "driver": Value::Null,
        "created_at": time(Some(template.created_at)),
        "updated_at": time(template.updated_at),
        "links": links(base, "clustertemplates", template.id.as_str()),
    })
}

/// Where a cluster stands, as users see it.
pub(super) fn status(cluster: &Object<Cluster>) -> &'static str {
    if cluster.is_deleting() { ClusterStatus::DeleteInProgress } else { cluster.observed.status }.as_str()
}

/// A cluster in a list.
pub(super) fn cluster_brief(cluster: &Object<Cluster>, base: &str) -> Value {
    let desired = &cluster.desired;
    json!({
        "uuid": cluster.id,
        "name": cluster.name,
        "cluster_template_id": desired.cluster_template_id,
        "keypair": desired.keypair,
        "docker_volume_size": Value::Null,
        "labels": desired.labels,
        "node_count": desired.node_count,
        "master_count": desired.master_count,
        "status": status(cluster),
        "master_flavor_id": desired.master_flavor_id,
        "flavor_id": desired.flavor_id,
        "create_timeout": desired.create_timeout_minutes,
        "health_status": cluster.observed.health_status,
        "stack_id": Value::Null,
        "links": links(base, "clusters", cluster.id.as_str()),
    })
}

/// A cluster with everything.
pub(super) fn cluster(cluster: &Object<Cluster>, base: &str) -> Value {
    let (desired, seen) = (&cluster.desired, &cluster.observed);
    let differs = labels::difference(&desired.template.labels, &desired.labels);
    let addresses = |masters: bool| -> Vec<String> {
        let of_kind = |member: &&Member| member.is_master == masters && member.node_id.is_some();
        seen.members.iter().filter(of_kind).map(|member| member.address.to_string()).collect()
    };
    let faults: BTreeMap<&str, &str> = match (seen.status, &seen.status_reason) {
        (ClusterStatus::CreateFailed, Some(reason)) => [("default", reason.as_str())].into(),
        _ => BTreeMap::new(),
    };
    let more = json!({
        "project_id": cluster.project_id,
        "user_id": desired.user_id,
        "status_reason": seen.status_reason,
        "health_status_reason": seen.health_status_reason,
        "faults": faults,
        "api_address": seen.api_address,
        "master_addresses": addresses(true),
        "node_addresses": addresses(false),
        "coe_version": seen.coe_version,
        "container_version": seen.coe_version,
        "discovery_url": Value::Null,
        "fixed_network": seen.network_id,
        "fixed_subnet": seen.subnet_id,
        "floating_ip_enabled": false,
        "master_lb_enabled": false,
        "merge_labels": false,
        "labels_overridden": differs.overridden,
        "labels_added": differs.added,
        "labels_skipped": differs.skipped,
        "created_at": time(Some(cluster.created_at)),
        "updated_at": time(cluster.updated_at),
    });
    let mut out = Map::new();
    for part in [cluster_brief(cluster, base), more] {
        if let Value::Object(part) = part {
            out.extend(part);
        }
    }
    Value::Object(out)
}
