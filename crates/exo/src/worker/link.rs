//! Our ends of what a participant process has: its output, and the way of items and answers.

use super::large::LEAST;
use super::one_item::OneItem;
use super::printed::{Printed, READ_BY_NAME, from_participant};
use machine::exo::Mode;
use participant::protocol::ToParticipant;
use std::collections::VecDeque;
use std::rc::Rc;
use sys::linux::bytes;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::{self, flags};
use sys::linux::socket::{self, Kind};
use work::Lease;

/// Bytes read at once: as much as a pipe holds.
pub(super) const AT_ONCE: usize = 64 << 10;
/// What a line may have besides an item.
const AROUND: usize = 64 << 10;
/// Pieces written at once: those of a line.
const PIECES: usize = 3;
/// Capacity that is kept between two lines.
const KEPT: usize = 64 << 10;

/// Bytes of stages that are not recorded yet, from which on a participant is not listened to; and
/// what each takes besides its own.
const STAGES: usize = 64 << 10;
const STAGE: usize = 256;

/// Words that a participant may leave unread and still be listened to.
const BEHIND: usize = 1000;

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// So many bytes.
    Bytes(usize),
    /// None for now.
    Nothing,
    /// None ever again.
    End,
    /// None ever again, and not all of what was written was read.
    Unread,
}

pub(super) fn read(from: &Fd, room: &mut [u8]) -> Came {
    match fd::read(from.raw(), room) {
        Ok(0) => Came::End,
        Ok(n) => Came::Bytes(n),
        Err(Errno(flags::EAGAIN)) => Came::Nothing,
        // Closed by the other end, which had not read everything.
        Err(Errno(flags::ECONNRESET)) => Came::Unread,
        Err(_) => Came::End,
    }
}

pub(super) fn readable(fd: Option<&Fd>) -> PollFd {
    fd.map_or(PollFd::none(), |fd| PollFd::readable(fd.raw()))
}

/// The way of items and answers.
#[derive(Debug)]
pub(super) enum Link {
    /// To the process for one item.
    PerItem(OneItem),
    /// To a persistent one.
    Persistent(Talk),
}

impl Link {
    /// Returns how many bytes came of what goes on.
    pub(super) fn said(&self) -> usize {
        match self {
            Self::PerItem(one) => one.bytes.len(),
            Self::Persistent(talk) => talk.incoming.len(),
        }
    }

    /// Tells whether it is not we who keep it from going on, as far as its leave goes. Of one whose talk is
    /// over nothing is waited for: it is being ended.
    pub(super) fn is_heard(&self) -> bool {
        match self {
            Self::PerItem(_) => true,
            Self::Persistent(talk) => !talk.is_over() && !talk.waits_for_commit(),
        }
    }

    /// Listens no more. Its end stays open: it waits to be killed, rather than to die of a closed
    /// one.
    pub(super) fn give_up(&mut self) {
        match self {
            Self::PerItem(one) => one.give_up(),
            Self::Persistent(talk) => talk.give_up(),
        }
    }

    /// Lets so many bytes come of what goes on.
    pub(super) fn may_say(&mut self, leave: usize) {
        match self {
            Self::PerItem(one) => one.leave = leave,
            Self::Persistent(talk) => talk.leave = leave,
        }
    }
}

/// Our ends.
#[derive(Debug)]
pub(super) struct Ends {
    /// Its descriptor 1.
    pub(super) out: Printed,
    /// Its descriptor 2.
    pub(super) err: Printed,
    /// Its descriptor 3, and 0 where that is the item's way.
    pub(super) link: Link,
}

/// The other ends: 0, 1, 2 and 3 of the process.
pub(super) type Others = [Fd; 4];

/// Makes all ends. An answer has `item_limit` bytes at most.
///
/// # Errors
/// As pipe2(2), fchmod(2), socketpair(2), open(2).
pub(super) fn make(line_limit: usize, item_limit: usize, mode: Mode) -> Result<(Ends, Others)> {
    let (out, out_end) = Printed::make(line_limit)?;
    let (err, err_end) = Printed::make(line_limit)?;
    let (link, stdin, three) = match mode {
        Mode::PerItem => {
            let (stdin, ours) = fd::pipe()?;
            fd::set_nonblock(ours.raw(), true)?;
            file::set_mode(stdin.raw(), READ_BY_NAME)?;
            let (answer, three) = from_participant()?;
            (Link::PerItem(OneItem::new(item_limit, ours, answer)), stdin, three)
        }
        Mode::Persistent => {
            let (ours, three) = socket::pair(Kind::Stream)?;
            fd::set_nonblock(ours.raw(), true)?;
            let null = file::open(file::HERE, c"/dev/null", flags::O_RDONLY, 0)?;
            (Link::Persistent(Talk::new(ours, item_limit)), fd::beyond_standard(null)?, three)
        }
    };
    Ok((Ends { out, err, link }, [stdin, out_end, err_end, three]))
}

/// A piece of what is to be said.
#[derive(Debug)]
enum Piece {
    Words(Vec<u8>),
    Item(Rc<Vec<u8>>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Words(bytes) => bytes,
            Self::Item(item) => item,
        }
    }
}

/// Lines to and from a persistent participant.
#[derive(Debug)]
pub(super) struct Talk {
    socket: Option<Fd>,
    outgoing: VecDeque<Piece>,
    /// Bytes written of the first piece.
    written: usize,
    incoming: Vec<u8>,
    /// Bytes of it that were given out as lines.
    taken: usize,
    /// Bytes of it that hold no further end of a line.
    looked: usize,
    /// Items that it sent and that are not safe in their queue yet.
    unanswered: usize,
    /// Stages that are not recorded yet: of which delivery, and what each takes.
    stages: VecDeque<(Lease, usize)>,
    /// How many of either are.
    safe: u64,
    /// Most bytes of a line.
    most: usize,
    /// Bytes that may come of a line for now.
    leave: usize,
    /// What it says is not read any more.
    is_deaf: bool,
    /// It ended without having read everything.
    was_unread: bool,
    /// Nothing was said since an item was handed over.
    item_is_last: bool,
}

impl Talk {
    fn new(socket: Fd, limit: usize) -> Self {
        Self {
            most: limit.saturating_add(AROUND),
            leave: LEAST,
            socket: Some(socket),
            outgoing: VecDeque::new(),
            written: 0,
            incoming: Vec::new(),
            taken: 0,
            looked: 0,
            unanswered: 0,
            stages: VecDeque::new(),
            safe: 0,
            is_deaf: false,
            was_unread: false,
            item_is_last: false,
        }
    }

    /// Notes that an item of the participant's is on its way to a queue.
    pub(super) const fn expect_sent(&mut self) {
        self.unanswered += 1;
    }

    /// Says what became of such an item.
    pub(super) fn say_sent(&mut self, message: &ToParticipant<'_>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.safe += 1;
        self.say(message);
    }

    /// Notes that a stage is on its way to be recorded.
    pub(super) fn expect_staged(&mut self, lease: Lease, bytes: usize) {
        self.stages.push_back((lease, bytes + STAGE));
    }

    /// Notes that a stage is recorded, or never will be. Tells whether it was said here.
    pub(super) fn staged(&mut self, lease: Lease) -> bool {
        let is_ours = self.stages.front().is_some_and(|(first, _)| *first == lease);
        self.safe += u64::from(is_ours);
        is_ours && self.stages.pop_front().is_some()
    }

    /// Returns how many items and stages have become safe; `None` = it waits for none.
    pub(super) fn safe(&self) -> Option<u64> {
        self.waits_for_commit().then_some(self.safe)
    }

    /// Tells whether what it said is to be safe before more of it is heard: what waits for that
    /// would grow.
    pub(super) fn waits_for_commit(&self) -> bool {
        self.unanswered > 0 || self.stages.iter().map(|(_, bytes)| bytes).sum::<usize>() >= STAGES
    }

    /// Tells whether its other end was closed before an item was read that was said last.
    pub(super) fn item_was_unread(&self) -> bool {
        // Where it had closed before, nothing was written at all.
        let is_unsaid = self.socket.is_none() && !self.outgoing.is_empty();
        (self.was_unread || is_unsaid) && self.item_is_last
    }

    fn give_up(&mut self) {
        self.is_deaf = true;
        self.incoming = Vec::new();
        (self.taken, self.looked) = (0, 0);
    }

    /// Says something.
    pub(super) fn say(&mut self, message: &ToParticipant<'_>) {
        let mut line = Vec::new();
        message.write(&mut line);
        self.item_is_last = false;
        self.put([Piece::Words(line)]);
    }

    /// Hands an item over, without a copy of it.
    pub(super) fn hand_over(&mut self, head: Vec<u8>, item: Rc<Vec<u8>>, tail: &[u8]) {
        self.item_is_last = true;
        self.put([Piece::Words(head), Piece::Item(item), Piece::Words(tail.to_vec())]);
    }

    /// Writes it, or behind what waits for room once there is some, which poll tells of: whoever
    /// writes then listens again, too.
    fn put<const N: usize>(&mut self, pieces: [Piece; N]) {
        let waits = !self.outgoing.is_empty();
        self.outgoing.extend(pieces);
        if !waits {
            self.write();
        }
    }

    /// Writes what can be written; a line goes out whole where it fits, so that its reader wakes
    /// once.
    pub(super) fn write(&mut self) {
        while let Some(to) = self.socket.as_ref().filter(|_| !self.outgoing.is_empty()) {
            let mut parts = [&[][..]; PIECES];
            for (part, piece) in parts.iter_mut().zip(&self.outgoing) {
                *part = piece.bytes();
            }
            parts[0] = parts[0].get(self.written..).unwrap_or_default();
            match fd::write_parts(to.raw(), &parts) {
                Ok(n) => self.written(n),
                // Its end is read, too; that is what counts.
                Err(Errno(flags::EPIPE | flags::ECONNRESET)) => {
                    self.was_unread = true;
                    self.outgoing.clear();
                }
                // No room in the socket, or no memory for it: poll says when to try again.
                Err(_) => return,
            }
        }
    }

    /// Drops the pieces that are out.
    fn written(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some(first) = self.outgoing.front()
            && first.bytes().len() <= self.written
        {
            self.written -= first.bytes().len();
            self.outgoing.pop_front();
        }
    }

    /// Reads what is there, about `most` bytes at once, and no more than a line may have; it is kept
    /// until [`line`](Self::line) takes it. `to_end`: with leave or without, and whatever waits. Tells
    /// whether anything came.
    pub(super) fn read(&mut self, room: &mut [u8], most: usize, to_end: bool) -> bool {
        let mut moved = 0;
        while let Some(from) = &self.socket
            && self.incoming.len() <= self.most
            && (to_end || self.may_go_on() && !self.is_behind())
            && moved < most
            && !self.is_deaf
        {
            // No more than it has leave for, but where that is a large one.
            let piece = room.len().min(if to_end { usize::MAX } else { self.leave });
            match read(from, &mut room[..piece]) {
                Came::Bytes(n) => {
                    self.incoming.extend_from_slice(&room[..n]);
                    moved += n;
                    // That was all there was.
                    if n < piece {
                        return true;
                    }
                }
                Came::Nothing => return moved > 0,
                Came::End => self.socket = None,
                Came::Unread => (self.socket, self.was_unread) = (None, true),
            }
        }
        moved > 0 || self.socket.is_none()
    }

    const fn may_go_on(&self) -> bool {
        self.incoming.len() < self.leave
    }

    /// Returns the next whole line, without its end.
    pub(super) fn line(&mut self) -> Option<Vec<u8>> {
        let Some(at) = bytes::find(b'\n', &self.incoming[self.looked..]) else {
            self.incoming.drain(..self.taken);
            self.incoming.shrink_to(KEPT);
            (self.taken, self.looked) = (0, self.incoming.len());
            return None;
        };
        let (begin, end) = (self.taken, self.looked + at);
        // The usual case first: the line is all there is.
        if begin == 0 && end + 1 == self.incoming.len() {
            self.looked = 0;
            let mut line = std::mem::take(&mut self.incoming);
            line.truncate(end);
            return Some(line);
        }
        (self.taken, self.looked) = (end + 1, end + 1);
        Some(self.incoming[begin..end].to_vec())
    }

    /// Gives the memory of a line back that was not kept.
    pub(super) fn reuse(&mut self, mut line: Vec<u8>) {
        if self.incoming.is_empty() && line.capacity() <= KEPT {
            line.clear();
            self.incoming = line;
        }
    }

    /// Tells whether nothing will come any more, or nothing that could be understood.
    pub(super) fn is_over(&self) -> bool {
        self.socket.is_none() || self.is_deaf || self.looked > self.most
    }

    /// Returns how it made an end itself, where it did.
    pub(super) fn broke(&self) -> Option<String> {
        let long = || format!("said a line of more than {} bytes", self.most);
        let is_gone = || self.socket.is_none().then(|| "closed its socket".to_owned());
        (self.looked > self.most).then(long).or_else(is_gone)
    }

    /// Tells whether it is not listened to for now: it speaks and does not listen, or says more than
    /// is recorded meanwhile.
    pub(super) fn is_behind(&self) -> bool {
        // What is said after its end was closed waits for nobody.
        let is_unread = self.socket.is_some() && self.outgoing.len() >= BEHIND;
        self.waits_for_commit() || is_unread
    }

    /// Tells whether there is more to be heard of what was read before it was behind, which it is no
    /// more.
    pub(super) fn can_go_on(&self) -> bool {
        self.looked < self.incoming.len() && !self.is_behind()
    }

    /// Gives back what lines took that were heard, once that is more than what is left.
    pub(super) fn shrink(&mut self) {
        if self.taken > self.incoming.len() - self.taken {
            self.incoming.drain(..self.taken);
            self.incoming.shrink_to(KEPT);
            (self.taken, self.looked) = (0, self.looked - self.taken);
        }
    }

    /// Returns what to wait for: room to write, and bytes to read.
    #[must_use]
    pub(super) fn interest(&self) -> [PollFd; 2] {
        let socket = self.socket.as_ref().filter(|_| !self.is_over());
        let waits = socket.filter(|_| !self.outgoing.is_empty());
        let heard = socket.filter(|_| self.may_go_on() && !self.is_behind());
        [waits.map_or(PollFd::none(), |fd| PollFd::writable(fd.raw())), readable(heard)]
    }
}

#[cfg(test)]
mod tests;
