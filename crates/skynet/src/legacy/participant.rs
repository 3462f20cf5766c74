//! A participant's directory, from the keys of older hosts.

use super::configuration::Configuration;
use super::expand::{self, expand};
use super::find::path_of;
use super::handler::{self, Handler, Kind};
use super::ini::{self, Key, Section};
use super::{Directory, Found, Note, place, yaml};
use crate::failure::Failure;
use crate::here::Here;
use crate::secrets::is_secret_value;
use crate::tree::text::{self, Text};
use crate::tree::{Made, Readers};
use exo::settings::BrokerKind;
use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// What the code was called where nothing else was said.
const USUAL_CODE: &str = "participant_logic.py";
/// Keys of no use here: exo does it by itself.
const UNNEEDED: [&str; 3] = ["redirect_stderr", "process_name", "user_managed"];

pub(super) fn directory(
    found: &Found,
    keys: &[Key],
    sections: &[Section],
    here: &Here,
) -> Result<Directory, Failure> {
    let (name, file) = (found.name.as_str(), found.file.as_path());
    let mut notes = Vec::new();
    let code = ini::find(keys, "code");
    let path = path_of(file, code.map_or(USUAL_CODE, |key| &key.value));
    let (code_name, code_text) = code_of(&path)?;
    let copied = format!("{code_name} was copied, and is run by Python 3; what it imports was not");
    notes.push(match code {
        Some(key) => Note::of(key, &copied),
        None => Note { line: 1, text: format!("code: {copied}") },
    });
    notes.extend(error_class(here));
    let instead = Instead::of(name, here);
    let mut yaml_text = String::new();
    let mut own = Configuration::new(sections, &instead.value, &mut notes);
    for key in counting(keys, &mut notes) {
        notes.extend(Note::of_comment(key));
        match carried(found, key, &instead, here.site.broker.kind) {
            Carried::As(text) => yaml_text.push_str(&text),
            Carried::But(text, without) => {
                yaml_text.push_str(&text);
                notes.extend(without);
            }
            Carried::To(section, text, why) => {
                own.add(section, &key.name, as_python_reads(key, found));
                yaml_text.push_str(&text);
                notes.extend(why.map(|why| Note::of(key, &why)));
            }
            Carried::Silently => {}
            Carried::Not(why) => notes.push(Note::of(key, &why)),
        }
    }
    let from = format!("{}, by skynet import", super::shown(file));
    let handler = Handler { code: &code_name, kind: Kind::Handler, from: &from, more: &yaml_text };
    let mut files = handler::files(&handler);
    let readers = if code_text.is_open { Readers::All } else { Readers::Participant };
    files.push(Made::plain(&code_name, code_text.text).read_by(readers));
    files.extend(own.file(name, found.is_open));
    Ok(Directory { files, notes })
}

/// Returns a value as Python's configparser is to read it: what supervisor expanded is, and no other `%` means
/// anything.
fn as_python_reads<'a>(key: &'a Key, found: &Found) -> Cow<'a, str> {
    if !ini::is_supervisor(&key.section) {
        return Cow::Borrowed(&key.value);
    }
    let value = expand(key.value.trim(), key, &found.file);
    Cow::Owned(value.shown().replace('%', "%%"))
}

/// Returns the keys that count: of those that say the same, the last one that is not blank.
fn counting<'a>(keys: &'a [Key], notes: &mut Vec<Note>) -> Vec<&'a Key> {
    let subject = |key: &'a Key| if key.name == "runas" { "user" } else { &key.name };
    let mut counting: Vec<&Key> = Vec::new();
    for key in keys.iter().rev() {
        match counting.iter().find(|last| subject(last) == subject(key)) {
            None if subject(key) == "user" && key.value.trim().is_empty() => {}
            None => counting.push(key),
            Some(last) if last.value.trim() != key.value.trim() => {
                let text = format!("line {} says otherwise, and counts", last.line);
                notes.push(Note::of(key, &text));
            }
            Some(_) => {}
        }
    }
    counting.reverse();
    counting
}

/// Older hosts had the class of their engine's errors built in. Which engine there is nobody says, and
/// one that does not know the class drops the answer.
fn error_class(here: &Here) -> Option<Note> {
    let is_usual = here.site.error_class == work::item::ERROR_CLASS;
    let text = format!(
        "errors are answered as {}, which BOSS 0.12 does not know: its processes hang where a step \
         fails; for BOSS set participants.error-class in skynet.yaml to \"BOSS::RemoteError\"",
        here.site.error_class
    );
    let is_read = here.site.broker.kind == BrokerKind::RabbitMq;
    (is_read && is_usual).then_some(Note { line: 1, text })
}

/// Where what is secret goes instead, as notes say it.
struct Instead {
    value: String,
    variable: String,
}

impl Instead {
    fn of(name: &str, here: &Here) -> Self {
        if here.is_system() {
            let put =
                |end| format!("put it into /etc/skynet/{name}.{end}, for its user alone to read");
            return Self { value: put("conf"), variable: put("env") };
        }
        Self {
            value: format!("put it into {name}.conf beside the code, for you alone to read"),
            variable: "have the code read it from a file that you alone read".to_owned(),
        }
    }
}

fn code_of(path: &Path) -> Result<(String, Text), Failure> {
    let code = text::read("read the participant's code,", path, path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let refuse = |why: &str| Err(Failure::refused(format!("{}: {why}", path.display())));
    if let Some(flaw) = handler::flaw(&name) {
        return refuse(flaw);
    }
    // Whoever calls may read more than who wrote the path: it must be what it is taken for.
    if handler::kind(&code.text) != Some(Kind::Handler) {
        return refuse("it has no class ParticipantHandler");
    }
    Ok((name, code))
}

enum Carried {
    /// As this line of exo.yaml.
    As(String),
    /// As these lines, without what is told.
    But(String, Vec<Note>),
    /// Into this section of the code's configuration, and as this text of exo.yaml, with a word or without.
    To(&'static str, String, Option<String>),
    /// It is so without a word.
    Silently,
    /// It is not, and why.
    Not(String),
}

fn carried(found: &Found, key: &Key, instead: &Instead, broker: BrokerKind) -> Carried {
    if key.name == "environment" {
        return variables(key, &found.file, instead);
    }
    let value = expand(key.value.trim(), key, &found.file);
    match (setting(&found.name, &key.name, &value.shown(), broker), value.not_plain()) {
        (Carried::As(_) | Carried::To(..), Some(what)) => {
            Carried::Not(format!("not carried over: exo.yaml has nothing like {what}"))
        }
        (carried, _) => carried,
    }
}

fn setting(name: &str, key: &str, value: &str, broker: BrokerKind) -> Carried {
    let count = || value.parse::<u32>().ok();
    match key {
        "name" | "code" => Carried::Silently,
        "queue" if value == name => Carried::Silently,
        "queue" => match broker.queue_flaw(value) {
            None => Carried::To(ini::PARTICIPANT, format!("queue: {}\n", yaml(value)), None),
            Some(flaw) => {
                Carried::Not(format!("the queue is called as the participant: {value} {flaw}"))
            }
        },
        "regexp" if value == name => Carried::Silently,
        // Whoever registers it looks there.
        "regexp" => Carried::To(
            ini::PARTICIPANT,
            format!("config:\n  {}:\n    regexp: {}\n", ini::PARTICIPANT, yaml(value)),
            Some(format!(
                "{value} is kept, and not registered with an engine: skynet register {name}"
            )),
        ),
        // Whoever starts it, as where nothing is said: here that is the account of all participants.
        "runas" | "user" if value.is_empty() => Carried::Silently,
        "runas" | "user" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
            Carried::Not(format!("a number; write the account's name: user: NAME for {value}"))
        }
        "runas" | "user" => Carried::As(format!("user: {}\n", yaml(value))),
        "numprocs" => match count() {
            Some(n) if n > 0 => Carried::As(format!("instances: {n}\n")),
            _ => Carried::Not("not a number of instances".to_owned()),
        },
        "stopwaitsecs" => match count() {
            Some(n) => Carried::As(format!("shutdown-grace: {n}s\n")),
            None => Carried::Not("not a number of seconds".to_owned()),
        },
        "umask" => Carried::As(format!("umask: {}\n", yaml(&format!("{value:0>3}")))),
        "log_level" => Carried::To("skynet", String::new(), None),
        "autostart" => Carried::Not(super::autostart(value).to_owned()),
        // As supervisor has it where nothing is said: what is started again there is so here.
        "autorestart" if ["unexpected", "true"].contains(&value) => Carried::Silently,
        "autorestart" => Carried::Not("exo is started again whenever it ends".to_owned()),
        "startsecs" if value == "1" => Carried::Silently,
        "startretries" if value == "3" => Carried::Silently,
        "startsecs" | "startretries" => Carried::Not(
            "not carried over: it is started again without end, see restart in exo.yaml(5)"
                .to_owned(),
        ),
        unneeded if UNNEEDED.contains(&unneeded) => Carried::Silently,
        logs if logs.starts_with("stdout_") || logs.starts_with("stderr_") => {
            Carried::Not("not carried over: its log is kept by multilog, see log/run".to_owned())
        }
        _ => Carried::Not("not carried over".to_owned()),
    }
}

fn variables(key: &Key, file: &Path, instead: &Instead) -> Carried {
    let pairs = match ini::environment(&key.value) {
        Ok(pairs) => pairs,
        Err(why) => return Carried::Not(why.to_owned()),
    };
    let (mut text, mut path, mut notes) = (String::new(), String::new(), Vec::new());
    for (name, value) in pairs {
        let expanded = expand(&value, key, file);
        let value = expanded.shown();
        let flaw = if is_secret_value(&name, &value) {
            Some(instead.variable.clone())
        } else if !expand::is_variable(&name) || name.starts_with("SKYNET_") {
            Some("exo.yaml has no variables of such a name".to_owned())
        } else {
            expanded.not_plain().map(|what| format!("exo.yaml has nothing like {what}"))
        };
        if let Some(flaw) = flaw {
            notes.push(Note::left_out(key.line, &format!("{}, {name},", place(key)), &flaw));
        } else if name == "PATH" {
            path = format!("path: {}\n", yaml(&value));
        } else {
            text.push_str(if text.is_empty() { "environment:\n" } else { "" });
            let _ = writeln!(text, "  {}: {}", yaml(&name), yaml(&value));
        }
    }
    Carried::But(text + &path, notes)
}
