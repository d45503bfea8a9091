//! Networks, and what all lists of the network service can do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::{App, FabricSettings, Settings};
use http::Method;
use model::net::{Network, VlanId, vlan_key};
use model::{Id, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Outcome, Store};

use crate::desk::{Desk, Who};
use crate::world::on_each;
use crate::{each, neutron_refused, nobody, text};

const NETWORKS: &str = "/network/v2.0/networks";

async fn made(desk: &Desk, who: &Who, network: Value) -> Value {
    desk.post(who, NETWORKS, json!({ "network": network })).await.expect(201)["network"].clone()
}

fn at(network: &Value) -> String {
    format!("{NETWORKS}/{}", text(network, "/id"))
}

/// A network of that VLAN of the fabric.
fn on_fabric(vlan: u16) -> Value {
    json!({"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": vlan})
}

/// The same store behind a control plane with another range of VLANs.
async fn with_range(desk: &Desk, store: &Store, first: u16, last: u16) -> Desk {
    let fabric = FabricSettings { vlan_range: (first, last), ..desk.app.settings.fabric.clone() };
    let app = App::new(store.clone(), Settings { fabric, ..desk.app.settings.clone() }).await.unwrap();
    let app = Arc::new(app);
    Desk { router: api::router(Arc::clone(&app)), app, admin: desk.admin.clone(), images: tempfile::tempdir().unwrap() }
}

#[test]
fn made_shown_changed_deleted() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let net = made(&desk, &ann, json!({"name": "blue", "description": "d"})).await;
        let wanted = json!({
            "name": "blue", "description": "d", "admin_state_up": true, "status": "ACTIVE", "shared": false, "router:external": false,
            "mtu": 1500, "port_security_enabled": true, "project_id": ann.project, "tenant_id": ann.project, "subnets": [], "tags": [],
            "revision_number": 1,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&net[key], value, "{key}");
        }
        assert!(text(&net, "/created_at").ends_with('Z'));
        assert!(net.as_object().unwrap().keys().all(|it| !it.starts_with("provider:")), "segments are the operator's: {net}");
        assert_eq!(desk.get(&ann, &at(&net)).await.expect(200)["network"], net);
        let seen_by_admin = desk.get(&desk.admin, &at(&net)).await.expect(200)["network"].clone();
        assert_eq!(seen_by_admin["provider:network_type"], "vlan");
        assert_eq!(seen_by_admin["provider:physical_network"], "physnet1");
        assert_eq!(seen_by_admin["provider:segmentation_id"], 100);

        let change = json!({"network": {"name": "red", "description": "", "admin_state_up": false, "port_security_enabled": "false"}});
        let changed = desk.put(&ann, &at(&net), change).await.expect(200)["network"].clone();
        assert_eq!((&changed["name"], &changed["admin_state_up"], &changed["revision_number"]), (&json!("red"), &json!(false), &json!(2)));
        let fields = desk.get(&ann, &format!("{}?fields=name&fields=subnets", at(&net))).await.expect(200);
        assert_eq!(fields, json!({"network": {"name": "red", "subnets": []}}));

        for (wrong, word) in [
            (json!({"network": {"name": "x".repeat(256)}}), "name"),
            (json!({"network": {"admin_state_up": "maybe"}}), "admin_state_up"),
            (json!({"network": {"mtu": 1501}}), "MTU"),
            (json!({"network": {"colour": "blue", "id": "x"}}), "colour"),
            (json!({"network": {"status": "DOWN"}}), "status"),
            (json!({"network": {"project_id": ann.project, "tenant_id": "other"}}), "t_id"),
            (json!({"network": []}), "network"),
            (json!({"subnet": {}}), "network"),
        ] {
            for answer in [desk.post(&ann, NETWORKS, wrong.clone()).await, desk.put(&ann, &at(&net), wrong.clone()).await] {
                assert_eq!(answer.status.as_u16(), 400, "{wrong}: {}", answer.body);
                assert!(text(&answer.body, "/NeutronError/message").contains(word), "{wrong}: {}", answer.body);
            }
        }
        for admins in [
            json!({"network": {"shared": true}}),
            json!({"network": {"router:external": true}}),
            json!({"network": {"provider:segmentation_id": 150}}),
            json!({"network": {"provider:network_type": "vlan"}}),
        ] {
            neutron_refused(&desk.post(&ann, NETWORKS, admins).await, 403, "PolicyNotAuthorized");
        }
        let other = json!({"network": {"project_id": desk.admin.project}});
        neutron_refused(&desk.post(&ann, NETWORKS, other).await, 400, "HTTPBadRequest");
        let for_ann = made(&desk, &desk.admin, json!({"project_id": ann.project})).await;
        assert_eq!(desk.get(&ann, &at(&for_ann)).await.status.as_u16(), 200);
        assert_eq!(desk.get(&desk.admin, &at(&net)).await.expect(200)["network"]["revision_number"], 2, "refusals changed nothing");

        desk.delete(&ann, &at(&net)).await.expect(204);
        for answer in [
            desk.get(&ann, &at(&net)).await,
            desk.delete(&ann, &at(&net)).await,
            desk.put(&ann, &at(&net), json!({"network": {"name": "x"}})).await,
        ] {
            neutron_refused(&answer, 404, "NetworkNotFound");
        }
        let left = desk.get(&ann, NETWORKS).await.expect(200);
        assert_eq!(each(&left, "networks", "id"), [text(&for_ann, "/id")]);
    });
}

#[test]
fn what_is_anothers_does_not_exist() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let eve = desk.tenant("eve", "medical").await;
        let net = made(&desk, &ann, json!({"name": "blue"})).await;
        let id = text(&net, "/id");
        let answers = [
            desk.get(&eve, &at(&net)).await,
            desk.put(&eve, &at(&net), json!({"network": {"name": "mine"}})).await,
            desk.delete(&eve, &at(&net)).await,
            desk.post(&eve, "/network/v2.0/ports", json!({"port": {"network_id": id}})).await,
            desk.post(&eve, "/network/v2.0/subnets", json!({"subnet": {"network_id": id, "cidr": "10.0.0.0/24", "ip_version": 4}})).await,
        ];
        for answer in &answers {
            neutron_refused(answer, 404, "NetworkNotFound");
        }
        for query in ["".to_owned(), format!("?id={id}"), "?name=blue".into(), format!("?project_id={}", ann.project)] {
            assert_eq!(desk.get(&eve, &format!("{NETWORKS}{query}")).await.expect(200), json!({"networks": []}), "{query}");
        }

        desk.put(&desk.admin, &at(&net), json!({"network": {"shared": true}})).await.expect(200);
        assert_eq!(each(&desk.get(&eve, &format!("{NETWORKS}?shared=true")).await.expect(200), "networks", "id"), [id]);
        desk.get(&eve, &at(&net)).await.expect(200);
        neutron_refused(&desk.put(&eve, &at(&net), json!({"network": {"name": "mine"}})).await, 403, "PolicyNotAuthorized");
        neutron_refused(&desk.delete(&eve, &at(&net)).await, 403, "PolicyNotAuthorized");
        let port = desk.post(&eve, "/network/v2.0/ports", json!({"port": {"network_id": id}})).await.expect(201);
        let back = json!({"network": {"shared": false}});
        neutron_refused(&desk.put(&desk.admin, &at(&net), back.clone()).await, 409, "InvalidSharedSetting");
        desk.delete(&eve, &format!("/network/v2.0/ports/{}", text(&port, "/port/id"))).await.expect(204);
        desk.put(&desk.admin, &at(&net), back).await.expect(200);
        neutron_refused(&desk.get(&eve, &at(&net)).await, 404, "NetworkNotFound");
    });
}

#[test]
fn readers_read_only() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let net = made(&desk, &ann, json!({"name": "blue"})).await;
        let rita = desk.somebody("rita", "finance", "reader").await;
        let stranger = desk.somebody("rex", "medical", "reader").await;
        desk.get(&rita, &at(&net)).await.expect(200);
        assert_eq!(each(&desk.get(&rita, NETWORKS).await.expect(200), "networks", "name"), ["blue"]);
        desk.put(&desk.admin, &at(&net), json!({"network": {"shared": true}})).await.expect(200);
        let id = text(&net, "/id");
        for reader in [&rita, &stranger] {
            desk.get(reader, &at(&net)).await.expect(200);
            for answer in [
                desk.post(reader, NETWORKS, json!({"network": {}})).await,
                desk.put(reader, &at(&net), json!({"network": {"name": "red"}})).await,
                desk.delete(reader, &at(&net)).await,
                desk.post(reader, "/network/v2.0/subnets", json!({"subnet": {"network_id": id, "ip_version": 4, "cidr": "10.0.0.0/24"}}))
                    .await,
                desk.post(reader, "/network/v2.0/ports", json!({"port": {"network_id": id}})).await,
            ] {
                neutron_refused(&answer, 403, "PolicyNotAuthorized");
            }
        }
    });
}

#[test]
fn lists_are_filtered_sorted_and_cut() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let mut ids = Vec::new();
        for (name, is_up) in [("c", true), ("a", false), ("b", true), ("b", false), ("d e&f", true)] {
            let net = made(&desk, &ann, json!({"name": name, "admin_state_up": is_up})).await;
            ids.push(text(&net, "/id").to_owned());
        }
        let list = async |query: &str| desk.get(&ann, &format!("{NETWORKS}?{query}")).await;
        let names = async |query: &str| {
            let body = list(query).await.expect(200);
            each(&body, "networks", "name").join(" ")
        };
        assert_eq!(names("sort_key=name&sort_dir=asc").await, "a b b c d e&f");
        assert_eq!(names("sort_key=name&sort_dir=desc").await, "d e&f c b b a");
        assert_eq!(names("sort_key=admin_state_up&sort_key=name&sort_dir=desc&sort_dir=asc").await, "b c d e&f a b");
        assert_eq!(names("name=d%20e%26f").await, "d e&f");
        assert_eq!(names("name=a&name=c&sort_key=name&sort_dir=asc").await, "a c");
        assert_eq!(names("admin_state_up=false&sort_key=name&sort_dir=asc").await, "a b");
        assert_eq!(names("admin_state_up=False&name=b").await, "b");
        assert_eq!(names(&format!("id={}&id={}&sort_key=name&sort_dir=asc", ids[0], ids[1])).await, "a c");
        assert_eq!(names(&format!("tenant_id={}&name=a", ann.project)).await, "a");
        assert_eq!(names("name=A").await, "", "names are compared as they are");
        assert_eq!(names("status=ACTIVE&sort_key=name&sort_dir=asc&limit=1").await, "a");
        let only = list("fields=name&sort_key=name&sort_dir=asc&limit=2").await.expect(200);
        assert_eq!(only["networks"], json!([{"name": "a"}, {"name": "b"}]));

        for wrong in [
            "colour=blue",
            "provider:segmentation_id=100",
            "sort_key=colour",
            "sort_key=name&sort_dir=up",
            "sort_key=name&sort_dir=asc&sort_dir=asc",
        ] {
            neutron_refused(&list(wrong).await, 400, "HTTPBadRequest");
        }
        for wrong in ["limit=-1", "limit=many"] {
            neutron_refused(&list(wrong).await, 400, "BadRequest");
        }
        let by_admin = desk.get(&desk.admin, &format!("{NETWORKS}?provider:segmentation_id=101")).await.expect(200);
        assert_eq!(each(&by_admin, "networks", "id"), [ids[1].as_str()]);

        // Every page once, by following the links as they are, also through a proxy.
        for (start, limit) in [("limit=2", 2), ("limit=2&sort_key=name&sort_dir=desc", 2), ("limit=5", 5), ("limit=1&fields=id", 1)] {
            let mut seen = Vec::new();
            let mut next = format!("{NETWORKS}?{start}");
            let mut pages = 0;
            loop {
                let headers = [("host", "cloud.example"), ("x-forwarded-proto", "https")];
                let page = desk.call(&ann, Method::GET, &next, &headers, None).await.expect(200);
                let ids = each(&page, "networks", "id");
                assert!(ids.len() <= limit);
                seen.extend(ids.into_iter().map(str::to_owned));
                pages += 1;
                let links = page["networks_links"].as_array().cloned().unwrap_or_default();
                let Some(link) = links.iter().find(|it| it["rel"] == "next") else { break };
                next = text(link, "/href").strip_prefix("https://cloud.example").unwrap().to_owned();
            }
            // That a full page is the last shows by the empty one after it.
            assert_eq!(pages, 5 / limit + 1, "{start}");
            assert_eq!(seen.len(), 5, "{start}");
            assert_eq!(seen.iter().collect::<BTreeSet<_>>(), ids.iter().collect(), "{start}");
        }
        let short = list("limit=6").await.expect(200);
        assert!(short["networks_links"].as_array().unwrap().iter().all(|it| it["rel"] != "next"), "there is no more");
    });
}

#[test]
fn several_are_made_at_once_or_none() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let body = json!({"networks": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
        let made = desk.post(&ann, NETWORKS, body).await.expect(201);
        assert_eq!(each(&made, "networks", "name"), ["a", "b", "c"]);
        for wrong in [
            json!({"networks": [{"name": "d"}, {"name": 5}]}),
            json!({"networks": [{"name": "d"}, "e"]}),
            json!({"networks": []}),
            json!({"networks": {"name": "d"}}),
        ] {
            neutron_refused(&desk.post(&ann, NETWORKS, wrong).await, 400, "HTTPBadRequest");
        }
        let twice = json!({"networks": [on_fabric(150), on_fabric(150)]});
        neutron_refused(&desk.post(&desk.admin, NETWORKS, twice).await, 409, "VlanIdInUse");
        let all = desk.get(&desk.admin, NETWORKS).await.expect(200);
        assert_eq!(all["networks"].as_array().unwrap().len(), 3);
        assert_eq!(world.store.allocations("vlan:physnet1").await.unwrap().len(), 3, "nor is a VLAN held");
    });
}

#[test]
fn vlans_are_given_out_once() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let asked = |id: u16| json!({"network": on_fabric(id)});
        desk.post(admin, NETWORKS, asked(150)).await.expect(201);
        neutron_refused(&desk.post(admin, NETWORKS, asked(150)).await, 409, "VlanIdInUse");
        desk.post(admin, NETWORKS, asked(3000)).await.expect(201);
        for wrong in [
            asked(4094),
            asked(0),
            asked(4095),
            json!({"network": {"provider:segmentation_id": 150}}),
            json!({"network": {"provider:network_type": "vlanx"}}),
            json!({"network": {"provider:physical_network": "other"}}),
        ] {
            let answer = desk.post(admin, NETWORKS, wrong.clone()).await;
            assert_eq!(answer.status.as_u16(), 400, "{wrong}: {}", answer.body);
        }
        let asks = (0..32).map(|_| made(&desk, admin, json!({})));
        let nets = futures_util::future::join_all(asks).await;
        let vlans: BTreeSet<u64> = nets.iter().map(|it| it["provider:segmentation_id"].as_u64().unwrap()).collect();
        assert_eq!(vlans.len(), 32, "on {}", world.name());
        assert!(vlans.iter().all(|it| (100..=199).contains(it) && *it != 150));
    });
}

#[test]
fn a_vlan_in_quarantine_is_nobodys() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let desk = with_range(&desk, &world.store, 100, 101).await;
        let (admin, store) = (&desk.admin, &world.store);
        let first = made(&desk, admin, json!({})).await;
        assert_eq!(first["provider:segmentation_id"], 100);
        desk.delete(admin, &at(&first)).await.expect(204);
        let vlan = vlan_key(VlanId::new(100).unwrap());
        assert!(store.allocation("vlan:physnet1", &vlan).await.unwrap().is_some(), "it stays taken until the switches were read back");

        // The engine's side: it takes up the network and puts the VLAN in quarantine.
        let id: Id<Network> = Id::parse(text(&first, "/id")).unwrap();
        let claim = loop {
            let claim = store.claim("test", Duration::from_secs(60)).await.unwrap().expect("the network was woken");
            if claim.kind == "network" && claim.id == id.as_str() {
                break claim;
            }
        };
        store.apply(Batch::facts(&claim).quarantine("vlan:physnet1", &vlan, Timestamp::now())).await.unwrap();
        assert!(store.allocation("vlan:physnet1", &vlan).await.unwrap().unwrap().quarantined_at.is_some());

        let asked = json!({"network": on_fabric(100)});
        neutron_refused(&desk.post(admin, NETWORKS, asked).await, 409, "VlanIdInUse");
        assert_eq!(made(&desk, admin, json!({})).await["provider:segmentation_id"], 101);
        let none = desk.post(admin, NETWORKS, json!({"network": {}})).await;
        neutron_refused(&none, 503, "NoNetworkAvailable");

        let object = store.get(&id).await.unwrap().unwrap();
        store.apply(Batch::facts(&claim).free("vlan:physnet1", &vlan).remove(&object)).await.unwrap();
        store.finish(&claim, Outcome::Gone).await.unwrap();
        assert_eq!(made(&desk, admin, json!({})).await["provider:segmentation_id"], 100, "released");
    });
}

#[test]
fn a_network_in_use_stays() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let ann = desk.tenant("ann", "finance").await;
        let net = made(&desk, &ann, json!({})).await;
        let id = text(&net, "/id");
        let body = json!({"subnet": {"network_id": id, "cidr": "10.0.0.0/24", "ip_version": 4}});
        let subnet = desk.post(&ann, "/network/v2.0/subnets", body).await.expect(201);
        let subnet = text(&subnet, "/subnet/id");
        assert_eq!(desk.get(&ann, &at(&net)).await.expect(200)["network"]["subnets"], json!([subnet]));
        let listed = desk.get(&ann, &format!("{NETWORKS}?fields=subnets")).await.expect(200);
        assert_eq!(listed["networks"], json!([{"subnets": [subnet]}]));
        let port = desk.post(&ann, "/network/v2.0/ports", json!({"port": {"network_id": id}})).await.expect(201);
        neutron_refused(&desk.delete(&ann, &at(&net)).await, 409, "NetworkInUse");
        desk.delete(&ann, &format!("/network/v2.0/ports/{}", text(&port, "/port/id"))).await.expect(204);
        desk.delete(&ann, &at(&net)).await.expect(204);
        neutron_refused(&desk.get(&ann, &format!("/network/v2.0/subnets/{subnet}")).await, 404, "SubnetNotFound");

        // Deleting it and using it at once: one of the two gets through, and nothing is left half way.
        for round in 0..12 {
            let net = made(&desk, &ann, json!({})).await;
            let port = async {
                tokio::time::sleep(Duration::from_micros(round * 300)).await;
                desk.post(&ann, "/network/v2.0/ports", json!({"port": {"network_id": net["id"]}})).await
            };
            let path = at(&net);
            let (deleted, port) = tokio::join!(desk.delete(&ann, &path), port);
            match (deleted.status.as_u16(), port.status.as_u16()) {
                (204, 404) => neutron_refused(&desk.get(&ann, &at(&net)).await, 404, "NetworkNotFound"),
                (409, 201) => drop(desk.get(&ann, &at(&net)).await.expect(200)),
                other => panic!("on {}, round {round}: {other:?}", world.name()),
            }
        }
    });
}

#[test]
fn extensions_are_those_that_work() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let all = desk.get(&desk.admin, "/network/v2.0/extensions").await.expect(200);
        let aliases = each(&all, "extensions", "alias");
        for wanted in ["provider", "binding", "external-net"] {
            assert!(aliases.contains(&wanted), "{wanted}");
        }
        for alias in aliases {
            let one = desk.get(&desk.admin, &format!("/network/v2.0/extensions/{alias}")).await.expect(200);
            assert_eq!(one["extension"]["alias"], alias);
        }
        neutron_refused(&desk.get(&desk.admin, "/network/v2.0/extensions/nonsense").await, 404, "HTTPNotFound");
        let versions = desk.get(&nobody(), "/network").await.expect(200);
        assert_eq!(versions["versions"][0]["id"], "v2.0");
    });
}
