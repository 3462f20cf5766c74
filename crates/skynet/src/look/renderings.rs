//! The renderings in packaging/doc/looking.md are what is shown of this instance.

use super::asking::{Exo, Status, Told};
use super::depth::{Depth, Part};
use super::lines::{Log, Said};
use super::processes::{Processes, Usage};
use super::state::{self, State};
use super::{Config, Seen, Sight, overview, page, words};
use crate::screen::Screen;
use crate::service::{Origin, Service};
use daemontools::observe::{Life, Snapshot, StatusFile};
use ondisk::record::{Exit, Identity, Phase, Record};
use ondisk::status::{Status as Bytes, Want};
use ondisk::tai64n::Stamp;
use serde_json::json;
use work::read::{Failure, Oldest, Queue};
use work::{JobId, Wall};

const NOW: i64 = 1_795_676_400;

fn ago(seconds: i64) -> Stamp {
    Stamp::from_unix(NOW - seconds, 0)
}

/// A service that runs with this pid, or does not, since so many seconds.
fn service(name: &str, pid: u32, seconds: i64) -> Seen {
    let want = if pid == 0 { Want::Down } else { Want::Up };
    let status = Bytes { since: ago(seconds), pid, paused: false, want };
    let half = StatusFile::from_bytes(&status.to_bytes()).map(|file| file.service());
    let phase = if pid == 0 { Phase::Down } else { Phase::Running };
    let record = Record { phase, want, ..Record::new([1; 16], Identity { pid: 90, alive_at: 1 }) };
    let life = if pid == 0 { Life::Over } else { Life::Certain };
    Seen {
        service: Service {
            name: name.into(),
            dir: format!("/etc/skynet/participants/{name}").into(),
            origin: Origin::ByHand,
            is_linked: pid != 0,
            is_participant: false,
            whose: exo::config::Whose::Callers,
            is_lenient: false,
        },
        is_enabled: pid != 0,
        now: Snapshot { kept: true, half, record: Some(record), life, is_torn: false },
        log: None,
        refused: None,
        who_may: "root",
        config: None,
        exo: Exo::Absent,
        queue: None,
        usage: Usage {
            processes: 1,
            memory: u64::from(pid) * 900,
            cpu: u64::from(pid) * 10_000_000,
        },
        state: State::Unknown,
        trouble: None,
    }
}

fn participant(name: &str, pid: u32, waiting: u64, status: serde_json::Value) -> Seen {
    let status: Status = serde_json::from_value(status).unwrap();
    let socket = Some("/run/skynet/x.sock".into());
    let oldest = Oldest {
        job: JobId(1041),
        wfid: "20261126-bogitapo".into(),
        submitted: Wall((NOW - 252) * 1_000_000),
    };
    Seen {
        config: Some(Ok(Config { queue: name.into(), instances: 2, socket })),
        exo: Exo::Told(Box::new(Told { value: json!({}), status })),
        queue: Some(Queue { waiting, later: 2, oldest: (waiting > 0).then_some(oldest) }),
        usage: Usage { processes: 5, memory: 71 << 20, cpu: 83_000_000_000 },
        ..service(name, pid, 86_400 * 12)
    }
}

fn died(mut seen: Seen, restarts: u64, last_exit: Exit, seconds: i64) -> Seen {
    let record = seen.now.record.unwrap();
    let died = Some(ago(seconds));
    seen.now.record = Some(Record { restarts, last_exit, died, ..record });
    seen
}

fn sizer() -> Seen {
    let instances = json!([
        {"name": "sizer_0", "state": "working", "pid": 2291, "wfid": "20261126-bakuzori",
         "seconds": 14.2, "job": 1040, "attempt": 2,
         "progress": {"done": 0.25, "text": "3 of 12 files"}},
        {"name": "sizer_1", "state": "idle", "pid": 2292},
    ]);
    let status = json!({"state": "running", "done": 8120, "failed": 3, "instances": instances});
    died(participant("sizer", 2288, 17, status), 1, Exit::Signal(9), 86_400 * 12 + 2)
}

fn sight() -> Sight {
    let fetch =
        json!({"state": "draining", "instances": [{"name": "fetch_0", "state": "working"}]});
    let silent = Seen { exo: Exo::Silent, ..participant("mailer", 2301, 0, json!({})) };
    let mut broken = died(service("postprocess", 0, 1), 4711, Exit::Code(3), 1);
    broken.is_enabled = true;
    broken.service.is_linked = true;
    broken.now.record.as_mut().unwrap().phase = Phase::Due;
    let off = Seen { is_enabled: false, ..service("old-import", 0, 86_400 * 40) };
    let mut services = vec![
        participant("fetch", 2250, 0, fetch),
        silent,
        off,
        broken,
        service("redis", 2310, 86_400 * 12),
        sizer(),
        died(service("web", 2330, 7500), 3, Exit::Code(1), 7501),
    ];
    for seen in &mut services {
        seen.state = state::of(seen, ago(0));
        seen.trouble = state::trouble(seen, seen.state, true, ago(0));
    }
    let processes = Processes::default();
    Sight { services, processes, store: Ok(None), svscan: Some(812), now: ago(0) }
}

fn part(role: &str, pid: u32, memory: u64, cpu: u64, what: &str) -> Part {
    let usage = Usage { processes: 1, memory, cpu };
    let age = Some(1_036_800_000_000_000);
    Part { role: role.into(), pid: Some(pid), age, usage, what: what.into() }
}

fn depth(seen: &Seen) -> Depth<'_> {
    let Exo::Told(told) = &seen.exo else { panic!("it tells") };
    let [first, second] = &*told.status.instances else { panic!("there are two") };
    let said = |seconds, text: &str| Said { time: Some(ago(seconds)), text: text.into() };
    let folder = "/var/log/skynet/sizer".into();
    let failure = Failure {
        job: JobId(1033),
        wfid: "20261126-dotenaru".into(),
        attempt: 3,
        instance: "sizer_1".into(),
        ended: Wall((NOW - 4000) * 1_000_000),
        fault: None,
        code: Some(12),
        signal: None,
        text: Some("/data/in/a.tif: no such file".into()),
    };
    Depth {
        seen,
        now: ago(0),
        parts: vec![
            part("supervise", 2287, 64 << 10, 0, "supervise"),
            part("keeper", 2288, 3 << 20, 90_000_000, "exo-keeper"),
            part("worker", 2289, 6 << 20, 4_100_000_000, "exo-worker"),
            part("sizer_0", 2291, 31 << 20, 40_000_000_000, &super::depth::activity(first)),
            part("sizer_1", 2292, 31 << 20, 38_000_000_000, &super::depth::activity(second)),
            part("logger", 2290, 72 << 10, 200_000_000, "multilog"),
        ],
        dead: Some(1),
        failures: vec![failure],
        log: Some(Log { folder, is_shared: false }),
        said: vec![
            said(20, "sizer_0 20261126-bakuzori/2: 2 of 12"),
            said(14, "sizer_0 20261126-bakuzori/2: 3 of 12"),
        ],
        last_words: Vec::new(),
        warnings: Vec::new(),
    }
}

fn screen(width: usize) -> Screen {
    Screen { width: Some(width), has_colour: false }
}

/// Returns text whose moments are those of the page, wherever this runs.
fn in_utc(text: &str) -> String {
    let utc = |at| daemontools::stamps::text(sys::linux::local::utc(at).unwrap());
    let moments = [86_400 * 12, 86_400 * 12 + 2, 4000, 20, 14].map(|seconds| NOW - seconds);
    moments.iter().fold(text.into(), |text, at| text.replace(&words::moment(*at), &utc(*at)))
}

/// Returns the blocks of the page that are shown on a terminal.
fn blocks() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/doc/looking.md");
    let page = std::fs::read_to_string(path).unwrap();
    page.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap().into()).collect()
}

#[test]
fn the_page_shows_what_the_command_shows() {
    let sight = sight();
    let seen = sizer();
    let mut seen = Seen { log: Some(service("log", 2290, 86_400 * 12).now), ..seen };
    seen.state = state::of(&seen, ago(0));
    let shown = [
        overview::text(&sight, &screen(80), ""),
        overview::text(&sight, &screen(140), ""),
        page::text(&depth(&seen), &screen(80)),
    ]
    .map(|shown| in_utc(&shown));
    for (i, (shown, written)) in shown.iter().zip(blocks()).enumerate() {
        assert_eq!(*shown, written, "block {i} should be:\n{shown}");
    }
    assert_eq!(blocks().len(), shown.len());
}

#[test]
fn no_line_is_wider_than_the_screen() {
    let sight = sight();
    for width in [80, 81, 100, 200] {
        let text = overview::text(&sight, &screen(width), "");
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_queue_that_two_share_counts_once_and_one_that_is_not_counted_to_its_end_says_so() {
    let status = || json!({"instances": [{"name": "a_0", "state": "idle"}]});
    let shared = |name| Seen {
        config: Some(Ok(Config { queue: "a".into(), instances: 1, socket: None })),
        ..participant(name, 2250, 3, status())
    };
    let mut sight = sight();
    let totals = |sight: &Sight| overview::totals(sight, &screen(200), "");
    sight.services = vec![shared("a"), shared("b"), participant("c", 2251, 4, status())];
    assert!(totals(&sight).contains("busy 0/3, 7 waiting;"), "{}", totals(&sight));
    sight.services.push(participant("d", 2252, super::COUNTED, status()));
    assert!(totals(&sight).contains("busy 0/4, 10007+ waiting;"), "{}", totals(&sight));
}
