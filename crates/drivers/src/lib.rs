//! What the control plane touches: switches, BMCs, deploy agents, Docker daemons, boot protocols and this host's own
//! edge namespaces.
//!
//! A driver gets plain values and gives plain values. It knows no database, no tenant and no policy. It only observes
//! and ensures: a call that found the wanted state changes nothing, every call ends by a deadline, and "I could not
//! find out" is an error of its own that never reads as success.

use std::future::Future;
use std::pin::Pin;

pub mod agent;
pub mod bmc;
pub mod boot;
pub mod console;
pub mod docker;
pub mod edge;
pub mod switch;
mod tls;
mod transport;

/// A boxed future, so that driver traits can be used behind `dyn`.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
