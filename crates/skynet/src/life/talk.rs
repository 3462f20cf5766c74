//! A question to a running exo, whose answer is waited for among other things.

use exo::control::Request;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Longest answer: more than any number of instances says.
const LONGEST: usize = 4 << 20;

/// A question, and how far it is.
pub(super) struct Talk {
    path: PathBuf,
    line: Vec<u8>,
    socket: Option<UnixStream>,
    heard: Vec<u8>,
}

/// How a question stands.
pub(super) enum Heard {
    /// No answer yet.
    Nothing,
    /// The answer.
    Answer(Value),
    /// There will be none.
    Trouble(String),
}

impl Talk {
    pub(super) fn new(path: PathBuf, request: &Request) -> Self {
        Self { path, line: request.line(), socket: None, heard: Vec::new() }
    }

    /// Returns the descriptor to wait for, once exo is there.
    pub(super) fn raw(&self) -> Option<i32> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Goes on as far as it goes without waiting.
    pub(super) fn go_on(&mut self) -> Heard {
        if self.socket.is_none() {
            match self.ask() {
                Ok(socket) => self.socket = socket,
                Err(why) => return self.trouble("ask", &why),
            }
        }
        let Some(socket) = &mut self.socket else { return Heard::Nothing };
        let mut room = [0; 4096];
        loop {
            match socket.read(&mut room) {
                Ok(0) => return Heard::Trouble("exo ended before it answered".to_owned()),
                Ok(n) => self.heard.extend_from_slice(&room[..n]),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
                Err(why) => return self.trouble("hear", &why),
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
    fn ask(&self) -> std::io::Result<Option<UnixStream>> {
        let mut socket = match UnixStream::connect(&self.path) {
            Ok(socket) => socket,
            // An exo that was killed leaves the name of its socket behind.
            Err(why)
                if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(why) => return Err(why),
        };
        // So few bytes go into a socket that nobody wrote to.
        socket.write_all(&self.line)?;
        socket.set_nonblocking(true)?;
        Ok(Some(socket))
    }

    fn trouble(&self, verb: &str, why: &std::io::Error) -> Heard {
        Heard::Trouble(exo::ask::unable(verb, &self.path, why))
    }
}
