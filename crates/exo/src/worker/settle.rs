//! What is recorded of the end of an attempt.

use super::refusal::{self, Found};
use super::slot::{Slot, Work};
use crate::signature::signature;
use machine::exo::How;
use machine::work::Fault;
use ondisk::tai64n::Stamp;
use participant::protocol::FromParticipant;
use serde_json::value::RawValue;
use std::ops::Range;
use sys::linux::process::Ended;
use work::Ended as Outcome;
use work::item::{self, ErrorReply};

/// How an attempt ended whose participant was not listened to any more.
const BROKE: &str = "broke the protocol";

/// The fault of an attempt whose answer is an error, since an engine fails its step at the first, or
/// has not the item's own fei, since the next attempt would do no better.
const REFUSED: Fault = Fault(10);

/// Memory that an answer may keep of what stood around it.
const AROUND: usize = 4096;

/// Longest text of a fault, and longest trace, in bytes.
const TEXT: usize = 4096;
const TRACE: usize = 64 << 10;

/// What answers look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'a> {
    /// Most bytes of an answer.
    pub(super) limit: usize,
    /// Class of an error in it.
    pub(super) class: &'a str,
}

/// A failure in words.
struct Failure<'a> {
    fault: Fault,
    /// How it ended, for its class.
    how: String,
    text: String,
    trace: &'a [String],
    /// The item as the participant left it, if it did.
    item: Option<&'a [u8]>,
}

impl Failure<'_> {
    /// Makes what is recorded of it. The answer is left to the store where it would be just the
    /// item and this text.
    fn outcome(self, work: &Work, form: Form<'_>) -> Outcome {
        let Self { fault, how, text, trace, item } = self;
        let text = item::cut(&text, TEXT).into_owned();
        let trace = &cut_trace(trace);
        // What JSON makes of a character has six at most.
        let fits = work.item.len() + 6 * text.len() + 256 <= form.limit;
        let is_plain =
            fits && item.is_none() && trace.is_empty() && form.class == item::ERROR_CLASS;
        let error = ErrorReply { class: form.class, message: &text, trace };
        // An error of the participant's own is what its sender gets.
        let is_own = |item: &&[u8]| {
            matches!(refusal::of_answer(item, &work.item, form.class), Found::New(_))
        };
        let answer = || match item.filter(is_own) {
            Some(own) => classed(own, form).or_else(|| Some(own.to_vec())),
            None => item::with_error(item.unwrap_or(&work.item), error, form.limit),
        };
        let left = item.map(crate::flags::flags).unwrap_or_default();
        Outcome {
            fault,
            signature: Some(signature(&how, trace, &text)),
            output: if is_plain { None } else { answer() },
            text: Some(text),
            forget: work.flags.forget || left.forget,
            ..Outcome::default()
        }
    }
}

/// Returns an answer whose error named no class with the usual one in it; `None` where it stays as it is.
fn classed(answer: &[u8], form: Form<'_>) -> Option<Vec<u8>> {
    item::with_class(answer, form.class).filter(|answer| answer.len() <= form.limit)
}

/// Returns the last lines of a trace, which tell most; what was left out is told by a mark.
fn cut_trace(trace: &[String]) -> Vec<String> {
    let mut room = TRACE;
    let mut kept = Vec::new();
    for line in trace.iter().rev() {
        let line = item::cut(line, TEXT);
        // An empty one takes room, too.
        if room < line.len() + 4 {
            kept.push(item::CUT.trim().to_owned());
            break;
        }
        room -= line.len() + 4;
        kept.push(line.into_owned());
    }
    kept.reverse();
    kept
}

/// Returns why an answer cannot be sent, if so, and what fault that is: it is no item, too long, or
/// another's.
fn mistake(answer: &[u8], work: &Work, limit: usize) -> Option<(Fault, String)> {
    // Its moment of dispatch need not come back.
    let named = |rest: &str| rest.rsplit_once('!').map(|(name, _)| name.to_owned());
    let asked = item::identity(&work.item, usize::MAX).ok().flatten();
    match (item::identity(answer, limit), asked) {
        (Err(why), _) => Some((Fault::CRASHED, why.to_string())),
        (Ok(Some(told)), Some(asked))
            if told.wfid != asked.wfid || named(&told.rest) != named(&asked.rest) =>
        {
            Some((REFUSED, format!("it is of another item: {} of {}", told.rest, told.wfid)))
        }
        (Ok(None), Some(_)) => Some((REFUSED, "its fei is missing".to_owned())),
        _ => None,
    }
}

/// Returns what is recorded where the participant says that all went well, and the answer in it as
/// far as it is another than the item: whoever has the bytes puts them there without a copy. An error
/// that came with the item does not go back.
fn done<'a>(
    answer: Option<&'a [u8]>,
    forget: bool,
    work: &Work,
    form: Form<'_>,
) -> (Outcome, Option<&'a [u8]>) {
    let asked = answer.map(crate::flags::flags).unwrap_or_default();
    let forget = forget || asked.forget || work.flags.forget;
    let whole = answer.unwrap_or(&work.item);
    let answer = answer.filter(|answer| *answer != work.item.as_slice());
    let refusal = match refusal::of_answer(whole, &work.item, form.class) {
        Found::Nothing => return (Outcome { forget, ..Outcome::default() }, answer),
        Found::Old => {
            // An engine would take it for one of this step.
            let output = item::without_error(whole);
            return (Outcome { forget, output, ..Outcome::default() }, None);
        }
        Found::New(refusal) => refusal,
    };
    // The sender takes it for an error whatever is recorded here: so that history says the same.
    let text = item::cut(&refusal.text, TEXT).into_owned();
    let trace = cut_trace(&refusal.trace);
    let signature = Some(signature("", &trace, &text));
    let output = answer.and_then(|answer| classed(answer, form));
    let answer = answer.filter(|_| output.is_none());
    let text = Some(text);
    (Outcome { fault: REFUSED, signature, text, output, forget, ..Outcome::default() }, answer)
}

/// Returns where in bytes a part of them is.
pub(super) fn place_in(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let begin = part.as_ptr().addr() - bytes.as_ptr().addr();
    begin..begin + part.len()
}

/// Returns a part of bytes in the memory of the whole.
pub(super) fn carve(mut bytes: Vec<u8>, part: Range<usize>) -> Vec<u8> {
    bytes.truncate(part.end);
    bytes.drain(..part.start);
    // What stood around it may have been much.
    if bytes.capacity() / 2 > bytes.len().max(AROUND) {
        bytes.shrink_to_fit();
    }
    bytes
}

fn bad_answer((fault, why): (Fault, String), work: &Work, form: Form<'_>) -> Outcome {
    let text = format!("the answer cannot be sent: {why}");
    let failure = Failure { fault, how: "answer".to_owned(), text, trace: &[], item: None };
    failure.outcome(work, form)
}

/// Returns what is recorded where a participant told of the end in words that mean nothing.
#[must_use]
pub(super) fn of_nonsense(why: &str, work: &Work, form: Form<'_>) -> Outcome {
    let text = format!("{BROKE}: {why}");
    let failure =
        Failure { fault: Fault::CRASHED, how: BROKE.to_owned(), text, trace: &[], item: None };
    failure.outcome(work, form)
}

/// Returns what the end of the process for one item means. `last`: the last line that it printed.
#[must_use]
pub(super) fn of_exit(
    ended: Ended,
    said: Vec<u8>,
    last: Option<String>,
    work: &Work,
    form: Form<'_>,
) -> Outcome {
    let (code, signal) = numbers(ended);
    // Of one that is too long only the beginning is here: that is no answer, whatever it looks like.
    let is_whole = said.len() <= form.limit;
    let answer = if is_whole { said.trim_ascii() } else { &said };
    let answer = Some(answer).filter(|answer| !answer.is_empty());
    let whole = answer.filter(|answer| mistake(answer, work, form.limit).is_none());
    let outcome = match ended {
        Ended::Code(0) => {
            if let Some(why) = answer.and_then(|answer| mistake(answer, work, form.limit)) {
                bad_answer(why, work, form)
            } else {
                let (outcome, answer) = done(answer, false, work, form);
                let place = answer.map(|answer| place_in(&said, answer));
                let output = place.map(|place| carve(said, place)).or(outcome.output);
                Outcome { output, ..outcome }
            }
        }
        Ended::Code(code) => {
            let fault = Fault(u16::try_from(code).unwrap_or(1));
            failed(fault, format!("exit {code}"), last, whole).outcome(work, form)
        }
        Ended::Signal(signal) => {
            failed(Fault::CRASHED, format!("signal {signal}"), last, whole).outcome(work, form)
        }
    };
    Outcome { code, signal, ..outcome }
}

/// Returns what the end of the process for one item means that was listened to no more in the middle
/// of its answer.
#[must_use]
pub(super) fn of_stall(
    ended: Ended,
    broke: Option<&str>,
    last: Option<String>,
    work: &Work,
    form: Form<'_>,
) -> Outcome {
    let (code, signal) = numbers(ended);
    let failure = failed(Fault::CRASHED, broken(broke), last, None);
    Outcome { code, signal, ..failure.outcome(work, form) }
}

/// Says that a participant broke the protocol, and how.
fn broken(how: Option<&str>) -> String {
    how.map_or_else(|| BROKE.to_owned(), |how| format!("{BROKE}: {how}"))
}

fn numbers(ended: Ended) -> (Option<i32>, Option<i32>) {
    match ended {
        Ended::Code(code) => (Some(code), None),
        Ended::Signal(signal) => (None, Some(signal)),
    }
}

fn failed(fault: Fault, how: String, last: Option<String>, item: Option<&[u8]>) -> Failure<'_> {
    let text = match last {
        Some(last) => format!("{last} ({how})"),
        None => how.clone(),
    };
    Failure { fault, how, text, trace: &[], item }
}

/// Returns what a persistent participant said of the end of an attempt, and the answer that belongs
/// in it; `None` where it said something else.
#[must_use]
pub(super) fn of_message<'a>(
    message: &FromParticipant<'a>,
    work: &Work,
    form: Form<'_>,
) -> Option<(Outcome, Option<&'a [u8]>)> {
    match message {
        FromParticipant::Result { item, forget, .. } => {
            let answer = item.map(bytes);
            Some(match answer.and_then(|answer| mistake(answer, work, form.limit)) {
                Some(why) => (bad_answer(why, work, form), None),
                None => done(answer, *forget, work, form),
            })
        }
        FromParticipant::Fault { code, text, trace, item, .. } => {
            let trace: Vec<String> = trace.iter().map(|line| line.clone().into_owned()).collect();
            let item = item.map(bytes).filter(|item| mistake(item, work, form.limit).is_none());
            let (fault, text) = (Fault(*code), text.clone().into_owned());
            // Its text begins with the class of the error, as a rule.
            let how = String::new();
            let failure = Failure { fault, how, text, trace: &trace, item };
            Some((failure.outcome(work, form), None))
        }
        FromParticipant::Cancelled { .. } => {
            let text = "the participant gave it up".to_owned();
            let how = "given up".to_owned();
            let failure = Failure { fault: Fault::UNKNOWN, how, text, trace: &[], item: None };
            Some((failure.outcome(work, form), None))
        }
        _ => None,
    }
}

/// Returns what is recorded of an attempt that ended like this, besides what was said of it.
#[must_use]
pub(super) fn of_end(how: How, work: &mut Work, slot: &Slot, form: Form<'_>) -> Outcome {
    let ended = slot.process.as_ref().and_then(|process| process.ended);
    let (code, signal) = ended.map_or((None, None), numbers);
    let last = slot.last_line();
    let outcome = match how {
        How::Said => work.said.take().unwrap_or_default(),
        How::Overdue => {
            // Whoever is to be killed is not asked to stop first.
            let was_asked = work.cancelled != Some(Fault::KILLED);
            let why = if was_asked { "did not stop" } else { "killed" };
            let said = work.said.take().unwrap_or_else(|| stopped(why, last));
            let (code, signal) = (said.code.or(code), said.signal.or(signal));
            Outcome { fault: Fault::CANCELLED, code, signal, ..said }
        }
        How::Died => {
            let how = match ended {
                Some(Ended::Code(code)) => format!("died: exit {code}"),
                Some(Ended::Signal(signal)) => format!("died: signal {signal}"),
                None => "died".to_owned(),
            };
            Outcome { code, signal, ..failed(Fault::CRASHED, how, last, None).outcome(work, form) }
        }
        How::Late => {
            let how = "took too long".to_owned();
            let failure = failed(Fault::TIMED_OUT, how, last, None);
            Outcome { code, signal, ..failure.outcome(work, form) }
        }
        How::Broken => {
            let broke = slot.process.as_ref().and_then(|process| process.broke.as_deref());
            let failure = failed(Fault::CRASHED, broken(broke), last, None);
            Outcome { code, signal, ..failure.outcome(work, form) }
        }
    };
    Outcome { log: Some(place(work.begun)), ..outcome }
}

/// Returns what is recorded of an attempt that does not count since we shut down, or since it never
/// began, with an answer of no more than `small` bytes.
#[must_use]
pub(super) fn of_interrupt(
    work: &mut Work,
    slot: &Slot,
    small: usize,
    is_shutdown: bool,
) -> Outcome {
    let ended = slot.process.as_ref().and_then(|process| process.ended);
    let (code, signal) = ended.map_or((None, None), numbers);
    let said = work.said.take().unwrap_or_else(|| match &slot.start_failure {
        _ if is_shutdown => stopped("told to shut down", slot.last_line()),
        Some(why) if slot.process.is_none() => stopped(&format!("not started: {why}"), None),
        _ => stopped("ended before it read the item", slot.last_line()),
    });
    let (code, signal) = (said.code.or(code), said.signal.or(signal));
    // What is large would wait for its commit beside that of other instances, and nobody is sent it.
    let output = said.output.filter(|output| output.len() <= small);
    // That it failed is nobody's fault.
    let log = Some(place(work.begun));
    Outcome { fault: Fault::NONE, signature: None, code, signal, log, output, ..said }
}

fn stopped(why: &str, last: Option<String>) -> Outcome {
    let text = last.map_or_else(|| why.to_owned(), |last| format!("{last} ({why})"));
    Outcome { text: Some(text), ..Outcome::default() }
}

/// Returns the stamp that multilog puts before a line of this moment, by which svlog finds it.
fn place((seconds, nanos): (i64, u32)) -> String {
    String::from_utf8_lossy(&Stamp::from_unix(seconds, nanos).to_label()).into_owned()
}

fn bytes(raw: &RawValue) -> &[u8] {
    raw.get().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_trace_the_end_is_kept_and_a_mark_tells() {
        let line = |n: usize| format!("{n}: {}", "x".repeat(996));
        let long: Vec<String> = (0..1000).map(line).collect();
        let kept = cut_trace(&long);
        assert!(kept.iter().map(String::len).sum::<usize>() <= TRACE);
        assert_eq!((&*kept[0], kept.last()), ("[...]", long.last()));
        assert_eq!(cut_trace(&long[..9]), long[..9]);
        let one = cut_trace(&["y".repeat(1 << 20)]);
        assert!(one[0].len() == TEXT && one[0].ends_with(" [...]"));
        assert!(cut_trace(&vec![String::new(); 1 << 20]).len() < TRACE);
    }
}
