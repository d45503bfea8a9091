//! Open vSwitch by `ovs-vsctl` in a shell, where its database cannot be reached by network.
//!
//! All changes go into as few commands as possible, each one transaction; `ovs-vsctl` waits until the switch daemon has applied it.
//!
//! Sources: ovs-vsctl(8), ovs-vswitchd.conf.db(5), RFC 7047 section 5.1 for the values in JSON.

use std::collections::{BTreeMap, BTreeSet};

use model::net::VlanId;
use serde_json::Value;

use super::linux::{DIALECT, RECEIPT, json, line, ranges, word};
use super::{Dialect, Family, Site};
use crate::switch::plan::Change;
use crate::switch::{Facts, IsolatesBy, PortMode, PortSeen, SeenMode, SwitchSeen};

/// The bridge, where none is named.
const USUAL: &str = "br-int";
/// The VLAN of a trunk that carries none: an empty `trunks` means all VLANs, and IEEE 802.1Q reserves this one.
const NO_VLAN: u16 = 4095;
/// The mark of ports that we own, in `external_ids`.
const MARK: (&str, &str) = ("cofferdam", "owned");
/// The key of a port's description, in `external_ids`.
const DESCRIPTION: &str = "cofferdam-description";
/// A command is not made longer than this, in characters.
const LONGEST: usize = 1200;

/// Open vSwitch.
pub(super) struct OvsSsh;

impl Family for OvsSsh {
    fn dialect(&self) -> &Dialect {
        &DIALECT
    }

    fn receipt(&self) -> Option<&'static str> {
        Some(RECEIPT.1)
    }

    fn facts(&self) -> Facts {
        Facts { isolates_by: IsolatesBy::Protection, declares_vlans: false, has_vni: false, has_lags: false, saves: false }
    }

    fn show(&self, _site: Site<'_>) -> Vec<String> {
        [
            ("name,ports", "Bridge"),
            ("_uuid,name,interfaces,tag,trunks,vlan_mode,protected,cvlans,external_ids", "Port"),
            ("_uuid,name,ofport,error", "Interface"),
        ]
        .map(|(columns, table)| format!("ovs-vsctl --format=json --columns={columns} list {table}"))
        .into()
    }

    fn parse(&self, answers: &[String], site: Site<'_>) -> Result<SwitchSeen, String> {
        let [bridges, ports, interfaces] = answers else { return Err(format!("{} answers to three commands", answers.len())) };
        let (bridges, ports, interfaces) = (table(bridges)?, table(ports)?, table(interfaces)?);
        let bridge_name = bridge(&site);
        let bridge = bridges.iter().find(|it| text(it, "name") == Some(bridge_name));
        let bridge = bridge.ok_or_else(|| format!("there is no bridge {bridge_name}"))?;
        let members: BTreeSet<&str> = atoms(bridge, "ports").into_iter().filter_map(uuid).collect();
        let faults: BTreeMap<&str, String> = interfaces.iter().filter_map(|it| Some((uuid(it.get("_uuid")?)?, fault(it)?))).collect();
        let mut out = SwitchSeen::default();
        for row in &ports {
            let numbers = |column| atoms(row, column).into_iter().filter_map(Value::as_u64).filter_map(|it| u16::try_from(it).ok());
            let all: Vec<u16> = ["tag", "trunks", "cvlans"].into_iter().flat_map(numbers).collect();
            out.carried.extend(all.into_iter().filter_map(VlanId::new));
            let (Some(id), Some(name)) = (row.get("_uuid").and_then(uuid), text(row, "name")) else { continue };
            // The bridge's own port leads into the host.
            if !members.contains(id) || name == bridge_name {
                continue;
            }
            let fault = atoms(row, "interfaces").into_iter().filter_map(uuid).find_map(|it| faults.get(it));
            let tag = numbers("tag").next();
            let is_protected =
                row.get("protected").and_then(Value::as_bool).ok_or_else(|| format!("cannot read whether {name} is protected"))?;
            let mode = Columns {
                tag,
                trunks: numbers("trunks").collect(),
                kind: atoms(row, "vlan_mode").first().and_then(|it| it.as_str()).map(str::to_owned),
                is_protected,
                has_inner: !atoms(row, "cvlans").is_empty(),
            }
            .mode(site.isolation);
            let mode = match (mode, fault) {
                // An isolated port has nothing to carry, so nothing can be wrong with that.
                (SeenMode::Known(mode), Some(fault)) if mode != PortMode::Isolated => {
                    SeenMode::Foreign(format!("{mode}, but out of order: {fault}"))
                }
                (mode, _) => mode,
            };
            let description = pair(row, DESCRIPTION).unwrap_or_default().to_owned();
            out.ports.insert(name.to_owned(), PortSeen { mode, description, unsaved: false });
        }
        Ok(out)
    }

    fn render(&self, changes: &[Change], seen: &SwitchSeen, site: Site<'_>) -> Result<Vec<String>, String> {
        let mut out: Vec<String> = Vec::new();
        // What uplinks are after the changes so far: one may both lose and gain.
        let mut uplinks: BTreeMap<&str, (Option<VlanId>, BTreeSet<VlanId>)> = BTreeMap::new();
        for change in changes {
            let command = match change {
                Change::SetPort { port, mode, .. } => set_port(word(port)?, mode, site.isolation)?,
                Change::Describe { port, text } => {
                    let text: String = text.chars().filter(|c| c.is_ascii_graphic() && !"'\"\\".contains(*c) || *c == ' ').collect();
                    format!("set Port {} 'external_ids:{DESCRIPTION}=\"{text}\"'", word(port)?)
                }
                Change::Uplink { port, add, remove, .. } => {
                    let port = word(port)?;
                    // Adding to or taking from the list would not do for a trunk of none, whose list is not empty.
                    let (old_native, old) = uplinks.remove(port).unwrap_or_else(|| match seen.mode(port) {
                        SeenMode::Known(PortMode::Trunk { native, tagged }) => (*native, tagged.clone()),
                        _ => (None, BTreeSet::new()),
                    });
                    let native = old_native.filter(|it| !remove.contains(it));
                    let tagged: BTreeSet<VlanId> = old.difference(remove).chain(add).copied().filter(|it| Some(*it) != native).collect();
                    uplinks.insert(port, (native, tagged.clone()));
                    set_port(port, &PortMode::Trunk { native, tagged }, site.isolation)?
                }
                other => return Err(format!("it cannot be asked for {other:?}")),
            };
            match out.last_mut() {
                Some(last) if last.len() + command.len() < LONGEST => {
                    last.push_str(" -- ");
                    last.push_str(&command);
                }
                _ => out.push(format!("ovs-vsctl {command}")),
            }
        }
        Ok(out.into_iter().map(|it| line(&[it])).collect())
    }
}

fn bridge<'a>(site: &Site<'a>) -> &'a str {
    if site.bridge.is_empty() { USUAL } else { site.bridge }
}

/// The columns of a port that decide whom it reaches.
struct Columns {
    tag: Option<u16>,
    trunks: BTreeSet<u16>,
    kind: Option<String>,
    is_protected: bool,
    has_inner: bool,
}

impl Columns {
    fn mode(&self, isolation: VlanId) -> SeenMode {
        // An unset mode means "access" with a tag and "trunk" without.
        let kind = self.kind.as_deref().unwrap_or(if self.tag.is_some() { "access" } else { "trunk" });
        let tag = self.tag.and_then(VlanId::new);
        let trunks = || self.trunks.iter().map(|it| VlanId::new(*it)).collect::<Option<BTreeSet<VlanId>>>();
        let mode = match (kind, tag) {
            _ if self.has_inner => None,
            ("access", Some(tag)) if self.trunks.is_empty() => match (tag == isolation, self.is_protected) {
                (true, true) => Some(PortMode::Isolated),
                (false, false) => Some(PortMode::Access(tag)),
                _ => None,
            },
            ("trunk", None) if self.trunks.iter().eq([&NO_VLAN]) && self.is_protected => Some(PortMode::tagged([])),
            _ if self.is_protected => None,
            ("trunk", None) if self.tag.is_none() && !self.trunks.is_empty() => trunks().map(PortMode::tagged),
            // A trunk without a list carries all.
            ("trunk", None) if self.tag.is_none() => Some(PortMode::tagged((1..=4094).filter_map(VlanId::new))),
            // With a native VLAN and nothing else the list would mean all, so it names the native one then.
            ("native-untagged", Some(native)) if !self.trunks.is_empty() => {
                trunks().map(|all| PortMode::Trunk { native: Some(native), tagged: all.into_iter().filter(|it| *it != native).collect() })
            }
            _ => None,
        };
        mode.map_or_else(|| SeenMode::Foreign(self.describe(kind)), SeenMode::Known)
    }

    fn describe(&self, kind: &str) -> String {
        let trunks: BTreeSet<VlanId> = self.trunks.iter().filter_map(|it| VlanId::new(*it)).collect();
        let parts = [
            Some(kind.to_owned()),
            self.tag.map(|it| format!("tag {it}")),
            (!self.trunks.is_empty()).then(|| format!("trunks {}", ranges(&trunks).join(","))),
            self.has_inner.then(|| "with customer VLANs".to_owned()),
            self.is_protected.then(|| "protected".to_owned()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn set_port(port: &str, mode: &PortMode, isolation: VlanId) -> Result<String, String> {
    let (columns, is_protected) = match mode {
        PortMode::Isolated => (format!("vlan_mode=access tag={isolation}"), true),
        PortMode::Access(vlan) => (format!("vlan_mode=access tag={vlan}"), false),
        PortMode::Trunk { native: None, tagged } if tagged.is_empty() => (format!("vlan_mode=trunk trunks={NO_VLAN}"), true),
        PortMode::Trunk { native: None, tagged } => (format!("vlan_mode=trunk trunks={}", list(tagged)), false),
        PortMode::Trunk { native: Some(native), .. } => {
            (format!("vlan_mode=native-untagged tag={native} trunks={}", list(&mode.vlans())), false)
        }
        PortMode::Member { lag } => return Err(format!("it cannot group links, as in {lag}")),
    };
    let (key, value) = MARK;
    Ok(format!(
        "clear Port {port} tag trunks cvlans vlan_mode -- set Port {port} {columns} protected={is_protected} external_ids:{key}={value}"
    ))
}

fn list(vlans: &BTreeSet<VlanId>) -> String {
    vlans.iter().map(VlanId::to_string).collect::<Vec<_>>().join(",")
}

type Row = BTreeMap<String, Value>;

/// A table as `--format=json` prints it: the columns' names, then a row of values for each record.
fn table(answer: &str) -> Result<Vec<Row>, String> {
    let value: Value = json(answer, "ovs-vsctl list")?;
    let rows = |key: &str| value.get(key).and_then(Value::as_array).ok_or_else(|| format!("ovs-vsctl list: there are no {key}"));
    let headings: Vec<String> = rows("headings")?.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
    let row = |it: &Value| {
        let cells = it.as_array().filter(|it| it.len() == headings.len()).ok_or("ovs-vsctl list: a row is not as its headings say")?;
        Ok(headings.iter().cloned().zip(cells.iter().cloned()).collect())
    };
    rows("data")?.iter().map(row).collect()
}

fn text<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
    row.get(column)?.as_str()
}

/// The members of a column that is a set: `["set", […]]`, or a single atom standing for itself.
fn atoms<'a>(row: &'a Row, column: &str) -> Vec<&'a Value> {
    let Some(value) = row.get(column) else { return Vec::new() };
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(word), Value::Array(members)]) if word == "set" => members.iter().collect(),
        _ => vec![value],
    }
}

/// The id in `["uuid", "…"]`.
fn uuid(value: &Value) -> Option<&str> {
    match value.as_array()?.as_slice() {
        [Value::String(word), Value::String(id)] if word == "uuid" => Some(id),
        _ => None,
    }
}

/// The value of a key in `external_ids`.
fn pair<'a>(row: &'a Row, key: &str) -> Option<&'a str> {
    let members = row.get("external_ids")?.get(1)?.as_array()?;
    members.iter().find(|it| it.get(0).and_then(Value::as_str) == Some(key))?.get(1)?.as_str()
}

/// What keeps an interface from working, in the switch's words.
fn fault(row: &Row) -> Option<String> {
    let error = atoms(row, "error").first().and_then(|it| it.as_str()).filter(|it| !it.is_empty());
    let number = atoms(row, "ofport").first().and_then(|it| it.as_i64());
    match (error, number) {
        (Some(error), _) => Some(error.to_owned()),
        (None, Some(-1) | None) => Some(format!("interface {} has no port number", text(row, "name").unwrap_or_default())),
        _ => None,
    }
}
