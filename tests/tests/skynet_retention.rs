//! History that stays small: what is too old, or too much, goes, and with it every verb's knowledge
//! of it; what waits stays, and the file gives its room back.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use exo::worker::Clocks;
use site::{Kind, Place, Site};
use std::fs;
use std::sync::Arc;
use testkit::run_within;
use work::{Applied, Ask, Change, Clock, Ended, NewJob, Now, Policy, Safety, Store, Wall};

const DAY: i64 = 24 * 3600;

/// A wall clock that is late by so many seconds.
struct Late(Arc<Clocks>, i64);

impl Clock for Late {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now { wall: Wall(now.wall.0 - self.1 * 1_000_000), ..now }
    }

    fn boot(&self) -> String {
        self.0.boot()
    }
}

/// Run by the tests below, where the instance is and as its owner. `JOBS` says what is recorded: for
/// each job its process, how many seconds ago it was done, or `waits`, and the bytes of its item.
#[test]
#[ignore = "run by another test, within an instance"]
fn jobs_of_long_ago_are_recorded() {
    let place = work::Place::new(std::env::var_os("STORE").unwrap());
    for line in std::env::var("JOBS").unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [wfid, ago, bytes] = words[..] else { panic!("{line}") };
        let clock = Late(Clocks::of_this_boot().unwrap(), ago.parse().unwrap_or(0));
        let mut store = Store::open(&place, Arc::new(clock), Safety::Kill).unwrap();
        let filler = "x".repeat(bytes.parse().unwrap());
        let item = site::item("p", wfid).replace("{}", &format!("{{\"filler\":\"{filler}\"}}"));
        let job = NewJob::from_item("p", item.into_bytes(), 1 << 20, "").unwrap();
        store.apply(&Change::Submit(Box::new(job))).unwrap();
        if ago == "waits" {
            continue;
        }
        let open = Change::OpenTaker { queue: "p".to_owned(), policy: Policy::default() };
        let Ok(Applied::Opened(ours)) = store.apply(&open) else { panic!("no taker") };
        let take = Change::Take { taker: ours, ask: Ask::Now, instance: "p_0".to_owned() };
        let Ok(Applied::Taken(taken)) = store.apply(&take) else { panic!("nothing for {line}") };
        let ended = Ended { output: Some(filler.into_bytes()), ..Ended::default() };
        store.apply(&Change::End(taken.lease, Box::new(ended))).unwrap();
        store.apply(&Change::CloseTaker(ours)).unwrap();
    }
}

/// Returns an instance that is configured so, whose participant does not run, with these jobs.
fn with(kind: Kind, config: &str, jobs: &[String]) -> Site {
    let site = Site::new(kind);
    let folder = site.at(Place::Config);
    site.folder(&folder);
    fs::write(folder.join("skynet.yaml"), config).unwrap();
    site.own_all(&folder);
    site.well(&["boot"]);
    // It fails for ever, so that what waits goes on waiting.
    site.participant("p", "tries: 100\nretry:\n  first: 1h\n", "#!/bin/sh\nexit 3\n");
    // It makes the store.
    site.well(&["enable", "--now", "p"]);
    site.well(&["stop", "p"]);
    let program = std::env::current_exe().unwrap();
    let args = ["--exact", "jobs_of_long_ago_are_recorded", "--ignored"];
    let mut command = site.command(program, &args);
    command.env("STORE", site.inside(Place::Store)).env("JOBS", jobs.join("\n"));
    let recorded = run_within(site::SOON, &mut command);
    assert_eq!(recorded.code, Some(0), "{recorded:?}");
    site
}

/// Returns the processes whose jobs are known, oldest first.
fn known(site: &Site) -> Vec<String> {
    let said = site.well(&["job", "list", "--json", "-n", "10000"]);
    let wfid = |line: &str| {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        object["wfid"].as_str().unwrap().to_owned()
    };
    said.lines().rev().map(wfid).collect()
}

/// Of what went nothing is told any more; what stayed is told whole.
fn nobody_knows(site: &Site, gone: &str, kept: &str) {
    for args in [&["history", "--wfid"][..], &["job", "show"], &["requeue", "--force"]] {
        let said = site.ends(4, &[args, &[gone]].concat());
        assert!(said.contains(gone), "{said}");
    }
    let exported = site.well(&["export", "p"]);
    assert!(!exported.contains(gone) && exported.contains(kept), "{exported}");
    assert!(site.well(&["history", "--wfid", kept]).contains("p_0"));
}

#[test]
fn what_is_older_than_is_to_be_kept_goes_and_what_waits_stays_however_old() {
    Site::each(|kind| {
        let jobs = [
            format!("old {} 10", 3 * DAY),
            format!("older {} 10", 40 * DAY),
            format!("young {DAY} 10"),
            "open waits 10".to_owned(),
        ];
        let site = with(kind, "keep: 2d\n", &jobs);
        assert_eq!(known(&site), ["old", "older", "young", "open"]);
        site.well(&["start", "p"]);
        site.until(|| known(&site) == ["young", "open"]);
        nobody_knows(&site, "old", "young");
        assert!(site.well(&["history", "p"]).contains("jobs: 1 done"));
    });
}

#[test]
fn what_is_kept_for_30_days_unless_configured_is_kept_for_ever_where_that_is_said() {
    Site::each(|kind| {
        for (config, left) in [("", &["young"][..]), ("keep: none\n", &["old", "young"])] {
            let jobs = [format!("old {} 10", 31 * DAY), format!("young {} 10", 29 * DAY)];
            let site = with(kind, config, &jobs);
            site.well(&["start", "p"]);
            // It has looked through the store before it waits for work.
            site.submit("p", "new");
            site.until(|| known(&site).contains(&"new".to_owned()));
            let all: Vec<_> = left.iter().copied().chain(["new"]).collect();
            site.until(|| known(&site) == all);
        }
    });
}

#[test]
fn what_is_too_much_goes_oldest_first_and_the_file_gives_its_room_back() {
    Site::each(|kind| {
        let jobs = (0..98).map(|n| format!("w{n:02} {} 100000", 7200 - n * 60));
        let jobs: Vec<String> = jobs.chain(["open waits 100000".to_owned()]).collect();
        let site = with(kind, "keep: none\nkeep-size: 1MiB\n", &jobs);
        let file = work::Place::new(site.at(Place::Store)).database();
        let len = || fs::metadata(&file).unwrap().len();
        assert_eq!(known(&site).len(), 99);
        let before = len();
        assert!(before > 15_000_000, "an item and an answer each: {before}");
        site.well(&["start", "p"]);
        site.until(|| known(&site).len() < 20);
        // Of what was written last the file itself has nothing yet.
        site.until(|| len() < before / 2);
        let left = known(&site);
        println!("{left:?} in {} bytes", len());
        assert_eq!(left.last().unwrap(), "open");
        // All that is left was submitted after all that went.
        let first = 99 - left.len();
        let newest = (first..98).map(|n| format!("w{n:02}")).chain(["open".to_owned()]);
        assert_eq!(left, newest.collect::<Vec<_>>());
        nobody_knows(&site, "w00", "w97");
    });
}
