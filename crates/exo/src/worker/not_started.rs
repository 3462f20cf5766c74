//! Why the participant could not be started, in words.

use crate::order::Step;
use crate::settings::Settings;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::account;
use sys::linux::errno::Errno;

/// Returns what could not be done, with whom or what it was about, and why. `uid`: the participant's
/// user.
pub(super) fn words(step: Step, why: Errno, settings: &Settings, uid: u32) -> String {
    let what = match step {
        Step::Fork => "unable to make a process".to_owned(),
        Step::Descriptors => "unable to put its descriptors in place".to_owned(),
        Step::Directory => format!("unable to enter directory {}", settings.directory.display()),
        Step::Limits => "unable to set its limits".to_owned(),
        Step::User => format!("unable to become user {}", account::shown(uid)),
        Step::Confine => "unable to confine it".to_owned(),
        Step::Run | Step::Interpreter => {
            let command = settings.command.first().map_or(c"", CString::as_c_str);
            let program = program(command, &settings.directory, &settings.path);
            format!("unable to run its program {program}")
        }
    };
    match step {
        // The same number is that of a program which is not there.
        Step::Interpreter => format!("{what}: its interpreter (#!) does not exist"),
        _ => format!("{what}: {why}"),
    }
}

/// Returns where a program is looked for.
fn program(name: &CStr, directory: &Path, path: &str) -> String {
    let name = Path::new(OsStr::from_bytes(name.to_bytes()));
    if name.as_os_str().as_bytes().contains(&b'/') {
        // Without the dot of ./NAME.
        let whole: PathBuf = directory.join(name).components().collect();
        return whole.display().to_string();
    }
    format!("{} (PATH={path})", name.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_as_it_is_looked_for_and_a_user_by_its_name_or_number() {
        for (name, wanted) in [
            (c"./run", "/srv/p/run"),
            (c"bin/../run", "/srv/p/bin/../run"),
            (c"/opt/run", "/opt/run"),
            (c"run", "run (PATH=/usr/bin:/bin)"),
        ] {
            assert_eq!(program(name, Path::new("/srv/p"), "/usr/bin:/bin"), wanted);
        }
        let users = (account::shown(0), account::shown(4_000_000_000));
        assert_eq!(users, ("root".to_owned(), "4000000000".to_owned()));
    }
}
