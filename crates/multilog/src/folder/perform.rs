//! The machine's calls on the real directory.

use super::say::{Notice, Part};
use super::{Folder, class};
use core::ffi::CStr;
use linux::errno::{Errno, Result};
use linux::fd::Fd;
use linux::file::{self, HERE, Stat, flags};
use linux::time;
use machine::logdir::{Answer, Call, File, Found, Seen, Survey};
use machine::time::Mono;
use ondisk::logdir::{self as names, Code, Name, Rotated};
use ondisk::tai64n::Stamp;

/// A file's name as the kernel takes it.
pub(super) enum FileName {
    Fixed(&'static CStr),
    Rotated(Name),
}

impl FileName {
    pub(super) fn as_c_str(&self) -> &CStr {
        match self {
            Self::Fixed(name) => name,
            Self::Rotated(name) => name.as_c_str(),
        }
    }
}

pub(super) fn name(of: File) -> FileName {
    FileName::Fixed(match of {
        File::Current => names::CURRENT,
        File::Previous => names::PREVIOUS,
        File::Processed => names::PROCESSED,
        File::State => names::STATE,
        File::Newstate => names::NEWSTATE,
        File::Reworking => names::REWORKING,
        File::Rotated(name) => return FileName::Rotated(name.name()),
    })
}

impl Folder {
    /// Makes a call; what went wrong is in `self.part` and `self.why` for the message.
    pub(super) fn perform(&mut self, call: Call, now: Mono) -> Answer {
        self.part = Part::Whole;
        let answer = self.try_perform(call, now);
        answer.unwrap_or_else(|why| {
            self.why = why;
            Answer::Failed(class(why))
        })
    }

    fn try_perform(&mut self, call: Call, now: Mono) -> Result<Answer> {
        match call {
            Call::Enter => self.enter(),
            Call::LookDirectory => self.look_directory(),
            Call::LookOpen => self.look_open(),
            Call::Look(file) => self.look(file),
            Call::FindTwin(file) => self.find_twin(file),
            Call::Survey => self.survey(),
            Call::FindRaw => self.find_raw(),
            Call::Remove(file) => or_absent(self.remove(file)),
            Call::Name(file, to) => {
                self.rename_new(file, &to.name())?;
                Ok(Answer::Done)
            }
            Call::MakeState => {
                file::make_anew(self.dir()?, names::STATE, names::OPEN)?;
                Ok(Answer::Done)
            }
            Call::KeepState => or_absent(self.rename(names::NEWSTATE, names::STATE)),
            Call::OpenCurrent => self.open_current(now),
            Call::SetOpen => done(file::set_mode(self.current(), names::OPEN)),
            Call::SyncCurrent => {
                self.sync_at = None;
                done(file::sync(self.current()))
            }
            Call::CloseCurrent => done(file::set_mode(self.current(), names::CLOSED)),
            Call::SetAside => done(self.rename(names::CURRENT, names::PREVIOUS)),
            Call::Process => done(self.process()),
            Call::Sync(file) => self.sync_file(file),
            Call::Mark(file) => self.mark(file),
            Call::Rework(file) => done(self.rework(file)),
            Call::Replace(file) => done(self.rename(names::REWORKING, file.name().as_c_str())),
            Call::SyncDirectory => self.sync_directory(),
            Call::Stop => {
                self.stop_processors();
                Ok(Answer::Done)
            }
        }
    }

    fn enter(&mut self) -> Result<Answer> {
        // Locks end with their descriptors: what moved away is nobody's now.
        (self.current, self.lock, self.dir) = (None, None, None);
        (self.id, self.len) = ((0, 0), 0);
        let _ = file::mkdir(HERE, self.path, names::DIRECTORY_MODE);
        let dir = file::open(HERE, self.path, flags::O_RDONLY | flags::O_DIRECTORY, 0)?;
        self.part = Part::Lock;
        let append = flags::O_WRONLY | flags::O_CREAT | flags::O_APPEND;
        let (lock, _) = file::open_regular(dir.raw(), names::LOCK, append, names::LOCK_MODE)?;
        file::lock_now(lock.raw())?;
        (self.dir, self.lock) = (Some(dir), Some(lock));
        self.entries = self.entries.saturating_add(1);
        Ok(Answer::Done)
    }

    fn look_directory(&mut self) -> Result<Answer> {
        let ours = file::stat_fd(self.dir()?)?.id();
        let found = match file::stat(HERE, self.path, true) {
            Ok(stat) if stat.id() == ours => Found::Same,
            Ok(_) | Err(Errno(flags::ENOENT | flags::ENOTDIR)) => Found::Lost,
            Err(why) => return Err(why),
        };
        if found == Found::Lost {
            self.notice(Notice::DirectoryLost);
        }
        Ok(Answer::Found(found))
    }

    fn look_open(&mut self) -> Result<Answer> {
        let stat = match file::stat(self.dir()?, names::CURRENT, false) {
            Err(Errno(flags::ENOENT)) => None,
            answer => Some(answer?),
        };
        let Some(stat) = stat.filter(|stat| stat.id() == self.id) else {
            self.notice(Notice::CurrentLost);
            return Ok(Answer::Found(Found::Lost));
        };
        let holed = self.len > 0 && file::begins_with_hole(self.current());
        let size = stat.size() as u64;
        if (holed || size < self.len) && !self.cut_told {
            self.cut_told = holed;
            self.notice(Notice::CurrentCut);
        }
        self.len = size;
        file::seek(self.current(), size)?;
        if size == 0 {
            self.age.end();
        }
        Ok(Answer::Found(if holed && size > 0 { Found::Holed } else { Found::Same }))
    }

    fn look(&self, file: File) -> Result<Answer> {
        let stat = match file::stat(self.dir()?, name(file).as_c_str(), false) {
            Err(Errno(flags::ENOENT)) => return Ok(Answer::Seen(None)),
            answer => answer?,
        };
        // With a second name it may be anybody's file: it is set aside like one of an outage, and
        // nothing written to it.
        let is_current = file == File::Current;
        let is_shared = is_current && stat.is_file() && !stat.has_one_name();
        // A `current` that is no file is opened, which says what is wrong.
        let can_be_closed = if is_current { !is_shared } else { stat.is_file() };
        Ok(Answer::Seen(Some(Seen {
            closed: can_be_closed && names::is_closed(stat.mode()),
            empty: !is_shared && stat.size() == 0,
        })))
    }

    /// The original links a file to its rotated name and then removes the old one.
    fn find_twin(&self, file: File) -> Result<Answer> {
        let dir = self.dir()?;
        let stat = file::stat(dir, name(file).as_c_str(), false)?;
        if stat.has_one_name() {
            return Ok(Answer::Twin(false));
        }
        let twin = |_, name: &CStr| {
            let other = file::stat(dir, name, false).ok()?;
            (other.id() == stat.id()).then_some(())
        };
        Ok(Answer::Twin(self.for_each_rotated(twin)?.is_some()))
    }

    fn survey(&self) -> Result<Answer> {
        let (seconds, nanos) = time::wall();
        let mut survey = Survey { now: Stamp::from_unix(seconds, nanos), ..Survey::default() };
        let dir = self.dir()?;
        self.for_each_rotated(|rotated, name| {
            survey.count += 1;
            survey.oldest = Some(survey.oldest.map_or(rotated, |oldest| oldest.min(rotated)));
            survey.newest = survey.newest.max(Some(rotated.stamp));
            if self.settings.total > 0 {
                let size = file::stat(dir, name, false).map_or(0, |stat| stat.size());
                survey.bytes = survey.bytes.saturating_add(size as u64);
            }
            None::<()>
        })?;
        Ok(Answer::Surveyed(survey))
    }

    fn find_raw(&self) -> Result<Answer> {
        let dir = self.dir()?;
        let is_raw = |stat: Stat| stat.is_file() && names::is_raw(stat.mode());
        let mut first: Option<Rotated> = None;
        self.for_each_rotated(|rotated, name| {
            let earlier = first.is_none_or(|first| rotated < first);
            // Not `s.gz`, which somebody has made of one of ours, mode and all.
            let ours = [Code::SAFE, self.settings.code].contains(&rotated.code);
            if ours && earlier && file::stat(dir, name, false).is_ok_and(is_raw) {
                first = Some(rotated);
            }
            None::<()>
        })?;
        Ok(Answer::Raw(first))
    }

    fn remove(&self, file: File) -> Result<()> {
        file::unlink(self.dir()?, name(file).as_c_str())
    }

    fn rename(&self, from: &CStr, to: &CStr) -> Result<()> {
        file::rename(self.dir()?, from, to)
    }

    fn rename_new(&self, from: File, to: &Name) -> Result<()> {
        file::rename_new(self.dir()?, name(from).as_c_str(), to.as_c_str())
    }

    fn open_current(&mut self, now: Mono) -> Result<Answer> {
        // Also for reading: whether it ends within a line.
        let how = flags::O_RDWR | flags::O_CREAT;
        let (current, stat) = file::open_regular(self.dir()?, names::CURRENT, how, names::OPEN)?;
        if !stat.has_one_name() {
            return Err(Errno(flags::EINVAL));
        }
        let len = stat.size() as u64;
        file::seek(current.raw(), len)?;
        (self.id, self.len, self.current) = (stat.id(), len, Some(current));
        self.sync_at = None;
        self.cut_told = false;
        self.age.end();
        if len > 0 {
            let [_, (written, _)] = stat.times();
            self.begin_age(Some(written), now);
        }
        Ok(Answer::Done)
    }

    /// Opens a file that a processor has written. One that it removed comes back empty where the
    /// original makes it so; the background's is the log itself and does not.
    fn open_result(&mut self, file: File) -> Result<Fd> {
        let make = if file == File::Reworking { 0 } else { flags::O_CREAT };
        self.part = Part::Make(file);
        let how = flags::O_WRONLY | make;
        let (fd, _) = file::open_regular(self.dir()?, name(file).as_c_str(), how, names::OPEN)?;
        self.part = Part::Whole;
        Ok(fd)
    }

    fn sync_file(&mut self, file: File) -> Result<Answer> {
        let fd = self.open_result(file)?;
        done(file::sync(fd.raw()))
    }

    fn mark(&mut self, file: File) -> Result<Answer> {
        let fd = self.open_result(file)?;
        let mode = if file == File::Reworking { names::REWORKED } else { names::CLOSED };
        done(file::set_mode(fd.raw(), mode))
    }

    fn sync_directory(&self) -> Result<Answer> {
        match file::sync(self.dir()?) {
            // Some file systems have no such thing.
            Err(Errno(flags::EINVAL)) => Ok(Answer::Done),
            answer => done(answer),
        }
    }
}

fn done(answer: Result<()>) -> Result<Answer> {
    answer.map(|()| Answer::Done)
}

/// A file that is not there needs no removing.
fn or_absent(answer: Result<()>) -> Result<Answer> {
    match answer {
        Err(Errno(flags::ENOENT)) => Ok(Answer::Done),
        answer => done(answer),
    }
}
