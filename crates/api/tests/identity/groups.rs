//! Groups and who is in them.

use http::Method;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::grants::{call, get, is_valid, logged_in, made, put, role, tenant};
use crate::world::{on_each, on_sqlite};

const V3: &str = "/identity/v3";

#[test]
fn groups_are_made_changed_and_found() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (acme, ..) = tenant(&desk, "acme").await;
        let id = made(&desk, "group", json!({"name": " staff ", "domain_id": acme, "colour": "red"})).await;
        let path = format!("{V3}/groups/{id}");
        let shown = get(&desk, &format!("groups/{id}")).await["group"].take();
        assert_eq!((&shown["name"], &shown["description"], &shown["domain_id"]), (&json!("staff"), &json!(""), &json!(acme)));
        assert_eq!(shown["colour"], "red");
        made(&desk, "group", json!({"name": "staff"})).await;
        let again = json!({"group": {"name": "Staff", "domain_id": acme}});
        desk.post(&desk.admin, &format!("{V3}/groups"), again).await.refused(409, "Duplicate entry");
        let nowhere = json!({"group": {"name": "x", "domain_id": "nowhere"}});
        desk.post(&desk.admin, &format!("{V3}/groups"), nowhere).await.refused(404, "Could not find domain: nowhere.");
        let body = json!({"group": {"name": "crew", "description": "all"}});
        let shown = desk.patch(&desk.admin, &path, body).await.expect(200)["group"].take();
        assert_eq!((&shown["name"], &shown["description"], &shown["colour"]), (&json!("crew"), &json!("all"), &json!("red")));
        assert_eq!(desk.patch(&desk.admin, &path, json!({"group": {"domain_id": "default"}})).await.status.as_u16(), 400);
        for (query, count) in
            [(format!("domain_id={acme}"), 1), ("name=staff".into(), 1), ("name__contains=re".into(), 1), (String::new(), 2)]
        {
            let found = get(&desk, &format!("groups?{query}")).await;
            assert_eq!(found["groups"].as_array().unwrap().len(), count, "{query}");
        }
        desk.delete(&desk.admin, &path).await.expect(204);
        desk.get(&desk.admin, &path).await.refused(404, "Could not find group");
        made(&desk, "group", json!({"name": "crew", "domain_id": acme})).await;
    });
}

#[test]
fn members_come_and_go() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (acme, project, user) = tenant(&desk, "acme").await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": acme})).await;
        let one = format!("groups/{group}/users/{user}");
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(call(&desk, &desk.admin, method, &one).await.status.as_u16(), 404);
        }
        assert_eq!((put(&desk, &one).await, put(&desk, &one).await), (204, 204), "twice is once");
        call(&desk, &desk.admin, Method::HEAD, &one).await.expect(204);
        call(&desk, &desk.admin, Method::GET, &one).await.expect(204);
        let users = get(&desk, &format!("groups/{group}/users")).await;
        assert_eq!((&users["users"][0]["id"], &users["users"][0]["name"]), (&json!(user), &json!("acme")));
        assert!(users["links"]["self"].as_str().unwrap().ends_with(&format!("/identity/v3/groups/{group}/users")));
        assert_eq!(get(&desk, &format!("groups/{group}/users?name=other")).await["users"], json!([]));
        let groups = get(&desk, &format!("users/{user}/groups")).await;
        assert_eq!((&groups["groups"][0]["id"], &groups["groups"][0]["membership_expires_at"]), (&json!(group), &Value::Null));
        for wrong in [format!("groups/{group}/users/nobody"), format!("groups/nothing/users/{user}")] {
            for method in [Method::PUT, Method::HEAD, Method::DELETE] {
                assert_eq!(call(&desk, &desk.admin, method, &wrong).await.status.as_u16(), 404);
            }
        }
        let member = role(&desk, "member").await;
        assert_eq!(put(&desk, &format!("projects/{project}/groups/{group}/roles/{member}")).await, 204);
        let who = logged_in(&desk, &user, json!({"project": {"id": project}})).await;
        // One may see one's own groups.
        call(&desk, &who, Method::GET, &format!("users/{user}/groups")).await.expect(200);
        assert_eq!(call(&desk, &who, Method::GET, "groups").await.status.as_u16(), 403);
        assert_eq!(call(&desk, &who, Method::PUT, &one).await.status.as_u16(), 403);
        assert_eq!(call(&desk, &who, Method::GET, "groups/nothing").await.status.as_u16(), 403);
        call(&desk, &desk.admin, Method::DELETE, &one).await.expect(204);
        assert!(!is_valid(&desk, &who).await, "what the group gave is gone with it");
    });
}

#[test]
fn a_group_that_goes_takes_its_roles_along() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let (acme, project, user) = tenant(&desk, "acme").await;
        let [member, reader] = [role(&desk, "member").await, role(&desk, "reader").await];
        assert_eq!(put(&desk, &format!("projects/{project}/users/{user}/roles/{reader}")).await, 204);
        let scope = json!({"project": {"id": project}});
        let group = async |name: &str, with_role: bool| {
            let id = made(&desk, "group", json!({"name": name, "domain_id": acme})).await;
            assert_eq!(put(&desk, &format!("groups/{id}/users/{user}")).await, 204);
            if with_role {
                assert_eq!(put(&desk, &format!("projects/{project}/groups/{id}/roles/{member}")).await, 204);
            }
            id
        };
        let (idle, staff) = (group("idle", false).await, group("staff", true).await);
        let who = logged_in(&desk, &user, scope).await;
        call(&desk, &desk.admin, Method::DELETE, &format!("groups/{idle}")).await.expect(204);
        assert!(is_valid(&desk, &who).await, "nothing was lost");
        call(&desk, &desk.admin, Method::DELETE, &format!("groups/{staff}")).await.expect(204);
        assert!(!is_valid(&desk, &who).await);
        assert_eq!(get(&desk, &format!("users/{user}/groups")).await["groups"], json!([]));
        assert_eq!(get(&desk, &format!("role_assignments?group.id={staff}")).await["role_assignments"], json!([]));
    });
}

#[test]
fn managers_of_a_domain_keep_its_groups() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let (acme, _, boss) = tenant(&desk, "acme").await;
        let (umbrella, _, stranger) = tenant(&desk, "umbrella").await;
        let theirs = made(&desk, "group", json!({"name": "staff", "domain_id": umbrella})).await;
        let manager = role(&desk, "manager").await;
        assert_eq!(put(&desk, &format!("domains/{acme}/users/{boss}/roles/{manager}")).await, 204);
        let who = logged_in(&desk, &boss, json!({"domain": {"id": acme}})).await;
        // The rule is asked about the body as it came, as upstream: one that names no domain is none of the manager's.
        assert_eq!(desk.post(&who, &format!("{V3}/groups"), json!({"group": {"name": "staff"}})).await.status, 403);
        let made = desk.post(&who, &format!("{V3}/groups"), json!({"group": {"name": "staff", "domain_id": acme}})).await.expect(201);
        let own = made["group"]["id"].as_str().unwrap().to_owned();
        let elsewhere = json!({"group": {"name": "x", "domain_id": umbrella}});
        assert_eq!(desk.post(&who, &format!("{V3}/groups"), elsewhere).await.status.as_u16(), 403);
        let listed = call(&desk, &who, Method::GET, "groups").await.expect(200);
        assert_eq!(listed["groups"].as_array().unwrap().len(), 1);
        let member = format!("groups/{own}/users/{boss}");
        for method in [Method::PUT, Method::HEAD] {
            call(&desk, &who, method, &member).await.expect(204);
        }
        for path in [format!("groups/{own}/users/{stranger}"), format!("groups/{theirs}/users/{boss}"), format!("groups/{theirs}")] {
            assert_eq!(call(&desk, &who, Method::DELETE, &path).await.status.as_u16(), 403, "{path}");
        }
        call(&desk, &who, Method::DELETE, &format!("groups/{own}")).await.expect(204);
    });
}

/// A domain goes with what is in it, however that hangs together.
#[test]
fn domains_go_with_their_groups_roles_and_grants() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (acme, project, user) = tenant(&desk, "acme").await;
        let group = made(&desk, "group", json!({"name": "staff", "domain_id": acme})).await;
        let own = made(&desk, "role", json!({"name": "own", "domain_id": acme})).await;
        let member = role(&desk, "member").await;
        assert_eq!(put(&desk, &format!("groups/{group}/users/{user}")).await, 204);
        for role in [&own, &member] {
            for actor in [format!("users/{user}"), format!("groups/{group}")] {
                for target in [format!("projects/{project}"), format!("domains/{acme}")] {
                    assert_eq!(put(&desk, &format!("{target}/{actor}/roles/{role}")).await, 204);
                }
            }
        }
        let before = get(&desk, "role_assignments").await["role_assignments"].as_array().unwrap().len();
        desk.patch(&desk.admin, &format!("{V3}/domains/{acme}"), json!({"domain": {"enabled": false}})).await.expect(200);
        call(&desk, &desk.admin, Method::DELETE, &format!("domains/{acme}")).await.expect(204);
        let after = get(&desk, "role_assignments").await["role_assignments"].as_array().unwrap().len();
        assert_eq!(before - after, 8);
        assert_eq!(put(&desk, &format!("roles/{own}/implies/{member}")).await, 404);
    });
}
