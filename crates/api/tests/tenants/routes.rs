//! Every route there is, taken from the source: none can be forgotten.

use http::Method;
use net::http::Request;
use serde_json::{Value, json};

use crate::support::{Cloud, Token};
use crate::world::on_each;

/// Prefix of a service and of its versioned routes where they are nested, and the file that has its routes.
const SERVICES: [(&str, &str, &str); 6] = [
    ("/identity", "/v3", include_str!("../../src/identity/mod.rs")),
    ("/network", "/v2.0", include_str!("../../src/network/mod.rs")),
    ("/baremetal", "", include_str!("../../src/baremetal/mod.rs")),
    ("/image", "", include_str!("../../src/image/mod.rs")),
    ("/compute", "", include_str!("../../src/compute/mod.rs")),
    ("/container-infra", "", include_str!("../../src/container_infra/mod.rs")),
];

/// What may be asked without a token: which versions there are, logging in, and what a ramdisk asks, which has a token of its own.
const PUBLIC: [&str; 20] = [
    "GET /identity",
    "GET /identity/v3",
    "POST /identity/v3/auth/tokens",
    "GET /network",
    "GET /network/v2.0",
    "GET /baremetal",
    "GET /baremetal/v1",
    "GET /baremetal/v1/lookup",
    "POST /baremetal/v1/heartbeat/x",
    "GET /image",
    "GET /image/versions",
    "GET /image/v2",
    "GET /image/v2/schemas/x",
    "GET /compute",
    "GET /compute/v2.1",
    "GET /container-infra",
    "GET /container-infra/v1",
    "GET /healthz",
    "GET /nowhere",
    "POST /nowhere",
];

/// Every path of the services, with `x` for whatever is variable.
fn paths() -> Vec<String> {
    let mut all = Vec::new();
    for (service, version, source) in SERVICES {
        let before = all.len();
        // `rustfmt` may break the line after the bracket.
        for rest in source.split(".route(").skip(1) {
            let path = rest.trim_start().strip_prefix('"').and_then(|it| it.split('"').next()).unwrap();
            let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            let path = path.trim_end_matches('/');
            // The service's own root stands beside what is nested.
            if path.is_empty() {
                all.push(service.to_owned());
            }
            all.push(format!("{service}{version}{path}"));
        }
        assert!(all.len() > before + 5, "no routes found of {service}");
    }
    all.sort();
    all.dedup();
    all
}

fn methods() -> [Method; 5] {
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]
}

#[test]
fn nothing_is_open_but_what_is_listed() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let stranger = Token { text: "gAAAAABstranger".into(), ..Token::default() };
        let mut shut = 0;
        for path in paths() {
            for method in methods() {
                let name = format!("{method} {path}");
                for token in [None, Some(&stranger)] {
                    let body = if [Method::GET, Method::DELETE].contains(&method) { Value::Null } else { json!({}) };
                    let url = cloud.url(&path);
                    let mut request = if body.is_null() { Request::new(method.clone(), url) } else { Request::json(method.clone(), url, &body) };
                    if let Some(token) = token {
                        request = request.header("x-auth-token", &token.text);
                    }
                    let answer = cloud.send(request).await;
                    if PUBLIC.contains(&name.as_str()) {
                        continue;
                    }
                    assert!([401, 405].contains(&answer.status), "{name} without a token: {} {}", answer.status, answer.text);
                    assert!(answer.body.is_object(), "{name}: {}", answer.text);
                    assert!(answer.header("x-openstack-request-id").starts_with("req-"), "{name}");
                    shut += usize::from(answer.status == 401);
                }
            }
        }
        assert!(shut > 200, "only {shut} routes were found");
    });
}

#[test]
fn odd_bodies_are_answered_in_the_services_own_form() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let form = |path: &str, body: &Value| match path.split('/').nth(1) {
            Some("identity") => body["error"]["message"].is_string(),
            Some("network") => body["NeutronError"]["message"].is_string(),
            Some("baremetal") => body["error_message"].is_string(),
            Some("compute") => body.as_object().is_some_and(|it| it.values().all(|it| it["message"].is_string())),
            Some("container-infra") => body["errors"][0]["detail"].is_string(),
            _ => body.is_object(),
        };
        for path in paths() {
            // Image data is any bytes.
            if path.ends_with("/file") {
                continue;
            }
            for method in [Method::POST, Method::PUT, Method::PATCH] {
                for body in ["", "{", "[]", "null", "7", "{}", "{\"a\": \"\\u0000\"}", "\u{fe}"] {
                    let mut request = Request::new(method.clone(), cloud.url(&path)).header("x-auth-token", &cloud.admin.text);
                    request = request.header("content-type", "application/json").header("x-subject-token", "x");
                    request.body = body.as_bytes().to_vec().into();
                    let answer = cloud.send(request).await;
                    assert!(answer.status < 500, "{method} {path} {body:?}: {} {}", answer.status, answer.text);
                    let is_fine = answer.status < 400 || form(&path, &answer.body);
                    assert!(is_fine, "{method} {path} {body:?}: {} {}", answer.status, answer.text);
                }
            }
        }
    });
}
