//! The participants of examples/ as services, under svscan, supervise and multilog: whatever is
//! killed at random meanwhile, each of their items is answered once, and rightly.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod history;
mod host;

use history::killer::{Killer, Left, Victim};
use history::{Sender, adds_up, each_answer, progress_of_each};
use host::{children, name_of};
use machine::work::State;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::scratch::copy_program;
use testkit::svscan::{SOON, Svscan, named, svscan};
use testkit::wait::holds_within;
use testkit::{Scratch, run, until};
use work::{Place, Reader};

/// How often an item may be tried: deaths of exo count.
const TRIES: usize = 50;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// In a supervise folder, the pipe to the logger.
const LOGPIPE: &str = "logpipe";
/// Bytes of the stamp before each line.
const STAMP: usize = 25;
/// Folders that items lead to: two items never work in one at once, since each names it as its key.
const TARGETS: usize = 4;
/// Ids of the account `skynetlog`, which need not be there.
const LOGGER: u32 = 64_971;
/// Ids that `nobody` has here: what others run as nobody must not count in its limits.
const NOBODY: u32 = 64_972;

/// A participant that takes items from the store.
struct Example {
    name: &'static str,
    /// Items that wait or are in hand at once.
    at_once: u64,
    /// What it adds to an item's fields, which it is given. `words`: see [`words`].
    adds: fn(fields: &Value, words: usize) -> Value,
    /// The line that it prints about an item that it has done.
    prints: fn(fields: &Value) -> String,
}

const EXAMPLES: [Example; 4] = [
    Example {
        name: "debian-source",
        at_once: 8,
        adds: |fields, _| {
            let folder = format!("{}/hello-2.10-3", text(&fields["into"]));
            json!({"source": "hello", "version": "2.10-3", "folder": folder, "files": 4})
        },
        prints: |_| "hello 2.10-3: 4 files".to_owned(),
    },
    Example {
        name: "check-links",
        at_once: 16,
        adds: |fields, _| {
            let broken = format!("{}nowhere.png", text(&fields["url"]));
            json!({"links": 2, "broken": [{"url": broken, "reason": "404"}]})
        },
        prints: |fields| format!("{}: 1 of 2 links are broken", text(&fields["url"])),
    },
    Example {
        name: "word-index",
        at_once: 8,
        adds: |_, words| json!({ "words": words }),
        prints: |fields| {
            format!("{}: {} words of 2 files", text(&fields["index"]), fields["words"])
        },
    },
    Example {
        name: "build-c",
        at_once: 4,
        adds: |fields, _| {
            let made = format!("{}/hello-1.0", text(&fields["into"]));
            json!({"log": format!("{made}.log"), "made": made})
        },
        prints: |_| "building hello-1.0".to_owned(),
    },
];

/// The place among them of the one that counts words.
const WORDS: usize = 2;

/// The exoskeleton of one's own, which has folders instead of a store.
const OTHER: &str = "other-exo";

/// Returns who stands in exo's place there: a python3 right below a supervise.
fn other() -> Victim {
    Victim::new(OTHER, 6, |scratch| {
        let all = named(scratch, "supervise").into_iter().flat_map(children);
        all.filter(|pid| name_of(*pid) == "python3").collect()
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Makes, in the current directory, what the items of the examples speak of.
const MATERIAL: &str = r#"
set -e
mkdir -p hello-2.10/src hello-2.10/doc debian hello-1.0
echo 'int main(void) { return 0; }' >hello-2.10/src/hello.c
ln -s ../src/hello.c hello-2.10/doc/link
echo 'Source: hello' >debian/control
echo x >debian/rules
tar -cJf hello_2.10.orig.tar.xz hello-2.10
tar -cJf hello_2.10-3.debian.tar.xz debian
{
    printf 'Format: 3.0 (quilt)\nSource: hello\nVersion: 2.10-3\nChecksums-Sha256:\n'
    for part in hello_2.10*.tar.xz; do
        echo " $(sha256sum <"$part" | cut -d ' ' -f 1) $(stat -c %s "$part") $part"
    done
} >hello_2.10-3.dsc
printf 'all: hello\ninstall:\n\tmkdir -p $(DESTDIR)/bin\n\tcp hello $(DESTDIR)/bin\n' >hello-1.0/Makefile
printf '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n' >hello-1.0/hello.c
tar -czf hello-1.0.tar.gz hello-1.0
rm -r hello-2.10 debian hello-1.0
"#;

/// Runs a program in a namespace in which the accounts of `$1` and the groups of `$2` count.
const ACCOUNTS: &str =
    "mount --bind \"$1\" /etc/passwd && mount --bind \"$2\" /etc/group && shift 2 && exec \"$@\"";

/// Serves a folder on this machine alone; the last thing that it prints is its port.
const SERVER: &str = "import http.server, functools, sys\n\
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n\
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n\
    print(server.server_address[1], flush=True)\n\
    server.serve_forever()";

/// A web server that nobody kills: a server that is away is a broken link, and that answer right.
struct Server(Child, String);

impl Server {
    fn start(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let page = "<a href=there.html#x>1</a> <a href='there.html'>2</a> <img src=/nowhere.png>";
        fs::write(folder.join("index.html"), page).unwrap();
        fs::write(folder.join("there.html"), "x").unwrap();
        let mut server = Command::new("python3");
        server.args(["-c", SERVER]).arg(folder).current_dir("/");
        let mut child = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, format!("127.0.0.1:{}", port.trim()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that must do well.
#[track_caller]
fn well(command: &mut Command) {
    let output = run(command);
    assert_eq!(output.code, Some(0), "{command:?}: {output:?}");
}

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Returns how many different words are in these files.
fn words(files: &Value) -> usize {
    let files = files.as_array().unwrap().iter();
    let all: String = files.map(|file| fs::read_to_string(text(file)).unwrap() + "\n").collect();
    let all = all.to_lowercase();
    let words = all.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<HashSet<_>>().len()
}

/// Copies an example to where participants are, makes what its README says is to be made, and links
/// it into the folder that is scanned.
fn install(scratch: &Scratch, name: &str) {
    let dir = scratch.join("participants").join(name);
    well(Command::new("cp").arg("-R").arg(tree("examples").join(name)).arg(&dir));
    if name == "word-index" {
        // What `./build` does.
        copy_program(&testkit::suite::built(name), &dir.join(name));
    }
    let python = tree("crates/participant/python/skynet");
    well(Command::new("cp").arg("-R").arg(python).arg(&dir));
    if name != OTHER {
        let logs = dir.join("log/main");
        fs::create_dir(&logs).unwrap();
        chown(logs, Some(LOGGER), Some(LOGGER)).unwrap();
    }
    symlink(&dir, scratch.join("service").join(name)).unwrap();
}

/// Everything that there is during a test.
struct Soak {
    sender: Sender,
    server: Server,
    scratch: Scratch,
    /// How many words are in the texts to be indexed.
    words: usize,
    /// Lines of the examples' files of items.
    items: Vec<Vec<String>>,
    /// What was sent, by the name of its process.
    sent: HashMap<String, (usize, Value)>,
    /// Files for the other exoskeleton so far.
    files: u64,
    logs: Logs,
    /// Those of whose attempts the line was nowhere but in a pipe that died with all who held it.
    excused: HashSet<String>,
}

impl Soak {
    fn new() -> Self {
        let scratch = Scratch::new();
        for folder in ["etc", "participants", "service", "targets"] {
            fs::create_dir(scratch.join(folder)).unwrap();
        }
        let at = |name: &str| scratch.join(name).display().to_string();
        let config = format!(
            "worker-user: daemon\nstore: {}\nspool: {}\nrun: {}\nsafety: kill\nparticipants:\n  \
             tries: {TRIES}\n  retry: {{first: 20ms, longest: 50ms}}\n  \
             restart: {{first: 20ms, longest: 50ms}}\n",
            at("store"),
            at("spool"),
            at("run"),
        );
        fs::write(scratch.join("etc/skynet.yaml"), config).unwrap();
        let account = format!(
            "nobody:x:{NOBODY}:{NOBODY}::/nonexistent:/usr/sbin/nologin\n\
             skynetlog:x:{LOGGER}:{LOGGER}::/nonexistent:/usr/sbin/nologin\n"
        );
        for (name, first) in [("passwd", account), ("group", format!("skynetlog:x:{LOGGER}:\n"))] {
            // The first line of a name counts.
            let all = fs::read_to_string(Path::new("/etc").join(name)).unwrap();
            fs::write(scratch.join("etc").join(name), first + &all).unwrap();
        }
        for target in 0..TARGETS {
            let target = scratch.join("targets").join(target.to_string());
            fs::create_dir(&target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o777)).unwrap();
            well(Command::new("sh").args(["-c", MATERIAL]).current_dir(&target));
        }
        let names = EXAMPLES.iter().map(|example| example.name);
        names.clone().chain([OTHER]).for_each(|name| install(&scratch, name));
        let items = names.map(|name| host::lines(&tree("examples").join(name).join("items")));
        let items: Vec<_> = items.collect();
        let texts: Value = serde_json::from_str(&items[WORDS][0]).unwrap();
        Self {
            words: words(&texts["fields"]["files"]),
            sender: Sender::at(&scratch.join("store")),
            server: Server::start(&scratch.join("web")),
            items,
            sent: HashMap::new(),
            files: 0,
            logs: Logs::default(),
            excused: HashSet::new(),
            scratch,
        }
    }

    fn store(&self) -> PathBuf {
        self.scratch.join("store")
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.scratch.join("participants").join(name)
    }

    /// Returns how many items of an example have stopped, and how many have not.
    fn progress(&self, name: &str) -> (u64, u64) {
        progress_of_each(&self.store()).remove(name).unwrap_or_default()
    }

    /// Sends as many items as may be open, each under a name of its own.
    fn top_up(&mut self) {
        for (number, example) in EXAMPLES.iter().enumerate() {
            let (_, open) = self.progress(example.name);
            let items = (open..example.at_once).map(|_| self.item(number)).collect::<Vec<_>>();
            self.sender.send(example.name, items);
        }
        let inbox = self.dir(OTHER).join("inbox");
        while inbox.is_dir() && self.files < self.answered() + 8 {
            let name = self.files.to_string();
            let hidden = inbox.join(format!(".{name}"));
            fs::write(&hidden, format!("text {name}\n")).unwrap();
            fs::rename(hidden, inbox.join(name)).unwrap();
            self.files += 1;
        }
    }

    /// Returns the next item of an example in an envelope: a line of its file, elsewhere.
    fn item(&mut self, example: usize) -> Vec<u8> {
        let number = self.sent.len();
        let target = self.scratch.join("targets").join((number % TARGETS).to_string());
        let target = target.to_str().unwrap();
        let lines = &self.items[example];
        let line = lines[number % lines.len()].replace("/var/tmp", target);
        let line = line.replace("127.0.0.1:8000", &self.server.1);
        let mut item: Value = serde_json::from_str(&line).unwrap();
        let name = EXAMPLES[example].name;
        let wfid = format!("{name}-{number}");
        item["fei"]["wfid"] = json!(wfid);
        let mut envelope = json!({"skynet": 1, "item": item});
        if line.contains(target) {
            envelope["key"] = json!(format!("{name} {target}"));
        }
        self.sent.insert(wfid, (example, item));
        envelope.to_string().into_bytes()
    }

    /// Returns how many files the other exoskeleton has answered.
    fn answered(&self) -> u64 {
        let Ok(all) = fs::read_dir(self.dir(OTHER).join("outbox")) else { return 0 };
        // What is not whole yet has a name with an ending.
        let done = all.filter(|entry| entry.as_ref().unwrap().path().extension().is_none());
        done.count() as u64
    }

    /// Returns how many items of one are done, of the examples and the other exoskeleton in turn.
    fn done(&self, turn: usize) -> u64 {
        match EXAMPLES.get(turn % (EXAMPLES.len() + 1)) {
            Some(example) => self.progress(example.name).0,
            None => self.answered(),
        }
    }

    fn scan(&self) -> Svscan {
        let etc = self.scratch.join("etc");
        let (passwd, group) = (etc.join("passwd"), etc.join("group"));
        let (passwd, group) = (passwd.to_str().unwrap(), group.to_str().unwrap());
        let wrapper = ["unshare", "-m", "sh", "-c", ACCOUNTS, "sh", passwd, group];
        let mut command = svscan(&self.scratch, &wrapper, &[], "service");
        command.env("SKYNET_CONFIG", etc).env_remove("NOTIFY_SOCKET");
        Svscan::spawn(&self.scratch.join("service"), &mut command)
    }

    /// Notes whose line can be nowhere any more, since nobody is left who holds the pipe to the log.
    fn excuse(&mut self) {
        for example in &EXAMPLES {
            self.logs.look(&self.dir(example.name));
            let pipe = self.dir(example.name).join("supervise").join(LOGPIPE);
            if !is_held(&self.scratch, &pipe) {
                let missing = self.missing(example.name);
                self.excused.extend(missing);
            }
        }
    }

    /// Returns the last attempts, as the log names them, at items of an example that have stopped and
    /// of which no line is in the log.
    fn missing(&self, name: &str) -> Vec<String> {
        let Ok(reader) = Reader::open(&Place::new(self.store())) else { return Vec::new() };
        let jobs = reader.jobs(Some(name), None, u32::MAX).unwrap();
        let stopped = jobs.into_iter().filter(|job| job.subject.state == State::Stop);
        let attempts = stopped.filter_map(|job| {
            let attempt = format!("{}/{}", job.wfid, job.tries);
            let expected = self.printed(&job.wfid);
            (self.logs.lines.get(&attempt) != Some(&expected)).then_some(attempt)
        });
        attempts.collect()
    }

    /// Returns the answer to an item: what was sent, and what the example adds.
    fn answer(&self, wfid: &str) -> Value {
        let (example, item) = &self.sent[wfid];
        let mut answer = item.clone();
        let Value::Object(added) = (EXAMPLES[*example].adds)(&item["fields"], self.words) else {
            panic!("no object")
        };
        answer["fields"].as_object_mut().unwrap().extend(added);
        answer
    }

    /// Returns the line that is printed about an item.
    fn printed(&self, wfid: &str) -> String {
        (EXAMPLES[self.sent[wfid].0].prints)(&self.answer(wfid)["fields"])
    }

    /// Each item was answered as it should be, and nothing is half done.
    fn answers_are_right(&self, reader: &Reader) {
        each_answer(reader, |wfid, mut answer| {
            // Which attempt it comes from is told beside what the participant says.
            answer.as_object_mut().unwrap().retain(|key, _| key != "skynet");
            assert_eq!(answer, self.answer(wfid), "{wfid}");
        });
        for target in 0..TARGETS {
            let target = self.scratch.join("targets").join(target.to_string());
            let read = |name: &str| fs::read_to_string(target.join(name)).unwrap();
            assert_eq!(read("hello-2.10-3/debian/control"), "Source: hello\n");
            assert!(read("hello-2.10-3/doc/link").starts_with("int main"));
            assert_eq!(read("licences.index").lines().count(), self.words);
            assert!(read("hello-1.0.log").contains("hello.c"));
            assert_eq!(run(&mut Command::new(target.join("hello-1.0/bin/hello"))).out(), "hello\n");
        }
        let (outbox, failed) = (self.dir(OTHER).join("outbox"), self.dir(OTHER).join("failed"));
        for name in 0..self.files {
            let told = fs::read_to_string(outbox.join(name.to_string())).unwrap();
            assert_eq!(told, format!("TEXT {name}\n"));
        }
        assert_eq!(self.answered(), self.files);
        assert_eq!(fs::read_dir(failed).unwrap().count(), 0);
    }

    /// Each item's last attempt has its line in the log. Returns how many are excused.
    fn logs_are_whole(&mut self) -> usize {
        for example in &EXAMPLES {
            self.logs.look(&self.dir(example.name));
        }
        let missing: Vec<_> = EXAMPLES.iter().flat_map(|one| self.missing(one.name)).collect();
        let lost: Vec<_> = missing.iter().filter(|one| !self.excused.contains(*one)).collect();
        assert!(lost.is_empty(), "{} lines are lost: {lost:?}", lost.len());
        missing.len()
    }

    /// What there is to be said where it ends badly.
    fn story(&self, scan: &Svscan) -> String {
        let logs = EXAMPLES.iter().map(|example| example.name).chain([OTHER]).map(|name| {
            let log = host::lines(&self.dir(name).join("log/main/current"));
            format!("{name}: {:#?}\n", &log[log.len().saturating_sub(15)..])
        });
        let logs: String = logs.collect();
        format!("{:?}\n{logs}\n{}", progress_of_each(&self.store()), scan.messages())
    }
}

/// Tells whether a process of a scratch folder has this file open.
fn is_held(scratch: &Scratch, file: &Path) -> bool {
    scratch.processes().into_iter().any(|pid| {
        let Ok(all) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        all.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|open| open == file))
    })
}

/// What was seen in logs, which keep no more than so many files: each killed logger leaves one.
#[derive(Default)]
struct Logs {
    /// The last line of each attempt.
    lines: HashMap<String, String>,
    /// How far each file was read: a file is known by its inode and its first stamp.
    read: HashMap<(u64, [u8; STAMP]), u64>,
}

impl Logs {
    /// Reads what is new in the log of a service.
    fn look(&mut self, dir: &Path) {
        let Ok(files) = fs::read_dir(dir.join("log/main")) else { return };
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name == "current" || name.starts_with('@') {
                // One that is rotated away or still empty says nothing.
                let _ = self.look_at(&file.path());
            }
        }
    }

    fn look_at(&mut self, file: &Path) -> io::Result<()> {
        let mut file = File::open(file)?;
        let mut stamp = [0; STAMP];
        file.read_exact_at(&mut stamp, 0)?;
        let read = self.read.entry((file.metadata()?.ino(), stamp)).or_default();
        file.seek(SeekFrom::Start(*read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        *read += whole as u64;
        self.lines.extend(text[..whole].lines().filter_map(|line| {
            let (tag, said) = line.get(STAMP + 1..)?.split_once(": ")?;
            Some((tag.split_once(' ')?.1.to_owned(), said.to_owned()))
        }));
        Ok(())
    }
}

/// Lives for so long, and until everybody was killed, and then until all that was sent is done.
/// Returns how often who was killed.
fn live(soak: &mut Soak, period: Duration) -> BTreeMap<String, usize> {
    let begun = Instant::now();
    let mut killer = Killer::new([other()]);
    let mut scan = soak.scan();
    for turn in 0.. {
        if begun.elapsed() >= period && killer.has_spared_none() {
            break;
        }
        soak.top_up();
        // Each in turn has done something more, so none is killed too often to do anything.
        let before = soak.done(turn);
        let went_on = holds_within(PATIENCE, || {
            soak.top_up();
            soak.done(turn) > before
        });
        assert!(went_on, "turn {turn}, {:?}: {}", killer.killed, soak.story(&scan));
        let left = killer.strikes(&soak.scratch, scan);
        soak.excuse();
        scan = match left {
            Left::Svscan(scan) => scan,
            Left::Services | Left::Nothing => soak.scan(),
        };
    }
    let settled = holds_within(PATIENCE, || {
        let open: u64 = EXAMPLES.iter().map(|one| soak.progress(one.name).1).sum();
        open == 0 && soak.answered() == soak.files
    });
    assert!(settled, "{}", soak.story(&scan));
    assert_eq!(scan.end().code(), Some(0));
    until(SOON, || soak.scratch.processes().is_empty());
    killer.killed
}

#[test]
fn whoever_is_killed_at_random_the_examples_answer_each_of_their_items_once_and_rightly() {
    let is_long = env::var_os("SKYNET_LONG").is_some();
    let mut soak = Soak::new();
    let killed = live(&mut soak, Duration::from_secs(if is_long { 600 } else { 20 }));
    let sums = adds_up(&soak.sender, &soak.store(), TRIES, "at the end");
    assert_eq!(sums.done, soak.sent.len(), "{sums:?}");
    soak.answers_are_right(&Reader::open(&Place::new(soak.store())).unwrap());
    let excused = soak.logs_are_whole();
    for example in &EXAMPLES {
        println!("{}: {} items", example.name, soak.progress(example.name).0);
    }
    println!("{OTHER}: {} items", soak.files);
    println!("{sums:?}\nkilled: {killed:?}\nlines that died with their pipe: {excused}");
}
