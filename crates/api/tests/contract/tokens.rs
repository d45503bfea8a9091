//! Who is let in, for what, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{App, Settings};
use http::Method;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::on_each;
use crate::{each, head, nobody, text};

const TOKENS: &str = "/identity/v3/auth/tokens";

fn password(name: &str, password: &str) -> Value {
    json!({"methods": ["password"], "password": {"user": {"name": name, "domain": {"id": "default"}, "password": password}}})
}

fn token(token: &str) -> Value {
    json!({"methods": ["token"], "token": {"id": token}})
}

async fn auth(desk: &Desk, identity: Value, scope: Option<Value>) -> Answer {
    let mut auth = json!({ "identity": identity });
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    desk.post(&nobody(), TOKENS, json!({ "auth": auth })).await
}

/// The token of an answer that gave one.
#[track_caller]
fn given(answer: &Answer) -> Who {
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    let project = answer.body.pointer("/token/project/id").and_then(Value::as_str).unwrap_or_default().to_owned();
    Who { token: answer.header("x-subject-token").to_owned(), project, user: text(&answer.body, "/token/user/id").to_owned() }
}

/// What using the token gives.
async fn using(desk: &Desk, who: &Who) -> u16 {
    desk.get(who, "/identity/v3/auth/projects").await.status.as_u16()
}

async fn role(desk: &Desk, name: &str) -> String {
    text(&desk.get(&desk.admin, &format!("/identity/v3/roles?name={name}")).await.expect(200), "/roles/0/id").to_owned()
}

#[test]
fn nobody_learns_which_users_there_are() {
    on_each(async |world| {
        let desk = Desk::with(world, api::IdentitySettings::default()).await;
        let user = json!({"user": {"name": "sleeper", "password": "right", "enabled": false}});
        let id = desk.post(&desk.admin, "/identity/v3/users", user).await.expect(201);
        let id = text(&id, "/user/id");
        let by_id = |id: &str| json!({"methods": ["password"], "password": {"user": {"id": id, "password": "right"}}});
        let nowhere =
            json!({"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"name": "nowhere"}, "password": "x"}}});
        let ways = [
            ("a wrong password", password("admin", "wrong")),
            ("an unknown user", password("nobody", "wrong")),
            ("a disabled user with the right password", password("sleeper", "right")),
            ("a disabled user by id", by_id(id)),
            ("an unknown id", by_id("0123456789abcdef0123456789abcdef")),
            ("an id that is none", by_id("../../etc")),
            ("an unknown domain", nowhere),
            ("a longer password than there can be", password("admin", &"x".repeat(5000))),
            ("a NUL", password("admin\0", "wrong\0")),
            (
                "another method",
                json!({"methods": ["totp"], "totp": {"user": {"name": "admin", "domain": {"id": "default"}, "passcode": "000000"}}}),
            ),
            ("a token that is none", token("gAAAAA")),
        ];
        let mut bodies = Vec::new();
        for (way, identity) in ways {
            let began = Instant::now();
            let answer = auth(&desk, identity.clone(), None).await;
            assert_eq!(answer.status.as_u16(), 401, "{way}: {}", answer.body);
            assert!(answer.header("www-authenticate").starts_with("Keystone uri="), "{way}");
            assert!(answer.header("x-openstack-request-id").starts_with("req-"), "{way}");
            assert_eq!(answer.header("x-subject-token"), "", "{way}");
            if identity["methods"] == json!(["password"]) && !way.starts_with("a longer") {
                // No machine of today hashes so fast: nobody was let off.
                assert!(began.elapsed() > Duration::from_millis(30), "{way} was answered after {:?}", began.elapsed());
            }
            bodies.push(answer.body.to_string());
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    });
}

#[test]
fn what_is_no_login_is_a_bad_request() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        for (body, word) in [
            (json!({}), "identity"),
            (json!({"auth": {}}), "identity"),
            (json!({"auth": {"identity": {}}}), "methods"),
            (json!({"auth": {"identity": {"methods": "password"}}}), "methods"),
            (json!({"auth": {"identity": {"methods": ["password"]}}}), "password"),
            (json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "x"}}}}}), "domain"),
            (json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}}), "name"),
            (json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin"}}}}}), "password"),
            (json!({"auth": {"identity": {"methods": ["token"], "token": {}}}}), "token"),
        ] {
            let answer = desk.post(&nobody(), TOKENS, body.clone()).await;
            assert_eq!(answer.status.as_u16(), 400, "{body}: {}", answer.body);
            assert_eq!(answer.body["error"]["title"], "Bad Request");
            assert!(text(&answer.body, "/error/message").contains(word), "{body}: {}", answer.body);
        }
        let admin = token(&desk.admin.token);
        for scope in [json!({}), json!("all"), json!({"project": {}}), json!({"system": {"all": false}})] {
            assert_eq!(auth(&desk, admin.clone(), Some(scope.clone())).await.status.as_u16(), 400, "{scope}");
        }
    });
}

#[test]
fn scopes() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let by = || token(&desk.admin.token);

        let unscoped = auth(&desk, by(), Some(json!("unscoped"))).await;
        for absent in ["project", "domain", "system", "roles", "catalog"] {
            assert!(unscoped.body["token"].get(absent).is_none(), "{absent} in {}", unscoped.body);
        }
        let unscoped = given(&unscoped);
        assert_eq!(desk.get(&unscoped, "/network/v2.0/networks").await.expect(200), json!({"networks": []}));
        desk.get(&unscoped, "/identity/v3/projects").await.refused(403, "");
        desk.get(&unscoped, "/identity/v3/auth/catalog").await.refused(403, "");
        desk.post(&unscoped, "/network/v2.0/networks", json!({"network": {}})).await.expect(403);

        let domain = json!({"id": "default"});
        for scope in [
            json!({"project": {"id": desk.admin.project}}),
            json!({"project": {"name": "admin", "domain": {"id": "default"}}}),
            json!({"project": {"name": "Admin", "domain": {"name": "default"}}}),
        ] {
            let answer = auth(&desk, by(), Some(scope)).await;
            assert_eq!(given(&answer).project, desk.admin.project);
            assert_eq!(text(&answer.body, "/token/project/domain/name"), "Default");
            let mut roles = each(&answer.body["token"], "roles", "name");
            roles.sort_unstable();
            assert_eq!(roles, ["admin", "manager", "member", "reader"], "a role implies those below it");
            assert_eq!(each(&answer.body["token"], "catalog", "type").len(), 6);
        }

        // Nothing was given on the domain so far.
        auth(&desk, by(), Some(json!({"domain": domain}))).await.refused(401, "");
        let grant = format!("/identity/v3/domains/default/users/{}/roles/{}", desk.admin.user, role(&desk, "admin").await);
        desk.call(&desk.admin, Method::PUT, &grant, &[], None).await.expect(204);
        let answer = auth(&desk, by(), Some(json!({"domain": {"name": "Default"}}))).await;
        assert_eq!(text(&answer.body, "/token/domain/id"), "default");
        desk.get(&given(&answer), "/identity/v3/projects").await.expect(200);

        let system = auth(&desk, by(), Some(json!({"system": {"all": true}}))).await;
        assert_eq!(system.body["token"]["system"], json!({"all": true}));
        desk.get(&given(&system), "/identity/v3/users").await.expect(200);
        auth(&desk, token(&ann.token), Some(json!({"system": {"all": true}}))).await.refused(401, "");

        // Without a scope: the default project, if there is one and it can be had.
        assert_eq!(given(&auth(&desk, by(), None).await).project, desk.admin.project);
        let answer = auth(&desk, token(&ann.token), None).await;
        assert_eq!((given(&answer).project, answer.body["token"].get("roles")), (String::new(), None));
        let user = format!("/identity/v3/users/{}", ann.user);
        desk.patch(&desk.admin, &user, json!({"user": {"default_project_id": desk.admin.project}})).await.expect(200);
        assert_eq!(given(&auth(&desk, token(&ann.token), None).await).project, "", "no role on it: unscoped");
        desk.patch(&desk.admin, &user, json!({"user": {"default_project_id": ann.project}})).await.expect(200);
        assert_eq!(given(&auth(&desk, token(&ann.token), None).await).project, ann.project);

        // Not hers, not there, not an id.
        for project in [desk.admin.project.as_str(), "0123456789abcdef0123456789abcdef", "a b"] {
            auth(&desk, token(&ann.token), Some(json!({"project": {"id": project}}))).await.refused(401, "");
        }
        auth(&desk, token(&ann.token), Some(json!({"project": {"name": "secret", "domain": domain}}))).await.refused(401, "");
    });
}

#[test]
fn a_revoked_token_is_no_token() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let bob = desk.tenant("bob", "finance").await;
        let about =
            async |who: &Who, method: Method, of: &Who| desk.call(who, method, TOKENS, &[("x-subject-token", &of.token)], None).await;
        let shown = about(&desk.admin, Method::GET, &ann).await;
        assert_eq!((text(&shown.body, "/token/user/name"), shown.header("x-subject-token")), ("ann", ann.token.as_str()));
        assert_eq!(about(&ann, Method::HEAD, &ann).await.status.as_u16(), 200);
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(about(&bob, method, &ann).await.status.as_u16(), 403, "somebody else's");
        }
        desk.call(&ann, Method::GET, TOKENS, &[], None).await.expect(404);

        let again = given(&auth(&desk, token(&ann.token), Some(json!({"project": {"id": ann.project}}))).await);
        let beside = desk.login("ann", "secret", "finance").await;
        about(&ann, Method::DELETE, &ann).await.expect(204);
        for path in [
            "/identity/v3/auth/projects",
            "/network/v2.0/networks",
            "/image/v2/images",
            "/baremetal/v1/nodes",
            "/container-infra/v1/clusters",
        ] {
            assert_eq!(desk.get(&ann, path).await.status.as_u16(), 401, "{path}");
        }
        auth(&desk, token(&ann.token), None).await.refused(401, "");
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(about(&desk.admin, method, &ann).await.status.as_u16(), 404);
        }
        assert_eq!(using(&desk, &again).await, 401, "what was got by it goes with it");
        assert_eq!(using(&desk, &beside).await, 200, "another token of the same user is none of it");
        assert_eq!(using(&desk, &desk.login("ann", "secret", "finance").await).await, 200);
        // A token is taken as a whole.
        let mut cut = bob.clone();
        cut.token.pop();
        assert_eq!(using(&desk, &cut).await, 401);
        cut.token = "x".repeat(100_000);
        assert_eq!(using(&desk, &cut).await, 401);
    });
}

#[test]
fn what_is_disabled_or_changed_voids_tokens() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let domain = desk.post(&desk.admin, "/identity/v3/domains", json!({"domain": {"name": "tenants"}})).await.expect(201);
        let domain = text(&domain, "/domain/id");
        let body = json!({"project": {"name": "finance", "domain_id": domain}});
        let project = desk.post(&desk.admin, "/identity/v3/projects", body).await.expect(201);
        let project = text(&project, "/project/id");
        let body = json!({"user": {"name": "ann", "domain_id": domain, "password": "old"}});
        let user = desk.post(&desk.admin, "/identity/v3/users", body).await.expect(201);
        let user = text(&user, "/user/id");
        let grant = format!("/identity/v3/projects/{project}/users/{user}/roles/{}", role(&desk, "member").await);
        desk.call(&desk.admin, Method::PUT, &grant, &[], None).await.expect(204);
        let login = async |password: &str| {
            let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": password}}});
            auth(&desk, identity, Some(json!({"project": {"id": project}}))).await
        };

        for (path, root) in
            [(format!("projects/{project}"), "project"), (format!("users/{user}"), "user"), (format!("domains/{domain}"), "domain")]
        {
            let path = format!("/identity/v3/{path}");
            let ann = given(&login("old").await);
            assert_eq!(using(&desk, &ann).await, 200);
            desk.patch(&desk.admin, &path, json!({root: {"enabled": false}})).await.expect(200);
            assert_eq!(using(&desk, &ann).await, 401, "{root} was disabled");
            assert_eq!(login("old").await.status.as_u16(), 401, "{root} is disabled");
            desk.patch(&desk.admin, &path, json!({root: {"enabled": true}})).await.expect(200);
            // A user that was disabled is to log in again; whether tokens of the others come back nobody relies on.
            if root == "user" {
                assert_eq!(using(&desk, &ann).await, 401, "enabling does not bring tokens back");
            }
        }

        let ann = given(&login("old").await);
        let change = format!("/identity/v3/users/{user}/password");
        let body = |old: &str, new: &str| json!({"user": {"original_password": old, "password": new}});
        desk.post(&ann, &change, body("wrong", "new")).await.refused(401, "");
        desk.post(&ann, &change, body("old", &"x".repeat(73))).await.refused(400, "72");
        desk.post(&ann, &change, json!({"user": {"password": "new"}})).await.refused(400, "original_password");
        assert_eq!(using(&desk, &ann).await, 200);
        desk.post(&ann, &change, body("old", "new")).await.expect(204);
        assert_eq!(using(&desk, &ann).await, 401, "her password was changed");
        assert_eq!(login("old").await.status.as_u16(), 401);
        let ann = given(&login("new").await);
        desk.patch(&desk.admin, &format!("/identity/v3/users/{user}"), json!({"user": {"password": "newer"}})).await.expect(200);
        assert_eq!(using(&desk, &ann).await, 401, "an administrator changed her password");

        let ann = given(&login("newer").await);
        desk.call(&desk.admin, Method::DELETE, &grant, &[], None).await.expect(204);
        assert_eq!(using(&desk, &ann).await, 401, "her role was taken");
        desk.call(&desk.admin, Method::PUT, &grant, &[], None).await.expect(204);
        let ann = given(&login("newer").await);
        desk.delete(&desk.admin, &format!("/identity/v3/users/{user}")).await.expect(204);
        assert_eq!(using(&desk, &ann).await, 401, "she is no more");
    });
}

#[test]
fn a_token_got_by_a_token_does_not_outlive_it() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let of = async |who: &str| desk.call(&desk.admin, Method::GET, TOKENS, &[("x-subject-token", who)], None).await.expect(200);
        let first = of(&desk.admin.token).await;
        // Tokens tell their time in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let second = auth(&desk, token(&desk.admin.token), Some(json!({"system": {"all": true}}))).await;
        let third = auth(&desk, token(&given(&second).token), Some(json!("unscoped"))).await;
        assert_eq!(first["token"]["methods"], json!(["password"]));
        for later in [&second, &third] {
            assert_eq!(later.body["token"]["expires_at"], first["token"]["expires_at"]);
            assert_ne!(later.body["token"]["issued_at"], first["token"]["issued_at"]);
            assert_eq!(later.body["token"]["methods"], json!(["token", "password"]));
        }

        // Another replica of the control plane, with shorter tokens: keys and users are shared.
        let identity = api::IdentitySettings { token_ttl_seconds: 10, ..desk.app.settings.identity.clone() };
        let settings = Settings { identity, ..desk.app.settings.clone() };
        let app = Arc::new(App::new(world.store.clone(), settings).await.unwrap());
        let images = tempfile::tempdir().unwrap();
        let other = Desk { router: api::router(Arc::clone(&app)), app, admin: desk.admin.clone(), images };
        assert_eq!(using(&other, &desk.admin).await, 200, "a token of another replica");
        let short = given(&auth(&other, password("admin", "secret of admin"), None).await);
        assert_eq!((using(&desk, &short).await, head(&desk, &short, "/network/v2.0/networks").await), (200, 200));
        tokio::time::sleep(Duration::from_millis(10_050)).await;
        assert_eq!(using(&desk, &short).await, 401, "it expired");
        auth(&desk, token(&short.token), None).await.refused(401, "");
    });
}

#[test]
fn the_catalog_is_where_the_client_came() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let urls = async |headers: &[(&str, &str)]| {
            let body = desk.call(&desk.admin, Method::GET, "/identity/v3/auth/catalog", headers, None).await.expect(200);
            let found: Vec<String> = body["catalog"]
                .as_array()
                .unwrap()
                .iter()
                .map(|service| {
                    let endpoints = service["endpoints"].as_array().unwrap();
                    let mut kinds: Vec<_> = endpoints.iter().map(|it| text(it, "/interface")).collect();
                    kinds.sort_unstable();
                    assert_eq!(kinds, ["admin", "internal", "public"]);
                    assert!(endpoints.iter().all(|it| it["region_id"] == "RegionOne"));
                    format!("{} {}", text(service, "/type"), text(&endpoints[0], "/url"))
                })
                .collect();
            found
        };
        let plain = urls(&[]).await;
        for wanted in [
            "identity http://127.0.0.1:5000/identity/v3",
            "network http://127.0.0.1:5000/network",
            "baremetal http://127.0.0.1:5000/baremetal",
            "image http://127.0.0.1:5000/image",
            "compute http://127.0.0.1:5000/compute/v2.1",
            "container-infra http://127.0.0.1:5000/container-infra/v1",
        ] {
            assert!(plain.iter().any(|it| it == wanted), "{wanted} in {plain:?}");
        }
        for (headers, base) in [
            (&[("host", "cloud.example:8080")][..], "http://cloud.example:8080/"),
            (&[("host", "inner"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "cloud.example")], "https://cloud.example/"),
            (&[("host", "[2001:db8::1]:5000"), ("x-forwarded-proto", "https")], "https://[2001:db8::1]:5000/"),
            (&[("host", "a/b\"c"), ("x-forwarded-proto", "javascript")], "http://127.0.0.1:5000/"),
        ] {
            let urls = urls(headers).await;
            assert!(urls.iter().all(|it| it.split_once(' ').unwrap().1.starts_with(base)), "{headers:?}: {urls:?}");
            for root in ["/identity", "/identity/v3", "/network", "/baremetal", "/image", "/compute", "/container-infra"] {
                let document = desk.call(&nobody(), Method::GET, root, headers, None).await.body.to_string();
                let links = document.matches("\"href\":\"").count();
                assert!(links > 0 && document.matches(&format!("\"href\":\"{base}")).count() == links, "{root} {headers:?}: {document}");
            }
        }
        // The tokens' own catalog is the same; without one if asked so.
        let body = json!({"auth": {"identity": token(&desk.admin.token), "scope": {"project": {"id": desk.admin.project}}}});
        let answer = desk.call(&nobody(), Method::POST, TOKENS, &[("host", "h:1")], Some(body.clone())).await;
        assert!(answer.body["token"]["catalog"].to_string().contains("http://h:1/image"));
        let answer = desk.post(&nobody(), &format!("{TOKENS}?nocatalog"), body).await;
        assert!(answer.status.as_u16() == 201 && answer.body["token"].get("catalog").is_none());
        for list in ["regions", "services", "endpoints"] {
            let body = desk.get(&desk.admin, &format!("/identity/v3/{list}")).await.expect(200);
            for id in each(&body, list, "id") {
                let one = desk.get(&desk.admin, &format!("/identity/v3/{list}/{id}")).await.expect(200);
                assert_eq!(one.as_object().unwrap().values().next().unwrap()["id"], id);
            }
            desk.get(&desk.admin, &format!("/identity/v3/{list}/nothing")).await.refused(404, "nothing");
        }
    });
}
