//! Lists of nodes from memory: nobody sees in them what is gone, what is another's, or what another version or address shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::App;
use http::Method;
use model::baremetal::PowerState;
use serde_json::{Value, json};
use store::Store;

use crate::desk::{Desk, Who};
use crate::world::{World, on_each};

const NODES: &str = "/baremetal/v1/nodes";
const DETAIL: &str = "/baremetal/v1/nodes/detail";

/// The API as another process serves it, over the same database.
async fn replica(desk: &Desk, world: &World) -> Desk {
    let store = Store::open(&world.url).await.unwrap();
    let app = Arc::new(App::new(store, desk.app.settings.clone()).await.unwrap());
    Desk { router: api::router(Arc::clone(&app)), app, admin: desk.admin.clone(), images: tempfile::tempdir().unwrap() }
}

fn by_id(page: &Value) -> BTreeMap<String, Value> {
    let nodes = page["nodes"].as_array().unwrap().iter();
    nodes.map(|it| (it["uuid"].as_str().unwrap().to_owned(), it.clone())).collect()
}

/// A list; asked twice, the second time it comes from memory.
async fn listed(desk: &Desk, who: &Who, path: &str) -> BTreeMap<String, Value> {
    let first = desk.get(who, path).await.expect(200);
    assert_eq!(desk.get(who, path).await.expect(200), first);
    by_id(&first)
}

/// All lists say of a node what the node itself says.
async fn agree(desk: &Desk, who: &Who) -> BTreeMap<String, Value> {
    let detail = listed(desk, who, DETAIL).await;
    let brief = listed(desk, who, NODES).await;
    let some = listed(desk, who, &format!("{NODES}?fields=uuid,extra,driver_info")).await;
    assert_eq!(detail.keys().collect::<Vec<_>>(), brief.keys().collect::<Vec<_>>());
    for (id, node) in &detail {
        assert_eq!(*node, desk.get(who, &format!("{NODES}/{id}")).await.expect(200));
        for less in [&brief[id], &some[id]] {
            for (key, value) in less.as_object().unwrap() {
                assert_eq!(node[key], *value, "{key}");
            }
        }
        assert_eq!((brief[id].as_object().unwrap().len(), some[id].as_object().unwrap().len()), (7, 4));
    }
    detail
}

#[test]
fn lists_show_what_changed_whoever_changed_it() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let other = replica(&desk, world).await;
        let admin = &desk.admin;
        let (a, b) = (desk.machine("a").await, desk.machine("b").await);
        assert_eq!(agree(&desk, admin).await.len(), 2);
        for (turn, by) in [&desk, &other, &desk, &other].into_iter().enumerate() {
            let patch = json!([{"op": "add", "path": "/extra/turn", "value": turn}]);
            by.patch(admin, &format!("{NODES}/{a}"), patch).await.expect(200);
            for at in [&desk, &other] {
                let nodes = agree(at, admin).await;
                assert_eq!((&nodes[&a]["extra"], &nodes[&b]["extra"]), (&json!({"turn": turn}), &json!({})));
            }
        }
        // What the engine sees, too.
        other.observe::<model::baremetal::Node>(&b, |node| node.observed.power = Some(PowerState::On)).await;
        assert_eq!(agree(&desk, admin).await[&b]["power_state"], "power on");
        // Gone, and there again under its old id and at its first revision.
        other.delete(admin, &format!("{NODES}/{b}")).await.expect(204);
        assert_eq!(agree(&desk, admin).await.len(), 1);
        other.post(admin, NODES, json!({"driver": "fake-hardware", "uuid": b, "name": "anew"})).await.expect(201);
        let nodes = agree(&desk, admin).await;
        assert_eq!((&nodes[&b]["driver"], &nodes[&b]["name"]), (&json!("fake-hardware"), &json!("anew")));
    });
}

#[test]
fn what_was_rendered_for_one_is_not_shown_to_another() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let (fiona, mick) = (desk.tenant("fiona", "finance").await, desk.tenant("mick", "medical").await);
        let id = desk.machine("m1").await;
        desk.machine("m2").await;
        let path = format!("{NODES}/{id}");
        desk.patch(admin, &path, json!([{"op": "add", "path": "/lessee", "value": fiona.project}])).await.expect(200);
        // The administrator first, so that all there is lies in memory.
        let all = agree(&desk, admin).await;
        assert_eq!((all.len(), &all[&id]["driver_info"]["redfish_address"]), (2, &json!("http://127.0.0.1:8101")));
        assert_eq!(all[&id]["driver_info"]["redfish_password"], "******");
        let leased = agree(&desk, &fiona).await;
        assert_eq!(leased.keys().collect::<Vec<_>>(), [&id]);
        assert!(!leased[&id].to_string().contains("8101"), "{}", leased[&id]);
        assert_eq!(agree(&desk, &mick).await, BTreeMap::new());
        // And the other way round: what the lessee was shown is not all there is.
        assert_eq!(agree(&desk, admin).await, all);
        // Somebody else's from now on.
        desk.patch(admin, &path, json!([{"op": "replace", "path": "/lessee", "value": mick.project}])).await.expect(200);
        assert_eq!(agree(&desk, &fiona).await, BTreeMap::new());
        assert_eq!(agree(&desk, &mick).await.keys().collect::<Vec<_>>(), [&id]);
    });
}

#[test]
fn each_version_and_address_has_its_own() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        desk.machine("m1").await;
        let ask = async |version: &str, host: &str, path: &str| {
            let headers = [("x-openstack-ironic-api-version", version), ("host", host)];
            let page = desk.call(admin, Method::GET, path, &headers, None).await.expect(200);
            page["nodes"][0].clone()
        };
        for _ in 0..2 {
            for (version, has) in [("1.1", false), ("1.50", false), ("1.51", true), ("1.95", true)] {
                for host in ["one:1", "two:2"] {
                    let detail = ask(version, host, DETAIL).await;
                    assert_eq!(detail.get("description").is_some(), has, "{version}");
                    let brief = ask(version, host, NODES).await;
                    assert_eq!(brief.get("name").is_some(), version != "1.1");
                    for node in [detail, brief] {
                        let start = format!("http://{host}/baremetal/v1/nodes/");
                        assert!(node["links"][0]["href"].as_str().unwrap().starts_with(&start), "{node}");
                    }
                }
            }
        }
    });
}
