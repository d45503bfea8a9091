//! Chains of service functions and L2 gateways (Source: the policies of networking-sfc and networking-l2gw).
//!
//! Where those take anybody of the project, writing takes the role member here and seeing the role reader, as for all else. The rules in
//! plural of networking-l2gw are left out: lists ask the singular ones. Those of remote gateways are named like their others.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MEMBER, ADMIN_OR_READER, on};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Chains.
    on(rule("create_flow_classifier", ADMIN_OR_MEMBER), &[("POST", "/v2.0/sfc/flow_classifiers")]).about("Create a flow classifier"),
    on(rule("update_flow_classifier", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/sfc/flow_classifiers/{id}")]).about("Change a flow classifier"),
    on(rule("delete_flow_classifier", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/sfc/flow_classifiers/{id}")]).about("Delete a flow classifier"),
    on(rule("get_flow_classifier", ADMIN_OR_READER), &[("GET", "/v2.0/sfc/flow_classifiers"), ("GET", "/v2.0/sfc/flow_classifiers/{id}")])
        .about("See a flow classifier"),
    on(rule("create_port_chain", ADMIN_OR_MEMBER), &[("POST", "/v2.0/sfc/port_chains")]).about("Create a chain of ports"),
    on(rule("update_port_chain", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/sfc/port_chains/{id}")]).about("Change a chain of ports"),
    on(rule("delete_port_chain", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/sfc/port_chains/{id}")]).about("Delete a chain of ports"),
    on(rule("get_port_chain", ADMIN_OR_READER), &[("GET", "/v2.0/sfc/port_chains"), ("GET", "/v2.0/sfc/port_chains/{id}")])
        .about("See a chain of ports"),
    on(rule("create_port_pair_group", ADMIN_OR_MEMBER), &[("POST", "/v2.0/sfc/port_pair_groups")]).about("Create a group of port pairs"),
    on(rule("update_port_pair_group", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/sfc/port_pair_groups/{id}")])
        .about("Change a group of port pairs"),
    on(rule("delete_port_pair_group", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/sfc/port_pair_groups/{id}")])
        .about("Delete a group of port pairs"),
    on(rule("get_port_pair_group", ADMIN_OR_READER), &[("GET", "/v2.0/sfc/port_pair_groups"), ("GET", "/v2.0/sfc/port_pair_groups/{id}")])
        .about("See a group of port pairs"),
    on(rule("create_port_pair", ADMIN_OR_MEMBER), &[("POST", "/v2.0/sfc/port_pairs")]).about("Create a port pair"),
    on(rule("update_port_pair", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/sfc/port_pairs/{id}")]).about("Change a port pair"),
    on(rule("delete_port_pair", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/sfc/port_pairs/{id}")]).about("Delete a port pair"),
    on(rule("get_port_pair", ADMIN_OR_READER), &[("GET", "/v2.0/sfc/port_pairs"), ("GET", "/v2.0/sfc/port_pairs/{id}")])
        .about("See a port pair"),
    on(rule("create_service_graph", ADMIN_OR_MEMBER), &[("POST", "/v2.0/sfc/service_graphs")]).about("Create a graph of chains"),
    on(rule("update_service_graph", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/sfc/service_graphs/{id}")]).about("Change a graph of chains"),
    on(rule("delete_service_graph", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/sfc/service_graphs/{id}")]).about("Delete a graph of chains"),
    on(rule("get_service_graph", ADMIN_OR_READER), &[("GET", "/v2.0/sfc/service_graphs"), ("GET", "/v2.0/sfc/service_graphs/{id}")])
        .about("See a graph of chains"),
    // L2 gateways.
    on(rule("create_l2_gateway", ADMIN), &[("POST", "/v2.0/l2-gateways")]).about("Create an L2 gateway"),
    on(rule("update_l2_gateway", ADMIN), &[("PUT", "/v2.0/l2-gateways/{id}")]).about("Change an L2 gateway"),
    on(rule("delete_l2_gateway", ADMIN), &[("DELETE", "/v2.0/l2-gateways/{id}")]).about("Delete an L2 gateway"),
    on(rule("get_l2_gateway", ADMIN), &[("GET", "/v2.0/l2-gateways"), ("GET", "/v2.0/l2-gateways/{id}")]).about("See an L2 gateway"),
    on(rule("create_l2_gateway_connection", ADMIN), &[("POST", "/v2.0/l2-gateway-connections")]).about("Create an L2 gateway's connection"),
    on(rule("delete_l2_gateway_connection", ADMIN), &[("DELETE", "/v2.0/l2-gateway-connections/{id}")])
        .about("Delete an L2 gateway's connection"),
    on(rule("get_l2_gateway_connection", ADMIN), &[("GET", "/v2.0/l2-gateway-connections"), ("GET", "/v2.0/l2-gateway-connections/{id}")])
        .about("See an L2 gateway's connection"),
    on(rule("create_l2_remote_gateway", ADMIN), &[("POST", "/v2.0/l2-remote-gateways")]).about("Create a remote L2 gateway"),
    on(rule("update_l2_remote_gateway", ADMIN), &[("PUT", "/v2.0/l2-remote-gateways/{id}")]).about("Change a remote L2 gateway"),
    on(rule("delete_l2_remote_gateway", ADMIN), &[("DELETE", "/v2.0/l2-remote-gateways/{id}")]).about("Delete a remote L2 gateway"),
    on(rule("get_l2_remote_gateway", ADMIN), &[("GET", "/v2.0/l2-remote-gateways"), ("GET", "/v2.0/l2-remote-gateways/{id}")])
        .about("See a remote L2 gateway"),
    on(rule("create_l2_remote_gateway_connection", ADMIN), &[("POST", "/v2.0/l2-remote-gateway-connections")])
        .about("Create a remote L2 gateway's connection"),
    on(rule("delete_l2_remote_gateway_connection", ADMIN), &[("DELETE", "/v2.0/l2-remote-gateway-connections/{id}")])
        .about("Delete a remote L2 gateway's connection"),
    on(
        rule("get_l2_remote_gateway_connection", ADMIN),
        &[("GET", "/v2.0/l2-remote-gateway-connections"), ("GET", "/v2.0/l2-remote-gateway-connections/{id}")],
    )
    .about("See a remote L2 gateway's connection"),
    on(rule("create_l2_remote_mac", ADMIN), &[("POST", "/v2.0/l2-remote-macs")]).about("Create a remote hardware address"),
    on(rule("update_l2_remote_mac", ADMIN), &[("PUT", "/v2.0/l2-remote-macs/{id}")]).about("Change a remote hardware address"),
    on(rule("delete_l2_remote_mac", ADMIN), &[("DELETE", "/v2.0/l2-remote-macs/{id}")]).about("Delete a remote hardware address"),
    on(rule("get_l2_remote_mac", ADMIN), &[("GET", "/v2.0/l2-remote-macs"), ("GET", "/v2.0/l2-remote-macs/{id}")])
        .about("See a remote hardware address"),
];
