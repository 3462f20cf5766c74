//! A line as it is shown.

use super::entry::Entry;
use crate::failure::warn;
use crate::screen::{Screen, Tone, clean};
use daemontools::logs::deliver::Sink;
use daemontools::logs::stamp::Found;
use daemontools::logs::{Line, Trouble};
use daemontools::svlog::show::{Style, Times};
use serde_json::json;
use std::path::PathBuf;
use sys::linux::errno::Errno;
use sys::linux::fd;
use sys::terminal::escaped_but_tabs;
use unicode_width::UnicodeWidthStr;

/// Bytes that are kept until they are written at once.
const FULL: usize = 1 << 16;
/// Digits behind the second that people get.
const DIGITS: usize = 3;

/// What is shown of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people, times in this style.
    Text(Style),
    /// The line as it is.
    Raw,
    /// An object.
    Json,
}

/// A log that is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The service.
    pub name: String,
    /// The log directory.
    pub dir: PathBuf,
    /// Its lines have tags.
    pub is_participant: bool,
}

/// Descriptor 1.
pub struct Show {
    form: Form,
    screen: Screen,
    times: Times,
    logs: Vec<Shown>,
    /// What stands before the lines of each log.
    names: Vec<String>,
    out: Vec<u8>,
    /// The last byte was no newline.
    within: bool,
    /// Somebody waits for each line.
    is_eager: bool,
    /// Something could not be read.
    has_trouble: bool,
}

impl Show {
    /// Begins with nothing. Where lines are `rare`, each is shown as soon as it is found.
    #[must_use]
    pub fn new(form: Form, screen: Screen, logs: Vec<Shown>, rare: bool) -> Self {
        let times = Times::new(if let Form::Text(style) = form { style } else { Style::Utc });
        let names = if logs.len() > 1 { names(&logs, &screen) } else { Vec::new() };
        let is_eager = rare && screen.width.is_some();
        Self {
            form,
            screen,
            times,
            logs,
            names,
            out: Vec::new(),
            within: false,
            is_eager,
            has_trouble: false,
        }
    }

    /// Tells whether something could not be read.
    #[must_use]
    pub fn has_trouble(&self) -> bool {
        self.has_trouble
    }

    /// Appends bytes; a terminal gets no control byte.
    fn push(&mut self, bytes: &[u8]) {
        if self.screen.width.is_none() {
            self.out.extend_from_slice(bytes);
            return;
        }
        let (text, end) = match bytes.strip_suffix(b"\n") {
            Some(text) => (text, &b"\n"[..]),
            None => (bytes, &b""[..]),
        };
        self.out.extend_from_slice(&escaped_but_tabs(text));
        self.out.extend_from_slice(end);
    }

    fn text(&mut self, i: usize, line: &Line<'_>) {
        let mut rest = line.bytes;
        if line.starts {
            self.end_line();
            if let Some(name) = self.names.get(i) {
                self.out.extend_from_slice(name.as_bytes());
            }
            if let Some(found) = Entry::read(rest, false).time {
                let mut time = Vec::new();
                let few = Found { digits: found.digits.min(DIGITS), ..found };
                if self.times.put(&few, &mut time) {
                    let time = String::from_utf8_lossy(&time);
                    self.out.extend_from_slice(self.screen.paint(&time, Tone::Faint).as_bytes());
                    rest = &rest[found.len..];
                }
            }
        }
        self.push(rest);
        self.within = !rest.ends_with(b"\n");
    }

    fn json(&mut self, i: usize, line: &Line<'_>) {
        let log = &self.logs[i];
        let entry = if line.starts {
            Entry::read(line.bytes, log.is_participant)
        } else {
            // A piece of a line that is longer than any of exo's.
            let text = line.bytes.strip_suffix(b"\n").unwrap_or(line.bytes);
            Entry { time: None, tag: None, text }
        };
        let time = entry.time.and_then(|found| {
            let mut time = Vec::new();
            self.times.put(&found, &mut time).then_some(time)
        });
        let item = entry.tag.and_then(|tag| tag.item);
        let object = json!({
            "time": time.map(|time| String::from_utf8_lossy(&time).into_owned()),
            "service": log.name,
            "instance": entry.tag.map(|tag| tag.instance),
            "wfid": item.map(|(wfid, _)| wfid),
            "attempt": item.map(|(_, attempt)| attempt),
            "continued": !line.starts || entry.tag.is_some_and(|tag| tag.goes_on),
            "text": String::from_utf8_lossy(entry.text),
        });
        self.out.extend_from_slice(self.screen.safe(&object.to_string()).as_bytes());
        self.out.push(b'\n');
    }
}

impl Sink for Show {
    fn line(&mut self, i: usize, line: &Line<'_>) {
        match self.form {
            Form::Text(_) => self.text(i, line),
            Form::Json => self.json(i, line),
            Form::Raw => {
                if line.starts {
                    self.end_line();
                }
                self.push(line.bytes);
                self.within = !line.bytes.ends_with(b"\n");
            }
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.within) {
            self.out.push(b'\n');
        }
    }

    fn flush_if_full(&mut self) -> Result<(), Errno> {
        if self.is_eager || self.out.len() >= FULL { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let done = fd::write_all(1, &self.out);
        self.out.clear();
        done
    }

    fn trouble(&mut self, i: usize, trouble: &Trouble) {
        self.has_trouble = true;
        let Shown { name, dir, .. } = &self.logs[i];
        warn(&format!("log of {name}, {}: {trouble}", dir.display()));
    }

    fn removed(&mut self, i: usize) {
        let Shown { name, dir, .. } = &self.logs[i];
        let dir = dir.display();
        warn(&format!("the log of {name}, {dir}, was removed; waiting until it is there again"));
    }
}

/// Returns the names in a column.
fn names(logs: &[Shown], screen: &Screen) -> Vec<String> {
    let clean: Vec<_> = logs.iter().map(|log| clean(&log.name)).collect();
    let width = clean.iter().map(|name| name.width()).max().unwrap_or(0);
    let column = clean.iter().enumerate().map(|(i, name)| {
        let blank = " ".repeat(width - name.width());
        format!("{}{blank}  ", screen.tint(name, i))
    });
    column.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::logs::Span;
    use std::ffi::CString;

    const STAMPED: &[u8] = b"@400000006b04c42f075bcd15 a_0 w/1+: x\x1b[2J\xff\n";

    fn shown(form: Form, screen: Screen, names: &[&str], lines: &[(usize, bool, &[u8])]) -> String {
        let log = |name: &&str| Shown {
            name: (*name).to_owned(),
            dir: "/log".into(),
            is_participant: true,
        };
        let mut show = Show::new(form, screen, names.iter().map(log).collect(), false);
        let file = CString::default();
        for (i, starts, bytes) in lines {
            let (time, span, starts) = (None, Span::ALWAYS, *starts);
            show.line(*i, &Line { time, span, bytes, starts, file: &file, offset: 0 });
        }
        show.end_line();
        String::from_utf8_lossy(&show.out).into_owned()
    }

    const PROGRAM: Screen = Screen { width: None, has_colour: false };
    const TERMINAL: Screen = Screen { width: Some(80), has_colour: false };
    const UTC: Form = Form::Text(Style::Utc);

    #[test]
    fn people_get_names_in_a_column_times_to_the_millisecond_and_no_control_byte() {
        let lines = [(0, true, STAMPED), (1, true, b"no stamp\tbut a tab")];
        let wanted = "a    2026-11-23T22:54:29.123Z a_0 w/1+: x\\x1b[2J\\xff\n\
                      bcd  no stamp\tbut a tab\n";
        assert_eq!(shown(UTC, TERMINAL, &["a", "bcd"], &lines), wanted);
        assert_eq!(
            shown(UTC, PROGRAM, &["a"], &lines[..1]),
            "2026-11-23T22:54:29.123Z a_0 w/1+: x\x1b[2J\u{fffd}\n"
        );
    }

    #[test]
    fn raw_lines_are_the_lines_and_a_long_one_is_whole() {
        let lines = [(0, true, STAMPED), (1, true, &b"long"[..]), (1, false, b" line\n")];
        let wanted = String::from_utf8_lossy(STAMPED).into_owned() + "long line\n";
        assert_eq!(shown(Form::Raw, PROGRAM, &["a", "b"], &lines), wanted);
    }

    #[test]
    fn an_object_has_every_key_and_no_byte_that_is_not_utf_8() {
        let lines = [(0, true, STAMPED), (0, true, b"long"), (0, false, b" line\n")];
        let said = shown(Form::Json, TERMINAL, &["a"], &lines);
        let objects: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let wanted = [
            json!({
                "time": "2026-11-23T22:54:29.123456789Z", "service": "a", "instance": "a_0",
                "wfid": "w", "attempt": 1, "continued": true, "text": "x\x1b[2J\u{fffd}",
            }),
            json!({
                "time": null, "service": "a", "instance": null, "wfid": null, "attempt": null,
                "continued": false, "text": "long",
            }),
            json!({
                "time": null, "service": "a", "instance": null, "wfid": null, "attempt": null,
                "continued": true, "text": " line",
            }),
        ];
        assert_eq!(objects, wanted);
    }
}
