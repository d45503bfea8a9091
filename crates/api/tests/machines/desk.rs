//! Asking the API as users do: through its router, with tokens it gave.

use std::sync::Arc;
use std::time::Duration;

use api::{App, FabricSettings, IdentitySettings, NetworkSettings, Settings};
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use model::baremetal::{Conductor, ConductorDesired, Node, NodeObserved, Phase, ProvisionState};
use model::{Id, Kind, Object, Secret, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Claim, Outcome};
use tower::ServiceExt as _;

use crate::world::World;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Who {
    pub token: String,
    pub project: String,
    pub user: String,
}

/// The API over one store.
pub struct Desk {
    pub app: Arc<App>,
    pub router: Router,
    /// An administrator.
    pub admin: Who,
    pub images: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// What an error says, in whichever service's form.
    pub fn error(&self) -> String {
        let inner = self.body["error_message"].as_str().and_then(|it| serde_json::from_str::<Value>(it).ok());
        let text = inner.map(|it| it["faultstring"].clone());
        let magnum = self.body.pointer("/errors/0/detail").cloned();
        let nova = self.body.as_object().and_then(|map| map.values().next()).map(|it| it["message"].clone());
        let found = text.or(magnum).or_else(|| self.body.get("message").cloned()).or(nova).unwrap_or_default();
        found.as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn refused(self, status: u16, word: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert!(self.error().contains(word), "{:?} does not say {word:?}", self.body);
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("")
    }
}

/// A process that works on the nodes of a group, last heard of so many seconds ago (-3600: for the whole of a test).
pub async fn conductor(world: &World, host: &str, group: &str, seconds: i64) {
    let desired = ConductorDesired {
        conductor_group: group.into(),
        drivers: ["fake-hardware", "ipmi", "manual-management", "redfish"].map(str::to_owned).to_vec(),
        online: true,
        seen_at: Timestamp::now().plus_seconds(-seconds),
        instance: host.into(),
    };
    let id = Id::derived(&format!("conductor {host}"));
    let batch = match world.store.get::<Conductor>(&id).await.unwrap() {
        Some(row) => Batch::wishes().want(&Object { desired, ..row }),
        None => Batch::wishes().create(&Object::<Conductor>::new(id, None, host, desired)),
    };
    world.store.apply(batch).await.unwrap();
}

impl Desk {
    pub async fn open(world: &World) -> Self {
        // Hashing is slow on purpose; what most tests look at is not how slow.
        let hashing = identity::hash::Settings { rounds: Some(4), ..identity::hash::Settings::default() };
        Self::with(world, IdentitySettings { hashing, ..IdentitySettings::default() }).await
    }

    /// The same with settings of identity.
    pub async fn with(world: &World, identity: IdentitySettings) -> Self {
        let images = tempfile::tempdir().unwrap();
        let settings = Settings {
            image_dir: images.path().to_owned(),
            public_fallback: "http://127.0.0.1:5000".into(),
            fabric: FabricSettings {
                physical_network: "physnet1".into(),
                vlan_range: (100, 199),
                isolation_vlan: 4094,
                port_name: |_, spelled| spelled.to_owned(),
            },
            network: NetworkSettings::default(),
            identity,
        };
        let app = Arc::new(App::new(world.store.clone(), settings).await.unwrap());
        api::bootstrap(&app, &Secret::new("secret of admin")).await.unwrap();
        conductor(world, "c1.example", "", -3600).await;
        let router = api::router(Arc::clone(&app));
        let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
        let mut desk = Self { app, router, admin: nobody, images };
        desk.admin = desk.login("admin", "secret of admin", "admin").await;
        desk
    }

    pub async fn login(&self, user: &str, password: &str, project: &str) -> Who {
        let domain = json!({"id": "default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}},
            "scope": {"project": {"name": project, "domain": domain}},
        }});
        let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
        let answer = self.call(&nobody, Method::POST, "/identity/v3/auth/tokens", &[], Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let text = |pointer: &str| answer.body.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        Who { token: answer.header("x-subject-token").to_owned(), project: text("/token/project/id"), user: text("/token/user/id") }
    }

    /// A user who is member of a project, which is made if it is not there.
    pub async fn tenant(&self, user: &str, project: &str) -> Who {
        self.somebody(user, project, "member").await
    }

    /// The same with another role.
    pub async fn somebody(&self, user: &str, project: &str, role: &str) -> Who {
        let admin = &self.admin;
        let named = |plural: &str, name: &str| format!("/identity/v3/{plural}?name={name}");
        let found = self.get(admin, &named("projects", project)).await.expect(200);
        let project_id = match found.pointer("/projects/0/id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => {
                let body = json!({"project": {"name": project, "domain_id": "default"}});
                self.post(admin, "/identity/v3/projects", body).await.expect(201)["project"]["id"].as_str().unwrap().to_owned()
            }
        };
        let body = json!({"user": {"name": user, "domain_id": "default", "password": "secret"}});
        let user_id = self.post(admin, "/identity/v3/users", body).await.expect(201)["user"]["id"].as_str().unwrap().to_owned();
        let roles = self.get(admin, &named("roles", role)).await.expect(200);
        let role = roles.pointer("/roles/0/id").and_then(Value::as_str).unwrap();
        let grant = format!("/identity/v3/projects/{project_id}/users/{user_id}/roles/{role}");
        self.call(admin, Method::PUT, &grant, &[], None).await.expect(204);
        self.login(user, "secret", project).await
    }

    pub async fn call(&self, who: &Who, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !who.token.is_empty() {
            request = request.header("x-auth-token", &who.token);
        }
        let mut kind = "application/json";
        for (name, value) in headers {
            match *name {
                "content-type" => kind = value,
                _ => request = request.header(*name, *value),
            }
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", kind);
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 26).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Calls with the newest version of every service.
    async fn newest(&self, who: &Who, method: Method, path: &str, body: Option<Value>) -> Answer {
        let all = "baremetal latest,compute latest,container-infra latest";
        self.call(who, method, path, &[("openstack-api-version", all)], body).await
    }

    pub async fn get(&self, who: &Who, path: &str) -> Answer {
        self.newest(who, Method::GET, path, None).await
    }

    pub async fn post(&self, who: &Who, path: &str, body: Value) -> Answer {
        self.newest(who, Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, who: &Who, path: &str, body: Value) -> Answer {
        self.newest(who, Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, who: &Who, path: &str, body: Value) -> Answer {
        self.newest(who, Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, who: &Who, path: &str) -> Answer {
        self.newest(who, Method::DELETE, path, None).await
    }

    /// Enrols a machine with one card on a switch port of its own.
    pub async fn machine(&self, name: &str) -> String {
        let info = json!({"redfish_address": "http://127.0.0.1:8101", "redfish_username": "admin", "redfish_password": "hunter2"});
        let body = json!({"name": name, "driver": "redfish", "driver_info": info, "resource_class": "bm"});
        let id = self.post(&self.admin, "/baremetal/v1/nodes", body).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let body =
            json!({"node_uuid": id, "address": mac(name), "local_link_connection": {"switch_id": "02:cf:00:00:00:01", "port_id": name}});
        self.post(&self.admin, "/baremetal/v1/ports", body).await.expect(201);
        id
    }

    /// What the engine would have seen of a machine; every request is taken up.
    pub async fn seen(&self, node: &str, state: ProvisionState, phase: Phase) {
        self.observe::<Node>(node, |node| {
            let handled = node.desired.request.as_ref().map_or(0, |it| it.seq);
            let handled_power = node.desired.power_request.as_ref().map_or(0, |it| it.seq);
            node.observed = NodeObserved { state, phase, handled, handled_power, ..NodeObserved::default() };
        })
        .await;
    }

    pub async fn observe<K: Kind>(&self, id: &str, change: impl Fn(&mut Object<K>)) {
        let id: Id<K> = Id::parse(id).unwrap();
        let claim = self.claim::<K>(&id).await;
        let mut object = self.app.store.get(&id).await.unwrap().unwrap();
        change(&mut object);
        self.app.store.apply(Batch::facts(&claim).observe(&object)).await.unwrap();
        self.app.store.finish(&claim, Outcome::Again(Duration::from_secs(3600))).await.unwrap();
    }

    async fn claim<K: Kind>(&self, id: &Id<K>) -> Claim {
        self.app.store.apply(Batch::wishes().wake(id)).await.unwrap();
        loop {
            let claim = self.app.store.claim("test", Duration::from_secs(60)).await.unwrap().unwrap();
            if claim.kind == K::NAME && claim.id == id.as_str() {
                return claim;
            }
            self.app.store.finish(&claim, Outcome::Again(Duration::from_secs(3600))).await.unwrap();
        }
    }

    pub async fn node(&self, id: &str) -> Object<Node> {
        self.app.store.get(&Id::parse(id).unwrap()).await.unwrap().unwrap()
    }

    /// The config drive that a node has.
    pub async fn drive(&self, id: &str) -> Option<String> {
        let drive = self.node(id).await.desired.drive?;
        let row = self.app.store.get(&drive.id).await.unwrap().unwrap();
        assert_eq!(row.desired.drive.reveal().len(), drive.bytes);
        Some(row.desired.drive.reveal().to_owned())
    }

    /// An image with data.
    pub async fn image(&self, who: &Who, name: &str) -> String {
        let body = json!({"name": name, "disk_format": "raw", "container_format": "bare", "os_distro": "debian"});
        let id = self.post(who, "/image/v2/images", body).await.expect(201)["id"].as_str().unwrap().to_owned();
        self.upload(who, &id, Body::from("data")).await.expect(204);
        id
    }

    pub async fn upload(&self, who: &Who, id: &str, body: Body) -> Answer {
        let request = Request::put(format!("/image/v2/images/{id}/file"))
            .header("x-auth-token", &who.token)
            .header("content-type", "application/octet-stream");
        self.send(request.body(body).unwrap()).await
    }

    /// A network's port of the caller's project.
    pub async fn port(&self, who: &Who, name: &str) -> String {
        let network = self.post(who, "/network/v2.0/networks", json!({"network": {"name": name}})).await.expect(201);
        let network = network["network"]["id"].as_str().unwrap().to_owned();
        let port = self.post(who, "/network/v2.0/ports", json!({"port": {"name": name, "network_id": network}})).await.expect(201);
        port["port"]["id"].as_str().unwrap().to_owned()
    }
}

/// The address of a machine's card: the same for the same name.
pub fn mac(name: &str) -> String {
    let id = Id::<()>::derived(name);
    let digits: String = id.as_str().chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let pairs: Vec<&str> = (0..4).map(|at| &digits[at * 2..at * 2 + 2]).collect();
    format!("52:54:{}", pairs.join(":"))
}
