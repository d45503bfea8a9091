//! Whatever somebody does to a switch by other means than its own language, it says so in that language: what is shown leads to the same
//! frames as what was done. Random, with the seed printed; `COFFERDAM_TEST_SEED` repeats one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Login, Session, Shape, find};
use crate::netos::device::{Allowed, Carried, Config, Device, Group, Membership, Mode, Port, Protocol, Vlan};

/// A small generator of random numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % end
    }

    fn vlan(&mut self) -> u16 {
        10 + u16::try_from(self.below(6)).unwrap_or_default()
    }

    fn port(&mut self) -> Port {
        let mut it = Port { up: self.below(4) > 0, access: self.vlan(), native: None, ..Port::default() };
        it.allowed = Allowed::Only(BTreeSet::new());
        if self.below(2) == 0 {
            it.mode = Mode::Trunk;
            let mut list: BTreeSet<u16> = (0..1 + self.below(3)).map(|_| self.vlan()).collect();
            if self.below(2) == 0 {
                let native = self.vlan();
                // Everywhere a native VLAN that is allowed too is the same.
                list.insert(native);
                it.native = Some(native);
            }
            it.allowed = Allowed::Only(list);
        }
        if self.below(3) == 0 {
            it.description = format!("to m{}", self.below(100));
        }
        it
    }
}

struct Case {
    os: &'static str,
    group: &'static str,
    /// Lines that let the switch do again what it shows: where it shows it, and what is typed before and after it.
    show: &'static str,
    before: &'static [&'static str],
    after: &'static [&'static str],
    /// Which lines of what is shown can be typed.
    typed: &'static str,
}

const CASES: &[Case] = &[
    Case {
        os: "juniper_junos",
        group: "ae3",
        show: "show configuration | display set | no-more",
        before: &["configure private", "delete vlans", "delete interfaces"],
        after: &["commit and-quit"],
        typed: "set ",
    },
    Case {
        os: "cumulus_nvue",
        group: "bond3",
        show: "nv config show -o commands",
        before: &["nv unset bridge", "nv unset interface"],
        after: &["nv config apply -y"],
        typed: "nv set ",
    },
    Case {
        os: "nokia_srl",
        group: "lag3",
        show: "info flat from running",
        before: &["enter candidate private", "delete / interface *", "delete / network-instance *"],
        after: &["commit now"],
        typed: "set / ",
    },
];

fn type_in(session: &mut dyn Session, line: &str) -> String {
    let answer = session.line(line);
    assert_eq!(answer.status, 0, "{line}: {}{}", answer.text, answer.error);
    answer.text + &answer.error
}

fn carried(device: &Device) -> Vec<(String, Carried, bool, String)> {
    let config = device.running();
    let port = |name: &String| {
        let it = &config.ports[name];
        (name.clone(), device.carries(name), it.up, it.description.clone())
    };
    config.port_names().into_iter().map(port).collect()
}

fn scramble(chance: &mut Chance, config: &mut Config, group: &str) {
    for id in 10..16 {
        config.vlans.insert(id, Vlan { name: Some(format!("net-{id}")), ..Vlan::default() });
    }
    let names: Vec<String> = config.ports.keys().cloned().collect();
    for name in names {
        if chance.below(3) > 0 {
            config.ports.insert(name, chance.port());
        }
    }
    if chance.below(2) == 0 {
        let first: Vec<String> = config.port_names().into_iter().take(2).cloned().collect();
        config.groups.insert(group.to_owned(), Group { protocol: Some(Protocol::Active) });
        config.ports.insert(group.to_owned(), Port { is_group: true, ..chance.port() });
        for name in first {
            let group = Some(Membership { group: group.to_owned(), protocol: Protocol::Active });
            config.ports.insert(name, Port { group, ..Port::default() });
        }
    }
}

#[test]
fn what_is_shown_does_the_same() {
    let seed = std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |it| it.as_secs() ^ u64::from(it.subsec_nanos()))
    });
    println!("COFFERDAM_TEST_SEED={seed}");
    let mut chance = Chance(seed);
    for case in CASES {
        let os = find(case.os).expect(case.os);
        let login = Login { user: "root".into(), enable_password: None, privileged: true };
        for round in 0..40 {
            let shape = Shape { hostname: "leaf1".into(), ports: 5 };
            let device = Arc::new(Device::new([2; 6], os.rules(), os.factory(&shape)));
            device.edit(|it| scramble(&mut chance, it, case.group));
            let done = carried(&device);
            let mut session = os.login(&device, &login);
            let shown = type_in(&mut *session, case.show);
            for line in case.before {
                type_in(&mut *session, line);
            }
            let lines: Vec<&str> = shown.lines().filter(|it| it.starts_with(case.typed)).collect();
            assert!(!lines.is_empty(), "{}: {shown}", case.os);
            for line in lines {
                type_in(&mut *session, line);
            }
            for line in case.after {
                type_in(&mut *session, line);
            }
            assert_eq!(carried(&device), done, "{} in round {round}:\n{shown}", case.os);
            assert_eq!(type_in(&mut *session, case.show), shown, "{} in round {round}", case.os);
        }
    }
}

/// Reading a switch after a change by other means leads to the same data, and putting that in force changes nothing.
#[test]
fn a_tree_of_openconfig_does_the_same() {
    use crate::netos::openconfig::{configuration, factory, tree};
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |it| it.as_secs() ^ u64::from(it.subsec_nanos()));
    println!("seed {seed}");
    let mut chance = Chance(seed);
    for _ in 0..200 {
        let mut config = factory("leaf1", 5);
        scramble(&mut chance, &mut config, "Port-Channel3");
        let shown = tree(&config);
        let after = configuration(&shown, &config);
        assert_eq!((&after.ports, &after.vlans, &after.groups), (&config.ports, &config.vlans, &config.groups));
        assert_eq!(tree(&after), shown);
    }
}
