//! QoS policies and their rules.

use serde_json::json;

use crate::V2;
use crate::support::{Cloud, id};
use crate::world::on_each;

#[test]
fn rules_of_a_policy_agree() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let policies = format!("{V2}/qos/policies");
        let policy = cloud.post(&cloud.admin, &policies, json!({"policy": {"name": "p"}})).await.expect(201)["policy"].take();
        assert_eq!((&policy["rules"], &policy["is_default"], &policy["revision_number"]), (&json!([]), &json!(false), &json!(1)));
        let one = format!("{policies}/{}", id(&policy));
        let add =
            async |kind: &str, rule: serde_json::Value| cloud.post(&cloud.admin, &format!("{one}/{kind}s"), json!({ kind: rule })).await;
        let limit = add("bandwidth_limit_rule", json!({"max_kbps": 100})).await.expect(201)["bandwidth_limit_rule"].take();
        assert_eq!((&limit["direction"], &limit["max_burst_kbps"]), (&json!("egress"), &json!(0)));
        add("bandwidth_limit_rule", json!({"max_kbps": 200})).await.neutron(409, "QoSRulesConflict");
        add("bandwidth_limit_rule", json!({"max_kbps": 100, "direction": "ingress"})).await.expect(201);
        add("bandwidth_limit_rule", json!({})).await.neutron(400, "HTTPBadRequest");
        add("bandwidth_limit_rule", json!({"max_kbps": -1})).await.neutron(400, "HTTPBadRequest");
        add("dscp_marking_rule", json!({"dscp_mark": 3})).await.neutron(400, "HTTPBadRequest");
        add("dscp_marking_rule", json!({"dscp_mark": 8})).await.expect(201);
        add("minimum_bandwidth_rule", json!({"min_kbps": 1000})).await.neutron(409, "QoSRuleParameterConflict");
        add("minimum_bandwidth_rule", json!({"min_kbps": 50})).await.expect(201);
        add("packet_rate_limit_rule", json!({"max_kpps": 1})).await.expect(201);
        add("minimum_packet_rate_rule", json!({"min_kpps": 1, "direction": "any"})).await.expect(201);
        add("minimum_packet_rate_rule", json!({"min_kpps": 1})).await.neutron(409, "QoSRuleParameterConflict");
        let shown = cloud.get(&cloud.admin, &one).await.expect(200)["policy"].take();
        assert_eq!((shown["rules"].as_array().unwrap().len(), &shown["revision_number"]), (6, &json!(7)));
        // By the policy and directly.
        let by_alias = format!("{V2}/qos/alias_bandwidth_limit_rules/{}", id(&limit));
        let changed = cloud.put(&cloud.admin, &by_alias, json!({"bandwidth_limit_rule": {"max_kbps": 60}})).await.expect(200);
        assert_eq!(changed["bandwidth_limit_rule"]["max_kbps"], 60);
        cloud
            .put(&cloud.admin, &by_alias, json!({"bandwidth_limit_rule": {"max_kbps": 40}}))
            .await
            .neutron(409, "QoSRuleParameterConflict");
        let direct = format!("{one}/bandwidth_limit_rules/{}", id(&limit));
        assert_eq!(cloud.get(&cloud.admin, &direct).await.expect(200)["bandwidth_limit_rule"]["max_kbps"], 60);
        cloud.get(&cloud.admin, &format!("{one}/dscp_marking_rules/{}", id(&limit))).await.neutron(404, "QosRuleNotFound");
        cloud.delete(&cloud.admin, &direct).await.expect(204);
        cloud.get(&cloud.admin, &by_alias).await.neutron(404, "QosRuleNotFound");
        cloud.delete(&cloud.admin, &one).await.expect(204);
    });
}

#[test]
fn one_default_for_each_project_and_sharing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let policies = format!("{V2}/qos/policies");
        let make = async |more: serde_json::Value| {
            let mut body = json!({"name": "p"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            cloud.post(&cloud.admin, &policies, json!({ "policy": body })).await
        };
        let first = make(json!({"is_default": true})).await.expect(201)["policy"].take();
        make(json!({"is_default": true})).await.neutron(409, "QoSPolicyDefaultAlreadyExists");
        cloud.put(&cloud.admin, &format!("{policies}/{}", id(&first)), json!({"policy": {"is_default": false}})).await.expect(200);
        make(json!({"is_default": true})).await.expect(201);
        let shared = make(json!({"shared": true})).await.expect(201)["policy"].take();
        assert_eq!(shared["shared"], true);
        let reader = cloud.tenant("finance", "reader").await;
        let seen = cloud.get(&reader, &policies).await.expect(200)["policies"].take();
        assert_eq!(seen.as_array().unwrap().len(), 1);
        assert_eq!(seen[0]["id"], shared["id"]);
        cloud
            .put(&reader, &format!("{policies}/{}", id(&shared)), json!({"policy": {"name": "x"}}))
            .await
            .neutron(403, "PolicyNotAuthorized");
        let types = cloud.get(&reader, &format!("{V2}/qos/rule-types")).await.expect(200);
        assert_eq!(types["rule_types"].as_array().unwrap().len(), 5);
        let one = cloud.get(&cloud.admin, &format!("{V2}/qos/rule-types/dscp_marking")).await.expect(200);
        assert_eq!(one["rule_type"]["type"], "dscp_marking");
    });
}

#[test]
fn tags_and_revisions() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let policies = format!("{V2}/qos/policies");
        let policy = cloud.post(&cloud.admin, &policies, json!({"policy": {"name": "p"}})).await.expect(201)["policy"].take();
        let tags = format!("{policies}/{}/tags", id(&policy));
        assert_eq!(cloud.put(&cloud.admin, &tags, json!({"tags": ["a", "b", "a"]})).await.expect(200)["tags"], json!(["a", "b"]));
        cloud.put(&cloud.admin, &format!("{tags}/c"), json!(null)).await.expect(201);
        cloud.get(&cloud.admin, &format!("{tags}/c")).await.expect(204);
        cloud.get(&cloud.admin, &format!("{tags}/d")).await.neutron(404, "TagNotFound");
        cloud.put(&cloud.admin, &tags, json!({"tags": "a"})).await.neutron(400, "HTTPBadRequest");
        cloud.put(&cloud.admin, &tags, json!({"tags": ["x".repeat(256)]})).await.neutron(400, "HTTPBadRequest");
        let other = cloud.post(&cloud.admin, &policies, json!({"policy": {"name": "q"}})).await.expect(201)["policy"].take();
        cloud.put(&cloud.admin, &format!("{policies}/{}/tags", id(&other)), json!({"tags": ["a"]})).await.expect(200);
        for (query, names) in [
            ("tags=a", vec!["p", "q"]),
            ("tags=a,b", vec!["p"]),
            ("tags-any=b,x", vec!["p"]),
            ("not-tags=b", vec!["q"]),
            ("not-tags=a,b", vec!["q"]),
            ("not-tags-any=a", vec![]),
        ] {
            let listed = cloud.get(&cloud.admin, &format!("{policies}?{query}")).await.expect(200);
            assert_eq!(crate::support::sorted(&listed["policies"], "name"), names, "{query}");
        }
        cloud.delete(&cloud.admin, &format!("{tags}/c")).await.expect(204);
        cloud.delete(&cloud.admin, &format!("{tags}/c")).await.neutron(404, "TagNotFound");
        cloud.delete(&cloud.admin, &tags).await.expect(204);
        let shown = cloud.get(&cloud.admin, &format!("{policies}/{}", id(&policy))).await.expect(200)["policy"].take();
        assert_eq!(shown["tags"], json!([]));
        assert_eq!(shown["revision_number"], 5, "each change of its tags is one of the policy");
    });
}
