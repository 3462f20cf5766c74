//! Work items that are submitted, and their answers.

#![allow(clippy::unwrap_used, clippy::panic)]

mod items;
mod site;

use items::{QUICK, job, owner, reader, ready, running, stands, submit, write};
use serde_json::{Value, json};
use site::{Kind, Place, SOON, Site};
use std::fs;
use std::os::unix::fs::MetadataExt;
use testkit::run_within;
use work::JobId;

#[test]
fn an_item_that_was_submitted_comes_back_with_its_answer() {
    Site::each(|kind| {
        let site = ready(kind);
        // Before anything ran: the store is made, and belongs to whoever will work with it.
        assert_eq!(submit(&site, "early", "answer"), JobId(1));
        let store = site.at(Place::Store).join("work.db").metadata().unwrap();
        let folder = site.at(Place::Store).metadata().unwrap();
        let name = if kind == Kind::System { "skynet" } else { "nobody" };
        let its = run_within(SOON, &mut site.command("id", &["-u", name])).out();
        let its: u32 = its.trim().parse().unwrap();
        assert_eq!((store.uid(), folder.uid()), (its, its));
        site.well(&["start", "p"]);
        site.until(|| stands(&site, "early") == ("stop", 0));
        let user = "nobody";
        let answer = format!(
            "{{\"fields\":{{\"by\":\"{user}\",\"was\":12345678901234567890123,\"n\":1}}}}\n"
        );
        let said = site.well(&["submit", "p", "--wait", "--field", "n=1"]);
        assert_eq!(said, answer);
        let said = site.well(&[
            "submit",
            "p",
            "--wait",
            "--json",
            "--wfid",
            "w",
            "{\"fields\":{\"n\":1}}",
        ]);
        let object: Value = serde_json::from_str(&said).unwrap();
        let id = job(&site, "w").id.0;
        assert_eq!(
            (&object["job"], &object["wfid"], &object["ok"], &object["fault"]),
            (&json!(id), &json!("w"), &json!(true), &json!(0))
        );
        assert!(said.contains("\"was\":12345678901234567890123"), "{said}");
        assert_eq!(job(&site, "w").owner, Some(owner(kind).0));
    });
}

#[test]
fn an_item_that_fails_is_told_with_its_fault_and_one_that_takes_too_long_goes_on() {
    Site::each(|kind| {
        let site = running(kind);
        let output = site.skynet(&["submit", "p", "--wait", "--wfid", "bad", "--field", "do=fail"]);
        let id = job(&site, "bad").id.0;
        let said = format!("skynet: warning: job-{id} bad: fault 11: it broke (exit 11)\n");
        assert_eq!((output.code, output.out(), output.err()), (Some(1), String::new(), said));
        let wait = ["--wait", "--timeout", "100ms", "--wfid", "slow", "--field", "do=wait"];
        let said = site.ends(1, &[&["submit", "p"], &wait[..]].concat());
        assert!(said.contains("slow: not done in time; it goes on"), "{said}");
        write(&site, "go", "");
        site.until(|| stands(&site, "slow") == ("stop", 0));
    });
}

#[test]
fn nothing_is_submitted_where_one_of_several_is_no_item() {
    Site::each(|kind| {
        let site = running(kind);
        let file = site.dir("p").join("items");
        write(&site, "items", "{\"fields\":{}}\n\n{\"fields\":{}\n{\"other\":1}\n");
        let path = site.inside(Place::Participants).join("p/items").display().to_string();
        let said = site.ends(1, &["submit", "p", "--lines", &path]);
        assert!(said.contains(&format!("{path}, line 3, column ")), "{said}");
        assert!(
            said.contains(&format!("{path}, line 4: not a work item: missing field")),
            "{said}"
        );
        assert!(said.contains("nothing was submitted"), "{said}");
        let said = site.ends(1, &["submit", "p", "{\"fields\":[}"]);
        assert!(said.contains("item, line 1, column 12: "), "{said}");
        let long = format!("{{\"fields\":{{\"x\":\"{}\"}}}}", "x".repeat(1024));
        write(&site, "exo.yaml", &format!("command: ./work\nitem-limit: 1KiB\n{QUICK}"));
        let said = site.ends(1, &["submit", "p", &long]);
        assert!(said.contains("1024 are allowed"), "{said}");
        for (code, args) in [
            (100, &["submit", "p", "--field", "x"][..]),
            (100, &["submit"]),
            (4, &["submit", "q", "{\"fields\":{\"n\":1}}"]),
            (111, &["submit", "p", "/no/such/file"]),
            (1, &["submit", "p", "--delay", "10s", "{\"skynet\":1,\"item\":{\"fields\":{}}}"]),
        ] {
            site.ends(code, args);
        }
        assert_eq!(reader(&site).jobs(None, None, 9).unwrap(), []);
        fs::remove_file(file).unwrap();
    });
}

#[test]
fn none_of_several_items_is_submitted_where_the_store_refuses_one() {
    Site::each(|kind| {
        let site = ready(kind);
        let item = |wfid: &str, n: u32| {
            format!("{{\"fei\":{{\"wfid\":\"{wfid}\",\"expid\":\"0\"}},\"fields\":{{\"n\":{n}}}}}")
        };
        site.well(&["submit", "p", &item("known", 1)]);
        let unnamed = "{\"fields\":{\"n\":1}}";
        let said = site.ends(1, &["submit", "p", unnamed, &item("known", 2), unnamed]);
        assert!(said.contains("known: job 1 has its name"), "{said}");
        assert!(said.ends_with("skynet: fatal: nothing was submitted\n"), "{said}");
        let said = site.ends(1, &["submit", "p", "--reply-to", "a b", unnamed, unnamed]);
        assert!(said.ends_with("skynet: fatal: nothing was submitted\n"), "{said}");
        assert_eq!(reader(&site).jobs(None, None, 9).unwrap().len(), 1);
        let said = site.well(&["submit", "p", unnamed, &item("known", 1), unnamed]);
        assert_eq!(said.lines().filter(|line| line.ends_with(": submitted")).count(), 2, "{said}");
    });
}

#[test]
fn an_answer_that_is_damaged_fails_alone_and_one_of_an_older_attempt_is_not_looked_at() {
    Site::each(|kind| {
        let site = running(kind);
        let item = |wfid: &str| {
            format!("{{\"fei\":{{\"wfid\":\"{wfid}\",\"expid\":\"0\"}},\"fields\":{{\"n\":1}}}}")
        };
        for wfid in ["twice", "spoilt"] {
            site.well(&["submit", "p", "--wait", &item(wfid)]);
        }
        site.well(&["requeue", "--force", "twice"]);
        site.until(|| job(&site, "twice").tries == 2 && stands(&site, "twice") == ("stop", 0));
        site.sql("UPDATE attempt SET output = x'7b7d' WHERE number = 1");
        let items = [item("spoilt"), item("twice"), item("other")];
        let wait = ["submit", "p", "--wait", &items[0], &items[1], &items[2]];
        let output = site.skynet(&wait);
        let (out, err) = (output.out(), output.err());
        assert_eq!((output.code, out.lines().count()), (Some(1), 2), "{output:?}");
        for wfid in ["twice", "other"] {
            assert!(out.contains(&format!("\"wfid\":\"{wfid}\"")), "{out}");
        }
        assert!(
            err.contains(" spoilt: ") && err.contains("the answer of job 2, attempt 1"),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    });
}
