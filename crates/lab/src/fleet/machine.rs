//! One fake machine: who it is, its power and what it boots, its disk.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::AbortHandle;

use super::agent::{self, Agent};
use super::chance::{self, Draw};
use super::{Settings, Shared};

/// The first address of the range that machines have; all of 127/8 is this host.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 1]);
/// How many machines there can be.
pub(crate) const MOST: usize = 100_000;
/// How many machines hang on one leaf switch.
const PORTS_A_LEAF: usize = 48;
/// How many sessions a BMC keeps.
const SESSIONS: usize = 16;

/// Power as the BMC tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Power {
    /// Off.
    Off,
    /// On its way to on.
    PoweringOn,
    /// On.
    On,
    /// On its way to off.
    PoweringOff,
}

impl Power {
    /// As Redfish spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::PoweringOn => "PoweringOn",
            Self::On => "On",
            Self::PoweringOff => "PoweringOff",
        }
    }
}

/// What is asked of the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    On,
    Off,
    Restart,
}

/// What runs on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Running {
    /// Nothing: it is off, or there is nothing to boot.
    Nothing,
    /// Its firmware, or a ramdisk that has not called in yet.
    Booting,
    /// The ramdisk agent.
    Ramdisk,
    /// The ramdisk after it was handed to a person.
    Rescue,
    /// What is on its disk.
    Os,
}

/// An image on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The image's id as the control plane calls it.
    pub id: String,
    /// How many bytes came.
    pub bytes: u64,
    /// Their SHA-512 in hexadecimal.
    pub sha512: String,
    /// How long the text of the config drive was, in bytes; 0 for none.
    pub configdrive_bytes: usize,
}

/// What happened to a machine so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Boots from the network or a virtual medium.
    pub ramdisk_boots: u64,
    /// Of these, those that led nowhere.
    pub lost_boots: u64,
    /// Boots of what is on the disk.
    pub os_boots: u64,
    /// Inventories that the control plane took.
    pub inspections: u64,
    /// Heartbeats that it took.
    pub heartbeats: u64,
    /// Commands an agent was given.
    pub commands: u64,
    /// Steps that failed because chance would have it.
    pub failed_steps: u64,
    /// Images downloaded whole and found as they should be.
    pub images: u64,
    /// Bytes of images, of whole downloads and others.
    pub image_bytes: u64,
    /// Erasures of the whole disk.
    pub erasures: u64,
    /// Requests to the BMC.
    pub bmc_requests: u64,
}

/// What the next boot is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    /// As Redfish spells it: `None`, `Pxe`, `Cd`, `Hdd`, …
    pub(crate) target: &'static str,
    /// `Disabled`, `Once`, `Continuous`.
    pub(crate) enabled: &'static str,
}

/// What firmware settings were changed from.
#[derive(Default)]
pub(crate) struct Firmware {
    /// Settings that are not at their default.
    pub(crate) bios: BTreeMap<String, serde_json::Value>,
    /// What they become at the next start; `None`: their defaults.
    pub(crate) pending: Vec<Option<BTreeMap<String, serde_json::Value>>>,
}

/// What changes about a machine.
pub(crate) struct State {
    pub(crate) power: Power,
    pub(crate) boot: Override,
    pub(crate) is_legacy: bool,
    pub(crate) secure_boot: bool,
    pub(crate) secure_boot_wanted: bool,
    pub(crate) led: &'static str,
    pub(crate) medium: Option<String>,
    pub(crate) firmware: Option<Box<Firmware>>,
    pub(crate) sessions: Vec<String>,
    pub(crate) running: Running,
    pub(crate) agent: Option<Arc<Agent>>,
    pub(crate) disk: Option<Box<Written>>,
    /// Whether anything a tenant wrote may be on the disk.
    pub(crate) is_dirty: bool,
    pub(crate) counts: Counts,
    draws: [u64; chance::KINDS],
    /// Grows with each order; who works for an earlier one has nothing more to say.
    epoch: u64,
    work: Option<AbortHandle>,
}

/// A fake machine.
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) mac: String,
    /// Where its BMC and its agent are.
    pub(crate) address: Ipv4Addr,
    pub(crate) password: String,
    seed: u64,
    state: Mutex<State>,
}

impl Machine {
    pub(crate) fn new(settings: &Settings, index: usize) -> Self {
        let seed = settings.seed;
        let drawn = |turn| chance::draw(seed, index, Draw::Name, turn);
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let [_, b, c, d] = number.to_be_bytes();
        Self {
            index,
            name: format!("f{:05}", index + 1),
            uuid: uuid(drawn(0), drawn(1)),
            // Locally administered, and of one fleet no two the same.
            mac: format!("02:{:02x}:{:02x}:{b:02x}:{c:02x}:{d:02x}", (seed >> 8) & 0xff, seed & 0xff),
            address: Ipv4Addr::from(FIRST.saturating_add(number)),
            password: format!("{:016x}", drawn(2)),
            seed,
            state: Mutex::new(State {
                power: Power::Off,
                boot: Override { target: "None", enabled: "Disabled" },
                is_legacy: false,
                secure_boot: false,
                secure_boot_wanted: false,
                led: "Off",
                medium: None,
                firmware: None,
                sessions: Vec::new(),
                running: Running::Nothing,
                agent: None,
                disk: None,
                is_dirty: false,
                counts: Counts::default(),
                draws: [0, 0, 0, 0, 3],
                epoch: 0,
                work: None,
            }),
        }
    }

    /// The machine an address is of.
    pub(crate) fn index_of(address: Ipv4Addr) -> Option<usize> {
        u32::from(address).checked_sub(FIRST).and_then(|it| usize::try_from(it).ok())
    }

    /// A panic while the lock is held leaves whole values behind here, so going on is right.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn draw(&self, kind: Draw) -> u64 {
        let turn = {
            let mut state = self.lock();
            state.draws.get_mut(kind.number()).map_or(0, |turn| {
                *turn += 1;
                *turn
            })
        };
        chance::draw(self.seed, self.index, kind, turn)
    }

    /// Whether something happens that has this chance.
    pub(crate) fn happens(&self, kind: Draw, chance: f64) -> bool {
        chance > 0.0 && chance::fraction(self.draw(kind)) < chance
    }

    /// A new name, the same in every run.
    pub(crate) fn fresh_uuid(&self) -> String {
        uuid(self.draw(Draw::Name), self.draw(Draw::Name))
    }

    /// How long something takes of which the usual time is known.
    pub(crate) fn takes(&self, milliseconds: u64, jitter: f64) -> Duration {
        let factor = 1.0 + jitter.clamp(0.0, 1.0) * (2.0 * chance::fraction(self.draw(Draw::Time)) - 1.0);
        Duration::from_millis(milliseconds).mul_f64(factor.max(0.0))
    }

    /// The switch port its cable ends in: MAC address of the switch, name of the port, name of the switch.
    pub(crate) fn cable(&self) -> (String, String, String) {
        let leaf = self.index / PORTS_A_LEAF;
        let switch = format!("02:f1:ee:70:{:02x}:{:02x}", (leaf >> 8) & 0xff, leaf & 0xff);
        (switch, format!("Ethernet{}", self.index % PORTS_A_LEAF + 1), format!("leaf{}", leaf + 1))
    }

    /// Keeps a session's token; the oldest is given up when there are too many.
    pub(crate) fn remember_session(&self, token: String) {
        let mut state = self.lock();
        if state.sessions.len() >= SESSIONS {
            state.sessions.remove(0);
        }
        state.sessions.push(token);
    }

    /// Whether the work begun with that order is still what counts.
    pub(crate) fn is_current(&self, epoch: u64) -> bool {
        self.lock().epoch == epoch
    }

    /// Changes the state unless another order came meanwhile; false if one did.
    pub(crate) fn change(&self, epoch: u64, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.lock();
        let current = state.epoch == epoch;
        if current {
            change(&mut state);
        }
        current
    }

    /// Ends whatever it does.
    pub(crate) fn halt(&self) {
        self.lock().interrupt();
    }
}

impl State {
    fn interrupt(&mut self) -> u64 {
        self.epoch += 1;
        self.agent = None;
        self.running = Running::Nothing;
        if let Some(work) = self.work.take() {
            work.abort();
        }
        self.epoch
    }

    /// What it boots now; an override for once is used up, and settings that waited for a start are taken over.
    fn next_boot(&mut self) -> Boot {
        if let Some(firmware) = &mut self.firmware {
            for change in std::mem::take(&mut firmware.pending) {
                match change {
                    Some(settings) => firmware.bios.extend(settings),
                    None => firmware.bios.clear(),
                }
            }
        }
        self.secure_boot = self.secure_boot_wanted;
        let target = if self.boot.enabled == "Disabled" { "None" } else { self.boot.target };
        if self.boot.enabled == "Once" {
            self.boot = Override { target: "None", enabled: "Disabled" };
        }
        match (target, &self.medium) {
            ("Pxe" | "UefiHttp", _) => Boot::Ramdisk(None),
            ("Cd", Some(url)) => Boot::Ramdisk(Some(url.clone())),
            _ if self.disk.is_some() => Boot::Os,
            _ => Boot::Nothing,
        }
    }
}

/// What a start leads to.
enum Boot {
    /// A ramdisk: from the network, or from the image of a virtual medium.
    Ramdisk(Option<String>),
    /// What is on the disk.
    Os,
    /// A prompt that nobody sees.
    Nothing,
}

/// Carries a power order out. Orders for the state that is there, or on its way, change nothing.
pub(crate) fn order(shared: &Arc<Shared>, machine: &Arc<Machine>, order: Order) {
    let mut state = machine.lock();
    let goes_off = match (order, state.power) {
        (Order::On, Power::On | Power::PoweringOn) | (Order::Off, Power::Off | Power::PoweringOff) => return,
        (Order::On | Order::Restart, Power::Off) => false,
        (Order::On, Power::PoweringOff) | (Order::Off | Order::Restart, _) => true,
    };
    let goes_on = order != Order::Off;
    let epoch = state.interrupt();
    state.power = if goes_off { Power::PoweringOff } else { Power::PoweringOn };
    let (shared, machine) = (Arc::clone(shared), Arc::clone(machine));
    state.work = Some(tokio::spawn(go(shared, machine, epoch, goes_off, goes_on)).abort_handle());
}

async fn go(shared: Arc<Shared>, machine: Arc<Machine>, epoch: u64, goes_off: bool, goes_on: bool) {
    let settings = &shared.settings;
    let power_time = || machine.takes(settings.power_ms, settings.jitter);
    if goes_off {
        tokio::time::sleep(power_time()).await;
        let next = if goes_on { Power::PoweringOn } else { Power::Off };
        if !machine.change(epoch, |state| state.power = next) {
            return;
        }
    }
    if !goes_on {
        return;
    }
    tokio::time::sleep(power_time()).await;
    let mut boot = Boot::Nothing;
    let current = machine.change(epoch, |state| {
        state.power = Power::On;
        boot = state.next_boot();
        state.running = if matches!(boot, Boot::Nothing) { Running::Nothing } else { Running::Booting };
    });
    if !current {
        return;
    }
    match boot {
        Boot::Nothing => {}
        Boot::Os => {
            tokio::time::sleep(machine.takes(settings.boot_ms, settings.jitter)).await;
            machine.change(epoch, |state| {
                state.running = Running::Os;
                state.counts.os_boots += 1;
            });
        }
        Boot::Ramdisk(medium) => agent::run(&shared, &machine, epoch, medium).await,
    }
}

/// A uuid of version 4 in form, made of two draws.
fn uuid(high: u64, low: u64) -> String {
    uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart_and_come_again() {
        let settings = Settings::quick(3, "http://127.0.0.1:1/baremetal");
        let all: Vec<Machine> = (0..3000).map(|it| Machine::new(&settings, it)).collect();
        for key in [
            |it: &Machine| it.mac.clone(),
            |it: &Machine| it.uuid.clone(),
            |it: &Machine| it.address.to_string(),
            |it: &Machine| it.password.clone(),
        ] {
            assert_eq!(all.iter().map(key).collect::<std::collections::BTreeSet<_>>().len(), all.len());
        }
        assert_eq!(Machine::index_of(all[2999].address), Some(2999));
        assert_eq!(Machine::index_of(Ipv4Addr::LOCALHOST), None);
        assert!(Machine::new(&settings, MOST).address.is_loopback());
        let again = Machine::new(&settings, 17);
        assert_eq!((&again.mac, &again.password, again.fresh_uuid()), (&all[17].mac, &all[17].password, all[17].fresh_uuid()));
        assert_eq!(all[48].cable(), ("02:f1:ee:70:00:01".to_owned(), "Ethernet1".to_owned(), "leaf2".to_owned()));
    }

    #[test]
    fn an_idle_machine_is_small() {
        assert!(std::mem::size_of::<Machine>() < 1024, "{}", std::mem::size_of::<Machine>());
    }
}
