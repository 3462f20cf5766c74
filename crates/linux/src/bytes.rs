//! Finding a byte among many: sixteen at a time where the processor can.
//!
//! The crate memchr does the same, but a program without std cannot use it beside programs in the
//! same workspace whose libraries ask it for std.

/// Bytes looked at together.
const LANES: usize = 16;

/// Tells which of sixteen bytes are `byte`: bit 0 is the first.
#[inline]
#[cfg(target_arch = "x86_64")]
fn lanes(chunk: &[u8; LANES], byte: u8) -> u32 {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: the sixteen bytes may be read, wherever they lie; each x86-64 has these instructions.
    unsafe {
        let all = _mm_loadu_si128(chunk.as_ptr().cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(all, _mm_set1_epi8(byte as i8))) as u32
    }
}

/// Tells which of sixteen bytes are `byte`: bit 0 is the first.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
fn lanes(chunk: &[u8; LANES], byte: u8) -> u32 {
    chunk.iter().rev().fold(0, |mask, other| mask << 1 | u32::from(*other == byte))
}

/// The places of a byte, in order; see [`positions`].
pub struct Positions<'a> {
    rest: &'a [u8],
    byte: u8,
    /// Where the chunk that `mask` is about begins.
    base: usize,
    mask: u32,
    /// Where `rest` begins.
    next: usize,
}

/// Returns every place at which `byte` stands in `bytes`.
#[must_use]
#[inline]
pub fn positions(byte: u8, bytes: &[u8]) -> Positions<'_> {
    Positions { rest: bytes, byte, base: 0, mask: 0, next: 0 }
}

/// Returns the first place at which `byte` stands in `bytes`.
#[must_use]
#[inline]
pub fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    positions(byte, bytes).next()
}

impl Iterator for Positions<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            self.base = self.next;
            if let Some((chunk, rest)) = self.rest.split_first_chunk::<LANES>() {
                self.mask = lanes(chunk, self.byte);
                self.rest = rest;
                self.next += LANES;
            } else {
                if self.rest.is_empty() {
                    return None;
                }
                for (i, other) in self.rest.iter().enumerate() {
                    self.mask |= u32::from(*other == self.byte) << i;
                }
                self.next += self.rest.len();
                self.rest = &[];
            }
        }
        let at = self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(self.base + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_whatever_the_length_and_where_it_begins() {
        let mut all = [0; 100];
        for (i, byte) in all.iter_mut().enumerate() {
            *byte = if i * i % 7 < 2 || i % 16 == 15 { b'\n' } else { i as u8 | 0x80 };
        }
        for from in 0..40 {
            for to in from..all.len() {
                let bytes = &all[from..to];
                let slowly = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i);
                assert!(positions(b'\n', bytes).eq(slowly), "{from} {to}");
            }
        }
        assert_eq!(find(0, &all), None);
        assert_eq!(find(b'\n', &all), Some(0));
        assert_eq!(find(b'\n', b""), None);
    }
}
