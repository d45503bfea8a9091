//! What one port may send to another.

use policy::{Rule, rule};

use super::{ADMIN_OR_READER, on};

/// The rules.
pub(super) static RULES: &[Rule] = &[on(rule("get_reachability", ADMIN_OR_READER), &[("GET", "/v2.0/cofferdam/reachability")])
    .about("See what one of the ports in question may send to, or be sent by, the other; asked of both")];
