//! The key `notice`: who is told of trouble.

use super::keys::nearest;
use super::problem::Problem;
use super::tree::{Entry, Kind as Node};
use super::values::Field;
use machine::work::Backoff;
use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A service ended that was to run.
    Crash,
    /// A service, or an instance of a participant, does not come up.
    NotUp,
    /// An instance of a persistent participant went away, or the queue cannot be reached.
    Disconnected,
    /// A work item was put away.
    DeadItem,
}

impl Kind {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 4] = [
        ("crash", Self::Crash),
        ("not-up", Self::NotUp),
        ("disconnected", Self::Disconnected),
        ("dead-item", Self::DeadItem),
    ];

    /// Returns its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind)
    }
}

/// Where something is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A program that reads the notice, a JSON object.
    Command(Vec<CString>),
    /// An address.
    Mail(String),
    /// A file that holds a URL, which is a secret as a rule.
    Webhook(PathBuf),
    /// A file to which the notice is appended as a line.
    File(PathBuf),
}

impl What {
    /// Returns what names it: in lists, in the log, and from one life of the notifier to the next.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                format!("command:{}", words.join(" "))
            }
            Self::Mail(address) => format!("mail:{address}"),
            Self::Webhook(path) => format!("webhook:{}", path.display()),
            Self::File(path) => format!("file:{}", path.display()),
        }
    }
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub what: What,
    /// Account that does it where root runs the notifier; `None` = the one of exo's workers. A file
    /// is written by root itself.
    pub user: Option<String>,
    /// How long it may take.
    pub time_limit: Duration,
}

/// What is told, how often, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Least time between two notices of one service, kind and signature.
    pub every: Duration,
    /// What is told.
    pub kinds: Vec<Kind>,
    /// Lines of the log that go with it.
    pub lines: usize,
    /// Delays between the tries of a target.
    pub retry: Backoff,
    /// The program that takes mail.
    pub sendmail: PathBuf,
    /// Who is told; nobody where it is empty.
    pub targets: Vec<Target>,
}

impl Default for Notice {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            every: seconds(3600),
            kinds: Kind::ALL.map(|(_, kind)| kind).into(),
            lines: 20,
            retry: Backoff { first: seconds(10), longest: seconds(3600) },
            sendmail: "/usr/sbin/sendmail".into(),
            targets: Vec::new(),
        }
    }
}

const KEYS: [&str; 6] = ["every", "kinds", "lines", "retry", "sendmail", "targets"];
const TARGET_KEYS: [&str; 6] = ["command", "mail", "webhook", "file", "user", "time-limit"];
/// So many are enough for anybody, and bound how many processes there are at once.
const MOST_TARGETS: usize = 16;
const MOST_LINES: u64 = 200;
const USUAL_LIMIT: Duration = Duration::from_secs(30);

/// Lays what stands below `notice` over what is known; returns what is wrong with it.
pub(super) fn lay(field: Field<'_>, notice: &mut Notice) -> Vec<Problem> {
    let entries = match field.entries() {
        Ok(entries) => entries,
        Err(why) => return vec![why],
    };
    let set = entries.iter().map(|entry| set(entry, notice));
    let mut problems: Vec<Problem> = set.filter_map(Result::err).collect();
    if problems.is_empty() && notice.retry.first > notice.retry.longest {
        let why = "first is more than longest";
        problems.push(Problem::new(field.node.at, "notice.retry", why));
    }
    problems
}

fn set(entry: &Entry, notice: &mut Notice) -> Result<(), Problem> {
    let key = format!("notice.{}", entry.key);
    let field = Field { key: &key, node: &entry.value };
    match entry.key.as_str() {
        "every" => notice.every = field.duration(Duration::from_secs(1))?,
        "kinds" => {
            notice.kinds =
                list(field)?.map(|field| field.one_of(&Kind::ALL)).collect::<Result<_, _>>()?;
        }
        "lines" => notice.lines = field.count(0..=MOST_LINES)? as usize,
        "retry" => {
            for entry in field.entries()? {
                let key = format!("{key}.{}", entry.key);
                let field = Field { key: &key, node: &entry.value };
                let least = Duration::from_secs(1);
                match entry.key.as_str() {
                    "first" => notice.retry.first = field.duration(least)?,
                    "longest" => notice.retry.longest = field.duration(least)?,
                    name => {
                        let why = nearest(name, &super::keys::DELAYS);
                        return Err(Problem::new(entry.at, key, why));
                    }
                }
            }
        }
        "sendmail" => notice.sendmail = field.folder()?,
        "targets" => notice.targets = targets(field)?,
        name => return Err(Problem::new(entry.at, &key, nearest(name, &KEYS))),
    }
    Ok(())
}

fn list(field: Field<'_>) -> Result<impl Iterator<Item = Field<'_>>, Problem> {
    match &field.node.kind {
        Node::List(nodes) => Ok(nodes.iter().map(move |node| Field { key: field.key, node })),
        Node::Plain(_) | Node::Quoted(_) | Node::Map(_) => {
            field.wrong("a list is expected here, as in \"[one, two]\"")
        }
    }
}

fn targets(field: Field<'_>) -> Result<Vec<Target>, Problem> {
    let mut targets: Vec<Target> = Vec::new();
    for field in list(field)? {
        let target = target(field)?;
        let label = target.what.label();
        if targets.iter().any(|other| other.what.label() == label) {
            return field.wrong(format!("{label} is there twice"));
        }
        targets.push(target);
    }
    if targets.len() > MOST_TARGETS {
        return field.wrong(format!("more than {MOST_TARGETS} targets"));
    }
    Ok(targets)
}

fn target(field: Field<'_>) -> Result<Target, Problem> {
    let (mut what, mut user, mut time_limit) = (None, None, USUAL_LIMIT);
    for entry in field.entries()? {
        let key = format!("{}.{}", field.key, entry.key);
        let field = Field { key: &key, node: &entry.value };
        let found = match entry.key.as_str() {
            "command" => What::Command(command(field)?),
            "mail" => What::Mail(address(field)?),
            "webhook" => What::Webhook(secret(field)?),
            "file" => What::File(field.folder()?),
            "user" => {
                user = Some(field.account()?);
                continue;
            }
            "time-limit" => {
                time_limit = field.duration(Duration::from_secs(1))?;
                continue;
            }
            name => return Err(Problem::new(entry.at, &key, nearest(name, &TARGET_KEYS))),
        };
        if what.replace(found).is_some() {
            return Err(Problem::new(
                entry.at,
                &key,
                "a target is one thing; begin another with -",
            ));
        }
    }
    let Some(what) = what else {
        return field.wrong("one of command, mail, webhook and file is missing");
    };
    if matches!(what, What::File(_)) && user.is_some() {
        return field.wrong("a file is written by who runs the notifier; leave user out");
    }
    Ok(Target { what, user, time_limit })
}

/// Its environment is empty but for a plain `$PATH`, and it runs as another user: a name that is
/// looked for could be anybody's.
fn command(field: Field<'_>) -> Result<Vec<CString>, Problem> {
    let words = field.command()?;
    if words.first().is_some_and(|first| first.to_bytes().starts_with(b"/")) {
        Ok(words)
    } else {
        field.wrong("the program must begin with a slash")
    }
}

/// An address that can be nothing else in a header, nor an option.
fn address(field: Field<'_>) -> Result<String, Problem> {
    let text = field.line()?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || "@.-_+=%/".contains(c);
    if text.starts_with('-') || !text.chars().all(is_part) || text.matches('@').count() > 1 {
        return field.wrong("one address is expected, as in \"root\" or \"ops@example.org\"");
    }
    Ok(text)
}

/// The file of a URL, not the URL: whoever may read the configuration need not know it.
fn secret(field: Field<'_>) -> Result<PathBuf, Problem> {
    if field.line()?.contains("://") {
        let right = "name a file that holds the URL and that nobody else may read (mode 0600)";
        return field.wrong(format!("a URL is often a secret; {right}"));
    }
    field.folder()
}

#[cfg(test)]
mod tests;
