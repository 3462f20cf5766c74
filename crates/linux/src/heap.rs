//! A heap for small programs that soon end: they ask the C library's for nothing, which would cost
//! them five system calls and two pages before their first byte.

use crate::memory;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

/// Bytes that need no system call.
const FIRST: usize = 1 << 12;

/// A heap that grows at its end. What was asked for last can grow where it is, and is used again
/// once it is given back; what was asked for before that stays taken until the program ends.
pub struct Heap {
    busy: AtomicBool,
    /// Where the first bytes lie, which cost no page of their own.
    first: UnsafeCell<[u8; FIRST]>,
    room: UnsafeCell<Room>,
}

/// What is free: `len` bytes from `start`.
struct Room {
    start: *mut u8,
    len: usize,
}

// SAFETY: whoever uses `room` holds `busy`; `first` is handed to it once, and used through it alone.
unsafe impl Sync for Heap {}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heap {
    /// Returns a heap of which nothing is used.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            first: UnsafeCell::new([0; FIRST]),
            room: UnsafeCell::new(Room { start: ptr::null_mut(), len: 0 }),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Room) -> T) -> T {
        // The programs have one thread; another would wait for a few instructions.
        while self.busy.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: the flag lets one in at a time.
        let room = unsafe { &mut *self.room.get() };
        if room.start.is_null() {
            *room = Room { start: self.first.get().cast(), len: FIRST };
        }
        let answer = act(room);
        self.busy.store(false, Ordering::Release);
        answer
    }
}

impl Room {
    /// Returns `layout.size()` bytes, null where the system has no more memory.
    fn take(&mut self, layout: Layout) -> *mut u8 {
        let (mut gap, size) = (self.start.align_offset(layout.align()), layout.size());
        if gap.checked_add(size).is_none_or(|needed| needed > self.len) {
            // Pages lie as everybody's values must who asks for no more than a page.
            let Ok(more) = memory::buffer(size.max(1)) else { return ptr::null_mut() };
            (self.start, self.len) = (more.as_mut_ptr(), more.len());
            gap = self.start.align_offset(layout.align());
            if gap.checked_add(size).is_none_or(|needed| needed > self.len) {
                return ptr::null_mut();
            }
        }
        let start = self.start.wrapping_add(gap);
        self.advance(gap + size);
        start
    }

    /// Takes the next `len` free bytes.
    fn advance(&mut self, len: usize) {
        self.start = self.start.wrapping_add(len);
        self.len -= len;
    }

    /// Tells whether the `len` bytes from `start` were taken last.
    fn is_last(&self, start: *mut u8, len: usize) -> bool {
        start.wrapping_add(len) == self.start
    }

    /// Gives the last `len` bytes that were taken back.
    fn retreat(&mut self, len: usize) {
        self.start = self.start.wrapping_sub(len);
        self.len += len;
    }
}

// SAFETY: the bytes handed out are ours, aligned as asked for, and apart from all others that are
// not given back: the room only ever moves behind them.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|room| room.take(layout))
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        self.with(|room| {
            if room.is_last(start, layout.size()) {
                room.retreat(layout.size());
            }
        });
    }

    unsafe fn realloc(&self, start: *mut u8, old: Layout, size: usize) -> *mut u8 {
        self.with(|room| {
            if room.is_last(start, old.size()) && size.saturating_sub(old.size()) <= room.len {
                room.retreat(old.size());
                room.advance(size);
                return start;
            }
            let Ok(new) = Layout::from_size_align(size, old.align()) else {
                return ptr::null_mut();
            };
            let place = room.take(new);
            if let Some(place) = NonNull::new(place) {
                let len = size.min(old.size());
                // SAFETY: the caller's bytes and the new ones do not overlap, and both have `len`.
                unsafe { ptr::copy_nonoverlapping(start, place.as_ptr(), len) };
            }
            place
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn what_is_handed_out_lies_apart_and_aligned() {
        static HEAP: Heap = Heap::new();
        let mut end = ptr::null_mut();
        for (size, align) in [(1, 1), (8, 8), (3, 2), (100, 64), (4000, 16), (1 << 20, 8)] {
            // SAFETY: a layout of a size; the bytes are ours.
            let place = unsafe { HEAP.alloc(layout(size, align)) };
            assert_eq!(place.align_offset(align), 0);
            assert!(place >= end || size >= 4000, "behind the one before, or elsewhere");
            // SAFETY: as above.
            unsafe { place.write_bytes(7, size) };
            end = place.wrapping_add(size);
        }
        // SAFETY: as above.
        assert!(unsafe { HEAP.alloc(layout(isize::MAX as usize, 1)) }.is_null());
    }

    #[test]
    fn what_was_taken_last_grows_in_its_place_and_is_used_again() {
        static HEAP: Heap = Heap::new();
        // SAFETY: layouts of a size; each pointer is given back with the layout that it has then.
        unsafe {
            let first = HEAP.alloc(layout(8, 8));
            first.write_bytes(1, 8);
            let grown = HEAP.realloc(first, layout(8, 8), 64);
            assert_eq!(grown, first);
            let second = HEAP.alloc(layout(8, 8));
            assert_eq!(second, first.wrapping_add(64));
            // The first is the last no longer.
            let moved = HEAP.realloc(grown, layout(64, 8), 128);
            assert_eq!(moved, second.wrapping_add(8));
            assert!((0..8).all(|i| *moved.add(i) == 1));
            HEAP.dealloc(moved, layout(128, 8));
            HEAP.dealloc(second, layout(8, 8));
            assert_eq!(HEAP.alloc(layout(8, 8)), second);
            // It does not fit in the first bytes any more.
            let far = HEAP.realloc(second, layout(8, 8), 2 * FIRST);
            assert_ne!(far, second);
            assert_eq!(HEAP.realloc(far, layout(2 * FIRST, 8), 16), far);
        }
    }
}
