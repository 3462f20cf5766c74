//! A claim on a directory: a lock that leaves nothing on disk, so nobody can delete it.

use crate::errno::{Errno, Result, cvt};

/// The byte that is locked: one that nobody locks for another purpose.
const BYTE: libc::off_t = 0x736b_796e_6574;
// The C libraries do not all name them.
const F_OFD_GETLK: i32 = 36;
const F_OFD_SETLK: i32 = 37;

/// Claims the directory behind `dir`, which is open for reading, until its last descriptor closes.
///
/// # Errors
/// `EAGAIN` where somebody else has claimed it, or does at the same moment.
pub fn take(dir: i32) -> Result<()> {
    // A directory is never open for writing, and so has shared locks only: each takes one, and
    // then asks whether it is alone.
    lock(dir, F_OFD_SETLK, libc::F_RDLCK)?;
    let other = lock(dir, F_OFD_GETLK, libc::F_WRLCK)?;
    if i32::from(other) == libc::F_UNLCK { Ok(()) } else { Err(Errno(libc::EAGAIN)) }
}

/// Returns the kind of lock that is in the way, `F_UNLCK` = none; of interest for `F_OFD_GETLK`.
fn lock(dir: i32, command: i32, kind: i32) -> Result<libc::c_short> {
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: BYTE,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: both commands take a pointer to a flock, valid for reads and writes.
    cvt(unsafe { libc::fcntl(dir, command, &raw mut lock) })?;
    Ok(lock.l_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{self, HERE, flags};

    #[test]
    fn one_at_a_time_has_a_directory_and_flock_does_not_mind() {
        let open = || file::open(HERE, c"src", flags::O_RDONLY, 0).unwrap();
        let (one, other) = (open(), open());
        file::lock_now(other.raw()).unwrap();
        take(one.raw()).unwrap();
        take(one.raw()).unwrap();
        assert_eq!(take(other.raw()), Err(Errno(libc::EAGAIN)));
        drop(other);
        take(one.raw()).unwrap();
        drop(one);
        take(open().raw()).unwrap();
        let path = file::open(HERE, c"src", flags::O_PATH, 0).unwrap();
        assert_eq!(take(path.raw()), Err(Errno(libc::EBADF)));
    }
}
