//! `skynet check`, on a user's instance and on the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use serde_json::Value;
use site::{Kind, Place, Site};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use testkit::scratch::script;

/// Writes a file as the instance's owner.
fn write(site: &Site, path: &Path, text: &str) {
    site.folder(path.parent().unwrap());
    fs::write(path, text).unwrap();
    site.own_all(path);
}

/// Returns what is found, an object each, with the exit code 1 for errors.
#[track_caller]
fn found(site: &Site, code: i32, args: &[&str]) -> Vec<Value> {
    let words = [&["check", "--json"], args].concat();
    let output = site.skynet(&words);
    assert_eq!(output.code, Some(code), "{words:?}: {output:?}");
    output.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Holds what is found of a service against the words that each says; returns it.
#[track_caller]
fn finds(site: &Site, code: i32, name: &str, wanted: &[(&str, &str)]) -> Vec<Value> {
    let all = found(site, code, &[name]);
    let said: Vec<_> = all
        .iter()
        .map(|f| (f["severity"].as_str().unwrap(), f["what"].as_str().unwrap()))
        .collect();
    let is_so = said.len() == wanted.len()
        && said
            .iter()
            .zip(wanted)
            .all(|(said, wanted)| said.0 == wanted.0 && said.1.contains(wanted.1));
    assert!(is_so, "{said:?}\nis not {wanted:?}");
    all
}

#[test]
fn where_nothing_is_wrong_check_says_so_and_ends_with_0() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("web");
        site.logger("web", "#!/bin/sh\nexec cat >/dev/null\n");
        site.participant("sizer", "", "#!/bin/sh\n");
        site.well(&["enable", "web", "sizer"]);
        assert_eq!(site.well(&["check"]), "checked 3 services: nothing wrong\n");
        assert_eq!(
            site.well(&["check", "--strict", "web", "si*"]),
            "checked 2 services: nothing wrong\n"
        );
        assert_eq!(site.well(&["check", "--json"]), "");
        let dir = site.inside(Place::Participants).join("web/run").display().to_string();
        assert_eq!(site.well(&["check", &dir]), "checked 1 service: nothing wrong\n");
        let out = site.ends(4, &["check", "wep"]);
        assert!(out.contains("no service wep; did you mean web?"), "{out}");
        assert_eq!(site.skynet(&["check", "/no/such/dir"]).code, Some(111));
    });
}

#[test]
fn a_program_that_cannot_be_run_is_told_with_line_and_caret() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let rows = [
            ("text", "exec x\n", "begins with neither #!", (1, 1)),
            ("crlf", "#!/bin/sh\r\nexec x\r\n", "first line ends in CR LF", (1, 10)),
            ("late", "#!/bin/sh\nexec x\r\n", "CR LF", (2, 7)),
            ("none", "#! /no/such/interpreter\n", "no program /no/such/interpreter", (1, 4)),
        ];
        for (name, text, what, (line, column)) in rows {
            let dir = site.service(name, text);
            let severity = if name == "late" { "warning" } else { "error" };
            let code = i32::from(severity == "error");
            let all = finds(&site, code, name, &[(severity, what)]);
            assert_eq!(
                (&all[0]["line"], &all[0]["column"]),
                (&line.into(), &column.into()),
                "{name}"
            );
            let path = site.inside(Place::Participants).join(name).join("run");
            assert_eq!(all[0]["path"], path.to_str().unwrap());
            assert_eq!(all[0]["service"], name);
            assert!(dir.exists());
        }
        assert_eq!(site.ends(0, &["check", "late"]).lines().count(), 5);
        assert_eq!(site.skynet(&["check", "--strict", "late"]).code, Some(1));
        let out = site.ends(1, &["check", "none"]);
        assert!(out.contains(":1:4: there is no program"), "{out}");
        assert!(out.contains("\n  #! /no/such/interpreter\n     ^\n"), "{out}");
        assert!(out.ends_with("checked 1 service: 1 error\n"), "{out}");

        let dir = site.sleeper("plain");
        fs::set_permissions(dir.join("run"), Permissions::from_mode(0o644)).unwrap();
        let all = finds(&site, 1, "plain", &[("error", "is not executable")]);
        let mend =
            format!("chmod +x {}", site.inside(Place::Participants).join("plain/run").display());
        assert_eq!(all[0]["mend"], mend);
        assert_eq!(site.command("sh", &["-c", &mend]).status().unwrap().code(), Some(0));
        finds(&site, 0, "plain", &[]);
        fs::remove_file(dir.join("run")).unwrap();
        finds(&site, 1, "plain", &[("error", "is missing")]);
        symlink("/no/such/file", dir.join("run")).unwrap();
        finds(&site, 1, "plain", &[("error", "leads nowhere")]);
        fs::remove_file(dir.join("run")).unwrap();
        fs::create_dir(dir.join("run")).unwrap();
        finds(&site, 1, "plain", &[("error", "is a directory")]);
    });
}

#[test]
fn loggers_and_optional_programs_are_looked_at_too() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = site.sleeper("web");
        site.logger("web", "#!/bin/sh\nexec cat >/dev/null\n");
        fs::remove_file(dir.join("log/run")).unwrap();
        write(&site, &dir.join("notify"), "#!/bin/sh\n");
        write(&site, &dir.join("failure-codes"), "1 2\n300\n");
        write(&site, &dir.join("compat"), "runit\n");
        let wanted = [
            ("warning", "is passed over: its owner may not execute it"),
            ("warning", "300 is no exit code"),
            ("warning", "says nothing that is known"),
            ("error", "is missing: there is nothing to run"),
        ];
        let all = finds(&site, 1, "web", &wanted);
        assert_eq!((&all[1]["line"], &all[1]["column"]), (&2.into(), &1.into()));
        // A service that is started and stopped by scripts needs no run.
        let dir = site.service("once", "#!/bin/sh\n");
        fs::rename(dir.join("run"), dir.join("start")).unwrap();
        finds(&site, 0, "once", &[]);
    });
}

#[test]
fn names_that_are_almost_right_are_told() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = site.sleeper("web");
        fs::rename(dir.join("run"), dir.join("run.sh")).unwrap();
        write(&site, &dir.join("finnish"), "");
        write(&site, &dir.join("exo.yml"), "");
        let wanted = [
            ("error", "is missing: there is nothing to run"),
            ("warning", "nothing reads exo.yml; did you mean exo.yaml?"),
            ("warning", "finnish is not known here: stop runs"),
            ("warning", "nothing reads run.sh; did you mean run?"),
        ];
        finds(&site, 1, "web", &wanted);
        // Beside the right one it is there on purpose.
        site.sleeper("web");
        finds(&site, 0, "web", &wanted[1..3]);
    });
}

#[test]
fn what_svscan_refuses_to_run_is_an_error() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = site.sleeper("web");
        site.well(&["enable", "web"]);
        fs::set_permissions(dir.join("run"), Permissions::from_mode(0o777)).unwrap();
        let what = "svscan refuses to run it: run can be written by others (chmod go-w)";
        finds(&site, 1, "web", &[("error", what)]);
        fs::set_permissions(dir.join("run"), Permissions::from_mode(0o755)).unwrap();
        finds(&site, 0, "web", &[]);
    });
}

#[test]
fn supervise_folders_of_others_are_told() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let (dir, _) = (site.sleeper("web"), site.sleeper("api"));
        let run = site.inside(Place::Run).join("supervise");
        fs::remove_file(dir.join("supervise")).unwrap();
        symlink(run.join("api"), dir.join("supervise")).unwrap();
        site.own_all(&dir);
        finds(&site, 1, "web", &[("error", "supervise/api, not to ")]);
        fs::remove_file(dir.join("supervise")).unwrap();
        symlink("/tmp", dir.join("supervise")).unwrap();
        site.own_all(&dir);
        finds(&site, 1, "web", &[("error", "supervise refuses it")]);
        fs::remove_file(dir.join("supervise")).unwrap();
        write(&site, &dir.join("supervise"), "");
        finds(&site, 1, "web", &[("error", "cannot be used as a folder")]);
    });
}

#[test]
fn what_svscan_passes_over_is_told() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let web = site.sleeper("web");
        site.well(&["enable", "web"]);
        let folder = site.at(Place::Service);
        symlink("/no/such/service", folder.join("gone")).unwrap();
        symlink(site.inside(Place::Participants).join("web"), folder.join("other")).unwrap();
        symlink(site.inside(Place::Participants).join("web"), folder.join(".hidden")).unwrap();
        write(&site, &folder.join("file"), "");
        let all = found(&site, 1, &[]);
        let what: Vec<_> = all.iter().map(|found| found["what"].as_str().unwrap()).collect();
        let wanted = [
            "svscan passes over names that begin with a dot",
            "is no directory: svscan passes over it",
            "is a link to /no/such/service, where nothing is",
            "is the same service as other; svscan runs it once",
        ];
        assert_eq!(what, wanted);
        assert!(web.exists());
    });
}

#[test]
fn of_a_broken_configuration_each_problem_has_its_caret() {
    Site::each(|kind| {
        let site = Site::new(kind);
        site.participant("sizer", "tries: many\nfoo: 1\n", "#!/bin/sh\n");
        let out = site.ends(1, &["check", "sizer"]);
        let path = site.inside(Place::Participants).join("sizer/exo.yaml");
        let first = format!("error: {}:2:8: tries: a whole number", path.display());
        assert!(out.contains(&first), "{out}");
        assert!(out.contains("\n  tries: many\n         ^\n"), "{out}");
        assert!(out.contains("exo.yaml:3:1: foo: unknown key"), "{out}");

        let config = site.at(Place::Config).join("skynet.yaml");
        write(&site, &config, "services:\n  sizer: {enabled: true}\n  sizzer: {enabled: true}\n");
        site.participant("sizer", "", "#!/bin/sh\n");
        let all = found(&site, 1, &[]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0]["what"], "services.sizzer: no service sizzer; did you mean sizer?");
        assert_eq!(all[0]["line"], 3);
        // What keeps verbs that change something from beginning is shown by this one.
        write(&site, &config, "services:\n  sizer: {enabled: maybe}\n");
        assert_eq!(site.skynet(&["start", "sizer"]).code, Some(111));
        let out = site.ends(1, &["check"]);
        assert!(out.contains("skynet.yaml:2:20: services.sizer.enabled: true or false"), "{out}");
        assert!(out.contains("\n    sizer: {enabled: maybe}\n                     ^\n"), "{out}");
        write(&site, &config, "");
        let other = site.at(Place::Config).join("other.yaml");
        write(&site, &other, "keep: 3\n");
        let shown = site.inside(Place::Config).join("other.yaml").display().to_string();
        let all = found(&site, 1, &[&shown]);
        assert!(all[0]["what"].as_str().unwrap().starts_with("keep: 3 has no unit"), "{all:?}");
    });
}

#[test]
fn a_participant_s_program_must_be_there_and_what_queues_share_is_compared() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = site.participant("sizer", "", "#!/bin/sh\n");
        fs::remove_file(dir.join("work")).unwrap();
        finds(&site, 1, "sizer", &[("error", "command: there is no program ")]);
        script(&dir.join("work"), "#!/bin/sh\n");
        write(&site, &dir.join("exo.yaml"), "command: work\n");
        let all =
            finds(&site, 1, "sizer", &[("error", "command: there is no program work in path")]);
        assert_eq!(all[0]["line"], 1);
        assert!(all[0]["what"].as_str().unwrap().ends_with("did you mean ./work?"));
        write(&site, &dir.join("exo.yaml"), "command: ./work\n");
        finds(&site, 0, "sizer", &[]);

        site.participant("other", "queue: sizer\ntries: 9\n", "#!/bin/sh\n");
        let what = "queue: other takes from sizer, too, and differs in tries";
        finds(&site, 0, "*er", &[("warning", what)]);
        site.participant("other", "participant: sizer\n", "#!/bin/sh\n");
        let what = "participant: sizer is other, too: one of them has no control socket";
        finds(&site, 1, "*er", &[("error", what)]);
    });
}

#[test]
fn participants_of_one_account_are_told_where_they_do_different_work_and_another_could_have_been_theirs()
 {
    Site::each(|kind| {
        let site = Site::new(kind);
        for name in ["packer", "sizer"] {
            site.participant(name, "", "#!/bin/sh\n");
        }
        let said = [("warning", "user: packer runs as nobody, too")];
        // Without root all are one in any case.
        finds(&site, 0, "*er", if kind == Kind::System { &said } else { &[] });
        site.participant("sizer", "queue: packer\n", "#!/bin/sh\n");
        finds(&site, 0, "*er", &[]);
        if kind == Kind::System {
            site.participant("sizer", "user: games\n", "#!/bin/sh\n");
            finds(&site, 0, "*er", &[]);
        }
    });
}

#[test]
fn a_folder_that_is_still_to_be_installed_needs_no_log_directory() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let script = "cd \"$1\" && skynet new letters --language shell";
        let desk = site.desk();
        let args = ["-c", script, "sh", desk.to_str().unwrap()];
        assert_eq!(site.command("sh", &args).status().unwrap().code(), Some(0));
        let folder = desk.join("letters");
        let folder = folder.to_str().unwrap();
        assert_eq!(site.well(&["check", folder]), "checked 1 service: nothing wrong\n");
        site.well(&["install", folder]);
        assert_eq!(site.well(&["check", "letters"]), "checked 1 service: nothing wrong\n");
        fs::remove_dir(site.at(Place::Logs).join("letters")).unwrap();
        if kind == Kind::System {
            finds(&site, 1, "letters", &[("error", "is missing: the logger cannot write")]);
        }
    });
}

#[test]
fn accounts_and_what_they_can_change_matter_to_the_system() {
    let site = Site::new(Kind::System);
    let run = "#!/bin/sh\nexec setuidgid n0-such-user sleep 9\n";
    let dir = site.service("web", run);
    let all = finds(&site, 1, "web", &[("error", "there is no account n0-such-user")]);
    assert_eq!((&all[0]["line"], &all[0]["column"]), (&2.into(), &16.into()));
    site.logger("web", "#!/bin/sh\nexec setuidgid skynetlog multilog t ./main\n");
    site.service("web", "#!/bin/sh\nexec sleep 9\n");
    let all = finds(&site, 1, "web", &[("error", "is missing: the logger cannot write")]);
    let mend = all[0]["mend"].as_str().unwrap();
    assert_eq!(site.command("sh", &["-c", mend]).status().unwrap().code(), Some(0));
    finds(&site, 0, "web", &[]);
    assert!(dir.join("log/main").is_dir());

    let dir = site.participant("sizer", "user: n0-such-user\n", "#!/bin/sh\n");
    finds(&site, 1, "sizer", &[("error", "unable to find account n0-such-user")]);
    let dir_inside = site.inside(Place::Participants).join("sizer");
    write(&site, &dir.join("exo.yaml"), "command: ./work\nuser: daemon\n");
    finds(&site, 0, "sizer", &[]);
    std::os::unix::fs::chown(dir.join("work"), Some(1), Some(1)).unwrap();
    let what = "can be changed by daemon, as whom the participant runs";
    let all = finds(&site, 1, "sizer", &[("error", what)]);
    assert_eq!(all[0]["path"], dir_inside.join("work").to_str().unwrap());
    let mend = all[0]["mend"].as_str().unwrap();
    assert_eq!(site.command("sh", &["-c", mend]).status().unwrap().code(), Some(0));
    finds(&site, 0, "sizer", &[]);
}

#[test]
fn a_password_file_that_is_not_there_is_told() {
    let site = Site::new(Kind::Private);
    let config = site.at(Place::Config);
    site.folder(&config);
    let broker = "broker: {kind: rabbitmq, password-file: /nowhere/password}\n";
    write(&site, &config.join("skynet.yaml"), broker);
    let all = found(&site, 1, &[]);
    let what = "broker.password-file: there is no file /nowhere/password";
    assert!(all.iter().any(|found| found["what"] == what), "{all:#?}");
}

/// Returns the folder of the configuration, and a file in it with a password of the broker's.
fn with_password(site: &Site) -> (PathBuf, PathBuf) {
    let config = site.at(Place::Config);
    site.folder(&config);
    let password = config.join("password");
    write(site, &password, "secret\n");
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    (config, password)
}

#[test]
fn a_broker_elsewhere_without_encryption_is_told_once_or_of_the_participant_that_names_it() {
    let site = Site::new(Kind::Private);
    let (config, password) = with_password(&site);
    let kind = format!("kind: rabbitmq, password-file: {}", password.display());
    let told = |name: Option<&str>, host: &str, more: &str| {
        write(
            &site,
            &config.join("skynet.yaml"),
            &format!("broker: {{{kind}, host: {host}{more}}}\n"),
        );
        let all = found(&site, 0, name.as_slice());
        let is_meant = |found: &&Value| found["what"].as_str().unwrap().contains("unencrypted");
        let all: Vec<_> = all.iter().filter(is_meant).cloned().collect();
        assert!(all.iter().all(|found| found["severity"] == "warning"), "{all:?}");
        all
    };
    site.participant("one", "", "#!/bin/sh\n");
    site.participant("two", "", "#!/bin/sh\n");
    let all = told(None, "rabbit.example", "");
    assert!(all.len() == 1 && all[0]["service"].is_null(), "{all:?}");
    let what = all[0]["what"].as_str().unwrap();
    assert!(what.starts_with("broker: password and items go to rabbit.example "), "{what}");
    assert_eq!(told(None, "rabbit.example", ", tls: true"), [] as [Value; 0]);
    assert_eq!(told(None, "127.0.0.1", ""), [] as [Value; 0]);
    site.participant("two", "broker: {host: other.example}\n", "#!/bin/sh\n");
    let all = told(None, "localhost", "");
    assert!(all.len() == 1 && all[0]["service"] == "two", "{all:?}");
}

#[test]
fn a_time_limit_above_that_of_the_broker_for_acknowledgements_is_told_of_its_participant() {
    let site = Site::new(Kind::Private);
    let (config, password) = with_password(&site);
    let keys =
        format!("kind: rabbitmq, consumer-timeout: 1h, password-file: {}", password.display());
    let broker = |keys: &str| {
        write(&site, &config.join("skynet.yaml"), &format!("broker: {{{keys}}}\n"));
    };
    broker(&keys);
    site.participant("one", "time-limit: 1h\n", "#!/bin/sh\n");
    site.participant("two", "time-limit: 61min\n", "#!/bin/sh\n");
    let all = found(&site, 0, &[]);
    let is_meant = |found: &&Value| found["what"].as_str().unwrap().contains("acknowledged");
    let all: Vec<_> = all.iter().filter(is_meant).collect();
    assert!(all.len() == 1 && all[0]["service"] == "two", "{all:?}");
    assert_eq!(all[0]["severity"], "warning");
    // Who has no limit is told where nobody has looked how long the broker waits.
    site.participant("three", "", "#!/bin/sh\n");
    assert_eq!(found(&site, 0, &["three"]), [] as [Value; 0]);
    broker(&keys.replace(" consumer-timeout: 1h,", ""));
    let all = found(&site, 0, &["three"]);
    let begins = "an item may take longer than the 30min in which RabbitMQ wants it acknowledged";
    assert!(all.len() == 1 && all[0]["what"].as_str().unwrap().starts_with(begins), "{all:?}");
    assert_eq!(all[0]["severity"], "warning");
}

#[test]
fn what_is_found_cannot_command_a_terminal() {
    let site = Site::new(Kind::Private);
    site.participant("sizer", "\"\\e[2J\": 1\n", "#!/bin/sh\n");
    site.service("we\x1bb", "#!/no/\x1b[2J\n");
    for args in [&["check"][..], &["check", "--json"]] {
        let out = site.ends(1, args);
        assert!(!out.contains('\x1b'), "{out:?}");
    }
}
