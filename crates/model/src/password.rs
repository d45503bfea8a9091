//! What an installation demands of passwords and accounts (Keystone's `[security_compliance]`), as decisions without clock or store
//! (facts: `keystone/conf/security_compliance.py`, `keystone/identity/backends/sql.py`). Everything is off by default.

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

const DAY_MICROS: i64 = 86_400_000_000;

/// The options of `[security_compliance]`. Days are of 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Failures after which an account is locked.
    pub lockout_failure_attempts: Option<u32>,
    /// Seconds for which it is; 0 is until an administrator enables it.
    pub lockout_duration_seconds: u32,
    /// Days without authentication after which a user counts as disabled.
    pub disable_user_account_days_inactive: Option<u32>,
    /// Days for which a new password holds.
    pub password_expires_days: Option<u32>,
    /// How many of the last passwords, the present one included, may not be taken again.
    pub unique_last_password_count: u32,
    /// Days before users may change a password that they set themselves.
    pub minimum_password_age_days: u32,
    /// What a new password must match from its beginning on.
    pub password_regex: Option<String>,
    /// What to tell the users of it.
    pub password_regex_description: Option<String>,
    /// Whether a password set by an administrator only serves to set another.
    pub change_password_upon_first_use: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lockout_failure_attempts: None,
            lockout_duration_seconds: 1800,
            disable_user_account_days_inactive: None,
            password_expires_days: None,
            unique_last_password_count: 0,
            minimum_password_age_days: 0,
            password_regex: None,
            password_regex_description: None,
            change_password_upon_first_use: false,
        }
    }
}

/// A user's `options`, by their names in the API. An option that is not set is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// [`Settings::change_password_upon_first_use`] is not for this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_change_password_upon_first_use: Option<bool>,
    /// The user's password does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_password_expiry: Option<bool>,
    /// The user is not locked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_lockout_failure_attempts: Option<bool>,
    /// The user may not change the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_password: Option<bool>,
    /// The user may be inactive for any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_user_inactivity: Option<bool>,
    /// Sets of methods, by their names, of which one must be met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_factor_auth_rules: Option<Vec<Vec<String>>>,
    /// Whether the rules are looked at; they are unless this is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_factor_auth_enabled: Option<bool>,
}

impl Options {
    /// Whether the rules of multi-factor authentication let a user in who has proved these methods. As with Keystone, methods that
    /// are not `available` are struck from the rules, and rules of which nothing remains do not count: no rule, no demand.
    pub fn factors_suffice(&self, proved: &[&str], available: &[&str]) -> bool {
        if self.multi_factor_auth_enabled == Some(false) {
            return true;
        }
        let mut demands = false;
        for rule in self.multi_factor_auth_rules.iter().flatten() {
            let mut wanted = rule.iter().filter(|method| available.contains(&method.as_str())).peekable();
            if wanted.peek().is_none() {
                continue;
            }
            demands = true;
            if wanted.all(|method| proved.contains(&method.as_str())) {
                return true;
            }
        }
        !demands
    }

    /// Whether the rules are well formed: no set empty, none twice, and no method twice in one.
    pub fn rules_are_sound(&self) -> bool {
        let rules = self.multi_factor_auth_rules.as_deref().unwrap_or_default();
        let twice = |rule: &[String]| rule.iter().enumerate().any(|(at, method)| rule.iter().take(at).any(|it| it == method));
        rules.iter().enumerate().all(|(at, rule)| !rule.is_empty() && !twice(rule) && !rules.iter().take(at).any(|it| it == rule))
    }
}

/// A password that a user has or had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastPassword {
    /// Its hash.
    pub hash: Secret,
    /// When it was set.
    pub created_at: Timestamp,
    /// From when on it no longer serves.
    pub expires_at: Option<Timestamp>,
    /// Whether the user set it.
    pub self_service: bool,
}

/// What is known of a user's passwords and of how they were used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordState {
    /// The passwords, oldest first; the last is the present one.
    pub history: Vec<PastPassword>,
    /// Failures since the last success.
    pub failed: u32,
    /// When the last of them was.
    pub last_failed_at: Option<Timestamp>,
    /// When the user last authenticated, or was last enabled; only the day counts.
    pub last_active_at: Option<Timestamp>,
}

/// Who sets a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// The user, with the former one.
    User,
    /// An administrator, also by creating the user.
    Administrator,
}

/// Why a user may not change the password now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// [`Options::lock_password`].
    #[error("the password of this user is locked")]
    Locked,
    /// [`Settings::minimum_password_age_days`].
    #[error("the password is too young: it must be {minimum_days} days old, {days_left} are left")]
    TooYoung {
        /// The days it must be old.
        minimum_days: u32,
        /// Whole days that are missing.
        days_left: i64,
    },
}

impl PasswordState {
    /// The present password.
    pub fn current(&self) -> Option<&PastPassword> {
        self.history.last()
    }

    /// Whether the account is locked by too many failures.
    pub fn is_locked(&self, settings: &Settings, options: &Options, now: Timestamp) -> bool {
        options.ignore_lockout_failure_attempts != Some(true) && self.holds_lock(settings, now)
    }

    fn holds_lock(&self, settings: &Settings, now: Timestamp) -> bool {
        let Some(most) = settings.lockout_failure_attempts.filter(|most| *most > 0) else { return false };
        self.failed >= most && !self.lock_is_over(settings, now)
    }

    fn lock_is_over(&self, settings: &Settings, now: Timestamp) -> bool {
        let duration = i64::from(settings.lockout_duration_seconds);
        duration > 0 && self.last_failed_at.is_none_or(|at| at.plus_seconds(duration) <= now)
    }

    /// Counts a failure; not to be called while [`PasswordState::is_locked`]. After a lock is over, counting begins anew.
    pub fn record_failure(&mut self, settings: &Settings, now: Timestamp) {
        if settings.lockout_failure_attempts.is_some_and(|most| self.failed >= most) && self.lock_is_over(settings, now) {
            self.failed = 0;
        }
        self.failed = self.failed.saturating_add(1);
        self.last_failed_at = Some(now);
    }

    /// Forgets the failures and remembers that the user was here. Says whether anything has changed: of [`Self::last_active_at`]
    /// only the day counts, so that not every success need be written.
    pub fn record_success(&mut self, now: Timestamp) -> bool {
        let same_day = self.last_active_at.is_some_and(|at| day(at) == day(now));
        if same_day && self.failed == 0 && self.last_failed_at.is_none() {
            return false;
        }
        if !same_day {
            self.last_active_at = Some(now);
        }
        self.forget_failures();
        true
    }

    /// To be called when an administrator enables the account: it is no longer locked nor inactive.
    pub fn record_enabled(&mut self, now: Timestamp) {
        self.last_active_at = Some(now);
        self.forget_failures();
    }

    fn forget_failures(&mut self) {
        self.failed = 0;
        self.last_failed_at = None;
    }

    /// Whether the user counts as disabled for not having been here for too long.
    pub fn is_inactive(&self, settings: &Settings, options: &Options, user_created_at: Timestamp, now: Timestamp) -> bool {
        let Some(most) = settings.disable_user_account_days_inactive.filter(|most| *most > 0) else { return false };
        let since = self.last_active_at.unwrap_or(user_created_at);
        options.ignore_user_inactivity != Some(true) && day(now) - day(since) >= i64::from(most)
    }

    /// When the present password expires, as the API shows it.
    pub fn password_expires_at(&self) -> Option<Timestamp> {
        self.current().and_then(|it| it.expires_at)
    }

    /// Whether the present password has expired; the user may then only change it.
    pub fn password_expired(&self, options: &Options, now: Timestamp) -> bool {
        options.ignore_password_expiry != Some(true) && self.password_expires_at().is_some_and(|at| at <= now)
    }

    /// Whether the user may change the password now.
    ///
    /// # Errors
    /// If an option or the password's age forbids it.
    pub fn may_change(&self, settings: &Settings, options: &Options, now: Timestamp) -> Result<(), ChangeRefused> {
        if options.lock_password == Some(true) {
            return Err(ChangeRefused::Locked);
        }
        let minimum_days = settings.minimum_password_age_days;
        // One that an administrator set may be changed at once.
        if let Some(current) = self.current().filter(|it| it.self_service) {
            let until = current.created_at.0.saturating_add(i64::from(minimum_days).saturating_mul(DAY_MICROS));
            if now.0 < until {
                return Err(ChangeRefused::TooYoung { minimum_days, days_left: (until - now.0).div_euclid(DAY_MICROS) });
            }
        }
        Ok(())
    }

    /// The hashes that a password chosen by the user must not match: each is to be given to the verifier.
    pub fn remembered(&self, settings: &Settings) -> impl Iterator<Item = &Secret> {
        let count = usize::try_from(settings.unique_last_password_count).unwrap_or(usize::MAX);
        self.history.iter().rev().take(count).map(|past| &past.hash)
    }

    /// Whether one of the remembered hashes is of the new password, which `matches` tells of each.
    ///
    /// # Errors
    /// The first of `matches`.
    pub fn is_reused<E>(&self, settings: &Settings, mut matches: impl FnMut(&Secret) -> Result<bool, E>) -> Result<bool, E> {
        for hash in self.remembered(settings) {
            if matches(hash)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes `hash` the present password. The former ones expire, and no more of them are kept than must be remembered.
    pub fn set_password(&mut self, settings: &Settings, options: &Options, hash: Secret, by: SetBy, now: Timestamp) {
        let keep = usize::try_from(settings.unique_last_password_count.max(1)).unwrap_or(usize::MAX);
        self.history.drain(..self.history.len().saturating_sub(keep));
        for past in &mut self.history {
            if past.expires_at.is_none_or(|at| at > now) {
                past.expires_at = Some(now);
            }
        }
        let must_change = by == SetBy::Administrator
            && settings.change_password_upon_first_use
            && options.ignore_change_password_upon_first_use != Some(true);
        let expires_at = match settings.password_expires_days {
            _ if must_change => Some(now),
            Some(days @ 1..) if options.ignore_password_expiry != Some(true) => {
                let end = now.0.saturating_add(i64::from(days).saturating_mul(DAY_MICROS));
                // Whole seconds, as Keystone's.
                Some(Timestamp(end.div_euclid(1_000_000).saturating_mul(1_000_000)))
            }
            _ => None,
        };
        self.history.push(PastPassword { hash, created_at: now, expires_at, self_service: by == SetBy::User });
    }
}

/// The day of a moment, counted from 1970, in UTC.
fn day(moment: Timestamp) -> i64 {
    moment.0.div_euclid(DAY_MICROS)
}
