//! Running the programs of a service directory.

use crate::host::{Events, Host};
use crate::keep::{self, Kept, note_in_lock};
use crate::{FATAL, NAME, WARNING, say};
use core::ffi::{CStr, c_char};
use linux::decimal::Decimal;
use linux::errno::Errno;
use linux::fd;
use linux::fd::Fd;
use linux::file::{self, HERE, flags};
use linux::message;
use linux::spawn::{Child, Outcome, spawn};
use machine::supervise::{Event, Machine, Member, Obstacle, Script, Which};
use ondisk::names;
use ondisk::record::{Exit, Identity, Record};

impl Host {
    /// Runs a script and answers `Launched` or `NotLaunched`.
    #[inline(never)]
    pub(crate) fn launch(
        &mut self,
        which: Which,
        script: Script,
        machine: &Machine,
        events: &mut Events,
    ) {
        let optional = machine.member(which).is_some_and(Member::is_run_optional);
        // The child's record is all that there is, should we be killed before the next publication.
        if let (Some(member), Some(kept)) = (machine.member(which), self.kept(which)) {
            kept.note(member);
        }
        let answer = self.try_launch(which, script);
        events.push(match answer {
            Ok(()) => Event::Launched(which),
            Err(Failure::Absent(why)) => {
                if script == Script::Run && !optional {
                    self.cannot_start(which, script, why);
                }
                Event::NotLaunched(which, Obstacle::Absent)
            }
            Err(Failure::NoPipe(why)) => {
                // What hides its logger was said when it was looked for.
                if self.logger_unknown.is_none() {
                    say(WARNING, "create pipe for ", self.name.to_bytes(), "", why);
                }
                Event::NotLaunched(which, Obstacle::NotRun)
            }
            Err(Failure::NotRun(why)) => {
                self.cannot_start(which, script, why);
                Event::NotLaunched(which, Obstacle::NotRun)
            }
            Err(Failure::NoProcess(why)) => {
                let parts: [&[u8]; 4] = [
                    b"unable to fork for ",
                    self.name.to_bytes(),
                    if which == Which::Logger { b"/log" } else { b"" },
                    b", trying again in 1 second",
                ];
                message::system(NAME, WARNING, &parts, why);
                Event::NotLaunched(which, Obstacle::NoProcess)
            }
        });
    }

    fn cannot_start(&mut self, which: Which, script: Script, why: Errno) {
        let name = self.name.to_bytes();
        let Some(kept) = self.kept(which) else { return };
        kept.record.last_exit = Exit::NotRun(why.0);
        let log: &[u8] = if kept.dir.is_some() { b"/log/" } else { b"/" };
        let program = &path(kept, script).to_bytes()[2..];
        message::system(NAME, FATAL, &[b"unable to start ", name, log, program], why);
    }

    fn try_launch(&mut self, which: Which, script: Script) -> Result<(), Failure> {
        let absent = Err(Failure::Absent(Errno(flags::ENOENT)));
        let Some(kept) = self.members[which as usize].as_ref() else { return absent };
        let at = kept.dir.as_ref().map_or(HERE, Fd::raw);
        let path = path(kept, script);
        if script != Script::Run && (kept.is_script() || !is_program(at, path)) {
            return absent;
        }
        let ends = self.pipe_ends(which);
        let Some(kept) = self.members[which as usize].as_mut() else { return absent };
        let argv = [path.as_ptr(), core::ptr::null()];
        let (stdin, stdout) = ends.map_err(Failure::NoPipe)?;
        let child = Child {
            path,
            argv: &argv,
            dir: kept.dir.as_ref().map(Fd::raw),
            stdin: stdin.as_ref().map(Fd::raw),
            stdout: stdout.as_ref().map(Fd::raw),
            new_session: file::stat(at, names::NO_SETSID, true).is_err(),
            blocked: &[],
        };
        let before = kept.record;
        kept.about_to_run(script);
        if kept.file.is_none() {
            // Without one the service runs all the same; the publication says what is wrong.
            let _ = kept.open_record();
        }
        let [file, lock] = [&kept.file, &kept.lock].map(|fd| fd.as_ref().map(Fd::raw));
        let (record, boot) = (&mut kept.record, self.own.boot);
        // In the child, which still holds our lock: a service without a record cannot be.
        let mut register = |pid: i32| {
            record.process = Identity { pid: pid as u32, alive_at: boot.now() };
            let written = file.is_some_and(|f| fd::write_at(f, &record.to_bytes(), 0).is_ok());
            if let (false, Some(lock)) = (written, lock) {
                note_in_lock(lock, record.process);
            }
        };
        let outcome = spawn(&child, self.stack, &mut register);
        match outcome {
            Ok(Outcome::Running(pid)) => {
                if kept.record.process.pid != pid as u32 {
                    // Killed before it could write: its death is on its way.
                    kept.record.process = Identity { pid: pid as u32, alive_at: boot.now() };
                }
                Ok(())
            }
            Ok(Outcome::NotRun(why)) => {
                kept.record = Record { since: keep::stamp(), ..before };
                let missing = why.0 == flags::ENOENT && file::stat(at, path, false).is_err();
                Err(if missing { Failure::Absent(why) } else { Failure::NotRun(why) })
            }
            Err(why) => {
                kept.record = before;
                Err(Failure::NoProcess(why))
            }
        }
    }

    /// Returns what becomes descriptor 0 of a logger or 1 of its service: opened anew, so that
    /// what one life of a program does to its end does not last.
    fn pipe_ends(&self, which: Which) -> linux::errno::Result<(Option<Fd>, Option<Fd>)> {
        let Some(pipe) = &self.pipe else {
            return self.logger_unknown.map_or(Ok((None, None)), Err);
        };
        match which {
            Which::Logger => pipe.for_logger().map(|end| (Some(end), None)),
            Which::Service => pipe.for_service().map(|end| (None, Some(end))),
        }
    }

    /// Tells `./notify`, if it is there, of a start, or of a death. Nobody waits for it.
    pub(crate) fn notify(&mut self, which: Which, death: Option<Exit>) {
        let Some(kept) = self.members[which as usize].as_ref() else { return };
        let at = kept.dir.as_ref().map_or(HERE, Fd::raw);
        if !is_program(at, names::NOTIFY) {
            return;
        }
        let script = if which == Which::Logger { names::LOG } else { kept.script };
        let (what, code) = match death {
            None => (c"start", 0),
            Some(Exit::Signal(signal)) => (c"killed", signal),
            Some(Exit::Code(code)) => (c"exit", code),
            Some(Exit::None | Exit::Unknown | Exit::NotRun(_)) => (c"exit", 0),
        };
        let [pid, code] = [pid_of(kept, death), code as u32].map(|n| Decimal::of(u64::from(n)));
        let argv: [*const c_char; 6] = [
            c"./notify".as_ptr(),
            script.as_ptr(),
            what.as_ptr(),
            pid.as_ptr(),
            code.as_ptr(),
            core::ptr::null(),
        ];
        let child = Child {
            path: c"./notify",
            argv: &argv,
            dir: kept.dir.as_ref().map(Fd::raw),
            stdin: None,
            stdout: None,
            new_session: file::stat(at, names::NO_SETSID, true).is_err(),
            blocked: &[],
        };
        match spawn(&child, self.stack, &mut |_| {}) {
            Ok(Outcome::Running(_)) => {}
            Ok(Outcome::NotRun(why)) | Err(why) => {
                let parts: [&[u8]; 3] = [b"unable to run ", self.name.to_bytes(), b"/notify"];
                message::system(NAME, WARNING, &parts, why);
            }
        }
    }
}

enum Failure {
    Absent(Errno),
    NotRun(Errno),
    NoPipe(Errno),
    NoProcess(Errno),
}

fn pid_of(kept: &Kept, death: Option<Exit>) -> u32 {
    if death.is_some() { kept.last_pid } else { kept.record.process.pid }
}

fn path(kept: &Kept, script: Script) -> &'static CStr {
    match script {
        Script::Run if kept.is_script() => c"./log",
        Script::Start => c"./start",
        Script::Run => c"./run",
        Script::Stop => c"./stop",
    }
}

fn is_program(at: i32, name: &CStr) -> bool {
    file::stat(at, name, true).is_ok_and(|stat| stat.is_program())
}
