//! What a service is told by its configuration, as the rest of exo sees it.

use machine::work::Backoff;
use serde_json::value::RawValue;
use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;
use work::Safety;

/// Where a process for one item finds what a persistent one is told in its first line.
pub(crate) const SETTINGS: &str = "SKYNET_SETTINGS";
/// Variable by which a process for one item gets the name of the engine's queue.
pub(crate) const ENGINE: &str = "SKYNET_ENGINE";

/// Bytes that one variable of a participant may have, its name too: Linux's limit of 32 pages, its end
/// included.
pub(crate) const VARIABLE: usize = (128 << 10) - 1;

/// Account of participants that name none.
const PARTICIPANT: &str = "nobody";

/// How the participant gets its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One process for each item: item on descriptor 0, answer on 3.
    PerItem,
    /// One process for many items: one JSON object a line, both ways, on descriptor 3.
    Persistent,
}

/// Limits of each participant process; `None` = as exo itself has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processes of its user.
    pub processes: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
    /// Bytes of address space.
    pub memory: Option<u64>,
    /// Bytes of a file that it writes.
    pub file_size: Option<u64>,
    /// Bytes of a core file.
    pub core: Option<u64>,
    /// Seconds of computing, for each process.
    pub cpu_seconds: Option<u64>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the start of a persistent participant to its hello.
    pub start: Duration,
    /// For one item; `None` = as long as it takes.
    pub item: Option<Duration>,
    /// From a cancel to KILL.
    pub cancel: Duration,
    /// From the order to shut down to KILL.
    pub shutdown: Duration,
    /// Between two starts of a persistent participant, at least.
    pub restart: Duration,
    /// The same where none of its starts leads to an answer.
    pub restart_longest: Duration,
}

/// How long an exo lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// As long as whoever tries a participant with it.
    Session,
    /// As long as its service is wanted: another exo takes its place when it is told so.
    Service {
        /// It takes no items until it is told to.
        is_drained: bool,
    },
}

/// What kind of broker items come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// The store on this machine.
    Embedded,
    /// RabbitMQ; the store keeps the record.
    RabbitMq,
}

impl BrokerKind {
    /// Says why a queue cannot be called so.
    #[must_use]
    pub fn queue_flaw(self, name: &str) -> Option<&'static str> {
        match self {
            Self::Embedded => work::name::flaw(name),
            Self::RabbitMq => work::name::queue_flaw(name),
        }
    }
}

/// Where items come from. All but `kind` is for RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// What kind of broker.
    pub kind: BrokerKind,
    /// Its name or address.
    pub host: String,
    /// Its port; `None` = the usual one.
    pub port: Option<u16>,
    /// Virtual host.
    pub vhost: String,
    /// Account there.
    pub user: String,
    /// File whose first line is the password; only the worker may read it.
    pub password_file: Option<PathBuf>,
    /// Encrypted.
    pub tls: bool,
    /// Whose certificates are trusted then; `None` = those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Queue that answers are sent to.
    pub reply_queue: String,
    /// The participant's queue is a quorum queue.
    pub quorum: bool,
    /// Deliveries after which a quorum queue drops a message, or dead-letters it.
    pub delivery_limit: Option<i32>,
    /// Where the broker puts what is rejected or dropped.
    pub dead_letter_exchange: Option<String>,
    /// How long RabbitMQ waits for an acknowledgement; `None` = for ever.
    pub consumer_timeout: Option<Duration>,
    /// Requests by AIR are answered.
    pub air: bool,
}

impl Broker {
    /// Returns its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 5671 } else { 5672 })
    }

    /// Returns where RabbitMQ is, and who we are there.
    #[must_use]
    pub fn server(&self) -> work::amqp::Server {
        work::amqp::Server {
            host: self.host.clone(),
            port: self.port(),
            vhost: self.vhost.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone().unwrap_or_default(),
            tls: self.tls,
            ca: self.ca.clone(),
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            kind: BrokerKind::Embedded,
            host: "localhost".into(),
            port: None,
            vhost: "boss".into(),
            user: "boss".into(),
            password_file: None,
            tls: false,
            ca: None,
            reply_queue: work::wire::ENGINE_QUEUE.into(),
            quorum: false,
            delivery_limit: None,
            dead_letter_exchange: None,
            // RabbitMQ's own, unless its operator sets another.
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            air: false,
        }
    }
}

/// Everything about one exo.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the participant: letters, digits, `-`, `_`, `.`; not first a dot.
    pub participant: String,
    /// Queue that it takes from.
    pub queue: String,
    /// How it gets its items.
    pub mode: Mode,
    /// Program and arguments. Without a slash the program is looked for in `path`.
    pub command: Vec<CString>,
    /// Another exoskeleton that is run instead of this one; its program and arguments.
    pub exoskeleton: Option<Vec<CString>>,
    /// What `skynet rebuild` runs to make the program anew, for exo itself nothing; empty = nothing
    /// is built.
    pub build: Vec<CString>,
    /// Directory in which it runs: that of the service.
    pub directory: PathBuf,
    /// Account that it runs as; `None` = as exo does. Only root can change it.
    pub user: Option<String>,
    /// Account that exo's worker runs as; `None` = as exo does.
    pub worker_user: Option<String>,
    /// Copies of it.
    pub instances: u16,
    /// How long things may take.
    pub times: Times,
    /// How often an item is tried.
    pub tries: u32,
    /// How long it rests between two tries.
    pub backoff: Backoff,
    /// Most bytes of an item or an answer.
    pub item_limit: usize,
    /// Most bytes of a line of its output that stay in one line of the log.
    pub line_limit: usize,
    /// Variables of its environment besides those that exo sets.
    pub environment: Vec<(String, String)>,
    /// Its `$PATH`.
    pub path: String,
    /// Its limits.
    pub limits: Limits,
    /// Its umask.
    pub umask: u32,
    /// What is below `config`, as JSON: for the participant, not for us.
    pub config: Box<RawValue>,
    /// Class of the error in an answer.
    pub error_class: String,
    /// Where items come from.
    pub broker: Broker,
    /// Folder of the store.
    pub store: PathBuf,
    /// What its changes survive.
    pub safety: Safety,
    /// How long jobs that have stopped are kept, and classes of faults; `None` = for ever.
    pub keep: Option<Duration>,
    /// Bytes that the store may have in use before those that were submitted first are removed; `None` = any.
    pub keep_size: Option<u64>,
    /// Folder in which drop folders are; that of a queue has its name.
    pub spool: PathBuf,
    /// Folder of the control socket, which is called `NAME.sock`.
    pub run: PathBuf,
    /// Folders, besides the three above, that no participant may open where it has exo's own user:
    /// those of the configuration and of credentials.
    pub secrets: Vec<PathBuf>,
    /// Descriptor from 3 on, left open by whoever started us, that gets a newline and is closed when
    /// we are ready.
    pub ready_fd: Option<i32>,
    /// How long it lives.
    pub life: Life,
    /// Least important message that is said.
    pub log_level: log::LevelFilter,
}

/// Returns the name of an instance.
pub(crate) fn instance_name(participant: &str, number: u16) -> String {
    format!("{participant}_{number}")
}

impl Settings {
    /// Returns the account that the participant runs as where root starts exo.
    #[must_use]
    pub fn account(&self) -> &str {
        self.user.as_deref().unwrap_or(PARTICIPANT)
    }

    /// Returns the queue on which the engine hears of everything.
    #[must_use]
    pub fn engine(&self) -> &str {
        match self.broker.kind {
            BrokerKind::Embedded => work::wire::ENGINE_QUEUE,
            BrokerKind::RabbitMq => &self.broker.reply_queue,
        }
    }

    /// Returns the control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join(self.socket_name())
    }

    /// Returns the names of the instances, in their order.
    pub fn instance_names(&self) -> impl Iterator<Item = String> {
        (0..self.instances).map(|number| instance_name(&self.participant, number))
    }

    /// Returns its name in the folder of the control sockets.
    pub(crate) fn socket_name(&self) -> String {
        format!("{}.sock", self.participant)
    }

    /// Returns the name of the lock beside it, of the exo that runs.
    pub(crate) fn lock_name(&self) -> String {
        format!("{}.lock", self.participant)
    }
}
