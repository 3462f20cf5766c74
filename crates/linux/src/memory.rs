//! Memory for a program that soon becomes another: asked of the kernel, never given back.

use crate::errno::{Errno, Result};
use core::ffi::c_char;

/// Bytes asked for at once: only pages that are written to cost anything.
const FIRST: usize = 1 << 16;

/// Returns `len` bytes of zeros, aligned as a page is.
fn pages(len: usize) -> Result<*mut u8> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses a place where nothing is.
    let start = unsafe { libc::mmap(core::ptr::null_mut(), len, access, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(start.cast()) }
}

/// Returns at least `len` bytes of zeros.
fn bytes(len: usize) -> Result<&'static mut [u8]> {
    let len = len.max(FIRST);
    let start = pages(len)?;
    // SAFETY: `len` bytes of our own, initialised by the kernel, never unmapped.
    Ok(unsafe { core::slice::from_raw_parts_mut(start, len) })
}

/// Returns `len` null pointers.
///
/// # Errors
/// `ENOMEM` where the system has no more memory.
pub(crate) fn pointers(len: usize) -> Result<&'static mut [*const c_char]> {
    let size = len.checked_mul(size_of::<*const c_char>()).ok_or(Errno(libc::ENOMEM))?;
    let start = pages(size)?;
    // SAFETY: room for `len` pointers of our own, aligned as pages are; zeros are null pointers.
    Ok(unsafe { core::slice::from_raw_parts_mut(start.cast(), len) })
}

/// Bytes that grow at their end and are handed out from their start.
#[derive(Default)]
pub struct Space {
    free: &'static mut [u8],
}

impl Space {
    /// Returns the free bytes, at least `len`, of which the first `used` are as they were left.
    ///
    /// # Errors
    /// `ENOMEM` where the system has no more memory.
    pub fn room(&mut self, used: usize, len: usize) -> Result<&mut [u8]> {
        if self.free.len() < len {
            let more = bytes(len.saturating_mul(2))?;
            more[..used].copy_from_slice(&self.free[..used]);
            self.free = more;
        }
        Ok(self.free)
    }

    /// Hands out the first `len` free bytes for good, fewer where there are fewer.
    pub fn take(&mut self, len: usize) -> &'static mut [u8] {
        let free = core::mem::take(&mut self.free);
        let (taken, rest) = free.split_at_mut(len.min(free.len()));
        self.free = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stays_while_the_room_grows() {
        let mut space = Space::default();
        space.room(0, 3).unwrap()[..3].copy_from_slice(b"abc");
        let room = space.room(3, 2 * FIRST).unwrap();
        assert!(room.len() >= 2 * FIRST && room.starts_with(b"abc\0"));
        assert_eq!(space.take(2), b"ab");
        assert!(space.room(1, 1).unwrap().starts_with(b"c\0"));
        assert_eq!(space.room(0, usize::MAX), Err(Errno(libc::ENOMEM)));
        assert!(pointers(9).unwrap().iter().all(|pointer| pointer.is_null()));
        assert_eq!(pointers(usize::MAX).err(), Some(Errno(libc::ENOMEM)));
    }
}
