//! What worker and keeper say to each other: one message of fixed layout a packet.
//!
//! The keeper has rights that the worker has not, so a message can only name what the
//! configuration allows: an instance, one of two signals, three short texts for the environment.
//!
//! Both are one program on one machine, so numbers stand as the machine has them. Every message
//! begins alike: what it is, one more byte about it, the instance, the serial number.

use sys::linux::process::Ended;

/// Most bytes of each text of [`Start`].
pub const TEXT: usize = 256;

/// Bytes of the beginning.
const HEAD: usize = 8;

/// Bytes of the longest order: a start with three texts, each behind its length.
pub const LONGEST: usize = HEAD + 3 * (2 + TEXT);

/// Bytes of every report.
pub const REPORT: usize = HEAD + 4 + 8 + 8 + 8;

/// Exit code of a worker that ended to be replaced while it was told to take no items: nor is the next.
pub const DRAINED: i32 = 3;

/// Descriptors that come with a start, in this order: 0, 1, 2 and 3 of the participant.
pub const DESCRIPTORS: usize = 4;

/// A start of one instance. Four descriptors come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Which instance, from 0.
    pub instance: u16,
    /// Names this start of it in orders and reports.
    pub serial: u32,
    /// For `SKYNET_WFID`, where it is started for an item.
    pub wfid: String,
    /// For `SKYNET_ATTEMPT`.
    pub attempt: String,
    /// For `SKYNET_STAGE`.
    pub stage: String,
    /// It is to begin when the start before this one, by its serial, has ended; where that failed,
    /// never.
    pub is_behind: bool,
}

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM and CONT, to the process group.
    Term,
    /// KILL, to the process group.
    Kill,
}

/// What the worker wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start an instance, which must not run unless it is to begin behind that.
    Start(Start),
    /// Forget a start that is to begin behind another, unless it has begun. That is answered.
    Recall {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
    },
    /// Signal an instance, if this start of it still runs.
    Signal {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// Which signal.
        signal: Signal,
    },
    /// Tell whoever asked to be told that we are ready.
    Ready,
}

/// Where a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// No process could be made.
    Fork,
    /// The descriptors could not be put in place.
    Descriptors,
    /// The working directory could not be entered.
    Directory,
    /// A limit could not be set.
    Limits,
    /// Its user, groups or capabilities could not be set, or not be made sure of.
    User,
    /// It could not be confined.
    Confine,
    /// The program could not be run.
    Run,
    /// The program is there, and what it is to be run by is not.
    Interpreter,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Fork,
        Self::Descriptors,
        Self::Directory,
        Self::Limits,
        Self::User,
        Self::Confine,
        Self::Run,
        Self::Interpreter,
    ];

    /// Returns the step that has this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// What the keeper says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// An instance runs.
    Started {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// Its pid, which is its process group and session too.
        pid: i32,
    },
    /// An instance could not be started.
    NotStarted {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// What failed.
        step: Step,
        /// Why.
        errno: i32,
    },
    /// An instance is dead, and its process group with it. Nothing was said of its start where it ended
    /// at once.
    Ended {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// How.
        how: Ended,
        /// Its processor time and that of its reaped children, in microseconds.
        cpu_us: u64,
        /// Its largest memory, in KiB.
        peak_kib: u64,
        /// When it was found dead, and nothing was left of it, before the next one began: nanoseconds of the
        /// monotonic clock.
        at: u64,
    },
    /// What came of [`Order::Recall`]; all reports on what had begun by then come before this.
    Recalled {
        /// Which instance.
        instance: u16,
        /// Which start of it.
        serial: u32,
        /// It was too late: that start has begun.
        has_begun: bool,
    },
    /// We are told to shut down.
    Shutdown,
    /// We are told to let another exo take our place, between two items.
    Replace,
}

/// What a message is.
mod kind {
    /// The byte behind it: 1 = behind another.
    pub(super) const START: u8 = 1;
    pub(super) const SIGNAL: u8 = 2;
    pub(super) const READY: u8 = 3;
    pub(super) const STARTED: u8 = 4;
    pub(super) const NOT_STARTED: u8 = 5;
    /// The byte behind it: ended by exit 0, by a signal 1.
    pub(super) const ENDED: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const REPLACE: u8 = 8;
    pub(super) const RECALL: u8 = 9;
    /// The byte behind it: 1 = it was too late.
    pub(super) const RECALLED: u8 = 10;
}

/// The bytes of a message, taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// A text: its length, then so many bytes of UTF-8 without control characters, of which NUL is
    /// one.
    fn text(&mut self) -> Option<String> {
        let len = usize::from(u16::from_ne_bytes(self.array()?));
        let text = str::from_utf8(self.bytes(len)?).ok()?;
        is_text(text).then(|| text.to_owned())
    }

    fn head(&mut self) -> Option<Head> {
        let [kind, detail] = self.array()?;
        let instance = u16::from_ne_bytes(self.array()?);
        let serial = u32::from_ne_bytes(self.array()?);
        Some(Head { kind, detail, instance, serial })
    }

    /// Takes `value` for an answer where nothing is left.
    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// How every message begins.
#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    detail: u8,
    instance: u16,
    serial: u32,
}

impl Head {
    fn bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..2].copy_from_slice(&[self.kind, self.detail]);
        bytes[2..4].copy_from_slice(&self.instance.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.serial.to_ne_bytes());
        bytes
    }
}

/// Tells whether a text of [`Start`] may be sent: short, and no control character in it.
#[must_use]
pub fn is_text(text: &str) -> bool {
    text.len() <= TEXT && !text.chars().any(char::is_control)
}

impl Order {
    /// Returns the order's bytes; `None` where a text is too long or holds a control character.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let head = match *self {
            Self::Start(Start { instance, serial, is_behind, .. }) => {
                Head { kind: kind::START, detail: u8::from(is_behind), instance, serial }
            }
            Self::Recall { instance, serial } => {
                Head { kind: kind::RECALL, detail: 0, instance, serial }
            }
            Self::Signal { instance, serial, signal } => {
                Head { kind: kind::SIGNAL, detail: signal as u8, instance, serial }
            }
            Self::Ready => Head { kind: kind::READY, detail: 0, instance: 0, serial: 0 },
        };
        let mut bytes = head.bytes().to_vec();
        if let Self::Start(start) = self {
            for text in [&start.wfid, &start.attempt, &start.stage] {
                if !is_text(text) {
                    return None;
                }
                bytes.extend_from_slice(&(text.len() as u16).to_ne_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Some(bytes)
    }

    /// Reads an order; `None` where these bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let Head { kind, detail, instance, serial } = from.head()?;
        let order = match (kind, detail) {
            (kind::START, is_behind @ (0 | 1)) => Self::Start(Start {
                instance,
                serial,
                is_behind: is_behind == 1,
                wfid: from.text()?,
                attempt: from.text()?,
                stage: from.text()?,
            }),
            (kind::SIGNAL, 0) => Self::Signal { instance, serial, signal: Signal::Term },
            (kind::SIGNAL, 1) => Self::Signal { instance, serial, signal: Signal::Kill },
            (kind::RECALL, 0) => Self::Recall { instance, serial },
            (kind::READY, 0) if (instance, serial) == (0, 0) => Self::Ready,
            _ => return None,
        };
        from.end(order)
    }
}

impl Report {
    /// Returns the same of an end that counts from another moment on.
    #[must_use]
    pub const fn dated(self, at: u64) -> Self {
        match self {
            Self::Ended { instance, serial, how, cpu_us, peak_kib, .. } => {
                Self::Ended { instance, serial, how, cpu_us, peak_kib, at }
            }
            other => other,
        }
    }

    /// Returns the report's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; REPORT] {
        let (kind, detail, instance, serial, value) = match *self {
            Self::Started { instance, serial, pid } => (kind::STARTED, 0, instance, serial, pid),
            Self::NotStarted { instance, serial, step, errno } => {
                (kind::NOT_STARTED, step as u8, instance, serial, errno)
            }
            Self::Ended { instance, serial, how: Ended::Code(code), .. } => {
                (kind::ENDED, 0, instance, serial, code)
            }
            Self::Ended { instance, serial, how: Ended::Signal(signal), .. } => {
                (kind::ENDED, 1, instance, serial, signal)
            }
            Self::Recalled { instance, serial, has_begun } => {
                (kind::RECALLED, u8::from(has_begun), instance, serial, 0)
            }
            Self::Shutdown => (kind::SHUTDOWN, 0, 0, 0, 0),
            Self::Replace => (kind::REPLACE, 0, 0, 0, 0),
        };
        let (cpu_us, peak_kib, at) = match *self {
            Self::Ended { cpu_us, peak_kib, at, .. } => (cpu_us, peak_kib, at),
            _ => (0, 0, 0),
        };
        let mut bytes = [0; REPORT];
        bytes[..HEAD].copy_from_slice(&Head { kind, detail, instance, serial }.bytes());
        bytes[HEAD..12].copy_from_slice(&value.to_ne_bytes());
        bytes[12..20].copy_from_slice(&cpu_us.to_ne_bytes());
        bytes[20..28].copy_from_slice(&peak_kib.to_ne_bytes());
        bytes[28..].copy_from_slice(&at.to_ne_bytes());
        bytes
    }

    /// Reads a report; `None` where these bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let Head { kind, detail, instance, serial } = from.head()?;
        let value = i32::from_ne_bytes(from.array()?);
        let cpu_us = u64::from_ne_bytes(from.array()?);
        let peak_kib = u64::from_ne_bytes(from.array()?);
        let at = u64::from_ne_bytes(from.array()?);
        let ended = |how| Self::Ended { instance, serial, how, cpu_us, peak_kib, at };
        let report = match (kind, detail) {
            (kind::STARTED, 0) => Self::Started { instance, serial, pid: value },
            (kind::NOT_STARTED, step) => {
                let step = Step::from_byte(step)?;
                Self::NotStarted { instance, serial, step, errno: value }
            }
            (kind::ENDED, 0) => ended(Ended::Code(value)),
            (kind::ENDED, 1) => ended(Ended::Signal(value)),
            (kind::RECALLED, has_begun @ (0 | 1)) => {
                Self::Recalled { instance, serial, has_begun: has_begun == 1 }
            }
            (kind::SHUTDOWN, 0) => Self::Shutdown,
            (kind::REPLACE, 0) => Self::Replace,
            _ => return None,
        };
        from.end(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Vec<Order> {
        let text = |len| "\u{fc}".repeat(len / 2);
        let start = |wfid: &str, attempt: &str, stage: &str| {
            let [wfid, attempt, stage] = [wfid, attempt, stage].map(str::to_owned);
            let (instance, serial, is_behind) = (u16::MAX, u32::MAX, true);
            Order::Start(Start { instance, serial, wfid, attempt, stage, is_behind })
        };
        vec![
            Order::Start(Start::default()),
            start("20260101-abc", "3", "half way"),
            start(&text(TEXT), &text(TEXT), &text(TEXT)),
            Order::Signal { instance: 0, serial: 1, signal: Signal::Term },
            Order::Signal { instance: 7, serial: 0x0102_0304, signal: Signal::Kill },
            Order::Recall { instance: 7, serial: u32::MAX },
            Order::Ready,
        ]
    }

    fn reports() -> Vec<Report> {
        let (instance, serial) = (3, 0x0102_0304);
        let ended = |how, cpu_us, peak_kib| Report::Ended {
            instance,
            serial,
            how,
            cpu_us,
            peak_kib,
            at: cpu_us ^ peak_kib,
        };
        let mut all = vec![
            Report::Started { instance, serial, pid: i32::MAX },
            ended(Ended::Code(255), u64::MAX, 1),
            ended(Ended::Signal(9), 2, u64::MAX),
            Report::Recalled { instance, serial, has_begun: true },
            Report::Recalled { instance, serial, has_begun: false },
            Report::Shutdown,
            Report::Replace,
        ];
        all.extend(Step::ALL.map(|step| Report::NotStarted { instance, serial, step, errno: 13 }));
        all
    }

    #[test]
    fn what_is_said_is_what_arrives() {
        for order in orders() {
            let bytes = order.encode().unwrap();
            assert!(bytes.len() <= LONGEST);
            assert_eq!(Order::decode(&bytes), Some(order));
        }
        assert_eq!(orders()[2].encode().unwrap().len(), LONGEST);
        for report in reports() {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn a_message_that_is_cut_anywhere_or_has_more_behind_it_is_none() {
        for order in orders() {
            let mut bytes = order.encode().unwrap();
            for len in 0..bytes.len() {
                assert_eq!(Order::decode(&bytes[..len]), None, "{order:?} cut at {len}");
            }
            bytes.push(0);
            assert_eq!(Order::decode(&bytes), None);
        }
        for report in reports() {
            let mut bytes = report.encode().to_vec();
            for len in 0..bytes.len() {
                assert_eq!(Report::decode(&bytes[..len]), None, "{report:?} cut at {len}");
            }
            bytes.push(0);
            assert_eq!(Report::decode(&bytes), None);
        }
    }

    #[test]
    fn every_other_first_or_second_byte_is_refused() {
        let bytes =
            Order::Signal { instance: 0, serial: 0, signal: Signal::Term }.encode().unwrap();
        for (kind, detail) in (0..=u8::MAX).flat_map(|k| (0..=u8::MAX).map(move |d| (k, d))) {
            let mut bytes = bytes.clone();
            bytes[..2].copy_from_slice(&[kind, detail]);
            let known =
                matches!((kind, detail), (kind::SIGNAL, 0 | 1) | (kind::READY | kind::RECALL, 0));
            assert_eq!(Order::decode(&bytes).is_some(), known, "{kind} {detail}");
        }
    }

    #[test]
    fn texts_that_are_too_long_not_utf_8_or_hold_a_control_character_are_refused() {
        for bad in ["a\0", "\n", "a\u{7f}", "\u{9b}", &"x".repeat(TEXT + 1)] {
            let start = Start { stage: bad.to_owned(), ..Start::default() };
            assert_eq!(Order::Start(start).encode(), None, "{bad:?}");
        }
        let good = Start { stage: "abcd".to_owned(), ..Start::default() };
        let good = Order::Start(good).encode().unwrap();
        let text = good.len() - 4;
        for bad in [b"ab\0d", b"ab\xffd", b"\xc3\xbcd\xc3", b"a\x1b[m"] {
            let mut bytes = good.clone();
            bytes[text..].copy_from_slice(bad);
            assert_eq!(Order::decode(&bytes), None, "{bad:?}");
        }
        let mut long = Order::Start(Start::default()).encode().unwrap();
        let at = long.len() - 2;
        long[at..].copy_from_slice(&(TEXT as u16 + 1).to_ne_bytes());
        long.extend_from_slice(&[b'x'; TEXT + 1]);
        assert_eq!(Order::decode(&long), None);
    }
}
