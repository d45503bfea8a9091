//! The configuration file of `cofferdam serve`.

use std::path::Path;

use anyhow::Context as _;
use engine::{AccessConfig, BaremetalConfig, ConsoleConfig, EdgeConfig, FabricConfig, HistoryConfig, ProvisioningConfig};
use serde::Deserialize;

use crate::metrics::MetricsConfig;

/// The whole file; every section may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Switches and VLANs.
    pub fabric: FabricConfig,
    /// This host's own switch.
    pub edge: Option<EdgeConfig>,
    /// The network machines are deployed and erased on.
    pub provisioning: Option<ProvisioningConfig>,
    /// How machines are worked on.
    pub baremetal: BaremetalConfig,
    /// How consoles of machines are shown.
    pub console: ConsoleConfig,
    /// How much is remembered of what happened.
    pub history: HistoryConfig,
    /// What is counted, and where that is shown.
    pub metrics: MetricsConfig,
    /// How clients reach clusters.
    pub access: AccessConfig,
    /// What networks are made of beside the fabric's VLANs.
    pub network: api::NetworkSettings,
    /// Identity.
    pub identity: api::IdentitySettings,
}

impl Config {
    /// Reads the file; without one everything has its default.
    ///
    /// # Errors
    /// It cannot be read, or says something that is not understood.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Self = toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let range = self.fabric.vlan_range;
        let inside = |vlan| range.first <= vlan && vlan <= range.last;
        anyhow::ensure!(!inside(self.fabric.isolation_vlan), "fabric.isolation_vlan lies within fabric.vlan_range");
        self.network.check(&self.fabric.physical_network).map_err(anyhow::Error::msg)?;
        if let Some(provisioning) = &self.provisioning {
            anyhow::ensure!(!inside(provisioning.vlan), "provisioning.vlan lies within fabric.vlan_range");
            anyhow::ensure!(provisioning.vlan != self.fabric.isolation_vlan, "provisioning.vlan is fabric.isolation_vlan");
            if let Some(own) = provisioning.vlans {
                let apart = own.last < range.first || range.last < own.first;
                anyhow::ensure!(apart, "provisioning.vlans overlap fabric.vlan_range");
                let within = |vlan| own.first <= vlan && vlan <= own.last;
                anyhow::ensure!(!within(self.fabric.isolation_vlan), "fabric.isolation_vlan lies within provisioning.vlans");
            }
            anyhow::ensure!(provisioning.cidr.contains(&provisioning.address), "provisioning.address is not in provisioning.cidr");
        }
        if let Some(edge) = &self.edge {
            let known = self.fabric.switches.iter().any(|it| it.name == edge.switch);
            anyhow::ensure!(known, "edge.switch names {:?}, which is no [[fabric.switch]]", edge.switch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACK: &str = r#"
        [fabric]
        vlan_range = "100:199"
        isolation_vlan = 4094
        [[fabric.switch]]
        name = "edge"
        switch_id = "02:cf:00:00:00:ff"
        driver = "ovsdb"
        endpoint = "unix:/run/db.sock"
        bridge = "br0"
        [edge]
        switch = "edge"
        netns = "cd-lab-edge"
        netns_prefix = "cd-lab-n-"
        [provisioning]
        vlan = 99
        cidr = "172.30.0.0/24"
        address = "172.30.0.1"
    "#;

    fn parse(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn a_rack() {
        assert_eq!(parse(RACK).unwrap().fabric.switches.len(), 1);
        assert_eq!(parse("").unwrap().identity.token_ttl_seconds, 3600);
    }

    #[test]
    fn consoles_and_metrics() {
        let config = parse("[console]\nurl = \"https://here:5000\"\n[metrics]\nlisten = \"127.0.0.1:9464\"").unwrap();
        assert_eq!(config.console.ipmitool.to_str(), Some("ipmitool"));
        assert_eq!(config.metrics.listen.unwrap().port(), 9464);
        assert!(parse("").unwrap().metrics.listen.is_none());
        assert!(parse("[metrics]\nport = 1").is_err());
    }

    #[test]
    fn history_within_bounds() {
        let config = parse("[history]\nlines = 50").unwrap().history;
        assert_eq!((config.lines, config.removed_days, config.interval_seconds), (50, 30, 3600));
        assert_eq!(parse("").unwrap().history.lines, 300);
        assert!(parse("[history]\ndays = 1").is_err());
    }

    #[test]
    fn networks_beside_the_fabric() {
        let text = r#"
            [network]
            tenant_network_types = ["vlan", "vxlan"]
            flat_networks = ["public"]
            vxlan_ids = "1000:1999"
            [[network.physical_network]]
            name = "physnet2"
            vlan_ranges = ["300:399", "500:500"]
        "#;
        let network = parse(text).unwrap().network;
        assert_eq!((network.tenant_network_types.len(), network.vxlan_ids.last, network.geneve_ids.first), (2, 1999, 1));
        assert_eq!(network.physical_networks[0].vlan_ranges.len(), 2);
        for (from, to) in [("physnet2", "physnet1"), ("399", "4095"), ("1999", "999"), ("\"vxlan\"", "\"flat\""), ("vxlan_ids", "vxlans")] {
            assert!(parse(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for (from, to) in [
            ("vlan = 99", "vlan = 150"),
            ("vlan = 99", "vlan = 99\nvlans = \"199:250\""),
            ("vlan = 99", "vlan = 99\nvlans = \"4000:4094\""),
            ("isolation_vlan = 4094", "isolation_vlan = 99"),
            ("switch = \"edge\"", "switch = \"x\""),
            ("172.30.0.1", "10.0.0.1"),
            ("[edge]", "[edgy]"),
        ] {
            assert!(parse(&RACK.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
