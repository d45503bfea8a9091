//! What operations are done to, and who does them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use api::{App, FabricSettings, IdentitySettings, NetworkSettings, Settings};
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request};
use identity::hash;
use model::Secret;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::table::{Object, Persona, Scope, Step, Table, Target, next_place};
use crate::world::World;

const ADMIN: &str = "correct horse battery staple";
/// The password of whoever is made; the table has it too.
const PASSWORD: &str = "correct horse 1";
/// An id of nothing.
const ABSENT: &str = "00000000000000000000000000000001";
/// The longest answer, in bytes.
const LONGEST: usize = 16 << 20;

/// An API, and all that was made in it.
pub struct Cloud<'a> {
    table: &'a Table,
    router: Router,
    admin: String,
    made: u32,
    layers: Vec<Layer>,
    _images: tempfile::TempDir,
}

/// Names and what they stand for. What is not here is looked for in `beneath`, unless it is `fresh`.
#[derive(Default)]
struct Layer {
    names: HashMap<String, String>,
    fresh: Vec<String>,
    beneath: Option<usize>,
}

/// Which [`Layer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerId(usize);

/// Who asks.
pub struct Person {
    /// Its token, if it has one.
    pub token: Option<String>,
    /// Its own world.
    own: LayerId,
}

/// Everybody and everything of the table.
pub struct Cast {
    /// In the order of the table.
    pub people: Vec<Person>,
    own: LayerId,
    other: LayerId,
    absent: LayerId,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null if it has no JSON body.
    pub body: Value,
}

impl Cast {
    /// The world a target of the person is in.
    pub fn layer(&self, person: &Person, target: Target) -> LayerId {
        match target {
            Target::Itself => person.own,
            Target::Own | Target::Any => self.own,
            Target::Other => self.other,
            Target::Absent => self.absent,
        }
    }
}

impl<'a> Cloud<'a> {
    /// An API over the store, with an administrator and nobody else.
    pub async fn start(world: &World, table: &'a Table) -> Self {
        let images = tempfile::tempdir().unwrap();
        // Hundreds of passwords are made, and none is worth guarding.
        let hashing = hash::Settings { rounds: Some(4), ..hash::Settings::default() };
        let settings = Settings {
            image_dir: images.path().to_owned(),
            public_fallback: "http://192.0.2.1:5000".into(),
            fabric: FabricSettings {
                physical_network: "physnet1".into(),
                vlan_range: (100, 199),
                isolation_vlan: 4094,
                port_name: |_, spelled| spelled.to_owned(),
            },
            network: NetworkSettings::default(),
            identity: IdentitySettings { hashing, ..IdentitySettings::default() },
        };
        let app = Arc::new(App::new(world.store.clone(), settings).await.unwrap());
        api::bootstrap(&app, &Secret::new(ADMIN)).await.unwrap();
        let router = api::router(app);
        let mut cloud = Self { table, router, admin: String::new(), made: 0, layers: Vec::new(), _images: images };
        let user = json!({"name": "admin", "domain": {"id": "default"}, "password": ADMIN});
        let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        cloud.admin = cloud.token(user, Some(scope)).await;
        cloud
    }

    /// Sends a request.
    pub async fn ask(&self, token: Option<&str>, method: &str, path: &str, body: Option<String>, headers: &[(&str, String)]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/identity{path}"));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(token) = token {
            request = request.header("x-auth-token", token);
        }
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body)),
            None => request.body(Body::empty()),
        };
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), LONGEST).await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// Sends one that must succeed.
    async fn must(&self, token: Option<&str>, method: &str, path: &str, body: Option<String>) -> Answer {
        let answer = self.ask(token, method, path, body, &[]).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        answer
    }

    async fn token(&self, user: Value, scope: Option<Value>) -> String {
        let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
        if let Some(scope) = scope {
            auth["scope"] = scope;
        }
        let answer = self.must(None, "POST", "/v3/auth/tokens", Some(json!({"auth": auth}).to_string())).await;
        answer.headers["x-subject-token"].to_str().unwrap().to_owned()
    }

    fn layer(&mut self, names: &[(&str, &str)], fresh: &[String], beneath: Option<LayerId>) -> LayerId {
        let names = names.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.layers.push(Layer { names, fresh: fresh.to_vec(), beneath: beneath.map(|it| it.0) });
        LayerId(self.layers.len() - 1)
    }

    /// A world over another where the names of `fresh` are made anew, and these steps are done.
    pub async fn over(&mut self, beneath: LayerId, fresh: &[String], before: &[Step]) -> LayerId {
        let layer = self.layer(&[], fresh, Some(beneath));
        for step in before {
            self.step(layer, step).await;
        }
        layer
    }

    /// The text with its places filled.
    pub async fn filled(&mut self, layer: LayerId, text: &str) -> String {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, name, behind)) = next_place(rest) {
            filled.push_str(before);
            filled.push_str(&self.value(layer, name).await);
            rest = behind;
        }
        filled + rest
    }

    /// What a name stands for. Boxed because making one thing makes others.
    fn value<'s>(&'s mut self, layer: LayerId, name: &'s str) -> Pin<Box<dyn Future<Output = String> + 's>> {
        Box::pin(async move {
            if name == "unique" {
                self.made += 1;
                return format!("unique-{}", self.made);
            }
            if let Some(value) = self.layers[layer.0].names.get(name) {
                return value.clone();
            }
            let here = &self.layers[layer.0];
            if let Some(beneath) = here.beneath.filter(|_| !here.fresh.iter().any(|it| it == name)) {
                return self.value(LayerId(beneath), name).await;
            }
            let table = self.table;
            match table.objects.get(name).unwrap_or_else(|| panic!("nobody knows how to make {name}")) {
                Object::Text(text) => {
                    let value = self.filled(layer, text).await;
                    self.layers[layer.0].names.insert(name.to_owned(), value);
                }
                Object::Steps(steps) => {
                    for step in steps {
                        self.step(layer, step).await;
                    }
                }
            }
            self.layers[layer.0].names[name].clone()
        })
    }

    async fn step(&mut self, layer: LayerId, step: &Step) {
        let token = match step.who.as_str() {
            "admin" => Some(self.admin.clone()),
            "nobody" => None,
            other => Some(self.value(layer, other).await),
        };
        let (method, path) = step.send.split_once(' ').unwrap();
        let path = self.filled(layer, path).await;
        let body = match &step.body {
            Some(body) => Some(self.filled(layer, &body.to_string()).await),
            None => None,
        };
        let answer = self.must(token.as_deref(), method, &path, body).await;
        for (name, place) in &step.take {
            let found = if place.starts_with('/') {
                answer.body.pointer(place).and_then(Value::as_str)
            } else {
                answer.headers.get(place).and_then(|it| it.to_str().ok())
            };
            let found = found.unwrap_or_else(|| panic!("{method} {path} has no {place}: {}", answer.body));
            self.layers[layer.0].names.insert(name.clone(), found.to_owned());
        }
    }

    /// Makes the domains, the projects and everybody of the table.
    pub async fn cast(&mut self) -> Cast {
        let apart = self.layer(&[], &[], None);
        let domain = self.value(apart, "domain").await;
        let own = self.layer(&[("domain", &domain)], &[], None);
        let elsewhere = self.layer(&[], &[], None);
        let foreign = self.value(elsewhere, "domain").await;
        let other = self.layer(&[("domain", &foreign)], &[], None);
        let mut projects = Vec::new();
        for _ in 0..2 {
            let layer = self.layer(&[("domain", &domain)], &[], None);
            projects.push(self.value(layer, "project").await);
        }
        let mut people = Vec::new();
        let table = self.table;
        for persona in &table.personas {
            people.push(self.person(persona, &domain, &projects[0], &projects[1], own).await);
        }
        let nobodys: Vec<(&str, &str)> = table.objects.keys().map(|name| (name.as_str(), ABSENT)).collect();
        let absent = self.layer(&nobodys, &[], None);
        Cast { people, own, other, absent }
    }

    async fn person(&mut self, persona: &Persona, domain: &str, project: &str, home: &str, shared: LayerId) -> Person {
        if persona.scope == Scope::None {
            return Person { token: None, own: shared };
        }
        let its_project = if persona.scope == Scope::Project { project } else { home };
        let own = self.layer(&[("domain", domain), ("home", home), ("project", its_project)], &[], None);
        let user = self.value(own, "user").await;
        // Gives it a role on `home` too: only there can it make what only its owner makes.
        self.value(own, "owner").await;
        let place = match persona.scope {
            Scope::System => Some(("/v3/system".to_owned(), json!({"system": {"all": true}}))),
            Scope::Domain => Some((format!("/v3/domains/{domain}"), json!({"domain": {"id": domain}}))),
            Scope::Project => Some((format!("/v3/projects/{project}"), json!({"project": {"id": project}}))),
            Scope::Unscoped | Scope::None => None,
        };
        if let (Some((place, _)), Some(role)) = (&place, &persona.role) {
            let admin = Some(self.admin.as_str());
            let found = self.must(admin, "GET", &format!("/v3/roles?name={role}"), None).await;
            let id = found.body["roles"][0]["id"].as_str().unwrap();
            self.must(admin, "PUT", &format!("{place}/users/{user}/roles/{id}"), None).await;
        }
        let token = self.token(json!({"id": user, "password": PASSWORD}), place.map(|it| it.1)).await;
        Person { token: Some(token), own }
    }
}
