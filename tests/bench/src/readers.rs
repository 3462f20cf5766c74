//! Who looks at services and finds lines in logs: skynet, svstat and supervisorctl, each at services
//! that its own suite keeps; the small program for logs, and grep on the same files.

use crate::peer::{Folders, Peer};
use std::path::Path;

/// The command for people.
pub(crate) const SKYNET: &str = "skynet";
/// The small program, which knows nothing of participants.
pub(crate) const SVLOG: &str = "svlog";
/// grep of fixed strings.
pub(crate) const GREP: &str = "grep";
/// Debian's daemontools.
pub(crate) const SVSTAT: &str = "svstat";
/// Supervisor's command, whose daemon keeps all programs.
pub(crate) const SUPERVISORCTL: &str = "supervisorctl";

/// Whose instance it is: root's would be the system's.
pub(crate) const NOBODY: u32 = 65534;

/// Returns those that are on this machine, ours first.
pub(crate) fn installed(folders: &Folders) -> Vec<Peer> {
    let bin = Path::new("/usr/bin");
    let supervisor = folders.built.join("supervisor/bin");
    let all = [(SKYNET, &*folders.ours), (SVLOG, &*folders.ours), (GREP, bin), (SVSTAT, bin)];
    let peers = all.map(|(name, folder)| Peer::worker(name, folder).run_by(NOBODY));
    // In a user's own folder, nobody may not read what Python needs.
    let supervisor = Peer::worker(SUPERVISORCTL, &supervisor);
    peers.into_iter().chain([supervisor]).filter(|peer| peer.command(peer.name).is_some()).collect()
}
