//! Getting to know a machine: that its BMC answers, and what it says of its firmware.

use std::time::Duration;

use drivers::bmc::Bmc;
use model::baremetal::{NodeBios, NodeBiosDesired, NodeFirmware, NodeFirmwareDesired, NodeInventory, Phase, PowerState, ProvisionState};
use model::{Id, Kind, Object, Timestamp};
use serde_json::json;
use store::{Batch, Facts};

use super::{BMC_LIMIT, Machine, SOON, WAIT};
use crate::inspection;
use crate::runtime::{Fault, Look, Next};

/// How long reading something that is not needed may take.
const EXTRA: Duration = Duration::from_secs(10);

/// How long a machine that is being enrolled may be on its way on or off, in seconds.
const CHANGING_LIMIT: f64 = 180.0;

/// A row of facts to be written.
pub(super) enum Fact {
    Bios(Object<NodeBios>, bool),
    Firmware(Object<NodeFirmware>, bool),
}

impl Fact {
    /// Adds it to a batch.
    pub(super) fn write(self, batch: Batch<Facts>) -> Batch<Facts> {
        fn one<K: Kind>(batch: Batch<Facts>, row: &Object<K>, there: bool) -> Batch<Facts> {
            if there { batch.want(row) } else { batch.create(row) }
        }
        match self {
            Self::Bios(row, there) => one(batch, &row, there),
            Self::Firmware(row, there) => one(batch, &row, there),
        }
    }
}

/// What a BMC answers to what it need not know.
pub(super) async fn extra<T>(asked: impl Future<Output = Result<T, drivers::bmc::BmcError>>) -> Option<T> {
    tokio::time::timeout(EXTRA, asked).await.ok()?.ok()
}

impl Machine<'_> {
    /// The row of a kind whose id is the node's: the stored one, or a new one, and whether it is stored.
    pub(super) async fn row<K: Kind>(&self, desired: K::Desired) -> Result<Option<(Object<K>, bool)>, Fault> {
        let Some(id) = Id::<K>::parse(self.node.id.as_str()) else { return Ok(None) };
        Ok(Some(match self.cx.store.get(&id).await? {
            Some(mut row) => {
                row.desired = desired;
                (row, true)
            }
            None => (Object::new(id, None, "", desired), false),
        }))
    }

    /// BIOS settings and firmware as the BMC tells them; whatever it does not tell is left out.
    pub(super) async fn read_facts(&mut self) -> Result<Vec<Fact>, Fault> {
        let mut out = Vec::new();
        let Ok(bmc) = self.bmc() else { return Ok(out) };
        let read_at = Timestamp::now();
        if let Some(settings) = extra(bmc.bios()).await
            && let Some((row, there)) = self.row::<NodeBios>(NodeBiosDesired { settings, read_at }).await?
        {
            out.push(Fact::Bios(row, there));
        }
        if let Some(mut components) = extra(bmc.firmware()).await {
            let known = match Id::<NodeFirmware>::parse(self.node.id.as_str()) {
                Some(id) => self.cx.store.get(&id).await?,
                None => None,
            };
            for it in &mut components {
                let before = known.as_ref().and_then(|row| row.desired.components.iter().find(|old| old.component == it.component));
                it.current_version.get_or_insert_with(|| it.initial_version.clone());
                if let Some(before) = before {
                    it.initial_version.clone_from(&before.initial_version);
                    it.last_version_flashed.clone_from(&before.last_version_flashed);
                }
            }
            if let Some((row, there)) = self.row::<NodeFirmware>(NodeFirmwareDesired { components, read_at }).await? {
                out.push(Fact::Firmware(row, there));
            }
        }
        self.read_boot_mode(bmc.as_ref()).await;
        Ok(out)
    }

    pub(super) async fn read_boot_mode(&mut self, bmc: &dyn Bmc) {
        if let Some(mode) = extra(bmc.boot_mode()).await {
            self.node.observed.boot_mode = mode.map(|it| it.as_str().to_owned());
        }
        if let Some(on) = extra(bmc.secure_boot()).await {
            self.node.observed.secure_boot = on;
        }
    }

    /// Enrolling: the BMC answers, and the switch ports are known and isolated.
    pub(super) async fn bmc_answers(mut self) -> Look {
        let tried = match self.bmc() {
            Ok(bmc) => bmc.power().await,
            Err(error) => Err(error),
        };
        match tried {
            Ok(drivers::bmc::PowerState::Changing) if self.waited() > CHANGING_LIMIT => {
                return self.unverified(format!("its BMC says for {CHANGING_LIMIT} s that it is neither on nor off")).await;
            }
            Ok(drivers::bmc::PowerState::Changing) => return Ok(Next::Again(SOON)),
            Ok(power) => {
                self.node.observed.power = Some(if power == drivers::bmc::PowerState::On { PowerState::On } else { PowerState::Off });
            }
            Err(error) => {
                let why = error.to_string();
                let hopeless = matches!(error, drivers::bmc::BmcError::Config { .. } | drivers::bmc::BmcError::Denied { .. });
                if hopeless || self.waited() > BMC_LIMIT {
                    return self.unverified(why).await;
                }
                return self.wait(&why, Duration::from_secs(2)).await;
            }
        }
        match self.isolation().await {
            Ok(Ok(_)) => {
                let facts = self.read_facts().await?;
                self.node.observed.target = None;
                self.node.observed.power_failures = 0;
                let write = |batch| facts.into_iter().fold(batch, |batch, it| it.write(batch));
                self.go_with(ProvisionState::Manageable, Phase::Rest, "its BMC answers", write).await
            }
            Ok(Err(reason)) => self.wait(&reason, WAIT).await,
            Err(fault) => self.unverified(fault.to_string()).await,
        }
    }

    async fn unverified(mut self, why: String) -> Look {
        self.node.observed.last_error = Some(why.clone());
        self.node.observed.target = None;
        self.go(ProvisionState::Enroll, Phase::Rest, &why).await
    }

    /// Inspection by what the BMC knows.
    pub(super) async fn inspect_by_bmc(self) -> Look {
        let bmc = match self.bmc() {
            Ok(bmc) => bmc,
            Err(error) => return self.fail(&error.to_string()).await,
        };
        if self.interface(model::baremetal::Interface::Inspect) == "fake" {
            return self.finish("inspected").await;
        }
        match bmc.inventory().await {
            Ok(inventory) => {
                let desired = model::baremetal::NodeInventoryDesired { inventory, plugin_data: json!({}) };
                match self.row::<NodeInventory>(desired).await? {
                    Some((row, there)) => self.take_inventory(row, Some(there)).await,
                    None => self.fail("its id is no id").await,
                }
            }
            Err(
                error @ (drivers::bmc::BmcError::Unreachable { .. }
                | drivers::bmc::BmcError::Timeout { .. }
                | drivers::bmc::BmcError::Conflict { .. }),
            ) => Err(Fault::bmc(error)),
            Err(error) => self.fail(&error.to_string()).await,
        }
    }

    /// The ramdisk has sent what it found.
    pub(super) async fn inspected(self, found: Object<NodeInventory>) -> Look {
        self.take_inventory(found, None).await
    }

    /// Takes over what was found: properties, cards, whatever the rules say. `unwritten`: the inventory itself is to be written too, and
    /// whether there was one.
    async fn take_inventory(mut self, mut found: Object<NodeInventory>, unwritten: Option<bool>) -> Look {
        let taken = match inspection::take(self.cx, &mut self.node, &self.cards, &mut found).await? {
            Ok(taken) => taken,
            Err(why) => return self.fail(&why).await,
        };
        self.wants = true;
        let batch = |batch: Batch<Facts>| {
            let batch = match unwritten {
                Some(false) => batch.create(&found),
                Some(true) => batch.want(&found),
                None if taken.inventory_changed => batch.want(&found),
                None => batch,
            };
            taken.ports.into_iter().fold(batch, |batch, it| it.write(batch))
        };
        if self.is_hands_off() {
            self.node.observed.inspection_finished_at = Some(Timestamp::now());
            self.node.observed.inspection_started_at = None;
            self.node.observed.target = None;
            return self.go_with(ProvisionState::Manageable, Phase::Rest, "inspected", batch).await;
        }
        let state = self.node.observed.state;
        self.go_with(state, Phase::Stop, "its ramdisk told what it found", batch).await
    }
}
