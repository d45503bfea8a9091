//! What happens at the same moment: addresses stay apart, and nothing is left on what is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::net::{Network, Port};
use model::{Id, Object};
use serde_json::json;
use store::Query;
use tokio::task::JoinSet;

use crate::support::{Answer, Cloud, id};
use crate::world::on_each;

const PORTS: &str = "/network/v2.0/ports";

fn addresses(answers: &[Answer]) -> Vec<String> {
    let ports = answers.iter().map(|it| &it.body["port"]);
    ports.flat_map(|it| it["fixed_ips"].as_array().unwrap().iter().map(|it| it["ip_address"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn ports_made_at_once_share_no_address() {
    on_each(async |world| {
        // Two replicas over one store.
        let clouds = [Arc::new(Cloud::start(world).await), Arc::new(Cloud::start(world).await)];
        let finance = clouds[0].tenant("finance", "member").await;
        let network = clouds[0].network(&finance, "blue").await;
        let subnet = clouds[0].subnet(&finance, &network, "10.0.0.0/26").await;
        let mut tasks = JoinSet::new();
        for n in 0..48 {
            let (cloud, finance, network) = (Arc::clone(&clouds[n % 2]), finance.clone(), network.clone());
            let asked = if n % 8 == 7 { json!({"fixed_ips": [{"ip_address": "10.0.0.60"}]}) } else { json!({}) };
            tasks.spawn(async move { cloud.port(&finance, &network, asked).await });
        }
        let (made, refused): (Vec<Answer>, Vec<Answer>) = tasks.join_all().await.into_iter().partition(|it| it.status == 201);
        assert_eq!(made.len(), 43, "{refused:?}");
        assert!(refused.iter().all(|it| it.body["NeutronError"]["type"] == "IpAddressAlreadyAllocated"), "{refused:?}");
        let all = addresses(&made);
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (43, 43));
        let macs: BTreeSet<&str> = made.iter().map(|it| it.body["port"]["mac_address"].as_str().unwrap()).collect();
        assert_eq!(macs.len(), 43);
        assert_eq!(world.store.allocations(&format!("ip:{}", id(&subnet))).await.unwrap().len(), 43);
    });
}

#[test]
fn one_address_for_many() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let finance = cloud.tenant("finance", "member").await;
        let network = cloud.network(&finance, "blue").await;
        cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        let wanted = [json!({"fixed_ips": [{"ip_address": "10.0.0.9"}]}), json!({"mac_address": "52:54:00:00:00:09"})];
        for (attributes, kind) in wanted.into_iter().zip(["IpAddressAlreadyAllocated", "MacAddressInUse"]) {
            let mut tasks = JoinSet::new();
            for _ in 0..16 {
                let (cloud, finance, network, attributes) = (Arc::clone(&cloud), finance.clone(), network.clone(), attributes.clone());
                tasks.spawn(async move { cloud.port(&finance, &network, attributes).await });
            }
            let answers = tasks.join_all().await;
            assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1, "{answers:?}");
            assert!(answers.iter().all(|it| it.status == 201 || it.body["NeutronError"]["type"] == kind), "{answers:?}");
        }
    });
}

#[test]
fn a_network_is_not_deleted_from_under_a_port() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let finance = cloud.tenant("finance", "member").await;
        for round in 0..24 {
            let network = cloud.network(&finance, "blue").await;
            let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
            // Alone, beside a port without an address, or beside one on its way out, which the engine has yet to remove.
            if round % 3 > 0 {
                let other = cloud.port(&finance, &network, json!({"fixed_ips": []})).await.expect(201)["port"].take();
                if round % 3 == 2 {
                    let other = format!("{PORTS}/{}", id(&other));
                    cloud.put(&finance, &other, json!({"port": {"name": "changed, thus maybe bound"}})).await.expect(200);
                    cloud.delete(&finance, &other).await.expect(204);
                }
            }
            let mut tasks = JoinSet::new();
            for n in 0..4 {
                let (cloud, finance, network, subnet) = (Arc::clone(&cloud), finance.clone(), network.clone(), subnet.clone());
                tasks.spawn(async move {
                    match (n, round / 3 % 2) {
                        (0, 0) => cloud.delete(&finance, &format!("/network/v2.0/networks/{}", id(&network))).await,
                        (0, _) => cloud.delete(&finance, &format!("/network/v2.0/subnets/{}", id(&subnet))).await,
                        _ => cloud.port(&finance, &network, json!({})).await,
                    }
                });
            }
            let answers = tasks.join_all().await;
            assert!(answers.iter().all(|it| [201, 204, 404, 409].contains(&it.status)), "{answers:?}");
            let ports = world.store.list(&Query::<Port>::new().column("network_id", [id(&network).to_owned()])).await.unwrap();
            let stored: Option<Object<Network>> = world.store.get(&Id::parse(id(&network)).unwrap()).await.unwrap();
            if stored.is_none_or(|it| it.is_deleting()) {
                assert!(ports.is_empty(), "ports are left on a deleted network: {ports:?}");
            }
            let there: BTreeSet<String> =
                world.store.list(&Query::<model::net::Subnet>::new()).await.unwrap().into_iter().map(|it| it.id.to_string()).collect();
            for ip in ports.iter().flat_map(|it| &it.desired.fixed_ips) {
                assert!(there.contains(ip.subnet_id.as_str()), "an address is left on a deleted subnet");
            }
            for port in ports {
                cloud.delete(&finance, &format!("{PORTS}/{}", port.id)).await.expect(204);
            }
        }
    });
}

#[test]
fn changes_at_once_all_count() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        // One who may change hardware addresses too.
        let finance = cloud.tenant("finance", "manager").await;
        let network = cloud.network(&finance, "blue").await;
        cloud.subnet(&finance, &network, "10.0.0.0/24").await;
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        let changes = [
            json!({"name": "n"}),
            json!({"description": "d"}),
            json!({"device_id": "x"}),
            json!({"admin_state_up": false}),
            json!({"fixed_ips": [{"ip_address": "10.0.0.200"}]}),
            json!({"mac_address": "52:54:00:00:00:01"}),
        ];
        let mut tasks = JoinSet::new();
        for change in changes.clone() {
            let (cloud, finance, path) = (Arc::clone(&cloud), finance.clone(), format!("{PORTS}/{}", id(&port)));
            tasks.spawn(async move { cloud.put(&finance, &path, json!({"port": change})).await.status });
        }
        assert_eq!(tasks.join_all().await, [200; 6]);
        let shown = cloud.get(&finance, &format!("{PORTS}/{}", id(&port))).await.expect(200)["port"].take();
        for (key, value) in changes.iter().flat_map(|it| it.as_object().unwrap()) {
            let shown = if key == "fixed_ips" { json!([{"ip_address": shown[key][0]["ip_address"]}]) } else { shown[key].clone() };
            assert_eq!(shown, *value, "{key}");
        }
        assert_eq!(shown["revision_number"], 7);
        assert_eq!(world.store.allocations(&format!("mac:{}", id(&network))).await.unwrap().len(), 1);
    });
}

#[test]
fn changes_of_a_project_at_once_all_count() {
    on_each(async |world| {
        let cloud = Arc::new(Cloud::start(world).await);
        let project = cloud.make("project", json!({"name": "finance"})).await;
        let changes = [json!({"description": "new"}), json!({"enabled": false}), json!({"tags": ["a"]}), json!({"name": "other"})];
        let mut tasks = tokio::task::JoinSet::new();
        for change in changes {
            let (cloud, path) = (Arc::clone(&cloud), format!("/identity/v3/projects/{project}"));
            tasks.spawn(async move { cloud.patch(&cloud.admin, &path, json!({"project": change})).await.status });
        }
        assert_eq!(tasks.join_all().await, [200; 4]);
        let shown = cloud.get(&cloud.admin, &format!("/identity/v3/projects/{project}")).await.expect(200)["project"].take();
        assert_eq!(
            (&shown["description"], &shown["enabled"], &shown["tags"], &shown["name"]),
            (&json!("new"), &json!(false), &json!(["a"]), &json!("other"))
        );
    });
}
