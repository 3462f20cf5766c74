//! Cancels: behind the item that they are for, before it, and by the exchange; with a real RabbitMQ.

use crate::conformance::{Rig, committed, done, event, settled};
use crate::rabbit::{Remote, delivered, quorum};
use crate::support::{item, job, place};
use machine::work::{Fault, State};
use std::time::{Duration, Instant};
use testkit::until;
use work::amqp::{self, Settings};
use work::{Ask, Broker, Ended, Event, NewJob, Reader, Wall};

pub(crate) fn cancel_of(fei: &str) -> Vec<u8> {
    let fei = serde_json::value::RawValue::from_string(fei.to_owned()).unwrap();
    work::wire::cancel(&fei, None, None)
}

/// An item that says when it was sent out.
pub(crate) fn sent_out(name: &str, at: &str) -> Vec<u8> {
    let fei = format!(r#"{{"wfid":"w","expid":"{name}"}}"#);
    format!(r#"{{"fei":{fei},"fields":{{"dispatched_at":"{at}"}}}}"#).into_bytes()
}

/// A cancel of that.
pub(crate) fn cancel_of_sent(name: &str, at: &str) -> Vec<u8> {
    let fei = format!(r#"{{"wfid":"w","expid":"{name}"}}"#);
    let fei = serde_json::value::RawValue::from_string(fei).unwrap();
    work::wire::cancel(&fei, None, Some(at))
}

/// The cancel that is told next, and nothing else before it.
#[track_caller]
pub(crate) fn cancelled(broker: &mut amqp::Rabbit) -> work::Lease {
    event(broker, |event| match event {
        Event::Cancelled { key, .. } => Some(key),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_cancel_right_behind_the_item_in_hand_is_seen_where_nobody_asks_for_another() {
    let rig = Remote::new();
    let mut client = rig.client();
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    client.publish("q", &item("a")).unwrap();
    let delivery = delivered(&mut broker);
    client.publish("q", &cancel_of(r#"{"wfid":"w","expid":"a"}"#)).unwrap();
    assert_eq!(cancelled(&mut broker), delivery.key());
    broker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert!(rig.answers().is_empty());
}

#[test]
fn an_item_that_is_only_looked_at_goes_back_to_whoever_asks_for_it() {
    let rig = Remote::new();
    let mut client = rig.client();
    let (mut busy, mut idle) = (rig.open(), rig.open());
    busy.ask(Ask::Now, "q_0");
    client.publish("q", &item("a")).unwrap();
    let in_hand = delivered(&mut busy);
    for name in ["b", "c", "d"] {
        client.publish("q", &item(name)).unwrap();
    }
    for name in ["b", "c", "d"] {
        idle.ask(Ask::Now, "q_0");
        let delivery = delivered(&mut idle);
        assert_eq!((delivery.job().item.clone(), delivery.job().attempt), (item(name), 1));
        idle.finish(delivery, done());
        settled(&mut idle);
    }
    assert!(busy.next().is_none());
    busy.finish(in_hand, done());
    settled(&mut busy);
}

#[test]
fn a_cancel_that_comes_before_its_item_is_remembered_and_the_item_not_handed_over() {
    let rig = Remote::new();
    let mut client = rig.client();
    let mut broker = rig.open();
    for ask in [Ask::Now, Ask::Ahead] {
        broker.ask(Ask::Now, "q_0");
        client.publish("q", &item(&format!("first {ask:?}"))).unwrap();
        let first = delivered(&mut broker);
        let exchange = work::wire::CONTROL_EXCHANGE;
        let late = format!("late {ask:?}");
        client.announce(exchange, &cancel_of_sent(&late, "1")).unwrap();
        // They come in their order: the one before has come when this is heard.
        client.announce(exchange, &cancel_of(r#"{"wfid":"w"}"#)).unwrap();
        assert_eq!(cancelled(&mut broker), first.key());
        broker.finish(first, Ended { fault: Fault::CRASHED, ..done() });
        settled(&mut broker);
        client.publish("q", &sent_out(&late, "1")).unwrap();
        client.publish("q", &item(&format!("next {ask:?}"))).unwrap();
        broker.ask(ask, "q_0");
        let mut unwanted = Vec::new();
        let mut next = event(&mut broker, |event| match event {
            Event::Arrived(delivery) => Some(delivery),
            Event::Unwanted { wfid, identity, why } => {
                unwanted.push((wfid, identity, why));
                None
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(unwanted, [("w".to_owned(), format!("{late}!!1"), Fault::CANCELLED)]);
        assert_eq!(next.job().item, item(&format!("next {ask:?}")));
        broker.begin(&mut next, "q_0", Wall(7));
        broker.finish(next, done());
        settled(&mut broker);
        until(10, || rig.messages("q") == (0, 0));
        // The same in the record, where no attempt goes on.
        let reader = Reader::open(&place(&rig.scratch)).unwrap();
        let jobs = reader.jobs_of("w").unwrap();
        let job = jobs.iter().find(|job| job.identity == format!("{late}!!1")).unwrap();
        assert_eq!((job.subject.state, job.subject.fault), (State::Stop, Fault::CANCELLED));
        let attempts = reader.attempts(job.id).unwrap();
        assert!(attempts.iter().all(|attempt| attempt.ended.is_some()), "{attempts:?}");
        assert_eq!(job.subject.count, 0);
    }
    drop(broker);
    assert_eq!(rig.answers().len(), 2, "those that were done");
}

#[test]
fn of_a_quorum_queue_a_cancel_behind_the_item_is_seen_after_it_and_by_the_exchange_at_once() {
    let rig = Remote::new();
    let settings = Settings { queue: quorum(), ..rig.settings() };
    let mut broker = amqp::Rabbit::open(&settings).unwrap();
    broker.ask(Ask::Now, "q_0");
    broker.send(1, NewJob { queue: "quorum".to_owned(), ..job("a") });
    let delivery = delivered(&mut broker);
    let mut client = rig.client();
    let cancel = cancel_of(r#"{"wfid":"w"}"#);
    client.publish("quorum", &cancel).unwrap();
    client.announce(work::wire::CONTROL_EXCHANGE, &cancel).unwrap();
    let key = event(&mut broker, |event| match event {
        Event::Cancelled { key, .. } => Some(key),
        Event::Sent { .. } => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(key, delivery.key());
    // Nobody has looked at the one in the queue.
    until(10, || rig.messages("quorum") == (1, 1));
    broker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    settled(&mut broker);
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    until(10, || rig.messages("quorum") == (0, 0));
}

/// What is told of a cancel, when a plain one may have been and one that kills surely was.
#[track_caller]
fn killed(client: &mut amqp::Client, broker: &mut amqp::Rabbit) {
    let all = serde_json::value::RawValue::from_string(r#"{"wfid":"w"}"#.to_owned()).unwrap();
    let kill = work::wire::cancel(&all, Some("kill"), None);
    client.announce(work::wire::CONTROL_EXCHANGE, &kill).unwrap();
    let why = event(broker, |event| match event {
        Event::Cancelled { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why, Fault::KILLED, "it was cancelled before");
}

#[test]
fn a_step_that_is_handed_out_anew_right_behind_its_late_cancel_is_worked_on() {
    let rig = Remote::new();
    let mut client = rig.client();
    let mut broker = rig.open();
    for (round, ask) in [Ask::Now, Ask::Ahead].into_iter().cycle().take(6).enumerate() {
        let name = format!("0_{round}");
        broker.ask(Ask::Now, "q_0");
        client.publish("q", &sent_out(&name, "2026-11-22 08:07:11.000001 UTC")).unwrap();
        let delivery = delivered(&mut broker);
        broker.finish(delivery, done());
        settled(&mut broker);
        client.publish("q", &cancel_of(&format!(r#"{{"wfid":"w","expid":"{name}"}}"#))).unwrap();
        let again = sent_out(&name, "2026-11-22 08:07:11.000002 UTC");
        client.publish("q", &again).unwrap();
        broker.ask(ask, "q_0");
        let mut delivery = delivered(&mut broker);
        assert_eq!(delivery.job().item, again);
        broker.begin(&mut delivery, "q_0", Wall(7));
        committed(&mut broker);
        killed(&mut client, &mut broker);
        broker.finish(delivery, done());
        settled(&mut broker);
    }
}

#[test]
fn a_step_that_is_handed_out_anew_behind_a_cancel_of_another_machine_is_worked_on_by_any() {
    let rig = Remote::new();
    let mut client = rig.client();
    let (mut busy, mut idle) = (rig.open(), rig.open());
    for name in ["0_0", "0_1", "0_2", "0_3"] {
        busy.ask(Ask::Now, "q_0");
        client.publish("q", &sent_out(name, "1")).unwrap();
        let delivery = delivered(&mut busy);
        let cancel = cancel_of(&format!(r#"{{"wfid":"w","expid":"{name}"}}"#));
        client.announce(work::wire::CONTROL_EXCHANGE, &cancel).unwrap();
        assert_eq!(cancelled(&mut busy), delivery.key());
        busy.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
        settled(&mut busy);
        // The cancel comes by the queue as well, and who is idle has what stands behind it.
        client.publish("q", &cancel).unwrap();
        client.publish("q", &sent_out(name, "2")).unwrap();
        idle.ask(Ask::Now, "q_0");
        let again = delivered(&mut idle);
        assert_eq!(again.job().item, sent_out(name, "2"));
        killed(&mut client, &mut idle);
        idle.finish(again, done());
        settled(&mut idle);
    }
}

/// Another finds the cancel in the queue, which nobody looks at beside an item in hand.
#[test]
fn a_cancel_that_another_machine_finds_stops_what_is_in_hand_for_a_second_and_spares_what_is_younger()
 {
    let rig = Remote::new();
    let settings = Settings { queue: quorum(), ..rig.settings() };
    let mut client = rig.client();
    let mut busy = amqp::Rabbit::open(&settings).unwrap();
    let mut idle = amqp::Rabbit::open(&settings).unwrap();
    let cancel = |name: &str| cancel_of(&format!(r#"{{"wfid":"w","expid":"{name}"}}"#));
    busy.ask(Ask::Now, "q_0");
    // Once it is declared.
    until(10, || client.publish("quorum", &item("old")).is_ok());
    let old = delivered(&mut busy);
    rig.clock.pass(Duration::from_millis(1001));
    client.publish("quorum", &cancel("old")).unwrap();
    idle.ask(Ask::Now, "q_0");
    idle.flush();
    assert_eq!(cancelled(&mut busy), old.key());
    busy.finish(old, Ended { fault: Fault::CRASHED, ..done() });
    settled(&mut busy);

    // The other one still asks. On a busy machine an item may be old by the time.
    let is_spared = (0..9).any(|n| {
        let name = format!("young {n}");
        let since = Instant::now();
        client.publish("quorum", &item(&name)).unwrap();
        let young = delivered(&mut idle);
        client.publish("quorum", &cancel(&name)).unwrap();
        busy.ask(Ask::Now, "q_0");
        busy.flush();
        let spared = event(&mut idle, |event| match event {
            Event::Spared { wfid, identity } => Some(Some(format!("{wfid} {identity}"))),
            Event::Cancelled { .. } => Some(None),
            other => panic!("{other:?}"),
        });
        assert!(spared.is_some() || since.elapsed() >= Duration::from_secs(1));
        assert!(spared.iter().all(|it| *it == format!("w {name}!!")), "{spared:?}");
        if spared.is_some() {
            killed(&mut client, &mut idle);
        }
        idle.finish(young, done());
        settled(&mut idle);
        std::mem::swap(&mut idle, &mut busy);
        spared.is_some()
    });
    assert!(is_spared);
    until(10, || rig.messages("quorum") == (0, 0));
}

#[test]
fn a_cancel_that_is_had_together_with_the_item_before_it_is_for_that_one() {
    let rig = Remote::new();
    let mut client = rig.client();
    let mut broker = rig.open();
    for round in 0..6 {
        let name = format!("0_{round}");
        client.publish("q", &sent_out(&name, "1")).unwrap();
        client.publish("q", &cancel_of(&format!(r#"{{"wfid":"w","expid":"{name}"}}"#))).unwrap();
        client.publish("q", &sent_out(&name, "2")).unwrap();
        broker.ask(Ask::Now, "q_0");
        broker.ask(Ask::Now, "q_1");
        // Whether it was in hand already or not: the first is stopped, the second not.
        let (mut first, mut second, mut is_stopped) = (None, None, false);
        event(&mut broker, |event| {
            match event {
                Event::Arrived(delivery) if delivery.job().identity.ends_with('1') => {
                    first = Some(delivery);
                }
                Event::Arrived(delivery) => second = Some(delivery),
                Event::Cancelled { key, .. } => {
                    assert_eq!(first.as_ref().map(work::Delivery::key), Some(key));
                    is_stopped = true;
                }
                Event::Unwanted { identity, .. } => {
                    assert!(identity.ends_with('1'), "{identity}");
                    is_stopped = true;
                }
                Event::Withdrawn { .. } => {}
                other => panic!("{other:?}"),
            }
            (is_stopped && second.is_some()).then_some(())
        });
        for delivery in [first, second].into_iter().flatten() {
            broker.finish(delivery, done());
            settled(&mut broker);
        }
        broker.withdraw(Ask::Now, "q_1");
        broker.withdraw(Ask::Now, "q_0");
        until(10, || {
            while broker.next().is_some() {}
            rig.messages("q") == (0, 0)
        });
    }
}
