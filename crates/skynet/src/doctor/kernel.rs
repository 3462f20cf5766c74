//! What the kernel has, and what is lost without.

use super::Ward;
use crate::finding::Finding;
use std::path::Path;
use sys::linux::{landlock, process};

/// Where cgroup v2 is mounted, alone or beside the first version.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    if let Err(why) = process::pidfd(process::pid()) {
        let found =
            Finding::error(format!("this kernel gives no handle on a process (pidfd): {why}"));
        let why = "a service whose supervise was killed cannot be taken back";
        findings
            .push(found.because(why).mended_by("Linux 5.3 or newer, and a sandbox that allows it"));
    }
    if ward.here.is_system() {
        cgroups(findings);
    } else {
        confinement(findings);
    }
}

/// Only root's exos make cgroups.
fn cgroups(findings: &mut Vec<Finding>) {
    let is_v2 = |mount: &&str| Path::new(mount).join("cgroup.controllers").exists();
    if !MOUNTS.iter().any(is_v2) {
        let found = Finding::warning("no cgroup v2 is mounted");
        let why = "what a participant starts may outlive a killed exo";
        let mend =
            "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1";
        findings.push(found.because(why).mended_by(mend));
    }
}

/// Only an exo that has its participant's user needs it.
fn confinement(findings: &mut Vec<Finding>) {
    let older = "Linux 6.12 or newer with landlock among lsm=, or the system's instance";
    let finding = match landlock::version() {
        None => Finding::warning("this kernel has no Landlock")
            .because("a participant may open exo's store and folders, which are of the same user")
            .mended_by(older),
        Some(version) if version < landlock::SCOPES => {
            Finding::warning("the Landlock of this kernel knows no signals")
                .because("a participant may signal exo, which is of the same user")
                .mended_by(older)
        }
        // An exo knows a participant, most others of this user do not.
        Some(version) if version < landlock::SOCKETS => {
            Finding::note("the Landlock of this kernel knows no sockets")
                .because("a participant may connect to those of its user; exo alone refuses it")
                .mended_by("Linux 7.1 or newer, or the system's instance")
        }
        Some(_) => return,
    };
    findings.push(finding);
}
