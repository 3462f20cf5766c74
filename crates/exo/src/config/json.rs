//! A tree as JSON that says the same: a number keeps its characters, and what only some readers of
//! YAML take for a number or boolean is refused.

use super::problem::{At, Problem, shortened};
use super::tree::{Kind, Node};

/// What a text without quotes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scalar {
    Null,
    Bool(bool),
    Number,
    Text,
    /// JSON, or another reader of YAML, has no such value; the words say what to do.
    Unclear(&'static str),
}

/// Appends a value as JSON. The key in a problem is the way to it from `node` on.
///
/// # Errors
/// What JSON, or another reader of YAML, would not have like this.
pub fn write(node: &Node, out: &mut String) -> Result<(), Problem> {
    match &node.kind {
        Kind::Quoted(text) => string(text, out),
        Kind::Plain(text) => plain(text, node.at, out)?,
        Kind::List(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out).map_err(|why| why.below(&i.to_string()))?;
            }
            out.push(']');
        }
        Kind::Map(entries) => {
            out.push('{');
            for (i, entry) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(&entry.key, out);
                out.push(':');
                write(&entry.value, out).map_err(|why| why.below(&entry.key))?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn plain(text: &str, at: At, out: &mut String) -> Result<(), Problem> {
    match scalar(text) {
        Scalar::Null => out.push_str("null"),
        Scalar::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Scalar::Number => out.push_str(text),
        Scalar::Text => string(text, out),
        Scalar::Unclear(advice) => {
            let text = shortened(text);
            return Err(Problem::new(at, "", format!("{text} is not clear: {advice}")));
        }
    }
    Ok(())
}

/// Appends a text in quotes.
pub(super) fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Reads a text without quotes by YAML 1.2's core schema.
fn scalar(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    match unsigned {
        "yes" | "no" | "on" | "off" => {
            return Scalar::Unclear("write true or false, or put it in quotes");
        }
        ".inf" | ".nan" => return Scalar::Unclear("JSON has no such number; put it in quotes"),
        _ => {}
    }
    if is_json_number(text) {
        // Most readers of JSON would stop there, or take it for endless.
        return match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Scalar::Number,
            _ => Scalar::Unclear("it is beyond 1.8e308; put it in quotes"),
        };
    }
    let is_radix = |prefix: &str, radix: u32| {
        let digits = unsigned.strip_prefix(prefix);
        digits.is_some_and(|digits| digits.chars().all(|c| c == '_' || c.is_digit(radix)))
    };
    if is_radix("0x", 16) || is_radix("0o", 8) || is_radix("0b", 2) {
        return Scalar::Unclear("write it as a decimal number, or in quotes");
    }
    let is_other = |c: char| c.is_ascii_digit() || matches!(c, '_' | '.' | ':' | '+' | '-' | 'e');
    if unsigned.bytes().any(|b| b.is_ascii_digit()) && is_other_number(unsigned, is_other) {
        return Scalar::Unclear("write it as in JSON, such as 7 or 0.5, or in quotes");
    }
    Scalar::Text
}

/// What YAML, or YAML 1.1, takes for a number and JSON does not: `+1`, `007`, `.5`, `1.`, `1_000`,
/// `1:30`.
fn is_other_number(unsigned: &str, is_part: impl Fn(char) -> bool) -> bool {
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts || !unsigned.chars().all(is_part) {
        return false;
    }
    // Versions, dates and addresses are texts to everybody.
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, ""));
    let exponent = exponent.trim_start_matches(['+', '-']);
    mantissa.matches('.').count() <= 1
        && !mantissa.contains(['+', '-'])
        && exponent.chars().all(|c| c.is_ascii_digit())
}

/// The grammar of RFC 8259.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    fn json(yaml: &str) -> Result<String, String> {
        let entries = tree::parse(yaml.as_bytes()).map_err(|why| why.to_string())?;
        let mut out = String::new();
        let root = Node { at: At { line: 1, column: 1 }, kind: Kind::Map(entries) };
        write(&root, &mut out).map_err(|why| why.below("config").to_string())?;
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
        Ok(out)
    }

    #[test]
    fn numbers_keep_their_characters() {
        for number in [
            "0",
            "-0",
            "1",
            "1.0",
            "0.10",
            "1e5",
            "1E+5",
            "-1.5e-7",
            "123456789012345678901234567890",
        ] {
            assert_eq!(json(&format!("n: {number}")), Ok(format!("{{\"n\":{number}}}")));
        }
    }

    #[test]
    fn texts_lists_and_mappings_stay_what_they_are() {
        let yaml = "a: [x, 1, true, ~, \"1\", 'no', {b: c}]\nd:\n  - |\n    two\n    lines\n  - 1.2.3\n  - 2026-11-23\n  - 10.0.0.1\n  - a:b\n";
        let wanted = r#"{"a":["x",1,true,null,"1","no",{"b":"c"}],"d":["two\nlines\n","1.2.3","2026-11-23","10.0.0.1","a:b"]}"#;
        assert_eq!(json(yaml), Ok(wanted.into()));
        assert_eq!(json("s: \"\\u00e9\\n\\\"\""), Ok("{\"s\":\"é\\n\\\"\"}".into()));
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        for text in [
            "yes", "No", "ON", "off", "007", "+1", ".5", "1.", "1_000", "1:30", "0x1F", "0o17",
            "0b1", "1e309", "-1e999", ".inf", "-.inf", ".NaN", "1e", "-012",
        ] {
            let why = json(&format!("a: {{b: {text}}}")).unwrap_err();
            assert!(why.starts_with("line 1, column 8: config.a.b: "), "{text}: {why}");
            assert!(why.contains("quotes"), "{text}: {why}");
            assert_eq!(json(&format!("a: \"{text}\"")), Ok(format!("{{\"a\":\"{text}\"}}")));
        }
    }
}
