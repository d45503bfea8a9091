//! The HTTP side of Redfish: one BMC, its session, its errors (Source: DMTF DSP0266).
//!
//! A session is made at the first request and shared by all who talk to that BMC with that account, however often its node is opened;
//! ten thousand nodes log in once each, not once a look. The table of them is bounded; who falls out of it is logged out.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use model::Secret;
use net::Netns;
use net::http::{Client, HttpError, Request, Response};
use rustls::ClientConfig;
use rustls::client::Resumption;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::config::{AuthType, RedfishConfig, host_of};
use crate::bmc::{BmcError, VerifyCa};

/// How long one exchange may take, and how long a name may take to resolve.
const LIMIT: Duration = Duration::from_secs(20);
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// Largest answer read, in bytes. Registries of BIOS attributes are the largest there are: a few megabytes.
const MAX_BYTES: usize = 16 << 20;
/// Most sessions kept.
const SESSIONS: usize = 16_384;
/// Most sets of certificates whose verifiers are shared, and most TLS sessions of one BMC that can be resumed.
const MAX_VERIFIERS: usize = 1_024;
const RESUMED: usize = 8;
/// Most members of a collection that are looked at, and most of its pages.
const MEMBERS: usize = 512;
const PAGES: usize = 16;
/// How often a reading is tried again that failed on the BMC's side, and how long between.
const READ_AGAIN: u32 = 2;
const PAUSE: Duration = Duration::from_millis(500);

/// How we are known to the BMC.
#[derive(Clone)]
enum Login {
    /// Not yet.
    Unknown,
    /// Not at all: there is no account.
    Nobody,
    /// With each request.
    Basic,
    /// By a session.
    Session { token: Secret, location: Option<String> },
}

/// One BMC and one account.
pub(super) struct Connection {
    pub(super) base: String,
    pub(super) root: String,
    username: String,
    password: Secret,
    auth_type: AuthType,
    http: Client,
    /// The host to resolve, if it is a name.
    name: Option<(String, u16)>,
    login: tokio::sync::Mutex<Login>,
    only_system: OnceCell<String>,
}

#[derive(Default)]
struct Table {
    clock: u64,
    kept: HashMap<[u8; 32], (u64, Arc<Connection>)>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);
static VERIFIERS: LazyLock<Mutex<HashMap<[u8; 32], Arc<ClientConfig>>>> = LazyLock::new(Mutex::default);
/// So that the keys of the table tell nothing of passwords outside of this process.
static SALT: LazyLock<String> = LazyLock::new(|| Secret::random().reveal().to_owned());

/// The connection of that BMC and account: the one there is, or a new one, which does not connect yet.
///
/// # Errors
/// `Config` if the certificates are unusable.
pub(super) fn connection(config: &RedfishConfig) -> Result<Arc<Connection>, BmcError> {
    let mut hash = Sha256::new();
    let pem = match &config.verify_ca {
        VerifyCa::Anyone => "-",
        VerifyCa::Pem(pem) => pem,
    };
    let auth = format!("{:?}", config.auth_type);
    for part in [SALT.as_str(), &config.base, &config.root, &config.username, config.password.reveal(), pem, &auth] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let key: [u8; 32] = hash.finalize().into();
    let mut evicted = Vec::new();
    let found = {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let clock = table.clock;
        match table.kept.get_mut(&key) {
            Some((touched, connection)) => {
                *touched = clock;
                Arc::clone(connection)
            }
            None => {
                let connection = Arc::new(Connection::new(config)?);
                if table.kept.len() >= SESSIONS {
                    // A sixteenth at once, so that a full table does not look for the oldest at each call.
                    let mut ages: Vec<u64> = table.kept.values().map(|(touched, _)| *touched).collect();
                    let (_, bound, _) = ages.select_nth_unstable(SESSIONS / 16);
                    let bound = *bound;
                    evicted.extend(table.kept.extract_if(|_, (touched, _)| *touched <= bound).map(|(_, (_, it))| it));
                }
                table.kept.insert(key, (clock, Arc::clone(&connection)));
                connection
            }
        }
    };
    if let (false, Ok(runtime)) = (evicted.is_empty(), tokio::runtime::Handle::try_current()) {
        runtime.spawn(async move {
            for connection in evicted {
                connection.log_out().await;
            }
        });
    }
    Ok(found)
}

/// How TLS is spoken with one BMC. Verifiers are shared by all who trust the same; resumed sessions, which spare a slow BMC most of
/// a handshake, are its own and few.
fn tls(verify_ca: &VerifyCa) -> Result<Arc<ClientConfig>, String> {
    let pem = match verify_ca {
        VerifyCa::Anyone => "",
        VerifyCa::Pem(pem) if pem.is_empty() => {
            return Err("driver_info/redfish_verify_ca must hold the BMC's certificate or that of its authority (PEM), or be false".into());
        }
        VerifyCa::Pem(pem) => pem,
    };
    let key: [u8; 32] = Sha256::digest(pem.as_bytes()).into();
    let known = VERIFIERS.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let shared = match known {
        Some(shared) => shared,
        None => {
            let made = match verify_ca {
                VerifyCa::Anyone => crate::tls::blind()?,
                VerifyCa::Pem(_) => crate::tls::trusting(pem, None).map_err(|reason| format!("driver_info/redfish_verify_ca: {reason}"))?,
            };
            let mut verifiers = VERIFIERS.lock().unwrap_or_else(PoisonError::into_inner);
            if verifiers.len() >= MAX_VERIFIERS {
                verifiers.clear();
            }
            verifiers.insert(key, Arc::clone(&made));
            made
        }
    };
    let mut own = ClientConfig::clone(&shared);
    own.resumption = Resumption::in_memory_sessions(RESUMED);
    Ok(Arc::new(own))
}

impl Connection {
    fn new(config: &RedfishConfig) -> Result<Self, BmcError> {
        let base = config.base.clone();
        let wrong = |reason: String| BmcError::Config { address: base.clone(), reason };
        let (scheme, authority) = base.split_once("://").unwrap_or(("https", base.as_str()));
        let encrypted = scheme == "https";
        let tls = if encrypted { Some(tls(&config.verify_ca).map_err(wrong)?) } else { None };
        let (host, port) = host_of(authority).ok_or_else(|| wrong("its address has no host".into()))?;
        let is_name = host.parse::<std::net::IpAddr>().is_err();
        let port = port.unwrap_or(if encrypted { 443 } else { 80 });
        let name = is_name.then(|| (host.to_owned(), port));
        let server_name = is_name.then(|| host.to_owned());
        Ok(Self {
            http: Client { netns: Netns::host(), tls, server_name, deadline: LIMIT },
            base,
            root: config.root.clone(),
            username: config.username.clone(),
            password: config.password.clone(),
            auth_type: config.auth_type,
            name,
            login: tokio::sync::Mutex::new(Login::Unknown),
            only_system: OnceCell::new(),
        })
    }

    pub(super) fn protocol(&self, reason: impl Into<String>) -> BmcError {
        BmcError::Protocol { address: self.base.clone(), reason: reason.into() }
    }

    pub(super) fn rejected(&self, reason: impl Into<String>) -> BmcError {
        BmcError::Rejected { address: self.base.clone(), reason: reason.into() }
    }

    pub(super) fn conflict(&self, reason: impl Into<String>) -> BmcError {
        BmcError::Conflict { address: self.base.clone(), reason: reason.into() }
    }

    /// Sends one request as it is. Names are resolved anew each time: BMCs get their addresses from DHCP.
    async fn exchange(&self, request: Request) -> Result<Response, BmcError> {
        let address = || self.base.clone();
        let mut request = request.header("accept", "application/json").header("odata-version", "4.0");
        if let Some((name, port)) = &self.name {
            let found = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host((name.as_str(), *port))).await;
            let found = found.map_err(|_| BmcError::Timeout { address: address() })?;
            let found = found.ok().and_then(|mut it| it.next());
            let at = found.ok_or_else(|| BmcError::Unreachable { address: address(), reason: "its name has no address".into() })?;
            let (scheme, rest) = request.url.split_once("://").unwrap_or(("https", ""));
            let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
            let authority = rest.split('/').next().unwrap_or(rest).to_owned();
            request.url = format!("{scheme}://{at}{path}");
            request = request.header("host", &authority);
        }
        let changes = request.method != Method::GET;
        let failed = |error: HttpError| match error {
            // It may have been heard: no answer, as after a timeout.
            HttpError::Broken { why, .. } if changes => {
                tracing::debug!(bmc.address = self.base, why, "the connection ended before an answer came");
                BmcError::Timeout { address: address() }
            }
            HttpError::Timeout { .. } => BmcError::Timeout { address: address() },
            HttpError::Malformed { why, .. } => BmcError::Config { address: address(), reason: why },
            HttpError::Connect { source, .. } => BmcError::Unreachable { address: address(), reason: source.to_string() },
            HttpError::Broken { why, .. } => BmcError::Unreachable { address: address(), reason: why },
        };
        let exchange = async {
            let (status, headers, mut body) = self.http.stream(request).await.map_err(failed)?;
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(failed)?;
                if bytes.len() + piece.len() > MAX_BYTES {
                    return Err(self.protocol(format!("its answer is larger than {MAX_BYTES} bytes")));
                }
                bytes.extend_from_slice(&piece);
            }
            if headers.get("content-encoding").is_some_and(|it| it == "gzip") {
                let mut plain = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice()).take(MAX_BYTES as u64 + 1);
                decoder.read_to_end(&mut plain).map_err(|error| self.protocol(format!("its answer cannot be unpacked: {error}")))?;
                if plain.len() > MAX_BYTES {
                    return Err(self.protocol(format!("its answer is larger than {MAX_BYTES} bytes")));
                }
                bytes = plain;
            }
            Ok(Response { status, headers, body: bytes.into() })
        };
        tokio::time::timeout(LIMIT, exchange).await.map_err(|_| BmcError::Timeout { address: address() })?
    }

    fn url(&self, path: &str) -> String {
        format!("{}{}", self.base, path_of(path))
    }

    /// Who we are, without the session that was just refused.
    async fn login(&self, refused: Option<&Login>) -> Result<Login, BmcError> {
        let mut kept = self.login.lock().await;
        if let (Some(Login::Session { token: old, .. }), Login::Session { token, .. }) = (refused, &*kept)
            && old == token
        {
            *kept = Login::Unknown;
        }
        if matches!(*kept, Login::Unknown) {
            *kept = self.log_in().await?;
        }
        Ok(kept.clone())
    }

    async fn log_in(&self) -> Result<Login, BmcError> {
        if self.username.is_empty() && self.password.reveal().is_empty() {
            return Ok(Login::Nobody);
        }
        if self.auth_type == AuthType::Basic {
            return Ok(Login::Basic);
        }
        let strict = self.auth_type == AuthType::Session;
        let root = self.exchange(Request::get(self.url(&self.root))).await?;
        let root: Value = if root.is_success() { root.json().unwrap_or_default() } else { Value::Null };
        let linked = root.pointer("/Links/Sessions/@odata.id").and_then(Value::as_str).map(str::to_owned);
        let service = root.pointer("/SessionService/@odata.id").and_then(Value::as_str);
        let sessions = linked.or_else(|| service.map(|it| format!("{}/Sessions", it.trim_end_matches('/'))));
        let sessions = match sessions {
            Some(path) => path,
            None if strict => format!("{}SessionService/Sessions", self.root),
            None => return Ok(Login::Basic),
        };
        let account = json!({"UserName": self.username, "Password": self.password.reveal()});
        let answer = self.exchange(Request::json(Method::POST, self.url(&sessions), &account)).await?;
        let header = |name: &str| answer.headers.get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
        match (answer.status, header("x-auth-token")) {
            (200..=299, Some(token)) => {
                let body: Value = answer.json().unwrap_or_default();
                let location = header("location").or_else(|| body["@odata.id"].as_str().map(str::to_owned));
                Ok(Login::Session { token: Secret::new(token), location })
            }
            (401, _) => Err(BmcError::Denied { address: self.base.clone(), reason: self.words(&answer) }),
            (status, _) if !strict => {
                tracing::debug!(bmc.address = self.base, status, "the BMC makes no session; the account goes with each request");
                Ok(Login::Basic)
            }
            (403, _) => Err(BmcError::Denied { address: self.base.clone(), reason: self.words(&answer) }),
            (200..=299, None) => Err(self.protocol("its answer to a new session has no X-Auth-Token")),
            _ => Err(self.judged(&answer)),
        }
    }

    /// Ends the session, if there is one. That it could not be ended is no matter: BMCs end idle sessions themselves.
    async fn log_out(&self) {
        let login = std::mem::replace(&mut *self.login.lock().await, Login::Unknown);
        if let Login::Session { location: Some(location), token } = login {
            let request = Request::new(Method::DELETE, self.url(&location)).header("x-auth-token", token.reveal());
            if let Err(error) = self.exchange(request).await {
                tracing::debug!(bmc.address = self.base, %error, "a session could not be ended");
            }
        }
    }

    /// Sends a request as the account; its answer, whatever its status.
    ///
    /// # Errors
    /// See [`BmcError`]; `Denied` on 401 with a fresh login.
    pub(super) async fn raw(&self, method: Method, path: &str, body: Option<&Value>, more: &[(&str, &str)]) -> Result<Response, BmcError> {
        let mut refused: Option<Login> = None;
        loop {
            let login = self.login(refused.as_ref()).await?;
            let mut request = match body {
                Some(body) => Request::json(method.clone(), self.url(path), body),
                None => Request::new(method.clone(), self.url(path)),
            };
            for (name, value) in more {
                request = request.header(name, value);
            }
            let request = match &login {
                Login::Session { token, .. } => request.header("x-auth-token", token.reveal()),
                Login::Basic => request.basic_auth(&self.username, self.password.reveal()),
                Login::Unknown | Login::Nobody => request,
            };
            let answer = self.exchange(request).await?;
            if answer.status == 401 {
                if refused.is_none() && matches!(login, Login::Session { .. }) {
                    refused = Some(login);
                    continue;
                }
                return Err(self.judged(&answer));
            }
            return Ok(answer);
        }
    }

    /// What an answer that is no success means.
    pub(super) fn judged(&self, answer: &Response) -> BmcError {
        let (address, reason) = (self.base.clone(), self.words(answer));
        match answer.status {
            401 | 403 => BmcError::Denied { address, reason },
            409 | 423 | 425 | 429 | 503 => BmcError::Conflict { address, reason },
            400 | 500 if super::quirks::is_busy(&String::from_utf8_lossy(&answer.body)) => BmcError::Conflict { address, reason },
            _ => BmcError::Rejected { address, reason },
        }
    }

    /// The extended error of an answer (DSP0266, "Error responses"), else its text; never a password.
    pub(super) fn words(&self, answer: &Response) -> String {
        let body: Value = answer.json().unwrap_or_default();
        let extended: Vec<&str> = body
            .pointer("/error/@Message.ExtendedInfo")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|it| it["Message"].as_str())
            .collect();
        let said = if extended.is_empty() {
            body.pointer("/error/message").and_then(Value::as_str).map(str::to_owned)
        } else {
            Some(extended.join("; "))
        };
        let mut text = said.unwrap_or_else(|| answer.text().chars().take(200).collect());
        let password = self.password.reveal();
        if password.len() > 3 {
            text = text.replace(password, "******");
        }
        format!("status {}: {}", answer.status, text.chars().take(1_000).collect::<String>())
    }

    /// Sends a request and takes only success.
    ///
    /// # Errors
    /// See [`BmcError`].
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, BmcError> {
        let answer = self.raw(method, path, body, &[]).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.judged(&answer)) }
    }

    /// Posts an action.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Response, BmcError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Reads a resource with its headers. Follows redirects within the BMC, tries again what failed on the BMC's side, and asks for a
    /// compressed answer where only that is given (406).
    pub(super) async fn fetch(&self, path: &str) -> Result<Response, BmcError> {
        let mut path = path.to_owned();
        let (mut again, mut hops, mut gzip) = (READ_AGAIN, 3_u32, false);
        loop {
            let more: &[(&str, &str)] = if gzip { &[("accept-encoding", "gzip")] } else { &[] };
            let answer = self.raw(Method::GET, &path, None, more).await?;
            match answer.status {
                200..=299 => return Ok(answer),
                301 | 302 | 307 | 308 if hops > 0 => {
                    hops -= 1;
                    let to = answer.headers.get("location").and_then(|it| it.to_str().ok());
                    path = to.map(|it| path_of(it).to_owned()).ok_or_else(|| self.protocol(format!("{path} is moved to nowhere")))?;
                }
                406 if !gzip => gzip = true,
                500 | 502 | 503 | 504 if again > 0 => {
                    again -= 1;
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return Err(self.judged(&answer)),
            }
        }
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// See [`BmcError`]; `Protocol` if it is not a JSON object.
    pub(super) async fn read(&self, path: &str) -> Result<Value, BmcError> {
        let answer = self.fetch(path).await?;
        let value: Value = answer.json().map_err(|error| self.protocol(format!("{path}: {error}")))?;
        if value.is_object() { Ok(value) } else { Err(self.protocol(format!("{path} is not an object"))) }
    }

    /// Reads a resource that need not be there: `None` if it is not, or is refused.
    ///
    /// # Errors
    /// Only what says nothing of the resource: `Unreachable`, `Timeout`, `Denied`, `Conflict`, `Config`.
    pub(super) async fn maybe(&self, path: &str) -> Result<Option<Value>, BmcError> {
        match self.read(path).await {
            Ok(value) => Ok(Some(value)),
            Err(BmcError::Rejected { .. } | BmcError::Protocol { .. } | BmcError::Unsupported { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The paths of a collection's members.
    pub(super) async fn members(&self, path: &str) -> Result<Vec<String>, BmcError> {
        let (mut out, mut next) = (Vec::new(), Some(path.to_owned()));
        for _ in 0..PAGES {
            let Some(path) = next.take() else { break };
            let page = self.read(&path).await?;
            out.extend(links(&page["Members"]));
            next = page["Members@odata.nextLink"].as_str().map(str::to_owned);
            if out.len() >= MEMBERS {
                break;
            }
        }
        out.truncate(MEMBERS);
        Ok(out)
    }

    /// The members of a collection that `of` links to at `key`, read one by one; none if there is no such link.
    pub(super) async fn each(&self, of: &Value, key: &str) -> Result<Vec<Value>, BmcError> {
        let Some(path) = of[key]["@odata.id"].as_str() else { return Ok(Vec::new()) };
        let members = match self.members(path).await {
            Ok(members) => members,
            Err(BmcError::Rejected { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        self.all(&members).await
    }

    /// Resources by their paths; what is refused is left out.
    pub(super) async fn all(&self, paths: &[String]) -> Result<Vec<Value>, BmcError> {
        let mut out = Vec::new();
        for path in paths.iter().take(MEMBERS) {
            out.extend(self.maybe(path).await?);
        }
        Ok(out)
    }

    /// Changes a resource. Where the BMC wants to know which version is meant (412, 428) it is read and named.
    ///
    /// # Errors
    /// See [`BmcError`].
    pub(super) async fn patch(&self, path: &str, body: &Value, etag: Option<&str>) -> Result<Response, BmcError> {
        let mut tried: Vec<Option<String>> = Vec::new();
        let mut next = vec![etag.map(str::to_owned)];
        let mut asked = false;
        while let Some(tag) = next.pop() {
            if tried.contains(&tag) {
                continue;
            }
            let answer = match &tag {
                Some(tag) => self.raw(Method::PATCH, path, Some(body), &[("if-match", tag)]).await?,
                None => self.raw(Method::PATCH, path, Some(body), &[]).await?,
            };
            tried.push(tag);
            match answer.status {
                200..=299 => return Ok(answer),
                412 | 428 if !asked => {
                    asked = true;
                    let now = self.fetch(path).await?;
                    // From the end: the tag as it is, as a strong one (some BMCs compare those only), any version at all.
                    next.push(Some("*".to_owned()));
                    if let Some(tag) = etag_of(&now) {
                        next.push(tag.strip_prefix("W/").map(str::to_owned));
                        next.push(Some(tag));
                    }
                }
                412 | 428 if !next.is_empty() => {}
                _ => return Err(self.judged(&answer)),
            }
        }
        Err(self.rejected(format!("{path} is changed by no version of it that could be named")))
    }

    /// The path of the only system there is, looked up once.
    pub(super) async fn only_system(&self) -> Result<&str, BmcError> {
        let found = self.only_system.get_or_try_init(|| async {
            let systems = self.members(&format!("{}Systems", self.root)).await?;
            match systems.as_slice() {
                [one] => Ok(one.clone()),
                _ => Err(BmcError::Config {
                    address: self.base.clone(),
                    reason: format!("it has {} systems: driver_info/redfish_system_id must say which is meant", systems.len()),
                }),
            }
        });
        found.await.map(String::as_str)
    }
}

/// The version of a resource: the header, else what the resource says itself.
pub(super) fn etag_of(answer: &Response) -> Option<String> {
    let header = answer.headers.get("etag").and_then(|it| it.to_str().ok()).map(str::to_owned);
    header.or_else(|| answer.json::<Value>().ok().and_then(|it| it["@odata.etag"].as_str().map(str::to_owned)))
}

/// The `@odata.id` of each item of a list.
pub(super) fn links(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|it| it["@odata.id"].as_str().map(str::to_owned)).collect()
}

/// The path of a URL; requests go to the BMC's own address whatever host it names.
pub(super) fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    }
}
