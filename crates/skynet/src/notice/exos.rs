//! Exos, each of which is asked to say so when something goes wrong, and does.

use exo::control::Request;
use machine::time::{Mono, earlier};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use sys::linux::fd::PollFd;

/// Longest answer: more than any number of instances says.
const LONGEST: usize = 4 << 20;
/// A socket has its name before anybody listens at it.
const AGAIN: Duration = Duration::from_millis(200);
const TRIES: u32 = 10;

#[derive(Debug, Default)]
struct Talk {
    path: PathBuf,
    socket: Option<UnixStream>,
    heard: Vec<u8>,
    /// When it is tried to reach it again, and how often still.
    again: Option<(Mono, u32)>,
}

/// All of them, by service.
#[derive(Debug, Default)]
pub struct Exos(BTreeMap<String, Talk>);

impl Exos {
    /// Sets which there are; those that are new are asked how they stand.
    pub fn set(&mut self, wanted: BTreeMap<String, PathBuf>, now: Mono) {
        let mut old = std::mem::take(&mut self.0);
        for (service, path) in wanted {
            let known = old.remove(&service).filter(|talk| talk.path == path);
            let talk = known.unwrap_or_else(|| {
                let mut talk = Talk { path, ..Talk::default() };
                talk.reach(now, 0);
                talk
            });
            self.0.insert(service, talk);
        }
    }

    /// Files of these names appeared in the run folder.
    pub fn appeared(&mut self, names: &BTreeSet<Vec<u8>>, now: Mono) {
        for talk in self.0.values_mut() {
            let name = talk.path.file_name().map(|name| name.as_bytes().to_vec());
            if talk.socket.is_none() && name.is_some_and(|name| names.contains(&name)) {
                talk.reach(now, TRIES);
            }
        }
    }

    /// Returns when [`Exos::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.0.values().map(|talk| talk.again.map(|(at, _)| at)).fold(None, earlier)
    }

    /// Reaches out again for those that could not be reached.
    pub fn tick(&mut self, now: Mono) {
        for talk in self.0.values_mut() {
            if let Some((at, left)) = talk.again
                && at <= now
            {
                talk.reach(now, left.saturating_sub(1));
            }
        }
    }

    /// Appends what is to be polled: a descriptor for each.
    pub fn interests(&self, fds: &mut Vec<PollFd>) {
        let raw = |talk: &Talk| talk.socket.as_ref().map(AsRawFd::as_raw_fd);
        fds.extend(self.0.values().map(|talk| raw(talk).map_or(PollFd::none(), PollFd::readable)));
    }

    /// Returns how many descriptors that are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hears what they say: which, and how it stands.
    pub fn hear(&mut self, fds: &[PollFd]) -> Vec<(String, Value)> {
        let mut said = Vec::new();
        for ((service, talk), fd) in self.0.iter_mut().zip(fds) {
            if fd.is_ready()
                && let Some(status) = talk.hear()
            {
                said.push((service.clone(), status));
            }
        }
        said
    }

    /// Asks to be told of more than is known.
    pub fn watch(&mut self, service: &str, seen: u64) {
        if let Some(talk) = self.0.get_mut(service) {
            talk.ask(&Request::Watch { seen });
        }
    }
}

impl Talk {
    /// Connects, and asks how it stands. `left`: where nobody listens, so often again.
    fn reach(&mut self, now: Mono, left: u32) {
        self.again = None;
        self.heard.clear();
        match UnixStream::connect(&self.path) {
            Ok(socket) => {
                self.socket = socket.set_nonblocking(true).is_ok().then_some(socket);
                self.ask(&Request::Status);
            }
            // Its next exo makes a new one, of which the kernel tells.
            Err(_) => self.again = (left > 0).then(|| (now.after(AGAIN), left)),
        }
    }

    fn ask(&mut self, request: &Request) {
        // So few bytes go into a socket that holds nothing.
        if let Some(socket) = &mut self.socket
            && socket.write_all(&request.line()).is_err()
        {
            self.socket = None;
        }
    }

    fn hear(&mut self) -> Option<Value> {
        let mut room = [0; 4096];
        loop {
            match self.socket.as_mut()?.read(&mut room) {
                Ok(0) => {
                    self.socket = None;
                    return None;
                }
                Ok(n) => self.heard.extend_from_slice(&room[..n]),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => self.socket = None,
            }
            if self.heard.len() > LONGEST {
                self.socket = None;
                return None;
            }
            if self.heard.ends_with(b"\n") {
                let answer: Value = serde_json::from_slice(&self.heard).unwrap_or_default();
                self.heard.clear();
                return answer.get("status").cloned();
            }
        }
    }
}
