//! Who the worker and the participants are.

use super::Trouble;
use crate::accounts::{self, Person, WORKER};
use crate::settings::Settings;
use sys::account::{self, Login};
use sys::linux::errno::Errno;
use sys::linux::file::flags::EPERM;
use sys::linux::process;

/// Both accounts.
#[derive(Debug)]
pub(super) struct People {
    pub(super) worker: Person,
    pub(super) participant: Person,
    /// Started by root, so they are become; else both are who we are.
    pub(super) are_become: bool,
}

impl People {
    /// Looks the accounts up.
    pub(super) fn find(settings: &Settings) -> Result<Self, Trouble> {
        let names = [settings.worker_user.as_deref(), settings.user.as_deref()];
        let own = process::euid();
        if own != 0 {
            for name in names.into_iter().flatten() {
                if find(name)?.uid != own {
                    let what = format!("unable to become {name}, not started by root");
                    return Err(Trouble::of(what, Errno(EPERM)));
                }
            }
            let (worker, participant) = (ourselves(own), ourselves(own));
            return Ok(Self { worker, participant, are_become: false });
        }
        let worker = find(settings.worker_user.as_deref().unwrap_or(WORKER))?;
        let participant = find(settings.account())?;
        accounts::keep_apart(&participant, &worker).map_err(Trouble::plain)?;
        Ok(Self { worker, participant, are_become: true })
    }

    /// Tells whether the participant has the worker's rights, and these are not root's.
    pub(super) fn are_one(&self) -> bool {
        self.worker.uid == self.participant.uid && self.worker.uid != 0
    }
}

fn find(name: &str) -> Result<Person, Trouble> {
    accounts::find(name).map_err(Trouble::plain)
}

/// Ourselves, as far as an account says; our ids stay what they are, and need none.
fn ourselves(uid: u32) -> Person {
    let name = account::name_of(uid);
    let login = name.as_deref().and_then(account::find_login).map(|(_, login)| login);
    let none = Login { home: c"/".to_owned(), shell: c"/bin/sh".to_owned() };
    let Login { home, shell } = login.unwrap_or(none);
    let name = name.unwrap_or_else(|| uid.to_string().into_bytes());
    Person { name, uid, gid: 0, groups: Vec::new(), home, shell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_an_account_has_a_home_and_a_shell() {
        let person = ourselves(u32::MAX - 7);
        assert_eq!(person.name, b"4294967288");
        assert_eq!((person.home.as_c_str(), person.shell.as_c_str()), (c"/", c"/bin/sh"));
        assert_eq!(ourselves(0).name, b"root");
    }
}
