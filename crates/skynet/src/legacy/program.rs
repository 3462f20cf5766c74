//! A plain service's directory, from one of supervisor's programs.

use super::ini::{self, Key};
use super::{Directory, Note, place, quoted};
use crate::failure::Failure;
use crate::secrets::{HIDDEN, carried_words, is_secret_value};
use crate::tree::Made;
use crate::tree::given;
use std::fmt::Write;
use std::path::Path;

/// What every service here has anyway.
const ALWAYS: [&str; 4] = ["redirect_stderr", "startsecs", "startretries", "process_name"];

pub(super) fn directory(name: &str, file: &Path, keys: &[Key]) -> Result<Directory, Failure> {
    let refuse =
        |line: usize, why: &str| Err(Failure::refused(format!("{}:{line}: {why}", file.display())));
    let Some(command) = ini::find(keys, "command") else {
        let line = keys.first().map_or(1, |key| key.line);
        return refuse(line, &format!("program {name} has no command"));
    };
    let expanded = command.value.replace("%(program_name)s", name).replace("%(process_num)d", "0");
    let words = match ini::words(&expanded) {
        Ok(words) if !words.is_empty() => words,
        Ok(_) => return refuse(command.line, "the command is empty"),
        Err(why) => return refuse(command.line, why),
    };
    let mut notes = Vec::new();
    if expanded.contains("%(") {
        notes.push(Note::of(command, "%(...)s is not expanded; edit run"));
    }
    let mut run = format!(
        "#!/bin/sh\n# From {}, line {}, by skynet import.\nexec 2>&1\n",
        super::shown(file),
        command.line
    );
    let mut user = None;
    for key in keys.iter().filter(|key| key.name != "command") {
        match key.name.as_str() {
            "user" => user = Some(key.value.clone()),
            _ => prepare(key, &mut run, &mut notes),
        }
    }
    let carried = carried_words(&words);
    if carried != words {
        notes.push(secret_word(command, &words, &carried));
        run.push_str(&refusal(name));
    }
    run.push_str("exec ");
    if let Some(user) = user {
        let _ = write!(run, "setuidgid {} ", quoted(&user));
    }
    let carried: Vec<_> = carried.iter().map(|word| quoted(word)).collect();
    run.push_str(&carried.join(" "));
    run.push('\n');
    let mut files: Vec<Made> =
        given::runs().into_iter().filter(|file| file.path != "run").collect();
    files.push(Made::program("run", run));
    Ok(Directory { files, notes })
}

/// Returns the lines of `run` that keep it from running without what was left out of its command.
fn refusal(name: &str) -> String {
    let text = format!("{name}: a secret of its command was not carried over; edit run");
    format!(
        "# It stood where (hidden) stands now, and everybody sees the arguments of a process. Have the\n\
         # program read it from a file that its user alone reads; then take out these lines.\n\
         echo {}\nexit 100\n",
        quoted(&text)
    )
}

/// Says which words of a command have a secret, which are told by what of them is carried.
fn secret_word(command: &Key, words: &[String], carried: &[String]) -> Note {
    let is_hidden = |at: &usize| words[*at] != carried[*at];
    let names = (0..words.len()).filter(is_hidden).map(|at| {
        // What hides a word as a whole is the option before it.
        let option = at.checked_sub(1).map(|at| words[at].as_str());
        let option = option.filter(|option| option.starts_with('-') && carried[at] == HIDDEN);
        let name = option.or_else(|| carried[at].split_once('=').map(|(name, _)| name));
        name.filter(|name| name.starts_with('-'))
            .map_or_else(|| format!("word {}", at + 1), str::to_owned)
    });
    let names = names.collect::<Vec<_>>().join(", ");
    Note::secret(
        command.line,
        &format!("{}, {names},", place(command)),
        "everybody sees the arguments of a process; run ends at once until you have the program read it \
         from a file that its user alone reads",
    )
}

/// Writes what a key asks for into `run`, or notes that it cannot.
fn prepare(key: &Key, run: &mut String, notes: &mut Vec<Note>) {
    let value = key.value.trim();
    let not = |notes: &mut Vec<Note>, why: &str| notes.push(Note::of(key, why));
    match key.name.as_str() {
        "directory" => {
            let _ = writeln!(run, "cd {} || exit 111", quoted(value));
        }
        "umask" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
            let _ = writeln!(run, "umask {value}");
        }
        "environment" => match ini::environment(value) {
            Ok(pairs) => {
                for (name, value) in pairs {
                    if is_secret_value(&name, &value) {
                        let what = format!("{}, {name},", place(key));
                        let instead =
                            "have the program read it from a file that its user alone reads";
                        notes.push(Note::secret(key.line, &what, instead));
                        continue;
                    }
                    let _ = writeln!(run, "export {}", quoted(&format!("{name}={value}")));
                }
            }
            Err(why) => not(notes, why),
        },
        "autostart" => not(notes, super::autostart(value)),
        "autorestart" if value != "true" => {
            not(notes, "it is started again whenever it ends; svc -o starts it once");
        }
        "numprocs" if value != "1" => not(notes, "one process is run; copy the folder for more"),
        "autorestart" | "numprocs" => {}
        "stopsignal" if value == "TERM" => {}
        "stopsignal" | "stopwaitsecs" | "stopasgroup" | "killasgroup" => {
            not(notes, "not carried over: it is ended by TERM, and waited for");
        }
        always if ALWAYS.contains(&always) => {}
        logs if logs.starts_with("stdout_") || logs.starts_with("stderr_") => {
            not(notes, "not carried over: its log is kept by multilog, see log/run");
        }
        _ => not(notes, "not carried over"),
    }
}
