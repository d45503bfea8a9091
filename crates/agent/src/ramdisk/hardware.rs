//! What the machine is made of, in the shape of ironic-python-agent's inventory (`hardware.py`: `list_hardware_info`).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::lldp::{self, Heard};
use super::{disks, interface};

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn interfaces(booted: &str, heard: &Heard) -> Vec<Value> {
    let all = interface::list().unwrap_or_else(|error| {
        tracing::warn!(error = super::failure::chain(&error), "the inventory lacks interfaces");
        Vec::new()
    });
    all.iter()
        .filter(|it| !it.loopback || it.name == booted)
        .map(|it| {
            let class = Path::new("/sys/class/net").join(&it.name);
            let device = class.join("device");
            let linked = |path: &Path| std::fs::read_link(path).ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
            json!({
                "name": it.name,
                "mac_address": it.mac_text(),
                "ipv4_address": it.address,
                "ipv6_address": it.address6,
                "has_carrier": it.carrier,
                "lldp": heard.get(&it.name).filter(|tlvs| !tlvs.is_empty()).map(|tlvs| lldp::json(tlvs)),
                "vendor": read(device.join("vendor")),
                "product": read(device.join("device")),
                "client_id": null,
                "biosdevname": null,
                // The kernel writes -1 for a link that does not know.
                "speed_mbps": read(class.join("speed")).and_then(|it| it.parse::<u32>().ok()),
                "pci_address": linked(&device),
                "driver": linked(&device.join("driver")),
            })
        })
        .collect()
}

fn memory() -> Value {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    json!({ "total": total.map(|kib| kib * 1024), "physical_mb": modules().or_else(|| total.map(|kib| kib / 1024)) })
}

/// Memory that is plugged in, in MiB, as the firmware lists it (the kernel keeps some for itself); `None` without a list.
fn modules() -> Option<u64> {
    let entries = std::fs::read_dir("/sys/firmware/dmi/entries").ok()?;
    let devices = entries.filter_map(Result::ok).filter(|it| it.file_name().to_string_lossy().starts_with("17-"));
    let total: u64 = devices.filter_map(|it| module(&std::fs::read(it.path().join("raw")).ok()?)).sum();
    (total > 0).then_some(total)
}

/// Size of one memory device, in MiB (DMTF DSP0134, SMBIOS, 7.18).
fn module(raw: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u16::from_le_bytes(raw.get(at..at + 2)?.try_into().ok()?));
    match word(0x0c)? {
        // Unknown.
        0xffff => None,
        // Too large for this field.
        0x7fff => raw.get(0x1c..0x20).and_then(|it| Some(u64::from(u32::from_le_bytes(it.try_into().ok()?) & 0x7fff_ffff))),
        size if size & 0x8000 != 0 => Some(u64::from(size & 0x7fff) / 1024),
        size => Some(u64::from(size)),
    }
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn processors() -> Value {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        text.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key)).map(|(_, it)| it.trim().to_owned())
    };
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let flags: Vec<String> =
        field("flags").or_else(|| field("Features")).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    json!({
        "count": count,
        "architecture": std::env::consts::ARCH,
        "model_name": field("model name"),
        "frequency": field("cpu MHz"),
        "flags": flags,
        "socket_count": sockets(&text),
    })
}

fn sockets(cpuinfo: &str) -> Option<usize> {
    let ids =
        cpuinfo.lines().filter_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == "physical id").map(|it| it.1.trim()));
    let ids: std::collections::BTreeSet<&str> = ids.collect();
    (!ids.is_empty()).then_some(ids.len())
}

/// The inventory of a machine with `disks`. `booted` is the interface the agent uses; `heard` holds its neighbours. Blocking, quick.
pub fn inventory(disks: &[PathBuf], booted: &interface::Interface, heard: &Heard) -> Value {
    let efi = Path::new("/sys/firmware/efi").exists();
    let dmi = |name: &str| read(Path::new("/sys/class/dmi/id").join(name));
    json!({
        "interfaces": interfaces(&booted.name, heard),
        "disks": disks.iter().filter_map(|it| disks::describe(it)).collect::<Vec<_>>(),
        "memory": memory(),
        "cpu": processors(),
        "boot": { "current_boot_mode": if efi { "uefi" } else { "bios" }, "pxe_interface": booted.mac_text() },
        "bmc_address": null,
        "bmc_v6address": null,
        "hostname": nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()),
        "system_vendor": {
            "product_name": dmi("product_name"),
            "serial_number": dmi("product_serial"),
            "manufacturer": dmi("sys_vendor"),
            "firmware": { "vendor": dmi("bios_vendor"), "version": dmi("bios_version"), "build_date": dmi("bios_date") },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_names_what_the_control_plane_asks_for() {
        let disk = super::super::disk::tests::blank(8);
        let lo = interface::choose(&interface::list().unwrap(), Some("lo"), None).unwrap();
        let heard = Heard::from([("lo".to_owned(), vec![(3, vec![0, 120])])]);
        let inventory = inventory(&[disk.path().to_owned()], &lo, &heard);
        assert_eq!(inventory["disks"][0]["size"], 8 << 20);
        assert!(inventory["memory"]["total"].as_u64().unwrap() > 0);
        assert!(inventory["cpu"]["count"].as_u64().unwrap() > 0);
        assert_eq!(inventory["boot"]["pxe_interface"], "00:00:00:00:00:00");
        let found = inventory["interfaces"].as_array().unwrap().iter().find(|it| it["name"] == "lo").unwrap();
        assert_eq!((&found["mac_address"], &found["lldp"]), (&json!("00:00:00:00:00:00"), &json!([[3, "0078"]])));
    }

    #[test]
    fn memory_modules_are_read_in_their_three_forms() {
        let of = |size: [u8; 2], extended: u32| {
            let mut raw = vec![0; 0x20];
            raw[0x0c..0x0e].copy_from_slice(&size);
            raw[0x1c..].copy_from_slice(&extended.to_le_bytes());
            raw
        };
        assert_eq!(module(&of([0, 0x40], 0)), Some(16384));
        assert_eq!(module(&of([0xff, 0x7f], 65536)), Some(65536));
        assert_eq!(module(&of([0, 0x84], 0)), Some(1));
        assert_eq!(module(&of([0xff, 0xff], 0)), None);
        assert_eq!(module(&[0; 5]), None);
    }

    #[test]
    fn sizes_in_meminfo_are_kibibytes() {
        assert_eq!(kilobytes("MemTotal:       16384 kB\nMemFree: 1 kB", "MemTotal:"), Some(16384));
        assert_eq!(kilobytes("MemTotal: ? kB", "MemTotal:"), None);
    }
}
