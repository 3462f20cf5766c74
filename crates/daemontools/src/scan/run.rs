//! svscan's loop: waits, turns what happened into events, does what was decided.

use super::entries::{Entries, Id, Supervisor};
use super::folder::Folder;
use super::log::LogService;
use super::once::Once;
use super::replace::Origin;
use super::trust::{self, Policy};
use super::{Args, SVSCAN};
use crate::control;
use crate::observe::{self, Boot, Life, Snapshot};
use crate::svpath::Paths;
use machine::svscan::{Action, Event, How};
use machine::time::{Mono, earlier};
use ondisk::names::{LOG_RECORD, RECORD};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::{self, HERE};
use sys::linux::message;
use sys::linux::process::{self, Ended, Waited};
use sys::linux::signal::{self, Set, numbers as n};
use sys::linux::spawn::{Child, Outcome, Stack, spawn};
use sys::linux::time;
use sys::listener::Listener;

/// Signals that svscan acts on; supervise starts with them blocked, so that one that comes early
/// waits until it can be obeyed.
const SIGNALS: [i32; 9] = [
    n::SIGCHLD,
    n::SIGTERM,
    n::SIGINT,
    n::SIGHUP,
    n::SIGALRM,
    n::SIGUSR1,
    n::SIGQUIT,
    n::SIGUSR2,
    n::SIGWINCH,
];

/// Ran as svscan; returns the exit code.
#[must_use]
pub fn run(arguments: &[&'static OsStr]) -> i32 {
    let args = match Args::read(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    fd::fill_standard();
    message::never_wait();
    SVSCAN.end_on_panic();
    // It listens to us alone, and a service that finds it would tell it of itself.
    let notify = process::take_variable(NOTIFY_SOCKET);
    let listener = notify.and_then(|value| Listener::of(value.to_bytes()));
    let origin = Origin::new(arguments, notify.map(|value| (NOTIFY_SOCKET, value)));
    if let Some(dir) = args.dir {
        let path = CString::new(dir.as_bytes()).unwrap_or_default();
        if let Err(why) = file::chdir(&path) {
            return SVSCAN.fatal(&["unable to chdir to ".as_ref(), dir], why);
        }
    }
    let mut set = Set::of(&SIGNALS);
    let signals = match set.descriptor() {
        Ok(signals) => signals,
        Err(why) => return SVSCAN.fatal(&["unable to create pipe".as_ref()], why),
    };
    // Nobody may be reading our messages.
    set.add(n::SIGPIPE);
    set.block_only();
    // Orphans come to us: a supervise that is lost leaves its service behind, and only whoever
    // reaps that can tell how it ended.
    let _ = process::become_subreaper();
    Scanner::new(args, origin, signals, listener).run()
}

/// Names who is told that each service has its supervise, and that svscan ends:
/// [`Listener::VARIABLE`].
const NOTIFY_SOCKET: &CStr = c"NOTIFY_SOCKET";

struct Scanner {
    entries: Entries,
    folder: Folder,
    signals: Fd,
    origin: Origin,
    listener: Option<Listener>,
    policy: Policy,
    trusted: Vec<OsString>,
    /// Of these it was said that others can change them.
    distrusted: BTreeSet<CString>,
    boot: Boot,
    paths: Paths,
    supervise: Option<CString>,
    once: Option<Once>,
    log: Option<LogService>,
    finishing: bool,
    log_told: bool,
    /// The exit code, where the service that we end with has told it.
    code: Option<i32>,
}

impl Scanner {
    fn new(args: Args, origin: Origin, signals: Fd, listener: Option<Listener>) -> Self {
        let mut paths = Paths::from_environment();
        let log = args.log_service.and_then(|name| {
            LogService::open(name, &mut paths)
                .inspect_err(|why| {
                    SVSCAN.warning(&["unable to create pipe for ".as_ref(), name], *why);
                })
                .ok()
        });
        Self {
            entries: Entries::default(),
            folder: Folder::new(log.as_ref().map(|log| log.name.clone())),
            signals,
            origin,
            listener,
            policy: Policy::here(),
            trusted: args.trusted,
            distrusted: BTreeSet::new(),
            boot: Boot::this(),
            paths,
            supervise: None,
            once: args.exit_with.and_then(Once::new),
            log,
            finishing: false,
            log_told: false,
            code: None,
        }
    }

    fn run(mut self) -> i32 {
        if let Some(name) = self.log.as_ref().map(|log| log.name.clone()) {
            let id = file::stat(HERE, &name, true).ok().map(|stat| stat.id());
            self.entries.named(name, id);
            self.act();
        }
        self.folder.scan(&mut self.entries);
        self.warn_if_absent();
        self.act();
        if let Some(listener) = &self.listener {
            listener.ready();
        }
        loop {
            self.act();
            if self.finishing && self.is_over() {
                return self.code.unwrap_or(0);
            }
            self.wait();
        }
    }

    /// Says so if the service that svscan ends with is not there: it may still come, but a mistyped
    /// name never does.
    fn warn_if_absent(&self) {
        let Some(once) = self.once.as_ref().filter(|once| !self.entries.has(&once.name)) else {
            return;
        };
        let name = OsStr::from_bytes(once.name.to_bytes());
        let why = " yet: there is no such service".as_ref();
        SVSCAN.warning_plain(&["unable to end with ".as_ref(), name, why]);
    }

    /// Does what was decided, and what is decided because of that.
    fn act(&mut self) {
        while !self.entries.due.is_empty() {
            for (id, action) in std::mem::take(&mut self.entries.due) {
                match action {
                    Action::Probe => self.probe(id),
                    Action::Start => self.start(id),
                    Action::Terminate => self.signal(id, n::SIGTERM),
                    Action::Command => self.command(id, b"dx"),
                    Action::Forget => self.entries.forget(id),
                }
            }
        }
    }

    /// Looks whether a supervise has the service already.
    fn probe(&mut self, id: Id) {
        let Some(service) = self.entries.get(id) else { return };
        let name = service.name.clone();
        let shown = OsStr::from_bytes(name.to_bytes());
        let kept = self.paths.set(shown.as_bytes()).is_ok()
            && match observe::is_kept(&mut self.paths) {
                Ok(kept) => kept,
                // Nobody knows: looked at again, rather than forgotten or started twice.
                Err(why) => [libc::EMFILE, libc::ENFILE, libc::ENOMEM].contains(&why.0),
            };
        self.boot.learn();
        if !kept {
            let left = self.finishing && self.is_left();
            self.entries.step(id, Event::Free { left });
            return;
        }
        let found = observe::read_record(&mut self.paths, RECORD)
            .filter(|record| self.boot.has(record, &record.supervisor))
            .and_then(|record| i32::try_from(record.supervisor.pid).ok());
        let supervisor = found.and_then(|pid| match process::wait(pid, false) {
            Waited::Alive => Some(Supervisor { pid, watch: None }),
            Waited::Ended(..) => None,
            Waited::NoChild => Some(Supervisor { pid, watch: Some(process::pidfd(pid).ok()?) }),
        });
        let watched = supervisor.is_some();
        if let Some(supervisor) = supervisor {
            self.entries.supervised(id, supervisor);
        }
        self.entries.step(id, Event::Kept { watched });
    }

    /// Tells whether the service that was just looked at, which no supervise has, or its logger is
    /// alive.
    fn is_left(&mut self) -> bool {
        let service = Snapshot::take(&mut self.paths, &self.boot);
        let logger = observe::read_record(&mut self.paths, LOG_RECORD);
        service.life != Life::Over
            || logger.is_some_and(|logger| self.boot.has(&logger, &logger.process))
    }

    fn start(&mut self, id: Id) {
        let Some(name) = self.entries.get(id).map(|service| service.name.clone()) else { return };
        let event = match self.try_start(&name) {
            Ok(pid) => {
                self.entries.supervised(id, Supervisor { pid, watch: None });
                Event::Started
            }
            Err(()) => Event::NotStarted,
        };
        self.entries.step(id, event);
        self.watch_once(&name);
    }

    fn try_start(&mut self, name: &CStr) -> Result<i32, ()> {
        let shown = OsStr::from_bytes(name.to_bytes());
        let trusted = self.trusted.iter().any(|trusted| trusted == shown);
        match trust::flaw(name, self.policy).filter(|_| !trusted) {
            Some(flaw) if self.distrust(name, &flaw) => return Err(()),
            Some(_) => {}
            None => {
                self.distrusted.remove(name);
            }
        }
        let warn = |verb: &str, why| SVSCAN.warning(&[verb.as_ref(), shown], why);
        let Some(path) = self.supervise() else {
            warn("unable to start supervise ", Errno(libc::ENOENT));
            return Err(());
        };
        let is_log = self.log.as_ref().filter(|log| log.name.as_c_str() == name);
        let once = self.once.as_ref().is_some_and(|once| once.name.as_c_str() == name);
        let mut argv = vec![c"supervise".as_ptr()];
        let boot = self.boot.argument().filter(|_| is_log.is_none());
        if is_log.is_none() {
            argv.push(c"--pair".as_ptr());
        }
        if once {
            argv.push(c"--once".as_ptr());
        }
        argv.extend(boot.as_deref().map(CStr::as_ptr));
        argv.extend([name.as_ptr(), std::ptr::null()]);
        let child = Child {
            path: &path,
            argv: &argv,
            dir: None,
            stdin: is_log.map(|log| log.reader.raw()),
            stdout: is_log.map(|log| log.output.raw()),
            new_session: false,
            blocked: &SIGNALS,
        };
        match spawn(&child, &mut Stack::new(), &mut |_| self.origin.restore_limit()) {
            Ok(Outcome::Running(pid)) => Ok(pid),
            Ok(Outcome::NotRun(why)) => {
                self.supervise = None;
                warn("unable to start supervise ", why);
                Err(())
            }
            Err(why) => {
                warn("unable to fork for ", why);
                Err(())
            }
        }
    }

    /// Says what is wrong, once, and tells whether the service is not to be run for it.
    fn distrust(&mut self, name: &CStr, flaw: &str) -> bool {
        let refuse = self.policy == Policy::Refuse;
        if self.distrusted.insert(name.to_owned()) {
            let verb = if refuse { "refusing to run " } else { "running " };
            let name = OsStr::from_bytes(name.to_bytes());
            let text = format!(", which others can change: {flaw}");
            SVSCAN.warning_plain(&[verb.as_ref(), name, text.as_ref()]);
        }
        refuse
    }

    /// Returns supervise's path: looked for in `$PATH` as ever, and then remembered.
    fn supervise(&mut self) -> Option<CString> {
        if self.supervise.is_none() {
            self.supervise = find(c"supervise");
        }
        self.supervise.clone()
    }

    fn watch_once(&mut self, name: &CStr) {
        if let Some(once) = self.once.as_mut().filter(|once| once.name.as_c_str() == name) {
            once.watch();
        }
    }

    /// Sends a signal to a supervise.
    fn signal(&self, id: Id, number: i32) {
        let supervisor = self.entries.get(id).and_then(|service| service.supervisor.as_ref());
        let Some(supervisor) = supervisor else { return };
        if self.finishing && !self.log_told && self.is_log(id) {
            return;
        }
        // It may be dead by now: then we will be told.
        let _ = match &supervisor.watch {
            Some(watch) => process::pidfd_kill(watch.raw(), number),
            None => signal::kill(supervisor.pid, number),
        };
    }

    fn is_log(&self, id: Id) -> bool {
        let name = self.entries.get(id).map(|service| service.name.as_c_str());
        self.log.as_ref().is_some_and(|log| Some(log.name.as_c_str()) == name)
    }

    /// Tells a supervise that is not ours to end, and its logger's likewise.
    fn command(&mut self, id: Id, bytes: &[u8]) {
        let Some(name) = self.entries.get(id).map(|service| service.name.clone()) else { return };
        let log = [name.to_bytes(), b"/log"].concat();
        for dir in [name.to_bytes(), &log] {
            if self.paths.set(dir).is_ok() {
                // Gone meanwhile, or no logger: nothing to tell.
                let _ = control::send(&mut self.paths, bytes);
            }
        }
    }

    /// Tells whether everything has ended; the service that gets our output comes last.
    fn is_over(&mut self) -> bool {
        if self.entries.is_empty() {
            return true;
        }
        let only_log = self.entries.iter().all(|(id, _)| self.is_log(*id));
        if only_log && !self.log_told {
            self.log_told = true;
            if let Some(log) = &mut self.log {
                log.close();
            }
            self.finish();
        }
        self.entries.is_empty()
    }

    fn finish(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.stopping();
        }
        self.finishing = true;
        self.entries.step_all(Event::Finish);
        self.act();
        self.folder.close();
    }

    fn wait(&mut self) {
        let readable = |raw: Option<i32>| raw.map_or(PollFd::none(), PollFd::readable);
        let (pids, watches): (Vec<i32>, Vec<i32>) = self.entries.watches().unzip();
        let mut polls = vec![
            PollFd::readable(self.signals.raw()),
            readable(self.folder.raw().filter(|_| !self.finishing)),
            readable(self.once.as_ref().and_then(Once::raw).filter(|_| !self.finishing)),
        ];
        let own = polls.len();
        polls.extend(watches.into_iter().map(PollFd::readable));
        // What comes into the folder while everything ends is not looked at any more.
        let rescan = self.folder.deadline().filter(|_| !self.finishing);
        let look = self.once.as_ref().and_then(Once::deadline).filter(|_| !self.finishing);
        let until = earlier(earlier(self.entries.deadline(), rescan), look);
        let timeout = until.map(|at| at.nanos_from(Mono(time::monotonic())));
        // Only a bad list of descriptors can fail, and ours are open.
        let _ = fd::poll(&mut polls, timeout);
        if polls[0].is_ready() {
            self.signals_came();
        }
        for (pid, _) in pids.into_iter().zip(&polls[own..]).filter(|(_, poll)| poll.is_ready()) {
            let asked = self.watched_end(pid) == Some(Ended::Code(0));
            self.ended(pid, if asked { How::Asked } else { How::Lost });
        }
        if !self.finishing && rescan.is_some_and(|at| at.0 <= time::monotonic()) {
            self.folder.scan(&mut self.entries);
        } else if !self.finishing && polls[1].is_ready() {
            self.folder.changed(&mut self.entries);
        }
        self.entries.tick();
        let look = look.is_some_and(|at| at.0 <= time::monotonic());
        if !self.finishing && (look || polls[2].is_ready()) {
            self.look_at_once(None);
        }
    }

    /// Looks whether the service that we end with is over; `ended`: its supervise is.
    fn look_at_once(&mut self, ended: Option<i32>) {
        let Some(once) = &mut self.once else { return };
        if self.code.is_some() {
            return;
        }
        self.boot.learn();
        self.code = once.verdict(&self.boot, ended);
        if self.code.is_some() && !self.finishing {
            self.finish();
        }
    }

    fn signals_came(&mut self) {
        while let Some(number) = signal::next(&self.signals) {
            match number {
                n::SIGCHLD => self.reap(),
                n::SIGTERM | n::SIGINT => self.finish(),
                n::SIGHUP | n::SIGALRM if !self.finishing => self.folder.scan(&mut self.entries),
                n::SIGUSR1 => self.replace(),
                n::SIGQUIT => self.forward(b"q"),
                n::SIGUSR2 => self.forward(b"2"),
                n::SIGWINCH => self.forward(b"w"),
                _ => {}
            }
        }
    }

    /// Passes a signal on to the service that svscan ends with.
    fn forward(&mut self, byte: &[u8]) {
        let Some(once) = &self.once else { return };
        if self.paths.set(once.name.to_bytes()).is_ok() {
            let _ = control::send(&mut self.paths, byte);
        }
    }

    /// Reaps every dead child: supervises, and the orphans that came to us.
    fn reap(&mut self) {
        while let Waited::Ended(pid, ended) = process::wait(-1, false) {
            let asked = ended == Ended::Code(0);
            self.ended(pid, if asked { How::Asked } else { How::Lost });
        }
    }

    /// Returns how a supervise that is not our child ended, where that is known by now.
    fn watched_end(&self, pid: i32) -> Option<Ended> {
        let (_, watch) = self.entries.watches().find(|(its, _)| *its == pid)?;
        process::pidfd_ended(watch)
    }

    fn ended(&mut self, pid: i32, how: How) {
        if let Some(id) = self.entries.died(pid) {
            let name = self.entries.get(id).map(|service| service.name.as_c_str());
            if self.once.as_ref().is_some_and(|once| Some(once.name.as_c_str()) == name) {
                self.look_at_once(Some(pid));
            }
            self.entries.step(id, Event::Ended(how));
        }
    }

    /// Replaces every supervise, then svscan itself, by the programs now on disk.
    fn replace(&mut self) {
        for (id, _) in self.entries.iter() {
            self.signal(*id, n::SIGHUP);
        }
        if let Some(log) = &self.log {
            log.hand_over();
        }
        let why = self.origin.replace();
        if let Some(log) = &self.log {
            log.reopen();
        }
        SVSCAN.warning(&["unable to replace svscan".as_ref()], why);
    }
}

/// Looks for a program in `$PATH` as the chain-loading programs do.
fn find(name: &CStr) -> Option<CString> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    path.as_bytes()
        .split(|b| *b == b':')
        .filter_map(|dir| {
            let dir = if dir.is_empty() { b"." } else { dir };
            CString::new([dir, b"/", name.to_bytes()].concat()).ok()
        })
        .find(|path| {
            // A folder can be searched, which is the same right.
            file::is_executable(HERE, path)
                && file::stat(HERE, path, true).is_ok_and(|stat| stat.is_file())
        })
}
