//! What is asked of a node's controller and waited for, what was found out about a node, and what agents tell of it.

use std::time::Duration;

use http::{Method, StatusCode};
use model::baremetal::{
    Action, ActionEnd, AgentSession, BiosSetting, FirmwareComponent, Node, NodeAction, NodeBios, NodeBiosDesired, NodeFirmware,
    NodeFirmwareDesired, NodeInventory, Phase, ProvisionState as S,
};
use model::{Id, Object, Timestamp};
use serde_json::{Value, json};
use store::{Batch, Query};

use crate::desk::{Answer, Desk, Who, mac};
use crate::parts::at;
use crate::world::{on_each, on_sqlite};

const NODES: &str = "/baremetal/v1/nodes";

/// Answers a request that waits for the engine as the engine would: with this end. What was asked for comes back too.
async fn acted(desk: &Desk, end: ActionEnd, request: impl Future<Output = Answer>) -> (Answer, Action) {
    let engine = async {
        for _ in 0..500 {
            if let Some(row) = desk.app.store.list(&Query::<NodeAction>::new()).await.unwrap().pop() {
                desk.observe::<NodeAction>(row.id.as_str(), |row| row.observed.end = Some(end.clone())).await;
                return Some(row.desired.action);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    };
    let (answer, action) = tokio::join!(request, engine);
    assert_eq!(desk.app.store.count(&Query::<NodeAction>::new()).await.unwrap(), 0, "the row is gone with its answer");
    (answer, action.unwrap())
}

fn done(value: Value) -> ActionEnd {
    ActionEnd::Done { value }
}

#[test]
fn a_controller_is_asked_through_the_engine() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        let path = |tail: &str| format!("{NODES}/{id}/management/{tail}");

        let found = done(json!({"boot_device": "pxe", "persistent": false}));
        let (answer, action) = acted(&desk, found, desk.get(admin, &path("boot_device"))).await;
        assert_eq!(answer.expect(200), json!({"boot_device": "pxe", "persistent": false}));
        assert_eq!(action, Action::GetBootDevice);

        let found = done(json!({"supported_boot_devices": ["pxe", "disk"]}));
        let (answer, _) = acted(&desk, found, desk.get(admin, &path("boot_device/supported"))).await;
        assert_eq!(answer.expect(200)["supported_boot_devices"], json!(["pxe", "disk"]));

        let body = json!({"boot_device": "disk", "persistent": "true"});
        let (answer, action) = acted(&desk, done(Value::Null), desk.put(admin, &path("boot_device"), body)).await;
        assert_eq!((answer.status, &answer.body), (StatusCode::NO_CONTENT, &json!("")));
        assert_eq!(action, Action::SetBootDevice { device: "disk".into(), persistent: true });
        desk.put(admin, &path("boot_device"), json!({"boot_device": "tape"})).await.refused(400, "Invalid boot device tape");
        desk.put(admin, &path("boot_device"), json!({})).await.refused(400, "boot_device");

        let (answer, _) = acted(&desk, done(Value::Null), desk.put(admin, &path("inject_nmi"), Value::Null)).await;
        answer.expect(204);
        let unsupported = ActionEnd::Unsupported { why: "inject_nmi".into() };
        let (answer, _) = acted(&desk, unsupported, desk.put(admin, &path("inject_nmi"), Value::Null)).await;
        answer.refused(400, "Driver redfish does not support inject_nmi (disabled or not implemented).");
        let failed = ActionEnd::Failed { why: "the BMC is on fire".into() };
        let (answer, _) = acted(&desk, failed, desk.put(admin, &path("inject_nmi"), Value::Null)).await;
        answer.refused(500, "the BMC is on fire");

        let lights =
            done(json!({"indicators": [{"name": "led@system", "component": "system", "readonly": false, "states": ["ON", "OFF"]}]}));
        let (answer, _) = acted(&desk, lights, desk.get(admin, &path("indicators"))).await;
        let shown = answer.expect(200)["indicators"][0].clone();
        assert_eq!((&shown["name"], &shown["states"]), (&json!("led@system"), &json!(["on", "off"])));
        assert!(shown["links"][0]["href"].as_str().unwrap().ends_with("/management/indicators/led@system"));
        let (answer, _) = acted(&desk, done(json!({"state": "BLINKING"})), desk.get(admin, &path("indicators/led@system"))).await;
        assert_eq!(answer.expect(200), json!({"state": "blinking"}));
        let (answer, action) =
            acted(&desk, done(Value::Null), desk.put(admin, &path("indicators/led@system"), json!({"state": "on"}))).await;
        answer.expect(204);
        assert_eq!(action, Action::SetIndicator { component: "system".into(), indicator: "led".into(), state: "ON".into() });
        desk.get(admin, &path("indicators/led")).await.refused(400, "Malformed indicator name");

        // While somebody works on the machine it is looked at, but nothing is changed.
        desk.seen(&id, S::Cleaning, Phase::Work).await;
        desk.put(admin, &path("boot_device"), json!({"boot_device": "disk"})).await.refused(409, "is locked by host");
        let (answer, _) = acted(&desk, done(json!({"boot_device": null})), desk.get(admin, &path("boot_device"))).await;
        answer.expect(200);
    });
}

#[test]
fn virtual_media_and_what_only_a_vendor_has() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let body = json!({"driver": "fake-hardware"});
        let id = desk.post(admin, NODES, body).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let media = format!("{NODES}/{id}/vmedia");
        for (minor, method, status) in [(92, Method::GET, 404), (88, Method::POST, 404), (88, Method::DELETE, 404)] {
            let body = (method == Method::POST).then(|| json!({}));
            assert_eq!(
                at(&desk, admin, minor, method.clone(), &format!("nodes/{id}/vmedia"), body).await.status.as_u16(),
                status,
                "{method}"
            );
        }
        let body = json!({"device_type": "cdrom", "image_url": "http://x/a.iso"});
        let (answer, action) = acted(&desk, done(Value::Null), desk.post(admin, &media, body)).await;
        answer.expect(204);
        assert_eq!(action, Action::AttachVirtualMedia { device_type: "cdrom".into(), image_url: "http://x/a.iso".into() });
        for (body, word) in [
            (json!({"device_type": "cdrom"}), "'image_url' is a required property"),
            (json!({"device_type": "tape", "image_url": "http://x"}), "is not one of ['disk', 'cdrom', 'floppy']"),
            (json!({"device_type": "disk", "image_url": "file:///etc/passwd"}), "Unsupported or missing URL scheme: file"),
            (json!({"device_type": "disk", "image_url": "http://x", "password": "x"}), "'password' was unexpected"),
        ] {
            desk.post(admin, &media, body).await.refused(400, word);
        }
        let (answer, _) = acted(&desk, done(json!([{"media_types": ["cdrom"], "inserted": true}])), desk.get(admin, &media)).await;
        assert_eq!(answer.expect(200)[0]["inserted"], true);
        let (answer, action) = acted(&desk, done(Value::Null), desk.delete(admin, &format!("{media}?device_types=cdrom,disk"))).await;
        answer.expect(204);
        assert_eq!(action, Action::DetachVirtualMedia { device_types: vec!["cdrom".into(), "disk".into()] });
        // What comes of it stands in the node's last_error.
        let failed = ActionEnd::Failed { why: "no such image".into() };
        let body = json!({"device_type": "cdrom", "image_url": "http://x/a.iso"});
        acted(&desk, failed, desk.post(admin, &media, body)).await.0.expect(204);
        let unsupported = ActionEnd::Unsupported { why: "virtual media".into() };
        acted(&desk, unsupported.clone(), desk.delete(admin, &media)).await.0.expect(204);
        acted(&desk, unsupported, desk.get(admin, &media)).await.0.refused(400, "does not support virtual media");
        desk.delete(admin, &format!("{media}?device_types=tape")).await.refused(400, "Invalid device type(s) tape");

        let vendor = format!("{NODES}/{id}/vendor_passthru");
        let methods = desk.get(admin, &format!("{vendor}/methods")).await.expect(200);
        assert_eq!(methods["third_method_sync"]["async"], false);
        desk.post(admin, &vendor, json!({})).await.refused(400, "Missing mandatory parameter: method");
        desk.post(admin, &format!("{vendor}?method=fly"), json!({})).await.refused(400, "No handler for method fly");
        desk.get(admin, &format!("{vendor}?method=third_method_sync")).await.refused(400, "does not support HTTP GET");
        let path = format!("{vendor}?method=third_method_sync");
        let (answer, action) = acted(&desk, done(json!(true)), desk.post(admin, &path, json!({"bar": "meow"}))).await;
        assert_eq!(answer.expect(200), json!(true));
        let body = json!({"bar": "meow"});
        assert_eq!(action, Action::Vendor { method: "third_method_sync".into(), http_method: "POST".into(), body });
        desk.post(admin, &format!("{vendor}?method=log_passthrough"), json!({})).await.expect(202);
    });
}

#[test]
fn facts_are_shown_as_they_were_found() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let path = format!("{NODES}/{id}");
        assert_eq!(desk.get(admin, &format!("{path}/bios")).await.expect(200), json!({"bios": []}));
        assert_eq!(desk.get(admin, &format!("{path}/firmware")).await.expect(200), json!({"firmware": []}));
        desk.get(admin, &format!("{path}/inventory")).await.refused(404, "Node inventory record for node");
        let setting = BiosSetting {
            name: "ProcTurboMode".into(),
            value: Some("Enabled".into()),
            allowable_values: Some(vec!["Enabled".into(), "Disabled".into()]),
            ..BiosSetting::default()
        };
        let bios = NodeBiosDesired { settings: vec![setting], read_at: Timestamp::now() };
        let component = FirmwareComponent {
            component: "bmc".into(),
            initial_version: "1".into(),
            vendor: Some("ACME".into()),
            ..FirmwareComponent::default()
        };
        let firmware = NodeFirmwareDesired { components: vec![component], read_at: Timestamp::now() };
        let batch = Batch::wishes()
            .create(&Object::<NodeBios>::new(Id::parse(&id).unwrap(), None, "", bios))
            .create(&Object::<NodeFirmware>::new(Id::parse(&id).unwrap(), None, "", firmware));
        desk.app.store.apply(batch).await.unwrap();
        let of = async |minor, tail: &str| at(&desk, admin, minor, Method::GET, &format!("nodes/{id}/{tail}"), None).await;
        let brief = of(73, "bios").await.expect(200)["bios"][0].clone();
        assert_eq!((&brief["value"], brief.get("unique")), (&json!("Enabled"), None));
        let full = of(74, "bios?detail=true").await.expect(200)["bios"][0].clone();
        assert_eq!(full["allowable_values"], json!(["Enabled", "Disabled"]));
        of(73, "bios?detail=true").await.refused(400, "Invalid query parameter");
        assert_eq!(of(74, "bios?fields=name").await.expect(200)["bios"][0].get("value"), None);
        let one = of(74, "bios/ProcTurboMode").await.expect(200);
        assert_eq!(one["ProcTurboMode"]["value"], "Enabled");
        of(74, "bios/None").await.refused(404, "doesn't have a BIOS setting 'None'");
        assert_eq!(of(113, "firmware").await.expect(200)["firmware"][0].get("vendor"), None);
        assert_eq!(of(114, "firmware").await.expect(200)["firmware"][0]["vendor"], "ACME");
        of(113, "firmware?fields=vendor").await.refused(400, "at least API version 1.114");
        // All of it goes with the node.
        desk.delete(admin, &path).await.expect(204);
        assert!(desk.app.store.get(&Id::<NodeBios>::parse(&id).unwrap()).await.unwrap().is_none());
    });
}

#[test]
fn traits_are_given_and_taken() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let path = format!("{NODES}/{id}/traits");
        let shown = async || desk.get(admin, &path).await.expect(200)["traits"].clone();
        desk.put(admin, &path, json!({"traits": ["HW_CPU_X86_VMX", "CUSTOM_B"]})).await.expect(204);
        desk.put(admin, &format!("{path}/CUSTOM_A"), Value::Null).await.expect(204);
        assert_eq!(shown().await, json!(["CUSTOM_A", "CUSTOM_B", "HW_CPU_X86_VMX"]));
        desk.delete(admin, &format!("{path}/CUSTOM_B")).await.expect(204);
        desk.delete(admin, &format!("{path}/CUSTOM_B")).await.refused(404, "doesn't have a trait 'CUSTOM_B'");
        for (body, word) in [
            (json!({"traits": ["custom"]}), "not valid under any"),
            (json!({"traits": "CUSTOM_A"}), "not of type 'array'"),
            (json!({}), "A single node trait"),
            (json!({"colour": 1}), "unexpected"),
            (
                json!({"traits": (0..51).map(|at| format!("CUSTOM_{at}")).collect::<Vec<_>>()}),
                "exceed the maximum number of traits per node (51 vs. 50)",
            ),
        ] {
            desk.put(admin, &path, body).await.refused(400, word);
        }
        desk.put(admin, &format!("{path}/CUSTOM_C"), json!({"traits": []})).await.refused(400, "A single node trait");
        desk.put(admin, &format!("{path}/fast"), Value::Null).await.refused(400, "not valid under any");
        desk.delete(admin, &path).await.expect(204);
        assert_eq!(shown().await, json!([]));
    });
}

#[test]
fn boot_modes_consoles_and_raid_sets_are_asked_for() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let body = json!({"driver": "fake-hardware"});
        let id = desk.post(admin, NODES, body).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let path = format!("{NODES}/{id}/states");
        desk.put(admin, &format!("{path}/boot_mode"), json!({"target": "uefi"})).await.expect(202);
        desk.put(admin, &format!("{path}/secure_boot"), json!({"target": "true"})).await.expect(202);
        let request = desk.node(&id).await.desired.boot_mode_request.unwrap();
        assert_eq!((request.seq, request.boot_mode.as_deref(), request.secure_boot), (2, Some("uefi"), Some(true)));
        desk.put(admin, &format!("{path}/boot_mode"), json!({"target": "coreboot"}))
            .await
            .refused(400, "Allowed boot modes are: bios, uefi");
        desk.put(admin, &format!("{path}/secure_boot"), json!({"target": null})).await.refused(400, "Allowed secure_boot states");
        desk.seen(&id, S::Deploying, Phase::Agent).await;
        desk.put(admin, &format!("{path}/boot_mode"), json!({"target": "bios"})).await.refused(409, "Node is in wait call-back state");
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        let disks = json!({"logical_disks": [{"size_gb": 100, "raid_level": "1"}]});
        desk.put(admin, &format!("{path}/raid"), disks.clone()).await.expect(204);
        assert_eq!(desk.get(admin, &path).await.expect(200)["target_raid_config"], disks);
        desk.put(admin, &format!("{path}/raid"), json!({"logical_disks": []})).await.refused(400, "RAID config");
        assert_eq!(desk.get(admin, &format!("{path}/console")).await.expect(200), json!({"console_enabled": false, "console_info": null}));
        desk.put(admin, &format!("{path}/console"), json!({"enabled": true})).await.expect(202);
        assert!(desk.node(&id).await.desired.console_enabled);
        let shown = desk.get(admin, &format!("{path}/console")).await.expect(200);
        assert_eq!(shown, json!({"console_enabled": true, "console_info": {}}), "fake consoles are nowhere");
        let patch = json!([{"op": "add", "path": "/driver", "value": "redfish"}]);
        desk.patch(admin, &format!("{NODES}/{id}?reset_interfaces=true"), patch).await.refused(409, "stop the console first");
        let none = json!([
            {"op": "add", "path": "/raid_interface", "value": "no-raid"}, {"op": "add", "path": "/console_interface", "value": "no-console"},
        ]);
        desk.patch(admin, &format!("{NODES}/{id}"), none).await.expect(200);
        desk.put(admin, &format!("{path}/raid"), disks).await.refused(404, "does not support raid");
        desk.put(admin, &format!("{path}/console"), json!({"enabled": true})).await.refused(400, "does not support console");
    });
}

fn nobody() -> Who {
    Who { token: String::new(), project: String::new(), user: String::new() }
}

#[test]
fn inspection_is_told_by_the_machine_itself() {
    on_each(async |world| {
        let mut desk = Desk::open(world).await;
        let id = desk.machine("m1").await;
        let public = desk.router.clone();
        desk.router = api::provisioning_router(desk.app.clone());
        let tell = async |desk: &Desk, minor: &str, query: &str, body: Value| {
            let path = format!("/baremetal/v1/continue_inspection{query}");
            desk.call(&nobody(), Method::POST, &path, &[("x-openstack-ironic-api-version", minor)], Some(body)).await
        };
        let data = json!({"inventory": {"interfaces": [{"mac_address": mac("m1").to_uppercase()}], "cpu": {"count": 8}}, "root_disk": {"name": "sda"}});
        desk.seen(&id, S::Inspecting, Phase::Agent).await;
        assert_eq!(tell(&desk, "1.1", "", data.clone()).await.expect(202), json!({"uuid": id}));
        let kept = desk.app.store.get(&Id::<NodeInventory>::parse(&id).unwrap()).await.unwrap().unwrap().desired;
        assert_eq!((&kept.inventory["cpu"]["count"], &kept.plugin_data["root_disk"]["name"]), (&json!(8), &json!("sda")));
        let told = tell(&desk, "1.84", &format!("?node_uuid={id}"), data.clone()).await.expect(202);
        assert_eq!(told["node"]["uuid"], id.as_str());
        assert_eq!(told["config"]["agent_token"].as_str().unwrap().len(), 32);
        for (minor, query, body, status) in [
            ("1.50", "", data.clone(), 404),
            ("1.1", "?node_uuid=x", data.clone(), 404),
            ("1.84", "", json!({"inventory": {"interfaces": []}}), 400),
            ("1.84", "", json!({"inventory": {"interfaces": [{"mac_address": "52:54:00:99:99:99"}]}}), 404),
            ("1.84", "", json!({"inventory": {"interfaces": [{"mac_address": "x"}]}}), 400),
        ] {
            let answer = tell(&desk, minor, query, body).await;
            assert_eq!(answer.status.as_u16(), status, "{minor} {query}: {}", answer.body);
        }
        desk.seen(&id, S::Cleaning, Phase::Agent).await;
        tell(&desk, "1.84", "", data.clone()).await.expect(404);
        // Whoever reaches only what everybody reaches speaks for no machine that is on a network of ours.
        desk.seen(&id, S::Inspecting, Phase::Agent).await;
        desk.router = public;
        tell(&desk, "1.84", "", data.clone()).await.expect(404);
        let shown = desk.get(&desk.admin, &format!("{NODES}/{id}/inventory")).await.expect(200);
        assert_eq!(shown["inventory"]["cpu"]["count"], 8);
    });
}

#[test]
fn agents_of_unplugged_machines_come_by_the_front_door() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        desk.seen(&id, S::Deploying, Phase::Agent).await;
        let lookup = async || {
            let path = format!("/baremetal/v1/lookup?addresses={}", mac("m1"));
            desk.call(&nobody(), Method::GET, &path, &[("x-openstack-ironic-api-version", "1.68")], None).await
        };
        let beat = async |token: &str| {
            let body = json!({"callback_url": "http://127.0.0.1:9999", "agent_version": "11", "agent_token": token});
            let path = format!("/baremetal/v1/heartbeat/{id}");
            desk.call(&nobody(), Method::POST, &path, &[("x-openstack-ironic-api-version", "1.68")], Some(body)).await
        };
        lookup().await.expect(404);
        beat("x").await.expect(404);
        desk.seen(&id, S::Manageable, Phase::Rest).await;
        let noop = json!([{"op": "add", "path": "/network_interface", "value": "noop"}]);
        desk.patch(admin, &format!("{NODES}/{id}"), noop).await.expect(200);
        desk.seen(&id, S::Deploying, Phase::Agent).await;
        let token = lookup().await.expect(200)["config"]["agent_token"].as_str().unwrap().to_owned();
        beat("x").await.refused(400, "token");
        beat(&token).await.expect(202);
        assert_eq!(lookup().await.expect(200)["config"]["agent_token"], "******");
        // A new boot gets a new token; the old one is void.
        desk.observe::<Node>(&id, |node| node.observed.booted_at = Some(Timestamp::now())).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        let again = lookup().await.expect(200)["config"]["agent_token"].as_str().unwrap().to_owned();
        assert!(again != token && again.len() == 32);
        beat(&token).await.refused(400, "token");
        // One that was put into the ramdisk is shown to nobody.
        let session = desk.app.store.get(&Id::<AgentSession>::parse(&id).unwrap()).await.unwrap().unwrap();
        let mut given = session.clone();
        given.desired.pregenerated = true;
        desk.app.store.apply(Batch::wishes().want(&given)).await.unwrap();
        assert_eq!(lookup().await.expect(200)["config"]["agent_token"], "******");
        // Ports are attached to such a machine in words only.
        desk.seen(&id, S::Available, Phase::Rest).await;
        desk.post(admin, &format!("{NODES}/{id}/vifs"), json!({"id": "anything"})).await.expect(204);
        assert_eq!(desk.get(admin, &format!("{NODES}/{id}/vifs")).await.expect(200)["vifs"], json!([]));
    });
}

#[test]
fn a_port_is_attached_to_the_card_that_was_named() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let second = json!({"node_uuid": id, "address": "52:54:00:00:00:77",
                            "local_link_connection": {"switch_id": "02:cf:00:00:00:01", "port_id": "second"}});
        let card = desk.post(admin, "/baremetal/v1/ports", second).await.expect(201)["uuid"].as_str().unwrap().to_owned();
        let (a, b) = (desk.port(admin, "a").await, desk.port(admin, "b").await);
        let path = format!("{NODES}/{id}/vifs");
        let both = json!({"id": a, "port_uuid": card, "portgroup_uuid": card});
        desk.post(admin, &path, both).await.refused(400, "Cannot specify both");
        desk.post(admin, &path, json!({"id": a, "port_uuid": Id::<()>::random()})).await.refused(409, "Unable to attach VIF");
        desk.post(admin, &path, json!({"id": a, "port_uuid": card})).await.expect(204);
        desk.post(admin, &path, json!({"id": b, "port_uuid": card})).await.refused(409, "already attached to Ironic Port");
        let shown = desk.get(admin, &format!("/baremetal/v1/ports/{card}")).await.expect(200);
        assert_eq!(shown["internal_info"]["tenant_vif_port_id"], a.as_str());
        desk.delete(admin, &format!("{path}/{a}")).await.expect(204);
        let shown = desk.get(admin, &format!("/baremetal/v1/ports/{card}")).await.expect(200);
        assert_eq!(shown["internal_info"], json!({}));
    });
}

#[test]
fn a_port_goes_to_a_group_before_it_goes_to_a_card() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        let group = async |name: &str, alone: bool| {
            let body = json!({"node_uuid": id, "name": name, "mode": "802.3ad", "standalone_ports_supported": alone});
            desk.post(admin, "/baremetal/v1/portgroups", body).await.expect(201)["uuid"].as_str().unwrap().to_owned()
        };
        let card = async |nth: u8, group: &str| {
            let body = json!({"node_uuid": id, "address": format!("52:54:00:00:01:{nth:02x}"), "portgroup_uuid": group, "pxe_enabled": false,
                              "local_link_connection": {"switch_id": "02:cf:00:00:00:01", "port_id": format!("g{nth}")}});
            desk.post(admin, "/baremetal/v1/ports", body).await.expect(201)["uuid"].as_str().unwrap().to_owned()
        };
        let (whole, loose) = (group("whole", false).await, group("loose", true).await);
        let (first, _second) = (card(1, &whole).await, card(2, &whole).await);
        let (third, _fourth) = (card(3, &loose).await, card(4, &loose).await);
        let path = format!("{NODES}/{id}/vifs");
        let vif_of = async |what: &str, id: &str| {
            let shown = desk.get(admin, &format!("/baremetal/v1/{what}/{id}")).await.expect(200);
            shown["internal_info"]["tenant_vif_port_id"].as_str().map(str::to_owned)
        };
        let vifs = [desk.port(admin, "a").await, desk.port(admin, "b").await, desk.port(admin, "c").await, desk.port(admin, "d").await];
        // Alone only where the group may be used so; the others of its group then, too.
        let alone = desk.post(admin, &path, json!({"id": vifs[0], "port_uuid": first})).await;
        alone.refused(409, "whose ports are not used alone");
        desk.post(admin, &path, json!({"id": vifs[0], "port_uuid": third})).await.expect(204);
        desk.post(admin, &path, json!({"id": vifs[1], "portgroup_uuid": loose})).await.refused(409, "have VIFs of their own");
        desk.delete(admin, &format!("{path}/{}", vifs[0])).await.expect(204);
        assert_eq!(vif_of("ports", &third).await, None);

        desk.post(admin, &path, json!({"id": vifs[0], "portgroup_uuid": whole})).await.expect(204);
        assert_eq!(vif_of("portgroups", &whole).await.as_deref(), Some(vifs[0].as_str()));
        desk.post(admin, &path, json!({"id": vifs[1], "portgroup_uuid": whole})).await.refused(409, "already attached to Ironic Portgroup");
        desk.post(admin, &path, json!({"id": vifs[1], "port_uuid": first})).await.refused(409, "already attached to Ironic Portgroup");
        desk.post(admin, &path, json!({"id": vifs[1]})).await.expect(204);
        assert_eq!(vif_of("portgroups", &loose).await.as_deref(), Some(vifs[1].as_str()));
        // Two groups and the card that the machine has anyway: that is all.
        desk.post(admin, &path, json!({"id": vifs[2]})).await.expect(204);
        desk.post(admin, &path, json!({"id": vifs[3]})).await.refused(400, "not enough free physical ports");
        desk.delete(admin, &format!("{path}/{}", vifs[0])).await.expect(204);
        assert_eq!(vif_of("portgroups", &whole).await, None);
        desk.post(admin, &path, json!({"id": vifs[3]})).await.expect(204);
        assert_eq!(vif_of("portgroups", &whole).await.as_deref(), Some(vifs[3].as_str()));
    });
}

#[test]
fn history_tells_who_asked_and_where_the_node_stood() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = desk.machine("m1").await;
        desk.seen(&id, S::Enroll, Phase::Rest).await;
        desk.put(admin, &format!("{NODES}/{id}/states/provision"), json!({"target": "manage"})).await.expect(202);
        let of = async |minor, tail: &str| at(&desk, admin, minor, Method::GET, &format!("nodes/{id}/history{tail}"), None).await;
        let brief = of(115, "").await.expect(200)["history"].clone();
        let last = brief.as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["event"], last.get("user")), (&json!("asked: manage"), None));
        assert_eq!(last["links"].as_array().unwrap().len(), 1);
        let detail = of(115, "?detail=true&sort_dir=desc&limit=1").await.expect(200);
        let event = &detail["history"][0];
        assert_eq!((&event["user"], &event["project"], &event["state"]), (&json!(admin.user), &json!(admin.project), &json!("enroll")));
        assert!(detail["next"].as_str().unwrap().contains("/history?"));
        let uuid = last["uuid"].as_str().unwrap();
        for (minor, field, there) in [(112, "project", false), (113, "project", true), (114, "state", false), (115, "state", true)] {
            let one = of(minor, &format!("/{uuid}")).await.expect(200);
            assert_eq!(one.get(field).is_some(), there, "{field} at 1.{minor}");
        }
        of(115, "/none").await.refused(404, "Node history record none could not be found.");
        let events = json!({"events": [{"event": "network.bind_port", "port_id": Id::<()>::random(), "mac_address": mac("m1"), "status": "ACTIVE"}]});
        assert_eq!(at(&desk, admin, 53, Method::POST, "events", Some(events.clone())).await.status.as_u16(), 404);
        at(&desk, admin, 54, Method::POST, "events", Some(events)).await.expect(204);
        at(&desk, admin, 54, Method::POST, "events", Some(json!({"events": [{}]}))).await.refused(400, "'event' is a required property");
        let last = of(115, "").await.expect(200)["history"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["event"], "network.bind_port");
    });
}
