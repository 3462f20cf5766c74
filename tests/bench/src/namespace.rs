//! A world of its own for a run: whatever happens, nothing of it is left behind.
//!
//! The run is process 1 of a pid namespace: at its end, however it comes, the kernel kills all
//! that it started. Its files are on a tmpfs which only its mount namespace sees.

use crate::trouble::{Result, Trouble, Unable};
use linux::process::{self, Waited};
use linux::time::{SECOND, monotonic};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs this program again, with the same arguments and `more`, in new namespaces; returns its exit code.
pub(crate) fn run_inside(more: &[String]) -> Result<i32> {
    let scratch = std::env::temp_dir().join(format!("bench.{}", process::pid()));
    // An interrupted run leaves an empty folder, and pids come again.
    let _ = fs::remove_dir(&scratch);
    fs::create_dir(&scratch).unable(|| format!("make {}", scratch.display()))?;
    // Accounts without rights chain into programs below it.
    fs::set_permissions(&scratch, Permissions::from_mode(0o755))
        .unable(|| format!("open {} to all", scratch.display()))?;
    let code = spawn_inside(&scratch, more);
    // Not mounted where it failed early.
    let _ = umount2(&scratch, MntFlags::MNT_DETACH);
    fs::remove_dir(&scratch).unable(|| format!("remove {}", scratch.display()))?;
    code
}

fn spawn_inside(scratch: &Path, more: &[String]) -> Result<i32> {
    let program = std::env::current_exe().unable(|| "find this program".into())?;
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)
        .unable(|| "make namespaces (are you root?)".into())?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .unable(|| "keep mounts private".into())?;
    let status = Command::new(&program)
        .arg("--inside")
        .arg(scratch)
        .args(std::env::args_os().skip(1))
        .args(more)
        .status()
        .unable(|| format!("run {}", program.display()))?;
    Ok(status.code().unwrap_or(111))
}

/// Makes itself at home as process 1, with files on `scratch`.
pub(crate) fn settle_in(scratch: &Path) -> Result<()> {
    require_first()?;
    // Whoever interrupts the run reaches the process outside; this one must follow it.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unable(|| "die with the parent".into())?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
        .unable(|| "mount /proc".into())?;
    mount(Some("tmpfs"), scratch, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))
        .unable(|| format!("mount a tmpfs on {}", scratch.display()))?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unable(|| "read the limits".into())?;
    // A svscan with two descriptors for each service has the same right to run as any.
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unable(|| "raise the limits".into())
}

/// Ends every process of this namespace but this one.
pub(crate) fn kill_all() -> Result<()> {
    require_first()?;
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    let killed = wait_until_alone(60 * SECOND)?;
    killed.map(|_| ()).ok_or_else(|| Trouble::new("processes that cannot be killed are left"))
}

/// Waits until no other process is left; returns when that was, `None` after `limit` nanoseconds.
///
/// Every orphan here becomes a child of process 1, so when no child is left, nobody is.
pub(crate) fn wait_until_alone(limit: u64) -> Result<Option<u64>> {
    require_first()?;
    let end = monotonic() + limit;
    loop {
        match process::wait(-1, false) {
            Waited::Ended(..) => {}
            Waited::NoChild => return Ok(Some(monotonic())),
            Waited::Alive if monotonic() > end => return Ok(None),
            Waited::Alive => std::thread::sleep(Duration::from_micros(300)),
        }
    }
}

/// Outside a namespace of its own, "all" would be the whole machine.
fn require_first() -> Result<()> {
    if process::pid() == 1 {
        return Ok(());
    }
    Err(Trouble::new("--inside is for this program's own use, as process 1 of a namespace"))
}
