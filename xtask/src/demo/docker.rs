//! What a tenant does with a cluster: `openstack coe cluster config`, then the Docker Engine API over mutual TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use http::Method;
use net::http::{Client, Request};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::client::{Service, Session, text};

/// Where the service of each tenant listens, on its machines and in its containers.
pub(crate) const SERVICE_PORT: u16 = 8080;

/// Name of network and service.
pub(crate) const NAME: &str = "web";

/// The image that every machine carries.
const IMAGE: &str = "cofferdam/busybox:latest";

/// The Docker API of one cluster.
pub(crate) struct Docker {
    http: Client,
    base: String,
    /// Where key and certificates lie, as `docker` expects them.
    pub(crate) dir: PathBuf,
    /// For `DOCKER_HOST`.
    pub(crate) host: String,
}

/// A task of a service.
pub(crate) struct Task {
    /// Such as `web.1`.
    pub(crate) name: String,
    state: String,
    error: String,
}

impl Docker {
    /// Makes a key, has the cluster sign it, and leaves key.pem, cert.pem and ca.pem in `dir` (which gets mode 0700).
    ///
    /// # Errors
    /// The APIs refused, or the certificates cannot be used.
    pub(crate) async fn configure(session: &Session, cluster: &Value, dir: &Path) -> Result<Self> {
        let uuid = text(cluster, "uuid")?;
        let host = text(cluster, "api_address")?;
        let key = rcgen::KeyPair::generate().context("cannot make a key")?;
        let mut wanted = rcgen::CertificateParams::new(Vec::<String>::new()).context("cannot describe a certificate")?;
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        wanted.distinguished_name.push(rcgen::DnType::CommonName, "admin");
        wanted.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
        let csr = wanted.serialize_request(&key).and_then(|it| it.pem()).context("cannot make a certificate request")?;
        let ca = text(&session.get(Service::ContainerInfra, &format!("/certificates/{uuid}")).await?, "pem")?;
        let signed = session.post(Service::ContainerInfra, "/certificates", &json!({"cluster_uuid": uuid, "csr": csr})).await?;
        let certificate = text(&signed, "pem")?;
        let key = key.serialize_pem();
        crate::make_dir(dir)?;
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).context("cannot protect the key's directory")?;
        for (name, content) in [("ca.pem", &ca), ("cert.pem", &certificate), ("key.pem", &key)] {
            super::write_private(&dir.join(name), content)?;
        }
        let rest = host
            .strip_prefix("tcp://")
            .or_else(|| host.strip_prefix("https://"))
            .with_context(|| format!("api_address {host} is not tcp:// or https://"))?;
        let http = Client { tls: Some(tls(&ca, &certificate, &key)?), ..Client::plain().with_deadline(Duration::from_secs(30)) };
        Ok(Self { http, base: format!("https://{}", rest.trim_end_matches('/')), dir: dir.to_owned(), host })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/v1.41{path}", self.base);
        let what = format!("{method} {url}");
        let request = match body {
            Some(body) => Request::json(method, url, body),
            None => Request::new(method, url),
        };
        let answer = self.http.send(request).await.map_err(|error| anyhow!("{what}: {:#}", anyhow::Error::from(error)))?;
        if !answer.is_success() {
            let words = answer.json::<Value>().ok().and_then(|it| it["message"].as_str().map(str::to_owned));
            bail!("{what} was answered with {}: {}", answer.status, words.unwrap_or_else(|| answer.text()));
        }
        if answer.body.is_empty() {
            Ok(Value::Null)
        } else {
            answer.json().with_context(|| format!("{what} was answered with what is not JSON"))
        }
    }

    /// The daemon's and the swarm's own words: version, and how many of the swarm's nodes are ready.
    pub(crate) async fn ready_nodes(&self) -> Result<(String, usize)> {
        let version = text(&self.call(Method::GET, "/version", None).await?, "Version")?;
        let nodes = self.call(Method::GET, "/nodes", None).await?;
        let ready = nodes.as_array().into_iter().flatten().filter(|it| it["Status"]["State"] == "ready").count();
        Ok((version, ready))
    }

    /// Makes the overlay network and the service on it. No virtual address and no routing mesh: both need IPVS, which the simulated
    /// rack's kernel lacks.
    ///
    /// # Errors
    /// The daemon refused.
    pub(crate) async fn start_service(&self, tenant: &str, replicas: usize) -> Result<()> {
        let network = json!({"Name": NAME, "Driver": "overlay", "Attachable": true, "CheckDuplicate": true});
        let network = text(&self.call(Method::POST, "/networks/create", Some(&network)).await?, "Id")?;
        let body = service(tenant, &network, replicas);
        self.call(Method::POST, "/services/create", Some(&body)).await.map(|_| ())
    }

    /// Waits until `replicas` tasks of the service run; calls `see` with how many do whenever it has looked.
    ///
    /// # Errors
    /// They do not within the deadline; the message has what the tasks say.
    pub(crate) async fn wait_service(&self, replicas: usize, deadline: Duration, mut see: impl FnMut(usize)) -> Result<Vec<Task>> {
        let until = Instant::now() + deadline;
        loop {
            let tasks = self.tasks().await?;
            let running: Vec<Task> = tasks.into_iter().filter(|it| it.state == "running").collect();
            see(running.len());
            if running.len() >= replicas {
                return Ok(running);
            }
            if Instant::now() > until {
                let said: Vec<String> =
                    self.tasks().await?.iter().map(|it| format!("{} is {} ({})", it.name, it.state, it.error)).collect();
                bail!("{} of {replicas} containers run after {deadline:?}: {}", running.len(), said.join(", "));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn tasks(&self) -> Result<Vec<Task>> {
        let filters = json!({"service": [NAME], "desired-state": ["running", "accepted", "ready"]}).to_string();
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filters).finish();
        let tasks = self.call(Method::GET, &format!("/tasks?{query}"), None).await?;
        let read = |it: &Value| Task {
            name: format!("{NAME}.{}", it["Slot"]),
            state: it["Status"]["State"].as_str().unwrap_or("unknown").to_owned(),
            error: it["Status"]["Err"].as_str().or_else(|| it["Status"]["Message"].as_str()).unwrap_or_default().to_owned(),
        };
        Ok(tasks.as_array().into_iter().flatten().map(read).collect())
    }
}

/// The service: each container answers a TCP connection with its host name, which is the image's own command; the name says whose it is.
fn service(tenant: &str, network: &str, replicas: usize) -> Value {
    json!({
        "Name": NAME,
        "Labels": {"cofferdam.tenant": tenant},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE,
                "Hostname": format!("{tenant}-{NAME}-{{{{.Task.Slot}}}}"),
                "Env": [format!("PORT={SERVICE_PORT}")],
            },
            "Networks": [{"Target": network}],
            "RestartPolicy": {"Condition": "any", "Delay": 1_000_000_000_u64},
            "Placement": {"MaxReplicas": 1},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [{"Protocol": "tcp", "TargetPort": SERVICE_PORT, "PublishedPort": SERVICE_PORT, "PublishMode": "host"}],
        },
    })
}

fn tls(ca: &str, certificate: &str, key: &str) -> Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(authority.context("the cluster's CA is not PEM")?).context("the cluster's CA cannot be used")?;
    }
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().context("the signed certificate is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("our own key is not PEM")?;
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("no TLS versions")?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .context("the signed certificate does not fit our key")?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_needs_no_virtual_address() {
        let body = service("finance", "net", 2);
        assert_eq!(body["EndpointSpec"]["Mode"], "dnsrr");
        assert_eq!(body["EndpointSpec"]["Ports"][0]["PublishMode"], "host");
        assert_eq!(body["TaskTemplate"]["ContainerSpec"]["Hostname"], "finance-web-{{.Task.Slot}}");
    }

    #[test]
    fn a_key_pair_makes_a_tls_client() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        assert!(tls(&certificate, &certificate, &key.serialize_pem()).is_ok());
        assert!(tls("", "", &key.serialize_pem()).is_err());
    }
}
