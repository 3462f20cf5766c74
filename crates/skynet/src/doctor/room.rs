//! Room on disks, and limits of the system's that services may meet.

use super::Ward;
use crate::finding::Finding;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::linux::file::{self, HERE, Room, flags};
use work::units::Bytes;

/// Of a disk, so much in a hundred should be free, or so many bytes where that is less.
const SPARE: u64 = 5;
const PLENTY: u64 = 1 << 30;
/// Below this, what is to be written may find no room at once.
const NOTHING: u64 = 16 << 20;
const FEW_FILES: u64 = 100;

pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    disks(ward, findings);
    descriptors(ward, findings);
    processes(ward, findings);
    watches(ward, findings);
}

fn disks(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let places = ward.here.places();
    let mut seen = BTreeSet::new();
    for folder in [&places.store, &places.spool, &places.logs, &places.run, &places.service] {
        let path = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
        let Ok(opened) = file::open(HERE, &path, flags::O_PATH | flags::O_DIRECTORY, 0) else {
            continue;
        };
        let device = file::stat_fd(opened.raw()).map(|stat| stat.id().0);
        let Ok(room) = file::room(opened.raw()) else { continue };
        if device.is_ok_and(|device| seen.insert(device)) {
            findings.extend(scarce(&room).map(|found| found.at(folder)));
        }
    }
}

fn scarce(room: &Room) -> Option<Finding> {
    let why =
        "nothing is taken from the queue, and services wait for their loggers, once it is full";
    let percent = |free: u64, all: u64| free.saturating_mul(100) / all.max(1);
    let of_bytes = percent(room.free, room.all);
    if room.all > 0 && room.free < PLENTY && of_bytes < SPARE {
        let what = format!("the disk is nearly full: {} are free", Bytes(room.free));
        let is_over = room.free < NOTHING;
        let found = if is_over { Finding::error(what) } else { Finding::warning(what) };
        return Some(
            found.because(why).mended_by("remove files, or a smaller keep in skynet.yaml"),
        );
    }
    let of_files = percent(room.free_files, room.all_files);
    if room.all_files > 0 && of_files < SPARE {
        let what = format!("the disk has nearly no inodes: {} are free", room.free_files);
        let is_over = room.free_files < FEW_FILES;
        let found = if is_over { Finding::error(what) } else { Finding::warning(what) };
        return Some(
            found.because(why).mended_by("remove files; df -i shows how many there may be"),
        );
    }
    None
}

/// Returns the soft and the hard limit of a process; `None` = there is none, or it is not known.
fn limit_of(pid: i32, name: &str) -> [Option<u64>; 2] {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
    [numbers.next().flatten(), numbers.next().flatten()]
}

/// svscan raises its own limit as far as it may, and gives services the one that it was given.
fn descriptors(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    const OWN: u64 = 32;
    const EXO: u64 = 64;
    let Some(pid) = ward.svscans.first() else { return };
    let [_, hard] = limit_of(*pid, "Max open files");
    let needed = ward.linked() + OWN;
    if let Some(hard) = hard.filter(|hard| *hard < needed) {
        let what = format!("svscan may open {hard} files, and needs {needed} for its services");
        let why = "it cannot take over all services of a svscan that was killed";
        let mend = "LimitNOFILE=65536 in the unit, or ulimit -n 65536 before skynet boot";
        findings.push(Finding::error(what).because(why).mended_by(mend));
        return;
    }
    // Where it cannot be told what they are given, nothing is wrong.
    let exo = ward.patients.iter().find_map(|patient| {
        let record = patient.snapshot.record.filter(|_| patient.service.is_participant)?;
        let pid = patient.snapshot.is_up().then_some(record.process.pid.cast_signed())?;
        let [soft, _] = limit_of(pid, "Max open files");
        soft.filter(|soft| *soft < EXO).map(|soft| (soft, &patient.service.name))
    });
    if let Some((soft, name)) = exo {
        let what = format!("it may open {soft} files, and exo needs {EXO}");
        let mend = format!("ulimit -n 1024 in the run of {name}");
        findings.push(Finding::error(what).of(name).mended_by(mend));
    }
}

fn number_in(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Each service is three processes or so: supervise, itself, its logger.
fn processes(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    const EACH: u64 = 3;
    let needed = ward.linked() * EACH + ward.participants();
    let why = "services cannot be started once it is reached";
    let own = || {
        let pid = ward.svscans.first().filter(|_| !ward.here.is_system())?;
        limit_of(*pid, "Max processes")[0]
    };
    let rows = [
        (own(), "a user's processes (ulimit -u)", "a higher nproc in /etc/security/limits.conf"),
        (number_in("/proc/sys/kernel/pid_max"), "kernel.pid_max", "sysctl kernel.pid_max=4194304"),
        (
            number_in("/proc/sys/kernel/threads-max"),
            "kernel.threads-max",
            "sysctl kernel.threads-max=1000000",
        ),
        (cgroup_s_own(ward), "pids.max of svscan's cgroup", "TasksMax=infinity in the unit"),
    ];
    for (limit, name, mend) in rows {
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            let what = format!("{name} is {limit}, and the services need {needed}");
            findings.push(Finding::error(what).because(why).mended_by(mend));
        }
    }
}

/// Returns how many processes may be in the cgroup in which services are started.
fn cgroup_s_own(ward: &Ward<'_>) -> Option<u64> {
    let pid = ward.svscans.first()?;
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    number_in(Path::new("/sys/fs/cgroup").join(path).join("pids.max"))
}

/// svscan watches its folder; exo its drop folders and its queue; a verb what it waits for.
fn watches(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    const OTHERS: u64 = 8;
    const EXO: u64 = 2;
    const WAITED_FOR: u64 = 2;
    let rows = [
        ("max_user_instances", OTHERS + EXO * ward.participants()),
        ("max_user_watches", OTHERS + EXO * ward.participants() + WAITED_FOR * ward.linked()),
    ];
    for (name, needed) in rows {
        let limit = number_in(format!("/proc/sys/fs/inotify/{name}"));
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            let what = format!("fs.inotify.{name} is {limit}, and the services need {needed}");
            let why = "changes are seen after seconds, or verbs cannot wait";
            let mend = format!("sysctl fs.inotify.{name}={}", needed * 2);
            findings.push(Finding::error(what).because(why).mended_by(mend));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_scarce_by_share_and_by_size() {
        let room = |free, all| Room { free, all, free_files: 0, all_files: 0 };
        let what = |room| scarce(&room).map(|found| found.what);
        assert_eq!(what(room(6 << 30, 200 << 30)), None, "much is much, however small its share");
        assert_eq!(what(room(0, 0)), None);
        assert!(what(room(15 << 20, 1 << 30)).unwrap().contains("nearly full"));
        let files = Room { free: 1 << 40, all: 1 << 40, free_files: 3, all_files: 1000 };
        assert!(what(files).unwrap().contains("nearly no inodes: 3 are free"));
    }
}
