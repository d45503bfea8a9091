//! Asking a running server, as an OpenStack client does: who asks and where the network service is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use hyper::Method;
use net::http::{Client, Request, Response};
use serde_json::{Value, json};

/// Longer than any answer takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where to ask, and as whom: as the other OpenStack clients are told.
#[derive(Args)]
pub struct Server {
    /// The network service (http://host:port/network), if it is not to be taken from the catalog. With --token nobody logs in.
    #[arg(long, env = "OS_ENDPOINT")]
    url: Option<String>,
    /// A token.
    #[arg(long, env = "OS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The identity service to log in at.
    #[arg(long, env = "OS_AUTH_URL")]
    auth_url: Option<String>,
    #[arg(long, env = "OS_USERNAME")]
    username: Option<String>,
    #[arg(long, env = "OS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    #[arg(long, env = "OS_USER_DOMAIN_NAME")]
    user_domain_name: Option<String>,
    #[arg(long, env = "OS_USER_DOMAIN_ID")]
    user_domain_id: Option<String>,
    #[arg(long, env = "OS_PROJECT_NAME")]
    project_name: Option<String>,
    #[arg(long, env = "OS_PROJECT_ID")]
    project_id: Option<String>,
    #[arg(long, env = "OS_PROJECT_DOMAIN_NAME")]
    project_domain_name: Option<String>,
    #[arg(long, env = "OS_PROJECT_DOMAIN_ID")]
    project_domain_id: Option<String>,
    /// The authorities that vouch for servers of https:// URLs, in PEM.
    #[arg(long, env = "OS_CACERT")]
    cacert: Option<PathBuf>,
}

/// Text as it may stand in a query.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// One who may ask the network service.
pub struct Session {
    http: Http,
    url: String,
    token: String,
}

impl Server {
    /// Logs in, unless a token for a known place is given.
    ///
    /// # Errors
    /// Nobody answers, or nobody is let in.
    pub async fn open(&self) -> anyhow::Result<Session> {
        let http = Http { tls: self.cacert.as_deref().map(tls).transpose()? };
        if let (Some(url), Some(token)) = (&self.url, &self.token) {
            return Ok(Session { http, url: without_version(url), token: token.clone() });
        }
        let auth_url = self.auth_url.as_deref().context("--auth-url (OS_AUTH_URL) or --url with --token is needed")?;
        let url = format!("{}/v3/auth/tokens", auth_url.trim_end_matches('/').trim_end_matches("/v3"));
        let answer = http.send(Request::json(Method::POST, url, &json!({"auth": self.auth()?}))).await?;
        if !answer.is_success() {
            bail!("logging in was answered with {}: {}", answer.status, message(&answer));
        }
        let token = answer.headers.get("x-subject-token").and_then(|it| it.to_str().ok()).context("an answer without a token")?;
        let body: Value = answer.json().context("the answer to logging in is not JSON")?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => endpoint(&body).context("the catalog has no public endpoint of the type network; --url names one")?,
        };
        Ok(Session { http, url: without_version(&url), token: token.to_owned() })
    }

    /// What to log in with.
    fn auth(&self) -> anyhow::Result<Value> {
        let domain = |id: &Option<String>, name: &Option<String>| match (id, name) {
            (Some(id), _) => json!({ "id": id }),
            (None, Some(name)) => json!({ "name": name }),
            (None, None) => json!({"id": "default"}),
        };
        let identity = if let Some(token) = &self.token {
            json!({"methods": ["token"], "token": {"id": token}})
        } else {
            let name = self.username.as_deref().context("--username (OS_USERNAME) or --token is needed")?;
            let password = self.password.as_deref().context("--password (OS_PASSWORD) is needed")?;
            let user = json!({"name": name, "password": password, "domain": domain(&self.user_domain_id, &self.user_domain_name)});
            json!({"methods": ["password"], "password": {"user": user}})
        };
        let project = match (&self.project_id, &self.project_name) {
            (Some(id), _) => json!({ "id": id }),
            (None, Some(name)) => json!({"name": name, "domain": domain(&self.project_domain_id, &self.project_domain_name)}),
            (None, None) => return Ok(json!({ "identity": identity })),
        };
        Ok(json!({"identity": identity, "scope": {"project": project}}))
    }
}

/// Where the catalog of a token says that the network service is.
fn endpoint(token: &Value) -> Option<String> {
    let services = token.get("token")?.get("catalog")?.as_array()?;
    let of = |value: &Value, name: &str, wanted: &str| value.get(name).and_then(Value::as_str) == Some(wanted);
    let service = services.iter().find(|it| of(it, "type", "network"))?;
    let public = service.get("endpoints")?.as_array()?.iter().find(|it| of(it, "interface", "public"))?;
    public.get("url")?.as_str().map(str::to_owned)
}

fn without_version(url: &str) -> String {
    url.trim_end_matches('/').trim_end_matches("/v2.0").to_owned()
}

/// What a service says of a failure.
fn message(answer: &Response) -> String {
    let body: Value = answer.json().unwrap_or_default();
    let told = ["NeutronError", "error"].into_iter().find_map(|root| body.get(root)?.get("message")?.as_str());
    told.or_else(|| body.get("message")?.as_str()).map_or_else(|| answer.text(), str::to_owned)
}

/// What an answer holds, null if nothing.
fn body(answer: &Response) -> anyhow::Result<Value> {
    if !answer.is_success() {
        bail!("the network service answered with {}: {}", answer.status, message(answer));
    }
    if answer.body.is_empty() { Ok(Value::Null) } else { answer.json().context("an answer that is not JSON") }
}

impl Session {
    /// The answer to a GET, whatever it is.
    ///
    /// # Errors
    /// There is none.
    pub async fn try_get(&self, path: &str) -> anyhow::Result<Response> {
        self.http.send(Request::get(format!("{}{path}", self.url)).header("x-auth-token", &self.token)).await
    }

    /// What a GET finds.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        body(&self.try_get(path).await?)
    }

    /// The answer to another request, null if it has no body.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub async fn send(&self, method: Method, path: &str, with: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let request = match with {
            Some(with) => Request::json(method, url, with),
            None => Request::new(method, url),
        };
        body(&self.http.send(request.header("x-auth-token", &self.token)).await?)
    }
}

/// A client that knows names of hosts.
struct Http {
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Http {
    async fn send(&self, mut request: Request) -> anyhow::Result<Response> {
        let url = request.url.clone();
        let (scheme, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
        let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(authority, path)| (authority, format!("/{path}")));
        let usual = if scheme == "https" { 443 } else { 80 };
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') && !port.is_empty() => name,
            _ => authority,
        };
        let address = if authority == name { format!("{name}:{usual}") } else { authority.to_owned() };
        let found: Vec<SocketAddr> = tokio::net::lookup_host(&address).await.with_context(|| format!("cannot find {name}"))?.collect();
        request = request.header("host", authority);
        let server_name = Some(name.trim_matches(['[', ']']).to_owned());
        let client = Client { tls: self.tls.clone(), server_name, ..Client::plain() }.with_deadline(DEADLINE);
        let mut last = None;
        for address in found {
            request.url = format!("{scheme}://{address}{path}");
            match client.send(request.clone()).await {
                // Another address of the same name may answer.
                Err(error @ net::http::HttpError::Connect { .. }) => last = Some(error),
                other => return Ok(other?),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("{name} has no address"), anyhow::Error::from))
    }
}

/// TLS that trusts the authorities of a file.
fn tls(file: &Path) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    let mut roots = rustls::RootCertStore::empty();
    let unreadable = || format!("cannot read {}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
        roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
    }
    Ok(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_service_is_found_in_the_catalog() {
        let token = json!({"token": {"catalog": [
            {"type": "identity", "endpoints": [{"interface": "public", "url": "http://127.0.0.1:1/identity"}]},
            {"type": "network", "endpoints": [
                {"interface": "admin", "url": "http://127.0.0.1:2/network"},
                {"interface": "public", "url": "http://127.0.0.1:1/network"},
            ]},
        ]}});
        assert_eq!(endpoint(&token).as_deref(), Some("http://127.0.0.1:1/network"));
        assert_eq!(endpoint(&json!({})), None);
        assert_eq!(without_version("http://h/network/v2.0/"), "http://h/network");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }

    #[test]
    fn one_logs_in_as_the_environment_says() {
        use clap::Parser;

        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            server: Server,
        }
        let words = ["x", "--auth-url", "http://h/v3", "--username", "u", "--password", "p", "--project-name", "q"];
        let auth = Cli::parse_from(words).server.auth().unwrap();
        assert_eq!(auth["scope"]["project"], json!({"name": "q", "domain": {"id": "default"}}));
        assert_eq!(auth["identity"]["methods"], json!(["password"]));
    }
}
