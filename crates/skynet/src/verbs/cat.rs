//! `skynet cat`: what a service consists of.

use crate::failure::{Answer, code, warn};
use crate::here::Here;
use crate::names::Names;
use crate::screen::{Screen, Tone};
use crate::secrets;
use crate::service::{self, Service};
use clap::Args;
use exo::config::{self, Loaded, Loader, OWN_FILE, Trouble};
use ondisk::names::{LOG, NOTIFY, RUN, START, STOP};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::fd;
use sys::linux::file::flags::{EISDIR, ENOENT, ENOTDIR};
use sys::terminal;
use sys::trusted;

/// Bytes of the largest file that is shown.
const LARGEST: usize = 1 << 20;

/// Shows what services consist of, and what is in force of it.
///
/// Scripts and configuration.
/// Each file stands below its path, each value beside the file and the line that it comes from.
/// Values whose names say that they are secret are not shown.
#[derive(Debug, Args)]
pub struct Cat {
    #[command(flatten)]
    names: Names,
    /// An object a line, with the keys that the manual page lists.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// A folder cannot be read.
pub fn run(args: &Cat, here: &Here) -> Answer {
    let picked = args.names.pick(service::all(here)?)?;
    let mut code = 0;
    for (i, service) in picked.services.iter().enumerate() {
        let whole = Whole::read(service);
        if whole.has_failed {
            code = code::FAILED;
        }
        let text = if args.json {
            format!("{}\n", whole.object(service))
        } else {
            let gap = if i > 0 { "\n" } else { "" };
            format!("{gap}{}", whole.text(&here.screen))
        };
        here.screen.put(&text)?;
    }
    Ok(picked.code(code))
}

/// What a service consists of.
#[derive(Default)]
struct Whole {
    files: Vec<File>,
    /// What is in force of a participant's configuration.
    loaded: Option<Loaded>,
    /// Why nothing is.
    problems: Vec<String>,
    has_failed: bool,
}

struct File {
    path: PathBuf,
    /// What it is a link to.
    target: Option<PathBuf>,
    content: Content,
}

enum Content {
    Text(String),
    /// A program, or whatever else is not made of lines.
    Bytes,
    Large,
}

/// Reads a participant's configuration; the accounts that it names need not be known to whoever reads.
fn in_force(service: &Service) -> Result<Loaded, Trouble> {
    if service.is_lenient {
        return Loader::lenient(service.whose)?.load(&service.dir);
    }
    config::load_for_caller(&service.dir)
}

impl Whole {
    fn read(service: &Service) -> Self {
        let mut whole = Self::default();
        let dir = &service.dir;
        for script in [START, RUN, STOP, NOTIFY] {
            whole.add(dir.join(&*script.to_string_lossy()));
        }
        let log = dir.join(&*LOG.to_string_lossy());
        if log.is_dir() {
            for script in [START, RUN, STOP] {
                whole.add(log.join(&*script.to_string_lossy()));
            }
        } else {
            whole.add(log);
        }
        whole.add(dir.join(OWN_FILE));
        if service.is_participant {
            match in_force(service) {
                Ok(mut loaded) => {
                    secrets::hide_in(&mut loaded.settings);
                    loaded.warnings.iter().for_each(|line| warn(line));
                    whole.loaded = Some(loaded);
                }
                Err(trouble) => {
                    whole.problems = trouble.lines.iter().map(ToString::to_string).collect();
                    whole.problems.iter().for_each(|line| warn(line));
                    whole.has_failed = true;
                }
            }
        }
        whole
    }

    /// Reads a file, if it is there.
    fn add(&mut self, path: PathBuf) {
        match read(&path) {
            Ok(content) => {
                let target = std::fs::read_link(&path).ok();
                self.files.push(File { path, target, content });
            }
            Err(Errno(ENOENT | ENOTDIR | EISDIR)) => {}
            Err(why) => {
                warn(&format!("unable to read {}: {why}", path.display()));
                self.has_failed = true;
            }
        }
    }

    fn text(&self, screen: &Screen) -> String {
        let mut out = String::new();
        for file in &self.files {
            let target = file.target.as_ref();
            let target = target.map(|to| format!(" -> {}", to.display())).unwrap_or_default();
            head(&mut out, screen, &format!("{}{target}", file.path.display()));
            out += &match &file.content {
                Content::Text(text) => shown(text, screen),
                Content::Bytes => "# (a program, not shown)\n".to_owned(),
                Content::Large => "# (larger than 1MiB, not shown)\n".to_owned(),
            };
        }
        if let Some(loaded) = &self.loaded {
            head(&mut out, screen, "in force, and where it comes from");
            out += &shown(&config::shown(loaded), screen);
        }
        out
    }

    fn object(&self, service: &Service) -> Value {
        let files = self.files.iter().map(|file| {
            let text = match &file.content {
                Content::Text(text) => Some(text),
                Content::Bytes | Content::Large => None,
            };
            json!({ "path": text_of(&file.path), "target": file.target.as_deref().map(text_of), "text": text })
        });
        let effective = self.loaded.as_ref().map(|loaded| config::effective(&loaded.settings));
        let effective = effective.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let origins = self.loaded.as_ref().map(|loaded| {
            let origins = loaded.origins.iter();
            origins.map(|(key, from)| (key.clone(), from.to_string().into())).collect()
        });
        json!({
            "name": service.name,
            "directory": text_of(&service.dir),
            "files": files.collect::<Vec<_>>(),
            "effective": effective,
            "origins": origins.map(Value::Object),
            "problems": self.problems,
        })
    }
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Reads a file; whoever else can change it is told.
fn read(path: &Path) -> Result<Content, Errno> {
    let opened = trusted::open_file(path)?;
    if let Some(flaw) = &opened.flaw {
        warn(&format!("{}: {flaw}", path.display()));
    }
    let mut bytes = vec![0; LARGEST + 1];
    let len = fd::read_at(opened.fd.raw(), &mut bytes, 0)?;
    if len > LARGEST {
        return Ok(Content::Large);
    }
    bytes.truncate(len);
    let is_text = !bytes.contains(&0);
    let text = String::from_utf8(bytes).ok().filter(|_| is_text);
    Ok(text.map_or(Content::Bytes, |text| Content::Text(secrets::hide(&text))))
}

fn head(out: &mut String, screen: &Screen, title: &str) {
    let gap = if out.is_empty() { "" } else { "\n" };
    let title = terminal::escaped(title.as_bytes());
    let title = format!("# {}", String::from_utf8_lossy(&title));
    let _ = writeln!(out, "{gap}{}", screen.paint(&title, Tone::Heading));
}

/// A terminal gets no control byte; whatever else reads gets all as it is.
fn shown(text: &str, screen: &Screen) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        match screen.width {
            Some(_) => {
                out += &String::from_utf8_lossy(&terminal::escaped_but_tabs(line.as_bytes()));
            }
            None => out += line,
        }
        out.push('\n');
    }
    out
}
