//! One exo: keeper, worker, participants.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use sys::linux::{signal, time};
use testkit::wait::holds_within;
use testkit::{Scratch, until};

/// Account of the worker, and of participants where a test says nothing else.
pub(crate) const WORKER: &str = "daemon";
pub(crate) const PARTICIPANT: &str = "nobody";

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns the example.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/keeper");
    assert!(program.exists(), "cargo build -p exo --example keeper");
    program
}

/// How to start one.
pub(crate) struct Plan {
    pub(crate) base: Scratch,
    pub(crate) command: Command,
    settings: Vec<String>,
    pub(crate) wraps: Vec<String>,
}

impl Plan {
    /// Begins with one instance, which is told to have started however soon it ends, in a folder of its
    /// own that everybody can enter.
    pub(crate) fn new() -> Self {
        Self::within(Scratch::new())
    }

    /// Begins with the folders that another one had.
    pub(crate) fn within(base: Scratch) -> Self {
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let settings = vec![
            format!("base={}", base.path().display()),
            format!("worker={WORKER}"),
            format!("user={PARTICIPANT}"),
            format!("directory={}", base.path().display()),
            "mode=persistent".to_owned(),
        ];
        Self { base, command: Command::new(program()), settings, wraps: Vec::new() }
    }

    /// Begins with one of which nothing is heard in the first moment after its start.
    pub(crate) fn per_item() -> Self {
        let mut plan = Self::new();
        plan.settings.retain(|setting| setting != "mode=persistent");
        plan
    }

    /// Sets a key of the example's; the last value counts.
    pub(crate) fn with(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Runs the keeper by these words, such as strace's.
    pub(crate) fn wrapped(mut self, words: &[&str]) -> Self {
        self.wraps = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With one account more, called frozen, which none but the test has: the beginning of its line.
    /// It is the participant's.
    pub(crate) fn with_account(self, line: &str) -> Self {
        let accounts = fs::read_to_string("/etc/passwd").unwrap();
        let own = self.base.join("passwd");
        fs::write(&own, format!("{accounts}{line}::/:/bin/sh\n")).unwrap();
        let script = "mount --bind \"$0\" /etc/passwd && exec \"$@\"";
        let words = ["unshare", "-m", "sh", "-c", script, own.to_str().unwrap()];
        self.wrapped(&words).with("user=frozen")
    }

    /// Where there are no cgroups.
    pub(crate) fn without_cgroups(self) -> Self {
        let script = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
        self.wrapped(&["unshare", "-m", "sh", "-c", script, "sh"])
    }

    /// Starts it with this participant and waits for the worker.
    pub(crate) fn start(self, participant: &[&str]) -> Exo {
        let mut exo = self.start_only(participant);
        exo.meet();
        exo
    }

    pub(crate) fn start_only(mut self, participant: &[&str]) -> Exo {
        if let Some((first, rest)) = self.wraps.split_first() {
            self.command = Command::new(first);
            self.command.args(rest).arg(program());
        }
        self.command.args(&self.settings).arg("--").args(participant);
        let said = self.base.join("said");
        let errors = fs::File::options().create(true).append(true).open(&said).unwrap();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = self.command.spawn().unwrap();
        let (to, lines) = channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Exo { base: self.base, child, input, lines, worker: 0, keeper: 0, fds: Vec::new() }
    }
}

/// One that runs.
pub(crate) struct Exo {
    pub(crate) base: Scratch,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    pub(crate) worker: i32,
    pub(crate) keeper: i32,
    /// Descriptors that the worker was told of.
    pub(crate) fds: Vec<i32>,
}

impl Exo {
    #[track_caller]
    fn meet(&mut self) {
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "worker", "{line}");
        let number = |i: usize| words[i].parse::<i32>().unwrap();
        (self.worker, self.keeper) = (number(1), number(2));
        self.fds = [number(4), number(5)].into_iter().filter(|fd| *fd >= 0).collect();
    }

    /// Returns the next line of the worker.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no line; said: {}", self.said()))
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Starts instance `i` and returns its pid.
    #[track_caller]
    pub(crate) fn start(&mut self, instance: u16, serial: u32) -> i32 {
        self.tell(&format!("start {instance} {serial}"));
        let line = self.line();
        let head = format!("Started {{ instance: {instance}, serial: {serial}, pid: ");
        let pid = line.strip_prefix(&head).unwrap_or_else(|| panic!("{line}"));
        pid.trim_end_matches(" }").parse().unwrap()
    }

    /// Waits for the end of an instance of a [`Plan::per_item`]; returns how, and whether its start was
    /// told.
    #[track_caller]
    pub(crate) fn ended_soon(&self, instance: u16, serial: u32) -> (String, bool) {
        let line = self.line();
        let was_told = line.starts_with("Started");
        let line = if was_told { self.line() } else { line };
        (end(&line, instance, serial).0, was_told)
    }

    /// Waits for the end of an instance; returns how, and processor time and memory.
    #[track_caller]
    pub(crate) fn ended(&self, instance: u16, serial: u32) -> (String, u64, u64) {
        end(&self.line(), instance, serial)
    }

    /// Returns what an instance has written so far.
    pub(crate) fn out(&self, instance: u16) -> String {
        let bytes = fs::read(self.base.join(&format!("store/out.{instance}"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns what exo has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.base.join("said")).unwrap_or_default()
    }

    /// Waits for the keeper's end and returns its exit code.
    #[track_caller]
    pub(crate) fn code(&mut self) -> Option<i32> {
        let mut status = None;
        let ended = holds_within(LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "does not end; said: {}", self.said());
        status.and_then(|status| status.code())
    }

    /// Ends it in order.
    #[track_caller]
    pub(crate) fn end(self) {
        self.end_and(|| ());
    }

    /// Ends it in order and looks at what is left.
    #[track_caller]
    pub(crate) fn end_and(mut self, look: impl FnOnce()) {
        signal::kill(self.keeper, 15).unwrap();
        assert_eq!(self.line(), "Shutdown");
        self.tell("exit 0");
        assert_eq!(self.code(), Some(0), "{}", self.said());
        look();
    }
}

impl Drop for Exo {
    fn drop(&mut self) {
        // The worker ends at the end of its input, and the rest with it.
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in [self.worker, self.keeper].into_iter().filter(|pid| is_keepers(*pid)) {
            let _ = signal::kill(pid, 9);
        }
        // Whoever stands in the folder is killed with it, and so are those whom a test lets stand
        // elsewhere: by then the keeper has ended them.
        if self.worker > 0 {
            until(30, || !is_alive(self.worker));
        }
        // Of a keeper that was killed.
        if let Some(folder) = cgroup(&self.base) {
            let _ = fs::write(folder.join("cgroup.kill"), "1");
            let inner = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
            for folder in inner.filter(|path| path.is_dir()).chain([folder.clone()]) {
                let _ = holds_within(LIMIT, || fs::remove_dir(&folder).is_ok());
            }
        }
    }
}

/// Reads the end of an instance.
#[track_caller]
fn end(line: &str, instance: u16, serial: u32) -> (String, u64, u64) {
    let head = format!("Ended {{ instance: {instance}, serial: {serial}, how: ");
    let rest = line.strip_prefix(&head).unwrap_or_else(|| panic!("{line}"));
    let (how, rest) = rest.split_once(", cpu_us: ").unwrap();
    let (cpu, rest) = rest.trim_end_matches(" }").split_once(", peak_kib: ").unwrap();
    let (peak, at) = rest.split_once(", at: ").unwrap();
    let (at, now) = (at.parse::<u64>().unwrap(), time::monotonic());
    assert!(at <= now && at.saturating_add(60_000_000_000) > now, "{line} {now}");
    (how.to_owned(), cpu.parse().unwrap(), peak.parse().unwrap())
}

fn is_keepers(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pid > 0 && name.starts_with("exo-")
}

pub(crate) fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists() && !testkit::scratch::is_zombie(pid)
}

/// Returns the lines of /proc/PID/status by their names.
pub(crate) fn status(pid: i32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().replace('\t', " "))).collect()
}

/// Returns the open descriptors of a process.
pub(crate) fn open_fds(pid: i32) -> Vec<i32> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut all: Vec<i32> =
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    all
}

/// Returns the folder of the cgroups of an exo whose folders these are.
pub(crate) fn cgroup(base: &Scratch) -> Option<PathBuf> {
    let store = fs::metadata(base.join("store")).ok()?;
    let name = format!("exo.echo.{:x}-{:x}", store.dev(), store.ino());
    Some(testkit::cgroups::own()?.join(name)).filter(|folder| folder.exists())
}
