//! What must be known of a work item: whose it is, and that it is one.

use crate::change::JobId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Largest item that is taken unless something else is set: 16 MiB.
pub const LARGEST: usize = 16 << 20;

/// Largest item that can be had taken: 128 MiB, three of which are in memory at a time.
pub const MOST: usize = 128 << 20;

/// Most bytes of each half of a name: it stands in an index, in the log and in whatever is told of the
/// item.
pub const NAME: usize = 1024;

/// Class of an error unless something else is set: one that the engine knows.
pub const ERROR_CLASS: &str = "Ruote::Amqp::RemoteError";

/// What names an item: the process it belongs to, and the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Process that the item belongs to; what people search by.
    pub wfid: String,
    /// Names the item within it: `EXPID!SUBID!DISPATCHED`, or what its sender called it.
    pub rest: String,
}

/// Why bytes are no work item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// Longer than `limit` bytes.
    TooLong {
        /// Bytes it has.
        bytes: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// Not a JSON object with the keys that an item needs, or these are of another type.
    NotAnItem(String),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, limit } => {
                write!(f, "the item has {bytes} bytes; {limit} are allowed")
            }
            Self::NotAnItem(what) => write!(f, "not a work item: {what}"),
        }
    }
}

impl std::error::Error for Invalid {}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    fei: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: &'a RawValue,
}

#[derive(Deserialize)]
struct Fei<'a> {
    #[serde(borrow)]
    wfid: Cow<'a, str>,
    #[serde(borrow)]
    expid: Cow<'a, str>,
    #[serde(borrow, default)]
    subid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sub_wfid: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    dispatched_at: Option<Cow<'a, str>>,
}

/// Returns what names an item; `None` where it says nothing itself (it has no `fei`).
///
/// Nothing of the payload is copied. Source: wire format of the engine, section 3.
///
/// # Errors
/// [`Invalid`], in words for whoever sent it.
pub fn identity(item: &[u8], limit: usize) -> Result<Option<Identity>, Invalid> {
    if item.len() > limit {
        return Err(Invalid::TooLong { bytes: item.len(), limit });
    }
    // What is not looked at is not looked at by the parser either.
    std::str::from_utf8(item).map_err(|e| Invalid::NotAnItem(e.to_string()))?;
    let outer: Outer<'_> = object(item)?;
    let fields: Fields<'_> = object(outer.fields.get().as_bytes())?;
    let Some(fei) = outer.fei else { return Ok(None) };
    let fei: Fei<'_> = object(fei.get().as_bytes())?;
    let below = fei.subid.filter(|id| !id.is_empty()).or(fei.sub_wfid).unwrap_or_default();
    let dispatched = fields.dispatched_at.unwrap_or_default();
    let rest = fei.expid.len() + below.len() + dispatched.len() + 2;
    for (what, bytes) in [("fei.wfid", fei.wfid.len()), ("the rest of its name", rest)] {
        if bytes > NAME {
            let why = format!("{what} has {bytes} bytes; {NAME} are allowed");
            return Err(Invalid::NotAnItem(why));
        }
    }
    Ok(Some(Identity {
        rest: format!("{}!{below}!{dispatched}", fei.expid),
        wfid: fei.wfid.into_owned(),
    }))
}

/// Returns why nobody who has no rights here submits an item of this process: it is named as a job is whose
/// item names none, so that they would have a part in what is done with another's job.
#[must_use]
pub fn flaw_of_process(wfid: &str) -> Option<String> {
    JobId::of_process(wfid).map(|_| format!("the process {wfid} is a job without a name"))
}

/// Returns `dispatched_at` of an item by the rest of its name; `""` where it has none.
pub(crate) fn dispatched(rest: &str) -> &str {
    rest.splitn(3, '!').nth(2).unwrap_or_default()
}

/// Reads an object. Without this an array of the right values would do as well.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Invalid> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Invalid::NotAnItem("an object is expected".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|e| Invalid::NotAnItem(e.to_string()))
}

/// What went wrong, as the sender of an item is told.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ErrorReply<'a> {
    /// One that the engine knows.
    pub class: &'a str,
    /// For people.
    pub message: &'a str,
    /// Where, outermost call first.
    pub trace: &'a [String],
}

/// Returns the error in an item; `None` where it has none.
///
/// The engine is Ruby: `null` and `false` are none, and anything else is one, even an empty text, an
/// empty object or 0. Source: wire format of the engine, section 5.
#[must_use]
pub fn error(item: &[u8]) -> Option<&RawValue> {
    let whole: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(item).ok()?;
    whole.get("error").copied().filter(|error| !matches!(error.get(), "null" | "false"))
}

/// Returns an item without the error in it; the rest is kept byte for byte. What is no object has none:
/// `None`.
#[must_use]
pub fn without_error(item: &[u8]) -> Option<Vec<u8>> {
    let mut whole: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(item).ok()?;
    whole.remove("error")?;
    serde_json::to_vec(&whole).ok()
}

/// Returns an item with this class in its error, the rest byte for byte; `None` where the error has a
/// class already, or is no object that could have one.
#[must_use]
pub fn with_class(item: &[u8], class: &str) -> Option<Vec<u8>> {
    let error = error(item)?.get();
    let mut words: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(error).ok()?;
    if !matches!(words.get("class").map(|class| class.get()), None | Some("null" | "\"\"")) {
        return None;
    }
    let class = serde_json::value::to_raw_value(class).ok()?;
    words.insert(Cow::Borrowed("class"), &class);
    let error = serde_json::value::to_raw_value(&words).ok()?;
    let mut whole: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(item).ok()?;
    whole.insert(Cow::Borrowed("error"), &error);
    serde_json::to_vec(&whole).ok()
}

/// Returns the item with `error` in it, as its sender expects one that failed; the rest is kept
/// byte for byte. What is no object cannot be answered: `None`.
///
/// Where that has more than `limit` bytes, the trace is left out, then all of the item but its name.
///
/// Source: wire format of the engine, section 6.
#[must_use]
pub fn with_error(item: &[u8], error: ErrorReply<'_>, limit: usize) -> Option<Vec<u8>> {
    let whole: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(item).ok()?;
    let untraced = ErrorReply { trace: &[], ..error };
    if let Some(out) = joined(&whole, error, limit).or_else(|| joined(&whole, untraced, limit)) {
        return Some(out);
    }
    let message = format!(
        "{}; the fields are left out: with the error there are more than {limit} bytes",
        cut(error.message, SHORT)
    );
    let short = ErrorReply { message: &message, ..untraced };
    let fields = serde_json::value::to_raw_value(&serde_json::Map::new()).ok()?;
    let mut named = BTreeMap::from([(Cow::Borrowed("fields"), &*fields)]);
    let nameless = named.clone();
    named.extend(whole.get("fei").map(|fei| (Cow::Borrowed("fei"), *fei)));
    joined(&named, short, limit).or_else(|| joined(&nameless, short, usize::MAX))
}

/// Bytes of a message in an answer that has no room.
const SHORT: usize = 200;

/// Returns an object of these keys and the error; `None` where it has more than `limit` bytes.
fn joined(
    keys: &BTreeMap<Cow<'_, str>, &RawValue>,
    error: ErrorReply<'_>,
    limit: usize,
) -> Option<Vec<u8>> {
    let error = serde_json::to_vec(&error).ok()?;
    let kept = keys.iter().filter(|(key, _)| *key != "error");
    let least = kept.clone().map(|(key, value)| key.len() + value.get().len() + 4);
    let least = least.sum::<usize>() + error.len();
    // Looked at before: beside the item there is one copy of it, however large it is.
    if least > limit {
        return None;
    }
    let mut out = Vec::with_capacity(least + 256);
    out.push(b'{');
    for (key, value) in kept {
        serde_json::to_writer(&mut out, key).ok()?;
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"error\":");
    out.extend_from_slice(&error);
    out.push(b'}');
    (out.len() <= limit).then_some(out)
}

/// What stands where a text was cut.
pub const CUT: &str = " [...]";

/// Returns a text of at most `most` bytes; one that was longer ends with [`CUT`].
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let most = most.saturating_sub(CUT.len());
    let whole = (0..=most).rev().find_map(|end| text.get(..end));
    Cow::Owned(format!("{}{CUT}", whole.unwrap_or_default()))
}

/// Returns an item that has nothing but its name, in the place of one that is lost.
pub(crate) fn stand_in(wfid: &str, rest: &str) -> Vec<u8> {
    let mut parts = rest.split('!');
    let mut part = || parts.next().unwrap_or_default();
    let (expid, subid, dispatched) = (part(), part(), part());
    let fei = serde_json::json!({ "wfid": wfid, "expid": expid, "subid": subid });
    let fields = serde_json::json!({ "dispatched_at": dispatched });
    serde_json::json!({ "fei": fei, "fields": fields }).to_string().into_bytes()
}

/// Sums up bytes so that a flipped one is noticed. FNV-1a of 64 bits: each step can be undone, so
/// two texts that differ in one byte never have the same sum.
#[must_use]
pub fn checksum(bytes: &[u8]) -> i64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"fei":{"engine_id":"e","wfid":"20261122-0807-bakugi","subid":"7f3c",
        "expid":"0_1_0"},"n":12345678901234567890123,"fields":{"x":1.0,"dispatched_at":"now"}}"#;

    #[test]
    fn an_item_is_named_by_expid_subid_wfid_and_when_it_was_dispatched() {
        let found = identity(ITEM.as_bytes(), LARGEST).unwrap().unwrap();
        assert_eq!((&*found.wfid, &*found.rest), ("20261122-0807-bakugi", "0_1_0!7f3c!now"));
        let old = r#"{"fei":{"wfid":"w","expid":"0","subid":"","sub_wfid":"s"},"fields":{}}"#;
        assert_eq!(identity(old.as_bytes(), LARGEST).unwrap().unwrap().rest, "0!s!");
    }

    #[test]
    fn a_process_that_is_named_as_a_job_without_a_name_is_told_from_others() {
        for wfid in ["job-1", "job-0", "job--7", "job-007", "job-+7"] {
            let why = flaw_of_process(wfid).unwrap();
            assert_eq!(why, format!("the process {wfid} is a job without a name"));
        }
        for wfid in
            ["", "job", "job-", "job-x", "job-1x", "xjob-1", "Job-1", "20261122-0807-bakugi"]
        {
            assert_eq!(flaw_of_process(wfid), None, "{wfid}");
        }
    }

    #[test]
    fn a_name_has_a_limit() {
        let named = |wfid: usize, expid: usize| {
            let (wfid, expid) = ("w".repeat(wfid), "e".repeat(expid));
            let item = format!(r#"{{"fei":{{"wfid":"{wfid}","expid":"{expid}"}},"fields":{{}}}}"#);
            identity(item.as_bytes(), LARGEST).map_err(|why| why.to_string())
        };
        assert!(named(NAME, NAME - 2).is_ok());
        let said = named(NAME + 1, 1).unwrap_err();
        assert!(said.ends_with("fei.wfid has 1025 bytes; 1024 are allowed"), "{said}");
        let said = named(1, NAME).unwrap_err();
        assert!(said.ends_with("the rest of its name has 1026 bytes; 1024 are allowed"), "{said}");
    }

    #[test]
    fn a_stand_in_has_the_name_of_what_it_stands_for() {
        let named = identity(ITEM.as_bytes(), LARGEST).unwrap().unwrap();
        let stand_in = stand_in(&named.wfid, &named.rest);
        assert_eq!(identity(&stand_in, LARGEST), Ok(Some(named)));
    }

    #[test]
    fn what_is_no_item_is_refused_with_a_reason() {
        for (bytes, reason) in [
            (&b"nonsense"[..], "an object is expected"),
            (b"[{\"wfid\":\"w\",\"expid\":\"0\"},{}]", "an object is expected"),
            (b"{\"fei\":[\"w\",\"0\"],\"fields\":{}}", "an object is expected"),
            (b"{\"fields\":{},\"x\":\"\xff\"}", "utf-8"),
            (b"{\"fei\":{\"wfid\":\"w\",\"expid\":\"0\"}}", "missing field `fields`"),
            (b"{\"fei\":{\"expid\":\"0\"},\"fields\":{}}", "missing field `wfid`"),
            (b"{\"fei\":{\"wfid\":7,\"expid\":\"0\"},\"fields\":{}}", "invalid type"),
            (b"\xff{}", "utf-8"),
        ] {
            let said = identity(bytes, LARGEST).unwrap_err().to_string();
            assert!(said.contains(reason), "{said}");
        }
        assert_eq!(
            identity(b"{\"fields\":{}}", 5).unwrap_err().to_string(),
            "the item has 13 bytes; 5 are allowed"
        );
        assert_eq!(identity(b"{\"fields\":{}}", 13), Ok(None));
    }

    #[test]
    fn without_its_error_every_number_of_an_item_stays_as_it_was() {
        let with = ITEM.replacen('{', "{\"error\": {\"message\":\"old\"},", 1);
        let text = String::from_utf8(without_error(with.as_bytes()).unwrap()).unwrap();
        assert!(text.contains("12345678901234567890123") && text.contains("\"x\":1.0"), "{text}");
        assert!(!text.contains("error"), "{text}");
        assert_eq!((without_error(ITEM.as_bytes()), without_error(b"[]")), (None, None));
    }

    #[test]
    fn an_error_without_a_class_gets_one_and_any_other_stays() {
        let with = |error: &str| {
            let item = ITEM.replacen('{', &format!("{{\"error\":{error},"), 1);
            with_class(item.as_bytes(), "C").map(|text| String::from_utf8(text).unwrap())
        };
        for error in [r#"{"message":"no","n":1.0}"#, r#"{"class":null,"message":"no","n":1.0}"#] {
            let text = with(error).unwrap();
            assert!(text.contains(r#""error":{"class":"C","message":"no","n":1.0}"#), "{text}");
            assert!(text.contains("12345678901234567890123"), "{text}");
        }
        for error in [r#"{"class":"D"}"#, r#""text""#, "[]", "0", "null"] {
            assert_eq!(with(error), None, "{error}");
        }
    }

    #[test]
    fn an_error_is_added_and_every_number_stays_as_it_was() {
        let trace = ["f.py:1: in `g'".to_owned()];
        let error = ErrorReply { class: "RuntimeError", message: "it broke", trace: &trace };
        let whole = with_error(ITEM.as_bytes(), error, LARGEST).unwrap();
        let text = String::from_utf8(whole).unwrap();
        assert!(text.contains("12345678901234567890123") && text.contains("\"x\":1.0"), "{text}");
        assert!(text.contains(r#""error":{"class":"RuntimeError","message":"it broke""#), "{text}");
        assert!(text.ends_with(r#""trace":["f.py:1: in `g'"]}}"#), "{text}");
        let twice = with_error(text.as_bytes(), error, LARGEST).unwrap();
        assert_eq!(String::from_utf8(twice).unwrap(), text);
        assert_eq!(with_error(b"[]", error, LARGEST), None);
    }

    #[test]
    fn an_error_in_an_item_is_whatever_ruby_takes_for_one() {
        let of = |value: &str| {
            let item = format!("{{\"fields\":{{\"error\":1}},\"error\":{value}}}");
            error(item.as_bytes()).map(|error| error.get().to_owned())
        };
        for is_one in ["\"\"", "{}", "[]", "0", "true", "\"x\"", "{\"message\":\"x\"}"] {
            assert_eq!(of(is_one).as_deref(), Some(is_one));
        }
        assert_eq!((of("null"), of("false")), (None, None));
        assert_eq!(of("\"a\",\"\\u0065rror\":0").as_deref(), Some("0"));
        for none in [ITEM, "{\"fields\":{\"error\":1}}", "[\"error\"]", "nonsense"] {
            assert!(error(none.as_bytes()).is_none(), "{none}");
        }
    }

    #[test]
    fn an_answer_is_no_longer_than_it_may_be_and_keeps_the_name_to_the_last() {
        let item = format!(
            r#"{{"fei":{{"wfid":"w","expid":"0"}},"fields":{{"x":"{}"}}}}"#,
            "x".repeat(1000)
        );
        let trace = ["t".repeat(500)];
        let error = ErrorReply { class: "C", message: "it broke", trace: &trace };
        let answer = |limit| {
            let answer = with_error(item.as_bytes(), error, limit).unwrap();
            assert!(answer.len() <= limit, "{} of {limit}", answer.len());
            String::from_utf8(answer).unwrap()
        };
        assert!(answer(2000).contains("ttt"));
        let untraced = answer(1200);
        assert!(untraced.contains("xxx") && !untraced.contains("ttt"), "{untraced}");
        let bare = answer(1024);
        assert!(bare.contains(r#""fei":{"wfid":"w""#) && bare.contains(r#""fields":{}"#), "{bare}");
        assert!(bare.contains("it broke; the fields are left out"), "{bare}");
    }

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("a long text", 10), "a lo [...]");
        assert_eq!(cut("äöüäöü", 9), "ä [...]");
    }

    #[test]
    fn a_flipped_bit_changes_the_sum() {
        let whole = checksum(ITEM.as_bytes());
        for at in 0..ITEM.len() * 8 {
            let mut bytes = ITEM.as_bytes().to_vec();
            bytes[at / 8] ^= 1 << (at % 8);
            assert_ne!(checksum(&bytes), whole);
        }
    }
}
