//! Registered limits and limits.

use serde_json::{Value, json};

use crate::support::{Cloud, Token, id, sorted};
use crate::world::on_each;

const REGISTERED: &str = "/identity/v3/registered_limits";
const LIMITS: &str = "/identity/v3/limits";

struct Place {
    service: String,
    region: String,
}

async fn place(cloud: &Cloud) -> Place {
    let service = cloud.make("service", json!({"type": "warehouse", "name": "w"})).await;
    let region = cloud.make("region", json!({"id": "north"})).await;
    Place { service, region }
}

async fn register(cloud: &Cloud, limits: Value) -> Vec<Value> {
    let made = cloud.post(&cloud.admin, REGISTERED, json!({ "registered_limits": limits })).await.expect(201);
    made["registered_limits"].as_array().unwrap().clone()
}

#[test]
fn registered_limits() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let reader = cloud.tenant("shop", "reader").await;
        let Place { service, region } = place(&cloud).await;
        let made = register(
            &cloud,
            json!([
                {"service_id": service, "region_id": region, "resource_name": "box", "default_limit": 10},
                {"service_id": service, "resource_name": "box", "default_limit": -1, "description": "d"},
            ]),
        )
        .await;
        let path = format!("{REGISTERED}/{}", id(&made[0]));
        let shown = json!({
            "id": made[0]["id"], "service_id": service, "region_id": region, "resource_name": "box", "default_limit": 10,
            "description": null, "links": {"self": cloud.url(&path)},
        });
        assert_eq!(made[0], shown);
        // Whoever has a token sees them.
        assert_eq!(cloud.get(&reader, &path).await.expect(200)["registered_limit"], shown);
        let found =
            async |query: &str| sorted(&cloud.get(&reader, &format!("{REGISTERED}?{query}")).await.expect(200)["registered_limits"], "id");
        let ids = |of: &[&Value]| {
            let mut ids: Vec<String> = of.iter().map(|it| id(it).to_owned()).collect();
            ids.sort();
            ids
        };
        assert_eq!(found(&format!("service_id={service}")).await, ids(&[&made[0], &made[1]]));
        assert_eq!(found(&format!("region_id={region}&resource_name=box")).await, ids(&[&made[0]]));
        assert!(found("resource_name=crate").await.is_empty());

        let post = async |limits: Value| cloud.post(&cloud.admin, REGISTERED, json!({ "registered_limits": limits })).await;
        let crates = |limit: i64| json!({"service_id": service, "resource_name": "crate", "default_limit": limit});
        post(json!([crates(1), crates(2)])).await.keystone(409, "attempting to store registered_limit - Duplicate entry.");
        let taken = json!({"service_id": service, "resource_name": "BOX", "default_limit": 1});
        post(json!([crates(1), taken])).await.keystone(409, "Duplicate entry.");
        assert!(found("resource_name=crate").await.is_empty(), "all or none");
        let nowhere = json!({"service_id": service, "region_id": "nowhere", "resource_name": "crate", "default_limit": 1});
        post(json!([nowhere])).await.keystone(400, "Expecting to find region_id in registered_limit");
        let nobody = json!({"service_id": "0123456789abcdef0123456789abcdef", "resource_name": "crate", "default_limit": 1});
        post(json!([nobody])).await.keystone(400, "Expecting to find service_id in registered_limit");
        post(json!([crates(-2)])).await.keystone(400, "-2 is less than the minimum of -1");
        post(json!([])).await.keystone(400, "should be non-empty");
        cloud.post(&reader, REGISTERED, json!({"registered_limits": [crates(1)]})).await.keystone(403, "identity:create_registered_limits");

        let change = async |body: Value| cloud.patch(&cloud.admin, &path, json!({ "registered_limit": body })).await;
        assert_eq!(change(json!({"default_limit": 7})).await.expect(200)["registered_limit"]["default_limit"], 7);
        change(json!({"region_id": null})).await.keystone(409, "Duplicate entry");
        change(json!({"service_id": "0123456789abcdef0123456789abcdef"})).await.keystone(400, "Expecting to find service_id");
        assert_eq!(change(json!({"resource_name": "crate"})).await.expect(200)["registered_limit"]["resource_name"], "crate");
        // The old name is free again.
        register(&cloud, json!([{"service_id": service, "region_id": region, "resource_name": "box", "default_limit": 1}])).await;
        cloud.delete(&reader, &path).await.keystone(403, "identity:delete_registered_limit");
        cloud.delete(&cloud.admin, &path).await.expect(204);
        cloud.get(&cloud.admin, &path).await.keystone(404, "Could not find");
    });
}

#[test]
fn limits_depart_from_registered_ones() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let Place { service, region } = place(&cloud).await;
        let usual = register(
            &cloud,
            json!([
                {"service_id": service, "region_id": region, "resource_name": "box", "default_limit": 10},
                {"service_id": service, "resource_name": "crate", "default_limit": 10},
            ]),
        )
        .await;
        let domain = cloud.make("domain", json!({"name": "guild"})).await;
        let project = cloud.make("project", json!({"name": "shop", "domain_id": domain})).await;
        let reader = cloud.join(&project, "reader").await;
        let other = cloud.tenant("other", "member").await;
        let post = async |limit: Value| cloud.post(&cloud.admin, LIMITS, json!({"limits": [limit]})).await;
        let boxes = |who: &str, whose: &str| json!({who: whose, "service_id": service, "region_id": region, "resource_name": "box", "resource_limit": 5});
        let made = post(boxes("project_id", &project)).await.expect(201)["limits"][0].take();
        let path = format!("{LIMITS}/{}", id(&made));
        let shown = json!({
            "id": made["id"], "project_id": project, "domain_id": null, "service_id": service, "region_id": region, "resource_name": "box",
            "resource_limit": 5, "description": null, "links": {"self": cloud.url(&path)},
        });
        assert_eq!(made, shown);
        let crates = json!({"domain_id": domain, "service_id": service, "resource_name": "crate", "resource_limit": 6, "description": "x"});
        let of_domain = post(crates.clone()).await.expect(201)["limits"][0].take();
        assert_eq!((&of_domain["domain_id"], &of_domain["project_id"]), (&json!(domain), &Value::Null));

        post(boxes("project_id", &project)).await.keystone(409, "Conflict occurred attempting to store limit - Duplicate entry.");
        // A domain in the place of a project is a domain.
        let mut again = crates.clone();
        again.as_object_mut().unwrap().remove("domain_id");
        again["project_id"] = json!(domain);
        post(again).await.keystone(409, "Duplicate entry.");
        let mut unknown = crates.clone();
        unknown["resource_name"] = json!("jar");
        post(unknown).await.keystone(403, "no corresponding registered limit");
        post(boxes("project_id", "nobody")).await.keystone(400, "Expecting to find project_id in limit");
        post(boxes("domain_id", "nobody")).await.keystone(400, "Expecting to find domain_id in limit");
        let mut both = crates;
        both["project_id"] = json!(project);
        post(both).await.keystone(400, "is valid under each of");
        cloud.post(&other, LIMITS, json!({"limits": [boxes("project_id", &project)]})).await.keystone(403, "identity:create_limits");

        let mut guild = Token::default();
        {
            let grant = format!("/identity/v3/domains/{domain}/users/{}/roles/{}", cloud.admin.user, cloud.role("reader").await);
            cloud.put(&cloud.admin, &grant, Value::Null).await.expect(204);
            guild.text = Token::of(&cloud.rescope(&cloud.admin, json!({"domain": {"id": domain}})).await).text;
        }
        let listed = async |by: &Token, query: &str| {
            sorted(&cloud.get(by, &format!("{LIMITS}{query}")).await.expect(200)["limits"], "resource_name")
        };
        assert_eq!(listed(&cloud.admin, "").await, ["box", "crate"]);
        assert_eq!(listed(&cloud.admin, &format!("?region_id={region}")).await, ["box"]);
        assert_eq!(listed(&cloud.admin, &format!("?service_id={service}&domain_id={domain}")).await, ["crate"]);
        assert_eq!(listed(&cloud.admin, &format!("?project_id={project}")).await, ["box"]);
        assert_eq!(listed(&reader, "").await, ["box"]);
        assert_eq!(listed(&guild, "").await, ["box", "crate"]);
        assert!(listed(&other, "").await.is_empty());
        assert!(listed(&other, &format!("?project_id={project}")).await.is_empty());
        for by in [&reader, &guild, &cloud.admin] {
            assert_eq!(cloud.get(by, &path).await.expect(200)["limit"], shown);
        }
        cloud.get(&other, &path).await.keystone(403, "identity:get_limit");
        cloud.get(&reader, &format!("{LIMITS}/{}", id(&of_domain))).await.keystone(403, "identity:get_limit");
        cloud.get(&cloud.admin, &format!("{LIMITS}/nothing")).await.keystone(404, "Could not find limit");
        assert_eq!(cloud.get(&other, &format!("{LIMITS}/model")).await.expect(200)["model"]["name"], "flat");

        let change = async |body: Value| cloud.patch(&cloud.admin, &path, json!({ "limit": body })).await;
        let changed = change(json!({"resource_limit": 0, "description": "none"})).await.expect(200);
        assert_eq!((&changed["limit"]["resource_limit"], &changed["limit"]["resource_name"]), (&json!(0), &json!("box")));
        change(json!({"service_id": service})).await.keystone(400, "'service_id' was unexpected");
        cloud.patch(&reader, &path, json!({"limit": {"resource_limit": 9}})).await.keystone(403, "identity:update_limit");

        let registered = format!("{REGISTERED}/{}", id(&usual[0]));
        let words = "because there are project limits associated with it";
        cloud.patch(&cloud.admin, &registered, json!({"registered_limit": {"default_limit": 1}})).await.keystone(403, words);
        cloud.delete(&cloud.admin, &registered).await.keystone(403, words);
        cloud.delete(&cloud.admin, &path).await.expect(204);
        cloud.delete(&cloud.admin, &registered).await.expect(204);
        // A project's limits go with it; then it may have one again.
        cloud.delete(&cloud.admin, &format!("/identity/v3/projects/{project}")).await.expect(204);
        assert_eq!(listed(&cloud.admin, "").await, ["crate"]);
    });
}
