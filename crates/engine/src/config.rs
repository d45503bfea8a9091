//! What the engine must be told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Secret;
use model::fabric::{Declared, DriftPolicy, OverlayDesired, SwitchDesired};
use model::net::VlanId;
use serde::Deserialize;

use crate::baremetal_config::BaremetalConfig;
use crate::console::ConsoleConfig;
use crate::history::HistoryConfig;
use crate::switch::Unseal;

/// Settings of the engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// Opens secrets that the API sealed for the store.
    pub unseal: Arc<Unseal>,
    /// The switches.
    pub fabric: FabricConfig,
    /// This host's own switch; without it clusters and network boot are not possible.
    pub edge: Option<EdgeConfig>,
    /// The provisioning network; without it nothing can be deployed or cleaned.
    pub provisioning: Option<ProvisioningConfig>,
    /// How machines are worked on.
    pub baremetal: BaremetalConfig,
    /// How much is remembered of what happened.
    pub history: HistoryConfig,
    /// How consoles of machines are shown.
    pub console: ConsoleConfig,
    /// How clients reach clusters.
    pub access: AccessConfig,
    /// Where the data of images lies.
    pub image_dir: PathBuf,
}

/// `first:last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct VlanRange {
    /// First VLAN.
    pub first: VlanId,
    /// Last VLAN.
    pub last: VlanId,
}

impl TryFrom<String> for VlanRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a range of VLANs such as \"100:199\"");
        let (first, last) = text.split_once(':').ok_or_else(wrong)?;
        let vlan = |part: &str| part.trim().parse().ok().and_then(VlanId::new).ok_or_else(wrong);
        let range = Self { first: vlan(first)?, last: vlan(last)? };
        if range.first <= range.last { Ok(range) } else { Err(wrong()) }
    }
}

/// `[fabric]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FabricConfig {
    /// The name networks and machines know the fabric by.
    #[serde(default = "physical_network")]
    pub physical_network: String,
    /// VLANs for tenant networks.
    #[serde(default = "vlan_range")]
    pub vlan_range: VlanRange,
    /// The VLAN of ports that reach nobody; on no uplink ever.
    #[serde(default = "isolation_vlan")]
    pub isolation_vlan: VlanId,
    /// How often each switch is read although nothing is known to have changed, in seconds.
    #[serde(default = "drift_interval")]
    pub drift_interval_seconds: u32,
    /// How long a switch must have answered again after a change was broken off until what is read of it is believed, in seconds: for
    /// as long it may still carry out what it was sent before.
    #[serde(default = "settle_seconds")]
    pub settle_seconds: u32,
    /// The switches.
    #[serde(default, rename = "switch")]
    pub switches: Vec<FabricSwitch>,
}

impl Default for FabricConfig {
    fn default() -> Self {
        Self {
            physical_network: physical_network(),
            vlan_range: vlan_range(),
            isolation_vlan: isolation_vlan(),
            drift_interval_seconds: drift_interval(),
            settle_seconds: settle_seconds(),
            switches: Vec::new(),
        }
    }
}

/// `[[fabric.switch]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FabricSwitch {
    /// Our name for it.
    pub name: String,
    /// Its MAC address as machines name it.
    pub switch_id: String,
    /// How it is driven: one of `drivers::switch::DRIVERS`.
    pub driver: String,
    /// Where it is, as its driver spells it.
    pub endpoint: String,
    /// The bridge whose ports are managed, on switches that have several.
    #[serde(default)]
    pub bridge: String,
    /// Its ports to other switches.
    #[serde(default)]
    pub uplinks: BTreeSet<String>,
    /// Its ports to machines: they are ours from the start, and isolated until somebody holds them. Others become ours when a machine
    /// that ends there is first worked on.
    #[serde(default)]
    pub ports: BTreeSet<String>,
    /// Who logs in.
    #[serde(default)]
    pub username: String,
    /// The password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file with the password, instead.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// A file with a private key in PEM.
    #[serde(default)]
    pub private_key_file: Option<PathBuf>,
    /// What is asked on the way to configuring, where it is.
    #[serde(default)]
    pub enable_password: Option<Secret>,
    /// The fingerprint of its SSH host key: `SHA256:…`.
    #[serde(default)]
    pub host_key: Option<String>,
    /// Whether the first host key seen is taken for its own.
    #[serde(default)]
    pub trust_on_first_use: bool,
    /// A file with the certificate authority of its TLS certificate.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A file with our own certificate.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// A file with the key of our own certificate.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// How it carries VLANs in VXLAN networks.
    #[serde(default)]
    pub overlay: Option<OverlayDesired>,
    /// What becomes of it when somebody else changed it: `repair` or `report`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Whether descriptions of our ports are written on it.
    #[serde(default)]
    pub describe: bool,
    /// Whether it is only read: what would be changed is shown, and nothing is written.
    #[serde(default)]
    pub read_only: bool,
    /// Whether it is not to be touched for now.
    #[serde(default)]
    pub paused: bool,
}

/// Reads a file that the configuration names; the end of its last line is not part of it.
fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl FabricSwitch {
    /// Its secrets, by the names of [`model::fabric::SwitchDesired::sealed`].
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn secrets(&self) -> Result<BTreeMap<String, Secret>, String> {
        let mut out = BTreeMap::new();
        out.extend(self.password.clone().map(|it| ("password".to_owned(), it)));
        out.extend(self.enable_password.clone().map(|it| ("enable_password".to_owned(), it)));
        if self.password.is_some() && self.password_file.is_some() {
            return Err(format!("switch {} has both password and password_file", self.name));
        }
        let files = [("password", &self.password_file), ("private_key", &self.private_key_file), ("key", &self.key_file)];
        for (name, path) in files {
            if let Some(path) = path {
                out.insert(name.to_owned(), Secret::new(read(path)?));
            }
        }
        Ok(out)
    }

    /// What is wanted of it, without its secrets.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn desired(&self) -> Result<SwitchDesired, String> {
        let text = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        Ok(SwitchDesired {
            switch_id: self.switch_id.to_ascii_lowercase(),
            uplinks: self.uplinks.clone(),
            declared: Declared::File,
            driver: self.driver.clone(),
            endpoint: self.endpoint.clone(),
            bridge: self.bridge.clone(),
            username: self.username.clone(),
            sealed: BTreeMap::new(),
            host_key: self.host_key.clone(),
            trust_on_first_use: self.trust_on_first_use,
            ca: text(&self.ca_file)?,
            certificate: text(&self.certificate_file)?,
            overlay: self.overlay.clone(),
            drift: self.drift,
            describe: self.describe,
            read_only: self.read_only,
            paused: self.paused,
            ..SwitchDesired::default()
        })
    }
}

/// `[edge]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// Its name among the switches.
    pub switch: String,
    /// The network namespace it runs in.
    pub netns: String,
    /// What the names of the namespaces made for attachments begin with.
    pub netns_prefix: String,
}

/// `[provisioning]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisioningConfig {
    /// Its VLAN.
    pub vlan: VlanId,
    /// VLANs of which each job takes one for itself while its ramdisk runs, instead of sharing `vlan` with all others. Without them
    /// ramdisks of different tenants' machines share a network: for fabrics on which VLANs are scarce.
    #[serde(default)]
    pub vlans: Option<VlanRange>,
    /// Its addresses.
    pub cidr: ipnet::Ipv4Net,
    /// Ours on it.
    pub address: Ipv4Addr,
    /// Ours on it in the other family, in a prefix of 64 bits; machines get the address made of that prefix and their hardware address.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// Where boot scripts, images and the agents' API are served on it.
    #[serde(default = "http_port")]
    pub http_port: u16,
    /// Where the iPXE binaries lie (`undionly.kpxe`, `snponly.efi`; Debian package ipxe).
    #[serde(default = "ipxe_dir")]
    pub ipxe_dir: PathBuf,
}

/// `[access]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// The address clusters' APIs are offered on.
    pub listen: IpAddr,
    /// First TCP port for them.
    pub first_port: u16,
    /// Last TCP port for them.
    pub last_port: u16,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { listen: IpAddr::V4(Ipv4Addr::LOCALHOST), first_port: 23760, last_port: 23959 }
    }
}

fn physical_network() -> String {
    "physnet1".into()
}

/// A VLAN id known to be one when this is compiled.
const fn vlan(id: u16) -> VlanId {
    match VlanId::new(id) {
        Some(vlan) => vlan,
        None => unreachable!(),
    }
}

const DEFAULT_RANGE: VlanRange = VlanRange { first: vlan(100), last: vlan(3999) };
const DEFAULT_ISOLATION: VlanId = vlan(4094);

fn vlan_range() -> VlanRange {
    DEFAULT_RANGE
}

fn isolation_vlan() -> VlanId {
    DEFAULT_ISOLATION
}

fn drift_interval() -> u32 {
    30
}

fn settle_seconds() -> u32 {
    3
}

fn http_port() -> u16 {
    8089
}

fn ipxe_dir() -> PathBuf {
    "/usr/lib/ipxe".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(VlanRange::try_from("100:199".to_owned()).map(|it| it.last.get()), Ok(199));
        for wrong in ["", "5", "0:5", "9:5", "1:4095", "a:b"] {
            assert!(VlanRange::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
