//! `${a.b}` in the texts of a process: what the fields have there.

use super::tree::{Object, raw};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What texts are filled from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Fields of the item.
    pub fields: &'a Object,
    /// The process.
    pub wfid: &'a str,
    /// Place in it.
    pub expid: &'a str,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// What stands between `${` and `}`.
    Name(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let Some(length) = rest[begin + 2..].find('}') else { break };
        if begin > 0 {
            all.push(Piece::Text(&rest[..begin]));
        }
        all.push(Piece::Name(&rest[begin + 2..begin + 2 + length]));
        rest = &rest[begin + 3 + length..];
    }
    if !rest.is_empty() {
        all.push(Piece::Text(rest));
    }
    all
}

/// Returns the first name in a text that a real engine takes for a variable's, or for Ruby.
#[must_use]
pub fn foreign(text: &str) -> Option<&str> {
    const KINDS: [&str; 5] = ["v", "var", "variable", "r", "ruby"];
    pieces(text).into_iter().find_map(|piece| match piece {
        Piece::Name(name) => {
            let (kind, _) = name.split_once(':')?;
            KINDS.contains(&kind.trim()).then_some(name)
        }
        Piece::Text(_) => None,
    })
}

impl Source<'_> {
    /// Returns what stands at a place of the fields, `a.b.0`; `f:` before it says that it is a field,
    /// which it is without.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<Box<RawValue>> {
        let name = name.trim();
        match name {
            "wfid" => return Some(raw(self.wfid)),
            "expid" => return Some(raw(self.expid)),
            "engine_id" => return Some(raw(super::ID)),
            _ => {}
        }
        let mut keys = name.strip_prefix("f:").unwrap_or(name).split('.');
        let mut found = self.fields.get(keys.next()?)?.clone();
        for key in keys {
            found = below(&found, key)?;
        }
        Some(found)
    }

    /// Returns a text with everything filled in. What is not there is nothing.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let filled = pieces(text).into_iter().map(|piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Name(name) => self.lookup(name).map(|value| plain(&value)).unwrap_or_default(),
        });
        filled.collect()
    }

    /// Returns the value that a text stands for: where it is one `${a.b}` and nothing else, what is
    /// there as it is, null where nothing is; any other becomes a text.
    #[must_use]
    pub fn value(&self, text: &str) -> Box<RawValue> {
        match pieces(text)[..] {
            [Piece::Name(name)] => self.lookup(name).unwrap_or_else(|| RawValue::NULL.to_owned()),
            _ => raw(&self.text(text)),
        }
    }

    /// Returns a value with all texts in it filled in.
    #[must_use]
    pub fn whole(&self, value: &RawValue) -> Box<RawValue> {
        if !value.get().contains("${") {
            return value.to_owned();
        }
        let text = value.get();
        if let Ok(text) = serde_json::from_str::<String>(text) {
            return self.value(&text);
        }
        if let Ok(list) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
            return raw(&list.iter().map(|value| self.whole(value)).collect::<Vec<_>>());
        }
        match serde_json::from_str::<Object>(text) {
            Ok(object) => {
                let filled = object.iter().map(|(key, value)| (self.text(key), self.whole(value)));
                raw(&filled.collect::<Object>())
            }
            Err(_) => value.to_owned(),
        }
    }
}

fn below(value: &RawValue, key: &str) -> Option<Box<RawValue>> {
    if let Ok(object) = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()) {
        return object.get(key).map(|found| (*found).to_owned());
    }
    let list = serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?;
    list.get(key.parse::<usize>().ok()?).map(|found| (*found).to_owned())
}

/// Returns a value as it stands within a text: texts without quotes, null as nothing.
#[must_use]
pub fn plain(value: &RawValue) -> String {
    if value.get() == "null" {
        return String::new();
    }
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(then: impl FnOnce(Source<'_>) -> T) -> T {
        let fields = r#"{"a":{"b":[1,{"c":1.0}]},"s":"x y","n":12345678901234567890123,"z":null}"#;
        let fields: Object = serde_json::from_str(fields).unwrap();
        then(Source { fields: &fields, wfid: "w", expid: "0_1" })
    }

    #[test]
    fn a_text_that_is_one_place_becomes_what_is_there() {
        with(|source| {
            for (text, value) in [
                ("${a.b.1.c}", "1.0"),
                ("${f:n}", "12345678901234567890123"),
                ("${ s }", "\"x y\""),
                ("${a.b}", "[1,{\"c\":1.0}]"),
                ("${none.at.all}", "null"),
                ("${a.b.7}", "null"),
                ("${wfid}", "\"w\""),
                ("plain", "\"plain\""),
                ("", "\"\""),
            ] {
                assert_eq!(source.value(text).get(), value, "{text}");
            }
        });
    }

    #[test]
    fn within_a_text_stands_text() {
        with(|source| {
            let text = "${s}-${n} at ${expid}: ${z}${none}${a.b} ${ open";
            let filled = "x y-12345678901234567890123 at 0_1: [1,{\"c\":1.0}] ${ open";
            assert_eq!(source.text(text), filled);
        });
    }

    #[test]
    fn values_are_filled_in_at_every_depth_and_what_has_none_stays_as_it_was() {
        with(|source| {
            let value = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
            let filled = source.whole(&value(r#"{"k-${s}":["${n}",{"x":"<${s}>"}],"y":1.0}"#));
            let wanted = r#"{"k-x y":[12345678901234567890123,{"x":"<x y>"}],"y":1.0}"#;
            assert_eq!(filled.get(), wanted);
            let untouched = r#"{ "b": 1, "a": 2.50 }"#;
            assert_eq!(source.whole(&value(untouched)).get(), untouched);
        });
    }
}
