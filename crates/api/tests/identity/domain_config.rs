//! The configuration a domain has of its own.

use serde_json::{Value, json};

use crate::support::{Cloud, Token};
use crate::world::{World, on_each};

async fn desk(world: &World) -> (Cloud, String) {
    let cloud = Cloud::start(world).await;
    let domain = cloud.make("domain", json!({"name": "tenants"})).await;
    let path = format!("/identity/v3/domains/{domain}/config");
    (cloud, path)
}

fn config(of: Value) -> Value {
    json!({ "config": of })
}

#[test]
fn it_is_set_changed_and_dropped() {
    on_each(async |world| {
        let (cloud, path) = desk(world).await;
        let admin = &cloud.admin;
        cloud.get(admin, &path).await.keystone(404, "Could not find any options in domain configuration for domain");
        cloud.delete(admin, &path).await.expect(204);
        let whole = json!({"ldap": {"url": "ldap://192.0.2.1", "password": "hunter2"}, "identity": {"driver": "ldap"}});
        let without = json!({"ldap": {"url": "ldap://192.0.2.1"}, "identity": {"driver": "ldap"}});
        assert_eq!(cloud.put(admin, &path, config(whole.clone())).await.expect(201), config(without.clone()));
        assert_eq!(cloud.put(admin, &path, config(whole)).await.expect(200), config(without.clone()));
        assert_eq!(cloud.get(admin, &path).await.expect(200), config(without));
        let shown = async |part: &str| {
            let answer = cloud.get(admin, &format!("{path}{part}")).await;
            (answer.status, answer.body)
        };
        assert_eq!(shown("/ldap").await, (200, config(json!({"ldap": {"url": "ldap://192.0.2.1"}}))));
        assert_eq!(shown("/ldap/url").await, (200, config(json!({"url": "ldap://192.0.2.1"}))));
        assert_eq!(shown("/ldap/password").await.0, 404);
        assert_eq!(shown("/ldap/suffix").await.0, 404);

        let changed = cloud.patch(admin, &path, config(json!({"ldap": {"user": "u"}}))).await.expect(200);
        let wanted = json!({"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://192.0.2.1", "user": "u"}});
        assert_eq!(changed, config(wanted));
        let changed = cloud.patch(admin, &format!("{path}/ldap/url"), config(json!({"url": "ldap://192.0.2.2"}))).await.expect(200);
        assert_eq!(changed["config"]["ldap"]["url"], "ldap://192.0.2.2");
        cloud.patch(admin, &format!("{path}/ldap"), config(json!({"ldap": {"user": "v"}}))).await.expect(200);
        cloud.delete(admin, &format!("{path}/ldap/user")).await.expect(204);
        cloud.delete(admin, &format!("{path}/ldap/user")).await.keystone(404, "option user in group ldap");
        cloud.delete(admin, &format!("{path}/identity")).await.expect(204);
        cloud.delete(admin, &format!("{path}/identity")).await.keystone(404, "group identity");
        assert_eq!(cloud.get(admin, &path).await.expect(200), config(json!({"ldap": {"url": "ldap://192.0.2.2"}})));
        cloud.delete(admin, &path).await.expect(204);
        cloud.get(admin, &path).await.keystone(404, "any options");
    });
}

#[test]
fn what_it_may_not_be_is_refused() {
    on_each(async |world| {
        let (cloud, path) = desk(world).await;
        let admin = &cloud.admin;
        for (body, why) in [
            (json!({}), "No options specified"),
            (config(json!({})), "No options specified"),
            (config(json!({"ldap": "x"})), "should be a dictionary"),
            (config(json!({"ldap": {}})), "should be a dictionary"),
            (config(json!({"other": {"a": 1}})), "Group other is not supported"),
            (config(json!({"ldap": {"colour": 1}})), "Option colour in group ldap is not supported"),
        ] {
            cloud.put(admin, &path, body).await.keystone(403, why);
        }
        cloud.put(admin, &path, config(json!([1]))).await.keystone(400, "");
        cloud.put(admin, &path, config(json!({"ldap": {"url": "ldap://192.0.2.1"}}))).await.expect(201);
        for (part, body, status, why) in [
            ("/ldap", json!({"identity": {"driver": "x"}}), 403, "contains group identity instead"),
            ("/ldap", json!({"identity": {"driver": "x"}, "ldap": {"url": "x"}}), 403, "and only that, group"),
            ("/ldap/url", json!({"user": "x"}), 403, "contains option user instead"),
            ("/ldap/url", json!({"user": "x", "url": "y"}), 403, "and only that, option"),
            ("/ldap/user", json!({"user": "x"}), 404, "option user in group ldap"),
            ("/identity", json!({"identity": {"driver": "x"}}), 404, "group identity"),
            ("/ldap/colour", json!({"colour": "x"}), 403, "Option colour"),
        ] {
            cloud.patch(admin, &format!("{path}{part}"), config(body)).await.keystone(status, why);
        }
        cloud.get(admin, &format!("{path}/other")).await.keystone(403, "Group other");
        cloud.get(admin, "/identity/v3/domains/nowhere/config").await.keystone(404, "domain nowhere");
        cloud.put(admin, "/identity/v3/domains/nowhere/config", config(json!({}))).await.keystone(404, "Could not find domain: nowhere.");
        let reader: Token = cloud.tenant("shop", "reader").await;
        cloud.get(&reader, &path).await.keystone(403, "get_domain_config");
        cloud.put(&reader, &path, config(json!({}))).await.keystone(403, "create_domain_config");
    });
}

#[test]
fn defaults_and_what_anybody_may_read() {
    on_each(async |world| {
        let (cloud, path) = desk(world).await;
        let admin = &cloud.admin;
        let base = "/identity/v3/domains/config";
        let all = cloud.get(admin, &format!("{base}/default")).await.expect(200);
        assert_eq!(all["config"]["identity"], json!({"driver": "sql", "list_limit": null}));
        assert_eq!(all["config"]["ldap"].as_object().unwrap().len(), 49);
        let group = cloud.get(admin, &format!("{base}/ldap/default")).await.expect(200);
        assert_eq!(group, config(json!({"ldap": all["config"]["ldap"]})));
        assert_eq!(cloud.get(admin, &format!("{base}/ldap/url/default")).await.expect(200), config(json!({"url": "ldap://localhost"})));
        cloud.get(admin, &format!("{base}/ldap/password/default")).await.keystone(403, "Reading the default for option password");
        cloud.get(admin, &format!("{base}/other/default")).await.keystone(403, "Group other");

        let reader = cloud.tenant("shop", "reader").await;
        let open = "/identity/v3/domains/default/config/security_compliance";
        let wanted = json!({"security_compliance": {"password_regex": null, "password_regex_description": null}});
        assert_eq!(cloud.get(&reader, open).await.expect(200), config(wanted));
        assert_eq!(cloud.get(&reader, &format!("{open}/password_regex")).await.expect(200), config(json!({"password_regex": null})));
        cloud.get(&reader, &format!("{open}/lockout_duration")).await.keystone(403, "other than password_regex");
        cloud.get(&reader, &format!("{path}/security_compliance")).await.keystone(403, "other than the default domain");
    });
}
