//! What the tests of resources have in common.

use http::Method;
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Who};

/// Where they all are.
pub const V1: &str = "/baremetal/v1";

/// Asks in a version 1.`minor`.
pub async fn at(desk: &Desk, who: &Who, minor: u16, method: Method, path: &str, body: Option<Value>) -> Answer {
    let version = format!("1.{minor}");
    desk.call(who, method, &format!("{V1}/{path}"), &[("x-openstack-ironic-api-version", &version)], body).await
}

/// A patch that replaces one attribute.
pub fn replace(path: &str, value: Value) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

/// A patch that removes one attribute.
pub fn remove(path: &str) -> Value {
    json!([{"op": "remove", "path": path}])
}

/// Makes one, and says its id.
pub async fn made(desk: &Desk, who: &Who, path: &str, body: Value) -> String {
    let answer = desk.post(who, &format!("{V1}/{path}"), body).await;
    let location = answer.header("location").to_owned();
    let id = answer.expect(201)["uuid"].as_str().unwrap().to_owned();
    assert!(location.ends_with(&format!("/baremetal/v1/{path}/{id}")), "{location}");
    id
}

/// The members of a list.
pub async fn listed(desk: &Desk, who: &Who, path: &str, many: &str) -> Vec<Value> {
    desk.get(who, &format!("{V1}/{path}")).await.expect(200)[many].as_array().unwrap().clone()
}

/// The fields of an object, but its links.
pub fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).filter(|it| *it != "links").collect()
}

/// Goes through a list page by page along the addresses of the next; says the ids in order.
pub async fn walked(desk: &Desk, who: &Who, path: &str, many: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut path = format!("{V1}/{path}");
    loop {
        assert!(ids.len() < 100, "the list does not end: {ids:?}");
        let page = desk.get(who, &path).await.expect(200);
        ids.extend(page[many].as_array().unwrap().iter().map(|it| it["uuid"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next").and_then(Value::as_str) else { return ids };
        assert!(next.starts_with("http://"), "{next}");
        path = format!("/baremetal{}", next.split_once("/baremetal").unwrap().1);
    }
}

/// An administrator of the system, not of a project.
pub async fn operator(desk: &Desk) -> Who {
    let user = json!({"name": "admin", "domain": {"id": "default"}, "password": "secret of admin"});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"system": {"all": true}},
    }});
    let roles = desk.get(&desk.admin, "/identity/v3/roles?name=admin").await.expect(200);
    let role = roles.pointer("/roles/0/id").and_then(Value::as_str).unwrap();
    let grant = format!("/identity/v3/system/users/{}/roles/{role}", desk.admin.user);
    desk.call(&desk.admin, Method::PUT, &grant, &[], None).await.expect(204);
    let nobody = Who { token: String::new(), ..desk.admin.clone() };
    let answer = desk.call(&nobody, Method::POST, "/identity/v3/auth/tokens", &[], Some(body)).await;
    let token = answer.header("x-subject-token").to_owned();
    answer.expect(201);
    Who { token, project: String::new(), user: desk.admin.user.clone() }
}
