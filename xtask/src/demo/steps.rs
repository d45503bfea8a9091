//! The demo's calls of the APIs, in order, each shown as the `openstack` command that does the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::client::{Cloud, Service, Session, is_not_found, text};
use super::docker::{self, Docker};
use super::foretold::{self, Foretold};
use super::print::Screen;
use super::rack::{Machine, Rack};
use super::write_clouds;

/// The two tenants, who use the same addresses on purpose.
const TENANTS: [&str; 2] = ["finance", "medical"];
const CIDR: &str = "10.0.0.0/24";
/// Workers of each cluster, besides its one manager.
const WORKERS: usize = 2;
/// Machines of each cluster, and containers of its service: one on each.
const MEMBERS: usize = WORKERS + 1;
/// What `openstack coe cluster template create` demands; the clusters are not joined to it.
const EXTERNAL_NETWORK: &str = "public";
const FLAVOR: &str = "bm.small";
const RESOURCE_CLASS: &str = "baremetal";
const PHYSICAL_NETWORK: &str = "physnet1";

/// How long six machines may take to be erased side by side.
const CLEANING_DEADLINE: Duration = Duration::from_secs(180);
/// How long both clusters may take.
const CLUSTER_DEADLINE: Duration = Duration::from_secs(300);
const SERVICE_DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Whose each machine is, by its name in the inventory; machines in nobody's use are absent.
pub(crate) type Owners = BTreeMap<String, Owned>;

/// A machine in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    /// The tenant's name.
    pub(crate) tenant: String,
    /// The machine's address on the tenant's network.
    pub(crate) address: String,
    /// Its port on that network, by Neutron's id.
    pub(crate) port: String,
}

struct Tenant {
    session: Session,
    template: String,
    cluster: String,
    docker: Option<Docker>,
}

/// What the demo has made so far.
pub(crate) struct Plan {
    admin: Session,
    rack: Rack,
    dir: PathBuf,
    /// Ironic's ids by the machines' names.
    nodes: BTreeMap<String, String>,
    image: String,
    external_network: String,
    tenants: Vec<Tenant>,
    owners: Owners,
}

impl Plan {
    pub(crate) fn new(admin: Session, rack: Rack, dir: PathBuf) -> Self {
        Self {
            admin,
            rack,
            dir,
            nodes: BTreeMap::new(),
            image: String::new(),
            external_network: String::new(),
            tenants: Vec::new(),
            owners: Owners::new(),
        }
    }

    /// Flavor, images, and the machines on their way through cleaning. The machine image is uploaded while they are erased.
    pub(crate) async fn enrol(&mut self, screen: &Screen, image: &Path, ramdisk: &Path) -> Result<()> {
        let cloud = self.admin.cloud.name.clone();
        screen.phase("inventory", "Inventory: flavor, images, machines");
        let first = self.rack.machines.first().context("the rack has no machine")?;
        let (ram, disk, vcpus) = (first.memory_mb, first.disk_gb, first.cpus);
        let class = format!("resources:CUSTOM_{}", RESOURCE_CLASS.to_uppercase());
        screen.openstack(&cloud, &format!("flavor create {FLAVOR} --ram {ram} --disk {disk} --vcpus {vcpus} --property {class}=1"));
        let flavor = json!({"flavor": {"name": FLAVOR, "ram": ram, "disk": disk, "vcpus": vcpus}});
        let flavor = text(&self.admin.post(Service::Compute, "/flavors", &flavor).await?["flavor"], "id")?;
        self.admin.post(Service::Compute, &format!("/flavors/{flavor}/os-extra_specs"), &json!({"extra_specs": {class: "1"}})).await?;

        let kernel = self.upload(screen, "deploy-kernel", "aki", "aki", &ramdisk.join("deploy.kernel"), &[]).await?;
        let initrd = self.upload(screen, "deploy-ramdisk", "ari", "ari", &ramdisk.join("deploy.initrd"), &[]).await?;
        let machines = std::mem::take(&mut self.rack.machines);
        for machine in &machines {
            let id = self.enrol_machine(screen, machine, &kernel, &initrd).await?;
            self.nodes.insert(machine.name.clone(), id);
        }
        self.rack.machines = machines;
        self.move_nodes(screen, "manage", "manageable", Duration::from_secs(60)).await?;
        screen.openstack(&cloud, &format!("baremetal node provide {}", self.node_names()));
        for id in self.nodes.values() {
            self.admin.put(Service::Baremetal, &format!("/nodes/{id}/states/provision"), &json!({"target": "provide"})).await?;
        }
        self.image = self.upload(screen, "debian-docker", "raw", "bare", image, &[("os_distro", "debian")]).await?;
        Ok(())
    }

    async fn upload(
        &self,
        screen: &Screen,
        name: &str,
        disk: &str,
        container: &str,
        file: &Path,
        properties: &[(&str, &str)],
    ) -> Result<String> {
        let shown: String = properties.iter().map(|(key, value)| format!("--property {key}={value} ")).collect();
        let cloud = &self.admin.cloud.name;
        screen.openstack(
            cloud,
            &format!("image create {name} --public --disk-format {disk} --container-format {container} {shown}--file {}", file.display()),
        );
        let mut body = json!({"name": name, "disk_format": disk, "container_format": container, "visibility": "public"});
        for (key, value) in properties {
            body[*key] = json!(value);
        }
        let id = text(&self.admin.post(Service::Image, "/images", &body).await?, "id")?;
        screen.busy(&format!("uploading {name}"));
        self.admin.upload(&id, file).await?;
        screen.end_progress();
        let image = self.admin.get(Service::Image, &format!("/images/{id}")).await?;
        if image["status"] != "active" {
            bail!("image {name} is {} after its upload", image["status"]);
        }
        Ok(id)
    }

    async fn enrol_machine(&self, screen: &Screen, machine: &Machine, kernel: &str, ramdisk: &str) -> Result<String> {
        let Machine { name, bmc, .. } = machine;
        let cloud = &self.admin.cloud.name;
        screen.openstack(
            cloud,
            &format!(
                "baremetal node create --name {name} --driver redfish --resource-class {RESOURCE_CLASS} --driver-info redfish_address={} --driver-info redfish_system_id={} --driver-info redfish_username={} --driver-info redfish_password=… --driver-info deploy_kernel={kernel} --driver-info deploy_ramdisk={ramdisk}",
                bmc.url, bmc.system, bmc.username
            ),
        );
        let node = json!({
            "name": name,
            "driver": "redfish",
            "resource_class": RESOURCE_CLASS,
            "driver_info": {
                "redfish_address": bmc.url,
                "redfish_system_id": bmc.system,
                "redfish_username": bmc.username,
                "redfish_password": bmc.password,
                "deploy_kernel": kernel,
                "deploy_ramdisk": ramdisk,
            },
            "properties": {"cpus": machine.cpus, "memory_mb": machine.memory_mb, "local_gb": machine.disk_gb, "cpu_arch": "x86_64"},
        });
        let id = text(&self.admin.post(Service::Baremetal, "/nodes", &node).await?, "uuid")?;
        let Machine { mac, switch_id, port, leaf, .. } = machine;
        screen.openstack(
            cloud,
            &format!(
                "baremetal port create {mac} --node {id} --physical-network {PHYSICAL_NETWORK} --local-link-connection switch_id={switch_id} --local-link-connection port_id={port} --local-link-connection switch_info={leaf}"
            ),
        );
        let port = json!({
            "node_uuid": id,
            "address": mac,
            "pxe_enabled": true,
            "physical_network": PHYSICAL_NETWORK,
            "local_link_connection": {"switch_id": switch_id, "port_id": port, "switch_info": leaf},
        });
        self.admin.post(Service::Baremetal, "/ports", &port).await?;
        Ok(id)
    }

    fn node_names(&self) -> String {
        self.nodes.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    async fn move_nodes(&self, screen: &Screen, verb: &str, state: &str, deadline: Duration) -> Result<()> {
        screen.openstack(&self.admin.cloud.name, &format!("baremetal node {verb} {} --wait", self.node_names()));
        for id in self.nodes.values() {
            self.admin.put(Service::Baremetal, &format!("/nodes/{id}/states/provision"), &json!({"target": verb})).await?;
        }
        self.await_nodes(screen, state, deadline).await
    }

    /// Waits until every node is in `state`.
    async fn await_nodes(&self, screen: &Screen, state: &str, deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            let list = self.admin.get(Service::Baremetal, "/nodes?fields=uuid,name,provision_state,last_error").await?;
            let nodes = list["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let mine: Vec<&Value> = nodes.iter().filter(|it| self.nodes.values().any(|id| it["uuid"] == **id)).collect();
            let done = mine.iter().filter(|it| it["provision_state"] == state).count();
            let word = |it: &&Value| format!("{} {}", it["name"].as_str().unwrap_or("?"), it["provision_state"].as_str().unwrap_or("?"));
            let others: Vec<String> = mine.iter().filter(|it| it["provision_state"] != state).map(word).collect();
            if done == self.nodes.len() {
                screen.end_progress();
                screen.note(&format!("{done} nodes are {state}"));
                return Ok(());
            }
            for node in &mine {
                let now = node["provision_state"].as_str().unwrap_or_default();
                if now.ends_with("failed") || (now == "enroll" && node["last_error"].is_string()) {
                    bail!("node {} is {now}: {}", node["name"], node["last_error"]);
                }
            }
            screen.progress(done, self.nodes.len(), &others.join(", "));
            if Instant::now() > until {
                bail!("not all nodes are {state} after {deadline:?}: {}", others.join(", "));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Projects and their users; each user's own log-in and cluster template.
    pub(crate) async fn tenants(&mut self, screen: &Screen) -> Result<()> {
        screen.phase("tenants", &format!("Two tenants: {}", TENANTS.join(" and ")));
        let admin = self.admin.cloud.clone();
        let roles = self.admin.get(Service::Identity, "/roles?name=member").await?;
        let member = text(&roles["roles"][0], "id").context("there is no role member")?;
        let mut clouds = vec![admin.clone()];
        for name in TENANTS {
            screen.openstack(&admin.name, &format!("project create {name}"));
            let project = json!({"project": {"name": name, "domain_id": "default"}});
            let project = text(&self.admin.post(Service::Identity, "/projects", &project).await?["project"], "id")?;
            screen.openstack(&admin.name, &format!("user create {name} --project {name} --password …"));
            let password = new_password()?;
            let user = json!({"user": {"name": name, "password": password, "domain_id": "default", "default_project_id": project}});
            let user = text(&self.admin.post(Service::Identity, "/users", &user).await?["user"], "id")?;
            screen.openstack(&admin.name, &format!("role add member --project {name} --user {name}"));
            self.admin.put(Service::Identity, &format!("/projects/{project}/users/{user}/roles/{member}"), &Value::Null).await?;
            let cloud =
                Cloud { name: name.into(), auth_url: admin.auth_url.clone(), username: name.into(), password, project: name.into() };
            let session = Session::open(&cloud).await?;
            clouds.push(cloud);
            self.tenants.push(Tenant { session, template: String::new(), cluster: String::new(), docker: None });
        }
        write_clouds(&self.dir, &clouds)?;
        screen.openstack(&admin.name, &format!("network create {EXTERNAL_NETWORK} --external"));
        let network = json!({"network": {"name": EXTERNAL_NETWORK, "router:external": true}});
        self.external_network = text(&self.admin.post(Service::Network, "/networks", &network).await?["network"], "id")?;
        for tenant in &mut self.tenants {
            let name = tenant.session.cloud.name.clone();
            screen.openstack(
                &name,
                &format!("coe cluster template create swarm --coe swarm-mode --server-type bm --image {} --flavor {FLAVOR} --master-flavor {FLAVOR} --external-network {EXTERNAL_NETWORK} --labels fixed_subnet_cidr={CIDR}", self.image),
            );
            let template = json!({
                "name": "swarm",
                "coe": "swarm-mode",
                "server_type": "bm",
                "image_id": self.image,
                "flavor_id": FLAVOR,
                "master_flavor_id": FLAVOR,
                "external_network_id": EXTERNAL_NETWORK,
                "labels": {"fixed_subnet_cidr": CIDR},
            });
            tenant.template = text(&tenant.session.post(Service::ContainerInfra, "/clustertemplates", &template).await?, "uuid")?;
        }
        Ok(())
    }

    /// The end of cleaning.
    pub(crate) async fn await_machines(&self, screen: &Screen) -> Result<()> {
        screen.phase("cleaning", "Machines are erased before anyone gets them");
        self.await_nodes(screen, "available", CLEANING_DEADLINE).await
    }

    /// A cluster for each tenant, both at once.
    pub(crate) async fn clusters(&mut self, screen: &Screen) -> Result<()> {
        screen.phase("clusters", "A container cluster for each tenant on machines of its own");
        for tenant in &mut self.tenants {
            let name = tenant.session.cloud.name.clone();
            screen.openstack(&name, &format!("coe cluster create {name} --cluster-template swarm --master-count 1 --node-count {WORKERS}"));
            let cluster = json!({"name": name, "cluster_template_id": tenant.template, "master_count": 1, "node_count": WORKERS, "create_timeout": 10});
            tenant.cluster = text(&tenant.session.post(Service::ContainerInfra, "/clusters", &cluster).await?, "uuid")?;
        }
        let until = Instant::now() + CLUSTER_DEADLINE;
        loop {
            let mut words = Vec::new();
            let mut done = 0;
            for tenant in &self.tenants {
                let cluster = tenant.show().await?;
                let status = cluster["status"].as_str().unwrap_or_default();
                let reason = cluster["status_reason"].as_str().unwrap_or_default();
                let name = &tenant.session.cloud.name;
                match status {
                    "CREATE_COMPLETE" => done += 1,
                    failed if failed.ends_with("FAILED") => bail!("cluster {name} is {failed}: {reason} {}", cluster["faults"]),
                    _ => words.push(format!("{name}: {reason}")),
                }
            }
            if done == self.tenants.len() {
                break;
            }
            screen.progress(done, self.tenants.len(), &words.join(" | "));
            if Instant::now() > until {
                bail!("the clusters are not complete after {CLUSTER_DEADLINE:?}: {}", words.join(" | "));
            }
            tokio::time::sleep(PAUSE).await;
        }
        screen.end_progress();
        for tenant in &self.tenants {
            let cluster = tenant.show().await?;
            let name = &tenant.session.cloud.name;
            screen.openstack(name, &format!("coe cluster show {name} -c status -c api_address -c master_addresses -c node_addresses"));
            screen.note(&format!(
                "{name}: {} at {}, managers {}, workers {}",
                cluster["status"].as_str().unwrap_or_default(),
                cluster["api_address"].as_str().unwrap_or("nowhere"),
                words(&cluster["master_addresses"]),
                words(&cluster["node_addresses"])
            ));
        }
        Ok(())
    }

    /// The same service in each cluster, by the Docker API.
    pub(crate) async fn services(&mut self, screen: &Screen) -> Result<()> {
        screen.phase("services", "A service in each cluster, a container on each machine, over mutual TLS");
        for tenant in &mut self.tenants {
            let name = tenant.session.cloud.name.clone();
            let keys = self.dir.join("tenants").join(&name);
            screen.openstack(&name, &format!("coe cluster config {name} --dir {} --output-certs", keys.display()));
            let docker = Docker::configure(&tenant.session, &tenant.show().await?, &keys).await?;
            let (version, ready) = docker.ready_nodes().await?;
            screen.note(&format!("{name}: Docker {version}, {ready} of {MEMBERS} nodes of its swarm ready"));
            if ready != MEMBERS {
                bail!("the swarm of {name} has {ready} ready nodes, not {MEMBERS}");
            }
            screen.command(&format!("docker network create --driver overlay --attachable {}", docker::NAME));
            screen.command(&format!(
                "docker service create --name {0} --network {0} --hostname '{name}-{0}-{{{{.Task.Slot}}}}' --replicas {MEMBERS} --replicas-max-per-node 1 --endpoint-mode dnsrr --publish mode=host,published={1},target={1} --no-resolve-image cofferdam/busybox:latest",
                docker::NAME,
                docker::SERVICE_PORT
            ));
            docker.start_service(&name, MEMBERS).await?;
            tenant.docker = Some(docker);
        }
        for tenant in &self.tenants {
            let name = &tenant.session.cloud.name;
            let docker = tenant.docker.as_ref().context("no Docker API yet")?;
            let running = docker
                .wait_service(MEMBERS, SERVICE_DEADLINE, |running| screen.progress(running, MEMBERS, &format!("containers of {name}")))
                .await
                .with_context(|| format!("the service of {name}"))?;
            screen.end_progress();
            let names: Vec<String> = running.iter().map(|task| task.name.clone()).collect();
            screen.note(&format!("{name}: {} run", names.join(", ")));
        }
        Ok(())
    }

    /// Learns from the APIs which machine is whose: a node's VIF is a Neutron port, and that has a project.
    pub(crate) async fn owners(&mut self, screen: &Screen) -> Result<()> {
        screen.openstack(&self.admin.cloud.name, "baremetal node list --fields name instance_uuid provision_state");
        screen.openstack(&self.admin.cloud.name, "baremetal node vif list … && openstack port show …");
        let mut addresses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for tenant in &self.tenants {
            let cluster = tenant.show().await?;
            let all = ["master_addresses", "node_addresses"].into_iter().flat_map(|field| cluster[field].as_array().into_iter().flatten());
            addresses.insert(tenant.session.cloud.name.clone(), all.filter_map(|it| it.as_str().map(str::to_owned)).collect());
        }
        for (name, id) in &self.nodes {
            let node = self.admin.get(Service::Baremetal, &format!("/nodes/{id}")).await?;
            let vifs = self.admin.get(Service::Baremetal, &format!("/nodes/{id}/vifs")).await?;
            let vifs = vifs["vifs"].as_array().map_or(&[][..], Vec::as_slice);
            let (Some(vif), true) = (vifs.first(), node["instance_uuid"].is_string()) else {
                if !vifs.is_empty() || node["instance_uuid"].is_string() {
                    bail!("node {name} is neither in use nor free: instance {}, {} VIFs", node["instance_uuid"], vifs.len());
                }
                continue;
            };
            let vif = text(vif, "id")?;
            let port = self.admin.get(Service::Network, &format!("/ports/{vif}")).await?;
            let project = text(&port["port"], "project_id")?;
            let address = text(&port["port"]["fixed_ips"][0], "ip_address")?;
            let tenant = self.tenants.iter().find(|it| it.session.project_id == project);
            let tenant = tenant
                .with_context(|| format!("node {name} belongs to project {project}, which is none of ours"))?
                .session
                .cloud
                .name
                .clone();
            if !addresses.get(&tenant).is_some_and(|known| known.contains(&address)) {
                bail!("node {name} has address {address} for {tenant}, whose cluster does not list it");
            }
            self.owners.insert(name.clone(), Owned { tenant, address, port: vif });
        }
        for name in TENANTS {
            let mine: Vec<String> =
                self.owners.iter().filter(|(_, it)| it.tenant == name).map(|(machine, it)| format!("{machine} ({})", it.address)).collect();
            if mine.len() != MEMBERS {
                bail!("{name} has {} machines, not {MEMBERS}", mine.len());
            }
            screen.note(&format!("{name} has {}", mine.join(", ")));
        }
        Ok(())
    }

    /// What `cofferdam explain` says of every pair of the machines' ports.
    pub(crate) async fn foretold(&self) -> Result<Foretold> {
        foretold::ask(&self.admin, &self.owners).await
    }

    pub(crate) fn owners_by_machine(&self) -> Owners {
        self.owners.clone()
    }

    /// How to reach each cluster with the `docker` client.
    pub(crate) fn docker_hints(&self) -> Vec<String> {
        let hint = |docker: &Docker| {
            format!(
                "DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={} DOCKER_HOST={} docker service ps {}",
                docker.dir.display(),
                docker.host,
                docker::NAME
            )
        };
        self.tenants.iter().filter_map(|tenant| tenant.docker.as_ref()).map(hint).collect()
    }

    /// The tenants delete their clusters; the machines are erased and come back. All of it is looked at.
    pub(crate) async fn give_back(&mut self, screen: &Screen) -> Result<()> {
        screen.phase("give back", "The tenants delete their clusters; the machines are erased again");
        for tenant in &self.tenants {
            let name = &tenant.session.cloud.name;
            screen.openstack(name, &format!("coe cluster delete {name}"));
            tenant.session.delete(Service::ContainerInfra, &format!("/clusters/{}", tenant.cluster)).await?;
        }
        for (gone, tenant) in self.tenants.iter().enumerate() {
            loop {
                match tenant.show().await {
                    Err(error) if is_not_found(&error) => break,
                    Err(error) => return Err(error),
                    Ok(cluster) if cluster["status"] == "DELETE_FAILED" => {
                        bail!("cluster {} cannot be deleted: {}", cluster["name"], cluster["status_reason"])
                    }
                    Ok(cluster) => screen.progress(
                        gone,
                        self.tenants.len(),
                        &format!("{}: {}", tenant.session.cloud.name, cluster["status_reason"].as_str().unwrap_or_default()),
                    ),
                }
                tokio::time::sleep(PAUSE).await;
            }
            let name = &tenant.session.cloud.name;
            screen.openstack(name, "coe cluster template delete swarm");
            tenant.session.delete(Service::ContainerInfra, &format!("/clustertemplates/{}", tenant.template)).await?;
            let networks = tenant.session.get(Service::Network, "/networks").await?;
            let left = networks["networks"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|it| it["project_id"] == tenant.session.project_id.as_str())
                .count();
            if left > 0 {
                bail!("{name} still has {left} networks although its cluster is gone");
            }
        }
        screen.end_progress();
        screen.openstack(&self.admin.cloud.name, &format!("network delete {EXTERNAL_NETWORK}"));
        self.admin.delete(Service::Network, &format!("/networks/{}", self.external_network)).await?;
        self.await_nodes(screen, "available", CLEANING_DEADLINE).await
    }
}

impl Tenant {
    async fn show(&self) -> Result<Value> {
        self.session.get(Service::ContainerInfra, &format!("/clusters/{}", self.cluster)).await
    }
}

fn words(list: &Value) -> String {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// 128 random bits in hexadecimal.
fn new_password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    let mut random = std::fs::File::open("/dev/urandom").context("no random numbers")?;
    std::io::Read::read_exact(&mut random, &mut bytes).context("no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
