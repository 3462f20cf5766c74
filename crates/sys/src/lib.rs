//! What the std programs of the suite need of the system: start-up without the runtime's own,
//! daemontools' options and messages, identity, limits.

pub mod getopt;
pub mod program;
pub mod terminal;

pub use linux;
