//! Subnet pools and address scopes.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MEMBER, on};

const POOL_READER: &str = any!(admin!(), project!("reader"), "rule:shared_subnetpools");

const SUBNETPOOLS_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/subnetpools")];
const SUBNETPOOLS_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/subnetpools/{id}")];
const ADDRESS_SCOPES_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/address-scopes")];
const ADDRESS_SCOPES_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/address-scopes/{id}")];

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Subnet pools.
    rule("shared_subnetpools", "True:%(shared)s").about("Base rule: the subnet pool is shared"),
    on(rule("create_subnetpool", ADMIN_OR_MEMBER), SUBNETPOOLS_CREATE).about("Create a subnet pool"),
    on(rule("create_subnetpool:shared", ADMIN), SUBNETPOOLS_CREATE).about("Say whether a new subnet pool is shared with all"),
    on(rule("create_subnetpool:is_default", ADMIN), SUBNETPOOLS_CREATE).about("Say whether a new subnet pool is the default"),
    on(rule("create_subnetpool:tags", ADMIN_OR_MEMBER), &[("POST", "/v2.0/subnetpools/{id}/tags")]).about("Tag a subnet pool"),
    on(rule("get_subnetpool", POOL_READER), &[("GET", "/v2.0/subnetpools"), ("GET", "/v2.0/subnetpools/{id}")]).about("See a subnet pool"),
    on(
        rule("get_subnetpool:tags", POOL_READER),
        &[("GET", "/v2.0/subnetpools/{id}/tags"), ("GET", "/v2.0/subnetpools/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a subnet pool"),
    on(rule("update_subnetpool", ADMIN_OR_MEMBER), SUBNETPOOLS_UPDATE).about("Change a subnet pool"),
    on(rule("update_subnetpool:is_default", ADMIN), SUBNETPOOLS_UPDATE).about("Change whether a subnet pool is the default"),
    on(
        rule("update_subnetpool:tags", ADMIN_OR_MEMBER),
        &[("PUT", "/v2.0/subnetpools/{id}/tags"), ("PUT", "/v2.0/subnetpools/{id}/tags/{tag_id}")],
    )
    .about("Replace the tags of a subnet pool"),
    on(rule("delete_subnetpool", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/subnetpools/{id}")]).about("Delete a subnet pool"),
    on(
        rule("delete_subnetpool:tags", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/subnetpools/{id}/tags"), ("DELETE", "/v2.0/subnetpools/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a subnet pool"),
    on(rule("onboard_network_subnets", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/subnetpools/{id}/onboard_network_subnets")])
        .about("Bring a network's subnets into a subnet pool"),
    on(rule("add_prefixes", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/subnetpools/{id}/add_prefixes")]).about("Add prefixes to a subnet pool"),
    on(rule("remove_prefixes", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/subnetpools/{id}/remove_prefixes")])
        .about("Take prefixes from a subnet pool"),
    // Address scopes.
    rule("shared_address_scopes", "True:%(shared)s").about("Base rule: the address scope is shared"),
    on(rule("create_address_scope", ADMIN_OR_MEMBER), ADDRESS_SCOPES_CREATE).about("Create an address scope"),
    on(rule("create_address_scope:shared", ADMIN), ADDRESS_SCOPES_CREATE).about("Say whether a new address scope is shared with all"),
    on(
        rule("get_address_scope", any!(admin!(), project!("reader"), "rule:shared_address_scopes")),
        &[("GET", "/v2.0/address-scopes"), ("GET", "/v2.0/address-scopes/{id}")],
    )
    .about("See an address scope"),
    on(rule("update_address_scope", ADMIN_OR_MEMBER), ADDRESS_SCOPES_UPDATE).about("Change an address scope"),
    on(rule("update_address_scope:shared", ADMIN), ADDRESS_SCOPES_UPDATE).about("Change whether an address scope is shared with all"),
    on(rule("delete_address_scope", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/address-scopes/{id}")]).about("Delete an address scope"),
];
