//! The accounts of the configuration: each looked up in one way, and both compared.

use std::ffi::CString;
use sys::account::{self, Login};

/// Group that reads the store and may use the control socket.
pub const GROUP: &[u8] = b"skynet";

/// Account of the worker where the configuration names none and root starts us.
pub(crate) const WORKER: &str = "skynet";

/// An account, looked up once.
#[derive(Debug)]
pub(crate) struct Person {
    /// `$USER`.
    pub(crate) name: Vec<u8>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Sorted, none twice.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: CString,
    pub(crate) shell: CString,
}

/// Looks an account up. Root is who is called root: another account with its rights is a mistake, or
/// worse.
pub(crate) fn find(name: &str) -> Result<Person, String> {
    let Some((ids, login)) = account::find_login(name.as_bytes()) else {
        return Err(format!("unable to find account {name}: there is none"));
    };
    if ids.uid == 0 && name != "root" {
        return Err(format!("unable to use account {name}: it is root by another name"));
    }
    let mut groups = account::groups(name.as_bytes(), &ids);
    groups.sort_unstable();
    let Login { home, shell } = login;
    Ok(Person { name: name.into(), uid: ids.uid, gid: ids.gid, groups, home, shell })
}

/// Refuses a participant that would have a right to the store which the names do not show. Where both
/// have one name, or the participant is root, whoever wrote that sees it.
pub(crate) fn keep_apart(participant: &Person, worker: &Person) -> Result<(), String> {
    if participant.name == worker.name || participant.uid == 0 {
        return Ok(());
    }
    let name = |person: &Person| String::from_utf8_lossy(&person.name).into_owned();
    let (user, worker_user) = (name(participant), name(worker));
    if participant.uid == worker.uid {
        return Err(format!(
            "unable to use account {user} for the participant: it is {worker_user}, the worker's, \
             by another name"
        ));
    }
    let readers = [Some(worker.gid), account::find_group(GROUP)];
    match readers.into_iter().flatten().find(|gid| participant.groups.contains(gid)) {
        None => Ok(()),
        Some(gid) => Err(format!(
            "unable to use account {user} for the participant: it is in group {gid}, which may read \
             the store"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_not_there_is_none_and_root_is_only_root() {
        for name in ["no-such-account", "0", "", "root:x"] {
            assert!(find(name).is_err(), "{name:?}");
        }
        let root = find("root").unwrap();
        assert_eq!((root.uid, root.home.as_c_str()), (0, c"/root"));
        assert!(root.groups.is_sorted());
    }

    fn person(name: &str, uid: u32, groups: &[u32]) -> Person {
        let (home, shell) = (c"/".to_owned(), c"/bin/sh".to_owned());
        Person { name: name.into(), uid, gid: groups[0], groups: groups.to_vec(), home, shell }
    }

    #[test]
    fn a_participant_shares_uid_or_group_with_the_worker_only_where_the_names_say_so() {
        let worker = person("worker", 900, &[901, 905]);
        for (participant, is_apart) in [
            (person("web", 1000, &[1000]), true),
            (person("worker", 900, &[901, 905]), true),
            (person("root", 0, &[0, 901]), true),
            // What the worker makes belongs to its first group, not to its others.
            (person("web", 1000, &[905, 1000]), true),
            (person("web", 900, &[1000]), false),
            (person("web", 1000, &[901]), false),
            (person("web", 1000, &[901, 1000]), false),
        ] {
            assert_eq!(keep_apart(&participant, &worker).is_ok(), is_apart, "{participant:?}");
        }
    }
}
