//! What things are: typed ids, the kinds of resource with what is wanted and what was seen of each, and the pure decisions
//! made about them. No IO, no async function, and no clock but [`time::Timestamp::now`].

pub mod access;
pub mod baremetal;
pub mod container_infra;
pub mod fabric;
pub mod id;
pub mod identity;
pub mod image_compute;
pub mod net;
pub mod object;
pub mod password;
pub mod secret;
pub mod time;

pub use id::Id;
pub use object::{Column, Kind, Link, Object};
pub use secret::{SealError, Sealed, Sealer, Secret};
pub use time::Timestamp;
