//! `skynet log`, on a user's instance and on the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use ondisk::tai64n::Stamp;
use serde_json::{Value, json};
use site::{Kind, Place, SOON, Site};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::scratch::SLEEPER;
use testkit::{program, run_within};

const MOMENT: i64 = 1_795_474_469;

fn label(second: i64) -> String {
    let label = Stamp::from_unix(MOMENT + second, 123_456_789).to_label();
    String::from_utf8(label.to_vec()).unwrap()
}

/// Puts a service with a logger there, and files into its log directory.
fn log(site: &Site, name: &str, files: &[(&str, &str)]) {
    if !site.dir(name).exists() {
        site.sleeper(name);
    }
    site.logger(name, SLEEPER);
    let dir = site.at(Place::Logs).join(name);
    site.folder(&dir);
    for (file, text) in files {
        fs::write(dir.join(file), text).unwrap();
    }
    site.own_all(&dir);
}

/// Stamped lines: each with its second.
fn stamped(lines: &[(i64, &str)]) -> String {
    let line = |(second, text): &(i64, &str)| format!("{} {text}\n", label(*second));
    lines.iter().map(line).collect::<Vec<_>>().concat()
}

/// Two services whose lines alternate, in three files and in one.
fn two(site: &Site) {
    let (first, second) = (stamped(&[(0, "a0"), (2, "a2")]), stamped(&[(4, "a4"), (6, "a6")]));
    let names = [3, 7].map(|second| format!("{}.s", label(second)));
    let last = stamped(&[(8, "a8")]);
    log(site, "a", &[(&names[0], &first), (&names[1], &second), ("current", &last)]);
    let file = site.at(Place::Logs).join("a").join(&names[0]);
    assert!(Command::new("gzip").arg(&file).status().unwrap().success());
    let odd: Vec<_> = (1..9).step_by(2).map(|n| (n, format!("b{n}"))).collect();
    let odd: Vec<_> = odd.iter().map(|(n, text)| (*n, text.as_str())).collect();
    log(site, "bee", &[("current", &stamped(&odd))]);
}

fn texts(out: &str) -> Vec<&str> {
    out.lines().map(|line| line.rsplit(' ').next().unwrap()).collect()
}

#[test]
fn several_services_are_merged_by_time_across_rotated_and_compressed_files() {
    Site::each(|kind| {
        let site = Site::new(kind);
        two(&site);
        let all = ["a0", "b1", "a2", "b3", "a4", "b5", "a6", "b7", "a8"];
        let out = site.well(&["log", "--utc", "a", "b*"]);
        assert_eq!(texts(&out), all);
        let first = "a    2026-11-23T22:54:29.123Z a0\nbee  2026-11-23T22:54:30.123Z b1\n";
        assert!(out.starts_with(first), "{out}");
        // No name means all of them; one has no column of names.
        assert_eq!(site.well(&["logs", "--utc"]), out);
        assert!(site.well(&["log", "--utc", "bee"]).starts_with("2026-11-23T22:54:30.123Z b1\n"));
        assert_eq!(texts(&site.well(&["log", "-n", "4"])), all[5..]);
        assert_eq!(texts(&site.well(&["log", "-n", "all"])), all);
        let newest: Vec<_> = all.into_iter().rev().take(4).collect();
        assert_eq!(texts(&site.well(&["log", "-rn4"])), newest);
        let [since, until] = [2, 7].map(label);
        let range = ["log", "--since", &since, "--until", &until];
        assert_eq!(texts(&site.well(&range)), all[2..8]);
        assert_eq!(texts(&site.well(&[&range[..], &["-n2"]].concat())), all[6..8]);
        let raw = format!("{0} a0\n", label(0));
        assert!(site.well(&["log", "--raw", "a", "bee"]).starts_with(&raw));
    });
}

#[test]
fn an_expression_picks_lines_by_their_text() {
    Site::each(|kind| {
        let site = Site::new(kind);
        two(&site);
        let grep = |args: &[&str]| {
            let out = site.well(&[&["log"], args].concat());
            texts(&out).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(grep(&["--grep", "b3"]), ["b3"]);
        assert_eq!(grep(&["-g", "^[ab][0-3]$"]), ["a0", "b1", "a2", "b3"]);
        assert_eq!(grep(&["-g", "B[37]", "-i"]), ["b3", "b7"]);
        assert_eq!(grep(&["-vg", "^b", "a*", "bee"]), ["a0", "a2", "a4", "a6", "a8"]);
        assert_eq!(grep(&["-g", "a", "-n", "2"]), ["a6", "a8"]);
        assert_eq!(grep(&["-g", "4000"]), [""; 0], "a stamp is no text");
        let out = site.ends(100, &["log", "-g", "("]);
        assert!(out.contains("\"(\" is no regular expression"), "{out}");
        assert_eq!(site.skynet(&["log", "-i"]).code, Some(100));
    });
}

/// Boots two participants that print what looks like a line of another item, and have items done.
fn two_forgers(kind: Kind) -> Site {
    let site = Site::booted(kind);
    for name in ["sizer", "viewer"] {
        let work = "#!/bin/sh\necho begun\necho 'sizer_0 w-1/1: forged'\n\
                    echo '@400000006b04c42f075bcd15 sizer_0 w-1/1: forged'\n\
                    head -c 150 /dev/zero | tr '\\0' x\n";
        site.participant(name, "line-limit: 64B\n", work);
        let dir = site.inside(Place::Logs).join(name);
        let run = format!("#!/bin/sh\nexec multilog t s4096 n10 {}\n", dir.display());
        site.logger(name, &run);
    }
    site.well(&["start", "sizer", "viewer"]);
    for (name, wfid) in [("sizer", "w-1"), ("sizer", "w-10"), ("viewer", "w-1")] {
        site.submit(name, wfid);
        // Its logger may not have begun.
        site.until(|| {
            let out = site.skynet(&["log", "--wfid", wfid, name]).out();
            out.ends_with("+: xxxxxxxxxxxxxxxxxxxxxx\n")
        });
    }
    site
}

#[test]
fn what_was_printed_for_a_wfid_is_told_from_what_only_names_it() {
    Site::each(|kind| {
        let site = two_forgers(kind);
        let forged = stamped(&[(0, "sizer_0 w-1/1: forged"), (1, "w-1/1")]);
        log(&site, "web", &[("current", &forged)]);
        let out = site.well(&["log", "--wfid", "w-1", "--json"]);
        let objects: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 12, "{out}");
        let long = "x".repeat(64);
        let printed = [
            ("begun", false),
            ("sizer_0 w-1/1: forged", false),
            ("@400000006b04c42f075bcd15 sizer_0 w-1/1: forged", false),
            (&long, false),
            (&long, true),
            (&long[..22], true),
        ];
        for (service, lines) in ["sizer", "viewer"].into_iter().zip(objects.chunks(6)) {
            for (line, (text, continued)) in lines.iter().zip(printed) {
                let wanted = json!({
                    "time": line["time"], "service": service, "instance": format!("{service}_0"),
                    "wfid": "w-1", "attempt": 1, "continued": continued, "text": text,
                });
                assert_eq!(*line, wanted);
                assert!(line["time"].as_str().unwrap().ends_with('Z'));
            }
        }
        let count = |args: &[&str]| site.well(&[&["log"], args].concat()).lines().count();
        assert_eq!(count(&["--wfid", "w-1", "--instance", "0", "s*"]), 6);
        assert_eq!(count(&["--wfid", "w-1", "--instance", "sizer_1"]), 0);
        assert_eq!(count(&["--instance", "sizer_0", "--grep", "^begun$"]), 2);
        assert_eq!(count(&["web"]), 2);
        let out = site.ends(1, &["log", "--wfid", "w-1", "web"]);
        let wanted = "web is no participant: nothing says whose its lines are\n";
        assert_eq!(out, format!("skynet: warning: {wanted}"));
    });
}

#[test]
fn what_exo_says_of_an_item_is_among_its_lines() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let work = "#!/bin/sh\necho \"exo: warning: sizer_0 w-1/1: mine\"\nkill -9 $$\n";
        site.participant("sizer", "tries: 1\n", work);
        site.logger("sizer", "#!/bin/sh\nexec multilog t ./main\n");
        site.well(&["enable", "--now", "sizer"]);
        site.submit("sizer", "w-1");
        site.submit("sizer", "w-2");
        let said = |wfid: &str| {
            let out = site.skynet(&["log", "--json", "--wfid", wfid, "sizer"]).out();
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        for wfid in ["w-1", "w-2"] {
            site.until(|| said(wfid).len() >= 2);
            let lines = said(wfid);
            assert_eq!(lines.len(), 2, "{lines:?}");
            for line in &lines {
                let about = (&line["instance"], &line["wfid"], &line["attempt"]);
                assert_eq!(about, (&json!("sizer_0"), &json!(wfid), &json!(1)));
            }
            assert_eq!(lines[0]["text"], "exo: warning: sizer_0 w-1/1: mine");
            let own = lines[1]["text"].as_str().unwrap();
            let wanted = format!("exo: warning: sizer_0 {wfid}/1: fault ");
            assert!(own.starts_with(&wanted) && own.contains("signal 9"), "{own}");
        }
    });
}

#[test]
fn a_plain_log_has_no_instance_and_no_wfid() {
    Site::each(|kind| {
        let site = Site::new(kind);
        log(&site, "web", &[("current", &(stamped(&[(0, "web_0 w/1: x")]) + "no stamp\n"))]);
        let out = site.well(&["log", "--json", "web"]);
        let wanted = |time: Value, text: &str| {
            json!({
                "time": time, "service": "web", "instance": null, "wfid": null,
                "attempt": null, "continued": false, "text": text,
            })
        };
        let lines: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let time = json!("2026-11-23T22:54:29.123456789Z");
        assert_eq!(lines, [wanted(time, "web_0 w/1: x"), wanted(Value::Null, "no stamp")]);
    });
}

#[test]
fn a_log_is_found_by_the_link_in_the_service_directory_too() {
    Site::each(|kind| {
        let site = Site::new(kind);
        log(&site, "web", &[]);
        let elsewhere = site.inside(Place::Store).join("elsewhere");
        let dir = site.at(Place::Store).join("elsewhere");
        site.folder(&dir);
        fs::write(dir.join("current"), "here\n").unwrap();
        symlink(elsewhere, site.dir("web").join("log/main")).unwrap();
        assert_eq!(site.well(&["log", "web"]), "here\n");
    });
}

#[test]
fn what_cannot_be_shown_is_told_and_the_rest_is_shown() {
    Site::each(|kind| {
        let site = Site::new(kind);
        assert!(site.ends(1, &["log"]).contains("no service has such a log"));
        log(&site, "web", &[("current", "here\n")]);
        site.sleeper("mute");
        site.sleeper("fresh");
        site.logger("fresh", SLEEPER);
        assert_eq!(site.well(&["log"]), "here\n");
        let said = |code, args: &[&str], wanted: &[&str]| {
            let out = site.ends(code, args);
            assert!(out.starts_with("here\n"), "{out}");
            let parts = out.contains("skynet: warning: ");
            assert!(parts && wanted.iter().all(|part| out.contains(part)), "{out}");
        };
        said(4, &["log", "web", "webs"], &["no service webs; did you mean web?"]);
        said(1, &["log", "web", "mute"], &["mute has no logger; ", "skynet log skynet-log"]);
        said(1, &["log", "web", "fresh"], &["fresh has no log yet, neither ", "log/main"]);
        site.sleeper("skynet-notice");
        let own = "skynet-notice has no logger; ";
        said(1, &["log", "web", "skynet-notice"], &[own, "skynet log skynet-log"]);
        let follow = site.ends(4, &["log", "-f", "webs"]);
        assert!(follow.contains("no service webs"), "{follow}");
        assert_eq!(site.skynet(&["log", "--since", "yesterday", "web"]).code, Some(100));
        assert_eq!(site.skynet(&["log", "-f", "--until", "10m", "web"]).code, Some(100));
    });
}

#[test]
fn who_may_not_read_a_log_is_told_who_may() {
    let site = Site::new(Kind::Private);
    log(&site, "web", &[("current", "here\n")]);
    log(&site, "secret", &[("current", "secret\n")]);
    let dir = site.at(Place::Logs).join("secret");
    let close = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    close(0);
    // Also where it was not named: it may have what was asked for.
    for args in [&["log"][..], &["log", "web", "secret"]] {
        let out = site.ends(1, args);
        let wanted = "here\nskynet: warning: unable to read the log of secret: access denied; ";
        assert!(out.starts_with(wanted), "{out}");
        assert!(out.ends_with("; root and nobody may\n"), "{out}");
    }
    chown(&dir, Some(0), None).unwrap();
    close(0o2750);
    assert_eq!(site.well(&["log", "secret"]), "secret\n", "its group may");
    chown(&dir, None, Some(1)).unwrap();
    let out = site.ends(1, &["log", "secret"]);
    assert!(out.ends_with("; root and members of group 1 may\n"), "{out}");
}

#[test]
fn the_system_s_logs_are_read_by_its_group_and_others_are_told_so() {
    let site = Site::new(Kind::System);
    log(&site, "web", &[("current", "here\n")]);
    let dir = site.at(Place::Logs).join("web");
    // As a logger has it: these are skynetlog and skynet in the site's accounts.
    chown(&dir, Some(64971), Some(64970)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).unwrap();
    let read_with = |group: &str| {
        let skynet = program("skynet").display().to_string();
        let args = ["--reuid=65534", group, "--clear-groups", &skynet, "--system", "log", "web"];
        run_within(SOON, &mut site.command("setpriv", &args))
    };
    let stranger = read_with("--regid=65534");
    let who = "root, skynetlog and members of group skynet";
    let why = format!("unable to read the log of web: access denied; {who} may");
    assert_eq!(stranger.verdict(), (Some(1), format!("skynet: warning: {why}\n")));
    let member = read_with("--regid=64970");
    assert_eq!((member.verdict(), member.out()), ((Some(0), String::new()), "here\n".into()));
}

/// A `skynet log -f` with its output in files.
struct Follower<'a> {
    site: &'a Site,
    child: Child,
}

impl<'a> Follower<'a> {
    fn start(site: &'a Site, args: &[&str]) -> Self {
        let mut command = site.command(program("skynet"), &[&["log", "-f"], args].concat());
        let file = |name: &str| File::create(site.at(Place::Logs).join(name)).unwrap();
        command.stdout(file("shown")).stderr(file("said"));
        Self { site, child: command.spawn().unwrap() }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.site.at(Place::Logs).join(name)).unwrap()
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a logger of this service, which reads what the test writes.
fn logger(site: &Site, name: &str) -> Child {
    let dir = site.inside(Place::Logs).join(name);
    let mut multilog = site.command("multilog", &["t", "s4096", "n5000", dir.to_str().unwrap()]);
    multilog.stdin(Stdio::piped()).spawn().unwrap()
}

fn say(to: &mut Child, name: &str, lines: std::ops::Range<u32>) {
    let text: Vec<_> = lines.map(|n| format!("{name} {n}\n")).collect();
    to.stdin.as_mut().unwrap().write_all(text.concat().as_bytes()).unwrap();
}

/// Holds what is shown of each service against all of its lines.
fn shows_each_line_once(shown: &str, lines: u32) {
    for name in ["a", "b"] {
        let its: Vec<_> =
            shown.lines().filter(|line| line.contains(&format!(" {name} "))).collect();
        assert_eq!(its.len(), lines as usize, "{name}");
        let number = |line: &&str| -> u32 { line.rsplit(' ').next().unwrap().parse().unwrap() };
        let numbers = its.iter().map(number);
        assert!(numbers.eq(0..lines), "{name}");
    }
}

#[test]
fn several_logs_are_followed_across_rotations_without_a_gap_or_a_repeat() {
    Site::each(|kind| {
        let site = Site::new(kind);
        log(&site, "a", &[]);
        log(&site, "b", &[]);
        let follower = Follower::start(&site, &["-n", "all", "--raw", "a", "b"]);
        let mut loggers = ["a", "b"].map(|name| logger(&site, name));
        for round in 0..20 {
            for (logger, name) in loggers.iter_mut().zip(["a", "b"]) {
                say(logger, name, 200 * round..200 * (round + 1));
            }
        }
        site.until(|| {
            let shown = follower.read("shown");
            ["a 3999\n", "b 3999\n"].iter().all(|last| shown.contains(last))
        });
        shows_each_line_once(&follower.read("shown"), 4000);
        assert_eq!(follower.read("said"), "");
        for mut logger in loggers {
            logger.stdin = None;
            assert_eq!(logger.wait().unwrap().code(), Some(0));
        }
        let files = fs::read_dir(site.at(Place::Logs).join("a")).unwrap().count();
        assert!(files >= 20, "{files} files");
        // The same lines again, picked from both ends.
        shows_each_line_once(&site.well(&["log", "-g", "[ab]", "--raw"]), 4000);
        assert_eq!(site.well(&["log", "-n", "2", "-g", "a 1999"]).lines().count(), 1);
    });
}

#[test]
fn a_log_that_vanishes_while_it_is_followed_is_told_and_gone_on_with() {
    Site::each(|kind| {
        let site = Site::new(kind);
        log(&site, "web", &[("current", "one\n")]);
        let follower = Follower::start(&site, &["--grep", "o", "web"]);
        site.until(|| follower.read("shown") == "one\n");
        let dir = site.at(Place::Logs).join("web");
        fs::remove_dir_all(&dir).unwrap();
        site.until(|| !follower.read("said").is_empty());
        let path = site.inside(Place::Logs).join("web");
        let wanted = format!(
            "skynet: warning: the log of web, {}, was removed; waiting until it is there again\n",
            path.display()
        );
        assert_eq!(follower.read("said"), wanted);
        log(&site, "web", &[("current", "three\ntwo\n")]);
        site.until(|| follower.read("shown") == "one\ntwo\n");
    });
}

#[test]
fn a_follower_ends_by_an_interrupt_like_every_program() {
    Site::each(|kind| {
        let site = Site::new(kind);
        log(&site, "web", &[("current", "one\n")]);
        let mut follower = Follower::start(&site, &["web"]);
        site.until(|| follower.read("shown") == "one\n");
        for pid in site.pids("skynet") {
            linux::signal::kill(pid, linux::signal::numbers::SIGINT).unwrap();
        }
        assert_eq!(follower.child.wait().unwrap().signal(), Some(2));
        assert_eq!(follower.read("said"), "");
    });
}

#[test]
fn who_reads_no_more_ends_it_without_a_word() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let many: Vec<_> = (0..50_000).map(|n| format!("line {n}\n")).collect();
        log(&site, "web", &[("current", &many.concat())]);
        for args in ["log web", "log -f -n 2 web", "log --json web"] {
            let script = format!("skynet {args} | head -n 1 | wc -l");
            let output = run_within(SOON, &mut site.command("sh", &["-c", &script]));
            assert_eq!((output.verdict(), output.out()), ((Some(0), String::new()), "1\n".into()));
        }
        site.until(|| site.pids("skynet").is_empty());
    });
}

/// Runs skynet on a terminal.
fn typed(site: &Site, line: &str) -> String {
    let line = format!("stty columns 80; skynet {line}");
    let mut command = site.command("script", &["-qec", &line, "/dev/null"]);
    run_within(SOON, &mut command).out()
}

#[test]
fn a_terminal_gets_the_last_lines_in_colour_and_no_control_byte_of_them() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let many: Vec<_> = (0..30).map(|n| (n, "x\x1b[2J\x07\ty")).collect();
        log(&site, "web", &[("current", &stamped(&many))]);
        log(&site, "db", &[("current", "")]);
        let out = typed(&site, "log --utc web db");
        assert_eq!(out.lines().count(), 10);
        let last = "\x1b[36mdb\x1b[0m";
        assert!(!out.contains(last), "{out}");
        let last = "web\x1b[0m  \x1b[2m2026-11-23T22:54:58.123Z\x1b[0m x\\x1b[2J\\x07\ty\r\n";
        assert!(out.ends_with(last), "{out:?}");
        let plain = typed(&site, "log --utc --color never -n 1 web");
        assert_eq!(plain, "2026-11-23T22:54:58.123Z x\\x1b[2J\\x07\ty\r\n");
        log(&site, "json", &[("current", &stamped(&[(1, "a\u{7f}\u{9b}2J")]))]);
        assert!(typed(&site, "log --json json").contains("\"a\\u007f\\u009b2J\""));
        assert!(site.well(&["log", "--json", "json"]).contains("\"a\u{7f}\u{9b}2J\""));
        assert_eq!(typed(&site, "log --raw -n all web").lines().count(), 30);
        assert!(site.well(&["log", "--raw", "-n1", "web"]).ends_with(" x\x1b[2J\x07\ty\n"));
    });
}

#[test]
fn a_thousand_logs_are_merged() {
    let site = Site::new(Kind::Private);
    for n in 0..1000 {
        let name = format!("s{n:03}");
        let dir = site.dir(&name);
        fs::create_dir_all(dir.join("log")).unwrap();
        let logs = site.at(Place::Logs).join(&name);
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join("current"), stamped(&[(n, &name)])).unwrap();
    }
    own(&site);
    let out = site.well(&["log"]);
    let wanted: Vec<_> = (0..1000).map(|n| format!("s{n:03}")).collect();
    assert_eq!(texts(&out), wanted);
    assert_eq!(texts(&site.well(&["log", "-n", "3"])), wanted[997..]);
}

fn own(site: &Site) {
    let home = site.at(Place::Store);
    let home = home.ancestors().find(|path| path.ends_with("home")).map(Path::to_owned);
    site.own_all(&home.unwrap());
}
