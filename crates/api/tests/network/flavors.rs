//! Flavors of services and their profiles.

use serde_json::json;

use crate::V2;
use crate::support::{Cloud, id};
use crate::world::on_each;

#[test]
fn flavors_and_profiles() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (flavors, profiles) = (format!("{V2}/flavors"), format!("{V2}/service_profiles"));
        let flavor =
            cloud.post(&cloud.admin, &flavors, json!({"flavor": {"name": "f", "service_type": "L3_ROUTER_NAT"}})).await.expect(201);
        let flavor = id(&flavor["flavor"]).to_owned();
        cloud.post(&cloud.admin, &flavors, json!({"flavor": {"service_type": "MAGIC"}})).await.neutron(400, "InvalidServiceType");
        cloud.post(&cloud.admin, &profiles, json!({"service_profile": {}})).await.neutron(400, "ServiceProfileEmpty");
        cloud.post(&cloud.admin, &profiles, json!({"service_profile": {"driver": "x"}})).await.neutron(404, "ServiceProfileDriverNotFound");
        let profile = cloud.post(&cloud.admin, &profiles, json!({"service_profile": {"metainfo": "{}"}})).await.expect(201);
        let profile = id(&profile["service_profile"]).to_owned();
        let bound = format!("{flavors}/{flavor}/service_profiles");
        let body = json!({"service_profile": {"id": profile}});
        cloud.post(&cloud.admin, &bound, body.clone()).await.expect(201);
        cloud.post(&cloud.admin, &bound, body).await.neutron(409, "FlavorServiceProfileBindingExists");
        assert_eq!(
            cloud.get(&cloud.admin, &format!("{profiles}/{profile}")).await.expect(200)["service_profile"]["flavors"],
            json!([flavor])
        );
        cloud.delete(&cloud.admin, &format!("{profiles}/{profile}")).await.neutron(409, "ServiceProfileInUse");
        cloud.delete(&cloud.admin, &format!("{bound}/{profile}")).await.expect(204);
        cloud.delete(&cloud.admin, &format!("{bound}/{profile}")).await.neutron(404, "FlavorServiceProfileBindingNotFound");
        cloud.delete(&cloud.admin, &format!("{profiles}/{profile}")).await.expect(204);
        // Whoever has a role sees flavors; only administrators make them.
        let reader = cloud.tenant("finance", "reader").await;
        assert_eq!(cloud.get(&reader, &flavors).await.expect(200)["flavors"].as_array().unwrap().len(), 1);
        cloud.delete(&reader, &format!("{flavors}/{flavor}")).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&cloud.admin, &format!("{flavors}/{flavor}")).await.expect(204);
    });
}
