//! Switches, their ports, and quarantine: the operator's.

use policy::{Rule, rule};

use super::{ADMIN, on};

/// The rules.
pub(super) static RULES: &[Rule] = &[
    // Switches.
    on(rule("create_switch", ADMIN), &[("POST", "/v2.0/cofferdam/switches")]).about("Declare a switch"),
    on(
        rule("get_switch", ADMIN),
        &[("GET", "/v2.0/cofferdam/switches"), ("GET", "/v2.0/cofferdam/switches/{id}"), ("GET", "/v2.0/cofferdam/switches/{id}/history")],
    )
    .about("See a switch, what was read of it and what happened to it; never its secrets"),
    on(rule("update_switch", ADMIN), &[("PUT", "/v2.0/cofferdam/switches/{id}")]).about("Declare a switch otherwise"),
    on(rule("read_switch", ADMIN), &[("PUT", "/v2.0/cofferdam/switches/{id}/read")]).about("Have a switch read at once"),
    on(rule("delete_switch", ADMIN), &[("DELETE", "/v2.0/cofferdam/switches/{id}")]).about("Declare a switch no longer"),
    // Their ports.
    on(rule("create_switch_port", ADMIN), &[("POST", "/v2.0/cofferdam/switch-ports")])
        .about("Take a port of a switch under our care: it is isolated unless a port holds it"),
    on(
        rule("get_switch_port", ADMIN),
        &[
            ("GET", "/v2.0/cofferdam/switch-ports"),
            ("GET", "/v2.0/cofferdam/switch-ports/{id}"),
            ("GET", "/v2.0/cofferdam/switch-ports/{id}/history"),
        ],
    )
    .about("See a port of a switch, what is wanted of it and what was read back"),
    on(rule("update_switch_port", ADMIN), &[("PUT", "/v2.0/cofferdam/switch-ports/{id}")]).about("Note something about a port of a switch"),
    on(rule("delete_switch_port", ADMIN), &[("DELETE", "/v2.0/cofferdam/switch-ports/{id}")])
        .about("Let a port of a switch go that nobody holds: it is not looked at any more"),
    // Quarantine.
    on(rule("get_quarantine", ADMIN), &[("GET", "/v2.0/cofferdam/quarantine"), ("GET", "/v2.0/cofferdam/quarantine/{id}")])
        .about("See what was let go and is not proven released"),
    on(rule("force_quarantine", ADMIN), &[("PUT", "/v2.0/cofferdam/quarantine/{id}/force")])
        .about("Take something for released without proof, with a reason that is kept"),
];
