//! What the machine is made of, in the shape of ironic-python-agent's inventory (`hardware.py`: `list_hardware_info`).

use std::path::Path;

use serde_json::{Value, json};

use super::interface;

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn interfaces(booted: &str) -> Vec<Value> {
    let all = interface::list().unwrap_or_else(|error| {
        tracing::warn!(error = super::failure::chain(&error), "the inventory lacks interfaces");
        Vec::new()
    });
    all.iter()
        .filter(|it| !it.loopback || it.name == booted)
        .map(|it| {
            let device = Path::new("/sys/class/net").join(&it.name).join("device");
            json!({
                "name": it.name,
                "mac_address": it.mac_text(),
                "ipv4_address": it.address,
                "ipv6_address": null,
                "has_carrier": it.carrier,
                "lldp": null,
                "vendor": read(device.join("vendor")),
                "product": read(device.join("device")),
                "client_id": null,
                "biosdevname": null,
            })
        })
        .collect()
}

fn disks(device: &Path) -> Vec<Value> {
    // Of the whole machine only the device to deploy to: no other is written, so no other is offered.
    let Ok(disk) = super::disk::Disk::open(device) else { return Vec::new() };
    let name = device.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let queue = Path::new("/sys/block").join(&name).join("queue");
    vec![json!({
        "name": device.display().to_string(),
        "model": read(Path::new("/sys/block").join(&name).join("device/model")),
        "size": disk.size(),
        "rotational": read(queue.join("rotational")).is_some_and(|it| it == "1"),
        "wwn": null,
        "serial": read(Path::new("/sys/block").join(&name).join("serial")),
        "vendor": read(Path::new("/sys/block").join(&name).join("device/vendor")),
        "logical_sectors": read(queue.join("logical_block_size")).and_then(|it| it.parse::<u64>().ok()),
    })]
}

fn memory() -> Value {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    json!({ "total": total.map(|kib| kib * 1024), "physical_mb": total.map(|kib| kib / 1024) })
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
    })
}

/// The inventory. `booted` is the interface the agent uses. Blocking, quick.
pub fn inventory(device: &Path, booted: &interface::Interface) -> Value {
    let efi = Path::new("/sys/firmware/efi").exists();
    let dmi = |name: &str| read(Path::new("/sys/class/dmi/id").join(name));
    json!({
        "interfaces": interfaces(&booted.name),
        "disks": disks(device),
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
        let inventory = inventory(disk.path(), &lo);
        assert_eq!(inventory["disks"][0]["size"], 8 << 20);
        assert!(inventory["memory"]["total"].as_u64().unwrap() > 0);
        assert!(inventory["cpu"]["count"].as_u64().unwrap() > 0);
        assert_eq!(inventory["boot"]["pxe_interface"], "00:00:00:00:00:00");
        let found = inventory["interfaces"].as_array().unwrap().iter().find(|it| it["name"] == "lo").unwrap();
        assert_eq!((&found["mac_address"], &found["lldp"]), (&json!("00:00:00:00:00:00"), &Value::Null));
    }

    #[test]
    fn sizes_in_meminfo_are_kibibytes() {
        assert_eq!(kilobytes("MemTotal:       16384 kB\nMemFree: 1 kB", "MemTotal:"), Some(16384));
        assert_eq!(kilobytes("MemTotal: ? kB", "MemTotal:"), None);
    }
}
