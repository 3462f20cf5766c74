//! What a work item asks of whoever hosts the participant, and what is shown of it where it asks for that.

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};

pub use work::flags::{Flags, flags};

#[derive(Deserialize)]
struct Traced<'a> {
    #[serde(borrow)]
    fields: TracedFields<'a>,
    #[serde(borrow, default)]
    participant_name: Option<Cow<'a, str>>,
}

/// Whatever the senders' fields are: one that has another form than usual takes no other with it.
#[derive(Deserialize)]
struct TracedFields<'a> {
    #[serde(borrow, default)]
    ev: Option<&'a RawValue>,
    #[serde(borrow, default)]
    project: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// What is in an object, by its names, in order.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

#[derive(Default, Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

/// Reads a value as something, which is empty where it is nothing of the kind.
fn as_usual<'a, T: Default + Deserialize<'a>>(value: Option<&'a RawValue>) -> T {
    value.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// Bytes of the longest summary.
const LONGEST: usize = 2000;

/// Returns the line that `debug_trace` asks for, cut where it is very long.
#[must_use]
pub fn summary(item: &[u8]) -> String {
    let Ok(Traced { fields, participant_name }) = serde_json::from_slice(item) else {
        return "work item of an unusual shape".to_owned();
    };
    let mut words = vec!["work item".to_owned()];
    let mut add = |key: &str, value: &str| words.push(format!("{key}={value}"));
    if let Some(id) = as_usual::<Event<'_>>(fields.ev).id {
        add("event", id.get());
    }
    if let Some(project) = fields.project {
        add("project", project.get());
    }
    if let Some(name) = &participant_name {
        add("participant", &crate::lines::plain(name));
    }
    for (key, value) in &as_usual::<Members<'_>>(fields.params) {
        let is_shown = match &**key {
            "participant_options" | "if" => false,
            // It says the same again.
            "ref" => participant_name.is_none(),
            _ => true,
        };
        if is_shown {
            add(key, value.get());
        }
    }
    let mut line = words.join(" ");
    if line.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| line.is_char_boundary(*end));
        line.truncate(end.unwrap_or(0));
        line.push_str("...");
    }
    line
}

/// Most bytes of an item that are shown in order, and most bytes that this may become: a list of
/// numbers gets a line for each.
const SHOWN: usize = 64 << 10;

/// Deepest nesting that is shown in order: as deep as serde reads anything.
const DEEPEST: u32 = 128;

/// A value whose objects are sorted. Numbers and texts are written as they came: what is looked at
/// may be why they are wrong.
struct Sorted<'a> {
    value: &'a RawValue,
    depth: u32,
}

impl<'a> Sorted<'a> {
    fn within(&self, value: &'a RawValue) -> Self {
        Self { value, depth: self.depth + 1 }
    }
}

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.depth > DEEPEST {
            return Err(S::Error::custom("nested too deeply"));
        }
        let text = self.value.get();
        if text.starts_with('{') {
            let members: Members<'_> = serde_json::from_str(text).map_err(S::Error::custom)?;
            to.collect_map(members.into_iter().map(|(key, value)| (key, self.within(value))))
        } else if text.starts_with('[') {
            let all: Vec<&RawValue> = serde_json::from_str(text).map_err(S::Error::custom)?;
            to.collect_seq(all.into_iter().map(|value| self.within(value)))
        } else {
            self.value.serialize(to)
        }
    }
}

/// Takes bytes up to a limit.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > SHOWN {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns an item as `debug_dump` asks for it: sorted keys, four spaces, each number as it came. One of more than 64 KiB is
/// cut there and says so; one that becomes as large that way stays as it came.
#[must_use]
pub fn dump(item: &[u8]) -> Vec<u8> {
    if item.len() > SHOWN {
        let said = format!("\n(cut: {} bytes in all)", item.len());
        return [&item[..SHOWN], said.as_bytes()].concat();
    }
    let Ok(value) = serde_json::from_slice::<&RawValue>(item) else {
        return item.to_vec();
    };
    let mut out = Limited(Vec::new());
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, form);
    if (Sorted { value, depth: 1 }).serialize(&mut writer).is_err() {
        return item.to_vec();
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_event_project_participant_and_parameters() {
        let item = br#"{"participant_name":"sizer","fields":{"ev":{"id":4711},"project":"devel:a",
            "params":{"unit":"MB","if":"x","ref":"sizer","participant_options":{"a":1}}}}"#;
        assert_eq!(
            summary(item),
            "work item event=4711 project=\"devel:a\" participant=sizer unit=\"MB\""
        );
        assert_eq!(summary(b"{\"fields\":{}}"), "work item");
        assert_eq!(summary(b"7"), "work item of an unusual shape");
    }

    #[test]
    fn a_field_of_another_form_takes_nothing_else_out_of_the_summary() {
        let of = |fields: &str| summary(format!("{{\"fields\":{{{fields}}}}}").as_bytes());
        for odd in ["null", "7", "[]", "\"x\"", "{}"] {
            let said = of(&format!("\"ev\":{{\"id\":4711}},\"project\":\"a\",\"params\":{odd}"));
            assert_eq!(said, "work item event=4711 project=\"a\"", "{odd}");
            let said = of(&format!("\"ev\":{odd},\"params\":{{\"unit\":\"MB\"}}"));
            assert_eq!(said, "work item unit=\"MB\"", "{odd}");
        }
    }

    #[test]
    fn a_summary_is_no_longer_than_a_line() {
        let item = format!("{{\"fields\":{{\"params\":{{\"a\":\"{}\"}}}}}}", "é".repeat(5000));
        let line = summary(item.as_bytes());
        assert!(line.len() <= LONGEST + 3 && line.ends_with("é..."), "{}", line.len());
    }

    #[test]
    fn a_dump_is_sorted_and_indented() {
        let text = dump(b"{\"b\":1,\"a\":{\"c\":[]}}");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\n    \"a\": {\n        \"c\": []\n    },\n    \"b\": 1\n}"
        );
    }

    #[test]
    fn a_dump_has_numbers_and_texts_as_they_came() {
        let leaves = r#"[123456789012345678901234567890,1.50,-0,1E400,"\u00e9",null,true,{}]"#;
        let text =
            String::from_utf8(dump(format!(r#"{{"b":{leaves},"a":1.0}}"#).as_bytes())).unwrap();
        assert!(text.starts_with("{\n    \"a\": 1.0,\n    \"b\": [\n"), "{text}");
        assert!(text.contains(&leaves[1..leaves.len() - 1].replace(',', ",\n        ")), "{text}");
    }

    #[test]
    fn what_is_nested_too_deeply_to_be_read_stays_as_it_came() {
        for (depth, is_shown) in [(100, true), (128, true), (129, false), (30_000, false)] {
            let item = format!("{}1{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
            assert_eq!(dump(item.as_bytes()) != item.as_bytes(), is_shown, "{depth}");
        }
    }

    #[test]
    fn no_dump_is_much_larger_than_what_is_shown_in_order() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let many = format!("[{}0]", "0,".repeat(20_000));
        let bushy = format!("[{}{deep}]", format!("{deep},").repeat(300));
        for item in [many, bushy, format!("\"{}\"", "x".repeat(1 << 20))] {
            let text = dump(item.as_bytes());
            assert!(text.len() <= SHOWN + 100, "{}", text.len());
            let is_whole = item.len() <= SHOWN && text == item.as_bytes();
            assert!(is_whole || text.ends_with(b" bytes in all)"));
        }
    }
}
