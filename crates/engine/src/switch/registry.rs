//! The open switches: each is opened when it is first looked at, and anew when it was declared otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use drivers::switch::{Login, Overlay, Switch as Driver, SwitchConfig, SwitchError, Trust, port_name};
use model::fabric::{Declared, Switch, SwitchDesired, SwitchPort};
use model::{Id, Object, Secret};
use store::{Batch, Query, Store, StoreError};

use super::watch::Watch;
use crate::config::{FabricConfig, FabricSwitch};
use crate::runtime::{Cx, EngineError};

/// Opens what was sealed for the store; `None` if it was not sealed here.
pub type Unseal = dyn Fn(&str) -> Option<Secret> + Send + Sync;

/// A driver, as what it was opened, and who listens to what the switch tells by itself.
struct Opened {
    config: SwitchConfig,
    driver: Arc<dyn Driver>,
    watch: Option<Watch>,
}

impl Opened {
    /// Whether somebody listens to the switch, if it tells anything.
    fn is_watched(&self) -> bool {
        self.watch.as_ref().is_none_or(|it| !it.has_ended())
    }
}

/// The open switches.
pub(crate) struct Registry {
    open: RwLock<BTreeMap<String, Opened>>,
    /// The secrets of switches of the configuration file; those are never stored.
    of_file: BTreeMap<String, BTreeMap<String, Secret>>,
    unseal: Arc<Unseal>,
    /// Since when switches have answered without a change that broke off in between, and what [`Mark`] there was then.
    answering: Mutex<BTreeMap<String, (Instant, Mark)>>,
}

/// How many changes of a switch had been broken off, and how often it had not answered, by whomever.
type Mark = (u64, u64);

/// The mark of now: between two looks no change is under way.
fn mark(switch: &Object<Switch>) -> Mark {
    (switch.observed.begun.saturating_sub(switch.observed.ended), switch.observed.silences)
}

/// What a look can build on.
#[derive(Clone, Copy)]
pub(super) struct Footing {
    /// Whether what is read can be believed.
    pub(super) is_settled: bool,
    /// Whether the switch has answered here since the last change was begun.
    is_answering: bool,
}

impl Registry {
    /// Whether what is read of a switch from now on can be believed. After a change that was broken off (the switch fell silent, or we
    /// died) lines of it may lie in some buffer of the switch and come into force after it was read: so it must have answered for a
    /// while before that. What another replica broke off since, or found silent, or a look of ours that was given up, makes the time
    /// begin anew.
    pub(super) fn footing(&self, switch: &Object<Switch>, settle: Duration) -> Footing {
        let answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let since = answering.get(switch.id.as_str()).filter(|(_, then)| *then == mark(switch)).map(|(since, _)| *since);
        let is_settled = !switch.observed.writing || since.is_some_and(|since| since.elapsed() >= settle);
        Footing { is_settled, is_answering: since.is_some() }
    }

    /// The switch answered in a look that began on this footing, to the end of it.
    pub(super) fn answered(&self, switch: &Object<Switch>, footing: Footing) {
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = answering.entry(switch.id.to_string()).or_insert_with(|| (Instant::now(), mark(switch)));
        *entry = (if footing.is_answering { entry.0 } else { Instant::now() }, mark(switch));
    }

    /// The switch did not answer.
    pub(super) fn fell_silent(&self, switch: &Object<Switch>) {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner).remove(switch.id.as_str());
    }

    /// # Errors
    /// A file with a secret cannot be read.
    pub(crate) fn new(config: &FabricConfig, unseal: Arc<Unseal>) -> Result<Self, SwitchError> {
        let mut of_file = BTreeMap::new();
        for it in &config.switches {
            of_file.insert(it.name.clone(), it.secrets().map_err(|reason| unusable(&it.name, reason))?);
        }
        Ok(Self { open: RwLock::default(), of_file, unseal, answering: Mutex::default() })
    }

    /// The driver of a switch.
    pub(crate) fn get(&self, cx: &Cx, switch: &Object<Switch>) -> Result<Arc<dyn Driver>, SwitchError> {
        let config = self.config(cx, switch)?;
        {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = open.get(switch.id.as_str()).filter(|it| it.config == config && it.is_watched()) {
                return Ok(Arc::clone(&known.driver));
            }
        }
        let driver: Arc<dyn Driver> = Arc::from(drivers::switch::open(config.clone())?);
        let watch = Watch::begin(&cx.store, &switch.id, &driver);
        let opened = Opened { config, driver: Arc::clone(&driver), watch };
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(switch.id.to_string(), opened);
        Ok(driver)
    }

    /// The switch is not spoken to any more.
    pub(crate) fn forget(&self, name: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.answering.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether some open switch maps VLANs to VXLAN networks.
    pub(crate) fn has_overlay(&self) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().any(|it| it.config.overlay.is_some())
    }

    fn config(&self, cx: &Cx, switch: &Object<Switch>) -> Result<SwitchConfig, SwitchError> {
        let it = &switch.desired;
        let secret = |name: &str| -> Result<Option<Secret>, SwitchError> {
            if it.declared == Declared::File {
                return Ok(self.of_file.get(switch.id.as_str()).and_then(|of| of.get(name)).cloned());
            }
            let sealed = it.sealed.get(name);
            let opened = sealed.map(|sealed| (self.unseal)(sealed).ok_or(())).transpose();
            opened.map_err(|()| SwitchError::Config {
                switch: switch.id.to_string(),
                reason: format!("its {name} was sealed with a key that is not here any more: set it again"),
            })
        };
        Ok(SwitchConfig {
            name: switch.id.to_string(),
            driver: it.driver.clone(),
            endpoint: it.endpoint.clone(),
            bridge: it.bridge.clone(),
            isolation_vlan: cx.config.fabric.isolation_vlan,
            login: Login {
                username: it.username.clone(),
                password: secret("password")?,
                private_key: secret("private_key")?,
                enable_password: secret("enable_password")?,
            },
            trust: Trust {
                host_key: it.host_key.clone().or_else(|| switch.observed.host_key.clone()),
                on_first_use: it.trust_on_first_use,
                ca: it.ca.clone(),
                certificate: it.certificate.clone(),
                key: secret("key")?,
            },
            overlay: it.overlay.as_ref().map(|it| Overlay { vtep: it.vtep.clone(), bgp_as: it.bgp_as }),
        })
    }
}

fn unusable(switch: &str, reason: String) -> SwitchError {
    SwitchError::Config { switch: switch.to_owned(), reason }
}

/// Writes the switches of the configuration file into the store, and which of the stored ones it has no more.
pub(crate) async fn declare_all(store: &Store, config: &FabricConfig) -> Result<(), EngineError> {
    for it in &config.switches {
        declare(store, it).await?;
        take_ports(store, it).await?;
    }
    for mut it in store.list(&Query::<Switch>::new()).await? {
        if it.desired.declared == Declared::File && !config.switches.iter().any(|of_file| of_file.name == it.id.as_str()) {
            tracing::warn!(switch.name = %it.id, "the configuration has this switch no more: its ports stay as they are, and in the ledger");
            it.desired.declared = Declared::Withdrawn;
            store.apply(Batch::wishes().want(&it).wake(&it.id)).await?;
        }
    }
    Ok(())
}

/// Takes the ports that the configuration names under our care.
async fn take_ports(store: &Store, it: &FabricSwitch) -> Result<(), EngineError> {
    let Some(id) = Id::<Switch>::parse(&it.name) else { return Ok(()) };
    let rows = store.list(&Query::<SwitchPort>::new().column("switch", [id.to_string()])).await?;
    let known: BTreeSet<&String> = rows.iter().map(|row| &row.desired.port).collect();
    let name = |port: &String| port_name(&it.driver, port);
    let uplinks: BTreeSet<String> = it.uplinks.iter().map(name).collect();
    let ports: BTreeSet<String> = it.ports.iter().map(name).collect();
    let missing = ports.iter().filter(|port| !known.contains(port) && !uplinks.contains(*port));
    let mut batch = Batch::wishes().wake(&id);
    for port in missing {
        batch = batch.create(&crate::port::isolated(&id, port));
    }
    match store.apply(batch).await {
        // Another replica does the same; what it left is done at the next start.
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn declare(store: &Store, it: &FabricSwitch) -> Result<(), EngineError> {
    let Some(id) = Id::<Switch>::parse(&it.name) else {
        return Err(unusable(&it.name, "its name has other characters than letters, digits, '.', '_', ':' and '-'".into()).into());
    };
    if !drivers::switch::DRIVERS.contains(&it.driver.as_str()) {
        return Err(unusable(&it.name, format!("no driver is called {:?}", it.driver)).into());
    }
    let desired: SwitchDesired = it.desired().map_err(|reason| unusable(&it.name, reason))?;
    // Several replicas may do this at once: whoever comes second finds it done.
    for _ in 0..10 {
        let batch = match store.get(&id).await? {
            Some(mut found) => {
                // What operators noted is not the file's.
                let desired = SwitchDesired { notes: found.desired.notes.clone(), ..desired.clone() };
                if found.desired == desired {
                    return Ok(());
                }
                found.desired = desired;
                Batch::wishes().want(&found).wake(&id)
            }
            None => Batch::wishes().create(&Object::new(id.clone(), None, it.name.clone(), desired.clone())).wake(&id),
        };
        match store.apply(batch).await {
            Ok(()) => return Ok(()),
            Err(error @ (StoreError::Stale { .. } | StoreError::Exists { .. })) => tracing::debug!(%error, "declared elsewhere meanwhile"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_another_replica_broke_off_makes_us_wait_anew() {
        let registry = Registry::new(&FabricConfig::default(), Arc::new(|_| None)).unwrap();
        let mut leaf = Object::<Switch>::new(Id::parse("leaf1").unwrap(), None, "leaf1", SwitchDesired::default());
        // Long against what a slow machine takes from one line to the next.
        let settle = Duration::from_secs(1);
        assert!(registry.footing(&leaf, settle).is_settled, "nothing was begun");
        registry.answered(&leaf, registry.footing(&leaf, settle));
        std::thread::sleep(settle + settle / 20);

        // Another began a change and was not seen to end it.
        (leaf.observed.writing, leaf.observed.begun) = (true, 1);
        let footing = registry.footing(&leaf, settle);
        assert!(!footing.is_settled, "that it answered before the change proves nothing");
        registry.answered(&leaf, footing);
        assert!(!registry.footing(&leaf, settle).is_settled, "it has not answered for long enough");
        std::thread::sleep(settle + settle / 20);

        // What we do ourselves meanwhile, or another, in an orderly way, does not make it begin anew; silence does.
        let footing = registry.footing(&leaf, settle);
        assert!(footing.is_settled);
        (leaf.observed.begun, leaf.observed.ended) = (2, 1);
        registry.answered(&leaf, footing);
        assert!(registry.footing(&leaf, settle).is_settled);
        (leaf.observed.begun, leaf.observed.ended) = (3, 2);
        assert!(registry.footing(&leaf, settle).is_settled, "another changed it and was seen to end");
        leaf.observed.begun = 4;
        assert!(!registry.footing(&leaf, settle).is_settled, "a look of ours was given up before its end");
        registry.fell_silent(&leaf);
        assert!(!registry.footing(&leaf, settle).is_settled);

        // It did not answer another replica in between.
        registry.answered(&leaf, registry.footing(&leaf, settle));
        std::thread::sleep(settle + settle / 20);
        assert!(registry.footing(&leaf, settle).is_settled);
        leaf.observed.silences += 1;
        assert!(!registry.footing(&leaf, settle).is_settled, "to somebody it was silent");
    }
}
