//! L2 gateways, their connections, and those of other clouds.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Answer, Cloud, id};
use crate::world::on_each;

async fn ask(cloud: &Cloud, kind: &str, body: Value) -> Answer {
    cloud.post(&cloud.admin, &format!("{V2}/{}s", kind.replace('_', "-")), json!({ kind: body })).await
}

async fn make(cloud: &Cloud, kind: &str, body: Value) -> Value {
    ask(cloud, kind, body).await.expect(201)[kind].take()
}

fn path(kind: &str, it: &Value) -> String {
    format!("{V2}/{}s/{}", kind.replace('_', "-"), id(it))
}

#[test]
fn gateways_and_connections() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let network = cloud.network(&cloud.admin, "n").await;
        let devices = json!([{"device_name": "s1", "interfaces": [{"name": "e0", "segmentation_id": [5, "6"]}, {"name": "e1", "segmentation_id": ["7"]}]}]);
        let gateway = make(&cloud, "l2_gateway", json!({"name": "g", "devices": devices})).await;
        let shown = json!([{"name": "e0", "segmentation_id": ["5", "6"]}, {"name": "e1", "segmentation_id": ["7"]}]);
        assert_eq!(gateway["devices"][0]["interfaces"], shown);
        let free = make(&cloud, "l2_gateway", json!({"devices": [{"device_name": "s1", "interfaces": [{"name": "e0"}]}]})).await;
        assert_eq!(free["devices"][0]["interfaces"], json!([{"name": "e0", "segmentation_id": []}]));
        let wrong = async |body: Value, status: u16, kind: &str| ask(&cloud, "l2_gateway", body).await.neutron(status, kind);
        wrong(json!({"name": "g"}), 400, "HTTPBadRequest").await;
        wrong(json!({"devices": []}), 400, "HTTPBadRequest").await;
        wrong(json!({"devices": [{"device_name": "s", "interfaces": [{"name": "a", "segmentation_id": ["x"]}]}]}), 400, "InvalidInput")
            .await;
        wrong(json!({"devices": [{"device_name": "s", "interfaces": [{"name": "a", "segmentation_id": [5000]}]}]}), 400, "InvalidInput")
            .await;
        let mixed = json!({"devices": [{"device_name": "s", "interfaces": [{"name": "a", "segmentation_id": [5]}, {"name": "b"}]}]});
        wrong(mixed, 409, "L2GatewaySegmentationRequired").await;

        let put = async |device: Value| {
            cloud.put(&cloud.admin, &path("l2_gateway", &gateway), json!({"l2_gateway": {"devices": [device]}})).await
        };
        put(json!({"device_name": "x", "interfaces": [{"name": "e0", "segmentation_id": [5]}]}))
            .await
            .neutron(404, "L2GatewayDeviceNotFound");
        put(json!({"device_name": "s1", "interfaces": [{"name": "e0"}]})).await.neutron(409, "L2GatewaySegmentationIDExists");
        let changed = put(json!({"device_name": "s1", "interfaces": [{"name": "e2", "segmentation_id": [8]}]})).await.expect(200);
        assert_eq!(changed["l2_gateway"]["devices"][0]["interfaces"], json!([{"name": "e2", "segmentation_id": ["8"]}]));
        assert_eq!(changed["l2_gateway"]["devices"][0]["id"], gateway["devices"][0]["id"]);

        let of = |gateway: &Value, vlan: Value| json!({"l2_gateway_id": id(gateway), "network_id": id(&network), "segmentation_id": vlan});
        let wrong = async |body: Value, status: u16, kind: &str| ask(&cloud, "l2_gateway_connection", body).await.neutron(status, kind);
        wrong(of(&gateway, json!("9")), 400, "InvalidInput").await;
        wrong(of(&free, json!("")), 400, "InvalidInput").await;
        wrong(of(&free, json!("5000")), 400, "InvalidInput").await;
        wrong(json!({"l2_gateway_id": "11111111-1111-1111-1111-111111111111", "network_id": id(&network)}), 404, "L2GatewayNotFound").await;
        wrong(json!({"l2_gateway_id": id(&free), "network_id": "11111111-1111-1111-1111-111111111111"}), 404, "NetworkNotFound").await;
        let connection = make(&cloud, "l2_gateway_connection", of(&gateway, json!(""))).await;
        assert_eq!(connection["segmentation_id"], "");
        wrong(of(&gateway, json!("")), 409, "L2GatewayConnectionExists").await;
        let other = make(&cloud, "l2_gateway_connection", of(&free, json!("77"))).await;
        assert_eq!(other["segmentation_id"], "77");
        cloud.delete(&cloud.admin, &path("l2_gateway", &gateway)).await.neutron(409, "L2GatewayInUse");
        cloud.delete(&cloud.admin, &path("l2_gateway_connection", &connection)).await.expect(204);
        cloud.get(&cloud.admin, &path("l2_gateway_connection", &connection)).await.neutron(404, "L2GatewayConnectionNotFound");
        cloud.delete(&cloud.admin, &path("l2_gateway", &gateway)).await.expect(204);
        let member = cloud.tenant("finance", "member").await;
        cloud.get(&member, &path("l2_gateway", &free)).await.neutron(404, "L2GatewayNotFound");
        cloud
            .post(&member, &format!("{V2}/l2-gateways"), json!({"l2_gateway": {"devices": devices}}))
            .await
            .neutron(403, "PolicyNotAuthorized");
    });
}

#[test]
fn other_clouds() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let network = cloud.network(&cloud.admin, "n").await;
        let gateway = make(&cloud, "l2_gateway", json!({"devices": [{"device_name": "s", "interfaces": [{"name": "e"}]}]})).await;
        ask(&cloud, "l2_remote_gateway", json!({"name": "r", "ipaddr": "x"})).await.neutron(400, "HTTPBadRequest");
        let remote = make(&cloud, "l2_remote_gateway", json!({"name": "r", "ipaddr": "192.0.2.1"})).await;
        let changed = cloud
            .put(&cloud.admin, &path("l2_remote_gateway", &remote), json!({"l2_remote_gateway": {"ipaddr": "192.0.2.2"}}))
            .await
            .expect(200);
        assert_eq!(changed["l2_remote_gateway"]["ipaddr"], "192.0.2.2");
        let body =
            json!({"gateway": id(&gateway), "network": id(&network), "remote_gateway": id(&remote), "seg_id": "100", "flood": "True"});
        let connection = make(&cloud, "l2_remote_gateway_connection", body.clone()).await;
        assert_eq!((&connection["seg_id"], &connection["flood"]), (&json!("100"), &json!(true)));
        ask(&cloud, "l2_remote_gateway_connection", body.clone()).await.neutron(409, "L2RemoteGatewayConnectionExists");
        let mut nowhere = body;
        nowhere["remote_gateway"] = json!("11111111-1111-1111-1111-111111111111");
        ask(&cloud, "l2_remote_gateway_connection", nowhere).await.neutron(404, "L2RemoteGatewayNotFound");
        let mac = json!({"mac": "00:11:22:33:44:55", "ipaddr": "10.0.0.9", "rgw_connection": id(&connection)});
        let made = make(&cloud, "l2_remote_mac", mac.clone()).await;
        assert_eq!((&made["uuid"], &made["mac"]), (&made["id"], &mac["mac"]));
        ask(&cloud, "l2_remote_mac", mac).await.neutron(409, "L2RemoteMacExists");
        ask(&cloud, "l2_remote_mac", json!({"mac": "x", "rgw_connection": id(&connection)})).await.neutron(400, "HTTPBadRequest");
        let moved = cloud
            .put(&cloud.admin, &path("l2_remote_mac", &made), json!({"l2_remote_mac": {"mac": "00:11:22:33:44:66"}}))
            .await
            .expect(200);
        assert_eq!(moved["l2_remote_mac"]["mac"], "00:11:22:33:44:66");
        for (kind, it, why) in [
            ("l2_remote_gateway_connection", &connection, "L2RemoteGatewayConnectionInUse"),
            ("l2_remote_gateway", &remote, "L2RemoteGatewayInUse"),
            ("l2_gateway", &gateway, "L2GatewayInUse"),
        ] {
            cloud.delete(&cloud.admin, &path(kind, it)).await.neutron(409, why);
        }
        for (kind, it) in [
            ("l2_remote_mac", &made),
            ("l2_remote_gateway_connection", &connection),
            ("l2_remote_gateway", &remote),
            ("l2_gateway", &gateway),
        ] {
            cloud.delete(&cloud.admin, &path(kind, it)).await.expect(204);
        }
    });
}
