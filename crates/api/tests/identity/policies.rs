//! Policies stored for others, and the one in force at an endpoint.

use serde_json::{Value, json};

use crate::support::{Cloud, id, sorted};
use crate::world::on_each;

const POLICIES: &str = "/identity/v3/policies";

async fn policy(cloud: &Cloud, blob: &str) -> String {
    let body = json!({"policy": {"blob": blob, "type": "application/json"}});
    let made = cloud.post(&cloud.admin, POLICIES, body).await.expect(201);
    id(&made["policy"]).to_owned()
}

#[test]
fn policies_are_kept() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let body = json!({"policy": {"blob": "{}", "type": "application/json", "owner": "ops"}});
        let made = cloud.post(admin, POLICIES, body).await.expect(201)["policy"].take();
        assert_eq!((&made["blob"], &made["owner"]), (&json!("{}"), &json!("ops")));
        let path = format!("{POLICIES}/{}", id(&made));
        assert!(made["links"]["self"].as_str().unwrap().ends_with(&path));
        let refused = |body: Value| cloud.post(admin, POLICIES, json!({ "policy": body }));
        refused(json!({"type": "text/plain"})).await.keystone(400, "'blob' is a required property");
        refused(json!({"blob": {"a": 1}, "type": "text/plain"})).await.keystone(400, "blob");
        let changed = cloud.patch(admin, &path, json!({"policy": {"type": "text/plain"}})).await.expect(200);
        assert_eq!(changed["policy"]["type"], "text/plain");
        cloud.patch(admin, &path, json!({"policy": {"id": "other"}})).await.keystone(400, "Cannot change");
        let found = cloud.get(admin, &format!("{POLICIES}?type=text/plain")).await.expect(200);
        assert_eq!(sorted(&found["policies"], "id"), [id(&made)]);
        let reader = cloud.tenant("shop", "reader").await;
        cloud.get(&reader, &path).await.keystone(403, "get_policy");
        cloud.delete(admin, &path).await.expect(204);
        cloud.get(admin, &path).await.keystone(404, "Could not find policy");
    });
}

#[test]
fn the_closest_policy_is_in_force() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let service = cloud.make("service", json!({"type": "warehouse"})).await;
        cloud.make("region", json!({"id": "north"})).await;
        cloud.make("region", json!({"id": "hall", "parent_region_id": "north"})).await;
        let body = json!({"service_id": service, "interface": "public", "url": "http://192.0.2.1/", "region_id": "hall"});
        let endpoint = cloud.make("endpoint", body).await;
        let other = cloud.make("endpoint", json!({"service_id": service, "interface": "public", "url": "http://192.0.2.2/"})).await;
        let in_force = format!("/identity/v3/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy");
        cloud.get(admin, &in_force).await.keystone(404, "No policy is associated with endpoint");

        let places = [
            (format!("services/{service}"), vec![endpoint.clone(), other.clone()]),
            (format!("services/{service}/regions/north"), vec![endpoint.clone()]),
            (format!("services/{service}/regions/hall"), vec![endpoint.clone()]),
            (format!("endpoints/{endpoint}"), vec![endpoint.clone()]),
        ];
        let mut attached = Vec::new();
        for (place, mut meant) in places {
            let policy = policy(&cloud, &place).await;
            let path = format!("{POLICIES}/{policy}/OS-ENDPOINT-POLICY/{place}");
            cloud.get(admin, &path).await.keystone(404, "Could not find policy association.");
            cloud.put(admin, &path, Value::Null).await.expect(204);
            cloud.put(admin, &path, Value::Null).await.expect(204);
            cloud.get(admin, &path).await.expect(204);
            assert_eq!(cloud.get(admin, &in_force).await.expect(200)["policy"]["blob"], json!(place));
            let found = cloud.get(admin, &format!("{POLICIES}/{policy}/OS-ENDPOINT-POLICY/endpoints")).await.expect(200);
            meant.sort();
            assert_eq!(sorted(&found["endpoints"], "id"), meant, "{place}");
            attached.push((path, place));
        }
        // As the closer ones go, the farther ones are in force again.
        for (path, place) in attached.iter().rev() {
            assert_eq!(cloud.get(admin, &in_force).await.expect(200)["policy"]["blob"], json!(place));
            cloud.delete(admin, path).await.expect(204);
            cloud.delete(admin, path).await.expect(204);
        }
        cloud.get(admin, &in_force).await.keystone(404, "No policy");

        // One place has one policy, and what is gone leaves nothing behind.
        let (first, second) = (policy(&cloud, "1").await, policy(&cloud, "2").await);
        let path = |policy: &str, place: &str| format!("{POLICIES}/{policy}/OS-ENDPOINT-POLICY/{place}");
        let place = format!("services/{service}/regions/hall");
        cloud.put(admin, &path(&first, &place), Value::Null).await.expect(204);
        cloud.put(admin, &path(&second, &place), Value::Null).await.expect(204);
        cloud.get(admin, &path(&first, &place)).await.keystone(404, "policy association");
        cloud.get(admin, &path(&second, "services/nothing")).await.keystone(404, "service: nothing");
        cloud.get(admin, &path(&second, &format!("services/{service}/regions/nowhere"))).await.keystone(404, "region: nowhere");
        cloud.delete(admin, &format!("{POLICIES}/{second}")).await.expect(204);
        cloud.get(admin, &in_force).await.keystone(404, "No policy");
        cloud.put(admin, &path(&first, &format!("endpoints/{endpoint}")), Value::Null).await.expect(204);
        cloud.delete(admin, &format!("/identity/v3/services/{service}")).await.expect(204);
        let left = cloud.get(admin, &path(&first, "endpoints")).await.expect(200);
        assert_eq!(left["endpoints"], json!([]));
    });
}
