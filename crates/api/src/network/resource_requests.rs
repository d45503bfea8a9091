//! `resource_request` of ports: what a host must have for what their QoS policies promise. Source: `neutron/services/qos/qos_plugin.py`.

use std::collections::{HashMap, HashSet};

use model::net::qos::{PolicyRule, QosDirection, QosPolicy, QosRuleType};
use model::net::{Port, Segment};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::Query;

use super::{Ask, Extension, extension};
use crate::failure::Failure;

pub(super) const EXTENSIONS: &[Extension] = &[
    extension("port-resource-request", "Port Resource Request", "Expose resource request to Port", "2018-05-08T10:00:00-00:00"),
    extension(
        "port-resource-request-groups",
        "Port Resource Request Groups",
        "Support requesting multiple groups of resources and traits from the same RP subtree in resource_request",
        "2021-08-02T10:00:00-00:00",
    ),
];

/// The rules of these policies.
///
/// # Errors
/// The store failed.
pub(super) async fn rules(ask: &Ask, policies: HashSet<&Id<QosPolicy>>) -> Result<HashMap<Id<QosPolicy>, Vec<PolicyRule>>, Failure> {
    if policies.is_empty() {
        return Ok(HashMap::new());
    }
    let query = Query::<QosPolicy>::new().ids(policies.into_iter().map(ToString::to_string));
    let found = ask.app.store.list_few(&query).await?;
    Ok(found.into_iter().map(|it| (it.id, it.desired.rules)).collect())
}

/// A trait's name, as placement spells those that are not its own.
fn named(prefix: &str, name: &str) -> String {
    let plain: String = name.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' }).collect();
    format!("CUSTOM_{prefix}_{plain}")
}

fn group(port: &Object<Port>, rules: &[PolicyRule], rule_type: QosRuleType, traits: Vec<String>) -> Option<Value> {
    let own: Vec<&PolicyRule> = rules.iter().filter(|it| it.rule_type == rule_type).collect();
    let class = |it: &PolicyRule| match (rule_type, it.direction) {
        (QosRuleType::MinimumBandwidth, Some(QosDirection::Ingress)) => "NET_BW_IGR_KILOBIT_PER_SEC",
        (QosRuleType::MinimumBandwidth, _) => "NET_BW_EGR_KILOBIT_PER_SEC",
        (_, Some(QosDirection::Ingress)) => "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC",
        (_, Some(QosDirection::Egress)) => "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC",
        (_, _) => "NET_PACKET_RATE_KILOPACKET_PER_SEC",
    };
    let resources: Map<String, Value> = own.iter().map(|it| (class(it).to_owned(), json!(it.value))).collect();
    let names: Vec<&str> = own.iter().map(|it| it.id.as_str()).collect();
    let id: Id<()> = Id::derived(&format!("resources of port {} by rules {}", port.id, names.join(",")));
    (!own.is_empty()).then(|| json!({"id": id, "required": traits, "resources": resources}))
}

/// What a host must have for the port on a network of these segments; none: nothing in particular.
pub(super) fn request(port: &Object<Port>, rules: &[PolicyRule], segments: &[Segment]) -> Option<Value> {
    let card = named("VNIC_TYPE", &port.desired.binding.vnic_type);
    let wire = segments.first().map(|it| match &it.physical_network {
        Some(name) => named("PHYSNET", name),
        None => "CUSTOM_NETWORK_TUNNEL_PROVIDER".to_owned(),
    });
    let bandwidth = wire.and_then(|wire| group(port, rules, QosRuleType::MinimumBandwidth, vec![wire, card.clone()]));
    let groups: Vec<Value> = bandwidth.into_iter().chain(group(port, rules, QosRuleType::MinimumPacketRate, vec![card])).collect();
    let ids: Vec<&Value> = groups.iter().filter_map(|it| it.get("id")).collect();
    (!groups.is_empty()).then(|| json!({"same_subtree": ids, "request_groups": groups}))
}

#[cfg(test)]
mod tests {
    use model::net::PortDesired;

    use super::*;

    #[test]
    fn of_promises_only() {
        let port = Object::new(Id::random(), None, "", PortDesired::new(Id::random(), String::new()));
        let rule = |rule_type, direction| PolicyRule { id: Id::random(), rule_type, value: 1000, burst: 0, direction: Some(direction) };
        let segment = Segment {
            id: Id::random(),
            network_type: model::net::NetworkType::Vlan,
            physical_network: Some("physnet-1".into()),
            segmentation_id: Some(7),
        };
        assert_eq!(request(&port, &[rule(QosRuleType::BandwidthLimit, QosDirection::Egress)], std::slice::from_ref(&segment)), None);
        let rules = [rule(QosRuleType::MinimumBandwidth, QosDirection::Egress), rule(QosRuleType::MinimumPacketRate, QosDirection::Any)];
        let asked = request(&port, &rules, std::slice::from_ref(&segment)).unwrap();
        let groups = asked["request_groups"].as_array().unwrap();
        assert_eq!(groups[0]["required"], json!(["CUSTOM_PHYSNET_PHYSNET_1", "CUSTOM_VNIC_TYPE_NORMAL"]));
        assert_eq!(groups[0]["resources"], json!({"NET_BW_EGR_KILOBIT_PER_SEC": 1000}));
        assert_eq!(groups[1]["resources"], json!({"NET_PACKET_RATE_KILOPACKET_PER_SEC": 1000}));
        assert_eq!(asked["same_subtree"], json!([groups[0]["id"], groups[1]["id"]]));
        assert_eq!(request(&port, &rules, &[segment]), Some(asked), "the same at each look");
    }
}
