//! The words between exo and a persistent participant: one JSON object a line, both ways, on a
//! stream socket that is the participant's descriptor 3.
//!
//! Source: participant-protocol(7), which says the same for authors in other languages.

mod loose;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Version that is spoken here. A side that knows less says so by a lower one.
pub const VERSION: u32 = 1;

/// Descriptor of a participant that the socket is, or in per-item mode the pipe for the answer.
pub const DESCRIPTOR: i32 = 3;

/// Queue of the engine, where an exo of before that was told does not say which.
pub const ENGINE: &str = "ruote_workitems";

/// Longest stage, in bytes.
pub const STAGE: usize = 4096;

pub use loose::ended_by;

/// Why an item is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// Its process was cancelled, or somebody asked.
    Cancel,
    /// The same, in a hurry.
    Kill,
    /// It took longer than it may, or its process waits no longer.
    Timeout,
}

/// What exo says.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToParticipant<'a> {
    /// The first line. To be answered by [`FromParticipant::Hello`].
    Start {
        /// [`VERSION`]
        protocol: u32,
        /// Name of the participant.
        participant: &'a str,
        /// Name of this copy of it: `NAME_0`, `NAME_1`, ...
        instance: &'a str,
        /// Queue on which the engine hears of everything: where what is for it is forwarded to.
        engine: &'a str,
        /// What the configuration has below `config`.
        config: &'a RawValue,
    },
    /// A work item. One at a time.
    Work {
        /// Names it in all that is said of it.
        id: u64,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// How far an earlier attempt came, in the participant's own words.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<&'a str>,
        /// The item.
        item: &'a RawValue,
    },
    /// The item is not wanted any more. To be answered as soon as possible, in whatever way.
    Cancel {
        /// Which.
        id: u64,
        /// Why.
        flavour: Flavour,
    },
    /// Somebody wants to know how far the work is; [`FromParticipant::Progress`] answers.
    Status {
        /// Of which item.
        id: u64,
    },
    /// No more items come: finish what is in hand and end.
    Shutdown,
    /// The participant is killed after this time.
    AboutToDie {
        /// From now.
        seconds: f64,
    },
    /// What became of [`FromParticipant::Forward`].
    Sent {
        /// As it was sent with.
        ticket: u64,
        /// The job that it is: none where it was refused, and none where RabbitMQ has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        job: Option<i64>,
        /// Why it was not taken.
        #[serde(skip_serializing_if = "Option::is_none")]
        refused: Option<&'a str>,
    },
}

impl ToParticipant<'_> {
    /// Appends it as a line.
    pub fn write(&self, out: &mut Vec<u8>) {
        append(self, out);
    }
}

/// Appends a message as a line.
fn append(message: &impl Serialize, out: &mut Vec<u8>) {
    let from = out.len();
    // Nothing in it can fail to be JSON.
    if serde_json::to_writer(&mut *out, message).is_ok() {
        // A line break in an item stands between its words: inside them it would be escaped.
        for byte in &mut out[from..] {
            if *byte == b'\n' || *byte == b'\r' {
                *byte = b' ';
            }
        }
        out.push(b'\n');
    } else {
        out.truncate(from);
    }
}

/// Returns the beginning of the line of a [`ToParticipant::Work`], up to its item: so that a large
/// item need not be copied. [`WORK_TAIL`] ends it. The item must hold no line break.
#[must_use]
pub fn work_head(id: u64, attempt: u32, stage: Option<&str>) -> Vec<u8> {
    let mut line = Vec::new();
    ToParticipant::Work { id, attempt, stage, item: RawValue::NULL }.write(&mut line);
    line.truncate(line.len().saturating_sub("null".len() + WORK_TAIL.len()));
    line
}

/// What stands behind the item.
pub const WORK_TAIL: &[u8] = b"}\n";

/// What a participant says.
#[derive(Clone, Debug)]
pub enum FromParticipant<'a> {
    /// It is there and ready for items.
    Hello {
        /// Version that it speaks.
        protocol: u32,
    },
    /// The work on an item is done.
    Result {
        /// Which.
        id: u64,
        /// The item as it goes back; `None` = as it came.
        item: Option<&'a RawValue>,
        /// Nobody is to be answered.
        forget: bool,
    },
    /// The work on an item failed.
    Fault {
        /// Which.
        id: u64,
        /// 1 to 9 to be tried again, 10 to 899 final.
        code: u16,
        /// What is wrong, for people.
        text: Cow<'a, str>,
        /// Where, outermost call first.
        trace: Vec<Cow<'a, str>>,
        /// The item as it is by now.
        item: Option<&'a RawValue>,
    },
    /// The work on an item ended because it was not wanted any more.
    Cancelled {
        /// Which.
        id: u64,
    },
    /// How far the work on an item is.
    Progress {
        /// Which.
        id: u64,
        /// From 0 to 1.
        done: Option<f64>,
        /// For people.
        text: Option<Cow<'a, str>>,
    },
    /// A further item for a queue. [`ToParticipant::Sent`] answers.
    Forward {
        /// To be answered with.
        ticket: u64,
        /// Where it goes.
        queue: Cow<'a, str>,
        /// The item.
        item: &'a RawValue,
    },
    /// How far the work has come, for the next attempt should this one be lost.
    Stage {
        /// Of which item.
        id: u64,
        /// In the participant's own words; `None` forgets.
        stage: Option<Cow<'a, str>>,
    },
}

/// A line as it comes: all keys that there are, each where its type asks for it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    participant: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    instance: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    engine: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    config: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flavour: Option<Flavour>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    refused: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forget: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<f64>,
    #[serde(
        borrow,
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "loose::shown"
    )]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    queue: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    stage: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "loose::last_lines"
    )]
    trace: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    item: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Result<Self, Nonsense> {
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(Nonsense("an object is expected".to_owned()));
        }
        serde_json::from_slice(line).map_err(|error| Nonsense(error.to_string()))
    }
}

/// Why a line means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonsense(String);

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Nonsense {}

fn need<T>(value: Option<T>, key: &str, kind: &str) -> Result<T, Nonsense> {
    value.ok_or_else(|| Nonsense(format!("{kind} without {key}")))
}

impl<'a> FromParticipant<'a> {
    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// [`Nonsense`]: it is no object, or lacks a key, or its type is unknown.
    pub fn read(line: &'a [u8]) -> Result<Self, Nonsense> {
        let line = Line::read(line)?;
        let kind = &*line.kind;
        let id = need(line.id, "id", kind);
        Ok(match kind {
            "hello" => Self::Hello { protocol: need(line.protocol, "protocol", kind)? },
            "result" => Self::Result { id: id?, item: line.item, forget: line.forget },
            "fault" => {
                let code = need(line.code, "code", kind)?;
                if !(1..900).contains(&code) {
                    return Err(Nonsense(format!("fault with code {code}, which is no failure")));
                }
                let (text, trace) = (line.text.unwrap_or_default(), line.trace);
                Self::Fault { id: id?, code, text, trace, item: line.item }
            }
            "cancelled" => Self::Cancelled { id: id? },
            "progress" => {
                Self::Progress { id: id?, done: line.done.map(loose::share), text: line.text }
            }
            "forward" => Self::Forward {
                ticket: need(line.ticket, "ticket", kind)?,
                queue: need(line.queue, "queue", kind)?,
                item: need(line.item, "item", kind)?,
            },
            "stage" => match line.stage {
                Some(stage) if stage.len() > STAGE => {
                    let bytes = stage.len();
                    return Err(Nonsense(format!("a stage of {bytes} bytes; {STAGE} are allowed")));
                }
                stage => Self::Stage { id: id?, stage },
            },
            _ => return Err(Nonsense(format!("unknown type {kind:?}"))),
        })
    }

    /// Appends it as a line.
    pub fn write(self, out: &mut Vec<u8>) {
        let of = |kind: &'static str, id| Line { kind: kind.into(), id, ..Line::default() };
        let line = match self {
            Self::Hello { protocol } => Line { protocol: Some(protocol), ..of("hello", None) },
            Self::Result { id, item, forget } => Line { forget, item, ..of("result", Some(id)) },
            Self::Fault { id, code, text, trace, item } => {
                Line { code: Some(code), text: Some(text), trace, item, ..of("fault", Some(id)) }
            }
            Self::Cancelled { id } => of("cancelled", Some(id)),
            Self::Progress { id, done, text } => Line { done, text, ..of("progress", Some(id)) },
            Self::Forward { ticket, queue, item } => {
                let (ticket, queue, item) = (Some(ticket), Some(queue), Some(item));
                Line { ticket, queue, item, ..of("forward", None) }
            }
            Self::Stage { id, stage } => Line { stage, ..of("stage", Some(id)) },
        };
        append(&line, out);
    }
}

/// A line from exo, taken apart.
#[derive(Debug)]
pub struct Told<'a>(Line<'a>);

impl<'a> Told<'a> {
    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// [`Nonsense`]: it is no object, or a key has a value of another type.
    pub fn read(line: &'a [u8]) -> Result<Self, Nonsense> {
        Line::read(line).map(Self)
    }

    /// Returns what it says.
    ///
    /// # Errors
    /// [`Nonsense`]: it lacks a key, or its type is unknown.
    pub fn message(&self) -> Result<ToParticipant<'_>, Nonsense> {
        let line = &self.0;
        let kind = &*line.kind;
        let id = need(line.id, "id", kind);
        Ok(match kind {
            "start" => ToParticipant::Start {
                protocol: need(line.protocol, "protocol", kind)?,
                participant: need(line.participant.as_deref(), "participant", kind)?,
                instance: need(line.instance.as_deref(), "instance", kind)?,
                engine: line.engine.as_deref().unwrap_or(ENGINE),
                config: need(line.config, "config", kind)?,
            },
            "work" => ToParticipant::Work {
                id: id?,
                attempt: need(line.attempt, "attempt", kind)?,
                stage: line.stage.as_deref(),
                item: need(line.item, "item", kind)?,
            },
            "cancel" => {
                ToParticipant::Cancel { id: id?, flavour: need(line.flavour, "flavour", kind)? }
            }
            "status" => ToParticipant::Status { id: id? },
            "shutdown" => ToParticipant::Shutdown,
            "about-to-die" => {
                ToParticipant::AboutToDie { seconds: need(line.seconds, "seconds", kind)? }
            }
            "sent" => ToParticipant::Sent {
                ticket: need(line.ticket, "ticket", kind)?,
                job: line.job,
                refused: line.refused.as_deref(),
            },
            _ => return Err(Nonsense(format!("unknown type {kind:?}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_exo_says_is_one_line_and_the_item_keeps_its_numbers() {
        let item = raw("{\"n\": 1.0,\r\n \"big\": 123456789012345678901234567890}");
        let mut out = Vec::new();
        ToParticipant::Work { id: 7, attempt: 2, stage: Some("a\nb"), item: &item }.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"work\",\"id\":7,\"attempt\":2,\"stage\":\"a\\nb\",\
             \"item\":{\"n\": 1.0,   \"big\": 123456789012345678901234567890}}\n"
        );
    }

    #[test]
    fn a_work_item_can_be_said_without_copying_it() {
        for stage in [None, Some("half")] {
            let item = raw("{\"x\":1.0}");
            let mut whole = Vec::new();
            ToParticipant::Work { id: 7, attempt: 2, stage, item: &item }.write(&mut whole);
            let mut pieces = work_head(7, 2, stage);
            pieces.extend_from_slice(item.get().as_bytes());
            pieces.extend_from_slice(WORK_TAIL);
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn a_stage_is_no_place_to_keep_things() {
        for (bytes, is_taken) in [(STAGE, true), (STAGE + 1, false)] {
            let stage = "x".repeat(bytes);
            let mut line = Vec::new();
            FromParticipant::Stage { id: 1, stage: Some(stage.into()) }.write(&mut line);
            assert_eq!(FromParticipant::read(&line).is_ok(), is_taken);
        }
    }

    #[test]
    fn each_thing_that_a_participant_says_is_understood() {
        let read = |text: &'static str| FromParticipant::read(text.as_bytes());
        assert!(matches!(
            read(r#"{"type":"hello","protocol":1,"by":"x"}"#),
            Ok(FromParticipant::Hello { protocol: 1 })
        ));
        let Ok(FromParticipant::Result { id: 3, item: Some(item), forget: true }) =
            read(r#"{"type":"result","id":3,"forget":true,"item":{"x":1.0}}"#)
        else {
            panic!("no result")
        };
        assert_eq!(item.get(), r#"{"x":1.0}"#);
        let Ok(FromParticipant::Fault { code: 10, text, trace, .. }) =
            read(r#"{"type":"fault","id":3,"code":10,"text":"a\"b","trace":["f:1","g:2"]}"#)
        else {
            panic!("no fault")
        };
        assert_eq!((&*text, trace.len()), ("a\"b", 2));
        assert!(matches!(
            read(r#"{"type":"stage","id":3,"stage":null}"#),
            Ok(FromParticipant::Stage { id: 3, stage: None })
        ));
        assert!(matches!(
            read(r#"{"type":"forward","ticket":1,"queue":"q","item":{}}"#),
            Ok(FromParticipant::Forward { ticket: 1, .. })
        ));
    }

    #[test]
    fn a_share_is_from_0_to_1_whatever_is_said() {
        for (said, heard) in [
            ("0.25", "0.25"),
            ("1", "1.0"),
            ("1.0000000000000002", "1.0"),
            ("1e300", "1.0"),
            ("-5", "0.0"),
            ("-0.0", "0.0"),
        ] {
            let line = format!(r#"{{"type":"progress","id":3,"done":{said}}}"#);
            let Ok(FromParticipant::Progress { done, .. }) = FromParticipant::read(line.as_bytes())
            else {
                panic!("no progress: {said}")
            };
            assert_eq!(done.map(|done| format!("{done:?}")).as_deref(), Some(heard), "{said}");
        }
    }

    #[test]
    fn each_side_reads_what_the_other_writes() {
        let (item, config) = (raw("{\"n\": 1.0}"), raw("{}"));
        let (cancel, kill) = (Flavour::Cancel, Flavour::Kill);
        for message in [
            ToParticipant::Start {
                protocol: 1,
                participant: "p",
                instance: "p_0",
                engine: "e",
                config: &config,
            },
            ToParticipant::Work { id: 7, attempt: 2, stage: Some("\"a\""), item: &item },
            ToParticipant::Work { id: 7, attempt: 1, stage: None, item: &item },
            ToParticipant::Cancel { id: 7, flavour: cancel },
            ToParticipant::Cancel { id: 7, flavour: kill },
            ToParticipant::Status { id: 7 },
            ToParticipant::Shutdown,
            ToParticipant::AboutToDie { seconds: 5.0 },
            ToParticipant::Sent { ticket: 1, job: Some(-1), refused: None },
            ToParticipant::Sent { ticket: 1, job: None, refused: None },
            ToParticipant::Sent { ticket: 1, job: None, refused: Some("no such queue") },
        ] {
            let mut out = Vec::new();
            message.write(&mut out);
            let told = Told::read(&out).unwrap();
            assert_eq!(format!("{:?}", told.message().unwrap()), format!("{message:?}"));
        }
        let trace = vec!["f:1".into(), "g:2".into()];
        for message in [
            FromParticipant::Hello { protocol: 1 },
            FromParticipant::Result { id: 7, item: Some(&item), forget: false },
            FromParticipant::Result { id: 7, item: None, forget: true },
            FromParticipant::Fault { id: 7, code: 10, text: "a\nb".into(), trace, item: None },
            FromParticipant::Cancelled { id: 7 },
            FromParticipant::Progress { id: 7, done: Some(0.5), text: None },
            FromParticipant::Forward { ticket: 1, queue: "q".into(), item: &item },
            FromParticipant::Stage { id: 7, stage: None },
        ] {
            let (mut out, said) = (Vec::new(), format!("{message:?}"));
            message.write(&mut out);
            assert_eq!(format!("{:?}", FromParticipant::read(&out).unwrap()), said);
        }
    }

    #[test]
    fn what_exo_never_says_is_nonsense() {
        for (line, reason) in [
            (&b"{\"type\":\"dance\"}"[..], "unknown type"),
            (b"{\"type\":\"work\",\"id\":1,\"attempt\":1}", "work without item"),
            (b"{\"type\":\"cancel\",\"id\":1}", "cancel without flavour"),
            (
                b"{\"type\":\"start\",\"protocol\":1,\"participant\":\"p\"}",
                "start without instance",
            ),
        ] {
            let said = Told::read(line).unwrap().message().unwrap_err().to_string();
            assert!(said.contains(reason), "{said}");
        }
        assert!(Told::read(b"{\"type\":\"cancel\",\"id\":1,\"flavour\":\"mint\"}").is_err());
    }

    #[test]
    fn nonsense_is_told_with_a_reason() {
        for (line, reason) in [
            (&b"hello"[..], "an object is expected"),
            (b"[\"hello\"]", "an object is expected"),
            (b"{\"type\":\"dance\"}", "unknown type"),
            (b"{\"type\":\"result\"}", "result without id"),
            (b"{\"type\":\"fault\",\"id\":1,\"code\":0}", "no failure"),
            (b"{\"type\":\"fault\",\"id\":1,\"code\":900}", "no failure"),
            (b"{\"type\":\"result\",\"id\":-1}", "invalid"),
            (b"{\"id\":1}", "missing field"),
            (b"{\"type\":\"result\",\"id\":1", "EOF"),
            (b"{\"type\":\"\xff\"}", "invalid"),
        ] {
            let said = FromParticipant::read(line).unwrap_err().to_string();
            assert!(said.contains(reason), "{said}");
        }
    }
}
