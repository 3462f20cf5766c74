//! A process as people write it: YAML, read strictly.

use super::condition;
use super::tree::{Expr, NOT_HERE, OWN, Object, raw};
use crate::failure::{Failure, code};
use exo::config::yaml::{self, Entry, Kind, Node};
use exo::config::{At, Line, Problem, Trouble};
use serde_json::value::RawValue;
use std::path::Path;

/// A process that was read.
#[derive(Clone, Debug)]
pub struct Process {
    /// What it does, as a real engine has it.
    pub tree: Expr,
    /// What its first item has.
    pub fields: Object,
}

const KEYS: [&str; 5] = ["process", "revision", "fields", "on-error", "steps"];
const STEP_KEYS: [&str; 8] =
    ["do", "with", "if", "unless", "forget", "on-error", "sequence", "concurrence"];

/// What stands below the keys, and everything that is wrong so far.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    /// It is for another engine, which may understand more.
    is_for_another: bool,
}

/// Reads a process.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Process, Vec<Problem>> {
    read_for(bytes, false)
}

fn read_for(bytes: &[u8], is_for_another: bool) -> Result<Process, Vec<Problem>> {
    let entries = yaml::parse(bytes).map_err(|problem| vec![problem])?;
    let mut reader = Reader { is_for_another, ..Reader::default() };
    let (mut attributes, mut fields) = (Object::new(), Object::new());
    let mut steps = None;
    for entry in &entries {
        match entry.key.as_str() {
            "process" => reader.text(entry, "name", &mut attributes),
            "revision" => reader.text(entry, "revision", &mut attributes),
            "on-error" => reader.text(entry, "on_error", &mut attributes),
            "fields" => fields = reader.object(entry),
            "steps" => steps = Some(reader.steps(entry)),
            key => reader.wrong(entry.at, key, yaml::nearest(key, &KEYS)),
        }
    }
    for (key, example) in [("process", "process: make-image"), ("steps", "steps: [do: sizer]")] {
        if !entries.iter().any(|entry| entry.key == key) {
            reader.problems.push(Problem::missing(key, format!("is missing, as in \"{example}\"")));
        }
    }
    let body = Expr("sequence".to_owned(), Object::new(), steps.unwrap_or_default());
    let tree = Expr("define".to_owned(), attributes, vec![body]);
    if !is_for_another && let (true, Err(why)) = (reader.problems.is_empty(), tree.check()) {
        reader.problems.push(Problem::missing("", why));
    }
    if reader.problems.is_empty() { Ok(Process { tree, fields }) } else { Err(reader.problems) }
}

/// The same, of a file that people name; what is wrong is told with its place and a caret.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read_named(path: &Path, bytes: &[u8]) -> Result<Process, Failure> {
    read(bytes)
        .map_err(|problems| Failure { code: code::FAILED, lines: told(path, bytes, problems) })
}

/// The same for another engine, which may understand what this one does not: that is told, and goes.
///
/// # Errors
/// It cannot be read, or is none in any engine.
pub fn read_for_another(path: &Path, bytes: &[u8]) -> Result<(Process, Vec<String>), Failure> {
    let Err(problems) = read(bytes) else { return read_named(path, bytes).map(|it| (it, vec![])) };
    let lines = told(path, bytes, problems);
    match read_for(bytes, true) {
        Ok(process) => Ok((process, lines)),
        Err(_) => Err(Failure { code: code::FAILED, lines }),
    }
}

fn told(path: &Path, bytes: &[u8], problems: Vec<Problem>) -> Vec<String> {
    Trouble::in_file(path, bytes, problems).lines.iter().flat_map(shown).collect()
}

fn shown(line: &Line) -> Vec<String> {
    const WIDTH: usize = 100;
    let mut all = vec![line.to_string()];
    if let (Some(source), Some(at)) = (&line.source, line.problem.at)
        && at.column <= WIDTH
    {
        let source: String = source.chars().take(WIDTH).collect();
        all.push(format!("  {}", source.trim_end()));
        all.push(format!("  {}^", " ".repeat(at.column.saturating_sub(1))));
    }
    all
}

impl Reader {
    fn wrong(&mut self, at: At, key: &str, why: impl Into<String>) {
        self.problems.push(Problem::new(at, key, why));
    }

    /// Takes a text, which a number or boolean is as well.
    fn text(&mut self, entry: &Entry, name: &str, attributes: &mut Object) {
        match &entry.value.kind {
            Kind::Plain(text) | Kind::Quoted(text) if !text.is_empty() => {
                attributes.insert(name.to_owned(), raw(text));
            }
            _ => self.wrong(entry.value.at, &entry.key, "a text is expected"),
        }
    }

    fn value(&mut self, node: &Node, key: &str) -> Box<RawValue> {
        let mut json = String::new();
        if let Err(problem) = yaml::json(node, &mut json) {
            self.problems.push(problem.below(key));
        }
        RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    fn object(&mut self, entry: &Entry) -> Object {
        let Kind::Map(entries) = &entry.value.kind else {
            let why = "keys and values are expected, as in {size: 3}";
            self.wrong(entry.value.at, &entry.key, why);
            return Object::new();
        };
        let mut all = Object::new();
        for below in entries {
            let key = format!("{}.{}", entry.key, below.key);
            all.insert(below.key.clone(), self.value(&below.value, &key));
        }
        all
    }

    fn steps(&mut self, entry: &Entry) -> Vec<Expr> {
        let Kind::List(list) = &entry.value.kind else {
            let why = "a list of steps is expected, as in [do: sizer]";
            self.wrong(entry.value.at, &entry.key, why);
            return Vec::new();
        };
        list.iter().filter_map(|node| self.step(node)).collect()
    }

    fn step(&mut self, node: &Node) -> Option<Expr> {
        let Kind::Map(entries) = &node.kind else {
            self.wrong(node.at, "steps", "a step is expected, as in \"do: sizer\"");
            return None;
        };
        let (mut attributes, mut with) = (Object::new(), Object::new());
        let mut what: Option<(String, Vec<Expr>)> = None;
        let mut is_twice = None;
        for entry in entries {
            let found = match entry.key.as_str() {
                "do" => self.participant(entry).map(|name| (name, Vec::new())),
                kind @ ("sequence" | "concurrence") => Some((kind.to_owned(), self.steps(entry))),
                "with" => {
                    with = self.params(entry);
                    None
                }
                key @ ("if" | "unless") => {
                    self.condition(entry, key, &mut attributes);
                    None
                }
                "forget" => {
                    self.flag(entry, &mut attributes);
                    None
                }
                "on-error" => {
                    self.text(entry, "on_error", &mut attributes);
                    None
                }
                key => {
                    self.wrong(entry.at, key, yaml::nearest(key, &STEP_KEYS));
                    None
                }
            };
            if found.is_some() && what.is_some() {
                is_twice = Some(entry.at);
            }
            what = found.or(what);
        }
        if let Some(at) = is_twice {
            self.wrong(at, "steps", "a step has one of do, sequence and concurrence");
        }
        let Some((name, children)) = what else {
            let named = |entry: &Entry| matches!(&*entry.key, "do" | "sequence" | "concurrence");
            if !entries.iter().any(named) {
                self.wrong(node.at, "steps", "what is to be done is missing, as in \"do: sizer\"");
            }
            return None;
        };
        attributes.extend(with);
        Some(Expr(name, attributes, children))
    }

    /// Returns the name of a participant; one that is a word of the engine's is written differently.
    fn participant(&mut self, entry: &Entry) -> Option<String> {
        match &entry.value.kind {
            Kind::Plain(name) | Kind::Quoted(name) if !name.is_empty() => {
                let expr = Expr(name.clone(), Object::new(), Vec::new());
                let step = Expr("define".to_owned(), Object::new(), vec![expr]);
                let is_word = matches!(
                    name.as_str(),
                    "sequence" | "concurrence" | "participant" | "define" | "process_definition"
                );
                if is_word || step.check().is_err() {
                    let why = "is a word of engines, and no participant's name";
                    self.wrong(entry.value.at, &entry.key, format!("{name} {why}"));
                    return None;
                }
                Some(name.clone())
            }
            _ => {
                self.wrong(entry.value.at, &entry.key, "the name of a participant is expected");
                None
            }
        }
    }

    fn params(&mut self, entry: &Entry) -> Object {
        let is_for_another = self.is_for_another;
        let is_own = |key: &&str| {
            *key == "ref" || OWN.contains(key) || !is_for_another && NOT_HERE.contains(key)
        };
        let all = self.object(entry);
        for key in all.keys().map(String::as_str).filter(is_own) {
            let why = "is the engine's, and stands beside with, if anywhere";
            self.wrong(entry.at, &format!("with.{key}"), why);
        }
        all
    }

    fn condition(&mut self, entry: &Entry, name: &str, attributes: &mut Object) {
        self.text(entry, name, attributes);
        if let Kind::Plain(text) | Kind::Quoted(text) = &entry.value.kind
            && !self.is_for_another
            && let (false, Err(why)) = (text.is_empty(), condition::check(text))
        {
            self.wrong(entry.value.at, &entry.key, why);
        }
    }

    fn flag(&mut self, entry: &Entry, attributes: &mut Object) {
        match &entry.value.kind {
            Kind::Plain(text) if text == "true" => {
                attributes.insert("forget".to_owned(), raw(&true));
            }
            Kind::Plain(text) if text == "false" => {}
            _ => self.wrong(entry.value.at, &entry.key, "true or false is expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_another_engine_understands_is_told_and_goes_there() {
        let text = b"process: x\nsteps:\n- do: a\n  if: \"'${f:x}' =~ '/a/'\"\n  with: {who: '${v:user}', timers: 1h}\n";
        assert_eq!(read(text).unwrap_err().len(), 2);
        let (process, told) = read_for_another(Path::new("p.yaml"), text).unwrap();
        assert!(told.iter().any(|line| line.contains("p.yaml: line 4, ")), "{told:?}");
        let sent = serde_json::to_string(&process.tree).unwrap();
        for part in ["=~", "${v:user}", "timers"] {
            assert!(sent.contains(part), "{sent}");
        }
        read_for_another(Path::new("p.yaml"), b"process: x\nsteps:\n- doo: a\n").unwrap_err();
        let plain = b"process: x\nsteps: [do: a]\n";
        assert_eq!(read_for_another(Path::new("p.yaml"), plain).unwrap().1.len(), 0);
    }

    #[test]
    fn a_process_becomes_what_a_real_engine_understands() {
        let text = "process: make-image\nrevision: 0.2\non-error: mourner\nfields:\n  n: 12345678901234567890123\nsteps:\n- do: sizer\n  with: {unit: MB, of: '${size}'}\n- concurrence:\n  - do: a\n    if: ${__result__} == true\n  - sequence:\n    - do: b\n      unless: ${x}\n      forget: true\n      on-error: pass\n";
        let process = read(text.as_bytes()).unwrap();
        let wanted = r#"["define",{"name":"make-image","on_error":"mourner","revision":"0.2"},[["sequence",{},[["sizer",{"of":"${size}","unit":"MB"},[]],["concurrence",{},[["a",{"if":"${__result__} == true"},[]],["sequence",{},[["b",{"forget":true,"on_error":"pass","unless":"${x}"},[]]]]]]]]]]"#;
        assert_eq!(serde_json::to_string(&process.tree).unwrap(), wanted);
        assert_eq!(process.fields["n"].get(), "12345678901234567890123");
        process.tree.check().unwrap();
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place_and_the_nearest_name() {
        let text = "proces: x\nfields: 7\nsteps:\n- doo: a\n- do: b\n  wiht: {}\n- do: c\n  if: a ==\n- do: cursor\n- 7\n- with: {if: x}\n  do: d\n- do: e\n  sequence: []\n- do: f\n  forget: maybe\n";
        let problems = read(text.as_bytes()).unwrap_err();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for (at, why) in [
            ("line 1, column 1: proces: ", "did you mean process?"),
            ("line 2, column 9: fields: ", "keys and values are expected"),
            ("line 4, column 3: doo: ", "did you mean do?"),
            ("line 4, column 3: steps: ", "what is to be done is missing"),
            ("line 6, column 3: wiht: ", "did you mean with?"),
            ("line 8, column 7: if: ", "a value is missing"),
            ("line 9, column 7: do: ", "cursor is a word of engines"),
            ("line 10, column 3: steps: ", "a step is expected"),
            ("line 11, column 3: with.if: ", "is the engine's"),
            ("line 14, column 3: steps: ", "has one of do, sequence and concurrence"),
            ("line 16, column 11: forget: ", "true or false"),
            ("process: ", "is missing"),
        ] {
            let found = said.iter().any(|line| line.starts_with(at) && line.contains(why));
            assert!(found, "{at}{why}: {said:#?}");
        }
        assert_eq!(said.len(), 12, "{said:#?}");
    }

    #[test]
    fn people_are_shown_the_line_with_a_caret() {
        let failure =
            read_named(Path::new("p.yaml"), b"process: x\nsteps:\n- doo: a\n").unwrap_err();
        assert_eq!(
            failure.lines[..3],
            [
                "unable to read p.yaml: line 3, column 3: doo: unknown key; did you mean do?",
                "  - doo: a",
                "    ^",
            ]
        );
    }
}
