//! The API as clients meet it: the real router on a loopback port, over a store of the test's own.

use std::net::SocketAddr;
use std::sync::Arc;

use api::{App, FabricSettings, IdentitySettings, NetworkSettings, Settings};
use http::Method;
use model::Secret;
use net::http::{Client, Request, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::World;

/// The password of `admin`.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running API. It stops with this value.
pub struct Cloud {
    pub address: SocketAddr,
    /// A token of `admin` on project `admin`.
    pub admin: Token,
    server: JoinHandle<()>,
    _images: tempfile::TempDir,
}

/// A token and what it is scoped to.
#[derive(Clone, Debug, Default)]
pub struct Token {
    pub text: String,
    pub user: String,
    pub project: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// Null if it has no JSON body.
    pub body: Value,
    pub text: String,
}

impl Answer {
    fn of(response: &Response) -> Self {
        // Whole, which `Response::text` is not.
        let text = String::from_utf8_lossy(&response.body).into_owned();
        Self { status: response.status, headers: response.headers.clone(), body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// An error of Keystone's form.
    #[track_caller]
    pub fn keystone(self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.body["error"]["code"], status, "{}", self.text);
        let (title, message) = (&self.body["error"]["title"], self.body["error"]["message"].as_str().unwrap_or_default());
        assert!(title.is_string() && message.contains(words), "{words:?} is not in {}", self.text);
    }

    /// An error of Neutron's form.
    #[track_caller]
    pub fn neutron(self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.body["NeutronError"];
        assert_eq!(error["type"], kind, "{}", self.text);
        assert!(error["message"].as_str().is_some_and(|it| !it.is_empty()) && error["detail"] == "", "{}", self.text);
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("")
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How a driver would call ports: on NX-OS case does not count, and `Eth` is short.
fn port_name(driver: &str, spelled: &str) -> String {
    match spelled.to_ascii_lowercase().strip_prefix("eth").map(|it| it.trim_start_matches("ernet")) {
        Some(number) if driver == "cisco_nxos" => format!("Ethernet{number}"),
        _ => spelled.to_owned(),
    }
}

impl Cloud {
    /// Starts an API whose tenant networks have the VLANs 100 to 199.
    pub async fn start(world: &World) -> Self {
        Self::with_vlans(world, (100, 199)).await
    }

    /// The same with other VLANs.
    pub async fn with_vlans(world: &World, vlan_range: (u16, u16)) -> Self {
        Self::with_networks(world, vlan_range, NetworkSettings::default()).await
    }

    /// The same with other networks beside the fabric's.
    pub async fn with_networks(world: &World, vlan_range: (u16, u16), network: NetworkSettings) -> Self {
        let images = tempfile::tempdir().unwrap();
        let settings = Settings {
            image_dir: images.path().to_owned(),
            public_fallback: "http://192.0.2.1:5000".into(),
            fabric: FabricSettings { physical_network: "physnet1".into(), vlan_range, isolation_vlan: 4094, port_name },
            network,
            // Hashing is slow on purpose; what tests look at is not how slow.
            identity: IdentitySettings {
                hashing: identity::hash::Settings { rounds: Some(4), ..identity::hash::Settings::default() },
                ..IdentitySettings::default()
            },
        };
        let app = Arc::new(App::new(world.store.clone(), settings).await.unwrap());
        api::bootstrap(&app, &Secret::new(PASSWORD)).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = api::router(app);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut cloud = Self { address, admin: Token::default(), server, _images: images };
        let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        cloud.admin = Token::of(&cloud.login("admin", PASSWORD, Some(scope)).await);
        cloud
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request) -> Answer {
        Answer::of(&Client::plain().with_deadline(std::time::Duration::from_secs(60)).send(request).await.unwrap())
    }

    /// A request with a token; a `Null` body is none.
    pub async fn ask(&self, token: &Token, method: Method, path: &str, body: &Value) -> Answer {
        let url = self.url(path);
        let request = if body.is_null() { Request::new(method, url) } else { Request::json(method, url, body) };
        self.send(request.header("x-auth-token", &token.text)).await
    }

    pub async fn get(&self, token: &Token, path: &str) -> Answer {
        self.ask(token, Method::GET, path, &Value::Null).await
    }

    pub async fn post(&self, token: &Token, path: &str, body: Value) -> Answer {
        self.ask(token, Method::POST, path, &body).await
    }

    pub async fn put(&self, token: &Token, path: &str, body: Value) -> Answer {
        self.ask(token, Method::PUT, path, &body).await
    }

    pub async fn patch(&self, token: &Token, path: &str, body: Value) -> Answer {
        self.ask(token, Method::PATCH, path, &body).await
    }

    pub async fn delete(&self, token: &Token, path: &str) -> Answer {
        self.ask(token, Method::DELETE, path, &Value::Null).await
    }

    /// Asks for a token without having one.
    pub async fn auth(&self, body: &Value) -> Answer {
        self.send(Request::json(Method::POST, self.url("/identity/v3/auth/tokens"), body)).await
    }

    /// Asks for a token by password, of a user of the default domain.
    pub async fn login(&self, user: &str, password: &str, scope: Option<Value>) -> Answer {
        let user = json!({"name": user, "domain": {"id": "default"}, "password": password});
        let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
        if let Some(scope) = scope {
            auth["scope"] = scope;
        }
        self.auth(&json!({"auth": auth})).await
    }

    /// Asks for a token by a token.
    pub async fn rescope(&self, token: &Token, scope: Value) -> Answer {
        let identity = json!({"methods": ["token"], "token": {"id": token.text}});
        self.auth(&json!({"auth": {"identity": identity, "scope": scope}})).await
    }

    /// The id of the role of that name.
    pub async fn role(&self, name: &str) -> String {
        let found = self.get(&self.admin, &format!("/identity/v3/roles?name={name}")).await.expect(200);
        found["roles"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Makes an object of identity's and returns its id.
    pub async fn make(&self, singular: &str, body: Value) -> String {
        let made = self.post(&self.admin, &format!("/identity/v3/{singular}s"), json!({ singular: body })).await.expect(201);
        made[singular]["id"].as_str().unwrap().to_owned()
    }

    /// A token of somebody with this role on a new project. It costs no password to be hashed: it is the administrator, who has no more
    /// than that role there.
    pub async fn tenant(&self, project: &str, role: &str) -> Token {
        let id = self.make("project", json!({"name": project})).await;
        self.join(&id, role).await
    }

    /// The same on a project that is there. Roles add up: a later token shows all given so far.
    pub async fn join(&self, project: &str, role: &str) -> Token {
        let path = format!("/identity/v3/projects/{project}/users/{}/roles/{}", self.admin.user, self.role(role).await);
        self.put(&self.admin, &path, Value::Null).await.expect(204);
        Token::of(&self.rescope(&self.admin, json!({"project": {"id": project}})).await)
    }

    /// Makes a network and returns it.
    pub async fn network(&self, token: &Token, name: &str) -> Value {
        self.post(token, "/network/v2.0/networks", json!({"network": {"name": name}})).await.expect(201)["network"].take()
    }

    /// Makes an IPv4 subnet of a network and returns it.
    pub async fn subnet(&self, token: &Token, network: &Value, cidr: &str) -> Value {
        let body = json!({"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": cidr}});
        self.post(token, "/network/v2.0/subnets", body).await.expect(201)["subnet"].take()
    }

    /// Asks for a port with these attributes beside its network.
    pub async fn port(&self, token: &Token, network: &Value, mut more: Value) -> Answer {
        more["network_id"] = network["id"].clone();
        self.post(token, "/network/v2.0/ports", json!({"port": more})).await
    }
}

impl Token {
    /// The token an answer gives.
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 201, "{}", answer.text);
        let token = &answer.body["token"];
        let id = |what: &str| token[what]["id"].as_str().unwrap_or_default().to_owned();
        Self { text: answer.header("x-subject-token").to_owned(), user: id("user"), project: id("project") }
    }
}

/// The id of an object that was shown.
#[track_caller]
pub fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap_or_else(|| panic!("{object} has no id"))
}

/// The values of a key in a list that was shown, sorted.
pub fn sorted(list: &Value, key: &str) -> Vec<String> {
    let mut all: Vec<String> = list.as_array().unwrap().iter().map(|it| it[key].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}
