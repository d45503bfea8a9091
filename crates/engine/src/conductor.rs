//! This process among the conductors: it takes a name, is heard of while it works, and says so when it ends. What others have not heard
//! of for long is forgotten.

use std::sync::Arc;
use std::time::Duration;

use model::baremetal::hardware::TYPES;
use model::baremetal::{Conductor, ConductorDesired, is_conductor_group};
use model::{Id, Object};
use store::{Batch, Query, Store, StoreError};
use tokio::sync::watch;

use crate::config::EngineConfig;
use crate::runtime::{EngineError, Shared};

/// How often it is heard of: six times in the time after which it counts as dead.
const BEAT: Duration = Duration::from_secs(5);
/// After how many beats it looks for those that are to be forgotten: an hour.
const SWEEP: u32 = 720;
/// How many processes of one machine are told apart by a number behind its name.
const NAMESAKES: u32 = 99;
/// How often a registration that collides with another is tried again.
const RACES: u32 = 20;

/// What this process is called, and whose nodes it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    /// Its host name.
    pub(crate) host: String,
    /// Its group; empty: nodes of no group.
    pub(crate) group: String,
    instance: String,
}

fn id_of(host: &str) -> Id<Conductor> {
    Id::derived(&format!("conductor {host}"))
}

/// What a host can be called: what stands in a path of a URL (Source: RFC 1123 for names, RFC 4291 for addresses).
fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

/// The machine's own name.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|it| is_host(it)).unwrap_or_else(|| "localhost".to_owned())
}

impl Registered {
    /// Takes the configured name, or the machine's, with a number if another process of that name is alive.
    ///
    /// # Errors
    /// The configured name or group cannot be used, or another process of that name is alive; the store failed.
    pub(crate) async fn new(store: &Store, config: &EngineConfig) -> Result<Self, EngineError> {
        let machine = machine();
        let group = config.baremetal.conductor_group.to_ascii_lowercase();
        if !is_conductor_group(&group) {
            return Err(EngineError::Conductor(format!("baremetal.conductor_group {group:?} is not a conductor group")));
        }
        let configured = config.baremetal.host.as_deref();
        if let Some(host) = configured.filter(|it| !is_host(it)) {
            return Err(EngineError::Conductor(format!("baremetal.host {host:?} is not a host name")));
        }
        let instance = format!("{machine}:{}", config.image_dir.display());
        let names: Vec<String> = match configured {
            Some(host) => vec![host.to_owned()],
            None => std::iter::once(machine.clone()).chain((2..=NAMESAKES).map(|n| format!("{machine}-{n}"))).collect(),
        };
        for _ in 0..RACES {
            let known = store.list(&Query::<Conductor>::new()).await?;
            let now = store.now().await?;
            let of = |name: &String| known.iter().find(|it| it.name == *name);
            let had = names.iter().find(|name| of(name).is_some_and(|it| it.desired.instance == instance));
            let free = || names.iter().find(|name| of(name).is_none_or(|it| !it.desired.is_alive(now)));
            let Some(host) = had.or_else(free) else {
                let name = configured.unwrap_or(&machine);
                return Err(EngineError::Conductor(format!(
                    "another conductor called {name} is alive: each needs a baremetal.host of its own"
                )));
            };
            let it = Self { host: host.clone(), group: group.clone(), instance: instance.clone() };
            match it.write(store, of(host), true).await {
                Err(StoreError::Stale { .. } | StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(it),
            }
        }
        Err(EngineError::Conductor("other conductors registered at the same moment again and again".into()))
    }

    /// For tests that have no others.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self { host: "here".into(), group: String::new(), instance: "test".into() }
    }

    async fn write(&self, store: &Store, known: Option<&Object<Conductor>>, online: bool) -> Result<(), StoreError> {
        let mut drivers: Vec<String> = TYPES.iter().map(|it| it.name.to_owned()).collect();
        drivers.sort_unstable();
        let seen_at = store.now().await?;
        let desired = ConductorDesired { conductor_group: self.group.clone(), drivers, online, seen_at, instance: self.instance.clone() };
        let batch = match known {
            Some(row) => Batch::wishes().want(&Object { desired, ..row.clone() }),
            None => Batch::wishes().create(&Object::new(id_of(&self.host), None, self.host.as_str(), desired)),
        };
        store.apply(batch).await
    }

    /// Is heard of.
    async fn heard(&self, store: &Store, online: bool) -> Result<(), StoreError> {
        let known = store.get(&id_of(&self.host)).await?;
        let now = store.now().await?;
        let other = known.as_ref().filter(|it| it.desired.instance != self.instance && it.desired.is_alive(now));
        if let Some(other) = other {
            tracing::error!(host = self.host, other = other.desired.instance, "another process has taken this conductor's name");
            return Ok(());
        }
        self.write(store, known.as_ref(), online).await
    }
}

/// Is heard of until `stop` turns true, and then takes no more work.
pub(crate) async fn beat(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut beats: u32 = 0;
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = stop.changed() => break,
        }
        if let Err(error) = shared.conductor.heard(&shared.store, true).await {
            tracing::warn!(%error, "this conductor could not say that it is alive");
        }
        beats = beats.wrapping_add(1);
        if beats.is_multiple_of(SWEEP)
            && let Err(error) = sweep(&shared.store).await
        {
            tracing::warn!(%error, "conductors that are long gone could not be forgotten");
        }
    }
    if let Err(error) = shared.conductor.heard(&shared.store, false).await {
        tracing::warn!(%error, "this conductor could not say that it ends");
    }
}

/// Forgets those that were not heard of for long.
async fn sweep(store: &Store) -> Result<(), StoreError> {
    let now = store.now().await?;
    for it in store.list(&Query::<Conductor>::new()).await?.iter().filter(|it| it.desired.is_forgotten(now)) {
        match store.apply(Batch::wishes().remove(it)).await {
            Ok(()) => tracing::info!(host = it.name, "a conductor that was not heard of for long is forgotten"),
            // It is heard of again, or another was faster.
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::{AccessConfig, BaremetalConfig, ConsoleConfig, FabricConfig};

    fn config(dir: &str, host: Option<&str>, group: &str) -> EngineConfig {
        EngineConfig {
            unseal: Arc::new(|_| None),
            fabric: FabricConfig::default(),
            edge: None,
            provisioning: None,
            baremetal: BaremetalConfig { host: host.map(str::to_owned), conductor_group: group.into(), ..BaremetalConfig::default() },
            access: AccessConfig::default(),
            console: ConsoleConfig::default(),
            history: crate::HistoryConfig::default(),
            image_dir: dir.into(),
        }
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("db").display())).await.unwrap();
        (dir, store)
    }

    async fn row(store: &Store, host: &str) -> Object<Conductor> {
        store.get(&id_of(host)).await.unwrap().unwrap()
    }

    /// Moves the moment at which it was heard of into the past.
    async fn age(store: &Store, host: &str, seconds: i64) {
        let mut it = row(store, host).await;
        it.desired.seen_at = Timestamp::now().plus_seconds(-seconds);
        store.apply(Batch::wishes().want(&it)).await.unwrap();
    }

    #[tokio::test]
    async fn processes_of_one_machine_have_names_of_their_own_and_keep_them() {
        let (_dir, store) = store().await;
        let of = async |dir: &str| Registered::new(&store, &config(dir, None, "")).await.unwrap().host;
        let (first, second) = (of("/a").await, of("/b").await);
        assert_eq!(second, format!("{first}-2"));
        // Killed and started again it is the same, though nobody knows yet that it was dead.
        assert_eq!((of("/b").await, of("/a").await), (second.clone(), first.clone()));
        age(&store, &first, 60).await;
        assert_eq!(of("/c").await, first, "a name nobody has any more is given again");
        assert_eq!(of("/a").await, format!("{first}-3"));
    }

    #[tokio::test]
    async fn a_configured_name_is_one_process_s() {
        let (_dir, store) = store().await;
        let first = Registered::new(&store, &config("/a", Some("c1"), "Rack-1")).await.unwrap();
        assert_eq!((first.host.as_str(), first.group.as_str()), ("c1", "rack-1"));
        let shown = row(&store, "c1").await;
        assert!(shown.desired.is_alive(Timestamp::now()) && shown.desired.serves("rack-1", "redfish"));
        let refused = Registered::new(&store, &config("/b", Some("c1"), "")).await.unwrap_err();
        assert!(refused.to_string().contains("c1"), "{refused}");
        for (host, group) in [("a/b", ""), ("", ""), ("c2", "a b")] {
            assert!(Registered::new(&store, &config("/b", Some(host), group)).await.is_err(), "{host} {group}");
        }
        first.heard(&store, false).await.unwrap();
        assert!(!row(&store, "c1").await.desired.is_alive(Timestamp::now()), "it said that it ends");
        let second = Registered::new(&store, &config("/b", Some("c1"), "")).await.unwrap();
        // The first one is not dead after all: it leaves the name to the one that has it now.
        first.heard(&store, true).await.unwrap();
        assert_eq!(row(&store, "c1").await.desired.instance, second.instance);
    }

    #[tokio::test]
    async fn what_was_not_heard_of_for_long_is_forgotten_and_comes_back() {
        let (_dir, store) = store().await;
        let it = Registered::new(&store, &config("/a", Some("c1"), "")).await.unwrap();
        Registered::new(&store, &config("/b", Some("c2"), "")).await.unwrap();
        age(&store, "c1", 13 * 24 * 3600).await;
        sweep(&store).await.unwrap();
        assert!(!row(&store, "c1").await.desired.is_alive(Timestamp::now()), "dead, and still shown");
        age(&store, "c1", 15 * 24 * 3600).await;
        sweep(&store).await.unwrap();
        let names: Vec<String> = store.list(&Query::<Conductor>::new()).await.unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["c2"]);
        it.heard(&store, true).await.unwrap();
        assert!(row(&store, "c1").await.desired.is_alive(Timestamp::now()));
    }
}
