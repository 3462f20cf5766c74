//! The exoskeleton: runs a participant, hands it work items, answers their senders.
//!
//! The design note is this crate's README.

pub mod config;
pub mod control;
pub mod flags;
pub mod keeper;
pub mod lines;
pub mod order;
pub mod settings;
pub mod signature;
pub mod units;
pub mod worker;
