//! What stands in a Fernet token, in the forms of Keystone 30 (`keystone/token/token_formatters.py`): what either writes, the
//! other reads, as long as both have the same key and the same order of [`Method`]s.
//!
//! A payload is a MessagePack list whose first element is the version:
//!
//! | version | elements after it |
//! |---|---|
//! | 0 unscoped | user, methods, expires, audit |
//! | 1 domain | user, methods, domain, expires, audit |
//! | 2 project | user, methods, project, expires, audit |
//! | 3 trust | user, methods, project, expires, audit, trust |
//! | 4 federated | user, methods, groups, provider, protocol, expires, audit |
//! | 5 federated, project; 6 federated, domain | user, methods, scope, groups, provider, protocol, expires, audit |
//! | 7 OAuth 1 | user, methods, project, access token, expires, audit |
//! | 8 system | user, methods, "all", expires, audit |
//! | 9 application credential | user, methods, project, expires, audit, credential |
//! | 10 OAuth 2 with a certificate | user, methods, project, domain, expires, audit, thumbprint |
//!
//! An id is the pair (true, 16 bytes) if it is 32 lower-case hexadecimal digits, otherwise (false, text). Domain and trust ids of
//! versions 1 and 3 stand alone. Keystone also packs ids with dashes or capitals and thereby changes them; here they stay text,
//! which it reads as well.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;

use crate::msgpack::{Malformed, Reader, Writer};

/// Why a payload cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The bytes are not a payload; the text says what is wrong with them.
    #[error("not the payload of a token: {0}")]
    Malformed(String),
    /// No such version of the payload.
    #[error("version {0} of the payload of a token is not known")]
    Version(u32),
    /// A bit stands for no method: it was written under another order of methods.
    #[error("the methods {0:#x} in the token are not known")]
    Methods(u32),
    /// An id is empty, too long, or of a form that its place does not take.
    #[error("the token cannot hold this {0}")]
    Id(&'static str),
    /// A moment before 1970 or after 2242.
    #[error("the token cannot hold this time of expiry")]
    Time,
    /// No version holds these fields together.
    #[error("no token is both {0}")]
    Combination(&'static str),
}

impl From<Malformed> for PayloadError {
    fn from(cause: Malformed) -> Self {
        Self::Malformed(cause.to_string())
    }
}

/// A way in which the user proved who they are. In a token the methods are one number, in which each is a bit; the bits are counted
/// in the order below, which begins with the default of Keystone's `[auth] methods`. A Keystone that shares keys with us must have
/// `methods = external,password,token,oauth1,mapped,application_credential,ec2credential,totp,oauth2_credential,saml2,openid,x509,kerberos`
/// or the beginning of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The web server in front has authenticated the user.
    External,
    /// A password.
    Password,
    /// Another token.
    Token,
    /// An access token of OAuth 1.
    OAuth1,
    /// An assertion of an identity provider.
    Mapped,
    /// An application credential.
    ApplicationCredential,
    /// A signature with an EC2 key.
    Ec2Credential,
    /// A one-time password.
    Totp,
    /// A client certificate, by OAuth 2.
    Oauth2Credential,
    /// An assertion in SAML.
    Saml2,
    /// An assertion in OpenID Connect.
    Openid,
    /// A client certificate.
    X509,
    /// A Kerberos ticket.
    Kerberos,
}

impl Method {
    /// Every method, in the order of the bits: the first is 1, the second 2, the third 4.
    pub const ALL: [Self; 13] = [
        Self::External,
        Self::Password,
        Self::Token,
        Self::OAuth1,
        Self::Mapped,
        Self::ApplicationCredential,
        Self::Ec2Credential,
        Self::Totp,
        Self::Oauth2Credential,
        Self::Saml2,
        Self::Openid,
        Self::X509,
        Self::Kerberos,
    ];

    /// As it is called in requests, in the token's body and in rules of multi-factor authentication.
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Password => "password",
            Self::Token => "token",
            Self::OAuth1 => "oauth1",
            Self::Mapped => "mapped",
            Self::ApplicationCredential => "application_credential",
            Self::Ec2Credential => "ec2credential",
            Self::Totp => "totp",
            Self::Oauth2Credential => "oauth2_credential",
            Self::Saml2 => "saml2",
            Self::Openid => "openid",
            Self::X509 => "x509",
            Self::Kerberos => "kerberos",
        }
    }

    /// The method of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    fn bit(self) -> u32 {
        1 << (self as u32)
    }

    fn pack(methods: &[Self]) -> u32 {
        methods.iter().fold(0, |bits, method| bits | method.bit())
    }

    fn unpack(bits: u32) -> Result<Vec<Self>, PayloadError> {
        if bits & !Self::pack(&Self::ALL) != 0 {
            return Err(PayloadError::Methods(bits));
        }
        Ok(Self::ALL.into_iter().rev().filter(|method| bits & method.bit() != 0).collect())
    }

    /// These methods as they are after reading them from a token: each once, the highest bit first, as Keystone lists them.
    pub fn canonical(methods: &[Self]) -> Vec<Self> {
        let mut methods = methods.to_vec();
        methods.sort_unstable_by(|left, right| right.cmp(left));
        methods.dedup();
        methods
    }
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenScope {
    /// Nothing but getting another token.
    Unscoped,
    /// A project.
    Project(String),
    /// A domain.
    Domain(String),
    /// The whole cloud.
    System,
    /// What a trust delegates.
    Trust {
        /// The project that the trust is about, if any.
        project: Option<String>,
        /// The trust: 32 hexadecimal digits.
        trust: String,
    },
}

/// What an identity provider said of the user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Federated {
    /// Ids of the groups that the mapping gave.
    pub groups: Vec<String>,
    /// Id of the identity provider.
    pub idp: String,
    /// Id of the protocol.
    pub protocol: String,
}

/// What stands in a token. When it was issued is not here but in the Fernet envelope ([`crate::token`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Whose it is.
    pub user_id: String,
    /// How they proved it. Reading gives them in the order of [`Method::canonical`].
    pub methods: Vec<Method>,
    /// What it is good for.
    pub scope: TokenScope,
    /// When it ends; between 1970 and 2242.
    pub expires_at: Timestamp,
    /// One or two audit ids ([`new_audit_id`]): its own, then that of the first token of its chain.
    pub audit_ids: Vec<String>,
    /// Set if an identity provider vouches for the user.
    pub federated: Option<Federated>,
    /// The application credential it was got with.
    pub app_cred_id: Option<String>,
    /// The access token of OAuth 1 it was got with.
    pub access_token_id: Option<String>,
    /// The thumbprint of the client certificate that it is bound to (RFC 8705, `x5t#S256`).
    pub thumbprint: Option<String>,
}

/// A new random audit id: 16 bytes in URL-safe base64 without padding.
///
/// # Errors
/// If the system has no random numbers.
pub fn new_audit_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Longest id, in bytes. Keystone's columns hold 64 characters, of up to four bytes.
const LONGEST_ID: usize = 256;
/// The moments before this have whole microseconds in a 64-bit real of seconds.
const END_OF_TIME_SECONDS: i64 = 1 << 33;

/// The 16 bytes of an id that is 32 lower-case hexadecimal digits.
fn packed(id: &str) -> Option<[u8; 16]> {
    if id.len() != 32 || id.bytes().any(|it| !matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(id, 16).ok().map(u128::to_be_bytes)
}

fn unpacked(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn check_id(id: &str, what: &'static str) -> Result<(), PayloadError> {
    if id.is_empty() || id.len() > LONGEST_ID { Err(PayloadError::Id(what)) } else { Ok(()) }
}

impl Writer {
    fn id(&mut self, id: Option<&str>, what: &'static str) -> Result<(), PayloadError> {
        self.array(2);
        let Some(id) = id else {
            self.bool(false);
            self.nil();
            return Ok(());
        };
        check_id(id, what)?;
        match packed(id) {
            Some(bytes) => {
                self.bool(true);
                self.bytes(&bytes);
            }
            None => {
                self.bool(false);
                self.text(id);
            }
        }
        Ok(())
    }

    fn ids(&mut self, ids: &[String], what: &'static str) -> Result<(), PayloadError> {
        self.array(ids.len());
        ids.iter().try_for_each(|id| self.id(Some(id), what))
    }

    fn expires(&mut self, at: Timestamp) -> Result<(), PayloadError> {
        if !(0..END_OF_TIME_SECONDS * 1_000_000).contains(&at.0) {
            return Err(PayloadError::Time);
        }
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        self.float(at.0 as f64 / 1e6);
        Ok(())
    }

    fn audit(&mut self, ids: &[String]) -> Result<(), PayloadError> {
        if !(1..=2).contains(&ids.len()) {
            return Err(PayloadError::Id("number of audit ids"));
        }
        self.array(ids.len());
        for id in ids {
            check_id(id, "audit id")?;
            let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| PayloadError::Id("audit id"))?;
            self.bytes(&bytes);
        }
        Ok(())
    }

    fn federated(&mut self, by: &Federated) -> Result<(), PayloadError> {
        self.ids(&by.groups, "group id")?;
        self.id(Some(&by.idp), "id of an identity provider")?;
        check_id(&by.protocol, "id of a protocol")?;
        self.text(&by.protocol);
        Ok(())
    }
}

impl Reader<'_> {
    fn id(&mut self, what: &'static str) -> Result<Option<String>, PayloadError> {
        if self.array()? != 2 {
            return Err(PayloadError::Id(what));
        }
        let is_packed = self.bool()?;
        let Some(bytes) = self.blob()? else { return Ok(None) };
        let id = if is_packed {
            unpacked(bytes).ok_or(PayloadError::Id(what))?
        } else {
            std::str::from_utf8(bytes).map_err(|_| PayloadError::Id(what))?.to_owned()
        };
        check_id(&id, what)?;
        Ok(Some(id))
    }

    fn some_id(&mut self, what: &'static str) -> Result<String, PayloadError> {
        self.id(what)?.ok_or(PayloadError::Id(what))
    }

    fn expires(&mut self) -> Result<Timestamp, PayloadError> {
        let seconds = self.float()?;
        #[expect(clippy::cast_precision_loss, reason = "a power of two")]
        let end = END_OF_TIME_SECONDS as f64;
        if !(0.0..end).contains(&seconds) {
            return Err(PayloadError::Time);
        }
        // The parts apart, as Python does: the product of the whole would not be exact.
        #[expect(clippy::cast_possible_truncation, reason = "below 2^33, and below 10^6")]
        let (whole, micros) = (seconds.trunc() as i64, (seconds.fract() * 1e6).round_ties_even() as i64);
        Ok(Timestamp(whole * 1_000_000 + micros))
    }

    fn audit(&mut self) -> Result<Vec<String>, PayloadError> {
        let len = self.array()?;
        if !(1..=2).contains(&len) {
            return Err(PayloadError::Id("number of audit ids"));
        }
        let mut ids = Vec::new();
        for _ in 0..len {
            let bytes = self.blob()?.ok_or(PayloadError::Id("audit id"))?;
            let id = URL_SAFE_NO_PAD.encode(bytes);
            check_id(&id, "audit id")?;
            ids.push(id);
        }
        Ok(ids)
    }

    fn federated(&mut self) -> Result<Federated, PayloadError> {
        let mut groups = Vec::new();
        // Each step takes bytes, so a length that is only claimed ends at the first that is not there.
        for _ in 0..self.array()? {
            groups.push(self.some_id("group id")?);
        }
        let idp = self.some_id("id of an identity provider")?;
        let protocol = self.text()?.to_owned();
        check_id(&protocol, "id of a protocol")?;
        Ok(Federated { groups, idp, protocol })
    }

    /// A domain id that stands alone: 16 bytes, or text.
    fn domain(&mut self) -> Result<String, PayloadError> {
        let bytes = self.blob()?.ok_or(PayloadError::Id("domain id"))?;
        let id = match unpacked(bytes) {
            Some(id) => id,
            None => std::str::from_utf8(bytes).map_err(|_| PayloadError::Id("domain id"))?.to_owned(),
        };
        check_id(&id, "domain id")?;
        Ok(id)
    }
}

/// The versions, and how many elements each has, itself included.
mod version {
    pub(super) const UNSCOPED: (u32, u32) = (0, 5);
    pub(super) const DOMAIN: (u32, u32) = (1, 6);
    pub(super) const PROJECT: (u32, u32) = (2, 6);
    pub(super) const TRUST: (u32, u32) = (3, 7);
    pub(super) const FEDERATED: (u32, u32) = (4, 8);
    pub(super) const FEDERATED_PROJECT: (u32, u32) = (5, 9);
    pub(super) const FEDERATED_DOMAIN: (u32, u32) = (6, 9);
    pub(super) const OAUTH1: (u32, u32) = (7, 7);
    pub(super) const SYSTEM: (u32, u32) = (8, 6);
    pub(super) const APPLICATION_CREDENTIAL: (u32, u32) = (9, 7);
    pub(super) const OAUTH2: (u32, u32) = (10, 8);
    pub(super) const ALL: [(u32, u32); 11] =
        [UNSCOPED, DOMAIN, PROJECT, TRUST, FEDERATED, FEDERATED_PROJECT, FEDERATED_DOMAIN, OAUTH1, SYSTEM, APPLICATION_CREDENTIAL, OAUTH2];
}

impl Payload {
    /// The bytes that Keystone writes for the same facts.
    ///
    /// # Errors
    /// If an id, the time or the combination of fields fits no version.
    pub fn write(&self) -> Result<Vec<u8>, PayloadError> {
        use TokenScope::{Domain, Project, System, Trust, Unscoped};
        let delegations = [
            matches!(self.scope, Trust { .. }),
            self.federated.is_some(),
            self.app_cred_id.is_some(),
            self.access_token_id.is_some(),
            self.thumbprint.is_some(),
        ];
        if delegations.into_iter().filter(|it| *it).count() > 1 {
            return Err(PayloadError::Combination("two of: by a trust, federated, by an application credential, by OAuth"));
        }
        let mut out = Writer::default();
        let begin = |out: &mut Writer, (version, len): (u32, u32)| {
            out.array(usize::try_from(len).unwrap_or_default());
            out.uint(version);
            out.id(Some(&self.user_id), "user id")?;
            out.uint(Method::pack(&self.methods));
            Ok::<(), PayloadError>(())
        };
        let end = |out: &mut Writer| {
            out.expires(self.expires_at)?;
            out.audit(&self.audit_ids)
        };
        if let Some(by) = &self.federated {
            match &self.scope {
                Unscoped => begin(&mut out, version::FEDERATED)?,
                Project(id) => {
                    begin(&mut out, version::FEDERATED_PROJECT)?;
                    out.id(Some(id), "project id")?;
                }
                Domain(id) => {
                    begin(&mut out, version::FEDERATED_DOMAIN)?;
                    out.id(Some(id), "domain id")?;
                }
                System | Trust { .. } => return Err(PayloadError::Combination("federated and for the system")),
            }
            out.federated(by)?;
            end(&mut out)?;
            return Ok(out.0);
        }
        if let Some(credential) = &self.app_cred_id {
            let Project(project) = &self.scope else {
                return Err(PayloadError::Combination("by an application credential and not for a project"));
            };
            begin(&mut out, version::APPLICATION_CREDENTIAL)?;
            out.id(Some(project), "project id")?;
            end(&mut out)?;
            out.id(Some(credential), "id of an application credential")?;
            return Ok(out.0);
        }
        if let Some(access) = &self.access_token_id {
            let Project(project) = &self.scope else { return Err(PayloadError::Combination("by OAuth 1 and not for a project")) };
            begin(&mut out, version::OAUTH1)?;
            out.id(Some(project), "project id")?;
            out.id(Some(access), "id of an access token")?;
            end(&mut out)?;
            return Ok(out.0);
        }
        if let Some(thumbprint) = &self.thumbprint {
            let (project, domain) = match &self.scope {
                Unscoped => (None, None),
                Project(id) => (Some(id.as_str()), None),
                Domain(id) => (None, Some(id.as_str())),
                System | Trust { .. } => return Err(PayloadError::Combination("bound to a certificate and for the system")),
            };
            begin(&mut out, version::OAUTH2)?;
            out.id(project, "project id")?;
            out.id(domain, "domain id")?;
            end(&mut out)?;
            check_id(thumbprint, "thumbprint")?;
            out.array(2);
            out.bool(false);
            out.text(thumbprint);
            return Ok(out.0);
        }
        match &self.scope {
            Unscoped => {
                begin(&mut out, version::UNSCOPED)?;
                end(&mut out)?;
            }
            Domain(id) => {
                begin(&mut out, version::DOMAIN)?;
                check_id(id, "domain id")?;
                match packed(id) {
                    Some(bytes) => out.bytes(&bytes),
                    // Sixteen bytes would read as a packed id.
                    None if id.len() == 16 => return Err(PayloadError::Id("domain id")),
                    None => out.text(id),
                }
                end(&mut out)?;
            }
            Project(id) => {
                begin(&mut out, version::PROJECT)?;
                out.id(Some(id), "project id")?;
                end(&mut out)?;
            }
            System => {
                begin(&mut out, version::SYSTEM)?;
                out.text("all");
                end(&mut out)?;
            }
            Trust { project, trust } => {
                begin(&mut out, version::TRUST)?;
                out.id(project.as_deref(), "project id")?;
                end(&mut out)?;
                out.bytes(&packed(trust).ok_or(PayloadError::Id("id of a trust"))?);
            }
        }
        Ok(out.0)
    }

    /// The facts in the bytes that Keystone or [`Payload::write`] wrote.
    ///
    /// # Errors
    /// If the bytes are anything else. Any bytes may be given: they are no more trusted than their envelope.
    pub fn read(bytes: &[u8]) -> Result<Self, PayloadError> {
        let mut input = Reader(bytes);
        let len = input.array()?;
        let number = input.uint()?;
        let of = version::ALL.into_iter().find(|(known, _)| *known == number).ok_or(PayloadError::Version(number))?;
        if of.1 != len {
            return Err(PayloadError::Malformed(format!("version {number} has {} elements and not {len}", of.1)));
        }
        let user_id = input.some_id("user id")?;
        let methods = Method::unpack(input.uint()?)?;
        let scope = match of {
            version::DOMAIN => TokenScope::Domain(input.domain()?),
            version::FEDERATED_DOMAIN => TokenScope::Domain(input.some_id("domain id")?),
            version::PROJECT | version::FEDERATED_PROJECT | version::OAUTH1 | version::APPLICATION_CREDENTIAL => {
                TokenScope::Project(input.some_id("project id")?)
            }
            // Its trust stands at the end.
            version::TRUST => TokenScope::Trust { project: input.id("project id")?, trust: String::new() },
            version::SYSTEM => match input.text()? {
                "all" => TokenScope::System,
                _ => return Err(PayloadError::Id("part of the system")),
            },
            version::OAUTH2 => match (input.id("project id")?, input.id("domain id")?) {
                (None, None) => TokenScope::Unscoped,
                (Some(id), None) => TokenScope::Project(id),
                (None, Some(id)) => TokenScope::Domain(id),
                (Some(_), Some(_)) => return Err(PayloadError::Combination("for a project and for a domain")),
            },
            _ => TokenScope::Unscoped,
        };
        let federated = match of {
            version::FEDERATED | version::FEDERATED_PROJECT | version::FEDERATED_DOMAIN => Some(input.federated()?),
            _ => None,
        };
        let access_token_id = if of == version::OAUTH1 { Some(input.some_id("id of an access token")?) } else { None };
        let expires_at = input.expires()?;
        let audit_ids = input.audit()?;
        let scope = match scope {
            TokenScope::Trust { project, .. } => {
                let trust = input.blob()?.and_then(unpacked).ok_or(PayloadError::Id("id of a trust"))?;
                TokenScope::Trust { project, trust }
            }
            scope => scope,
        };
        let app_cred_id =
            if of == version::APPLICATION_CREDENTIAL { Some(input.some_id("id of an application credential")?) } else { None };
        let thumbprint = if of == version::OAUTH2 { Some(input.some_id("thumbprint")?) } else { None };
        if !input.0.is_empty() {
            return Err(PayloadError::Malformed("something follows it".into()));
        }
        Ok(Self { user_id, methods, scope, expires_at, audit_ids, federated, app_cred_id, access_token_id, thumbprint })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9a-f]{32}", "[0-9A-F]{32}", "[a-z][a-z0-9@ü-]{0,30}", "[0-9a-f]{64}"]
    }

    prop_compose! {
        /// Any payload that can be written.
        pub(crate) fn payload()(
            user_id in id(),
            methods in proptest::sample::subsequence(Method::ALL.to_vec(), 0..=13),
            kind in 0..11,
            ids in (id(), id(), "[0-9a-f]{32}", id()),
            groups in proptest::collection::vec(id(), 0..4),
            expires_at in 0..END_OF_TIME_SECONDS * 1_000_000,
            audit in proptest::collection::vec(any::<[u8; 16]>(), 1..=2),
            project in any::<bool>(),
        ) -> Payload {
            let scope = match kind {
                0 | 4 => TokenScope::Unscoped,
                1 if ids.0.len() != 16 => TokenScope::Domain(ids.0),
                6 => TokenScope::Domain(ids.0),
                3 => TokenScope::Trust { project: project.then_some(ids.0), trust: ids.2 },
                8 => TokenScope::System,
                10 if project => TokenScope::Unscoped,
                _ => TokenScope::Project(ids.0),
            };
            Payload {
                user_id,
                methods: Method::canonical(&methods),
                scope,
                expires_at: Timestamp(expires_at),
                audit_ids: audit.iter().map(|it| URL_SAFE_NO_PAD.encode(it)).collect(),
                federated: (4..=6).contains(&kind).then(|| Federated { groups, idp: ids.1, protocol: "openid".into() }),
                app_cred_id: (kind == 9).then(|| ids.3.clone()),
                access_token_id: (kind == 7).then(|| ids.3.clone()),
                thumbprint: (kind == 10).then_some(ids.3),
            }
        }
    }

    fn plain() -> Payload {
        Payload {
            user_id: "0123456789abcdef0123456789abcdef".into(),
            methods: vec![Method::Password],
            scope: TokenScope::Unscoped,
            expires_at: Timestamp(1_795_258_140_000_001),
            audit_ids: vec![new_audit_id().unwrap()],
            federated: None,
            app_cred_id: None,
            access_token_id: None,
            thumbprint: None,
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(payload in payload()) {
            prop_assert_eq!(Payload::read(&payload.write().unwrap()), Ok(payload));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(payload) = Payload::read(&bytes) {
                prop_assert_eq!(Payload::read(&payload.write().unwrap()), Ok(payload));
            }
        }

        #[test]
        fn damaged_payloads_are_read_or_refused(payload in payload(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = payload.write().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Payload::read(&bytes) {
                // What is read can be written, but for a domain of 16 letters, which only a stranger writes.
                prop_assert!(matches!(read.write(), Ok(_) | Err(PayloadError::Id(_))));
            }
            prop_assert!(Payload::read(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn lengths_that_are_only_claimed_cost_nothing() {
        // A federated payload with four thousand million groups, which are not there.
        let mut bytes = vec![0x98, 4, 0x92, 0xc2, 0xa1, b'u', 2, 0xdd, 0xff, 0xff, 0xff, 0xff];
        assert!(Payload::read(&bytes).is_err());
        bytes.truncate(2);
        bytes.extend([0x92, 0xc2, 0xc6, 0xff, 0xff, 0xff, 0xff]);
        assert!(Payload::read(&bytes).is_err());
        assert!(Payload::read(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    }

    #[test]
    fn what_no_version_holds_is_not_written() {
        let system = Payload { scope: TokenScope::System, app_cred_id: Some("c".into()), ..plain() };
        assert!(matches!(system.write(), Err(PayloadError::Combination(_))));
        let trust = TokenScope::Trust { project: None, trust: "t".repeat(32) };
        assert_eq!(Payload { scope: trust, ..plain() }.write(), Err(PayloadError::Id("id of a trust")));
        let both = Payload { app_cred_id: Some("c".into()), access_token_id: Some("a".into()), ..plain() };
        assert!(matches!(both.write(), Err(PayloadError::Combination(_))));
        assert_eq!(Payload { expires_at: Timestamp(-1), ..plain() }.write(), Err(PayloadError::Time));
        assert_eq!(Payload { audit_ids: vec![], ..plain() }.write(), Err(PayloadError::Id("number of audit ids")));
        assert_eq!(Payload { audit_ids: vec!["*".into()], ..plain() }.write(), Err(PayloadError::Id("audit id")));
        assert_eq!(Payload { user_id: String::new(), ..plain() }.write(), Err(PayloadError::Id("user id")));
        assert!(plain().write().is_ok());
    }

    #[test]
    fn methods_have_the_bits_of_their_order() {
        assert_eq!(Method::pack(&[Method::Password, Method::Totp, Method::Password]), 2 | 128);
        assert_eq!(Method::unpack(2 | 128), Ok(vec![Method::Totp, Method::Password]));
        assert_eq!(Method::unpack(1 << 13), Err(PayloadError::Methods(1 << 13)));
        for (at, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!((method.bit(), Method::parse(method.name())), (1 << at, Some(method)));
        }
    }
}
