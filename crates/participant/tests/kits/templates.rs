//! The templates that authors begin with.

use crate::{here, python, pythons};
use participant::protocol::ToParticipant;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use testkit::exo::{Exo, OneItem, Program};

fn template(name: &str) -> PathBuf {
    here().join("../../services/participants").join(name).canonicalize().unwrap()
}

/// Builds a participant of this tree.
pub(crate) fn built(package: &str) -> Program {
    let built = testkit::suite::built(package);
    Program { command: vec![built.to_str().unwrap().to_owned()], environment: Vec::new() }
}

fn shell(name: &str) -> Program {
    let file = template("shell").join(name);
    Program { command: vec![file.to_str().unwrap().to_owned()], environment: Vec::new() }
}

/// Those that talk in both ways.
fn bilingual() -> Vec<Program> {
    let file = template("python").join("sizer.py");
    let file = file.to_str().unwrap();
    let mut all: Vec<Program> = pythons().iter().map(|with| python(with, &[file])).collect();
    all.push(built("sizer"));
    all
}

/// An item, and the size of the file in it.
fn item() -> (String, u64) {
    let file = template("shell").join("exo.yaml");
    let size = file.metadata().unwrap().len();
    (json!({"fei": {"wfid": "w"}, "fields": {"file": file.to_str().unwrap()}}).to_string(), size)
}

#[test]
fn every_template_works_in_per_item_mode() {
    let mut all = bilingual();
    all.extend([shell("work"), shell("work-without-jq")]);
    let (item, size) = item();
    for program in all {
        let ended = OneItem::start(&program, item.as_bytes(), &[]).end();
        assert_eq!(ended.code, Some(0), "{program:?}: {}", ended.log);
        let answer: serde_json::Value = serde_json::from_str(&ended.answer).unwrap();
        assert_eq!(answer["fields"]["size"], json!(size), "{program:?}");
        assert!(ended.log.ends_with(&format!("exo.yaml: {size} bytes\n")), "{}", ended.log);

        let ended = OneItem::start(&program, b"{\"fields\":{\"file\":\"/nowhere\"}}", &[]).end();
        assert_eq!((ended.code, &*ended.answer), (Some(10), ""), "{}", ended.log);
        assert!(ended.log.ends_with("/nowhere: no such file\n"), "{}", ended.log);
    }
}

#[test]
fn the_templates_with_a_kit_work_in_persistent_mode() {
    let (item, size) = item();
    for program in bilingual() {
        let mut exo = Exo::greet(&program, r#"{"unit":10}"#);
        for id in 1..4 {
            exo.work(id, &item);
            assert_eq!(exo.hear()["item"]["fields"]["size"], json!(size / 10));
        }
        exo.work(4, r#"{"fields":{}}"#);
        let fault = exo.hear();
        assert_eq!((&fault["code"], &fault["text"]), (&json!(10), &json!("field file is missing")));
        exo.say(&ToParticipant::Shutdown);
        assert_eq!(exo.end().code, Some(0), "{}", exo.log());
    }
}

#[test]
fn the_tests_of_the_templates_pass_and_can_fail() {
    let run = |program: &Program| {
        let [name, arguments @ ..] = &program.command[..] else { panic!("no command") };
        testkit::run(Command::new(name).args(arguments).envs(program.environment.iter().cloned()))
    };
    let with = |argument: &str| {
        let mut program = shell("test");
        program.command.push(argument.to_owned());
        run(&program)
    };
    for work in ["./work", "./work-without-jq"] {
        assert_eq!(with(work).code, Some(0), "{}", with(work).err());
    }
    assert_eq!(with("/bin/true").code, Some(1));
    let file = template("python").join("test");
    for interpreter in pythons() {
        let output = run(&python(interpreter, &[file.to_str().unwrap()]));
        assert_eq!(output.code, Some(0), "{}", output.err());
        assert!(output.err().contains("Ran 3 tests"), "{}", output.err());
    }
}

#[test]
fn every_template_has_what_a_service_directory_needs() {
    for name in ["python", "shell", "rust"] {
        let folder = template(name);
        for script in ["run", "log/run"] {
            assert!(testkit::scratch::is_executable(&folder.join(script)), "{name}/{script}");
        }
        let configuration = std::fs::read_to_string(folder.join("exo.yaml")).unwrap();
        let command =
            configuration.lines().find_map(|line| line.strip_prefix("command: ")).unwrap();
        // The Rust one is built first.
        assert!(
            name == "rust" || testkit::scratch::is_executable(&folder.join(command)),
            "{command}"
        );
        assert!(folder.join("README.md").is_file());
    }
}
