//! `skynet doctor`: each thing that it finds is made true, found, mended and gone.

#![allow(clippy::unwrap_used, clippy::panic)]

mod items;
mod site;

use serde_json::Value;
use site::{Kind, Place, SOON, Site};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use testkit::scratch::{SLEEPER, copy_program, script};
use testkit::{program, run_within};

/// Returns what is found.
#[track_caller]
fn found(site: &Site) -> Vec<Value> {
    let output = site.skynet(&["doctor", "--json"]);
    let all: Vec<Value> =
        output.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_wrong = all.iter().any(|found| found["severity"] != "note");
    assert_eq!(output.code, Some(i32::from(is_wrong)), "{output:?}");
    all
}

fn says(found: &Value, words: &str) -> bool {
    ["what", "path", "service"]
        .iter()
        .any(|key| found[key].as_str().is_some_and(|text| text.contains(words)))
}

/// Finds one thing that says these words, with why or what mends it; returns it.
#[track_caller]
fn finds(site: &Site, severity: &str, what: &str) -> Value {
    let all = found(site);
    let mut its = all.iter().filter(|found| found["what"].as_str().unwrap().contains(what));
    let one = its.next().unwrap_or_else(|| panic!("nothing says {what:?}: {all:#?}")).clone();
    assert_eq!(one["severity"], severity, "{one}");
    assert!(one["mend"].is_string(), "nothing mends it: {one}");
    one
}

#[track_caller]
fn finds_none(site: &Site, what: &str) {
    let all = found(site);
    assert!(!all.iter().any(|found| says(found, what)), "{what:?} is still there: {all:#?}");
}

/// Does what a finding says.
#[track_caller]
fn mend(site: &Site, found: &Value) {
    let command = found["mend"].as_str().unwrap();
    let output = run_within(SOON, &mut site.command("sh", &["-c", command]));
    assert_eq!(output.code, Some(0), "{command}: {output:?}");
}

/// What this machine lacks is found whatever a test does.
fn is_of_the_machine(found: &Value) -> bool {
    let mut words = ["cgroup v2", "Landlock", "disk is nearly full", "nearly no inodes"].iter();
    words.any(|words| says(found, words))
}

#[test]
fn of_a_sound_instance_nothing_is_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("web");
        site.logger("web", "#!/bin/sh\nexec cat >/dev/null\n");
        site.participant("sizer", "", "#!/bin/sh\n");
        site.well(&["enable", "--now", "web", "sizer"]);
        site.submit("sizer", "w1");
        site.well(&["wait", "--state", "idle", "sizer"]);
        let all = found(&site);
        let left: Vec<_> = all.iter().filter(|found| !is_of_the_machine(found)).collect();
        assert!(left.is_empty(), "{left:#?}");
        let out = site.skynet(&["doctor"]).out();
        let last = out.lines().last().unwrap();
        assert!(last.starts_with("looked at programs, users, folders"), "{out}");
        assert_eq!(last.ends_with("nothing wrong"), all.is_empty(), "{out}");
    });
}

#[test]
fn an_instance_that_does_not_run_is_found_and_mended() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("web");
        site.well(&["enable", "--now", "web"]);
        site.kill_svscan();
        let one = finds(&site, "error", "no svscan watches the service folder");
        assert_eq!(one["why"], "nothing that is enabled is started");
        assert_eq!(one["mend"], "skynet boot");
        mend(&site, &one);
        finds_none(&site, "no svscan");
        // A second one, started by hand.
        let folder = site.inside(Place::Service).display().to_string();
        let mut other = site.command(program("svscan"), &[&folder]);
        let mut other = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        site.until(|| site.pids("svscan").len() == 2);
        finds(&site, "error", "several svscans watch the service folder");
        if kind == Kind::Private {
            mend(&site, &finds(&site, "error", "several svscans"));
            site.until(|| site.pids("svscan").len() == 1);
            finds_none(&site, "several svscans");
        }
        let _ = other.kill();
        let _ = other.wait();
    });
}

#[test]
fn a_service_without_supervise_is_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.sleeper("web");
        site.sleeper("kept");
        site.well(&["enable", "--now", "web", "kept"]);
        site.kill_svscan();
        for pid in site.pids("supervise") {
            linux::signal::kill(pid, 9).unwrap();
        }
        site.until(|| site.pids("supervise").is_empty());
        let one = finds(&site, "error", "it runs, pid ");
        assert_eq!(one["mend"], "skynet boot");
        site.well(&["boot"]);
        finds_none(&site, "it runs, pid ");
        // svscan refuses it.
        site.well(&["disable", "--now", "web"]);
        fs::set_permissions(dir.join("run"), Permissions::from_mode(0o777)).unwrap();
        symlink(site.inside(Place::Participants).join("web"), site.at(Place::Service).join("web"))
            .unwrap();
        let one = finds(&site, "error", "it is in the service folder, and no supervise keeps it");
        assert!(one["mend"].as_str().unwrap().starts_with("skynet check web"), "{one}");
        let out = site.ends(1, &["check", "web"]);
        assert!(out.contains("svscan refuses to run it"), "{out}");
    });
}

#[test]
fn supervise_folders_that_are_left_over_are_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.sleeper("web");
        site.sleeper("once");
        site.well(&["enable", "--now", "web", "once"]);
        site.well(&["disable", "--now", "once"]);
        fs::remove_dir_all(site.dir("once")).unwrap();
        let one = finds(&site, "warning", "a supervise folder is left over: no service has it");
        assert!(says(&one, "supervise/once"), "{one}");
        mend(&site, &one);
        finds_none(&site, "left over");
        // Its directory and its link went away while it ran.
        let pid = site.pid("web").unwrap();
        fs::remove_file(site.at(Place::Service).join("web")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let one = finds(&site, "error", "a supervise keeps web, which is no service any more");
        mend(&site, &one);
        site.until(|| !site.pids("").contains(&pid));
    });
}

/// Nobody would read the pipe, and who writes to it would stand still.
#[test]
fn the_log_of_all_is_not_stopped_and_found_where_it_is_down() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for verb in [&["stop"][..], &["disable"], &["disable", "--now"]] {
            let said = site.ends(1, &[verb, &["skynet-log"]].concat());
            let begin = "skynet-log: FAILED: services without a logger write to it";
            assert!(said.starts_with(begin), "{said}");
        }
        let stands = |state| site.well(&["wait", "--state", state, "skynet-log"]);
        stands("up");
        finds_none(&site, "it is down, and services");
        let dir = site.inside(Place::Service).join("skynet-log").display().to_string();
        run_within(SOON, &mut site.command(program("svc"), &["-d", &dir]));
        stands("down");
        let one = finds(&site, "error", "it is down, and services without a logger write to it");
        mend(&site, &one);
        stands("up");
    });
}

#[test]
fn services_that_do_not_stay_up_are_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.service("loops", "#!/bin/sh\nexit 3\n");
        let dir = site.sleeper("cannot");
        fs::remove_file(dir.join("run")).unwrap();
        let dir = site.service("failed", "#!/bin/sh\nexit 9\n");
        fs::write(dir.join("failure-codes"), "9\n").unwrap();
        site.own_all(&dir);
        site.ends(1, &["enable", "--now", "loops", "cannot", "failed"]);
        site.until(|| found(&site).iter().any(|one| says(one, "it is started again and again")));
        let one = finds(&site, "error", "it is started again and again");
        assert_eq!(one["service"], "loops");
        assert!(says(&one, "run ended with exit code 3"), "{one}");
        assert_eq!(one["mend"], "skynet check loops; skynet status loops shows what it said");
        assert_eq!(finds(&site, "error", "it cannot run: unable to run run")["service"], "cannot");
        assert_eq!(finds(&site, "error", "it has failed")["service"], "failed");
        site.sleeper("wanted");
        site.well(&["enable", "--now", "wanted"]);
        for _ in 0..4 {
            site.well(&["restart", "wanted"]);
        }
        let is_wanted = |one: &Value| one["service"] == "wanted" && one["severity"] == "error";
        assert!(!found(&site).iter().any(is_wanted));
    });
}

/// A folder with the programs, which a test may change.
fn programs(site: &Site) -> std::path::PathBuf {
    let bin = site.at(Place::Store).join("bin");
    site.folder(&bin);
    let from = program("skynet");
    for entry in fs::read_dir(from.parent().unwrap()).unwrap().map(Result::unwrap) {
        let is_program =
            entry.metadata().is_ok_and(|s| s.is_file() && s.permissions().mode() & 1 != 0);
        if is_program {
            copy_program(&entry.path(), &bin.join(entry.file_name()));
        }
    }
    site.own_all(&bin);
    bin
}

#[test]
fn programs_that_are_missing_strange_or_replaced_are_found() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let bin = programs(&site);
        let inside = site.inside(Place::Store).join("bin/skynet");
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        let run = |args: &[&str]| run_within(SOON, site.command(&inside, args).env("PATH", path));
        let all = || run(&["doctor", "--json"]).out();
        assert_eq!(run(&["boot"]).code, Some(0));
        if kind == Kind::System {
            // The programs are in the folder that is the worker's.
            chown(site.at(Place::Store), Some(64970), Some(64970)).unwrap();
        }
        site.participant("sizer", "", "#!/bin/sh\n");
        site.sleeper("web");
        site.logger("web", "#!/bin/sh\nexec multilog t ./main\n");
        let enabled = run(&["enable", "--now", "sizer", "web"]);
        assert_eq!(enabled.code, Some(0), "{enabled:?}");
        assert!(!all().contains("replaced or removed") && !all().contains("there is no program"));
        script(&bin.join("svstat"), "#!/bin/sh\necho svstat 0.0.1\n");
        for name in ["svscan", "supervise", "multilog", "exo"] {
            copy_program(&bin.join(name), &bin.join("new"));
            fs::rename(bin.join("new"), bin.join(name)).unwrap();
        }
        site.own_all(&bin);
        let said = all();
        for words in [
            "svstat is of another version than skynet ",
            "svscan, pid ",
            "supervise, pid ",
            "multilog, pid ",
            // What an exo runs is nobody's business but root's.
            if kind == Kind::System { "exo, pid " } else { "" },
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let each = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let old = each.filter(|found| says(found, "replaced or removed"));
        for found in old.collect::<Vec<_>>() {
            mend(&site, &found);
        }
        site.until(|| !all().contains("replaced or removed"));
        fs::remove_file(bin.join("exo")).unwrap();
        assert!(all().contains("there is no program exo, neither"));
    });
}

#[test]
fn folders_with_other_owners_and_modes_are_found_and_mended() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("sizer", "", "#!/bin/sh\n");
        site.well(&["enable", "--now", "sizer"]);
        for place in [Place::Participants, Place::Service, Place::Logs, Place::Run] {
            let folder = site.at(place);
            fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
            let one = finds(&site, "error", "can be written by others (mode 0777)");
            mend(&site, &one);
            finds_none(&site, "can be written by others");
        }
        let spool = site.at(Place::Spool).join("sizer");
        fs::set_permissions(&spool, Permissions::from_mode(0o777)).unwrap();
        mend(&site, &finds(&site, "warning", "has the mode 0777, not 3733"));
        finds_none(&site, "not 3733");
        let taken = spool.join(".taken");
        fs::set_permissions(&taken, Permissions::from_mode(0o777)).unwrap();
        mend(&site, &finds(&site, "error", "has the mode 0777, not 0700"));
        finds_none(&site, "not 0700");
        fs::rename(&taken, spool.join(".old")).unwrap();
        symlink(site.at(Place::Store), &taken).unwrap();
        mend(&site, &finds(&site, "error", "is no folder"));
        finds_none(&site, "is no folder");
        let store = match kind {
            Kind::Private => site.at(Place::Store).join("work.db"),
            Kind::System => site.at(Place::Store),
        };
        let mode = fs::metadata(&store).unwrap().permissions().mode();
        fs::set_permissions(&store, Permissions::from_mode(mode | 0o005)).unwrap();
        mend(&site, &finds(&site, "error", "is open to all users"));
        finds_none(&site, "is open to all");
        if kind == Kind::System {
            chown(site.at(Place::Store), Some(0), None).unwrap();
            mend(&site, &finds(&site, "error", "belongs to user 0, not to skynet"));
            finds_none(&site, "belongs to user");
        }
        site.well(&["halt"]);
        fs::remove_dir_all(site.at(Place::Run)).unwrap();
        let one = finds(&site, "error", "is missing");
        assert_eq!(one["path"], site.inside(Place::Run).to_str().unwrap());
        mend(&site, &one);
        finds_none(&site, "is missing");
    });
}

#[test]
fn users_and_groups_that_are_missing_are_found() {
    let site = Site::new(Kind::System);
    let etc = site.at(Place::Config).with_file_name("passwd");
    let group = etc.with_file_name("group");
    let texts = [&etc, &group].map(|path| fs::read_to_string(path).unwrap());
    for (path, text) in [&etc, &group].into_iter().zip(&texts) {
        let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("skynet")).collect();
        fs::write(path, kept.join("\n") + "\n").unwrap();
    }
    for what in
        ["there is no group skynet", "there is no user skynet", "there is no user skynetlog"]
    {
        mend(&site, &finds(&site, "error", what));
    }
    finds_none(&site, "there is no");
}

#[test]
fn a_store_that_cannot_be_used_and_dead_items_are_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("sizer", "tries: 1\n", "#!/bin/sh\nexit 1\n");
        site.well(&["enable", "--now", "sizer"]);
        site.submit("sizer", "dies");
        site.until(|| found(&site).iter().any(|one| says(one, "there are dead items: 1")));
        let dead = finds(&site, "warning", "there are dead items");
        assert_eq!(dead["mend"], "skynet dead list");
        assert!(
            dead.to_string().contains("or is none, of which over RabbitMQ nobody was"),
            "{dead}"
        );
        site.well(&["halt"]);
        let store = site.at(Place::Store).join("work.db");
        // What was written ahead goes into the file itself.
        let close = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM')";
        let inside = site.inside(Place::Store).join("work.db").display().to_string();
        let output = run_within(SOON, &mut site.command("python3", &["-c", close, &inside]));
        assert_eq!(output.code, Some(0), "{output:?}");
        let good = fs::read(&store).unwrap();
        let change = |at: usize, bytes: &[u8]| {
            for end in ["work.db-wal", "work.db-shm"] {
                let _ = fs::remove_file(store.with_file_name(end));
            }
            let mut text = good.clone();
            text[at..at + bytes.len()].copy_from_slice(bytes);
            fs::write(&store, text).unwrap();
        };
        // SQLite's header has the application's number at 68, and the version of its tables at 60.
        change(68, b"1234");
        finds(&site, "error", "not a store of skynet");
        change(60, &9999_u32.to_be_bytes());
        let one = finds(&site, "error", "made by a newer skynet (version 9999");
        assert_eq!(one["mend"], "install the newer skynet again");
        let page = 2048;
        change(page, &vec![0xff; good.len() - page]);
        finds(&site, "error", "the file is damaged");
        change(0, b"");
        finds_none(&site, "work.db");
        let file = File::options().write(true).open(&store).unwrap();
        file.set_len((1 << 30) + 4096).unwrap();
        let one = finds(&site, "warning", "holds 1");
        assert!(says(&one, "work.db"), "{one}");
    });
}

#[test]
fn an_exo_that_does_not_answer_or_start_its_program_is_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("bad", "mode: persistent\n", "#!/bin/sh\nexit 7\n");
        site.participant("deaf", "", "#!/bin/sh\n");
        site.participant("wrong", "", "#!/bin/sh\n");
        site.skynet(&["enable", "--now", "bad", "deaf", "wrong"]);
        let one = finds(&site, "error", "instance bad_0 does not start");
        assert_eq!(one["service"], "bad");
        let dir = site.dir("wrong");
        fs::write(dir.join("exo.yaml"), "command: ./work\nfoo: 1\n").unwrap();
        site.own_all(&dir);
        let one = finds(&site, "error", "foo: unknown key");
        assert_eq!(one["mend"], "skynet check wrong");
        fs::remove_file(site.at(Place::Run).join("deaf.sock")).unwrap();
        let one = finds(&site, "error", "it runs and its exo cannot be asked");
        assert_eq!(one["service"], "deaf");
        mend(&site, &one);
        finds_none(&site, "cannot be asked");
    });
}

#[test]
fn what_is_stuck_in_a_drop_folder_is_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("sizer", "", "#!/bin/sh\n");
        site.well(&["enable", "--now", "sizer"]);
        let folder = site.at(Place::Spool).join("sizer");
        site.until(|| folder.is_dir());
        site.well(&["stop", "sizer"]);
        site.submit("sizer", "waits");
        finds_none(&site, "for more than a minute");
        let item = fs::read_dir(&folder).unwrap().map(Result::unwrap);
        let item = item.filter(|entry| entry.file_type().unwrap().is_file());
        let item = item.map(|entry| entry.path()).next().unwrap();
        let old = SystemTime::now() - Duration::from_secs(600);
        File::open(&item).unwrap().set_modified(old).unwrap();
        let one = finds(&site, "warning", "holds 1 file for more than a minute");
        assert_eq!(one["why"], "who takes them does not run");
        mend(&site, &one);
        site.until(|| !item.exists());
        finds_none(&site, "for more than a minute");

        let other = site.at(Place::Spool).join("nobodys");
        fs::DirBuilder::new().mode(0o733).create(&other).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o3733)).unwrap();
        fs::write(other.join("x"), "").unwrap();
        site.own_all(&other);
        File::open(other.join("x")).unwrap().set_modified(old).unwrap();
        let one = finds(&site, "warning", "holds 1 file");
        assert_eq!(one["why"], "no participant takes from this queue");
    });
}

#[test]
fn log_directories_that_grew_and_a_clock_that_was_set_back_are_found() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.sleeper("web");
        site.logger("web", "#!/bin/sh\nexec multilog t s4096 n2 ./main\n");
        site.well(&["enable", "--now", "web"]);
        site.until(|| dir.join("log/main").is_dir());
        finds_none(&site, "its logger keeps");
        File::create(dir.join("log/main/other")).unwrap().set_len(9 << 20).unwrap();
        let one = finds(&site, "warning", "more than the ");
        assert!(says(&one, "web/log/main"), "{one}");

        // A stamp of tomorrow, as from before the clock was set back.
        finds_none(&site, "clock was set back");
        let status = site.at(Place::Run).join("supervise/web/status");
        let mut bytes = fs::read(&status).unwrap();
        let seconds = u64::from_be_bytes(bytes[..8].try_into().unwrap()) + 86_400;
        bytes[..8].copy_from_slice(&seconds.to_be_bytes());
        fs::write(&status, bytes).unwrap();
        finds(&site, "warning", "the clock was set back: web began 86");
    });
}

/// Puts a file of this text in the place of another, for the instance alone.
#[track_caller]
fn overlay(site: &Site, path: &str, text: &str) {
    let file = site.inside(Place::Run).join("overlay").display().to_string();
    let command =
        format!("printf '%s\\n' '{text}' >{file} && mount --bind {file} {path} && rm {file}");
    let output = run_within(SOON, &mut site.command("sh", &["-c", &command]));
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn limits_that_services_meet_are_found() {
    let site = Site::booted(Kind::System);
    site.participant("sizer", "", "#!/bin/sh\n");
    site.sleeper("web");
    site.well(&["enable", "--now", "sizer", "web"]);
    for (path, what) in [
        ("/proc/sys/fs/inotify/max_user_instances", "fs.inotify.max_user_instances is 4"),
        ("/proc/sys/fs/inotify/max_user_watches", "fs.inotify.max_user_watches is 4"),
        ("/proc/sys/kernel/pid_max", "kernel.pid_max is 4"),
        ("/proc/sys/kernel/threads-max", "kernel.threads-max is 4"),
    ] {
        finds_none(&site, what);
        overlay(&site, path, "4");
        finds(&site, "error", what);
    }
    site.well(&["halt"]);
    let mut boot = site.command("prlimit", &["--nofile=30:30"]);
    boot.arg(program("skynet")).arg("boot");
    // svscan comes up with so few; exo says that it cannot.
    assert_eq!(run_within(SOON, &mut boot).code, Some(1));
    finds(&site, "error", "svscan may open 30 files, and needs ");
}

#[test]
fn a_full_disk_is_found() {
    let site = Site::booted(Kind::System);
    let logs = site.inside(Place::Logs).display().to_string();
    let mount = |how: &str| {
        let options = format!("size=64m,{how}mode=755");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs", &logs];
        let output = run_within(SOON, &mut site.command("mount", &args));
        assert_eq!(output.code, Some(0), "{output:?}");
    };
    mount("");
    finds_none(&site, "/var/log/skynet");
    fs::write(site.at(Place::Logs).join("large"), vec![0; 62 << 20]).unwrap();
    let one = finds(&site, "error", "the disk is nearly full: ");
    assert_eq!(one["path"], logs);
    mount("nr_inodes=20,");
    for i in 0..19 {
        fs::write(site.at(Place::Logs).join(i.to_string()), "").unwrap();
    }
    let one = finds(&site, "error", "the disk has nearly no inodes: ");
    assert_eq!(one["path"], logs);
}

/// Runs doctor where a system call is refused; returns what it says.
fn without(site: &Site, call: &str) -> String {
    let rule = format!("--inject={call}:error=ENOSYS");
    let mut command = site.command("strace", &["-f", "-qq", "-o", "/dev/null", &rule]);
    run_within(SOON, command.arg(program("skynet")).args(["doctor", "--json"])).out()
}

#[test]
fn what_the_kernel_lacks_is_found_with_what_is_lost() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let said = without(&site, "pidfd_open");
        assert!(said.contains("gives no handle on a process"), "{said}");
        assert!(said.contains("cannot be taken back"), "{said}");
        if kind == Kind::Private {
            let said = without(&site, "landlock_create_ruleset");
            assert!(said.contains("this kernel has no Landlock"), "{said}");
            assert!(said.contains("may open exo's store"), "{said}");
            let older = linux::landlock::version().unwrap_or(0);
            if (linux::landlock::SCOPES..linux::landlock::SOCKETS).contains(&older) {
                let one = finds(&site, "note", "the Landlock of this kernel knows no sockets");
                assert!(one["why"].as_str().unwrap().contains("exo alone refuses it"), "{one}");
            }
            return;
        }
        let mut mount = site.command("mount", &["-t", "tmpfs", "tmpfs", "/sys/fs/cgroup"]);
        assert_eq!(run_within(SOON, &mut mount).code, Some(0));
        let one = finds(&site, "warning", "no cgroup v2 is mounted");
        assert_eq!(one["why"], "what a participant starts may outlive a killed exo");
    });
}

#[test]
fn a_broken_configuration_of_the_site_is_found() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let file = site.at(Place::Config).join("skynet.yaml");
        site.folder(file.parent().unwrap());
        fs::write(&file, "safty: kill\n").unwrap();
        site.own_all(&file);
        let one = finds(&site, "error", "safty: unknown key; did you mean safety?");
        assert_eq!((&one["line"], &one["mend"]), (&1.into(), &"skynet check".into()));
        assert!(Path::new(one["path"].as_str().unwrap()).ends_with("skynet.yaml"));
    });
}

#[test]
fn doctor_changes_nothing() {
    Site::each(|kind| {
        let site = Site::new(kind);
        site.service("web", SLEEPER);
        let list = || {
            let find = ["-c", "find \"$@\" -printf '%p %y %m %u %s %T@\\n' 2>/dev/null", "find"];
            let places = [Place::Config, Place::Participants, Place::Store, Place::Run];
            let mut command = site.command("sh", &find);
            command.args(places.map(|place| site.inside(place)));
            run_within(SOON, &mut command).out()
        };
        let before = list();
        assert!(before.contains("web/run"));
        site.skynet(&["doctor"]);
        assert_eq!(list(), before);
    });
}
