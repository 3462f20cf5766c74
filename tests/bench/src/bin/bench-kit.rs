//! A participant that does nothing, by the crate for authors.

use participant::{Context, Fault, Item, Participant};
use std::process::ExitCode;

struct Noop;

impl Participant for Noop {
    fn work(&mut self, item: Item, _context: &Context) -> Result<Item, Fault> {
        Ok(item)
    }
}

fn main() -> ExitCode {
    participant::run(Noop)
}
