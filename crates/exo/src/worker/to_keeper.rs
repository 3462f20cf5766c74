//! The way to the keeper: orders out, reports in.

use crate::order::{REPORT, Report};
use ::log::warn;
use std::collections::VecDeque;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::{EAGAIN, ECONNRESET};
use sys::linux::{socket, time};

/// How long the keeper may take to read an order: it does nothing that could be waited for.
const KEEPER: u64 = 10 * time::SECOND;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It reads no order.
    Deaf,
    /// The keeper is gone.
    Gone,
    /// The system refuses.
    Refused(Errno),
}

/// Our end of it.
pub(super) struct ToKeeper {
    socket: Fd,
    /// Came while an order waited for the keeper to read, and was not heard yet.
    reports: VecDeque<Report>,
}

impl ToKeeper {
    pub(super) const fn new(socket: Fd) -> Self {
        Self { socket, reports: VecDeque::new() }
    }

    pub(super) fn interest(&self) -> PollFd {
        PollFd::readable(self.socket.raw())
    }

    /// Tells whether there is a report of which the socket says nothing any more.
    pub(super) fn has_report(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Returns the next report, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Report>, Wrong> {
        match self.reports.pop_front() {
            Some(report) => Ok(Some(report)),
            None => self.receive(),
        }
    }

    fn receive(&self) -> Result<Option<Report>, Wrong> {
        let mut bytes = [0; REPORT];
        loop {
            match socket::receive(self.socket.raw(), &mut bytes) {
                // The latter where it left something unread.
                Ok((0, _)) | Err(Errno(ECONNRESET)) => return Err(Wrong::Gone),
                Ok((len, _)) => match bytes.get(..len).and_then(Report::decode) {
                    Some(report) => return Ok(Some(report)),
                    None => warn!("the keeper said something without sense"),
                },
                Err(Errno(EAGAIN)) => return Ok(None),
                Err(why) => return Err(Wrong::Refused(why)),
            }
        }
    }

    /// Sends an order.
    pub(super) fn order(&mut self, bytes: &[u8], fds: &[i32]) -> Result<(), Wrong> {
        loop {
            match socket::send(self.socket.raw(), bytes, fds) {
                Err(Errno(EAGAIN)) => self.give_way()?,
                sent => return sent.map_err(Wrong::Refused),
            }
        }
    }

    /// Waits until it reads; it reads nothing while its reports wait for us.
    fn give_way(&mut self) -> Result<(), Wrong> {
        let mut wait = [self.interest(), PollFd::writable(self.socket.raw())];
        if !matches!(fd::poll(&mut wait, Some(KEEPER)), Ok(1..)) {
            return Err(Wrong::Deaf);
        }
        while let Some(report) = self.receive()? {
            self.reports.push_back(report);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{LONGEST, Order, Signal};
    use std::time::{Duration, Instant};
    use sys::linux::socket::Kind;

    /// Sends reports, each before it reads anything, as the keeper does; returns how many orders came then.
    fn keep(socket: &Fd, reports: u32, orders: usize) -> usize {
        let poll = |wait: PollFd| assert_eq!(fd::poll(&mut [wait], Some(KEEPER)), Ok(1));
        for serial in 0..reports {
            let report = Report::Started { instance: 0, serial, pid: 1 }.encode();
            while socket::send(socket.raw(), &report, &[]).is_err() {
                poll(PollFd::writable(socket.raw()));
            }
        }
        let mut count = 0;
        while count < orders {
            poll(PollFd::readable(socket.raw()));
            count += usize::from(socket::receive(socket.raw(), &mut [0; LONGEST]).is_ok());
        }
        count
    }

    #[test]
    fn many_orders_meet_many_reports_and_nobody_waits_for_the_other() {
        const MANY: usize = 3000;
        let (ours, theirs) = socket::pair(Kind::Messages).unwrap();
        for end in [&ours, &theirs] {
            fd::set_nonblock(end.raw(), true).unwrap();
        }
        let mut to_keeper = ToKeeper::new(ours);
        let begun = Instant::now();
        let keeper = std::thread::spawn(move || (keep(&theirs, MANY as u32, MANY), theirs));
        let order =
            Order::Signal { instance: 0, serial: 1, signal: Signal::Term }.encode().unwrap();
        for _ in 0..MANY {
            assert_eq!(to_keeper.order(&order, &[]), Ok(()));
        }
        assert!(to_keeper.has_report());
        let (count, _theirs) = keeper.join().unwrap();
        assert_eq!(count, MANY);
        for wanted in 0..MANY as u32 {
            let report = to_keeper.next().unwrap();
            assert!(matches!(report, Some(Report::Started { serial, .. }) if serial == wanted));
        }
        assert!(matches!(to_keeper.next(), Ok(None)));
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
}
