//! `supervise/record`: what the next supervise, svscan and `svstat --json` need to know.
//!
//! Of fixed size, so that it can be overwritten in place when the disk is full; with a checksum,
//! so that a reader who meets half a write knows, and reads again. The process that is about to
//! become the service writes it itself, before it runs the program: a service without a record
//! does not exist (crates/supervise/README.md lists the points where a kill can fall).
//!
//! | bytes | content (little-endian unless said otherwise) |
//! |---|---|
//! | 0-7 | `skynrec` and the version of the layout |
//! | 8-15 | checksum of bytes 16-175 (FNV-1a, 64 bit) |
//! | 16-31 | boot: the kernel's boot id, mixed with the start of this pid namespace's pid 1 |
//! | 32-35 | pid of supervise |
//! | 36-43 | when it was alive (the kernel's `CLOCK_BOOTTIME`, nanoseconds), see [`Identity`] |
//! | 44-51 | zero |
//! | 52-55 | pid of the service, 0 = none |
//! | 56-63 | when it was alive, likewise |
//! | 64-71 | zero |
//! | 72-83 | TAI64N stamp of the last change of the pid |
//! | 84-95 | TAI64N stamp of readiness, zero = not ready |
//! | 96-107 | TAI64N stamp of the last death, zero = none yet |
//! | 108 | phase: 0 down, 1 start due, 2 `start` runs, 3 `run` runs, 4 started without `run`, 5 `stop` runs, 6 failed |
//! | 109 | want, as byte 17 of the status |
//! | 110 | flags: 1 paused, 2 exit asked, 4 adopted, 8 told to go down, 16 `start` or `run` ran since told to go up, 32 the last death was asked for |
//! | 111 | last exit: 0 none, 1 code, 2 signal, 3 unknown, 4 could not be run (errno) |
//! | 112-115 | its code, signal or errno |
//! | 116-119 | zero |
//! | 120-127 | starts of `run` after the first |
//! | 128-175 | zero, for later versions |

use crate::checksum::fnv;
use crate::status::Want;
use crate::tai64n::Stamp;

/// Who a process is, beyond its pid: a moment at which it had that pid.
///
/// A process with this pid whose start time (`/proc/PID/stat`, field 22) is not after that moment
/// is the same one; another can have got the pid only later. Unlike the start time itself, the
/// moment costs the process no system call to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The pid; 0 = no process.
    pub pid: u32,
    /// It was started at this moment or before: nanoseconds of `CLOCK_BOOTTIME` as the first time
    /// namespace has it.
    pub alive_at: u64,
}

impl Identity {
    /// Tells whether a process with this pid that was started at `started` is this one.
    #[must_use]
    pub fn matches(&self, started: u64) -> bool {
        started <= self.alive_at
    }
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not running, and not about to.
    Down = 0,
    /// A start is due.
    Due = 1,
    /// `start` runs.
    Starting = 2,
    /// `run` runs.
    Running = 3,
    /// `start` succeeded and there is no `run`.
    Started = 4,
    /// `stop` runs.
    Stopping = 5,
    /// Down for good until told `u`.
    Failed = 6,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Down,
        Self::Due,
        Self::Starting,
        Self::Running,
        Self::Started,
        Self::Stopping,
        Self::Failed,
    ];
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It has not ended yet.
    None,
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It ended, and nobody can say how: it was not our child.
    Unknown,
    /// It could not be run, for this errno.
    NotRun(i32),
}

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which boot, and which life of this pid namespace, the pids belong to.
    pub boot: [u8; 16],
    /// The supervise that wrote this.
    pub supervisor: Identity,
    /// The process it keeps.
    pub process: Identity,
    /// When the pid last changed.
    pub since: Stamp,
    /// When the service said that it is ready.
    pub ready: Option<Stamp>,
    /// When it last died.
    pub died: Option<Stamp>,
    /// What it is doing.
    pub phase: Phase,
    /// What is wanted.
    pub want: Want,
    /// Stopped by `p`.
    pub paused: bool,
    /// `x` was given.
    pub exit_asked: bool,
    /// The process was started by an earlier supervise.
    pub adopted: bool,
    /// TERM was sent because `d` was given.
    pub stopping: bool,
    /// `start` or `run` ran since it was told to go up: `stop` is owed.
    pub begun: bool,
    /// The last death was asked for: a command sent a signal to end it.
    pub asked: bool,
    /// How the last process ended.
    pub last_exit: Exit,
    /// Starts of `run` after the first, in this life of the service.
    pub restarts: u64,
}

const MAGIC: [u8; 8] = *b"skynrec\x01";
const BODY: usize = 16;

impl Record {
    /// Bytes on disk.
    pub const LEN: usize = 176;

    /// Returns the record of a member that has never run.
    #[must_use]
    pub fn new(boot: [u8; 16], supervisor: Identity) -> Self {
        Self {
            boot,
            supervisor,
            process: Identity::default(),
            since: Stamp::default(),
            ready: None,
            died: None,
            phase: Phase::Down,
            want: Want::Down,
            paused: false,
            exit_asked: false,
            adopted: false,
            stopping: false,
            begun: false,
            asked: false,
            last_exit: Exit::None,
            restarts: 0,
        }
    }

    /// Returns the bytes on disk.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (kind, number) = match self.last_exit {
            Exit::None => (0, 0),
            Exit::Code(code) => (1, code),
            Exit::Signal(signal) => (2, signal),
            Exit::Unknown => (3, 0),
            Exit::NotRun(errno) => (4, errno),
        };
        put(&mut out, 0, &MAGIC);
        put(&mut out, 16, &self.boot);
        put_identity(&mut out, 32, &self.supervisor);
        put_identity(&mut out, 52, &self.process);
        put(&mut out, 72, &self.since.to_bytes());
        put(&mut out, 84, &self.ready.unwrap_or_default().to_bytes());
        put(&mut out, 96, &self.died.unwrap_or_default().to_bytes());
        out[108] = self.phase as u8;
        out[109] = self.want.to_byte();
        out[110] = u8::from(self.paused)
            | u8::from(self.exit_asked) << 1
            | u8::from(self.adopted) << 2
            | u8::from(self.stopping) << 3
            | u8::from(self.begun) << 4
            | u8::from(self.asked) << 5;
        out[111] = kind;
        put(&mut out, 112, &number.to_le_bytes());
        put(&mut out, 120, &self.restarts.to_le_bytes());
        let sum = fnv(&out[BODY..]);
        put(&mut out, 8, &sum.to_le_bytes());
        out
    }

    /// Reads a record. `None` = of another version, cut off, or half written.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.get(..Self::LEN)?.try_into().ok()?;
        if bytes[..8] != MAGIC || u64_at(bytes, 8) != fnv(&bytes[BODY..]) {
            return None;
        }
        let number = i32::from_le_bytes(at(bytes, 112));
        let last_exit = match bytes[111] {
            0 => Exit::None,
            1 => Exit::Code(number),
            2 => Exit::Signal(number),
            3 => Exit::Unknown,
            4 => Exit::NotRun(number),
            _ => return None,
        };
        let stamp = |from| Stamp::from_bytes(&at(bytes, from));
        let optional = |from| Some(stamp(from)).filter(|s| *s != Stamp::default());
        Some(Self {
            boot: at(bytes, 16),
            supervisor: identity_at(bytes, 32),
            process: identity_at(bytes, 52),
            since: stamp(72),
            ready: optional(84),
            died: optional(96),
            phase: *Phase::ALL.get(usize::from(bytes[108]))?,
            want: Want::from_byte(bytes[109]),
            paused: bytes[110] & 1 != 0,
            exit_asked: bytes[110] & 2 != 0,
            adopted: bytes[110] & 4 != 0,
            stopping: bytes[110] & 8 != 0,
            begun: bytes[110] & 16 != 0,
            asked: bytes[110] & 32 != 0,
            last_exit,
            restarts: u64_at(bytes, 120),
        })
    }
}

fn put(out: &mut [u8; Record::LEN], from: usize, bytes: &[u8]) {
    out[from..from + bytes.len()].copy_from_slice(bytes);
}

fn put_identity(out: &mut [u8; Record::LEN], from: usize, who: &Identity) {
    put(out, from, &who.pid.to_le_bytes());
    put(out, from + 4, &who.alive_at.to_le_bytes());
}

fn at<const N: usize>(bytes: &[u8; Record::LEN], from: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[from..from + N]);
    out
}

fn u64_at(bytes: &[u8; Record::LEN], from: usize) -> u64 {
    u64::from_le_bytes(at(bytes, from))
}

fn identity_at(bytes: &[u8; Record::LEN], from: usize) -> Identity {
    Identity { pid: u32::from_le_bytes(at(bytes, from)), alive_at: u64_at(bytes, from + 4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Record {
        Record {
            process: Identity { pid: 9, alive_at: 29_999_999 },
            since: Stamp::from_unix(1, 2),
            ready: Some(Stamp::from_unix(3, 4)),
            died: Some(Stamp::from_unix(5, 6)),
            phase: Phase::Stopping,
            want: Want::Up,
            exit_asked: true,
            adopted: true,
            last_exit: Exit::Signal(9),
            restarts: u64::MAX,
            ..Record::new([7; 16], Identity { pid: 8, alive_at: u64::MAX })
        }
    }

    #[test]
    fn every_field_survives_a_round_trip() {
        let exits = [Exit::None, Exit::Code(111), Exit::Signal(15), Exit::Unknown, Exit::NotRun(2)];
        for phase in Phase::ALL {
            for last_exit in exits {
                for bits in 0..64 {
                    let record = Record {
                        phase,
                        last_exit,
                        paused: bits & 1 != 0,
                        exit_asked: bits & 2 != 0,
                        adopted: bits & 4 != 0,
                        stopping: bits & 8 != 0,
                        begun: bits & 16 != 0,
                        asked: bits & 32 != 0,
                        ..full()
                    };
                    assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
                }
            }
        }
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_noticed() {
        let bytes = full().to_bytes();
        for i in 0..bytes.len() {
            let mut broken = bytes;
            broken[i] ^= 1;
            assert_eq!(Record::from_bytes(&broken), None, "byte {i}");
            assert_eq!(Record::from_bytes(&bytes[..i]), None, "cut at {i}");
        }
        assert_eq!(Record::from_bytes(&[0; Record::LEN]), None);
    }

    #[test]
    fn a_process_is_known_by_a_start_no_later_than_when_it_was_seen_alive() {
        let who = full().process;
        assert!(who.matches(0));
        assert!(who.matches(who.alive_at));
        assert!(!who.matches(who.alive_at + 1));
    }
}
