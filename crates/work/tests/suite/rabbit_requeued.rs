//! What is requeued by hand goes to RabbitMQ again, whichever process of the machine was asked, and
//! whatever happens to the one that sends it.

use crate::conformance::{Rig, done, settled};
use crate::rabbit::{Remote, delivered, in_hand};
use crate::support::{job, place};
use machine::work::{Backoff, Fault, Limit, Reach};
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::Rabbit;
use testkit::until;
use work::read::Waiting;
use work::{
    Applied, Ask, Asked, Broker, By, Change, Delivery, Ended, JobId, NewJob, Policy, Reader,
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
