//! How clients reach a cluster's API: a TCP port of this host, spliced into the cluster's network. TLS is end to end between client
//! and machine; this host sees cipher text only.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use net::{Netns, tcp_connect, tcp_listen};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Connections to one cluster at once.
const CONNECTIONS: usize = 256;

/// The open listeners.
pub(crate) struct Access {
    listen: IpAddr,
    open: Mutex<HashMap<u16, Open>>,
}

struct Open {
    to: SocketAddr,
    netns: Netns,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Access {
    pub(crate) fn new(listen: IpAddr) -> Self {
        Self { listen, open: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn listen(&self) -> IpAddr {
        self.listen
    }

    /// Has connections to `port` of this host end at `to` inside `netns`.
    pub(crate) fn ensure(&self, port: u16, netns: &Netns, to: SocketAddr) -> std::io::Result<()> {
        let mut open = self.open.lock().map_err(|_| std::io::Error::other("a thread panicked"))?;
        if open.get(&port).is_some_and(|it| it.to == to && it.netns == *netns && !it.task.is_finished()) {
            return Ok(());
        }
        open.remove(&port);
        let listener = tcp_listen(&Netns::host(), SocketAddr::new(self.listen, port))?;
        let task = tokio::spawn(accept(listener, netns.clone(), to));
        open.insert(port, Open { to, netns: netns.clone(), task });
        Ok(())
    }

    /// Closes a port.
    pub(crate) fn close(&self, port: u16) {
        if let Ok(mut open) = self.open.lock() {
            open.remove(&port);
        }
    }
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
