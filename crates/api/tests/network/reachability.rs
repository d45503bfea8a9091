//! Whether one port reaches another, and why: the stored model as `network::reach` is given it.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Cloud, Token, id};
use crate::world::on_each;

async fn made(cloud: &Cloud, token: &Token, singular: &str, path: &str, body: Value) -> Value {
    cloud.post(token, &format!("{V2}/{path}"), json!({ singular: body })).await.expect(201)[singular].clone()
}

/// The answer to a question: whether it reaches, what blocks, and all of it.
async fn asked(cloud: &Cloud, token: &Token, from: &Value, to: &Value, more: &str) -> (bool, String, Value) {
    let path = format!("{V2}/cofferdam/reachability?from={}&to={}{more}", id(from), id(to));
    let answer = cloud.get(token, &path).await.expect(200)["reachability"].clone();
    let steps = answer["steps"].as_array().unwrap();
    let blocker = steps.iter().find(|it| it["effect"] == "blocks").map_or("", |it| it["kind"].as_str().unwrap());
    (answer["reachable"].as_bool().unwrap(), blocker.to_owned(), answer)
}

fn has(answer: &Value, kind: &str) -> bool {
    answer["steps"].as_array().unwrap().iter().any(|it| it["kind"] == kind && !it["text"].as_str().unwrap().is_empty())
}

#[test]
fn groups_decide_on_one_network() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let net = cloud.network(&finance, "n").await;
        cloud.subnet(&finance, &net, "10.0.0.0/24").await;
        let port = async |more: Value| cloud.port(&finance, &net, more).await.expect(201)["port"].clone();
        let (a, b) = (port(json!({"name": "a"})).await, port(json!({"name": "b"})).await);
        let (reachable, _, answer) = asked(&cloud, &finance, &a, &b, "").await;
        assert!(reachable, "{answer:#}");
        assert!(has(&answer, "ingress_allowed") && has(&answer, "same_network") && has(&answer, "reply_tracked"), "{answer:#}");
        assert_eq!((&answer["from"], &answer["to"]), (&a["id"], &b["id"]));

        let group = made(&cloud, &finance, "security_group", "security-groups", json!({"name": "web"})).await;
        let rule = json!({
            "security_group_id": id(&group), "direction": "ingress", "protocol": "tcp", "port_range_min": 80, "port_range_max": 81,
        });
        let rule = made(&cloud, &finance, "security_group_rule", "security-group-rules", rule).await;
        let change = json!({"port": {"security_groups": [id(&group)]}});
        cloud.put(&finance, &format!("{V2}/ports/{}", id(&b)), change).await.expect(200);
        let (reachable, _, answer) = asked(&cloud, &finance, &a, &b, "&protocol=tcp&port=80").await;
        assert!(reachable, "{answer:#}");
        assert!(answer["steps"].as_array().unwrap().iter().any(|it| it["security_group_rule"] == rule["id"]), "{answer:#}");
        let (reachable, blocker, _) = asked(&cloud, &finance, &a, &b, "&protocol=tcp&port=22").await;
        assert_eq!((reachable, blocker.as_str()), (false, "ingress_denied"));
        // Without a protocol: whether anything does.
        let (reachable, _, answer) = asked(&cloud, &finance, &a, &b, "").await;
        assert!(reachable && answer["traffic"]["ports"] == json!([80, 81]), "{answer:#}");

        let change = json!({"port": {"admin_state_up": false}});
        cloud.put(&finance, &format!("{V2}/ports/{}", id(&b)), change).await.expect(200);
        assert_eq!(asked(&cloud, &finance, &a, &b, "").await.1, "port_down");
    });
}

#[test]
fn only_who_sees_both_ports_is_answered() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, medical) = (cloud.tenant("finance", "member").await, cloud.tenant("medical", "member").await);
        let mut ports = Vec::new();
        for tenant in [&finance, &medical] {
            let net = cloud.network(tenant, "n").await;
            cloud.subnet(tenant, &net, "10.0.0.0/24").await;
            ports.push(cloud.port(tenant, &net, json!({})).await.expect(201)["port"].clone());
        }
        let path = |from: &Value, to: &Value, more: &str| format!("{V2}/cofferdam/reachability?from={}&to={}{more}", id(from), id(to));
        for (from, to) in [(0, 1), (1, 0)] {
            cloud.get(&finance, &path(&ports[from], &ports[to], "")).await.neutron(404, "PortNotFound");
            let (reachable, blocker, answer) = asked(&cloud, &cloud.admin, &ports[from], &ports[to], "").await;
            assert!(!reachable, "{answer:#}");
            assert!(!blocker.is_empty(), "{answer:#}");
        }
        cloud.get(&finance, &format!("{V2}/cofferdam/reachability?from={}", id(&ports[0]))).await.neutron(400, "InvalidInput");
        let more = ["&colour=red", "&protocol=what", "&port=70000", "&protocol=icmp&port=1", "&from_address=x", "&ip_version=5"];
        for more in more {
            cloud.get(&cloud.admin, &path(&ports[0], &ports[1], more)).await.neutron(400, "InvalidInput");
        }
    });
}

#[test]
fn routers_scopes_and_floating_ips_decide_between_networks() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let external = made(&cloud, admin, "network", "networks", json!({"name": "x", "router:external": true})).await;
        cloud.subnet(admin, &external, "203.0.113.0/24").await;
        let mut ends = Vec::new();
        for name in ["finance", "medical"] {
            let tenant = cloud.tenant(name, "member").await;
            let net = cloud.network(&tenant, "n").await;
            let subnet = cloud.subnet(&tenant, &net, "10.0.0.0/24").await;
            let other = cloud.network(&tenant, "m").await;
            let other_subnet = cloud.subnet(&tenant, &other, "10.1.0.0/24").await;
            let port = cloud.port(&tenant, &net, json!({})).await.expect(201)["port"].clone();
            let neighbour = cloud.port(&tenant, &other, json!({})).await.expect(201)["port"].clone();
            assert_eq!(asked(&cloud, &tenant, &port, &neighbour, "").await.1, "nobody_there");
            let router = made(&cloud, &tenant, "router", "routers", json!({"name": "r"})).await;
            for subnet in [&subnet, &other_subnet] {
                let path = format!("{V2}/routers/{}/add_router_interface", id(&router));
                cloud.put(&tenant, &path, json!({"subnet_id": id(subnet)})).await.expect(200);
            }
            let (reachable, _, answer) = asked(&cloud, &tenant, &port, &neighbour, "").await;
            assert!(reachable, "{answer:#}");
            assert!(has(&answer, "enters_router") && has(&answer, "same_scope") && has(&answer, "connected"), "{answer:#}");
            let gateway = json!({"router": {"external_gateway_info": {"network_id": id(&external)}}});
            cloud.put(&tenant, &format!("{V2}/routers/{}", id(&router)), gateway).await.expect(200);
            ends.push((tenant, port, neighbour));
        }
        let ((finance, a, _), (medical, b, neighbour)) = (&ends[0], &ends[1]);
        let (reachable, blocker, answer) = asked(&cloud, admin, a, b, "").await;
        assert!(!reachable && !blocker.is_empty(), "{answer:#}");

        let floating = json!({"floating_network_id": id(&external), "port_id": id(b)});
        let floating = made(&cloud, medical, "floatingip", "floatingips", floating).await;
        assert_eq!(asked(&cloud, admin, a, b, "").await.1, "ingress_denied");
        let all = json!({"port": {"port_security_enabled": false, "security_groups": []}});
        cloud.put(medical, &format!("{V2}/ports/{}", id(b)), all).await.expect(200);
        let (reachable, _, answer) = asked(&cloud, admin, a, b, "").await;
        assert!(reachable, "{answer:#}");
        assert!(has(&answer, "source_nat") && has(&answer, "floating_target") && has(&answer, "untranslated"), "{answer:#}");
        assert_eq!(answer["to_address"], floating["floating_ip_address"]);

        // Only what is forwarded gets to the other one.
        let outside = made(&cloud, medical, "floatingip", "floatingips", json!({"floating_network_id": id(&external)})).await;
        let address = neighbour["fixed_ips"][0]["ip_address"].clone();
        let forwarding = json!({
            "internal_port_id": id(neighbour), "internal_ip_address": address, "protocol": "tcp", "internal_port": 22, "external_port": 2222,
        });
        let path = format!("{V2}/floatingips/{}/port_forwardings", id(&outside));
        cloud.post(medical, &path, json!({"port_forwarding": forwarding})).await.expect(201);
        let all = json!({"port": {"port_security_enabled": false, "security_groups": []}});
        cloud.put(medical, &format!("{V2}/ports/{}", id(neighbour)), all).await.expect(200);
        let (reachable, _, answer) = asked(&cloud, admin, a, neighbour, "&protocol=tcp&port=2222").await;
        assert!(reachable && has(&answer, "forwarded"), "{answer:#}");
        assert!(!asked(&cloud, admin, a, neighbour, "&protocol=tcp&port=22").await.0);
        assert!(!asked(&cloud, admin, b, a, "").await.0, "nothing leads to one behind SNAT");
        cloud.get(finance, &format!("{V2}/cofferdam/reachability?from={}&to={}", id(a), id(b))).await.neutron(404, "PortNotFound");
    });
}
