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
            let passcode = json!({"user": {"name": "admin", "domain": {"id": "default"}, "passcode": "000000"}});
            let body =
                json!({"auth": {"identity": {"methods": method, "password": {"user": by_name("admin", PASSWORD)}, "totp": passcode}}});
            assert_eq!(cloud.auth(&body).await.text, wrong);
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
        assert_eq!(
            (shown.status, shown.header("x-subject-token"), &shown.body["token"]["user"]["name"]),
            (200, ann.text.as_str(), &json!("ann"))
        );
        assert_eq!(look(&cloud, &cloud.admin, Method::GET, &ann.text).await.status, 200);
        let seen = look(&cloud, &cloud.admin, Method::HEAD, &ann.text).await;
        assert_eq!((seen.status, seen.text.as_str()), (200, ""));
        look(&cloud, &ann, Method::GET, &cloud.admin.text).await.keystone(403, "not authorized");
        look(&cloud, &ann, Method::DELETE, &cloud.admin.text).await.keystone(403, "not authorized");
        let long = "A".repeat(4000);
        let cut = &ann.text[..ann.text.len() - 2];
        for wrong in ["x", long.as_str(), cut, "gAAAAAB", "a b"] {
            look(&cloud, &cloud.admin, Method::GET, wrong).await.keystone(404, "token");
            let by = Token { text: wrong.into(), ..Token::default() };
            cloud.get(&by, "/identity/v3/auth/projects").await.keystone(401, "requires authentication");
        }
        cloud.get(&cloud.admin, "/identity/v3/auth/tokens").await.keystone(404, "No token");

        let other = Token::of(&cloud.login("ann", "secret", None).await);
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
