//! Lines, newest first, across the files of a log directory.

use super::filter::Filter;
use super::folder::Folder;
use super::forward::Forward;
use super::order::{Next, Order, unreadable};
use super::source::Source;
use super::stamp::{self, leading};
use super::{END, Line, MOST, Span, Trouble};
use memchr::{memchr, memrchr};
use ondisk::tai64n::Stamp;
use std::collections::VecDeque;
use std::ffi::CString;
use std::ops::Range;
use std::rc::Rc;

/// Bytes read at once.
const BLOCK: u64 = if cfg!(test) { 37 } else { 1 << 16 };
/// Bytes in which what is wanted is looked for first: where there is much of it, it is near.
const NEAR: u64 = if cfg!(test) { 17 } else { 1 << 12 };

/// A place in the directory's content: the number of a file, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: usize,
    offset: u64,
}

/// A file as it was at the beginning.
#[derive(Debug)]
struct Entry {
    next: Next,
    span: Span,
    /// How long it is; `None` = it was not opened yet.
    size: Option<u64>,
    /// It cannot be read; asked again it would say so again.
    is_lost: bool,
    /// What was said of it.
    told: Option<Trouble>,
}

/// Reads a log directory as it was when this was made, the newest line first.
///
/// [`Backward::find`] looks for the line before those that were taken, [`Backward::take`] takes
/// it, [`Backward::advance`] hands over its pieces. [`Backward::turn_round`] goes the other way,
/// from the oldest line that was taken on.
#[derive(Debug)]
pub struct Backward {
    folder: Folder,
    order: Order,
    filter: Option<Rc<Filter>>,
    files: Vec<Entry>,
    /// The file that was used last.
    open: Option<(usize, Rc<Source>)>,
    /// A part of it.
    block: Vec<u8>,
    block_at: Place,
    /// What is at and behind this was taken.
    end: Place,
    found: Option<Found>,
    /// What of the line that was taken was not handed over yet.
    left: (Place, Place),
    /// The last stamped line that was found behind unstamped ones: those down to it have its time.
    carry: Option<(Place, Option<Stamp>)>,
    given: Given,
    buf: Vec<u8>,
    troubles: Vec<Trouble>,
}

/// A line that was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    start: Place,
    time: Option<Stamp>,
    span: Span,
}

/// The piece that was handed over last.
#[derive(Debug)]
struct Given {
    starts: bool,
    time: Option<Stamp>,
    span: Span,
    file: Rc<CString>,
    offset: u64,
}

impl Backward {
    /// Begins behind the newest line.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(folder: Folder) -> Result<Self, Trouble> {
        Self::until(folder, END)
    }

    /// The same without the files that were begun after `until`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn until(folder: Folder, until: Stamp) -> Result<Self, Trouble> {
        let (mut order, mut troubles) = (Order::default(), Vec::new());
        order.refresh(&folder, &mut troubles)?;
        order.skip_begun_after(until);
        let mut files = Vec::new();
        while let Some((next, span)) = order.take() {
            files.push(Entry { next, span, size: None, is_lost: false, told: None });
        }
        let start = Place { file: 0, offset: 0 };
        let file = Rc::default();
        let mut this = Self {
            folder,
            order,
            filter: None,
            files,
            open: None,
            block: Vec::new(),
            block_at: start,
            end: start,
            found: None,
            left: (start, start),
            carry: None,
            given: Given { starts: true, time: None, span: Span::ALWAYS, file, offset: 0 },
            buf: Vec::new(),
            troubles,
        };
        if let Some(last) = this.files.len().checked_sub(1) {
            this.end = Place { file: last, offset: this.size(last) };
        }
        Ok(this)
    }

    /// Returns the directory.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Leaves out the lines that a filter does not want; without one, none.
    #[must_use]
    pub fn filtered(mut self, filter: Option<Rc<Filter>>) -> Self {
        self.filter = filter;
        self
    }

    /// Leaves out what has no newline yet at the end: it may be about to get one.
    pub fn skip_unfinished(&mut self) {
        let end = self.end;
        let is_finished = end.offset == 0 || self.byte_before(end) == Some(b'\n');
        if !is_finished && let Some(found) = self.look(false) {
            self.end = found.start;
        }
    }

    /// Looks for the line before those that were taken; `false` = there is none.
    ///
    /// A file that was closed before `since` is not opened.
    pub fn find(&mut self, since: Stamp) -> bool {
        while self.found.is_none() {
            self.pass_over(since);
            let oldest = self.files.get(self.end.file).is_none_or(|file| file.span.last < since);
            self.found = if oldest { None } else { self.look(true) };
            if self.found.is_none() {
                return false;
            }
            if !self.is_wanted() {
                self.take();
            }
        }
        true
    }

    /// Returns when the line that was found was written.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.found.map(|found| found.span)
    }

    /// Takes the line that was found.
    pub fn take(&mut self) {
        let Some(Found { start, time, span }) = self.found.take() else { return };
        self.left = (start, self.end);
        self.end = start;
        self.given = Given { starts: true, time, span, file: Rc::default(), offset: 0 };
    }

    /// Goes to the next piece of the line that was taken: its beginning comes first. `false` =
    /// that was all.
    pub fn advance(&mut self) -> bool {
        self.given.starts = self.left.0 == self.end;
        self.buf.clear();
        while self.buf.len() < MOST && self.left.0 < self.left.1 {
            let Place { file, offset } = self.left.0;
            let end = if file == self.left.1.file { self.left.1.offset } else { self.size(file) };
            let len = (end - offset).min((MOST - self.buf.len()) as u64);
            let before = self.buf.len();
            if before == 0 {
                self.given.offset = offset;
                self.given.file = self.name(file);
            }
            let mut buf = std::mem::take(&mut self.buf);
            buf.resize(before + len as usize, 0);
            let read = self.read(Place { file, offset }, &mut buf[before..]);
            buf.truncate(before + read);
            self.buf = buf;
            let done = offset + len;
            self.left.0 = if done < end || file == self.left.1.file {
                Place { file, offset: done }
            } else {
                Place { file: file + 1, offset: 0 }
            };
        }
        !self.buf.is_empty()
    }

    /// Returns the piece that [`Backward::advance`] went to.
    #[must_use]
    pub fn line(&self) -> Line<'_> {
        let Given { starts, time, span, file, offset } = &self.given;
        let (starts, time, span, offset) = (*starts, *time, *span, *offset);
        Line { time, span, bytes: &self.buf, starts, file, offset }
    }

    /// Goes the other way: begins with the oldest line that was taken, or with what comes, where
    /// none was.
    #[must_use]
    pub fn turn_round(mut self) -> Forward {
        let end = self.end;
        let mut rest = self.files.split_off(end.file.min(self.files.len()));
        let mut later: VecDeque<Next> = VecDeque::new();
        let mut place = None;
        let before = self.files.iter().rev().find_map(|entry| entry.next.closed());
        let mut closed = before;
        for (i, entry) in rest.drain(..).enumerate() {
            if i > 0 {
                later.push_back(entry.next);
                continue;
            }
            closed = entry.next.closed().or(before);
            let open = self.open.take().filter(|(file, _)| *file == end.file);
            let source = open.and_then(|(_, source)| Rc::into_inner(source));
            let source = source.or_else(|| entry.next.open(&self.folder, &mut self.troubles));
            place = source.map(|source| (source, end.offset, entry.span));
        }
        self.order.set_queue(later, closed);
        Forward::behind(self.folder, self.order, place, self.troubles).filtered(self.filter)
    }

    /// Returns what could not be read since this was asked last.
    pub fn troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Tells whether the filter wants the line that was found.
    fn is_wanted(&mut self) -> bool {
        let Some((filter, found)) = self.filter.clone().zip(self.found) else { return true };
        self.left = (found.start, self.end);
        self.advance();
        filter.wants(&self.buf)
    }

    /// Passes over whole lines that the filter cannot want.
    fn pass_over(&mut self, since: Stamp) {
        let Some(filter) = self.filter.clone().filter(|filter| filter.has_needle()) else { return };
        let mut room = NEAR;
        loop {
            let Place { file, offset: end } = self.end;
            if end == 0 {
                let before = file.checked_sub(1);
                let Some(before) = before.filter(|i| self.files[*i].span.last >= since) else {
                    return;
                };
                self.end = Place { file: before, offset: self.size(before) };
                continue;
            }
            let from = end.saturating_sub(room);
            let part = self.part(file, from..end);
            if let Some(at) = filter.last(part) {
                let newline = memchr(b'\n', &part[at..]);
                self.end.offset = newline.map_or(end, |newline| from + (at + newline + 1) as u64);
                return;
            }
            // The line in which this part begins is looked at next, with what is before.
            let whole = part.split_last().and_then(|(_, part)| memchr(b'\n', part));
            let Some(newline) = whole else { return };
            self.end.offset = from + newline as u64 + 1;
            if from == 0 {
                // It may have begun in the file before.
                return;
            }
            room = (room * 2).min(BLOCK);
        }
    }

    /// Returns a part of a file that is no longer than a block; less where it cannot be read.
    fn part(&mut self, file: usize, range: Range<u64>) -> &[u8] {
        let have = self.block_at.offset..self.block_at.offset + self.block.len() as u64;
        let is_here = have.start <= range.start && range.end <= have.end;
        if self.block_at.file != file || !is_here {
            self.load(file, range.end);
        }
        let skip = (range.start - self.block_at.offset) as usize;
        self.block.get(skip..skip + (range.end - range.start) as usize).unwrap_or_default()
    }

    /// Finds the line before `end`, and its time if that is asked for.
    fn look(&mut self, timed: bool) -> Option<Found> {
        let start = self.line_start(self.end)?;
        if !timed {
            return Some(Found { start, time: None, span: Span::ALWAYS });
        }
        let time = self.time_of(start);
        let known = time.or_else(|| self.time_before(start));
        let span = known.map_or(self.files[start.file].span, Span::at);
        Some(Found { start, time, span })
    }

    /// Returns where the line begins that ends at `end`; `None` where nothing is before that.
    fn line_start(&mut self, end: Place) -> Option<Place> {
        let mut at = end;
        let mut is_last_byte = true;
        let mut start = None;
        loop {
            if at.offset == 0 {
                // A place at the beginning of a file is one between two lines, or in one.
                if start.is_some() && self.begins_a_line(at.file) {
                    return start;
                }
                let Some(before) = at.file.checked_sub(1) else { return start };
                at = Place { file: before, offset: self.size(before) };
                continue;
            }
            let limit = at.offset - u64::from(is_last_byte);
            is_last_byte = false;
            if let Some(newline) = self.newline_before(at.file, limit) {
                let found = Place { file: at.file, offset: newline + 1 };
                // Behind the last byte of a file the next one begins.
                return if newline + 1 == self.size(at.file) { start } else { Some(found) };
            }
            at.offset = 0;
            start = Some(at);
        }
    }

    /// Tells whether a line begins with this file whatever is before: a stamp does.
    fn begins_a_line(&mut self, file: usize) -> bool {
        self.stamp_at(Place { file, offset: 0 }).is_some()
    }

    /// Returns the moment that the line at `start` begins with, also where it goes on in the files
    /// behind.
    fn time_of(&mut self, start: Place) -> Option<Stamp> {
        let mut head = [0; stamp::MOST];
        let (mut len, mut at) = (0, start);
        while len < head.len() && at < self.end {
            let last = at.file == self.end.file;
            let size = if last { self.end.offset } else { self.size(at.file) };
            let most = head.len().min(len + (size - at.offset) as usize);
            len += self.read(at, &mut head[len..most]);
            at = Place { file: at.file + 1, offset: 0 };
        }
        leading(&head[..len]).map(|found| found.stamp)
    }

    fn stamp_at(&mut self, place: Place) -> Option<Stamp> {
        let mut head = [0; stamp::MOST];
        let len = self.read(place, &mut head);
        let line = head[..len].split_inclusive(|b| *b == b'\n').next()?;
        leading(line).map(|found| found.stamp)
    }

    /// Returns the time of the last stamped line before `start` in the same file.
    fn time_before(&mut self, start: Place) -> Option<Stamp> {
        if let Some((from, time)) = self.carry
            && from.file == start.file
            && from < start
        {
            return time;
        }
        let mut at = start;
        let mut time = None;
        while time.is_none() && at.offset > 0 {
            let newline = self.newline_before(at.file, at.offset - 1);
            at.offset = newline.map_or(0, |newline| newline + 1);
            // What a file begins with may be the end of a line; a stamp is not.
            time = self.stamp_at(at);
        }
        self.carry = Some((at, time));
        time
    }

    /// Returns where the last newline before `limit` is.
    fn newline_before(&mut self, file: usize, limit: u64) -> Option<u64> {
        let mut limit = limit;
        while limit > 0 {
            let have = self.block_at.offset..self.block_at.offset + self.block.len() as u64;
            if self.block_at.file != file || !have.contains(&(limit - 1)) {
                self.load(file, limit);
            }
            let from = self.block_at.offset;
            let part = self.block.get(..(limit - from) as usize)?;
            if let Some(at) = memrchr(b'\n', part) {
                return Some(from + at as u64);
            }
            limit = from;
        }
        None
    }

    /// Reads the part of a file that ends at `end`.
    fn load(&mut self, file: usize, end: u64) {
        let offset = end.saturating_sub(BLOCK);
        self.block.clear();
        self.block_at = Place { file, offset };
        let mut block = std::mem::take(&mut self.block);
        block.resize((end - offset) as usize, 0);
        let len = self.read(self.block_at, &mut block);
        // What can no longer be read is no line.
        block[len..].fill(0);
        self.block = block;
    }

    fn byte_before(&mut self, place: Place) -> Option<u8> {
        let mut byte = [0];
        let before = Place { offset: place.offset.checked_sub(1)?, ..place };
        (self.read(before, &mut byte) == 1).then_some(byte[0])
    }

    /// Reads from a place on, not beyond what the file had at the beginning.
    fn read(&mut self, place: Place, buf: &mut [u8]) -> usize {
        let left = self.size(place.file).saturating_sub(place.offset);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return 0;
        }
        if self.block_at.file == place.file
            && let Some(skip) = place.offset.checked_sub(self.block_at.offset)
            && let Some(known) = self.block.get(skip as usize..).and_then(|rest| rest.get(..len))
        {
            buf[..len].copy_from_slice(known);
            return len;
        }
        let Some(source) = self.source(place.file) else { return 0 };
        match source.read_at(&mut buf[..len], place.offset) {
            Ok(len) => len,
            Err(why) => {
                self.troubles.push(unreadable(&source, why));
                0
            }
        }
    }

    fn name(&self, file: usize) -> Rc<CString> {
        self.files.get(file).map(|entry| entry.next.name().clone().into()).unwrap_or_default()
    }

    fn size(&mut self, file: usize) -> u64 {
        if let Some(size) = self.files.get(file).and_then(|entry| entry.size) {
            return size;
        }
        let size = self.source(file).and_then(|source| source.size().ok()).unwrap_or(0);
        if let Some(entry) = self.files.get_mut(file) {
            entry.size = Some(size);
        }
        size
    }

    fn source(&mut self, file: usize) -> Option<Rc<Source>> {
        if let Some((open, source)) = &self.open
            && *open == file
        {
            return Some(source.clone());
        }
        let entry = self.files.get_mut(file).filter(|entry| !entry.is_lost)?;
        let mut troubles = Vec::new();
        let source = entry.next.clone().open(&self.folder, &mut troubles);
        for trouble in troubles {
            if entry.told.as_ref() != Some(&trouble) {
                entry.told = Some(trouble.clone());
                self.troubles.push(trouble);
            }
        }
        entry.is_lost = source.is_none();
        let source = Rc::new(source?);
        self.open = Some((file, source.clone()));
        Some(source)
    }
}
