//! Which messages of a channel are settled.

use std::collections::BTreeMap;

/// Which messages of a channel are settled; the broker numbers them from 1 on.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// By their first message, the last of each run of them: no more than there are open ones, and one.
    runs: BTreeMap<u64, u64>,
    /// Those of which the broker is to be told.
    untold: Vec<u64>,
}

impl Settled {
    pub(super) fn acknowledge(&mut self, tag: u64) {
        self.untold.push(tag);
        self.settle(tag);
    }

    /// The broker was told apart.
    pub(super) fn refused(&mut self, tag: u64) {
        self.settle(tag);
    }

    fn settle(&mut self, tag: u64) {
        let before = self.runs.range(..tag).next_back();
        let first = before.filter(|(_, last)| **last + 1 == tag).map_or(tag, |(first, _)| *first);
        let last = self.runs.remove(&(tag + 1)).unwrap_or(tag);
        self.runs.insert(first, last);
    }

    /// Returns the acknowledgements that say all of it: of one message, or of all up to one.
    pub(super) fn due(&mut self) -> Vec<(u64, bool)> {
        // All up to this one are settled.
        let floor = self.runs.get(&1).copied().unwrap_or_default();
        let (below, mut single): (Vec<u64>, Vec<u64>) =
            self.untold.drain(..).partition(|tag| *tag <= floor);
        single.sort_unstable();
        let all = below.iter().max().map(|last| (*last, below.len() > 1));
        all.into_iter().chain(single.into_iter().map(|tag| (tag, false))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_acknowledgement_says_what_is_settled_without_a_gap_and_no_other_message() {
        let mut settled = Settled::default();
        let mut told = |tags: &[u64]| {
            for tag in tags {
                settled.acknowledge(*tag);
            }
            settled.due()
        };
        assert_eq!(told(&[1]), [(1, false)]);
        assert_eq!(told(&[3, 2, 4]), [(4, true)]);
        // 5 is still in hand.
        assert_eq!(told(&[7, 6]), [(6, false), (7, false)]);
        assert_eq!(told(&[9]), [(9, false)]);
        assert_eq!(told(&[5, 8]), [(8, true)]);
        assert_eq!(told(&[]), []);
        settled.refused(10);
        settled.acknowledge(11);
        settled.acknowledge(12);
        assert_eq!(settled.due(), [(12, true)]);
    }

    #[test]
    fn behind_one_that_stays_open_a_million_cost_no_more_than_one() {
        let mut settled = Settled::default();
        for tag in (2..1_000_000).rev().chain(1_000_001..2_000_000) {
            settled.acknowledge(tag);
            settled.due();
        }
        assert_eq!(settled.runs.len(), 2, "two runs, between them one that is open");
        settled.acknowledge(1_000_000);
        assert_eq!(settled.runs.len(), 1);
        assert_eq!(settled.due(), [(1_000_000, false)]);
        settled.acknowledge(1);
        assert_eq!(settled.due(), [(1, false)]);
        assert_eq!(settled.runs.get(&1), Some(&1_999_999));
    }
}
