//! What is requeued by hand over RabbitMQ is done, whichever participants of the machine run.

#![allow(clippy::unwrap_used, clippy::panic)]

mod connected;
mod items;
mod served;
mod site;

use connected::Vhost;
use items::{QUICK, WORK, job, reader};
use served::stands;
use site::{Kind, Place, SOON, Site};
use std::fs;
use std::time::Duration;
use testkit::{program, run_within};
use work::read::Waiting;

const REPLIES: &str = "ruote_workitems";

/// A machine with two participants, of which the second fails for good with the item of this process.
fn failed(vhost: &Vhost, kind: Kind, wfid: &str) -> Site {
    let mut client = vhost.client();
    client.declare(REPLIES).unwrap();
    let site = vhost.machine(kind);
    for name in ["alpha", "zeta"] {
        site.participant(name, QUICK, WORK);
        site.well(&["start", name]);
        site.until(|| vhost.messages(name).is_some());
    }
    let item = format!(
        r#"{{"fei":{{"expid":"0_0","subid":"s","wfid":"{wfid}","engine_id":"e"}},"fields":{{"do":"fail"}}}}"#
    );
    client.publish("zeta", item.as_bytes()).unwrap();
    site.until(|| !reader(&site).jobs_of(wfid).unwrap().is_empty());
    site.until(|| stands(&site, "zeta", wfid) == ("stop", 11));
    site.until(|| vhost.messages("zeta") == Some((0, 0)));
    let mended = site.dir("zeta").join("mended");
    fs::write(&mended, "").unwrap();
    site.own_all(&mended);
    site
}

/// The item is done with one more attempt, and its answer is there once, behind that of the failure.
#[track_caller]
fn is_done_once(vhost: &Vhost, site: &Site, wfid: &str) {
    site.until(|| stands(site, "zeta", wfid) == ("stop", 0));
    site.until(|| vhost.messages("zeta") == Some((0, 0)));
    assert_eq!((job(site, wfid).tries, reader(site).jobs_of(wfid).unwrap().len()), (2, 1));
    site.until(|| vhost.messages(REPLIES) == Some((2, 0)));
    let mut client = vhost.client();
    client.consume(REPLIES).unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let message = client.next(Duration::from_secs(SOON)).unwrap().unwrap();
        client.acknowledge(&message).unwrap();
        answers.push(String::from_utf8(message.body).unwrap());
    }
    assert!(answers[0].contains("it broke") && answers[1].contains("\"by\":"), "{answers:?}");
}

#[test]
fn a_failed_item_that_another_participant_s_exo_was_asked_to_requeue_is_done_once() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = failed(&vhost, kind, "far");
        let said = site.well(&["requeue", "far"]);
        assert!(said.ends_with(" far: ready again\n"), "{said}");
        is_done_once(&vhost, &site, "far");
    });
}

#[test]
fn one_that_was_requeued_while_none_ran_is_done_once_its_participant_runs() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = failed(&vhost, kind, "later");
        site.well(&["stop", "alpha", "zeta"]);
        site.well(&["requeue", "later"]);
        let id = job(&site, "later").id;
        assert_eq!(reader(&site).why_waiting(id).unwrap(), Some(Waiting::Sending));
        site.well(&["start", "alpha", "zeta"]);
        is_done_once(&vhost, &site, "later");
    });
}

#[test]
fn one_whose_exo_is_killed_right_after_the_requeue_is_not_lost() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = failed(&vhost, kind, "killed");
        let exo = site.inside(Place::Participants).join("zeta").display().to_string();
        site.well(&["requeue", "killed"]);
        // By its supervise: what svstat calls it is no number of ours where the instance has its own.
        let output = run_within(SOON, &mut site.command(program("svc"), &["-k", &exo]));
        assert_eq!(output.code, Some(0), "{output:?}");
        site.until(|| stands(&site, "zeta", "killed") == ("stop", 0));
        site.until(|| vhost.messages("zeta") == Some((0, 0)));
        assert_eq!(reader(&site).jobs_of("killed").unwrap().len(), 1);
    });
}
