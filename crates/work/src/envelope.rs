//! What a submitter may say of an item besides the item itself: how it is treated, who is answered.
//!
//! Source: participant-protocol(7), which says the same for submitters.

use crate::change::NewJob;
use crate::item::Invalid;
use crate::{name, units};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Bytes that an envelope may have besides its item.
pub(crate) const AROUND: usize = 4096;
/// The one way to write it that there is.
const VERSION: u32 = 1;
/// Most bytes of a lock's name.
const KEY: usize = 256;

/// What tells an envelope from an item.
#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow, default)]
    skynet: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Envelope<'a> {
    skynet: u32,
    #[serde(borrow)]
    item: &'a RawValue,
    #[serde(borrow, default)]
    reply_to: Option<Cow<'a, str>>,
    #[serde(default)]
    priority: i32,
    #[serde(borrow, default)]
    delay: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    label: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
}

/// Takes an item out of its envelope; the rest of the job is what the envelope says, or nothing
/// where there is none.
pub(crate) fn open(mut bytes: Vec<u8>) -> Result<NewJob, Invalid> {
    let is_envelope = serde_json::from_slice::<Mark<'_>>(&bytes)
        .is_ok_and(|mark| mark.skynet.is_some() && mark.item.is_some())
        && bytes.trim_ascii_start().first() == Some(&b'{');
    if !is_envelope {
        return Ok(NewJob { item: bytes, ..NewJob::default() });
    }
    let wrong = |why: String| Invalid::NotAnItem(format!("in its envelope: {why}"));
    let envelope: Envelope<'_> =
        serde_json::from_slice(&bytes).map_err(|why| wrong(why.to_string()))?;
    if envelope.skynet != VERSION {
        let why = format!("skynet is {}; {VERSION} is known here", envelope.skynet);
        return Err(wrong(why));
    }
    if bytes.len() - envelope.item.get().len() > AROUND {
        return Err(wrong(format!("more than {AROUND} bytes besides the item")));
    }
    let text = |name: &str, text: &Option<Cow<'_, str>>, most: usize| match text {
        Some(text) if text.is_empty() || text.len() > most => {
            Err(wrong(format!("{name} has not between 1 and {most} bytes")))
        }
        Some(text) if text.chars().any(char::is_control) => {
            Err(wrong(format!("{name} holds a control character")))
        }
        text => Ok(text.as_ref().map(ToString::to_string)),
    };
    let label = envelope.label.as_deref();
    if let Some(flaw) = label.and_then(name::label_flaw) {
        return Err(wrong(format!("label {flaw}")));
    }
    let delay = envelope.delay.as_deref().map(units::duration).transpose();
    let item = envelope.item.get();
    let begin = item.as_ptr().addr() - bytes.as_ptr().addr();
    let place = begin..begin + item.len();
    let job = NewJob {
        label: label.map(str::to_owned).unwrap_or_default(),
        key: text("key", &envelope.key, KEY)?,
        delay: delay.map_err(|why| wrong(format!("delay: {why}")))?.unwrap_or_default(),
        priority: envelope.priority,
        // Whoever records it looks at the name.
        reply_to: envelope.reply_to.map(Cow::into_owned),
        ..NewJob::default()
    };
    // In its own memory: it may be large, and others are, too.
    bytes.truncate(place.end);
    bytes.drain(..place.start);
    Ok(NewJob { item: bytes, ..job })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn opened(text: &str) -> Result<NewJob, String> {
        open(text.as_bytes().to_vec()).map_err(|why| why.to_string())
    }

    #[test]
    fn an_item_is_taken_out_without_a_copy_of_it() {
        let text = format!(r#"{{"skynet":1,"item":{{"fields":"{}"}}}}"#, "x".repeat(1 << 20));
        let bytes = text.into_bytes();
        let at = bytes.as_ptr();
        assert_eq!(open(bytes).unwrap().item.as_ptr(), at);
    }

    #[test]
    fn an_item_comes_out_as_it_was_put_in_with_what_is_said_of_it() {
        let job = opened(
            r#"{"skynet":1,"item":{"fields":{"n":1.0}},"reply-to":"r","priority":-5,
                "delay":"10s","label":"l","key":"k"}"#,
        );
        let expected = NewJob {
            item: br#"{"fields":{"n":1.0}}"#.to_vec(),
            reply_to: Some("r".to_owned()),
            priority: -5,
            delay: Duration::from_secs(10),
            label: "l".to_owned(),
            key: Some("k".to_owned()),
            ..NewJob::default()
        };
        assert_eq!(job, Ok(expected));
    }

    #[test]
    fn what_is_no_envelope_stays_what_it_is() {
        for text in [
            r#"{"fields":{}}"#,
            r#"{"fields":{},"skynet":1}"#,
            r#"{"fields":{},"item":{}}"#,
            r#"{"skynet":1,"skynet":1,"item":{}}"#,
            r#"[1,{"fields":{}}]"#,
            "nonsense",
            "",
        ] {
            let bytes = text.as_bytes().to_vec();
            let same = NewJob { item: bytes, ..NewJob::default() };
            assert_eq!(opened(text), Ok(same), "{text}");
        }
    }

    #[test]
    fn what_an_envelope_may_not_say_is_told() {
        let long = format!(r#""label":"{}""#, "x".repeat(65));
        let longer = format!(r#""reply-to":"{}""#, "x".repeat(AROUND));
        for (more, reason) in [
            (r#""prio":1"#, "unknown field `prio`"),
            (r#""priority":"high""#, "invalid type"),
            (r#""priority":3000000000"#, "invalid value"),
            (r#""delay":"10""#, "delay: 10 has no unit"),
            (r#""label":"""#, "label has not between 1 and 64 bytes"),
            (&long, "label has not between 1 and 64 bytes"),
            (r#""key":"a\nb""#, "key holds a control character"),
            (r#""key":"a","key":"b""#, "duplicate field `key`"),
            (&longer, "more than 4096 bytes besides the item"),
        ] {
            let said = opened(&format!(r#"{{"skynet":1,"item":{{"fields":{{}}}},{more}}}"#));
            let said = said.unwrap_err();
            assert!(said.starts_with("not a work item: in its envelope: "), "{said}");
            assert!(said.contains(reason), "{said}");
        }
        for version in ["2", "\"1\"", "true"] {
            let text = format!(r#"{{"skynet":{version},"item":{{"fields":{{}}}}}}"#);
            assert!(opened(&text).is_err(), "{version}");
        }
    }
}
