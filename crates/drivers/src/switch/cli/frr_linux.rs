//! Linux as a switch: one bridge with VLAN filtering, set by iproute2, and FRRouting beside it for EVPN.
//!
//! VLANs that are declared are those of the bridge itself (`bridge vlan … self`). A VLAN is in a VXLAN network by the tunnel list of one
//! VXLAN device (`vlan_tunnel`); FRR (`advertise-all-vni`) announces what it finds there. Nothing is saved: a restart comes up as the
//! machine's own network configuration says, and the next look sets it right.
//!
//! Sources: bridge(8), ip-link(8), the JSON that both print; FRR's manual, chapter EVPN.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;
use serde::Deserialize;

use super::linux::{DIALECT, RECEIPT, json, line, quoted, ranges, word};
use super::{Dialect, Family, Site};
use crate::switch::plan::Change;
use crate::switch::{Facts, IsolatesBy, LagProtocol, LagSeen, MARK, PortMode, PortSeen, SeenMode, SwitchSeen, VlanSeen, Vni};

/// The bridge and the VXLAN device, where none is named.
const USUAL: (&str, &str) = ("br0", "vxlan0");
/// Kinds of devices that are no sockets.
const NO_PORTS: &[&str] = &["bridge", "vlan", "vxlan", "vrf", "macvlan", "ipvlan", "tun", "gre", "sit", "ifb"];

/// A Linux bridge.
pub(super) struct FrrLinux;

#[derive(Deserialize)]
struct VlanRow {
    ifname: String,
    #[serde(default)]
    vlans: Vec<VlanEntry>,
}

#[derive(Deserialize)]
struct VlanEntry {
    vlan: u16,
    #[serde(rename = "vlanEnd")]
    end: Option<u16>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Deserialize)]
struct TunnelRow {
    ifname: String,
    #[serde(default)]
    tunnels: Vec<TunnelEntry>,
}

#[derive(Deserialize)]
struct TunnelEntry {
    vlan: u16,
    #[serde(rename = "vlanEnd")]
    end: Option<u16>,
    tunid: u32,
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    master: Option<String>,
    #[serde(default)]
    ifalias: String,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    linkinfo: LinkInfo,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkInfo {
    info_kind: String,
    info_data: LinkData,
    info_slave_kind: String,
    info_slave_data: SlaveData,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LinkData {
    /// Of a bond; of other kinds it means something else.
    mode: serde_json::Value,
    /// Of a VXLAN device.
    id: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SlaveData {
    isolated: bool,
}

/// What passes a port, as it is set.
#[derive(Default)]
struct Passes {
    pvid: Option<VlanId>,
    untagged: BTreeSet<VlanId>,
    all: BTreeSet<VlanId>,
}

impl Passes {
    fn of(entries: &[VlanEntry]) -> Self {
        let mut out = Self::default();
        for entry in entries {
            let has = |flag: &str| entry.flags.iter().any(|it| it == flag);
            for vlan in (entry.vlan..=entry.end.unwrap_or(entry.vlan)).filter_map(VlanId::new) {
                out.all.insert(vlan);
                if has("Egress Untagged") {
                    out.untagged.insert(vlan);
                }
                if has("PVID") {
                    out.pvid = Some(vlan);
                }
            }
        }
        out
    }

    fn mode(&self, is_protected: bool, is_up: bool, isolation: VlanId) -> SeenMode {
        let is_only = |vlan: VlanId| self.all.len() == 1 && self.all.contains(&vlan);
        let mode = match self.pvid {
            Some(vlan) if vlan == isolation && is_protected && is_only(vlan) => return SeenMode::Known(PortMode::Isolated),
            _ if is_protected => None,
            Some(vlan) if !self.untagged.contains(&vlan) || self.untagged.len() > 1 => None,
            Some(vlan) if is_only(vlan) => (vlan != isolation).then_some(PortMode::Access(vlan)),
            None if !self.untagged.is_empty() => None,
            native => Some(PortMode::Trunk { native, tagged: self.all.iter().copied().filter(|it| Some(*it) != native).collect() }),
        };
        match mode {
            Some(mode) if is_up => SeenMode::Known(mode),
            Some(mode) => SeenMode::Foreign(format!("{mode}, down")),
            None => SeenMode::Foreign(format!(
                "VLANs {}, untagged {}, PVID {}{}",
                ranges(&self.all).join(","),
                ranges(&self.untagged).join(","),
                self.pvid.map_or_else(|| "none".to_owned(), |it| it.to_string()),
                if is_protected { ", isolated" } else { "" },
            )),
        }
    }
}

fn bridge<'a>(site: &Site<'a>) -> &'a str {
    if site.bridge.is_empty() { USUAL.0 } else { site.bridge }
}

fn vtep<'a>(site: &Site<'a>) -> &'a str {
    site.overlay.map(|it| it.vtep.as_str()).filter(|it| !it.is_empty()).unwrap_or(USUAL.1)
}

impl Family for FrrLinux {
    fn dialect(&self) -> &Dialect {
        &DIALECT
    }

    fn receipt(&self) -> Option<&'static str> {
        Some(RECEIPT.1)
    }

    fn facts(&self) -> Facts {
        Facts { isolates_by: IsolatesBy::Protection, declares_vlans: true, has_vni: true, has_lags: true, saves: false }
    }

    fn show(&self, site: Site<'_>) -> Vec<String> {
        let tunnels = site.overlay.map(|_| "bridge -json vlan tunnelshow");
        ["ip -json -details link show", "bridge -json vlan show"].into_iter().chain(tunnels).map(str::to_owned).collect()
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        let [links, vlans, rest @ ..] = answers else { return Err(format!("{} answers only", answers.len())) };
        let tunnels = rest.first().map_or("", String::as_str);
        let links: Vec<Link> = json(links, "ip link")?;
        let vlans: Vec<VlanRow> = json(vlans, "bridge vlan")?;
        // Prints nothing at all where there is no tunnel.
        let tunnels: Vec<TunnelRow> = if tunnels.trim().is_empty() { Vec::new() } else { json(tunnels, "bridge vlan tunnelshow")? };
        let bridge = bridge(&site);
        if !links.iter().any(|it| it.ifname == bridge && it.linkinfo.info_kind == "bridge") {
            return Err(format!("there is no bridge {bridge}"));
        }
        let passes: BTreeMap<&str, Passes> = vlans.iter().map(|it| (it.ifname.as_str(), Passes::of(&it.vlans))).collect();
        let none = Passes::default();
        let passes = |name: &str| passes.get(name).unwrap_or(&none);
        let mut out = SwitchSeen::default();
        for vlan in &passes(bridge).all {
            out.vlans.insert(*vlan, VlanSeen { running: true, ..VlanSeen::default() });
        }
        let mut map = |vlan: VlanId, vni: u32| {
            let entry = out.vlans.entry(vlan).or_insert_with(|| VlanSeen { running: true, ..VlanSeen::default() });
            entry.vni = Vni::new(vni);
        };
        for row in &tunnels {
            for entry in &row.tunnels {
                for (nth, vlan) in (entry.vlan..=entry.end.unwrap_or(entry.vlan)).enumerate() {
                    let vni = u32::try_from(nth).ok().and_then(|nth| entry.tunid.checked_add(nth));
                    if let (Some(vlan), Some(vni)) = (VlanId::new(vlan), vni) {
                        map(vlan, vni);
                    }
                }
            }
        }
        // A VXLAN device of a single network is that network's end for the VLAN of its untagged frames.
        for link in links.iter().filter(|it| it.master.as_deref() == Some(bridge) && it.linkinfo.info_kind == "vxlan") {
            let has_tunnels = tunnels.iter().any(|it| it.ifname == link.ifname && !it.tunnels.is_empty());
            if let (Some(vlan), Some(vni), false) = (passes(&link.ifname).pvid, link.linkinfo.info_data.id, has_tunnels) {
                map(vlan, vni);
            }
        }
        for link in &links {
            let info = &link.linkinfo;
            let is_no_port = NO_PORTS.contains(&info.info_kind.as_str()) || link.link_type == "loopback" || info.info_slave_kind == "vrf";
            let is_management = link.master.is_none() && matches!(link.ifname.as_str(), "eth0" | "mgmt0" | "ma1");
            if is_no_port || is_management {
                continue;
            }
            let is_up = link.flags.iter().any(|it| it == "UP");
            let passes = passes(&link.ifname);
            let mode = match &link.master {
                Some(master) if info.info_slave_kind == "bond" && is_up => SeenMode::Known(PortMode::Member { lag: master.clone() }),
                Some(master) if info.info_slave_kind == "bond" => SeenMode::Foreign(format!("member of {master}, down")),
                Some(master) if master == bridge => passes.mode(info.info_slave_data.isolated, is_up, site.isolation),
                Some(master) => SeenMode::Foreign(format!("in {master}")),
                None => SeenMode::Foreign(format!("not in {bridge}")),
            };
            if is_up && matches!(mode, SeenMode::Foreign(_)) && link.master.is_some() && passes.all.len() < 4094 {
                out.carried.extend(&passes.all);
            }
            if info.info_kind == "bond" {
                let protocol = match info.info_data.mode.as_str() {
                    Some("802.3ad") => Some(LagProtocol::Lacp),
                    Some("balance-xor") => Some(LagProtocol::Static),
                    _ => None,
                };
                out.lags.insert(link.ifname.clone(), LagSeen { protocol, is_ours: link.ifalias.starts_with(MARK) });
            }
            out.ports.insert(link.ifname.clone(), PortSeen { mode, description: link.ifalias.clone(), unsaved: false });
        }
        Ok(out)
    }

    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let bridge = word(bridge(&site))?;
        let vtep = word(vtep(&site))?;
        let mut out = Vec::new();
        for change in changes {
            out.push(line(&match change {
                Change::SetPort { port, mode, seen } => set_port(word(port)?, mode, seen, bridge, site.isolation)?,
                Change::Describe { port, text } => vec![format!("ip link set dev {} alias {}", word(port)?, quoted(text))],
                Change::Uplink { port, add, remove, seen } => uplink(word(port)?, add, remove, seen, bridge),
                Change::AddVlan { vlan, .. } => vec![format!("bridge vlan add dev {bridge} vid {vlan} self")],
                Change::RemoveVlan { vlan, .. } => vec![format!("bridge vlan del dev {bridge} vid {vlan} self")],
                Change::MapVni { vlan, vni } if site.overlay.is_some() => vec![
                    format!("bridge vlan add dev {vtep} vid {vlan}"),
                    format!("bridge vlan add dev {vtep} vid {vlan} tunnel_info id {vni}"),
                ],
                Change::MapVni { vlan, .. } => return Err(format!("no overlay is configured to map VLAN {vlan} to")),
                Change::UnmapVni { vlan, vni } => vec![
                    format!("bridge vlan del dev {vtep} vid {vlan} tunnel_info id {vni}"),
                    format!("bridge vlan del dev {vtep} vid {vlan}"),
                ],
                Change::AddLag { lag, protocol } => {
                    let mode = match protocol {
                        LagProtocol::Lacp => "802.3ad",
                        LagProtocol::Static => "balance-xor",
                    };
                    let lag = word(lag)?;
                    // The mode of a group that has members cannot be changed.
                    let again = seen.lags.contains_key(lag).then(|| format!("ip link del dev {lag}"));
                    let make = [
                        format!("ip link add name {lag} type bond mode {mode} miimon 100"),
                        format!("ip link set dev {lag} alias {}", quoted(MARK)),
                    ];
                    again.into_iter().chain(make).collect()
                }
                Change::RemoveLag { lag } => vec![format!("ip link del dev {}", word(lag)?)],
            }));
        }
        Ok(out)
    }
}

/// Whether the port is in the bridge, as far as its mode tells.
fn is_in_bridge(seen: &SeenMode) -> bool {
    matches!(seen, SeenMode::Known(PortMode::Isolated | PortMode::Access(_) | PortMode::Trunk { .. }))
}

/// Brings a port that may be elsewhere into the bridge, down and without a VLAN: the bridge gives it one by itself.
fn join(port: &str, seen: &SeenMode, bridge: &str) -> Vec<String> {
    if is_in_bridge(seen) {
        return Vec::new();
    }
    vec![format!("ip link set dev {port} down"), format!("ip link set dev {port} master {bridge}")]
}

fn no_vlans(port: &str) -> String {
    format!("bridge vlan del dev {port} vid 1-4094")
}

fn set_port(port: &str, mode: &PortMode, seen: &SeenMode, bridge: &str, isolation: VlanId) -> Result<Vec<String>, String> {
    let protected = |is: &str| format!("bridge link set dev {port} isolated {is}");
    let up = || format!("ip link set dev {port} up");
    let mut out = Vec::new();
    match mode {
        PortMode::Member { lag } => {
            // A group takes only links that are down.
            out.push(format!("ip link set dev {port} down"));
            out.push(format!("ip link set dev {port} master {}", word(lag)?));
            out.push(up());
        }
        PortMode::Isolated => {
            out.extend(join(port, seen, bridge));
            out.push(protected("on"));
            out.push(no_vlans(port));
            out.push(format!("bridge vlan add dev {port} vid {isolation} pvid untagged"));
            out.push(up());
        }
        PortMode::Access(vlan) => {
            out.extend(join(port, seen, bridge));
            out.push(no_vlans(port));
            out.push(protected("off"));
            out.push(format!("bridge vlan add dev {port} vid {vlan} pvid untagged"));
            out.push(up());
        }
        PortMode::Trunk { native, tagged } => {
            out.extend(join(port, seen, bridge));
            let old = match seen {
                SeenMode::Known(PortMode::Trunk { native: was, tagged: old }) if was == native => {
                    let gone: BTreeSet<VlanId> = old.difference(tagged).copied().collect();
                    out.extend(ranges(&gone).iter().map(|it| format!("bridge vlan del dev {port} vid {it}")));
                    Some(old)
                }
                _ => {
                    out.push(no_vlans(port));
                    out.push(protected("off"));
                    out.extend(native.map(|it| format!("bridge vlan add dev {port} vid {it} pvid untagged")));
                    None
                }
            };
            let new: BTreeSet<VlanId> = tagged.iter().filter(|it| old.is_none_or(|old| !old.contains(it))).copied().collect();
            out.extend(ranges(&new).iter().map(|it| format!("bridge vlan add dev {port} vid {it}")));
            out.push(up());
        }
    }
    Ok(out)
}

fn uplink(port: &str, add: &BTreeSet<VlanId>, remove: &BTreeSet<VlanId>, seen: &SeenMode, bridge: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !matches!(seen, SeenMode::Known(PortMode::Trunk { .. })) {
        out.extend(join(port, seen, bridge));
        out.push(no_vlans(port));
        out.push(format!("bridge link set dev {port} isolated off"));
    }
    out.extend(ranges(remove).iter().map(|it| format!("bridge vlan del dev {port} vid {it}")));
    out.extend(ranges(add).iter().map(|it| format!("bridge vlan add dev {port} vid {it}")));
    out.push(format!("ip link set dev {port} up"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::Overlay;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    fn overlay() -> Overlay {
        Overlay { vtep: String::new(), bgp_as: 65001 }
    }

    fn site(overlay: Option<&Overlay>) -> Site<'_> {
        Site { isolation: vlan(4000), bridge: "", overlay }
    }

    /// In the form of iproute2 6.1, shortened.
    const LINKS: &str = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"link_type":"loopback"},
        {"ifname":"eth0","flags":["UP"],"link_type":"ether"},
        {"ifname":"br0","flags":["UP"],"link_type":"ether","linkinfo":{"info_kind":"bridge","info_data":{"vlan_filtering":1}}},
        {"ifname":"swp1","flags":["UP"],"master":"br0","link_type":"ether","ifalias":"cofferdam one",
         "linkinfo":{"info_slave_kind":"bridge","info_slave_data":{"state":"forwarding","isolated":true}}},
        {"ifname":"swp2","flags":["UP"],"master":"br0","link_type":"ether","linkinfo":{"info_slave_kind":"bridge","info_slave_data":{"isolated":false}}},
        {"ifname":"swp3","flags":["BROADCAST"],"master":"br0","link_type":"ether","linkinfo":{"info_slave_kind":"bridge"}},
        {"ifname":"swp4","flags":["UP"],"master":"bond1","link_type":"ether","linkinfo":{"info_slave_kind":"bond","info_slave_data":{"state":"ACTIVE"}}},
        {"ifname":"swp5","flags":["UP"],"link_type":"ether"},
        {"ifname":"bond1","flags":["UP"],"master":"br0","link_type":"ether","ifalias":"cofferdam",
         "linkinfo":{"info_kind":"bond","info_data":{"mode":"802.3ad","miimon":100},"info_slave_kind":"bridge"}},
        {"ifname":"br0.10","flags":["UP"],"link_type":"ether","linkinfo":{"info_kind":"vlan","info_data":{"id":10}}},
        {"ifname":"vxlan0","flags":["UP"],"master":"br0","link_type":"ether",
         "linkinfo":{"info_kind":"vxlan","info_data":{"external":true,"id":0},"info_slave_kind":"bridge"}},
        {"ifname":"vxlan77","flags":["UP"],"master":"br0","link_type":"ether",
         "linkinfo":{"info_kind":"vxlan","info_data":{"id":10077},"info_slave_kind":"bridge"}}]"#;
    const VLANS: &str = r#"[{"ifname":"br0","vlans":[{"vlan":1,"flags":["PVID","Egress Untagged"]},{"vlan":100,"vlanEnd":102}]},
        {"ifname":"swp1","vlans":[{"vlan":4000,"flags":["PVID","Egress Untagged"]}]},
        {"ifname":"swp2","vlans":[{"vlan":100,"flags":["PVID","Egress Untagged"]},{"vlan":101,"vlanEnd":102}]},
        {"ifname":"swp3","vlans":[{"vlan":5,"flags":["PVID","Egress Untagged"]}]},
        {"ifname":"bond1","vlans":[{"vlan":77,"flags":["PVID"]}]},
        {"ifname":"vxlan77","vlans":[{"vlan":77,"flags":["PVID","Egress Untagged"]}]}]"#;
    const TUNNELS: &str = r#"[{"ifname":"br0","tunnels":[]},{"ifname":"vxlan0","tunnels":[{"vlan":100,"tunid":10100},
        {"vlan":101,"vlanEnd":102,"tunid":10101,"tunidEnd":10102}]}]"#;

    #[test]
    fn what_iproute2_prints_is_read() {
        let overlay = overlay();
        let answers = [LINKS, VLANS, TUNNELS].map(str::to_owned);
        let seen = FrrLinux.parse(&answers, site(Some(&overlay))).unwrap();
        let shown: Vec<String> = seen.ports.iter().map(|(name, it)| format!("{name}: {}", it.mode)).collect();
        assert_eq!(
            shown,
            [
                "bond1: VLANs 77, untagged , PVID 77",
                "swp1: isolated",
                "swp2: trunk of VLANs 101,102, native 100",
                "swp3: access VLAN 5, down",
                "swp4: member of bond1",
                "swp5: not in br0",
            ]
        );
        assert_eq!(seen.ports["swp1"].description, "cofferdam one");
        assert_eq!(seen.lags["bond1"], LagSeen { protocol: Some(LagProtocol::Lacp), is_ours: true });
        let vnis: Vec<(u16, Option<u32>)> = seen.vlans.iter().map(|(vlan, it)| (vlan.get(), it.vni.map(Vni::get))).collect();
        assert_eq!(vnis, [(1, None), (77, Some(10077)), (100, Some(10100)), (101, Some(10101)), (102, Some(10102))]);
        assert!(seen.carried.contains(&vlan(77)) && !seen.carried.contains(&vlan(5)));
        assert!(FrrLinux.parse(&["[]".to_owned(), "[]".to_owned()], site(None)).unwrap_err().contains("br0"));
        assert!(FrrLinux.parse(&["bash: ip: command not found".to_owned(), "[]".to_owned()], site(None)).is_err());
    }

    #[test]
    fn a_mapping_is_a_tunnel_of_the_one_device() {
        let overlay = overlay();
        let vni = Vni::new(10100).unwrap();
        let changes = [Change::MapVni { vlan: vlan(100), vni }, Change::UnmapVni { vlan: vlan(100), vni }];
        let lines = FrrLinux.render(&changes, &SwitchSeen::default(), site(Some(&overlay))).unwrap();
        let done = RECEIPT.0;
        assert_eq!(
            lines,
            [
                format!("bridge vlan add dev vxlan0 vid 100 && bridge vlan add dev vxlan0 vid 100 tunnel_info id 10100{done}"),
                format!("bridge vlan del dev vxlan0 vid 100 tunnel_info id 10100 && bridge vlan del dev vxlan0 vid 100{done}"),
            ]
        );
        assert!(FrrLinux.render(&changes, &SwitchSeen::default(), site(None)).is_err());
        let bad = Change::SetPort { port: "swp1; reboot".to_owned(), mode: PortMode::Isolated, seen: SeenMode::Absent };
        assert!(FrrLinux.render(&[bad], &SwitchSeen::default(), site(None)).is_err());
    }

    #[test]
    fn a_port_from_elsewhere_joins_the_bridge_while_it_is_down() {
        let member = SeenMode::Known(PortMode::Member { lag: "bond1".to_owned() });
        let change = Change::SetPort { port: "swp4".to_owned(), mode: PortMode::Access(vlan(5)), seen: member };
        let lines = FrrLinux.render(&[change], &SwitchSeen::default(), site(None)).unwrap();
        let expected = "ip link set dev swp4 down && ip link set dev swp4 master br0 && bridge vlan del dev swp4 vid 1-4094 && \
                        bridge link set dev swp4 isolated off && bridge vlan add dev swp4 vid 5 pvid untagged && ip link set dev swp4 up";
        assert_eq!(lines, [expected.to_owned() + RECEIPT.0]);
    }
}
