//! pgrphack and fghack: a session of its own; waiting for a program that went to the background.

use sys::chain::Chain;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::process::{self, Ended, Fork, Waited};
use sys::program::Program;

const PGRPHACK: Program = Program("pgrphack");
const FGHACK: Program = Program("fghack");
/// How many further descriptors a daemon would have to find and close. Source: fghack(8).
const COPIES: usize = 30;

/// The program pgrphack.
#[must_use]
pub fn pgrphack(chain: &Chain<'_>) -> i32 {
    const USAGE: &str = "pgrphack child";
    if let Some(code) = PGRPHACK.standard(chain.words(), USAGE) {
        return code;
    }
    if chain.words().is_empty() {
        return PGRPHACK.usage(USAGE);
    }
    // Fails where we lead a group already, which is what was wanted.
    let _ = process::setsid();
    chain.run(PGRPHACK, chain.words().len())
}

/// The program fghack.
#[must_use]
pub fn fghack(chain: &Chain<'_>) -> i32 {
    const USAGE: &str = "fghack child";
    if let Some(code) = FGHACK.standard(chain.words(), USAGE) {
        return code;
    }
    if chain.words().is_empty() {
        return FGHACK.usage(USAGE);
    }
    let (from, to) = match fd::pipe() {
        Ok(ends) => ends,
        Err(why) => return FGHACK.fatal(&["unable to create pipe".as_ref()], why),
    };
    match process::fork() {
        Err(why) => FGHACK.fatal(&["unable to fork".as_ref()], why),
        Ok(Fork::Child) => run_child(chain, from, to),
        Ok(Fork::Parent(pid)) => {
            drop(to);
            wait_for_all(&from);
            code_of(pid)
        }
    }
}

/// Runs the program with the pipe's write end open often.
fn run_child(chain: &Chain<'_>, from: Fd, to: Fd) -> i32 {
    drop(from);
    let mut copies: [Option<Fd>; COPIES + 1] = [const { None }; COPIES + 1];
    for copy in &mut copies {
        // Fewer do as well, as in the original; only none at all would not.
        *copy = fd::duplicate(to.raw()).ok();
    }
    drop(to);
    if copies[0].is_none() {
        return FGHACK.fatal_plain(&["unable to duplicate descriptors".as_ref()]);
    }
    chain.run(FGHACK, chain.words().len())
}

/// Reads until nobody has the write end any more.
fn wait_for_all(from: &Fd) {
    let mut nothing = [0; 64];
    while matches!(fd::read(from.raw(), &mut nothing), Ok(1..)) {}
}

fn code_of(pid: i32) -> i32 {
    match process::wait(pid, true) {
        Waited::Ended(_, Ended::Code(code)) => code,
        Waited::Ended(_, Ended::Signal(_)) => FGHACK.fatal_plain(&["child crashed".as_ref()]),
        // Where SIGCHLD is ignored nobody can say how it ended.
        Waited::Alive | Waited::NoChild => {
            FGHACK.fatal(&["wait failed".as_ref()], Errno(libc::ECHILD))
        }
    }
}
