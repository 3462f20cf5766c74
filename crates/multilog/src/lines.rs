//! Lines: where each begins, what the script does with it, where its bytes go.

use crate::pattern;
use crate::script::Action;
use linux::bytes;

/// Bytes of a line, lead included, that patterns, `e` and `=` see (multilog(8)).
pub const HEAD: usize = 1000;
/// Room for the longest head and its newline.
pub const MOST: usize = HEAD + 1;

/// Where lines go.
pub trait Sink {
    /// Returns how many bytes every log has room for.
    fn room(&self) -> usize;
    /// Appends the head of a line to a log; unless it `ends` here, with a newline, there is more.
    fn head(&mut self, log: usize, line: [&[u8]; 2], ends: bool);
    /// Appends more of the line to the logs that got its head.
    fn rest(&mut self, bytes: &[u8], ends: bool);
    /// Shows a line's head.
    fn alert(&mut self, line: [&[u8]; 2]);
    /// Makes a line's head the content of a status file.
    fn status(&mut self, file: usize, line: [&[u8]; 2]);
    /// Appends the whole lines that `raw` begins with to the only log, as many as there is room
    /// for, each behind `lead` and none longer than `most`; returns how many bytes of `raw`.
    fn whole(&mut self, lead: &[u8], raw: &[u8], most: usize) -> usize;
}

/// Where we are in the input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// The head of a line was dealt with, the rest follows.
    pub in_line: bool,
}

impl Lines {
    /// Does what the script says with `raw`, as far as it can be said and there is room; returns
    /// how many bytes are done with. A line's head waits until it is complete; `at_end` completes
    /// everything.
    pub fn feed(
        &mut self,
        script: &[Action],
        lead: &[u8],
        raw: &[u8],
        at_end: bool,
        sink: &mut impl Sink,
    ) -> usize {
        let only_one = matches!(script, [Action::Log(..)]);
        let most = HEAD - lead.len();
        let mut at = 0;
        while sink.room() >= MOST {
            let rest = &raw[at..];
            if self.in_line {
                let Some(n) = self.go_on(rest, at_end, sink) else { break };
                at += n;
                continue;
            }
            let whole = if only_one {
                sink.whole(lead, rest, most)
            } else {
                whole_lines(script, lead, rest, most, sink)
            };
            if whole > 0 {
                at += whole;
                continue;
            }
            let head = &rest[..rest.len().min(most)];
            match bytes::find(b'\n', head) {
                Some(n) => {
                    perform(script, [lead, &head[..n]], true, sink);
                    at += n + 1;
                }
                None if head.len() == most => {
                    perform(script, [lead, head], false, sink);
                    self.in_line = true;
                    at += most;
                }
                None if at_end && !head.is_empty() => {
                    perform(script, [lead, head], true, sink);
                    at += head.len();
                }
                None => break,
            }
        }
        at
    }

    /// Passes on the rest of a long line; `None` = there is nothing to pass on yet.
    fn go_on(&mut self, raw: &[u8], at_end: bool, sink: &mut impl Sink) -> Option<usize> {
        let piece = &raw[..raw.len().min(sink.room() - 1)];
        if let Some(n) = bytes::find(b'\n', piece) {
            sink.rest(&piece[..n], true);
            self.in_line = false;
            return Some(n + 1);
        }
        if piece.is_empty() && at_end {
            sink.rest(b"", true);
            self.in_line = false;
            return Some(0);
        }
        sink.rest(piece, false);
        (!piece.is_empty()).then_some(piece.len())
    }
}

/// Deals with the whole lines that `raw` begins with, as many as there is room for; returns how
/// many bytes.
fn whole_lines(
    script: &[Action],
    lead: &[u8],
    raw: &[u8],
    most: usize,
    sink: &mut impl Sink,
) -> usize {
    let mut at = 0;
    for end in bytes::positions(b'\n', raw) {
        if end - at > most || sink.room() < MOST {
            break;
        }
        perform(script, [lead, &raw[at..end]], true, sink);
        at = end + 1;
    }
    at
}

/// Does with the head of a line what the script says.
fn perform(script: &[Action], line: [&[u8]; 2], ends: bool, sink: &mut impl Sink) {
    let mut is_selected = true;
    let (mut log, mut file) = (0, 0);
    for action in script {
        match *action {
            Action::Select(to, kind, pattern) => {
                if is_selected != to && pattern::matches(kind, pattern, line) {
                    is_selected = to;
                }
            }
            Action::Alert => {
                if is_selected {
                    sink.alert(line);
                }
            }
            Action::Status(_) => {
                if is_selected {
                    sink.status(file, line);
                }
                file += 1;
            }
            Action::Log(..) => {
                if is_selected {
                    sink.head(log, line, ends);
                }
                log += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Settings;
    use std::vec::Vec;

    /// Takes everything, in two logs, with a limit for what it takes at once.
    #[derive(Default)]
    struct Memory {
        logs: [Vec<u8>; 2],
        goes_on: [bool; 2],
        alerts: usize,
        taken: [usize; 2],
        limit: usize,
    }

    impl Sink for Memory {
        fn room(&self) -> usize {
            self.limit - self.taken[0].max(self.taken[1])
        }

        fn head(&mut self, log: usize, line: [&[u8]; 2], ends: bool) {
            let before = self.logs[log].len();
            self.logs[log].extend_from_slice(line[0]);
            self.logs[log].extend_from_slice(line[1]);
            if ends {
                self.logs[log].push(b'\n');
            }
            self.goes_on[log] = !ends;
            self.taken[log] += self.logs[log].len() - before;
        }

        fn rest(&mut self, bytes: &[u8], ends: bool) {
            for log in 0..2 {
                if self.goes_on[log] {
                    self.logs[log].extend_from_slice(bytes);
                    self.logs[log].extend_from_slice(if ends { b"\n" } else { b"" });
                    self.goes_on[log] &= !ends;
                    self.taken[log] += bytes.len() + usize::from(ends);
                }
            }
        }

        fn alert(&mut self, _: [&[u8]; 2]) {
            self.alerts += 1;
        }

        fn status(&mut self, _: usize, _: [&[u8]; 2]) {}

        fn whole(&mut self, _: &[u8], _: &[u8], _: usize) -> usize {
            0
        }
    }

    fn script() -> Vec<Action> {
        let all = Action::Log(c"./all", Settings::default());
        let some = Action::Log(c"./some", Settings::default());
        let simple = pattern::Kind::Simple;
        std::vec![
            all,
            Action::Select(false, simple, b"*"),
            Action::Select(true, simple, b"> a*"),
            some,
            Action::Alert,
        ]
    }

    /// Feeds `input` in pieces of `piece` bytes, the sink emptied whenever it is full.
    fn run(input: &[u8], piece: usize, limit: usize) -> Memory {
        let mut sink = Memory { limit, ..Memory::default() };
        let (mut lines, script) = (Lines::default(), script());
        let (mut from, mut to) = (0, 0);
        loop {
            let at_end = to == input.len();
            let n = lines.feed(&script, b"> ", &input[from..to], at_end, &mut sink);
            from += n;
            if sink.taken != [0; 2] {
                sink.taken = [0; 2];
            } else if at_end && n == 0 {
                return sink;
            } else {
                to = input.len().min(to + piece);
            }
        }
    }

    #[test]
    fn every_line_goes_where_the_script_says_however_the_input_comes_in_pieces() {
        let long = [&b"a"[..], &[b'x'; 2500], b"\n"].concat();
        let exact = [&b"b"[..], &[b'y'; HEAD - 3], b"\n"].concat();
        let input =
            [&b"a1\n\nb1\n"[..], &long, b"a2\n", &exact, b"\0\xff\n", &long, b"a half"].concat();
        let mut all = Vec::new();
        let mut some = Vec::new();
        for line in input.split(|byte| *byte == b'\n') {
            let out = [b"> ", line, b"\n"].concat();
            all.extend_from_slice(&out);
            if line.starts_with(b"a") {
                some.extend_from_slice(&out);
            }
        }
        for piece in (1..40).chain([999, 1000, 1001, 9999]) {
            for limit in [2 * MOST, 2 * MOST + 1, 5000, 100_000] {
                let sink = run(&input, piece, limit);
                assert!(sink.logs[0] == all, "all, {piece}, {limit}");
                assert!(sink.logs[1] == some, "some, {piece}, {limit}");
                assert_eq!(sink.alerts, 5);
            }
        }
        assert!(run(b"", 1, 5000).logs[0].is_empty());
        assert_eq!(run(b"\n", 1, 5000).logs[0], b"> \n");
    }
}
