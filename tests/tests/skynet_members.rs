//! The system's instance as it is for others than root: members of group `skynet`, and everybody
//! else.

#![allow(clippy::unwrap_used, clippy::panic)]

mod items;
mod site;

use items::{acts, bury, in_small_room, job, reader, ready, running, stands, submit, write};
use machine::work::{Fault, State};
use site::{Kind, Person, SOON};
use testkit::{program, run_within};

#[test]
fn a_member_submits_by_the_drop_folder_and_hears_the_answer_and_others_are_told_whom_to_ask() {
    let site = running(Kind::System);
    let said = site.skynet_of(Person::Ann, &["submit", "p", "--wait", "--field", "n=1"]);
    assert_eq!((said.code, said.err()), (Some(0), String::new()));
    assert!(said.out().contains("\"by\":\"nobody\""), "{said:?}");
    let said =
        site.skynet_of(Person::Ann, &["submit", "p", "--wfid", "w", "{\"fields\":{\"n\":1}}"]);
    let id = job(&site, "w").id.0;
    assert_eq!((said.code, said.out()), (Some(0), format!("job-{id} w: submitted\n")));
    assert_eq!(job(&site, "w").owner, Some(Person::Ann.uid()));
    // Without an exo it waits in the folder.
    site.well(&["stop", "p"]);
    let said =
        site.skynet_of(Person::Ann, &["submit", "p", "--wfid", "later", "{\"fields\":{\"n\":1}}"]);
    let text = "later: left in the drop folder, since no exo of it runs\n".to_owned();
    assert_eq!((said.code, said.out()), (Some(0), text));
    site.well(&["start", "p"]);
    site.until(|| !reader(&site).jobs_of("later").unwrap().is_empty());
    let said = site.skynet_of(Person::Bob, &["submit", "p", "{\"fields\":{\"n\":1}}"]);
    let text = "skynet: fatal: unable to submit to participants of the system's instance: \
                root or a member of group skynet may\n";
    assert_eq!((said.code, said.err()), (Some(1), text.to_owned()));
}

#[test]
fn a_member_hears_why_an_item_is_refused_whatever_large_dead_items_there_are() {
    let site = running(Kind::System);
    let item = |wfid: &str, n: u32| {
        format!("{{\"fei\":{{\"wfid\":\"{wfid}\",\"expid\":\"0\"}},\"fields\":{{\"n\":{n}}}}}")
    };
    let submit = |words: &[&str]| {
        let all = [&["--system", "submit", "p"], words].concat();
        let command = site.command_of(Person::Ann, program("skynet"), &all);
        run_within(SOON, &mut in_small_room(&command))
    };
    site.well(&["submit", "p", &item("known", 1)]);
    bury(&site, "p", 12);
    // The same bytes, but another's; and other bytes, in an envelope.
    for words in [&[&*item("known", 1)][..], &["--priority", "3", &item("known", 2)]] {
        let said = submit(words);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.out().starts_with("known: FAILED: job 1 has its name"), "{said:?}");
    }
    let other = item("other", 1);
    assert!(submit(&[&other]).out().ends_with(" other: submitted\n"));
    assert!(submit(&[&other]).out().ends_with(" other: was submitted before\n"));
    // Where one would be refused, none is left.
    let said = submit(&["--reply-to", "a b", &item("new", 1), &item("newer", 1)]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err().ends_with("skynet: fatal: nothing was submitted\n"), "{said:?}");
    assert!(reader(&site).jobs_of("new").unwrap().is_empty());
}

#[test]
fn a_member_cancels_and_requeues_and_others_may_not_even_look() {
    let site = running(Kind::System);
    submit(&site, "bad", "fail");
    site.until(|| stands(&site, "bad") == ("stop", 11));
    write(&site, "mended", "");
    let id = job(&site, "bad").id.0;
    for words in [
        &["requeue", "bad"][..],
        &["requeue", "--failed", "p"],
        &["requeue", "--auto", "x", "--limit", "1", "--until", "1d", "p"],
        &["cancel", "bad"],
        &["replay", "bad"],
        &["dead", "requeue", "1"],
        &["dead", "drop", "1"],
        &["rule", "list"],
        &["rule", "drop", "1"],
        &["label", "list"],
        &["label", "set", "l", "1"],
        &["label", "drop", "l"],
        &["failure", "note", "x", "--owner", "bob"],
        &["acts"],
    ] {
        let said = site.skynet_of(Person::Bob, words);
        assert_eq!(said.code, Some(111), "{said:?}");
        assert!(said.out().is_empty() && said.err().contains("of group skynet may"), "{said:?}");
    }
    let said = site.skynet_of(Person::Ann, &["requeue", "bad"]);
    assert_eq!((said.code, said.out()), (Some(0), format!("job-{id} bad: ready again\n")));
    site.until(|| stands(&site, "bad") == ("stop", 0));
    submit(&site, "slow", "wait");
    site.until(|| stands(&site, "slow").0 == "run");
    let said = site.skynet_of(Person::Ann, &["cancel", "slow"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stands(&site, "slow"), ("stop", 900));
    let acts = [acts(&site, "bad"), acts(&site, "slow")].concat();
    let kept: Vec<_> = acts.iter().map(|act| (&*act.what, act.by.uid, &*act.by.name)).collect();
    assert_eq!(kept, [("requeue", 64972, "ann"), ("cancel", 64972, "ann")]);
    let said = site.skynet_of(Person::Ann, &["label", "set", "l", "1"]);
    assert_eq!((said.code, said.out()), (Some(0), "label l: priority 1\n".to_owned()));
    let [act] = &reader(&site).last_acts(1).unwrap()[..] else { panic!("no act") };
    assert_eq!((&*act.what, &*act.by.name), ("label-set", "ann"));
    // Without an exo nobody is there who could do it for her.
    submit(&site, "waits", "answer");
    site.until(|| stands(&site, "waits") == ("stop", 0));
    site.well(&["stop", "p"]);
    let said = site.skynet_of(Person::Ann, &["requeue", "--force", "waits"]);
    assert_eq!(said.code, Some(111), "{said:?}");
    assert!(said.err().contains("no exo runs that could change the store"), "{said:?}");
    assert_eq!(stands(&site, "waits"), ("stop", 0));
    let said = site.skynet_of(Person::Ann, &["label", "set", "l", "2"]);
    assert_eq!(said.code, Some(111), "{said:?}");
    assert!(said.err().contains("no exo runs that could change the store"), "{said:?}");
}

#[test]
fn a_member_replays_as_themselves() {
    let site = running(Kind::System);
    submit(&site, "w", "answer");
    site.until(|| stands(&site, "w") == ("stop", 0));
    let said = site.skynet_of(Person::Ann, &["replay", "w"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out().contains("\"by\":\"ann\""), "{said:?}");
}

#[test]
fn what_members_read_they_read_while_nothing_runs() {
    let site = ready(Kind::System);
    submit(&site, "w", "answer");
    let said = site.skynet_of(Person::Ann, &["rule", "list", "--json"]);
    assert_eq!((said.code, said.out()), (Some(0), String::new()), "{said:?}");
    let said =
        run_within(SOON, &mut site.command_of(Person::Ann, program("skynet"), &["cancel", "w"]));
    assert_eq!(said.code, Some(4), "her own instance has no such process: {said:?}");
    assert_eq!(job(&site, "w").subject.state, State::Ready { leased: false });
    assert_eq!(job(&site, "w").subject.fault, Fault::NONE);
}

#[test]
fn what_members_may_not_see_is_unknown_and_no_trouble() {
    let site = running(Kind::System);
    site.sleeper("idle");
    site.well(&["enable", "--now", "idle"]);
    let doctor = site.skynet_of(Person::Ann, &["doctor"]).out();
    assert!(!doctor.contains("no supervise keeps it"), "{doctor}");
    assert!(!doctor.contains(" skynet boot") || doctor.contains("sudo skynet boot"), "{doctor}");
    let page = site.skynet_of(Person::Ann, &["status", "idle"]).out();
    assert!(page.contains("(whether a logger runs is unknown)"), "{page}");
    let all = site.skynet_of(Person::Ann, &["status"]).out();
    assert!(all.contains(" unknown") && !all.contains("in trouble"), "{all}");
    assert!(!all.contains("not up"), "{all}");
}

#[test]
fn what_changes_services_is_refused_to_whoever_is_not_root_before_anything_is_done() {
    let site = running(Kind::System);
    site.sleeper("idle");
    let dir = site.desk().display().to_string();
    let site_file = site.inside(site::Place::Config).join("services.ini").display().to_string();
    for who in [Person::Ann, Person::Bob] {
        for words in [
            &["apply"][..],
            &["apply", "--dry-run"],
            &["enable", "idle"],
            &["enable", "--now", "--all"],
            &["disable", "p"],
            &["install", &dir, "--enable"],
            &["uninstall", "--force", "p"],
            &["rebuild", "--all"],
            &["import", &site_file],
            &["import", "--dry-run", &site_file],
        ] {
            let said = site.skynet_of(who, words);
            let verb = format!("skynet: fatal: unable to {} ", words[0]);
            let advice =
                " the system's instance: it is root's; run this as root, by sudo for one\n";
            assert_eq!((said.code, said.out()), (Some(1), String::new()), "{words:?}: {said:?}");
            let said = said.err();
            assert!(said.starts_with(&verb) && said.ends_with(advice), "{words:?}: {said}");
        }
        // It was never started, and there is no supervise that would refuse.
        let said = site.skynet_of(who, &["start", "idle"]);
        assert_eq!((said.code, said.err()), (Some(1), String::new()), "{said:?}");
        assert!(said.out().contains("idle: FAILED: unable to start services of the system's "));
    }
    assert!(site.pid("p").is_some() && site.pid("idle").is_none());
    assert!(!site.at(site::Place::Service).join("idle").is_symlink());
}
