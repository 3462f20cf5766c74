//! Giving up rights for good, and making sure of it.

use linux::errno::Errno;
use linux::ids;

/// Which step went wrong. Nothing may be run then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The groups could not be set.
    Groups(Errno),
    /// The user ids could not be set.
    User(Errno),
    /// The capabilities could not be emptied.
    Capabilities(Errno),
    /// The ids, groups or capabilities could not be read back.
    Unreadable(Errno),
    /// What was set is not what is there; the words say what.
    NotGone(&'static str),
}

/// Becomes user `uid` with primary group `gid` and the supplementary groups `groups`: all three
/// user and group ids; for everybody but root no capability is left, ambient ones included.
///
/// Then reads everything back and tries to become root again, which must fail.
///
/// # Errors
/// Any step that failed; the process may then have lost a part of its rights and must end.
///
/// Source: promises.md, P1.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Failure> {
    if let [_] = groups {
        return become_user_with(uid, gid, groups, &mut [0; 2]);
    }
    let mut sorted = groups.to_vec();
    sorted.sort_unstable();
    become_user_with(uid, gid, &sorted, &mut vec![0; groups.len() + 1])
}

/// As [`become_user`], by nothing but system calls: `groups` are sorted, and `room` has one place
/// more than they.
///
/// # Errors
/// As [`become_user`].
pub fn become_user_with(
    uid: u32,
    gid: u32,
    groups: &[u32],
    room: &mut [u32],
) -> Result<(), Failure> {
    // Groups before gid before uid: after setuid we may no longer change the others.
    ids::set_groups(groups).map_err(Failure::Groups)?;
    ids::set_gids(gid).map_err(Failure::Groups)?;
    ids::set_uids(uid).map_err(Failure::User)?;
    if uid != 0 {
        // Done by the kernel where we were root; not where we only had the capability.
        ids::drop_capabilities().map_err(Failure::Capabilities)?;
    }
    verify(uid, gid, groups, room)
}

impl Failure {
    /// Returns it as an error number: `EPERM` for what is not what was set.
    #[must_use]
    pub fn errno(self) -> Errno {
        match self {
            Self::Groups(why) | Self::User(why) => why,
            Self::Capabilities(why) | Self::Unreadable(why) => why,
            Self::NotGone(_) => Errno(libc::EPERM),
        }
    }
}

fn verify(uid: u32, gid: u32, groups: &[u32], room: &mut [u32]) -> Result<(), Failure> {
    if ids::uids().map_err(Failure::Unreadable)? != [uid; 3] {
        return Err(Failure::NotGone("user ids differ from those set"));
    }
    if ids::gids().map_err(Failure::Unreadable)? != [gid; 3] {
        return Err(Failure::NotGone("group ids differ from those set"));
    }
    if !same_groups(groups, room)? {
        return Err(Failure::NotGone("supplementary groups differ from those set"));
    }
    if uid == 0 {
        return Ok(());
    }
    if !ids::has_no_capabilities().map_err(Failure::Unreadable)? {
        return Err(Failure::NotGone("capabilities are left"));
    }
    if ids::set_uids(0).is_ok() {
        return Err(Failure::NotGone("root's user id can be had again"));
    }
    if gid != 0 && ids::set_gids(0).is_ok() {
        return Err(Failure::NotGone("root's group id can be had again"));
    }
    Ok(())
}

/// One place more than wanted, to see one more. More than fit are more than wanted, too. The kernel
/// sorts them.
fn same_groups(groups: &[u32], room: &mut [u32]) -> Result<bool, Failure> {
    match ids::groups(room) {
        Ok(there) => Ok(there == groups),
        Err(Errno(libc::EINVAL)) => Ok(false),
        Err(why) => Err(Failure::Unreadable(why)),
    }
}
