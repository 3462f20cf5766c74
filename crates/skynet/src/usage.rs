//! Help that fits the screen, and what is said of arguments that make no sense.

use crate::failure::{Answer, Failure};
use crate::wrap::wrapped;
use clap::error::ErrorKind;
use std::ffi::OsStr;
use sys::linux::{fd, terminal};
use sys::program::USAGE;
use unicode_width::UnicodeWidthStr;

/// Columns of what is no terminal, or does not say.
const USUAL: usize = 80;
/// What is beside a column that is narrower than this is not lined up.
const NARROWEST: usize = 24;

/// `--help` and `--version`, or what is wrong with the arguments.
///
/// # Errors
/// What is wrong with them.
pub fn explain(why: &clap::Error, command: &clap::Command, arguments: &[&OsStr]) -> Answer {
    let text = why.render().to_string();
    if why.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return put(2, &text).map(|()| USAGE);
    }
    if !why.use_stderr() {
        return put(1, &text).map(|()| 0);
    }
    let line = format!("{}; see {} --help", exo::usage::words(why), verb(command, arguments));
    Err(Failure { code: USAGE, lines: vec![line] })
}

fn put(descriptor: i32, text: &str) -> Result<(), Failure> {
    let columns = terminal::columns(descriptor).filter(|_| terminal::is_terminal(descriptor));
    let text = folded(text, columns.map_or(USUAL, usize::from));
    let written = fd::write_all(descriptor, text.as_bytes());
    written.map_err(|why| Failure::errno("write", "output", why))
}

/// Returns the verb that was meant, as it is typed.
fn verb(command: &clap::Command, arguments: &[&OsStr]) -> String {
    let (mut typed, mut at) = ("skynet".to_owned(), command);
    for word in arguments.iter().filter(|word| !word.as_encoded_bytes().starts_with(b"-")) {
        let Some(found) = at.find_subcommand(word) else { break };
        typed = format!("{typed} {}", found.get_name());
        at = found;
    }
    typed
}

/// Returns help in lines of at most `columns`: what is too long goes on below where its text begins.
fn folded(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let begin = text_begins(line);
        let Some(room) = columns.checked_sub(begin).filter(|room| *room >= NARROWEST) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let (head, rest) = line.split_at(begin);
        if rest.width() <= room {
            out.push_str(line.trim_end());
            out.push('\n');
            continue;
        }
        for (i, part) in wrapped(rest, Some(room)).iter().enumerate() {
            let blank = " ".repeat(begin);
            out.push_str(if i == 0 { head } else { &blank });
            out.push_str(part);
            out.push('\n');
        }
    }
    out
}

/// Returns where the text of a line begins: behind a name and a gap, or behind its margin.
fn text_begins(line: &str) -> usize {
    let margin = line.len() - line.trim_start().len();
    let gap = line[margin..].find("  ").map(|at| margin + at);
    let text = gap.map(|gap| gap + (line[gap..].len() - line[gap..].trim_start().len()));
    text.filter(|text| *text < line.len()).unwrap_or(margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_goes_on_below_its_text() {
        let text = "Commands:\n  list  Lists services, each with its name and directory\n\
                    \n      --json\n          An object a line, with many keys that are listed\n";
        let wanted = "Commands:\n  list  Lists services, each with its\n        name and directory\n\
                      \n      --json\n          An object a line, with many\n          keys that are listed\n";
        assert_eq!(folded(text, 40), wanted);
        assert_eq!(folded(text, 80), text);
        // However narrow.
        assert_eq!(folded(text, 3), text);
    }
}
