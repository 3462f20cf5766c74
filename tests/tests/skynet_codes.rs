//! What is asked for by a name or a number that nothing has: every verb says so, and ends with 4.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use site::Site;

/// Each verb with what nobody has: no service, participant, process, job, request, item, class, rule or
/// label is called `ghost`, or has the number 99.
const UNKNOWN: &[&[&str]] = &[
    &["list", "ghost"],
    &["status", "ghost"],
    &["top", "ghost"],
    &["cat", "ghost"],
    &["log", "ghost"],
    &["enable", "ghost"],
    &["disable", "ghost"],
    &["start", "ghost"],
    &["stop", "ghost"],
    &["restart", "ghost"],
    &["reload", "ghost"],
    &["drain", "ghost"],
    &["resume", "ghost"],
    &["wait", "--state", "up", "ghost"],
    &["apply", "ghost"],
    &["check", "ghost"],
    &["submit", "ghost", "{}"],
    &["register", "ghost"],
    &["unregister", "ghost"],
    &["engine", "path", "ghost"],
    &["engine", "cancel", "ghost"],
    &["cancel", "ghost"],
    &["cancel", "job-99"],
    &["requeue", "ghost"],
    &["requeue", "job-99"],
    &["requeue", "--failed", "ghost"],
    &["requeue", "--auto", "s", "--limit", "1", "--until", "1d", "ghost"],
    &["rule", "drop", "99"],
    &["label", "drop", "ghost"],
    &["acts", "ghost"],
    &["acts", "job-99"],
    &["replay", "ghost"],
    &["replay", "job-99"],
    &["history", "ghost"],
    &["history", "--wfid", "ghost"],
    &["failure", "list", "ghost"],
    &["failure", "show", "ghost"],
    &["failure", "note", "--owner", "ann", "ghost"],
    &["job", "list", "ghost"],
    &["job", "show", "ghost"],
    &["job", "show", "99"],
    &["request", "show", "ghost"],
    &["request", "show", "99"],
    &["dead", "list", "ghost"],
    &["dead", "show", "99"],
    &["dead", "requeue", "99"],
    &["dead", "drop", "99"],
    &["export", "ghost"],
    &["uninstall", "ghost"],
    &["rebuild", "ghost"],
    &["manual", "ghost"],
];

/// These are for no name: whole instances, files, languages of a shell.
const WITHOUT_NAMES: &[&str] =
    &["launch", "doctor", "notice", "boot", "halt", "new", "install", "import", "completion"];

fn all_end_with_4(site: &Site, when: &str) {
    let mut wrong = Vec::new();
    for args in UNKNOWN {
        let said = site.skynet(args);
        if said.code != Some(4) || !said.err().contains(args.last().unwrap().trim_end_matches("{}"))
        {
            wrong.push(format!("{args:?}: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
}

#[test]
fn a_name_or_number_that_nothing_has_is_code_4_for_every_verb_with_and_without_a_store() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        all_end_with_4(&site, "nothing is installed");
        site.participant("p", "", "#!/bin/sh\ncat >/dev/null\n");
        site.well(&["enable", "--now", "p"]);
        site.submit("p", "w");
        site.until(|| site.skynet(&["history", "--wfid", "w"]).code == Some(0));
        all_end_with_4(&site, "one has worked");
        // What is there is done all the same, and the code says that something else is not.
        for args in
            [&["status", "p", "ghost"][..], &["history", "p", "ghost"], &["cat", "p", "ghost"]]
        {
            assert!(site.ends(4, args).contains("ghost"), "{args:?}");
        }
        // 4 says that all others are well.
        site.well(&["stop", "p"]);
        assert!(site.ends(3, &["status", "p", "ghost"]).contains("ghost"));
    });
}

#[test]
fn every_verb_that_takes_names_is_among_those_that_are_tried() {
    let site = Site::new(site::Kind::Private);
    let help = site.well(&["--help"]);
    let verbs: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.len() > 30, "{help}");
    for verb in verbs {
        let is_tried = UNKNOWN.iter().any(|args| args[0] == verb);
        assert!(is_tried || WITHOUT_NAMES.contains(&verb), "{verb}");
    }
}
