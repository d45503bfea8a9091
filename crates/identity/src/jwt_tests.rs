use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../tests/vectors_jwt.json")).unwrap()
}

fn audiences() -> Vec<String> {
    vec!["cofferdam".to_owned()]
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

const NOW: i64 = 1_800_000_000;

fn check(keys: &Jwks, token: &str) -> Result<Map<String, Value>, JwtError> {
    verify(keys, token, &Expected { issuer: "https://idp.example", audiences: &audiences(), now: Timestamp(NOW * 1_000_000) })
}

/// A provider with one Ed25519 key.
struct Provider {
    pair: Ed25519KeyPair,
    keys: Jwks,
}

impl Provider {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(pair.public_key())}]});
        Self { keys: Jwks::parse(&set.to_string()).unwrap(), pair }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        format!("{signed}.{}", b64(self.pair.sign(signed.as_bytes())))
    }
}

fn claims() -> Value {
    json!({"iss": "https://idp.example", "aud": "cofferdam", "sub": "alice", "exp": NOW + 100, "nbf": NOW, "iat": NOW})
}

#[test]
fn tokens_of_another_implementation() {
    let vectors = vectors();
    let keys = Jwks::parse(&vectors["jwks"].to_string()).unwrap();
    assert_eq!(keys.len(), 4, "the HMAC key is left out");
    for (algorithm, token) in vectors["tokens"].as_object().unwrap() {
        let token = token.as_str().unwrap();
        assert_eq!(check(&keys, token).unwrap()["sub"], "alice", "{algorithm}");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other = format!("{header}.{}.{signature}", b64(claims().to_string()));
        assert_eq!(check(&keys, &other), Err(JwtError::Signature), "{algorithm}");
    }
}

#[test]
fn ecdsa_of_ring() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let keys = Jwks::parse(&json!({"keys": [{"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)}]}).to_string()).unwrap();
    let signed = format!("{}.{}", b64(r#"{"alg":"ES256"}"#), b64(claims().to_string()));
    let token = format!("{signed}.{}", b64(pair.sign(&random, signed.as_bytes()).unwrap()));
    assert!(check(&keys, &token).is_ok());
    let confused = token.replacen(&b64(r#"{"alg":"ES256"}"#), &b64(r#"{"alg":"ES384"}"#), 1);
    assert_eq!(check(&keys, &confused), Err(JwtError::NoKey));
}

#[test]
fn headers() {
    let provider = Provider::new();
    for (header, expected) in [
        (json!({"alg": "EdDSA", "kid": "k", "typ": "JWT"}), None),
        (json!({"alg": "EdDSA"}), None),
        (json!({"alg": "EdDSA", "kid": "other"}), Some(JwtError::NoKey)),
        (json!({"alg": "EdDSA", "kid": 1}), Some(JwtError::Malformed)),
        (json!({"alg": "RS256", "kid": "k"}), Some(JwtError::NoKey)),
        (json!({"alg": "none"}), Some(JwtError::Algorithm)),
        (json!({"alg": "HS256"}), Some(JwtError::Algorithm)),
        (json!({"alg": "eddsa"}), Some(JwtError::Algorithm)),
        (json!({}), Some(JwtError::Algorithm)),
        (json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}), Some(JwtError::Critical)),
        (json!([]), Some(JwtError::Malformed)),
    ] {
        assert_eq!(check(&provider.keys, &provider.sign(&header, &claims())).err(), expected, "{header}");
    }
    let none = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(claims().to_string()));
    assert_eq!(check(&provider.keys, &none), Err(JwtError::Algorithm));
    for bad in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d"] {
        assert_eq!(check(&provider.keys, bad), Err(JwtError::Malformed), "{bad}");
    }
    assert_eq!(check(&provider.keys, &"a".repeat(MAX_TOKEN_BYTES + 1)), Err(JwtError::TooLong));
}

#[test]
fn claim_checks() {
    let provider = Provider::new();
    for (name, value, expected) in [
        ("iss", json!("https://idp.example/"), Some(JwtError::Issuer)),
        ("iss", Value::Null, Some(JwtError::Issuer)),
        ("aud", json!(["x", "cofferdam"]), None),
        ("aud", json!(["x"]), Some(JwtError::Audience)),
        ("aud", json!("x"), Some(JwtError::Audience)),
        ("aud", json!([["cofferdam"]]), Some(JwtError::Audience)),
        ("aud", json!(null), Some(JwtError::Audience)),
        ("exp", json!(NOW - 59), None),
        ("exp", json!(NOW - 60), Some(JwtError::Expired)),
        ("exp", json!(1.8e9 + 0.5), None),
        ("exp", json!(1e300), None),
        ("exp", json!(u64::MAX), None),
        ("exp", json!("2000000000"), Some(JwtError::Expired)),
        ("exp", Value::Null, Some(JwtError::Expired)),
        ("nbf", json!(NOW + 60), None),
        ("nbf", json!(NOW + 61), Some(JwtError::NotYet)),
        ("iat", json!(NOW + 61), Some(JwtError::NotYet)),
        ("iat", json!("x"), Some(JwtError::NotYet)),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        assert_eq!(check(&provider.keys, &provider.sign(&json!({"alg": "EdDSA"}), &claims)).err(), expected, "{name} {value}");
    }
    let token = provider.sign(&json!({"alg": "EdDSA"}), &claims());
    let none = Expected { issuer: "https://idp.example", audiences: &[], now: Timestamp(NOW * 1_000_000) };
    assert_eq!(verify(&provider.keys, &token, &none), Err(JwtError::Audience));
}

#[test]
fn key_sets() {
    let x = b64([7; 32]);
    let usable = |key: Value| Jwks::parse(&json!({"keys": [key]}).to_string()).unwrap().len();
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    assert_eq!(usable(key.clone()), 1);
    assert_eq!(usable(with("use", json!("sig"))), 1);
    assert_eq!(usable(with("use", json!("enc"))), 0);
    assert_eq!(usable(with("key_ops", json!(["verify"]))), 1);
    assert_eq!(usable(with("key_ops", json!(["encrypt"]))), 0);
    assert_eq!(usable(with("alg", json!("HS256"))), 0);
    assert_eq!(usable(with("crv", json!("X25519"))), 0);
    assert_eq!(usable(with("x", json!("short"))), 0);
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#] {
        assert_eq!(Jwks::parse(bad).err(), Some(JwtError::BadKeySet), "{bad}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(token in any::<String>(), set in any::<String>(), header in any::<Vec<u8>>(), n in any::<Vec<u8>>()) {
        let keys = json!({"keys": [{"kty": "RSA", "n": b64(&n), "e": b64(&header)}, {"kty": "EC", "crv": "P-256", "x": b64([1; 32]), "y": b64([2; 32])}]});
        let keys = Jwks::parse(&keys.to_string()).unwrap();
        let _ = (Jwks::parse(&set), check(&keys, &token));
        for algorithm in ["RS256", "PS512", "ES256"] {
            let made = format!("{}.{}.{}", b64(json!({"alg": algorithm}).to_string()), b64(&header), b64(&n));
            prop_assert!(check(&keys, &made).is_err());
        }
    }
}
