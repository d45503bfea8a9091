//! Bad input gets a clear 4xx in the service's own error form and changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use net::http::Request;
use serde_json::{Value, json};

use crate::support::api::{Answer, Service, Session, send};
use crate::support::serve::{Serve, Setting};
use crate::support::{database, say};

use Service::{Baremetal, Compute, ContainerInfra, Identity, Image, Network};

/// An id that nothing has.
const NOBODY: &str = "6b1f2a30-7c7e-4f1f-9d57-0a3f7f9a0002";

/// What is sent as a body.
enum Body {
    None,
    Json(Value),
    /// These bytes, said to be of this type.
    Raw(&'static str, Vec<u8>),
}

struct Bad {
    service: Service,
    method: Method,
    path: String,
    body: Body,
    /// The statuses that are right.
    right: &'static [u16],
}

/// What is wrong with an answer as an error of the service, if anything is.
fn malformed(service: Service, answer: &Answer) -> Option<String> {
    let body = &answer.body;
    let is_text = |it: &Value| it.as_str().is_some_and(|text| !text.trim().is_empty());
    let code = json!(answer.status);
    let good = match service {
        // Upstream, Keystone's middleware stands before the services and answers in Keystone's form.
        _ if answer.status == 401 && body["error"].is_object() => is_text(&body["error"]["message"]) && body["error"]["code"] == code,
        Identity => is_text(&body["error"]["message"]) && is_text(&body["error"]["title"]) && body["error"]["code"] == code,
        Network => {
            let error = &body["NeutronError"];
            is_text(&error["message"]) && is_text(&error["type"]) && error["detail"].is_string()
        }
        Baremetal => body["error_message"].as_str().is_some_and(|inner| {
            let inner: Value = serde_json::from_str(inner).unwrap_or(Value::Null);
            is_text(&inner["faultstring"]) && inner["faultcode"] == "Client"
        }),
        Image => is_text(&body["message"]) && is_text(&body["title"]),
        Compute => body.as_object().is_some_and(|it| it.len() == 1 && it.values().all(|it| is_text(&it["message"]) && it["code"] == code)),
        ContainerInfra => {
            is_text(&body["errors"][0]["detail"]) && is_text(&body["errors"][0]["title"]) && body["errors"][0]["status"] == code
        }
    };
    let has_id = answer.headers.contains_key("x-openstack-request-id");
    match (good, has_id) {
        (true, true) => None,
        (false, _) => Some(format!("not in the form of {service:?}: {}", answer.text)),
        (_, false) => Some("no request id".into()),
    }
}

/// A healthy object of each kind, to be spoilt: collection, and the request that would make it.
fn wishes(world: &World) -> Vec<(Service, &'static str, &'static str, Value)> {
    vec![
        (Identity, "/projects", "project", json!({"name": "p", "domain_id": "default"})),
        (Identity, "/users", "user", json!({"name": "u", "password": "secret", "domain_id": "default"})),
        (Identity, "/roles", "role", json!({"name": "r"})),
        (Network, "/networks", "network", json!({"name": "n"})),
        (Network, "/subnets", "subnet", json!({"network_id": world.network, "cidr": "10.9.0.0/24", "ip_version": 4})),
        (Network, "/ports", "port", json!({"network_id": world.network})),
        (Baremetal, "/nodes", "", json!({"driver": "redfish", "name": "b"})),
        (Baremetal, "/ports", "", json!({"node_uuid": world.node, "address": "52:54:00:00:00:77"})),
        (Image, "/images", "", json!({"name": "i", "disk_format": "raw", "container_format": "bare"})),
        (Compute, "/flavors", "flavor", json!({"name": "f", "ram": 512, "disk": 4, "vcpus": 1})),
        (Compute, "/os-keypairs", "keypair", json!({"name": "k"})),
        (
            ContainerInfra,
            "/clustertemplates",
            "",
            json!({"name": "t", "coe": "swarm-mode", "server_type": "bm", "image_id": world.image, "flavor_id": "f0", "master_flavor_id": "f0", "external_network_id": world.network}),
        ),
        (ContainerInfra, "/clusters", "", json!({"name": "c", "cluster_template_id": world.template, "node_count": 1, "master_count": 1})),
    ]
}

/// What is wrong about a field, and must be said: kind of object, field, value.
fn spoilt() -> Vec<(&'static str, &'static str, Value)> {
    let long = "x".repeat(300);
    vec![
        ("/projects", "name", json!("")),
        ("/projects", "name", json!(long)),
        ("/projects", "name", json!(5)),
        ("/projects", "enabled", json!("perhaps")),
        ("/projects", "domain_id", json!("nowhere")),
        ("/users", "name", json!("")),
        ("/users", "name", json!(null)),
        ("/users", "password", json!(["a"])),
        ("/users", "domain_id", json!("nowhere")),
        ("/roles", "name", json!("")),
        ("/roles", "name", json!({})),
        ("/networks", "name", json!(long)),
        ("/networks", "name", json!(7)),
        ("/networks", "admin_state_up", json!("maybe")),
        ("/networks", "nonsense", json!(1)),
        ("/networks", "id", json!(NOBODY)),
        ("/networks", "status", json!("ACTIVE")),
        ("/networks", "provider:segmentation_id", json!(4094)),
        ("/networks", "provider:segmentation_id", json!(0)),
        ("/networks", "provider:segmentation_id", json!("x")),
        ("/networks", "provider:network_type", json!("vxlan-of-mine")),
        ("/networks", "provider:physical_network", json!("elsewhere")),
        ("/subnets", "cidr", json!("10.9.0.0/33")),
        ("/subnets", "cidr", json!("ten")),
        ("/subnets", "cidr", json!(10)),
        ("/subnets", "cidr", json!("fe80::/64")),
        ("/subnets", "ip_version", json!(5)),
        ("/subnets", "ip_version", json!(6)),
        ("/subnets", "network_id", json!(NOBODY)),
        ("/subnets", "network_id", json!("no id")),
        ("/subnets", "gateway_ip", json!("10.9.0.255")),
        ("/subnets", "gateway_ip", json!("x")),
        ("/subnets", "allocation_pools", json!([{"start": "10.9.0.9", "end": "10.9.0.2"}])),
        ("/subnets", "allocation_pools", json!([{"start": "10.8.0.9", "end": "10.8.0.20"}])),
        ("/subnets", "allocation_pools", json!("all")),
        ("/subnets", "dns_nameservers", json!(["not an address"])),
        ("/subnets", "enable_dhcp", json!("maybe")),
        ("/ports", "network_id", json!(NOBODY)),
        ("/ports", "mac_address", json!("52:54:00:00:00")),
        ("/ports", "mac_address", json!("01:00:5e:00:00:01")),
        ("/ports", "fixed_ips", json!([{"ip_address": "10.250.0.1"}])),
        ("/ports", "fixed_ips", json!([{"subnet_id": NOBODY}])),
        ("/ports", "fixed_ips", json!("any")),
        ("/ports", "binding:profile", json!("x")),
        ("/ports", "binding:vnic_type", json!("telepathy")),
        ("/nodes", "driver", json!("ipmi-of-mine")),
        ("/nodes", "name", json!("not a name")),
        ("/nodes", "name", json!("detail")),
        ("/nodes", "driver_info", json!("x")),
        ("/nodes", "properties", json!([])),
        ("/nodes", "uuid", json!("x")),
        ("/nodes", "nonsense", json!(1)),
        ("/nodes", "provision_state", json!("active")),
        ("/nodes", "resource_class", json!(7)),
        ("/bm-ports", "address", json!("x")),
        ("/bm-ports", "address", json!("52:54:00:00:00:01")),
        ("/bm-ports", "node_uuid", json!(NOBODY)),
        ("/bm-ports", "node_uuid", json!(null)),
        ("/bm-ports", "local_link_connection", json!({"switch_id": "x", "port_id": "p1"})),
        ("/bm-ports", "local_link_connection", json!("x")),
        ("/bm-ports", "pxe_enabled", json!("perhaps")),
        ("/images", "disk_format", json!("paper")),
        ("/images", "container_format", json!(5)),
        ("/images", "visibility", json!("everywhere")),
        ("/images", "min_ram", json!(-1)),
        ("/images", "id", json!("x")),
        ("/images", "status", json!("active")),
        ("/images", "name", json!(7)),
        ("/flavors", "ram", json!(-1)),
        ("/flavors", "ram", json!("much")),
        ("/flavors", "vcpus", json!(0)),
        ("/flavors", "name", json!("")),
        ("/flavors", "name", json!(long)),
        ("/flavors", "nonsense", json!(1)),
        ("/os-keypairs", "name", json!("")),
        ("/os-keypairs", "name", json!("a/b")),
        ("/os-keypairs", "public_key", json!("no key")),
        ("/os-keypairs", "type", json!("y509")),
        ("/clustertemplates", "coe", json!("abacus")),
        ("/clustertemplates", "coe", json!(null)),
        ("/clustertemplates", "server_type", json!("balloon")),
        ("/clustertemplates", "image_id", json!(NOBODY)),
        ("/clustertemplates", "image_id", json!(null)),
        ("/clustertemplates", "flavor_id", json!(NOBODY)),
        ("/clustertemplates", "external_network_id", json!(NOBODY)),
        ("/clustertemplates", "labels", json!("x")),
        ("/clustertemplates", "labels", json!({"fixed_subnet_cidr": "ten"})),
        ("/clustertemplates", "nonsense", json!(1)),
        ("/clusters", "cluster_template_id", json!(NOBODY)),
        ("/clusters", "cluster_template_id", json!(null)),
        ("/clusters", "node_count", json!(0)),
        ("/clusters", "node_count", json!(-3)),
        ("/clusters", "node_count", json!("two")),
        ("/clusters", "node_count", json!(1_000_000)),
        ("/clusters", "master_count", json!(2)),
        ("/clusters", "name", json!("-")),
        ("/clusters", "name", json!("semi;colon")),
        ("/clusters", "name", json!(long)),
        ("/clusters", "create_timeout", json!(-1)),
        ("/clusters", "keypair", json!("nobody's")),
        ("/clusters", "labels", json!({"fixed_subnet_cidr": "10.0.0.0/31"})),
        ("/clusters", "nonsense", json!(1)),
    ]
}

/// What is there for bad requests to spoil.
struct World {
    admin: Session,
    network: String,
    node: String,
    image: String,
    template: String,
}

impl World {
    fn new(admin: Session) -> Self {
        let text = |object: Value, field: &str| object[field].as_str().unwrap().to_owned();
        let network =
            text(admin.create(Network, "/networks", "network", &json!({"network": {"name": "kept", "router:external": true}})), "id");
        let node = json!({"name": "kept", "driver": "redfish", "driver_info": {"redfish_address": "http://127.0.0.1:9", "redfish_system_id": "/redfish/v1/Systems/1"}});
        let node = text(admin.create(Baremetal, "/nodes", "", &node), "uuid");
        let port = json!({"node_uuid": node, "address": "52:54:00:00:00:01"});
        admin.create(Baremetal, "/ports", "", &port);
        let image = json!({"name": "kept", "disk_format": "raw", "container_format": "bare", "os_distro": "debian"});
        let image = text(admin.create(Image, "/images", "", &image), "id");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"an image").unwrap();
        admin.upload(&image, file.path());
        let flavor = json!({"flavor": {"name": "f0", "ram": 512, "disk": 4, "vcpus": 1}});
        let flavor = text(admin.create(Compute, "/flavors", "flavor", &flavor), "id");
        let specs = json!({"extra_specs": {"resources:CUSTOM_BAREMETAL": "1"}});
        let answer = admin.call(Method::POST, Compute, &format!("/flavors/{flavor}/os-extra_specs"), Some(&specs));
        assert!(answer.is_success(), "{}", answer.text);
        let template = json!({
            "name": "kept", "coe": "swarm-mode", "server_type": "bm", "image_id": image, "flavor_id": "f0", "master_flavor_id": "f0",
            "external_network_id": network,
        });
        let template = text(admin.create(ContainerInfra, "/clustertemplates", "", &template), "uuid");
        Self { admin, network, node, image, template }
    }

    /// Everything the APIs show.
    fn shown(&self) -> BTreeMap<String, Vec<Value>> {
        let lists = [
            (Identity, "/projects"),
            (Identity, "/users"),
            (Identity, "/roles"),
            (Identity, "/domains"),
            (Identity, "/role_assignments"),
            (Network, "/networks"),
            (Network, "/subnets"),
            (Network, "/ports"),
            // Looked at first, a project has its default group, whatever is refused later.
            (Network, "/security-groups"),
            (Baremetal, "/nodes"),
            (Baremetal, "/ports"),
            (Image, "/images"),
            (Compute, "/flavors"),
            (ContainerInfra, "/clustertemplates"),
            (ContainerInfra, "/clusters"),
        ];
        lists.into_iter().map(|(service, path)| (format!("{service:?} {path}"), self.admin.list(service, path))).collect()
    }

    fn send(&self, bad: &Bad) -> Answer {
        let Bad { service, method, path, body, .. } = bad;
        let request = match body {
            Body::None => self.admin.request(method.clone(), *service, path, None),
            Body::Json(value) => self.admin.request(method.clone(), *service, path, Some(value)),
            Body::Raw(kind, bytes) => {
                let mut request = self.admin.request(method.clone(), *service, path, None).header("content-type", kind);
                request.body = bytes.clone().into();
                request
            }
        };
        send(request, Duration::from_secs(20)).unwrap_or_else(|error| panic!("{service:?} {method} {path}: {error}"))
    }
}

/// Requests that are bad whatever the noun.
fn anywhere(wishes: &[(Service, &'static str, &'static str, Value)]) -> Vec<Bad> {
    let mut out = Vec::new();
    let deep = [vec![b'['; 3_000], vec![b']'; 3_000]].concat();
    for (service, path, single, wish) in wishes {
        let mut bad = |method: Method, path: String, body: Body, right| out.push(Bad { service: *service, method, path, body, right });
        let post = |bytes: &[u8]| Body::Raw("application/json", bytes.to_vec());
        bad(Method::POST, (*path).into(), post(b"{"), &[400]);
        bad(Method::POST, (*path).into(), post(b""), &[400]);
        bad(Method::POST, (*path).into(), post(b"\xff\xfe{}"), &[400]);
        bad(Method::POST, (*path).into(), post(b"[]"), &[400]);
        bad(Method::POST, (*path).into(), post(b"\"text\""), &[400]);
        bad(Method::POST, (*path).into(), post(&deep), &[400]);
        bad(Method::POST, (*path).into(), post(&vec![b' '; (1 << 20) + 1]), &[400, 413]);
        bad(Method::POST, (*path).into(), Body::Raw("text/plain", b"name=x".to_vec()), &[400, 415]);
        if !single.is_empty() {
            bad(Method::POST, (*path).into(), Body::Json(wish.clone()), &[400]);
            bad(Method::POST, (*path).into(), Body::Json(json!({*single: null})), &[400]);
            bad(Method::POST, (*path).into(), Body::Json(json!({*single: []})), &[400]);
        }
        bad(Method::PUT, (*path).into(), Body::Json(json!({})), &[404, 405]);
        bad(Method::GET, format!("{path}/{NOBODY}"), Body::None, &[404]);
        bad(Method::DELETE, format!("{path}/{NOBODY}"), Body::None, &[404]);
        bad(Method::GET, format!("{path}/%ff%fe"), Body::None, &[400, 404]);
        bad(Method::GET, format!("{path}/..%2f..%2fetc%2fpasswd"), Body::None, &[400, 404]);
        bad(Method::GET, format!("{path}/{NOBODY}/nonsense/more"), Body::None, &[404]);
        let patch =
            if *service == Identity { json!({*single: {"name": "x"}}) } else { json!([{"op": "replace", "path": "/name", "value": "x"}]) };
        match service {
            Identity | Baremetal | ContainerInfra => bad(Method::PATCH, format!("{path}/{NOBODY}"), Body::Json(patch), &[404]),
            Network => bad(Method::PUT, format!("{path}/{NOBODY}"), Body::Json(json!({*single: {"name": "x"}})), &[404]),
            Image => {
                let patch = Body::Raw("application/openstack-images-v2.1-json-patch", patch.to_string().into_bytes());
                bad(Method::PATCH, format!("{path}/{NOBODY}"), patch, &[404]);
            }
            Compute => {}
        }
        if !matches!(service, Identity | Compute) {
            bad(Method::GET, format!("{path}?limit=-1"), Body::None, &[400]);
            bad(Method::GET, format!("{path}?limit=many"), Body::None, &[400]);
        }
    }
    for service in Service::ALL {
        out.push(Bad { service, method: Method::GET, path: "/no-such-thing".into(), body: Body::None, right: &[404] });
    }
    out
}

/// Requests that are bad in a way of their own.
fn particular(world: &World) -> Vec<Bad> {
    let mut out = Vec::new();
    let mut bad = |service, method, path: String, body, right| out.push(Bad { service, method, path, body, right });
    let patch = |op: &str, path: &str, value: Value| Body::Json(json!([{"op": op, "path": path, "value": value}]));
    let node = format!("/nodes/{}", world.node);
    for (target, right) in [("dance", &[400_u16] as &[u16]), ("active", &[400, 409]), ("deleted", &[400, 409]), ("provide", &[400, 409])] {
        bad(Baremetal, Method::PUT, format!("{node}/states/provision"), Body::Json(json!({"target": target})), right);
    }
    bad(Baremetal, Method::PUT, format!("{node}/states/provision"), Body::Json(json!({})), &[400]);
    bad(Baremetal, Method::PUT, format!("{node}/states/power"), Body::Json(json!({"target": "explode"})), &[400]);
    bad(Baremetal, Method::PATCH, node.clone(), patch("replace", "/provision_state", json!("available")), &[400]);
    bad(Baremetal, Method::PATCH, node.clone(), patch("replace", "/uuid", json!(NOBODY)), &[400]);
    bad(Baremetal, Method::PATCH, node.clone(), patch("spoil", "/name", json!("x")), &[400]);
    bad(Baremetal, Method::PATCH, node.clone(), patch("remove", "/driver_info/nothing", Value::Null), &[400]);
    bad(Baremetal, Method::PATCH, node.clone(), Body::Json(json!({"name": "x"})), &[400]);
    bad(Baremetal, Method::POST, format!("{node}/vifs"), Body::Json(json!({"id": NOBODY})), &[400, 404, 409]);
    bad(Baremetal, Method::POST, format!("{node}/vifs"), Body::Json(json!({})), &[400]);
    bad(Baremetal, Method::DELETE, format!("{node}/vifs/{NOBODY}"), Body::None, &[400, 404]);
    bad(Baremetal, Method::GET, "/lookup".into(), Body::None, &[400, 404]);
    bad(Baremetal, Method::GET, "/nodes?fields=nonsense".into(), Body::None, &[400]);
    bad(Baremetal, Method::GET, "/nodes?sort_key=nonsense".into(), Body::None, &[400]);
    let image = format!("/images/{}", world.image);
    let images = "application/openstack-images-v2.1-json-patch";
    for change in [
        json!([{"op": "replace", "path": "/status", "value": "deleted"}]),
        json!([{"op": "replace", "path": "/os_hash_value", "value": "0"}]),
        json!([{"op": "replace", "path": "/disk_format", "value": "qcow2"}]),
        json!([{"op": "remove", "path": "/name"}]),
        json!([{"path": "/name"}]),
        json!({}),
    ] {
        bad(Image, Method::PATCH, image.clone(), Body::Raw(images, change.to_string().into_bytes()), &[400, 403, 409]);
    }
    bad(Image, Method::PATCH, image.clone(), Body::Raw("text/plain", b"[]".to_vec()), &[400, 415]);
    bad(Image, Method::PUT, format!("{image}/file"), Body::Raw("application/octet-stream", b"other data".to_vec()), &[409]);
    bad(Image, Method::PUT, format!("/images/{NOBODY}/file"), Body::Raw("application/octet-stream", b"x".to_vec()), &[404]);
    bad(Image, Method::PUT, format!("{image}/file"), Body::Raw("text/plain", b"x".to_vec()), &[409, 415]);
    bad(
        Network,
        Method::PUT,
        format!("/networks/{}", world.network),
        Body::Json(json!({"network": {"provider:segmentation_id": 5000}})),
        &[400],
    );
    bad(Network, Method::PUT, format!("/networks/{}", world.network), Body::Json(json!({"network": {"id": NOBODY}})), &[400]);
    bad(Network, Method::GET, "/networks?sort_key=nonsense".into(), Body::None, &[400]);
    bad(ContainerInfra, Method::POST, "/certificates".into(), Body::Json(json!({"cluster_uuid": NOBODY, "csr": "x"})), &[400, 404]);
    bad(ContainerInfra, Method::GET, format!("/certificates/{NOBODY}"), Body::None, &[404]);
    let template = format!("/clustertemplates/{}", world.template);
    bad(ContainerInfra, Method::PATCH, template.clone(), patch("replace", "/coe", json!("abacus")), &[400]);
    bad(ContainerInfra, Method::PATCH, template.clone(), patch("replace", "/uuid", json!(NOBODY)), &[400]);
    bad(ContainerInfra, Method::PATCH, template, patch("replace", "/image_id", json!(NOBODY)), &[400, 404]);
    bad(Compute, Method::POST, format!("/flavors/{NOBODY}/os-extra_specs"), Body::Json(json!({"extra_specs": {"a": "1"}})), &[404]);
    let roles = format!("/projects/{NOBODY}/users/{NOBODY}/roles/{NOBODY}");
    bad(Identity, Method::PUT, roles.clone(), Body::None, &[404]);
    bad(Identity, Method::DELETE, roles, Body::None, &[404]);
    for auth in [
        json!({}),
        json!({"auth": {}}),
        json!({"auth": {"identity": {"methods": []}}}),
        json!({"auth": {"identity": {"methods": ["password"]}}}),
    ] {
        bad(Identity, Method::POST, "/auth/tokens".into(), Body::Json(auth), &[400, 401]);
    }
    let wrong = crate::support::api::credentials("admin", "wrong", "admin");
    bad(Identity, Method::POST, "/auth/tokens".into(), Body::Json(wrong), &[401]);
    out
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let dir = tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir().unwrap();
    let serve = Serve::start(Setting::new(&dir.path().join("state")));
    let world = World::new(Session::admin(&serve.setting.base(), &serve.setting.state_dir));
    let wishes = wishes(&world);
    let mut all = anywhere(&wishes);
    all.extend(particular(&world));
    for (noun, field, value) in spoilt() {
        // Two services have ports.
        let (service, path) = match noun {
            "/bm-ports" => (Baremetal, "/ports"),
            "/ports" => (Network, "/ports"),
            other => (wishes.iter().find(|it| it.1 == other).unwrap().0, other),
        };
        let (_, _, single, wish) = wishes.iter().find(|it| it.0 == service && it.1 == path).unwrap();
        let mut wish = wish.clone();
        wish[field] = value;
        let body = if single.is_empty() { wish } else { json!({*single: wish}) };
        all.push(Bad { service, method: Method::POST, path: path.into(), body: Body::Json(body), right: &[400, 403, 404, 409] });
    }
    let before = (world.shown(), database::counts(&serve.setting.state_dir));
    let mut wrong = Vec::new();
    for bad in &all {
        let answer = world.send(bad);
        let body = match &bad.body {
            Body::None => String::new(),
            Body::Json(value) => value.to_string(),
            Body::Raw(kind, bytes) => format!("{kind} {:?}", String::from_utf8_lossy(bytes)),
        };
        let body: String = body.chars().take(200).collect();
        let mut note = |why: &str| wrong.push(format!("{:?} {} {} {body}: {}: {why}", bad.service, bad.method, bad.path, answer.status));
        if !bad.right.contains(&answer.status) {
            note(&format!("not {:?}: {}", bad.right, answer.text));
        } else if let Some(why) = malformed(bad.service, &answer) {
            note(&why);
        }
    }
    // Without a token, and with one that is none, nobody learns anything.
    for (service, path, ..) in &wishes {
        for token in [None, Some("gAAAAAnonsense"), Some("\u{7f}")] {
            let mut request = Request::get(format!("{}{}{path}", serve.setting.base(), service.prefix()));
            if let Some(token) = token {
                request = request.header("x-auth-token", token);
            }
            if let Ok(answer) = send(request, Duration::from_secs(20))
                && (answer.status != 401 || malformed(*service, &answer).is_some())
            {
                wrong.push(format!("{service:?} GET {path} with token {token:?}: {} {}", answer.status, answer.text));
            }
        }
    }
    let after = (world.shown(), database::counts(&serve.setting.state_dir));
    if before.1 != after.1 {
        wrong.push(format!("rows before: {:?}\nrows after: {:?}", before.1, after.1));
    }
    for (name, list) in &before.0 {
        if after.0[name] != *list {
            wrong.push(format!("{name} before: {list:?}\nafter: {:?}", after.0[name]));
        }
    }
    let panics = serve.logged("panicked");
    assert_eq!(panics, Vec::<String>::new());
    assert!(wrong.is_empty(), "{} of {} bad requests:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    say(&format!("{} bad requests were refused, each in its service's form", all.len()));
    assert!(serve.terminate().success());
}
