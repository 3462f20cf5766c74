use super::*;
use crate::engine::message;
use crate::engine::process::{Outcome, Visit};
use crate::engine::process_file;
use crate::engine::tree::{Expr, Object};
use participant::protocol::Flavour;
use std::collections::HashSet;
use work::wire;

const NOW: Now = Now { micros: 1_795_474_469_123_456, seed: 7 };

fn begin(yaml: &str) -> Engine {
    begin_with(yaml, "{}").0
}

fn begin_with(yaml: &str, fields: &str) -> (Engine, Changed) {
    let process = process_file::read(yaml.as_bytes()).unwrap();
    let mut all = process.fields;
    all.extend(serde_json::from_str::<Object>(fields).unwrap());
    begin_tree(process.tree, all)
}

fn begin_tree(tree: Expr, fields: Object) -> (Engine, Changed) {
    let mut engine = Engine::default();
    let message = Message::Launch { tree, fields, wfid: Some("w".into()) };
    let changed = engine.step(Event::Told { key: "k".into(), came: Came::Named, message }, NOW);
    (engine, changed)
}

fn it(engine: &Engine) -> &Process {
    &engine.processes["w"]
}

/// An item that was handed out: queue, name, text.
type Handed = (String, Fei, String);

/// Returns items that were handed out, and cancels, so far.
fn sent(engine: &Engine) -> (Vec<Handed>, Vec<(Fei, Flavour)>) {
    let (mut items, mut cancels) = (Vec::new(), Vec::new());
    for (_, action) in &it(engine).outbox {
        match action {
            Action::Dispatch { queue, item, fei } => {
                items.push((queue.clone(), fei.clone(), item.get().to_owned()));
            }
            Action::Cancel { fei, flavour, .. } => cancels.push((fei.clone(), *flavour)),
        }
    }
    (items, cancels)
}

/// Returns the fei of each step that waits for an answer.
fn open(engine: &Engine) -> Vec<Fei> {
    let running: Vec<&Visit> = it(engine).running().collect();
    let (items, _) = sent(engine);
    let last = |visit: &&Visit| {
        let found = items.iter().rev().find(|(_, fei, _)| fei.expid == visit.expid);
        found.map(|(_, fei, _)| fei.clone()).expect("a step that waits was handed out")
    };
    running.iter().map(last).collect()
}

fn reply(engine: &mut Engine, fei: &Fei, fields: &str) -> Changed {
    let fields = serde_json::from_str(fields).unwrap();
    let message = Message::Reply { fei: fei.clone(), fields };
    engine.step(Event::Told { key: String::new(), came: Came::Named, message }, NOW)
}

fn fail(engine: &mut Engine, fei: &Fei) -> Changed {
    let error = Wrong { class: "C".into(), message: "it broke".into(), trace: vec!["t".into()] };
    let message = Message::Error { fei: fei.clone(), fields: Object::new(), error };
    engine.step(Event::Told { key: String::new(), came: Came::Named, message }, NOW)
}

fn cancel(engine: &mut Engine, expid: Option<&str>, flavour: Flavour) -> Changed {
    let message = Message::Cancel { wfid: "w".into(), expid: expid.map(str::to_owned), flavour };
    engine.step(Event::Told { key: String::new(), came: Came::Named, message }, NOW)
}

fn outcomes(engine: &Engine) -> Vec<(&str, Outcome)> {
    it(engine).path.iter().map(|visit| (visit.expid.as_str(), visit.outcome)).collect()
}

#[test]
fn no_process_has_the_name_by_which_the_registry_is_kept() {
    let mut engine = begin("process: p\nsteps:\n- do: a\n");
    let tree = it(&engine).clone();
    for wfid in ["registry", "../w", ""] {
        let launch =
            r#"{"definition":["define",{"name":"x"},[["a",{},[]]]],"fields":{},"wfid":"W"}"#;
        let message = message::read(launch.replace('W', wfid).as_bytes()).unwrap();
        assert!(matches!(message, Message::Launch { wfid: Some(_), .. }), "{message:?}");
        let told = Event::Told { key: wfid.to_owned(), came: Came::Named, message };
        let ignored = engine.step(told, NOW).ignored.unwrap_or_default();
        assert!(ignored.starts_with(&format!("the name of a process, {wfid:?}, ")), "{ignored}");
    }
    assert_eq!(engine.processes.keys().collect::<Vec<_>>(), [&tree.wfid]);
}

#[test]
fn an_item_has_its_parameters_filled_in_and_the_result_of_the_step_before_is_gone() {
    let yaml = "process: p\nrevision: '2'\nsteps:\n- do: a\n  with: {n: '${n}', t: 'is ${o.x}', k: 1.0}\n- do: b\n";
    let (mut engine, changed) =
        begin_with(yaml, r#"{"n":12345678901234567890123,"o":{"x":[1]},"__result__":7}"#);
    assert_eq!(changed, Changed { process: Some("w".into()), ..Changed::default() });
    let (items, _) = sent(&engine);
    let [(queue, fei, item)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((&**queue, &*fei.expid, &*fei.wfid), ("a", "0_0_0", "w"));
    let params = r#""params":{"k":1.0,"n":12345678901234567890123,"ref":"a","t":"is [1]"}"#;
    assert!(item.contains(params) && !item.contains("__result__"), "{item}");
    assert!(item.contains(r#""dispatched_at":"2026-11-23 22:54:29.123456 UTC""#), "{item}");
    assert!(item.contains(r#""wf_name":"p""#) && item.contains(r#""wf_revision":"2""#), "{item}");
    let fei = fei.clone();
    reply(&mut engine, &fei, r#"{"only":1,"__result__":true}"#);
    assert_eq!(it(&engine).path[0].result.as_ref().unwrap().get(), "true");
    let (items, _) = sent(&engine);
    assert!(items[1].2.contains(r#""only":1"#) && !items[1].2.contains("\"n\""), "{items:?}");
}

#[test]
fn conditions_choose_the_steps_and_a_process_ends_with_what_the_last_one_answered() {
    let yaml = "process: p\nsteps:\n- do: a\n- do: b\n  if: ${__result__} == true\n- do: c\n  unless: ${__result__}\n- do: d\n  if: 3 < ${n}\n";
    let mut engine = begin(yaml);
    let first = open(&engine)[0].clone();
    reply(&mut engine, &first, r#"{"__result__":false,"n":4}"#);
    let second = open(&engine)[0].clone();
    assert_eq!(second.expid, "0_0_2");
    reply(&mut engine, &second, r#"{"n":3}"#);
    let wanted = [
        ("0_0_0", Outcome::Done),
        ("0_0_1", Outcome::Skipped),
        ("0_0_2", Outcome::Done),
        ("0_0_3", Outcome::Skipped),
    ];
    assert_eq!(outcomes(&engine), wanted);
    let process = it(&engine);
    assert_eq!((process.state, process.ended), (State::Done, Some(NOW.micros)));
    assert_eq!(process.fields["n"].get(), "3");
}

#[test]
fn an_error_stops_the_process_and_takes_back_what_others_work_on() {
    let yaml = "process: p\nsteps:\n- concurrence: [do: a, do: b]\n- do: c\n";
    let mut engine = begin(yaml);
    let [a, b] = &open(&engine)[..] else { panic!() };
    fail(&mut engine, a);
    let process = it(&engine);
    let (expid, error) = process.error.as_ref().unwrap();
    assert_eq!((process.state, &**expid, &*error.message), (State::Failed, "0_0_0_0", "it broke"));
    assert_eq!(sent(&engine).1, [(b.clone(), Flavour::Cancel)]);
    assert_eq!(outcomes(&engine), [("0_0_0_0", Outcome::Error), ("0_0_0_1", Outcome::Cancelled)]);
    // Too late.
    assert!(reply(&mut engine, b, "{}").ignored.unwrap().contains("nobody waits"));
}

#[test]
fn who_sees_to_an_error_gets_it_and_the_process_goes_on_behind_the_place() {
    for (on_error, path) in [
        ("mourner", vec!["a", "mourner", "b"]),
        ("pass", vec!["a", "b"]),
        ("redo", vec!["a", "a", "b"]),
    ] {
        let yaml = format!("process: p\nsteps:\n- do: a\n  on-error: {on_error}\n- do: b\n");
        let mut engine = begin(&yaml);
        let first = open(&engine)[0].clone();
        fail(&mut engine, &first);
        let error = r#""__error__":{"at":"2026-11-23 22:54:29.123456 UTC","class":"C","fei":{"expid":"0_0_0","wfid":"w"},"message":"it broke","trace":["t"]}"#;
        let told = sent(&engine).0.last().unwrap().2.contains(error);
        assert_eq!(told, on_error != "redo", "{on_error}");
        while let Some(fei) = open(&engine).first().cloned() {
            reply(&mut engine, &fei, "{}");
        }
        let names: Vec<_> = it(&engine).path.iter().map(|visit| visit.name.as_str()).collect();
        assert_eq!((it(&engine).state, names), (State::Done, path), "{on_error}");
    }
}

#[test]
fn who_sees_to_errors_of_all_does_not_see_to_its_own() {
    let yaml = "process: p\non-error: mourner\nsteps:\n- do: a\n- do: b\n";
    let mut engine = begin(yaml);
    let first = open(&engine)[0].clone();
    fail(&mut engine, &first);
    let second = open(&engine)[0].clone();
    assert_eq!((&*second.expid, &*it(&engine).path[1].name), ("0", "mourner"));
    let mut well = engine.clone();
    reply(&mut well, &second, "{}");
    assert_eq!(it(&well).state, State::Done);
    fail(&mut engine, &second);
    assert_eq!(it(&engine).state, State::Failed);
    // One that cannot even be handed out.
    let mut engine = begin("process: p\non-error: a b\nsteps: [do: a]\n");
    let first = open(&engine)[0].clone();
    fail(&mut engine, &first);
    let error = &it(&engine).error.as_ref().unwrap().1.message;
    assert!(error.contains("no pattern fits"), "{error}");
}

#[test]
fn the_first_branch_to_answer_decides_what_comes_out_of_a_concurrence() {
    let mut engine = begin("process: p\nsteps:\n- concurrence: [do: a, do: b, do: c]\n- do: d\n");
    let [a, b, c] = &open(&engine)[..] else { panic!() };
    for (fei, fields) in [(b, "{\"by\":\"b\"}"), (c, "{\"by\":\"c\"}"), (a, "{\"by\":\"a\"}")] {
        assert_eq!(it(&engine).path.len(), 3);
        reply(&mut engine, fei, fields);
    }
    let item = sent(&engine).0.pop().unwrap();
    assert!(item.0 == "d" && item.2.contains("\"by\":\"b\""), "{item:?}");
}

#[test]
fn nobody_waits_for_what_is_forgotten_and_what_is_kept_comes_back_whenever_it_does() {
    let mut engine = begin("process: p\nsteps:\n- do: a\n  forget: true\n- do: lock\n- do: b\n");
    let (items, _) = sent(&engine);
    assert!(items[0].2.contains("\"forget\":true"));
    assert_eq!(outcomes(&engine), [("0_0_0", Outcome::Forgotten), ("0_0_1", Outcome::Running)]);
    let forgotten = items[0].1.clone();
    assert!(reply(&mut engine, &forgotten, "{}").ignored.is_some());
    let lock = open(&engine)[0].clone();
    reply(&mut engine, &lock, "{\"__result__\":\"held\"}");
    assert_eq!(open(&engine)[0].expid, "0_0_2");
    assert!(reply(&mut engine, &lock, "{}").ignored.is_some());
}

#[test]
fn what_counts_as_forget_is_what_exo_takes_for_it() {
    for (forget, wanted) in [
        ("\"false\"", Outcome::Forgotten),
        ("\"True\"", Outcome::Forgotten),
        ("1", Outcome::Forgotten),
        ("0", Outcome::Running),
        ("[]", Outcome::Running),
        ("\"\"", Outcome::Running),
        ("false", Outcome::Running),
    ] {
        let tree = format!(r#"["define",{{}},[["a",{{"forget":{forget}}},[]]]]"#);
        let (engine, _) = begin_tree(Expr::read(&tree).unwrap(), Object::new());
        assert_eq!(outcomes(&engine), [("0_0", wanted)], "{forget}");
        let item = sent(&engine).0[0].2.clone();
        let is_forgotten = exo::flags::flags(item.as_bytes()).forget;
        assert_eq!(is_forgotten, wanted == Outcome::Forgotten, "{forget}");
    }
}

#[test]
fn a_cancel_ends_the_process_or_lets_it_go_on_behind_one_place() {
    for flavour in [Flavour::Cancel, Flavour::Kill, Flavour::Timeout] {
        let mut engine = begin("process: p\nsteps: [do: a, do: b]\n");
        let a = open(&engine)[0].clone();
        let mut one = engine.clone();
        assert!(cancel(&mut engine, None, flavour).ignored.is_none());
        assert_eq!(
            (it(&engine).state, sent(&engine).1),
            (State::Cancelled, vec![(a.clone(), flavour)])
        );
        assert!(cancel(&mut engine, None, flavour).ignored.is_some());
        cancel(&mut one, Some("0_0_0"), flavour);
        assert_eq!(sent(&one).1, [(a.clone(), flavour)]);
        assert_eq!(outcomes(&one), [("0_0_0", Outcome::Cancelled), ("0_0_1", Outcome::Running)]);
        let is_told = sent(&one).0[1].2.contains("__timed_out__");
        assert_eq!(is_told, flavour == Flavour::Timeout);
        assert!(cancel(&mut one, Some("0_0_7"), flavour).ignored.is_some());
        assert!(reply(&mut one, &a, "{}").ignored.is_some());
    }
}

#[test]
fn a_launch_that_comes_twice_begins_once_and_names_are_taken_once() {
    let (mut engine, _) = begin_with("process: p\nsteps: [do: a]\n", "{}");
    let launch = |key: &str, wfid: Option<&str>| {
        let process = process_file::read(b"process: p\nsteps: [do: a]\n").unwrap();
        let wfid = wfid.map(str::to_owned);
        let message = Message::Launch { tree: process.tree, fields: process.fields, wfid };
        Event::Told { key: key.to_owned(), came: Came::Named, message }
    };
    let why = |changed: Changed| changed.ignored.unwrap_or_default();
    assert!(why(engine.step(launch("k", None), NOW)).contains("launched w before"));
    assert!(why(engine.step(launch("l", Some("w")), NOW)).contains("there is a process w"));
    assert!(why(engine.step(launch("m", Some("../w")), NOW)).contains("the name of a process"));
    let named = engine.step(launch("n", None), NOW).process.unwrap();
    assert!(named.starts_with("20261123-2254-") && named.len() == 31, "{named}");
    assert_eq!(engine.processes.len(), 2);
}

#[test]
fn a_message_that_cannot_have_come_before_begins_a_process_though_another_was_the_same() {
    let mut engine = Engine::default();
    let mut now = NOW;
    let mut launch = |engine: &mut Engine, key: &str, connection: u64, again: bool| {
        let process = process_file::read(b"process: p\nsteps: [do: a]\n").unwrap();
        let message = Message::Launch { tree: process.tree, fields: process.fields, wfid: None };
        (now.seed, now.micros) = (now.seed + 1, now.micros + 1);
        let came = Came::By { connection, again };
        engine.step(Event::Told { key: key.to_owned(), came, message }, now).process.is_some()
    };
    // One came before, and what is the same now did not.
    assert!(launch(&mut engine, "k", 1, false));
    let mut begun = |engine: &mut Engine, connection, again: &[bool]| -> Vec<bool> {
        again.iter().map(|again| launch(engine, "k", connection, *again)).collect()
    };
    assert_eq!(begun(&mut engine, 2, &[true, true, false, true]), [false, true, true, true]);
    // All four may come once more, and by each connection.
    for connection in [3, 4] {
        assert_eq!(begun(&mut engine, connection, &[true; 4]), [false; 4]);
    }
    let mut restarted = Engine { unsure: Unsure::default(), ..engine };
    assert_eq!(begun(&mut restarted, 1, &[true; 5]), [false, false, false, false, true]);
    // What was launched so long ago is known to have come.
    for other in 0..AHEAD {
        launch(&mut restarted, &other.to_string(), 1, false);
    }
    assert!(launch(&mut restarted, "k", 2, true));
}

#[test]
fn registration_is_a_process_and_changes_where_steps_go() {
    let mut engine = Engine::default();
    let tell = |engine: &mut Engine, key: &str, bytes: &[u8]| {
        let message = message::read(bytes).unwrap();
        engine.step(Event::Told { key: key.into(), came: Came::Named, message }, NOW)
    };
    let mut now = NOW;
    let changed = tell(&mut engine, "1", &wire::register("built_.*", "built"));
    assert!(changed.registry && changed.process.is_some());
    now.seed += 1;
    let tree = process_file::read(b"process: p\nsteps: [do: built_x]\n").unwrap();
    let message =
        Message::Launch { tree: tree.tree, fields: Object::new(), wfid: Some("w".into()) };
    engine.step(Event::Told { key: "2".into(), came: Came::Named, message }, now);
    let (items, _) = sent(&engine);
    assert!(items[0].0 == "built" && items[0].2.contains("\"participant_name\":\"built_x\""));
    now.seed += 1;
    let message = message::read(&wire::unregister("built_.*", "built")).unwrap();
    let changed = engine.step(Event::Told { key: "3".into(), came: Came::Named, message }, now);
    assert!(changed.registry && engine.registry.entries.is_empty());
    now.seed += 1;
    let message = message::read(&wire::unregister("built_.*", "built")).unwrap();
    let changed = engine.step(Event::Told { key: "4".into(), came: Came::Named, message }, now);
    let failed = &engine.processes[&changed.process.unwrap()];
    assert_eq!((changed.registry, failed.state), (false, State::Failed));
}

#[test]
fn what_cannot_be_handed_out_fails_the_step() {
    let mut engine = begin("process: p\nsteps:\n- do: a\n  on-error: pass\n- do: b\n");
    let number = it(&engine).outbox[0].0;
    let why = "it is too large".to_owned();
    engine.step(Event::Refused { wfid: "w".into(), number, why }, NOW);
    assert_eq!(it(&engine).path[0].error.as_ref().unwrap().message, "it is too large");
    assert_eq!(outcomes(&engine), [("0_0_0", Outcome::Error), ("0_0_1", Outcome::Running)]);
    let mut engine = begin("process: p\nsteps:\n- do: a b\n");
    assert_eq!(it(&engine).state, State::Failed);
    assert!(cancel(&mut engine, None, Flavour::Cancel).ignored.is_some());
}

#[test]
fn a_process_that_would_never_end_is_stopped() {
    let engine = begin("process: p\nsteps:\n- do: a b\n  on-error: redo\n");
    let (_, error) = it(&engine).error.as_ref().unwrap();
    assert!(error.message.contains("10000 steps"), "{error:?}");
}

#[test]
fn of_processes_that_are_over_the_newest_thousand_are_kept() {
    let mut engine = Engine::default();
    let mut gone = Vec::new();
    for n in 0..1003 {
        let text = b"process: p\nsteps:\n- do: a\n  if: 'false'\n";
        let process = process_file::read(text).unwrap();
        let (key, wfid) = (n.to_string(), Some(format!("w{n}")));
        let message = Message::Launch { tree: process.tree, fields: process.fields, wfid };
        let now = Now { micros: NOW.micros + n, seed: 1 };
        gone.extend(engine.step(Event::Told { key, came: Came::Named, message }, now).gone);
    }
    assert_eq!((engine.processes.len(), gone), (1000, vec!["w0".into(), "w1".into(), "w2".into()]));
}

/// What must hold of a process at any time.
fn check(engine: &Engine, trail: &str) {
    let process = it(engine);
    let running = process.running().count();
    match process.state {
        State::Running => assert!(running > 0, "nothing can wake it: {trail}"),
        _ => assert_eq!(running, 0, "it is over and waits: {trail}"),
    }
    assert_eq!(process.ended.is_some(), process.state != State::Running, "{trail}");
    let (items, cancels) = sent(engine);
    let names: HashSet<_> = items.iter().map(|(_, fei, _)| fei.subid.clone()).collect();
    assert_eq!(names.len(), items.len(), "two items have one name: {trail}");
    let of = |wanted: Outcome| process.path.iter().filter(|v| v.outcome == wanted).count();
    assert_eq!(of(Outcome::Cancelled), cancels.len(), "{trail}");
    let handed = process.path.iter().filter(|visit| !visit.queue.is_empty()).count();
    assert_eq!(handed, items.len(), "{trail}");
    // As it is kept, so it is read again.
    let text = serde_json::to_string(process).unwrap();
    let read: Process = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text, "{trail}");
}

/// Tries everything that can happen next, to a depth; returns how many histories there were.
fn explore(engine: &Engine, depth: usize, trail: &str) -> usize {
    check(engine, trail);
    let feis = open(engine);
    if depth == 0 || feis.is_empty() {
        return 1;
    }
    let mut all = 0;
    let mut go = |step: &dyn Fn(&mut Engine) -> Changed, what: &str| {
        let mut next = engine.clone();
        let changed = step(&mut next);
        assert!(changed.ignored.is_none(), "{trail} {what}: {changed:?}");
        all += explore(&next, depth - 1, &format!("{trail} {what}"));
    };
    for fei in &feis {
        let at = &fei.expid;
        for result in ["true", "false"] {
            let fields = format!("{{\"__result__\":{result}}}");
            go(&|engine| reply(engine, fei, &fields), &format!("{at}={result}"));
        }
        go(&|engine| fail(engine, fei), &format!("{at}!"));
        go(&|engine| cancel(engine, Some(at), Flavour::Timeout), &format!("{at}x"));
    }
    go(&|engine| cancel(engine, None, Flavour::Kill), "x");
    // Who was answered, or cancelled, is heard no more.
    let (items, _) = sent(engine);
    for (_, old, _) in items.iter().filter(|(_, fei, _)| !feis.contains(fei)) {
        let mut next = engine.clone();
        assert!(reply(&mut next, old, "{}").ignored.is_some(), "{trail}");
        assert!(fail(&mut next, old).ignored.is_some(), "{trail}");
        let text = |engine: &Engine| serde_json::to_string(it(engine)).unwrap();
        assert_eq!(text(&next), text(engine), "{trail}");
    }
    all
}

#[test]
fn whatever_happens_in_whatever_order_a_process_waits_for_somebody_or_is_over() {
    let mut histories = 0;
    for steps in [
        "[do: a, do: b, do: c]",
        "[{do: a}, {do: b, if: '${__result__}'}, {do: c, unless: '${__result__}'}]",
        "[{concurrence: [do: a, do: b]}, do: c]",
        "[{concurrence: [do: a, {sequence: [do: b, do: c]}], on-error: m}, do: d]",
        "[{sequence: [do: a, {do: b, on-error: redo}], on-error: pass}, do: d]",
        "[{concurrence: [{do: a, forget: true}, {do: b b}, do: c], on-error: m}, do: d]",
        "[{concurrence: [{do: a b, on-error: pass}, do: c]}, {do: d, on-error: m}]",
        "[{concurrence: []}, {sequence: []}, {do: a, on-error: m}]",
    ] {
        for on_error in ["", "on-error: mourner\n"] {
            let engine = begin(&format!("process: p\n{on_error}steps: {steps}\n"));
            histories += explore(&engine, 5, steps);
        }
    }
    assert!(histories > 3_000, "{histories}");
}
