//! Error numbers and daemontools' words for them.

use core::fmt;

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

/// daemontools' own words, which scripts may read; not strerror's. Source: daemontools.md 1.0.
const TEXTS: [(i32, &str); 40] = [
    (libc::ENOENT, "file does not exist"),
    (libc::EAGAIN, "temporary failure"),
    (libc::EACCES, "access denied"),
    (libc::EPERM, "permission denied"),
    (libc::ENOTDIR, "not a directory"),
    (libc::EISDIR, "is a directory"),
    (libc::ELOOP, "symbolic link loop"),
    (libc::EEXIST, "file already exists"),
    (libc::ENXIO, "device not configured"),
    (libc::ENOMEM, "out of memory"),
    (libc::EIO, "input/output error"),
    (libc::ENOEXEC, "exec format error"),
    (libc::E2BIG, "argument list too long"),
    (libc::ENOSPC, "out of disk space"),
    (libc::EROFS, "read-only file system"),
    (libc::EPIPE, "broken pipe"),
    (libc::EMFILE, "process cannot open more files"),
    (libc::ENFILE, "system cannot open more files"),
    (libc::ETXTBSY, "text busy"),
    (libc::EDQUOT, "disk quota exceeded"),
    (libc::EBADF, "file descriptor not open"),
    (libc::ECHILD, "no child processes"),
    (libc::ESRCH, "no such process"),
    (libc::EINVAL, "invalid argument"),
    (libc::EXDEV, "cross-device link"),
    (libc::EMLINK, "too many links"),
    (libc::ENAMETOOLONG, "file name too long"),
    (libc::ENOTEMPTY, "directory not empty"),
    (libc::ENOLCK, "no locks available"),
    (libc::ENOSYS, "system call not available"),
    (libc::EINTR, "interrupted system call"),
    (libc::ENODEV, "device does not support operation"),
    (libc::EBUSY, "device busy"),
    (libc::EFBIG, "file too large"),
    (libc::ENOTTY, "not a typewriter"),
    (libc::EFAULT, "bad address"),
    (libc::ETIMEDOUT, "timed out"),
    (libc::ECONNRESET, "connection reset"),
    (libc::EUSERS, "too many users"),
    (libc::ESTALE, "stale NFS file handle"),
];

impl Errno {
    /// Returns the calling thread's errno.
    #[must_use]
    pub fn last() -> Self {
        // SAFETY: the location that libc returns is valid for the life of the thread.
        Self(unsafe { *libc::__errno_location() })
    }

    /// Returns daemontools' words, `unknown error` where it has none.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.known().unwrap_or("unknown error")
    }

    /// The same, `None` where it has none.
    #[must_use]
    pub fn known(self) -> Option<&'static str> {
        TEXTS.iter().find(|(code, _)| *code == self.0).map(|(_, text)| *text)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {})", self.0, self.text())
    }
}

/// Tells a lasting no from trouble that passes.
pub trait OrLasting<T> {
    /// Returns `Some` for a success, `None` where it can never be had as things are.
    ///
    /// # Errors
    /// Trouble that says nothing about the thing asked for: no descriptor or memory was left, or
    /// the device failed. Who must be sure asks again later.
    fn or_lasting(self) -> Result<Option<T>>;
}

impl<T> OrLasting<T> for Result<T> {
    fn or_lasting(self) -> Result<Option<T>> {
        match self {
            Ok(it) => Ok(Some(it)),
            Err(why @ Errno(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO)) => Err(why),
            Err(_) => Ok(None),
        }
    }
}

/// Types that libc answers `-1` with when a call failed.
pub(crate) trait Answer: Copy {
    fn failed(self) -> bool;
}

impl Answer for i32 {
    fn failed(self) -> bool {
        self == -1
    }
}

impl Answer for isize {
    fn failed(self) -> bool {
        self == -1
    }
}

impl Answer for i64 {
    fn failed(self) -> bool {
        self == -1
    }
}

/// Turns libc's answer into a result.
pub(crate) fn cvt<T: Answer>(answer: T) -> Result<T> {
    if answer.failed() { Err(Errno::last()) } else { Ok(answer) }
}

/// Repeats a call for as long as signals interrupt it.
pub(crate) fn retry<T: Answer>(mut call: impl FnMut() -> T) -> Result<T> {
    loop {
        match cvt(call()) {
            Err(Errno(libc::EINTR)) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_text() {
        for (i, (code, text)) in TEXTS.iter().enumerate() {
            assert!(!TEXTS[..i].iter().any(|(c, _)| c == code), "{text}");
            assert_eq!(Errno(*code).text(), *text);
        }
        assert_eq!(Errno(0).text(), "unknown error");
    }
}
