//! Signatures of the EC2 and S3 interfaces, as Keystone's `/v3/ec2tokens` and `/v3/s3tokens` check them.
//!
//! What is signed, and the liberties taken (version 2 is always HMAC-SHA256, a signature without the port is accepted), follow
//! `keystoneclient.contrib.ec2.utils.Ec2Signer` 6.0.0 and `keystone.api.{ec2tokens,s3tokens}` 30.0.0.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use model::{Secret, Timestamp};
use serde_json::{Map, Value};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// Default of `[credential] auth_ttl`: minutes for which a dated request is accepted.
pub const DEFAULT_AUTH_TTL_MINUTES: i64 = 15;
const V4_ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Why a signed request is refused. None of the texts holds a secret or the expected signature.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ec2Error {
    /// The request carries no signature (Keystone: 401).
    #[error("EC2 signature not supplied.")]
    NoSignature,
    /// The signature is another one (Keystone: 401).
    #[error("Invalid EC2 signature.")]
    WrongSignature,
    /// The S3 signature is another one (Keystone: 401).
    #[error("Credential signature mismatch")]
    Mismatch,
    /// A part needed for this version of signatures is absent or has no sense; Keystone answers 500, we answer 401.
    #[error("Invalid EC2 signature: {0}.")]
    Malformed(&'static str),
    /// The time in the request cannot be read (Keystone: 401).
    #[error("Credential timestamp is invalid: Unable to parse date string {0:?}")]
    BadTimestamp(String),
    /// The request is older than the lifetime of signatures (Keystone: 401).
    #[error("Credential is expired")]
    Expired,
}

/// A signed request as the EC2 or S3 front end passes it on.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ec2Credentials {
    /// What the client computed.
    pub signature: Option<String>,
    /// The access key, which names the secret.
    pub access: Option<String>,
    /// `host` or `host:port` of the front end.
    pub host: Option<String>,
    /// HTTP method.
    pub verb: Option<String>,
    /// Path of the request.
    pub path: Option<String>,
    /// Query or form parameters.
    pub params: BTreeMap<String, String>,
    /// Headers with the spelling of the client.
    pub headers: BTreeMap<String, String>,
    /// SHA-256 of the body in hexadecimal digits (version 4).
    pub body_hash: Option<String>,
    /// The string to sign in URL-safe base64 (S3 only).
    pub token: Option<String>,
}

impl fmt::Debug for Ec2Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ec2Credentials")
            .field("access", &self.access)
            .field("host", &self.host)
            .field("verb", &self.verb)
            .finish_non_exhaustive()
    }
}

impl Ec2Credentials {
    /// Reads the object in `credentials`, `credential` or `ec2Credentials` of a request body (the first that is not empty), as
    /// Keystone does. Values that are not text become the text Python prints for them; an absent object gives empty credentials.
    pub fn of_body(body: &Value) -> Self {
        let object = ["credentials", "credential", "ec2Credentials"]
            .iter()
            .find_map(|name| body.get(name).and_then(Value::as_object).filter(|it| !it.is_empty()));
        object.map(Self::parse).unwrap_or_default()
    }

    /// Reads the object itself.
    pub fn parse(object: &Map<String, Value>) -> Self {
        let text = |name: &str| object.get(name).filter(|it| !it.is_null()).map(as_text);
        let map = |name: &str| {
            let entries = object.get(name).and_then(Value::as_object);
            entries.map(|it| it.iter().map(|(key, value)| (key.clone(), as_text(value))).collect()).unwrap_or_default()
        };
        Self {
            signature: text("signature"),
            access: text("access"),
            host: text("host"),
            verb: text("verb"),
            path: text("path"),
            params: map("params"),
            headers: map("headers"),
            body_hash: text("body_hash"),
            token: text("token"),
        }
    }

    fn is_v4(&self) -> bool {
        match self.headers.get("Authorization") {
            Some(header) if header.starts_with(V4_ALGORITHM) => true,
            Some(_) => false,
            None => self.params.get("X-Amz-Algorithm").is_some_and(|it| it == V4_ALGORITHM),
        }
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

/// Checks the signature of an EC2 request (versions 0, 1, 2 and 4) against the secret of its access key.
///
/// # Errors
/// [`Ec2Error::NoSignature`], [`Ec2Error::WrongSignature`], or [`Ec2Error::Malformed`] when a signed part is missing.
pub fn verify(secret: &Secret, credentials: &Ec2Credentials) -> Result<(), Ec2Error> {
    let host = credentials.host.as_deref();
    let expected = sign(secret, credentials, host)?;
    let signature = credentials.signature.as_deref().filter(|it| !it.is_empty()).ok_or(Ec2Error::NoSignature)?;
    if same(signature, &expected) {
        return Ok(());
    }
    // Some clients leave the port out of what they sign.
    if let Some(host) = host.filter(|it| it.contains(':'))
        && same(signature, &sign(secret, credentials, Some(&host_name(host)))?)
    {
        return Ok(());
    }
    Err(Ec2Error::WrongSignature)
}

/// The signature a client with this secret computes (for tests and clients).
///
/// # Errors
/// [`Ec2Error::Malformed`] when a signed part is missing.
pub fn generate(secret: &Secret, credentials: &Ec2Credentials) -> Result<String, Ec2Error> {
    sign(secret, credentials, credentials.host.as_deref())
}

fn sign(secret: &Secret, credentials: &Ec2Credentials, host: Option<&str>) -> Result<String, Ec2Error> {
    let params = &credentials.params;
    match params.get("SignatureVersion").map(String::as_str) {
        Some("0") => {
            let part = |name| params.get(name).ok_or(Ec2Error::Malformed("Action or Timestamp is missing"));
            Ok(sha1_base64(secret, [part("Action")?.as_bytes(), part("Timestamp")?.as_bytes()]))
        }
        Some("1") => {
            let mut keys: Vec<&String> = params.keys().collect();
            keys.sort_by_key(|key| key.to_lowercase());
            let parts = keys.iter().flat_map(|key| [key.as_bytes(), params.get(*key).map_or(&b""[..], |it| it.as_bytes())]);
            Ok(sha1_base64(secret, parts))
        }
        Some("2") => {
            let verb = credentials.verb.as_deref().ok_or(Ec2Error::Malformed("verb is missing"))?;
            let path = credentials.path.as_deref().ok_or(Ec2Error::Malformed("path is missing"))?;
            let host = host.ok_or(Ec2Error::Malformed("host is missing"))?;
            let mut params = params.clone();
            params.insert("SignatureMethod".to_owned(), "HmacSHA256".to_owned());
            let text = format!("{verb}\n{host}\n{path}\n{}", canonical_query(&params));
            Ok(STANDARD.encode(hmac_sha256(secret.reveal().as_bytes(), text.as_bytes())))
        }
        _ if credentials.is_v4() => sign_v4(secret, credentials),
        Some(_) => Err(Ec2Error::Malformed("unknown signature version")),
        None => Err(Ec2Error::Malformed("unexpected signature format")),
    }
}

fn sign_v4(secret: &Secret, credentials: &Ec2Credentials) -> Result<String, Ec2Error> {
    let Ec2Credentials { params, headers, .. } = credentials;
    let verb = credentials.verb.as_deref().ok_or(Ec2Error::Malformed("verb is missing"))?;
    let path = credentials.path.as_deref().ok_or(Ec2Error::Malformed("path is missing"))?;
    let body_hash = credentials.body_hash.as_deref().ok_or(Ec2Error::Malformed("body_hash is missing"))?;
    // A part of the signature stands in the Authorization header or, without one, in an X-Amz-… parameter.
    let part = |name: &str| -> Option<String> {
        match headers.get("Authorization") {
            Some(header) => {
                Some(header.split_once(&format!("{name}=")).map_or("", |(_, rest)| rest).split(',').next().unwrap_or("").to_owned())
            }
            None => params.get(&format!("X-Amz-{name}")).cloned(),
        }
    };
    let signed_headers = part("SignedHeaders").ok_or(Ec2Error::Malformed("SignedHeaders is missing"))?;
    let credential = part("Credential").ok_or(Ec2Error::Malformed("Credential is missing"))?;
    let mut pieces = credential.splitn(2, '/').skip(1);
    let scope = pieces.next().ok_or(Ec2Error::Malformed("the credential has no scope"))?;
    let mut scope_parts = scope.split('/');
    let (Some(day), Some(region), Some(service)) = (scope_parts.next(), scope_parts.next(), scope_parts.next()) else {
        return Err(Ec2Error::Malformed("the credential scope is incomplete"));
    };
    let date = headers.get("X-Amz-Date").or_else(|| params.get("X-Amz-Date")).ok_or(Ec2Error::Malformed("X-Amz-Date is missing"))?;
    if !date.starts_with(day) {
        return Err(Ec2Error::Malformed("request date mismatch"));
    }
    let verb = verb.to_uppercase();
    let query = if verb == "POST" { String::new() } else { canonical_query(params) };
    let request = format!("{verb}\n{path}\n{query}\n{}\n{signed_headers}\n{body_hash}", canonical_headers(headers, &signed_headers));
    let to_sign = format!("{V4_ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    Ok(hex(&hmac_sha256(&v4_key(secret, [day.as_bytes(), region.as_bytes(), service.as_bytes()]), to_sign.as_bytes())))
}

/// The named headers that the request has, each as `name:value`, with a line end after the last.
fn canonical_headers(headers: &BTreeMap<String, String>, signed: &str) -> String {
    let lower: BTreeMap<String, &str> = headers.iter().map(|(key, value)| (key.to_lowercase().trim().to_owned(), value.trim())).collect();
    let strip_port = lower.get("user-agent").is_some_and(|agent| is_old_boto(agent));
    let lines: Vec<String> = signed
        .split(';')
        .filter_map(|name| {
            let value = *lower.get(name)?;
            let value = if name == "host" && strip_port { value.split(':').next().unwrap_or("") } else { value };
            Some(format!("{name}:{value}"))
        })
        .collect();
    format!("{}\n", lines.join("\n"))
}

/// Boto 2.x.0 to 2.x.2 sign the host without its port.
fn is_old_boto(agent: &str) -> bool {
    let Some(version) = agent.strip_prefix("Boto/2.") else { return false };
    let mut bytes = version.bytes();
    matches!((bytes.next(), bytes.next(), bytes.next()), (Some(b'0'..=b'9'), Some(b'.'), Some(b'0'..=b'2')))
}

fn v4_key(secret: &Secret, scope: [&[u8]; 3]) -> Vec<u8> {
    let first = format!("AWS4{}", secret.reveal()).into_bytes();
    let key = scope.iter().fold(first, |key, part| hmac_sha256(&key, part));
    hmac_sha256(&key, b"aws4_request")
}

/// Checks the signature of an S3 request, of which only the string to sign is known.
///
/// # Errors
/// [`Ec2Error::Mismatch`] for another signature, [`Ec2Error::WrongSignature`] for a version 4 string that is not for `s3`, `iam` or
/// `sts`, [`Ec2Error::Malformed`] and [`Ec2Error::NoSignature`] for absent or unreadable parts.
pub fn verify_s3(secret: &Secret, credentials: &Ec2Credentials) -> Result<(), Ec2Error> {
    let token = credentials.token.as_deref().ok_or(Ec2Error::Malformed("token is missing"))?;
    let to_sign = lenient_base64(token).ok_or(Ec2Error::Malformed("the token is not base64 text"))?;
    let signature = credentials.signature.as_deref().ok_or(Ec2Error::NoSignature)?;
    let expected = if to_sign.starts_with(b"AWS4") { s3_v4(secret, &to_sign)? } else { sha1_base64(secret, [to_sign.as_slice()]) };
    if same(signature, &expected) { Ok(()) } else { Err(Ec2Error::Mismatch) }
}

fn s3_v4(secret: &Secret, to_sign: &[u8]) -> Result<String, Ec2Error> {
    let lines: Vec<&[u8]> = to_sign.split(|byte| *byte == b'\n').collect();
    let [algorithm, _, scope, _] = lines.as_slice() else { return Err(Ec2Error::WrongSignature) };
    let scope: Vec<&[u8]> = scope.split(|byte| *byte == b'/').collect();
    let [day, region, service, end] = *scope.as_slice() else { return Err(Ec2Error::WrongSignature) };
    if *algorithm != V4_ALGORITHM.as_bytes() || end != b"aws4_request" || !matches!(service, b"s3" | b"iam" | b"sts") {
        return Err(Ec2Error::WrongSignature);
    }
    Ok(hex(&hmac_sha256(&v4_key(secret, [day, region, service]), to_sign)))
}

/// Refuses a request that says it was made more than `ttl_minutes` before `now`. One without a time is accepted: its signer left it
/// out on purpose.
///
/// # Errors
/// [`Ec2Error::BadTimestamp`] or [`Ec2Error::Expired`].
pub fn check_timestamp(credentials: &Ec2Credentials, now: Timestamp, ttl_minutes: i64) -> Result<(), Ec2Error> {
    let candidates = [credentials.params.get("Timestamp"), credentials.headers.get("X-Amz-Date"), credentials.params.get("X-Amz-Date")];
    let Some(text) = candidates.into_iter().flatten().find(|it| !it.is_empty()) else { return Ok(()) };
    let made = parse_iso8601(text).ok_or_else(|| Ec2Error::BadTimestamp(text.chars().take(64).collect()))?;
    if now > made.plus_seconds(ttl_minutes.saturating_mul(60)) { Err(Ec2Error::Expired) } else { Ok(()) }
}

/// `host` of `host:port`, in small letters, as Python's `urlsplit("//" + text).hostname`.
fn host_name(text: &str) -> String {
    let authority = text.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.to_lowercase()
}

/// Parameters sorted by name, percent-encoded except for letters, digits and `-_.~`.
fn canonical_query(params: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = params.iter().map(|(key, value)| format!("{}={}", percent(key), percent(value))).collect();
    pairs.join("&")
}

fn percent(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            quoted.push_str(&format!("%{byte:02X}"));
        }
    }
    quoted
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn sha1_base64<'a>(secret: &Secret, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.reveal().as_bytes()) else { return String::new() };
    parts.into_iter().for_each(|part| mac.update(part));
    STANDARD.encode(mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn same(provided: &str, known: &str) -> bool {
    !known.is_empty() && bool::from(provided.as_bytes().ct_eq(known.as_bytes()))
}

/// Python's `urlsafe_b64decode`: both alphabets, foreign characters skipped, padding required.
fn lenient_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut pool, mut digits, mut padding) = (0_u32, 0_usize, 0_usize);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            b'=' => {
                padding += 1;
                if digits % 4 >= 2 && digits % 4 + padding >= 4 {
                    return Some(bytes);
                }
                continue;
            }
            _ => continue,
        };
        padding = 0;
        pool = ((pool << 6) | u32::from(value)) & 0x3fff;
        digits += 1;
        let left = match digits % 4 {
            1 => continue,
            2 => 4,
            3 => 2,
            _ => 0,
        };
        bytes.push(u8::try_from((pool >> left) & 0xff).ok()?);
    }
    (digits % 4 == 0).then_some(bytes)
}

/// The forms of ISO 8601 the `iso8601` package reads, from `2026` to `20261121T104900.5+0100`; without a zone it is UTC.
pub fn parse_iso8601(text: &str) -> Option<Timestamp> {
    let mut rest = Cursor(text.as_bytes());
    let year = rest.digits(4, 4)?;
    let (mut month, mut day, mut seconds, mut micros, mut zone) = (1, 1, 0, 0, 0);
    if rest.take(b"-") {
        month = rest.digits(1, 2)?;
    } else if !rest.0.is_empty() {
        month = rest.digits(2, 2)?;
        if rest.0.is_empty() {
            return None;
        }
    }
    if !rest.0.is_empty() {
        day = if rest.take(b"-") { rest.digits(1, 2)? } else { rest.digits(2, 2)? };
    }
    if rest.take(b"T") || rest.take(b" ") {
        let hour = rest.digits(2, 2)?;
        let minute = rest.after_colon(2, 2).unwrap_or(0);
        let second = rest.after_colon(1, 2);
        if second.is_some() && (rest.take(b".") || rest.take(b",")) {
            let digits = rest.0.iter().take_while(|it| it.is_ascii_digit()).count();
            let (fraction, tail) = rest.0.split_at_checked(digits).filter(|_| digits > 0)?;
            micros = fraction.iter().chain(std::iter::repeat(&b'0')).take(6).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            rest.0 = tail;
        }
        if hour > 23 || minute > 59 || second.unwrap_or(0) > 59 {
            return None;
        }
        seconds = hour * 3600 + minute * 60 + second.unwrap_or(0);
        if !rest.take(b"Z") {
            let sign = if rest.take(b"+") { 1 } else { -1 };
            if sign == 1 || rest.take(b"-") {
                let hours = rest.digits(2, 2)?;
                rest.take(b":");
                zone = sign * (hours * 3600 + rest.digits(2, 2).unwrap_or(0) * 60);
            }
        }
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !rest.0.is_empty() || year == 0 || day == 0 || day > last || zone.abs() >= 86_400 {
        return None;
    }
    Some(Timestamp((days_since_1970(year, month, day) * 86_400 + seconds - zone) * 1_000_000 + micros))
}

/// Days of the Gregorian calendar, counted in years that begin in March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, text: &[u8]) -> bool {
        self.0.strip_prefix(text).is_some_and(|rest| {
            self.0 = rest;
            true
        })
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.iter().take(most).take_while(|it| it.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at_checked(count).filter(|_| count >= least)?;
        self.0 = rest;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    }

    fn after_colon(&mut self, least: usize, most: usize) -> Option<i64> {
        let before = self.0;
        self.take(b":");
        let number = self.digits(least, most);
        if number.is_none() {
            self.0 = before;
        }
        number
    }
}

#[cfg(test)]
#[path = "ec2_tests.rs"]
mod tests;
