//! The conditions of `if` and `unless`.
//!
//! `A == B`, `!=`, `<`, `<=`, `>`, `>=`, `A in LIST`, `A is set`, `A is not set`, or `A` alone, joined
//! by `and` and `or`, of which `and` comes first. No parentheses. A and B are `${a.b}`, a text in
//! quotes, or a bare one, which is JSON where it can be. What other languages have instead is refused
//! outside of quotes: as a text it would always hold.

use super::dollar::{Source, plain};
use super::number::Number;
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A word of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word<'a> {
    /// A comparison, `and`, `or`, `in`, `is`.
    Operator(&'a str),
    /// Within quotes.
    Quoted(&'a str),
    /// Anything else, up to a blank.
    Bare(&'a str),
}

const SIGNS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];
const WORDS: [&str; 4] = ["and", "or", "in", "is"];
/// Signs and words by which other languages compare and join.
const FOREIGN_SIGNS: [&str; 5] = ["=~", "!~", "=", "&&", "||"];
const FOREIGN_WORDS: [&str; 3] = ["not", "and", "or"];
/// So deep values are compared, and below that as they are written.
const DEEPEST: usize = 64;
const UNDERSTOOD: &str = "understood are ==, !=, <, <=, >, >=, in, is set and is not set, joined by \
                          and and or; what is a text stands in quotes";

fn words(text: &str) -> Result<Vec<Word<'_>>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, length) = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign))
        {
            (Word::Operator(sign), sign.len())
        } else if first == '\'' || first == '"' {
            let end = rest[1..].find(first).ok_or_else(|| format!("a {first} is not closed"))?;
            (Word::Quoted(&rest[1..=end]), end + 2)
        } else {
            let end = end_of_bare(rest)?;
            let word = &rest[..end];
            let known = WORDS.iter().find(|known| **known == word);
            (known.map_or(Word::Bare(word), |known| Word::Operator(known)), end)
        };
        all.push(word);
        rest = rest[length..].trim_start();
    }
    Ok(all)
}

/// Returns where a bare word ends: at a blank or a sign, but not within `${}`, `[]`, `{}` and quotes
/// in these.
fn end_of_bare(text: &str) -> Result<usize, String> {
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"') if depth > 0 => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, '(' | ')') if depth == 0 => {
                return Err("there are no parentheses here".to_owned());
            }
            (None, _) if depth == 0 => {
                let ends = c.is_whitespace() || SIGNS.iter().any(|s| text[at..].starts_with(s));
                if ends && at > 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err("a bracket is not closed".to_owned()) } else { Ok(text.len()) }
}

/// Returns what of a bare word is another language's, which it is not within brackets.
fn foreign<'a>(word: &Word<'a>) -> Option<&'a str> {
    let Word::Bare(text) = *word else { return None };
    if FOREIGN_WORDS.iter().any(|foreign| text.eq_ignore_ascii_case(foreign)) {
        return Some(text);
    }
    if text.starts_with('!') && !text.starts_with("!~") {
        return Some("!");
    }
    let (mut depth, mut is_quoted) = (0_usize, false);
    text.char_indices().find_map(|(at, c)| {
        match c {
            '"' if depth > 0 => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => {
                let sign = FOREIGN_SIGNS.iter().find(|sign| text[at..].starts_with(**sign));
                return sign.copied();
            }
            _ => {}
        }
        None
    })
}

/// Something compared with something.
#[derive(Debug, PartialEq, Eq)]
enum Test<'a> {
    Alone(Operand<'a>),
    IsSet(Operand<'a>, bool),
    Compared(Operand<'a>, &'a str, Operand<'a>),
}

/// Words that stand for one value.
#[derive(Debug, PartialEq, Eq)]
struct Operand<'a>(Vec<Word<'a>>);

fn split<'a, 'b>(words: &'b [Word<'a>], at: &'b str) -> impl Iterator<Item = &'b [Word<'a>]> {
    words.split(move |word| *word == Word::Operator(at))
}

fn test<'a>(words: &[Word<'a>]) -> Result<Test<'a>, String> {
    let is_operator = |word: &Word<'_>| matches!(word, Word::Operator(_));
    let operand = |words: &[Word<'a>]| {
        if let Some(foreign) = words.iter().find_map(foreign) {
            return Err(format!("{foreign} is not understood here: {UNDERSTOOD}"));
        }
        match words {
            [] => Err("a value is missing".to_owned()),
            words if words.iter().any(is_operator) => Err("there are two comparisons".to_owned()),
            words => Ok(Operand(words.to_vec())),
        }
    };
    let Some(at) = words.iter().position(is_operator) else {
        return match (operand(words)?, words) {
            (operand, [_]) => Ok(Test::Alone(operand)),
            _ => Err(format!("there is no comparison: {UNDERSTOOD}")),
        };
    };
    let (left, right) = (operand(&words[..at])?, &words[at + 1..]);
    match (&words[at], right) {
        (Word::Operator("is"), [Word::Bare("set")]) => Ok(Test::IsSet(left, true)),
        (Word::Operator("is"), [Word::Bare("not"), Word::Bare("set")]) => {
            Ok(Test::IsSet(left, false))
        }
        (Word::Operator("is"), _) => Err("after is stands set, or not set".to_owned()),
        (Word::Operator(sign), right) => Ok(Test::Compared(left, sign, operand(right)?)),
        (Word::Quoted(_) | Word::Bare(_), _) => Err("a comparison is missing".to_owned()),
    }
}

fn parse(text: &str) -> Result<Vec<Vec<Test<'_>>>, String> {
    let words = words(text)?;
    split(&words, "or").map(|any| split(any, "and").map(test).collect()).collect()
}

/// Says what is wrong with a condition.
///
/// # Errors
/// What, in words.
pub fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Tells whether a condition holds.
///
/// # Errors
/// It is none.
pub fn holds(text: &str, source: Source<'_>) -> Result<bool, String> {
    let any = parse(text)?;
    Ok(any.iter().any(|all| all.iter().all(|test| test.holds(source))))
}

impl Operand<'_> {
    /// Returns its value: one word as it is, several as one text.
    fn value(&self, source: Source<'_>) -> Box<RawValue> {
        if let [Word::Bare(text)] = self.0[..] {
            if let Ok(json) = serde_json::from_str::<&RawValue>(text) {
                return json.to_owned();
            }
            return source.value(text);
        }
        let filled = self.0.iter().map(|word| match word {
            Word::Operator(text) | Word::Quoted(text) | Word::Bare(text) => source.text(text),
        });
        super::tree::raw(&filled.collect::<Vec<_>>().join(" "))
    }
}

impl Test<'_> {
    fn holds(&self, source: Source<'_>) -> bool {
        match self {
            Self::Alone(operand) => is_true(&operand.value(source)),
            Self::IsSet(operand, wanted) => (operand.value(source).get() != "null") == *wanted,
            Self::Compared(left, sign, right) => {
                compare(&left.value(source), sign, &right.value(source))
            }
        }
    }
}

/// A value alone is true but for null, false, as a text too, and what is empty.
fn is_true(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "false" | "\"\"" | "\"false\"")
}

fn compare(left: &RawValue, sign: &str, right: &RawValue) -> bool {
    match sign {
        "==" => is_equal(left, right),
        "!=" => !is_equal(left, right),
        "in" => match serde_json::from_str::<Vec<&RawValue>>(right.get()) {
            Ok(list) => list.iter().any(|one| is_equal(left, one)),
            Err(_) => false,
        },
        sign => {
            let order = order(left, right);
            match sign {
                "<" => order == Ordering::Less,
                "<=" => order != Ordering::Greater,
                ">" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
        }
    }
}

/// Two values are equal where they are written alike, a text that reads `true` and the value, since
/// participants answer with both; where they are the same number, and one of them is no text; and
/// where they are the same JSON.
fn is_equal(left: &RawValue, right: &RawValue) -> bool {
    plain(left) == plain(right)
        || ((is_number(left) || is_number(right)) && is_same_number(left, right))
        || is_same(left, right, DEEPEST)
}

fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn is_same_number(left: &RawValue, right: &RawValue) -> bool {
    numbers(left, right).is_some_and(|(left, right)| left == right)
}

/// Tells whether two values are the same JSON, however it is written, down to a depth.
fn is_same(left: &RawValue, right: &RawValue, depth: usize) -> bool {
    type Members<'a> = BTreeMap<String, &'a RawValue>;
    fn read<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
        serde_json::from_str(raw.get()).ok()
    }
    let is_same_below = |(left, right): (&&RawValue, &&RawValue)| is_same(left, right, depth - 1);
    if depth == 0 {
        return left.get() == right.get();
    }
    if is_number(left) && is_number(right) {
        return is_same_number(left, right);
    }
    if let (Some(left), Some(right)) = (read::<String>(left), read::<String>(right)) {
        return left == right;
    }
    if let (Some(left), Some(right)) = (read::<Members<'_>>(left), read::<Members<'_>>(right)) {
        return left.keys().eq(right.keys())
            && left.values().zip(right.values()).all(is_same_below);
    }
    if let (Some(left), Some(right)) = (read::<Vec<&RawValue>>(left), read::<Vec<&RawValue>>(right))
    {
        return left.len() == right.len() && left.iter().zip(&right).all(is_same_below);
    }
    left.get() == right.get()
}

fn numbers(left: &RawValue, right: &RawValue) -> Option<(Number, Number)> {
    let number = |raw: &RawValue| Number::read(&plain(raw));
    Some((number(left)?, number(right)?))
}

fn order(left: &RawValue, right: &RawValue) -> Ordering {
    match numbers(left, right) {
        Some((left, right)) => left.cmp(&right),
        None => plain(left).cmp(&plain(right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tree::Object;

    fn holds_with(text: &str) -> Result<bool, String> {
        let fields = r#"{"__result__":true,"t":"true","n":3,"f":3.0,"s":"a b","l":["x",3],"e":"",
            "no":false,"z":null,"o":{"p":"q == r"},"list":["sizer","other"]}"#;
        let fields: Object = serde_json::from_str(fields).unwrap();
        holds(text, Source { fields: &fields, wfid: "w", expid: "0" })
    }

    #[test]
    fn conditions_hold_as_the_fields_say() {
        for (text, wanted) in [
            ("${__result__}", true),
            ("${__result__} == true", true),
            ("${__result__} == 'true'", true),
            ("${t} == true", true),
            ("${no}", false),
            ("${e}", false),
            ("${missing}", false),
            ("${n}", true),
            ("${n} == 3.0", true),
            ("${f} == 3", true),
            ("${n} == '3'", true),
            ("${n}==3", true),
            ("${n} != 3", false),
            ("${n} < 10", true),
            ("${n}<=3 and ${n}>=3", true),
            ("${n} > 10", false),
            ("${s} == 'a b'", true),
            ("${s} == a b", true),
            ("${s} != 'a && b = not c'", true),
            ("${o} == {\"p\":\"q == r\"}", true),
            ("'${s}!' == 'a b!'", true),
            ("${s} < b", true),
            ("x in ${l}", true),
            ("${n} in ${l}", true),
            ("'3' in ${l}", true),
            ("y in ${l}", false),
            ("y in [\"x\", \"y\"]", true),
            ("y in [\"a]=b\", \"y\"]", true),
            ("${o} == {\"p\":\"}&&\"}", false),
            ("x in ${s}", false),
            ("size in ${list}", false),
            ("sizer in ${list}", true),
            // What a value says is no part of the condition.
            ("${o.p} == 'q == r'", true),
            ("${o.p}", true),
            ("${z} is set", false),
            ("${z} is not set", true),
            ("${e} is set", true),
            ("${missing} is set", false),
            ("${no} or ${n} == 3", true),
            ("${n} == 3 or ${no} and ${no}", true),
            ("${no} and ${n} == 3 or ${no}", false),
            ("true", true),
            ("false", false),
        ] {
            assert_eq!(holds_with(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_equal_is_written_alike_or_the_same_number_or_the_same_json() {
        let fields = r#"{"n":12345678901234567890,"big":1e400,"ver":"1.10","t":"3","f":1.10,
            "l":[12345678901234567890123,{"b":1,"a":"x"}],"m":[12345678901234567890124,{"b":1,"a":"x"}],
            "o":{"p":[1.0],"q":"\u0061"}}"#;
        let fields: Object = serde_json::from_str(fields).unwrap();
        let source = Source { fields: &fields, wfid: "w", expid: "0" };
        for (text, wanted) in [
            ("${ver} == '1.1'", false),
            ("${ver} == '1.10'", true),
            ("'1e3' == '1000'", false),
            ("'03' == '3'", false),
            ("${ver} == 1.1", true),
            ("${f} == '1.1'", true),
            ("${f} == ${ver}", true),
            ("1e3 == 1000", true),
            ("${t} == 3.0", true),
            ("${n} == 12345678901234567891", false),
            ("${n} == '12345678901234567891'", false),
            ("${n} == 12345678901234567890.0", true),
            ("${n} < 12345678901234567891", true),
            ("${big} > 1e399", true),
            ("12345678901234567891 in [12345678901234567890]", false),
            ("${l} == ${m}", false),
            ("${l} == [12345678901234567890123,{\"a\":\"x\",\"b\":1.0}]", true),
            ("${l} == [12345678901234567890123]", false),
            ("${o} == {\"q\":\"a\",\"p\":[1]}", true),
            ("${o} == {\"q\":\"a\",\"p\":[\"1\"]}", false),
        ] {
            assert_eq!(holds(text, source), Ok(wanted), "{text}");
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(500), "]".repeat(500));
        assert_eq!(holds(&format!("{} == {}", deep("1"), deep("1")), source), Ok(true));
        assert_eq!(holds(&format!("{} == {}", deep("1"), deep("2")), source), Ok(false));
    }

    #[test]
    fn what_is_no_condition_says_why() {
        for (text, why) in [
            ("", "a value is missing"),
            ("${a} ==", "a value is missing"),
            ("== 3", "a value is missing"),
            ("a == b == c", "two comparisons"),
            ("a and", "a value is missing"),
            ("(a)", "no parentheses"),
            ("a is b", "after is stands set"),
            ("'a", "not closed"),
            ("x in [1,2", "not closed"),
            ("${ok} = true", "= is not understood"),
            ("${ok}=true", "= is not understood"),
            ("${ok} === true", "= is not understood"),
            ("not ${ok}", "not is not understood"),
            ("NOT ${ok} == 1", "NOT is not understood"),
            ("!${ok}", "! is not understood"),
            ("! ${ok}", "! is not understood"),
            ("${ok} == !${n}", "! is not understood"),
            ("${a} && ${b}", "&& is not understood"),
            ("${n} == 3 && ${b}", "&& is not understood"),
            ("${n}==3||${b}", "|| is not understood"),
            ("${n} == 3 AND ${b}", "AND is not understood"),
            ("'${f:x}' =~ '/foo/'", "=~ is not understood"),
            ("${x} !~ /foo/", "!~ is not understood"),
            ("${x} == 3 and not ${y}", "not is not understood"),
            ("${x} contains y", "there is no comparison: understood are =="),
            ("'a' 'b'", "there is no comparison"),
        ] {
            let said = check(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
