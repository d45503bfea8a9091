//! Network (Neutron v2.0) over the wire: one file per topic, on both databases where state matters.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod access;
mod address_groups;
mod address_scopes;
mod bgp;
mod bgpvpn;
mod bindings;
mod chains;
mod fabric;
mod flavors;
mod floating_ips;
mod ipam;
mod l2_gateways;
mod l3_misc;
mod metering;
mod model;
mod networks;
mod operation;
mod overlay;
mod port_forwardings;
mod ports;
mod qos;
mod quotas;
mod reachability;
mod routers;
mod security_groups;
mod security_rules;
mod segments;
mod subnetpools;
mod subnets;
#[expect(dead_code, reason = "the harness of several suites")]
#[path = "../support/mod.rs"]
mod support;
mod trunks;
#[path = "../../../store/tests/suite/world.rs"]
mod world;

/// Below which everything is.
const V2: &str = "/network/v2.0";
