//! The channels that messages come over: the newest, and earlier ones, on which some are still open.
//!
//! RabbitMQ closes a channel on which one message is open for longer than its time-out for
//! acknowledgements, and sends all that is open there to others. So what comes after one that is open
//! for long comes over another channel, and is not sent to others for its sake.

use super::settled::Settled;
use super::tasks::begin;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use std::collections::BTreeMap;

/// Most of them: one for each item that may be in hand, and some for what rests. There is no next one
/// before an earlier one ends.
const MOST: usize = 256;
/// So many channels of the connection are for other things, and for what is to come of them.
const OTHERS: usize = 16;
/// What RabbitMQ says where a user, or all users of a node, have more channels than they may.
const TOO_MANY: &str = "number of channels opened";

/// Returns how many there may be on a connection that has so many channels.
fn most(channels: u16) -> usize {
    usize::from(channels).saturating_sub(OTHERS).clamp(1, MOST)
}

struct Reader {
    channel: Channel,
    settled: Settled,
}

impl Reader {
    /// Sends off what was acknowledged since the last time.
    fn flush(&mut self) {
        for (tag, multiple) in self.settled.due() {
            begin(self.channel.basic_ack(tag, BasicAckOptions { multiple }));
        }
    }
}

/// All of them, by numbers that are not used again.
#[derive(Default)]
pub(super) struct Readers {
    all: BTreeMap<u64, Reader>,
    last: u64,
    /// So many there may be.
    most: usize,
    /// Another was asked for.
    is_asked: bool,
    /// How many there were then.
    asked_at: usize,
    /// So many the broker lets us have, where it ended a connection for one more.
    allowed: Option<usize>,
}

impl Readers {
    /// There is another channel, which is the newest from now on.
    pub(super) fn add(&mut self, channel: Channel) {
        self.last += 1;
        self.is_asked = false;
        self.all.insert(self.last, Reader { channel, settled: Settled::default() });
    }

    /// Forgets them all. The next ones are of a connection that has so many channels.
    pub(super) fn begin(&mut self, channels: u16) {
        self.all.clear();
        self.most = most(channels).min(self.allowed.unwrap_or(MOST));
        self.is_asked = false;
    }

    /// The connection ended, for `why`: maybe for the channel that was asked for, one more than we may have.
    pub(super) fn ended(&mut self, why: &str) {
        if self.is_asked && why.contains(TOO_MANY) {
            self.allowed = Some(self.asked_at.max(1));
        }
    }

    /// Returns the newest, over which messages come, unless it is gone.
    pub(super) fn newest(&self) -> Option<(u64, &Channel)> {
        self.all.get(&self.last).map(|reader| (self.last, &reader.channel))
    }

    pub(super) fn channel(&self, number: u64) -> Option<&Channel> {
        self.all.get(&number).map(|reader| &reader.channel)
    }

    /// Tells whether another is wanted, where there may be one; once, until it is there.
    pub(super) fn ask(&mut self) -> bool {
        let is_new = self.all.len() < self.most && !std::mem::replace(&mut self.is_asked, true);
        if is_new {
            self.asked_at = self.all.len();
        }
        is_new
    }

    /// Returns those that the broker closed.
    pub(super) fn closed(&self) -> Vec<u64> {
        let closed = self.all.iter().filter(|(_, reader)| !reader.channel.status().connected());
        closed.map(|(number, _)| *number).collect()
    }

    /// Forgets one that is of no use any more.
    pub(super) fn gone(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// Has a message acknowledged with the next [`flush`](Self::flush).
    pub(super) fn acknowledge(&mut self, number: u64, tag: u64) {
        if let Some(reader) = self.all.get_mut(&number) {
            reader.settled.acknowledge(tag);
        }
    }

    /// Puts a message back, or throws it away.
    pub(super) fn refuse(&mut self, number: u64, tag: u64, requeue: bool) {
        if let Some(reader) = self.all.get_mut(&number) {
            let options = BasicNackOptions { requeue, ..BasicNackOptions::default() };
            begin(reader.channel.basic_nack(tag, options));
            reader.settled.refused(tag);
        }
    }

    /// Sends off what was acknowledged since the last time.
    pub(super) fn flush(&mut self) {
        self.all.values_mut().for_each(Reader::flush);
    }

    /// Closes the earlier ones on which nothing is open.
    pub(super) fn close_unused(&mut self, is_used: impl Fn(u64) -> bool) {
        let earlier = self.all.range(..self.last).map(|(number, _)| *number);
        let unused: Vec<u64> = earlier.filter(|number| !is_used(*number)).collect();
        for mut reader in unused.iter().filter_map(|number| self.all.remove(number)) {
            // What was acknowledged last has been told to nobody yet: it would come again.
            reader.flush();
            begin(reader.channel.close(200, "OK".into()));
        }
    }

    /// Takes the channels, to close them.
    pub(super) fn take(&mut self) -> Vec<Channel> {
        std::mem::take(&mut self.all).into_values().map(|reader| reader.channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_channel_for_each_item_in_hand_unless_the_connection_has_too_few() {
        // As RabbitMQ has them unless set, and without a limit.
        for channels in [2047, u16::MAX] {
            assert!(most(channels) > super::super::lines::MOST);
        }
        assert_eq!([64, 17, 16, 1].map(most), [48, 1, 1, 1]);
    }
}
