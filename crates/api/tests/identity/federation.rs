//! External identity providers: what is kept of them, and logging in with what a real one on loopback issues.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use api::IdentitySettings;
use axum::Router;
use axum::extract::State;
use axum::routing::get as at;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::desk::{Answer, Desk, Who};
use crate::world::{on_each, on_sqlite};

const OS: &str = "/identity/v3/OS-FEDERATION";

/// A small OpenID provider: discovery, keys, tokens.
struct Provider {
    issuer: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    issuer: Mutex<String>,
    keys: Mutex<Vec<(String, Arc<Ed25519KeyPair>)>>,
    asked: AtomicUsize,
    /// Answers with this in place of keys.
    nonsense: Mutex<Option<String>>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

async fn discovery(State(shared): State<Arc<Shared>>) -> String {
    let issuer = shared.issuer.lock().unwrap().clone();
    json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
}

async fn keys(State(shared): State<Arc<Shared>>) -> String {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    if let Some(text) = shared.nonsense.lock().unwrap().clone() {
        return text;
    }
    let keys = shared.keys.lock().unwrap();
    let shown = keys.iter().map(|(id, key)| {
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": encoded(key.public_key().as_ref())})
    });
    json!({"keys": shown.collect::<Vec<_>>()}).to_string()
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        shared.issuer.lock().unwrap().clone_from(&issuer);
        let routes = Router::new().route("/realm/.well-known/openid-configuration", at(discovery)).route("/realm/keys", at(keys));
        let routes = routes.with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let provider = Self { issuer, shared, server };
        provider.new_key("first");
        provider
    }

    /// Puts a new key in place of the others.
    fn new_key(&self, id: &str) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let key = Arc::new(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap());
        *self.shared.keys.lock().unwrap() = vec![(id.to_owned(), key)];
    }

    fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// The claims of a token for our client.
    fn claims(&self, more: Value) -> Value {
        let mut claims = json!({"iss": self.issuer, "aud": "cloud", "sub": "u-1", "iat": now(), "exp": now() + 300});
        for (key, value) in more.as_object().unwrap() {
            claims[key] = value.clone();
        }
        claims
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
        let key = Arc::clone(&self.shared.keys.lock().unwrap()[0].1);
        format!("{text}.{}", encoded(key.sign(text.as_bytes()).as_ref()))
    }

    fn token(&self, more: Value) -> String {
        let id = self.shared.keys.lock().unwrap()[0].0.clone();
        self.signed(&json!({"alg": "EdDSA", "kid": id, "typ": "JWT"}), &self.claims(more))
    }
}

async fn put(desk: &Desk, path: &str, body: Value) -> Answer {
    desk.put(&desk.admin, &format!("{OS}/{path}"), body).await
}

fn rules() -> Value {
    json!([{
        "local": [
            {"user": {"id": "{0}", "name": "{1}", "email": "{2}"}},
            {"groups": "{3}", "domain": {"id": "default"}},
        ],
        "remote": [
            {"type": "OIDC-sub"}, {"type": "OIDC-preferred_username"}, {"type": "HTTP_OIDC_EMAIL"},
            {"type": "groups", "whitelist": ["staff", "crew"]},
        ],
    }])
}

/// A provider `corp` that is ready, with these rules.
async fn ready(desk: &Desk, provider: &Provider, rules: Value) {
    put(desk, "identity_providers/corp", json!({"identity_provider": {"enabled": true, "remote_ids": [provider.issuer]}}))
        .await
        .expect(201);
    put(desk, "mappings/m", json!({"mapping": {"rules": rules}})).await.expect(201);
    let protocol = json!({"protocol": {"mapping_id": "m", "audiences": ["cloud"]}});
    put(desk, "identity_providers/corp/protocols/openid", protocol).await.expect(201);
}

async fn log_in(desk: &Desk, token: &str) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    let path = format!("{OS}/identity_providers/corp/protocols/openid/auth");
    let bearer = format!("Bearer {token}");
    let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &bearer)] };
    desk.call(&nobody, Method::POST, &path, headers, None).await
}

async fn scoped(desk: &Desk, token: &str, project: &str) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    let body = json!({"auth": {
        "identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"id": project}},
    }});
    desk.call(&nobody, Method::POST, "/identity/v3/auth/tokens", &[], Some(body)).await
}

async fn made(desk: &Desk, singular: &str, body: Value) -> String {
    let made = desk.post(&desk.admin, &format!("/identity/v3/{singular}s"), json!({ singular: body })).await.expect(201);
    made[singular]["id"].as_str().unwrap().to_owned()
}

async fn member(desk: &Desk) -> String {
    let found = desk.get(&desk.admin, "/identity/v3/roles?name=member").await.expect(200);
    found["roles"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn providers_mappings_and_protocols_are_kept() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let one = "identity_providers/corp";
        let body = json!({"identity_provider": {"remote_ids": ["https://z", "https://a"], "authorization_ttl": 5}});
        let shown = put(&desk, one, body.clone()).await.expect(201)["identity_provider"].take();
        assert_eq!((&shown["id"], &shown["enabled"], &shown["authorization_ttl"]), (&json!("corp"), &json!(false), &json!(5)));
        assert_eq!(shown["remote_ids"], json!(["https://a", "https://z"]));
        let domain = desk.get(&desk.admin, &format!("/identity/v3/domains/{}", shown["domain_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(domain["domain"]["enabled"], true);
        put(&desk, one, json!({"identity_provider": {}})).await.refused(409, "Conflict occurred attempting to store identity_provider");
        put(&desk, "identity_providers/b", body).await.refused(409, "Duplicate remote ID: https://");
        let domains = desk.get(&desk.admin, "/identity/v3/domains").await.expect(200);
        assert_eq!(domains["domains"].as_array().unwrap().len(), 2, "what was refused left no domain");
        let nowhere = json!({"identity_provider": {"domain_id": "nope"}});
        put(&desk, "identity_providers/b", nowhere).await.refused(404, "Could not find domain: nope.");
        let default = json!({"identity_provider": {"domain_id": "default", "enabled": true}});
        put(&desk, "identity_providers/b", default).await.expect(201);
        let taken = json!({"identity_provider": {"remote_ids": ["https://z"]}});
        let path = format!("{OS}/identity_providers/b");
        desk.patch(&desk.admin, &path, taken).await.refused(409, "Duplicate remote ID: https://z.");
        desk.patch(&desk.admin, &path, json!({"identity_provider": {"domain_id": "x"}})).await.refused(400, "domain_id");
        let listed = desk.get(&desk.admin, &format!("{OS}/identity_providers?enabled=true")).await.expect(200);
        assert_eq!((&listed["identity_providers"][0]["id"], &listed["identity_providers"][1]), (&json!("b"), &Value::Null));
        let link = listed["identity_providers"][0]["links"]["protocols"].as_str().unwrap().to_owned();
        assert!(link.ends_with("/identity/v3/OS-FEDERATION/identity_providers/b/protocols"), "{link}");
        desk.get(&desk.admin, &format!("{OS}/identity_providers/nope")).await.refused(404, "Could not find Identity Provider: nope.");

        put(&desk, "mappings/m", json!({"mapping": {"rules": []}})).await.refused(400, "[] should be non-empty");
        put(&desk, "mappings/m", json!({})).await.refused(400, "'rules' is a required property");
        let shown = put(&desk, "mappings/m", json!({"mapping": {"rules": rules()}})).await.expect(201);
        assert_eq!((&shown["mapping"]["rules"], &shown["mapping"]["schema_version"]), (&rules(), &json!("1.0")));
        let body = json!({"mapping": {"rules": rules(), "schema_version": "2.0"}});
        let shown = desk.patch(&desk.admin, &format!("{OS}/mappings/m"), body).await.expect(200);
        assert_eq!(shown["mapping"]["schema_version"], "2.0");

        let protocol = format!("{one}/protocols/openid");
        put(&desk, &protocol, json!({"protocol": {"mapping_id": "nope"}})).await.refused(400, "Invalid mapping id: nope");
        let body = json!({"protocol": {"mapping_id": "m"}});
        put(&desk, &protocol, body.clone()).await.expect(201);
        put(&desk, &protocol, body.clone()).await.refused(409, "Duplicate entry found with ID openid.");
        put(&desk, "identity_providers/nope/protocols/openid", body).await.refused(404, "Could not find Identity Provider: nope.");
        let body = json!({"protocol": {"mapping_id": "m", "remote_id_attribute": "HTTP_OIDC_ISS", "jwks_uri": "https://z/keys"}});
        desk.patch(&desk.admin, &format!("{OS}/{protocol}"), body).await.expect(200);
        let listed = desk.get(&desk.admin, &format!("{OS}/{one}/protocols")).await.expect(200);
        let shown = &listed["protocols"][0];
        assert_eq!(
            (&shown["id"], &shown["idp_id"], &shown["remote_id_attribute"]),
            (&json!("openid"), &json!("corp"), &json!("HTTP_OIDC_ISS"))
        );
        assert_eq!(shown["jwks_uri"], "https://z/keys");
        desk.get(&desk.admin, &format!("{OS}/{one}/protocols/x")).await.refused(404, "federated protocol x for Identity Provider: corp.");

        let provider = json!({"service_provider": {"auth_url": "https://x/y", "sp_url": "https://x/z"}});
        let shown = put(&desk, "service_providers/s", provider).await.expect(201);
        assert_eq!(shown["service_provider"]["relay_state_prefix"], "ss:mem:");
        for path in ["service_providers/s", protocol.as_str(), one, "mappings/m"] {
            desk.delete(&desk.admin, &format!("{OS}/{path}")).await.expect(204);
            desk.delete(&desk.admin, &format!("{OS}/{path}")).await.refused(404, "Could not find");
        }
        let somebody = desk.tenant("ada", "work").await;
        desk.put(&somebody, &format!("{OS}/mappings/m"), json!({"mapping": {"rules": rules()}})).await.refused(403, "create_mapping");
    });
}

#[test]
fn who_a_provider_knows_logs_in_and_has_the_roles_of_its_groups() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let provider = Provider::start().await;
        ready(&desk, &provider, rules()).await;
        let staff = made(&desk, "group", json!({"name": "staff", "domain_id": "default"})).await;
        let project = made(&desk, "project", json!({"name": "work", "domain_id": "default"})).await;
        let grant = format!("/identity/v3/projects/{project}/groups/{staff}/roles/{}", member(&desk).await);
        desk.call(&desk.admin, Method::PUT, &grant, &[], None).await.expect(204);

        let ada = json!({"preferred_username": "ada", "email": "ada@example.org", "groups": ["staff", "others"]});
        let answer = log_in(&desk, &provider.token(ada.clone())).await;
        let unscoped = answer.header("x-subject-token").to_owned();
        let token = answer.expect(201)["token"].take();
        assert_eq!((&token["methods"], &token["user"]["name"]), (&json!(["openid"]), &json!("ada")));
        assert_eq!((token.get("project"), token.get("roles")), (None, None));
        let said = &token["user"]["OS-FEDERATION"];
        assert_eq!((&said["identity_provider"]["id"], &said["protocol"]["id"]), (&json!("corp"), &json!("openid")));
        assert_eq!(said["groups"], json!([{"id": staff}]));
        let id = token["user"]["id"].as_str().unwrap().to_owned();
        let user = desk.get(&desk.admin, &format!("/identity/v3/users/{id}")).await.expect(200)["user"].take();
        assert_eq!((&user["email"], &user["federated"][0]["protocols"][0]["unique_id"]), (&json!("ada@example.org"), &json!("u-1")));
        let corp = desk.get(&desk.admin, &format!("{OS}/identity_providers/corp")).await.expect(200);
        assert_eq!(user["domain_id"], corp["identity_provider"]["domain_id"]);

        let answer = scoped(&desk, &unscoped, &project).await;
        let work = answer.header("x-subject-token").to_owned();
        let token = answer.expect(201)["token"].take();
        assert_eq!((&token["project"]["id"], &token["user"]["id"]), (&json!(project), &json!(id)));
        assert!(token["roles"].as_array().unwrap().iter().any(|it| it["name"] == "member"), "{token}");
        let who = Who { token: work.clone(), project: project.clone(), user: id.clone() };
        for path in ["auth/projects", "OS-FEDERATION/projects"] {
            let listed = desk.get(&who, &format!("/identity/v3/{path}")).await.expect(200);
            assert_eq!(listed["projects"][0]["id"], json!(project), "{path}");
        }

        // The same user with another name, and no longer in the group: the roles are gone at once.
        let lovelace = json!({"preferred_username": "lovelace", "email": "ada@example.org", "groups": ["others"]});
        let token = log_in(&desk, &provider.token(lovelace)).await.expect(201)["token"].take();
        assert_eq!((&token["user"]["id"], &token["user"]["name"]), (&json!(id), &json!("lovelace")));
        assert_eq!(desk.get(&who, "/identity/v3/auth/projects").await.status.as_u16(), 401);
        scoped(&desk, &unscoped, &project).await.refused(401, "");
        // Somebody else of the same name is somebody else.
        let other = json!({"sub": "u-2", "preferred_username": "lovelace", "email": "b@example.org", "groups": ["staff"]});
        let answer = log_in(&desk, &provider.token(other)).await;
        let others = answer.header("x-subject-token").to_owned();
        assert_ne!(answer.expect(201)["token"]["user"]["id"], json!(id));

        // Disabled, neither a token of the provider nor one of ours gets another.
        let path = format!("{OS}/identity_providers/corp");
        desk.patch(&desk.admin, &path, json!({"identity_provider": {"enabled": false}})).await.expect(200);
        log_in(&desk, &provider.token(ada.clone())).await.refused(403, "Identity Provider corp is disabled");
        scoped(&desk, &others, &project).await.refused(403, "Identity Provider corp is disabled");
        desk.patch(&desk.admin, &path, json!({"identity_provider": {"enabled": true}})).await.expect(200);
        scoped(&desk, &others, &project).await.expect(201);
        // With the provider its users go.
        desk.delete(&desk.admin, &path).await.expect(204);
        desk.get(&desk.admin, &format!("/identity/v3/users/{id}")).await.refused(404, "Could not find user");
        scoped(&desk, &others, &project).await.refused(401, "");
        log_in(&desk, &provider.token(ada)).await.refused(404, "Could not find Identity Provider: corp.");
    });
}

#[test]
fn tokens_that_prove_nothing_are_refused() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let provider = Provider::start().await;
        let anyone = json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "OIDC-sub"}]}]);
        ready(&desk, &provider, anyone).await;
        log_in(&desk, &provider.token(json!({}))).await.expect(201);
        log_in(&desk, &provider.token(json!({"aud": ["other", "cloud"]}))).await.expect(201);
        let past = now() - 3600;
        for (why, more) in [
            ("issuer", json!({"iss": "https://elsewhere"})),
            ("audience", json!({"aud": "other"})),
            ("expired", json!({"exp": past})),
            ("no end", json!({"exp": null})),
            ("not yet", json!({"nbf": now() + 3600})),
            ("no subject", json!({"sub": null})),
            ("subject too long", json!({"sub": "x".repeat(300)})),
        ] {
            let answer = log_in(&desk, &provider.token(more)).await;
            assert_eq!(answer.status.as_u16(), 401, "{why}: {}", answer.body);
            assert!(answer.header("x-subject-token").is_empty());
        }
        let claims = provider.claims(json!({}));
        for header in [json!({"alg": "none"}), json!({"alg": "HS256"}), json!({"alg": "EdDSA", "kid": "first", "crit": ["x"]})] {
            log_in(&desk, &provider.signed(&header, &claims)).await.refused(401, "");
        }
        let unsigned = format!("{}.{}.", encoded(br#"{"alg":"none"}"#), encoded(claims.to_string().as_bytes()));
        let stranger = Provider::start().await;
        let forged = stranger.signed(&json!({"alg": "EdDSA", "kid": "first"}), &claims);
        for text in [unsigned.as_str(), forged.as_str(), "", "x", "a.b.c", "..."] {
            log_in(&desk, text).await.refused(401, "");
        }
        // A protocol that names no audience lets nobody in, and one of another name cannot be a method.
        put(&desk, "identity_providers/corp/protocols/mapped", json!({"protocol": {"mapping_id": "m"}})).await.expect(201);
        let bearer = format!("Bearer {}", provider.token(json!({})));
        let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
        for (protocol, word) in [("mapped", ""), ("strange", "unsupported method")] {
            let path = format!("{OS}/identity_providers/corp/protocols/{protocol}/auth");
            desk.call(&nobody, Method::GET, &path, &[("authorization", &bearer)], None).await.refused(401, word);
        }
    });
}

#[test]
fn new_keys_are_asked_for_once_and_a_bad_provider_is_not_our_fault() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let provider = Provider::start().await;
        let anyone = json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "OIDC-sub"}]}]);
        ready(&desk, &provider, anyone).await;
        for _ in 0..3 {
            log_in(&desk, &provider.token(json!({}))).await.expect(201);
        }
        assert_eq!(provider.asked(), 1);
        let before = provider.token(json!({}));
        provider.new_key("second");
        log_in(&desk, &provider.token(json!({}))).await.expect(201);
        assert_eq!(provider.asked(), 2);
        log_in(&desk, &before).await.refused(401, "");
        provider.new_key("third");
        for _ in 0..3 {
            log_in(&desk, &provider.token(json!({}))).await.refused(401, "");
        }
        assert_eq!(provider.asked(), 2, "a key that is not known is looked for once in a while");

        for (text, name) in [("nonsense", "b"), ("", "c"), (&*"[".repeat(300_000), "d")] {
            let bad = Provider::start().await;
            *bad.shared.nonsense.lock().unwrap() = Some(text.to_owned());
            let path = format!("{OS}/identity_providers/corp");
            let body = json!({"identity_provider": {"remote_ids": [bad.issuer]}});
            desk.patch(&desk.admin, &path, body).await.expect(200);
            for _ in 0..2 {
                let answer = log_in(&desk, &bad.token(json!({}))).await;
                assert_eq!(answer.status.as_u16(), 401, "{name}");
            }
            assert_eq!(bad.asked(), 1, "{name}");
        }
        // Nobody listens there.
        let gone = Provider::start().await;
        gone.server.abort();
        let body = json!({"identity_provider": {"remote_ids": [gone.issuer]}});
        desk.patch(&desk.admin, &format!("{OS}/identity_providers/corp"), body).await.expect(200);
        log_in(&desk, &gone.token(json!({}))).await.refused(401, "");
    });
}

#[test]
fn mappings_decide_who_comes_in_and_what_they_get() {
    on_each(async |world| {
        let desk = Desk::with(world, IdentitySettings::default()).await;
        let provider = Provider::start().await;
        let rule = |local: Value| json!({"rules": [{"local": [local], "remote": [{"type": "OIDC-sub"}, {"type": "hd", "any_one_of": ["example.org"]}]}], "schema_version": "3.0"});
        let projects =
            |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name, "roles": [{"name": "member"}]})).collect() };
        ready(&desk, &provider, rule(json!({"user": {"name": "{0}"}}))["rules"].take()).await;
        let path = format!("{OS}/mappings/m");
        let change = async |local: Value| desk.patch(&desk.admin, &path, json!({"mapping": rule(local)})).await.expect(200);
        let good = || provider.token(json!({"hd": "example.org"}));
        log_in(&desk, &provider.token(json!({"hd": "example.com"}))).await.refused(401, "Could not map any federated user");
        change(json!({"user": {"name": "{0}"}, "projects": projects(&["red", "blue"])})).await;
        let listed = async |token: String| {
            let who = Who { token, project: String::new(), user: String::new() };
            let shown = desk.get(&who, "/identity/v3/auth/projects").await.expect(200);
            let mut names: Vec<String> =
                shown["projects"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        for wanted in [&["blue", "red"][..], &["blue"], &[]] {
            change(json!({"user": {"name": "{0}"}, "projects": projects(wanted)})).await;
            let answer = log_in(&desk, &good()).await;
            assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
            assert_eq!(listed(answer.header("x-subject-token").to_owned()).await, wanted);
        }
        change(json!({"user": {"name": "{0}"}, "projects": [{"name": "red", "roles": [{"name": "nothing"}]}]})).await;
        log_in(&desk, &good()).await.refused(404, "Could not find role: nothing.");
        change(json!({"user": {"name": "{0}"}, "group": {"id": "nothing"}})).await;
        log_in(&desk, &good()).await.refused(401, "");
        change(json!({"user": {"name": "{7}"}})).await;
        log_in(&desk, &good()).await.refused(401, "");
        // A user who is here already: known by name, with no mark of the provider.
        let id = desk.tenant("ada", "green").await.user;
        change(json!({"user": {"name": "ada", "type": "local", "domain": {"id": "default"}}})).await;
        let token = log_in(&desk, &good()).await.expect(201)["token"].take();
        assert_eq!((&token["user"]["id"], token["user"].get("OS-FEDERATION")), (&json!(id), None));
        change(json!({"user": {"name": "nobody", "type": "local", "domain": {"id": "default"}}})).await;
        log_in(&desk, &good()).await.refused(401, "");
        desk.delete(&desk.admin, &path).await.expect(204);
        log_in(&desk, &good()).await.refused(404, "Could not find mapping: m.");
    });
}
