//! Where things stand in the text of a JSON object, so that one can be changed and all others stay
//! as they are, byte for byte.
//!
//! Reads text that is known to be JSON; of other text it tells something, and never panics.

use std::borrow::Cow;
use std::ops::Range;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where its key stands, with the quotes.
    pub(crate) key: Range<usize>,
    /// Where its value stands.
    pub(crate) value: Range<usize>,
}

/// Yields the members of the object that begins at `at`, which is where its brace is.
pub(crate) fn members(text: &str, at: usize) -> impl Iterator<Item = Member> + use<'_> {
    let bytes = text.as_bytes();
    let mut at = at + 1;
    std::iter::from_fn(move || {
        let key = skip_space(bytes, at);
        if bytes.get(key) != Some(&b'"') {
            return None;
        }
        let key = key..skip_string(bytes, key);
        let colon = skip_space(bytes, key.end);
        let value = skip_space(bytes, colon + 1);
        let value = value..skip_value(bytes, value);
        let comma = skip_space(bytes, value.end);
        at = if bytes.get(comma) == Some(&b',') { comma + 1 } else { comma };
        Some(Member { key, value })
    })
}

/// Returns the member with this key; of several the last, as most readers do.
pub(crate) fn find(text: &str, at: usize, key: &str) -> Option<Member> {
    members(text, at).filter(|member| name(text, member) == key).last()
}

fn name<'a>(text: &'a str, member: &Member) -> Cow<'a, str> {
    let quoted = text.get(member.key.clone()).unwrap_or_default();
    let bare = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if bare.contains('\\') {
        return serde_json::from_str(quoted).map_or(bare.into(), Cow::Owned);
    }
    bare.into()
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// Returns the position behind the string that begins at `at`.
fn skip_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns the position behind the value that begins at `at`, however deep it is.
fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => break,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            break;
        }
    }
    at.min(bytes.len())
}

/// Puts a member into the object that begins at `at`, behind those that are there.
pub(crate) fn insert(text: &mut String, at: usize, key: &str, value: &str) {
    let last = members(text, at).last();
    let end = last.as_ref().map_or(at + 1, |member| member.value.end);
    let comma = if last.is_some() { "," } else { "" };
    let key = serde_json::Value::from(key);
    text.insert_str(end, &format!("{comma}{key}:{value}"));
}

/// Takes a member out of the object that begins at `at`.
pub(crate) fn remove(text: &mut String, at: usize, member: &Member) {
    let mut before = None;
    let mut after = None;
    for other in members(text, at) {
        if other.key.start < member.key.start {
            before = Some(other.value.end);
        } else if other.key.start > member.key.start && after.is_none() {
            after = Some(other.key.start);
        }
    }
    // The comma goes with it: the one behind, else the one in front.
    let range = match (before, after) {
        (_, Some(next)) => member.key.start..next,
        (Some(end), None) => end..member.value.end,
        (None, None) => member.key.start..member.value.end,
    };
    text.replace_range(range, "");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#" { "a" : 1.0, "b\"c":[1,{"x":"}]"}] ,"a":-0 , "e":{} } "#;

    fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
        find(text, text.find('{')?, key).map(|member| &text[member.value])
    }

    #[test]
    fn a_value_is_found_whatever_stands_around_it() {
        assert_eq!(value(TEXT, "a"), Some("-0"));
        assert_eq!(value(TEXT, "b\"c"), Some(r#"[1,{"x":"}]"}]"#));
        assert_eq!(value(TEXT, "e"), Some("{}"));
        assert_eq!(value(TEXT, "x"), None);
        assert_eq!(value("{}", "x"), None);
        assert_eq!(value(r#"{"a\\":"\\","b":"\""}"#, "b"), Some(r#""\"""#));
        let deep = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(value(&deep, "b"), Some("1"));
    }

    #[test]
    fn an_insertion_changes_nothing_else() {
        for (before, after) in [
            ("{}", r#"{"k\"":1}"#),
            ("{ }", r#"{"k\"":1 }"#),
            (r#"{"a": 1.0 }"#, r#"{"a": 1.0,"k\"":1 }"#),
        ] {
            let mut text = before.to_owned();
            insert(&mut text, 0, "k\"", "1");
            assert_eq!(text, after);
        }
    }

    #[test]
    fn a_removal_leaves_an_object() {
        for (before, after) in [
            (r#"{"k":1}"#, "{}"),
            (r#"{"k":1 , "a":1.0}"#, r#"{"a":1.0}"#),
            (r#"{"a":1.0 , "k":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":1.0,"k":1,"b":2}"#, r#"{"a":1.0,"b":2}"#),
        ] {
            let mut text = before.to_owned();
            let member = find(&text, 0, "k").unwrap();
            remove(&mut text, 0, &member);
            assert_eq!(text, after);
        }
    }

    #[test]
    fn text_that_is_no_json_panics_nowhere() {
        for end in 0..TEXT.len() {
            for start in 0..end {
                let mut text = TEXT[start..end].to_owned();
                let _ = members(&text, 0).count();
                let _ = members(&text, end).count();
                if let Some(member) = find(&text, 0, "a") {
                    remove(&mut text, 0, &member);
                }
            }
        }
    }
}
