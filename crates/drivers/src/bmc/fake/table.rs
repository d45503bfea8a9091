//! What is remembered of hardware that is not there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

use crate::bmc::{BootChoice, BootMode, PowerState};

/// Most nodes remembered; the one untouched for longest is forgotten first.
const NODES: usize = 65_536;

/// Power that was ordered, and what the node's row said then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) state: PowerState,
    pub(super) seen: Option<PowerState>,
}

/// What no row holds.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) boot: Option<BootChoice>,
    pub(super) boot_mode: Option<BootMode>,
    pub(super) secure_boot: Option<bool>,
    pub(super) led: Option<String>,
    pub(super) media: BTreeMap<String, String>,
    pub(super) bios: BTreeMap<String, String>,
    pub(super) firmware: BTreeMap<String, String>,
    pub(super) raid: Vec<Value>,
}

#[derive(Default)]
struct Entry {
    touched: u64,
    order: Option<Order>,
    extra: Option<Box<Extra>>,
}

#[derive(Default)]
struct Table {
    clock: u64,
    nodes: HashMap<String, Entry>,
}

impl Table {
    fn entry(&mut self, node: &str) -> &mut Entry {
        self.clock += 1;
        if self.nodes.len() >= NODES && !self.nodes.contains_key(node) {
            // A sixteenth at once, so that a table that is full does not look for the oldest at each call.
            let mut touched: Vec<u64> = self.nodes.values().map(|it| it.touched).collect();
            let (_, bound, _) = touched.select_nth_unstable(NODES / 16);
            let bound = *bound;
            self.nodes.retain(|_, it| it.touched > bound);
        }
        let clock = self.clock;
        let entry = self.nodes.entry(node.to_owned()).or_default();
        entry.touched = clock;
        entry
    }
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

fn table<T>(with: impl FnOnce(&mut Table) -> T) -> T {
    with(&mut TABLE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Remembers that power was ordered.
pub(super) fn order(node: &str, order: Order) {
    table(|it| it.entry(node).order = Some(order));
}

/// The power that was ordered and that the node's row (`seen`) does not show yet.
pub(super) fn power(node: &str, seen: Option<PowerState>) -> Option<PowerState> {
    table(|it| {
        let entry = it.nodes.get_mut(node)?;
        let order = entry.order?;
        if seen == Some(order.state) || seen != order.seen {
            // The row shows the order, or something that came after it.
            entry.order = None;
            return None;
        }
        Some(order.state)
    })
}

/// Reads or changes what no row holds.
pub(super) fn extra<T>(node: &str, with: impl FnOnce(&mut Extra) -> T) -> T {
    table(|it| with(it.entry(node).extra.get_or_insert_default()))
}
