//! Machines and the power that drives them.
//!
//! [`Machine`] is what a kind of simulated machine must be able to do; [`namespaces`] and [`qemu`] are the kinds. [`run`] is the power
//! circuit that every kind shares: it takes one order after another, does what a machine asks of itself (power off, restart), and is
//! the only one to say what the power state is.

pub(crate) mod namespaces;
pub(crate) mod qemu;
pub(crate) mod supervisor;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::stop::stopped;

/// Time from the power button to the first instruction of the firmware: short, but not nothing.
const POWER_ON_DELAY: Duration = Duration::from_millis(150);
/// Orders a machine's power circuit keeps waiting; a client that sends more is refused.
const MAX_ORDERS: usize = 8;

/// Whether a machine has power; the values of Redfish's `PowerState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// No process of it exists.
    Off,
    /// It is being started.
    PoweringOn,
    /// Its first process runs.
    On,
    /// It is being stopped.
    PoweringOff,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a machine boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Boot {
    /// The network; if nothing answers there, the disk.
    Pxe,
    /// The disk.
    Disk,
}

/// A departure from the usual boot order, as Redfish's `Boot` object has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootOverride {
    /// Where from instead; `None`: no departure.
    pub target: Option<Boot>,
    /// For how long.
    pub enabled: Enabled,
}

/// For how long a boot override holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Not at all.
    Disabled,
    /// For the next boot.
    Once,
    /// Until changed.
    Continuous,
}

impl BootOverride {
    /// The usual order: the disk.
    pub const NONE: Self = Self { target: None, enabled: Enabled::Disabled };

    /// Where the boot that begins now goes, and what remains of the override after it.
    fn consume(&mut self) -> Boot {
        let boot = match self.enabled {
            Enabled::Disabled => None,
            Enabled::Once | Enabled::Continuous => self.target,
        };
        if self.enabled == Enabled::Once {
            *self = Self::NONE;
        }
        boot.unwrap_or(Boot::Disk)
    }
}

/// What can be asked of a machine's power circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Power on; nothing if it is on.
    On,
    /// Cut the power; nothing if it is off.
    Off,
    /// Press the power button for a moment: the operating system decides.
    Button,
    /// Cut the power and give it again.
    Restart,
}

/// What a running machine has done to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It switched itself off, or its first process ended.
    Off,
    /// It restarted itself.
    Restart,
}

/// A kind of machine. All of it must be harmless to repeat.
pub(crate) trait Machine: Send + 'static {
    /// Why it does not obey.
    type Error: std::error::Error + Send + Sync;

    /// Starts it, from firmware on. On success its first process runs.
    fn start(&mut self, boot: Boot) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Ends it at once and leaves nothing of it running, mounted or attached.
    fn stop(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tells its operating system that the power button was pressed.
    fn button(&mut self) -> Result<(), Self::Error>;

    /// Waits until it ends by itself; for ever if it is not running. May be dropped and called again.
    fn ended(&mut self) -> impl Future<Output = Ended> + Send;
}

/// The management controller's end of a power circuit.
pub struct Circuit {
    orders: mpsc::Sender<Order>,
    power: watch::Receiver<Power>,
    boot: Arc<Mutex<BootOverride>>,
}

/// The machine's end of a power circuit.
pub(crate) struct Supply {
    orders: mpsc::Receiver<Order>,
    power: watch::Sender<Power>,
    boot: Arc<Mutex<BootOverride>>,
}

/// A power circuit for a machine that is off.
pub(crate) fn circuit() -> (Circuit, Supply) {
    let (order, orders) = mpsc::channel(MAX_ORDERS);
    let (now, power) = watch::channel(Power::Off);
    let boot = Arc::new(Mutex::new(BootOverride::NONE));
    (Circuit { orders: order, power, boot: Arc::clone(&boot) }, Supply { orders, power: now, boot })
}

/// The circuit already has all the orders it can keep, or its machine is being dismantled.
#[derive(Debug, thiserror::Error)]
#[error("the power circuit takes no more orders now")]
pub struct Busy;

impl Circuit {
    /// The power state this moment.
    pub fn power(&self) -> Power {
        *self.power.borrow()
    }

    /// Gives an order; it is carried out after those before it.
    ///
    /// # Errors
    /// [`Busy`]; the order is not kept.
    pub fn order(&self, order: Order) -> Result<(), Busy> {
        self.orders.try_send(order).map_err(|_| Busy)
    }

    /// The boot override now in force.
    pub fn boot(&self) -> BootOverride {
        *locked(&self.boot)
    }

    /// Sets the boot override.
    pub fn set_boot(&self, wanted: BootOverride) {
        *locked(&self.boot) = wanted;
    }
}

fn locked(boot: &Mutex<BootOverride>) -> MutexGuard<'_, BootOverride> {
    // The value is always whole: it is only ever assigned.
    boot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a machine's power until all ends of its circuit are gone or `stop` becomes true, then cuts it.
pub(crate) async fn run<M: Machine>(name: String, mut machine: M, supply: Supply, mut stop: watch::Receiver<bool>) {
    let Supply { mut orders, power, boot } = supply;
    loop {
        let order = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            order = orders.recv() => match order {
                Some(order) => order,
                None => break,
            },
            ended = machine.ended() => {
                tracing::info!(machine = name, ?ended, "ended by itself");
                match ended { Ended::Off => Order::Off, Ended::Restart => Order::Restart }
            }
        };
        let is_on = *power.borrow() == Power::On;
        match order {
            Order::On if is_on => {}
            Order::On => power_on(&name, &mut machine, &power, &boot).await,
            Order::Off => power_off(&name, &mut machine, &power).await,
            Order::Restart => {
                power_off(&name, &mut machine, &power).await;
                power_on(&name, &mut machine, &power, &boot).await;
            }
            Order::Button if is_on => {
                if let Err(error) = machine.button() {
                    tracing::warn!(machine = name, error = %chain(&error), "the power button does nothing");
                }
            }
            Order::Button => {}
        }
    }
    power_off(&name, &mut machine, &power).await;
}

async fn power_on<M: Machine>(name: &str, machine: &mut M, power: &watch::Sender<Power>, boot: &Mutex<BootOverride>) {
    power.send_replace(Power::PoweringOn);
    tokio::time::sleep(POWER_ON_DELAY).await;
    let from = locked(boot).consume();
    match machine.start(from).await {
        Ok(()) => {
            tracing::info!(machine = name, ?from, "power on");
            power.send_replace(Power::On);
        }
        Err(error) => {
            tracing::error!(machine = name, error = %chain(&error), "does not start");
            power_off(name, machine, power).await;
        }
    }
}

async fn power_off<M: Machine>(name: &str, machine: &mut M, power: &watch::Sender<Power>) {
    if *power.borrow() == Power::Off {
        return;
    }
    power.send_replace(Power::PoweringOff);
    // Off is reported only once it is true. A machine that cannot be ended stays PoweringOff: the next order tries again.
    match machine.stop().await {
        Ok(()) => {
            tracing::info!(machine = name, "power off");
            power.send_replace(Power::Off);
        }
        Err(error) => tracing::error!(machine = name, error = %chain(&error), "does not stop"),
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_for_once_is_used_up() {
        let mut boot = BootOverride { target: Some(Boot::Pxe), enabled: Enabled::Once };
        assert_eq!((boot.consume(), boot.consume()), (Boot::Pxe, Boot::Disk));
        let mut boot = BootOverride { target: Some(Boot::Pxe), enabled: Enabled::Continuous };
        assert_eq!((boot.consume(), boot.consume()), (Boot::Pxe, Boot::Pxe));
        let mut boot = BootOverride { target: Some(Boot::Pxe), enabled: Enabled::Disabled };
        assert_eq!(boot.consume(), Boot::Disk);
    }

    /// A machine of paper: notes what is done to it and ends when told.
    struct Paper {
        log: mpsc::UnboundedSender<String>,
        end: mpsc::Receiver<Ended>,
        stuck: bool,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("stuck")]
    struct Stuck;

    impl Machine for Paper {
        type Error = Stuck;

        async fn start(&mut self, boot: Boot) -> Result<(), Stuck> {
            self.log.send(format!("start {boot:?}")).unwrap();
            Ok(())
        }

        async fn stop(&mut self) -> Result<(), Stuck> {
            self.log.send("stop".into()).unwrap();
            if std::mem::take(&mut self.stuck) { Err(Stuck) } else { Ok(()) }
        }

        fn button(&mut self) -> Result<(), Stuck> {
            self.log.send("button".into()).unwrap();
            Ok(())
        }

        async fn ended(&mut self) -> Ended {
            match self.end.recv().await {
                Some(ended) => ended,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn orders_are_carried_out_in_turn_and_the_machine_may_end_itself() {
        let (log, mut said) = mpsc::unbounded_channel();
        let (end, ends) = mpsc::channel(1);
        let (circuit, supply) = circuit();
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(run("m1".into(), Paper { log, end: ends, stuck: true }, supply, stopping));
        let mut power = circuit.power.clone();

        circuit.order(Order::Off).unwrap();
        circuit.order(Order::Button).unwrap();
        circuit.set_boot(BootOverride { target: Some(Boot::Pxe), enabled: Enabled::Once });
        circuit.order(Order::On).unwrap();
        circuit.order(Order::On).unwrap();
        assert_eq!(said.recv().await.unwrap(), "start Pxe");
        power.wait_for(|now| *now == Power::On).await.unwrap();

        // A restart by itself; its first attempt to stop fails, and yet Off is never claimed before it is true.
        end.send(Ended::Restart).await.unwrap();
        assert_eq!(said.recv().await.unwrap(), "stop");
        assert_eq!(said.recv().await.unwrap(), "start Disk");
        power.wait_for(|now| *now == Power::On).await.unwrap();

        circuit.order(Order::Button).unwrap();
        assert_eq!(said.recv().await.unwrap(), "button");
        end.send(Ended::Off).await.unwrap();
        assert_eq!(said.recv().await.unwrap(), "stop");
        power.wait_for(|now| *now == Power::Off).await.unwrap();

        circuit.order(Order::Restart).unwrap();
        assert_eq!(said.recv().await.unwrap(), "start Disk");
        power.wait_for(|now| *now == Power::On).await.unwrap();
        stop.send_replace(true);
        task.await.unwrap();
        assert_eq!(said.recv().await.unwrap(), "stop");
        assert_eq!(circuit.power(), Power::Off);
        assert!(circuit.order(Order::On).is_err());
    }
}
