//! supervise: keeps one service, and its logger, running.
//!
//! What happens next is decided by [`machine::supervise`]; here is what it takes to do it.
//! README.md beside this crate lists the points at which supervise can be killed, and why the
//! next one finds the truth at each.
#![no_std]
#![no_main]

mod args;
mod folder;
mod host;
mod join;
mod keep;
mod launch;
mod mend;
mod publish;
mod replace;
mod restore;

use crate::args::Args;
use crate::host::{Events, Host};
use linux::home::Home;
use linux::message;
use machine::supervise::{Actions, Event, Machine};
use machine::time::Mono;

linux::entry!(run);
linux::no_std_program!("supervise");

/// The name in every message.
const NAME: &str = "supervise";
const FATAL: &str = "fatal";
const WARNING: &str = "warning";

fn run(args: linux::entry::Args) -> i32 {
    let args = match Args::read(args) {
        Ok(args) => args,
        Err(code) => return code,
    };
    match Host::start(&args) {
        Ok(mut host) => keep(&mut host, args.paired),
        Err(code) => code,
    }
}

static EVENTS: Home<Events> = Home::new(Events::new());
static ACTIONS: Home<Actions> = Home::new(Actions::new());

/// Runs the machine until it holds nothing any more.
fn keep(host: &mut Host, paired: bool) -> i32 {
    let mut machine = Machine::new(paired);
    let (Some(events), Some(actions)) = (EVENTS.take(), ACTIONS.take()) else { return 111 };
    host.begin(&mut machine, events);
    loop {
        while let Some(event) = events.pop() {
            machine.step(event, Mono(linux::time::monotonic()), actions);
            while let Some(action) = actions.pop() {
                host.perform(action, &machine, events);
            }
        }
        if machine.is_finished() {
            return host.verdict();
        }
        // Only now: what happened before is known to the machine and stands in the records. An end
        // that is under way stands nowhere, and there the next program would come too late.
        if core::mem::take(&mut host.replacement_asked) && !machine.is_ending() {
            host.replace(&machine);
        }
        host.wait(machine.deadline(), events);
    }
}

/// Says a line of daemontools' form about something in our directory: VERB DIR[/OBJECT]: WHY.
fn say(severity: &str, verb: &str, dir: &[u8], object: &str, why: linux::errno::Errno) {
    let parts: [&[u8]; 4] = [b"unable to ", verb.as_bytes(), dir, object.as_bytes()];
    message::system(NAME, severity, &parts, why);
}

/// Returns a tick of the machine's clock, if it is due.
fn due(deadline: Option<Mono>) -> Option<Event> {
    deadline.filter(|at| at.0 <= linux::time::monotonic()).map(|_| Event::Tick)
}
