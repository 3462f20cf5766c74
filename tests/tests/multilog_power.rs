//! What a power cut may take: only what was not promised to be on disk. The system calls of a
//! whole life are read in their order: a file is on disk before it gets the name or the mode that
//! says so, and a new name is on disk, too, before anything older is removed or the logger ends.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use testkit::lines::lines;
use testkit::logger::under;
use testkit::{Logger, Pipe, Scratch, Suite, until};

/// Returns the trace of a life with a few rotations, one line a call, paths behind descriptors.
fn trace(script: &[&str]) -> String {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    pipe.write(&lines(0..500));
    let path = scratch.join("trace");
    let wrapper = ["strace", "-D", "-q", "-y", "-s", "64", "-o", path.to_str().unwrap()];
    let script = [script, &["s4096", "n4", "./d"]].concat();
    let mut command = under(&scratch, &wrapper, Suite::Ours, &script);
    Logger::read(&mut command, pipe.reader()).finish(&pipe);
    let calls = || fs::read_to_string(&path).unwrap_or_default();
    until(10, || calls().contains("exited with 0"));
    calls()
}

/// What a call names: quoted names, and the paths of descriptors, each without its folder; the
/// folder `d` itself is `d`.
fn names(call: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = call;
    while let Some(at) = rest.find(['"', '<']) {
        let end = if rest.as_bytes()[at] == b'"' { '"' } else { '>' };
        let Some(len) = rest[at + 1..].find(end) else { break };
        let path = &rest[at + 1..at + 1 + len];
        // Removed files are shown so; what follows a descriptor's path is an argument.
        let path = path.trim_end_matches(" (deleted)");
        found.push(path.rsplit('/').next().unwrap_or_default().to_owned());
        rest = &rest[at + len + 2..];
    }
    found
}

/// Files of the log whose content matters.
fn is_log(name: &str) -> bool {
    ["current", "previous", "processed"].contains(&name) || name.starts_with('@')
}

/// What is not on disk yet, as far as the calls so far say.
#[derive(Default)]
struct Volatile {
    /// Files with content that was not synced.
    content: BTreeSet<String>,
    /// Names in the directory that were not synced.
    names: BTreeSet<String>,
    /// Files that got their final name, in order.
    published: usize,
    complaints: Vec<String>,
}

impl Volatile {
    fn see(&mut self, line: &str) {
        let Some((call, rest)) = line.split_once('(') else { return };
        let Some((arguments, answer)) = rest.rsplit_once(" = ") else { return };
        if answer.starts_with('-') {
            return;
        }
        let names = names(arguments);
        let files: Vec<&String> = names.iter().filter(|name| is_log(name)).collect();
        match call {
            "write" | "pwrite64" | "writev" | "ftruncate" => {
                // The text of a write is quoted, too: the descriptor comes first.
                if let Some(name) = names.first().filter(|name| is_log(name)) {
                    self.content.insert(name.clone());
                }
            }
            "splice" | "sendfile" | "copy_file_range" => {
                self.content.extend(files.into_iter().cloned());
            }
            "fsync" | "fdatasync" if names == ["d"] => self.names.clear(),
            "fsync" | "fdatasync" => self.content.retain(|name| !names.contains(name)),
            "sync" | "syncfs" => {
                self.content.clear();
                self.names.clear();
            }
            "open" | "openat" if arguments.contains("O_CREAT") => {
                self.names.extend(files.into_iter().cloned());
            }
            // A processor has written it.
            "clone" | "clone3" | "vfork" | "fork" => _ = self.content.insert("processed".into()),
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => self.name(line, &files),
            "unlink" | "unlinkat" => self.remove(line, &files),
            "chmod" | "fchmod" | "fchmodat" if arguments.ends_with(", 0744)") => {
                self.closed(line, &files);
            }
            _ => {}
        }
    }

    fn name(&mut self, line: &str, files: &[&String]) {
        let [.., from, to] = files else { return };
        if self.content.remove(*from) {
            if to.starts_with('@') {
                self.complaints.push(format!("named before it is on disk: {line}"));
            }
            self.content.insert((*to).clone());
        }
        self.published += usize::from(to.starts_with('@'));
        self.names.insert((*to).clone());
    }

    fn remove(&mut self, line: &str, files: &[&String]) {
        let oldest = files.iter().any(|name| name.starts_with('@'));
        // The name under which the content was known before, and the oldest of the rotated.
        if oldest && self.names.iter().any(|name| name.starts_with('@')) {
            self.complaints.push(format!("removed before newer names are on disk: {line}"));
        }
        for name in files {
            self.names.remove(*name);
        }
    }

    fn closed(&mut self, line: &str, files: &[&String]) {
        if files.iter().any(|name| self.content.contains(*name)) {
            self.complaints.push(format!("closed before it is on disk: {line}"));
        }
    }
}

fn life(script: &[&str]) -> Volatile {
    let mut volatile = Volatile::default();
    trace(script).lines().for_each(|line| volatile.see(line));
    assert!(volatile.published > 3, "only {} files were rotated", volatile.published);
    volatile
}

const SCRIPTS: [&[&str]; 3] = [&[], &["t"], &["!cat"]];

/// `fsync_before_rename`
#[test]
fn a_file_is_on_disk_before_its_name_or_mode_says_so() {
    for script in SCRIPTS {
        let volatile = life(script);
        let wrong: Vec<_> =
            volatile.complaints.iter().filter(|text| !text.starts_with("removed")).collect();
        assert!(wrong.is_empty(), "{script:?}: {wrong:#?}");
        assert!(volatile.content.iter().all(|name| name != "current"), "{script:?}");
    }
}

/// `directory_fsync`
#[test]
fn a_name_is_on_disk_before_an_older_file_is_removed_and_at_the_end() {
    for script in SCRIPTS {
        let volatile = life(script);
        assert!(volatile.complaints.is_empty(), "{script:?}: {:#?}", volatile.complaints);
        assert!(volatile.names.is_empty(), "{script:?}: {:?} at the end", volatile.names);
    }
}

/// The reader of traces itself.
#[test]
fn a_trace_in_the_wrong_order_is_complained_about() {
    const WRITE: &str = "write(6</x/d/current>, \"a@b</y>\", 7) = 7\n";
    const SYNC: &str = "fsync(6</x/d/current>) = 0\n";
    const MOVE: &str = "rename(\"current\", \"previous\") = 0\nlink(\"previous\", \"@1.s\") = 0\n";
    const SYNC_DIR: &str = "fsync(4</x/d>) = 0\n";
    const REMOVE: &str = "unlink(\"@0.s\") = 0\n";
    let complaints = |calls: &[&str]| {
        let mut volatile = Volatile::default();
        calls.concat().lines().for_each(|line| volatile.see(line));
        volatile.complaints.len()
    };
    assert_eq!(complaints(&[WRITE, SYNC, MOVE, SYNC_DIR, REMOVE]), 0);
    assert_eq!(complaints(&[WRITE, MOVE, SYNC, SYNC_DIR, REMOVE]), 1);
    assert_eq!(complaints(&[WRITE, SYNC, WRITE, MOVE, SYNC_DIR, REMOVE]), 1);
    assert_eq!(complaints(&[WRITE, SYNC, MOVE, REMOVE, SYNC_DIR]), 1);
    assert_eq!(complaints(&[WRITE, "fsync(6</x/d/current>) = -1 EIO\n", MOVE]), 1);
    assert_eq!(complaints(&[WRITE, "fchmod(6</x/d/current>, 0744) = 0\n"]), 1);
    assert_eq!(complaints(&["splice(0, NULL, 5</x/d/current>, NULL, 9, 0) = 9\n", MOVE]), 1);
}
