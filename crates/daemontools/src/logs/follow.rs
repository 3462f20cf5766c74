//! Waiting until there may be more.

use super::Forward;
use sys::linux::fd::{self, PollFd};
use sys::linux::time::SECOND;

/// How often one looks where changes are not told.
const LOOK: u64 = SECOND / 2;

/// Waits until one of `logs` may have more, or the other end of descriptor `output` is gone, which
/// is what it returns.
///
/// Each of them must have said that there is no more: [`Forward::go_on`] was `false`. Where the
/// kernel tells of changes (see [`super::Folder::watch`]) nothing is done until it does.
#[must_use]
pub fn wait(logs: &mut [Forward], output: i32) -> bool {
    let unsettled = logs.iter().any(Forward::is_unsettled);
    let mut fds = vec![PollFd::hung_up(output)];
    let watched =
        |log: &Forward| log.folder().raw_watcher().map_or(PollFd::none(), PollFd::readable);
    fds.extend(logs.iter().map(watched));
    // Where it fails there is nothing better to do than to look.
    let _ = fd::poll(&mut fds, unsettled.then_some(LOOK));
    for log in logs {
        log.hear();
    }
    fds[0].is_hung_up()
}
