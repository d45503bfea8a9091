//! Secrets at rest: what must be shown or compared in clear again is sealed with keys of the installation that are not those of its tokens,
//! so that the end of a token's key ends no credential.

use ::identity::keys::{KeyError, KeyRing};
use model::{Secret, Timestamp};
use store::Store;

use crate::App;
use crate::failure::Failure;

/// Where the keys are.
const KEYS: &str = "identity/credential-keys";

fn broken(error: KeyError) -> Failure {
    Failure::Internal(format!("the keys of credentials: {error}"))
}

/// The keys all replicas share, made when something is first sealed.
pub(crate) async fn ring(app: &App) -> Result<KeyRing, Failure> {
    of_store(&app.store).await
}

/// The same, for whoever has no [`App`].
pub(crate) async fn of_store(store: &Store) -> Result<KeyRing, Failure> {
    let text = match store.setting(KEYS).await? {
        Some(text) => text,
        None => store.setting_or(KEYS, KeyRing::first().map_err(broken)?.write().reveal()).await?,
    };
    KeyRing::parse(&text).map_err(broken)
}

/// Seals text.
pub(super) async fn seal(app: &App, text: &str) -> Result<Secret, Failure> {
    ring(app).await?.encrypt(text.as_bytes(), Timestamp::now()).map(Secret::new).map_err(broken)
}

/// What was sealed.
///
/// # Errors
/// `Internal` if none of the installation's keys sealed it.
pub(super) async fn open(app: &App, sealed: &Secret) -> Result<Secret, Failure> {
    open_with(&ring(app).await?, sealed)
}

/// What was sealed, with keys that were read before.
///
/// # Errors
/// `Internal` if none of them sealed it.
pub(super) fn open_with(ring: &KeyRing, sealed: &Secret) -> Result<Secret, Failure> {
    let (bytes, _) = ring.decrypt(sealed.reveal()).map_err(broken)?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| Failure::Internal("a sealed secret is no text".into()))
}
