//! The machine's disks, and which of them an operator means.
//!
//! Source: ironic-python-agent, `hardware.py` (`list_block_devices`) and `device_hints.py`; kernel, `Documentation/ABI/stable/sysfs-block`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::disk::Disk;

/// A disk must be as large to deploy to without being named, in bytes (as in ironic-python-agent).
const SMALLEST: u64 = 4 << 30;
/// Kinds of block devices that are no disks: CD drives, floppies, and the boot areas of flash chips.
const OTHERS: [&str; 3] = ["sr", "fd", "mtd"];

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// All disks of the machine by name. Only what hardware stands behind: no loop devices, no volumes. Removable and read-only
/// media are left out.
pub fn all() -> Vec<PathBuf> {
    let root = Path::new("/sys/block");
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            let flag = |file: &str| read(root.join(name).join(file)).is_some_and(|it| it == "1");
            let boot_area = name.contains("boot") || name.contains("rpmb");
            root.join(name).join("device").exists()
                && !OTHERS.iter().any(|other| name.starts_with(other))
                && !boot_area
                && !flag("removable")
                && !flag("ro")
                && read(root.join(name).join("size")).is_some_and(|it| it != "0")
        })
        // The kernel writes "!" where a device's name has "/".
        .map(|name| Path::new("/dev").join(name.replace('!', "/")))
        .collect();
    found.sort();
    found
}

/// What is known of a disk, in the form of the inventory; `None` if it cannot be opened.
pub fn describe(device: &Path) -> Option<Value> {
    let size = Disk::size_of(device).ok()?;
    let name = device.strip_prefix("/dev").ok().map(|it| it.display().to_string().replace('/', "!")).unwrap_or_default();
    let block = Path::new("/sys/block").join(&name);
    // A file that stands for a disk has no entry, whatever it is called.
    let of = |file: &str| if Disk::is_block(device) { read(block.join(file)) } else { None };
    let number = |file: &str| of(file).and_then(|it| it.parse::<u64>().ok());
    let target = std::fs::canonicalize(block.join("device")).ok().filter(|_| Disk::is_block(device));
    let address = target.as_deref().and_then(Path::file_name).map(|it| it.to_string_lossy().into_owned());
    let transport = match name.as_str() {
        it if it.starts_with("nvme") => Some("nvme"),
        it if it.starts_with("vd") => Some("virtio"),
        _ => None,
    };
    Some(json!({
        "name": device.display().to_string(),
        "model": of("device/model"),
        "size": size,
        "rotational": of("queue/rotational").is_some_and(|it| it == "1"),
        "wwn": of("wwid").or_else(|| of("device/wwid")),
        "serial": of("serial").or_else(|| of("device/serial")),
        "vendor": of("device/vendor"),
        "wwn_with_extension": null,
        "wwn_vendor_extension": null,
        // Of a SCSI disk the directory is called by host, channel, target and unit.
        "hctl": address.filter(|it| it.matches(':').count() == 3),
        "by_path": by_path(device),
        "logical_sectors": number("queue/logical_block_size"),
        "physical_sectors": number("queue/physical_block_size"),
        "tran": transport,
    }))
}

fn by_path(device: &Path) -> Option<String> {
    let links = std::fs::read_dir("/dev/disk/by-path").ok()?;
    links
        .filter_map(|it| Some(it.ok()?.path()))
        .find(|it| std::fs::canonicalize(it).is_ok_and(|to| to == device))
        .map(|it| it.display().to_string())
}

/// Whether a disk, as [`describe`] gives it, is the one that `hints` describe: all of them must hold. Unknown hints never do.
pub fn matches(disk: &Value, hints: &Map<String, Value>) -> bool {
    !hints.is_empty()
        && hints.iter().all(|(key, wanted)| match key.as_str() {
            // Hints give whole GiB.
            "size" => disk["size"].as_u64().is_some_and(|bytes| compare(&(bytes >> 30).to_string(), wanted)),
            "rotational" => disk["rotational"].as_bool().is_some_and(|it| {
                wanted.as_bool().or_else(|| truth(wanted.as_str().unwrap_or_default().trim_start_matches("<is>").trim())) == Some(it)
            }),
            "name" | "model" | "vendor" | "serial" | "wwn" | "hctl" | "by_path" | "wwn_with_extension" | "wwn_vendor_extension" => {
                disk[key].as_str().is_some_and(|it| compare(it, wanted))
            }
            _ => false,
        })
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Compares as the operators of hints say; without one, texts and numbers must be equal.
fn compare(have: &str, wanted: &Value) -> bool {
    let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned).to_ascii_lowercase();
    let have = have.to_ascii_lowercase();
    let (operator, operand) = wanted.trim().split_once(char::is_whitespace).unwrap_or(("", wanted.as_str()));
    let operand = operand.trim();
    let numbers = || Some((have.parse::<f64>().ok()?, operand.parse::<f64>().ok()?));
    let numeric = |holds: fn(f64, f64) -> bool| numbers().is_some_and(|(a, b)| holds(a, b));
    match operator {
        "=" | ">=" => numeric(|a, b| a >= b),
        "==" => numeric(|a, b| (a - b).abs() < f64::EPSILON),
        "!=" => numeric(|a, b| (a - b).abs() >= f64::EPSILON),
        "<=" => numeric(|a, b| a <= b),
        ">" => numeric(|a, b| a > b),
        "<" => numeric(|a, b| a < b),
        "s==" => have == operand,
        "s!=" => have != operand,
        "s>=" => have.as_str() >= operand,
        "s>" => have.as_str() > operand,
        "s<=" => have.as_str() <= operand,
        "s<" => have.as_str() < operand,
        "<in>" => have.contains(operand),
        "<all-in>" => operand.split("<all-in>").map(str::trim).all(|it| have.contains(it)),
        "<or>" => operand.split("<or>").map(str::trim).any(|it| it == have),
        _ => have == wanted.trim(),
    }
}

/// The disk to deploy to among `disks`: the one the node's hints describe or, without hints, the smallest of at least 4 GiB.
///
/// # Errors
/// Says which disks there were.
pub fn choose(disks: &[Value], hints: Option<&Map<String, Value>>) -> Result<PathBuf, String> {
    let size = |disk: &&Value| disk["size"].as_u64().unwrap_or(0);
    let found = match hints {
        Some(hints) => disks.iter().filter(|it| matches(it, hints)).min_by_key(size),
        None => disks.iter().filter(|it| size(it) >= SMALLEST).min_by_key(size),
    };
    found.and_then(|it| it["name"].as_str()).map(PathBuf::from).ok_or_else(|| {
        let names: Vec<String> = disks.iter().map(|it| format!("{} ({} bytes)", it["name"].as_str().unwrap_or("?"), size(&it))).collect();
        let wanted = if hints.is_some() { "matches the node's root device hints" } else { "is 4 GiB or larger" };
        format!("no disk {wanted} among: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks() -> Vec<Value> {
        vec![
            json!({"name": "/dev/sda", "size": 500_u64 << 30, "serial": "S1", "model": "Big Disk", "rotational": true, "wwn": null}),
            json!({"name": "/dev/nvme0n1", "size": 100_u64 << 30, "serial": "N1", "model": "Fast", "rotational": false, "wwn": "eui.1"}),
            json!({"name": "/dev/sdb", "size": 1_u64 << 30, "serial": "U1", "model": "Stick", "rotational": false, "wwn": null}),
        ]
    }

    #[test]
    fn the_smallest_that_is_large_enough_is_taken_unless_hints_say_otherwise() {
        assert_eq!(choose(&disks(), None).unwrap(), Path::new("/dev/nvme0n1"));
        for (hints, expected) in [
            (json!({"serial": "s1"}), "/dev/sda"),
            (json!({"size": 500}), "/dev/sda"),
            (json!({"size": ">= 200"}), "/dev/sda"),
            (json!({"size": "< 50"}), "/dev/sdb"),
            (json!({"rotational": "<is> true"}), "/dev/sda"),
            (json!({"rotational": false}), "/dev/sdb"),
            (json!({"model": "<in> disk"}), "/dev/sda"),
            (json!({"model": "s== fast", "size": "== 100"}), "/dev/nvme0n1"),
            (json!({"name": "<or> /dev/vda <or> /dev/sdb"}), "/dev/sdb"),
        ] {
            assert_eq!(choose(&disks(), hints.as_object()).unwrap(), Path::new(expected), "{hints}");
        }
        for hints in [json!({"serial": "other"}), json!({"wwn": "eui.1", "size": 500}), json!({"colour": "red"}), json!({})] {
            assert!(choose(&disks(), hints.as_object()).unwrap_err().contains("hints"), "{hints}");
        }
        assert!(choose(&disks()[2..], None).unwrap_err().contains("/dev/sdb"));
    }

    #[test]
    fn a_file_that_stands_for_a_disk_has_a_size_and_no_maker() {
        let file = super::super::disk::tests::blank(8);
        let found = describe(file.path()).unwrap();
        assert_eq!((&found["size"], &found["model"], &found["serial"]), (&json!(8 << 20), &Value::Null, &Value::Null));
        assert!(describe(Path::new("/nonexistent")).is_none());
    }
}
