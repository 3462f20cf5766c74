//! Handing over the lines of log directories as they were asked for, and going on with those that
//! come.

use super::folder::Leads;
use super::merge::{Ahead, Back};
use super::{Backward, Filter, Folder, Forward, Line, Span, Trouble, follow};
use std::ffi::{OsStr, OsString};
use std::rc::Rc;
use sys::linux::errno::Errno;

/// Which lines, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Also those that are still to come.
    pub follow: bool,
    /// Newest first.
    pub reverse: bool,
    /// The last so many; `None` = all.
    pub count: Option<usize>,
    /// When they were written.
    pub range: Span,
}

/// Where lines go. `Err`: the output cannot be written.
pub trait Sink {
    /// Takes a piece of a line of directory `i`.
    fn line(&mut self, i: usize, line: &Line<'_>);
    /// Ends a line that was cut off, if one was.
    fn end_line(&mut self);
    /// Writes what it keeps, if that is much, or somebody waits for it.
    ///
    /// # Errors
    /// As write(2).
    fn flush_if_full(&mut self) -> Result<(), Errno>;
    /// Writes what it keeps.
    ///
    /// # Errors
    /// As write(2).
    fn flush(&mut self) -> Result<(), Errno>;
    /// Hears of something in directory `i` that cannot be read.
    fn trouble(&mut self, i: usize, trouble: &Trouble);
    /// Hears that directory `i`, which is followed, was removed. It is gone on with when it is made
    /// anew.
    fn removed(&mut self, i: usize);
}

/// A directory, and which of its lines are wanted.
pub type Log = (Folder, Option<Rc<Filter>>);

/// Hands over what is wanted of these directories; with `follow`, until nobody reads descriptor 1.
///
/// # Errors
/// The output cannot be written.
pub fn run(wanted: &Wanted, mut logs: Vec<Log>, sink: &mut impl Sink) -> Result<(), Errno> {
    if wanted.follow {
        for (folder, _) in &mut logs {
            folder.watch();
        }
    }
    let Wanted { follow, reverse, count, range } = *wanted;
    if !reverse && count.is_none() {
        let logs =
            open(logs, sink, |(folder, filter)| Ok(Forward::new(folder, range)?.filtered(filter)));
        return oldest_first(Ahead::new(logs, range), follow, sink);
    }
    let logs = open(logs, sink, |(folder, filter)| {
        Ok(Backward::until(folder, range.last)?.filtered(filter))
    });
    let mut back = Back::new(logs, range);
    let count = count.unwrap_or(usize::MAX);
    if reverse {
        return newest_first(back, count, sink);
    }
    if follow {
        back.skip_unfinished();
    }
    oldest_first(back.turn_round(count, follow), follow, sink)
}

fn open<T>(
    logs: Vec<Log>,
    sink: &mut impl Sink,
    new: impl Fn(Log) -> Result<T, Trouble>,
) -> Vec<(usize, T)> {
    let opened = logs.into_iter().enumerate().filter_map(|(i, log)| match new(log) {
        Ok(log) => Some((i, log)),
        Err(trouble) => {
            sink.trouble(i, &trouble);
            None
        }
    });
    opened.collect()
}

fn newest_first(mut back: Back, count: usize, sink: &mut impl Sink) -> Result<(), Errno> {
    for _ in 0..count {
        let Some(i) = back.take() else { break };
        let (name, log) = &mut back.logs[i];
        while log.advance() {
            sink.line(*name, &log.line());
            sink.flush_if_full()?;
        }
        sink.end_line();
        tell(*name, &log.troubles(), sink);
    }
    for (name, log) in &mut back.logs {
        tell(*name, &log.troubles(), sink);
    }
    sink.flush()
}

fn oldest_first(mut ahead: Ahead, follow: bool, sink: &mut impl Sink) -> Result<(), Errno> {
    let mut missing = Vec::new();
    loop {
        while let Some(i) = ahead.advance(!follow) {
            sink.line(ahead.names[i], &ahead.logs[i].line());
            sink.flush_if_full()?;
        }
        sink.flush()?;
        for (name, log) in ahead.names.iter().zip(&mut ahead.logs) {
            tell(*name, &log.troubles(), sink);
        }
        if !follow || ahead.logs.is_empty() {
            return Ok(());
        }
        let more = ahead.go_on() || rejoin(&mut ahead, &mut missing, sink)?;
        if !more && follow::wait(&mut ahead.logs, 1) {
            return Ok(());
        }
    }
}

/// Goes on with directories that were made anew, and says which were removed. `true` = some were.
fn rejoin(
    ahead: &mut Ahead,
    missing: &mut Vec<OsString>,
    sink: &mut impl Sink,
) -> Result<bool, Errno> {
    let mut any = false;
    for i in 0..ahead.logs.len() {
        let (name, log) = (ahead.names[i], &mut ahead.logs[i]);
        let leads = log.folder().path_leads();
        if matches!(leads, Leads::Here | Leads::Away) {
            continue;
        }
        while log.rest() {
            sink.line(name, &log.line());
        }
        sink.flush()?;
        let path = log.folder().path().to_owned();
        if leads == Leads::Nowhere && !missing.contains(&path) {
            sink.removed(name);
            missing.push(path);
            continue;
        }
        // Where it cannot be read yet, one looks again.
        if let Some(new) = reopened(&path) {
            *log = new.filtered(log.filter());
            any = true;
            missing.retain(|missing| *missing != path);
        }
    }
    Ok(any)
}

fn reopened(path: &OsStr) -> Option<Forward> {
    let mut folder = Folder::open(path).ok()?;
    folder.watch();
    Forward::new(folder, Span::ALWAYS).ok()
}

fn tell(i: usize, troubles: &[Trouble], sink: &mut impl Sink) {
    for trouble in troubles {
        sink.trouble(i, trouble);
    }
}
