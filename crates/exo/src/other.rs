//! Another exoskeleton in place of this one: `exoskeleton` in the configuration.
//!
//! exo becomes it: same pid, the participant's user, nothing of exo left but the configuration on a
//! descriptor, and both ways of telling that it is ready. exo.yaml(5) says what it must speak.

use crate::accounts::{self, Person};
use crate::config;
use crate::settings::Settings;
use std::convert::Infallible;
use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::EBADF;
use sys::linux::signal::{self, Set};
use sys::linux::{chain, file, memfile, process};
use sys::listener::Listener;
use sys::privilege::{self, Failure};
use sys::program::TROUBLE;

/// Returns the number of the descriptor on which the configuration is.
const fn config_fd(settings: &Settings) -> i32 {
    match settings.ready_fd {
        Some(3) => 4,
        _ => 3,
    }
}

/// Becomes the other exoskeleton; returns only where that failed, the exit code in hand.
#[must_use]
pub fn run(settings: &Settings, command: &[CString]) -> i32 {
    match become_it(settings, command) {
        Ok(never) => match never {},
        Err(why) => {
            log::error!("{why}");
            TROUBLE
        }
    }
}

fn become_it(settings: &Settings, command: &[CString]) -> Result<Infallible, String> {
    let Some(program) = command.first() else {
        return Err("unable to run the exoskeleton: it has no name".into());
    };
    // Before anything is opened that could have this number.
    if let Some(ready) = settings.ready_fd {
        let open = if ready > 2 { fd::set_cloexec(ready, false) } else { Err(Errno(EBADF)) };
        open.map_err(|why| format!("unable to use descriptor {ready} for readiness: {why}"))?;
    }
    let text = config::effective(settings);
    let config = memfile::sealed(c"exo-config", text.as_bytes())
        .map_err(|why| format!("unable to make a file in memory: {why}"))?;
    let person = settings.user.as_deref().map(accounts::find).transpose()?;
    let environment = environment(settings, person.as_ref())?;
    // The program is looked for with the participant's rights, so before that only what needs more.
    become_user(person.as_ref())?;
    let dir = CString::new(settings.directory.as_os_str().as_bytes()).unwrap_or_default();
    file::chdir(&dir)
        .map_err(|why| format!("unable to change to {}: {why}", settings.directory.display()))?;
    file::set_umask(settings.umask);
    hand_over(config, config_fd(settings), settings.ready_fd)?;
    signal::reset_all();
    Set::of(&[]).block_only();
    let (argv, envp) = (pointers(command), pointers(&environment));
    let path = settings.path.as_bytes();
    let why = chain::search_in(path, program, |path| process::exec_with(path, &argv, &envp));
    Err(format!("unable to run {}: {why}", program.to_string_lossy()))
}

/// Leaves the configuration open at its number, the descriptor for readiness, and no other but 0, 1
/// and 2.
fn hand_over(config: Fd, number: i32, ready: Option<i32>) -> Result<(), String> {
    let unable = |why: Errno| format!("unable to hand over the configuration: {why}");
    if config.raw() == number {
        fd::set_cloexec(number, false).map_err(unable)?;
        // It is open until exec, and after.
        let _ = config.into_raw();
    } else {
        fd::dup_to(config.raw(), number).map_err(unable)?;
    }
    let ready = ready.unwrap_or(number);
    let (low, high) = (number.min(ready) as u32, number.max(ready) as u32);
    fd::close_between(low + 1, high.saturating_sub(1));
    fd::close_between(high + 1, u32::MAX);
    Ok(())
}

fn become_user(person: Option<&Person>) -> Result<(), String> {
    if let Some(Person { name, uid, gid, groups, .. }) = person {
        privilege::become_user(*uid, *gid, groups).map_err(|why| {
            format!("unable to become {}: {}", String::from_utf8_lossy(name), words(why))
        })?;
    }
    process::gain_no_rights().map_err(|why| format!("unable to give up gaining rights: {why}"))
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Groups(why) => format!("groups: {why}"),
        Failure::User(why) => format!("user: {why}"),
        Failure::Capabilities(why) => format!("capabilities: {why}"),
        Failure::Unreadable(why) => format!("unable to verify ids: {why}"),
        Failure::NotGone(what) => what.into(),
    }
}

/// Returns all variables: nothing is inherited but whom to tell that it is ready.
fn environment(settings: &Settings, person: Option<&Person>) -> Result<Vec<CString>, String> {
    let mut variables: Vec<(&str, &[u8])> = vec![("PATH", settings.path.as_bytes())];
    if let Some(Person { name, home, .. }) = person {
        variables.extend([("HOME", home.to_bytes()), ("USER", name), ("LOGNAME", name)]);
    }
    let listener = std::env::var_os(Listener::VARIABLE);
    variables.extend(listener.iter().map(|value| (Listener::VARIABLE, value.as_bytes())));
    for (name, value) in &settings.environment {
        variables.retain(|(there, _)| there != name);
        variables.push((name, value.as_bytes()));
    }
    let number = config_fd(settings).to_string();
    variables.push(("SKYNET_CONFIG_FD", number.as_bytes()));
    let strings = variables.iter().map(|(name, value)| {
        CString::new([name.as_bytes(), b"=", value].concat())
            .map_err(|_| format!("unable to set {name}: it holds a zero byte"))
    });
    strings.collect()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}
