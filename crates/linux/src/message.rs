//! One-line messages on descriptor 2, in daemontools' form.

use crate::decimal::Decimal;
use crate::errno::Errno;
use crate::fd::{self, PollFd};
use crate::hex;
use crate::terminal::is_terminal;
use core::sync::atomic::{AtomicBool, Ordering};

/// Longest message; what does not fit is cut, the newline stays.
const LEN: usize = 512;

/// A line that is put together without a heap and written by one call.
pub struct Line {
    buf: [u8; LEN],
    len: usize,
    /// Written out whenever it is full, not cut.
    flows: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self { buf: [0; LEN], len: 0, flows: false }
    }
}

impl Line {
    /// Adds bytes.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.push(bytes);
        self
    }

    fn push(&mut self, mut bytes: &[u8]) {
        loop {
            // One byte stays free for the newline.
            let n = bytes.len().min(LEN - 1 - self.len);
            self.buf[self.len..self.len + n].copy_from_slice(&bytes[..n]);
            self.len += n;
            bytes = &bytes[n..];
            if bytes.is_empty() || !self.flows {
                return;
            }
            put(&self.buf[..self.len]);
            self.len = 0;
        }
    }

    /// Adds bytes for a person: control characters, and what is not UTF-8, as `\xNN`.
    fn push_escaped(&mut self, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                let mut buf = [0; 4];
                let bytes = c.encode_utf8(&mut buf).as_bytes();
                if c.is_control() {
                    self.push_hex(bytes);
                } else {
                    self.push(bytes);
                }
            }
            self.push_hex(chunk.invalid());
        }
    }

    fn push_hex(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(b"\\x");
            self.push(&hex::digits(*byte));
        }
    }

    /// Adds a decimal number.
    #[must_use]
    pub fn number(self, n: u64) -> Self {
        self.with(Decimal::of(n).digits())
    }

    /// Writes the line to descriptor 2. Nobody may be reading there, and then so be it.
    pub fn send(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.buf[self.len] = b'\n';
        put(&self.buf[..=self.len]);
    }
}

static NEVER_WAIT: AtomicBool = AtomicBool::new(false);

/// Makes this program drop what it cannot say at once. For daemons: whoever reads descriptor 2 may
/// have stopped reading, and may even be one of their services.
pub fn never_wait() {
    NEVER_WAIT.store(true, Ordering::Relaxed);
}

/// Tells whether a line may be written now.
fn may_say() -> bool {
    // A pipe that can be written has room for at least a page: more than our lines have.
    let mut room = [PollFd::writable(2)];
    let waits = !NEVER_WAIT.load(Ordering::Relaxed);
    waits || fd::poll(&mut room, Some(0)).is_ok_and(|ready| ready > 0)
}

/// Nobody may be reading there, and then so be it.
fn put(line: &[u8]) {
    if may_say() {
        let _ = fd::write_all(2, line);
    }
}

/// Writes `PROGRAM: SEVERITY: PARTS: TEXT` to descriptor 2.
pub fn system(program: &str, severity: &str, parts: &[&[u8]], why: Errno) {
    say(program, severity, parts, Some(why));
}

/// Writes `PROGRAM: SEVERITY: PARTS` to descriptor 2.
pub fn plain(program: &str, severity: &str, parts: &[&[u8]]) {
    say(program, severity, parts, None);
}

/// Writes `PROGRAM: SEVERITY: PARTS`, and `: TEXT` where there is a reason, to descriptor 2 by one
/// call however long it is. On a terminal, where nothing is cut either, it may take several.
pub fn whole(program: &str, severity: &str, parts: &[&[u8]], why: Option<Errno>) {
    /// More than any message has.
    const MOST: usize = 16;
    let (colon, why) = why.map_or(("", ""), |why| (": ", why.text()));
    let head = [program, ": ", severity, ": "].map(str::as_bytes);
    let tail = [colon, why, "\n"].map(str::as_bytes);
    let mut all: [&[u8]; MOST] = [b""; MOST];
    let person = is_terminal(2);
    if !person && head.len() + parts.len() + tail.len() <= MOST {
        let pieces = head.iter().chain(parts).chain(&tail);
        for (place, piece) in all.iter_mut().zip(pieces) {
            *place = piece;
        }
        if may_say() {
            let _ = fd::write_all_parts(2, &mut all);
        }
        return;
    }
    let mut line = Line { flows: true, ..Line::default() };
    for piece in head {
        line.push(piece);
    }
    for part in parts {
        if person {
            line.push_escaped(part);
        } else {
            line.push(part);
        }
    }
    line.push(colon.as_bytes());
    line.push(why.as_bytes());
    line.end();
}

fn say(program: &str, severity: &str, parts: &[&[u8]], why: Option<Errno>) {
    let mut line = Line::default();
    for part in [program.as_bytes(), b": ", severity.as_bytes(), b": "] {
        line.push(part);
    }
    // A name may hold anything; what commands a terminal never gets there.
    let person = is_terminal(2);
    for part in parts {
        if person {
            line.push_escaped(part);
        } else {
            line.push(part);
        }
    }
    if let Some(why) = why {
        line.push(b": ");
        line.push(why.text().as_bytes());
    }
    line.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> Line {
        let mut line = Line::default();
        line.push_escaped(bytes);
        line
    }

    #[test]
    fn a_person_gets_no_control_byte() {
        let rows: [(&[u8], &[u8]); 5] = [
            ("a ü \\ b".as_bytes(), "a ü \\ b".as_bytes()),
            (b"a\x1b[2J\n\x7f", b"a\\x1b[2J\\x0a\\x7f"),
            ("a\u{9b}".as_bytes(), b"a\\xc2\\x9b"),
            (b"a\x9b\xff", b"a\\x9b\\xff"),
            (b"", b""),
        ];
        for (bytes, wanted) in rows {
            let line = escaped(bytes);
            assert_eq!(&line.buf[..line.len], wanted);
        }
        for byte in 0..=u8::MAX {
            let line = escaped(&[byte]);
            assert!(line.buf[..line.len].iter().all(|b| (0x20..0x7f).contains(b)));
        }
        assert_eq!(escaped(&[7; LEN]).len, LEN - 1, "what does not fit is cut");
    }
}
