//! What Keystone's `[security_compliance]` demands of passwords and accounts, as decisions without clock or store (facts:
//! `keystone/conf/security_compliance.py`, `keystone/identity/backends/sql.py` and `sql_model.py`). Everything is off by default.

use fancy_regex::{Regex, RegexBuilder};
use model::Secret;

/// Steps backwards a pattern may take on one password.
const BACKTRACKS: usize = 100_000;
/// No longer pattern is compiled, in bytes, nor longer password looked at.
const LONGEST: usize = 4096;
/// Most bytes that a compiled pattern takes.
const COMPILED: usize = 1 << 20;

pub use model::password::{ChangeRefused, Options, PasswordState, PastPassword, SetBy, Settings};

/// Why a new password is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// It does not match the pattern. The text is for the user: [`Settings::password_regex_description`].
    #[error("The password does not match the requirements: {0}.")]
    Requirements(String),
    /// It is longer than is looked at, or matching took too many steps.
    #[error("the password could not be compared with the requirements")]
    Undecided,
}

/// Why [`Settings::password_regex`] is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("password_regex: {0}")]
pub struct BadPattern(String);

/// What a new password must look like. The pattern has the syntax of the crate `fancy-regex`, which is nearly that of Python: it has
/// look-around and back-references. As with Python's `re.match`, a match must begin where the password begins but need not end
/// where it ends; unlike Python's, `$` does not match before a last line feed.
#[derive(Clone, Debug, Default)]
pub struct Strength {
    pattern: Option<Regex>,
    about: String,
}

impl Strength {
    /// Compiles the pattern of the settings, if there is one; to be done once, when they are read.
    ///
    /// # Errors
    /// If it is not a pattern or is too big.
    pub fn new(settings: &Settings) -> Result<Self, BadPattern> {
        let pattern = match settings.password_regex.as_deref().filter(|it| !it.is_empty()) {
            None => None,
            Some(text) if text.len() > LONGEST => return Err(BadPattern(format!("longer than {LONGEST} bytes"))),
            Some(text) => {
                let mut builder = RegexBuilder::new(text);
                builder.backtrack_limit(BACKTRACKS).delegate_size_limit(COMPILED);
                Some(builder.build().map_err(|error| BadPattern(error.to_string()))?)
            }
        };
        Ok(Self { pattern, about: settings.password_regex_description.clone().unwrap_or_default() })
    }

    /// Whether the password is strong enough.
    ///
    /// # Errors
    /// If it is not, or if that cannot be told in time.
    pub fn check(&self, password: &Secret) -> Result<(), Weak> {
        let Some(pattern) = &self.pattern else { return Ok(()) };
        if password.reveal().len() > LONGEST {
            return Err(Weak::Undecided);
        }
        // The leftmost match begins at the beginning if any does.
        match pattern.find(password.reveal()) {
            Ok(Some(found)) if found.start() == 0 => Ok(()),
            Ok(_) => Err(Weak::Requirements(self.about.clone())),
            Err(_) => Err(Weak::Undecided),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_258_140_654_321);

    fn days(count: i64) -> Timestamp {
        NOW.plus_seconds(count * 86_400)
    }

    fn with_password(settings: &Settings, by: SetBy) -> PasswordState {
        let mut state = PasswordState::default();
        state.set_password(settings, &Options::default(), Secret::new("h0"), by, NOW);
        state
    }

    #[test]
    fn nothing_is_demanded_by_default() {
        let (settings, options) = (Settings::default(), Options::default());
        let mut state = with_password(&settings, SetBy::Administrator);
        for _ in 0..100 {
            state.record_failure(&settings, NOW);
        }
        assert!(!state.is_locked(&settings, &options, NOW));
        assert!(!state.password_expired(&options, days(10_000)));
        assert!(!state.is_inactive(&settings, &options, NOW, days(10_000)));
        assert_eq!(state.may_change(&settings, &options, NOW), Ok(()));
        assert_eq!(state.remembered(&settings).count(), 0);
        assert_eq!(Strength::new(&settings).unwrap().check(&Secret::new("")), Ok(()));
        assert!(options.factors_suffice(&["password"], &["password"]));
        assert_eq!(serde_json::to_value(&options).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn locks_and_unlocks() {
        let settings = Settings { lockout_failure_attempts: Some(2), ..Settings::default() };
        let options = Options::default();
        let mut state = PasswordState::default();
        state.record_failure(&settings, NOW);
        assert!(!state.is_locked(&settings, &options, NOW));
        state.record_failure(&settings, NOW);
        assert!(state.is_locked(&settings, &options, NOW.plus_seconds(1799)));
        let exempt = Options { ignore_lockout_failure_attempts: Some(true), ..Options::default() };
        assert!(!state.is_locked(&settings, &exempt, NOW));
        let over = NOW.plus_seconds(1800);
        assert!(!state.is_locked(&settings, &options, over));
        state.record_failure(&settings, over);
        assert_eq!(state.failed, 1, "counting begins anew");
        state.record_failure(&settings, over);
        assert!(state.is_locked(&settings, &options, over));
        let for_ever = Settings { lockout_duration_seconds: 0, ..settings };
        assert!(state.is_locked(&for_ever, &options, days(10_000)));
        state.record_enabled(over);
        assert!(!state.is_locked(&for_ever, &options, over));
        // Whoever is exempt is counted all the same, and never wraps around.
        state.failed = u32::MAX;
        state.record_failure(&for_ever, over);
        assert_eq!(state.failed, u32::MAX);
    }

    #[test]
    fn a_success_is_written_once_a_day() {
        let mut state = PasswordState::default();
        assert!(state.record_success(NOW));
        assert!(!state.record_success(NOW.plus_seconds(60)));
        assert!(state.record_success(days(1)));
        state.record_failure(&Settings::default(), days(1));
        assert!(state.record_success(days(1)));
        assert_eq!((state.failed, state.last_failed_at), (0, None));
    }

    #[test]
    fn inactivity_counts_calendar_days() {
        let settings = Settings { disable_user_account_days_inactive: Some(30), ..Settings::default() };
        let options = Options::default();
        let mut state = PasswordState::default();
        assert!(!state.is_inactive(&settings, &options, NOW, days(29)));
        // 10:49 and 654321 microseconds after midnight: the thirtieth day has begun.
        let midnight = Timestamp(days(30).0.div_euclid(86_400_000_000) * 86_400_000_000);
        assert!(state.is_inactive(&settings, &options, NOW, midnight));
        assert!(!state.is_inactive(&settings, &options, NOW, Timestamp(midnight.0 - 1)));
        assert!(!state.is_inactive(&settings, &Options { ignore_user_inactivity: Some(true), ..Options::default() }, NOW, days(99)));
        state.record_success(days(29));
        assert!(!state.is_inactive(&settings, &options, NOW, days(58)));
        assert!(state.is_inactive(&settings, &options, NOW, days(59)));
    }

    #[test]
    fn passwords_expire() {
        let settings = Settings { password_expires_days: Some(90), ..Settings::default() };
        let options = Options::default();
        let state = with_password(&settings, SetBy::User);
        let end = Timestamp(days(90).0 - 654_321);
        assert_eq!(state.password_expires_at(), Some(end));
        assert!(!state.password_expired(&options, Timestamp(end.0 - 1)));
        assert!(state.password_expired(&options, end));
        let exempt = Options { ignore_password_expiry: Some(true), ..Options::default() };
        assert!(!state.password_expired(&exempt, end));
        let mut state = PasswordState::default();
        state.set_password(&settings, &exempt, Secret::new("h"), SetBy::User, NOW);
        assert_eq!(state.password_expires_at(), None);
    }

    #[test]
    fn first_use() {
        let settings = Settings { change_password_upon_first_use: true, minimum_password_age_days: 5, ..Settings::default() };
        let options = Options::default();
        let mut state = with_password(&settings, SetBy::Administrator);
        assert!(state.password_expired(&options, NOW));
        assert_eq!(state.may_change(&settings, &options, NOW), Ok(()), "its age does not matter");
        state.set_password(&settings, &options, Secret::new("h1"), SetBy::User, NOW);
        assert!(!state.password_expired(&options, days(1000)));
        let exempt = Options { ignore_change_password_upon_first_use: Some(true), ..Options::default() };
        state.set_password(&settings, &exempt, Secret::new("h2"), SetBy::Administrator, NOW);
        assert!(!state.password_expired(&exempt, days(1000)));
    }

    #[test]
    fn changes_must_wait() {
        let settings = Settings { minimum_password_age_days: 5, ..Settings::default() };
        let options = Options::default();
        let state = with_password(&settings, SetBy::User);
        assert_eq!(state.may_change(&settings, &options, days(1)), Err(ChangeRefused::TooYoung { minimum_days: 5, days_left: 4 }));
        let nearly = Timestamp(days(5).0 - 1);
        assert_eq!(state.may_change(&settings, &options, nearly), Err(ChangeRefused::TooYoung { minimum_days: 5, days_left: 0 }));
        assert_eq!(state.may_change(&settings, &options, days(5)), Ok(()));
        let locked = Options { lock_password: Some(true), ..Options::default() };
        assert_eq!(state.may_change(&settings, &locked, days(5)), Err(ChangeRefused::Locked));
    }

    #[test]
    fn former_passwords_are_remembered() {
        let settings = Settings { unique_last_password_count: 3, ..Settings::default() };
        let mut state = with_password(&settings, SetBy::User);
        for n in 1..=4 {
            state.set_password(&settings, &Options::default(), Secret::new(format!("h{n}")), SetBy::User, days(n));
        }
        let reused = |state: &PasswordState, settings: &Settings, new: &str| {
            state.is_reused(settings, |hash| Ok::<_, ()>(hash.reveal() == new)).unwrap()
        };
        assert!(["h2", "h3", "h4"].iter().all(|it| reused(&state, &settings, it)));
        assert!(["h0", "h1", "h5"].iter().all(|it| !reused(&state, &settings, it)));
        assert_eq!(state.is_reused(&settings, |_| Err("broken")), Err("broken"));
        assert_eq!(state.history.len(), 4);
        assert!(state.history.iter().rev().skip(1).all(|past| past.expires_at.is_some_and(|at| at <= days(4))));
        assert_eq!(state.current().map(|it| (it.hash.reveal(), it.expires_at)), Some(("h4", None)));
        state.set_password(&Settings::default(), &Options::default(), Secret::new("h5"), SetBy::User, days(5));
        assert_eq!(state.history.len(), 2);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<PasswordState>(&text).unwrap(), state);
    }

    #[test]
    fn strength() {
        let demand = |pattern: &str| Settings {
            password_regex: Some(pattern.into()),
            password_regex_description: Some("a letter, a digit, seven characters".into()),
            ..Settings::default()
        };
        let strength = Strength::new(&demand(r"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$")).unwrap();
        assert_eq!(strength.check(&Secret::new("abcdef1")), Ok(()));
        for weak in ["", "abcdefg", "1234567", "abc1"] {
            assert_eq!(strength.check(&Secret::new(weak)), Err(Weak::Requirements("a letter, a digit, seven characters".into())));
        }
        // As Python's match: from the beginning, though not to the end.
        let digit = Strength::new(&demand("[0-9]")).unwrap();
        assert_eq!((digit.check(&Secret::new("1a")).is_ok(), digit.check(&Secret::new("a1")).is_ok()), (true, false));
        assert!(Strength::new(&demand("(")).is_err());
        assert!(Strength::new(&demand(&"a".repeat(5000))).is_err());
        assert!(Strength::new(&demand("((a{1000}){1000}){1000}")).is_err());
    }

    #[test]
    fn matching_ends() {
        let evil = Settings { password_regex: Some(r"^(?=(a+)+$)(\1a*)*b".into()), ..Settings::default() };
        let strength = Strength::new(&evil).unwrap();
        let began = std::time::Instant::now();
        assert!(strength.check(&Secret::new("a".repeat(4000))).is_err());
        assert!(strength.check(&Secret::new("a".repeat(4097))).is_err());
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn factors() {
        let rules = |rules: &[&[&str]]| Options {
            multi_factor_auth_rules: Some(rules.iter().map(|rule| rule.iter().map(|it| (*it).to_owned()).collect()).collect()),
            ..Options::default()
        };
        let available = ["password", "totp", "token"];
        let both = rules(&[&["password", "totp"], &["token", "kerberos"]]);
        assert!(!both.factors_suffice(&["password"], &available));
        assert!(both.factors_suffice(&["totp", "password"], &available));
        assert!(both.factors_suffice(&["token"], &available), "what is not available is struck from the rule");
        assert!(rules(&[&["kerberos"]]).factors_suffice(&["password"], &available));
        assert!(!rules(&[&["kerberos"], &["totp"]]).factors_suffice(&["password"], &available));
        assert!(Options { multi_factor_auth_enabled: Some(false), ..both.clone() }.factors_suffice(&[], &available));
        assert!(both.rules_are_sound());
        for bad in [rules(&[&[]]), rules(&[&["a", "a"]]), rules(&[&["a"], &["a"]])] {
            assert!(!bad.rules_are_sound());
        }
    }
}
