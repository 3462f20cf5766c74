//! What supervisor puts into the values of a program: `%(NAME)s`, and `%%` for a percent sign.

use super::ini::Key;
use super::{folder_of, quoted};
use std::path::{Path, absolute};

/// A value, as far as it can be said here what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pieces: Vec<Piece>,
    /// What is not known, as it is written; it stays so.
    pub(super) unknown: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// What a variable has at the start.
    Variable(String),
}

/// Returns a text of a key's value with all that is known in its place. Only programs' values have such.
pub(super) fn expand(text: &str, key: &Key, file: &Path) -> Value {
    let mut value = Value { pieces: Vec::new(), unknown: Vec::new() };
    let Some(program) = key.section.strip_prefix("program:").map(str::trim) else {
        value.text(text);
        return value;
    };
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        value.text(before);
        let (what, after) = behind.split_at(end(behind));
        rest = after;
        match (known(what, program, file), variable(what)) {
            (Some(text), _) => value.text(&text),
            (None, Some(name)) => value.pieces.push(Piece::Variable(name.to_owned())),
            (None, None) => {
                value.text(&format!("%{what}"));
                value.unknown.push(format!("%{what}"));
            }
        }
    }
    value.text(rest);
    value
}

/// Returns where what begins with a percent sign ends.
fn end(behind: &str) -> usize {
    let name = if behind.starts_with('(') { behind.find(')').map_or(0, |end| end + 1) } else { 0 };
    let is_width = |c: char| c.is_ascii_digit() || c == '-';
    let at = name + behind[name..].find(|c| !is_width(c)).unwrap_or(behind.len() - name);
    at + behind[at..].chars().next().map_or(0, char::len_utf8)
}

fn known(what: &str, program: &str, file: &Path) -> Option<String> {
    let here = || {
        let file = absolute(file).ok()?;
        Some(folder_of(&file).to_str()?.to_owned())
    };
    match what {
        "%" => Some("%".to_owned()),
        "(program_name)s" => Some(program.to_owned()),
        "(here)s" => here(),
        "(host_node_name)s" => Some(sys::host::name()),
        // The first of them, with as many digits as it is to have.
        _ => {
            let digits = what.strip_prefix("(process_num)")?.strip_suffix(['d', 's'])?;
            let is_short = digits.len() < 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let (is_padded, width) = (digits.starts_with('0'), digits.parse().unwrap_or(0));
            match (is_short, is_padded) {
                (false, _) => None,
                (true, true) => Some(format!("{:0>width$}", 0)),
                (true, false) => Some(format!("{:>width$}", 0)),
            }
        }
    }
}

fn variable(what: &str) -> Option<&str> {
    what.strip_prefix("(ENV_")?.strip_suffix(")s").filter(|name| is_variable(name))
}

/// Tells whether sh takes a name as that of a variable.
pub(super) fn is_variable(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.bytes().all(is_word)
}

impl Value {
    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// Returns it for people, and for whatever does not know variables.
    pub(super) fn shown(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => format!("%(ENV_{name})s"),
        });
        pieces.collect()
    }

    /// Returns it as a word of sh.
    pub(super) fn word(&self) -> String {
        if self.pieces.is_empty() {
            return quoted("").into_owned();
        }
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => quoted(text).into_owned(),
            // Supervisor starts nothing where it is not set either.
            Piece::Variable(name) => format!("\"${{{name}?}}\""),
        });
        pieces.collect()
    }

    /// Returns the variables in it.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable(name) => Some(name.as_str()),
        })
    }

    /// Returns what of it cannot stand where there are no variables, as it is written.
    pub(super) fn not_plain(&self) -> Option<String> {
        let variables = self.variables().map(|name| format!("%(ENV_{name})s"));
        let all: Vec<_> = variables.chain(self.unknown.iter().cloned()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, section: &str) -> Value {
        let (name, value) = ("command".to_owned(), text.to_owned());
        let key = Key { section: section.to_owned(), name, value, line: 1, last: 1 };
        expand(text, &key, Path::new("/etc/old/a.conf"))
    }

    #[test]
    fn what_supervisor_puts_in_stands_in_its_place_and_what_nobody_knows_stays_and_is_named() {
        for (text, wanted) in [
            ("date +%%s", "date +%s"),
            ("%(here)s/%(program_name)s", "/etc/old/web"),
            ("%(process_num)d %(process_num)s %(process_num)02d", "0 0 00"),
            ("100%%%%(here)s", "100%%(here)s"),
            ("\u{fc}%%\u{fc}", "\u{fc}%\u{fc}"),
            ("", ""),
        ] {
            let value = value(text, "program:web");
            assert_eq!((&*value.shown(), &*value.unknown), (wanted, &[][..]), "{text}");
        }
        let host = value("%(host_node_name)s", "program:web").shown();
        assert_eq!(host, sys::host::name());
        for (text, unknown) in [
            ("a%(numprocs)db", "%(numprocs)d"),
            ("a%(ENV_B-C)sb", "%(ENV_B-C)s"),
            ("%(here", "%("),
            ("5%", "%"),
            ("%\u{fc}", "%\u{fc}"),
            ("%(process_num)999d", "%(process_num)999d"),
        ] {
            let value = value(text, "program:web");
            assert_eq!((&*value.shown(), &*value.unknown), (text, &[unknown.to_owned()][..]));
        }
        assert_eq!(value("%%(here)s", "participant").shown(), "%%(here)s");
    }

    #[test]
    fn a_variable_is_read_by_sh_between_what_is_quoted() {
        let path = value("PATH=%(ENV_PATH)s:/opt/x y", "program:web");
        assert_eq!(path.word(), "PATH=\"${PATH?}\"':/opt/x y'");
        assert_eq!(path.variables().collect::<Vec<_>>(), ["PATH"]);
        assert_eq!((path.not_plain().as_deref(), path.unknown.len()), (Some("%(ENV_PATH)s"), 0));
        assert_eq!(value("", "program:web").word(), "''");
    }
}
