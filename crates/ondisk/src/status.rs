//! `supervise/status`: what supervise tells the world, 18 bytes.
//!
//! | bytes | content |
//! |---|---|
//! | 0-11 | TAI64N stamp of the last change of the pid |
//! | 12-15 | pid, little-endian; 0 = down |
//! | 16 | 1 = paused |
//! | 17 | `u` wants up, `d` wants down, 0 wants neither |
//! | 18, 19 | only under daemontools-encore: state, zero |
//! | 20-39 | only under encore with a logger that is a script: the same for the logger |
//!
//! Source: daemontools.md 1.3.

use crate::tai64n::Stamp;

/// What supervise is asked to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Running, and started again after each death (`u`).
    Up,
    /// Not running (`d`).
    Down,
    /// Neither: it may run to its end, then stays down (`o`).
    Once,
}

impl Want {
    /// Byte 17.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Up => b'u',
            Self::Down => b'd',
            Self::Once => 0,
        }
    }

    /// Reads byte 17; what nobody writes counts as neither, as svstat takes it.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            b'u' => Self::Up,
            b'd' => Self::Down,
            _ => Self::Once,
        }
    }
}

/// State byte of daemontools-encore, byte 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Down.
    Stopped = 0,
    /// `start` runs, or a start is due.
    Starting = 1,
    /// `start` succeeded and there is no `run`.
    Started = 2,
    /// `run` runs.
    Running = 3,
    /// Told to stop, or `stop` runs.
    Stopping = 4,
    /// Down for good until told `u`.
    Failed = 5,
}

impl State {
    /// The word svstat shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }

    /// Reads byte 18.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Stopped,
            1 => Self::Starting,
            2 => Self::Started,
            3 => Self::Running,
            4 => Self::Stopping,
            5 => Self::Failed,
            _ => return None,
        })
    }
}

/// The content of a status file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// When the pid last changed.
    pub since: Stamp,
    /// The process; 0 = down.
    pub pid: u32,
    /// Stopped by `p`.
    pub paused: bool,
    /// What is wanted.
    pub want: Want,
}

impl Status {
    /// Bytes of a status file of daemontools.
    pub const LEN: usize = 18;
    /// Bytes that daemontools-encore writes for one process.
    pub const ENCORE_LEN: usize = 20;

    /// Returns the 18 bytes. Byte 16 is 0 whenever the pid is, as in the original.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..Stamp::LEN].copy_from_slice(&self.since.to_bytes());
        out[12..16].copy_from_slice(&self.pid.to_le_bytes());
        out[16] = u8::from(self.paused && self.pid != 0);
        out[17] = self.want.to_byte();
        out
    }

    /// Returns the 20 bytes of daemontools-encore.
    #[must_use]
    pub fn to_encore_bytes(&self, state: State) -> [u8; Self::ENCORE_LEN] {
        let mut out = [0; Self::ENCORE_LEN];
        out[..Self::LEN].copy_from_slice(&self.to_bytes());
        out[18] = state as u8;
        out
    }

    /// Reads a status file of any relative: the first 18 bytes count. `None` = shorter.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&stamp, rest) = bytes.split_first_chunk::<{ Stamp::LEN }>()?;
        let (&pid, rest) = rest.split_first_chunk::<4>()?;
        let [paused, want, ..] = *rest else { return None };
        Some(Self {
            since: Stamp::from_bytes(&stamp),
            pid: u32::from_le_bytes(pid),
            paused: paused != 0,
            want: Want::from_byte(want),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by daemontools 0.76: up, pid 0x3eaf, wants up.
    const GOLDEN: [u8; 18] = *include_bytes!("../golden/status-0.76-up");

    #[test]
    fn the_original_s_file_reads_and_writes_back_the_same() {
        let status = Status::from_bytes(&GOLDEN).unwrap();
        assert_eq!(status.pid, 0x3eaf);
        assert_eq!((status.paused, status.want), (false, Want::Up));
        assert_eq!(status.to_bytes(), GOLDEN);
    }

    #[test]
    fn every_combination_survives_a_round_trip() {
        for want in [Want::Up, Want::Down, Want::Once] {
            for paused in [false, true] {
                let status = Status { since: Stamp::from_unix(1, 2), pid: 77, paused, want };
                assert_eq!(Status::from_bytes(&status.to_bytes()), Some(status));
                let long = status.to_encore_bytes(State::Running);
                assert_eq!(Status::from_bytes(&long), Some(status));
                assert_eq!(State::from_byte(long[18]), Some(State::Running));
            }
        }
    }

    #[test]
    fn a_short_file_is_refused_and_a_down_service_is_never_paused() {
        assert_eq!(Status::from_bytes(&GOLDEN[..17]), None);
        let down = Status { since: Stamp::default(), pid: 0, paused: true, want: Want::Down };
        assert_eq!(down.to_bytes()[16], 0);
    }

    #[test]
    fn states_have_distinct_bytes_and_words() {
        for byte in 0..=u8::MAX {
            assert_eq!(State::from_byte(byte).map(|s| s as u8), (byte < 6).then_some(byte));
        }
    }
}
