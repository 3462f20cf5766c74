//! A question to a running exo, whose answer is waited for among other things.

use exo::control::Request;
use serde_json::Value;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::{EAGAIN, ECONNREFUSED, ECONNRESET, ENOENT, EPIPE};
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
                // That exo ended before it took the question; the next one, if it is there already, gets it.
                Err(Errno(ECONNRESET)) => {
                    self.heard.clear();
                    return match self.ask() {
                        Ok(socket) => {
                            self.socket = socket;
                            Heard::Nothing
                        }
                        Err(why) => self.trouble("ask", &why),
                    };
                }
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
        match socket::send(socket.raw(), &self.line, &[]) {
            Ok(()) => Ok(Some(socket)),
            // It ended in between.
            Err(Errno(EPIPE | ECONNRESET)) => Ok(None),
            Err(why) => Err(system(why)),
        }
    }

    fn trouble(&self, verb: &str, why: &io::Error) -> Heard {
        Heard::Trouble(exo::ask::unable(verb, &self.path, why))
    }
}

fn system(why: Errno) -> io::Error {
    io::Error::from_raw_os_error(why.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn who_was_about_to_be_heard_as_exo_ended_asks_the_next_one() {
        let folder = std::env::temp_dir().join(format!("skynet-talk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("control.sock");
        let listen = || {
            let _ = std::fs::remove_file(&path);
            UnixListener::bind(&path).unwrap()
        };
        let mut talk = Talk::new(path.clone(), &Request::Status);
        assert!(matches!(talk.go_on(), Heard::Nothing), "no exo is there");
        let first = listen();
        assert!(matches!(talk.go_on(), Heard::Nothing));
        assert!(talk.raw().is_some());
        drop(first);
        // The next one is there before anybody looks.
        let second = listen();
        assert!(matches!(talk.go_on(), Heard::Nothing));
        let (mut asked, _) = second.accept().unwrap();
        let mut line = String::new();
        BufReader::new(asked.try_clone().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.as_bytes(), Request::Status.line());
        asked.write_all(b"{\"ok\":true}\n").unwrap();
        assert!(matches!(talk.go_on(), Heard::Answer(_)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
