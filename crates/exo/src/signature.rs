//! What is the same about faults with the same cause.

/// Longest signature, in characters.
const LONGEST: usize = 200;
/// Frames of a trace that count, from its end.
const FRAMES: usize = 2;
/// As many letters and digits in a row, all of them hexadecimal, are an id and no word.
const ID: usize = 8;

/// Returns the class of a fault: how it ended, the end of its trace, and its text, without what
/// differs from one time to the next (numbers, addresses, ids, folders).
#[must_use]
pub fn signature(how: &str, trace: &[String], text: &str) -> String {
    let mut out = how.to_owned();
    for part in trace.iter().rev().take(FRAMES).rev().map(String::as_str).chain([text]) {
        let part = normal(part);
        if !part.is_empty() {
            out.push_str(if out.is_empty() { "" } else { ": " });
            out.push_str(&part);
        }
    }
    out.chars().take(LONGEST).collect()
}

/// Returns a text with everything in it that differs from one time to the next replaced.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        normal_word(word, &mut out);
    }
    out
}

fn normal_word(word: &str, out: &mut String) {
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let run = |is: fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
        let path = run(|c| c.is_alphanumeric() || "/._-+~%@".contains(c));
        if (first == '/' || first == '~') && rest[..path].matches('/').count() > 0 {
            // Of a path the last name, which mostly is a file of the participant's.
            let name = rest[..path].trim_end_matches('/').rsplit('/').next().unwrap_or("");
            out.push('/');
            letters_and_digits(name, out);
            rest = &rest[path..];
            continue;
        }
        let plain = run(|c| c.is_alphanumeric() || c == '_').max(first.len_utf8());
        letters_and_digits(&rest[..plain], out);
        rest = &rest[plain..];
    }
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
            ("unable to open /var/lib/x/4711/data.json: no", "unable to open /data.json: no"),
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
