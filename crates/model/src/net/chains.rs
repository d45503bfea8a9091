//! Chains of service functions: which packets are led through which ports before they get to where they are going.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pools::IpVersion;
use super::{Port, noun};
use crate::Id;

/// Which packets are meant.
pub enum FlowClassifier {}
/// A service function: where packets go into it and where they come out.
pub enum PortPair {}
/// Service functions of which each packet goes through one.
pub enum PortPairGroup {}
/// Groups that packets go through one after the other.
pub enum PortChain {}
/// Chains that lead into others.
pub enum ServiceGraph {}

/// A transport protocol that a [`FlowClassifier`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
}

/// Ports of a transport protocol, both ends included; an end that is none is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowPorts {
    /// The first.
    pub min: Option<u16>,
    /// The last.
    pub max: Option<u16>,
}

impl FlowPorts {
    /// Whether both have a port in common.
    pub fn meets(self, other: Self) -> bool {
        let below = |first: Option<u16>, last: Option<u16>| first.zip(last).is_none_or(|(first, last)| first <= last);
        below(self.min, other.max) && below(other.min, self.max)
    }

    /// Whether it says anything.
    pub fn is_some(self) -> bool {
        self.min.is_some() || self.max.is_some()
    }
}

/// What is wanted of a [`FlowClassifier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowClassifierDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// IPv4 or IPv6.
    pub ethertype: IpVersion,
    /// The transport protocol; none: any.
    #[serde(default)]
    pub protocol: Option<FlowProtocol>,
    /// Ports they come from.
    #[serde(default)]
    pub source_ports: FlowPorts,
    /// Ports they go to.
    #[serde(default)]
    pub destination_ports: FlowPorts,
    /// Where they come from.
    #[serde(default)]
    pub source_ip_prefix: Option<IpNet>,
    /// Where they go to.
    #[serde(default)]
    pub destination_ip_prefix: Option<IpNet>,
    /// The port they come from.
    #[serde(default)]
    pub logical_source_port: Option<Id<Port>>,
    /// The port they go to.
    #[serde(default)]
    pub logical_destination_port: Option<Id<Port>>,
}

impl FlowClassifierDesired {
    /// Whether a packet can be meant by both, wherever it comes from or goes to among ports of the network service.
    pub fn meets(&self, other: &Self) -> bool {
        let prefixes =
            |a: Option<IpNet>, b: Option<IpNet>| a.zip(b).is_none_or(|(a, b)| a.contains(&b.network()) || b.contains(&a.network()));
        self.ethertype == other.ethertype
            && self.protocol.zip(other.protocol).is_none_or(|(a, b)| a == b)
            && prefixes(self.source_ip_prefix, other.source_ip_prefix)
            && prefixes(self.destination_ip_prefix, other.destination_ip_prefix)
            && self.source_ports.meets(other.source_ports)
            && self.destination_ports.meets(other.destination_ports)
    }

    /// Whether a packet can be meant by both.
    pub fn conflicts(&self, other: &Self) -> bool {
        let ports = |a: &Option<Id<Port>>, b: &Option<Id<Port>>| a.is_none() || b.is_none() || a == b;
        self.meets(other)
            && ports(&self.logical_source_port, &other.logical_source_port)
            && ports(&self.logical_destination_port, &other.logical_destination_port)
    }
}

/// How packets of a chain are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Correlation {
    /// By an MPLS label.
    Mpls,
    /// By a network service header (RFC 8300).
    Nsh,
}

/// What is wanted of a [`PortPair`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortPairDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The port through which packets go in.
    pub ingress: Id<Port>,
    /// The port through which they come out.
    pub egress: Id<Port>,
    /// The marks that the function understands.
    #[serde(default)]
    pub correlation: Option<Correlation>,
    /// How much of the group's packets it gets, compared with the others.
    pub weight: u32,
}

/// What is wanted of a [`PortPairGroup`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortPairGroupDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Its number: unique. 0: not chosen yet.
    pub group_id: u32,
    /// Its pairs. Each is in one group only.
    #[serde(default)]
    pub port_pairs: Vec<Id<PortPair>>,
    /// Fields of packets by which they are spread over the pairs.
    #[serde(default)]
    pub lb_fields: Vec<String>,
    /// How flows are changed by its functions, as given.
    #[serde(default)]
    pub n_tuple_mapping: Map<String, Value>,
    /// Whether it only listens: packets go on as they are.
    #[serde(default)]
    pub tap_enabled: bool,
}

/// What is wanted of a [`PortChain`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortChainDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Its number: unique. 0: not chosen yet.
    pub chain_id: u16,
    /// Its groups in their order.
    #[serde(default)]
    pub port_pair_groups: Vec<Id<PortPairGroup>>,
    /// Whose packets go through it. Each classifier is in one chain only.
    #[serde(default)]
    pub flow_classifiers: Vec<Id<FlowClassifier>>,
    /// How its packets are marked.
    pub correlation: Correlation,
    /// Whether answers go through it backwards.
    #[serde(default)]
    pub symmetric: bool,
}

/// What is wanted of a [`ServiceGraph`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceGraphDesired {
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Chains, and the chains that each of them leads into. No chain is in two graphs.
    #[serde(default)]
    pub port_chains: BTreeMap<Id<PortChain>, Vec<Id<PortChain>>>,
}

/// The pool that has the numbers of chains.
pub const CHAIN_IDS: &str = "sfc:chain_id";
/// The pool that has the numbers of groups.
pub const GROUP_IDS: &str = "sfc:group_id";
/// The pool in which a pair is held by the group it is in.
pub const GROUPED_PAIRS: &str = "sfc:pair";
/// The pool in which a classifier is held by the chain it is in.
pub const CHAINED_CLASSIFIERS: &str = "sfc:classifier";
/// The pool in which a chain is held by the graph it is in.
pub const GRAPHED_CHAINS: &str = "sfc:graph";
/// The pool in which two ports are held by their pair.
pub const PAIRED_PORTS: &str = "sfc:ports";
/// The pool in which a row of groups is held by the chain of them.
pub const CHAINED_GROUPS: &str = "sfc:groups";

noun!(
    FlowClassifier,
    "flow_classifier",
    FlowClassifierDesired,
    usage: Some("flow_classifier"),
    columns: [],
    links: ["ports" = |it| {
        [&it.desired.logical_source_port, &it.desired.logical_destination_port].into_iter().flatten().map(ToString::to_string).collect()
    }],
);
noun!(
    PortPair,
    "port_pair",
    PortPairDesired,
    usage: Some("port_pair"),
    columns: ["ingress" = |it| Some(it.desired.ingress.to_string()), "egress" = |it| Some(it.desired.egress.to_string())],
    links: ["ports" = |it| vec![it.desired.ingress.to_string(), it.desired.egress.to_string()]],
);
noun!(
    PortPairGroup,
    "port_pair_group",
    PortPairGroupDesired,
    usage: Some("port_pair_group"),
    columns: [],
    links: ["port_pairs" = |it| it.desired.port_pairs.iter().map(ToString::to_string).collect()],
);
noun!(
    PortChain,
    "port_chain",
    PortChainDesired,
    usage: Some("port_chain"),
    columns: ["chain_id" = |it| Some(it.desired.chain_id.to_string())],
    links: [
        "port_pair_groups" = |it| it.desired.port_pair_groups.iter().map(ToString::to_string).collect(),
        "flow_classifiers" = |it| it.desired.flow_classifiers.iter().map(ToString::to_string).collect(),
    ],
);
noun!(ServiceGraph, "service_graph", ServiceGraphDesired, usage: Some("service_graph"), columns: [], links: []);

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(source: Option<&str>, first: Option<u16>, last: Option<u16>) -> FlowClassifierDesired {
        FlowClassifierDesired {
            description: String::new(),
            ethertype: IpVersion::V4,
            protocol: Some(FlowProtocol::Tcp),
            source_ports: FlowPorts { min: first, max: last },
            destination_ports: FlowPorts::default(),
            source_ip_prefix: source.map(|it| it.parse().unwrap()),
            destination_ip_prefix: None,
            logical_source_port: None,
            logical_destination_port: None,
        }
    }

    #[test]
    fn flows_meet_where_a_packet_can_be_of_both() {
        let all = flow(None, None, None);
        assert!(all.conflicts(&all));
        assert!(all.conflicts(&flow(Some("10.0.0.0/8"), Some(5), None)));
        assert!(!flow(Some("10.0.0.0/8"), None, None).meets(&flow(Some("11.0.0.0/8"), None, None)));
        assert!(flow(Some("10.1.0.5/16"), None, None).meets(&flow(Some("10.0.0.0/8"), None, None)));
        assert!(!flow(None, Some(1), Some(4)).meets(&flow(None, Some(5), None)));
        assert!(flow(None, Some(1), Some(5)).meets(&flow(None, Some(5), None)));
        assert!(!all.meets(&FlowClassifierDesired { ethertype: IpVersion::V6, ..all.clone() }));
        assert!(!all.meets(&FlowClassifierDesired { protocol: Some(FlowProtocol::Udp), ..all.clone() }));
        let at = |port: &str| FlowClassifierDesired { logical_source_port: Some(Id::derived(port)), ..all.clone() };
        assert!(at("a").meets(&at("b")) && !at("a").conflicts(&at("b")) && at("a").conflicts(&all));
    }
}
