//! The directory of a handler: code with a class `ParticipantHandler`, as `SkyNET`'s participants are,
//! or a program with a class of its own, as `RuoteAMQP`'s were before.

use super::yaml;
use crate::failure::Failure;
use crate::tree::Made;
use crate::tree::given;
use exo::config::OWN_FILE;
use std::fmt::Write;
use std::path::Path;

/// How code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has a class `ParticipantHandler`, and is loaded.
    Handler,
    /// It is a program that calls `run` of `RuoteAMQP`'s class `Participant`.
    Program,
}

/// What a handler is run by and with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handler<'a> {
    /// The file of its code, in the directory.
    pub(crate) code: &'a str,
    /// How it is run.
    pub(crate) kind: Kind,
    /// Where it is from, for the first line.
    pub(crate) from: &'a str,
    /// Further lines of exo.yaml.
    pub(crate) more: &'a str,
}

/// Tells how code is run; `None` = it is neither.
pub(crate) fn kind(text: &str) -> Option<Kind> {
    let imports = |line: &str, what: &str| {
        (line.starts_with("from ") || line.starts_with("import ")) && line.contains(what)
    };
    let makes = |line: &str| {
        line.starts_with("class ParticipantHandler") || line.starts_with("ParticipantHandler =")
    };
    if text.lines().any(|line| makes(line) || imports(line, "ParticipantHandler")) {
        return Some(Kind::Handler);
    }
    let is_class = |line: &str| line.starts_with("class ") && line.contains("Participant)");
    let is_program = text.lines().any(|line| imports(line, "RuoteAMQP"))
        && text.lines().any(is_class)
        && text.contains(".run()");
    is_program.then_some(Kind::Program)
}

/// Returns the code that is in a directory with nothing that says how it is run.
///
/// # Errors
/// There are several, or the directory cannot be read.
pub(crate) fn code_in(dir: &Path) -> Result<Option<String>, Failure> {
    let unable = |why: &std::io::Error| Failure::io("read", dir.display(), why);
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|why| unable(&why))? {
        let path = entry.map_err(|why| unable(&why))?.path();
        let is_python = path.extension().is_some_and(|end| end == "py");
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| is_python && path.is_file()) {
            let text = std::fs::read(&path).map_err(|why| unable(&why))?;
            if kind(&String::from_utf8_lossy(&text)) == Some(Kind::Handler) {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    match &found[..] {
        [] => Ok(None),
        [code] => Ok(Some(code.clone())),
        all => {
            let line = format!(
                "a class ParticipantHandler is in {}: install one file, or a directory with one",
                all.join(" and in ")
            );
            Err(Failure::refused(line))
        }
    }
}

/// Tells what is wrong with the name of a file of code: it stands in exo.yaml.
pub(crate) fn flaw(code: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !code.chars().all(is_plain) || code.starts_with(['.', '-']) {
        return Some("rename it: letters, digits, -, _ and .");
    }
    let is_python = Path::new(code).extension().is_some_and(|end| end == "py");
    (!is_python).then_some("rename it: Python's files end in .py")
}

/// Returns the command that runs code.
pub(crate) fn words(code: &str, kind: Kind) -> Vec<String> {
    let mut words = vec!["python3"];
    if kind == Kind::Handler {
        words.extend(["-m", "SkyNET"]);
    }
    words.push(code);
    words.into_iter().map(str::to_owned).collect()
}

/// Returns what its directory has besides the code.
pub(crate) fn files(handler: &Handler<'_>) -> Vec<Made> {
    let words = words(handler.code, handler.kind);
    let words: Vec<String> = words.iter().map(|word| yaml(word)).collect();
    let mut text = format!("# From {}.\n", handler.from);
    let _ = writeln!(text, "command: [{}]\nmode: persistent", words.join(", "));
    text.push_str(handler.more);
    let packages = [
        ("skynet/", given::PYTHON_PACKAGE),
        ("RuoteAMQP/", given::RUOTE_PACKAGE),
        ("SkyNET/", given::SKYNET_PACKAGE),
    ];
    let mut files = vec![Made::plain(OWN_FILE, text)];
    for (folder, package) in packages {
        files.extend(package.iter().map(|given| given.below(folder)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_written_made_or_imported_is_one() {
        for text in [
            "import os\nclass ParticipantHandler(object):\n",
            "class ParticipantHandler:\n",
            "from base import ParticipantHandler\n",
            "ParticipantHandler = make()\n",
        ] {
            assert_eq!(kind(text), Some(Kind::Handler), "{text}");
        }
        for text in ["", "# class ParticipantHandler\n", "x = 'ParticipantHandler'\n"] {
            assert_eq!(kind(text), None, "{text}");
        }
        let program =
            "import RuoteAMQP\nclass Mine(RuoteAMQP.Participant):\n  pass\nMine('q').run()\n";
        assert_eq!(kind(program), Some(Kind::Program));
        assert_eq!(kind(&program.replace("RuoteAMQP", "Other")), None);
    }

    #[test]
    fn what_is_made_is_a_participant_that_exo_can_run() {
        let more = "instances: 2\n";
        let handler = Handler { code: "a.py", kind: Kind::Handler, from: "a.py", more };
        let made = files(&handler);
        let text = |path: &str| {
            let found = made.iter().find(|file| file.path == path);
            found.map_or_else(|| panic!("no {path}"), |file| file.text.as_ref())
        };
        let settings = exo::config::read_text(text("exo.yaml").as_bytes(), "a");
        let settings = settings.unwrap_or_else(|why| panic!("{why:?}"));
        let words: Vec<_> = settings.command.iter().map(|word| word.to_str()).collect();
        let wanted = ["python3", "-m", "SkyNET", "a.py"].map(Ok);
        assert_eq!(words, wanted);
        for path in ["skynet/__init__.py", "RuoteAMQP/workitem.py", "SkyNET/__main__.py"] {
            text(path);
        }
    }

    #[test]
    fn a_name_of_code_is_plain() {
        assert_eq!((flaw("a.py"), flaw("check-1_x.py")), (None, None));
        for bad in ["a", ".a.py", "-a.py", "a b.py", "a\n.py"] {
            assert!(flaw(bad).is_some(), "{bad}");
        }
    }
}
