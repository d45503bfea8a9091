//! Tokens: how they are got, what they say, what voids them.

use http::Method;
use net::http::Request;
use serde_json::{Value, json};

use crate::support::{Cloud, PASSWORD, Token};
use crate::world::on_each;

fn password(user: Value, scope: Option<Value>) -> Value {
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    json!({ "auth": auth })
}

#[test]
fn documents_follow_the_client() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let get = async |path: &str, headers: &[(&str, &str)]| {
            let request = headers.iter().fold(Request::get(cloud.url(path)), |it, (name, value)| it.header(name, value));
            cloud.send(request).await
        };
        let here = format!("http://{}", cloud.address);
        let found = get("/identity", &[]).await;
        assert_eq!((found.status, found.header("location")), (300, format!("{here}/identity/v3/").as_str()));
        assert_eq!(found.body["versions"]["values"][0]["links"][0]["href"], format!("{here}/identity/v3/"));
        for path in ["/identity/v3", "/identity/v3/"] {
            assert_eq!(get(path, &[]).await.expect(200)["version"]["links"][0]["href"], format!("{here}/identity/v3/"));
        }
        let far = [("x-forwarded-proto", "https"), ("x-forwarded-host", "cloud.example:8443")];
        assert_eq!(get("/network/", &far).await.expect(200)["versions"][0]["links"][0]["href"], "https://cloud.example:8443/network/v2.0/");
        let odd = [("x-forwarded-host", "a\"b/c")];
        assert_eq!(get("/network", &odd).await.expect(200)["versions"][0]["links"][0]["href"], format!("{here}/network/v2.0/"));
        for path in ["/network/v2.0", "/network/v2.0/"] {
            assert_eq!(get(path, &[]).await.expect(200)["resources"][0]["collection"], "networks");
        }
        assert_eq!(get("/healthz", &[]).await.status, 200);
        let nowhere = get("/nowhere", &[]).await;
        assert_eq!(nowhere.status, 404);
        assert!(nowhere.header("x-openstack-request-id").starts_with("req-"));
        get("/identity/v3/nowhere", &[]).await.keystone(404, "could not be found");
        get("/network/v2.0/nowhere", &[]).await.neutron(404, "HTTPNotFound");
        cloud.ask(&cloud.admin, Method::POST, "/identity/v3", &json!({})).await.keystone(405, "not allowed");
        cloud.ask(&cloud.admin, Method::PATCH, "/network/v2.0/networks", &json!({})).await.neutron(405, "HTTPMethodNotAllowed");
    });
}

#[test]
fn whoever_is_not_let_in_learns_nothing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let by_name = |name: &str, password: &str| json!({"name": name, "domain": {"id": "default"}, "password": password});
        cloud.make("user", json!({"name": "off", "password": "secret", "enabled": false})).await;
        cloud.make("user", json!({"name": "none"})).await;
        let domain = cloud.make("domain", json!({"name": "closed", "enabled": false})).await;
        cloud.make("user", json!({"name": "inside", "password": "secret", "domain_id": domain})).await;
        let longest = "x".repeat(72);
        cloud.make("user", json!({"name": "long", "password": longest})).await;
        let project = cloud.make("project", json!({"name": "not mine"})).await;
        let wrong = cloud.auth(&password(by_name("admin", "wrong"), None)).await;
        assert_eq!((wrong.status, wrong.header("www-authenticate").is_empty()), (401, false), "{}", wrong.text);
        let wrong = wrong.text;
        for user in [
            by_name("nobody", PASSWORD),
            by_name("no\0body", PASSWORD),
            by_name("off", "secret"),
            by_name("none", ""),
            by_name("admin", ""),
            // bcrypt reads no more than 72 bytes: what follows must not be forgotten.
            by_name("long", &format!("{longest}y")),
            json!({"name": "inside", "domain": {"name": "closed"}, "password": "secret"}),
            json!({"name": "admin", "domain": {"name": "nowhere"}, "password": PASSWORD}),
            json!({"id": "0123456789abcdef", "password": PASSWORD}),
            json!({"id": "not / an id", "password": PASSWORD}),
        ] {
            let answer = cloud.auth(&password(user.clone(), None)).await;
            assert_eq!((answer.status, &answer.text), (401, &wrong), "{user}");
        }
        Token::of(&cloud.auth(&password(by_name("long", &longest), None)).await);
        for scope in [
            json!({"project": {"id": project}}),
            json!({"project": {"id": "0123456789abcdef"}}),
            json!({"project": {"name": "nowhere", "domain": {"id": "default"}}}),
            json!({"domain": {"id": "default"}}),
            json!({"domain": {"name": "nowhere"}}),
        ] {
            let answer = cloud.rescope(&cloud.admin, scope.clone()).await;
            assert_eq!((answer.status, &answer.text), (401, &wrong), "{scope}");
        }
        for method in [json!(["totp"]), json!(["password", "totp"])] {
            let body = json!({"auth": {"identity": {"methods": method, "password": {"user": by_name("admin", PASSWORD)}}}});
            assert_eq!(cloud.auth(&body).await.text, wrong);
        }
    });
}

#[test]
fn a_request_that_makes_no_sense_is_400() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let user = json!({"name": "admin", "domain": {"id": "default"}, "password": PASSWORD});
        for body in [
            json!({}),
            json!([]),
            json!({"auth": {}}),
            json!({"auth": "password"}),
            json!({"auth": {"identity": {}}}),
            json!({"auth": {"identity": {"methods": []}}}),
            json!({"auth": {"identity": {"methods": ["password"]}}}),
            json!({"auth": {"identity": {"methods": ["token"], "token": {}}}}),
            password(json!({"name": "admin", "password": PASSWORD}), None),
            password(json!({"name": "admin", "domain": {"id": "default"}}), None),
            password(json!({"name": "admin", "domain": {"id": "default"}, "password": 5}), None),
            password(json!({"password": PASSWORD}), None),
            password(user.clone(), Some(json!("everything"))),
            password(user.clone(), Some(json!({"project": {}}))),
            password(user.clone(), Some(json!({"system": {"all": false}}))),
            password(user.clone(), Some(json!([]))),
        ] {
            let answer = cloud.auth(&body).await;
            assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(400)), "{body}: {}", answer.text);
        }
        let mut request = Request::new(Method::POST, cloud.url("/identity/v3/auth/tokens"));
        request.body = "{\"auth\": ".into();
        cloud.send(request.clone()).await.keystone(400, "JSON");
        request.body = vec![b'['; 1 << 19].into();
        cloud.send(request.clone()).await.keystone(400, "JSON");
        request.body = vec![b' '; (1 << 20) + 1].into();
        cloud.send(request).await.keystone(413, "too large");
    });
}

#[test]
fn scopes() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let project = cloud.make("project", json!({"name": "Finance"})).await;
        let domain = cloud.make("domain", json!({"name": "bank"})).await;
        let user = cloud.make("user", json!({"name": "ann", "password": "secret"})).await;
        let member = cloud.role("member").await;
        for path in [format!("projects/{project}"), format!("domains/{domain}"), "system".to_owned()] {
            cloud.put(&cloud.admin, &format!("/identity/v3/{path}/users/{user}/roles/{member}"), Value::Null).await.expect(204);
        }
        let unscoped = cloud.login("ANN", "secret", None).await;
        let token = &unscoped.body["token"];
        assert_eq!((&token["user"]["name"], &token["user"]["domain"]["name"]), (&json!("ann"), &json!("Default")));
        assert_eq!((&token["methods"], token.get("roles"), token.get("catalog"), token.get("project")), (&json!(["password"]), None, None, None));
        let first = Token::of(&unscoped);
        assert!(first.text.len() < 255 && !first.text.contains('='), "{} bytes", first.text.len());

        for scope in [json!({"id": project}), json!({"name": "finance", "domain": {"name": "DEFAULT"}})] {
            let answer = cloud.rescope(&first, json!({"project": scope})).await;
            let token = &answer.body["token"];
            assert_eq!((&token["project"]["id"], &token["project"]["name"]), (&json!(project), &json!("Finance")), "{}", answer.text);
            assert_eq!(token["project"]["domain"], json!({"id": "default", "name": "Default"}));
            assert_eq!(crate::support::sorted(&token["roles"], "name"), ["member", "reader"]);
            assert_eq!(token["methods"], json!(["password", "token"]));
            assert_eq!(token["expires_at"], unscoped.body["token"]["expires_at"], "a token got by a token outlives it");
            assert!(Token::of(&answer).text.len() < 255);
        }
        let answer = cloud.rescope(&first, json!({"domain": {"name": "bank"}})).await;
        assert_eq!((&answer.body["token"]["domain"]["id"], answer.body["token"].get("project")), (&json!(domain), None));
        let answer = cloud.rescope(&first, json!({"system": {"all": true}})).await;
        assert_eq!(answer.body["token"]["system"], json!({"all": true}));
        let answer = cloud.rescope(&first, json!("unscoped")).await;
        assert_eq!((answer.status, answer.body["token"].get("roles")), (201, None));

        // Without a scope it is the default project, and none where that cannot be had.
        cloud.patch(&cloud.admin, &format!("/identity/v3/users/{user}"), json!({"user": {"default_project_id": project}})).await.expect(200);
        let answer = cloud.login("ann", "secret", None).await;
        assert_eq!(answer.body["token"]["project"]["id"], project);
        let scoped = Token::of(&answer);
        cloud.delete(&cloud.admin, &format!("/identity/v3/projects/{project}/users/{user}/roles/{member}")).await.expect(204);
        let answer = cloud.login("ann", "secret", None).await;
        assert_eq!((answer.status, answer.body["token"].get("project")), (201, None));
        // Without its role the token is worth nothing, at once.
        assert_eq!(cloud.get(&scoped, "/network/v2.0/networks").await.status, 401);
    });
}

#[test]
fn catalogs() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let found = cloud.get(&cloud.admin, "/identity/v3/auth/catalog").await.expect(200);
        let catalog = found["catalog"].as_array().unwrap();
        for (kind, path) in [
            ("identity", "/identity/v3"),
            ("network", "/network"),
            ("baremetal", "/baremetal"),
            ("image", "/image"),
            ("compute", "/compute/v2.1"),
            ("container-infra", "/container-infra/v1"),
        ] {
            let service = catalog.iter().find(|it| it["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
            assert_eq!(crate::support::sorted(&service["endpoints"], "interface"), ["admin", "internal", "public"]);
            let url = cloud.url(path);
            assert!(service["endpoints"].as_array().unwrap().iter().all(|it| it["url"] == url && it["region_id"] == "RegionOne"), "{service}");
            // What the catalog names is there.
            let answer = cloud.send(Request::get(url)).await;
            assert!([200, 300].contains(&answer.status), "{kind}: {}", answer.text);
        }
        let request = Request::get(cloud.url("/identity/v3/auth/tokens?nocatalog")).header("x-auth-token", &cloud.admin.text);
        let shown = cloud.send(request.header("x-subject-token", &cloud.admin.text)).await.expect(200);
        assert_eq!((shown["token"].get("catalog"), shown["token"]["roles"].is_array()), (None, true));
        let unscoped = Token::of(&cloud.rescope(&cloud.admin, json!("unscoped")).await);
        cloud.get(&unscoped, "/identity/v3/auth/catalog").await.keystone(403, "scope");
        let mine = cloud.get(&unscoped, "/identity/v3/auth/projects").await.expect(200);
        assert_eq!(crate::support::sorted(&mine["projects"], "name"), ["admin"]);
        assert_eq!(cloud.get(&unscoped, "/identity/v3/auth/domains").await.expect(200)["domains"], json!([]));
        for (path, count) in [("regions", 1), ("services", 6), ("endpoints", 18), ("services?type=network", 1), ("endpoints?interface=public", 6)] {
            let plural = path.split('?').next().unwrap();
            let found = cloud.get(&cloud.admin, &format!("/identity/v3/{path}")).await.expect(200);
            assert_eq!(found[plural].as_array().unwrap().len(), count, "{path}");
            let one = format!("/identity/v3/{plural}/{}", crate::support::id(&found[plural][0]));
            assert_eq!(cloud.get(&cloud.admin, &one).await.expect(200)[plural.trim_end_matches('s')], found[plural][0]);
            cloud.get(&cloud.admin, &format!("/identity/v3/{plural}/none")).await.keystone(404, "none");
        }
    });
}

/// The answer to looking at a token.
async fn look(cloud: &Cloud, by: &Token, method: Method, subject: &str) -> crate::support::Answer {
    let request = Request::new(method, cloud.url("/identity/v3/auth/tokens")).header("x-auth-token", &by.text);
    cloud.send(request.header("x-subject-token", subject)).await
}

#[test]
fn looking_at_tokens_and_revoking_them() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = cloud.make("user", json!({"name": "ann", "password": "secret"})).await;
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let path = format!("/identity/v3/projects/{project}/users/{ann}/roles/{}", cloud.role("member").await);
        cloud.put(&cloud.admin, &path, Value::Null).await.expect(204);
        let ann = Token::of(&cloud.login("ann", "secret", Some(json!({"project": {"id": project}}))).await);

        let shown = look(&cloud, &ann, Method::GET, &ann.text).await;
        assert_eq!((shown.status, shown.header("x-subject-token"), &shown.body["token"]["user"]["name"]), (200, ann.text.as_str(), &json!("ann")));
        assert_eq!(look(&cloud, &cloud.admin, Method::GET, &ann.text).await.status, 200);
        let seen = look(&cloud, &cloud.admin, Method::HEAD, &ann.text).await;
        assert_eq!((seen.status, seen.text.as_str()), (200, ""));
        look(&cloud, &ann, Method::GET, &cloud.admin.text).await.keystone(403, "your own");
        look(&cloud, &ann, Method::DELETE, &cloud.admin.text).await.keystone(403, "your own");
        let long = "A".repeat(4000);
        let cut = &ann.text[..ann.text.len() - 2];
        for wrong in ["x", long.as_str(), cut, "gAAAAAB", "a b"] {
            look(&cloud, &cloud.admin, Method::GET, wrong).await.keystone(404, "token");
            let by = Token { text: wrong.into(), ..Token::default() };
            cloud.get(&by, "/identity/v3/auth/projects").await.keystone(401, "requires authentication");
        }
        cloud.get(&cloud.admin, "/identity/v3/auth/tokens").await.keystone(400, "X-Subject-Token");

        let other = Token::of(&cloud.rescope(&ann, json!("unscoped")).await);
        assert_eq!(look(&cloud, &ann, Method::DELETE, &ann.text).await.status, 204);
        cloud.get(&ann, "/network/v2.0/networks").await.expect(401);
        look(&cloud, &cloud.admin, Method::GET, &ann.text).await.keystone(404, "token");
        look(&cloud, &cloud.admin, Method::DELETE, &ann.text).await.keystone(404, "token");
        assert_eq!(look(&cloud, &other, Method::GET, &other.text).await.status, 200, "another token of the same user");
        // It is void on every replica, and after a start.
        let replica = Cloud::start(world).await;
        assert_eq!(look(&replica, &other, Method::GET, &other.text).await.status, 200);
        replica.get(&ann, "/network/v2.0/networks").await.expect(401);
    });
}

#[test]
fn what_voids_tokens() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let domain = cloud.make("domain", json!({"name": "bank"})).await;
        let project = cloud.make("project", json!({"name": "finance", "domain_id": domain})).await;
        let user = cloud.make("user", json!({"name": "ann", "password": "first", "domain_id": domain})).await;
        let path = format!("/identity/v3/projects/{project}/users/{user}/roles/{}", cloud.role("member").await);
        cloud.put(&cloud.admin, &path, Value::Null).await.expect(204);
        let scope = json!({"project": {"id": project}});
        let login = async |secret: &str| {
            let user = json!({"name": "ann", "domain": {"name": "bank"}, "password": secret});
            cloud.auth(&password(user, Some(scope.clone()))).await
        };
        let works = async |token: &Token| cloud.get(token, "/network/v2.0/networks").await.status == 200;
        let set = async |path: String, body: Value| cloud.patch(&cloud.admin, &path, body).await.expect(200);

        for (singular, id) in [("user", &user), ("project", &project), ("domain", &domain)] {
            let secret = "first";
            let token = Token::of(&login(secret).await);
            assert!(works(&token).await);
            set(format!("/identity/v3/{singular}s/{id}"), json!({singular: {"enabled": false}})).await;
            assert!(!works(&token).await, "{singular} is disabled");
            assert_eq!(login(secret).await.status, 401, "{singular} is disabled");
            set(format!("/identity/v3/{singular}s/{id}"), json!({singular: {"enabled": true}})).await;
            assert_eq!(works(&token).await, singular != "user", "a user's tokens stay void after {singular} was enabled again");
        }
        let token = Token::of(&login("first").await);
        let change = async |old: &str, new: &str| {
            let body = json!({"user": {"original_password": old, "password": new}});
            cloud.post(&token, &format!("/identity/v3/users/{user}/password"), body).await
        };
        change("wrong", "second").await.keystone(401, "authentication");
        assert!(works(&token).await);
        change("first", "second").await.expect(204);
        assert!(!works(&token).await, "the password was changed");
        assert_eq!(login("first").await.status, 401);
        let token = Token::of(&login("second").await);
        set(format!("/identity/v3/users/{user}"), json!({"user": {"password": "third"}})).await;
        assert!(!works(&token).await, "an administrator set the password");
        let token = Token::of(&login("third").await);
        cloud.delete(&cloud.admin, &format!("/identity/v3/users/{user}")).await.expect(204);
        assert!(!works(&token).await, "the user was deleted");
        let given = cloud.get(&cloud.admin, &format!("/identity/v3/role_assignments?user.id={user}")).await.expect(200);
        assert_eq!(given["role_assignments"], json!([]));
    });
}
