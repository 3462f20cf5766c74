//! What a store keeps of items from RabbitMQ where its size is limited: what may be sent again.

use crate::conformance::{Rig, committed, done, settled};
use crate::rabbit::{Remote, delivered};
use crate::support::{item, place};
use machine::work::{Backoff, Fault};
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::Rabbit;
use testkit::{until, wait::holds_within};
use work::amqp::{self, Settings};
use work::embedded::Keep;
use work::read::Waiting;
use work::{Ask, Broker, Ended, JobId, Policy, Reader};

/// So long is what stopped kept however full the store is, and a little more.
pub(crate) const A_WHILE: Duration = Duration::from_secs(120);

/// A store that is always too large.
pub(crate) fn open(rig: &Remote) -> amqp::Rabbit {
    let keep = Keep { age: None, size: Some(1) };
    amqp::Rabbit::open(&Settings { keep, ..rig.settings() }).unwrap()
}

/// Has the store looked through for what may be removed.
fn look(rig: &Remote, broker: &mut amqp::Rabbit) {
    rig.clock.pass(A_WHILE);
    // It is looked at a while after something was written.
    for _ in 0..2 {
        committed(broker);
        rig.clock.pass(A_WHILE);
    }
}

#[test]
fn what_was_done_while_rabbitmq_was_away_is_known_until_rabbitmq_let_go_of_it() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let mut broker = open(&rig);
    let mut jobs = Vec::new();
    for (name, forget) in [("answered", false), ("forgotten", true)] {
        broker.ask(Ask::Now, "q_0");
        broker.flush();
        rig.client().publish("q", &item(name)).unwrap();
        let delivery = delivered(&mut broker);
        jobs.push(delivery.key().job);
        proxy.set(Mode::Refuse);
        proxy.reset();
        broker.finish(delivery, Ended { forget, ..done() });
        broker.flush();
        let reader = Reader::open(&place(&rig.scratch)).unwrap();
        let stopped = |id: JobId| reader.job(id).unwrap().unwrap().subject.state.name() == "stop";
        until(20, || stopped(jobs[jobs.len() - 1]));
        look(&rig, &mut broker);
        assert!(jobs.iter().all(|id| stopped(*id)), "forgotten: {jobs:?}");
        proxy.set(Mode::Pass);
        // What comes again is nobody's work any more: the next item is the next delivery.
        broker.ask(Ask::Now, "q_0");
        broker.flush();
        until(60, || rig.messages("q") == (0, 0));
        broker.withdraw(Ask::Now, "q_0");
    }
    assert_eq!(rig.answers().len(), 1);
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    // Two looks at the queue, which tell that the broker has read what was acknowledged.
    let is_gone = holds_within(Duration::from_secs(60), || {
        look(&rig, &mut broker);
        jobs.iter().all(|id| reader.job(*id).unwrap().is_none())
    });
    assert!(is_gone, "what is settled is kept for ever");
}

#[test]
fn what_was_acknowledged_before_an_orderly_end_is_kept_no_longer_than_other_items() {
    let rig = Remote::new();
    let mut broker = open(&rig);
    broker.ask(Ask::Now, "q_0");
    rig.client().publish("q", &item("a")).unwrap();
    let delivery = delivered(&mut broker);
    let job = delivery.key().job;
    broker.finish(delivery, done());
    settled(&mut broker);
    until(20, || rig.messages("q") == (0, 0));
    drop(broker);
    rig.clock.pass(A_WHILE);
    let _broker = open(&rig);
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    until(20, || reader.job(job).unwrap().is_none());
}

#[test]
fn what_was_at_hand_and_goes_back_is_not_kept_as_if_it_waited_here() {
    let backoff = Backoff { first: Duration::from_millis(300), ..Backoff::default() };
    let policy = Policy { backoff, ..Policy::default() };
    let rig = Remote { policy, ..Remote::new() };
    let mut broker = rig.open();
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    rig.client().publish("q", &item("a")).unwrap();
    broker.ask(Ask::Ahead, "q_0");
    let ahead = delivered(&mut broker);
    assert_eq!(reader.standings(&["q"], 9).unwrap()[0].waiting, 0);
    broker.give_back(ahead);
    committed(&mut broker);
    // Whoever has it next may be on another machine.
    assert!(reader.jobs_of("w").unwrap().is_empty());
    assert_eq!(reader.standings(&["q"], 9).unwrap()[0].waiting, 0);
    until(10, || rig.messages("q") == (1, 0));
    // What was begun once is known of, however often it goes back.
    broker.ask(Ask::Now, "q_0");
    let begun = delivered(&mut broker);
    assert_eq!(begun.job().attempt, 1);
    let job = begun.key().job;
    broker.interrupt(begun, Ended::default());
    committed(&mut broker);
    assert_eq!(reader.why_waiting(job).unwrap(), Some(Waiting::Broker));
    let standing = reader.standings(&["q"], 9).unwrap().remove(0);
    assert_eq!((standing.waiting, standing.later, standing.oldest), (0, 0, None));
    broker.ask(Ask::Ahead, "q_0");
    let again = delivered(&mut broker);
    assert_eq!(again.job().attempt, 2);
    broker.give_back(again);
    committed(&mut broker);
    assert_eq!(reader.jobs_of("w").unwrap().len(), 1);
    broker.ask(Ask::Now, "q_0");
    let failed = delivered(&mut broker);
    broker.finish(failed, Ended { fault: Fault(3), ..done() });
    settled(&mut broker);
    // It rests here, until its time has come.
    let later = || reader.standings(&["q"], 9).unwrap()[0].later;
    let why = || reader.why_waiting(job).unwrap();
    until(30, || (later(), why()) == (0, Some(Waiting::Broker)));
    broker.ask(Ask::Now, "q_0");
    let last = delivered(&mut broker);
    broker.finish(last, done());
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 1);
}
