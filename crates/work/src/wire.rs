//! What engines and participants write to each other over RabbitMQ, as pure functions.
//!
//! | message | made by | read by |
//! |---|---|---|
//! | work item, and its answer | whoever has it: it goes through byte for byte | [`read`] |
//! | answer with an error | [`crate::item::with_error`] | the engine |
//! | cancel | [`cancel`] | [`read`] |
//! | launch, register, unregister | [`launch`], [`register`], [`unregister`] | the engine |
//!
//! Numbers keep the characters that they were written with: nothing here reads a number that it
//! only passes on.

use crate::item::{self, Identity, Invalid};
use machine::work::Fault;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Where engines read what participants and clients send.
pub const ENGINE_QUEUE: &str = "ruote_workitems";

/// Fanout exchange by which a cancel reaches the exo that has the item in hand, however long the
/// participant's queue is. Its messages are those of [`cancel`].
pub const CONTROL_EXCHANGE: &str = "skynet-control";

/// Key of a cancel that was found in a queue and sent on by [`CONTROL_EXCHANGE`]: what is handed out
/// anew may have stood right behind it.
pub const FORWARDED: &str = "forwarded";

/// Header of an answer with the number of the attempt that it is of, from 1.
pub const ATTEMPT: &str = "skynet-attempt";

/// Header of an item that was requeued by hand: when, in microseconds since 1970.
pub const REQUEUED: &str = "skynet-requeued";

/// Tells whether a flag of an item is set, as `forget`: by any value that is not empty, and often by a
/// text. So the text "false" sets it, and the number 0 does not.
///
/// Source: wire format of the engine, section 3; what participants written for `SkyNET` tested with
/// `if`.
#[must_use]
pub fn is_set(value: &RawValue) -> bool {
    let text = value.get();
    match text.bytes().next() {
        Some(b't') => true,
        Some(b'"') => text != "\"\"",
        Some(b'{' | b'[') => {
            text.get(1..text.len() - 1).is_some_and(|within| !within.trim_ascii().is_empty())
        }
        Some(b'-' | b'0'..=b'9') => {
            let digits = text.split(['e', 'E']).next().unwrap_or_default();
            digits.contains(|c: char| ('1'..='9').contains(&c))
        }
        _ => false,
    }
}

/// What came in a participant's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A work item.
    Item(Identity),
    /// An item is not wanted any more.
    Cancel(Cancel),
}

/// Which item is not wanted any more, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Process that it belongs to.
    pub wfid: String,
    /// `EXPID!SUBID!` of the item, or `EXPID!` where the cancel has no subid; `None` = all of the
    /// process.
    pub item: Option<String>,
    /// `dispatched_at` of the item, where the cancel says so: the same place may be sent out again.
    pub sent: Option<String>,
    /// The code that means why.
    pub why: Fault,
}

impl Cancel {
    /// Tells whether an item is meant.
    #[must_use]
    pub fn is_for(&self, wfid: &str, rest: &str) -> bool {
        self.wfid == wfid
            && self.item.as_deref().is_none_or(|item| rest.starts_with(item))
            && self.sent.as_deref().is_none_or(|sent| item::dispatched(rest) == sent)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    cancel: Option<bool>,
    #[serde(borrow, default)]
    fei: Option<&'a RawValue>,
    #[serde(borrow, default)]
    flavour: Option<&'a RawValue>,
    #[serde(borrow, default)]
    dispatched_at: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Fei<'a> {
    #[serde(borrow)]
    wfid: Cow<'a, str>,
    #[serde(borrow, default)]
    expid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    subid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sub_wfid: Option<Cow<'a, str>>,
}

/// Reads a message of a participant's queue, of `limit` bytes at most.
///
/// # Errors
/// [`Invalid`]: it is neither a work item with a `fei` nor a cancel.
pub fn read(body: &[u8], limit: usize) -> Result<Incoming, Invalid> {
    if body.len() > limit {
        return Err(Invalid::TooLong { bytes: body.len(), limit });
    }
    // Where it is no object at all, the item's reader says why.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let head = serde_json::from_slice::<Head<'_>>(body).ok().filter(|_| is_object);
    if let Some(Head { cancel: Some(true), fei, flavour, dispatched_at }) = head {
        let sent = text("dispatched_at", dispatched_at)?.filter(|at| !at.is_empty());
        let cancel = cancelled(fei, text("flavour", flavour)?.as_deref())?;
        return Ok(Incoming::Cancel(Cancel { sent, ..cancel }));
    }
    match item::identity(body, limit)? {
        Some(identity) => Ok(Incoming::Item(identity)),
        None => Err(Invalid::NotAnItem("missing field `fei`".to_owned())),
    }
}

/// Reads what a cancel says besides. What cannot be read is not passed over: it may be more of a hurry, or
/// another item.
fn text(key: &str, value: Option<&RawValue>) -> Result<Option<String>, Invalid> {
    let read = value.map(|raw| serde_json::from_str(raw.get())).transpose();
    read.map_err(|_| no_cancel(&format!("its {key} is no text")))
}

fn no_cancel(why: &str) -> Invalid {
    Invalid::NotAnItem(format!("a cancel: {why}"))
}

fn cancelled(fei: Option<&RawValue>, flavour: Option<&str>) -> Result<Cancel, Invalid> {
    let wrong = no_cancel;
    let fei = fei.ok_or_else(|| wrong("missing field `fei`"))?;
    let is_object = fei.get().starts_with('{');
    let fei: Fei<'_> = serde_json::from_str(fei.get())
        .ok()
        .filter(|_| is_object)
        .ok_or_else(|| wrong("its fei names no process"))?;
    let below = fei.subid.filter(|id| !id.is_empty()).or(fei.sub_wfid).unwrap_or_default();
    Ok(Cancel {
        item: fei.expid.map(|expid| match &*below {
            "" => format!("{expid}!"),
            below => format!("{expid}!{below}!"),
        }),
        wfid: fei.wfid.into_owned(),
        sent: None,
        why: match flavour {
            Some("kill") => Fault::KILLED,
            Some("timeout") => Fault::GIVEN_UP,
            _ => Fault::CANCELLED,
        },
    })
}

/// Returns the message that says that an item is not wanted any more. `fei`: as the item has it, or
/// `{"wfid": ...}` for all of a process. `flavour`: `kill`, `timeout`, or none for a plain cancel.
/// `dispatched_at`: as the item has it, so that no later one at that place is meant.
#[must_use]
pub fn cancel(fei: &RawValue, flavour: Option<&str>, dispatched_at: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        cancel: bool,
        fei: &'a RawValue,
        flavour: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dispatched_at: Option<&'a str>,
    }
    bytes(&Message { cancel: true, fei, flavour, dispatched_at })
}

/// Returns the message that has the engine start a process. `definition`: text or tree as JSON;
/// `fields` and `variables`: objects; `wfid`: what our own engine is to call it, other engines choose a
/// name.
#[must_use]
pub fn launch(
    definition: &RawValue,
    fields: Option<&RawValue>,
    variables: Option<&RawValue>,
    wfid: Option<&str>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        definition: &'a RawValue,
        fields: Option<&'a RawValue>,
        variables: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        wfid: Option<&'a str>,
    }
    bytes(&Message { definition, fields, variables, wfid })
}

/// Returns the message that has the engine send the steps whose name matches `pattern` to a queue.
#[must_use]
pub fn register(pattern: &str, queue: &str) -> Vec<u8> {
    registration("register", "boss_register", pattern, queue)
}

/// Returns the message that takes such a registration back.
#[must_use]
pub fn unregister(pattern: &str, queue: &str) -> Vec<u8> {
    registration("unregister", "boss_register :action => \"unregister\"", pattern, queue)
}

fn registration(name: &str, step: &str, pattern: &str, queue: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        definition: String,
        fields: Fields<'a>,
        variables: Option<()>,
    }
    #[derive(Serialize)]
    struct Fields<'a> {
        name: &'a str,
        queue: &'a str,
    }
    let definition = format!(
        "Ruote.process_definition :name => '{name}' do\n  sequence do\n    {step}\n  end\nend"
    );
    bytes(&Message { definition, fields: Fields { name: pattern, queue }, variables: None })
}

fn bytes(message: &impl Serialize) -> Vec<u8> {
    // It has nothing but texts, truths, and JSON that was read.
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::LARGEST;

    const FEI: &str =
        r#"{"engine_id":"e","wfid":"20261122-0807-bakugi","subid":"7f3c","expid":"0_1_0"}"#;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_cancel_is_read_as_it_was_written_and_is_for_its_item_alone() {
        for (flavour, why) in [
            (None, Fault::CANCELLED),
            (Some("kill"), Fault::KILLED),
            (Some("timeout"), Fault::GIVEN_UP),
        ] {
            let Ok(Incoming::Cancel(read)) = read(&cancel(&raw(FEI), flavour, None), LARGEST)
            else {
                panic!("{flavour:?}")
            };
            assert_eq!(read.why, why);
            assert!(read.is_for("20261122-0807-bakugi", "0_1_0!7f3c!2026-11-22 08:07:11 UTC"));
            assert!(!read.is_for("20261122-0807-bakugi", "0_1_0!7f3d!"));
            assert!(!read.is_for("20261122-0807-bakugi", "0_1_01!7f3c!"));
            assert!(!read.is_for("another", "0_1_0!7f3c!"));
        }
        let all = read(br#"{"cancel":true,"fei":{"wfid":"w"}}"#, LARGEST).unwrap();
        let Incoming::Cancel(all) = all else { panic!("{all:?}") };
        assert!(all.is_for("w", "0!!") && all.is_for("w", "1!x!y") && !all.is_for("v", "0!!"));
    }

    #[test]
    fn a_cancel_without_a_subid_is_for_the_item_at_its_place_with_any() {
        for fei in [r#"{"wfid":"w","expid":"0_1"}"#, r#"{"wfid":"w","expid":"0_1","subid":""}"#] {
            let Ok(Incoming::Cancel(read)) = read(&cancel(&raw(fei), None, None), LARGEST) else {
                panic!("{fei}")
            };
            assert!(read.is_for("w", "0_1!7f3c!2026-11-22 08:07:11 UTC"), "{read:?}");
            assert!(read.is_for("w", "0_1!!") && !read.is_for("w", "0_11!7f3c!"));
        }
    }

    #[test]
    fn a_cancel_that_says_when_its_item_was_sent_out_is_for_no_later_one() {
        let at = "2026-11-22 08:07:11.123456 UTC";
        let Ok(Incoming::Cancel(read)) = read(&cancel(&raw(FEI), None, Some(at)), LARGEST) else {
            panic!()
        };
        let is_for = |at| read.is_for("20261122-0807-bakugi", &format!("0_1_0!7f3c!{at}"));
        assert!(is_for(at) && !is_for("2026-11-22 08:07:11.123457 UTC") && !is_for(""));
    }

    #[test]
    fn an_item_is_an_item_whatever_else_it_says() {
        let item = format!(
            r#"{{"fei":{FEI},"fields":{{"cancel":true}},"cancel":false,"flavour":1,"n":1.0}}"#
        );
        let Ok(Incoming::Item(named)) = read(item.as_bytes(), LARGEST) else { panic!("{item}") };
        assert_eq!(named.rest, "0_1_0!7f3c!");
    }

    #[test]
    fn a_flag_is_set_by_whatever_is_not_empty() {
        for set in
            ["true", "1", "-0.5", "0.10e1", "1e-9", "\"0\"", "\"false\"", "[0]", "{\"a\":null}"]
        {
            assert!(is_set(&raw(set)), "{set}");
        }
        for empty in ["null", "false", "0", "-0.0", "0e9", "\"\"", "[]", "{}", "[ ]", "{\n}"] {
            assert!(!is_set(&raw(empty)), "{empty}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_a_reason() {
        for (body, reason) in [
            ("nonsense", "an object is expected"),
            ("[1]", "an object is expected"),
            (r#"{"fields":{}}"#, "missing field `fei`"),
            (r#"{"cancel":true}"#, "missing field `fei`"),
            (r#"{"cancel":true,"fei":["w"]}"#, "names no process"),
            (r#"{"cancel":true,"fei":{"wfid":1}}"#, "names no process"),
            (r#"{"cancel":true,"fei":{"wfid":"w"},"flavour":1}"#, "its flavour is no text"),
            (
                r#"{"cancel":true,"fei":{"wfid":"w"},"dispatched_at":1.5}"#,
                "its dispatched_at is no text",
            ),
            (r#"{"cancel":"true","fields":{}}"#, "missing field `fei`"),
        ] {
            let said = read(body.as_bytes(), LARGEST).unwrap_err().to_string();
            assert!(said.contains(reason), "{body}: {said}");
        }
        assert!(matches!(read(b"{}", 1), Err(Invalid::TooLong { .. })));
    }

    #[test]
    fn a_launch_keeps_every_number_as_it_was_written() {
        let fields = raw(r#"{"n":1.0,"big":12345678901234567890123}"#);
        let text = String::from_utf8(launch(&raw("\"x\""), Some(&fields), None, None)).unwrap();
        assert_eq!(
            text,
            r#"{"definition":"x","fields":{"n":1.0,"big":12345678901234567890123},"variables":null}"#
        );
    }

    #[test]
    fn a_registration_is_a_process_of_one_step_with_the_pattern_and_the_queue() {
        for (bytes, step) in [
            (register("built_.*", "q"), "boss_register"),
            (unregister("built_.*", "q"), "boss_register :action => \"unregister\""),
        ] {
            let message: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let definition = message["definition"].as_str().unwrap();
            assert!(definition.lines().any(|line| line.trim() == step), "{definition}");
            assert_eq!(message["fields"], serde_json::json!({"name": "built_.*", "queue": "q"}));
        }
    }
}
