//! Users, groups, owners and modes.

use super::Ward;
use crate::finding::Finding;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use sys::account;
use sys::trusted;

/// As exo makes a queue's drop folder: everybody may put a file there, and take none.
const DROP: u32 = 0o3733;
/// In it exo keeps what it takes, for itself.
const TAKEN: &str = ".taken";
const LOGGER: &str = "skynetlog";
const GROUP: &str = "skynet";
const WORKER: &str = "skynet";

pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let here = ward.here;
    if here.is_system() {
        accounts(ward, findings);
    }
    let places = here.places();
    for folder in
        [&places.service, &places.participants, &places.packaged, &places.logs, &places.run]
    {
        if folder.as_os_str().is_empty() {
            continue;
        }
        match trusted::look(folder) {
            Ok(None) => {}
            Ok(Some(flaw)) => {
                let text = flaw.to_string();
                let (what, mend) = text.rsplit_once(": ").unwrap_or((&text, ""));
                let found = Finding::error(what).because("others can change what runs");
                findings.push(found.mended_by(mend));
            }
            // The one of packages is made by packages.
            Err(_) if *folder == places.packaged || folder.exists() => {}
            Err(_) => {
                let found = Finding::error("is missing").at(folder).mended_by(here.command("boot"));
                findings.push(found.because("nothing can be supervised or logged there"));
            }
        }
    }
    store(ward, findings);
    drop_folders(&places.spool, findings);
}

fn accounts(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let worker = ward.here.site.worker_user.as_deref().unwrap_or(WORKER);
    if account::find_group(GROUP.as_bytes()).is_none() {
        let why = "its members read logs and history, cancel and requeue without root";
        let found = Finding::error(format!("there is no group {GROUP}")).because(why);
        findings.push(found.mended_by(format!("groupadd --system {GROUP}")));
    }
    let users = [
        (worker, "exo's worker, which keeps the store, runs as this user"),
        (LOGGER, "loggers run as this user"),
    ];
    for (user, why) in users {
        if account::find(user.as_bytes()).is_none() {
            let of_group = if user == GROUP { " -g skynet" } else { "" };
            let mend =
                format!("useradd --system{of_group} -d /nonexistent -s /usr/sbin/nologin {user}");
            let found = Finding::error(format!("there is no user {user}"));
            findings.push(found.because(why).mended_by(mend));
        }
    }
}

/// The store is its worker's alone, and nobody else reads it.
fn store(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let here = ward.here;
    let folder = &here.places().store;
    let Ok(stat) = fs::metadata(folder) else { return };
    let name = here.site.worker_user.as_deref().unwrap_or(WORKER);
    let owner = if here.is_system() {
        account::find(name.as_bytes()).map(|ids| ids.uid)
    } else {
        Some(here.uid)
    };
    if let Some(uid) = owner.filter(|uid| *uid != stat.uid()) {
        let what = format!("belongs to user {}, not to {}", stat.uid(), name_of(uid));
        let found = Finding::error(what).at(folder).because("exo's worker cannot write there");
        findings.push(found.mended_by(format!("chown -R {} {}", name_of(uid), folder.display())));
    }
    let is_open = |stat: &Metadata| stat.mode() & 0o007 != 0;
    // A user's own lies in a folder that has other things, too.
    let path = if here.is_system() { folder.clone() } else { folder.join("work.db") };
    if fs::metadata(&path).is_ok_and(|stat| is_open(&stat)) {
        let found = Finding::error("is open to all users").at(&path);
        let found = found.because("items and answers may hold what is nobody's business");
        findings.push(found.mended_by(format!("chmod o= {}", path.display())));
    }
}

fn name_of(uid: u32) -> String {
    account::name_of(uid)
        .map_or_else(|| uid.to_string(), |name| String::from_utf8_lossy(&name).into_owned())
}

fn drop_folders(spool: &Path, findings: &mut Vec<Finding>) {
    let Ok(read) = fs::read_dir(spool) else { return };
    for entry in read.filter_map(Result::ok) {
        let Ok(stat) = entry.metadata() else { continue };
        if !stat.is_dir() || entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let (path, mode) = (entry.path(), stat.mode() & 0o7777);
        if mode != DROP {
            let what = format!("has the mode {mode:04o}, not {DROP:04o}");
            let found = Finding::warning(what).at(&path);
            let why = "users cannot leave items there, or can see and take those of others";
            findings
                .push(found.because(why).mended_by(format!("chmod {DROP:04o} {}", path.display())));
        }
        findings.extend(taken(&path.join(TAKEN), stat.uid()));
    }
}

/// Looks whether what exo takes away goes where nobody else can reach it.
fn taken(path: &Path, owner: u32) -> Option<Finding> {
    let stat = fs::symlink_metadata(path).ok()?;
    let (place, mode) = (path.display(), stat.mode() & 0o7777);
    let away = format!("mv {place} {place}-moved-away");
    let (what, mend) = if !stat.is_dir() {
        ("is no folder".to_owned(), away)
    } else if stat.uid() != owner {
        (format!("belongs to {}, not to {}", name_of(stat.uid()), name_of(owner)), away)
    } else if mode & 0o022 != 0 {
        (format!("has the mode {mode:04o}, not 0700"), format!("chmod 0700 {place}"))
    } else {
        return None;
    };
    let why = "exo takes no item from the folder above while others can reach what it takes";
    Some(Finding::error(what).at(path).because(why).mended_by(mend))
}
