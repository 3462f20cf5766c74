//! Work items: the store that records them, and the queues they come from.

pub mod air;
pub mod amqp;
mod bell;
pub mod broker;
mod change;
mod clock;
mod drop_folder;
pub mod embedded;
mod envelope;
pub mod flags;
mod gate;
pub mod item;
pub mod name;
mod open;
mod outbox;
mod place;
pub mod read;
mod schema;
mod store;
mod trouble;
mod troubled;
pub mod units;
mod unrecorded;
pub mod wire;

pub use broker::{Broker, Delivery, Event, Then, Wish};
pub use change::{
    Applied, Ask, Asked, By, Change, DeadId, DependencyId, Ended, Entry, JobId, Lasted, Lease,
    NewJob, NewRequest, NewRule, Policy, Refused, RequestId, RuleId, Steer, Subject, Taken,
    TakerId,
};
pub use clock::{Clock, Now, Wall};
pub use drop_folder::{Collected, DropFolder, Unread, drop_name};
pub use embedded::Embedded;
pub use machine::work::{Fault, Kind, State};
pub use open::Safety;
pub use place::Place;
pub use read::Reader;
pub use schema::VERSION as LAYOUT;
pub use store::{Error, Store};
pub use trouble::Trouble;
