//! What the pages of packaging/doc type, typed: the walks for administrators and for process
//! writers, and the pages about history, logs and processes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod pages;
mod site;

use pages::{doc, shows, typed, typed_in, walk};
use serde_json::Value;
use site::{Kind, Place, Site};
use std::fs;
use testkit::program;

/// Tells of the item's file, and puts its size where the pages have it.
const SIZER: &str = r#"#!/bin/sh
item=$(cat)
echo '4711 bytes in 3 files'
echo 'warning: no thumbnail'
printf '%s' "$item" | sed 's/"fields":{/&"size":12,/' >&3
"#;

/// Fails as the item says, or packs.
const PACKER: &str = r#"#!/bin/sh
item=$(cat)
echo packing
case $item in
*'"store":"gone"'*) echo 'packer: unable to reach store.example: connection refused' >&2; exit 3 ;;
*'"file":"gone"'*) echo 'packer: /srv/in/10090.tar: no such file' >&2; exit 12 ;;
esac
printf '%s' "$item" | sed 's/"fields":{/&"__result__":true,/' >&3
"#;

/// An instance with both of them, which run; `config` is packer's.
fn packing(kind: Kind, config: &str) -> Site {
    let site = Site::booted(kind);
    site.participant("sizer", "", SIZER);
    site.participant("packer", config, PACKER);
    for name in ["sizer", "packer"] {
        let log = site.inside(Place::Logs).join(name);
        site.folder(&site.at(Place::Logs).join(name));
        let multilog = program("multilog");
        let run = format!("#!/bin/sh\nexec {} t {}\n", multilog.display(), log.display());
        site.logger(name, &run);
    }
    site.well(&["start", "sizer", "packer"]);
    site
}

/// Has sizer work on an item, and packer on its answer.
fn send(site: &Site, wfid: &str, field: &str) {
    let args = ["submit", "sizer", "--wfid", wfid, "--reply-to", "packer", "--field", field];
    site.well(&args);
    let is_packer_s = |job: &Value| job["participant"] == "packer";
    let ended = |job: &Value| is_packer_s(job) && job["attempts"][0]["ended"].is_string();
    site.until(|| {
        let said = site.well(&["history", "--json", "--wfid", wfid]);
        said.lines().any(|line| ended(&serde_json::from_str(line).unwrap()))
    });
}

#[test]
fn the_administrators_walk_finds_out_why_one_fails_and_mends_it() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let commands = typed("administrator.md");
        let is_boot = |(command, _): &(String, _)| command == "skynet boot";
        let reboot = commands.iter().rposition(is_boot).unwrap();
        walk(&site, "administrator.md", |number| {
            if number == reboot {
                site.well(&["wait", "--all", "--state", "idle"]);
                site.lose_power();
            }
        });
    });
}

#[test]
fn the_process_writers_walk_follows_one_process_across_two_participants() {
    Site::each(|kind| {
        let site = Site::new(kind);
        walk(&site, "process-writer.md", |_| {});
    });
}

#[test]
fn the_page_about_history_shows_what_comes() {
    Site::each(|kind| {
        let site = packing(kind, "tries: 2\nretry: {first: 20ms, longest: 20ms}\n");
        send(&site, "20261126-0807-bakug1", "store=gone");
        site.until(|| site.well(&["dead", "list"]).contains("store.example"));
        send(&site, "20261126-0807-bakug3", "file=gone");
        send(&site, "20261126-0807-bakug2", "file=there");
        walk(&site, "history.md", |_| {});
        let exported = fs::read_to_string(site.desk().join("november.csv")).unwrap();
        assert_eq!(exported.matches("\r\n").count(), 8, "heads, and 7 attempts:\n{exported}");
    });
}

#[test]
fn the_page_about_logs_shows_what_comes() {
    Site::each(|kind| {
        let wfid = "20261126-bakug3";
        let site = packing(kind, "retry: {first: 1h, longest: 1h}\n");
        let has = |text: &str| {
            let log = site.at(Place::Logs).join("packer/current");
            site.until(|| fs::read_to_string(&log).is_ok_and(|log| log.contains(text)));
        };
        send(&site, wfid, "store=gone");
        has("bakug3/1: fault 3");
        walk(&site, "logs.md", |number| {
            if number == 1 {
                site.well(&["requeue", wfid]);
                has("bakug3/2: fault 3");
            }
        });
    });
}

#[test]
fn the_page_about_processes_runs_one_over_two_participants() {
    const PAGE: &str = "running-a-process.md";
    Site::each(|kind| {
        let site = packing(kind, "");
        let text = fs::read_to_string(doc(PAGE)).unwrap();
        let (_, process) = text.split_once("    process: pack-small\n").unwrap();
        let rest = process.lines().take_while(|line| line.starts_with("    "));
        let lines = rest.map(|line| &line[4..]).collect::<Vec<_>>().join("\n");
        let file = format!("process: pack-small\n{lines}\n");
        site.on_desk(".", &[("pack-small.yaml", &file)]);
        let mut wfid = String::new();
        let at = text.find("    $ skynet engine run").unwrap();
        for (command, shown) in typed_in(&text[at..]) {
            let Some(named) = command.split(' ').find(|word| word.starts_with("20261126-")) else {
                // What comes later than this stands in the page, and is not shown by it.
                let shown: Vec<_> =
                    shown.into_iter().take_while(|line| !line.contains("#!")).collect();
                let said = shows(&site, PAGE, &command, &shown);
                if wfid.is_empty() {
                    wfid = said.split_once(": pack-small begins").unwrap().0.to_owned();
                    wfid = wfid.lines().last().unwrap().to_owned();
                }
                continue;
            };
            shows(&site, PAGE, &command.replace(named, &wfid), &[]);
        }
    });
}
