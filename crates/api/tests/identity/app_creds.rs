//! Application credentials, their access rules, and tokens got by OAuth 2.

use http::Method;
use model::Timestamp;
use net::http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Cloud, PASSWORD, Token, id, sorted};
use crate::world::on_each;

fn mine(token: &Token) -> String {
    format!("/identity/v3/users/{}/application_credentials", token.user)
}

fn rules(token: &Token) -> String {
    format!("/identity/v3/users/{}/access_rules", token.user)
}

async fn made(cloud: &Cloud, token: &Token, body: Value) -> Value {
    cloud.post(token, &mine(token), json!({ "application_credential": body })).await.expect(201)["application_credential"].take()
}

async fn by(cloud: &Cloud, data: Value) -> Answer {
    let identity = json!({"methods": ["application_credential"], "application_credential": data});
    cloud.auth(&json!({"auth": {"identity": identity}})).await
}

/// A token of a credential that was made and shown.
async fn token_of(cloud: &Cloud, made: &Value) -> Token {
    Token::of(&by(cloud, json!({"id": made["id"], "secret": made["secret"]})).await)
}

/// A user with a role on a new project, logged in there.
async fn somebody(cloud: &Cloud, name: &str, role: &str) -> Token {
    let user = cloud.make("user", json!({"name": name, "password": PASSWORD})).await;
    let project = cloud.make("project", json!({"name": format!("of {name}")})).await;
    let path = format!("/identity/v3/projects/{project}/users/{user}/roles/{}", cloud.role(role).await);
    cloud.put(&cloud.admin, &path, Value::Null).await.expect(204);
    Token::of(&cloud.login(name, PASSWORD, Some(json!({"project": {"id": project}}))).await)
}

#[test]
fn a_credential_logs_in_for_its_project() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = somebody(&cloud, "ann", "member").await;
        let first = made(&cloud, &ann, json!({"name": "Robot", "description": "a"})).await;
        assert_eq!((&first["user_id"], &first["project_id"]), (&json!(ann.user), &json!(ann.project)));
        assert_eq!(
            (&first["expires_at"], &first["unrestricted"], &first["system"], &first["description"]),
            (&Value::Null, &json!(false), &Value::Null, &json!("a"))
        );
        assert_eq!(sorted(&first["roles"], "name"), ["member", "reader"]);
        assert_eq!((first["secret"].as_str().unwrap().len(), first.get("access_rules")), (86, None));
        let own = made(&cloud, &ann, json!({"name": "own", "secret": "of my choice"})).await;
        assert_eq!(own["secret"], "of my choice");

        // The secret is shown once, and a name is a user's once.
        let path = format!("{}/{}", mine(&ann), id(&first));
        let again = cloud.get(&ann, &path).await.expect(200)["application_credential"].take();
        assert_eq!((&again["id"], again.get("secret"), &again["roles"]), (&first["id"], None, &first["roles"]));
        let all = cloud.get(&ann, &mine(&ann)).await.expect(200);
        assert_eq!(sorted(&all["application_credentials"], "name"), ["Robot", "own"]);
        assert!(!all.to_string().contains("secret"), "{all}");
        let found = cloud.get(&ann, &format!("{}?name=own", mine(&ann))).await.expect(200);
        assert_eq!(sorted(&found["application_credentials"], "name"), ["own"]);
        let twice = json!({"application_credential": {"name": "robot"}});
        cloud.post(&ann, &mine(&ann), twice).await.keystone(409, "Duplicate entry");

        // By id, by name and user, by name and the user's name; never with a scope.
        let secret = &first["secret"];
        let ways = [
            json!({"id": first["id"], "secret": secret}),
            json!({"name": "Robot", "secret": secret, "user": {"id": ann.user}}),
            json!({"name": "Robot", "secret": secret, "user": {"name": "ann", "domain": {"id": "default"}}}),
            // Whose it is says the credential.
            json!({"id": first["id"], "secret": secret, "user": {"id": cloud.admin.user}}),
        ];
        for way in ways {
            let answer = by(&cloud, way).await;
            let token = Token::of(&answer);
            assert_eq!((&token.user, &token.project), (&ann.user, &ann.project));
            let said = &answer.body["token"];
            assert_eq!(said["methods"], json!(["application_credential"]));
            assert_eq!(said["application_credential"], json!({"id": first["id"], "name": "Robot", "restricted": true}));
            assert_eq!(sorted(&said["roles"], "name"), ["member", "reader"]);
        }
        let scoped = json!({"auth": {
            "identity": {"methods": ["application_credential"], "application_credential": {"id": first["id"], "secret": secret}},
            "scope": {"project": {"id": ann.project}},
        }});
        cloud.auth(&scoped).await.keystone(401, "cannot request a scope");

        // Removed, it opens nothing any more.
        let token = token_of(&cloud, &first).await;
        cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        cloud.delete(&ann, &path).await.expect(204);
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        cloud.get(&ann, &path).await.keystone(404, "Could not find Application Credential");
        cloud.delete(&ann, &path).await.keystone(404, "Could not find Application Credential");
        by(&cloud, json!({"id": first["id"], "secret": secret})).await.keystone(401, "requires authentication");
        made(&cloud, &ann, json!({"name": "robot"})).await;
    });
}

#[test]
fn whoever_is_wrong_learns_nothing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = somebody(&cloud, "ann", "reader").await;
        let good = made(&cloud, &ann, json!({"name": "good", "secret": "right"})).await;
        let end = Timestamp::now().plus_millis(10_000);
        let soon = end.iso_micros();
        let short = made(&cloud, &ann, json!({"name": "short", "secret": "right", "expires_at": soon})).await;
        assert_eq!(short["expires_at"], soon.trim_end_matches('Z'));
        let token = token_of(&cloud, &short).await;
        cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        let refused = by(&cloud, json!({"id": good["id"], "secret": "wrong"})).await;
        assert_eq!(refused.status, 401, "{}", refused.text);
        let user = json!({"id": ann.user});
        for data in [
            json!({"id": "nosuch", "secret": "right"}),
            json!({"id": "/../", "secret": "right"}),
            json!({"id": good["id"]}),
            json!({"id": good["id"], "secret": ""}),
            json!({"name": "nosuch", "secret": "right", "user": user}),
            json!({"name": "good", "secret": "wrong", "user": user}),
            json!({"name": "good", "secret": "right", "user": {"id": "nosuch"}}),
            json!({"name": "good", "secret": "right", "user": {"name": "ann", "domain": {"name": "nosuch"}}}),
        ] {
            let answer = by(&cloud, data.clone()).await;
            assert_eq!((answer.status, &answer.text), (401, &refused.text), "{data}");
        }
        for (data, words) in [
            (json!({"secret": "right"}), "Expecting to find name or ID in application credential"),
            (json!({"name": "good", "secret": "right"}), "Expecting to find user in application credential"),
            (json!({"name": "good", "secret": "right", "user": {"name": "ann"}}), "Expecting to find domain in user"),
        ] {
            by(&cloud, data).await.keystone(400, words);
        }
        crate::over(end).await;
        let late = by(&cloud, json!({"id": short["id"], "secret": "right"})).await;
        assert_eq!((late.status, &late.text), (401, &refused.text));
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        // A disabled user has none, an enabled one has it again.
        let path = format!("/identity/v3/users/{}", ann.user);
        cloud.patch(&cloud.admin, &path, json!({"user": {"enabled": false}})).await.expect(200);
        let off = by(&cloud, json!({"id": good["id"], "secret": "right"})).await;
        assert_eq!((off.status, &off.text), (401, &refused.text));
        cloud.patch(&cloud.admin, &path, json!({"user": {"enabled": true}})).await.expect(200);
        token_of(&cloud, &good).await;
    });
}

#[test]
fn roles_are_at_most_the_tokens() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = somebody(&cloud, "ann", "member").await;
        let reader = made(&cloud, &ann, json!({"name": "reader", "roles": [{"name": "reader"}]})).await;
        assert_eq!(sorted(&reader["roles"], "name"), ["reader"]);
        let member = made(&cloud, &ann, json!({"name": "member", "roles": [{"id": cloud.role("member").await}]})).await;
        assert_eq!(sorted(&member["roles"], "name"), ["member", "reader"]);
        let token = token_of(&cloud, &reader).await;
        cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        cloud.post(&token, "/network/v2.0/networks", json!({"network": {}})).await.neutron(403, "PolicyNotAuthorized");
        let with = |roles: Value| json!({"application_credential": {"name": "more", "roles": roles}});
        let admin = cloud.role("admin").await;
        cloud.post(&ann, &mine(&ann), with(json!([{"name": "admin"}]))).await.keystone(400, "unassigned role");
        cloud.post(&ann, &mine(&ann), with(json!([{ "id": admin }]))).await.keystone(400, "unassigned role");
        cloud.post(&ann, &mine(&ann), with(json!([{"id": "nosuch"}]))).await.keystone(400, "unassigned role");
        cloud.post(&ann, &mine(&ann), with(json!([{"name": "nosuch"}]))).await.keystone(404, "Role nosuch is not defined");
        for body in [
            json!({}),
            json!({"name": ""}),
            json!({"name": "x", "unknown": 1}),
            json!({"name": "x", "roles": [{}]}),
            json!({"name": "x", "expires_at": "soon"}),
            json!({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}),
            json!({"name": "x", "access_rules": [{"path": "no slash", "method": "GET", "service": "network"}]}),
            json!({"name": "x", "access_rules": [{"path": "/v2.0/networks"}]}),
        ] {
            let answer = cloud.post(&ann, &mine(&ann), json!({ "application_credential": body })).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        }
        // Without its role the user's credentials give nothing.
        let member = cloud.role("member").await;
        let path = format!("/identity/v3/projects/{}/users/{}/roles/{member}", ann.project, ann.user);
        cloud.delete(&cloud.admin, &path).await.expect(204);
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        by(&cloud, json!({"id": reader["id"], "secret": reader["secret"]})).await.keystone(401, "requires authentication");
    });
}

#[test]
fn only_the_unrestricted_manage_credentials() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = somebody(&cloud, "ann", "member").await;
        let bob = somebody(&cloud, "bob", "member").await;
        let narrow = made(&cloud, &ann, json!({"name": "narrow"})).await;
        let wide = made(&cloud, &ann, json!({"name": "wide", "unrestricted": true})).await;
        let (narrow_token, wide_token) = (token_of(&cloud, &narrow).await, token_of(&cloud, &wide).await);
        let body = json!({"application_credential": {"name": "another"}});
        let path = format!("{}/{}", mine(&ann), id(&narrow));
        cloud.post(&narrow_token, &mine(&ann), body.clone()).await.keystone(403, "not allowed for managing");
        cloud.delete(&narrow_token, &path).await.keystone(403, "not allowed for managing");
        cloud.get(&narrow_token, &path).await.expect(200);
        cloud.post(&wide_token, &mine(&ann), body.clone()).await.expect(201);
        cloud.delete(&wide_token, &path).await.expect(204);
        cloud.get(&narrow_token, &mine(&ann)).await.expect(401);

        // Nor others: administrators see and remove, and make none for somebody else.
        let path = format!("{}/{}", mine(&ann), id(&wide));
        cloud.get(&bob, &mine(&ann)).await.keystone(403, "identity:list_application_credentials");
        cloud.get(&bob, &path).await.keystone(403, "identity:get_application_credential");
        cloud.get(&bob, &format!("{}/{}", mine(&bob), id(&wide))).await.keystone(403, "identity:get_application_credential");
        cloud.delete(&bob, &format!("{}/{}", mine(&bob), id(&wide))).await.keystone(403, "identity:delete_application_credential");
        cloud.post(&bob, &mine(&ann), body.clone()).await.keystone(403, "identity:create_application_credential");
        cloud.post(&cloud.admin, &mine(&ann), body.clone()).await.keystone(403, "identity:create_application_credential");
        cloud.get(&cloud.admin, &path).await.expect(200);
        cloud.delete(&cloud.admin, &path).await.expect(204);

        // Nor does a token of a credential get another.
        let token = token_of(&cloud, &made(&cloud, &bob, json!({"name": "b"})).await).await;
        cloud.rescope(&token, json!({"project": {"id": bob.project}})).await.keystone(403, "delegated token");
        // What is for no project cannot be made.
        let unscoped = Token::of(&cloud.login("ann", PASSWORD, Some(json!("unscoped"))).await);
        cloud.post(&unscoped, &mine(&unscoped), body).await.keystone(400, "not scoped to a project");
    });
}

#[test]
fn access_rules_limit_the_calls() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = somebody(&cloud, "ann", "member").await;
        let bob = somebody(&cloud, "bob", "member").await;
        let list = json!({"path": "/v2.0/networks", "method": "GET", "service": "network"});
        let first = made(&cloud, &ann, json!({"name": "first", "access_rules": [list]})).await;
        let rule = first["access_rules"][0].clone();
        assert_eq!((&rule["path"], &rule["method"], &rule["service"]), (&list["path"], &list["method"], &list["service"]));
        // An equal one is the same one, also by its id.
        let more = json!([list, {"id": rule["id"]}, {"path": "/v2.0/ports", "method": "GET", "service": "network"}]);
        let second = made(&cloud, &ann, json!({"name": "second", "access_rules": more})).await;
        assert_eq!((second["access_rules"].as_array().unwrap().len(), &second["access_rules"][0]), (2, &rule));
        let foreign = json!({"application_credential": {"name": "x", "access_rules": [{"id": rule["id"]}]}});
        cloud.post(&bob, &mine(&bob), foreign).await.keystone(404, "Could not find Access Rule");
        let unknown = json!({"application_credential": {"name": "x", "access_rules": [{"id": "nosuch"}]}});
        cloud.post(&bob, &mine(&bob), unknown).await.keystone(404, "Could not find Access Rule");
        let none = made(&cloud, &bob, json!({"name": "none", "access_rules": []})).await;
        assert_eq!(none.get("access_rules"), None);
        cloud.get(&token_of(&cloud, &none).await, "/network/v2.0/ports").await.expect(200);

        let token = token_of(&cloud, &first).await;
        cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        cloud.get(&token, "/network/v2.0/ports").await.expect(403);
        cloud.post(&token, "/network/v2.0/networks", json!({"network": {}})).await.expect(403);
        cloud.get(&token_of(&cloud, &second).await, "/network/v2.0/ports").await.expect(200);

        let all = cloud.get(&ann, &rules(&ann)).await.expect(200);
        assert_eq!(sorted(&all["access_rules"], "path"), ["/v2.0/networks", "/v2.0/ports"]);
        let some = cloud.get(&ann, &format!("{}?service=network&path=/v2.0/ports", rules(&ann))).await.expect(200);
        assert_eq!(sorted(&some["access_rules"], "path"), ["/v2.0/ports"]);
        let path = format!("{}/{}", rules(&ann), id(&rule));
        let shown = cloud.get(&ann, &path).await.expect(200)["access_rule"].take();
        assert!(shown["links"]["self"].as_str().unwrap().ends_with(&format!("/v3/access_rules/{}", id(&rule))), "{shown}");
        cloud.get(&bob, &path).await.keystone(403, "identity:get_access_rule");
        cloud.get(&bob, &format!("{}/{}", rules(&bob), id(&rule))).await.keystone(404, "Could not find Access Rule");
        cloud.delete(&bob, &path).await.keystone(403, "identity:delete_access_rule");
        cloud.delete(&ann, &path).await.keystone(403, "May not delete access rule in use");
        for made in [&first, &second] {
            cloud.delete(&ann, &format!("{}/{}", mine(&ann), id(made))).await.expect(204);
        }
        cloud.delete(&ann, &path).await.expect(204);
        cloud.get(&ann, &path).await.keystone(404, "Could not find Access Rule");
    });
}

#[test]
fn equal_rules_made_at_once_are_one() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let rule = json!({"path": "/v2.0/networks", "method": "GET", "service": "network"});
        let (path, admin) = (mine(&cloud.admin), &cloud.admin);
        let make =
            |n: usize| cloud.post(admin, &path, json!({"application_credential": {"name": format!("c{n}"), "access_rules": [rule]}}));
        let (a, b, c, d) = tokio::join!(make(0), make(1), make(2), make(3));
        for answer in [a, b, c, d] {
            answer.expect(201);
        }
        let all = cloud.get(admin, &rules(admin)).await.expect(200);
        assert_eq!(all["access_rules"].as_array().unwrap().len(), 1, "{all}");
    });
}

#[test]
fn oauth_clients_get_tokens() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let made = made(&cloud, &cloud.admin, json!({"name": "client", "secret": "s3cret"})).await;
        let send = async |client: Option<(&str, &str)>, form: &str| {
            let mut request = Request::new(Method::POST, cloud.url("/identity/v3/OS-OAUTH2/token"));
            request.body = form.as_bytes().to_vec().into();
            request = request.header("content-type", "application/x-www-form-urlencoded");
            if let Some((id, secret)) = client {
                request = request.basic_auth(id, secret);
            }
            cloud.send(request).await
        };
        let client = id(&made);
        let grant = "grant_type=client_credentials";
        for answer in
            [send(Some((client, "s3cret")), grant).await, send(None, &format!("{grant}&client_id={client}&client_secret=s3cret")).await]
        {
            assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.text);
            let body = answer.body;
            let seconds = body["expires_in"].as_i64().unwrap();
            assert!(body["token_type"] == "Bearer" && (3_500..=3_600).contains(&seconds), "{body}");
            let token = Token { text: body["access_token"].as_str().unwrap().to_owned(), ..Token::default() };
            cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        }
        let cases = [
            (send(Some((client, "s3cret")), "").await, 400, "invalid_request", "The parameter grant_type is required."),
            (send(None, "grant_type=password").await, 400, "unsupported_grant_type", "The parameter grant_type password is not supported."),
            (send(None, grant).await, 401, "invalid_client", "Client authentication failed."),
            (send(Some((client, "")), grant).await, 401, "invalid_client", "Client authentication failed."),
            (send(Some((client, "wrong")), grant).await, 401, "invalid_client", "The request you have made requires authentication."),
            (send(Some(("nosuch", "wrong")), grant).await, 401, "invalid_client", "The request you have made requires authentication."),
        ];
        for (answer, status, error, why) in cases {
            assert_eq!((answer.status, &answer.body), (status, &json!({"error": error, "error_description": why})));
            assert_eq!(answer.header("www-authenticate").starts_with("Keystone uri="), status == 401);
        }
        let got = cloud.send(Request::get(cloud.url("/identity/v3/OS-OAUTH2/token"))).await;
        assert_eq!((got.status, &got.body["error"]), (405, &json!("other_error")));
    });
}
