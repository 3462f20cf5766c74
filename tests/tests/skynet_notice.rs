//! Notice of trouble, on a user's instance and on a system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;
mod told;

use serde_json::Value;
use site::{Kind, Place, SOON, Site};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use testkit::scratch::script;
use testkit::wait::holds_within;
use testkit::{program, run_within};
use told::{Stage, holds, request, shown, tally};

#[test]
fn the_first_crash_is_told_at_once_and_those_of_the_hour_are_held_back_and_counted() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "lines: 5\ntargets:\n  - file: {file}", &[]);
        let site = &stage.site;
        stage.ends("bad");
        stage.code("bad", "3");
        let first = stage.notice("exit 3");
        assert_eq!((&first["service"], &first["kind"]), (&"bad".into(), &"crash".into()));
        assert_eq!((&first["count"], &first["death"]["code"]), (&1.into(), &3.into()));
        let last = first["log"].as_array().unwrap().last().unwrap();
        assert!(last.as_str().unwrap().contains("last words of"), "{first}");
        let crashes = if std::env::var_os("SKYNET_LONG").is_some() { 100 } else { 5 };
        site.until(|| stage.lives("bad") > crashes);
        stage.code("bad", "");
        let held = |one: &Value| one["held"].as_u64().unwrap_or(0);
        site.until(|| stage.list().iter().map(held).sum::<u64>() as usize + 1 >= crashes);
        assert_eq!(stage.notices().len(), 1, "{:?}", stage.notices());
        let told = stage.list();
        let file = format!("file:{}", site.inside(Place::Logs).join("notices").display());
        assert_eq!(told[0]["targets"][&file]["done"], true, "{told:?}");
        let table = site.well(&["notice", "list"]);
        assert!(table.contains("held back") && table.contains("exit 3"), "{table}");
    });
}

#[test]
fn of_a_hundred_crashes_each_kind_is_told_once_all_are_counted_and_no_restart_waits_for_it() {
    const SERVICES: usize = 10;
    const EACH: usize = 5;
    Site::each(|kind| {
        let hangs = "#!/bin/sh\necho begun >>{told}/hangs\nexec sleep 1000\n";
        let stage = Stage::new(
            kind,
            "targets:\n  - file: {file}\n  - {command: [{told}/hang], time-limit: 1h}",
            &[("hang", hangs)],
        );
        let site = &stage.site;
        let names: Vec<String> = (0..SERVICES).map(|i| format!("bad{i}")).collect();
        for name in &names {
            stage.ends(name);
        }
        let all = |code: &str| {
            for name in &names {
                stage.code(name, code);
            }
        };
        let told = |signature: &str| {
            stage.notices().iter().filter(|one| one["signature"] == signature).count()
        };
        for (code, lives) in [("3", EACH), ("4", 2 * EACH)] {
            all(code);
            site.until(|| names.iter().all(|name| stage.lives(name) > lives));
            site.until(|| told(&format!("exit {code}")) == SERVICES);
        }
        all("");
        site.until(|| names.iter().all(|name| site.pid(name).is_some()));
        // One that sleeps has said its last words, and was counted as a life.
        let crashes = || names.iter().map(|name| stage.lives(name) as u64 - 1).sum::<u64>();
        let counted = || {
            let told: u64 = stage.notices().iter().filter_map(|one| one["count"].as_u64()).sum();
            told + stage.list().iter().filter_map(|one| one["held"].as_u64()).sum::<u64>()
        };
        site.until(|| counted() == crashes());
        assert!(crashes() >= 100, "{}", crashes());
        let mut kinds: Vec<(String, String)> = stage
            .notices()
            .iter()
            .map(|one| (one["service"].to_string(), one["signature"].to_string()))
            .collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!((stage.notices().len(), kinds.len()), (2 * SERVICES, 2 * SERVICES));
        // All this time the other one was told the first of them.
        assert_eq!(stage.read("hangs"), "begun\n");
    });
}

#[test]
fn the_count_is_told_when_the_time_is_over() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "every: 4s\ntargets:\n  - file: {file}", &[]);
        stage.ends("bad");
        stage.code("bad", "3");
        stage.site.until(|| stage.notices().len() >= 2);
        stage.code("bad", "");
        let counts: Vec<u64> =
            stage.notices().iter().map(|one| one["count"].as_u64().unwrap()).collect();
        assert!(counts[0] == 1 && counts[1] >= 2, "{counts:?}");
        // Notices and what is held back are all deaths there were.
        let lives = stage.lives("bad") as u64;
        stage.site.until(|| {
            let told: u64 = stage.notices().iter().map(|one| one["count"].as_u64().unwrap()).sum();
            let held: u64 = stage.list().iter().filter_map(|one| one["held"].as_u64()).sum();
            told + held >= lives.min(stage.lives("bad") as u64) - 1
        });
    });
}

#[test]
fn what_was_asked_for_and_an_end_that_went_well_are_not_told() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "targets:\n  - file: {file}", &[]);
        let site = &stage.site;
        // It does not end well when it is told to end.
        let run = "#!/bin/sh\ntrap 'exit 7' TERM\nwhile :; do sleep 0.02; done\n";
        site.service("touchy", run);
        site.well(&["enable", "--now", "touchy"]);
        site.well(&["restart", "touchy"]);
        let svc = |letter: &str| {
            let before = site.pid("touchy");
            let dir = site.inside(Place::Participants).join("touchy");
            let mut command = site.command(program("svc"), &[letter, dir.to_str().unwrap()]);
            assert_eq!(run_within(SOON, &mut command).code, Some(0));
            site.until(|| site.pid("touchy").is_some_and(|pid| Some(pid) != before));
        };
        svc("-t");
        svc("-k");
        site.well(&["stop", "touchy"]);
        stage.ends("well");
        stage.code("well", "0");
        site.until(|| stage.lives("well") > 2);
        // What comes last is told, so that all before it was seen.
        stage.code("well", "9");
        stage.notice("exit 9");
        assert!(
            stage.notices().iter().all(|one| one["signature"] == "exit 9"),
            "{:?}",
            stage.notices()
        );
        // Nor is an order of the whole instance.
        site.well(&["halt"]);
        assert!(stage.notices().iter().all(|one| one["signature"] == "exit 9"));
    });
}

#[test]
fn a_service_that_cannot_be_run_is_told_and_so_is_a_logger_that_crashes() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "targets:\n  - file: {file}", &[]);
        let site = &stage.site;
        let dir = site.sleeper("gone");
        fs::remove_file(dir.join("run")).unwrap();
        site.ends(1, &["enable", "--now", "gone"]);
        let told = stage.notice("unable to run it: file does not exist");
        assert_eq!((&told["service"], &told["kind"]), (&"gone".into(), &"not-up".into()));
        assert_eq!(told["death"]["error"], "file does not exist");
        site.sleeper("logged");
        site.logger("logged", "#!/bin/sh\nexit 5\n");
        site.well(&["enable", "--now", "logged"]);
        assert_eq!(stage.notice("exit 5")["service"], "logged/log");
    });
}

#[test]
fn a_target_that_fails_is_tried_again_and_one_that_hangs_delays_nobody() {
    Site::each(|kind| {
        let fails = "#!/bin/sh\necho try >>{told}/tries\n[ -e {told}/mended ] || { echo broken >&2; exit 1; }\n\
            exec cat >{told}/taken\n";
        let hangs = "#!/bin/sh\ncd {told}\necho \"$PATH $(env | wc -l) $(id -u)\" >>{told}/hangs\n\
            sleep 1000 & exec sleep 1000\n";
        let stage = Stage::new(
            kind,
            "retry: {first: 1s, longest: 1s}\ntargets:\n  - command: [{told}/fail]\n  \
             - {command: [{told}/hang], time-limit: 2s}\n  - file: {file}",
            &[("fail", fails), ("hang", hangs)],
        );
        let site = &stage.site;
        stage.ends("bad");
        stage.code("bad", "3");
        stage.notice("exit 3");
        // While a target hangs, restarts go on.
        site.until(|| !stage.read("hangs").is_empty());
        let before = stage.lives("bad");
        site.until(|| stage.lives("bad") > before + 1);
        stage.code("bad", "");
        site.until(|| {
            stage.read("tries").lines().count() >= 3 && stage.read("hangs").lines().count() >= 2
        });
        assert_eq!(stage.read("taken"), "");
        let first = || stage.list().into_iter().find(|one| one["number"] == 1).unwrap();
        let label = |name: &str| format!("command:{}/{name}", stage.folder());
        let failure = first()["targets"][label("fail")]["failure"].clone();
        assert_eq!(failure, "exit code 1: broken");
        assert_eq!(first()["targets"][label("hang")]["failure"], "signal 9");
        fs::write(stage.told().join("mended"), "").unwrap();
        site.until(|| stage.read("taken").contains("\"signature\":\"exit 3\""));
        site.until(|| first()["targets"][label("fail")]["done"] == true);
        // It ran with an environment of ours, and as root as somebody else.
        let ran = stage.read("hangs");
        let words: Vec<&str> = ran.lines().next().unwrap().split(' ').collect();
        assert_eq!(words[0], "/usr/local/bin:/usr/bin:/bin");
        assert_eq!(words[2], if kind == Kind::System { "64970" } else { "65534" });
        assert!(words[1].parse::<u32>().unwrap() <= 4, "{ran}");
        // What hung is killed, with what it started: at most the two of one try are there.
        site.until(|| site.pids("sleep").len() <= 2);
    });
}

#[test]
fn a_webhook_gets_it_again_after_a_failure_and_its_url_is_nowhere_to_be_seen() {
    Site::each(|kind| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let secret = format!("secret-{kind:?}-{}", std::process::id());
        let stage = Stage { site: Site::new(kind) };
        let hook = stage.site.at(Place::Config).join("hook");
        let inside = stage.site.inside(Place::Config).join("hook");
        stage.site.folder(hook.parent().unwrap());
        fs::write(&hook, format!("http://{}/{secret}\n", server.local_addr().unwrap())).unwrap();
        fs::set_permissions(&hook, Permissions::from_mode(0o600)).unwrap();
        let notice = format!(
            "retry: {{first: 1s, longest: 1s}}\ntargets:\n  - webhook: {}\n  - file: {{file}}",
            inside.display()
        );
        stage.configure(&notice);
        stage.site.well(&["boot"]);
        stage.ends("bad");
        stage.code("bad", "3");
        let mut number = 0;
        let (head, body) = loop {
            let (mut stream, _) = server.accept().unwrap();
            let (head, body) = request(&mut stream);
            // Now curl waits for an answer: who looks sees its arguments and its environment.
            assert_eq!(shown(&secret), [] as [String; 0]);
            number += 1;
            let status = if number == 1 { "500 No" } else { "204 Yes" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
            if number == 2 {
                break (head, body);
            }
        };
        stage.code("bad", "");
        assert!(head.starts_with(&format!("POST /{secret} HTTP/")), "{head}");
        let told: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&told["signature"], &told["service"]), (&"exit 3".into(), &"bad".into()));
        let label = format!("webhook:{}", inside.display());
        stage.site.until(|| stage.list().iter().any(|one| one["targets"][&label]["done"] == true));
        let list = stage.site.well(&["notice", "list"]);
        assert!(!list.contains(&secret), "{list}");
        assert!(!stage.site.own_log().contains(&secret), "{}", stage.site.own_log());
        for place in [Place::Logs, Place::Run] {
            assert!(!holds(&stage.site.at(place), &secret));
        }
        // What others may read is not used.
        fs::set_permissions(&hook, Permissions::from_mode(0o644)).unwrap();
        let out = stage.site.ends(1, &["notice", "test"]);
        assert!(out.contains("others may read it: chmod 600") && !out.contains(&secret), "{out}");
    });
}

#[test]
fn a_letter_goes_to_sendmail_and_a_trial_to_everybody() {
    Site::each(|kind| {
        let mail = "#!/bin/sh\necho \"$@\" >{told}/arguments\nexec cat >>{told}/letter\n";
        let stage = Stage::new(
            kind,
            "sendmail: {told}/sendmail\ntargets:\n  - mail: ops@example.org\n  - file: {file}\n  \
             - command: [{told}/missing]",
            &[("sendmail", mail)],
        );
        stage.ends("bad");
        stage.code("bad", "3");
        stage.site.until(|| stage.read("letter").contains("last words of"));
        stage.code("bad", "");
        let letter = stage.read("letter");
        assert_eq!(stage.read("arguments"), "-t -oi\n");
        let (head, body) = letter.split_once("\n\n").unwrap();
        assert!(head.starts_with("To: ops@example.org\nSubject: [skynet "), "{letter}");
        assert!(head.contains("] bad: crash: exit 3\n"), "{letter}");
        assert!(body.contains("bad: it ended with exit code 3\n"), "{letter}");

        let out = stage.site.ends(1, &["notice", "test"]);
        assert!(out.contains("mail:ops@example.org: told after "), "{out}");
        assert!(out.contains("/missing: FAILED after "), "{out}");
        assert!(stage.read("letter").contains("TRIAL: "));
        let trials: Vec<_> =
            stage.notices().into_iter().filter(|one| one["trial"] == true).collect();
        assert_eq!(trials.len(), 1);
    });
}

#[test]
fn a_notifier_that_is_killed_at_any_moment_forgets_no_crash_and_tells_none_twice_in_a_file() {
    let rounds = if std::env::var_os("SKYNET_LONG").is_some() { 100 } else { 12 };
    Site::each(|kind| {
        let script = "#!/bin/sh\ncat >>{told}/taken\n";
        let stage = Stage::new(
            kind,
            "retry: {first: 1s, longest: 1s}\ntargets:\n  - file: {file}\n  - command: [{told}/take]",
            &[("take", script)],
        );
        stage.ends("bad");
        for round in 0..rounds {
            let code = (round + 1).to_string();
            let lives = stage.lives("bad");
            stage.code("bad", &code);
            stage.site.until(|| stage.lives("bad") > lives);
            // The moment of the kill is what differs: from before the look at the record to behind
            // the telling. For this long nothing is waited for.
            let never = || false;
            assert!(!holds_within(Duration::from_millis(60 * round % 700), never));
            stage.kill_notifier();
            stage.code("bad", "");
            stage.notice(&format!("exit {code}"));
        }
        let told = tally(&stage.notices());
        let wanted: BTreeMap<String, u64> =
            (1..=rounds).map(|code| (format!("exit {code}"), 1)).collect();
        assert_eq!(told, wanted);
        // A command may be told twice, but then with the same id.
        let taken = || {
            stage.read("taken").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let ids = |notices: Vec<Value>| {
            let ids = notices.iter().map(|one| one["id"].as_str().unwrap().to_owned());
            ids.collect::<std::collections::BTreeSet<_>>()
        };
        stage.site.until(|| ids(taken()) == ids(stage.notices()));
    });
}

#[test]
fn crashes_while_no_notifier_runs_are_told_when_one_does() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "targets:\n  - file: {file}", &[]);
        let site = &stage.site;
        stage.ends("bad");
        // It knows the service.
        site.until(|| stage.state().contains("\"bad\":{"));
        let own = site.inside(Place::Service).join("skynet-notice");
        let svc = |letter: &str| {
            let mut command = site.command(program("svc"), &[letter, own.to_str().unwrap()]);
            assert_eq!(run_within(SOON, &mut command).code, Some(0));
        };
        svc("-d");
        site.until(|| stage.notifiers().is_empty());
        stage.code("bad", "4");
        let before = stage.lives("bad");
        site.until(|| stage.lives("bad") >= before + 3);
        stage.code("bad", "");
        site.well(&["wait", "--state", "up", "bad"]);
        let out = site.skynet(&["notice", "list"]);
        assert!(out.err().contains("no notifier runs"), "{out:?}");
        svc("-u");
        let told = stage.notice("exit 4");
        assert!(told["count"].as_u64().unwrap() >= 3, "{told}");
        assert_eq!(stage.notices().len(), 1);
    });
}

/// A persistent participant that takes an item and dies of it.
const DIES: &str = "#!/bin/sh\nsay() { printf '%s\\n' \"$1\" >&3; }\nread -r start <&3\n\
    say '{\"type\":\"hello\",\"protocol\":1}'\nread -r item <&3\necho dying of it >&2\nexit 3\n";

#[test]
fn dead_items_and_participants_that_go_away_are_told_with_the_item() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "targets:\n  - file: {file}", &[]);
        let site = &stage.site;
        site.participant("fails", "tries: 1\n", "#!/bin/sh\necho no luck >&2\nexit 1\n");
        let config = "mode: persistent\ntries: 1\nrestart: {first: 100ms, longest: 200ms}\n";
        site.participant("dies", config, DIES);
        let absent = "mode: persistent\nrestart: {first: 100ms, longest: 200ms}\n";
        let dir = site.participant("absent", absent, DIES);
        site.well(&["enable", "--now", "fails", "dies", "absent"]);
        fs::remove_file(dir.join("work")).unwrap();
        site.ends(1, &["restart", "absent"]);
        site.submit("fails", "w-one");
        site.submit("dies", "w-two");
        let find = |service: &str, kind: &str| {
            let mut found = None;
            site.until(|| {
                let is_it = |one: &Value| one["service"] == service && one["kind"] == kind;
                found = stage.notices().into_iter().find(is_it);
                found.is_some()
            });
            found.unwrap()
        };
        let dead = find("fails", "dead-item");
        assert_eq!(dead["items"][0]["wfid"], "w-one", "{dead}");
        assert!(dead["text"].as_str().unwrap().contains("w-one was put away"), "{dead}");
        let away = find("dies", "disconnected");
        assert_eq!(away["items"][0]["wfid"], "w-two", "{away}");
        assert!(away["text"].as_str().unwrap().contains("dies_0 went away: exit 3"), "{away}");
        assert!(away["text"].as_str().unwrap().contains("dying of it"), "{away}");
        let absent = find("absent", "not-up");
        assert!(absent["text"].as_str().unwrap().contains("does not start"), "{absent}");
    });
}

#[test]
fn the_item_in_hand_of_an_exo_that_is_killed_is_told() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "kinds: [crash]\ntargets:\n  - file: {file}", &[]);
        let site = &stage.site;
        site.participant("slow", "", "#!/bin/sh\nexec sleep 1000\n");
        site.well(&["enable", "--now", "slow"]);
        site.submit("slow", "w-slow");
        site.until(|| site.pids("sleep").len() == 1);
        let keepers = site.pids("exo-keeper");
        assert_eq!(keepers.len(), 1);
        linux::signal::kill(keepers[0], 9).unwrap();
        let told = stage.notice("signal 9");
        assert_eq!((&told["service"], &told["kind"]), (&"slow".into(), &"crash".into()));
        assert_eq!(told["items"][0]["wfid"], "w-slow", "{told}");
    });
}

#[test]
fn on_a_full_disk_it_is_told_all_the_same_and_not_again_once_there_is_room() {
    let stage = Stage { site: Site::new(Kind::System) };
    let site = &stage.site;
    let folder = "/var/lib/skynet-notice";
    let made = run_within(SOON, &mut site.command("mkdir", &["-p", folder]));
    assert_eq!(made.code, Some(0));
    let mount = ["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", folder];
    assert_eq!(run_within(SOON, &mut site.command("mount", &mount)).code, Some(0));
    stage.configure("targets:\n  - command: [{told}/take]");
    site.folder(&stage.told());
    fs::set_permissions(stage.told(), Permissions::from_mode(0o777)).unwrap();
    script(&stage.told().join("take"), "#!/bin/sh\ncat >>/run/skynet/told/taken\n");
    site.well(&["boot"]);
    stage.ends("bad");
    // By way of the instance's own root, since what is mounted there is nowhere else.
    let var = site.at(Place::Logs).join("../..");
    let keeps = var.join("lib/skynet-notice");
    site.until(|| keeps.join("state").exists());
    let ballast = keeps.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    // What the notifier was just writing made room again.
    let mut use_up = || while file.write_all(&[0; 512]).is_ok() {};
    use_up();
    stage.code("bad", "3");
    site.until(|| stage.read("taken").contains("exit 3"));
    use_up();
    stage.code("bad", "");
    drop(file);
    fs::remove_file(ballast).unwrap();
    let kept = || fs::read_to_string(keeps.join("state")).unwrap_or_default();
    site.until(|| kept().contains("exit 3"));
    stage.kill_notifier();
    stage.code("bad", "4");
    site.until(|| stage.read("taken").contains("exit 4"));
    stage.code("bad", "");
    assert_eq!(stage.read("taken").matches("\"signature\":\"exit 3\"").count(), 1);
}

#[test]
fn a_broken_configuration_is_said_and_the_good_one_stays_in_force() {
    Site::each(|kind| {
        let stage = Stage::new(kind, "targets:\n  - file: {file}", &[]);
        let site = &stage.site;
        site.until(|| stage.notifiers().len() == 1);
        let first = stage.notifiers();
        stage.ends("bad");
        stage.configure("targets:\n  - fiel: {file}");
        site.until(|| {
            site.own_log().contains("notice.targets.fiel: unknown key; did you mean file?")
        });
        stage.code("bad", "3");
        stage.notice("exit 3");
        assert_eq!(stage.notifiers(), first);
        let out = site.ends(0, &["notice", "list"]);
        assert!(out.contains("did you mean file?") && out.contains("exit 3"), "{out}");
        assert!(!out.contains("nobody is to be told"), "{out}");
        assert!(site.ends(111, &["notice", "test"]).contains("did you mean file?"));
        // Mended, and different: it begins anew with it.
        stage.configure("lines: 0\ntargets:\n  - file: {file}");
        site.until(|| stage.notifiers().len() == 1 && stage.notifiers() != first);
        stage.code("bad", "4");
        assert_eq!(stage.notice("exit 4")["log"], Value::Array(Vec::new()));
    });
}

#[test]
fn where_nobody_is_to_be_told_that_is_said_with_what_to_do() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let advice = "nobody is to be told; add notice: and targets: to ";
        let out = site.ends(0, &["notice", "list"]);
        assert!(out.starts_with("no notices to show\n") && out.contains(advice), "{out}");
        assert_eq!(site.skynet(&["notice", "list", "--json"]).out(), "");
        assert!(site.ends(1, &["notice", "test"]).contains(advice));
        assert_eq!(site.skynet(&["notice"]).code, Some(100));
        assert!(!site.at(Place::Service).join("skynet-notice").exists());
    });
}
