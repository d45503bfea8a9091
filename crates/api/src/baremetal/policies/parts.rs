//! Rules of what belongs to nodes, and of what there is beside them.

use policy::{Rule, rule};

use super::*;

const PORTS_GET: &[(&str, &str)] = &[("GET", "/v1/ports"), ("GET", "/v1/ports/detail")];
const PORTGROUPS_GET: &[(&str, &str)] = &[("GET", "/v1/portgroups"), ("GET", "/v1/portgroups/detail")];
const VOLUMES_GET: &[(&str, &str)] = &[
    ("GET", "/v1/volume/connectors"),
    ("GET", "/v1/volume/targets"),
    ("GET", "/v1/nodes/{node}/volume/connectors"),
    ("GET", "/v1/nodes/{node}/volume/targets"),
];
const VOLUMES_POST: &[(&str, &str)] = &[("POST", "/v1/volume/connectors"), ("POST", "/v1/volume/targets")];
const VOLUMES_PATCH: &[(&str, &str)] = &[("PATCH", "/v1/volume/connectors/{connector}"), ("PATCH", "/v1/volume/targets/{target}")];
const VOLUMES_DELETE: &[(&str, &str)] = &[("DELETE", "/v1/volume/connectors/{connector}"), ("DELETE", "/v1/volume/targets/{target}")];
const TEMPLATES_GET: &[(&str, &str)] = &[("GET", "/v1/deploy_templates"), ("GET", "/v1/deploy_templates/{template}")];
const PASSTHRU: &[(&str, &str)] = &[
    ("GET", "/v1/drivers/{driver}/vendor_passthru/methods"),
    ("GET", "/v1/drivers/{driver}/vendor_passthru"),
    ("PUT", "/v1/drivers/{driver}/vendor_passthru"),
    ("POST", "/v1/drivers/{driver}/vendor_passthru"),
    ("PATCH", "/v1/drivers/{driver}/vendor_passthru"),
    ("DELETE", "/v1/drivers/{driver}/vendor_passthru"),
];

/// Members of the system; of the owner and of the lessee those who manage it.
const OWNER_OR_LESSEE_MANAGER: &str = any!(
    "role:member and system_scope:all",
    "role:service and system_scope:all",
    "role:manager and project_id:%(node.owner)s",
    "role:manager and project_id:%(node.lessee)s",
    "role:service and project_id:%(node.owner)s"
);
const TARGET_PROPERTIES: &str = any!("role:reader and system_scope:all", "role:service and system_scope:all", "role:admin");
const ALLOCATION_READER: &str =
    any!("role:reader and system_scope:all", "role:service and system_scope:all", "role:reader and project_id:%(allocation.owner)s");
const ALLOCATION_MEMBER: &str = any!("role:member and system_scope:all", "role:member and project_id:%(allocation.owner)s");
const ALLOCATION_MAKER: &str = any!("role:member and system_scope:all", "role:member");
const RUNBOOK_READER: &str = any!(
    "role:reader and system_scope:all",
    "role:service and system_scope:all",
    "role:reader and project_id:%(runbook.owner)s",
    "role:service"
);
const RUNBOOK_MANAGER: &str = any!("role:member and system_scope:all", "role:manager and project_id:%(runbook.owner)s", "role:service");
const RUNBOOK_MAKER: &str = any!("role:member and system_scope:all", "role:manager", "role:service");

/// The rules.
pub(super) static RULES: &[Rule] = &[
    on(
        rule("baremetal:port:get", READER),
        &[
            ("GET", "/v1/ports/{port}"),
            ("GET", "/v1/nodes/{node}/ports"),
            ("GET", "/v1/nodes/{node}/ports/detail"),
            ("GET", "/v1/portgroups/{portgroup}/ports"),
            ("GET", "/v1/portgroups/{portgroup}/ports/detail"),
        ],
    )
    .about("See a card of a node"),
    on(rule("baremetal:port:list", API_READER), PORTS_GET).about("List the cards one may see"),
    on(rule("baremetal:port:list_all", SYSTEM_READER), PORTS_GET).about("List all cards"),
    on(rule("baremetal:port:create", ADMIN_OR_OWNER_MANAGER), &[("POST", "/v1/ports")]).about("Add a card to a node"),
    on(rule("baremetal:port:update", OWNER_MANAGER), &[("PATCH", "/v1/ports/{port}")]).about("Change a card of a node"),
    on(rule("baremetal:port:delete", ADMIN_OR_OWNER_MANAGER), &[("DELETE", "/v1/ports/{port}")]).about("Remove a card of a node"),
    on(
        rule("baremetal:portgroup:get", READER),
        &[("GET", "/v1/portgroups/{portgroup}"), ("GET", "/v1/nodes/{node}/portgroups"), ("GET", "/v1/nodes/{node}/portgroups/detail")],
    )
    .about("See a group of cards"),
    on(rule("baremetal:portgroup:list", API_READER), PORTGROUPS_GET).about("List the groups of cards one may see"),
    on(rule("baremetal:portgroup:list_all", SYSTEM_READER), PORTGROUPS_GET).about("List all groups of cards"),
    on(rule("baremetal:portgroup:create", ADMIN_OR_OWNER_MANAGER), &[("POST", "/v1/portgroups")]).about("Add a group of cards to a node"),
    on(rule("baremetal:portgroup:update", OWNER_MANAGER), &[("PATCH", "/v1/portgroups/{portgroup}")]).about("Change a group of cards"),
    on(rule("baremetal:portgroup:delete", ADMIN_OR_OWNER_MANAGER), &[("DELETE", "/v1/portgroups/{portgroup}")])
        .about("Remove a group of cards"),
    on(
        rule("baremetal:chassis:get", SYSTEM_READER),
        &[("GET", "/v1/chassis"), ("GET", "/v1/chassis/detail"), ("GET", "/v1/chassis/{chassis}")],
    )
    .about("See chassis"),
    on(rule("baremetal:chassis:create", SYSTEM_ADMIN), &[("POST", "/v1/chassis")]).about("Add a chassis"),
    on(rule("baremetal:chassis:update", SYSTEM_MEMBER), &[("PATCH", "/v1/chassis/{chassis}")]).about("Change a chassis"),
    on(rule("baremetal:chassis:delete", SYSTEM_ADMIN), &[("DELETE", "/v1/chassis/{chassis}")]).about("Remove a chassis"),
    on(
        rule("baremetal:volume:get", READER),
        &[
            ("GET", "/v1/volume"),
            ("GET", "/v1/nodes/{node}/volume"),
            ("GET", "/v1/volume/connectors/{connector}"),
            ("GET", "/v1/volume/targets/{target}"),
        ],
    )
    .about("See how a node reaches volumes, and which"),
    on(rule("baremetal:volume:list", API_READER), VOLUMES_GET).about("List the volumes one may see"),
    on(rule("baremetal:volume:list_all", SYSTEM_READER), VOLUMES_GET).about("List all volumes"),
    on(rule("baremetal:volume:create", OWNER_OR_LESSEE_MANAGER), VOLUMES_POST).about("Add volumes to a node"),
    on(rule("baremetal:volume:update", MEMBER_OR_LESSEE_MANAGER), VOLUMES_PATCH).about("Change volumes of a node"),
    on(rule("baremetal:volume:delete", OWNER_OR_LESSEE_MANAGER), VOLUMES_DELETE).about("Remove volumes of a node"),
    on(rule("baremetal:volume:view_target_properties", TARGET_PROPERTIES), &[("GET", "/v1/volume/targets/{target}")])
        .about("See how a volume is reached"),
    on(rule("baremetal:driver:get", SYSTEM_READER), &[("GET", "/v1/drivers"), ("GET", "/v1/drivers/{driver}")]).about("See drivers"),
    on(rule("baremetal:driver:get_properties", SYSTEM_READER), &[("GET", "/v1/drivers/{driver}/properties")])
        .about("See what a driver has to be told of a node"),
    on(
        rule("baremetal:driver:get_raid_logical_disk_properties", SYSTEM_READER),
        &[("GET", "/v1/drivers/{driver}/raid/logical_disk_properties")],
    )
    .about("See what RAID sets can be asked to be"),
    on(rule("baremetal:driver:vendor_passthru", SYSTEM_ADMIN), PASSTHRU).about("Call what only a driver has"),
    on(rule("baremetal:conductor:get", SYSTEM_READER), &[("GET", "/v1/conductors"), ("GET", "/v1/conductors/{hostname}")])
        .about("See who works on nodes"),
    on(rule("baremetal:shards:get", SYSTEM_READER), &[("GET", "/v1/shards")]).about("See shards"),
    on(
        rule("baremetal:allocation:get", ALLOCATION_READER),
        &[("GET", "/v1/allocations/{allocation}"), ("GET", "/v1/nodes/{node}/allocation")],
    )
    .about("See an allocation"),
    on(rule("baremetal:allocation:list", API_READER), &[("GET", "/v1/allocations")]).about("List one's own allocations"),
    on(rule("baremetal:allocation:list_all", SYSTEM_READER), &[("GET", "/v1/allocations")]).about("List all allocations"),
    on(rule("baremetal:allocation:create", ALLOCATION_MAKER), &[("POST", "/v1/allocations")]).about("Ask for a node"),
    on(rule("baremetal:allocation:create_restricted", SYSTEM_MEMBER), &[("POST", "/v1/allocations")])
        .about("Ask for a node in the name of others"),
    on(rule("baremetal:allocation:update", ALLOCATION_MEMBER), &[("PATCH", "/v1/allocations/{allocation}")]).about("Change an allocation"),
    on(
        rule("baremetal:allocation:delete", ALLOCATION_MEMBER),
        &[("DELETE", "/v1/allocations/{allocation}"), ("DELETE", "/v1/nodes/{node}/allocation")],
    )
    .about("Give a node back"),
    on(rule("baremetal:deploy_template:get", SYSTEM_READER), TEMPLATES_GET).about("See deploy templates"),
    on(rule("baremetal:deploy_template:create", SYSTEM_ADMIN), &[("POST", "/v1/deploy_templates")]).about("Add a deploy template"),
    on(rule("baremetal:deploy_template:update", SYSTEM_ADMIN), &[("PATCH", "/v1/deploy_templates/{template}")])
        .about("Change a deploy template"),
    on(rule("baremetal:deploy_template:delete", SYSTEM_ADMIN), &[("DELETE", "/v1/deploy_templates/{template}")])
        .about("Remove a deploy template"),
    on(rule("baremetal:runbook:get", RUNBOOK_READER), &[("GET", "/v1/runbooks/{runbook}"), ("GET", "/v1/runbooks/{runbook}/traits")])
        .about("See a runbook"),
    on(rule("baremetal:runbook:list", API_READER), &[("GET", "/v1/runbooks")]).about("List one's own and public runbooks"),
    on(rule("baremetal:runbook:list_all", SYSTEM_READER), &[("GET", "/v1/runbooks")]).about("List all runbooks"),
    on(rule("baremetal:runbook:create", RUNBOOK_MAKER), &[("POST", "/v1/runbooks")]).about("Add a runbook"),
    on(
        rule("baremetal:runbook:update", RUNBOOK_MANAGER),
        &[
            ("PATCH", "/v1/runbooks/{runbook}"),
            ("PUT", "/v1/runbooks/{runbook}/traits"),
            ("DELETE", "/v1/runbooks/{runbook}/traits"),
            ("PUT", "/v1/runbooks/{runbook}/traits/{trait}"),
            ("DELETE", "/v1/runbooks/{runbook}/traits/{trait}"),
        ],
    )
    .about("Change a runbook"),
    on(rule("baremetal:runbook:update:public", SYSTEM_MEMBER), &[("PATCH", "/v1/runbooks/{runbook}")])
        .about("Say whether every project may use a runbook"),
    on(rule("baremetal:runbook:update:owner", SYSTEM_MEMBER), &[("PATCH", "/v1/runbooks/{runbook}")]).about("Give a runbook to a project"),
    on(rule("baremetal:runbook:delete", RUNBOOK_MANAGER), &[("DELETE", "/v1/runbooks/{runbook}")]).about("Remove a runbook"),
    on(rule("baremetal:runbook:use", RUNBOOK_MANAGER), &[("PUT", "/v1/nodes/{node}/states/provision")]).about("Run a runbook on a node"),
    on(rule("baremetal:inspection_rule:get", SYSTEM_READER), &[("GET", "/v1/inspection_rules"), ("GET", "/v1/inspection_rules/{rule}")])
        .about("See inspection rules"),
    on(rule("baremetal:inspection_rule:create", SYSTEM_ADMIN), &[("POST", "/v1/inspection_rules")]).about("Add an inspection rule"),
    on(rule("baremetal:inspection_rule:update", SYSTEM_ADMIN), &[("PATCH", "/v1/inspection_rules/{rule}")])
        .about("Change an inspection rule"),
    on(
        rule("baremetal:inspection_rule:delete", SYSTEM_ADMIN),
        &[("DELETE", "/v1/inspection_rules"), ("DELETE", "/v1/inspection_rules/{rule}")],
    )
    .about("Remove inspection rules"),
];
