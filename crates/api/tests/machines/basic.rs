//! HTTP's basic scheme in place of a token, as Metal3's operator calls bare metal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::{on_each, on_sqlite};

const NODES: &str = "/baremetal/v1/nodes";

async fn asked(desk: &Desk, name: &str, secret: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    let proof = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
    let headers = [("authorization", proof.as_str()), ("x-openstack-ironic-api-version", "1.89")];
    desk.call(&nobody, method, path, &headers, body).await
}

async fn get(desk: &Desk, name: &str, secret: &str, path: &str) -> Answer {
    asked(desk, name, secret, Method::GET, path, None).await
}

#[test]
fn whoever_may_have_a_token_is_let_in_as_who_it_is() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        // The administrator has no default project, and roles on one.
        let made = asked(&desk, "admin", "secret of admin", Method::POST, NODES, Some(json!({"driver": "fake-hardware"}))).await;
        let id = made.expect(201)["uuid"].as_str().unwrap().to_owned();
        let shown = get(&desk, "admin", "secret of admin", &format!("{NODES}/{id}")).await;
        assert_eq!(shown.header("x-openstack-ironic-api-version"), "1.89");
        assert_eq!(shown.expect(200)["provision_state"], "enroll");

        // Nobody sees more than with a token.
        let ann = desk.somebody("ann", "finance", "reader").await;
        get(&desk, "ann", "secret", &format!("{NODES}/{id}")).await.expect(404);
        assert_eq!(get(&desk, "ann", "secret", NODES).await.expect(200)["nodes"], json!([]));
        asked(&desk, "ann", "secret", Method::POST, NODES, Some(json!({"driver": "fake-hardware"}))).await.expect(403);

        // An application credential is for its project, and for no longer than it is there.
        let path = format!("/identity/v3/users/{}/application_credentials", ann.user);
        let body = json!({"application_credential": {"name": "metal3", "secret": "of: its own"}});
        let own = desk.post(&ann, &path, body).await.expect(201)["application_credential"]["id"].as_str().unwrap().to_owned();
        get(&desk, &own, "of: its own", NODES).await.expect(200);
        get(&desk, &own, "another", NODES).await.expect(401);
        get(&desk, &own, "of: its own", NODES).await.expect(200);
        desk.delete(&ann, &format!("{path}/{own}")).await.expect(204);
        get(&desk, &own, "of: its own", NODES).await.expect(401);

        // A password that was changed, and a user who was disabled.
        let user = format!("/identity/v3/users/{}", ann.user);
        desk.patch(admin, &user, json!({"user": {"password": "another one"}})).await.expect(200);
        get(&desk, "ann", "secret", NODES).await.expect(401);
        get(&desk, "ann", "another one", NODES).await.expect(200);
        desk.patch(admin, &user, json!({"user": {"enabled": false}})).await.expect(200);
        get(&desk, "ann", "another one", NODES).await.expect(401);
        desk.patch(admin, &user, json!({"user": {"enabled": true}})).await.expect(200);

        // With roles on several projects it must be said which: the default one.
        let roles = desk.get(admin, "/identity/v3/roles?name=reader").await.expect(200);
        let role = roles.pointer("/roles/0/id").and_then(Value::as_str).unwrap();
        let grant = format!("/identity/v3/projects/{}/users/{}/roles/{role}", admin.project, ann.user);
        desk.call(admin, Method::PUT, &grant, &[], None).await.expect(204);
        get(&desk, "ann", "another one", NODES).await.refused(401, "no default project");
        desk.patch(admin, &user, json!({"user": {"default_project_id": ann.project}})).await.expect(200);
        get(&desk, "ann", "another one", NODES).await.expect(200);

        // A factor alone does not do where two are demanded.
        let rules = json!({"user": {"options": {"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "totp"]]}}});
        desk.patch(admin, &user, rules).await.expect(200);
        get(&desk, "ann", "another one", NODES).await.expect(401);
    });
}

#[test]
fn who_proves_nothing_is_refused_and_no_other_service_asks() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
        for (name, secret) in [("admin", "wrong"), ("nobody", "secret of admin"), ("admin", ""), ("", ""), ("a\0b", "x"), ("admin", "x\0")]
        {
            get(&desk, name, secret, NODES).await.expect(401);
        }
        for header in ["Basic", "Basic !", "Basic YQ==", "Bearer YTpi", "Digest x"] {
            desk.call(&nobody, Method::GET, NODES, &[("authorization", header)], None).await.expect(401);
        }
        // A token that is wrong is not made up for.
        let wrong = Who { token: "gAAAA".into(), ..nobody.clone() };
        let proof = format!("Basic {}", STANDARD.encode("admin:secret of admin"));
        desk.call(&wrong, Method::GET, NODES, &[("authorization", &proof)], None).await.expect(401);
        for path in ["/network/v2.0/networks", "/identity/v3/users", "/image/v2/images", "/compute/v2.1/flavors"] {
            get(&desk, "admin", "secret of admin", path).await.expect(401);
        }
        let off = Desk::with(
            world,
            api::IdentitySettings {
                http_basic: false,
                hashing: identity::hash::Settings { rounds: Some(4), ..identity::hash::Settings::default() },
                ..api::IdentitySettings::default()
            },
        )
        .await;
        get(&off, "admin", "secret of admin", NODES).await.expect(401);
        get(&desk, "admin", "secret of admin", NODES).await.expect(200);
    });
}

/// Wrong passwords count here as they do where tokens are issued.
#[test]
fn guessing_locks_the_account() {
    on_sqlite(async |world| {
        let desk = Desk::with(
            world,
            api::IdentitySettings {
                hashing: identity::hash::Settings { rounds: Some(4), ..identity::hash::Settings::default() },
                security_compliance: identity::compliance::Settings {
                    lockout_failure_attempts: Some(3),
                    lockout_duration_seconds: 600,
                    ..Default::default()
                },
                ..api::IdentitySettings::default()
            },
        )
        .await;
        desk.somebody("bob", "finance", "reader").await;
        for _ in 0..3 {
            get(&desk, "bob", "guess", NODES).await.expect(401);
        }
        get(&desk, "bob", "secret", NODES).await.expect(401);
    });
}
