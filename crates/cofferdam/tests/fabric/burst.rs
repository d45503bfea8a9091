//! Many ports of one slow switch at once: what is wished while it works goes into its next change.

use std::time::{Duration, Instant};

use crate::site::{Shape, Site, figure, size};

/// What one change takes on the switch, in seconds, and how many ports there are, unless the environment says otherwise.
const COMMIT_SECONDS: u64 = 10;
const PORTS: u64 = 60;

fn commits(site: &Site) -> u64 {
    site.switches[0].faults().counts().commits
}

#[test]
fn sixty_ports_of_a_slow_switch_at_once() {
    let ports = usize::try_from(size("COFFERDAM_TEST_BURST_PORTS", PORTS)).unwrap();
    let commit = Duration::from_secs(size("COFFERDAM_TEST_BURST_COMMIT_SECONDS", COMMIT_SECONDS));
    let limit = (3 * commit).max(Duration::from_secs(30));
    let patience = Duration::from_secs(60).max(6 * commit);
    let site = Site::start(&Shape {
        oses: vec!["juniper_junos"],
        ports: 2 * ports,
        drift_seconds: 600,
        config: String::new(),
        environment: Vec::new(),
    });
    site.await_isolated(Duration::from_secs(60));
    let (network, vlan) = site.network("one");
    // The first change tells how slow it is.
    site.switches[0].faults().change(|it| it.commit_ms = u64::try_from(commit.as_millis()).unwrap());
    let first = site.bind(&network, 0, 2 * ports - 1);
    site.await_active(&[first], patience);

    let (before, logins) = (commits(&site), site.switches[0].faults().counts().logins);
    let began = Instant::now();
    let bound: Vec<String> = (0..ports).map(|port| site.bind(&network, 0, port)).collect();
    site.await_active(&bound, patience);
    let (took, plugged) = (began.elapsed(), commits(&site) - before);
    assert!((0..ports).all(|port| site.vlan_of(0, port) == Some(vlan)));

    // Their machines go from one network to another: off the one, proven, onto the other.
    let (other, other_vlan) = site.network("other");
    let before = commits(&site);
    let began = Instant::now();
    for port in &bound {
        assert_eq!(site.unbind(port).status, 204);
    }
    let bound: Vec<String> = (0..ports).map(|port| site.bind(&other, 0, port)).collect();
    site.await_active(&bound, patience);
    let (moved_in, moved) = (began.elapsed(), commits(&site) - before);
    assert!((0..ports).all(|port| site.vlan_of(0, port) == Some(other_vlan)));
    let logins = site.switches[0].faults().counts().logins - logins;
    let seconds = commit.as_secs();
    let value = |took: Duration, commits: u64| format!("{:.1} s, {commits} commits", took.as_secs_f64());
    figure(&format!("{ports} ports of a switch with commits of {seconds} s, plugged at once"), &value(took, plugged));
    figure("the same from one network to another, isolation proven in between", &value(moved_in, moved));
    assert!(plugged <= 2 && took < limit, "{plugged} commits in {took:?}");
    assert!(moved <= 2 && moved_in < limit, "{moved} commits in {moved_in:?}");
    assert_eq!(logins, 0, "the session is kept");
}
