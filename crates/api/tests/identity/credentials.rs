//! Credentials of every type, EC2 keys and what is signed with them, passcodes, OAuth consumers.

use std::collections::BTreeMap;

use http::Method;
use identity::ec2::{self, Ec2Credentials};
use identity::totp;
use model::identity::Credential;
use model::{Id, Secret, Timestamp};
use serde_json::{Value, json};

use crate::support::{Answer, Cloud, Token, id, sorted};
use crate::world::on_each;

const CREDENTIALS: &str = "/identity/v3/credentials";
const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// A user with a role on a new project, by a password.
async fn member(cloud: &Cloud, name: &str) -> Token {
    let user = cloud.make("user", json!({"name": name, "password": "secret"})).await;
    let project = cloud.make("project", json!({"name": name})).await;
    let path = format!("/identity/v3/projects/{project}/users/{user}/roles/{}", cloud.role("member").await);
    cloud.put(&cloud.admin, &path, Value::Null).await.expect(204);
    Token::of(&cloud.login(name, "secret", Some(json!({"project": {"id": project}}))).await)
}

async fn make(cloud: &Cloud, by: &Token, credential: Value) -> Value {
    cloud.post(by, CREDENTIALS, json!({ "credential": credential })).await.expect(201)["credential"].take()
}

/// A token of an application credential of somebody.
async fn delegated(cloud: &Cloud, of: &Token) -> Token {
    let path = format!("/identity/v3/users/{}/application_credentials", of.user);
    let made = cloud.post(of, &path, json!({"application_credential": {"name": "robot", "secret": "oil"}})).await.expect(201);
    let made = &made["application_credential"];
    let identity = json!({
        "methods": ["application_credential"],
        "application_credential": {"id": made["id"], "secret": made["secret"]},
    });
    Token::of(&cloud.auth(&json!({"auth": {"identity": identity}})).await)
}

#[test]
fn blobs_are_sealed_and_shown_to_their_owner() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (ann, bob) = (member(&cloud, "ann").await, member(&cloud, "bob").await);
        let made = make(&cloud, &ann, json!({"user_id": ann.user, "type": "cert", "blob": "a pearl", "id": "mine", "colour": "red"})).await;
        let path = format!("{CREDENTIALS}/{}", id(&made));
        let shown = json!({
            "id": made["id"], "user_id": ann.user, "project_id": null, "type": "cert", "blob": "a pearl", "colour": "red",
            "links": {"self": cloud.url(&path)},
        });
        assert_eq!((id(&made).len(), &made), (32, &shown));
        for by in [&ann, &cloud.admin] {
            assert_eq!(cloud.get(by, &path).await.expect(200)["credential"], shown);
        }
        let kept = world.store.get(&Id::<Credential>::parse(id(&made)).unwrap()).await.unwrap().unwrap();
        let sealed = kept.desired.sealed_blob.reveal();
        assert!(sealed.starts_with("gAAAA") && !serde_json::to_string(&kept.desired).unwrap().contains("pearl"), "{sealed}");

        cloud.get(&bob, &path).await.keystone(403, "identity:get_credential");
        cloud.get(&bob, &format!("{CREDENTIALS}/nothing")).await.keystone(403, "identity:get_credential");
        cloud.get(&cloud.admin, &format!("{CREDENTIALS}/nothing")).await.keystone(404, "Could not find credential: nothing.");
        let others = json!({"credential": {"user_id": ann.user, "type": "cert", "blob": "x"}});
        cloud.post(&bob, CREDENTIALS, others).await.keystone(403, "identity:create_credential");
        cloud.patch(&bob, &path, json!({"credential": {"blob": "x"}})).await.keystone(403, "identity:update_credential");
        cloud.delete(&bob, &path).await.keystone(403, "identity:delete_credential");

        make(&cloud, &cloud.admin, json!({"user_id": bob.user, "type": "totp", "blob": SEED})).await;
        let types = async |by: &Token, query: &str| {
            sorted(&cloud.get(by, &format!("{CREDENTIALS}{query}")).await.expect(200)["credentials"], "type")
        };
        assert_eq!(types(&ann, "").await, ["cert"]);
        assert_eq!(types(&ann, &format!("?user_id={}", bob.user)).await, Vec::<String>::new());
        assert_eq!(types(&cloud.admin, "").await, ["cert", "totp"]);
        assert_eq!(types(&cloud.admin, "?type=totp").await, ["totp"]);
        assert_eq!(types(&cloud.admin, &format!("?user_id={}&type=totp", ann.user)).await, Vec::<String>::new());

        let changed = cloud.patch(&ann, &path, json!({"credential": {"blob": "gold"}})).await.expect(200);
        assert_eq!((&changed["credential"]["blob"], &changed["credential"]["colour"]), (&json!("gold"), &json!("red")));
        for wrong in [json!({"type": "x", "blob": "y"}), json!({"user_id": bob.user, "blob": "y"}), json!({"blob": 5}), json!({})] {
            assert_eq!(cloud.patch(&ann, &path, json!({ "credential": wrong })).await.status, 400);
        }
        cloud.delete(&ann, &path).await.expect(204);
        cloud.delete(&cloud.admin, &path).await.keystone(404, "Could not find credential");
        // With its owner goes what is left.
        cloud.delete(&cloud.admin, &format!("/identity/v3/users/{}", bob.user)).await.expect(204);
        assert_eq!(types(&cloud.admin, "").await, Vec::<String>::new());
    });
}

#[test]
fn ec2_keys_as_credentials() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = member(&cloud, "ann").await;
        let key = |blob: &str| json!({"user_id": ann.user, "project_id": ann.project, "type": "ec2", "blob": blob});
        let made = make(&cloud, &ann, key(r#"{"access": "zzz", "secret": "s"}"#)).await;
        // Source: sha256sum.
        assert_eq!(id(&made), "17f165d5a5ba695f27c023a83aa2b3463e23810e360b7517127e90161eebabda");
        assert_eq!((&made["project_id"], &made["blob"]), (&json!(ann.project), &json!(r#"{"access": "zzz", "secret": "s"}"#)));
        let again = json!({"credential": key(r#"{"access": "zzz", "secret": "other"}"#)});
        cloud.post(&ann, CREDENTIALS, again).await.keystone(409, "Duplicate entry found with ID 17f165d5");
        for (blob, words) in [
            ("x", "Invalid blob in credential"),
            ("{}", "Expecting to find blob in credential"),
            ("[1]", "Expecting to find blob in credential"),
            (r#"{"secret": "s"}"#, "Expecting to find access in credential"),
            (r#"{"access": 5}"#, "Expecting to find access in credential"),
        ] {
            cloud.post(&ann, CREDENTIALS, json!({"credential": key(blob)})).await.keystone(400, words);
        }
        let homeless = json!({"user_id": ann.user, "type": "ec2", "blob": r#"{"access": "a"}"#});
        cloud.post(&ann, CREDENTIALS, json!({ "credential": homeless })).await.keystone(400, "'project_id' is a required property");
        let path = format!("{CREDENTIALS}/{}", id(&made));
        let change = async |blob: &str| cloud.patch(&ann, &path, json!({"credential": {"blob": blob}})).await;
        change(r#"{"access": "zzz", "trust_id": "t"}"#).await.keystone(400, "trust_id can not be updated for credential");
        change(r#"{"access": "zzz", "app_cred_id": "t"}"#).await.keystone(400, "app_cred_id can not be updated for credential");
        change("x").await.keystone(400, "Invalid blob in credential");
        change(r#"{"access": "zzz", "secret": "new"}"#).await.expect(200);
    });
}

#[test]
fn ec2_keys_below_users() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (ann, bob) = (member(&cloud, "ann").await, member(&cloud, "bob").await);
        let keys = |of: &Token| format!("/identity/v3/users/{}/credentials/OS-EC2", of.user);
        let body = json!({"tenant_id": ann.project});
        let made = cloud.post(&ann, &keys(&ann), body.clone()).await.expect(201)["credential"].take();
        let access = made["access"].as_str().unwrap();
        let path = format!("{}/{access}", keys(&ann));
        let shown = json!({
            "user_id": ann.user, "tenant_id": ann.project, "access": access, "secret": made["secret"], "trust_id": null,
            "links": {"self": cloud.url(&path)},
        });
        assert_eq!((access.len(), made["secret"].as_str().unwrap().len(), &made), (32, 32, &shown));
        assert_eq!(cloud.get(&ann, &path).await.expect(200)["credential"], shown);
        assert_eq!(cloud.get(&ann, &keys(&ann)).await.expect(200)["credentials"], json!([shown]));
        let blob: Value = {
            let all = cloud.get(&ann, &format!("{CREDENTIALS}?type=ec2")).await.expect(200);
            serde_json::from_str(all["credentials"][0]["blob"].as_str().unwrap()).unwrap()
        };
        assert_eq!(blob, json!({"access": access, "secret": made["secret"], "trust_id": null}));
        cloud.post(&bob, &keys(&ann), body.clone()).await.keystone(403, "identity:ec2_create_credential");
        cloud.get(&bob, &keys(&ann)).await.keystone(403, "identity:ec2_list_credentials");
        for by in [&keys(&bob), &keys(&ann)] {
            cloud.get(&bob, &format!("{by}/{access}")).await.keystone(403, "identity:ec2_get_credential");
            cloud.delete(&bob, &format!("{by}/{access}")).await.keystone(403, "identity:ec2_delete_credential");
        }
        cloud.post(&ann, &keys(&ann), json!({"tenant_id": "nowhere"})).await.keystone(404, "Could not find project: nowhere.");
        cloud.post(&ann, &keys(&ann), json!({})).await.keystone(404, "Could not find project: None.");
        cloud.post(&cloud.admin, "/identity/v3/users/nobody/credentials/OS-EC2", body).await.keystone(404, "Could not find user: nobody.");
        cloud.get(&ann, &format!("{}/zzz", keys(&ann))).await.keystone(404, "Could not find credential: 17f165d5");
        let cert =
            make(&cloud, &ann, json!({"user_id": ann.user, "type": "EC2", "project_id": null, "blob": r#"{"access": "odd"}"#})).await;
        assert_eq!(id(&cert).len(), 64);
        cloud.get(&ann, &format!("{}/odd", keys(&ann))).await.keystone(401, "EC2 access key not found.");
        cloud.delete(&ann, &path).await.expect(204);
        cloud.delete(&ann, &path).await.keystone(404, "Could not find credential");
    });
}

#[test]
fn delegated_tokens_do_not_get_at_credentials() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = member(&cloud, "ann").await;
        let made = make(&cloud, &ann, json!({"user_id": ann.user, "type": "cert", "blob": "x"})).await;
        let robot = delegated(&cloud, &ann).await;
        let path = format!("{CREDENTIALS}/{}", id(&made));
        let keys = format!("/identity/v3/users/{}/credentials/OS-EC2", ann.user);
        let key = cloud.post(&ann, &keys, json!({"tenant_id": ann.project})).await.expect(201)["credential"].take();
        let one = format!("{keys}/{}", key["access"].as_str().unwrap());
        assert_eq!(cloud.get(&robot, CREDENTIALS).await.expect(200)["credentials"], json!([]));
        let words = "Delegated tokens cannot access credentials directly";
        cloud.get(&robot, &path).await.keystone(403, words);
        cloud.patch(&robot, &path, json!({"credential": {"blob": "y"}})).await.keystone(403, words);
        cloud.delete(&robot, &path).await.keystone(403, words);
        let another = json!({"credential": {"user_id": ann.user, "type": "cert", "blob": "x"}});
        cloud.post(&robot, CREDENTIALS, another).await.keystone(403, words);
        cloud.get(&robot, &keys).await.keystone(403, words);
        cloud.post(&robot, &keys, json!({"tenant_id": ann.project})).await.keystone(403, words);
        cloud.get(&robot, &one).await.keystone(403, words);
        cloud.delete(&robot, &one).await.keystone(403, words);
    });
}

/// A request signed with a key.
fn signed(access: &str, secret: &str, params: &[(&str, &str)]) -> Value {
    let params: BTreeMap<String, String> = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (host, verb, path) = (Some("ec2.example".into()), Some("GET".into()), Some("/".into()));
    let request = Ec2Credentials { access: Some(access.into()), host, verb, path, params: params.clone(), ..Ec2Credentials::default() };
    let signature = ec2::generate(&Secret::new(secret), &request).unwrap();
    json!({"credentials": {"access": access, "signature": signature, "host": "ec2.example", "verb": "GET", "path": "/", "params": params}})
}

const V2: (&str, &str) = ("SignatureVersion", "2");

#[test]
fn tokens_for_signed_requests() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = member(&cloud, "ann").await;
        let keys = format!("/identity/v3/users/{}/credentials/OS-EC2", ann.user);
        let made = cloud.post(&ann, &keys, json!({"tenant_id": ann.project})).await.expect(201)["credential"].take();
        let (access, secret) = (made["access"].as_str().unwrap(), made["secret"].as_str().unwrap());
        let exchange = async |body: Value| cloud.post(&cloud.admin, "/identity/v3/ec2tokens", body).await;
        let refused = |answer: Answer| answer.keystone(401, "requires authentication");

        let body = signed(access, secret, &[V2]);
        cloud.post(&ann, "/identity/v3/ec2tokens", body.clone()).await.keystone(403, "identity:ec2tokens_validate");
        cloud.post(&ann, "/identity/v3/s3tokens", body.clone()).await.keystone(403, "identity:s3tokens_validate");
        let answer = exchange(body.clone()).await;
        let token = Token { text: answer.header("x-subject-token").to_owned(), ..Token::default() };
        let token_body = answer.expect(200)["token"].take();
        assert_eq!((&token_body["methods"], id(&token_body["user"])), (&json!(["ec2credential"]), ann.user.as_str()));
        assert_eq!((id(&token_body["project"]), token_body["catalog"].is_array()), (ann.project.as_str(), true));
        assert_eq!(sorted(&token_body["roles"], "name"), ["member", "reader"]);
        assert_eq!(cloud.get(&token, "/identity/v3/auth/projects").await.expect(200)["projects"][0]["id"], json!(ann.project));
        // It stands for the user's work, not for the user.
        cloud.get(&token, &keys).await.keystone(403, "Delegated tokens");
        assert_eq!(cloud.rescope(&token, json!({"project": {"id": ann.project}})).await.status, 403);

        // Source: hmac of Python with SHA-1 and the secret "s".
        make(
            &cloud,
            &ann,
            json!({"user_id": ann.user, "project_id": ann.project, "type": "ec2", "blob": r#"{"access":"s3","secret":"s"}"#}),
        )
        .await;
        let s3 = json!({"credentials": {"access": "s3", "token": "R0VUCgoKV2VkCi94", "signature": "QuwuksB8xyE/q493S1cEeja9LCw="}});
        let answer = cloud.post(&cloud.admin, "/identity/v3/s3tokens", s3.clone()).await;
        assert_eq!((answer.header("x-subject-token"), answer.body["token"]["user"]["id"].as_str()), ("", Some(ann.user.as_str())));
        answer.expect(200);
        let mut wrong = s3;
        wrong["credentials"]["signature"] = json!("AAAA");
        refused(cloud.post(&cloud.admin, "/identity/v3/s3tokens", wrong).await);

        refused(exchange(signed(access, "not the secret", &[V2])).await);
        refused(exchange(signed(access, secret, &[V2, ("Timestamp", "2020-01-01T00:00:00Z")])).await);
        exchange(signed(access, secret, &[V2, ("Timestamp", &Timestamp::now().iso_micros())])).await.expect(200);
        refused(exchange(json!({"credentials": {"access": access}})).await);
        refused(exchange(json!({"credentials": {"x": 1}})).await);
        refused(exchange(json!({"credentials": "x"})).await);
        exchange(json!({})).await.keystone(400, "request must include a request body");
        exchange(signed("nobody's", secret, &[V2])).await.keystone(404, "EC2 access key not found.");
        cloud.get(&cloud.admin, "/identity/v3/ec2tokens").await.keystone(405, "not allowed");

        // What the owner writes into a blob makes no more of it, and what it claims to be less of is nothing.
        for (access, claim) in [("t", "trust_id"), ("a", "app_cred_id"), ("o", "access_token_id")] {
            let blob = json!({"access": access, "secret": "s", claim: "0123456789abcdef"}).to_string();
            make(&cloud, &ann, json!({"user_id": ann.user, "project_id": ann.project, "type": "ec2", "blob": blob})).await;
            refused(exchange(signed(access, "s", &[V2])).await);
        }
        let odd = json!({"access": "n", "secret": 5}).to_string();
        make(&cloud, &ann, json!({"user_id": ann.user, "project_id": ann.project, "type": "ec2", "blob": odd})).await;
        refused(exchange(signed("n", "5", &[V2])).await);

        let user = format!("/identity/v3/users/{}", ann.user);
        cloud.patch(&cloud.admin, &user, json!({"user": {"enabled": false}})).await.expect(200);
        refused(exchange(body.clone()).await);
        cloud.patch(&cloud.admin, &user, json!({"user": {"enabled": true}})).await.expect(200);
        exchange(body.clone()).await.expect(200);
        let role = format!("/identity/v3/projects/{}/users/{}/roles/{}", ann.project, ann.user, cloud.role("member").await);
        cloud.delete(&cloud.admin, &role).await.expect(204);
        refused(exchange(body).await);
    });
}

fn with_passcode(user: &str, passcode: &Value) -> Value {
    json!({"auth": {"identity": {"methods": ["totp"], "totp": {"user": {"id": user, "passcode": passcode}}}}})
}

#[test]
fn a_passcode_lets_in_once() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let user = cloud.make("user", json!({"name": "ann", "password": "secret"})).await;
        for blob in ["no base32!", SEED, SEED] {
            make(&cloud, &cloud.admin, json!({"user_id": user, "type": "totp", "blob": blob})).await;
        }
        let code = json!(totp::generate(&Secret::new(SEED), Timestamp::now()).unwrap());
        // Of many who come with it at once one gets in.
        let body = with_passcode(&user, &code);
        let all = futures(&cloud, &body, 6).await;
        assert_eq!(all.iter().filter(|it| **it == 201).count(), 1, "{all:?}");
        assert!(all.iter().all(|it| [201, 401].contains(it)), "{all:?}");
        cloud.auth(&body).await.keystone(401, "requires authentication");
        for wrong in [json!("000000"), json!(""), json!(code.as_str().unwrap().parse::<u32>().unwrap())] {
            let status = cloud.auth(&with_passcode(&user, &wrong)).await.status;
            assert!([400, 401].contains(&status), "{wrong} {status}");
        }
        let nobody = cloud.auth(&with_passcode("nobody", &code)).await;
        nobody.keystone(401, "requires authentication");

        // Another user with the same secret, named by name: two factors.
        let bob = cloud.make("user", json!({"name": "bob", "password": "secret"})).await;
        make(&cloud, &cloud.admin, json!({"user_id": bob, "type": "totp", "blob": SEED})).await;
        let code = totp::generate(&Secret::new(SEED), Timestamp::now()).unwrap();
        let who = |key: &str, value: &str| json!({"user": {"name": "bob", "domain": {"id": "default"}, key: value}});
        let identity = json!({"methods": ["password", "totp"], "password": who("password", "secret"), "totp": who("passcode", &code)});
        let got = cloud.auth(&json!({"auth": {"identity": identity}})).await.expect(201);
        assert_eq!(got["token"]["methods"], json!(["totp", "password"]));
        let path = format!("/identity/v3/users/{bob}");
        cloud.patch(&cloud.admin, &path, json!({"user": {"enabled": false}})).await.expect(200);
        let code = totp::generate(&Secret::new(SEED), Timestamp::now().plus_seconds(30)).unwrap();
        cloud.auth(&with_passcode(&bob, &json!(code))).await.keystone(401, "requires authentication");
    });
}

/// The statuses of so many log-ins at once.
async fn futures(cloud: &Cloud, body: &Value, many: usize) -> Vec<u16> {
    let one = async || cloud.auth(body).await.status;
    futures_util::future::join_all((0..many).map(|_| one())).await
}

#[test]
fn consumers_show_their_secret_once() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let ann = member(&cloud, "ann").await;
        let all = "/identity/v3/OS-OAUTH1/consumers";
        let made = cloud.post(&cloud.admin, all, json!({"consumer": {"description": "d", "colour": "red", "secret": "mine"}})).await;
        let mut made = made.expect(201)["consumer"].take();
        let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
        assert_eq!(secret.as_str().unwrap().len(), 32);
        let path = format!("{all}/{}", id(&made));
        let shown = json!({"id": made["id"], "description": "d", "colour": "red", "links": {"self": cloud.url(&path)}});
        assert_eq!(made, shown);
        assert_eq!(cloud.get(&cloud.admin, &path).await.expect(200)["consumer"], shown);
        assert_eq!(cloud.get(&cloud.admin, all).await.expect(200)["consumers"], json!([shown]));
        let empty = cloud.post(&cloud.admin, all, json!({"consumer": {}})).await.expect(201);
        assert_eq!(empty["consumer"]["description"], Value::Null);
        let changed = cloud.patch(&cloud.admin, &path, json!({"consumer": {"description": "e"}})).await.expect(200);
        assert_eq!((&changed["consumer"]["description"], &changed["consumer"]["secret"]), (&json!("e"), &Value::Null));
        for wrong in [json!({"secret": "x"}), json!({}), json!({"description": 5}), json!({"id": "x"})] {
            assert_eq!(cloud.patch(&cloud.admin, &path, json!({ "consumer": wrong })).await.status, 400);
        }
        for (method, rule) in [(Method::GET, "get"), (Method::PATCH, "update"), (Method::DELETE, "delete")] {
            let body = if method == Method::PATCH { json!({"consumer": {"description": "x"}}) } else { Value::Null };
            cloud.ask(&ann, method, &path, &body).await.keystone(403, &format!("identity:{rule}_consumer"));
        }
        cloud.delete(&cloud.admin, &path).await.expect(204);
        cloud.get(&cloud.admin, &path).await.keystone(404, "Could not find consumer");
        // Tokens of OAuth 1 are not offered.
        let answer = cloud.post(&cloud.admin, "/identity/v3/OS-OAUTH1/request_token", Value::Null).await;
        assert_eq!(answer.status, 404);
    });
}
