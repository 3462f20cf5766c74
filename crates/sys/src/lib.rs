//! What the std programs of the suite need of the system: start-up without the runtime's own,
//! daemontools' options and messages, identity, limits.

pub mod account;
pub mod chain;
pub mod confine;
pub mod contents;
pub mod filter;
pub mod getopt;
pub mod host;
pub mod listener;
pub mod passwd;
pub mod privilege;
pub mod program;
pub mod terminal;
pub mod trusted;

pub use linux;
