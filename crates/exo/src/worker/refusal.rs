//! An answer that is an error itself, as an engine takes it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use work::item;

/// The error in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// It came with the item: its sender's, and no failure of this attempt.
    Old,
    /// The item had another, or none.
    New(Refusal),
}

/// What an error in an answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For people.
    pub(super) text: String,
    /// Where, outermost call first.
    pub(super) trace: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Words<'a> {
    #[serde(borrow, default)]
    class: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    trace: Option<&'a RawValue>,
}

/// Looks for the error in an answer. `asked`: the item; `usual`: the class that says no more than that
/// something failed.
pub(super) fn of_answer(answer: &[u8], asked: &[u8], usual: &str) -> Found {
    let Some(error) = item::error(answer) else { return Found::Nothing };
    if item::error(asked).is_some_and(|before| is_same(before, error)) {
        return Found::Old;
    }
    Found::New(of_error(error, usual))
}

fn of_error(error: &RawValue, usual: &str) -> Refusal {
    let text = serde_json::from_str::<Cow<'_, str>>(error.get()).ok();
    let words = match text {
        Some(text) => Words { message: Some(text), ..Words::default() },
        None if error.get().starts_with('{') => {
            serde_json::from_str(error.get()).unwrap_or_default()
        }
        None => Words::default(),
    };
    let message = words.message.filter(|text| !text.is_empty());
    let class = words.class.filter(|class| !class.is_empty() && class != usual);
    let text = match (class, message) {
        // What an author raises begins with its class, as a rule.
        (Some(class), Some(text)) if !text.starts_with(&*class) => format!("{class}: {text}"),
        (_, Some(text)) => text.into_owned(),
        (Some(class), None) => class.into_owned(),
        (None, None) => format!("the answer has an error without a text: {}", error.get()),
    };
    let trace = words.trace.and_then(|trace| serde_json::from_str(trace.get()).ok());
    Refusal { text, trace: trace.unwrap_or_default() }
}

/// Tells whether two texts of JSON mean the same: whoever reads and writes it changes the spaces.
fn is_same(one: &RawValue, other: &RawValue) -> bool {
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
    one.get() == other.get() || value(one).is_some_and(|one| value(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answered: &str, asked: &str) -> Option<(String, Vec<String>)> {
        let item = |error: &str| format!("{{\"fields\":{{}}{error}}}");
        match of_answer(item(answered).as_bytes(), item(asked).as_bytes(), "Usual") {
            Found::New(Refusal { text, trace }) => Some((text, trace)),
            Found::Nothing | Found::Old => None,
        }
    }

    #[test]
    fn its_words_are_class_message_and_trace_as_far_as_there_are_any() {
        let said = |error: &str| of(&format!(",\"error\":{error}"), "").map(|(text, _)| text);
        for (error, text) in [
            (r#""no""#, "no"),
            (r#"{"class":"Usual","message":"no"}"#, "no"),
            (r#"{"class":"Gone","message":"no"}"#, "Gone: no"),
            (r#"{"class":"Gone","message":"Gone: no"}"#, "Gone: no"),
            (r#"{"class":"Gone"}"#, "Gone"),
            (r#""""#, r#"the answer has an error without a text: """#),
            ("{}", "the answer has an error without a text: {}"),
            ("[]", "the answer has an error without a text: []"),
            ("0", "the answer has an error without a text: 0"),
            (r#"{"message":7}"#, r#"the answer has an error without a text: {"message":7}"#),
            (r#"["a","b"]"#, r#"the answer has an error without a text: ["a","b"]"#),
        ] {
            assert_eq!(said(error).as_deref(), Some(text), "{error}");
        }
        let (_, trace) = of(r#","error":{"message":"no","trace":["a:1","b:2"]}"#, "").unwrap();
        assert_eq!(trace, ["a:1", "b:2"]);
        assert_eq!(of(r#","error":{"message":"no","trace":7}"#, "").unwrap().1, [""; 0]);
    }

    #[test]
    fn one_that_came_with_the_item_is_the_sender_s() {
        let came = r#","error":{"message":"old","trace":[]}"#;
        assert_eq!(of(came, came), None);
        assert_eq!(of(r#","error":{ "trace" : [], "message":"old" }"#, came), None);
        assert_eq!(of("", came), None);
        assert_eq!(of(r#","error":null"#, came), None);
        assert_eq!(of(r#","error":"new""#, came).unwrap().0, "new");
    }
}
