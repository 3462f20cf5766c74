//! Waiting on descriptors that stay the same from one wait to the next: epoll(7).
//!
//! ppoll(2) is told its descriptors each time, hangs itself on each of them and off again; here
//! that is done once.

use crate::errno::{Errno, Result, cvt};
use crate::fd::{self, Fd};

/// Most descriptors that one wait finds ready; others are found by the next.
const MOST: usize = 4;

/// Descriptors that are waited on until they can be read.
pub struct Epoll(Fd);

/// Those that are ready.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    fds: [i32; MOST],
    len: usize,
}

impl Ready {
    /// Tells whether reading this descriptor would not wait.
    #[must_use]
    pub fn has(&self, fd: i32) -> bool {
        self.fds[..self.len].contains(&fd)
    }
}

impl Epoll {
    /// Makes one that waits on nothing.
    ///
    /// # Errors
    /// As `epoll_create1(2)`.
    pub fn new() -> Result<Self> {
        // SAFETY: epoll_create1 takes a number and touches no memory.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        fd::beyond_standard(Fd::from_raw(fd)).map(Self)
    }

    /// Returns its own descriptor, which can be read while one of the others can.
    #[must_use]
    pub fn raw(&self) -> i32 {
        self.0.raw()
    }

    /// Waits on this descriptor, too.
    ///
    /// # Errors
    /// `EPERM` for a file that is always ready; else as `epoll_ctl(2)`.
    pub fn add(&self, fd: i32) -> Result<()> {
        let data = fd.cast_unsigned().into();
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: data };
        // SAFETY: `event` is valid for reads during the call.
        cvt(unsafe { libc::epoll_ctl(self.raw(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// Waits on this descriptor no longer.
    ///
    /// # Errors
    /// `ENOENT` where it was not waited on.
    pub fn remove(&self, fd: i32) -> Result<()> {
        let event = core::ptr::null_mut();
        // SAFETY: to remove one the kernel reads no event.
        cvt(unsafe { libc::epoll_ctl(self.raw(), libc::EPOLL_CTL_DEL, fd, event) })?;
        Ok(())
    }

    /// Waits until one is ready, or a signal comes: then none is.
    ///
    /// # Errors
    /// As `epoll_wait(2)`.
    pub fn wait(&self) -> Result<Ready> {
        self.events(-1)
    }

    /// Tells which are ready, without waiting.
    ///
    /// # Errors
    /// As `epoll_wait(2)`.
    pub fn look(&self) -> Result<Ready> {
        self.events(0)
    }

    fn events(&self, millis: i32) -> Result<Ready> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        // SAFETY: `events` is valid for writes of as many events as are asked for.
        let answer =
            cvt(unsafe { libc::epoll_wait(self.raw(), events.as_mut_ptr(), MOST as i32, millis) });
        let len = match answer {
            Err(Errno(libc::EINTR)) => 0,
            answer => answer? as usize,
        };
        Ok(Ready { fds: events.map(|event| event.u64 as i32), len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    #[test]
    fn what_can_be_read_is_found_until_it_is_removed() {
        let (one, to_one) = fd::pipe().unwrap();
        let (two, to_two) = fd::pipe().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(one.raw()).unwrap();
        epoll.add(two.raw()).unwrap();
        assert!(!epoll.look().unwrap().has(one.raw()));
        fd::write_all(to_one.raw(), b"1").unwrap();
        let found = epoll.wait().unwrap();
        assert!(found.has(one.raw()) && !found.has(two.raw()));
        // An end can be read as well.
        drop(to_two);
        let found = epoll.wait().unwrap();
        assert!(found.has(one.raw()) && found.has(two.raw()));
        epoll.remove(one.raw()).unwrap();
        let found = epoll.wait().unwrap();
        assert!(!found.has(one.raw()) && found.has(two.raw()));
        assert_eq!(epoll.remove(one.raw()), Err(Errno(libc::ENOENT)));
    }

    #[test]
    fn a_file_is_refused() {
        let file = file::open(file::HERE, c"/tmp", libc::O_RDWR | libc::O_TMPFILE, 0o600).unwrap();
        assert_eq!(Epoll::new().unwrap().add(file.raw()), Err(Errno(libc::EPERM)));
    }
}
