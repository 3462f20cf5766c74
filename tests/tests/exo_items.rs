//! What becomes of items: sizes, faults and tries, answers, and what the log says of them.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, consumer, progress};
use host::{DONE, ECHO, Exo, Site, item, private_kib};
use machine::work::{Fault, State};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use work::{Place, Reader};

const LIMIT: usize = 16 << 20;

/// Returns an item of exactly so many bytes.
fn of_bytes(wfid: &str, len: usize) -> String {
    let around = item(wfid, "{\"x\":\"\"}").len();
    item(wfid, &format!("{{\"x\":\"{}\"}}", "y".repeat(len - around)))
}

/// Does an item of `limit` bytes, which is set by `more`, and refuses one byte more. Returns the most
/// memory of exo's worker, in KiB.
fn largest_of(persistent: bool, limit: usize, more: &str) -> u64 {
    let site = if persistent {
        Site::persistent_program(&["perl", "echo.pl"], more)
    } else {
        Site::per_item("#!/bin/sh\ncat >&3\n", more)
    };
    site.script("echo.pl", ECHO_ALL);
    let exo = site.exo();
    let worker = exo.worker();
    let (mut most, mut answers) = (0, 0);
    site.drop_into("p", of_bytes("large", limit).as_bytes());
    site.until(|| {
        most = most.max(private_kib(worker));
        answers += u32::from(site.status().is_some());
        site.job("large").is_some_and(|job| job.subject.state == State::Stop)
    });
    let (job, attempts) = site.stopped("large");
    assert_eq!(job.subject.fault, Fault::NONE, "{attempts:?}");
    site.drop_into("p", of_bytes("larger", limit + 1).as_bytes());
    site.until(|| site.dead().len() == 1);
    let dead = site.dead().remove(0);
    let why = format!("the item has {} bytes; {limit} are allowed", limit + 1);
    assert_eq!((dead.reason, dead.fault, dead.job), (why.clone(), Fault::INVALID, None));
    assert!(item("larger", "{\"x\":\"").as_bytes().starts_with(&dead.bytes[..60]));
    assert!(site.job("larger").is_none());
    let said = format!("exo: warning: dropped, and no item: 1 ({why}); kept as ");
    site.until(|| site.log().contains(&said));
    most = most.max(private_kib(worker));
    println!("{limit} bytes, persistent {persistent}: at most {most} KiB, {answers} answers");
    assert_eq!(site.work("next", "{}").fault, Some(Fault::NONE));
    most
}

#[test]
fn an_item_of_16_mib_is_done_and_one_byte_more_is_refused_with_a_reason_and_exo_stays_small() {
    for persistent in [false, true] {
        let most = largest_of(persistent, LIMIT, "");
        assert!(most < 64 << 10, "{most} KiB");
    }
}

#[test]
fn where_larger_items_are_allowed_exo_has_no_more_memory_than_four_of_them() {
    for persistent in [false, true] {
        let most = largest_of(persistent, 2 * LIMIT, "item-limit: 32MiB\n");
        assert!(most < 8 * (LIMIT as u64 >> 10), "{most} KiB");
    }
}

/// Answers each item with the item.
const ECHO_ALL: &str = r#"#!/usr/bin/perl
open(my $s, "+<&=3") or die; $| = 1; my $old = select($s); $| = 1; select($old);
<$s>; print $s "{\"type\":\"hello\",\"protocol\":1}\n";
while (my $line = <$s>) {
    exit 0 if $line =~ /^\{"type":"shutdown"/;
    $line =~ /^\{"type":"work","id":(\d+),.*?"item":(.*)\}$/s or next;
    print $s "{\"type\":\"result\",\"id\":$1,\"item\":$2}\n";
}
"#;

#[test]
fn an_answer_above_the_limit_fails_the_item_and_is_not_kept() {
    let site = Site::per_item(DONE, "");
    site.script("work", "#!/bin/sh\n{ cat; head -c 2000 /dev/zero | tr '\\0' ' '; echo 1; } >&3\n");
    let own = fs::read_to_string(site.join("p/exo.yaml")).unwrap();
    fs::write(site.join("p/exo.yaml"), format!("{own}item-limit: 1KiB\ntries: 1\n")).unwrap();
    let _exo = site.exo();
    site.submit("w", "{}");
    let (job, attempts) = site.stopped("w");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::EXHAUSTED, 1));
    let text = attempts[0].text.as_deref().unwrap();
    assert_eq!(text, "the answer cannot be sent: the item has 1025 bytes; 1024 are allowed");
}

/// Lives of a site in which the item `poison` has its exo killed each time that it is begun. Tells
/// whether its neighbour was at hand when that came the first time.
fn poisoned(persistent: bool) -> bool {
    let more = "tries: 3\n";
    let begun = "{ echo x >seen/$attempt; sleep 1000; }";
    let site = if persistent {
        let work = format!(
            "while hear; do\n[ $type = work ] || exit 0\n\
             attempt=${{line#*\\\"attempt\\\":}}; attempt=${{attempt%%[,\\}}]*}}\n\
             case $line in *'\"wfid\":\"poison\"'*) {begun} ;; esac\n\
             say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}}\"\ndone\n"
        );
        Site::persistent(&work, more)
    } else {
        let work =
            format!("#!/bin/sh\nattempt=$SKYNET_ATTEMPT\n[ $SKYNET_WFID != poison ] || {begun}\n");
        Site::per_item(&work, more)
    };
    let seen = site.open_folder("p/seen");
    let begun = |attempt: u32| site.until(|| seen.join(attempt.to_string()).exists());
    let exo = site.exo();
    // It is brisk, so that others are looked ahead at.
    site.work("first", "{}");
    site.submit("poison", "{\"x\":1}");
    site.submit("beside", "{}");
    begun(1);
    let is_at_hand = || {
        let state = site.job("beside").map(|job| job.subject.state);
        state == Some(State::Ready { leased: true })
    };
    // It goes back where the item in hand takes longer than this.
    let was_at_hand = testkit::wait::holds_within(machine::exo::QUICK, is_at_hand);
    exo.kill9();
    for attempt in 2..=3 {
        let exo = site.exo();
        begun(attempt);
        exo.kill9();
    }
    let exo = site.exo();
    let (job, attempts) = site.stopped("poison");
    let lives: Vec<_> = attempts.iter().map(|attempt| attempt.how.as_deref().unwrap()).collect();
    assert_eq!((job.subject.fault, lives), (Fault::EXHAUSTED, vec!["lost"; 3]));
    let dead = site.dead();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0].bytes, item("poison", "{\"x\":1}").into_bytes());
    // Whoever was only beside it has been tried once, and so has what comes later.
    let (job, attempts) = site.stopped("beside");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1), "{attempts:?}");
    assert_eq!(site.work("later", "{}").fault, Some(Fault::NONE));
    assert!(!seen.join("4").exists());
    assert!(exo.end().success());
    was_at_hand
}

#[test]
fn an_item_that_has_its_exo_killed_each_time_is_dead_after_its_tries_and_its_neighbour_is_done() {
    for persistent in [false, true] {
        // On a busy machine it may have come too late to be at hand.
        assert!((0..20).any(|_| poisoned(persistent)), "it was never at hand");
    }
}

#[test]
fn an_item_that_fails_each_time_is_put_away_after_its_tries_with_bytes_and_reason() {
    let site = Site::per_item("#!/bin/sh\necho $SKYNET_ATTEMPT >&2\nkill -9 $$\n", "tries: 3\n");
    let mut sender = Sender::new(&site);
    let exo = site.exo();
    sender.submit(&["poison"]);
    site.until(|| progress(&site.join("store")) == (1, 0));
    assert_eq!(adds_up(&sender, &site.join("store"), 3, "poison").exhausted, 1);
    let dead = site.dead();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0].bytes, item("poison", "{\"x\":1.0}").into_bytes());
    assert!(dead[0].reason.contains("3 (died: signal 9)") || dead[0].reason.contains("signal 9"));
    let attempts = site.attempts("poison");
    for pair in attempts.windows(2) {
        let rest = pair[1].begun.0 - pair[0].ended.unwrap().0;
        assert!(rest >= 5_000, "tried again after {rest} us");
    }
    site.until(|| site.status().unwrap()["failed"] == 3);
    assert!(exo.end().success());
}

#[test]
fn an_item_that_takes_too_long_is_tried_again_and_its_time_is_said() {
    let work = "#!/bin/sh\n[ $SKYNET_ATTEMPT = 2 ] || sleep 1000\n";
    let site = Site::per_item(work, "time-limit: 1s\ncancel-grace: 5s\n");
    let _exo = site.exo();
    site.submit("w", "{}");
    let (job, attempts) = site.stopped("w");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 2));
    assert_eq!(attempts[0].fault, Some(Fault::TIMED_OUT));
    let took = attempts[0].ended.unwrap().0 - attempts[0].begun.0;
    assert!(took >= 1_000_000, "ended after {took} us");
    assert_eq!(attempts[0].text.as_deref(), Some("took too long"));
}

#[test]
fn a_finished_item_that_comes_again_is_not_run_again() {
    let site = Site::per_item(DONE, "");
    let did = site.open_folder("did").join("list");
    site.script("work", &format!("#!/bin/sh\necho $SKYNET_WFID >>{}\ncat >&3\n", did.display()));
    let exo = site.exo();
    site.work("w", "{\"x\":1.0}");
    for _ in 0..5 {
        site.submit("w", "{\"x\":1.0}");
    }
    assert!(exo.end().success());
    let exo = site.exo();
    site.submit("w", "{\"x\":1.0}");
    // What comes behind them is done when they are looked at.
    assert_eq!(site.work("v", "{}").fault, Some(Fault::NONE));
    site.until(|| {
        fs::read_dir(site.join("spool/p"))
            .unwrap()
            .all(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
    });
    assert_eq!(host::lines(&did), ["w", "v"]);
    assert_eq!(site.reader().jobs_of("w").unwrap().len(), 1);
    assert!(exo.end().success());
}

#[test]
fn a_drop_folder_that_was_away_is_watched_again_when_it_is_back() {
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    assert_eq!(site.work("before", "{}").fault, Some(Fault::NONE));
    let folder = site.join("spool/p");
    let owner = fs::metadata(&folder).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    site.until(|| site.log().contains("looking at it every 5 s"));
    for (path, mode) in [(folder.clone(), 0o3733), (folder.join(".taken"), 0o700)] {
        fs::create_dir(&path).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    site.until(|| site.log().contains("is watched again"));
    for wfid in ["after", "later"] {
        assert_eq!(site.work(wfid, "{}").fault, Some(Fault::NONE));
    }
}

#[test]
fn a_dropped_file_that_cannot_be_read_waits_is_told_once_and_is_taken_when_it_can_be() {
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    assert_eq!(site.work("before", "{}").fault, Some(Fault::NONE));
    let file = site.join("spool/p/secret");
    let mut secret =
        fs::File::options().write(true).create_new(true).mode(0o000).open(&file).unwrap();
    secret.write_all(item("secret", "{}").as_bytes()).unwrap();
    let path = file.display();
    site.until(|| site.log().contains(&format!("read: chmod g+r {path}\n")));
    assert_eq!(site.work("after", "{}").fault, Some(Fault::NONE));
    let log = site.log();
    let told = log.matches(&format!("exo: warning: unable to read {path}, which user ")).count();
    assert_eq!((told, site.dead().len()), (1, 0), "{log}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let (job, _) = site.stopped("secret");
    assert_eq!(job.subject.fault, Fault::NONE);
    site.until(|| !file.exists());
}

#[test]
fn a_file_in_the_place_of_the_drop_folder_holds_up_no_start_and_the_folder_is_made_once_it_can_be()
{
    let site = Site::per_item(DONE, "");
    assert!(site.exo().end().success());
    let folder = site.join("spool/p");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let exo = site.exo();
    site.until(|| site.log().contains("; move away what is in the folder's place"));
    fs::remove_file(&folder).unwrap();
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE));
    assert!(exo.end().success());
}

#[test]
fn what_is_to_be_forgotten_is_answered_by_nobody_and_still_recorded() {
    let site = Site::per_item("#!/bin/sh\nsed 's/{}/{\"params\":{\"forget\":true}}/' >&3\n", "");
    let _exo = site.exo();
    for (wfid, fields) in [("asked", "{\"params\":{\"forget\":true}}"), ("answered", "{}")] {
        let attempt = site.work(wfid, fields);
        assert_eq!(attempt.fault, Some(Fault::NONE));
    }
    assert_eq!(site.reader().jobs(None, None, 99).unwrap().len(), 2, "no answer is on its way");
}

#[test]
fn who_asks_to_be_forgotten_and_then_fails_is_answered_by_nobody() {
    let work = "#!/bin/sh\nsed 's/{}/{\"params\":{\"forget\":true}}/' >&3\nexit 17\n";
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    assert_eq!(site.work("failed", "{}").fault, Some(Fault(17)));
    let (job, _) = site.stopped("failed");
    assert_eq!(job.subject.fault, Fault(17));
    assert_eq!(site.reader().jobs(None, None, 99).unwrap().len(), 1, "no answer is on its way");
}

#[test]
fn no_output_is_lost_split_or_taken_for_another_s() {
    // A wfid with what tags are made of, lines that look like tags, returns, long lines, bytes.
    let wfid = "a/1: b\\n+";
    let print = "print \"exo: fatal: forged\\n\", \"p_0 other/1: forged\\n\", \"a\\rp_0 -: b\\n\", \
                 \"x\" x 150, \"\\n\", \"\\0\\xff\\e[2J\\n\", \"p_1 w/1+: last\"";
    let site = Site::per_item("#!/bin/sh\n", "line-limit: 64B\n");
    site.script("work", &format!("#!/bin/sh\nexec perl -e '{print}'\n"));
    let exo = site.exo();
    site.submit(wfid, "{}");
    site.until(|| site.log().contains("last"));
    assert!(exo.end().success());
    let bytes = fs::read(site.join("log")).unwrap();
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let tag = b"p_0 a?1??b??";
    let of: Vec<_> = lines.iter().filter(|line| line.starts_with(tag)).collect();
    let x = |n: usize| "x".repeat(n);
    let said = [
        b"/1: exo: fatal: forged".to_vec(),
        b"/1: p_0 other/1: forged".to_vec(),
        b"/1: a\rp_0 -: b".to_vec(),
        format!("/1: {}", x(64)).into_bytes(),
        format!("/1+: {}", x(64)).into_bytes(),
        format!("/1+: {}", x(22)).into_bytes(),
        b"/1: \0\xff\x1b[2J".to_vec(),
        b"/1: p_1 w/1+: last".to_vec(),
    ];
    let wanted: Vec<Vec<u8>> = said.iter().map(|line| [&tag[..], line].concat()).collect();
    assert_eq!(of, wanted.iter().collect::<Vec<_>>(), "{}", site.log());
    let others = lines.iter().filter(|line| !line.starts_with(tag) && !line.is_empty());
    for line in others {
        assert!(line.starts_with(b"exo: "), "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn while_nobody_reads_the_log_participants_wait_and_no_line_is_lost() {
    const LINES: usize = 50_000;
    let work = format!("#!/bin/sh\nexec seq {LINES}\n");
    let site = Site::per_item(&work, "");
    let mut command = site.command(&[]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut from = child.stdout.take().unwrap();
    let exo = Exo::new(child);
    site.until(|| site.status().is_some());
    site.submit("w", "{}");
    site.running("w");
    // It cannot end, its log is full; control is answered all the same.
    let is_writing = |pid: &i32| {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        call.starts_with("1 ")
    };
    site.until(|| exo.participants().iter().any(is_writing));
    assert_eq!(site.instance()["state"], "working");
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut from, &mut all).unwrap();
        String::from_utf8(all).unwrap()
    });
    assert_eq!(site.stopped("w").0.subject.fault, Fault::NONE);
    assert!(exo.end().success());
    let log = reading.join().unwrap();
    let numbers = log.lines().filter_map(|line| line.strip_prefix("p_0 w/1: ")?.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    assert!(numbers.iter().copied().eq(1..=LINES), "{} of {LINES} lines", numbers.len());
}

/// Starts a second exo of the same queue, with a socket of its own.
fn second(site: &Site) -> Exo {
    fs::create_dir(site.join("q")).unwrap();
    let text = format!("{}participant: q\nqueue: p\ncommand: /bin/true\n", host::QUICK);
    fs::write(site.join("q/exo.yaml"), text).unwrap();
    let mut command = site.command(&[]);
    command.current_dir(site.join("q"));
    site.spawn(&mut command)
}

#[test]
fn one_who_hoards_keeps_nothing_from_another_who_is_idle() {
    let site = Site::per_item("#!/bin/sh\ncase $SKYNET_WFID in stuck) sleep 1000 ;; esac\n", "");
    let one = site.exo();
    site.submit("stuck", "{}");
    site.running("stuck");
    let two = second(&site);
    for n in 0..20 {
        let attempt = site.work(&format!("w{n}"), "{}");
        assert_eq!((attempt.fault, &*attempt.instance), (Some(Fault::NONE), "q_0"));
    }
    two.kill9();
    drop(one);
}

/// Quick with all items but one.
const TURNS_SLOW: &str = r#"
while hear; do
    case $type in
    work)
        case $line in *stuck*) sleep 1000 & wait ;; esac
        say "{\"type\":\"result\",\"id\":$id}"
        ;;
    shutdown) exit 0 ;;
    esac
done
"#;

#[test]
fn what_a_brisk_one_has_at_hand_is_another_s_as_soon_as_it_turns_slow() {
    // On a machine with much else to do it may not be brisk, and has nothing at hand then.
    let was_at_hand = (0..20).any(|_| turns_slow());
    assert!(was_at_hand, "nothing was ever at hand");
}

/// Has all that was at hand done by another; tells whether anything was.
fn turns_slow() -> bool {
    let site = Site::persistent(TURNS_SLOW, "");
    // It looks on until the first has its items.
    let two = second(&site);
    let tell_two = |what: &str| {
        let mut socket = UnixStream::connect(site.join("run/q.sock")).ok()?;
        writeln!(socket, "{{\"command\":\"{what}\"}}").ok()?;
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).ok()?;
        answer.contains("\"ok\":true").then_some(())
    };
    site.until(|| tell_two("drain").is_some());
    let mut sender = Sender::new(&site);
    let rest: Vec<_> = (0..8).map(|n| format!("rest{n}")).collect();
    let quick = (0..60).map(|n| format!("quick{n}"));
    let all: Vec<_> = quick.chain(["stuck".to_owned()]).chain(rest.iter().cloned()).collect();
    sender.submit(&all);
    let one = site.exo();
    site.running("stuck");
    tell_two("resume").unwrap();
    // On a machine with much else to do one or two may have been done by the first before it was
    // stuck: it gives back what takes too long to wait for, and gets what is on its way.
    for wfid in &rest {
        let (job, attempts) = site.stopped(wfid);
        assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1), "{attempts:?}");
    }
    let sql = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(\
               \"SELECT max(lease) FROM job JOIN attempt ON attempt.id = job.attempt \
                WHERE job.queue = 'p' AND wfid LIKE 'rest%' AND instance = 'q_0'\").fetchone()[0])";
    let store = site.join("store/work.db");
    let taken = Command::new("python3").args(["-c", sql]).arg(store).output().unwrap();
    assert!(taken.status.success(), "{taken:?}");
    one.kill9();
    two.kill9();
    // Taken by the first, given back without a trace, and taken by the second.
    let taken = String::from_utf8_lossy(&taken.stdout);
    taken.trim().parse::<u32>().is_ok_and(|times| times >= 2)
}

#[test]
fn an_answer_arrives_also_where_a_stranger_dropped_an_item_that_is_called_so() {
    let site = Site::per_item("#!/bin/sh\nsed 's/\"x\":1/\"x\":2/' >&3\n", "");
    let _takes = site.spawn(site.command(&[]).current_dir(consumer(&site)));
    let store = Place::new(site.join("store"));
    site.until(|| Reader::open(&store).is_ok());
    let replies = || site.reader().jobs(Some("answers"), None, 9).unwrap();
    // A resubmission has an answer taken again that is done with, not one that is in hand.
    let are_done = |count| {
        let all = replies();
        let done = all.iter().filter(|job| job.tries == 1 && job.subject.state == State::Stop);
        done.count() == count
    };
    site.drop_of(54_321, "answers", item("w", "{\"dispatched_at\":\"#1\"}").as_bytes());
    site.until(|| are_done(1));
    let _exo = site.exo();
    let asked = item("w", "{\"x\":1}");
    let asked = format!("{{\"skynet\":1,\"item\":{asked},\"reply-to\":\"answers\"}}");
    site.drop_into("p", asked.as_bytes());
    site.until(|| are_done(2));
    let (job, _) = site.stopped("w");
    let names = replies().into_iter().map(|reply| reply.identity);
    assert_eq!(names.collect::<Vec<_>>(), ["0_1!s!#1", "0_1!s!#1"]);
    let reader = site.reader();
    let of = replies().iter().map(|reply| reader.answer_of(reply).unwrap()).collect::<Vec<_>>();
    assert_eq!(of, [Some((job.id, 1)), None]);
    let answer = reader.item(replies()[0].id).unwrap().unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), item("w", "{\"x\":2}"));
    // The same item once more: its answer is taken once more, and nobody else's item is.
    site.drop_into("p", asked.as_bytes());
    site.until(|| replies()[0].tries == 2);
    assert_eq!((replies()[1].tries, site.attempts("w").len()), (1, 1), "{}", site.log());
}

/// Starts exo by `setuidgid`: it is one user, worker and participant too.
#[track_caller]
fn as_one_user(site: &Site) -> Exo {
    for name in ["store", "run", "spool"] {
        fs::create_dir(site.join(name)).unwrap();
    }
    let chown = Command::new("chown").args(["-R", "nobody:"]).arg(site.scratch().path()).status();
    assert!(chown.unwrap().success());
    let text = fs::read_to_string(site.join("etc/skynet.yaml")).unwrap();
    let text = text.replace("worker-user: daemon\n", "");
    let mut file = fs::File::create(site.join("etc/skynet.yaml")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut command = Command::new(testkit::program("setuidgid"));
    command.arg("nobody").arg(testkit::program("exo"));
    site.prepare(&mut command);
    let exo = site.spawn(&mut command);
    site.until(|| site.status().is_some());
    exo
}

#[test]
fn started_by_setuidgid_it_does_its_items_as_one_user_and_says_so() {
    let site = Site::per_item("#!/bin/sh\nid -un\n", "");
    let exo = as_one_user(&site);
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE));
    site.until(|| site.log().contains("p_0 w/1: nobody\n"));
    assert!(site.log().contains("exo: warning: "), "{}", site.log());
    assert!(exo.end().success());
}

/// Asks exo how it stands, in Perl.
const ASKS: &str = r#"#!/usr/bin/perl
use Socket;
$SIG{PIPE} = "IGNORE";
socket(my $s, PF_UNIX, SOCK_STREAM, 0);
my $is_there = connect($s, sockaddr_un("SOCKET"));
my $read = syswrite($s, "{\"command\":\"status\"}\n") && sysread($s, my $answer, 100);
print $is_there && $read ? "answered\n" : "not answered\n";
"#;

/// Asks as itself, and as one that has left its parent.
const ASKS_ASTRAY: &str = r#"#!/usr/bin/perl
use Socket;
use POSIX;
$SIG{PIPE} = "IGNORE";
sub asks {
    socket(my $s, PF_UNIX, SOCK_STREAM, 0);
    my $is_there = connect($s, sockaddr_un("SOCKET"));
    my $read = syswrite($s, "{\"command\":\"drain\"}\n") && sysread($s, my $answer, 100);
    return $is_there && $read ? "answered" : "not answered";
}
print "itself: ", asks(), "\n";
pipe(my $from, my $to);
my ($own, $child) = ($$, fork);
if (!$child) {
    my $parent = $$;
    if (!fork) {
        POSIX::setsid();
        select(undef, undef, undef, 0.01) while getppid() == $parent;
        syswrite($to, asks());
    }
    exit;
}
close $to;
waitpid($child, 0);
print "astray: ", <$from>, "\n";
"#;

#[test]
fn a_participant_that_is_the_same_user_commands_no_other_exo_either() {
    let other = Site::persistent(ECHO, "");
    let its = as_one_user(&other);
    let site = Site::per_item("", "");
    site.script("work", &ASKS_ASTRAY.replace("SOCKET", &other.socket().display().to_string()));
    let exo = as_one_user(&site);
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE), "{}", site.log());
    site.until(|| site.log().contains("p_0 w/1: astray: "));
    let log = site.log();
    for way in ["itself", "astray"] {
        assert!(log.contains(&format!("p_0 w/1: {way}: not answered\n")), "{log}");
    }
    assert_eq!(other.status().unwrap()["state"], "running");
    // Who is no participant may, as the same user.
    let mut command = Command::new(testkit::program("setuidgid"));
    command.arg("nobody").arg(testkit::program("exo")).args(["control", "drain"]);
    other.prepare(&mut command);
    let answer = command.output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    other.until(|| other.status().unwrap()["state"] == "draining");
    assert!(exo.end().success() && its.end().success());
}

/// Where it is the same user, and the socket is no secret.
#[test]
fn a_participant_that_is_the_same_user_is_not_answered_by_the_control_socket() {
    let site = Site::per_item("", "");
    site.script("work", &ASKS.replace("SOCKET", &site.socket().display().to_string()));
    let exo = as_one_user(&site);
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE), "{}", site.log());
    site.until(|| site.log().contains("p_0 w/1: not answered\n"));
    assert!(site.status().is_some());
    assert!(exo.end().success());
}
