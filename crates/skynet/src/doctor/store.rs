//! The store, and dead items.

use super::Ward;
use crate::finding::Finding;
use std::fs;
use std::io::ErrorKind;
use work::units::Bytes;
use work::{Place, Reader, Trouble};

/// From this size on it is told; it is still used.
const BIG: u64 = 1 << 30;
/// What is written ahead is taken over after some megabytes, unless something hinders that.
const BIG_AHEAD: u64 = 64 << 20;
/// More than so many dead items are not counted.
const MOST_DEAD: u32 = 1000;

pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let place = Place::new(&ward.here.places().store);
    let path = place.database();
    let size = match fs::metadata(&path) {
        Ok(stat) => stat.len(),
        // Nothing was ever submitted.
        Err(why) if why.kind() == ErrorKind::NotFound && place.is_unused() => return,
        Err(_) => 0,
    };
    let reader = match Reader::open(&place) {
        Ok(reader) => reader,
        Err(why) => return findings.push(unusable(&why)),
    };
    if size >= BIG {
        let what = format!("holds {}", Bytes(size));
        let why = "it is not checked as a whole each time it is opened, and backups take long";
        let found = Finding::warning(what).at(&path).because(why);
        findings.push(found.mended_by("a smaller keep, or keep-size, in skynet.yaml"));
    } else if let Err(why) = reader.check() {
        findings.push(unusable(&why));
        return;
    }
    let ahead = path.with_file_name("work.db-wal");
    let ahead_size = fs::metadata(&ahead).map_or(0, |stat| stat.len());
    if ahead_size >= BIG_AHEAD {
        let what = format!("holds {} that the database has not taken over", Bytes(ahead_size));
        let why = "somebody reads the store without an end, or nobody may write it";
        findings
            .push(Finding::warning(what).at(&ahead).because(why).mended_by("skynet restart --all"));
    }
    match reader.dead_heads(None, MOST_DEAD + 1) {
        Ok(dead) if dead.is_empty() => {}
        Ok(dead) => {
            let more = if dead.len() > MOST_DEAD as usize { "more than " } else { "" };
            let count = dead.len().min(MOST_DEAD as usize);
            let what = format!("there are dead items: {more}{count}");
            let why = "each was tried as often as it may be, of which its sender was told, or is none, of \
                       which over RabbitMQ nobody was";
            findings.push(Finding::warning(what).because(why).mended_by("skynet dead list"));
        }
        Err(why) => findings.push(unusable(&why)),
    }
}

fn unusable(why: &Trouble) -> Finding {
    let (matters, mend) = match why {
        Trouble::Newer { .. } => {
            ("no exo of this version writes to it", "install the newer skynet again")
        }
        Trouble::NotOurs { .. } | Trouble::Damaged { .. } | Trouble::Lost { .. } => (
            "no exo writes to it any more",
            "skynet stop --all, move it away with its -wal and -shm, put a backup in its place \
             (exo(8), BACKUP); without one, an empty store is made",
        ),
        _ => ("no item is taken from it, and no history is shown", "be root, or in group skynet"),
    };
    Finding::error(why.to_string()).because(matters).mended_by(mend)
}
