//! Requests for nodes that were sent to Ironic 39.0.0, with the statuses of its answers: here they are answered with the same.

use http::{Method, StatusCode};
use model::baremetal::{Phase, ProvisionState as S, Runbook, RunbookDesired, Step};
use model::{Id, Object};
use serde_json::{Map, Value, json};
use store::Batch;

use crate::desk::{Desk, Who};
use crate::world::on_sqlite;

const RECORDED: &str = include_str!("fixtures/ironic_node_requests.json");
const NODE: &str = "00000001-0000-4000-8000-000000000000";

/// Requests that are answered otherwise on purpose: method, end of the path, a part of the body, the status here, and why.
const OTHERWISE: &[(&str, &str, &str, u16, &str)] = &[
    ("DELETE", "/nodes", "", 405, "there is no such method; Ironic misses an argument"),
    ("PATCH", NODE, "~1b", 200, "RFC 6901"),
    ("GET", "/nodes?sort_key=name&sort_key=id", "", 200, "of an argument given twice the last counts"),
    ("GET", "/none", "", 404, "there is no such path; Ironic takes it for a field"),
];

/// What the requests are about: a node on offer that somebody has, one that is part of it, and steps.
async fn scene(desk: &Desk) {
    let admin = &desk.admin;
    let chassis = json!({"uuid": "00000002-0000-4000-8000-000000000000", "description": "c"});
    desk.post(admin, "/baremetal/v1/chassis", chassis).await.expect(201);
    let node = json!({
        "uuid": NODE, "driver": "fake-hardware", "name": "rec-node", "properties": {"cpus": 4}, "extra": {"a": 1}, "resource_class": "baremetal",
        "chassis_uuid": "00000002-0000-4000-8000-000000000000", "instance_uuid": "00000011-0000-4000-8000-000000000000",
    });
    desk.post(admin, "/baremetal/v1/nodes", node).await.expect(201);
    let child = json!({"driver": "fake-hardware", "name": "rec-child", "parent_node": NODE});
    desk.post(admin, "/baremetal/v1/nodes", child).await.expect(201);
    desk.put(admin, &format!("/baremetal/v1/nodes/{NODE}/traits"), json!({"traits": ["CUSTOM_A"]})).await.expect(204);
    let step = Step { interface: "deploy".into(), step: "x".into(), args: Map::new(), priority: 1, ..Step::default() };
    let desired = RunbookDesired { steps: vec![step], traits: vec!["CUSTOM_A".into()], public: true, ..RunbookDesired::default() };
    let book: Object<Runbook> = Object::new(Id::random(), None, "CUSTOM_RB1", desired);
    desk.app.store.apply(Batch::wishes().create(&book)).await.unwrap();
    desk.seen(NODE, S::Available, Phase::Rest).await;
}

#[test]
fn nodes_answer_as_recorded() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        scene(&desk).await;
        let recorded: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
        let nobody = Who { token: String::new(), project: String::new(), user: String::new() };
        let mut wrong = Vec::new();
        for it in &recorded {
            let (method, path) = (it["method"].as_str().unwrap(), it["path"].as_str().unwrap());
            let body = it.get("body").cloned();
            let text = body.as_ref().map(Value::to_string).unwrap_or_default();
            let spaced = text.replace("\":", "\": ");
            let otherwise = OTHERWISE.iter().find(|(verb, end, part, ..)| method == *verb && path.ends_with(end) && spaced.contains(part));
            let wanted = otherwise.map_or(u16::try_from(it["status"].as_u64().unwrap()).unwrap(), |it| it.3);
            let version = it["version"].as_str().unwrap_or("latest");
            let is_agents = ["/lookup", "/heartbeat", "/continue_inspection"].iter().any(|it| path.starts_with(it));
            let who = if is_agents { &nobody } else { &desk.admin };
            let headers = [("x-openstack-ironic-api-version", version)];
            let verb: Method = method.parse().unwrap();
            let answer = desk.call(who, verb, &format!("/baremetal/v1{path}"), &headers, body).await;
            if answer.status.as_u16() != wanted {
                wrong.push(format!("{method} {path} {text} in {version}: {} and not {wanted}: {}", answer.status, answer.error()));
            }
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}");
        }
        assert!(recorded.len() > 150, "{}", recorded.len());
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), recorded.len());
    });
}
