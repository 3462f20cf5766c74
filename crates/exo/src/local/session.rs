//! One local run: a scratch folder, an exo in it, items in, answers out.

use super::change::Changes;
use super::input::Input;
use super::{FAILED, say, told_to_end};
use crate::control::Request;
use crate::settings::{Life, Mode, Settings, Times};
use crate::worker::Clocks;
use crate::{ask, keeper, worker};
use log::LevelFilter;
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::process::{self, Fork};
use sys::linux::signal::{self, numbers};
use sys::terminal;
use work::embedded::{self, Keep};
use work::read::Job;
use work::units::Span;
use work::{
    Applied, Ask, Broker, Change, Embedded, Ended, Event, JobId, Place, Policy, Reader, Safety,
    Store,
};

/// How the names of scratch folders begin.
pub(super) const SCRATCH: &str = "exo-local-";

/// Between two looks at items that are answered by nobody.
const LOOK: Duration = Duration::from_millis(300);

/// What is in hand has so long to end by itself, if not less: somebody waits for it.
const GRACE: Duration = Duration::from_secs(5);

/// A run under way.
pub(super) struct Session {
    // Ends before its folder is taken away.
    exo: Exo,
    signals: Fd,
    answers: Embedded,
    reader: Reader,
    /// Those that nothing was printed of so far, with their number in the input and in its order. The
    /// store has the answers of those that have stopped until it is their turn.
    open: VecDeque<(JobId, usize)>,
    failed: usize,
    socket: PathBuf,
    is_persistent: bool,
    /// How long it takes to end.
    grace: Duration,
    _scratch: Scratch,
}

/// A folder that is gone with us.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let name = format!("{SCRATCH}{}-{}", process::pid(), sys::linux::time::monotonic());
        let path = std::env::temp_dir().join(name);
        // Never what somebody else made.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|why| format!("unable to make {}: {why}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The exo that runs there; told to end when it is dropped. TERM ends it, and INT behind that at once.
struct Exo {
    pid: i32,
    pidfd: Fd,
}

impl Exo {
    /// Tells it to end and waits for that: not at all for what is in hand, or so long as a shutdown may
    /// take, which is said, or until a signal comes. Tells whether one came.
    fn end(&self, signals: &Fd, at_once: bool, grace: Duration) -> bool {
        self.tell(numbers::SIGTERM);
        if at_once {
            self.tell(numbers::SIGINT);
        }
        let mut list = [PollFd::readable(self.pidfd.raw()), PollFd::readable(signals.raw())];
        let (mut patience, mut is_told) = (Some(LOOK.as_nanos() as u64), false);
        loop {
            match fd::poll(&mut list, patience) {
                Ok(0) => {
                    patience = None;
                    let grace = Span(grace);
                    say(&format!("exo: ends within {grace}; Ctrl-C ends what is in hand at once"));
                }
                Ok(_) if !list[0].is_ready() => {
                    while signal::next(signals).is_some() {
                        is_told = true;
                    }
                    self.tell(numbers::SIGINT);
                }
                Ok(_) | Err(_) => return is_told,
            }
        }
    }

    fn tell(&self, number: i32) {
        let _ = process::pidfd_kill(self.pidfd.raw(), number);
    }
}

impl Drop for Exo {
    fn drop(&mut self) {
        self.tell(numbers::SIGTERM);
        let _ = process::wait(self.pid, true);
    }
}

/// Why a run ended early.
pub(super) enum Early {
    /// It was told to.
    Told,
    /// A file that is watched has changed.
    Changed,
    /// Something went wrong, in words.
    Failed(String),
    /// The answers cannot be written, in words: nobody needs more of them.
    Unread(String),
}

impl<T: std::fmt::Display> From<T> for Early {
    fn from(why: T) -> Self {
        Self::Failed(why.to_string())
    }
}

impl Session {
    /// Starts an exo in a folder of its own and submits the items.
    ///
    /// # Errors
    /// What could not be done.
    pub(super) fn begin(settings: &Settings, input: &Input) -> Result<Self, Early> {
        // From here on they are read: whoever is told to end tidies up first.
        let set = told_to_end();
        set.block_only();
        let signals = set.descriptor()?;
        // So does whoever is not read any more.
        signal::ignore(numbers::SIGPIPE);
        let scratch = Scratch::new()?;
        let settings = Settings {
            store: scratch.0.join("store"),
            spool: scratch.0.join("spool"),
            run: scratch.0.join("run"),
            safety: Safety::Kill,
            broker: crate::settings::Broker::default(),
            log_level: settings.log_level.min(LevelFilter::Warn),
            ready_fd: None,
            life: Life::Session,
            times: Times { shutdown: settings.times.shutdown.min(GRACE), ..settings.times },
            // An answer may have to wait for its turn.
            keep: None,
            keep_size: None,
            ..settings.clone()
        };
        let make = |path: &PathBuf| DirBuilder::new().mode(0o700).create(path);
        for path in [&settings.spool, &settings.run] {
            make(path)?;
        }
        let place = Place::new(&settings.store);
        let open = submit(&place, input)?;
        // While there is no thread.
        let exo = start(&settings)?;
        let answers = Embedded::open(&embedded::Settings {
            place: place.clone(),
            clock: Clocks::of_this_boot()?,
            safety: Safety::Kill,
            queue: answers_queue(&settings).to_owned(),
            policy: Policy::default(),
            drop_folder: None,
            keep: Keep::default(),
            error_class: work::item::ERROR_CLASS.to_owned(),
        });
        let answers = answers?;
        let reader = Reader::open(&place)?;
        let socket = settings.socket();
        let is_persistent = settings.mode == Mode::Persistent;
        Ok(Self {
            exo,
            signals,
            answers,
            reader,
            open,
            failed: 0,
            socket,
            is_persistent,
            grace: settings.times.shutdown,
            _scratch: scratch,
        })
    }

    /// Waits for the end of all items, or a change, and prints their answers in the order of the items.
    ///
    /// # Errors
    /// What went wrong, or that it was told to end.
    pub(super) fn finish(mut self, changes: Option<&mut Changes>) -> Result<i32, Early> {
        let outcome = self.wait(changes);
        // Nobody waits for what is in hand then.
        let at_once = outcome.as_ref().is_err_and(|why| !matches!(why, Early::Told));
        let is_told = self.exo.end(&self.signals, at_once, self.grace);
        let outcome = match outcome {
            Ok(_) | Err(Early::Changed) if is_told => Err(Early::Told),
            outcome => outcome,
        };
        match outcome {
            Err(why @ (Early::Told | Early::Failed(_))) => {
                Err(self.look_behind().err().unwrap_or(why))
            }
            outcome => outcome,
        }
    }

    fn wait(&mut self, mut changes: Option<&mut Changes>) -> Result<i32, Early> {
        self.answers.ask(Ask::Now, "");
        while !self.open.is_empty() {
            self.take_answers();
            self.look()?;
            if self.open.is_empty() {
                break;
            }
            let mut list = [
                PollFd::readable(self.answers.wakeup().as_raw_fd()),
                PollFd::readable(self.exo.pidfd.raw()),
                PollFd::readable(self.signals.raw()),
                changes.as_ref().map_or(PollFd::none(), |changes| changes.interest()),
            ];
            if fd::poll(&mut list, Some(LOOK.as_nanos() as u64))? == 0
                && let Some(why) = self.start_failure()
            {
                return Err(Early::Failed(why));
            }
            if signal::next(&self.signals).is_some() {
                return Err(Early::Told);
            }
            if list[3].is_ready() && changes.as_mut().is_some_and(|changes| changes.is_seen()) {
                return Err(Early::Changed);
            }
            if list[1].is_ready() {
                self.look()?;
                return Err(Early::Failed("exo ended before the items were done".to_owned()));
            }
        }
        Ok(if self.failed == 0 { 0 } else { FAILED })
    }

    /// Returns why the participant cannot be started, if so. Under supervise that may be mended
    /// while exo waits; here somebody waits for exo.
    fn start_failure(&self) -> Option<String> {
        let answer = ask::ask(&self.socket, &Request::Status).ok()?;
        let status = answer.get("status")?;
        let instances = status.get("instances")?.as_array()?;
        if let Some(why) =
            instances.iter().find_map(|instance| instance.get("start_failure")?.as_str())
        {
            return Some(format!("unable to start the participant: {why}"));
        }
        // It rests after a death; one that has done something may end, and is started again.
        let is_new = ["done", "failed", "cancelled"].iter().all(|ended| status[ended] == 0);
        let is_resting = |instance: &Value| instance["state"] == "resting";
        (self.is_persistent && is_new && instances.iter().all(is_resting))
            .then(|| "the participant ends before it has done anything".to_owned())
    }

    /// An answer only says that there is something to look at.
    fn take_answers(&mut self) {
        while let Some(event) = self.answers.next() {
            if let Event::Arrived(delivery) = event {
                self.answers.finish(delivery, Ended::default());
                self.answers.ask(Ask::Now, "");
            }
        }
    }

    /// Prints how those items stopped whose turn it is.
    fn look(&mut self) -> Result<(), Early> {
        while let Some((id, number)) = self.open.front().copied() {
            let Some(job) = self.stopped(id)? else { break };
            self.open.pop_front();
            self.tell(&job, number)?;
        }
        Ok(())
    }

    /// Prints how those items stopped that stand behind one that has not, and now never will.
    fn look_behind(&mut self) -> Result<(), Early> {
        for (id, number) in mem::take(&mut self.open) {
            if let Some(job) = self.stopped(id)? {
                self.tell(&job, number)?;
            }
        }
        Ok(())
    }

    fn stopped(&self, id: JobId) -> Result<Option<Job>, Early> {
        let job = self.reader.job(id)?;
        Ok(job.filter(|job| job.subject.state == machine::work::State::Stop))
    }

    /// Prints how an item stopped.
    fn tell(&mut self, job: &Job, number: usize) -> Result<(), Early> {
        let last = self.reader.attempt(job.id, None)?;
        let fault = last.as_ref().and_then(|last| last.fault).unwrap_or(job.subject.fault);
        if fault.0 == 0 {
            let own = last.map(|last| self.reader.output(job.id, last.number)).transpose()?;
            let answer = match own.flatten() {
                Some(answer) => Some(answer),
                None => self.reader.item(job.id)?,
            };
            return print(&answer.unwrap_or_default());
        }
        self.failed += 1;
        let text = last.and_then(|last| last.text).unwrap_or_default();
        log::warn!("item {number} failed: fault {}: {text}", fault.0);
        Ok(())
    }
}

/// Returns the queue that answers go to, which is not the participant's.
pub(super) fn answers_queue(settings: &Settings) -> &'static str {
    const ANSWERS: &str = "answers";
    if settings.queue == ANSWERS { "answers-to-it" } else { ANSWERS }
}

/// Submits all items; returns their jobs with their numbers in the input.
fn submit(place: &Place, input: &Input) -> Result<VecDeque<(JobId, usize)>, Early> {
    let mut store = Store::open(place, Clocks::of_this_boot()?, Safety::Kill)?;
    let mut open = VecDeque::with_capacity(input.jobs.len());
    for (number, job) in input.jobs.iter().enumerate() {
        let made = store.apply(&Change::Submit(Box::new(job.clone())))?;
        if let Applied::Submitted { job: id, .. } = made {
            open.push_back((id, number + 1));
        }
    }
    Ok(open)
}

/// Prints an answer on one line. One that cannot be printed is as good as none.
fn print(answer: &[u8]) -> Result<(), Early> {
    let mut line: Vec<u8> = answer.to_vec();
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    terminal::put_line(1, &line)
        .map_err(|why| Early::Unread(format!("unable to write an answer: {why}")))
}

/// Forks an exo whose log goes where our messages go.
fn start(settings: &Settings) -> Result<Exo, Early> {
    let parent = process::pid();
    match process::fork()? {
        Fork::Parent(pid) => {
            let pidfd = process::pidfd(pid)?;
            Ok(Exo { pid, pidfd })
        }
        Fork::Child => {
            // Ctrl-C is for whoever waits for the answers, who tells it to end.
            let _ = process::setsid();
            let _ = process::die_with(parent);
            let _ = fd::dup_to(2, 1);
            log::set_max_level(settings.log_level);
            let code = keeper::run(settings.clone(), worker::run);
            process::exit(code)
        }
    }
}
