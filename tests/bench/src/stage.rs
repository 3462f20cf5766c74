//! A folder of services with a suite that looks after them, for the length of one measurement.

use crate::namespace;
use crate::peer::Peer;
use crate::queue::rabbit::Broker;
use crate::stamps::{Stamp, Stamps};
use crate::trouble::{Result, Trouble, Unable};
use linux::time::{SECOND, monotonic};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

/// After so long without a new start none is expected any more; scanners look every 5 seconds.
const STALL: u64 = 8 * SECOND;

/// Longer than any suite spaces the starts of a service.
const SPACING: u64 = 1_200 * 1_000_000;

/// What all measurements of a run have in common.
pub(crate) struct Lab {
    /// The tmpfs.
    pub(crate) root: PathBuf,
    /// How many services are many.
    pub(crate) services: usize,
    /// For how many seconds idle suites are watched.
    pub(crate) idle_seconds: u64,
    /// Whether the growth row goes on to 10,000 services.
    pub(crate) huge: bool,
    /// The number of the round, from 0.
    pub(crate) round: usize,
    /// The folder of what was built for the run, on a disk as a rule.
    pub(crate) built: PathBuf,
    /// The RabbitMQ of the run, where its rows need one.
    pub(crate) broker: Option<Broker>,
}

impl Lab {
    /// Copies the tiny programs to the tmpfs, so that no disk has a part in anything.
    pub(crate) fn set_up(&self, tiny: &Path) -> Result<()> {
        for name in ["stamp", "next", "lines"] {
            let from = tiny.join(name);
            fs::copy(&from, self.tiny(name))
                .unable(|| format!("copy {} (tests/bench/prepare makes it)", from.display()))?;
        }
        Ok(())
    }

    /// Returns the path of a tiny program.
    pub(crate) fn tiny(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns how many services stand for each single one of many.
    pub(crate) fn sample(&self) -> usize {
        self.services.min(100)
    }
}

/// One measurement's services. Dropped, everything of it is ended and removed.
pub(crate) struct Stage<'a> {
    lab: &'a Lab,
    peer: &'a Peer,
    /// The service directories.
    pub(crate) dirs: Vec<PathBuf>,
    stamps: Stamps,
    scanner: Option<Child>,
}

impl<'a> Stage<'a> {
    /// Prepares `services` services, each with a logger where `logged`; nothing runs yet.
    /// `None` where the suite does not know how.
    pub(crate) fn prepare(
        lab: &'a Lab,
        peer: &'a Peer,
        services: usize,
        logged: bool,
    ) -> Result<Option<Self>> {
        let script = if logged { peer.logger_script() } else { None };
        if logged && script.is_none() {
            return Ok(None);
        }
        let stamps = Stamps::create(&lab.root.join("stamps"))?;
        let mut stage = Self { lab, peer, dirs: Vec::new(), stamps, scanner: None };
        for name in ["services", "store"] {
            let folder = lab.root.join(name);
            fs::create_dir(&folder).unable(|| format!("make {}", folder.display()))?;
            stage.give_away(&folder)?;
        }
        stage.give_away(&lab.root.join("stamps"))?;
        for i in 0..services {
            let dir = stage.folder().join(format!("{i:05}"));
            stage.make_service(&dir, script.as_deref())?;
            stage.dirs.push(dir);
        }
        stage.age()?;
        Ok(Some(stage))
    }

    /// Makes the scanned folder look old: runsvdir waits with one that was changed this second.
    fn age(&self) -> Result<()> {
        let folder = self.folder();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(&folder)
            .and_then(|open| open.set_modified(hour_ago))
            .unable(|| format!("set the time of {}", folder.display()))
    }

    /// Prepares and starts services, and waits until all run and may be restarted at once.
    pub(crate) fn steady(
        lab: &'a Lab,
        peer: &'a Peer,
        services: usize,
        logged: bool,
    ) -> Result<Option<Self>> {
        let Some(mut stage) = Self::prepare(lab, peer, services, logged)? else { return Ok(None) };
        if stage.start()?.is_none() {
            return Ok(None);
        }
        stage.wait_for_starts(services)?;
        if logged {
            stage.wait_for_loggers()?;
        }
        rest();
        Ok(Some(stage))
    }

    /// Returns the directories of the loggers.
    pub(crate) fn loggers(&self) -> impl Iterator<Item = PathBuf> {
        self.dirs.iter().map(|dir| dir.join("log")).filter(|log| log.is_dir())
    }

    /// Returns the folder that is scanned.
    pub(crate) fn folder(&self) -> PathBuf {
        self.lab.root.join("services")
    }

    /// Makes a service directory that nobody scans.
    pub(crate) fn spare(&self, name: &str) -> Result<PathBuf> {
        let dir = self.lab.root.join("store").join(name);
        self.make_service(&dir, None)?;
        Ok(dir)
    }

    fn make_service(&self, dir: &Path, logger: Option<&str>) -> Result<()> {
        let run = dir.join("run");
        fs::create_dir(dir).unable(|| format!("make {}", dir.display()))?;
        // One file for all: its pages are in memory once, as those of a real program are.
        fs::hard_link(self.lab.tiny("stamp"), &run).unable(|| format!("link {}", run.display()))?;
        self.give_away(dir)?;
        let Some(script) = logger else { return Ok(()) };
        let main = dir.join("log/main");
        fs::create_dir_all(&main).unable(|| format!("make {}", main.display()))?;
        self.give_away(&dir.join("log"))?;
        self.give_away(&main)?;
        let run = dir.join("log/run");
        fs::write(&run, script).unable(|| format!("write {}", run.display()))?;
        fs::set_permissions(&run, Permissions::from_mode(0o755))
            .unable(|| format!("make {} a program", run.display()))
    }

    /// Makes something theirs whose services these are.
    fn give_away(&self, path: &Path) -> Result<()> {
        let user = self.peer.user;
        chown(path, user, user).unable(|| format!("change the owner of {}", path.display()))
    }

    /// Starts the suite; returns when. `None` where it has no scanner.
    pub(crate) fn start(&mut self) -> Result<Option<u64>> {
        let Some(command) = self.peer.scan(&self.folder(), self.dirs.len()) else {
            return Ok(None);
        };
        let begun = monotonic();
        self.scanner = Some(self.spawn(command)?);
        Ok(Some(begun))
    }

    /// Starts a command whose complaints are kept with those of the suite.
    pub(crate) fn spawn(&self, mut command: Command) -> Result<Child> {
        let path = self.lab.root.join("complaints");
        let complaints = File::options().append(true).create(true).open(&path);
        command.stderr(complaints.unable(|| format!("open {}", path.display()))?);
        command.spawn().unable(|| format!("run {}", command.get_program().display()))
    }

    /// Runs a command to its end; an exit code of trouble is one.
    pub(crate) fn run(&self, command: Command) -> Result<()> {
        let name = command.get_program().display().to_string();
        let status = self.spawn(command)?.wait().unable(|| format!("wait for {name}"))?;
        if status.success() {
            return Ok(());
        }
        Err(Trouble::new(format!("{name}: {status}{}", self.complaints())))
    }

    /// Returns the last complaint of the suite and its tools, in a form to append.
    pub(crate) fn complaints(&self) -> String {
        let text = fs::read_to_string(self.lab.root.join("complaints")).unwrap_or_default();
        text.lines().last().map(|line| format!(" ({line})")).unwrap_or_default()
    }

    /// Returns the pid of the scanner.
    pub(crate) fn scanner(&self) -> Option<i32> {
        self.scanner.as_ref().map(|child| child.id() as i32)
    }

    /// Returns how many starts there were.
    pub(crate) fn starts(&self) -> Result<usize> {
        self.stamps.count()
    }

    /// Returns the starts from number `first` on.
    pub(crate) fn starts_from(&self, first: usize) -> Result<Vec<Stamp>> {
        self.stamps.from(first)
    }

    /// Waits for start number `count`; returns when the last of them was.
    pub(crate) fn wait_for_starts(&self, count: usize) -> Result<u64> {
        let last = self.wait_for_starts_if_any(count)?;
        let seen = self.starts()?;
        let text = || format!("{seen} of {count} starts, then none{}", self.complaints());
        last.ok_or_else(|| Trouble::new(text()))
    }

    /// The same; `None` where no more starts come.
    pub(crate) fn wait_for_starts_if_any(&self, count: usize) -> Result<Option<u64>> {
        let mut seen = 0;
        let mut changed = monotonic();
        while seen < count {
            let now = self.stamps.count()?;
            if now > seen {
                (seen, changed) = (now, monotonic());
            } else if monotonic() - changed > STALL {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(self.starts_from(0)?.iter().map(|stamp| stamp.at).max())
    }

    /// Waits until every logger has begun its log; returns when that was seen.
    pub(crate) fn wait_for_loggers(&self) -> Result<u64> {
        let mut changed = monotonic();
        for dir in &self.dirs {
            let current = dir.join("log/main/current");
            while !current.exists() {
                if monotonic() - changed > STALL {
                    let complaints = self.complaints();
                    let text = format!("no logger for {}{complaints}", dir.display());
                    return Err(Trouble::new(text));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            changed = monotonic();
        }
        Ok(monotonic())
    }

    /// Returns the process that runs in `dir` now.
    pub(crate) fn pid(&self, dir: &Path) -> Result<i32> {
        let inode = fs::metadata(dir).unable(|| format!("stat {}", dir.display()))?.ino();
        let stamps = self.stamps.from(0)?;
        let last = stamps.iter().rev().find(|stamp| stamp.directory == inode);
        let never = || Trouble::new(format!("{} has never been started", dir.display()));
        last.map(|stamp| stamp.pid).ok_or_else(never)
    }
}

/// Lets every running service become old enough to be restarted at once. A length of the work
/// itself, not a wait for something to happen.
pub(crate) fn rest() {
    std::thread::sleep(Duration::from_nanos(SPACING));
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Err(trouble) = namespace::kill_all() {
            eprintln!("bench: warning: {trouble}");
        }
        for name in ["services", "store"] {
            let _ = fs::remove_dir_all(self.lab.root.join(name));
        }
        let _ = fs::remove_file(self.lab.root.join("complaints"));
    }
}
