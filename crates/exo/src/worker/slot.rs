//! One instance of the participant: its machine, its process, and what it has in hand.

use super::follow::Follower;
use super::link::{Ends, Link, Talk};
use super::moments;
use super::usage::{Spent, Usage, Used};
use crate::flags::Flags;
use crate::lines::{Lines, tag};
use crate::order::{Order, Signal, Start, is_text};
use crate::settings::Settings;
use ::log::warn;
use machine::exo::{Event, Instance, Key, Mode, Rules, Standing, Why};
use machine::time::Mono;
use machine::work::Fault;
use participant::protocol::ToParticipant;
use std::rc::Rc;
use std::time::Duration;
use sys::linux::process::Ended;
use work::{Delivery, Ended as Outcome};

/// Lines without sense in one attempt before the participant counts as broken.
pub(super) const PATIENCE: u32 = 10;
/// A participant is not asked more often than that how far it is.
const ASKED: Duration = Duration::from_secs(1);
/// What takes longer is no ordinary commit.
const COMMIT: Duration = Duration::from_secs(1);
/// Bytes read at once, or that each of its two outputs becomes in the log, before others have their turn.
const TURN: usize = 256 << 10;
/// The same of what a dead process left: it has no second turn. More than a pipe holds that nobody made
/// larger, but where its lines are empty, or nearly, and their tags long; no more, since it is in memory
/// beside all else.
const LEFT: usize = 4 << 20;

/// Returns how much is read at once. `to_end`: of a dead process.
pub(super) const fn at_once(to_end: bool) -> usize {
    if to_end { LEFT } else { TURN }
}

/// The process of an instance.
pub(super) struct Process {
    /// Names this start of it.
    pub(super) serial: u32,
    /// Known once the keeper reported it.
    pub(super) pid: Option<i32>,
    /// Our ends.
    pub(super) ends: Ends,
    /// How it ended, as far as that is known.
    pub(super) ended: Option<Ended>,
    /// What it used, known with that.
    pub(super) used: Option<Used>,
    /// Words about items that it does not have.
    pub(super) strays: u32,
    /// How it broke the protocol, where it did.
    pub(super) broke: Option<String>,
    /// It said hello.
    pub(super) said_hello: bool,
    /// It is killed because it said no hello in its time.
    pub(super) is_given_up: bool,
    /// It is killed because what it had in hand was cancelled.
    pub(super) is_unwanted: bool,
}

impl Process {
    /// Tells whether it printed more before it said what was heard last.
    pub(super) const fn is_behind(&self) -> bool {
        self.ends.out.is_behind() || self.ends.err.is_behind()
    }
}

/// The work on an item.
pub(super) struct Work {
    /// Which delivery.
    pub(super) key: Key,
    /// Process that the item belongs to.
    pub(super) wfid: String,
    /// The rest of its name.
    pub(super) identity: String,
    /// Its number as a job.
    pub(super) job: i64,
    /// Number of the attempt.
    pub(super) attempt: u32,
    /// The item.
    pub(super) item: Rc<Vec<u8>>,
    /// What it asks of its host.
    pub(super) flags: Flags,
    /// When it was handed over, by the wall clock: seconds and nanoseconds.
    pub(super) begun: (i64, u32),
    /// The same by the clock that nobody sets, not later.
    pub(super) since: Mono,
    /// What its job ends with unless it is done nevertheless, where it was cancelled.
    pub(super) cancelled: Option<Fault>,
    /// How far it is, in the participant's words.
    pub(super) progress: Option<Progress>,
    /// When it was asked how far it is.
    pub(super) asked: Option<Mono>,
    /// It has not answered that.
    pub(super) owes_progress: bool,
    /// What the participant said of its end.
    pub(super) said: Option<Outcome>,
    /// Lines without sense so far.
    pub(super) nonsense: u32,
}

/// How far the work on an item is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// From 0 to 1.
    pub(super) done: Option<f64>,
    /// For people.
    pub(super) text: Option<String>,
}

/// What is in hand or at hand.
struct Kept {
    key: Key,
    delivery: Delivery,
    /// Why it is not wanted any more, where it was cancelled.
    cancelled: Option<Fault>,
}

/// One instance.
pub(super) struct Slot {
    /// From 0.
    pub(super) number: u16,
    /// `PARTICIPANT_NUMBER`.
    pub(super) name: String,
    /// What decides about it.
    pub(super) machine: Instance,
    /// Its process.
    pub(super) process: Option<Process>,
    /// It waits for leave to go on with what it says, or for what it said to be safe.
    pub(super) is_kept_waiting: bool,
    /// How much of what it said had become safe when it began to wait for more of that, and when.
    unsafe_since: Option<(u64, Mono)>,
    /// What it has in hand.
    pub(super) work: Option<Work>,
    /// What is in hand or at hand, until it is settled.
    deliveries: Vec<Kept>,
    serial: u32,
    /// What stands before its lines.
    pub(super) tag: String,
    /// Why the last start failed, where it did.
    pub(super) start_failure: Option<String>,
    /// That one said no hello: it stands until another has said one.
    pub(super) is_unheard: bool,
    /// When its process was found dead, unless something was begun since then.
    pub(super) died: Option<Mono>,
    /// What its process uses.
    usage: Usage,
    /// Job whose item the last process did not read.
    unread: Option<i64>,
    /// What the keeper begins when the process has ended.
    pub(super) follower: Option<Follower>,
    /// What the machine is to be told once it has been told that.
    pub(super) put_off: Vec<Event>,
}

impl Slot {
    /// Makes an instance that has not begun.
    #[must_use]
    pub(super) fn new(name: String, number: u16, rules: Rules) -> Self {
        Self {
            number,
            tag: tag(&name, None),
            name,
            machine: Instance::new(rules),
            process: None,
            is_kept_waiting: false,
            unsafe_since: None,
            work: None,
            deliveries: Vec::new(),
            serial: 0,
            start_failure: None,
            is_unheard: false,
            died: None,
            usage: Usage::default(),
            unread: None,
            follower: None,
            put_off: Vec::new(),
        }
    }

    /// Its process was found dead, at a moment of the monotonic clock.
    pub(super) fn died(&mut self, at: u64) {
        self.died = Some(Mono(at));
    }

    /// Takes a delivery into its care.
    pub(super) fn keep(&mut self, key: Key, delivery: Delivery) {
        self.deliveries.push(Kept { key, delivery, cancelled: None });
    }

    /// Returns a delivery.
    pub(super) fn delivery(&mut self, key: Key) -> Option<&mut Delivery> {
        self.kept(key).map(|kept| &mut kept.delivery)
    }

    fn kept(&mut self, key: Key) -> Option<&mut Kept> {
        self.deliveries.iter_mut().find(|kept| kept.key == key)
    }

    /// Notes why a delivery is not wanted any more. Tells whether it is worked on; where it is only about
    /// to be, the work begins with that.
    pub(super) fn note_cancel(&mut self, key: Key, why: Fault) -> bool {
        if let Some(kept) = self.kept(key) {
            kept.cancelled = Some(why);
        }
        let work = self.work.as_mut().filter(|work| work.key == key);
        work.map(|work| work.cancelled = Some(why)).is_some()
    }

    /// Tells whether something is in hand or at hand.
    #[must_use]
    pub(super) fn has_delivery(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Gives a delivery out of its care, to be settled.
    pub(super) fn take(&mut self, key: Key) -> Option<Delivery> {
        let at = self.deliveries.iter().position(|kept| kept.key == key)?;
        Some(self.deliveries.swap_remove(at).delivery)
    }

    /// Returns which delivery has this lease.
    #[must_use]
    pub(super) fn key_of(&self, lease: work::Lease) -> Option<Key> {
        self.deliveries.iter().find(|kept| kept.delivery.key() == lease).map(|kept| kept.key)
    }

    /// Begins the work on a delivery.
    pub(super) fn begin(&mut self, key: Key, since: Mono, flags: fn(&[u8]) -> Flags) {
        match self.machine.mode() {
            Mode::PerItem => self.usage = Usage::default(),
            Mode::Persistent => {
                let pid = self.process.as_ref().and_then(|process| process.pid);
                self.usage.begin(pid, since);
            }
        }
        self.died = None;
        let Some(Kept { delivery, cancelled, .. }) = self.kept(key) else { return };
        let cancelled = *cancelled;
        let mut item = delivery.take_item();
        // A line break in it stands between words: inside them it would be escaped.
        for byte in &mut item {
            if *byte == b'\n' || *byte == b'\r' {
                *byte = b' ';
            }
        }
        let job = delivery.job();
        let (wfid, identity) = (job.wfid.clone(), job.identity.clone());
        let (number, attempt) = (job.lease.job.0, job.attempt);
        self.tag = tag(&self.name, Some((&wfid, attempt)));
        self.work = Some(Work {
            key,
            wfid,
            identity,
            job: number,
            attempt,
            flags: flags(&item),
            item: Rc::new(item),
            begun: moments::shown_at(since),
            since,
            cancelled,
            progress: None,
            asked: None,
            owes_progress: false,
            said: None,
            nonsense: 0,
        });
        if let Some(process) = &mut self.process {
            process.ends.out.lines.forget();
            process.ends.err.lines.forget();
        }
    }

    /// Ends the work on what is in hand, and the line that it did not end.
    pub(super) fn end_work(&mut self, out: &mut Vec<u8>) {
        if let Some(process) = &mut self.process {
            process.ends.out.lines.end(&self.tag, out);
            process.ends.err.lines.end(&self.tag, out);
        }
        self.tag = tag(&self.name, None);
        self.work = None;
    }

    /// Tells whether what it has in hand is to stop since it was cancelled.
    pub(super) fn is_being_cancelled(&self) -> bool {
        let standing = self.machine.standing();
        matches!(standing, Standing::Working { stopping: Some(Why::Cancelled), .. })
    }

    /// Returns what the work in hand used, which ends now.
    #[must_use]
    pub(super) fn spent(&mut self, now: Mono) -> Spent {
        let process = self.process.as_ref();
        let (pid, used) = process.map_or((None, None), |process| (process.pid, process.used));
        self.usage.end(pid, used, now)
    }

    /// Returns the order to start a process, for an item where it is for one. `is_behind`: once the one
    /// that there is has ended.
    pub(super) fn order_of(&mut self, item: Option<Key>, is_behind: bool) -> Start {
        let (instance, serial) = (self.number, self.serial.wrapping_add(1));
        let start = Start { instance, serial, is_behind, ..Start::default() };
        let Some(delivery) = item.and_then(|key| self.delivery(key)) else { return start };
        let job = delivery.job();
        Start {
            wfid: word(&job.wfid),
            attempt: job.attempt.to_string(),
            stage: job.stage.as_deref().map(word).unwrap_or_default(),
            ..start
        }
    }

    /// Tells whether the keeper is to take back what is to follow, and has not answered.
    pub(super) fn is_recalling(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.is_recalled)
    }

    /// Its process is this one, of which we have these ends.
    pub(super) fn begin_process(&mut self, serial: u32, mut ends: Ends) {
        if let (Link::PerItem(one), Some(work)) = (&mut ends.link, &self.work) {
            one.carry(Rc::clone(&work.item));
        }
        self.serial = serial;
        self.process = Some(Process {
            serial,
            pid: None,
            ends,
            ended: None,
            used: None,
            strays: 0,
            broke: None,
            said_hello: false,
            is_given_up: false,
            is_unwanted: false,
        });
    }

    /// Its process runs: nothing of what was known of the last one holds.
    pub(super) fn started(&mut self) {
        self.usage = Usage::default();
        self.start_failure.take_if(|_| !self.is_unheard);
    }

    /// Says the first words to a persistent participant.
    pub(super) fn greet(&mut self, settings: &Settings) {
        let instance = self.name.clone();
        self.say(&ToParticipant::Start {
            protocol: participant::protocol::VERSION,
            participant: &settings.participant,
            instance: &instance,
            engine: settings.engine(),
            config: &settings.config,
        });
    }

    /// Hands what is in hand over to a persistent participant.
    pub(super) fn hand_over(&mut self) {
        let Some(work) = &self.work else { return };
        let (key, item) = (work.key, Rc::clone(&work.item));
        let (id, attempt) = (u64::from(key.0), work.attempt);
        let stage = self.delivery(key).and_then(|delivery| delivery.job().stage.clone());
        let head = participant::protocol::work_head(id, attempt, stage.as_deref());
        if let Some(talk) = self.talk() {
            talk.hand_over(head, item, participant::protocol::WORK_TAIL);
        }
    }

    /// Tells whether a participant that is dead had not read the item in hand: it ended by itself
    /// while that was on its way. Once for an item: it may be that it cannot be read.
    pub(super) fn item_was_unread(&mut self) -> bool {
        let was_unread = self.talk().is_some_and(|talk| talk.item_was_unread());
        let job = self.work.as_ref().map(|work| work.job).filter(|_| was_unread);
        job.is_some() && std::mem::replace(&mut self.unread, job) != job
    }

    /// Returns the talk with a persistent participant; with another there is none.
    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        match &mut self.process.as_mut()?.ends.link {
            Link::Persistent(talk) => Some(talk),
            Link::PerItem(_) => None,
        }
    }

    /// Returns how many bytes it has said of an answer, or of whatever else, that goes on.
    #[must_use]
    pub(super) fn said(&self) -> usize {
        self.process.as_ref().map_or(0, |process| process.ends.link.said())
    }

    /// Tells whether it is not we who keep it from going on, as far as its leave goes.
    #[must_use]
    pub(super) fn is_heard(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.ends.link.is_heard())
    }

    /// Tells whether it waits for what it said to be safe, and nothing of it became so for longer than a
    /// commit takes.
    pub(super) fn is_stuck(&mut self, now: Mono) -> bool {
        let safe = self.talk().and_then(|talk| talk.safe());
        let was = self.unsafe_since.filter(|(was, _)| Some(*was) == safe);
        self.unsafe_since = safe.map(|safe| was.unwrap_or((safe, now)));
        was.is_some_and(|(_, since)| since.after(COMMIT) <= now)
    }

    /// Returns when that will be so.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let at = self.unsafe_since.map(|(_, since)| since.after(COMMIT));
        at.filter(|_| !self.is_kept_waiting)
    }

    /// Lets it say so many bytes of what goes on.
    pub(super) fn may_say(&mut self, leave: usize) {
        if let Some(process) = &mut self.process {
            process.ends.link.may_say(leave);
        }
    }

    /// Says something to a persistent participant; to another nothing can be said.
    pub(super) fn say(&mut self, message: &ToParticipant<'_>) {
        if let Some(talk) = self.talk() {
            talk.say(message);
        }
    }

    /// Asks a participant at work how far it is, unless it was asked just now, or did not answer the
    /// last time: who does not listen is not talked to.
    pub(super) fn ask_how_far(&mut self, now: Mono) {
        let Some(work) = &mut self.work else { return };
        let is_recent = work.asked.is_some_and(|at| at.after(ASKED) > now);
        if work.said.is_none() && !is_recent && !work.owes_progress {
            work.asked = Some(now);
            work.owes_progress = true;
            let id = u64::from(work.key.0);
            self.say(&ToParticipant::Status { id });
        }
    }

    /// Returns the order to signal its process.
    #[must_use]
    pub(super) fn signal(&self, signal: Signal) -> Option<Order> {
        let process = self.process.as_ref()?;
        Some(Order::Signal { instance: self.number, serial: process.serial, signal })
    }

    /// Reads what it printed. `to_end`: all that is left of a dead one.
    pub(super) fn read_output(&mut self, room: &mut [u8], to_end: bool, out: &mut Vec<u8>) {
        if let Some(process) = &mut self.process {
            let most = at_once(to_end);
            process.ends.out.take(room, most, &self.tag, out);
            process.ends.err.take(room, most, &self.tag, out);
            if to_end {
                process.ends.out.lines.end(&self.tag, out);
                process.ends.err.lines.end(&self.tag, out);
                if process.ends.out.has_more() || process.ends.err.has_more() {
                    warn!("{}: left more output than is kept; the rest is dropped", self.tag);
                }
            }
        }
    }

    /// Returns the last line that says something: of its errors, else of its output.
    #[must_use]
    pub(super) fn last_line(&self) -> Option<String> {
        let process = self.process.as_ref()?;
        let last = |lines: &Lines| lines.last();
        last(&process.ends.err.lines).or_else(|| last(&process.ends.out.lines))
    }
}

/// Returns a text as it may stand in the environment.
fn word(text: &str) -> String {
    if is_text(text) {
        return text.to_owned();
    }
    let mut clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    while !is_text(&clean) {
        clean.pop();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::super::Clocks;
    use super::*;
    use testkit::Scratch;
    use work::embedded::{self, Keep};
    use work::{Broker, Embedded, Event, NewJob, Place, Policy, Safety};

    const RULES: Rules = Rules {
        mode: Mode::PerItem,
        start: Duration::ZERO,
        item: None,
        cancel: Duration::ZERO,
        shutdown: Duration::ZERO,
        restart: Duration::ZERO,
        restart_longest: Duration::ZERO,
        ahead: 1,
    };

    /// Submits an item to a queue and takes it.
    fn taken(scratch: &Scratch) -> Delivery {
        let mut broker = Embedded::open(&embedded::Settings {
            place: Place::new(scratch.join("store")),
            clock: Clocks::of_this_boot().unwrap(),
            safety: Safety::Kill,
            queue: "p".to_owned(),
            policy: Policy::default(),
            drop_folder: None,
            keep: Keep::default(),
            error_class: work::item::ERROR_CLASS.to_owned(),
        })
        .unwrap();
        let (queue, wfid, item) = ("p".to_owned(), "w-1".to_owned(), b"{}".to_vec());
        let job = NewJob { queue, wfid, identity: "0_0".to_owned(), item, ..NewJob::default() };
        broker.send(1, job);
        broker.ask(work::Ask::Now, "p_0");
        let mut arrived = None;
        testkit::until(30, || {
            while let Some(event) = broker.next() {
                if let Event::Arrived(delivery) = event {
                    arrived = Some(delivery);
                }
            }
            arrived.is_some()
        });
        arrived.unwrap()
    }

    #[test]
    fn work_on_what_was_cancelled_just_before_begins_with_the_reason() {
        for why in [None, Some(Fault::KILLED)] {
            let scratch = Scratch::new();
            let mut slot = Slot::new("p_0".to_owned(), 0, RULES);
            slot.keep(Key(1), taken(&scratch));
            if let Some(why) = why {
                assert!(!slot.note_cancel(Key(1), why));
            }
            slot.begin(Key(1), Mono(1), crate::flags::flags);
            assert_eq!(slot.work.as_ref().unwrap().cancelled, why);
            assert!(slot.note_cancel(Key(1), Fault::CANCELLED));
            assert_eq!(slot.work.as_ref().unwrap().cancelled, Some(Fault::CANCELLED));
        }
    }
}
