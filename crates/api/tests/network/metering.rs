//! Metering labels and rules.

use serde_json::json;

use crate::V2;
use crate::support::{Cloud, id};
use crate::world::on_each;

#[test]
fn labels_and_rules() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (labels, rules) = (format!("{V2}/metering/metering-labels"), format!("{V2}/metering/metering-label-rules"));
        let member = cloud.tenant("finance", "member").await;
        cloud.post(&member, &labels, json!({"metering_label": {"name": "x"}})).await.neutron(403, "PolicyNotAuthorized");
        let label = cloud.post(&cloud.admin, &labels, json!({"metering_label": {"name": "x"}})).await.expect(201)["metering_label"].take();
        let rule = async |more: serde_json::Value| {
            let mut body = json!({"metering_label_id": id(&label), "direction": "ingress"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            cloud.post(&cloud.admin, &rules, json!({"metering_label_rule": body})).await
        };
        let made = rule(json!({"remote_ip_prefix": "10.0.0.0/24"})).await.expect(201)["metering_label_rule"].take();
        assert_eq!((&made["excluded"], &made["source_ip_prefix"]), (&json!(false), &json!(null)));
        assert!(made.get("project_id").is_none());
        rule(json!({"remote_ip_prefix": "10.0.0.0/28"})).await.neutron(409, "MeteringLabelRuleOverlaps");
        rule(json!({"remote_ip_prefix": "10.0.0.0/28", "excluded": true})).await.expect(201);
        rule(json!({"source_ip_prefix": "10.1.0.7/28"})).await.expect(201);
        rule(json!({})).await.neutron(400, "Invalid");
        rule(json!({"remote_ip_prefix": "10.2.0.0/28", "source_ip_prefix": "10.1.0.0/28"})).await.neutron(400, "Invalid");
        rule(json!({"remote_ip_prefix": "10.2.0.0/28", "direction": "up"})).await.neutron(400, "HTTPBadRequest");
        let nobody = json!({"metering_label_rule": {"metering_label_id": "11111111-1111-1111-1111-111111111111", "direction": "egress", "remote_ip_prefix": "::/0"}});
        cloud.post(&cloud.admin, &rules, nobody).await.neutron(404, "MeteringLabelNotFound");
        assert_eq!(cloud.get(&cloud.admin, &rules).await.expect(200)["metering_label_rules"].as_array().unwrap().len(), 3);
        cloud.delete(&cloud.admin, &format!("{labels}/{}", id(&label))).await.expect(204);
        assert_eq!(cloud.get(&cloud.admin, &rules).await.expect(200)["metering_label_rules"], json!([]));
    });
}
