//! What is not as it should be, where, and what mends it: for people and for scripts.

use crate::failure::{Answer, code};
use crate::screen::{Screen, Tone, clean, cut};
use exo::config::{Line, Origin};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use unicode_width::UnicodeWidthStr;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is so on purpose, and somebody may wonder.
    Note,
    /// It works, and is probably not what was meant, or will not work for long.
    Warning,
    /// Something does not work.
    Error,
}

impl Severity {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Note => Tone::Faint,
            Self::Warning => Tone::Notable,
            Self::Error => Tone::Bad,
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The service that it is about.
    pub service: Option<String>,
    /// The file or folder that it is about.
    pub path: Option<PathBuf>,
    /// Line of the file, from 1.
    pub line: Option<usize>,
    /// Character of the line, from 1.
    pub column: Option<usize>,
    /// The line itself.
    pub source: Option<String>,
    /// What is wrong.
    pub what: String,
    /// Why it matters; empty where that is plain.
    pub why: &'static str,
    /// The command, or else the deed, that mends it; empty where `what` says it.
    pub mend: String,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            service: None,
            path: None,
            line: None,
            column: None,
            source: None,
            what: what.into(),
            why: "",
            mend: String::new(),
        }
    }

    /// Something does not work.
    #[must_use]
    pub fn error(what: impl Into<String>) -> Self {
        Self::new(Severity::Error, what)
    }

    /// Something is probably not what was meant.
    #[must_use]
    pub fn warning(what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, what)
    }

    /// Something is as it was decided, and looks otherwise elsewhere.
    #[must_use]
    pub fn note(what: impl Into<String>) -> Self {
        Self::new(Severity::Note, what)
    }

    /// It is about this service.
    #[must_use]
    pub fn of(mut self, service: &str) -> Self {
        self.service = Some(service.to_owned());
        self
    }

    /// It is about this file or folder.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// It is about this line of its file.
    #[must_use]
    pub fn in_line(mut self, line: usize, column: usize, source: &str) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self.source = Some(source.trim_end().to_owned());
        self
    }

    /// It is about a value that was set there; without a place, by default.
    #[must_use]
    pub fn set_at(mut self, origin: Option<&Origin>) -> Self {
        if let Some(Origin { path, line }) = origin {
            self.path = Some(path.clone());
            self.line = Some(*line);
        }
        self
    }

    /// Why it matters.
    #[must_use]
    pub fn because(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    /// What mends it.
    #[must_use]
    pub fn mended_by(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }

    fn place(&self) -> String {
        let Some(path) = &self.path else {
            return self.service.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        };
        let number = |n: Option<usize>| n.map(|n| format!(":{n}")).unwrap_or_default();
        format!("{}{}{}: ", path.display(), number(self.line), number(self.column))
    }

    /// Appends it as lines.
    fn show(&self, screen: &Screen, out: &mut String) {
        let word = screen.paint(self.severity.word(), self.severity.tone());
        let _ = writeln!(out, "{word}: {}{}", clean(&self.place()), clean(&self.what));
        if let (Some(source), Some(column)) = (&self.source, self.column) {
            caret(source, column, screen, out);
        }
        let more = [("why", self.why), ("mend", self.mend.as_str())];
        for (word, text) in more.into_iter().filter(|(_, text)| !text.is_empty()) {
            let _ = writeln!(out, "  {}: {}", screen.paint(word, Tone::Faint), clean(text));
        }
    }

    fn json(&self) -> String {
        let shown = json!({
            "severity": self.severity.word(),
            "service": self.service,
            "path": self.path.as_ref().map(|path| path.to_string_lossy()),
            "line": self.line,
            "column": self.column,
            "what": self.what,
            "why": Some(self.why).filter(|text| !text.is_empty()),
            "mend": Some(&self.mend).filter(|text| !text.is_empty()),
        });
        format!("{shown}\n")
    }
}

/// What is wrong with a configuration.
impl From<Line> for Finding {
    fn from(line: Line) -> Self {
        let found = match &line.path {
            Some(path) => Self::error(match &*line.problem.key {
                "" => line.problem.why.clone(),
                key => format!("{key}: {}", line.problem.why),
            })
            .at(path),
            None => Self::error(line.to_string()),
        };
        let source = line.source.unwrap_or_default();
        match line.problem.at {
            Some(at) => found.in_line(at.line, at.column, &source),
            None => found,
        }
    }
}

/// Shows a line and points at one of its characters.
fn caret(source: &str, column: usize, screen: &Screen, out: &mut String) {
    const INDENT: usize = 2;
    let source = source.replace('\t', " ");
    let before: String = source.chars().take(column.saturating_sub(1)).collect();
    let before = clean(&before).width();
    let room = screen.width.map_or(usize::MAX, |width| width.saturating_sub(INDENT));
    if before < room {
        let _ = writeln!(out, "  {}\n  {}^", cut(&clean(&source), room), " ".repeat(before));
    }
}

/// Shows what was found; returns the exit code: 1 where something does not work, and where
/// `is_strict`, where anything but notes was found.
///
/// # Errors
/// As write(2).
pub fn show(
    findings: &[Finding],
    screen: &Screen,
    as_json: bool,
    is_strict: bool,
    summary: &str,
) -> Answer {
    let mut text = String::new();
    for finding in findings {
        if as_json {
            text.push_str(&finding.json());
        } else {
            finding.show(screen, &mut text);
        }
    }
    let all = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
        let number = findings.iter().filter(|found| found.severity == severity).count();
        (number, severity.word())
    });
    if !as_json {
        let counted = counted(&all);
        let counted = if counted.is_empty() { "nothing wrong" } else { &counted };
        let _ = writeln!(text, "{summary}: {counted}");
    }
    screen.put(&text)?;
    let [(errors, _), (warnings, _), _] = all;
    let is_wrong = errors > 0 || is_strict && warnings > 0;
    Ok(if is_wrong { code::FAILED } else { 0 })
}

/// Returns how many there are of each kind that there is, in words; empty where there is none.
#[must_use]
pub fn counted(kinds: &[(usize, &str)]) -> String {
    let some = kinds.iter().filter(|(n, _)| *n > 0);
    let words = some.map(|(n, word)| format!("{n} {word}{}", if *n == 1 { "" } else { "s" }));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(finding: &Finding, width: Option<usize>) -> String {
        let mut out = String::new();
        finding.show(&Screen { width, has_colour: false }, &mut out);
        out
    }

    #[test]
    fn the_caret_stands_below_the_character_whatever_stands_before_it() {
        let found = Finding::error("x").at(Path::new("/a"));
        for (source, column, wanted) in [
            ("tries: many", 8, "error: /a:3:8: x\n  tries: many\n         ^\n"),
            ("\té: many", 5, "error: /a:3:5: x\n   é: many\n      ^\n"),
            ("日: x", 4, "error: /a:3:4: x\n  日: x\n      ^\n"),
            ("\x1b[2J: x\r\n", 7, "error: /a:3:7: x\n  \\x1b[2J: x\n           ^\n"),
        ] {
            assert_eq!(shown(&found.clone().in_line(3, column, source), None), wanted);
        }
        let long = found.in_line(3, 70, &"y".repeat(100));
        assert_eq!(shown(&long, Some(40)), "error: /a:3:70: x\n");
    }

    #[test]
    fn a_finding_has_its_place_and_what_mends_it_on_lines_of_their_own() {
        let found = Finding::warning("it is\x07 so").of("we\x1bb").mended_by("chmod +x run");
        let wanted = "warning: we\\x1bb: it is\\x07 so\n  why: of this\n  mend: chmod +x run\n";
        assert_eq!(shown(&found.clone().because("of this"), None), wanted);
        let json: serde_json::Value = serde_json::from_str(&found.json()).unwrap();
        assert_eq!((&json["mend"], &json["why"]), (&"chmod +x run".into(), &json!(null)));
    }

    #[test]
    fn what_was_found_is_counted() {
        let of = |errors, warnings| counted(&[(errors, "error"), (warnings, "warning")]);
        let all = [of(0, 0), of(1, 0), of(0, 2), of(2, 1)];
        assert_eq!(all, ["", "1 error", "2 warnings", "2 errors, 1 warning"]);
    }
}
