//! Qualities of service and their rules.

use policy::{Rule, rule};

use super::{ADMIN_OR_MANAGER, ADMIN_OR_PARENT_MANAGER, ADMIN_OR_PARENT_READER, ANY_READER, on};

const POLICY_READER: &str = any!(admin!(), project!("reader"), "rule:shared_qos_policy");

/// The rules.
pub(super) static RULES: &[Rule] = &[
    rule("shared_qos_policy", "True:%(shared)s").about("Base rule: the QoS policy is shared"),
    on(rule("get_policy", POLICY_READER), &[("GET", "/v2.0/qos/policies"), ("GET", "/v2.0/qos/policies/{id}")]).about("See a QoS policy"),
    on(
        rule("get_policy:tags", POLICY_READER),
        &[("GET", "/v2.0/qos/policies/{id}/tags"), ("GET", "/v2.0/qos/policies/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a QoS policy"),
    on(rule("create_policy", ADMIN_OR_MANAGER), &[("POST", "/v2.0/qos/policies")]).about("Create a QoS policy"),
    on(rule("create_policy:tags", ADMIN_OR_MANAGER), &[("POST", "/v2.0/qos/policies/{id}/tags")]).about("Tag a QoS policy"),
    on(rule("update_policy", ADMIN_OR_MANAGER), &[("PUT", "/v2.0/qos/policies/{id}")]).about("Change a QoS policy"),
    on(
        rule("update_policy:tags", ADMIN_OR_MANAGER),
        &[("PUT", "/v2.0/qos/policies/{id}/tags"), ("PUT", "/v2.0/qos/policies/{id}/tags/{tag_id}")],
    )
    .about("Replace the tags of a QoS policy"),
    on(rule("delete_policy", ADMIN_OR_MANAGER), &[("DELETE", "/v2.0/qos/policies/{id}")]).about("Delete a QoS policy"),
    on(
        rule("delete_policy:tags", ADMIN_OR_MANAGER),
        &[("DELETE", "/v2.0/qos/policies/{id}/tags"), ("DELETE", "/v2.0/qos/policies/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a QoS policy"),
    on(rule("get_rule_type", ANY_READER), &[("GET", "/v2.0/qos/rule-types"), ("GET", "/v2.0/qos/rule-types/{rule_type}")])
        .about("See a type of QoS rules"),
    on(
        rule("get_policy_bandwidth_limit_rule", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/qos/policies/{policy_id}/bandwidth_limit_rules"),
            ("GET", "/v2.0/qos/policies/{policy_id}/bandwidth_limit_rules/{rule_id}"),
        ],
    )
    .about("See a QoS policy's limit of bandwidth"),
    on(
        rule("create_policy_bandwidth_limit_rule", ADMIN_OR_PARENT_MANAGER),
        &[("POST", "/v2.0/qos/policies/{policy_id}/bandwidth_limit_rules")],
    )
    .about("Create a QoS policy's limit of bandwidth"),
    on(
        rule("update_policy_bandwidth_limit_rule", ADMIN_OR_PARENT_MANAGER),
        &[("PUT", "/v2.0/qos/policies/{policy_id}/bandwidth_limit_rules/{rule_id}")],
    )
    .about("Change a QoS policy's limit of bandwidth"),
    on(
        rule("delete_policy_bandwidth_limit_rule", ADMIN_OR_PARENT_MANAGER),
        &[("DELETE", "/v2.0/qos/policies/{policy_id}/bandwidth_limit_rules/{rule_id}")],
    )
    .about("Delete a QoS policy's limit of bandwidth"),
    on(
        rule("get_policy_packet_rate_limit_rule", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/qos/policies/{policy_id}/packet_rate_limit_rules"),
            ("GET", "/v2.0/qos/policies/{policy_id}/packet_rate_limit_rules/{rule_id}"),
        ],
    )
    .about("See a QoS policy's limit of packets"),
    on(
        rule("create_policy_packet_rate_limit_rule", ADMIN_OR_PARENT_MANAGER),
        &[("POST", "/v2.0/qos/policies/{policy_id}/packet_rate_limit_rules")],
    )
    .about("Create a QoS policy's limit of packets"),
    on(
        rule("update_policy_packet_rate_limit_rule", ADMIN_OR_PARENT_MANAGER),
        &[("PUT", "/v2.0/qos/policies/{policy_id}/packet_rate_limit_rules/{rule_id}")],
    )
    .about("Change a QoS policy's limit of packets"),
    on(
        rule("delete_policy_packet_rate_limit_rule", ADMIN_OR_PARENT_MANAGER),
        &[("DELETE", "/v2.0/qos/policies/{policy_id}/packet_rate_limit_rules/{rule_id}")],
    )
    .about("Delete a QoS policy's limit of packets"),
    on(
        rule("get_policy_dscp_marking_rule", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/qos/policies/{policy_id}/dscp_marking_rules"),
            ("GET", "/v2.0/qos/policies/{policy_id}/dscp_marking_rules/{rule_id}"),
        ],
    )
    .about("See a QoS policy's DSCP mark"),
    on(rule("create_policy_dscp_marking_rule", ADMIN_OR_PARENT_MANAGER), &[("POST", "/v2.0/qos/policies/{policy_id}/dscp_marking_rules")])
        .about("Create a QoS policy's DSCP mark"),
    on(
        rule("update_policy_dscp_marking_rule", ADMIN_OR_PARENT_MANAGER),
        &[("PUT", "/v2.0/qos/policies/{policy_id}/dscp_marking_rules/{rule_id}")],
    )
    .about("Change a QoS policy's DSCP mark"),
    on(
        rule("delete_policy_dscp_marking_rule", ADMIN_OR_PARENT_MANAGER),
        &[("DELETE", "/v2.0/qos/policies/{policy_id}/dscp_marking_rules/{rule_id}")],
    )
    .about("Delete a QoS policy's DSCP mark"),
    on(
        rule("get_policy_minimum_bandwidth_rule", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/qos/policies/{policy_id}/minimum_bandwidth_rules"),
            ("GET", "/v2.0/qos/policies/{policy_id}/minimum_bandwidth_rules/{rule_id}"),
        ],
    )
    .about("See a QoS policy's least bandwidth"),
    on(
        rule("create_policy_minimum_bandwidth_rule", ADMIN_OR_PARENT_MANAGER),
        &[("POST", "/v2.0/qos/policies/{policy_id}/minimum_bandwidth_rules")],
    )
    .about("Create a QoS policy's least bandwidth"),
    on(
        rule("update_policy_minimum_bandwidth_rule", ADMIN_OR_PARENT_MANAGER),
        &[("PUT", "/v2.0/qos/policies/{policy_id}/minimum_bandwidth_rules/{rule_id}")],
    )
    .about("Change a QoS policy's least bandwidth"),
    on(
        rule("delete_policy_minimum_bandwidth_rule", ADMIN_OR_PARENT_MANAGER),
        &[("DELETE", "/v2.0/qos/policies/{policy_id}/minimum_bandwidth_rules/{rule_id}")],
    )
    .about("Delete a QoS policy's least bandwidth"),
    on(
        rule("get_policy_minimum_packet_rate_rule", ADMIN_OR_PARENT_READER),
        &[
            ("GET", "/v2.0/qos/policies/{policy_id}/minimum_packet_rate_rules"),
            ("GET", "/v2.0/qos/policies/{policy_id}/minimum_packet_rate_rules/{rule_id}"),
        ],
    )
    .about("See a QoS policy's least rate of packets"),
    on(
        rule("create_policy_minimum_packet_rate_rule", ADMIN_OR_PARENT_MANAGER),
        &[("POST", "/v2.0/qos/policies/{policy_id}/minimum_packet_rate_rules")],
    )
    .about("Create a QoS policy's least rate of packets"),
    on(
        rule("update_policy_minimum_packet_rate_rule", ADMIN_OR_PARENT_MANAGER),
        &[("PUT", "/v2.0/qos/policies/{policy_id}/minimum_packet_rate_rules/{rule_id}")],
    )
    .about("Change a QoS policy's least rate of packets"),
    on(
        rule("delete_policy_minimum_packet_rate_rule", ADMIN_OR_PARENT_MANAGER),
        &[("DELETE", "/v2.0/qos/policies/{policy_id}/minimum_packet_rate_rules/{rule_id}")],
    )
    .about("Delete a QoS policy's least rate of packets"),
    on(rule("get_alias_bandwidth_limit_rule", ADMIN_OR_PARENT_READER), &[("GET", "/v2.0/qos/alias_bandwidth_limit_rules/{id}")])
        .about("See a limit of bandwidth, by its own id"),
    on(rule("update_alias_bandwidth_limit_rule", ADMIN_OR_PARENT_MANAGER), &[("PUT", "/v2.0/qos/alias_bandwidth_limit_rules/{id}")])
        .about("Change a limit of bandwidth, by its own id"),
    on(rule("delete_alias_bandwidth_limit_rule", ADMIN_OR_PARENT_MANAGER), &[("DELETE", "/v2.0/qos/alias_bandwidth_limit_rules/{id}")])
        .about("Delete a limit of bandwidth, by its own id"),
    on(rule("get_alias_dscp_marking_rule", ADMIN_OR_PARENT_READER), &[("GET", "/v2.0/qos/alias_dscp_marking_rules/{rule_id}")])
        .about("See a DSCP mark, by its own id"),
    on(rule("update_alias_dscp_marking_rule", ADMIN_OR_PARENT_MANAGER), &[("PUT", "/v2.0/qos/alias_dscp_marking_rules/{rule_id}")])
        .about("Change a DSCP mark, by its own id"),
    on(rule("delete_alias_dscp_marking_rule", ADMIN_OR_PARENT_MANAGER), &[("DELETE", "/v2.0/qos/alias_dscp_marking_rules/{rule_id}")])
        .about("Delete a DSCP mark, by its own id"),
    on(rule("get_alias_minimum_bandwidth_rule", ADMIN_OR_PARENT_READER), &[("GET", "/v2.0/qos/alias_minimum_bandwidth_rules/{rule_id}")])
        .about("See a least bandwidth, by its own id"),
    on(
        rule("update_alias_minimum_bandwidth_rule", ADMIN_OR_PARENT_MANAGER),
        &[("PUT", "/v2.0/qos/alias_minimum_bandwidth_rules/{rule_id}")],
    )
    .about("Change a least bandwidth, by its own id"),
    on(
        rule("delete_alias_minimum_bandwidth_rule", ADMIN_OR_PARENT_MANAGER),
        &[("DELETE", "/v2.0/qos/alias_minimum_bandwidth_rules/{rule_id}")],
    )
    .about("Delete a least bandwidth, by its own id"),
    on(
        rule("get_alias_minimum_packet_rate_rule", "rule:get_policy_minimum_packet_rate_rule"),
        &[("GET", "/v2.0/qos/alias_minimum_packet_rate_rules/{rule_id}")],
    )
    .about("See a least rate of packets, by its own id"),
    on(
        rule("update_alias_minimum_packet_rate_rule", "rule:update_policy_minimum_packet_rate_rule"),
        &[("PUT", "/v2.0/qos/alias_minimum_packet_rate_rules/{rule_id}")],
    )
    .about("Change a least rate of packets, by its own id"),
    on(
        rule("delete_alias_minimum_packet_rate_rule", "rule:delete_policy_minimum_packet_rate_rule"),
        &[("DELETE", "/v2.0/qos/alias_minimum_packet_rate_rules/{rule_id}")],
    )
    .about("Delete a least rate of packets, by its own id"),
];
