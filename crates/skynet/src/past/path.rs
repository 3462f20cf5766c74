//! The path of a process across participants: everything that happened, in the order of time.

use super::whole::{Whole, asked, usage};
use super::{end_words, state_word, user};
use crate::json_text;
use crate::moment;
use crate::screen::{Screen, Tone, clean};
use crate::wrap::wrapped;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;
use work::read::Attempt;
use work::{Fault, Kind, State, Wall};

/// Something that happened.
struct Step<'a> {
    at: Wall,
    whole: &'a Whole,
    what: String,
    tone: Tone,
    /// Lines below it.
    more: Vec<String>,
}

/// Returns the path as text: `jobs` are those of the process.
#[must_use]
pub fn text(wfid: &str, jobs: &[Whole], screen: &Screen) -> String {
    let mut steps: Vec<Step<'_>> = jobs.iter().flat_map(steps_of).collect();
    steps.sort_by_key(|step| step.at);
    let mut out = head(wfid, jobs, &steps, screen);
    let name = jobs.iter().map(|whole| clean(&whole.job.queue).width()).max().unwrap_or(0);
    let number = jobs.iter().map(|whole| whole.job.id.0.to_string().len()).max().unwrap_or(0);
    let mut day = String::new();
    for step in &steps {
        if moment::day(step.at) != day {
            day = moment::day(step.at);
            let _ = writeln!(out, "\n{}", screen.paint(&day, Tone::Heading));
        }
        let queue = clean(&step.whole.job.queue);
        let pad = " ".repeat(name - queue.width());
        let id = step.whole.job.id.0;
        let begin = format!("{}  {queue}{pad}  job {id:<number$}  ", moment::clock(step.at));
        let indent = begin.width();
        let what = clean(&step.what);
        for (i, line) in wrapped(&what, screen.width.map(|w| w - indent.min(w))).iter().enumerate()
        {
            let begin = if i == 0 { begin.clone() } else { " ".repeat(indent + 2) };
            let _ = writeln!(out, "{begin}{}", screen.paint(line, step.tone));
        }
        for more in &step.more {
            let _ = writeln!(out, "    {}", screen.paint(&clean(more), Tone::Faint));
        }
    }
    out
}

fn head(wfid: &str, jobs: &[Whole], steps: &[Step<'_>], screen: &Screen) -> String {
    let open = jobs.iter().filter(|whole| whole.job.subject.state != State::Stop).count();
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let mut said = format!("{}: {}", clean(wfid), count(jobs.len(), "job"));
    let words = |word: &str| jobs.iter().filter(|whole| state_word(&whole.job) == word).count();
    for word in ["done", "failed", "cancelled"] {
        if words(word) > 0 {
            let _ = write!(said, ", {} {word}", words(word));
        }
    }
    if open > 0 {
        let _ = write!(said, ", {open} not over");
    }
    if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
        let took = moment::span(moment::between(first.at, last.at));
        let _ = write!(said, "; {took} from first to last");
    }
    screen.paint(&said, Tone::Heading).into_owned() + "\n"
}

fn steps_of(whole: &Whole) -> Vec<Step<'_>> {
    let (job, details) = (&whole.job, &whole.details);
    let mut steps = Vec::new();
    let mut add = |at, what, tone, more| steps.push(Step { at, whole, what, tone, more });
    let mut what = "submitted".to_owned();
    if let Some(user) = user(job.owner) {
        let _ = write!(what, " by {user}");
    }
    if let Some(request) = &details.request {
        let _ = write!(what, ", of request {request}");
    }
    if let Some(parent) = details.parent {
        let _ = write!(what, ", for job {} which waits for it", parent.0);
    }
    let mut more: Vec<String> = whole.flaws.clone();
    more.extend(whole.item.iter().flat_map(|item| json_text::lines(item)));
    add(job.submitted, what, Tone::Plain, more);
    for act in &whole.acts {
        add(act.at, asked(act), Tone::Notable, Vec::new());
    }
    let since = whole.waited_since();
    for attempt in &whole.attempts {
        let waited = since.get(&attempt.number).map(|since| moment::between(*since, attempt.begun));
        let waited = moment::span(waited.unwrap_or(0));
        let what = format!(
            "attempt {} begun by {} after {waited} of waiting",
            attempt.number, attempt.instance
        );
        add(attempt.begun, what, Tone::Plain, Vec::new());
        if let Some(ended) = attempt.ended {
            let (what, tone) = end(whole, attempt, ended);
            let output = attempt.output.iter().flat_map(|output| json_text::lines(output));
            add(ended, what, tone, output.collect());
        }
    }
    let last = whole.attempts.iter().filter_map(|attempt| attempt.ended).max();
    if job.subject.state == State::Stop && last != Some(job.changed) {
        let (what, tone) = stop(whole, None);
        add(job.changed, what, tone, Vec::new());
    } else if let (Some(why), State::Ready { .. }) = (&whole.waits_for, job.subject.state) {
        add(moment::now(), format!("ready: waits for {why}"), Tone::Notable, Vec::new());
    }
    steps
}

/// Says how an attempt ended, and what became of the job with it.
fn end(whole: &Whole, attempt: &Attempt, ended: Wall) -> (String, Tone) {
    let took = moment::span(moment::between(attempt.begun, ended));
    let how = end_words(attempt.how.as_deref(), attempt.fault);
    let mut what = format!("attempt {}: {how} after {took}", attempt.number);
    let mut tone = match attempt.fault.map(Fault::kind) {
        Some(Kind::Done) => Tone::Good,
        _ => Tone::Notable,
    };
    if let Some(text) = &attempt.text {
        let _ = write!(what, ": {text}");
    }
    let is_last = whole.attempts.last().is_some_and(|last| last.number == attempt.number);
    let stopped = whole.job.subject.state == State::Stop && whole.job.changed == ended;
    if is_last && stopped {
        let (stop, its) = stop(whole, attempt.fault);
        let _ = write!(what, "; {stop}");
        tone = its;
    }
    for (word, value) in [("", usage(attempt)), ("log ", attempt.log.clone().unwrap_or_default())] {
        if !value.is_empty() {
            let _ = write!(what, "; {word}{value}");
        }
    }
    (what, tone)
}

/// Says how the job stopped. `told`: a fault that was told just before.
fn stop(whole: &Whole, told: Option<Fault>) -> (String, Tone) {
    let (job, details) = (&whole.job, &whole.details);
    let word = state_word(job);
    let mut what = format!("job {word}");
    if word == "failed" && told != Some(job.subject.fault) {
        let _ = write!(what, " with fault {}", job.subject.fault.0);
    }
    if let (Some(queue), true) = (&details.reply_to, details.answered) {
        let _ = write!(what, ", answered to {queue}");
    }
    let tone = match word {
        "done" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Notable,
    };
    (what, tone)
}
