//! Notice of trouble: a service of the instance's own watches all others and tells whoever is to
//! be told.
//!
//! | module | |
//! |---|---|
//! | [`trouble`] | what went wrong, read out of records, stores and what exos say |
//! | [`watch`], [`exos`] | being told that it may have |
//! | [`gather`] | the log and the items that go with it |
//! | [`message`] | a notice as it is told |
//! | [`post`], [`deliver`] | notices on their way; how each kind of target is told |
//! | [`state`] | what must not be forgotten |
//! | `child` | programs that are run meanwhile |
//!
//! When something is told is decided by `machine::notice`.

pub mod child;
pub mod deliver;
pub mod exos;
pub mod gather;
pub mod message;
pub mod post;
pub mod state;
pub mod trouble;
pub mod watch;

use crate::failure::{Answer, Failure, say, warn};
use crate::here::Here;
use child::{EACH, Running};
use exo::config;
use exo::config::notice::Kind;
use exos::Exos;
use gather::{DEAD_AT_ONCE, Graveyard, Question};
use machine::time::{Mono, earlier};
use ondisk::tai64n::Stamp;
use post::Post;
use state::{Folder, Safety};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use sys::linux::fd::{self, PollFd};
use sys::linux::signal::numbers::{SIGINT, SIGPIPE, SIGTERM};
use sys::linux::watch::{APPEARED, CHANGED, Watcher};
use sys::linux::{signal, time};

/// Between two looks at what cannot be watched yet.
const LOOK: Duration = Duration::from_secs(5);
/// Least time between two looks at the store, however often it changes.
const STORE_REST: Duration = Duration::from_secs(1);
/// How long reading it may take.
const STORE_LIMIT: Duration = Duration::from_secs(30);
/// From the last change of the configuration to a look at it: an editor writes several times.
const SETTLED: Duration = Duration::from_secs(1);
/// How long what is under way may take to end.
const ENDING: Duration = Duration::from_secs(3);

pub(crate) fn now() -> Mono {
    Mono(time::monotonic())
}

/// Watches until it is told to end.
///
/// # Errors
/// Its folder cannot be used, another one runs, or nothing can be watched.
pub fn run(here: &Here) -> Answer {
    // Exos, and programs that are told, may go away at any time.
    signal::ignore(SIGPIPE);
    let signals = signal::Set::of(&[SIGTERM, SIGINT]);
    signals.block_only();
    let signals = signals.descriptor().map_err(|why| Failure::errno("hear", "signals", why))?;
    let folder = Folder::make(here)?;
    let Some(_lock) = folder.lock()? else {
        return Err(Failure::refused("another notifier of this instance runs"));
    };
    let (state, why) = folder.read_or_begin();
    for line in why.iter().flat_map(|why| &why.lines) {
        warn(&format!("{line}; what was told before is not known any more"));
    }
    folder.sweep(&state);
    let mut notifier = Notifier::new(here, folder, state)?;
    notifier.services();
    loop {
        notifier.act();
        if notifier.ending.is_some_and(|at| notifier.post.is_idle() || at <= now()) {
            return Ok(0);
        }
        notifier.wait(&signals);
    }
}

/// The dead items, being looked at.
struct Graves {
    watcher: Option<Watcher>,
    running: Option<(Running, Option<Mono>)>,
    /// The next look.
    due: Option<Mono>,
    /// No look before this.
    rest: Mono,
    /// What could not be read, said once.
    trouble: Option<String>,
}

struct Notifier {
    here: Here,
    begun: Stamp,
    watch: watch::Watch,
    exos: Exos,
    post: Post,
    graves: Graves,
    /// The next look at what cannot be watched.
    look: Option<Mono>,
    /// The configuration changed, and is looked at then.
    changed: Option<Mono>,
    /// It ends, at this moment at the latest.
    ending: Option<Mono>,
}

impl Notifier {
    fn new(here: &Here, folder: Folder, state: state::State) -> Result<Self, Failure> {
        let begun = state.begun.as_bytes().get(1..).and_then(Stamp::from_digits);
        let watch = watch::Watch::new(here)?;
        let post = Post::new(here, folder, state);
        let (watcher, running, trouble) = (None, None, None);
        let due = post.wants(Kind::DeadItem).then(now);
        let mut notifier = Self {
            here: here.clone(),
            begun: begun.unwrap_or_default(),
            watch,
            exos: Exos::default(),
            post,
            graves: Graves { watcher, running, due, rest: now(), trouble },
            look: None,
            changed: None,
            ending: None,
        };
        if notifier.post.state.dead.is_none() && !here.places().store.join("work.db").exists() {
            // The first one will be number 1, and is not to be missed.
            notifier.post.state.dead = Some(0);
        }
        notifier.post.changed(Safety::Power);
        notifier.watch_store();
        Ok(notifier)
    }

    /// Watches the folder of the store, where there is one.
    fn watch_store(&mut self) {
        if self.graves.watcher.is_some() || !self.post.wants(Kind::DeadItem) {
            return;
        }
        let path = self.here.places().store.as_os_str().as_bytes();
        let path = CString::new(path).unwrap_or_default();
        let watcher = Watcher::new().and_then(|watcher| {
            watcher.add(&path, APPEARED | CHANGED)?;
            Ok(watcher)
        });
        self.graves.watcher = watcher.ok();
        if self.graves.watcher.is_some() {
            self.graves.due = Some(now());
        }
    }

    /// Looks which services there are, and at each of them.
    fn services(&mut self) {
        let is_one_missing = self.watch.scan(&self.here).unwrap_or_else(|why| {
            why.lines.iter().for_each(|line| warn(line));
            true
        });
        self.look = is_one_missing.then(|| now().after(LOOK));
        let members = self.watch.members();
        let names: Vec<String> = members.keys().cloned().collect();
        let sockets = members
            .iter()
            .filter_map(|(name, member)| Some((name.clone(), member.socket.clone()?)))
            .collect();
        self.exos.set(sockets, now());
        let is_gone = |name: &String| !members.contains_key(name);
        let gone: Vec<String> =
            self.post.state.services.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            self.post.state.services.remove(&name);
            self.post.state.exos.remove(&name);
            self.post.changed(Safety::Kill);
        }
        for name in names {
            self.look_at(&name);
        }
    }

    /// Looks at the record of a service.
    fn look_at(&mut self, name: &str) {
        let Some(record) = self.watch.record(name) else { return };
        let before = self.post.state.services.get(name);
        let found = trouble::of_record(name, before, &record, self.begun);
        let seen = trouble::Seen::of(&record);
        if before != Some(&seen) {
            self.post.state.services.insert(name.to_owned(), seen);
            self.post.changed(Safety::Kill);
        }
        if let Some(found) = found {
            self.post.happened(found);
        }
    }

    /// Does what is due.
    fn act(&mut self) {
        let now = now();
        if self.look.is_some_and(|at| at <= now) {
            self.services();
        }
        if self.changed.is_some_and(|at| at <= now) {
            self.changed = None;
            self.read_configuration();
        }
        self.exos.tick(now);
        self.look_for_dead(now);
        self.post.act(self.watch.members());
    }

    /// What is configured now is for the next life, which follows at once; unless it is broken.
    fn read_configuration(&mut self) {
        match config::site(self.here.whose) {
            Ok(site)
                if site.notice == self.here.site.notice && site.places == self.here.site.places => {
            }
            Ok(_) => {
                say("info", "the configuration has changed, beginning anew");
                self.end();
            }
            Err(trouble) => {
                for line in trouble.lines {
                    warn(&format!("{line}; going on with what was configured before"));
                }
            }
        }
    }

    fn end(&mut self) {
        self.post.end();
        self.ending = Some(now().after(ENDING));
    }

    fn look_for_dead(&mut self, now: Mono) {
        let graves = &mut self.graves;
        if let Some((running, until)) = &mut graves.running {
            if until.is_some_and(|until| until <= now) {
                *until = None;
                running.kill();
            }
            return;
        }
        if self.ending.is_some() || graves.due.is_none_or(|at| at > now) {
            return;
        }
        let store = self.here.places().store.clone();
        let dead = Some(Graveyard { store, after: self.post.state.dead });
        graves.due = None;
        graves.rest = now.after(STORE_REST);
        match gather::ask(&self.here, &Question { dead, ..Question::default() }) {
            Ok(running) => graves.running = Some((running, Some(now.after(STORE_LIMIT)))),
            Err(why) => self.no_store(&why.to_string()),
        }
    }

    fn no_store(&mut self, why: &str) {
        if self.graves.trouble.as_deref() != Some(why) {
            warn(&format!("unable to look for dead items, trying again: {why}"));
            self.graves.trouble = Some(why.to_owned());
        }
        self.graves.due = Some(now().after(STORE_LIMIT));
    }

    /// Hears which items are dead.
    fn dead(&mut self, end: &child::End) {
        let answer = serde_json::from_slice::<gather::Answer>(&end.said);
        let answer = match answer {
            Ok(answer) if end.well => answer,
            _ => return self.no_store(&format!("reading the store ended with {}", end.how)),
        };
        if let Some(why) = answer.store_trouble {
            return self.no_store(&why);
        }
        self.graves.trouble = None;
        if answer.dead.len() >= DEAD_AT_ONCE as usize {
            self.graves.due = Some(self.graves.rest);
        }
        if self.post.state.dead != answer.last_dead {
            self.post.state.dead = answer.last_dead;
            self.post.changed(Safety::Kill);
        }
        for dead in answer.dead {
            let owns = |member: &watch::Member| member.queue.as_deref() == Some(&dead.queue);
            let found = self.watch.members().iter().find(|(_, member)| owns(member));
            let service = found.map_or(dead.queue.as_str(), |(name, _)| name.as_str());
            let trouble = trouble::of_dead(service, &dead);
            self.post.happened(trouble);
        }
    }

    /// Hears how an exo stands, and waits for the next trouble.
    fn exo(&mut self, service: &str, status: &serde_json::Value) {
        let before = self.post.state.exos.get(service);
        let Some((seen, found)) = trouble::of_exo(service, before, status, time::wall()) else {
            return;
        };
        // One that began before this was watched for the first time: all of that is old.
        let is_old = before.is_none() && !seen.began_behind(self.begun);
        self.exos.watch(service, seen.troubles);
        if before != Some(&seen) {
            self.post.state.exos.insert(service.to_owned(), seen);
            self.post.changed(Safety::Kill);
        }
        if !is_old {
            for trouble in found {
                self.post.happened(trouble);
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let dead = match &self.graves.running {
            Some((_, until)) => *until,
            None => self.graves.due.filter(|_| self.ending.is_none()),
        };
        let own = [self.look, self.changed, self.ending, dead, self.exos.deadline()];
        own.into_iter().fold(self.post.deadline(), earlier)
    }

    /// Waits for what happens next, and hears it.
    fn wait(&mut self, signals: &fd::Fd) {
        let asks_store = self.graves.running.is_none() && self.graves.due.is_none();
        let is_rested = self.graves.rest <= now();
        let store = self.graves.watcher.as_ref().filter(|_| asks_store && is_rested);
        let mut fds = vec![
            PollFd::readable(signals.raw()),
            PollFd::readable(self.watch.raw()),
            store.map_or(PollFd::none(), |watcher| PollFd::readable(watcher.raw())),
        ];
        let begin = fds.len();
        match &self.graves.running {
            Some((running, _)) => running.interests(&mut fds),
            None => fds.extend([PollFd::none(); EACH]),
        }
        self.exos.interests(&mut fds);
        self.post.interests(&mut fds);
        // Until the store is looked at again, its changes wake nobody.
        let rest = (asks_store && !is_rested).then_some(self.graves.rest);
        let until = earlier(self.deadline(), rest);
        if fd::poll(&mut fds, until.map(|at| at.nanos_from(now()))).is_err() {
            return;
        }
        let (own, rest) = fds.split_at(begin);
        let (graves, rest) = rest.split_at(EACH);
        if let Some((running, _)) = &mut self.graves.running
            && let Some(end) = running.hear(graves)
        {
            self.graves.running = None;
            self.dead(&end);
        }
        let (exos, post) = rest.split_at(self.exos.len().min(rest.len()));
        for (service, status) in self.exos.hear(exos) {
            self.exo(&service, &status);
        }
        self.post.hear(post);
        // Last: it may change which descriptors there are.
        self.hear(own, signals);
    }

    fn hear(&mut self, own: &[PollFd], signals: &fd::Fd) {
        let is_ready = |at: usize| own.get(at).is_some_and(PollFd::is_ready);
        if is_ready(0) && signal::next(signals).is_some() && self.ending.is_none() {
            self.end();
        }
        if is_ready(2)
            && let Some(watcher) = &self.graves.watcher
        {
            let mut has_changed = false;
            watcher.reports(|report| has_changed |= report.name.starts_with(b"work.db"));
            if has_changed {
                self.graves.due = Some(now());
            }
        }
        if is_ready(1) {
            let changes = self.watch.changes();
            if changes.services {
                self.services();
            }
            if changes.config {
                self.changed = Some(now().after(SETTLED));
            }
            for name in &changes.members {
                self.look_at(name);
            }
            if !changes.sockets.is_empty() {
                self.exos.appeared(&changes.sockets, now());
                // Its exo makes it before its socket.
                self.watch_store();
            }
        }
    }
}
