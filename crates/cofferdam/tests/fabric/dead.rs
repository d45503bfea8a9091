//! A switch that does not answer slows nobody else.

use std::time::{Duration, Instant};

use http::Method;

use crate::site::{Shape, Site, figure, size};
use crate::support::api::Service;

/// How long the switch is dead, unless the environment says otherwise.
const DEAD_SECONDS: u64 = 40;
/// How long is measured with all switches alive.
const ALIVE: Duration = Duration::from_secs(20);
/// By how much times may differ.
const RATIO: f64 = 1.5;
/// Below this a call is not one that waited: who waits for a dead switch does so for the ten seconds of its driver at least.
const CALL_FLOOR: Duration = Duration::from_millis(250);
/// The same of a port until it is ACTIVE.
const PLUG_FLOOR: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Times {
    calls: Vec<Duration>,
    plugs: Vec<Duration>,
}

impl Times {
    fn at(list: &mut [Duration], share: f64) -> Duration {
        list.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
        let nth = (list.len() as f64 * share) as usize;
        list[nth.min(list.len() - 1)]
    }
}

/// Plugs and unplugs ports of the other switches, one after the other, and times what a client sees.
fn measure(site: &Site, network: &str, lasting: Duration) -> Times {
    let mut times = Times::default();
    let until = Instant::now() + lasting;
    let mut nth = 0;
    while Instant::now() < until {
        let (switch, port) = (1 + nth % 3, nth / 3 % (site.ports[1].len() - 1));
        nth += 1;
        let began = Instant::now();
        let id = site.bind(network, switch, port);
        times.calls.push(began.elapsed());
        loop {
            let call = Instant::now();
            let shown = site.admin.get(Service::Network, &format!("/ports/{id}"));
            times.calls.push(call.elapsed());
            if shown["port"]["status"] == "ACTIVE" {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{shown}");
            std::thread::sleep(Duration::from_millis(5));
        }
        times.plugs.push(began.elapsed());
        let call = Instant::now();
        assert_eq!(site.admin.call(Method::DELETE, Service::Network, &format!("/ports/{id}"), None).status, 204);
        times.calls.push(call.elapsed());
        site.await_gone(&[id], Duration::from_secs(30));
    }
    times
}

#[test]
fn a_dead_switch_slows_nobody() {
    let oses = vec!["cisco_nxos", "arista_eos", "cisco_nxos", "juniper_junos"];
    let site = Site::start(&Shape { oses, ports: 16, drift_seconds: 5, config: String::new(), environment: Vec::new() });
    site.await_isolated(Duration::from_secs(60));
    let (network, _) = site.network("one");
    // One that stays: uplinks carry the VLAN all the time.
    let pinned = site.bind(&network, 1, 15);
    site.await_active(&[pinned], Duration::from_secs(30));
    let mut alive = measure(&site, &network, ALIVE);

    let seconds = size("COFFERDAM_TEST_DEAD_SECONDS", DEAD_SECONDS);
    site.switches[0].faults().change(|it| it.hang = true);
    // Wishes for the dead switch, old and new.
    let stuck: Vec<String> = (0..8).map(|port| site.bind(&network, 0, port)).collect();
    let mut dead = measure(&site, &network, Duration::from_secs(seconds));
    let states = site.states();
    assert!(stuck.iter().all(|it| states[it] != "ACTIVE"), "nothing is believed of a switch that does not answer");
    site.switches[0].faults().change(|it| it.hang = false);
    let healed = site.await_active(&stuck, Duration::from_secs(60));

    let p99 = [Times::at(&mut alive.calls, 0.99), Times::at(&mut dead.calls, 0.99)];
    let plug = [Times::at(&mut alive.plugs, 0.5), Times::at(&mut dead.plugs, 0.5)];
    let worst = [Times::at(&mut alive.plugs, 0.95), Times::at(&mut dead.plugs, 0.95)];
    let both = |[alive, dead]: [Duration; 2]| {
        format!("{:.1} ms all alive, {:.1} ms one dead", alive.as_secs_f64() * 1_000.0, dead.as_secs_f64() * 1_000.0)
    };
    let calls = [alive.calls.len(), dead.calls.len()];
    figure(&format!("one of four switches dead for {seconds} s: p99 of {} and {} calls", calls[0], calls[1]), &both(p99));
    figure("until a port of another switch is ACTIVE, median", &both(plug));
    figure("the same, 95 %", &both(worst));
    figure("until eight ports of the dead switch are ACTIVE once it answers", &format!("{:.1} s", healed.as_secs_f64()));
    for (what, floor, [alive, dead]) in [("p99 of calls", CALL_FLOOR, p99), ("time until ACTIVE", PLUG_FLOOR, plug)] {
        assert!(dead <= floor || dead.as_secs_f64() <= RATIO * alive.as_secs_f64(), "{what}: {alive:?} alive, {dead:?} with a dead switch");
    }
}
