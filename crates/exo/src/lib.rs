//! The exoskeleton: runs a participant, hands it work items, answers their senders.
//!
//! The design note is this crate's README.

mod accounts;
pub mod ask;
pub mod cli;
pub mod config;
pub mod control;
pub mod flags;
pub mod keeper;
pub mod lines;
pub mod local;
pub mod order;
pub mod other;
pub mod say;
pub mod settings;
pub mod signature;
pub mod usage;
pub mod worker;
pub mod writer;

pub use accounts::GROUP;
use settings::Settings;

/// Runs the service that these settings say; returns the exit code.
#[must_use]
pub fn run(settings: Settings) -> i32 {
    if let Some(command) = &settings.exoskeleton {
        return other::run(&settings, command);
    }
    keeper::run(settings, worker::run)
}
