//! One item: it is on descriptor 0, the answer goes to 3, the exit code tells the outcome.
//!
//! Without exo (nothing in the environment names a participant) the answer goes to where
//! descriptor 1 leads, and what would have gone there to descriptor 2: a way to try things.

use crate::context::{Context, Task};
use crate::item::Item;
use crate::protocol::{DESCRIPTOR, ENGINE};
use crate::{Fault, Participant, Start, attempt, say, say_fault};
use linux::errno::{Errno, Result as Written};
use linux::fd::Fd;
use serde_json::value::RawValue;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) fn run(participant: &mut impl Participant) -> ExitCode {
    let Some(name) = variable("SKYNET_PARTICIPANT") else { return by_hand(participant) };
    let instance = variable("SKYNET_INSTANCE").unwrap_or_else(|| name.clone());
    // A child that outlives us must not keep the answer open.
    let _ = linux::fd::set_cloexec(DESCRIPTOR, true);
    serve(participant, name, instance, |item| {
        if item.is_changed() {
            linux::fd::write_all(DESCRIPTOR, item.json().as_bytes())
        } else {
            Ok(())
        }
    })
}

fn by_hand(participant: &mut impl Participant) -> ExitCode {
    if std::io::stdin().is_terminal() {
        say("usage: give it a work item on descriptor 0, such as {\"fields\":{}}");
        return ExitCode::from(100);
    }
    let Ok(out) = linux::fd::copy(1).and_then(|out| linux::fd::dup_to(2, 1).map(|()| out)) else {
        say("fatal: unable to set descriptor 1 aside");
        return ExitCode::from(111);
    };
    let name = std::env::args_os().next().unwrap_or_default();
    let name = name.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
    let instance = format!("{name}_0");
    serve(participant, name, instance, move |item| print(&out, item))
}

fn print(out: &Fd, item: &Item) -> Written<()> {
    linux::fd::write_all(out.raw(), item.json().as_bytes())?;
    linux::fd::write_all(out.raw(), b"\n")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn serve(
    participant: &mut impl Participant,
    name: String,
    instance: String,
    write: impl Fn(&Item) -> Written<()>,
) -> ExitCode {
    let outcome = match prepare(name, instance) {
        Ok((start, item)) => participant.start(&start).and_then(|()| {
            let context = context();
            attempt(participant, item, &context).and_then(noted)
        }),
        Err(fault) => Err(fault),
    };
    participant.stop();
    let written = match &outcome {
        Ok(item) => write(item),
        Err(Fault { item: Some(item), .. }) => write(item),
        Err(_) => Ok(()),
    };
    let outcome = written.map_err(unwritten).and(outcome);
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(fault) => {
            say_fault(&fault);
            ExitCode::from(u8::try_from(fault.code).unwrap_or(u8::MAX))
        }
    }
}

/// Nothing but the item can say here that nobody is to be answered.
fn noted(mut item: Item) -> Result<Item, Fault> {
    if item.is_forgotten() {
        item.note_forgotten().map_err(Fault::finally)?;
    }
    Ok(item)
}

fn unwritten(why: Errno) -> Fault {
    let why = std::io::Error::from_raw_os_error(why.0);
    Fault::retry(format!("unable to write the answer: {why}"))
}

fn prepare(participant: String, instance: String) -> Result<(Start, Item), Fault> {
    let config = variable("SKYNET_SETTINGS").unwrap_or_else(|| "{}".to_owned());
    let config = RawValue::from_string(config)
        .map_err(|error| Fault::finally(format!("SKYNET_SETTINGS: {error}")))?;
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Fault::finally(format!("unable to read the item: {error}")))?;
    let json: &RawValue = serde_json::from_str(&text)
        .map_err(|error| Fault::finally(format!("not a work item: {error}")))?;
    let item = Item::received(json).map_err(|invalid| Fault::finally(invalid.to_string()))?;
    let engine = variable("SKYNET_ENGINE").unwrap_or_else(|| ENGINE.to_owned());
    Ok((Start { participant, instance, engine, config }, item))
}

fn context() -> Context {
    let attempt = variable("SKYNET_ATTEMPT").and_then(|n| n.parse().ok()).unwrap_or(1);
    let stage = variable("SKYNET_STAGE");
    Context { task: Arc::new(Task::new(0)), attempt, stage, link: None }
}
