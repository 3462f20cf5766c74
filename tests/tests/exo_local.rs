//! `exo local`: a participant tried without anything to set up.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;
mod trial;

use host::{ECHO, SOON, Site, WORDS};
use machine::work::Fault;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::scratch::script;
use testkit::wait::holds_within;
use testkit::{Scratch, program, run};
use trial::{UP, done, folder, local, nothing_stays};

#[test]
fn one_item_is_done_and_its_answer_printed_and_the_log_is_on_standard_error() {
    let scratch = folder(UP);
    let output = run(local(scratch.path()).args(["-i", "{\"fields\":{\"n\":1}}", "./work"]));
    done(&output, "{\"fields\":{\"n\":2}}\n");
    assert!(output.err().contains("seen by work as work_0\n"), "{output:?}");
    nothing_stays(&scratch);
}

/// Prints what works in the folder for temporary files and beside the service directory.
const AROUND: &str = "#!/bin/sh\nfile=$(mktemp) && rm \"$file\" && echo made\n\
    ls \"$TMPDIR\" .. >/dev/null && echo listed\necho x >../beside && echo written\n\
    mkdir ../folder && cat ../folder/../beside && echo read\n";

#[test]
fn without_root_all_that_works_by_hand_works_in_a_trial() {
    let scratch = Scratch::new();
    let own = scratch.join("own");
    fs::create_dir(&own).unwrap();
    script(&own.join("work"), AROUND);
    for folder in [scratch.path(), &own] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = local(&own);
    command.env("TMPDIR", scratch.path()).args(["-i", "{\"fields\":{}}", "./work"]);
    if linux::process::euid() == 0 {
        command.uid(65534).gid(65534);
    }
    let output = run(&mut command);
    done(&output, "{\"fields\":{}}\n");
    let err = output.err();
    let lines: Vec<&str> =
        err.lines().filter_map(|line| line.strip_prefix("work_0 job-1/1: ")).collect();
    assert_eq!(lines, ["made", "listed", "written", "x", "read"], "{err}");
    // It is one's own program, and one's own folder.
    assert!(!err.contains("warning"), "{err}");
    nothing_stays(&scratch);
}

#[test]
fn a_participant_of_any_name_does_its_items_and_what_is_printed_are_its_answers() {
    let scratch = Scratch::new();
    script(&scratch.join("answers"), UP);
    fs::write(scratch.join("items"), "{\"fields\":{\"n\":1}}\n".repeat(20)).unwrap();
    let output = run(local(scratch.path()).args(["-i", "items", "./answers"]));
    done(&output, &"{\"fields\":{\"n\":2}}\n".repeat(20));
    nothing_stays(&scratch);
}

#[test]
fn a_variable_that_is_not_utf_8_is_left_out_and_named() {
    let scratch = folder("#!/bin/sh\necho \"$KEPT ${ODD-none}\"; cat >&3\n");
    let mut command = local(scratch.path());
    command.env("KEPT", "caf\u{e9}").env("ODD", OsStr::from_bytes(b"caf\xe9"));
    command.env(OsStr::from_bytes(b"caf\xe9"), "x");
    let output = run(command.args(["-i", "{\"fields\":{}}", "./work"]));
    done(&output, "{\"fields\":{}}\n");
    let err = output.err();
    assert!(
        err.contains("caf\u{e9} none\n") && err.contains("the variable ODD is not UTF-8"),
        "{err}"
    );
    nothing_stays(&scratch);
}

#[test]
fn items_of_a_file_are_all_done_and_the_exit_code_tells_whether_they_are() {
    let scratch = folder(UP);
    let items = scratch.join("items");
    // Some editors put a mark before the first.
    let text = "\u{feff}{\"fields\":{\"n\":1}}\n{\"fields\":{\"n\":1,\"x\":1.0}}\n";
    fs::write(&items, text).unwrap();
    let both = ["-i", "items", "./work"];
    let output = run(local(scratch.path()).args(both));
    done(&output, "{\"fields\":{\"n\":2}}\n{\"fields\":{\"n\":2,\"x\":1.0}}\n");
    fs::write(&items, "{\"fields\":{\"n\":1}}\n{\"fields\":{}}\n").unwrap();
    let output = run(local(scratch.path()).args(both));
    assert_eq!((output.code, &*output.out()), (Some(1), "{\"fields\":{\"n\":2}}\n"));
    let said = "item 2 failed: fault 12: field n is missing (exit 12)";
    assert!(output.err().contains(said), "{output:?}");
    fs::write(&items, "{\"fields\":{\"n\":1}}\n{\"fields\":oops}\n").unwrap();
    let output = run(local(scratch.path()).args(both));
    assert_eq!((output.code, &*output.out()), (Some(111), ""), "{output:?}");
    let said =
        "exo: fatal: items: the item that begins in line 2: expected value at line 2 column ";
    assert!(output.err().contains(said), "{output:?}");
    nothing_stays(&scratch);
}

/// Item 1 fails once, and is done when the processes of the others are gone, unless it is to hang.
const LAST: &str = "#!/bin/sh\nitem=$(cat)\ncase $item in\n\
    *'\"n\":1'*) [ $SKYNET_ATTEMPT = 1 ] && exit 1\n\
    for n in 2 3; do until [ -s $n ] && [ ! -e /proc/$(cat $n) ]; do sleep 0.01; done; done\n\
    >all; until [ ! -e hang ]; do sleep 0.01; done ;;\n\
    *'\"n\":2'*) echo $$ >2 ;;\n*'\"n\":3'*) echo $$ >3 ;;\nesac\nprintf %s \"$item\" >&3\n";

const ITEMS: &str = "{\"fields\":{\"n\":1}}\n{\"fields\":{\"n\":2}}\n{\"fields\":{\"n\":3}}\n";

/// Gives it the three.
fn three_items(scratch: &Scratch) -> Command {
    fs::write(scratch.join("exo.yaml"), "command: ./work\nretry: {first: 10ms, longest: 10ms}\n")
        .unwrap();
    fs::write(scratch.join("items"), ITEMS).unwrap();
    let mut command = local(scratch.path());
    command.args(["-i", "items", "-n", "3", "--tries", "2"]);
    command
}

#[test]
fn answers_come_in_the_order_of_the_items_whichever_ends_first() {
    let scratch = folder(LAST);
    done(&run(&mut three_items(&scratch)), ITEMS);
    nothing_stays(&scratch);
}

#[test]
fn what_is_done_behind_an_item_that_is_not_is_printed_at_an_early_end() {
    let scratch = folder(LAST);
    fs::write(scratch.join("hang"), "").unwrap();
    let mut command = three_items(&scratch);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    testkit::until(SOON, || scratch.join("all").exists());
    let pid = child.id().cast_signed();
    linux::signal::kill(pid, 2).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let behind = ITEMS.split_once('\n').unwrap().1;
    assert_eq!((output.status.code(), &*answers), (Some(1), behind));
    nothing_stays(&scratch);
}

#[test]
fn answers_that_cannot_be_written_are_trouble() {
    let scratch = folder(UP);
    fs::create_dir_all(scratch.join("etc")).unwrap();
    for output in [">/dev/full", ">&-"] {
        let mut command = Command::new("sh");
        let line = format!(r#"exec "$0" local -i '{{"fields":{{"n":1}}}}' ./work {output}"#);
        command.args(["-c", &line]).arg(program("exo")).current_dir(scratch.path());
        command.env("SKYNET_CONFIG", scratch.join("etc")).env("TMPDIR", scratch.path());
        let said = run(&mut command);
        assert_eq!(said.code, Some(111), "{output}: {said:?}");
        assert!(said.err().contains("exo: fatal: unable to write an answer: "), "{said:?}");
    }
    nothing_stays(&scratch);
}

#[test]
fn who_reads_no_more_answers_ends_it_in_good_order() {
    let go = "#!/bin/sh\n[ -e first ] && until [ -e go ]; do sleep 0.01; done\n>first; cat >&3\n";
    let scratch = folder(go);
    let items = ["-i", "{\"fields\":{\"n\":1}}", "-i", "{\"fields\":{\"n\":2}}", "./work"];
    let mut command = local(scratch.path());
    let mut child =
        command.args(items).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    answers.read_line(&mut String::new()).unwrap();
    drop(answers);
    fs::write(scratch.join("go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(111), "{err}");
    assert!(err.contains("exo: fatal: unable to write an answer: "), "{err}");
    nothing_stays(&scratch);
}

#[test]
fn told_to_end_it_says_how_long_that_takes_and_told_again_it_does_not_wait() {
    let stubborn = "#!/bin/sh\ntrap 'echo told >&2' TERM\necho $$ >pid\n\
        while :; do sleep 0.05; done\n";
    let scratch = folder(stubborn);
    let said = scratch.join("said");
    let mut command = local(scratch.path());
    command.args(["-i", "{\"fields\":{}}", "./work"]).stdout(Stdio::null());
    let mut child = command.stderr(File::create(&said).unwrap()).spawn().unwrap();
    let says = |text: &str| {
        let said = || fs::read_to_string(&said).unwrap_or_default();
        let soon = std::time::Duration::from_secs(SOON);
        assert!(holds_within(soon, || said().contains(text)), "{text}: {}", said());
    };
    testkit::until(SOON, || {
        fs::read_to_string(scratch.join("pid")).is_ok_and(|pid| pid.ends_with('\n'))
    });
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    says("exo: ends within 5s; Ctrl-C ends what is in hand at once");
    // It cannot come to an end now, and only its keeper can make one.
    let pid = fs::read_to_string(scratch.join("pid")).unwrap().trim().to_owned();
    linux::signal::kill(worker_of(&pid), 19).unwrap();
    linux::signal::kill(child.id().cast_signed(), 2).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = fs::read_to_string(&said).unwrap();
    assert!(!said.contains("the worker does not end") && !said.contains("fatal"), "{said}");
    assert!(!Path::new("/proc").join(&pid).exists());
    nothing_stays(&scratch);
}

#[test]
fn a_terminal_that_is_closed_ends_it_like_ctrl_c() {
    let scratch = folder("#!/bin/sh\necho $$ >pid\nexec sleep 1000\n");
    for more in [&[][..], &["--watch"]] {
        let _ = fs::remove_file(scratch.join("pid"));
        let mut command = local(scratch.path());
        command.args(more).args(["-i", "{\"fields\":{}}", "./work"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = || fs::read_to_string(scratch.join("pid")).unwrap_or_default();
        testkit::until(SOON, || pid().ends_with('\n'));
        linux::signal::kill(child.id().cast_signed(), 1).unwrap();
        let ended = child.wait().unwrap();
        assert!(ended.code().is_some(), "{more:?}: {ended}");
        assert!(!Path::new("/proc").join(pid().trim()).exists());
        nothing_stays(&scratch);
    }
}

/// Returns the other child of whoever started a participant.
fn worker_of(participant: &str) -> i32 {
    let status = fs::read_to_string(format!("/proc/{participant}/status")).unwrap();
    let keeper = status.lines().find_map(|line| line.strip_prefix("PPid:	")).unwrap();
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
    let other = children.split_whitespace().find(|pid| *pid != participant);
    other.unwrap().parse().unwrap()
}

#[test]
fn a_persistent_participant_is_tried_in_the_same_way() {
    let scratch = folder(&format!("{WORDS}{ECHO}"));
    let words = ["-m", "persistent", "-n", "2", "-i", "{\"fields\":{\"x\":1.0}}", "./work"];
    done(&run(local(scratch.path()).args(words)), "{\"fields\":{\"x\":1.0}}\n");
    nothing_stays(&scratch);
}

#[test]
fn a_persistent_participant_that_says_no_hello_is_told_with_a_hint_and_ends_the_trial() {
    let scratch = folder("#!/bin/sh\nexec sleep 1000\n");
    let own = "command: ./work\nmode: persistent\nstart-limit: 300ms\n";
    fs::write(scratch.join("exo.yaml"), own).unwrap();
    let output = run(local(scratch.path()).args(["-i", "{\"fields\":{}}"]));
    let why = "no hello within 300ms: killed; is mode: per-item meant?";
    let said = format!("exo: fatal: unable to start the participant: {why}\n");
    assert!(output.code == Some(111) && output.err().contains(&said), "{output:?}");
    nothing_stays(&scratch);
}

#[test]
fn a_directory_s_own_participant_has_its_configuration_and_standard_input_its_items() {
    let scratch =
        folder("#!/bin/sh\nprintf '%s %s' \"$SKYNET_SETTINGS\" \"$SKYNET_ATTEMPT\" >&2\n");
    fs::write(scratch.join("exo.yaml"), "command: ./work\nconfig: {one: 1.0}\n").unwrap();
    let mut command = local(scratch.path());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"fields\":{\"y\":[]}}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"fields\":{\"y\":[]}}\n", "{err}");
    assert!(output.status.success() && err.contains("{\"one\":1.0} 1"), "{err}");
}

#[test]
fn wrong_usage_and_trouble_have_codes_of_their_own() {
    let scratch = folder(UP);
    let of = |words: &[&str]| run(local(scratch.path()).args(words));
    assert_eq!(of(&["--mode", "never", "./work"]).code, Some(100));
    for words in [
        &["-n", "0"][..],
        &["-n", "1001"],
        &["--tries", "0"],
        &["--tries", "1000001"],
        &["--store", "store"],
        &["--store", "store", "-i", "{}"],
        &["--replay", "1", "-i", "{}"],
    ] {
        let output = of(&[words, &["./work"]].concat());
        assert_eq!(
            (output.code, output.out()),
            (Some(100), String::new()),
            "{words:?}: {output:?}"
        );
    }
    for words in [
        &["-i", "missing", "./work"][..],
        &["-i", "{\"fields\":7}", "./work"],
        &["-i", "{}", "./missing"],
        &["-i", "{\"fields\":{}}"],
    ] {
        let output = of(words);
        assert_eq!(output.code, Some(111), "{words:?}: {output:?}");
        assert!(output.err().starts_with("exo: fatal: ") || output.err().contains("exo: error"));
    }
    nothing_stays(&scratch);
}

#[test]
fn a_fault_below_ten_is_tried_again_where_that_is_asked_for() {
    let scratch = folder("#!/bin/sh\n[ $SKYNET_ATTEMPT = 2 ] || exit 1\n");
    fs::write(scratch.join("exo.yaml"), "command: ./work\nretry: {first: 10ms, longest: 10ms}\n")
        .unwrap();
    let of = |words: &[&str]| run(local(scratch.path()).args(words)).code;
    assert_eq!(of(&["-i", "{\"fields\":{}}"]), Some(1));
    assert_eq!(of(&["-i", "{\"fields\":{}}", "--tries", "2"]), Some(0));
}

/// Says how far it came with each attempt, and fails; with the third for good.
const STAGES: &str = r#"
while hear; do
    case $type in
    work)
        attempt=${line#*\"attempt\":}
        attempt=${attempt%%[,\}]*}
        say "{\"type\":\"stage\",\"id\":$id,\"stage\":\"after $attempt\"}"
        [ $attempt = 3 ] && code=12 || code=2
        say "{\"type\":\"fault\",\"id\":$id,\"code\":$code,\"text\":\"no\"}"
        ;;
    shutdown) exit 0 ;;
    esac
done
"#;

#[test]
fn a_recorded_attempt_is_replayed_with_its_item_and_stage_and_the_store_stays_as_it_is() {
    let site = Site::persistent(STAGES, "tries: 5\n");
    let exo = site.exo();
    site.submit("w", "{\"n\":1}");
    let (job, attempts) = site.stopped("w");
    let faults: Vec<_> = attempts.iter().map(|attempt| attempt.fault.unwrap()).collect();
    assert_eq!(
        (faults, job.stage.as_deref()),
        (vec![Fault(2), Fault(2), Fault(12)], Some("after 3"))
    );
    // Now it says what it was told.
    site.script("work", "#!/bin/sh\necho \"<$SKYNET_ATTEMPT $SKYNET_STAGE>\"; cat >&3\n");
    let (id, store) = (job.id.0.to_string(), site.join("store"));
    let store = store.to_str().unwrap();
    let item = host::item("w", "{\"n\":1}") + "\n";
    for (words, told) in [
        (&[&*format!("{id}/1")][..], "1 "),
        (&[&format!("{id}/2")], "2 after 1"),
        (&[&format!("{id}/3")], "3 after 2"),
        (&[&id], "3 after 2"),
        (&[&id, "--store", store], "3 after 2"),
        (&[&id, "--stage", "half", "--attempt", "7"], "7 half"),
    ] {
        let words = [&["local", "--mode", "per-item", "--replay"], words].concat();
        let output = run(&mut site.command(&words));
        done(&output, &item);
        assert!(output.err().contains(&format!(": <{told}>\n")), "{words:?}: {output:?}");
    }
    for (word, said) in
        [("4711", "has no job 4711"), (&format!("{id}/4"), "has no attempt 4 of job")]
    {
        let unknown = run(&mut site.command(&["local", "--replay", word]));
        assert_eq!(unknown.code, Some(111), "{unknown:?}");
        assert!(unknown.err().contains(said), "{unknown:?}");
    }
    for word in ["w", "1/", "1/x", "1/-2", "/1"] {
        let wrong = run(&mut site.command(&["local", "--replay", word]));
        assert_eq!(wrong.code, Some(100), "{word}: {wrong:?}");
    }
    assert_eq!(site.job("w").unwrap(), job);
    assert!(exo.end().success());
}

#[test]
fn an_item_of_any_size_is_tried_with_the_stage_that_is_said() {
    let stage = "#!/bin/sh\nprintf '{\"fields\":{\"stage\":\"%s\"}}' \"$SKYNET_STAGE\" >&3\n";
    let scratch = folder(stage);
    for size in [0, 100_000, 3 << 20] {
        let item = format!("{{\"fields\":{{\"x\":\"{}\"}}}}", "x".repeat(size));
        fs::write(scratch.join("item"), item).unwrap();
        let words = ["-i", "item", "-i", "item", "--stage", "half", "./work"];
        let answer = "{\"fields\":{\"stage\":\"half\"}}\n";
        done(&run(local(scratch.path()).args(words)), &answer.repeat(2));
    }
}

#[test]
fn a_terminal_gets_no_control_byte_of_a_participant_and_a_pipe_gets_them_all() {
    let scratch = folder("#!/bin/sh\nprintf 'a\\t\\033]0;b\\007\\n'\ncat >&3\n");
    let answer = "{\"fields\":{\"x\":\"\u{9b}1m\"}}";
    fs::write(scratch.join("item"), answer).unwrap();
    let words = ["local", "-i", "item", "./work"];
    let output = run(local(scratch.path()).args(&words[1..]));
    done(&output, &format!("{answer}\n"));
    assert!(output.err().contains("work_0 job-1/1: a\t\x1b]0;b\x07\n"), "{output:?}");
    let mut command = Command::new("script");
    let line = format!("{} {}", program("exo").display(), words.join(" "));
    command.args(["-qec", &line, "/dev/null"]).current_dir(scratch.path());
    command.env("SKYNET_CONFIG", scratch.join("etc")).env("SHELL", "/bin/sh");
    let output = run(&mut command);
    let out = output.out();
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(out.contains("work_0 job-1/1: a\t\\x1b]0;b\\x07\r\n"), "{out:?}");
    assert!(out.contains("{\"fields\":{\"x\":\"\\xc2\\x9b1m\"}}"), "{out:?}");
    assert!(!out.contains(['\x1b', '\u{9b}', '\x07']), "{out:?}");
}
