//! Rules that follow a file while the service runs.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::{Engine, PolicyError, file};

/// How often the file is looked at, at most.
const EVERY: Duration = Duration::from_secs(1);

/// An engine and the `policy.yaml` laid over it, which is read again when its time of change or its length differs.
#[derive(Debug)]
pub struct Live {
    defaults: Engine,
    path: Option<PathBuf>,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    engine: Arc<Engine>,
    stamp: Stamp,
    looked: Instant,
}

/// Time of change and length; none while there is no file.
type Stamp = Option<(SystemTime, u64)>;

impl Live {
    /// Reads the file for the first time. Without a path, or while there is no file, the defaults apply.
    ///
    /// # Errors
    /// A file that cannot be read or has an error: a service is not to start with other rules than those asked for.
    pub fn new(defaults: Engine, path: Option<PathBuf>) -> Result<Self, PolicyError> {
        let (stamp, engine) = match &path {
            Some(path) => {
                let stamp = stamp(path)?;
                (stamp, load(&defaults, path, stamp)?)
            }
            None => (None, defaults.clone()),
        };
        let state = State { engine: Arc::new(engine), stamp, looked: Instant::now() };
        Ok(Self { defaults, path, every: EVERY, state: Mutex::new(state) })
    }

    /// The rules in force. Looks at the file at most once a second; if it has come to have an error, that is logged once
    /// and the last good rules stay in force.
    pub fn current(&self) -> Arc<Engine> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && state.looked.elapsed() >= self.every
        {
            state.looked = Instant::now();
            self.look(path, &mut state);
        }
        Arc::clone(&state.engine)
    }

    fn look(&self, path: &Path, state: &mut State) {
        let now = match stamp(path) {
            Ok(now) => now,
            // Seldom, and passes; whatever has changed is found at the next look.
            Err(error) => return tracing::debug!(path = %path.display(), %error, "policy file not looked at"),
        };
        if now == state.stamp {
            return;
        }
        state.stamp = now;
        match load(&self.defaults, path, now) {
            Ok(engine) => {
                tracing::info!(path = %path.display(), removed = now.is_none(), "policy file read again");
                state.engine = Arc::new(engine);
            }
            Err(error) => tracing::error!(path = %path.display(), %error, "policy file refused; the rules stay as they were"),
        }
    }
}

fn stamp(path: &Path) -> Result<Stamp, PolicyError> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PolicyError::Unreadable(error.to_string())),
    }
}

fn load(defaults: &Engine, path: &Path, stamp: Stamp) -> Result<Engine, PolicyError> {
    if stamp.is_none() {
        return Ok(defaults.clone());
    }
    let unreadable = |error: std::io::Error| PolicyError::Unreadable(error.to_string());
    let mut text = String::new();
    // One byte more than allowed, so that a larger file is refused rather than cut.
    let limit = u64::try_from(file::MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(unreadable)?.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    defaults.with_file(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, Rule, rule};

    const TABLE: &[Rule] = &[rule("get", "role:admin")];

    fn check(live: &Live) -> String {
        live.current().rules().map(|rule| rule.check.clone()).collect()
    }

    #[test]
    fn follows_the_file_and_keeps_the_last_good_rules() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let mut live = Live::new(Engine::new(&[TABLE]).unwrap(), Some(path.clone())).unwrap();
        live.every = Duration::ZERO;
        assert_eq!(check(&live), "role:admin");
        std::fs::write(&path, "get: role:reader\n").unwrap();
        assert_eq!(check(&live), "role:reader");
        let before = live.current();
        std::fs::write(&path, "get: 'role:reader or'\n").unwrap();
        assert_eq!(check(&live), "role:reader");
        assert!(Arc::ptr_eq(&before, &live.current()));
        std::fs::write(&path, "get: role:member or role:reader\n").unwrap();
        assert_eq!(check(&live), "role:member or role:reader");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(check(&live), "role:admin");
        assert!(!live.current().allows("get", &Credentials::default(), &serde_json::json!({})));
    }

    #[test]
    fn looks_once_a_second_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let mut live = Live::new(Engine::new(&[TABLE]).unwrap(), Some(path.clone())).unwrap();
        live.every = Duration::from_secs(3600);
        std::fs::write(&path, "get: role:reader\n").unwrap();
        assert_eq!(check(&live), "role:admin");
    }

    #[test]
    fn a_bad_file_at_the_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, "get: nonsense\n").unwrap();
        let engine = Engine::new(&[TABLE]).unwrap();
        assert!(matches!(Live::new(engine.clone(), Some(path.clone())), Err(PolicyError::Rule { line: Some(1), .. })));
        std::fs::write(&path, "#".repeat(file::MAX_FILE + 1)).unwrap();
        assert!(matches!(Live::new(engine.clone(), Some(path.clone())), Err(PolicyError::Large { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(Live::new(engine, Some(path)), Err(PolicyError::Unreadable(_))));
        assert!(Live::new(Engine::new(&[TABLE]).unwrap(), None).is_ok());
    }
}
