//! exo with a RabbitMQ that is down, goes down, closes channels and forgets queues: the whole broker
//! is stopped here, so that these tests have one of their own and take turns.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;
mod remote;

use host::{Exo, item};
use machine::work::Fault;
use remote::{Remote, trouble};
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use testkit::rabbit::Rabbit;

fn turn() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has an exo with an item in hand that waits for [`Remote::go`].
fn busy(remote: &Remote) -> Exo {
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    exo
}

/// Stops the broker, and waits until exo has noticed.
fn cut_off(remote: &Remote) {
    Rabbit::shared().stop_app();
    remote.site.until(|| trouble(&remote.site) != Value::Null);
}

/// Lets the item end: that is recorded at once, whether or not anybody can be told.
fn end(remote: &Remote) {
    remote.go();
    remote.site.until(|| remote.site.attempts("w1").iter().any(|one| one.ended.is_some()));
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let _turn = turn();
    let remote = Remote::new("");
    Rabbit::shared().stop_app();
    let mut exo = remote.site.exo();
    remote.site.until(|| remote.site.log().contains("not connected to RabbitMQ"));
    assert!(exo.is_running() && trouble(&remote.site) != Value::Null);
    Rabbit::shared().start_app();
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.are_answered_once_and_done_once(&["w1"]);
    drop(exo);
}

#[test]
fn a_broker_that_goes_down_and_comes_back_in_mid_item_costs_nothing() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo = busy(&remote);
    cut_off(&remote);
    Rabbit::shared().start_app();
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    remote.go();
    remote.are_answered_once_and_done_once(&["w1"]);
    drop(exo);
}

#[test]
fn a_broker_that_is_killed_in_mid_item_costs_nothing() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo = busy(&remote);
    remote.client().publish("p", item("w2", "{}").as_bytes()).unwrap();
    Rabbit::shared().crash();
    remote.site.until(|| remote.site.log().contains("not connected to RabbitMQ"));
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    remote.go();
    let answers = remote.answers(2);
    assert_eq!(answers.values().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(remote.site.stopped("w1").1.len(), 1, "it was worked on again");
    drop(exo);
}

/// Ends an exo whose item is done, with a broker that says nothing more. Returns how long that took once
/// nothing was in hand.
fn ended_unheard() -> Duration {
    let remote = Remote::new("");
    let mut exo = busy(&remote);
    let frozen = Rabbit::shared().freeze();
    exo.signal(15);
    end(&remote);
    let since = Instant::now();
    // The keeper would kill a worker that waits too long, and say so.
    assert_eq!(exo.ended().code(), Some(0), "{}", remote.site.log());
    let took = since.elapsed();
    println!("ended after {took:?}");
    assert!(!remote.site.log().contains("does not end"), "{}", remote.site.log());
    drop(frozen);
    exo = remote.site.exo();
    // What was sent may have arrived without a word about it, and is sent again then.
    assert!((1..=2).contains(&remote.answers(1)["w1"].len()));
    assert_eq!(remote.site.stopped("w1").1.len(), 1, "done once");
    drop(exo);
    took
}

#[test]
fn an_end_with_a_broker_that_says_nothing_more_is_exos_own() {
    let _turn = turn();
    // Nothing is in hand any more: five seconds are left, and some for a machine that is busy; one behind
    // the other the two waits took seven. A machine that is too busy may not be at the next try.
    let limit = Duration::from_millis(6900);
    assert!((0..3).any(|_| ended_unheard() < limit), "it never ended within {limit:?}");
}

#[test]
fn a_queue_that_was_made_with_other_arguments_is_said_and_waited_for() {
    let _turn = turn();
    let remote = Remote::new("");
    let rabbit = Rabbit::shared();
    let vhost = &remote.server.vhost;
    rabbit.delete_queue(vhost, "p");
    rabbit.call(&format!(
        "rabbit_amqqueue:declare(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"p\">>), true, false, \
         [{{<<\"x-max-length\">>, long, 7}}], none, <<\"t\">>)."
    ));
    let exo = remote.site.exo();
    remote.site.until(|| trouble(&remote.site) != Value::Null);
    let said = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'p'";
    let status = trouble(&remote.site).to_string();
    assert!(status.contains(said) && status.contains("unable to declare"), "{status}");
    remote.site.until(|| remote.site.log().contains(said));
    rabbit.delete_queue(vhost, "p");
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.are_answered_once_and_done_once(&["w1"]);
    assert_eq!(remote.site.log().matches(said).count(), 1, "{}", remote.site.log());
    drop(exo);
}

#[test]
fn what_ends_while_the_broker_is_down_is_answered_when_it_is_back() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo = busy(&remote);
    cut_off(&remote);
    end(&remote);
    Rabbit::shared().start_app();
    remote.are_answered_once_and_done_once(&["w1"]);
    drop(exo);
}

#[test]
fn an_exo_that_is_killed_while_the_broker_is_down_leaves_its_answer_to_the_next() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo = busy(&remote);
    cut_off(&remote);
    end(&remote);
    exo.kill9();
    let next = remote.site.exo();
    Rabbit::shared().start_app();
    remote.are_answered_once_and_done_once(&["w1"]);
    drop(next);
}

/// The broker waits so long for acknowledgements, until this is dropped; half an hour as delivered.
struct Impatient;

impl Impatient {
    fn new(millis: &str) -> Self {
        Self::set(millis, "500");
        Self
    }

    /// How often it looks: once a minute as delivered.
    fn set(millis: &str, tick: &str) {
        for (key, value) in [("consumer_timeout", millis), ("channel_tick_interval", tick)] {
            Rabbit::shared().call(&format!("application:set_env(rabbit, {key}, {value})."));
        }
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        Self::set("1800000", "60000");
    }
}

#[test]
fn an_item_that_takes_longer_than_the_broker_waits_for_acknowledgements_is_answered_once() {
    let _turn = turn();
    let _impatient = Impatient::new("1500");
    let remote = Remote::new("");
    let exo = busy(&remote);
    // The channel is closed, and the item is ready for others; the connection goes on.
    remote.site.until(|| remote.messages("p") == Some((1, 0)));
    assert_eq!(trouble(&remote.site), Value::Null);
    assert!(!remote.site.log().contains("not connected"), "{}", remote.site.log());
    remote.go();
    remote.are_answered_once_and_done_once(&["w1"]);
    drop(exo);
}

#[test]
fn what_comes_after_an_item_that_takes_long_is_not_sent_to_others_for_its_sake() {
    let _turn = turn();
    let _impatient = Impatient::new("16000");
    let remote = Remote::new("instances: 2\n");
    let exo = busy(&remote);
    let channels = || Rabbit::shared().call("length(rabbit_channel:list()).");
    let before = channels();
    remote.site.until_long(|| channels() != before);
    remote.client().publish("p", item("w2", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.site.until(|| remote.site.log().matches("begun").count() == 2);
    // Another machine gets the first once its time is over, and not the second.
    let mut other = remote.client();
    other.consume("p").unwrap();
    let sent = other.next(Duration::from_secs(60)).unwrap().expect("nothing was sent to others");
    assert!(String::from_utf8_lossy(&sent.body).contains("w1"), "the second was");
    other.acknowledge(&sent).unwrap();
    remote.go();
    remote.are_answered_once_and_done_once(&["w1", "w2"]);
    assert!(other.next(Duration::ZERO).unwrap().is_none(), "the second was sent to others, too");
    drop(other);
    // The earlier channel is closed once nothing is open on it.
    remote.site.until_long(|| channels() == before);
    drop(exo);
}

#[test]
fn a_queue_that_is_deleted_and_made_again_is_consumed_from_again() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.answers(1);
    Rabbit::shared().delete_queue(&remote.server.vhost, "p");
    remote.client().declare("p").unwrap();
    remote.client().publish("p", item("w2", "{}").as_bytes()).unwrap();
    assert_eq!(remote.answers(1)["w2"].len(), 1);
    drop(exo);
}

#[test]
fn a_right_to_read_the_queue_that_is_missing_is_said_and_waited_for() {
    let _turn = turn();
    let remote = Remote::new("");
    let vhost = &remote.server.vhost;
    Rabbit::shared().permit(vhost, "^(skynet-control|amq.gen.*)$");
    let exo = remote.site.exo();
    remote.site.until(|| remote.site.log().contains("unable to consume from p"));
    Rabbit::shared().permit(vhost, ".*");
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.are_answered_once_and_done_once(&["w1"]);
    drop(exo);
}

#[test]
fn without_rights_for_the_control_exchange_items_are_done_and_cancels_come_by_the_queue() {
    const QUEUES: &str = "^(p|ruote_workitems)$";
    const ALL: &str = "^(p|ruote_workitems|skynet-control|amq.gen.*)$";
    let _turn = turn();
    // Nothing of it; all but the reading, and all but the binding, of the queue by which it comes.
    for rights in [
        [QUEUES, "^amq.default$", QUEUES],
        [ALL, ".*", "^(p|ruote_workitems|skynet-control)$"],
        [ALL, "^amq.default$", ALL],
    ] {
        let remote = Remote::new("cancel-grace: 10s\n");
        remote.client().declare("p").unwrap();
        Rabbit::shared().permit_each(&remote.server.vhost, rights);
        let exo = remote.site.exo();
        remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
        assert_eq!(remote.answers(1)["w1"].len(), 1, "{rights:?}");
        remote.site.until(|| remote.site.log().contains("heard of by the queue alone"));
        assert!(remote.site.log().contains("ACCESS_REFUSED"), "{}", remote.site.log());
        // Of what nobody here has: it is passed on, which is refused, and costs nothing else.
        for wfid in ["elsewhere", "elsewhere-too"] {
            let cancel = format!(r#"{{"cancel":true,"fei":{{"wfid":"{wfid}"}}}}"#);
            remote.client().publish("p", cancel.as_bytes()).unwrap();
        }
        remote.client().publish("p", item("w2", r#"{"do":"wait"}"#).as_bytes()).unwrap();
        remote.begun();
        let cancel = br#"{"cancel":true,"fei":{"wfid":"w2"}}"#;
        remote.client().publish("p", cancel).unwrap();
        let (job, _) = remote.site.stopped("w2");
        assert_eq!(job.subject.fault, Fault::CANCELLED, "{rights:?}");
        remote.client().publish("p", item("w3", "{}").as_bytes()).unwrap();
        assert_eq!(remote.answers(1)["w3"].len(), 1, "{rights:?}");
        assert!(!remote.site.log().contains("not connected"), "{}", remote.site.log());
        drop(exo);
    }
}

#[test]
fn a_control_exchange_that_is_deleted_is_made_again_and_listened_to() {
    let _turn = turn();
    let remote = Remote::new("cancel-grace: 10s\n");
    let (exo, vhost) = (busy(&remote), &remote.server.vhost);
    Rabbit::shared().delete_exchange(vhost, "skynet-control");
    // Whoever sends one makes the exchange; that nobody listens there yet is not told.
    let (mut client, cancel) = (remote.client(), br#"{"cancel":true,"fei":{"wfid":"w1"}}"#);
    remote.site.until(|| {
        client.announce("skynet-control", cancel).unwrap();
        remote.site.job("w1").is_some_and(|job| job.subject.fault == Fault::CANCELLED)
    });
    assert!(!remote.site.log().contains("not connected"), "{}", remote.site.log());
    drop(exo);
}

#[test]
fn a_cancel_that_cannot_be_passed_on_comes_again_with_the_next_connection() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo = busy(&remote);
    let (mut client, cancel) = (remote.client(), br#"{"cancel":true,"fei":{"wfid":"elsewhere"}}"#);
    // It is looked for every ten seconds, and may be there again when the cancel comes.
    let is_told = (0..3).any(|_| {
        Rabbit::shared().delete_exchange(&remote.server.vhost, "skynet-control");
        client.publish("p", cancel).unwrap();
        // The cancel, passed on by the next connection; the item's message has come again, and is held.
        remote.site.until(|| remote.messages("p") == Some((0, 1)));
        remote.site.log().contains("unable to pass a cancel on: ")
    });
    assert!(is_told, "{}", remote.site.log());
    remote.go();
    remote.are_answered_once_and_done_once(&["w1"]);
    assert_eq!(remote.site.log().matches("pass a cancel on").count(), 1);
    drop(exo);
}

#[test]
fn that_a_cancel_may_not_be_passed_on_is_said_once() {
    let _turn = turn();
    let remote = Remote::new("cancel-grace: 10s\n");
    Rabbit::shared().permit_each(&remote.server.vhost, [".*", "^(amq.default|amq.gen.*)$", ".*"]);
    let exo = remote.site.exo();
    for wfid in ["elsewhere", "elsewhere-too"] {
        let cancel = format!(r#"{{"cancel":true,"fei":{{"wfid":"{wfid}"}}}}"#);
        remote.client().publish("p", cancel.as_bytes()).unwrap();
    }
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.are_answered_once_and_done_once(&["w1"]);
    remote.site.until(|| remote.site.log().contains("unable to pass a cancel on"));
    assert_eq!(remote.site.log().matches("pass a cancel on").count(), 1);
    assert!(!remote.site.log().contains("not connected"), "{}", remote.site.log());
    drop(exo);
}
