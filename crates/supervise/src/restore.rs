//! Taking a service back: what an earlier supervise left, and whether its process lives.
//!
//! A pid alone is trusted nowhere. With a record of this boot, the process must have been started
//! before the moment at which the record saw it alive. Without one (the original was here), the
//! pid, the working directory and the stamp of the status file must all agree. When in doubt
//! nothing is taken for ours, and nothing of it is ever signalled.

use crate::keep::{self, Kept};
use linux::errno::{Errno, OrLasting, Result};
use linux::fd::{self, Fd, PollFd};
use linux::file::{self, HERE, flags};
use linux::identity::{Boot, proc_path};
use linux::process::{self, Waited};
use linux::time::{self, SECOND};
use machine::supervise::{Restored, Which};
use machine::time::Mono;
use ondisk::names;
use ondisk::record::{Exit, Identity, Phase, Record};
use ondisk::status::{Status, Want};

/// How far the stamp of a status file and the start of its process may lie apart, in seconds.
const AGREE: u64 = 2;

/// What was found.
pub(crate) struct Found {
    /// For the machine.
    pub(crate) restored: Restored,
    /// The process is dead, as far as is known so.
    pub(crate) dead: Option<Exit>,
}

enum Life {
    Child,
    Stranger(Fd),
    Dead(Exit),
    /// Dead, and its parent has not asked how it ended.
    Unreaped(Fd),
}

/// What every life that is found is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    /// Of this boot and this life of the pid namespace.
    pub(crate) boot: Boot,
    /// Ourselves.
    pub(crate) identity: Identity,
    /// A first life is `o`.
    pub(crate) once: bool,
}

impl Own {
    /// Reads what is left of the last life and takes a living process back into `kept`.
    /// `passed_on`: the record of a program that we replaced, which counts before what lies there.
    ///
    /// # Errors
    /// Where nobody can tell now whether a process lives: another time it may be known.
    pub(crate) fn restore(&self, kept: &mut Kept, passed_on: Option<Record>) -> Result<Found> {
        let old = match passed_on {
            Some(record) => Some(record),
            None => kept.read_record()?,
        };
        match old {
            Some(old) if self.boot.is_known() && old.boot == self.boot.id => {
                let found = self.carry_on(kept, &old)?;
                if old.process.pid != 0 && found.dead != Some(Exit::Unknown) {
                    // It lives, or was our own child and has been reaped: that is told once.
                    return Ok(found);
                }
                // The original may have been here since.
                Ok(self.adopt_unrecorded(kept)?.unwrap_or(found))
            }
            None => match self.adopt_unrecorded(kept)? {
                Some(found) => Ok(found),
                None => Ok(self.adopt_noted(kept)?.unwrap_or_else(|| self.begin_anew(kept))),
            },
            Some(_) => Ok(self.adopt_unrecorded(kept)?.unwrap_or_else(|| self.begin_anew(kept))),
        }
    }

    fn carry_on(&self, kept: &mut Kept, old: &Record) -> Result<Found> {
        kept.record = Record { supervisor: self.identity, ..*old };
        let busy = matches!(old.phase, Phase::Starting | Phase::Running | Phase::Stopping);
        let mut found = Found {
            restored: Restored {
                want: old.want,
                phase: if busy && old.process.pid == 0 { Phase::Due } else { old.phase },
                paused: old.paused,
                exit_asked: old.exit_asked,
                stopping: old.stopping,
                begun: old.begun,
                started: None,
            },
            dead: None,
        };
        if old.process.alive_at != 0 {
            // Also of a process that is dead: starts stay apart.
            found.restored.started = Some(self.monotonic_of(old.process.alive_at));
        }
        if old.process.pid != 0 {
            match self.life(&old.process)? {
                Life::Child => {}
                Life::Stranger(watch) => {
                    kept.record.adopted = true;
                    kept.watch = Some(watch);
                }
                Life::Dead(exit) => found.dead = Some(exit),
                Life::Unreaped(dead) => {
                    found.dead = Some(Exit::Unknown);
                    kept.look_back_at(dead);
                }
            }
        }
        Ok(found)
    }

    /// A service that was started on a full disk: its lock's times tell of it.
    fn adopt_noted(&self, kept: &mut Kept) -> Result<Option<Found>> {
        let Some(who) = kept.noted_in_lock() else { return Ok(None) };
        let watch = match self.life(&who)? {
            Life::Child => None,
            Life::Stranger(watch) => Some(watch),
            Life::Dead(_) | Life::Unreaped(_) => return Ok(None),
        };
        if !runs_here(kept, who.pid)? {
            return Ok(None);
        }
        let mut found = self.begin_anew(kept);
        kept.record.process = who;
        kept.record.adopted = watch.is_some();
        kept.record.ready = Some(kept.record.since);
        kept.watch = watch;
        if found.restored.want == Want::Down {
            // Somebody said `u`, since it runs.
            found.restored.want = Want::Up;
        }
        found.restored.phase = Phase::Running;
        found.restored.begun = true;
        found.restored.started = Some(self.monotonic_of(who.alive_at));
        Ok(Some(found))
    }

    /// A first life, or one after a proper end: up, unless `down` exists.
    fn begin_anew(&self, kept: &mut Kept) -> Found {
        kept.record.since = keep::stamp();
        // A logger that is a script follows its service, as in encore.
        let down_at = kept.dir.as_ref().map_or(HERE, Fd::raw);
        let down = file::stat(down_at, names::DOWN, true).is_ok();
        let up = if self.once && kept.which == Which::Service { Want::Once } else { Want::Up };
        let (want, phase) = if down { (Want::Down, Phase::Down) } else { (up, Phase::Due) };
        Found {
            restored: Restored {
                want,
                phase,
                paused: false,
                exit_asked: false,
                stopping: false,
                begun: false,
                started: None,
            },
            dead: None,
        }
    }

    /// A service that the original started: there is a status and no record of its process.
    fn adopt_unrecorded(&self, kept: &mut Kept) -> Result<Option<Found>> {
        let Some(status) = read_status(&kept.folder).or_lasting()?.flatten() else {
            return Ok(None);
        };
        let Some(pid) = i32::try_from(status.pid).ok().filter(|pid| *pid > 1) else {
            return Ok(None);
        };
        let Some(watch) = process::pidfd(pid).or_lasting()? else { return Ok(None) };
        let Some(start) = self.boot.started(status.pid).or_lasting()? else { return Ok(None) };
        let age = self.boot.now().saturating_sub(start) / SECOND;
        let stamp_age = status.since.seconds_until(keep::stamp());
        if !runs_here(kept, status.pid)? || age.abs_diff(stamp_age) > AGREE {
            return Ok(None);
        }
        kept.record.process = Identity { pid: status.pid, alive_at: self.boot.now() };
        kept.record.since = status.since;
        kept.record.ready = Some(status.since);
        kept.record.adopted = true;
        kept.watch = Some(watch);
        Ok(Some(Found {
            restored: Restored {
                want: status.want,
                phase: Phase::Running,
                paused: status.paused,
                exit_asked: false,
                stopping: status.want == Want::Down,
                begun: true,
                started: Some(self.monotonic_of(start)),
            },
            dead: None,
        }))
    }

    /// Tells what became of the process that a record of this boot names.
    ///
    /// # Errors
    /// Where that cannot be told now.
    fn life(&self, who: &Identity) -> Result<Life> {
        let Ok(pid) = i32::try_from(who.pid) else { return Ok(Life::Dead(Exit::Unknown)) };
        match process::wait(pid, false) {
            Waited::Alive => return Ok(Life::Child),
            Waited::Ended(_, ended) => return Ok(Life::Dead(keep::exit(ended))),
            Waited::NoChild => {}
        }
        // The pidfd first: what is checked afterwards is the process that it stands for.
        let watch = process::pidfd(pid);
        let start = match &watch {
            Err(Errno(flags::ESRCH)) => None,
            // No such process any more, or a /proc without it.
            _ => self.boot.started(who.pid).or_lasting()?,
        };
        if start.is_some_and(|start| who.matches(start)) {
            let watch = watch?;
            let mut ended = [PollFd::readable(watch.raw())];
            fd::poll(&mut ended, Some(0))?;
            Ok(if ended[0].is_ready() { Life::Unreaped(watch) } else { Life::Stranger(watch) })
        } else {
            Ok(Life::Dead(Exit::Unknown))
        }
    }

    fn monotonic_of(&self, moment: u64) -> Mono {
        let age = self.boot.now().saturating_sub(moment);
        Mono(time::monotonic().saturating_sub(age))
    }
}

/// Tells whether a process has the member's directory as its own.
fn runs_here(kept: &Kept, pid: u32) -> Result<bool> {
    let mut path = [0; 32];
    let its = file::stat(HERE, proc_path(pid, b"/cwd", &mut path)?, true).or_lasting()?;
    let ours = match &kept.dir {
        Some(dir) => file::stat_fd(dir.raw())?,
        None => file::stat(HERE, c".", true)?,
    };
    Ok(its.is_some_and(|its| its.id() == ours.id()))
}

fn read_status(folder: &Fd) -> Result<Option<Status>> {
    let how = flags::O_RDONLY | flags::O_NOFOLLOW | flags::O_NONBLOCK;
    let file = file::open(folder.raw(), names::STATUS, how, 0)?;
    let mut bytes = [0; Status::LEN + 1];
    let n = fd::read_at(file.raw(), &mut bytes, 0)?;
    // Exactly the original's length: encore and runit write more.
    Ok(if n == Status::LEN { Status::from_bytes(&bytes[..n]) } else { None })
}
