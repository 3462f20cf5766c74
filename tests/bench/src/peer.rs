//! The suites that are compared, and how each is told to do the same thing.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whose commands a suite understands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// svscan, supervise, svc, svstat.
    Daemontools,
    /// runsvdir, runsv, sv, chpst.
    Runit,
    /// s6-svscan, s6-supervise, s6-svc, s6-svstat.
    S6,
    /// A bare loop.
    Floor,
}

/// How a whole suite is ended.
pub(crate) enum Stop {
    /// A signal to the scanner does it.
    Signal(i32),
    /// A command does it.
    Command(Command),
    /// A signal ends the scanner; a command, for which the services must be named, the rest.
    SignalAndServices(i32),
}

/// One suite.
pub(crate) struct Peer {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Whose commands it understands.
    pub(crate) family: Family,
    /// Whether it is the one that is judged.
    pub(crate) ours: bool,
    /// Whether its programs are linked statically.
    pub(crate) statically: bool,
    /// Where its programs are.
    folder: PathBuf,
    /// The scanner that is borrowed as long as it has none of its own.
    stand_in: Option<PathBuf>,
    /// The program of its loggers.
    logger: Option<PathBuf>,
    /// Whose its programs and services are, where not root's.
    pub(crate) user: Option<u32>,
}

/// Folders with what was built for the run.
pub(crate) struct Folders {
    /// Our programs.
    pub(crate) ours: PathBuf,
    /// What tests/bench/prepare built.
    pub(crate) built: PathBuf,
}

impl Folders {
    /// Returns the places below this repository; `SKYNET_BIN` names another one for our programs.
    pub(crate) fn known() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        let ours = target.join("x86_64-unknown-linux-musl/release");
        let ours = std::env::var_os("SKYNET_BIN").map_or(ours, PathBuf::from);
        let whole = |path: PathBuf| path.canonicalize().unwrap_or(path);
        Self { ours: whole(ours), built: whole(target.join("bench")) }
    }
}

/// Returns the suites that are on this machine, ours first, the floor last.
pub(crate) fn installed(folders: &Folders) -> Vec<Peer> {
    let debian = PathBuf::from("/usr/bin");
    let original = folders.built.join("daemontools-static");
    let multilog = first(&[&folders.ours, &original, &debian], "multilog");
    let peer = |name, family, folder: &Path, logger: &str| Peer {
        name,
        family,
        ours: false,
        statically: false,
        folder: folder.to_owned(),
        stand_in: None,
        logger: first(&[folder], logger),
        user: None,
    };
    let ours = Peer {
        ours: true,
        statically: true,
        stand_in: first(&[&original], "svscan"),
        logger: multilog,
        ..peer("ours", Family::Daemontools, &folders.ours, "")
    };
    let original = peer("daemontools, static", Family::Daemontools, &original, "multilog");
    let all = [
        ours,
        peer("daemontools", Family::Daemontools, &debian, "multilog"),
        Peer { statically: true, ..original },
        peer("runit", Family::Runit, &debian, "svlogd"),
        peer("s6", Family::S6, &debian, "s6-log"),
        peer("floor", Family::Floor, &folders.built.join("bin"), ""),
    ];
    all.into_iter().filter(Peer::is_installed).collect()
}

/// Returns the suites that have a logger of their own, ours first. daemontools-encore's is one of
/// them where `ENCORE_BIN` names its folder.
pub(crate) fn loggers(folders: &Folders) -> Vec<Peer> {
    let debian = PathBuf::from("/usr/bin");
    let encore = std::env::var_os("ENCORE_BIN").map(PathBuf::from);
    let peer = |name, family, folder: &Path, logger: &str| Peer {
        name,
        family,
        ours: name == "ours",
        statically: false,
        folder: folder.to_owned(),
        stand_in: None,
        logger: first(&[folder], logger),
        user: None,
    };
    let original = folders.built.join("daemontools-static");
    let mut all = vec![
        peer("ours", Family::Daemontools, &folders.ours, "multilog"),
        peer("multilog", Family::Daemontools, &debian, "multilog"),
        peer("multilog, static", Family::Daemontools, &original, "multilog"),
        peer("svlogd", Family::Runit, &debian, "svlogd"),
        peer("s6-log", Family::S6, &debian, "s6-log"),
    ];
    all.extend(encore.map(|folder| peer("encore", Family::Daemontools, &folder, "multilog")));
    all.retain(|peer| peer.logger.is_some());
    all
}

/// Returns the first of `folders` that has the program, with it.
fn first(folders: &[&Path], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

impl Peer {
    /// Returns what stands for a limit that no logger passes.
    pub(crate) fn limit(name: &'static str) -> Self {
        Self {
            name,
            family: Family::Floor,
            ours: false,
            statically: false,
            folder: PathBuf::from("/bin"),
            stand_in: None,
            logger: None,
            user: None,
        }
    }

    /// Returns who does one job, with the programs in `folder`.
    pub(crate) fn worker(name: &'static str, folder: &Path) -> Self {
        Self {
            family: Family::Daemontools,
            ours: [crate::workers::EXO, crate::readers::SKYNET].contains(&name),
            folder: folder.to_owned(),
            ..Self::limit(name)
        }
    }

    /// Returns the same, whose programs and services are this user's; its logger is a multilog.
    pub(crate) fn run_by(self, user: u32) -> Self {
        let logger = first(&[&self.folder], "multilog");
        Self { user: Some(user), logger, ..self }
    }

    /// Returns the command that runs its logger, without arguments.
    pub(crate) fn logger(&self) -> Option<Command> {
        self.logger.as_ref().map(|path| self.command_of(path))
    }

    /// Ours counts as soon as one program of it is there: its rows fill one by one.
    fn is_installed(&self) -> bool {
        let ours = ["supervise", "svstat", "setuidgid"];
        self.has(self.scanner()) || self.ours && ours.iter().any(|program| self.has(program))
    }

    fn has(&self, program: &str) -> bool {
        is_program(&self.folder.join(program))
    }

    /// Returns a command that runs one of its programs, `None` where it has none of that name.
    pub(crate) fn command(&self, program: &str) -> Option<Command> {
        let path = self.folder.join(program);
        is_program(&path).then(|| self.command_of(&path))
    }

    fn command_of(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Returns what a reader of its figures must know.
    pub(crate) fn notes(&self) -> Vec<&'static str> {
        let borrowed_logger = self.ours && !self.has_own_logger();
        let borrowed_scanner = self.ours && !self.has(self.scanner());
        let notes = [
            borrowed_scanner.then_some(
                "Ours has no svscan yet: the original's, which is linked statically, starts our supervise.",
            ),
            borrowed_logger.then_some(
                "Ours has no multilog yet: its loggers are the original's, and count 16 + 36 KiB of memory each.",
            ),
        ];
        notes.into_iter().flatten().collect()
    }

    /// Returns how many services its scanner takes at most, where it has such a limit.
    pub(crate) fn most_services(&self) -> Option<usize> {
        match self.family {
            // Ours is held back by a scanner that it borrowed.
            Family::Daemontools if !self.ours || !self.has(self.scanner()) => Some(1000),
            Family::Runit => Some(1000),
            _ => None,
        }
    }

    /// Returns the name of the program that looks after a folder of services.
    fn scanner(&self) -> &'static str {
        match self.family {
            Family::Daemontools => "svscan",
            Family::Runit => "runsvdir",
            Family::S6 => "s6-svscan",
            Family::Floor => "floor",
        }
    }

    /// Returns the name of the program that looks after one service.
    pub(crate) fn keeper(&self) -> &'static str {
        match self.family {
            Family::Daemontools => "supervise",
            Family::Runit => "runsv",
            Family::S6 => "s6-supervise",
            Family::Floor => "floor",
        }
    }

    /// Returns what looks after the services in `folder`, at most `services` of them.
    pub(crate) fn scan(&self, folder: &Path, services: usize) -> Option<Command> {
        if !self.has(self.keeper()) {
            return None;
        }
        let borrowed = || self.stand_in.as_ref().map(|path| self.command_of(path));
        let mut command = self.command(self.scanner()).or_else(borrowed)?;
        if self.family == Family::S6 {
            // Room for the loggers, which count as services of their own there.
            command.arg("-c").arg((2 * services + 10).to_string());
        }
        command.arg(folder);
        Some(command)
    }

    /// Returns the script that is a logger, `None` where a suite has no loggers.
    pub(crate) fn logger_script(&self) -> Option<String> {
        let logger = self.logger.as_ref()?;
        Some(format!("#!/bin/sh\nexec {} ./main\n", logger.display()))
    }

    /// Tells whether the loggers are a suite's own.
    pub(crate) fn has_own_logger(&self) -> bool {
        self.logger.as_ref().is_some_and(|path| path.starts_with(&self.folder))
    }

    /// Returns what asks for the service in `dir` to be down.
    pub(crate) fn down(&self, dir: &Path) -> Option<Command> {
        self.control("-d", "down", dir)
    }

    /// Returns what asks for the service in `dir` to be up.
    pub(crate) fn up(&self, dir: &Path) -> Option<Command> {
        self.control("-u", "up", dir)
    }

    fn control(&self, option: &str, word: &str, dir: &Path) -> Option<Command> {
        let (program, what) = match self.family {
            Family::Daemontools => ("svc", option),
            Family::Runit => ("sv", word),
            Family::S6 => ("s6-svc", option),
            Family::Floor => return None,
        };
        let mut command = self.command(program)?;
        command.arg(what).arg(dir);
        Some(command)
    }

    /// Returns what shows the state of `dirs`, `None` where it cannot be asked for in one call.
    pub(crate) fn status<P: AsRef<OsStr>>(&self, dirs: &[P]) -> Option<Command> {
        let mut command = match self.family {
            Family::Daemontools => self.command("svstat")?,
            Family::Runit => self.command("sv")?,
            Family::S6 if dirs.len() == 1 => self.command("s6-svstat")?,
            Family::S6 | Family::Floor => return None,
        };
        if self.family == Family::Runit {
            command.arg("status");
        }
        command.args(dirs);
        Some(command)
    }

    /// Returns how the suite on `folder` is ended.
    pub(crate) fn stop(&self, folder: &Path) -> Option<Stop> {
        match self.family {
            Family::Daemontools if self.ours && self.has(self.scanner()) => {
                Some(Stop::Signal(libc::SIGTERM))
            }
            Family::Daemontools => Some(Stop::SignalAndServices(libc::SIGTERM)),
            Family::Runit => Some(Stop::Signal(libc::SIGHUP)),
            Family::S6 => {
                let mut command = self.command("s6-svscanctl")?;
                command.arg("-t").arg(folder);
                Some(Stop::Command(command))
            }
            Family::Floor => None,
        }
    }

    /// Returns the commands, without their last argument, that prepare a process and run a
    /// program: change the account, set an environment, set a limit, take a lock.
    pub(crate) fn chains(&self, env: &Path, lock: &Path) -> [Option<Command>; 4] {
        let (env, lock) = (env.as_os_str(), lock.as_os_str());
        let words: [(&str, Vec<&OsStr>); 4] = match self.family {
            Family::Daemontools => [
                ("setuidgid", vec!["nobody".as_ref()]),
                ("envdir", vec![env]),
                ("softlimit", vec!["-o".as_ref(), "100".as_ref()]),
                ("setlock", vec![lock]),
            ],
            Family::Runit => [
                ("chpst", vec!["-u".as_ref(), "nobody".as_ref()]),
                ("chpst", vec!["-e".as_ref(), env]),
                ("chpst", vec!["-o".as_ref(), "100".as_ref()]),
                ("chpst", vec!["-l".as_ref(), lock]),
            ],
            Family::S6 => [
                ("s6-setuidgid", vec!["nobody".as_ref()]),
                ("s6-envdir", vec![env]),
                ("s6-softlimit", vec!["-o".as_ref(), "100".as_ref()]),
                ("s6-setlock", vec![lock]),
            ],
            Family::Floor => ["next", "next", "next", "next"].map(|name| (name, vec![])),
        };
        words.map(|(program, args)| {
            let mut command = self.command(program)?;
            command.args(args);
            Some(command)
        })
    }
}
