//! Chain loading: a program that changes something about its process and then becomes another.
//!
//! Nothing but what the program is for is changed: signals stay as they were given, and no
//! descriptor of ours is left open.

use crate::environment::Environment;
use crate::program::{Program, arguments};
use linux::entry::Args;
use linux::errno::Errno;
use linux::process;
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

/// Where programs are looked for without `$PATH`. Source: daemontools.md 1.0.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// Longest path that the kernel takes, its NUL included.
const PATH_MAX: usize = 4096;
/// Longer than nearly all of them.
const SHORT: usize = 256;

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

    /// Returns the word in front of the last `len`, as system calls take it.
    #[must_use]
    pub fn word_before(&self, len: usize) -> &'static CStr {
        self.args.get(self.args.len().saturating_sub(len + 1)).unwrap_or_default()
    }

    /// Becomes the program that the last `len` words say, with this process's environment; returns
    /// only where that failed, the message said and the exit code in hand.
    #[must_use]
    pub fn run(&self, program: Program, len: usize) -> i32 {
        self.become_child(program, len, process::exec)
    }

    /// Becomes the program that the last `len` words say, with another environment. It is looked
    /// for in the `$PATH` of this process, not in that of `environment`, as in the original.
    #[must_use]
    pub fn run_with(&self, program: Program, len: usize, environment: &Environment) -> i32 {
        let envp = environment.pointers();
        self.become_child(program, len, |path, argv| process::exec_with(path, argv, &envp))
    }

    fn become_child(
        &self,
        program: Program,
        len: usize,
        exec: impl Fn(&CStr, &[*const c_char]) -> Errno,
    ) -> i32 {
        let first = self.args.len() - len;
        let Some(name) = self.args.get(first) else {
            // No caller runs nothing; the kernel would say this.
            return program.fatal(&["unable to run ".as_ref()], Errno(libc::EFAULT));
        };
        let argv = self.args.from(first);
        let why = search(name, |path| exec(path, argv));
        program.fatal(&["unable to run ".as_ref(), OsStr::from_bytes(name.to_bytes())], why)
    }
}

/// Tries `name`, or where it has no `/` each folder of `$PATH`; returns why none was run.
fn search(name: &CStr, exec: impl Fn(&CStr) -> Errno) -> Errno {
    let bytes = name.to_bytes();
    if bytes.contains(&b'/') {
        return exec(name);
    }
    let path = process::variable(c"PATH").map_or(DEFAULT_PATH, CStr::to_bytes);
    let mut saved = None;
    for folder in path.split(|b| *b == b':') {
        let mut room = [0; SHORT];
        let why = match join(folder, bytes, &mut room) {
            Some(candidate) => exec(candidate),
            None => exec_long(folder, bytes, &exec),
        };
        match why {
            Errno(libc::ENOENT) => {}
            Errno(libc::EACCES | libc::EPERM | libc::EISDIR) => saved = Some(why),
            why => return why,
        }
    }
    saved.unwrap_or(Errno(libc::ENOENT))
}

/// A page of stack is a page fault, so the many calls with short paths must not pay for the few.
#[cold]
#[inline(never)]
fn exec_long(folder: &[u8], name: &[u8], exec: &impl Fn(&CStr) -> Errno) -> Errno {
    let mut room = [0; PATH_MAX];
    join(folder, name, &mut room).map_or(Errno(libc::ENAMETOOLONG), exec)
}

/// Writes `FOLDER/NAME` into `room`; an empty folder means the current one.
fn join<'a>(folder: &[u8], name: &[u8], room: &'a mut [u8]) -> Option<&'a CStr> {
    let folder = if folder.is_empty() { b"." } else { folder };
    let mut len = 0;
    for part in [folder, b"/", name, b"\0"] {
        room.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    CStr::from_bytes_with_nul(&room[..len]).ok()
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
