//! Runs a shell script around a program, in a folder of its own, within a time limit.

use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::command;
use testkit::scratch::Scratch;

/// What can be seen of a script from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What it wrote to descriptor 1.
    pub(crate) stdout: String,
    /// What it wrote to descriptor 2.
    pub(crate) stderr: String,
    /// Exit code; minus the number of the signal that ended it.
    pub(crate) code: i32,
}

/// A folder for one script after the other; the name stays, so that messages can be compared.
pub(crate) struct Folder(Scratch);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(Scratch::new())
    }

    /// Runs `script` by sh in the folder, empty at first, with `program` as `$0`; nothing in the
    /// environment but `$PATH`, and nothing to read.
    pub(crate) fn run(&self, program: &Path, script: &str) -> Outcome {
        let folder = self.0.join("here");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", script]).arg(program).current_dir(&folder);
        sh.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        let output = command::run(&mut sh);
        let code = output.code.unwrap_or_else(|| -output.signal.unwrap_or_default());
        Outcome { stdout: output.out(), stderr: output.err(), code }
    }
}
