//! setlock: running a program with a file locked.

use core::ffi::CStr;
use linux::entry::Args;
use linux::errno::Errno;
use linux::file::flags;
use linux::getopt::Options;
use linux::program::Program;
use linux::{chain, fd, file, process};

const PROGRAM: Program = Program("setlock");
const USAGE: &str = "setlock [ -nNxX ] file program [ arg ... ]";

/// What to do where somebody else holds the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    Wait,
    GiveUp,
}

/// Opens and locks the file, and leaves it so for the child.
fn lock(name: &CStr, busy: Busy) -> Result<(), (&'static str, Errno)> {
    // Not to hang at a FIFO, and, as the original does, never to cut the file short.
    let flags = flags::O_WRONLY | flags::O_NONBLOCK | flags::O_APPEND | flags::O_CREAT;
    // Behind the standard descriptors: where 2 is closed, messages would end up in the file.
    let open = file::open(file::HERE, name, flags, 0o600).and_then(fd::beyond_standard);
    let locked = open.map_err(|why| ("unable to open ", why))?;
    let done = match busy {
        Busy::Wait => file::lock_wait(locked.raw()),
        Busy::GiveUp => file::lock_now(locked.raw()),
    };
    done.and_then(|()| fd::set_cloexec(locked.raw(), false))
        .map_err(|why| ("unable to lock ", why))?;
    // Owned by the lock from now on: it lives as long as the child keeps the descriptor.
    let _ = locked.into_raw();
    Ok(())
}

/// The program setlock.
#[must_use]
pub fn setlock(args: Args) -> i32 {
    if let Some(code) = PROGRAM.standard(args, USAGE) {
        return code;
    }
    let mut busy = Busy::Wait;
    let mut is_silent = false;
    let mut options = Options::new(1, "nNxX");
    while let Some(option) = options.next_in(PROGRAM, args) {
        match option {
            Ok((b'n', _)) => busy = Busy::GiveUp,
            Ok((b'N', _)) => busy = Busy::Wait,
            Ok((letter, _)) => is_silent = letter == b'x',
            Err(()) => return PROGRAM.usage(USAGE),
        }
    }
    let child = options.rest() + 1;
    let Some(name) = args.get(options.rest()).filter(|_| child < args.len()) else {
        return PROGRAM.usage(USAGE);
    };
    match lock(name, busy) {
        Ok(()) => chain::run(PROGRAM, args, child, process::exec),
        Err(_) if is_silent => 0,
        Err((what, why)) => PROGRAM.fatal(&[what.as_bytes(), name.to_bytes()], why),
    }
}
