//! exo with a RabbitMQ that does not take what is published, and goes on sending.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;
mod remote;

use host::item;
use machine::work::Fault;
use remote::{Remote, trouble};
use serde_json::Value;
use testkit::rabbit::Rabbit;

/// Has one instance at work on `long` until [`Remote::go`].
fn busy(remote: &Remote) {
    remote.client().publish("p", item("long", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
}

/// Waits until this is what is in the way.
#[track_caller]
fn says(remote: &Remote, what: &str) {
    remote.site.until(|| trouble(&remote.site).as_str().is_some_and(|it| it.contains(what)));
}

/// What was done meanwhile is answered, and what was in hand, each once and done once.
#[track_caller]
fn all_is_well_again(remote: &Remote, wfids: &[&str]) {
    remote.go();
    remote.are_answered_once_and_done_once(wfids);
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    assert!(!remote.site.log().contains("not connected"), "{}", remote.site.log());
}

#[test]
fn answers_that_a_full_queue_refuses_go_again_until_they_are_in_it_and_nothing_else_suffers() {
    let remote = Remote::new("instances: 2\n");
    let exo = remote.site.exo();
    busy(&remote);
    let policy = |what: &str| Rabbit::shared().call(&format!("rabbit_policy:{what}."));
    let vhost = &remote.server.vhost;
    policy(&format!(
        "set(<<\"{vhost}\">>, <<\"full\">>, <<\"^ruote_workitems$\">>, [{{<<\"max-length\">>, 0}}, \
         {{<<\"overflow\">>, <<\"reject-publish\">>}}], 0, <<\"queues\">>, <<\"t\">>)"
    ));
    for wfid in ["w1", "w2"] {
        remote.client().publish("p", item(wfid, "{}").as_bytes()).unwrap();
    }
    says(&remote, "refuses what is for the queue ruote_workitems");
    // Both are done, and neither is acknowledged: over a connection that was lost it would be ready.
    let is_done = |wfid: &str| {
        let attempts = remote.site.job(wfid).map(|_| remote.site.attempts(wfid));
        attempts.is_some_and(|all| all.iter().any(|one| one.ended.is_some()))
    };
    remote.site.until(|| ["w1", "w2"].into_iter().all(is_done));
    assert_eq!(remote.messages("p"), Some((0, 3)));
    policy(&format!("delete(<<\"{vhost}\">>, <<\"full\">>, <<\"t\">>)"));
    all_is_well_again(&remote, &["w1", "w2", "long"]);
    drop(exo);
}

#[test]
fn a_right_to_write_that_is_missing_is_said_and_what_is_in_hand_stays_there() {
    let remote = Remote::new("instances: 2\n");
    let exo = remote.site.exo();
    busy(&remote);
    // The test publishes as the same user.
    remote.client().publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.site.until(|| remote.site.log().matches("begun").count() == 2);
    let vhost = &remote.server.vhost;
    Rabbit::shared().permit_each(vhost, [".*", "^skynet-control$", ".*"]);
    remote.go();
    says(&remote, "ACCESS_REFUSED");
    assert_eq!(remote.messages("p"), Some((0, 2)));
    Rabbit::shared().permit(vhost, ".*");
    all_is_well_again(&remote, &["w1", "long"]);
    drop(exo);
}

#[test]
fn the_queue_for_answers_is_made_again_where_somebody_deleted_it() {
    let remote = Remote::new("instances: 2\n");
    let exo = remote.site.exo();
    busy(&remote);
    Rabbit::shared().delete_queue(&remote.server.vhost, "ruote_workitems");
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.site.until(|| remote.messages("ruote_workitems") == Some((1, 0)));
    all_is_well_again(&remote, &["w1", "long"]);
    drop(exo);
}

#[test]
fn an_answer_that_is_more_than_rabbitmq_takes_costs_its_own_sender_and_nobody_else() {
    Rabbit::shared().call("application:set_env(rabbit, max_message_size, 20000).");
    let remote = Remote::new("");
    let exo = remote.site.exo();
    remote.client().publish("p", item("large", r#"{"do":"grow"}"#).as_bytes()).unwrap();
    remote.site.until(|| remote.site.log().contains("and RabbitMQ takes 20000 at most"));
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    let answers = remote.answers(2);
    assert_eq!((answers["large"].len(), answers["w1"].len()), (1, 1));
    let large: Value = serde_json::from_slice(&answers["large"][0]).unwrap();
    let why = large["error"]["message"].as_str().unwrap();
    assert!(why.starts_with("the answer cannot be sent: it has 3"), "{why}");
    let log = remote.site.log();
    assert!(!log.contains("takes no answers"), "{log}");
    assert_eq!(log.matches("unable to send the answer").count(), 1, "{log}");
    // Whoever looks at the history finds what the engine made of it.
    let (job, attempts) = remote.site.stopped("large");
    assert_eq!((job.subject.fault, attempts[0].fault), (Fault(10), Some(Fault(10))));
    let classes = remote.site.reader().classes().unwrap();
    let classes: Vec<_> = classes.iter().map(|class| (&*class.signature, class.count)).collect();
    assert_eq!(classes, [("answer not sent", 1)]);
    remote.site.until(|| remote.site.status().is_some_and(|status| status["failed"] == 1));
    drop(exo);
}
