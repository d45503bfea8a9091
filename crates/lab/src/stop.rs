//! The one signal by which the parts of a running rack are told to end.

use tokio::sync::watch;

/// Waits until told to stop, or until whoever could tell is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
