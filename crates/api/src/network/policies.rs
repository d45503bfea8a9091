//! The declared default policies of the network service, those of Neutron as of 2026 (Source: `neutron/conf/policies`), for what is
//! offered here.
//!
//! Neutron's own kind of check, `field:networks:shared=True`, is written as a comparison with the attribute. Two defaults are stricter than
//! Neutron's, in which everybody with a token sees what is shared and makes ports on it: seeing takes the role reader, making member.

use model::net::{Network, Port, Subnet};
use model::{Id, Object};
use policy::{Rule, Scope, Target, rule};
use serde_json::{Map, Value, json};

/// Tokens of projects only.
const PROJECT: &[Scope] = &[Scope::Project];

macro_rules! admin {
    () => {
        "rule:network:context_is_admin"
    };
}
macro_rules! service {
    () => {
        "rule:service_api"
    };
}
macro_rules! project {
    ($role:literal) => {
        concat!("(role:", $role, " and project_id:%(project_id)s)")
    };
}
macro_rules! network_owner {
    ($role:literal) => {
        concat!("(role:", $role, " and project_id:%(network:project_id)s)")
    };
}
macro_rules! any {
    ($first:expr $(, $more:expr)*) => {
        concat!($first $(, " or ", $more)*)
    };
}

const ADMIN: &str = admin!();
const ADMIN_OR_SERVICE: &str = any!(admin!(), service!());
const ADMIN_OR_MEMBER: &str = any!(admin!(), project!("member"));
const MEMBER_OR_SERVICE: &str = any!(admin!(), project!("member"), service!());
const ON_OWN_NETWORK: &str = any!(admin!(), service!(), network_owner!("member"));
const ON_SEEN_NETWORK: &str = any!(admin!(), service!(), network_owner!("member"), "(role:member and rule:shared)");
const SUBNET_MEMBER: &str = any!(project!("member"), admin!(), network_owner!("member"));
const NO_NETWORK_DEVICE: &str = any!("not rule:network_device", admin!(), service!(), network_owner!("member"));

const fn on(rule: Rule, operations: &'static [(&'static str, &'static str)]) -> Rule {
    rule.scopes(PROJECT).guards(operations)
}

const NETWORK_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/networks")];
const NETWORK_GET: &[(&str, &str)] = &[("GET", "/v2.0/networks"), ("GET", "/v2.0/networks/{id}")];
const NETWORK_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/networks/{id}")];
const PORT_CREATE: &[(&str, &str)] = &[("POST", "/v2.0/ports")];
const PORT_GET: &[(&str, &str)] = &[("GET", "/v2.0/ports"), ("GET", "/v2.0/ports/{id}")];
const PORT_UPDATE: &[(&str, &str)] = &[("PUT", "/v2.0/ports/{id}")];

/// The rules.
pub(crate) static RULES: &[Rule] = &[
    rule("network:context_is_admin", "role:admin").about("Base rule: an administrator"),
    rule("service_api", "role:service").about("Base rule: another service"),
    rule("context_is_advsvc", "role:advsvc").about("Base rule: a service of networks, by its older role"),
    rule("shared", "True:%(shared)s").about("Base rule: the network is shared with all"),
    rule("external", "True:%(router:external)s").about("Base rule: the network is an external one"),
    rule("network_device", "'network':%(device_owner:kind)s").about("Base rule: the port belongs to the network service"),
    rule("compute_device", "'compute':%(device_owner:kind)s").about("Base rule: the port belongs to the compute service"),
    rule("baremetal_device", "'baremetal':%(device_owner:kind)s").about("Base rule: the port belongs to a bare-metal machine"),
    rule("manila_device", "'manila':%(device_owner:kind)s").about("Base rule: the port belongs to the file-share service"),
    // Networks.
    on(rule("create_network", ADMIN_OR_MEMBER), NETWORK_CREATE).about("Create a network"),
    on(rule("create_network:shared", ADMIN), NETWORK_CREATE).about("Create a network shared with all"),
    on(rule("create_network:router:external", ADMIN), NETWORK_CREATE).about("Create an external network"),
    on(rule("create_network:port_security_enabled", ADMIN_OR_MEMBER), NETWORK_CREATE).about("Choose port security for a new network"),
    on(rule("create_network:provider:network_type", ADMIN), NETWORK_CREATE).about("Choose the kind of a new network's segment"),
    on(rule("create_network:provider:physical_network", ADMIN), NETWORK_CREATE).about("Choose the fabric of a new network's segment"),
    on(rule("create_network:provider:segmentation_id", ADMIN), NETWORK_CREATE).about("Choose the VLAN of a new network"),
    on(
        rule(
            "get_network",
            any!(admin!(), project!("reader"), service!(), "(role:reader and (rule:shared or rule:external))", "rule:context_is_advsvc"),
        ),
        NETWORK_GET,
    )
    .about("See a network"),
    on(rule("get_network:provider:network_type", ADMIN), NETWORK_GET).about("See the kind of a network's segment"),
    on(rule("get_network:provider:physical_network", ADMIN), NETWORK_GET).about("See the fabric of a network's segment"),
    on(rule("get_network:provider:segmentation_id", ADMIN), NETWORK_GET).about("See the VLAN of a network"),
    on(rule("update_network", ADMIN_OR_MEMBER), NETWORK_UPDATE).about("Change a network"),
    on(rule("update_network:shared", ADMIN), NETWORK_UPDATE).about("Share a network with all, or no longer"),
    on(rule("update_network:router:external", ADMIN), NETWORK_UPDATE).about("Make a network an external one, or no longer"),
    on(rule("update_network:port_security_enabled", ADMIN_OR_MEMBER), NETWORK_UPDATE).about("Change a network's port security"),
    on(rule("delete_network", ADMIN_OR_MEMBER), &[("DELETE", "/v2.0/networks/{id}")]).about("Delete a network"),
    // Subnets.
    on(rule("create_subnet", any!(admin!(), network_owner!("member"))), &[("POST", "/v2.0/subnets")]).about("Create a subnet"),
    on(
        rule(
            "get_subnet",
            any!(project!("reader"), "(role:reader and (rule:shared or rule:external))", admin!(), network_owner!("reader"), service!()),
        ),
        &[("GET", "/v2.0/subnets"), ("GET", "/v2.0/subnets/{id}")],
    )
    .about("See a subnet"),
    on(rule("update_subnet", SUBNET_MEMBER), &[("PUT", "/v2.0/subnets/{id}")]).about("Change a subnet"),
    on(rule("delete_subnet", SUBNET_MEMBER), &[("DELETE", "/v2.0/subnets/{id}")]).about("Delete a subnet"),
    // Ports.
    on(rule("create_port", ON_SEEN_NETWORK), PORT_CREATE).about("Create a port"),
    on(rule("create_port:device_id", MEMBER_OR_SERVICE), PORT_CREATE).about("Say which device a new port is for"),
    on(rule("create_port:device_owner", NO_NETWORK_DEVICE), PORT_CREATE).about("Say what kind of device a new port is for"),
    on(rule("create_port:mac_address", ON_OWN_NETWORK), PORT_CREATE).about("Choose the hardware address of a new port"),
    on(rule("create_port:fixed_ips", ON_SEEN_NETWORK), PORT_CREATE).about("Choose addresses or subnets of a new port"),
    on(rule("create_port:fixed_ips:ip_address", ON_OWN_NETWORK), PORT_CREATE).about("Choose addresses of a new port"),
    on(rule("create_port:fixed_ips:subnet_id", ON_SEEN_NETWORK), PORT_CREATE).about("Choose subnets of a new port"),
    on(rule("create_port:port_security_enabled", ON_OWN_NETWORK), PORT_CREATE).about("Choose port security for a new port"),
    on(rule("create_port:binding:host_id", ADMIN_OR_SERVICE), PORT_CREATE).about("Say where a new port is bound"),
    on(rule("create_port:binding:profile", service!()), PORT_CREATE).about("Say how a new port is bound"),
    on(rule("create_port:binding:vnic_type", MEMBER_OR_SERVICE), PORT_CREATE).about("Choose the kind of a new port's binding"),
    on(rule("create_port:allowed_address_pairs", ON_OWN_NETWORK), PORT_CREATE).about("Allow a new port more addresses"),
    on(rule("get_port", any!(admin!(), service!(), network_owner!("reader"), project!("reader"))), PORT_GET).about("See a port"),
    on(rule("get_port:binding:vif_type", ADMIN_OR_SERVICE), PORT_GET).about("See whether a port is bound"),
    on(rule("get_port:binding:vif_details", ADMIN_OR_SERVICE), PORT_GET).about("See details of a port's binding"),
    on(rule("get_port:binding:host_id", ADMIN_OR_SERVICE), PORT_GET).about("See where a port is bound"),
    on(rule("get_port:binding:profile", ADMIN_OR_SERVICE), PORT_GET).about("See how a port is bound"),
    on(rule("update_port", any!(admin!(), service!(), project!("member"))), PORT_UPDATE).about("Change a port"),
    on(rule("update_port:device_id", MEMBER_OR_SERVICE), PORT_UPDATE).about("Change which device a port is for"),
    on(rule("update_port:device_owner", NO_NETWORK_DEVICE), PORT_UPDATE).about("Change what kind of device a port is for"),
    on(rule("update_port:mac_address", any!(admin!(), service!(), network_owner!("manager"))), PORT_UPDATE)
        .about("Change a port's hardware address"),
    on(rule("update_port:fixed_ips", ON_OWN_NETWORK), PORT_UPDATE).about("Change a port's addresses or subnets"),
    on(rule("update_port:fixed_ips:ip_address", ON_OWN_NETWORK), PORT_UPDATE).about("Change a port's addresses"),
    on(rule("update_port:fixed_ips:subnet_id", ON_SEEN_NETWORK), PORT_UPDATE).about("Change a port's subnets"),
    on(rule("update_port:port_security_enabled", ON_OWN_NETWORK), PORT_UPDATE).about("Change a port's port security"),
    on(rule("update_port:binding:host_id", ADMIN_OR_SERVICE), PORT_UPDATE).about("Change where a port is bound"),
    on(rule("update_port:binding:profile", service!()), PORT_UPDATE).about("Change how a port is bound"),
    on(rule("update_port:binding:vnic_type", any!(admin!(), service!(), project!("member"))), PORT_UPDATE)
        .about("Change the kind of a port's binding"),
    on(rule("update_port:allowed_address_pairs", ON_OWN_NETWORK), PORT_UPDATE).about("Allow a port more addresses"),
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
];

fn owned<P>(project: Option<&Id<P>>, out: &mut Map<String, Value>, keys: [&str; 2]) {
    // Without an owner the keys are missing, so that a caller without a project is not taken for it.
    for (key, project) in keys.into_iter().zip([project; 2]) {
        if let Some(project) = project {
            out.insert(key.to_owned(), json!(project));
        }
    }
}

fn with_network(network: Option<&Object<Network>>, out: &mut Map<String, Value>) {
    if let Some(network) = network {
        owned(network.project_id.as_ref(), out, ["network:project_id", "network:tenant_id"]);
        out.insert("shared".to_owned(), json!(network.desired.shared));
        out.insert("router:external".to_owned(), json!(network.desired.external));
    }
}

/// What rules see of an object of that project of which nothing else is known.
pub(super) fn of_project<P>(project: Option<&Id<P>>) -> Target {
    let mut out = Map::new();
    owned(project, &mut out, ["project_id", "tenant_id"]);
    Value::Object(out)
}

/// What rules see of a network.
pub(super) fn of_network(network: &Object<Network>) -> Target {
    let mut out = Map::new();
    owned(network.project_id.as_ref(), &mut out, ["project_id", "tenant_id"]);
    with_network(Some(network), &mut out);
    Value::Object(out)
}

/// What rules see of a subnet and the network it is on.
pub(super) fn of_subnet(subnet: &Object<Subnet>, network: Option<&Object<Network>>) -> Target {
    let mut out = Map::new();
    owned(subnet.project_id.as_ref(), &mut out, ["project_id", "tenant_id"]);
    with_network(network, &mut out);
    Value::Object(out)
}

/// What rules see of a port and the network it is on. `device_owner:kind` is what stands before the colon of `device_owner`.
pub(super) fn of_port(port: &Object<Port>, network: Option<&Object<Network>>) -> Target {
    let mut out = Map::new();
    owned(port.project_id.as_ref(), &mut out, ["project_id", "tenant_id"]);
    with_network(network, &mut out);
    let owner = port.desired.device_owner.as_str();
    out.insert("network_id".to_owned(), json!(port.desired.network_id));
    out.insert("device_id".to_owned(), json!(port.desired.device_id));
    out.insert("device_owner".to_owned(), json!(owner));
    out.insert("device_owner:kind".to_owned(), json!(owner.split_once(':').map_or("", |(kind, _)| kind)));
    Value::Object(out)
}
