use proptest::prelude::*;

use super::*;

fn user(name: &str, groups: &[&str], extra: Option<&[(&str, &[&str])]>) -> Attributes {
    let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let extra = extra.map(|it| it.iter().map(|(key, list)| ((*key).to_owned(), owned(list))).collect());
    Attributes { user: name.to_owned(), groups: owned(groups), extra, ..Attributes::default() }
}

fn resource(who: &Attributes, verb: &str, namespace: &str, resource: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let asks = Asks::Resource {
        namespace: namespace.to_owned(),
        group: String::new(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        name: String::new(),
    };
    Attributes { verb: verb.to_owned(), asks, ..who.clone() }
}

fn path(who: &Attributes, verb: &str, path: &str) -> Attributes {
    Attributes { verb: verb.to_owned(), asks: Asks::Path(path.to_owned()), ..who.clone() }
}

fn policy(value: &Value) -> Policy {
    Policy::parse(&value.to_string()).unwrap()
}

fn allows(policy: &Policy, asked: &Attributes) -> bool {
    policy.decide(asked) == Decision::Allowed
}

#[test]
fn first_version() {
    let rule = |resources: Value, matches: Value| json!({"resource": {"verbs": ["get", "list"], "resources": resources, "version": "*", "namespace": "*"}, "match": matches});
    let path_rule = |at: &str| json!({"nonresource": {"verbs": ["get"], "path": at}, "match": [{"type": "user", "values": ["ann"]}]});
    let policy = policy(&json!([
        rule(json!(["pods", "nodes"]), json!([{"type": "user", "values": ["ann"]}, {"type": "role", "values": ["member"]}])),
        rule(json!(["jobs"]), json!([{"type": "group", "values": ["g1"]}, {"type": "role", "values": ["other"]}])),
        rule(json!(["leases"]), json!([{"type": "group", "values": ["*"]}])),
        rule(json!(["events"]), json!([{"type": "project", "values": ["demo"]}])),
        rule(json!(["strange"]), json!([{"type": "planet", "values": ["*"]}])),
        rule(json!(["pods/log", "jobs/*"]), json!([{"type": "user", "values": ["u-1"]}])),
        rule(json!(null), json!([{"type": "user", "values": ["ann"]}])),
        {"resource": {"verbs": ["*"], "resources": ["crash"]}, "match": []},
        {"resource": {"verbs": ["*"], "resources": ["secrets"], "version": "", "namespace": "web"}},
        path_rule("/version"),
        path_rule("/api/*"),
        {"nonresource": {"verbs": ["", "*"], "path": "/never"}},
        {"nonresource": {"verbs": ["*"]}},
    ]));
    let mut ann = user("ann", &["g1"], Some(&[(EXTRA_ROLES, &["member"]), (EXTRA_PROJECT_NAME, &["demo"]), (EXTRA_PROJECT_ID, &["p-1"])]));
    ann.uid = "u-1".to_owned();
    let bob = user("bob", &["g2"], Some(&[(EXTRA_ROLES, &["member"])]));
    for (asked, expected) in [
        (resource(&ann, "get", "x", "pods"), true),
        (resource(&ann, "list", "", "nodes"), true),
        (resource(&ann, "patch", "x", "pods"), false),
        (resource(&bob, "get", "x", "pods"), false),
        (resource(&ann, "get", "x", "jobs"), false),
        (resource(&bob, "get", "x", "leases"), true),
        (resource(&ann, "get", "x", "events"), true),
        (resource(&bob, "get", "x", "events"), false),
        (resource(&ann, "get", "x", "strange"), false),
        (resource(&ann, "get", "x", "pods/log"), true),
        (resource(&ann, "get", "x", "pods/exec"), false),
        (resource(&ann, "get", "x", "jobs/status"), true),
        (resource(&ann, "get", "x", "crash"), false),
        (resource(&bob, "delete", "web", "secrets"), true),
        (resource(&bob, "delete", "x", "secrets"), false),
        (path(&ann, "get", "/version"), true),
        (path(&ann, "post", "/version"), false),
        (path(&bob, "get", "/version"), false),
        (path(&ann, "get", "/api/v1/x"), true),
        (path(&ann, "get", "/api"), false),
        (path(&ann, "get", "/never"), false),
    ] {
        assert_eq!(allows(&policy, &asked), expected, "{asked:?}");
    }
    let mut grouped = resource(&bob, "delete", "web", "secrets");
    if let Asks::Resource { group, .. } = &mut grouped.asks {
        "apps".clone_into(group);
    }
    assert!(!allows(&policy, &grouped));
}

#[test]
fn second_version() {
    let policy = policy(&json!([
        {
            "users": {"roles": ["developer"], "projects": ["demo"]},
            "resource_permissions": {
                "!kube-system/!['namespaces', 'clusterRoles']": ["*"],
                "*/['namespaces', 'clusterroles']": ["GET", "list"],
                "web/pods/log": ["*"]
            }
        },
        {"users": {"roles": ["viewer"], "projects": ["demo", "p-2"]}, "resource_permissions": {"default/['*']": ["get", "list"]}},
        {
            "users": {"roles": ["admin", "member"], "projects": ["demo"]},
            "resource_permissions": {"*/*": ["*"]},
            "nonresource_permissions": {"/healthz": ["get", "post"], "/x": ["*"]},
            "resource": {"verbs": ["*"], "resources": ["*"], "version": "*", "namespace": "*"}
        },
        {"users": {}, "resource_permissions": {"*/*": ["*"]}},
        {"users": {"roles": ["viewer"], "projects": ["demo"]}, "resource_permissions": {"!['a', 'b']/!secrets": ["watch"], "x/[broken": ["*"]}},
    ]));
    let with = |roles: &[&str], name: &str, id: &str| {
        user("u", &[], Some(&[(EXTRA_ROLES, roles), (EXTRA_PROJECT_NAME, &[name]), (EXTRA_PROJECT_ID, &[id])]))
    };
    let developer = with(&["developer", "more"], "demo", "p-1");
    let viewer = with(&["viewer"], "demo", "p-1");
    let other_viewer = with(&["viewer"], "alt", "p-2");
    let admin = with(&["admin", "member"], "demo", "p-1");
    for (asked, expected) in [
        (resource(&developer, "get", "default", "pods"), true),
        (resource(&developer, "delete", "kube-system", "pods"), false),
        (resource(&developer, "get", "kube-system", "namespaces"), true),
        (resource(&developer, "get", "", "clusterroles"), true),
        (resource(&developer, "create", "", "clusterroles"), false),
        (resource(&developer, "create", "default", "clusterroles"), false),
        (resource(&developer, "get", "", "nodes"), false),
        (resource(&viewer, "get", "default", "deployments"), true),
        (resource(&viewer, "get", "default", "pods/log"), true),
        (resource(&other_viewer, "list", "default", "pods"), true),
        (resource(&viewer, "create", "default", "pods"), false),
        (resource(&viewer, "get", "x", "pods"), false),
        (resource(&viewer, "watch", "c", "pods"), true),
        (resource(&viewer, "watch", "a", "pods"), false),
        (resource(&viewer, "watch", "c", "secrets"), false),
        (resource(&admin, "create", "", "clusterroles"), true),
        (resource(&with(&["admin"], "demo", "p"), "get", "x", "pods"), false),
        (path(&admin, "get", "/healthz"), true),
        (path(&admin, "put", "/healthz"), false),
        (path(&admin, "put", "/x"), true),
        (path(&viewer, "get", "/healthz"), false),
    ] {
        assert_eq!(allows(&policy, &asked), expected, "{asked:?}");
    }
    assert_eq!(policy.decide(&resource(&user("u", &[], None), "get", "x", "pods")), Decision::Denied("No auth info found."));
    assert_eq!(Policy::default().decide(&admin), Decision::Denied("No policy is set."));
}

#[test]
fn policy_files() {
    for good in ["null", "[]", "[{}]", r#"[{"Users": {"roles": null, "projects": [null]}, "match": null}]"#] {
        assert!(Policy::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "{}",
        "[null]",
        "[1]",
        r#"[{"users": []}]"#,
        r#"[{"users": {"roles": "x"}}]"#,
        r#"[{"match": [1]}]"#,
        r#"[{"resource": {"verbs": [1]}}]"#,
    ] {
        assert!(Policy::parse(bad).is_err(), "{bad}");
    }
    // A member in another case still restricts, as it does upstream.
    let policy = Policy::parse(r#"[{"USERS": {"projects": ["demo"]}, "resource_permissions": {"*/*": ["*"]}}]"#).unwrap();
    assert!(!allows(&policy, &resource(&user("u", &[], Some(&[])), "get", "x", "pods")));
    assert_eq!(Policy::parse(r#"[{}, {"match": {}}]"#).unwrap_err().to_string(), "cannot read the policy: entry 1: match is not a list");
}

#[test]
fn reviews() {
    for version in ["v1", "v1beta1"] {
        let body = json!({"apiVersion": format!("authentication.k8s.io/{version}"), "kind": "TokenReview", "spec": {"token": "t"}});
        let review = Review::parse(&body).unwrap();
        assert!(matches!(&review, Review::Token(token) if token.reveal() == "t"));
        assert!(!format!("{review:?}").contains("\"t\""));
        let (ann, home, demo) = (Named { id: "u", name: "ann" }, Named { id: "default", name: "Default" }, Named { id: "p", name: "demo" });
        let answer = token_review_answer(&body, Some(&UserInfo::new(ann, home, demo, vec!["g".into()], vec!["member".into()])));
        let expected = json!({"authenticated": true, "user": {"username": "ann", "uid": "u", "groups": ["g", "p"], "extra": {
            EXTRA_ROLES: ["member"], EXTRA_PROJECT_ID: ["p"], EXTRA_PROJECT_NAME: ["demo"], EXTRA_DOMAIN_ID: ["default"], EXTRA_DOMAIN_NAME: ["Default"],
        }}});
        assert_eq!((&answer["status"], &answer["kind"], &answer["spec"]), (&expected, &body["kind"], &body["spec"]));
        assert_eq!(token_review_answer(&body, None)["status"]["authenticated"], false);

        let groups = if version == "v1" { "groups" } else { "group" };
        let body = json!({"apiVersion": format!("authorization.k8s.io/{version}"), "kind": "SubjectAccessReview", "spec": {
            "user": "ann", groups: ["g"], "extra": {EXTRA_ROLES: ["member"]},
            "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods", "subresource": "log"},
        }});
        let Review::Access(asked) = Review::parse(&body).unwrap() else { unreachable!() };
        assert_eq!((asked.user.as_str(), asked.groups.as_slice(), asked.verb.as_str()), ("ann", ["g".to_owned()].as_slice(), "get"));
        let asks = resource(&asked, "get", "default", "pods/log");
        assert!(
            matches!((&asked.asks, &asks.asks), (Asks::Resource { subresource: a, .. }, Asks::Resource { subresource: b, .. }) if a == b)
        );
        let answer = access_review_answer(&body, Decision::Allowed);
        assert_eq!(answer, json!({"apiVersion": body["apiVersion"], "kind": "SubjectAccessReview", "status": {"allowed": true}}));
        assert_eq!(access_review_answer(&body, Decision::Denied("x"))["status"], json!({"allowed": false}));
    }
}

#[test]
fn malformed_reviews() {
    let body = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "spec": spec});
    for (body, error) in [
        (json!([]), ReviewError::Field("apiVersion")),
        (json!({"apiVersion": "authentication.k8s.io/v1"}), ReviewError::Field("kind")),
        (body("authentication.k8s.io/v2", "TokenReview", json!({})), ReviewError::Version("authentication.k8s.io/v2".to_owned())),
        (body("v1", "TokenReview", json!({})), ReviewError::Version("v1".to_owned())),
        (body("authentication.k8s.io/v1", "TokenReview", json!({"token": 1})), ReviewError::Field("spec.token")),
        (body("authentication.k8s.io/v1", "TokenReview", json!(1)), ReviewError::Field("spec")),
        (body("authorization.k8s.io/v1", "SubjectAccessReview", json!({})), ReviewError::NoAttributes),
        (body("authorization.k8s.io/v1", "SubjectAccessReview", json!({"groups": [1]})), ReviewError::Field("spec.groups")),
        (body("authorization.k8s.io/v1", "SubjectAccessReview", json!({"extra": {"a": "b"}})), ReviewError::Field("spec.extra")),
        (
            body("authorization.k8s.io/v1", "SubjectAccessReview", json!({"resourceAttributes": {"verb": 1}})),
            ReviewError::Field("spec.resourceAttributes"),
        ),
    ] {
        assert_eq!(Review::parse(&body).unwrap_err(), error);
    }
    let kind = Review::parse(&body("authentication.k8s.io/v1", "SubjectAccessReview", json!({}))).unwrap_err();
    assert!(matches!(kind, ReviewError::Kind { .. }));
}

proptest! {
    #[test]
    fn nothing_panics(definition in "[!\\[\\]'\",*a-cA-C]{0,12}", name in "[!\\[\\]a-c*]{0,4}", noise in any::<String>()) {
        let _ = (covers(&definition, &name), covers(&noise, &name), covers(&noise, &noise), Policy::parse(&noise));
        let ann = user(&noise, &[&noise], Some(&[(EXTRA_ROLES, &[&noise])]));
        let policy = policy(&json!([{"resource_permissions": {noise.clone(): [noise.clone()], format!("{definition}/{definition}"): ["*"]}}]));
        let _ = policy.decide(&resource(&ann, &noise, &name, &noise));
        let _ = Review::parse(&json!({"apiVersion": "authorization.k8s.io/v1", "kind": noise, "spec": {"user": noise}}));
    }
}
