//! What is installed: a directory, or the code of a handler.

use crate::builder::is_left_out;
use crate::failure::{Failure, warn};
use crate::here::Here;
use crate::legacy::again::{self, Again};
use crate::legacy::handler::{self, Handler, Kind};
use crate::legacy::ini;
use crate::screen::clean;
use crate::secrets::{self, is_secret_value};
use crate::stage::Stage;
use crate::tree::text::{self, Text};
use crate::tree::{self, Closed, Made, Readers, closed, copy};
use exo::config::{self, OWN_FILE};
use ondisk::names::RUN;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file;
use sys::linux::file::flags::O_RDONLY;

/// Bytes of the largest exo.yaml.
const LARGEST: usize = 1 << 20;
/// The section of an older participant's configuration that is about the broker.
const BROKER: &str = "boss";
/// Keys of exo.yaml.
const QUEUE: &[&str] = &["queue"];
const REGEXP: &[&str] = &["config", "participant", "regexp"];
/// The queue again, as a handler reads it in its configuration.
const TOLD_QUEUE: &[&str] = &["config", "participant", "queue"];
/// Folders of a handler's directory that are ours to make.
const PACKAGES: [&str; 3] = ["SkyNET", "RuoteAMQP", "skynet"];

/// What is installed.
#[derive(Debug)]
pub enum Source {
    /// A directory with all that is needed.
    Folder {
        /// The directory.
        fd: Fd,
        /// Its path without links.
        real: PathBuf,
    },
    /// A handler's code.
    Code {
        /// The name of its file.
        name: String,
        /// What is in it.
        text: Text,
        /// How it is run.
        kind: Kind,
    },
}

/// What is said of a handler, as nothing else says it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Said {
    /// What it is to be called, if that is said.
    #[arg(skip)]
    called: Option<String>,
    /// Of a handler: the queue that it takes items from, if it is not called as the participant.
    #[arg(short, long)]
    queue: Option<String>,
    /// Of a handler: the names of the steps that it is for, a pattern, as an engine is to be told.
    #[arg(short, long, value_name = "PATTERN")]
    regexp: Option<String>,
    /// Of a handler: the user that it runs as.
    #[arg(short, long)]
    user: Option<String>,
    /// Of a handler: its own configuration file, which is copied. Others may not read the copy if they
    /// may not read the file, or if something secret stands in it.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Of a handler: copies of it.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    instances: Option<u16>,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Filled {
    /// Where it is a handler: what messages call its exo.yaml.
    pub own_file: Option<String>,
    /// Which of the files are not for all.
    pub closed: Vec<Closed>,
}

impl Source {
    /// Opens it.
    ///
    /// # Errors
    /// It is neither, cannot be read, or is where installed participants are.
    pub fn open(path: &Path, here: &Here) -> Result<Self, Failure> {
        let real = real(path)?;
        let fd = match copy::open(path) {
            Ok(fd) => fd,
            Err(_) if !real.is_dir() => return code(&real, path),
            Err(why) => return Err(why),
        };
        let folder = &here.places().participants;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if real.starts_with(&folder) {
            let line = format!("{} is where installed participants are", real.display());
            return Err(Failure::refused(line));
        }
        if folder.starts_with(&real) {
            let line = format!("{} holds the installed participants themselves", real.display());
            return Err(Failure::refused(line));
        }
        Ok(Self::Folder { fd, real })
    }

    /// Returns what it is called: as its exo.yaml says, or its folder, or its code. What is wrong with
    /// the file is told when it is checked.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Folder { fd, real } => {
                let own = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let configuration = read(fd, OWN_FILE.as_ref());
                let settings =
                    configuration.ok().and_then(|text| config::read_text(&text, &own).ok());
                settings.map_or(own, |settings| settings.participant)
            }
            Self::Code { name, .. } => name.trim_end_matches(".py").to_owned(),
        }
    }

    /// Copies it, and adds what a handler needs. `shown` is what messages call it.
    ///
    /// # Errors
    /// It cannot be copied, or something is said of a handler that is none.
    pub fn fill(
        &self,
        stage: &Stage<'_>,
        name: &str,
        shown: &Path,
        said: &Said,
    ) -> Result<Filled, Failure> {
        let again = Again::find(&stage.before());
        let said = &said.with_config(name, again.as_ref());
        let mut own = Vec::new();
        let code = match self {
            Self::Code { name, text, kind } => {
                let readers = if text.is_open { Readers::All } else { Readers::Participant };
                own.push(Made::plain(name, text.text.clone()).read_by(readers));
                Some((name.clone(), *kind))
            }
            Self::Folder { fd, .. } => {
                copy::copy(fd, shown, &stage.dir, &is_left_out)?;
                handler_of(&stage.dir)?.map(|code| (code, Kind::Handler))
            }
        };
        let Some((code, kind)) = code else {
            return said.is_of_none(shown).map(|()| Filled::default());
        };
        if let Some(flaw) = handler::flaw(&code) {
            return Err(Failure::refused(format!("{}: {flaw}", clean(&code))));
        }
        let is_there = |folder: &&&str| stage.dir.join(folder).exists();
        if let Some(folder) = PACKAGES.iter().find(is_there) {
            let line = format!(
                "{}/{folder} is in the way of the package of that name; take it out",
                shown.display()
            );
            return Err(Failure::refused(line));
        }
        let conf = said.own_config(stage, name)?;
        let said = &said.over(conf.as_ref(), stage, name);
        let (from, more) = (format!("{code}, by skynet install"), said.lines());
        own.extend(handler::files(&Handler { code: &code, kind, from: &from, more: &more }));
        let mut own_file = format!("{OWN_FILE} made for {}", shown.display());
        if let Some(again) = again {
            own.retain(|file| file.path != OWN_FILE);
            own.push(again.own_file(&code, kind, said.values())?);
            own_file = again.path.display().to_string();
        }
        own.extend(conf);
        tree::write(&stage.dir, &own)?;
        Ok(Filled { own_file: Some(own_file), closed: closed(&own) })
    }
}

/// Returns the configuration of a handler's own. Exo speaks to the broker, so the handler needs no
/// password of it: that is left out.
fn own_config(path: &Path, name: &str) -> Result<Made, Failure> {
    let Text { text, is_open, .. } = text::read("read", &real(path)?, path)?;
    // What is no INI the handler reads by itself.
    let sections = ini::readable(&text);
    let secret = sections.iter().flat_map(|section| &section.keys);
    let secret = secret.filter(|key| is_secret_value(&key.name, &key.value));
    let (keys, others): (Vec<_>, Vec<_>) = secret.partition(|key| key.section.trim() == BROKER);
    for key in &keys {
        warn(&format!(
            "{}:{}: [{BROKER}] {} was not copied: exo speaks to the broker, see broker in exo.yaml(5)",
            path.display(),
            key.line,
            key.name
        ));
    }
    let text = ini::without(&text, &keys);
    let is_open = is_open && others.is_empty() && !secrets::is_in(&text);
    let readers = if is_open { Readers::All } else { Readers::Participant };
    Ok(Made::plain(&format!("{name}.conf"), text).read_by(readers))
}

impl Said {
    /// Returns it with the name that was said, if one was.
    #[must_use]
    pub fn called(&self, called: Option<&String>) -> Self {
        Self { called: called.cloned(), ..self.clone() }
    }

    /// Returns what the handler's own configuration says it is called, if that is given.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let [name] = self.keys(["name"]);
        name
    }

    /// Returns values of what the handler's own configuration says of it.
    fn keys<const N: usize>(&self, names: [&str; N]) -> [Option<String>; N] {
        // What is wrong with the file is told when it is copied.
        let text = self.config.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        of_participant(&text.unwrap_or_default(), names)
    }

    /// Returns it with a name only where the handler's own configuration, as it is installed, has
    /// another: then exo.yaml has to say which one counts.
    fn over(&self, conf: Option<&Made>, stage: &Stage<'_>, name: &str) -> Self {
        let text = match conf {
            Some(made) => made.text.to_string(),
            None => {
                std::fs::read_to_string(stage.dir.join(format!("{name}.conf"))).unwrap_or_default()
            }
        };
        let [other] = of_participant(&text, ["name"]);
        let called =
            self.called.clone().filter(|called| other.is_some_and(|other| other != *called));
        Self { called, ..self.clone() }
    }

    /// Returns it with the queue and the pattern that the handler's own configuration names, where
    /// nothing else is said. What holds without a word is said only where another word would stay.
    fn with_config(&self, name: &str, again: Option<&Again>) -> Self {
        let counts = |value: &String, key: &[&str]| {
            value != name || again.is_some_and(|again| again.says(key))
        };
        let [queue, regexp] = self.keys(["queue", "regexp"]);
        let queue = self.queue.clone().or(queue.filter(|value| counts(value, QUEUE)));
        let regexp = self.regexp.clone().or(regexp.filter(|value| counts(value, REGEXP)));
        Self { queue, regexp, ..self.clone() }
    }

    /// Refuses what is said where there is no handler that it could be about.
    fn is_of_none(&self, shown: &Path) -> Result<(), Failure> {
        let is_said = self.queue.is_some()
            || self.regexp.is_some()
            || self.user.is_some()
            || self.config.is_some()
            || self.instances.is_some();
        if is_said {
            let line = format!(
                "--queue, --regexp, --user, --config and --instances are for a handler; what {} is, its \
                 {OWN_FILE} says",
                shown.display()
            );
            return Err(Failure::usage(line));
        }
        Ok(())
    }

    /// Returns the handler's own configuration: the one that is given, or else the one that it was
    /// installed with.
    fn own_config(&self, stage: &Stage<'_>, name: &str) -> Result<Option<Made>, Failure> {
        if let Some(config) = &self.config {
            return own_config(config, name).map(Some);
        }
        let before = stage.before();
        let is_to_stay =
            Again::find(&before).is_some() && !stage.dir.join(format!("{name}.conf")).exists();
        Ok(if is_to_stay { again::own_config(&before, name) } else { None })
    }

    /// Returns it as values of exo.yaml.
    fn values(&self) -> Vec<again::Value> {
        let yaml = crate::legacy::yaml;
        let text = |text: &Option<String>| text.as_deref().map(yaml);
        let all: [(&'static [&'static str], Option<String>); 6] = [
            (&["participant"], text(&self.called)),
            (QUEUE, text(&self.queue)),
            (&["user"], text(&self.user)),
            (&["instances"], self.instances.map(|n| n.to_string())),
            (TOLD_QUEUE, text(&self.queue)),
            (REGEXP, text(&self.regexp)),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// Returns it as lines of exo.yaml.
    fn lines(&self) -> String {
        let yaml = crate::legacy::yaml;
        let mut text = String::new();
        let mut add = |line: Option<String>| text.extend(line);
        add(self.called.as_deref().map(|name| format!("participant: {}\n", yaml(name))));
        add(self.queue.as_deref().map(|queue| format!("queue: {}\n", yaml(queue))));
        add(self.user.as_deref().map(|user| format!("user: {}\n", yaml(user))));
        add(self.instances.map(|n| format!("instances: {n}\n")));
        let told = [("queue", self.queue.as_deref()), ("regexp", self.regexp.as_deref())];
        let told = told.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let told: Vec<_> =
            told.map(|(key, value)| format!("    {key}: {}\n", yaml(value))).collect();
        add((!told.is_empty()).then(|| format!("config:\n  participant:\n{}", told.concat())));
        text
    }
}

/// Returns values of the section about the participant, in the text of a handler's own configuration.
fn of_participant<const N: usize>(text: &str, names: [&str; N]) -> [Option<String>; N] {
    let sections = ini::readable(text);
    names.map(|name| {
        let value = ini::of_participant(&sections, name)?.value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// Returns the code of a directory that says nothing else of how it is run.
fn handler_of(dir: &Path) -> Result<Option<String>, Failure> {
    let run = OsStr::from_bytes(RUN.to_bytes());
    if dir.join(OWN_FILE).exists() || dir.join(run).exists() {
        return Ok(None);
    }
    handler::code_in(dir)
}

/// Reads a regular file of a folder.
fn read(folder: &Fd, name: &OsStr) -> Result<Vec<u8>, Errno> {
    let name = CString::new(name.as_bytes()).unwrap_or_default();
    let (file, _) = file::open_regular(folder.raw(), &name, O_RDONLY, 0)?;
    let mut text = vec![0; LARGEST];
    let len = fd::read_at(file.raw(), &mut text, 0)?;
    text.truncate(len);
    Ok(text)
}

fn real(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|why| Failure::io("open", path.display(), &why))
}

/// Reads a handler's code.
fn code(real: &Path, shown: &Path) -> Result<Source, Failure> {
    let text = text::read("read", real, shown)?;
    let Some(kind) = handler::kind(&text.text) else {
        let line = format!(
            "{} has no class ParticipantHandler; install takes a directory, or the code of such a class",
            shown.display()
        );
        return Err(Failure::refused(line));
    };
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Source::Code { name, text, kind })
}
