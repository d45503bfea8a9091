//! What operators look after: agents, segments, measurements, logs, flavors.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MANAGER, ADMIN_OR_MEMBER, ADMIN_OR_READER, ADMIN_OR_SERVICE, ANY_READER, on};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Agents.
    on(rule("create_agent", ADMIN), &[("POST", "/v2.0/agents")]).about("Create an agent"),
    on(rule("get_agent", ADMIN), &[("GET", "/v2.0/agents"), ("GET", "/v2.0/agents/{id}")]).about("See an agent"),
    on(rule("update_agent", ADMIN), &[("PUT", "/v2.0/agents/{id}")]).about("Change an agent"),
    on(rule("delete_agent", ADMIN), &[("DELETE", "/v2.0/agents/{id}")]).about("Delete an agent"),
    on(rule("create_dhcp-network", ADMIN), &[("POST", "/v2.0/agents/{agent_id}/dhcp-networks")]).about("Give a DHCP agent a network"),
    on(rule("get_dhcp-networks", ADMIN), &[("GET", "/v2.0/agents/{agent_id}/dhcp-networks")]).about("See the networks of a DHCP agent"),
    on(rule("delete_dhcp-network", ADMIN), &[("DELETE", "/v2.0/agents/{agent_id}/dhcp-networks/{network_id}")])
        .about("Take a network from a DHCP agent"),
    on(rule("create_l3-router", ADMIN), &[("POST", "/v2.0/agents/{agent_id}/l3-routers")]).about("Give an L3 agent a router"),
    on(rule("get_l3-routers", ADMIN), &[("GET", "/v2.0/agents/{agent_id}/l3-routers")]).about("See the routers of an L3 agent"),
    on(rule("delete_l3-router", ADMIN), &[("DELETE", "/v2.0/agents/{agent_id}/l3-routers/{router_id}")])
        .about("Take a router from an L3 agent"),
    on(rule("get_dhcp-agents", ADMIN), &[("GET", "/v2.0/networks/{network_id}/dhcp-agents")]).about("See the DHCP agents of a network"),
    on(rule("get_l3-agents", ADMIN), &[("GET", "/v2.0/routers/{router_id}/l3-agents")]).about("See the L3 agents of a router"),
    // Availability zones.
    on(rule("get_availability_zone", ANY_READER), &[("GET", "/v2.0/availability_zones")]).about("See an availability zone"),
    // Segments.
    on(rule("create_segment", ADMIN), &[("POST", "/v2.0/segments")]).about("Create a segment"),
    on(rule("create_segments_tags", ADMIN), &[("POST", "/v2.0/segments/{id}/tags")]).about("Tag a segment"),
    on(rule("get_segment", ADMIN), &[("GET", "/v2.0/segments"), ("GET", "/v2.0/segments/{id}")]).about("See a segment"),
    on(rule("get_segments_tags", ADMIN), &[("GET", "/v2.0/segments/{id}/tags"), ("GET", "/v2.0/segments/{id}/tags/{tag_id}")])
        .about("See the tags of a segment"),
    on(rule("update_segment", ADMIN), &[("PUT", "/v2.0/segments/{id}")]).about("Change a segment"),
    on(rule("update_segments_tags", ADMIN), &[("PUT", "/v2.0/segments/{id}/tags"), ("PUT", "/v2.0/segments/{id}/tags/{tag_id}")])
        .about("Replace a segment's tags"),
    on(rule("delete_segment", ADMIN), &[("DELETE", "/v2.0/segments/{id}")]).about("Delete a segment"),
    on(rule("delete_segments_tags", ADMIN), &[("DELETE", "/v2.0/segments/{id}/tags"), ("DELETE", "/v2.0/segments/{id}/tags/{tag_id}")])
        .about("Take tags from a segment"),
    // Ranges of segments.
    on(rule("create_network_segment_range", ADMIN), &[("POST", "/v2.0/network_segment_ranges")]).about("Create a range of segments"),
    on(rule("create_network_segment_range:tags", ADMIN), &[("POST", "/v2.0/network_segment_ranges/{id}/tags")])
        .about("Tag a range of segments"),
    on(rule("get_network_segment_range", ADMIN), &[("GET", "/v2.0/network_segment_ranges"), ("GET", "/v2.0/network_segment_ranges/{id}")])
        .about("See a range of segments"),
    on(
        rule("get_network_segment_range:tags", ADMIN),
        &[("GET", "/v2.0/network_segment_ranges/{id}/tags"), ("GET", "/v2.0/network_segment_ranges/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a range of segments"),
    on(rule("update_network_segment_range", ADMIN), &[("PUT", "/v2.0/network_segment_ranges/{id}")]).about("Change a range of segments"),
    on(
        rule("update_network_segment_range:tags", ADMIN),
        &[("PUT", "/v2.0/network_segment_ranges/{id}/tags"), ("PUT", "/v2.0/network_segment_ranges/{id}/tags/{tag_id}")],
    )
    .about("Replace the tags of a range of segments"),
    on(rule("delete_network_segment_range", ADMIN), &[("DELETE", "/v2.0/network_segment_ranges/{id}")]).about("Delete a range of segments"),
    on(
        rule("delete_network_segment_range:tags", ADMIN),
        &[("DELETE", "/v2.0/network_segment_ranges/{id}/tags"), ("DELETE", "/v2.0/network_segment_ranges/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a range of segments"),
    // Use of addresses.
    on(
        rule("get_network_ip_availability", ADMIN_OR_SERVICE),
        &[("GET", "/v2.0/network-ip-availabilities"), ("GET", "/v2.0/network-ip-availabilities/{network_id}")],
    )
    .about("See how far networks' addresses are used"),
    // Topologies made by themselves.
    on(rule("get_auto_allocated_topology", ADMIN_OR_READER), &[("GET", "/v2.0/auto-allocated-topology/{project_id}")])
        .about("Have a topology made, or see the one there is"),
    on(rule("delete_auto_allocated_topology", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/auto-allocated-topology/{project_id}")])
        .about("Delete the topology that was made by itself"),
    // Metering.
    on(rule("create_metering_label", ADMIN_OR_MANAGER), &[("POST", "/v2.0/metering/metering-labels")]).about("Create a metering label"),
    on(
        rule("get_metering_label", ADMIN_OR_READER),
        &[("GET", "/v2.0/metering/metering-labels"), ("GET", "/v2.0/metering/metering-labels/{id}")],
    )
    .about("See a metering label"),
    on(rule("delete_metering_label", ADMIN_OR_MANAGER), &[("DELETE", "/v2.0/metering/metering-labels/{id}")])
        .about("Delete a metering label"),
    on(rule("create_metering_label_rule", ADMIN_OR_MANAGER), &[("POST", "/v2.0/metering/metering-label-rules")])
        .about("Create a rule of a metering label"),
    on(
        rule("get_metering_label_rule", ADMIN_OR_READER),
        &[("GET", "/v2.0/metering/metering-label-rules"), ("GET", "/v2.0/metering/metering-label-rules/{id}")],
    )
    .about("See a rule of a metering label"),
    on(rule("delete_metering_label_rule", ADMIN_OR_MANAGER), &[("DELETE", "/v2.0/metering/metering-label-rules/{id}")])
        .about("Delete a rule of a metering label"),
    // Logs.
    on(rule("get_loggable_resource", ADMIN_OR_MANAGER), &[("GET", "/v2.0/log/loggable-resources")]).about("See what can be logged"),
    on(rule("create_log", ADMIN_OR_MANAGER), &[("POST", "/v2.0/log/logs")]).about("Create a log"),
    on(rule("get_log", ADMIN_OR_MANAGER), &[("GET", "/v2.0/log/logs"), ("GET", "/v2.0/log/logs/{id}")]).about("See a log"),
    on(rule("update_log", ADMIN_OR_MANAGER), &[("PUT", "/v2.0/log/logs/{id}")]).about("Change a log"),
    on(rule("delete_log", ADMIN_OR_MANAGER), &[("DELETE", "/v2.0/log/logs/{id}")]).about("Delete a log"),
    // Flavors.
    on(rule("create_flavor", ADMIN), &[("POST", "/v2.0/flavors")]).about("Create a flavor of network services"),
    on(rule("get_flavor", ANY_READER), &[("GET", "/v2.0/flavors"), ("GET", "/v2.0/flavors/{id}")])
        .about("See a flavor of network services"),
    on(rule("update_flavor", ADMIN), &[("PUT", "/v2.0/flavors/{id}")]).about("Change a flavor of network services"),
    on(rule("delete_flavor", ADMIN), &[("DELETE", "/v2.0/flavors/{id}")]).about("Delete a flavor of network services"),
    on(rule("create_service_profile", ADMIN), &[("POST", "/v2.0/service_profiles")]).about("Create a profile of network services"),
    on(rule("get_service_profile", ADMIN), &[("GET", "/v2.0/service_profiles"), ("GET", "/v2.0/service_profiles/{id}")])
        .about("See a profile of network services"),
    on(rule("update_service_profile", ADMIN), &[("PUT", "/v2.0/service_profiles/{id}")]).about("Change a profile of network services"),
    on(rule("delete_service_profile", ADMIN), &[("DELETE", "/v2.0/service_profiles/{id}")]).about("Delete a profile of network services"),
    rule("get_flavor_service_profile", ADMIN_OR_READER).about("Base rule: see a flavor's profile"),
    on(rule("create_flavor_service_profile", ADMIN), &[("POST", "/v2.0/flavors/{flavor_id}/service_profiles")])
        .about("Give a flavor a profile"),
    on(rule("delete_flavor_service_profile", ADMIN), &[("DELETE", "/v2.0/flavors/{flavor_id}/service_profiles/{profile_id}")])
        .about("Take a profile from a flavor"),
    // Service providers.
    on(rule("get_service_provider", ANY_READER), &[("GET", "/v2.0/service-providers")]).about("See a service provider"),
];
