//! The whole life of a cluster by hand, with the unmodified `openstack` command, on machines of a simulated rack.
#![cfg(test)]

#[expect(dead_code, reason = "not every test logs in by other ways")]
mod openstack;
#[path = "rack/support/mod.rs"]
#[expect(dead_code, reason = "made for the tests with a rack, which use more of it")]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use net::http::{Client as Http, Request};
use openstack::Client;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use support::rack::Rack;
use support::serve::Serve;
use support::supplies::Supplies;
use support::{block, say, wait_for};

/// For one step of the machines: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(240);

#[track_caller]
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_cluster_by_hand() {
    let Some(rack) = Rack::up('o', 2) else { return };
    let setting = rack.setting((100, 109));
    let Some(admin) = Client::of(&setting.state_dir) else { return };
    let supplies = Supplies::get();
    let _serve = Serve::start(setting.clone());
    enrol(&admin, &rack, &supplies);
    for verb in ["manage", "provide"] {
        admin.ok(&format!("baremetal node {verb} m1 m2 --wait {}", PATIENCE.as_secs()));
    }
    await_available(&admin);

    admin.ok("project create finance");
    admin.ok("user create ann --password secret --project finance");
    admin.ok("role add --project finance --user ann member");
    let ann = admin.login("ann", "secret", "finance");
    let shape = "--coe swarm-mode --server-type bm --image machine --flavor bm.small --master-flavor bm.small --external-network public";
    ann.ok(&format!("coe cluster template create swarm {shape} --labels fixed_subnet_cidr=10.0.0.0/24"));
    ann.ok("coe cluster create flock --cluster-template swarm --master-count 1 --node-count 1 --timeout 10");
    wait_for("the cluster is complete", PATIENCE, || {
        let cluster = ann.json("coe cluster show flock");
        match text(&cluster, "status") {
            "CREATE_COMPLETE" => Ok(()),
            "CREATE_IN_PROGRESS" => Err(cluster["status_reason"].to_string()),
            _ => panic!("{cluster}"),
        }
    });
    let cluster = ann.json("coe cluster show flock");
    let nodes = admin.json("baremetal node list --fields name provision_state instance_uuid");
    for node in nodes.as_array().unwrap() {
        assert_eq!(text(node, "provision_state"), "active", "{nodes}");
    }
    ann.refused("baremetal node show m1", &["m1"]);
    admin.refused("baremetal node delete m1", &["m1"]);
    use_it(&ann, text(&cluster, "api_address"), &setting.state_dir);

    ann.ok("coe cluster delete flock");
    wait_for("the cluster is gone", PATIENCE, || {
        let list = ann.json("coe cluster list");
        if list.as_array().unwrap().is_empty() { Ok(()) } else { Err(list.to_string()) }
    });
    await_available(&admin);
    assert!(ann.column("port list", "ID").is_empty());
    ann.ok("coe cluster template delete swarm");
    admin.ok("baremetal node delete m1 m2");
    assert_eq!(admin.json("baremetal port list").as_array().unwrap().len(), 0);
    admin.ok("image delete machine deploy-kernel deploy-ramdisk");
    admin.ok("network delete public");
    admin.ok("user delete ann");
    admin.ok("project delete finance");
}

/// Flavor, images, the network that clients insist on, and the machines with their cables.
fn enrol(admin: &Client, rack: &Rack, supplies: &Supplies) {
    admin.ok("network create public --external");
    admin.ok("flavor create bm.small --ram 512 --disk 2 --vcpus 1 --property resources:CUSTOM_BAREMETAL=1");
    let upload = |name: &str, format: &str, more: &str, file: &Path| {
        let (disk, container) = format.split_once('/').unwrap();
        let line = format!("image create {name} --disk-format {disk} --container-format {container} --public {more} --file");
        let said = admin.run_with(&line, &[file.to_str().unwrap(), "-f", "json"]);
        let image: Value = serde_json::from_str(&said).unwrap();
        text(&image, "id").to_owned()
    };
    let kernel = upload("deploy-kernel", "aki/aki", "", &supplies.kernel);
    let ramdisk = upload("deploy-ramdisk", "ari/ari", "", &supplies.initrd);
    upload("machine", "raw/bare", "--property os_distro=debian", &supplies.image);
    for machine in rack.machines() {
        let bmc = &machine["bmc"];
        let info = [
            ("redfish_address", text(bmc, "url")),
            ("redfish_system_id", text(bmc, "system")),
            ("redfish_username", text(bmc, "username")),
            ("redfish_password", text(bmc, "password")),
            ("deploy_kernel", &kernel),
            ("deploy_ramdisk", &ramdisk),
        ];
        let info: Vec<String> = info.iter().map(|(key, value)| format!("--driver-info {key}={value}")).collect();
        let name = text(machine, "name");
        let node =
            admin.json(&format!("baremetal node create --driver redfish --name {name} --resource-class baremetal {}", info.join(" ")));
        let link = [("switch_id", "switch_id"), ("port_id", "port"), ("switch_info", "leaf")];
        let link: Vec<String> = link.iter().map(|(key, of)| format!("--local-link-connection {key}={}", text(machine, of))).collect();
        let (uuid, mac) = (text(&node, "uuid"), text(machine, "mac"));
        admin.ok(&format!("baremetal port create {mac} --node {uuid} --physical-network physnet1 {}", link.join(" ")));
    }
}

fn await_available(admin: &Client) {
    wait_for("all machines are available", PATIENCE, || {
        let nodes = admin.json("baremetal node list");
        let all = nodes.as_array().unwrap();
        let is_free = |it: &Value| it["provision_state"] == "available" && it["instance_uuid"].is_null();
        if all.len() == 2 && all.iter().all(is_free) { Ok(()) } else { Err(nodes.to_string()) }
    });
}

/// `coe cluster config` writes certificates with which the cluster's Docker lets its owner in, and nobody without.
fn use_it(ann: &Client, address: &str, state_dir: &Path) {
    let dir = state_dir.with_file_name("keys");
    std::fs::create_dir_all(&dir).unwrap();
    let said = ann.run_with("coe cluster config flock --output-certs --dir", &[dir.to_str().unwrap()]);
    assert!(said.contains(&format!("DOCKER_HOST={address}")) && said.contains("DOCKER_TLS_VERIFY=True"), "{said}");
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&read("ca.pem")) {
        roots.add(authority.unwrap()).unwrap();
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read("cert.pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let url = address.replacen("tcp://", "https://", 1);
    let ask = |tls: rustls::ClientConfig, path: &str| {
        let http = Http { tls: Some(Arc::new(tls)), ..Http::plain().with_deadline(Duration::from_secs(20)) };
        block(http.send(Request::get(format!("{url}{path}"))))
    };
    let stranger = ask(builder.clone().with_no_client_auth(), "/_ping");
    assert!(stranger.is_err(), "{stranger:?}");
    let own = builder.with_client_auth_cert(chain, key).unwrap();
    let ping = ask(own.clone(), "/_ping").unwrap();
    assert_eq!((ping.status, ping.text().as_str()), (200, "OK"));
    let nodes: Value = ask(own, "/v1.41/nodes").unwrap().json().unwrap();
    let ready = nodes.as_array().unwrap().iter().filter(|it| it["Status"]["State"] == "ready").count();
    assert_eq!(ready, 2, "{nodes}");
    say(&format!("the swarm behind {address} has {ready} ready nodes"));
}
