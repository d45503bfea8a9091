//! Address scopes: the simplest noun, by which what is the same for all nouns is looked at too.

use serde_json::json;

use crate::V2;
use crate::support::{Cloud, id, sorted};
use crate::world::on_each;

#[test]
fn made_changed_listed_removed() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let scopes = format!("{V2}/address-scopes");
        let made = cloud.post(&finance, &scopes, json!({"address_scope": {"name": "a", "ip_version": 4}})).await.expect(201);
        let scope = &made["address_scope"];
        assert_eq!(scope["project_id"], finance.project);
        assert_eq!(scope["tenant_id"], finance.project);
        assert_eq!((&scope["shared"], &scope["ip_version"]), (&json!(false), &json!(4)));
        let one = format!("{scopes}/{}", id(scope));
        cloud.get(&medical, &one).await.neutron(404, "AddressScopeNotFound");
        cloud.put(&medical, &one, json!({"address_scope": {"name": "b"}})).await.neutron(404, "AddressScopeNotFound");
        assert_eq!(cloud.put(&finance, &one, json!({"address_scope": {"name": "b"}})).await.expect(200)["address_scope"]["name"], "b");
        cloud.put(&finance, &one, json!({"address_scope": {"ip_version": 6}})).await.neutron(400, "HTTPBadRequest");
        assert_eq!(cloud.get(&medical, &scopes).await.expect(200)["address_scopes"], json!([]));
        assert_eq!(cloud.get(&finance, &format!("{one}?fields=id")).await.expect(200)["address_scope"], json!({"id": id(scope)}));
        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "AddressScopeNotFound");
    });
}

#[test]
fn bodies_that_are_refused() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let scopes = format!("{V2}/address-scopes");
        for body in [
            json!({}),
            json!({"scope": {}}),
            json!({"address_scope": {"name": "x"}}),
            json!({"address_scope": {"ip_version": 5}}),
            json!({"address_scope": {"ip_version": 4, "colour": "red"}}),
            json!({"address_scope": {"ip_version": 4, "id": "x"}}),
            json!({"address_scope": {"ip_version": 4, "name": 5}}),
            json!({"address_scope": {"ip_version": 4, "project_id": "a", "tenant_id": "b"}}),
            json!({"address_scope": {"ip_version": 4, "project_id": cloud.admin.project}}),
            json!({"address_scopes": []}),
        ] {
            let answer = cloud.post(&finance, &scopes, body.clone()).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        }
        cloud
            .post(&finance, &scopes, json!({"address_scope": {"ip_version": 4, "shared": true}}))
            .await
            .neutron(403, "PolicyNotAuthorized");
        assert_eq!(cloud.get(&finance, &scopes).await.expect(200)["address_scopes"], json!([]), "nothing was made");
    });
}

#[test]
fn many_at_once_are_made_whole_or_not_at_all() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let scopes = format!("{V2}/address-scopes");
        let many = json!({"address_scopes": [{"name": "a", "ip_version": 4}, {"address_scope": {"name": "b", "ip_version": 6}}]});
        let made = cloud.post(&finance, &scopes, many).await.expect(201);
        assert_eq!(sorted(&made["address_scopes"], "name"), ["a", "b"]);
        let broken = json!({"address_scopes": [{"name": "c", "ip_version": 4}, {"name": "d", "ip_version": 7}]});
        cloud.post(&finance, &scopes, broken).await.neutron(400, "HTTPBadRequest");
        assert_eq!(sorted(&cloud.get(&finance, &scopes).await.expect(200)["address_scopes"], "name"), ["a", "b"]);
    });
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let scopes = format!("{V2}/address-scopes");
        for (name, version) in [("d", 4), ("b", 6), ("a", 4), ("c", 6)] {
            cloud.post(&finance, &scopes, json!({"address_scope": {"name": name, "ip_version": version}})).await.expect(201);
        }
        let names = async |query: &str| {
            let body = cloud.get(&finance, &format!("{scopes}?{query}")).await.expect(200);
            let names: Vec<String> =
                body["address_scopes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
            (names.concat(), body)
        };
        assert_eq!(names("sort_key=name&sort_dir=asc").await.0, "abcd");
        assert_eq!(names("sort_key=name&sort_dir=desc").await.0, "dcba");
        assert_eq!(names("sort_key=ip_version&sort_dir=desc&sort_key=name&sort_dir=asc").await.0, "bcad");
        assert_eq!(names("ip_version=6&sort_key=name&sort_dir=asc").await.0, "bc");
        assert_eq!(names("name=a&name=b&sort_key=name&sort_dir=asc").await.0, "ab");
        assert_eq!(names("name=a&ip_version=6").await.0, "");
        assert_eq!(names("shared=false&sort_key=name&sort_dir=asc").await.0, "abcd");
        let (first, body) = names("sort_key=name&sort_dir=asc&limit=3").await;
        assert_eq!(first, "abc");
        let href = |body: &serde_json::Value, rel: &str| {
            let links = body["address_scopes_links"].as_array().unwrap().iter();
            let found: Vec<String> = links.filter(|it| it["rel"] == rel).map(|it| it["href"].as_str().unwrap().to_owned()).collect();
            found.first().map(|it| it.split_once('?').unwrap().1.to_owned())
        };
        let (second, body) = names(&href(&body, "next").unwrap()).await;
        assert_eq!(second, "d");
        assert!(href(&body, "next").is_none(), "the page is short");
        assert_eq!(names(&href(&body, "previous").unwrap()).await.0, "abc");
        for (query, kind) in [
            ("colour=red", "HTTPBadRequest"),
            ("sort_key=colour&sort_dir=asc", "HTTPBadRequest"),
            ("sort_key=name", "HTTPBadRequest"),
            ("sort_key=name&sort_dir=up", "HTTPBadRequest"),
            ("limit=-1", "BadRequest"),
            ("tenant_id=a&project_id=b", "TenantIdProjectIdFilterConflict"),
        ] {
            cloud.get(&finance, &format!("{scopes}?{query}")).await.neutron(400, kind);
        }
        cloud
            .get(&finance, &format!("{scopes}?limit=1&marker=11111111-1111-1111-1111-111111111111"))
            .await
            .neutron(404, "AddressScopeNotFound");
    });
}
