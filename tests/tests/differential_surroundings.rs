//! What the original's supervise and ours give a service, leave on disk, and do when they are
//! killed; and every pair of one's supervise with the other's tools. See
//! `differential_supervise.rs`.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beside;

use beside::{Difference, Kept, PATIENCE, compare, compare_each, difference, listing, lives, sh};
use ondisk::status::Want;
use std::fs;
use std::process::Command;
use testkit::scratch::{SLEEPER, script};
use testkit::{Suite, run, until};

const SIGNALS_GIVEN: &str = "signals ignored when supervise starts";
const LETTERS_WORK: &str = "a supervise that was started by nohup would keep a service that does \
    not hear `svc -h`";
const STANDARD: &str = "descriptors 0, 1, 2 closed at the start";
const NO_ACCIDENT: &str = "what supervise or its service opens next would take their place";
const KEPT: &str = "what else is kept on disk";
const THE_RECORD: &str = "the next supervise takes the service back by it";
const MEANT: &str = "what has no meaning in daemontools works as in daemontools-encore";

const DIFFERENCES: &[Difference] = &[
    difference("ignored signals", ("ignored 9000200", "ignored 0"), SIGNALS_GIVEN, LETTERS_WORK),
    difference("HUP and TERM ignored", ("ignored 4001", "ignored 0"), SIGNALS_GIVEN, LETTERS_WORK),
    difference(
        "no descriptor 0",
        (
            "fd 0 closed\nfd 1 output\nfd 2 messages\nfd 7 closed",
            "fd 0 /dev/null\nfd 1 output\nfd 2 messages\nfd 7 closed",
        ),
        STANDARD,
        NO_ACCIDENT,
    ),
    difference(
        "no descriptors 0, 1, 2",
        (
            "fd 0 closed\nfd 1 closed\nfd 2 closed\nfd 7 closed",
            "fd 0 /dev/null\nfd 1 /dev/null\nfd 2 /dev/null\nfd 7 closed",
        ),
        STANDARD,
        NO_ACCIDENT,
    ),
    difference(
        "session",
        ("in a group\nin a session", "leads a group\nleads a session"),
        "session of the service",
        "`svc -+t` means its group alone, and a terminal's signals are not meant for services",
    ),
    difference(
        "files",
        (
            "control fifo 600 0\nlock file 600 0\nok fifo 600 0\nstatus file 644 18",
            "control fifo 600 0\nlock file 600 0\nok fifo 600 0\nrecord file 644 176\nstatus file 644 18",
        ),
        KEPT,
        THE_RECORD,
    ),
    difference(
        "files under umask 0",
        (
            "control fifo 600 0\nlock file 600 0\nok fifo 600 0\nstatus file 644 18",
            "control fifo 600 0\nlock file 600 0\nok fifo 600 0\nrecord file 644 176\nstatus file 644 18",
        ),
        KEPT,
        THE_RECORD,
    ),
    difference(
        "files under umask 077",
        (
            "control fifo 600 0\nlock file 600 0\nok fifo 600 0\nstatus file 600 18",
            "control fifo 600 0\nlock file 600 0\nok fifo 600 0\nrecord file 600 176\nstatus file 600 18",
        ),
        KEPT,
        THE_RECORD,
    ),
    difference(
        "TERM",
        ("signal 15, service lives", "exit 0, service is dead"),
        "TERM, INT to supervise",
        "who ends a supervise means its service",
    ),
    difference(
        "INT",
        ("signal 2, service lives", "exit 0, service is dead"),
        "TERM, INT to supervise",
        "who ends a supervise means its service",
    ),
    difference(
        "HUP",
        ("signal 1, service lives", "goes on, service lives"),
        "HUP to supervise",
        "it runs the program now on disk in its place",
    ),
    difference(
        "after KILL",
        ("2 starts, another process", "1 starts, the same process"),
        "KILL to supervise, then a new one",
        "never a second copy",
    ),
    difference("a script start", ("run", "run start"), "script `start`", MEANT),
    difference("a script stop", ("run", "run stop"), "script `stop`", MEANT),
    difference("a script notify", ("run", "notify+ run"), "script `notify`", MEANT),
    difference("a script log", ("run", "log run"), "`NAME/log` is a file", MEANT),
    difference(
        "start without run",
        ("supervise: fatal: unable to start sv/run: file does not exist", "start"),
        "`run` is missing, `start` is there",
        MEANT,
    ),
    difference("failure codes", ("run+", "run"), "file `failure-codes`", "who lists them wants it"),
    difference(
        "SUPERVISEDIR",
        ("supervise true, state false", "supervise false, state true"),
        "`SUPERVISEDIR`",
        MEANT,
    ),
];

/// Writes down what it was given. `$$` is the shell's: what it shows is what `run` got.
const WITNESS: &str = "#!/bin/sh
exec 9>facts.new
echo \"argv $0 $#\" >&9
echo \"umask $(umask)\" >&9
for fd in 0 1 2 7; do
    # Nothing is run for this: the shell moves descriptors then.
    place=/proc/$$/fd/$fd
    if [ ! -e $place ]; then what=closed
    elif [ $place -ef /dev/null ]; then what=/dev/null
    elif [ $place -ef ../output ]; then what=output
    elif [ $place -ef ../messages ]; then what=messages
    else what=other
    fi
    echo \"fd $fd $what\" >&9
done
for fd in /proc/$$/fd/*; do
    case $(readlink $fd) in */supervise/*) echo \"leaked $(readlink $fd)\" >&9;; esac
done
echo \"cwd $(pwd -P)\" >&9
env | sort | grep -v ^PWD= >&9
grep -E '^(SigBlk|Uid|Gid|Groups|NoNewPrivs)' /proc/self/status >&9
# Signals 32 and above are the C library's.
ignored=$(sed -n 's/^SigIgn:.//p' /proc/self/status)
printf 'ignored %x\\n' $((0x$ignored & 0x7fffffff)) >&9
read pid name state parent group session rest </proc/$$/stat
[ $group = $$ ] && echo 'leads a group' >&9 || echo 'in a group' >&9
[ $session = $$ ] && echo 'leads a session' >&9 || echo 'in a session' >&9
mv facts.new facts
exec sleep 1000000
";

/// What a service gets where supervise is started behind the shell line `before`: the lines that
/// have one of the words, or all.
fn witness(suite: Suite, make: &str, before: &str, words: &[&str]) -> String {
    let scratch = Kept::prepare();
    script(&scratch.join("sv/run"), WITNESS);
    sh(scratch.path(), make);
    let kept = Kept::start(suite, scratch, before, &["sv"]);
    until(PATIENCE, || kept.dir().join("facts").exists());
    let bin = suite.program("supervise");
    let place = kept.scratch.path().to_str().unwrap().to_owned();
    let path = format!("PATH={}:", bin.parent().unwrap().display());
    let facts = kept.read("sv/facts").replace(&place, "HERE").replace(&path, "PATH=");
    let meant = |line: &&str| words.is_empty() || words.iter().any(|word| line.contains(word));
    facts.lines().filter(meant).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_service_gets_the_same_surroundings() {
    // Apart from the session there is no difference; a part of the facts is the subject else.
    type Case = (&'static str, &'static str, &'static [&'static str]);
    const CASES: &[(&str, Case)] = &[
        ("surroundings", ("touch sv/no-setsid", ":", &[])),
        ("umask 077", ("touch sv/no-setsid", "umask 077", &[])),
        ("a further descriptor", ("touch sv/no-setsid", "exec 7</dev/zero", &[])),
        ("no environment", ("touch sv/no-setsid", "exec env -i \"$0\" \"$@\"", &[])),
        ("ignored signals", (":", "trap '' USR1 WINCH XFSZ", &["ignored"])),
        ("HUP and TERM ignored", (":", "trap '' HUP TERM", &["ignored"])),
        ("no descriptor 0", (":", "exec <&-", &["fd "])),
        ("no descriptors 0, 1, 2", (":", "exec <&- >&- 2>&-", &["fd "])),
        ("session", (":", ":", &["group", "session"])),
    ];
    compare_each(DIFFERENCES, CASES, |suite, (make, before, words)| {
        witness(suite, make, before, words)
    });
}

#[test]
fn the_same_files_are_left() {
    const CASES: &[(&str, &str)] = &[
        ("files", ":"),
        ("files under umask 077", "umask 077"),
        ("files under umask 0", "umask 0"),
    ];
    compare_each(DIFFERENCES, CASES, |suite, before| {
        let kept = Kept::ready(suite, Kept::prepare(), before);
        kept.up();
        let during = listing(&kept.dir().join("supervise"));
        kept.svc("-dx");
        kept.end();
        assert_eq!(listing(&kept.dir().join("supervise")), during);
        let status = fs::read(kept.dir().join("supervise/status")).unwrap();
        assert_eq!(status[12..], [0, 0, 0, 0, 0, b'd']);
        assert!(listing(&kept.dir()).ends_with("supervise folder 700 0"));
        during
    });
}

/// Puts words for numbers: `pid` where it is the right one, seconds.
fn plain(line: &str, pid: Option<u32>) -> String {
    let pid = pid.map_or("none".to_owned(), |pid| format!("(pid {pid})"));
    let words = line.replace(&pid, "(pid N)");
    let mut all: Vec<&str> = words.split(' ').collect();
    for i in 1..all.len() {
        if all[i].starts_with("seconds") && all[i - 1].parse::<u64>().is_ok() {
            all[i - 1] = "S";
        }
    }
    all.join(" ")
}

/// Drives a supervise through a life by somebody's tools and writes down what they say.
fn transcript(supervise: Suite, tools: Suite) -> String {
    let scratch = Kept::prepare();
    sh(scratch.path(), "touch sv/down");
    let mut said = Vec::new();
    let mut note = |kept: &Kept, what: &str| {
        let ask = |name: &str| {
            let tool = tools.program(name);
            run(Command::new(tool).arg("sv").current_dir(kept.scratch.path()))
        };
        let (ok, stat) = (ask("svok"), ask("svstat"));
        let line = plain(&stat.out(), kept.pid());
        said.push(format!("{what}: {:?} {line}", ok.code));
    };
    let kept = Kept::ready(supervise, scratch, ":");
    note(&kept, "first");
    // Letters, and what the status must come to.
    let steps: [(&str, &dyn Fn() -> bool); 9] = [
        ("-u", &|| kept.pid().is_some()),
        ("-p", &|| kept.status().unwrap().paused),
        ("-c", &|| !kept.status().unwrap().paused),
        ("-o", &|| kept.status().unwrap().want == Want::Once),
        ("-k", &|| kept.pid().is_none()),
        ("-u", &|| kept.pid().is_some()),
        ("-d", &|| kept.pid().is_none()),
        ("-o", &|| kept.pid().is_some()),
        ("-dx", &|| kept.ended().is_some()),
    ];
    for (letters, is_so) in steps {
        let svc = tools.program("svc");
        let told = run(Command::new(svc).args([letters, "sv"]).current_dir(kept.scratch.path()));
        assert_eq!((told.code, told.err()), (Some(0), String::new()), "svc {letters}");
        until(PATIENCE, is_so);
        note(&kept, letters);
    }
    said.concat() + &kept.end()
}

#[test]
fn every_pair_of_a_supervise_and_tools_says_the_same() {
    let pairs = [
        (Suite::Original, Suite::Original),
        (Suite::Original, Suite::Ours),
        (Suite::Ours, Suite::Original),
        (Suite::Ours, Suite::Ours),
    ];
    let all = std::thread::scope(|scope| {
        pairs
            .map(|(supervise, tools)| scope.spawn(move || transcript(supervise, tools)))
            .map(|one| one.join().expect("a transcript"))
    });
    assert!(
        all[0].contains("-p: Some(0) sv: up (pid N) S seconds, normally down, paused\n"),
        "{}",
        all[0]
    );
    for (pair, said) in pairs.iter().zip(&all) {
        assert_eq!(said, &all[0], "{pair:?}, then the original with the original");
    }
}

#[test]
fn what_a_signal_to_supervise_does() {
    const CASES: &[(&str, &str)] = &[
        ("TERM", "TERM"),
        ("INT", "INT"),
        ("HUP", "HUP"),
        ("ALRM", "ALRM"),
        ("USR1", "USR1"),
        ("QUIT", "QUIT"),
        ("KILL", "KILL"),
    ];
    compare_each(DIFFERENCES, CASES, |suite, signal| {
        let kept = Kept::ready(suite, Kept::prepare(), ":");
        let pid = kept.up();
        // Not before the original hears again.
        kept.svc("-p");
        until(PATIENCE, || kept.status().unwrap().paused);
        kept.svc("-c");
        until(PATIENCE, || !kept.status().unwrap().paused);
        let supervise = kept.child().id();
        sh(kept.scratch.path(), &format!("kill -{signal} {supervise}"));
        // What goes on obeys commands; the first may still be obeyed before the signal.
        let obeys = |letter: &str, paused: bool| {
            // It may be about to end.
            run(Command::new(suite.program("svc"))
                .args([letter, "sv"])
                .current_dir(kept.scratch.path()));
            kept.ended().is_some() || kept.status().unwrap().paused == paused
        };
        for (letter, paused) in [("-p", true), ("-c", false), ("-p", true)] {
            until(PATIENCE, || obeys(letter, paused));
        }
        let end = kept.ended().unwrap_or("goes on".to_owned());
        format!("{end}, service {}", if lives(pid) { "lives" } else { "is dead" })
    });
}

#[test]
fn a_supervise_after_one_that_was_killed() {
    compare(DIFFERENCES, "after KILL", |suite| {
        let scratch = Kept::prepare();
        script(&scratch.join("sv/run"), "#!/bin/sh\necho >>starts\nexec sleep 1000000\n");
        let first = Kept::ready(suite, scratch, ":");
        let pid = first.up();
        until(PATIENCE, || first.lines("starts").len() == 1);
        first.child().kill().unwrap();
        first.end();
        let second = beside::launch(&first.scratch, "supervise", suite, ":", &["sv"]);
        until(PATIENCE, || first.is_ready() && first.pid().is_some_and(lives));
        // Nothing tells that there will be no second copy: a round trip is long enough for one.
        let copied = || first.lines("starts").len() == 2 && first.pid() != Some(pid);
        if suite == Suite::Original {
            until(PATIENCE, copied);
        }
        first.svc("-p");
        until(PATIENCE, || first.status().unwrap().paused);
        drop(second);
        let same = if first.pid() == Some(pid) { "the same" } else { "another" };
        format!("{} starts, {same} process", first.lines("starts").len())
    });
}

/// Which of encore's scripts run, and what else a directory of encore's leads to.
#[test]
fn what_daemontools_gives_no_meaning() {
    const NOTE: &str = "note() { printf '#!/bin/sh\\necho %s >>notes\\n%s\\n' $1 \"$2\" >sv/$1; \
        chmod 755 sv/$1; }; note run 'exec sleep 1000000';";
    const CASES: &[(&str, &str)] = &[
        ("a script start", "note start"),
        ("a script stop", "note stop"),
        ("a script notify", "note notify"),
        ("scripts that cannot be executed", "for s in start stop notify; do touch sv/$s; done"),
        ("start without run", "note start; rm sv/run"),
        ("exit 100", "note run 'exit 100'"),
        ("failure codes", "note run 'exit 3'; echo 2 3 >sv/failure-codes"),
        ("a folder log", "mkdir sv/log; cp sv/run sv/log/run"),
        ("a file log", "touch sv/log"),
        ("a script log", "note log 'exec cat'"),
    ];
    let cases: Vec<(&str, (&str, &str))> =
        CASES.iter().map(|(case, make)| (*case, (*case, *make))).collect();
    compare_each(DIFFERENCES, &cases, |suite, (case, make)| {
        let scratch = Kept::prepare();
        sh(scratch.path(), &format!("{NOTE} {make}"));
        let kept = Kept::ready(suite, scratch, ":");
        let count = |word: &str| kept.lines("notes").iter().filter(|line| *line == word).count();
        let enough = || match (*case, suite) {
            ("exit 100", _) | ("failure codes", Suite::Original) => count("run") > 1,
            ("failure codes", Suite::Ours) => {
                count("run") == 1 && kept.status().unwrap().want == Want::Down
            }
            ("start without run", Suite::Ours) => count("start") == 1,
            ("start without run", Suite::Original) => !kept.read("messages").is_empty(),
            ("a script log", Suite::Ours) => count("log") == 1 && count("run") == 1,
            _ => count("run") == 1 && kept.pid().is_some(),
        };
        until(PATIENCE, enough);
        kept.svc("-dx");
        kept.end();
        // Nobody waits for `notify`.
        until(PATIENCE, || {
            *case != "a script notify" || suite == Suite::Original || count("notify") == 2
        });
        let mut words = kept.lines("notes");
        words.extend(kept.read("messages").lines().map(str::to_owned));
        words.sort();
        words.dedup();
        let often = |word: &String| if count(word) > 1 { format!("{word}+") } else { word.clone() };
        words.iter().map(often).collect::<Vec<_>>().join(" ")
    });
}

#[test]
fn supervisedir_puts_the_folder_elsewhere() {
    compare(DIFFERENCES, "SUPERVISEDIR", |suite| {
        let scratch = Kept::prepare();
        script(&scratch.join("sv/run"), &format!("{SLEEPER}#"));
        let kept = Kept::start(suite, scratch, "export SUPERVISEDIR=state", &["sv"]);
        let there = |name: &str| kept.dir().join(name).join("status").exists();
        until(PATIENCE, || there("supervise") || there("state"));
        format!("supervise {}, state {}", there("supervise"), there("state"))
    });
}

#[test]
fn the_table_has_reasons_topics_and_no_case_too_many() {
    beside::check(DIFFERENCES, include_str!("differential_surroundings.rs"));
}
