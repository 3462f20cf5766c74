//! Processes that are made while the one before them runs: which of them begin.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::Site;
use machine::work::{Fault, State};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use testkit::wait::holds_within;

const ITEMS: usize = 600;

/// Attempts, each as its wfid and its number.
struct Lists {
    recorded: BTreeSet<String>,
    /// Those of them that ended well.
    done: BTreeSet<String>,
    /// What the participant says of itself.
    begun: BTreeSet<String>,
}

impl Lists {
    #[track_caller]
    fn of(site: &Site, wfids: &[String], begun: &Path) -> Self {
        let (mut recorded, mut done) = (BTreeSet::new(), BTreeSet::new());
        for wfid in wfids {
            for attempt in site.attempts(wfid) {
                let line = format!("{wfid} {}", attempt.number);
                if attempt.how.as_deref() == Some("ended") && attempt.fault == Some(Fault::NONE) {
                    done.insert(line.clone());
                }
                recorded.insert(line);
            }
        }
        let lines = host::lines(begun);
        let begun: BTreeSet<_> = lines.iter().cloned().collect();
        assert_eq!(begun.len(), lines.len(), "begun twice");
        Self { recorded, done, begun }
    }
}

#[test]
fn what_is_cancelled_or_put_off_while_it_is_next_is_begun_only_where_that_is_recorded() {
    let site = Site::per_item("", "");
    let begun = site.open_folder("begun").join("lines");
    let work = format!("#!/bin/sh\necho \"$SKYNET_WFID $SKYNET_ATTEMPT\" >>{}\n", begun.display());
    site.script("work", &work);
    let exo = site.exo();
    site.ask(&json!({ "command": "drain" }));
    for number in 0..ITEMS {
        site.submit(&format!("w{number}"), "{}");
    }
    site.until(|| site.job(&format!("w{}", ITEMS - 1)).is_some());
    site.ask(&json!({ "command": "resume" }));
    let ended = |wfid: &str| site.job(wfid).is_some_and(|job| job.subject.state == State::Stop);
    // What is next stands right behind what is in hand.
    for number in (9..ITEMS).step_by(3) {
        site.until(|| ended(&format!("w{}", number - 1 - number % 7)));
        site.ask(
            &json!({ "command": "cancel", "wfid": format!("w{number}"), "flavour": "cancel" }),
        );
        if number % 5 == 0 {
            site.ask(&json!({ "command": "drain" }));
            site.ask(&json!({ "command": "resume" }));
        }
    }
    site.until_long(|| (0..ITEMS).all(|number| ended(&format!("w{number}"))));
    assert!(exo.end().success(), "{}", site.log());
    let wfids: Vec<String> = (0..ITEMS).map(|number| format!("w{number}")).collect();
    let Lists { recorded, done, begun } = Lists::of(&site, &wfids, &begun);
    let nothing: [&String; 0] = [];
    // A cancel that is recorded just before the beginning is the outcome.
    let is_cancelled = |line: &str| {
        let wfid = line.split(' ').next().unwrap();
        site.job(wfid).is_some_and(|job| job.subject.fault == Fault::CANCELLED)
    };
    let unrecorded = begun.difference(&recorded).filter(|line| !is_cancelled(line));
    assert_eq!(unrecorded.collect::<Vec<_>>(), nothing, "begun, not recorded");
    assert_eq!(done.difference(&begun).collect::<Vec<_>>(), nothing, "recorded, not begun");
    assert!(done.len() >= ITEMS / 2 && done.len() < ITEMS, "{} done", done.len());
}

/// Dice that fall the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % limit
    }
}

/// X9, of the embedded queue: an item is in hand, another one next, others at hand.
#[test]
fn term_at_any_moment_loses_no_brisk_item_and_does_none_twice_and_none_counts() {
    let rounds = if std::env::var_os("SKYNET_LONG").is_some() { 300 } else { 25 };
    let seed = 0x2545_f491_4f6c_dd1d;
    let mut dice = Dice(seed);
    let site = Site::per_item("", "instances: 3\ntries: 1\nshutdown-grace: 5s\n");
    let begun = site.open_folder("begun").join("lines");
    // Every eighth takes longer than a moment, and dies of TERM.
    let work = format!(
        "#!/bin/sh\necho \"$SKYNET_WFID $SKYNET_ATTEMPT\" >>{}\n\
         case $SKYNET_WFID in *[07]) exec sleep 0.02 ;; esac\n",
        begun.display()
    );
    site.script("work", &work);
    let store = site.join("store");
    let mut sender = Sender::new(&site);
    let mut wfids = Vec::new();
    for round in 0..rounds {
        let waits = wfids.len() as u64 - progress(&store).0;
        let more: Vec<_> = (waits..60).map(|n| format!("w{round}x{n}")).collect();
        sender.submit(&more);
        wfids.extend(more);
        let exo = site.exo();
        // It is the moment that differs, not a wait.
        let _ = holds_within(Duration::from_micros(dice.below(60_000)), || false);
        let code = exo.end().code();
        let context = format!("seed {seed:x}, round {round}");
        assert_eq!(code, Some(0), "{context}: {}", site.log());
        for job in site.reader().jobs(Some("p"), None, u32::MAX).unwrap() {
            let is_free = matches!(job.subject.state, State::Stop | State::Ready { leased: false });
            assert!(is_free && job.subject.count == 0, "{context}: {job:?}");
        }
    }
    let exo = site.exo();
    site.until_long(|| progress(&store) == (wfids.len() as u64, 0));
    assert!(exo.end().success(), "{}", site.log());
    let sums = adds_up(&sender, &store, 1, "TERM");
    println!("{} items: {sums:?}", wfids.len());
    assert!(sums.done == wfids.len() && sums.interrupted > 0, "{sums:?}");
    let Lists { recorded, done, begun } = Lists::of(&site, &wfids, &begun);
    let nothing: [&String; 0] = [];
    assert_eq!(begun.difference(&recorded).collect::<Vec<_>>(), nothing, "begun, not recorded");
    assert_eq!(done.difference(&begun).collect::<Vec<_>>(), nothing, "recorded, not begun");
}
