//! The control socket: whoever may connect to it asks, and is answered while participants work.

use super::hear::Forwarded;
use super::{Phase, Worker, now};
use crate::config;
use crate::control::{Answer, Request, Until};
use crate::settings::Settings;
use ::log::{info, warn};
use machine::exo::{Event, Standing, Why};
use machine::time::{Mono, earlier};
use machine::work::{Fault, State};
use participant::protocol::Flavour;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::EAGAIN;
use sys::linux::identity;
use sys::linux::socket::{self, Peer};
use work::{JobId, Place, Reader, Refused};

/// Clients at once; more wait in the queue of the socket.
const CLIENTS: usize = 32;
/// Of these, so many may wait for something: the others always find somebody who listens.
const WAITERS: usize = 16;
/// How long a client may take to ask, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the queue may take to record a cancel before the client is told that it does.
const PROMPT: Duration = Duration::from_millis(800);
/// Items of a process that one question cancels; it may be asked again.
const CANCELLED_AT_ONCE: u32 = 10_000;
/// Longest question.
const LONGEST: usize = 4096;

struct Client {
    socket: Fd,
    peer: Peer,
    until: Mono,
    asked: Vec<u8>,
    answer: Vec<u8>,
    /// A cancel that is being recorded.
    pending: Option<Pending>,
    /// What it waits for, for as long as it likes.
    waits: Option<Until>,
}

struct Pending {
    tickets: HashSet<u64>,
    taken: u32,
    refused: Vec<String>,
    until: Mono,
}

/// The control socket, and the tickets of what was asked of the broker.
pub(super) struct Control {
    listening: Option<Fd>,
    keeper_pid: u32,
    participant_uid: u32,
    store: Place,
    /// Names the configuration that is in force here.
    digest: String,
    clients: Vec<Client>,
    forwarded: HashMap<u64, Forwarded>,
    tickets: u64,
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
            keeper_pid,
            participant_uid,
            store: Place::new(&settings.store),
            digest: config::digest(settings),
            clients: Vec::new(),
            forwarded: HashMap::new(),
            tickets: 0,
        }
    }

    pub(super) const fn participant_uid(&self) -> u32 {
        self.participant_uid
    }

    fn ticket(&mut self) -> u64 {
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
        let has_room = self.clients.len() < CLIENTS;
        let socket = self.listening.as_ref().filter(|_| has_room);
        socket.map_or(PollFd::none(), |socket| PollFd::readable(socket.raw()))
    }

    pub(super) fn interests(&self, list: &mut Vec<PollFd>) {
        list.extend(self.clients.iter().map(|client| {
            if !client.answer.is_empty() {
                PollFd::writable(client.socket.raw())
            } else if client.pending.is_none() {
                PollFd::readable(client.socket.raw())
            } else {
                PollFd::none()
            }
        }));
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let each = self.clients.iter().filter(|client| client.waits.is_none()).map(|client| {
            let pending = client.pending.as_ref().map(|pending| pending.until);
            earlier(Some(client.until), pending)
        });
        each.fold(None, earlier)
    }

    fn accept(&mut self) {
        let Some(listening) = &self.listening else { return };
        while self.clients.len() < CLIENTS {
            let Ok(socket) = socket::accept(listening.raw()) else { return };
            let Ok(peer) = socket::peer(socket.raw()) else { continue };
            match identity::descends_from(peer.pid.cast_unsigned(), self.keeper_pid) {
                Ok(false) => {}
                Ok(true) => {
                    warn!("a participant (process {}) asked for control; refused", peer.pid);
                    continue;
                }
                // It has gone, or nobody can tell who it is.
                Err(_) => continue,
            }
            let (asked, answer) = (Vec::new(), Vec::new());
            let until = now().after(PATIENCE);
            let (pending, waits) = (None, None);
            self.clients.push(Client { socket, peer, until, asked, answer, pending, waits });
        }
    }

    pub(super) fn cancel_taken(&mut self, ticket: u64, refused: Option<&Refused>) {
        for client in &mut self.clients {
            let Some(pending) = &mut client.pending else { continue };
            if !pending.tickets.remove(&ticket) {
                continue;
            }
            match refused {
                None => pending.taken += 1,
                Some(why) => pending.refused.push(why.to_string()),
            }
            if pending.tickets.is_empty() {
                let (taken, refused) = (pending.taken, std::mem::take(&mut pending.refused));
                client.pending = None;
                client.say(&Answer::cancelled(taken, &refused));
            }
        }
    }

    /// Tells those who wait for a cancel for too long that it is not recorded yet, and leaves
    /// those alone who say nothing.
    fn tick(&mut self, trouble: Option<&str>) {
        let now = now();
        for client in &mut self.clients {
            if client.pending.as_ref().is_some_and(|pending| pending.until <= now) {
                client.pending = None;
                let why = trouble.unwrap_or("the queue is busy");
                client.say(&Answer::failed(&format!("asked for, but not recorded yet: {why}")));
            }
        }
        self.clients.retain(|client| client.waits.is_some() || client.until > now);
    }
}

impl Client {
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
        let is_endless = self.asked.len() > LONGEST && !self.asked.contains(&b'\n');
        if is_endless { Err(()) } else { Ok(()) }
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

    /// Tells whether its last question was answered, and the answer has gone.
    fn may_ask(&self) -> bool {
        self.answer.is_empty() && self.pending.is_none()
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
        } else if client.may_ask() && client.hear().is_err() {
            return false;
        }
        // It may have asked several things at once.
        while let Some(client) = self.control.clients.get_mut(at)
            && client.may_ask()
            && let Some(request) = client.question()
        {
            client.until = now().after(PATIENCE);
            let peer = client.peer;
            if let Some(answer) = self.answer(at, peer, &request)
                && let Some(client) = self.control.clients.get_mut(at)
            {
                client.say(&answer);
            }
        }
        true
    }

    /// Does what is asked; `None` where the answer follows.
    fn answer(&mut self, at: usize, peer: Peer, request: &Request) -> Option<Answer> {
        match request {
            Request::Status => {
                let answer = Answer::status(&self.status());
                // For whoever asks again: one of them may be busy, and nobody waits for it.
                let now = now();
                self.slots.iter_mut().for_each(|slot| slot.ask_how_far(now));
                Some(answer)
            }
            Request::Wait { until } => {
                let waiters = self.control.clients.iter().filter(|client| client.waits.is_some());
                if waiters.count() >= WAITERS {
                    return Some(Answer::failed("too many wait already"));
                }
                if let Some(client) = self.control.clients.get_mut(at) {
                    client.waits = Some(*until);
                }
                None
            }
            Request::Drain | Request::Resume if self.phase == Phase::Stopping => {
                Some(Answer::failed("it ends"))
            }
            Request::Drain => {
                info!("told by user {} to take no more items", peer.uid);
                self.phase = Phase::Draining;
                self.tell_all(Event::Drain);
                Some(Answer::done())
            }
            Request::Resume => {
                info!("told by user {} to take items again", peer.uid);
                self.phase = Phase::Running;
                if !self.log.is_full() {
                    self.tell_all(Event::Resume);
                }
                Some(Answer::done())
            }
            Request::Cancel { wfid, expid, flavour } => {
                let expid = expid.as_deref();
                match self.jobs_of(wfid, expid) {
                    Ok(jobs) if jobs.is_empty() => Some(Answer::failed(&format!(
                        "no item of {wfid} waits or is worked on here"
                    ))),
                    Ok(jobs) => {
                        let wfid = wfid.escape_default();
                        info!("told by user {} to cancel {} of {wfid}", peer.uid, jobs.len());
                        self.cancel(at, &jobs, *flavour);
                        None
                    }
                    Err(why) => Some(Answer::failed(&why)),
                }
            }
        }
    }

    /// Answers those who wait for what is so by now.
    pub(super) fn answer_waiters(&mut self) {
        let wanted: Vec<Until> = self.control.clients.iter().filter_map(|c| c.waits).collect();
        if wanted.is_empty() {
            return;
        }
        let is_so = |until: &Until| wanted.contains(until) && self.is_reached(*until);
        let reached: Vec<Until> = [Until::Started, Until::Idle].into_iter().filter(is_so).collect();
        let answer = Answer::status(&self.status());
        let until = now().after(PATIENCE);
        for client in &mut self.control.clients {
            if client.waits.take_if(|wanted| reached.contains(wanted)).is_some() {
                client.until = until;
                client.say(&answer);
            }
        }
    }

    fn is_reached(&self, until: Until) -> bool {
        match until {
            Until::Started => {
                let is_on_its_way =
                    |standing| matches!(standing, Standing::Starting | Standing::Ending);
                !self.slots.iter().any(|slot| is_on_its_way(slot.machine.standing()))
            }
            Until::Idle => {
                self.slots.iter().all(|slot| !slot.has_delivery())
                    && (self.phase != Phase::Running || self.has_nothing_ready())
            }
        }
    }

    /// Tells whether no job of our queue is ready; where the store cannot be read, that is not
    /// known, and the next event asks again.
    fn has_nothing_ready(&self) -> bool {
        let reader = Reader::open(&self.control.store);
        reader.and_then(|reader| reader.has_ready(&self.settings.queue)).is_ok_and(|has| !has)
    }

    fn cancel(&mut self, at: usize, jobs: &[JobId], flavour: Flavour) {
        let why = match flavour {
            Flavour::Cancel => Fault::CANCELLED,
            Flavour::Kill => Fault::KILLED,
            Flavour::Timeout => Fault::GIVEN_UP,
        };
        let mut tickets = HashSet::new();
        for job in jobs {
            let ticket = self.control.ticket();
            self.broker.cancel(ticket, *job, why);
            tickets.insert(ticket);
        }
        if let Some(client) = self.control.clients.get_mut(at) {
            let until = now().after(PROMPT);
            client.pending = Some(Pending { tickets, taken: 0, refused: Vec::new(), until });
        }
    }

    /// Returns what can be cancelled of a process: in hand here, or in our queue.
    fn jobs_of(&self, wfid: &str, expid: Option<&str>) -> Result<Vec<JobId>, String> {
        if wfid.is_empty() {
            return Err("which process? Its wfid is missing".to_owned());
        }
        let reader = Reader::open(&self.control.store).map_err(|why| why.to_string())?;
        let open = reader.open_jobs(wfid, &self.settings.queue, CANCELLED_AT_ONCE);
        let open = open.map_err(|why| why.to_string())?;
        let is_meant = |job: &work::read::Job| {
            job.subject.state != State::Cancelling
                && expid.is_none_or(|expid| job.identity.split('!').next() == Some(expid))
        };
        Ok(open.into_iter().filter(is_meant).map(|job| job.id).collect())
    }

    fn status(&self) -> Value {
        let state = match self.phase {
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
        };
        json!({
            "participant": self.settings.participant,
            "queue": self.settings.queue,
            "config": self.control.digest,
            "state": state,
            "trouble": self.trouble,
            "done": self.done,
            "failed": self.failed,
            "seconds": seconds(self.begun),
            "instances": self.slots.iter().map(status_of).collect::<Vec<_>>(),
        })
    }
}

fn seconds(since: Mono) -> f64 {
    Duration::from_nanos(now().nanos_from(since)).as_secs_f64()
}

fn status_of(slot: &super::slot::Slot) -> Value {
    let pid = slot.process.as_ref().and_then(|process| process.pid);
    let mut out = json!({ "name": slot.name, "pid": pid });
    let mut set = |key: &str, value: Value| out[key] = value;
    match slot.machine.standing() {
        Standing::Starting => set("state", "starting".into()),
        Standing::Idle => set("state", "idle".into()),
        Standing::Ending => set("state", "ending".into()),
        Standing::Ended => set("state", "ended".into()),
        Standing::Resting { until } => {
            set("state", "resting".into());
            let left = Duration::from_nanos(until.nanos_from(now())).as_secs_f64();
            set("next_start", left.into());
        }
        Standing::Working { since, stopping, .. } => {
            set("state", "working".into());
            set("seconds", seconds(since).into());
            let why = stopping.map(|why| match why {
                Why::Cancelled => "cancelled",
                Why::Late => "took too long",
                Why::Broken => "broke the protocol",
                Why::Overtaken => "overtaken",
            });
            set("stopping", why.into());
            if let Some(work) = &slot.work {
                set("wfid", work.wfid.as_str().into());
                set("expid", work.identity.split('!').next().into());
                set("job", work.job.into());
                set("attempt", work.attempt.into());
                if let Some(progress) = &work.progress {
                    set("progress", json!({ "done": progress.done, "text": progress.text }));
                }
            }
        }
    }
    if let Some(why) = &slot.start_failure {
        set("start_failure", why.as_str().into());
    }
    out
}
