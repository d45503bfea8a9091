//! The public keys of providers: fetched from where the provider publishes them, remembered for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::identity::jwt::{Jwks, MAX_JWKS_BYTES};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use net::http::{Client, Request};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// How long keys are used before they are fetched again.
const FRESH: Duration = Duration::from_secs(300);
/// How long after a failure, and after a fetch because a key was not known, no other is begun.
const PAUSE: Duration = Duration::from_secs(10);
/// Deadline of all requests of a fetch together.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most sources that are remembered.
const REMEMBERED: usize = 256;
/// Where distributions keep the certificates of the authorities a host trusts, as one PEM file.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Where a provider's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// At this address.
    Direct(String),
    /// Where the document of this issuer says (Source: OpenID Connect Discovery 1.0, section 4).
    Discovery(String),
}

type Outcome = Result<Arc<Jwks>, Arc<str>>;
/// A fetch that all wait for who want its outcome; it goes on as long as one does.
type Fetch = Shared<BoxFuture<'static, Outcome>>;

struct Entry {
    fetch: Fetch,
    began: Instant,
    /// When it was last fetched because a key was not known.
    asked_again: Option<Instant>,
}

/// The keys of all providers that were asked for theirs.
#[derive(Default)]
pub(in crate::identity) struct Providers {
    entries: Mutex<HashMap<Source, Entry>>,
}

impl Providers {
    /// The keys, if need be fetched; else why they cannot be had.
    pub(super) async fn keys(&self, source: &Source) -> Outcome {
        self.current(source).await
    }

    /// The keys after one was not among them: fetched again unless that was done just now. If that fails the known ones stay.
    pub(super) async fn keys_again(&self, source: &Source) -> Outcome {
        let Some((fetch, before)) = self.anew(source) else { return self.keys(source).await };
        let outcome = fetch.await;
        if outcome.is_err() {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = entries.get_mut(source) {
                entry.fetch = before;
            }
        }
        outcome
    }

    fn current(&self, source: &Source) -> Fetch {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(source) {
            let holds = match entry.fetch.peek() {
                Some(Err(_)) => PAUSE,
                Some(Ok(_)) | None => FRESH,
            };
            if entry.began.elapsed() < holds {
                return entry.fetch.clone();
            }
        }
        if entries.len() >= REMEMBERED {
            entries.clear();
        }
        let fetch = begin(source.clone());
        entries.insert(source.clone(), Entry { fetch: fetch.clone(), began: Instant::now(), asked_again: None });
        fetch
    }

    /// Begins a fetch unless one was begun just now; with it what was there before.
    fn anew(&self, source: &Source) -> Option<(Fetch, Fetch)> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(source)?;
        if entry.asked_again.is_some_and(|at| at.elapsed() < PAUSE) {
            return None;
        }
        let fetch = begin(source.clone());
        let before = std::mem::replace(&mut entry.fetch, fetch.clone());
        entry.asked_again = Some(Instant::now());
        Some((fetch, before))
    }
}

fn begin(source: Source) -> Fetch {
    async move {
        let done = tokio::time::timeout(DEADLINE, fetch(&source)).await;
        let done = done.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")));
        done.map(Arc::new).map_err(|why| {
            tracing::warn!(?source, why, "the keys of an identity provider cannot be had");
            Arc::from(why)
        })
    }
    .boxed()
    .shared()
}

async fn fetch(source: &Source) -> Result<Jwks, String> {
    let text = match source {
        Source::Direct(url) => get(url).await?,
        Source::Discovery(issuer) => {
            let document = get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
            let document: Value = serde_json::from_str(&document).map_err(|_| "the discovery document is not JSON".to_owned())?;
            if document["issuer"].as_str() != Some(issuer) {
                return Err("the discovery document is of another issuer".into());
            }
            let url = document["jwks_uri"].as_str().ok_or("the discovery document names no jwks_uri")?;
            if issuer.starts_with("https:") && !url.starts_with("https:") {
                return Err("an issuer with https names a jwks_uri without".into());
            }
            get(url).await?
        }
    };
    Jwks::parse(&text).map_err(|error| error.to_string())
}

/// The body of what is at an address. Redirections are not followed.
async fn get(url: &str) -> Result<String, String> {
    let (scheme, rest) = url.split_once("://").ok_or("the address has no scheme")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let path = rest.strip_prefix(authority).unwrap_or_default();
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err("the address is neither http nor https".into()),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| "the port of the address is not a number")?),
        _ => (authority, default_port),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let mut client = Client::plain().with_deadline(DEADLINE);
    if scheme == "https" {
        client.tls = Some(trusting_the_hosts_authorities().await?);
        client.server_name = Some(host.clone());
    }
    // The client takes literal addresses; the host's name stays in the request and in the check of the certificate.
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, port),
        Err(_) => {
            let mut found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| format!("the host's name: {error}"))?;
            found.next().ok_or("the host's name has no address")?
        }
    };
    let request = Request::get(format!("{scheme}://{address}{path}")).header("host", authority).header("accept", "application/json");
    let (status, _, mut body) = client.stream(request).await.map_err(|error| chain(&error))?;
    if status != 200 {
        return Err(format!("it answers {status}"));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| chain(&error))?);
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(format!("its answer has more than {MAX_JWKS_BYTES} bytes"));
        }
    }
    String::from_utf8(bytes).map_err(|_| "its answer is not UTF-8".to_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Trusts servers as other programs of this host do: `SSL_CERT_FILE`, else the distribution's file.
async fn trusting_the_hosts_authorities() -> Result<Arc<ClientConfig>, String> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let paths: Vec<&str> = match &named {
        Some(path) => vec![path.as_str()],
        None => ROOTS.to_vec(),
    };
    let mut roots = RootCertStore::empty();
    for path in paths {
        let Ok(pem) = tokio::fs::read(path).await else { continue };
        let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if added > 0 {
            break;
        }
    }
    if roots.is_empty() {
        return Err("this host has no certificates of authorities to trust https by: install ca-certificates or set SSL_CERT_FILE".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
