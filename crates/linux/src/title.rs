//! The last argument as a place that `ps` shows.

use crate::entry::Args;
use core::{ptr, slice};

/// The bytes of this process's last argument, to be written over.
pub struct Title {
    start: *mut u8,
    len: usize,
}

impl Title {
    /// Takes the last argument; `None` where there is none but the program's name.
    ///
    /// # Safety
    /// Nobody may hold or get a reference to the last argument from now on.
    #[must_use]
    pub unsafe fn take(args: Args) -> Option<Self> {
        let last = args.get(args.len().checked_sub(1).filter(|last| *last > 0)?)?;
        let len = last.to_bytes().len();
        // The kernel's argument area is writable memory of this process.
        Some(Self { start: last.as_ptr().cast_mut().cast(), len })
    }

    /// Returns the bytes that are there now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `take`'s caller left these `len` bytes to us alone.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is no room at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes every byte `byte`.
    pub fn fill(&mut self, byte: u8) {
        // SAFETY: `take`'s caller left these `len` bytes to us alone.
        unsafe { ptr::write_bytes(self.start, byte, self.len) };
    }

    /// Moves everything from byte `keep` on to the left and puts `bytes` at the end.
    /// More than fits: the last bytes count.
    pub fn push(&mut self, keep: usize, bytes: &[u8]) {
        let room = self.len.saturating_sub(keep);
        let bytes = &bytes[bytes.len().saturating_sub(room)..];
        let stays = room - bytes.len();
        // SAFETY: `keep + room` is at most `len`, and `stays + bytes.len()` is `room`: all inside
        // the bytes that are ours alone; copy allows the overlap, and `bytes` is elsewhere.
        unsafe {
            let window = self.start.add(self.len - room);
            ptr::copy(window.add(bytes.len()), window, stays);
            ptr::copy_nonoverlapping(bytes.as_ptr(), window.add(stays), bytes.len());
        }
    }
}

/// Makes `$run`, a `fn(usize, Option<Title>) -> i32` that gets the number of arguments behind the
/// program's name and the last of them as a [`Title`], the program's `main`.
#[macro_export]
macro_rules! title_entry {
    ($run:path) => {
        #[doc(hidden)]
        #[allow(unsafe_code, missing_docs)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(argc: i32, argv: *const *const core::ffi::c_char) -> i32 {
            // SAFETY: libc's start-up passes what the kernel laid out for this process.
            let args = unsafe { $crate::entry::Args::new(argc, argv) };
            // SAFETY: the arguments are handed to nobody else.
            let title = unsafe { $crate::title::Title::take(args) };
            $run(args.len().saturating_sub(1), title)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_the_first_bytes_stay() {
        let mut bytes = *b"abcdefgh";
        let mut title = Title { start: bytes.as_mut_ptr(), len: bytes.len() };
        title.fill(b'.');
        title.push(3, b"12");
        title.push(3, b"345");
        title.push(3, b"");
        assert_eq!(&bytes, b"...12345");
        let mut title = Title { start: bytes.as_mut_ptr(), len: bytes.len() };
        title.push(3, b"6");
        title.push(3, b"1234567890");
        assert_eq!(&bytes, b"...67890");
        let mut title = Title { start: bytes.as_mut_ptr(), len: 2 };
        title.push(3, b"xyz");
        assert_eq!(&bytes, b"...67890");
    }
}
