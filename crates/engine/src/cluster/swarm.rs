//! Docker Swarm mode, by the Docker Engine API over mutual TLS with certificates of the cluster's own authority.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use drivers::docker::DockerClient;
use model::Object;
use model::container_infra::{Cluster, Member};
use net::Netns;

use super::orchestrator::{Fut, Joined, MachineSpec, Orchestrator};

/// Port of the Docker Engine API with TLS.
const API: u16 = 2376;
/// Port of the swarm's managers.
const MANAGERS: u16 = 2377;

pub(crate) struct Swarm;

impl Orchestrator for Swarm {
    fn api_port(&self) -> u16 {
        API
    }

    fn user_data(&self, machine: &MachineSpec<'_>) -> String {
        let daemon = serde_json::json!({
            "hosts": ["unix:///run/docker.sock", format!("tcp://0.0.0.0:{API}")],
            "tlsverify": true, "tlscacert": "/etc/docker/ca.pem", "tlscert": "/etc/docker/cert.pem", "tlskey": "/etc/docker/key.pem",
        });
        format!(
            "#!/bin/sh\nset -eu\numask 077\nmkdir -p /etc/docker\ncat > /etc/docker/ca.pem <<'EOF'\n{}EOF\ncat > /etc/docker/cert.pem <<'EOF'\n{}EOF\n\
             cat > /etc/docker/key.pem <<'EOF'\n{}EOF\ncat > /etc/docker/daemon.json <<'EOF'\n{daemon}\nEOF\n\
             if command -v systemctl >/dev/null 2>&1; then\n  mkdir -p /etc/systemd/system/docker.service.d\n  \
             printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd\\n' > /etc/systemd/system/docker.service.d/cofferdam.conf\n  \
             systemctl daemon-reload\n  systemctl restart docker\nfi\n",
            lines(machine.ca_pem),
            lines(&machine.identity.cert_pem),
            lines(machine.identity.key_pem.reveal()),
        )
    }

    fn join<'a>(&'a self, cluster: &'a Object<Cluster>, netns: &'a Netns) -> Fut<'a, Result<Joined, String>> {
        Box::pin(async move {
            let members = &cluster.observed.members;
            let manager = members.iter().find(|it| it.is_master).ok_or("it has no manager")?;
            let client = client(cluster, manager, netns)?;
            let said = |member: &Member, error: &dyn std::fmt::Display| format!("{}: {error}", member.name);
            let listen = format!("0.0.0.0:{MANAGERS}");
            let swarm = client
                .ensure_manager(&manager.address.to_string(), &listen, overlay_pool(cluster.desired.template.fixed_subnet_cidr))
                .await
                .map_err(|error| said(manager, &error))?;
            let remotes = [SocketAddr::new(manager.address, MANAGERS).to_string()];
            for member in members.iter().filter(|it| it.name != manager.name) {
                let token = if member.is_master { &swarm.manager_token } else { &swarm.worker_token };
                let worker = self::client(cluster, member, netns)?;
                worker.ensure_joined(&remotes, token, &member.address.to_string()).await.map_err(|error| said(member, &error))?;
            }
            let version = client.info().await.map_err(|error| said(manager, &error))?.server_version;
            let machines = readiness(&client, members).await?;
            match machines.iter().find(|(_, state)| *state != "ready") {
                Some((name, state)) => Err(format!("{name} is {state} in the swarm")),
                None => Ok(Joined { version, machines }),
            }
        })
    }

    fn health<'a>(&'a self, cluster: &'a Object<Cluster>, netns: &'a Netns) -> Fut<'a, Result<BTreeMap<String, String>, String>> {
        Box::pin(async move {
            let members = &cluster.observed.members;
            let manager = members.iter().find(|it| it.is_master).ok_or("it has no manager")?;
            readiness(&client(cluster, manager, netns)?, members).await
        })
    }
}

/// Where overlay networks take their subnets from: Docker's own default overlaps the machines' network more often than not, and a
/// container could not reach a machine then.
fn overlay_pool(machines: ipnet::Ipv4Net) -> &'static str {
    let pools = ["10.200.0.0/16", "192.168.128.0/17", "172.28.0.0/14"];
    let apart = |pool: &&str| pool.parse().is_ok_and(|pool: ipnet::Ipv4Net| !pool.contains(&machines) && !machines.contains(&pool));
    pools.into_iter().find(apart).unwrap_or("10.200.0.0/16")
}

fn lines(pem: &str) -> String {
    if pem.ends_with('\n') { pem.to_owned() } else { format!("{pem}\n") }
}

fn client(cluster: &Object<Cluster>, member: &Member, netns: &Netns) -> Result<DockerClient, String> {
    let desired = &cluster.desired;
    let authority = pki::Authority::load(&desired.ca_cert_pem, &desired.ca_key_pem).map_err(|error| error.to_string())?;
    let identity = authority.issue_client("cofferdam", None, SystemTime::now()).map_err(|error| error.to_string())?;
    let endpoint = SocketAddr::new(member.address, API);
    DockerClient::new(endpoint, &desired.ca_cert_pem, &identity.cert_pem, &identity.key_pem, &member.name, netns.clone())
        .map_err(|error| error.to_string())
}

/// What the manager says of each member, by the member's host name.
async fn readiness(client: &DockerClient, members: &[Member]) -> Result<BTreeMap<String, String>, String> {
    let nodes = client.nodes().await.map_err(|error| error.to_string())?;
    let state = |member: &Member| {
        nodes.iter().rfind(|node| node.hostname == member.name).map_or_else(|| "absent".to_owned(), |node| node.state.to_lowercase())
    };
    Ok(members.iter().map(|member| (member.name.clone(), state(member))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_lie_apart_from_the_machines() {
        assert_eq!(overlay_pool("10.0.0.0/24".parse().unwrap()), "10.200.0.0/16");
        assert_eq!(overlay_pool("10.200.3.0/24".parse().unwrap()), "192.168.128.0/17");
        assert_eq!(overlay_pool("10.0.0.0/8".parse().unwrap()), "192.168.128.0/17");
    }
}
