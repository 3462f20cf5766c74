//! A persistent participant that says all sorts of things: what it says first of the end of an item is
//! what is recorded.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::{Site, TALKS, lines};
use machine::work::Fault;
use std::collections::HashMap;
use work::read::Attempt;

/// Behind [`TALKS`]: around how the work ended, drawn as the rest is, it says what comes late, a
/// second time, of items that it does not have, and without sense. What it says first goes into a file,
/// before: wfid, code, and a mark that text or answer bear.
const SAYS_ALL_SORTS: &str = r#"srand($ARGV[0] * 100 + ($ENV{SKYNET_INSTANCE} =~ /(\d+)$/)[0]);
open(my $kept, ">>", $ARGV[1]) or die;
my @past = (0);
sub any { $_[int rand @_] }
# Of the end of work, as it is said of an item that is not in hand.
sub late {
    my $id = any(any(@past), int rand($past[-1] + 1), 1e9 + int rand 1e9);
    any(qq({"type":"result","id":$id}), qq({"type":"result","id":$id,"forget":true}),
        qq({"type":"result","id":$id,"item":{"fields":{"late":1}}}), qq({"type":"cancelled","id":$id}),
        qq({"type":"fault","id":$id,"code":12,"text":"late"}), qq({"type":"stage","id":$id,"stage":"late"}),
        qq({"type":"progress","id":$id,"done":0.9})) . "\n";
}
sub senseless {
    my ($id) = @_;
    any("late", "", "[]", "null", "{}", qq({"type":"dance","id":$id}), qq({"type":"result"}),
        qq({"type":"fault","code":12}), qq({"type":"result","id":"$id"}), qq({"id":$id}), qq({"type":"result","id":$id),
        qq({"type":"stage","id":$id,"stage":7}), "\xff\x00", qq({"type":"progress","id":$id,"done":"half"})) . "\n";
}
while (1) {
    my $line = hear();
    exit 0 if $line =~ /"type":"shutdown"/;
    my ($id, $item) = $line =~ /"type":"work","id":(\d+),.*"item":(\{.*\})\}\n/ or next;
    my ($wfid) = $item =~ /"wfid":"(\w+)"/;
    my $mark = "m" . int rand 1e9;
    (my $changed = $item) =~ s/"fields":\{/"fields":{"mark":"$mark",/;
    (my $other = $changed) =~ s/"wfid":"\w+"/"wfid":"another"/;
    # 25 is exo's own, for what was tried in vain as often as it may be.
    my $code = any(1 + int rand 24, 26 + int rand 874);
    my ($is, $says) = @{any([0, qq({"type":"result","id":$id,"item":$changed})],
        [0, qq({"type":"result","id":$id,"item":$changed})],
        [$code, qq({"type":"fault","id":$id,"code":$code,"text":"$mark"})],
        [1, qq({"type":"cancelled","id":$id})], [10, qq({"type":"result","id":$id,"item":$other})],
        [4, qq({"type":"fault","id":$id,"code":0,"text":"$mark"})])};
    syswrite($kept, "$wfid $is $mark\n");
    my $all = "";
    # The tenth without sense would end it.
    my $patience = 9;
    for (1 .. int rand 12) { $all .= rand() < 0.6 || !$patience ? late() : $patience-- && senseless($id) }
    $all .= "$says\n";
    push @past, $id;
    for (1 .. int rand 5) { $all .= rand() < 0.4 ? "$says\n" =~ s/"code":0/"code":13/r : late() }
    # In pieces of whatever length.
    while (length $all) { syswrite($s, substr($all, 0, 1 + int rand 400, "")) }
}
"#;

/// Compares an attempt with what was said first.
#[track_caller]
fn is_as_said(attempt: &Attempt, (code, mark): &(u16, String), context: &str) {
    let text = attempt.text.as_deref().unwrap_or_default();
    let output = String::from_utf8_lossy(attempt.output.as_deref().unwrap_or_default());
    let context = format!("{context}, said {code} {mark}: {attempt:?} {output}");
    assert_eq!(attempt.fault, Some(Fault(*code)), "{context}");
    match code {
        0 => assert!(output.contains(mark), "{context}"),
        // Of cancels, of another's item and of what has no sense the words are exo's.
        1 | 4 | 10 => {}
        _ => assert_eq!(text, mark, "{context}"),
    }
    assert!(!output.contains("late") && text != "late", "{context}");
    assert_eq!(attempt.stage, None, "{context}");
}

#[test]
fn of_words_that_come_late_twice_for_others_or_without_sense_none_changes_the_record() {
    let is_long = std::env::var_os("SKYNET_LONG").is_some();
    let (seeds, count) = if is_long { (40, 2_000) } else { (3, 400) };
    for seed in 1..=seeds {
        let context = format!("seed {seed}");
        println!("{context}");
        let more = "instances: 3\ntries: 1\n";
        let site = Site::persistent_program(&["perl", "says.pl", "SEED", "SAID"], more);
        let said = site.open_folder("said").join("first");
        let own = site.join("p/exo.yaml");
        let text = std::fs::read_to_string(&own).unwrap();
        let text = text.replace("SEED", &format!("\"{seed}\""));
        std::fs::write(&own, text.replace("SAID", said.to_str().unwrap())).unwrap();
        site.script("says.pl", &format!("{TALKS}{SAYS_ALL_SORTS}"));
        let mut sender = Sender::new(&site);
        let wfids: Vec<String> = (0..count).map(|n| format!("w{n}")).collect();
        sender.submit(&wfids);
        let exo = site.exo();
        site.until_long(|| progress(&site.join("store")) == (count, 0));
        assert!(exo.end().success(), "{context}: {}", site.log());

        let log = site.log();
        assert!(!log.contains(": ended: "), "{context}: {log}");
        for told in ["which it does not have; ignored", "said something without sense: "] {
            assert!(log.contains(told), "{context}: {log}");
        }
        let mut first = HashMap::new();
        for line in lines(&said) {
            let words: Vec<&str> = line.split(' ').collect();
            let [wfid, code, mark] = words[..] else { panic!("{context}: {line}") };
            let word = (code.parse().unwrap(), mark.to_owned());
            assert_eq!(first.insert(wfid.to_owned(), word), None, "{context}: {wfid}, twice");
        }
        for wfid in &wfids {
            let attempts = site.attempts(wfid);
            assert_eq!(attempts.len(), 1, "{context}: {attempts:?}");
            is_as_said(&attempts[0], &first[wfid], &format!("{context}: {wfid}"));
        }
        adds_up(&sender, &site.join("store"), 1, &context);
    }
}
