//! RBAC policies: who may use what of others.

use serde_json::json;

use crate::V2;
use crate::support::{Cloud, id, sorted};
use crate::world::on_each;

#[test]
fn sharing_with_one_project_and_with_all() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical, other) =
            (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await, cloud.tenant("other", "member").await);
        let (scopes, policies) = (format!("{V2}/address-scopes"), format!("{V2}/rbac-policies"));
        let scope = cloud.post(&finance, &scopes, json!({"address_scope": {"name": "a", "ip_version": 4}})).await.expect(201);
        let scope = id(&scope["address_scope"]).to_owned();
        let one = format!("{scopes}/{scope}");
        let wanted = |target: &str| json!({"rbac_policy": {"object_type": "address_scope", "object_id": scope, "action": "access_as_shared", "target_tenant": target}});
        cloud.post(&medical, &policies, wanted(&medical.project)).await.neutron(400, "InvalidInput");
        let policy = cloud.post(&finance, &policies, wanted(&medical.project)).await.expect(201);
        let policy = &policy["rbac_policy"];
        assert_eq!(policy["target_tenant"], medical.project);
        cloud.post(&finance, &policies, wanted(&medical.project)).await.neutron(409, "DuplicateRbacPolicy");
        cloud.post(&finance, &policies, wanted("*")).await.neutron(403, "PolicyNotAuthorized");
        assert_eq!(cloud.get(&medical, &one).await.expect(200)["address_scope"]["shared"], true);
        assert_eq!(sorted(&cloud.get(&medical, &scopes).await.expect(200)["address_scopes"], "name"), ["a"]);
        cloud.get(&other, &one).await.neutron(404, "AddressScopeNotFound");
        // Seen is not owned.
        cloud.delete(&medical, &one).await.neutron(403, "PolicyNotAuthorized");
        // Its object goes on to be shared when the policy names another project.
        let at = format!("{policies}/{}", id(policy));
        cloud.put(&finance, &at, json!({"rbac_policy": {"target_tenant": other.project}})).await.expect(200);
        cloud.get(&medical, &one).await.neutron(404, "AddressScopeNotFound");
        cloud.get(&other, &one).await.expect(200);
        cloud.delete(&finance, &at).await.expect(204);
        cloud.get(&other, &one).await.neutron(404, "AddressScopeNotFound");
        cloud.post(&cloud.admin, &policies, wanted("*")).await.expect(201);
        cloud.get(&other, &one).await.expect(200);
        cloud.delete(&finance, &one).await.expect(204);
        assert_eq!(cloud.get(&cloud.admin, &policies).await.expect(200)["rbac_policies"], json!([]), "policies go with their object");
    });
}

#[test]
fn what_cannot_be_shared() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let policies = format!("{V2}/rbac-policies");
        let body = |kind: &str, object: &str, action: &str| json!({"rbac_policy": {"object_type": kind, "object_id": object, "action": action, "target_tenant": "*"}});
        let nobody = "11111111-1111-1111-1111-111111111111";
        cloud.post(&cloud.admin, &policies, body("port", nobody, "access_as_shared")).await.neutron(400, "HTTPBadRequest");
        cloud.post(&cloud.admin, &policies, body("network", nobody, "own")).await.neutron(400, "HTTPBadRequest");
        cloud.post(&cloud.admin, &policies, body("network", nobody, "access_as_shared")).await.neutron(404, "NetworkNotFound");
        let scope = cloud
            .post(&cloud.admin, &format!("{V2}/address-scopes"), json!({"address_scope": {"ip_version": 4, "shared": true}}))
            .await
            .expect(201);
        let scope = id(&scope["address_scope"]).to_owned();
        cloud.post(&cloud.admin, &policies, body("address_scope", &scope, "access_as_external")).await.neutron(400, "InvalidInput");
        let unshared = json!({"address_scope": {"shared": false}});
        cloud.put(&cloud.admin, &format!("{V2}/address-scopes/{scope}"), unshared).await.neutron(400, "AddressScopeUpdateError");
    });
}
