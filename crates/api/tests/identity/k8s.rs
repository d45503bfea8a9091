//! What Kubernetes clusters ask: whose a token is and what they may do.

use std::path::Path;

use api::IdentitySettings;
use http::Method;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::on_sqlite;

async fn ask(desk: &Desk, path: &str, body: Value) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    desk.call(&nobody, Method::POST, &format!("/identity/k8s/{path}"), &[], Some(body)).await
}

fn token_review(version: &str, token: &str) -> Value {
    json!({"apiVersion": format!("authentication.k8s.io/{version}"), "kind": "TokenReview", "spec": {"token": token}})
}

#[test]
fn tokens_of_projects_are_reviewed() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let ada = desk.tenant("ada", "work").await;
        for version in ["v1", "v1beta1"] {
            let answer = ask(&desk, "authenticate", token_review(version, &ada.token)).await.expect(200);
            assert_eq!(answer["apiVersion"], format!("authentication.k8s.io/{version}"));
            let status = &answer["status"];
            assert_eq!((&status["authenticated"], &status["user"]["username"]), (&json!(true), &json!("ada")));
            assert_eq!((&status["user"]["uid"], &status["user"]["groups"]), (&json!(ada.user), &json!([ada.project])));
            let extra = &status["user"]["extra"];
            assert_eq!(extra["alpha.kubernetes.io/identity/project/name"], json!(["work"]));
            let roles = extra["alpha.kubernetes.io/identity/roles"].as_array().unwrap();
            assert!(roles.contains(&json!("member")), "{roles:?}");
        }
        let body = json!({"auth": {
            "identity": {"methods": ["token"], "token": {"id": ada.token}}, "scope": "unscoped",
        }});
        let unscoped = desk.call(&ada, Method::POST, "/identity/v3/auth/tokens", &[], Some(body)).await;
        let unscoped = unscoped.header("x-subject-token").to_owned();
        assert!(!unscoped.is_empty());
        for token in [unscoped.as_str(), "nonsense", ""] {
            let answer = ask(&desk, "webhook", token_review("v1", token)).await.expect(401);
            assert_eq!(answer["status"]["authenticated"], json!(false), "{answer}");
        }
        desk.delete(&desk.admin, &format!("/identity/v3/users/{}", ada.user)).await.expect(204);
        ask(&desk, "authenticate", token_review("v1", &ada.token)).await.expect(401);
        for (body, word) in [
            (json!({}), "apiVersion"),
            (json!({"apiVersion": "authentication.k8s.io/v2", "kind": "TokenReview"}), "apiVersion"),
            (json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}), "spec"),
            (json!([]), ""),
        ] {
            ask(&desk, "authenticate", body).await.refused(400, word);
        }
    });
}

async fn allowed(desk: &Desk, verb: &str) -> bool {
    let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "ada", "groups": ["p"],
        "extra": {"alpha.kubernetes.io/identity/roles": ["member"], "alpha.kubernetes.io/identity/project/name": ["work"]},
        "resourceAttributes": {"namespace": "default", "verb": verb, "group": "", "version": "v1", "resource": "pods"},
    }});
    let answer = ask(desk, "authorize", body).await.expect(200);
    assert_eq!(answer.get("spec"), None);
    answer["status"]["allowed"].as_bool().unwrap()
}

fn write(path: &Path, verbs: &Value) {
    let policy = json!([{
        "resource": {"verbs": verbs, "resources": ["pods"], "version": "*", "namespace": "default"},
        "match": [{"type": "role", "values": ["member"]}],
    }]);
    std::fs::write(path, policy.to_string()).unwrap();
}

#[test]
fn a_policy_file_says_who_may() {
    on_sqlite(async |world| {
        assert!(!allowed(&Desk::open(world).await, "get").await, "without a file nobody may do anything");
    });
    on_sqlite(async |world| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        write(&path, &json!(["get"]));
        let desk = Desk::with(world, IdentitySettings { k8s_policy_file: Some(path.clone()), ..IdentitySettings::default() }).await;
        assert!(allowed(&desk, "get").await && !allowed(&desk, "delete").await);
        write(&path, &json!(["get", "delete"]));
        let waited = async {
            while !allowed(&desk, "delete").await {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), waited).await.unwrap();
    });
}
