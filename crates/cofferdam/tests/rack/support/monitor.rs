//! Watches the switches during a whole run and judges afterwards: no machine ever met another tenant's, none was in a tenant's VLAN
//! while it was in no cluster. It reads the switches' own databases; of the API it believes only who is in a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::Method;

use super::api::{Service, Session, send};
use super::ovs::Seen;
use super::rack::Rack;
use super::say;

/// Between two looks at the switches.
const INTERVAL: Duration = Duration::from_millis(100);

/// The switches at one moment.
struct Sample {
    began: Instant,
    ended: Instant,
    machines: BTreeMap<String, Seen>,
}

/// Which machines are in a cluster, by the API.
struct Reading {
    began: Instant,
    ended: Instant,
    in_cluster: BTreeSet<String>,
}

#[derive(Default)]
struct Record {
    samples: Vec<Sample>,
    readings: Vec<Reading>,
    unreadable: usize,
}

/// A monitor at work; it ends when this is dropped.
pub struct Monitor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Record>>,
    vlans: (u16, u16),
}

impl Monitor {
    /// Starts it. `vlans` are those of tenants.
    pub fn start(rack: &Arc<Rack>, admin: &Session, vlans: (u16, u16)) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (rack, admin, until) = (Arc::clone(rack), admin.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || watch(&rack, &admin, &until));
        Self { stop, thread: Some(thread), vlans }
    }

    /// Ends it and judges what it saw. `owners`: whose each machine was while it was anyone's.
    pub fn judge(mut self, owners: &BTreeMap<String, String>) {
        self.stop.store(true, Ordering::Relaxed);
        let record = self.thread.take().unwrap().join().unwrap();
        record.judge(owners, self.vlans);
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn watch(rack: &Rack, admin: &Session, stop: &AtomicBool) -> Record {
    let mut record = Record::default();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        // The answer to this is older than the sample after it and younger than the sample before it.
        let request = admin.request(Method::GET, Service::Baremetal, "/nodes?fields=name,instance_uuid", None);
        if let Ok(answer) = send(request, Duration::from_millis(500))
            && answer.status == 200
        {
            let nodes = answer.body["nodes"].as_array().into_iter().flatten();
            let used = nodes.filter(|it| it["instance_uuid"].is_string());
            let in_cluster = used.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect();
            record.readings.push(Reading { began, ended: Instant::now(), in_cluster });
        }
        let sampled = Instant::now();
        match rack.vlans() {
            Ok(machines) => record.samples.push(Sample { began: sampled, ended: Instant::now(), machines }),
            Err(_) => record.unreadable += 1,
        }
        std::thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
    }
    record
}

impl Record {
    fn judge(&self, owners: &BTreeMap<String, String>, vlans: (u16, u16)) {
        let tenant_vlan = |seen: &Seen| seen.tag.filter(|tag| (vlans.0..=vlans.1).contains(tag));
        let gap = self.samples.windows(2).map(|pair| pair[1].began - pair[0].ended).max().unwrap_or_default();
        let began = self.samples.first().expect("the monitor saw something").began;
        let used = self.samples.iter().filter(|it| it.machines.values().any(|seen| tenant_vlan(seen).is_some())).count();
        say(&format!(
            "monitor: {} samples of the switches, {used} of them with machines in tenants' VLANs, {} unreadable, longest gap {gap:?}; {} readings of the API",
            self.samples.len(),
            self.unreadable,
            self.readings.len()
        ));
        assert!(used >= 20, "the monitor saw too little of it");
        assert!(gap < Duration::from_secs(5), "the monitor slept for {gap:?}");
        for sample in &self.samples {
            let at = sample.began - began;
            let mut tenants: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
            for (machine, seen) in &sample.machines {
                assert_ne!(seen.mode, "trunk", "{at:?}: {machine} is on a trunk: {seen:?}");
                assert!(seen.tag.is_some(), "{at:?}: {machine} is in every VLAN: {seen:?}");
                let Some(vlan) = tenant_vlan(seen) else { continue };
                let owner = owners.get(machine).unwrap_or_else(|| panic!("{at:?}: {machine}, never anyone's, is in VLAN {vlan}"));
                tenants.entry(vlan).or_default().insert(owner);
                let before = self.readings.iter().rev().find(|it| it.ended <= sample.began);
                let after = self.readings.iter().find(|it| it.began >= sample.ended);
                let in_cluster = [before, after].into_iter().flatten().any(|it| it.in_cluster.contains(machine));
                assert!(in_cluster || after.is_none(), "{at:?}: {machine} is in no cluster and in VLAN {vlan}");
            }
            for (vlan, tenants) in tenants {
                assert_eq!(tenants.len(), 1, "{at:?}: VLAN {vlan} has machines of {tenants:?}");
            }
        }
    }
}

mod tests {
    use super::*;

    /// A run of 25 samples, each between two readings, in which machines are in these VLANs and these are in clusters.
    fn run(vlans: [(&str, u16); 2], in_cluster: &[&str]) -> Record {
        let begin = Instant::now();
        let at = |step: u64| begin + Duration::from_millis(step);
        let seen = |tag| Seen { tag: Some(tag), mode: "access".into(), trunks: Vec::new() };
        let machines: BTreeMap<String, Seen> = vlans.into_iter().map(|(name, tag)| (name.to_owned(), seen(tag))).collect();
        let in_cluster: BTreeSet<String> = in_cluster.iter().map(|it| (*it).to_owned()).collect();
        let samples = (0..25).map(|it| Sample { began: at(10 * it + 4), ended: at(10 * it + 6), machines: machines.clone() });
        let readings = (0..26).map(|it| Reading { began: at(10 * it), ended: at(10 * it + 2), in_cluster: in_cluster.clone() });
        Record { samples: samples.collect(), readings: readings.collect(), unreadable: 0 }
    }

    fn judge(record: &Record) {
        let owners = [("m1", "finance"), ("m2", "medical")].map(|(machine, owner)| (machine.to_owned(), owner.to_owned()));
        record.judge(&owners.into(), (100, 102));
    }

    #[test]
    fn apart_is_well() {
        judge(&run([("m1", 100), ("m2", 101)], &["m1", "m2"]));
    }

    #[test]
    #[should_panic(expected = "VLAN 100 has machines of {\"finance\", \"medical\"}")]
    fn two_tenants_in_one_vlan_are_seen() {
        judge(&run([("m1", 100), ("m2", 100)], &["m1", "m2"]));
    }

    #[test]
    #[should_panic(expected = "m2 is in no cluster and in VLAN 101")]
    fn a_machine_in_no_cluster_is_seen() {
        judge(&run([("m1", 100), ("m2", 101)], &["m1"]));
    }

    #[test]
    #[should_panic(expected = "never anyone's")]
    fn a_machine_of_nobody_is_seen() {
        judge(&run([("m1", 100), ("m3", 101)], &["m1", "m3"]));
    }
}
