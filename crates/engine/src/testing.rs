//! What tests of reconcilers begin with.

use std::path::Path;
use std::sync::Arc;

use store::Store;

use crate::outside::Outside;
use crate::runtime::Shared;
use crate::{AccessConfig, BaremetalConfig, EngineConfig, FabricConfig};

/// What the workers of a control plane share that keeps its things in this directory; nobody works.
pub(crate) async fn shared(dir: &Path, baremetal: BaremetalConfig, outside: Box<dyn Outside>) -> Arc<Shared> {
    shared_with(dir, outside, |config| config.baremetal = baremetal).await
}

/// The same with another configuration.
pub(crate) async fn shared_with(dir: &Path, outside: Box<dyn Outside>, change: impl FnOnce(&mut EngineConfig)) -> Arc<Shared> {
    let mut config = EngineConfig {
        unseal: Arc::new(|_| None),
        fabric: FabricConfig::default(),
        edge: None,
        provisioning: None,
        baremetal: BaremetalConfig::default(),
        access: AccessConfig::default(),
        console: crate::ConsoleConfig::default(),
        history: crate::HistoryConfig::default(),
        image_dir: dir.to_owned(),
    };
    change(&mut config);
    Arc::new(Shared {
        store: Store::open(&format!("sqlite:{}", dir.join("db").display())).await.unwrap(),
        images: crate::image_cache::ImageCache::new(&config.image_dir),
        access: crate::access::Access::new(config.access.listen),
        switches: crate::switch::Registry::new(&config.fabric, Arc::clone(&config.unseal)).unwrap(),
        in_use: crate::switch::Remembered::default(),
        config,
        outside,
        metrics: Arc::default(),
        consoles: crate::console::Consoles::default(),
        conductor: crate::conductor::Registered::alone(),
        history_place: crate::history::Place::default(),
        machine_look: crate::node::LOOK_LIMIT,
        large_drives: Arc::new(tokio::sync::Semaphore::new(crate::node::LARGE_DRIVES)),
    })
}
