//! Descriptors that close themselves.

use crate::errno::{Result, cvt, retry};

/// An open descriptor, owned; closed on drop. Close-on-exec wherever this crate opens it.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// Takes ownership of a descriptor number.
    ///
    /// The caller must be the only owner: another owner's close would close this one too.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// Returns the number, still owned here.
    #[must_use]
    pub const fn raw(&self) -> i32 {
        self.0
    }

    /// Gives up ownership without closing.
    #[must_use]
    pub fn into_raw(self) -> i32 {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: we own the number; close(2) frees it whatever it answers, so it is never retried.
        unsafe { libc::close(self.0) };
    }
}

/// Reads up to `buf.len()` bytes from descriptor `fd`; 0 = end of file.
///
/// # Errors
/// As read(2); never `EINTR`.
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: `buf` is valid for writes of its length.
    retry(|| unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) }).map(|n| n as usize)
}

/// Writes up to `buf.len()` bytes to descriptor `fd`.
///
/// # Errors
/// As write(2); never `EINTR`.
pub fn write(fd: i32, buf: &[u8]) -> Result<usize> {
    // SAFETY: `buf` is valid for reads of its length.
    retry(|| unsafe { libc::write(fd, buf.as_ptr().cast(), buf.len()) }).map(|n| n as usize)
}

/// Writes all of `buf` at `offset`.
///
/// # Errors
/// As pwrite(2); `EIO` where the file takes no more without saying why.
pub fn write_at(fd: i32, buf: &[u8], offset: i64) -> Result<()> {
    let mut done = 0;
    while done < buf.len() {
        let rest = &buf[done..];
        // SAFETY: `rest` is valid for reads of its length.
        let n = retry(|| unsafe {
            libc::pwrite(fd, rest.as_ptr().cast(), rest.len(), offset + done as i64)
        })?;
        if n == 0 {
            return Err(crate::errno::Errno(libc::EIO));
        }
        done += n as usize;
    }
    Ok(())
}

/// Reads from `offset` until `buf` is full or the file ends; returns how many bytes.
///
/// # Errors
/// As pread(2).
pub fn read_at(fd: i32, buf: &mut [u8], offset: i64) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        let rest = &mut buf[done..];
        // SAFETY: `rest` is valid for writes of its length.
        let n = retry(|| unsafe {
            libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), offset + done as i64)
        })?;
        if n == 0 {
            break;
        }
        done += n as usize;
    }
    Ok(done)
}

/// Writes all of `buf` to descriptor `fd`.
///
/// # Errors
/// As write(2); `EIO` where the file takes no more without saying why.
pub fn write_all(fd: i32, mut buf: &[u8]) -> Result<()> {
    while !buf.is_empty() {
        match write(fd, buf)? {
            0 => return Err(crate::errno::Errno(libc::EIO)),
            n => buf = &buf[n..],
        }
    }
    Ok(())
}

/// Most pieces that one call writes.
const PIECES: usize = 16;

/// Writes pieces one behind the other to descriptor `fd` by one call, the first 16 at most; returns
/// how many bytes.
///
/// # Errors
/// As writev(2); never `EINTR`.
pub fn write_parts(fd: i32, parts: &[&[u8]]) -> Result<usize> {
    let mut list = [libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 }; PIECES];
    let count = parts.len().min(PIECES);
    for (entry, part) in list.iter_mut().zip(parts) {
        *entry = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
    }
    // SAFETY: the first `count` entries are valid for reads of their lengths; writev only reads.
    retry(|| unsafe { libc::writev(fd, list.as_ptr(), count as i32) }).map(|n| n as usize)
}

/// Writes all of the pieces; takes from them what is written.
///
/// # Errors
/// As writev(2); `EIO` where the file takes no more without saying why.
pub fn write_all_parts(fd: i32, mut parts: &mut [&[u8]]) -> Result<()> {
    while let Some(first) = parts.iter().position(|part| !part.is_empty()) {
        parts = &mut parts[first..];
        let mut n = write_parts(fd, parts)?;
        if n == 0 {
            return Err(crate::errno::Errno(libc::EIO));
        }
        for part in parts.iter_mut() {
            let done = n.min(part.len());
            *part = &part[done..];
            n -= done;
        }
    }
    Ok(())
}

/// Makes a pipe: the end to read from and the end to write to, close-on-exec, neither of them in
/// the place of a standard descriptor that happens to be closed.
///
/// # Errors
/// As pipe2(2).
pub fn pipe() -> Result<(Fd, Fd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let (read, write) = (Fd(ends[0]), Fd(ends[1]));
    Ok((beyond_standard(read)?, beyond_standard(write)?))
}

/// Moves a descriptor that took the place of a closed 0, 1 or 2 behind them; it is close-on-exec
/// then.
///
/// # Errors
/// As fcntl(2).
pub fn beyond_standard(fd: Fd) -> Result<Fd> {
    if fd.raw() > 2 {
        return Ok(fd);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes an int and touches no memory.
    cvt(unsafe { libc::fcntl(fd.raw(), libc::F_DUPFD_CLOEXEC, 3) }).map(Fd)
}

/// Makes a copy of a descriptor, open across exec, at the lowest free number.
///
/// # Errors
/// As dup(2).
pub fn duplicate(fd: i32) -> Result<Fd> {
    // SAFETY: dup takes an int and touches no memory.
    cvt(unsafe { libc::dup(fd) }).map(Fd)
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// `EBADF` where the descriptor is not open.
pub fn set_cloexec(fd: i32, on: bool) -> Result<()> {
    // SAFETY: F_SETFD takes an int and touches no memory.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFD, if on { libc::FD_CLOEXEC } else { 0 }) })?;
    Ok(())
}

/// Sets or clears `O_NONBLOCK` on the open file behind a descriptor.
///
/// # Errors
/// `EBADF` where the descriptor is not open.
pub fn set_nonblock(fd: i32, on: bool) -> Result<()> {
    // In one call, where fcntl needs two to keep the other flags.
    let on = libc::c_int::from(on);
    // SAFETY: FIONBIO reads an int, which outlives the call.
    cvt(unsafe { libc::ioctl(fd, libc::FIONBIO, &raw const on) })?;
    Ok(())
}

/// Makes descriptor `to` a copy of `from`, open across exec.
///
/// # Errors
/// As dup2(2).
pub fn dup_to(from: i32, to: i32) -> Result<()> {
    // SAFETY: dup2 takes two ints and touches no memory.
    retry(|| unsafe { libc::dup2(from, to) })?;
    Ok(())
}

/// Returns a copy of descriptor `fd`, above the standard ones and close-on-exec.
///
/// # Errors
/// As fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn copy(fd: i32) -> Result<Fd> {
    copy_from(fd, 3)
}

/// Returns a copy of descriptor `fd`, numbered `least` or higher and close-on-exec.
///
/// # Errors
/// As fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn copy_from(fd: i32, least: i32) -> Result<Fd> {
    // The kernel's own call: a libc may mark the copy once more.
    // SAFETY: F_DUPFD_CLOEXEC takes an int and touches no memory.
    let copy = cvt(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, least) })?;
    Ok(Fd(copy as i32))
}

/// Returns `fd`, or a copy of it in its place, numbered `least` or higher and close-on-exec.
///
/// # Errors
/// As fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn move_beyond(fd: Fd, least: i32) -> Result<Fd> {
    if fd.raw() >= least { Ok(fd) } else { copy_from(fd.raw(), least) }
}

/// Marks every descriptor from `first` on close-on-exec, whoever left it open. Before Linux 5.11
/// nothing happens.
pub fn close_on_exec_from(first: u32) {
    const CLOEXEC: u32 = 4;
    // SAFETY: close_range takes three numbers and, with this flag, closes nothing now.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOEXEC) };
}

/// Closes every descriptor from `first` to `last`, whoever left it open; nothing of ours may be among
/// them.
pub fn close_between(first: u32, last: u32) {
    // SAFETY: close_range takes three numbers and touches no memory.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 || first > last {
        return;
    }
    // Before Linux 5.9: each by itself, those that are listed.
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let Ok(open) = crate::file::open(crate::file::HERE, c"/proc/self/fd", flags, 0) else { return };
    let _ = crate::directory::for_each(open.raw(), |name| {
        let number = crate::decimal::parse(name.to_bytes()).unwrap_or(0) as u32;
        if (first..=last).contains(&number) && number != open.raw() as u32 {
            drop(Fd(number as i32));
        }
        None::<()>
    });
}

/// Opens /dev/null at each of 0, 1 and 2 that is closed, so that no file of ours lands there.
pub fn fill_standard() {
    loop {
        // SAFETY: the path is a constant NUL-terminated string.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if fd < 0 {
            fill_with_pipes();
            return;
        }
        if fd > 2 {
            drop(Fd(fd));
            return;
        }
        let _ = set_cloexec(fd, false);
    }
}

/// The same where there is no /dev/null: an end of a pipe keeps a number as well.
fn fill_with_pipes() {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two numbers.
    while unsafe { libc::pipe(ends.as_mut_ptr()) } == 0 {
        let needed = ends.iter().any(|end| *end <= 2);
        for end in ends.into_iter().filter(|end| *end > 2) {
            drop(Fd(end));
        }
        if !needed {
            return;
        }
    }
}

/// One entry of the list that [`poll`] waits on.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct PollFd(libc::pollfd);

impl PollFd {
    /// Waits for nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(-1, 0)
    }

    /// Waits until descriptor `fd` can be read, or its other end is gone.
    #[must_use]
    pub const fn readable(fd: i32) -> Self {
        Self::new(fd, libc::POLLIN)
    }

    /// Waits until descriptor `fd` can be written, or its other end is gone.
    #[must_use]
    pub const fn writable(fd: i32) -> Self {
        Self::new(fd, libc::POLLOUT)
    }

    /// Waits only for the other end of `fd` to be gone.
    #[must_use]
    pub const fn hung_up(fd: i32) -> Self {
        Self::new(fd, 0)
    }

    const fn new(fd: i32, events: i16) -> Self {
        Self(libc::pollfd { fd, events, revents: 0 })
    }

    /// Tells whether something came of it.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.0.revents != 0
    }

    /// Tells whether the other end is gone.
    #[must_use]
    pub const fn is_hung_up(&self) -> bool {
        self.0.revents & (libc::POLLHUP | libc::POLLERR) != 0
    }
}

/// Waits until one of `fds` is ready or `timeout` nanoseconds are over (`None` = for ever).
/// Returns how many are ready; an interruption by a signal counts as none.
///
/// # Errors
/// As ppoll(2).
pub fn poll(fds: &mut [PollFd], timeout: Option<u64>) -> Result<usize> {
    let spec = timeout.map(crate::time::timespec);
    let spec = spec.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let (list, len) = (fds.as_mut_ptr().cast::<libc::pollfd>(), fds.len() as libc::nfds_t);
    // SAFETY: PollFd is a pollfd (transparent), valid for `len`; `spec` is null or a timespec that
    // lives on.
    match cvt(unsafe { libc::ppoll(list, len, spec, core::ptr::null()) }) {
        Err(crate::errno::Errno(libc::EINTR)) => Ok(0),
        // A list longer than the limit of descriptors, which may be lowered while we run.
        Err(_) if fds.len() > 1 => Ok(poll_singly(fds, timeout)),
        n => n.map(|n| n as usize),
    }
}

/// Looks at each of `fds` by itself, after a tenth of a second or `timeout`.
fn poll_singly(fds: &mut [PollFd], timeout: Option<u64>) -> usize {
    const PAUSE: u64 = crate::time::SECOND / 10;
    let _ = poll(&mut [], Some(timeout.map_or(PAUSE, |timeout| timeout.min(PAUSE))));
    fds.iter_mut().filter_map(|fd| poll(core::slice::from_mut(fd), Some(0)).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_number_arrive_in_one_row() {
        let (from, to) = pipe().unwrap();
        let mut parts: [&[u8]; PIECES + 3] = [b"ab"; PIECES + 3];
        parts[0] = b"";
        parts[7] = b"";
        parts[PIECES + 2] = b"!";
        write_all_parts(to.raw(), &mut parts).unwrap();
        let mut out = [0; 64];
        let n = read(from.raw(), &mut out).unwrap();
        assert!(out[..n - 1].chunks(2).all(|piece| piece == b"ab"));
        assert_eq!((n, out[n - 1]), (2 * PIECES + 1, b'!'));
        assert_eq!(write_all_parts(-1, &mut [b"x"]), Err(crate::errno::Errno(libc::EBADF)));
    }
}
