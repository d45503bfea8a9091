//! What an installation may demand of passwords and accounts, keys that change, and caches that do not outlive what they remember.

use std::time::{Duration, Instant};

use api::IdentitySettings;
use http::Method;
use model::password::Settings as Rules;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::{on_each, on_sqlite};

const TOKENS: &str = "/identity/v3/auth/tokens";

fn settings(rules: Rules) -> IdentitySettings {
    let hashing = identity::hash::Settings { rounds: Some(4), ..identity::hash::Settings::default() };
    IdentitySettings { hashing, security_compliance: rules, ..IdentitySettings::default() }
}

async fn login(desk: &Desk, user: &str, password: &str) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": password}}});
    desk.post(&nobody, TOKENS, json!({"auth": {"identity": identity, "scope": "unscoped"}})).await
}

async fn change(desk: &Desk, user: &str, old: &str, new: &str) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    let body = json!({"user": {"original_password": old, "password": new}});
    desk.post(&nobody, &format!("/identity/v3/users/{user}/password"), body).await
}

async fn user(desk: &Desk, body: Value) -> String {
    let made = desk.post(&desk.admin, "/identity/v3/users", json!({ "user": body })).await.expect(201);
    made["user"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn guessing_locks_an_account_wherever_one_guesses() {
    on_each(async |world| {
        let rules = Rules { lockout_failure_attempts: Some(3), ..Rules::default() };
        let desk = Desk::with(world, settings(rules)).await;
        let ann = user(&desk, json!({"name": "ann", "password": "right"})).await;
        login(&desk, &ann, "wrong").await.expect(401);
        login(&desk, &ann, "right").await.expect(201);
        for _ in 0..2 {
            login(&desk, &ann, "wrong").await.expect(401);
        }
        change(&desk, &ann, "wrong", "new").await.expect(401);
        login(&desk, &ann, "right").await.expect(401);
        change(&desk, &ann, "right", "new").await.expect(401);
        let path = format!("/identity/v3/users/{ann}");
        desk.patch(&desk.admin, &path, json!({"user": {"enabled": false}})).await.expect(200);
        desk.patch(&desk.admin, &path, json!({"user": {"enabled": true}})).await.expect(200);
        login(&desk, &ann, "right").await.expect(201);
        let bob = user(&desk, json!({"name": "bob", "password": "right", "options": {"ignore_lockout_failure_attempts": true}})).await;
        for _ in 0..5 {
            login(&desk, &bob, "wrong").await.expect(401);
        }
        login(&desk, &bob, "right").await.expect(201);
    });
}

#[test]
fn passwords_are_as_demanded() {
    on_each(async |world| {
        let rules = Rules {
            password_regex: Some(r"^(?=.*\d)(?=.*[a-z]).{4,}$".into()),
            password_regex_description: Some("letters and digits".into()),
            unique_last_password_count: 2,
            change_password_upon_first_use: true,
            ..Rules::default()
        };
        let desk = Desk::with(world, settings(rules)).await;
        let weak = json!({"user": {"name": "ann", "password": "abc"}});
        desk.post(&desk.admin, "/identity/v3/users", weak).await.refused(400, "letters and digits");
        let ann = user(&desk, json!({"name": "ann", "password": "first1"})).await;
        login(&desk, &ann, "first1").await.refused(401, "expired");
        change(&desk, &ann, "first1", "second2").await.expect(204);
        login(&desk, &ann, "second2").await.expect(201);
        change(&desk, &ann, "second2", "first1").await.refused(400, "identical");
        change(&desk, &ann, "second2", "weak").await.refused(400, "letters and digits");
        change(&desk, &ann, "second2", "third3").await.expect(204);
    });
}

#[test]
fn several_factors_are_asked_for() {
    on_each(async |world| {
        let desk = Desk::with(world, settings(Rules::default())).await;
        let options = json!({"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "totp"]]});
        let ann = user(&desk, json!({"name": "ann", "password": "right", "options": options})).await;
        let half = login(&desk, &ann, "right").await;
        assert_eq!(half.status.as_u16(), 401);
        assert_eq!(half.body["required_auth_methods"], json!([["password", "totp"]]));
        let receipt = half.header("openstack-auth-receipt").to_owned();
        assert!(!receipt.is_empty());
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let credential = json!({"credential": {"type": "totp", "user_id": ann, "blob": secret}});
        desk.post(&desk.admin, "/identity/v3/credentials", credential).await.expect(201);
        let passcode = identity::totp::generate(&model::Secret::new(secret), model::Timestamp::now()).unwrap();
        let identity = json!({"methods": ["totp"], "totp": {"user": {"id": ann, "passcode": passcode}}});
        let body = json!({"auth": {"identity": identity, "scope": "unscoped"}});
        let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
        let whole = desk.call(&nobody, Method::POST, TOKENS, &[("openstack-auth-receipt", &receipt)], Some(body)).await;
        let mut methods: Vec<String> = serde_json::from_value(whole.expect(201)["token"]["methods"].clone()).unwrap();
        methods.sort();
        assert_eq!(methods, ["password", "totp"]);
    });
}

#[test]
fn a_flood_of_log_ins_does_not_stop_validation() {
    on_sqlite(async |world| {
        let hashing = identity::hash::Settings { rounds: Some(9), ..identity::hash::Settings::default() };
        let desk = Desk::with(world, IdentitySettings { hashing, ..IdentitySettings::default() }).await;
        let ann = user(&desk, json!({"name": "ann", "password": "right"})).await;
        let flood = futures_util::future::join_all((0..150).map(|_| login(&desk, &ann, "right")));
        let validated = async {
            let mut slowest = Duration::ZERO;
            for _ in 0..50 {
                let began = Instant::now();
                let token = desk.admin.token.as_str();
                desk.call(&desk.admin, Method::GET, TOKENS, &[("x-subject-token", token)], None).await.expect(200);
                slowest = slowest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            slowest
        };
        let (answers, slowest) = tokio::join!(flood, validated);
        let mut codes = answers.iter().map(|it| it.status.as_u16()).collect::<Vec<_>>();
        assert!(answers.iter().filter(|it| it.status.as_u16() == 503).all(|it| it.header("retry-after") == "1"));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, [201, 503], "some are let in, those past the bound are told to come again");
        assert!(slowest < Duration::from_secs(5), "a validation took {slowest:?}");
    });
}

#[test]
fn keys_rotate_under_a_running_server() {
    on_each(async |world| {
        let desk = Desk::with(world, settings(Rules::default())).await;
        let using = async |token: &str| {
            let who = Who { token: token.to_owned(), ..Who { token: String::new(), project: String::new(), user: String::new() } };
            desk.get(&who, "/identity/v3/auth/projects").await.status.as_u16()
        };
        let first = desk.admin.token.clone();
        assert_eq!(api::rotate_token_keys(&world.store, 3).await.unwrap(), [0, 1, 2]);
        assert_eq!(using(&first).await, 200, "its key opens still");
        let sealed = login(&desk, &desk.admin.user, "secret of admin").await;
        let second = sealed.header("x-subject-token").to_owned();
        assert_eq!(using(&second).await, 200);
        // Three are kept, the staged one among them: the first token's key goes now.
        assert_eq!(api::rotate_token_keys(&world.store, 3).await.unwrap(), [0, 2, 3]);
        assert_eq!((using(&first).await, using(&second).await), (401, 200));
    });
}
