//! Address groups.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::V2;
use crate::support::{Cloud, id, sorted};
use crate::world::on_each;

fn addresses(group: &Value) -> Vec<&str> {
    let mut all: Vec<&str> = group["address_group"]["addresses"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    all.sort_unstable();
    all
}

#[test]
fn made_changed_used_removed() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let groups = format!("{V2}/address-groups");
        let body = |it: Value| json!({"address_group": it});
        let made = cloud
            .post(&finance, &groups, body(json!({"name": "a", "addresses": ["10.0.0.5/24", "10.1.1.1/32", "2001:DB8::1/64"]})))
            .await
            .expect(201);
        assert_eq!(addresses(&made), ["10.0.0.0/24", "10.1.1.1/32", "2001:db8::/64"]);
        for wrong in [json!(["10.0.0.1"]), json!(["x"]), json!("10.0.0.0/8"), json!(["10.0.0.0/8", "10.0.0.0/8"]), json!([5])] {
            cloud.post(&finance, &groups, body(json!({"addresses": wrong}))).await.neutron(400, "HTTPBadRequest");
        }
        assert_eq!(addresses(&cloud.post(&finance, &groups, body(json!({"addresses": null}))).await.expect(201)), Vec::<&str>::new());
        let one = format!("{groups}/{}", id(&made["address_group"]));
        let (add, remove) = (format!("{one}/add_addresses"), format!("{one}/remove_addresses"));
        let added = cloud.put(&finance, &add, json!({"addresses": ["10.2.0.0/16", "10.9.9.9"]})).await.expect(200);
        assert_eq!(addresses(&added), ["10.0.0.0/24", "10.1.1.1/32", "10.2.0.0/16", "10.9.9.9/32", "2001:db8::/64"]);
        let answer = cloud.put(&finance, &add, json!({"addresses": ["10.2.0.0/16", "10.3.0.0/16"]})).await;
        let text = format!("Addresses ['10.2.0.0/16'] already exist in the address group {}.", id(&made["address_group"]));
        assert_eq!(answer.body["NeutronError"]["message"], text);
        answer.neutron(400, "AddressesAlreadyExist");
        cloud.put(&finance, &add, json!({"addresses": ["x"]})).await.neutron(400, "AddrFormatError");
        cloud.put(&finance, &remove, json!({"addresses": ["10.200.0.0/16"]})).await.neutron(404, "AddressesNotFound");
        cloud.put(&finance, &remove, json!({"addresses": ["10.9.9.9/32"]})).await.expect(200);
        cloud.put(&medical, &add, json!({"addresses": ["10.200.0.0/16"]})).await.neutron(404, "AddressGroupNotFound");
        cloud.put(&finance, &one, body(json!({"addresses": []}))).await.neutron(400, "HTTPBadRequest");
        assert_eq!(cloud.put(&finance, &one, body(json!({"description": "d"}))).await.expect(200)["address_group"]["description"], "d");
        // Used by a rule of a project it is shared with.
        let policy = json!({"rbac_policy": {"object_type": "address_group", "object_id": id(&made["address_group"]), "action": "access_as_shared", "target_tenant": medical.project}});
        cloud.post(&finance, &format!("{V2}/rbac-policies"), policy).await.expect(201);
        assert_eq!(sorted(&cloud.get(&medical, &groups).await.expect(200)["address_groups"], "name"), ["a"]);
        cloud.put(&medical, &one, body(json!({"name": "b"}))).await.neutron(403, "PolicyNotAuthorized");
        let security = cloud.post(&medical, &format!("{V2}/security-groups"), json!({"security_group": {}})).await.expect(201);
        let rule = json!({"security_group_rule": {"security_group_id": id(&security["security_group"]), "direction": "ingress", "remote_address_group_id": id(&made["address_group"])}});
        let rule = cloud.post(&medical, &format!("{V2}/security-group-rules"), rule).await.expect(201);
        cloud.delete(&finance, &one).await.neutron(409, "AddressGroupInUse");
        cloud.delete(&medical, &format!("{V2}/security-group-rules/{}", id(&rule["security_group_rule"]))).await.expect(204);
        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "AddressGroupNotFound");
    });
}

#[test]
fn addresses_added_at_once_are_all_there() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let finance = cloud.tenant("finance", "member").await;
        let made = cloud.post(&finance, &format!("{V2}/address-groups"), json!({"address_group": {}})).await.expect(201);
        let one = format!("{V2}/address-groups/{}", id(&made["address_group"]));
        let mut tasks = JoinSet::new();
        for n in 0..6 {
            let (cloud, finance, add) = (Arc::clone(&cloud), finance.clone(), format!("{one}/add_addresses"));
            tasks.spawn(async move { cloud.put(&finance, &add, json!({"addresses": [format!("10.{n}.0.0/16")]})).await.expect(200) });
        }
        tasks.join_all().await;
        assert_eq!(addresses(&cloud.get(&finance, &one).await.expect(200)).len(), 6);
    });
}
