//! Chain loading: a program that changes something about its process and then becomes another.
//!
//! Nothing but what the program is for is changed: signals stay as they were given, and no
//! descriptor of ours is left open.

use crate::program::{Program, arguments};
use linux::entry::Args;
use linux::environment::Environment;
use linux::{chain, process};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// As many words are kept without a heap, which would cost more than all else that is done here.
const FEW: usize = 24;

/// The arguments of a chain loader.
pub struct Chain<'a> {
    args: Args,
    words: &'a [&'static OsStr],
}

/// Calls `run` with what `main` was given.
pub fn enter(args: Args, run: fn(&Chain<'_>) -> i32) -> i32 {
    let mut few = [OsStr::new(""); FEW];
    let many;
    let count = args.len().saturating_sub(1);
    let words = if let Some(few) = few.get_mut(..count) {
        for (word, i) in few.iter_mut().zip(1..) {
            *word = args.get(i).map_or(OsStr::new(""), |word| OsStr::from_bytes(word.to_bytes()));
        }
        few
    } else {
        many = arguments(args);
        &many[..]
    };
    run(&Chain { args, words })
}

impl<'a> Chain<'a> {
    /// Returns the arguments without the program's name.
    #[must_use]
    pub fn words(&self) -> &'a [&'static OsStr] {
        self.words
    }

    /// Becomes the program that the last `len` words say, with this process's environment; returns
    /// only where that failed, the message said and the exit code in hand.
    #[must_use]
    pub fn run(&self, program: Program, len: usize) -> i32 {
        chain::run(program.bare(), self.args, self.args.len() - len, process::exec)
    }

    /// Becomes the program that the last `len` words say, with another environment. It is looked
    /// for in the `$PATH` of this process, not in that of `environment`, as in the original.
    #[must_use]
    pub fn run_with(&self, program: Program, len: usize, environment: &Environment) -> i32 {
        chain::run_with(program.bare(), self.args, self.args.len() - len, environment)
    }
}

/// Makes `$run`, a `fn(&Chain<'_>) -> i32`, the `main` of a chain loader; needs `#![no_main]`.
#[macro_export]
macro_rules! chain_program {
    ($run:path) => {
        fn enter(args: $crate::linux::entry::Args) -> i32 {
            $crate::chain::enter(args, $run)
        }
        $crate::linux::entry!(enter);
    };
}
