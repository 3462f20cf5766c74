//! Finding a moment in a file without reading what is before it.

use super::source::Source;
use super::stamp::{self, leading};
use memchr::memchr;
use ondisk::tai64n::Stamp;

/// So near is near enough: what is left is read.
const NEAR: u64 = if cfg!(test) { 64 } else { 1 << 16 };
/// Bytes in which a stamped line is looked for.
const ROOM: usize = if cfg!(test) { 256 } else { 1 << 14 };

/// Returns where a line begins before which none was written at `since` or later, and whether
/// there is one behind it that was.
///
/// Lines are taken to be in the order of their stamps.
#[must_use]
pub fn before(source: &Source, since: Stamp) -> (u64, bool) {
    let (mut low, mut high) = (0, source.size().unwrap_or(0));
    let mut is_behind = false;
    let mut room = vec![0; ROOM];
    while high.saturating_sub(low) > NEAR {
        let middle = low + (high - low) / 2;
        match stamped(source, middle, &mut room) {
            Some((at, stamp)) if stamp < since => low = at,
            // Where no line has a stamp none can be told from another: from the beginning then.
            found => {
                is_behind |= found.is_some();
                high = middle;
            }
        }
    }
    (low, is_behind)
}

/// Returns the first stamped line that begins behind `offset`, if it is near.
fn stamped(source: &Source, offset: u64, room: &mut [u8]) -> Option<(u64, Stamp)> {
    let len = source.read_at(room, offset).ok()?;
    let bytes = &room[..len];
    let mut at = 0;
    while let Some(newline) = memchr(b'\n', &bytes[at..]) {
        at += newline + 1;
        let head = &bytes[at..bytes.len().min(at + stamp::MOST)];
        // One that is cut off by the end of the room may read as another.
        let is_whole = head.len() == stamp::MOST || memchr(b'\n', head).is_some();
        if let Some(found) = leading(head).filter(|_| is_whole) {
            return Some((offset + at as u64, found.stamp));
        }
    }
    None
}
