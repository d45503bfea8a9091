//! A client of the public APIs that goes on over the gaps while the control plane is dead.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use net::http::{Client, Request};
use serde_json::{Value, json};

use super::block;

/// How long calls are tried again while nobody answers.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(100);

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Identity,
    Network,
    Baremetal,
    Image,
    Compute,
    ContainerInfra,
}

impl Service {
    pub const ALL: [Self; 6] = [Self::Identity, Self::Network, Self::Baremetal, Self::Image, Self::Compute, Self::ContainerInfra];

    pub fn prefix(self) -> &'static str {
        match self {
            Self::Identity => "/identity/v3",
            Self::Network => "/network/v2.0",
            Self::Baremetal => "/baremetal/v1",
            Self::Image => "/image/v2",
            Self::Compute => "/compute/v2.1",
            Self::ContainerInfra => "/container-infra/v1",
        }
    }

    fn microversion(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Baremetal => Some(("x-openstack-ironic-api-version", "1.34")),
            Self::ContainerInfra => Some(("openstack-api-version", "container-infra 1.4")),
            _ => None,
        }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub text: String,
    pub headers: http::HeaderMap,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Session {
    base: String,
    pub project: String,
    pub project_id: String,
    pub token: String,
}

/// One request; the error says that nobody answered, or not to the end.
pub fn send(request: Request, deadline: Duration) -> Result<Answer, String> {
    let answer = block(Client::plain().with_deadline(deadline).send(request)).map_err(|error| error.to_string())?;
    Ok(Answer { status: answer.status, body: answer.json().unwrap_or(Value::Null), text: answer.text(), headers: answer.headers })
}

/// The request for a token.
pub fn credentials(user: &str, password: &str, project: &str) -> Value {
    let domain = json!({"id": "default"});
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"name": user, "password": password, "domain": domain}}},
        "scope": {"project": {"name": project, "domain": domain}},
    }})
}

impl Session {
    /// Logs in.
    pub fn open(base: &str, user: &str, password: &str, project: &str) -> Self {
        let body = credentials(user, password, project);
        let url = format!("{base}{}/auth/tokens", Service::Identity.prefix());
        let answer = patient(|| send(Request::json(Method::POST, url.as_str(), &body), Duration::from_secs(20)));
        assert_eq!(answer.status, 201, "logging in as {user}: {}", answer.text);
        let token = answer.headers["x-subject-token"].to_str().unwrap().to_owned();
        let project_id = answer.body["token"]["project"]["id"].as_str().unwrap().to_owned();
        Self { base: base.to_owned(), project: project.to_owned(), project_id, token }
    }

    /// As the admin whose password is in the state directory.
    pub fn admin(base: &str, state_dir: &Path) -> Self {
        Self::open(base, "admin", &admin_password(state_dir), "admin")
    }

    pub fn request(&self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Request {
        let url = format!("{}{}{path}", self.base, service.prefix());
        let request =
            body.map_or_else(|| Request::new(method.clone(), url.as_str()), |body| Request::json(method.clone(), url.as_str(), body));
        let request = request.header("x-auth-token", &self.token).header("accept", "application/json");
        match service.microversion() {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    /// One try.
    pub fn try_call(&self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        send(self.request(method, service, path, body), Duration::from_secs(20))
    }

    /// One try that must be answered.
    pub fn call_once(&self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, service, path, body).unwrap_or_else(|error| panic!("{service:?} {path}: {error}"))
    }

    /// Tried again until somebody answers: for what may be done twice.
    pub fn call(&self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Answer {
        patient(|| self.try_call(method.clone(), service, path, body))
    }

    pub fn get(&self, service: Service, path: &str) -> Value {
        let answer = self.call(Method::GET, service, path, None);
        assert!(answer.is_success(), "GET {service:?} {path}: {} {}", answer.status, answer.text);
        answer.body
    }

    /// The objects of a collection.
    pub fn list(&self, service: Service, path: &str) -> Vec<Value> {
        let collection = path.split('?').next().unwrap().rsplit('/').next().unwrap().replace('-', "_");
        let body = self.get(service, path);
        body[&collection].as_array().unwrap_or_else(|| panic!("{path}: {body}")).clone()
    }

    /// Makes an object, once: what an exchange that broke off made is found by `field`.
    pub fn create(&self, service: Service, path: &str, single: &str, body: &Value) -> Value {
        let wish = if single.is_empty() { body } else { &body[single] };
        let field = ["name", "address"].into_iter().find(|field| wish[*field].is_string()).expect("what it is called");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.list(service, path).into_iter().find(|it| it[field] == wish[field]) {
                return found;
            }
            match self.try_call(Method::POST, service, path, Some(body)) {
                Ok(answer) if answer.is_success() => {
                    return if single.is_empty() { answer.body } else { answer.body[single].clone() };
                }
                Ok(answer) if !matches!(answer.status, 409 | 503) => panic!("POST {service:?} {path}: {} {}", answer.status, answer.text),
                other => assert!(Instant::now() < until, "POST {service:?} {path}: {other:?}"),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Deletes an object; that it is gone already is well.
    pub fn delete(&self, service: Service, path: &str) {
        let answer = self.call(Method::DELETE, service, path, None);
        assert!(answer.is_success() || answer.status == 404, "DELETE {service:?} {path}: {} {}", answer.status, answer.text);
    }

    /// Uploads an image's data, from the beginning again if the exchange breaks off.
    pub fn upload(&self, image: &str, file: &Path) {
        let path = format!("/images/{image}");
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            if self.get(Service::Image, &path)["status"] == "active" {
                return;
            }
            let mut request = self.request(Method::PUT, Service::Image, &format!("{path}/file"), None);
            request = request.header("content-type", "application/octet-stream");
            let exchange = async {
                let file = tokio::fs::File::open(file).await.unwrap();
                Client::plain().with_deadline(Duration::from_secs(60)).upload(request, file).await
            };
            match block(exchange) {
                Ok(answer) if answer.is_success() => {}
                Ok(answer) if !matches!(answer.status, 409 | 503) => panic!("PUT {path}/file: {} {}", answer.status, answer.text()),
                Ok(answer) => assert!(Instant::now() < until, "PUT {path}/file: {} {}", answer.status, answer.text()),
                Err(error) => assert!(Instant::now() < until, "PUT {path}/file: {error}"),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn patient(mut call: impl FnMut() -> Result<Answer, String>) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        match call() {
            Ok(answer) if answer.status != 503 => return answer,
            other => assert!(Instant::now() < until, "nobody answered within {PATIENCE:?}: {other:?}"),
        }
        std::thread::sleep(PAUSE);
    }
}

/// The password in the clouds.yaml of the state directory.
pub fn admin_password(state_dir: &Path) -> String {
    let text = std::fs::read_to_string(state_dir.join("clouds.yaml")).unwrap();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("password:")).expect("a password in clouds.yaml").trim();
    serde_json::from_str(value).expect("a quoted password")
}
