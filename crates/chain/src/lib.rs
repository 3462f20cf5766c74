//! Chain loaders that run before every start of a service: small, without std and without a heap.
//!
//! | module | subject |
//! |---|---|
//! | [`limits`] | softlimit |
//! | [`locks`] | setlock |
//! | [`variables`] | envdir, envini |
#![no_std]

pub mod limits;
pub mod locks;
pub mod variables;

use linux::entry::Args;
use linux::getopt::{Found, Options};
use linux::program::Program;

/// Returns the next option of the command line.
fn next(options: &mut Options<'_>, program: Program, args: Args) -> Option<Found> {
    options.next(program, |i| args.get(i).map(core::ffi::CStr::to_bytes))
}
