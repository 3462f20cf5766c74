//! What is published, until it is safe.

use super::tasks::{self, Publication, Published, RENEWED, most_taken};
use super::thread::{Answer, Connected, For, Marks, Part, RECONNECT, Thread};
use crate::broker::Event;
use crate::change::{Change, JobId, Lease, Refused};
use crate::embedded::thread::AT_ONCE;
use crate::item::{self, ErrorReply};
use machine::time::Mono;
use machine::work::{Fault, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

/// Bytes of what was requeued that are in memory at once, but for the last.
const AGAIN_BYTES: usize = 1 << 20;

const UNCONFIRMED: &str = "what was published is not confirmed";

/// Something that is published until it is safe.
struct Letter {
    queue: String,
    body: Arc<Vec<u8>>,
    marks: Marks,
    why: For,
    /// So often in a row it was not taken.
    refused: u32,
    /// It was not taken, and goes again at this moment.
    again: Option<Mono>,
}

/// All that is not known to be safe.
#[derive(Default)]
pub(super) struct Outgoing {
    letters: BTreeMap<u64, Letter>,
    last: u64,
    /// So often in a row the broker closed the channel for it.
    closed: u32,
    /// Bytes that the broker takes at most, once it closed a channel for more. Whoever connects anew
    /// asks anew.
    most: Option<usize>,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Tells whether the answer of a job is among it.
    pub(super) fn has_answer_of(&self, job: JobId) -> bool {
        self.letters.values().any(|out| matches!(out.why, For::Answer(id, _) if id == job))
    }

    /// Tells whether what was requeued by this number is among it.
    pub(super) fn has_again(&self, number: i64) -> bool {
        self.letters.values().any(|out| matches!(out.why, For::Again(of) if of == number))
    }

    /// Tells whether so much that was requeued is among it that no more is had from the record.
    pub(super) fn is_full_again(&self) -> bool {
        let again = self.letters.values().filter(|out| matches!(out.why, For::Again(_)));
        let bytes = again.map(|out| out.body.len());
        let (count, bytes) = bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        count >= AT_ONCE || bytes >= AGAIN_BYTES
    }

    /// What was requeued and is not known to be safe is had from the record once more: where it arrived
    /// it is not there any more, and does not go a second time.
    pub(super) fn forget_again(&mut self) {
        self.letters.retain(|_, out| !matches!(out.why, For::Again(_)));
    }

    /// Takes the answers of a job back. Returns whose end was to be told with them.
    fn withdraw(&mut self, job: JobId) -> Vec<(Lease, Fault)> {
        let mut ends = Vec::new();
        self.letters.retain(|_, out| match out.why {
            For::Answer(id, settled) if id == job => {
                ends.extend(settled);
                false
            }
            _ => true,
        });
        ends
    }

    /// Returns how many bytes those have that are larger than `small`.
    pub(super) fn large(&self, small: usize) -> usize {
        self.letters.values().map(|out| out.body.len()).filter(|bytes| *bytes > small).sum()
    }

    /// Returns when the next goes again that was not taken.
    pub(super) fn next_again(&self) -> Option<Mono> {
        self.letters.values().filter_map(|out| out.again).min()
    }

    /// Learns how much the broker takes from why it closed a channel. Tells whether something here is
    /// more than that.
    fn learn(&mut self, why: &str) -> bool {
        let most = most_taken(why, self.letters.values().map(|out| out.body.len()));
        self.most = most.or(self.most);
        most.is_some()
    }

    /// What was learned of the last connection may not hold for the next.
    pub(super) fn forget_most(&mut self) {
        self.most = None;
    }

    /// Something is to go again after a while.
    fn put_off(&mut self, token: u64, now: Mono) {
        if let Some(out) = self.letters.get_mut(&token) {
            out.refused = out.refused.saturating_add(1);
            out.again = Some(now.after(RECONNECT.after(out.refused, now.0 ^ token)));
        }
    }

    /// Something was taken: what was not goes again at once. Tells whether there was any such thing.
    fn taken(&mut self, refused: u32, now: Mono) -> bool {
        for out in self.letters.values_mut() {
            out.again = out.again.map(|at| at.min(now));
        }
        let was_closed = std::mem::take(&mut self.closed) > 0;
        was_closed || refused > 0
    }
}

impl Thread {
    /// Sends the answer of a job, whose name says which it is, from whatever attempt.
    pub(super) fn send_answer(
        &mut self,
        job: JobId,
        name: Option<(&str, &str)>,
        (answer, attempt): (Vec<u8>, u32),
        settled: Option<(Lease, Fault)>,
    ) {
        let queue = self.settings.reply_queue.clone();
        let marks = name.map(|(wfid, rest)| Marks::of(wfid, rest)).unwrap_or_default();
        let marks = Marks { attempt: Some(attempt), ..marks };
        self.publish(queue, answer, marks, For::Answer(job, settled));
    }

    /// Takes the answer back of what is to be done again: a confirm would be of that.
    pub(super) fn withdraw_answer(&mut self, job: JobId) {
        for (key, fault) in self.outgoing.withdraw(job) {
            self.news.push(Event::Settled { key, fault, retry: None });
        }
    }

    pub(super) fn publish(&mut self, queue: String, body: Vec<u8>, marks: Marks, why: For) {
        self.outgoing.last += 1;
        let body = Arc::new(body);
        let letter = Letter { queue, body, marks, why, refused: 0, again: None };
        self.outgoing.letters.insert(self.outgoing.last, letter);
        self.push(self.outgoing.last);
    }

    /// Publishes something, where there is a connection; if not, when there is one.
    fn push(&mut self, token: u64) {
        if self.connected.is_none() || !self.fits(token) {
            return;
        }
        if let (Some(connected), Some(out)) =
            (&mut self.connected, self.outgoing.letters.get_mut(&token))
        {
            out.again = None;
            connected.press.publish(Publication {
                token,
                queue: out.queue.clone(),
                body: Arc::clone(&out.body),
                marks: out.marks.clone(),
            });
        }
    }

    /// Has an error stand for an answer that is more than the broker takes, and gives up what else is.
    /// Tells whether there is something to publish: the broker would close the channel for the other,
    /// each time, and with it take from the rest what confirms are on their way.
    fn fits(&mut self, token: u64) -> bool {
        let Some(most) = self.outgoing.most else { return true };
        let Some(out) = self.outgoing.letters.get_mut(&token) else { return false };
        let bytes = out.body.len();
        if bytes <= most {
            return true;
        }
        let why = Refused::TooLarge { bytes, most };
        let class = &self.settings.error_class;
        match out.why {
            For::Sent(ticket) => {
                self.outgoing.letters.remove(&token);
                self.news.push(Event::Sent { ticket, job: Err(why) });
            }
            For::Answer(job, settled) if let Some(answer) = short(&out.body, class, &why, most) => {
                out.body = Arc::new(answer.clone());
                out.why = For::Answer(job, settled.map(|(key, fault)| (key, untold(fault))));
                let why = format!("its answer is not sent: {why}");
                self.changes.push_back((Change::Instead { job, answer, why }, Answer::Keep));
                self.news.push(Event::TooLarge { job, bytes, most });
                return true;
            }
            For::Answer(..) | For::Again(_) => {
                let what = format!("unable to send to the queue {}: {why}; {RENEWED}", out.queue);
                self.outgoing.put_off(token, self.store.now().mono);
                self.trouble(Part::Answers, what);
            }
        }
        false
    }

    /// Publishes all of it over what is new: the connection, or its channel for that.
    pub(super) fn push_all(&mut self) {
        let tokens: Vec<u64> = self.outgoing.letters.keys().copied().collect();
        for token in tokens {
            self.push(token);
        }
    }

    /// Publishes anew what was not taken, once it is time.
    pub(super) fn push_again(&mut self) {
        let Some(next) = self.outgoing.next_again() else { return };
        let now = self.store.now().mono;
        if next > now {
            return;
        }
        let all = self.outgoing.letters.iter();
        let due = all.filter(|(_, out)| out.again.is_some_and(|at| at <= now));
        let tokens: Vec<u64> = due.map(|(token, _)| *token).collect();
        for token in tokens {
            self.push(token);
        }
    }

    /// Hears of confirms. Whoever is in `context` is woken when there are more.
    pub(super) fn confirmed(&mut self, context: &mut Context<'_>) {
        let Some(connected) = &mut self.connected else { return };
        for (token, became) in connected.press.look(context) {
            self.published(token, became);
        }
    }

    /// Returns how long a confirm is still waited for.
    pub(super) fn patience(&self) -> Duration {
        let waits = self.connected.as_ref().filter(|one| !one.link.patient().is_blocked());
        let until = waits.and_then(|connected| connected.press.until());
        until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Gives up a connection over which a confirm does not come, unless it may stand behind what moves.
    pub(super) fn give_up_waiting(&mut self) {
        if !self.patience().is_zero() {
            return;
        }
        if !self.connected.as_mut().is_some_and(|connected| connected.press.goes_on()) {
            self.lost(UNCONFIRMED);
        }
    }

    fn published(&mut self, token: u64, became: Published) {
        let now = self.store.now().mono;
        match became {
            Published::Safe => {
                let Some(out) = self.outgoing.letters.remove(&token) else { return };
                if self.outgoing.taken(out.refused, now) {
                    self.well(Part::Answers);
                }
                self.is_safe(&out.why, out.marks.attempt);
            }
            Published::Unsure(why) => self.renew_press(&why),
            Published::Nowhere | Published::Refused => {
                let Some(out) = self.outgoing.letters.get(&token) else { return };
                if let For::Sent(ticket) = out.why {
                    self.outgoing.letters.remove(&token);
                    let why = if became == Published::Refused {
                        Refused::NotTaken
                    } else {
                        Refused::Absent("queue")
                    };
                    return self.news.push(Event::Sent { ticket, job: Err(why) });
                }
                let queue = out.queue.clone();
                self.trouble(Part::Answers, not_taken(&queue, &became));
                self.outgoing.put_off(token, now);
                if let (Published::Nowhere, Some(connected)) = (&became, &self.connected) {
                    tokio::spawn(tasks::make_again(Arc::clone(&connected.link), queue));
                }
            }
        }
    }

    fn is_safe(&mut self, why: &For, attempt: Option<u32>) {
        match *why {
            For::Answer(job, settled) => {
                let answered = Change::Answered(job, attempt.unwrap_or_default());
                self.changes.push_back((answered, Answer::Answered(job)));
                if let Some((key, fault)) = settled {
                    self.news.push(Event::Settled { key, fault, retry: None });
                }
            }
            For::Sent(ticket) => self.news.push(Event::Sent { ticket, job: Ok(None) }),
            For::Again(number) => {
                self.changes.push_back((Change::SentAgain(number), Answer::Keep));
            }
        }
    }

    /// Publishes over another channel: the broker closed the one that there was, as where its user may
    /// not write. What came over the others stays ours meanwhile.
    fn renew_press(&mut self, why: &str) {
        let now = self.store.now().mono;
        let is_known = self.outgoing.learn(why);
        let Some(Connected { link, press, teller, .. }) = &mut self.connected else { return };
        if !link.connection.status().connected() {
            let why = why.to_owned();
            return self.lost(&why);
        }
        if press.retire() {
            return;
        }
        self.outgoing.closed = self.outgoing.closed.saturating_add(1);
        let delay = RECONNECT.after(self.outgoing.closed, now.0);
        tokio::spawn(tasks::renew(Arc::clone(link), delay, teller.clone()));
        if is_known {
            return;
        }
        self.trouble(Part::Answers, format!("RabbitMQ takes no answers: {why}; {RENEWED}"));
    }
}

/// Returns the error that stands for an answer of which the broker takes nothing; `None` where it does
/// not take that either.
fn short(answer: &[u8], class: &str, why: &Refused, most: usize) -> Option<Vec<u8>> {
    let message = format!("the answer cannot be sent: {why}");
    let error = ErrorReply { class, message: &message, trace: &[] };
    item::with_error(answer, error, most).filter(|short| short.len() <= most)
}

/// Returns how a job ended whose sender gets an error in the place of its answer.
fn untold(fault: Fault) -> Fault {
    if fault.kind() == Kind::Done { Fault::SYSTEM } else { fault }
}

fn not_taken(queue: &str, became: &Published) -> String {
    if *became == Published::Nowhere {
        format!("the queue {queue} was deleted; it is made again")
    } else {
        format!(
            "RabbitMQ refuses what is for the queue {queue}: a policy may bound it and have it refuse \
             (reject-publish); {RENEWED}"
        )
    }
}
