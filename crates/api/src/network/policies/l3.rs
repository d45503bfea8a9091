//! Routers and what belongs to them, floating addresses and addresses of a host.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MANAGER, ADMIN_OR_MEMBER, ADMIN_OR_PARENT_MEMBER, ADMIN_OR_PARENT_READER, ADMIN_OR_READER, on};

const ROUTERS_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/routers")];
const ROUTERS_GET: &[(&str, &str)] = &[("GET", "/v2.0/routers"), ("GET", "/v2.0/routers/{id}")];
const ROUTERS_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/routers/{id}")];
const ADD_EXTERNAL_GATEWAYS: &[(&str, &str)] = &[("PUT", "/v2.0/routers/{id}/add_external_gateways")];
const UPDATE_EXTERNAL_GATEWAYS: &[(&str, &str)] = &[("PUT", "/v2.0/routers/{id}/update_external_gateways")];
const REMOVE_EXTERNAL_GATEWAYS: &[(&str, &str)] = &[("PUT", "/v2.0/routers/{id}/remove_external_gateways")];
const FLOATINGIPS_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/floatingips")];
const FLOATINGIPS_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/floatingips/{id}")];

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Routers.
    on(rule("create_router", ADMIN_OR_MEMBER), ROUTERS_CREATE).about("Create a router"),
    on(rule("create_router:distributed", ADMIN), ROUTERS_CREATE).about("Say whether a new router is distributed"),
    on(rule("create_router:ha", ADMIN), ROUTERS_CREATE).about("Say whether a new router is highly available"),
    on(rule("create_router:external_gateway_info", ADMIN_OR_MEMBER), ROUTERS_CREATE).about("Choose the gateway for a new router"),
    on(rule("create_router:external_gateway_info:network_id", ADMIN_OR_MEMBER), ROUTERS_CREATE)
        .about("Choose the gateway's network for a new router"),
    on(rule("create_router:external_gateway_info:enable_snat", ADMIN), ROUTERS_CREATE)
        .about("Say whether a new router hides inner addresses behind its own"),
    on(rule("create_router:external_gateway_info:external_fixed_ips", ADMIN), ROUTERS_CREATE)
        .about("Choose the gateway's addresses for a new router"),
    on(rule("create_router:enable_default_route_bfd", ADMIN), ROUTERS_CREATE).about("Say whether a new router watches its default routes"),
    on(rule("create_router:enable_default_route_ecmp", ADMIN), ROUTERS_CREATE)
        .about("Say whether a new router uses several default routes at once"),
    on(rule("create_router:tags", ADMIN_OR_MEMBER), &[("POST", "/v2.0/routers/{id}/tags")]).about("Tag a router"),
    on(rule("get_router", ADMIN_OR_READER), ROUTERS_GET).about("See a router"),
    on(rule("get_router:distributed", ADMIN), ROUTERS_GET).about("See whether a router is distributed"),
    on(rule("get_router:ha", ADMIN), ROUTERS_GET).about("See whether a router is highly available"),
    on(rule("get_router:tags", ADMIN_OR_READER), &[("GET", "/v2.0/routers/{id}/tags"), ("GET", "/v2.0/routers/{id}/tags/{tag_id}")])
        .about("See the tags of a router"),
    on(rule("update_router", ADMIN_OR_MEMBER), ROUTERS_UPDATE).about("Change a router"),
    on(rule("update_router:distributed", ADMIN), ROUTERS_UPDATE).about("Change whether a router is distributed"),
    on(rule("update_router:ha", ADMIN), ROUTERS_UPDATE).about("Change whether a router is highly available"),
    on(rule("update_router:external_gateway_info", ADMIN_OR_MEMBER), ROUTERS_UPDATE).about("Change the gateway of a router"),
    on(rule("update_router:external_gateway_info:network_id", ADMIN_OR_MEMBER), ROUTERS_UPDATE)
        .about("Change the gateway's network of a router"),
    on(rule("update_router:external_gateway_info:enable_snat", ADMIN), ROUTERS_UPDATE)
        .about("Change whether a router hides inner addresses behind its own"),
    on(rule("update_router:external_gateway_info:external_fixed_ips", ADMIN), ROUTERS_UPDATE)
        .about("Change the gateway's addresses of a router"),
    on(rule("update_router:enable_default_route_bfd", ADMIN), ROUTERS_UPDATE).about("Change whether a router watches its default routes"),
    on(rule("update_router:enable_default_route_ecmp", ADMIN), ROUTERS_UPDATE)
        .about("Change whether a router uses several default routes at once"),
    on(rule("update_router:tags", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/routers/{id}/tags"), ("PUT", "/v2.0/routers/{id}/tags/{tag_id}")])
        .about("Replace the tags of a router"),
    on(rule("delete_router", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/routers/{id}")]).about("Delete a router"),
    on(
        rule("delete_router:tags", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/routers/{id}/tags"), ("DELETE", "/v2.0/routers/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a router"),
    on(rule("add_router_interface", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/routers/{id}/add_router_interface")])
        .about("Connect a router to a subnet"),
    on(rule("remove_router_interface", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/routers/{id}/remove_router_interface")])
        .about("Disconnect a router from a subnet"),
    on(rule("add_extraroutes", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/routers/{id}/add_extraroutes")]).about("Add routes to a router"),
    on(rule("remove_extraroutes", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/routers/{id}/remove_extraroutes")]).about("Take routes from a router"),
    on(rule("add_external_gateways", ADMIN_OR_MEMBER), ADD_EXTERNAL_GATEWAYS).about("Add gateways to a router"),
    on(rule("add_external_gateways:external_gateways", ADMIN_OR_MEMBER), ADD_EXTERNAL_GATEWAYS).about("Say which gateways a router gains"),
    on(rule("add_external_gateways:external_gateways:network_id", ADMIN_OR_MEMBER), ADD_EXTERNAL_GATEWAYS)
        .about("Choose the gateways' networks of a router's new gateways"),
    on(rule("add_external_gateways:external_gateways:enable_snat", ADMIN), ADD_EXTERNAL_GATEWAYS)
        .about("Choose source NAT of a router's new gateways"),
    on(rule("add_external_gateways:external_gateways:external_fixed_ips", ADMIN), ADD_EXTERNAL_GATEWAYS)
        .about("Choose the gateways' addresses of a router's new gateways"),
    on(rule("update_external_gateways", ADMIN_OR_MEMBER), UPDATE_EXTERNAL_GATEWAYS).about("Change a router's gateways"),
    on(rule("update_external_gateways:external_gateways", ADMIN_OR_MEMBER), UPDATE_EXTERNAL_GATEWAYS)
        .about("Say which of a router's gateways change"),
    on(rule("update_external_gateways:external_gateways:network_id", ADMIN_OR_MEMBER), UPDATE_EXTERNAL_GATEWAYS)
        .about("Choose the gateways' networks of a router's present gateways"),
    on(rule("update_external_gateways:external_gateways:enable_snat", ADMIN), UPDATE_EXTERNAL_GATEWAYS)
        .about("Choose source NAT of a router's present gateways"),
    on(rule("update_external_gateways:external_gateways:external_fixed_ips", ADMIN), UPDATE_EXTERNAL_GATEWAYS)
        .about("Choose the gateways' addresses of a router's present gateways"),
    on(rule("remove_external_gateways", ADMIN_OR_MEMBER), REMOVE_EXTERNAL_GATEWAYS).about("Take gateways from a router"),
    on(rule("remove_external_gateways:external_gateways", ADMIN_OR_MEMBER), REMOVE_EXTERNAL_GATEWAYS)
        .about("Choose which gateways a router loses"),
    // Floating addresses.
    on(rule("create_floatingip", ADMIN_OR_MEMBER), FLOATINGIPS_CREATE).about("Create a floating address"),
    on(rule("create_floatingip:floating_ip_address", ADMIN_OR_MANAGER), FLOATINGIPS_CREATE)
        .about("Choose the address for a new floating address"),
    on(rule("create_floatingip:router_id", ADMIN_OR_MEMBER), FLOATINGIPS_CREATE).about("Choose the router for a new floating address"),
    on(rule("create_floatingip:tags", ADMIN_OR_MEMBER), &[("POST", "/v2.0/floatingips/{id}/tags")]).about("Tag a floating address"),
    on(rule("get_floatingip", ADMIN_OR_READER), &[("GET", "/v2.0/floatingips"), ("GET", "/v2.0/floatingips/{id}")])
        .about("See a floating address"),
    on(
        rule("get_floatingip:tags", ADMIN_OR_READER),
        &[("GET", "/v2.0/floatingips/{id}/tags"), ("GET", "/v2.0/floatingips/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a floating address"),
    on(rule("update_floatingip", ADMIN_OR_MEMBER), FLOATINGIPS_UPDATE).about("Change a floating address"),
    on(rule("update_floatingip:router_id", ADMIN_OR_MEMBER), FLOATINGIPS_UPDATE).about("Change the router of a floating address"),
    on(
        rule("update_floatingip:tags", ADMIN_OR_MEMBER),
        &[("PUT", "/v2.0/floatingips/{id}/tags"), ("PUT", "/v2.0/floatingips/{id}/tags/{tag_id}")],
    )
    .about("Replace the tags of a floating address"),
    on(rule("delete_floatingip", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/floatingips/{id}")]).about("Delete a floating address"),
    on(
        rule("delete_floatingip:tags", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/floatingips/{id}/tags"), ("DELETE", "/v2.0/floatingips/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a floating address"),
    on(rule("get_floatingip_pool", ADMIN_OR_READER), &[("GET", "/v2.0/floatingip_pools")]).about("See a pool of floating addresses"),
    // Port forwardings.
    on(
        rule("create_floatingip_port_forwarding", ADMIN_OR_PARENT_MEMBER),
        &[("POST", "/v2.0/floatingips/{floatingip_id}/port_forwardings")],
    )
    .about("Create a port forwarding"),
    on(
        rule("get_floatingip_port_forwarding", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/floatingips/{floatingip_id}/port_forwardings"),
            ("GET", "/v2.0/floatingips/{floatingip_id}/port_forwardings/{port_forwarding_id}"),
        ],
    )
    .about("See a port forwarding"),
    on(
        rule("update_floatingip_port_forwarding", ADMIN_OR_PARENT_MEMBER),
        &[("PUT", "/v2.0/floatingips/{floatingip_id}/port_forwardings/{port_forwarding_id}")],
    )
    .about("Change a port forwarding"),
    on(
        rule("delete_floatingip_port_forwarding", ADMIN_OR_PARENT_MEMBER),
        &[("DELETE", "/v2.0/floatingips/{floatingip_id}/port_forwardings/{port_forwarding_id}")],
    )
    .about("Delete a port forwarding"),
    // Helpers of connection tracking.
    on(rule("create_router_conntrack_helper", ADMIN_OR_PARENT_MEMBER), &[("POST", "/v2.0/routers/{router_id}/conntrack_helpers")])
        .about("Create a router's helper of connection tracking"),
    on(
        rule("get_router_conntrack_helper", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/routers/{router_id}/conntrack_helpers"),
            ("GET", "/v2.0/routers/{router_id}/conntrack_helpers/{conntrack_helper_id}"),
        ],
    )
    .about("See a router's helper of connection tracking"),
    on(
        rule("update_router_conntrack_helper", ADMIN_OR_PARENT_MEMBER),
        &[("PUT", "/v2.0/routers/{router_id}/conntrack_helpers/{conntrack_helper_id}")],
    )
    .about("Change a router's helper of connection tracking"),
    on(
        rule("delete_router_conntrack_helper", ADMIN_OR_PARENT_MEMBER),
        &[("DELETE", "/v2.0/routers/{router_id}/conntrack_helpers/{conntrack_helper_id}")],
    )
    .about("Delete a router's helper of connection tracking"),
    // Proxies of neighbour discovery.
    on(rule("create_ndp_proxy", ADMIN_OR_MEMBER), &[("POST", "/v2.0/ndp_proxies")]).about("Create a proxy of neighbour discovery"),
    on(rule("get_ndp_proxy", ADMIN_OR_READER), &[("GET", "/v2.0/ndp_proxies"), ("GET", "/v2.0/ndp_proxies/{id}")])
        .about("See a proxy of neighbour discovery"),
    on(rule("update_ndp_proxy", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/ndp_proxies/{id}")]).about("Change a proxy of neighbour discovery"),
    on(rule("delete_ndp_proxy", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/ndp_proxies/{id}")]).about("Delete a proxy of neighbour discovery"),
    // Local addresses.
    on(rule("create_local_ip", ADMIN_OR_MEMBER), &[("POST", "/v2.0/local_ips")]).about("Create a local address"),
    on(rule("get_local_ip", ADMIN_OR_READER), &[("GET", "/v2.0/local_ips"), ("GET", "/v2.0/local_ips/{id}")]).about("See a local address"),
    on(rule("update_local_ip", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/local_ips/{id}")]).about("Change a local address"),
    on(rule("delete_local_ip", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/local_ips/{id}")]).about("Delete a local address"),
    on(rule("create_local_ip_port_association", ADMIN_OR_PARENT_MEMBER), &[("POST", "/v2.0/local_ips/{local_ip_id}/port_associations")])
        .about("Create a local address's port"),
    on(
        rule("get_local_ip_port_association", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/local_ips/{local_ip_id}/port_associations"),
            ("GET", "/v2.0/local_ips/{local_ip_id}/port_associations/{fixed_port_id}"),
        ],
    )
    .about("See a local address's port"),
    on(
        rule("delete_local_ip_port_association", ADMIN_OR_PARENT_MEMBER),
        &[("DELETE", "/v2.0/local_ips/{local_ip_id}/port_associations/{fixed_port_id}")],
    )
    .about("Delete a local address's port"),
];
