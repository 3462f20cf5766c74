//! The programs of an installed daemontools replaced by ours, in namespaces of their own: what a
//! user of it has - service directories, svscanboot, habits - goes on.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::scratch::copy_program;
use testkit::{Scratch, Suite, run, until};

/// Seconds that anything may take on a busy machine.
const PATIENCE: u64 = 60;

/// What Debian's package installs, but for its script.
const PROGRAMS: &[&str] = &[
    "envdir",
    "envuidgid",
    "fghack",
    "multilog",
    "pgrphack",
    "readproctitle",
    "setlock",
    "setuidgid",
    "softlimit",
    "supervise",
    "svc",
    "svok",
    "svscan",
    "svstat",
    "tai64n",
    "tai64nlocal",
];

/// Service directories as people have them. `$1` is the scratch folder.
const SERVICES: &str = r#"
set -e
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
rm -rf /etc/service
mkdir /etc/service "$1/sv"
cd "$1/sv"
mkdir -p web/log/main web/env locked off broken
chmod 755 "$1" "$1/sv" web web/log
chown nobody web/log/main
echo 8080 >web/env/PORT
cat >web/run <<'RUN'
#!/bin/sh
exec 2>&1
exec envdir ./env softlimit -o 64 setuidgid nobody \
    sh -c 'echo "port $PORT files $(ulimit -n) user $(id -un)"; exec sleep 1000000'
RUN
printf '#!/bin/sh\nexec setuidgid nobody multilog t ./main\n' >web/log/run
printf '#!/bin/sh\nexec setlock -n ./lock pgrphack sleep 1000000\n' >locked/run
printf '#!/bin/sh\nexec sleep 1000000\n' >off/run
touch off/down
chmod 755 */run web/log/run
ln -s "$1"/sv/* /etc/service
"#;

/// A machine with daemontools, seen from outside.
struct Machine {
    scratch: Scratch,
    holder: Child,
    /// Its first process, as we call it.
    init: u32,
}

impl Machine {
    /// Makes one; `None` = this one lets nobody.
    fn new() -> Option<Self> {
        let probe = Command::new("unshare").args(["-mpf", "--mount-proc", "true"]).output();
        let has_namespaces = probe.expect("unshare").status.success();
        if testkit::skipped("root, and a container that allows namespaces", has_namespaces) {
            return None;
        }
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("original")).expect("mkdir");
        for name in PROGRAMS {
            let copy = scratch.join("original").join(name);
            copy_program(&Suite::Original.program(name), &copy);
        }
        // The shell stays: the first process reaps.
        let script = format!("{SERVICES}\ntouch \"$1/ready\"\nsleep 1000000 &\nwait\n");
        let mut holder = Command::new("unshare")
            .args(["-mpf", "--kill-child", "--mount-proc", "sh", "-c", &script, "sh"])
            .arg(scratch.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        until(PATIENCE, || {
            assert!(holder.try_wait().expect("wait").is_none(), "the machine could not be made");
            scratch.join("ready").exists()
        });
        let init = child_of(holder.id()).expect("the first process");
        Some(Self { scratch, holder, init })
    }

    /// Runs a shell line in it and returns what it says.
    #[track_caller]
    fn sh(&self, line: &str) -> String {
        let said = self.try_sh(line);
        assert_eq!(said.code, Some(0), "{line}: {said:?}");
        said.out() + &said.err()
    }

    fn try_sh(&self, line: &str) -> testkit::Output {
        let init = self.init.to_string();
        run(Command::new("nsenter").args(["-t", &init, "-m", "-p", "--", "sh", "-c", line]))
    }

    /// Puts our programs over those that are installed, as far as there are such.
    fn install(&self) {
        for name in PROGRAMS {
            let ours = ours().join(name);
            if ours.is_file() {
                self.sh(&format!("mount --bind {} /usr/bin/{name}", ours.display()));
            }
        }
    }

    /// Boots as the boot process does: `boot` in the place of the installed script.
    fn boot(&self, boot: &Path) {
        let there = self.scratch.join("svscanboot");
        fs::copy(boot, &there).expect("copy");
        self.sh(&format!("setsid env -i SECRET=1 sh {} /etc/service/ &", there.display()));
    }

    /// What `svstat` of a suite says of a directory, the numbers replaced.
    fn svstat(&self, suite: Suite, name: &str) -> String {
        let tool = self.tool(suite, "svstat");
        let line = self.sh(&format!("cd /etc/service; {tool} {name}"));
        let mut words = Vec::new();
        for word in line.split(' ') {
            let digits = word.trim_matches(|c: char| c == ')' || c == ',');
            let is_number = digits.parse::<u64>().is_ok();
            words.push(if is_number { word.replace(digits, "N") } else { word.to_owned() });
        }
        words.join(" ")
    }

    /// What both say.
    #[track_caller]
    fn both_say(&self, name: &str, line: &str) {
        let line = format!("{name}: {line}\n");
        for suite in [Suite::Original, Suite::Ours] {
            until(PATIENCE, || self.svstat(suite, name) == line);
        }
    }

    fn tool(&self, suite: Suite, name: &str) -> String {
        match suite {
            Suite::Original => self.scratch.join("original").join(name),
            Suite::Ours => ours().join(name),
        }
        .display()
        .to_string()
    }

    #[track_caller]
    fn svc(&self, suite: Suite, letters: &str, name: &str) {
        let tool = self.tool(suite, "svc");
        assert_eq!(self.sh(&format!("cd /etc/service; {tool} {letters} {name}")), "", "{letters}");
    }

    /// The pid in a directory's status.
    fn pid(&self, name: &str) -> String {
        let line = self.sh(&format!("svstat /etc/service/{name}"));
        line.split_once("(pid ")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map_or_else(String::new, |(pid, _)| pid.to_owned())
    }

    /// Tells for each process of that name whether its program is one of ours.
    fn programs(&self, name: &str) -> Vec<bool> {
        let line = format!(
            "for p in /proc/[0-9]*; do [ \"$(cat $p/comm 2>/dev/null)\" = {name} ] || continue
            [ $p/exe -ef {} ] && echo true || echo false; done",
            ours().join(name).display()
        );
        self.sh(&line).lines().map(|line| line == "true").collect()
    }

    fn web_log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.scratch.join("sv/web/log/main/current"));
        let lines = text.unwrap_or_default();
        lines.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With the first process of a pid namespace go all of it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ours() -> PathBuf {
    Suite::Ours.program("svscan").parent().expect("a folder").to_owned()
}

fn child_of(parent: u32) -> Option<u32> {
    fs::read_dir("/proc").ok()?.find_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let its = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        (its == parent).then_some(pid)
    })
}

const WEB: &str = "port 8080 files 64 user nobody";

/// Everything runs as its directories say.
fn all_is_as_ever(machine: &Machine) {
    machine.both_say("web", "up (pid N) N seconds");
    machine.both_say("web/log", "up (pid N) N seconds");
    machine.both_say("locked", "up (pid N) N seconds");
    machine.both_say("off", "down N seconds");
    until(PATIENCE, || machine.web_log().last().is_some_and(|line| line == WEB));
}

/// Each of a suite's svc's commands does what it says, as both of svstat tell.
fn obeys(machine: &Machine, suite: Suite) {
    machine.svc(suite, "-d", "web");
    machine.both_say("web", "down N seconds, normally up");
    machine.svc(suite, "-u", "web");
    machine.both_say("web", "up (pid N) N seconds");
    machine.svc(suite, "-p", "locked");
    machine.both_say("locked", "up (pid N) N seconds, paused");
    machine.svc(suite, "-c", "locked");
    machine.both_say("locked", "up (pid N) N seconds");
    let (before, logger) = (machine.pid("locked"), machine.pid("web/log"));
    machine.svc(suite, "-t", "locked");
    machine.svc(suite, "-t", "web/log");
    let another = |name: &str, old: &str| {
        let new = machine.pid(name);
        !new.is_empty() && new != old
    };
    until(PATIENCE, || another("locked", &before) && another("web/log", &logger));
    machine.svc(suite, "-o", "off");
    machine.both_say("off", "up (pid N) N seconds, normally down");
    machine.svc(suite, "-k", "off");
    machine.both_say("off", "down N seconds");
}

/// What `ps` shows of svscan's troubles.
#[track_caller]
fn troubles_are_in_the_process_list(machine: &Machine) {
    let trouble = "supervise: fatal: unable to start broken/run: file does not exist";
    until(PATIENCE, || {
        let line = machine.sh("ps -C readproctitle -ww -o args= || :");
        // It moves through a window of 400 bytes, the first three of them dots.
        line.starts_with("readproctitle service errors: ...") && line.contains(trouble)
    });
}

#[test]
fn an_installed_daemontools_goes_on_with_our_programs() {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/daemontools/scripts/svscanboot");
    for boot in [Suite::Original.program("svscanboot"), script] {
        let Some(machine) = Machine::new() else { return };
        machine.install();
        machine.boot(&boot);
        all_is_as_ever(&machine);
        troubles_are_in_the_process_list(&machine);
        // One for each directory: the logger has none of its own.
        until(PATIENCE, || machine.programs("supervise") == [true; 4]);
        assert_eq!(machine.programs("svscan"), [true]);
        obeys(&machine, Suite::Original);
        obeys(&machine, Suite::Ours);
        let environment = machine.sh("tr '\\0' '\\n' </proc/$(pidof -s svscan)/environ");
        assert!(!environment.contains("SECRET"), "{environment}");
    }
}

#[test]
fn services_of_the_original_obey_our_tools_and_are_taken_over_when_it_is_booted_again() {
    let Some(machine) = Machine::new() else { return };
    let boot = Suite::Original.program("svscanboot");
    machine.boot(&boot);
    all_is_as_ever(&machine);
    troubles_are_in_the_process_list(&machine);
    obeys(&machine, Suite::Ours);
    obeys(&machine, Suite::Original);
    // Between fork and exec there is another of the name.
    until(PATIENCE, || machine.programs("supervise") == [false; 5]);

    // The package is replaced while everything runs: nothing happens to it.
    let running = ["web", "web/log", "locked"].map(|name| machine.pid(name));
    machine.install();
    assert_eq!(["web", "web/log", "locked"].map(|name| machine.pid(name)), running);
    obeys(&machine, Suite::Ours);

    // One service after the other: the original's svscan starts what it finds in PATH.
    machine.svc(Suite::Ours, "-dx", "web web/log");
    until(PATIENCE, || machine.programs("supervise").iter().filter(|ours| **ours).count() == 2);
    all_is_as_ever(&machine);
    assert_eq!(machine.programs("svscan"), [false]);
    obeys(&machine, Suite::Original);

    // As `systemctl restart` does.
    machine.sh("kill $(pidof svscan)");
    machine.boot(&boot);
    until(PATIENCE, || machine.programs("supervise") == [true; 4]);
    all_is_as_ever(&machine);
    troubles_are_in_the_process_list(&machine);
    assert_eq!(machine.programs("svscan"), [true]);
    obeys(&machine, Suite::Original);
    assert_eq!(machine.sh("pgrep -c sleep").trim(), "3", "web, locked, and the machine's own");
}
