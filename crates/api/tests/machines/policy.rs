//! The operator's policy.yaml.

use std::time::{Duration, Instant};

use api::IdentitySettings;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};
use crate::world::on_each;

const NETWORKS: &str = "/network/v2.0/networks";
const NODES: &str = "/baremetal/v1/nodes";
/// How long a change of the file may take to be followed.
const SOON: Duration = Duration::from_secs(20);

/// The answer once it has this status, which it must soon have.
async fn soon(desk: &Desk, who: &Who, path: &str, status: u16) -> Answer {
    let began = Instant::now();
    loop {
        let answer = desk.get(who, path).await;
        if answer.status.as_u16() == status {
            return answer;
        }
        assert!(began.elapsed() < SOON, "{path} still answers {}: {}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_changed_policy_file_is_followed_without_a_restart() {
    on_each(async |world| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.yaml");
        let desk = Desk::with(world, IdentitySettings { policy_file: Some(file.clone()), ..IdentitySettings::default() }).await;
        let fiona = desk.tenant("fiona", "finance").await;
        let node = format!("{NODES}/{}", desk.machine("m1").await);
        let shared = json!({"network": {"name": "all", "shared": true}});
        let plain = desk.post(&fiona, NETWORKS, json!({"network": {"name": "own"}})).await.expect(201)["network"].take();
        let network = format!("{NETWORKS}/{}", plain["id"].as_str().unwrap());
        desk.post(&fiona, NETWORKS, shared.clone()).await.expect(403);
        desk.get(&fiona, &node).await.expect(404);
        assert_eq!(plain.get("provider:segmentation_id"), None);

        let rules = "create_network:shared: role:member\n\
                     get_network:provider:segmentation_id: project_id:%(project_id)s\n\
                     baremetal:node:get: rule:baremetal:is_admin or role:member\n\
                     baremetal:node:list_all: rule:baremetal:is_admin or role:member\n";
        std::fs::write(&file, rules).unwrap();
        soon(&desk, &fiona, &node, 200).await;
        desk.post(&fiona, NETWORKS, shared.clone()).await.expect(201);
        assert!(desk.get(&fiona, &network).await.expect(200)["network"]["provider:segmentation_id"].is_u64());
        assert_eq!(desk.get(&fiona, NODES).await.expect(200)["nodes"].as_array().unwrap().len(), 1);
        let vlan = desk.get(&desk.admin, &network).await.expect(200)["network"].get("provider:segmentation_id").cloned();
        assert_eq!(vlan, None, "the rule of the file has no place for administrators");

        // One that cannot be used changes nothing.
        std::fs::write(&file, "create_network:shared: role:member and\n").unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        desk.get(&fiona, &node).await.expect(200);

        std::fs::write(&file, "get_network: '!'\n").unwrap();
        soon(&desk, &fiona, &network, 404).await;
        assert_eq!(desk.get(&desk.admin, NETWORKS).await.expect(200)["networks"], json!([]));
        desk.get(&fiona, &node).await.expect(404);
        std::fs::remove_file(&file).unwrap();
        soon(&desk, &fiona, &network, 200).await;
        desk.post(&fiona, NETWORKS, shared).await.expect(403);
        assert_ne!(desk.get(&desk.admin, NETWORKS).await.expect(200)["networks"], Value::Array(Vec::new()));
    });
}
