//! What a participant's author uses: work items in, answers out.
//!
//! ```no_run
//! use participant::{Context, Fault, Item};
//!
//! fn size(mut item: Item, _context: &Context) -> Result<Item, Fault> {
//!     let file: String = item.field("file")?;
//!     item.set_field("size", &std::fs::metadata(file)?.len())?;
//!     Ok(item)
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     participant::run(size)
//! }
//! ```
//!
//! The program works in both modes of exo: descriptor 3 tells which. Run by hand, it takes an item
//! on descriptor 0 and writes the answer to descriptor 1.
//!
//! | module | what |
//! |---|---|
//! | [`protocol`] | the words on the socket, for both sides |
//! | `item`, `object` | the item, whose text is kept |
//! | `fault`, `context` | what work can end with, what it knows and says meanwhile |
//! | `persistent`, `link` | the two threads of the persistent mode, and what they share |
//! | `per_item` | the other mode |

mod context;
mod fault;
mod item;
mod link;
mod object;
mod per_item;
mod persistent;
pub mod protocol;

pub use context::Context;
pub use fault::Fault;
pub use item::{Invalid, Item};
pub use protocol::Flavour;

use item::Kept;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// What an author writes. A closure or function from item to item is one, too.
pub trait Participant {
    /// Gets ready, once, before the first item.
    ///
    /// # Errors
    /// Ends the program: in persistent mode exo starts it again later, in per-item mode the fault
    /// is the item's.
    fn start(&mut self, start: &Start) -> Result<(), Fault> {
        let _ = start;
        Ok(())
    }

    /// Does the work on an item, and returns it as it goes back.
    ///
    /// # Errors
    /// See [`Fault`]. A panic is a fault of code 1, where the program is built to unwind.
    fn work(&mut self, item: Item, context: &Context) -> Result<Item, Fault>;

    /// Cleans up, once, behind the last item. A process that is killed never comes here.
    fn stop(&mut self) {}
}

impl<F: FnMut(Item, &Context) -> Result<Item, Fault>> Participant for F {
    fn work(&mut self, item: Item, context: &Context) -> Result<Item, Fault> {
        self(item, context)
    }
}

/// What a participant is told at its start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Name of the participant.
    pub participant: String,
    /// Name of this copy of it: `NAME_0`, `NAME_1`, ...
    pub instance: String,
    /// Queue on which the engine hears of everything: an item that was kept is forwarded there, or
    /// the launch of a process.
    pub engine: String,
    /// What the configuration has below `config`; an object.
    pub config: Box<RawValue>,
}

impl Start {
    /// Returns the configuration as a type of the author's.
    ///
    /// # Errors
    /// A final fault: it has another form.
    #[track_caller]
    pub fn config<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        match serde_json::from_str(self.config.get()) {
            Ok(config) => Ok(config),
            Err(error) => Err(Fault::finally(format!("config: {error}"))),
        }
    }
}

/// Runs a participant until no more items come. The answer is the program's exit code.
#[must_use]
pub fn run(mut participant: impl Participant) -> ExitCode {
    let is_socket = linux::file::stat_fd(protocol::DESCRIPTOR).is_ok_and(|stat| stat.is_socket());
    if is_socket { persistent::run(&mut participant) } else { per_item::run(&mut participant) }
}

fn attempt(
    participant: &mut impl Participant,
    item: Item,
    context: &Context,
) -> Result<Item, Fault> {
    let kept = Kept::default();
    let item = item.kept_by(&kept);
    let work = || participant.work(item, context);
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err(Fault { trace: Vec::new(), ..Fault::retry(format!("panicked: {text}")) })
    });
    outcome.map_err(|fault| forgotten(fault, &kept))
}

/// Has a fault say in its item that nobody is to be answered, where the author has said so.
fn forgotten(mut fault: Fault, kept: &Kept) -> Fault {
    let own = fault.item.take();
    let is_forgotten = kept.get().is_some() || own.as_ref().is_some_and(|item| item.is_forgotten());
    fault.item = own.or_else(|| Item::of_kept(kept).map(Box::new));
    if let Some(item) = fault.item.as_mut().filter(|_| is_forgotten)
        && let Err(why) = item.note_forgotten()
    {
        say(&format!("warning: unable to say that nobody is to be answered: {why}"));
    }
    fault
}

/// Writes a line to the log. A log that is closed is no reason to end.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says a fault, its text last: in per-item mode exo takes the last line for it.
fn say_fault(fault: &Fault) {
    for place in &fault.trace {
        say(&format!("at {place}"));
    }
    say(&fault.text);
}
