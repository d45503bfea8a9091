//! Security groups, the default one among them, and what new ones begin with.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::V2;
use crate::support::{Answer, Cloud, Token, id, sorted};
use crate::world::on_each;

async fn group(cloud: &Cloud, token: &Token, body: Value) -> Answer {
    cloud.post(token, &format!("{V2}/security-groups"), json!({"security_group": body})).await
}

/// (direction, ethertype, whether from the group itself) of a group's rules, sorted.
fn rules(group: &Value) -> Vec<(String, String, bool)> {
    let of = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
    let own = |it: &Value| it["remote_group_id"] == group["id"];
    let mut all: Vec<_> =
        group["security_group_rules"].as_array().unwrap().iter().map(|it| (of(it, "direction"), of(it, "ethertype"), own(it))).collect();
    all.sort();
    all
}

#[test]
fn a_project_has_one_default_group_however_many_look_at_once() {
    on_each(async |world| {
        let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
        let finance = clouds[0].tenant("finance", "member").await;
        let mut tasks = JoinSet::new();
        for n in 0..24 {
            let (cloud, finance) = (Arc::clone(&clouds[n % 2]), finance.clone());
            tasks.spawn(async move {
                match n % 3 {
                    0 => cloud.get(&finance, &format!("{V2}/security-groups?name=default")).await.expect(200),
                    1 => cloud.get(&finance, &format!("{V2}/security-group-rules")).await.expect(200),
                    _ => group(&cloud, &finance, json!({"name": "blue"})).await.expect(201),
                }
            });
        }
        tasks.join_all().await;
        let all = clouds[1].get(&finance, &format!("{V2}/security-groups")).await.expect(200);
        let all = all["security_groups"].as_array().unwrap();
        let defaults: Vec<&Value> = all.iter().filter(|it| it["name"] == "default").collect();
        assert_eq!((all.len(), defaults.len()), (9, 1), "{all:?}");
        let all = |direction: &str, own| ["IPv4", "IPv6"].map(|kind| (direction.to_owned(), kind.to_owned(), own));
        assert_eq!(rules(defaults[0]), [all("egress", false), all("ingress", true)].concat());
        assert_eq!(defaults[0]["description"], "Default security group");
        assert!(defaults[0]["security_group_rules"].as_array().unwrap().iter().all(|it| it["belongs_to_default_sg"] == true));
        // No rule was left by those who were second.
        let listed = clouds[0].get(&finance, &format!("{V2}/security-group-rules?fields=security_group_id")).await.expect(200);
        assert_eq!(listed["security_group_rules"].as_array().unwrap().len(), 4 + 8 * 2);
        assert_eq!(world.store.usage("security_group", &finance.project).await.unwrap(), 9);
        assert_eq!(world.store.usage("security_group_rule", &finance.project).await.unwrap(), 20);
    });
}

#[test]
fn made_changed_shared_removed() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let made = group(&cloud, &finance, json!({"name": "blue", "description": "d"})).await.expect(201);
        let made = &made["security_group"];
        let one = format!("{V2}/security-groups/{}", id(made));
        assert_eq!((&made["stateful"], &made["shared"], &made["tags"]), (&json!(true), &json!(false), &json!([])));
        assert_eq!(rules(made), ["IPv4", "IPv6"].map(|kind| ("egress".to_owned(), kind.to_owned(), false)));
        assert_eq!(cloud.get(&finance, &one).await.expect(200)["security_group"], *made);
        let answer = cloud.get(&medical, &one).await;
        assert_eq!(answer.body["NeutronError"]["message"], format!("Security group {} does not exist", id(made)));
        answer.neutron(404, "SecurityGroupNotFound");
        let changed = json!({"security_group": {"name": "red", "stateful": false}});
        let changed = cloud.put(&finance, &one, changed).await.expect(200);
        assert_eq!((&changed["security_group"]["name"], &changed["security_group"]["stateful"]), (&json!("red"), &json!(false)));
        let refused = json!({"security_group": {"security_group_rules": []}});
        cloud.put(&finance, &one, refused).await.neutron(400, "HTTPBadRequest");
        // Shared, and found by that.
        let policy = json!({"rbac_policy": {"object_type": "security_group", "object_id": id(made), "action": "access_as_shared", "target_tenant": medical.project}});
        cloud.post(&finance, &format!("{V2}/rbac-policies"), policy).await.expect(201);
        let shared = cloud.get(&medical, &format!("{V2}/security-groups?shared=true")).await.expect(200);
        assert_eq!(sorted(&shared["security_groups"], "name"), ["red"]);
        assert_eq!(shared["security_groups"][0]["shared"], true);
        let own = cloud.get(&medical, &format!("{V2}/security-groups?shared=false")).await.expect(200);
        assert_eq!(sorted(&own["security_groups"], "name"), ["default"]);
        cloud.delete(&medical, &one).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&finance, &one).await.expect(204);
        cloud.get(&finance, &one).await.neutron(404, "SecurityGroupNotFound");
        let left = cloud.get(&cloud.admin, &format!("{V2}/security-group-rules?security_group_id={}", id(made))).await.expect(200);
        assert_eq!(left["security_group_rules"], json!([]));
    });
}

#[test]
fn the_default_group_keeps_its_name_and_stays() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let groups = format!("{V2}/security-groups");
        for name in ["default", "Default", "DEFAULT"] {
            group(&cloud, &finance, json!({"name": name})).await.neutron(409, "SecurityGroupDefaultAlreadyExists");
        }
        let found = cloud.get(&finance, &format!("{groups}?name=default")).await.expect(200);
        let first = id(&found["security_groups"][0]).to_owned();
        let one = format!("{groups}/{first}");
        cloud.put(&finance, &one, json!({"security_group": {"name": "x"}})).await.neutron(409, "SecurityGroupCannotUpdateDefault");
        cloud.put(&finance, &one, json!({"security_group": {"description": "x"}})).await.expect(200);
        cloud.delete(&finance, &one).await.neutron(409, "SecurityGroupCannotRemoveDefault");
        cloud.delete(&cloud.admin, &one).await.expect(204);
        let found = cloud.get(&finance, &format!("{groups}?name=default")).await.expect(200);
        assert_ne!(id(&found["security_groups"][0]), first, "another is made when it is looked for");
        // Of the project that a list is about.
        let medical = cloud.tenant("medical", "member").await;
        let found = cloud.get(&cloud.admin, &format!("{groups}?project_id={}", medical.project)).await.expect(200);
        assert_eq!(sorted(&found["security_groups"], "name"), ["default"]);
    });
}

#[test]
fn groups_that_ports_use_stay_as_they_are() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "n").await;
        let made = group(&cloud, &finance, json!({"name": "blue"})).await.expect(201);
        let blue = id(&made["security_group"]).to_owned();
        let one = format!("{V2}/security-groups/{blue}");
        let port = cloud.port(&finance, &network, json!({"security_groups": [blue]})).await.expect(201);
        cloud.delete(&finance, &one).await.neutron(409, "SecurityGroupInUse");
        cloud.put(&finance, &one, json!({"security_group": {"stateful": false}})).await.neutron(409, "SecurityGroupInUse");
        cloud.put(&finance, &one, json!({"security_group": {"stateful": true, "name": "red"}})).await.expect(200);
        let wanted = json!({"port": {"security_groups": []}});
        cloud.put(&finance, &format!("{V2}/ports/{}", id(&port["port"])), wanted).await.expect(200);
        cloud.put(&finance, &one, json!({"security_group": {"stateful": false}})).await.expect(200);
        cloud.delete(&finance, &one).await.expect(204);
    });
}

#[test]
fn quotas_count_a_group_and_its_rules() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let quota = format!("{V2}/quotas/{}", finance.project);
        cloud.get(&finance, &format!("{V2}/security-groups")).await.expect(200);
        cloud.put(&cloud.admin, &quota, json!({"quota": {"security_group_rule": 5}})).await.expect(200);
        group(&cloud, &finance, json!({"name": "blue"})).await.neutron(409, "OverQuota");
        cloud.put(&cloud.admin, &quota, json!({"quota": {"security_group_rule": 6, "security_group": 2}})).await.expect(200);
        group(&cloud, &finance, json!({"name": "blue"})).await.expect(201);
        cloud.put(&cloud.admin, &quota, json!({"quota": {"security_group_rule": -1}})).await.expect(200);
        group(&cloud, &finance, json!({"name": "red"})).await.neutron(409, "OverQuota");
    });
}

#[test]
fn new_groups_begin_with_the_template() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let template = format!("{V2}/default-security-group-rules");
        let listed = cloud.get(&finance, &template).await.expect(200);
        let listed = listed["default_security_group_rules"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 4);
        let parents: Vec<&Value> = listed.iter().filter(|it| it["remote_group_id"] == "PARENT").collect();
        assert!(parents.len() == 2 && parents.iter().all(|it| it["direction"] == "ingress" && it["used_in_non_default_sg"] == false));
        let body = |more: Value| {
            let mut rule = json!({"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "used_in_default_sg": true, "used_in_non_default_sg": true});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"default_security_group_rule": rule})
        };
        cloud.post(&finance, &template, body(json!({}))).await.neutron(403, "PolicyNotAuthorized");
        let made = cloud.post(&cloud.admin, &template, body(json!({"description": "ssh"}))).await.expect(201);
        let ssh = id(&made["default_security_group_rule"]).to_owned();
        for wanted in [json!({}), json!({"used_in_default_sg": false}), json!({"used_in_non_default_sg": false, "protocol": "6"})] {
            let answer = cloud.post(&cloud.admin, &template, body(wanted)).await;
            let text = format!("Default Security group rule already exists. Rule id is {ssh}.");
            assert_eq!(answer.body["NeutronError"]["message"], text);
            answer.neutron(409, "DefaultSecurityGroupRuleExists");
        }
        // Of no use, but not in the way of others.
        let idle = json!({"used_in_default_sg": false, "used_in_non_default_sg": false});
        cloud.post(&cloud.admin, &template, body(idle.clone())).await.expect(201);
        cloud.post(&cloud.admin, &template, body(json!({"port_range_max": null}))).await.neutron(400, "SecurityGroupInvalidPortRange");
        let parent = json!({"remote_group_id": "PARENT", "remote_ip_prefix": "10.0.0.0/8"});
        cloud.post(&cloud.admin, &template, body(parent)).await.neutron(400, "SecurityGroupMultipleRemoteEntites");
        let made = group(&cloud, &finance, json!({"name": "blue"})).await.expect(201);
        let ports: BTreeSet<String> =
            made["security_group"]["security_group_rules"].as_array().unwrap().iter().map(|it| it["port_range_min"].to_string()).collect();
        assert_eq!(ports, BTreeSet::from(["22".to_owned(), "null".to_owned()]));
        // What was in the template at first can go, and does not come back.
        for rule in &listed {
            cloud.delete(&cloud.admin, &format!("{template}/{}", id(rule))).await.expect(204);
        }
        cloud.delete(&cloud.admin, &format!("{template}/{ssh}")).await.expect(204);
        cloud.get(&cloud.admin, &format!("{template}/{ssh}")).await.neutron(404, "DefaultSecurityGroupRuleNotFound");
        let other = Cloud::start(world).await;
        let made = group(&other, &finance, json!({"name": "red"})).await.expect(201);
        assert_eq!(made["security_group"]["security_group_rules"], json!([]));
    });
}

#[test]
fn new_groups_are_stateful_as_their_project_or_all_say() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "manager").await;
        let says = format!("{V2}/security-groups-default-statefulness");
        let body = |it: Value| json!({"security_groups_default_statefulness": it});
        let is_stateful = async |token: &Token| group(&cloud, token, json!({})).await.expect(201)["security_group"]["stateful"].take();
        assert_eq!(is_stateful(&finance).await, true);
        let made = cloud.post(&finance, &says, body(json!({"stateful": false}))).await.expect(201);
        let made = &made["security_groups_default_statefulness"];
        assert_eq!((&made["project_id"], &made["stateful"]), (&json!(finance.project), &json!(false)));
        cloud.post(&finance, &says, body(json!({}))).await.neutron(409, "SecurityGroupDefaultStatefulnessAlreadyExists");
        cloud.post(&finance, &says, body(json!({"project_id": null}))).await.neutron(403, "PolicyNotAuthorized");
        assert_eq!(is_stateful(&finance).await, false);
        cloud.post(&cloud.admin, &says, body(json!({"project_id": null, "stateful": false}))).await.expect(201);
        assert_eq!(is_stateful(&cloud.admin).await, false);
        let one = format!("{says}/{}", id(made));
        cloud.put(&finance, &one, body(json!({"stateful": true}))).await.expect(200);
        assert_eq!(is_stateful(&finance).await, true, "the project's own word goes before");
        cloud.delete(&finance, &one).await.expect(204);
        assert_eq!(is_stateful(&finance).await, false);
        cloud.get(&finance, &one).await.neutron(404, "SecurityGroupDefaultStatefulnessNotFound");
    });
}
