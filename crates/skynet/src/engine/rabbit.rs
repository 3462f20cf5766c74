//! RabbitMQ as an engine's way to participants: on this machine and on others, new and old.
//!
//! Items go to the participants' queues, which are theirs to make: with arguments that only they know.
//! An item for a queue that is not there waits. A cancel goes to everybody by the control exchange, for
//! whoever has the item in hand, and to the item's queue, for whoever gets it later, or knows no other.
//!
//! Source: wire format of the engine, sections 2 to 8.

use super::machine::Came;
use super::message::Fei;
use super::process::Action;
use super::transport::{Heard, Performed, Transport};
use crate::failure::Failure;
use crate::here::Here;
use crate::items::hand::Own;
use crate::rabbit;
use participant::protocol::Flavour;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsRawFd;
use sys::linux::fd::PollFd;
use work::amqp::{Mail, Mailbox, Tag};
use work::wire;

/// What operators of the broker see.
const NAME: &str = "skynet engine";

/// Something that was sent and is not known to be in its queue.
struct Ticket {
    wfid: String,
    number: u64,
    queue: String,
    /// Place and handing out, where it is an item.
    item: Option<(String, Option<String>)>,
}

/// The engine's queue, and all others of the virtual host.
pub struct Rabbit {
    mailbox: Mailbox,
    in_hand: Option<Tag>,
    tickets: HashMap<u64, Ticket>,
    next: u64,
    /// Queues that were told to be missing.
    missing: BTreeSet<String>,
}

impl Rabbit {
    /// Begins to connect. Root becomes the user whose the store is, for good: the password is for
    /// that one to read.
    ///
    /// # Errors
    /// The site says too little of the broker, or the store cannot be used.
    pub fn open(here: &Here) -> Result<Self, Failure> {
        let server = rabbit::server(&here.site.broker)?;
        Own::open(here)?;
        let mailbox = Mailbox::open(server, NAME, &here.site.broker.reply_queue)
            .map_err(|why| Failure::io("make a thread for", "RabbitMQ", &why))?;
        let (tickets, missing) = (HashMap::new(), BTreeSet::new());
        Ok(Self { mailbox, in_hand: None, tickets, next: 0, missing })
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn send(&mut self, ticket: Ticket, body: Vec<u8>) {
        let number = self.number();
        self.mailbox.send(number, &ticket.queue, body);
        self.tickets.insert(number, ticket);
    }

    fn heard(&mut self, mail: Mail) -> Option<Heard> {
        match mail {
            Mail::Message { tag, body, id, redelivered } => {
                self.in_hand = Some(tag);
                let came = match id {
                    Some(_) => Came::Named,
                    None => Came::By { connection: tag.connection(), again: redelivered },
                };
                Some(Heard::Told { key: key(id.as_deref(), &body), came, message: body })
            }
            Mail::Sent(number) => {
                let Ticket { wfid, number, queue, .. } = self.tickets.remove(&number)?;
                self.missing.remove(&queue);
                Some(Heard::Done { wfid, number })
            }
            Mail::GivenUp(number) => {
                let Ticket { wfid, number, .. } = self.tickets.remove(&number)?;
                Some(Heard::Done { wfid, number })
            }
            Mail::Missing(number) => self.is_missing(number),
            Mail::Refused(number) => {
                let Ticket { wfid, queue, .. } = self.tickets.get(&number)?;
                Some(Heard::Said(format!(
                    "unable to hand out an item of {wfid}: RabbitMQ refuses what is for the queue \
                     {queue}, as where it is full; it waits"
                )))
            }
            Mail::TooLarge(number, why) => {
                let Ticket { wfid, number, .. } = self.tickets.remove(&number)?;
                Some(Heard::Refused { wfid, number, why })
            }
            Mail::Away(why) => Some(Heard::Said(away(&why))),
            Mail::Back => Some(Heard::Said("connected to RabbitMQ again".to_owned())),
            Mail::Blocked(why) => Some(Heard::Said(format!(
                "RabbitMQ takes nothing: {why}; what is to be handed out waits"
            ))),
            Mail::Unblocked => Some(Heard::Said("RabbitMQ takes messages again".to_owned())),
        }
    }

    fn is_missing(&mut self, number: u64) -> Option<Heard> {
        let Ticket { wfid, queue, item, .. } = self.tickets.get(&number)?;
        if item.is_none() {
            // Nobody can have what is to be cancelled.
            self.mailbox.give_up(number);
            return None;
        }
        if !self.missing.insert(queue.clone()) {
            return None;
        }
        Some(Heard::Said(format!(
            "unable to hand out an item of {wfid}: there is no queue {queue}; it waits: start the \
             participant, which makes its queue"
        )))
    }

    fn cancel(
        &mut self,
        (wfid, number): (&str, u64),
        queue: &str,
        (fei, dispatched_at): (&Fei, &str),
        flavour: Flavour,
    ) -> Performed {
        // The item itself may be on its way there.
        let is_it = |ticket: &&Ticket| {
            let item = ticket.item.as_ref();
            ticket.wfid == wfid
                && item.is_some_and(|(expid, subid)| *expid == fei.expid && *subid == fei.subid)
        };
        let mut under_way = self.tickets.iter().filter(|(_, ticket)| is_it(ticket));
        if let Some((number, _)) = under_way.next() {
            self.mailbox.give_up(*number);
            return Performed::Later;
        }
        let (fei, flavour) = (super::tree::raw(fei), rabbit::flavour(flavour));
        let body = wire::cancel(&fei, flavour, Some(dispatched_at));
        let announced = self.number();
        self.mailbox.announce(announced, body.clone());
        let (wfid, queue) = (wfid.to_owned(), queue.to_owned());
        self.send(Ticket { wfid, number, queue, item: None }, body);
        Performed::UnderWay
    }
}

impl Transport for Rabbit {
    fn interest(&self) -> PollFd {
        PollFd::readable(self.mailbox.wakeup().as_raw_fd())
    }

    fn next(&mut self) -> Result<Option<Heard>, Failure> {
        while let Some(mail) = self.mailbox.next() {
            let heard = self.heard(mail);
            if heard.is_some() {
                return Ok(heard);
            }
        }
        Ok(None)
    }

    fn settle(&mut self, _ignored: Option<String>) {
        if let Some(tag) = self.in_hand.take() {
            self.mailbox.acknowledge(tag);
        }
    }

    fn perform(&mut self, wfid: &str, number: u64, action: &Action) -> Result<Performed, Failure> {
        match action {
            Action::Dispatch { queue, item, fei } => {
                let named = Some((fei.expid.clone(), fei.subid.clone()));
                let (wfid, queue) = (wfid.to_owned(), queue.clone());
                let body = item.get().as_bytes().to_vec();
                self.send(Ticket { wfid, number, queue, item: named }, body);
                Ok(Performed::UnderWay)
            }
            Action::Cancel { queue, fei, dispatched_at, flavour } => {
                Ok(self.cancel((wfid, number), queue, (fei, dispatched_at), *flavour))
            }
        }
    }
}

/// Names a message: by what its sender calls it, and by what is in it, since two senders may use one
/// name for two things.
fn key(id: Option<&str>, body: &[u8]) -> String {
    let sum = ondisk::checksum::fnv(body);
    format!("{} {sum:016x} {}", id.unwrap_or_default(), body.len())
}

fn away(why: &str) -> String {
    let hint = if why.contains("exclusive use") {
        "; another engine reads it, and only one does at a time"
    } else {
        ""
    };
    format!("{why}{hint}; tried again without end")
}
