//! The way of an item to the process for it, and of its answer.

use super::large::LEAST;
use super::link::{Came, read, readable};
use std::rc::Rc;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags;

/// The item on its way to the process for it, and its answer on the way back.
#[derive(Debug)]
pub(super) struct OneItem {
    item: Rc<Vec<u8>>,
    written: usize,
    stdin: Option<Fd>,
    answer: Option<Fd>,
    limit: usize,
    /// What it says is not read any more.
    is_deaf: bool,
    /// Bytes that may come of it for now.
    pub(super) leave: usize,
    /// The answer so far; one byte more than the limit where it is too long.
    pub(super) bytes: Vec<u8>,
}

impl OneItem {
    /// Makes the ways of an item that is not known yet.
    pub(super) fn new(limit: usize, stdin: Fd, answer: Fd) -> Self {
        let (stdin, answer) = (Some(stdin), Some(answer));
        let (item, is_deaf, leave) = (Rc::default(), false, LEAST);
        Self { item, written: 0, stdin, answer, limit, is_deaf, leave, bytes: Vec::new() }
    }

    /// Takes the item that is to go this way, before anything is written.
    pub(super) fn carry(&mut self, item: Rc<Vec<u8>>) {
        self.item = item;
    }

    /// Writes what can be written of the item, then closes its way.
    pub(super) fn write(&mut self) {
        while let Some(to) = &self.stdin
            && let rest @ [_, ..] = &self.item[self.written..]
        {
            match fd::write(to.raw(), rest) {
                Ok(n) => self.written += n,
                // It does not want to know.
                Err(Errno(flags::EPIPE)) => break,
                // No room in the pipe, or no memory for it: poll says when it is worth another try.
                Err(_) => return,
            }
        }
        self.stdin = None;
    }

    /// Reads what is there of the answer, about `most` bytes at once; where it is too long, only
    /// that it is. `to_end`: with leave or without.
    pub(super) fn read(&mut self, room: &mut [u8], most: usize, to_end: bool) {
        let mut moved = 0;
        while let Some(from) = &self.answer
            && moved < most
            && (to_end || self.may_go_on())
            && !self.is_deaf
        {
            let piece = room.len().min(if to_end { usize::MAX } else { self.leave });
            match read(from, &mut room[..piece]) {
                Came::Bytes(n) => {
                    moved += n;
                    let free = (self.limit + 1).saturating_sub(self.bytes.len());
                    self.bytes.extend_from_slice(&room[..n.min(free)]);
                }
                Came::Nothing => return,
                Came::End | Came::Unread => self.answer = None,
            }
        }
    }

    const fn may_go_on(&self) -> bool {
        self.bytes.len() < self.leave
    }

    /// Tells whether there is an answer to listen to.
    const fn is_heard(&self) -> bool {
        self.answer.is_some() && !self.is_deaf
    }

    pub(super) fn give_up(&mut self) {
        self.is_deaf = true;
        self.bytes = Vec::new();
    }

    /// Tells whether it was given up: what came of the answer is none.
    pub(super) const fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    /// Returns what to wait for: the item's way and the answer's.
    #[must_use]
    pub(super) fn interest(&self) -> [PollFd; 2] {
        let to = self.stdin.as_ref().map_or(PollFd::none(), |to| PollFd::writable(to.raw()));
        let heard = self.is_heard() && self.may_go_on();
        [to, readable(self.answer.as_ref().filter(|_| heard))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::{self, Link};
    use super::*;
    use machine::exo::Mode;

    #[test]
    fn an_answer_is_read_to_the_limit_and_one_byte_more() {
        let (ends, others) = link::make(100, 100, Mode::PerItem).unwrap();
        let Link::PerItem(mut one) = ends.link else { panic!("per item") };
        one.carry(Rc::new(b"item".to_vec()));
        one.write();
        let mut room = [0; 64];
        assert_eq!(fd::read(others[0].raw(), &mut room), Ok(4));
        assert_eq!(fd::read(others[0].raw(), &mut room), Ok(0));
        fd::write(others[3].raw(), &[b'y'; 200]).unwrap();
        one.read(&mut room, usize::MAX, false);
        assert_eq!(one.bytes.len(), 101);
    }

    #[test]
    fn a_large_answer_waits_for_leave() {
        let limit = 4 << 20;
        let (ends, others) = link::make(100, limit, Mode::PerItem).unwrap();
        let Link::PerItem(mut one) = ends.link else { panic!("per item") };
        fd::set_nonblock(others[3].raw(), true).unwrap();
        let (mut room, piece) = (vec![0; 64 << 10], [b'y'; 4 << 10]);
        let mut sent = 0;
        let small = 1 << 20;
        for leave in [small, usize::MAX] {
            let has_leave = leave > small;
            one.leave = leave;
            loop {
                one.read(&mut room, 64 << 10, false);
                match fd::write(others[3].raw(), &piece) {
                    Ok(n) if sent < limit => sent += n,
                    _ => break,
                }
            }
            assert_eq!(one.bytes.len() > small, has_leave);
            // There is more in the pipe, which wakes nobody.
            let ready = fd::poll(&mut [one.interest()[1]], Some(0));
            assert!(has_leave || ready == Ok(0));
        }
        one.leave = small;
        one.read(&mut room, usize::MAX, true);
        assert!(one.bytes.len() >= sent);
    }
}
