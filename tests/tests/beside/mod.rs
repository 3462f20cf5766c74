//! The original beside ours: what a case shows with each, held against the intended differences.

// Each test file uses its own part of this.
#![allow(dead_code)]

use ondisk::status::{Status, Want};
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use testkit::scratch::is_supervised;
use testkit::{Scratch, Suite, run, until};

/// Seconds that anything may take on a busy machine.
pub(crate) const PATIENCE: u64 = 60;

/// An intended difference.
pub(crate) struct Difference {
    /// The case, as the test calls it.
    pub(crate) case: &'static str,
    /// What it shows with the original.
    pub(crate) original: &'static str,
    /// What it shows with ours.
    pub(crate) ours: &'static str,
    /// The topic in crates/daemontools/README.md that decides it.
    pub(crate) row: &'static str,
    /// Why.
    pub(crate) why: &'static str,
}

/// Returns a line of a table; what is shown: the original's first, then ours.
pub(crate) const fn difference(
    case: &'static str,
    (original, ours): (&'static str, &'static str),
    row: &'static str,
    why: &'static str,
) -> Difference {
    Difference { case, original, ours, row, why }
}

/// Shows a case with both and holds it against the table: what is not listed must be the same,
/// what is listed must be exactly so.
#[track_caller]
pub(crate) fn compare(table: &[Difference], case: &str, show: impl Fn(Suite) -> String + Sync) {
    if let Some(complaint) = judge(table, case, show) {
        panic!("{complaint}");
    }
}

/// Does the same for many cases, each with its own detail, a few at a time.
#[track_caller]
pub(crate) fn compare_each<T: Sync>(
    table: &[Difference],
    cases: &[(&str, T)],
    show: impl Fn(Suite, &T) -> String + Sync,
) {
    const LANES: usize = 4;
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (complaints, show) = (&complaints, &show);
            scope.spawn(move || {
                for (case, detail) in cases.iter().skip(lane).step_by(LANES) {
                    let complaint = judge(table, case, |suite| show(suite, detail));
                    complaints.lock().expect("no panic here").extend(complaint);
                }
            });
        }
    });
    let complaints = complaints.into_inner().expect("no panic here");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn judge(
    table: &[Difference],
    case: &str,
    show: impl Fn(Suite) -> String + Sync,
) -> Option<String> {
    let [original, ours] = std::thread::scope(|scope| {
        let both = [Suite::Original, Suite::Ours].map(|suite| {
            let show = &show;
            scope.spawn(move || show(suite))
        });
        // What failed was said by the thread.
        both.map(|one| one.join().unwrap_or_else(|_| "no answer: it failed".to_owned()))
    });
    let known = table.iter().find(|difference| difference.case == case);
    let wanted = known.map_or((&*original, &*original), |known| (known.original, known.ours));
    let answered = !original.starts_with("no answer") && !ours.starts_with("no answer");
    (wanted != (&original, &ours) || !answered).then(|| {
        let reason = known.map_or("no difference is known", |known| known.why);
        format!("{case}:\n  the original's: {original:?}\n  ours:           {ours:?}\n  ({reason})")
    })
}

/// Checks the table itself: each difference has a reason, a case in `source`, and a topic.
pub(crate) fn check(table: &[Difference], source: &str) {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/daemontools/README.md");
    let decisions = fs::read_to_string(readme).expect("the table of decisions");
    for Difference { case, original, ours, row, why } in table {
        assert!(!why.is_empty(), "{case} has no reason");
        assert_ne!(original, ours, "{case} is no difference");
        // Once here, once where it is tried.
        let often = source.matches(&format!("\"{case}\"")).count();
        assert!(often > 1, "{case} is no case of the test");
        assert!(decisions.contains(&format!("\n| {row} |")), "{case}: no topic is called {row}");
    }
}

/// Runs a shell line that a case needs.
#[track_caller]
pub(crate) fn sh(dir: &Path, line: &str) -> String {
    let said = run(Command::new("sh").args(["-c", line]).current_dir(dir));
    assert_eq!(said.code, Some(0), "{line}: {said:?}");
    said.out()
}

/// A supervise on the service directory `sv` of a scratch folder.
pub(crate) struct Kept {
    pub(crate) scratch: Scratch,
    pub(crate) suite: Suite,
    child: Mutex<Child>,
}

impl Kept {
    /// Makes a folder with a service directory that sleeps.
    pub(crate) fn prepare() -> Scratch {
        let scratch = Scratch::new();
        let _ = scratch.service("sv", testkit::scratch::SLEEPER);
        scratch
    }

    /// Starts supervise behind a shell line that gives it its surroundings.
    pub(crate) fn start(suite: Suite, scratch: Scratch, before: &str, args: &[&str]) -> Self {
        let child = launch(&scratch, "supervise", suite, before, args);
        Self { scratch, suite, child: Mutex::new(child) }
    }

    /// Starts it on `sv` and waits until it can be asked.
    #[track_caller]
    pub(crate) fn ready(suite: Suite, scratch: Scratch, before: &str) -> Self {
        let kept = Self::start(suite, scratch, before, &["sv"]);
        until(PATIENCE, || kept.is_ready());
        kept
    }

    pub(crate) fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("nobody fails while holding it")
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.scratch.join("sv")
    }

    pub(crate) fn is_ready(&self) -> bool {
        is_supervised(&self.dir()) && self.status().is_some()
    }

    pub(crate) fn status(&self) -> Option<Status> {
        Status::from_bytes(&fs::read(self.dir().join("supervise/status")).ok()?)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.status().map(|status| status.pid).filter(|pid| *pid != 0)
    }

    /// Waits until the service runs and returns its pid.
    #[track_caller]
    pub(crate) fn up(&self) -> u32 {
        until(PATIENCE, || self.pid().is_some());
        self.pid().expect("a pid")
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.scratch.join(name)).unwrap_or_default()
    }

    /// Lines of a file of the service directory.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.read(&format!("sv/{name}")).lines().map(str::to_owned).collect()
    }

    #[track_caller]
    pub(crate) fn svc(&self, letters: &str) {
        let svc = self.suite.program("svc");
        let said = run(Command::new(svc).args([letters, "sv"]).current_dir(self.scratch.path()));
        assert_eq!((said.code, said.err()), (Some(0), String::new()), "svc {letters}");
    }

    /// Tells how supervise ended, if it has.
    pub(crate) fn ended(&self) -> Option<String> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child().try_wait().expect("wait")?;
        Some(match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        })
    }

    /// Waits for supervise's end.
    #[track_caller]
    pub(crate) fn end(&self) -> String {
        until(PATIENCE, || self.ended().is_some());
        self.ended().expect("an end")
    }

    /// Waits until it runs or has ended; tells which, and what it said.
    #[track_caller]
    pub(crate) fn verdict(&self) -> String {
        let is_up = || self.pid().is_some_and(lives);
        let is_down = || {
            fs::metadata(self.dir().join("down")).is_ok()
                && self.status().is_some_and(|status| status.want == Want::Down)
        };
        until(PATIENCE, || self.ended().is_some() || is_up() || is_down());
        match self.ended() {
            Some(end) => format!("{end}: {}", self.read("messages")),
            None => "runs".to_owned(),
        }
    }
}

/// Starts a program of a suite in the scratch folder with an environment of its own, what it says
/// in `messages`. The shell line `before` gives it its surroundings.
pub(crate) fn launch(
    scratch: &Scratch,
    program: &str,
    suite: Suite,
    before: &str,
    args: &[&str],
) -> Child {
    let open = |name: &str| {
        let file = fs::File::options().create(true).append(true).open(scratch.join(name));
        Stdio::from(file.expect("open"))
    };
    let bin = suite.program(program);
    let path = format!("{}:/usr/bin:/bin", bin.parent().expect("a folder").display());
    Command::new("/bin/sh")
        .args(["-c", &format!("{before}\nexec \"$0\" \"$@\"")])
        .arg(&bin)
        .args(args)
        .env_clear()
        .envs([("PATH", path.as_str()), ("MARK", "as given")])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(open("output"))
        .stderr(open("messages"))
        .spawn()
        .expect("a shell")
}

/// Lists a folder: name, kind, mode and size of each file.
pub(crate) fn listing(folder: &Path) -> String {
    let Ok(entries) = fs::read_dir(folder) else { return "no folder".to_owned() };
    let mut lines: Vec<String> = entries
        .map(|entry| {
            let entry = entry.expect("entry");
            let meta = entry.metadata().expect("metadata");
            let kind = if meta.file_type().is_fifo() {
                "fifo"
            } else if meta.is_dir() {
                "folder"
            } else {
                "file"
            };
            let size = if meta.is_file() { meta.len() } else { 0 };
            let mode = meta.permissions().mode() & 0o7777;
            format!("{} {kind} {mode:o} {size}", entry.file_name().to_string_lossy())
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// The distinct lines of a text, in the order of their first.
pub(crate) fn distinct(text: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for line in text.lines() {
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    seen.join("\n")
}

/// Tells whether a process is there, and not only its remains.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The kernel's letter for what a process does.
pub(crate) fn state(pid: u32) -> Option<char> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit(')').next()?.trim_start().chars().next()
}
