//! A disk that forgets what it was not told to keep: its own cache goes with the power, too.
//!
//! qemu writes each request of the guest into a log (its driver `blklogwrites`, the format of Linux'
//! dm-log-writes): a sector that says how many entries there are, written anew whenever the guest
//! has had the disk flushed, then each entry, in a sector, with its data behind it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a sector, of the log and of the guest.
const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// The guest wants all that was written before to be on disk.
const FLUSH: u64 = 1;
/// Entries with this have no data behind them.
const DISCARD: u64 = 4;

/// Gives a disk what it was sure to keep of what is in the log: all until the last flush. Returns how
/// many requests that is, and how many there were after it, if the log shows them.
pub(super) fn keep(log: &Path, disk: &Path) -> (u64, u64) {
    let log = File::open(log).unwrap();
    let disk = File::options().write(true).open(disk).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        log.read_exact_at(&mut bytes, at).map_or(0, |()| u64::from_le_bytes(bytes))
    };
    // Nothing was flushed, ever.
    if number(0) == 0 {
        return (0, 0);
    }
    assert_eq!(number(0), MAGIC, "not a log of writes");
    let entries = number(16);
    let mut at = SECTOR;
    for _ in 0..entries {
        let [sector, sectors, flags] = [0, 8, 16].map(|offset| number(at + offset));
        assert_eq!(flags & DISCARD, 0, "the guest was told that there is no such request");
        assert!(sectors > 0 || flags & FLUSH != 0, "the log itself has a hole at {at}");
        at += SECTOR;
        let mut data = vec![0; usize::try_from(sectors * SECTOR).unwrap()];
        log.read_exact_at(&mut data, at).unwrap();
        disk.write_all_at(&data, sector * SECTOR).unwrap();
        at += sectors * SECTOR;
    }
    let mut lost = 0;
    // Behind the last one there may be others, or nothing.
    while number(at + 8) != 0 {
        lost += 1;
        at += SECTOR + number(at + 8) * SECTOR;
    }
    (entries, lost)
}
