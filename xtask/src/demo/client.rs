//! A small client of the OpenStack APIs: log in, find the service in the catalog, speak JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use http::Method;
use net::http::{Client, Request, Response};
use serde_json::{Value, json};

/// A service, by its type in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Identity,
    Network,
    Baremetal,
    Image,
    Compute,
    ContainerInfra,
}

impl Service {
    fn kind(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Network => "network",
            Self::Baremetal => "baremetal",
            Self::Image => "image",
            Self::Compute => "compute",
            Self::ContainerInfra => "container-infra",
        }
    }

    /// What clients put after a catalog URL that names no version.
    fn version(self) -> &'static str {
        match self {
            Self::Identity => "v3",
            Self::Network => "v2.0",
            Self::Compute => "v2.1",
            Self::Image => "v2",
            Self::Baremetal | Self::ContainerInfra => "v1",
        }
    }

    /// The header that asks for a microversion, where the oldest is not enough. 1.34 of Ironic knows resource classes, physical networks
    /// and VIFs; 1.4 of Magnum answers creation at once (Source: the two services' "REST API Version History").
    fn microversion(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Baremetal => Some(("x-openstack-ironic-api-version", "1.34")),
            Self::ContainerInfra => Some(("openstack-api-version", "container-infra 1.4")),
            _ => None,
        }
    }
}

/// Who logs in to what: one cloud of a clouds.yaml.
#[derive(Clone)]
pub(crate) struct Cloud {
    /// The cloud's name, for `openstack --os-cloud`.
    pub(crate) name: String,
    /// Keystone's URL, with or without `/v3`.
    pub(crate) auth_url: String,
    /// User in the default domain.
    pub(crate) username: String,
    /// Its password.
    pub(crate) password: String,
    /// Project in the default domain.
    pub(crate) project: String,
}

/// An answer that was not 2xx.
#[derive(Debug)]
pub(crate) struct Refused {
    /// HTTP status.
    pub(crate) status: u16,
    what: String,
    why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was answered with {}: {}", self.what, self.status, self.why)
    }
}

impl std::error::Error for Refused {}

/// Whether an error is the service's 404.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|it| it.status == 404)
}

/// A token with its catalog.
#[derive(Clone)]
pub(crate) struct Session {
    /// As whom.
    pub(crate) cloud: Cloud,
    /// Project the token is for.
    pub(crate) project_id: String,
    token: String,
    endpoints: BTreeMap<String, String>,
    http: Client,
}

impl Session {
    /// Logs in with name and password.
    ///
    /// # Errors
    /// Keystone refused or its answer is not one.
    pub(crate) async fn open(cloud: &Cloud) -> Result<Self> {
        let http = Client::plain().with_deadline(Duration::from_secs(30));
        let domain = json!({"id": "default"});
        let user = json!({"name": cloud.username, "password": cloud.password, "domain": domain});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": cloud.project, "domain": domain}},
        }});
        let url = format!("{}/auth/tokens", with_version(&cloud.auth_url, "v3"));
        let answer = http.send(Request::json(Method::POST, url, &body)).await.context("cannot reach the identity service")?;
        if !answer.is_success() {
            bail!("logging in as {} was answered with {}: {}", cloud.username, answer.status, message(&answer));
        }
        let token =
            answer.headers.get("x-subject-token").and_then(|it| it.to_str().ok()).context("a token answer without X-Subject-Token")?;
        let body: Value = answer.json().context("a token answer that is not JSON")?;
        let mut endpoints = BTreeMap::new();
        for service in body["token"]["catalog"].as_array().into_iter().flatten() {
            let public = service["endpoints"].as_array().into_iter().flatten().find(|it| it["interface"] == "public");
            if let (Some(kind), Some(url)) = (service["type"].as_str(), public.and_then(|it| it["url"].as_str())) {
                endpoints.insert(kind.to_owned(), url.to_owned());
            }
        }
        let project_id = body["token"]["project"]["id"].as_str().context("a token without a project")?.to_owned();
        Ok(Self { cloud: cloud.clone(), project_id, token: token.to_owned(), endpoints, http })
    }

    fn url(&self, service: Service, path: &str) -> Result<String> {
        let kind = service.kind();
        let base = self
            .endpoints
            .get(kind)
            .or_else(|| self.endpoints.get("container-infrastructure-management").filter(|_| service == Service::ContainerInfra));
        let base = base.with_context(|| format!("the catalog has no public endpoint for {kind}"))?;
        Ok(format!("{}{path}", with_version(base, service.version())))
    }

    fn request(&self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Result<Request> {
        let url = self.url(service, path)?;
        let mut request = match body {
            Some(body) if !body.is_null() => Request::json(method, url, body),
            _ => Request::new(method, url),
        };
        request = request.header("x-auth-token", &self.token).header("accept", "application/json");
        if let Some((name, value)) = service.microversion() {
            request = request.header(name, value);
        }
        Ok(request)
    }

    /// Sends a request and returns its JSON, `null` for an empty body.
    ///
    /// # Errors
    /// [`Refused`] for any status but 2xx; else the exchange failed. A node that is busy for a moment (409, 503) is asked again a few
    /// times, as Ironic's own client does.
    pub(crate) async fn call(&self, method: Method, service: Service, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut tries = 0;
        loop {
            let what = format!("{method} {} {path}", service.kind());
            let request = self.request(method.clone(), service, path, body)?;
            let answer = self.http.send(request).await.map_err(|error| anyhow!("{what}: {error:#}"))?;
            if service == Service::Baremetal && matches!(answer.status, 409 | 503) && tries < 5 {
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            return read(&what, &answer);
        }
    }

    pub(crate) async fn get(&self, service: Service, path: &str) -> Result<Value> {
        self.call(Method::GET, service, path, None).await
    }

    pub(crate) async fn post(&self, service: Service, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, service, path, Some(body)).await
    }

    pub(crate) async fn put(&self, service: Service, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::PUT, service, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, service: Service, path: &str) -> Result<()> {
        self.call(Method::DELETE, service, path, None).await.map(|_| ())
    }

    /// Uploads an image's data from a file.
    ///
    /// # Errors
    /// As [`Session::call`], or the file cannot be read.
    pub(crate) async fn upload(&self, image: &str, file: &Path) -> Result<()> {
        let what = format!("PUT image /images/{image}/file");
        let mut request = Request::new(Method::PUT, self.url(Service::Image, &format!("/images/{image}/file"))?);
        request = request.header("x-auth-token", &self.token).header("content-type", "application/octet-stream");
        let open = tokio::fs::File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        let http = self.http.clone().with_deadline(Duration::from_secs(180));
        let answer = http.upload(request, open).await.map_err(|error| anyhow!("{what}: {error:#}"))?;
        read(&what, &answer).map(|_| ())
    }
}

fn read(what: &str, answer: &Response) -> Result<Value> {
    if !answer.is_success() {
        return Err(Refused { status: answer.status, what: what.to_owned(), why: message(answer) }.into());
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    answer.json().with_context(|| format!("{what} was answered with what is not JSON"))
}

/// The words for people in an error of any of the services.
fn message(answer: &Response) -> String {
    let Ok(body) = answer.json::<Value>() else { return answer.text() };
    find_message(&body).unwrap_or_else(|| answer.text())
}

fn find_message(body: &Value) -> Option<String> {
    // Ironic's is JSON within a string.
    if let Some(inner) = body["error_message"].as_str() {
        let inner: Value = serde_json::from_str(inner).unwrap_or(Value::Null);
        return inner["faultstring"].as_str().map(str::to_owned);
    }
    if let Some(first) = body["errors"].get(0) {
        return first["detail"].as_str().map(str::to_owned);
    }
    let object = body.as_object()?;
    let within = object.values().find_map(|it| it["message"].as_str());
    within.or_else(|| body["message"].as_str()).map(str::to_owned)
}

/// The URL with the version at its end, unless it ends in one.
fn with_version(url: &str, version: &str) -> String {
    let url = url.trim_end_matches('/');
    let last = url.rsplit('/').next().unwrap_or_default();
    let has_one = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if has_one { url.to_owned() } else { format!("{url}/{version}") }
}

/// A text of an object's field.
///
/// # Errors
/// It is not there.
pub(crate) fn text(object: &Value, field: &str) -> Result<String> {
    object[field].as_str().map(str::to_owned).with_context(|| format!("the answer has no {field}"))
}

/// Reads the password of the first cloud of the clouds.yaml that `cofferdam serve` writes: `password: word`, the word plain or quoted.
pub(crate) fn password_in(clouds: &str) -> Option<String> {
    let value = clouds.lines().find_map(|line| line.trim().strip_prefix("password:"))?.trim();
    if let Some(inner) = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
        return serde_json::from_str(&format!("\"{inner}\"")).ok();
    }
    match value.strip_prefix('\'').and_then(|it| it.strip_suffix('\'')) {
        Some(inner) => Some(inner.replace("''", "'")),
        None => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_added_once() {
        assert_eq!(with_version("http://h/network", "v2.0"), "http://h/network/v2.0");
        assert_eq!(with_version("http://h/network/v2.0/", "v2.0"), "http://h/network/v2.0");
        assert_eq!(with_version("http://h/volume", "v3"), "http://h/volume/v3");
    }

    #[test]
    fn each_service_s_error_is_read() {
        for body in [
            json!({"error": {"code": 404, "message": "words", "title": "Not Found"}}),
            json!({"NeutronError": {"type": "X", "message": "words", "detail": ""}}),
            json!({"badRequest": {"code": 400, "message": "words"}}),
            json!({"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"words\", \"debuginfo\": null}"}),
            json!({"errors": [{"status": 404, "title": "t", "detail": "words"}]}),
            json!({"code": "404", "title": "Not Found", "message": "words"}),
        ] {
            assert_eq!(find_message(&body).as_deref(), Some("words"), "{body}");
        }
    }

    #[test]
    fn the_password_is_found_however_quoted() {
        for (line, wanted) in [("password: ab:c", "ab:c"), ("password: \"a\\\"b\"", "a\"b"), ("password: 'it''s'", "it's")] {
            let text = format!("clouds:\n  cofferdam:\n    auth:\n      username: admin\n      {line}\n");
            assert_eq!(password_in(&text).as_deref(), Some(wanted));
        }
        assert_eq!(password_in("clouds: {}"), None);
    }
}
