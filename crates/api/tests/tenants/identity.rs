//! Domains, projects, users, roles and who has which.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Cloud, Token, id, sorted};
use crate::world::on_each;

const V3: &str = "/identity/v3";

#[test]
fn a_life_of_each_kind() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        for (singular, body, change) in [
            ("domain", json!({"name": "Bank", "description": "d"}), json!({"enabled": false})),
            ("project", json!({"name": "Finance", "description": "d", "tags": ["a"]}), json!({"description": "other"})),
            ("user", json!({"name": "Ann", "email": "ann@example.org", "description": null}), json!({"email": "a@example.org", "name": "anna"})),
            ("role", json!({"name": "Auditor", "description": "d"}), json!({"description": null})),
        ] {
            let all = format!("{V3}/{singular}s");
            let made = cloud.post(admin, &all, json!({singular: body})).await.expect(201)[singular].take();
            let one = format!("{all}/{}", id(&made));
            assert_eq!(made["links"]["self"], cloud.url(&one));
            for (key, value) in body.as_object().unwrap() {
                assert!(made[key] == *value || (value.is_null() && made.get(key).is_none()), "{key} of {made}");
            }
            if singular != "role" {
                assert_eq!(made["enabled"], true);
            }
            assert!(made.get("password").is_none() && made.get("password_hash").is_none());
            assert_eq!(cloud.get(admin, &one).await.expect(200)[singular], made);
            let name = made["name"].as_str().unwrap().to_ascii_lowercase();
            let listed = cloud.get(admin, &format!("{all}?name={name}")).await.expect(200);
            assert_eq!(listed[format!("{singular}s")], json!([made]), "names are found whatever their case");
            assert_eq!(cloud.get(admin, &format!("{all}?name=nobody")).await.expect(200)[format!("{singular}s")], json!([]));

            // The same name in another case is the same name; its own it may keep.
            let double = json!({singular: {"name": name.to_ascii_uppercase()}});
            cloud.post(admin, &all, double.clone()).await.keystone(409, "Duplicate");
            cloud.patch(admin, &one, double).await.expect(200);
            let changed = cloud.patch(admin, &one, json!({singular: change})).await.expect(200)[singular].take();
            for (key, value) in change.as_object().unwrap() {
                assert_eq!(changed[key], *value, "{changed}");
            }
            assert_eq!(cloud.get(admin, &one).await.expect(200)[singular], changed);
            cloud.delete(admin, &one).await.expect(204);
            cloud.get(admin, &one).await.keystone(404, "could not be found");
            cloud.delete(admin, &one).await.keystone(404, "could not be found");
            cloud.patch(admin, &one, json!({singular: change})).await.keystone(404, "could not be found");
            cloud.post(admin, &all, json!({singular: {"name": name}})).await.expect(201);
        }
    });
}

#[test]
fn bad_input_changes_nothing() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let before = cloud.get(admin, &format!("{V3}/projects")).await.text;
        let long = "x".repeat(256);
        for (singular, body) in [
            ("project", json!({})),
            ("project", json!({"name": null})),
            ("project", json!({"name": ""})),
            ("project", json!({"name": "  "})),
            ("project", json!({"name": 7})),
            ("project", json!({"name": "a\0b"})),
            ("project", json!({"name": long})),
            ("project", json!({"name": "new", "colour": "red"})),
            ("project", json!({"name": "new", "enabled": "perhaps"})),
            ("project", json!({"name": "new", "is_domain": true})),
            ("project", json!({"name": "new", "parent_id": project})),
            ("project", json!({"name": "new", "domain_id": "a/b"})),
            ("project", json!({"name": "new", "tags": "a"})),
            ("project", json!({"name": "new", "options": {"immutable": true}})),
            ("user", json!({"name": "new", "password": 5})),
            ("user", json!({"name": "new", "password": "x".repeat(73)})),
            ("user", json!({"name": "new", "default_project_id": {}})),
            ("user", json!({"name": "new", "roles": ["admin"]})),
            ("role", json!({"name": "new", "description": long})),
            ("domain", json!({"name": "new", "description": []})),
        ] {
            let answer = cloud.post(admin, &format!("{V3}/{singular}s"), json!({singular: body})).await;
            assert_eq!(answer.body["error"]["code"], 400, "{singular} {body}: {}", answer.text);
            answer.expect(400);
        }
        for body in [json!({}), json!([]), json!({"user": {"name": "new"}}), json!({"project": []}), Value::Null] {
            cloud.post(admin, &format!("{V3}/projects"), body.clone()).await.expect(400);
            cloud.patch(admin, &format!("{V3}/projects/{project}"), body).await.expect(400);
        }
        cloud.post(admin, &format!("{V3}/projects"), json!({"project": {"name": "new", "domain_id": "nowhere"}})).await.keystone(404, "nowhere");
        for change in [json!({"name": ""}), json!({"domain_id": "other"}), json!({"colour": "red"}), json!({"enabled": 3})] {
            cloud.patch(admin, &format!("{V3}/projects/{project}"), json!({"project": change})).await.keystone(400, "");
        }
        assert_eq!(cloud.get(admin, &format!("{V3}/projects")).await.text, before);
        assert_eq!(cloud.get(admin, &format!("{V3}/users?name=new")).await.expect(200)["users"], json!([]));
        // Odd addresses.
        for path in ["projects/%00", "projects/%ff", "projects?domain_id=%00", "projects/a%2Fb", "projects/%20", "users/%E2%82%AC"] {
            let answer = cloud.get(admin, &format!("{V3}/{path}")).await;
            assert!([400, 404].contains(&answer.status) && answer.body["error"]["code"] == answer.status, "{path}: {}", answer.text);
        }
    });
}

#[test]
fn a_domain_in_use_stays() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let domain = cloud.make("domain", json!({"name": "bank"})).await;
        let path = format!("{V3}/domains/{domain}");
        let user = cloud.make("user", json!({"name": "admin", "domain_id": domain})).await;
        cloud.delete(admin, &path).await.keystone(403, "disable");
        cloud.patch(admin, &path, json!({"domain": {"enabled": false}})).await.expect(200);
        cloud.delete(admin, &path).await.keystone(409, "in use");
        let found = cloud.get(admin, &format!("{V3}/users?name=admin&domain_id={domain}")).await.expect(200);
        assert_eq!(sorted(&found["users"], "id"), [user.clone()]);
        cloud.delete(admin, &format!("{V3}/users/{user}")).await.expect(204);
        cloud.delete(admin, &path).await.expect(204);
    });
}

#[test]
fn sixteen_at_once_make_one() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        for singular in ["project", "domain", "role", "user"] {
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..16 {
                let cloud = Arc::clone(&cloud);
                let name = if n % 2 == 0 { "Finance" } else { "fINANCE" };
                tasks.spawn(async move { cloud.post(&cloud.admin, &format!("{V3}/{singular}s"), json!({singular: {"name": name}})).await });
            }
            let answers = tasks.join_all().await;
            let mut statuses: Vec<u16> = answers.iter().map(|it| it.status).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [[201].as_slice(), &[409; 15]].concat(), "{singular}");
            assert!(answers.iter().filter(|it| it.status == 409).all(|it| it.body["error"]["title"] == "Conflict"));
            let listed = cloud.get(&cloud.admin, &format!("{V3}/{singular}s?name=finance")).await.expect(200);
            assert_eq!(listed[format!("{singular}s")].as_array().unwrap().len(), 1, "{singular}");
        }
    });
}

#[test]
fn changes_at_once_all_count() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let changes = [json!({"description": "new"}), json!({"enabled": false}), json!({"tags": ["a"]}), json!({"name": "other"})];
        let mut tasks = tokio::task::JoinSet::new();
        for change in changes {
            let (cloud, path) = (Arc::clone(&cloud), format!("{V3}/projects/{project}"));
            tasks.spawn(async move { cloud.patch(&cloud.admin, &path, json!({"project": change})).await.status });
        }
        assert_eq!(tasks.join_all().await, [200; 4]);
        let shown = cloud.get(&cloud.admin, &format!("{V3}/projects/{project}")).await.expect(200)["project"].take();
        assert_eq!(
            (&shown["description"], &shown["enabled"], &shown["tags"], &shown["name"]),
            (&json!("new"), &json!(false), &json!(["a"]), &json!("other"))
        );
    });
}

#[test]
fn roles_given_and_taken() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let user = cloud.make("user", json!({"name": "ann"})).await;
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let domain = cloud.make("domain", json!({"name": "bank"})).await;
        let role = cloud.make("role", json!({"name": "auditor"})).await;
        let targets = [
            (format!("projects/{project}"), "project", format!("scope.project.id={project}")),
            (format!("domains/{domain}"), "domain", format!("scope.domain.id={domain}")),
            ("system".to_owned(), "system", "scope.system=all".to_owned()),
        ];
        for (target, key, filter) in &targets {
            let roles = format!("{V3}/{target}/users/{user}/roles");
            let one = format!("{roles}/{role}");
            assert_eq!(cloud.ask(admin, Method::HEAD, &one, &Value::Null).await.status, 404);
            for _ in 0..2 {
                cloud.put(admin, &one, Value::Null).await.expect(204);
            }
            assert_eq!(cloud.ask(admin, Method::HEAD, &one, &Value::Null).await.status, 204);
            assert_eq!(sorted(&cloud.get(admin, &roles).await.expect(200)["roles"], "name"), ["auditor"]);
            let listed = cloud.get(admin, &format!("{V3}/role_assignments?user.id={user}&{filter}&include_names=True")).await.expect(200);
            let [given] = listed["role_assignments"].as_array().unwrap().as_slice() else { panic!("{listed}") };
            assert_eq!((&given["user"]["name"], &given["user"]["domain"]["name"]), (&json!("ann"), &json!("Default")));
            assert_eq!((&given["role"]["name"], given["scope"].get(*key).is_some()), (&json!("auditor"), true), "{given}");
        }
        let by = |filter: String| format!("{V3}/role_assignments?{filter}");
        let count = async |filter: String| cloud.get(admin, &by(filter)).await.expect(200)["role_assignments"].as_array().unwrap().len();
        assert_eq!((count(format!("role.id={role}")).await, count("user.id=nobody".into()).await, count("group.id=x".into()).await), (3, 0, 0));
        let (target, ..) = &targets[0];
        let one = format!("{V3}/{target}/users/{user}/roles/{role}");
        cloud.delete(admin, &one).await.expect(204);
        cloud.delete(admin, &one).await.keystone(404, "");
        for wrong in [
            format!("projects/none/users/{user}/roles/{role}"),
            format!("projects/{project}/users/none/roles/{role}"),
            format!("projects/{project}/users/{user}/roles/none"),
            format!("system/users/{user}/roles/none"),
        ] {
            cloud.put(admin, &format!("{V3}/{wrong}"), Value::Null).await.keystone(404, "none");
        }
        cloud.delete(admin, &format!("{V3}/roles/{role}")).await.expect(204);
        assert_eq!(count(format!("user.id={user}")).await, 0, "what was given of a role goes with it");
    });
}

#[test]
fn who_is_no_administrator_sees_itself_alone() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let other = cloud.make("project", json!({"name": "medical"})).await;
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let user = cloud.make("user", json!({"name": "ann", "password": "secret"})).await;
        let path = format!("{V3}/projects/{project}/users/{user}/roles/{}", cloud.role("manager").await);
        cloud.put(&cloud.admin, &path, Value::Null).await.expect(204);
        let ann = Token::of(&cloud.login("ann", "secret", Some(json!({"project": {"id": project}}))).await);
        for path in [format!("projects/{project}"), format!("users/{user}"), "domains/default".into(), "services".into(), format!("users/{user}/projects")] {
            cloud.get(&ann, &format!("{V3}/{path}")).await.expect(200);
        }
        for path in [format!("projects/{other}"), format!("users/{}", cloud.admin.user), format!("users/{}/projects", cloud.admin.user)] {
            cloud.get(&ann, &format!("{V3}/{path}")).await.keystone(404, "");
        }
        for path in ["projects", "users", "domains", "roles", "role_assignments"] {
            cloud.get(&ann, &format!("{V3}/{path}")).await.keystone(403, "admin");
        }
        for singular in ["project", "user", "domain", "role"] {
            cloud.post(&ann, &format!("{V3}/{singular}s"), json!({singular: {"name": "new"}})).await.keystone(403, "admin");
        }
        cloud.patch(&ann, &format!("{V3}/users/{user}"), json!({"user": {"enabled": false}})).await.keystone(403, "admin");
        cloud.delete(&ann, &format!("{V3}/projects/{project}")).await.keystone(403, "admin");
        let grant = format!("{V3}/projects/{project}/users/{user}/roles/{}", cloud.role("admin").await);
        cloud.put(&ann, &grant, Value::Null).await.keystone(403, "admin");
        let elsewhere = format!("{V3}/projects/{other}/users/{user}/roles/{}", cloud.role("reader").await);
        cloud.put(&ann, &elsewhere, Value::Null).await.keystone(403, "admin");
    });
}
