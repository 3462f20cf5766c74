//! A scratch instance of skynet: a user's own, or a system's with /etc, /run and /var of its own.
//!
//! A user's instance is `nobody`'s, its folders below a scratch folder. A system's is root's, in a
//! namespace of mounts and processes: /etc is a copy with the accounts of the suite, /run, /var/lib,
//! /var/log and /var/spool are empty. Whatever a test leaves there ends with the site.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::scratch::{SLEEPER, is_zombie, script};
use testkit::wait::holds_within;
use testkit::{Output, Scratch, program, run_within};

/// Seconds in which whatever is to happen has happened on a busy machine.
pub(crate) const SOON: u64 = 90;

/// The user of a private instance, and its group: Debian's nobody and nogroup.
const NOBODY: u32 = 65534;

/// Whose instance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A user's own.
    Private,
    /// The system's.
    System,
}

/// A user of a system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    /// A member of group `skynet`.
    Ann,
    /// Nobody in particular.
    Bob,
}

impl Person {
    /// The user's id, and that of a group of theirs.
    pub(crate) const fn uid(self) -> u32 {
        match self {
            Self::Ann => 64972,
            Self::Bob => 64973,
        }
    }
}

/// An instance.
pub(crate) struct Site {
    pub(crate) kind: Kind,
    scratch: Scratch,
    /// Holds the namespaces of a system's.
    holder: Option<Child>,
}

/// Makes the surroundings of a system in namespaces of its own, says so, and reaps what is left to
/// it. `$1` is a folder for the copy of /etc, `$2` one for /var/lib, which is a folder of the machine's
/// too: a database cannot be opened by way of another namespace.
const SURROUNDINGS: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
cp -a /etc/. "$1"
rm -rf "$1/skynet"
add() { grep -q "^$2:" "$1" || echo "$3" >>"$1"; }
add "$1/passwd" skynet 'skynet:x:64970:64970::/nonexistent:/usr/sbin/nologin'
add "$1/passwd" skynetlog 'skynetlog:x:64971:64971::/nonexistent:/usr/sbin/nologin'
add "$1/group" skynet 'skynet:x:64970:'
add "$1/group" skynetlog 'skynetlog:x:64971:'
sed -i 's/^\(skynet:.*:\)$/\1ann/; s/^\(skynet:.*[^:]\)$/\1,ann/; s/ann,ann$/ann/' "$1/group"
add "$1/passwd" ann 'ann:x:64972:64972::/tmp:/bin/sh'
add "$1/passwd" bob 'bob:x:64973:64973::/tmp:/bin/sh'
add "$1/group" ann 'ann:x:64972:'
add "$1/group" bob 'bob:x:64973:'
mount --bind "$1" /etc
mount --bind "$2" /var/lib
for folder in /run /var/log /var/spool; do mount -t tmpfs -o mode=755 tmpfs $folder; done
echo ready
sleep 1000000 &
wait
"#;

impl Site {
    /// Makes one that does not run.
    #[track_caller]
    pub(crate) fn new(kind: Kind) -> Self {
        let scratch = Scratch::new();
        let holder = match kind {
            Kind::Private => {
                for folder in ["home", "run"] {
                    fs::create_dir(scratch.join(folder)).unwrap();
                    own(&scratch.join(folder));
                }
                None
            }
            Kind::System => Some(surroundings(&scratch)),
        };
        Self { kind, scratch, holder }
    }

    /// Makes one, and boots it.
    #[track_caller]
    pub(crate) fn booted(kind: Kind) -> Self {
        let site = Self::new(kind);
        site.well(&["boot"]);
        site
    }

    /// Runs a test on a user's instance and on a system's, at the same time.
    #[track_caller]
    pub(crate) fn each(test: impl Fn(Kind) + Sync) {
        std::thread::scope(|scope| {
            let private = scope.spawn(|| test(Kind::Private));
            test(Kind::System);
            // What failed was said by the thread.
            assert!(private.join().is_ok(), "on a private instance");
        });
    }

    /// Returns a command that runs where the instance is, as its owner.
    pub(crate) fn command(&self, name: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command;
        if let Some(holder) = &self.holder {
            let ns = format!("/proc/{}/ns", holder.id());
            command = Command::new("nsenter");
            command.args([format!("--mount={ns}/mnt"), format!("--pid={ns}/pid_for_children")]);
        } else {
            command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        let bin = program("skynet");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.parent().unwrap().display());
        command.arg("--").arg(name.as_ref()).args(args).env_clear().env("PATH", path);
        command.current_dir(self.scratch.path()).stdin(Stdio::null());
        if self.kind == Kind::Private {
            command.env("HOME", self.scratch.join("home"));
            command.env("XDG_RUNTIME_DIR", self.scratch.join("run"));
        }
        command
    }

    /// Returns a command that runs where a system's instance is, as a user of that.
    pub(crate) fn command_of(&self, who: Person, name: impl AsRef<Path>, args: &[&str]) -> Command {
        assert_eq!(self.kind, Kind::System, "a private instance has one user");
        let id = who.uid();
        let ids = [format!("--reuid={id}"), format!("--regid={id}"), "--init-groups".to_owned()];
        let name = name.as_ref().display().to_string();
        let words: Vec<&str> = ids.iter().map(String::as_str).chain(["--", &name]).collect();
        let mut command = self.command("setpriv", &[&words, args].concat());
        command.env("HOME", "/tmp").current_dir("/tmp");
        command
    }

    /// Runs skynet as a user of a system's, for the system's instance.
    #[track_caller]
    pub(crate) fn skynet_of(&self, who: Person, args: &[&str]) -> Output {
        let all = [&["--system"], args].concat();
        run_within(SOON, &mut self.command_of(who, program("skynet"), &all))
    }

    /// Runs skynet.
    #[track_caller]
    pub(crate) fn skynet(&self, args: &[&str]) -> Output {
        run_within(SOON, &mut self.command(program("skynet"), args))
    }

    /// Runs skynet, which must end with 0 and say nothing on descriptor 2; returns what it says.
    #[track_caller]
    pub(crate) fn well(&self, args: &[&str]) -> String {
        let output = self.skynet(args);
        let is_well = output.code == Some(0) && output.stderr.is_empty();
        assert!(is_well, "skynet {args:?}: {output:?}; svscan's log:\n{}", self.own_log());
        output.out()
    }

    /// Runs skynet, which must end with this code; returns what it says on both descriptors.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, args: &[&str]) -> String {
        let output = self.skynet(args);
        assert_eq!(output.code, Some(code), "skynet {args:?}: {output:?}");
        output.out() + &output.err()
    }

    /// Returns a path as the test reaches it: `state` is the folder of the store, and so on.
    pub(crate) fn at(&self, place: Place) -> PathBuf {
        let Some(holder) = &self.holder else {
            return self.scratch.path().join(place.private());
        };
        if place == Place::Store {
            return self.scratch.join("lib/skynet");
        }
        let root = format!("/proc/{}/root", holder.id());
        Path::new(&root).join(place.system())
    }

    /// Returns the same path as the instance names it.
    pub(crate) fn inside(&self, place: Place) -> PathBuf {
        match self.kind {
            Kind::Private => self.at(place),
            Kind::System => Path::new("/").join(place.system()),
        }
    }

    /// Returns the path of a participant's or service's directory.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.at(Place::Participants).join(name)
    }

    /// Puts a service directory, whose `run` is this script, where participants are installed; its
    /// supervise folder lies in the run folder.
    pub(crate) fn service(&self, name: &str, run: &str) -> PathBuf {
        let dir = self.dir(name);
        self.keep(&dir, name, run);
        dir
    }

    /// Gives a service a logger.
    pub(crate) fn logger(&self, name: &str, run: &str) {
        self.keep(&self.dir(name).join("log"), &format!("{name}.log"), run);
    }

    fn keep(&self, dir: &Path, name: &str, run: &str) {
        self.folder(dir);
        let link = dir.join("supervise");
        if !link.is_symlink() {
            symlink(self.inside(Place::Run).join("supervise").join(name), link).unwrap();
        }
        script(&dir.join("run"), run);
        self.own_all(dir);
    }

    /// Puts a service that sleeps there.
    pub(crate) fn sleeper(&self, name: &str) -> PathBuf {
        self.service(name, SLEEPER)
    }

    /// Puts a participant there, whose program `work` is this script.
    pub(crate) fn participant(&self, name: &str, config: &str, work: &str) -> PathBuf {
        let dir = self.service(name, "#!/bin/sh\nexec 2>&1\nexec exo\n");
        fs::write(dir.join("exo.yaml"), format!("command: ./work\n{config}")).unwrap();
        script(&dir.join("work"), work);
        self.own_all(&dir);
        dir
    }

    /// Returns a folder of the owner's own, outside of the instance.
    pub(crate) fn desk(&self) -> PathBuf {
        let desk = self.scratch.join("desk");
        self.folder(&desk);
        desk
    }

    /// Puts files into a folder of the desk; those with a `#!` are programs.
    pub(crate) fn on_desk(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.desk().join(name);
        self.folder(&dir);
        for (file, text) in files {
            let path = dir.join(file);
            self.folder(path.parent().unwrap());
            if text.starts_with("#!") {
                script(&path, text);
            } else {
                fs::write(&path, text).unwrap();
            }
        }
        self.own_all(&dir);
        dir
    }

    /// Makes a folder, and those above it, as the instance's owner does.
    pub(crate) fn folder(&self, path: &Path) {
        if !path.exists() {
            self.folder(path.parent().unwrap());
            fs::DirBuilder::new().mode(0o755).create(path).unwrap();
            if self.kind == Kind::Private {
                own(path);
            }
        }
    }

    /// Gives everything in a folder to the instance's owner.
    pub(crate) fn own_all(&self, path: &Path) {
        if self.kind == Kind::System {
            return;
        }
        own(path);
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).unwrap() {
                self.own_all(&entry.unwrap().path());
            }
        }
    }

    /// Puts an item of the process `wfid` into the drop folder of a queue.
    #[track_caller]
    pub(crate) fn submit(&self, queue: &str, wfid: &str) {
        self.submit_text(queue, &item(queue, wfid));
    }

    /// Changes the store behind the back of all who use it.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) {
        let run =
            "import sqlite3, sys; sqlite3.connect(sys.argv[1], 60).executescript(sys.argv[2])";
        let store = self.inside(Place::Store).join("work.db").display().to_string();
        let output = run_within(SOON, &mut self.command("python3", &["-c", run, &store, sql]));
        assert_eq!(output.code, Some(0), "{output:?}");
    }

    /// Puts this, whatever it is, into the drop folder of a queue.
    #[track_caller]
    pub(crate) fn submit_text(&self, queue: &str, text: &str) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = self.at(Place::Spool).join(queue);
        self.until(|| folder.is_dir());
        let hidden = folder.join(format!(".{name}"));
        fs::write(&hidden, text).unwrap();
        if self.kind == Kind::Private {
            own(&hidden);
        }
        fs::rename(&hidden, folder.join(name)).unwrap();
    }

    /// Returns the pids, as the test knows them, of the instance's processes of this name; of all
    /// where it is empty.
    pub(crate) fn pids(&self, name: &str) -> Vec<i32> {
        let is_named = |pid: &i32| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (name.is_empty() || comm.trim_end() == name) && !is_zombie(*pid)
        };
        self.processes().into_iter().filter(is_named).collect()
    }

    fn processes(&self) -> Vec<i32> {
        let Some(holder) = &self.holder else { return self.scratch.processes() };
        let space = |path: String| fs::read_link(path).ok();
        let own = space(format!("/proc/{}/ns/pid_for_children", holder.id()));
        let first = init_of(holder);
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let is_its = own.is_some() && space(format!("/proc/{pid}/ns/pid")) == own;
            // The first one, and the sleep that it waits for, are the surroundings.
            (is_its && Some(pid) != first && !is_surroundings(pid)).then_some(pid)
        });
        all.collect()
    }

    /// Kills svscan with KILL, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_svscan(&self) {
        let all = self.pids("svscan");
        assert_eq!(all.len(), 1, "{all:?}");
        linux::signal::kill(all[0], 9).unwrap();
        self.until(|| self.pids("svscan").is_empty());
    }

    /// Everything is killed at once, and the run folder is empty then, as after a cut of the power.
    #[track_caller]
    pub(crate) fn lose_power(&self) {
        self.until(|| {
            let left = self.pids("");
            for pid in &left {
                let _ = linux::signal::kill(*pid, 9);
            }
            left.is_empty()
        });
        let run = self.at(Place::Run);
        fs::remove_dir_all(&run).unwrap();
        assert!(!run.exists());
    }

    /// Returns the pid of a service as its status tells; `None` = it is down.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        let said = run_within(SOON, &mut self.command(program("svstat"), &[&self.svc_dir(name)]));
        let out = said.out();
        let pid = out.split("(pid ").nth(1)?.split(')').next()?;
        out.contains(": up ").then(|| pid.parse().unwrap())
    }

    fn svc_dir(&self, name: &str) -> String {
        self.inside(Place::Participants).join(name).display().to_string()
    }

    /// Returns what svscan, and what has no logger, said so far.
    pub(crate) fn own_log(&self) -> String {
        let log = self.at(Place::Logs).join("skynet-log/current");
        String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
    }

    /// Waits until something holds; where it does not, shows svscan's log.
    #[track_caller]
    pub(crate) fn until(&self, condition: impl FnMut() -> bool) {
        let holds = holds_within(Duration::from_secs(SOON), condition);
        assert!(holds, "still not so after {SOON} s; svscan's log:\n{}", self.own_log());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            // Its first process dies with it, and with that one all others.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Returns an item of the process `wfid`.
pub(crate) fn item(queue: &str, wfid: &str) -> String {
    format!(
        "{{\"fei\":{{\"engine_id\":\"e\",\"wfid\":\"{wfid}\",\"subid\":\"s\",\
         \"expid\":\"0_1\"}},\"participant_name\":\"{queue}\",\"fields\":{{}}}}"
    )
}

/// A folder of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Config,
    Participants,
    Service,
    Store,
    Spool,
    Logs,
    Run,
}

impl Place {
    fn private(self) -> &'static str {
        match self {
            Self::Config => "home/.config/skynet",
            Self::Participants => "home/.local/share/skynet/participants",
            Self::Service => "home/.local/state/skynet/service",
            Self::Store => "home/.local/state/skynet",
            Self::Spool => "home/.local/state/skynet/spool",
            Self::Logs => "home/.local/state/skynet/log",
            Self::Run => "run/skynet",
        }
    }

    fn system(self) -> &'static str {
        match self {
            Self::Config => "etc/skynet",
            Self::Participants => "etc/skynet/participants",
            Self::Service => "etc/skynet/service",
            Self::Store => "var/lib/skynet",
            Self::Spool => "var/spool/skynet",
            Self::Logs => "var/log/skynet",
            Self::Run => "run/skynet",
        }
    }
}

fn own(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[track_caller]
fn surroundings(scratch: &Scratch) -> Child {
    let etc = scratch.join("etc");
    fs::create_dir(&etc).unwrap();
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o755)).unwrap();
    let lib = scratch.join("lib");
    fs::create_dir(&lib).unwrap();
    fs::set_permissions(&lib, fs::Permissions::from_mode(0o755)).unwrap();
    let mut holder = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
        .args(["sh", "-c", SURROUNDINGS, "surroundings"])
        .args([&etc, &lib])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("unshare: {why}"));
    let mut line = String::new();
    let mut said = BufReader::new(holder.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(
        line, "ready\n",
        "a system's surroundings cannot be had; tests of systems run as root"
    );
    holder
}

/// Returns the first process of a namespace.
fn init_of(holder: &Child) -> Option<i32> {
    let path = format!("/proc/{0}/task/{0}/children", holder.id());
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// Tells whether a process is the one that the first of a namespace waits for.
fn is_surroundings(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001000000\0")
        && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == Path::new("/"))
}
