//! `[network]` of the configuration: what networks are made of beside the fabric's VLANs.

use std::collections::BTreeSet;

use model::net::NetworkType;
use serde::Deserialize;

/// `first:last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IdRange {
    /// First id.
    pub first: u32,
    /// Last id.
    pub last: u32,
}

impl TryFrom<String> for IdRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let ends = text.split_once(':').and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
        match ends {
            Some((first, last)) if 1 <= first && first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?} is not a range of ids such as \"100:199\"")),
        }
    }
}

/// `[[network.physical_network]]`: a physical network that is not the fabric. Nothing of ours binds ports there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhysicalNetwork {
    /// Its name.
    pub name: String,
    /// VLANs that networks of projects are given there when its name alone is said, or when the fabric has none left.
    #[serde(default)]
    pub vlan_ranges: Vec<IdRange>,
}

/// What networks are made of beside the fabric's VLANs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// What a network is of which nobody says what it is: the first of these types that has an id left. Machines of metal only join VLANs
    /// of the fabric.
    pub tenant_network_types: Vec<NetworkType>,
    /// Further physical networks.
    #[serde(rename = "physical_network")]
    pub physical_networks: Vec<PhysicalNetwork>,
    /// Physical networks on which there may be a flat network; `*`: on any, whatever its name.
    pub flat_networks: Vec<String>,
    /// VNIs of VXLANs that networks are given.
    pub vxlan_ids: IdRange,
    /// VNIs of Geneve tunnels that networks are given.
    pub geneve_ids: IdRange,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        let usual = IdRange { first: 1, last: 1_000_000 };
        Self {
            tenant_network_types: vec![NetworkType::Vlan],
            physical_networks: Vec::new(),
            flat_networks: vec!["*".into()],
            vxlan_ids: usual,
            geneve_ids: usual,
        }
    }
}

impl NetworkSettings {
    /// Checks what no single value shows; `fabric` is the fabric's name.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, fabric: &str) -> Result<(), String> {
        let mut names = BTreeSet::from([fabric]);
        for it in &self.physical_networks {
            if it.name.is_empty() || !names.insert(&it.name) {
                return Err(format!("network.physical_network {:?} has no name of its own", it.name));
            }
            if it.vlan_ranges.iter().any(|range| range.last > NetworkType::Vlan.most()) {
                return Err(format!("network.physical_network {:?} has VLANs beyond 4094", it.name));
            }
        }
        if [self.vxlan_ids, self.geneve_ids].iter().any(|range| range.last > NetworkType::Vxlan.most()) {
            return Err("network.vxlan_ids or network.geneve_ids go beyond 16777215".into());
        }
        if self.tenant_network_types.contains(&NetworkType::Flat) {
            return Err("network.tenant_network_types: flat networks are for operators to make".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(IdRange::try_from("100:199".to_owned()), Ok(IdRange { first: 100, last: 199 }));
        for wrong in ["", "1", "0:5", "5:4", "a:b", "1:2:3", "-1:4"] {
            assert!(IdRange::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let physical = |name: &str, last| PhysicalNetwork { name: name.into(), vlan_ranges: vec![IdRange { first: 1, last }] };
        let usual = NetworkSettings::default;
        assert_eq!(usual().check("physnet1"), Ok(()));
        let with = |physical_networks| NetworkSettings { physical_networks, ..usual() };
        assert!(with(vec![physical("physnet2", 10)]).check("physnet1").is_ok());
        for wrong in [
            with(vec![physical("physnet1", 10)]),
            with(vec![physical("a", 10), physical("a", 20)]),
            with(vec![physical("", 10)]),
            with(vec![physical("a", 4095)]),
            NetworkSettings { vxlan_ids: IdRange { first: 1, last: 1 << 24 }, ..usual() },
            NetworkSettings { tenant_network_types: vec![NetworkType::Flat], ..usual() },
        ] {
            assert!(wrong.check("physnet1").is_err(), "{wrong:?}");
        }
    }
}
