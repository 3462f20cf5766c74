//! The packages: what is in them, and that they come, change and go without a trace.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod rootfs;

use rootfs::{Packages, Root, SOON, build, tree};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::{Scratch, run_within, until};

/// Says lines that are counted, and one more when it is told to end.
const COUNTER: &str = "#!/bin/bash\ntrap 'echo the last line; exit 0' TERM\n\
     i=0; while :; do echo line $((i += 1)); read -rt 0.01 <> <(:); done\n";

/// Pid and start of services, and the pid of svscan.
const LIVES: &str = "cd /run/skynet/supervise && for service in counter echo; do \
                     if [ -e $service ]; then od -An -tx1 $service/status; fi; done; \
                     pgrep -o svscan";

/// Waits for a file.
const PATIENT: &str = "#!/bin/sh\necho at work\nwhile ! [ -e go ]; do sleep 0.05; done\n";

/// Lines of `dpkg-deb -c`: mode, owner, path.
fn contents(deb: &Path) -> Vec<String> {
    let output = run_within(SOON, Command::new("dpkg-deb").arg("-c").arg(deb));
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[5..].join(" "))
    };
    let mut all: Vec<String> = output.out().lines().map(line).collect();
    all.sort_by(|a, b| a.split(' ').nth(2).cmp(&b.split(' ').nth(2)));
    all
}

#[test]
fn a_package_has_the_files_owners_and_modes_of_its_list() {
    for name in ["skynet", "skynet-daemontools", "python3-skynet", "python3-skynet-compat"] {
        let deb = Packages::find(&Packages::get().first, name, "deb");
        let list = tree().join(format!("tests/packages/{name}.list"));
        let there = contents(&deb).join("\n") + "\n";
        let listed = fs::read_to_string(&list).unwrap_or_default();
        if there != listed {
            let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.list"));
            fs::write(&new, &there).unwrap();
            let (new, list) = (new.display(), list.display());
            panic!("it has other files than {list} says: compare with {new}");
        }
    }
}

/// What an rpm of this name has: mode, owner, path of all but folders.
fn contents_of_rpm(name: &str) -> BTreeSet<String> {
    let rpm = Packages::find(&Packages::get().first, name, "rpm");
    let format = "--qf=[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} .%{FILENAMES}\n]";
    let output = run_within(SOON, Command::new("rpm").args(["-qp", format]).arg(rpm));
    output.out().lines().filter(|line| !line.starts_with('d')).map(str::to_owned).collect()
}

/// Both formats are made of one list; where their places differ is in `stage`.
#[test]
fn an_rpm_has_the_files_of_the_deb_with_its_owners_and_modes() {
    let only_deb = ["etc/init.d/", "share/lintian/", "share/doc/"];
    let elsewhere = [
        ("zsh/vendor-completions", "zsh/site-functions"),
        ("lib/python3/dist-packages", "lib/skynet/python"),
    ];
    for name in ["skynet", "skynet-daemontools", "python3-skynet", "python3-skynet-compat"] {
        let deb = contents(&Packages::find(&Packages::get().first, name, "deb"));
        let there = contents_of_rpm(name);
        let mut count = 0;
        for line in deb.iter().filter(|line| !line.starts_with('d')) {
            let line = line.split(" -> ").next().unwrap();
            if only_deb.iter().any(|part| line.contains(part)) {
                continue;
            }
            let line =
                elsewhere.iter().fold(line.to_owned(), |line, (deb, rpm)| line.replace(deb, rpm));
            assert!(there.contains(&line), "{name}: {line}");
            count += 1;
        }
        let others = there.iter().filter(|line| {
            !line.contains("share/doc/")
                && !line.contains("share/licenses/")
                && !line.ends_with("/skynet-python.pth")
        });
        assert_eq!(others.count(), count, "{name}");
    }
}

#[test]
fn nothing_in_a_package_can_be_changed_by_anybody_but_root() {
    let folder = &Packages::get().first;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let lines = if path.extension().is_some_and(|end| end == "deb") {
            contents(&path)
        } else {
            let format =
                "--qf=[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]";
            let output = run_within(SOON, Command::new("rpm").args(["-qp", format]).arg(&path));
            output.out().lines().map(str::to_owned).collect()
        };
        assert!(lines.len() > 5, "{path:?}: {lines:?}");
        for line in lines {
            let mode = line.split(' ').next().unwrap();
            let bits: Vec<char> = mode.chars().collect();
            let is_roots = line.contains(" root/root ");
            let is_open = bits[0] != 'l' && (bits[5] == 'w' || bits[8] == 'w');
            assert!(is_roots && !is_open && !mode.contains(['s', 't']), "{path:?}: {line}");
        }
    }
}

/// Program and pages, by their names at the end of a path.
fn ends(lines: &[String]) -> BTreeSet<String> {
    let name = |line: &String| {
        let path = line.split(" -> ").next()?.split(' ').next_back()?;
        Some(path.rsplit('/').next()?.trim_end_matches(".gz").to_owned())
    };
    lines.iter().filter_map(name).collect()
}

#[test]
fn each_program_and_each_page_of_the_tree_is_in_a_package() {
    let folder = &Packages::get().first;
    let all = ["skynet", "skynet-daemontools"].map(|name| {
        let deb = Packages::find(folder, name, "deb");
        ends(&contents(&deb))
    });
    let all: BTreeSet<String> = all.into_iter().flatten().collect();
    let pages = fs::read_dir(tree().join("packaging/man")).unwrap();
    let pages: Vec<_> = pages.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(pages.len() > 25);
    for page in pages {
        assert!(all.contains(&page), "{page}");
        // A program has its page in section 8.
        let program = page.strip_suffix(".8").filter(|name| *name != "skynet.yaml");
        assert!(program.is_none_or(|program| all.contains(program)), "{page}");
    }
    // Where skynet is alone, all of its programs have theirs, too.
    let lines = contents(&Packages::find(folder, "skynet", "deb"));
    let pages = ends(&lines);
    let programs = lines.iter().filter(|line| line.contains("./usr/lib/skynet/bin/"));
    let programs: Vec<_> = programs.filter(|line| !line.ends_with('/')).cloned().collect();
    assert!(programs.len() > 20);
    for program in ends(&programs) {
        let names = [format!("{program}.8"), format!("{program}.8skynet")];
        assert!(names.iter().any(|name| pages.contains(name)), "{program} has no page");
    }
}

#[test]
fn lintian_finds_nothing_that_has_no_reason() {
    let folder = &Packages::get().first;
    let names = ["skynet", "skynet-daemontools", "python3-skynet", "python3-skynet-compat"];
    let debs = names.map(|name| Packages::find(folder, name, "deb"));
    let mut command = Command::new("lintian");
    command.args(["--allow-root", "--fail-on=error,warning"]).args(debs);
    let output = run_within(4 * SOON, &mut command);
    assert_eq!((output.code, output.out().as_str()), (Some(0), ""), "{output:?}");
}

#[test]
fn scripts_of_the_packages_are_shellcheck_clean() {
    let list = "ls packaging/build packaging/stage packaging/setup packaging/update-service \
                packaging/licences packaging/init/skynet.init services/packaging/package packaging/packages/*/p*inst packaging/packages/*/p*rm";
    let mut command = Command::new("sh");
    command.args(["-c", &format!("shellcheck $({list})")]).current_dir(tree());
    let output = run_within(SOON, &mut command);
    assert_eq!((output.code, output.out().as_str()), (Some(0), ""), "{output:?}");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let first = &Packages::get().first;
    let scratch = Scratch::new();
    build(&scratch.join("again"), "1");
    let mut count = 0;
    for entry in fs::read_dir(first).unwrap() {
        let path = entry.unwrap().path();
        let again = scratch.join("again").join(path.file_name().unwrap());
        assert!(fs::read(&path).unwrap() == fs::read(again).unwrap(), "{path:?}");
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn an_installed_system_runs_is_well_and_is_purged_without_a_trace() {
    let root = Root::new();
    let before = root.contents();
    let people = root.well("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow");
    root.install(&Packages::get().first, &["skynet"]);
    assert!(root.well("skynet status").contains("1 service: 1 up"));
    assert!(root.well("ps -e -o comm=").contains("svscan"));
    let found = root.sh("skynet doctor --json");
    assert!(!found.out().contains(r#""severity":"error""#), "{found:?}");
    let folders = "/run/skynet /var/lib/skynet /var/spool/skynet /var/log/skynet";
    assert_eq!(
        root.well(&format!("stat -c '%n %a %U %G' {folders}")),
        "/run/skynet 755 root root\n/var/lib/skynet 750 skynet skynet\n\
         /var/spool/skynet 755 skynet skynet\n/var/log/skynet 755 root root\n"
    );
    // Its pages are found by the names of the programs.
    root.well("test -f /usr/share/man/man8/svc.8skynet.gz");
    // Beside it Debian's daemontools are still what they were.
    assert!(root.well("readlink -f /usr/bin/svscan").starts_with("/usr/bin/svscan"));
    root.well("dpkg -r skynet");
    assert!(!root.well("ps -e -o comm=").contains("svscan"));
    // Items and logs are there until they are purged.
    root.well("test -d /var/log/skynet/skynet-log && id skynet");
    root.well("dpkg -P skynet");
    assert_eq!(difference(&root.contents(), &before), Vec::<String>::new());
    let left = root.well("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow");
    assert_eq!(left, people);
}

/// Returns the lines that only one of two has.
fn difference(now: &[String], before: &[String]) -> Vec<String> {
    let [now, before] = [now, before].map(|lines| lines.iter().collect::<BTreeSet<_>>());
    now.symmetric_difference(&before).map(|line| (*line).clone()).collect()
}

#[test]
fn what_the_administrator_made_outlives_a_purge() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.service("counter", COUNTER);
    root.well("echo 'keep: 9d' >/etc/skynet/conf.d/mine.yaml");
    root.well("dpkg -P skynet");
    root.well(
        "test -x /etc/skynet/participants/counter/run && test -L /etc/skynet/service/counter \
         && test -f /etc/skynet/conf.d/mine.yaml",
    );
    root.well("! test -e /var/log/skynet && ! test -e /etc/skynet/service/skynet-log");
}

/// The lines of a service's log without their stamps.
fn said(root: &Root, service: &str) -> Vec<String> {
    let log = format!("/var/log/skynet/{service}");
    let all = root.well(&format!("cat $(ls {log}/@* 2>/dev/null) {log}/current"));
    all.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

#[test]
fn an_upgrade_touches_no_service_and_replaces_each_program_that_runs() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.service("counter", COUNTER);
    root.participant("echo", PATIENT);
    let before = root.well(LIVES);
    // Forth, and back again; each time an item is in hand and another waits.
    for (count, folder) in [&Packages::get().second, &Packages::get().first].iter().enumerate() {
        root.well("rm -f /etc/skynet/participants/echo/go; skynet submit echo '{\"fields\":{}}' '{\"fields\":{}}'");
        until(SOON, || root.well("skynet status --json echo").contains("\"busy\":1"));
        root.install(folder, &["skynet"]);
        root.well("touch /etc/skynet/participants/echo/go");
        until(SOON, || root.runs_what_is_on_disk());
        assert_eq!(root.well(LIVES), before);
        let found = root.sh("skynet doctor --json").out();
        assert!(!found.contains("replaced"), "{found}");
        let done = || root.well("skynet export echo");
        until(SOON, || done().lines().count() == 2 * (count + 1));
        assert!(
            done()
                .lines()
                .all(|line| line.contains("\"attempt\":1,") && line.contains("\"fault\":0,")),
            "{}",
            done()
        );
    }
    // The end: the service first, and its logger has its last line.
    root.well("dpkg -r skynet");
    let lines = said(&root, "counter");
    let count = lines.len() - 1;
    assert!(count > 10, "{lines:?}");
    let wanted: Vec<String> = (1..=count).map(|i| format!("line {i}")).collect();
    assert_eq!(lines[..count], wanted);
    assert_eq!(lines[count], "the last line");
}

#[test]
fn skynet_daemontools_takes_the_place_of_daemontools_and_gives_it_back() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet", "skynet-daemontools"]);
    let version = root.well("svstat --version");
    assert!(root.well("readlink -f /usr/bin/svstat").contains("/usr/lib/skynet/bin/svstat"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    root.well("svscan /etc/service >/dev/null 2>&1 </dev/null &");
    let dir = root.path("/etc/counter");
    fs::create_dir_all(dir.join("log")).unwrap();
    testkit::scratch::script(&dir.join("run"), COUNTER);
    testkit::scratch::script(&dir.join("log/run"), "#!/bin/sh\nexec multilog t /var/log/counter\n");
    root.well("update-service --add /etc/counter && update-service --check counter");
    // svscan may only just have begun.
    until(30, || root.sh("svok /etc/service/counter").code == Some(0));
    root.well("svc --wait=up /etc/service/counter && test -L /etc/counter/supervise");
    assert_eq!(root.well("update-service --list counter"), "counter -> /etc/counter\n");
    root.well("update-service --remove /etc/counter && ! update-service --check counter");
    assert!(root.well("tail -n 1 /var/log/counter/current").ends_with("the last line\n"));
    for wrong in
        ["--add counter", "--add /nowhere", "--remove /etc/counter", "-x", "--add /etc/counter .x"]
    {
        let output = root.sh(&format!("update-service {wrong}"));
        assert_eq!(output.code, Some(1), "{wrong}: {output:?}");
    }
    // Another svscan of ours there ends with the package, services and loggers in order.
    root.well("update-service --add /etc/counter");
    until(SOON, || root.sh("svok /etc/service/counter").code == Some(0));
    root.well("svc --wait=up /etc/service/counter && dpkg -r skynet-daemontools");
    assert!(root.well("tail -n 1 /var/log/counter/current").ends_with("the last line\n"));
    assert!(!root.well("ps -e -o args=").contains("svscan /etc/service"));
    // The folder may be another package's by then, as with Debian's daemontools-run, and is left alone.
    let deb = root.path("/tmp/other");
    fs::create_dir_all(deb.join("DEBIAN")).unwrap();
    fs::create_dir_all(deb.join("var/lib/supervise")).unwrap();
    let control = "Package: other\nVersion: 1\nArchitecture: all\nMaintainer: a <a@localhost>\nDescription: x\n";
    fs::write(deb.join("DEBIAN/control"), control).unwrap();
    root.well("dpkg-deb -b /tmp/other >/dev/null && dpkg -i /tmp/other.deb");
    root.well("touch /var/lib/supervise/its && dpkg -P skynet-daemontools && test -f /var/lib/supervise/its");
    root.well("! command -v svstat");
}

#[test]
fn an_rpm_installs_upgrades_and_leaves() {
    let root = Root::new();
    let (first, second) = (&Packages::get().first, &Packages::get().second);
    let both = |folder: &Path| {
        ["skynet", "python3-skynet", "python3-skynet-compat"]
            .map(|name| Packages::find(folder, name, "rpm"))
    };
    root.rpm(&["--initdb"], &[]);
    let before = root.contents();
    root.rpm(&["-i", "--nodeps"], &both(first));
    root.well("skynet boot");
    root.service("counter", COUNTER);
    assert_eq!(
        root.rpm(&["-V", "--nodeps", "skynet", "python3-skynet", "python3-skynet-compat"], &[]),
        ""
    );
    let pid = root.well(LIVES);
    root.rpm(&["-U", "--nodeps"], &both(second));
    until(SOON, || root.runs_what_is_on_disk());
    assert_eq!(root.well(LIVES), pid);
    root.well("python3 -c 'import skynet, SkyNET, RuoteAMQP' && skynet uninstall counter --force");
    root.rpm(&["-e", "--nodeps", "skynet", "python3-skynet", "python3-skynet-compat"], &[]);
    assert!(!root.well("ps -e -o comm=").contains("svscan"));
    // rpm keeps what it does not know: users, logs, items.
    let left = difference(&root.contents(), &before);
    let is_data = |line: &String| {
        ["/var/log/skynet", "/var/lib/skynet", "/var/spool/skynet", "/run/skynet", "/etc/", "/srv"]
            .iter()
            .any(|folder| line.starts_with(folder))
    };
    assert!(left.iter().all(is_data), "{left:?}");
}
