//! A participant that does nothing, by the crate for authors.

use participant::{Context, Item};
use std::process::ExitCode;

fn main() -> ExitCode {
    participant::run(|item: Item, _: &Context| Ok(item))
}
