//! What is requeued by hand goes to RabbitMQ again, whichever process of the machine was asked, and
//! whatever happens to the one that sends it.

use crate::conformance::{Rig, done, event, settled};
use crate::rabbit::{REPLIES, Remote, delivered, in_hand};
use crate::rabbit_cancels::{cancel_of, cancel_of_sent, cancelled, sent_out};
use crate::support::{item, job, place};
use machine::work::{Backoff, Fault, Limit, Reach};
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::Rabbit;
use testkit::until;
use work::read::Waiting;
use work::{
    Applied, Ask, Asked, Broker, By, Change, Delivery, Ended, Event, JobId, NewJob, Policy, Reader,
    Safety, Store, amqp,
};

/// The store in the hand of another process.
fn other(rig: &Remote) -> Store {
    Store::open(&place(&rig.scratch), rig.clock.clone(), Safety::Kill).unwrap()
}

fn requeue(job: JobId) -> Asked {
    Asked::Requeue { job, reach: Reach::Failed, priority: None }
}

fn by_another(rig: &Remote, asked: Asked) {
    other(rig).apply(&Change::Asked(By::default(), asked)).unwrap();
}

fn why(rig: &Remote, job: JobId) -> Option<Waiting> {
    Reader::open(&place(&rig.scratch)).unwrap().why_waiting(job).unwrap()
}

/// Has an item fail for good, so that its message is settled.
fn failed(rig: &Remote, broker: &mut amqp::Rabbit, fault: u16) -> JobId {
    let delivery = in_hand(rig, broker, "a");
    let job = delivery.key().job;
    broker.finish(delivery, Ended { fault: Fault(fault), ..done() });
    settled(broker);
    until(10, || rig.messages("q") == (0, 0));
    job
}

/// It is in hand once more.
#[track_caller]
fn in_hand_again(broker: &mut amqp::Rabbit, job: JobId) -> Delivery {
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    let delivery = delivered(broker);
    assert_eq!((delivery.key().job, delivery.job().attempt), (job, 2));
    delivery
}

/// It is done once more, and no message is left.
#[track_caller]
fn is_done_again(rig: &Remote, broker: &mut amqp::Rabbit, job: JobId) {
    let delivery = in_hand_again(broker, job);
    broker.finish(delivery, done());
    settled(broker);
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 2);
}

#[test]
fn what_another_process_requeues_is_sent_by_who_takes_from_the_queue() {
    let rig = Remote::new();
    let mut broker = rig.open();
    let job = failed(&rig, &mut broker, 11);
    by_another(&rig, requeue(job));
    until(10, || why(&rig, job) == Some(Waiting::Broker));
    is_done_again(&rig, &mut broker, job);
}

#[test]
fn what_was_cancelled_and_is_requeued_is_not_cancelled_again_by_the_same_cancel_anywhere() {
    let rig = Remote::new();
    let there = rig.beside();
    let (mut here, mut elsewhere, mut client) = (rig.open(), there.open(), rig.client());
    let exchange = work::wire::CONTROL_EXCHANGE;
    // As cancels come in their order, that of what is in hand comes behind those before it.
    let hold = |broker: &mut amqp::Rabbit, client: &mut amqp::Client, name: &str| {
        broker.ask(Ask::Now, "q_1");
        client.publish("q", &item(name)).unwrap();
        delivered(broker)
    };
    for (n, is_here) in [true, false].into_iter().enumerate() {
        let name = format!("0_{n}");
        here.ask(Ask::Now, "q_0");
        client.publish("q", &sent_out(&name, "now")).unwrap();
        let delivery = delivered(&mut here);
        let job = delivery.key().job;
        let holds = [(&mut here, "a"), (&mut elsewhere, "b")]
            .map(|(broker, at)| hold(broker, &mut client, &format!("{at}{n}")));
        // It comes to everybody, and once more from whoever finds its copy in the queue.
        for _ in 0..2 {
            client.announce(exchange, &cancel_of_sent(&name, "now")).unwrap();
        }
        assert_eq!(cancelled(&mut here), delivery.key());
        here.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
        settled(&mut here);
        client.announce(exchange, &cancel_of_sent(&name, "now")).unwrap();
        client.announce(exchange, &cancel_of(r#"{"wfid":"w"}"#)).unwrap();
        for (broker, held) in [&mut here, &mut elsewhere].into_iter().zip(holds) {
            assert_eq!(cancelled(broker), held.key());
            broker.finish(held, Ended { fault: Fault::CRASHED, ..done() });
            settled(broker);
        }
        until(10, || rig.messages("q") == (0, 0));
        by_another(&rig, requeue(job));
        let broker = if is_here { &mut here } else { &mut elsewhere };
        broker.ask(Ask::Now, "q_0");
        let again = delivered(broker);
        assert_eq!(again.job().item, sent_out(&name, "now"));
        broker.finish(again, done());
        settled(broker);
        until(10, || rig.messages("q") == (0, 0));
    }
}

#[test]
fn what_is_cancelled_between_its_requeue_and_its_sending_is_not_begun() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let there = Remote { server: rig.direct(), ..rig.beside() };
    let (mut here, mut elsewhere, mut client) = (rig.open(), there.open(), there.client());
    here.ask(Ask::Now, "q_0");
    client.publish("q", &sent_out("0_0", "now")).unwrap();
    let delivery = delivered(&mut here);
    let job = delivery.key().job;
    here.finish(delivery, Ended { fault: Fault(11), ..done() });
    settled(&mut here);
    until(10, || rig.messages("q") == (0, 0));
    proxy.set(Mode::Refuse);
    proxy.cut();
    by_another(&rig, requeue(job));
    until(10, || why(&rig, job) == Some(Waiting::Sending));
    for rig in [&rig, &there] {
        rig.clock.pass(Duration::from_secs(1));
    }
    elsewhere.ask(Ask::Now, "q_1");
    client.publish("q", &item("held")).unwrap();
    let held = delivered(&mut elsewhere);
    let exchange = work::wire::CONTROL_EXCHANGE;
    client.announce(exchange, &cancel_of_sent("0_0", "now")).unwrap();
    client.announce(exchange, &cancel_of(r#"{"wfid":"w"}"#)).unwrap();
    assert_eq!(cancelled(&mut elsewhere), held.key());
    elsewhere.finish(held, Ended { fault: Fault::CRASHED, ..done() });
    settled(&mut elsewhere);
    proxy.set(Mode::Pass);
    elsewhere.ask(Ask::Now, "q_1");
    event(&mut elsewhere, |event| match event {
        Event::Unwanted { .. } => Some(()),
        Event::Arrived(_) => panic!("it is begun"),
        _ => None,
    });
    until(10, || rig.messages("q") == (0, 0));
}

#[test]
fn a_dead_item_that_another_process_requeues_is_sent_likewise() {
    let limit = Limit { tries: 1, ..Limit::default() };
    let rig = Remote { policy: Policy { limit, ..Policy::default() }, ..Remote::new() };
    let mut broker = rig.open();
    let job = failed(&rig, &mut broker, 3);
    let dead = Reader::open(&place(&rig.scratch)).unwrap().dead_heads(Some("q"), 1).unwrap();
    by_another(&rig, Asked::Revive(dead[0].id));
    is_done_again(&rig, &mut broker, job);
}

#[test]
fn what_is_requeued_while_nobody_takes_is_sent_by_who_comes_next() {
    let rig = Remote::new();
    let mut broker = rig.open();
    let job = failed(&rig, &mut broker, 11);
    drop(broker);
    by_another(&rig, requeue(job));
    assert_eq!(why(&rig, job), Some(Waiting::Sending));
    let standing = Reader::open(&place(&rig.scratch)).unwrap().standings(&["q"], 9).unwrap();
    assert_eq!(standing[0].waiting, 1);
    let mut broker = rig.open();
    until(10, || why(&rig, job) == Some(Waiting::Broker));
    is_done_again(&rig, &mut broker, job);
}

#[test]
fn what_was_requeued_by_one_that_dies_before_it_could_send_it_is_sent_by_the_next() {
    let proxy = Proxy::to(Rabbit::shared().port());
    // It is on its way, or there is no connection.
    for mode in [Mode::Silent, Mode::Refuse] {
        let rig = Remote::by(proxy.port());
        let mut broker = rig.open();
        let job = failed(&rig, &mut broker, 11);
        proxy.set(mode);
        if mode == Mode::Refuse {
            proxy.cut();
        }
        broker.make(1, By::default(), requeue(job));
        broker.flush();
        until(10, || why(&rig, job) == Some(Waiting::Sending));
        rig.kill(broker);
        proxy.set(Mode::Pass);
        let mut broker = rig.open();
        is_done_again(&rig, &mut broker, job);
    }
}

#[test]
fn what_rests_is_tried_at_once_by_its_message_and_no_second_one_is_sent() {
    let backoff = Backoff { first: Duration::from_secs(3000), ..Backoff::default() };
    let rig = Remote { policy: Policy { backoff, ..Policy::default() }, ..Remote::new() };
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    let job = delivery.key().job;
    broker.finish(delivery, Ended { fault: Fault(3), ..done() });
    settled(&mut broker);
    by_another(&rig, requeue(job));
    let delivery = in_hand_again(&mut broker, job);
    assert_eq!(rig.messages("q"), (0, 1));
    broker.finish(delivery, done());
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn a_queue_that_is_taken_from_here_has_nothing_to_send_also_where_it_was_another_broker_s() {
    let rig = Remote::new();
    let mut broker = rig.open();
    let far = failed(&rig, &mut broker, 11);
    drop(broker);
    by_another(&rig, requeue(far));
    assert_eq!(why(&rig, far), Some(Waiting::Sending));
    let mut store = other(&rig);
    let opening = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let Ok(Applied::Opened(taker)) = store.apply(&opening) else { panic!("not opened") };
    assert_ne!(why(&rig, far), Some(Waiting::Sending));
    let Ok(Applied::Submitted { job: near, .. }) =
        store.apply(&Change::Submit(Box::new(NewJob { queue: "q".to_owned(), ..job("b") })))
    else {
        panic!("not submitted")
    };
    for id in [far, near] {
        let take = Change::Take { taker, ask: Ask::Now, instance: "q_0".to_owned() };
        let Ok(Applied::Taken(taken)) = store.apply(&take) else { panic!("not taken") };
        assert_eq!(taken.lease.job, id);
        let ended = Ended { fault: Fault(11), ..done() };
        store.apply(&Change::End(taken.lease, Box::new(ended))).unwrap();
        by_another(&rig, requeue(id));
        assert_eq!(why(&rig, id), Some(Waiting::Nothing));
        let take = Change::Take { taker, ask: Ask::Now, instance: "q_0".to_owned() };
        let Ok(Applied::Taken(taken)) = store.apply(&take) else { panic!("not taken") };
        store.apply(&Change::End(taken.lease, Box::new(done()))).unwrap();
    }
}

/// What a queue that takes nothing more says to whoever publishes.
fn refuse_answers(rig: &Remote, refuses: bool) {
    let vhost = &rig.server.vhost;
    Rabbit::shared().call(&if refuses {
        format!(
            "rabbit_policy:set(<<\"{vhost}\">>, <<\"full\">>, <<\"^{REPLIES}$\">>, \
             [{{<<\"max-length\">>, 0}}, {{<<\"overflow\">>, <<\"reject-publish\">>}}], \
             0, <<\"queues\">>, <<\"t\">>)."
        )
    } else {
        format!("rabbit_policy:delete(<<\"{vhost}\">>, <<\"full\">>, <<\"t\">>).")
    });
}

#[test]
fn the_answer_that_was_not_taken_is_not_sent_once_its_item_is_done_again() {
    let backoff = Backoff { first: Duration::from_secs(3000), ..Backoff::default() };
    let rig = Remote { policy: Policy { backoff, ..Policy::default() }, ..Remote::new() };
    let mut broker = rig.open();
    refuse_answers(&rig, true);
    let delivery = in_hand(&rig, &mut broker, "a");
    let job = delivery.key().job;
    broker.finish(delivery, Ended { fault: Fault(11), ..done() });
    event(&mut broker, |event| matches!(event, Event::Trouble { .. }).then_some(()));
    by_another(&rig, requeue(job));
    // Its end is told, though its answer never went.
    settled(&mut broker);
    let delivery = in_hand_again(&mut broker, job);
    assert_eq!(rig.messages("q"), (0, 1), "its message is the one that it had");
    refuse_answers(&rig, false);
    // Another is answered meanwhile.
    let other = in_hand(&rig, &mut broker, "b");
    broker.finish(other, done());
    settled(&mut broker);
    assert_eq!(rig.answers().len(), 1);
    broker.finish(delivery, Ended { fault: Fault(3), ..done() });
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 1));
    // It rests, and has its message.
    rig.kill(broker);
    by_another(&rig, requeue(job));
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    let delivery = delivered(&mut broker);
    assert_eq!((delivery.key().job, delivery.job().attempt), (job, 3));
    broker.finish(delivery, done());
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 2);
}

#[test]
fn what_should_have_a_message_and_has_lost_it_is_sent_once_the_queue_was_seen_to_be_empty() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let backoff = Backoff { first: Duration::from_secs(3000), ..Backoff::default() };
    let rig =
        Remote { policy: Policy { backoff, ..Policy::default() }, ..Remote::by(proxy.port()) };
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    let job = delivery.key().job;
    broker.finish(delivery, Ended { fault: Fault(3), ..done() });
    settled(&mut broker);
    proxy.set(Mode::Refuse);
    proxy.cut();
    // As where the broker was started anew and the message was not for keeping.
    Rabbit::shared().delete_queue(&rig.server.vhost, "q");
    rig.client().declare("q").unwrap();
    by_another(&rig, requeue(job));
    proxy.set(Mode::Pass);
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    let mut found = None;
    until(60, || {
        if let Some(Event::Arrived(delivery)) = broker.next() {
            found = Some(delivery);
        }
        found.is_some()
    });
    let Some(delivery) = found else { unreachable!() };
    assert_eq!((delivery.key().job, delivery.job().attempt), (job, 2));
    broker.finish(delivery, done());
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn what_is_cancelled_at_hand_is_nobody_s_any_more() {
    let rig = Remote::new();
    let mut broker = rig.open();
    let first = in_hand(&rig, &mut broker, "a");
    broker.ask(Ask::Ahead, "q_0");
    broker.flush();
    rig.client().publish("q", &item("b")).unwrap();
    let second = delivered(&mut broker);
    by_another(&rig, Asked::Cancel(second.key().job, Fault::CANCELLED));
    event(&mut broker, |event| matches!(event, Event::Overtaken(_)).then_some(()));
    until(10, || rig.messages("q") == (0, 1));
    broker.finish(first, done());
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn what_is_cancelled_while_it_is_given_back_is_nobody_s_any_more() {
    let rig = Remote::new();
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    other(&rig)
        .apply(&Change::Asked(By::default(), Asked::Cancel(delivery.key().job, Fault::KILLED)))
        .unwrap();
    broker.interrupt(delivery, done());
    until(10, || {
        let _ = broker.next();
        rig.messages("q") == (0, 0)
    });
    drop(broker);
    assert_eq!(rig.messages("q"), (0, 0));
}
