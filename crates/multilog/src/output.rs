//! What is to be written: a buffer for each log, and the files of `e` and `=`.

use crate::lines::{HEAD, MOST, Sink};
use linux::errno::Result;
use linux::fd::{self, Fd};
use linux::{bytes, memory};

/// Bytes of a log's buffer where there are a few logs; more logs share as much as 16.
const BUFFER: usize = 1 << 17;
const SHARED: usize = 16 * BUFFER;
/// The shortest buffer.
const LEAST: usize = 2 * MOST;
/// Bytes that are copied at once where it does no harm to copy too many.
const BLOCK: usize = 16;

/// Returns the bytes of buffer that each of `logs` logs gets.
#[must_use]
pub fn buffer_len(logs: usize) -> usize {
    (SHARED / logs.max(1)).clamp(LEAST, BUFFER)
}

/// One log's bytes on their way.
pub struct Output {
    buf: &'static mut [u8],
    from: usize,
    to: usize,
    /// The line whose head this log got goes on.
    pub in_line: bool,
    /// Bytes still to come that the log has already, from before a kill.
    pub skip: u64,
}

impl Output {
    /// Makes a buffer of `len` bytes.
    ///
    /// # Errors
    /// `ENOMEM` where the system has no more memory.
    pub fn new(len: usize) -> Result<Self> {
        let buf = memory::buffer(len)?;
        Ok(Self { buf, from: 0, to: 0, in_line: false, skip: 0 })
    }

    /// Returns what waits to be written.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.buf[self.from..self.to]
    }

    /// Says that the first `n` bytes of it were written.
    pub fn written(&mut self, n: usize) {
        self.from += n.min(self.to - self.from);
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    /// Gives back the memory that a load took.
    pub fn shrink(&mut self) {
        if self.from == self.to {
            memory::give_back(self.buf);
        }
    }

    fn room(&self) -> usize {
        self.buf.len() - self.to
    }

    /// Appends what there is room for; callers have made sure that it is all.
    fn put(&mut self, bytes: &[u8]) {
        let known = self.skip.min(bytes.len() as u64);
        self.skip -= known;
        let bytes = &bytes[known as usize..];
        let n = bytes.len().min(self.room());
        self.buf[self.to..self.to + n].copy_from_slice(&bytes[..n]);
        self.to += n;
    }

    /// Appends whole lines; see [`Sink::whole`].
    fn put_lines(&mut self, lead: &[u8], raw: &[u8], most: usize) -> usize {
        // Copying in blocks may write beyond a line's end.
        let Some(limit) = self.buf.len().checked_sub(lead.len() + BLOCK) else { return 0 };
        let (mut at, mut to) = (0, self.to);
        for end in bytes::positions(b'\n', raw) {
            let line = &raw[at..=end];
            if line.len() > most + 1 || to + line.len() > limit {
                break;
            }
            copy(&mut self.buf[to..], lead);
            to += lead.len();
            if line.len() <= 2 * BLOCK && raw.len() - at >= 2 * BLOCK && to + 2 * BLOCK <= limit {
                let out = &mut self.buf[to..to + 2 * BLOCK];
                out.copy_from_slice(&raw[at..at + 2 * BLOCK]);
            } else {
                copy(&mut self.buf[to..], line);
            }
            to += line.len();
            at = end + 1;
        }
        self.to = to;
        at
    }
}

/// Copies `from` to the beginning of `to`, which is long enough. For lines: their lengths are
/// small and vary, where calling memcpy takes longer than copying.
fn copy(to: &mut [u8], from: &[u8]) {
    let to = &mut to[..from.len()];
    match from.len() {
        0..16 => {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
        16..=32 => ends::<16>(to, from),
        33..=64 => ends::<32>(to, from),
        65..=128 => ends::<64>(to, from),
        129..=256 => ends::<128>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes of slices that have as many, and not more than twice.
fn ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}

/// All places where lines go.
pub struct Outputs {
    /// One for each log, in the order of the script.
    pub logs: &'static mut [Output],
    /// The files of `=`, in the order of the script.
    pub files: &'static mut [Fd],
}

impl Outputs {
    /// Tells whether a log still gets what it had before a kill: then alerts were shown, too.
    fn is_repeating(&self) -> bool {
        self.logs.iter().any(|log| log.skip > 0)
    }
}

impl Sink for Outputs {
    fn room(&self) -> usize {
        self.logs.iter().map(Output::room).min().unwrap_or(usize::MAX)
    }

    fn head(&mut self, log: usize, line: [&[u8]; 2], ends: bool) {
        if let Some(log) = self.logs.get_mut(log) {
            log.put(line[0]);
            log.put(line[1]);
            log.in_line = !ends;
            if ends {
                log.put(b"\n");
            }
        }
    }

    fn rest(&mut self, bytes: &[u8], ends: bool) {
        for log in self.logs.iter_mut().filter(|log| log.in_line) {
            log.put(bytes);
            if ends {
                log.put(b"\n");
                log.in_line = false;
            }
        }
    }

    fn alert(&mut self, line: [&[u8]; 2]) {
        /// multilog(8): the first 200 bytes.
        const SHOWN: usize = 200;
        if self.is_repeating() {
            return;
        }
        let lead = &line[0][..line[0].len().min(SHOWN)];
        let text = &line[1][..line[1].len().min(SHOWN - lead.len())];
        let is_cut = line[0].len() + line[1].len() > SHOWN;
        let end = if is_cut { &b"...\n"[..] } else { b"\n" };
        // Nobody may be reading there, and then so be it.
        let _ = fd::write_all_parts(2, &mut [lead, text, end]);
    }

    #[inline(never)]
    fn status(&mut self, file: usize, line: [&[u8]; 2]) {
        if self.is_repeating() {
            return;
        }
        let mut content = [b'\n'; HEAD + 1];
        let (lead, text) = content.split_at_mut(line[0].len());
        lead.copy_from_slice(line[0]);
        text[..line[1].len()].copy_from_slice(line[1]);
        if let Some(file) = self.files.get(file) {
            // The original makes no promise about these files, and neither lets lines wait for them.
            let _ = fd::write_at(file.raw(), &content, 0);
        }
    }

    fn whole(&mut self, lead: &[u8], raw: &[u8], most: usize) -> usize {
        match self.logs {
            [log] if log.skip == 0 => log.put_lines(lead, raw, most),
            _ => 0,
        }
    }
}

/// Runs along with what a log has got before a kill, without writing.
pub struct Measure<'a> {
    /// For each log, how much of its output is not accounted for yet.
    pub left: &'a mut [u64],
    /// For each log, how much of a line's head it got that was not written to its end.
    pub cut: &'a mut [u64],
    /// For each log, whether the line goes on there.
    pub in_line: &'a mut [bool],
}

impl Sink for Measure<'_> {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn head(&mut self, log: usize, line: [&[u8]; 2], ends: bool) {
        let len = (line[0].len() + line[1].len() + usize::from(ends)) as u64;
        let Some(left) = self.left.get_mut(log) else { return };
        if *left < len {
            self.cut[log] += core::mem::take(left);
        }
        *left = left.saturating_sub(len);
        self.in_line[log] = !ends;
    }

    fn rest(&mut self, bytes: &[u8], ends: bool) {
        let len = (bytes.len() + usize::from(ends)) as u64;
        for (left, in_line) in self.left.iter_mut().zip(self.in_line.iter_mut()) {
            if *in_line {
                *left = left.saturating_sub(len);
                *in_line = !ends;
            }
        }
    }

    fn alert(&mut self, _: [&[u8]; 2]) {}

    fn status(&mut self, _: usize, _: [&[u8]; 2]) {}

    fn whole(&mut self, _: &[u8], _: &[u8], _: usize) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Settings;
    use crate::lines::Lines;
    use crate::pattern;
    use crate::script::Action;
    use std::boxed::Box;
    use std::vec::Vec;

    const LEAD: &[u8] = b"2026-11-23T22:54:29.123456Z ";

    fn outputs(logs: usize, len: usize) -> Outputs {
        let logs: Vec<Output> =
            (0..logs).map(|_| Output::new(len).unwrap_or_else(|why| panic!("{why}"))).collect();
        Outputs { logs: Box::leak(logs.into_boxed_slice()), files: &mut [] }
    }

    fn script(logs: usize) -> Vec<Action> {
        let all = Action::Log(c"./all", Settings::default());
        let deselect = Action::Select(false, pattern::Kind::Simple, b"*Z b*");
        if logs == 1 { std::vec![all] } else { std::vec![all, deselect, all] }
    }

    /// Lines of many lengths, also beyond a head, the last one without its newline.
    fn input(mut seed: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let kind = seed >> 60;
            let len = match kind {
                0 => 960 + (seed >> 40) % 80,
                1 => (seed >> 40) % 5000,
                2..6 => (seed >> 40) % 300,
                _ => (seed >> 40) % 50,
            };
            let letter = b'a' + (seed >> 33) as u8 % 3;
            all.extend((0..len).map(|i| letter + u8::from(i % 23 != 0) * (i % 7) as u8));
            all.push(b'\n');
        }
        all.extend_from_slice(b"a half");
        all
    }

    /// Feeds all of `raw`; returns what each log got.
    fn run(outputs: &mut Outputs, raw: &[u8], lead: &[u8], at_end: bool) -> Vec<Vec<u8>> {
        let script = script(outputs.logs.len());
        let mut got: Vec<Vec<u8>> = outputs.logs.iter().map(|_| Vec::new()).collect();
        let (mut lines, mut at) = (Lines::default(), 0);
        loop {
            let n = lines.feed(&script, lead, &raw[at..], at_end, outputs);
            at += n;
            let mut any = n > 0;
            for (log, got) in outputs.logs.iter_mut().zip(&mut got) {
                // As a write may, not always all of it.
                let len = log.waiting().len();
                let some = if len > 5000 { len / 2 } else { len };
                got.extend_from_slice(&log.waiting()[..some]);
                log.written(some);
                any |= some > 0;
            }
            if !any {
                return got;
            }
        }
    }

    #[test]
    fn the_short_way_for_whole_lines_writes_the_same() {
        for seed in 0..200 {
            let raw = input(seed);
            let fast = run(&mut outputs(1, LEAST + seed as usize * 50), &raw, LEAD, true);
            // With two logs there is no short way.
            let slow = run(&mut outputs(2, 9000), &raw, LEAD, true);
            assert!(fast[0] == slow[0], "seed {seed}");
        }
    }

    #[test]
    fn every_length_is_copied() {
        let from: Vec<u8> = (0..400).map(|i| i as u8).collect();
        for len in 0..from.len() {
            let mut to = [0xaa; 400];
            copy(&mut to, &from[..len]);
            assert!(to[..len] == from[..len] && to[len..].iter().all(|byte| *byte == 0xaa));
        }
    }

    /// What recovery does: `written` bytes of each log's output are in its file.
    fn replay(raw: &[u8], written: [usize; 2], whole: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut left = written.map(|n| n as u64);
        let (mut cut, mut in_line) = ([0; 2], [false; 2]);
        let mut sink = Measure { left: &mut left, cut: &mut cut, in_line: &mut in_line };
        Lines::default().feed(&script(2), LEAD, raw, false, &mut sink);
        let mut outputs = outputs(2, 9000);
        let kept: Vec<usize> = (0..2).map(|i| written[i] - cut[i] as usize).collect();
        for (log, kept) in outputs.logs.iter_mut().zip(&kept) {
            log.skip = *kept as u64;
        }
        let more = run(&mut outputs, raw, LEAD, true);
        (0..2).map(|i| [&whole[i][..kept[i]], &more[i]].concat()).collect()
    }

    #[test]
    fn wherever_a_kill_falls_each_log_ends_up_with_each_line_once() {
        let raw = input(7);
        let whole = run(&mut outputs(2, 9000), &raw, LEAD, true);
        let (long, short) = (whole[0].len(), whole[1].len());
        for i in 0..=1500 {
            // Close together where lines begin, and spread over all of it; the two apart.
            let written = if i < 800 {
                [i, short.min(800 - i)]
            } else {
                [long * (i - 800) / 701, short * (1500 - i) / 701]
            };
            let got = replay(&raw, written, &whole);
            assert!(got == whole, "{written:?}");
        }
    }

    #[test]
    fn a_head_that_was_written_in_part_is_taken_back_to_be_written_whole() {
        let whole = run(&mut outputs(2, 9000), b"abc\nbcd\n", LEAD, true);
        let mut left = [LEAD.len() as u64 + 4 + 9, 0];
        let (mut cut, mut in_line) = ([0; 2], [false; 2]);
        let mut sink = Measure { left: &mut left, cut: &mut cut, in_line: &mut in_line };
        Lines::default().feed(&script(2), LEAD, b"abc\nbcd\n", false, &mut sink);
        assert_eq!((cut, left), ([9, 0], [0, 0]));
        assert_eq!(whole[0].len(), 2 * (LEAD.len() + 4));
    }
}
