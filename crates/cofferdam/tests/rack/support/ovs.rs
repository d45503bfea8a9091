//! What the switches' own databases say, read by Open vSwitch's own program and not by our driver.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{run, run_anyway};

/// Where a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub tag: Option<u16>,
    /// `access`, `trunk`, or nothing.
    pub mode: String,
    pub trunks: Vec<u16>,
}

fn command(database: &str) -> Command {
    let mut command = Command::new("ovs-vsctl");
    command.args(["--timeout=5", "--no-wait"]).arg(format!("--db={database}"));
    command
}

/// All ports of a switch; the error says why it cannot be read.
pub fn ports(database: &str) -> Result<BTreeMap<String, Seen>, String> {
    let output = run_anyway(command(database).args(["--format=json", "--columns=name,tag,vlan_mode,trunks", "list", "Port"]));
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let table: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let rows = table["data"].as_array().ok_or("no rows")?;
    Ok(rows
        .iter()
        .map(|row| {
            let seen = Seen {
                tag: numbers(&row[1]).first().copied(),
                mode: row[2].as_str().unwrap_or_default().to_owned(),
                trunks: numbers(&row[3]),
            };
            (row[0].as_str().unwrap().to_owned(), seen)
        })
        .collect())
}

/// An OVSDB value: one number, or `["set", […]]`.
fn numbers(value: &Value) -> Vec<u16> {
    let number = |it: &Value| u16::try_from(it.as_u64().unwrap()).unwrap();
    if value.is_number() { vec![number(value)] } else { value[1].as_array().unwrap().iter().map(number).collect() }
}

/// Moves a port by hand.
pub fn set_tag(database: &str, port: &str, tag: u16) {
    run(command(database).args(["set", "Port", port, &format!("tag={tag}")]));
}
