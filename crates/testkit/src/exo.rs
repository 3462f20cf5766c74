//! Exo's side of the talk with a participant, played by a test.

use crate::scratch::Scratch;
use crate::wait::holds_within;
use participant::protocol::{ToParticipant, VERSION};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// Far more than any participant of a test needs for an answer, or for its end.
const LIMIT: Duration = Duration::from_secs(30);

/// A program and what it needs to run as a participant.
#[derive(Clone, Debug)]
pub struct Program {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables of its environment, besides those that exo sets.
    pub environment: Vec<(String, String)>,
}

impl Program {
    /// Returns the command with its descriptors in place by `redirections` of a shell.
    fn prepare(&self, redirections: &str, log: &File) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("exec \"$@\" {redirections}"), "sh"])
            .args(&self.command)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SKYNET_PARTICIPANT", "double")
            .env("SKYNET_INSTANCE", "double_0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stderr(log.try_clone().expect("dup"));
        command
    }
}

/// A conversation with a persistent participant, which is killed where it does not end by itself.
pub struct Exo {
    child: Child,
    socket: UnixStream,
    lines: BufReader<UnixStream>,
    log: File,
    _scratch: Scratch,
}

impl Exo {
    /// Starts it, and says nothing yet.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(program: &Program) -> Self {
        let scratch = Scratch::new();
        let log = log_in(&scratch);
        let (socket, theirs) = UnixStream::pair().expect("socketpair");
        let child = program
            .prepare("3<&0 0</dev/null 1>&2", &log)
            .stdin(OwnedFd::from(theirs))
            .current_dir(scratch.path())
            .spawn()
            .expect("spawn");
        socket.set_read_timeout(Some(LIMIT)).expect("a time limit");
        let lines = BufReader::new(socket.try_clone().expect("dup"));
        Self { child, socket, lines, log, _scratch: scratch }
    }

    /// Starts it and greets it with this configuration; returns once it has said hello.
    ///
    /// # Panics
    /// Where it says something else.
    #[must_use]
    #[track_caller]
    pub fn greet(program: &Program, config: &str) -> Self {
        let mut exo = Self::start(program);
        exo.say_start(config);
        let hello = exo.hear();
        assert_eq!((&hello["type"], &hello["protocol"]), (&"hello".into(), &VERSION.into()));
        exo
    }

    /// Says the first line.
    ///
    /// # Panics
    /// As [`Exo::say`].
    pub fn say_start(&mut self, config: &str) {
        let config = RawValue::from_string(config.to_owned()).expect("JSON");
        let (participant, instance) = ("double", "double_0");
        self.say(&ToParticipant::Start {
            protocol: VERSION,
            participant,
            instance,
            engine: participant::protocol::ENGINE,
            config: &config,
        });
    }

    /// Hands an item over for the first time.
    ///
    /// # Panics
    /// As [`Exo::say`].
    pub fn work(&mut self, id: u64, item: &str) {
        self.work_again(id, item, 1, None);
    }

    /// Hands an item over.
    ///
    /// # Panics
    /// As [`Exo::say`].
    pub fn work_again(&mut self, id: u64, item: &str, attempt: u32, stage: Option<&str>) {
        let item = RawValue::from_string(item.to_owned()).expect("JSON");
        self.say(&ToParticipant::Work { id, attempt, stage, item: &item });
    }

    /// Says something.
    ///
    /// # Panics
    /// Where the participant has closed the socket.
    pub fn say(&mut self, message: &ToParticipant<'_>) {
        let mut line = Vec::new();
        message.write(&mut line);
        self.say_bytes(&line);
    }

    /// Says bytes that need not mean anything.
    ///
    /// # Panics
    /// Where the participant has closed the socket.
    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("it listens");
    }

    /// Returns the next line as it came; `None` = the participant says no more.
    ///
    /// # Panics
    /// Where none comes in time.
    #[track_caller]
    pub fn hear_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line),
            Err(error) => panic!("no line: {error}; its log: {}", self.log()),
        }
    }

    /// Returns the next line as JSON.
    ///
    /// # Panics
    /// Where none comes in time, or it is no object on a line of its own.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        let Some(line) = self.hear_line() else { panic!("it is gone; its log: {}", self.log()) };
        // What exo understands, not what any JSON reader does.
        if let Err(nonsense) = participant::protocol::FromParticipant::read(line.as_bytes()) {
            panic!("nonsense: {nonsense}: {line}");
        }
        assert!(line.ends_with('\n'), "half a line: {line}");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Says no more; the participant still may.
    ///
    /// # Panics
    /// Where the socket cannot be shut down.
    pub fn close(&mut self) {
        self.socket.shutdown(std::net::Shutdown::Write).expect("shutdown");
    }

    /// Waits for its end and returns how it ended.
    ///
    /// # Panics
    /// Where it does not end in time.
    #[track_caller]
    pub fn end(&mut self) -> Ended {
        let status = end_of(&mut self.child);
        Ended::new(status, String::new(), self.log())
    }

    /// Returns what it has logged so far.
    ///
    /// # Panics
    /// Where the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        content(&self.log)
    }
}

impl Drop for Exo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended, and what it left.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
    /// In per-item mode, what was written on descriptor 3.
    pub answer: String,
    /// Its log.
    pub log: String,
}

impl Ended {
    fn new(status: ExitStatus, answer: String, log: String) -> Self {
        Self { code: status.code(), signal: status.signal(), answer, log }
    }
}

/// A participant in per-item mode, at its item.
pub struct OneItem {
    child: Child,
    answer: File,
    log: File,
    _scratch: Scratch,
}

impl OneItem {
    /// Starts it with bytes to read on descriptor 0.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(program: &Program, item: &[u8], variables: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        let log = log_in(&scratch);
        fs::write(scratch.join("item"), item).expect("write");
        let answer = scratch_file(&scratch, "answer");
        let child = program
            .prepare("3>&1 1>&2", &log)
            .envs(variables.iter().copied())
            .stdin(File::open(scratch.join("item")).expect("open"))
            .stdout(answer.try_clone().expect("dup"))
            .current_dir(scratch.path())
            .spawn()
            .expect("spawn");
        Self { child, answer, log, _scratch: scratch }
    }

    /// Sends it a signal once its log has `text` in it.
    ///
    /// # Panics
    /// Where that does not come.
    #[track_caller]
    pub fn signal_at(&self, text: &str, signal: i32) {
        let came = holds_within(LIMIT, || content(&self.log).contains(text));
        assert!(came, "no {text:?} in the log: {}", content(&self.log));
        linux::signal::kill(self.child.id() as i32, signal).expect("kill");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end in time.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let status = end_of(&mut self.child);
        Ended::new(status, content(&self.answer), content(&self.log))
    }
}

fn log_in(scratch: &Scratch) -> File {
    scratch_file(scratch, "log")
}

fn scratch_file(scratch: &Scratch, name: &str) -> File {
    let path = scratch.join(name);
    File::options().read(true).append(true).create(true).open(path).expect("open")
}

/// Returns what is in a file that others append to.
fn content(file: &File) -> String {
    let mut file = file.try_clone().expect("dup");
    let mut bytes = Vec::new();
    file.rewind().expect("rewind");
    file.read_to_end(&mut bytes).expect("read");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn end_of(child: &mut Child) -> ExitStatus {
    let mut status = None;
    let _ = holds_within(LIMIT, || {
        status = child.try_wait().expect("wait");
        status.is_some()
    });
    status.unwrap_or_else(|| {
        let _ = child.kill();
        let _ = child.wait();
        panic!("it does not end")
    })
}
