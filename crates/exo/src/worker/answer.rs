//! What is asked by the control socket, and what is answered.

use super::control::Waited;
use super::slot::Slot;
use super::{Phase, Worker, now};
use crate::control::{Answer, Request, Until};
use ::log::info;
use machine::exo::{Event, Standing, Why};
use machine::time::Mono;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;
use sys::account;
use sys::linux::socket::Peer;
use work::{Asked, By, Reader};

/// Of the clients, so many may wait for something: the others always find somebody who listens.
const WAITERS: usize = 16;

impl Worker {
    /// Does what is asked; `None` where the answer follows.
    pub(super) fn answer(&mut self, at: usize, peer: Peer, request: &Request) -> Option<Answer> {
        match request {
            Request::Status => Some(self.status_for(None, None)),
            Request::Wait { until } => self.let_wait(at, Waited::For(*until)),
            Request::Watch { seen } => self.let_wait(at, Waited::Trouble(*seen)),
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
                if !self.log.is_full() && !self.is_replaced {
                    self.tell_all(Event::Resume);
                }
                Some(Answer::done())
            }
            Request::Cancel { wfid, expid, flavour } => {
                self.begin_cancel(at, peer, (wfid, expid.as_deref()), *flavour)
            }
            other => match other.asked() {
                Ok(asked) if asked.is_empty() => Some(Answer::made(&[])),
                Ok(asked) => {
                    self.make(at, peer, asked);
                    None
                }
                Err(why) => Some(Answer::failed(&why)),
            },
        }
    }

    /// Has all of this done in the name of whoever asked, who is answered once it is recorded.
    fn make(&mut self, at: usize, peer: Peer, all: Vec<(i64, Asked)>) {
        if let Some((_, first)) = all.first() {
            info!("told by user {} to {}{}", peer.uid, verb(first), numbers(&all));
        }
        let by = by(peer);
        let mut tickets = HashMap::new();
        for (id, asked) in all {
            let ticket = self.control.ticket();
            tickets.insert(ticket, id);
            self.broker.make(ticket, by.clone(), asked);
        }
        self.control.expect_made(at, tickets);
    }

    /// Answers later, once it is so.
    fn let_wait(&mut self, at: usize, what: Waited) -> Option<Answer> {
        let waits = self.control.let_wait(at, what, WAITERS);
        (!waits).then(|| Answer::failed("too many wait already"))
    }

    /// Answers those who wait for what is so by now.
    pub(super) fn answer_waiters(&mut self) {
        let mut reached: Vec<Waited> = Vec::new();
        for wanted in self.control.waited_for() {
            if !reached.contains(&wanted) && self.is_so(wanted) {
                reached.push(wanted);
            }
        }
        if reached.is_empty() {
            return;
        }
        let answer = Answer::status(&self.status());
        self.control.reached(&reached, &answer);
    }

    fn is_so(&self, what: Waited) -> bool {
        match what {
            Waited::Trouble(seen) => self.troubles.count() > seen,
            // That is answered where it is done.
            Waited::Cancel(_) => false,
            Waited::For(Until::Started) => {
                let is_on_its_way =
                    |standing| matches!(standing, Standing::Starting | Standing::Ending);
                !self.slots.iter().any(|slot| is_on_its_way(slot.machine.standing()))
            }
            Waited::For(Until::Idle) => {
                self.slots.iter().all(|slot| !slot.has_delivery())
                    && (self.phase != Phase::Running
                        || self.is_replaced
                        || self.has_nothing_ready())
            }
        }
    }

    /// Tells whether no job of our queue is ready; where the store cannot be read, that is not
    /// known, and the next event asks again.
    fn has_nothing_ready(&self) -> bool {
        let reader = Reader::open(&self.control.store);
        reader.and_then(|reader| reader.has_ready(&self.settings.queue)).is_ok_and(|has| !has)
    }

    /// Says how this instance stands, or all, and of those only who works on this process. Asks
    /// them how far they are, for whoever asks again: one may be busy, and nobody waits for it.
    pub(super) fn status_for(&mut self, instance: Option<&str>, wfid: Option<&str>) -> Answer {
        let is_meant = |slot: &Slot| {
            instance.is_none_or(|name| slot.name == name)
                && wfid.is_none_or(|wfid| slot.work.as_ref().is_some_and(|work| work.wfid == wfid))
        };
        let mut status = self.status();
        let those = self.slots.iter().filter(|slot| is_meant(slot));
        let those: Vec<Value> = those.map(status_of).collect();
        if let Some(wfid) = wfid.filter(|_| those.is_empty()) {
            return Answer::failed(&format!("nobody works on {wfid} here"));
        }
        status["instances"] = those.into();
        let now = now();
        self.slots.iter_mut().filter(|slot| is_meant(slot)).for_each(|slot| slot.ask_how_far(now));
        Answer::status(&status)
    }

    fn status(&self) -> Value {
        let state = match self.phase {
            Phase::Running if self.is_replaced => "draining",
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
            "life": self.troubles.life(),
            "troubles": self.troubles.count(),
            "last_troubles": self.troubles.last(),
            "done": self.settled.done,
            "failed": self.settled.failed,
            "cancelled": self.settled.cancelled,
            "seconds": seconds(self.begun),
            "instances": self.slots.iter().map(status_of).collect::<Vec<_>>(),
        })
    }
}

/// Returns who asks, as it is kept.
pub(super) fn by(peer: Peer) -> By {
    let name = account::listed_name_of(peer.uid).unwrap_or_default();
    By { uid: peer.uid, name: String::from_utf8_lossy(&name).into_owned() }
}

/// Returns what is done, for the log, with what has no number.
fn verb(asked: &Asked) -> Cow<'static, str> {
    match asked {
        Asked::Cancel(..) => "cancel".into(),
        Asked::Requeue { .. } => "requeue".into(),
        Asked::Revive(_) => "requeue dead item".into(),
        Asked::Exhume(_) => "drop dead item".into(),
        Asked::Blame { queue, signature, .. } => {
            format!("note a class of faults of {queue}: {signature}").into()
        }
        Asked::SetRule(rule) => {
            format!("make a rule for {}: {}", rule.queue, rule.signature).into()
        }
        Asked::DropRule(_) => "drop rule".into(),
        Asked::SetLabel { name, priority: Some(priority) } => {
            format!("give label {name} the priority {priority}").into()
        }
        Asked::SetLabel { name, priority: None } => {
            format!("take back the priority of label {name}").into()
        }
        _ => "change the store".into(),
    }
}

/// Returns what it is done with: the first few numbers of many, each behind a blank.
fn numbers(all: &[(i64, Asked)]) -> String {
    const FEW: usize = 5;
    let ids = all.iter().map(|(id, _)| *id).filter(|id| *id != 0);
    let few: Vec<String> = ids.take(FEW).map(|id| format!(" {id}")).collect();
    let few = few.concat();
    match all.len().saturating_sub(FEW) {
        0 => few,
        more => format!("{few} and {more} more"),
    }
}

fn seconds(since: Mono) -> f64 {
    Duration::from_nanos(now().nanos_from(since)).as_secs_f64()
}

fn status_of(slot: &Slot) -> Value {
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
            set("stopping", stopping.map(word_of).into());
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

/// Returns why somebody is to stop, in a status.
const fn word_of(why: Why) -> &'static str {
    match why {
        Why::Cancelled => "cancelled",
        Why::Late => "took too long",
        Why::Broken => "broke the protocol",
        Why::Overtaken => "overtaken",
        Why::Ended => "exo ends",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_the_log_says_with_what() {
        for (question, said) in [
            (r#""cancel-jobs","jobs":[3,4]"#, "cancel 3 4"),
            (r#""requeue","jobs":[1,2,3,4,5,6,7]"#, "requeue 1 2 3 4 5 and 2 more"),
            (r#""dead-requeue","dead":[3]"#, "requeue dead item 3"),
            (r#""dead-drop","dead":[3]"#, "drop dead item 3"),
            (r#""note","queue":"q","signature":"no #""#, "note a class of faults of q: no #"),
            (
                r#""rule-set","queue":"q","signature":"no #","limit":3,"until":1"#,
                "make a rule for q: no #",
            ),
            (r#""rule-drop","rule":7"#, "drop rule 7"),
            (r#""label-set","label":"a b","priority":-5"#, "give label a b the priority -5"),
            (r#""label-drop","label":"urgent""#, "take back the priority of label urgent"),
        ] {
            let request = Request::read(format!("{{\"command\":{question}}}").as_bytes());
            let all = request.unwrap().asked().unwrap();
            assert_eq!(verb(&all[0].1).into_owned() + &numbers(&all), said);
        }
    }

    #[test]
    fn each_reason_to_stop_stands_in_the_manual() {
        let page = include_str!("../../../../packaging/man/exo.8");
        let (_, reasons) = page.split_once(".It Li stopping\n").unwrap();
        let (reasons, _) = reasons.split_once(".It Li").unwrap();
        for why in [Why::Cancelled, Why::Late, Why::Broken, Why::Overtaken, Why::Ended] {
            let word = word_of(why);
            assert!(reasons.contains(&format!(".Ql {word} ")), "{word} is not in {reasons}");
        }
    }
}
