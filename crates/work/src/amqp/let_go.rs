//! Jobs whose messages were acknowledged, until RabbitMQ is known to have read that.

use crate::change::JobId;
use machine::time::Mono;
use std::time::Duration;

/// What was acknowledged over a channel that was lost comes again within seconds of the next one, if
/// at all, unless nobody asks for it all the time.
const COMES_AGAIN: Duration = Duration::from_secs(3600);
/// Of so many we know at once that they may come again; of others the store alone does.
const MOST_UNSURE: usize = 65_536;

/// The jobs of a channel whose messages were acknowledged, until the broker is known to have read so.
#[derive(Debug, Default)]
pub(super) struct LetGo {
    /// Since the last look at the queue.
    pub(super) acknowledged: Vec<JobId>,
    /// Between the two last ones. The last was asked for when these were not all acknowledged yet.
    looked_once: Vec<JobId>,
    /// A look was asked for.
    pub(super) is_asked: bool,
    /// Over channels that were lost, the last of them when.
    unsure: Vec<JobId>,
    lost_at: Mono,
}

impl LetGo {
    /// Nothing more is heard of what was said on the channel.
    pub(super) fn lost(mut self, now: Mono) -> Self {
        let mut unsure = std::mem::take(&mut self.unsure);
        unsure.extend(self.looked_once.into_iter().chain(self.acknowledged));
        unsure.truncate(MOST_UNSURE);
        Self { unsure, lost_at: now, ..Self::default() }
    }

    pub(super) fn looked(&mut self, now: Mono) -> Vec<JobId> {
        self.is_asked = false;
        let new = std::mem::take(&mut self.acknowledged);
        let mut sure = std::mem::replace(&mut self.looked_once, new);
        if self.lost_at.after(COMES_AGAIN) <= now {
            sure.append(&mut self.unsure);
        }
        sure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_let_go_of_by_the_second_look_after_its_acknowledgement_or_an_hour_after_a_loss() {
        let mut let_go = LetGo::default();
        let jobs = |ids: &[i64]| ids.iter().map(|id| JobId(*id)).collect::<Vec<_>>();
        let now = Mono(0).after(COMES_AGAIN);
        let_go.acknowledged = jobs(&[1, 2]);
        assert_eq!(let_go.looked(now), []);
        let_go.acknowledged = jobs(&[3]);
        assert_eq!(let_go.looked(now), jobs(&[1, 2]));
        let_go.acknowledged = jobs(&[4]);
        let mut let_go = let_go.lost(now);
        let_go.acknowledged = jobs(&[5]);
        for _ in 0..3 {
            let_go.looked(now);
        }
        let_go = let_go.lost(now.after(COMES_AGAIN / 2));
        assert_eq!(let_go.looked(now.after(COMES_AGAIN)), []);
        let_go.acknowledged = jobs(&[6]);
        assert_eq!(let_go.looked(now.after(COMES_AGAIN * 2)), jobs(&[3, 4]));
        assert_eq!(let_go.looked(now.after(COMES_AGAIN * 2)), jobs(&[6]));
    }
}
