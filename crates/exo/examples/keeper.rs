//! A keeper whose worker does what descriptor 0 says and writes to 1 what it is told.
//!
//! usage: keeper KEY=VALUE ... -- PROGRAM [ARGUMENT ...]
//!
//! The keys are those of `set` below; `base` is the folder in which `store`, `spool` and `run` will
//! be. A line of descriptor 0 is one of
//!
//! - `start INSTANCE SERIAL [WFID [ATTEMPT [STAGE]]]`: with `store/out.INSTANCE` as 1, 2 and 3
//! - `behind INSTANCE ...`: the same, behind the start before
//! - `recall INSTANCE SERIAL`
//! - `signal INSTANCE SERIAL term|kill`
//! - `ready`
//! - `raw HEX DESCRIPTORS`: these bytes, with so many descriptors
//! - `flood COUNT`: a start of so many instances, whose reports are not read while more can be sent
//! - `close`, `exit CODE`: ends the conversation, the worker

#![allow(clippy::expect_used, clippy::panic)]

use exo::keeper::{self, WorkerEnds};
use exo::order::{self, DESCRIPTORS, Order, Report, Signal, Start};
use exo::settings::{Life, Limits, Mode, Settings, Times};
use machine::work::Backoff;
use serde_json::value::RawValue;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{Fd, PollFd, poll, read};
use sys::linux::{process, socket};
use work::Safety;

const EAGAIN: i32 = 11;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut settings = defaults();
    for arg in args.by_ref().take_while(|arg| arg != "--") {
        let (key, value) = arg.split_once('=').expect("KEY=VALUE");
        set(&mut settings, key, value);
    }
    settings.command = args.map(|arg| CString::new(arg).expect("no NUL")).collect();
    std::process::exit(keeper::run(settings, worker))
}

fn defaults() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        participant: "echo".to_owned(),
        queue: "echo".to_owned(),
        mode: Mode::PerItem,
        command: Vec::new(),
        exoskeleton: None,
        build: Vec::new(),
        directory: PathBuf::from("/"),
        user: None,
        worker_user: None,
        instances: 1,
        times: Times {
            start: second,
            item: None,
            cancel: second,
            shutdown: second,
            restart: second,
            restart_longest: second,
        },
        tries: 3,
        backoff: Backoff::default(),
        item_limit: 1 << 20,
        line_limit: 1 << 10,
        environment: Vec::new(),
        path: "/usr/bin:/bin".to_owned(),
        limits: Limits::default(),
        umask: 0o077,
        config: RawValue::from_string("{}".to_owned()).expect("JSON"),
        error_class: String::new(),
        broker: exo::settings::Broker::default(),
        store: PathBuf::new(),
        safety: Safety::default(),
        keep: None,
        keep_size: None,
        spool: PathBuf::new(),
        run: PathBuf::new(),
        secrets: Vec::new(),
        ready_fd: None,
        life: Life::Session,
        log_level: log::LevelFilter::Info,
    }
}

fn set(settings: &mut Settings, key: &str, value: &str) {
    let number = || value.parse::<u64>().expect("a number");
    let limits = &mut settings.limits;
    match key {
        "run" => settings.run = value.into(),
        "base" => {
            settings.store = Path::new(value).join("store");
            settings.spool = Path::new(value).join("spool");
            settings.run = Path::new(value).join("run");
        }
        "participant" => value.clone_into(&mut settings.participant),
        "directory" => settings.directory = value.into(),
        "user" => settings.user = Some(value.to_owned()),
        "worker" => settings.worker_user = Some(value.to_owned()),
        "mode" if value == "persistent" => settings.mode = Mode::Persistent,
        "instances" => settings.instances = number() as u16,
        "shutdown" => settings.times.shutdown = Duration::from_millis(number()),
        "path" => value.clone_into(&mut settings.path),
        "secret" => settings.secrets.push(value.into()),
        "drained" => settings.life = Life::Service { is_drained: value == "yes" },
        "ready" => settings.ready_fd = Some(number() as i32),
        "umask" => settings.umask = u32::from_str_radix(value, 8).expect("octal"),
        "processes" => limits.processes = Some(number()),
        "files" => limits.files = Some(number()),
        "memory" => limits.memory = Some(number()),
        "file-size" => limits.file_size = Some(number()),
        "core" => limits.core = Some(number()),
        "cpu-seconds" => limits.cpu_seconds = Some(number()),
        _ => settings.environment.push((key.to_owned(), value.to_owned())),
    }
}

/// The worker's state.
struct Worker {
    keeper: Option<Fd>,
    store: PathBuf,
}

fn worker(settings: Settings, ends: WorkerEnds) -> i32 {
    let WorkerEnds { keeper, control, keeper_pid, participant_uid } = ends;
    let own = process::pid();
    let control_fd = control.as_ref().map_or(-1, Fd::raw);
    println!("worker {own} {keeper_pid} {participant_uid} {} {control_fd}", keeper.raw());
    let mut worker = Worker { keeper: Some(keeper), store: settings.store };
    let mut input = Vec::new();
    loop {
        let keeper = worker.keeper.as_ref().map_or(-1, Fd::raw);
        let mut waits = [PollFd::readable(0), PollFd::readable(keeper)];
        poll(&mut waits, None).expect("poll");
        if waits[1].is_ready() && !worker.hear() {
            println!("end");
            return 5;
        }
        if waits[0].is_ready() {
            let mut byte = [0; 4096];
            let n = read(0, &mut byte).expect("read");
            input.extend_from_slice(&byte[..n]);
            // Nobody there any more: whoever tests us waits for the keeper.
            if n == 0 {
                return 6;
            }
        }
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(input.drain(..=end).collect()).expect("UTF-8");
            if let Some(code) = worker.perform(line.trim_end()) {
                return code;
            }
        }
    }
}

impl Worker {
    /// Prints one report; false = the keeper is gone.
    fn hear(&self) -> bool {
        let Some(keeper) = &self.keeper else { return true };
        let mut bytes = [0; order::REPORT];
        match socket::receive(keeper.raw(), &mut bytes) {
            Ok((0, _)) => return false,
            Ok((len, _)) => println!("{:?}", Report::decode(&bytes[..len]).expect("a report")),
            Err(Errno(EAGAIN)) => {}
            Err(_) => return false,
        }
        true
    }

    fn send(&self, bytes: &[u8], fds: &[i32]) -> Result<(), Errno> {
        socket::send(self.keeper.as_ref().map_or(-1, Fd::raw), bytes, fds)
    }

    fn files(&self, instance: u16) -> [File; DESCRIPTORS] {
        let out = self.store.join(format!("out.{instance}"));
        let out = File::options().create(true).append(true).open(out).expect("open");
        let copy = || out.try_clone().expect("dup");
        [File::open("/dev/null").expect("open"), copy(), copy(), copy()]
    }

    fn start(&self, words: &[&str]) -> Result<(), Errno> {
        let number = |i: usize| words[i].parse::<u32>().expect("a number");
        let text = |i: usize| words.get(i).map_or(String::new(), |text| (*text).to_owned());
        let (instance, serial, is_behind) = (number(1) as u16, number(2), words[0] == "behind");
        let [wfid, attempt, stage] = [3, 4, 5].map(text);
        let start = Start { instance, serial, wfid, attempt, stage, is_behind };
        let files = self.files(instance);
        let fds = files.each_ref().map(AsRawFd::as_raw_fd);
        self.send(&Order::Start(start).encode().expect("texts"), &fds)
    }

    /// Returns the exit code where the worker is to end.
    fn perform(&mut self, line: &str) -> Option<i32> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<u32>().expect("a number");
        let sent = match words[0] {
            "start" | "behind" => self.start(&words),
            "recall" => {
                let (instance, serial) = (number(1) as u16, number(2));
                self.send(&Order::Recall { instance, serial }.encode().expect("no texts"), &[])
            }
            "signal" => {
                let signal = if words[3] == "term" { Signal::Term } else { Signal::Kill };
                let (instance, serial) = (number(1) as u16, number(2));
                let order = Order::Signal { instance, serial, signal };
                self.send(&order.encode().expect("no texts"), &[])
            }
            "ready" => self.send(&Order::Ready.encode().expect("no texts"), &[]),
            "raw" => {
                let digits =
                    words[1].as_bytes().chunks(2).map(|two| str::from_utf8(two).expect("hex"));
                let bytes: Vec<u8> =
                    digits.map(|two| u8::from_str_radix(two, 16).expect("hex")).collect();
                self.send(&bytes, &[1, 1, 1, 1][..number(2) as usize])
            }
            "flood" => {
                self.flood(number(1));
                Ok(())
            }
            "close" => {
                self.keeper = None;
                Ok(())
            }
            "exit" => return Some(number(1) as i32),
            _ => panic!("{line:?}"),
        };
        sent.expect("sent");
        None
    }

    fn flood(&self, count: u32) {
        let mut was_full = false;
        for serial in 0..count {
            let number = serial.to_string();
            while let Err(why) = self.start(&["start", &number, &number]) {
                assert_eq!(why, Errno(EAGAIN));
                was_full = true;
                assert!(self.hear());
            }
        }
        println!("flooded {was_full}");
    }
}
