//! What an agent finds of its machine, in the form of ironic-python-agent's `hardware.py` and `inspector.py`.

use serde_json::{Value, json};

use crate::fleet::documents;
use crate::fleet::machine::Machine;

/// The name of the card.
const CARD: &str = "eth0";

/// The inventory.
pub(crate) fn inventory(machine: &Machine) -> Value {
    let memory_mb = documents::MEMORY_GIB * 1024;
    let (legacy, serial) = (machine.lock().is_legacy, documents::serial(machine));
    json!({
        "interfaces": [{
            "name": CARD,
            "mac_address": machine.mac,
            "ipv4_address": machine.address.to_string(),
            "ipv6_address": null,
            "has_carrier": true,
            "lldp": lldp(machine),
            "vendor": "0x15b3",
            "product": "0x1017",
            "client_id": null,
            "biosdevname": null,
            "speed_mbps": 25_000,
            "pci_address": "0000:03:00.0",
            "driver": "mlx5_core",
        }],
        "cpu": {
            "model_name": "Fake CPU",
            "frequency": "2400.0000",
            "count": documents::CPUS,
            "architecture": "x86_64",
            "flags": ["fpu", "vmx", "aes"],
            "socket_count": 1,
        },
        "disks": [{
            "name": "/dev/sda",
            "model": "Fake disk",
            "size": documents::DISK_GB * 1_000_000_000,
            "rotational": false,
            "wwn": format!("0x{}", serial.to_lowercase()),
            "serial": format!("D{serial}"),
            "vendor": "Fleet",
            "wwn_with_extension": null,
            "wwn_vendor_extension": null,
            "hctl": "0:0:0:0",
            "by_path": "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
            "logical_sectors": 512,
            "physical_sectors": 4096,
            "tran": "sata",
        }],
        "memory": {"total": memory_mb * 1024 * 1024, "physical_mb": memory_mb},
        "bmc_address": machine.address.to_string(),
        "bmc_v6address": "::/0",
        "system_vendor": {
            "product_name": "Fake machine",
            "serial_number": serial,
            "manufacturer": "Fleet",
            "firmware": {"vendor": "Fleet", "version": documents::BIOS_VERSION, "build_date": "01/01/2026"},
        },
        "boot": {"current_boot_mode": if legacy { "bios" } else { "uefi" }, "pxe_interface": machine.mac},
        "hostname": machine.name,
    })
}

/// What is sent to be inspected.
pub(crate) fn inspection(machine: &Machine) -> Value {
    let inventory = inventory(machine);
    let root_disk = inventory["disks"][0].clone();
    json!({
        "inventory": inventory,
        "root_disk": root_disk,
        "boot_interface": machine.mac,
        "configuration": {"collectors": ["default", "logs"], "managers": [{"name": super::steps::MANAGER, "version": super::steps::MANAGER_VERSION}]},
        "lldp_raw": {CARD: lldp(machine)},
        "error": null,
    })
}

/// What the switch says of itself: pairs of type and hexadecimal value (IEEE 802.1AB, 8.4 and 8.5).
fn lldp(machine: &Machine) -> Value {
    let (switch, port, name) = machine.cable();
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    json!([
        // Chassis id of subtype 4, a MAC address.
        [1, format!("04{}", switch.replace(':', ""))],
        // Port id of subtype 5, an interface's name.
        [2, format!("05{}", hex(port.as_bytes()))],
        [3, "0078"],
        [5, hex(name.as_bytes())],
    ])
}
