//! What the BMC knows of the hardware, in the form in which an agent would tell it (Source: DMTF DSP0268; ironic-python-agent's
//! inventory).

use serde_json::{Map, Value, json};

use super::Redfish;
use super::boot::mode_of;
use super::connection::links;
use crate::bmc::BmcError;

/// Most chassis, adapters and drives looked at.
const PARTS: usize = 64;

/// The numbers of chassis and port subtypes in LLDP, by Redfish's names (IEEE 802.1AB, tables 8-2 and 8-3).
const SUBTYPES: &[(&str, u8, u8)] = &[
    ("ChassisComp", 1, 0),
    ("IfAlias", 2, 1),
    ("PortComp", 3, 2),
    ("MacAddr", 4, 3),
    ("NetworkAddr", 5, 4),
    ("IfName", 6, 5),
    ("AgentId", 0, 6),
    ("LocalAssign", 7, 7),
];

/// What was heard from the other end of a cable, as pairs of type and hexadecimal content, which is how an agent tells it.
fn lldp(heard: &Value) -> Vec<Value> {
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    let subtype = |key: &str| SUBTYPES.iter().find(|it| heard[key] == it.0);
    let content = |name: &str, id: &str| match name {
        "MacAddr" => mac(&json!(id)).map(|it| it.replace(':', "")),
        "NetworkAddr" => match id.parse::<std::net::IpAddr>().ok()? {
            std::net::IpAddr::V4(ip) => Some(format!("01{}", hex(&ip.octets()))),
            std::net::IpAddr::V6(ip) => Some(format!("02{}", hex(&ip.octets()))),
        },
        _ => Some(hex(id.as_bytes())),
    };
    let mut out = Vec::new();
    if let (Some((name, number, _)), Some(id)) = (subtype("ChassisIdSubtype"), heard["ChassisId"].as_str())
        && let Some(content) = content(name, id)
    {
        out.push(json!([1, format!("{number:02x}{content}")]));
    }
    if let (Some((name, _, number)), Some(id)) = (subtype("PortIdSubtype"), heard["PortId"].as_str())
        && let Some(content) = content(name, id)
    {
        out.push(json!([2, format!("{number:02x}{content}")]));
    }
    if let Some(name) = heard["SystemName"].as_str().filter(|it| !it.is_empty()) {
        out.push(json!([5, hex(name.as_bytes())]));
    }
    out
}

/// A MAC in lower case; `None` if it is none, or that of no card.
fn mac(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim().to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = text.split(':').collect();
    let is_mac = parts.len() == 6 && parts.iter().all(|it| it.len() == 2 && it.bytes().all(|it| it.is_ascii_hexdigit()));
    (is_mac && text != "00:00:00:00:00:00").then_some(text)
}

fn architecture(set: &str) -> &'static str {
    match set {
        "x86" => "i686",
        "x86-64" => "x86_64",
        "IA-64" => "ia64",
        "ARM-A32" => "arm",
        "ARM-A64" => "aarch64",
        "PowerISA" => "ppc64le",
        "RV64" => "riscv64",
        _ => "",
    }
}

impl Redfish {
    pub(super) async fn read_inventory(&self) -> Result<Value, BmcError> {
        let system = self.conn.read(self.system().await?).await?;
        let mut inventory = Map::new();
        inventory.insert("cpu".into(), self.cpu(&system).await?);
        if let Some(gib) = system.pointer("/MemorySummary/TotalSystemMemoryGiB").and_then(Value::as_f64).filter(|it| *it > 0.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and no machine has 2^53 megabytes")]
            let mib = (gib * 1_024.0).round() as u64;
            inventory.insert("memory".into(), json!({"physical_mb": mib, "total": mib.saturating_mul(1 << 20)}));
        }
        inventory.insert("disks".into(), Value::Array(self.disks(&system).await?));
        let mut interfaces = self.interfaces(&system).await?;
        self.neighbours(&system, &mut interfaces).await?;
        inventory.insert("interfaces".into(), Value::Array(interfaces));
        let text = |key: &str| system[key].as_str().map(str::trim).filter(|it| !it.is_empty());
        let vendor =
            [("product_name", "Model"), ("serial_number", "SerialNumber"), ("manufacturer", "Manufacturer"), ("system_uuid", "UUID")];
        let vendor = vendor.into_iter().filter_map(|(name, key)| text(key).map(|it| (name.to_owned(), json!(it))));
        inventory.insert("system_vendor".into(), Value::Object(vendor.collect()));
        if let Some(mode) = mode_of(&system) {
            inventory.insert("boot".into(), json!({"current_boot_mode": mode.as_str()}));
        }
        if let Some(name) = text("HostName") {
            inventory.insert("hostname".into(), json!(name));
        }
        Ok(Value::Object(inventory))
    }

    async fn cpu(&self, system: &Value) -> Result<Value, BmcError> {
        let processors = self.conn.each(system, "Processors").await?;
        let cpus: Vec<&Value> = processors.iter().filter(|it| it["ProcessorType"].as_str().is_none_or(|it| it == "CPU")).collect();
        let threads: u64 = cpus.iter().filter_map(|it| it["TotalThreads"].as_u64()).sum();
        let summary = &system["ProcessorSummary"];
        let count = [Some(threads).filter(|it| *it > 0), summary["LogicalProcessorCount"].as_u64(), summary["Count"].as_u64()];
        let first = cpus.first().copied().cloned().unwrap_or_default();
        let mut cpu = json!({
            "count": count.into_iter().flatten().next().unwrap_or(0),
            "architecture": first["InstructionSet"].as_str().map_or("", architecture),
            "flags": [],
        });
        if let Some(model) = first["Model"].as_str().or(summary["Model"].as_str()) {
            cpu["model_name"] = json!(model.trim());
        }
        if let Some(mhz) = first["MaxSpeedMHz"].as_u64() {
            cpu["frequency"] = json!(mhz.to_string());
        }
        Ok(cpu)
    }

    async fn disks(&self, system: &Value) -> Result<Vec<Value>, BmcError> {
        let mut disks = Vec::new();
        for storage in self.conn.each(system, "Storage").await? {
            for path in links(&storage["Drives"]) {
                if disks.len() >= PARTS {
                    return Ok(disks);
                }
                let Some(drive) = self.conn.maybe(&path).await? else { continue };
                let Some(size) = drive["CapacityBytes"].as_u64().filter(|it| *it > 0) else { continue };
                let names = drive["Identifiers"].as_array();
                let wwn = names.into_iter().flatten().find(|it| it["DurableNameFormat"] == "NAA").and_then(|it| it["DurableName"].as_str());
                let mut disk = json!({
                    "name": drive["Name"],
                    "model": drive["Model"],
                    "size": size,
                    "rotational": drive["MediaType"].as_str().map(|it| it == "HDD"),
                    "vendor": drive["Manufacturer"],
                    "serial": drive["SerialNumber"],
                });
                if let Some(wwn) = wwn {
                    disk["wwn"] = json!(format!("0x{}", wwn.trim_start_matches("0x").to_ascii_lowercase()));
                }
                disks.push(disk);
            }
        }
        if disks.is_empty() {
            for storage in self.conn.each(system, "SimpleStorage").await? {
                for device in storage["Devices"].as_array().into_iter().flatten().take(PARTS) {
                    if let Some(size) = device["CapacityBytes"].as_u64().filter(|it| *it > 0) {
                        let (name, model, vendor) = (&device["Name"], &device["Model"], &device["Manufacturer"]);
                        disks.push(json!({"name": name, "model": model, "size": size, "vendor": vendor}));
                    }
                }
            }
        }
        Ok(disks)
    }

    async fn interfaces(&self, system: &Value) -> Result<Vec<Value>, BmcError> {
        let mut out: Vec<Value> = Vec::new();
        for card in self.conn.each(system, "EthernetInterfaces").await? {
            let Some(address) = mac(&card["MACAddress"]).or_else(|| mac(&card["PermanentMACAddress"])) else { continue };
            if out.iter().any(|it| it["mac_address"] == address.as_str()) {
                continue;
            }
            let has_carrier = card["LinkStatus"].as_str().map(|it| it == "LinkUp");
            let mut shown = json!({"mac_address": address, "name": card["Id"], "has_carrier": has_carrier});
            if let Some(speed) = card["SpeedMbps"].as_u64().filter(|it| *it > 0) {
                shown["speed_mbps"] = json!(speed);
            }
            out.push(shown);
        }
        if !out.is_empty() {
            return Ok(out);
        }
        // Machines that are off, and some that are on, know their cards only as parts of the chassis.
        for path in links(&system["Links"]["Chassis"]) {
            let chassis = self.conn.maybe(&path).await?.unwrap_or_default();
            for adapter in self.conn.each(&chassis, "NetworkAdapters").await? {
                for function in self.conn.each(&adapter, "NetworkDeviceFunctions").await? {
                    let Some(address) = mac(&function["Ethernet"]["MACAddress"]) else { continue };
                    if out.len() < PARTS && !out.iter().any(|it| it["mac_address"] == address.as_str()) {
                        out.push(json!({"mac_address": address, "name": function["Id"], "vendor": adapter["Manufacturer"]}));
                    }
                }
            }
        }
        Ok(out)
    }

    /// Adds what the cards hear of the switches they are cabled to, where the BMC knows.
    async fn neighbours(&self, system: &Value, interfaces: &mut [Value]) -> Result<(), BmcError> {
        for path in links(&system["Links"]["Chassis"]).into_iter().take(PARTS) {
            let chassis = self.conn.maybe(&path).await?.unwrap_or_default();
            for adapter in self.conn.each(&chassis, "NetworkAdapters").await?.into_iter().take(PARTS) {
                for port in self.conn.each(&adapter, "Ports").await?.into_iter().take(PARTS) {
                    let heard = lldp(&port["Ethernet"]["LLDPReceive"]);
                    let macs = port["Ethernet"]["AssociatedMACAddresses"].as_array();
                    let macs: Vec<String> = macs.into_iter().flatten().filter_map(mac).collect();
                    let of = |it: &&mut Value| macs.iter().any(|mac| it["mac_address"] == mac.as_str());
                    if let (false, Some(interface)) = (heard.is_empty(), interfaces.iter_mut().find(of)) {
                        interface["lldp"] = Value::Array(heard);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_normal_or_none() {
        assert_eq!(mac(&json!("AA-BB-CC-DD-EE-01")).as_deref(), Some("aa:bb:cc:dd:ee:01"));
        for bad in [json!("00:00:00:00:00:00"), json!(""), json!(null), json!("aa:bb:cc:dd:ee"), json!("aa:bb:cc:dd:ee:0g")] {
            assert_eq!(mac(&bad), None, "{bad}");
        }
    }
    #[test]
    fn neighbours_are_told_as_an_agent_does() {
        let heard = lldp(&json!({"ChassisIdSubtype": "MacAddr", "ChassisId": "AA:BB:CC:00:00:01", "PortIdSubtype": "IfName",
            "PortId": "swp1", "SystemName": "leaf"}));
        assert_eq!(heard, [json!([1, "04aabbcc000001"]), json!([2, "0573777031"]), json!([5, "6c656166"])]);
        let by_address = lldp(&json!({"ChassisIdSubtype": "NetworkAddr", "ChassisId": "10.0.0.1"}));
        assert_eq!(by_address, [json!([1, "05010a000001"])]);
        assert!(lldp(&json!({"ChassisIdSubtype": "NotTransmitted", "ChassisId": ""})).is_empty());
    }
}
