//! Many ports of one slow switch at once: what is wished while it works goes into its next change.

use std::time::{Duration, Instant};

use crate::site::{Shape, Site, figure, size};
use crate::support::wait_for;

/// What one change takes on the switch, in seconds, and how many ports there are, unless the environment says otherwise.
const COMMIT_SECONDS: u64 = 10;
const PORTS: u64 = 60;

fn commits(site: &Site) -> u64 {
    site.switches[0].faults().counts().commits
}

/// Has a change begin by a wish for another port. It takes a while, and what is wished meanwhile waits for its end, however slowly it comes.
fn begin_another(site: &Site, patience: Duration, wish: impl FnOnce()) {
    let lines = || site.switches[0].faults().counts().lines;
    let before = lines();
    wish();
    // It knows by now for what it was asked.
    wait_for("the switch is asked", patience, || if lines() > before { Ok(()) } else { Err("no line came".to_owned()) });
}

/// Waits for the end of that change; since then the others have the switch.
fn await_another(site: &Site, before: u64, patience: Duration) -> Instant {
    wait_for("the other change ends", patience, || if commits(site) > before { Ok(()) } else { Err("no commit".to_owned()) });
    Instant::now()
}

#[test]
fn sixty_ports_of_a_slow_switch_at_once() {
    let ports = usize::try_from(size("COFFERDAM_TEST_BURST_PORTS", PORTS)).unwrap();
    let commit = Duration::from_secs(size("COFFERDAM_TEST_BURST_COMMIT_SECONDS", COMMIT_SECONDS).max(1));
    let patience = Duration::from_secs(180) + 6 * commit;
    let site = Site::start(&Shape {
        oses: vec!["juniper_junos"],
        ports: 2 * ports + 1,
        drift_seconds: 600,
        config: String::new(),
        environment: Vec::new(),
    });
    site.await_isolated(Duration::from_secs(180));
    let (network, vlan) = site.network("one");
    // The first change tells how slow it is.
    site.switches[0].faults().change(|it| it.commit_ms = u64::try_from(commit.as_millis()).unwrap());
    let first = site.bind(&network, 0, 2 * ports);
    site.await_active(&[first], patience);
    let spare = 2 * ports - 1;

    let (before, logins) = (commits(&site), site.switches[0].faults().counts().logins);
    let mut another = String::new();
    begin_another(&site, patience, || another = site.bind(&network, 0, spare));
    let wishing = Instant::now();
    let bound: Vec<String> = (0..ports).map(|port| site.bind(&network, 0, port)).collect();
    let most_plugged = 2 + wishing.elapsed().as_secs() / commit.as_secs();
    let began = await_another(&site, before, patience);
    site.await_active(&bound, patience);
    let (took, plugged) = (began.elapsed(), commits(&site) - before - 1);
    assert!((0..ports).all(|port| site.vlan_of(0, port) == Some(vlan)));

    // Their machines go from one network to another: off the one, proven, onto the other.
    let (other, other_vlan) = site.network("other");
    let before = commits(&site);
    begin_another(&site, patience, || assert_eq!(site.unbind(&another).status, 204));
    let wishing = Instant::now();
    for port in &bound {
        assert_eq!(site.unbind(port).status, 204);
    }
    let bound: Vec<String> = (0..ports).map(|port| site.bind(&other, 0, port)).collect();
    let most_moved = 3 + wishing.elapsed().as_secs() / commit.as_secs();
    let began = await_another(&site, before, patience);
    site.await_active(&bound, patience);
    let (moved_in, moved) = (began.elapsed(), commits(&site) - before - 1);
    assert!((0..ports).all(|port| site.vlan_of(0, port) == Some(other_vlan)));
    let logins = site.switches[0].faults().counts().logins - logins;
    let seconds = commit.as_secs();
    let value = |took: Duration, commits: u64| format!("{:.1} s, {commits} commits", took.as_secs_f64());
    figure(&format!("{ports} ports of a switch with commits of {seconds} s, plugged at once"), &value(took, plugged));
    figure("the same from one network to another, isolation proven in between", &value(moved_in, moved));
    // One change for all, and one before that for all isolations. Where wishing takes longer than a change some go into the one that begins
    // meanwhile: one more, and another for each that ended before the last wish.
    let limit = |changes: u64| Duration::from_secs(changes * seconds + 60);
    assert!(plugged <= most_plugged && took < limit(plugged), "{plugged} commits in {took:?}, at most {most_plugged}");
    assert!(moved <= most_moved && moved_in < limit(moved), "{moved} commits in {moved_in:?}, at most {most_moved}");
    assert_eq!(logins, 0, "the session is kept");
}
