//! By which way an engine hears and speaks.

use super::embedded::Queues;
use super::machine::Came;
use super::process::Action;
use super::rabbit::Rabbit;
use crate::failure::Failure;
use crate::here::Here;
use exo::settings::BrokerKind;
use sys::linux::fd::PollFd;

/// What came.
#[derive(Debug)]
pub enum Heard {
    /// A message; it is in hand until it is settled.
    Told {
        /// What it is called by whoever brought it.
        key: String,
        /// How, which says whether it may have come before.
        came: Came,
        /// It.
        message: Vec<u8>,
    },
    /// What was to be done is safe.
    Done {
        /// For which process.
        wfid: String,
        /// Its number there.
        number: u64,
    },
    /// It cannot be done.
    Refused {
        /// For which process.
        wfid: String,
        /// Its number there.
        number: u64,
        /// Why.
        why: String,
    },
    /// Something does not go on until it is mended, or goes on again.
    Said(String),
}

/// What became of something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It will be heard of.
    UnderWay,
    /// There is nothing to be done any more.
    Done,
    /// Not before something else of its process is.
    Later,
}

/// Opens the way that the site is configured for. Root becomes the user whose the store is, for good.
///
/// # Errors
/// It cannot be used.
pub fn open(here: &Here) -> Result<Box<dyn Transport>, Failure> {
    Ok(match here.site.broker.kind {
        BrokerKind::Embedded => Box::new(Queues::open(here)?),
        BrokerKind::RabbitMq => Box::new(Rabbit::open(here)?),
    })
}

/// The way to participants, and from them.
pub trait Transport {
    /// Returns what becomes readable when there is something to hear.
    fn interest(&self) -> PollFd;

    /// Returns what came; `None` = no more for now.
    ///
    /// # Errors
    /// It cannot be used any more.
    fn next(&mut self) -> Result<Option<Heard>, Failure>;

    /// What came of the message in hand is on disk; `ignored`: why that is nothing.
    fn settle(&mut self, ignored: Option<String>);

    /// Does something for a process.
    ///
    /// # Errors
    /// It is not known whether it can be done.
    fn perform(&mut self, wfid: &str, number: u64, action: &Action) -> Result<Performed, Failure>;
}
