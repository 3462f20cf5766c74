//! The socket to exo: lines out, and answers to what was sent.

use crate::item::Item;
use crate::protocol::{DESCRIPTOR, FromParticipant};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the thread that works and the one that listens.
#[derive(Default)]
pub(crate) struct Link {
    /// A line is written whole before the next one; the buffer is kept.
    out: Mutex<Vec<u8>>,
    tickets: Mutex<Tickets>,
}

#[derive(Default)]
struct Tickets {
    last: u64,
    waiting: HashMap<u64, Sender<Result<Option<i64>, String>>>,
    /// Nobody answers any more.
    is_closed: bool,
}

impl Link {
    /// Says it. Where exo is gone nobody hears it; the end of its lines tells the other thread.
    pub(crate) fn say(&self, message: FromParticipant<'_>) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.clear();
        message.write(&mut out);
        let _ = linux::fd::write_all(DESCRIPTOR, &out);
    }

    pub(crate) fn forward(&self, queue: &str, item: &Item) -> Result<Option<i64>, String> {
        let item = raw(item)?;
        let (sender, answer) = channel();
        let ticket = {
            let mut tickets = self.tickets();
            if tickets.is_closed {
                return Err("exo is gone".to_owned());
            }
            tickets.last += 1;
            let ticket = tickets.last;
            tickets.waiting.insert(ticket, sender);
            ticket
        };
        self.say(FromParticipant::Forward { ticket, queue: queue.into(), item });
        answer.recv().unwrap_or_else(|_| Err("exo is gone".to_owned()))
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn sent(&self, ticket: u64, job: Option<i64>, refused: Option<&str>) {
        if let Some(waiting) = self.tickets().waiting.remove(&ticket) {
            // Where RabbitMQ keeps it, it is safe there without being a job here.
            let answer = refused.map_or(Ok(job), |why| Err(why.to_owned()));
            // It waits as long as this stands in the table.
            let _ = waiting.send(answer);
        }
    }

    /// No answer comes any more.
    pub(crate) fn close(&self) {
        let mut tickets = self.tickets();
        tickets.is_closed = true;
        tickets.waiting.clear();
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an item as a message takes it.
pub(crate) fn raw(item: &Item) -> Result<&RawValue, String> {
    serde_json::from_str(item.json()).map_err(|error| error.to_string())
}
