//! Roles given to users on projects, domains and the system.

use http::Method;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::world::on_each;
use crate::{each, head, text};

async fn made(desk: &Desk, plural: &str, body: Value) -> String {
    let body = desk.post(&desk.admin, &format!("/identity/v3/{plural}"), body).await.expect(201);
    text(body.as_object().unwrap().values().next().unwrap(), "/id").to_owned()
}

async fn put(desk: &Desk, path: &str) -> u16 {
    desk.call(&desk.admin, Method::PUT, path, &[], None).await.status.as_u16()
}

#[test]
fn given_checked_listed_taken() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let user = made(&desk, "users", json!({"user": {"name": "ann"}})).await;
        let project = made(&desk, "projects", json!({"project": {"name": "finance"}})).await;
        let domain = made(&desk, "domains", json!({"domain": {"name": "tenants"}})).await;
        let role = made(&desk, "roles", json!({"role": {"name": "auditor"}})).await;
        for target in [format!("projects/{project}"), format!("domains/{domain}"), "system".to_owned()] {
            let all = format!("/identity/v3/{target}/users/{user}/roles");
            let one = format!("{all}/{role}");
            assert_eq!(desk.get(admin, &all).await.expect(200)["roles"], json!([]));
            assert_eq!(head(&desk, admin, &one).await, 404);
            assert_eq!(desk.delete(admin, &one).await.status.as_u16(), 404);
            assert_eq!(put(&desk, &one).await, 204);
            assert_eq!(put(&desk, &one).await, 204, "twice is once");
            assert_eq!(head(&desk, admin, &one).await, 204);
            assert_eq!(each(&desk.get(admin, &all).await.expect(200), "roles", "name"), ["auditor"]);
            desk.delete(admin, &one).await.expect(204);
            assert_eq!(head(&desk, admin, &one).await, 404);
            for wrong in [format!("{all}/nothing"), one.replace(&user, "nobody"), one.replace(&target, "projects/nowhere")] {
                assert_eq!(put(&desk, &wrong).await, 404, "{wrong}");
            }
        }
    });
}

#[test]
fn assignments_are_listed_with_names() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let user = made(&desk, "users", json!({"user": {"name": "ann"}})).await;
        let project = made(&desk, "projects", json!({"project": {"name": "finance"}})).await;
        let role = made(&desk, "roles", json!({"role": {"name": "auditor"}})).await;
        for target in [format!("projects/{project}"), "domains/default".to_owned(), "system".to_owned()] {
            assert_eq!(put(&desk, &format!("/identity/v3/{target}/users/{user}/roles/{role}")).await, 204);
        }
        let list = async |query: &str| {
            let body = desk.get(admin, &format!("/identity/v3/role_assignments?{query}")).await.expect(200);
            body["role_assignments"].as_array().unwrap().clone()
        };
        assert_eq!(list("").await.len(), 5, "two of admin, three of ann");
        assert_eq!(list(&format!("user.id={user}")).await.len(), 3);
        assert_eq!(list(&format!("role.id={role}")).await.len(), 3);
        assert_eq!(list(&format!("scope.system=all&user.id={user}")).await.len(), 1);
        assert_eq!(list("group.id=x").await.len(), 0);
        let one = list(&format!("scope.project.id={project}")).await;
        assert_eq!(one[0]["scope"], json!({"project": {"id": project}}));
        assert_eq!((&one[0]["user"], &one[0]["role"]), (&json!({"id": user}), &json!({"id": role})));
        let one = list(&format!("scope.project.id={project}&include_names=True")).await;
        let domain = json!({"id": "default", "name": "Default"});
        assert_eq!(one[0]["scope"], json!({"project": {"id": project, "name": "finance", "domain": domain}}));
        assert_eq!(one[0]["user"], json!({"id": user, "name": "ann", "domain": domain}));
        assert_eq!((&one[0]["role"]["id"], &one[0]["role"]["name"]), (&json!(role), &json!("auditor")));
        let one = list("scope.domain.id=default&include_names").await;
        assert_eq!(one[0]["scope"], json!({"domain": domain}));

        // What is no more has no assignments.
        desk.delete(admin, &format!("/identity/v3/projects/{project}")).await.expect(204);
        assert_eq!(list(&format!("user.id={user}")).await.len(), 2);
        desk.delete(admin, &format!("/identity/v3/roles/{role}")).await.expect(204);
        assert_eq!(list(&format!("user.id={user}")).await.len(), 0);
    });
}

#[test]
fn roles_given_at_once_are_given_once() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let user = made(&desk, "users", json!({"user": {"name": "ann"}})).await;
        let project = made(&desk, "projects", json!({"project": {"name": "finance"}})).await;
        let role = made(&desk, "roles", json!({"role": {"name": "auditor"}})).await;
        let one = format!("/identity/v3/projects/{project}/users/{user}/roles/{role}");
        let codes = futures_util::future::join_all((0..16).map(|_| put(&desk, &one))).await;
        assert!(codes.iter().all(|it| *it == 204), "{codes:?}");
        let taken = futures_util::future::join_all((0..16).map(|_| desk.delete(&desk.admin, &one))).await;
        assert_eq!(taken.iter().filter(|it| it.status.as_u16() == 204).count(), 1);
        assert!(taken.iter().all(|it| [204, 404].contains(&it.status.as_u16())));
    });
}
