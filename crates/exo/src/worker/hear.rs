//! What broker, keeper and participants say.

use super::link::Link;
use super::settle::{self, Form};
use super::slot::{PATIENCE, Process, Progress, Slot, at_once};
use super::usage::Used;
use super::{Phase, Worker, not_started, now, told};
use crate::order::Report;
use ::log::{error, info, warn};
use machine::exo::{Ask, Event, Mode, Standing, Word};
use machine::work::Fault;
use participant::protocol::{self, FromParticipant, ToParticipant};
use sys::linux::errno::Errno;
use sys::linux::process::Ended;
use sys::program::TROUBLE;
use work::units::Span;
use work::{Event as Heard, Lease, NewJob, Refused, item};

/// Most bytes of the reason why an item was refused: it may quote the item.
const REASON: usize = 1000;

/// What a forwarded item is answered to: which slot, which start of its process, and its ticket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forwarded {
    pub slot: usize,
    pub serial: u32,
    pub ticket: u64,
}

const fn machine_ask(ask: work::Ask) -> Ask {
    match ask {
        work::Ask::Now => Ask::Now,
        work::Ask::Ahead => Ask::Ahead,
    }
}

impl Worker {
    pub(super) fn hear_broker(&mut self) {
        while let Some(event) = self.broker.next() {
            match event {
                Heard::Arrived(delivery) => self.arrived(delivery),
                Heard::Withdrawn { ask, instance } => {
                    let slot = self.slot_of(&instance);
                    self.events.push_back((slot, Event::Withdrawn(machine_ask(ask))));
                }
                Heard::Settled { key, fault, .. } => {
                    self.large.answered(key);
                    *self.settled.of(fault) += 1;
                }
                Heard::Staged(lease) => self.staged(lease),
                Heard::Overtaken(lease) => {
                    self.large.answered(lease);
                    self.about(lease, Event::Overtaken);
                }
                Heard::Cancelled { key, why } => self.cancelled(key, why),
                Heard::Unwanted { wfid, identity, why } => {
                    *self.settled.of(why) += 1;
                    told::unwanted(&wfid, &identity);
                }
                Heard::Spared { wfid, identity } => told::spared(&wfid, &identity),
                Heard::Sent { ticket, job } => self.sent(ticket, job),
                Heard::Made { ticket, made } => {
                    if let Err(made) = self.cancels.made(ticket, made) {
                        self.control.made(ticket, made);
                    }
                }
                Heard::StatusAsked { ticket, instance, wfid } => {
                    let answer = self.status_for(instance.as_deref(), wfid.as_deref());
                    self.broker.tell(ticket, answer.0);
                }
                Heard::Trouble { what, lasting } => {
                    if lasting {
                        error!("unable to go on: {what}");
                        self.over = Some(TROUBLE);
                    } else {
                        warn!("unable to go on until it is mended: {what}");
                    }
                    self.troubles.of_queue(&what);
                    self.trouble = Some(what);
                }
                Heard::Well => {
                    info!("the queue can be used again");
                    self.trouble = None;
                }
                Heard::Buried { count, why } => told::buried(count, &why),
                Heard::Unread(file) => told::unread(&file),
                Heard::Rejected { dead, reason, bytes } => told::rejected(dead.0, &reason, bytes),
                Heard::Unheard { why } => told::unheard(&why),
                Heard::NotPassed { why } => told::not_passed(&why),
                Heard::TooLarge { job, bytes, most } => told::too_large(job.0, bytes, most),
                Heard::Crowded => told::crowded(),
                Heard::Full => told::full(),
                // Of a kind that this exo does not know.
                _ => {}
            }
        }
    }

    fn arrived(&mut self, delivery: work::Delivery) {
        let job = delivery.job();
        let begun = job.begun;
        let slot = self.slot_of(&job.instance);
        let key = self.new_key();
        self.slots[slot].keep(key, delivery);
        self.events.push_back((slot, Event::Arrived { key, begun }));
    }

    fn slot_of(&self, instance: &str) -> usize {
        self.slots.iter().position(|slot| slot.name == instance).unwrap_or(0)
    }

    fn about(&mut self, lease: Lease, event: fn(machine::exo::Key) -> Event) {
        for (slot, candidate) in self.slots.iter().enumerate() {
            if let Some(key) = candidate.key_of(lease) {
                self.events.push_back((slot, event(key)));
            }
        }
    }

    fn cancelled(&mut self, lease: Lease, why: Fault) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(key) = slot.key_of(lease) else { continue };
            if slot.note_cancel(key, why) {
                info!("{}: told to stop", slot.tag);
            }
            let hurry = why == Fault::KILLED;
            self.events.push_back((number, Event::Cancelled { key, hurry }));
        }
    }

    fn sent(&mut self, ticket: u64, job: Result<Option<work::JobId>, Refused>) {
        self.large.sent(ticket);
        let Some(to) = self.control.forwarded(ticket) else { return };
        let refused = job.as_ref().err().map(ToString::to_string);
        let slot = &mut self.slots[to.slot];
        if slot.process.as_ref().is_some_and(|process| process.serial == to.serial) {
            let (ticket, job) = (to.ticket, job.ok().flatten().map(|job| job.0));
            let refused = refused.as_deref().map(|why| item::cut(why, REASON));
            let message = ToParticipant::Sent { ticket, job, refused: refused.as_deref() };
            if let Some(talk) = slot.talk() {
                talk.say_sent(&message);
            }
            self.listen(to.slot, false);
        }
    }

    /// A stage is recorded: who said it is listened to again.
    fn staged(&mut self, lease: Lease) {
        let said = |slot: &mut Slot| slot.talk().is_some_and(|talk| talk.staged(lease));
        if let Some(slot) = self.slots.iter_mut().position(said) {
            self.listen(slot, false);
        }
    }

    pub(super) fn hear_keeper(&mut self) {
        loop {
            match self.keeper.next() {
                Ok(Some(report)) => self.reported(report),
                Ok(None) => return,
                Err(wrong) => return self.keeper_failed(wrong, "hear"),
            }
        }
    }

    fn reported(&mut self, report: Report) {
        let (instance, serial) = match report {
            Report::Shutdown => return self.shut_down(),
            Report::Replace => return self.replace(),
            Report::Recalled { instance, serial, has_begun: false } => {
                return self.recalled(usize::from(instance), serial);
            }
            // Its predecessor's end was told before.
            Report::Recalled { has_begun: true, .. } => return,
            Report::Started { instance, serial, .. }
            | Report::NotStarted { instance, serial, .. }
            | Report::Ended { instance, serial, .. } => (usize::from(instance), serial),
        };
        let Some(slot) = self.slots.get_mut(instance) else { return };
        let Some(process) = slot.process.as_mut().filter(|process| process.serial == serial) else {
            return;
        };
        match report {
            Report::Started { pid, .. } => {
                process.pid = Some(pid);
                slot.started();
            }
            Report::NotStarted { step, errno, .. } => {
                let uid = self.control.participant_uid();
                let why = not_started::words(step, Errno(errno), &self.settings, uid);
                self.start_failed(instance, why);
            }
            Report::Ended { how, cpu_us, peak_kib, at, .. } => {
                process.ended = Some(how);
                process.used = Some(Used { cpu_us, peak_kib });
                if process.pid.is_none() {
                    slot.started();
                }
                slot.died(at);
                self.ended(instance, how, cpu_us, peak_kib);
                // Its successor may have been started by now.
                self.slots[instance].process.take_if(|process| process.serial == serial);
            }
            Report::Recalled { .. } | Report::Shutdown | Report::Replace => {}
        }
    }

    /// A process is dead: what it left is read, and then it is none.
    fn ended(&mut self, slot: usize, how: Ended, cpu_us: u64, peak_kib: u64) {
        self.read_participant(slot, true);
        let form = Form { limit: self.settings.item_limit, class: &self.settings.error_class };
        let slot_ref = &mut self.slots[slot];
        let last = slot_ref.last_line();
        let mut well = false;
        if let (Some(work), Some(Process { ends, broke, .. })) =
            (&mut slot_ref.work, &mut slot_ref.process)
            && let Link::PerItem(one) = &mut ends.link
        {
            let mut outcome = if one.is_deaf() {
                settle::of_stall(how, broke.as_deref(), last, work, form)
            } else {
                settle::of_exit(how, std::mem::take(&mut one.bytes), last, work, form)
            };
            outcome.cpu_us = i64::try_from(cpu_us).ok();
            outcome.peak_kib = i64::try_from(peak_kib).ok();
            well = outcome.fault == Fault::NONE;
            work.said = Some(outcome);
        } else if slot_ref.machine.mode() == Mode::Persistent && self.phase != Phase::Stopping {
            // Its own words before ours about them.
            self.log.flush(now());
            self.ended_by_itself(slot, how);
        }
        let unread = self.slots[slot].item_was_unread();
        self.events.push_back((slot, Event::Died { well, unread }));
        // The machine settles what is in hand while the process is still known.
        self.decide();
    }

    /// Says how a persistent participant ended while exo goes on.
    fn ended_by_itself(&mut self, slot: usize, how: Ended) {
        let words = match how {
            Ended::Code(code) => format!("exit {code}"),
            Ended::Signal(signal) => format!("signal {signal}"),
        };
        let slot_ref = &mut self.slots[slot];
        // It is heard of the end of its socket before its death, as a rule: how the machine stands by
        // now says nothing of the hello.
        let process = slot_ref.process.as_ref();
        slot_ref.is_unheard = process.is_some_and(|process| !process.said_hello);
        if slot_ref.is_unheard {
            let limit = Span(self.settings.times.start);
            let why = match how {
                _ if process.is_some_and(|process| process.is_given_up) => {
                    format!("no hello within {limit}: killed; is mode: per-item meant?")
                }
                // As one does that reads an item and answers.
                Ended::Code(0) => format!("no hello: {words}; is mode: per-item meant?"),
                _ => format!("no hello: {words}"),
            };
            warn!("{}: {why}", slot_ref.tag);
            self.troubles.of(slot_ref, "not-started", &why);
            slot_ref.start_failure = Some(why);
            return;
        }
        slot_ref.start_failure = None;
        let why = if process.is_some_and(|process| process.is_unwanted) {
            Some("killed for a cancel")
        } else if slot_ref.is_being_cancelled() && matches!(how, Ended::Code(_)) {
            Some("asked to stop by a cancel")
        } else {
            None
        };
        if let Some(why) = why {
            info!("{}: ended: {words}; {why}", slot_ref.tag);
            return;
        }
        warn!("{}: ended: {words}", slot_ref.tag);
        // One that has nothing in hand may leave when it likes.
        if how != Ended::Code(0) || slot_ref.work.is_some() {
            self.troubles.of(slot_ref, "ended", &words);
        }
    }

    /// Reads what a participant said and printed. `to_end`: it is dead, and this is all of it.
    pub(super) fn read_participant(&mut self, slot: usize, to_end: bool) {
        let slot_ref = &mut self.slots[slot];
        if let Some(process) = &mut slot_ref.process {
            let is_behind = process.is_behind() && !to_end;
            match &mut process.ends.link {
                Link::PerItem(one) => one.read(&mut self.room, at_once(to_end), to_end),
                Link::Persistent(_) if is_behind => {}
                Link::Persistent(talk) => {
                    if talk.read(&mut self.room, at_once(to_end), to_end) {
                        process.ends.out.expect();
                        process.ends.err.expect();
                    }
                }
            }
        }
        // Behind that, and before any of it counts: what it printed before it said that the work is
        // done is here by now, and is still tagged with the item.
        let mut out = Vec::new();
        slot_ref.read_output(&mut self.room, to_end, &mut out);
        self.log.put(&out);
        self.listen(slot, to_end);
    }

    /// Writes what a participant is ready to read. Where it was behind with that, it is listened to
    /// again: what it said may be here already, so that nothing else would tell of it.
    pub(super) fn write_participant(&mut self, slot: usize) {
        match self.slots[slot].process.as_mut().map(|process| &mut process.ends.link) {
            Some(Link::PerItem(one)) => one.write(),
            Some(Link::Persistent(talk)) => {
                talk.write();
                if talk.can_go_on() {
                    self.listen(slot, false);
                }
            }
            None => {}
        }
    }

    /// Hears what it said so far; the rest once that is safe, and it has read what it is told.
    /// `to_end`: it is dead, and this is all.
    fn listen(&mut self, slot: usize, to_end: bool) {
        // Of what it printed before there is more, and it is to be read first.
        if !to_end && self.slots[slot].process.as_ref().is_some_and(Process::is_behind) {
            return;
        }
        loop {
            let Some(talk) = self.slots[slot].talk() else { return };
            if talk.is_behind() && !to_end {
                talk.shrink();
                return;
            }
            let Some(line) = talk.line() else {
                if talk.is_over() {
                    let broke = talk.broke();
                    if let Some(process) = &mut self.slots[slot].process {
                        process.broke = process.broke.take().or(broke);
                    }
                    self.events.push_back((slot, Event::Broken));
                }
                return;
            };
            let line = self.hear_line(slot, line);
            // Each word counts before the next one is heard.
            self.decide();
            if let Some(talk) = self.slots[slot].talk() {
                talk.reuse(line);
            }
        }
    }

    /// Hears a line; returns it, to be used again, but where what it carries is sent on in it.
    fn hear_line(&mut self, slot: usize, line: Vec<u8>) -> Vec<u8> {
        let message = match FromParticipant::read(&line) {
            Ok(message) => message,
            Err(why) => {
                let why = why.to_string();
                if !protocol::ended_by(&line).is_some_and(|id| self.ended_badly(slot, id, &why)) {
                    self.nonsense(slot, &why);
                }
                return line;
            }
        };
        match &message {
            FromParticipant::Hello { protocol: protocol::VERSION } => {
                let slot_ref = &mut self.slots[slot];
                if let Some(process) = &mut slot_ref.process {
                    process.said_hello = true;
                }
                if slot_ref.machine.standing() == Standing::Starting {
                    slot_ref.start_failure = None;
                }
                self.events.push_back((slot, Event::Hello));
                self.ready();
            }
            FromParticipant::Hello { protocol } => {
                let (name, known) = (&self.slots[slot].name, protocol::VERSION);
                error!("{name} speaks version {protocol} of the protocol; {known} is needed");
                self.listen_no_more(slot, "speaks another version of it");
            }
            FromParticipant::Forward { ticket, queue, item } => {
                let (ticket, queue) = (*ticket, queue.to_string());
                let place = settle::place_in(&line, item.get().as_bytes());
                self.forward(slot, ticket, &queue, settle::carve(line, place));
                return Vec::new();
            }
            FromParticipant::Result { id, .. }
            | FromParticipant::Fault { id, .. }
            | FromParticipant::Cancelled { id }
            | FromParticipant::Progress { id, .. }
            | FromParticipant::Stage { id, .. } => {
                let answer = self.hear_about(slot, *id, &message);
                let place = answer.map(|answer| settle::place_in(&line, answer));
                if let (Some(place), Some(work)) = (place, &mut self.slots[slot].work) {
                    let said = work.said.get_or_insert_default();
                    said.output = Some(settle::carve(line, place));
                    return Vec::new();
                }
            }
        }
        line
    }

    /// Hears something about an item, which must be the one in hand. Returns the answer that is to
    /// be put into what was said.
    fn hear_about<'a>(
        &mut self,
        slot: usize,
        id: u64,
        message: &FromParticipant<'a>,
    ) -> Option<&'a [u8]> {
        let form = Form { limit: self.settings.item_limit, class: &self.settings.error_class };
        let slot_ref = &mut self.slots[slot];
        let tag = &slot_ref.tag;
        let Some(work) = slot_ref.work.as_mut().filter(|work| u64::from(work.key.0) == id) else {
            if let Some(process) = &mut slot_ref.process {
                process.strays = process.strays.saturating_add(1);
                let so_far = process.strays;
                // A flood must not fill the log.
                if so_far.is_power_of_two() {
                    let what = format!("speaks of item {id}, which it does not have; ignored");
                    warn!("{tag}: {what}, {so_far} so far");
                }
            }
            return None;
        };
        if let Some((outcome, answer)) = settle::of_message(message, work, form) {
            let (key, is_done) = (work.key, outcome.fault == Fault::NONE);
            work.said = Some(outcome);
            let how = match message {
                FromParticipant::Cancelled { .. } => Word::GaveUp,
                _ if is_done => Word::Done,
                _ => Word::Failed,
            };
            self.events.push_back((slot, Event::Answered { key, word: how }));
            return answer;
        }
        match message {
            FromParticipant::Progress { done, text, .. } => {
                let text = text.as_ref().map(|text| text.chars().take(200).collect());
                work.progress = Some(Progress { done: *done, text });
                work.owes_progress = false;
            }
            FromParticipant::Stage { stage, .. } => {
                let (key, stage) = (work.key, stage.as_ref().map(ToString::to_string));
                let bytes = stage.as_ref().map_or(0, String::len);
                if let Some(delivery) = slot_ref.delivery(key) {
                    let lease = delivery.key();
                    self.broker.stage(delivery, stage);
                    if let Some(talk) = slot_ref.talk() {
                        talk.expect_staged(lease, bytes);
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// Hears that the work on an item ended, and what was said of it means nothing: the participant has
    /// done with it, and will say nothing else. Tells whether it has that item in hand.
    fn ended_badly(&mut self, slot: usize, id: u64, why: &str) -> bool {
        let form = Form { limit: self.settings.item_limit, class: &self.settings.error_class };
        let Slot { work, tag, .. } = &mut self.slots[slot];
        let Some(work) = work.as_mut().filter(|work| u64::from(work.key.0) == id) else {
            return false;
        };
        warn!("{tag}: said how the work ended without sense: {}", why.escape_default());
        work.said = Some(settle::of_nonsense(why, work, form));
        self.events.push_back((slot, Event::Answered { key: work.key, word: Word::Failed }));
        true
    }

    fn nonsense(&mut self, slot: usize, why: &str) {
        let slot_ref = &mut self.slots[slot];
        let tag = &slot_ref.tag;
        let so_far = slot_ref.work.as_mut().map_or(PATIENCE, |work| {
            work.nonsense += 1;
            work.nonsense
        });
        if so_far < PATIENCE {
            warn!("{tag}: said something without sense: {}", why.escape_default());
        } else {
            warn!("{tag}: speaks without sense: {}", why.escape_default());
            self.listen_no_more(slot, &format!("spoke without sense: {why}"));
        }
    }

    /// What it said and was not heard yet does not count either.
    pub(super) fn listen_no_more(&mut self, slot: usize, why: &str) {
        if let Some(process) = &mut self.slots[slot].process {
            process.broke.get_or_insert_with(|| why.to_owned());
            process.ends.link.give_up();
        }
        self.events.push_back((slot, Event::Broken));
    }

    fn forward(&mut self, slot: usize, ticket: u64, queue: &str, item: Vec<u8>) {
        let serial = self.slots[slot].process.as_ref().map_or(0, |process| process.serial);
        let owner = self.control.participant_uid();
        let bytes = item.len();
        let read = NewJob::from_item(queue, item, self.settings.item_limit, "");
        let read = read.map_err(|why| why.to_string());
        let fit = read.and_then(|job| match item::flaw_of_process(&job.wfid) {
            Some(why) => Err(why),
            None => Ok(job),
        });
        let refused = match fit {
            Ok(job) => {
                let to = Forwarded { slot, serial, ticket };
                let ticket = self.control.expect_sent(to);
                self.large.sends(ticket, bytes);
                let mut job = NewJob { owner: Some(owner), ..job };
                if job.wfid.is_empty() {
                    // One without a name has our ticket's: the participant may use its own again.
                    let name = &self.slots[slot].name;
                    job.identity = format!("{name}!{ticket}!{}", self.begun.0);
                } else {
                    job = job.named_apart(&self.settings.participant);
                }
                self.broker.send(ticket, job);
                if let Some(talk) = self.slots[slot].talk() {
                    talk.expect_sent();
                }
                return;
            }
            Err(why) => why,
        };
        let refused = Some(&*item::cut(&refused, REASON));
        self.slots[slot].say(&ToParticipant::Sent { ticket, job: None, refused });
    }
}
