//! The boundary between a cluster and what runs in it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use model::Object;
use model::container_infra::Cluster;
use net::Netns;

use super::swarm::Swarm;

pub(crate) type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a machine's first boot is told.
pub(crate) struct MachineSpec<'a> {
    pub(crate) ca_pem: &'a str,
    pub(crate) identity: &'a pki::Identity,
}

/// A cluster whose machines are all joined.
pub(crate) struct Joined {
    pub(crate) version: String,
    /// What each machine says; `ready` if all is well.
    pub(crate) machines: BTreeMap<String, String>,
}

/// An orchestrator: how machines that run become a cluster. Knows no switch, BMC or store.
pub(crate) trait Orchestrator: Sync {
    /// The TCP port of its API on a manager.
    fn api_port(&self) -> u16;

    /// The `user_data` of a machine: a shell script, run at the first boot.
    fn user_data(&self, machine: &MachineSpec<'_>) -> String;

    /// Makes the running machines one cluster; done when all are ready. Whatever is done already is left as it is. The error says
    /// what is awaited.
    fn join<'a>(&'a self, cluster: &'a Object<Cluster>, netns: &'a Netns) -> Fut<'a, Result<Joined, String>>;

    /// What each machine says; the error says why nothing is known.
    fn health<'a>(&'a self, cluster: &'a Object<Cluster>, netns: &'a Netns) -> Fut<'a, Result<BTreeMap<String, String>, String>>;
}

/// The orchestrator of that name.
pub(crate) fn of(coe: &str) -> Option<&'static dyn Orchestrator> {
    match coe {
        "swarm-mode" => Some(&Swarm),
        _ => None,
    }
}
