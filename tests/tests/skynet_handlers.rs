//! Participants written for `SkyNET` and `RuoteAMQP`, installed by one command and run by a real exo, on
//! a user's instance and on the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use serde_json::{Value, json};
use site::{Kind, Place, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use testkit::{program, run_within};

const QUIRKS: &str = include_str!("../../crates/participant/python/tests/older/quirks.py");
const LOCK: &str = include_str!("../../crates/participant/python/tests/older/lock.py");
const IMAGE: &str = include_str!("../../crates/participant/python/tests/older/image.py");
const CONSUMER: &str = include_str!("../../crates/participant/python/tests/older/consumer.py");

/// What stands in for an engine: it says each message that it gets.
const ENGINE: &str = "#!/bin/sh\ncat\necho\n";

/// Writes one of the participants, or its configuration, where a developer has it; returns its path.
fn code(site: &Site, name: &str, text: &str) -> String {
    let dir = site.on_desk("code", &[(name, text)]);
    dir.join(name).to_str().unwrap().to_owned()
}

/// Returns what the log of a service says.
fn log(site: &Site, name: &str) -> String {
    let log = site.at(Place::Logs).join(name).join("current");
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// Submits an item and waits for its end; returns its answer, or the fault, as submit says it.
#[track_caller]
fn work(site: &Site, name: &str, item: &Value) -> Value {
    let said = site.skynet(&["submit", name, &item.to_string(), "--wait", "--json"]);
    let out = said.out();
    let line = out.lines().next_back().unwrap_or_else(|| panic!("{said:?}"));
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {said:?}"))
}

fn item(wfid: &str, fields: &Value) -> Value {
    json!({"fei": {"wfid": wfid, "expid": "0_1", "subid": "s"}, "n": 1.0, "fields": fields})
}

fn to_do(wfid: &str, what: &str) -> Value {
    item(wfid, &json!({"do": what, "params": {"unit": "MB"}}))
}

/// Installs quirks.py as `doer`, with lines added to its exo.yaml, and starts it.
fn doer(site: &Site, more: &str) {
    let conf = code(site, "x.conf", "[quirks]\ngreeting=hi\n");
    site.well(&["install", &code(site, "quirks.py", QUIRKS), "doer", "-c", &conf]);
    let own = site.dir("doer").join("exo.yaml");
    let text = fs::read_to_string(&own).unwrap();
    fs::write(&own, text + more).unwrap();
    site.well(&["enable", "--now", "doer"]);
}

#[test]
fn one_command_makes_a_handler_a_service_that_sees_what_it_always_saw() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let conf = code(&site, "own.conf", "[quirks]\ngreeting=hi %d\nsite=own\n");
        if kind == Kind::System {
            // The site's own files stay where they are.
            let etc = site.at(Place::Config);
            site.folder(&etc);
            fs::write(etc.join("doer.conf"), "[quirks]\nsite=etc\n").unwrap();
        }
        let file = code(&site, "quirks.py", QUIRKS);
        let options = ["-n", "doer", "-q", "jobs", "-r", "do_.*", "-i", "2", "-c", &conf];
        let said = site.well(&[&["install", &file, "--enable", "--now"], &options[..]].concat());
        assert!(said.starts_with("doer: installed\n"), "{said}");
        let text = fs::read_to_string(site.dir("doer").join("exo.yaml")).unwrap();
        let lines =
            ["queue: \"jobs\"", "instances: 2", "    queue: \"jobs\"", "    regexp: \"do_.*\""];
        for line in lines {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(site.well(&["list", "--enabled"]).contains("doer\n"));

        let done = work(&site, "doer", &to_do("w-1", "answer"));
        let fields = &done["answer"]["fields"];
        assert_eq!((&fields["greeting"], &fields["unit"]), (&json!("hi %d"), &json!("MB")));
        assert_eq!((&fields["sid"], &fields["__result__"]), (&json!("0_1!s!w-1"), &json!(true)));
        let layer = if kind == Kind::System { "etc" } else { "own" };
        assert_eq!(fields["site"], json!(layer), "{done}");
        // Written as 1.0, not as 1.
        assert!(done.to_string().contains("\"n\":1.0"), "{done}");

        let failed = work(&site, "doer", &to_do("w-2", "plain"));
        let error = &failed["answer"]["error"];
        let text = "RuntimeError: Missing mandatory field 'ev.actions'";
        assert_eq!((&failed["fault"], &error["message"]), (&json!(10), &json!(text)));
        assert_eq!(error["class"], json!("Ruote::Amqp::RemoteError"), "{failed}");
        assert!(error["trace"][0].as_str().unwrap().contains("quirks.py:"), "{failed}");
        assert_eq!(failed["answer"]["fields"]["seen"], json!(true), "{failed}");
    });
}

#[test]
fn a_handler_s_own_configuration_names_it_its_queue_and_its_pattern_unless_the_command_does() {
    let site = Site::new(Kind::Private);
    let own = "[participant]\nname=named\nqueue=jobs\nregexp=do_.*\n[quirks]\ngreeting=hi\n";
    let (file, conf) = (code(&site, "quirks.py", QUIRKS), code(&site, "own.conf", own));
    let lines = |name: &str| fs::read_to_string(site.dir(name).join("exo.yaml")).unwrap();
    site.well(&["install", &file, "-c", &conf]);
    let text = lines("named");
    assert!(text.contains("queue: \"jobs\"") && text.contains("regexp: \"do_.*\""), "{text}");
    assert!(!site.well(&["check", "named"]).contains("counts"));
    site.well(&["install", &file, "-c", &conf, "-n", "doer", "-q", "others", "-r", "x_.*"]);
    let text = lines("doer");
    assert!(text.contains("queue: \"others\"") && text.contains("regexp: \"x_.*\""), "{text}");
    let told = |name: &str, end: &str| {
        let said = site.well(&["check", name]);
        for words in [
            format!("{name}.conf:2: [participant] name is named, and {name} counts{end}"),
            format!("{name}.conf:3: [participant] queue is jobs, and others counts{end}"),
            format!("{name}.conf:4: [participant] regexp is do_.*, and x_.* counts{end}"),
        ] {
            assert!(said.lines().any(|line| line.ends_with(&words)), "{words}: {said}");
        }
        said
    };
    // What was said is a decision, also where it is what holds without a word.
    let said = told("doer", ", as exo.yaml says");
    assert!(said.contains("note: ") && said.ends_with(": 3 notes\n"), "{said}");
    site.well(&["check", "--strict", "doer"]);
    site.well(&["install", &file, "-c", &conf, "plain", "-q", "plain", "-r", "plain"]);
    let said = site.well(&["check", "--strict", "plain"]);
    assert!(said.ends_with(": 3 notes\n"), "{said}");
    // It is kept by the next installation.
    site.well(&["install", &file, "plain"]);
    assert_eq!(site.well(&["check", "--strict", "plain"]), said);
    // What nobody decided is a warning.
    let own = site.dir("doer").join("exo.yaml");
    let text = fs::read_to_string(&own).unwrap();
    let is_decided = |line: &&str| line.starts_with("participant:") || line.starts_with("queue:");
    let rest: Vec<&str> = text.lines().filter(|line| !is_decided(line)).collect();
    fs::write(&own, rest.join("\n")).unwrap();
    let said = site.well(&["check", "doer"]);
    for warned in [
        "doer.conf:3: [participant] queue is jobs, and doer counts\n",
        "config.participant.queue is others, and queue, doer, counts\n",
    ] {
        assert!(said.contains(warned) && said.ends_with(": 3 warnings, 1 note\n"), "{said}");
    }
    assert_eq!(site.skynet(&["check", "--strict", "doer"]).code, Some(1));
}

#[test]
fn an_interpreter_that_dies_is_a_failure_of_its_item_alone() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        doer(&site, "tries: 1\n");
        let crashed = work(&site, "doer", &to_do("w-1", "crash"));
        assert_eq!(crashed["ok"], json!(false), "{crashed}");
        assert_eq!(crashed["error"], json!("died: exit 99"), "{crashed}");
        let after = work(&site, "doer", &to_do("w-2", "answer"));
        assert_eq!(after["answer"]["fields"]["greeting"], json!("hi"), "{after}");
    });
}

#[test]
fn a_cancel_reaches_a_handler_at_work_and_what_is_kept_is_not_answered() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        doer(&site, "");
        site.well(&["submit", "doer", &to_do("w-long", "wait").to_string()]);
        site.until(|| log(&site, "doer").contains("waiting\n"));
        site.well(&["cancel", "w-long"]);
        site.until(|| site.well(&["history", "w-long"]).contains("cancelled"));
        let said = log(&site, "doer");
        assert!(said.contains("doer INFO: control cancel\n"), "{said}");

        let kept = work(&site, "doer", &to_do("w-kept", "forget"));
        assert_eq!((&kept["ok"], &kept["fault"]), (&json!(true), &json!(0)), "{kept}");
    });
}

#[test]
fn a_handler_that_is_stopped_finishes_and_one_that_takes_too_long_gives_its_item_back() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        // The handler is told of its death 5 s before.
        doer(&site, "shutdown-grace: 6s\n");
        site.well(&["submit", "doer", &to_do("w-1", "wait").to_string()]);
        site.until(|| log(&site, "doer").contains("waiting\n"));
        site.well(&["stop", "doer"]);
        let said = log(&site, "doer");
        for words in ["lifecycle die\n", "lifecycle stop\n"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("control cancel"), "{said}");
        site.well(&["start", "doer"]);
        site.until(|| log(&site, "doer").matches("waiting\n").count() == 2);
    });
}

#[test]
fn what_a_handler_sends_to_the_engine_waits_in_the_engine_s_queue() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let engine =
            site.on_desk("ruote_workitems", &[("exo.yaml", "command: ./work\n"), ("work", ENGINE)]);
        site.well(&["install", engine.to_str().unwrap(), "--enable", "--now"]);

        let folder = site.desk().join("locks");
        site.folder(&folder);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let conf = code(&site, "a.conf", &format!("[lock]\nfolder={}\n", folder.display()));
        let file = code(&site, "lock.py", LOCK);
        site.well(&["install", &file, "--config", &conf, "--enable", "--now"]);
        let ask = |wfid: &str, action: &str| {
            let params = json!({"action": action, "lock_project": "p"});
            work(&site, "lock", &item(wfid, &json!({"params": params, "dispatched_at": action})))
        };
        assert_eq!(ask("first", "get")["ok"], json!(true));
        assert_eq!(ask("second", "get")["ok"], json!(true));
        assert_eq!(ask("first", "release")["ok"], json!(true));
        let released = "\"wfid\":\"second\"";
        site.until(|| log(&site, "ruote_workitems").contains(released));
        let said = log(&site, "ruote_workitems");
        assert!(said.contains("\"n\":1.0") && said.contains("\"__result__\":true"), "{said}");

        let conf = code(&site, "b.conf", "[image]\nopts=-a\n");
        let file = code(&site, "image.py", IMAGE);
        site.well(&["install", &file, "--config", &conf, "--enable", "--now"]);
        let built = work(&site, "image", &item("built", &json!({"name": "core", "arch": "arm"})));
        assert_eq!(built["answer"]["fields"]["__result__"], json!(true), "{built}");
        let launches = |status: &str| format!("update_image_status :status => '{status}'");
        site.until(|| log(&site, "ruote_workitems").contains(&launches("DONE")));
        assert!(log(&site, "ruote_workitems").contains(&launches("BUILDING")));

        // One of before SkyNET, which ends when it has had enough, and is started again.
        site.well(&["install", &code(&site, "consumer.py", CONSUMER), "--enable", "--now"]);
        for n in [1, 2, 3, 1] {
            let done = work(&site, "consumer", &json!({"fields": {}}));
            assert_eq!(done["answer"]["fields"]["count"], json!(n), "{done}");
        }
        assert!(!log(&site, "consumer").contains("secret"));
    });
}

#[test]
fn a_handler_can_be_tried_by_hand_before_it_is_installed() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let conf = code(&site, "x.conf", "[quirks]\ngreeting=hi\n");
        site.well(&["install", "-p", &code(&site, "quirks.py", QUIRKS), "-n", "doer", "-c", &conf]);
        let tried = site.skynet(&["manual", "doer", "-i", &to_do("w", "answer").to_string()]);
        assert_eq!(tried.code, Some(0), "{tried:?}");
        assert!(tried.out().contains("\"greeting\":\"hi\""), "{tried:?}");
        let tried = site.skynet(&["manual", "doer", "-i", &to_do("w", "file").to_string()]);
        assert_eq!(tried.code, Some(1), "{tried:?}");
    });
}

#[test]
fn a_directory_with_a_handler_is_installed_with_what_lies_beside_it() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let code = "from words import WORD\nclass ParticipantHandler(object):\n    \
            def handle_wi(self, wid):\n        wid.fields.word = WORD\n";
        let files = [("speak.py", code), ("words.py", "WORD = 'hello'\n")];
        let dir = site.on_desk("speaker", &files);
        site.well(&["install", dir.to_str().unwrap(), "-i", "2", "--enable", "--now"]);
        let done = work(&site, "speaker", &json!({"fields": {}}));
        assert_eq!(done["answer"]["fields"]["word"], json!("hello"), "{done}");
        // New code is installed likewise, and runs after a restart.
        fs::write(dir.join("words.py"), "WORD = 'goodbye'\n").unwrap();
        site.well(&["install", dir.to_str().unwrap(), "--now"]);
        let done = work(&site, "speaker", &json!({"fields": {}}));
        assert_eq!(done["answer"]["fields"]["word"], json!("goodbye"), "{done}");
    });
}

#[test]
fn a_handler_that_is_installed_again_keeps_what_its_administrator_has_set() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let (file, conf) =
            (code(&site, "quirks.py", QUIRKS), code(&site, "x.conf", "[quirks]\ngreeting=hi\n"));
        site.well(&["install", &file, "doer", "-q", "jobs", "-r", "do_.*", "-c", &conf]);
        let own = site.dir("doer").join("exo.yaml");
        let made = fs::read_to_string(&own).unwrap();
        let set = made.replace("\"quirks.py\"]", "\"quirks.py\", --fault, \"3\"]")
            + "# since the move\ntries: 7\nenvironment: {MODE: fast}\n";
        assert_ne!(set.lines().nth(1), made.lines().nth(1));
        fs::write(&own, &set).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();

        // New code, and nothing said.
        fs::write(&file, format!("{QUIRKS}# new\n")).unwrap();
        site.well(&["install", &file, "doer", "--enable", "--now"]);
        assert_eq!(fs::read_to_string(&own).unwrap(), set);
        assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(site.dir("doer/quirks.py")).unwrap().ends_with("# new\n"));
        let done = work(&site, "doer", &to_do("w", "answer"));
        assert_eq!(done["answer"]["fields"]["greeting"], json!("hi"), "{done}");

        // What is said counts, and other code is run by the same command.
        let other = code(&site, "other.py", QUIRKS);
        site.well(&["install", &other, "doer", "-q", "new", "-i", "2", "-r", "x_.*"]);
        let wanted = set.replace("\"jobs\"", "\"new\"").replace("do_", "x_") + "instances: 2\n";
        let there = fs::read_to_string(&own).unwrap();
        let rest = |text: &str| {
            text.lines()
                .filter(|l| !l.starts_with("command"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(rest(&there), rest(&wanted));
        let command = r#"command: ["python3","-m","SkyNET","other.py","--fault","3"]"#;
        assert!(there.lines().any(|line| line == command), "{there}");
    });
}

#[test]
fn a_queue_and_a_pattern_that_a_configuration_sets_back_to_the_name_are_set_back() {
    let site = Site::new(Kind::Private);
    let file = code(&site, "quirks.py", QUIRKS);
    let install = |queue: &str, regexp: &str| {
        let text = format!("[participant]\nqueue={queue}\nregexp={regexp}\n");
        site.well(&["install", &file, "doer", "-c", &code(&site, "x.conf", &text)]);
        fs::read_to_string(site.dir("doer").join("exo.yaml")).unwrap()
    };
    let plain = install("doer", "doer");
    assert!(!plain.contains("queue:") && !plain.contains("regexp:"), "{plain}");
    assert_eq!(install("doer", "doer"), plain);
    let other = install("jobs", "do_.*");
    assert!(other.contains("queue: \"jobs\"") && other.contains("\"do_.*\""), "{other}");
    let back = install("doer", "doer");
    assert_eq!(back, other.replace("\"jobs\"", "\"doer\"").replace("\"do_.*\"", "\"doer\""));
    site.well(&["check", "--strict", "doer"]);
}

#[test]
fn what_cannot_be_set_in_a_handler_s_file_is_told_of_that_file_and_nothing_is_done() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let file = code(&site, "h.py", QUIRKS);
        site.well(&["install", &file]);
        let own = site.dir("h").join("exo.yaml");
        let before = fs::read_to_string(&own).unwrap() + "config: {a: {b: c}}\n";
        fs::write(&own, &before).unwrap();
        let said = site.ends(1, &["install", &file, "-r", "y"]);
        for why in [
            "unable to set config.participant.regexp in ",
            "as it is written; set it to \"y\" there",
        ] {
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(fs::read_to_string(&own).unwrap(), before);
        // What is wrong with it is told of the file where it is.
        fs::write(&own, before + "treis: 7\n").unwrap();
        let said = site.ends(1, &["install", &file]);
        assert!(
            said.contains("participants/h/exo.yaml: line ") && said.contains("treis"),
            "{said}"
        );
    });
}

#[test]
fn what_is_said_of_a_handler_and_cannot_be_is_told_of_the_file_that_is_made_of_it() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let file = code(&site, "h.py", QUIRKS);
        let said = site.ends(1, &["install", "-q", "a/b", &file]);
        let text = format!("skynet: fatal: unable to read exo.yaml made for {file}: line ");
        assert!(said.starts_with(&text) && said.contains("queue: \"a/b\" holds"), "{said}");
        if kind == Kind::Private {
            let said = site.ends(0, &["install", "-u", "root", &file]);
            let text =
                format!("h: installed\nskynet: warning: user root (exo.yaml made for {file}:");
            assert!(said.starts_with(&text) && said.contains("only root can change"), "{said}");
        }
    });
}

#[test]
fn what_is_no_handler_is_refused_and_nothing_is_made() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let class = "class ParticipantHandler:\n    pass\n";
        let none = code(&site, "none.py", "x = 1\n");
        let text = code(&site, "text.txt", class);
        let good = code(&site, "good.py", class);
        let bytes = site.desk().join("bytes.py");
        fs::write(&bytes, b"class ParticipantHandler: x = '\xff'\n").unwrap();
        let huge = site.desk().join("huge.py");
        fs::write(&huge, class.to_owned() + &"#".repeat(2 << 20)).unwrap();
        let fifo = site.desk().join("fifo.py");
        run_within(site::SOON, &mut site.command("mkfifo", &[fifo.to_str().unwrap()]));
        let two = site.on_desk("two", &[("a.py", class), ("b.py", class)]);
        let taken = site.on_desk("taken", &[("a.py", class), ("SkyNET/__init__.py", "")]);
        let whole = site.on_desk("whole", &[("run", "#!/bin/sh\n"), ("a.py", class)]);
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let cases: [(&[&str], i32, &str); 13] = [
            (&[&none], 1, "none.py has no class ParticipantHandler"),
            (&[&text], 1, "text.txt: rename it: Python's files end in .py"),
            (&[&path(&bytes)], 1, "bytes.py is not UTF-8"),
            (&[&path(&huge)], 1, "huge.py is larger than 1MiB"),
            (&[&path(&fifo)], 111, "unable to read"),
            (&[&path(&two)], 1, "is in a.py and in b.py: install one file"),
            (&[&path(&taken)], 1, "taken/SkyNET is in the way"),
            (&[&path(&whole), "-q", "x"], 100, "are for a handler; what "),
            (&[&good, "-i", "0"], 100, "0 is not in 1..=1000"),
            (&[&good, "-q", "a/b"], 1, "queue"),
            (&[&good, "as", "-n", "other"], 100, "cannot be used with"),
            (&[&good, "-c", "nowhere.conf"], 111, "unable to open nowhere.conf"),
            (&["nowhere.py"], 111, "unable to open nowhere.py"),
        ];
        for (args, code, why) in cases {
            let said = site.ends(code, &[&["install"], args].concat());
            assert!(said.contains(why), "{args:?}: {said}");
        }
        assert_eq!(site.well(&["list"]).lines().count(), 1);
    });
}

/// A handler as generation 1 and the supervisor's era had them.
const OLD: &str = "import os\n\nclass ParticipantHandler(object):\n    \
    def handle_lifecycle_control(self, ctrl):\n        if ctrl.message == \"start\":\n            \
    self.config = ctrl.config\n\n    def handle_wi(self, wid):\n        \
    wid.fields.regexp = self.config.get(\"participant\", \"regexp\")\n        \
    wid.fields.queue = self.config.get(\"participant\", \"queue\")\n        \
    wid.fields.mode = os.environ.get(\"MODE\")\n        wid.fields.uid = os.getuid()\n        \
    wid.fields.limit = self.config.getint(\"limits\", \"most\", fallback=0)\n        \
    wid.fields.host = self.config.get(\"boss\", \"amqp_host\")\n        \
    self.log.debug(\"at work\")\n        wid.result = True\n";

const SUPERVISED: &str = "[program:sized]\ncommand=/usr/bin/skynet_exo /etc/skynet/sized.conf\n\
    user=nobody\nnumprocs=2\nprocess_name=%(program_name)s_%(process_num)d\nautostart=true\n\
    environment=MODE=\"fast, very\",OTHER=1\n\n[participant]\nname=sized\nqueue=sizes\n\
    regexp=size_.*\ncode=OLD/sized.py\n\n[skynet]\nlog_level=DEBUG\n\n[limits]\nmost=3\n";

#[test]
fn what_is_imported_runs_with_user_instances_environment_queue_and_pattern() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let old = site.on_desk("old", &[("sized.py", OLD), ("participant_logic.py", OLD)]);
        let text = SUPERVISED.replace("OLD", old.to_str().unwrap());
        let first = "name=first\nqueue=firsts\nregexp=first_.*\nrunas=nobody\n";
        if kind == Kind::System {
            // A site's file counts over the participant's own, as on the older host.
            let etc = site.at(Place::Config);
            site.folder(&etc);
            fs::write(etc.join("sized.conf"), "[limits]\nmost = 5\n").unwrap();
        }
        let most = if kind == Kind::System { 5 } else { 3 };
        let files = [("config.exo", first), ("participant_logic.py", OLD)];
        let conf = site.on_desk("conf.d", &[("sized.conf", &text)]);
        let gen1 = site.on_desk("first", &files);
        site.well(&["import", conf.to_str().unwrap(), gen1.to_str().unwrap()]);
        site.well(&["enable", "--now", "sized", "first"]);

        let fields = work(&site, "sized", &json!({"fields": {}}))["answer"]["fields"].clone();
        let nobody = 65534;
        for (key, value) in [
            ("regexp", json!("size_.*")),
            ("mode", json!("fast, very")),
            ("uid", json!(nobody)),
            ("limit", json!(most)),
            ("queue", json!("sizes")),
            ("host", json!("localhost")),
        ] {
            assert_eq!(fields[key], value, "{key}: {fields}");
        }
        site.until(|| log(&site, "sized").contains("sized DEBUG: at work\n"));
        assert_eq!(site.pids("python3").len(), 3);

        let fields = work(&site, "first", &json!({"fields": {}}))["answer"]["fields"].clone();
        assert_eq!((&fields["regexp"], &fields["uid"]), (&json!("first_.*"), &json!(nobody)));
        assert_eq!(fields["queue"], json!("firsts"));
        let queues = [("sized", "sizes"), ("first", "firsts")];
        for (name, queue) in queues {
            let dir = site.inside(Place::Participants).join(name);
            let args = ["check", "--show", dir.to_str().unwrap()];
            let said = run_within(site::SOON, &mut site.command(program("exo"), &args));
            assert!(said.out().contains(&format!("queue: \"{queue}\"")), "{said:?}");
        }
        // What a command says of the queue the handler sees, whatever its own configuration says.
        let code = old.join("sized.py");
        site.well(&["install", code.to_str().unwrap(), "sized", "-q", "others", "--now"]);
        let fields = work(&site, "sized", &json!({"fields": {}}))["answer"]["fields"].clone();
        assert_eq!((&fields["queue"], &fields["limit"]), (&json!("others"), &json!(most)));
    });
}
