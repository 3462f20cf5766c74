//! setuidgid, setuser, envuidgid: running a program as an account, or telling it about one.

use crate::encore_rules;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use sys::account::{self, Ids};
use sys::chain::Chain;
use sys::getopt::Options;
use sys::linux::environment::Environment;
use sys::linux::file;
use sys::privilege::{self, Failure};
use sys::program::Program;

/// Looks the account up; the message is said where there is none.
fn find(program: Program, name: &OsStr) -> Result<Ids, i32> {
    account::find(name.as_bytes()).ok_or_else(|| unknown(program, name))
}

fn unknown(program: Program, name: &OsStr) -> i32 {
    program.fatal_plain(&["unknown account ".as_ref(), name])
}

/// Becomes the account; where anything goes wrong, says so and returns the exit code.
fn become_account(program: Program, account: &Ids, groups: &[u32]) -> Result<(), i32> {
    let Err(failure) = privilege::become_user(account.uid, account.gid, groups) else {
        return Ok(());
    };
    let (what, why) = match failure {
        Failure::Groups(why) => ("unable to setgid", why),
        Failure::User(why) => ("unable to setuid", why),
        Failure::Capabilities(why) => ("unable to drop capabilities", why),
        Failure::Unreadable(why) => ("unable to verify ids", why),
        Failure::NotGone(what) => {
            return Err(
                program.fatal_plain(&["unable to drop privileges: ".as_ref(), what.as_ref()])
            );
        }
    };
    Err(program.fatal(&[what.as_ref()], why))
}

fn set_ids(environment: &mut Environment, account: &Ids) {
    environment.set(b"GID", account.gid.to_string().as_bytes());
    environment.set(b"UID", account.uid.to_string().as_bytes());
}

/// Reads `-s`. In 0.76 an account comes first: only `-s` itself is an option then, and any other
/// word the name of an account that does not exist.
fn wants_all_groups<'a>(words: &'a [&'static OsStr]) -> Result<(bool, &'a [&'static OsStr]), ()> {
    if !encore_rules() {
        return Ok(match words {
            [first, rest @ ..] if *first == "-s" => (true, rest),
            words => (false, words),
        });
    }
    let mut options = Options::new(words, "s");
    let mut all = false;
    while let Some(option) = options.next(SETUIDGID) {
        option?;
        all = true;
    }
    Ok((all, options.rest()))
}

const SETUIDGID: Program = Program("setuidgid");

/// The program setuidgid.
#[must_use]
pub fn setuidgid(chain: &Chain<'_>) -> i32 {
    if let Some(code) = SETUIDGID.standard(chain.words(), "setuidgid [ -s ] account child") {
        return code;
    }
    let usage =
        if encore_rules() { "setuidgid [-s] account child" } else { "setuidgid account child" };
    let Ok((all_groups, [name, child @ ..])) = wants_all_groups(chain.words()) else {
        return SETUIDGID.usage(usage);
    };
    if child.is_empty() {
        return SETUIDGID.usage(usage);
    }
    let done = find(SETUIDGID, name).and_then(|account| {
        if all_groups {
            let groups = account::groups(name.as_bytes(), &account);
            become_account(SETUIDGID, &account, &groups)
        } else {
            become_account(SETUIDGID, &account, &[account.gid])
        }
    });
    match done {
        Ok(()) => chain.run(SETUIDGID, child.len()),
        Err(code) => code,
    }
}

/// The program setuser.
#[must_use]
pub fn setuser(chain: &Chain<'_>) -> i32 {
    const PROGRAM: Program = Program("setuser");
    const USAGE: &str = "setuser account child";
    if let Some(code) = PROGRAM.standard(chain.words(), USAGE) {
        return code;
    }
    let [name, child @ ..] = chain.words() else { return PROGRAM.usage(USAGE) };
    if child.is_empty() {
        return PROGRAM.usage(USAGE);
    }
    let Some((account, login)) = account::find_login(name.as_bytes()) else {
        return unknown(PROGRAM, name);
    };
    let mut environment = Environment::own();
    environment.set(b"HOME", login.home.as_bytes());
    environment.set(b"SHELL", login.shell.as_bytes());
    environment.set(b"USER", name.as_bytes());
    set_ids(&mut environment, &account);
    // As root: a home may be closed to its owner's processes, as in the original.
    if let Err(why) = file::chdir(&login.home) {
        let home = OsStr::from_bytes(login.home.as_bytes());
        return PROGRAM.fatal(&["unable to chdir to ".as_ref(), home], why);
    }
    let groups = account::groups(name.as_bytes(), &account);
    match become_account(PROGRAM, &account, &groups) {
        Ok(()) => chain.run_with(PROGRAM, child.len(), &environment),
        Err(code) => code,
    }
}

/// The program envuidgid.
#[must_use]
pub fn envuidgid(chain: &Chain<'_>) -> i32 {
    const PROGRAM: Program = Program("envuidgid");
    const USAGE: &str = "envuidgid account child";
    if let Some(code) = PROGRAM.standard(chain.words(), USAGE) {
        return code;
    }
    let [name, child @ ..] = chain.words() else { return PROGRAM.usage(USAGE) };
    if child.is_empty() {
        return PROGRAM.usage(USAGE);
    }
    let account = match find(PROGRAM, name) {
        Ok(account) => account,
        Err(code) => return code,
    };
    let mut environment = Environment::own();
    set_ids(&mut environment, &account);
    chain.run_with(PROGRAM, child.len(), &environment)
}
