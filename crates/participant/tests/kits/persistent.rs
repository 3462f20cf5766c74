//! Persistent mode.

use crate::{EXITS, FORKS, conform, fork, kits, odd, plain, pythons};
use participant::protocol::{Flavour, ToParticipant};
use serde_json::{Value, json};
use testkit::exo::{Exo, Program};

fn greet(kit: &Program) -> Exo {
    Exo::greet(kit, r#"{"greeting":"hi"}"#)
}

/// Tells it to end, and sees it do so.
#[track_caller]
fn end_well(mut exo: Exo) -> String {
    exo.say(&ToParticipant::Shutdown);
    assert_eq!(exo.hear_line(), None);
    let ended = exo.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("stopped\n"), "{}", ended.log);
    ended.log
}

#[test]
fn the_answer_has_what_was_changed_and_keeps_the_rest() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(7, &odd("answer"));
        let line = exo.hear_line().expect("an answer");
        assert!(line.starts_with(r#"{"type":"result","id":7,"#), "{line}");
        for kept in [
            r"[-0,1.0,1.50,1E400,123456789012345678901234567890]",
            r#""é":"\ud800""#,
            r#""greeting":"hi","attempt":1,"unit":"MB","__result__":true"#,
        ] {
            assert!(line.contains(kept), "{kept} is not in {line}");
        }
        end_well(exo);
    }
}

#[test]
fn an_item_that_is_not_touched_goes_back_as_it_came() {
    for kit in kits() {
        let mut exo = greet(&kit);
        for id in 1..=100 {
            exo.work(id, &odd("nothing"));
            assert_eq!(exo.hear(), json!({"type":"result","id":id}));
        }
        let log = end_well(exo);
        assert!(log.starts_with("started\nw-1: nothing\n"), "{log}");
    }
}

#[test]
fn a_look_at_what_the_item_has_not_changes_nothing() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(1, r#"{"fields":{"do":"look"}}"#);
        assert_eq!(exo.hear(), json!({"type":"result","id":1}));
        end_well(exo);
    }
}

#[test]
fn a_participant_is_told_which_queue_is_the_engine_s() {
    for kit in kits() {
        for (told, engine) in [(r#""engine":"e-2","#, "e-2"), ("", "ruote_workitems")] {
            let mut exo = Exo::start(&kit);
            let start = r#"{"type":"start","protocol":1,"participant":"p","instance":"p_0","#;
            exo.say_bytes(format!("{start}{told}\"config\":{{}}}}\n").as_bytes());
            assert_eq!(exo.hear()["type"], json!("hello"));
            exo.work(1, &plain("engine"));
            assert_eq!(exo.hear()["item"]["fields"]["engine"], json!(engine));
            end_well(exo);
        }
    }
}

#[test]
fn nobody_is_answered_where_the_participant_says_so() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(1, &plain("forget"));
        let answer = exo.hear();
        assert_eq!((&answer["type"], &answer["forget"]), (&json!("result"), &json!(true)));
        end_well(exo);
    }
}

#[test]
fn nobody_is_answered_either_where_the_work_fails_after_that() {
    for kit in kits() {
        let mut exo = greet(&kit);
        for task in ["forget_and_fail", "forget_and_give_back", "forget_and_panic"] {
            exo.work(1, &plain(task));
            let fault = exo.hear();
            assert_eq!(fault["type"], json!("fault"), "{fault}");
            let fields = &fault["item"]["fields"];
            assert_eq!(fields["params"], json!({"unit":"MB","forget":true}), "{fault}");
            assert!(task != "forget_and_give_back" || fields["seen"] == true, "{fault}");
        }
        end_well(exo);
    }
}

#[test]
fn a_fault_tells_its_code_its_text_and_where() {
    for kit in kits() {
        let mut exo = greet(&kit);
        for (task, code, text) in
            [("retry", 3, "not now"), ("final", 12, "never"), ("error", 1, "invalid")]
        {
            exo.work(1, &plain(task));
            let fault = exo.hear();
            assert_eq!((&fault["type"], &fault["code"]), (&json!("fault"), &json!(code)));
            let said = fault["text"].as_str().expect("a text");
            assert!(said.contains(text), "{said}");
            let at = fault["trace"][0].as_str().expect("a trace");
            assert!(at.contains("conform.rs:") || at.contains("conform.py:"), "{at}");
            let seen = &fault["item"]["fields"]["seen"];
            assert_eq!(*seen == json!(true), task == "retry", "{fault}");
        }
        let log = end_well(exo);
        assert!(log.contains("never\n"), "{log}");
    }
}

#[test]
fn a_cancel_is_heard_while_the_work_runs() {
    for kit in kits() {
        let mut exo = greet(&kit);
        let progress = json!({"type":"progress","id":1,"done":0.25,"text":"waiting"});
        for flavour in [Flavour::Cancel, Flavour::Kill, Flavour::Timeout] {
            exo.work(1, &plain("wait"));
            assert_eq!(exo.hear(), progress);
            exo.say(&ToParticipant::Status { id: 1 });
            assert_eq!(exo.hear(), progress);
            exo.say(&ToParticipant::Cancel { id: 2, flavour });
            exo.say(&ToParticipant::Status { id: 2 });
            exo.say(&ToParticipant::Cancel { id: 1, flavour });
            assert_eq!(exo.hear(), json!({"type":"cancelled","id":1}));
        }
        let log = end_well(exo);
        for flavour in ["cancel", "kill", "timeout"] {
            assert!(log.contains(&format!("w-1: cancel {flavour}\n")), "{log}");
        }
    }
}

/// In Python the main thread listens, and another one while it is at work for long.
#[test]
fn a_cancel_is_heard_whoever_listened_before() {
    for kit in kits() {
        let mut exo = greet(&kit);
        for id in 1..40 {
            let is_long = id % 3 == 0;
            exo.work(id, &plain(if is_long { "wait" } else { "nothing" }));
            if is_long {
                exo.hear();
                exo.say(&ToParticipant::Cancel { id, flavour: Flavour::Cancel });
                assert_eq!(exo.hear(), json!({"type":"cancelled","id":id}));
            } else {
                assert_eq!(exo.hear(), json!({"type":"result","id":id}));
            }
        }
        end_well(exo);
    }
}

#[test]
fn a_hook_that_fails_keeps_nothing_from_being_heard() {
    for kit in kits() {
        let mut exo = greet(&kit);
        for id in 1..3 {
            exo.work(id, &plain("stumble"));
            let progress = exo.hear();
            exo.say(&ToParticipant::Status { id });
            assert_eq!(exo.hear(), progress);
            exo.say(&ToParticipant::Cancel { id, flavour: Flavour::Cancel });
            assert_eq!(exo.hear(), json!({"type":"cancelled","id":id}));
        }
        exo.work(3, r#"{"fields":{"do":"forward","queue":"q","n":1}}"#);
        exo.hear();
        exo.say(&ToParticipant::Sent { ticket: 1, job: Some(4711), refused: None });
        assert_eq!(exo.hear()["item"]["fields"]["job"], json!(4711));
        end_well(exo);
    }
}

/// In Rust a hook has nothing to forward by.
#[test]
fn a_further_item_may_be_sent_by_what_is_called_during_the_work() {
    for interpreter in pythons() {
        let mut exo = greet(&conform(interpreter));
        let send = |exo: &mut Exo, queue: &str| {
            let forward = exo.hear();
            assert_eq!((&forward["type"], &forward["queue"]), (&json!("forward"), &json!(queue)));
            let ticket = forward["ticket"].as_u64().expect("a ticket");
            exo.say(&ToParticipant::Sent { ticket, job: Some(1), refused: None });
        };
        for id in 1..3 {
            exo.work(id, &plain("forward_meanwhile"));
            let progress = exo.hear();
            exo.say(&ToParticipant::Status { id });
            send(&mut exo, "asked");
            assert_eq!(exo.hear(), progress);
            exo.say(&ToParticipant::Cancel { id, flavour: Flavour::Cancel });
            send(&mut exo, "cancelled");
            assert_eq!(exo.hear(), json!({"type":"cancelled","id":id}));
        }
        end_well(exo);

        // Where exo is gone no answer comes.
        let mut exo = greet(&conform(interpreter));
        exo.work(1, &plain("forward_meanwhile"));
        exo.hear();
        exo.say(&ToParticipant::Cancel { id: 1, flavour: Flavour::Cancel });
        assert_eq!(exo.hear()["queue"], json!("cancelled"));
        exo.close();
        let ended = exo.end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.contains("Refused: exo is gone\n"), "{}", ended.log);
    }
}

#[test]
fn a_process_that_is_forked_during_the_work_neither_speaks_nor_ends_the_conversation() {
    for interpreter in pythons() {
        let mut exo = greet(&conform(interpreter));
        for (how, code) in FORKS.into_iter().chain([("speak", 1)]) {
            exo.work(1, &fork(how));
            let fields = json!({"do":"fork","how":how,"code":code});
            assert_eq!(exo.hear(), json!({"type":"result","id":1,"item":{"fields":fields}}));
        }
        let log = end_well(exo);
        assert!(log.contains("RuntimeError: in the child\n"), "{log}");
        assert!(
            log.contains("Refused: exo does not speak with a process that was forked"),
            "{log}"
        );
        assert_eq!(log.matches("stopped\n").count(), 1, "{log}");
    }
}

#[test]
fn work_that_leaves_by_sys_exit_is_a_fault_and_the_participant_goes_on() {
    for interpreter in pythons() {
        let mut exo = greet(&conform(interpreter));
        for (code, fault, text) in EXITS {
            exo.work(1, &format!(r#"{{"fields":{{"do":"leave","code":{code}}}}}"#));
            let answer = exo.hear();
            let said = (&answer["type"], &answer["code"], &answer["text"]);
            assert_eq!(said, (&json!("fault"), &json!(fault), &json!(text)), "{answer}");
            assert_eq!(answer["item"]["fields"]["seen"], json!(true), "{answer}");
            let at = answer["trace"][0].as_str().unwrap_or_default();
            assert!(at.contains("conform.py:"), "{answer}");
        }
        end_well(exo);
    }
}

#[test]
fn an_answer_with_no_form_in_json_names_the_field_and_nothing_of_the_kit() {
    for interpreter in pythons() {
        let mut exo = greet(&conform(interpreter));
        for item in [r#"{"fields":{"do":"formless"}}"#, &odd("formless")] {
            exo.work(1, item);
            let fault = exo.hear();
            let text = json!("TypeError: fields.list.0.y: set has no form in JSON");
            assert_eq!((&fault["code"], &fault["text"]), (&json!(1), &text), "{fault}");
            assert!(fault["trace"].as_array().is_none_or(Vec::is_empty), "{fault}");
        }
        let log = end_well(exo);
        assert!(!log.contains("Traceback"), "{log}");
    }
}

#[test]
fn work_that_is_done_in_spite_of_a_cancel_is_answered() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(1, &plain("finish_late"));
        exo.hear();
        exo.say(&ToParticipant::Cancel { id: 1, flavour: Flavour::Timeout });
        let answer = exo.hear();
        assert_eq!(answer["item"]["fields"]["late"], json!("timeout"), "{answer}");
        end_well(exo);
    }
}

#[test]
fn the_stage_reached_is_handed_to_the_next_attempt() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(1, &plain("stage"));
        assert_eq!(exo.hear(), json!({"type":"stage","id":1,"stage":"pushed"}));
        assert_eq!(exo.hear_line(), None);
        assert_eq!(exo.end().code, Some(99));

        let mut exo = greet(&kit);
        exo.work_again(1, &plain("stage"), 2, Some("pushed"));
        assert_eq!(exo.hear()["item"]["fields"]["found"], json!("pushed"));
        end_well(exo);
    }
}

#[test]
fn a_further_item_is_sent_and_its_fate_told() {
    for kit in kits() {
        let mut exo = greet(&kit);
        let item = r#"{"fields":{"do":"forward","queue":"q","n":1.50}}"#;
        exo.work(1, item);
        let line = exo.hear_line().expect("a further item");
        assert!(line.contains(r#""queue":"q","item":{"fields":{"n":1.50}}"#), "{line}");
        // Another's ticket is nobody's.
        exo.say(&ToParticipant::Sent { ticket: 99, job: Some(1), refused: None });
        exo.say(&ToParticipant::Sent { ticket: 1, job: Some(4711), refused: None });
        assert_eq!(exo.hear()["item"]["fields"]["job"], json!(4711));

        // What RabbitMQ has is no job here, and safe all the same.
        exo.work(2, item);
        let ticket = exo.hear()["ticket"].as_u64().expect("a ticket");
        exo.say(&ToParticipant::Sent { ticket, job: None, refused: None });
        assert_eq!(exo.hear()["item"]["fields"]["job"], Value::Null);

        exo.work(3, item);
        let ticket = exo.hear()["ticket"].as_u64().expect("a ticket");
        exo.say(&ToParticipant::Sent { ticket, job: None, refused: Some("too long") });
        assert!(exo.hear()["item"]["fields"]["refused"].is_string());
        end_well(exo);
    }
}

#[test]
fn at_a_shutdown_the_item_in_hand_is_finished_first() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(1, &plain("finish_late"));
        exo.hear();
        exo.say(&ToParticipant::Shutdown);
        exo.say(&ToParticipant::Cancel { id: 1, flavour: Flavour::Cancel });
        assert_eq!(exo.hear()["item"]["fields"]["late"], json!("cancel"));
        assert_eq!(exo.hear_line(), None);
        assert_eq!(exo.end().code, Some(0));
    }
}

#[test]
fn about_to_die_stops_the_work() {
    for kit in kits() {
        let mut exo = greet(&kit);
        exo.work(1, &plain("wait"));
        exo.hear();
        exo.say(&ToParticipant::Shutdown);
        exo.say(&ToParticipant::AboutToDie { seconds: 5.0 });
        assert_eq!(exo.hear(), json!({"type":"cancelled","id":1}));
        assert_eq!(exo.end().code, Some(0));
    }
}

#[test]
fn the_end_of_what_exo_says_ends_it_busy_or_idle() {
    for kit in kits() {
        for task in [None, Some("wait"), Some("forward")] {
            let mut exo = greet(&kit);
            if let Some(task) = task {
                let item = plain(task).replace("\"params\"", "\"queue\":\"q\",\"n\":1,\"params\"");
                exo.work(1, &item);
                exo.hear();
            }
            exo.close();
            let ended = exo.end();
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            assert!(ended.log.contains("stopped\n"), "{}", ended.log);
        }
        let mut exo = Exo::start(&kit);
        exo.close();
        assert_eq!(exo.end().code, Some(0));
    }
}

#[test]
fn nonsense_from_exo_is_logged_and_passed_over() {
    for kit in kits() {
        let mut exo = greet(&kit);
        let nonsense: [&[u8]; 9] = [
            b"hello\n",
            b"\n",
            b"[1]\n",
            b"{\"type\":\"dance\"}\n",
            b"{\"type\":\"work\",\"id\":1}\n",
            b"{\"type\":\"work\",\"id\":\"x\",\"attempt\":1,\"item\":{}}\n",
            b"{\"type\":\"cancel\",\"id\":1}\n",
            b"\xff\xfe\0\n",
            b"{\"type\":\"work\"\n",
        ];
        for line in nonsense {
            exo.say_bytes(line);
        }
        exo.work(1, &plain("nothing"));
        assert_eq!(exo.hear(), json!({"type":"result","id":1}));
        let log = end_well(exo);
        assert_eq!(log.matches("warning: exo said what is not understood: ").count(), 9, "{log}");
        // Half a line is none.
        let mut exo = greet(&kit);
        exo.say_bytes(b"{\"type\":\"work\",\"id\":1,");
        exo.close();
        assert_eq!(exo.end().code, Some(0));
    }
}

#[test]
fn an_item_that_is_none_or_too_deep_is_answered_by_a_fault() {
    for kit in kits() {
        let mut exo = greet(&kit);
        let deep = plain("nothing")
            .replace("-0", &format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)));
        exo.work(1, &deep);
        let answer = exo.hear();
        // Some read it, some say that they cannot; all go on.
        let is_fine = answer["type"] == json!("result") || answer["code"] == json!(10);
        assert!(is_fine && answer["id"] == json!(1), "{answer}");
        exo.work(2, r#"{"fields":3}"#);
        assert_eq!(exo.hear()["type"], json!("fault"));
        exo.work(3, &plain("nothing"));
        assert_eq!(exo.hear(), json!({"type":"result","id":3}));
        end_well(exo);
    }
}

#[test]
fn a_participant_that_cannot_start_says_no_hello() {
    for kit in kits() {
        let mut exo = Exo::start(&kit);
        exo.say_start(r#"{"fail":true}"#);
        assert_eq!(exo.hear_line(), None);
        let ended = exo.end();
        assert_eq!(ended.code, Some(111), "{}", ended.log);
        assert!(ended.log.contains("told to fail\n"), "{}", ended.log);
    }
}

#[test]
fn a_newer_exo_is_answered_with_the_version_that_is_spoken() {
    for kit in kits() {
        let mut exo = Exo::start(&kit);
        exo.say_bytes(b"{\"type\":\"start\",\"protocol\":9,\"participant\":\"p\",\"instance\":\"p_0\",\"config\":{},\"new\":1}\n");
        assert_eq!(exo.hear(), json!({"type":"hello","protocol":1}));
        end_well(exo);
    }
}

#[test]
fn a_long_item_comes_through_whole() {
    for kit in kits() {
        let mut exo = greet(&kit);
        let long = "x".repeat(4 << 20);
        exo.work(
            1,
            &plain("answer").replace("\"params\"", &format!("\"long\":\"{long}\",\"params\"")),
        );
        assert_eq!(exo.hear()["item"]["fields"]["long"].as_str().map(str::len), Some(long.len()));
        end_well(exo);
    }
}
