//! huey, driven by `python/huey_bench.py`.

use super::{Bed, Safe};
use crate::peer::Peer;
use crate::stage::Lab;
use crate::trouble::{Result, Trouble, Unable};
use crate::workers::HUEY;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

/// A database of tasks.
pub(crate) struct Huey<'a> {
    peer: &'a Peer,
    bed: Bed,
    safe: Safe,
}

impl<'a> Huey<'a> {
    /// Begins with an empty one.
    pub(crate) fn new(lab: &Lab, peer: &'a Peer, safe: Safe) -> Result<Self> {
        Ok(Self { peer, bed: Bed::new(lab)?, safe })
    }

    /// Does so many tasks; returns how many it does a second. The first tenth is none of it.
    pub(crate) fn rate(&self, count: u64) -> Result<f64> {
        let status = self.command("fill", "off", count)?.status();
        match status.unable(|| "run python3".into())? {
            status if status.success() => {}
            status => return Err(Trouble::new(format!("fill: {status}"))),
        }
        let mut command = self.command("work", self.sync(), count)?;
        // Of two, processes are faster than threads, which wait for each other.
        let (workers, kind) =
            if self.peer.name == HUEY { ("1", "thread") } else { ("2", "process") };
        command.args([workers, kind]).stdout(Stdio::piped());
        let mut child = command.spawn().unable(|| "run python3".into())?;
        let out = child.stdout.take().ok_or_else(|| Trouble::new("no pipe"))?;
        let mut out = BufReader::new(out);
        // The bed ends the consumer.
        let (begun, ended) = (seconds(&mut out)?, seconds(&mut out)?);
        Ok((count - count / 10) as f64 / (ended - begun))
    }

    fn command(&self, mode: &str, sync: &str, count: u64) -> Result<Command> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/huey_bench.py");
        let missing = || Trouble::new("no python3; tests/bench/prepare gets it");
        let mut command = self.peer.command("python3").ok_or_else(missing)?;
        command.arg(script).arg(mode).arg(self.bed.disk.join("huey.db"));
        command.args([sync, &count.to_string()]);
        Ok(command)
    }

    fn sync(&self) -> &'static str {
        match self.safe {
            Safe::Power => "fsync",
            Safe::Kill => "off",
        }
    }
}

fn seconds(out: &mut BufReader<ChildStdout>) -> Result<f64> {
    let mut line = String::new();
    out.read_line(&mut line).unable(|| "hear the consumer".into())?;
    let wrong = |_| Trouble::new(format!("the consumer says {line:?}"));
    line.trim_end().parse().map_err(wrong)
}
