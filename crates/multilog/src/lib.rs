//! The parts of multilog. README.md beside this crate says how they work together.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod ahead;
pub mod direct;
pub mod folder;
pub mod input;
pub mod lines;
pub mod logger;
pub mod output;
pub mod pattern;
pub mod recover;
pub mod script;
pub mod spool;
pub mod stamp;
pub mod start;
pub mod wait;

/// Says what goes wrong.
pub const MULTILOG: linux::program::Program = linux::program::Program("multilog");
/// The name in every message.
const NAME: &str = MULTILOG.0;
const FATAL: &str = "fatal";
const WARNING: &str = "warning";
/// Descriptor 0.
const STDIN: i32 = 0;
