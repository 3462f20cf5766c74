//! The verbs that show how services stand and what they consist of, on a user's instance and on the
//! system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use linux::signal::numbers::{SIGCONT, SIGSTOP, SIGTERM};
use serde_json::Value;
use site::{Kind, Place, SOON, Site};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use testkit::{Output, run_within};

/// A participant that says that it is at work, and ends when a file `go` is there.
const PATIENT: &str = "#!/bin/sh\necho at work\nwhile ! [ -e go ]; do sleep 0.05; done\n";

/// Says a line that a terminal would obey, and ends with 3 at once.
const BROKEN: &str = "#!/bin/sh\nprintf 'cannot \\033[2J\\n' >&2\nexit 3\n";

/// A logger such as `skynet new` writes, but that it keeps who it is.
fn logger(site: &Site, name: &str) {
    let folder = site.inside(Place::Logs).join(name);
    site.folder(&site.at(Place::Logs).join(name));
    site.logger(name, &format!("#!/bin/sh\nexec multilog t {}\n", folder.display()));
}

/// Returns the line of a table that begins with `name`.
#[track_caller]
fn line<'a>(out: &'a str, name: &str) -> &'a str {
    let is_its = |line: &&str| line.split_whitespace().next() == Some(name);
    out.lines().find(is_its).unwrap_or_else(|| panic!("no line of {name}:\n{out}"))
}

/// Returns the cells of a table's line, under the heads of the table.
#[track_caller]
fn cell<'a>(out: &'a str, name: &str, head: &str) -> &'a str {
    let heads = out.lines().next().unwrap().split_whitespace();
    let at = heads.into_iter().position(|one| one == head).unwrap();
    line(out, name).split_whitespace().nth(at).unwrap()
}

#[track_caller]
fn object(text: &str) -> Value {
    serde_json::from_str(text.trim_end()).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Runs skynet on a terminal of so many columns and 24 lines, where `script` types.
fn on_terminal(site: &Site, columns: u16, line: &str) -> Command {
    let line = format!("stty cols {columns} rows 24; {line}");
    let mut command = site.command("script", &["-qec", &line, "/dev/null"]);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh");
    command
}

#[track_caller]
fn seen_on_terminal(site: &Site, columns: u16, line: &str) -> Output {
    let output = run_within(SOON, &mut on_terminal(site, columns, line));
    assert!(output.stderr.is_empty(), "{output:?}");
    output
}

#[test]
fn status_has_a_line_for_each_service_and_one_for_all() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("web");
        logger(&site, "web");
        site.sleeper("off");
        site.service("broken", BROKEN);
        let dir = site.participant("sizer", "instances: 2\n", PATIENT);
        site.well(&["enable", "--now", "web", "sizer"]);
        site.ends(1, &["enable", "--now", "broken"]);
        for wfid in ["one", "two", "three"] {
            site.submit("sizer", wfid);
        }
        let status = || site.well(&["status"]);
        site.until(|| cell(&status(), "sizer", "BUSY") == "2/2");
        site.until(|| cell(&status(), "sizer", "QUEUE") == "1");
        site.until(|| line(&status(), "broken").contains("exit 3, "));
        let out = site.well(&["ps"]);
        println!("{kind:?}:\n{out}");
        assert_eq!(cell(&out, "web", "STATE"), "up");
        assert_eq!(cell(&out, "web", "PID"), site.pid("web").unwrap().to_string());
        assert_eq!(cell(&out, "web", "RST"), "0");
        assert_ne!(cell(&out, "web", "MEM"), "-");
        assert_eq!(["STATE", "PID", "MEM"].map(|head| cell(&out, "off", head)), ["down", "-", "-"]);
        assert_ne!(cell(&out, "sizer", "WAIT"), "-");
        let totals = out.lines().last().unwrap();
        assert!(totals.starts_with("5 services: "), "{totals}");
        assert!(totals.contains("busy 2/2, 1 waiting") && totals.contains("; svscan "), "{totals}");
        fs::write(dir.join("go"), "").unwrap();
        site.until(|| {
            let out = status();
            cell(&out, "sizer", "BUSY") == "0/2" && cell(&out, "sizer", "QUEUE") == "0"
        });
        site.well(&["drain", "sizer"]);
        assert_eq!(cell(&status(), "sizer", "STATE"), "draining");

        let all = site.well(&["status", "--json"]);
        let all: Vec<Value> = all.lines().map(object).collect();
        let names: Vec<&str> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["broken", "off", "sizer", "skynet-log", "web"]);
        assert_eq!((&all[2]["busy"], &all[2]["instances"]), (&0.into(), &2.into()));
        assert_eq!(all[4]["pid"], site.pid("web").unwrap());
        site.kill_svscan();
        let out = status();
        assert!(out.lines().last().unwrap().contains("no svscan runs"), "{out}");
    });
}

#[test]
fn status_fits_eighty_columns_and_uses_wider_ones() {
    let site = Site::booted(Kind::Private);
    let long = "a-service-whose-name-is-much-longer-than-any-column";
    site.service(long, BROKEN);
    site.ends(1, &["enable", "--now", long]);
    let shown = |columns| seen_on_terminal(&site, columns, "skynet --color never status").out();
    site.until(|| shown(200).contains("exit 3, "));
    let narrow = shown(80);
    for line in narrow.lines() {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
    }
    assert!(narrow.contains("a-service-") && narrow.contains('…') && !narrow.contains(long));
    assert!(shown(200).contains(long));
    // Colour is for terminals alone, and for those who want it.
    assert!(seen_on_terminal(&site, 80, "skynet status").out().contains("\x1b["));
    assert!(!site.well(&["status"]).contains('\x1b'));
}

#[test]
fn a_service_in_depth_shows_its_processes_its_work_and_what_it_said() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.participant("sizer", "tries: 1\n", PATIENT);
        logger(&site, "sizer");
        site.well(&["enable", "--now", "sizer"]);
        let status = || site.well(&["status", "sizer"]);
        site.submit("sizer", "first");
        site.until(|| status().contains(" first for "));
        site.submit("sizer", "second");
        site.until(|| status().contains("sizer: 1 waiting, the oldest for "));
        site.until(|| status().contains("at work"));
        let out = status();
        println!("{kind:?}:\n{out}");
        assert!(out.starts_with("sizer: up for "), "{out}");
        let inside = site.inside(Place::Participants).join("sizer");
        assert!(out.contains(&format!("  directory   {} (by-hand)", inside.display())), "{out}");
        let log = site.inside(Place::Logs).join("sizer");
        assert!(line(&out, "log").contains("logger up for "), "{out}");
        assert!(out.contains(&log.display().to_string()) || out.contains("log/main"), "{out}");
        for role in ["supervise", "keeper", "worker", "logger"] {
            let pid = line(&out, role).split_whitespace().nth(1).unwrap();
            pid.parse::<u32>().unwrap();
        }
        assert!(line(&out, "sizer_0").contains(" first for "), "{out}");
        assert!(line(&out, "sizer_0").contains("(job 1, attempt 1)"), "{out}");
        assert!(line(&out, "queue").contains("(second)"), "{out}");

        let all = object(&site.well(&["status", "--json", "sizer"]));
        let roles = all["processes"].as_array().unwrap().iter().map(|one| one["role"].clone());
        let wanted = ["supervise", "keeper", "worker", "sizer_0", "logger"];
        assert_eq!(roles.collect::<Vec<_>>(), wanted);
        assert_eq!((&all["oldest_wfid"], &all["waiting"]), (&"second".into(), &1.into()));
        assert_eq!(all["exo"]["instances"][0]["wfid"], "first");

        fs::write(dir.join("work"), "#!/bin/sh\necho broken >&2\nexit 12\n").unwrap();
        fs::write(dir.join("go"), "").unwrap();
        site.until(|| status().contains("last failures:"));
        let all = object(&site.well(&["status", "--json", "sizer"]));
        assert_eq!(all["failures"][0]["wfid"], "second");
        assert_eq!(all["failures"][0]["code"], 12);
        assert!(status().contains(": exit 12"), "{}", status());
    });
}

#[test]
fn the_last_death_of_a_service_is_shown_with_what_it_said_before() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let run = "#!/bin/sh\nif [ -e well ]; then
            i=0; while [ $i -lt 9 ]; do echo well $i; i=$((i+1)); done; exec sleep 1000000
            fi\necho 'the disk is gone'\nexit 7\n";
        let dir = site.service("web", run);
        logger(&site, "web");
        site.ends(1, &["enable", "--now", "web"]);
        let down = site.skynet(&["status", "web"]);
        assert_eq!(down.code, Some(3), "{down:?}");
        site.until(|| {
            let out = site.skynet(&["status", "web"]).out();
            let is_there = ["web: retrying for ", "last death  exit 7, ", "next start  within "];
            is_there.iter().all(|words| out.contains(words)) && out.contains("the disk is gone")
        });
        fs::write(dir.join("well"), "").unwrap();
        site.well(&["wait", "--state", "up", "web"]);
        site.until(|| site.well(&["status", "web"]).contains("well 8"));
        let out = site.well(&["status", "web"]);
        let (before, last) = out.split_once("  its last lines:").unwrap();
        assert!(before.contains("  before its last death it said:"), "{out}");
        assert!(before.contains("the disk is gone") && !last.contains("the disk is gone"), "{out}");
        assert!(!site.well(&["status", "-n", "2", "web"]).contains("well 6"));
        let all = object(&site.well(&["status", "--json", "web"]));
        assert_eq!(
            (&all["last_exit"]["kind"], &all["last_exit"]["number"]),
            (&"code".into(), &7.into())
        );
        assert!(all["restarts"].as_u64().unwrap() > 0);
    });
}

#[test]
fn exit_codes_tell_down_and_unknown_only_of_services_that_are_named() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["off", "web"] {
            site.sleeper(name);
        }
        site.well(&["start", "web"]);
        site.well(&["status"]);
        site.well(&["status", "w*"]);
        site.ends(3, &["status", "off"]);
        site.ends(3, &["status", "--json", "o*", "web"]);
        let out = site.ends(3, &["status", "off", "wep"]);
        assert!(out.contains("no service wep; did you mean web?"), "{out}");
        site.ends(4, &["cat", "nobody"]);
        site.ends(4, &["top", "--batch", "-n", "1", "nobody"]);
        for args in
            [&["cat"][..], &["status", "-n", "x"], &["top", "-n", "0"], &["top", "-d", "1ms"]]
        {
            site.ends(100, args);
        }
    });
}

#[test]
fn an_exo_that_does_not_answer_is_told_and_keeps_nobody_waiting() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("deaf", "", PATIENT);
        site.participant("well", "", PATIENT);
        site.well(&["enable", "--now", "deaf", "well"]);
        let is_deaf = |pid: &i32| {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.ends_with("deaf"))
        };
        let deaf = site.pids("exo-worker").into_iter().find(is_deaf).unwrap();
        linux::signal::kill(deaf, SIGSTOP).unwrap();
        let out = site.well(&["status"]);
        assert!(line(&out, "deaf").ends_with("exo does not answer"), "{out}");
        assert_eq!((cell(&out, "deaf", "BUSY"), cell(&out, "well", "BUSY")), ("?", "0/1"));
        let out = site.well(&["status", "deaf"]);
        assert!(line(&out, "trouble").ends_with("exo does not answer"), "{out}");
        linux::signal::kill(deaf, SIGCONT).unwrap();
        assert_eq!(cell(&site.well(&["status"]), "deaf", "BUSY"), "0/1");
    });
}

#[test]
fn what_may_not_be_looked_at_is_told_and_is_not_down() {
    let site = Site::booted(Kind::Private);
    site.sleeper("web");
    site.well(&["start", "web"]);
    let folder = site.at(Place::Run).join("supervise/web");
    std::os::unix::fs::lchown(&folder, Some(0), Some(0)).unwrap();
    let out = site.ends(1, &["status", "web"]);
    assert!(out.starts_with("web: unknown"), "{out}");
    assert!(out.contains("access denied"), "{out}");
    assert_eq!(cell(&site.well(&["status"]), "web", "STATE"), "unknown");
    site.own_all(&folder);
    site.well(&["status", "web"]);
}

#[test]
fn no_name_line_or_item_commands_the_terminal() {
    let site = Site::booted(Kind::Private);
    let name = "b\u{1b}[2J\u{9b}1m";
    site.service(name, BROKEN);
    site.ends(1, &["enable", "--now", name]);
    site.until(|| site.own_log().contains("cannot"));
    for line in ["status", "status 'b*'", "cat 'b*'", "top -n 2 -d 100ms --batch"] {
        let out = seen_on_terminal_of_any_code(&site, &format!("skynet --color never {line}"));
        assert!(!out.contains(['\x1b', '\u{9b}']), "{line}: {out:?}");
        assert!(out.contains("b\\x1b[2J"), "{line}: {out:?}");
    }
}

fn seen_on_terminal_of_any_code(site: &Site, line: &str) -> String {
    run_within(SOON, &mut on_terminal(site, 200, line)).out()
}

#[test]
fn cat_shows_files_and_what_is_in_force_but_no_secret() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let config =
            "environment:\n  API_TOKEN: s3cret\n  LANG: C\nconfig:\n  db: {password: s3cret}\n";
        let dir = site.participant("sizer", config, PATIENT);
        logger(&site, "sizer");
        let conf = site.at(Place::Config).join("conf.d");
        site.folder(&conf);
        fs::write(conf.join("all.yaml"), "participants: {tries: 7}\n").unwrap();
        site.own_all(&conf);
        let out = site.well(&["cat", "sizer"]);
        println!("{kind:?}:\n{out}");
        assert!(!out.contains("s3cret"), "{out}");
        let inside = site.inside(Place::Participants).join("sizer");
        for file in ["run", "log/run", "exo.yaml"] {
            assert!(out.contains(&format!("# {}\n", inside.join(file).display())), "{file}: {out}");
        }
        let all = site.inside(Place::Config).join("conf.d/all.yaml");
        assert!(out.contains("exec 2>&1\nexec exo\n"), "{out}");
        assert!(out.contains(&format!("tries: 7 # {}:1\n", all.display())), "{out}");
        assert!(out.contains("\"API_TOKEN\": \"(hidden)\" # "), "{out}");
        assert!(out.contains("umask: \"077\" # default\n"), "{out}");

        let all = site.well(&["cat", "--json", "sizer"]);
        assert!(!all.contains("s3cret"), "{all}");
        let all = object(&all);
        assert_eq!((&all["name"], &all["effective"]["tries"]), (&"sizer".into(), &7.into()));
        assert_eq!(all["files"].as_array().unwrap().len(), 3);

        fs::write(dir.join("exo.yaml"), "command: ./work\nfoo: 1\n").unwrap();
        let out = site.ends(1, &["cat", "sizer"]);
        assert!(out.contains("foo: 1\n") && out.contains("foo: unknown key"), "{out}");
        // A program is none of a terminal's business.
        fs::copy("/bin/true", dir.join("run")).unwrap();
        assert!(site.ends(1, &["cat", "sizer"]).contains("# (a program, not shown)\n"));
    });
}

#[test]
fn without_a_terminal_top_writes_table_after_table() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.service("busy", "#!/bin/sh\nwhile :; do :; done\n");
        site.sleeper("web");
        site.well(&["start", "busy", "web"]);
        let out = site.well(&["top", "-n", "2", "-d", "300ms"]);
        println!("{kind:?}:\n{out}");
        let tables: Vec<&str> = out.split("\n\n").collect();
        assert_eq!(tables.len(), 2, "{out}");
        for table in tables {
            assert_eq!(table.lines().count(), 5, "{table}");
            assert_eq!(table.lines().nth(1).unwrap().split_whitespace().next(), Some("busy"));
            let share = cell(table, "busy", "CPU").trim_end_matches('%').parse::<u32>().unwrap();
            assert!(share > 0, "{table}");
        }
        let out = site.well(&["top", "--batch", "-n", "1", "-d", "100ms", "--sort", "name", "w*"]);
        assert_eq!(out.lines().count(), 3, "{out}");
    });
}

/// Starts top on a terminal, between two questions how that is set.
fn top(site: &Site, args: &str) -> std::process::Child {
    let line = format!("stty -g; skynet top {args}; stty -g");
    let mut command = on_terminal(site, 100, &line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Returns how many bytes top has drawn so far.
fn written(site: &Site) -> u64 {
    let all = site.pids("skynet").into_iter().map(|pid| {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
        bytes.unwrap_or(0)
    });
    all.max().unwrap_or(0)
}

/// Returns what was drawn, once it is over; the terminal must be as it was.
#[track_caller]
fn drawn(child: std::process::Child) -> String {
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let (before, rest) = out.split_once("\x1b[?1049h").unwrap_or_else(|| panic!("{out:?}"));
    let (drawn, after) = rest.rsplit_once("\x1b[?1049l").unwrap_or_else(|| panic!("{out:?}"));
    assert_eq!(before.trim(), after.trim(), "{out:?}");
    assert!(drawn.ends_with("\x1b[?25h"), "{drawn:?}");
    drawn.to_owned()
}

#[test]
fn on_a_terminal_top_follows_changes_and_keys_and_leaves_it_as_it_was() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("web");
        // Nothing but a change, or a key, has it drawn again.
        let mut child = top(&site, "-d 1h");
        let mut keys = child.stdin.take().unwrap();
        site.until(|| written(&site) > 100);
        site.well(&["start", "web"]);
        let pid = site.pid("web").unwrap().to_string();
        // The pipe keeps what is drawn until the end; each key is one more screen.
        for key in [b"n", b"m"] {
            let before = written(&site);
            site.until(|| {
                keys.write_all(key).unwrap();
                written(&site) > before + 1000
            });
        }
        keys.write_all(b"q").unwrap();
        drop(keys);
        let drawn = drawn(child);
        assert!(
            drawn.contains("by CPU") && drawn.contains("by name") && drawn.contains("by memory")
        );
        assert!(drawn.contains(&pid), "{drawn}");
        assert!(!drawn.contains("\x1b[2J"), "the screen is never wiped");
    });
}

#[test]
fn a_signal_ends_top_and_leaves_the_terminal_as_it_was() {
    let site = Site::booted(Kind::Private);
    for signal in [SIGTERM, linux::signal::numbers::SIGINT, linux::signal::numbers::SIGHUP] {
        let mut child = top(&site, "-d 100ms");
        let keys = child.stdin.take();
        site.until(|| written(&site) > 100);
        linux::signal::kill(site.pids("skynet")[0], signal).unwrap();
        let drawn = drawn(child);
        assert!(drawn.contains("skynet top "), "{drawn:?}");
        drop(keys);
    }
}

/// The long version looks at 1,000 services, of which ten are participants.
#[test]
fn all_of_many_services_are_seen_in_one_look() {
    let (services, participants) = match std::env::var_os("SKYNET_LONG") {
        Some(_) => (990, 10),
        None => (98, 2),
    };
    let site = Site::booted(Kind::System);
    for i in 0..services {
        site.sleeper(&format!("s{i:03}"));
    }
    for i in 0..participants {
        site.participant(&format!("p{i:02}"), "", PATIENT);
    }
    site.well(&["enable", "--now", "--timeout", "5min", "*[0-9]"]);
    let look = |args: &[&str]| {
        let begun = std::time::Instant::now();
        let out = site.well(args);
        (begun.elapsed(), out)
    };
    let mut times: Vec<_> = (0..11).map(|_| look(&["status"]).0).collect();
    times.sort();
    let (_, out) = look(&["status"]);
    println!(
        "{} services: {:?} (median of 11), at best {:?}",
        services + participants,
        times[5],
        times[0]
    );
    assert_eq!(
        out.lines().filter(|line| line.split_whitespace().nth(1) == Some("up")).count(),
        services + participants + 1
    );
    assert_eq!(out.matches(" 0/1 ").count(), participants);
}

#[test]
fn the_manual_page_lists_every_key_that_is_written() {
    let site = Site::booted(Kind::Private);
    site.participant("sizer", "", PATIENT);
    site.well(&["enable", "--now", "sizer"]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/man/skynet.8");
    let page = fs::read_to_string(path).unwrap();
    let section = |verb: &str| {
        let rest = page.split_once(&format!("\n.Ss {verb}")).unwrap().1;
        rest.split("\n.Ss ").next().unwrap().to_owned()
    };
    for (args, verb) in [
        (&["status", "--json"][..], "status"),
        (&["status", "--json", "sizer"], "status"),
        (&["cat", "--json", "sizer"], "cat"),
    ] {
        let out = site.well(args);
        let listed = section(verb);
        for key in object(out.lines().next().unwrap()).as_object().unwrap().keys() {
            let is_its =
                |line: &str| line.starts_with(".It Li ") && line.split(' ').any(|w| w == key);
            assert!(listed.lines().any(is_its), "{verb}: {key} is not listed");
        }
    }
}
