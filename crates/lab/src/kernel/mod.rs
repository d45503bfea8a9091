//! What the rack asks of the host's kernel: namespaces, cables, control groups, processes. Nothing here knows of Redfish or of booting.

pub(crate) mod cgroup;
pub(crate) mod links;
pub(crate) mod processes;
pub(crate) mod sweep;
pub(crate) mod tool;
