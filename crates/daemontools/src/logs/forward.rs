//! Lines, oldest first, across the files of a log directory.

use super::filter::{Filter, last_stamp};
use super::folder::{Folder, Leads};
use super::order::{Order, unreadable};
use super::seek;
use super::source::Source;
use super::stamp::{self, leading};
use super::{BEGINNING, Line, MOST, Span, Trouble};
use memchr::memchr;
use ondisk::logdir::CURRENT;
use ondisk::tai64n::Stamp;
use std::ffi::CString;
use std::ops::Range;
use std::rc::Rc;

/// Bytes read at once.
const BLOCK: usize = if cfg!(test) { 37 } else { 1 << 16 };

/// Reads a log directory line by line.
///
/// [`Forward::advance`] goes on until the end of what is `current` when it comes there; after that
/// [`Forward::go_on`] goes on to what came meanwhile, or [`Forward::rest`] hands over what has no
/// newline yet.
#[derive(Debug)]
pub struct Forward {
    pub(super) folder: Folder,
    order: Order,
    filter: Option<Rc<Filter>>,
    /// The filter wants the line of the piece that was handed over last.
    is_wanted: bool,
    /// Lines that were written before are not asked for; a file that has some may begin later.
    since: Option<Stamp>,
    source: Option<Source>,
    /// When the source was written.
    span: Span,
    buf: Vec<u8>,
    /// Where the next piece begins.
    start: usize,
    /// Up to here there is no newline.
    scanned: usize,
    /// Where the source's bytes begin, and where in it that is.
    mark: usize,
    base: u64,
    /// Where the piece at `start` begins, if that is in an earlier file.
    begun: Option<Begun>,
    /// A piece of the line at `start` was handed over already.
    within: bool,
    /// A line was cut off: it ends here, without newline.
    cut: Option<usize>,
    /// Nothing of the source was looked at yet.
    fresh: bool,
    /// Nobody waits for what may come.
    hurry: bool,
    /// The moment of the last line of the source that had one.
    carry: Option<Stamp>,
    given: Given,
    troubles: Vec<Trouble>,
}

#[derive(Clone, Debug)]
struct Begun {
    file: Rc<CString>,
    offset: u64,
    span: Span,
}

/// The piece that was handed over last.
#[derive(Debug)]
struct Given {
    range: Range<usize>,
    starts: bool,
    time: Option<Stamp>,
    span: Span,
    file: Rc<CString>,
    offset: u64,
}

impl Forward {
    /// Begins with the oldest line. What was written before `range` or behind it is left out as far
    /// as that can be told without reading it.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(folder: Folder, range: Span) -> Result<Self, Trouble> {
        let (mut order, mut troubles) = (Order::default(), Vec::new());
        order.refresh(&folder, &mut troubles)?;
        order.skip_closed_before(range.first);
        order.skip_begun_after(range.last);
        let mut this = Self::behind(folder, order, None, troubles);
        this.since = Some(range.first).filter(|since| *since > BEGINNING);
        Ok(this)
    }

    /// Leaves out the lines that a filter does not want; without one, none.
    #[must_use]
    pub fn filtered(mut self, filter: Option<Rc<Filter>>) -> Self {
        self.filter = filter;
        self
    }

    /// Returns the filter.
    #[must_use]
    pub fn filter(&self) -> Option<Rc<Filter>> {
        self.filter.clone()
    }

    /// Begins at a place in a file, behind which comes what `order` says.
    pub(super) fn behind(
        folder: Folder,
        order: Order,
        place: Option<(Source, u64, Span)>,
        troubles: Vec<Trouble>,
    ) -> Self {
        let (source, base, span) = match place {
            Some((source, offset, span)) => (Some(source), offset, span),
            None => (None, 0, Span::ALWAYS),
        };
        let file = Rc::default();
        let given =
            Given { range: 0..0, starts: true, time: None, span: Span::ALWAYS, file, offset: 0 };
        Self {
            folder,
            order,
            filter: None,
            is_wanted: true,
            since: None,
            source,
            span,
            buf: Vec::new(),
            start: 0,
            scanned: 0,
            mark: 0,
            base,
            begun: None,
            within: false,
            cut: None,
            fresh: false,
            hurry: false,
            carry: None,
            given,
            troubles,
        }
    }

    /// Returns the directory.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Goes to the next line or piece; `false` = there is none now.
    pub fn advance(&mut self) -> bool {
        loop {
            self.pass_over();
            if let Some(end) = self.find_end() {
                if self.hand_over(end) {
                    return true;
                }
            } else if !self.fill() {
                return false;
            }
        }
    }

    /// Goes to what has no newline, at the end of what is there; `false` = nothing is left.
    pub fn rest(&mut self) -> bool {
        self.hurry = true;
        if self.advance() {
            return true;
        }
        self.start < self.buf.len() && self.hand_over(self.buf.len())
    }

    /// Looks, after [`Forward::advance`] found no more, whether a rotation was the reason; `true` =
    /// it may find more now.
    pub fn go_on(&mut self) -> bool {
        self.let_go_of_a_start();
        let current = self.source.as_ref().filter(|source| source.is_current);
        if let Some(source) = current {
            let id = self.folder.id_of(CURRENT);
            if id.is_none_or(|id| id == source.id) {
                return false;
            }
        }
        if let Err(trouble) = self.order.refresh(&self.folder, &mut self.troubles) {
            self.troubles.push(trouble);
        }
        let more = self.order.has_next();
        if let Some(source) = self.source.as_mut().filter(|_| more) {
            // Its logger has closed it: what it has now is all it will have.
            source.is_current = false;
        }
        more
    }

    /// Takes in what was told of the directory.
    pub fn hear(&mut self) {
        self.order.hear(&self.folder, &mut self.troubles);
    }

    /// Tells whether one should look from time to time, although changes are told: something is
    /// not as it usually is.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.folder.raw_watcher().is_none()
            || self.folder.id_of(CURRENT).is_none()
            || self.folder.path_leads() != Leads::Here
    }

    /// Returns the piece that [`Forward::advance`] or [`Forward::rest`] went to.
    #[must_use]
    pub fn line(&self) -> Line<'_> {
        let Given { range, starts, time, span, file, offset } = &self.given;
        let (starts, time, span, offset) = (*starts, *time, *span, *offset);
        Line { time, span, bytes: &self.buf[range.clone()], starts, file, offset }
    }

    /// Returns what could not be read since this was asked last.
    pub fn troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Passes over whole lines that the filter cannot want, as far as they are read.
    fn pass_over(&mut self) {
        // What began in another file, or ends without newline, goes its usual way.
        if self.within || self.begun.is_some() || self.cut.is_some() {
            return;
        }
        let Some(filter) = &self.filter else { return };
        let rest = &self.buf[self.start..];
        let len = filter.unwanted(rest);
        if len > 0 {
            self.carry = last_stamp(&rest[..len]).or(self.carry);
            self.start += len;
            self.scanned = self.scanned.max(self.start);
        }
    }

    /// Finds where the piece at `start` ends.
    fn find_end(&mut self) -> Option<usize> {
        if let Some(cut) = self.cut {
            if cut > self.start {
                return Some(cut);
            }
            self.within = false;
            self.cut = None;
        }
        let newline = memchr(b'\n', &self.buf[self.scanned..]);
        let end = newline.map(|at| self.scanned + at + 1);
        self.scanned = self.buf.len();
        let most = self.start + MOST;
        match end {
            Some(end) if end <= most => Some(end),
            _ => (self.buf.len() >= most).then_some(most),
        }
    }

    /// Hands over the piece that ends here; `false` = the filter does not want its line.
    fn hand_over(&mut self, end: usize) -> bool {
        let range = self.start..end;
        let starts = !self.within;
        let begun = self.begun.take();
        if starts {
            let head = &self.buf[self.start..end.min(self.start + stamp::MOST)];
            let time = leading(head).map(|found| found.stamp);
            if begun.is_none() {
                self.carry = time.or(self.carry);
            }
            let known = if begun.is_none() { self.carry } else { time };
            let whole = begun.as_ref().map_or(self.span, |begun| begun.span);
            self.given.time = time;
            self.given.span = known.map_or(whole, Span::at);
        }
        let (file, offset) = match begun {
            Some(Begun { file, offset, .. }) => (file, offset),
            None => (self.name(), self.offset_of(self.start)),
        };
        let cut = self.cut == Some(end);
        self.within = !cut && self.buf[end - 1] != b'\n';
        if cut {
            self.cut = None;
        }
        self.start = end;
        self.scanned = end;
        if let Some(filter) = self.filter.as_ref().filter(|_| starts) {
            self.is_wanted = filter.wants(&self.buf[range.clone()]);
        }
        self.given = Given { range, starts, file, offset, ..std::mem::take(&mut self.given) };
        self.is_wanted
    }

    fn name(&self) -> Rc<CString> {
        self.source.as_ref().map(|source| source.name.clone()).unwrap_or_default()
    }

    fn offset_of(&self, at: usize) -> u64 {
        self.base + at.saturating_sub(self.mark) as u64
    }

    /// Tells whether the line at `start` has begun.
    fn is_in_a_line(&self) -> bool {
        self.within || self.start < self.buf.len()
    }

    /// Reads more, from the next file where this one is at its end; `false` = there is no more now.
    fn fill(&mut self) -> bool {
        self.drop_what_was_handed_over();
        loop {
            let Some(source) = &self.source else {
                if !self.take_next() {
                    return false;
                }
                continue;
            };
            let (len, offset) = (self.buf.len(), self.offset_of(self.buf.len()));
            self.buf.resize(len + BLOCK, 0);
            let read = source.read_at(&mut self.buf[len..], offset);
            self.buf.truncate(len + *read.as_ref().unwrap_or(&0));
            if let Err(why) = read {
                self.troubles.push(unreadable(source, why));
            } else if self.buf.len() > len {
                return self.look_at_start(len);
            }
            if self.is_at_its_end(offset) {
                return false;
            }
        }
    }

    /// Looks whether the file that was read for the first time begins a line.
    fn look_at_start(&mut self, len: usize) -> bool {
        if !self.fresh || !self.is_in_a_line() {
            self.fresh = false;
            return true;
        }
        let start = &self.buf[len..];
        let may_grow = !self.hurry && self.source.as_ref().is_some_and(|s| s.is_current);
        if may_grow && stamp::may_become_one(start) {
            self.buf.truncate(len);
            return false;
        }
        if leading(&start[..start.len().min(stamp::MOST)]).is_some() {
            self.cut = Some(len);
        }
        self.fresh = false;
        true
    }

    /// Deals with a source of which there is no more; `true` = there may be later.
    fn is_at_its_end(&mut self, offset: u64) -> bool {
        let Some(source) = &self.source else { return false };
        if !source.is_current {
            self.leave();
            return false;
        }
        if source.size().is_ok_and(|size| size >= offset) {
            return true;
        }
        self.go_back();
        // Nothing is at the place to which we went back: later, perhaps.
        let offset = self.offset_of(self.buf.len());
        self.source.as_ref().is_none_or(|source| source.size().is_ok_and(|size| size <= offset))
    }

    /// Goes back in a file that was cut: to the beginning of a line that was not handed over, or of
    /// the file.
    fn go_back(&mut self) {
        let size = self.source.as_ref().and_then(|source| source.size().ok()).unwrap_or(0);
        let from = self.start.max(self.mark);
        let offset = self.offset_of(from);
        self.buf.truncate(from);
        self.scanned = self.scanned.min(from);
        if size < offset {
            self.mark = from;
            self.base = 0;
            self.within = false;
        }
    }

    /// Forgets the beginning of a line in `current`: a logger that was killed may cut it off and
    /// write it again, with another stamp.
    fn let_go_of_a_start(&mut self) {
        let here = !self.within && self.begun.is_none() && self.start >= self.mark;
        let current = self.source.as_ref().is_some_and(|source| source.is_current);
        if here && current && self.buf.len() - self.start <= BLOCK {
            self.buf.truncate(self.start);
            self.scanned = self.start;
        }
    }

    fn drop_what_was_handed_over(&mut self) {
        self.base = self.offset_of(self.start);
        self.mark = self.mark.saturating_sub(self.start);
        self.buf.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.given.range = 0..0;
    }

    /// Leaves the source behind; the line that goes on in the next file remembers where it began.
    fn leave(&mut self) {
        if self.start < self.buf.len() && self.begun.is_none() {
            let (file, offset) = (self.name(), self.offset_of(self.start));
            let span = self.carry.map_or(self.span, Span::at);
            self.begun = Some(Begun { file, offset, span });
        }
        self.source = None;
    }

    /// Takes the next file; `false` = there is none now.
    fn take_next(&mut self) -> bool {
        let Some((next, span)) = self.order.take() else { return false };
        self.source = next.open(&self.folder, &mut self.troubles);
        self.span = span;
        self.carry = None;
        self.mark = self.buf.len();
        self.base = self.first_offset();
        self.fresh = true;
        true
    }

    /// Returns where the reading of a file begins that was just taken.
    fn first_offset(&mut self) -> u64 {
        let Some((since, source)) = self.since.zip(self.source.as_ref()) else { return 0 };
        if self.is_in_a_line() {
            return 0;
        }
        let (offset, is_behind) = seek::before(source, since);
        if is_behind {
            self.since = None;
        }
        offset
    }
}

impl Default for Given {
    fn default() -> Self {
        let span = Span::ALWAYS;
        Self { range: 0..0, starts: true, time: None, span, file: Rc::default(), offset: 0 }
    }
}
