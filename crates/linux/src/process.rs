//! Processes: reaping, pidfds, sessions.

use crate::errno::{Errno, Result, cvt, retry};
use crate::fd::Fd;
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Exit code.
    Code(i32),
    /// Number of the signal that ended it.
    Signal(i32),
}

impl Ended {
    /// Reads a wait status of a process that is dead.
    #[must_use]
    pub fn from_wait(status: i32) -> Self {
        let signal = status & 0x7f;
        if signal == 0 { Self::Code(status >> 8 & 0xff) } else { Self::Signal(signal) }
    }
}

/// What waiting for a process said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// This child is dead and reaped now.
    Ended(i32, Ended),
    /// Children live, none is dead.
    Alive,
    /// Not our child, or no child at all.
    NoChild,
}

/// Reaps `pid`, or any child where it is -1; `block` waits for one.
#[must_use]
pub fn wait(pid: i32, block: bool) -> Waited {
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    // SAFETY: `status` is valid for writes.
    match retry(|| unsafe { libc::waitpid(pid, &raw mut status, flags) }) {
        Ok(0) => Waited::Alive,
        Ok(pid) => Waited::Ended(pid, Ended::from_wait(status)),
        Err(_) => Waited::NoChild,
    }
}

/// Returns a child that is dead and not reaped, which keeps its pid from being used again; `None` =
/// children live, none is dead.
///
/// # Errors
/// `ECHILD` where there is no child at all.
pub fn dead_child() -> Result<Option<i32>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for writes of a siginfo.
    retry(|| unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) })?;
    // SAFETY: all zero is a siginfo; where a child is dead waitid filled in its pid.
    let pid = unsafe { info.assume_init().si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// What a dead process and the children that it reaped have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in microseconds.
    pub cpu_us: u64,
    /// Largest memory of one of them, in KiB; what shared our memory until it ran its program has
    /// at least as much as we had.
    pub peak_kib: u64,
}

/// Reaps a child that is dead; `None` where it is not, or is no child.
#[must_use]
pub fn reap(pid: i32) -> Option<(Ended, Usage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both are valid for writes.
    let reaped =
        retry(|| unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) });
    if reaped != Ok(pid) {
        return None;
    }
    // SAFETY: an rusage is numbers, all zero to begin with, and wait4 filled them in.
    let usage = unsafe { usage.assume_init() };
    let micros = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    let cpu_us = micros(usage.ru_utime) + micros(usage.ru_stime);
    Some((Ended::from_wait(status), Usage { cpu_us, peak_kib: usage.ru_maxrss as u64 }))
}

/// Opens a descriptor that stands for a process and becomes readable at its death.
///
/// # Errors
/// `ESRCH` where there is no such process; `ENOSYS` before Linux 5.3.
pub fn pidfd(pid: i32) -> Result<Fd> {
    // SAFETY: pidfd_open takes two ints; it sets close-on-exec by itself.
    cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(|fd| Fd::from_raw(fd as i32))
}

/// Sends a signal through a pidfd: it reaches that process or none.
///
/// # Errors
/// As `pidfd_send_signal(2)`.
pub fn pidfd_kill(pidfd: i32, signal: i32) -> Result<()> {
    let none = core::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for what kill(2) would send.
    cvt(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, none, 0) })?;
    Ok(())
}

/// `struct pidfd_info` of linux/pidfd.h, its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(0xff, 11, struct pidfd_info)`
const PIDFD_GET_INFO: libc::Ioctl = (0xc000_ff0b_u32 | (size_of::<PidfdInfo>() as u32) << 16) as _;
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// Asks how the process behind a pidfd ended, child of ours or not.
///
/// `None` until its parent has reaped it, and always on kernels before 6.15.
#[must_use]
pub fn pidfd_ended(pidfd: i32) -> Option<Ended> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number holds the size of `info`, which is valid for reads and writes.
    let answer = unsafe { libc::ioctl(pidfd, PIDFD_GET_INFO, &raw mut info) };
    (answer == 0 && info.mask & PIDFD_INFO_EXIT != 0).then(|| Ended::from_wait(info.exit_code))
}

/// Makes this process the reaper of its descendants' orphans.
///
/// # Errors
/// As prctl(2).
pub fn become_subreaper() -> Result<()> {
    // SAFETY: this prctl takes an int and touches no memory.
    cvt(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
    Ok(())
}

/// Sees to it that nothing which this process runs has more rights than it has.
///
/// # Errors
/// As prctl(2).
pub fn gain_no_rights() -> Result<()> {
    // SAFETY: this prctl takes numbers and touches no memory.
    cvt(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) })?;
    Ok(())
}

/// Sees to it that this process is killed when `parent`, which started it, dies. To be called after
/// the user is set, which would undo it.
///
/// # Errors
/// `ESRCH` where the parent is dead already; else as prctl(2).
pub fn die_with(parent: i32) -> Result<()> {
    // SAFETY: this prctl takes a number and touches no memory.
    cvt(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0_u64, 0_u64, 0_u64) })?;
    if self::parent() == parent { Ok(()) } else { Err(Errno(libc::ESRCH)) }
}

/// Keeps other processes of the same user from reading this one's memory, and leaves no core file of
/// it. The next program that it runs, and a change of user, undo it.
pub fn forbid_tracing() {
    // SAFETY: this prctl takes a number and touches no memory; 0 is always taken.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0_u64, 0_u64, 0_u64, 0_u64) };
}

/// Gives this process the name that `ps` shows for its program: 15 bytes of it.
pub fn set_name(name: &CStr) {
    // SAFETY: the name is NUL-terminated; the kernel reads 16 bytes of it at the most.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0_u64, 0_u64, 0_u64) };
}

/// Starts a session of its own.
///
/// # Errors
/// `EPERM` where this process leads a group already.
pub fn setsid() -> Result<()> {
    // SAFETY: setsid takes nothing.
    cvt(unsafe { libc::setsid() })?;
    Ok(())
}

/// Returns this process's pid.
#[must_use]
pub fn pid() -> i32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// Returns the pid of the process whose child this one is; 0 where that has no pid here.
#[must_use]
pub fn parent() -> i32 {
    // SAFETY: getppid takes nothing and cannot fail.
    unsafe { libc::getppid() }
}

/// Returns the effective user id.
#[must_use]
pub fn euid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Returns the value of an environment variable.
#[must_use]
pub fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: `name` is NUL-terminated.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: getenv answered a NUL-terminated string of the environment, which we never change.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// Takes a variable out of the environment, so that no program that is run from here has it; returns
/// the value that it had. To be called at the start, while the process has one thread.
#[must_use]
pub fn take_variable(name: &CStr) -> Option<&'static CStr> {
    let value = variable(name);
    // SAFETY: `name` is NUL-terminated; only the list changes, which no other thread reads. The
    // strings stay: nobody calls setenv, whose own ones alone would be freed.
    unsafe { libc::unsetenv(name.as_ptr()) };
    value
}

/// Returns the path by which the kernel was asked to run this program.
#[must_use]
pub fn exec_path() -> Option<&'static CStr> {
    // SAFETY: getauxval takes a number.
    let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    // SAFETY: AT_EXECFN points to a NUL-terminated string that lives as long as the process.
    (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) })
}

/// Replaces this program by another with the same environment; returns only where that failed.
///
/// `argv` ends with a null pointer.
#[must_use]
pub fn exec(path: &CStr, argv: &[*const libc::c_char]) -> Errno {
    debug_assert!(argv.last().is_some_and(|p| p.is_null()));
    let mut environment = MaybeUninit::<*const *const libc::c_char>::uninit();
    // SAFETY: `environ` is libc's pointer to the NUL-terminated environment.
    environment.write(unsafe { environ });
    // SAFETY: `path` and the strings of `argv` are NUL-terminated, both lists end with null.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.assume_init()) };
    Errno::last()
}

/// Replaces this program by another with the environment `envp`; returns only where that failed.
///
/// Both lists end with a null pointer.
#[must_use]
pub fn exec_with(path: &CStr, argv: &[*const libc::c_char], envp: &[*const libc::c_char]) -> Errno {
    debug_assert!(argv.last().is_some_and(|p| p.is_null()));
    debug_assert!(envp.last().is_some_and(|p| p.is_null()));
    // SAFETY: `path` and the strings of both lists are NUL-terminated, both lists end with null.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::last()
}

/// Returns the strings of the environment, `NAME=VALUE` each.
pub fn variables() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: `environ` is libc's pointer to the environment, which nobody changes.
    let mut next = unsafe { environ };
    core::iter::from_fn(move || {
        // SAFETY: `next` points into the list, at its end at the latest, which is a null pointer.
        if next.is_null() || unsafe { (*next).is_null() } {
            return None;
        }
        // SAFETY: not the end, so a NUL-terminated string that lives as long as the process.
        let string = unsafe { CStr::from_ptr(*next) };
        // SAFETY: not the end, so the next pointer belongs to the list too.
        next = unsafe { next.add(1) };
        Some(string)
    })
}

/// Which side of a [`fork`] this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one; the child's pid.
    Parent(i32),
}

/// Makes a copy of this process. For small programs with one thread; a daemon uses
/// [`crate::spawn`].
///
/// # Errors
/// As fork(2).
pub fn fork() -> Result<Fork> {
    // SAFETY: the process has one thread, so the child may do whatever the parent may.
    let pid = cvt(unsafe { libc::fork() })?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent(pid) })
}

/// `struct clone_args` of linux/sched.h, its third version, which names a cgroup.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Makes a copy of this process as [`fork`] does, in another cgroup from its first moment on.
/// `cgroup`: a descriptor of its folder. What the child does before it runs a program must be system
/// calls: libc does not know that there is another process.
///
/// # Errors
/// As clone3(2): `ENODEV` where the cgroup was removed, `ENOSYS` where a filter does not know the call.
pub fn fork_into(cgroup: i32) -> Result<Fork> {
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `args` is valid for reads; without a stack of its own the child goes on with a copy of
    // ours, as after fork, and the process has one thread.
    let pid =
        cvt(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent(pid as i32) })
}

unsafe extern "C" {
    /// The environment, kept by libc.
    pub(crate) static environ: *const *const libc::c_char;
}

/// Ends the process without running anything.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit takes an int and does not return.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_child_is_seen_then_reaped_with_what_it_used() {
        let Ok(Fork::Parent(pid)) = fork() else { exit(7) };
        let limit = crate::time::monotonic() + 10 * crate::time::SECOND;
        // Other tests have children too: theirs may be seen first, and are reaped by them.
        let (ended, usage) = loop {
            assert!(dead_child().is_ok());
            if let Some(found) = reap(pid) {
                break found;
            }
            assert!(crate::time::monotonic() < limit);
        };
        assert_eq!(ended, Ended::Code(7));
        assert!(usage.peak_kib > 0);
        assert_eq!(reap(pid), None);
    }
}
