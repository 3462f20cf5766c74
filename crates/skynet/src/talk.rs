//! A question to a running exo, whose answer is waited for among other things.

use exo::control::Request;
use serde_json::Value;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::{EAGAIN, ECONNREFUSED, ENOENT};
use sys::linux::socket;

/// Longest answer: more than any number of instances says.
const LONGEST: usize = 4 << 20;

/// A question, and how far it is.
pub(crate) struct Talk {
    path: PathBuf,
    line: Vec<u8>,
    socket: Option<Fd>,
    heard: Vec<u8>,
}

/// How a question stands.
pub(crate) enum Heard {
    /// No answer yet.
    Nothing,
    /// The answer.
    Answer(Value),
    /// There will be none.
    Trouble(String),
}

impl Talk {
    pub(crate) fn new(path: PathBuf, request: &Request) -> Self {
        Self { path, line: request.line(), socket: None, heard: Vec::new() }
    }

    /// Returns the descriptor to wait for, once exo is there.
    pub(crate) fn raw(&self) -> Option<i32> {
        self.socket.as_ref().map(Fd::raw)
    }

    /// Goes on as far as it goes without waiting.
    pub(crate) fn go_on(&mut self) -> Heard {
        if self.socket.is_none() {
            match self.ask() {
                Ok(socket) => self.socket = socket,
                Err(why) => return self.trouble("ask", &why),
            }
        }
        let Some(socket) = &self.socket else { return Heard::Nothing };
        let mut room = [0; 4096];
        loop {
            match fd::read(socket.raw(), &mut room) {
                Ok(0) => return Heard::Trouble("exo ended before it answered".to_owned()),
                Ok(n) => self.heard.extend_from_slice(&room[..n]),
                Err(Errno(EAGAIN)) => return Heard::Nothing,
                Err(why) => return self.trouble("hear", &system(why)),
            }
            if self.heard.ends_with(b"\n") || self.heard.len() > LONGEST {
                break;
            }
        }
        match serde_json::from_slice(&self.heard) {
            Ok(answer) => Heard::Answer(answer),
            Err(why) => self.trouble("understand", &why.into()),
        }
    }

    /// Asks; `None` = no exo is there to be asked.
    fn ask(&self) -> io::Result<Option<Fd>> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let socket = match socket::connect(&path) {
            Ok(socket) => socket,
            // An exo that was killed leaves the name of its socket behind.
            Err(Errno(ENOENT | ECONNREFUSED)) => return Ok(None),
            Err(Errno(EAGAIN)) => return Err(io::Error::other("too many wait for its answers")),
            Err(why) => return Err(system(why)),
        };
        // So few bytes go into a socket that nobody wrote to.
        socket::send(socket.raw(), &self.line, &[]).map_err(system)?;
        Ok(Some(socket))
    }

    fn trouble(&self, verb: &str, why: &io::Error) -> Heard {
        Heard::Trouble(exo::ask::unable(verb, &self.path, why))
    }
}

fn system(why: Errno) -> io::Error {
    io::Error::from_raw_os_error(why.0)
}
