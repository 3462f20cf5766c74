//! The queues of this machine as an engine's way to participants.

use super::QUEUE;
use super::machine::Came;
use super::message::Fei;
use super::process::Action;
use super::transport::{Heard, Performed, Transport};
use crate::failure::Failure;
use crate::here::Here;
use crate::items::hand::{self, Own};
use exo::control::code_of;
use exo::worker::Clocks;
use participant::protocol::Flavour;
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use sys::linux::fd::PollFd;
use work::embedded::{Keep, Settings};
use work::item::MOST;
use work::{
    Ask, Asked, Broker, By, Delivery, Embedded, Ended, Event, NewJob, Place, Policy, Reader,
};

/// What an engine is called among those who take from its queue.
const INSTANCE: &str = "engine";
/// A message is tried as often as the engine dies over it, and never lost to that.
const TRIES: u32 = 1_000_000;

/// The engine's queue in the store, and all others.
pub struct Queues {
    broker: Embedded,
    reader: Reader,
    by: By,
    in_hand: Option<Delivery>,
    /// What is under way: for which process, its number there, and whether it is an item.
    tickets: HashMap<u64, (String, u64, bool)>,
    next: u64,
}

impl Queues {
    /// Opens the queue. Root becomes the user whose the store is, for good.
    ///
    /// # Errors
    /// The store cannot be used.
    pub fn open(here: &Here) -> Result<Self, Failure> {
        let by = hand::caller();
        Own::open(here)?;
        let place = Place::new(&here.places().store);
        let mut policy = Policy::default();
        policy.limit.tries = TRIES;
        // As large as the answer of whatever participant may be.
        policy.largest = MOST;
        let mut broker = Embedded::open(&Settings {
            place: place.clone(),
            clock: Clocks::of_this_boot().map_err(Failure::trouble)?,
            safety: here.site.safety,
            queue: QUEUE.to_owned(),
            policy,
            drop_folder: None,
            keep: Keep::default(),
            error_class: work::item::ERROR_CLASS.to_owned(),
        })?;
        broker.ask(Ask::Now, INSTANCE);
        let reader = Reader::open(&place)?;
        Ok(Self { broker, reader, by, in_hand: None, tickets: HashMap::new(), next: 0 })
    }

    fn ticket(&mut self, wfid: &str, number: u64, is_item: bool) -> u64 {
        self.next += 1;
        self.tickets.insert(self.next, (wfid.to_owned(), number, is_item));
        self.next
    }

    fn done(&mut self, ticket: u64, refused: Option<String>) -> Option<Heard> {
        let (wfid, number, _) = self.tickets.remove(&ticket)?;
        Some(match refused {
            Some(why) => Heard::Refused { wfid, number, why },
            None => Heard::Done { wfid, number },
        })
    }

    fn cancel(
        &mut self,
        (wfid, number): (&str, u64),
        queue: &str,
        (fei, dispatched_at): (&Fei, &str),
        flavour: Flavour,
    ) -> Result<Performed, Failure> {
        // The item itself may be on its way there.
        if self.tickets.values().any(|(of, _, is_item)| of == wfid && *is_item) {
            return Ok(Performed::Later);
        }
        let subid = fei.subid.as_deref().unwrap_or_default();
        let identity = format!("{}!{subid}!{dispatched_at}", fei.expid);
        let Some(job) = self.reader.named(queue, &fei.wfid, &identity)? else {
            return Ok(Performed::Done);
        };
        let ticket = self.ticket(wfid, number, false);
        self.broker.make(ticket, self.by.clone(), Asked::Cancel(job, code_of(flavour)));
        Ok(Performed::UnderWay)
    }
}

impl Transport for Queues {
    fn interest(&self) -> PollFd {
        PollFd::readable(self.broker.wakeup().as_raw_fd())
    }

    fn next(&mut self) -> Result<Option<Heard>, Failure> {
        while let Some(event) = self.broker.next() {
            let heard = match event {
                Event::Arrived(delivery) => {
                    let job = delivery.job();
                    let key = format!("job-{}", job.lease.job.0);
                    let message = job.item.clone();
                    self.in_hand = Some(delivery);
                    Some(Heard::Told { key, came: Came::Named, message })
                }
                Event::Sent { ticket, job } => self.done(ticket, job.err().map(|e| e.to_string())),
                // A cancel that is refused comes too late, which its answer tells as well.
                Event::Made { ticket, .. } => self.done(ticket, None),
                Event::Trouble { what, lasting: true } => {
                    return Err(Failure::trouble(format!("unable to {what}")));
                }
                Event::Trouble { what, lasting: false } => {
                    let line = format!("unable to go on until it is mended: {what}");
                    Some(Heard::Said(line))
                }
                Event::Well => Some(Heard::Said("it goes on".to_owned())),
                _ => None,
            };
            if heard.is_some() {
                return Ok(heard);
            }
        }
        Ok(None)
    }

    fn settle(&mut self, ignored: Option<String>) {
        if let Some(delivery) = self.in_hand.take() {
            self.broker.finish(delivery, Ended { text: ignored, ..Ended::default() });
            self.broker.ask(Ask::Now, INSTANCE);
        }
    }

    fn perform(&mut self, wfid: &str, number: u64, action: &Action) -> Result<Performed, Failure> {
        match action {
            Action::Dispatch { queue, item, .. } => {
                let bytes = item.get().as_bytes().to_vec();
                let job = NewJob::from_item(queue, bytes, MOST, "");
                let job = job.map_err(|why| Failure::trouble(why.to_string()))?;
                let (reply_to, owner) = (Some(QUEUE.to_owned()), Some(self.by.uid));
                let ticket = self.ticket(wfid, number, true);
                self.broker.send(ticket, NewJob { reply_to, owner, ..job });
                Ok(Performed::UnderWay)
            }
            Action::Cancel { queue, fei, dispatched_at, flavour } => {
                self.cancel((wfid, number), queue, (fei, dispatched_at), *flavour)
            }
        }
    }
}
