//! What of a drop folder only its inside shows.

use super::*;
use crate::change::{Ask, Ended, Policy};
use crate::clock::{Clock, Now};
use crate::open::Safety;
use crate::place::Place;
use std::sync::Arc;

/// It is always the same moment.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Now {
        Now::default()
    }

    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

/// Takes what is first in a queue and says that it is done. Tells whether there was something.
fn work(store: &mut Store, queue: &str) -> bool {
    let (queue, policy) = (queue.to_owned(), Policy::default());
    let open = Change::OpenTaker { queue, policy };
    let Applied::Opened(taker) = store.apply(&open).unwrap() else { panic!("not opened") };
    let take = Change::Take { taker, ask: Ask::Now, instance: "i".to_owned() };
    let job = match store.apply(&take).unwrap() {
        Applied::Taken(job) => Some(job),
        _ => None,
    };
    let is_some = job.is_some();
    if let Some(job) = job {
        let ended = Ended { output: Some(job.item), ..Ended::default() };
        store.apply(&Change::End(job.lease, Box::new(ended))).unwrap();
    }
    store.apply(&Change::CloseTaker(taker)).unwrap();
    is_some
}

#[test]
fn what_was_recorded_and_not_yet_removed_is_no_second_request() {
    let scratch = testkit::Scratch::new();
    let place = Place::new(scratch.join("store"));
    let mut store = Store::open(&place, Arc::new(Stopped), Safety::Kill).unwrap();
    let drops = scratch.join("drops");
    let mut folder = DropFolder::open(&drops, "q", item::LARGEST);
    let good =
        br#"{"skynet":1,"reply-to":"answers","item":{"fei":{"wfid":"w","expid":"0"},"fields":{}}}"#;
    for (name, bytes) in [("good", &good[..]), ("bad", b"nonsense")] {
        fs::write(drops.join(name), bytes).unwrap();
    }
    let mut collected = Collected::default();
    for entry in fs::read_dir(&drops).unwrap().map(Result::unwrap) {
        if entry.file_name() != ".taken" {
            let taken = folder.take_away(&entry, &mut store, &mut collected).unwrap();
            let (taken, file) = taken.unwrap();
            let found = fs::symlink_metadata(&taken).unwrap();
            let bytes = read(file, item::LARGEST).unwrap();
            let change = folder.change(&taken, &found, bytes);
            folder.keep(&taken, &found, change, &mut store, &mut collected).unwrap();
        }
    }
    // Here it was killed. The item is done and answered before somebody looks again.
    assert_eq!((collected.submitted, collected.buried), (1, 1));
    assert!(work(&mut store, "q") && work(&mut store, "answers"));
    assert_eq!(folder.collect(&mut store).unwrap(), Collected::default());
    assert_eq!(fs::read_dir(folder.taken()).unwrap().count(), 0);
    assert!(!work(&mut store, "answers"), "it is answered once");

    // Who asks again is answered again, also with a file that looks the same.
    fs::write(drops.join("good"), good).unwrap();
    assert_eq!(folder.collect(&mut store).unwrap().known, 1);
    assert!(!work(&mut store, "q") && work(&mut store, "answers"));
}

#[test]
fn what_was_opened_and_then_swapped_for_another_file_is_not_what_is_recorded() {
    let scratch = testkit::Scratch::new();
    let place = Place::new(scratch.join("store"));
    let mut store = Store::open(&place, Arc::new(Stopped), Safety::Kill).unwrap();
    let drops = scratch.join("drops");
    let mut folder = DropFolder::open(&drops, "q", item::LARGEST);
    let [opened, taken] = ["opened", "taken"].map(|name| {
        let path = scratch.join(name);
        let item = format!(r#"{{"fei":{{"wfid":"{name}","expid":"0"}},"fields":{{}}}}"#);
        fs::write(&path, item).unwrap();
        path
    });
    let (opened, moved) = (open(&opened).unwrap(), folder.taken().join("1.2.3.x"));
    fs::rename(&taken, &moved).unwrap();
    let mut collected = Collected::default();
    folder.record(&moved, Some(opened), &mut store, &mut collected).unwrap();
    assert_eq!(collected, Collected { submitted: 1, ..Collected::default() });
    let reader = crate::Reader::open(&place).unwrap();
    let jobs = reader.jobs(None, None, 9).unwrap();
    let wfids: Vec<&str> = jobs.iter().map(|job| &*job.wfid).collect();
    assert_eq!(wfids, ["taken"]);
    assert!(!moved.exists());
}
