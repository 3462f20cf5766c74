//! kill -9 at each system call, and each system call failing.

use crate::random::{check, raw};
use crate::support::{Moved, ann, fault, job, open, opened, place};
use machine::work::{Backoff, Fault, Reach};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;
use testkit::Scratch;
use testkit::wait::holds_within;
use work::{
    Applied, Ask, Asked, Broker, Change, Clock, Embedded, Ended, Entry, Error, Event, JobId, Lease,
    NewJob, NewRequest, Place, Policy, Reader, Safety, Steer, Store, Subject, Taken, TakerId, Wall,
};

/// Runs a test of this program as a process of its own.
pub(crate) fn as_process(scratch: &Scratch, test: &str, inject: &[String]) -> ExitStatus {
    under(scratch, test, "/dev/null", inject)
}

/// Points that are tried when `SKYNET_LONG` does not ask for all.
const SPREAD: usize = 40;

fn policy() -> Policy {
    Policy {
        backoff: Backoff { first: Duration::ZERO, longest: Duration::ZERO },
        ..Policy::default()
    }
}

/// A life with every kind of change in it. What was answered is written down at once.
struct Life {
    store: Store,
    told: fs::File,
}

impl Life {
    fn apply(&mut self, change: &Change) -> Applied {
        // A call that fails is injected once or twice: what could not be done is done again.
        for _ in 0..5 {
            match self.store.apply(change) {
                Ok(applied) => return applied,
                Err(Error::Trouble(trouble)) => self.tell(&format!("trouble {trouble}")),
                Err(Error::Refused(refused)) => panic!("{change:?}: {refused}"),
            }
        }
        panic!("{change:?} cannot be done");
    }

    fn tell(&mut self, line: &str) {
        self.told.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn submit(&mut self, name: &str) -> JobId {
        let new = NewJob {
            key: Some(name.to_owned()),
            reply_to: Some("replies".to_owned()),
            ..job(name)
        };
        let (Applied::Submitted { job, .. } | Applied::Known(job)) =
            self.apply(&Change::Submit(Box::new(new)))
        else {
            panic!("not submitted")
        };
        self.tell(&format!("submitted {}", job.0));
        job
    }

    fn take(&mut self, taker: TakerId, ask: Ask) -> Taken {
        let take = Change::Take { taker, ask, instance: String::new() };
        let Applied::Taken(taken) = self.apply(&take) else { panic!("nothing") };
        *taken
    }

    fn end(&mut self, lease: Lease, code: u16) {
        let ended = Ended { output: Some(b"{}".to_vec()), ..fault(code) };
        self.apply(&Change::End(lease, Box::new(ended)));
        self.tell(&format!("ended {} {code}", lease.job.0));
    }

    /// Requests, what they wait for, labels and locks; of all that nothing is left in the end.
    fn live_in_groups(&mut self, taker: TakerId) {
        let label = |active| Change::SetLabel { name: "l".to_owned(), priority: 5, active };
        self.apply(&label(false));
        let Applied::Needed { dependency, .. } = self.apply(&need()) else { panic!("not needed") };
        let (name, label_of) = ("r".to_owned(), "l".to_owned());
        let new = NewRequest { name, label: label_of, ..NewRequest::default() };
        let Applied::Requested(request) = self.apply(&Change::Request(Box::new(new))) else {
            panic!("not requested")
        };
        self.apply(&Change::Unparsed { request, fault: Fault(3) });
        self.tell("unparsed");
        let waits = NewJob { dependency: Some(dependency), ..job("waits") };
        self.apply(&Change::Expand { request, jobs: vec![waits, job("free")] });
        self.tell("expanded");
        let child = NewJob { parent: Some(JobId(1)), entry: Entry::New, ..job("child") };
        let Applied::Submitted { job: child, .. } = self.apply(&Change::Submit(Box::new(child)))
        else {
            panic!("not submitted")
        };
        self.apply(&Change::Steer(Subject::Job(child), Steer::Accept));
        let (name, holder) = ("k".to_owned(), "life".to_owned());
        let life = Some(taker);
        self.apply(&Change::Lock { name: name.clone(), holder: holder.clone(), life });
        self.apply(&Change::Resolve(dependency, Fault(3)));
        self.apply(&Change::Resolve(dependency, Fault::NONE));
        self.tell("resolved");
        self.apply(&label(true));
        for name in ["free", "child", "waits"] {
            let taken = self.take(taker, Ask::Now);
            assert_eq!(taken.identity, name);
            self.apply(&Change::End(taken.lease, Box::default()));
        }
        self.tell("done");
        self.apply(&Change::Unlock { name, holder });
        let (job, known, instance) = (Box::new(job("arrives")), None, String::new());
        let arrive = Change::Arrive { job, known, taker, ask: Ask::Now, instance };
        let Applied::Taken(taken) = self.apply(&arrive) else { panic!("it does not arrive") };
        self.apply(&Change::End(taken.lease, Box::default()));
        self.apply(&Change::Settled(vec![taken.lease.job]));
        self.tell("cleaning");
        let (before, after) = (Wall(i64::MAX), JobId(0));
        self.apply(&Change::Clean { before, most: u64::MAX, after, at_most: 99 });
        self.tell("cleaned");
    }

    fn live(&mut self) {
        let opening = Change::OpenTaker { queue: "q".to_owned(), policy: policy() };
        let Applied::Opened(taker) = self.apply(&opening) else { panic!("not opened") };
        self.live_in_groups(taker);
        for name in ["a", "b", "c", "d", "e"] {
            self.submit(name);
        }
        // Called as its answer will be, and not it.
        let lookalike = NewJob { queue: "replies".to_owned(), ..job("a#1") };
        self.apply(&Change::Submit(Box::new(lookalike)));
        let a = self.take(taker, Ask::Now);
        let b = self.take(taker, Ask::Ahead);
        let cancelled = self.submit("f");
        self.end(a.lease, 0);
        self.apply(&Change::Begin { lease: b.lease, instance: String::new(), at: Wall(7) });
        self.apply(&Change::Stage { lease: b.lease, stage: Some("push".to_owned()) });
        self.end(b.lease, 10);
        self.apply(&Change::Asked(ann(), Asked::Cancel(cancelled, Fault::CANCELLED)));
        self.tell(&format!("cancelled {}", cancelled.0));
        let (job, reach) = (b.lease.job, Reach::Failed);
        self.apply(&Change::Asked(ann(), Asked::Requeue { job, reach, priority: Some(3) }));
        self.tell(&format!("requeued {}", b.lease.job.0));
        for _ in 0..3 {
            let tried = self.take(taker, Ask::Now);
            self.end(tried.lease, 3);
        }
        let c = self.take(taker, Ask::Now);
        self.apply(&Change::Interrupt(c.lease, Box::default()));
        self.take(taker, Ask::Now);
        self.take(taker, Ask::Ahead);
        self.tell("lived");
    }
}

/// Run by the tests below, as a process to be killed.
#[test]
#[ignore = "run by other tests, as a process to be killed"]
fn a_life() {
    let folder = std::env::var_os("WORK_STORE").expect("named");
    let told = Path::new(&std::env::var_os("WORK_TOLD").expect("named")).to_owned();
    let told = fs::File::options().create(true).append(true).open(told).expect("open");
    let clock: Arc<dyn Clock> = Moved::new();
    let place = Place::new(folder);
    let open = || Store::open(&place, Arc::clone(&clock), Safety::Power);
    // Opening may meet the call that fails as well.
    let store = open().or_else(|_| open()).or_else(|_| open()).expect("the store");
    Life { store, told }.live();
}

fn command(scratch: &Scratch, test: &str, wrapper: &[String]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.args(["--exact", test, "--ignored", "--test-threads=1"]);
    command.env("WORK_STORE", place(scratch).folder()).env("WORK_TOLD", scratch.join("told"));
    let log = fs::File::create(scratch.join("output")).unwrap();
    command.current_dir(scratch.path()).stdin(std::process::Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

/// Lives under strace, which looks at calls on the store's files only.
fn under(scratch: &Scratch, test: &str, trace: &str, inject: &[String]) -> ExitStatus {
    let at = place(scratch);
    let mut wrapper = ["strace", "-f", "-qq", "-o", trace].map(str::to_owned).to_vec();
    for name in ["work.db", "work.db-wal", "work.db-shm", "work.lock", "work.turn", "takers"] {
        wrapper.extend(["-P".to_owned(), at.folder().join(name).display().to_string()]);
    }
    wrapper.extend(["-P".to_owned(), at.folder().display().to_string()]);
    wrapper.extend(inject.iter().map(|rule| format!("--inject={rule}")));
    command(scratch, test, &wrapper).status().unwrap()
}

fn told(scratch: &Scratch) -> Vec<String> {
    let told = fs::read_to_string(scratch.join("told")).unwrap_or_default();
    // Of a line that was being written when it was killed nobody has heard.
    let whole = told.rfind('\n').map_or("", |end| &told[..end]);
    whole.lines().map(str::to_owned).collect()
}

fn need() -> Change {
    let (kind, name) = ("kind".to_owned(), "name".to_owned());
    Change::Need { kind, name, component: String::new(), checker: None }
}

/// The same of requests, what they wait for, labels and locks. All of it can go on then.
fn examine_groups(store: &mut Store, reader: &Reader, told: &[String], context: &str) {
    let has = |line: &str| told.iter().any(|told| told == line);
    let request = reader.request_called("r").unwrap();
    assert!(!has("cleaned") || request.is_none(), "{context}: {request:?}");
    assert!(!has("unparsed") || has("cleaning") || request.is_some(), "{context}");
    if let Some(request) = request {
        let [jobs, stopped, failed] = reader.sums_of_request(request.id).unwrap();
        let state = request.subject.state.name();
        // All of them, or none; and it stands as they do.
        assert_eq!(jobs, if state == "new" { 0 } else { 2 }, "{context}: {request:?}");
        assert_eq!(stopped == 2, state == "stop", "{context}: {request:?}");
        assert_eq!(request.due.is_some(), state == "new" && request.subject.count == 1);
        assert!(!has("expanded") || jobs == 2, "{context}");
        assert!(!has("done") || state == "stop", "{context}: {request:?}");
        assert_eq!(failed, 0, "{context}");
    }
    // Its life is over, whatever came of the rest.
    assert_eq!(reader.lock_holder("k").unwrap(), None, "{context}");
    let dependency = reader.dependency(["kind", "name", ""]).unwrap();
    let state = dependency.as_ref().map(|found| found.subject.state.name());
    assert!(!has("resolved") || state == Some("stop"), "{context}: {dependency:?}");
    if let Some(found) = dependency.filter(|_| state != Some("stop")) {
        store.apply(&Change::Resolve(found.id, Fault::NONE)).unwrap();
    }
    store.apply(&Change::SetLabel { name: "l".to_owned(), priority: 5, active: true }).unwrap();
    if let Some(child) = reader.named("q", "w", "child").unwrap() {
        // It may have been accepted.
        let _ = store.apply(&Change::Steer(Subject::Job(child), Steer::Accept));
    }
}

/// What was answered is so, nothing else is half so, and everything can be brought to an end.
fn examine(scratch: &Scratch, context: &str) {
    let clock = Moved::new();
    let mut store = open(scratch, &clock);
    let taker = opened(&mut store, "q", policy());
    let raw = raw(scratch);
    check(&raw, context);
    let reader = Reader::open(&place(scratch)).unwrap();
    let told = told(scratch);
    examine_groups(&mut store, &reader, &told, context);
    let ids = |verb: &str| -> Vec<JobId> {
        let lines = told.iter().filter_map(|line| line.strip_prefix(verb));
        lines.map(|rest| JobId(rest.split(' ').next().unwrap().parse().unwrap())).collect()
    };
    for id in ids("submitted ") {
        let job = reader.job(id).unwrap();
        let job = job.unwrap_or_else(|| panic!("{context}: job {} vanished", id.0));
        assert!(["ready", "stop"].contains(&job.subject.state.name()), "{context}: {job:?}");
    }
    let attempts = |id: JobId| reader.attempts(id).unwrap();
    for line in told.iter().filter(|line| line.starts_with("ended ")) {
        let mut words = line.split(' ').skip(1).map(|word| word.parse::<i64>().unwrap());
        let (id, code) = (JobId(words.next().unwrap()), words.next().unwrap() as u16);
        let known = attempts(id).iter().any(|a| a.fault == Some(Fault(code)));
        assert!(known, "{context}: the end of job {} with {code} vanished", id.0);
    }
    for id in ids("cancelled ") {
        let fault = reader.job(id).unwrap().unwrap().subject.fault;
        assert_eq!(fault, Fault::CANCELLED, "{context}");
    }
    for job in reader.jobs(Some("q"), None, 99).unwrap() {
        // Both in one commit, or neither.
        let acts = reader.acts(job.id).unwrap();
        let has = |what: &str| acts.iter().any(|act| act.what == what && act.by == ann());
        assert_eq!(has("cancel"), job.subject.fault == Fault::CANCELLED, "{context}: {acts:?}");
        assert_eq!(has("requeue"), job.priority == 3, "{context}: {acts:?}");
    }
    for id in ids("requeued ") {
        assert_eq!(reader.acts(id).unwrap().len(), 1, "{context}");
    }
    let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
    let mut done = BTreeSet::new();
    while let Applied::Taken(taken) = store.apply(&take).unwrap() {
        assert!(done.insert(taken.lease.job), "{context}: done twice");
        store.apply(&Change::End(taken.lease, Box::default())).unwrap();
    }
    check(&raw, context);
    let open = "SELECT count(*) FROM job WHERE queue = 'q' AND state <> 'stop'";
    let open: u32 = raw.query_row(open, [], |row| row.get(0)).unwrap();
    assert_eq!(open, 0, "{context}");
}

/// Returns how often each call was made on the store's files.
fn calls(scratch: &Scratch) -> Vec<(String, usize)> {
    let all = calls_of(scratch, "kills::a_life");
    assert_eq!(told(scratch).last().map(String::as_str), Some("lived"));
    all
}

/// The same of another test.
pub(crate) fn calls_of(scratch: &Scratch, test: &str) -> Vec<(String, usize)> {
    let ended = under(scratch, test, "trace", &[]);
    assert!(ended.success(), "{}", fs::read_to_string(scratch.join("output")).unwrap());
    let mut counts = std::collections::BTreeMap::new();
    for line in fs::read_to_string(scratch.join("trace")).unwrap().lines() {
        let call = line.split_whitespace().nth(1).unwrap_or("");
        if let Some((name, _)) = call.split_once('(') {
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    counts.into_iter().collect()
}

/// Returns points from 1 to `last`, all or a spread.
pub(crate) fn points(last: usize, wanted: usize) -> Vec<usize> {
    let all = std::env::var_os("SKYNET_LONG").is_some() || last <= wanted;
    let step = if all { 1 } else { last.div_ceil(wanted) };
    (1..=last).step_by(step).collect()
}

#[test]
fn wherever_it_is_killed_what_was_answered_is_so_and_no_job_vanishes() {
    // strace counts each kind of call by itself.
    let calls = calls(&Scratch::new());
    let all: Vec<_> =
        calls.iter().flat_map(|(call, count)| (1..=*count).map(move |n| (call, n))).collect();
    assert!(all.len() > 200, "only {} calls", all.len());
    let points = points(all.len(), SPREAD);
    let mut killed = 0;
    for point in &points {
        let (call, n) = all[point - 1];
        let scratch = Scratch::new();
        let ended = under(
            &scratch,
            "kills::a_life",
            "/dev/null",
            &[format!("{call}:signal=KILL:when={n}")],
        );
        killed += usize::from(ended.signal() == Some(9) || ended.code() == Some(137));
        examine(&scratch, &format!("killed at {call} number {n}"));
    }
    assert!(killed * 10 >= points.len() * 9, "only {killed} of {} were killed", points.len());
}

#[test]
fn whichever_call_fails_what_was_answered_is_so_and_the_rest_is_done_again() {
    let mut failed = 0;
    for (call, count) in calls(&Scratch::new()) {
        let error = match &*call {
            "pwrite64" | "write" | "ftruncate" | "fallocate" => "ENOSPC",
            "fdatasync" | "fsync" | "pread64" | "read" => "EIO",
            "mmap" => "ENOMEM",
            "openat" => "EMFILE",
            "flock" | "fcntl" => "ENOLCK",
            _ => continue,
        };
        // The database waits for a lock that it cannot have.
        let wanted = if error == "ENOLCK" { 2 } else { 8 };
        for point in points(count, wanted) {
            let scratch = Scratch::new();
            let rule = format!("{call}:error={error}:when={point}");
            let ended = under(&scratch, "kills::a_life", "/dev/null", std::slice::from_ref(&rule));
            let output = fs::read_to_string(scratch.join("output")).unwrap();
            assert!(ended.success(), "{rule}: {output}");
            failed += told(&scratch).iter().filter(|line| line.starts_with("trouble")).count();
            examine(&scratch, &rule);
        }
    }
    assert!(failed > 5, "only {failed} were noticed");
}

#[test]
fn what_is_answered_was_synced_to_the_disk_before() {
    let scratch = Scratch::new();
    let at = place(&scratch);
    let (log, told) = (at.folder().join("work.db-wal"), scratch.join("told"));
    let mut wrapper = ["strace", "-f", "-qq", "-y", "-o", "trace"].map(str::to_owned).to_vec();
    for path in [&log, &told] {
        wrapper.extend(["-P".to_owned(), path.display().to_string()]);
    }
    wrapper.push("--trace=pwrite64,write,fdatasync,fsync".to_owned());
    assert!(command(&scratch, "kills::a_life", &wrapper).status().unwrap().success());
    let (mut unsynced, mut synced, mut answers) = (false, 0, 0);
    for line in fs::read_to_string(scratch.join("trace")).unwrap().lines() {
        if line.contains("/told>") {
            assert!(!unsynced, "answered before it was synced: {line}");
            answers += 1;
        } else if line.contains("sync(") {
            assert!(line.contains("fdatasync("), "as .cargo/config.toml says: {line}");
            unsynced = false;
            synced += 1;
        } else if line.contains("write") {
            unsynced = true;
        }
    }
    assert!(answers > 10 && synced > answers, "{answers} answers, {synced} syncs");
}

/// Run by the test below, as a process to be killed.
#[test]
#[ignore = "run by another test, as a process to be killed"]
fn a_submit() {
    let folder = std::env::var_os("WORK_STORE").expect("named");
    let clock: Arc<dyn Clock> = Moved::new();
    let mut store = Store::open(&Place::new(folder), clock, Safety::Power).expect("the store");
    store.apply(&Change::Submit(Box::new(job("late")))).expect("submitted");
}

#[test]
fn wherever_a_submit_is_killed_who_sleeps_is_woken_for_what_was_recorded() {
    let (mut recorded, mut not) = (0, 0);
    // A submit makes about thirty calls of these; the last of them let go of the gate.
    for (call, last) in [("pwrite64", 16), ("fdatasync", 4), ("flock", 12), ("fcntl", 40)] {
        for n in points(last, 10) {
            let scratch = Scratch::new();
            let clock = Moved::new();
            let settings = crate::embedded::settings(&scratch, &clock);
            let mut broker = Embedded::open(&settings).unwrap();
            broker.ask(Ask::Now, "q_0");
            let inject = [format!("{call}:signal=KILL:when={n}")];
            under(&scratch, "kills::a_submit", "/dev/null", &inject);
            let reader = Reader::open(&place(&scratch)).unwrap();
            let jobs = reader.jobs(None, None, 9).unwrap();
            if jobs.is_empty() {
                not += 1;
                continue;
            }
            recorded += 1;
            let delivery = crate::conformance::arrived(&mut broker);
            assert_eq!(delivery.key().job, jobs[0].id);
        }
    }
    assert!(recorded > 5 && not > 5, "{recorded} recorded, {not} not");
}

/// Run by the test below: one of several processes that take and finish until nothing is left.
#[test]
#[ignore = "run by another test, as one of several processes"]
fn a_worker() {
    let folder = std::env::var_os("WORK_STORE").expect("named");
    let told = std::env::var_os("WORK_TOLD").expect("named");
    let mut told = fs::File::options().create(true).append(true).open(told).expect("open");
    let settings = work::embedded::Settings {
        place: Place::new(folder),
        clock: Moved::new(),
        safety: Safety::Kill,
        queue: "q".to_owned(),
        policy: policy(),
        drop_folder: None,
        keep: work::embedded::Keep::default(),
        error_class: work::item::ERROR_CLASS.to_owned(),
    };
    let mut broker = Embedded::open(&settings).expect("the queue");
    broker.ask(Ask::Now, "q_0");
    // Ends with whoever started it.
    let _ = holds_within(Duration::from_secs(120), || {
        match broker.next() {
            Some(Event::Arrived(delivery)) => {
                let line = format!("{} {}\n", delivery.key().job.0, delivery.key().number);
                told.write_all(line.as_bytes()).expect("told");
                broker.finish(delivery, Ended { output: Some(b"{}".to_vec()), ..Ended::default() });
                broker.ask(Ask::Now, "q_0");
            }
            Some(Event::Trouble { what, .. }) => panic!("{what}"),
            _ => {}
        }
        false
    });
}

#[test]
fn of_several_processes_killed_at_random_no_job_is_lost_doubled_or_in_two_hands() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let (jobs, kills) = if long { (10_000, 500) } else { (400, 12) };
    let scratch = Scratch::new();
    let clock = Moved::new();
    let mut store = open(&scratch, &clock);
    let new = |n: usize| NewJob { reply_to: Some("replies".into()), ..job(&n.to_string()) };
    let all: Vec<_> = (0..jobs).map(|n| Change::Submit(Box::new(new(n)))).collect();
    for some in all.chunks(500) {
        store.apply_all(some).unwrap();
    }
    let start = || command(&scratch, "kills::a_worker", &[]).spawn().unwrap();
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    let raw = raw(&scratch);
    let answered = || -> usize {
        let sql = "SELECT count(*) FROM job WHERE queue = 'replies'";
        raw.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as usize
    };
    for n in 0..kills {
        let wanted = (jobs - 1).min(n * jobs / kills);
        assert!(holds_within(Duration::from_secs(60), || answered() >= wanted), "at {n}");
        let worker = &mut workers[n % 3];
        worker.kill().unwrap();
        worker.wait().unwrap();
        *worker = start();
        check(&raw, &format!("after kill {n}"));
    }
    // An item may be met by death three times.
    let left = "SELECT count(*) FROM job WHERE queue = 'q' AND state <> 'stop'";
    let finished = || raw.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap() == 0;
    let all_done = holds_within(Duration::from_secs(120), finished);
    for worker in &mut workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    assert!(all_done, "{} of {jobs} answered", answered());
    let dead = Reader::open(&place(&scratch)).unwrap().dead(99).unwrap().len();
    assert_eq!(answered(), jobs, "{dead} dead");
    check(&raw, "at the end");
    let open = "SELECT count(*) FROM attempt WHERE how IS NULL";
    assert_eq!(raw.query_row(open, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}
