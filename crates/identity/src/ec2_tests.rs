use proptest::prelude::*;
use serde_json::json;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../tests/vectors_ec2.json")).unwrap()
}

fn credentials(value: &Value) -> Ec2Credentials {
    Ec2Credentials::parse(value.as_object().unwrap())
}

#[test]
fn signatures_of_the_real_library() {
    for case in vectors()["ec2"].as_array().unwrap() {
        let name = &case["name"];
        let secret = Secret::new(case["secret"].as_str().unwrap());
        let mut credentials = credentials(&case["credentials"]);
        let expected = case["signature"].as_str();
        assert_eq!(generate(&secret, &credentials).ok().as_deref(), expected, "{name}");
        credentials.signature = Some(expected.unwrap_or("x").to_owned());
        assert_eq!(verify(&secret, &credentials).is_ok(), expected.is_some(), "{name}");
        if expected.is_some() {
            assert_eq!(verify(&Secret::new("other"), &credentials), Err(Ec2Error::WrongSignature), "{name}");
            credentials.signature = None;
            assert_eq!(verify(&secret, &credentials), Err(Ec2Error::NoSignature), "{name}");
        }
    }
}

#[test]
fn signatures_without_the_port() {
    let secret = Secret::new("secret");
    let mut request = credentials(&json!({
        "host": "Cloud.example:8788", "verb": "GET", "path": "/", "params": {"SignatureVersion": "2", "Action": "x"},
    }));
    let without_port = Ec2Credentials { host: Some("cloud.example".to_owned()), ..request.clone() };
    request.signature = Some(generate(&secret, &without_port).unwrap());
    assert_eq!(verify(&secret, &request), Ok(()));
    for (text, name) in [("h:1", "h"), ("u@H:1/x", "h"), ("[::1]:80", "::1"), ("h?x:1", "h"), (":", "")] {
        assert_eq!(host_name(text), name);
    }
}

#[test]
fn s3_signatures() {
    for case in vectors()["s3"].as_array().unwrap() {
        let mut request = credentials(case);
        let expected = case["signature"].as_str();
        request.signature = Some(expected.unwrap_or("x").to_owned());
        assert_eq!(verify_s3(&Secret::new("secret"), &request).is_ok(), expected.is_some(), "{case}");
        assert!(verify_s3(&Secret::new("other"), &request).is_err());
    }
    for (text, plain) in
        [("YQ==", Some("a")), ("YWI=", Some("ab")), ("YW Jj", Some("abc")), ("", Some("")), ("YQ=", None), ("YQ", None), ("Y", None)]
    {
        assert_eq!(lenient_base64(text), plain.map(|it| it.as_bytes().to_vec()), "{text}");
    }
}

#[test]
fn times() {
    for case in vectors()["times"].as_array().unwrap() {
        assert_eq!(parse_iso8601(case["text"].as_str().unwrap()).map(|it| it.0), case["micros"].as_i64(), "{case}");
    }
    let now = parse_iso8601("2026-11-21T11:00:00Z").unwrap();
    let made = |body| check_timestamp(&credentials(&body), now, DEFAULT_AUTH_TTL_MINUTES);
    assert_eq!(made(json!({})), Ok(()));
    assert_eq!(made(json!({"params": {"Timestamp": "2026-11-21T10:45:00Z"}})), Ok(()));
    assert_eq!(made(json!({"params": {"Timestamp": "2026-11-21T10:44:59Z"}})), Err(Ec2Error::Expired));
    assert_eq!(made(json!({"headers": {"X-Amz-Date": "20261121T104459Z"}})), Err(Ec2Error::Expired));
    assert_eq!(made(json!({"params": {"X-Amz-Date": "20261121T104459Z"}})), Err(Ec2Error::Expired));
    assert_eq!(made(json!({"params": {"Timestamp": "", "X-Amz-Date": "20261121T120000Z"}})), Ok(()));
    assert!(matches!(made(json!({"params": {"Timestamp": "soon"}})), Err(Ec2Error::BadTimestamp(_))));
}

#[test]
fn bodies() {
    let body = json!({"credentials": {}, "credential": null, "ec2Credentials": {"access": "a", "params": {"n": 1, "b": true}}});
    let read = Ec2Credentials::of_body(&body);
    assert_eq!((read.access.as_deref(), read.params["n"].as_str(), read.params["b"].as_str()), (Some("a"), "1", "True"));
    assert_eq!(Ec2Credentials::of_body(&json!([])), Ec2Credentials::default());
}

proptest! {
    #[test]
    fn nothing_panics(
        version in "[0-5]?", header in "AWS4-HMAC-SHA256( Credential=[a-z/0-9]{0,12},?)?( SignedHeaders=[a-z;]{0,9})?", noise in any::<String>(),
        token in "[A-Za-z0-9=_+-]{0,40}",
    ) {
        let text = |it: &str| Some(it.to_owned());
        let request = Ec2Credentials {
            signature: text("x"), access: None, host: text(&noise), verb: text(&noise), path: text(&noise), body_hash: text(""), token: text(&token),
            params: [("SignatureVersion".to_owned(), version), (noise.clone(), noise.clone())].into(),
            headers: [("Authorization".to_owned(), header), ("X-Amz-Date".to_owned(), noise.clone())].into(),
        };
        let secret = Secret::new(noise.clone());
        let _ = (verify(&secret, &request), verify_s3(&secret, &request), check_timestamp(&request, Timestamp(i64::MAX), i64::MAX));
        let _ = parse_iso8601(&noise);
    }

    #[test]
    fn times_do_not_panic(text in "[0-9]{4}[-0-9TZ:.+ ]{0,30}") {
        let _ = parse_iso8601(&text);
    }
}
