//! `skynet export`: the history of attempts, for other programs.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::past::object::{self, HEADS};
use crate::past::{When, queues};
use crate::screen::{Screen, clean};
use crate::store;
use clap::Args;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use work::Reader;

/// Attempts that are read at once: between two of these questions the store is free to be cleaned up.
const AT_ONCE: u32 = 500;
/// Of a file that is made: what is in it may not be for everybody.
const MODE: u32 = 0o600;

/// Writes the history of attempts, as JSON or CSV.
///
/// There is a line for each that has ended, participant by participant, in the order of their ends.
#[derive(Debug, Args)]
pub struct Export {
    /// Only of these participants.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// JSON: an object a line. The default.
    #[arg(long)]
    jsonl: bool,
    /// Comma-separated values, with a line of heads.
    #[arg(long, conflicts_with = "jsonl")]
    csv: bool,
    #[command(flatten)]
    when: When,
    /// Into this file, which has its name once it is complete.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or the file cannot be written.
pub fn run(args: &Export, here: &Here) -> Answer {
    let reader = store::read(here)?;
    let known = queues::known(reader.as_ref())?;
    let (mut queues, mut code) = (known.clone(), 0);
    if !args.names.is_empty() {
        let picked = queues::pick(&args.names, &known, here)?;
        code = picked.code(&known);
        queues = picked.queues;
    }
    match &args.output {
        None => {
            let out = io::stdout().lock();
            write_all(&mut BufWriter::new(out), &queues, reader.as_ref(), (args, here.screen))?;
        }
        Some(path) => {
            let mut file = NewFile::new(path)?;
            let screen = Screen { width: None, ..here.screen };
            write_all(&mut file.out, &queues, reader.as_ref(), (args, screen))?;
            file.publish()?;
        }
    }
    Ok(code)
}

fn write_all(
    out: &mut impl Write,
    queues: &[String],
    reader: Option<&Reader>,
    (args, screen): (&Export, Screen),
) -> Result<(), Failure> {
    let failed = |why: io::Error| Failure::io("write", "the history", &why);
    if args.csv {
        out.write_all(csv(HEADS.iter()).as_bytes()).map_err(failed)?;
    }
    if let Some(reader) = reader {
        for queue in queues {
            write_queue(out, queue, reader, (args, screen))?;
        }
    }
    out.flush().map_err(failed)
}

fn write_queue(
    out: &mut impl Write,
    queue: &str,
    reader: &Reader,
    (args, screen): (&Export, Screen),
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let entries = reader.entries(queue, args.when.span(), after, AT_ONCE)?;
        for entry in &entries.entries {
            let object = object::of_entry(entry);
            let line = if args.csv {
                let row = object::row(&object);
                let is_terminal = screen.width.is_some();
                csv(row
                    .iter()
                    .map(|text| if is_terminal { clean(text) } else { text.as_ref().into() }))
            } else {
                object::line(&object)
            };
            let written = out.write_all(screen.safe(&line).as_bytes());
            written.map_err(|why| Failure::io("write", "the history", &why))?;
        }
        let Some(last) = entries.last else { return Ok(()) };
        after = Some(last);
    }
}

/// Returns a line of values, as RFC 4180 has them.
fn csv(values: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut line = String::new();
    for (i, value) in values.enumerate() {
        if i > 0 {
            line.push(',');
        }
        let value = value.as_ref();
        if value.contains(['"', ',', '\r', '\n']) {
            line.push('"');
            line.push_str(&value.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(value);
        }
    }
    line + "\r\n"
}

/// A file beside the one that was asked for, until it is complete.
struct NewFile<'a> {
    path: &'a Path,
    new: PathBuf,
    out: BufWriter<File>,
    is_published: bool,
}

impl<'a> NewFile<'a> {
    fn new(path: &'a Path) -> Result<Self, Failure> {
        // What is no file, as a pipe or a terminal, is not replaced by one.
        match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() => {
                let line = format!(
                    "unable to write {}: not a regular file; without -o it all goes to descriptor 1",
                    path.display()
                );
                return Err(Failure::trouble(line));
            }
            Ok(_) => {}
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(Failure::io("examine", path.display(), &why)),
        }
        let Some(name) = path.file_name() else {
            return Err(Failure::usage(format!("{} names no file", path.display())));
        };
        let mut new_name = std::ffi::OsString::from(".");
        new_name.push(name);
        new_name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(new_name);
        // Whatever others put there, it is not followed and not written.
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new);
        let file = file.map_err(|why| Failure::io("make", new.display(), &why))?;
        Ok(Self { path, new, out: BufWriter::new(file), is_published: false })
    }

    fn publish(&mut self) -> Result<(), Failure> {
        let failed = |why: io::Error| Failure::io("write", self.path.display(), &why);
        self.out.get_ref().sync_all().map_err(failed)?;
        fs::rename(&self.new, self.path).map_err(failed)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.is_published {
            // What is not whole is of no use, and nobody else has its name.
            let _ = fs::remove_file(&self.new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        let line = csv(["a", "", "b,c", "say \"x\"", "two\nlines", "é"].iter());
        assert_eq!(line, "a,,\"b,c\",\"say \"\"x\"\"\",\"two\nlines\",é\r\n");
    }
}
