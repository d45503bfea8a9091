//! Open vSwitch by its database (RFC 7047, ovs-vswitchd.conf.db(5)).
//!
//! [`parse`] and [`render`] are pure and hold all that is known of the tables; the rest moves JSON and watches the clock.

mod rpc;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::net::VlanId;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::rpc::{Connection, Endpoint};
use super::{
    Ensured, Facts, IsolatesBy, Managed, PortMode, PortSeen, SeenMode, Switch, SwitchConfig, SwitchError, SwitchSeen, SwitchWanted,
};
use crate::Fut;

/// How long `observe` and `ensure` may take, all in all.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at `cur_cfg`: first and longest wait.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// The VLAN of a trunk that carries none. Open vSwitch takes an empty `trunks` for *all* VLANs, so the empty trunk
/// carries this one, which IEEE 802.1Q reserves and nobody is given; the port is protected besides.
const NO_VLAN: u16 = 4095;
/// What Open vSwitch can do. VLANs are not declared on it, and its database is what it starts with.
const FACTS: Facts = Facts { isolates_by: IsolatesBy::Protection, declares_vlans: false, has_vni: false, has_lags: false, saves: false };
/// The mark of ports that we own, in `external_ids`.
const MARK: (&str, &str) = ("cofferdam", "owned");

/// A switch driven by its OVSDB server.
pub(super) struct Ovsdb {
    config: SwitchConfig,
    endpoint: Endpoint,
    tls: Option<Arc<rustls::ClientConfig>>,
    deadline: Duration,
    /// Kept between calls, made again after any trouble.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Ovsdb {
    pub(super) fn new(config: SwitchConfig) -> Result<Ovsdb, SwitchError> {
        let unusable = |reason| SwitchError::Config { switch: config.name.clone(), reason };
        let endpoint = Endpoint::parse(&config.endpoint).map_err(unusable)?;
        let tls = match (&endpoint, &config.trust) {
            (Endpoint::Tls(_), trust) => {
                // Databases show certificates that name nobody, as a rule: then the certificate itself is to be given.
                let Some(ca) = &trust.ca else {
                    return Err(unusable("ssl: needs the certificate to trust, or that of its authority (ca)".into()));
                };
                let own = trust.certificate.as_deref().zip(trust.key.as_ref().map(model::Secret::reveal));
                Some(crate::tls::trusting(ca, own).map_err(unusable)?)
            }
            _ => None,
        };
        Ok(Ovsdb { config, endpoint, tls, deadline: DEADLINE, connection: tokio::sync::Mutex::new(None) })
    }

    fn rejected(&self, reason: String) -> SwitchError {
        SwitchError::Rejected { switch: self.config.name.clone(), reason }
    }

    fn protocol(&self, reason: String) -> SwitchError {
        SwitchError::Protocol { switch: self.config.name.clone(), reason }
    }

    async fn connection(&self) -> Result<Arc<Connection>, SwitchError> {
        let mut kept = self.connection.lock().await;
        match kept.as_ref() {
            Some(connection) if !connection.is_broken() => Ok(Arc::clone(connection)),
            _ => {
                let fresh = Connection::open(&self.endpoint, self.tls.as_ref()).await.map_err(|error| self.unreachable(&error))?;
                Ok(Arc::clone(kept.insert(Arc::new(fresh))))
            }
        }
    }

    fn unreachable(&self, error: &std::io::Error) -> SwitchError {
        SwitchError::Unreachable { switch: self.config.name.clone(), reason: error.to_string() }
    }

    /// One transaction. The outer result is about the connection, the inner one about the switch's verdict.
    async fn transact(
        &self,
        operations: &[Value],
        until: Instant,
        doing: &'static str,
    ) -> Result<Result<Vec<Value>, Refusal>, SwitchError> {
        let mut params = vec![json!("Open_vSwitch")];
        params.extend_from_slice(operations);
        let call = async {
            let connection = self.connection().await?;
            connection.call("transact", Value::Array(params)).await.map_err(|error| self.unreachable(&error))
        };
        let answer = tokio::time::timeout_at(until, call)
            .await
            .unwrap_or_else(|_| Err(SwitchError::Timeout { switch: self.config.name.clone(), doing }));
        if answer.is_err() {
            // Whatever hangs in this connection must not be met by the next call.
            if let Ok(mut kept) = self.connection.try_lock() {
                kept.take();
            }
        }
        match answer? {
            Err(error) => Err(self.protocol(format!("the request was not understood: {error}"))),
            Ok(Value::Array(results)) => Ok(verdict(results, operations.len())),
            Ok(other) => Err(self.protocol(format!("a transaction was answered with {other}"))),
        }
    }

    async fn read(&self, until: Instant) -> Result<Rows, SwitchError> {
        let results = self.transact(&queries(), until, "reading its ports").await?;
        let results = results.map_err(|refusal| self.rejected(refusal.to_string()))?;
        parse(&results, &self.config.bridge).map_err(|bad| match bad {
            Unreadable::NoBridge => self.rejected(format!("it has no bridge {}", self.config.bridge)),
            Unreadable::Nonsense(reason) => self.protocol(reason),
        })
    }

    /// Reads the tables at a moment at which the switch daemon has applied all it was told.
    async fn read_applied(&self, at_least: i64, until: Instant) -> Result<Rows, SwitchError> {
        let mut pause = POLL.0;
        loop {
            let rows = self.read(until).await?;
            if rows.applied >= at_least.max(rows.wanted) {
                return Ok(rows);
            }
            if Instant::now() + pause >= until {
                return Err(SwitchError::Timeout {
                    switch: self.config.name.clone(),
                    doing: "waiting for its daemon to apply the configuration",
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL.1);
        }
    }

    async fn apply(&self, wanted: &SwitchWanted) -> Result<Ensured, SwitchError> {
        let until = Instant::now() + self.deadline;
        let isolation = self.config.isolation_vlan;
        loop {
            let rows = self.read(until).await?;
            let operations = render(wanted, &rows, isolation).map_err(|reason| self.rejected(reason))?;
            if operations.is_empty() {
                // Nothing to change; but what is in the database may still be on its way to the data path.
                let seen = self.read_applied(rows.wanted, until).await?.seen(isolation);
                return Ok(Ensured { before: seen.clone(), after: seen, committed: false });
            }
            match self.transact(&operations, until, "changing its ports").await? {
                Ok(results) => {
                    let number = results.last().and_then(first_row).and_then(|row| row.get("next_cfg")).and_then(Value::as_i64);
                    let number = number.ok_or_else(|| self.protocol("it did not tell the number of the change".to_owned()))?;
                    let after = self.read_applied(number, until).await?.seen(isolation);
                    return Ok(Ensured { before: rows.seen(isolation), after, committed: true });
                }
                Err(Refusal::LostRace) if Instant::now() < until => {
                    tracing::debug!(switch.name = %self.config.name, "somebody else changed a port meanwhile, reading again");
                }
                Err(refusal) => return Err(self.rejected(refusal.to_string())),
            }
        }
    }
}

impl Switch for Ovsdb {
    fn facts(&self) -> Facts {
        FACTS
    }

    fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>> {
        Box::pin(async move {
            let rows = self.read_applied(0, Instant::now() + self.deadline).await?;
            Ok(rows.seen(self.config.isolation_vlan))
        })
    }

    fn ensure<'a>(&'a self, wanted: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>> {
        Box::pin(self.apply(wanted))
    }
}

/// Why the server did not do a transaction.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// A `wait` did not hold: a row is no longer what was read.
    LostRace,
    /// Anything else.
    Error(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::LostRace => f.write_str("others change the same ports all the time"),
            Refusal::Error(text) => f.write_str(text),
        }
    }
}

/// RFC 7047 4.1.3: one result for each operation; after the first error nulls; an error of the commit as one result more.
fn verdict(results: Vec<Value>, asked: usize) -> Result<Vec<Value>, Refusal> {
    for result in &results {
        let Some(error) = result.get("error").and_then(Value::as_str) else { continue };
        if error == "timed out" {
            return Err(Refusal::LostRace);
        }
        let details = result.get("details").and_then(Value::as_str).unwrap_or_default();
        return Err(Refusal::Error(format!("{error}: {details}")));
    }
    if results.len() != asked || results.iter().any(Value::is_null) {
        return Err(Refusal::Error("not all operations were answered".to_owned()));
    }
    Ok(results)
}

fn first_row(result: &Value) -> Option<&Value> {
    result.get("rows")?.get(0)
}

/// What a port's row says, with the columns exactly as read for the guard.
#[derive(Debug, Clone, PartialEq)]
struct PortRow {
    uuid: String,
    tag: Option<i64>,
    trunks: BTreeSet<i64>,
    vlan_mode: Option<String>,
    protected: bool,
    inner_vlans: bool,
    marked: bool,
    /// What keeps its interfaces from working, in the switch's words.
    fault: Option<String>,
    /// The guarded columns as they were read.
    raw: Value,
}

/// The columns that decide who can be reached; these are guarded and written.
const GUARDED: [&str; 6] = ["tag", "trunks", "vlan_mode", "protected", "cvlans", "external_ids"];

/// All that is read from a switch.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    /// `next_cfg`: the last change that anybody asked for.
    wanted: i64,
    /// `cur_cfg`: the last change that the switch daemon has applied.
    applied: i64,
    bridge: String,
    ports: BTreeMap<String, PortRow>,
    vlans: BTreeSet<VlanId>,
}

impl Rows {
    fn seen(&self, isolation: VlanId) -> SwitchSeen {
        let ports = self.ports.iter().map(|(name, row)| (name.clone(), PortSeen::from(row.mode(isolation)))).collect();
        SwitchSeen { ports, carried: self.vlans.clone(), ..SwitchSeen::default() }
    }
}

impl PortRow {
    /// What the port carries by its columns, whether or not its interfaces work.
    fn configured(&self, isolation: VlanId) -> SeenMode {
        let vlan = |id: i64| u16::try_from(id).ok().and_then(VlanId::new);
        // An unset mode means "access" with a tag and "trunk" without (ovs-vswitchd.conf.db(5), Port, vlan_mode).
        let kind = self.vlan_mode.as_deref().unwrap_or(if self.tag.is_some() { "access" } else { "trunk" });
        let mode = match (kind, self.tag) {
            _ if self.inner_vlans => None,
            ("access", Some(tag)) if self.trunks.is_empty() => vlan(tag).and_then(|tag| match (tag == isolation, self.protected) {
                (true, true) => Some(PortMode::Isolated),
                (false, false) => Some(PortMode::Access(tag)),
                _ => None,
            }),
            ("trunk", None) if self.trunks.iter().eq([&i64::from(NO_VLAN)]) && self.protected => Some(PortMode::tagged([])),
            ("trunk", None) if !self.trunks.is_empty() && !self.protected => {
                let vlans: Option<BTreeSet<VlanId>> = self.trunks.iter().map(|&id| vlan(id).filter(|&id| id != isolation)).collect();
                vlans.map(PortMode::tagged)
            }
            // With a native VLAN and nothing else `trunks` would mean all VLANs, so it names the native one then.
            ("native-untagged", Some(tag)) if !self.trunks.is_empty() && !self.protected => {
                let native = vlan(tag).filter(|&id| id != isolation);
                let others = self.trunks.iter().filter(|&&id| id != tag);
                let tagged: Option<BTreeSet<VlanId>> = others.map(|&id| vlan(id).filter(|&id| id != isolation)).collect();
                native.zip(tagged).map(|(native, tagged)| PortMode::Trunk { native: Some(native), tagged })
            }
            _ => None,
        };
        mode.map_or_else(|| SeenMode::Foreign(self.describe(kind)), SeenMode::Known)
    }

    /// What the port carries. A port whose interface does not work is not what was asked for, with one exception: an
    /// isolated port has nothing to carry, and an unplugged cable must not keep its machine in quarantine.
    fn mode(&self, isolation: VlanId) -> SeenMode {
        match (self.configured(isolation), &self.fault) {
            (SeenMode::Known(PortMode::Isolated), _) => SeenMode::Known(PortMode::Isolated),
            (SeenMode::Known(mode), Some(fault)) => SeenMode::Foreign(format!("{mode}, but out of order: {fault}")),
            (mode, _) => mode,
        }
    }

    fn describe(&self, kind: &str) -> String {
        let mut text = kind.to_owned();
        match self.tag {
            Some(tag) => text.push_str(&format!(" tag {tag}")),
            None if kind == "access" => text.push_str(" without tag"),
            None => {}
        }
        if !self.trunks.is_empty() {
            let list: Vec<String> = self.trunks.iter().map(i64::to_string).collect();
            text.push_str(&format!(" trunks {}", list.join(",")));
        } else if kind != "access" {
            text.push_str(" of all VLANs");
        }
        if self.inner_vlans {
            text.push_str(" with customer VLANs");
        }
        if self.protected {
            text.push_str(" protected");
        }
        text
    }
}

fn queries() -> [Value; 4] {
    let select = |table: &str, columns: &[&str]| json!({"op": "select", "table": table, "where": [], "columns": columns});
    let mut port = vec!["_uuid", "name", "interfaces"];
    port.extend(GUARDED);
    [
        select("Open_vSwitch", &["next_cfg", "cur_cfg"]),
        select("Bridge", &["name", "ports"]),
        select("Port", &port),
        select("Interface", &["_uuid", "name", "ofport", "error"]),
    ]
}

/// Why what was read cannot be used.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    NoBridge,
    Nonsense(String),
}

/// Reads the answers to [`queries`]. Pure.
fn parse(results: &[Value], bridge: &str) -> Result<Rows, Unreadable> {
    let nonsense = |what: &str| Unreadable::Nonsense(format!("cannot read {what}"));
    let rows = |nth: usize| {
        let rows = results.get(nth).and_then(|it| it.get("rows")).and_then(Value::as_array);
        rows.ok_or_else(|| nonsense("the answer to a select"))
    };
    let root = rows(0)?.first().ok_or_else(|| nonsense("the Open_vSwitch table"))?;
    let number = |column: &str| root.get(column).and_then(Value::as_i64).ok_or_else(|| nonsense(column));
    let name = |row: &Value| row.get("name").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| nonsense("a name"));

    let mut faults = BTreeMap::new();
    for row in rows(3)? {
        let uuid = row.get("_uuid").and_then(uuid).ok_or_else(|| nonsense("an interface's id"))?;
        let error = row.get("error").and_then(|it| atoms(it).into_iter().next()).and_then(Value::as_str);
        let number = row.get("ofport").and_then(|it| atoms(it).into_iter().next()).and_then(Value::as_i64);
        let fault = match (error, number) {
            (Some(error), _) if !error.is_empty() => Some(error.to_owned()),
            (_, Some(-1) | None) => Some(format!("interface {} has no port number", name(row)?)),
            _ => None,
        };
        faults.insert(uuid, fault);
    }
    let bridge_row = rows(1)?.iter().find(|row| row.get("name").and_then(Value::as_str) == Some(bridge));
    let members = bridge_row.and_then(|row| row.get("ports")).ok_or(Unreadable::NoBridge)?;
    let members: BTreeSet<String> = atoms(members).into_iter().filter_map(uuid).collect();

    let mut out = Rows {
        wanted: number("next_cfg")?,
        applied: number("cur_cfg")?,
        bridge: bridge.to_owned(),
        ports: BTreeMap::new(),
        vlans: BTreeSet::new(),
    };
    for row in rows(2)? {
        let column = |column: &str| row.get(column).ok_or_else(|| nonsense(column));
        let id = uuid(column("_uuid")?).ok_or_else(|| nonsense("a port's id"))?;
        let numbers = |name: &str| -> Result<BTreeSet<i64>, Unreadable> {
            atoms(column(name)?).into_iter().map(|it| it.as_i64().ok_or_else(|| nonsense(name))).collect()
        };
        let (tag, trunks, inner) = (numbers("tag")?, numbers("trunks")?, numbers("cvlans")?);
        out.vlans.extend(tag.iter().chain(&trunks).chain(&inner).filter_map(|&id| u16::try_from(id).ok().and_then(VlanId::new)));
        if !members.contains(&id) {
            continue;
        }
        let interfaces: Vec<String> = atoms(column("interfaces")?).into_iter().filter_map(uuid).collect();
        let mut raw = serde_json::Map::new();
        for name in GUARDED {
            raw.insert(name.to_owned(), column(name)?.clone());
        }
        let port = PortRow {
            uuid: id,
            tag: tag.first().copied(),
            trunks,
            vlan_mode: atoms(column("vlan_mode")?).first().and_then(|it| it.as_str()).map(str::to_owned),
            protected: column("protected")?.as_bool().ok_or_else(|| nonsense("protected"))?,
            inner_vlans: !inner.is_empty(),
            marked: pairs(column("external_ids")?).contains(&MARK),
            fault: interfaces.iter().find_map(|id| faults.get(id).cloned().flatten()),
            raw: Value::Object(raw),
        };
        out.ports.insert(name(row)?, port);
    }
    Ok(out)
}

/// The members of a column that is a set: `["set", […]]`, or a single atom standing for itself (RFC 7047 5.1).
fn atoms(value: &Value) -> Vec<&Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(word), Value::Array(members)]) if word == "set" => members.iter().collect(),
        _ => vec![value],
    }
}

/// The id in `["uuid", "…"]`.
fn uuid(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [Value::String(word), Value::String(id)] if word == "uuid" => Some(id.clone()),
        _ => None,
    }
}

/// The text pairs of a column that is a map: `["map", [[key, value], …]]`.
fn pairs(value: &Value) -> Vec<(&str, &str)> {
    let Some(members) = value.get(1).and_then(Value::as_array) else { return Vec::new() };
    members.iter().filter_map(|pair| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?))).collect()
}

/// The columns of a port in this mode.
fn columns(mode: &PortMode, isolation: VlanId) -> Result<serde_json::Map<String, Value>, String> {
    let none = || json!(["set", []]);
    let row = match mode {
        PortMode::Isolated => json!({"vlan_mode": "access", "tag": isolation.get(), "trunks": none(), "protected": true, "cvlans": none()}),
        PortMode::Access(vlan) if *vlan == isolation => return Err(format!("VLAN {vlan} is for isolated ports only")),
        PortMode::Access(vlan) => json!({"vlan_mode": "access", "tag": vlan.get(), "trunks": none(), "protected": false, "cvlans": none()}),
        PortMode::Trunk { .. } if mode.vlans().contains(&isolation) => return Err(format!("VLAN {isolation} is never carried on a trunk")),
        PortMode::Trunk { native: None, tagged } => {
            let ids: Vec<u16> = if tagged.is_empty() { vec![NO_VLAN] } else { tagged.iter().map(|id| id.get()).collect() };
            json!({"vlan_mode": "trunk", "tag": none(), "trunks": ["set", ids], "protected": tagged.is_empty(), "cvlans": none()})
        }
        PortMode::Trunk { native: Some(native), .. } => {
            let ids: Vec<u16> = mode.vlans().iter().map(|id| id.get()).collect();
            json!({"vlan_mode": "native-untagged", "tag": native.get(), "trunks": ["set", ids], "protected": false, "cvlans": none()})
        }
        PortMode::Member { lag } => return Err(format!("it cannot group links, as in {lag}")),
    };
    match row {
        Value::Object(row) => Ok(row),
        _ => Err("a port's columns are no object".to_owned()),
    }
}

/// What an uplink is to carry: of ours what is wanted, and what it carries for others.
fn uplink(row: Option<&PortRow>, vlans: &BTreeSet<VlanId>, managed: &Managed, isolation: VlanId) -> PortMode {
    match row.map(|row| row.configured(isolation)) {
        Some(SeenMode::Known(PortMode::Trunk { native, tagged })) => {
            let others = tagged.into_iter().filter(|vlan| !managed.contains(*vlan));
            PortMode::Trunk {
                native: native.filter(|vlan| !managed.contains(*vlan)),
                tagged: others.chain(vlans.iter().copied()).collect(),
            }
        }
        _ => PortMode::tagged(vlans.iter().copied()),
    }
}

/// Renders the operations that turn what was read into what is wanted; none if there is nothing to change. The last
/// operation reads the number of the change. Pure.
fn render(wanted: &SwitchWanted, rows: &Rows, isolation: VlanId) -> Result<Vec<Value>, String> {
    let mark = || json!(["map", [[MARK.0, MARK.1]]]);
    let guard = |row: &PortRow| {
        json!({"op": "wait", "table": "Port", "where": [["_uuid", "==", ["uuid", row.uuid]]], "columns": GUARDED,
               "until": "==", "rows": [row.raw], "timeout": 0})
    };
    let (mut guards, mut changes) = (Vec::new(), Vec::new());
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let uplinks = wanted.uplinks.iter().map(|(name, vlans)| (name, uplink(rows.ports.get(name), vlans, &wanted.managed, isolation)));
    let modes: BTreeMap<&String, PortMode> = wanted.ports.iter().map(|(name, it)| (name, it.mode.clone())).chain(uplinks).collect();
    for (nth, (name, mode)) in modes.iter().enumerate() {
        let name = *name;
        // Also checked for a port that is right already: what may never be asked for is refused every time.
        let mut new = columns(mode, isolation)?;
        match rows.ports.get(name) {
            Some(row) if row.configured(isolation) == SeenMode::Known(mode.clone()) && row.marked => {}
            Some(row) => {
                guards.push(guard(row));
                let this = json!([["_uuid", "==", ["uuid", row.uuid]]]);
                changes.push(json!({"op": "update", "table": "Port", "where": this, "row": new}));
                // Inserting does not replace the value of a key that is there.
                let mutations = json!([["external_ids", "delete", ["set", [MARK.0]]], ["external_ids", "insert", mark()]]);
                changes.push(json!({"op": "mutate", "table": "Port", "where": this, "mutations": mutations}));
            }
            None if wanted.create_missing => {
                let (interface, port) = (format!("interface{nth}"), format!("port{nth}"));
                changes.push(json!({"op": "insert", "table": "Interface", "uuid-name": interface, "row": {"name": name}}));
                new.insert("name".to_owned(), json!(name));
                new.insert("interfaces".to_owned(), json!(["named-uuid", interface]));
                new.insert("external_ids".to_owned(), mark());
                changes.push(json!({"op": "insert", "table": "Port", "uuid-name": port, "row": new}));
                added.push(json!(["named-uuid", port]));
            }
            None => {}
        }
    }
    for name in &wanted.remove {
        match rows.ports.get(name) {
            _ if wanted.ports.contains_key(name) => return Err(format!("port {name} is both wanted and to be removed")),
            None => {}
            // Not ours to remove. It stays a difference, and must not keep the other ports from being set.
            Some(row) if !row.marked => {}
            Some(row) => {
                guards.push(guard(row));
                removed.push(json!(["uuid", row.uuid]));
            }
        }
    }
    let mut mutations = Vec::new();
    if !removed.is_empty() {
        mutations.push(json!(["ports", "delete", ["set", removed]]));
    }
    if !added.is_empty() {
        mutations.push(json!(["ports", "insert", ["set", added]]));
    }
    if !mutations.is_empty() {
        changes.push(json!({"op": "mutate", "table": "Bridge", "where": [["name", "==", rows.bridge]], "mutations": mutations}));
    }
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    guards.extend(changes);
    guards.push(json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}));
    guards.push(json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}));
    Ok(guards)
}
