//! Who sees what: rules asked once for a whole list wherever they do not depend on the object.

use std::marker::PhantomData;
use std::sync::Arc;

use policy::Target;

use super::Noun;
use crate::network::Ask;

/// What one caller sees of one kind.
pub(crate) struct Sight<'a, K: Noun> {
    ask: &'a Ask,
    policy: Arc<policy::Engine>,
    get: String,
    sees: Option<bool>,
    /// By the place of the field in the form: whether it is shown; none: it depends on the object.
    reads: Vec<Option<bool>>,
    kind: PhantomData<K>,
}

impl<'a, K: Noun> Sight<'a, K> {
    pub(crate) fn of(ask: &'a Ask) -> Self {
        let form = K::form();
        let policy = ask.app.policy.current();
        let who = &ask.caller.credentials;
        let get = format!("get_{}", form.rule);
        let reads = form.fields.iter().map(|field| field.read_rule.map_or(Some(true), |rule| policy.settled(rule, who))).collect();
        let sees = policy.settled(&get, who);
        Self { ask, policy, get, sees, reads, kind: PhantomData }
    }

    /// Whether the caller sees an object; whether it sees all or none is known without looking at one.
    pub(crate) fn sees(&self, target: impl FnOnce() -> Target) -> bool {
        self.sees.unwrap_or_else(|| self.policy.allows(&self.get, &self.ask.caller.credentials, &target()))
    }

    /// Whether the caller sees all (`Some(true)`), none (`Some(false)`) or it depends.
    pub(super) fn sees_all(&self) -> Option<bool> {
        self.sees
    }

    /// Whether the caller may read the field at that place of the form.
    pub(super) fn reads(&self, at: usize, target: impl FnOnce() -> Target) -> bool {
        match self.reads.get(at) {
            Some(Some(verdict)) => *verdict,
            Some(None) => {
                let rule = K::form().fields.get(at).and_then(|field| field.read_rule);
                rule.is_none_or(|rule| self.policy.allows(rule, &self.ask.caller.credentials, &target()))
            }
            None => false,
        }
    }
}
