//! Decisions of the daemons: event in, actions out.
//!
//! No clock, file, socket or process: a machine is told what happened and when, and answers with
//! what is to be done. What could not be done comes back as an event, so that policy about
//! failures stands here too. Nothing allocates.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod exo;
pub mod logdir;
pub mod notice;
pub mod queue;
pub mod supervise;
pub mod svscan;
pub mod time;
pub mod work;
