//! Quotas: limits, usage, and that they hold.

use serde_json::json;

use crate::V2;
use crate::support::Cloud;
use crate::world::on_each;

#[test]
fn set_shown_and_taken_back() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let own = format!("{V2}/quotas/{}", finance.project);
        let usual = cloud.get(&cloud.admin, &own).await.expect(200)["quota"].take();
        assert_eq!((&usual["network"], &usual["port"], &usual["subnetpool"]), (&json!(100), &json!(500), &json!(-1)));
        cloud.put(&finance, &own, json!({"quota": {"network": 5}})).await.expect(403);
        let set = cloud.put(&cloud.admin, &own, json!({"quota": {"network": 5}})).await.expect(200)["quota"].take();
        assert_eq!((&set["network"], &set["port"]), (&json!(5), &json!(500)));
        assert_eq!(cloud.get(&cloud.admin, &format!("{own}/default")).await.expect(200)["quota"]["network"], 100);
        assert_eq!(
            cloud.get(&cloud.admin, &format!("{own}/details")).await.expect(200)["quota"]["network"],
            json!({"limit": 5, "used": 0, "reserved": 0})
        );
        let listed = cloud.get(&cloud.admin, &format!("{V2}/quotas")).await.expect(200)["quotas"].take();
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!(listed[0]["project_id"], finance.project);
        for wrong in [json!({"network": -2}), json!({"network": "many"}), json!({"castle": 1}), json!({"network": 1_u64 << 40})] {
            cloud.put(&cloud.admin, &own, json!({"quota": wrong})).await.neutron(400, "HTTPBadRequest");
        }
        cloud.delete(&cloud.admin, &own).await.expect(204);
        cloud.delete(&cloud.admin, &own).await.neutron(404, "TenantQuotaNotFound");
        assert_eq!(cloud.get(&cloud.admin, &own).await.expect(200)["quota"], usual);
        assert_eq!(cloud.get(&finance, &format!("{V2}/quotas/tenant")).await.expect(200)["tenant"]["tenant_id"], finance.project);
    });
}
