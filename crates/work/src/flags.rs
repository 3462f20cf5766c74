//! What a work item asks of whoever hosts the participant.

use crate::wire;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What an item asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `debug_trace`: one line about it when it comes.
    pub trace: bool,
    /// `debug_dump`: all of it in the log.
    pub dump: bool,
    /// `forget`: nobody is to be answered.
    pub forget: bool,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    fields: Fields<'a>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    debug_trace: Option<&'a RawValue>,
    #[serde(borrow, default)]
    debug_dump: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    debug_dump: Option<&'a RawValue>,
    #[serde(borrow, default)]
    forget: Option<&'a RawValue>,
}

/// Returns the flags of an item; none where it is none.
///
/// Source: wire format of the engine, section 3.
#[must_use]
pub fn flags(item: &[u8]) -> Flags {
    let Ok(Outer { fields }) = serde_json::from_slice(item) else { return Flags::default() };
    // Of another form than usual it takes no other flag with it.
    let params = fields.params.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let params: Params<'_> = params.unwrap_or_default();
    Flags {
        trace: is_set(fields.debug_trace),
        dump: is_set(fields.debug_dump) || is_set(params.debug_dump),
        forget: is_set(params.forget),
    }
}

fn is_set(value: Option<&RawValue>) -> bool {
    value.is_some_and(wire::is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_set_by_anything_that_is_not_empty() {
        let item = |fields: &str| format!("{{\"fields\":{{{fields}}}}}");
        let of = |fields: &str| flags(item(fields).as_bytes());
        assert_eq!(of(""), Flags::default());
        assert!(of("\"debug_trace\":\"True\"").trace);
        assert!(of("\"params\":{\"debug_dump\":true}").dump && of("\"debug_dump\":1").dump);
        assert!(of("\"params\":{\"forget\":\"no\"}").forget);
        for empty in ["null", "false", "0", "\"\"", "{}", "[]"] {
            assert!(!of(&format!("\"debug_trace\":{empty}")).trace, "{empty}");
        }
        for odd in [&b"nonsense"[..], b"[]", b"{\"fields\":{\"params\":7}}", b"\xff"] {
            assert_eq!(flags(odd), Flags::default());
        }
    }
}
