//! Flavors and key pairs.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::world::on_each;

const FLAVORS: &str = "/compute/v2.1/flavors";
const KEYS: &str = "/compute/v2.1/os-keypairs";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me";

#[test]
fn flavors_live() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let user = desk.tenant("fiona", "finance").await;
        let body = json!({"flavor": {"name": "bm", "ram": 512, "vcpus": 1, "disk": 4, "description": "metal"}});
        let flavor = desk.post(admin, FLAVORS, body.clone()).await.expect(200);
        let id = flavor["flavor"]["id"].as_str().unwrap().to_owned();
        let path = format!("{FLAVORS}/{id}");
        desk.post(admin, FLAVORS, body.clone()).await.refused(409, "bm");
        desk.post(&user, FLAVORS, body).await.refused(403, "os-flavor-manage:create");
        desk.post(admin, FLAVORS, json!({"flavor": {"name": "x"}})).await.refused(400, "ram");
        desk.post(admin, &format!("{path}/os-extra_specs"), json!({"extra_specs": {"resources:CUSTOM_BM": "1", "a": "b"}}))
            .await
            .expect(200);
        desk.put(admin, &format!("{path}/os-extra_specs/a"), json!({"a": "c"})).await.expect(200);
        desk.put(admin, &format!("{path}/os-extra_specs/a"), json!({"b": "c"})).await.refused(400, "mismatch");
        assert_eq!(desk.get(&user, &format!("{path}/os-extra_specs/a")).await.expect(200), json!({"a": "c"}));
        desk.delete(admin, &format!("{path}/os-extra_specs/a")).await.expect(200);
        desk.delete(admin, &format!("{path}/os-extra_specs/a")).await.refused(404, "a");
        desk.post(&user, &format!("{path}/os-extra_specs"), json!({"extra_specs": {"x": "y"}})).await.refused(403, "extra-specs:create");
        let shown = desk.get(&user, &path).await.expect(200);
        assert_eq!(shown["flavor"]["extra_specs"], json!({"resources:CUSTOM_BM": "1"}));
        desk.put(admin, &path, json!({"flavor": {"description": "new"}})).await.expect(200);
        let hidden =
            json!({"flavor": {"name": "hidden", "id": "h1", "ram": 1, "vcpus": 1, "disk": 0, "os-flavor-access:is_public": false}});
        desk.post(admin, FLAVORS, hidden).await.expect(200);
        desk.get(&user, &format!("{FLAVORS}/h1")).await.refused(404, "h1");
        let count = |body: Value| body["flavors"].as_array().unwrap().len();
        assert_eq!(count(desk.get(&user, &format!("{FLAVORS}/detail?is_public=None")).await.expect(200)), 1);
        assert_eq!(count(desk.get(admin, &format!("{FLAVORS}?is_public=None")).await.expect(200)), 2);
        assert_eq!(count(desk.get(admin, FLAVORS).await.expect(200)), 1);
        let page = desk.get(admin, &format!("{FLAVORS}?is_public=None&limit=1")).await.expect(200);
        let next = page["flavors_links"][0]["href"].as_str().unwrap().strip_prefix("http://127.0.0.1:5000").unwrap().to_owned();
        assert_eq!(count(desk.get(admin, &next).await.expect(200)), 1);
        desk.get(admin, &format!("{FLAVORS}?minRam=x")).await.refused(400, "minRam");
        desk.delete(&user, &path).await.refused(403, "os-flavor-manage:delete");
        desk.delete(admin, &path).await.expect(202);
        desk.get(admin, &path).await.refused(404, "Flavor");
        desk.post(admin, FLAVORS, json!({"flavor": {"name": "bm", "ram": 1, "vcpus": 1, "disk": 0}})).await.expect(200);
    });
}

#[test]
fn key_pairs_are_a_users_own() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (fiona, mick) = (desk.tenant("fiona", "finance").await, desk.tenant("mick", "finance").await);
        let body = json!({"keypair": {"name": "me", "public_key": KEY}});
        let made = desk.post(&fiona, KEYS, body.clone()).await.expect(201);
        assert_eq!(made["keypair"]["fingerprint"], "0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba");
        desk.post(&fiona, KEYS, body.clone()).await.refused(409, "me");
        desk.post(&mick, KEYS, body).await.expect(201);
        desk.post(&fiona, KEYS, json!({"keypair": {"name": "new"}})).await.refused(400, "public_key");
        desk.post(&fiona, KEYS, json!({"keypair": {"name": "new", "public_key": "x"}})).await.refused(400, "invalid");
        let listed = desk.get(&fiona, KEYS).await.expect(200);
        assert_eq!(listed["keypairs"].as_array().unwrap().len(), 1);
        let of_mick = format!("{KEYS}/me?user_id={}", mick.user);
        desk.get(&fiona, &of_mick).await.refused(403, "os-keypairs:show");
        assert_eq!(desk.get(&desk.admin, &of_mick).await.expect(200)["keypair"]["user_id"], mick.user);
        desk.delete(&fiona, &format!("{KEYS}/me")).await.expect(204);
        desk.delete(&fiona, &format!("{KEYS}/me")).await.refused(404, "me");
        desk.get(&mick, &format!("{KEYS}/me")).await.expect(200);
        // The oldest version creates with 200 and deletes with 202.
        let body = json!({"keypair": {"name": "old", "public_key": KEY}});
        let old = desk.call(&fiona, Method::POST, KEYS, &[], Some(body)).await;
        assert_eq!((old.status, old.body["keypair"].get("type")), (StatusCode::OK, None));
        assert_eq!(desk.call(&fiona, Method::DELETE, &format!("{KEYS}/old"), &[], None).await.status, StatusCode::ACCEPTED);
    });
}
