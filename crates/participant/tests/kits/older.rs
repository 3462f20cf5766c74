//! Participants written for `RuoteAMQP` and `SkyNET`, as they are: `python/tests/older` has some in the
//! style of those that are about.

use crate::{FORKS, fork, here, odd, plain, python, pythons};
use participant::protocol::{Flavour, ToParticipant};
use serde_json::{Value, json};
use std::fs;
use testkit::Scratch;
use testkit::exo::{Exo, OneItem, Program};

/// Returns the programs that run one of the handlers, with each Python.
fn handlers(name: &str) -> Vec<Program> {
    let file = here().join("python/tests/older").join(name);
    let file = file.to_str().expect("UTF-8").to_owned();
    let site = here().join("python/tests/older/no-site").to_str().expect("UTF-8").to_owned();
    let of = |interpreter| python(interpreter, &["-m", "SkyNET", "--site", &site, &file]);
    pythons().iter().map(|interpreter| of(interpreter)).collect()
}

fn quirks(kit: &Program) -> Exo {
    Exo::greet(kit, r#"{"quirks":{"greeting":"hi"}}"#)
}

/// Tells it to end, and sees it do so.
#[track_caller]
fn end_well(mut exo: Exo) -> String {
    exo.say(&ToParticipant::Shutdown);
    assert_eq!(exo.hear_line(), None);
    let ended = exo.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.log
}

/// Waits for words in its log.
#[track_caller]
fn until_said(exo: &Exo, words: &str) {
    let limit = std::time::Duration::from_secs(30);
    let is_said = || exo.log().contains(words);
    assert!(testkit::wait::holds_within(limit, is_said), "{words}: {}", exo.log());
}

/// Answers a further item, which must be for the engine; returns it.
#[track_caller]
fn to_engine(exo: &mut Exo) -> Value {
    let forward = exo.hear();
    assert_eq!(
        (&forward["type"], &forward["queue"]),
        (&json!("forward"), &json!("ruote_workitems")),
        "{forward}"
    );
    let ticket = forward["ticket"].as_u64().expect("a ticket");
    exo.say(&ToParticipant::Sent { ticket, job: Some(1), refused: None });
    forward["item"].clone()
}

#[test]
fn a_handler_sees_an_item_as_it_always_did_and_the_rest_comes_back_unchanged() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(7, &odd("answer"));
        let line = exo.hear_line().expect("an answer");
        assert!(line.starts_with(r#"{"type":"result","id":7,"#), "{line}");
        for part in [
            r"[-0,1.0,1.50,1E400,123456789012345678901234567890]",
            r#""é":"\ud800""#,
            r#""greeting":"hi","site":null,"unit":"MB","absent":null"#,
            r#""ev":{"actions":[{"type":"submit"}]},"is_true":true"#,
            r#""proxies":[{"actions":[{"type":"submit"}]}],"a":{"b":{"c":"submit"}}"#,
            r#""wid":"w-1""#,
            r#""types":["dict","dict"],"__result__":true"#,
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        exo.work(8, r#"{"fields":{"do":"delete","x":1}}"#);
        assert_eq!(exo.hear()["item"], json!({"fields":{"x":1,"items":[1,2],"__result__":"yes"}}));
        exo.work(9, r#"{"fields":{"do":"nothing","x":1.50}}"#);
        assert_eq!(exo.hear(), json!({"type":"result","id":9}));
        // Whatever a handler keeps by thread is as new for each item.
        for id in 10..13 {
            exo.work(id, r#"{"fields":{"do":"database"}}"#);
            assert_eq!(exo.hear()["item"]["fields"]["one"], json!(1));
        }
        let log = end_well(exo);
        let heard: Vec<&str> = log.lines().filter(|line| line.starts_with("lifecycle ")).collect();
        assert_eq!(heard, ["lifecycle start", "lifecycle stop"]);
    }
}

#[test]
fn an_exception_is_a_final_fault_with_the_text_and_the_trace_that_an_engine_expects() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        for (task, text) in [
            ("file", "FileNotFoundError(2): /nonexistent/file No such file or directory"),
            ("oserror", "OSError(28): No space left on device"),
            ("http", "HTTPError: 404 http://localhost/x"),
            ("msg", "OscError: the server is away"),
            ("plain", "RuntimeError: Missing mandatory field 'ev.actions'"),
            ("exit", "RuntimeError: SystemExit: 5"),
            ("bytes", "TypeError: fields.out: bytes has no form in JSON"),
            ("unheard_of", "AttributeError: 'ParticipantHandler' object has no attribute"),
        ] {
            exo.work(1, &plain(task));
            let fault = exo.hear();
            assert_eq!((&fault["type"], &fault["code"]), (&json!("fault"), &json!(10)), "{fault}");
            let said = fault["text"].as_str().expect("a text");
            assert!(said.starts_with(text), "{said}");
            let first = fault["trace"][0].as_str().unwrap_or_default();
            assert_eq!(task == "bytes", first.is_empty(), "{fault}");
            assert!(task == "bytes" || first.contains("quirks.py:"), "{fault}");
            assert!(task == "bytes" || first.contains(": in `handle_wi getattr("), "{fault}");
            let seen = &fault["item"]["fields"]["seen"];
            assert_eq!(*seen == json!(true), task == "plain", "{fault}");
        }
        let log = end_well(exo);
        assert!(log.contains("Traceback (most recent call last):"), "{log}");
        assert!(!log.contains("host.py"), "{log}");
    }
}

#[test]
fn an_error_that_is_put_into_the_item_is_a_fault_and_goes_back_as_it_was_set() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(1, &plain("set_error"));
        let fault = exo.hear();
        assert_eq!((&fault["code"], &fault["text"]), (&json!(10), &json!("not like this")));
        assert_eq!(fault["trace"], json!(["a:1: in `b c'"]));
        let set = json!({"class":"My::Err","message":"not like this","trace":["a:1: in `b c'"],"extra":1});
        assert_eq!(fault["item"]["error"], set);
        exo.work(2, &plain("set_text"));
        let fault = exo.hear();
        assert_eq!(
            (&fault["text"], &fault["item"]["error"]),
            (&json!("only a text"), &json!("only a text"))
        );
        // Of what is raised behind it the engine is told.
        exo.work(6, &plain("set_and_raise"));
        let fault = exo.hear();
        assert_eq!(fault["text"], json!("RuntimeError: raised"), "{fault}");
        assert!(fault["item"].get("error").is_none(), "{fault}");
        // An engine, which is Ruby, takes it for an error.
        exo.work(4, &plain("set_empty"));
        assert_eq!(exo.hear()["text"], json!("the item has an error without a text: {}"));
        // One that came with it is the sender's.
        let item = plain("nothing").replace("{\"fei\"", "{\"error\":\"old\",\"fei\"");
        exo.work(3, &item);
        assert_eq!(exo.hear(), json!({"type":"result","id":3}));
        // Changed in its place it is the handler's.
        let came = "{\"error\":{\"message\":\"old\"},\"fei\"";
        exo.work(5, &plain("change_error").replace("{\"fei\"", came));
        assert_eq!(exo.hear()["text"], json!("another"));
        let log = end_well(exo);
        // What was put into the item has no trace but its own; what was raised has.
        assert!(!log.contains("host.py") && !log.contains("ProcessError"), "{log}");
        assert_eq!(log.matches("Traceback").count(), 1, "{log}");
    }
}

#[test]
fn a_child_that_a_handler_forks_neither_speaks_nor_ends_the_conversation() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        for (how, code) in FORKS {
            exo.work(1, &fork(how));
            let fields = json!({"do":"fork","how":how,"code":code});
            assert_eq!(exo.hear(), json!({"type":"result","id":1,"item":{"fields":fields}}));
        }
        let log = end_well(exo);
        assert_eq!(log.matches("lifecycle stop\n").count(), 1, "{log}");
    }
}

#[test]
fn whoever_knows_better_says_which_fault_an_exception_is() {
    for mut kit in handlers("quirks.py") {
        kit.command.splice(
            kit.command.len() - 1..,
            ["--fault".to_owned(), "2".to_owned(), kit.command.last().expect("a file").clone()],
        );
        let mut exo = quirks(&kit);
        exo.work(1, &plain("plain"));
        assert_eq!(exo.hear()["code"], json!(2));
        end_well(exo);
    }
}

#[test]
fn a_handler_may_say_that_an_item_is_to_be_tried_again() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(1, &plain("later"));
        let fault = exo.hear();
        assert_eq!((&fault["code"], &fault["text"]), (&json!(3), &json!("not now")), "{fault}");
        end_well(exo);
    }
}

#[test]
fn a_process_for_one_item_works_in_its_main_thread_and_a_signal_is_a_cancel() {
    const TERM: i32 = 15;
    let variables =
        [("SKYNET_SETTINGS", r#"{"quirks":{"greeting":"hi"}}"#), ("SKYNET_ATTEMPT", "1")];
    for kit in handlers("quirks.py") {
        let ended = OneItem::start(&kit, odd("answer").as_bytes(), &variables).end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.answer.contains(r#""types":["dict","dict"]"#), "{}", ended.answer);
        assert!(ended.log.ends_with("lifecycle start\nlifecycle stop\n"), "{}", ended.log);

        let ended = OneItem::start(&kit, odd("plain").as_bytes(), &variables).end();
        assert_eq!(ended.code, Some(10), "{}", ended.log);
        let text = "RuntimeError: Missing mandatory field 'ev.actions'\n";
        assert!(ended.log.ends_with(text), "{}", ended.log);

        let item = OneItem::start(&kit, odd("wait").as_bytes(), &variables);
        item.signal_at("waiting\n", TERM);
        let ended = item.end();
        assert_eq!((ended.signal, &*ended.answer), (Some(TERM), ""), "{}", ended.log);
        assert!(ended.log.contains("INFO: control cancel\n"), "{}", ended.log);
    }
}

#[test]
fn nobody_is_answered_for_an_item_that_is_kept() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(1, &plain("forget"));
        let answer = exo.hear();
        assert_eq!((&answer["type"], &answer["forget"]), (&json!("result"), &json!(true)));
        exo.work(2, &plain("forget_and_fail"));
        let fault = exo.hear();
        assert_eq!(fault["item"]["fields"]["params"]["forget"], json!(true), "{fault}");
        end_well(exo);
    }
}

#[test]
fn a_cancel_reaches_the_main_thread_while_a_handler_works() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        for (id, flavour) in [(1, Flavour::Cancel), (2, Flavour::Kill), (3, Flavour::Timeout)] {
            exo.work(id, &plain("wait"));
            exo.say(&ToParticipant::Status { id });
            assert_eq!(exo.hear(), json!({"type":"progress","id":id}));
            exo.say(&ToParticipant::Cancel { id, flavour });
            assert_eq!(exo.hear(), json!({"type":"cancelled","id":id}));
        }
        exo.work(4, &plain("finish_late"));
        exo.say(&ToParticipant::Cancel { id: 3, flavour: Flavour::Cancel });
        exo.say(&ToParticipant::Cancel { id: 4, flavour: Flavour::Cancel });
        assert_eq!(exo.hear()["item"]["fields"]["late"], json!(true));
        let log = end_well(exo);
        assert_eq!(log.matches("double INFO: control cancel\n").count(), 4, "{log}");
        for said in [
            "wait, flavour None",
            "wait, flavour kill",
            "wait, flavour timeout",
            "finish_late, flavour None",
        ] {
            assert_eq!(log.matches(&format!("double INFO: of {said}\n")).count(), 1, "{log}");
        }
        assert!(!log.contains("AssertionError"), "{log}");
    }
}

#[test]
fn a_handler_that_is_about_to_die_is_told_that_and_of_no_cancel() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(1, &plain("wait"));
        until_said(&exo, "waiting\n");
        exo.say(&ToParticipant::Shutdown);
        exo.say(&ToParticipant::AboutToDie { seconds: 5.0 });
        assert_eq!(exo.hear(), json!({"type":"cancelled","id":1}));
        let ended = exo.end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let heard: Vec<&str> = ended.log.lines().filter(|line| line.starts_with("life")).collect();
        assert_eq!(heard, ["lifecycle start", "lifecycle die", "lifecycle stop"]);
        assert!(!ended.log.contains("control cancel"), "{}", ended.log);
    }
}

#[test]
fn at_a_shutdown_a_handler_finishes_what_it_has_and_still_hears_of_a_cancel() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(1, &plain("finish_late"));
        until_said(&exo, "waiting\n");
        exo.say(&ToParticipant::Shutdown);
        exo.say(&ToParticipant::Cancel { id: 1, flavour: Flavour::Timeout });
        assert_eq!(exo.hear()["item"]["fields"]["late"], json!(true));
        assert_eq!(exo.hear_line(), None);
        let ended = exo.end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.ends_with("lifecycle stop\n"), "{}", ended.log);
    }
}

#[test]
fn when_exo_is_gone_it_ends_whatever_the_handler_does() {
    for kit in handlers("quirks.py") {
        for task in ["stay", "wait"] {
            let mut exo = quirks(&kit);
            exo.work(1, &plain(task));
            until_said(&exo, "waiting\n");
            exo.close();
            let ended = exo.end();
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            assert!(ended.log.contains("lifecycle die\n"), "{}", ended.log);
            assert!(ended.log.contains("lifecycle stop\n"), "{}", ended.log);
        }
    }
}

#[test]
fn a_handler_that_cannot_start_says_no_hello() {
    for kit in handlers("quirks.py") {
        for (config, why) in [
            (
                r#"{"quirks":{"greeting":"hi","fail":"told to fail"}}"#,
                "RuntimeError: told to fail\n",
            ),
            (r"{}", "NoSectionError: No section: 'quirks'\n"),
        ] {
            let mut exo = Exo::start(&kit);
            exo.say_start(config);
            assert_eq!(exo.hear_line(), None);
            let ended = exo.end();
            assert_eq!(ended.code, Some(111), "{}", ended.log);
            assert!(ended.log.contains(why), "{}", ended.log);
        }
    }
}

#[test]
fn where_no_thread_can_be_had_the_item_is_tried_again_later() {
    for kit in handlers("quirks.py") {
        let mut exo = Exo::greet(&kit, r#"{"quirks":{"greeting":"hi","threads":"none"}}"#);
        for id in [1, 2] {
            exo.work(id, &plain("nothing"));
            let fault = exo.hear();
            assert_eq!((&fault["id"], &fault["code"]), (&json!(id), &json!(2)), "{fault}");
            let text = "unable to start work: can't start new thread";
            assert_eq!(fault["text"], json!(text), "{fault}");
        }
        end_well(exo);
    }
}

#[test]
fn an_interpreter_that_dies_gives_no_answer() {
    for kit in handlers("quirks.py") {
        let mut exo = quirks(&kit);
        exo.work(1, &plain("crash"));
        assert_eq!(exo.hear_line(), None);
        assert_eq!(exo.end().code, Some(99));
    }
}

#[test]
fn a_lock_is_handed_on_by_an_item_that_was_kept() {
    for kit in handlers("lock.py") {
        let folder = Scratch::new();
        let config = json!({"lock": {"folder": folder.path()}}).to_string();
        let mut exo = Exo::greet(&kit, &config);
        let item = |wfid: &str, action: &str| {
            json!({"fei": {"wfid": wfid, "expid": "0_1"}, "n": 1.0, "fields": {"params":
                {"action": action, "lock_project": "p"}}})
            .to_string()
        };
        exo.work(1, &item("first", "get"));
        assert_eq!(exo.hear()["forget"], Value::Null);
        exo.work(2, &item("second", "get"));
        assert_eq!(exo.hear()["forget"], json!(true));
        exo.work(3, &item("first", "release"));
        let released = to_engine(&mut exo);
        assert_eq!((&released["fei"]["wfid"], &released["n"]), (&json!("second"), &json!(1.0)));
        assert_eq!(released["fields"]["__result__"], json!(true));
        assert_eq!(exo.hear()["item"]["fields"]["__result__"], json!(true));
        exo.work(4, &item("second", "release"));
        assert_eq!(exo.hear()["item"]["fields"]["msg"], json!([]));
        exo.work(5, &item("third", ""));
        let fault = exo.hear();
        assert_eq!(fault["text"], json!("RuntimeError: Missing parameter"));
        assert_eq!(
            fault["item"]["fields"]["__error__"],
            json!("Required parameter action missing")
        );
        assert_eq!(fs::read_dir(folder.join("p")).expect("a folder").count(), 0);
        end_well(exo);
    }
}

#[test]
fn what_a_handler_launches_goes_to_the_queue_that_exo_names() {
    for kit in handlers("image.py") {
        let mut exo = Exo::start(&kit);
        let start = r#"{"type":"start","protocol":1,"participant":"p","instance":"p_0","#;
        exo.say_bytes(
            format!("{start}\"engine\":\"e-2\",\"config\":{{\"image\":{{\"opts\":\"-a\"}}}}}}\n")
                .as_bytes(),
        );
        assert_eq!(exo.hear()["type"], json!("hello"));
        exo.work(1, r#"{"fields":{"name":"core","arch":"i586","params":{}}}"#);
        for _ in ["BUILDING", "DONE"] {
            let forward = exo.hear();
            assert_eq!(forward["queue"], json!("e-2"), "{forward}");
            let ticket = forward["ticket"].as_u64().expect("a ticket");
            exo.say(&ToParticipant::Sent { ticket, job: Some(1), refused: None });
        }
        assert_eq!(exo.hear()["type"], json!("result"));
        end_well(exo);
    }
}

#[test]
fn a_handler_launches_processes_as_it_goes() {
    for kit in handlers("image.py") {
        let mut exo = Exo::greet(&kit, r#"{"image":{"opts":"-a -b"}}"#);
        exo.work(1, r#"{"fields":{"name":"core","arch":"i586","params":{}}}"#);
        for status in ["BUILDING", "DONE"] {
            let launch = to_engine(&mut exo);
            let definition = launch["definition"].as_str().expect("a text");
            assert!(definition.contains(&format!(":status => '{status}'")), "{definition}");
            assert_eq!(launch["fields"]["priority"], json!("high"));
            assert_eq!(launch["fields"]["image"]["prefix"], json!("requests"));
            assert_eq!(launch["variables"], Value::Null);
        }
        let fields = exo.hear()["item"]["fields"].clone();
        assert_eq!(fields["image"]["extra_opts"], json!(["-a", "-b"]));
        assert_eq!(fields["msg"], json!(["Image core built for arch i586"]));
        exo.work(2, r#"{"fields":{"image":{"name":"core","arch":null}}}"#);
        assert_eq!(exo.hear()["text"], json!("RuntimeError: Missing mandatory fields: arch"));
        // What cannot be sent is an exception like any other.
        exo.work(3, r#"{"fields":{"image":{"name":"core","arch":"arm"}}}"#);
        let ticket = exo.hear()["ticket"].as_u64().expect("a ticket");
        exo.say(&ToParticipant::Sent { ticket, job: None, refused: Some("the disk is full") });
        assert_eq!(exo.hear()["text"], json!("Refused: the disk is full"));
        end_well(exo);
    }
}

#[test]
fn a_class_with_consume_runs_until_it_has_had_enough() {
    for interpreter in pythons() {
        let file = here().join("python/tests/older/consumer.py");
        let mut exo =
            Exo::greet(&python(interpreter, &[file.to_str().expect("UTF-8")]), r#"{"x":{}}"#);
        exo.work(1, r#"{"fields":{}}"#);
        assert_eq!(exo.hear()["item"], json!({"fields":{"count":1,"__result__":true}}));
        exo.work(2, r#"{"fields":{"other":{"fei":{"wfid":"o"},"fields":{}}}}"#);
        assert_eq!(to_engine(&mut exo), json!({"fei":{"wfid":"o"},"fields":{}}));
        assert_eq!(exo.hear()["item"]["fields"]["count"], json!(2));
        exo.work(3, r#"{"fields":{}}"#);
        assert_eq!(exo.hear()["item"]["fields"]["count"], json!(3));
        assert_eq!(exo.hear_line(), None);
        let ended = exo.end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.ends_with("ran to its end\n"), "{}", ended.log);
        assert!(ended.log.contains("WARNING: counter: not registered"), "{}", ended.log);
        assert!(!ended.log.contains("secret"), "{}", ended.log);
    }
}
