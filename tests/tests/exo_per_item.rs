//! Participants that are one process for each item, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{DONE, Site, item};
use machine::work::Fault;
use std::fs;

/// Returns the answer to the only attempt at an item by this script.
#[track_caller]
fn answer(work: &str, fields: &str) -> Option<String> {
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    let attempt = site.work("w", fields);
    assert_eq!(attempt.fault, Some(Fault::NONE), "{attempt:?}");
    attempt.output.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn the_item_is_on_0_byte_for_byte_and_the_answer_on_3() {
    let odd =
        r#"{"one":1.0,"large":1E400,"big":123456789012345678901234567890,"é":"\u0041","x":-0}"#;
    let site = Site::per_item("#!/bin/sh\ncat >seen\n", "");
    let seen = site.open_folder("seen");
    site.script("work", &format!("#!/bin/sh\ntee {}/item | sed s/-0/-1/ >&3\n", seen.display()));
    let _exo = site.exo();
    let attempt = site.work("w", odd);
    assert_eq!(fs::read_to_string(seen.join("item")).unwrap(), item("w", odd));
    let wanted = item("w", &odd.replace("-0", "-1"));
    assert_eq!(String::from_utf8(attempt.output.unwrap()).unwrap(), wanted);
}

/// As the pipes are another user's, who the participant is not, that is no matter of course.
#[test]
fn what_it_has_can_be_opened_by_name() {
    let work = "#!/bin/sh\nset -e\necho to 1 >/dev/stdout\necho to 2 >>/dev/stderr\n\
                cat /dev/stdin | sed s/1.0/2.0/ >/proc/self/fd/3\n";
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    let attempt = site.work("w", "{\"x\":1.0}");
    assert_eq!(attempt.fault, Some(Fault::NONE), "{}", site.log());
    let answer = attempt.output.map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(answer, Some(item("w", "{\"x\":2.0}")));
    site.until(|| ["to 1\n", "to 2\n"].iter().all(|line| site.log().contains(line)));
}

#[test]
fn without_an_answer_the_item_is_done_as_it_came() {
    assert_eq!(answer(DONE, "{\"x\":1.0}"), None);
}

#[test]
fn an_answer_that_is_the_item_is_kept_once() {
    assert_eq!(answer("#!/bin/sh\ncat >&3\n", "{\"x\":1.0}"), None);
}

/// Makes its output larger than pipes are, fills it once it may, and is dead before anybody reads it.
const LEAVES_MUCH: &str = "#!/usr/bin/python3
import fcntl, os, time
F_SETPIPE_SZ = 1031
if os.environ['SKYNET_WFID'] == 'much':
    size = fcntl.fcntl(1, F_SETPIPE_SZ, 1 << 20)
    while not os.path.exists('go'):
        time.sleep(0.01)
    os.write(1, b'\\n' * size)
";

#[test]
fn of_what_a_dead_process_left_4_mib_are_kept_and_of_more_a_warning_tells() {
    let site = Site::per_item(LEAVES_MUCH, "");
    let exo = site.exo();
    site.submit("much", "{}");
    site.until(|| site.job("much").is_some() && !exo.participants().is_empty());
    let participant = exo.participants()[0];
    linux::signal::kill(exo.worker(), linux::signal::numbers::SIGSTOP).unwrap();
    fs::write(site.join("p/go"), "").unwrap();
    site.until(|| !exo.participants().contains(&participant));
    assert!(!site.log().contains("p_0 much/1: "), "the worker stood still");
    linux::signal::kill(exo.worker(), linux::signal::numbers::SIGCONT).unwrap();
    assert_eq!(site.stopped("much").1[0].fault, Some(Fault::NONE));
    site.until(|| site.log().contains("p_0 much/1: left more output than is kept"));
    let kept = site.log().matches("p_0 much/1: \n").count() * "p_0 much/1: \n".len();
    // What was read last becomes whole lines.
    assert!((3 << 20..5 << 20).contains(&kept), "{kept} bytes");
    assert_eq!(site.work("next", "{}").fault, Some(Fault::NONE));
    assert!(!site.log().contains("p_0 next/1: left more"));
}

#[test]
fn exit_codes_from_1_to_9_are_tried_again_and_from_10_on_never() {
    let work = "#!/bin/sh\ncode=$(sed 's/.*\"code\":\\([0-9]*\\).*/\\1/')\n\
                echo \"bad with $code\" >&2\nexit \"$code\"\n";
    let site = Site::per_item(work, "instances: 4\n");
    let exo = site.exo();
    let codes = [1, 5, 9, 10, 99, 128, 255];
    for code in codes {
        site.submit(&format!("w{code}"), &format!("{{\"code\":{code}}}"));
    }
    for code in codes {
        let (job, attempts) = site.stopped(&format!("w{code}"));
        let (tries, fault) = if code < 10 { (3, Fault::EXHAUSTED) } else { (1, Fault(code)) };
        assert_eq!((attempts.len(), job.subject.fault), (tries, fault), "{code}");
        for attempt in &attempts {
            assert_eq!(attempt.fault, Some(Fault(code)));
            assert_eq!((attempt.code, attempt.signal), (Some(i32::from(code)), None));
            let text = attempt.text.as_deref().unwrap();
            assert_eq!(text, format!("bad with {code} (exit {code})"));
            assert_eq!(
                attempt.signature.as_deref(),
                Some(&*format!("exit {code}: bad with # (exit #)"))
            );
        }
    }
    assert!(exo.end().success());
}

#[test]
fn an_item_that_failed_rests_before_it_is_tried_again() {
    let site = Site::new("command: ./work\n");
    let own = "command: ./work\nretry: {first: 1500ms, longest: 2s}\ntries: 2\n";
    fs::write(site.join("p/exo.yaml"), own).unwrap();
    site.script("work", "#!/bin/sh\nexit 1\n");
    let _exo = site.exo();
    site.submit("w", "{}");
    let (_, attempts) = site.stopped("w");
    let rest = attempts[1].begun.0 - attempts[0].ended.unwrap().0;
    // Between half of it and all of it, drawn for each item.
    assert!(rest >= 750_000, "{rest} us");
}

#[test]
fn a_signal_is_a_crash_with_its_number() {
    let site = Site::per_item("#!/bin/sh\necho last words\nkill -SEGV $$\n", "tries: 1\n");
    let _exo = site.exo();
    let attempt = site.work("w", "{}");
    assert_eq!(
        (attempt.fault, attempt.signal, attempt.code),
        (Some(Fault::CRASHED), Some(11), None)
    );
    assert_eq!(attempt.text.as_deref(), Some("last words (signal 11)"));
}

#[test]
fn an_answer_that_cannot_be_sent_is_a_failure_that_says_why() {
    let site = Site::per_item("#!/bin/sh\n", "tries: 1\nitem-limit: 1KiB\n");
    let other = item("other", "{}");
    let elsewhere = item("w3", "{}").replace("0_1", "0_2");
    let rows = [
        ("w0", "echo nonsense >&3".to_owned(), "an object is expected"),
        ("w1", "echo '{\"fields\":{}}' >&3".to_owned(), "its fei is missing"),
        ("w2", format!("echo '{other}' >&3"), "it is of another item: 0_1!s! of other"),
        ("w3", format!("echo '{elsewhere}' >&3"), "it is of another item: 0_2!s! of w3"),
        ("w4", "head -c 5000000 /dev/zero >&3".to_owned(), "has 1025 bytes; 1024 are allowed"),
        ("w5", "echo '{\"fields\":{}' >&3".to_owned(), "EOF"),
        ("w6", "printf '{\"x\":\"\\377\",\"fields\":{}}' >&3".to_owned(), "utf-8"),
    ];
    let cases: Vec<_> = rows.iter().map(|(wfid, run, _)| format!("{wfid}) {run} ;;\n")).collect();
    let cases = cases.concat();
    site.script("work", &format!("#!/bin/sh\ncase $SKYNET_WFID in\n{cases}esac\n"));
    let _exo = site.exo();
    for (wfid, _, why) in rows {
        let attempt = site.work(wfid, "{}");
        let text = attempt.text.unwrap();
        assert!(text.starts_with("the answer cannot be sent: ") && text.contains(why), "{text}");
        // Another fei is what the participant makes of it, each time.
        let fault =
            if why.contains("fei") || why.contains("another") { Fault(10) } else { Fault::CRASHED };
        assert_eq!((attempt.fault, attempt.code), (Some(fault), Some(0)), "{wfid}");
        assert_eq!(attempt.signature.unwrap().split(':').next(), Some("answer"));
    }
}

#[test]
fn what_a_failed_item_says_goes_back_with_it() {
    let changed = item("w", "{\"half\":1.0}");
    let work = format!("#!/bin/sh\necho '{changed}' >&3\necho no room\nexit 12\n");
    let site = Site::per_item(&work, "");
    let _exo = site.exo();
    let output = String::from_utf8(site.work("w", "{}").output.unwrap()).unwrap();
    assert!(output.contains("{\"half\":1.0}"), "{output}");
    let error =
        "\"error\":{\"class\":\"Ruote::Amqp::RemoteError\",\"message\":\"no room (exit 12)\"";
    assert!(output.contains(error), "{output}");
}

#[test]
fn an_answer_that_is_an_error_is_a_failure_and_goes_back_as_it_was_written() {
    let own = r#""error":{"class":"Gone","message":"no size 17","trace":["a.sh:3","b.sh:9"]}}"#;
    let rows = [
        (own, "Gone: no size 17", "a.sh:#: b.sh:#: Gone: no size #"),
        (r#""error":"no size 17"}"#, "no size 17", "no size #"),
        // Ruby takes these for errors, and null and false for none.
        (r#""error":""}"#, "the answer has an error without a text: \"\"", ""),
        (r#""error":{}}"#, "the answer has an error without a text: {}", ""),
        (r#""error":[]}"#, "the answer has an error without a text: []", ""),
        (r#""error":0}"#, "the answer has an error without a text: 0", ""),
        (r#""error":null}"#, "", ""),
        (r#""error":false}"#, "", ""),
    ];
    let answer = |at: usize| {
        let item = item(&format!("w{at}"), "{\"one\":1.0}");
        format!("{},{}", item.strip_suffix('}').unwrap(), rows[at].0)
    };
    let cases: Vec<String> =
        (0..rows.len()).map(|at| format!("w{at}) printf '%s' '{}' >&3 ;;\n", answer(at))).collect();
    let work = format!("#!/bin/sh\ncase $SKYNET_WFID in\n{}esac\n", cases.concat());
    let site = Site::per_item(&work, "");
    let _exo = site.exo();
    for (at, (_, text, signature)) in rows.iter().enumerate() {
        let attempt = site.work(&format!("w{at}"), "{}");
        let fault = if text.is_empty() { Fault::NONE } else { Fault(10) };
        assert_eq!((attempt.fault, attempt.code), (Some(fault), Some(0)), "{attempt:?}");
        assert_eq!(attempt.text.as_deref().unwrap_or_default(), *text);
        let class = attempt.signature.unwrap_or_default();
        assert!(signature.is_empty() || class == *signature, "{class}");
        let output = String::from_utf8(attempt.output.unwrap()).unwrap();
        if rows[at].0.contains("{}") {
            let classed = r#""error":{"class":"Ruote::Amqp::RemoteError"}"#;
            assert!(output.contains(classed), "an object gets a class: {output}");
        } else {
            assert_eq!(output, answer(at));
        }
    }
}

#[test]
fn an_error_that_came_with_an_item_is_no_failure_of_whoever_gives_it_back() {
    let work = "#!/bin/sh\nsed 's/\"x\":1/\"x\":2/; s/\"error\":{/\"error\": { /' >&3\n";
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    for (wfid, x) in [("same", 3), ("changed", 1)] {
        let item = item(wfid, &format!("{{\"x\":{x}}}"));
        let error = r#","error":{"class":"Old","message":"before"}}"#;
        let item = format!("{}{error}", item.strip_suffix('}').unwrap());
        site.drop_into("p", item.as_bytes());
        let (job, attempts) = site.stopped(wfid);
        assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1), "{attempts:?}");
    }
}

#[test]
fn the_environment_says_which_item_and_which_attempt_it_is() {
    let site =
        Site::per_item("#!/bin/sh\n", "tries: 2\nconfig: {one: 1.0, big: 12345678901234567890}\n");
    let seen = site.open_folder("seen");
    let work = format!("#!/bin/sh\nenv | sort >{}/$SKYNET_ATTEMPT\nexit 1\n", seen.display());
    site.script("work", &work);
    let _exo = site.exo();
    site.submit("20261122-abc", "{}");
    let _ = site.stopped("20261122-abc");
    for attempt in ["1", "2"] {
        let lines = host::lines(&seen.join(attempt));
        let ours: Vec<&String> = lines.iter().filter(|l| l.starts_with("SKYNET_")).collect();
        let number = format!("SKYNET_ATTEMPT={attempt}");
        let wanted = [
            &number,
            "SKYNET_ENGINE=ruote_workitems",
            "SKYNET_INSTANCE=p_0",
            "SKYNET_PARTICIPANT=p",
            "SKYNET_SETTINGS={\"big\":12345678901234567890,\"one\":1.0}",
            "SKYNET_WFID=20261122-abc",
        ];
        assert_eq!(ours, wanted);
    }
}

#[test]
fn code_that_changes_is_what_the_next_item_gets() {
    let site = Site::per_item("#!/bin/sh\nexit 11\n", "");
    let _exo = site.exo();
    assert_eq!(site.work("a", "{}").fault, Some(Fault(11)));
    site.script("work", "#!/bin/sh\nexit 12\n");
    assert_eq!(site.work("b", "{}").fault, Some(Fault(12)));
    fs::remove_file(site.join("p/work")).unwrap();
    site.submit("c", "{}");
    site.until(|| site.log().contains("unable to start p_0"));
    let why = site.instance()["start_failure"].as_str().unwrap().to_owned();
    assert!(why.contains("file does not exist"), "{why}");
    site.script("work", DONE);
    let (job, attempts) = site.stopped("c");
    let counted = attempts.iter().filter(|a| a.how.as_deref() != Some("interrupted")).count();
    assert_eq!((job.subject.fault, counted), (Fault::NONE, 1), "{attempts:?}");
}

#[test]
fn what_the_history_says_of_an_attempt_is_what_happened() {
    let work = "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do i=$((i + 1)); done\n\
                exec perl -e '$x = \"x\" x 30000000; print STDOUT \"large\\n\"; exit 13'\n";
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    let attempt = site.work("w", "{}");
    assert_eq!((attempt.number, &*attempt.instance), (1, "p_0"));
    assert!(attempt.cpu_us.unwrap() > 1000, "{attempt:?}");
    assert!((29_000..200_000).contains(&attempt.peak_kib.unwrap()), "{attempt:?}");
    assert!(attempt.begun <= attempt.ended.unwrap() && attempt.how.as_deref() == Some("ended"));
    // The stamp that multilog puts before a line of that second: TAI is ahead by ten.
    let label = attempt.log.unwrap();
    let seconds = i64::from_str_radix(&label[9..17], 16).unwrap() - 10;
    let begun = attempt.begun.0 / 1_000_000;
    assert!(
        label.starts_with("@40000000") && (begun - 1..=begun + 1).contains(&seconds),
        "{label}"
    );
}

#[test]
fn an_item_can_ask_for_a_line_about_it_and_for_all_of_it_in_the_log() {
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    site.work("plain", "{\"project\":\"devel\"}");
    site.work(
        "traced",
        "{\"debug_trace\":\"True\",\"project\":\"devel\",\"params\":{\"unit\":\"MB\"}}",
    );
    site.work("dumped", "{\"params\":{\"debug_dump\":true},\"b\":1.0,\"a\":[]}");
    site.until(|| site.log().contains("p_0 dumped/1: }"));
    let log = site.log();
    let of = |wfid: &str| -> Vec<String> {
        let tag = format!("p_0 {wfid}/1: ");
        log.lines().filter_map(|line| line.strip_prefix(&tag)).map(str::to_owned).collect()
    };
    assert!(of("plain").is_empty());
    let summary = "work item project=\"devel\" participant=p unit=\"MB\"";
    assert_eq!(of("traced"), [summary]);
    let dump = of("dumped");
    assert_eq!((&*dump[0], &*dump[dump.len() - 1]), ("{", "}"));
    assert!(
        dump.contains(&"        \"b\": 1.0,".to_owned())
            || dump.contains(&"        \"b\": 1.0".to_owned()),
        "{dump:?}"
    );
}

#[test]
fn output_is_split_into_lines_with_instance_item_and_attempt() {
    let work = "#!/bin/sh\necho out\necho err >&2\nprintf 'no end'\n";
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    site.work("w", "{}");
    for line in ["p_0 w/1: out\n", "p_0 w/1: err\n", "p_0 w/1: no end\n"] {
        site.until(|| site.log().contains(line));
    }
}
