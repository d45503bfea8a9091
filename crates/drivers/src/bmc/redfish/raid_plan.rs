//! Which RAID sets are there already, and of which drives the others are made.

use serde_json::{Map, Value, json};

/// A RAID level: Ironic's name, Redfish's, its fewest drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) ironic: &'static str,
    pub(super) redfish: &'static str,
    least: usize,
    /// What older BMCs call it (`VolumeType`).
    old: &'static str,
}

const LEVELS: &[Level] = &[
    Level { ironic: "0", redfish: "RAID0", least: 1, old: "NonRedundant" },
    Level { ironic: "1", redfish: "RAID1", least: 2, old: "Mirrored" },
    Level { ironic: "5", redfish: "RAID5", least: 3, old: "StripedWithParity" },
    Level { ironic: "6", redfish: "RAID6", least: 4, old: "" },
    Level { ironic: "1+0", redfish: "RAID10", least: 4, old: "SpannedMirrors" },
    Level { ironic: "5+0", redfish: "RAID50", least: 6, old: "SpannedStripesWithParity" },
    Level { ironic: "6+0", redfish: "RAID60", least: 8, old: "" },
];

impl Level {
    /// What `count` drives of `bytes` hold; `None` if that many cannot be.
    fn usable(&self, count: usize, bytes: u64) -> Option<u64> {
        let shares = match self.ironic {
            "0" => count,
            "1" if count == 2 => 1,
            "5" => count.checked_sub(1)?,
            "6" => count.checked_sub(2)?,
            "1+0" if count.is_multiple_of(2) => count / 2,
            "5+0" if count.is_multiple_of(2) => count.checked_sub(2)?,
            "6+0" if count.is_multiple_of(2) => count.checked_sub(4)?,
            _ => return None,
        };
        (count >= self.least).then(|| bytes.saturating_mul(u64::try_from(shares).unwrap_or(u64::MAX)))
    }
}

/// The level of a volume; `None` if it is no RAID set.
pub(super) fn level_of(volume: &Value) -> Option<&'static Level> {
    match volume["RAIDType"].as_str() {
        Some(name) => LEVELS.iter().find(|it| it.redfish == name),
        None => volume["VolumeType"].as_str().and_then(|name| LEVELS.iter().find(|it| !it.old.is_empty() && it.old == name)),
    }
}

#[derive(Debug, Clone)]
pub(super) struct Drive {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) is_usable: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) path: String,
    pub(super) level: Option<&'static Level>,
    pub(super) bytes: u64,
    pub(super) name: String,
    /// Sorted paths.
    pub(super) drives: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Subsystem {
    /// Its id first, then whatever else it and its controllers are called.
    pub(super) names: Vec<String>,
    /// The path of its volumes.
    pub(super) collection: String,
    pub(super) drives: Vec<Drive>,
    pub(super) volumes: Vec<Volume>,
    pub(super) apply_time: Option<&'static str>,
}

/// One wanted set.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// Its place among the wanted.
    pub(super) number: usize,
    pub(super) is_there: bool,
    pub(super) subsystem: usize,
    pub(super) drives: Vec<String>,
    level: &'static Level,
    bytes: Option<u64>,
    name: Option<String>,
}

impl Planned {
    /// What is posted to make it. Without a size the controller takes all there is.
    pub(super) fn body(&self) -> Map<String, Value> {
        let drives: Vec<Value> = self.drives.iter().map(|it| json!({ "@odata.id": it })).collect();
        let mut body =
            Map::from_iter([("RAIDType".to_owned(), json!(self.level.redfish)), ("Links".to_owned(), json!({ "Drives": drives }))]);
        if let Some(bytes) = self.bytes {
            body.insert("CapacityBytes".into(), json!(bytes));
        }
        if let Some(name) = &self.name {
            body.insert("Name".into(), json!(name));
        }
        body
    }
}

/// One wanted set as it was written.
struct Wish<'a> {
    number: usize,
    level: &'static Level,
    bytes: Option<u64>,
    controller: Option<&'a str>,
    disks: Option<Vec<&'a str>>,
    count: Option<usize>,
    media: Option<String>,
    protocol: Option<String>,
    shares: bool,
    name: Option<&'a str>,
}

fn wish(number: usize, disk: &Value) -> Result<Wish<'_>, String> {
    let level = match &disk["raid_level"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("a logical disk has no raid_level".into()),
    };
    let found = LEVELS.iter().find(|it| it.ironic == level);
    let bytes = match &disk["size_gb"] {
        Value::String(text) if text.eq_ignore_ascii_case("max") => None,
        Value::Number(number) => number.as_u64().filter(|it| *it > 0).and_then(|it| it.checked_mul(1 << 30)),
        _ => return Err("a logical disk has no size_gb".into()),
    };
    if bytes.is_none() && disk["size_gb"].is_number() {
        return Err(format!("size_gb {} of a logical disk is no size", disk["size_gb"]));
    }
    let disks = disk["physical_disks"].as_array().filter(|it| !it.is_empty());
    Ok(Wish {
        number,
        level: found.ok_or_else(|| format!("RAID level {level} is not supported by Redfish"))?,
        bytes,
        controller: disk["controller"].as_str(),
        disks: disks.map(|it| it.iter().filter_map(|it| it.as_str().or_else(|| it["id"].as_str())).collect()),
        count: disk["number_of_physical_disks"].as_u64().and_then(|it| usize::try_from(it).ok()),
        media: disk["disk_type"].as_str().map(str::to_ascii_lowercase),
        protocol: disk["interface_type"].as_str().map(str::to_ascii_lowercase),
        shares: disk["share_physical_disks"].as_bool().unwrap_or(false),
        name: disk["volume_name"].as_str(),
    })
}

impl Wish<'_> {
    fn is_at(&self, subsystem: &Subsystem) -> bool {
        self.controller.is_none_or(|name| subsystem.names.iter().any(|it| it == name))
    }

    fn is_met_by(&self, volume: &Volume, subsystem: &Subsystem) -> bool {
        let size = self.bytes.is_none_or(|it| {
            // Controllers round up to their strips, and some count without their own metadata.
            volume.bytes >= it - it / 20 && volume.bytes <= it + it / 10
        });
        let drives = match &self.disks {
            None => true,
            Some(names) => {
                let mut paths: Vec<&str> = names.iter().filter_map(|name| drive(subsystem, name)).map(|it| it.path.as_str()).collect();
                paths.sort_unstable();
                paths == volume.drives
            }
        };
        let count = self.count.is_none_or(|it| volume.drives.is_empty() || volume.drives.len() == it);
        let name = self.name.is_none_or(|it| it == volume.name);
        volume.level == Some(self.level) && size && drives && count && name
    }

    /// The drives it is made of, of those that are free.
    fn choose(&self, subsystem: &Subsystem, used: &[String]) -> Option<Vec<String>> {
        let free = |it: &&Drive| it.is_usable && (self.shares || !used.contains(&it.path));
        if let Some(names) = &self.disks {
            let drives: Vec<&Drive> = names.iter().filter_map(|name| drive(subsystem, name)).filter(free).collect();
            return (drives.len() == names.len()).then(|| drives.into_iter().map(|it| it.path.clone()).collect());
        }
        let fits = |it: &&Drive| {
            self.media.as_ref().is_none_or(|media| it.media == *media)
                && self.protocol.as_ref().is_none_or(|protocol| it.protocol == *protocol || (protocol == "scsi" && it.protocol == "sas"))
        };
        let mut drives: Vec<&Drive> = subsystem.drives.iter().filter(free).filter(fits).collect();
        drives.sort_by(|a, b| a.bytes.cmp(&b.bytes).then_with(|| a.id.cmp(&b.id)));
        let counts: Vec<usize> = match (self.count, self.bytes) {
            (Some(count), _) => vec![count],
            (None, Some(_)) => (self.level.least..=drives.len()).collect(),
            // All of them, or as many as the level can have.
            (None, None) => (self.level.least..=drives.len()).rev().collect(),
        };
        for count in counts {
            for some in drives.windows(count.max(1)) {
                let smallest = some.first().map_or(0, |it| it.bytes);
                let Some(usable) = self.level.usable(count, smallest) else { continue };
                if self.bytes.is_none_or(|it| it <= usable) {
                    return Some(some.iter().map(|it| it.path.clone()).collect());
                }
            }
        }
        None
    }
}

fn drive<'a>(subsystem: &'a Subsystem, name: &str) -> Option<&'a Drive> {
    subsystem.drives.iter().find(|it| it.id == name || it.path == name || it.name == name)
}

/// Plans all wanted sets. A set that is there as wanted is kept. `taken` are drives of sets that were asked for and do not show yet;
/// `asked` are the numbers of those sets, for which no drives are chosen again.
///
/// # Errors
/// What cannot be made, and why.
pub(super) fn plan(disks: &[Value], subsystems: &[Subsystem], taken: &[String], asked: &[usize]) -> Result<Vec<Planned>, String> {
    let mut wishes = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        wishes.push(wish(number, disk)?);
    }
    // What says how large it is comes before what takes the rest.
    wishes.sort_by_key(|it| (it.bytes.is_none(), it.disks.is_none(), it.bytes, it.number));
    let mut used: Vec<String> = taken.to_vec();
    for subsystem in subsystems {
        used.extend(subsystem.volumes.iter().filter(|it| it.level.is_some()).flat_map(|it| it.drives.iter().cloned()));
    }
    let mut credited: Vec<&str> = Vec::new();
    let mut planned = Vec::new();
    for wish in &wishes {
        let there = subsystems.iter().enumerate().filter(|(_, it)| wish.is_at(it)).find_map(|(at, subsystem)| {
            let met = subsystem.volumes.iter().find(|it| !credited.contains(&it.path.as_str()) && wish.is_met_by(it, subsystem));
            met.map(|it| (at, it))
        });
        if let Some((_, volume)) = there {
            credited.push(&volume.path);
        }
        planned.push(Planned {
            number: wish.number,
            is_there: there.is_some(),
            subsystem: there.map_or(0, |(at, _)| at),
            drives: Vec::new(),
            level: wish.level,
            bytes: wish.bytes,
            name: wish.name.map(str::to_owned),
        });
    }
    for (wish, planned) in wishes.iter().zip(&mut planned) {
        if planned.is_there || asked.contains(&wish.number) {
            continue;
        }
        let places = subsystems.iter().enumerate().filter(|(_, it)| wish.is_at(it));
        let chosen = places.filter_map(|(at, subsystem)| wish.choose(subsystem, &used).map(|it| (at, it))).next();
        let Some((at, drives)) = chosen else {
            let size = wish.bytes.map_or_else(|| "MAX".to_owned(), |it| (it >> 30).to_string());
            return Err(format!("there are not enough free disks for a RAID set of level {} and size_gb {size}", wish.level.ironic));
        };
        used.extend(drives.iter().cloned());
        (planned.subsystem, planned.drives) = (at, drives);
    }
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subsystem(drives: &[u64]) -> Subsystem {
        let drive = |(n, gb): (usize, &u64)| Drive {
            path: format!("/d/{n}"),
            id: format!("d{n}"),
            name: format!("Drive {n}"),
            bytes: gb << 30,
            media: "ssd".into(),
            protocol: "sas".into(),
            is_usable: true,
        };
        Subsystem {
            names: vec!["RAID.1".into()],
            collection: "/v".into(),
            drives: drives.iter().enumerate().map(drive).collect(),
            volumes: Vec::new(),
            apply_time: Some("Immediate"),
        }
    }

    fn volume(level: &str, gb: u64, drives: &[usize]) -> Volume {
        let raid = json!({ "RAIDType": level });
        let drives = drives.iter().map(|it| format!("/d/{it}")).collect();
        Volume { path: format!("/v/{level}"), level: level_of(&raid), bytes: gb << 30, name: "x".into(), drives }
    }

    #[test]
    fn the_smallest_drives_that_do_are_taken_and_the_rest_goes_to_max() {
        let there = [subsystem(&[400, 100, 100, 400, 400])];
        let wanted = [json!({"size_gb": "MAX", "raid_level": "5"}), json!({"size_gb": 90, "raid_level": "1", "is_root_volume": true})];
        let planned = plan(&wanted, &there, &[], &[]).unwrap();
        let drives = |n: usize| planned.iter().find(|it| it.number == n).unwrap().drives.clone();
        assert_eq!(drives(1), ["/d/1", "/d/2"]);
        assert_eq!(drives(0), ["/d/0", "/d/3", "/d/4"]);
        let body = Value::Object(planned[0].body());
        assert_eq!(body["RAIDType"], "RAID1");
        assert_eq!(body["CapacityBytes"], 90_u64 << 30);
        assert!(planned[1].body().get("CapacityBytes").is_none());
    }

    #[test]
    fn what_is_there_as_wanted_is_kept_and_its_drives_are_left_alone() {
        let mut one = subsystem(&[100, 100, 100, 100]);
        one.volumes = vec![volume("RAID1", 99, &[0, 1])];
        let wanted = [json!({"size_gb": 100, "raid_level": "1"}), json!({"size_gb": "MAX", "raid_level": "0"})];
        let planned = plan(&wanted, &[one.clone()], &[], &[]).unwrap();
        assert!(planned.iter().find(|it| it.number == 0).unwrap().is_there);
        assert_eq!(planned.iter().find(|it| it.number == 1).unwrap().drives, ["/d/2", "/d/3"]);
        // Asked for and not showing yet: its drives are not given twice.
        let taken = ["/d/2".to_owned(), "/d/3".to_owned()];
        assert!(plan(&wanted, &[one.clone()], &taken, &[1]).is_ok());
        assert!(plan(&wanted, &[one], &taken, &[]).unwrap_err().contains("not enough free disks"));
    }

    #[test]
    fn wishes_that_cannot_be_are_refused() {
        let there = [subsystem(&[100, 100])];
        for wanted in [
            json!({"size_gb": 10}),
            json!({"raid_level": "1"}),
            json!({"size_gb": 10, "raid_level": "JBOD"}),
            json!({"size_gb": 0, "raid_level": "1"}),
            json!({"size_gb": -4, "raid_level": "1"}),
            json!({"size_gb": 200, "raid_level": "1"}),
            json!({"size_gb": 10, "raid_level": "5"}),
            json!({"size_gb": 10, "raid_level": "1", "controller": "other"}),
            json!({"size_gb": 10, "raid_level": "1", "physical_disks": ["d0", "d9"]}),
            json!({"size_gb": 10, "raid_level": "1", "disk_type": "hdd"}),
            json!({"size_gb": 10, "raid_level": "1", "number_of_physical_disks": 0}),
        ] {
            assert!(plan(std::slice::from_ref(&wanted), &there, &[], &[]).is_err(), "{wanted}");
        }
        let named = json!({"size_gb": 10, "raid_level": "1", "physical_disks": ["d1", "Drive 0"], "controller": "RAID.1"});
        assert_eq!(plan(&[named], &there, &[], &[]).unwrap()[0].drives, ["/d/1", "/d/0"]);
    }

    #[test]
    fn levels_of_old_and_new_bmcs() {
        assert_eq!(level_of(&json!({"VolumeType": "Mirrored"})).unwrap().ironic, "1");
        assert_eq!(level_of(&json!({"RAIDType": "RAID10"})).unwrap().ironic, "1+0");
        assert!(level_of(&json!({"VolumeType": "RawDevice"})).is_none());
        assert!(level_of(&json!({"RAIDType": "None", "VolumeType": "Mirrored"})).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_drive_is_in_two_sets(
            sizes in proptest::collection::vec(1_u64..500, 0..10),
            wishes in proptest::collection::vec((0_usize..8, proptest::option::of(1_u64..600), proptest::option::of(0_u64..9)), 0..5),
        ) {
            let names = ["0", "1", "5", "6", "1+0", "5+0", "6+0", "x"];
            let wanted: Vec<Value> = wishes
                .iter()
                .map(|(level, size, count)| {
                    let size = size.map_or_else(|| json!("MAX"), |it| json!(it));
                    json!({"raid_level": names[*level], "size_gb": size, "number_of_physical_disks": count})
                })
                .collect();
            if let Ok(planned) = plan(&wanted, &[subsystem(&sizes)], &[], &[]) {
                let mut drives: Vec<String> = planned.iter().flat_map(|it| it.drives.clone()).collect();
                let all = drives.len();
                drives.sort();
                drives.dedup();
                proptest::prop_assert_eq!(drives.len(), all);
                proptest::prop_assert_eq!(planned.len(), wanted.len());
                proptest::prop_assert!(planned.iter().all(|it| it.drives.len() >= it.level.least));
            }
        }
    }
}
