//! Compares tokens and password hashes with those of a real Keystone, which `vectors.py` wrote to `vectors.json`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use identity::hash::{self, Settings};
use identity::keys::KeyRing;
use identity::payload::{Federated, Method, Payload, TokenScope};
use identity::token;
use model::Secret;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    key: String,
    tokens: Vec<Token>,
    hashes: Vec<Hash>,
}

#[derive(Deserialize)]
struct Token {
    name: String,
    version: u32,
    token: String,
    payload: String,
    user_id: String,
    methods: Vec<String>,
    audit_ids: Vec<String>,
    system: Option<String>,
    domain_id: Option<String>,
    project_id: Option<String>,
    trust_id: Option<String>,
    groups: Option<Vec<String>>,
    identity_provider_id: Option<String>,
    protocol_id: Option<String>,
    access_token_id: Option<String>,
    app_cred_id: Option<String>,
    thumbprint: Option<String>,
    issued_at: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct Hash {
    name: String,
    password: String,
    hash: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a payload, as Keystone names them.
fn check_fields(read: &Payload, wanted: &Token) {
    let name = &wanted.name;
    assert_eq!(read.user_id, wanted.user_id, "{name}");
    assert_eq!(read.methods.iter().map(|it| it.name()).collect::<Vec<_>>(), wanted.methods, "{name}");
    assert_eq!(read.audit_ids, wanted.audit_ids, "{name}");
    assert_eq!(read.expires_at.iso_micros(), wanted.expires_at, "{name}");
    let scope = match (&wanted.trust_id, &wanted.project_id, &wanted.domain_id, &wanted.system) {
        (Some(trust), project, None, None) => TokenScope::Trust { project: project.clone(), trust: trust.clone() },
        (None, Some(id), None, None) => TokenScope::Project(id.clone()),
        (None, None, Some(id), None) => TokenScope::Domain(id.clone()),
        (None, None, None, Some(_)) => TokenScope::System,
        (None, None, None, None) => TokenScope::Unscoped,
        _ => panic!("{name}: what scope is this?"),
    };
    assert_eq!(read.scope, scope, "{name}");
    let federated = wanted.groups.clone().map(|groups| Federated {
        groups,
        idp: wanted.identity_provider_id.clone().unwrap(),
        protocol: wanted.protocol_id.clone().unwrap(),
    });
    assert_eq!(read.federated, federated, "{name}");
    assert_eq!(read.access_token_id, wanted.access_token_id, "{name}");
    assert_eq!(read.app_cred_id, wanted.app_cred_id, "{name}");
    assert_eq!(read.thumbprint, wanted.thumbprint, "{name}");
}

#[test]
fn tokens_of_keystone_are_read_and_written_to_the_byte() {
    let vectors = vectors();
    let ring = KeyRing::parse(&vectors.key).unwrap();
    for wanted in &vectors.tokens {
        let (payload, issued_at) = token::open(&ring, &wanted.token).unwrap_or_else(|error| panic!("{}: {error}", wanted.name));
        check_fields(&payload, wanted);
        assert_eq!(issued_at.iso_micros(), wanted.issued_at, "{}", wanted.name);
        assert_eq!(hex(&payload.write().unwrap()), wanted.payload, "{}", wanted.name);
        // Each is as long as Keystone's, and reads as the same.
        let ours = token::seal(&ring, &payload, issued_at).unwrap();
        assert_eq!(ours.len(), wanted.token.len(), "{}", wanted.name);
        assert_eq!(token::open(&ring, &ours).unwrap(), (payload, issued_at), "{}", wanted.name);
        let groups = wanted.groups.as_ref().map_or(0, Vec::len);
        assert!(ours.len() < 255 || groups > 2, "{} has {} characters", wanted.name, ours.len());
    }
    let versions: std::collections::BTreeSet<u32> = vectors.tokens.iter().map(|it| it.version).collect();
    assert!(versions.into_iter().eq(0..=10), "a version has no vector");
    let every = vectors.tokens.iter().find(|it| it.name.contains("every method")).unwrap();
    assert_eq!(every.methods.len(), Method::ALL.len());
}

#[test]
fn tokens_of_another_key_or_changed_ones_are_not_opened() {
    let vectors = vectors();
    let ring = KeyRing::parse(&vectors.key).unwrap();
    let other = KeyRing::first().unwrap();
    for it in &vectors.tokens {
        assert_eq!(token::open(&other, &it.token), Err(token::TokenError::Unrecognized));
        // The last character holds bits that do not count.
        for at in [0, 5, 20, it.token.len() / 2, it.token.len() - 3] {
            let mut changed = it.token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(token::open(&ring, &changed), Err(token::TokenError::Unrecognized), "{changed}");
        }
    }
}

#[test]
fn hashes_of_keystone_are_verified() {
    let lenient = Settings { strict_password_check: false, ..Settings::default() };
    for it in vectors().hashes {
        let right = hash::verify(&lenient, &Secret::new(&it.password), &it.hash);
        assert_eq!(right, Ok(true), "{}", it.name);
        let wrong = hash::verify(&lenient, &Secret::new(format!("x{}", it.password)), &it.hash);
        assert_eq!(wrong, Ok(false), "{}", it.name);
        // What Keystone cut at 72 bytes is not the password for those who are strict.
        let cut = it.name == "bcrypt, cut";
        assert_eq!(hash::verify(&Settings::default(), &Secret::new(&it.password), &it.hash), Ok(!cut), "{}", it.name);
    }
}
