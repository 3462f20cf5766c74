//! Who asks: one that an exo keeps as a participant is told from all others of its user.

use crate::keeper;
use sys::linux::errno::Result;
use sys::linux::identity;
use sys::linux::process;
use sys::linux::socket::Peer;

/// Tells whether somebody is a participant or was started by one: of our keeper, `keeper`, or, where it
/// has our user, of another of the same rights. Where each exo has one user only that tells them apart:
/// a keeper reaps whatever below it has lost its parent, and nobody but itself can change its name. Who
/// calls itself so keeps only those below from asking.
///
/// One whose keeper was killed is below none any more. A number that another process has by now is no
/// matter: all of them would have to be used up since it connected.
///
/// # Errors
/// It has gone, or nobody can tell who it is.
pub(super) fn is_participant(peer: Peer, keeper: u32) -> Result<bool> {
    let pid = peer.pid.cast_unsigned();
    if identity::descends_from(pid, keeper)? {
        return Ok(true);
    }
    if peer.uid != process::euid() {
        return Ok(false);
    }
    identity::is_below(pid, |above, name| {
        // Of one that we are below ourselves, who asks may be the one that started us.
        Ok(name == keeper::NAME.to_bytes()
            && identity::user(above)? == identity::user(keeper)?
            && !identity::descends_from(keeper, above)?)
    })
}
