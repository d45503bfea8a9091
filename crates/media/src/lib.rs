//! What machines are given to read: images of files, and the config drives that are made of them. Knows no devices.

pub mod configdrive;
pub mod iso9660;
