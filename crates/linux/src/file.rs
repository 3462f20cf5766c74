//! Files relative to an open directory; no symlink is followed below it.

use crate::errno::{Errno, Result, cvt, retry};
use crate::fd::Fd;
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// The current directory, where a directory descriptor is asked for.
pub const HERE: i32 = libc::AT_FDCWD;

/// Opens `name` below `dir` with `flags`, close-on-exec; `mode` counts where it is created.
///
/// # Errors
/// As openat(2).
pub fn open(dir: i32, name: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    let flags = flags | libc::O_CLOEXEC;
    // SAFETY: `name` is NUL-terminated.
    retry(|| unsafe { libc::openat(dir, name.as_ptr(), flags, mode) }).map(Fd::from_raw)
}

/// Opens a regular file below `dir` and looks at it: never waits, follows no symlink.
///
/// # Errors
/// `EINVAL` where it is none; else as openat(2) and fstat(2).
pub fn open_regular(dir: i32, name: &CStr, flags: i32, mode: u32) -> Result<(Fd, Stat)> {
    // A FIFO would wait for its other end.
    let file = open(dir, name, flags | libc::O_NOFOLLOW | libc::O_NONBLOCK, mode)?;
    let stat = stat_fd(file.raw())?;
    if stat.is_file() { Ok((file, stat)) } else { Err(Errno(libc::EINVAL)) }
}

/// Makes a file below `dir`, for writing, in the place of whatever has its name: nothing is
/// written through a link, and no FIFO waited for.
///
/// # Errors
/// As openat(2); `EEXIST` where what is there cannot be removed.
pub fn make_anew(dir: i32, name: &CStr, mode: u32) -> Result<Fd> {
    // Failing, it leaves something there, which the next call says.
    let _ = unlink(dir, name);
    open(dir, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode)
}

/// What fstat(2) says.
#[derive(Clone, Copy)]
pub struct Stat(libc::stat);

impl Stat {
    /// Returns device and inode, which name a file.
    #[must_use]
    pub fn id(&self) -> (u64, u64) {
        (self.0.st_dev, self.0.st_ino)
    }

    /// Tells whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.0.st_mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Tells whether it is a FIFO.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.0.st_mode & libc::S_IFMT == libc::S_IFIFO
    }

    /// Tells whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.0.st_mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Tells whether it is a regular file that its owner may execute: daemontools-encore's test for
    /// scripts that need not be there.
    #[must_use]
    pub fn is_program(&self) -> bool {
        self.is_file() && self.mode() & 0o100 != 0
    }

    /// Tells whether it is a socket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.0.st_mode & libc::S_IFMT == libc::S_IFSOCK
    }

    /// Tells whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.0.st_mode & libc::S_IFMT == libc::S_IFLNK
    }

    /// Returns the owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0.st_uid
    }

    /// Returns the permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.0.st_mode & 0o7777
    }

    /// Tells whether the file has exactly one name.
    #[must_use]
    pub fn has_one_name(&self) -> bool {
        self.0.st_nlink == 1
    }

    /// Tells whether the file has no name any more.
    #[must_use]
    pub fn has_no_name(&self) -> bool {
        self.0.st_nlink == 0
    }

    /// Returns when it was read and written last, in seconds and nanoseconds.
    #[must_use]
    pub fn times(&self) -> [(i64, i64); 2] {
        [(self.0.st_atime, self.0.st_atime_nsec), (self.0.st_mtime, self.0.st_mtime_nsec)]
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> i64 {
        self.0.st_size
    }
}

/// Looks at `name` below `dir`; `follow` a final symlink or look at the link itself.
///
/// # Errors
/// As fstatat(2).
pub fn stat(dir: i32, name: &CStr, follow: bool) -> Result<Stat> {
    let mut out = MaybeUninit::<libc::stat>::uninit();
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: `name` is NUL-terminated, `out` has room for a stat.
    cvt(unsafe { libc::fstatat(dir, name.as_ptr(), out.as_mut_ptr(), flags) })?;
    // SAFETY: fstatat succeeded and so filled `out`.
    Ok(Stat(unsafe { out.assume_init() }))
}

/// Looks at an open file.
///
/// # Errors
/// As fstat(2).
pub fn stat_fd(fd: i32) -> Result<Stat> {
    let mut out = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `out` has room for a stat.
    cvt(unsafe { libc::fstat(fd, out.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded and so filled `out`.
    Ok(Stat(unsafe { out.assume_init() }))
}

/// Tells whether `name` below `dir` may be executed by this process (its effective ids).
#[must_use]
pub fn is_executable(dir: i32, name: &CStr) -> bool {
    // SAFETY: `name` is NUL-terminated.
    unsafe { libc::faccessat(dir, name.as_ptr(), libc::X_OK, 0) == 0 }
}

/// Tells whether `name` below `dir` may be read by this process (its effective ids).
#[must_use]
pub fn is_readable(dir: i32, name: &CStr) -> bool {
    // SAFETY: `name` is NUL-terminated.
    unsafe { libc::faccessat(dir, name.as_ptr(), libc::R_OK, 0) == 0 }
}

/// Sets the umask.
pub fn set_umask(mask: u32) {
    // SAFETY: umask takes a number and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Makes a directory.
///
/// # Errors
/// As mkdirat(2).
pub fn mkdir(dir: i32, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    cvt(unsafe { libc::mkdirat(dir, name.as_ptr(), mode) })?;
    Ok(())
}

/// Makes a FIFO; one that is there already is fine. The umask does not count.
///
/// # Errors
/// As mkfifoat(2), but for `EEXIST`.
pub fn mkfifo(dir: i32, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    match cvt(unsafe { libc::mkfifoat(dir, name.as_ptr(), mode) }) {
        Err(Errno(libc::EEXIST)) => Ok(()),
        answer => answer.map(drop),
    }
}

/// Renames `from` to `to`, both below `dir`.
///
/// # Errors
/// As renameat(2).
pub fn rename(dir: i32, from: &CStr, to: &CStr) -> Result<()> {
    // SAFETY: both names are NUL-terminated.
    cvt(unsafe { libc::renameat(dir, from.as_ptr(), dir, to.as_ptr()) })?;
    Ok(())
}

/// Renames `from` to `to`, both below `dir`, where nothing has the name `to` yet. Where the file
/// system knows no such call the look comes first.
///
/// # Errors
/// `EEXIST` where something has the name; else as renameat2(2).
pub fn rename_new(dir: i32, from: &CStr, to: &CStr) -> Result<()> {
    let (old, new) = (from.as_ptr(), to.as_ptr());
    let flags = libc::RENAME_NOREPLACE;
    // SAFETY: both names are NUL-terminated.
    match cvt(unsafe { libc::syscall(libc::SYS_renameat2, dir, old, dir, new, flags) }) {
        Err(Errno(libc::EINVAL | libc::ENOSYS)) => match stat(dir, to, false) {
            Ok(_) => Err(Errno(libc::EEXIST)),
            Err(Errno(libc::ENOENT)) => rename(dir, from, to),
            Err(why) => Err(why),
        },
        answer => answer.map(drop),
    }
}

/// Has the names `one` and `other`, both below `dir`, change places in one step.
///
/// # Errors
/// As renameat2(2); `EINVAL` where the file system cannot.
pub fn exchange(dir: i32, one: &CStr, other: &CStr) -> Result<()> {
    let (one, other) = (one.as_ptr(), other.as_ptr());
    let flags = libc::RENAME_EXCHANGE;
    // SAFETY: both names are NUL-terminated.
    cvt(unsafe { libc::syscall(libc::SYS_renameat2, dir, one, dir, other, flags) }).map(drop)
}

/// Removes a file.
///
/// # Errors
/// As unlinkat(2).
pub fn unlink(dir: i32, name: &CStr) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    cvt(unsafe { libc::unlinkat(dir, name.as_ptr(), 0) })?;
    Ok(())
}

/// Removes an empty directory.
///
/// # Errors
/// As unlinkat(2).
pub fn rmdir(dir: i32, name: &CStr) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    cvt(unsafe { libc::unlinkat(dir, name.as_ptr(), libc::AT_REMOVEDIR) })?;
    Ok(())
}

/// Says when an open file was read and written last, in seconds and nanoseconds.
///
/// # Errors
/// As futimens(2).
pub fn set_times(fd: i32, times: [(i64, i64); 2]) -> Result<()> {
    let spec = times.map(|(s, ns)| libc::timespec { tv_sec: s as _, tv_nsec: ns as _ });
    // SAFETY: `spec` holds the two times that futimens reads.
    cvt(unsafe { libc::futimens(fd, spec.as_ptr()) })?;
    Ok(())
}

/// Cuts an open file to `len` bytes.
///
/// # Errors
/// As ftruncate(2).
pub fn cut(fd: i32, len: usize) -> Result<()> {
    // SAFETY: ftruncate takes two numbers and touches no memory.
    cvt(unsafe { libc::ftruncate(fd, len as libc::off_t) })?;
    Ok(())
}

/// Gives an open file these permission bits.
///
/// # Errors
/// As fchmod(2).
pub fn set_mode(fd: i32, mode: u32) -> Result<()> {
    // SAFETY: fchmod takes two numbers and touches no memory.
    cvt(unsafe { libc::fchmod(fd, mode as libc::mode_t) })?;
    Ok(())
}

/// Gives an open file to another owner and group.
///
/// # Errors
/// As fchown(2).
pub fn set_owner(fd: i32, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: fchown takes numbers and touches no memory.
    cvt(unsafe { libc::fchown(fd, uid, gid) })?;
    Ok(())
}

/// Gives `name` below `dir` to another owner and group; a symlink itself, not what it leads to.
///
/// # Errors
/// As fchownat(2).
pub fn set_owner_of(dir: i32, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated.
    cvt(unsafe { libc::fchownat(dir, name.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) })?;
    Ok(())
}

/// Puts an open file, or the names in an open directory, on disk.
///
/// # Errors
/// As fsync(2).
pub fn sync(fd: i32) -> Result<()> {
    // SAFETY: fsync takes an int and touches no memory.
    retry(|| unsafe { libc::fsync(fd) })?;
    Ok(())
}

/// Says from which offset an open file is read and written next.
///
/// # Errors
/// As lseek(2).
pub fn seek(fd: i32, offset: u64) -> Result<()> {
    // SAFETY: lseek takes numbers and touches no memory.
    cvt(unsafe { libc::lseek(fd, offset as libc::off_t, libc::SEEK_SET) })?;
    Ok(())
}

/// Makes an open file be read and written next at its end; returns that offset, which
/// fstat(2) takes several times as long to tell.
///
/// # Errors
/// As lseek(2).
pub fn seek_end(fd: i32) -> Result<u64> {
    // SAFETY: lseek takes numbers and touches no memory.
    let end = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
    u64::try_from(end).map_err(|_| Errno::last())
}

/// Tells whether an open file begins with a hole, where nothing was ever written. The offset from
/// which it is read and written next is lost.
#[must_use]
pub fn begins_with_hole(fd: i32) -> bool {
    // SAFETY: lseek takes numbers and touches no memory.
    unsafe { libc::lseek(fd, 0, libc::SEEK_HOLE) == 0 }
}

/// Changes the current directory to an open one.
///
/// # Errors
/// As fchdir(2).
pub fn chdir_fd(dir: i32) -> Result<()> {
    // SAFETY: fchdir takes an int and touches no memory.
    cvt(unsafe { libc::fchdir(dir) })?;
    Ok(())
}

/// Changes the current directory.
///
/// # Errors
/// As chdir(2).
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated.
    cvt(unsafe { libc::chdir(path.as_ptr()) })?;
    Ok(())
}

/// Writes the path of the current directory into `buf` and returns it.
///
/// # Errors
/// `ERANGE` where `buf` is too short; else as getcwd(3).
pub fn getcwd(buf: &mut [u8]) -> Result<&CStr> {
    // SAFETY: `buf` is valid for writes of its length.
    if unsafe { libc::getcwd(buf.as_mut_ptr().cast(), buf.len()) }.is_null() {
        return Err(Errno::last());
    }
    CStr::from_bytes_until_nul(buf).map_err(|_| Errno(libc::ERANGE))
}

/// Bytes of the longest path, its NUL included.
pub const PATH_MAX: usize = libc::PATH_MAX as usize;

/// Writes the path of `path` without symlinks, `.` and `..` into `buf` and returns it.
///
/// # Errors
/// As realpath(3).
pub fn real_path<'a>(path: &CStr, buf: &'a mut [u8; PATH_MAX]) -> Result<&'a CStr> {
    // SAFETY: `path` is NUL-terminated, `buf` has the bytes that realpath writes at most.
    if unsafe { libc::realpath(path.as_ptr(), buf.as_mut_ptr().cast()) }.is_null() {
        return Err(Errno::last());
    }
    CStr::from_bytes_until_nul(buf).map_err(|_| Errno(libc::ENAMETOOLONG))
}

/// Reads the target of the symlink that `fd` (opened with `O_PATH | O_NOFOLLOW`) stands for.
///
/// # Errors
/// `ENAMETOOLONG` where `buf` is too short; else as readlinkat(2).
pub fn readlink_fd(fd: i32, buf: &mut [u8]) -> Result<&CStr> {
    let room = buf.len() - 1;
    // SAFETY: the path is an empty string, `buf` is valid for writes of `room` bytes.
    let n = cvt(unsafe { libc::readlinkat(fd, c"".as_ptr(), buf.as_mut_ptr().cast(), room) })?;
    if n as usize >= room {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    buf[n as usize] = 0;
    CStr::from_bytes_until_nul(buf).map_err(|_| Errno(libc::EINVAL))
}

/// Takes the lock of flock(2) without waiting.
///
/// # Errors
/// `EAGAIN` where somebody else holds it.
pub fn lock_now(fd: i32) -> Result<()> {
    // SAFETY: flock takes two ints and touches no memory.
    retry(|| unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) })?;
    Ok(())
}

/// Takes the lock of flock(2), waiting for it.
///
/// # Errors
/// As flock(2), but for `EINTR`.
pub fn lock_wait(fd: i32) -> Result<()> {
    // SAFETY: flock takes two ints and touches no memory.
    retry(|| unsafe { libc::flock(fd, libc::LOCK_EX) })?;
    Ok(())
}

/// The flags and errors that callers of this module name.
pub mod flags {
    pub use libc::{
        EACCES, EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EDQUOT, EEXIST, EINVAL, EIO, EISDIR,
        ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOSPC, ENOSYS, ENOTDIR, ENXIO, EPERM, EPIPE, ESRCH,
        ETIMEDOUT, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_PATH,
        O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
    };
}

/// Returns how many bytes this process may still write to the file system of an open file.
///
/// # Errors
/// As fstatfs(2).
pub fn free_bytes(fd: i32) -> Result<u64> {
    Ok(room(fd)?.free)
}

/// How much room a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes in all.
    pub all: u64,
    /// Files that can still be made.
    pub free_files: u64,
    /// Files in all; 0 = it does not count them.
    pub all_files: u64,
}

/// Returns how much room the file system of an open file has.
///
/// # Errors
/// As fstatfs(2).
pub fn room(fd: i32) -> Result<Room> {
    let mut out = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `out` has room for a statfs.
    cvt(unsafe { libc::fstatfs(fd, out.as_mut_ptr()) })?;
    // SAFETY: fstatfs succeeded and so filled `out`.
    let stat = unsafe { out.assume_init() };
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_bsize as u64);
    Ok(Room {
        free: bytes(stat.f_bavail),
        all: bytes(stat.f_blocks),
        free_files: stat.f_ffree,
        all_files: stat.f_files,
    })
}

/// Tells whether inotify sees all changes of the directory `path`: a network's server may make
/// some that this machine is not told of.
#[must_use]
pub fn tells_changes(path: &CStr) -> bool {
    const NFS: u32 = 0x6969;
    const CODA: u32 = 0x7375_7245;
    const CIFS: u32 = 0xff53_4d42;
    const SMB2: u32 = 0xfe53_4d42;
    const NINE_P: u32 = 0x0102_1997;
    const FUSE: u32 = 0x6573_5546;
    const CEPH: u32 = 0x00c3_6400;
    let mut out = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is NUL-terminated, `out` has room for a statfs.
    if unsafe { libc::statfs(path.as_ptr(), out.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: statfs succeeded and so filled `out`.
    // The C libraries disagree about the type; the numbers have 32 bits.
    let kind = unsafe { out.assume_init() }.f_type as u32;
    ![NFS, CODA, CIFS, SMB2, NINE_P, FUSE, CEPH].contains(&kind)
}
