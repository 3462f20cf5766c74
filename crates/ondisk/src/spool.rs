//! `spool.0` and `spool.1`: what multilog took from its pipe and may not have written yet.
//!
//! Two slots for a header, then raw bytes to the end of the file. A header is written into the
//! slot that does not count, so that half a header never replaces a whole one; of all valid slots
//! in both files the one with the highest sequence number counts, and so does its file.
//!
//! | bytes of a slot | content (little-endian) |
//! |---|---|
//! | 0-7 | `skynspl` and the version of the layout |
//! | 8-15 | checksum of all that follows (FNV-1a, 64 bit) |
//! | 16-23 | sequence number |
//! | 24-31 | checksum of the script |
//! | 32-35 | number of log directories |
//! | 36-39 | 1 = the raw bytes begin within a line whose head was dealt with before |
//! | 40-... | 40 bytes for each directory, see [`Place`] |

use crate::checksum::fnv;

const MAGIC: &[u8; 8] = b"skynspl\x01";
const HEAD: usize = 40;
const PLACE: usize = 40;

/// Bytes of a slot.
pub const SLOT: usize = 4096;
/// Where the raw bytes begin.
pub const RAW: u64 = 2 * SLOT as u64;
/// Most log directories that a header can describe.
pub const MOST: usize = (SLOT - HEAD) / PLACE;

/// What a header says besides its places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The highest counts.
    pub sequence: u64,
    /// Checksum of the script that made the output.
    pub script: u64,
    /// The raw bytes begin within a line whose head was dealt with before.
    pub in_line: bool,
}

/// Where a log directory's output stands: it has got `before`, and what its file has grown by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Device of the file that is, or was, `current`.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Its size when the counting began, in bytes.
    pub start: u64,
    /// Bytes of output since the raw bytes began that went to files before this one.
    pub before: u64,
    /// The rest of the line that the raw bytes begin in belongs to this directory.
    pub in_line: bool,
}

/// Writes header and places into `out` and returns how many bytes of it count. Places beyond
/// [`MOST`] are left out.
pub fn encode(header: &Header, places: &[Place], out: &mut [u8; SLOT]) -> usize {
    let places = &places[..places.len().min(MOST)];
    let len = HEAD + PLACE * places.len();
    out[..8].copy_from_slice(MAGIC);
    put(out, 16, header.sequence);
    put(out, 24, header.script);
    put(out, 32, places.len() as u64 | u64::from(header.in_line) << 32);
    for (i, place) in places.iter().enumerate() {
        let words = [place.dev, place.ino, place.start, place.before, u64::from(place.in_line)];
        for (word, value) in words.into_iter().enumerate() {
            put(out, HEAD + PLACE * i + 8 * word, value);
        }
    }
    let sum = fnv(&out[16..len]);
    put(out, 8, sum);
    len
}

/// Reads a slot; `None` where there is no whole header of this version.
#[must_use]
pub fn decode(slot: &[u8; SLOT]) -> Option<(Header, usize)> {
    let counts = get(slot, 32);
    let places = counts as u32 as usize;
    if slot[..8] != *MAGIC || places > MOST {
        return None;
    }
    if get(slot, 8) != fnv(&slot[16..HEAD + PLACE * places]) {
        return None;
    }
    let header =
        Header { sequence: get(slot, 16), script: get(slot, 24), in_line: counts >> 32 & 1 != 0 };
    Some((header, places))
}

/// Returns place `i` of a slot that [`decode`] has found good and that has so many.
#[must_use]
pub fn place(slot: &[u8; SLOT], i: usize) -> Place {
    let at = HEAD + PLACE * i.min(MOST - 1);
    let word = |n: usize| get(slot, at + 8 * n);
    Place { dev: word(0), ino: word(1), start: word(2), before: word(3), in_line: word(4) & 1 != 0 }
}

fn put(out: &mut [u8; SLOT], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get(slot: &[u8; SLOT], at: usize) -> u64 {
    slot[at..at + 8].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Header, [Place; 2]) {
        let header = Header { sequence: 7, script: 0x1122_3344_5566_7788, in_line: true };
        let one = Place { dev: 1, ino: 2, start: 3, before: u64::MAX, in_line: true };
        (header, [one, Place { ino: 9, ..Place::default() }])
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let (header, places) = sample();
        let mut slot = [0xff; SLOT];
        assert_eq!(encode(&header, &places, &mut slot), HEAD + 2 * PLACE);
        assert_eq!(decode(&slot), Some((header, 2)));
        assert_eq!([place(&slot, 0), place(&slot, 1)], places);
        let full = [places[0]; MOST];
        assert!(encode(&header, &full, &mut slot) <= SLOT);
        assert_eq!(decode(&slot), Some((header, MOST)));
        assert_eq!(place(&slot, MOST - 1), places[0]);
    }

    #[test]
    fn half_a_header_is_none() {
        let (header, places) = sample();
        let mut slot = [0; SLOT];
        let len = encode(&header, &places, &mut slot);
        for i in 0..len {
            let mut other = slot;
            other[i] ^= 0x40;
            assert_eq!(decode(&other), None, "byte {i}");
        }
        assert_eq!(decode(&[0; SLOT]), None);
    }
}
