//! What the sessions of one switch share beside its configuration: locks, candidates, sessions that wait for a confirmation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::super::device::Device;

/// States by switch. They go with their switches.
pub(crate) struct Registry<T>(Mutex<Option<HashMap<usize, Entry<T>>>>);

type Entry<T> = (Weak<Device>, Arc<Mutex<T>>);

impl<T: Default> Registry<T> {
    /// Without any.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The state of a switch; the default if it has none yet.
    pub(crate) fn of(&self, device: &Arc<Device>) -> Arc<Mutex<T>> {
        let mut all = lock(&self.0);
        let all = all.get_or_insert_default();
        // An address may be that of a switch that is gone.
        let key = Arc::as_ptr(device).addr();
        if let Some((_, state)) = all.get(&key).filter(|(known, _)| known.upgrade().is_some_and(|it| Arc::ptr_eq(&it, device))) {
            return Arc::clone(state);
        }
        all.retain(|_, (known, _)| known.strong_count() > 0);
        let state = Arc::new(Mutex::new(T::default()));
        all.insert(key, (Arc::downgrade(device), Arc::clone(&state)));
        state
    }
}

/// Locks, whoever panicked while it was held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
