//! participant-protocol(7) and the code say the same.

use crate::here;
use participant::protocol::{FromParticipant, Told, VERSION};
use std::os::unix::fs::PermissionsExt;
use testkit::Scratch;
use testkit::exo::{OneItem, Program};

fn page() -> String {
    std::fs::read_to_string(here().join("../../packaging/man/participant-protocol.7")).unwrap()
}

/// Returns the part between two headings.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let start = page.find(from).unwrap_or_else(|| panic!("no {from:?} in the page"));
    let end = page[start..].find(to).unwrap_or_else(|| panic!("no {to:?} behind it"));
    &page[start..start + end]
}

fn examples(part: &str) -> Vec<String> {
    part.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| line.replace("\\e", "\\"))
        .collect()
}

/// Names of the types that a function of protocol.rs reads.
fn types(source: &str, function: &str) -> Vec<String> {
    let code = part(source, function, "unknown type");
    let arms = code.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
    arms.map(|(name, _)| name.to_owned()).collect()
}

fn source() -> String {
    std::fs::read_to_string(here().join("src/protocol.rs")).unwrap()
}

#[test]
fn each_example_of_the_page_is_understood() {
    let page = page();
    let exo = examples(part(&page, ".Ss What exo says", ".Ss What a participant says"));
    for line in &exo {
        let told = Told::read(line.as_bytes()).unwrap();
        told.message().unwrap_or_else(|nonsense| panic!("{nonsense}: {line}"));
    }
    let participant = examples(part(&page, ".Ss What a participant says", ".Ss Rules"));
    for line in &participant {
        FromParticipant::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    // An envelope is no message.
    let all = examples(&page).iter().filter(|line| line.starts_with("{\"type\"")).count();
    assert_eq!(exo.len() + participant.len(), all, "one stands elsewhere");
}

#[test]
fn each_type_and_key_of_the_code_stands_in_the_page_with_an_example() {
    let (page, source) = (page(), source());
    let parts = [
        ("pub fn message(&self)", ".Ss What exo says", ".Ss What a participant says"),
        (
            "pub fn read(line: &'a [u8]) -> Result<Self, Nonsense> {\n        let line",
            ".Ss What a participant says",
            ".Ss Rules",
        ),
    ];
    for (function, from, to) in parts {
        let names = types(&source, function);
        assert!(names.len() >= 7, "{names:?}");
        let part = part(&page, from, to);
        for name in &names {
            assert!(part.contains(&format!(".It Li {name}\n")), "no {name} behind {from}");
            let example = format!("{{\"type\":\"{name}\"");
            assert!(part.contains(&example), "no example of {name}");
        }
        let told = part.lines().filter(|line| line.starts_with(".It Li ")).count();
        assert_eq!(told, names.len(), "the page tells of more than {names:?}");
    }
    let line = part(&source, "struct Line<'a> {", "\n}\n");
    let keys: Vec<&str> = line
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().split_once(": ").map(|(key, _)| key))
        .collect();
    assert!(keys.len() > 15, "{keys:?}");
    for key in keys {
        let key = if key == "kind" { "type" } else { key };
        assert!(page.contains(&format!("\"{key}\":")), "no example has the key {key}");
    }
    assert!(page.contains(&format!("This is version {VERSION}.")));
}

#[test]
fn the_participant_of_the_page_works() {
    let page = page();
    let script = part(&page, "#!/bin/sh", ".Ed");
    assert!(script.lines().count() <= 20, "the page promises a short one");
    let scratch = Scratch::new();
    let file = scratch.join("lines");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    let command = vec![file.to_str().unwrap().to_owned()];
    let program = Program { command, environment: Vec::new() };
    let work = |item: String| OneItem::start(&program, item.as_bytes(), &[]).end();

    let ended = work(format!(r#"{{"fields":{{"file":"{}","n":1}}}}"#, file.display()));
    let expected = format!(
        "{{\"fields\":{{\"file\":\"{}\",\"n\":1,\"lines\":{}}}}}\n",
        file.display(),
        script.lines().count()
    );
    assert_eq!((ended.code, &*ended.answer), (Some(0), &*expected), "{}", ended.log);
    assert_eq!(ended.log, format!("reading {}\n", file.display()));
    for (item, text) in [
        ("{}", "field file is missing\n"),
        (r#"{"fields":{"file":"/nowhere"}}"#, "/nowhere: no such file\n"),
    ] {
        let ended = work(item.to_owned());
        assert_eq!((ended.code, &*ended.log), (Some(10), text));
    }
}
