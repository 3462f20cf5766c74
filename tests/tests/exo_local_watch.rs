//! `exo local --watch`: a participant tried again after each change.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;
mod trial;

use host::{ECHO, SOON, WORDS};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use testkit::scratch::script;
use testkit::wait::holds_within;
use testkit::{Scratch, program, run};
use trial::{UP, folder, local, nothing_stays};

#[test]
fn watched_it_runs_again_after_each_change_until_it_is_told_to_end() {
    let scratch = folder("#!/bin/sh\necho first\n");
    let out = Scratch::new();
    let said = out.join("said");
    let file = File::create(&said).unwrap();
    let mut command = local(scratch.path());
    command.args(["-w", "-i", "{\"fields\":{}}", "./work"]).env("TMPDIR", out.path());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let says = |text: &str| {
        let said = || fs::read_to_string(&said).unwrap_or_default();
        let is_said = || said().contains(text);
        assert!(holds_within(std::time::Duration::from_secs(SOON), is_said), "{}", said());
    };
    says("work_0 job-1/1: first");
    says("exit code 0; waiting for a change");
    script(&scratch.join("work"), "#!/bin/sh\necho second\nexit 3\n");
    says("second");
    says("exit code 1; waiting for a change");
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn watched_it_runs_with_the_configuration_and_the_items_as_they_are_by_then() {
    let scratch = folder("#!/bin/sh\necho \"cfg=$CFG $(cat) $(cat lib/deep/text)\"\n");
    let out = Scratch::new();
    let (said, items) = (out.join("said"), out.join("items.json"));
    let config = |text: &str| fs::write(scratch.join("exo.yaml"), text).unwrap();
    fs::create_dir_all(scratch.join("lib")).unwrap();
    config("command: ./work\nenvironment: {CFG: one}\n");
    fs::write(&items, "{\"fields\":{\"n\":1}}").unwrap();
    let mut command = local(scratch.path());
    command.args(["-w", "-i"]).arg(&items).env("TMPDIR", out.path()).stdin(Stdio::null());
    let file = File::create(&said).unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let mut seen = 0;
    let mut says = |text: &str| {
        let fresh = || fs::read_to_string(&said).unwrap_or_default()[seen..].to_owned();
        let is_said = || fresh().contains(text) && fresh().contains("waiting for a change");
        assert!(holds_within(std::time::Duration::from_secs(SOON), is_said), "{text}: {}", fresh());
        seen += fresh().len();
    };
    says("cfg=one {\"fields\":{\"n\":1}}");
    config("command: ./work\nenvironment: {CFG: two}\n");
    says("cfg=two {\"fields\":{\"n\":1}}");
    fs::write(&items, "{\"fields\":{\"n\":2}}").unwrap();
    says("cfg=two {\"fields\":{\"n\":2}}");
    // A mistake is told, and mended.
    config("command: ./work\ntries: many\n");
    says("a whole number");
    config("command: ./work\nenvironment: {CFG: three}\n");
    says("cfg=three {\"fields\":{\"n\":2}}");
    // A folder that is new, and a file in it that changes.
    fs::create_dir(scratch.join("lib/deep")).unwrap();
    says("cfg=three");
    fs::write(scratch.join("lib/deep/text"), "deep").unwrap();
    says("{\"fields\":{\"n\":2}} deep");
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn watched_a_participant_that_does_not_come_up_is_told_and_runs_once_it_is_mended() {
    let whole = format!("{WORDS}{ECHO}");
    let scratch = folder(&whole);
    let out = Scratch::new();
    let (said, work) = (out.join("said"), scratch.join("work"));
    let mut command = local(scratch.path());
    command.args(["-w", "-m", "persistent", "-i", "{\"fields\":{}}", "./work"]);
    command.env("TMPDIR", out.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(File::create(&said).unwrap()).spawn().unwrap();
    let mut seen = 0;
    let mut says = |texts: &[&str]| {
        let fresh = || fs::read_to_string(&said).unwrap_or_default()[seen..].to_owned();
        let is_said = || {
            let fresh = fresh();
            texts.iter().all(|text| fresh.contains(text)) && fresh.ends_with("for a change\n")
        };
        let soon = std::time::Duration::from_secs(SOON);
        assert!(holds_within(soon, is_said), "{texts:?}: {}", fresh());
        seen += fresh().len();
    };
    says(&["exit code 0; waiting for a change"]);
    // A mistake before it says hello, as in a script that cannot be read.
    script(&work, "#!/bin/sh\nif\n");
    says(&["exo: fatal: unable to start the participant: no hello: exit 2", "exit code 111; "]);
    script(&work, &whole);
    says(&["exit code 0; waiting for a change"]);
    fs::rename(&work, out.join("work")).unwrap();
    let why = format!("unable to run its program {}: file does not exist", work.display());
    says(&[&format!("unable to start the participant: {why}"), "exit code 111; "]);
    fs::rename(out.join("work"), &work).unwrap();
    says(&["exit code 0; waiting for a change"]);
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    nothing_stays(&out);
}

#[test]
fn watched_it_ends_where_nobody_takes_its_answers() {
    let scratch = folder(UP);
    fs::create_dir_all(scratch.join("etc")).unwrap();
    let mut command = Command::new("sh");
    let line = r#"exec "$0" local -w -i '{"fields":{"n":1}}' ./work >/dev/full"#;
    command.args(["-c", line]).arg(program("exo")).current_dir(scratch.path());
    command.env("SKYNET_CONFIG", scratch.join("etc")).env("TMPDIR", scratch.path());
    let output = run(&mut command);
    assert_eq!(output.code, Some(111), "{output:?}");
    assert!(output.err().contains("exo: fatal: unable to write an answer: "), "{output:?}");
}

/// Has exo watch a folder; returns its scratch folder, the file of what it says, and its process.
fn watching(scratch: &Scratch) -> (Scratch, PathBuf, Child) {
    let out = Scratch::new();
    let said = out.join("said");
    let mut command = local(scratch.path());
    command.args(["-w", "-i", "{\"fields\":{}}", "./work"]).env("TMPDIR", out.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said).unwrap());
    (out, said, command.spawn().unwrap())
}

#[test]
fn watched_a_change_ends_the_run_that_is_under_way() {
    let scratch = folder("#!/bin/sh\necho begun\nexec sleep 1000\n");
    let (out, said, mut child) = watching(&scratch);
    let says = |text: &str| {
        let said = || fs::read_to_string(&said).unwrap_or_default();
        let soon = std::time::Duration::from_secs(SOON);
        assert!(holds_within(soon, || said().contains(text)), "{text}: {}", said());
    };
    says("work_0 job-1/1: begun");
    script(&scratch.join("work"), "#!/bin/sh\necho second\n");
    says("a file has changed; what is in hand is ended, and begun anew");
    says("work_0 job-1/1: second");
    says("exit code 0; waiting for a change");
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    nothing_stays(&out);
}

#[test]
fn watched_it_is_not_begun_anew_by_what_the_participant_itself_writes() {
    let own = "mkdir -p state && echo x >state/last\necho run >>work.log\n>\"new.$$\"\ncat >&3\n";
    let scratch = folder(&format!("#!/bin/sh\necho first\n{own}"));
    let (out, said, mut child) = watching(&scratch);
    let text = || fs::read_to_string(&said).unwrap_or_default();
    let waits = |times: usize| {
        let is_so = || text().matches("exit code 0; waiting for a change\n").count() == times;
        assert!(holds_within(std::time::Duration::from_secs(SOON), is_so), "{times}: {}", text());
    };
    waits(1);
    let passed =
        text().lines().find(|line| line.contains("participant's own: ")).unwrap().to_owned();
    for name in ["new.", "state", "work.log"] {
        assert!(passed.contains(name), "{name}: {passed}");
    }
    // By now there is all that it writes, and it is told once.
    script(&out.join("work"), &format!("#!/bin/sh\necho second\n{own}"));
    fs::rename(out.join("work"), scratch.join("work")).unwrap();
    waits(2);
    assert_eq!(text().matches("work.log").count(), 1, "{}", text());
    // Afterwards it counts, whoever changes it.
    fs::write(scratch.join("state/last"), "y").unwrap();
    waits(3);
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(scratch.join("work.log")).unwrap(), "run\n".repeat(3));
    assert!(!text().contains("begun anew"), "{}", text());
    nothing_stays(&out);
}
