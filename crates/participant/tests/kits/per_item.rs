//! Per-item mode.

use crate::{EXITS, FORKS, conform, fork, kits, odd, pythons};
use testkit::exo::{Ended, OneItem, Program};

fn work(kit: &Program, item: &str, variables: &[(&str, &str)]) -> Ended {
    OneItem::start(kit, item.as_bytes(), variables).end()
}

#[test]
fn the_same_program_answers_on_descriptor_3() {
    for kit in kits() {
        let variables = [("SKYNET_SETTINGS", r#"{"greeting":"hi"}"#), ("SKYNET_ATTEMPT", "2")];
        let ended = work(&kit, &odd("answer"), &variables);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        for kept in [
            r"[-0,1.0,1.50,1E400,123456789012345678901234567890]",
            r#""greeting":"hi","attempt":2,"unit":"MB","__result__":true"#,
        ] {
            assert!(ended.answer.contains(kept), "{kept} is not in {}", ended.answer);
        }
        assert_eq!(ended.log, "started\nw-1: answer\nstopped\n");
    }
}

#[test]
fn the_engine_s_queue_is_named_by_the_environment() {
    for kit in kits() {
        for (engine, variables) in
            [("e-2", &[("SKYNET_ENGINE", "e-2")][..]), ("ruote_workitems", &[])]
        {
            let ended = work(&kit, &odd("engine"), variables);
            let said = format!("\"engine\":\"{engine}\"");
            assert!(ended.answer.contains(&said), "{ended:?}");
        }
    }
}

#[test]
fn a_process_that_is_forked_during_the_work_writes_no_answer() {
    for interpreter in pythons() {
        for (how, code) in FORKS {
            let ended = work(&conform(interpreter), &fork(how), &[]);
            let answer = format!(r#"{{"fields":{{"do":"fork","how":"{how}","code":{code}}}}}"#);
            assert_eq!((ended.code, &ended.answer), (Some(0), &answer), "{}", ended.log);
            assert_eq!(ended.log.matches("stopped\n").count(), 1, "{}", ended.log);
        }
    }
}

#[test]
fn work_that_leaves_by_sys_exit_does_not_pass_for_success() {
    for interpreter in pythons() {
        for (code, fault, text) in EXITS {
            let item = format!(r#"{{"fields":{{"do":"leave","code":{code}}}}}"#);
            let ended = work(&conform(interpreter), &item, &[]);
            assert_eq!(ended.code, Some(fault), "{}", ended.log);
            assert!(ended.answer.contains(r#""seen":true"#), "{ended:?}");
            assert_eq!(ended.log.lines().last(), Some(text), "{}", ended.log);
            assert!(ended.log.contains("stopped\n"), "{}", ended.log);
        }
    }
}

#[test]
fn an_answer_with_no_form_in_json_names_the_field() {
    for interpreter in pythons() {
        let ended = work(&conform(interpreter), &odd("formless"), &[]);
        assert_eq!((ended.code, &*ended.answer), (Some(1), ""), "{}", ended.log);
        let text = "TypeError: fields.list.0.y: set has no form in JSON\n";
        assert_eq!(ended.log, format!("started\nw-1: formless\nstopped\n{text}"));
    }
}

#[test]
fn nothing_is_written_where_nothing_was_changed() {
    for kit in kits() {
        let ended = work(&kit, &odd("nothing"), &[]);
        assert_eq!((ended.code, &*ended.answer), (Some(0), ""), "{}", ended.log);
    }
}

#[test]
fn nothing_is_written_where_what_the_item_has_not_was_looked_at() {
    for kit in kits() {
        let ended = work(&kit, r#"{"fields":{"do":"look"}}"#, &[]);
        assert_eq!((ended.code, &*ended.answer), (Some(0), ""), "{}", ended.log);
    }
}

#[test]
fn that_nobody_is_answered_stands_in_the_item() {
    for kit in kits() {
        let ended = work(&kit, &odd("forget"), &[]);
        assert!(ended.answer.contains(r#""params":{"unit":"MB","forget":true}"#), "{ended:?}");
    }
}

#[test]
fn that_nobody_is_answered_stands_in_the_item_of_a_fault_too() {
    for kit in kits() {
        for (task, code) in
            [("forget_and_fail", 10), ("forget_and_give_back", 10), ("forget_and_panic", 1)]
        {
            let ended = work(&kit, &odd(task), &[]);
            assert_eq!(ended.code, Some(code), "{}", ended.log);
            assert!(ended.answer.contains(r#""params":{"unit":"MB","forget":true}"#), "{ended:?}");
        }
    }
}

#[test]
fn the_exit_code_is_that_of_the_fault_and_the_last_line_its_text() {
    for kit in kits() {
        for (task, code, text) in
            [("retry", 3, "not now"), ("final", 12, "never"), ("error", 1, "invalid")]
        {
            let ended = work(&kit, &odd(task), &[]);
            assert_eq!(ended.code, Some(code), "{}", ended.log);
            let last = ended.log.lines().last().unwrap_or_default();
            assert!(last.contains(text), "{last}");
            assert_eq!(ended.answer.contains(r#""seen":true"#), task == "retry", "{ended:?}");
        }
    }
}

#[test]
fn what_only_a_conversation_can_do_is_a_final_fault() {
    for kit in kits() {
        let item = r#"{"fields":{"do":"forward","queue":"q","n":1}}"#;
        let ended = work(&kit, item, &[]);
        assert_eq!(ended.code, Some(10), "{}", ended.log);
    }
}

#[test]
fn a_stage_comes_by_the_environment() {
    for kit in kits() {
        let ended = work(&kit, &odd("stage"), &[("SKYNET_STAGE", "pushed")]);
        assert!(ended.answer.contains(r#""found":"pushed""#), "{ended:?}");
    }
}

#[test]
fn term_ends_the_work() {
    const TERM: i32 = 15;
    for kit in kits() {
        let item = OneItem::start(&kit, odd("wait").as_bytes(), &[]);
        item.signal_at("progress: 0.25 waiting\n", TERM);
        let ended = item.end();
        assert_eq!((ended.signal, &*ended.answer), (Some(TERM), ""), "{}", ended.log);
    }
}

#[test]
fn what_is_no_item_is_a_final_fault() {
    for kit in kits() {
        for item in ["", "hello", "[]", "{", "{} {}", "\u{0}"] {
            let ended = work(&kit, item, &[]);
            assert_eq!(ended.code, Some(10), "{item:?}: {}", ended.log);
        }
        let bytes = OneItem::start(&kit, b"{\"fields\":{\"do\":\"\xff\"}}", &[]).end();
        assert_eq!(bytes.code, Some(10), "{}", bytes.log);
    }
}

#[test]
fn by_hand_a_participant_may_be_called_by_any_name() {
    let mut kit = kits().remove(0);
    let run = "exec -a \"$(printf 'caf\\351')\" \"$@\" 1>&3 3>&-";
    kit.command.splice(0..0, ["/bin/bash", "-c", run, "bash"].map(str::to_owned));
    kit.environment.push(("SKYNET_PARTICIPANT".to_owned(), String::new()));
    let ended = work(&kit, &odd("answer"), &[]);
    assert!(ended.answer.ends_with("\"__result__\":true}}\n"), "{ended:?}");
}

#[test]
fn by_hand_the_answer_goes_to_standard_output() {
    for mut kit in kits() {
        // Nothing in the environment tells of exo, and descriptor 1 is where the answer is kept.
        kit.command
            .splice(0..0, ["/bin/sh", "-c", "exec \"$@\" 1>&3 3>&-", "sh"].map(str::to_owned));
        kit.environment.push(("SKYNET_PARTICIPANT".to_owned(), String::new()));
        let ended = work(&kit, &odd("answer"), &[]);
        assert!(ended.answer.ends_with("\"__result__\":true}}\n"), "{ended:?}");
        assert_eq!(ended.log, "started\nw-1: answer\nstopped\n");
        assert_eq!(work(&kit, &odd("final"), &[]).code, Some(12));
    }
}
