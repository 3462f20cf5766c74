//! Starting a child the cheap way: it borrows our memory until it runs its program.

use crate::errno::{Errno, Result, cvt};
use crate::{fd, file, process, signal};
use core::ffi::CStr;

/// What to run and how.
pub struct Child<'a> {
    /// The program, as execve(2) takes it.
    pub path: &'a CStr,
    /// Its arguments, ending with a null pointer.
    pub argv: &'a [*const libc::c_char],
    /// Directory to change to first.
    pub dir: Option<i32>,
    /// Becomes descriptor 0.
    pub stdin: Option<i32>,
    /// Becomes descriptor 1.
    pub stdout: Option<i32>,
    /// Gets a session of its own.
    pub new_session: bool,
    /// Signals blocked when it runs: none for a program that knows nothing of us.
    pub blocked: &'a [i32],
}

/// What became of a start.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program runs under this pid.
    Running(i32),
    /// The child could not run its program; it is dead and reaped.
    NotRun(Errno),
}

/// Bytes of the child's stack: it makes a dozen system calls; code without optimisation needs more.
const STACK: usize = if cfg!(debug_assertions) { 8192 } else { 1280 };

/// What the child stands on until it runs its program. Its place is the caller's choice, since a
/// page that is touched once stays with the process.
#[repr(align(16))]
pub struct Stack([core::mem::MaybeUninit<u8>; STACK]);

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

impl Stack {
    /// Returns one that no child has stood on yet.
    #[must_use]
    pub const fn new() -> Self {
        Self([core::mem::MaybeUninit::uninit(); STACK])
    }
}

struct Shared<'a, 'b> {
    child: &'a Child<'b>,
    before_exec: &'a mut dyn FnMut(i32),
    failure: i32,
}

/// Starts `child`. `before_exec` runs in the child, with its pid, while it still holds all our
/// descriptors and shares our memory; it must do no more than system calls.
///
/// # Errors
/// As clone(2): no process was made.
pub fn spawn(
    child: &Child<'_>,
    stack: &mut Stack,
    before_exec: &mut dyn FnMut(i32),
) -> Result<Outcome> {
    let mut shared = Shared { child, before_exec, failure: 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its aligned top, is borrowed by nobody else, and, like
    // `shared`, outlives the child's use of it: CLONE_VFORK holds us until it has run its program
    // or ended. The child touches no libc state but errno, and leaves by execve or _exit.
    let pid = cvt(unsafe {
        let top = stack.0.as_mut_ptr().add(STACK);
        libc::clone(in_child, top.cast(), flags, (&raw mut shared).cast())
    })?;
    // SAFETY: the child wrote the field while we stood still; a volatile read sees that.
    let failure = unsafe { core::ptr::read_volatile(&raw const shared.failure) };
    if failure == 0 {
        return Ok(Outcome::Running(pid));
    }
    let _ = process::wait(pid, true);
    Ok(Outcome::NotRun(Errno(failure)))
}

extern "C" fn in_child(shared: *mut libc::c_void) -> i32 {
    // SAFETY: `spawn` passes a valid `Shared` that nobody else uses while the child runs.
    let shared = unsafe { &mut *shared.cast::<Shared<'_, '_>>() };
    let failure = prepare_and_exec(shared.child, shared.before_exec);
    // SAFETY: as above; volatile, since only the parent reads it.
    unsafe { core::ptr::write_volatile(&raw mut shared.failure, failure.0) };
    process::exit(111)
}

fn prepare_and_exec(child: &Child<'_>, before_exec: &mut dyn FnMut(i32)) -> Errno {
    if let Err(e) = arrange(child) {
        return e;
    }
    before_exec(process::pid());
    // Signals last: until here none can reach code that is not ours.
    signal::Set::of(child.blocked).block_only();
    process::exec(child.path, child.argv)
}

fn arrange(child: &Child<'_>) -> Result<()> {
    if let Some(dir) = child.dir {
        file::chdir_fd(dir)?;
    }
    for (from, to) in [(child.stdin, 0), (child.stdout, 1)] {
        if let Some(from) = from {
            fd::dup_to(from, to)?;
        }
    }
    if child.new_session {
        // A fresh child leads no group, so this cannot fail.
        let _ = process::setsid();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::MaybeUninit;

    const PAINT: u8 = 0xa5;

    /// What supervise's children do before they run their program, and some more. The release
    /// build, whose stack is the small one, is tested by `cargo test --release -p linux`.
    #[test]
    fn a_child_leaves_a_quarter_of_its_stack_untouched() {
        let mut stack = Stack([MaybeUninit::new(PAINT); STACK]);
        let null = file::open(file::HERE, c"/dev/null", libc::O_RDWR, 0).unwrap();
        let mut seen = 0;
        let mut before = |pid: i32| {
            let bytes = [pid as u8; 256];
            let _ = fd::write_at(null.raw(), core::hint::black_box(&bytes), 0);
            seen = crate::time::boottime();
        };
        let argv = [c"true".as_ptr(), core::ptr::null()];
        let child = Child {
            path: c"/bin/true",
            argv: &argv,
            dir: Some(null.raw()).filter(|_| false),
            stdin: Some(null.raw()),
            stdout: Some(null.raw()),
            new_session: true,
            blocked: &[libc::SIGTERM],
        };
        let Ok(Outcome::Running(pid)) = spawn(&child, &mut stack, &mut before) else {
            panic!("not started");
        };
        assert_eq!(process::wait(pid, true), process::Waited::Ended(pid, process::Ended::Code(0)));
        assert!(seen > 0);
        // SAFETY: all of it was painted, and then only written to.
        let untouched = stack.0.iter().take_while(|byte| unsafe { byte.assume_init() } == PAINT);
        let untouched = untouched.count();
        assert!(untouched >= STACK / 4, "only {untouched} of {STACK} bytes are left");
    }
}
