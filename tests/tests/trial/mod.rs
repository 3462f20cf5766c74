//! A participant that is tried by `exo local`, in a folder of its own.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::scratch::script;
use testkit::{Output, Scratch, program};

/// Counts what is in `fields.n` up by one; fails where it is missing.
pub(crate) const UP: &str = "#!/bin/sh\necho \"seen by $SKYNET_PARTICIPANT as $SKYNET_INSTANCE\"\n\
    item=$(cat)\ncase $item in\n\
    *'\"n\":1'*) printf '%s' \"$item\" | sed 's/\"n\":1/\"n\":2/' >&3 ;;\n\
    *) echo 'field n is missing' >&2; exit 12 ;;\nesac\n";

pub(crate) fn local(dir: &Path) -> Command {
    let none = dir.join("etc");
    fs::create_dir_all(&none).unwrap();
    let mut command = Command::new(program("exo"));
    command.arg("local").current_dir(dir).env("SKYNET_CONFIG", none);
    command.env("TMPDIR", dir);
    command
}

pub(crate) fn folder(work: &str) -> Scratch {
    let scratch = Scratch::new();
    script(&scratch.join("work"), work);
    scratch
}

/// Nothing of the run is left in the folder for temporary files.
#[track_caller]
pub(crate) fn nothing_stays(scratch: &Scratch) {
    let names = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        names.filter(|name| name.to_string_lossy().starts_with("exo-local")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
pub(crate) fn done(output: &Output, answers: &str) {
    assert_eq!((output.code, &*output.out()), (Some(0), answers), "{output:?}");
}
