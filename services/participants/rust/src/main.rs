//! fields.size = size of the file that fields.file names, in units of the configuration.

use participant::{Context, Fault, Item, Participant, Start};
use serde::Deserialize;
use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;

/// What exo.yaml has below `config`.
#[derive(Deserialize)]
struct Sizer {
    #[serde(default = "one")]
    unit: u64,
}

fn one() -> u64 {
    1
}

impl Participant for Sizer {
    fn start(&mut self, start: &Start) -> Result<(), Fault> {
        *self = start.config()?;
        if self.unit == 0 {
            return Err(Fault::finally("config: unit is 0"));
        }
        Ok(())
    }

    fn work(&mut self, mut item: Item, _context: &Context) -> Result<Item, Fault> {
        let file: String = item.field("file")?;
        let size = match fs::metadata(&file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Fault::finally(format!("{file}: no such file")));
            }
            // The item is tried again.
            Err(error) => return Err(error.into()),
        };
        println!("{file}: {size} bytes");
        item.set_field("size", &(size / self.unit))?;
        Ok(item)
    }
}

fn main() -> ExitCode {
    participant::run(Sizer { unit: 1 })
}
