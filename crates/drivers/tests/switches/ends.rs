//! What a switch is in the end: the states that are asked for, one after the other, as the life of a machine's port goes.

use drivers::switch::{LagProtocol, PortMode, SeenMode, VlanWanted, differs};
use lab::netos::device::{Mode, Vlan};

use super::rig::{Kind, Rig, operators_trunk, trunk, vlan, vlans};

/// A switch fresh from the box: all its sockets are seen, under the names that it gives them.
pub async fn fresh(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    let seen = rig.switch.observe().await.unwrap();
    let mut names = rig.ports.clone();
    names.sort();
    assert_eq!(seen.ports.keys().cloned().collect::<Vec<_>>(), names);
    assert!(seen.vlans.keys().all(|it| it.get() == 1 || it.get() > 4000), "{:?}", seen.vlans);
    for nth in 0..4 {
        rig.want(nth, PortMode::Isolated);
    }
    let done = rig.must().await;
    assert!(done.committed);
}

/// Declared, plugged, moved to another network, unplugged, taken away.
pub async fn access(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    rig.declare(1100);
    rig.declare(1101);
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.want(1, PortMode::Access(vlan(1101)));
    rig.must().await;
    rig.want(0, PortMode::Access(vlan(1101)));
    let done = rig.must().await;
    assert!(!done.after.carried.contains(&vlan(1100)));
    rig.want(0, PortMode::Isolated);
    rig.want(1, PortMode::Isolated);
    rig.must().await;
    rig.wanted.vlans.remove(&vlan(1100));
    rig.wanted.vlans.remove(&vlan(1101));
    let done = rig.must().await;
    assert!(!done.after.has_vlan(vlan(1100)) && !done.after.has_vlan(vlan(1101)), "{:?}", done.after);
    assert!(rig.running().vlans.keys().all(|it| *it != 1100 && *it != 1101));
}

/// Trunks of all shapes, one after the other on the same port.
pub async fn trunks(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    for id in 1100..1110 {
        rig.declare(id);
    }
    for mode in [
        trunk(None, [1100, 1101]),
        trunk(Some(1102), [1100, 1101]),
        trunk(Some(1102), [1101, 1103, 1104, 1105, 1107]),
        trunk(Some(1103), [1102]),
        PortMode::Access(vlan(1103)),
        trunk(Some(1103), []),
        trunk(None, []),
        trunk(None, [1109]),
        PortMode::Isolated,
        trunk(None, [1100]),
        PortMode::Access(vlan(1100)),
        PortMode::Isolated,
    ] {
        rig.want(0, mode);
        rig.must().await;
    }
}

/// A group of two links: made, opened, changed, given up.
pub async fn groups(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    if !rig.facts.has_lags {
        return;
    }
    let lag = rig.lag();
    rig.declare(1100);
    rig.declare(1101);
    rig.want(0, PortMode::Isolated);
    rig.want(1, PortMode::Access(vlan(1101)));
    rig.must().await;
    for protocol in [LagProtocol::Lacp, LagProtocol::Static] {
        if protocol == LagProtocol::Static && kind.os == "sonic" {
            // Its groups speak LACP.
            continue;
        }
        rig.wanted.lags.insert(lag.clone(), protocol);
        for nth in [0, 1] {
            rig.want(nth, PortMode::Member { lag: lag.clone() });
        }
        for mode in [PortMode::Isolated, PortMode::Access(vlan(1100)), trunk(Some(1101), [1100]), PortMode::Isolated] {
            rig.wanted.ports.insert(lag.clone(), mode.into());
            rig.must().await;
            let members: Vec<String> = rig.running().members(&lag).into_iter().cloned().collect();
            assert_eq!(members, [rig.port(0), rig.port(1)]);
        }
        // One link leaves, then all.
        rig.want(1, PortMode::Access(vlan(1101)));
        rig.wanted.ports.insert(lag.clone(), PortMode::Access(vlan(1100)).into());
        rig.must().await;
        rig.want(0, PortMode::Isolated);
        rig.wanted.ports.remove(&lag);
        rig.wanted.lags.remove(&lag);
        rig.must().await;
        assert!(!rig.running().ports.contains_key(&lag), "{:?}", rig.running().ports.get(&lag));
    }
}

/// Ports to other switches gain and lose our VLANs and keep all else.
pub async fn uplinks(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    let up = rig.port(7);
    rig.sim.device().edit(|config| {
        if rig.facts.declares_vlans {
            for (id, name) in [(10, "office"), (20, "phones"), (1150, "cofferdam-old")] {
                config.vlans.insert(id, Vlan { name: Some(name.to_owned()), ..Vlan::default() });
            }
        }
        let port = config.ports.get_mut(&up).unwrap();
        operators_trunk(kind, port, [10, 20, 1150]);
    });
    let before = rig.sim.device().carries(&up);
    assert!(before.tagged.contains(&10) && before.tagged.contains(&20), "{before:?}");
    for ids in [vec![1100, 1101], vec![1100, 1102, 1103], vec![1102], vec![], vec![1104]] {
        for id in &ids {
            rig.declare(*id);
        }
        rig.wanted.vlans.retain(|id, _| id.get() == super::rig::ISOLATION || ids.contains(&id.get()));
        rig.wanted.uplinks.insert(up.clone(), vlans(ids.iter().copied()));
        let done = rig.must().await;
        let now = rig.sim.device().carries(&up);
        assert_eq!(now.untagged, before.untagged, "its native VLAN stays");
        let others: Vec<u16> = now.tagged.iter().copied().filter(|it| *it < 1000).collect();
        assert_eq!(others, [10, 20]);
        assert!(!done.after.carried.contains(&vlan(1150)));
    }
    let port = rig.running().ports[&up].clone();
    assert_eq!(port.description, "to the spine");
}

/// VLANs in VXLAN networks.
pub async fn overlays(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    if !rig.facts.has_vni || super::rig::config(kind, &rig.sim).overlay.is_none() {
        return;
    }
    rig.prepare_overlay();
    let before = rig.running().extra.clone();
    rig.map(1100, 101_100);
    rig.map(1101, 101_101);
    rig.declare(1102);
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.must().await;
    rig.map(1100, 102_200);
    rig.must().await;
    rig.want(0, PortMode::Isolated);
    rig.must().await;
    rig.wanted.vlans.remove(&vlan(1100));
    rig.declare(1101);
    let done = rig.must().await;
    assert!(!done.after.has_vlan(vlan(1100)));
    assert_eq!(rig.running().vlans.get(&1101).and_then(|it| it.vni), None);
    if kind.driver == "arista_eos" {
        half_a_map(&mut rig).await;
    }
    rig.wanted.vlans.remove(&vlan(1101));
    rig.must().await;
    let after = rig.running().extra.clone();
    let lines = |it: &std::collections::BTreeMap<String, Vec<String>>, number: &str| {
        it.values().flatten().filter(|line| line.contains(number)).cloned().collect::<Vec<_>>()
    };
    for vni in ["101100", "101101", "102200"] {
        assert_eq!(lines(&after, vni), lines(&before, vni), "nothing of the mapping is left");
    }
}

/// A map of which a change that broke off left half is completed where it is wanted, and else taken away.
async fn half_a_map(rig: &mut Rig) {
    let break_off = |rig: &Rig| drop(rig.sim.type_lines(["enable", "configure", "router bgp 65001", "no vlan 1101", "end"]));
    rig.map(1101, 101_101);
    rig.must().await;
    break_off(rig);
    let seen = rig.switch.observe().await.unwrap();
    assert!(!differs(&rig.wanted, &seen, &rig.facts).is_empty(), "nobody is told of the VLAN: {:?}", seen.vlans);
    rig.must().await;
    break_off(rig);
    rig.declare(1101);
    let seen = rig.switch.observe().await.unwrap();
    assert!(!differs(&rig.wanted, &seen, &rig.facts).is_empty(), "the number is in use: {:?}", seen.vlans);
    rig.must().await;
    assert_eq!(rig.running().vlans.get(&1101).and_then(|it| it.vni), None);
}

/// What belongs to others stays as it is, whatever is done to what is ours.
pub async fn others(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    let (foreign, uplink) = (rig.port(9), rig.port(10));
    rig.sim.device().edit(|config| {
        if rig.facts.declares_vlans {
            config.vlans.insert(77, Vlan { name: Some("printers".to_owned()), ..Vlan::default() });
            config.vlans.insert(1111, Vlan { name: Some("not-ours".to_owned()), ..Vlan::default() });
        }
        let printer = config.ports.get_mut(&foreign).unwrap();
        (printer.up, printer.negotiates, printer.routed) = (true, false, false);
        (printer.mode, printer.access) = (Mode::Access, 77);
        printer.description = "printer in room 5".to_owned();
        operators_trunk(kind, config.ports.get_mut(&uplink).unwrap(), [77, 1111]);
    });
    let seen = rig.switch.observe().await.unwrap();
    let has_names = seen.vlans.get(&vlan(77)).is_some_and(|it| it.name.is_some());
    if !has_names {
        // There nothing tells whose a VLAN is but its number.
        rig.sim.device().edit(|config| {
            config.vlans.remove(&1111);
            config.vlans.insert(77, Vlan::default());
            operators_trunk(kind, config.ports.get_mut(&uplink).unwrap(), [77]);
        });
    }
    rig.declare(1100);
    rig.declare(1101);
    rig.want(0, PortMode::Isolated);
    rig.want(1, PortMode::Isolated);
    let mut before = rig.foreign();
    for (nth, mode) in [PortMode::Access(vlan(1100)), trunk(Some(1101), [1100]), PortMode::Isolated].into_iter().enumerate() {
        rig.want(0, mode.clone());
        rig.want(1, mode);
        if has_names {
            // A VLAN of our range that bears another's name: neither renamed nor removed.
            let done = rig.ensure().await.unwrap();
            assert_eq!(differs(&rig.wanted, &done.after, &rig.facts), []);
            assert_eq!(done.after.vlans[&vlan(1111)].name.as_deref(), Some("not-ours"), "{}", kind.driver);
        } else {
            rig.must().await;
        }
        let after = rig.foreign();
        for (name, port) in &before.0 {
            assert_eq!(after.0.get(name), Some(port), "{name}");
        }
        assert_eq!(after.0.len(), before.0.len());
        if has_names {
            assert_eq!(after.1, before.1);
        } else {
            assert_eq!(after.1.keys().collect::<Vec<_>>(), before.1.keys().collect::<Vec<_>>());
        }
        if nth == 0 {
            // Some keep all as text, which follows the hand edit with the first commit only.
            before.2 = after.2;
        } else {
            assert_eq!(after.2, before.2);
        }
    }
    let seen = rig.switch.observe().await.unwrap();
    // Of whatever making it is, it is one that carries this.
    let mode = seen.mode(&foreign).clone();
    assert!(mode == SeenMode::Known(PortMode::Access(vlan(77))) || matches!(mode, SeenMode::Foreign(_)), "{mode}");
    if kind.has_descriptions() {
        assert_eq!(seen.ports[&foreign].description, "printer in room 5");
    }
    assert!(seen.carried.contains(&vlan(77)));
    if has_names {
        assert!(seen.carried.contains(&vlan(1111)));
        assert_eq!(rig.running().vlans[&1111].name.as_deref(), Some("not-ours"));
    }
}

/// A description that somebody else wrote stays; ours changes; a port that is not there stays a difference and hinders nobody.
pub async fn odds(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    if !kind.has_descriptions() {
        return;
    }
    let theirs = rig.port(1);
    rig.sim.device().edit(|config| {
        if let Some(port) = config.ports.get_mut(&theirs) {
            port.description = "do not unplug".to_owned();
        }
    });
    rig.declare(1100);
    rig.want(0, PortMode::Access(vlan(1100)));
    rig.want(1, PortMode::Access(vlan(1100)));
    let done = rig.ensure().await.unwrap();
    assert_eq!(differs(&rig.wanted, &done.after, &rig.facts), []);
    assert_eq!(rig.running().ports[&theirs].description, "do not unplug");
    assert_eq!(rig.running().ports[&rig.port(0)].description, "cofferdam port 0");
    let first = rig.port(0);
    rig.wanted.ports.get_mut(&first).unwrap().description = "cofferdam another".to_owned();
    rig.ensure().await.unwrap();
    assert_eq!(rig.running().ports[&first].description, "cofferdam another");
    // Renamed, if VLANs have names; the mark stays.
    rig.wanted.vlans.insert(vlan(1100), VlanWanted { name: "cofferdam-renamed".to_owned(), vni: None });
    let done = rig.ensure().await.unwrap();
    assert_eq!(differs(&rig.wanted, &done.after, &rig.facts), []);
    let missing = rig.port(0).replace(|it: char| it.is_ascii_digit(), "99");
    rig.wanted.ports.insert(missing.clone(), PortMode::Isolated.into());
    rig.want(0, PortMode::Isolated);
    let done = rig.ensure().await.unwrap();
    assert_eq!(*done.after.mode(&missing), SeenMode::Absent);
    assert_eq!(*done.after.mode(&first), SeenMode::Known(PortMode::Isolated));
    assert_eq!(differs(&rig.wanted, &done.after, &rig.facts).len(), 1);
}

/// Ports may be spelled as cables' ends are labelled.
pub async fn spellings(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    let short = match kind.driver {
        "cisco_ios" => rig.port(0).replace("GigabitEthernet", "Gi"),
        "cisco_nxos" => rig.port(0).replace("Ethernet", "Eth"),
        "arista_eos" => rig.port(0).replace("Ethernet", "Et"),
        _ => return,
    };
    assert_ne!(short, rig.port(0));
    rig.declare(1100);
    rig.wanted.ports.insert(short.clone(), PortMode::Access(vlan(1100)).into());
    let done = rig.ensure().await.unwrap();
    assert_eq!(differs(&rig.wanted, &done.after, &rig.facts), []);
    let seen = rig.switch.observe().await.unwrap();
    assert_eq!(*seen.mode(&short), SeenMode::Known(PortMode::Access(vlan(1100))));
    assert_eq!(*seen.mode(&rig.port(0)), SeenMode::Absent, "it has one name");
    assert_eq!(rig.sim.device().carries(&rig.port(0)).untagged, Some(1100));
    rig.want(0, PortMode::Isolated);
    assert!(rig.ensure().await.is_err(), "two wishes for one port");
}
