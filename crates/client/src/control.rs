//! Sending commands to supervise: one write for one directory, so that they arrive together.

use crate::svpath::Paths;
use alloc::vec::Vec;
use linux::errno::Errno;
use linux::fd::{self, Fd, PollFd};
use linux::folder::{Absent, Trouble};
use linux::{file, time};
use ondisk::control::Command;
use ondisk::names::CONTROL;

/// The letters of one call of svc, as they go to each directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    bytes: Vec<u8>,
    /// What `bytes` says already, each with whom it is for.
    said: Vec<(u8, Mode)>,
    mode: Mode,
}

/// Whom a command is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mode {
    logger: bool,
    group: bool,
}

impl Commands {
    /// Adds a letter; a repeated one is dropped, unless it is for somebody else now.
    /// `None` = not a letter of svc.
    pub fn add(&mut self, letter: u8) -> Option<()> {
        let mode = self.mode;
        match Command::from_byte(letter)? {
            Command::Logger => self.mode.logger = true,
            Command::Service => self.mode.logger = false,
            Command::Group => self.mode.group = true,
            Command::Single => self.mode.group = false,
            _ if self.said.contains(&(letter, mode)) => return Some(()),
            _ => {
                self.said.push((letter, mode));
                self.bytes.push(letter);
                return Some(());
            }
        }
        // Said once even where it changes nothing: supervise may have been left in another mode.
        if self.mode != mode || !self.bytes.contains(&letter) {
            self.bytes.push(letter);
        }
        Some(())
    }

    /// Returns the bytes to write. Whoever writes next finds supervise as it was: what was for the
    /// logger or the group is followed by the letter that ends it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.extend(self.mode.group.then_some(b'='));
        bytes.extend(self.mode.logger.then_some(b'l'));
        bytes
    }

    /// Tells whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Tells whether the service is asked to start.
    #[must_use]
    pub fn asks_to_start(&self) -> bool {
        self.said.iter().any(|(letter, _)| matches!(letter, b'u' | b'o'))
    }
}

/// Why commands did not reach a supervise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The service directory cannot be entered.
    Chdir(Errno),
    /// Nobody reads them.
    NotRunning,
    /// `control` cannot be opened.
    Open(Errno),
    /// `control` is something else; nothing was written to it.
    NotFifo,
    /// The supervise folder is a symlink that others can change.
    Untrusted,
    /// `control` cannot be written to.
    Write(Errno),
    /// `control` is full and stayed so.
    Full,
}

/// How a first attempt to send went.
#[derive(Debug)]
pub enum Sent {
    /// All of it is in the pipe.
    Done,
    /// The pipe is full: see [`finish`].
    Full(Fd),
}

/// Sends `bytes` to the supervise of the directory that `paths` is at; waits for nothing.
///
/// # Errors
/// [`Refusal`].
pub fn send(paths: &mut Paths, bytes: &[u8]) -> Result<Sent, Refusal> {
    let control = open(paths)?;
    write(control, bytes)
}

fn open(paths: &mut Paths) -> Result<Fd, Refusal> {
    let dir = paths.open_dir().map_err(Refusal::Chdir)?;
    let folder = paths.open_folder(&dir, Absent::Refuse).map_err(|trouble| match trouble {
        Trouble::System(why) => Refusal::Open(why),
        Trouble::Untrusted => Refusal::Untrusted,
    })?;
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let control = file::open(folder.raw(), CONTROL, flags, 0).map_err(|why| match why {
        Errno(libc::ENXIO) => Refusal::NotRunning,
        Errno(libc::ELOOP) => Refusal::NotFifo,
        why => Refusal::Open(why),
    })?;
    // Whoever may write in the folder could have put any file here: that of another user, say.
    match file::stat_fd(control.raw()) {
        Ok(stat) if stat.is_fifo() => Ok(control),
        Ok(_) => Err(Refusal::NotFifo),
        Err(why) => Err(Refusal::Open(why)),
    }
}

/// So few bytes (`PIPE_BUF` is 4096) go into a pipe together or not at all.
fn write(control: Fd, bytes: &[u8]) -> Result<Sent, Refusal> {
    if bytes.is_empty() {
        return Ok(Sent::Done);
    }
    match fd::write(control.raw(), bytes) {
        Ok(_) => Ok(Sent::Done),
        Err(Errno(libc::EAGAIN)) => Ok(Sent::Full(control)),
        Err(why) => Err(Refusal::Write(why)),
    }
}

/// Goes on where pipes were full: waits until `deadline` (monotonic nanoseconds, `None` = for ever)
/// for room in each, and tells `each` how it went.
pub fn finish<T>(
    mut full: Vec<(T, Fd)>,
    bytes: &[u8],
    deadline: Option<u64>,
    mut each: impl FnMut(T, Result<(), Refusal>),
) {
    while !full.is_empty() {
        let mut fds: Vec<_> = full.iter().map(|(_, fd)| PollFd::writable(fd.raw())).collect();
        let left = deadline.map(|deadline| deadline.saturating_sub(time::monotonic()));
        let answer = fd::poll(&mut fds, left);
        let mut rest = Vec::new();
        for ((who, control), polled) in full.into_iter().zip(fds) {
            if !polled.is_ready() {
                rest.push((who, control));
                continue;
            }
            match write(control, bytes) {
                Ok(Sent::Done) => each(who, Ok(())),
                Ok(Sent::Full(control)) => rest.push((who, control)),
                Err(why) => each(who, Err(why)),
            }
        }
        full = rest;
        if answer.is_err() || left == Some(0) {
            for (who, _) in full {
                each(who, Err(Refusal::Full));
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn bytes(letters: &str) -> String {
        let mut commands = Commands::default();
        for letter in letters.bytes() {
            commands.add(letter).unwrap();
        }
        String::from_utf8(commands.bytes()).unwrap()
    }

    #[test]
    fn letters_keep_their_order_and_repeats_are_dropped() {
        assert_eq!(bytes("dxd"), "dx");
        assert_eq!(bytes("udopchaitkxq12w"), "udopchaitkxq12w");
        assert_eq!(bytes(""), "");
        assert_eq!(Commands::default().add(b'z'), None);
    }

    #[test]
    fn a_letter_for_somebody_else_is_no_repeat_and_the_next_writer_finds_the_service() {
        assert_eq!(bytes("tLt"), "tLtl");
        assert_eq!(bytes("tLlt"), "tLl");
        assert_eq!(bytes("+t=t"), "+t=t");
        assert_eq!(bytes("+t+t"), "+t=");
        assert_eq!(bytes("L+k"), "L+k=l");
        assert_eq!(bytes("l=tl"), "l=t");
    }
}
