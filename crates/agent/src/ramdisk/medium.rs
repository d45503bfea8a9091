//! The virtual medium that the machine booted from: parameters that the kernel's line has no room for, and an address for machines
//! on networks without DHCP.
//!
//! Source: ECMA-119 (ISO 9660), 8 and 9; Joliet Specification (1995); ironic-python-agent, `utils.py` (`_get_vmedia_params`);
//! OpenStack, "network_data.json" (nova, `doc/api_schemas/network_data.json`).

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

const SECTOR: u64 = 2048;
/// Descriptors looked at; a medium has three or four.
const DESCRIPTORS: u64 = 16;
/// Largest folder or file read, in bytes.
const MAX_READ: u32 = 1 << 20;
/// What Ironic, and this project's control plane, call media of their making.
const LABELS: [&str; 3] = ["VMEDIA_BOOT_ISO", "CONFIG-2", "IR-VFD-DEV"];

/// An address that stands on a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// Hardware address of the interface it is for, lower case with colons.
    pub mac: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// The default router.
    pub router: Option<Ipv4Addr>,
}

/// What a medium says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Medium {
    /// Further kernel arguments, which count more than the kernel's own. May hold the token: never logged.
    pub parameters: Option<String>,
    /// Addresses of the machine's interfaces.
    pub addresses: Vec<Static>,
}

/// Looks for the medium the machine booted from. Only optical and other removable drives are looked at: what stands on a disk was
/// written by the last tenant. Blocking, quick.
pub fn find() -> Option<Medium> {
    let drives = std::fs::read_dir("/sys/block").ok()?.filter_map(|it| it.ok()?.file_name().into_string().ok());
    let removable = |name: &String| {
        let flag = std::fs::read_to_string(Path::new("/sys/block").join(name).join("removable"));
        name.starts_with("sr") || flag.is_ok_and(|it| it.trim() == "1")
    };
    let mut drives: Vec<PathBuf> = drives.filter(removable).map(|name| Path::new("/dev").join(name)).collect();
    drives.sort();
    drives.iter().find_map(|drive| match read(drive) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(drive = %drive.display(), %error, "no medium to read");
            None
        }
    })
}

/// Reads a medium; `None` if it is none of ours.
fn read(drive: &Path) -> io::Result<Option<Medium>> {
    let Some(disc) = Disc::open(drive)? else { return Ok(None) };
    tracing::info!(drive = %drive.display(), "found a virtual medium");
    let text = |path: &str| disc.file(path).map(|it| it.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    let network = text("openstack/latest/network_data.json")?.and_then(|it| serde_json::from_str::<Value>(&it).ok());
    Ok(Some(Medium { parameters: text("parameters.txt")?, addresses: network.map(|it| addresses(&it)).unwrap_or_default() }))
}

/// The tree of an ISO 9660 image.
struct Disc {
    file: File,
    /// First sector and size in bytes of the root folder.
    root: (u32, u32),
    /// Whether names are of 16-bit characters, and as they were given.
    joliet: bool,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl Disc {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let (mut found, mut ours) = (None, false);
        let mut sector = [0_u8; 2048];
        for at in 16..16 + DESCRIPTORS {
            file.read_exact_at(&mut sector, at * SECTOR)?;
            if sector.get(1..6) != Some(b"CD001") {
                break;
            }
            let escape = sector.get(88..91).unwrap_or_default();
            let joliet = [b"%/@", b"%/C", b"%/E"].iter().any(|it| *it == escape);
            let label = sector.get(40..72).unwrap_or_default();
            match sector.first() {
                Some(1) => {}
                Some(2) if joliet => {}
                Some(255) => break,
                _ => continue,
            }
            let label: String = if joliet { wide(label) } else { String::from_utf8_lossy(label).into_owned() };
            ours |= LABELS.contains(&label.trim_matches([' ', '\0']).to_uppercase().as_str());
            let root = sector.get(156..190).and_then(|it| Some((number(it, 2)?, number(it, 10)?)));
            // The tree with whole names is the better one.
            if let Some(root) = root.filter(|_| found.is_none() || joliet) {
                found = Some((root, joliet));
            }
        }
        Ok(found.filter(|_| ours).map(|(root, joliet)| Self { file, root, joliet }))
    }

    fn extent(&self, (sector, size): (u32, u32)) -> io::Result<Vec<u8>> {
        let size = usize::try_from(size.min(MAX_READ)).unwrap_or_default();
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, u64::from(sector) * SECTOR)?;
        Ok(bytes)
    }

    /// A file's content; `None` if there is no such file.
    fn file(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut at = self.root;
        for name in path.split('/') {
            let folder = self.extent(at)?;
            let Some(next) = self.entry(&folder, name) else { return Ok(None) };
            at = next;
        }
        self.extent(at).map(Some)
    }

    fn entry(&self, folder: &[u8], wanted: &str) -> Option<(u32, u32)> {
        // No entry crosses the border of a sector.
        folder.chunks(2048).find_map(|mut rest| {
            while let Some(length) = rest.first().map(|it| usize::from(*it)).filter(|it| *it > 33) {
                let (entry, next) = rest.split_at_checked(length)?;
                let count = entry.get(32).map_or(0, |it| usize::from(*it));
                let name = entry.get(33..33 + count).unwrap_or_default();
                let name = if self.joliet { wide(name) } else { String::from_utf8_lossy(name).into_owned() };
                let name = name.split(';').next().unwrap_or_default();
                if name.eq_ignore_ascii_case(wanted) {
                    return Some((number(entry, 2)?, number(entry, 10)?));
                }
                rest = next;
            }
            None
        })
    }
}

fn wide(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|it| u16::from_be_bytes(*it))).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The IPv4 addresses of plain interfaces. Bonds and VLANs are left out: a ramdisk has none.
fn addresses(data: &Value) -> Vec<Static> {
    let list = |key: &str| data.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |it: &Value, key: &str| it.get(key).and_then(Value::as_str).map(str::to_owned);
    let one = |network: &Value| {
        text(network, "type").filter(|it| it == "ipv4")?;
        let link = network.get("link")?;
        let link = list("links").iter().find(|it| it.get("id") == Some(link))?;
        if text(link, "type").is_some_and(|it| matches!(it.as_str(), "bond" | "vlan")) {
            return None;
        }
        let address = text(network, "ip_address")?;
        let (address, prefix) = address.split_once('/').map_or((address.as_str(), None), |(it, prefix)| (it, prefix.parse::<u8>().ok()));
        let mask = text(network, "netmask").and_then(|it| it.parse::<Ipv4Addr>().ok());
        let prefix = prefix.or_else(|| u8::try_from(u32::from(mask?).leading_ones()).ok()).filter(|it| *it <= 32)?;
        let routes = network.get("routes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let default = routes.iter().find(|it| text(it, "network").is_some_and(|it| it.starts_with("0.0.0.0")));
        let router = default.and_then(|it| text(it, "gateway")).or_else(|| text(network, "gateway"));
        let mac = text(link, "ethernet_mac_address")?.to_ascii_lowercase();
        Some(Static { mac, address: address.parse().ok()?, prefix, router: router.and_then(|it| it.parse().ok()) })
    };
    list("networks").iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data() -> Value {
        json!({
            "links": [
                {"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:AA:00:01"},
                {"id": "b", "type": "vlan", "ethernet_mac_address": "52:54:00:aa:00:02"},
            ],
            "networks": [
                {"type": "ipv6", "link": "a", "ip_address": "fd00::2"},
                {"type": "ipv4", "link": "b", "ip_address": "10.0.0.9", "netmask": "255.255.255.0"},
                {"type": "ipv4_dhcp", "link": "a"},
                {"type": "ipv4", "link": "a", "ip_address": "10.1.0.5", "netmask": "255.255.252.0",
                 "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.1.0.1"}]},
                {"type": "ipv4", "link": "none", "ip_address": "10.1.0.6/24"},
            ],
        })
    }

    #[test]
    fn addresses_of_plain_interfaces_are_read() {
        let expected =
            Static { mac: "52:54:00:aa:00:01".into(), address: [10, 1, 0, 5].into(), prefix: 22, router: Some([10, 1, 0, 1].into()) };
        assert_eq!(addresses(&data()), [expected]);
        assert_eq!(addresses(&json!({"networks": [5], "links": {}})), []);
    }

    /// The smallest image of both trees: the Joliet one has a folder and two files.
    fn disc(label: &str) -> Vec<u8> {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        let entry = |name: &[u8], sector: u32, size: usize| {
            let mut entry = vec![0_u8; 33];
            entry[2..6].copy_from_slice(&sector.to_le_bytes());
            entry[10..14].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
            entry[32] = u8::try_from(name.len()).unwrap();
            entry.extend(name);
            entry.resize(entry.len().next_multiple_of(2), 0);
            entry[0] = u8::try_from(entry.len()).unwrap();
            entry
        };
        let json = data().to_string();
        let mut image = vec![0_u8; 30 * 2048];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(16 * 2048, b"\x01CD001");
        put(16 * 2048 + 40, label.as_bytes());
        put(16 * 2048 + 156, &entry(&[0], 25, 2048));
        put(17 * 2048, b"\x02CD001");
        put(17 * 2048 + 88, b"%/E");
        put(17 * 2048 + 156, &entry(&[0], 20, 4096));
        put(18 * 2048, b"\xffCD001");
        put(20 * 2048, &[entry(&[0], 20, 4096), entry(&[1], 20, 4096)].concat());
        put(21 * 2048, &[entry(&wide("openstack"), 22, 2048), entry(&wide("parameters.txt"), 24, 26)].concat());
        put(22 * 2048, &entry(&wide("latest"), 23, 2048));
        put(23 * 2048, &entry(&wide("network_data.json;1"), 26, json.len()));
        put(24 * 2048, b"ipa-api-url=http://10.0.0.1");
        put(26 * 2048, json.as_bytes());
        image
    }

    #[test]
    fn a_medium_of_ours_is_read_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disc.iso");
        std::fs::write(&file, disc("vmedia_boot_iso")).unwrap();
        let medium = read(&file).unwrap().unwrap();
        assert_eq!(medium.parameters.as_deref(), Some("ipa-api-url=http://10.0.0."));
        assert_eq!(medium.addresses.len(), 1);
        std::fs::write(&file, disc("DEBIAN")).unwrap();
        assert!(read(&file).unwrap().is_none());
    }

    #[test]
    fn a_broken_medium_is_an_error_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disc.iso");
        let whole = disc("config-2");
        for at in (0..whole.len()).step_by(13) {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            std::fs::write(&file, &broken[..]).unwrap();
            drop(read(&file));
        }
        for cut in [0, 2048, 17 * 2048, 18 * 2048 + 100, 23 * 2048] {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert!(read(&file).is_err(), "{cut}");
        }
    }
}
