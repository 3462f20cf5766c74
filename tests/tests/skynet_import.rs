//! What comes from older systems, and what shells complete.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use site::{Kind, Person, Place, Site};
use std::fs;
use std::process::Command;
use testkit::{program, run_within};

/// One of supervisor's files: two programs and what is supervisor's own.
const PROGRAMS: &str = "\
[supervisord]
logfile = /var/log/supervisord.log

[program:ticker]
command = /bin/sh -c 'echo \"$GREETING\" $0; exec sleep 1000' %(program_name)s ; says who it is
directory = DESK
umask = 027
environment = GREETING=\"hello, you\",OTHER=1
autostart = false
stopsignal = QUIT
stdout_logfile = /var/log/ticker.log
priority = 7

[program:other]
command=sleep 1000
";

/// One of the second generation: a participant and what ran it.
const PARTICIPANT: &str = "\
[program:doubler]
command = /usr/bin/python -m SkyNET.exo
numprocs = 2
stopwaitsecs = 7
umask = 022
environment = MODE=\"fast\",API_TOKEN=\"hush\"

[participant]
name = doubler
queue = numbers
regexp = double_.*
code = doubler.py

[boss]
amqp_host = localhost:5672
amqp_pwd = hush

[skynet]
log_level = DEBUG

[limits]
factor = 3
api_key = hush
";

/// A handler as they were written.
const HANDLER: &str = "\
class ParticipantHandler(object):
    def handle_lifecycle_control(self, ctrl):
        if ctrl.message == 'start':
            self.factor = int(ctrl.config.get('limits', 'factor'))

    def handle_wi_control(self, ctrl):
        pass

    def handle_wi(self, wid):
        if wid.fields.n is None:
            raise RuntimeError(\"Missing mandatory field 'n'\")
        self.log.info('at work on %s' % wid.wfid)
        wid.fields.n = wid.fields.n * self.factor
        wid.set_field('seen.by', wid.params.as_dict().get('name'))
        wid.result = True
";

/// One of the first generation.
const CONFIG_EXO: &str = "name=first\nqueue=first\nregexp=first\ncode=first.py\nrunas=nobody\n";

fn check(site: &Site, name: &str) {
    let dir = site.inside(Place::Participants).join(name);
    let said = run_within(
        site::SOON,
        &mut site.command(program("exo"), &["check", dir.to_str().unwrap()]),
    );
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// What was imported works on an item, and refuses one that is none of its.
#[track_caller]
fn doubles(site: &Site) {
    let item = r#"{"fei":{"wfid":"w","expid":"0"},"fields":{"n":14,"params":{"name":"me"}}}"#;
    let tried = site.skynet(&["manual", "doubler", "-i", item]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    let answer: serde_json::Value = serde_json::from_str(&tried.out()).unwrap();
    let fields = &answer["fields"];
    assert_eq!(
        (&fields["n"], &fields["seen"]["by"], &fields["__result__"]),
        (&42.into(), &"me".into(), &true.into())
    );
    assert!(tried.err().contains("at work on w"), "{tried:?}");
    assert_eq!(site.skynet(&["manual", "doubler", "-i", r#"{"fields":{}}"#]).code, Some(1));
}

#[test]
fn participants_of_older_hosts_work_as_they_did_and_what_is_lost_is_told_with_its_line() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let files = [("doubler.conf", PARTICIPANT), ("doubler.py", HANDLER)];
        let dir = site.on_desk("old", &files);
        let exo = [("config.exo", CONFIG_EXO), ("first.py", HANDLER)];
        let first = site.on_desk("first", &exo);
        let args = ["import", dir.to_str().unwrap(), first.to_str().unwrap()];
        let dry = site.well(&[&args[..], &["--dry-run"]].concat());
        assert!(dry.contains("doubler: would be made from "), "{dry}");
        assert_eq!(site.well(&["list"]).lines().count(), 1);

        let said = site.well(&args);
        assert_eq!(said, dry.replace("would be made", "made"));
        for note in [
            "doubler.conf:11: [participant] regexp: double_.* is kept, and not registered with an engine",
            "doubler.conf:12: [participant] code: doubler.py was copied",
            "this machine; for an engine on RabbitMQ say in skynet.yaml, below broker,",
            "doubler.conf:16: [boss] amqp_pwd: not carried over",
            "doubler.conf:6: [program:doubler] environment, API_TOKEN, was not carried over: ",
            "doubler.conf:23: [limits] api_key was not carried over: put it into ",
            "first: made from ",
            "config.exo:4: code: first.py was copied",
        ] {
            assert!(said.contains(note), "{note}\n{said}");
        }
        assert!(!said.contains("hush"), "{said}");
        let text = fs::read_to_string(site.dir("doubler").join("exo.yaml")).unwrap();
        assert!(!text.contains("hush"), "{text}");
        for line in [
            "queue: \"numbers\"",
            "instances: 2",
            "shutdown-grace: 7s",
            "umask: \"022\"",
            "  \"MODE\": \"fast\"",
            "    regexp: \"double_.*\"",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let own = fs::read_to_string(site.dir("doubler").join("doubler.conf")).unwrap();
        let wanted = "[limits]\nfactor = 3\n\n[participant]\nqueue = numbers\nregexp = double_.*\n\n\
            [skynet]\nlog_level = DEBUG\n";
        assert_eq!(own, wanted);
        check(&site, "doubler");
        doubles(&site);
        let again = site.ends(1, &args);
        assert!(
            again.contains("doubler is there already") && again.contains("first is there"),
            "{again}"
        );
    });
}

/// A participant's own configuration, laid out as one likes.
const ODD: &str = "\
stray = 1
[participant]
  name = odd
  code = odd.py
[own]
  list =
    one ; two

    # c
    three
  next: 3
[own]
greeting = 100%% of %(next)s
[else]
";

#[test]
fn a_participant_s_own_configuration_lies_beside_its_code_as_it_was_and_what_it_lacks_is_told() {
    let site = Site::new(Kind::Private);
    let dir = site.on_desk("old", &[("odd.conf", ODD), ("odd.py", HANDLER)]);
    let said = site.well(&["import", dir.to_str().unwrap()]);
    assert!(said.contains("odd.conf:1: stray: not carried over: it stands before"), "{said}");
    let own = fs::read_to_string(site.dir("odd").join("odd.conf")).unwrap();
    let wanted = "[own]\nlist = \n\tone ; two\n\t\n\tthree\nnext = 3\n\
        greeting = 100%% of %(next)s\n\n[else]\n";
    assert_eq!(own, wanted);
    let text = fs::read_to_string(site.dir("odd").join("exo.yaml")).unwrap();
    assert!(!text.contains("config:"), "{text}");
    check(&site, "odd");
}

#[test]
fn an_account_that_is_blank_or_a_number_is_not_carried_over() {
    let site = Site::new(Kind::Private);
    for (name, runas, note) in
        [("blank", "", ""), ("number", "1000", "config.exo:5: runas: a number; write the account")]
    {
        let exo = CONFIG_EXO.replace("first", name).replace("nobody", runas);
        let code = format!("{name}.py");
        let dir = site.on_desk(name, &[("config.exo", &exo), (&code, HANDLER)]);
        let said = site.well(&["import", dir.to_str().unwrap()]);
        assert!(said.contains(note) && said.contains("runas") != note.is_empty(), "{said}");
        let text = fs::read_to_string(site.dir(name).join("exo.yaml")).unwrap();
        assert!(!text.contains("user:"), "{text}");
        check(&site, name);
    }
}

#[test]
fn what_supervisor_was_told_of_a_participant_s_starts_is_told_where_it_is_not_the_usual() {
    let site = Site::new(Kind::Private);
    let import = |keys: &str| {
        let text = PARTICIPANT.replace("numprocs = 2\n", keys);
        let dir = site.on_desk("old", &[("doubler.conf", &text), ("doubler.py", HANDLER)]);
        site.well(&["import", "--dry-run", dir.to_str().unwrap()])
    };
    let said = import("autostart = false\nautorestart = false\nstartsecs = 10\nstartretries = 9\n");
    for note in [
        "doubler.conf:3: [program:doubler] autostart: it stays disabled",
        "doubler.conf:4: [program:doubler] autorestart: exo is started again whenever it ends",
        "doubler.conf:5: [program:doubler] startsecs: not carried over",
        "doubler.conf:6: [program:doubler] startretries: not carried over",
    ] {
        assert!(said.contains(note), "{note}\n{said}");
    }
    assert!(!said.contains("skynet enable"), "{said}");
    let said =
        import("autostart = true\nautorestart = unexpected\nstartsecs = 1\nstartretries = 3\n");
    assert!(said.contains("autostart: nothing is enabled yet: skynet enable"), "{said}");
    for key in ["autorestart", "startsecs", "startretries"] {
        assert!(!said.contains(key), "{said}");
    }
}

#[test]
fn what_is_said_of_the_older_broker_is_what_holds_for_the_instance() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let config = site.at(Place::Config);
        site.folder(&config);
        let broker = "broker: {kind: rabbitmq, host: mq.example, password-file: /nowhere}\n";
        fs::write(config.join("skynet.yaml"), broker).unwrap();
        site.own_all(&config);
        let text = PARTICIPANT.replace("amqp_pwd", "amqp_user = u\namqp_pwd");
        // RabbitMQ's queues are called as they like.
        let text = text.replace("queue = numbers", "queue = numbers of x/y");
        let dir = site.on_desk("old", &[("doubler.conf", &text), ("doubler.py", HANDLER)]);
        let said = site.well(&["import", dir.to_str().unwrap()]);
        for note in [
            ":15: [boss] amqp_host: not carried over: items come from mq.example, as broker in skynet.yaml says",
            ":16: [boss] amqp_user: not carried over: what counts is broker in skynet.yaml",
            ":17: [boss] amqp_pwd: not carried over: it belongs into the file that broker.password-file",
            "doubler.conf:1: errors are answered as Ruote::Amqp::RemoteError, which BOSS 0.12 does not know",
        ] {
            assert!(said.contains(note), "{note}\n{said}");
        }
        assert!(!said.contains("hush") && !said.contains("no broker"), "{said}");
        let text = fs::read_to_string(site.dir("doubler").join("exo.yaml")).unwrap();
        assert!(text.lines().any(|line| line == "queue: \"numbers of x/y\""), "{text}");

        // Whoever has said which class it is hears nothing of it.
        let said = "participants: {error-class: \"BOSS::RemoteError\"}\n";
        fs::write(config.join("skynet.yaml"), format!("{broker}{said}")).unwrap();
        let exo = [("config.exo", CONFIG_EXO), ("first.py", HANDLER)];
        let first = site.on_desk("first", &exo);
        let said = site.well(&["import", first.to_str().unwrap()]);
        assert!(said.contains("first: made from ") && !said.contains("RemoteError"), "{said}");
    });
}

#[test]
fn a_program_of_supervisor_s_becomes_a_service_with_a_log() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let programs = PROGRAMS.replace("DESK", site.desk().to_str().unwrap());
        let dir = site.on_desk("old", &[("all.conf", &programs)]);
        let said = site.well(&["import", dir.join("all.conf").to_str().unwrap()]);
        for note in [
            "ticker: made from ",
            "all.conf:1: [supervisord]: not carried over",
            "all.conf:9: [program:ticker] autostart: it stays disabled",
            "all.conf:10: [program:ticker] stopsignal: not carried over",
            "all.conf:11: [program:ticker] stdout_logfile: not carried over: its log is kept by multilog",
            "all.conf:12: [program:ticker] priority: not carried over",
            "other: made from ",
        ] {
            assert!(said.contains(note), "{note}\n{said}");
        }
        assert_eq!(site.well(&["list", "--enabled"]), "skynet-log\n");
        site.well(&["start", "ticker", "other"]);
        let log = site.at(Place::Logs).join("ticker/current");
        site.until(|| {
            fs::read_to_string(&log).is_ok_and(|log| log.ends_with(" hello, you ticker\n"))
        });
    });
}

/// Supervisor's own notation, in all that `run` is made of.
const EXPANDED: &str = "\
[program:clock]
command = /bin/sh -c 'echo \"$NAME $N\" $0 $1; echo \"$PATH\"; exec sleep 1000' +%%s%(process_num)02d %(ENV_PATH)s
directory = %(here)s/data
environment = PATH=\"%(ENV_PATH)s:/opt/x y\",N=\"100%%\",BAD-NAME=1,NAME=%(program_name)s,GROUP=%(group_name)s
user =

[program:doubler]
user = %(ENV_USER)s
umask = 022
environment = PATH=\"%(ENV_PATH)s:/opt/x\",HERE=\"%(here)s/data\",N=\"100%%\",BAD-NAME=1,SKYNET_X=1

[participant]
name = doubler
code = doubler.py
regexp = 100%%
";

#[test]
fn what_supervisor_puts_into_values_is_put_in_here_and_what_nobody_knows_is_told() {
    let site = Site::booted(Kind::Private);
    let programs = EXPANDED.split_inclusive("\n\n").next().unwrap();
    let participant = &EXPANDED[programs.len()..];
    let files = [("clock.conf", programs), ("doubler.conf", participant), ("doubler.py", HANDLER)];
    let dir = site.on_desk("old", &files);
    site.folder(&dir.join("data"));
    let said = site.well(&["import", dir.to_str().unwrap()]);
    for note in [
        "clock.conf:4: [program:clock] environment, BAD-NAME, was not carried over: sh has no variables",
        "clock.conf:4: [program:clock] environment: %(group_name)s is not expanded; edit run",
        "doubler.conf:2: [program:doubler] user: not carried over: exo.yaml has nothing like %(ENV_USER)s",
        "doubler.conf:4: [program:doubler] environment, PATH, was not carried over: exo.yaml has nothing like",
        "doubler.conf:4: [program:doubler] environment, BAD-NAME, was not carried over: ",
        "doubler.conf:4: [program:doubler] environment, SKYNET_X, was not carried over: ",
    ] {
        assert!(said.contains(note), "{note}\n{said}");
    }
    let run = fs::read_to_string(site.dir("clock").join("run")).unwrap();
    assert!(!run.contains("setuidgid") && !run.contains("BAD-NAME"), "{run}");
    for line in [
        format!("cd {}/data || exit 111", dir.display()),
        "export PATH=\"${PATH?}\"':/opt/x y'".to_owned(),
        "export N=100%".to_owned(),
        "export NAME=clock".to_owned(),
        "export 'GROUP=%(group_name)s'".to_owned(),
    ] {
        assert!(run.lines().any(|l| l == line), "{line}\n{run}");
    }
    site.well(&["start", "clock"]);
    let log = site.at(Place::Logs).join("clock/current");
    let says = |end: &str| fs::read_to_string(&log).is_ok_and(|log| log.ends_with(end));
    site.until(|| says(":/opt/x y\n"));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains(" clock 100% +%s00 /"), "{log}");

    let text = fs::read_to_string(site.dir("doubler").join("exo.yaml")).unwrap();
    for line in [
        format!("  \"HERE\": \"{}/data\"", dir.display()),
        "  \"N\": \"100%\"".to_owned(),
        "umask: \"022\"".to_owned(),
        // No value of supervisor's.
        "    regexp: \"100%%\"".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    check(&site, "doubler");
}

/// A participant, what ran it twice, and somebody else.
const NEIGHBOURS: &str = "\
[participant]
name = build
code = build.py
runas = img
command = work

[program:build-2]
command = /usr/bin/python -m SkyNET.exo
user = root

[program:build]
command = /usr/bin/python -m SkyNET.exo
user = nobody
umask = 027
umask = 022
environment = A=0,A=1

[program:builder-web]
command = sleep 1000
user = games
numprocs = 3
environment = A=0,B=0
environment = A=1
";

#[test]
fn a_program_whose_name_only_begins_as_a_participant_s_is_one_of_its_own() {
    let site = Site::new(Kind::Private);
    let dir = site.on_desk("old", &[("build.conf", NEIGHBOURS), ("build.py", HANDLER)]);
    let said = site.well(&["import", dir.to_str().unwrap()]);
    for note in [
        "build: made from ",
        "build.conf:4: [participant] runas: line 13 says otherwise, and counts",
        "build.conf:5: [participant] command: not carried over",
        "build.conf:14: [program:build] umask: line 15 says otherwise, and counts",
        "build.conf:7: [program:build-2]: taken for one more of build, and not carried over",
        "builder-web: made from ",
        "build.conf:21: [program:builder-web] numprocs: one process is run",
    ] {
        assert!(said.contains(note), "{note}\n{said}");
    }
    assert_eq!(site.well(&["list", "--names-only"]), "build\nbuilder-web\n");
    let text = fs::read_to_string(site.dir("build").join("exo.yaml")).unwrap();
    for line in ["user: \"nobody\"", "umask: \"022\"", "  \"A\": \"1\""] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains("instances") && !text.contains("\"0\""), "{text}");
    check(&site, "build");
    let run = fs::read_to_string(site.dir("builder-web").join("run")).unwrap();
    assert!(run.contains("export A=1\n") && run.matches("export").count() == 1, "{run}");
    // What has no name is taken for what the file's programs run, whatever they are called.
    let unnamed = NEIGHBOURS.replace("name = build\n", "").replace("user = root", "user = nobody");
    let unnamed = unnamed.replace("build.py", "../old/build.py");
    let dir = site.on_desk("other", &[("any.conf", &unnamed)]);
    let said = site.well(&["import", dir.to_str().unwrap()]);
    for note in ["any: made from ", ":10: [program:build]: ", ":17: [program:builder-web]: "] {
        assert!(said.contains(note), "{note}\n{said}");
    }
}

#[test]
fn of_two_services_of_one_name_the_first_is_made_and_a_dry_run_says_so_and_leaves_nothing() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let text = "[program:a]\ncommand=sleep 1000\n";
        let dir = site.on_desk("old", &[("1.conf", text), ("2.conf", text)]);
        let args = ["import", dir.to_str().unwrap()];
        let dry = site.ends(1, &[&args[..], &["--dry-run"]].concat());
        let again = format!(
            "a: a is there already, {}\n",
            site.inside(Place::Participants).join("a").display()
        );
        assert!(dry.contains(&again) && dry.matches("would be made").count() == 1, "{dry}");
        let log = site.at(Place::Logs).join("a");
        assert!(!log.exists());
        assert_eq!(site.ends(1, &args), dry.replace("would be made", "made"));
        assert!(log.exists());
    });
}

#[test]
fn what_cannot_be_imported_is_told_and_the_rest_is_made() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let files = [
            ("bad.conf", "[program:x\n"),
            ("line.ini", "[program:x]\nfoo\n"),
            ("none.conf", "[supervisord]\nx=1\n"),
            ("name.conf", "[program:a/b]\ncommand=x\n"),
            ("command.conf", "[program:c]\nuser=nobody\n"),
            ("quote.conf", "[program:q]\ncommand=sh -c 'x\n"),
            ("code.conf", "[participant]\nname=p\ncode=gone.py\n"),
            ("good.conf", "[program:good]\ncommand=sleep 1000\n"),
        ];
        let dir = site.on_desk("old", &files);
        let paths: Vec<String> =
            files.iter().map(|(name, _)| dir.join(name).display().to_string()).collect();
        let args: Vec<&str> =
            std::iter::once("import").chain(paths.iter().map(String::as_str)).collect();
        let said = site.ends(1, &args);
        for why in [
            "bad.conf:1: a ] is missing",
            "line.ini:2: neither a section, nor a key and its value",
            "none.conf has neither a program nor a participant",
            "name.conf: the name holds something else",
            "command.conf:2: program c has no command",
            "quote.conf:2: a quote is not closed",
            "p: unable to read the participant's code,",
            "good: made from ",
        ] {
            assert!(said.contains(why), "{why}\n{said}");
        }
        assert_eq!(site.well(&["list", "--names-only"]), "good\n");
        let empty = site.on_desk("empty", &[]);
        assert!(site.ends(1, &["import", empty.to_str().unwrap()]).contains("has no config.exo"));
        assert_eq!(
            site.ends(1, &["import", "nowhere"]).matches("unable to open nowhere").count(),
            1
        );
        fs::write(dir.join("huge.conf"), "#".repeat(2 << 20)).unwrap();
        fs::write(dir.join("bytes.conf"), b"[program:x]\ncommand=\xff\n").unwrap();
        for (name, why) in [("huge.conf", "larger than 1MiB"), ("bytes.conf", "is not UTF-8")] {
            assert!(site.ends(1, &["import", dir.join(name).to_str().unwrap()]).contains(why));
        }
    });
}

#[test]
fn a_folder_goes_on_behind_each_file_of_it_that_is_not_fit() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let files = [
            ("bad.conf", "[program:x\n"),
            ("huge.conf", &*"#".repeat(2 << 20)),
            ("skynet.conf", "[boss]\namqp_host=h\n"),
            ("there.conf", "[program:there]\ncommand=sleep 1000\n"),
            ("zz.conf", "[program:last]\ncommand=sleep 1000\n[program:q]\ncommand=sh -c 'x\n"),
        ];
        let dir = site.on_desk("old", &files);
        site.well(&["import", dir.join("there.conf").to_str().unwrap()]);
        for (option, done) in
            [("--dry-run", "last: would be made from "), ("--", "last: made from ")]
        {
            let said = site.ends(1, &["import", option, dir.to_str().unwrap()]);
            for why in [
                "bad.conf:1: a ] is missing",
                "huge.conf is larger than 1MiB",
                "skynet.conf has neither a program nor a participant",
                "there: there is there already",
                "zz.conf:4: a quote is not closed",
                done,
            ] {
                assert!(said.contains(why), "{why}\n{said}");
            }
        }
        assert_eq!(site.well(&["list", "--names-only"]), "last\nthere\n");
    });
}

/// What bash offers for a line of one of our programs, whose last word is being written.
fn completed(site: &Site, line: &[&str]) -> Vec<String> {
    completed_by(line, |args| site.command("bash", args))
}

/// The same in the shell of somebody.
fn completed_by(line: &[&str], shell: impl Fn(&[&str]) -> Command) -> Vec<String> {
    let script = "eval \"$(skynet completion bash --of $1)\"\n\
        COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9\n\
        spec=$(complete -p $1) && spec=${spec##*-F } && ${spec%% *} $1 \"${!#}\" \"\"\n\
        printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut args = vec!["-c", script, "bash"];
    args.extend(line);
    let said = run_within(site::SOON, &mut shell(&args));
    assert!(said.code == Some(0) && said.stderr.is_empty(), "{line:?}: {said:?}");
    said.out().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_the_names_that_a_verb_is_for() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("sizer", "", "#!/bin/sh\n");
        for name in ["slow", "stubborn", "web"] {
            site.sleeper(name);
        }
        // To a shell it could be more than a name.
        site.folder(&site.at(Place::Service).join("$(reboot)"));
        site.well(&["enable", "slow"]);
        let offered = completed(&site, &["skynet", "ena"]);
        assert_eq!(offered, ["enable"]);
        assert_eq!(
            completed(&site, &["skynet", "start", "s"]),
            ["sizer", "skynet-log", "slow", "stubborn"]
        );
        assert_eq!(completed(&site, &["skynet", "enable", "s"]), ["sizer", "stubborn"]);
        assert_eq!(completed(&site, &["skynet", "disable", "s"]), ["slow"]);
        assert_eq!(completed(&site, &["skynet", "drain", "web", "s"]), ["sizer"]);
        assert_eq!(completed(&site, &["skynet", "manual", "s"]), ["sizer"]);
        assert_eq!(completed(&site, &["skynet", "failure", "list", "s"]), ["sizer"]);
        assert_eq!(completed(&site, &["skynet", "enable", "--no"]), ["--now", "--no-wait"]);
        assert_eq!(completed(&site, &["skynet", "wait", "--state", "i"]), ["idle"]);
        for (shell, word) in
            [("bash", "complete "), ("zsh", "#compdef skynet"), ("fish", "complete ")]
        {
            assert!(site.well(&["completion", shell]).contains(word), "{shell}");
            let of_exo = site.well(&["completion", shell, "--of", "exo"]);
            assert!(of_exo.contains("drained") && of_exo.contains("local"), "{shell}");
        }
        assert_eq!(completed(&site, &["exo", "check", "--s"]), ["--show"]);
        assert_eq!(site.skynet(&["completion", "csh"]).code, Some(100));
        // Broken, the instance offers its names, and the line is not spoiled.
        if kind == Kind::Private {
            let config = site.at(Place::Config);
            site.folder(&config);
            fs::write(config.join("skynet.yaml"), "x: [").unwrap();
            assert_eq!(completed(&site, &["skynet", "drain", "s"]), ["sizer"]);
        } else {
            // A user means an instance of their own unless the line says otherwise.
            let ann = |line: &[&str]| {
                completed_by(line, |args| site.command_of(Person::Ann, "bash", args))
            };
            assert_eq!(ann(&["skynet", "drain", "s"]), [""; 0]);
            assert_eq!(ann(&["skynet", "--system", "drain", "s"]), ["sizer"]);
            assert_eq!(ann(&["skynet", "drain", "--system", "s"]), ["sizer"]);
        }
    });
}
