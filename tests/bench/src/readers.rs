//! Who finds lines in logs: skynet, the small program for that, and grep on the same files.

use crate::peer::{Folders, Peer};
use std::path::Path;

/// The command for people.
pub(crate) const SKYNET: &str = "skynet";
/// The small program, which knows nothing of participants.
pub(crate) const SVLOG: &str = "svlog";
/// grep of fixed strings.
pub(crate) const GREP: &str = "grep";

/// Returns those that are on this machine, ours first.
pub(crate) fn installed(folders: &Folders) -> Vec<Peer> {
    let bin = Path::new("/usr/bin");
    let all = [(SKYNET, &*folders.ours), (SVLOG, &*folders.ours), (GREP, bin)];
    let peers = all.map(|(name, folder)| Peer::worker(name, folder));
    peers.into_iter().filter(|peer| peer.command(peer.name).is_some()).collect()
}
