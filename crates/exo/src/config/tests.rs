use super::draft::Draft;
use super::keys::{KEYS, Scope};
use super::places::Places;
use super::*;
use crate::settings::Mode;
use log::LevelFilter;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;
use testkit::Scratch;
use work::Safety;

fn read(yaml: &str) -> Result<Settings, String> {
    read_text(yaml.as_bytes(), "sizer")
        .map_err(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
}

/// Reads with a command, which every file needs.
fn with_command(yaml: &str) -> Result<Settings, String> {
    read(&format!("command: ./work\n{yaml}"))
}

fn refused(yaml: &str) -> String {
    with_command(yaml).expect_err(yaml)
}

/// Lays files over each other: (scope, text), all of which are good.
pub(super) fn layers(files: &[(Scope, &str)]) -> Loaded {
    let mut draft = Draft::new(&Places::of_system(), Path::new("/srv/sizer"));
    for (i, (scope, text)) in files.iter().enumerate() {
        let entries = tree::parse(text.as_bytes()).unwrap();
        let path = format!("/file{i}");
        assert_eq!(draft.lay(&entries, *scope, Path::new(&path)), [], "{text}");
    }
    let (settings, origins) = draft.finish().unwrap();
    Loaded { settings, origins, warnings: Vec::new() }
}

#[test]
fn a_command_is_all_that_a_file_needs() {
    let s = read("command: python3 -u work.py\n").unwrap();
    assert_eq!(s.command, [c"python3", c"-u", c"work.py"].map(ToOwned::to_owned));
    assert_eq!((s.participant.as_str(), s.queue.as_str()), ("sizer", "sizer"));
    assert_eq!((s.mode, s.instances, s.tries), (Mode::PerItem, 1, 3));
    let seconds = Duration::from_secs;
    assert_eq!(
        (s.times.start, s.times.cancel, s.times.shutdown),
        (seconds(30), seconds(30), seconds(30))
    );
    assert_eq!(
        (s.times.restart, s.times.restart_longest, s.times.item),
        (seconds(1), seconds(60), None)
    );
    assert_eq!((s.backoff.first, s.backoff.longest), (seconds(10), seconds(3600)));
    assert_eq!((s.item_limit, s.line_limit, s.umask), (16 << 20, 3 << 10, 0o077));
    assert_eq!(s.limits, crate::settings::Limits { core: Some(0), ..Default::default() });
    assert_eq!((s.config.get(), s.safety, s.log_level), ("{}", Safety::Power, LevelFilter::Info));
    assert_eq!((s.ready_fd, s.secrets), (None, vec![PathBuf::from("/etc/skynet")]));
    assert_eq!(s.store, Path::new("/var/lib/skynet"));
    assert_eq!((s.keep, s.keep_size), (Some(seconds(30 * 86_400)), None));
}

#[test]
fn every_key_is_read() {
    let s = read(
        "participant: a.b\nqueue: q\nmode: persistent\ncommand: [./w, 'a b', 1.0, true]\n\
         user: web\ninstances: 8\ntime-limit: 10min\nstart-limit: 1s\ncancel-grace: 0s\n\
         shutdown-grace: 2s\nrestart: {first: 2s, longest: 3s}\ntries: 5\n\
         retry: {first: 1s, longest: 1min}\nitem-limit: 1MiB\nline-limit: 1KiB\n\
         environment: {A: b, C: 1.10}\npath: /bin:/x\n\
         limits: {processes: 9, files: 8, memory: 1GiB, file-size: 1MiB, core: none, cpu: 1min}\n\
         umask: \"022\"\nconfig: {n: 1.0, l: [1, x]}\nerror-class: E\nready-fd: 7\nlog-level: debug\n",
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!((s.participant.as_str(), s.queue.as_str(), s.mode), ("a.b", "q", Mode::Persistent));
    assert_eq!(s.command, [c"./w", c"a b", c"1.0", c"true"].map(ToOwned::to_owned));
    assert_eq!((s.user.as_deref(), s.instances, s.tries), (Some("web"), 8, 5));
    assert_eq!((s.times.item, s.times.start), (Some(seconds(600)), seconds(1)));
    assert_eq!((s.times.cancel, s.times.shutdown), (Duration::ZERO, seconds(2)));
    assert_eq!((s.times.restart, s.times.restart_longest), (seconds(2), seconds(3)));
    assert_eq!((s.backoff.first, s.backoff.longest), (seconds(1), seconds(60)));
    assert_eq!((s.item_limit, s.line_limit, s.umask), (1 << 20, 1024, 0o022));
    assert_eq!(s.environment, [("A".into(), "b".into()), ("C".into(), "1.10".into())]);
    assert_eq!(s.path, "/bin:/x");
    let limits = s.limits;
    assert_eq!((limits.processes, limits.files, limits.core), (Some(9), Some(8), None));
    assert_eq!((limits.memory, limits.file_size), (Some(1 << 30), Some(1 << 20)));
    assert_eq!(limits.cpu_seconds, Some(60));
    assert_eq!(s.config.get(), r#"{"l":[1,"x"],"n":1.0}"#);
    assert_eq!(
        (s.error_class.as_str(), s.ready_fd, s.log_level),
        ("E", Some(7), LevelFilter::Debug)
    );
    let loaded = layers(&[
        (
            Scope::Site,
            "store: /s\nspool: /p\nrun: /r\nworker-user: w\nsafety: kill\nkeep: none\nkeep-size: 1GiB\nlog-level: warning\n",
        ),
        (Scope::Own, "exoskeleton: [./exo.sh, -v]\n"),
    ]);
    let s = loaded.settings;
    assert_eq!([s.store, s.spool, s.run], ["/s", "/p", "/r"].map(PathBuf::from));
    assert_eq!((s.worker_user.as_deref(), s.safety), (Some("w"), Safety::Kill));
    assert_eq!((s.keep, s.keep_size), (None, Some(1 << 30)));
    assert_eq!(s.exoskeleton, Some(vec![c"./exo.sh".to_owned(), c"-v".to_owned()]));
    assert_eq!((s.log_level, s.command.len()), (LevelFilter::Warn, 0));
}

#[test]
fn later_files_win_and_mappings_are_merged_key_by_key() {
    let loaded = layers(&[
        (
            Scope::Site,
            "participants:\n  tries: 9\n  instances: 4\n  environment: {A: a, B: b}\n  limits: {memory: 1GiB, files: 5}\n  config: {x: {y: 1}, z: 2}\n",
        ),
        (Scope::Site, "participants:\n  tries: 7\n"),
        (
            Scope::Own,
            "command: x\ntries: 5\nenvironment: {B: c, D: d}\nlimits: {memory: none}\nconfig: {x: 3}\n",
        ),
    ]);
    let s = &loaded.settings;
    assert_eq!((s.tries, s.instances), (5, 4));
    let variables = [("A", "a"), ("B", "c"), ("D", "d")].map(|(n, v)| (n.into(), v.into()));
    assert_eq!(s.environment, variables);
    assert_eq!((s.limits.memory, s.limits.files, s.limits.core), (None, Some(5), Some(0)));
    assert_eq!(s.config.get(), r#"{"x":3,"z":2}"#);
    let from = |key: &str| loaded.origins.get(key).map(ToString::to_string);
    assert_eq!(from("tries").as_deref(), Some("/file2:2"));
    assert_eq!(from("instances").as_deref(), Some("/file0:3"));
    assert_eq!(from("environment.A").as_deref(), Some("/file0:4"));
    assert_eq!(from("environment.B").as_deref(), Some("/file2:3"));
    assert_eq!(from("limits.core"), None);
}

#[test]
fn what_is_shown_says_where_each_value_comes_from_and_reads_as_it_was() {
    let loaded = layers(&[
        (Scope::Site, "participants: {tries: 9}\nstore: /s\n"),
        (
            Scope::Own,
            "command: [a, 'b \"c', é]\nconfig: {n: 1.0, big: 123456789012345678901234567890}\nenvironment: {A: 'x # y'}\n",
        ),
    ]);
    let text = shown(&loaded);
    for line in [
        "command: [\"a\",\"b \\\"c\",\"é\"] # /file1:1",
        "tries: 9 # /file0:1",
        "  \"big\": 123456789012345678901234567890 # /file1:2",
        "  \"first\": \"10s\" # default",
        "store: \"/s\" # /file0:2",
        "keep: \"30d\" # default",
        "keep-size: \"none\" # default",
        "mode: \"per-item\" # default",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let site = ["worker-user", "store", "safety", "keep", "keep-size", "spool", "run"];
    let own: Vec<&str> = text
        .lines()
        .filter(|line| !site.iter().any(|key| line.starts_with(&format!("{key}: "))))
        .collect();
    let again = read(&own.join("\n")).unwrap();
    let first = Settings { store: "/var/lib/skynet".into(), ..loaded.settings };
    assert_eq!(effective(&again), effective(&first));
    let json: serde_json::Value = serde_json::from_str(&effective(&first)).unwrap();
    for key in KEYS.iter().map(|key| key.name) {
        let absent =
            ["notice", "participants", "services", "exoskeleton", "build", "user", "worker-user"]
                .contains(&key);
        assert_eq!(json.get(key).is_none(), absent, "{key}");
    }
}

/// Broken files, each with the beginning of what must be said.
const BROKEN: &[(&str, &str)] = &[
    ("comand: x", "line 2, column 1: comand: unknown key; did you mean command?"),
    ("time_limit: 1s", "line 2, column 1: time_limit: unknown key; did you mean time-limit?"),
    ("store: /x", "line 2, column 1: store: stands in the wrong place; it belongs at the top of"),
    ("tries: 3\ntries: 4", "line 3, column 1: tries: this key was there before"),
    ("command: y", "line 2, column 1: command: this key was there before"),
    ("config: {a: 1, a: 2}", "line 2, column 16: config.a: this key was there before"),
    (
        "tries: many",
        "line 2, column 8: tries: a whole number from 1 to 1000000 is expected, not \"many\"",
    ),
    ("tries: 0", "line 2, column 8: tries: a whole number from 1"),
    ("tries: -1", "line 2, column 8: tries: a whole number from 1"),
    ("tries: 99999999999999999999", "line 2, column 8: tries: a whole number from 1"),
    ("tries: [3]", "line 2, column 8: tries: a text is expected here, not a list"),
    ("tries:", "line 2, column 6: tries: a value is missing"),
    ("instances: 1001", "line 2, column 12: instances: a whole number from 1 to 1000"),
    ("time-limit: 30", "line 2, column 13: time-limit: 30 has no unit; write 30s"),
    ("time-limit: 5m", "line 2, column 13: time-limit: \"5m\" has no unit of ours; write 5min"),
    ("time-limit: 0s", "line 2, column 13: time-limit: 0s is less than 1ms"),
    ("item-limit: 16M", "line 2, column 13: item-limit: \"16M\" has no unit of ours; write 16MiB"),
    ("item-limit: 129MiB", "line 2, column 13: item-limit: 129MiB is not between 1KiB and 128MiB"),
    ("mode: per_item", "line 2, column 7: mode: \"per_item\" is none of per-item, persistent"),
    ("umask: 22", "line 2, column 8: umask: \"22\" is no mask such as \"077\""),
    ("umask: 0o22", "line 2, column 8: umask: "),
    ("ready-fd: 2", "line 2, column 11: ready-fd: a whole number from 3 to 1023"),
    ("user: 1000", "line 2, column 7: user: 1000 is a number; write the name of the account"),
    ("user: a:b", "line 2, column 7: user: \"a:b\" cannot be the name"),
    ("participant: ../x", "line 2, column 14: participant: \"../x\" begins with a dot"),
    ("queue: a/b", "line 2, column 8: queue: \"a/b\" holds something else"),
    ("path: bin:/bin", "line 2, column 7: path: \"bin\" must begin with a slash"),
    ("limits: {nofile: 5}", "line 2, column 18: limits.nofile: unknown key; did you mean files?"),
    ("limits: {cpu: 1500ms}", "line 2, column 15: limits.cpu: whole seconds are expected"),
    ("limits: 5", "line 2, column 9: limits: keys and values are expected here"),
    ("retry: {frist: 1s}", "line 2, column 9: retry.frist: unknown key; did you mean first?"),
    ("retry: {first: 2h}", "retry: first, 2h, is more than longest, 1h (see "),
    ("environment: {PATH: /bin}", "line 2, column 15: environment.PATH: is set by the key path"),
    ("environment: {1A: x}", "line 2, column 15: environment.1A: a variable's name"),
    ("environment: {SKYNET_WFID: x}", "line 2, column 15: environment.SKYNET_WFID: exo sets"),
    ("environment: {A: \"\\0\"}", "line 2, column 18: environment.A: the text holds a zero byte"),
    (
        "environment: {A: {}}",
        "line 2, column 18: environment.A: a text is expected here, not a mapping",
    ),
    ("config: {a: [1, {b: yes}]}", "line 2, column 21: config.a.1.b: yes is not clear"),
    ("config: {a: 007}", "line 2, column 13: config.a: 007 is not clear"),
    ("config: [1]", "line 2, column 9: config: keys and values are expected here"),
    ("config: {a: &x 1}", "line 2, column 16: config.a: anchors and aliases"),
    ("config: {a: *x}", "line 2, column 13: config.a: "),
    ("config: {a: !!str 1}", "line 2, column 19: config.a: tags (!) are not known here"),
    ("config: {[a]: 1}", "line 2, column 10: config: a key must be a text"),
    ("config: {a: b", "line 2, column 9: config: unclosed bracket"),
    ("config: 'x", "line 2, column 9: config: unclosed quote"),
    ("config:\n\ta: 1", "line 3, column 2: config: tabs"),
    ("user: x\n\ttries: 3", "line 3, column 1: user: a tab; only blanks"),
    ("config:\n  a: 1\n \tb: 2", "line 4, column 2: config.a: a tab; only blanks"),
    ("config: a: b", "line 2, column 10: mapping values"),
    ("config: @x", "line 2, column 9: config"),
    ("- tries", "line 2, column 3: "),
    ("--- \ntries: 3", "line 2, column 1: a second document begins"),
    (
        "error-class: \"a\\nb\"",
        "line 2, column 14: error-class: the text holds a control character",
    ),
];

#[test]
fn each_broken_file_is_refused_with_line_and_key() {
    let mut wrong = Vec::new();
    for (yaml, wanted) in BROKEN {
        let said = refused(&format!("{yaml}\n"));
        if !said.starts_with(wanted) || said.contains(char::is_control) {
            wrong.push(format!("{yaml:?}\n  said: {said}\n  not:  {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_that_need_a_shell_are_refused() {
    for command in
        ["a 'b c'", "a \"b\"", "a | b", "a $B", "a > b", "a; b", "a && b", "a *.c", "~/a"]
    {
        let said = read(&format!("command: >-\n  {command}\n")).unwrap_err();
        assert!(said.contains("command: no shell reads this"), "{command}: {said}");
    }
    for (yaml, wanted) in [
        ("command: []", "line 1, column 10: command: the program is missing"),
        ("command: ' '", "line 1, column 10: command: the program is missing"),
        ("command: ['', a]", "line 1, column 10: command: the program's name is empty"),
        ("command: [a, [b]]", "line 1, column 14: command: a text is expected here, not a list"),
        ("command: [a, ~]", "line 1, column 14: command: a value is missing"),
        ("tries: 3", "command: is missing; add the program"),
        ("", "command: is missing"),
        ("[]", "line 1, column 1: keys and values are expected"),
        ("command", "line 1, column 1: keys and values are expected"),
    ] {
        let said = read(yaml).expect_err(yaml);
        assert!(said.starts_with(wanted), "{yaml:?} said: {said}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let said = refused("trys: 1\ntries: x\nlimits: {a: 1, cpu: 1}\n");
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn of_very_many_problems_the_first_are_told() {
    let many = |n: usize| (0..n).map(|i| format!("k{i}: 1")).collect::<Vec<_>>().join("\n");
    assert_eq!(refused(&many(20)).lines().count(), 20);
    assert_eq!(refused(&many(2000)).lines().count(), 20);
}

#[test]
fn bytes_that_are_not_utf_8_are_told_with_their_place() {
    let problems = read_text(b"command: x\n# \xc3\xa9\xff\n", "a").unwrap_err();
    assert_eq!(problems[0].to_string(), "line 2, column 4: a byte is not UTF-8");
}

/// C1. Processor time, and of a build that is not optimised: a hundred times what is promised would
/// still be less than what a text takes whose cost grows with its square.
#[test]
fn the_worst_texts_of_a_mebibyte_come_to_an_end() {
    let mib = 1 << 20;
    let lines = |make: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for i in 0.. {
            text.push_str(&make(i));
            if text.len() > mib {
                break;
            }
        }
        text.truncate(mib);
        text
    };
    let texts = [
        "[".repeat(mib),
        "{".repeat(mib),
        "- ".repeat(mib / 2),
        "? ".repeat(mib / 2),
        "{a: ".repeat(1000),
        "[".repeat(1000) + &"]".repeat(1000),
        lines(&|i| format!("{}a:\n", " ".repeat(i))),
        lines(&|i| format!("k{i}: 1\n")),
        format!("environment:\n{}", lines(&|i| format!(" K{i}: 1\n"))),
        format!("limits:\n{}", lines(&|i| format!(" k{i}: 1\n"))),
        format!("config:\n{}", lines(&|i| format!(" k{i}: 1\n"))),
        format!("config: [{}", "a, ".repeat(mib / 3)),
        format!("config: {{{}", lines(&|i| format!("a{i}: [], "))),
        format!("config: {{? {} : [{}]}}", "x".repeat(mib / 2), "1,".repeat(mib / 4)),
        format!("config: \"{}", "\\n".repeat(mib / 2)),
        format!("config: '{}'", "\n".repeat(mib)),
        "\n".repeat(mib),
        "#".repeat(mib),
        " ".repeat(mib),
        "a".repeat(mib),
        "a ".repeat(mib / 2),
        "a: ".repeat(mib / 3),
        "'".repeat(mib),
        "&a ".repeat(mib / 3),
        "|\n".repeat(mib / 2),
        "--- ".repeat(mib / 4),
        "!a ".repeat(mib / 3),
    ];
    for text in texts {
        let before = processor_time();
        let _ = read(&text);
        let spent = processor_time().saturating_sub(before);
        let start: String = text.chars().take(20).collect();
        assert!(spent < Duration::from_secs(10), "{start:?} took {spent:?}");
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// A folder with `etc/skynet.yaml`, `etc/conf.d` and the service directory `sizer`.
fn site() -> Scratch {
    let scratch = Scratch::new();
    for folder in ["etc/conf.d", "sizer"] {
        fs::create_dir_all(scratch.join(folder)).unwrap();
    }
    fs::write(scratch.join("sizer/exo.yaml"), "command: ./work\n").unwrap();
    scratch
}

fn load_at(scratch: &Scratch) -> Result<(Settings, Vec<String>), Vec<String>> {
    let mut reading = Reading::default();
    let mut draft = Draft::new(&Places::scratch(scratch.path()), &scratch.join("sizer"));
    for path in reading.site_files(&Places::scratch(scratch.path())) {
        reading.lay(&mut draft, &path, Scope::Site);
    }
    reading.lay(&mut draft, &scratch.join("sizer/exo.yaml"), Scope::Own);
    if !reading.trouble.lines.is_empty() {
        return Err(reading.trouble.lines.iter().map(Line::to_string).collect());
    }
    let (settings, _) = draft.finish().unwrap();
    Ok((settings, reading.warnings))
}

#[test]
fn the_files_of_conf_d_are_read_in_the_order_of_their_bytes() {
    let scratch = site();
    fs::write(scratch.join("etc/skynet.yaml"), "participants: {tries: 1, umask: \"000\"}\n")
        .unwrap();
    for (name, tries) in [("10.yaml", 10), ("9.yaml", 9), ("B.yaml", 66), ("a.yaml", 97)] {
        let text = format!("participants: {{tries: {tries}}}\n");
        fs::write(scratch.join(&format!("etc/conf.d/{name}")), text).unwrap();
    }
    for name in [".z.yaml", "z.yml", "z.yaml~", "z"] {
        fs::write(scratch.join(&format!("etc/conf.d/{name}")), "not: {read").unwrap();
    }
    let (settings, _) = load_at(&scratch).unwrap();
    assert_eq!((settings.tries, settings.umask), (97, 0));
}

#[test]
fn without_any_file_of_the_site_the_defaults_hold() {
    let scratch = site();
    fs::remove_dir_all(scratch.join("etc")).unwrap();
    assert_eq!(load_at(&scratch).unwrap().0.tries, 3);
    fs::remove_file(scratch.join("sizer/exo.yaml")).unwrap();
    let said = load_at(&scratch).unwrap_err();
    assert_eq!(said.len(), 1);
    assert!(said[0].ends_with("/sizer/exo.yaml: file does not exist"), "{said:?}");
}

#[test]
fn problems_of_all_files_are_told_with_their_paths() {
    let scratch = site();
    fs::write(scratch.join("etc/skynet.yaml"), "stroe: /x\n").unwrap();
    fs::write(scratch.join("etc/conf.d/a.yaml"), "participants: {command: x, treis: 1}\n").unwrap();
    fs::write(scratch.join("sizer/exo.yaml"), "tries: x\n").unwrap();
    let said = load_at(&scratch).unwrap_err();
    let wanted = [
        "etc/skynet.yaml: line 1, column 1: stroe: unknown key; did you mean store?",
        "etc/conf.d/a.yaml: line 1, column 16: participants.command: stands in the wrong place; it belongs in the participant's exo.yaml",
        "etc/conf.d/a.yaml: line 1, column 28: participants.treis: unknown key; did you mean tries?",
        "sizer/exo.yaml: line 1, column 8: tries: a whole number from 1 to 1000000 is expected, not \"x\"",
    ];
    let wanted = wanted.map(|line| format!("unable to read {}", scratch.join(line).display()));
    assert_eq!(said, wanted);
}

#[test]
fn a_file_that_others_can_change_is_refused_by_root_and_warned_about_else() {
    for name in ["etc/skynet.yaml", "etc/conf.d", "etc/conf.d/a.yaml", "sizer", "sizer/exo.yaml"] {
        let scratch = site();
        fs::write(scratch.join("etc/skynet.yaml"), "").unwrap();
        fs::write(scratch.join("etc/conf.d/a.yaml"), "").unwrap();
        let path = scratch.join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        let wanted =
            format!("{0} can be written by others (mode 0777): chmod go-w {0}", path.display());
        let said =
            if euid() == 0 { load_at(&scratch).unwrap_err() } else { load_at(&scratch).unwrap().1 };
        assert!(said.iter().all(|line| line.ends_with(&wanted)), "{said:?}");
        assert!(!said.is_empty());
    }
}

#[test]
fn a_large_file_a_fifo_and_a_link_to_nowhere_are_refused() {
    let scratch = site();
    let own = scratch.join("sizer/exo.yaml");
    fs::write(&own, "#".repeat(10 << 20)).unwrap();
    assert!(load_at(&scratch).unwrap_err()[0].ends_with("exo.yaml: larger than 1MiB"));
    fs::remove_file(&own).unwrap();
    symlink("nowhere", &own).unwrap();
    assert!(load_at(&scratch).unwrap_err()[0].ends_with("exo.yaml: file does not exist"));
    fs::remove_file(&own).unwrap();
    symlink("/dev/zero", &own).unwrap();
    assert!(load_at(&scratch).unwrap_err()[0].ends_with("exo.yaml: not a regular file"));
    fs::remove_file(&own).unwrap();
    fs::create_dir(&own).unwrap();
    assert!(load_at(&scratch).unwrap_err()[0].ends_with("exo.yaml: is a directory"));
}

#[test]
fn the_directory_names_the_participant_and_its_socket_has_an_end() {
    let draft = |dir: &str| Draft::new(&Places::of_system(), Path::new(dir));
    let entries = tree::parse(b"command: x\n").unwrap();
    let finish = |mut draft: Draft, entries: &[tree::Entry]| {
        assert_eq!(draft.lay(entries, Scope::Own, Path::new("f")), []);
        draft.finish().map(|(settings, _)| settings.participant)
    };
    assert_eq!(finish(draft("/srv/web_1.x"), &entries), Ok("web_1.x".into()));
    for dir in ["/srv/a b", "/srv/.a", "/", "/srv/é"] {
        let said = finish(draft(dir), &entries).unwrap_err();
        assert_eq!(said[0].key, "participant");
    }
    let mut places = Places::of_system();
    places.run = format!("/{}", "r".repeat(100)).into();
    let said = finish(Draft::new(&places, Path::new("/srv/web")), &entries).unwrap_err();
    assert!(said[0].to_string().contains("is longer than 107 bytes"), "{said:?}");
    places.store = PathBuf::new();
    places.run = "/r".into();
    let said = finish(Draft::new(&places, Path::new("/srv/web")), &entries).unwrap_err();
    assert!(said[0].to_string().starts_with("store: is not known"), "{said:?}");
}

/// What a site's file says of services, with what is wrong with it.
fn services(text: &str) -> (Vec<(String, bool, usize)>, Vec<String>) {
    let scratch = site();
    fs::write(scratch.join("etc/skynet.yaml"), "services: {web: {enabled: false}}\n").unwrap();
    fs::write(scratch.join("etc/conf.d/x.yaml"), text).unwrap();
    let places = Places::scratch(scratch.path());
    let mut reading = Reading::default();
    let mut draft = Draft::new(&places, Path::new("/"));
    for path in reading.site_files(&places) {
        reading.lay(&mut draft, &path, Scope::Site);
    }
    let services = draft.services.into_iter();
    let services = services.map(|(name, wanted)| (name, wanted.enabled, wanted.origin.line));
    let file = format!("unable to read {}: ", scratch.join("etc/conf.d/x.yaml").display());
    let lines = reading.trouble.lines.iter().map(|line| line.to_string().replace(&file, ""));
    (services.collect(), lines.collect())
}

#[test]
fn of_services_the_last_file_says_whether_they_are_enabled() {
    let text = "services:\n  sizer: {enabled: true}\n  my web: {enabled: false}\n";
    let all = [("my web", false, 3), ("sizer", true, 2), ("web", false, 1)];
    assert_eq!(
        services(text),
        (all.map(|(name, is, line)| (name.into(), is, line)).into(), vec![])
    );
    let all = [("web".to_owned(), true, 2)];
    assert_eq!(services("services:\n  web:\n    enabled: true\n"), (all.into(), vec![]));
}

#[test]
fn what_is_wrong_with_a_service_is_told_with_its_place_and_line() {
    for (text, wanted) in [
        (
            "services: {web: {enable: true}}",
            "line 1, column 18: services.web.enable: unknown key; did you mean enabled?",
        ),
        (
            "services: {web: {enabled: yes}}",
            "line 1, column 27: services.web.enabled: true or false is expected, without quotes",
        ),
        (
            "services: {web: {}}",
            "line 1, column 12: services.web: \"enabled: true\" or \"enabled: false\" is missing",
        ),
        (
            "services: {web: true}",
            "line 1, column 17: services.web: keys and values are expected here",
        ),
        (
            "services: {.web: {enabled: true}}",
            "line 1, column 12: services: \".web\" is no name of a service: svscan passes over what \
             begins with a dot",
        ),
        (
            "services: {a/b: {enabled: true}}",
            "line 1, column 12: services: \"a/b\" is no name of a service: it is that of a directory",
        ),
        ("service: {}", "line 1, column 1: service: unknown key; did you mean services?"),
    ] {
        assert_eq!(services(text).1, [wanted], "{text}");
    }
    let own = refused("services: {web: {enabled: true}}");
    assert!(
        own.contains("stands in the wrong place; it belongs at the top of skynet.yaml"),
        "{own}"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line_of_the_file() {
    let scratch = site();
    fs::write(scratch.join("etc/skynet.yaml"), "keep: 1d\nsafety: [é]\n").unwrap();
    let mut reading = Reading::default();
    let mut draft = Draft::new(&Places::scratch(scratch.path()), Path::new("/"));
    reading.lay(&mut draft, &scratch.join("etc/skynet.yaml"), Scope::Site);
    let line = &reading.trouble.lines[0];
    assert_eq!(line.problem.at, Some(At { line: 2, column: 9 }));
    assert_eq!(line.source.as_deref(), Some("safety: [é]"));
    assert_eq!(line.path, Some(scratch.join("etc/skynet.yaml")));
}

#[test]
fn the_digest_is_that_of_what_is_in_force() {
    let digest = |yaml: &str| digest(&with_command(yaml).unwrap());
    assert_eq!(digest("tries: 3\n"), digest("# three\ntries: 3\nmode: per-item\n"));
    for other in ["tries: 4\n", "config: {a: 1}\n", "environment: {A: b}\n", "instances: 2\n"] {
        assert_ne!(digest(""), digest(other), "{other}");
    }
}

#[test]
fn what_fits_into_no_variable_of_the_participant_is_refused_before_it_is_started() {
    let most = crate::settings::VARIABLE;
    // {"long":"..."} behind SKYNET_SETTINGS=.
    let fits = "x".repeat(most - "SKYNET_SETTINGS={\"long\":\"\"}".len());
    assert!(with_command(&format!("config: {{long: {fits}}}\n")).is_ok());
    let said = refused(&format!("config: {{long: {fits}x}}\n"));
    assert!(said.contains("config: the variable SKYNET_SETTINGS has 131072 bytes"), "{said}");
    assert!(with_command(&format!("mode: persistent\nconfig: {{long: {fits}x}}\n")).is_ok());
    let said = refused(&format!("mode: persistent\nenvironment: {{A: {}}}\n", "x".repeat(most)));
    assert!(said.contains("environment: the variable A has "), "{said}");
}
