//! One-line messages on descriptor 2, in daemontools' form.

use crate::errno::Errno;
use crate::fd;

/// Longest message; what does not fit is cut, the newline stays.
const LEN: usize = 512;

/// A line that is put together without a heap and written by one call.
pub struct Line {
    buf: [u8; LEN],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { buf: [0; LEN], len: 0 }
    }
}

impl Line {
    /// Adds bytes.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.push(bytes);
        self
    }

    fn push(&mut self, bytes: &[u8]) {
        // One byte stays free for the newline.
        let n = bytes.len().min(LEN - 1 - self.len);
        self.buf[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
    }

    /// Adds a decimal number.
    #[must_use]
    pub fn number(self, mut n: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                return self.with(&digits[at..]);
            }
        }
    }

    /// Writes the line to descriptor 2. Nobody may be reading there, and then so be it.
    pub fn send(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.buf[self.len] = b'\n';
        let _ = fd::write(2, &self.buf[..=self.len]);
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

fn say(program: &str, severity: &str, parts: &[&[u8]], why: Option<Errno>) {
    let mut line = Line::default();
    for part in [program.as_bytes(), b": ", severity.as_bytes(), b": "].iter().chain(parts) {
        line.push(part);
    }
    if let Some(why) = why {
        line.push(b": ");
        line.push(why.text().as_bytes());
    }
    line.end();
}
