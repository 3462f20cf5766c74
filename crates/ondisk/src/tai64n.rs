//! TAI64N: seconds since 1970 in TAI, counted from 2^62, and nanoseconds.
//!
//! As daemontools does, the ten seconds that TAI was ahead of UTC in 1970 are added and leap
//! seconds are not: a stamp is `2^62 + 10 + Unix time`.
//! Source: <https://cr.yp.to/libtai/tai64.html>; daemontools.md 1.3.

const EPOCH: u64 = (1 << 62) + 10;

/// A moment of the wall clock. Orders by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// TAI64 seconds.
    pub seconds: u64,
    /// Nanoseconds below one second.
    pub nanos: u32,
}

impl Stamp {
    /// Bytes on disk: seconds then nanoseconds, big-endian.
    pub const LEN: usize = 12;
    /// Characters of the label that multilog and tai64n put before a line: `@` and 24 hex digits.
    pub const LABEL_LEN: usize = 25;

    /// Returns the stamp of a Unix time.
    #[must_use]
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self { seconds: EPOCH.wrapping_add_signed(seconds), nanos }
    }

    /// Returns the Unix time in seconds.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.seconds.wrapping_sub(EPOCH) as i64
    }

    /// Returns the seconds from this stamp to `now`, 0 where the stamp is in the future. As in
    /// svstat the fractions do not count: from 5.9 to 6.1 it is one second.
    #[must_use]
    pub fn seconds_until(self, now: Self) -> u64 {
        now.seconds.saturating_sub(self.seconds)
    }

    /// Returns the stamp one nanosecond later.
    #[must_use]
    pub fn next(self) -> Self {
        match self.nanos {
            nanos @ ..999_999_999 => Self { nanos: nanos + 1, ..self },
            _ => Self { seconds: self.seconds.saturating_add(1), nanos: 0 },
        }
    }

    /// Returns the 12 bytes on disk.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&self.seconds.to_be_bytes());
        out[8..].copy_from_slice(&self.nanos.to_be_bytes());
        out
    }

    /// Reads 12 bytes. Any bytes are a stamp.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let be = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Self { seconds: be(&bytes[..8]), nanos: be(&bytes[8..]) as u32 }
    }

    /// Reads hexadecimal digits, as many as there are: the last eight are the nanoseconds, those
    /// before them the seconds, of which the last sixteen count. `None` where a byte is no digit;
    /// upper case is none, either.
    ///
    /// As lenient as the original's `tai64nlocal`, so nanoseconds may be beyond a second.
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        let mut all = 0u128;
        for byte in digits {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            all = all << 4 | u128::from(digit);
        }
        Some(Self { seconds: (all >> 32) as u64, nanos: all as u32 })
    }

    /// Returns the label: `@` and 24 lower-case hex digits.
    #[must_use]
    pub fn to_label(self) -> [u8; Self::LABEL_LEN] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'@'; Self::LABEL_LEN];
        for (pair, byte) in out[1..].chunks_exact_mut(2).zip(self.to_bytes()) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_bytes_and_label() {
        let stamp = Stamp::from_unix(1_795_335_470, 996_420_324);
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), stamp);
        assert_eq!(stamp.unix_seconds(), 1_795_335_470);
        assert_eq!(&Stamp::from_unix(0, 0).to_label(), b"@400000000000000a00000000");
    }

    #[test]
    fn elapsed_seconds_ignore_fractions_and_are_never_negative() {
        let at = |s, n| Stamp::from_unix(s, n);
        assert_eq!(at(5, 0).seconds_until(at(7, 0)), 2);
        assert_eq!(at(5, 1).seconds_until(at(7, 0)), 2);
        assert_eq!(at(7, 1).seconds_until(at(7, 0)), 0);
        assert_eq!(at(9, 0).seconds_until(at(7, 0)), 0);
        assert_eq!(at(-9, 0).seconds_until(at(7, 0)), 16);
    }

    #[test]
    fn the_next_stamp_is_later_and_still_a_stamp() {
        let at = Stamp::from_unix;
        assert_eq!(at(5, 7).next(), at(5, 8));
        assert_eq!(at(5, 999_999_998).next(), at(5, 999_999_999));
        assert_eq!(at(5, 999_999_999).next(), at(6, 0));
        assert_eq!(at(5, u32::MAX).next(), at(6, 0));
    }

    #[test]
    fn digits_are_read_as_the_original_reads_them() {
        let stamp = Stamp::from_unix(1_795_335_470, 996_420_324);
        assert_eq!(Stamp::from_digits(&stamp.to_label()[1..]), Some(stamp));
        assert_eq!(Stamp::from_digits(b""), Some(Stamp { seconds: 0, nanos: 0 }));
        assert_eq!(Stamp::from_digits(b"1ffffffff"), Some(Stamp { seconds: 1, nanos: u32::MAX }));
        let long = Stamp::from_digits(b"ffff400000000000000a00000001");
        assert_eq!(long, Some(Stamp { seconds: (1 << 62) + 10, nanos: 1 }));
        for odd in [&b"4A"[..], b"4g", b"4/", b"4:", b"4`", b" 4"] {
            assert_eq!(Stamp::from_digits(odd), None);
        }
    }
}
