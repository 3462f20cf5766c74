//! Chain loading: becoming the program that the rest of the command line says.

use crate::entry::Args;
use crate::environment::Environment;
use crate::errno::Errno;
use crate::process;
use crate::program::Program;
use core::ffi::{CStr, c_char};

/// Where programs are looked for without `$PATH`. Source: daemontools.md 1.0.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// Longest path that the kernel takes, its NUL included.
const PATH_MAX: usize = 4096;
/// Longer than nearly all of them.
const SHORT: usize = 256;

/// Becomes the program that the arguments from `first` on say, by `exec`; returns only where that
/// failed, the message said and the exit code in hand.
#[must_use]
pub fn run(
    program: Program,
    args: Args,
    first: usize,
    exec: impl Fn(&CStr, &[*const c_char]) -> Errno,
) -> i32 {
    let Some(name) = args.get(first) else {
        // No caller runs nothing; the kernel would say this.
        return program.fatal(&[b"unable to run "], Errno(libc::EFAULT));
    };
    let words = args.from(first);
    let why = search(name, |path| exec(path, words));
    program.fatal(&[b"unable to run ", name.to_bytes()], why)
}

/// Likewise with another environment. The program is looked for in the `$PATH` of this process, not
/// in that of `environment`, as in the original.
#[must_use]
pub fn run_with(program: Program, args: Args, first: usize, environment: &Environment) -> i32 {
    match environment.pointers() {
        Ok(envp) => run(program, args, first, |path, argv| process::exec_with(path, argv, envp)),
        Err(why) => program.fatal_plain(&[why.text().as_bytes()]),
    }
}

/// Tries `name`, or where it has no `/` each folder of `$PATH`; returns why none was run.
fn search(name: &CStr, exec: impl Fn(&CStr) -> Errno) -> Errno {
    let path = process::variable(c"PATH").map_or(DEFAULT_PATH, CStr::to_bytes);
    search_in(path, name, exec)
}

/// Tries `name`, or where it has no `/` each folder of `path`; returns why none was run.
pub fn search_in(path: &[u8], name: &CStr, exec: impl Fn(&CStr) -> Errno) -> Errno {
    let bytes = name.to_bytes();
    if bytes.contains(&b'/') {
        return exec(name);
    }
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
