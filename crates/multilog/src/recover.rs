//! Going on where an earlier multilog was killed.

use crate::folder::Folder;
use crate::input::{self, Input};
use crate::lines::Lines;
use crate::output::{Measure, Outputs};
use crate::script::Action;
use crate::spool::{Left, Spool};
use crate::{NAME, WARNING};
use linux::errno::{Errno, Result};
use linux::memory::Arena;
use linux::message;
use ondisk::spool::Place;

/// What recovery works on.
pub struct Resume<'a> {
    /// The script.
    pub script: &'a [Action],
    /// Its checksum.
    pub sum: u64,
    /// Stamp and prefix, of which only the length counts here.
    pub lead: &'a [u8],
    /// The logs, recovered by themselves.
    pub logs: &'a mut [Folder],
    /// Where output goes.
    pub outputs: &'a mut Outputs,
    /// Where we are in the input.
    pub lines: &'a mut Lines,
}

impl Resume<'_> {
    /// Loads what an earlier multilog left in the spool and finds out how much of its output each
    /// log has got. Nothing is written: a disk that is full now is trouble like any later one, and
    /// the logger begins the spool, or notes its places, before it writes a byte.
    ///
    /// # Errors
    /// As the calls on the spool's files; `ENOMEM`.
    pub fn run(&mut self, input: &mut Input, arena: &mut Arena) -> Result<()> {
        let Some(spool) = &mut input.spool else { return Ok(()) };
        let Some(left) = spool.left()? else { return Ok(()) };
        if left.len > input::LEN as u64 {
            spool.refuse();
            self.warn(b"has a spool that is none of ours");
            return Ok(());
        }
        input.load_left()?;
        let is_same = left.header.script == self.sum && left.logs == self.logs.len();
        if is_same {
            self.measure(input, &left, arena)?;
        } else if left.len > 0 {
            self.warn(b"was written by another script before: some lines may be there twice");
        }
        if let Some(spool) = &mut input.spool {
            spool.adopt(&left, is_same);
        }
        Ok(())
    }

    fn warn(&self, what: &[u8]) {
        let name = self.logs.first().map_or(&b""[..], Folder::name);
        message::plain(NAME, WARNING, &[name, b" ", what]);
    }

    /// Finds out what of the spool's output is written.
    fn measure(&mut self, input: &mut Input, left: &Left, arena: &mut Arena) -> Result<()> {
        let Some(spool) = &mut input.spool else { return Ok(()) };
        let n = self.logs.len();
        let rest = arena.list(n, |_| Ok::<u64, Errno>(0))??;
        let cut = arena.list(n, |_| Ok::<u64, Errno>(0))??;
        let in_line = arena.list(n, |i| Ok::<_, Errno>(spool.places[i].in_line))??;
        for (i, log) in self.logs.iter_mut().enumerate() {
            let place = spool.places[i];
            spool.totals[i] = match log.find((place.dev, place.ino))? {
                // Less than `start` where a recovery cut a line back there.
                Some(size) => place.before.saturating_add(size).saturating_sub(place.start),
                // Somebody took it, or a processor made another of it: rather twice than never
                // what is not known to be behind us.
                None => place.before,
            };
            rest[i] = spool.totals[i];
            self.outputs.logs[i].in_line = place.in_line;
        }
        self.lines.in_line = left.header.in_line;
        let mut sink = Measure { left: rest, cut, in_line };
        let (raw, mut lines) = (input.waiting(), *self.lines);
        lines.feed(self.script, self.lead, raw, false, &mut sink);
        let Measure { left: more, cut, .. } = sink;
        self.cut(input.spool.as_mut(), cut, more);
        Ok(())
    }

    /// Takes back the beginnings of lines that were not written to their ends, so that they are
    /// written whole. `more` is there than the spool can have made: behind a power cut a file may have
    /// its length without its content, and anybody may append. It stands for no line that is yet to come.
    fn cut(&mut self, spool: Option<&mut Spool>, cut: &[u64], more: &[u64]) {
        let Some(spool) = spool else { return };
        for (i, log) in self.logs.iter_mut().enumerate() {
            spool.totals[i] -= more[i];
            if cut[i] > 0 {
                let id = (spool.places[i].dev, spool.places[i].ino);
                let size = log.find(id).ok().flatten().and_then(|size| size.checked_sub(cut[i]));
                // Failing, the line goes on in the next file.
                if size.is_some_and(|size| log.cut(id, size).is_ok()) {
                    spool.totals[i] -= cut[i];
                }
            }
            self.outputs.logs[i].skip = spool.totals[i];
        }
    }
}

/// Returns the place of a log that has got `before` so far.
fn place(log: &Folder, before: u64, in_line: bool) -> Place {
    let (dev, ino) = log.id();
    Place { dev, ino, start: log.len(), before, in_line }
}

/// Begins a spool with what is waiting: everything before is written.
///
/// # Errors
/// As [`Spool::begin`].
pub fn begin(input: &mut Input, logs: &[Folder], outputs: &Outputs, lines: Lines) -> Result<()> {
    let (tail, Some(spool)) = input.parts() else { return Ok(()) };
    for (i, log) in logs.iter().enumerate() {
        spool.places[i] = place(log, 0, outputs.logs[i].in_line);
    }
    spool.begin(tail, lines.in_line)?;
    input.begun();
    Ok(())
}
