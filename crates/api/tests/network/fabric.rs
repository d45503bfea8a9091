//! The operator's side of the fabric: switches, their ports, quarantine.

use std::time::Duration;

use model::baremetal::{Conductor, ConductorDesired, Node};
use model::fabric::{Declared, PortUse, Switch, SwitchDesired, SwitchPort};
use model::net::{Network, VlanId};
use model::{Id, Kind, Object, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Outcome, Query};

use crate::V2;
use crate::support::{Cloud, id, sorted};
use crate::world::{World, on_each};

/// Secrets that must be found nowhere.
const PASSWORD: &str = "opensesame-83c1";
const ENABLE: &str = "letmeconfigure-55d0";
const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAAbm9uZQ-93fe\n-----END OPENSSH PRIVATE KEY-----\n";

pub fn switches() -> String {
    format!("{V2}/cofferdam/switches")
}

fn ports() -> String {
    format!("{V2}/cofferdam/switch-ports")
}

pub fn quarantine() -> String {
    format!("{V2}/cofferdam/quarantine")
}

pub fn leaf(name: &str, number: u8) -> Value {
    json!({"switch": {
        "name": name,
        "switch_id": format!("02-CF-00-00-00-{number:02X}"),
        "driver": "ovsdb",
        "endpoint": format!("tcp:192.0.2.{number}:6640"),
        "bridge": "br0",
        "uplinks": ["up1", "up2"],
        "username": "operator",
        "password": PASSWORD,
        "enable_password": ENABLE,
        "private_key": KEY,
        "drift": "report",
    }})
}

/// Writes what the engine would have.
pub async fn seen<K: Kind>(world: &World, id: &str, change: impl Fn(&mut Object<K>)) {
    let id: Id<K> = Id::parse(id).unwrap();
    world.store.apply(Batch::wishes().wake_named("test", "test")).await.unwrap();
    let claim = loop {
        let claim = world.store.claim("a test", Duration::from_secs(60)).await.unwrap().unwrap();
        if claim.kind == "test" {
            break claim;
        }
        world.store.finish(&claim, Outcome::Again(Duration::from_secs(3600))).await.unwrap();
    };
    let mut object = world.store.get(&id).await.unwrap().unwrap();
    change(&mut object);
    world.store.apply(Batch::facts(&claim).observe(&object)).await.unwrap();
    world.store.finish(&claim, Outcome::Gone).await.unwrap();
}

/// Has the port read as it is wanted.
async fn proven(world: &World, id: &str) {
    seen::<SwitchPort>(world, id, |it| {
        it.observed.seen = Some(it.desired.wanted.clone());
        it.observed.generation = it.generation;
        it.observed.read_at = Some(Timestamp::now());
        it.observed.reading += 1;
    })
    .await;
}

/// Has somebody hold the port, as the engine does.
async fn hold(world: &World, id: &str, holder: &str, wanted: PortUse) {
    let mut row = world.store.get(&Id::<SwitchPort>::parse(id).unwrap()).await.unwrap().unwrap();
    row.desired.holder = Id::parse(holder);
    row.desired.turn(wanted);
    world.store.apply(Batch::wishes().want(&row)).await.unwrap();
}

/// Whether somebody is to be looked at.
async fn is_woken(world: &World, kind: &str, id: &str) -> bool {
    world.raw_number(&format!("SELECT count(*) FROM work WHERE kind = '{kind}' AND id = '{id}'")).await > 0
}

/// All that the store holds, as text.
async fn whole_store(world: &World) -> String {
    match world.directory() {
        Some(directory) => {
            world.raw("PRAGMA wal_checkpoint(TRUNCATE)").await;
            let mut text = String::new();
            for file in std::fs::read_dir(directory).unwrap() {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
            }
            text
        }
        None => {
            let line = world.line().await;
            let mut text = String::new();
            for table in line.query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'", &[]).await.unwrap() {
                let sql = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{}\" t", table.get::<_, String>(0));
                text.push_str(&line.query_one(&sql, &[]).await.unwrap().get::<_, String>(0));
            }
            text
        }
    }
}

#[test]
fn switches_are_declared_shown_changed_and_forgotten() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let made = cloud.post(admin, &switches(), leaf("leaf1", 1)).await.expect(201)["switch"].take();
        assert_eq!((&made["id"], &made["name"]), (&json!("leaf1"), &json!("leaf1")));
        assert_eq!(made["switch_id"], "02:cf:00:00:00:01");
        assert_eq!((&made["declared_in"], &made["admin_state_up"]), (&json!("api"), &json!(true)));
        assert_eq!((&made["drift"], &made["breaker"], &made["physical_network"]), (&json!("report"), &json!("closed"), &json!("physnet1")));
        assert_eq!((&made["read_at"], &made["vlans"], &made["differences"]), (&json!(null), &json!([]), &json!([])));
        assert!(made.get("project_id").is_none());
        assert!(is_woken(world, "switch", "leaf1").await);
        let one = format!("{}/leaf1", switches());
        let change = json!({"switch": {"overlay": {"vtep": "nve1", "bgp_as": 65001}, "admin_state_up": false, "uplinks": ["up1"]}});
        let changed = cloud.put(admin, &one, change).await.expect(200)["switch"].take();
        assert_eq!(changed["overlay"], json!({"vtep": "nve1", "bgp_as": 65001}));
        assert_eq!((&changed["admin_state_up"], &changed["uplinks"]), (&json!(false), &json!(["up1"])));
        cloud.post(admin, &switches(), leaf("leaf1", 9)).await.neutron(409, "SwitchExists");
        cloud.post(admin, &switches(), leaf("leaf2", 1)).await.neutron(409, "SwitchIdInUse");
        cloud.put(admin, &one, json!({"switch": {"name": "other"}})).await.neutron(400, "HTTPBadRequest");
        cloud.put(admin, &one, json!({"switch": {"read_at": null}})).await.neutron(400, "HTTPBadRequest");
        cloud.put(admin, &format!("{one}/read"), Value::Null).await.expect(202);
        let history = cloud.get(admin, &format!("{one}/history")).await.expect(200);
        let events: Vec<&str> = history["history"].as_array().unwrap().iter().map(|it| it["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["declared otherwise", "declared"]);
        assert_eq!(history["history"][0]["detail"]["by"], json!(admin.user));
        cloud.delete(admin, &one).await.expect(204);
        cloud.get(admin, &one).await.neutron(404, "SwitchNotFound");
    });
}

#[test]
fn what_is_no_switch_is_refused_without_repeating_its_secrets() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        for (field, value) in [
            ("name", json!("a switch")),
            ("name", json!("")),
            ("switch_id", json!("02:cf")),
            ("driver", json!("telnet")),
            ("endpoint", json!("192.0.2.1")),
            ("endpoint", json!("ssh:leaf 1:22")),
            ("uplinks", json!("up1")),
            ("uplinks", json!([""])),
            ("private_key", json!(format!("{PASSWORD} is no key"))),
            ("password", json!([PASSWORD])),
            ("certificate", json!("x")),
            ("certificate", json!("-----BEGIN CERTIFICATE-----\nwithout its key")),
            ("key", json!("-----BEGIN PRIVATE KEY-----\nwithout its certificate")),
            ("host_key", json!("MD5:00")),
            ("overlay", json!({"vtep": "nve1"})),
            ("overlay", json!({"vtep": "nve1", "bgp_as": 1, "x": 1})),
            ("drift", json!("ignore")),
            ("physical_network", json!("physnet2")),
            ("vlans", json!([1])),
            ("colour", json!("red")),
        ] {
            let mut body = leaf("leaf1", 1);
            body["switch"][field] = value;
            let answer = cloud.post(&cloud.admin, &switches(), body).await;
            assert_eq!(answer.status, 400, "{field}: {}", answer.text);
            assert!(!answer.text.contains(PASSWORD) && !answer.text.contains("93fe"), "{field}: {}", answer.text);
        }
        for missing in ["name", "driver", "endpoint"] {
            let mut body = leaf("leaf1", 1);
            body["switch"].as_object_mut().unwrap().remove(missing);
            cloud.post(&cloud.admin, &switches(), body).await.neutron(400, "HTTPBadRequest");
        }
        assert_eq!(cloud.get(&cloud.admin, &switches()).await.expect(200)["switches"], json!([]), "nothing was made");
    });
}

#[test]
fn secrets_are_sealed_and_never_shown() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let one = format!("{}/leaf1", switches());
        let mut answers = vec![cloud.post(admin, &switches(), leaf("leaf1", 1)).await];
        for body in [
            json!({"username": "root"}),
            // As a client gives back what it was shown.
            json!({"password": "******", "private_key": "******", "username": "operator"}),
            json!({"enable_password": null}),
        ] {
            answers.push(cloud.put(admin, &one, json!({ "switch": body })).await);
        }
        answers.push(cloud.get(admin, &one).await);
        answers.push(cloud.get(admin, &switches()).await);
        answers.push(cloud.get(admin, &format!("{one}?fields=password&fields=private_key&fields=key")).await);
        answers.push(cloud.get(admin, &format!("{one}/history")).await);
        for answer in &answers {
            assert!(answer.status < 300, "{}", answer.text);
            for secret in [PASSWORD, ENABLE, "93fe"] {
                assert!(!answer.text.contains(secret), "{}", answer.text);
            }
        }
        let shown = &cloud.get(admin, &one).await.expect(200)["switch"];
        assert_eq!((&shown["password"], &shown["private_key"]), (&json!("******"), &json!("******")));
        assert_eq!((&shown["enable_password"], &shown["key"]), (&json!(null), &json!(null)));
        cloud.get(admin, &format!("{}?password={PASSWORD}", switches())).await.neutron(400, "HTTPBadRequest");
        // What is kept of them is nothing without the keys, with which it is what was given.
        let kept = whole_store(world).await;
        for secret in [PASSWORD, ENABLE, "93fe", "letmeconfigure", "opensesame"] {
            assert!(!kept.contains(secret), "{secret} is in the store of {}", world.name());
        }
        assert!(kept.contains("leaf1"), "this is the store");
        let switch = world.store.get(&Id::<Switch>::parse("leaf1").unwrap()).await.unwrap().unwrap();
        let sealer = api::sealer(&world.store).await.unwrap();
        let open = |name: &str| sealer.open(&model::Sealed::new(switch.desired.sealed[name].clone())).unwrap();
        assert_eq!((open("password").reveal(), open("private_key").reveal()), (PASSWORD, KEY));
        assert!(!format!("{switch:?}").contains(PASSWORD));
    });
}

#[test]
fn switches_of_the_configuration_file_are_only_read() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let desired = SwitchDesired { switch_id: "02:cf:00:00:00:05".into(), driver: "ovsdb".into(), ..SwitchDesired::default() };
        let switch = Object::<Switch>::new(Id::parse("spine").unwrap(), None, "spine", desired);
        world.store.apply(Batch::wishes().create(&switch)).await.unwrap();
        let one = format!("{}/spine", switches());
        assert_eq!(cloud.get(&cloud.admin, &one).await.expect(200)["switch"]["declared_in"], "file");
        cloud.put(&cloud.admin, &one, json!({"switch": {"drift": "report"}})).await.neutron(409, "SwitchDeclaredInFile");
        cloud.delete(&cloud.admin, &one).await.neutron(409, "SwitchDeclaredInFile");
        let mut withdrawn = world.store.get(&switch.id).await.unwrap().unwrap();
        withdrawn.desired.declared = Declared::Withdrawn;
        world.store.apply(Batch::wishes().want(&withdrawn)).await.unwrap();
        cloud.put(&cloud.admin, &one, json!({"switch": {"drift": "report"}})).await.neutron(409, "SwitchDeclaredInFile");
        cloud.delete(&cloud.admin, &one).await.expect(204);
    });
}

#[test]
fn a_port_is_one_however_it_is_spelled() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        let mut declared = leaf("leaf1", 1);
        declared["switch"]["driver"] = json!("cisco_nxos");
        declared["switch"]["endpoint"] = json!("ssh:192.0.2.1:22");
        declared["switch"]["uplinks"] = json!(["eth1/48"]);
        cloud.post(admin, &switches(), declared).await.expect(201);
        let port = |spelled: &str| json!({"switch_port": {"switch": "leaf1", "port": spelled}});
        let made = cloud.post(admin, &ports(), port("Eth1/7")).await.expect(201)["switch_port"].take();
        assert_eq!(made["port"], "Ethernet1/7");
        for spelled in ["Eth1/7", "eth1/7", "Ethernet1/7"] {
            cloud.post(admin, &ports(), port(spelled)).await.neutron(409, "SwitchPortExists");
        }
        for spelled in ["eth1/48", "Ethernet1/48"] {
            cloud.post(admin, &ports(), port(spelled)).await.neutron(409, "SwitchPortIsUplink");
        }
        let change = json!({"switch": {"uplinks": ["ethernet1/7"]}});
        cloud.put(admin, &format!("{}/leaf1", switches()), change).await.neutron(409, "SwitchPortInUse");
        let note = json!({"switch_port": {"description": "rack 7"}});
        let path = format!("{}/{}", ports(), made["id"].as_str().unwrap());
        let noted = cloud.put(admin, &path, note).await.expect(200)["switch_port"].take();
        assert_eq!((&noted["port"], &noted["description"]), (&json!("Ethernet1/7"), &json!("rack 7")));
        assert_eq!(cloud.get(admin, &ports()).await.expect(200)["switch_ports"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        for number in 1..=4 {
            cloud.post(admin, &switches(), leaf(&format!("leaf{number}"), number)).await.expect(201);
        }
        seen::<Switch>(world, "leaf3", |it| {
            it.observed.vlans = [VlanId::new(150).unwrap()].into();
            it.observed.fault = "could not reach it".into();
            it.observed.failures = 4;
            it.observed.retry_at = Some(Timestamp::now().plus_seconds(60));
        })
        .await;
        let names = async |query: &str| {
            let body = cloud.get(admin, &format!("{}?{query}", switches())).await.expect(200);
            body["switches"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["name"].as_str().unwrap().trim_start_matches("leaf").to_owned())
                .collect::<String>()
        };
        assert_eq!(names("sort_key=name&sort_dir=desc").await, "4321");
        assert_eq!(names("sort_key=endpoint&sort_dir=asc&limit=2").await, "12");
        assert_eq!(names("sort_key=name&sort_dir=asc&limit=2&marker=leaf2").await, "34");
        assert_eq!(names("name=leaf2&name=leaf3&sort_key=name&sort_dir=asc").await, "23");
        assert_eq!(names("switch_id=02:cf:00:00:00:04").await, "4");
        assert_eq!(names("vlans=150").await, "3");
        assert_eq!(names("breaker=open").await, "3");
        assert_eq!(names("uplinks=up2&declared_in=api&admin_state_up=true&breaker=closed&sort_key=name&sort_dir=asc").await, "124");
        cloud.get(admin, &format!("{}?colour=red", switches())).await.neutron(400, "HTTPBadRequest");
        let body = cloud.get(admin, &format!("{}?name=leaf1&fields=id", switches())).await.expect(200);
        assert_eq!(body["switches"], json!([{"id": "leaf1"}]));
    });
}

#[test]
fn switch_ports_are_taken_noted_and_let_go() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        cloud.post(admin, &switches(), leaf("leaf1", 1)).await.expect(201);
        let take = |port: &str| json!({"switch_port": {"switch": "leaf1", "port": port}});
        let made = cloud.post(admin, &ports(), take("Ethernet 1/7")).await.expect(201)["switch_port"].take();
        assert_eq!((&made["wanted"], &made["holder"]), (&json!({"mode": "isolated"}), &json!(null)));
        assert_eq!((&made["state"], &made["proven_at"], &made["seen"]), (&json!("quarantine"), &json!(null), &json!(null)));
        let one = format!("{}/{}", ports(), id(&made));
        cloud.post(admin, &ports(), take("Ethernet 1/7")).await.neutron(409, "SwitchPortExists");
        cloud.post(admin, &ports(), take("up1")).await.neutron(409, "SwitchPortIsUplink");
        cloud.post(admin, &ports(), json!({"switch_port": {"switch": "nobody", "port": "p"}})).await.neutron(404, "SwitchNotFound");
        cloud.post(admin, &ports(), take(" p")).await.neutron(400, "HTTPBadRequest");
        let uplinks = json!({"switch": {"uplinks": ["Ethernet 1/7"]}});
        cloud.put(admin, &format!("{}/leaf1", switches()), uplinks).await.neutron(409, "SwitchPortInUse");

        proven(world, id(&made)).await;
        let free = cloud.get(admin, &one).await.expect(200)["switch_port"].take();
        assert_eq!((&free["state"], &free["seen"]), (&json!("free"), &json!({"mode": "isolated"})));
        assert!(free["proven_at"].is_string());
        // A note changes nothing of what is proven.
        let noted = cloud.put(admin, &one, json!({"switch_port": {"description": "rack 3, left"}})).await.expect(200)["switch_port"].take();
        assert_eq!((&noted["description"], &noted["state"]), (&json!("rack 3, left"), &json!("free")));
        cloud.put(admin, &one, json!({"switch_port": {"wanted": {"mode": "access", "vlan": 5}}})).await.neutron(400, "HTTPBadRequest");

        let network = cloud.network(admin, "n").await;
        let port = cloud.port(admin, &network, json!({})).await.expect(201)["port"].take();
        hold(world, id(&made), id(&port), PortUse::Access(VlanId::new(100).unwrap())).await;
        assert_eq!(cloud.get(admin, &one).await.expect(200)["switch_port"]["state"], "pending");
        proven(world, id(&made)).await;
        let held = cloud.get(admin, &format!("{}?holder={}", ports(), id(&port))).await.expect(200)["switch_ports"].take();
        assert_eq!((&held[0]["state"], &held[0]["wanted"]), (&json!("held"), &json!({"mode": "access", "vlan": 100})));
        for (query, count) in
            [("vlans=100", 1), ("vlans=101", 0), ("switch=leaf1", 1), ("switch=leaf2", 0), ("state=held", 1), ("state=free", 0)]
        {
            let found = cloud.get(admin, &format!("{}?{query}", ports())).await.expect(200);
            assert_eq!(found["switch_ports"].as_array().unwrap().len(), count, "{query}");
        }
        cloud.delete(admin, &one).await.neutron(409, "SwitchPortInUse");
        cloud.delete(admin, &format!("{}/leaf1", switches())).await.neutron(409, "SwitchInUse");
        hold(world, id(&made), id(&port), PortUse::Isolated).await;
        cloud.delete(admin, &one).await.neutron(409, "SwitchPortInUse");

        let bulk = json!({"switch_ports": [{"switch": "leaf1", "port": "a"}, {"switch": "leaf1", "port": "b"}]});
        let bulk = cloud.post(admin, &ports(), bulk).await.expect(201);
        assert_eq!(sorted(&bulk["switch_ports"], "port"), ["a", "b"]);
        let a = format!("{}/{}", ports(), id(&bulk["switch_ports"][0]));
        cloud.delete(admin, &a).await.expect(204);
        cloud.get(admin, &a).await.neutron(404, "SwitchPortNotFound");
        let lines = cloud.get(admin, &format!("{}/leaf1/history", switches())).await.expect(200);
        assert_eq!(lines["history"][0]["event"], "a port is no longer under our care");
    });
}

#[test]
fn a_switch_port_is_forced_out_of_quarantine_and_that_is_kept() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        cloud.post(admin, &switches(), leaf("leaf1", 1)).await.expect(201);
        let made = cloud.post(admin, &ports(), json!({"switch_port": {"switch": "leaf1", "port": "p7"}})).await.expect(201);
        let row = id(&made["switch_port"]).to_owned();
        // Machines are taken by somebody who works on them.
        let works = ConductorDesired {
            conductor_group: String::new(),
            drivers: vec!["redfish".into()],
            online: true,
            seen_at: Timestamp::now().plus_seconds(3600),
            instance: "c1".into(),
        };
        let conductor = Object::<Conductor>::new(Id::random(), None, "c1.example", works);
        world.store.apply(Batch::wishes().create(&conductor)).await.unwrap();
        let machine = json!({"driver": "redfish", "name": "m1"});
        let request = net::http::Request::json(http::Method::POST, cloud.url("/baremetal/v1/nodes"), &machine);
        let request = request.header("x-auth-token", &admin.text).header("x-openstack-ironic-api-version", "1.99");
        let node = cloud.send(request).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let network = cloud.network(admin, "n").await;
        let more = json!({"binding:host_id": node, "binding:vnic_type": "baremetal"});
        let port = cloud.port(admin, &network, more).await.expect(201)["port"].take();
        // It was on a VLAN, and is let go; the switch still has it there and does not answer any more.
        hold(world, &row, id(&port), PortUse::Access(VlanId::new(100).unwrap())).await;
        proven(world, &row).await;
        hold(world, &row, id(&port), PortUse::Isolated).await;
        seen::<Switch>(world, "leaf1", |it| it.observed.fault = "could not reach switch leaf1: no route".into()).await;

        let listed = cloud.get(admin, &quarantine()).await.expect(200)["quarantine"].take();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        let item = &listed[0];
        assert_eq!((&item["id"], &item["kind"]), (&json!(row), &json!("switch_port")));
        assert_eq!((&item["switch"], &item["port"], &item["holder"]), (&json!("leaf1"), &json!("p7"), &port["id"]));
        assert_eq!(item["reason"], "it has not been read since it was let go");
        assert!(item["fault"].as_str().unwrap().contains("no route"), "{item}");
        assert_eq!(cloud.get(admin, &format!("{}?kind=vlan", quarantine())).await.expect(200)["quarantine"], json!([]));
        cloud.get(admin, &format!("{}?colour=red", quarantine())).await.neutron(400, "HTTPBadRequest");

        let force = format!("{}/{row}/force", quarantine());
        for wrong in [json!({}), json!({"reason": ""}), json!({"reason": "  "}), json!({"reason": 5}), json!({"reason": "x", "by": "me"})] {
            assert_eq!(cloud.put(admin, &force, json!({ "quarantine": wrong })).await.status, 400, "{wrong}");
        }
        cloud
            .put(admin, &format!("{}/nothing/force", quarantine()), json!({"quarantine": {"reason": "x"}}))
            .await
            .neutron(404, "QuarantineNotFound");
        let reason = "leaf1 burned down";
        let forced = cloud.put(admin, &force, json!({"quarantine": {"reason": reason}})).await.expect(200)["quarantine"].take();
        assert_eq!((&forced["forced"]["by"], &forced["forced"]["reason"]), (&json!(admin.user), &json!(reason)));
        assert!(is_woken(world, "port", id(&port)).await && is_woken(world, "switch", "leaf1").await);

        assert_eq!(cloud.get(admin, &quarantine()).await.expect(200)["quarantine"], json!([]));
        cloud.put(admin, &force, json!({"quarantine": {"reason": reason}})).await.neutron(404, "QuarantineNotFound");
        let shown = cloud.get(admin, &format!("{}/{row}", ports())).await.expect(200)["switch_port"].take();
        assert_eq!((&shown["state"], &shown["proven_at"], &shown["forced"]["reason"]), (&json!("free"), &json!(null), &json!(reason)));
        let stored = world.store.get(&Id::<SwitchPort>::parse(&row).unwrap()).await.unwrap().unwrap();
        assert!(!stored.is_free(), "its holder lets go by itself");

        for path in [format!("{}/{row}/history", ports()), format!("{}/leaf1/history", switches())] {
            let lines = cloud.get(admin, &path).await.expect(200);
            let line = &lines["history"][0];
            assert_eq!(line["event"], "forced out of quarantine by an operator, without proof", "{path}");
            assert_eq!((&line["severity"], &line["detail"]["by"]), (&json!("WARNING"), &json!(admin.user)));
            assert_eq!((&line["detail"]["user"], &line["detail"]["reason"]), (&json!("admin"), &json!(reason)));
            assert_eq!(line["detail"]["what"], "port p7 of switch leaf1");
        }
        let lines = world.store.history(Node::NAME, &node, 10).await.unwrap();
        assert!(lines[0].event.contains("leaf1/p7 forced by an operator, not proven"), "{lines:?}");

        // A machine that is being released has unbound the port before; its history has the line all the same.
        let made = cloud.post(admin, &ports(), json!({"switch_port": {"switch": "leaf1", "port": "p8"}})).await.expect(201);
        let row = id(&made["switch_port"]).to_owned();
        let port = cloud.port(admin, &network, json!({"binding:vnic_type": "baremetal"})).await.expect(201)["port"].take();
        world.store.apply(Batch::wishes().hold("vif", id(&port), &node)).await.unwrap();
        hold(world, &row, id(&port), PortUse::Isolated).await;
        cloud.put(admin, &format!("{}/{row}/force", quarantine()), json!({"quarantine": {"reason": reason}})).await.expect(200);
        let lines = world.store.history(Node::NAME, &node, 10).await.unwrap();
        assert!(lines[0].event.contains("leaf1/p8 forced by an operator, not proven"), "{lines:?}");
    });
}

#[test]
fn vlans_wait_for_every_switch_until_they_are_forced() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let admin = &cloud.admin;
        for number in 1..=2 {
            cloud.post(admin, &switches(), leaf(&format!("leaf{number}"), number)).await.expect(201);
        }
        let network = cloud.network(admin, "n").await;
        let vlan = network["provider:segmentation_id"].as_u64().unwrap();
        cloud.delete(admin, &format!("{V2}/networks/{}", id(&network))).await.expect(204);
        assert_eq!(cloud.get(admin, &quarantine()).await.expect(200)["quarantine"], json!([]), "the engine has not begun");
        let since = Timestamp::now();
        seen::<Network>(world, id(&network), |it| it.observed.quarantined_at = Some(since)).await;
        seen::<Switch>(world, "leaf1", |it| it.observed.read_at = Some(since.plus_millis(1))).await;
        seen::<Switch>(world, "leaf2", |it| {
            it.observed.read_at = Some(since.plus_seconds(-9));
            it.observed.fault = "silent".into();
        })
        .await;
        let listed = cloud.get(admin, &format!("{}?waits_for=leaf2", quarantine())).await.expect(200)["quarantine"].take();
        let item = &listed[0];
        assert_eq!((&item["kind"], &item["segmentation_id"], &item["holder"]), (&json!("vlan"), &json!(vlan), &network["id"]));
        assert_eq!((&item["waits_for"], &item["fault"]), (&json!(["leaf2"]), &json!("leaf2: silent")));
        assert_eq!(item["since"], json!(since.iso_micros()));
        // The one who owes a proof is not forgotten.
        let refused = cloud.delete(admin, &format!("{}/leaf2", switches())).await;
        assert!(refused.text.contains(&format!("VLAN {vlan} of physnet1")), "{}", refused.text);
        refused.neutron(409, "SwitchInUse");
        cloud.delete(admin, &format!("{}/leaf1", switches())).await.expect(204);
        let force = format!("{}/{}/force", quarantine(), id(item));
        cloud.put(admin, &force, json!({"quarantine": {"reason": "leaf2 was scrapped"}})).await.expect(200);
        assert_eq!(cloud.get(admin, &quarantine()).await.expect(200)["quarantine"], json!([]));
        let stored = world.store.list(&Query::<Network>::new().with_deleted()).await.unwrap();
        assert_eq!(stored[0].desired.forced.as_ref().unwrap().reason, "leaf2 was scrapped");
        assert!(is_woken(world, "network", id(&network)).await);
        let lines = world.store.history(Network::NAME, id(&network), 10).await.unwrap();
        assert_eq!(lines[0].detail["by"], json!(admin.user));
        cloud.delete(admin, &format!("{}/leaf2", switches())).await.expect(204);
    });
}

#[test]
fn only_administrators_see_and_touch_the_fabric() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        cloud.post(&cloud.admin, &switches(), leaf("leaf1", 1)).await.expect(201);
        let made = cloud.post(&cloud.admin, &ports(), json!({"switch_port": {"switch": "leaf1", "port": "p"}})).await.expect(201);
        let (switch, port) = (format!("{}/leaf1", switches()), format!("{}/{}", ports(), id(&made["switch_port"])));
        let item = format!("{}/{}", quarantine(), id(&made["switch_port"]));
        for role in ["reader", "member", "manager"] {
            let tenant = cloud.tenant(role, role).await;
            for (list, key) in [(switches(), "switches"), (ports(), "switch_ports")] {
                assert_eq!(cloud.get(&tenant, &list).await.expect(200)[key], json!([]), "{role}");
            }
            cloud.get(&tenant, &switch).await.neutron(404, "SwitchNotFound");
            cloud.get(&tenant, &port).await.neutron(404, "SwitchPortNotFound");
            for path in [format!("{switch}/history"), format!("{port}/history")] {
                assert_eq!(cloud.get(&tenant, &path).await.status, 404, "{role} {path}");
            }
            cloud.get(&tenant, &quarantine()).await.neutron(403, "PolicyNotAuthorized");
            cloud.get(&tenant, &item).await.neutron(403, "PolicyNotAuthorized");
            cloud.put(&tenant, &format!("{item}/force"), json!({"quarantine": {"reason": "x"}})).await.neutron(403, "PolicyNotAuthorized");
            cloud.post(&tenant, &switches(), leaf("leaf2", 2)).await.neutron(403, "PolicyNotAuthorized");
            let take = json!({"switch_port": {"switch": "leaf1", "port": "q"}});
            assert!([403, 404].contains(&cloud.post(&tenant, &ports(), take).await.status), "{role}");
            for answer in [
                cloud.put(&tenant, &switch, json!({"switch": {"drift": "repair"}})).await,
                cloud.put(&tenant, &format!("{switch}/read"), Value::Null).await,
                cloud.put(&tenant, &port, json!({"switch_port": {"description": "x"}})).await,
                cloud.delete(&tenant, &switch).await,
                cloud.delete(&tenant, &port).await,
            ] {
                assert_eq!(answer.status, 404, "{role}: {}", answer.text);
            }
        }
        let shown = cloud.get(&cloud.admin, &switch).await.expect(200);
        assert_eq!(shown["switch"]["drift"], "report", "nothing was changed");
    });
}
