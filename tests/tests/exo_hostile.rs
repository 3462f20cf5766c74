//! Participants that do what none should: each costs its item one fault, and the next item is done
//! by the same instance.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::{Exo, SOON, Site, TALKS_PYTHON, children};
use machine::work::{Fault, State};
use std::time::{Duration, Instant};
use testkit::until;
use testkit::wait::holds_within;
use work::read::Attempt;

/// Short enough for a test, long enough for a busy machine to start a shell.
const LIMITS: &str = "tries: 1\ntime-limit: 2s\ncancel-grace: 1s\n";

/// So long after the time for an item is over it is settled at the latest, and what is added to that
/// for a busy machine.
const SETTLED: Duration = Duration::from_secs(2 + 5);
const SLACK: Duration = Duration::from_secs(10);

/// What is said of a line that is longer than an item of 1 MiB may make it.
const LONG: &str = "broke the protocol: said a line of more than 1114112 bytes";

/// Most that exo may have of its own, in KiB.
const MOST: u64 = 64 << 10;

/// The body of a persistent participant that does its duty but for the item `bad`.
fn but_for_one(deed: &str) -> String {
    format!(
        "while hear; do\ncase $type$line in\nshutdown*) exit 0 ;;\n\
         work*'\"wfid\":\"bad\"'*)\n{deed}\n;;\n\
         work*) say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}}\" ;;\nesac\ndone\n"
    )
}

/// Gives a participant the items `bad` and `good`. Returns the only attempt at the first, once both
/// are answered once and the second is done.
#[track_caller]
fn survives(site: &Site) -> (Attempt, Exo) {
    survives_within(SETTLED + SLACK, site)
}

#[track_caller]
fn survives_within(limit: Duration, site: &Site) -> (Attempt, Exo) {
    let mut sender = Sender::new(site);
    let exo = site.exo();
    sender.submit(&["bad", "good"]);
    let is_in =
        |states: &[State]| site.job("bad").is_some_and(|job| states.contains(&job.subject.state));
    site.until(|| is_in(&[State::Run, State::Stop]));
    assert!(holds_within(limit, || is_in(&[State::Stop])), "{}", site.log());
    site.until(|| progress(&site.join("store")) == (2, 0));
    adds_up(&sender, &site.join("store"), 1, "a hostile participant");
    let good = site.attempts("good").remove(0);
    assert_eq!((good.fault, &*good.instance), (Some(Fault::NONE), "p_0"), "{}", site.log());
    (site.attempts("bad").remove(0), exo)
}

#[track_caller]
fn persistent(deed: &str, more: &str) -> (Site, Attempt, Exo) {
    let site = Site::persistent(&but_for_one(deed), &format!("{LIMITS}{more}"));
    let (attempt, exo) = survives(&site);
    (site, attempt, exo)
}

#[track_caller]
fn per_item(deed: &str, more: &str) -> (Site, Attempt, Exo) {
    let work = format!("#!/bin/bash\n[ $SKYNET_WFID = bad ] || exit 0\n{deed}\n");
    let site = Site::per_item(&work, &format!("{LIMITS}{more}"));
    let (attempt, exo) = survives(&site);
    (site, attempt, exo)
}

/// The attempt crashed, and its text says so in these words.
#[track_caller]
fn crashed((site, attempt, exo): (Site, Attempt, Exo), text: &str) {
    assert_eq!(attempt.fault, Some(Fault::CRASHED), "{attempt:?}");
    let said = attempt.text.unwrap();
    assert!(said.contains(text), "{said}");
    nothing_stays(&site, exo);
}

#[track_caller]
fn took_too_long((site, attempt, exo): (Site, Attempt, Exo)) {
    assert_eq!(attempt.fault, Some(Fault::TIMED_OUT), "{attempt:?}");
    nothing_stays(&site, exo);
}

/// exo ends as it should, and whatever the participant started ends with it.
#[track_caller]
fn nothing_stays(site: &Site, exo: Exo) {
    assert!(exo.end().success(), "{}", site.log());
    until(SOON, || history::lives::processes(site, &site.join("p")).is_empty());
}

#[test]
fn one_that_says_nothing_costs_one_item() {
    took_too_long(persistent("while :; do sleep 1; done", ""));
}

#[test]
fn one_that_closes_its_end_costs_one_item() {
    crashed(persistent("exec 3>&-; sleep 1000", ""), "broke the protocol: closed its socket");
}

#[test]
fn one_that_says_a_line_without_end_costs_one_item() {
    let deed = "tr '\\0' x </dev/zero >&3";
    crashed(persistent(deed, "item-limit: 1MiB\n"), LONG);
}

#[test]
fn one_that_says_nothing_but_nul_bytes_costs_one_item() {
    crashed(persistent("cat /dev/zero >&3", "item-limit: 1MiB\n"), LONG);
}

#[test]
fn one_that_speaks_no_json_costs_one_item() {
    crashed(
        persistent("yes '{\"type\":\"result\"' >&3", ""),
        "broke the protocol: spoke without sense: ",
    );
}

#[test]
fn one_that_tells_of_an_end_without_sense_has_failed_and_is_told_how() {
    for (rest, why) in [
        ("'\"fault\",\"code\":0,\"id\":'$id", "fault with code 0, which is no failure"),
        ("'\"fault\",\"code\":-1,\"id\":'$id", "integer `-1`"),
        ("'\"fault\",\"code\":900,\"id\":'$id", "fault with code 900"),
        ("'\"fault\",\"code\":\"10\",\"id\":'$id", "string \"10\""),
        ("'\"fault\",\"code\":10,\"trace\":\"x\",\"id\":'$id", "a list of texts"),
        ("'\"result\",\"forget\":true,\"forget\":true,\"id\":'$id", "duplicate field `forget`"),
    ] {
        let (site, attempt, exo) = persistent(&format!("say '{{\"type\":'{rest}'}}'"), "");
        site.until(|| site.log().contains(": said how the work ended without sense: "));
        assert!(!site.log().contains("p_0: ended: "), "{}", site.log());
        assert!(attempt.text.as_ref().is_some_and(|text| text.starts_with("broke the protocol: ")));
        crashed((site, attempt, exo), why);
    }
}

#[test]
fn half_a_surrogate_pair_in_the_text_of_a_fault_costs_no_more_than_a_mark() {
    let deed = "say '{\"type\":\"fault\",\"code\":12,\"text\":\"no \\ud800 file\",\"id\":'$id'}'";
    let (site, attempt, exo) = persistent(deed, "");
    assert_eq!(attempt.fault, Some(Fault(12)), "{attempt:?}");
    assert_eq!(attempt.text.as_deref(), Some("no \u{fffd} file"));
    nothing_stays(&site, exo);
}

#[test]
fn one_that_answers_an_item_that_it_does_not_have_costs_one_item() {
    let (site, attempt, exo) = persistent("say '{\"type\":\"result\",\"id\":4711}'", "");
    assert!(site.log().contains(": speaks of item 4711, which it does not have; ignored"));
    took_too_long((site, attempt, exo));
}

#[test]
fn one_that_answers_with_another_s_item_costs_one_item() {
    let other = host::item("other", "{}");
    let deed =
        format!("say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id,\\\"item\\\":\"'{other}}}'");
    let (site, attempt, exo) = persistent(&deed, "");
    assert_eq!(attempt.fault, Some(Fault(10)), "{attempt:?}");
    assert!(attempt.text.unwrap().contains("it is of another item: 0_1!s! of other"));
    nothing_stays(&site, exo);
}

#[test]
fn one_that_answers_twice_has_answered_once() {
    let answer = "say \"{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}\"\n";
    let fault = "say \"{\\\"type\\\":\\\"fault\\\",\\\"id\\\":$id,\\\"code\\\":12}\"\n";
    let (site, attempt, exo) = persistent(&[answer, fault, answer].concat(), "");
    assert_eq!((attempt.fault, attempt.output), (Some(Fault::NONE), None));
    let ignored = || site.log().matches(", which it does not have; ignored").count() == 2;
    site.until(ignored);
    nothing_stays(&site, exo);
}

#[test]
fn one_that_goes_on_about_items_that_it_does_not_have_is_told_ever_less_often() {
    let deed = "n=0\nwhile [ $n -lt 20 ]; do n=$((n + 1))\n\
                say '{\"type\":\"result\",\"id\":4711}'\ndone\n\
                say \"{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}\"";
    let (site, attempt, exo) = persistent(deed, "");
    assert_eq!(attempt.fault, Some(Fault::NONE));
    let log = site.log();
    let told = log.lines().filter_map(|line| line.split_once("does not have; ignored, "));
    let told: Vec<&str> = told.map(|(_, rest)| rest).collect();
    assert_eq!(told, [1, 2, 4, 8, 16].map(|n| format!("{n} so far")), "{log}");
    nothing_stays(&site, exo);
}

#[test]
fn one_that_leaves_children_behind_costs_one_item() {
    crashed(persistent("sleep 1000 & setsid sleep 1000 & exit 0", ""), "died: exit 0");
    let (site, attempt, exo) = per_item("sleep 1000 & setsid sleep 1000 & exit 3", "");
    assert_eq!(attempt.fault, Some(Fault(3)), "{attempt:?}");
    nothing_stays(&site, exo);
}

#[test]
fn one_that_ignores_term_costs_one_item() {
    let (site, attempt, exo) = per_item("trap '' TERM; while :; do sleep 1; done", "");
    assert_eq!(attempt.signal, Some(9));
    took_too_long((site, attempt, exo));
}

#[test]
fn one_that_stops_itself_costs_one_item() {
    took_too_long(persistent("kill -STOP $$", ""));
    took_too_long(per_item("kill -STOP $$", ""));
}

#[test]
fn one_that_dies_by_a_signal_costs_one_item() {
    for (number, name) in [(11, "SEGV"), (6, "ABRT"), (9, "KILL"), (15, "TERM")] {
        let (site, attempt, exo) = per_item(&format!("kill -{name} $$; sleep 1000"), "");
        assert_eq!(attempt.signal, Some(number));
        crashed((site, attempt, exo), &format!("signal {number}"));
    }
}

#[test]
fn one_that_eats_memory_up_to_its_limit_costs_one_item() {
    let deed = "exec perl -e 'my @all; push @all, \"x\" x (1 << 22) while 1'";
    let (site, attempt, exo) = per_item(deed, "limits: {memory: 256MiB}\n");
    assert_ne!(attempt.fault, Some(Fault::NONE), "{attempt:?}");
    assert!(attempt.peak_kib.unwrap() < 256 << 10, "{attempt:?}");
    nothing_stays(&site, exo);
}

#[test]
fn one_that_opens_descriptors_up_to_its_limit_costs_one_item() {
    let deed = "exec perl -e 'my @all; while (open my $f, \"<\", \"/dev/null\") { push @all, $f } \
                print STDERR \"$!\"; exit 4'";
    let (site, attempt, exo) = per_item(deed, "limits: {files: 64}\n");
    assert_eq!(attempt.fault, Some(Fault(4)));
    assert!(attempt.text.unwrap().contains("Too many open files"));
    nothing_stays(&site, exo);
}

#[test]
fn one_that_forks_up_to_its_limit_costs_one_item() {
    // The limit counts all processes of the user, those of other tests too.
    let deed = "exec perl -e '1 while defined fork; sleep 1000'";
    let (site, attempt, exo) = per_item(deed, "limits: {processes: 300}\n");
    took_too_long((site, attempt, exo));
}

#[test]
fn one_that_writes_a_file_up_to_its_limit_costs_one_item() {
    // Into a file without a name.
    let deed =
        "exec perl -e 'open my $f, \"+>\", undef or exit 4; print {$f} \"x\" x 65536 while 1'";
    let (site, attempt, exo) = per_item(deed, "limits: {file-size: 1MiB}\n");
    assert_eq!(attempt.signal, Some(25), "{attempt:?}");
    crashed((site, attempt, exo), "signal 25");
}

#[test]
fn one_that_computes_up_to_its_limit_costs_one_item() {
    let work = "#!/bin/bash\n[ $SKYNET_WFID = bad ] || exit 0\nwhile :; do :; done\n";
    let site = Site::per_item(work, "tries: 1\nlimits: {cpu: 1s}\n");
    // A second of the processor may be long in coming.
    let (attempt, exo) = survives_within(Duration::from_secs(2 * SOON), &site);
    // No time for an answer: the limit is the kernel's last one.
    assert_eq!(attempt.signal, Some(9), "{attempt:?}");
    assert!((500_000..2_000_000).contains(&attempt.cpu_us.unwrap()), "{attempt:?}");
    crashed((site, attempt, exo), "signal 9");
}

#[test]
fn one_that_answers_without_end_costs_one_item() {
    let more = "item-limit: 1MiB\n";
    took_too_long(per_item("exec cat /dev/zero >&3", more));
}

#[test]
fn one_that_sends_items_without_end_and_hears_nothing_costs_one_item() {
    let item = host::item("further", "{}").replace("0_1", "'$n'");
    let deed = format!(
        "n=0; while :; do n=$((n + 1))\nsay '{{\"type\":\"forward\",\"ticket\":1,\"queue\":\"q\",\"item\":{item}}}'\ndone"
    );
    took_too_long(persistent(&deed, ""));
}

#[test]
fn one_that_closes_all_that_it_was_given_costs_nothing() {
    let (site, attempt, exo) = per_item("exec 0<&- 1>&- 2>&- 3>&-; exit 0", "");
    assert_eq!(attempt.fault, Some(Fault::NONE));
    nothing_stays(&site, exo);
}

#[test]
fn one_that_never_reads_its_item_costs_nothing() {
    let site = Site::per_item(host::DONE, "");
    let exo = site.exo();
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(4 << 20));
    assert_eq!(site.work("w", &large).fault, Some(Fault::NONE));
    nothing_stays(&site, exo);
}

#[test]
fn one_that_floods_its_host_with_words_costs_one_item_and_control_is_answered_meanwhile() {
    let deed = "yes \"{\\\"type\\\":\\\"progress\\\",\\\"id\\\":$id,\\\"done\\\":0.5}\" >&3";
    let site = Site::persistent(&but_for_one(deed), &LIMITS.replace("2s", "8s"));
    let exo = site.exo();
    site.submit("bad", "{}");
    site.until(|| site.instance()["progress"]["done"] == 0.5);
    let mut took = Vec::new();
    site.until(|| {
        let asked = Instant::now();
        let is_busy = site.instance()["progress"]["done"] == 0.5;
        took.push(asked.elapsed());
        !is_busy
    });
    let median = host::median(&mut took);
    assert!(took.len() > 1 && median < host::PROMISED, "{} answers, {median:?}", took.len());
    let (_, attempts) = site.stopped("bad");
    assert_eq!(attempts[0].fault, Some(Fault::TIMED_OUT));
    assert_eq!(site.work("good", "{}").fault, Some(Fault::NONE));
    nothing_stays(&site, exo);
}

/// Is told a thousand times that what it sends is no item, and reads none of it, while it prints.
const REFUSED: &str = r#"import threading, time
def prints():
    while True:
        print("more", flush=True)
        time.sleep(0.001)
for said in work():
    threading.Thread(target=prints, daemon=True).start()
    while True:
        host.sendall(b'{"type":"forward","ticket":1,"queue":"q","item":1}\n' * 1000)
"#;

#[test]
fn one_that_reads_nothing_and_prints_meanwhile_is_heard_no_further_and_costs_no_memory() {
    let more = "mode: persistent\nshutdown-grace: 1s\n";
    let site = Site::per_item(&format!("{TALKS_PYTHON}{REFUSED}"), more);
    let exo = site.exo();
    site.submit("w", "{}");
    let worker = exo.worker();
    let mut most = 0;
    site.until_long(|| {
        most = most.max(host::private_kib(worker));
        site.log().matches("more").count() > 2000
    });
    println!("at most {most} KiB");
    // In the few seconds that it had.
    assert!(most < MOST / 4, "{most} KiB");
    let participant = exo.participants()[0];
    site.until(|| is_sending(participant));
    nothing_stays(&site, exo);
}

/// Names a point that its work has reached, and another one, for ever.
const STAGES: &str = r#"#!/usr/bin/env python3
import json, socket
host = socket.socket(fileno=3)
host.sendall(b'{"type":"hello","protocol":1}\n')
for line in host.makefile("rb"):
    said = json.loads(line)
    if said["type"] == "work":
        stage = json.dumps({"type": "stage", "id": said["id"], "stage": "x" * 4000}).encode()
        while True:
            host.sendall(stage + b"\n")
"#;

/// Tells whether a process waits until it can send.
fn is_sending(pid: i32) -> bool {
    const SENDTO: &str = "44 ";
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.starts_with(SENDTO)
}

#[test]
fn one_that_names_stages_without_end_costs_no_memory_even_while_none_can_be_recorded() {
    let site = Site::per_item(STAGES, "mode: persistent\nshutdown-grace: 1s\n");
    let exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.job("w").is_some_and(|job| job.stage.is_some()));
    // Somebody else's slow commit.
    let gate = std::fs::File::options().write(true).open(site.join("store/work.lock")).unwrap();
    gate.lock().unwrap();
    let (participant, worker) = (exo.participants()[0], exo.worker());
    let (mut most, mut waits) = (0, 0);
    site.until(|| {
        most = most.max(host::private_kib(worker));
        waits = if is_sending(participant) { waits + 1 } else { 0 };
        waits == 100 || most > MOST
    });
    println!("at most {most} KiB");
    assert!(most < MOST, "{most} KiB");
    assert!(site.status().is_some());
    gate.unlock().unwrap();
    site.until(|| !is_sending(participant));
    nothing_stays(&site, exo);
}

#[test]
fn one_that_never_says_hello_or_speaks_another_version_gets_no_item() {
    for hello in ["", "echo '{\"type\":\"hello\",\"protocol\":99}' >&3"] {
        let site = Site::per_item(
            &format!("#!/bin/sh\n{hello}\nsleep 1000\n"),
            "mode: persistent\nrestart: {first: 20ms, longest: 50ms}\nstart-limit: 200ms\n\
             cancel-grace: 100ms\nshutdown-grace: 1s\n",
        );
        let exo = site.exo();
        site.submit("w", "{}");
        let mut seen = std::collections::HashSet::new();
        site.until(|| {
            seen.extend(exo.participants());
            seen.len() > 3
        });
        let job = site.job("w").expect("the item");
        assert_eq!((job.tries, job.subject.count), (0, 0), "{job:?}");
        nothing_stays(&site, exo);
    }
}

/// What a participant tries that wants more than it may have, in Perl; each line of its output is an
/// attempt and what came of it.
const ATTACKS: &str = r#"
use Socket;
sub tried { my ($what, $done) = @_; print $done ? "$what: DONE\n" : "$what: $!\n" }
my ($database, $store, $etc, $socket, $run, $spool) = @ARGV;
my $keeper = getppid();
my $of = sub { open(my $f, "<", "/proc/$keeper/task/$keeper/children") or return (); split " ", <$f> };
my ($worker) = $of->();
tried("store read", open(my $a, "<", $database));
tried("log of the store read", open(my $h, "<", "$database-wal"));
tried("writers locked out", open(my $i, "<", "$store/work.lock"));
tried("sockets listed", opendir(my $j, "$store/takers"));
tried("what was dropped listed", opendir(my $k, "$spool/p/.taken"));
tried("store list", opendir(my $b, $store));
tried("store made", open(my $c, ">", "$store/mine"));
tried("secret read", open(my $d, "<", "$etc/secret"));
tried("socket removed", unlink($socket));
tried("socket replaced", open(my $e, ">", "$run/mine"));
socket(my $s, PF_UNIX, SOCK_STREAM, 0);
my $answer = connect($s, sockaddr_un($socket)) && syswrite($s, "{\"command\":\"drain\"}\n")
    && defined(my $line = readline($s));
tried("control", $answer);
my ($limit, $old) = (pack("QQ", 3, 3), "\0" x 16);
for my $pid ($keeper + 0, $worker + 0) {
    tried("signal", kill(9, $pid));
    tried("stop", kill("STOP", $pid));
    tried("memory", open(my $f, "+<", "/proc/$pid/mem"));
    tried("environment", open(my $g, "<", "/proc/$pid/environ"));
    tried("descriptors", opendir(my $h, "/proc/$pid/fd"));
    tried("trace", syscall(101, 16, $pid, 0, 0) == 0);
    tried("seize", syscall(101, 0x4206, $pid, 0, 0) == 0);
    tried("limits", syscall(302, $pid, 7, $limit, $old) == 0);
    tried("descriptor taken", do { my $p = syscall(434, $pid, 0); $p >= 0 && syscall(438, $p, 0, 0) >= 0 });
}
print "through\n";
"#;

#[test]
fn one_that_attacks_store_secrets_control_and_exo_gets_nowhere() {
    let site = Site::per_item(host::DONE, "");
    site.script("attack.pl", ATTACKS);
    let at = |name: &str| site.join(name).display().to_string();
    let database = work::Place::new(site.join("store")).database();
    let named = [database.display().to_string(), at("store"), at("etc")];
    let arguments =
        [&named[..], &[site.socket().display().to_string(), at("run"), at("spool")]].concat();
    site.script("work", &format!("#!/bin/sh\nexec perl attack.pl {}\n", arguments.join(" ")));
    std::fs::write(site.join("etc/secret"), "password").unwrap();
    let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(site.join("etc/secret"), only_ours).unwrap();
    let mut exo = site.exo();
    let worker = exo.worker();
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE), "{}", site.log());
    site.until(|| site.log().contains("p_0 w/1: through\n"));
    // They are what is meant, and whoever may can open them.
    for name in [&*at("store/work.lock"), &*at("store/takers"), &*at("spool/p/.taken")] {
        assert!(std::fs::File::open(name).is_ok(), "{name}");
    }
    for file in [database.clone(), database.with_file_name("work.db-wal")] {
        assert!(std::fs::File::open(&file).is_ok(), "{}", file.display());
    }
    let log = site.log();
    let tries: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("p_0 w/1: ")).collect();
    assert_eq!(tries.len(), 11 + 2 * 9 + 1, "{log}");
    // Landlock hides no names: in a user's own instance nothing else is in the way.
    let is_hidden = |line: &str| linux::process::euid() == 0 || !line.contains(" list");
    let done: Vec<_> =
        tries.iter().filter(|line| line.ends_with("DONE") && is_hidden(line)).collect();
    assert!(done.is_empty(), "{done:?}");
    assert!(exo.is_running() && children(exo.pid()).contains(&worker));
    assert_eq!(site.status().unwrap()["state"], "running");
    assert!(log.contains("asked for control; refused") || log.contains("control: Permission"));
    nothing_stays(&site, exo);
}

/// What one participant tries with another's process, in Perl: as above.
const NEIGHBOUR: &str = r#"
sub tried { my ($what, $done) = @_; print $done ? "$what: DONE\n" : "$what: $!\n" }
my $pid = $ARGV[0] + 0;
tried("stop", kill("STOP", $pid));
tried("signal", kill(9, $pid));
tried("memory", open(my $f, "+<", "/proc/$pid/mem"));
tried("log written", open(my $g, ">", "/proc/$pid/fd/1"));
tried("log written by its other way", open(my $h, ">>", "/proc/$pid/fd/2"));
tried("trace", syscall(101, 16, $pid, 0, 0) == 0);
tried("seize", syscall(101, 0x4206, $pid, 0, 0) == 0);
tried("descriptor taken", do { my $p = syscall(434, $pid, 0); $p >= 0 && syscall(438, $p, 3, 0) >= 0 });
kill(0, $$) and rename("made", "sub/made") and print "through\n";
"#;

#[test]
fn one_that_attacks_another_service_s_participant_of_the_same_account_gets_nowhere() {
    let has_scopes =
        linux::landlock::version().is_some_and(|version| version >= linux::landlock::SCOPES);
    if testkit::skipped("a kernel that can keep them apart", has_scopes) {
        return;
    }
    let victim = Site::persistent(host::ECHO, "");
    let its = victim.exo();
    victim.until(|| victim.instance()["state"] == "idle");
    let pid = its.participants()[0];

    let site = Site::per_item("#", "");
    let own = site.open_folder("own");
    site.script("attack.pl", NEIGHBOUR);
    let attack = site.join("p/attack.pl");
    let work = format!(
        "#!/bin/sh\nid -u\ncd {}\nmkdir sub\necho >made\nexec perl {} {pid}\n",
        own.display(),
        attack.display()
    );
    site.script("work", &work);
    let exo = site.exo();
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE), "{}", site.log());
    // It is the same account, and all else is as it was.
    site.until(|| site.log().contains("p_0 w/1: through\n"));
    let log = site.log();
    let uid = std::fs::metadata(format!("/proc/{pid}")).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&uid);
    assert!(log.contains(&format!("p_0 w/1: {uid}\n")), "{log}");
    let tries = log.lines().filter_map(|line| line.strip_prefix("p_0 w/1: "));
    let tries: Vec<&str> = tries.filter(|line| line.contains(": ")).collect();
    assert_eq!(tries.len(), 8, "{log}");
    assert!(!tries.iter().any(|line| line.ends_with("DONE")), "{tries:?}");
    assert_eq!(its.participants(), [pid]);
    assert_eq!(victim.work("w", "{}").fault, Some(Fault::NONE));
    nothing_stays(&site, exo);
}

/// However fast it prints, it is ended, nothing is asked in vain and exo stays small. Empty lines are
/// the worst: most of what is written of them is exo's own.
#[test]
fn one_that_prints_forever_costs_one_item_and_exo_no_memory() {
    let bad = "b".repeat(128);
    for print in ["cat /dev/zero & exec yes", "yes '' >&2 & exec yes ''"] {
        let work = format!("#!/bin/sh\n[ $SKYNET_WFID = {bad} ] || exit 0\n{print}\n");
        let site = Site::per_item(&work, LIMITS);
        let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
        let mut command = site.command(&[]);
        command.stdout(null.try_clone().unwrap()).stderr(null);
        let exo = Exo::new(command.spawn().unwrap());
        site.until(|| site.status().is_some());
        let worker = exo.worker();
        site.submit(&bad, "{}");
        site.running(&bad);
        let (mut kib, mut took) = (0, Vec::new());
        site.until(|| {
            let asked = Instant::now();
            assert!(site.status().is_some());
            took.push(asked.elapsed());
            kib = kib.max(host::private_kib(worker));
            site.job(&bad).is_some_and(|job| job.subject.state == State::Stop)
        });
        let median = host::median(&mut took);
        println!(
            "{print}: {kib} KiB; answers took {median:?} in the median, {:?} at most",
            took.last()
        );
        assert!(median < host::PROMISED, "{print}: {median:?}");
        assert_eq!(site.attempts(&bad)[0].fault, Some(Fault::TIMED_OUT));
        assert_eq!(site.work("good", "{}").fault, Some(Fault::NONE));
        assert!(kib < MOST, "{print}: {kib} KiB");
        nothing_stays(&site, exo);
    }
}
