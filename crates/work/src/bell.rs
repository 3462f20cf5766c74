//! Waking takers of other processes, and finding out which of them are dead.

use crate::change::TakerId;
use crate::place::{Identity, Place, identity};
use crate::trouble::Trouble;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// The folder of sockets, one for each taker.
pub(crate) struct Bells {
    folder: File,
    id: Identity,
    path: PathBuf,
    sender: UnixDatagram,
}

/// What another process rings with.
const OTHERS: [u8; 1] = [1];
/// What our own process rings with.
pub(crate) const OWN: [u8; 1] = [0];

/// What became of a ring.
#[derive(Debug)]
pub(crate) enum Rung {
    /// It is awake, or will be.
    Heard,
    /// Nobody has the socket: its process is dead.
    Dead,
    /// It could not be rung, for want of memory: it sleeps on, however much there is to do.
    Unheard(io::Error),
}

impl Bells {
    pub(crate) fn open(place: &Place) -> Result<Self, Trouble> {
        let path = place.takers();
        let io = |verb| move |e| Trouble::io(verb, &place.takers(), e);
        let folder = File::open(&path).map_err(io("open"))?;
        // Where it was replaced in between, the next look finds that out.
        let id =
            folder.metadata().map(|found| (found.dev(), found.ino())).map_err(io("look at"))?;
        let sender = UnixDatagram::unbound().map_err(io("make a socket for"))?;
        sender.set_nonblocking(true).map_err(io("make a socket for"))?;
        Ok(Self { folder, id, path, sender })
    }

    /// Follows where the folder was removed or replaced: in the old one nobody is found, who lives in the
    /// new one. One that is missing is made anew.
    pub(crate) fn follow(&mut self, place: &Place) -> Result<(), Trouble> {
        if !identity(&self.path).is_ok_and(|id| id == self.id) {
            place.make()?;
            *self = Self::open(place)?;
        }
        Ok(())
    }

    /// Tells whether a taker's socket has its name, as far as one can see.
    pub(crate) fn has(&self, taker: TakerId) -> bool {
        let found = fs::symlink_metadata(self.path.join(taker.0.to_string()));
        let gone = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        !found.is_err_and(|why| gone.contains(&why.kind()))
    }

    /// Returns a path for a socket call, which takes 107 bytes at most however long ours is.
    fn short(&self, taker: TakerId) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{}", self.folder.as_raw_fd(), taker.0))
    }

    /// Makes a taker's own socket; from then on it can be rung. What a dead taker of a store that
    /// was put back from a copy has left there is removed.
    pub(crate) fn bind(&self, taker: TakerId) -> Result<Bell, Trouble> {
        self.remove(taker);
        let socket = UnixDatagram::bind(self.short(taker)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Ok(Bell { socket: socket.map_err(|e| Trouble::io("make a socket in", &self.path, e))? })
    }

    pub(crate) fn remove(&self, taker: TakerId) {
        let _ = fs::remove_file(self.short(taker));
    }

    /// Returns what rings a taker of this process from another thread, whatever becomes of the
    /// socket's name.
    pub(crate) fn button(&self, taker: TakerId) -> io::Result<UnixDatagram> {
        let button = UnixDatagram::unbound()?;
        button.connect(self.short(taker))?;
        button.set_nonblocking(true)?;
        Ok(button)
    }

    /// Returns what is said where a taker could not be rung.
    pub(crate) fn unheard(&self, why: io::Error) -> Trouble {
        Trouble::io("wake who takes from", &self.path, why)
    }

    /// Wakes a taker.
    pub(crate) fn ring(&self, taker: TakerId) -> Rung {
        match self.sender.send_to(&OTHERS, self.short(taker)) {
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                Rung::Dead
            }
            // A full socket: it has not looked yet.
            Err(e) if e.kind() != ErrorKind::WouldBlock => Rung::Unheard(e),
            Ok(_) | Err(_) => Rung::Heard,
        }
    }
}

/// A taker's own socket. Rung by writers, and by its own process when there is something to do.
#[derive(Debug)]
pub(crate) struct Bell {
    socket: UnixDatagram,
}

impl Bell {
    /// Sleeps until it is rung, at the latest until the time is over, and takes all rings there
    /// are. Tells whether another process woke it.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<bool> {
        // A time-out of nothing means none to the kernel.
        let limit = limit.max(Duration::from_micros(1));
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(limit))?;
        let mut who = OTHERS;
        let heard = self.socket.recv(&mut who);
        self.socket.set_nonblocking(true)?;
        match heard {
            Err(e) if is_nothing(&e) => Ok(false),
            Err(e) => Err(e),
            Ok(_) => Ok(self.hush()? || who == OTHERS),
        }
    }

    /// Gives the socket to whoever waits for it in another way. It does not block.
    pub(crate) fn into_socket(self) -> UnixDatagram {
        self.socket
    }

    /// Takes all rings that there are, without waiting for any. Tells whether another process rang.
    pub(crate) fn hush(&self) -> io::Result<bool> {
        let mut by_others = false;
        let mut who = OTHERS;
        loop {
            match self.socket.recv(&mut who) {
                Ok(_) => by_others |= who == OTHERS,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(by_others),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Scratch;

    #[test]
    fn who_slept_until_its_time_was_over_was_rung_by_nobody() {
        let scratch = Scratch::new();
        let place = Place::new(scratch.join("store"));
        fs::create_dir_all(place.takers()).unwrap();
        let (bells, taker) = (Bells::open(&place).unwrap(), TakerId(1));
        let bell = bells.bind(taker).unwrap();
        assert!(!bell.wait(Duration::from_millis(1)).unwrap());
        assert!(matches!(bells.ring(taker), Rung::Heard));
        assert!(bell.wait(Duration::from_secs(60)).unwrap());
        // It has not looked yet, and is full.
        while bells.sender.send_to(&OTHERS, bells.short(taker)).is_ok() {}
        assert!(matches!(bells.ring(taker), Rung::Heard));
        drop(bell);
        assert!(matches!(bells.ring(taker), Rung::Dead));
    }
}
