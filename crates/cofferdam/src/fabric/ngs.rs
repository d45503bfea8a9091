//! What an ini of networking-generic-switch says of switches, in our words. Pure.
//!
//! Source: its `doc/source/configuration.rst`, `devices/__init__.py` (the options) and oslo.config's ini parser (their form), as of 2026.

use std::collections::{BTreeMap, BTreeSet};

use model::{Id, Secret};

/// What the names of sections of switches begin with.
const TAG: &str = "genericswitch:";
/// The usual ports of SSH and of NETCONF over SSH.
const SSH: &str = "22";
const NETCONF: &str = "830";

/// Device types there and drivers here.
const DRIVERS: [(&str, &str); 20] = [
    ("netmiko_arista_eos", "arista_eos"),
    ("netmiko_aruba_aoscx", "aruba_aoscx"),
    ("netmiko_cisco_ios", "cisco_ios"),
    ("netmiko_cisco_nxos", "cisco_nxos"),
    ("netmiko_cumulus_nvue", "cumulus_nvue"),
    ("netmiko_dell_enterprise_sonic", "sonic"),
    ("netmiko_dell_os10", "dell_os10"),
    ("netmiko_hp_comware", "hpe_comware"),
    ("netmiko_hpe_comware", "hpe_comware"),
    ("netmiko_huawei", "huawei_vrp"),
    ("netmiko_huawei_vrpv8", "huawei_vrp"),
    ("netmiko_juniper", "juniper_junos"),
    ("netmiko_juniper_junos", "juniper_junos"),
    ("netmiko_linux", "frr_linux"),
    ("netmiko_mellanox_mlnxos", "mellanox_mlnxos"),
    ("netmiko_nokia_srl", "nokia_srl"),
    ("netmiko_ovs_linux", "ovs_ssh"),
    ("netmiko_sonic", "sonic"),
    ("netconf_openconfig", "netconf_openconfig"),
    ("netmiko_cisco_xe", "cisco_ios"),
];

/// Options that ask for what is always so here, or is nobody's to choose.
const NEEDLESS: [(&str, &str); 11] = [
    ("ngs_batch_requests", "what is wished while a commit is under way always goes into the next one together"),
    ("ngs_max_connections", "one session to each switch is kept and used again"),
    ("ngs_ssh_reuse_connection", "sessions are always used again"),
    ("ngs_ssh_connect_timeout", "every wait has a deadline of its own"),
    ("ngs_ssh_connect_interval", "pauses between tries grow up to 30 s"),
    ("ngs_commit_timeout", "every wait has a deadline of its own"),
    ("ngs_commit_interval", "pauses between tries grow up to 30 s"),
    ("ngs_network_name_format", "VLANs are named cofferdam-… here, and only what bears that name is ever removed"),
    ("ngs_netconf_confirmed_commit", "a commit is always confirmed where the switch can"),
    ("ngs_netconf_confirmed_commit_timeout", "a commit is always confirmed where the switch can"),
    ("ngs_disable_inactive_ports", "a port that nobody holds is always isolated, and shut where the switch has no other way"),
];

/// A section, with the first value of each option.
#[derive(Debug, PartialEq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) options: BTreeMap<String, String>,
}

/// A switch to be declared.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) switch_id: String,
    pub(super) driver: String,
    pub(super) endpoint: String,
    pub(super) bridge: String,
    pub(super) uplinks: BTreeSet<String>,
    pub(super) username: String,
    pub(super) password: Option<Secret>,
    pub(super) enable_password: Option<Secret>,
    pub(super) private_key_file: Option<String>,
    /// The physical networks it is said to be of.
    pub(super) physical_networks: Vec<String>,
    /// What has no equivalent or is otherwise here.
    pub(super) notes: Vec<String>,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) found: Vec<Found>,
    /// Sections that cannot be taken over: name and why.
    pub(super) left_out: Vec<(String, String)>,
}

/// The sections of switches of an ini, in order.
///
/// # Errors
/// A line that is neither of a section nor of an option; its text is not repeated, it may be a secret.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, String> {
    let mut all: Vec<Section> = Vec::new();
    let mut within: Option<usize> = None;
    // The option a line that begins with white space goes on with; none: it was given before, and the first counts.
    let mut last: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let is_blank = line.trim().is_empty();
        if is_blank || line.starts_with(['#', ';']) {
            if is_blank {
                last = None;
            }
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let (Some(section), Some(key)) = (within.and_then(|at| all.get_mut(at)), &last)
                && let Some(value) = section.options.get_mut(key)
            {
                value.push('\n');
                value.push_str(line.trim());
            }
            continue;
        }
        last = None;
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.trim_end().strip_suffix(']').ok_or_else(|| format!("line {number}: a section without its end"))?;
            within = name.strip_prefix(TAG).map(|name| match all.iter().position(|it| it.name == name) {
                Some(at) => at,
                None => {
                    all.push(Section { name: name.to_owned(), options: BTreeMap::new() });
                    all.len() - 1
                }
            });
            continue;
        }
        let (key, value) = line.split_once(['=', ':']).ok_or_else(|| format!("line {number}: neither a section nor an option"))?;
        let (key, value) = (key.trim().to_owned(), unquoted(value.trim()));
        let Some(section) = within.and_then(|at| all.get_mut(at)) else { continue };
        if !section.options.contains_key(&key) {
            section.options.insert(key.clone(), value.to_owned());
            last = Some(key);
        }
    }
    Ok(all)
}

/// Without the quotation marks around it.
fn unquoted(value: &str) -> &str {
    let inside = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

/// Reads all switches of an ini, for these drivers.
///
/// # Errors
/// It is no ini.
pub(super) fn read(text: &str, drivers: &[&str]) -> Result<Read, String> {
    let mut out = Read::default();
    for section in sections(text)? {
        let name = section.name.clone();
        match taken(section, drivers) {
            Ok(found) => out.found.push(found),
            Err(why) => out.left_out.push((name, why)),
        }
    }
    Ok(out)
}

fn is_true(value: &str) -> bool {
    ["1", "t", "true", "on", "y", "yes"].contains(&value.to_ascii_lowercase().as_str())
}

fn listed(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

/// `aa:bb:cc:dd:ee:ff` of any of the usual spellings.
fn mac(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|it| !":-.".contains(*it)).collect::<String>().to_ascii_lowercase();
    let fits = digits.len() == 12 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let pairs: Vec<&str> = (0..6).filter_map(|at| digits.get(at * 2..at * 2 + 2)).collect();
    fits.then(|| pairs.join(":"))
}

/// The driver of a device type.
fn driver(device_type: &str) -> Result<&'static str, String> {
    let why = match device_type {
        "" => "it has no device_type".to_owned(),
        "netmiko_cumulus" => "Cumulus is driven by NVUE only, not by NCLU".to_owned(),
        "netmiko_fake" => "it is not a switch".to_owned(),
        other => format!("no driver is like {other}"),
    };
    DRIVERS.iter().find(|(theirs, _)| *theirs == device_type).map(|(_, ours)| *ours).ok_or(why)
}

/// A section as a switch of ours.
///
/// # Errors
/// It cannot be one: why.
fn taken(section: Section, drivers: &[&str]) -> Result<Found, String> {
    let mut options = section.options;
    let mut take = |name: &str| options.remove(name).filter(|it| !it.is_empty());
    if Id::<()>::parse(&section.name).is_none() {
        return Err("its name has other characters than letters, digits, '.', '_', ':' and '-', or more than 64".into());
    }
    let device_type = take("device_type").unwrap_or_default();
    let driver = driver(&device_type)?;
    if !drivers.contains(&driver) {
        return Err(format!("{device_type} would be the driver {driver}, which there is not"));
    }
    let (ip, host) = (take("ip"), take("host"));
    let host = host.or(ip).ok_or("it has neither ip nor host")?;
    let is_bare_v6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_v6 { format!("[{host}]") } else { host };
    let port = take("port").unwrap_or_else(|| if driver == "netconf_openconfig" { NETCONF } else { SSH }.to_owned());
    if port.parse::<u16>().is_err() {
        return Err("its port is no number of a port".into());
    }
    let mut out = Found {
        name: section.name,
        driver: driver.to_owned(),
        endpoint: format!("ssh:{host}:{port}"),
        username: take("username").unwrap_or_default(),
        password: take("password").map(Secret::new),
        enable_password: take("secret").map(Secret::new),
        private_key_file: take("key_file").or_else(|| take("key_filename")),
        bridge: take("ngs_ovs_bridge").unwrap_or_default(),
        uplinks: take("ngs_trunk_ports").map(|it| listed(&it)).unwrap_or_default().into_iter().collect(),
        physical_networks: take("ngs_physical_networks").map(|it| listed(&it)).unwrap_or_default(),
        ..Found::default()
    };
    match take("ngs_mac_address") {
        Some(text) => match mac(&text) {
            Some(mac) => out.switch_id = mac,
            None => out.notes.push("ngs_mac_address is no MAC address: machines find the switch by switch_info only".into()),
        },
        None => out.notes.push("without ngs_mac_address machines find the switch by switch_info only".into()),
    }
    match device_type.as_str() {
        "netmiko_huawei" => out.notes.push("VRP 3 and 5 are driven as VRP 8 is: read it first and see whether it is understood".into()),
        "netmiko_dell_enterprise_sonic" => out.notes.push("Dell's SONiC is driven as SONiC is, not by its own command line".into()),
        _ => {}
    }
    if out.username.is_empty() {
        out.notes.push("without username: nobody would log in".into());
    }
    if take("use_keys").is_some_and(|it| is_true(&it)) && out.private_key_file.is_none() {
        out.notes.push("use_keys without key_file: keys of an agent or a home directory are not used, name one".into());
    }
    if out.password.is_none() && out.private_key_file.is_none() {
        out.notes.push("neither password nor key_file".into());
    }
    out.notes.extend(remarks(options));
    Ok(out)
}

/// What is to be said of the options that are left.
fn remarks(options: BTreeMap<String, String>) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, value) in options {
        let is_on = is_true(&value);
        let why = match name.as_str() {
            "ngs_port_default_vlan" => format!("a port that is let go is isolated, not put on VLAN {value}"),
            "ngs_manage_vlans" if !is_on => "VLANs of ours are always declared and removed".into(),
            "ngs_save_configuration" if !is_on => "what is set is always saved: what a restart loses proves nothing".into(),
            "ngs_manage_vlans" | "ngs_save_configuration" => continue,
            "ngs_switchport_mode" if value == "access" => continue,
            "ngs_switchport_mode" => format!("mode {value} is not offered"),
            "ngs_security_groups_enabled" if !is_on => continue,
            "ngs_security_groups_enabled" => "security groups are not put on switches".into(),
            "ngs_allowed_ports" => format!("only ports of ours are ever written; take these: {}", listed(&value).join(", ")),
            "ngs_allowed_vlans" => format!("VLANs come from fabric.vlan_range; see that it lies within {}", listed(&value).join(", ")),
            "ngs_port_id_re_sub" => "names of ports are read in the usual spellings of each kind of switch".into(),
            "hostkey_verify" | "ssh_strict" | "system_host_keys" | "alt_host_keys" | "alt_key_file" => {
                "host keys are always checked: pin host_key, or set trust_on_first_use".into()
            }
            other => match NEEDLESS.iter().find(|(name, _)| *name == other) {
                Some((_, why)) => (*why).to_owned(),
                // Its value may be anything, a secret too.
                None => "no equivalent".to_owned(),
            },
        };
        notes.push(format!("{name}: {why}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const INI: &str = "\
[DEFAULT]
debug = True
[ngs_coordination]
backend_url = etcd3+http://10.0.0.2:2379
# the first leaf
[genericswitch:leaf-1]
device_type = netmiko_arista_eos
ip = 10.0.0.11
username = 'neutron'
password = \"p@ss:word=1\"
secret: enable me
ngs_mac_address = 00:53:00:0A:0b:0C
ngs_trunk_ports = Ethernet1/48, Port-Channel1
ngs_physical_networks = physnet1
ngs_port_default_vlan = 666
ngs_batch_requests = True
ngs_save_configuration = True
conn_timeout = 30
password = the second does not count
ngs_allowed_ports = Ethernet1,
  Ethernet2
";

    #[test]
    fn sections_are_read_as_oslo_config_does() {
        let all = sections(INI).unwrap();
        assert_eq!(all.len(), 1);
        let option = |name: &str| all[0].options[name].as_str();
        assert_eq!((option("password"), option("secret"), option("username")), ("p@ss:word=1", "enable me", "neutron"));
        assert_eq!(option("ngs_allowed_ports"), "Ethernet1,\nEthernet2");
        for (wrong, line) in [("[genericswitch:x\n", "line 1"), ("\n[a]\nhunter2\n", "line 3")] {
            let why = sections(wrong).unwrap_err();
            assert!(why.starts_with(line) && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn a_switch_is_taken_over_and_what_is_otherwise_is_said() {
        let read = read(INI, &["arista_eos"]).unwrap();
        assert_eq!(read.left_out, []);
        let [leaf] = read.found.as_slice() else { panic!("{read:?}") };
        assert_eq!((leaf.name.as_str(), leaf.driver.as_str(), leaf.endpoint.as_str()), ("leaf-1", "arista_eos", "ssh:10.0.0.11:22"));
        assert_eq!((leaf.switch_id.as_str(), leaf.username.as_str()), ("00:53:00:0a:0b:0c", "neutron"));
        assert_eq!(leaf.uplinks, ["Ethernet1/48".to_owned(), "Port-Channel1".to_owned()].into());
        assert_eq!(
            (leaf.password.as_ref().unwrap().reveal(), leaf.enable_password.as_ref().unwrap().reveal()),
            ("p@ss:word=1", "enable me")
        );
        assert_eq!(
            leaf.notes,
            [
                "conn_timeout: no equivalent",
                "ngs_allowed_ports: only ports of ours are ever written; take these: Ethernet1, Ethernet2",
                "ngs_batch_requests: what is wished while a commit is under way always goes into the next one together",
                "ngs_port_default_vlan: a port that is let go is isolated, not put on VLAN 666",
            ]
        );
        assert!(!format!("{read:?}").contains("p@ss") && !format!("{read:?}").contains("enable me"));
    }

    #[test]
    fn what_cannot_be_taken_over_is_left_out_with_a_reason() {
        let section = |more: &str| format!("[genericswitch:x y]\ndevice_type = netmiko_sonic\nip = ::1\n[genericswitch:x]\n{more}\n");
        for (more, why) in [
            ("ip = 10.0.0.1", "no device_type"),
            ("device_type = netmiko_cumulus\nip = 10.0.0.1", "NVUE only"),
            ("device_type = netmiko_cisco_ios\nip = 10.0.0.1", "driver cisco_ios, which there is not"),
            ("device_type = netmiko_sonic", "neither ip nor host"),
            ("device_type = netmiko_sonic\nip = 10.0.0.1\nport = ssh", "no number"),
        ] {
            let left = read(&section(more), &["sonic"]).unwrap().left_out;
            assert!(left[0].1.contains("its name") && left[1].1.contains(why), "{left:?}");
        }
        let v6 = read("[genericswitch:x]\ndevice_type = netconf_openconfig\nhost = fd00::1\n", &["netconf_openconfig"]).unwrap();
        assert_eq!(v6.found[0].endpoint, "ssh:[fd00::1]:830");
        assert!(v6.found[0].notes.iter().any(|it| it.contains("nobody would log in")));
    }

    #[test]
    fn device_types_have_drivers_or_a_reason() {
        for (theirs, ours) in DRIVERS {
            assert_eq!(driver(theirs), Ok(ours));
        }
        for theirs in ["", "netmiko_cumulus", "netmiko_pluribus", "netmiko_cisco_s300", "netmiko_fake"] {
            assert!(driver(theirs).is_err(), "{theirs}");
        }
    }

    #[test]
    fn addresses_of_hardware_in_all_spellings() {
        for text in ["00:53:00:0a:0b:0c", "00-53-00-0A-0B-0C", "0053.000a.0b0c", "005300-0a0b0c"] {
            assert_eq!(mac(text).as_deref(), Some("00:53:00:0a:0b:0c"), "{text}");
        }
        assert!(mac("00:53").is_none() && mac("x0:53:00:0a:0b:0c").is_none());
    }

    #[test]
    fn options_without_equivalent_are_said_without_their_values() {
        let options =
            [("ngs_port_default_vlan", "5"), ("conn_timeout", "hunter2"), ("passphrase", "hunter2"), ("ngs_manage_vlans", "true")];
        let said = remarks(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let wanted = [
            "conn_timeout: no equivalent",
            "ngs_port_default_vlan: a port that is let go is isolated, not put on VLAN 5",
            "passphrase: no equivalent",
        ];
        assert_eq!(said, wanted);
    }
}
