//! Agents, what they serve, availability zones, use of addresses, service providers.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Cloud, Token, id, sorted};
use crate::world::on_each;

async fn beat(cloud: &Cloud, who: &Token, host: &str, agent: Value) -> crate::support::Answer {
    cloud.put(who, &format!("{V2}/cofferdam/agents/{host}"), json!({ "agent": agent })).await
}

#[test]
fn agents_say_that_they_are_there() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (admin, agents) = (&cloud.admin, format!("{V2}/agents"));
        let (service, member) = (cloud.tenant("service", "service").await, cloud.tenant("finance", "member").await);
        let said = json!({"agent_type": "DHCP agent", "binary": "cofferdam-dhcp", "availability_zone": "east", "configurations": {"a": 1}});
        beat(&cloud, &member, "h1", said.clone()).await.neutron(403, "PolicyNotAuthorized");
        for wrong in
            [json!({}), json!({"agent_type": ""}), json!({"agent_type": "x", "colour": 1}), json!({"agent_type": "x", "configurations": 1})]
        {
            beat(&cloud, &service, "h1", wrong).await.neutron(400, "HTTPBadRequest");
        }
        beat(&cloud, &service, "h1", said.clone()).await.expect(200);
        beat(&cloud, admin, "h2", json!({"agent_type": "L3 agent", "binary": "cofferdam-l3", "availability_zone": "west"}))
            .await
            .expect(200);
        let listed = cloud.get(admin, &agents).await.expect(200)["agents"].take();
        assert_eq!(sorted(&listed, "host"), ["h1", "h2"]);
        let agent = cloud.get(admin, &format!("{agents}?host=h1&alive=True")).await.expect(200)["agents"][0].take();
        let wanted = json!({
            "agent_type": "DHCP agent", "binary": "cofferdam-dhcp", "host": "h1", "topic": "", "admin_state_up": true, "alive": true,
            "availability_zone": "east", "configurations": {"a": 1}, "description": null, "resources_synced": null,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&agent[key], value, "{key}");
        }
        let at = format!("{agents}/{}", id(&agent));
        // Neutron's own form of an agent's moments: no zone.
        assert_eq!(agent["heartbeat_timestamp"].as_str().map(str::len), Some("2026-11-21 12:00:00".len()));
        let changed =
            cloud.put(admin, &at, json!({"agent": {"admin_state_up": false, "description": "d"}})).await.expect(200)["agent"].take();
        assert_eq!((&changed["admin_state_up"], &changed["description"]), (&json!(false), &json!("d")));
        // What operators say stays when it speaks again.
        let again = beat(&cloud, &service, "h1", said).await.expect(200);
        assert_eq!((&again["agent"]["description"], &again["agent"]["id"]), (&json!("d"), &agent["id"]));
        let reader = cloud.tenant("medical", "reader").await;
        let zones = cloud.get(&reader, &format!("{V2}/availability_zones?resource=network")).await.expect(200);
        assert_eq!(zones["availability_zones"], json!([{"name": "east", "resource": "network", "state": "unavailable"}]));
        cloud.get(&reader, &format!("{V2}/availability_zones?colour=red")).await.neutron(400, "InvalidInput");
        assert_eq!(cloud.get(&reader, &agents).await.expect(200)["agents"], json!([]));
        cloud.get(&reader, &at).await.neutron(404, "AgentNotFound");
        let hinted = |zone: &str| json!({"network": {"availability_zone_hints": [zone]}});
        let network = cloud.post(&member, &format!("{V2}/networks"), hinted("east")).await.expect(201)["network"].take();
        assert_eq!(network["availability_zone_hints"], json!(["east"]));
        // There it serves routers only.
        cloud.post(&member, &format!("{V2}/networks"), hinted("west")).await.neutron(404, "AvailabilityZoneNotFound");
        cloud.post(admin, &agents, json!({"agent": {}})).await.neutron(400, "BadRequest");
        cloud.delete(admin, &at).await.expect(204);
        cloud.get(admin, &at).await.neutron(404, "AgentNotFound");
    });
}

#[test]
fn agents_serve_networks() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        let dhcp = json!({"agent_type": "DHCP agent", "availability_zone": "east"});
        let dhcp = beat(&cloud, admin, "h1", dhcp).await.expect(200)["agent"].take();
        let other = beat(&cloud, admin, "h1", json!({"agent_type": "L3 agent"})).await.expect(200)["agent"].take();
        let of = |agent: &Value| format!("{V2}/agents/{}/dhcp-networks", id(agent));
        let body = json!({"network_id": id(&network)});
        cloud.post(&finance, &of(&dhcp), body.clone()).await.neutron(403, "PolicyNotAuthorized");
        cloud.post(admin, &of(&other), body.clone()).await.neutron(404, "InvalidDHCPAgent");
        cloud.post(admin, &of(&dhcp), json!({"network_id": id(&dhcp)})).await.neutron(404, "NetworkNotFound");
        cloud.post(admin, &of(&dhcp), body.clone()).await.expect(201);
        cloud.post(admin, &of(&dhcp), body.clone()).await.neutron(409, "NetworkHostedByDHCPAgent");
        assert_eq!(sorted(&cloud.get(admin, &of(&dhcp)).await.expect(200)["networks"], "name"), ["blue"]);
        let agents = format!("{V2}/networks/{}/dhcp-agents", id(&network));
        assert_eq!(sorted(&cloud.get(admin, &agents).await.expect(200)["agents"], "host"), ["h1"]);
        let at = format!("{V2}/networks/{}", id(&network));
        assert_eq!(cloud.get(&finance, &at).await.expect(200)["network"]["availability_zones"], json!(["east"]));
        let one = format!("{}/{}", of(&dhcp), id(&network));
        cloud.delete(admin, &one).await.expect(204);
        cloud.delete(admin, &one).await.neutron(409, "NetworkNotHostedByDhcpAgent");
        // Whichever of the two goes, its part of it goes too.
        cloud.post(admin, &of(&dhcp), body.clone()).await.expect(201);
        cloud.delete(&finance, &at).await.expect(204);
        assert_eq!(cloud.get(admin, &of(&dhcp)).await.expect(200)["networks"], json!([]));
        let network = cloud.network(&finance, "red").await;
        cloud.post(admin, &of(&dhcp), json!({"network_id": id(&network)})).await.expect(201);
        cloud.delete(admin, &format!("{V2}/agents/{}", id(&dhcp))).await.expect(204);
        cloud.get(admin, &of(&dhcp)).await.neutron(404, "AgentNotFound");
        let agents = format!("{V2}/networks/{}/dhcp-agents", id(&network));
        assert_eq!(cloud.get(admin, &agents).await.expect(200)["agents"], json!([]));
    });
}

#[test]
fn how_far_addresses_are_used() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (admin, all) = (&cloud.admin, format!("{V2}/network-ip-availabilities"));
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        let empty = cloud.network(&finance, "empty").await;
        let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        let v6 = json!({"subnet": {"network_id": id(&network), "ip_version": 6, "cidr": "fd00::/64"}});
        cloud.post(&finance, &format!("{V2}/subnets"), v6).await.expect(201);
        let fixed = json!({"fixed_ips": [{"subnet_id": id(&subnet)}]});
        let port = cloud.port(&finance, &network, fixed).await.expect(201)["port"].take();
        cloud.port(&finance, &network, json!({"fixed_ips": [{"subnet_id": id(&subnet)}]})).await.expect(201);
        assert_eq!(cloud.get(&finance, &all).await.expect(200)["network_ip_availabilities"], json!([]));
        let one = format!("{all}/{}", id(&network));
        cloud.get(&finance, &one).await.neutron(404, "NetworkNotFound");
        let listed = cloud.get(admin, &format!("{all}?ip_version=4")).await.expect(200)["network_ip_availabilities"].take();
        let entry = &listed[0];
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!((&entry["total_ips"], &entry["used_ips"], &entry["network_name"]), (&json!(253), &json!(2), &json!("blue")));
        let of_subnet = &entry["subnet_ip_availability"][0];
        assert_eq!((&of_subnet["subnet_id"], &of_subnet["cidr"]), (&subnet["id"], &json!("10.0.0.0/24")));
        let details = json!({"total_ips_in_subnet": 254, "total_ips_in_allocation_pool": 253, "used_ips_in_subnet": 2, "used_ips_in_allocation_pool": 2});
        assert_eq!(of_subnet["ip_availability_details"], details);
        // More addresses than 64 bits count.
        let text = cloud.get(admin, &one).await.text;
        assert!(text.contains("\"total_ips_in_subnet\":18446744073709551616"), "{text}");
        let named = cloud.get(admin, &format!("{all}?network_name=empty&fields=network_id&fields=total_ips")).await.expect(200);
        assert_eq!(named["network_ip_availabilities"], json!([{"network_id": id(&empty), "total_ips": 0}]));
        cloud.delete(&finance, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        assert_eq!(
            cloud.get(admin, &format!("{all}?network_id={}&ip_version=4", id(&network))).await.expect(200)["network_ip_availabilities"][0]
                ["used_ips"],
            1
        );
    });
}

#[test]
fn service_providers() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let reader = cloud.tenant("finance", "reader").await;
        let all = cloud.get(&reader, &format!("{V2}/service-providers")).await.expect(200);
        assert!(all["service_providers"].as_array().unwrap().iter().any(|it| it["service_type"] == "L3_ROUTER_NAT"), "{all}");
        let none = cloud.get(&reader, &format!("{V2}/service-providers?service_type=NOTHING")).await.expect(200);
        assert_eq!(none["service_providers"], json!([]));
    });
}
