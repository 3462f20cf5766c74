//! Settings in the making: defaults, over which one file after the other is laid.

use super::broker;
use super::json;
use super::keys::{self, DELAYS, KEYS, LIMITS, Scope};
use super::notice::{self, Notice};
use super::places::Places;
use super::problem::{Origin, Problem};
use super::services::{self, Wanted};
use super::tree::{Entry, Node};
use super::values::Field;
use crate::settings::{
    Broker, BrokerKind, Life, Limits, Mode, SETTINGS, Settings, Times, VARIABLE,
};
use log::LevelFilter;
use machine::work::Backoff;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use work::Safety;
use work::item;

/// Names of the modes.
pub(super) const MODES: [(&str, Mode); 2] =
    [("per-item", Mode::PerItem), ("persistent", Mode::Persistent)];

/// Names of what changes survive.
pub(super) const SAFETIES: [(&str, Safety); 2] = [("power", Safety::Power), ("kill", Safety::Kill)];

/// Names of the least important messages.
pub(super) const LEVELS: [(&str, LevelFilter); 4] = [
    ("fatal", LevelFilter::Error),
    ("warning", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
];

/// Most bytes of a line's text in the log: with what stands before it, it is no longer than a page.
const LINE: u64 = 3 << 10;

/// So many problems of a file are enough for one time.
pub(super) const MOST: usize = 20;

/// Least that a store may be limited to.
const KEPT: u64 = 1 << 20;

const MS: Duration = Duration::from_millis(1);

/// What is known of the settings so far.
#[derive(Clone)]
pub(super) struct Draft {
    /// `participant`, `queue`, `environment` and `config` are filled in at the end.
    settings: Settings,
    participant: Option<String>,
    queue: Option<String>,
    /// Why the queue cannot be one of this machine.
    no_file: Option<Problem>,
    environment: BTreeMap<String, String>,
    /// Keys below `config`, and their values as JSON.
    config: BTreeMap<String, String>,
    /// Which services are to be enabled.
    pub(super) services: BTreeMap<String, Wanted>,
    /// Who is told of trouble.
    pub(super) notice: Notice,
    /// Where each value comes from that is no default, by its key.
    pub(super) origins: BTreeMap<String, Origin>,
}

type Answer = Result<(), Problem>;

impl Draft {
    pub(super) fn new(places: &Places, directory: &Path) -> Self {
        let seconds = Duration::from_secs;
        let settings = Settings {
            participant: String::new(),
            queue: String::new(),
            mode: Mode::PerItem,
            command: Vec::new(),
            exoskeleton: None,
            build: Vec::new(),
            directory: directory.to_owned(),
            user: None,
            worker_user: None,
            instances: 1,
            times: Times {
                start: seconds(30),
                item: None,
                cancel: seconds(30),
                shutdown: seconds(30),
                restart: seconds(1),
                restart_longest: seconds(60),
            },
            tries: 3,
            backoff: Backoff { first: seconds(10), longest: seconds(3600) },
            item_limit: item::LARGEST,
            line_limit: 3 << 10,
            environment: Vec::new(),
            path: "/usr/local/bin:/usr/bin:/bin".into(),
            limits: Limits { core: Some(0), ..Limits::default() },
            umask: 0o077,
            config: Box::default(),
            error_class: "Ruote::Amqp::RemoteError".into(),
            broker: Broker::default(),
            store: places.store.clone(),
            safety: Safety::Power,
            keep: Some(seconds(30 * 86_400)),
            keep_size: None,
            spool: places.spool.clone(),
            run: places.run.clone(),
            secrets: places.config.iter().cloned().collect(),
            ready_fd: None,
            life: Life::Service { is_drained: false },
            log_level: LevelFilter::Info,
        };
        Self {
            settings,
            participant: None,
            queue: None,
            no_file: None,
            environment: BTreeMap::new(),
            config: BTreeMap::new(),
            services: BTreeMap::new(),
            notice: Notice::default(),
            origins: BTreeMap::new(),
        }
    }

    /// Returns the same for the participant in another directory.
    pub(super) fn of(&self, directory: &Path) -> Self {
        let mut draft = self.clone();
        directory.clone_into(&mut draft.settings.directory);
        draft
    }

    /// Lays the entries of a file over what is known; returns what is wrong with them.
    pub(super) fn lay(&mut self, entries: &[Entry], scope: Scope, path: &Path) -> Vec<Problem> {
        let mut problems = Vec::new();
        for entry in entries {
            if problems.len() >= MOST {
                break;
            }
            let known = KEYS.iter().find(|key| key.name == entry.key && key.may_stand_in(scope));
            let Some(known) = known else {
                let why = keys::unknown(&entry.key, scope);
                problems.push(Problem::new(entry.at, &entry.key, why));
                continue;
            };
            let field = Field { key: known.name, node: &entry.value };
            if known.name == "participants" {
                match field.entries() {
                    Ok(below) => problems.extend(
                        self.lay(below, Scope::Participants, path)
                            .into_iter()
                            .map(|why| why.below("participants")),
                    ),
                    Err(why) => problems.push(why),
                }
                continue;
            }
            if known.name == "services" {
                problems.extend(services::lay(field, path, &mut self.services));
                continue;
            }
            if known.name == "notice" {
                problems.extend(notice::lay(field, &mut self.notice));
                continue;
            }
            let before = problems.len();
            self.set(entry, field, path, &mut problems);
            if problems.len() == before {
                self.note(known.name.into(), entry, path);
            }
        }
        // Which broker it is may be said behind it.
        if scope == Scope::Own && self.settings.broker.kind == BrokerKind::Embedded {
            problems.extend(self.no_file.take());
        }
        problems
    }

    fn note(&mut self, key: String, entry: &Entry, path: &Path) {
        self.origins.insert(key, Origin { path: path.to_owned(), line: entry.at.line });
    }

    /// Sets what stands under one key.
    fn set(&mut self, entry: &Entry, field: Field<'_>, path: &Path, problems: &mut Vec<Problem>) {
        match field.key {
            "environment" | "limits" | "retry" | "restart" | "config" | "broker" => {
                self.set_below(field, path, problems);
            }
            _ => {
                let set = self.set_participant(field).or_else(|()| self.set_site(field));
                debug_assert!(set.is_ok(), "{} is in the table and is not read", entry.key);
                if let Ok(Err(why)) = set {
                    problems.push(why);
                }
            }
        }
    }

    /// Sets what a participant may say about itself; `Err(())` = not such a key.
    fn set_participant(&mut self, field: Field<'_>) -> Result<Answer, ()> {
        let s = &mut self.settings;
        Ok(match field.key {
            "participant" => put(&mut self.participant, field.name().map(Some)),
            "queue" => {
                let queue = field.queue();
                self.no_file = queue.as_ref().ok().and_then(|_| field.name().err());
                put(&mut self.queue, queue.map(Some))
            }
            "mode" => put(&mut s.mode, field.one_of(&MODES)),
            "command" => put(&mut s.command, field.command()),
            "exoskeleton" => put(&mut s.exoskeleton, field.command().map(Some)),
            "build" => put(&mut s.build, field.command()),
            "user" => put(&mut s.user, field.account().map(Some)),
            "instances" => put(&mut s.instances, field.count(1..=1000).map(|n| n as u16)),
            "time-limit" => put(&mut s.times.item, field.duration_or_none(MS)),
            "start-limit" => put(&mut s.times.start, field.duration(MS)),
            "cancel-grace" => put(&mut s.times.cancel, field.duration(Duration::ZERO)),
            "shutdown-grace" => put(&mut s.times.shutdown, field.duration(Duration::ZERO)),
            "tries" => put(&mut s.tries, field.count(1..=1_000_000).map(|n| n as u32)),
            "item-limit" => {
                put(&mut s.item_limit, field.size(1024..=item::MOST as u64).map(|n| n as usize))
            }
            "line-limit" => put(&mut s.line_limit, field.size(64..=LINE).map(|n| n as usize)),
            "path" => put(&mut s.path, field.search_path()),
            "umask" => put(&mut s.umask, field.mask()),
            "error-class" => put(&mut s.error_class, field.line()),
            "ready-fd" => put(&mut s.ready_fd, field.descriptor_or_none()),
            "log-level" => put(&mut s.log_level, field.one_of(&LEVELS)),
            _ => return Err(()),
        })
    }

    /// Sets what holds for the site; `Err(())` = not such a key.
    fn set_site(&mut self, field: Field<'_>) -> Result<Answer, ()> {
        let s = &mut self.settings;
        Ok(match field.key {
            "worker-user" => put(&mut s.worker_user, field.account().map(Some)),
            "store" => put(&mut s.store, field.folder()),
            "safety" => put(&mut s.safety, field.one_of(&SAFETIES)),
            "keep" => put(&mut s.keep, field.duration_or_none(Duration::from_secs(60))),
            "keep-size" => put(&mut s.keep_size, field.size_or_none(KEPT..=i64::MAX as u64)),
            "spool" => put(&mut s.spool, field.folder()),
            "run" => put(&mut s.run, field.folder()),
            _ => return Err(()),
        })
    }

    /// Sets the keys below one whose mappings are merged key by key.
    fn set_below(&mut self, field: Field<'_>, path: &Path, problems: &mut Vec<Problem>) {
        let entries = match field.entries() {
            Ok(entries) => entries,
            Err(why) => return problems.push(why),
        };
        for entry in entries {
            if problems.len() >= MOST {
                break;
            }
            let whole = format!("{}.{}", field.key, entry.key);
            let set = match field.key {
                "environment" => self.set_variable(entry, &whole),
                "limits" => self.set_limit(&entry.key, Field { key: &whole, node: &entry.value }),
                "broker" => broker::set(entry, &whole, &mut self.settings.broker),
                "config" => self.set_config(&entry.key, &entry.value, &whole),
                delays => self.set_delay(delays, entry, &whole),
            };
            match set {
                Ok(()) => self.note(whole, entry, path),
                Err(why) => problems.push(why),
            }
        }
    }

    fn set_variable(&mut self, entry: &Entry, whole: &str) -> Answer {
        let name = &entry.key;
        let is_part = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let flaw = if name.is_empty()
            || !name.bytes().all(is_part)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            Some("a variable's name has letters, digits and _, and begins with no digit")
        } else if name == "PATH" {
            Some("is set by the key path")
        } else if name.starts_with("SKYNET_") {
            Some("exo sets the variables that begin with SKYNET_ itself")
        } else {
            None
        };
        if let Some(flaw) = flaw {
            return Err(Problem::new(entry.at, whole, flaw));
        }
        let value = Field { key: whole, node: &entry.value }.text()?.to_owned();
        self.environment.insert(name.clone(), value);
        Ok(())
    }

    fn set_limit(&mut self, name: &str, field: Field<'_>) -> Answer {
        const MOST: u64 = u64::MAX >> 1;
        let count = || if field.is_none() { Ok(None) } else { field.count(1..=MOST).map(Some) };
        let size = |least| field.size_or_none(least..=MOST);
        let limits = &mut self.settings.limits;
        match name {
            "processes" => put(&mut limits.processes, count()),
            "files" => put(&mut limits.files, count()),
            "memory" => put(&mut limits.memory, size(1)),
            "file-size" => put(&mut limits.file_size, size(0)),
            "core" => put(&mut limits.core, size(0)),
            "cpu" => {
                let time = field.duration_or_none(Duration::from_secs(1))?;
                if time.is_some_and(|time| time.subsec_nanos() != 0) {
                    return field.wrong("whole seconds are expected");
                }
                limits.cpu_seconds = time.map(|time| time.as_secs());
                Ok(())
            }
            _ => field.wrong(keys::nearest(name, &LIMITS)),
        }
    }

    fn set_delay(&mut self, which: &str, entry: &Entry, whole: &str) -> Answer {
        let field = Field { key: whole, node: &entry.value };
        let s = &mut self.settings;
        match (which, entry.key.as_str()) {
            ("retry", "first") => put(&mut s.backoff.first, field.duration(Duration::ZERO)),
            ("retry", "longest") => put(&mut s.backoff.longest, field.duration(Duration::ZERO)),
            ("restart", "first") => put(&mut s.times.restart, field.duration(10 * MS)),
            ("restart", "longest") => put(&mut s.times.restart_longest, field.duration(10 * MS)),
            (_, name) => Err(Problem::new(entry.at, whole, keys::nearest(name, &DELAYS))),
        }
    }

    fn set_config(&mut self, name: &str, value: &Node, whole: &str) -> Answer {
        let mut text = String::new();
        json::write(value, &mut text).map_err(|why| why.below(whole))?;
        self.config.insert(name.to_owned(), text);
        Ok(())
    }

    /// Fills in what follows from the rest, and looks at what must agree.
    pub(super) fn finish(mut self) -> Result<(Settings, BTreeMap<String, Origin>), Vec<Problem>> {
        let mut problems = self.disagreements();
        let s = &mut self.settings;
        s.environment = self.environment.into_iter().collect();
        let name = s.directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        s.participant = self.participant.unwrap_or_else(|| name.to_owned());
        if let Some(flaw) = work::name::flaw(&s.participant) {
            let why = format!("the directory's name, \"{name}\", {flaw}; set participant: NAME");
            problems.push(Problem::missing("participant", why));
        }
        s.queue = self.queue.unwrap_or_else(|| s.participant.clone());
        // Where the participant is of the worker's user, it may not open this either.
        s.secrets.extend(s.broker.password_file.clone());
        let socket = s.socket();
        if socket.as_os_str().len() > SOCKET {
            let why = format!("{} is longer than {SOCKET} bytes", socket.display());
            problems.push(Problem::missing("run", why));
        }
        problems.extend(unknown_folders(s));
        match config_text(&self.config) {
            Ok(config) => s.config = config,
            Err(why) => problems.push(why),
        }
        problems.extend(long_variables(s));
        if problems.is_empty() { Ok((self.settings, self.origins)) } else { Err(problems) }
    }

    /// Names the participant's control socket, whatever else is wrong or missing.
    pub(super) fn socket(mut self) -> Result<PathBuf, Vec<Problem>> {
        let s = &mut self.settings;
        let name = s.directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        s.participant = self.participant.unwrap_or_else(|| name.to_owned());
        let mut problems = unknown_folders(s);
        problems.retain(|problem| problem.key == "run");
        if let Some(flaw) = work::name::flaw(&s.participant) {
            let why = format!("the directory's name, \"{name}\", {flaw}");
            problems.push(Problem::missing("participant", why));
        }
        if problems.is_empty() { Ok(s.socket()) } else { Err(problems) }
    }

    /// As [`Draft::finish`] where there is no participant: what the site's files say of the site.
    pub(super) fn finish_site(self) -> Result<Settings, Vec<Problem>> {
        let problems = unknown_folders(&self.settings);
        if problems.is_empty() { Ok(self.settings) } else { Err(problems) }
    }

    fn disagreements(&self) -> Vec<Problem> {
        let s = &self.settings;
        let mut problems = Vec::new();
        if s.command.is_empty() && s.exoskeleton.is_none() {
            let why = "is missing; add the program, as in \"command: ./work\"";
            problems.push(Problem::missing("command", why));
        }
        let longest = |first, longest| format!("first, {first}, is more than longest, {longest}");
        let span = work::units::Span;
        if s.backoff.first > s.backoff.longest {
            let why = longest(span(s.backoff.first), span(s.backoff.longest));
            problems.push(self.late_problem("retry", &why));
        }
        if s.times.restart > s.times.restart_longest {
            let why = longest(span(s.times.restart), span(s.times.restart_longest));
            problems.push(self.late_problem("restart", &why));
        }
        if let Some((key, why)) = broker::disagreement(&s.broker) {
            problems.push(self.late_problem(key, why));
        }
        problems
    }

    fn late_problem(&self, key: &str, why: &str) -> Problem {
        let from = self.origins.get(key);
        let why = from.map_or_else(|| why.to_owned(), |from| format!("{why} (see {from})"));
        Problem::missing(key, why)
    }
}

fn unknown_folders(s: &Settings) -> Vec<Problem> {
    let problem = |key: &str| {
        let why = format!(
            "is not known: HOME is no folder that this user may enter, and the account has none; set HOME or \
             XDG_STATE_HOME, or {key} in a skynet.yaml, whose folder SKYNET_CONFIG names"
        );
        Problem::missing(key, why)
    };
    let all = [("store", &s.store), ("spool", &s.spool), ("run", &s.run)];
    let unknown = all.iter().filter(|(_, folder)| folder.as_os_str().is_empty());
    unknown.map(|(key, _)| problem(key)).collect()
}

/// What does not fit into a variable of the participant, which could never be started.
fn long_variables(s: &Settings) -> Vec<Problem> {
    let as_variable = (s.mode == Mode::PerItem).then(|| (SETTINGS, "config", s.config.get()));
    let own = s.environment.iter().map(|(name, value)| (name.as_str(), "environment", &**value));
    let all =
        own.chain(as_variable).map(|(name, key, value)| (name, key, name.len() + 1 + value.len()));
    let long = all.filter(|(.., bytes)| *bytes > VARIABLE);
    let problem = |(name, key, bytes): (&str, &str, usize)| {
        let why =
            format!("the variable {name} has {bytes} bytes with its name; {VARIABLE} are allowed");
        Problem::missing(key, why)
    };
    long.map(problem).collect()
}

/// Bytes of the longest name of a socket.
const SOCKET: usize = 107;

fn config_text(config: &BTreeMap<String, String>) -> Result<Box<RawValue>, Problem> {
    let mut text = String::from("{");
    for (i, (key, value)) in config.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        json::string(key, &mut text);
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    RawValue::from_string(text).map_err(|why| Problem::missing("config", why.to_string()))
}

fn put<T>(place: &mut T, value: Result<T, Problem>) -> Answer {
    *place = value?;
    Ok(())
}
