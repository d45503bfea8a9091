//! The whole product from outside: the real binary, its public HTTP APIs, real switches and machines of the simulated rack.
//!
//! Tests that start a rack need root, Open vSwitch and the machine image; without them they say so and pass.
#![cfg(test)]

mod bad_input;
mod dead_switch;
mod drift;
mod kills;
mod lifecycle;
mod support;
mod virtual_machine;
mod virtual_medium;
