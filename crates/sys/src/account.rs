//! Looking accounts up: in /etc/passwd and /etc/group first, then by `getent`, which knows every
//! other source that this machine is set up for (LDAP, SSSD, systemd).
//!
//! A static program cannot load the libraries of those sources itself.

use crate::contents;
use crate::passwd;
use linux::file::HERE;
use linux::process::{self, Fork};
use linux::{fd, file};
use std::ffi::{CStr, CString, c_char};

/// Where `getent` is: by absolute path, whatever `$PATH` says.
const GETENT: [&CStr; 2] = [c"/usr/bin/getent", c"/bin/getent"];

/// Bytes of /etc/passwd that are read without a heap.
const FEW: usize = 4096;

/// An account's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Not in /etc/passwd but in another source.
    is_foreign: bool,
}

/// Where an account lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Home directory.
    pub home: CString,
    /// Login shell.
    pub shell: CString,
}

/// Finds the ids of the account that has exactly this name; no name is ever taken for a number.
#[must_use]
pub fn find(name: &[u8]) -> Option<Ids> {
    look_up(name, |account, is_foreign| {
        Some(Ids { uid: account.uid, gid: account.gid, is_foreign })
    })
}

/// Finds ids, home and shell of the account that has exactly this name.
#[must_use]
pub fn find_login(name: &[u8]) -> Option<(Ids, Login)> {
    look_up(name, |account, is_foreign| {
        let string = |bytes: &[u8]| CString::new(bytes).ok();
        let login = Login { home: string(account.home)?, shell: string(account.shell)? };
        Some((Ids { uid: account.uid, gid: account.gid, is_foreign }, login))
    })
}

/// Finds the name of an account with this user id.
#[must_use]
pub fn name_of(uid: u32) -> Option<Vec<u8>> {
    if let Some(name) = listed_name_of(uid) {
        return Some(name);
    }
    let mut text = Vec::new();
    getent(c"passwd", uid.to_string().as_bytes(), &mut text)?;
    passwd::name_of(&text, uid).map(<[u8]>::to_vec)
}

/// Finds the same in /etc/passwd alone: nobody is asked who might not answer.
#[must_use]
pub fn listed_name_of(uid: u32) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    contents::read(HERE, c"/etc/passwd", 0, &mut text).ok()?;
    passwd::name_of(&text, uid).map(<[u8]>::to_vec)
}

/// Returns a user as people are told of it: its name in /etc/passwd, or its number.
#[must_use]
pub fn shown(uid: u32) -> String {
    let name = listed_name_of(uid);
    name.map_or_else(|| uid.to_string(), |name| String::from_utf8_lossy(&name).into_owned())
}

/// Finds the id of the group that has exactly this name.
#[must_use]
pub fn find_group(name: &[u8]) -> Option<u32> {
    if !passwd::is_name(name) {
        return None;
    }
    let mut text = Vec::new();
    let read = contents::read(HERE, c"/etc/group", 0, &mut text);
    if let Some(gid) = read.ok().and_then(|()| passwd::group(&text, name)) {
        return Some(gid);
    }
    getent(c"group", name, &mut text)?;
    passwd::group(&text, name)
}

fn look_up<T>(name: &[u8], take: impl Fn(&passwd::Account<'_>, bool) -> Option<T>) -> Option<T> {
    if !passwd::is_name(name) {
        return None;
    }
    // Whatever hinders us from reading it, getent may know more.
    if let Ok(file) = file::open(HERE, c"/etc/passwd", libc::O_RDONLY, 0) {
        let mut few = [0; FEW];
        let mut many = Vec::new();
        let text = match fd::read_at(file.raw(), &mut few, 0) {
            Ok(len) if len < FEW => &few[..len],
            _ => match contents::read_open(file.raw(), &mut many) {
                Ok(()) => &many,
                Err(_) => &[][..],
            },
        };
        if let Some(account) = passwd::find(text, name) {
            return take(&account, false);
        }
    }
    let mut text = Vec::new();
    getent(c"passwd", name, &mut text)?;
    // It answers to numbers too: what it prints must be about the name asked for.
    passwd::find(&text, name).and_then(|account| take(&account, true))
}

/// Returns the groups of the account called `name`: its primary group, then those of /etc/group,
/// and for an account of another source those that `getent` knows. None twice.
#[must_use]
pub fn groups(name: &[u8], account: &Ids) -> Vec<u32> {
    let mut groups = vec![account.gid];
    let mut text = Vec::new();
    if contents::read(HERE, c"/etc/group", 0, &mut text).is_ok() {
        groups.extend(passwd::groups_with(&text, name));
    }
    if account.is_foreign && getent(c"initgroups", name, &mut text).is_some() {
        groups.extend(passwd::initgroups(&text, name));
    }
    let mut seen = Vec::with_capacity(groups.len());
    groups.retain(|group| {
        let is_new = !seen.contains(group);
        seen.push(*group);
        is_new
    });
    groups
}

/// Puts into `out` what `getent DATABASE NAME` prints, run with an empty environment.
fn getent(database: &CStr, name: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let name = CString::new(name).ok()?;
    let (from, to) = fd::pipe().ok()?;
    let Fork::Parent(pid) = process::fork().ok()? else {
        run_getent(database, &name, to.raw());
    };
    drop(to);
    let read = contents::read_open(from.raw(), out);
    // Its exit code adds nothing to what it printed; but it must not be left to the program that
    // is run next, which would have a child it does not know.
    let _ = process::wait(pid, true);
    read.ok()
}

/// The child: becomes getent, or ends.
fn run_getent(database: &CStr, name: &CStr, to: i32) -> ! {
    fd::fill_standard();
    if let Ok(null) = file::open(HERE, c"/dev/null", libc::O_RDWR, 0) {
        for standard in [0, 2] {
            let _ = fd::dup_to(null.raw(), standard);
        }
    }
    if fd::dup_to(to, 1).is_ok() {
        let words: [*const c_char; 4] =
            [c"getent".as_ptr(), database.as_ptr(), name.as_ptr(), std::ptr::null()];
        for path in GETENT {
            let _ = process::exec_with(path, &words, &[std::ptr::null()]);
        }
    }
    process::exit(111)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_and_odd_names_are_not() {
        let (root, login) = find_login(b"root").unwrap();
        assert_eq!((root.uid, root.gid, login.home.as_c_str()), (0, 0, c"/root"));
        assert_eq!(find(b"root"), Some(root));
        for name in [&b"0"[..], b"", b"root:x", b"root\n", b"-s", b"+", b"no-such-account", b"00"] {
            assert_eq!(find(name), None, "{name:?}");
        }
    }

    #[test]
    fn getent_is_asked_and_answers_about_numbers_as_well() {
        let mut out = Vec::new();
        getent(c"passwd", b"0", &mut out).unwrap();
        assert!(out.starts_with(b"root:"), "{out:?}");
        assert_eq!(passwd::find(&out, b"0"), None);
        getent(c"passwd", b"root", &mut out).unwrap();
        assert_eq!(passwd::find(&out, b"root").map(|account| account.uid), Some(0));
    }

    #[test]
    fn names_of_users_and_ids_of_groups_are_found_and_odd_ones_are_not() {
        assert_eq!(name_of(0).as_deref(), Some(&b"root"[..]));
        assert_eq!(name_of(u32::MAX - 7), None);
        assert_eq!(find_group(b"root"), Some(0));
        for name in [&b"0"[..], b"", b"no-such-group", b"root:x"] {
            assert_eq!(find_group(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_primary_group_comes_first_and_none_comes_twice() {
        let groups = groups(b"root", &find(b"root").unwrap());
        assert_eq!(groups[0], 0);
        assert_eq!(groups.iter().filter(|group| **group == 0).count(), 1);
    }
}
