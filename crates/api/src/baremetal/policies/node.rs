//! Rules of nodes and of what is done to them.

use policy::{Rule, rule};

use super::*;

const NODES_GET: &[(&str, &str)] = &[("GET", "/v1/nodes"), ("GET", "/v1/nodes/detail")];
const NODE_GET: &[(&str, &str)] = &[("GET", "/v1/nodes/{node}")];
const NODE_PATCH: &[(&str, &str)] = &[("PATCH", "/v1/nodes/{node}")];
const PROVISION: &[(&str, &str)] = &[("PUT", "/v1/nodes/{node}/states/provision")];
const VENDOR: &[(&str, &str)] = &[
    ("GET", "/v1/nodes/{node}/vendor_passthru/methods"),
    ("GET", "/v1/nodes/{node}/vendor_passthru"),
    ("PUT", "/v1/nodes/{node}/vendor_passthru"),
    ("POST", "/v1/nodes/{node}/vendor_passthru"),
    ("PATCH", "/v1/nodes/{node}/vendor_passthru"),
    ("DELETE", "/v1/nodes/{node}/vendor_passthru"),
];
/// Administrators and services, whatever their token is of.
const API_ADMIN: &str = "rule:baremetal:is_admin or role:admin or role:service";
/// Administrators of the project that owns the node.
const OWNER_ADMIN: &str = "rule:baremetal:is_admin or (role:admin and project_id:%(node.owner)s)";

/// The rules.
pub(super) static RULES: &[Rule] = &[
    on(rule("baremetal:node:create", SYSTEM_ADMIN_OR_SERVICE), &[("POST", "/v1/nodes")]).about("Enrol a node"),
    on(rule("baremetal:node:create:self_owned_node", API_ADMIN), &[("POST", "/v1/nodes")]).about("Enrol a node of one's own project"),
    on(rule("baremetal:node:list", API_READER), NODES_GET).about("List the nodes one may see"),
    on(rule("baremetal:node:list_all", SYSTEM_READER), NODES_GET).about("List all nodes"),
    on(rule("baremetal:node:get", READER), NODE_GET).about("See a node"),
    on(rule("baremetal:node:get:filter_threshold", SYSTEM_READER), NODE_GET).about("See all of every node one sees"),
    on(rule("baremetal:node:get:last_error", OWNER_READER), NODE_GET).about("See the last error of a node"),
    on(rule("baremetal:node:get:reservation", OWNER_READER), NODE_GET).about("See who works on a node"),
    on(rule("baremetal:node:get:driver_info", OWNER_READER), NODE_GET).about("See how a node's controller is reached"),
    on(rule("baremetal:node:get:driver_internal_info", OWNER_READER), NODE_GET).about("See what the engine notes of a node"),
    on(rule("baremetal:node:update", MEMBER), NODE_PATCH).about("Change what of a node has no rule of its own"),
    on(rule("baremetal:node:update:driver_info", OWNER_MEMBER), NODE_PATCH).about("Change how a node's controller is reached"),
    on(rule("baremetal:node:update:driver_interfaces", OWNER_MANAGER), NODE_PATCH).about("Change the driver of a node"),
    on(rule("baremetal:node:update:properties", OWNER_MEMBER), NODE_PATCH).about("Change the properties of a node"),
    on(rule("baremetal:node:update:chassis_uuid", SYSTEM_ADMIN), NODE_PATCH).about("Say what a node sits in"),
    on(rule("baremetal:node:update:instance_uuid", OWNER_MEMBER), NODE_PATCH).about("Say which instance a node runs"),
    on(rule("baremetal:node:update:lessee", OWNER_MEMBER), NODE_PATCH).about("Lend a node to a project"),
    on(rule("baremetal:node:update:owner", SYSTEM_MEMBER), NODE_PATCH).about("Give a node to a project"),
    on(rule("baremetal:node:update_owner_provisioned", SYSTEM_ADMIN), NODE_PATCH).about("Give a node that is in use to a project"),
    on(rule("baremetal:node:update:network_data", OWNER_MEMBER), NODE_PATCH).about("Say what a node's ramdisk is told of its network"),
    on(rule("baremetal:node:update:conductor_group", SYSTEM_MEMBER), NODE_PATCH).about("Say who works on a node"),
    on(rule("baremetal:node:update:name", OWNER_MEMBER), NODE_PATCH).about("Rename a node"),
    on(rule("baremetal:node:update:retired", OWNER_MEMBER), NODE_PATCH).about("Retire a node"),
    on(rule("baremetal:node:update:shard", SYSTEM_ADMIN), NODE_PATCH).about("Say which clients look after a node"),
    on(rule("baremetal:node:update:parent_node", SYSTEM_MEMBER), NODE_PATCH).about("Say which node a node is part of"),
    on(rule("baremetal:node:update:disable_power_off", SYSTEM_ADMIN), NODE_PATCH).about("Forbid to switch a node off"),
    on(rule("baremetal:node:disable_cleaning", SYSTEM_ADMIN), NODE_PATCH).about("Have a node offered without cleaning"),
    on(rule("baremetal:node:update_extra", MEMBER), NODE_PATCH).about("Change the free properties of a node"),
    on(rule("baremetal:node:update_instance_info", MEMBER_OR_LESSEE_MANAGER), NODE_PATCH).about("Say what a node is to run"),
    on(rule("baremetal:node:delete", SYSTEM_ADMIN), &[("DELETE", "/v1/nodes/{node}")]).about("Remove a node"),
    on(rule("baremetal:node:delete:self_owned_node", OWNER_ADMIN), &[("DELETE", "/v1/nodes/{node}")])
        .about("Remove a node of one's own project"),
    on(rule("baremetal:node:validate", MEMBER_OR_LESSEE_MANAGER), &[("GET", "/v1/nodes/{node}/validate")])
        .about("See whether a node can be deployed"),
    on(
        rule("baremetal:node:set_maintenance", MEMBER_OR_LESSEE_MANAGER),
        &[("PUT", "/v1/nodes/{node}/maintenance"), ("PATCH", "/v1/nodes/{node}")],
    )
    .about("Take a node out of service"),
    on(rule("baremetal:node:clear_maintenance", MEMBER_OR_LESSEE_MANAGER), &[("DELETE", "/v1/nodes/{node}/maintenance")])
        .about("Put a node into service again"),
    on(
        rule("baremetal:node:get_boot_device", OWNER_MANAGER),
        &[("GET", "/v1/nodes/{node}/management/boot_device"), ("GET", "/v1/nodes/{node}/management/boot_device/supported")],
    )
    .about("See what a node boots from"),
    on(rule("baremetal:node:set_boot_device", OWNER_MANAGER), &[("PUT", "/v1/nodes/{node}/management/boot_device")])
        .about("Say what a node boots from"),
    on(
        rule("baremetal:node:get_indicator_state", READER),
        &[("GET", "/v1/nodes/{node}/management/indicators"), ("GET", "/v1/nodes/{node}/management/indicators/{indicator}")],
    )
    .about("See the lights of a node"),
    on(rule("baremetal:node:set_indicator_state", OWNER_MEMBER), &[("PUT", "/v1/nodes/{node}/management/indicators/{indicator}")])
        .about("Switch a light of a node"),
    on(rule("baremetal:node:inject_nmi", OWNER_MANAGER), &[("PUT", "/v1/nodes/{node}/management/inject_nmi")])
        .about("Interrupt what a node runs"),
    on(rule("baremetal:node:get_states", READER), &[("GET", "/v1/nodes/{node}/states")]).about("See the states of a node"),
    on(rule("baremetal:node:set_power_state", MEMBER), &[("PUT", "/v1/nodes/{node}/states/power")]).about("Switch a node on or off"),
    on(rule("baremetal:node:set_boot_mode", MEMBER), &[("PUT", "/v1/nodes/{node}/states/boot_mode")]).about("Choose a node's firmware"),
    on(rule("baremetal:node:set_secure_boot", MEMBER), &[("PUT", "/v1/nodes/{node}/states/secure_boot")])
        .about("Have a node boot signed systems only, or any"),
    on(rule("baremetal:node:set_provision_state", MEMBER_OR_LESSEE_MANAGER), PROVISION).about("Take a node through its states"),
    on(rule("baremetal:node:set_provision_state:clean_steps", MEMBER_OR_LESSEE_MANAGER), PROVISION).about("Choose the steps of cleaning"),
    on(rule("baremetal:node:set_provision_state:service_steps", MEMBER_OR_LESSEE_MANAGER), PROVISION)
        .about("Choose the steps of servicing"),
    on(rule("baremetal:node:set_raid_state", OWNER_MEMBER), &[("PUT", "/v1/nodes/{node}/states/raid")])
        .about("Say which RAID sets a node is to have"),
    on(rule("baremetal:node:get_console", OWNER_MEMBER), &[("GET", "/v1/nodes/{node}/states/console")])
        .about("See where a node's console is"),
    on(rule("baremetal:node:set_console_state", OWNER_MEMBER), &[("PUT", "/v1/nodes/{node}/states/console")])
        .about("Open or close a node's console"),
    on(rule("baremetal:node:vif:list", READER), &[("GET", "/v1/nodes/{node}/vifs")]).about("List the networks' ports attached to a node"),
    on(rule("baremetal:node:vif:attach", MEMBER_OR_LESSEE_MANAGER), &[("POST", "/v1/nodes/{node}/vifs")])
        .about("Attach a network's port to a node"),
    on(rule("baremetal:node:vif:detach", MEMBER_OR_LESSEE_MANAGER), &[("DELETE", "/v1/nodes/{node}/vifs/{vif}")])
        .about("Detach a network's port from a node"),
    on(rule("baremetal:node:traits:list", READER), &[("GET", "/v1/nodes/{node}/traits")]).about("List the traits of a node"),
    on(rule("baremetal:node:traits:set", OWNER_MANAGER), &[("PUT", "/v1/nodes/{node}/traits"), ("PUT", "/v1/nodes/{node}/traits/{trait}")])
        .about("Give a node traits"),
    on(
        rule("baremetal:node:traits:delete", OWNER_MANAGER),
        &[("DELETE", "/v1/nodes/{node}/traits"), ("DELETE", "/v1/nodes/{node}/traits/{trait}")],
    )
    .about("Take traits from a node"),
    on(rule("baremetal:node:bios:get", READER), &[("GET", "/v1/nodes/{node}/bios"), ("GET", "/v1/nodes/{node}/bios/{setting}")])
        .about("See the BIOS settings of a node"),
    on(rule("baremetal:node:firmware:get", READER), &[("GET", "/v1/nodes/{node}/firmware")]).about("See the firmware of a node"),
    on(rule("baremetal:node:inventory:get", OWNER_READER), &[("GET", "/v1/nodes/{node}/inventory")])
        .about("See what inspection found in a node"),
    on(
        rule("baremetal:node:history:get", OWNER_READER),
        &[("GET", "/v1/nodes/{node}/history"), ("GET", "/v1/nodes/{node}/history/{event}")],
    )
    .about("See what a node went through"),
    on(rule("baremetal:node:vmedia:get", READER), &[("GET", "/v1/nodes/{node}/vmedia")]).about("See the virtual media of a node"),
    on(rule("baremetal:node:vmedia:attach", MEMBER), &[("POST", "/v1/nodes/{node}/vmedia")]).about("Attach a virtual medium to a node"),
    on(rule("baremetal:node:vmedia:detach", MEMBER), &[("DELETE", "/v1/nodes/{node}/vmedia")]).about("Take virtual media from a node"),
    on(rule("baremetal:node:vendor_passthru", SYSTEM_ADMIN), VENDOR).about("Call what only a node's vendor has"),
    on(rule("baremetal:events:post", SYSTEM_ADMIN), &[("POST", "/v1/events")]).about("Tell of events outside"),
];

/// The rules that guard changing attributes by a patch; the first whose name the attribute begins with
/// (Source: `ironic/api/controllers/v1/node.py`, `_authorize_patch_and_get_node`).
const CHANGES: &[(&str, &str)] = &[
    ("instance_info", "baremetal:node:update_instance_info"),
    ("extra", "baremetal:node:update_extra"),
    ("driver_info", "baremetal:node:update:driver_info"),
    ("properties", "baremetal:node:update:properties"),
    ("chassis_uuid", "baremetal:node:update:chassis_uuid"),
    ("instance_uuid", "baremetal:node:update:instance_uuid"),
    ("instance_name", "baremetal:node:update_instance_info"),
    ("lessee", "baremetal:node:update:lessee"),
    ("owner", "baremetal:node:update:owner"),
    ("driver", "baremetal:node:update:driver_interfaces"),
    ("network_data", "baremetal:node:update:network_data"),
    ("conductor_group", "baremetal:node:update:conductor_group"),
    ("name", "baremetal:node:update:name"),
    ("retired", "baremetal:node:update:retired"),
    ("shard", "baremetal:node:update:shard"),
    ("parent_node", "baremetal:node:update:parent_node"),
    ("disable_power_off", "baremetal:node:update:disable_power_off"),
];

/// The rule that guards changing an attribute by a patch; `disables` says whether it is set to false.
pub(in crate::baremetal) fn of_change(attribute: &str, disables: bool) -> &'static str {
    if let Some((_, rule)) = CHANGES.iter().find(|(name, _)| attribute.starts_with(name)) {
        return rule;
    }
    match attribute {
        it if it.ends_with("_interface") => "baremetal:node:update:driver_interfaces",
        "automated_clean" if disables => "baremetal:node:disable_cleaning",
        // One way to it is not to be easier than the other.
        "maintenance" => "baremetal:node:set_maintenance",
        _ => "baremetal:node:update",
    }
}
