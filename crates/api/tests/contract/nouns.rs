//! Domains, projects, users and roles.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::world::on_each;
use crate::{each, text};

/// Root, collection, and an attribute that can be changed.
const NOUNS: [(&str, &str); 4] = [("domain", "domains"), ("project", "projects"), ("user", "users"), ("role", "roles")];

fn path(plural: &str, id: &str) -> String {
    format!("/identity/v3/{plural}/{id}")
}

#[test]
fn made_shown_listed_changed_deleted() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let ann = desk.tenant("ann", "finance").await;
        for (root, plural) in NOUNS {
            let all = format!("/identity/v3/{plural}");
            let body = |name: &str| json!({root: {"name": name, "description": "d"}});
            let made = desk.post(admin, &all, body("Blue Whale")).await.expect(201)[root].clone();
            let id = text(&made, "/id").to_owned();
            assert_eq!(text(&made, "/links/self"), format!("http://127.0.0.1:5000{}", path(plural, &id)));
            assert_eq!((&made["name"], &made["description"]), (&json!("Blue Whale"), &json!("d")));
            if root != "role" {
                assert_eq!(made["enabled"], true);
            }
            assert_eq!(desk.get(admin, &path(plural, &id)).await.expect(200)[root], made);
            let found = desk.get(admin, &format!("{all}?name=blue%20whale")).await.expect(200);
            assert_eq!(found[plural], json!([made]), "names differ by more than case");
            assert_eq!(found["links"]["next"], Value::Null);

            let twice = desk.post(admin, &all, body("blue whale")).await;
            assert_eq!(twice.body["error"]["title"], "Conflict");
            twice.refused(409, "Duplicate");
            for (wrong, word) in [
                (json!({root: {"description": "no name"}}), "name"),
                (json!({root: {"name": ""}}), "name"),
                (json!({root: {"name": "  "}}), "name"),
                (json!({root: {"name": "x".repeat(256)}}), "name"),
                (json!({root: {"name": 5}}), "name"),
                (json!({root: {"name": "a\0b"}}), "name"),
                (json!({root: {"name": "n", "description": 5}}), "description"),
                (json!({root: []}), root),
                (json!({"name": "n"}), "propert"),
            ] {
                let answer = desk.post(admin, &all, wrong.clone()).await;
                assert_eq!(answer.status.as_u16(), 400, "{wrong}: {}", answer.body);
                assert!(text(&answer.body, "/error/message").contains(word), "{wrong}: {}", answer.body);
            }
            assert_eq!(desk.get(admin, &format!("{all}?name=n")).await.expect(200)[plural], json!([]), "nothing was made");

            let changed = desk.patch(admin, &path(plural, &id), json!({root: {"name": "Red Whale", "description": "e"}})).await.expect(200);
            assert_eq!((&changed[root]["name"], &changed[root]["description"]), (&json!("Red Whale"), &json!("e")));
            // What is not known is kept and shown, as upstream.
            assert_eq!(desk.patch(admin, &path(plural, &id), json!({root: {"colour": 1}})).await.expect(200)[root]["colour"], 1);
            desk.patch(admin, &path(plural, &id), json!({root: {"name": null}})).await.refused(400, "name");
            let other = desk.post(admin, &all, body("Blue Whale")).await.expect(201);
            desk.patch(admin, &path(plural, &id), json!({root: {"name": "BLUE whale"}})).await.refused(409, "Duplicate");
            desk.patch(admin, &path(plural, &id), json!({root: {"name": "RED whale"}})).await.expect(200);

            // Those who are no administrators.
            desk.post(&ann, &all, body("x")).await.refused(403, "");
            desk.get(&ann, &all).await.refused(403, "");
            desk.patch(&ann, &path(plural, &id), json!({root: {"name": "mine"}})).await.refused(403, "");
            desk.delete(&ann, &path(plural, &id)).await.refused(403, "");
            assert!([403, 404].contains(&desk.get(&ann, &path(plural, &id)).await.status.as_u16()));

            for id in [text(&other[root], "/id"), id.as_str()] {
                if root == "domain" {
                    desk.patch(admin, &path(plural, id), json!({root: {"enabled": false}})).await.expect(200);
                }
                desk.delete(admin, &path(plural, id)).await.expect(204);
                desk.get(admin, &path(plural, id)).await.refused(404, id);
                desk.patch(admin, &path(plural, id), json!({root: {}})).await.refused(404, id);
                desk.delete(admin, &path(plural, id)).await.refused(404, id);
            }
            desk.post(admin, &all, body("Red Whale")).await.expect(201);
        }
        // One's own can be seen.
        assert_eq!(text(&desk.get(&ann, &path("users", &ann.user)).await.expect(200), "/user/name"), "ann");
        assert_eq!(text(&desk.get(&ann, &path("projects", &ann.project)).await.expect(200), "/project/name"), "finance");
        assert_eq!(each(&desk.get(&ann, "/identity/v3/auth/projects").await.expect(200), "projects", "name"), ["finance"]);
        let mine = desk.get(&ann, &format!("/identity/v3/users/{}/projects", ann.user)).await.expect(200);
        assert_eq!(each(&mine, "projects", "name"), ["finance"]);
    });
}

#[test]
fn users_never_show_how_they_are_let_in() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let body = json!({"user": {"name": "ann", "password": "hunter2", "email": "ann@example.org"}});
        let made = desk.post(&desk.admin, "/identity/v3/users", body).await.expect(201);
        assert_eq!(made["user"]["email"], "ann@example.org");
        let id = text(&made, "/user/id").to_owned();
        let shown = desk.get(&desk.admin, &path("users", &id)).await.expect(200);
        let list = desk.get(&desk.admin, "/identity/v3/users").await.expect(200);
        for body in [made, shown, list] {
            let text = body.to_string();
            assert!(!text.contains("hunter2") && !text.contains("$2b$") && !text.contains("password\":"), "{text}");
        }
        for wrong in [json!(5), json!("x".repeat(73)), json!("a\0b")] {
            let body = json!({"user": {"name": "bob", "password": wrong}});
            desk.post(&desk.admin, "/identity/v3/users", body).await.refused(400, "password");
        }
    });
}

#[test]
fn domains_keep_names_apart_and_are_deleted_disabled_and_empty() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let made = desk.post(admin, "/identity/v3/domains", json!({"domain": {"name": "tenants"}})).await.expect(201);
        let domain = text(&made, "/domain/id").to_owned();
        let body = json!({"project": {"name": "admin", "domain_id": domain}});
        let project = desk.post(admin, "/identity/v3/projects", body.clone()).await.expect(201);
        let project = text(&project, "/project/id").to_owned();
        desk.post(admin, "/identity/v3/projects", body).await.refused(409, "Duplicate");
        let found = desk.get(admin, &format!("/identity/v3/projects?domain_id={domain}")).await.expect(200);
        assert_eq!(each(&found, "projects", "id"), [project.as_str()]);
        desk.patch(admin, &path("projects", &project), json!({"project": {"domain_id": "default"}})).await.refused(400, "domain_id");
        desk.post(admin, "/identity/v3/projects", json!({"project": {"name": "x", "domain_id": "nowhere"}})).await.refused(400, "nowhere");

        desk.delete(admin, &path("domains", &domain)).await.refused(403, "disable");
        desk.patch(admin, &path("domains", &domain), json!({"domain": {"enabled": false}})).await.expect(200);
        desk.delete(admin, &path("domains", &domain)).await.expect(204);
        desk.get(admin, &path("projects", &project)).await.refused(404, &project);
        desk.get(admin, &path("domains", &domain)).await.refused(404, &domain);
    });
}

#[test]
fn of_sixteen_who_want_one_name_one_gets_it() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        for (root, plural) in NOUNS {
            let all = format!("/identity/v3/{plural}");
            let asks = (0..16).map(|at| {
                let name = if at % 2 == 0 { "wanted" } else { "Wanted" };
                desk.post(&desk.admin, &all, json!({root: {"name": name}}))
            });
            let codes: Vec<u16> = futures_util::future::join_all(asks).await.iter().map(|it| it.status.as_u16()).collect();
            assert_eq!(codes.iter().filter(|it| **it == 201).count(), 1, "{root} on {}: {codes:?}", world.name());
            assert_eq!(codes.iter().filter(|it| **it == 409).count(), 15, "{root} on {}: {codes:?}", world.name());
            assert_eq!(desk.get(&desk.admin, &format!("{all}?name=wanted")).await.expect(200)[plural].as_array().unwrap().len(), 1);
        }
        // And of changes of one object none is lost or refused.
        let made = desk.post(&desk.admin, "/identity/v3/projects", json!({"project": {"name": "p"}})).await.expect(201);
        let one = path("projects", text(&made, "/project/id"));
        let fields = ["description", "tags"];
        let asks = (0..16).map(|at| {
            let value = if at % 2 == 0 { json!("d") } else { json!(["t"]) };
            desk.patch(&desk.admin, &one, json!({"project": {fields[at % 2]: value}}))
        });
        let codes: Vec<u16> = futures_util::future::join_all(asks).await.iter().map(|it| it.status.as_u16()).collect();
        assert!(codes.iter().all(|it| *it == 200), "on {}: {codes:?}", world.name());
        let shown = desk.get(&desk.admin, &one).await.expect(200);
        assert_eq!((&shown["project"]["description"], &shown["project"]["tags"]), (&json!("d"), &json!(["t"])));
    });
}
