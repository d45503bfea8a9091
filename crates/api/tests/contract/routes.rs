//! What every route of every service has in common. The routes are read from the source, so that none is forgotten.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::{on_each, on_sqlite};
use crate::{nobody, text};

/// A path of a service, with what may be done there.
#[derive(Clone, Debug)]
pub struct Route {
    pub service: &'static str,
    /// With `{…}` where ids go.
    pub path: String,
    pub methods: Vec<Method>,
}

const SOURCES: [(&str, &str); 4] = [
    ("/baremetal", include_str!("../../src/baremetal/mod.rs")),
    ("/image", include_str!("../../src/image/mod.rs")),
    ("/compute", include_str!("../../src/compute/mod.rs")),
    ("/container-infra", include_str!("../../src/container_infra/mod.rs")),
];

/// What may be asked without a token: which versions there are, what images look like (the same for everybody), where to get a token, and
/// what a ramdisk asks (it has no token; what it may do hangs on the secret of its session).
const PUBLIC: [(&str, &str); 20] = [
    ("GET", "/identity"),
    ("GET", "/identity/v3"),
    ("GET", "/identity/v3/openapi.json"),
    ("POST", "/identity/v3/auth/tokens"),
    ("GET", "/network"),
    ("GET", "/network/v2.0"),
    ("GET", "/baremetal"),
    ("GET", "/baremetal/v1"),
    ("GET", "/baremetal/v1/lookup"),
    ("POST", "/baremetal/v1/heartbeat"),
    ("POST", "/baremetal/v1/heartbeat/{node}"),
    ("POST", "/baremetal/v1/continue_inspection"),
    ("GET", "/image"),
    ("GET", "/image/v2"),
    ("GET", "/image/versions"),
    ("GET", "/image/v2/schemas/{name}"),
    ("GET", "/compute"),
    ("GET", "/compute/v2.1"),
    ("GET", "/container-infra"),
    ("GET", "/container-infra/v1"),
];

/// All routes of all services.
pub fn all() -> Vec<Route> {
    let mut all = identity();
    all.extend(network());
    all.extend(SOURCES.iter().flat_map(|(service, source)| of_service(service, source)));
    // What answers every method alike only refuses.
    all.retain(|it| !it.methods.is_empty());
    all
}

/// The routes of identity: what its rules guard, and what needs no rule. Each service has a table of rules; identity's names them all.
fn identity() -> Vec<Route> {
    let declared = api::policy_rules()
        .into_iter()
        .flatten()
        .filter(|it| it.name.starts_with("identity:"))
        .flat_map(|it| it.operations.iter().copied());
    let more = [("GET", "/"), ("GET", "/v3"), ("GET", "/v3/openapi.json"), ("POST", "/v3/auth/tokens")];
    let mut found: std::collections::BTreeMap<String, Vec<Method>> = std::collections::BTreeMap::new();
    for (method, path) in declared.chain(more) {
        let path = format!("/identity{}", path.split('?').next().unwrap().trim_end_matches('/'));
        let methods = found.entry(path).or_default();
        let method: Method = method.parse().unwrap();
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    found.into_iter().map(|(path, methods)| Route { service: "/identity", path, methods }).collect()
}

/// The routes of the network service: those its files name, and those its nouns have by their forms.
fn network() -> Vec<Route> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/network");
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "rs"));
    let texts: Vec<String> = files.map(|it| std::fs::read_to_string(it).unwrap()).collect();
    let prefixed = |it: Route| match it.path.strip_prefix("/network") {
        Some("") => it,
        Some(rest) if !rest.starts_with("/v2.0") => Route { path: format!("/network/v2.0{rest}"), ..it },
        _ => it,
    };
    let literal = |it: &Route| it.path.starts_with("/network/") || it.path == "/network";
    let mut all: Vec<Route> = texts.iter().flat_map(|text| of_service("/network", text)).filter(literal).map(prefixed).collect();
    let whole = texts.concat();
    let after = |what: &str| whole.find(what).map(|at| &whole[at + what.len()..]);
    // What a noun's form says: its path and the methods of its collection and of one of it.
    let form = |noun: &str| {
        let text = after(&format!("LazyLock<Form<{noun}>>")).unwrap_or_else(|| panic!("no form of {noun}"));
        let text = &text[..text.find("\n});").unwrap()];
        let arguments = text[text.find("Form::new(").unwrap() + 10..].split(',').map(str::trim);
        let path = arguments.map(|it| it.trim_matches('"')).nth(2).unwrap().to_owned();
        let mut methods = [vec![Method::GET], vec![Method::GET]];
        for (flag, at, method) in [(".no_create()", 0, Method::POST), (".no_update()", 1, Method::PUT), (".no_delete()", 1, Method::DELETE)]
        {
            if !text.contains(flag) {
                methods[at].push(method);
            }
        }
        (path, methods)
    };
    for (at, _) in whole.match_indices("routes::<") {
        let how = whole[..at].rsplit(|it: char| !(it.is_alphanumeric() || it == '_')).next().unwrap_or_default();
        let noun = whole[at + 9..].split('>').next().unwrap();
        if noun == "K" {
            continue;
        }
        let (mut path, [collection, item]) = form(noun);
        if how.starts_with("nested") {
            let text = after(&format!("impl Nested for {noun}")).unwrap_or_else(|| panic!("no parent of {noun}"));
            let parent = text[text.find("type Parent = ").unwrap() + 14..].split(';').next().unwrap();
            path = format!("{}/{{parent}}/{path}", form(parent).0);
        }
        let mut add =
            |path: String, methods: Vec<Method>| all.push(Route { service: "/network", path: format!("/network/v2.0/{path}"), methods });
        add(path.clone(), collection);
        add(format!("{path}/{{id}}"), item);
        if how.starts_with("tagged") {
            add(format!("{path}/{{id}}/tags"), vec![Method::GET, Method::POST, Method::PUT, Method::DELETE]);
            add(format!("{path}/{{id}}/tags/{{tag}}"), vec![Method::GET, Method::PUT, Method::DELETE]);
        }
    }
    // The rules of QoS policies are routed by a table.
    for kind in ["bandwidth_limit", "dscp_marking", "minimum_bandwidth", "packet_rate_limit", "minimum_packet_rate"] {
        let mut add = |path: String, methods: &[Method]| all.push(Route { service: "/network", path, methods: methods.to_vec() });
        let one = [Method::GET, Method::PUT, Method::DELETE];
        add(format!("/network/v2.0/qos/policies/{{id}}/{kind}_rules"), &[Method::GET, Method::POST]);
        add(format!("/network/v2.0/qos/policies/{{id}}/{kind}_rules/{{rule}}"), &one);
        if kind != "packet_rate_limit" {
            add(format!("/network/v2.0/qos/alias_{kind}_rules/{{rule}}"), &one);
        }
    }
    all
}

fn of_service(service: &'static str, source: &str) -> Vec<Route> {
    // What stands before the router into which it is nested lies below its prefix.
    let nest = source.find(".nest(\"").map(|at| {
        let prefix = source[at + 7..].split('"').next().unwrap();
        (source[..at].rfind("Router::new()").unwrap(), prefix)
    });
    source
        .match_indices(".route(")
        .filter(|(at, _)| source[at + 7..].trim_start().starts_with('"'))
        .map(|(at, _)| {
            let rest = &source[at + 7..];
            let call = &rest[..closing(rest)];
            let path = call.split('"').nth(1).unwrap();
            let prefix = nest.filter(|(from, _)| at < *from).map_or("", |(_, prefix)| prefix);
            let path = format!("{service}{prefix}{path}");
            let handlers = call.rsplit('"').next().unwrap();
            let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
            let is_there = |it: &Method| {
                let name = format!("{}(", it.as_str().to_lowercase());
                let handlers = handlers.replace("on_", "");
                handlers.match_indices(&name).any(|(at, _)| !handlers[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_'))
            };
            Route { service, path: path.trim_end_matches('/').to_owned(), methods: methods.into_iter().filter(is_there).collect() }
        })
        .collect()
}

/// Whether what fits the second path may fit the first.
fn covers(path: &str, other: &str) -> bool {
    let (path, other): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), other.split('/').collect());
    path.len() == other.len() && path.iter().zip(&other).all(|(one, other)| one == other || one.starts_with('{') || other.starts_with('{'))
}

/// Where the parenthesis that is open before `text` is closed.
fn closing(text: &str) -> usize {
    let mut open = 1;
    let at = text.find(|it: char| {
        open += i32::from(it == '(') - i32::from(it == ')');
        open == 0
    });
    at.unwrap()
}

fn is_public(route: &Route, method: &Method) -> bool {
    PUBLIC.contains(&(method.as_str(), route.path.as_str()))
}

/// Checks that a refusal has the form of its service.
#[track_caller]
pub fn enveloped(service: &str, answer: &Answer) {
    let (body, status) = (&answer.body, answer.status.as_u16());
    let kind = answer.header("content-type");
    assert!(kind.starts_with("application/json"), "{kind:?}: {body}");
    assert!(answer.header("x-openstack-request-id").starts_with("req-"));
    let is_text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).is_some_and(|it| !it.is_empty());
    let fine = match service {
        "/image" => is_text("/message") && is_text("/title") && body["code"].as_str() == Some(status.to_string().as_str()),
        "/identity" => is_text("/error/message") && is_text("/error/title") && body["error"]["code"] == status,
        // The others leave this to identity's middleware, which answers in its own form.
        _ if status == 401 => is_text("/error/message") && is_text("/error/title") && body["error"]["code"] == status,
        "/network" => is_text("/NeutronError/type") && is_text("/NeutronError/message") && body["NeutronError"]["detail"] == "",
        "/baremetal" => {
            let inner: Value = serde_json::from_str(body["error_message"].as_str().unwrap_or_default()).unwrap_or_default();
            inner["faultstring"].as_str().is_some_and(|it| !it.is_empty()) && ["Client", "Server"].contains(&text(&inner, "/faultcode"))
        }
        "/compute" => {
            let members = body.as_object().map(|it| it.values().collect::<Vec<_>>()).unwrap_or_default();
            members.len() == 1 && members[0]["code"] == status && members[0]["message"].as_str().is_some_and(|it| !it.is_empty())
        }
        _ => is_text("/errors/0/title") && is_text("/errors/0/detail") && body["errors"][0]["status"] == status,
    };
    assert!(fine, "{service} {status}: {body}");
}

/// Ids for the places of paths.
pub struct Ids {
    of: Vec<(&'static str, String)>,
}

impl Ids {
    /// Ids that belong to nothing.
    fn of_nothing() -> Self {
        Self { of: Vec::new() }
    }

    /// Makes one object of each kind.
    pub async fn made(desk: &Desk) -> Self {
        let admin = &desk.admin;
        let make = async |path: &str, body: Value, id: &str| text(&desk.post(admin, path, body).await.expect(201), id).to_owned();
        let named = |root: &str| json!({root: {"name": "victim", "description": "d"}});
        let domain = make("/identity/v3/domains", named("domain"), "/domain/id").await;
        let project = make("/identity/v3/projects", named("project"), "/project/id").await;
        let user = make("/identity/v3/users", named("user"), "/user/id").await;
        let role = make("/identity/v3/roles", named("role"), "/role/id").await;
        let network = make("/network/v2.0/networks", named("network"), "/network/id").await;
        let body = json!({"subnet": {"network_id": network, "cidr": "10.0.0.0/24", "ip_version": 4}});
        let subnet = make("/network/v2.0/subnets", body, "/subnet/id").await;
        let port = make("/network/v2.0/ports", json!({"port": {"network_id": network}}), "/port/id").await;
        let node = desk.machine("victim").await;
        let cards = desk.get(admin, "/baremetal/v1/ports").await.expect(200);
        let card = text(&cards, "/ports/0/uuid").to_owned();
        let body = json!({"flavor": {"name": "victim", "ram": 1, "vcpus": 1, "disk": 1}});
        let flavor = text(&desk.post(admin, "/compute/v2.1/flavors", body).await.expect(200), "/flavor/id").to_owned();
        let image = desk.image(admin, "victim").await;
        let nothing = "11111111-2222-4333-8444-555555555555".to_owned();
        let of = vec![
            ("/identity/v3/domains", domain),
            ("/identity/v3/projects", project),
            ("users", user),
            ("roles", role),
            ("/network/v2.0/networks", network),
            ("/network/v2.0/subnets", subnet),
            ("/network/v2.0/ports", port.clone()),
            ("vifs", port),
            ("/baremetal/v1/nodes", node.clone()),
            ("heartbeat", node),
            ("/baremetal/v1/ports", card),
            ("drivers", "redfish".into()),
            ("flavors", flavor),
            ("images", image),
            ("schemas", "image".into()),
            ("regions", "RegionOne".into()),
            ("extensions", "binding".into()),
            ("clusters", nothing),
        ];
        Self { of }
    }

    /// The path with ids.
    pub fn fill(&self, path: &str) -> String {
        let mut out = String::new();
        for part in path.split('/').skip(1) {
            let id = self.of.iter().find(|(end, _)| out.ends_with(end)).map_or("x", |(_, id)| id);
            let part = if part.starts_with('{') { id } else { part };
            out = format!("{out}/{part}");
        }
        out
    }
}

#[test]
fn the_routes_are_found() {
    let routes = all();
    let has = |path: &str, methods: &[Method]| {
        let found = routes.iter().find(|it| it.path == path).unwrap_or_else(|| panic!("no {path} in {routes:#?}"));
        assert_eq!(found.methods, methods, "{path}");
    };
    has("/identity", &[Method::GET]);
    assert!(routes.iter().any(|it| it.path == "/identity/v3/auth/tokens" && it.methods.len() == 4));
    has("/network/v2.0/ports/{id}", &[Method::GET, Method::PUT, Method::DELETE]);
    has("/baremetal/v1/nodes/{node}", &[Method::GET, Method::PATCH, Method::DELETE]);
    has("/image/v2/images/{id}/tags/{tag}", &[Method::PUT, Method::DELETE]);
    has("/compute/v2.1/os-keypairs", &[Method::GET, Method::POST]);
    has("/container-infra/v1/certificates", &[Method::POST]);
    assert!(routes.len() > 70, "{routes:#?}");
    for (method, path) in PUBLIC {
        assert!(routes.iter().any(|it| it.path == path && it.methods.iter().any(|it| it.as_str() == method)), "{method} {path}");
    }
}

#[test]
fn without_a_token_nothing_but_what_is_public() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ids = Ids::made(&desk).await;
        let (before, after) = desk.admin.token.split_at(40);
        let other = if after.starts_with('A') { "B" } else { "A" };
        let forged = Who { token: format!("{before}{other}{}", &after[1..]), ..nobody() };
        let mut asked = 0;
        for route in all() {
            for method in &route.methods {
                for path in [ids.fill(&route.path), Ids::of_nothing().fill(&route.path)] {
                    for who in [&nobody(), &forged] {
                        let body = (*method != Method::GET && *method != Method::HEAD).then(|| json!({}));
                        let answer = desk.call(who, method.clone(), &path, &[], body).await;
                        let status = answer.status.as_u16();
                        if is_public(&route, method) {
                            assert!(status != 401 && status < 500, "{method} {path}: {status} {}", answer.body);
                        } else {
                            assert_eq!(status, 401, "{method} {path}: {}", answer.body);
                            if *method != Method::HEAD {
                                enveloped(route.service, &answer);
                            }
                        }
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 400, "{asked}");
        let health = desk.get(&nobody(), "/healthz").await;
        assert_eq!((health.status.as_u16(), &health.body), (200, &json!("ready\n")));
    });
}

#[test]
fn paths_and_methods_that_are_not_there() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        for service in SOURCES.iter().map(|(service, _)| *service).chain(["/identity", "/network"]) {
            for path in
                ["/nothing", "/v1/nothing", "/v2/nothing", "/v3/nothing", "/v2.0/nothing", "/v2.1/nothing", "/v1/nodes/x/y/z", "//x"]
            {
                for who in [admin, &nobody()] {
                    let answer = desk.get(who, &format!("{service}{path}")).await;
                    assert_eq!(answer.status.as_u16(), 404, "{service}{path}: {}", answer.body);
                    enveloped(service, &answer);
                }
            }
        }
        for route in all() {
            let path = Ids::of_nothing().fill(&route.path);
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                // Another route may have the same form: /nodes/detail is also /nodes/{node}.
                let fits = |it: &Route| covers(&it.path, &route.path) || Ids::of_nothing().fill(&it.path) == path;
                if all().iter().filter(|it| fits(it)).any(|it| it.methods.contains(&method)) {
                    continue;
                }
                let answer = desk.call(admin, method.clone(), &path, &[], None).await;
                assert_eq!(answer.status.as_u16(), 405, "{method} {path}: {}", answer.body);
                enveloped(route.service, &answer);
            }
            // A slash at the end changes nothing.
            if route.methods.contains(&Method::GET) {
                let (plain, slashed) = (desk.get(admin, &path).await, desk.get(admin, &format!("{path}/")).await);
                assert_eq!(plain.status, slashed.status, "{path}");
            }
        }
        let outside = desk.get(admin, "/volume/v3").await;
        assert_eq!(outside.status.as_u16(), 404);
        assert!(outside.body["error"]["message"].is_string());
    });
}

#[test]
fn bodies_that_are_none() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ids = Ids::made(&desk).await;
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(2 << 20));
        let deep = "[".repeat(100_000);
        let deep_object = format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500));
        let bodies: [&[u8]; 12] = [
            b"",
            b"not JSON",
            b"{",
            b"null",
            b"\"text\"",
            b"5",
            b"[]",
            b"[5]",
            b"{}",
            b"{\"wrong root\": {}}",
            b"\xff\xfe{\"a\":\"\xff\"}",
            deep.as_bytes(),
        ];
        let openapi = desk.get(&nobody(), "/identity/v3/openapi.json").await.expect(200);
        let mut asked = 0;
        let mut wrong = Vec::new();
        for route in all() {
            // These take no body, any body, or may do without.
            let takes_none = |method: &Method| {
                let declared = &openapi["paths"][route.path.trim_start_matches("/identity")][method.as_str().to_lowercase()];
                route.service == "/identity" && declared.is_object() && declared["requestBody"].is_null()
            };
            let is_free = ["/file", "/maintenance", "/tags/{tag}", "/states/raid"].iter().any(|it| route.path.ends_with(it));
            let with_body = [Method::POST, Method::PUT, Method::PATCH];
            for method in route.methods.iter().filter(|it| with_body.contains(it) && !takes_none(it)) {
                for body in bodies.iter().copied().chain([long.as_bytes(), deep_object.as_bytes()]) {
                    for kind in ["application/json", "text/plain"] {
                        let request = Request::builder()
                            .method(method.clone())
                            .uri(ids.fill(&route.path))
                            .header("x-auth-token", &desk.admin.token)
                            .header("openstack-api-version", "baremetal latest,compute latest,container-infra latest")
                            .header("content-type", kind)
                            .body(Body::from(body.to_vec()))
                            .unwrap();
                        let answer = desk.send(request).await;
                        let (status, start) = (answer.status.as_u16(), String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned());
                        // An empty list of changes changes nothing, and an image needs nothing but an id.
                        let is_empty = (*method == Method::PATCH && body == b"[]") || (route.path == "/image/v2/images" && body == b"{}");
                        if status >= 500 || (status < 400 && !is_free && !is_empty) {
                            wrong.push(format!("{method} {} {start:?}: {status} {}", route.path, answer.body));
                        }
                        if status >= 400 {
                            enveloped(route.service, &answer);
                        }
                        if !is_free && body.len() > 1 << 20 && kind == "application/json" {
                            let is_refused_before = route.path.starts_with("/image") && *method == Method::PATCH && status == 415;
                            // What a ramdisk found in its machine may be long, and a config drive; a heartbeat of nobody is not read.
                            let is_long =
                                ["/continue_inspection", "/v1/heartbeat", "/states/provision"].iter().any(|it| route.path.ends_with(it));
                            assert!(status == 413 || is_refused_before || is_long, "{method} {}: {status} {}", route.path, answer.body);
                        }
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 700, "{asked}");
        assert!(wrong.is_empty(), "on {}: {wrong:#?}", world.name());
    });
}

#[test]
fn what_takes_an_administrator() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ids = Ids::made(&desk).await;
        let ann = desk.tenant("ann", "finance").await;
        let patch = json!([{"op": "replace", "path": "/description", "value": "mine"}]);
        let network = desk.post(&ann, "/network/v2.0/networks", json!({"network": {}})).await.expect(201);
        let network = text(&network, "/network/id");
        let grant = |of: &str, role: &str| format!("/identity/v3/{of}/users/{}/roles/{role}", ann.user);
        let roles = desk.get(&desk.admin, "/identity/v3/roles?name=admin").await.expect(200);
        let role = text(&roles, "/roles/0/id");
        // Method, path, body, and whether it may be said that there is such a thing.
        let table = [
            ("GET", "/identity/v3/users".to_owned(), json!(null)),
            ("GET", "/identity/v3/role_assignments".into(), json!(null)),
            ("POST", "/identity/v3/users".into(), json!({"user": {"name": "x"}})),
            ("POST", "/identity/v3/projects".into(), json!({"project": {"name": "x"}})),
            ("POST", "/identity/v3/roles".into(), json!({"role": {"name": "x"}})),
            ("POST", "/identity/v3/domains".into(), json!({"domain": {"name": "x"}})),
            ("PATCH", format!("/identity/v3/users/{}", ann.user), json!({"user": {"enabled": true}})),
            ("PATCH", format!("/identity/v3/projects/{}", ann.project), json!({"project": {"name": "x"}})),
            ("DELETE", format!("/identity/v3/projects/{}", ann.project), json!(null)),
            ("PUT", grant(&format!("projects/{}", ann.project), role), json!(null)),
            ("PUT", grant("domains/default", role), json!(null)),
            ("PUT", grant("system", role), json!(null)),
            ("HEAD", grant("system", role), json!(null)),
            ("DELETE", grant(&format!("projects/{}", ann.project), role), json!(null)),
            ("POST", "/network/v2.0/networks".into(), json!({"network": {"shared": true}})),
            ("POST", "/network/v2.0/networks".into(), json!({"network": {"router:external": true}})),
            ("POST", "/network/v2.0/networks".into(), json!({"network": {"provider:segmentation_id": 150}})),
            ("PUT", format!("/network/v2.0/networks/{network}"), json!({"network": {"shared": true}})),
            ("POST", "/network/v2.0/ports".into(), json!({"port": {"network_id": network, "binding:host_id": "h"}})),
            ("POST", "/network/v2.0/ports".into(), json!({"port": {"network_id": network, "binding:profile": {}}})),
            ("POST", "/baremetal/v1/nodes".into(), json!({"driver": "redfish"})),
            ("PATCH", ids.fill("/baremetal/v1/nodes/{node}"), patch.clone()),
            ("DELETE", ids.fill("/baremetal/v1/nodes/{node}"), json!(null)),
            ("PUT", ids.fill("/baremetal/v1/nodes/{node}/states/provision"), json!({"target": "manage"})),
            ("PUT", ids.fill("/baremetal/v1/nodes/{node}/states/power"), json!({"target": "power on"})),
            ("PUT", ids.fill("/baremetal/v1/nodes/{node}/maintenance"), json!({})),
            (
                "POST",
                "/baremetal/v1/ports".into(),
                json!({"node_uuid": ids.fill("/baremetal/v1/nodes/{node}")[20..], "address": "52:54:00:00:00:77"}),
            ),
            ("PATCH", ids.fill("/baremetal/v1/ports/{port}"), patch.clone()),
            ("DELETE", ids.fill("/baremetal/v1/ports/{port}"), json!(null)),
            ("GET", ids.fill("/baremetal/v1/nodes/{node}"), json!(null)),
            ("POST", "/image/v2/images".into(), json!({"name": "x", "visibility": "public"})),
            ("PATCH", ids.fill("/image/v2/images/{id}"), patch),
            ("DELETE", ids.fill("/image/v2/images/{id}"), json!(null)),
            ("POST", "/compute/v2.1/flavors".into(), json!({"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 1}})),
            ("DELETE", ids.fill("/compute/v2.1/flavors/{id}"), json!(null)),
            ("POST", ids.fill("/compute/v2.1/flavors/{id}/os-extra_specs"), json!({"extra_specs": {"a": "b"}})),
        ];
        for (method, path, body) in table {
            let method: Method = method.parse().unwrap();
            let kind = if path.starts_with("/image") && method == Method::PATCH {
                "application/openstack-images-v2.1-json-patch"
            } else {
                "application/json"
            };
            let headers = [("openstack-api-version", "baremetal latest,compute latest,container-infra latest"), ("content-type", kind)];
            let answer = desk.call(&ann, method.clone(), &path, &headers, Some(body)).await;
            // What she may not see does not exist for her.
            assert!([403, 404].contains(&answer.status.as_u16()), "{method} {path}: {} {}", answer.status, answer.body);
            if method != Method::HEAD {
                let service = SOURCES.iter().map(|it| it.0).chain(["/network"]).find(|it| path.starts_with(it)).unwrap_or("/identity");
                enveloped(service, &answer);
            }
        }
        assert_eq!(desk.get(&ann, "/baremetal/v1/nodes").await.expect(200)["nodes"], json!([]));
        assert_eq!(desk.get(&ann, "/baremetal/v1/ports").await.expect(200)["ports"], json!([]));
        let users = desk.get(&desk.admin, "/identity/v3/users?name=x").await.expect(200);
        assert_eq!(users["users"], json!([]), "nothing was made");
    });
}
