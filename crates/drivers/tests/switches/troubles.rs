//! What goes wrong with a switch, and what a driver makes of it.

use std::time::{Duration, Instant};

use drivers::switch::{PortMode, SwitchError, Trust, differs};
use lab::netos::faults::{Partial, Refusal, Then};
use lab::netos::{HostKey, Simulator, Spec};
use model::Secret;

use super::rig::{Kind, Rig, SILENCE, is_in_mode, simulator, spec, trunk, vlan};

/// A line that the switch does not take is noticed and named, nothing reads as done, and the next look makes it good.
pub async fn rejected_line(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    rig.declare(1177);
    rig.want(0, PortMode::Access(vlan(1177)));
    rig.sim.faults().change(|it| it.refuse = vec![Refusal { contains: "1177".to_owned(), times: Some(1) }]);
    let error = rig.ensure().await.expect_err("a line was refused");
    let SwitchError::Rejected { reason, .. } = &error else { panic!("{}: {error}", kind.driver) };
    assert!(reason.contains("1177"), "{}: the line is not named: {reason}", kind.driver);
    rig.must().await;

    // Refused for as long as it is asked for; others are not kept from being read.
    rig.want(0, trunk(None, [1177]));
    rig.sim.faults().change(|it| it.refuse = vec![Refusal { contains: "1177".to_owned(), times: None }]);
    for _ in 0..2 {
        assert!(matches!(rig.ensure().await, Err(SwitchError::Rejected { .. })), "{}", kind.driver);
    }
    rig.sim.faults().clear();
    rig.must().await;
}

/// Wherever a change breaks off: no port lets anything through that it did not before and should not after, and the next look makes it
/// good.
pub async fn broken_off(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    for id in 1100..1104 {
        rig.declare(id);
    }
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.want(1, PortMode::Isolated);
    rig.want(2, trunk(None, [1101, 1102]));
    rig.must().await;
    let states = [
        [PortMode::Access(vlan(1100)), PortMode::Isolated, trunk(None, [1101, 1102])],
        [PortMode::Isolated, PortMode::Access(vlan(1103)), trunk(Some(1103), [1102])],
        [trunk(None, [1103]), PortMode::Isolated, PortMode::Access(vlan(1101))],
    ];
    let mut now = 0;
    for then in [Then::Refuse, Then::Drop] {
        for lines in [0, 1, 2, 3, 5, 8, 13] {
            let next = (now + 1) % states.len();
            for (nth, mode) in states[next].iter().enumerate() {
                rig.want(nth, mode.clone());
            }
            let fault = Some(Partial { lines, then });
            rig.sim.faults().change(|it| (it.partial_session, it.partial_commit) = (fault, fault));
            let outcome = rig.ensure().await;
            rig.sim.faults().clear();
            let config = rig.running();
            let rules = rig.sim.device().rules();
            for (nth, (old, new)) in states[now].iter().zip(&states[next]).enumerate() {
                let name = rig.port(nth);
                let passes = config.carries(&name, rules);
                let may: Vec<u16> = [old, new].into_iter().flat_map(PortMode::vlans).map(|it| it.get()).collect();
                // The isolation VLAN is for ports that are shut, or protected from one another.
                let protected = config.ports.get(&name).is_some_and(|it| it.protected);
                let strange = passes
                    .tagged
                    .iter()
                    .chain(&passes.untagged)
                    .filter(|it| !may.contains(it) && (**it != super::rig::ISOLATION || !protected));
                let strange: Vec<_> = strange.collect();
                assert!(strange.is_empty(), "{} after {lines} lines, {then:?}: {name} passes {strange:?}", kind.driver);
            }
            if let Ok(done) = outcome {
                // It broke off after all that was to be done.
                assert_eq!(differs(&rig.wanted, &done.after, &rig.facts), []);
            }
            rig.must().await;
            now = next;
        }
    }
}

/// What a restart would undo is seen before it happens, and set right.
pub async fn unsaved(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.declare(1100);
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    let old = (*rig.running()).clone();
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.must().await;
    if rig.facts.saves {
        rig.sim.device().set_startup(old.clone());
        let seen = rig.switch.observe().await.unwrap();
        assert!(seen.ports[&rig.port(0)].unsaved, "{}", kind.driver);
        assert!(!differs(&rig.wanted, &seen, &rig.facts).is_empty());
        rig.must().await;

        // A network that is only in the saved configuration still counts as carried.
        let open = (*rig.running()).clone();
        rig.want(0, PortMode::Isolated);
        rig.must().await;
        rig.sim.device().set_startup(open);
        let seen = rig.switch.observe().await.unwrap();
        assert!(seen.carried.contains(&vlan(1100)), "{}", kind.driver);
        rig.must().await;
    }
    // It came up with an old configuration.
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.must().await;
    rig.sim.device().set_startup(old);
    rig.sim.device().reboot(Duration::ZERO);
    let seen = rig.switch.observe().await.unwrap();
    assert!(!differs(&rig.wanted, &seen, &rig.facts).is_empty(), "{}", kind.driver);
    rig.must().await;
}

/// Somebody changed a port by hand.
pub async fn hand_edit(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.declare(1100);
    rig.declare(1101);
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.must().await;
    let port = rig.port(0);
    rig.sim.device().edit(|config| {
        if let Some(it) = config.ports.get_mut(&port) {
            it.access = 1101;
        }
    });
    let seen = rig.switch.observe().await.unwrap();
    assert!(!differs(&rig.wanted, &seen, &rig.facts).is_empty(), "{}", kind.driver);
    rig.must().await;
    if kind.os == "ovs_ssh" {
        // Its ports go up and down with their interfaces.
        return;
    }
    rig.sim.device().edit(|config| {
        if let Some(it) = config.ports.get_mut(&port) {
            it.up = false;
        }
    });
    let seen = rig.switch.observe().await.unwrap();
    assert!(!differs(&rig.wanted, &seen, &rig.facts).is_empty(), "{}: a port that is down is not in order", kind.driver);
    rig.must().await;
}

/// Who is not the switch, and who does not let us in.
pub async fn trust(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    if kind.driver.starts_with("gnmi") {
        return;
    }
    let distrusted = |error: SwitchError| assert!(matches!(error, SwitchError::Trust { .. }), "{}: {error}", kind.driver);
    rig.reopen(|it| it.trust.host_key = Some("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".to_owned()));
    distrusted(rig.switch.observe().await.unwrap_err());
    assert_eq!(rig.sim.faults().counts().logins, 0, "no secret was told to who is not the switch");
    rig.reopen(|it| it.trust = Trust::default());
    let error = rig.switch.observe().await.unwrap_err();
    assert!(error.to_string().contains(rig.sim.host_key()), "an operator is told what to pin: {error}");
    distrusted(error);
    rig.reopen(|it| it.login.password = Some(Secret::new("not this")));
    let error = rig.switch.observe().await.unwrap_err();
    assert!(!error.to_string().contains("not this"));
    distrusted(error);

    // The first key is taken if that is allowed, and binds from then on.
    rig.reopen(|it| it.trust = Trust { on_first_use: true, ..Trust::default() });
    assert_eq!(rig.switch.host_key(), None);
    rig.switch.observe().await.unwrap();
    assert_eq!(rig.switch.host_key().as_deref(), Some(rig.sim.host_key()));
    let address = rig.sim.address();
    rig.sim.stop();
    // The old one lets its port go in its own time.
    let other = loop {
        match Simulator::start(Spec { listen: address, host_key: HostKey::Own, ..spec(kind, 12) }) {
            Ok(other) => break other,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    distrusted(rig.switch.observe().await.unwrap_err());
    drop(other);
    rig.reopen(|_| {});
    let gone = rig.switch.observe().await.unwrap_err();
    assert!(matches!(gone, SwitchError::Unreachable { .. }), "{}: {gone}", kind.driver);
}

/// A key instead of a password, and a name that nobody gave.
pub async fn logins(kind: Kind) {
    if kind.driver.starts_with("gnmi") || simulator(kind).is_none() {
        return;
    }
    let key = russh::keys::PrivateKey::new(
        russh::keys::ssh_key::private::KeypairData::Ed25519(russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&[7; 32])),
        "",
    )
    .unwrap();
    let spec = Spec { authorized_keys: vec![key.public_key().to_openssh().unwrap()], password: "other".to_owned(), ..spec(kind, 12) };
    let sim = Simulator::start(spec).unwrap();
    let pem = key.to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap().to_string();
    let mut config = super::rig::config(kind, &sim);
    config.login.password = None;
    config.login.private_key = Some(Secret::new(pem));
    drivers::switch::open(config.clone()).unwrap().observe().await.unwrap();
    config.login.username.clear();
    assert!(matches!(drivers::switch::open(config).err(), Some(SwitchError::Config { .. })));
}

/// A switch that says nothing any more is given up by a deadline, and is met again when it speaks again.
pub async fn silence(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    rig.sim.faults().change(|it| it.hang = true);
    let began = Instant::now();
    let error = rig.switch.observe().await.unwrap_err();
    assert!(matches!(error, SwitchError::Timeout { .. } | SwitchError::Unreachable { .. }), "{}: {error}", kind.driver);
    assert!(began.elapsed() < SILENCE, "{}: took {:?}", kind.driver, began.elapsed());
    rig.sim.faults().clear();
    rig.must().await;
}

/// Connections end while nobody looks, and while somebody does.
pub async fn drops(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    let connections = rig.sim.faults().counts().connections;
    rig.switch.observe().await.unwrap();
    assert_eq!(rig.sim.faults().counts().connections, connections, "{}: a session is kept", kind.driver);
    for _ in 0..3 {
        rig.sim.device().drop_connections();
        rig.switch.observe().await.unwrap();
    }
    rig.sim.faults().change(|it| it.refuse_connections = true);
    rig.sim.device().drop_connections();
    let error = rig.switch.observe().await.unwrap_err();
    assert!(matches!(error, SwitchError::Unreachable { .. }), "{}: {error}", kind.driver);
    rig.sim.faults().clear();
    rig.must().await;
}

/// Sixty ports in one commit, and how often a switch was spoken to for that.
pub async fn many(kind: Kind) {
    if simulator(kind).is_none() {
        return;
    }
    let mut rig = Rig::around(kind, Simulator::start(spec(kind, 64)).unwrap());
    rig.declare(1100);
    rig.declare(1101);
    let count = rig.ports.len().min(60);
    for nth in 0..count {
        rig.want(nth, PortMode::Access(vlan(1100)));
    }
    rig.must().await;
    let before = rig.sim.faults().counts();
    for nth in 0..count {
        rig.want(nth, PortMode::Access(vlan(1101)));
    }
    let done = rig.ensure().await.unwrap();
    assert_eq!(differs(&rig.wanted, &done.after, &rig.facts), []);
    let after = rig.sim.faults().counts();
    assert_eq!(after.connections, before.connections, "{}: one session", kind.driver);
    assert!(after.saves - before.saves <= 1, "{}: {} saves", kind.driver, after.saves - before.saves);
    // Where lines take effect one by one there is nothing to commit.
    let commits = after.commits - before.commits;
    let shell = ["frr_linux", "ovs_ssh", "sonic"].contains(&kind.driver);
    assert!(commits <= 1 || shell, "{}: {commits} commits", kind.driver);
    let (config, rules) = (rig.running(), rig.sim.device().rules());
    for nth in 0..count {
        assert!(is_in_mode(&config, rules, &rig.port(nth), &PortMode::Access(vlan(1101)), rig.facts.isolates_by));
    }
}

/// Several ask at once: one after the other is served, on one session, and none is lost.
pub async fn together(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.declare(1100);
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    let connections = rig.sim.faults().counts().connections;
    rig.want(0, PortMode::Access(vlan(1100)));
    let (one, two, three, four) = tokio::join!(rig.ensure(), rig.switch.observe(), rig.ensure(), rig.switch.observe());
    let committed = [one.unwrap().committed, three.unwrap().committed];
    assert_eq!(committed.iter().filter(|it| **it).count(), 1, "{}: the second found nothing to do", kind.driver);
    two.unwrap();
    let seen = four.unwrap();
    assert_eq!(differs(&rig.wanted, &seen, &rig.facts), [], "{}", kind.driver);
    assert_eq!(rig.sim.faults().counts().connections, connections);
    rig.must().await;
}

/// A call that its caller gives up in the middle leaves nothing behind that the next one stumbles over.
pub async fn given_up(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.declare(1100);
    rig.declare(1101);
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    rig.sim.faults().change(|it| it.line_ms = 3);
    for (nth, wait) in [1, 5, 15, 40, 80, 160].into_iter().enumerate() {
        rig.want(0, if nth % 2 == 0 { PortMode::Access(vlan(1100)) } else { trunk(Some(1101), [1100]) });
        // Whether it was in time does not matter.
        let _late = tokio::time::timeout(Duration::from_millis(wait), rig.ensure()).await;
    }
    rig.sim.faults().clear();
    rig.must().await;
}
