//! Tests of the store and of the queue that it is.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]
// A taker takes what is then taken.
#![allow(clippy::similar_names)]

mod acts;
mod answers;
mod conformance;
mod damage;
mod delivery;
mod drops;
mod embedded;
mod keys;
mod kills;
mod labels;
mod mailbox;
mod model;
mod odd_rows;
mod past;
mod rabbit;
mod rabbit_cancels;
mod rabbit_channels;
mod rabbit_faults;
mod rabbit_frames;
mod rabbit_kept;
mod rabbit_requeued;
mod rabbit_sizes;
mod random;
mod requests;
mod rights;
mod room;
mod support;
mod together;
mod waits;
