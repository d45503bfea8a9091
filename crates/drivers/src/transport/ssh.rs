//! SSH to switches (RFC 4251 to 4254, 4256): who is on the other side is checked before anything secret is said, and every step ends by
//! a deadline.
//!
//! Old switches speak old algorithms only. These are offered after all others, so that they are met where nothing better is; the
//! exchange is signed over both sides' offers, hence nobody between can take the better ones away (RFC 4253 section 7.2 and 8).

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{ChannelMsg, ChannelStream, MethodKind, MethodSet, Preferred, cipher, kex, mac};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::switch::{Login, SwitchConfig, SwitchError, Trust};

/// Columns and rows of the terminal: as wide as switches take it, so that nothing is wrapped.
pub(crate) const TERMINAL: (u32, u32) = (511, 1000);
/// How many rounds of questions a keyboard-interactive login may have.
const ROUNDS: usize = 8;
/// After this long without a word a sign of life is asked for, so many times.
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(20), 2);

/// A two-way stream of bytes to a program on the switch.
pub(crate) type SshStream = ChannelStream<client::Msg>;

/// Where and as whom to log in. Shared by all connections to one switch, so that a key that was taken on first use binds the next ones.
pub(crate) struct SshTarget {
    switch: String,
    host: String,
    port: u16,
    login: Login,
    key: Option<Arc<PrivateKey>>,
    trust: Trust,
    learned: OnceLock<String>,
}

/// A connection on which the login has succeeded. Dropping it closes it.
pub(crate) struct SshSession {
    switch: String,
    handle: Handle<Client>,
}

/// What the other side showed, and what was expected.
struct Client {
    expected: Option<String>,
    shown: Arc<OnceLock<(String, Algorithm)>>,
    /// The driver's key is taken if nothing is expected.
    on_first_use: bool,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = key.public_key();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        // Set on the first exchange of a connection; a later one must show the same.
        let (first, _) = self.shown.get_or_init(|| (fingerprint.clone(), key.algorithm()));
        Ok(*first == fingerprint && self.expected.as_ref().map_or(self.on_first_use, |it| *it == fingerprint))
    }
}

/// Reads `ssh:HOST:PORT`, with an IPv6 address in brackets.
pub(crate) fn endpoint(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is not ssh:HOST:PORT");
    let (host, port) = text.strip_prefix("ssh:").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
    let port: u16 = port.parse().ok().filter(|&port| port > 0).ok_or_else(wrong)?;
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let good = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    if good { Ok((inner.unwrap_or(host).to_owned(), port)) } else { Err(wrong()) }
}

/// Brings a fingerprint into the form in which they are compared.
fn fingerprint(text: &str) -> Result<String, String> {
    use base64::Engine as _;
    let digest = text.trim().strip_prefix("SHA256:").map(|it| it.trim_end_matches('='));
    let whole = digest.and_then(|it| base64::engine::general_purpose::STANDARD_NO_PAD.decode(it).ok()).is_some_and(|it| it.len() == 32);
    match digest {
        Some(digest) if whole => Ok(format!("SHA256:{digest}")),
        _ => Err(format!("{text:?} is not a fingerprint as ssh-keygen -l shows it (SHA256:…)")),
    }
}

impl SshTarget {
    /// What a switch's configuration says; nothing is connected yet.
    ///
    /// # Errors
    /// `Config`: the endpoint, the fingerprint or the private key is not one, or nobody is named who logs in.
    pub(crate) fn of(config: &SwitchConfig) -> Result<Self, SwitchError> {
        let unusable = |reason: String| SwitchError::Config { switch: config.name.clone(), reason };
        let (host, port) = endpoint(&config.endpoint).map_err(unusable)?;
        if config.login.username.is_empty() {
            return Err(unusable("nobody is named who logs in by SSH".to_owned()));
        }
        if config.login.password.is_none() && config.login.private_key.is_none() {
            return Err(unusable("there is neither a password nor a private key to log in with".to_owned()));
        }
        // The library's words could hold a part of the key.
        let parse = |pem: &model::Secret| decode_secret_key(pem.reveal(), None).map_err(|_| unusable("the private key is none".to_owned()));
        let key = config.login.private_key.as_ref().map(parse).transpose()?.map(Arc::new);
        let mut trust = config.trust.clone();
        trust.host_key = trust.host_key.filter(|it| !it.is_empty()).map(|it| fingerprint(&it)).transpose().map_err(unusable)?;
        Ok(Self { switch: config.name.clone(), host, port, login: config.login.clone(), key, trust, learned: OnceLock::new() })
    }

    /// The fingerprint that was taken on first use; `None` if one was pinned, or none was seen.
    pub(crate) fn learned(&self) -> Option<String> {
        self.learned.get().cloned()
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout` after `until`, or `Trust`: it shows another key than expected, or does not let us in.
    pub(crate) async fn open(&self, until: Instant) -> Result<SshSession, SwitchError> {
        match timeout_at(until, self.connect_and_log_in()).await {
            Ok(result) => result,
            Err(_) => Err(SwitchError::Timeout { switch: self.switch.clone(), doing: "logging in" }),
        }
    }

    async fn connect_and_log_in(&self) -> Result<SshSession, SwitchError> {
        let mut handle = self.connect().await?;
        self.log_in(&mut handle).await?;
        Ok(SshSession { switch: self.switch.clone(), handle })
    }

    async fn connect(&self) -> Result<Handle<Client>, SwitchError> {
        let mut avoid: Vec<Algorithm> = Vec::new();
        loop {
            let shown = Arc::new(OnceLock::new());
            let expected = self.trust.host_key.clone().or_else(|| self.learned());
            let client = Client { expected: expected.clone(), shown: Arc::clone(&shown), on_first_use: self.trust.on_first_use };
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| self.unreachable(&error))?;
            // Short lines wait for answers: they must not wait for one another.
            stream.set_nodelay(true).map_err(|error| self.unreachable(&error))?;
            let config = client::Config {
                preferred: preferred(&avoid),
                keepalive_interval: Some(KEEPALIVE.0),
                keepalive_max: KEEPALIVE.1,
                ..client::Config::default()
            };
            let error = match client::connect_stream(Arc::new(config), stream, client).await {
                Ok(handle) => {
                    if self.trust.host_key.is_none()
                        && let Some((fingerprint, _)) = shown.get()
                    {
                        self.learned.get_or_init(|| fingerprint.clone());
                    }
                    return Ok(handle);
                }
                Err(error) => error,
            };
            match (error, shown.get(), expected) {
                // A switch may have keys of several kinds and shows the kind that we like best. A fingerprint does not tell its kind.
                (russh::Error::UnknownKey, Some((_, algorithm)), Some(_)) if avoid.len() < 3 => avoid.push(algorithm.clone()),
                (russh::Error::UnknownKey, Some((shown, _)), None) => {
                    return Err(self.distrust(format!("its host key is not pinned; it shows {shown}")));
                }
                (russh::Error::UnknownKey | russh::Error::NoCommonAlgo { .. }, shown, Some(expected))
                    if shown.is_some() || !avoid.is_empty() =>
                {
                    return Err(self.distrust(format!("it does not show the host key {expected}")));
                }
                (russh::Error::WrongServerSig, ..) => return Err(self.distrust("it does not have the host key that it shows".to_owned())),
                (error, ..) => return Err(self.unreachable(&error)),
            }
        }
    }

    async fn log_in(&self, handle: &mut Handle<Client>) -> Result<(), SwitchError> {
        let user = &self.login.username;
        let mut offered: Option<MethodSet> = None;
        let may = |offered: &Option<MethodSet>, method: MethodKind| offered.as_ref().is_none_or(|it| it.contains(&method));
        if let Some(key) = &self.key {
            let hash = if key.algorithm().is_rsa() {
                let best = handle.best_supported_rsa_hash().await.map_err(|error| self.unreachable(&error))?;
                best.unwrap_or(Some(HashAlg::Sha256))
            } else {
                None
            };
            let attempt = handle.authenticate_publickey(user.as_str(), PrivateKeyWithHashAlg::new(Arc::clone(key), hash)).await;
            match self.verdict(attempt, handle)? {
                None => return Ok(()),
                Some(methods) => offered = Some(methods),
            }
        }
        let Some(password) = &self.login.password else { return Err(self.distrust(format!("it does not let {user} in with the key"))) };
        if may(&offered, MethodKind::Password) {
            match self.verdict(handle.authenticate_password(user.as_str(), password.reveal()).await, handle)? {
                None => return Ok(()),
                Some(methods) => offered = Some(methods),
            }
        }
        if may(&offered, MethodKind::KeyboardInteractive) {
            let mut answer = handle.authenticate_keyboard_interactive_start(user.as_str(), None).await;
            for _ in 0..ROUNDS {
                match answer.map_err(|error| self.unreachable(&error))? {
                    KeyboardInteractiveAuthResponse::Success => return Ok(()),
                    KeyboardInteractiveAuthResponse::Failure { .. } => break,
                    KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                        // What is shown while it is typed is not a password (RFC 4256 section 3.2).
                        let words = prompts.iter().map(|it| if it.echo { user.clone() } else { password.reveal().to_owned() }).collect();
                        answer = handle.authenticate_keyboard_interactive_respond(words).await;
                    }
                }
            }
        }
        Err(self.distrust(format!("it does not let {user} in")))
    }

    /// `None`: we are in. Otherwise how else it may be tried.
    fn verdict(&self, attempt: Result<AuthResult, russh::Error>, handle: &Handle<Client>) -> Result<Option<MethodSet>, SwitchError> {
        match attempt.map_err(|error| self.unreachable(&error))? {
            AuthResult::Success => Ok(None),
            // The library says so too if the connection broke before an answer: then nothing was refused.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() && handle.is_closed() => {
                Err(self.unreachable(&"it hung up while logging in"))
            }
            AuthResult::Failure { remaining_methods, .. } => Ok(Some(remaining_methods)),
        }
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> SwitchError {
        SwitchError::Unreachable { switch: self.switch.clone(), reason: error.to_string() }
    }

    fn distrust(&self, reason: String) -> SwitchError {
        SwitchError::Trust { switch: self.switch.clone(), reason }
    }
}

impl SshSession {
    /// A shell at a terminal.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout` after `until`, or `Protocol` if there is none.
    pub(crate) async fn shell(&self, until: Instant) -> Result<SshStream, SwitchError> {
        let work = async {
            let mut channel = self.handle.channel_open_session().await?;
            channel.request_pty(true, "vt100", TERMINAL.0, TERMINAL.1, 0, 0, &[]).await?;
            // Without a terminal there may still be a shell.
            answered(&mut channel).await?;
            channel.request_shell(true).await?;
            Ok(answered(&mut channel).await?.then(|| channel.into_stream()))
        };
        self.within(until, "opening a shell", work).await?.ok_or_else(|| self.protocol("it has no shell for us"))
    }

    /// A subsystem (RFC 4254 section 6.5), such as `netconf` (RFC 6242).
    ///
    /// # Errors
    /// `Unreachable`, `Timeout` after `until`, or `Protocol` if there is none of this name.
    pub(crate) async fn subsystem(&self, name: &str, until: Instant) -> Result<SshStream, SwitchError> {
        let work = async {
            let mut channel = self.handle.channel_open_session().await?;
            channel.request_subsystem(true, name).await?;
            Ok(answered(&mut channel).await?.then(|| channel.into_stream()))
        };
        self.within(until, "opening a subsystem", work).await?.ok_or_else(|| self.protocol(&format!("it has no subsystem {name} for us")))
    }

    /// Whether the connection is known to be gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    async fn within<T>(
        &self,
        until: Instant,
        doing: &'static str,
        work: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, SwitchError> {
        match timeout_at(until, work).await {
            Ok(result) => result.map_err(|error| SwitchError::Unreachable { switch: self.switch.clone(), reason: error.to_string() }),
            Err(_) => Err(SwitchError::Timeout { switch: self.switch.clone(), doing }),
        }
    }

    fn protocol(&self, reason: &str) -> SwitchError {
        SwitchError::Protocol { switch: self.switch.clone(), reason: reason.to_owned() }
    }
}

/// Waits for the verdict on the request that was just made.
async fn answered(channel: &mut russh::Channel<client::Msg>) -> Result<bool, russh::Error> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(true),
            Some(ChannelMsg::Failure) => return Ok(false),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return Err(russh::Error::Disconnect),
            Some(_) => {}
        }
    }
}

/// What is offered: all that is safe, then what old switches need; host keys without the kinds to avoid.
fn preferred(avoid: &[Algorithm]) -> Preferred {
    let mut out = Preferred::DEFAULT;
    let old =
        [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521, kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1];
    out.kex = Cow::Owned(out.kex.iter().copied().chain(old).collect());
    out.cipher = Cow::Owned(out.cipher.iter().copied().chain([cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC]).collect());
    out.mac = Cow::Owned(out.mac.iter().copied().chain([mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]).collect());
    let kind = |it: &Algorithm| match it {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        Algorithm::Ecdsa { .. } => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        other => other.clone(),
    };
    out.key = Cow::Owned(out.key.iter().filter(|it| !avoid.iter().any(|avoided| kind(avoided) == kind(it))).cloned().collect());
    out
}

#[cfg(test)]
#[path = "ssh_tests.rs"]
mod with_servers;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        assert_eq!(endpoint("ssh:leaf1.example:22"), Ok(("leaf1.example".to_owned(), 22)));
        assert_eq!(endpoint("ssh:[2001:db8::7]:830"), Ok(("2001:db8::7".to_owned(), 830)));
        for bad in ["leaf1:22", "ssh:leaf1", "ssh:leaf1:0", "ssh::22", "ssh:2001:db8::7:22", "ssh:[leaf1]:22", "ssh:a b:22"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_are_compared_in_one_form() {
        let plain = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        assert_eq!(fingerprint(plain).as_deref(), Ok(plain));
        assert_eq!(fingerprint(&format!("{plain}=")).as_deref(), Ok(plain));
        for bad in ["", "MD5:aa:bb", "SHA256:", "SHA256:AAAA", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"] {
            assert!(fingerprint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn old_algorithms_come_last_and_avoided_kinds_not_at_all() {
        let all = preferred(&[]);
        let place = |name: kex::Name| all.kex.iter().position(|it| *it == name).unwrap();
        assert!(place(kex::DH_G1_SHA1) > place(kex::DH_G14_SHA256));
        assert_eq!(all.key.last(), Some(&Algorithm::Rsa { hash: None }));
        let rest = preferred(&[Algorithm::Ed25519, Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }]);
        assert!(rest.key.iter().all(|it| it.clone().is_rsa()) && rest.key.len() == 3);
    }
}
