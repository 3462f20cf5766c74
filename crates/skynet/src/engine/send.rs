//! Telling an engine something, from the command line.

use super::QUEUE;
use crate::failure::Failure;
use crate::here::Here;
use crate::items::hand::{self, Own};
use crate::rabbit;
use exo::settings::BrokerKind;
use sys::linux::{process, time};
use work::item::MOST;
use work::{Applied, Change, NewJob};

/// Puts messages into the queue of the instance's engine: all or none, or with RabbitMQ one after the
/// other. Root becomes the user whose the store is, for good.
///
/// # Errors
/// We may not, or they cannot be recorded.
pub fn send(here: &Here, messages: Vec<Vec<u8>>) -> Result<(), Failure> {
    if !hand::may_write(here) {
        let who = "its owner, or root, may";
        return Err(Failure::refused(format!("unable to speak to the engine: {who}")));
    }
    let mut own = Own::open(here)?;
    if here.site.broker.kind == BrokerKind::RabbitMq {
        return rabbit::tell_engine(&here.site.broker, &messages);
    }
    let owner = Some(own.by().uid);
    let (seconds, nanos) = time::wall();
    let mut changes = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let name = format!("message!{seconds}.{nanos}.{}!{index}", process::pid());
        let job = NewJob::from_item(QUEUE, message, MOST, &name);
        let job = job.map_err(|why| Failure::refused(why.to_string()))?;
        changes.push(Change::Submit(Box::new(NewJob { owner, ..job })));
    }
    for made in own.store().apply_all(&changes)? {
        match made {
            Ok(Applied::Submitted { .. } | Applied::Known(_)) => {}
            Ok(_) => return Err(Failure::trouble("no job came of a message")),
            Err(why) => return Err(Failure::refused(why.to_string())),
        }
    }
    Ok(())
}
