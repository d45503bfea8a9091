//! Trusts: what is lent, to whom, how often, and how it ends.

use model::Timestamp;
use serde_json::{Value, json};

use crate::support::{Answer, Cloud, PASSWORD, Token, id, sorted};
use crate::world::on_each;

const TRUSTS: &str = "/identity/v3/OS-TRUST/trusts";

/// Ann has a role on a project of hers; the others have none there.
struct People {
    ann: Token,
    bob: Token,
    cat: Token,
}

async fn people(cloud: &Cloud) -> People {
    let project = cloud.make("project", json!({"name": "ann's"})).await;
    let mut tokens = Vec::new();
    for name in ["ann", "bob", "cat"] {
        let user = cloud.make("user", json!({"name": name, "password": PASSWORD})).await;
        let mut scope = json!("unscoped");
        if name == "ann" {
            let path = format!("/identity/v3/projects/{project}/users/{user}/roles/{}", cloud.role("member").await);
            cloud.put(&cloud.admin, &path, Value::Null).await.expect(204);
            scope = json!({"project": {"id": project}});
        }
        tokens.push(Token::of(&cloud.login(name, PASSWORD, Some(scope)).await));
    }
    let [ann, bob, cat] = <[Token; 3]>::try_from(tokens).unwrap();
    People { ann, bob, cat }
}

/// A trust of a token's user to another, of role `reader` on Ann's project, changed by `more`.
async fn lend(cloud: &Cloud, people: &People, token: &Token, trustee: &Token, more: Value) -> Answer {
    let mut trust = json!({
        "trustor_user_id": token.user, "trustee_user_id": trustee.user, "project_id": people.ann.project,
        "impersonation": false, "roles": [{"name": "reader"}],
    });
    for (key, value) in more.as_object().unwrap() {
        trust[key] = value.clone();
    }
    cloud.post(token, TRUSTS, json!({ "trust": trust })).await
}

async fn lent(cloud: &Cloud, people: &People, more: Value) -> Value {
    lend(cloud, people, &people.ann, &people.bob, more).await.expect(201)["trust"].take()
}

/// Logs in for a trust.
async fn use_by(cloud: &Cloud, name: &str, trust: &Value) -> Answer {
    cloud.login(name, PASSWORD, Some(json!({"OS-TRUST:trust": {"id": trust["id"]}}))).await
}

#[test]
fn a_trust_lends_roles() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let people = people(&cloud).await;
        let People { ann, bob, cat } = &people;
        let trust = lent(&cloud, &people, json!({"note": "kept"})).await;
        let brief = json!({
            "id": trust["id"], "trustor_user_id": ann.user, "trustee_user_id": bob.user, "project_id": ann.project,
            "impersonation": false, "expires_at": null, "remaining_uses": null, "deleted_at": null, "redelegated_trust_id": null,
            "redelegation_count": 0, "note": "kept",
            "links": {"self": cloud.url(&format!("{TRUSTS}/{}", id(&trust)))},
        });
        let mut whole = brief.clone();
        whole["roles"] = trust["roles"].clone();
        whole["roles_links"] = json!({"self": cloud.url(&format!("{TRUSTS}/{}/roles", id(&trust))), "next": null, "previous": null});
        assert_eq!(trust, whole);
        assert_eq!(sorted(&trust["roles"], "name"), ["reader"]);

        // Both see it, nobody else; lists are by who lends or is lent to, or of administrators.
        let path = format!("{TRUSTS}/{}", id(&trust));
        for token in [ann, bob, &cloud.admin] {
            assert_eq!(cloud.get(token, &path).await.expect(200)["trust"], whole);
        }
        cloud.get(cat, &path).await.keystone(403, "identity:get_trust");
        for (token, query, status) in [
            (ann, format!("?trustor_user_id={}", ann.user), 200),
            (bob, format!("?trustee_user_id={}", bob.user), 200),
            (&cloud.admin, String::new(), 200),
            (&cloud.admin, format!("?trustor_user_id={}", ann.user), 200),
            (bob, format!("?trustor_user_id={}", ann.user), 403),
            (cat, format!("?trustee_user_id={}", bob.user), 403),
            (ann, String::new(), 403),
        ] {
            let answer = cloud.get(token, &format!("{TRUSTS}{query}")).await;
            assert_eq!(answer.status, status, "{query}: {}", answer.text);
            if status == 200 {
                assert_eq!(answer.body["trusts"], json!([brief]), "{query}");
            }
        }
        let none = cloud.get(cat, &format!("{TRUSTS}?trustee_user_id={}", cat.user)).await.expect(200);
        assert_eq!(none["trusts"], json!([]));
        let reader = id(&trust["roles"][0]).to_owned();
        assert_eq!(cloud.get(bob, &format!("{path}/roles")).await.expect(200)["roles"], trust["roles"]);
        assert_eq!(cloud.get(bob, &format!("{path}/roles/{reader}")).await.expect(200)["role"], trust["roles"][0]);
        cloud.get(bob, &format!("{path}/roles/{}", cloud.role("member").await)).await.keystone(404, "Could not find role");
        cloud.get(cat, &format!("{path}/roles")).await.keystone(403, "identity:list_roles_for_trust");

        // The one lent to gets a token in its own name, and no other by it.
        let answer = use_by(&cloud, "bob", &trust).await;
        let token = Token::of(&answer);
        assert_eq!((&token.user, &token.project), (&bob.user, &ann.project));
        let said = &answer.body["token"];
        assert_eq!(sorted(&said["roles"], "name"), ["reader"]);
        let about = json!({
            "id": trust["id"], "impersonation": false, "trustor_user": {"id": ann.user}, "trustee_user": {"id": bob.user},
        });
        assert_eq!(said["OS-TRUST:trust"], about);
        cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        cloud
            .rescope(&token, json!({"project": {"id": ann.project}}))
            .await
            .keystone(403, "Using trust-scoped token to create another token");
        use_by(&cloud, "cat", &trust).await.keystone(403, "");
        let credentials = |user: &str| format!("/identity/v3/users/{user}/application_credentials");
        let body = json!({"application_credential": {"name": "x"}});
        cloud.post(&token, &credentials(&bob.user), body).await.keystone(403, "issued via delegation");

        // The lender takes it back.
        cloud.delete(bob, &path).await.keystone(403, "identity:delete_trust");
        cloud.delete(ann, &path).await.expect(204);
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        for answer in [cloud.get(ann, &path).await, cloud.delete(ann, &path).await, cloud.get(cat, &path).await] {
            answer.keystone(404, "Could not find trust");
        }
        use_by(&cloud, "bob", &trust).await.keystone(401, "requires authentication");
        let events = cloud.get(&cloud.admin, "/identity/v3/OS-REVOKE/events").await.expect(200);
        assert!(events["events"].as_array().unwrap().iter().any(|it| it["OS-TRUST:trust_id"] == trust["id"]), "{events}");
    });
}

#[test]
fn impersonation_acts_in_the_lenders_name() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let people = people(&cloud).await;
        let trust = lent(&cloud, &people, json!({"impersonation": true})).await;
        let token = Token::of(&use_by(&cloud, "bob", &trust).await);
        assert_eq!((&token.user, &token.project), (&people.ann.user, &people.ann.project));
        let body = json!({"application_credential": {"name": "x"}});
        let path = format!("/identity/v3/users/{}/application_credentials", people.ann.user);
        cloud.post(&token, &path, body).await.keystone(403, "issued via delegation");
        cloud.get(&token, &path).await.keystone(403, "issued via delegation");
        // Who lends without the role, or is disabled, lends nothing; it comes back with the user.
        let user = format!("/identity/v3/users/{}", people.ann.user);
        cloud.patch(&cloud.admin, &user, json!({"user": {"enabled": false}})).await.expect(200);
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        use_by(&cloud, "bob", &trust).await.keystone(401, "requires authentication");
        cloud.patch(&cloud.admin, &user, json!({"user": {"enabled": true}})).await.expect(200);
        let token = Token::of(&use_by(&cloud, "bob", &trust).await);
        let role = format!("/identity/v3/projects/{}/users/{}/roles/{}", people.ann.project, people.ann.user, cloud.role("member").await);
        cloud.delete(&cloud.admin, &role).await.expect(204);
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        assert!(matches!(use_by(&cloud, "bob", &trust).await.status, 401 | 403));
    });
}

#[test]
fn uses_are_counted() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let people = people(&cloud).await;
        let trust = lent(&cloud, &people, json!({"remaining_uses": 2})).await;
        let bob = Token::of(&cloud.login("bob", PASSWORD, Some(json!("unscoped"))).await);
        let scope = json!({"OS-TRUST:trust": {"id": trust["id"]}});
        let get = || cloud.rescope(&bob, scope.clone());
        let (a, b, c, d, e) = tokio::join!(get(), get(), get(), get(), get());
        let mut statuses = [a, b, c, d, e].map(|it| it.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 401, 401, 401]);
        cloud.get(&people.ann, &format!("{TRUSTS}/{}", id(&trust))).await.keystone(404, "Could not find trust");
        let again = lent(&cloud, &people, json!({"remaining_uses": 2})).await;
        use_by(&cloud, "bob", &again).await.expect(201);
        let left = cloud.get(&people.ann, &format!("{TRUSTS}/{}", id(&again))).await.expect(200);
        assert_eq!(left["trust"]["remaining_uses"], 1);
    });
}

#[test]
fn what_cannot_be_lent() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let people = people(&cloud).await;
        let People { ann, bob, cat } = &people;
        let end = "2199-01-01T00:00:00Z";
        for (more, status, words) in [
            (json!({"roles": []}), 403, "At least one role"),
            (json!({"roles": [{"name": "admin"}]}), 404, "Could not find role"),
            (json!({"roles": [{"name": "nosuch"}]}), 404, "Role nosuch is not defined"),
            (json!({"roles": [{"id": "nosuch"}]}), 404, "Could not find role: nosuch"),
            (json!({"roles": [{}]}), 400, "Invalid input"),
            (json!({"project_id": "nosuch"}), 404, "Could not find project: nosuch"),
            (json!({"project_id": cloud.admin.project}), 404, "Could not find role"),
            (json!({"project_id": null}), 404, "Could not find role"),
            (json!({"trustee_user_id": "nosuch"}), 404, "Could not find user: nosuch"),
            (json!({"trustor_user_id": bob.user}), 403, "identity:create_trust"),
            (json!({"impersonation": "yes"}), 400, "Invalid input"),
            (json!({"expires_at": "soon"}), 400, "Timestamp not in expected format"),
            (json!({"expires_at": "2001-01-01T00:00:00Z"}), 400, "must not be before now"),
            (json!({"remaining_uses": 0}), 400, "Invalid input"),
            (json!({"remaining_uses": 1, "allow_redelegation": true}), 400, "must not be set if redelegation is allowed"),
            (json!({"redelegation_count": 4, "allow_redelegation": true}), 403, "greater than allowed"),
        ] {
            let answer = lend(&cloud, &people, ann, bob, more.clone()).await;
            assert_eq!(answer.status, status, "{more}: {}", answer.text);
            answer.keystone(status, words);
        }
        let trust = lent(&cloud, &people, json!({"expires_at": end})).await;
        assert_eq!(trust["expires_at"], "2199-01-01T00:00:00.000000Z");
        lend(&cloud, &people, ann, bob, json!({"expires_at": end})).await.keystone(409, "Duplicate entry");
        lend(&cloud, &people, ann, cat, json!({"expires_at": end})).await.expect(201);
        lent(&cloud, &people, json!({"expires_at": null})).await;
        lent(&cloud, &people, json!({"expires_at": null})).await;

        // Application credentials, restricted or not, lend nothing and see none.
        for wide in [true, false] {
            let body = json!({"application_credential": {"name": format!("{wide}"), "unrestricted": wide, "secret": "s"}});
            let path = format!("/identity/v3/users/{}/application_credentials", ann.user);
            let made = cloud.post(ann, &path, body).await.expect(201);
            let data = json!({"id": made["application_credential"]["id"], "secret": "s"});
            let identity = json!({"methods": ["application_credential"], "application_credential": data});
            let token = Token::of(&cloud.auth(&json!({"auth": {"identity": identity}})).await);
            lend(&cloud, &people, &token, bob, json!({})).await.keystone(403, "Delegated tokens cannot manage trusts");
            cloud.get(&token, &format!("{TRUSTS}/{}", id(&trust))).await.keystone(403, "Delegated tokens cannot manage trusts");
            cloud.delete(&token, &format!("{TRUSTS}/{}", id(&trust))).await.keystone(403, "Delegated tokens cannot manage trusts");
        }
    });
}

#[test]
fn trusts_end() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let people = people(&cloud).await;
        let end = Timestamp::now().plus_millis(10_000);
        let soon = end.iso_micros();
        let trust = lent(&cloud, &people, json!({"expires_at": soon})).await;
        assert_eq!(trust["expires_at"], soon);
        let answer = use_by(&cloud, "bob", &trust).await;
        let token = Token::of(&answer);
        assert!(answer.body["token"]["expires_at"].as_str() <= Some(soon.as_str()), "{}", answer.text);
        cloud.get(&token, "/network/v2.0/networks").await.expect(200);
        crate::over(end).await;
        cloud.get(&token, "/network/v2.0/networks").await.expect(401);
        use_by(&cloud, "bob", &trust).await.keystone(401, "requires authentication");
        cloud.get(&people.ann, &format!("{TRUSTS}/{}", id(&trust))).await.keystone(404, "Could not find trust");
        // With one of its users it is gone.
        let trust = lent(&cloud, &people, json!({})).await;
        cloud.delete(&cloud.admin, &format!("/identity/v3/users/{}", people.bob.user)).await.expect(204);
        cloud.get(&people.ann, &format!("{TRUSTS}/{}", id(&trust))).await.keystone(404, "Could not find trust");
    });
}

#[test]
fn lending_on() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let people = people(&cloud).await;
        let People { ann, cat, .. } = &people;
        let end = "2199-01-01T00:00:00Z";
        let more = json!({
            "impersonation": true, "allow_redelegation": true, "redelegation_count": 2, "expires_at": end,
            "roles": [{"name": "reader"}, {"name": "member"}],
        });
        let first = lent(&cloud, &people, more).await;
        assert_eq!(first["redelegation_count"], 2);
        // Bob holds Ann's name and lends on to Cat.
        let bob = Token::of(&use_by(&cloud, "bob", &first).await);
        for (more, words) in [
            (json!({"remaining_uses": 1}), "must not be set in order to redelegate"),
            (json!({"expires_at": "2200-01-01T00:00:00Z"}), "expiration time is more than"),
            (json!({"allow_redelegation": true, "redelegation_count": 2}), "Modifying \"redelegation_count\""),
        ] {
            lend(&cloud, &people, &bob, cat, more).await.keystone(403, words);
        }
        let second = lend(&cloud, &people, &bob, cat, json!({"impersonation": true, "allow_redelegation": true})).await;
        let second = second.expect(201)["trust"].take();
        assert_eq!((&second["redelegated_trust_id"], &second["redelegation_count"]), (&first["id"], &json!(1)));
        assert_eq!((&second["expires_at"], &second["trustor_user_id"]), (&first["expires_at"], &json!(ann.user)));
        let cats = Token::of(&use_by(&cloud, "cat", &second).await);
        assert_eq!(cats.user, ann.user);
        let wider = json!({"impersonation": true, "roles": [{"name": "member"}]});
        lend(&cloud, &people, &cats, &people.bob, wider).await.keystone(403, "not in redelegated trust");
        let more = json!({"impersonation": true, "allow_redelegation": true, "expires_at": "2198-01-01T00:00:00Z"});
        let third = lend(&cloud, &people, &cats, &people.bob, more).await;
        let third = third.expect(201)["trust"].take();
        assert_eq!(third["redelegation_count"], 0);
        let bobs = Token::of(&use_by(&cloud, "bob", &third).await);
        lend(&cloud, &people, &bobs, cat, json!({"impersonation": true})).await.keystone(403, "Remaining redelegation depth");

        // The middle of the chain disabled, what hangs below it gives nothing; the top removed, all is.
        let user = format!("/identity/v3/users/{}", cat.user);
        cloud.patch(&cloud.admin, &user, json!({"user": {"enabled": false}})).await.expect(200);
        use_by(&cloud, "bob", &third).await.keystone(403, "One of the trust agents");
        cloud.patch(&cloud.admin, &user, json!({"user": {"enabled": true}})).await.expect(200);
        use_by(&cloud, "bob", &third).await.expect(201);
        cloud.delete(ann, &format!("{TRUSTS}/{}", id(&first))).await.expect(204);
        for trust in [&first, &second, &third] {
            cloud.get(ann, &format!("{TRUSTS}/{}", id(trust))).await.keystone(404, "Could not find trust");
        }
        cloud.get(&bobs, "/network/v2.0/networks").await.expect(401);
    });
}
