//! exo and its configuration, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use testkit::{Output, Scratch, program, run, skipped_without_root};

/// A service directory `sizer` with a good file, and an empty configuration `etc`.
fn site() -> Scratch {
    let scratch = Scratch::new();
    for folder in ["etc/conf.d", "sizer"] {
        fs::create_dir_all(scratch.join(folder)).unwrap();
    }
    // The account of the worker is made by the packages.
    fs::write(scratch.join("etc/skynet.yaml"), "worker-user: daemon\n").unwrap();
    fs::write(scratch.join("sizer/exo.yaml"), "command: ./work\n").unwrap();
    scratch
}

fn command(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = Command::new(program("exo"));
    command.args(words).current_dir(scratch.path()).env("SKYNET_CONFIG", scratch.join("etc"));
    command
}

fn exo(scratch: &Scratch, words: &[&str]) -> Output {
    run(&mut command(scratch, words))
}

fn is_root() -> bool {
    linux::process::euid() == 0
}

#[test]
fn a_good_configuration_is_passed_without_a_word() {
    let scratch = site();
    let told = exo(&scratch, &["check", "sizer"]);
    if is_root() {
        assert_eq!((told.code, told.out(), told.err()), (Some(0), String::new(), String::new()));
    }
    let told = run(command(&scratch, &["check"]).current_dir(scratch.join("sizer")));
    assert_eq!((told.code, told.out()), (Some(0), String::new()));
}

#[test]
fn a_broken_one_is_told_with_file_line_and_key_and_the_others_are_looked_at_too() {
    let scratch = site();
    fs::create_dir(scratch.join("bad")).unwrap();
    fs::write(scratch.join("bad/exo.yaml"), "command: x\ntime-limit: 5\ntreis: 1\n").unwrap();
    fs::write(scratch.join("etc/conf.d/x.yaml"), "# one\nsafty: kill\n").unwrap();
    let told = exo(&scratch, &["check", "nowhere", "bad"]);
    let path = |name: &str| scratch.join(name).display().to_string();
    let wanted = format!(
        "exo: fatal: unable to open nowhere: file does not exist\n\
         exo: fatal: unable to read {0}: line 2, column 1: safty: unknown key; did you mean safety?\n\
         exo: fatal: unable to read {1}: line 2, column 13: time-limit: 5 has no unit; write 5s, or another of 30s, 10min or 2h\n\
         exo: fatal: unable to read {1}: line 3, column 1: treis: unknown key; did you mean tries?\n",
        path("etc/conf.d/x.yaml"),
        path("bad/exo.yaml"),
    );
    assert_eq!((told.code, told.err()), (Some(1), wanted));
    let service = run(command(&scratch, &[]).current_dir(scratch.join("bad")));
    assert_eq!((service.code, service.err().lines().count()), (Some(111), 3), "{service:?}");
}

#[test]
fn what_is_in_force_is_shown_with_where_it_comes_from() {
    let scratch = site();
    let site = "worker-user: daemon\nstore: /srv/s\nparticipants:\n  tries: 7\n";
    fs::write(scratch.join("etc/skynet.yaml"), site).unwrap();
    let told = exo(&scratch, &["check", "--show", "sizer"]);
    let (etc, own) = (scratch.join("etc/skynet.yaml"), scratch.join("sizer/exo.yaml"));
    for line in [
        format!("tries: 7 # {}:4", etc.display()),
        format!("store: \"/srv/s\" # {}:2", etc.display()),
        format!("command: [\"./work\"] # {}:1", own.display()),
        "participant: \"sizer\" # default".to_owned(),
        "  \"first\": \"10s\" # default".to_owned(),
    ] {
        assert!(told.out().lines().any(|l| l == line), "{line}: {told:?}");
    }
    assert_eq!(told.code, Some(0));
}

#[test]
fn root_obeys_no_file_that_others_can_change() {
    if skipped_without_root() {
        return;
    }
    for (name, mode) in [("sizer", 0o757), ("sizer/exo.yaml", 0o664), ("etc", 0o775)] {
        let scratch = site();
        let path = scratch.join(name);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let told = exo(&scratch, &["check", "sizer"]);
        let path = path.display();
        let wanted = format!(
            "not trusted: {path} can be written by others (mode {mode:04o}): chmod go-w {path}\n"
        );
        assert!(told.code == Some(1) && told.err().ends_with(&wanted), "{told:?}");
    }
    let scratch = site();
    fs::write(scratch.join("theirs.yaml"), "command: x\n").unwrap();
    chown(scratch.join("theirs.yaml"), Some(12345), None).unwrap();
    fs::remove_file(scratch.join("sizer/exo.yaml")).unwrap();
    symlink("../theirs.yaml", scratch.join("sizer/exo.yaml")).unwrap();
    let told = exo(&scratch, &["check", "sizer"]);
    assert!(
        told.code == Some(1) && told.err().contains("belongs to user 12345: chown"),
        "{told:?}"
    );
    chown(scratch.join("theirs.yaml"), Some(0), None).unwrap();
    assert_eq!(exo(&scratch, &["check", "sizer"]).code, Some(0));
}

#[test]
fn others_are_warned_of_files_that_others_can_change_and_of_users_that_they_cannot_become() {
    if skipped_without_root() {
        return;
    }
    let scratch = site();
    fs::set_permissions(scratch.join("sizer/exo.yaml"), Permissions::from_mode(0o666)).unwrap();
    let mut command = Command::new(program("setuidgid"));
    command.args(["nobody".as_ref(), program("exo").as_os_str()]).args(["check", "sizer"]);
    command.current_dir(scratch.path()).env("SKYNET_CONFIG", scratch.join("etc"));
    command.env("XDG_STATE_HOME", "/s").env("XDG_RUNTIME_DIR", "/r");
    let told = run(&mut command);
    let own = scratch.join("sizer/exo.yaml");
    let wanted = format!(
        "exo: warning: {0} is read all the same: {0} can be written by others (mode 0666): chmod go-w {0}\n\
         exo: warning: worker-user daemon ({1}:1) is not taken: only root can change users\n",
        own.display(),
        scratch.join("etc/skynet.yaml").display(),
    );
    assert_eq!((told.code, told.err()), (Some(0), wanted));
}

#[test]
fn a_broker_elsewhere_without_encryption_is_told_by_check_and_at_the_start() {
    let scratch = site();
    // Where there can be no store exo does not go on after it was told.
    let store = scratch.join("sizer/exo.yaml/store").display().to_string();
    let broker = |host: &str, more: &str| {
        let keys = format!("kind: rabbitmq, host: {host}, password-file: /nowhere{more}");
        let text = format!("worker-user: daemon\nstore: {store}\nbroker: {{{keys}}}\n");
        fs::write(scratch.join("etc/skynet.yaml"), text).unwrap();
    };
    let count = |told: &Output| {
        let line = "exo: warning: password and items go to rabbit.example unencrypted; \
                    where others may listen, set \"tls: true\" below broker";
        told.err().lines().filter(|said| *said == line).count()
    };
    broker("rabbit.example", "");
    assert_eq!(count(&exo(&scratch, &["check", "sizer"])), 1);
    let started = run(command(&scratch, &[]).current_dir(scratch.join("sizer")));
    assert_eq!((started.code, count(&started)), (Some(111), 1), "{started:?}");
    for (host, more) in [("rabbit.example", ", tls: true"), ("127.0.0.1", "")] {
        broker(host, more);
        let told = exo(&scratch, &["check", "sizer"]);
        assert!(!told.err().contains("unencrypted"), "{told:?}");
    }
}

#[test]
fn a_time_limit_above_that_of_the_broker_for_acknowledgements_is_told_by_check_and_at_the_start() {
    let scratch = site();
    // Where there can be no store exo does not go on after it was told.
    let store = scratch.join("sizer/exo.yaml/store").display().to_string();
    let timeout = |timeout: &str| {
        let keys = "kind: rabbitmq, host: 127.0.0.1, password-file: /nowhere, consumer-timeout: ";
        let text = format!("worker-user: daemon\nstore: {store}\nbroker: {{{keys}{timeout}}}\n");
        fs::write(
            scratch.join("etc/skynet.yaml"),
            format!("participants: {{time-limit: 1h}}\n{text}"),
        )
        .unwrap();
    };
    let count = |told: &Output| {
        let line = "exo: warning: time-limit, 1h, is longer than the 59min in which RabbitMQ";
        told.err().lines().filter(|said| said.starts_with(line)).count()
    };
    timeout("59min");
    assert_eq!(count(&exo(&scratch, &["check", "sizer"])), 1);
    let started = run(command(&scratch, &[]).current_dir(scratch.join("sizer")));
    assert_eq!((started.code, count(&started)), (Some(111), 1), "{started:?}");
    timeout("1h");
    let told = exo(&scratch, &["check", "sizer"]);
    assert!(!told.err().contains("is longer"), "{told:?}");
}

#[test]
fn that_nobody_has_looked_at_the_time_of_the_broker_for_acknowledgements_is_told_by_check_and_at_the_start()
 {
    let scratch = site();
    // Where there can be no store exo does not go on after it was told.
    let store = scratch.join("sizer/exo.yaml/store").display().to_string();
    let with = |more: &str| {
        let keys = "kind: rabbitmq, host: 127.0.0.1, password-file: /nowhere";
        let text = format!("worker-user: daemon\nstore: {store}\nbroker: {{{keys}{more}}}\n");
        fs::write(scratch.join("etc/skynet.yaml"), text).unwrap();
    };
    let count = |told: &Output| {
        let line = "exo: warning: an item may take longer than the 30min in which RabbitMQ wants";
        told.err().lines().filter(|said| said.starts_with(line)).count()
    };
    with("");
    assert_eq!(count(&exo(&scratch, &["check", "sizer"])), 1);
    let started = run(command(&scratch, &[]).current_dir(scratch.join("sizer")));
    assert_eq!((started.code, count(&started)), (Some(111), 1), "{started:?}");
    with(", consumer-timeout: 30min");
    assert_eq!(count(&exo(&scratch, &["check", "sizer"])), 0);
}

#[test]
fn an_account_that_there_is_not_is_found_by_root() {
    if skipped_without_root() {
        return;
    }
    let scratch = site();
    let own = scratch.join("sizer/exo.yaml");
    fs::write(&own, "command: x\nuser: no-such-account\n").unwrap();
    let told = exo(&scratch, &["check", "sizer"]);
    let wanted = format!(
        "exo: fatal: unable to find account no-such-account: there is none (user: {}:2)\n",
        own.display()
    );
    assert_eq!((told.code, told.err()), (Some(1), wanted));
    fs::write(&own, "command: x\nuser: daemon\n").unwrap();
    let told = exo(&scratch, &["check", "sizer"]);
    assert_eq!(told.code, Some(0));
    assert!(told.err().contains("user and worker-user are both daemon"), "{told:?}");
}

#[test]
fn a_folder_that_skynet_config_names_must_be_there_and_begin_with_a_slash() {
    let scratch = site();
    for (named, wanted) in [
        ("etc", "SKYNET_CONFIG, etc, must begin with a slash"),
        ("/nowhere/at/all", "unable to read /nowhere/at/all: file does not exist"),
    ] {
        let told = run(command(&scratch, &["check", "sizer"]).env("SKYNET_CONFIG", named));
        assert_eq!((told.code, told.err()), (Some(1), format!("exo: fatal: {wanted}\n")));
    }
}

#[test]
fn wrong_usage_is_100_and_help_and_version_are_0() {
    let scratch = Scratch::new();
    for words in [&["--nonsense"][..], &["check", "--nonsense"], &["nonsense"]] {
        let told = exo(&scratch, words);
        let err = told.err();
        assert!(err.starts_with("exo: fatal: ") && err.lines().count() == 1, "{told:?}");
        assert!(err.contains("nonsense") && err.ends_with("; see exo --help\n"), "{told:?}");
        assert_eq!((told.code, told.out()), (Some(100), String::new()));
    }
    for (words, wanted) in [
        (&["control", "requeue"][..], "missing: <JOB>..."),
        (&["control", "cancel", "w", "--flavour", "foo"], ", but one of cancel, kill, timeout"),
    ] {
        let told = exo(&scratch, words);
        assert!(told.code == Some(100) && told.err().contains(wanted), "{told:?}");
    }
    let told = exo(&scratch, &["--help"]);
    assert!(told.code == Some(0) && told.out().contains("check"), "{told:?}");
    let told = exo(&scratch, &["--version"]);
    assert_eq!((told.code, told.out()), (Some(0), format!("exo {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn messages_that_nobody_reads_or_can_read_hinder_nothing() {
    let scratch = site();
    fs::write(scratch.join("sizer/exo.yaml"), "nonsense: x\n").unwrap();
    let exo = program("exo");
    let script = "\"$0\" 2>&-; a=$?; { \"$0\"; echo $? >code; } 2>&1 | :; echo $a";
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(script).arg(&exo).current_dir(scratch.join("sizer"));
    sh.env("SKYNET_CONFIG", scratch.join("etc"));
    assert_eq!(run(&mut sh).out(), "111\n");
    testkit::until(10, || fs::read(scratch.join("sizer/code")).is_ok_and(|code| code == b"111\n"));
}

/// The pages name each key that there is.
#[test]
fn each_key_has_its_place_in_the_manual() {
    let scratch = site();
    let told = exo(&scratch, &["check", "--show", "sizer"]).out();
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man");
    let page = |name: &str| fs::read_to_string(man.join(name)).unwrap();
    let pages = page("exo.yaml.5") + &page("skynet.yaml.5");
    let keys: Vec<&str> = told
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key.trim().trim_matches('"'))
        .collect();
    assert!(keys.len() > 30, "{told}");
    for key in keys.into_iter().chain(["build", "exoskeleton", "participants"]) {
        let is_named = |line: &str| {
            line.strip_prefix(".It Cm ")
                .or(line.strip_prefix(".Cm "))
                .is_some_and(|rest| rest.split([' ', ',']).any(|word| word == key))
        };
        assert!(pages.lines().any(is_named), "{key} is in no page");
    }
}

#[test]
fn the_template_is_good_and_what_it_says_of_the_defaults_is_true() {
    let scratch = site();
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/exo/exo.yaml");
    let text = fs::read_to_string(template).unwrap();
    let shown = |text: &str| {
        fs::write(scratch.join("sizer/exo.yaml"), text).unwrap();
        let told = exo(&scratch, &["check", "--show", "sizer"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        let lines = told.out();
        let values = lines.lines().map(|line| line.rsplit_once(" # ").map_or(line, |l| l.0));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = shown(&text);
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting)
                if setting.starts_with(|c: char| c != ' ') || setting.starts_with("  ") =>
            {
                setting.replace("NAME", "sizer") + "\n"
            }
            _ => line.to_owned() + "\n",
        })
        .collect();
    // What it shows as examples has no default.
    let examples = ["\"LANG\"", "\"pool\"", "build: "];
    let is_example = |line: &&String| examples.iter().any(|example| line.contains(example));
    let after = shown(&uncommented);
    let after: Vec<&String> = after.iter().filter(|line| !is_example(line)).collect();
    let plain = |line: &str| line.trim_end_matches(" {}").to_owned();
    assert_eq!(
        after.iter().map(|l| plain(l)).collect::<Vec<_>>(),
        before.iter().map(|l| plain(l)).collect::<Vec<_>>()
    );
    assert!(uncommented.lines().count() > 30);
}

#[test]
fn what_the_site_s_file_shows_as_examples_is_fit_to_be_uncommented() {
    let scratch = site();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/etc/skynet.yaml");
    let text = fs::read_to_string(shipped).unwrap();
    let (_, examples) = text.split_once("#\n").expect("a line between words and examples");
    let uncommented = examples.replace("# ", "");
    assert!(uncommented.contains("\nkeep: 30d\n"), "{uncommented}");
    let worker = "worker-user: daemon\n";
    fs::write(scratch.join("etc/skynet.yaml"), uncommented + worker).unwrap();
    let told = run(command(&scratch, &["check"]).current_dir(scratch.join("sizer")));
    assert_eq!((told.code, told.err()), (Some(0), String::new()));
}
