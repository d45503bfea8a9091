//! Trunks and their subports.

use policy::{Rule, rule};

use super::{ADMIN_OR_MEMBER, ADMIN_OR_READER, on};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    on(rule("create_trunk", ADMIN_OR_MEMBER), &[("POST", "/v2.0/trunks")]).about("Create a trunk"),
    on(rule("create_trunk:tags", ADMIN_OR_MEMBER), &[("POST", "/v2.0/trunks/{id}/tags")]).about("Tag a trunk"),
    on(rule("get_trunk", ADMIN_OR_READER), &[("GET", "/v2.0/trunks"), ("GET", "/v2.0/trunks/{id}")]).about("See a trunk"),
    on(rule("get_trunk:tags", ADMIN_OR_READER), &[("GET", "/v2.0/trunks/{id}/tags"), ("GET", "/v2.0/trunks/{id}/tags/{tag_id}")])
        .about("See the tags of a trunk"),
    on(rule("update_trunk", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/trunks/{id}")]).about("Change a trunk"),
    on(rule("update_trunk:tags", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/trunks/{id}/tags"), ("PUT", "/v2.0/trunks/{id}/tags/{tag_id}")])
        .about("Replace the tags of a trunk"),
    on(rule("delete_trunk", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/trunks/{id}")]).about("Delete a trunk"),
    on(rule("delete_trunk:tags", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/trunks/{id}/tags"), ("DELETE", "/v2.0/trunks/{id}/tags/{tag_id}")])
        .about("Take tags from a trunk"),
    on(rule("get_subports", ADMIN_OR_READER), &[("GET", "/v2.0/trunks/{id}/get_subports")]).about("See the subports of a trunk"),
    on(rule("add_subports", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/trunks/{id}/add_subports")]).about("Add subports to a trunk"),
    on(rule("remove_subports", ADMIN_OR_MEMBER), &[("PUT", "/v2.0/trunks/{id}/remove_subports")]).about("Take subports from a trunk"),
];
