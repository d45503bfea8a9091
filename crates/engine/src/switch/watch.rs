//! Switches that tell by themselves when they were changed: they are read then, and not only at the next interval. Nothing depends on it:
//! what is not told, or told to nobody, is found at the interval.

use std::sync::Arc;
use std::time::Duration;

use drivers::switch::Switch as Driver;
use model::Id;
use model::fabric::Switch;
use store::{Batch, Store, StoreError};
use tokio::task::AbortHandle;

/// A switch is not read more often than this for what it tells. Longer in tests, in which nothing may come meanwhile.
const QUIET: Duration = Duration::from_secs(if cfg!(test) { 6 } else { 1 });
/// How long until one that cannot be listened to is tried again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
/// How often it is made sure that the switch is to be listened to, although it tells nothing: another process may have given it up.
const CHECK: Duration = Duration::from_secs(300);

/// Who listens to one switch. Ends when it is dropped.
pub(super) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    /// Begins to listen to a switch, if it tells anything.
    pub(super) fn begin(store: &Store, switch: &Id<Switch>, driver: &Arc<dyn Driver>) -> Option<Self> {
        drop(driver.changed()?);
        if is_cut_off() {
            return None;
        }
        let task = tokio::spawn(listen(store.clone(), switch.clone(), Arc::clone(driver)));
        Some(Self(task.abort_handle()))
    }

    /// Whether it has ended by itself, since the switch was nobody's to listen to.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }
}

/// Only for the test that shows what listening is good for.
fn is_cut_off() -> bool {
    cfg!(debug_assertions) && std::env::var_os("COFFERDAM_TEST_HEAR_NOTHING").is_some()
}

async fn listen(store: Store, switch: Id<Switch>, driver: Arc<dyn Driver>) {
    let mut failures = 0_u32;
    while let Some(change) = driver.changed() {
        let told = tokio::time::timeout(CHECK, change).await;
        match is_managed(&store, &switch).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(switch.name = %switch, %error, "whether it is still to be listened to is not known"),
        }
        match told {
            Ok(Ok(())) => {
                failures = 0;
                tracing::debug!(switch.name = %switch, "it tells that it was changed");
                if let Err(error) = store.apply(Batch::wishes().wake(&switch)).await {
                    tracing::warn!(switch.name = %switch, %error, "it was changed, and nobody could be told");
                }
                tokio::time::sleep(QUIET).await;
            }
            Ok(Err(error)) => {
                let pause = PAUSE.0.saturating_mul(1 << failures.min(10)).min(PAUSE.1);
                failures = failures.saturating_add(1);
                tracing::debug!(switch.name = %switch, %error, ?pause, "it does not tell of its changes");
                tokio::time::sleep(pause).await;
            }
            // It has nothing to tell.
            Err(_) => {}
        }
    }
}

async fn is_managed(store: &Store, switch: &Id<Switch>) -> Result<bool, StoreError> {
    Ok(store.get(switch).await?.is_some_and(|it| !it.is_deleting() && it.desired.is_managed()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use drivers::Fut;
    use drivers::switch::{Ensured, Facts, IsolatesBy, SwitchError, SwitchSeen, SwitchWanted};
    use model::Object;
    use model::fabric::{Declared, SwitchDesired};
    use tokio::sync::Notify;

    use super::*;

    /// Tells what it is told to.
    #[derive(Default)]
    struct Teller {
        change: Notify,
        broken: Notify,
        asked: AtomicU32,
    }

    impl Driver for Teller {
        fn facts(&self) -> Facts {
            Facts { isolates_by: IsolatesBy::Shutdown, declares_vlans: true, has_vni: false, has_lags: true, saves: true }
        }

        fn observe(&self) -> Fut<'_, Result<SwitchSeen, SwitchError>> {
            Box::pin(async { Ok(SwitchSeen::default()) })
        }

        fn ensure<'a>(&'a self, _: &'a SwitchWanted) -> Fut<'a, Result<Ensured, SwitchError>> {
            Box::pin(async { Ok(Ensured { before: SwitchSeen::default(), after: SwitchSeen::default(), committed: false }) })
        }

        fn changed(&self) -> Option<Fut<'_, Result<(), SwitchError>>> {
            Some(Box::pin(async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    () = self.change.notified() => Ok(()),
                    () = self.broken.notified() => Err(SwitchError::Unreachable { switch: "leaf1".into(), reason: "gone".into() }),
                }
            }))
        }
    }

    struct Desk {
        store: Store,
        switch: Id<Switch>,
        teller: Arc<Teller>,
        watch: Watch,
        _dir: tempfile::TempDir,
    }

    async fn desk() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("db").display())).await.unwrap();
        let switch = Id::parse("leaf1").unwrap();
        let desired = SwitchDesired { declared: Declared::Api, ..SwitchDesired::default() };
        store.apply(Batch::wishes().create(&Object::new(switch.clone(), None, "leaf1", desired))).await.unwrap();
        let teller = Arc::new(Teller::default());
        let driver: Arc<dyn Driver> = Arc::clone(&teller) as _;
        let watch = Watch::begin(&store, &switch, &driver).unwrap();
        Desk { store, switch, teller, watch, _dir: dir }
    }

    /// Whether the switch is to be looked at within this time; it is, then.
    async fn is_woken(desk: &Desk, within: Duration) -> bool {
        let until = tokio::time::Instant::now() + within;
        while tokio::time::Instant::now() < until {
            if let Some(claim) = desk.store.claim("a test", Duration::from_secs(60)).await.unwrap() {
                desk.store.finish(&claim, store::Outcome::Gone).await.unwrap();
                return claim.id == desk.switch.as_str();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_change_that_is_told_wakes_but_not_all_the_time() {
        let desk = desk().await;
        assert!(!is_woken(&desk, Duration::from_millis(200)).await);
        desk.teller.change.notify_one();
        assert!(is_woken(&desk, Duration::from_secs(30)).await);
        desk.teller.change.notify_one();
        assert!(!is_woken(&desk, QUIET / 6).await, "it was read just now");
        assert!(is_woken(&desk, Duration::from_secs(30)).await);
    }

    #[tokio::test]
    async fn one_that_cannot_be_listened_to_is_tried_ever_more_seldom() {
        let desk = desk().await;
        let asked = || desk.teller.asked.load(Ordering::Relaxed);
        let broken = tokio::time::Instant::now();
        desk.teller.broken.notify_one();
        tokio::time::timeout(Duration::from_secs(30), async {
            while asked() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it is tried again");
        assert!(broken.elapsed() >= PAUSE.0, "{:?}", broken.elapsed());
        desk.teller.change.notify_one();
        assert!(is_woken(&desk, Duration::from_secs(30)).await);
    }

    #[tokio::test]
    async fn it_ends_with_the_switch() {
        let desk = desk().await;
        let mut row = desk.store.get(&desk.switch).await.unwrap().unwrap();
        row.desired.paused = true;
        desk.store.apply(Batch::wishes().want(&row)).await.unwrap();
        assert!(!desk.watch.has_ended());
        desk.teller.change.notify_one();
        tokio::time::timeout(Duration::from_secs(30), async {
            while !desk.watch.has_ended() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        assert!(!is_woken(&desk, Duration::from_millis(100)).await);
    }
}
