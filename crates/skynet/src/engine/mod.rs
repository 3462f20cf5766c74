//! The stand-in engine: a small part of what a process engine does, for trials and tests.
//!
//! [`machine`] decides and performs nothing: what comes in is an event, what is to be done comes out.
//! [`keep`] has it on disk, [`serve`] drives it. What it is not stands in skynet(8), below engine.

pub mod condition;
pub mod dollar;
pub mod embedded;
pub mod follow;
pub mod keep;
pub mod machine;
pub mod message;
pub mod number;
pub mod process;
pub mod process_file;
pub mod rabbit;
pub mod registry;
pub mod ruby;
pub mod send;
pub mod serve;
pub mod show;
pub mod transport;
pub mod tree;
pub mod visit;

/// Queue by which everybody speaks to an engine.
pub use work::wire::ENGINE_QUEUE as QUEUE;

/// What an engine calls itself in the items that it hands out.
pub const ID: &str = "skynet";
