//! What exo's log is told of what the broker says.

use ::log::{info, warn};
use sys::account;
use work::Unread;

pub(super) fn unheard(why: &str) {
    warn!("a cancel is heard of by the queue alone, where it may stand behind other items: {why}");
}

pub(super) fn too_large(job: i64, bytes: usize, most: usize) {
    warn!(
        "unable to send the answer of job {job}: it has {bytes} bytes, and RabbitMQ takes {most} at \
         most (max_message_size); its sender gets an error that says so"
    );
}

pub(super) fn crowded() {
    warn!(
        "more than 1000 dead items of one owner that never were a job: the oldest are removed from \
         now on; skynet dead list shows them"
    );
}

pub(super) fn full() {
    warn!(
        "the store has more in use than keep-size allows, though all history but that of the last \
         minute is removed for it, here and from now on: what waits and dead items need the room"
    );
}

pub(super) fn not_passed(why: &str) {
    warn!("unable to pass a cancel on to whoever has its item, here and from now on: {why}");
}

pub(super) fn unread(file: &Unread) {
    let owner = account::shown(file.owner);
    let (path, why, mode) = (file.path.display(), &file.why, file.mode);
    warn!(
        "unable to read {path}, which user {owner} dropped: {why}; it waits there until it can be \
         read: chmod {mode} {path}"
    );
}

pub(super) fn buried(count: usize, why: &str) {
    let first = if count == 1 { "" } else { "the first: " };
    warn!("dropped, and no item: {count} ({first}{why}); kept as dead items, with the reason");
}

/// Names an item behind our own words: before them it could look like an instance's tag.
fn about(words: &str, wfid: &str, identity: &str) -> String {
    let place = identity.split('!').next().unwrap_or_default();
    format!("{words}: {wfid} {place}")
}

fn not_begun(wfid: &str, identity: &str) -> String {
    about("not begun, since its cancel came before it", wfid, identity)
}

pub(super) fn unwanted(wfid: &str, identity: &str) {
    info!("{}", not_begun(wfid, identity));
}

pub(super) fn spared(wfid: &str, identity: &str) {
    let words = "not cancelled, since it was in hand for less than a second when its cancel was passed on by \
                 another exo";
    info!("{}", about(words, wfid, identity));
}

pub(super) fn rejected(dead: i64, reason: &str, bytes: usize) {
    warn!("a message was refused: {reason}; it is dead item {dead}, with {bytes} bytes");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines;

    #[test]
    fn what_is_not_begun_is_no_instance_s_whatever_it_is_called() {
        let line = format!("exo: info: {}", not_begun("sizer_0", "w-1/2: x!now"));
        assert_eq!(line, "exo: info: not begun, since its cancel came before it: sizer_0 w-1/2: x");
        assert_eq!(lines::about(line.as_bytes()), None);
    }
}
