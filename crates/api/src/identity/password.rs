//! Passwords: bcrypt, off the async threads, and never more at once than there are processors.

use model::Secret;
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// bcrypt's cost, Keystone's default.
const COST: u32 = 12;
/// Log-ins that may wait for a processor; more are told to come again.
const QUEUE: usize = 64;
/// bcrypt reads no more of a password than this many bytes.
const MAX_BYTES: usize = 72;

/// Bounds the work of hashing.
pub(crate) struct Hashing {
    running: Semaphore,
    waiting: Semaphore,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { running: Semaphore::new(cores), waiting: Semaphore::new(QUEUE) }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static) -> Result<T, Failure> {
        let closed = || Failure::Internal("hashing was closed".into());
        let _waiting = self.waiting.try_acquire().map_err(|_| Failure::Unavailable("Too many log-ins at once; try again.".into()))?;
        let _running = self.running.acquire().await.map_err(|_| closed())?;
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| closed())?;
        done.map_err(|error| Failure::Internal(format!("bcrypt: {error}")))
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// `BadRequest` if it is longer than bcrypt reads; `Unavailable` when too many wait.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<Secret, Failure> {
        let password = password.clone();
        if password.reveal().len() > MAX_BYTES {
            return Err(Failure::BadRequest(format!("The password is longer than {MAX_BYTES} bytes.")));
        }
        self.run(move || bcrypt::hash(password.reveal(), COST).map(Secret::new)).await
    }

    /// Whether the password is the one hashed. Without a hash it takes as long and is never right.
    ///
    /// # Errors
    /// `Unavailable` when too many wait.
    pub(crate) async fn verify(&self, password: &Secret, hash: Option<&Secret>) -> Result<bool, Failure> {
        // The hash of nothing anybody knows: an unknown user costs what a known one does.
        const NOBODY: &str = "$2b$12$C6UzMDM.H6dfI/f/IKcEeO7ZTwq9BXM7WW8MKVmZBoOl4pLHFd.ve";
        // bcrypt would compare what it reads and forget the rest: what cannot have been set is not right.
        let known = hash.is_some() && password.reveal().len() <= MAX_BYTES;
        let hash = hash.map_or(NOBODY, Secret::reveal).to_owned();
        let password = password.clone();
        let equal = self.run(move || bcrypt::verify(password.reveal(), &hash)).await?;
        Ok(equal && known)
    }
}
