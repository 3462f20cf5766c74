//! A handler that was installed before: what its administrator has set is kept.

use super::handler::{self, Kind};
use crate::failure::Failure;
use crate::tree::text::{self, Text};
use crate::tree::{Made, Readers};
use exo::config::OWN_FILE;
use exo::config::yaml::{self, Entry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A value of exo.yaml: its key with those above it, and the value as YAML.
pub(crate) type Value = (&'static [&'static str], String);

/// The key of the program and its arguments.
const COMMAND: &[&str] = &["command"];

/// What is there of it.
#[derive(Debug)]
pub(crate) struct Again {
    /// Its exo.yaml.
    pub(crate) path: PathBuf,
    own: Text,
    /// `None` = what is wrong with the file is told when it is checked.
    words: Option<Vec<String>>,
}

impl Again {
    /// Finds the one in an installed directory, if it is a handler's.
    pub(crate) fn find(dir: &Path) -> Option<Self> {
        let path = dir.join(OWN_FILE);
        let own = text::read("read", &path, &path).ok()?;
        let is_ours = dir.join("SkyNET").is_dir();
        let Ok(entries) = yaml::parse(own.text.as_bytes()) else {
            return is_ours.then_some(Self { path, own, words: None });
        };
        let words = words_of(&entries);
        let is_handler = is_ours && words.iter().any(|word| handler::flaw(word).is_none());
        is_handler.then_some(Self { path, own, words: Some(words) })
    }

    /// Tells whether its exo.yaml has a value of this key.
    pub(crate) fn says(&self, key: &[&str]) -> bool {
        let mut all = BTreeMap::new();
        let entries = yaml::parse(self.own.text.as_bytes()).unwrap_or_default();
        let is_read = flatten(&entries, "", &mut all).is_some();
        is_read && all.contains_key(&format!("\0{}", key.join("\0")))
    }

    /// Returns its exo.yaml for this code, with what is said anew.
    ///
    /// # Errors
    /// One of these values cannot be set in the file as it is written.
    pub(crate) fn own_file(
        &self,
        code: &str,
        kind: Kind,
        said: Vec<Value>,
    ) -> Result<Made, Failure> {
        let mut text = self.own.text.clone();
        let command = self.words.as_ref().map(|words| command(words, code, kind));
        let command = command.filter(|command| Some(command) != self.words.as_ref());
        let command = command.map(|words| (COMMAND, serde_json::Value::from(words).to_string()));
        let said = said.into_iter().filter(|_| self.words.is_some());
        for (key, value) in said.chain(command) {
            text = set(&text, key, &value).ok_or_else(|| {
                Failure::refused(format!(
                    "unable to set {} in {} as it is written; set it to {value} there",
                    key.join("."),
                    self.path.display()
                ))
            })?;
        }
        Ok(Made::plain(OWN_FILE, text).read_by(readers(&self.own, Readers::Members)))
    }
}

/// Returns the configuration of a handler's own that an installed directory has.
pub(crate) fn own_config(dir: &Path, name: &str) -> Option<Made> {
    let name = format!("{name}.conf");
    let path = dir.join(&name);
    let own = text::read("read", &path, &path).ok()?;
    let readers = readers(&own, Readers::Participant);
    Some(Made::plain(&name, own.text).read_by(readers))
}

/// Returns who reads a file again that was installed before.
fn readers(text: &Text, group: Readers) -> Readers {
    match text {
        Text { is_open: true, .. } => Readers::All,
        Text { is_groups: true, .. } => group,
        Text { .. } => Readers::Owner,
    }
}

/// Returns the words of the command; none where it has another form.
fn words_of(entries: &[Entry]) -> Vec<String> {
    let text = |node: &yaml::Node| match &node.kind {
        yaml::Kind::Plain(text) | yaml::Kind::Quoted(text) => Some(text.clone()),
        _ => None,
    };
    let command = entries.iter().find(|entry| COMMAND == [entry.key.as_str()]);
    match command.map(|entry| (&entry.value.kind, text(&entry.value))) {
        Some((yaml::Kind::List(words), _)) => words.iter().filter_map(text).collect(),
        Some((_, Some(line))) => line.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Returns the same command for this code.
fn command(words: &[String], code: &str, kind: Kind) -> Vec<String> {
    let loads = words.windows(2).any(|pair| pair == ["-m", "SkyNET"]);
    let at = words.iter().position(|word| handler::flaw(word).is_none());
    match at.filter(|_| loads == (kind == Kind::Handler)) {
        Some(at) => {
            let mut words = words.to_vec();
            code.clone_into(&mut words[at]);
            words
        }
        None => handler::words(code, kind),
    }
}

/// Sets one value of a YAML text and leaves all other lines as they are; `None` = another value would
/// change with it.
fn set(text: &str, path: &[&str], value: &str) -> Option<String> {
    let entries = yaml::parse(text.as_bytes()).ok()?;
    let wanted = yaml::parse(format!("x: {value}").as_bytes()).ok()?;
    let (mut before, mut after, mut new) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    flatten(&entries, "", &mut before)?;
    flatten(&wanted, "", &mut new)?;
    let key = format!("\0{}", path.join("\0"));
    let (was, wanted) = (before.remove(&key), new.remove("\0x"));
    if was == wanted {
        return Some(text.to_owned());
    }
    let edited = edited(text, &entries, path, value)?;
    flatten(&yaml::parse(edited.as_bytes()).ok()?, "", &mut after)?;
    let is_set = after.remove(&key) == wanted;
    (is_set && before == after).then_some(edited)
}

fn edited(text: &str, entries: &[Entry], path: &[&str], value: &str) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let (mut level, mut above) = (entries, None::<&Entry>);
    for (depth, key) in path.iter().enumerate() {
        match level.iter().find(|entry| entry.key == *key) {
            Some(entry) if depth + 1 == path.len() => {
                let blanks = entry.at.column.checked_sub(1)?;
                *lines.get_mut(entry.at.line.checked_sub(1)?)? =
                    format!("{:blanks$}{key}: {value}\n", "");
                break;
            }
            Some(entry) => {
                above = Some(entry);
                level = match &entry.value.kind {
                    yaml::Kind::Map(below) => below,
                    _ => &[],
                };
            }
            None => {
                let first = level.first().map(|entry| entry.at.column.saturating_sub(1));
                let blanks = first.or_else(|| above.map(|above| above.at.column + 1)).unwrap_or(0);
                let line = above.map_or(lines.len(), |above| above.at.line);
                lines.insert(line.min(lines.len()), below(&path[depth..], blanks, value));
                break;
            }
        }
    }
    Some(lines.concat())
}

/// Returns lines with keys, each below the one before, and a value below them.
fn below(path: &[&str], blanks: usize, value: &str) -> String {
    let keys = path.iter().enumerate().map(|(depth, key)| {
        let blanks = blanks + 2 * depth;
        format!("{:blanks$}{key}:", "")
    });
    keys.collect::<Vec<_>>().join("\n") + &format!(" {value}\n")
}

/// Lists all values with their keys. A key without a value is none.
fn flatten(entries: &[Entry], above: &str, all: &mut BTreeMap<String, String>) -> Option<()> {
    for entry in entries {
        let key = format!("{above}\0{}", entry.key);
        match &entry.value.kind {
            yaml::Kind::Map(below) => flatten(below, &key, all)?,
            yaml::Kind::Plain(text) if ["", "~", "null"].contains(&text.as_str()) => {}
            _ => {
                let mut text = String::new();
                yaml::json(&entry.value, &mut text).ok()?;
                all.insert(key, text);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_set_where_it_stands_and_all_other_lines_stay() {
        let text = "# mine\nqueue: a # why\ntries: 3\nconfig:\n  # c\n  own: {x: 1}\n";
        for (path, value, wanted) in [
            (&["queue"][..], "\"b\"", text.replace("a # why", "\"b\"")),
            (&["user"], "\"u\"", format!("{text}user: \"u\"\n")),
            (
                &["config", "participant", "regexp"],
                "\"r\"",
                text.replace("config:\n", "config:\n  participant:\n    regexp: \"r\"\n"),
            ),
        ] {
            assert_eq!(set(text, path, value).as_deref(), Some(&*wanted), "{path:?}");
        }
        let regexp = &["config", "participant", "regexp"][..];
        for (text, wanted) in [
            ("", "config:\n  participant:\n    regexp: 1\n"),
            ("config:", "config:\n  participant:\n    regexp: 1\n"),
            (
                "config:\n \"participant\":\n  \"regexp\": x\n",
                "config:\n \"participant\":\n  regexp: 1\n",
            ),
        ] {
            assert_eq!(set(text, regexp, "1").as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_left_alone() {
        let regexp = &["config", "participant", "regexp"][..];
        for (text, path) in [
            ("config: {a: {b: c}}\n", regexp),
            ("config:\n  participant: {regexp: x, name: y}\n", regexp),
            ("queue: >\n  a\n  b\n", &["queue"]),
            ("queue: [", &["queue"]),
        ] {
            assert_eq!(set(text, path, "1"), None, "{text}");
        }
        // What it is to be it may be already.
        let text = "config: {participant: {regexp: \"1\"}}\n";
        assert_eq!(set(text, regexp, "\"1\"").as_deref(), Some(text));
    }

    #[test]
    fn a_command_is_kept_for_other_code_of_the_same_kind() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let old = words("nice python3 -m SkyNET a.py --fault 1");
        let new = command(&old, "b.py", Kind::Handler);
        assert_eq!(new, words("nice python3 -m SkyNET b.py --fault 1"));
        assert_eq!(command(&old, "b.py", Kind::Program), words("python3 b.py"));
    }
}
