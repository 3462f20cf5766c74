//! Notices on their way: held back or told, gathered, given to each target, and kept meanwhile.

use super::child::{EACH, End, Running};
use super::gather::{self, Answer, Hands, Lines, Question};
use super::message::{Notice, utc};
use super::state::{Folder, Pending, Safety, State, Told};
use super::trouble::Trouble;
use super::watch::Member;
use super::{deliver, now};
use crate::failure::warn;
use crate::here::Here;
use exo::config::notice::{self as config, Kind};
use machine::notice::{Action, Actions, Event, Group, Rules, Target, Verdict};
use machine::time::{Mono, earlier};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use sys::linux::fd::PollFd;

/// Between trouble and a look at its log: the logger writes the last words meanwhile.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// What may be written behind a death and still belong to it.
const NEAR: i64 = 200_000_000;
/// How long gathering may take.
const GATHERING: Duration = Duration::from_secs(10);
/// Between two tries to write the state.
const WRITE_AGAIN: Duration = Duration::from_secs(10);
/// So many tries, and a notice is given up: with an hour between the later ones, about a day.
const TRIES: u32 = 30;

/// A target, and what it is doing.
struct Place {
    config: config::Target,
    label: String,
    machine: Target,
    line: VecDeque<u64>,
    running: Option<Running>,
}

/// What goes with a notice, being read.
struct Gathering {
    number: u64,
    running: Running,
    until: Option<Mono>,
}

/// All notices.
pub struct Post {
    here: Here,
    config: config::Notice,
    folder: Folder,
    /// What must not be forgotten. Whoever changes it says so by [`Post::changed`].
    pub state: State,
    changed: Option<Safety>,
    /// The state could not be written; tried again then.
    write_again: Option<Mono>,
    groups: BTreeMap<String, Group>,
    places: Vec<Place>,
    notices: BTreeMap<u64, Notice>,
    /// Notices that are to be gathered, and when.
    due: BTreeMap<u64, Mono>,
    gathering: Option<Gathering>,
    /// Nothing new is begun.
    is_ending: bool,
}

impl Post {
    /// Begins with what an earlier life left.
    #[must_use]
    pub fn new(here: &Here, folder: Folder, state: State) -> Self {
        let config = here.site.notice.clone();
        let rules = |target: &config::Target| Rules {
            limit: target.time_limit,
            first: config.retry.first,
            longest: config.retry.longest,
            tries: TRIES,
        };
        let place = |target: &config::Target| Place {
            config: target.clone(),
            label: target.what.label(),
            machine: Target::new(rules(target)),
            line: VecDeque::new(),
            running: None,
        };
        let places = config.targets.iter().map(place).collect();
        let names: Vec<String> = state.groups.keys().cloned().collect();
        let groups = names.into_iter().map(|name| {
            let group = state.group(&name, config.every);
            (name, group)
        });
        let groups = groups.collect();
        let mut post = Self {
            here: here.clone(),
            config,
            folder,
            state,
            changed: None,
            write_again: None,
            groups,
            places,
            notices: BTreeMap::new(),
            due: BTreeMap::new(),
            gathering: None,
            is_ending: false,
        };
        post.resume();
        post
    }

    /// Goes on with what was on its way.
    fn resume(&mut self) {
        for i in 0..self.state.pending.len() {
            let number = self.state.pending[i].number;
            let is_there = match self.folder.read_notice(number) {
                Some(notice) => self.notices.insert(number, notice).is_none(),
                None => false,
            };
            let pending = &mut self.state.pending[i];
            match &mut pending.left {
                Some(left) if is_there => {
                    left.retain(|label| self.places.iter().any(|place| place.label == *label));
                    for label in left.clone() {
                        self.queue(number, &label);
                    }
                }
                left => {
                    *left = None;
                    self.due.insert(number, now());
                }
            }
        }
        self.clear();
    }

    /// Tells whether anybody is to be told of this kind.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        !self.places.is_empty() && self.config.kinds.contains(&kind)
    }

    /// The state was changed.
    pub fn changed(&mut self, safety: Safety) {
        self.changed = Some(self.changed.map_or(safety, |before| before.max(safety)));
    }

    /// Something went wrong.
    pub fn happened(&mut self, trouble: Trouble) {
        if !trouble.kind().is_some_and(|kind| self.wants(kind)) {
            return;
        }
        let name = self.state.place_of(&trouble);
        let group = self.groups.entry(name.clone()).or_default();
        let verdict = group.happened(trouble.times, self.config.every, now());
        self.state.keep_group(name, *group, trouble.clone());
        self.changed(Safety::Kill);
        if let Verdict::Tell(count) = verdict {
            self.tell(trouble, count);
        }
    }

    fn tell(&mut self, trouble: Trouble, count: u64) {
        let number = self.state.next;
        self.state.next += 1;
        let begun = Vec::new();
        let pending = Pending { number, trouble: trouble.clone(), count, left: None, begun };
        self.state.pending.push(pending);
        self.state.remember(Told { number, trouble, count, targets: BTreeMap::new() });
        self.due.insert(number, now().after(LAST_WORDS));
        self.changed(Safety::Power);
    }

    /// Returns when [`Post::act`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let groups = self.groups.values().map(Group::deadline).fold(None, earlier);
        let places = self.places.iter().map(|place| place.machine.deadline()).fold(None, earlier);
        let gathering = match &self.gathering {
            Some(gathering) => gathering.until,
            None if self.is_ending => None,
            None => self.due.values().copied().min(),
        };
        let rest = earlier(gathering, self.write_again);
        if self.is_ending { rest } else { earlier(earlier(groups, places), rest) }
    }

    /// Does what is due. `members`: where things are.
    pub fn act(&mut self, members: &BTreeMap<String, Member>) {
        let now = now();
        if let Some(gathering) = &mut self.gathering
            && gathering.until.is_some_and(|until| until <= now)
        {
            gathering.until = None;
            gathering.running.kill();
        }
        if !self.is_ending {
            self.tick_groups(now);
            for i in 0..self.places.len() {
                if self.places[i].machine.deadline().is_some_and(|at| at <= now) {
                    self.step(i, Event::Tick);
                }
            }
            self.gather(members, now);
        }
        self.save(now);
    }

    fn tick_groups(&mut self, now: Mono) {
        let due = |group: &Group| group.deadline().is_none_or(|at| at <= now);
        let names: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| due(group))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            let verdict = group.tick(self.config.every, now);
            let group = *group;
            let last = self.state.groups.get(&name).map(|held| held.last.clone());
            match (verdict, last) {
                (Verdict::Tell(count), Some(last)) => {
                    self.state.keep_group(name, group, last.clone());
                    self.tell(last, count);
                }
                (Verdict::Hold, Some(_)) => {}
                (Verdict::Forget, _) | (_, None) => {
                    self.groups.remove(&name);
                    self.state.groups.remove(&name);
                    self.changed(Safety::Kill);
                }
            }
        }
    }

    /// Reads what goes with the first notice whose time has come.
    fn gather(&mut self, members: &BTreeMap<String, Member>, now: Mono) {
        while self.gathering.is_none() {
            let due = self.due.iter().find(|(_, at)| **at <= now).map(|(number, _)| *number);
            let Some(number) = due else { return };
            self.due.remove(&number);
            let Some(pending) = self.state.pending.iter().find(|one| one.number == number) else {
                continue;
            };
            let question = self.question(&pending.trouble, members);
            match gather::ask(&self.here, &question) {
                Ok(running) => {
                    let until = Some(now.after(GATHERING));
                    self.gathering = Some(Gathering { number, running, until });
                }
                Err(why) => {
                    let log_from = format!("nowhere: unable to read it: {why}");
                    self.gathered(number, Answer { log_from, ..Answer::default() });
                }
            }
        }
    }

    fn question(&self, trouble: &Trouble, members: &BTreeMap<String, Member>) -> Question {
        let Some(member) = members.get(&trouble.service) else { return Question::default() };
        let places = self.here.places();
        let nanos = i64::from(trouble.at.1) + NEAR;
        let until = (trouble.at.0 + nanos / 1_000_000_000, (nanos % 1_000_000_000) as u32);
        let log = Lines {
            dir: member.dir.clone(),
            common: places.logs.join(crate::service::OWN_LOG),
            count: self.config.lines,
            until,
        };
        let hands = member.queue.as_ref().filter(|_| trouble.items.is_empty()).map(|queue| Hands {
            store: places.store.clone(),
            queue: queue.clone(),
            when: trouble.at.0 * 1_000_000 + i64::from(trouble.at.1) / 1000,
        });
        Question { log: (self.config.lines > 0).then_some(log), held: hands, dead: None }
    }

    /// What goes with a notice is known: everybody may be told.
    fn gathered(&mut self, number: u64, answer: Answer) {
        // Gathered once more, since it could not be kept: some may have been told.
        let told = self.state.told.iter().find(|told| told.number == number);
        let has = |label: &String| {
            told.and_then(|told| told.targets.get(label))
                .is_some_and(|one| one.done || one.given_up)
        };
        let labels = self.places.iter().map(|place| place.label.clone());
        let labels: Vec<String> = labels.filter(|label| !has(label)).collect();
        let Some(pending) = self.state.pending.iter_mut().find(|one| one.number == number) else {
            return;
        };
        if pending.trouble.items.is_empty() {
            pending.trouble.items = answer.items;
        }
        pending.left = Some(labels.clone());
        let (log, log_from) = (answer.log, answer.log_from);
        let (count, trouble) = (pending.count, pending.trouble.clone());
        let notice = notice(&self.here, &self.state.begun, number, (count, trouble));
        let notice = Notice { log, log_from, ..notice };
        if let Err(why) = self.folder.write_notice(&notice) {
            // It is told all the same; a life after a kill gathers it anew.
            warn(&format!("unable to keep notice {number}: {why}"));
        }
        self.notices.insert(number, notice);
        self.changed(Safety::Power);
        // Before anybody is told: what is known of it is on the disk.
        self.save(now());
        for label in labels {
            self.queue(number, &label);
        }
        self.clear();
    }

    fn queue(&mut self, number: u64, label: &str) {
        if let Some(i) = self.places.iter().position(|place| place.label == label) {
            self.places[i].line.push_back(number);
            self.step(i, Event::Queued);
        }
    }

    fn step(&mut self, i: usize, event: Event) {
        let mut event = Some(event);
        while let Some(next) = event.take() {
            let mut actions = Actions::default();
            self.places[i].machine.step(next, now(), &mut actions);
            while let Some(action) = actions.pop() {
                match action {
                    Action::Try if !self.attempt(i) => event = Some(Event::Failed),
                    Action::Try => {}
                    Action::Kill => {
                        if let Some(running) = &self.places[i].running {
                            running.kill();
                        }
                    }
                    Action::Done => self.over(i, false),
                    Action::GiveUp => self.over(i, true),
                    Action::Refuse => self.refuse(i),
                }
            }
        }
    }

    /// Tells a target the first in its line; `false` where that cannot even be begun.
    fn attempt(&mut self, i: usize) -> bool {
        let Some(number) = self.places[i].line.front().copied() else { return false };
        let label = self.places[i].label.clone();
        let mut again = false;
        if let Some(pending) = self.state.pending.iter_mut().find(|one| one.number == number) {
            again = pending.begun.contains(&label);
            if !again {
                pending.begun.push(label.clone());
                self.changed(Safety::Kill);
                // A life after a kill knows that it may be there already.
                self.save(now());
            }
        }
        let Some(notice) = self.notices.get(&number) else { return false };
        let sendmail = &self.config.sendmail;
        let started = deliver::start(&self.here, &self.places[i].config, sendmail, notice, again);
        match started {
            Ok(running) => {
                self.places[i].running = Some(running);
                true
            }
            Err(why) => {
                self.failed(i, &why);
                false
            }
        }
    }

    fn failed(&mut self, i: usize, why: &str) {
        let place = &self.places[i];
        let Some(number) = place.line.front().copied() else { return };
        let label = place.label.clone();
        warn(&format!("{label} did not take notice {number}: {why}"));
        self.state.outcome(number, &label, |outcome| {
            outcome.tries += 1;
            outcome.failure = Some(why.to_owned());
        });
        self.changed(Safety::Kill);
    }

    fn over(&mut self, i: usize, given_up: bool) {
        let Some(number) = self.places[i].line.pop_front() else { return };
        let label = self.places[i].label.clone();
        if given_up {
            warn(&format!("{label} is not told notice {number} any more: it failed {TRIES} times"));
        }
        self.state.outcome(number, &label, |outcome| {
            outcome.tries += u32::from(!given_up);
            (outcome.done, outcome.given_up) = (!given_up, given_up);
        });
        self.no_more(number, &label);
    }

    fn refuse(&mut self, i: usize) {
        let Some(number) = self.places[i].line.pop_back() else { return };
        let label = self.places[i].label.clone();
        warn(&format!("{label} is not told notice {number}: too many wait for it already"));
        self.state.outcome(number, &label, |outcome| outcome.given_up = true);
        self.no_more(number, &label);
    }

    fn no_more(&mut self, number: u64, label: &str) {
        if let Some(pending) = self.state.pending.iter_mut().find(|one| one.number == number)
            && let Some(left) = &mut pending.left
        {
            left.retain(|other| other != label);
        }
        self.clear();
    }

    /// Forgets notices that nobody is still to be told.
    fn clear(&mut self) {
        let is_over = |one: &Pending| one.left.as_ref().is_some_and(Vec::is_empty);
        let over: Vec<u64> =
            self.state.pending.iter().filter(|one| is_over(one)).map(|one| one.number).collect();
        self.state.pending.retain(|one| !is_over(one));
        self.changed(Safety::Kill);
        for number in over {
            self.notices.remove(&number);
            self.folder.remove_notice(number);
        }
    }

    fn save(&mut self, now: Mono) {
        let Some(safety) = self.changed else { return };
        if self.write_again.is_some_and(|at| at > now) {
            return;
        }
        let had_failed = self.write_again.take().is_some();
        match self.folder.write(&self.state, safety) {
            Ok(()) => self.changed = None,
            Err(why) => {
                if !had_failed {
                    warn(&format!("unable to write what was told, trying again: {why}"));
                }
                self.write_again = Some(now.after(WRITE_AGAIN));
            }
        }
    }

    /// Begins nothing new any more.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// Tells whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.gathering.is_none() && self.places.iter().all(|place| place.running.is_none())
    }

    /// Appends what is to be polled.
    pub fn interests(&self, fds: &mut Vec<PollFd>) {
        let running = self.places.iter().map(|place| place.running.as_ref());
        for running in running.chain([self.gathering.as_ref().map(|one| &one.running)]) {
            match running {
                Some(running) => running.interests(fds),
                None => fds.extend([PollFd::none(); EACH]),
            }
        }
    }

    /// Returns how many descriptors that are.
    #[must_use]
    pub fn count(&self) -> usize {
        (self.places.len() + 1) * EACH
    }

    /// Hears of programs that run: `fds` are those of [`Post::interests`].
    pub fn hear(&mut self, fds: &[PollFd]) {
        for (i, fds) in fds.chunks(EACH).enumerate() {
            if i < self.places.len() {
                let end = self.places[i].running.as_mut().and_then(|running| running.hear(fds));
                if let Some(end) = end {
                    self.places[i].running = None;
                    self.tried(i, &end);
                }
            } else if let Some(gathering) = &mut self.gathering
                && let Some(end) = gathering.running.hear(fds)
            {
                let number = gathering.number;
                self.gathering = None;
                self.gathered(number, answer(&end));
            }
        }
    }

    fn tried(&mut self, i: usize, end: &End) {
        if end.well {
            return self.step(i, Event::Delivered);
        }
        let said = String::from_utf8_lossy(&end.said);
        let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let colon = if said.is_empty() { "" } else { ": " };
        self.failed(i, &format!("{}{colon}{said}", end.how));
        self.step(i, Event::Failed);
    }
}

fn answer(end: &End) -> Answer {
    let read = serde_json::from_slice(&end.said).ok().filter(|_| end.well);
    read.unwrap_or_else(|| {
        let log_from = format!("nowhere: reading it ended with {}", end.how);
        Answer { log_from, ..Answer::default() }
    })
}

/// Returns a notice without a log.
#[must_use]
pub fn notice(here: &Here, begun: &str, number: u64, (count, trouble): (u64, Trouble)) -> Notice {
    let name = || sys::account::name_of(here.uid).unwrap_or_default();
    let instance = if here.is_system() {
        "system".to_owned()
    } else {
        String::from_utf8_lossy(&name()).into_owned()
    };
    let time = utc(trouble.at);
    let (id, host) = (format!("{begun}-{number}"), sys::host::name());
    let log_from = "nowhere: none was asked for".to_owned();
    let (log, trial) = (Vec::new(), false);
    Notice { id, number, host, instance, count, time, trouble, log, log_from, trial }
}
