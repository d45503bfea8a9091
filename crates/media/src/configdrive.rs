//! Config drives: the small read-only file system from which a deployed machine learns who it is.

use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::baremetal::{Place, bond_properties};
use serde_json::{Value, json};

use crate::iso9660::{self, Content, IsoError};

/// Largest config drive, unpacked, in bytes (Source: ironic-python-agent, `MAX_CONFIG_DRIVE_SIZE_MB`).
pub const MAX_IMAGE: usize = 64 << 20;

/// Writes an ISO 9660 image with Joliet names, volume id `config-2`, of these files (path with `/`, content).
/// The same files give the same bytes.
///
/// # Errors
/// `Path` if a path cannot be on an image, or occurs twice; `TooLarge`.
pub fn build(files: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, IsoError> {
    let files = files.into_iter().map(|(path, content)| (path, Content::Bytes(content))).collect();
    let image = iso9660::lay("config-2", files, None)?;
    if image.len > u64::try_from(MAX_IMAGE).unwrap_or(u64::MAX) {
        return Err(IsoError::TooLarge);
    }
    let mut out = Vec::new();
    for part in image.parts {
        if let Content::Bytes(bytes) = part {
            out.extend(bytes);
            out.resize(out.len().next_multiple_of(iso9660::SECTOR), 0);
        }
    }
    Ok(out)
}

/// Compresses and encodes an image as `configdrive` fields want it: base64 of gzip. The same image gives the same text.
pub fn encode(image: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let packed = gzip.write_all(image).and_then(|()| gzip.finish()).unwrap_or_default();
    base64::engine::general_purpose::STANDARD.encode(packed)
}

/// Builds the drive of an OpenStack machine: `openstack/latest/{meta_data.json,network_data.json,user_data}`.
///
/// # Errors
/// `TooLarge` only.
pub fn openstack(meta_data: &serde_json::Value, network_data: &serde_json::Value, user_data: &[u8]) -> Result<Vec<u8>, IsoError> {
    build(vec![
        ("openstack/latest/meta_data.json".to_owned(), meta_data.to_string().into_bytes()),
        ("openstack/latest/network_data.json".to_owned(), network_data.to_string().into_bytes()),
        ("openstack/latest/user_data".to_owned(), user_data.to_vec()),
    ])
}

/// The links of `network_data.json` of a machine whose port of a network goes there, with that hardware address: one card of that id, or
/// that id a bond of cards. Source: OpenStack, `network_data.json` schema; how Nova's driver for bare metal describes port groups.
pub fn links(id: &str, place: &Place<'_>, address: &str) -> Vec<Value> {
    let Some(group) = place.group else {
        return vec![json!({"id": id, "type": "phy", "ethernet_mac_address": address, "mtu": 1500})];
    };
    let cards = place.cards.iter().map(|card| {
        let address = &card.desired.address;
        json!({"id": card.id, "type": "phy", "ethernet_mac_address": address, "mtu": 1500})
    });
    let names: Vec<_> = place.cards.iter().map(|card| &card.id).collect();
    let mut bond = bond_properties(group);
    let own = json!({
        "id": id, "type": "bond", "ethernet_mac_address": address, "mtu": 1500, "bond_mode": group.desired.mode, "bond_links": names,
    });
    bond.extend(own.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    // Without it the driver never notices that a link is down. (Source: Linux, `bonding.txt`.)
    bond.entry("bond_miimon").or_insert_with(|| json!(100));
    cards.chain([Value::Object(bond)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_bond() {
        use model::baremetal::{BaremetalPort, Node, Portgroup};
        use model::{Id, Object};
        let node = Id::<Node>::random();
        let card = |address: &str| -> Object<BaremetalPort> {
            let desired = json!({"node_id": node, "address": address, "pxe_enabled": true});
            Object::new(Id::random(), None, "", serde_json::from_value(desired).unwrap())
        };
        let desired = json!({"node_id": node, "mode": "802.3ad", "properties": {"xmit_hash_policy": "layer3+4", "type": "x"}});
        let group: Object<Portgroup> = Object::new(Id::random(), None, "bond0", serde_json::from_value(desired).unwrap());
        let (one, two) = (card("52:54:00:00:00:01"), card("52:54:00:00:00:02"));
        let alone = links("eth0", &Place::card(&one), "52:54:00:00:00:01");
        assert_eq!(alone, [json!({"id": "eth0", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:01", "mtu": 1500})]);
        let both = links("eth0", &Place { group: Some(&group), cards: vec![&one, &two] }, "52:54:00:00:00:99");
        assert_eq!(both.len(), 3);
        assert_eq!((&both[1]["id"], &both[1]["ethernet_mac_address"]), (&json!(two.id), &json!("52:54:00:00:00:02")));
        assert_eq!(
            both[2],
            json!({
                "id": "eth0", "type": "bond", "ethernet_mac_address": "52:54:00:00:00:99", "mtu": 1500, "bond_mode": "802.3ad",
                "bond_links": [one.id, two.id], "bond_xmit_hash_policy": "layer3+4", "bond_type": "x", "bond_miimon": 100,
            })
        );
    }

    #[test]
    fn another_program_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let long: Vec<(String, Vec<u8>)> = (0..120).map(|at| (format!("many/file with a long name {at}"), vec![b'x'; at * 40])).collect();
        let mut files = vec![
            ("openstack/latest/user_data".to_owned(), b"#!/bin/sh\n".to_vec()),
            ("openstack/latest/meta_data.json".to_owned(), b"{}".to_vec()),
            ("a".to_owned(), Vec::new()),
        ];
        files.extend(long);
        let image = folder.path().join("c.iso");
        std::fs::write(&image, build(files.clone()).unwrap()).unwrap();
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let ran = std::process::Command::new("bsdtar").arg("-xf").arg(&image).arg("-C").arg(&out).status();
        let Ok(status) = ran else {
            eprintln!("skipped: bsdtar (Debian package libarchive-tools) is not installed");
            return;
        };
        assert!(status.success());
        for (path, content) in &files {
            assert_eq!(&std::fs::read(out.join(path)).unwrap(), content, "{path}");
        }
    }

    #[test]
    fn the_same_files_give_the_same_image_and_the_label_is_there() {
        let files = vec![("a/b".to_owned(), b"c".to_vec())];
        let image = build(files.clone()).unwrap();
        assert_eq!(image, build(files).unwrap());
        assert_eq!(&image[16 * 2048 + 40..16 * 2048 + 48], b"config-2");
        assert_eq!(encode(&image), encode(&image));
    }

    #[test]
    fn paths_that_cannot_be() {
        for path in ["", "/a", "a/", "a//b", "../a", "."] {
            assert!(build(vec![(path.to_owned(), vec![])]).is_err(), "{path}");
        }
        assert!(build(vec![("a".into(), vec![]), ("a".into(), vec![])]).is_err());
        assert!(build(vec![("a".into(), vec![]), ("a/b".into(), vec![])]).is_err());
        assert!(matches!(build(vec![("a".into(), vec![0; MAX_IMAGE])]), Err(IsoError::TooLarge)));
    }
}
