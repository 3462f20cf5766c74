//! Directories that become services: new, install, rebuild, uninstall, on a user's instance and on
//! the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod made;
mod site;

use made::{folder, installed, work};
use site::{Kind, Place, Site};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use testkit::{Output, program, run_within};

/// What the log of a service says.
fn log(site: &Site, name: &str) -> String {
    let log = site.at(Place::Logs).join(name).join("current");
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// Runs a command where the instance is, in a folder.
fn run_in(site: &Site, dir: &Path, command: &str, args: &[&str]) -> Output {
    // Who enters a namespace is at its root.
    let mut all =
        vec!["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", dir.to_str().unwrap(), command];
    all.extend(args);
    run_within(site::SOON, &mut site.command("sh", &all))
}

const ITEM: &str = r#"{"fields":{"file":"exo.yaml"}}"#;

#[test]
fn a_new_participant_passes_its_own_test_and_does_an_item_at_once() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let desk = site.desk();
        for language in ["python", "shell"] {
            let name = format!("a-{language}.1");
            let args = ["new", &name, "--language", language, "--dir", desk.to_str().unwrap()];
            let said = site.well(&args);
            assert!(said.contains("made") && said.contains("./test"), "{said}");
            let dir = desk.join(&name);
            let tested = run_in(&site, &dir, "./test", &[]);
            assert_eq!(tested.code, Some(0), "{tested:?}");
            let file = dir.join("exo.yaml");
            let item = ITEM.replace("exo.yaml", file.to_str().unwrap());
            for manual in ["manual", "local"] {
                let tried = site.skynet(&[manual, dir.to_str().unwrap(), "-i", &item]);
                assert_eq!(tried.code, Some(0), "{tried:?}");
                let wanted = format!("\"size\":{}", file.metadata().unwrap().len());
                assert!(tried.out().contains(&wanted), "{tried:?}");
            }
            // Named from the current folder, as its last lines say; an item by its file.
            fs::write(dir.join("items"), &item).unwrap();
            let skynet = program("skynet");
            let tried =
                run_in(&site, &dir, skynet.to_str().unwrap(), &["manual", ".", "-i", "items"]);
            assert_eq!(tried.code, Some(0), "{tried:?}");
            site.well(&["install", dir.to_str().unwrap()]);
        }
        assert_eq!(installed(&site), ["a-python.1", "a-shell.1"]);
        let tried =
            site.skynet(&["manual", "a-shell.1", "-i", r#"{"fields":{"file":"/etc/hosts"}}"#]);
        assert_eq!(tried.code, Some(0), "{tried:?}");
        assert!(site.ends(4, &["manual", "a-shel.1"]).contains("did you mean a-shell.1?"));
    });
}

#[test]
fn a_new_participant_in_shell_does_without_jq_where_there_is_none() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let bin = site.desk().join("bin");
        site.folder(&bin);
        for tool in ["sh", "cat", "sed", "tr", "wc", "mktemp", "grep", "dirname", "rm"] {
            symlink(format!("/usr/bin/{tool}"), bin.join(tool)).unwrap();
        }
        // What enters the instance is found by the usual path, what it runs by this one.
        let path = format!("PATH={}", bin.display());
        let without_jq = |command: &str, args: &[&str]| {
            let all: Vec<&str> =
                [path.as_str(), command].into_iter().chain(args.iter().copied()).collect();
            run_within(site::SOON, &mut site.command("env", &all))
        };
        let (skynet, desk) = (program("skynet"), site.desk());
        let args = ["new", "p", "-l", "shell", "-d", desk.to_str().unwrap()];
        let made = without_jq(skynet.to_str().unwrap(), &args);
        assert_eq!(made.code, Some(0), "{made:?}");
        let tested = without_jq(desk.join("p/test").to_str().unwrap(), &[]);
        assert_eq!(tested.code, Some(0), "{tested:?}");
        assert!(!desk.join("p/work-without-jq").exists());
    });
}

/// As the tests' own user: a user's toolchain is theirs.
#[test]
fn a_new_participant_in_rust_passes_its_own_test_is_built_and_does_an_item() {
    let site = Site::new(Kind::System);
    let desk = site.desk();
    site.well(&["new", "counter", "-l", "rust", "-d", desk.to_str().unwrap()]);
    let dir = desk.join("counter");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-rust");
    let cargo = |words: &[&str]| {
        let status = Command::new(words[0])
            .args(&words[1..])
            .current_dir(&dir)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_NET_OFFLINE", "true")
            .status()
            .unwrap();
        assert!(status.success(), "{words:?}");
    };
    cargo(&[env!("CARGO"), "test", "--quiet"]);
    cargo(&["./build"]);
    let item = ITEM.replace("exo.yaml", dir.join("exo.yaml").to_str().unwrap());
    let tried = site.skynet(&["manual", dir.to_str().unwrap(), "-i", &item]);
    assert!(tried.code == Some(0) && tried.out().contains("\"size\":"), "{tried:?}");
    site.well(&["install", dir.to_str().unwrap()]);
    assert!(site.dir("counter").join("work").is_file());
}

#[test]
fn new_overwrites_nothing_and_makes_nothing_of_a_bad_name() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let desk = site.desk();
        let dir = desk.to_str().unwrap();
        let new = |name: &str| site.skynet(&["new", "--language=shell", "--dir", dir, "--", name]);
        assert_eq!(new("one").code, Some(0));
        fs::write(desk.join("one/work"), "mine").unwrap();
        let again = new("one");
        assert!(again.code == Some(1) && again.err().contains("is there already"), "{again:?}");
        assert_eq!(fs::read_to_string(desk.join("one/work")).unwrap(), "mine");
        symlink("nowhere", desk.join("two")).unwrap();
        assert_eq!(new("two").code, Some(1));
        let long = "x".repeat(65);
        for bad in ["", ".one", "a/b", "..", "a b", "a\nb", "-\u{e9}", &long] {
            let said = new(bad);
            assert_eq!(said.code, Some(100), "{bad:?}: {said:?}");
            assert_eq!(said.err().lines().count(), 1, "{said:?}");
        }
        assert_eq!(fs::read_dir(&desk).unwrap().count(), 2);
        let nowhere = desk.join("nowhere");
        assert_eq!(
            site.skynet(&["new", "x", "-lshell", "-d", nowhere.to_str().unwrap()]).code,
            Some(111)
        );
        fs::set_permissions(&desk, fs::Permissions::from_mode(0o777)).unwrap();
        let open = new("three");
        if kind == Kind::System {
            assert!(open.code == Some(1) && open.err().contains("chmod go-w"), "{open:?}");
        } else {
            assert_eq!(open.code, Some(0), "{open:?}");
        }
    });
}

/// Looks at an installed directory: nobody else can change it, and its links lead out of it.
#[track_caller]
fn examine(site: &Site, name: &str) {
    let dir = site.dir(name);
    let owner = fs::metadata(site.at(Place::Participants)).unwrap().uid();
    let mut folders = vec![dir.clone()];
    while let Some(folder) = folders.pop() {
        let stat = fs::symlink_metadata(&folder).unwrap();
        assert_eq!((stat.uid(), stat.mode() & 0o022), (owner, 0), "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            assert_eq!(stat.uid(), owner, "{}", path.display());
            assert!(stat.is_symlink() || stat.mode() & 0o022 == 0, "{}", path.display());
            if stat.is_dir() {
                folders.push(path);
            }
        }
    }
    let supervise = site.inside(Place::Run).join("supervise");
    for (link, target) in [
        ("supervise", supervise.join(name)),
        ("log/supervise", supervise.join(format!("{name}.log"))),
        ("log/main", site.inside(Place::Logs).join(name)),
    ] {
        assert_eq!(fs::read_link(dir.join(link)).unwrap(), target);
    }
}

#[test]
fn what_is_installed_works_and_what_replaces_it_does_after_a_restart() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = folder(&site, "p", "one");
        let said = site.well(&["install", &dir, "--enable", "--now"]);
        assert!(
            said.starts_with("p: installed\np: enabled after ") && said.contains("\np: up after "),
            "{said}"
        );
        examine(&site, "p");
        assert_eq!(site.well(&["list", "--enabled"]), "p\nskynet-log\n");
        site.submit("p", "first");
        site.until(|| log(&site, "p").contains("edition one at work"));

        let pid = site.pid("p").unwrap();
        folder(&site, "p", "two");
        let said = site.well(&["install", &dir]);
        assert_eq!(said, "p: installed; it runs on as it was until: skynet restart p\n");
        examine(&site, "p");
        assert_eq!(site.pid("p"), Some(pid));
        let said = site.well(&["restart", "p"]);
        assert!(said.starts_with("p: restarted after "), "{said}");
        assert_ne!(site.pid("p").unwrap(), pid);
        site.submit("p", "second");
        site.until(|| log(&site, "p").contains("edition two at work"));
        assert_eq!(installed(&site), ["p"]);

        folder(&site, "p", "three");
        let said = site.well(&["install", &dir, "--now"]);
        assert!(said.starts_with("p: installed\np: restarted after "), "{said}");
        site.submit("p", "third");
        site.until(|| log(&site, "p").contains("edition three at work"));
        assert_eq!(installed(&site), ["p"]);
        assert_eq!(site.well(&["list", "--enabled"]), "p\nskynet-log\n");
    });
}

#[test]
fn a_service_that_runs_goes_on_in_the_directory_it_had_until_it_is_restarted() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let put = |edition: &str| {
            let said = site.at(Place::Run).join("said");
            site.folder(&said);
            let file = site.inside(Place::Run).join("said").join(edition);
            let run = format!("#!/bin/sh\n: >{}\nexec sleep 1000\n", file.display());
            site.on_desk("plain", &[("run", &run)]).display().to_string()
        };
        let is_said = |edition: &str| site.at(Place::Run).join("said").join(edition);
        site.well(&["install", &put("one"), "--now"]);
        assert!(is_said("one").exists());
        site.well(&["install", &put("two")]);
        // What ends by itself is started again as it was.
        fs::remove_file(is_said("one")).unwrap();
        linux::signal::kill(host_pid(&site), 9).unwrap();
        site.until(|| is_said("one").exists());
        assert!(!is_said("two").exists());
        // A third, while the first still runs.
        site.well(&["install", &put("three")]);
        site.well(&["stop", "plain"]);
        let said = site.well(&["start", "plain"]);
        assert!(said.starts_with("plain: up after "), "{said}");
        assert!(is_said("three").exists() && !is_said("two").exists());
        assert_eq!(installed(&site), ["plain"]);
        // Disabled it was, and so it is.
        assert_eq!(site.well(&["list", "--enabled"]), "skynet-log\n");
    });
}

/// The only sleep of the instance, as the test knows it.
fn host_pid(site: &Site) -> i32 {
    let all = site.pids("sleep");
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

/// A name, the files of its folder, and why it is refused.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn what_cannot_be_installed_is_refused_with_what_to_do_and_nothing_stays() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let yaml = ("exo.yaml", "command: ./work\n");
        let work = work("one");
        let cases: &[Case<'_>] = &[
            ("empty", &[("other", "x")], "has neither exo.yaml nor run"),
            ("mode", &[("run", "exit")], "is no program; chmod +x"),
            ("nothing", &[yaml], "is not there, and exo.yaml has it as command"),
            ("weak", &[yaml, ("work", "text")], "cannot be run by "),
            (
                "typo",
                &[("exo.yaml", "comand: x\n")],
                "typo/exo.yaml: line 1, column 1: comand: unknown",
            ),
            (
                "other",
                &[("exo.yaml", "command: ./work\nparticipant: x\n"), ("work", &work)],
                "install it as x",
            ),
        ];
        for (name, files, why) in cases {
            let dir = site.on_desk(name, files);
            let said = site.ends(1, &["install", dir.to_str().unwrap(), name]);
            assert!(said.contains(why), "{name}: {said}");
        }
        let good = folder(&site, "good", "one");
        for name in [".x", "a/b", "..", ""] {
            assert!(site.ends(100, &["install", &good, name]).contains("the name"), "{name}");
        }
        assert_eq!(installed(&site), [""; 0]);
    });
}

#[test]
fn a_folder_that_leads_elsewhere_or_is_too_large_is_refused_and_nothing_stays() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let good = folder(&site, "good", "one");
        let trick = |name: &str, target: &Path| {
            let dir = folder(&site, name, "one");
            symlink(target, Path::new(&dir).join("lib/link")).unwrap();
            site.ends(1, &["install", &dir])
        };
        assert!(
            trick("out", Path::new("/etc/passwd")).contains("lib/link is a link that leads out")
        );
        assert!(trick("up", Path::new("../../..")).contains("lib/link is a link that leads out"));
        assert!(trick("gone", Path::new("nowhere")).contains("leads nowhere"));
        let pipe = folder(&site, "pipe", "one");
        assert!(Command::new("mkfifo").arg(format!("{pipe}/f")).status().unwrap().success());
        assert!(
            site.ends(1, &["install", &pipe]).contains("is neither a file, a folder nor a link")
        );
        let huge = folder(&site, "huge", "one");
        fs::File::create(format!("{huge}/hole")).unwrap().set_len(1 << 43).unwrap();
        assert!(site.ends(111, &["install", &huge]).contains("out of disk space"));
        let large = folder(&site, "large", "one");
        fs::write(format!("{large}/exo.yaml"), "#".repeat(1 << 21)).unwrap();
        assert!(site.ends(1, &["install", &large]).contains("larger than 1MiB"));
        assert!(site.ends(111, &["install", "nowhere"]).contains("unable to open nowhere"));
        let said = site.ends(1, &["install", &format!("{good}/work")]);
        assert!(said.contains("install takes a directory, or the code"), "{said}");
        assert!(site.ends(1, &["install", "/"]).contains("holds the installed participants"));
        if kind == Kind::Private {
            let secret = folder(&site, "secret", "one");
            fs::write(format!("{secret}/lib/root"), "x").unwrap();
            fs::set_permissions(format!("{secret}/lib/root"), fs::Permissions::from_mode(0o600))
                .unwrap();
            assert!(site.ends(111, &["install", &secret]).contains("lib/root: access denied"));
        }
        assert_eq!(installed(&site), [""; 0]);
        site.well(&["install", &good]);
        let own = site.inside(Place::Participants).join("good");
        assert!(site.ends(1, &["install", own.to_str().unwrap()]).contains("is where installed"));
        assert_eq!(installed(&site), ["good"]);
    });
}

#[test]
fn what_lies_elsewhere_or_belongs_to_a_package_is_left_alone() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = folder(&site, "mine", "one");
        site.folder(&site.at(Place::Service).join("mine"));
        for verb in [&["install", &dir][..], &["uninstall", "mine"], &["rebuild", "mine"]] {
            assert!(site.ends(1, verb).contains("it was not installed"), "{verb:?}");
        }
        if kind == Kind::Private {
            return;
        }
        // The system's own folder of programs stays as it is.
        let mount = "mkdir -p /run/up /run/work && mount -t overlay overlay \
            -o lowerdir=/usr/lib,upperdir=/run/up,workdir=/run/work /usr/lib && \
            mkdir -p /usr/lib/skynet/participants && cp -R \"$1\" /usr/lib/skynet/participants/packed";
        let mounted = run_within(site::SOON, &mut site.command("sh", &["-c", mount, "sh", &dir]));
        assert_eq!(mounted.code, Some(0), "{mounted:?}");
        assert!(site.well(&["list", "packed"]).contains("package"));
        for verb in
            [&["install", &dir, "packed"][..], &["uninstall", "packed"], &["rebuild", "packed"]]
        {
            assert!(site.ends(1, verb).contains("use the package manager"), "{verb:?}");
        }
    });
}

/// Has its program made by a script, which tries to change more than that.
fn source(site: &Site, build: &str) -> String {
    let build = format!("#!/bin/sh\nset -e\n{build}\n");
    let files = [
        ("exo.yaml", "command: ./work\nbuild: ./build\n"),
        ("build", &build),
        ("work.in", &work("EDITION")),
        ("run", "#!/bin/sh\nexec 2>&1\nexec exo\n"),
    ];
    site.on_desk("built", &files).display().to_string()
}

const BUILD: &str = "sed s/EDITION/built/ work.in >work.new\nchmod +x work.new\nmv work.new work\n\
    id -u >who\ntouch target\n";

#[test]
fn a_participant_is_built_without_rights_and_what_root_runs_is_not_the_build_s_to_change() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let worse = format!(
            "{BUILD}rm -rf run log exo.yaml\nmkdir -p log\nprintf '#!/bin/sh\\n' >run\nprintf '\\033[2Jsaid\\n'"
        );
        let dir = source(&site, &worse);
        let said = site.well(&["install", &dir, "--now"]);
        assert!(said.starts_with("  \\x1b[2Jsaid\nbuilt: installed\nbuilt: up after "), "{said}");
        examine(&site, "built");
        let read = |file: &str| fs::read_to_string(site.dir("built").join(file)).unwrap();
        assert_eq!(read("who"), "65534\n");
        assert!(read("run").contains("exec exo") && read("exo.yaml").contains("build"));
        site.submit("built", "first");
        site.until(|| log(&site, "built").contains("edition built at work"));

        let before = site.dir("built").metadata().unwrap().ino();
        let said = site.well(&["rebuild", "built", "--now"]);
        assert!(said.contains("built: built\nbuilt: restarted after "), "{said}");
        assert_ne!(site.dir("built").metadata().unwrap().ino(), before);
        assert_eq!(installed(&site), ["built"]);
    });
}

#[test]
fn a_build_that_fails_changes_nothing_and_one_that_leaves_others_behind_ends() {
    Site::each(|kind| {
        let site = Site::new(kind);
        for (verb, none) in [("rebuild", "nothing to build"), ("uninstall", "nothing to uninstall")]
        {
            assert!(site.ends(1, &[verb, "--all"]).contains(none), "{verb}");
        }
        let dir = source(&site, BUILD);
        site.well(&["install", &dir]);
        let before = site.dir("built").metadata().unwrap().ino();
        let edit = |build: &str| {
            let path = site.dir("built").join("build");
            testkit::scratch::script(&path, &format!("#!/bin/sh\n{build}\n"));
            site.own_all(&path);
        };
        edit("echo no compiler >&2\nexit 3");
        let said = site.ends(1, &["rebuild", "built"]);
        assert!(said.contains("  no compiler\n"), "{said}");
        assert!(
            said.contains("built: the build, ./build, ended with exit code 3; nothing is changed")
        );
        edit("ln -s /etc/passwd trap");
        assert!(site.ends(1, &["rebuild", "built"]).contains("trap is a link that leads out"));
        edit("rm work");
        assert!(site.ends(1, &["rebuild", "built"]).contains("work is not there"));
        assert_eq!(site.dir("built").metadata().unwrap().ino(), before);
        // It holds the pipe to which the build writes.
        edit("sleep 1000 &\necho built");
        assert!(site.well(&["rebuild", "built"]).ends_with("  built\nbuilt: built\n"));
        site.until(|| site.pids("sleep").is_empty());
        let plain = folder(&site, "plain", "one");
        site.well(&["install", &plain]);
        assert!(site.ends(1, &["rebuild", "plain"]).contains("exo.yaml has no build"));
        assert_eq!(site.ends(4, &["rebuild", "bilt"]).matches("did you mean built?").count(), 1);
        assert!(site.well(&["rebuild", "--all"]).ends_with("built: built\n"));
        assert_eq!(installed(&site), ["built", "plain"]);
    });
}

#[test]
fn whoever_ends_a_build_ends_all_of_it_and_nothing_is_changed() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = source(&site, BUILD);
        site.well(&["install", &dir]);
        let before = site.dir("built").metadata().unwrap().ino();
        let build = site.dir("built").join("build");
        testkit::scratch::script(&build, "#!/bin/sh\nsleep 1000\n");
        site.own_all(&build);
        let mut skynet = site.command(program("skynet"), &["rebuild", "built"]).spawn().unwrap();
        site.until(|| !site.pids("sleep").is_empty());
        for pid in site.pids("skynet") {
            linux::signal::kill(pid, 2).unwrap();
        }
        assert_eq!(skynet.wait().unwrap().code(), Some(1));
        site.until(|| site.pids("sleep").is_empty());
        assert_eq!(site.dir("built").metadata().unwrap().ino(), before);
        assert_eq!(installed(&site), ["built"]);
    });
}

#[test]
fn uninstall_refuses_what_runs_ends_it_when_told_to_and_keeps_its_log_and_what_is_in_hand() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let patient = "#!/bin/sh\necho at work\nwhile ! [ -e /tmp/none ]; do sleep 0.05; done\n";
        let yaml = ("exo.yaml", "command: ./work\nshutdown-grace: 100ms\n");
        let dir = site.on_desk("p", &[yaml, ("work", patient)]).display().to_string();
        let plain = site.on_desk("plain", &[("run", "#!/bin/sh\nexec sleep 1000\n")]);
        site.well(&["install", &dir, "--enable", "--now"]);
        site.well(&["install", plain.to_str().unwrap(), "--enable", "--now"]);
        site.submit("p", "first");
        site.until(|| log(&site, "p").contains("at work"));
        let said = site.ends(1, &["uninstall", "p", "plain"]);
        let refused =
            |name| format!("{name}: FAILED: it runs; first skynet stop {name}, or use --now\n");
        assert_eq!(said, refused("p") + &refused("plain"));
        assert!(site.pid("plain").is_some());
        let said = site.ends(1, &["uninstall", "--now", "p", "plain"]);
        assert!(
            said.contains("p: FAILED: an item is in hand; first skynet drain --wait p"),
            "{said}"
        );
        assert!(said.contains("plain: uninstalled\n"), "{said}");
        assert!(site.pid("p").is_some());
        assert_eq!(installed(&site), ["p"]);

        let said = site.well(&["uninstall", "--force", "p"]);
        let kept = site.inside(Place::Logs).join("p");
        assert_eq!(said, format!("p: uninstalled; its log stays, {}\n", kept.display()));
        assert_eq!(installed(&site), [""; 0]);
        assert!(log(&site, "p").contains("at work"));
        let names = |place: Place| fs::read_dir(site.at(place)).unwrap().count();
        assert_eq!(names(Place::Service), 1, "only skynet-log is linked");
        assert!(!site.at(Place::Run).join("supervise/p").exists());
        assert!(site.at(Place::Store).join("work.db").exists());
        assert!(site.ends(4, &["uninstall", "p"]).contains("no service p"));

        // One that was stopped runs no more, though it is enabled.
        site.well(&["install", &dir, "--enable", "--now"]);
        site.well(&["stop", "p"]);
        assert_eq!(site.well(&["uninstall", "--purge", "--all"]), "p: uninstalled\n");
        assert!(!site.at(Place::Logs).join("p").exists());
        assert_eq!(site.well(&["list", "--names-only"]), "skynet-log\n");
    });
}

#[test]
fn what_does_not_end_in_time_is_named_with_what_to_do_and_stays() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.service("deaf", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n");
        site.well(&["enable", "--now", "deaf"]);
        let said = site.ends(1, &["uninstall", "--now", "--timeout", "100ms", "deaf"]);
        let dir = site.inside(Place::Participants).join("deaf").display().to_string();
        let end = format!(" is removed; end it by svc -k {dir}, or wait, and ");
        let advice = format!("; it is disabled, and nothing else{end}");
        let is_told = said.starts_with("deaf: FAILED after ") && said.contains(&advice);
        assert!(is_told && said.contains(": not down within 100ms; it runs, pid "), "{said}");
        assert!(site.dir("deaf").exists() && !site.pids("run").is_empty());
        assert!(!site.at(Place::Service).join("deaf").is_symlink());
        // What is said of one that was disabled before is true, too.
        let said = site.ends(1, &["uninstall", "--now", "--timeout", "100ms", "deaf"]);
        assert!(said.contains(&format!("; nothing{end}")), "{said}");
        let killed = run_within(site::SOON, &mut site.command(program("svc"), &["-k", &dir]));
        assert_eq!(killed.code, Some(0), "{killed:?}");
        site.well(&["wait", "--state", "finished", "deaf"]);
        assert_eq!(site.well(&["uninstall", "deaf"]), "deaf: uninstalled\n");
    });
}

/// As a kill leaves it between the exchange of two directories and what follows.
#[test]
fn a_running_service_whose_directory_was_only_just_replaced_keeps_it_through_the_next_installation()
{
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.sleeper("web");
        site.well(&["enable", "--now", "web"]);
        let new = dir.with_file_name(".web.new");
        let aside = dir.with_file_name("aside");
        site.sleeper("aside");
        let supervise = fs::read_link(dir.join("supervise")).unwrap();
        fs::remove_file(aside.join("supervise")).unwrap();
        symlink(supervise, aside.join("supervise")).unwrap();
        fs::create_dir(&new).unwrap();
        fs::rename(&dir, new.join("web")).unwrap();
        fs::rename(&aside, &dir).unwrap();
        let other = site.on_desk("other", &[("run", "#!/bin/sh\nexec sleep 1000000\n")]);
        site.well(&["install", other.to_str().unwrap()]);
        let before = site.pid("web");
        for pid in site.pids("sleep") {
            linux::signal::kill(pid, 9).unwrap();
        }
        site.until(|| site.pid("web").is_some_and(|pid| Some(pid) != before));
        site.well(&["restart", "web"]);
        assert!(!new.exists());
        site.well(&["install", other.to_str().unwrap()]);
    });
}
