//! INI files as Python 3's configparser reads them, which `SkyNET` and supervisor use, with the lines of
//! everything.
//!
//! A value goes on in lines that are indented deeper than the line of its key, and in empty ones between
//! them; a line that is not is a key of its own, whatever its indentation. A section ends the value before it,
//! and goes on where its name comes again. A comment has a line of its own; only supervisor knows comments
//! behind a blank, with a semicolon or a hash.

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
    /// Where its value ends.
    pub last: usize,
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
/// Sections of supervisor's, as far as a colon.
const SUPERVISOR: [&str; 10] = [
    "program",
    "supervisord",
    "supervisorctl",
    "unix_http_server",
    "inet_http_server",
    "include",
    "rpcinterface",
    "group",
    "eventlistener",
    "fcgi-program",
];

/// Tells whether a section of this name is one of supervisor's.
#[must_use]
pub fn is_supervisor(section: &str) -> bool {
    SUPERVISOR.contains(&section.split(':').next().unwrap_or_default())
}

/// Returns the last key of a name that is about the participant.
#[must_use]
pub fn of_participant<'a>(sections: &'a [Section], name: &str) -> Option<&'a Key> {
    sections.iter().find(|section| section.name == PARTICIPANT)?.key(name)
}

/// A line that cannot be read, and why.
pub type Flaw = (usize, &'static str);

/// Reads a file.
///
/// # Errors
/// The first line that is neither a section, a key nor a comment, and why.
pub fn parse(text: &str) -> Result<Vec<Section>, Flaw> {
    let mut reader = Reader::of(text);
    reader.flaw.take().map_or(Ok(reader.sections), Err)
}

/// Returns what of a file can be read, as configparser keeps it beside its error.
#[must_use]
pub fn readable(text: &str) -> Vec<Section> {
    Reader::of(text).sections
}

/// What was read so far.
struct Reader {
    sections: Vec<Section>,
    /// Which of them the next key belongs to.
    current: usize,
    /// The value of the last key there may go on.
    goes_on: bool,
    /// Characters before the last line that was no such.
    indent: usize,
    /// The first line that is wrong.
    flaw: Option<Flaw>,
}

impl Reader {
    fn of(text: &str) -> Self {
        let first = Section { name: String::new(), line: 1, keys: Vec::new() };
        let sections = vec![first];
        let mut all = Self { sections, current: 0, goes_on: false, indent: 0, flaw: None };
        for (number, line) in lines(text).enumerate() {
            all.line(number + 1, line);
        }
        // What is empty at the end of a value is none of it.
        for key in all.sections.iter_mut().flat_map(|section| &mut section.keys) {
            key.value.truncate(key.value.trim_end_matches(is_blank).len());
        }
        all
    }

    fn line(&mut self, number: usize, line: &str) {
        let trimmed = trim(line);
        if trimmed.starts_with(['#', ';']) {
            return;
        }
        let is_supervisor = is_supervisor(&self.sections[self.current].name);
        let text = if is_supervisor { trim(without_comment(line)) } else { trimmed };
        let indent = line.chars().take_while(|c| is_blank(*c)).count();
        let is_empty = trimmed.is_empty();
        if self.goes_on
            && (is_empty || indent > self.indent)
            && let Some(key) = self.sections[self.current].keys.last_mut()
        {
            key.value.push('\n');
            key.value.push_str(text);
            key.last = if is_empty { key.last } else { number };
        } else if !is_empty {
            self.indent = indent;
            match header(line) {
                Some(name) => self.section(number, name),
                None => self.key(number, text),
            }
        }
    }

    fn section(&mut self, line: usize, name: &str) {
        self.goes_on = false;
        let there = self.sections.iter().position(|section| section.name == name);
        self.current = there.unwrap_or(self.sections.len());
        if there.is_none() {
            self.sections.push(Section { name: name.to_owned(), line, keys: Vec::new() });
        }
    }

    fn key(&mut self, line: usize, text: &str) {
        let is_open = text.starts_with('[') && !text.contains(']');
        // With a value it is a key to configparser, which is hardly meant.
        self.refuse_if(is_open, line, "a ] is missing");
        let Some(at) = text.find(['=', ':']) else {
            return self.refuse_if(true, line, "neither a section, nor a key and its value");
        };
        let name = trim(&text[..at]).to_lowercase();
        self.refuse_if(name.is_empty(), line, "a value without a key");
        self.goes_on = !name.is_empty();
        let value = trim(&text[at + 1..]).to_owned();
        let section = &mut self.sections[self.current];
        let section_name = section.name.clone();
        section.keys.push(Key { section: section_name, name, value, line, last: line });
    }

    fn refuse_if(&mut self, is_wrong: bool, line: usize, why: &'static str) {
        self.flaw = self.flaw.or(is_wrong.then_some((line, why)));
    }
}

/// Returns the name in a line that begins a section.
fn header(line: &str) -> Option<&str> {
    let name = |line| {
        let inner = trim(line).strip_prefix('[')?;
        Some(&inner[..inner.rfind(']').filter(|end| *end > 0)?])
    };
    let whole = name(line)?;
    if is_supervisor(whole) { name(without_comment(line)) } else { Some(whole) }
}

/// Returns a text without some of its keys and what stands between the lines of their values.
#[must_use]
pub fn without(text: &str, keys: &[&Key]) -> String {
    let is_out = |number| keys.iter().any(|key| (key.line..=key.last).contains(&number));
    let rest = lines(text).enumerate().filter(|(number, _)| !is_out(number + 1));
    rest.map(|(_, line)| line).collect()
}

/// Splits a text into lines, with their ends, where Python does.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.find(['\n', '\r']) {
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

/// Tells what is blank to Python.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Returns a line of supervisor's without the comment in it.
fn without_comment(line: &str) -> &str {
    let mut marks = line.match_indices([';', '#']).map(|(at, _)| &line[..at]);
    marks.find(|before| before.ends_with(is_blank)).unwrap_or(line)
}

/// Tells whether Python 2, which `SkyNET` ran with first, took the end of a value for a comment.
#[must_use]
pub fn had_comment(key: &Key) -> bool {
    // The first of the line that the key is in.
    let first = key.value.lines().next().and_then(|line| line.split_once(';'));
    !is_supervisor(&key.section) && first.is_some_and(|(before, _)| before.ends_with(is_blank))
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
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn sections_keys_comments_and_lines_that_go_on_are_read_with_their_lines() {
        let text = "# c\n[program:a]\ncommand = /bin/x ; c\nEnv: a\n  b\n; c\n\n[participant]\nname=a ;b\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections.len(), 3);
        let program = &sections[1];
        assert_eq!((program.name.as_str(), program.line), ("program:a", 2));
        let command = program.key("command").unwrap();
        assert_eq!((command.value.as_str(), command.line), ("/bin/x", 3));
        assert_eq!(command.section, "program:a");
        assert_eq!(program.key("env").unwrap().value, "a\nb");
        assert_eq!(sections[2].key("name").unwrap().value, "a ;b");
        let env = program.key("env").unwrap();
        assert_eq!((env.line, env.last), (4, 5));
        for (text, line) in [("[a", 1), ("\nx", 2), ("[a]\n=x", 2), ("[a]\n[b=c", 2)] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn python_2_took_a_value_behind_a_blank_and_the_first_semicolon_of_its_line_for_a_comment() {
        for (text, had) in [
            ("[a]\nk = a ; b", true),
            ("[a]\nk = a\t;b ;c\n  d", true),
            ("[a]\nk = a;b ;c", false),
            ("[a]\nk = a\n  b ;c", false),
            ("[a]\nk = a # b", false),
            ("[program:a]\nk = a", false),
        ] {
            let sections = parse(text).unwrap();
            assert_eq!(had_comment(&sections[1].keys[0]), had, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_taken_out_with_the_lines_that_go_on_and_nothing_else() {
        let text = "[a]\nb = 1\n  2\n# c\n\n  3\nd = 4\n  5\n[e]\nb=6";
        let sections = parse(text).unwrap();
        let [b, d] = [&sections[1].keys[0], &sections[1].keys[1]];
        assert_eq!(without(text, &[b]), "[a]\nd = 4\n  5\n[e]\nb=6");
        let rest = "[a]\nb = 1\n  2\n# c\n\n  3\n[e]\n";
        assert_eq!(without(text, &[d, &sections[2].keys[0]]), rest);
        assert_eq!(without(text, &[]), text);
    }

    /// Prints the sections of texts as configparser reads them, with what it keeps beside an error.
    const CONFIGPARSER: &str = "import configparser, io, json, sys\n\
        marks, texts = json.load(sys.stdin)\n\
        def read(text):\n\
        \x20   all = configparser.RawConfigParser(\n\
        \x20       strict=False, default_section='', inline_comment_prefixes=marks)\n\
        \x20   try:\n\
        \x20       all.read_file(io.StringIO(text, newline=None))\n\
        \x20   except configparser.ParsingError:\n\
        \x20       pass\n\
        \x20   return {name: dict(all.items(name)) for name in all.sections()}\n\
        json.dump([read(text) for text in texts], sys.stdout)\n";

    type Values = BTreeMap<String, BTreeMap<String, String>>;

    /// Returns what Python's configparser reads, with these marks of comments behind values.
    fn by_configparser(marks: &[&str], texts: &[String]) -> Vec<Values> {
        let mut python = Command::new("python3")
            .args(["-c", CONFIGPARSER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = serde_json::to_string(&(marks, texts)).unwrap();
        python.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
        let said = python.wait_with_output().unwrap();
        assert!(said.status.success());
        serde_json::from_slice(&said.stdout).unwrap()
    }

    fn ours(text: &str) -> Values {
        let sections = readable(text);
        assert!(sections[0].keys.is_empty(), "{text:?}");
        let values = |section: &Section| {
            let pair = |key: &Key| (key.name.clone(), key.value.clone());
            (section.name.clone(), section.keys.iter().map(pair).collect())
        };
        sections[1..].iter().map(values).collect()
    }

    /// Lines whose order decides what belongs to what; all in one section.
    const ODD: [&str; 18] = [
        "b = 1",
        "  c: 2",
        "\td=3",
        "    4",
        "  # x",
        "; x",
        "",
        "   ",
        "junk",
        "  junk",
        "e = f ; g",
        "h =",
        "  = i",
        "[k]",
        "  [k]",
        "l ;m = n;o",
        "\u{a0}p q",
        "\u{1c}  r=s \u{85}",
    ];

    #[test]
    fn odd_files_are_read_as_configparser_reads_them() {
        let mut texts: Vec<String> = [
            "[a]\r\nb=1\r\n 2\r\n\r\n 3\r\nc=4",
            "[a]\nb=1\rc=2\r\r 3\n",
            "[a]\nB\u{c4} = x\n",
            "[a]\nb=1\n[c]\nb=2\n[a]\nd=3\nb=4\n",
            "[a]\n  b=1\n  c=2\nd=3\n e=4\n   f=5\n g=6\n",
            "[ a ]\nb=1\n[a] x\nb=2\n",
            "[a]\nb=\n\n\n  1\n\n\n  [x]\n\n",
            "[a]\n[]\n[]=1\n[b=2\n[]]\nc=3\n",
            "[a]\nb=1\njunk\n  2\n junk\n  3\n",
            "[DEFAULT]\na=1\n[b]\n",
            "[a]\n# x\n  # y\nb=1\n# x\n  2\n",
        ]
        .map(str::to_owned)
        .to_vec();
        for (a, b) in ODD.iter().flat_map(|a| ODD.map(|b| (a, b))) {
            texts.extend(ODD.map(|c| format!("[a]\n{a}\n{b}\n{c}\n      z\n")));
        }
        for (text, theirs) in texts.iter().zip(by_configparser(&[], &texts)) {
            assert_eq!(ours(text), theirs, "{text:?}");
        }
        let supervisor =
            |text: &String| text.replace("[a]", "[program:a] ; [x]").replace('k', "include");
        let texts: Vec<String> = texts[11..].iter().map(supervisor).collect();
        for (text, theirs) in texts.iter().zip(by_configparser(&[";", "#"], &texts)) {
            assert_eq!(ours(text), theirs, "{text:?}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_left_wherever_it_stands_and_all_others_stay() {
        let hush = "amqp_pwd = hush\n  hush\n\n# hush\n    hush";
        for a in ODD {
            for b in ODD {
                for hush in
                    [hush.to_owned(), hush.replace('\n', "\n  ").replacen("amqp", "  amqp", 1)]
                {
                    let text = format!("[a]\n{a}\n{hush}\n{b}\n");
                    let sections = readable(&text);
                    let all = sections.iter().flat_map(|section| &section.keys);
                    let keys: Vec<&Key> = all.filter(|key| key.name == "amqp_pwd").collect();
                    let mut wanted = ours(&text);
                    for section in wanted.values_mut() {
                        section.remove("amqp_pwd");
                    }
                    let rest = without(&text, &keys);
                    assert_eq!(ours(&rest), wanted, "{text:?}");
                    assert_eq!(rest.contains("hush"), keys.is_empty(), "{text:?}");
                }
            }
        }
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
