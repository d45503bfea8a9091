//! Random bodies and queries: whatever a client sends, it is the client's fault.

use http::Method;
use serde_json::{Map, Value, json};

use crate::desk::{Answer, Desk};
use crate::routes::{Ids, all, enveloped};
use crate::world::{World, on_each, on_postgres, on_sqlite};
use crate::{seed, text};

/// Bodies sent to each database, over all routes that take one.
const BODIES: usize = 2000;
/// Queries sent to each.
const QUERIES: usize = 600;

/// Small numbers from a seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const WORDS: [&str; 56] = [
    "",
    " ",
    "x",
    "victim",
    "admin",
    "default",
    "true",
    "0",
    "-1",
    "1e9",
    "\0",
    "a\0b",
    "\u{202e}ö🦀",
    "../../etc/passwd",
    "%00",
    "' OR 1=1 --",
    "10.0.0.0/24",
    "10.0.0.300",
    "0.0.0.0/0",
    "255.255.255.255",
    "::/0",
    "2001:db8::/64",
    "::ffff:10.0.0.1",
    "10.0.0.1",
    "52:54:00:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "11111111-2222-4333-8444-555555555555",
    "0123456789abcdef0123456789abcdef",
    "baremetal",
    "vlan",
    "redfish",
    "manage",
    "provide",
    "active",
    "deleted",
    "power on",
    "reboot",
    "add",
    "remove",
    "replace",
    "test",
    "/name",
    "/extra/a",
    "/",
    "/-",
    "/driver_info/x",
    "/properties/capabilities",
    "swarm-mode",
    "bm",
    "public",
    "raw",
    "bare",
    "http://127.0.0.1:1/",
    "https://[::1",
    "2026-11-21T12:00:00Z",
    "99999999999999999999",
];

const KEYS: [&str; 40] = [
    "name",
    "id",
    "uuid",
    "description",
    "enabled",
    "domain_id",
    "project_id",
    "tenant_id",
    "options",
    "tags",
    "network_id",
    "fixed_ips",
    "ip_address",
    "subnet_id",
    "mac_address",
    "binding:profile",
    "local_link_information",
    "allocation_pools",
    "gateway_ip",
    "cidr",
    "driver",
    "driver_info",
    "properties",
    "extra",
    "instance_info",
    "resource_class",
    "target",
    "configdrive",
    "labels",
    "node_count",
    "master_count",
    "op",
    "path",
    "value",
    "extra_specs",
    "visibility",
    "min_disk",
    "size",
    "password",
    "colour",
];

/// Any value, of any kind.
fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 9 } else { 12 }) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2 => json!([0, 1, -1, 255, 256, 4094, 4095, 65_536, i64::from(i32::MAX), i64::MAX, i64::MIN][dice.below(11)]),
        3 => json!([0.5, -0.0, 1e308, 1e-308][dice.below(4)]),
        4 => json!(u64::MAX),
        5 => json!(dice.one(&["é", "x", "\n", "🦀"]).repeat([64, 255, 256, 5000][dice.below(4)])),
        6..9 => json!(dice.one(&WORDS)),
        9 | 10 => {
            let many = dice.below(4);
            (0..many).map(|_| value(dice, depth - 1)).collect()
        }
        _ => {
            let many = dice.below(4);
            Value::Object((0..many).map(|_| (dice.one(&KEYS).to_owned(), value(dice, depth - 1))).collect::<Map<_, _>>())
        }
    }
}

/// Changes one place of a value at random.
fn spoil(dice: &mut Dice, it: &mut Value) {
    match it {
        Value::Object(map) if dice.below(6) > 0 => {
            let keys: Vec<String> = map.keys().cloned().collect();
            match (dice.below(8), keys.is_empty()) {
                (0, _) | (_, true) => drop(map.insert(dice.one(&KEYS).to_owned(), value(dice, 3))),
                (1, _) => drop(map.remove(&keys[dice.below(keys.len())])),
                _ => {
                    let key = &keys[dice.below(keys.len())];
                    spoil(dice, map.get_mut(key).unwrap());
                }
            }
        }
        Value::Array(list) if !list.is_empty() && dice.below(6) > 0 => match dice.below(8) {
            0 => list.push(value(dice, 3)),
            1 => list.push(list[0].clone()),
            _ => {
                let at = dice.below(list.len());
                spoil(dice, &mut list[at]);
            }
        },
        _ => *it = value(dice, 3),
    }
}

/// A body that would be understood; spoiled ones get deeper than those made of nothing.
fn example(method: &Method, path: &str, ids: &Ids) -> Value {
    let id = |path: &str| ids.fill(path).rsplit('/').next().unwrap().to_owned();
    let patch = json!([
        {"op": "add", "path": "/description", "value": "d"}, {"op": "replace", "path": "/name", "value": "n"},
        {"op": "add", "path": "/extra", "value": {"a": {"b": 1}}}, {"op": "remove", "path": "/extra/a"},
    ]);
    if *method == Method::PATCH && !path.starts_with("/identity") {
        return patch;
    }
    let network = id("/network/v2.0/networks/{id}");
    match path {
        "/identity/v3/auth/tokens" => json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": "nobody", "domain": {"id": "default"}, "password": "x"}}},
            "scope": {"project": {"name": "admin", "domain": {"name": "Default"}}},
        }}),
        "/identity/v3/users/{id}/password" => json!({"user": {"original_password": "a", "password": "b"}}),
        _ if path.starts_with("/identity/v3/users") => json!({"user": {
            "name": "n", "domain_id": "default", "default_project_id": id("/identity/v3/projects/{id}"), "email": "e", "enabled": true,
            "description": "d", "options": {},
        }}),
        _ if path.starts_with("/identity/v3/projects") => {
            json!({"project": {"name": "n", "domain_id": "default", "description": "d", "enabled": true, "is_domain": false, "tags": ["t"]}})
        }
        _ if path.starts_with("/identity/v3/domains") => json!({"domain": {"name": "n", "description": "d", "enabled": true}}),
        _ if path.starts_with("/identity/v3/roles") => json!({"role": {"name": "n", "description": "d"}}),
        _ if path.starts_with("/network/v2.0/networks") => json!({"network": {
            "name": "n", "description": "d", "admin_state_up": true, "shared": false, "router:external": false, "mtu": 1400,
            "port_security_enabled": true, "project_id": id("/identity/v3/projects/{id}"),
        }}),
        _ if path.starts_with("/network/v2.0/subnets") => json!({"subnet": {
            "name": "n", "network_id": network, "ip_version": 4, "cidr": "10.7.0.0/24", "gateway_ip": "10.7.0.1", "enable_dhcp": true,
            "allocation_pools": [{"start": "10.7.0.5", "end": "10.7.0.9"}, {"start": "10.7.0.15", "end": "10.7.0.19"}],
            "dns_nameservers": ["10.7.0.53"], "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.7.0.2"}],
        }}),
        _ if path.starts_with("/network/v2.0/ports") => json!({"port": {
            "name": "n", "network_id": network, "admin_state_up": true, "mac_address": "52:54:00:00:00:01", "device_id": "d",
            "fixed_ips": [{"subnet_id": id("/network/v2.0/subnets/{id}"), "ip_address": "10.0.0.77"}], "binding:host_id": "h",
            "binding:vnic_type": "baremetal",
            "binding:profile": {"local_link_information": [{"switch_id": "02:cf:00:00:00:01", "port_id": "p1", "switch_info": "leaf1"}]},
        }}),
        "/baremetal/v1/nodes" => json!({
            "name": "n", "driver": "redfish", "resource_class": "bm", "properties": {"cpus": 1, "capabilities": "boot_mode:uefi"},
            "driver_info": {"redfish_address": "http://127.0.0.1:8101", "redfish_username": "u", "redfish_password": "p"}, "extra": {"a": 1},
        }),
        "/baremetal/v1/nodes/{node}/states/power" => json!({"target": "power on", "timeout": 5}),
        "/baremetal/v1/nodes/{node}/states/provision" => json!({"target": "manage", "configdrive": null, "clean_steps": []}),
        "/baremetal/v1/nodes/{node}/states/raid" => json!({"logical_disks": [{"size_gb": 100, "raid_level": "1"}]}),
        "/baremetal/v1/nodes/{node}/states/boot_mode" => json!({"target": "uefi"}),
        "/baremetal/v1/nodes/{node}/states/secure_boot" => json!({"target": true}),
        "/baremetal/v1/nodes/{node}/states/console" => json!({"enabled": true}),
        "/baremetal/v1/nodes/{node}/traits" => json!({"traits": ["CUSTOM_A", "HW_CPU_X86_VMX"]}),
        "/baremetal/v1/events" => json!({"events": [{
            "event": "network.bind_port", "port_id": id("/network/v2.0/ports/{id}"), "mac_address": "52:54:00:00:00:02", "status": "ACTIVE",
        }]}),
        "/baremetal/v1/continue_inspection" => json!({"inventory": {"interfaces": [{"mac_address": "52:54:00:00:00:02"}]}, "error": null}),
        "/baremetal/v1/nodes/{node}/maintenance" => json!({"reason": "r"}),
        "/baremetal/v1/nodes/{node}/vifs" => json!({"id": id("/network/v2.0/ports/{id}")}),
        "/baremetal/v1/ports" => json!({
            "node_uuid": id("/baremetal/v1/nodes/{node}"), "address": "52:54:00:00:00:02", "pxe_enabled": true,
            "local_link_connection": {"switch_id": "02:cf:00:00:00:01", "port_id": "p9"}, "physical_network": "physnet1", "extra": {},
        }),
        "/baremetal/v1/heartbeat/{node}" => json!({
            "callback_url": "https://172.30.0.9:9999", "agent_version": "9.0", "agent_token": "t", "agent_status": "start", "agent_verify_ca": "x",
        }),
        "/image/v2/images" => json!({
            "name": "n", "disk_format": "raw", "container_format": "bare", "visibility": "private", "min_disk": 1, "min_ram": 1, "tags": ["t"],
            "os_distro": "debian", "protected": false,
        }),
        "/compute/v2.1/flavors" => json!({"flavor": {
            "name": "n", "ram": 1, "vcpus": 1, "disk": 1, "id": "auto", "swap": 0, "rxtx_factor": 1.0, "os-flavor-access:is_public": true,
        }}),
        "/compute/v2.1/flavors/{id}" => json!({"flavor": {"description": "d"}}),
        "/compute/v2.1/flavors/{id}/os-extra_specs" => json!({"extra_specs": {"resources:CUSTOM_BM": "1"}}),
        "/compute/v2.1/flavors/{id}/os-extra_specs/{key}" => json!({"x": "1"}),
        "/compute/v2.1/os-keypairs" => {
            json!({"keypair": {"name": "n", "type": "ssh", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA n"}})
        }
        "/container-infra/v1/clustertemplates" => json!({
            "name": "n", "image_id": "victim", "keypair_id": null, "external_network_id": "public", "coe": "swarm-mode", "server_type": "bm",
            "flavor_id": "victim", "master_flavor_id": "victim", "fixed_subnet": "10.0.0.0/24", "labels": {"a": "b"}, "public": false,
            "tls_disabled": false, "network_driver": "docker", "docker_volume_size": 1, "registry_enabled": false, "master_lb_enabled": false,
        }),
        "/container-infra/v1/clusters" => json!({
            "name": "n", "cluster_template_id": "n", "node_count": 1, "master_count": 1, "keypair": null, "labels": {"a": "b"},
            "create_timeout": 60, "merge_labels": true,
        }),
        "/container-infra/v1/certificates" => {
            json!({"cluster_uuid": "n", "csr": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"})
        }
        _ => json!({}),
    }
}

#[track_caller]
fn theirs(service: &str, answer: &Answer, what: &str) {
    let status = answer.status.as_u16();
    // All VLANs may be given out by now: that is the one thing that cannot be done just then.
    let is_full = status == 503 && answer.body.pointer("/NeutronError/type").is_some_and(|it| it == "NoNetworkAvailable");
    assert!(status < 500 || is_full, "{what}: {status} {}", answer.body);
    assert_ne!(status, 401, "{what}: {}", answer.body);
    if status >= 400 {
        enveloped(service, answer);
    }
}

#[test]
fn no_body_is_our_fault() {
    let from = seed();
    on_sqlite(async |world| bodies(world, Dice(from)).await);
}

// A test of its own: together they would take the runner's patience on a busy machine.
#[test]
fn no_body_is_our_fault_on_postgresql() {
    let from = seed();
    on_postgres(async |world| bodies(world, Dice(from)).await);
}

async fn bodies(world: &World, mut dice: Dice) {
    let desk = Desk::open(world).await;
    let ids = Ids::made(&desk).await;
    let mut targets = Vec::new();
    for route in all() {
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            if route.methods.contains(&method) {
                targets.push((route.clone(), method));
            }
        }
    }
    let mut understood = 0;
    for round in 0..BODIES {
        let (route, method) = &targets[round % targets.len()];
        let mut body = example(method, &route.path, &ids);
        match dice.below(8) {
            0 => body = value(&mut dice, 4),
            1 => {}
            _ => (0..=dice.below(3)).for_each(|_| spoil(&mut dice, &mut body)),
        }
        let kind = match (route.service, method.as_str()) {
            ("/image", "PATCH") => "application/openstack-images-v2.1-json-patch",
            _ if route.path.ends_with("/file") => "application/octet-stream",
            _ => "application/json",
        };
        let path = ids.fill(&route.path);
        let headers = [("openstack-api-version", "baremetal latest,compute latest,container-infra latest"), ("content-type", kind)];
        // Whoever logs in has no token yet.
        let answer = desk.call(&desk.admin, method.clone(), &path, &headers, Some(body.clone())).await;
        let what = format!("on {}, round {round}, {method} {path} {body}", world.name());
        if path.ends_with("tokens") || path.ends_with("/password") || path.contains("/heartbeat/") {
            assert!(answer.status.as_u16() < 500, "{what}: {}", answer.body);
        } else {
            theirs(route.service, &answer, &what);
        }
        understood += usize::from(answer.status.is_success());
    }
    // It would prove little if nearly all were turned away at the door.
    assert!(understood > BODIES / 25, "{understood} were understood");
    // What was stored can be read.
    for route in all().iter().filter(|it| it.methods.contains(&Method::GET)) {
        let answer = desk.get(&desk.admin, &ids.fill(&route.path)).await;
        assert!(answer.status.as_u16() < 500, "{}: {}", route.path, answer.body);
    }
    assert_eq!(text(&desk.get(&desk.admin, "/identity/v3/users?name=admin").await.expect(200), "/users/0/name"), "admin");
}

#[test]
fn no_query_is_our_fault() {
    let from = seed();
    on_each(async |world| {
        let mut dice = Dice(from);
        let desk = Desk::open(world).await;
        let ids = Ids::made(&desk).await;
        let routes: Vec<_> = all().into_iter().filter(|it| it.methods.contains(&Method::GET)).collect();
        let controls = [
            "limit",
            "marker",
            "sort_key",
            "sort_dir",
            "fields",
            "page_reverse",
            "changed_since",
            "detail",
            "node",
            "addresses",
            "node_uuid",
        ];
        for round in 0..QUERIES {
            let route = &routes[round % routes.len()];
            let mut query = form_urlencoded::Serializer::new(String::new());
            for _ in 0..=dice.below(3) {
                let key = if dice.below(3) == 0 { dice.one(&KEYS) } else { dice.one(&controls) };
                query.append_pair(key, if dice.below(4) == 0 { dice.one(&KEYS) } else { dice.one(&WORDS) });
            }
            let path = if dice.below(4) == 0 {
                let word: String = form_urlencoded::byte_serialize(dice.one(&WORDS).as_bytes()).collect();
                let filled: Vec<&str> = route.path.split('/').map(|it| if it.starts_with('{') { word.as_str() } else { it }).collect();
                filled.join("/")
            } else {
                ids.fill(&route.path)
            };
            let path = format!("{path}?{}", query.finish());
            let answer = desk.get(&desk.admin, &path).await;
            assert!(answer.status.as_u16() < 500, "on {}, round {round}, {path}: {} {}", world.name(), answer.status, answer.body);
        }
    });
}
