//! Networks: many made at once, and shared ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::support::{Cloud, id};
use crate::world::on_each;

const NETWORKS: &str = "/network/v2.0/networks";

#[test]
fn thirty_at_once_share_no_vlan() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::with_vlans(world, (100, 129)).await);
        let finance = cloud.tenant("finance", "member").await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..32 {
            let (cloud, finance) = (Arc::clone(&cloud), finance.clone());
            tasks.spawn(async move { cloud.post(&finance, NETWORKS, json!({"network": {"name": format!("n{n}")}})).await });
        }
        let answers = tasks.join_all().await;
        assert!(answers.iter().all(|it| it.status == 201 || it.body["NeutronError"]["type"] == "NoNetworkAvailable"), "{answers:?}");
        let listed = cloud.get(&cloud.admin, NETWORKS).await.expect(200)["networks"].take();
        let vlans: BTreeSet<u64> = listed.as_array().unwrap().iter().map(|it| it["provider:segmentation_id"].as_u64().unwrap()).collect();
        assert_eq!(vlans, (100..=129).collect(), "every VLAN once");
        assert_eq!(listed.as_array().unwrap().len(), 30);
    });
}

#[test]
fn shared_networks() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let medical = cloud.tenant("medical", "member").await;
        let network =
            cloud.post(&cloud.admin, NETWORKS, json!({"network": {"name": "all", "shared": true}})).await.expect(201)["network"].take();
        let subnet = cloud.subnet(&cloud.admin, &network, "10.9.0.0/24").await;
        let one = format!("{NETWORKS}/{}", id(&network));
        let seen = cloud.get(&medical, &one).await.expect(200)["network"].take();
        assert!(seen.get("provider:segmentation_id").is_none() && seen["subnets"] == json!([id(&subnet)]));
        cloud.get(&medical, &format!("/network/v2.0/subnets/{}", id(&subnet))).await.expect(200);
        assert_eq!(cloud.get(&medical, "/network/v2.0/subnets").await.expect(200)["subnets"].as_array().unwrap().len(), 1);
        cloud.put(&medical, &one, json!({"network": {"name": "mine"}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&medical, &one).await.neutron(403, "PolicyNotAuthorized");
        let body = json!({"subnet": {"network_id": id(&network), "ip_version": 4, "cidr": "10.8.0.0/24"}});
        cloud.post(&medical, "/network/v2.0/subnets", body).await.neutron(403, "PolicyNotAuthorized");
        for attributes in [
            json!({"mac_address": "52:54:00:00:00:01"}),
            json!({"fixed_ips": [{"ip_address": "10.9.0.9"}]}),
            json!({"device_owner": "network:dhcp"}),
        ] {
            cloud.port(&medical, &network, attributes).await.neutron(403, "PolicyNotAuthorized");
        }
        let port = cloud.port(&medical, &network, json!({})).await.expect(201)["port"].take();
        let path = format!("/network/v2.0/ports/{}", id(&port));
        cloud.put(&medical, &path, json!({"port": {"fixed_ips": []}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.put(&medical, &path, json!({"port": {"name": "mine"}})).await.expect(200);
        let unshare = json!({"network": {"shared": false}});
        cloud.put(&cloud.admin, &one, unshare.clone()).await.neutron(409, "InvalidSharedSetting");
        cloud.delete(&cloud.admin, &one).await.neutron(409, "NetworkInUse");
        cloud.delete(&medical, &path).await.expect(204);
        cloud.put(&cloud.admin, &one, unshare).await.expect(200);
        cloud.get(&medical, &one).await.neutron(404, "NetworkNotFound");
    });
}
