//! BGP speakers and peers, and BGP VPNs (Source: the policies of neutron-dynamic-routing and networking-bgpvpn).
//!
//! Where those take anybody of the project, writing takes the role member here and seeing the role reader, as for all else.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MEMBER, ADMIN_OR_READER, on};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Speakers and peers.
    on(rule("create_bgp_speaker", ADMIN), &[("POST", "/v2.0/bgp-speakers")]).about("Create a BGP speaker"),
    on(rule("update_bgp_speaker", ADMIN), &[("PUT", "/v2.0/bgp-speakers/{id}")]).about("Change a BGP speaker"),
    on(rule("delete_bgp_speaker", ADMIN), &[("DELETE", "/v2.0/bgp-speakers/{id}")]).about("Delete a BGP speaker"),
    on(rule("get_bgp_speaker", ADMIN), &[("GET", "/v2.0/bgp-speakers"), ("GET", "/v2.0/bgp-speakers/{id}")]).about("See a BGP speaker"),
    on(rule("add_bgp_peer", ADMIN), &[("PUT", "/v2.0/bgp-speakers/{id}/add_bgp_peer")]).about("Give a BGP speaker a peer"),
    on(rule("remove_bgp_peer", ADMIN), &[("PUT", "/v2.0/bgp-speakers/{id}/remove_bgp_peer")]).about("Take a peer from a BGP speaker"),
    on(rule("add_gateway_network", ADMIN), &[("PUT", "/v2.0/bgp-speakers/{id}/add_gateway_network")])
        .about("Have a BGP speaker announce what lies behind a network"),
    on(rule("remove_gateway_network", ADMIN), &[("PUT", "/v2.0/bgp-speakers/{id}/remove_gateway_network")])
        .about("Have a BGP speaker no longer announce what lies behind a network"),
    on(rule("get_advertised_routes", ADMIN), &[("GET", "/v2.0/bgp-speakers/{id}/get_advertised_routes")])
        .about("See what a BGP speaker announces"),
    on(rule("create_bgp_peer", ADMIN), &[("POST", "/v2.0/bgp-peers")]).about("Create a BGP peer"),
    on(rule("update_bgp_peer", ADMIN), &[("PUT", "/v2.0/bgp-peers/{id}")]).about("Change a BGP peer"),
    on(rule("delete_bgp_peer", ADMIN), &[("DELETE", "/v2.0/bgp-peers/{id}")]).about("Delete a BGP peer"),
    on(rule("get_bgp_peer", ADMIN), &[("GET", "/v2.0/bgp-peers"), ("GET", "/v2.0/bgp-peers/{id}")]).about("See a BGP peer"),
    // VPNs.
    on(rule("create_bgpvpn", ADMIN), &[("POST", "/v2.0/bgpvpn/bgpvpns")]).about("Create a VPN of BGP"),
    on(rule("update_bgpvpn", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")]).about("Change a VPN of BGP"),
    on(rule("update_bgpvpn:project_id", ADMIN), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")]).about("Give a VPN of BGP to another project"),
    on(rule("update_bgpvpn:route_targets", ADMIN), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("Change the route targets of a VPN of BGP"),
    on(rule("update_bgpvpn:import_targets", ADMIN), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("Change of which route targets a VPN of BGP takes routes in"),
    on(rule("update_bgpvpn:export_targets", ADMIN), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("Change with which route targets a VPN of BGP gives routes out"),
    on(rule("update_bgpvpn:route_distinguishers", ADMIN), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("Change the route distinguishers of a VPN of BGP"),
    on(rule("update_bgpvpn:vni", ADMIN), &[("PUT", "/v2.0/bgpvpn/bgpvpns/{id}")]).about("Change the VNI of a VPN of BGP"),
    on(rule("delete_bgpvpn", ADMIN), &[("DELETE", "/v2.0/bgpvpn/bgpvpns/{id}")]).about("Delete a VPN of BGP"),
    on(rule("get_bgpvpn", ADMIN_OR_READER), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See a VPN of BGP"),
    on(rule("get_bgpvpn:project_id", ADMIN), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See whose a VPN of BGP is"),
    on(rule("get_bgpvpn:route_targets", ADMIN), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See the route targets of a VPN of BGP"),
    on(rule("get_bgpvpn:import_targets", ADMIN), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See of which route targets a VPN of BGP takes routes in"),
    on(rule("get_bgpvpn:export_targets", ADMIN), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See with which route targets a VPN of BGP gives routes out"),
    on(rule("get_bgpvpn:route_distinguishers", ADMIN), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See the route distinguishers of a VPN of BGP"),
    on(rule("get_bgpvpn:vni", ADMIN), &[("GET", "/v2.0/bgpvpn/bgpvpns"), ("GET", "/v2.0/bgpvpn/bgpvpns/{id}")])
        .about("See the VNI of a VPN of BGP"),
    on(rule("create_bgpvpn_network_association", ADMIN_OR_MEMBER), &[("POST", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations")])
        .about("Put a network into a VPN of BGP"),
    on(
        rule("update_bgpvpn_network_association", ADMIN_OR_MEMBER),
        &[("PUT", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations/{network_association_id}")],
    )
    .about("Change how a network is in a VPN of BGP"),
    on(
        rule("delete_bgpvpn_network_association", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations/{network_association_id}")],
    )
    .about("Take a network out of a VPN of BGP"),
    on(
        rule("get_bgpvpn_network_association", ADMIN_OR_READER),
        &[
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations"),
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations/{network_association_id}"),
        ],
    )
    .about("See that a network is in a VPN of BGP"),
    on(
        rule("get_bgpvpn_network_association:project_id", ADMIN),
        &[
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations"),
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/network_associations/{network_association_id}"),
        ],
    )
    .about("See who has a network in a VPN of BGP"),
    on(rule("create_bgpvpn_router_association", ADMIN_OR_MEMBER), &[("POST", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations")])
        .about("Put a router into a VPN of BGP"),
    on(
        rule("update_bgpvpn_router_association", ADMIN_OR_MEMBER),
        &[("PUT", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations/{router_association_id}")],
    )
    .about("Change how a router is in a VPN of BGP"),
    on(
        rule("delete_bgpvpn_router_association", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations/{router_association_id}")],
    )
    .about("Take a router out of a VPN of BGP"),
    on(
        rule("get_bgpvpn_router_association", ADMIN_OR_READER),
        &[
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations"),
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations/{router_association_id}"),
        ],
    )
    .about("See that a router is in a VPN of BGP"),
    on(
        rule("get_bgpvpn_router_association:project_id", ADMIN),
        &[
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations"),
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/router_associations/{router_association_id}"),
        ],
    )
    .about("See who has a router in a VPN of BGP"),
    on(rule("create_bgpvpn_port_association", ADMIN_OR_MEMBER), &[("POST", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations")])
        .about("Put a port into a VPN of BGP"),
    on(
        rule("update_bgpvpn_port_association", ADMIN_OR_MEMBER),
        &[("PUT", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations/{port_association_id}")],
    )
    .about("Change how a port is in a VPN of BGP"),
    on(
        rule("delete_bgpvpn_port_association", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations/{port_association_id}")],
    )
    .about("Take a port out of a VPN of BGP"),
    on(
        rule("get_bgpvpn_port_association", ADMIN_OR_READER),
        &[
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations"),
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations/{port_association_id}"),
        ],
    )
    .about("See that a port is in a VPN of BGP"),
    on(
        rule("get_bgpvpn_port_association:project_id", ADMIN),
        &[
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations"),
            ("GET", "/v2.0/bgpvpn/bgpvpns/{bgpvpn_id}/port_associations/{port_association_id}"),
        ],
    )
    .about("See who has a port in a VPN of BGP"),
];
