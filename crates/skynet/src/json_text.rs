//! JSON as it was written, with other line breaks: numbers and texts keep their characters.

use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Returns it in lines, two blanks further in for each level; `None` = it is no JSON.
#[must_use]
pub fn pretty(bytes: &[u8]) -> Option<String> {
    laid_out(bytes, true)
}

/// Returns it in one line; `None` = it is no JSON.
#[must_use]
pub fn compact(bytes: &[u8]) -> Option<String> {
    laid_out(bytes, false)
}

/// Returns lines for people: pretty where it is JSON, and anything else with its control characters
/// shown.
#[must_use]
pub fn lines(bytes: &[u8]) -> Vec<String> {
    let pretty = pretty(bytes);
    let bytes = pretty.as_deref().map_or(bytes, str::as_bytes);
    let shown = bytes.split(|byte| *byte == b'\n').map(sys::terminal::escaped_but_tabs);
    shown.map(|line: Cow<'_, [u8]>| String::from_utf8_lossy(&line).into_owned()).collect()
}

fn laid_out(bytes: &[u8], is_pretty: bool) -> Option<String> {
    serde_json::from_slice::<IgnoredAny>(bytes).ok()?;
    let text = std::str::from_utf8(bytes).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut level = 0_usize;
    let line = |out: &mut String, level: usize| {
        if is_pretty {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", level));
        }
    };
    let mut rest = text.char_indices().filter(|(_, c)| !c.is_ascii_whitespace()).peekable();
    let mut skip = 0;
    while let Some((at, c)) = rest.next() {
        if at < skip {
            continue;
        }
        match c {
            '"' => {
                skip = at + string(&text.as_bytes()[at..]);
                out.push_str(&text[at..skip]);
            }
            '{' | '[' => {
                out.push(c);
                if rest.peek().is_some_and(|(_, next)| !matches!(next, '}' | ']')) {
                    level += 1;
                    line(&mut out, level);
                } else if let Some((_, end)) = rest.next() {
                    out.push(end);
                }
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                line(&mut out, level);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, level);
            }
            ':' => out.push_str(if is_pretty { ": " } else { ":" }),
            c => out.push(c),
        }
    }
    Some(out)
}

/// Returns how many bytes a text has with its quotes.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = " { \"a \\\" {b\": [1.0, 1e400 , {}, [ ] ,\"\\\\\"],\n\"é\":null}\n";

    #[test]
    fn numbers_and_texts_keep_their_characters() {
        let one = r#"{"a \" {b":[1.0,1e400,{},[],"\\"],"é":null}"#;
        assert_eq!(compact(TEXT.as_bytes()).as_deref(), Some(one));
        let pretty = pretty(TEXT.as_bytes()).unwrap();
        let wanted = "{\n  \"a \\\" {b\": [\n    1.0,\n    1e400,\n    {},\n    [],\n    \"\\\\\"\n  ],\n  \"é\": null\n}";
        assert_eq!(pretty, wanted);
        assert_eq!(compact(pretty.as_bytes()).as_deref(), Some(one));
        for plain in ["1", "\"x y\"", "[]", "[[[]]]", "true"] {
            assert_eq!(compact(plain.as_bytes()).as_deref(), Some(plain));
        }
    }

    #[test]
    fn what_is_no_json_is_shown_without_control_characters() {
        assert_eq!(pretty(b"{\"a\":"), None);
        assert_eq!(lines(b"a\x1b[2J\nb\t\xff\0"), ["a\\x1b[2J", "b\t\\xff\\x00"]);
        // JSON may hold the other control characters.
        assert_eq!(lines("[\"\u{9b}\"]".as_bytes()), ["[", "  \"\\xc2\\x9b\"", "]"]);
    }
}
