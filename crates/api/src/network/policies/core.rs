//! Networks, subnets, ports and their bindings.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MEMBER, ADMIN_OR_SERVICE, SERVICE, on};

const MEMBER_OR_SERVICE: &str = any!(admin!(), project!("member"), service!());
const ON_SEEN_NETWORK: &str = any!(admin!(), service!(), network_owner!("member"), "(role:member and rule:shared)");
const SUBNET_MEMBER: &str = any!(project!("member"), admin!(), network_owner!("member"));
const NO_NETWORK_DEVICE: &str = any!("not rule:network_device", admin!(), service!(), network_owner!("member"));
const ON_OWN_NETWORK: &str = any!(admin!(), service!(), network_owner!("member"));

const NETWORKS_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/networks")];
const NETWORKS_GET: &[(&str, &str)] = &[("GET", "/v2.0/networks"), ("GET", "/v2.0/networks/{id}")];
const NETWORKS_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/networks/{id}")];
const SUBNETS_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/subnets")];
const SUBNETS_GET: &[(&str, &str)] = &[("GET", "/v2.0/subnets"), ("GET", "/v2.0/subnets/{id}")];
const SUBNETS_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/subnets/{id}")];
const PORTS_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/ports")];
const PORTS_GET: &[(&str, &str)] = &[("GET", "/v2.0/ports"), ("GET", "/v2.0/ports/{id}")];
const PORTS_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/ports/{id}")];

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Networks.
    rule("external", "True:%(router:external)s").about("Base rule: the network is an external one"),
    on(rule("create_network", ADMIN_OR_MEMBER), NETWORKS_CREATE).about("Create a network"),
    on(rule("create_network:shared", ADMIN), NETWORKS_CREATE).about("Create a network shared with all"),
    on(rule("create_network:router:external", ADMIN), NETWORKS_CREATE).about("Create an external network"),
    on(rule("create_network:is_default", ADMIN), NETWORKS_CREATE).about("Say whether a new network is the default"),
    on(rule("create_network:port_security_enabled", ADMIN_OR_MEMBER), NETWORKS_CREATE).about("Choose port security for a new network"),
    on(rule("create_network:segments", ADMIN), NETWORKS_CREATE).about("Choose several segments for a new network"),
    on(rule("create_network:provider:network_type", ADMIN), NETWORKS_CREATE).about("Choose the kind of a new network's segment"),
    on(rule("create_network:provider:physical_network", ADMIN), NETWORKS_CREATE).about("Choose the fabric of a new network's segment"),
    on(rule("create_network:provider:segmentation_id", ADMIN), NETWORKS_CREATE).about("Choose the VLAN of a new network"),
    on(rule("create_network:tags", ADMIN_OR_MEMBER), &[("POST", "/v2.0/networks/{id}/tags")]).about("Tag a network"),
    on(
        rule(
            "get_network",
            any!(admin!(), project!("reader"), service!(), "(role:reader and (rule:shared or rule:external))", "rule:context_is_advsvc"),
        ),
        NETWORKS_GET,
    )
    .about("See a network"),
    on(rule("get_network:segments", ADMIN), NETWORKS_GET).about("See a network's segments, if there are several"),
    on(rule("get_network:provider:network_type", ADMIN), NETWORKS_GET).about("See the kind of a network's segment"),
    on(rule("get_network:provider:physical_network", ADMIN), NETWORKS_GET).about("See the fabric of a network's segment"),
    on(rule("get_network:provider:segmentation_id", ADMIN), NETWORKS_GET).about("See the VLAN of a network"),
    on(
        rule(
            "get_network:tags",
            any!(admin!(), project!("reader"), "(role:reader and (rule:shared or rule:external))", "rule:context_is_advsvc"),
        ),
        &[("GET", "/v2.0/networks/{id}/tags"), ("GET", "/v2.0/networks/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a network"),
    on(rule("update_network", ADMIN_OR_MEMBER), NETWORKS_UPDATE).about("Change a network"),
    on(rule("update_network:segments", ADMIN), NETWORKS_UPDATE).about("Change a network's segments, if there are several"),
    on(rule("update_network:shared", ADMIN), NETWORKS_UPDATE).about("Share a network with all, or no longer"),
    on(rule("update_network:provider:network_type", ADMIN), NETWORKS_UPDATE).about("Change the kind of the segment of a network"),
    on(rule("update_network:provider:physical_network", ADMIN), NETWORKS_UPDATE).about("Change the fabric of the segment of a network"),
    on(rule("update_network:provider:segmentation_id", ADMIN), NETWORKS_UPDATE).about("Change the number of the segment of a network"),
    on(rule("update_network:router:external", ADMIN), NETWORKS_UPDATE).about("Make a network an external one, or no longer"),
    on(rule("update_network:is_default", ADMIN), NETWORKS_UPDATE).about("Change whether a network is the default"),
    on(rule("update_network:port_security_enabled", ADMIN_OR_MEMBER), NETWORKS_UPDATE).about("Change a network's port security"),
    on(rule("update_network:tags", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/networks/{id}/tags"), ("PUT", "/v2.0/networks/{id}/tags/{tag_id}")])
        .about("Replace the tags of a network"),
    on(rule("delete_network", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/networks/{id}")]).about("Delete a network"),
    on(
        rule("delete_network:tags", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/networks/{id}/tags"), ("DELETE", "/v2.0/networks/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a network"),
    // Subnets.
    rule("external_network", "True:%(router:external)s").about("Base rule: the subnet's network is an external one"),
    on(rule("create_subnet", any!(admin!(), network_owner!("member"))), SUBNETS_CREATE).about("Create a subnet"),
    on(rule("create_subnet:segment_id", ADMIN), SUBNETS_CREATE).about("Choose the segment for a new subnet"),
    on(rule("create_subnet:tags", SUBNET_MEMBER), &[("POST", "/v2.0/subnets/{id}/tags")]).about("Tag a subnet"),
    on(
        rule(
            "get_subnet",
            any!(
                project!("reader"),
                "(role:reader and (rule:shared or rule:external_network))",
                admin!(),
                network_owner!("reader"),
                service!()
            ),
        ),
        SUBNETS_GET,
    )
    .about("See a subnet"),
    on(rule("get_subnet:segment_id", ADMIN), SUBNETS_GET).about("See the segment of a subnet"),
    on(
        rule(
            "get_subnet:tags",
            any!(project!("reader"), "(role:reader and (rule:shared or rule:external_network))", admin!(), network_owner!("reader")),
        ),
        &[("GET", "/v2.0/subnets/{id}/tags"), ("GET", "/v2.0/subnets/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a subnet"),
    on(rule("update_subnet", SUBNET_MEMBER), SUBNETS_UPDATE).about("Change a subnet"),
    on(rule("update_subnet:segment_id", ADMIN), SUBNETS_UPDATE).about("Change the segment of a subnet"),
    on(rule("update_subnet:tags", SUBNET_MEMBER), &[("PUT", "/v2.0/subnets/{id}/tags"), ("PUT", "/v2.0/subnets/{id}/tags/{tag_id}")])
        .about("Replace the tags of a subnet"),
    on(rule("delete_subnet", SUBNET_MEMBER), &[("DELETE", "/v2.0/subnets/{id}")]).about("Delete a subnet"),
    on(rule("delete_subnet:tags", SUBNET_MEMBER), &[("DELETE", "/v2.0/subnets/{id}/tags"), ("DELETE", "/v2.0/subnets/{id}/tags/{tag_id}")])
        .about("Take tags from a subnet"),
    // Ports.
    rule("network_device", "'network':%(device_owner:kind)s").about("Base rule: the port belongs to the network service"),
    rule("compute_device", "'compute':%(device_owner:kind)s").about("Base rule: the port belongs to the compute service"),
    rule("baremetal_device", "'baremetal':%(device_owner:kind)s").about("Base rule: the port belongs to a bare-metal machine"),
    rule("manila_device", "'manila':%(device_owner:kind)s").about("Base rule: the port belongs to the file-share service"),
    rule("admin_or_data_plane_int", "rule:network:context_is_admin or role:data_plane_integrator")
        .about("Base rule: an administrator, or who looks after the data plane"),
    on(rule("create_port", ON_SEEN_NETWORK), PORTS_CREATE).about("Create a port"),
    on(rule("create_port:device_id", MEMBER_OR_SERVICE), PORTS_CREATE).about("Say which device a new port is for"),
    on(rule("create_port:device_owner", NO_NETWORK_DEVICE), PORTS_CREATE).about("Say what kind of device a new port is for"),
    on(rule("create_port:mac_address", ON_OWN_NETWORK), PORTS_CREATE).about("Choose the hardware address of a new port"),
    on(rule("create_port:fixed_ips", ON_SEEN_NETWORK), PORTS_CREATE).about("Choose addresses or subnets of a new port"),
    on(rule("create_port:fixed_ips:ip_address", ON_OWN_NETWORK), PORTS_CREATE).about("Choose addresses of a new port"),
    on(rule("create_port:fixed_ips:subnet_id", ON_SEEN_NETWORK), PORTS_CREATE).about("Choose subnets of a new port"),
    on(rule("create_port:port_security_enabled", ON_OWN_NETWORK), PORTS_CREATE).about("Choose port security for a new port"),
    on(rule("create_port:binding:host_id", ADMIN_OR_SERVICE), PORTS_CREATE).about("Say where a new port is bound"),
    on(rule("create_port:binding:profile", SERVICE), PORTS_CREATE).about("Say how a new port is bound"),
    on(rule("create_port:binding:vnic_type", MEMBER_OR_SERVICE), PORTS_CREATE).about("Choose the kind of a new port's binding"),
    on(rule("create_port:allowed_address_pairs", ON_OWN_NETWORK), PORTS_CREATE).about("Allow a new port more addresses"),
    on(rule("create_port:allowed_address_pairs:mac_address", ON_OWN_NETWORK), PORTS_CREATE)
        .about("Choose the hardware addresses of further addresses for a new port"),
    on(rule("create_port:allowed_address_pairs:ip_address", ON_OWN_NETWORK), PORTS_CREATE)
        .about("Choose further addresses themselves for a new port"),
    on(rule("create_port:hints", ADMIN), PORTS_CREATE).about("Choose hints to the host for a new port"),
    on(rule("create_port:trusted", ADMIN), PORTS_CREATE).about("Say whether a new port trusts its device"),
    on(rule("create_port:tags", any!(admin!(), project!("member"), "rule:context_is_advsvc")), &[("POST", "/v2.0/ports/{id}/tags")])
        .about("Tag a port"),
    on(rule("get_port", any!(admin!(), service!(), network_owner!("reader"), project!("reader"))), PORTS_GET).about("See a port"),
    on(rule("get_port:binding:vif_type", ADMIN_OR_SERVICE), PORTS_GET).about("See whether a port is bound"),
    on(rule("get_port:binding:vif_details", ADMIN_OR_SERVICE), PORTS_GET).about("See details of a port's binding"),
    on(rule("get_port:binding:host_id", ADMIN_OR_SERVICE), PORTS_GET).about("See where a port is bound"),
    on(rule("get_port:binding:profile", ADMIN_OR_SERVICE), PORTS_GET).about("See how a port is bound"),
    on(rule("get_port:resource_request", ADMIN), PORTS_GET).about("See what a port asks of a host"),
    on(rule("get_port:hints", ADMIN), PORTS_GET).about("See hints to the host of a port"),
    on(rule("get_port:trusted", ADMIN), PORTS_GET).about("See whether a port trusts its device"),
    on(
        rule("get_port:tags", any!("rule:context_is_advsvc", admin!(), network_owner!("reader"), project!("reader"))),
        &[("GET", "/v2.0/ports/{id}/tags"), ("GET", "/v2.0/ports/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a port"),
    on(rule("update_port", MEMBER_OR_SERVICE), PORTS_UPDATE).about("Change a port"),
    on(rule("update_port:device_id", MEMBER_OR_SERVICE), PORTS_UPDATE).about("Change which device a port is for"),
    on(rule("update_port:device_owner", NO_NETWORK_DEVICE), PORTS_UPDATE).about("Change what kind of device a port is for"),
    on(rule("update_port:mac_address", any!(admin!(), service!(), network_owner!("manager"))), PORTS_UPDATE)
        .about("Change a port's hardware address"),
    on(rule("update_port:fixed_ips", ON_OWN_NETWORK), PORTS_UPDATE).about("Change a port's addresses or subnets"),
    on(rule("update_port:fixed_ips:ip_address", ON_OWN_NETWORK), PORTS_UPDATE).about("Change a port's addresses"),
    on(rule("update_port:fixed_ips:subnet_id", ON_SEEN_NETWORK), PORTS_UPDATE).about("Change a port's subnets"),
    on(rule("update_port:port_security_enabled", ON_OWN_NETWORK), PORTS_UPDATE).about("Change a port's port security"),
    on(rule("update_port:binding:host_id", ADMIN_OR_SERVICE), PORTS_UPDATE).about("Change where a port is bound"),
    on(rule("update_port:binding:profile", SERVICE), PORTS_UPDATE).about("Change how a port is bound"),
    on(rule("update_port:binding:vnic_type", MEMBER_OR_SERVICE), PORTS_UPDATE).about("Change the kind of a port's binding"),
    on(rule("update_port:allowed_address_pairs", ON_OWN_NETWORK), PORTS_UPDATE).about("Allow a port more addresses"),
    on(rule("update_port:allowed_address_pairs:mac_address", ON_OWN_NETWORK), PORTS_UPDATE)
        .about("Change the hardware addresses of further addresses of a port"),
    on(rule("update_port:allowed_address_pairs:ip_address", ON_OWN_NETWORK), PORTS_UPDATE)
        .about("Change further addresses themselves of a port"),
    on(rule("update_port:data_plane_status", any!(admin!(), "role:data_plane_integrator")), PORTS_UPDATE)
        .about("Change the state of the data plane of a port"),
    on(rule("update_port:hints", ADMIN), PORTS_UPDATE).about("Change hints to the host of a port"),
    on(rule("update_port:trusted", ADMIN), PORTS_UPDATE).about("Change whether a port trusts its device"),
    on(
        rule("update_port:tags", any!(admin!(), project!("member"), "rule:context_is_advsvc")),
        &[("PUT", "/v2.0/ports/{id}/tags"), ("PUT", "/v2.0/ports/{id}/tags/{tag_id}")],
    )
    .about("Replace the tags of a port"),
    on(
        rule(
            "delete_port",
            any!(
                admin!(),
                service!(),
                concat!("(service_roles:service and (", any!(network_owner!("member"), project!("member")), "))"),
                concat!(
                    "(not rule:compute_device and not rule:baremetal_device and not rule:manila_device and (",
                    any!(network_owner!("member"), project!("member")),
                    "))"
                )
            ),
        ),
        &[("DELETE", "/v2.0/ports/{id}")],
    )
    .about("Delete a port"),
    on(
        rule("delete_port:tags", any!("rule:context_is_advsvc", project!("member"), admin!(), network_owner!("member"))),
        &[("DELETE", "/v2.0/ports/{id}/tags"), ("DELETE", "/v2.0/ports/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a port"),
    // Bindings of ports to hosts.
    on(rule("get_port_binding", ADMIN_OR_SERVICE), &[("GET", "/v2.0/ports/{port_id}/bindings")]).about("See a port's binding to a host"),
    on(rule("create_port_binding", SERVICE), &[("POST", "/v2.0/ports/{port_id}/bindings")]).about("Create a port's binding to a host"),
    on(rule("delete_port_binding", SERVICE), &[("DELETE", "/v2.0/ports/{port_id}/bindings/{host}")])
        .about("Delete a port's binding to a host"),
    on(rule("activate", SERVICE), &[("PUT", "/v2.0/ports/{port_id}/bindings/{host}/activate")])
        .about("Make another binding of a port the active one"),
];
