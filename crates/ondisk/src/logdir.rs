//! The files of a log directory: their names, their order, and what their modes say.
//!
//! Source: multilog(8); daemontools.md 1.8. What is ours beside it: [`SPOOLS`],
//! [`SPOOLS_KEPT`], [`REWORKING`] and the mode [`REWORKED`].

use crate::tai64n::Stamp;
use core::ffi::CStr;

/// Locked (flock) while a logger writes into the directory.
pub const LOCK: &CStr = c"lock";
/// What is being written.
pub const CURRENT: &CStr = c"current";
/// `current` on its way to a rotated name; what a processor reads.
pub const PREVIOUS: &CStr = c"previous";
/// What a processor has written so far.
pub const PROCESSED: &CStr = c"processed";
/// What a processor left for its next run.
pub const STATE: &CStr = c"state";
/// What the running processor leaves for its next run.
pub const NEWSTATE: &CStr = c"newstate";
/// What was taken from the pipe and may not have been written yet.
pub const SPOOLS: [&CStr; 2] = [c"spool.0", c"spool.1"];
/// A spool that lay in a directory which came into the place of another while a logger ran.
pub const SPOOLS_KEPT: [&CStr; 2] = [c"spool.0.kept", c"spool.1.kept"];
/// What the background processor has made so far of a rotated file.
pub const REWORKING: &CStr = c"reworking";

/// Mode of a log directory that the logger makes.
pub const DIRECTORY_MODE: u32 = 0o700;
/// Mode of [`LOCK`].
pub const LOCK_MODE: u32 = 0o600;
/// Mode of a file that is being written, or was at an outage.
pub const OPEN: u32 = 0o644;
/// Mode of a file that is complete and on disk.
pub const CLOSED: u32 = 0o744;
/// Mode of a rotated file that has been through the background processor, complete and on disk.
pub const REWORKED: u32 = 0o755;

/// Tells whether a file of this mode is complete and on disk: its owner may execute it.
#[must_use]
pub const fn is_closed(mode: u32) -> bool {
    mode & 0o100 != 0
}

/// Tells whether a rotated file of this mode is still to go through the background processor: it
/// is just as rotation left it. A mode that somebody else gave it says that it is not ours to
/// change.
#[must_use]
pub const fn is_raw(mode: u32) -> bool {
    mode & 0o7777 == CLOSED
}

/// What stands behind the dot in a rotated file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// Zeros behind its end, so that codes order as names do.
    bytes: [u8; Self::MOST],
    len: u8,
}

impl Code {
    /// Most bytes of a code.
    pub const MOST: usize = 16;
    /// `s`: complete and on disk; has been through the processor, if there was one.
    pub const SAFE: Self = Self::of(b's');
    /// `u`: was being written at an outage; may be cut short, was not processed.
    pub const UNFINISHED: Self = Self::of(b'u');

    const fn of(byte: u8) -> Self {
        let mut bytes = [0; Self::MOST];
        bytes[0] = byte;
        Self { bytes, len: 1 }
    }

    /// Returns the code of these bytes; `None` where they are none or too many, or cannot be in a
    /// name.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let fits = (1..=Self::MOST).contains(&text.len());
        if !fits || text.contains(&b'/') || text.contains(&0) {
            return None;
        }
        let mut bytes = [0; Self::MOST];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self { bytes, len: text.len() as u8 })
    }

    /// Returns its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(Self::MOST)]
    }
}

/// A rotated file by name: `@`, 24 hexadecimal digits, a dot and a code, which is `s`, `u`,
/// another one that the script asks for (daemontools-encore), or what people make of these, such
/// as `s.gz`.
///
/// Orders as the names do, which is the order of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rotated {
    /// When the file was closed; later than every file that was there then.
    pub stamp: Stamp,
    /// What stands behind the dot.
    pub code: Code,
}

impl Rotated {
    /// Reads a name; `None` where it is not a rotated file's. Strict, since files with such names
    /// are removed in the end: digits in lower case, a moment that TAI64N can say.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        const SECONDS: u64 = 1 << 63;
        const NANOS: u32 = 1_000_000_000;
        let (label, end) = name.split_at_checked(Stamp::LABEL_LEN)?;
        let (b'@', digits) = label.split_first()? else { return None };
        let stamp = Stamp::from_digits(digits)?;
        let (b'.', code) = end.split_first()? else { return None };
        let code = Code::new(code)?;
        (stamp.seconds < SECONDS && stamp.nanos < NANOS).then_some(Self { stamp, code })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> Name {
        let mut out = [0; Name::MOST + 1];
        out[..Stamp::LABEL_LEN].copy_from_slice(&self.stamp.to_label());
        out[Stamp::LABEL_LEN] = b'.';
        out[Stamp::LABEL_LEN + 1..Name::MOST].copy_from_slice(&self.code.bytes);
        Name(out)
    }
}

/// Reads the moment that begins the name of a rotated file of any logger, and returns it with what
/// stands behind the dot: `s` or `u`, with svlogd `t` for what is not complete yet, with
/// daemontools-encore the word of `w`, with people's own compression `s.gz`.
#[must_use]
pub fn label(name: &[u8]) -> Option<(Stamp, &[u8])> {
    let (label, end) = name.split_at_checked(Stamp::LABEL_LEN)?;
    let stamp = Stamp::from_digits(label.strip_prefix(b"@")?)?;
    Some((stamp, end.strip_prefix(b".")?))
}

/// A rotated file's name as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name([u8; Name::MOST + 1]);

impl Name {
    /// Most characters of a name.
    pub const MOST: usize = Stamp::LABEL_LEN + 1 + Code::MOST;

    /// Returns the name with its NUL.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        // The last byte is NUL, whatever the code.
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }

    /// Returns the characters.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.as_c_str().to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: u32, code: &[u8]) -> Rotated {
        Rotated { stamp: Stamp::from_unix(seconds, nanos), code: Code::new(code).unwrap() }
    }

    #[test]
    fn a_name_survives_and_orders_as_its_bytes_do() {
        let rows = [
            at(-1, 999_999_999, b"u"),
            at(0, 0, b"s"),
            at(0, 0, b"s.gz"),
            at(0, 0, b"u"),
            at(0, 1, b"0123456789abcdef"),
            at(1_795_335_470, 996_420_324, b"s"),
        ];
        for (a, name) in rows.map(|a| (a, a.name())) {
            assert_eq!(name.as_bytes().len(), 26 + a.code.as_bytes().len());
            assert_eq!(name.as_c_str().to_bytes(), name.as_bytes());
            assert_eq!(Rotated::from_name(name.as_bytes()), Some(a));
            for b in rows {
                assert_eq!(a.cmp(&b), name.as_bytes().cmp(b.name().as_bytes()));
            }
        }
        assert_eq!(rows[1].name().as_bytes(), b"@400000000000000a00000000.s");
        assert_eq!((rows[1].code, rows[3].code), (Code::SAFE, Code::UNFINISHED));
    }

    #[test]
    fn other_names_are_no_rotated_files() {
        for name in [
            &b""[..],
            b"current",
            b"@400000000000000a00000000",
            b"@400000000000000a00000000.",
            b"@400000000000000a00000000-s",
            b"@400000000000000a00000000.0123456789abcdefg",
            b"@400000000000000a0000000.s",
            b"@400000000000000A00000000.s",
            b"@400000000000000a0000000g.s",
            b"@400000000000000a3b9aca00.s",
            b"@800000000000000000000000.s",
            b".400000000000000a00000000.s",
        ] {
            assert_eq!(Rotated::from_name(name), None, "{name:?}");
        }
        assert!(Rotated::from_name(b"@7fffffffffffffff3b9ac9ff.u").is_some());
        for code in [&b""[..], b"a/b", b"a\0", b"0123456789abcdefg"] {
            assert_eq!(Code::new(code), None);
        }
    }

    #[test]
    fn a_reader_takes_the_names_of_other_loggers_too() {
        let moment = Stamp::from_unix(0, 0);
        for (name, answer) in [
            (&b"@400000000000000a00000000.s"[..], Some((moment, &b"s"[..]))),
            (b"@400000000000000a00000000.old.gz", Some((moment, b"old.gz"))),
            (b"@400000000000000a00000000", None),
            (b"@400000000000000a00000000s", None),
            (b"@400000000000000x00000000.s", None),
            (b"current", None),
        ] {
            assert_eq!(label(name), answer);
        }
    }

    #[test]
    fn modes_tell_open_closed_and_reworked_apart() {
        for (mode, closed, raw) in [
            (OPEN, false, false),
            (CLOSED, true, true),
            (REWORKED, true, false),
            (0o700, true, false),
            (0o640, false, false),
            (0o100_744, true, true),
        ] {
            assert_eq!((is_closed(mode), is_raw(mode)), (closed, raw), "{mode:o}");
        }
    }
}
