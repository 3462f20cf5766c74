//! HUP: another exo takes the place of one at work, between two items.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::{ECHO, Exo, SOON, Site, lines, name_of};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::scratch::{copy_program, is_supervised, pid_in_status, script};
use testkit::svscan::{Svscan, svc};
use testkit::{program, skipped_without_root, until};
use work::Place;

const HUP: i32 = 1;

/// Says which item it has, and works on it until there is a file of its name.
const WAITS: &str = "#!/bin/sh\necho begun\n\
                     while ! [ -e ../go/$SKYNET_WFID ]; do sleep 0.01; done\necho over\n";

/// Puts the program exo into a folder of the site, in place of the one that is there.
#[track_caller]
fn install(site: &Site) -> PathBuf {
    let (new, path) = (site.join("exo.new"), site.join("exo"));
    copy_program(&program("exo"), &new);
    fs::rename(&new, &path).unwrap();
    path
}

/// Starts the exo that stands in the site's folder.
#[track_caller]
fn start(site: &Site) -> Exo {
    let mut command = Command::new(install(site));
    site.prepare(&mut command);
    let exo = site.spawn(&mut command);
    site.until(|| site.status().is_some());
    exo
}

/// Tells whether the process runs a program that is on disk.
fn is_new(pid: i32) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    exe.is_absolute() && exe.exists()
}

/// Installs exo anew, sends HUP, and waits until it has taken the place of the one before.
#[track_caller]
fn replace(site: &Site, exo: &Exo) {
    install(site);
    exo.signal(HUP);
    is_replaced(site, exo.pid());
}

#[track_caller]
fn is_replaced(site: &Site, keeper: i32) {
    site.until(|| is_new(keeper) && name_of(keeper) == "exo-keeper" && site.status().is_some());
}

/// Many items meet many replacements: each is worked on once, and printed once.
#[track_caller]
fn loses_and_doubles_nothing(site: &Site) {
    let wfids: Vec<String> = (0..400).map(|n| format!("w{n}")).collect();
    let exo = start(site);
    let mut sender = Sender::new(site);
    for (round, some) in wfids.chunks(40).enumerate() {
        sender.submit(some);
        let half = (40 * round + 20) as u64;
        site.until(|| progress(&site.join("store")).0 >= half);
        replace(site, &exo);
    }
    site.until(|| progress(&site.join("store")) == (400, 0));
    let sums = adds_up(&sender, &site.join("store"), 3, "replaced");
    // What came when no item was to be taken any more went back, and no participant saw it.
    assert_eq!((sums.done, sums.attempts - sums.interrupted), (400, 400), "{sums:?}");
    assert_eq!(exo.end().code(), Some(0));
    let log = site.log();
    for wfid in wfids {
        let mark = format!(": did {wfid}\n");
        assert_eq!(log.matches(&mark).count(), 1, "{wfid}:\n{log}");
    }
}

#[test]
fn hup_replaces_exo_between_items_and_each_is_done_once() {
    let site = Site::per_item("#!/bin/sh\necho did $SKYNET_WFID\n", "instances: 3\n");
    loses_and_doubles_nothing(&site);
}

#[test]
fn hup_ends_persistent_participants_between_items_and_each_is_done_once() {
    let words =
        ECHO.replace("work) ", "work) wfid=${line#*wfid\\\":\\\"}; echo did ${wfid%%\\\"*}; ");
    let site = Site::persistent(&words, "instances: 3\n");
    loses_and_doubles_nothing(&site);
}

#[test]
fn what_is_in_hand_at_hup_is_finished_first_and_nothing_more_is_taken() {
    let site = Site::per_item(WAITS, "instances: 2\n");
    let go = site.open_folder("go");
    let exo = start(&site);
    let worker = exo.worker();
    site.submit("long", "{}");
    site.until(|| site.log().contains("long/1: begun"));
    install(&site);
    exo.signal(HUP);
    site.until(|| site.status().is_some_and(|status| status["state"] == "draining"));
    // Told again and again, it is as if told once.
    exo.signal(HUP);
    site.ask(&json!({ "command": "resume" }));
    site.submit("next", "{}");
    site.until(|| site.job("next").is_some());
    site.until(|| site.log().contains("until another exo is in place"));
    assert_eq!((exo.worker(), is_new(exo.pid())), (worker, false));
    assert!(!site.log().contains("next/1"), "{}", site.log());
    fs::write(go.join("long"), "").unwrap();
    fs::write(go.join("next"), "").unwrap();
    for wfid in ["long", "next"] {
        assert_eq!(site.stopped(wfid).1.len(), 1);
    }
    is_replaced(&site, exo.pid());
    let log = site.log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text} is missing:\n{log}"));
    assert!(at("long/1: over") < at("next/1: begun"), "{log}");
}

#[test]
fn who_is_told_to_end_while_it_waits_to_be_replaced_ends() {
    let site = Site::per_item(WAITS, "shutdown-grace: 200ms\n");
    let exo = start(&site);
    site.submit("long", "{}");
    site.until(|| site.log().contains("long/1: begun"));
    exo.signal(HUP);
    site.until(|| site.log().contains("until another exo is in place"));
    assert_eq!(exo.end().code(), Some(0));
}

/// Whichever of the two has the signal, it ends: the one that is replaced or the one that replaces.
#[test]
fn an_order_to_end_that_comes_while_exo_is_replaced_is_not_lost() {
    let site = Site::per_item(WAITS, "");
    for round in 0..40 {
        let exo = start(&site);
        let checks = || exo.participants().len();
        install(&site);
        exo.signal(HUP);
        // At another point each time.
        match round % 4 {
            0 => {}
            1 => until(SOON, || checks() > 0 || is_new(exo.pid())),
            2 => until(SOON, || is_new(exo.pid())),
            _ => until(SOON, || site.log().contains("until another exo is in place")),
        }
        assert_eq!(exo.end().code(), Some(0), "round {round}:\n{}", site.log());
        fs::remove_file(site.join("log")).unwrap();
    }
}

#[test]
fn an_exo_that_finds_fault_with_the_configuration_replaces_none() {
    let site = Site::per_item(host::DONE, "");
    let exo = start(&site);
    let worker = exo.worker();
    let own = fs::read_to_string(site.join("p/exo.yaml")).unwrap();
    fs::write(site.join("p/exo.yaml"), format!("{own}instances: many\n")).unwrap();
    exo.signal(HUP);
    site.until(|| site.log().contains("not replaced, all goes on as it was"));
    assert!(site.log().contains("instances"), "{}", site.log());
    site.work("as-it-was", "{}");
    fs::remove_file(site.join("exo")).unwrap();
    exo.signal(HUP);
    site.until(|| site.log().contains("unable to run the exo on disk"));
    site.work("still", "{}");
    assert_eq!(exo.worker(), worker);
    // It is mended, and something changed.
    fs::write(site.join("p/exo.yaml"), format!("{own}instances: 2\n")).unwrap();
    replace(&site, &exo);
    site.until(|| site.status().is_some_and(|status| status["instances"][1].is_object()));
}

/// The program on disk is asked for the layout that the store has, and one that does not know it, or knows no
/// such question, is not taken.
#[test]
fn an_exo_that_is_too_old_for_the_store_replaces_none() {
    let site = Site::per_item(host::DONE, "");
    let exo = start(&site);
    let worker = exo.worker();
    let path = site.join("exo");
    fs::remove_file(&path).unwrap();
    let words = format!("check --layout {}", work::LAYOUT);
    let old = format!("#!/bin/sh\n[ \"$*\" != '{words}' ] && exit\necho 'too new' >&2\nexit 1\n");
    script(&path, &old);
    exo.signal(HUP);
    site.until(|| site.log().contains("too old for the store"));
    assert!(site.log().contains("too new"), "{}", site.log());
    site.work("as-it-was", "{}");
    assert_eq!(exo.worker(), worker);
    let real = program("exo");
    for (layout, code) in [(work::LAYOUT, 0), (work::LAYOUT + 1, 1)] {
        let mut check = Command::new(&real);
        check.args(["check", "--layout", &layout.to_string()]).arg(site.join("p"));
        site.prepare(&mut check);
        assert_eq!(testkit::run_within(60, &mut check).code, Some(code), "{layout}");
    }
    let mut asked = Command::new(&real);
    let said = testkit::run_within(60, asked.arg("layout")).out();
    assert_eq!(said, format!("{}\n", work::LAYOUT));
}

#[test]
fn an_exo_that_was_told_to_take_no_items_is_replaced_by_one_that_takes_none() {
    let site = Site::per_item(host::DONE, "");
    let exo = start(&site);
    site.ask(&json!({ "command": "drain" }));
    for _ in 0..2 {
        let worker = exo.worker();
        replace(&site, &exo);
        assert_ne!(exo.worker(), worker);
        assert_eq!(site.status().unwrap()["state"], "draining");
    }
    site.submit("w", "{}");
    site.until(|| site.job("w").is_some());
    assert_eq!(site.instance()["state"], "idle");
    site.ask(&json!({ "command": "resume" }));
    site.stopped("w");
    replace(&site, &exo);
    assert_eq!(site.status().unwrap()["state"], "running");
}

#[test]
fn the_descriptor_for_readiness_is_told_once_whoever_replaces() {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let site = Site::per_item(host::DONE, "ready-fd: 9\n");
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let mut command = Command::new("/bin/sh");
    let raw = theirs.as_raw_fd();
    let path = install(&site);
    let words = format!("exec {} 9>&{raw} {raw}>&-", path.display());
    command.args(["-c", &words]);
    site.prepare(&mut command);
    linux::fd::set_cloexec(raw, false).unwrap();
    let exo = site.spawn(&mut command);
    drop(theirs);
    let mut said = [0; 1];
    ours.read_exact(&mut said).unwrap();
    for _ in 0..2 {
        replace(&site, &exo);
    }
    site.work("w", "{}");
    assert_eq!((said[0], ours.read(&mut said).unwrap()), (b'\n', 0));
}

/// For supervise nothing has happened; and what was printed before is all in the log.
#[test]
fn under_supervise_hup_is_no_restart_and_no_line_is_lost() {
    let site = Site::per_item("#!/bin/sh\necho did $SKYNET_WFID\n", "");
    let dir = site.join("p");
    let path = install(&site);
    let etc = site.join("etc");
    let run = format!(
        "#!/bin/sh\nexec 2>&1\nexport SKYNET_CONFIG={}\nexec {}\n",
        etc.display(),
        path.display()
    );
    script(&dir.join("run"), &run);
    fs::create_dir(dir.join("log")).unwrap();
    script(&dir.join("log/run"), "#!/bin/sh\nexec multilog t ./main\n");
    fs::create_dir(site.join("service")).unwrap();
    std::os::unix::fs::symlink(&dir, site.join("service/p")).unwrap();
    let svscan = Svscan::start(site.scratch(), "service");
    until(SOON, || is_supervised(&dir));
    site.until(|| site.status().is_some());
    let pid = pid_in_status(&dir).unwrap();
    for round in 0..5 {
        site.submit(&format!("w{round}"), "{}");
        install(&site);
        svc(svscan.folder(), &["-h", "p"]);
        is_replaced(&site, pid);
        assert_eq!(site.stopped(&format!("w{round}")).1.len(), 1);
    }
    assert_eq!(pid_in_status(&dir), Some(pid));
    let log = || lines(&dir.join("log/main/current")).join("\n");
    until(SOON, || (0..5).all(|round| log().contains(&format!("did w{round}"))));
    assert_eq!(log().matches(": did w").count(), 5, "{}", log());
    svc(svscan.folder(), &["-d", "p"]);
    until(SOON, || pid_in_status(&dir).is_none());
}

/// Returns the nice value of a process.
fn nice_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind_its_name = stat.rsplit_once(')').unwrap().1;
    behind_its_name.split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// Needs root: who has no right to that is where all others are.
#[test]
fn the_keeper_goes_before_all_others_by_as_much_whoever_replaced_it_and_nobody_else_does() {
    if skipped_without_root() {
        return;
    }
    let site = Site::per_item("#!/bin/sh\necho nice $(nice)\n", "");
    let mut command = Command::new("nice");
    command.args(["-n", "3"]).arg(install(&site));
    site.prepare(&mut command);
    let exo = site.spawn(&mut command);
    let ours = nice_of(std::process::id().cast_signed());
    for round in 1..=3 {
        site.until(|| site.status().is_some());
        site.until(|| nice_of(exo.pid()) == ours + 3 - 5);
        assert_eq!(nice_of(exo.worker()), ours + 3, "round {round}");
        // Those behind the first are made ahead.
        (0..5).for_each(|n| site.submit(&format!("{round}.{n}"), "{}"));
        site.until(|| site.log().matches(&format!(": nice {}\n", ours + 3)).count() == 5 * round);
        replace(&site, &exo);
    }
    assert_eq!(site.log().matches(": nice ").count(), 15, "{}", site.log());
    assert_eq!(exo.end().code(), Some(0));
}

#[test]
fn at_no_moment_of_a_replacement_does_a_second_exo_begin() {
    let site = Site::per_item(host::DONE, "");
    let exo = start(&site);
    for _ in 0..5 {
        install(&site);
        exo.signal(HUP);
        let is_replaced = || is_new(exo.pid()) && name_of(exo.pid()) == "exo-keeper";
        site.until(|| {
            let mut second = Command::new("timeout");
            second.arg("20").arg(program("exo"));
            site.prepare(&mut second);
            let second = second.output().unwrap();
            assert_eq!(second.status.code(), Some(111), "{second:?}");
            is_replaced() && site.status().is_some()
        });
    }
    assert_eq!(exo.end().code(), Some(0));
}

#[test]
fn hup_waits_until_what_is_done_is_on_record_and_it_is_done_once() {
    let work = "#!/bin/sh\necho did $SKYNET_WFID\n\
                until [ -e ../go/$SKYNET_WFID ]; do sleep 0.01; done\n";
    let site = Site::per_item(work, "");
    let go = site.open_folder("go");
    let change = |sql: &str| {
        let words = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])";
        let mut command = Command::new("python3");
        command.args(["-c", words]).arg(Place::new(site.join("store")).database()).arg(sql);
        assert!(command.status().unwrap().success());
    };
    let exo = start(&site);
    let worker = exo.worker();
    site.submit("w", "{}");
    site.until(|| site.log().contains("w/1: did w"));
    // Nothing can be recorded, and the end would give up after five seconds.
    change("CREATE TRIGGER full BEFORE UPDATE ON job BEGIN SELECT RAISE(ABORT, 'full'); END");
    fs::write(go.join("w"), "").unwrap();
    site.until(|| site.status().is_some_and(|status| !status["trouble"].is_null()));
    install(&site);
    exo.signal(HUP);
    site.until(|| site.log().contains("until another exo is in place"));
    let is_waiting = Instant::now();
    site.until(|| is_waiting.elapsed() > Duration::from_secs(6));
    assert_eq!((exo.worker(), is_new(exo.pid())), (worker, false));
    change("DROP TRIGGER full");
    is_replaced(&site, exo.pid());
    assert_eq!(site.stopped("w").1.len(), 1);
    assert_eq!(site.log().matches(": did w\n").count(), 1, "{}", site.log());
}
