//! Services and participants at work in a machine, and the count of what they did.

use super::Machine;
use crate::host::{WORDS, item};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use testkit::scratch::script;

/// Says numbered lines, goes on behind the last one of its earlier lives, and says how far it was when
/// it is told to end. Nothing comes from the pipe that it waits on: it starts no process.
const COUNTER: &str = r#"#!/bin/bash
exec 2>&1
name=${PWD##*/}
[ -p /run/$name ] || mkfifo /run/$name
exec 9<>/run/$name
n=0
[ ! -e /var/tmp/$name ] || read -r n </var/tmp/$name
trap 'echo "last $n"; echo "$n" >/var/tmp/$name; exit 0' TERM
while :; do
    echo "line $((n += 1))"
    read -rt 0.2 -u 9
done
"#;

const LOGGER: &str = "#!/bin/sh\nexec setuidgid skynetlog multilog t s100000 n1000 ./main\n";

/// Notes each item that it has done, and says so.
const EACH: &str = "#!/bin/sh\nsleep 0.05\necho \"did $SKYNET_WFID\"\n\
                    echo \"$SKYNET_WFID\" >>/var/tmp/did.$SKYNET_PARTICIPANT\n";

/// The same of a persistent one.
const STAYS: &str = r#"
while hear; do
    case $type in
    work)
        wfid=${line#*\"wfid\":\"}
        wfid=${wfid%%\"*}
        sleep 0.05
        echo "did $wfid"
        echo "$wfid" >>"/var/tmp/did.$name"
        say "{\"type\":\"result\",\"id\":$id}"
        ;;
    shutdown) exit 0 ;;
    esac
done
"#;

/// Participants of each kind.
const KINDS: [&str; 2] = ["each", "stays"];

/// Puts their directories into a root folder, to be installed.
pub(super) fn put(root: &Path) {
    let counter = root.join("srv/counter");
    script(&made(&counter, "").join("run"), COUNTER);
    script(&made(&counter, "log").join("run"), LOGGER);
    for kind in KINDS {
        for number in 0..5 {
            let name = format!("{kind}{number}");
            let dir = made(&root.join("srv").join(&name), "");
            let (mode, work) = match kind {
                "each" => ("per-item", EACH.to_owned()),
                _ => ("persistent", format!("{WORDS}name={name}\n{STAYS}")),
            };
            fs::write(dir.join("exo.yaml"), format!("command: ./work\nmode: {mode}\n")).unwrap();
            script(&dir.join("work"), &work);
        }
    }
}

fn made(dir: &Path, name: &str) -> std::path::PathBuf {
    let dir = dir.join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// What is at work.
pub(crate) struct Load {
    pub(crate) counters: Vec<String>,
    pub(crate) participants: Vec<String>,
    /// Items that each participant has.
    items: usize,
}

impl Load {
    /// Installs and starts so many counters, and so many participants of each kind.
    #[track_caller]
    pub(crate) fn start(machine: &mut impl Machine, counters: usize, of_each_kind: usize) -> Self {
        let names =
            |kind: &str, count| (0..count).map(|n| format!("{kind}{n}")).collect::<Vec<_>>();
        let counters = names("counter", counters);
        let participants: Vec<_> =
            KINDS.iter().flat_map(|kind| names(kind, of_each_kind)).collect();
        for name in &counters {
            machine.well(&format!("skynet install /srv/counter {name}"));
        }
        for name in &participants {
            machine.well(&format!("skynet install /srv/{name}"));
        }
        let all = [&*counters, &*participants].concat().join(" ");
        machine.well(&format!("skynet enable --now {all}"));
        Self { counters, participants, items: 0 }
    }

    /// Submits so many items to each participant.
    #[track_caller]
    pub(crate) fn submit(&mut self, machine: &mut impl Machine, count: usize) {
        let first = self.items;
        self.items += count;
        for name in &self.participants {
            let text = item("WFID", "{}");
            let each = format!("seq {first} {} | sed 's/.*/w&/'", self.items - 1);
            let submit = format!("skynet submit {name} --lines");
            machine.well(&format!(
                "{each} | while read -r wfid; do echo '{text}' | sed s/WFID/$wfid/; done | {submit}"
            ));
        }
    }

    /// Waits until each participant has done so many items, or all.
    #[track_caller]
    pub(crate) fn until_done(&self, machine: &mut impl Machine, count: Option<usize>) {
        for name in &self.participants {
            let count = count.unwrap_or(self.items);
            machine.until(&format!("[ \"$(cat /var/tmp/did.{name} | wc -l)\" -ge {count} ]"));
        }
    }

    /// Each item was done once, and is recorded as done; each has its line in the log.
    #[track_caller]
    pub(crate) fn assert_items(&self, machine: &mut impl Machine) {
        for name in &self.participants {
            let recorded =
                format!("skynet history --json {name} | grep '\"done\":{},'", self.items);
            machine.until(&recorded);
            let did = machine.well(&format!("cat /var/tmp/did.{name}"));
            let wanted: HashMap<_, _> = (0..self.items).map(|n| (format!("w{n}"), 1)).collect();
            assert_eq!(counts(did.lines()), wanted, "{name}");
            let log = log(machine, name);
            let said = log.lines().filter_map(|line| Some(line.split_once(": did ")?.1));
            assert_eq!(counts(said), wanted, "the log of {name}");
        }
    }

    /// Each counter's lines are in its log, each once and in order; returns how often each has said
    /// that it ends.
    #[track_caller]
    pub(crate) fn assert_lines(&self, machine: &mut impl Machine) -> BTreeMap<String, usize> {
        let ends = self.counters.iter().map(|name| {
            let log = log(machine, name);
            let (mut next, mut ends) = (1, 0);
            for line in log.lines() {
                let (_, text) = line.split_once(' ').unwrap();
                if text == format!("line {next}") {
                    next += 1;
                } else {
                    assert_eq!(text, format!("last {}", next - 1), "the log of {name}:\n{log}");
                    ends += 1;
                }
            }
            assert!(next > 2, "{name} has said nothing:\n{log}");
            (name.clone(), ends)
        });
        ends.collect()
    }
}

/// Returns the log of a service or participant; each file of it ends with a whole line.
#[track_caller]
pub(crate) fn log(machine: &mut impl Machine, name: &str) -> String {
    let folder = format!("/var/log/skynet/{name}");
    machine.well(&format!("cd {folder} && sed -s '$a\\' $(ls -d @* 2>/dev/null) current"))
}

fn counts<'a>(words: impl Iterator<Item = &'a str>) -> HashMap<String, usize> {
    let mut all = HashMap::new();
    words.for_each(|word| *all.entry(word.to_owned()).or_default() += 1);
    all
}
