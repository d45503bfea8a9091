//! From any state to any other, at random.

use drivers::switch::{LagProtocol, PortMode, SeenMode};
use lab::netos::device::{Allowed, Membership, Mode, Port, Protocol};

use super::rig::{Kind, Rig, seen, trunk, vlan};

/// A small generator of numbers that can be begun anew from a printed seed (Marsaglia, "Xorshift RNGs", 2003).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("COFFERDAM_TEST_SEED").ok().and_then(|it| it.parse().ok());
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = seed.unwrap_or_else(now) | 1;
        println!("COFFERDAM_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn is(&mut self) -> bool {
        self.below(2) == 0
    }

    fn vlan(&mut self) -> u16 {
        1100 + self.below(6) as u16
    }

    fn mode(&mut self) -> PortMode {
        match self.below(5) {
            0 => PortMode::Isolated,
            1 => PortMode::Access(vlan(self.vlan())),
            _ => {
                let native = self.is().then(|| self.vlan());
                let tagged: Vec<u16> = (0..self.below(5)).map(|_| self.vlan()).filter(|it| Some(*it) != native).collect();
                trunk(native, tagged)
            }
        }
    }
}

/// Three ports and a group walk through random modes; each arrival is proven by the switch itself.
pub async fn modes(kind: Kind) {
    let Some(mut rig) = Rig::start(kind) else { return };
    let mut chance = Chance::new();
    for id in 1100..1106 {
        rig.declare(id);
    }
    for _ in 0..12 {
        for nth in 0..3 {
            let mode = chance.mode();
            rig.want(nth, mode);
        }
        if rig.facts.has_lags {
            let lag = rig.lag();
            if chance.is() {
                rig.wanted.lags.insert(lag.clone(), LagProtocol::Lacp);
                let mode = chance.mode();
                rig.wanted.ports.insert(lag.clone(), mode.into());
                rig.want(2, PortMode::Member { lag: lag.clone() });
                if chance.is() {
                    rig.want(1, PortMode::Member { lag });
                }
            } else {
                rig.wanted.lags.remove(&lag);
                rig.wanted.ports.remove(&lag);
            }
        }
        println!("{:?}", rig.wanted.ports.iter().map(|(name, it)| format!("{name} {}", it.mode)).collect::<Vec<_>>());
        rig.must().await;
    }
}

/// What an operator may have made of a port.
fn any_port(chance: &mut Chance, kind: Kind) -> Port {
    let hybrid = ["hpe_comware", "huawei_vrp"].contains(&kind.os);
    let routed = ["cisco_ios", "cisco_nxos", "arista_eos", "aruba_aoscx"].contains(&kind.os);
    let mode = match chance.below(if hybrid { 3 } else { 2 }) {
        0 => Mode::Access,
        1 => Mode::Trunk,
        _ => Mode::Hybrid,
    };
    let allowed = (0..chance.below(6)).map(|_| chance.vlan()).collect();
    Port {
        up: chance.is(),
        description: if chance.is() { "cofferdam old".to_owned() } else { String::new() },
        routed: routed && chance.below(8) == 0,
        mode,
        access: if chance.is() { chance.vlan() } else { 1 },
        native: Some(if chance.is() { chance.vlan() } else { 1 }),
        allowed: if chance.below(5) == 0 { Allowed::All } else { Allowed::Only(allowed) },
        untagged: if mode == Mode::Hybrid { [chance.vlan()].into() } else { Default::default() },
        ..Port::default()
    }
}

/// Whatever a port was, what is asked for is what it then is.
pub async fn from_anything(kind: Kind) {
    // On these what a mode does not use is not kept.
    let keeps = ["cisco_ios", "cisco_nxos", "arista_eos", "dell_os10", "hpe_comware", "aruba_aoscx", "mellanox_mlnxos", "huawei_vrp"];
    if !keeps.contains(&kind.os) {
        return;
    }
    let Some(mut rig) = Rig::start(kind) else { return };
    let mut chance = Chance::new();
    for id in 1100..1106 {
        rig.declare(id);
    }
    rig.must().await;
    for _ in 0..20 {
        let states: Vec<Port> = (0..4).map(|_| any_port(&mut chance, kind)).collect();
        rig.sim.device().edit(|config| {
            for (nth, port) in states.iter().enumerate() {
                config.ports.insert(rig.ports[nth].clone(), port.clone());
            }
        });
        if rig.facts.has_lags && chance.is() {
            let lag = rig.lag();
            rig.sim.device().edit(|config| {
                config.ports.insert(lag.clone(), Port { is_group: true, description: "cofferdam".to_owned(), ..Port::default() });
                if let Some(port) = config.ports.get_mut(&rig.ports[3]) {
                    port.group = Some(Membership { group: lag, protocol: Protocol::Active });
                }
            });
        }
        for nth in 0..4 {
            let mode = chance.mode();
            rig.want(nth, mode);
        }
        println!("{states:?}\n-> {:?}", rig.wanted.ports.iter().map(|(name, it)| format!("{name} {}", it.mode)).collect::<Vec<_>>());
        let done = rig.must().await;
        for nth in 0..4 {
            let name = rig.port(nth);
            assert_eq!(seen(&done, &name), SeenMode::Known(rig.wanted.ports[&name].mode.clone()));
        }
    }
}
