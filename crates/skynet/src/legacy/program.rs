//! A plain service's directory, from one of supervisor's programs.

use super::expand::{self, Value, expand};
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
    let values: Vec<Value> = match ini::words(&command.value) {
        Ok(words) if !words.is_empty() => {
            words.iter().map(|word| expand(word, command, file)).collect()
        }
        Ok(_) => return refuse(command.line, "the command is empty"),
        Err(why) => return refuse(command.line, why),
    };
    let mut notes = Vec::new();
    for value in &values {
        look_at(value, command, &mut notes);
    }
    let mut run = format!(
        "#!/bin/sh\n# From {}, line {}, by skynet import.\nexec 2>&1\n",
        super::shown(file),
        command.line
    );
    let mut user = None;
    let counts = |key: &&Key| key.name != "command" && ini::find(keys, &key.name) == Some(key);
    for key in keys.iter().filter(counts) {
        match key.name.as_str() {
            "user" => user = Some(key).filter(|key| !key.value.trim().is_empty()),
            _ => prepare(key, file, &mut run, &mut notes),
        }
    }
    let words: Vec<String> = values.iter().map(Value::shown).collect();
    let carried = carried_words(&words);
    if carried != words {
        notes.push(secret_word(command, &words, &carried));
        run.push_str(&refusal(name));
    }
    run.push_str("exec ");
    if let Some(key) = user {
        let user = expand(key.value.trim(), key, file);
        look_at(&user, key, &mut notes);
        let _ = write!(run, "setuidgid {} ", user.word());
    }
    let carried = carried.iter().zip(&words).zip(&values).map(|((carried, word), value)| {
        if carried == word { value.word() } else { quoted(carried).into_owned() }
    });
    run.push_str(&carried.collect::<Vec<_>>().join(" "));
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
    Note::left_out(
        command.line,
        &format!("{}, {names},", place(command)),
        "everybody sees the arguments of a process; run ends at once until you have the program read it \
         from a file that its user alone reads",
    )
}

/// Notes what of a value is not as supervisor had it.
fn look_at(value: &Value, key: &Key, notes: &mut Vec<Note>) {
    for what in &value.unknown {
        notes.push(Note::of(key, &format!("{what} is not expanded; edit run")));
    }
    // Everything that svscan starts has a PATH.
    for name in value.variables().filter(|name| *name != "PATH") {
        let text = format!("{name} is as svscan has it, which passes on few variables; see run");
        notes.push(Note::of(key, &text));
    }
}

/// Writes what a key asks for into `run`, or notes that it cannot.
fn prepare(key: &Key, file: &Path, run: &mut String, notes: &mut Vec<Note>) {
    let expanded = expand(key.value.trim(), key, file);
    let value = &*expanded.shown();
    let not = |notes: &mut Vec<Note>, why: &str| notes.push(Note::of(key, why));
    match key.name.as_str() {
        "directory" => {
            look_at(&expanded, key, notes);
            let _ = writeln!(run, "cd {} || exit 111", expanded.word());
        }
        "umask" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
            let _ = writeln!(run, "umask {value}");
        }
        "environment" => export(key, file, run, notes),
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

/// Writes the variables that a key names into `run`.
fn export(key: &Key, file: &Path, run: &mut String, notes: &mut Vec<Note>) {
    let pairs = match ini::environment(&key.value) {
        Ok(pairs) => pairs,
        Err(why) => return notes.push(Note::of(key, why)),
    };
    for (name, value) in pairs {
        let what = format!("{}, {name},", place(key));
        if is_secret_value(&name, &expand(&value, key, file).shown()) {
            let instead = "have the program read it from a file that its user alone reads";
            notes.push(Note::left_out(key.line, &what, instead));
        } else if !expand::is_variable(&name) {
            notes.push(Note::left_out(key.line, &what, "sh has no variables of such a name"));
        } else {
            let pair = expand(&format!("{name}={value}"), key, file);
            look_at(&pair, key, notes);
            let _ = writeln!(run, "export {}", pair.word());
        }
    }
}
