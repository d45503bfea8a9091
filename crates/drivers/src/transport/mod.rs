//! Ways to reach a device that several drivers share.

pub(crate) mod ssh;
