//! INI files as supervisor and Python's configparser read them, with the lines of everything.

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its section's name.
    pub section: String,
    /// Its name, in small letters.
    pub name: String,
    /// Its value; lines that go on are joined by newlines.
    pub value: String,
    /// Where it is.
    pub line: usize,
}

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What stands in the brackets; empty for what stands before the first of them.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// Its keys.
    pub keys: Vec<Key>,
}

impl Section {
    /// Returns the last key of a name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Key> {
        find(&self.keys, name)
    }
}

/// Returns the last key of a name.
#[must_use]
pub fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter().rev().find(|key| key.name == name)
}

/// The section that says what an older participant is called and takes.
pub const PARTICIPANT: &str = "participant";

/// Returns the last key of a name that is about the participant.
#[must_use]
pub fn of_participant<'a>(sections: &'a [Section], name: &str) -> Option<&'a Key> {
    let mut ours = sections.iter().rev().filter(|section| section.name == PARTICIPANT);
    ours.find_map(|section| section.key(name))
}

/// Reads a file.
///
/// # Errors
/// The line that is neither a section, a key nor a comment, and why.
pub fn parse(text: &str) -> Result<Vec<Section>, (usize, &'static str)> {
    let mut sections = vec![Section { name: String::new(), line: 1, keys: Vec::new() }];
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line)) {
        let trimmed = line.trim();
        let Some(section) = sections.last_mut() else { break };
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t'])
            && let Some(key) = section.keys.last_mut()
        {
            key.value.push('\n');
            key.value.push_str(without_comment(trimmed));
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            let Some(end) = rest.find(']') else { return Err((number, "a ] is missing")) };
            let name = rest[..end].trim().to_owned();
            sections.push(Section { name, line: number, keys: Vec::new() });
            continue;
        }
        let Some(at) = trimmed.find(['=', ':']) else {
            return Err((number, "neither a section, nor a key and its value"));
        };
        let name = trimmed[..at].trim().to_ascii_lowercase();
        if name.is_empty() {
            return Err((number, "a value without a key"));
        }
        let value = without_comment(trimmed[at + 1..].trim()).to_owned();
        let section_name = section.name.clone();
        section.keys.push(Key { section: section_name, name, value, line: number });
    }
    Ok(sections)
}

/// Returns a text without some of its keys, whose first lines these are.
#[must_use]
pub fn without(text: &str, keys: &[usize]) -> String {
    let mut is_out = false;
    let mut rest = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim();
        let is_aside = trimmed.is_empty() || trimmed.starts_with(['#', ';']);
        if !(is_aside || is_out && line.starts_with([' ', '\t'])) {
            is_out = keys.contains(&(number + 1));
        }
        if is_aside || !is_out {
            rest.push_str(line);
        }
    }
    rest
}

/// A comment within a line begins with a blank and a semicolon.
fn without_comment(value: &str) -> &str {
    let end = [" ;", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    end.map_or(value, |end| value[..end].trim_end())
}

/// Splits a command into words as shells quote them, with nothing expanded.
///
/// # Errors
/// A quote that is not closed.
pub fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err("a quote is not closed"),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Splits supervisor's `environment`: `NAME="value",OTHER=value`. The last of those of a name counts.
///
/// # Errors
/// What is none.
pub fn environment(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some((name, value)) = rest.split_once('=') else { return Err("a variable has no =") };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = if let Some(quote) = quote {
            let end = value[1..].find(quote).ok_or("a quote is not closed")?;
            (&value[1..=end], &value[end + 2..])
        } else {
            let end = value.find([',', '\n']).unwrap_or(value.len());
            (value[..end].trim(), &value[end..])
        };
        pairs.retain(|(before, _)| before != name.trim());
        pairs.push((name.trim().to_owned(), value.to_owned()));
        rest = after.trim_start_matches([',', ' ', '\t', '\n']);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_comments_and_lines_that_go_on_are_read_with_their_lines() {
        let text =
            "# c\n[program:a]\ncommand = /bin/x ; c\nEnv: a\n  b\n; c\n\n[participant]\nname=a;b\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections.len(), 3);
        let program = &sections[1];
        assert_eq!((program.name.as_str(), program.line), ("program:a", 2));
        let command = program.key("command").unwrap();
        assert_eq!((command.value.as_str(), command.line), ("/bin/x", 3));
        assert_eq!(command.section, "program:a");
        assert_eq!(program.key("env").unwrap().value, "a\nb");
        assert_eq!(sections[2].key("name").unwrap().value, "a;b");
        for (text, line) in [("[a", 1), ("\nx", 2), ("[a]\n=x", 2)] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn a_key_is_taken_out_with_the_lines_that_go_on_and_nothing_else() {
        let text = "[a]\nb = 1\n  2\n# c\n\n  3\nd = 4\n  5\n[e]\nb=6";
        assert_eq!(without(text, &[2]), "[a]\n# c\n\nd = 4\n  5\n[e]\nb=6");
        assert_eq!(without(text, &[7, 10]), "[a]\nb = 1\n  2\n# c\n\n  3\n[e]\n");
        assert_eq!(without(text, &[]), text);
    }

    #[test]
    fn words_and_variables_are_split_where_quotes_say() {
        let wanted = ["a", "b c", "d\"e", "", "f g"].map(str::to_owned);
        assert_eq!(words("a 'b c' \"d\\\"e\" '' f\\ g").unwrap(), wanted);
        assert!(words("'a").is_err());
        let pairs = environment("A=0,A=\"x,y\", B = z,C='' \n").unwrap();
        let wanted = [("A", "x,y"), ("B", "z"), ("C", "")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(pairs, wanted);
        assert!(environment("A=\"x").is_err() && environment("A").is_err());
    }
}
