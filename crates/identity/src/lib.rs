//! Identity without HTTP and without a store: what is in a token, how passwords are hashed, how signatures are checked.

pub mod compliance;
pub mod ec2;
pub mod hash;
pub mod jwt;
pub mod k8s;
pub mod keys;
pub mod mapping;
mod msgpack;
pub mod payload;
pub mod token;
pub mod totp;
