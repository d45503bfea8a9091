//! Many switches in one process: all are read in full, in little time and memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;

use crate::site::{Shape, Site, figure, name, size};
use crate::support::api::Service;

/// How many switches, unless the environment says otherwise.
const SWITCHES: u64 = 60;
const PORTS: usize = 47;
const OSES: [&str; 3] = ["arista_eos", "cisco_nxos", "cisco_ios"];
/// What a sweep over a thousand may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What the control plane may hold in memory, in KiB.
const MEMORY_KIB: u64 = 300 * 1024;

/// The numbers of the last readings of switches that are as wanted.
fn readings(site: &Site) -> BTreeMap<String, u64> {
    let path = "/cofferdam/switches?fields=name&fields=reading&fields=fault&fields=differences";
    let all = site.admin.list(Service::Network, path);
    let well = all.iter().filter(|it| it["fault"] == "" && it["differences"].as_array().is_none_or(Vec::is_empty));
    well.map(|it| (it["name"].as_str().unwrap().to_owned(), it["reading"].as_u64().unwrap_or_default())).collect()
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn every_switch_is_read_in_full() {
    let count = usize::try_from(size("COFFERDAM_TEST_SWEEP_SWITCHES", SWITCHES)).unwrap();
    let oses: Vec<&'static str> = OSES.iter().copied().cycle().take(count).collect();
    let began = Instant::now();
    let site = Site::start(&Shape { oses, ports: PORTS, drift_seconds: 3_600, config: String::new(), environment: Vec::new() });
    let mut before = readings(&site);
    while before.len() < count || before.values().any(|it| *it == 0) {
        assert!(began.elapsed() < Duration::from_secs(900), "{} of {count} switches were set", before.len());
        std::thread::sleep(Duration::from_millis(250));
        before = readings(&site);
    }
    let set = began.elapsed();

    let began = Instant::now();
    for nth in 0..count {
        let answer = site.admin.call(Method::PUT, Service::Network, &format!("/cofferdam/switches/{}/read", name(nth)), None);
        assert!(answer.is_success(), "{} {}", answer.status, answer.text);
    }
    while readings(&site).iter().filter(|(name, number)| **number > before[*name]).count() < count {
        assert!(began.elapsed() < Duration::from_secs(300), "not all were read");
        std::thread::sleep(Duration::from_millis(100));
    }
    let swept = began.elapsed();
    let memory = resident_kib(site.serve.pid());
    let seconds = |took: Duration| format!("{:.1} s", took.as_secs_f64());
    figure(&format!("{count} switches of {} ports set from the factory's state", PORTS + 1), &seconds(set));
    figure("all of them read again in full", &seconds(swept));
    figure("resident memory of the control plane then", &format!("{} MiB", memory / 1024));
    assert!(swept < LIMIT, "{swept:?}");
    assert!(memory < MEMORY_KIB, "{memory} KiB");
}
