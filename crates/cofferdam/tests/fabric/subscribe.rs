//! A switch that tells by itself that somebody changed it is set right at once, not only at the next interval.

use std::time::{Duration, Instant};

use crate::site::{Shape, Site};
use crate::support::say;

/// How long the interval is.
const DRIFT_SECONDS: u32 = 60;
/// Within which a change that was told is repaired.
const SOON: Duration = Duration::from_secs(8);
/// Every interval is longer than this: it varies by a tenth.
const NOT_YET: Duration = Duration::from_secs(20);

/// A fabric of one gNMI switch with a machine's port on a network; the port's VLAN.
fn start(environment: Vec<(String, String)>) -> (Site, u16) {
    let site =
        Site::start(&Shape { oses: vec!["gnmi_openconfig"], ports: 4, drift_seconds: DRIFT_SECONDS, config: String::new(), environment });
    site.await_isolated(Duration::from_secs(30));
    let (network, vlan) = site.network("one");
    let port = site.bind(&network, 0, 0);
    site.await_active(&[port], Duration::from_secs(30));
    assert_eq!(site.vlan_of(0, 0), Some(vlan));
    (site, vlan)
}

/// Somebody takes the machine's port into a VLAN of theirs.
fn edit(site: &Site) {
    let foreign = 77;
    site.switches[0].device().edit(|it| {
        it.vlans.entry(foreign).or_default();
        it.ports.get_mut(&site.ports[0][0]).unwrap().access = foreign;
    });
    assert_eq!(site.vlan_of(0, 0), Some(foreign));
}

/// How long until the port is in its VLAN again; nothing if it is not by then.
fn repaired(site: &Site, vlan: u16, within: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < within {
        if site.vlan_of(0, 0) == Some(vlan) {
            return Some(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn a_change_that_the_switch_tells_of_is_repaired_at_once() {
    let (site, vlan) = start(Vec::new());
    // Again and again, and also after the stream broke and after the control plane died.
    for round in 0..4 {
        match round {
            2 => site.switches[0].device().drop_connections(),
            3 => {
                site.serve.kill();
                site.serve.spawn();
                site.serve.await_ready();
            }
            _ => {}
        }
        if round >= 2 {
            // What happens while nobody listens is found at the interval.
            std::thread::sleep(Duration::from_secs(4));
        }
        edit(&site);
        let took = repaired(&site, vlan, SOON);
        say(&format!("round {round}: repaired after {took:?}, where the interval is {DRIFT_SECONDS} s"));
        assert!(took.is_some(), "round {round}");
    }
}

#[test]
fn without_being_told_it_lasts_until_the_interval() {
    let (site, vlan) = start(vec![("COFFERDAM_TEST_HEAR_NOTHING".into(), "1".into())]);
    edit(&site);
    assert_eq!(repaired(&site, vlan, NOT_YET), None);
}
