//! A life of exo with everything in it: items that are done, that fail once, that fail for good and
//! that kill their participant. Whose system calls are traced or injected with faults: one of the
//! keeper, the worker's loop, and the thread that has the store.

use super::{Sender, adds_up, all_taken, consumer, each_was_taken, progress};
use crate::host::{Exo, SOON, Site, children, lines, name_of};
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;
use testkit::calls::{self, Call};
use testkit::until;
use testkit::wait::holds_within;

/// The items of a life: their names say what becomes of them.
const ITEMS: [&str; 4] = ["plain", "again", "never", "crash"];
/// How often each may be tried.
pub(crate) const TRIES: usize = 3;

/// Does an item as its name says. `$wfid` and `$attempt` are set; `$said` is where the exit code
/// goes, or what a persistent one does instead.
const DEEDS: &str = "echo \"$wfid $attempt\" >>DID\n\
    case $wfid/$attempt in\n\
    again*/1) fail 1 ;;\n\
    never*) fail 12 ;;\n\
    crash*/1) kill -9 $$ ;;\n\
    *) done_ ;;\n\
    esac\n";

/// Makes a site for a life, or many.
#[track_caller]
pub(crate) fn site(persistent: bool, more: &str) -> Site {
    let more = format!("tries: {TRIES}\n{more}");
    let site = if persistent { Site::persistent("", &more) } else { Site::per_item("", &more) };
    let did = site.open_folder("did").join("list").display().to_string();
    site.script("work", &work(persistent, &did));
    site
}

/// Returns the participant's script; each attempt that it begins is a line of the file `did`.
pub(crate) fn work(persistent: bool, did: &str) -> String {
    let deeds = DEEDS.replace("DID", did);
    if !persistent {
        return format!(
            "#!/bin/sh\nfail() {{ exit $1; }}\ndone_() {{ exit 0; }}\n\
             wfid=$SKYNET_WFID attempt=$SKYNET_ATTEMPT\n{deeds}"
        );
    }
    let words = crate::host::WORDS;
    format!(
        "{words}\
         fail() {{ say \"{{\\\"type\\\":\\\"fault\\\",\\\"id\\\":$id,\\\"code\\\":$1}}\"; }}\n\
         done_() {{ say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}}\"; }}\n\
         while hear; do\n[ $type != shutdown ] || exit 0\n[ $type = work ] || continue\n\
         wfid=${{line#*\\\"wfid\\\":\\\"}}\nwfid=${{wfid%%\\\"*}}\n\
         attempt=${{line#*\\\"attempt\\\":}}\nattempt=${{attempt%%[,\\}}]*}}\n{deeds}done\n"
    )
}

/// Modes of what exo makes.
const MODES: [(&str, u32); 5] = [
    ("store", 0o750),
    ("store/work.db", 0o640),
    ("spool", 0o755),
    ("spool/p", 0o3733),
    ("run", 0o755),
];

/// Whose calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The keeper.
    Keeper,
    /// The worker's loop.
    Loop,
    /// The thread that has the store.
    Store,
    /// The same, where another user drops the items, and another exo takes the answers.
    Folder,
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// From its first call; the loop's from the opening of the store on.
    Birth,
    /// From when it waits for items.
    Idle,
}

/// Returns from when on a part's calls are looked at.
pub(crate) fn from(part: Part) -> From {
    // The thread does nothing before its store is open.
    match part {
        Part::Keeper | Part::Loop => From::Birth,
        Part::Store | Part::Folder => From::Idle,
    }
}

/// Returns the system calls of a life that nobody disturbs, as far as another makes them, too: they
/// differ by a wait more or less, by commits that are joined or not.
#[track_caller]
pub(crate) fn points(persistent: bool, part: Part) -> Vec<Call> {
    let also: HashSet<_> = calls_of_one(persistent, part).into_iter().collect();
    let mut points = calls_of_one(persistent, part);
    // strace makes that one, before there is anything to disturb.
    points.retain(|point| point.0 != "execve" && also.contains(point));
    points
}

#[track_caller]
fn calls_of_one(persistent: bool, part: Part) -> Vec<Call> {
    let site = site(persistent, "");
    let trace = site.join("trace");
    let mut life = Life::begin(site, part, from(part), &trace, &[]);
    let ended = life.live("undisturbed");
    assert!(ended.success(), "{ended:?}: {}", life.site.log());
    life.examine("undisturbed");
    calls::of(&fs::read_to_string(trace).unwrap())
}

/// Returns all points where `SKYNET_LONG` asks for them, else `wanted` of them.
fn spread(points: Vec<Call>, wanted: usize) -> Vec<Call> {
    if std::env::var_os("SKYNET_LONG").is_some() || points.len() <= wanted {
        return points;
    }
    (0..wanted).map(|i| points[i * points.len() / wanted].clone()).collect()
}

/// Lives in which a point is tried: one may not come as far.
const LIVES: usize = 4;

/// Disturbs a life at each of these points. `disturb` tells whether that came about, which it must in
/// nine tenths of the cases; where it did not, the point is tried in further lives.
#[track_caller]
pub(crate) fn sweep(
    points: Vec<Call>,
    wanted: usize,
    what: &str,
    disturb: impl Fn(&Call) -> bool + Sync,
) {
    let count = points.len();
    assert!(count > 60, "{count} system calls are no life");
    let mut missed = spread(points, wanted);
    let tried = missed.len();
    for _ in 0..LIVES {
        let again = Mutex::new(Vec::new());
        calls::each_at_once(&missed, |point| {
            if !disturb(point) {
                again.lock().unwrap().push(point.clone());
            }
        });
        missed = again.into_inner().unwrap();
    }
    let disturbed = tried - missed.len();
    println!("{what} at {disturbed} of {tried} points, of {count}");
    assert!(
        disturbed * 10 >= tried * 9,
        "{what} only at {disturbed} of {tried} points, never at {missed:?}"
    );
}

/// One life.
pub(crate) struct Life {
    pub(crate) site: Site,
    sender: Sender,
    /// Who takes the answers.
    consumer: Option<Exo>,
    exo: Exo,
}

impl Life {
    /// Begins a life whose calls go to `trace`, and which is treated as `rules` say.
    #[track_caller]
    pub(crate) fn begin(site: Site, part: Part, from: From, trace: &Path, rules: &[&str]) -> Self {
        let mut sender = Sender::new(&site);
        let consumer = (part == Part::Folder).then(|| {
            let folder = consumer(&site);
            site.spawn(site.command(&[]).current_dir(folder))
        });
        let exo = match (part, from) {
            (Part::Keeper, From::Birth) => {
                sender.submit(&ITEMS);
                let mut command = Command::new("strace");
                command.args(["-D", "-q", "-o"]).arg(trace);
                command.args(rules.iter().map(|rule| format!("--inject={rule}")));
                command.arg(testkit::program("exo"));
                site.prepare(&mut command);
                site.spawn(&mut command)
            }
            (Part::Loop, From::Birth) => {
                sender.submit(&ITEMS);
                let gate = File::open(site.join("store/work.turn")).unwrap();
                gate.lock().unwrap();
                let exo = site.spawn(&mut site.command(&[]));
                until(SOON, || worker(&exo).is_some_and(|pid| is_in(pid, FLOCK)));
                calls::trace(worker(&exo).unwrap(), trace, rules);
                drop(gate);
                exo
            }
            _ => {
                let exo = site.exo();
                until(SOON, || is_in(thread(exo.worker()), RECVFROM));
                let pid = match part {
                    Part::Keeper => exo.pid(),
                    Part::Loop => exo.worker(),
                    Part::Store | Part::Folder => thread(exo.worker()),
                };
                calls::trace(pid, trace, rules);
                if part == Part::Folder {
                    sender.drop(&site, &ITEMS);
                } else {
                    sender.submit(&ITEMS);
                }
                exo
            }
        };
        Self { site, sender, consumer, exo }
    }

    fn are_done(&self) -> bool {
        let (store, count) = (self.site.join("store"), ITEMS.len() as u64);
        progress(&store) == (count, 0) && (self.consumer.is_none() || all_taken(&store, count))
    }

    /// Lives on until all items are settled, then is told to end. Returns how exo ended.
    #[track_caller]
    pub(crate) fn live(&mut self, context: &str) -> ExitStatus {
        let over =
            holds_within(Duration::from_secs(60), || !self.exo.is_running() || self.are_done());
        assert!(over, "{context}: {}", self.story());
        if self.exo.is_running() {
            let _ = linux::signal::kill(self.exo.pid(), 15);
        }
        self.exo.ended()
    }

    /// Once exo has ended: whoever it left is gone, and another, started as supervise would, brings
    /// everything to its end.
    #[track_caller]
    pub(crate) fn go_on(&mut self, context: &str) {
        let dir = self.site.join("p");
        let left = || processes(&self.site, &dir);
        let gone = holds_within(Duration::from_secs(15), || left().is_empty());
        assert!(gone, "{context}: {:?} are left", left());
        let mut lives = 0;
        let mut exo = self.site.spawn(&mut self.site.command(&[]));
        let settled = holds_within(Duration::from_secs(60), || {
            if !exo.is_running() {
                lives += 1;
                exo = self.site.spawn(&mut self.site.command(&[]));
            }
            self.are_done() && self.site.status().is_some()
        });
        assert!(settled && lives < 5, "{context}, {lives} lives: {}", self.story());
        assert!(exo.end().success(), "{context}: {}", self.site.log());
    }

    /// What there is to be said where it ends badly.
    fn story(&self) -> String {
        let (status, log) = (self.site.status(), self.site.log());
        let jobs = self.site.reader().jobs(None, None, 99).unwrap();
        format!("{log}\n{status:?}\n{jobs:#?}\n{:?}", lines(&self.site.join("did/list")))
    }

    /// Everything is as it should be at the end.
    #[track_caller]
    pub(crate) fn examine(&mut self, context: &str) {
        let store = self.site.join("store");
        self.sender.find_dropped(&store, context);
        adds_up(&self.sender, &store, TRIES, context);
        if self.consumer.is_some() {
            each_was_taken(&store, context);
        }
        let did = lines(&self.site.join("did/list"));
        for wfid in ITEMS {
            let runs = did.iter().filter(|line| line.starts_with(wfid)).count();
            assert!((1..=TRIES).contains(&runs), "{context}: {wfid} was run {runs} times");
        }
        let left = processes(&self.site, &self.site.join("p"));
        assert!(left.is_empty(), "{context}: {left:?} are left");
        // What was made on the way is for those for whom it is.
        for (name, mode) in MODES {
            let found = fs::metadata(self.site.join(name)).unwrap().mode() & 0o7777;
            assert_eq!(found, mode, "{context}: {name} has the mode {found:o}");
        }
    }
}

const FLOCK: u32 = 73;
const RECVFROM: u32 = 45;

/// Tells whether a thread waits in a system call.
fn is_in(thread: i32, call: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    text.split(' ').next().is_some_and(|number| number == call.to_string())
}

fn worker(exo: &Exo) -> Option<i32> {
    children(exo.pid()).into_iter().find(|pid| name_of(*pid) == "exo-worker")
}

/// Returns the thread that has the store; 0 = none.
fn thread(worker: i32) -> i32 {
    let Ok(all) = fs::read_dir(format!("/proc/{worker}/task")) else { return 0 };
    let mut ids = all.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    ids.find(|id| name_of(*id) == "store").unwrap_or(0)
}

/// Returns the processes whose current directory is this one.
pub(crate) fn processes(site: &Site, dir: &PathBuf) -> Vec<i32> {
    let here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == *dir);
    // Whoever looks on ends a moment after what it saw end.
    let is_strace = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "strace")
    };
    let all = site.scratch().processes().into_iter();
    all.filter(|pid| here(pid) && !is_strace(pid)).collect()
}
