//! The control socket: whoever may connect to it asks, and is answered while participants work.

use super::crowd::{self, Guest, Is};
use super::hear::Forwarded;
use super::peer::is_participant;
use super::{Worker, now};
use crate::config;
use crate::control::{Answer, Request, Until};
use crate::settings::Settings;
use ::log::warn;
use machine::time::{Mono, earlier};
use std::collections::HashMap;
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::EAGAIN;
use sys::linux::socket::{self, Peer};
use work::{Applied, Place, Refused};

/// Clients at once; more wait in the queue of the socket until somebody makes way.
const CLIENTS: usize = 32;
/// How long a client may take to ask, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the queue may take to record what was asked for before the client is told that it does.
pub(super) const PROMPT: Duration = Duration::from_millis(800);
/// How long nobody is let in after somebody could not be.
const SHUT: Duration = Duration::from_secs(1);
/// Longest question.
const LONGEST: usize = 4096;

struct Client {
    socket: Fd,
    peer: Peer,
    /// When it came, asked or was answered last.
    since: Mono,
    asked: Vec<u8>,
    answer: Vec<u8>,
    /// What is being recorded for it.
    pending: Option<Pending>,
    /// What it waits for, for as long as it likes.
    waits: Option<Waited>,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// That something is so.
    For(Until),
    /// More trouble than this.
    Trouble(u64),
    /// That the cancel of this number is done.
    Cancel(u64),
}

/// What came of each thing that was asked for, by the number that it is about.
type Made = Vec<(i64, Result<Applied, Refused>)>;

struct Pending {
    /// What is not recorded yet, and the number that it is about.
    tickets: HashMap<u64, i64>,
    made: Made,
    until: Mono,
}

/// The control socket, and the tickets of what was asked of the broker.
pub(super) struct Control {
    listening: Option<Fd>,
    /// Nobody is let in until then.
    shut_until: Option<Mono>,
    /// All places have been taken since then.
    full: Option<Mono>,
    keeper_pid: u32,
    participant_uid: u32,
    pub(super) store: Place,
    /// Names the configuration that is in force here.
    pub(super) digest: String,
    clients: Vec<Client>,
    forwarded: HashMap<u64, Forwarded>,
    tickets: u64,
    /// Times that a participant asked.
    refused: u32,
}

impl Control {
    pub(super) fn new(
        listening: Option<Fd>,
        keeper_pid: u32,
        participant_uid: u32,
        settings: &Settings,
    ) -> Self {
        Self {
            listening,
            shut_until: None,
            full: None,
            keeper_pid,
            participant_uid,
            store: Place::new(&settings.store),
            digest: config::digest(settings),
            clients: Vec::new(),
            forwarded: HashMap::new(),
            tickets: 0,
            refused: 0,
        }
    }

    pub(super) const fn participant_uid(&self) -> u32 {
        self.participant_uid
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Returns the ticket of an item that a participant forwards.
    pub(super) fn expect_sent(&mut self, to: Forwarded) -> u64 {
        let ticket = self.ticket();
        self.forwarded.insert(ticket, to);
        ticket
    }

    pub(super) fn forwarded(&mut self, ticket: u64) -> Option<Forwarded> {
        self.forwarded.remove(&ticket)
    }

    pub(super) fn listening(&self) -> PollFd {
        let has_room = self.shut_until.is_none() && self.has_room(now());
        let socket = self.listening.as_ref().filter(|_| has_room);
        socket.map_or(PollFd::none(), |socket| PollFd::readable(socket.raw()))
    }

    pub(super) fn interests(&self, list: &mut Vec<PollFd>) {
        list.extend(self.clients.iter().map(|client| {
            if !client.answer.is_empty() {
                PollFd::writable(client.socket.raw())
            } else if client.is_heard() {
                PollFd::readable(client.socket.raw())
            } else {
                PollFd::none()
            }
        }));
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let each = self.clients.iter().filter(|client| client.waits.is_none()).map(|client| {
            let pending = client.pending.as_ref().map(|pending| pending.until);
            earlier(Some(client.since.after(PATIENCE)), pending)
        });
        // Until somebody makes way nobody is let in.
        let room = self.makes_way().map(|(_, at)| at).filter(|at| *at > now());
        each.fold(earlier(self.shut_until, room), earlier)
    }

    /// Returns who makes way where all places are taken, and from when on.
    fn makes_way(&self) -> Option<(usize, Mono)> {
        let guests: Vec<Guest> = self.clients.iter().map(Client::guest).collect();
        self.full.and_then(|full| crowd::makes_way(&guests, full))
    }

    /// Tells whether somebody can be let in, in whosoever place.
    fn has_room(&self, now: Mono) -> bool {
        self.full.is_none() || self.makes_way().is_some_and(|(_, at)| at <= now)
    }

    fn accept(&mut self) {
        let Some(listening) = self.listening.as_ref().map(Fd::raw) else { return };
        for _ in 0..CLIENTS {
            let now = now();
            if !self.has_room(now) {
                return;
            }
            let socket = match socket::accept(listening) {
                Ok(socket) => socket,
                Err(Errno(EAGAIN)) => return,
                Err(why) => {
                    warn!("unable to take whoever asks: {why}");
                    // It still stands at the door, which would be told at once.
                    self.shut_until = Some(now.after(SHUT));
                    return;
                }
            };
            let Ok(peer) = socket::peer(socket.raw()) else { continue };
            match is_participant(peer, self.keeper_pid) {
                Ok(false) => {}
                Ok(true) => {
                    self.refuse(peer.pid);
                    continue;
                }
                // It has gone, or nobody can tell who it is.
                Err(_) => continue,
            }
            if let Some((at, _)) = self.makes_way() {
                self.clients.swap_remove(at);
            }
            let (asked, answer) = (Vec::new(), Vec::new());
            let (pending, waits) = (None, None);
            self.clients.push(Client { socket, peer, since: now, asked, answer, pending, waits });
            self.note_room(now);
        }
    }

    /// Says that a participant asked the first time, the second, the fourth, ...: a flood must not fill
    /// the log.
    fn refuse(&mut self, pid: i32) {
        self.refused = self.refused.saturating_add(1);
        if self.refused.is_power_of_two() {
            let so_far = self.refused;
            warn!("a participant (process {pid}) asked for control; refused, {so_far} so far");
        }
    }

    /// Notes whether all places are taken.
    fn note_room(&mut self, now: Mono) {
        let is_full = self.clients.len() >= CLIENTS;
        self.full = is_full.then(|| self.full.unwrap_or(now));
    }

    /// Has a client wait until all of this is recorded, each by its ticket.
    pub(super) fn expect_made(&mut self, at: usize, tickets: HashMap<u64, i64>) {
        if let Some(client) = self.clients.get_mut(at) {
            let until = now().after(PROMPT);
            client.pending = Some(Pending { tickets, made: Vec::new(), until });
        }
    }

    /// Has a client wait for something; `false` where it is nobody, or more than `most` wait for what
    /// may never be.
    pub(super) fn let_wait(&mut self, at: usize, what: Waited, most: usize) -> bool {
        let is_open = |client: &&Client| !matches!(client.waits, None | Some(Waited::Cancel(_)));
        let waiters = self.clients.iter().filter(is_open).count();
        let client = self.clients.get_mut(at).filter(|_| waiters < most);
        client.map(|client| client.waits = Some(what)).is_some()
    }

    /// Tells whether somebody asked who is not answered yet, besides those who wait for what may never be.
    pub(super) fn owes_answers(&self) -> bool {
        self.clients.iter().any(|client| client.pending.is_some() || !client.answer.is_empty())
    }

    /// Returns what clients wait for.
    pub(super) fn waited_for(&self) -> Vec<Waited> {
        self.clients.iter().filter_map(|client| client.waits).collect()
    }

    /// Answers those who wait for one of these.
    pub(super) fn reached(&mut self, reached: &[Waited], answer: &Answer) {
        let now = now();
        for client in &mut self.clients {
            if client.waits.take_if(|wanted| reached.contains(wanted)).is_some() {
                client.since = now;
                client.say(answer);
            }
        }
    }

    /// Something that was asked for is recorded, or refused.
    pub(super) fn made(&mut self, ticket: u64, made: Result<Applied, Refused>) {
        let waits = |client: &&mut Client| {
            let pending = client.pending.as_ref();
            pending.is_some_and(|pending| pending.tickets.contains_key(&ticket))
        };
        let Some(client) = self.clients.iter_mut().find(waits) else { return };
        let Some(mut pending) = client.pending.take() else { return };
        pending.made.extend(pending.tickets.remove(&ticket).map(|id| (id, made)));
        if pending.tickets.is_empty() {
            client.say(&Answer::made(&pending.made));
        } else {
            client.pending = Some(pending);
        }
    }

    /// Tells those who wait for too long that what they asked for is not recorded yet, and leaves
    /// those alone who say nothing.
    fn tick(&mut self, trouble: Option<&str>) {
        let now = now();
        self.shut_until.take_if(|at| *at <= now);
        for client in &mut self.clients {
            if client.pending.as_ref().is_some_and(|pending| pending.until <= now) {
                client.pending = None;
                let why = trouble.unwrap_or("the queue is busy");
                client.say(&Answer::pending(why));
            }
        }
        self.clients.retain(|client| client.waits.is_some() || client.since.after(PATIENCE) > now);
        self.note_room(now);
    }
}

impl Client {
    fn guest(&self) -> Guest {
        let is = match (&self.pending, self.waits) {
            (Some(_), _) => Is::Served,
            (None, Some(_)) => Is::Waiting,
            (None, None) => Is::Idle,
        };
        Guest { uid: self.peer.uid, since: self.since, is }
    }

    fn say(&mut self, answer: &Answer) {
        self.answer = answer.line();
    }

    /// Reads what it says; `Err` where nothing more will come, or only what is no question.
    fn hear(&mut self) -> Result<(), ()> {
        let mut room = [0; LONGEST];
        match fd::read(self.socket.raw(), &mut room) {
            Ok(0) => return Err(()),
            Ok(n) => self.asked.extend_from_slice(&room[..n]),
            Err(Errno(EAGAIN)) => {}
            Err(_) => return Err(()),
        }
        // Who waits may ask more, but not any number of things.
        let is_short = self.waits.is_none() && self.asked.contains(&b'\n');
        if self.asked.len() > LONGEST && !is_short { Err(()) } else { Ok(()) }
    }

    /// Takes the next question out of what was heard. One that is none is answered.
    fn question(&mut self) -> Option<Request> {
        if let Some(end) = self.asked.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.asked.drain(..=end).collect();
            match Request::read(&line) {
                Ok(request) => return Some(request),
                Err(why) => self.say(&Answer::failed(&why)),
            }
        }
        None
    }

    /// Tells whether what it says is heard. Who waits is heard, too: to know when it goes away.
    fn is_heard(&self) -> bool {
        self.answer.is_empty() && self.pending.is_none()
    }

    /// Tells whether its last question was answered, and the answer has gone.
    fn may_ask(&self) -> bool {
        self.is_heard() && self.waits.is_none()
    }

    /// Writes the answer; `false` where it has gone, or cannot.
    fn write(&mut self) -> bool {
        match fd::write(self.socket.raw(), &self.answer) {
            Ok(n) => {
                self.answer.drain(..n);
                true
            }
            Err(Errno(EAGAIN)) => true,
            Err(_) => false,
        }
    }
}

impl Worker {
    /// Serves those who asked: `ready` says of each client whether it has something to say or read.
    pub(super) fn serve(&mut self, someone: bool, ready: &[bool]) {
        let mut gone = Vec::new();
        for (at, is_ready) in ready.iter().enumerate() {
            if *is_ready && !self.serve_client(at) {
                gone.push(at);
            }
        }
        for at in gone.into_iter().rev() {
            self.control.clients.swap_remove(at);
        }
        self.control.tick(self.trouble.as_deref());
        if someone {
            self.control.accept();
        }
    }

    /// Serves a client; `false` where it is gone.
    fn serve_client(&mut self, at: usize) -> bool {
        let Some(client) = self.control.clients.get_mut(at) else { return true };
        if !client.answer.is_empty() {
            if !client.write() {
                return false;
            }
        } else if client.is_heard() && client.hear().is_err() {
            return false;
        }
        // It may have asked several things at once.
        while let Some(client) = self.control.clients.get_mut(at)
            && client.may_ask()
            && let Some(request) = client.question()
        {
            client.since = now();
            let peer = client.peer;
            if let Some(answer) = self.answer(at, peer, &request)
                && let Some(client) = self.control.clients.get_mut(at)
            {
                client.say(&answer);
            }
        }
        true
    }
}
