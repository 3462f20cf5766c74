//! Moving bytes out of a pipe within the kernel.

use crate::errno::{Result, retry};

/// Moves up to `len` bytes from the pipe `pipe` to the place where the open file `file` stands,
/// without waiting for bytes; 0 = the pipe has ended. What left the pipe is in the file.
///
/// # Errors
/// `EAGAIN` where the pipe is empty, `EINVAL` where `pipe` is none or the file system cannot do
/// it or `file` is open for appending; else as write(2) to the file.
pub fn splice(pipe: i32, file: i32, len: usize) -> Result<usize> {
    let no_offset = core::ptr::null_mut::<libc::loff_t>();
    // SAFETY: without offsets splice touches no memory of ours.
    retry(|| unsafe {
        let moved =
            libc::splice(pipe, no_offset, file, no_offset, len, libc::SPLICE_F_NONBLOCK) as isize;
        i32::try_from(moved).unwrap_or(i32::MAX)
    })
    .map(|n| n as usize)
}

/// The same to `offset` of the file, wherever it stands.
///
/// # Errors
/// As [`splice`].
pub fn splice_at(pipe: i32, file: i32, len: usize, offset: u64) -> Result<usize> {
    let no_offset = core::ptr::null_mut::<libc::loff_t>();
    let mut offset = offset as libc::loff_t;
    // SAFETY: `offset` is valid for reads and writes during the call.
    retry(|| unsafe {
        let at = &raw mut offset;
        let moved = libc::splice(pipe, no_offset, file, at, len, libc::SPLICE_F_NONBLOCK) as isize;
        i32::try_from(moved).unwrap_or(i32::MAX)
    })
    .map(|n| n as usize)
}

/// Copies up to `len` bytes that lie ahead in one pipe into another and leaves them in the first.
///
/// # Errors
/// `EAGAIN` where the first is empty or the second is full; else as tee(2).
pub fn tee(from: i32, to: i32, len: usize) -> Result<usize> {
    // SAFETY: tee takes numbers and touches no memory.
    retry(|| unsafe {
        let copied = libc::tee(from, to, len, libc::SPLICE_F_NONBLOCK) as isize;
        i32::try_from(copied).unwrap_or(i32::MAX)
    })
    .map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Errno;
    use crate::{fd, file};

    fn scratch() -> fd::Fd {
        file::open(file::HERE, c"/tmp", libc::O_RDWR | libc::O_TMPFILE, 0o600).unwrap()
    }

    #[test]
    fn bytes_leave_the_pipe_for_the_file_and_are_looked_at_before() {
        let (out, end) = fd::pipe().unwrap();
        let (look, copy) = fd::pipe().unwrap();
        fd::write_all(end.raw(), b"hello\nworld\n").unwrap();
        assert_eq!(tee(out.raw(), copy.raw(), 6), Ok(6));
        let mut buf = [0; 32];
        assert_eq!(fd::read(look.raw(), &mut buf), Ok(6));
        let file = scratch();
        assert_eq!(splice(out.raw(), file.raw(), 6), Ok(6));
        assert_eq!(splice_at(out.raw(), file.raw(), 99, 100), Ok(6));
        assert_eq!(splice(out.raw(), file.raw(), 1), Err(Errno(libc::EAGAIN)));
        drop(end);
        assert_eq!(splice(out.raw(), file.raw(), 1), Ok(0));
        let mut all = [0; 128];
        assert_eq!(fd::read_at(file.raw(), &mut all, 0), Ok(106));
        assert!(all.starts_with(b"hello\n\0") && all[100..106] == *b"world\n");
    }

    #[test]
    fn what_is_no_pipe_is_refused() {
        let file = scratch();
        let invalid = Err(Errno(libc::EINVAL));
        assert_eq!(splice(file.raw(), file.raw(), 1), invalid);
        assert_eq!(tee(file.raw(), file.raw(), 1), invalid);
    }
}
