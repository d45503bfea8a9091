//! The unmodified `openstack` command against a running control plane: everything that needs no machines.
#![cfg(test)]

#[expect(dead_code, reason = "not every test logs in by other ways")]
mod openstack;
#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use openstack::Client;
use serde_json::{Value, json};
use support::serve::{Serve, Setting};

#[track_caller]
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn the_openstack_command() {
    let dir = tempfile::Builder::new().prefix("cofferdam-osc-").tempdir().unwrap();
    let setting = Setting::new(&dir.path().join("state"));
    let Some(admin) = Client::of(&setting.state_dir) else { return };
    let serve = Serve::start(setting);
    let base = serve.setting.base();
    let services: BTreeSet<String> = admin.column("catalog list", "Name").into_iter().collect();
    assert_eq!(services, ["glance", "ironic", "keystone", "magnum", "neutron", "nova"].map(str::to_owned).into());
    // Each user of the command waits mostly for Python; they do not get into each other's way.
    std::thread::scope(|scope| {
        let (admin, dir) = (&admin, dir.path());
        let users: [(&str, std::thread::ScopedJoinHandle<'_, ()>); 6] = [
            ("identity", scope.spawn(|| identity(admin, &base))),
            ("network", scope.spawn(|| network(admin))),
            ("bgpvpn", scope.spawn(|| bgpvpn(admin, &base))),
            ("image", scope.spawn(|| image(admin, dir))),
            ("baremetal", scope.spawn(|| baremetal(admin))),
            ("compute and container-infra", scope.spawn(|| container_infra(admin, dir))),
        ];
        for (name, user) in users {
            assert!(user.join().is_ok(), "{name} failed");
        }
    });
}

fn identity(admin: &Client, base: &str) {
    let project = admin.json("project create finance --description money");
    assert_eq!((text(&project, "name"), text(&project, "description"), &project["enabled"]), ("finance", "money", &json!(true)));
    admin.ok("project set finance --description coins");
    assert_eq!(text(&admin.json("project show finance"), "description"), "coins");
    admin.refused("project create finance", &["409"]);
    assert!(admin.column("project list", "Name").contains(&"finance".to_owned()));

    let user = admin.json("user create ann --password secret --project finance --email ann@example.org");
    assert_eq!((text(&user, "name"), text(&user, "default_project_id")), ("ann", text(&project, "id")));
    admin.ok("user set ann --email ann@example.net");
    assert_eq!(text(&admin.json("user show ann"), "email"), "ann@example.net");
    assert!(admin.column("user list", "Name").contains(&"ann".to_owned()));
    assert_eq!(text(&admin.json("role create auditor"), "name"), "auditor");
    let roles = admin.column("role list", "Name");
    assert!(["admin", "manager", "member", "reader", "service", "auditor"].iter().all(|it| roles.iter().any(|has| has == it)), "{roles:?}");

    admin.ok("role add --project finance --user ann member");
    admin.ok("role add --project finance --user ann auditor");
    admin.ok("role remove --project finance --user ann auditor");
    let given = admin.json("role assignment list --names --project finance");
    assert_eq!(given.as_array().unwrap().len(), 1, "{given}");
    assert_eq!(
        (text(&given[0], "Role"), text(&given[0], "User"), text(&given[0], "Project")),
        ("member", "ann@Default", "finance@Default")
    );

    let ann = admin.login("ann", "secret", "finance");
    let token = ann.json("token issue");
    assert_eq!(text(&token, "project_id"), text(&project, "id"));
    let token = text(&token, "id").to_owned();
    let using = || {
        let request = net::http::Request::get(format!("{base}/network/v2.0/networks")).header("x-auth-token", &token);
        support::api::send(request, Duration::from_secs(10)).unwrap().status
    };
    assert_eq!(using(), 200);
    admin.ok(&format!("token revoke {token}"));
    assert_eq!(using(), 401);
    ann.refused("user list", &["403"]);
    assert_eq!(ann.column("catalog list", "Type").len(), 6);
    ann.ok("user password set --original-password secret --password better");
    ann.refused("network list", &["401"]);
    let ann = admin.login("ann", "better", "finance");
    assert_eq!(ann.json("port list"), json!([]));
    admin.ok("user set ann --disable");
    ann.refused("network list", &["401"]);

    assert_eq!(text(&admin.json("domain create tenants"), "name"), "tenants");
    admin.refused("domain delete tenants", &["disable"]);
    admin.ok("domain set tenants --disable");
    admin.ok("domain delete tenants");
    admin.ok("user delete ann");
    admin.ok("role delete auditor");
    admin.ok("project delete finance");
    admin.refused("project show finance", &["finance"]);
    assert_eq!(admin.column("region list", "Region"), ["RegionOne"]);
    assert_eq!(admin.json("endpoint list --service network").as_array().unwrap().len(), 3);
}

fn network(admin: &Client) {
    let net = admin.json("network create blue --description d --mtu 1400");
    assert_eq!((text(&net, "name"), text(&net, "status"), &net["mtu"]), ("blue", "ACTIVE", &json!(1400)));
    assert_eq!(text(&net, "provider:network_type"), "vlan");
    admin.ok("network set blue --name navy --disable");
    let net = admin.json("network show navy");
    assert_eq!(net["admin_state_up"], json!(false));
    admin.ok("network set navy --enable --share");
    assert_eq!(admin.column("network list --name navy --share", "Name"), ["navy"]);

    let subnet = admin.json("subnet create s --network navy --subnet-range 10.0.0.0/24 --dns-nameserver 10.0.0.53 --gateway 10.0.0.254");
    assert_eq!((text(&subnet, "cidr"), text(&subnet, "gateway_ip")), ("10.0.0.0/24", "10.0.0.254"));
    admin.ok("subnet set s --name t --no-dhcp --dns-nameserver 10.0.0.54");
    admin.ok("subnet unset t --dns-nameserver 10.0.0.53");
    let subnet = admin.json("subnet show t");
    assert_eq!((&subnet["enable_dhcp"], &subnet["dns_nameservers"]), (&json!(false), &json!(["10.0.0.54"])));
    assert_eq!(admin.column("subnet list --network navy", "Name"), ["t"]);
    admin.refused("subnet create u --network navy --subnet-range 10.0.0.0/25", &["overlaps"]);

    let port = admin.json("port create p --network navy --fixed-ip subnet=t,ip-address=10.0.0.9 --vnic-type baremetal --device d1");
    assert_eq!(text(&port["fixed_ips"][0], "ip_address"), "10.0.0.9");
    let mac = text(&port, "mac_address").to_owned();
    admin.ok("port set p --name q --host h1 --disable");
    let profile = r#"{"local_link_information": [{"switch_id": "02:cf:00:00:00:01", "port_id": "p1"}]}"#;
    // Saying how a port is bound takes the role of services.
    admin.ok("role add --project admin --user admin service");
    admin.run_with("port set q --binding-profile", &[profile]);
    let port = admin.json("port show q");
    assert_eq!((text(&port, "binding_host_id"), text(&port, "binding_vnic_type")), ("h1", "baremetal"));
    assert_eq!(text(&port["binding_profile"]["local_link_information"][0], "port_id"), "p1");
    for filter in ["--network navy", "--fixed-ip ip-address=10.0.0.9", &format!("--mac-address {mac}"), "--device-id d1", "--host h1"] {
        assert_eq!(admin.column(&format!("port list {filter}"), "Name"), ["q"], "{filter}");
    }
    admin.refused("network delete navy", &["in use"]);
    admin.ok("port set q --no-fixed-ip --enable");
    assert_eq!(admin.json("port show q")["fixed_ips"], json!([]));
    admin.ok("port delete q");
    admin.ok("subnet delete t");
    admin.ok("network delete navy");
    admin.refused("network show navy", &["navy"]);
    let extensions = admin.column("extension list --network", "Alias");
    assert!(extensions.contains(&"binding".to_owned()), "{extensions:?}");
}

fn bgpvpn(admin: &Client, base: &str) {
    let targets = "--route-target 64512:1 --import-target 64512:2 --export-target 64512:3 --route-distinguisher 64512:4";
    let vpn = admin.json(&format!("bgpvpn create --name vpn1 --type l3 --vni 1000 --local-pref 100 {targets}"));
    assert_eq!((text(&vpn, "name"), text(&vpn, "type"), &vpn["vni"], &vpn["local_pref"]), ("vpn1", "l3", &json!(1000), &json!(100)));
    admin.refused("bgpvpn create --route-target x", &["not a valid input"]);
    admin.ok("bgpvpn set vpn1 --name vpn --route-target 64512:5 --no-import-target");
    let shown = admin.json("bgpvpn show vpn");
    // The client sends targets in no order.
    let targets: BTreeSet<&str> = shown["route_targets"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((targets, &shown["import_targets"]), (BTreeSet::from(["64512:1", "64512:5"]), &json!([])));
    admin.ok("bgpvpn unset vpn --route-target 64512:1 --all-export-target");
    let listed = admin.json("bgpvpn list --long --property type=l3");
    let routes = (&listed[0]["Route Targets"], &listed[0]["Export Targets"]);
    assert_eq!((text(&listed[0], "Name"), routes), ("vpn", (&json!(["64512:5"]), &json!([]))));

    admin.ok("network create behind");
    admin.ok("subnet create behind --network behind --subnet-range 10.9.0.0/24");
    let router = admin.json("router create edge");
    let port = admin.json("port create ported --network behind");
    let network = admin.json("bgpvpn network association create vpn behind");
    let id = text(&network, "id");
    assert_eq!(admin.column("bgpvpn network association list vpn", "ID"), [id]);
    assert_eq!(text(&admin.json(&format!("bgpvpn network association show {id} vpn")), "network_id"), text(&network, "network_id"));
    admin.refused("bgpvpn network association create vpn behind", &["already associated"]);
    admin.ok(&format!("bgpvpn network association delete {id} vpn"));

    let routed = admin.json("bgpvpn router association create vpn edge");
    let id = text(&routed, "id");
    assert_eq!((text(&routed, "router_id"), &routed["advertise_extra_routes"]), (text(&router, "id"), &json!(true)));
    admin.ok(&format!("bgpvpn router association set {id} vpn --no-advertise_extra_routes"));
    assert_eq!(admin.json(&format!("bgpvpn router association show {id} vpn"))["advertise_extra_routes"], json!(false));
    admin.ok(&format!("bgpvpn router association unset {id} vpn --no-advertise_extra_routes"));
    assert_eq!(admin.json(&format!("bgpvpn router association show {id} vpn"))["advertise_extra_routes"], json!(true));
    admin.ok(&format!("bgpvpn router association delete {id} vpn"));

    let leaked = admin.json("bgpvpn create --name other");
    let ported =
        admin.json("bgpvpn port association create vpn ported --prefix-route prefix=10.1.0.0/16,local_pref=5 --bgpvpn-route bgpvpn=other");
    let id = text(&ported, "id");
    assert_eq!((text(&ported, "port_id"), &ported["advertise_fixed_ips"]), (text(&port, "id"), &json!(true)));
    admin.ok(&format!("bgpvpn port association set {id} vpn --prefix-route prefix=10.2.0.0/16 --no-advertise-fixed-ips"));
    assert_eq!(admin.json(&format!("bgpvpn port association show {id} vpn"))["advertise_fixed_ips"], json!(false));
    // The client knows how to show routes, and does not.
    let token = text(&admin.json("token issue"), "id").to_owned();
    let path = format!("{base}/network/v2.0/bgpvpn/bgpvpns/{}/port_associations/{id}", text(&vpn, "id"));
    let routes = || {
        let request = net::http::Request::get(&path).header("x-auth-token", &token);
        support::api::send(request, Duration::from_secs(10)).unwrap().text
    };
    let listed = routes();
    assert!(["10.1.0.0/16", "10.2.0.0/16", text(&leaked, "id")].iter().all(|it| listed.contains(it)), "{listed}");
    admin.ok(&format!("bgpvpn port association unset {id} vpn --prefix-route 10.1.0.0/16 --all-bgpvpn-routes"));
    let listed = routes();
    assert!(listed.contains("10.2.0.0/16") && !listed.contains("10.1.0.0/16") && !listed.contains(text(&leaked, "id")), "{listed}");
    assert_eq!(admin.json("bgpvpn show vpn")["ports"], json!([text(&port, "id")]));
    admin.ok("port delete ported");
    assert_eq!(admin.json("bgpvpn port association list vpn"), json!([]));
    admin.ok("bgpvpn delete vpn other");
    assert_eq!(admin.json("bgpvpn list"), json!([]));
    admin.ok("router delete edge");
    admin.ok("network delete behind");
}

fn image(admin: &Client, dir: &Path) {
    let (sent, got) = (dir.join("sent.raw"), dir.join("got.raw"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|it| u8::try_from(it.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    std::fs::write(&sent, &bytes).unwrap();
    let create = "image create disk --disk-format raw --container-format bare --property os_distro=debian --tag blue --public --file";
    let made: Value = serde_json::from_str(&admin.run_with(create, &[sent.to_str().unwrap(), "-f", "json"])).unwrap();
    let shown = admin.json("image show disk");
    assert_eq!((text(&shown, "id"), text(&shown, "status"), &shown["size"]), (text(&made, "id"), "active", &json!(3_000_000)));
    assert_eq!((text(&shown, "visibility"), &shown["tags"]), ("public", &json!(["blue"])));
    admin.ok("image set disk --name plate --property purpose=test --min-disk 2 --private --tag red");
    let shown = admin.json("image show plate");
    assert_eq!((text(&shown["properties"], "purpose"), &shown["min_disk"], text(&shown, "visibility")), ("test", &json!(2), "private"));
    admin.ok("image unset plate --property purpose --tag red");
    assert_eq!(admin.column("image list --name plate", "Name"), ["plate"]);
    admin.run_with("image save plate --file", &[got.to_str().unwrap()]);
    assert!(std::fs::read(&got).unwrap() == bytes, "other bytes came back");
    admin.ok("image set plate --protected");
    admin.refused("image delete plate", &["protected"]);
    admin.ok("image set plate --unprotected");
    admin.ok("image delete plate");
    admin.refused("image show plate", &["plate"]);
}

fn baremetal(admin: &Client) {
    let info = "--driver-info redfish_address=http://127.0.0.1:9 --driver-info redfish_username=u --driver-info redfish_password=hunter2";
    let node = admin.json(&format!("baremetal node create --driver redfish --name n1 --resource-class bm --property cpus=1 {info}"));
    assert_eq!((text(&node, "name"), text(&node, "provision_state"), text(&node, "driver")), ("n1", "enroll", "redfish"));
    assert_ne!(text(&node["driver_info"], "redfish_password"), "hunter2");
    admin.refused(&format!("baremetal node create --driver redfish --name n1 {info}"), &["n1"]);
    admin.refused("baremetal node create --driver ipmi-of-mine --name n2", &["ipmi-of-mine"]);
    admin.ok("baremetal node set n1 --property memory_mb=512 --extra rack=r1 --description spare");
    let node = admin.json("baremetal node show n1");
    assert_eq!((text(&node, "description"), text(&node["extra"], "rack")), ("spare", "r1"));
    admin.ok("baremetal node unset n1 --extra rack --description");
    let node = admin.json("baremetal node show n1");
    assert_eq!((&node["extra"], &node["description"]), (&json!({}), &Value::Null));
    assert_eq!(admin.column("baremetal node list", "name"), ["n1"]);
    let valid = admin.json("baremetal node validate n1");
    assert!(valid.as_array().unwrap().iter().any(|it| it["Interface"] == "power"), "{valid}");
    admin.ok("baremetal node maintenance set n1 --reason dust");
    let node = admin.json("baremetal node show n1");
    assert_eq!((&node["maintenance"], text(&node, "maintenance_reason")), (&json!(true), "dust"));
    admin.ok("baremetal node maintenance unset n1");
    assert_eq!(admin.json("baremetal node show n1")["maintenance"], json!(false));
    admin.refused("baremetal node provide n1", &["enroll"]);

    let uuid = text(&node, "uuid");
    let link = "--local-link-connection switch_id=02:cf:00:00:00:01 --local-link-connection port_id=p1";
    let port = admin.json(&format!("baremetal port create 52:54:00:00:00:01 --node {uuid} --physical-network physnet1 {link}"));
    assert_eq!((text(&port, "address"), text(&port["local_link_connection"], "port_id")), ("52:54:00:00:00:01", "p1"));
    assert_eq!(admin.column("baremetal port list --node n1", "address"), ["52:54:00:00:00:01"]);
    let port = text(&port, "uuid");
    admin.ok(&format!("baremetal port set {port} --extra colour=blue"));
    assert_eq!(text(&admin.json(&format!("baremetal port show {port}"))["extra"], "colour"), "blue");
    admin.refused(&format!("baremetal port create 52:54:00:00:00:01 --node {uuid}"), &["52:54:00:00:00:01"]);
    admin.ok(&format!("baremetal port delete {port}"));
    assert_eq!(admin.json("baremetal port list"), json!([]));
    assert_eq!(admin.column("baremetal driver list", "name"), ["fake-hardware", "ipmi", "manual-management", "redfish"]);
    assert_eq!(text(&admin.json("baremetal driver show redfish"), "name"), "redfish");
    admin.ok("baremetal node delete n1");
    admin.refused("baremetal node show n1", &["n1"]);
}

fn container_infra(admin: &Client, dir: &Path) {
    let flavor = admin.json("flavor create small --ram 512 --disk 4 --vcpus 1 --property resources:CUSTOM_BM=1");
    assert_eq!((text(&flavor, "name"), &flavor["ram"]), ("small", &json!(512)));
    admin.ok("flavor set small --property colour=blue");
    assert_eq!(text(&admin.json("flavor show small")["properties"], "colour"), "blue");
    admin.ok("flavor unset small --property colour");
    assert_eq!(admin.column("flavor list", "Name"), ["small"]);

    let private = admin.ok("keypair create made");
    assert!(private.contains("PRIVATE KEY"), "{private}");
    let public = admin.ok("keypair show made --public-key");
    let file = dir.join("key.pub");
    std::fs::write(&file, public.trim()).unwrap();
    admin.run_with("keypair create given --public-key", &[file.to_str().unwrap()]);
    let prints = admin.column("keypair list", "Fingerprint");
    assert!(prints.len() == 2 && prints[0] == prints[1], "{prints:?}");
    admin.ok("keypair delete made");

    let data = dir.join("machine.raw");
    std::fs::write(&data, b"an image").unwrap();
    let create = "image create machine --disk-format raw --container-format bare --property os_distro=debian --file";
    admin.run_with(create, &[data.to_str().unwrap()]);
    admin.ok("network create public --external");
    let shape = "--coe swarm-mode --server-type bm --image machine --flavor small --master-flavor small --external-network public";
    let template = admin.json(&format!("coe cluster template create swarm --keypair given {shape} --labels fixed_subnet_cidr=10.0.0.0/24"));
    assert_eq!((text(&template, "name"), text(&template, "coe"), text(&template, "server_type")), ("swarm", "swarm-mode", "bm"));
    assert_eq!(admin.column("coe cluster template list", "name"), ["swarm"]);
    assert_eq!(text(&admin.json("coe cluster template show swarm"), "uuid"), text(&template, "uuid"));
    admin.refused("coe cluster template create wrong --coe abacus --image machine --external-network public", &["abacus"]);
    admin.ok("coe cluster template update swarm --name flock");

    admin.refused("coe cluster create c --cluster-template flock --master-count 1 --node-count 1", &["machines", "available"]);
    assert_eq!(admin.json("coe cluster list"), json!([]));
    admin.refused("coe cluster show c", &["c"]);
    admin.refused("coe cluster config c", &["c"]);
    admin.ok("coe cluster template delete flock");
    assert_eq!(admin.json("coe cluster template list"), json!([]));
    admin.ok("keypair delete given");
    admin.ok("flavor delete small");
    admin.refused("flavor show small", &["small"]);
    admin.ok("network delete public");
}
