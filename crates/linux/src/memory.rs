//! Memory without a heap: asked of the kernel in pages, for as long as the program lives.

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

/// Room for lists whose length is known at the start.
pub struct Arena {
    free: &'static mut [u8],
}

impl Arena {
    /// Begins with bytes that are there anyway.
    #[must_use]
    pub const fn new(first: &'static mut [u8]) -> Self {
        Self { free: first }
    }

    /// Makes a list of `len` values that lives as long as the program; the first failure of `make`
    /// ends it.
    ///
    /// # Errors
    /// `ENOMEM` where the system has no more memory; within, what `make` says.
    pub fn list<T, E>(
        &mut self,
        len: usize,
        mut make: impl FnMut(usize) -> core::result::Result<T, E>,
    ) -> Result<core::result::Result<&'static mut [T], E>> {
        let size = len.checked_mul(size_of::<T>()).ok_or(Errno(libc::ENOMEM))?;
        let mut gap = self.free.as_ptr().align_offset(align_of::<T>());
        if gap.saturating_add(size) > self.free.len() {
            self.free = bytes(size)?;
            gap = 0;
        }
        let (place, free) = core::mem::take(&mut self.free)[gap..].split_at_mut(size);
        self.free = free;
        let first = place.as_mut_ptr().cast::<T>();
        for i in 0..len {
            match make(i) {
                // SAFETY: `place` is aligned, has room for `len` values, and is ours for good.
                Ok(value) => unsafe { first.add(i).write(value) },
                Err(why) => return Ok(Err(why)),
            }
        }
        // SAFETY: all `len` values were written; pages and `first` live as long as the program.
        Ok(Ok(unsafe { core::slice::from_raw_parts_mut(first, len) }))
    }
}

/// Returns `len` bytes of zeros, in pages of their own, which cost nothing until they are written.
///
/// # Errors
/// `ENOMEM` where the system has no more memory.
pub fn buffer(len: usize) -> Result<&'static mut [u8]> {
    bytes(len).map(|all| &mut all[..len])
}

/// Overwrites bytes with zeros although nobody reads them any more: what was secret is not left in memory
/// that others get.
pub fn wipe(bytes: &mut [u8]) {
    for byte in bytes.iter_mut() {
        // SAFETY: a byte of ours alone, of which any value is one. Volatile, or it might be left out.
        unsafe { core::ptr::from_mut(byte).write_volatile(0) };
    }
    // What frees the memory comes after.
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Gives the pages that lie whole within `bytes` back to the system: they are zeros from now on.
pub fn give_back(bytes: &mut [u8]) {
    const PAGE: usize = 4096;
    let gap = bytes.as_ptr().align_offset(PAGE);
    let Some(whole) = bytes.len().checked_sub(gap).map(|len| len / PAGE * PAGE) else { return };
    if whole > 0 {
        // SAFETY: whole pages of private memory within a slice that is ours alone to write; they
        // read as zeros afterwards, which are bytes as well. Failing, it changes nothing.
        unsafe { libc::madvise(bytes[gap..].as_mut_ptr().cast(), whole, libc::MADV_DONTNEED) };
    }
}

/// Gives back the pages of the stack that nobody stands on any more: a deep call long ago would
/// otherwise cost its pages for as long as the program lives. For programs with one thread and no
/// signal handlers.
#[inline(never)]
pub fn give_back_stack() {
    /// Far more than our calls go down; what is not mapped there is left alone.
    const DEPTH: usize = 1 << 17;
    const PAGE: usize = 4096;
    let here = 0_u8;
    // This function's frame, and what it calls, need less than this below.
    let top = (&raw const here as usize - 1024) / PAGE * PAGE;
    // SAFETY: below the frames of this call the stack holds nothing that anybody will read; the
    // pages read as zeros when they are used again.
    unsafe {
        libc::madvise((top - DEPTH) as *mut libc::c_void, DEPTH, libc::MADV_DONTNEED);
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

    #[test]
    fn lists_lie_apart_and_aligned_also_beyond_the_first_bytes() {
        static FIRST_BYTES: crate::home::Home<[u8; 100]> = crate::home::Home::new([0; 100]);
        let mut arena = Arena::new(FIRST_BYTES.take().unwrap());
        let bytes = arena.list(3, |i| Ok::<_, ()>(i as u8)).unwrap().unwrap();
        let words = arena.list(5, |i| Ok::<_, ()>(i as u64)).unwrap().unwrap();
        let more = arena.list(FIRST, |i| Ok::<_, ()>(i as u64)).unwrap().unwrap();
        let last = arena.list(4, |i| if i < 3 { Ok(i) } else { Err("three") }).unwrap();
        assert_eq!((&*bytes, &*words), (&[0, 1, 2][..], &[0, 1, 2, 3, 4][..]));
        assert!(more.iter().enumerate().all(|(i, value)| *value == i as u64));
        assert_eq!(last.err(), Some("three"));
        assert_eq!(arena.list(usize::MAX, Ok::<_, ()>).err(), Some(Errno(libc::ENOMEM)));
    }

    #[test]
    fn what_stands_on_the_stack_stays() {
        fn deep(n: u64) -> u64 {
            let mut all = [n; 512];
            all[n as usize % 512] += 1;
            if n == 0 { all[0] } else { deep(n - 1) + core::hint::black_box(all)[511] }
        }
        let mine = core::hint::black_box([7; 512]);
        let before = deep(20);
        give_back_stack();
        assert_eq!((deep(20), mine), (before, [7; 512]));
    }

    #[test]
    fn given_back_pages_are_zeros_and_their_edges_stay() {
        let all = buffer(5 * 4096).unwrap();
        all.fill(7);
        give_back(&mut all[100..4 * 4096 + 100]);
        assert!(all[..4096].iter().chain(&all[4 * 4096..]).all(|byte| *byte == 7));
        assert!(all[4096..4 * 4096].iter().all(|byte| *byte == 0));
        give_back(&mut all[..0]);
        give_back(&mut all[1..200]);
        assert_eq!(all[1], 7);
    }
}
