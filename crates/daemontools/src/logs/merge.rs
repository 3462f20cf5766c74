//! Several directories, line by line, by time.

use super::{Backward, Forward, Span};

/// Directories whose newest line comes first.
pub struct Back {
    /// Each with its number.
    pub logs: Vec<(usize, Backward)>,
    range: Span,
}

impl Back {
    /// Begins with the newest line that was written in `range`.
    #[must_use]
    pub fn new(logs: Vec<(usize, Backward)>, range: Span) -> Self {
        Self { logs, range }
    }

    /// See [`Backward::skip_unfinished`].
    pub fn skip_unfinished(&mut self) {
        for (_, log) in &mut self.logs {
            log.skip_unfinished();
        }
    }

    /// Takes the newest line; returns whose it is, by its place among the logs.
    pub fn take(&mut self) -> Option<usize> {
        let mut newest = None;
        for (i, (_, log)) in self.logs.iter_mut().enumerate() {
            while log.find(self.range.first) {
                let Some(span) = log.span() else { break };
                if !span.meets(self.range) {
                    log.take();
                    continue;
                }
                if newest.is_none_or(|(_, last)| last <= span.last) {
                    newest = Some((i, span.last));
                }
                break;
            }
        }
        let (i, _) = newest?;
        self.logs[i].1.take();
        Some(i)
    }

    /// Takes the newest `count` lines and goes the other way from there: to the end where `follow`
    /// says so, else over just these lines.
    #[must_use]
    pub fn turn_round(mut self, count: usize, follow: bool) -> Ahead {
        let mut taken = vec![0; self.logs.len()];
        for _ in 0..count {
            let Some(i) = self.take() else { break };
            taken[i] += 1;
        }
        let logs = self.logs.into_iter().map(|(i, log)| (i, log.turn_round())).collect();
        let mut ahead = Ahead::new(logs, self.range);
        if !follow {
            ahead.left = taken;
        }
        ahead
    }
}

/// Directories whose oldest line comes first.
pub struct Ahead {
    /// The directories.
    pub logs: Vec<Forward>,
    /// Their numbers.
    pub names: Vec<usize>,
    range: Span,
    /// How many lines of each are still wanted.
    left: Vec<usize>,
    /// Of whom no more is wanted.
    done: Vec<bool>,
    /// Who has found a line that nobody was handed yet.
    ready: Vec<bool>,
    /// Whose piece was handed over last.
    last: Option<usize>,
}

impl Ahead {
    /// Begins with the oldest line that was written in `range`.
    #[must_use]
    pub fn new(logs: Vec<(usize, Forward)>, range: Span) -> Self {
        let (names, logs): (Vec<_>, Vec<_>) = logs.into_iter().unzip();
        let (left, none) = (vec![usize::MAX; logs.len()], vec![false; logs.len()]);
        Self { logs, names, range, left, done: none.clone(), ready: none, last: None }
    }

    /// Goes to the next piece of the oldest line; returns whose it is. With `to_the_end` also what
    /// has no newline is a line.
    pub fn advance(&mut self, to_the_end: bool) -> Option<usize> {
        if let Some(last) = self.last.take() {
            self.look(last, to_the_end);
            // A long line is not torn apart by others.
            if self.ready[last] && !self.logs[last].line().starts {
                return Some(self.hand_over(last));
            }
        }
        let mut oldest = None;
        for i in 0..self.logs.len() {
            if !self.ready[i] {
                self.look(i, to_the_end);
            }
            let first = self.logs[i].line().span.first;
            if self.ready[i] && oldest.is_none_or(|(_, other)| first < other) {
                oldest = Some((i, first));
            }
        }
        oldest.map(|(i, _)| self.hand_over(i))
    }

    /// Looks for what came meanwhile; `false` = nothing.
    pub fn go_on(&mut self) -> bool {
        // Each of them, whatever the others say.
        self.logs.iter_mut().filter_map(|log| log.go_on().then_some(())).count() > 0
    }

    fn hand_over(&mut self, i: usize) -> usize {
        self.ready[i] = false;
        self.last = Some(i);
        i
    }

    /// Looks for a piece in the range.
    fn look(&mut self, i: usize, to_the_end: bool) {
        let log = &mut self.logs[i];
        while !self.done[i] && (log.advance() || to_the_end && log.rest()) {
            let line = log.line();
            if !line.span.meets(self.range) {
                continue;
            }
            if line.starts {
                let Some(left) = self.left[i].checked_sub(1) else {
                    self.done[i] = true;
                    return;
                };
                self.left[i] = left;
            }
            self.ready[i] = true;
            return;
        }
    }
}
