//! BGP speakers and peers, and BGP VPNs (Source: the policies of neutron-dynamic-routing and networking-bgpvpn).
//!
//! Where those take anybody of the project, writing takes the role member here and seeing the role reader, as for all else.

use policy::{Rule, rule};

use super::{ADMIN, on};

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
];
