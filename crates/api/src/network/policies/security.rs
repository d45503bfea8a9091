//! Security groups, address groups and the rules new groups begin with.

use policy::{Rule, rule};

use super::{ADMIN, ADMIN_OR_MANAGER, ADMIN_OR_MEMBER, ADMIN_OR_READER, ANY_READER, on};

const ADMIN_OR_GROUP_MEMBER: &str = any!(admin!(), group!("member"));
const ADMIN_OR_GROUP_READER: &str = any!(admin!(), group!("reader"));
const GROUP_SEEN: &str = any!(admin!(), project!("reader"), "rule:shared_security_group");

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Security groups.
    rule("admin_or_sg_owner", "rule:network:context_is_admin or project_id:%(security_group:project_id)s")
        .about("Base rule: an administrator, or of the project the security group belongs to"),
    rule("admin_owner_or_sg_owner", "rule:network:owner or rule:admin_or_sg_owner")
        .about("Base rule: an administrator, or of the project the object or its security group belongs to"),
    rule("shared_security_group", "True:%(shared)s").about("Base rule: the security group is shared"),
    rule("rule_default_sg", "True:%(belongs_to_default_sg)s").about("Base rule: the rule is one of a project's default security group"),
    rule("create_default_security_group", any!(admin!(), service!(), project!("reader")))
        .about("Base rule: have a project's default security group made"),
    on(rule("create_security_group", ADMIN_OR_MEMBER), &[("POST", "/v2.0/security-groups")]).about("Create a security group"),
    on(rule("create_security_group:tags", ADMIN_OR_MEMBER), &[("POST", "/v2.0/security-groups/{id}/tags")]).about("Tag a security group"),
    on(rule("get_security_group", GROUP_SEEN), &[("GET", "/v2.0/security-groups"), ("GET", "/v2.0/security-groups/{id}")])
        .about("See a security group"),
    on(
        rule("get_security_group:tags", GROUP_SEEN),
        &[("GET", "/v2.0/security-groups/{id}/tags"), ("GET", "/v2.0/security-groups/{id}/tags/{tag_id}")],
    )
    .about("See the tags of a security group"),
    on(rule("update_security_group", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/security-groups/{id}")]).about("Change a security group"),
    on(
        rule("update_security_group:tags", ADMIN_OR_MEMBER),
        &[("PUT", "/v2.0/security-groups/{id}/tags"), ("PUT", "/v2.0/security-groups/{id}/tags/{tag_id}")],
    )
    .about("Replace the tags of a security group"),
    on(rule("delete_security_group", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/security-groups/{id}")]).about("Delete a security group"),
    on(
        rule("delete_security_group:tags", ADMIN_OR_MEMBER),
        &[("DELETE", "/v2.0/security-groups/{id}/tags"), ("DELETE", "/v2.0/security-groups/{id}/tags/{tag_id}")],
    )
    .about("Take tags from a security group"),
    on(rule("create_security_group_rule", ADMIN_OR_GROUP_MEMBER), &[("POST", "/v2.0/security-group-rules")])
        .about("Create a rule of a security group"),
    on(
        rule("get_security_group_rule", ADMIN_OR_GROUP_READER),
        &[("GET", "/v2.0/security-group-rules"), ("GET", "/v2.0/security-group-rules/{id}")],
    )
    .about("See a rule of a security group"),
    on(rule("delete_security_group_rule", ADMIN_OR_GROUP_MEMBER), &[("DELETE", "/v2.0/security-group-rules/{id}")])
        .about("Delete a rule of a security group"),
    // Rules of new security groups.
    on(rule("create_default_security_group_rule", ADMIN), &[("POST", "/v2.0/default-security-group-rules")])
        .about("Create a rule of new security groups"),
    on(
        rule("get_default_security_group_rule", ANY_READER),
        &[("GET", "/v2.0/default-security-group-rules"), ("GET", "/v2.0/default-security-group-rules/{id}")],
    )
    .about("See a rule of new security groups"),
    on(rule("delete_default_security_group_rule", ADMIN), &[("DELETE", "/v2.0/default-security-group-rules/{id}")])
        .about("Delete a rule of new security groups"),
    // Whether new security groups keep state.
    on(rule("create_security_groups_default_statefulness", ADMIN_OR_MANAGER), &[("POST", "/v2.0/security-groups-default-statefulness")])
        .about("Say whether a project's new security groups keep state"),
    on(
        rule("get_security_groups_default_statefulness", ADMIN_OR_READER),
        &[("GET", "/v2.0/security-groups-default-statefulness"), ("GET", "/v2.0/security-groups-default-statefulness/{id}")],
    )
    .about("See whether a project's new security groups keep state"),
    on(
        rule("update_security_groups_default_statefulness", ADMIN_OR_MANAGER),
        &[("PUT", "/v2.0/security-groups-default-statefulness/{id}")],
    )
    .about("Change whether a project's new security groups keep state"),
    on(
        rule("delete_security_groups_default_statefulness", ADMIN_OR_MANAGER),
        &[("DELETE", "/v2.0/security-groups-default-statefulness/{id}")],
    )
    .about("Leave it to the default whether a project's new security groups keep state"),
    // Address groups.
    rule("shared_address_groups", "True:%(shared)s").about("Base rule: the address group is shared"),
    on(rule("create_address_group", ADMIN_OR_MEMBER), &[("POST", "/v2.0/address-groups")]).about("Create an address group"),
    on(
        rule("get_address_group", any!(admin!(), project!("reader"), "rule:shared_address_groups")),
        &[("GET", "/v2.0/address-groups"), ("GET", "/v2.0/address-groups/{id}")],
    )
    .about("See an address group"),
    on(rule("update_address_group", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/address-groups/{id}")]).about("Change an address group"),
    on(rule("delete_address_group", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/address-groups/{id}")]).about("Delete an address group"),
    on(rule("add_addresses", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/address-groups/{id}/add_addresses")])
        .about("Add addresses to an address group"),
    on(rule("remove_addresses", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/address-groups/{id}/remove_addresses")])
        .about("Take addresses out of an address group"),
];
