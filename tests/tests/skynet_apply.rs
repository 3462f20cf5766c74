//! `skynet apply`, on a user's instance and on the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use serde_json::Value;
use site::{Kind, Place, SOON, Site};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use testkit::calls::{self, Call};
use testkit::run_within;
use testkit::scratch::{SLEEPER, script};

/// Says which services are to be enabled, and which are not to be.
fn configure(site: &Site, services: &[(&str, bool)]) {
    let file = site.at(Place::Config).join("conf.d/services.yaml");
    site.folder(file.parent().unwrap());
    let lines = services.iter().map(|(name, on)| format!("  {name}: {{enabled: {on}}}\n"));
    fs::write(&file, format!("services:\n{}", lines.collect::<String>())).unwrap();
    site.own_all(&file);
}

const SAME: &str = "everything is as it is configured\n";

/// Returns the line of a name; there is one.
#[track_caller]
fn line<'a>(out: &'a str, name: &str) -> &'a str {
    let start = format!("{name}: ");
    let mut its = out.lines().filter(|line| line.starts_with(&start));
    let line = its.next().unwrap_or_else(|| panic!("no line of {name}:\n{out}"));
    assert_eq!(its.next(), None, "{out}");
    &line[start.len()..]
}

#[track_caller]
fn says(out: &str, name: &str, words: &str) {
    assert!(line(out, name).starts_with(words), "{name} does not say {words:?}:\n{out}");
}

fn is_linked(site: &Site, name: &str) -> bool {
    site.at(Place::Service).join(name).is_symlink()
}

#[test]
fn what_is_to_be_enabled_runs_and_what_is_not_does_not_and_all_others_stay() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["on", "off", "barred", "stopped", "other", "idle"] {
            site.sleeper(name);
        }
        site.well(&["enable", "--now", "off", "barred", "stopped", "other"]);
        site.well(&["disable", "--now", "barred"]);
        site.well(&["stop", "stopped"]);
        fs::write(site.dir("barred").join("down"), "").unwrap();
        let other = site.pid("other");
        let all = [("on", true), ("off", false), ("barred", true), ("stopped", true)];
        configure(&site, &all);
        let out = site.well(&["apply"]);
        assert_eq!(out.lines().count(), 4, "{out}");
        says(&out, "on", "enabled and up after ");
        says(&out, "off", "disabled and down after ");
        says(&out, "barred", "enabled and up after ");
        says(&out, "stopped", "up after ");
        let up = |name: &str| site.pid(name).is_some();
        assert_eq!(
            ["on", "off", "barred", "stopped", "idle"].map(up),
            [true, false, true, true, false]
        );
        assert_eq!(site.pid("other"), other);
        assert!(!is_linked(&site, "off") && !is_linked(&site, "idle"));
        let enabled = site.well(&["list", "--enabled"]);
        assert_eq!(enabled, "barred\non\nother\nskynet-log\nstopped\n");

        let pids = ["on", "barred", "stopped", "other"].map(|name| site.pid(name));
        assert_eq!(site.well(&["apply"]), SAME);
        assert_eq!(["on", "barred", "stopped", "other"].map(|name| site.pid(name)), pids);
        // Those that are named alone.
        configure(&site, &[("on", false), ("off", true)]);
        let out = site.well(&["apply", "of*"]);
        says(&out, "off", "enabled and up after ");
        assert_eq!(out.lines().count(), 1);
        assert!(up("on"));
        site.well(&["apply", "--no-wait"]);
        site.well(&["wait", "--state", "finished", "on"]);
    });
}

#[test]
fn what_was_installed_over_a_running_service_is_what_runs_behind_apply() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let ran = site.inside(Place::Run).join("ran").display().to_string();
        let install = |name: &str| {
            let run = format!("#!/bin/sh\necho {name} >{ran}\nexec sleep 1000000\n");
            site.on_desk("web", &[("run", &run)]).to_str().unwrap().to_owned()
        };
        site.well(&["install", &install("older"), "--enable", "--now"]);
        let runs = || fs::read_to_string(site.at(Place::Run).join("ran")).unwrap_or_default();
        site.until(|| runs() == "older\n");
        site.well(&["install", &install("newer")]);
        let plan = site.well(&["apply", "--dry-run"]);
        assert!(plan.contains("its directory"), "{plan}");
        says(&site.well(&["apply"]), "web", "restarted after ");
        site.until(|| runs() == "newer\n");
        assert_eq!(site.well(&["apply"]), SAME);
        // One that is down is started from there, too.
        site.well(&["stop", "web"]);
        site.well(&["install", &install("newest")]);
        configure(&site, &[("web", true)]);
        says(&site.well(&["apply"]), "web", "up after ");
        site.until(|| runs() == "newest\n");
        assert_eq!(site.well(&["apply"]), SAME);
    });
}

/// Its supervise is in the directory that was replaced, and would start the old one again and again.
#[test]
fn what_ends_again_and_again_and_was_mended_is_taken_up_by_reload_and_apply() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let install = |run: &str| {
            let dir = site.on_desk("crash", &[("run", run)]);
            site.well(&["install", dir.to_str().unwrap()])
        };
        for verb in ["reload", "apply"] {
            install("#!/bin/sh\nexit 3\n");
            site.well(&["enable", "crash"]);
            site.ends(1, &["start", "crash"]);
            let said = install(SLEEPER);
            // Seldom it just runs.
            assert!(said.ends_with(" as it was until: skynet restart crash\n"), "{said}");
            let said = site.well(&[verb, "crash"]);
            assert!(line(&said, "crash").contains(" after "), "{said}");
            assert!(site.pid("crash").is_some());
            assert_eq!(site.well(&["apply"]), SAME);
            site.well(&["uninstall", "--now", "crash"]);
        }
    });
}

#[test]
fn what_ends_just_now_is_started_where_it_is_to_run_and_left_alone_where_nothing_is_said() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["wanted", "unsaid"] {
            let go = site.inside(Place::Run).join(name).display().to_string();
            let run = format!(
                "#!/bin/sh\ntrap 'until [ -e {go} ]; do sleep 0.05; done; exit 0' TERM\n\
                 while :; do sleep 0.05; done\n"
            );
            site.service(name, &run);
        }
        site.well(&["enable", "--now", "wanted", "unsaid"]);
        configure(&site, &[("wanted", true)]);
        let before = site.pid("wanted");
        site.well(&["stop", "--no-wait", "wanted", "unsaid"]);
        // Their supervise has not read it yet where nobody waits for that.
        let mut plan = String::new();
        site.until(|| {
            plan = site.well(&["apply", "--dry-run"]);
            plan.contains("it was told to end")
        });
        assert!(!plan.contains("unsaid"), "{plan}");
        site.well(&["apply", "--no-wait"]);
        for name in ["wanted", "unsaid"] {
            fs::write(site.at(Place::Run).join(name), "").unwrap();
        }
        site.until(|| site.pid("wanted").is_some_and(|pid| Some(pid) != before));
        site.well(&["wait", "--state", "down", "unsaid"]);
    });
}

#[test]
fn what_runs_with_something_older_is_restarted_and_nothing_else_is() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["changed", "same", "down"] {
            site.sleeper(name);
        }
        let dir = site.participant("sizer", "tries: 2\n", "#!/bin/sh\n");
        let program = "#!/bin/sh\nprintf '{\"type\":\"hello\",\"protocol\":1}\\n' >&3\nexec cat <&3 >/dev/null\n";
        let lasting = site.participant("lasting", "mode: persistent\n", program);
        site.well(&["enable", "--now", "changed", "same", "down", "sizer"]);
        site.skynet(&["enable", "--now", "lasting"]);
        site.well(&["stop", "down"]);
        assert_eq!(site.well(&["apply"]), SAME);
        let pids = || ["changed", "same", "sizer", "lasting"].map(|name| site.pid(name));
        let before = pids();

        // Renamed into place, with an older time than it had.
        for name in ["changed", "down"] {
            let run = site.dir(name).join("run");
            script(&run.with_file_name("new"), SLEEPER);
            fs::rename(run.with_file_name("new"), &run).unwrap();
        }
        fs::write(dir.join("exo.yaml"), "# the same\ntries: 2\ncommand: ./work\n").unwrap();
        let out = site.well(&["apply"]);
        says(&out, "changed", "restarted after ");
        assert_eq!(out.lines().count(), 1, "{out}");
        let between = pids();
        assert_ne!(between[0], before[0]);
        assert_eq!(between[1..], before[1..]);

        fs::write(dir.join("exo.yaml"), "command: ./work\ntries: 3\n").unwrap();
        script(&dir.join("work"), "#!/bin/sh\nexit 0\n");
        script(&lasting.join("work"), program);
        // A change of the owner alone counts as one, too: run keeps its own.
        site.own_all(&dir.join("work"));
        site.own_all(&lasting.join("work"));
        let out = site.skynet(&["apply", "--dry-run"]).out();
        assert_eq!(line(&out, "sizer"), "would restart it (changed: its configuration)");
        assert_eq!(line(&out, "lasting"), "would restart it (changed: ./work)");
        says(&site.skynet(&["apply"]).out(), "sizer", "restarted after ");
        let after = pids();
        assert_eq!(after[..2], between[..2]);
        assert!(after[2] != between[2] && after[3] != between[3]);
        assert_eq!(site.well(&["apply"]), SAME);
        assert_eq!(site.pid("down"), None);

        // With something wrong it runs on.
        fs::write(dir.join("exo.yaml"), "command: ./work\nfoo: 1\n").unwrap();
        let out = site.ends(1, &["apply"]);
        assert!(line(&out, "sizer").contains("foo: unknown key"), "{out}");
        assert!(line(&out, "sizer").ends_with("; it stays as it is"), "{out}");
        assert_eq!(pids(), after);
    });
}

/// Everything of the instance on disk but logs and what a supervise writes as time goes by.
fn tree(site: &Site) -> String {
    let places = [Place::Config, Place::Participants, Place::Service, Place::Run, Place::Spool];
    let find =
        "find \"$@\" -not -name boot.lock -printf '%p %y %m %u %l %i %T@\\n' 2>/dev/null | sort";
    let mut command = site.command("sh", &["-c", find, "find"]);
    command.args(places.map(|place| site.inside(place)));
    run_within(SOON, &mut command).out()
}

#[test]
fn a_dry_run_says_the_plan_and_touches_nothing() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["on", "off", "changed", "gone", "same"] {
            site.sleeper(name);
        }
        site.well(&["enable", "--now", "off", "changed", "gone", "same"]);
        configure(&site, &[("on", true), ("off", false), ("same", true), ("sme", true)]);
        script(&site.dir("changed").join("run"), SLEEPER);
        fs::remove_dir_all(site.dir("gone")).unwrap();
        let (before, pids) = (tree(&site), site.pids(""));
        assert!(before.contains("changed/run") && before.contains("supervise/off/status"));
        let out = site.ends(1, &["apply", "--dry-run"]);
        let config = site.inside(Place::Config).join("conf.d/services.yaml");
        let wanted = format!(
            "changed: would restart it (changed: run)\n\
             gone: would remove its link, which leads nowhere, stop what is left of it \
             (changed: its directory is gone)\n\
             off: would remove its link, stop it with its supervise\n\
             on: would link it into the service folder, wait for its supervise, start it\n\
             sme: it is to be enabled ({}:5) and is not installed; did you mean same?\n",
            config.display()
        );
        assert_eq!(out, wanted);
        let json = site.ends(1, &["apply", "--dry-run", "--json"]);
        let all: Vec<Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(all[0]["name"], "changed");
        assert_eq!(all[0]["actions"], serde_json::json!(["restart it"]));
        assert_eq!(all[0]["changed"], serde_json::json!(["run"]));
        assert_eq!(tree(&site), before);
        let mut after = site.pids("");
        after.retain(|pid| !pids.contains(pid));
        assert_eq!(after, [0; 0], "processes that were not there before");
        assert_eq!(site.skynet(&["apply", "--json"]).code, Some(100));

        let fresh = Site::new(kind);
        fresh.sleeper("web");
        let before = tree(&fresh);
        let out = fresh.well(&["apply", "--dry-run"]);
        let folder = fresh.inside(Place::Service).display().to_string();
        assert_eq!(line(&out, &folder), "would make it");
        assert_eq!(tree(&fresh), before);
    });
}

#[test]
fn what_was_removed_is_stopped_and_loses_its_link() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["gone", "stays"] {
            site.sleeper(name);
            site.logger(name, "#!/bin/sh\nexec cat >/dev/null\n");
        }
        site.well(&["enable", "--now", "gone", "stays"]);
        let gone = site.pid("gone").unwrap();
        fs::remove_dir_all(site.dir("gone")).unwrap();
        let out = site.well(&["apply"]);
        says(&out, "gone", "removed and down");
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(!site.pids("").contains(&gone) && !is_linked(&site, "gone"));
        assert_eq!(site.pids("cat").len(), 1, "its logger has ended, too");
        assert!(site.pid("stays").is_some());
        assert_eq!(site.well(&["apply"]), SAME);
    });
}

#[test]
fn missing_folders_are_made_and_without_svscan_it_says_what_is_left_to_do() {
    Site::each(|kind| {
        let site = Site::new(kind);
        site.sleeper("web");
        configure(&site, &[("web", true), ("wep", true)]);
        let out = site.ends(1, &["apply"]);
        let folder = site.inside(Place::Service).display().to_string();
        assert_eq!(line(&out, &folder), "made");
        says(&out, "web", "FAILED: not started: no svscan runs; start it with: skynet boot");
        says(&out, "wep", "FAILED: it is to be enabled (");
        assert!(line(&out, "wep").ends_with("is not installed; did you mean web?"), "{out}");
        assert!(is_linked(&site, "web"));
        configure(&site, &[("web", true)]);
        site.well(&["boot"]);
        assert!(site.pid("web").is_some());
        assert_eq!(site.well(&["apply"]), SAME);
        let out = site.ends(4, &["apply", "wep"]);
        assert!(out.contains("no service wep; did you mean web?"), "{out}");
    });
}

#[test]
fn what_lies_in_the_service_folder_itself_keeps_its_place() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.at(Place::Service).join("placed");
        site.folder(&dir);
        script(&dir.join("run"), SLEEPER);
        site.own_all(&dir);
        site.well(&["wait", "--state", "up", "placed"]);
        configure(&site, &[("placed", false)]);
        says(&site.well(&["apply"]), "placed", "disabled and down after ");
        assert!(dir.join("down").exists());
        assert_eq!(site.well(&["apply"]), SAME);
        configure(&site, &[("placed", true)]);
        says(&site.well(&["apply"]), "placed", "enabled and up after ");
        assert!(!dir.join("down").exists());
    });
}

/// An instance in which every kind of thing is to be done.
fn scene(kind: Kind) -> Site {
    let site = Site::booted(kind);
    for name in ["on", "barred", "off", "changed", "gone", "same"] {
        site.sleeper(name);
    }
    let placed = site.at(Place::Service).join("placed");
    site.folder(&placed);
    script(&placed.join("run"), SLEEPER);
    site.own_all(&placed);
    site.well(&["enable", "--now", "off", "changed", "gone", "same"]);
    site.well(&["wait", "--state", "up", "placed"]);
    fs::write(site.dir("barred").join("down"), "").unwrap();
    script(&site.dir("changed").join("run"), SLEEPER);
    fs::remove_dir_all(site.dir("gone")).unwrap();
    let all = [("on", true), ("barred", true), ("off", false), ("placed", false)];
    configure(&site, &all);
    site
}

/// Tells what is not as it is to be at the end.
fn check(site: &Site, same: Option<i32>) {
    for (name, is_up) in [
        ("on", true),
        ("barred", true),
        ("off", false),
        ("changed", true),
        ("gone", false),
        ("same", true),
    ] {
        assert_eq!(is_linked(site, name), is_up, "{name}");
        // One that was just told to restart rests for a second.
        site.until(|| site.pid(name).is_some() == is_up);
    }
    assert_eq!(site.pid("same"), same);
    let folder = site.at(Place::Service);
    assert!(folder.join("placed/down").exists() && !site.dir("barred").join("down").exists());
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["barred", "changed", "on", "placed", "same", "skynet-log"]);
    // No copy is left, and none is missing.
    site.until(|| site.pids("sleep").len() == 4);
}

/// Calls that change something: files, names, other processes.
const CHANGES: [&str; 14] = [
    "open",
    "openat",
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "write",
    "kill",
    "pidfd_send_signal",
];

fn strace(site: &Site, trace: &Path, rules: &[String]) -> std::process::Command {
    let mut command = site.command("strace", &["-f", "-qq", "-o"]);
    command.arg(trace).args(rules.iter().map(|rule| format!("--inject={rule}")));
    command.arg(testkit::program("skynet")).arg("apply");
    command
}

#[test]
fn wherever_apply_is_killed_the_next_one_goes_on_to_the_same_end() {
    let site = scene(Kind::System);
    let same = site.pid("same");
    let trace = site.inside(Place::Run).join("trace");
    run_within(SOON, &mut strace(&site, &trace, &[]));
    check(&site, same);
    let text = fs::read_to_string(site.at(Place::Run).join("trace")).unwrap();
    // `PID call(...)`: of those that open, only what makes a file or tells a supervise counts.
    let lines =
        text.lines().filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest.trim_start());
    let lines: Vec<&str> = lines.collect();
    let all = calls::of(&lines.join("\n"));
    let calls = lines.iter().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let changes = calls.zip(all).filter(|(line, (name, _))| {
        let opens = name.starts_with("open");
        CHANGES.contains(&name.as_str())
            && (!opens || line.contains("O_CREAT") || line.contains("/control\""))
    });
    let points: Vec<Call> = changes.map(|(_, call)| call).collect();
    let symlinks = points.iter().filter(|(name, _)| name.starts_with("symlink")).count();
    assert!(symlinks == 2 && points.len() > 15, "{points:?}");
    println!("{} points", points.len());
    calls::each_at_once(&points, |(name, n)| {
        let site = scene(Kind::System);
        let same = site.pid("same");
        let rule = format!("{name}:signal=KILL:when={n}");
        let trace = site.inside(Place::Run).join("trace");
        run_within(SOON, &mut strace(&site, &trace, std::slice::from_ref(&rule)));
        let again = site.skynet(&["apply"]);
        assert_eq!(again.code, Some(0), "{rule}: {again:?}");
        check(&site, same);
        assert_eq!(site.well(&["apply"]), SAME, "{rule}");
    });
}

#[test]
fn a_service_that_does_not_come_up_is_told_and_the_others_are_served() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.service("bad", "#!/bin/sh\nexit 3\n");
        site.sleeper("good");
        configure(&site, &[("bad", true), ("good", true)]);
        let out = site.ends(1, &["apply"]);
        says(&out, "bad", "FAILED after ");
        assert!(line(&out, "bad").contains("run ended with exit code 3"), "{out}");
        says(&out, "good", "enabled and up after ");
        assert!(Path::new(&site.at(Place::Service)).join("bad").is_symlink());
    });
}

/// Tells whether somebody has the lock of the instance.
fn is_locked(site: &Site) -> bool {
    let lock = site.inside(Place::Run).join("boot.lock").display().to_string();
    run_within(SOON, &mut site.command("flock", &["-n", &lock, "true"])).code != Some(0)
}

#[test]
fn while_apply_only_waits_others_may_change_the_instance() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        // It never says hello, so that it is waited for.
        let config = "mode: persistent\nstart-limit: 1h\nshutdown-grace: 100ms\n";
        site.participant("silent", config, "#!/bin/sh\nexec sleep 1000\n");
        configure(&site, &[("silent", true)]);
        let skynet = testkit::program("skynet");
        let mut apply = site.command(skynet, &["apply", "--timeout", "1h"]);
        let mut apply = apply.stdout(Stdio::null()).spawn().unwrap();
        site.until(|| site.pid("silent").is_some() && !is_locked(&site));
        assert!(apply.try_wait().unwrap().is_none(), "it waits for silent");
        assert_eq!(site.well(&["apply"]), SAME);
        let out = site.skynet(&["halt"]);
        assert_eq!((out.code, out.err()), (Some(0), String::new()));
        assert_eq!(apply.wait().unwrap().code(), Some(1));
    });
}

#[test]
fn who_else_changes_the_instance_is_said_and_waited_for() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let lock = site.inside(Place::Run).join("boot.lock").display().to_string();
        let held = "printf 'skynet apply, pid 4711\\n' >\"$1\"; while [ -e \"$1\".held ]; do sleep 0.05; done";
        let flag = site.at(Place::Run).join("boot.lock.held");
        fs::write(&flag, "").unwrap();
        let mut holder =
            site.command("flock", &[&lock, "sh", "-c", held, "sh", &lock]).spawn().unwrap();
        let written = || fs::read_to_string(site.at(Place::Run).join("boot.lock")).unwrap();
        site.until(|| written().contains("4711"));
        let mut halt = site.command(testkit::program("skynet"), &["halt"]);
        let mut halt = halt.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(halt.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "skynet: warning: waiting for skynet apply, pid 4711\n");
        fs::remove_file(&flag).unwrap();
        assert_eq!(halt.wait().unwrap().code(), Some(0));
        assert!(holder.wait().unwrap().success());
        assert_eq!(site.pids("svscan"), [0; 0]);
        assert!(written().starts_with("skynet halt, pid "), "{}", written());
    });
}
