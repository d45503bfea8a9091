//! Passwords and secrets: hashed off the async threads, and never more at once than there are processors.

use std::sync::{Arc, OnceLock};

use ::identity::compliance::{Strength, Weak};
use ::identity::hash::{self, Algorithm, HashError};
use model::Secret;
use tokio::sync::Semaphore;

use super::IdentitySettings;
use crate::failure::Failure;

/// Log-ins that may wait for a processor; more are told to come again.
const QUEUE: usize = 64;

/// Bounds the work of hashing.
pub(crate) struct Hashing {
    settings: hash::Settings,
    strength: Strength,
    /// The hash of nothing anybody knows: an unknown user costs what a known one does.
    nobody: Arc<OnceLock<Secret>>,
    running: Semaphore,
    waiting: Semaphore,
}

impl Hashing {
    /// # Errors
    /// What is wrong with the settings.
    pub(crate) fn new(settings: &IdentitySettings) -> Result<Self, String> {
        settings.hashing.check().map_err(|error| format!("identity.hashing: {error}"))?;
        let strength = Strength::new(&settings.security_compliance).map_err(|error| error.to_string())?;
        let mut unknown = [0_u8; 24];
        getrandom::fill(&mut unknown).map_err(|error| error.to_string())?;
        let text: String = unknown.iter().map(|byte| format!("{byte:02x}")).collect();
        let nobody = Arc::new(OnceLock::new());
        let (place, how) = (Arc::clone(&nobody), settings.hashing.clone());
        // It takes as long as a log-in: the start does not wait for it.
        tokio::task::spawn_blocking(move || {
            if let Ok(hashed) = hash::hash(&how, &Secret::new(text)) {
                drop(place.set(hashed));
            }
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = Semaphore::new(cores);
        Ok(Self { settings: settings.hashing.clone(), strength, nobody, running, waiting: Semaphore::new(QUEUE) })
    }

    /// How secrets are hashed: they are long and random, and no form that reads 72 bytes only will do.
    fn for_secrets(&self) -> hash::Settings {
        let algorithm = match self.settings.algorithm {
            Algorithm::Bcrypt => Algorithm::BcryptSha256,
            other => other,
        };
        hash::Settings { algorithm, strict_password_check: false, ..self.settings.clone() }
    }

    async fn run<T: Send + 'static>(
        &self,
        settings: hash::Settings,
        work: impl FnOnce(&hash::Settings) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Failure> {
        let closed = || Failure::Internal("hashing was closed".into());
        let _waiting = self.waiting.try_acquire().map_err(|_| Failure::Unavailable("Too many log-ins at once; try again.".into()))?;
        let _running = self.running.acquire().await.map_err(|_| closed())?;
        let done = tokio::task::spawn_blocking(move || work(&settings)).await.map_err(|_| closed())?;
        done.map_err(|error| match error {
            HashError::TooLong { .. } => Failure::BadRequest(format!("Invalid input for field 'password': {error}")),
            other => Failure::Internal(other.to_string()),
        })
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// `BadRequest` if it is longer than may be; `Unavailable` when too many wait.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<Secret, Failure> {
        let password = password.clone();
        self.run(self.settings.clone(), move |settings| hash::hash(settings, &password)).await
    }

    /// Hashes a secret of any length, such as an application credential's.
    ///
    /// # Errors
    /// `Unavailable` when too many wait.
    pub(crate) async fn hash_secret(&self, secret: &Secret) -> Result<Secret, Failure> {
        let secret = secret.clone();
        self.run(self.for_secrets(), move |settings| hash::hash(settings, &secret)).await
    }

    /// [`Hashing::verify`] for secrets. One that was taken over from a Keystone may have been hashed by its first 72 bytes.
    ///
    /// # Errors
    /// `Unavailable` when too many wait.
    pub(crate) async fn verify_secret(&self, secret: &Secret, hashed: Option<&Secret>) -> Result<bool, Failure> {
        self.compare(self.for_secrets(), secret, hashed).await
    }

    /// Whether the password is the one hashed. Without a hash, or with one of no known form, it takes as long and is never right.
    ///
    /// # Errors
    /// `Unavailable` when too many wait.
    pub(crate) async fn verify(&self, password: &Secret, hashed: Option<&Secret>) -> Result<bool, Failure> {
        self.compare(self.settings.clone(), password, hashed).await
    }

    async fn compare(&self, settings: hash::Settings, password: &Secret, hashed: Option<&Secret>) -> Result<bool, Failure> {
        let known = hashed.is_some();
        let hashed = hashed.or_else(|| self.nobody.get()).map(|it| it.reveal().to_owned()).unwrap_or_default();
        let password = password.clone();
        let equal = self
            .run(settings, move |settings| match hash::verify(settings, &password, &hashed) {
                Err(error) if !hashed.is_empty() => {
                    tracing::warn!(%error, "a password hash in the store cannot be compared");
                    Ok(false)
                }
                Err(_) => Ok(false),
                done => done,
            })
            .await?;
        Ok(equal && known)
    }

    /// Whether a hash is of another algorithm or cost than the settings want.
    pub(crate) fn is_outdated(&self, hashed: &Secret) -> bool {
        hash::needs_rehash(&self.settings, hashed.reveal())
    }

    /// Whether a password is as the settings demand.
    ///
    /// # Errors
    /// `BadRequest` with what is demanded.
    pub(crate) fn check_strength(&self, password: &Secret) -> Result<(), Failure> {
        self.strength.check(password).map_err(|weak| match weak {
            Weak::Requirements(_) | Weak::Undecided => Failure::BadRequest(format!("Password validation error: {weak}")),
        })
    }
}
