//! `config …`: what it takes, and in which words it refuses.

use std::collections::BTreeMap;

use super::super::shell::Ran;
use super::database::{ENTRY, Members, bare, is_group, members, set_members, tunnel, write};
use super::{Host, Waiting};
use crate::netos::device::{Config, Group, Membership, Protocol};

/// A mistake as click reports it.
pub(super) fn usage(command: &str, arguments: &str, says: &str) -> Ran {
    let arguments = if arguments.is_empty() { String::new() } else { format!(" {arguments}") };
    Ran::failed(2, format!("Usage: {command} [OPTIONS]{arguments}\nTry \"{command} -h\" for help.\n\nError: {says}\n"))
}

/// Why a change is not made.
type Refused = String;

impl Host {
    /// Carries out `config` with these arguments.
    pub(super) fn config(&mut self, args: &[&str]) -> Ran {
        match args {
            ["save", "-y", ..] => self.save(),
            ["save", ..] => self.wait(Waiting::Save),
            ["reload", rest @ ..] if rest.contains(&"-y") => self.reload(),
            ["reload", ..] => self.wait(Waiting::Reload),
            ["hostname", name] => {
                let name = (*name).to_owned();
                self.device.edit(|it| it.hostname = name);
                Ran::ok("Please note loaded setting will be lost after system reboot. To preserve setting, run `config save`.\n")
            }
            ["vlan", "add", vlan] => self.change("vlan add", "<vid>", |it| add_vlan(it, vlan)),
            ["vlan", "del", vlan] => self.change("vlan del", "<vid>", |it| del_vlan(it, vlan)),
            ["vlan", "member", "add", rest @ ..] => {
                let untagged = rest.iter().any(|it| ["-u", "--untagged"].contains(it));
                let plain: Vec<&str> = rest.iter().copied().filter(|it| !it.starts_with('-')).collect();
                match plain.as_slice() {
                    [vlan, port] => self.change("vlan member add", "<vid> port", |it| add_member(it, vlan, port, untagged)),
                    _ => usage("config vlan member add", "<vid> port", "Missing argument \"port\"."),
                }
            }
            ["vlan", "member", "del", vlan, port] => self.change("vlan member del", "<vid> <port>", |it| del_member(it, vlan, port)),
            ["interface", verb @ ("startup" | "shutdown"), names] => {
                let command = format!("interface {verb}");
                self.change(&command, "<interface_name>", |it| set_up(it, names, *verb == "startup"))
            }
            ["interface", "mtu" | "speed" | "fec" | "autoneg", name, _] => {
                self.change("interface", "<interface_name>", |it| known(it, name).map(drop))
            }
            ["portchannel", "add", rest @ ..] => {
                let mut plain = Vec::new();
                let mut words = rest.iter();
                while let Some(word) = words.next() {
                    match *word {
                        "--min-links" | "--fallback" | "--fast-rate" => drop(words.next()),
                        option if option.starts_with('-') && !option.contains('=') => {
                            return usage("config portchannel add", "<portchannel_name>", &format!("no such option: {option}"));
                        }
                        other => plain.push(other),
                    }
                }
                match plain.as_slice() {
                    [name] => self.change("portchannel add", "<portchannel_name>", |it| add_group(it, name)),
                    _ => usage("config portchannel add", "<portchannel_name>", "Missing argument \"<portchannel_name>\"."),
                }
            }
            ["portchannel", "del", name] => self.change("portchannel del", "<portchannel_name>", |it| del_group(it, name)),
            ["portchannel", "member", "add", group, port] => {
                self.change("portchannel member add", "<portchannel_name> <port_name>", |it| join(it, group, port))
            }
            ["portchannel", "member", "del", group, port] => {
                self.change("portchannel member del", "<portchannel_name> <port_name>", |it| leave(it, group, port))
            }
            ["vxlan", "add", name, source] => self.change("vxlan add", "<vxlan_name> <src_ip>", |it| add_tunnel(it, name, source)),
            ["vxlan", "del", name] => self.change("vxlan del", "<vxlan_name>", |it| del_tunnel(it, name)),
            ["vxlan", "evpn_nvo", "add", name, tunnel] => {
                self.change("vxlan evpn_nvo add", "<nvo_name> <vxlan_name>", |it| add_nvo(it, name, tunnel))
            }
            ["vxlan", "evpn_nvo", "del", name] => self.change("vxlan evpn_nvo del", "<nvo_name>", |it| {
                write(it, "VXLAN_EVPN_NVO", name, None);
                Ok(())
            }),
            ["vxlan", "map", verb @ ("add" | "del"), name, vlan, vni] => {
                let command = format!("vxlan map {verb}");
                self.change(&command, "<vxlan_name> <vlan_id> <vni>", |it| map(it, name, vlan, vni, *verb == "add"))
            }
            [] => Ran::ok("Usage: config [OPTIONS] COMMAND [ARGS]...\n\n  SONiC command line - 'config' command\n"),
            _ => unknown(args),
        }
    }

    fn wait(&mut self, what: Waiting) -> Ran {
        self.waiting = Some(what);
        Ran::ok("")
    }

    /// Changes the configuration in place, or says why not in click's form.
    fn change(&self, command: &str, arguments: &str, change: impl FnOnce(&mut Config) -> Result<(), Refused>) -> Ran {
        let changed = self.device.edit(|config| {
            let before = config.clone();
            let done = change(config);
            if done.is_err() {
                *config = before;
            }
            done
        });
        match changed {
            Ok(()) => Ran::ok(""),
            Err(says) => usage(&format!("config {command}"), arguments, &says),
        }
    }
}

fn unknown(args: &[&str]) -> Ran {
    let groups: &[&[&str]] = &[
        &["vlan"],
        &["vlan", "member"],
        &["interface"],
        &["portchannel"],
        &["portchannel", "member"],
        &["vxlan"],
        &["vxlan", "map"],
        &["vxlan", "evpn_nvo"],
    ];
    let group = groups.iter().filter(|it| args.starts_with(it)).max_by_key(|it| it.len()).copied().unwrap_or_default();
    let command = std::iter::once("config").chain(group.iter().copied()).collect::<Vec<_>>().join(" ");
    let Some(next) = args.get(group.len()) else { return Ran::ok(format!("Usage: {command} [OPTIONS] COMMAND [ARGS]...\n")) };
    let known = ["add", "del", "startup", "shutdown"].contains(next);
    let full = format!("{command} {next}");
    if known {
        usage(&full, "", "Missing argument.")
    } else {
        usage(&command, "COMMAND [ARGS]...", &format!("No such command \"{next}\"."))
    }
}

fn vlan_id(text: &str) -> Result<u16, Refused> {
    let number: u32 = text.parse().map_err(|_not_a_number| format!("{text} is not integer"))?;
    u16::try_from(number).ok().filter(|it| (2..=4094).contains(it)).ok_or_else(|| format!("Invalid VLAN ID {number} (2-4094)"))
}

fn add_vlan(config: &mut Config, text: &str) -> Result<(), Refused> {
    if text == "1" {
        return Err("Vlan1 is default VLAN".into());
    }
    let vlan = vlan_id(text)?;
    if config.vlans.contains_key(&vlan) {
        return Err(format!("Vlan{vlan} already exists."));
    }
    config.vlans.entry(vlan).or_default();
    Ok(())
}

fn del_vlan(config: &mut Config, text: &str) -> Result<(), Refused> {
    let vlan = vlan_id(text)?;
    let Some(found) = config.vlans.get(&vlan) else { return Err(format!("Vlan{vlan} does not exist")) };
    let used = config.ports.values().map(|it| members(config, it)).any(|it| it.untagged == Some(vlan) || it.tagged.contains(&vlan));
    if used {
        return Err(format!("VLAN ID {vlan} can not be removed. First remove all members assigned to this VLAN."));
    }
    if let Some(vni) = found.vni {
        let tunnel = tunnel(config).unwrap_or_default();
        return Err(format!(
            "vlan: {vlan} can not be removed. First remove vxlan mapping '{tunnel}|map_{vni}_Vlan{vlan}' assigned to VLAN"
        ));
    }
    config.vlans.remove(&vlan);
    Ok(())
}

fn known<'a>(config: &'a mut Config, name: &str) -> Result<&'a mut crate::netos::device::Port, Refused> {
    config.ports.get_mut(name).ok_or_else(|| "Interface name is invalid. Please enter a valid interface name!!".to_owned())
}

fn add_member(config: &mut Config, text: &str, name: &str, untagged: bool) -> Result<(), Refused> {
    let vlan = vlan_id(text)?;
    if !config.vlans.contains_key(&vlan) {
        return Err(format!("Vlan{vlan} does not exist"));
    }
    let Some(port) = config.ports.get(name) else { return Err(format!("{name} does not exist")) };
    let mut now = members(config, port);
    if now.untagged == Some(vlan) || now.tagged.contains(&vlan) {
        return Err(format!("{name} is already a member of Vlan{vlan}"));
    }
    if port.routed {
        return Err(format!("{name} is a router interface!"));
    }
    if port.group.is_some() {
        return Err(format!("{name} is part of portchannel!"));
    }
    if untagged && now.untagged.is_some() {
        return Err(format!("{name} is already untagged member!"));
    }
    if untagged {
        now.untagged = Some(vlan);
    } else {
        now.tagged.insert(vlan);
    }
    set_members(known(config, name)?, now);
    Ok(())
}

fn del_member(config: &mut Config, text: &str, name: &str) -> Result<(), Refused> {
    let vlan = vlan_id(text)?;
    if !config.vlans.contains_key(&vlan) {
        return Err(format!("Vlan{vlan} does not exist, Aborting!!!"));
    }
    let Some(mut now) = config.ports.get(name).map(|it| members(config, it)) else {
        return Err(format!("{name} is not a member of Vlan{vlan}"));
    };
    if now.untagged == Some(vlan) {
        now.untagged = None;
    } else if !now.tagged.remove(&vlan) {
        return Err(format!("{name} is not a member of Vlan{vlan}"));
    }
    set_members(known(config, name)?, now);
    Ok(())
}

fn set_up(config: &mut Config, names: &str, up: bool) -> Result<(), Refused> {
    for name in names.split(',') {
        known(config, name)?.up = up;
    }
    Ok(())
}

fn group_name(name: &str) -> Result<(), Refused> {
    let number = name.strip_prefix("PortChannel").unwrap_or_default();
    if (1..=4).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!("{name} is invalid!, name should have prefix 'PortChannel' and suffix '<0-9999>'"))
}

fn add_group(config: &mut Config, name: &str) -> Result<(), Refused> {
    group_name(name)?;
    if config.ports.contains_key(name) {
        return Err(format!("{name} already exists!"));
    }
    let mut port = bare();
    port.is_group = true;
    config.ports.insert(name.to_owned(), port);
    config.groups.insert(name.to_owned(), Group { protocol: Some(Protocol::Active) });
    Ok(())
}

fn existing_group(config: &Config, name: &str) -> Result<(), Refused> {
    group_name(name)?;
    if config.ports.get(name).is_some_and(|it| it.is_group) { Ok(()) } else { Err(format!("{name} is not present.")) }
}

fn del_group(config: &mut Config, name: &str) -> Result<(), Refused> {
    existing_group(config, name)?;
    let Members { untagged, tagged } = config.ports.get(name).map(|it| members(config, it)).unwrap_or_default();
    if let Some(vlan) = untagged.or_else(|| tagged.first().copied()) {
        return Err(format!("{name} has vlan Vlan{vlan} configured, remove vlan membership to proceed"));
    }
    if !config.members(name).is_empty() {
        return Err(format!("Error: Portchannel {name} contains members. Remove members before deleting Portchannel!"));
    }
    config.ports.remove(name);
    config.groups.remove(name);
    Ok(())
}

fn join(config: &mut Config, group: &str, name: &str) -> Result<(), Refused> {
    if is_group(name) || !config.ports.contains_key(name) {
        return Err("Interface name is invalid. Please enter a valid interface name!!".into());
    }
    existing_group(config, group)?;
    let Some(port) = config.ports.get(name) else { return Ok(()) };
    if port.routed {
        return Err(format!(" {name} has ip address configured"));
    }
    let Members { untagged, tagged } = members(config, port);
    if let Some(vlan) = untagged.or_else(|| tagged.first().copied()) {
        return Err(format!("{name} Interface configured as VLAN_MEMBER under vlan : Vlan{vlan}"));
    }
    if let Some(member) = &port.group {
        return Err(format!("{name} Interface is already member of {} ", member.group));
    }
    known(config, name)?.group = Some(Membership { group: group.to_owned(), protocol: Protocol::Active });
    Ok(())
}

fn leave(config: &mut Config, group: &str, name: &str) -> Result<(), Refused> {
    group_name(group)?;
    known(config, name)?;
    existing_group(config, group)?;
    let port = known(config, name)?;
    if port.group.as_ref().is_none_or(|it| it.group != group) {
        return Err(format!("{name} is not a member of portchannel {group}"));
    }
    port.group = None;
    Ok(())
}

fn add_tunnel(config: &mut Config, name: &str, source: &str) -> Result<(), Refused> {
    if source.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{source} invalid src ip address"));
    }
    if tunnel(config).is_some() {
        return Err("VTEP already configured.".into());
    }
    write(config, "VXLAN_TUNNEL", name, Some(&BTreeMap::from([("src_ip".to_owned(), source.to_owned())])));
    Ok(())
}

fn del_tunnel(config: &mut Config, name: &str) -> Result<(), Refused> {
    if tunnel(config).as_deref() != Some(name) {
        return Err(format!("Vxlan tunnel {name} does not exist"));
    }
    if config.extra.keys().any(|it| it.starts_with(&format!("{ENTRY}VXLAN_EVPN_NVO|"))) {
        return Err("Please delete the EVPN NVO configuration.".into());
    }
    if config.vlans.values().any(|it| it.vni.is_some()) {
        return Err("Please delete all VLAN VNI mappings.".into());
    }
    write(config, "VXLAN_TUNNEL", name, None);
    Ok(())
}

fn add_nvo(config: &mut Config, name: &str, vtep: &str) -> Result<(), Refused> {
    if config.extra.keys().any(|it| it.starts_with(&format!("{ENTRY}VXLAN_EVPN_NVO|"))) {
        return Err("EVPN NVO already configured".into());
    }
    if tunnel(config).as_deref() != Some(vtep) {
        return Err(format!("VTEP {vtep} not configured"));
    }
    write(config, "VXLAN_EVPN_NVO", name, Some(&BTreeMap::from([("source_vtep".to_owned(), vtep.to_owned())])));
    Ok(())
}

fn map(config: &mut Config, vtep: &str, vlan: &str, vni: &str, add: bool) -> Result<(), Refused> {
    let Some(vlan) = vlan.parse::<u16>().ok().filter(|it| (1..=4094).contains(it)) else {
        return Err(" Invalid Vlan Id , Valid Range : 1 to 4094 ".into());
    };
    let Ok(vni) = vni.parse::<u32>() else { return Err(format!("Invalid VNI {vni}. Only valid VNI is accepted")) };
    if !(1..=16_777_215).contains(&vni) {
        return Err(format!("Invalid VNI {vni}. Valid range [1 to 16777215]."));
    }
    if tunnel(config).as_deref() != Some(vtep) {
        return Err(format!("VTEP {vtep} not configured"));
    }
    if !add {
        // As the real one, it says nothing if there was no such mapping.
        if let Some(it) = config.vlans.get_mut(&vlan).filter(|it| it.vni == Some(vni)) {
            it.vni = None;
        }
        return Ok(());
    }
    if config.vlans.values().any(|it| it.vni == Some(vni)) {
        return Err(" VNI Id already mapped ".into());
    }
    match config.vlans.get_mut(&vlan) {
        None => Err(format!("Vlan{vlan} not configured")),
        Some(it) if it.vni.is_some() => Err(" Vlan Id already mapped ".into()),
        Some(it) => {
            it.vni = Some(vni);
            Ok(())
        }
    }
}
