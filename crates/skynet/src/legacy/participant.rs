//! A participant's directory, from the keys of older hosts.

use super::find::path_of;
use super::ini::{self, Key, Section};
use super::{Directory, Note, yaml};
use crate::failure::Failure;
use crate::tree::Made;
use crate::tree::given;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What the code was called where nothing else was said.
const USUAL_CODE: &str = "participant_logic.py";
/// The program that speaks with exo for the code.
const HANDLER: &str = "handler.py";
/// What `log_level` was called, and is.
const LEVELS: [(&str, &str); 6] = [
    ("debug", "debug"),
    ("info", "info"),
    ("warn", "warning"),
    ("warning", "warning"),
    ("error", "fatal"),
    ("critical", "fatal"),
];
/// Keys of no use here: exo does it by itself.
const UNNEEDED: [&str; 6] =
    ["autorestart", "startsecs", "startretries", "redirect_stderr", "process_name", "user_managed"];

pub(super) fn directory(
    name: &str,
    file: &Path,
    keys: &[Key],
    sections: &[Section],
) -> Result<Directory, Failure> {
    let mut notes = Vec::new();
    let code = ini::find(keys, "code");
    let path = path_of(file, code.map_or(USUAL_CODE, |key| &key.value));
    let (code_name, text) = code_of(&path)?;
    let line = code.map_or(1, |key| key.line);
    let copied =
        format!("code: {code_name} was copied, and is run by Python 3; what it imports was not");
    notes.push(Note { line, text: copied });
    let mut yaml_text = format!(
        "# From {}, by skynet import.\ncommand: ./{HANDLER}\nmode: persistent\n\
         # The older hosts answered the first failure.\ntries: 1\n",
        super::shown(file)
    );
    for key in keys {
        match setting(name, key) {
            Carried::As(text) => yaml_text.push_str(&text),
            Carried::Silently => {}
            Carried::Not(why) => notes.push(Note::of(key, &why)),
        }
    }
    yaml_text.push_str(&config_of(sections));
    let handler = HANDLER_TEXT.replace("{CODE}", &code_name).replace("{NAME}", name);
    let mut files = vec![
        Made::plain("exo.yaml", yaml_text),
        Made::program(HANDLER, handler),
        Made::plain(&code_name, text),
    ];
    files.extend(given::PYTHON_PACKAGE.iter().map(|given| given.below("skynet/")));
    Ok(Directory { files, notes })
}

fn code_of(path: &PathBuf) -> Result<(String, String), Failure> {
    let text = fs::read_to_string(path)
        .map_err(|why| Failure::io("read the participant's code,", path.display(), &why))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.chars().all(is_plain) || name.starts_with('.') {
        let line = format!("{}: rename it: letters, digits, -, _ and .", path.display());
        return Err(Failure::refused(line));
    }
    if name == HANDLER {
        let line = format!("{}: the code cannot be called {HANDLER}; rename it", path.display());
        return Err(Failure::refused(line));
    }
    Ok((name, text))
}

enum Carried {
    /// As this line of exo.yaml.
    As(String),
    /// It is so without a word.
    Silently,
    /// It is not, and why.
    Not(String),
}

fn setting(name: &str, key: &Key) -> Carried {
    let value = key.value.trim();
    let count = || value.parse::<u32>().ok();
    match key.name.as_str() {
        "name" | "code" => Carried::Silently,
        "queue" if value == name => Carried::Silently,
        "queue" => match work::name::flaw(value) {
            None => Carried::As(format!("queue: {}\n", yaml(value))),
            Some(flaw) => {
                Carried::Not(format!("the queue is called as the participant: {value} {flaw}"))
            }
        },
        "regexp" if value == name => Carried::Silently,
        "regexp" => {
            Carried::Not(format!("{value} is not registered: whoever sends items names the queue"))
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
        "log_level" => level(value),
        "environment" => variables(value),
        "autostart" => Carried::Not("nothing is enabled yet: skynet enable".to_owned()),
        unneeded if UNNEEDED.contains(&unneeded) => Carried::Silently,
        logs if logs.starts_with("stdout_") || logs.starts_with("stderr_") => {
            Carried::Not("not carried over: its log is kept by multilog, see log/run".to_owned())
        }
        _ => Carried::Not("not carried over".to_owned()),
    }
}

fn level(value: &str) -> Carried {
    let small = value.to_ascii_lowercase();
    match LEVELS.iter().find(|(old, _)| *old == small) {
        Some((_, new)) => Carried::As(format!("log-level: {new}\n")),
        None => Carried::Not("unknown level".to_owned()),
    }
}

fn variables(value: &str) -> Carried {
    match ini::environment(value) {
        Ok(pairs) => {
            let mut text = String::from("environment:\n");
            for (name, value) in pairs.iter().filter(|(name, _)| name != "PATH") {
                let _ = writeln!(text, "  {}: {}", yaml(name), yaml(value));
            }
            for (_, path) in pairs.iter().filter(|(name, _)| name == "PATH") {
                let _ = writeln!(text, "path: {}", yaml(path));
            }
            Carried::As(text)
        }
        Err(why) => Carried::Not(why.to_owned()),
    }
}

/// Returns the sections for the code below `config`, where the handler finds them.
fn config_of(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        if text.is_empty() {
            text.push_str("config:\n");
        }
        let _ = writeln!(text, "  {}:", yaml(&section.name));
        for key in &section.keys {
            let _ = writeln!(text, "    {}: {}", yaml(&key.name), yaml(&key.value));
        }
        if section.keys.is_empty() {
            text.truncate(text.len() - 1);
            text.push_str(" {}\n");
        }
    }
    text
}

/// Gives the code, written for the class `ParticipantHandler`, what it expects, and speaks the
/// protocol of today for it.
const HANDLER_TEXT: &str = r#"#!/usr/bin/env python3
"""Runs the class ParticipantHandler of {CODE} as a participant; made by skynet import."""

import configparser
import importlib.util
import json
import logging
import os
import sys

import skynet

HERE = os.path.dirname(os.path.abspath(__file__))
skynet.Fields.as_dict = lambda self: self


class Control:
    """A message about the participant's life, or about an item."""

    def __init__(self, message, config=None):
        self.message, self.config = message, config

    def start(self):
        return self.message == "start"

    def stop(self):
        return self.message == "stop"

    def die(self):
        return self.message == "die"


class Workitem:
    """An item with the names that handlers use."""

    is_cancel = False

    def __init__(self, item):
        object.__setattr__(self, "_item", item)

    def __getattr__(self, name):
        item = self._item
        if hasattr(type(item), name):
            return getattr(item, name)
        return item.data.get(name)

    def __setattr__(self, name, value):
        setattr(self._item, name, value)

    @property
    def timed_out(self):
        return self._item.fields["__timed_out__"] if "__timed_out__" in self._item.fields else None

    @property
    def sid(self):
        fei = self._item.fei
        return "!".join(str(part or "") for part in (fei.expid, fei.subid or fei.sub_wfid, fei.wfid))

    def to_h(self):
        return self._item.data

    def dump(self):
        return json.dumps(self._item.data, sort_keys=True, indent=4, default=str)


def load():
    sys.path.insert(0, HERE)
    spec = importlib.util.spec_from_file_location("participant_code", os.path.join(HERE, "{CODE}"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ParticipantHandler()


@skynet.participant
class Handler(skynet.Participant):
    def start(self, config):
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
        self.inner = load()
        self.inner.log = logging.getLogger("{NAME}")
        self.inner.send_to_engine = self.send_to_engine
        parser = configparser.RawConfigParser()
        parser.read_dict({name: dict(keys) for name, keys in config.items() if isinstance(keys, dict)})
        self.tell("handle_lifecycle_control", Control("start", parser))

    def tell(self, method, control):
        # Many handlers have only some of the methods.
        method = getattr(self.inner, method, None)
        if method:
            method(control)

    def send_to_engine(self, workitem):
        raise skynet.Final("items cannot be sent to the engine from here; use item.forward to a queue")

    def work(self, item):
        self.inner.handle_wi(Workitem(item))

    def cancel(self, item):
        self.tell("handle_wi_control", Control("cancel"))

    def stop(self):
        self.tell("handle_lifecycle_control", Control("stop"))


if __name__ == "__main__":
    skynet.run()
"#;
