//! Items by the thousand under svscan, supervise and multilog, while everything is killed at random:
//! participants, exo's worker and keeper, supervise, multilog, svscan, and the whole tree at once.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::killer::{Killer, Left};
use history::{Sender, Sums, adds_up, all_taken, consumer, each_was_taken, lives, progress};
use host::{Site, children, name_of};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};
use testkit::scratch::script;
use testkit::svscan::{Svscan, kill9};
use testkit::wait::holds_within;
use testkit::{program, until};

/// How often an item may be tried: deaths of exo count.
const TRIES: usize = 20;
/// Instances of the participant.
const INSTANCES: usize = 3;
/// Returns the names of items: most are done at once.
fn items(count: usize) -> Vec<String> {
    let kind = |n: usize| match n % 50 {
        7 => "again",
        19 => "never",
        31 => "crash",
        _ => "plain",
    };
    (0..count).map(|n| format!("{}-{n}", kind(n))).collect()
}

/// How items come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the store.
    Store,
    /// Dropped by another user; another exo takes the answers.
    Folder,
}

/// Makes the service directory of exo and its logger, in a folder to be scanned.
fn site(persistent: bool, way: Way) -> Site {
    let more = format!("tries: {TRIES}\ninstances: {INSTANCES}\n");
    let site = if persistent { Site::persistent("", &more) } else { Site::per_item("", &more) };
    let did = site.open_folder("did").join("list").display().to_string();
    site.script("work", &lives::work(persistent, &did));
    let config = site.join("etc").display().to_string();
    site.script("run", &format!("#!/bin/sh\nexec 2>&1\nSKYNET_CONFIG={config} exec exo\n"));
    fs::create_dir(site.join("p/log")).unwrap();
    script(&site.join("p/log/run"), "#!/bin/sh\nexec multilog t s1000000 n3 ./main\n");
    fs::create_dir(site.join("service")).unwrap();
    symlink("../p", site.join("service/p")).unwrap();
    if way == Way::Folder {
        let run = format!("#!/bin/sh\nexec >>said 2>&1\nSKYNET_CONFIG={config} exec exo\n");
        script(&consumer(&site).join("run"), &run);
        symlink("../answers", site.join("service/answers")).unwrap();
    }
    site
}

/// Lives until all items are settled, `deaths` kills on the way.
fn soak(persistent: bool, way: Way, count: usize, deaths: usize) {
    let (site, begun) = (site(persistent, way), Instant::now());
    let store = site.join("store");
    let mut sender = Sender::new(&site);
    if way == Way::Store {
        sender.submit(&items(count));
    }
    let mut killer = Killer::new([]);
    let mut scan = Svscan::start(site.scratch(), "service");
    if way == Way::Folder {
        sender.drop(&site, &items(count));
    }
    for death in 0..deaths {
        // Each after its share of the work, so that there is always some in hand.
        let share = (death * count / deaths) as u64;
        let is_done = || progress(&store).0 >= share;
        let went_on = holds_within(Duration::from_secs(120), is_done);
        assert!(went_on, "{share} of {count} are never done: {}", story(&site, &scan));
        scan = match killer.strikes(site.scratch(), scan) {
            Left::Svscan(scan) => scan,
            Left::Services | Left::Nothing => Svscan::start(site.scratch(), "service"),
        };
    }
    assert!(killer.has_spared_none(), "{:?}", killer.killed);
    let are_taken = || way == Way::Store || all_taken(&store, count as u64);
    let all = || progress(&store) == (count as u64, 0) && are_taken();
    let settled = holds_within(Duration::from_secs(600), all);
    assert!(settled, "{:?} settled and not: {}", progress(&store), story(&site, &scan));
    end(&site, scan);
    sender.find_dropped(&store, "at the end");
    if way == Way::Folder {
        each_was_taken(&store, "at the end");
    }
    let sums = adds_up(&sender, &store, TRIES, "at the end");
    told(persistent, begun.elapsed(), &killer.killed, &sums);
    // Each of fifty is of a kind, whatever was killed meanwhile.
    let never = items(count).iter().filter(|name| name.starts_with("never")).count();
    assert_eq!((sums.done, sums.failed), (count - never, never), "{sums:?}");
}

fn story(site: &Site, scan: &Svscan) -> String {
    let log = fs::read_to_string(site.join("p/log/main/current")).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(40).collect();
    format!("{}\n{last:#?}\n{:?}", scan.messages(), site.status())
}

/// Ends svscan with all that it has, in good order.
fn end(site: &Site, scan: Svscan) {
    let keepers = || {
        let all = site.scratch().processes();
        all.into_iter().filter(|pid| name_of(*pid).starts_with("exo")).count()
    };
    let services = fs::read_dir(scan.join("")).unwrap().map(|entry| entry.unwrap().path());
    let services: Vec<_> = services.filter(|path| path.join("run").exists()).collect();
    until(60, || {
        // Whoever was killed last may have nobody who listens yet.
        let mut down = Command::new(program("svc"));
        down.arg("-dx").args(&services);
        down.stderr(Stdio::null()).status().unwrap().success() && keepers() == 0
    });
    children(scan.pid()).into_iter().for_each(kill9);
    scan.kill9();
    assert!(site.scratch().kill_all());
}

fn told(persistent: bool, took: Duration, killed: &BTreeMap<String, usize>, sums: &Sums) {
    let mode = if persistent { "persistent" } else { "one process an item" };
    println!("{mode}: {:.0} s, killed: {killed:?}, {sums:?}", took.as_secs_f64());
}

/// Returns items and kills of the short form, or of the long one.
fn size(short: (usize, usize), long: (usize, usize)) -> (usize, usize) {
    if env::var_os("SKYNET_LONG").is_some() { long } else { short }
}

#[test]
fn whoever_is_killed_at_random_each_item_of_a_persistent_participant_is_answered_once() {
    let (count, deaths) = size((1_000, 40), (100_000, 2_000));
    soak(true, Way::Store, count, deaths);
}

#[test]
fn whoever_is_killed_at_random_each_item_of_a_process_for_each_is_answered_once() {
    let (count, deaths) = size((500, 30), (10_000, 1_000));
    soak(false, Way::Store, count, deaths);
}

#[test]
fn whoever_is_killed_at_random_what_another_user_dropped_is_answered_once_to_who_takes_the_answers()
{
    let (count, deaths) = size((400, 30), (20_000, 1_000));
    soak(true, Way::Folder, count, deaths);
}
