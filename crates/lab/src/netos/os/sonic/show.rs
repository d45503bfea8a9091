//! `show …`.

use super::super::shell::{Ran, pretty};
use super::Host;
use super::config::usage;
use super::database::{members, tunnel};
use crate::netos::device::Config;

/// A table as `tabulate` draws it: with lines around its cells (`grid`) or only below its heads.
fn table(heads: &[&str], rows: &[Vec<String>], grid: bool) -> String {
    // `tabulate` makes a column at least two wider than its head.
    let width = |nth: usize| {
        let cells = rows.iter().filter_map(|it| it.get(nth)).flat_map(|it| it.lines()).map(|it| it.chars().count());
        cells.chain(heads.get(nth).map(|it| it.chars().count() + 2)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    // Numbers, and the heads above them, stand at the right.
    let number = |nth: usize| {
        let mut cells = rows.iter().filter_map(|it| it.get(nth)).filter(|it| !it.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|it| it.parse::<f64>().is_ok())
    };
    let right: Vec<bool> = (0..heads.len()).map(number).collect();
    let line = |cells: &[String]| -> String {
        let cells = widths.iter().zip(&right).zip(cells);
        let cells: Vec<String> =
            cells.map(|((width, right), cell)| if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }).collect();
        if grid { format!("| {} |\n", cells.join(" | ")) } else { format!("{}\n", cells.join("  ").trim_end()) }
    };
    let rule = |with: &str| -> String {
        if grid {
            format!("+{}+\n", widths.iter().map(|it| with.repeat(it + 2)).collect::<Vec<_>>().join("+"))
        } else {
            format!("{}\n", widths.iter().map(|it| with.repeat(*it)).collect::<Vec<_>>().join("  "))
        }
    };
    let heads: Vec<String> = heads.iter().map(|it| (*it).to_owned()).collect();
    let mut out = if grid { rule("-") + &line(&heads) + &rule("=") } else { line(&heads) + &rule("-") };
    for row in rows {
        let high = row.iter().map(|it| it.lines().count()).max().unwrap_or(1).max(1);
        for nth in 0..high {
            out.push_str(&line(&row.iter().map(|it| it.lines().nth(nth).unwrap_or_default().to_owned()).collect::<Vec<_>>()));
        }
        if grid {
            out.push_str(&rule("-"));
        }
    }
    out
}

/// The members of a VLAN with their tagging, in listing order.
fn vlan_members(config: &Config, vlan: u16) -> Vec<(String, &'static str)> {
    let names = config.port_names().into_iter();
    names
        .filter_map(|name| {
            let it = members(config, config.ports.get(name)?);
            let tagging = if it.untagged == Some(vlan) { Some("untagged") } else { it.tagged.contains(&vlan).then_some("tagged") };
            Some((name.clone(), tagging?))
        })
        .collect()
}

impl Host {
    /// Carries out `show` with these arguments.
    pub(super) fn show(&self, args: &[&str]) -> Ran {
        let config = self.device.running();
        match args {
            ["runningconfiguration", "all"] => Ran::ok(pretty(&self.running_json(), 4)),
            ["runningconfiguration", "ports", ..] => Ran::ok(pretty(self.running_json().get("PORT").unwrap_or_default(), 4)),
            ["vlan", "brief"] => {
                let rows: Vec<Vec<String>> = config
                    .vlans
                    .keys()
                    .map(|vlan| {
                        let members = vlan_members(&config, *vlan);
                        let column = |pick: fn(&(String, &'static str)) -> String| members.iter().map(pick).collect::<Vec<_>>().join("\n");
                        let ports = column(|it| it.0.clone());
                        let tagging = column(|it| it.1.to_owned());
                        vec![vlan.to_string(), String::new(), ports, tagging, "disabled".into(), String::new()]
                    })
                    .collect();
                let heads = ["VLAN ID", "IP Address", "Ports", "Port Tagging", "Proxy ARP", "DHCP Helper Address"];
                Ran::ok(format!("\n{}", table(&heads, &rows, true)))
            }
            ["vlan", "config"] => {
                let mut rows = Vec::new();
                for vlan in config.vlans.keys() {
                    let members = vlan_members(&config, *vlan);
                    if members.is_empty() {
                        rows.push(vec![format!("Vlan{vlan}"), vlan.to_string(), String::new(), String::new()]);
                    }
                    for (port, tagging) in members {
                        rows.push(vec![format!("Vlan{vlan}"), vlan.to_string(), port, tagging.to_owned()]);
                    }
                }
                Ran::ok(table(&["Name", "VID", "Member", "Mode"], &rows, false))
            }
            ["interfaces", "status", only @ ..] => {
                let rows: Vec<Vec<String>> = config
                    .port_names()
                    .into_iter()
                    .filter(|it| only.first().is_none_or(|only| *it == only))
                    .filter_map(|name| {
                        let port = config.ports.get(name)?;
                        let up = if port.up { "up" } else { "down" };
                        let carried = members(&config, port);
                        let vlan = match &port.group {
                            Some(member) => member.group.clone(),
                            None if carried.untagged.is_some() || !carried.tagged.is_empty() => "trunk".to_owned(),
                            None => "routed".to_owned(),
                        };
                        let cells = [name, "0,1,2,3", "100G", "9100", "N/A", name, &vlan, up, up, "QSFP28 or later", "N/A"];
                        Some(cells.iter().map(|it| (*it).to_owned()).collect())
                    })
                    .collect();
                let heads = ["Interface", "Lanes", "Speed", "MTU", "FEC", "Alias", "Vlan", "Oper", "Admin", "Type", "Asym PFC"];
                Ran::ok(table(&heads, &rows, false))
            }
            ["interfaces", "description", ..] => {
                let rows: Vec<Vec<String>> = config
                    .port_names()
                    .into_iter()
                    .filter_map(|name| {
                        let port = config.ports.get(name)?;
                        let up = if port.up { "up" } else { "down" };
                        let text = if port.description.is_empty() { "N/A" } else { &port.description };
                        Some([name, up, up, name, text].iter().map(|it| (*it).to_owned()).collect())
                    })
                    .collect();
                Ran::ok(table(&["Interface", "Oper", "Admin", "Alias", "Description"], &rows, false))
            }
            ["interfaces", "portchannel"] => {
                let groups = config.port_names().into_iter().filter(|it| config.ports.get(*it).is_some_and(|it| it.is_group));
                let rows: Vec<Vec<String>> = groups
                    .map(|name| {
                        let ports: Vec<String> = config.members(name).into_iter().map(|it| format!("{it}(S)")).collect();
                        let number = name.trim_start_matches("PortChannel").to_owned();
                        vec![number, name.clone(), "LACP(A)(Up)".into(), ports.join(" ")]
                    })
                    .collect();
                let legend = "Flags: A - active, I - inactive, Up - up, Dw - Down, N/A - not available,\n       S - selected, D - deselected, * - not synced\n";
                Ran::ok(format!("{legend}{}", table(&["No.", "Team Dev", "Protocol", "Ports"], &rows, false)))
            }
            ["vxlan", "vlanvnimap", ..] => {
                let rows: Vec<Vec<String>> =
                    config.vlans.iter().filter_map(|(vlan, it)| Some(vec![format!("Vlan{vlan}"), it.vni?.to_string()])).collect();
                Ran::ok(format!("{}Total count : {}\n", table(&["VLAN", "VNI"], &rows, true), rows.len()))
            }
            ["vxlan", "interface" | "tunnel", ..] => {
                Ran::ok(tunnel(&config).map_or_else(String::new, |it| format!("VTEP Information:\n\n\tVTEP Name : {it}\n")))
            }
            ["version"] => Ran::ok(
                "\nSONiC Software Version: SONiC.202311.1\nSONiC OS Version: 11\nDistribution: Debian 11.8\nKernel: 5.10.0-23-2-amd64\nPlatform: x86_64-mlnx_msn2700-r0\nHwSKU: ACS-MSN2700\nASIC: mellanox\n",
            ),
            ["mac" | "lldp" | "arp" | "uptime" | "clock" | "platform", ..] => Ran::ok(""),
            [] => Ran::ok("Usage: show [OPTIONS] COMMAND [ARGS]...\n"),
            [first, ..] => usage("show", "COMMAND [ARGS]...", &format!("No such command \"{first}\".")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::super::{Login, Os as _, Session, Shape};
    use super::super::Sonic;
    use crate::netos::device::{Carried, Device};

    fn switch() -> (Arc<Device>, Box<dyn Session>) {
        let device = Arc::new(Device::new([2; 6], Sonic.rules(), Sonic.factory(&Shape { hostname: "sonic".into(), ports: 4 })));
        let session = Sonic.login(&device, &Login { user: "admin".into(), enable_password: None, privileged: true });
        (device, session)
    }

    fn refused(session: &mut dyn Session, line: &str) -> String {
        let answer = session.line(line);
        assert_ne!(answer.status, 0, "{line}: {}", answer.text);
        answer.text
    }

    fn taken(session: &mut dyn Session, line: &str) -> String {
        let answer = session.line(line);
        assert_eq!(answer.status, 0, "{line}: {}", answer.text);
        answer.text
    }

    #[test]
    fn memberships_take_effect_at_once_and_are_lost_unless_saved() {
        let (device, mut session) = switch();
        assert!(device.carries("Ethernet4").is_empty());
        taken(&mut *session, "sudo config vlan add 10; sudo config vlan add 20");
        taken(&mut *session, "sudo config vlan member add -u 10 Ethernet4 && sudo config vlan member add 20 Ethernet4");
        assert_eq!(device.carries("Ethernet4"), Carried { untagged: Some(10), tagged: BTreeSet::from([20]) });
        assert!(refused(&mut *session, "config vlan add 30").contains("Root privileges"));
        let said = refused(&mut *session, "sudo config vlan del 10");
        assert!(
            said.starts_with("Usage: config vlan del [OPTIONS] <vid>\n") && said.contains("Error: VLAN ID 10 can not be removed."),
            "{said}"
        );
        assert_eq!(session.line("echo $?").text, "2\n");
        assert!(refused(&mut *session, "sudo config vlan member add 99 Ethernet4").contains("Error: Vlan99 does not exist"));
        assert!(
            taken(&mut *session, "show vlan brief").contains("|        10 |              | Ethernet4 | untagged       | disabled    |")
        );
        device.reboot(Duration::ZERO);
        assert!(device.carries("Ethernet4").is_empty());
        taken(&mut *session, "sudo config vlan add 10");
        assert!(session.line("sudo config save").text.is_empty() && session.prompt().contains("[y/N]"));
        assert!(session.line("y").text.starts_with("Running command"));
        device.reboot(Duration::ZERO);
        assert!(device.running().vlans.contains_key(&10));
        assert!(taken(&mut *session, "cat /etc/sonic/config_db.json").contains("\"Vlan10\": {\n            \"vlanid\": \"10\"\n        }"));
    }

    #[test]
    fn groups_take_only_ports_without_vlans() {
        let (device, mut session) = switch();
        taken(&mut *session, "sudo config vlan add 10; sudo config vlan member add 10 Ethernet0; sudo config portchannel add PortChannel1");
        assert!(
            refused(&mut *session, "sudo config portchannel member add PortChannel1 Ethernet0")
                .contains("configured as VLAN_MEMBER under vlan : Vlan10")
        );
        taken(&mut *session, "sudo config vlan member del 10 Ethernet0; sudo config portchannel member add PortChannel1 Ethernet0");
        assert!(refused(&mut *session, "sudo config vlan member add 10 Ethernet0").contains("is part of portchannel!"));
        taken(&mut *session, "sudo config vlan member add -u 10 PortChannel1");
        assert_eq!(device.carries("Ethernet0").untagged, Some(10));
        assert!(refused(&mut *session, "sudo config portchannel del PortChannel1").contains("has vlan Vlan10 configured"));
        assert!(refused(&mut *session, "sudo config portchannel add Po1").contains("suffix '<0-9999>'"));
    }

    #[test]
    fn vxlan_maps_need_a_tunnel_and_evpn_goes_to_frr() {
        let (device, mut session) = switch();
        taken(&mut *session, "sudo config vlan add 10");
        assert!(refused(&mut *session, "sudo config vxlan map add vtep 10 1000").contains("VTEP vtep not configured"));
        taken(
            &mut *session,
            "sudo config vxlan add vtep 10.0.0.1; sudo config vxlan evpn_nvo add nvo vtep; sudo config vxlan map add vtep 10 1000",
        );
        assert_eq!(device.running().vlans.get(&10).and_then(|it| it.vni), Some(1000));
        assert!(refused(&mut *session, "sudo config vlan del 10").contains("First remove vxlan mapping 'vtep|map_1000_Vlan10'"));
        taken(
            &mut *session,
            "sudo vtysh -c 'configure terminal' -c 'router bgp 65001' -c 'address-family l2vpn evpn' -c 'vni 1000' -c 'rd auto'",
        );
        assert!(taken(&mut *session, "sudo vtysh -c 'show running-config'").contains("\n  vni 1000\n   rd auto\n"));
        let json: serde_json::Value = serde_json::from_str(&taken(&mut *session, "show runningconfiguration all")).expect("JSON");
        assert_eq!(json["VXLAN_TUNNEL_MAP"]["vtep|map_1000_Vlan10"]["vni"], "1000");
        taken(&mut *session, "sonic-db-cli CONFIG_DB hset 'PORT|Ethernet8' description 'a b' admin_status down");
        assert!(!device.running().ports["Ethernet8"].up);
        assert!(taken(&mut *session, "sonic-db-cli CONFIG_DB hgetall 'PORT|Ethernet8'").contains("'description': 'a b'"));
    }
}
