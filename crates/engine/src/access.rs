//! How clients reach a cluster's API: a TCP port of this host, spliced into the cluster's network. TLS is end to end between client
//! and machine; this host sees cipher text only.
//!
//! Several replicas may run on one host: a port is listened to by whichever of them looked at its cluster first, and each closes what no
//! cluster has any more, whoever took the cluster apart.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::container_infra::Cluster;
use net::{Netns, tcp_connect, tcp_listen};
use store::{Query, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::cluster;
use crate::runtime::Shared;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Connections to one cluster at once.
const CONNECTIONS: usize = 256;
/// How often ports are looked for that no cluster has any more.
const SWEEP: Duration = Duration::from_secs(5);

/// The open listeners.
pub(crate) struct Access {
    listen: IpAddr,
    ports: Mutex<Ports>,
}

#[derive(Default)]
struct Ports {
    open: HashMap<u16, Open>,
    /// Those that were found to be listened to by another process: said once.
    elsewhere: HashSet<u16>,
    /// How many were opened.
    count: u64,
}

struct Open {
    to: SocketAddr,
    netns: Netns,
    /// Which of those opened.
    number: u64,
    task: JoinHandle<()>,
}

/// Who listens to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// This process.
    Ours,
    /// Another process of this host: another replica, or a program that has nothing to do with it.
    Another,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Access {
    pub(crate) fn new(listen: IpAddr) -> Self {
        Self { listen, ports: Mutex::default() }
    }

    pub(crate) fn listen(&self) -> IpAddr {
        self.listen
    }

    fn ports(&self) -> std::sync::MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has connections to `port` of this host end at `to` inside `netns`, unless another process listens to it.
    ///
    /// # Errors
    /// The port cannot be listened to for another reason.
    pub(crate) fn ensure(&self, port: u16, netns: &Netns, to: SocketAddr) -> std::io::Result<Listener> {
        let mut ports = self.ports();
        if ports.open.get(&port).is_some_and(|it| it.to == to && it.netns == *netns && !it.task.is_finished()) {
            return Ok(Listener::Ours);
        }
        let had = ports.open.remove(&port).is_some();
        let listener = match tcp_listen(&Netns::host(), SocketAddr::new(self.listen, port)) {
            Ok(listener) => listener,
            // One of ours that is just being closed is no other's.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && !had => {
                if ports.elsewhere.insert(port) {
                    tracing::info!(port, "another process of this host listens to a cluster's port");
                }
                return Ok(Listener::Another);
            }
            Err(error) => return Err(error),
        };
        let task = tokio::spawn(accept(listener, netns.clone(), to));
        ports.elsewhere.remove(&port);
        ports.count += 1;
        let number = ports.count;
        ports.open.insert(port, Open { to, netns: netns.clone(), number, task });
        Ok(Listener::Ours)
    }

    /// Closes a port.
    pub(crate) fn close(&self, port: u16) {
        let mut ports = self.ports();
        ports.open.remove(&port);
        ports.elsewhere.remove(&port);
    }

    /// Closes those of these that do not lead where a cluster wants them to.
    fn close_others(&self, opened: &[(u16, u64)], wanted: &HashMap<u16, (Netns, SocketAddr)>) {
        let mut ports = self.ports();
        for (port, number) in opened {
            let Some(it) = ports.open.get(port).filter(|it| it.number == *number) else { continue };
            if wanted.get(port).is_none_or(|(netns, to)| *netns != it.netns || *to != it.to) {
                tracing::info!(port, to = %it.to, "no cluster has this port any more; it is closed");
                ports.open.remove(port);
            }
        }
    }
}

/// Closes what no cluster has any more, until `stop` turns true: another replica may have taken the cluster apart.
pub(crate) async fn keep(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            _ = stop.changed() => return,
        }
        if let Err(error) = sweep(&shared).await {
            tracing::warn!(%error, "could not see which ports clusters have");
        }
    }
}

async fn sweep(shared: &Shared) -> Result<(), StoreError> {
    // What is opened after this is of a cluster that may not be among those that are read.
    let opened: Vec<(u16, u64)> = shared.access.ports().open.iter().map(|(port, it)| (*port, it.number)).collect();
    if opened.is_empty() {
        return Ok(());
    }
    let clusters = shared.store.list(&Query::<Cluster>::new()).await?;
    let wanted = clusters.iter().filter_map(|it| cluster::way_in(shared, it)).collect();
    shared.access.close_others(&opened, &wanted);
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, netns: Netns, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to a cluster");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let netns = netns.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut client = client;
            match tcp_connect(&netns, to, CONNECT_LIMIT).await {
                Ok(mut machine) => {
                    // Either side closing ends it; there is nobody to tell.
                    drop(tokio::io::copy_bidirectional(&mut client, &mut machine).await);
                }
                Err(error) => tracing::debug!(%error, %to, "a client's connection to a cluster could not be made"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use model::container_infra::ClusterDesired;
    use model::{Id, Object};
    use serde_json::json;

    use super::*;

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn is_free(port: u16) -> bool {
        std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
    }

    /// Aborted tasks are dropped by the runtime a moment later.
    async fn comes_free(port: u16) -> bool {
        for _ in 0..200 {
            if is_free(port) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_port_is_listened_to_by_one_replica_and_taken_over_when_that_ends() {
        let (one, two) = (Access::new([127, 0, 0, 1].into()), Access::new([127, 0, 0, 1].into()));
        let (port, netns, to) = (free_port(), Netns::named("cluster"), "10.0.0.2:2376".parse().unwrap());
        assert_eq!(one.ensure(port, &netns, to).unwrap(), Listener::Ours);
        assert_eq!(one.ensure(port, &netns, to).unwrap(), Listener::Ours);
        assert_eq!(two.ensure(port, &netns, to).unwrap(), Listener::Another);
        drop(one);
        assert!(comes_free(port).await);
        assert_eq!(two.ensure(port, &netns, to).unwrap(), Listener::Ours);
    }

    #[tokio::test]
    async fn a_port_is_closed_when_another_replica_took_its_cluster_apart() {
        let dir = tempfile::tempdir().unwrap();
        let shared = crate::testing::shared_with(dir.path(), Box::new(crate::outside::World), |config| {
            config.edge = Some(crate::EdgeConfig { switch: "edge".into(), netns: "edge".into(), netns_prefix: "t-".into() });
        })
        .await;
        let port = free_port();
        let id: Id<Cluster> = Id::random();
        let image = Id::<model::image_compute::Image>::random();
        let desired: ClusterDesired = serde_json::from_value(json!({
            "user_id": "u", "cluster_template_id": Id::<()>::random(), "master_count": 1, "node_count": 0, "flavor_id": Id::<()>::random(),
            "master_flavor_id": Id::<()>::random(), "create_timeout_minutes": 60, "ca_cert_pem": "", "ca_key_pem": "",
            "template": {"user_id": "u", "coe": "swarm-mode", "server_type": "bm", "image_id": image, "flavor_id": null,
                "fixed_subnet_cidr": "10.0.0.0/24"},
        }))
        .unwrap();
        let mut cluster = Object::<Cluster>::new(id.clone(), None, "c", desired);
        shared.store.apply(store::Batch::wishes().create(&cluster).wake(&id)).await.unwrap();
        let claim = shared.store.claim("here", Duration::from_secs(60)).await.unwrap().unwrap();
        cluster.observed.access_tcp_port = Some(port);
        cluster.observed.members.push(model::container_infra::Member {
            name: "c-master-0".into(),
            is_master: true,
            port_id: Id::random(),
            address: [10, 0, 0, 2].into(),
            node_id: None,
        });
        shared.store.apply(store::Batch::facts(&claim).observe(&cluster)).await.unwrap();
        let (number, (netns, to)) = cluster::way_in(&shared, &cluster).unwrap();
        assert_eq!(number, port);
        shared.access.ensure(port, &netns, to).unwrap();
        sweep(&shared).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!is_free(port), "the port of a cluster was closed");
        let cluster = shared.store.get(&id).await.unwrap().unwrap();
        shared.store.apply(store::Batch::facts(&claim).remove(&cluster)).await.unwrap();
        sweep(&shared).await.unwrap();
        assert!(comes_free(port).await, "the port of a cluster that is gone stays open");
    }
}
