//! What agents ask and tell.

use http::{Method, StatusCode};
use model::Id;
use model::baremetal::{AgentSession, Phase, ProvisionState as S};
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who, mac};
use crate::world::on_each;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----";

async fn lookup(desk: &Desk, query: &str) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    desk.call(&nobody, Method::GET, &format!("/baremetal/v1/lookup?{query}"), &[("x-openstack-ironic-api-version", "1.68")], None).await
}

async fn beat(desk: &Desk, node: &str, body: Value) -> Answer {
    let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
    desk.call(&nobody, Method::POST, &format!("/baremetal/v1/heartbeat/{node}"), &[("x-openstack-ironic-api-version", "1.72")], Some(body))
        .await
}

fn heartbeat(token: &str) -> Value {
    json!({"callback_url": "https://172.30.0.11:9999", "agent_version": "1.0", "agent_token": token, "agent_verify_ca": CERTIFICATE})
}

#[test]
fn a_machine_is_found_only_while_its_ramdisk_is_awaited() {
    on_each(async |world| {
        let mut desk = Desk::open(world).await;
        let (one, _) = (desk.machine("m1").await, desk.machine("m2").await);
        desk.router = api::provisioning_router(desk.app.clone());
        let address = mac("m1");
        for phase in
            [Phase::Rest, Phase::Bmc, Phase::Off, Phase::Plug, Phase::Boot, Phase::Stop, Phase::Unplug, Phase::Tenant, Phase::Start]
        {
            desk.seen(&one, S::Cleaning, phase).await;
            assert_eq!(lookup(&desk, &format!("addresses={address}")).await.status, StatusCode::NOT_FOUND, "{phase:?}");
        }
        for phase in [Phase::Agent, Phase::Work] {
            desk.seen(&one, S::Cleaning, phase).await;
            let found = lookup(&desk, &format!("addresses=02:00:00:00:00:01,{}", address.to_uppercase())).await.expect(200);
            assert_eq!(found["node"]["uuid"], one);
            assert_eq!(found["config"]["agent_token_required"], true);
            assert!(found["config"]["heartbeat_timeout"].as_u64().unwrap() <= 20);
            assert!(!found.to_string().contains("hunter2"));
        }
        lookup(&desk, &format!("node_uuid={one}")).await.expect(200);
        lookup(&desk, &format!("node_uuid={one}&addresses={address}")).await.expect(200);
        let other = mac("m2");
        for query in [
            "addresses=52:54:00:00:00:99".to_owned(),
            format!("addresses={other}"),
            format!("node_uuid={one}&addresses={other}"),
            format!("node_uuid={one}&addresses=52:54:00:00:00:99"),
            format!("addresses={address},{other}"),
            format!("node_uuid={}", Id::<()>::random()),
            "node_uuid=m1".to_owned(),
        ] {
            assert_eq!(lookup(&desk, &query).await.status, StatusCode::NOT_FOUND, "{query}");
        }
        assert_eq!(lookup(&desk, "").await.status, StatusCode::BAD_REQUEST);
    });
}

#[test]
fn the_token_is_shown_until_it_was_used() {
    on_each(async |world| {
        let mut desk = Desk::open(world).await;
        let id = desk.machine("m1").await;
        desk.router = api::provisioning_router(desk.app.clone());
        desk.seen(&id, S::Cleaning, Phase::Agent).await;
        let query = format!("addresses={}", mac("m1"));
        let at_once = futures_util::future::join_all((0..4).map(|_| lookup(&desk, &query))).await;
        let tokens: Vec<String> =
            at_once.into_iter().map(|answer| answer.expect(200)["config"]["agent_token"].as_str().unwrap().to_owned()).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0] && token.len() == 32), "all who ask at once get the same");
        let session: Id<AgentSession> = Id::parse(&id).unwrap();
        let body = |key: &str, value: Value| {
            let mut body = heartbeat(&tokens[0]);
            body[key] = value;
            body
        };
        beat(&desk, &id, body("agent_token", json!("wrong"))).await.refused(400, "token");
        beat(&desk, &id, body("agent_token", Value::Null)).await.refused(400, "token");
        beat(&desk, &id, body("callback_url", json!("http://172.30.0.11:9999"))).await.refused(400, "https");
        beat(&desk, &id, body("agent_verify_ca", Value::Null)).await.refused(400, "agent_verify_ca");
        assert!(desk.app.store.get(&session).await.unwrap().unwrap().desired.callback_url.is_none(), "nothing of that was kept");
        assert_eq!(lookup(&desk, &query).await.expect(200)["config"]["agent_token"], tokens[0]);

        let first = beat(&desk, &id, heartbeat(&tokens[0])).await;
        assert_eq!((first.status, &first.body), (StatusCode::ACCEPTED, &json!("")));
        let seen = desk.app.store.get(&session).await.unwrap().unwrap().desired;
        assert_eq!(seen.callback_url.as_deref(), Some("https://172.30.0.11:9999"));
        assert_eq!(seen.verify_ca.as_deref(), Some(CERTIFICATE));
        assert!(seen.heartbeat_at.is_some());
        assert_eq!(lookup(&desk, &query).await.expect(200)["config"]["agent_token"], "******");
        beat(&desk, &id, heartbeat("******")).await.refused(400, "token");
        beat(&desk, &id, body("callback_url", json!("https://172.30.0.66:9999"))).await.refused(400, "callback_url");
        beat(&desk, &id, body("agent_verify_ca", json!("-----BEGIN CERTIFICATE-----other"))).await.refused(400, "agent_verify_ca");
        assert_eq!(beat(&desk, &id, heartbeat(&tokens[0])).await.status, StatusCode::ACCEPTED);
        let again = desk.app.store.get(&session).await.unwrap().unwrap().desired;
        assert!(again.heartbeat_at >= seen.heartbeat_at);

        // A machine that is not awaited any more is told so politely, but nothing is kept of it.
        desk.seen(&id, S::Cleaning, Phase::Stop).await;
        assert_eq!(beat(&desk, &id, heartbeat(&tokens[0])).await.status, StatusCode::ACCEPTED);
        assert_eq!(desk.app.store.get(&session).await.unwrap().unwrap().desired, again);
        beat(&desk, &Id::<()>::random().to_string(), heartbeat(&tokens[0])).await.refused(404, "Node");
        beat(&desk, "m2", heartbeat(&tokens[0])).await.refused(404, "Node");
    });
}

#[test]
fn the_provisioning_network_reaches_nothing_else() {
    on_each(async |world| {
        let mut desk = Desk::open(world).await;
        let admin = desk.admin.clone();
        desk.router = api::provisioning_router(desk.app.clone());
        desk.get(&admin, "/baremetal/").await.expect(200);
        desk.get(&admin, "/baremetal/v1").await.expect(200);
        for path in ["/baremetal/v1/nodes", "/baremetal/v1/ports", "/identity/v3", "/image/v2/images", "/healthz", "/"] {
            assert_eq!(desk.get(&admin, path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    });
}
