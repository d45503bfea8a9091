//! What operators and tenants do, step by step, by the public APIs alone; every step may be interrupted and goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::api::{Service, Session};
use super::rack::Rack;
use super::supplies::Supplies;
use super::wait_for;

/// The same for all tenants, on purpose.
pub const CIDR: &str = "10.0.0.0/24";
const FLAVOR: &str = "bm.small";
const CLASS: &str = "baremetal";
const PASSWORD: &str = "a password of a test";
/// What a member of each cluster is: one manager and one worker.
pub const MEMBERS: usize = 2;
/// How long a step of the whole rack may take. Far more than it needs: a machine whose boot a crash cut short is booted again only after
/// five minutes if its firmware gave up.
const DEADLINE: Duration = Duration::from_secs(420);

/// The operator.
pub struct Operator {
    pub admin: Session,
    base: String,
    image: String,
    /// `sha512:…` of the image's data.
    digest: String,
    external: String,
    /// Ironic's ids by the machines' names.
    pub nodes: BTreeMap<String, String>,
}

/// A tenant with its template.
pub struct Tenant {
    pub session: Session,
    template: String,
}

/// A node, as far as it matters here.
fn node_of(list: &[Value], name: &str) -> Value {
    list.iter().find(|it| it["name"] == name).cloned().unwrap_or(Value::Null)
}

impl Operator {
    /// Flavor, images, and the rack's machines with their cables.
    pub fn enrol(admin: Session, base: &str, rack: &Rack, supplies: &Supplies) -> Self {
        let machine = &rack.machines()[0];
        let flavor = json!({"flavor": {"name": FLAVOR, "ram": machine["memory_mb"], "disk": machine["disk_gb"], "vcpus": machine["cpus"]}});
        let flavor = id(&admin.create(Service::Compute, "/flavors", "flavor", &flavor));
        let specs = json!({"extra_specs": {format!("resources:CUSTOM_{}", CLASS.to_uppercase()): "1"}});
        let answer = admin.call(Method::POST, Service::Compute, &format!("/flavors/{flavor}/os-extra_specs"), Some(&specs));
        assert!(answer.is_success(), "{}", answer.text);
        let upload = |name: &str, container: &str, disk: &str, file| {
            let mut body = json!({"name": name, "disk_format": disk, "container_format": container, "visibility": "public"});
            if disk == "raw" {
                body["os_distro"] = json!("debian");
            }
            let image = id(&admin.create(Service::Image, "/images", "", &body));
            admin.upload(&image, file);
            image
        };
        let kernel = upload("deploy-kernel", "aki", "aki", &supplies.kernel);
        let ramdisk = upload("deploy-ramdisk", "ari", "ari", &supplies.initrd);
        let image = upload("machine", "bare", "raw", &supplies.image);
        let shown = admin.get(Service::Image, &format!("/images/{image}"));
        let digest = format!("{}:{}", shown["os_hash_algo"].as_str().unwrap(), shown["os_hash_value"].as_str().unwrap());
        let mut nodes = BTreeMap::new();
        for machine in rack.machines() {
            let bmc = &machine["bmc"];
            let node = json!({
                "name": machine["name"], "driver": "redfish", "resource_class": CLASS,
                "driver_info": {
                    "redfish_address": bmc["url"], "redfish_system_id": bmc["system"],
                    "redfish_username": bmc["username"], "redfish_password": bmc["password"],
                    "deploy_kernel": kernel, "deploy_ramdisk": ramdisk,
                },
                "properties": {"cpus": machine["cpus"], "memory_mb": machine["memory_mb"], "local_gb": machine["disk_gb"], "cpu_arch": "x86_64"},
            });
            let node = admin.create(Service::Baremetal, "/nodes", "", &node)["uuid"].as_str().unwrap().to_owned();
            let link = json!({"switch_id": machine["switch_id"], "port_id": machine["port"], "switch_info": machine["leaf"]});
            let port = json!({
                "node_uuid": node, "address": machine["mac"], "pxe_enabled": true, "physical_network": "physnet1", "local_link_connection": link,
            });
            admin.create(Service::Baremetal, "/ports", "", &port);
            nodes.insert(machine["name"].as_str().unwrap().to_owned(), node);
        }
        let external = json!({"network": {"name": "public", "router:external": true}});
        let external = id(&admin.create(Service::Network, "/networks", "network", &external));
        Self { admin, base: base.to_owned(), image, digest, external, nodes }
    }

    /// From enrolment through cleaning until all are offered; asks again for what a crash has lost.
    pub fn provide(&self) {
        wait_for("all nodes are available", DEADLINE, || {
            let list = self.states();
            let mut others = Vec::new();
            for (name, uuid) in &self.nodes {
                let node = node_of(&list, name);
                let verb = match (node["provision_state"].as_str().unwrap_or("?"), node["target_provision_state"].is_null()) {
                    ("available", _) => continue,
                    ("enroll", true) => Some("manage"),
                    ("manageable", true) => Some("provide"),
                    ("clean failed" | "deploy failed" | "error", _) => panic!("{node}"),
                    _ => None,
                };
                if let Some(verb) = verb {
                    let body = json!({"target": verb});
                    // A node that is busy says so (409), and is asked again if it is still there at the next look.
                    drop(self.admin.try_call(Method::PUT, Service::Baremetal, &format!("/nodes/{uuid}/states/provision"), Some(&body)));
                }
                others.push(format!("{name} {} {}", node["provision_state"], node["last_error"]));
            }
            if others.is_empty() { Ok(()) } else { Err(others.join(", ")) }
        });
    }

    fn states(&self) -> Vec<Value> {
        self.admin.list(Service::Baremetal, "/nodes?fields=uuid,name,provision_state,target_provision_state,last_error,instance_uuid")
    }

    /// Waits until all machines are offered, without doing anything.
    pub fn await_available(&self, deadline: Duration) {
        wait_for("all nodes are available again", deadline, || {
            let others: Vec<String> = self
                .states()
                .iter()
                .filter(|it| it["provision_state"] != "available" || it["instance_uuid"].is_string())
                .map(|it| format!("{} {} {}", it["name"], it["provision_state"], it["last_error"]))
                .collect();
            if others.is_empty() { Ok(()) } else { Err(others.join(", ")) }
        });
    }

    /// A project with a user and a cluster template.
    pub fn tenant(&self, name: &str) -> Tenant {
        let admin = &self.admin;
        let project = json!({"project": {"name": name, "domain_id": "default"}});
        let project = id(&admin.create(Service::Identity, "/projects", "project", &project));
        let user = json!({"user": {"name": name, "password": PASSWORD, "domain_id": "default"}});
        let user = id(&admin.create(Service::Identity, "/users", "user", &user));
        let role = id(&admin.list(Service::Identity, "/roles?name=member")[0]);
        let grant = format!("/projects/{project}/users/{user}/roles/{role}");
        let answer = admin.call(Method::PUT, Service::Identity, &grant, None);
        assert!(answer.is_success(), "{}", answer.text);
        let session = Session::open(&self.base, name, PASSWORD, name);
        let template = json!({
            "name": "swarm", "coe": "swarm-mode", "server_type": "bm", "image_id": self.image, "flavor_id": FLAVOR, "master_flavor_id": FLAVOR,
            "external_network_id": self.external, "labels": {"fixed_subnet_cidr": CIDR},
        });
        let template = uuid(&session.create(Service::ContainerInfra, "/clustertemplates", "", &template));
        Tenant { session, template }
    }

    /// Whose each machine is, by the ports that its node has; every machine in use has the verified image.
    pub fn owners(&self, tenants: &[&Tenant]) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        for (name, uuid) in &self.nodes {
            let node = self.admin.get(Service::Baremetal, &format!("/nodes/{uuid}"));
            if node["instance_uuid"].is_null() {
                continue;
            }
            assert_eq!(node["provision_state"], "active", "{node}");
            assert_eq!(node["driver_internal_info"]["image_verified"], self.digest.as_str(), "{name}: {}", node["driver_internal_info"]);
            let vifs = self.admin.list(Service::Baremetal, &format!("/nodes/{uuid}/vifs"));
            assert_eq!(vifs.len(), 1, "{name}: {vifs:?}");
            let port = self.admin.get(Service::Network, &format!("/ports/{}", id(&vifs[0])));
            assert_eq!(port["port"]["status"], "ACTIVE", "{port}");
            let tenant = tenants.iter().find(|it| port["port"]["project_id"] == it.session.project_id.as_str());
            owners.insert(name.clone(), tenant.expect("a tenant of ours").session.project.clone());
        }
        owners
    }

    /// The VLANs of the networks there are, by the networks' names.
    pub fn vlans(&self) -> BTreeMap<String, u16> {
        let vlan = |it: &Value| u16::try_from(it["provider:segmentation_id"].as_u64().unwrap()).unwrap();
        let networks = self.admin.list(Service::Network, "/networks");
        networks.iter().map(|it| (it["name"].as_str().unwrap().to_owned(), vlan(it))).collect()
    }

    /// Makes a network; what VLAN it got, or the status with which that was refused.
    pub fn take_vlan(&self, name: &str) -> Result<u16, u16> {
        let body = json!({"network": {"name": name}});
        let answer = self.admin.call_once(Method::POST, Service::Network, "/networks", Some(&body));
        if answer.is_success() {
            Ok(u16::try_from(answer.body["network"]["provider:segmentation_id"].as_u64().unwrap()).unwrap())
        } else {
            Err(answer.status)
        }
    }

    /// The ids of all ports.
    pub fn ports(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.admin.list(Service::Network, "/ports").iter().map(id).collect();
        ids.sort();
        ids
    }
}

impl Tenant {
    /// Asks for a cluster of one manager and one worker; returns its id.
    pub fn create_cluster(&self) -> String {
        let name = &self.session.project;
        let body =
            json!({"name": name, "cluster_template_id": self.template, "master_count": 1, "node_count": MEMBERS - 1, "create_timeout": 10});
        uuid(&self.session.create(Service::ContainerInfra, "/clusters", "", &body))
    }

    /// The cluster, or nothing if it is gone.
    pub fn cluster(&self, uuid: &str) -> Option<Value> {
        let answer = self.session.call(Method::GET, Service::ContainerInfra, &format!("/clusters/{uuid}"), None);
        assert!(answer.is_success() || answer.status == 404, "{} {}", answer.status, answer.text);
        (answer.status != 404).then_some(answer.body)
    }

    pub fn await_complete(&self, uuid: &str) {
        wait_for("the cluster is complete", DEADLINE, || {
            let cluster = self.cluster(uuid).expect("the cluster is there");
            match cluster["status"].as_str().unwrap() {
                "CREATE_COMPLETE" => Ok(()),
                "CREATE_IN_PROGRESS" => Err(cluster["status_reason"].to_string()),
                _ => panic!("{cluster}"),
            }
        });
    }

    pub fn delete_cluster(&self, uuid: &str) {
        self.session.delete(Service::ContainerInfra, &format!("/clusters/{uuid}"));
    }

    pub fn await_gone(&self, uuid: &str, deadline: Duration) {
        wait_for("the cluster is gone", deadline, || self.cluster(uuid).map_or(Ok(()), |it| Err(it["status_reason"].to_string())));
    }
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id: {object}")).to_owned()
}

fn uuid(object: &Value) -> String {
    object["uuid"].as_str().unwrap_or_else(|| panic!("no uuid: {object}")).to_owned()
}
