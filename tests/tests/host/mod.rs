//! A scratch instance of exo: configuration, service directory, store, drop folders and control
//! socket of its own; items in, outcomes out.
//!
//! As root the worker is `daemon` and the participant `nobody`: accounts that every Debian has.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::panic)]

use machine::work::State;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::scratch::script;
use testkit::wait::holds_within;
use testkit::{Scratch, program, until};
use work::read::{Attempt, Dead, Job};
use work::{Place, Reader};

/// Seconds in which whatever is to happen has happened on a busy machine.
pub(crate) const SOON: u64 = 30;

/// Settings under which nothing takes longer than a test needs; a test's own come behind, and a key
/// must not come twice.
pub(crate) const QUICK: &str = "retry: {first: 20ms, longest: 50ms}\n";

/// Begins a persistent participant in Perl: it has said hello, `hear()` returns what it is told next,
/// or ends it with exo, and `$s` is where it says something.
pub(crate) const TALKS: &str = r#"#!/usr/bin/perl
open(my $s, "+<&=3") or die; my $in = ""; $| = 1;
sub hear {
    my $end;
    while (($end = index $in, "\n") < 0) { sysread($s, $in, 65536, length $in) or exit 0 }
    return substr $in, 0, $end + 1, "";
}
hear(); syswrite($s, "{\"type\":\"hello\",\"protocol\":1}\n");
"#;

/// Behind [`TALKS`]: does every item at once or a little later, unless a cancel comes before.
pub(crate) const RACES_CANCELS: &str = r#"while (1) {
    my $line = hear();
    exit 0 if $line =~ /"type":"shutdown"/;
    next unless $line =~ /"type":"work","id":(\d+)/;
    my ($id, $heard) = ($1, "");
    vec($heard, 3, 1) = 1;
    my $is_cancelled = rand() < 0.7 && select($heard, undef, undef, rand(0.002));
    my $type = $is_cancelled ? "cancelled" : "result";
    syswrite($s, "{\"type\":\"$type\",\"id\":$id}\n");
}
"#;

/// The same in Python: `work()` yields what it is told of each item, until exo ends it, and `host` is
/// where it says something.
pub(crate) const TALKS_PYTHON: &str = r#"#!/usr/bin/env python3
import json, socket
host = socket.socket(fileno=3)
host.sendall(b'{"type":"hello","protocol":1}\n')
def work():
    for line in host.makefile("rb"):
        said = json.loads(line)
        if said["type"] == "shutdown":
            break
        if said["type"] == "work":
            yield said
"#;

/// A site with one service directory, `p`, which is also the name of participant and queue.
pub(crate) struct Site {
    scratch: Scratch,
}

impl Site {
    /// Makes a site whose `exo.yaml` is this, behind [`QUICK`].
    #[track_caller]
    pub(crate) fn new(own: &str) -> Self {
        let scratch = Scratch::new();
        for folder in ["etc", "p"] {
            fs::create_dir(scratch.join(folder)).unwrap();
        }
        let site = Self { scratch };
        let at = |name: &str| site.join(name).display().to_string();
        let text = format!(
            "worker-user: daemon\nstore: {}\nspool: {}\nrun: {}\nsafety: kill\n\
             participants:\n  user: nobody\n",
            at("store"),
            at("spool"),
            at("run"),
        );
        fs::write(site.join("etc/skynet.yaml"), text).unwrap();
        fs::write(site.join("p/exo.yaml"), format!("{QUICK}{own}")).unwrap();
        site
    }

    /// A site whose participant is one process for each item, the script `work`.
    #[track_caller]
    pub(crate) fn per_item(work: &str, more: &str) -> Self {
        let site = Self::new(&format!("command: ./work\n{more}"));
        site.script("work", work);
        site
    }

    /// A site whose participant is persistent; `work` follows [`WORDS`] in its script.
    #[track_caller]
    pub(crate) fn persistent(work: &str, more: &str) -> Self {
        let text = "mode: persistent\nrestart: {first: 20ms, longest: 50ms}\n";
        Self::per_item(&format!("{WORDS}{work}"), &format!("{text}{more}"))
    }

    /// A site whose participant is persistent, this program with its arguments.
    #[track_caller]
    pub(crate) fn persistent_program(command: &[&str], more: &str) -> Self {
        let text = "mode: persistent\nrestart: {first: 20ms, longest: 50ms}\n";
        Self::new(&format!("command: [{}]\n{text}{more}", command.join(", ")))
    }

    /// Returns a path below the site's folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Writes a program into the service directory.
    pub(crate) fn script(&self, name: &str, text: &str) {
        script(&self.join("p").join(name), text);
    }

    /// Makes a folder in which participants may write.
    pub(crate) fn open_folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// Returns the command `exo`, in the service directory.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("exo"));
        command.args(words);
        self.prepare(&mut command);
        command
    }

    /// Makes a command run as exo would be: in the service directory, with our configuration.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.current_dir(self.join("p")).env("SKYNET_CONFIG", self.join("etc"));
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    }

    /// Starts exo, its lines and messages in `log`, and waits until it answers.
    #[track_caller]
    pub(crate) fn exo(&self) -> Exo {
        let exo = self.spawn(&mut self.command(&[]));
        self.until(|| self.status().is_some());
        exo
    }

    /// Starts a command that is exo; its lines and messages are added to `log`.
    #[track_caller]
    pub(crate) fn spawn(&self, command: &mut Command) -> Exo {
        let mut options = File::options();
        let log = options.create(true).append(true).mode(0o666).open(self.join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Exo(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Returns what exo and its participants have said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.join("log")).unwrap_or_default()).into_owned()
    }

    /// Puts a file into the drop folder of a queue as any submitter does: written under a name that
    /// begins with a dot, then renamed.
    #[track_caller]
    pub(crate) fn drop_into(&self, queue: &str, bytes: &[u8]) {
        self.drop_of(fs::metadata("/proc/self").unwrap().uid(), queue, bytes);
    }

    /// As [`Self::drop_into`], a file of another user where we may make one.
    #[track_caller]
    pub(crate) fn drop_of(&self, owner: u32, queue: &str, bytes: &[u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = self.join("spool").join(queue);
        until(SOON, || folder.is_dir());
        let hidden = folder.join(format!(".{name}"));
        fs::write(&hidden, bytes).unwrap();
        if fs::metadata(&hidden).unwrap().uid() == 0 {
            chown(&hidden, Some(owner), None).unwrap();
        }
        fs::rename(&hidden, folder.join(name)).unwrap();
    }

    /// Submits an item of the process `wfid` with these `fields`.
    #[track_caller]
    pub(crate) fn submit(&self, wfid: &str, fields: &str) {
        self.drop_into("p", item(wfid, fields).as_bytes());
    }

    /// Opens the store for reading; it must be there.
    #[track_caller]
    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&Place::new(self.join("store"))).unwrap()
    }

    /// Returns the oldest job of a process in queue `p`.
    pub(crate) fn job(&self, wfid: &str) -> Option<Job> {
        let reader = Reader::open(&Place::new(self.join("store"))).ok()?;
        reader.jobs_of(wfid).unwrap().into_iter().find(|job| job.queue == "p")
    }

    /// Returns the attempts at the job of a process.
    #[track_caller]
    pub(crate) fn attempts(&self, wfid: &str) -> Vec<Attempt> {
        let job = self.job(wfid).unwrap_or_else(|| panic!("there is no job of {wfid}"));
        self.reader().attempts(job.id).unwrap()
    }

    /// Waits until the job of a process has stopped and returns it with its attempts.
    #[track_caller]
    pub(crate) fn stopped(&self, wfid: &str) -> (Job, Vec<Attempt>) {
        self.until(|| self.job(wfid).is_some_and(|job| job.subject.state == State::Stop));
        (self.job(wfid).unwrap(), self.attempts(wfid))
    }

    /// Submits an item and waits until it has stopped; returns its only attempt.
    #[track_caller]
    pub(crate) fn work(&self, wfid: &str, fields: &str) -> Attempt {
        self.submit(wfid, fields);
        let (_, mut attempts) = self.stopped(wfid);
        assert_eq!(attempts.len(), 1, "{attempts:?}; {}", self.log());
        attempts.remove(0)
    }

    /// Waits until a process's job is worked on.
    #[track_caller]
    pub(crate) fn running(&self, wfid: &str) {
        self.until(|| self.job(wfid).is_some_and(|job| job.subject.state == State::Run));
    }

    /// Returns the dead items, newest first.
    #[track_caller]
    pub(crate) fn dead(&self) -> Vec<Dead> {
        self.reader().dead(1000).unwrap()
    }

    /// Waits until something holds; where it does not, shows the log.
    #[track_caller]
    pub(crate) fn until(&self, condition: impl FnMut() -> bool) {
        let holds = holds_within(Duration::from_secs(SOON), condition);
        assert!(holds, "still not so after {SOON} s; the log:\n{}", tail(&self.log()));
    }

    /// The same, four times as long.
    #[track_caller]
    pub(crate) fn until_long(&self, condition: impl FnMut() -> bool) {
        let holds = holds_within(Duration::from_secs(4 * SOON), condition);
        assert!(holds, "still not so after {} s; the log:\n{}", 4 * SOON, tail(&self.log()));
    }

    /// Returns the path of the control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.join("run/p.sock")
    }

    /// Asks by the control socket; `None` = nobody answers.
    pub(crate) fn try_ask(&self, question: &Value) -> Option<Value> {
        let mut socket = UnixStream::connect(self.socket()).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(SOON))).ok()?;
        socket.write_all(format!("{question}\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Asks by the control socket.
    #[track_caller]
    pub(crate) fn ask(&self, question: &Value) -> Value {
        let answer = self.try_ask(question);
        answer.unwrap_or_else(|| panic!("no answer; the log:\n{}", tail(&self.log())))
    }

    /// Returns how exo stands; `None` = it does not run.
    pub(crate) fn status(&self) -> Option<Value> {
        self.try_ask(&json!({ "command": "status" })).map(|answer| answer["status"].clone())
    }

    /// Returns how the first instance stands.
    #[track_caller]
    pub(crate) fn instance(&self) -> Value {
        self.ask(&json!({ "command": "status" }))["status"]["instances"][0].clone()
    }

    /// Asks so many times; all are answered as promised.
    #[track_caller]
    pub(crate) fn answers_soon(&self, asked: &Value, times: usize) {
        let took = |_| {
            let begun = Instant::now();
            self.ask(asked);
            begun.elapsed()
        };
        let median = median(&mut (0..times).map(took).collect::<Vec<_>>());
        assert!(median < PROMISED, "{asked}: answered after {median:?}");
    }
}

/// Returns the end of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(60);
    lines[from..].iter().map(|line| line.chars().take(400).collect::<String>() + "\n").collect()
}

/// Returns an item of the process `wfid`.
pub(crate) fn item(wfid: &str, fields: &str) -> String {
    format!(
        "{{\"fei\":{{\"engine_id\":\"e\",\"wfid\":\"{wfid}\",\"subid\":\"s\",\"expid\":\"0_1\"}},\
         \"participant_name\":\"p\",\"fields\":{fields}}}"
    )
}

/// A running exo; killed with all that it started, where it still runs, when this is dropped.
pub(crate) struct Exo(Child);

impl Exo {
    /// Takes care of one that the caller started.
    pub(crate) const fn new(child: Child) -> Self {
        Self(child)
    }

    /// Returns the keeper's pid.
    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Returns the worker's pid.
    #[track_caller]
    pub(crate) fn worker(&self) -> i32 {
        // It has its name a moment after it is there.
        let its = || children(self.pid()).into_iter().find(|pid| name_of(*pid) == "exo-worker");
        until(SOON, || its().is_some());
        its().expect("a worker")
    }

    /// Returns the pids of the participants' processes that the keeper started, but for those that are
    /// yet to begin.
    pub(crate) fn participants(&self) -> Vec<i32> {
        let is_ours = |pid: &i32| ["exo-worker", "exo-next"].contains(&&*name_of(*pid));
        children(self.pid()).into_iter().filter(|pid| !is_ours(pid)).collect()
    }

    #[track_caller]
    pub(crate) fn signal(&self, number: i32) {
        linux::signal::kill(self.pid(), number).unwrap();
    }

    /// Kills the keeper and waits until it and the worker are gone.
    pub(crate) fn kill9(mut self) {
        let all = children(self.pid());
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        until(SOON, || all.iter().all(|pid| !testkit::svscan::is_alive(*pid)));
    }

    /// Tells exo to end and waits until it has.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        self.signal(15);
        self.ended()
    }

    /// Waits until exo has ended.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until(2 * SOON, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Tells whether exo runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Exo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Returns the name of a process.
pub(crate) fn name_of(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// Returns the memory that is a process's own, in KiB; 0 = it is gone. Its program is not: whether
/// another process runs the same one is chance.
pub(crate) fn private_kib(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("Private_Dirty:"));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// Whoever asks or tells exo by its control socket is answered within this time, however busy it is. A
/// machine that is busy with other things may stand still for longer: the median counts.
pub(crate) const PROMISED: Duration = Duration::from_secs(1);

/// Sorts, and returns the one in the middle.
pub(crate) fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

/// Returns a file's lines; none where there is no file.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The beginning of a persistent participant in shell: `hear` waits for a message and sets `line`,
/// `type` and `id` from it, `say` says one, and the hello is said.
pub(crate) const WORDS: &str = r#"#!/bin/sh
hear() {
    IFS= read -r line <&3 || return 1
    type=${line#*\"type\":\"}
    type=${type%%\"*}
    id=${line#*\"id\":}
    id=${id%%[,\}]*}
}
say() { printf '%s\n' "$1" >&3; }
hear
say '{"type":"hello","protocol":1}'
"#;

/// What follows [`WORDS`] in a participant that does every item and says so.
pub(crate) const ECHO: &str = r#"
while hear; do
    case $type in
    work) say "{\"type\":\"result\",\"id\":$id}" ;;
    shutdown) exit 0 ;;
    esac
done
"#;

/// A participant for one item each that does it and says nothing.
pub(crate) const DONE: &str = "#!/bin/sh\nexit 0\n";
