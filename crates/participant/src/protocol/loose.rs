//! What is read of a line although it is not as it should be: what is only shown, and whose end it was
//! to tell.

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

/// Bytes of a trace that are kept, the last ones, or one line where that is longer; and what a line
/// counts for besides its own.
const TRACE: usize = 256 << 10;
const AROUND_LINE: usize = 16;

/// A text for people, that stays where it is, if it can. What is no character is shown as U+FFFD, as
/// half a surrogate pair is, by which languages spell the bytes of file names.
struct Shown<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Shown<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Shown<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E: Error>(self, text: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Shown(
                    std::str::from_utf8(text).map_or_else(|_| readable(text).into(), Into::into),
                ))
            }

            fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
                Ok(Shown(readable(text).into()))
            }
        }
        // As a text, half a pair would be refused.
        from.deserialize_bytes(Bytes)
    }
}

fn readable(text: &[u8]) -> String {
    let mut text = text.to_vec();
    // Half a pair comes as three bytes, and each of them would be shown.
    for at in 0..text.len().saturating_sub(2) {
        if let Some(three @ [0xed, 0xa0..=0xbf, _]) = text.get_mut(at..at + 3) {
            three.copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8(text)
        .unwrap_or_else(|why| String::from_utf8_lossy(why.as_bytes()).into_owned())
}

/// Returns a share, which is only shown, from 0 to 1, as both kits say it.
pub(super) fn share(done: f64) -> f64 {
    // Without the sign of -0.0.
    if done > 0.0 { done.min(1.0) } else { 0.0 }
}

/// Reads a text that is only shown.
pub(super) fn shown<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<Shown<'de>>::deserialize(from)?.map(|Shown(text)| text))
}

/// Reads a trace, and keeps the last lines of one that is too long for anybody to read: what stands
/// in a line of the protocol must not become many times as much.
pub(super) fn last_lines<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Cow<'de, str>>, D::Error> {
    struct Last;
    impl<'de> Visitor<'de> for Last {
        type Value = Vec<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
            let cost = |line: &Cow<'_, str>| line.len() + AROUND_LINE;
            let (mut kept, mut bytes) = (VecDeque::new(), 0);
            while let Some(Shown(line)) = all.next_element()? {
                bytes += cost(&line);
                kept.push_back(line);
                while bytes > TRACE && kept.len() > 1 {
                    bytes -= kept.pop_front().as_ref().map_or(0, cost);
                }
            }
            Ok(kept.into())
        }
    }
    from.deserialize_seq(Last)
}

/// Returns whose work a line was to end, where nothing else can be made of it.
#[must_use]
pub fn ended_by(line: &[u8]) -> Option<u64> {
    struct Ends;
    impl<'de> Visitor<'de> for Ends {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
            let (mut ends, mut id) = (false, None);
            while let Some(Shown(key)) = all.next_key()? {
                match &*key {
                    "type" => {
                        let kind = all.next_value::<&RawValue>()?.get();
                        ends = matches!(kind, "\"result\"" | "\"fault\"" | "\"cancelled\"");
                    }
                    "id" => id = all.next_value::<&RawValue>()?.get().parse().ok(),
                    _ => drop(all.next_value::<IgnoredAny>()?),
                }
            }
            Ok(id.filter(|_| ends))
        }
    }
    serde_json::Deserializer::from_slice(line).deserialize_map(Ends).ok()?
}

#[cfg(test)]
mod tests {
    use super::super::FromParticipant;
    use super::*;

    #[test]
    fn of_a_trace_without_end_the_last_lines_are_kept() {
        let all: Vec<String> = (0..200_000).map(|n| format!("\"{n}\"")).collect();
        let line = format!(r#"{{"type":"fault","id":1,"code":1,"trace":[{}]}}"#, all.join(","));
        let Ok(FromParticipant::Fault { trace, .. }) = FromParticipant::read(line.as_bytes())
        else {
            panic!("a fault")
        };
        assert!(trace.len() > 1000 && trace.len() * AROUND_LINE < TRACE, "{}", trace.len());
        assert_eq!(trace.last().map(|line| &**line), Some("199999"));
        let long = "x".repeat(2 * TRACE);
        let line = format!(r#"{{"type":"fault","id":1,"code":1,"trace":["a","{long}"]}}"#);
        let read = FromParticipant::read(line.as_bytes());
        let Ok(FromParticipant::Fault { trace, .. }) = read else { panic!("a fault") };
        assert_eq!(trace, [&*long]);
    }

    #[test]
    fn half_a_surrogate_pair_in_what_is_only_shown_is_one_mark() {
        let line = r#"{"type":"fault","id":1,"code":1,"text":"a\ud800b\ud83d\ude00\udcff\u00e9","trace":["\udcffx","\"y"]}"#;
        let read = FromParticipant::read(line.as_bytes());
        let Ok(FromParticipant::Fault { text, trace, .. }) = read else { panic!("a fault") };
        assert_eq!(text, "a\u{fffd}b\u{1f600}\u{fffd}\u{e9}");
        assert_eq!(trace, ["\u{fffd}x", "\"y"]);
        let line = b"{\"type\":\"progress\",\"id\":1,\"text\":\"caf\xe9\"}";
        let Ok(FromParticipant::Progress { text: Some(text), .. }) = FromParticipant::read(line)
        else {
            panic!("progress")
        };
        assert_eq!(text, "caf\u{fffd}");
    }

    #[test]
    fn whose_work_a_line_was_to_end_is_known_whatever_else_is_wrong_with_it() {
        for (line, id) in [
            (r#"{"type":"fault","id":7,"code":"10"}"#, Some(7)),
            (r#"{"id":7,"id":7,"x":{"id":8},"type":"result"}"#, Some(7)),
            (r#"{"type":"cancelled","\ud800":"\ud800","id":7}"#, Some(7)),
            (r#"{"type":"result","id":7"#, None),
            (r#"{"type":"result","id":-7}"#, None),
            (r#"{"type":"progress","id":7,"done":"x"}"#, None),
            (r#"["result",7]"#, None),
        ] {
            assert_eq!(ended_by(line.as_bytes()), id, "{line}");
        }
    }
}
