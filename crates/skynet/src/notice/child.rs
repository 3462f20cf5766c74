//! A program that is run beside everything else: what it reads is there at once, what it says is
//! bounded, and so is its time. Nobody waits for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::{memfile, process, signal};

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: Fd,
    /// The pipe from it; `None` = it ended.
    pipe: Option<OwnedFd>,
    said: Vec<u8>,
    most: usize,
}

/// Which of its descriptors is heard; the other one leads nowhere, or where ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hear {
    /// Descriptor 1; what it says on 2 goes where ours goes.
    Output,
    /// Descriptor 2.
    Errors,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// With code 0.
    pub well: bool,
    /// The same in words: `exit code 3`.
    pub how: String,
    /// The first of what it said.
    pub said: Vec<u8>,
}

/// How a program that runs is found in a list of descriptors.
pub const EACH: usize = 2;

impl Running {
    /// Starts a program in a process group of its own and an empty environment but for what
    /// `command` has; `input` is what it reads; of what it says `most` bytes are kept.
    ///
    /// # Errors
    /// As fork(2) and execve(2).
    pub fn start(command: &mut Command, input: &[u8], hear: Hear, most: usize) -> io::Result<Self> {
        let os = |why: Errno| io::Error::from_raw_os_error(why.0);
        let input = memfile::sealed(c"notice", input).map_err(os)?;
        // By its name in /proc: a file of std's own, which knows how to be given away.
        let input = File::open(format!("/proc/self/fd/{}", input.raw()))?;
        command.stdin(input).current_dir("/").process_group(0);
        match hear {
            Hear::Output => command.stdout(Stdio::piped()).stderr(Stdio::inherit()),
            Hear::Errors => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn()?;
        let pidfd = process::pidfd(child.id().cast_signed()).map_err(os);
        let pipe: Option<OwnedFd> = match hear {
            Hear::Output => child.stdout.take().map(Into::into),
            Hear::Errors => child.stderr.take().map(Into::into),
        };
        let ready = pidfd.and_then(|pidfd| {
            if let Some(pipe) = &pipe {
                fd::set_nonblock(pipe.as_raw_fd(), true).map_err(os)?;
            }
            Ok(pidfd)
        });
        match ready {
            Ok(pidfd) => Ok(Self { child, pidfd, pipe, said: Vec::new(), most }),
            Err(why) => {
                // Nobody would see its end.
                let _ = child.kill().and_then(|()| child.wait());
                Err(why)
            }
        }
    }

    /// Appends what is to be polled: [`EACH`] descriptors.
    pub fn interests(&self, fds: &mut Vec<PollFd>) {
        fds.push(PollFd::readable(self.pidfd.raw()));
        let pipe = self.pipe.as_ref().map(AsRawFd::as_raw_fd);
        fds.push(pipe.map_or(PollFd::none(), PollFd::readable));
    }

    /// Goes on: `fds` are those of [`Running::interests`]. Returns how it ended, once it has.
    pub fn hear(&mut self, fds: &[PollFd]) -> Option<End> {
        let is_over = fds.first().is_some_and(PollFd::is_ready);
        if is_over || fds.get(1).is_some_and(PollFd::is_ready) {
            self.read();
        }
        if !is_over {
            return None;
        }
        // What it left in its group goes with it, as long as the dead leader holds the number.
        self.kill();
        let status = self.child.wait();
        let how = match &status {
            Ok(status) => how(*status),
            Err(why) => why.to_string(),
        };
        let well = status.is_ok_and(|status| status.success());
        Some(End { well, how, said: std::mem::take(&mut self.said) })
    }

    fn read(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let mut room = [0; 4096];
        // Whoever says more than a pipe holds has another turn.
        for _ in 0..32 {
            match fd::read(pipe.as_raw_fd(), &mut room) {
                Ok(0) => {
                    self.pipe = None;
                    break;
                }
                Ok(n) => {
                    let left = self.most.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&room[..n.min(left)]);
                }
                Err(_) => break,
            }
        }
    }

    /// Ends it and its group by KILL. Its end is heard of like any other.
    pub fn kill(&self) {
        let pid = self.child.id().cast_signed();
        let _ = signal::kill(-pid, signal::numbers::SIGKILL);
    }
}

fn how(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}
