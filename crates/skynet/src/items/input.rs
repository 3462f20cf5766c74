//! Items to be submitted: read, and held against the rules before any of them is.

use crate::failure::{Failure, code};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use sys::linux::{process, terminal, time};
use work::NewJob;

/// Bytes that may stand around an item.
const AROUND: u64 = 8 << 10;
/// Complaints that are told at once.
const MOST: usize = 10;

/// How items are to be treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// The process that items without a `fei` belong to.
    pub wfid: Option<String>,
    /// Keys of the envelope, and their values.
    pub envelope: Vec<(&'static str, Value)>,
}

/// Where items come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Words: JSON, names of files, `-`.
    pub items: &'a [OsString],
    /// `KEY=VALUE`: one item of these fields.
    pub fields: &'a [String],
    /// Each line is an item.
    pub by_line: bool,
}

/// One text that is to be an item, and where it stands.
struct Text {
    bytes: Vec<u8>,
    /// Name of the file, or of what it was.
    name: String,
    /// Line that it begins with.
    line: usize,
}

/// Reads all items; each is what is submitted, in its envelope where there is one.
///
/// # Errors
/// What is wrong with them, each with its place.
pub fn read(
    source: Source<'_>,
    manner: &Manner,
    queue: &str,
    limit: usize,
) -> Result<Vec<Vec<u8>>, Failure> {
    let texts = texts(source, limit)?;
    if texts.is_empty() {
        return Err(Failure::usage("there is no item; give a file, JSON, - or --field"));
    }
    let (mut items, mut complaints) = (Vec::new(), Vec::new());
    for (index, text) in texts.into_iter().enumerate() {
        match finished(&text, manner, index, queue, limit) {
            Ok(item) => items.push(item),
            Err(why) => complaints.push(why),
        }
    }
    unless_wrong(complaints).map(|()| items)
}

/// Tells that nothing was submitted, where something is wrong.
///
/// # Errors
/// What is wrong.
pub fn unless_wrong(mut complaints: Vec<String>) -> Result<(), Failure> {
    if complaints.is_empty() {
        return Ok(());
    }
    let more = complaints.len().saturating_sub(MOST);
    complaints.truncate(MOST);
    if more > 0 {
        complaints.push(format!("and {more} more"));
    }
    complaints.push("nothing was submitted".to_owned());
    Err(Failure { code: code::FAILED, lines: complaints })
}

fn texts(source: Source<'_>, limit: usize) -> Result<Vec<Text>, Failure> {
    if !source.fields.is_empty() {
        let bytes = of_fields(source.fields)?;
        return Ok(vec![Text { bytes, name: "--field".to_owned(), line: 1 }]);
    }
    let standard = [OsString::from("-")];
    let words = if source.items.is_empty() {
        if terminal::is_terminal(0) {
            return Ok(Vec::new());
        }
        &standard
    } else {
        source.items
    };
    let most = if source.by_line { u64::MAX } else { limit as u64 + AROUND };
    let mut texts = Vec::new();
    for word in words {
        let text = one(word, most)?;
        if source.items.is_empty() && text.bytes.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        if source.by_line {
            texts.extend(lines(&text));
        } else {
            texts.push(text);
        }
    }
    Ok(texts)
}

fn one(word: &OsStr, most: u64) -> Result<Text, Failure> {
    if word.as_bytes().trim_ascii_start().starts_with(b"{") {
        return Ok(Text { bytes: word.as_bytes().to_vec(), name: "item".to_owned(), line: 1 });
    }
    let mut bytes = Vec::new();
    let (read, name) = if word == "-" {
        (std::io::stdin().lock().take(most).read_to_end(&mut bytes), "standard input".to_owned())
    } else {
        let read = File::open(word).and_then(|file| file.take(most).read_to_end(&mut bytes));
        (read, word.display().to_string())
    };
    read.map_err(|why| Failure::io("read", &name, &why))?;
    Ok(Text { bytes, name, line: 1 })
}

fn lines(text: &Text) -> Vec<Text> {
    let lines = text.bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(number, line)| Text {
            bytes: line.to_vec(),
            name: text.name.clone(),
            line: number + 1,
        })
        .collect()
}

/// Makes an item of `KEY=VALUE`: a value that is JSON is that, any other is text.
fn of_fields(fields: &[String]) -> Result<Vec<u8>, Failure> {
    let mut all = Map::new();
    for field in fields {
        let Some((key, value)) = field.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("\"{field}\" is no KEY=VALUE")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if all.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("field {key} is given twice")));
        }
    }
    Ok(json!({ "fields": all }).to_string().into_bytes())
}

/// Returns a text as it is submitted.
fn finished(
    text: &Text,
    manner: &Manner,
    index: usize,
    queue: &str,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let raw: &RawValue = serde_json::from_slice(&text.bytes).map_err(|why| at(text, &why))?;
    let wrong = |why: &str| format!("{}, line {}: {why}", text.name, text.line);
    let mut item = raw.get().as_bytes().to_vec();
    if item.first() != Some(&b'{') {
        return Err(wrong("not a work item: an object is expected"));
    }
    let is_envelope = is_object_with(&item, "skynet") && is_object_with(&item, "item");
    if let Some(wfid) = &manner.wfid {
        if is_envelope || is_object_with(&item, "fei") {
            return Err(wrong("it has a fei or an envelope, which say what --wfid would"));
        }
        item = with_process(&item, wfid, index);
    }
    if !manner.envelope.is_empty() {
        if is_envelope {
            return Err(wrong("it is in an envelope, which says what these options would"));
        }
        item = enveloped(&item, &manner.envelope);
    }
    let job = NewJob::from_item(queue, item.clone(), limit, "it");
    job.map_err(|why| wrong(&why.to_string()))?;
    Ok(item)
}

/// Says where a text is no JSON.
fn at(text: &Text, why: &serde_json::Error) -> String {
    let line = text.line + why.line().saturating_sub(1);
    let whole = why.to_string();
    let plain = whole.split(" at line ").next().unwrap_or(&whole);
    let hint = if plain == "trailing characters" { "; for one item a line, --lines" } else { "" };
    format!("{}, line {line}, column {}: {plain}{hint}", text.name, why.column())
}

fn is_object_with(item: &[u8], key: &str) -> bool {
    let object = serde_json::from_slice::<std::collections::BTreeMap<String, &RawValue>>(item);
    object.is_ok_and(|object| object.contains_key(key))
}

/// Puts a `fei` into an item, all other bytes of which stay as they are. Each submission is another.
fn with_process(item: &[u8], wfid: &str, index: usize) -> Vec<u8> {
    let (seconds, nanos) = time::wall();
    let subid = format!("{seconds:x}.{nanos:x}.{:x}", process::pid());
    let expid = format!("0_{index}");
    let fei = json!({ "engine_id": "skynet", "wfid": wfid, "subid": subid, "expid": expid });
    let rest = item.strip_prefix(b"{").unwrap_or(item);
    [format!("{{\"fei\":{fei},").as_bytes(), rest].concat()
}

fn enveloped(item: &[u8], keys: &[(&'static str, Value)]) -> Vec<u8> {
    let mut head = String::from("{\"skynet\":1,");
    for (key, value) in keys {
        let _ = write!(head, "\"{key}\":{value},");
    }
    [head.as_bytes(), b"\"item\":", item, b"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(words: &[&str], by_line: bool, manner: &Manner) -> Result<Vec<String>, Failure> {
        let items: Vec<OsString> = words.iter().map(Into::into).collect();
        let source = Source { items: &items, fields: &[], by_line };
        let items = read(source, manner, "q", 200)?;
        Ok(items.into_iter().map(|item| String::from_utf8(item).unwrap()).collect())
    }

    fn complaint(word: &str) -> String {
        let failure = read_words(&[word], false, &Manner::default()).unwrap_err();
        assert_eq!((failure.code, failure.lines.len()), (code::FAILED, 2), "{failure:?}");
        failure.lines[0].clone()
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_column() {
        let place = complaint("{\"fields\":\n  {\"a\" 1}}");
        assert_eq!(place, "item, line 2, column 8: expected `:`");
        assert!(
            complaint("{\"fields\":{}}\n{}").contains("line 2, column 1: trailing characters;")
        );
        assert!(complaint("{}").contains("line 1: not a work item: missing field `fields`"));
        let long = format!("{{\"fields\":{{\"a\":\"{}\"}}}}", "x".repeat(200));
        assert!(complaint(&long).contains("200 are allowed"), "{}", complaint(&long));
    }

    #[test]
    fn a_line_that_is_wrong_is_counted_from_the_first_of_its_file() {
        let words = ["{\"fields\":{}}\n\n{\"fields\":1}\nx"];
        let failure = read_words(&words, true, &Manner::default()).unwrap_err();
        assert!(failure.lines[0].starts_with("item, line 3: not a work item"), "{failure:?}");
        assert!(failure.lines[1].starts_with("item, line 4, column 1: "), "{failure:?}");
        assert_eq!(failure.lines[2], "nothing was submitted");
    }

    #[test]
    fn numbers_keep_their_digits_and_each_item_of_a_process_has_a_name_of_its_own() {
        let item = "{\"fields\":{\"n\":12345678901234567890123,\"x\":1.0}}";
        let manner = Manner { wfid: Some("w\"1".to_owned()), ..Manner::default() };
        let items = read_words(&[item, item], false, &manner).unwrap();
        for (index, found) in items.iter().enumerate() {
            assert!(found.ends_with(&item[1..]), "{found}");
            let fei = serde_json::from_str::<Value>(found).unwrap()["fei"].clone();
            assert_eq!(
                (&fei["wfid"], &fei["expid"]),
                (&json!("w\"1"), &json!(format!("0_{index}")))
            );
        }
    }

    #[test]
    fn options_become_an_envelope_and_nothing_is_put_into_two() {
        let keys = vec![("priority", json!(5)), ("key", json!("k"))];
        let manner = Manner { envelope: keys, ..Manner::default() };
        let items = read_words(&["{\"fields\":{}}"], false, &manner).unwrap();
        let whole = "{\"skynet\":1,\"priority\":5,\"key\":\"k\",\"item\":{\"fields\":{}}}";
        assert_eq!(items, [whole]);
        let twice = read_words(&[whole], false, &manner).unwrap_err();
        assert!(twice.lines[0].contains("it is in an envelope"), "{twice:?}");
        let bad = Manner { envelope: vec![("delay", json!("5"))], ..Manner::default() };
        let bad = read_words(&["{\"fields\":{}}"], false, &bad).unwrap_err();
        assert!(bad.lines[0].contains("delay: 5 has no unit"), "{bad:?}");
    }

    #[test]
    fn fields_are_json_where_they_can_be_and_text_otherwise() {
        let fields = ["n=1", "s=a=b", "t=\"1\"", "l=[1,2]"].map(str::to_owned);
        let source = Source { items: &[], fields: &fields, by_line: false };
        let items = read(source, &Manner::default(), "q", 200).unwrap();
        let item: Value = serde_json::from_slice(&items[0]).unwrap();
        assert_eq!(item["fields"], json!({ "n": 1, "s": "a=b", "t": "1", "l": [1, 2] }));
        for bad in [&["x"][..], &["=1"], &["a=1", "a=2"]] {
            let fields: Vec<String> = bad.iter().map(ToString::to_string).collect();
            let source = Source { items: &[], fields: &fields, by_line: false };
            assert_eq!(read(source, &Manner::default(), "q", 200).unwrap_err().code, 100);
        }
    }
}
