//! The logger as a whole: what there is, and one turn of its loop after the other.

use crate::direct::Direct;
use crate::folder::Folder;
use crate::input::{Input, More};
use crate::lines::Lines;
use crate::output::{Output, Outputs};
use crate::script::Action;
use crate::spool::Spool;
use crate::stamp::Lead;
use crate::wait::{Events, Wait};
use crate::{FATAL, NAME, WARNING, recover, start};
use linux::errno::Errno;
use linux::file::flags;
use linux::memory::{self, Arena};
use linux::message;
use linux::program::TROUBLE;
use linux::time::{self, SECOND};

/// How long the rest of a line is waited for once TERM has come.
const REST_OF_LINE: u64 = 2 * SECOND;
/// How long a log may be in trouble once TERM has come: 15 s are promised.
const PATIENCE: u64 = 10 * SECOND;
/// The pause after trouble (multilog(8)).
const PAUSE: u64 = 5 * SECOND;
/// How long memory is kept after a load, and how long the little that single lines take.
const CALM: u64 = SECOND;
const QUIET: u64 = 10 * SECOND;
/// Input that came so often is a load.
const LOAD: u32 = 8;

/// How lines travel.
pub enum Way {
    /// From pipe to file within the kernel.
    Direct(Direct),
    /// Through memory.
    Lines(Input),
}

impl Way {
    /// Returns the spool, where lines go by way of one.
    fn spool(&self) -> Option<&Spool> {
        match self {
            Self::Direct(_) => None,
            Self::Lines(input) => input.spool.as_ref(),
        }
    }

    fn spool_mut(&mut self) -> Option<&mut Spool> {
        match self {
            Self::Direct(_) => None,
            Self::Lines(input) => input.spool.as_mut(),
        }
    }

    /// Returns the same once it has begun: that notes all places.
    fn begun_spool(&mut self) -> Option<&mut Spool> {
        self.spool_mut().filter(|spool| !spool.is_new())
    }
}

/// The logger.
pub struct Logger {
    script: &'static [Action],
    lead: Lead,
    logs: &'static mut [Folder],
    outputs: Outputs,
    lines: Lines,
    way: Way,
    wait: Wait,
    /// Descriptor 0 has ended, or what is left of a line is taken for all of it.
    has_ended: bool,
    /// What to end with.
    code: i32,
    /// When TERM or HUP came.
    stopped_at: Option<u64>,
    /// It was HUP, and TERM did not come behind it.
    is_replaced: bool,
    /// The rest of the line is left to the next multilog.
    leaves_half: bool,
    /// The logs are being closed, which may take until a processor or a pause is over.
    is_closing: bool,
    rotation_asked: bool,
    /// How often input came since memory was given back.
    takes: u32,
    /// Not before then is the spool tried again.
    paused_until: Option<u64>,
    last_input: u64,
}

/// What the next turn waits for besides signals, logs and deadlines.
enum Want {
    /// More input.
    Input,
    /// Nothing.
    Nothing,
    /// The end.
    End,
}

impl Logger {
    /// Puts a logger together.
    #[must_use]
    pub fn new(
        script: &'static [Action],
        lead: Lead,
        logs: &'static mut [Folder],
        outputs: Outputs,
        lines: Lines,
        way: Way,
        wait: Wait,
    ) -> Self {
        Self {
            script,
            lead,
            logs,
            outputs,
            lines,
            way,
            wait,
            has_ended: false,
            code: 0,
            stopped_at: None,
            is_replaced: false,
            leaves_half: false,
            is_closing: false,
            rotation_asked: false,
            takes: LOAD,
            paused_until: None,
            last_input: 0,
        }
    }

    /// Tells whether another multilog is to take the place of this one, which has ended.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.is_replaced && self.code == 0
    }

    /// Logs until the input ends, or TERM or HUP comes; returns the exit code.
    pub fn run(&mut self) -> i32 {
        loop {
            let now = time::monotonic();
            self.work(now);
            let want = self.turn(now);
            self.is_closing |= matches!(want, Want::End);
            if self.is_closing && self.finish(now) {
                return self.code;
            }
            if self.stopped_at.is_some_and(|at| now >= at + PATIENCE) {
                return self.give_up();
            }
            self.calm(now);
            let events = self.wait(&want, now);
            self.obey(events, time::monotonic());
        }
    }

    /// Lets the logs do what is due: also those that take bytes have deadlines and processors.
    fn work(&mut self, now: u64) {
        for i in 0..self.logs.len() {
            self.logs[i].work(now);
            while self.logs[i].begin_due(now) {
                self.leave(i, now);
            }
            if self.logs[i].is_ready() && self.paused_until.is_none_or(|at| now >= at) {
                self.note(i, now);
            }
        }
    }

    /// Lets a log go on behind its current file. Failing to note that, it goes on all the same:
    /// the next file waits for nobody.
    fn leave(&mut self, i: usize, now: u64) {
        if let Way::Direct(direct) = &mut self.way {
            direct.rotates(&self.logs[i]);
        }
        self.leave_file(i, now);
        self.logs[i].work(now);
    }

    /// Does what can be done without more input.
    fn turn(&mut self, now: u64) -> Want {
        loop {
            if !self.logs.iter().all(Folder::is_ready) {
                // At TERM a processor or a failure holds the end up no longer than a log allows.
                let may_end = self.stopped_at.is_some() && self.is_all_written();
                return if may_end { Want::End } else { Want::Nothing };
            }
            if self.paused_until.is_some_and(|at| now < at) {
                return Want::Nothing;
            }
            self.paused_until = None;
            // What failed may have made room for itself.
            if matches!(self.way, Way::Direct(_)) || self.pump(now) {
                break;
            }
        }
        if core::mem::take(&mut self.rotation_asked) && self.rotate(now) {
            return self.turn(now);
        }
        let may_stop = || self.leaves_half || !self.is_in_line();
        if self.has_ended || self.stopped_at.is_some() && may_stop() {
            return Want::End;
        }
        Want::Input
    }

    /// Deals with the lines that were read; tells whether all is written and more can come.
    fn pump(&mut self, now: u64) -> bool {
        loop {
            if !self.flush(now) {
                return false;
            }
            let Way::Lines(input) = &mut self.way else { return true };
            if let Err(why) = input.fetch() {
                return self.trouble("unable to read spool in ", why, now);
            }
            let raw = input.waiting();
            let lead = self.lead.bytes();
            let n = self.lines.feed(self.script, lead, raw, self.has_ended, &mut self.outputs);
            input.done(n);
            if self.outputs.logs.iter().all(|log| log.waiting().is_empty()) && n == 0 {
                break;
            }
        }
        self.respool(now)
    }

    /// Writes what waits for the logs; tells whether it is all written.
    fn flush(&mut self, now: u64) -> bool {
        for i in 0..self.logs.len() {
            while !self.outputs.logs[i].waiting().is_empty() {
                if !self.logs[i].is_ready() {
                    self.logs[i].work(now);
                    if !self.logs[i].is_ready() {
                        return false;
                    }
                }
                if !self.note(i, now) {
                    return false;
                }
                let n = self.logs[i].put(self.outputs.logs[i].waiting(), now);
                self.outputs.logs[i].written(n);
                if let Some(spool) = self.way.spool_mut() {
                    spool.totals[i] += n as u64;
                }
                if !self.logs[i].is_ready() && !self.leave_file(i, now) {
                    return false;
                }
            }
        }
        true
    }

    /// Makes sure that the spool knows where the next byte of a log goes.
    fn note(&mut self, i: usize, now: u64) -> bool {
        let Some(spool) = self.way.begun_spool() else { return true };
        let (log, total, place) = (&self.logs[i], spool.totals[i], &spool.places[i]);
        let is_known = (place.dev, place.ino) == log.id()
            && place.start.wrapping_add(total.wrapping_sub(place.before)) == log.len();
        is_known || self.leave_file(i, now)
    }

    /// Says in the spool how much a log has got, whatever becomes of its file: before a rotation,
    /// since a processor may put another file in its place before the next byte comes.
    fn leave_file(&mut self, i: usize, now: u64) -> bool {
        let Some(spool) = self.way.begun_spool() else { return true };
        let (log, total) = (&self.logs[i], spool.totals[i]);
        let place = &mut spool.places[i];
        let known = *place;
        (place.dev, place.ino) = log.id();
        (place.start, place.before) = (log.len(), total);
        match spool.note() {
            Ok(()) => true,
            Err(why) => {
                spool.places[i] = known;
                self.trouble("unable to write spool in ", why, now)
            }
        }
    }

    /// Goes on with the other spool where this one is used up, or its directory was made anew.
    fn respool(&mut self, now: u64) -> bool {
        let Way::Lines(input) = &mut self.way else { return true };
        let (Some(spool), Some(log)) = (&mut input.spool, self.logs.first()) else { return true };
        let followed = spool.follow(log.directory(), log.entries());
        if followed == Ok(true) {
            let kept = b" has what a killed multilog had not written, kept in spool.*.kept";
            message::plain(NAME, WARNING, &[log.name(), kept]);
        }
        let is_due = spool.is_new() || input.is_used_up();
        let answer = match followed {
            Ok(_) if is_due => recover::begin(input, self.logs, &self.outputs, self.lines),
            answer => answer.map(drop),
        };
        match answer {
            Ok(()) => true,
            Err(why) => self.trouble("unable to write spool in ", why, now),
        }
    }

    /// Says what is wrong and pauses, or makes room; false.
    fn trouble(&mut self, what: &str, why: Errno, now: u64) -> bool {
        if let Some(log) = self.logs.first_mut().filter(|log| log.drops_for(why)) {
            log.failed(why, now);
            return false;
        }
        let name = self.logs.first().map_or(&b""[..], Folder::name);
        message::system(NAME, WARNING, &[what.as_bytes(), name, b", pausing"], why);
        self.paused_until = Some(now + PAUSE);
        false
    }

    /// Does what ALRM asks for, as far as it can be done now; tells whether there was anything.
    fn rotate(&mut self, now: u64) -> bool {
        let mut any = false;
        for i in 0..self.logs.len() {
            if self.logs[i].is_empty() {
                continue;
            }
            self.logs[i].rotate();
            self.leave(i, now);
            any = true;
        }
        any
    }

    /// Tells whether a log could be closed though it is not ready for more.
    fn is_all_written(&self) -> bool {
        !self.is_in_line() && self.outputs.logs.iter().all(|log| log.waiting().is_empty())
    }

    fn is_in_line(&self) -> bool {
        match &self.way {
            Way::Direct(direct) => self.logs.first().is_some_and(|log| direct.is_in_line(log)),
            Way::Lines(input) => self.lines.in_line || !input.waiting().is_empty(),
        }
    }

    /// Waits for what is wanted.
    fn wait(&mut self, want: &Want, now: u64) -> Events {
        let pause = self.paused_until.filter(|at| *at > now);
        let stop = self.stopped_at.map(|at| {
            let rest = at + REST_OF_LINE;
            if now < rest { rest } else { at + PATIENCE }
        });
        let calm = (self.takes > 0).then(|| self.calm_at());
        let logs = self.logs.iter().filter_map(Folder::deadline).min();
        let deadline = [pause, stop, calm, logs].into_iter().flatten().min();
        self.wait.wait(matches!(want, Want::Input), self.logs, deadline, now)
    }

    /// Does what the events ask for.
    fn obey(&mut self, events: Events, now: u64) {
        self.rotation_asked |= events.rotate;
        if (events.stop || events.replace) && self.stopped_at.is_none() {
            self.stopped_at = Some(now);
            self.is_replaced = true;
        }
        self.is_replaced &= !events.stop;
        if self.stopped_at.is_some_and(|at| now >= at + REST_OF_LINE) {
            self.stop_in_line();
        } else if events.input {
            self.take(now);
        }
    }

    /// Takes input that is there.
    fn take(&mut self, now: u64) {
        self.last_input = now;
        self.takes = self.takes.saturating_add(1);
        for i in 0..self.logs.len() {
            self.logs[i].check(now);
            if !self.logs[i].is_ready() {
                self.leave(i, now);
            }
        }
        // All that was read before is written.
        if !self.logs.iter().all(Folder::is_ready) || !self.respool(now) {
            return;
        }
        let only_line = self.stopped_at.is_some();
        let answer = match (&mut self.way, &mut self.logs) {
            (Way::Direct(direct), [log, ..]) => direct.more(log, now, only_line),
            (Way::Direct(_), []) => Ok(More::End),
            (Way::Lines(input), _) => {
                self.lead.set(time::wall());
                input.more(only_line)
            }
        };
        match answer {
            Ok(More::Some | More::NotYet) => {}
            Ok(More::End) => self.end(now),
            Err(why) => self.input_failed(why, now),
        }
    }

    /// The rest of the line has not come since TERM. It may come to the next multilog, which then
    /// goes on with it; what was read for good is made a line.
    fn stop_in_line(&mut self) {
        match &self.way {
            Way::Lines(Input { spool: None, .. }) => self.has_ended = true,
            _ => self.leaves_half = true,
        }
    }

    /// The input has ended: a line without its newline gets one.
    fn end(&mut self, now: u64) {
        let is_in_line = self.is_in_line();
        if let (Way::Direct(_), [log, ..], true) = (&self.way, &mut *self.logs, is_in_line) {
            // Failing, it is tried again: the input has still ended then.
            if log.put(b"\n", now) == 0 {
                return;
            }
        }
        self.has_ended = true;
    }

    fn input_failed(&mut self, why: Errno, now: u64) {
        // Not this kind of input, or not this kind of file system: the other way then.
        let is_refused = why == Errno(flags::EINVAL);
        let has_promise = !matches!(self.way, Way::Lines(Input { spool: None, .. }));
        if is_refused && has_promise {
            let name = self.logs.first().map_or(&b""[..], Folder::name);
            let parts = [&b"unable to splice into "[..], name, b", kill -9 may lose lines"];
            message::system(NAME, WARNING, &parts, why);
        }
        match &mut self.way {
            Way::Direct(_) if is_refused => self.go_through_memory(),
            Way::Direct(_) => {
                if let Some(log) = self.logs.first_mut() {
                    log.failed(why, now);
                }
            }
            Way::Lines(Input { spool: None, .. }) => self.cannot_read(why),
            Way::Lines(_) if is_refused => {
                self.remove_spool();
                if let Way::Lines(input) = &mut self.way {
                    input.spool = None;
                }
            }
            Way::Lines(_) => {
                self.trouble("unable to write spool in ", why, now);
            }
        }
    }

    fn cannot_read(&mut self, why: Errno) {
        message::system(NAME, FATAL, &[b"unable to read input"], why);
        (self.has_ended, self.code) = (true, TROUBLE);
    }

    fn go_through_memory(&mut self) {
        let outputs = start::open_outputs(&mut Arena::new(&mut []), self.logs.len());
        match (outputs, Input::new(None)) {
            (Ok(outputs), Ok(input)) => {
                self.outputs.logs = outputs;
                self.way = Way::Lines(input);
            }
            (Err(why), _) | (_, Err(why)) => self.cannot_read(why),
        }
    }

    /// Returns when memory is given back unless there is more input.
    fn calm_at(&self) -> u64 {
        self.last_input + if self.takes < LOAD { QUIET } else { CALM }
    }

    /// Gives back the memory of a load that is over.
    fn calm(&mut self, now: u64) {
        if self.takes == 0 || now < self.calm_at() {
            return;
        }
        if let Way::Lines(input) = &mut self.way {
            input.shrink();
        }
        self.outputs.logs.iter_mut().for_each(Output::shrink);
        self.takes = 0;
        memory::give_back_stack();
    }

    /// Closes the logs; tells whether all are closed.
    fn finish(&mut self, now: u64) -> bool {
        let mut all = true;
        for log in self.logs.iter_mut() {
            log.finish(now);
            all &= log.is_finished();
        }
        if all && !self.is_in_line() {
            self.remove_spool();
        }
        all
    }

    fn remove_spool(&self) {
        if let (Some(spool), Some(log)) = (self.way.spool(), self.logs.first()) {
            spool.remove(log.directory());
        }
    }

    /// Ends in spite of trouble: what could not be written stays in the spool or in the pipe.
    fn give_up(&self) -> i32 {
        let is_lost = match &self.way {
            Way::Lines(Input { spool: None, .. }) => {
                self.outputs.logs.iter().any(|log| !log.waiting().is_empty())
            }
            _ => false,
        };
        let what = if is_lost { "lines are lost" } else { "lines are left to the next multilog" };
        message::plain(NAME, FATAL, &[b"told to end while in trouble: ", what.as_bytes()]);
        TROUBLE
    }
}
