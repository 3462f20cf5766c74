//! svscan: keeps a supervise for each service of a folder.
//!
//! What happens next to one service is decided by [`machine::svscan`]; here is the folder, the
//! processes, and the end.

mod args;
mod entries;
mod folder;
mod log;
mod once;
mod replace;
mod run;
mod trust;

pub use args::Args;
pub use run::run;
pub use trust::{Policy, flaw};

use sys::program::Program;

/// The name in every message.
pub const SVSCAN: Program = Program("svscan");
