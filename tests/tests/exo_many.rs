//! More instances than a program may have descriptors when it is started, and none left at all.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{Exo, Site};
use machine::work::Fault;
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::calls;

/// What a shell says and does before it becomes exo.
fn behind(site: &Site, before: &str) -> Exo {
    let mut command = Command::new("sh");
    let exo = testkit::program("exo");
    command.args(["-c", &format!("{before}; exec {}", exo.display())]);
    site.prepare(&mut command);
    site.spawn(&mut command)
}

#[test]
fn exo_raises_its_limit_of_descriptors_as_its_instances_need_and_participants_have_the_old_one() {
    const ALL: usize = 100;
    let site = Site::per_item("#", &format!("instances: {ALL}\n"));
    let seen = site.open_folder("seen");
    let folder = seen.display();
    site.script(
        "work",
        &format!(
            "#!/bin/sh\necho \"limits $(ulimit -Sn) $(ulimit -Hn)\"\n: >{folder}/$SKYNET_INSTANCE\n\
             until [ -e {folder}/go ]; do sleep 1; done\n"
        ),
    );
    let mut exo = behind(&site, "ulimit -Sn 200; ulimit -Hn 2000");
    site.until(|| site.status().is_some());
    for n in 0..ALL {
        site.submit(&format!("w{n}"), "{}");
    }
    site.until_long(|| fs::read_dir(&seen).unwrap().count() == ALL);
    fs::write(seen.join("go"), "").unwrap();
    for n in 0..ALL {
        let (job, attempts) = site.stopped(&format!("w{n}"));
        assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1), "{attempts:?}");
    }
    // Who takes its place starts from the same.
    exo.signal(1);
    site.until(|| site.log().matches("100 at a time").count() == 2 && site.status().is_some());
    assert_eq!(site.work("late", "{}").fault, Some(Fault::NONE));
    let log = site.log();
    assert_eq!(log.matches(": limits 200 2000\n").count(), ALL + 1, "{log}");
    assert!(exo.is_running());
}

#[test]
fn exo_does_not_start_with_more_instances_than_its_hard_limit_of_descriptors_has_room_for() {
    let site = Site::per_item(host::DONE, "instances: 100\n");
    let mut exo = behind(&site, "ulimit -n 400");
    assert_eq!(exo.ended().code(), Some(111));
    let said = "exo: fatal: unable to run 100 instances: they take 464 descriptors and the hard limit \
                is 400; raise that ";
    assert!(site.log().contains(said), "{}", site.log());
}

#[test]
fn who_asks_while_no_descriptor_is_left_is_answered_later_and_looked_for_once_a_second() {
    const FAILURES: u32 = 3;
    let site = Site::per_item(host::DONE, "");
    let exo = site.exo();
    let rule = format!("accept4:error=EMFILE:when=1..{FAILURES}");
    calls::trace(exo.worker(), &site.join("trace"), &[&rule]);
    let begun = Instant::now();
    assert_eq!(site.ask(&json!({ "command": "status" }))["status"]["state"], "running");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(u64::from(FAILURES)), "tried again and again in {took:?}");
    let said = "unable to take whoever asks: process cannot open more files";
    assert_eq!(site.log().matches(said).count(), FAILURES as usize, "{}", site.log());
}
