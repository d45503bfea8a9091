//! Roles, those of domains too, and what they imply.

use http::Method;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::grants::{call, get, is_valid, logged_in, made, put, role, tenant};
use crate::world::{on_each, on_sqlite};

const V3: &str = "/identity/v3";

fn names(body: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = body["roles"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn names_are_unique_per_domain() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (acme, ..) = tenant(&desk, "acme").await;
        let own = made(&desk, "role", json!({"name": "auditor", "domain_id": acme})).await;
        let global = made(&desk, "role", json!({"name": "auditor", "description": "looks", "colour": "red"})).await;
        for domain in [json!(acme), Value::Null] {
            let body = json!({"role": {"name": "Auditor", "domain_id": domain}});
            desk.post(&desk.admin, &format!("{V3}/roles"), body).await.refused(409, "Duplicate entry");
        }
        let shown = get(&desk, &format!("roles/{own}")).await["role"].take();
        assert_eq!((&shown["domain_id"], &shown["description"], &shown["options"]), (&json!(acme), &Value::Null, &json!({})));
        let shown = get(&desk, &format!("roles/{global}")).await["role"].take();
        assert_eq!((&shown["domain_id"], &shown["description"], &shown["colour"]), (&Value::Null, &json!("looks"), &json!("red")));
        assert!(shown["links"]["self"].as_str().unwrap().ends_with(&format!("/identity/v3/roles/{global}")));
        // A list is of one domain's own roles or of everybody's.
        assert_eq!(names(&get(&desk, &format!("roles?domain_id={acme}")).await), ["auditor"]);
        assert_eq!(get(&desk, "roles?name=auditor").await["roles"][0]["id"], json!(global));
        assert_eq!(names(&get(&desk, "roles").await), ["admin", "auditor", "manager", "member", "reader", "service"]);
        let body = json!({"role": {"domain_id": acme}});
        desk.patch(&desk.admin, &format!("{V3}/roles/{global}"), body).await.refused(400, "Update of `domain_id` is not allowed.");
        let body = json!({"role": {"name": "x", "domain_id": "nowhere"}});
        desk.post(&desk.admin, &format!("{V3}/roles"), body).await.refused(404, "Could not find domain: nowhere.");
        // A name that was given up can be had again.
        desk.patch(&desk.admin, &format!("{V3}/roles/{global}"), json!({"role": {"name": "checker"}})).await.expect(200);
        made(&desk, "role", json!({"name": "auditor"})).await;
        call(&desk, &desk.admin, Method::GET, "roles/nothing").await.refused(404, "Could not find role: nothing.");
    });
}

#[test]
fn immutable_roles_stay() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let id = made(&desk, "role", json!({"name": "auditor", "options": {"immutable": true}})).await;
        let path = format!("{V3}/roles/{id}");
        desk.patch(&desk.admin, &path, json!({"role": {"description": "x"}})).await.refused(403, "immutable");
        desk.delete(&desk.admin, &path).await.refused(403, "immutable");
        let shown = desk.patch(&desk.admin, &path, json!({"role": {"options": {"immutable": false}}})).await.expect(200);
        assert_eq!(shown["role"]["options"], json!({"immutable": false}));
        desk.delete(&desk.admin, &path).await.expect(204);
    });
}

#[test]
fn one_role_implies_another() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (acme, ..) = tenant(&desk, "acme").await;
        let one = made(&desk, "role", json!({"name": "one"})).await;
        let two = made(&desk, "role", json!({"name": "two"})).await;
        let own = made(&desk, "role", json!({"name": "own", "domain_id": acme})).await;
        let path = format!("roles/{one}/implies/{two}");
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(call(&desk, &desk.admin, method, &path).await.status.as_u16(), 404);
        }
        let made = call(&desk, &desk.admin, Method::PUT, &path).await.expect(201);
        assert_eq!(made["role_inference"]["prior_role"]["name"], "one");
        assert_eq!((&made["role_inference"]["implies"]["id"], &made["role_inference"]["implies"]["name"]), (&json!(two), &json!("two")));
        assert!(made["links"]["self"].as_str().unwrap().ends_with(&path));
        call(&desk, &desk.admin, Method::PUT, &path).await.refused(409, "Duplicate entry");
        assert_eq!(call(&desk, &desk.admin, Method::GET, &path).await.expect(200), made);
        call(&desk, &desk.admin, Method::HEAD, &path).await.expect(204);
        let all = get(&desk, &format!("roles/{one}/implies")).await;
        assert_eq!(all["role_inference"]["implies"], json!([made["role_inference"]["implies"]]));
        let rules = get(&desk, "role_inferences").await;
        let rules = rules["role_inferences"].as_array().unwrap();
        assert_eq!(rules.len(), 4, "three the installation has, and this one");
        assert!(rules.iter().any(|it| it["prior_role"]["name"] == "one" && it["implies"][0]["name"] == "two"));
        let admin = role(&desk, "admin").await;
        for implied in [&admin, &own] {
            let path = format!("roles/{one}/implies/{implied}");
            call(&desk, &desk.admin, Method::PUT, &path).await.refused(403, "cannot be an implied role");
        }
        assert_eq!(put(&desk, &format!("roles/{own}/implies/{one}")).await, 201);
        assert_eq!(put(&desk, &format!("roles/{one}/implies/{one}")).await, 201);
        assert_eq!(put(&desk, &format!("roles/{two}/implies/{one}")).await, 201, "round a circle");
        assert_eq!(put(&desk, &format!("roles/{one}/implies/nothing")).await, 404);
        call(&desk, &desk.admin, Method::DELETE, &path).await.expect(204);
        // With a role goes what it implies and is implied by.
        call(&desk, &desk.admin, Method::DELETE, &format!("roles/{one}")).await.expect(204);
        assert_eq!(get(&desk, "role_inferences").await["role_inferences"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn a_role_that_goes_is_nobodys() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (_, project, user) = tenant(&desk, "acme").await;
        let auditor = made(&desk, "role", json!({"name": "auditor"})).await;
        assert_eq!(put(&desk, &format!("projects/{project}/users/{user}/roles/{auditor}")).await, 204);
        let scope = json!({"project": {"id": project}});
        let alone = logged_in(&desk, &user, scope.clone()).await;
        assert!(is_valid(&desk, &alone).await);
        call(&desk, &desk.admin, Method::DELETE, &format!("roles/{auditor}")).await.expect(204);
        assert!(!is_valid(&desk, &alone).await, "without a role there is no such token");
        assert_eq!(get(&desk, &format!("role_assignments?user.id={user}")).await["role_assignments"], json!([]));
    });
}

#[test]
fn application_credentials_go_with_a_role_of_their_owner() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let (_, project, user) = tenant(&desk, "acme").await;
        let auditor = made(&desk, "role", json!({"name": "auditor"})).await;
        let member = role(&desk, "member").await;
        for role in [&auditor, &member] {
            assert_eq!(put(&desk, &format!("projects/{project}/users/{user}/roles/{role}")).await, 204);
        }
        let who = logged_in(&desk, &user, json!({"project": {"id": project}})).await;
        let path = format!("{V3}/users/{user}/application_credentials");
        let body = json!({"application_credential": {"name": "robot", "roles": [{"id": member}]}});
        desk.call(&who, Method::POST, &path, &[], Some(body)).await.expect(201);
        call(&desk, &desk.admin, Method::DELETE, &format!("roles/{auditor}")).await.expect(204);
        let left = desk.call(&who, Method::GET, &path, &[], None).await.expect(200);
        assert_eq!(left["application_credentials"], json!([]));
    });
}
