//! What is the same about faults with the same cause.

/// Longest signature, in characters.
const LONGEST: usize = 200;
/// Frames of a trace that count, from its end.
const FRAMES: usize = 2;
/// As many letters and digits in a row, all of them hexadecimal, are an id and no word.
const ID: usize = 8;

/// What stands for the name of a file that an item is about.
const ANY: char = '*';
/// Letters of the longest extension.
const EXTENSION: usize = 5;

/// Returns the class of a fault: how it ended, the end of its trace, and its text, without what
/// differs from one time to the next (numbers, addresses, ids, folders, and in the text files).
#[must_use]
pub fn signature(how: &str, trace: &[String], text: &str) -> String {
    let mut out = how.to_owned();
    let frames = trace.iter().rev().take(FRAMES).rev().map(|line| normal(line, Part::Trace));
    for part in frames.chain([normal(text, Part::Text)]) {
        if !part.is_empty() {
            out.push_str(if out.is_empty() { "" } else { ": " });
            out.push_str(&part);
        }
    }
    out.chars().take(LONGEST).collect()
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A line of the trace: its files are the participant's.
    Trace,
    /// The text: its files mostly are the item's, and others the next time.
    Text,
}

/// Returns a text with everything in it that differs from one time to the next replaced.
fn normal(text: &str, part: Part) -> String {
    let mut out = String::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if !out.is_empty() {
            out.push(' ');
        }
        // As shells write it: ./work: 19: and ./work: line 19:
        let is_place = word.ends_with(':') && is_line_number(words.clone());
        normal_word(word, if is_place { Part::Trace } else { part }, &mut out);
    }
    out
}

fn normal_word(word: &str, part: Part, out: &mut String) {
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let run = |is: fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
        let path = run(|c| c.is_alphanumeric() || "/._-+~%@".contains(c));
        if (first == '/' || first == '~') && rest[..path].matches('/').count() > 0 {
            let is_place = part == Part::Trace || is_line(&rest[path..]);
            let goes_on = word[..word.len() - rest.len()].ends_with(char::is_alphanumeric);
            of_path(&rest[..path], is_place, goes_on, out);
            rest = &rest[path..];
            continue;
        }
        let plain = run(|c| c.is_alphanumeric() || c == '_').max(first.len_utf8());
        letters_and_digits(&rest[..plain], out);
        rest = &rest[plain..];
    }
}

/// Tells whether a number of a line, as shells write it, comes next.
fn is_line_number<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    let next = words.next();
    let number = if next == Some("line") { words.next() } else { next };
    let number = number.and_then(|word| word.strip_suffix(':')).unwrap_or("");
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells whether a number of a line comes next, as behind a file of source text.
fn is_line(rest: &str) -> bool {
    rest.strip_prefix(':').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Appends what stays the same of a path: the last name of one that leads to a place in source text, and of
/// others the kind of file.
fn of_path(path: &str, is_place: bool, goes_on: bool, out: &mut String) {
    out.push('/');
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let extension = extension(name);
    // No path are "text/html", "a/b" and 1/2, which go on behind a word.
    let is_short = goes_on && path.matches('/').count() == 1 && extension.is_none();
    if is_place || name.is_empty() || is_short {
        return letters_and_digits(name, out);
    }
    out.push(ANY);
    if let Some(extension) = extension {
        out.push('.');
        letters_and_digits(extension, out);
    }
}

/// Returns the end of a file's name that tells what kind of file it is.
fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.trim_end_matches('.').rsplit_once('.')?;
    let is_one = (1..=EXTENSION).contains(&extension.len())
        && extension.starts_with(|c: char| c.is_ascii_alphabetic())
        && extension.chars().all(|c| c.is_ascii_alphanumeric());
    (is_one && !stem.is_empty()).then_some(extension)
}

/// Appends a name, its numbers as `#`; all of it where it is an id.
fn letters_and_digits(name: &str, out: &mut String) {
    let hex = name.strip_prefix("0x").unwrap_or(name);
    let is_hex = !hex.is_empty() && hex.chars().all(|c| c.is_ascii_hexdigit());
    let has_digit = hex.chars().any(|c| c.is_ascii_digit());
    if is_hex && has_digit && (hex.len() >= ID || hex.len() < name.len()) {
        out.push('#');
        return;
    }
    let mut in_number = false;
    for c in name.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                out.push('#');
            }
        } else {
            out.push(c);
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_time_to_time_does_not_count() {
        let of = |text: &str| signature("", &[], text);
        let pairs = [
            ("job 17 failed after 3.25 s", "job # failed after #.# s"),
            ("<Foo object at 0x7f3c2a9e51d0>", "<Foo object at #>"),
            ("unable to open /var/lib/x/4711/data.json: no", "unable to open /*.json: no"),
            ("No such file: '/data/alpha.txt'", "No such file: '/*.txt'"),
            ("No such file: 'in/beta.txt'.", "No such file: 'in/*.txt'."),
            ("~/in/gamma is a directory", "/* is a directory"),
            ("/srv/in/a.b.tar.gz, /srv/.profile, /srv/v1.25 and /", "/*.gz, /*, /* and /"),
            ("./work: 19: wcc: not found", "./work: #: wcc: not found"),
            ("/p/work: line 19: wcc: not found", "/work: line #: wcc: not found"),
            ("/p/alpha: 19 bytes", "/*: # bytes"),
            ("no text/html of /srv/p/work.py:17: bad", "no text/html of /work.py:#: bad"),
            ("request 7f3c2a9e51d04b8896c0e1f2a3b4c5d6 unknown", "request # unknown"),
            ("KeyError: 'deadbeef'", "KeyError: 'deadbeef'"),
            ("line\t12   of\nfile", "line # of file"),
            ("a/b or 1/2", "a/b or #/#"),
            ("", ""),
        ];
        for (text, expected) in pairs {
            assert_eq!(of(text), expected);
        }
    }

    #[test]
    fn the_end_of_the_trace_tells_places_apart() {
        let trace = |line: &str| vec!["main.py:3: in `run'".to_owned(), line.to_owned()];
        let a = signature("ValueError", &trace("/srv/a/sizer.py:41: in `work x'"), "bad 7");
        assert_eq!(a, "ValueError: main.py:#: in `run': /sizer.py:#: in `work x': bad #");
        let elsewhere = trace("/opt/sizer.py:77: in `work x'");
        assert_eq!(a, signature("ValueError", &elsewhere, "bad 8"));
        assert_ne!(a, signature("ValueError", &trace("/srv/a/other.py:41: in `f'"), "bad 7"));
    }

    #[test]
    fn any_text_has_a_signature_of_bounded_length() {
        for text in ["\u{9b}ü€/ß/9", "/", "~/", "0x", "//", &"é".repeat(1000), "\0\x1b"] {
            assert!(signature("exit 1", &[], text).chars().count() <= LONGEST);
        }
    }
}
