//! Cluster templates and clusters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::baremetal::Node;
use crate::image_compute::{Flavor, Image};
use crate::net::{Network, Port, Subnet};
use crate::{Column, Id, Kind, Secret, Timestamp};

/// A template from which clusters are made.
pub enum ClusterTemplate {}
/// A container cluster.
pub enum Cluster {}

/// What is wanted of a [`ClusterTemplate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterTemplateDesired {
    /// Whose.
    pub user_id: String,
    /// Orchestrator: `swarm-mode`.
    pub coe: String,
    /// `bm`.
    pub server_type: String,
    /// What the machines run.
    pub image_id: Id<Image>,
    /// The image's `os_distro`.
    #[serde(default)]
    pub cluster_distro: String,
    /// Flavor of the workers.
    pub flavor_id: Option<Id<Flavor>>,
    /// Flavor of the managers; the workers' if absent.
    #[serde(default)]
    pub master_flavor_id: Option<Id<Flavor>>,
    /// Key pair.
    #[serde(default)]
    pub keypair_id: Option<String>,
    /// Name servers, with commas.
    #[serde(default)]
    pub dns_nameserver: Option<String>,
    /// The external network it names. Kept and shown; clusters are not joined to it.
    #[serde(default)]
    pub external_network_id: Option<Id<Network>>,
    /// Visible to all projects.
    #[serde(default)]
    pub public: bool,
    /// Left out of lists.
    #[serde(default)]
    pub hidden: bool,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `fixed_subnet_cidr` of the clusters' networks.
    pub fixed_subnet_cidr: ipnet::Ipv4Net,
}

/// Where a cluster stands (Source: Magnum API reference).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterStatus {
    /// Being made.
    #[default]
    CreateInProgress,
    /// Made: every machine deployed, verified, joined.
    CreateComplete,
    /// Could not be made; see the reason.
    CreateFailed,
    /// Being taken apart.
    DeleteInProgress,
}

impl ClusterStatus {
    /// As Magnum spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::CreateComplete => "CREATE_COMPLETE",
            Self::CreateFailed => "CREATE_FAILED",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
        }
    }
}

/// What is wanted of a [`Cluster`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterDesired {
    /// Whose.
    pub user_id: String,
    /// Made from.
    pub cluster_template_id: Id<ClusterTemplate>,
    /// The template as it was then: later changes of it do not change this cluster.
    pub template: ClusterTemplateDesired,
    /// Managers.
    pub master_count: u32,
    /// Workers.
    pub node_count: u32,
    /// Flavor of the workers.
    pub flavor_id: Id<Flavor>,
    /// Flavor of the managers.
    pub master_flavor_id: Id<Flavor>,
    /// Key pair.
    #[serde(default)]
    pub keypair: Option<String>,
    /// Its public key, if any.
    #[serde(default)]
    pub public_key: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When to give up, in minutes; 0: never.
    pub create_timeout_minutes: u32,
    /// Certificate of the cluster's own authority, PEM.
    pub ca_cert_pem: String,
    /// Its key, PEM.
    pub ca_key_pem: Secret,
}

/// A machine of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Such as `finance-master-0`.
    pub name: String,
    /// Manager or worker.
    pub is_master: bool,
    /// Its port on the cluster's network.
    pub port_id: Id<Port>,
    /// Its address there.
    pub address: IpAddr,
    /// The machine, once claimed.
    pub node_id: Option<Id<Node>>,
}

/// What was seen of a [`Cluster`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterObserved {
    /// Where it stands.
    pub status: ClusterStatus,
    /// Why, in words; while in progress, what is awaited.
    pub status_reason: Option<String>,
    /// Its network.
    pub network_id: Option<Id<Network>>,
    /// Its subnet.
    pub subnet_id: Option<Id<Subnet>>,
    /// This control plane's own port on that network.
    pub access_port_id: Option<Id<Port>>,
    /// The TCP port of this host by which clients reach the cluster's API.
    pub access_tcp_port: Option<u16>,
    /// `tcp://host:port`.
    pub api_address: Option<String>,
    /// Its machines.
    pub members: Vec<Member>,
    /// `HEALTHY`, `UNHEALTHY`, `UNKNOWN`.
    pub health_status: Option<String>,
    /// What each machine says.
    pub health_status_reason: BTreeMap<String, String>,
    /// Version of the orchestrator.
    pub coe_version: Option<String>,
    /// When its creation ended.
    pub created_at: Option<Timestamp>,
}

impl Kind for ClusterTemplate {
    const NAME: &'static str = "cluster_template";
    type Desired = ClusterTemplateDesired;
    type Observed = ();
    const COLUMNS: &'static [Column<Self>] = &[];
}

impl Kind for Cluster {
    const NAME: &'static str = "cluster";
    type Desired = ClusterDesired;
    type Observed = ClusterObserved;
    const COLUMNS: &'static [Column<Self>] =
        &[Column { name: "cluster_template_id", value: |it| Some(it.desired.cluster_template_id.to_string()) }];
}
