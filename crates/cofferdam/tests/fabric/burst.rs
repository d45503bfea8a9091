//! Many ports of one slow switch at once: what is wished while it works goes into its next change.

use std::time::{Duration, Instant};

use crate::site::{Shape, Site};
use crate::support::say;

/// What one change takes on the switch.
const COMMIT: Duration = Duration::from_secs(10);
const PORTS: usize = 60;

fn commits(site: &Site) -> u64 {
    site.switches[0].faults().counts().commits
}

#[test]
fn sixty_ports_of_a_slow_switch_at_once() {
    let site = Site::start(&Shape {
        oses: vec!["juniper_junos"],
        ports: 2 * PORTS,
        drift_seconds: 600,
        config: String::new(),
        environment: Vec::new(),
    });
    site.await_isolated(Duration::from_secs(60));
    let (network, vlan) = site.network("one");
    // The first change tells how slow it is.
    site.switches[0].faults().change(|it| it.commit_ms = u64::try_from(COMMIT.as_millis()).unwrap());
    let first = site.bind(&network, 0, 2 * PORTS - 1);
    site.await_active(&[first], Duration::from_secs(60));

    let (before, logins) = (commits(&site), site.switches[0].faults().counts().logins);
    let began = Instant::now();
    let ports: Vec<String> = (0..PORTS).map(|port| site.bind(&network, 0, port)).collect();
    site.await_active(&ports, Duration::from_secs(60));
    let (took, plugged) = (began.elapsed(), commits(&site) - before);
    assert!((0..PORTS).all(|port| site.vlan_of(0, port) == Some(vlan)));

    // Their machines go from one network to another: off the one, proven, onto the other.
    let (other, other_vlan) = site.network("other");
    let before = commits(&site);
    let began = Instant::now();
    for port in &ports {
        assert_eq!(site.unbind(port).status, 204);
    }
    let ports: Vec<String> = (0..PORTS).map(|port| site.bind(&other, 0, port)).collect();
    site.await_active(&ports, Duration::from_secs(60));
    let (moved_in, moved) = (began.elapsed(), commits(&site) - before);
    assert!((0..PORTS).all(|port| site.vlan_of(0, port) == Some(other_vlan)));
    let logins = site.switches[0].faults().counts().logins - logins;
    say(&format!(
        "{PORTS} ports plugged in {:.1} s with {plugged} commits of {} s; moved in {:.1} s with {moved}; {logins} log-ins",
        took.as_secs_f64(),
        COMMIT.as_secs(),
        moved_in.as_secs_f64()
    ));
    assert!(plugged <= 2 && took < Duration::from_secs(30), "{plugged} commits in {took:?}");
    assert!(moved <= 2 && moved_in < Duration::from_secs(30), "{moved} commits in {moved_in:?}");
    assert_eq!(logins, 0, "the session is kept");
}
