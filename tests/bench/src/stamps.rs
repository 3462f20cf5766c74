//! What the measured services write down when they start.

use crate::trouble::{Result, Unable};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of a record, as tiny/stamp.c appends it.
const LEN: usize = 24;

/// One start of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When its program began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at: u64,
    /// The inode of its directory, which tells whose start it is.
    pub(crate) directory: u64,
    /// The process.
    pub(crate) pid: i32,
}

impl Stamp {
    fn decode(bytes: &[u8; LEN]) -> Self {
        let word = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(eight)
        };
        let pid = [bytes[16], bytes[17], bytes[18], bytes[19]];
        Self { at: word(0), directory: word(8), pid: i32::from_ne_bytes(pid) }
    }
}

/// The file of all starts.
pub(crate) struct Stamps(File);

impl Stamps {
    /// Makes an empty file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        Ok(Self(file.unable(|| format!("create {}", path.display()))?))
    }

    /// Returns how many starts there were.
    pub(crate) fn count(&self) -> Result<usize> {
        let len = self.0.metadata().unable(|| "look at the stamps".into())?.len();
        Ok(len as usize / LEN)
    }

    /// Returns the starts from number `first` on, oldest first by arrival in the file.
    pub(crate) fn from(&self, first: usize) -> Result<Vec<Stamp>> {
        let count = self.count()?;
        let mut bytes = vec![0; count.saturating_sub(first) * LEN];
        let offset = (first * LEN) as u64;
        self.0.read_exact_at(&mut bytes, offset).unable(|| "read the stamps".into())?;
        Ok(bytes.as_chunks().0.iter().map(Stamp::decode).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_the_service_writes_it() {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[8..16].copy_from_slice(&8_u64.to_ne_bytes());
        bytes[16..20].copy_from_slice(&9_u32.to_ne_bytes());
        assert_eq!(Stamp::decode(&bytes), Stamp { at: 7, directory: 8, pid: 9 });
    }
}
