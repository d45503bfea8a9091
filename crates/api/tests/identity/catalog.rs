//! Regions, services, endpoints, who sees which of them, and what a client finds where.

use http::Method;
use net::http::Request;
use serde_json::{Value, json};

use crate::support::{Cloud, Token, id, sorted};
use crate::world::{on_each, on_sqlite};

const REGIONS: &str = "/identity/v3/regions";
const ENDPOINTS: &str = "/identity/v3/endpoints";
const FILTER: &str = "/identity/v3/OS-EP-FILTER";

async fn catalog(cloud: &Cloud, token: &Token) -> Value {
    cloud.get(token, "/identity/v3/auth/catalog").await.expect(200)["catalog"].take()
}

/// A service that is in no catalog by itself, and an endpoint of it.
async fn endpoint(cloud: &Cloud, service: &str, more: Value) -> String {
    let mut body = json!({"service_id": service, "interface": "public", "url": "http://192.0.2.1/"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    cloud.make("endpoint", body).await
}

fn entry<'a>(catalog: &'a Value, kind: &str) -> Option<&'a Value> {
    catalog.as_array().unwrap().iter().find(|it| it["type"] == kind)
}

#[test]
fn regions_are_a_tree() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let made = cloud.post(admin, REGIONS, json!({"region": {"id": "north", "description": null, "hall": 7}})).await.expect(201);
        assert_eq!((&made["region"]["description"], &made["region"]["hall"]), (&json!(""), &json!(7)));
        assert!(made["region"]["parent_region_id"].is_null());
        let link = made["region"]["links"]["self"].as_str().unwrap();
        assert!(link.ends_with("/identity/v3/regions/north"), "{link}");
        cloud.post(admin, REGIONS, json!({"region": {"id": "north"}})).await.keystone(409, "region");
        let path = format!("{REGIONS}/south");
        cloud.put(admin, &path, json!({"region": {"id": "west"}})).await.keystone(400, "\"south\" != \"west\"");
        cloud.put(admin, &path, json!({"region": {"parent_region_id": "north"}})).await.expect(201);
        cloud.post(admin, REGIONS, json!({"region": {"parent_region_id": "nowhere"}})).await.keystone(404, "region: nowhere");
        let north = format!("{REGIONS}/north");
        cloud.patch(admin, &north, json!({"region": {"parent_region_id": "south"}})).await.keystone(400, "circular");
        cloud.patch(admin, &north, json!({"region": {"parent_region_id": "north"}})).await.keystone(400, "circular");
        cloud.patch(admin, &north, json!({"region": {"id": "other"}})).await.keystone(400, "Cannot change ID");
        let found = cloud.get(admin, &format!("{REGIONS}?parent_region_id=north")).await.expect(200);
        assert_eq!(sorted(&found["regions"], "id"), ["south"]);
        cloud.get(admin, &format!("{REGIONS}?colour=red")).await.keystone(400, "colour");

        let service = cloud.make("service", json!({"type": "warehouse"})).await;
        let there = endpoint(&cloud, &service, json!({"region_id": "south"})).await;
        cloud.delete(admin, &north).await.keystone(403, "associated endpoints");
        cloud.delete(admin, &format!("{ENDPOINTS}/{there}")).await.expect(204);
        cloud.delete(admin, &north).await.expect(204);
        cloud.get(admin, &path).await.keystone(404, "Could not find region: south");

        let reader = cloud.tenant("shop", "reader").await;
        cloud.get(&reader, REGIONS).await.expect(200);
        cloud.post(&reader, REGIONS, json!({"region": {}})).await.keystone(403, "create_region");
    });
}

#[test]
fn two_moves_at_once_close_no_circle() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        for round in 0..5 {
            let (a, b) = (format!("a{round}"), format!("b{round}"));
            cloud.make("region", json!({ "id": a })).await;
            cloud.make("region", json!({ "id": b })).await;
            let below = async |one: &str, other: &str| {
                cloud.patch(&cloud.admin, &format!("{REGIONS}/{one}"), json!({"region": {"parent_region_id": other}})).await.status
            };
            let (one, other) = futures_util::future::join(below(&a, &b), below(&b, &a)).await;
            assert_ne!((one, other), (200, 200));
        }
    });
}

#[test]
fn services_and_endpoints() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let made = cloud.post(admin, "/identity/v3/services", json!({"service": {"type": "warehouse", "shelf": "x"}})).await.expect(201);
        let service = id(&made["service"]).to_owned();
        assert_eq!(made["service"]["name"], "");
        assert_eq!(made["service"]["shelf"], "x");
        let path = format!("/identity/v3/services/{service}");
        let changed = cloud.patch(admin, &path, json!({"service": {"name": "w", "description": "d"}})).await.expect(200);
        assert_eq!((&changed["service"]["name"], &changed["service"]["description"]), (&json!("w"), &json!("d")));
        for query in ["type=warehouse", "name=w"] {
            let found = cloud.get(admin, &format!("/identity/v3/services?{query}")).await.expect(200);
            assert_eq!(sorted(&found["services"], "id"), [service.as_str()], "{query}");
        }

        let new = |body: Value| cloud.post(admin, ENDPOINTS, json!({ "endpoint": body }));
        let base = |more: Value| {
            let mut body = json!({"service_id": service, "interface": "public", "url": "http://192.0.2.1/$(tenant_id)s"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        new(base(json!({"region_id": "nowhere"}))).await.keystone(400, "endpoint region_id in region table");
        new(base(json!({"service_id": "nothing"}))).await.keystone(400, "endpoint service_id in service table");
        new(base(json!({"interface": "side"}))).await.keystone(400, "interface");
        for url in ["http://192.0.2.1/$(secret)s", "http://192.0.2.1/%(tenant_id)", "http://192.0.2.1/%d", "/own"] {
            new(base(json!({"url": url}))).await.keystone(400, url);
        }
        // By its older name a region is made.
        let made = new(base(json!({"region": "made-by-name"}))).await.expect(201)["endpoint"].take();
        assert_eq!((&made["region"], &made["region_id"]), (&json!("made-by-name"), &json!("made-by-name")));
        assert_eq!((&made["enabled"], &made["url"]), (&json!(true), &json!("http://192.0.2.1/$(tenant_id)s")));
        cloud.get(admin, &format!("{REGIONS}/made-by-name")).await.expect(200);
        let path_of = format!("{ENDPOINTS}/{}", id(&made));
        let changed = cloud.patch(admin, &path_of, json!({"endpoint": {"region_id": null, "name": "n"}})).await.expect(200);
        assert!(changed["endpoint"]["region_id"].is_null() && changed["endpoint"]["name"] == "n");
        let found = cloud.get(admin, &format!("{ENDPOINTS}?service_id={service}&interface=public")).await.expect(200);
        assert_eq!(sorted(&found["endpoints"], "id"), [id(&made)]);
        cloud.get(admin, &format!("{ENDPOINTS}?interface=side")).await.keystone(400, "interface");
        // An endpoint goes with its service.
        cloud.delete(admin, &path).await.expect(204);
        cloud.get(admin, &path_of).await.keystone(404, "Could not find endpoint");
    });
}

#[test]
fn a_catalog_has_what_is_enabled_and_fills_urls() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let service = cloud.make("service", json!({"type": "warehouse", "name": "w"})).await;
        let empty = catalog(&cloud, admin).await;
        assert_eq!(entry(&empty, "warehouse"), Some(&json!({"endpoints": [], "id": service, "type": "warehouse", "name": "w"})));
        let own = entry(&empty, "identity").unwrap()["endpoints"][0]["url"].as_str().unwrap();
        assert_eq!(own, cloud.url("/identity/v3"));
        let forwarded = Request::new(Method::GET, cloud.url("/identity/v3/auth/catalog"));
        let forwarded =
            forwarded.header("x-auth-token", &admin.text).header("x-forwarded-host", "cloud.example").header("x-forwarded-proto", "https");
        let elsewhere = cloud.send(forwarded).await.expect(200);
        assert_eq!(entry(&elsewhere["catalog"], "identity").unwrap()["endpoints"][0]["url"], "https://cloud.example/identity/v3");

        let filled = endpoint(&cloud, &service, json!({"url": "http://192.0.2.1/$(project_id)s/%(user_id)s", "region": "RegionOne"})).await;
        endpoint(&cloud, &service, json!({"url": "http://192.0.2.1/%(tenant_id)s", "enabled": false})).await;
        let both = [admin.clone(), cloud.tenant("shop", "reader").await];
        for token in &both {
            let found = catalog(&cloud, token).await;
            let url = format!("http://192.0.2.1/{}/{}", token.project, token.user);
            let wanted = json!([{"id": filled, "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": url}]);
            assert_eq!(entry(&found, "warehouse").unwrap()["endpoints"], wanted);
        }
        // The token's own catalog is the same; one without a project has no URL that names one.
        let again = cloud.rescope(admin, json!({"project": {"id": admin.project}})).await.expect(201);
        assert_eq!(again["token"]["catalog"], catalog(&cloud, admin).await);
        let system = cloud.rescope(admin, json!({"system": {"all": true}})).await;
        assert_eq!(entry(&system.body["token"]["catalog"], "warehouse").unwrap()["endpoints"], json!([]));
        cloud.get(&Token::of(&system), "/identity/v3/auth/catalog").await.keystone(403, "project-scoped");
        cloud.patch(admin, &format!("/identity/v3/services/{service}"), json!({"service": {"enabled": false}})).await.expect(200);
        assert_eq!(entry(&catalog(&cloud, admin).await, "warehouse"), None);
    });
}

#[test]
fn projects_see_the_endpoints_given_to_them() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let service = cloud.make("service", json!({"type": "warehouse"})).await;
        let first = endpoint(&cloud, &service, json!({})).await;
        let second = endpoint(&cloud, &service, json!({"interface": "admin"})).await;
        let shop = cloud.tenant("shop", "reader").await;
        let all = catalog(&cloud, &shop).await;

        let groups = format!("{FILTER}/endpoint_groups");
        let group = |filters: Value| cloud.post(admin, &groups, json!({"endpoint_group": {"name": "g", "filters": filters}}));
        group(json!({})).await.keystone(400, "cannot be empty");
        group(json!({"enabled": true})).await.keystone(400, "service_id or region_id or interface");
        group(json!({"interface": "side"})).await.keystone(400, "interface");
        let made = group(json!({"service_id": service, "interface": "admin"})).await.expect(201)["endpoint_group"].take();
        let group = format!("{groups}/{}", id(&made));
        let link = made["links"]["self"].as_str().unwrap();
        assert!(link.ends_with(&group) && made["description"].is_null(), "{made}");
        let found = cloud.get(admin, &format!("{group}/endpoints")).await.expect(200);
        assert_eq!(sorted(&found["endpoints"], "id"), [second.as_str()]);
        let found = cloud.get(admin, &format!("{groups}?name=g")).await.expect(200);
        assert_eq!(sorted(&found["endpoint_groups"], "id"), [id(&made)]);

        // One endpoint by itself.
        let direct = format!("{FILTER}/projects/{}/endpoints/{first}", shop.project);
        cloud.get(admin, &direct).await.keystone(404, "not found in project");
        cloud.put(admin, &direct, Value::Null).await.expect(204);
        cloud.put(admin, &direct, Value::Null).await.keystone(409, "Duplicate entry");
        cloud.get(admin, &direct).await.expect(204);
        let found = catalog(&cloud, &shop).await;
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        assert_eq!(sorted(&found[0]["endpoints"], "id"), [first.as_str()]);
        assert_eq!(catalog(&cloud, admin).await.as_array().unwrap().len(), all.as_array().unwrap().len());
        let found = cloud.get(admin, &format!("{FILTER}/endpoints/{first}/projects")).await.expect(200);
        assert_eq!(sorted(&found["projects"], "id"), [shop.project.as_str()]);

        // And those of a group.
        let given = format!("{group}/projects/{}", shop.project);
        cloud.get(admin, &given).await.keystone(404, "Association not found");
        cloud.put(admin, &given, Value::Null).await.expect(204);
        cloud.put(admin, &given, Value::Null).await.keystone(409, "project_endpoint_group");
        let found = cloud.get(admin, &given).await.expect(200);
        assert_eq!(found["project_endpoint_group"]["project_id"], json!(shop.project));
        let found = cloud.get(admin, &format!("{FILTER}/projects/{}/endpoints", shop.project)).await.expect(200);
        let mut both = vec![first.clone(), second.clone()];
        both.sort();
        assert_eq!(sorted(&found["endpoints"], "id"), both);
        assert_eq!(sorted(&catalog(&cloud, &shop).await[0]["endpoints"], "id"), both);
        let found = cloud.get(admin, &format!("{FILTER}/projects/{}/endpoint_groups", shop.project)).await.expect(200);
        assert_eq!(sorted(&found["endpoint_groups"], "id"), [id(&made)]);
        let found = cloud.get(admin, &format!("{group}/projects")).await.expect(200);
        assert_eq!(sorted(&found["projects"], "id"), [shop.project.as_str()]);

        // What a group selects follows its filters.
        cloud
            .patch(admin, &group, json!({"endpoint_group": {"filters": {"interface": "internal", "service_id": service}}}))
            .await
            .expect(200);
        assert_eq!(sorted(&catalog(&cloud, &shop).await[0]["endpoints"], "id"), [first.as_str()]);
        cloud.delete(admin, &direct).await.expect(204);
        cloud.delete(admin, &direct).await.keystone(404, "not found in project");
        cloud.delete(admin, &group).await.expect(204);
        cloud.get(admin, &group).await.keystone(404, "Could not find");
        // With nothing given a project sees all.
        assert_eq!(catalog(&cloud, &shop).await, all);
        cloud.put(&shop, &direct, Value::Null).await.keystone(403, "add_endpoint_to_project");
    });
}

#[test]
fn every_resource_of_the_json_home_is_there() {
    on_sqlite(async |world| {
        let cloud = Cloud::start(world).await;
        let asked = Request::new(Method::GET, cloud.url("/identity/v3")).header("accept", "application/json-home");
        let answer = cloud.send(asked).await;
        assert_eq!(answer.header("content-type"), "application/json-home");
        let home = answer.expect(200);
        let resources = home["resources"].as_object().unwrap();
        assert!(resources.len() > 100, "{}", resources.len());
        let mut absent = Vec::new();
        for (relation, resource) in resources {
            let mut path = resource["href"].as_str().or(resource["href-template"].as_str()).unwrap().to_owned();
            for name in resource["href-vars"].as_object().into_iter().flatten().map(|(name, _)| name) {
                path = path.replace(&format!("{{{name}}}"), "x");
            }
            assert!(!path.contains('{'), "{relation}: {path} has a parameter that is not said");
            let answer = cloud.get(&Token::default(), &format!("/identity/v3{path}")).await;
            if answer.body["error"]["message"] == "The resource could not be found." {
                absent.push(path);
            }
        }
        assert_eq!(absent, [""; 0]);
    });
}
