//! Rules of security groups.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::V2;
use crate::support::{Answer, Cloud, Token, id};
use crate::world::on_each;

const NOBODY: &str = "11111111-1111-1111-1111-111111111111";

/// A cloud in which a project has a group to make rules in.
struct Place<'a> {
    cloud: &'a Cloud,
    token: Token,
    group: String,
}

impl<'a> Place<'a> {
    async fn of(cloud: &'a Cloud, project: &str) -> Self {
        let token = cloud.tenant(project, "member").await;
        let made = cloud.post(&token, &format!("{V2}/security-groups"), json!({"security_group": {"name": "blue"}})).await.expect(201);
        Self { cloud, token, group: id(&made["security_group"]).to_owned() }
    }

    fn body(&self, more: &Value) -> Value {
        let mut rule = json!({"security_group_id": self.group, "direction": "ingress"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    }

    async fn rule(&self, more: Value) -> Answer {
        self.cloud.post(&self.token, &format!("{V2}/security-group-rules"), json!({"security_group_rule": self.body(&more)})).await
    }

    async fn rules(&self, more: &[Value]) -> Answer {
        let all: Vec<Value> = more.iter().map(|it| self.body(it)).collect();
        self.cloud.post(&self.token, &format!("{V2}/security-group-rules"), json!({"security_group_rules": all})).await
    }

    async fn revision(&self) -> i64 {
        let group = self.cloud.get(&self.token, &format!("{V2}/security-groups/{}", self.group)).await.expect(200);
        group["security_group"]["revision_number"].as_i64().unwrap()
    }
}

fn ports(least: u16, greatest: u16) -> Value {
    json!({"protocol": "tcp", "port_range_min": least, "port_range_max": greatest})
}

#[test]
fn values_are_put_the_way_neutron_puts_them() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let place = Place::of(&cloud, "finance").await;
        let cases = [
            (ports(80, 80), json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 80, "ethertype": "IPv4", "description": ""})),
            (json!({"protocol": "TCP", "port_range_min": "81", "port_range_max": "82"}), ports(81, 82)),
            (ports(1, 65535), json!({"protocol": "tcp", "port_range_min": null, "port_range_max": null})),
            (json!({"protocol": 17}), json!({"protocol": "17"})),
            (json!({"protocol": "any"}), json!({"protocol": null})),
            (json!({"protocol": "icmp", "ethertype": "ipv6"}), json!({"protocol": "ipv6-icmp", "ethertype": "IPv6"})),
            (json!({"protocol": "1", "port_range_min": 128, "ethertype": "IPv6"}), json!({"protocol": "58", "port_range_min": 128})),
            (json!({"remote_ip_prefix": "10.0.0.5/24"}), json!({"remote_ip_prefix": "10.0.0.5/24", "normalized_cidr": "10.0.0.0/24"})),
            (json!({"remote_ip_prefix": "10.0.0.7"}), json!({"remote_ip_prefix": "10.0.0.7/32"})),
            (json!({"remote_ip_prefix": "2001:DB8::/64", "ethertype": "IPv6"}), json!({"remote_ip_prefix": "2001:db8::/64"})),
            (json!({"remote_group_id": place.group, "description": "own"}), json!({"remote_group_id": place.group, "description": "own"})),
        ];
        for (wanted, expected) in cases {
            let made = place.rule(wanted.clone()).await.expect(201)["security_group_rule"].take();
            let shown = cloud.get(&place.token, &format!("{V2}/security-group-rules/{}", id(&made))).await.expect(200);
            assert_eq!(shown["security_group_rule"], made);
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(made[key], *value, "{key} of {wanted}");
            }
            assert_eq!((&made["belongs_to_default_sg"], &made["project_id"]), (&json!(false), &json!(place.token.project)));
        }
    });
}

#[test]
fn what_is_wrong_has_its_name() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let place = Place::of(&cloud, "finance").await;
        let other = Place::of(&cloud, "other").await;
        let cases = [
            (json!({"protocol": "tcp", "port_range_min": 80}), 400, "SecurityGroupInvalidPortRange"),
            (ports(90, 80), 400, "SecurityGroupInvalidPortRange"),
            (ports(0, 80), 400, "SecurityGroupInvalidPortValue"),
            (json!({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536}), 400, "SecurityGroupInvalidPortValue"),
            (json!({"protocol": "tcp", "port_range_min": -1, "port_range_max": 5}), 400, "SecurityGroupInvalidPortValue"),
            (json!({"protocol": "ah", "port_range_min": 1, "port_range_max": 5}), 400, "SecurityGroupInvalidProtocolForPort"),
            (json!({"port_range_min": 1, "port_range_max": 5}), 400, "SecurityGroupProtocolRequiredWithPorts"),
            (json!({"protocol": "foo"}), 400, "SecurityGroupRuleInvalidProtocol"),
            (json!({"protocol": 256}), 400, "SecurityGroupRuleInvalidProtocol"),
            (json!({"protocol": ""}), 400, "SecurityGroupRuleInvalidProtocol"),
            (json!({"ethertype": "foo"}), 400, "SecurityGroupRuleInvalidEtherType"),
            (json!({"protocol": "icmp", "port_range_min": 256}), 400, "SecurityGroupInvalidIcmpValue"),
            (json!({"protocol": "icmp", "port_range_min": 0, "port_range_max": 300}), 400, "SecurityGroupInvalidIcmpValue"),
            (json!({"protocol": "icmp", "port_range_max": 3}), 400, "SecurityGroupMissingIcmpType"),
            (json!({"protocol": "ipv6-encap"}), 400, "SecurityGroupEthertypeConflictWithProtocol"),
            (json!({"protocol": "58"}), 400, "SecurityGroupEthertypeConflictWithProtocol"),
            (json!({"remote_ip_prefix": "10.0.0.300"}), 400, "InvalidCIDR"),
            (json!({"remote_ip_prefix": "2001:db8::/64"}), 400, "SecurityGroupRuleParameterConflict"),
            (json!({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": place.group}), 400, "SecurityGroupMultipleRemoteEntites"),
            (json!({"remote_group_id": "foo"}), 404, "SecurityGroupNotFound"),
            (json!({"remote_group_id": NOBODY}), 404, "SecurityGroupNotFound"),
            (json!({"remote_group_id": other.group}), 404, "SecurityGroupNotFound"),
            (json!({"remote_address_group_id": NOBODY}), 404, "AddressGroupNotFound"),
            (json!({"security_group_id": "foo"}), 404, "SecurityGroupNotFound"),
            (json!({"security_group_id": NOBODY}), 404, "SecurityGroupNotFound"),
            (json!({"security_group_id": other.group}), 403, "PolicyNotAuthorized"),
            (json!({"security_group_id": null}), 400, "HTTPBadRequest"),
            (json!({"direction": "foo"}), 400, "HTTPBadRequest"),
            (json!({"bogus": 1}), 400, "HTTPBadRequest"),
        ];
        let before = place.revision().await;
        for (wanted, status, kind) in cases {
            let answer = place.rule(wanted.clone()).await;
            assert_eq!((answer.status, answer.body["NeutronError"]["type"].as_str()), (status, Some(kind)), "{wanted}: {}", answer.text);
        }
        assert_eq!(place.revision().await, before);
        let rules = format!("{V2}/security-group-rules");
        cloud.post(&place.token, &rules, json!({"security_group_rule": {"direction": "ingress"}})).await.neutron(400, "HTTPBadRequest");
        cloud.get(&place.token, &format!("{rules}/foo")).await.neutron(404, "SecurityGroupRuleNotFound");
        let made = place.rule(ports(1, 2)).await.expect(201);
        let one = format!("{rules}/{}", id(&made["security_group_rule"]));
        assert_eq!(cloud.put(&place.token, &one, json!({"security_group_rule": {}})).await.status, 405);
        cloud.get(&other.token, &one).await.neutron(404, "SecurityGroupRuleNotFound");
        cloud.delete(&other.token, &one).await.neutron(404, "SecurityGroupRuleNotFound");
        cloud.delete(&place.token, &one).await.expect(204);
        cloud.delete(&place.token, &one).await.neutron(404, "SecurityGroupRuleNotFound");
        assert_eq!(place.revision().await, before + 2, "a rule that comes or goes counts as a change of its group");
    });
}

#[test]
fn no_two_rules_say_the_same() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let place = Arc::new(Place::of(&cloud, "finance").await);
        let first = place.rule(ports(80, 80)).await.expect(201);
        let first = id(&first["security_group_rule"]).to_owned();
        for same in
            [json!({"protocol": "6", "description": "again"}), json!({"remote_ip_prefix": "0.0.0.0/0"}), json!({"ethertype": "ipv4"})]
        {
            let mut wanted = ports(80, 80);
            wanted.as_object_mut().unwrap().extend(same.as_object().unwrap().clone());
            let answer = place.rule(wanted).await;
            assert_eq!(answer.body["NeutronError"]["message"], format!("Security group rule already exists. Rule id is {first}."));
            answer.neutron(409, "SecurityGroupRuleExists");
        }
        cloud.delete(&place.token, &format!("{V2}/security-group-rules/{first}")).await.expect(204);
        place.rule(ports(80, 80)).await.expect(201);
        let body = json!({"security_group_rule": place.body(&ports(443, 443))});
        let answers: Vec<Answer> = {
            let requests = (0..12).map(|_| cloud.post(&place.token, "/network/v2.0/security-group-rules", body.clone()));
            futures_join(requests).await
        };
        assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|it| it.status == 201 || it.body["NeutronError"]["type"] == "SecurityGroupRuleExists"), "{answers:?}");
    });
}

/// Waits for all at once.
async fn futures_join<F: Future<Output = Answer>>(all: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut waiting: Vec<_> = all.map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, answer) in &mut waiting {
            if answer.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *answer = Some(done);
            }
        }
        if waiting.iter().all(|(_, it)| it.is_some()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, it)| it).collect()
}

#[test]
fn several_at_once_are_of_one_group_and_all_or_none() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let place = Place::of(&cloud, "finance").await;
        let made = cloud.post(&place.token, &format!("{V2}/security-groups"), json!({"security_group": {}})).await.expect(201);
        let second = json!({"security_group_id": id(&made["security_group"])});
        place.rules(&[ports(1, 1), ports(1, 1)]).await.neutron(409, "DuplicateSecurityGroupRuleInPost");
        place.rules(&[ports(1, 1), second]).await.neutron(400, "SecurityGroupNotSingleGroupRules");
        let before = place.revision().await;
        let many: Vec<Value> = (1..=50).map(|it| ports(it, it)).collect();
        let made = place.rules(&many).await.expect(201);
        let shown: Vec<i64> =
            made["security_group_rules"].as_array().unwrap().iter().map(|it| it["port_range_min"].as_i64().unwrap()).collect();
        assert_eq!(shown, (1..=50).collect::<Vec<_>>(), "in the order of the request");
        assert_eq!(place.revision().await, before + 1);
        place.rules(&[ports(51, 51), ports(7, 7)]).await.neutron(409, "SecurityGroupRuleExists");
        place.rule(ports(51, 51)).await.expect(201);
        // The quota of 100 rules: 4 of the default group, 2 of each other, 51.
        let many: Vec<Value> = (100..=141).map(|it| ports(it, it)).collect();
        place.rules(&many).await.neutron(409, "OverQuota");
        place.rules(&many[1..]).await.expect(201);
    });
}

#[test]
fn lists_are_filtered_and_of_ones_own_groups() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (place, other) = (Place::of(&cloud, "finance").await, Place::of(&cloud, "other").await);
        place.rules(&[ports(1, 1), ports(2, 2), json!({"remote_group_id": place.group})]).await.expect(201);
        // By an administrator, who need not be of the project.
        let body = json!({"security_group_rule": place.body(&json!({"protocol": "udp"}))});
        let foreign = cloud.post(&cloud.admin, &format!("{V2}/security-group-rules"), body).await.expect(201);
        assert_eq!(foreign["security_group_rule"]["project_id"], cloud.admin.project);
        let count = async |token: &Token, filter: &str| {
            let found = cloud.get(token, &format!("{V2}/security-group-rules?{filter}")).await.expect(200);
            found["security_group_rules"].as_array().unwrap().len()
        };
        let group = &place.group;
        let cases = [
            (format!("security_group_id={group}"), 6),
            (String::new(), 10),
            (format!("security_group_id={group}&direction=ingress"), 4),
            ("protocol=tcp".into(), 2),
            ("port_range_min=2".into(), 1),
            (format!("remote_group_id={group}"), 1),
            ("belongs_to_default_sg=true".into(), 4),
            (format!("security_group_id={}", other.group), 0),
        ];
        for (filter, expected) in cases {
            assert_eq!(count(&place.token, &filter).await, expected, "{filter}");
        }
        let bad = cloud.get(&place.token, &format!("{V2}/security-group-rules?bogus=1")).await;
        bad.neutron(400, "HTTPBadRequest");
        let shown = cloud.get(&place.token, &format!("{V2}/security-groups/{group}")).await.expect(200);
        assert_eq!(shown["security_group"]["security_group_rules"].as_array().unwrap().len(), 6);
        cloud.delete(&place.token, &format!("{V2}/security-group-rules/{}", id(&foreign["security_group_rule"]))).await.expect(204);
    });
}

#[test]
fn rules_that_name_a_group_go_with_it() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let place = Place::of(&cloud, "finance").await;
        let made = cloud.post(&place.token, &format!("{V2}/security-groups"), json!({"security_group": {}})).await.expect(201);
        let remote = id(&made["security_group"]).to_owned();
        place.rule(json!({"remote_group_id": remote})).await.expect(201);
        cloud.delete(&place.token, &format!("{V2}/security-groups/{remote}")).await.expect(204);
        let found = cloud.get(&place.token, &format!("{V2}/security-group-rules?security_group_id={}", place.group)).await.expect(200);
        assert_eq!(found["security_group_rules"].as_array().unwrap().len(), 2);
        assert_eq!(world.store.allocations(&format!("sgr:{}", place.group)).await.unwrap().len(), 2);
        assert_eq!(world.store.usage("security_group_rule", &place.token.project).await.unwrap(), 6);
    });
}

#[test]
fn no_rule_is_left_of_a_group_that_goes() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let token = cloud.tenant("finance", "member").await;
        for round in 0..8 {
            let made = cloud.post(&token, &format!("{V2}/security-groups"), json!({"security_group": {}})).await.expect(201);
            let group = id(&made["security_group"]).to_owned();
            let mut tasks = JoinSet::new();
            for n in 1..=6_u16 {
                let (cloud, token) = (Arc::clone(&cloud), token.clone());
                let mut body = ports(n, n);
                body.as_object_mut()
                    .unwrap()
                    .extend(json!({"security_group_id": group, "direction": "ingress"}).as_object().unwrap().clone());
                let path = if n == 3 { format!("{V2}/security-groups/{group}") } else { format!("{V2}/security-group-rules") };
                tasks.spawn(async move {
                    if n == 3 {
                        cloud.delete(&token, &path).await
                    } else {
                        cloud.post(&token, &path, json!({"security_group_rule": body})).await
                    }
                });
            }
            for answer in tasks.join_all().await {
                let is_fine = [201, 204, 404].contains(&answer.status) || answer.body["NeutronError"]["type"] == "HTTPConflict";
                assert!(is_fine, "round {round}: {}", answer.text);
            }
            let gone = cloud.delete(&token, &format!("{V2}/security-groups/{group}")).await;
            assert!([204, 404].contains(&gone.status), "{}", gone.text);
        }
        let left = cloud.get(&token, &format!("{V2}/security-group-rules")).await.expect(200);
        assert_eq!(left["security_group_rules"].as_array().unwrap().len(), 4, "those of the default group");
        assert_eq!(world.store.usage("security_group_rule", &token.project).await.unwrap(), 4);
    });
}
