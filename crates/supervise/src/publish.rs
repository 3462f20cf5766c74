//! Telling the world: status, record, `ok`.

use crate::host::Host;
use crate::join::fifo;
use crate::keep::{Kept, is_own_file};
use crate::{WARNING, say};
use linux::errno::{Errno, Result};
use linux::fd;
use linux::file::{self, flags};
use machine::supervise::{Machine, Member, Which};
use ondisk::names;
use ondisk::status::Status;

impl Host {
    /// Writes status and record of a member, and opens `ok` behind the first.
    ///
    /// # Errors
    /// Where the status on disk does not tell the truth now.
    #[inline(never)]
    pub(crate) fn publish(&mut self, which: Which, machine: &Machine) -> Result<()> {
        let Some(member) = machine.member(which) else { return Ok(()) };
        let encore = self.encore;
        let Some(kept) = self.kept(which) else { return Ok(()) };
        kept.note(member);
        let mended = kept.mend();
        let recorded = kept.write_record();
        let written = match (encore, kept.is_script()) {
            (false, true) => Ok(()),
            (false, false) => kept.write_status(&kept.status().to_bytes()),
            (true, _) => self.write_encore(machine),
        };
        let answer = self.tell(which, mended.and(written).and(recorded));
        if let Some(kept) = self.kept(which)
            && kept.ok.is_none()
            && kept.lock.is_some()
        {
            kept.ok = fifo(&kept.folder, names::OK, flags::O_RDONLY).ok();
            if kept.ok.is_none() {
                return Err(Errno(flags::ENXIO));
            }
        }
        answer
    }

    /// Says once what went wrong, and once more after it went well again.
    fn tell(&mut self, which: Which, answer: Result<()>) -> Result<()> {
        let name = self.name.to_bytes();
        let Some(kept) = self.kept(which) else { return answer };
        if let Err(why) = answer
            && !kept.complained
        {
            let log =
                if kept.dir.is_some() { "/log/supervise/status" } else { "/supervise/status" };
            say(WARNING, "write ", name, log, why);
        }
        kept.complained = answer.is_err();
        answer
    }

    /// daemontools-encore: 20 bytes, and 20 more for a logger that is a script.
    fn write_encore(&mut self, machine: &Machine) -> Result<()> {
        let mut bytes = [0; 2 * Status::ENCORE_LEN];
        let mut len = 0;
        let script = self.logger == Some(true);
        for which in [Which::Service, Which::Logger] {
            let (Some(member), Some(kept)) = (machine.member(which), self.kept(which)) else {
                continue;
            };
            if which == Which::Service || script {
                let part = kept.status().to_encore_bytes(member.state());
                bytes[len..len + Status::ENCORE_LEN].copy_from_slice(&part);
                len += Status::ENCORE_LEN;
            }
        }
        match self.kept(Which::Service) {
            Some(kept) => kept.write_status(&bytes[..len]),
            None => Ok(()),
        }
    }
}

impl Kept {
    /// Takes over what the machine knows.
    pub(crate) fn note(&mut self, member: &Member) {
        self.record.phase = member.recorded();
        self.record.want = member.want();
        self.record.paused = member.is_paused();
        self.record.exit_asked = member.is_exit_asked();
        self.record.stopping = member.is_stopping();
        self.record.begun = member.has_begun();
    }

    fn status(&self) -> Status {
        Status {
            since: self.record.since,
            pid: self.record.process.pid,
            paused: self.record.paused,
            want: self.record.want,
        }
    }

    /// Renames a new file into place, so that no reader sees half of it; where no new file can be
    /// had (disk full, no inode), overwrites the old one, so that it tells the truth all the same.
    fn write_status(&self, bytes: &[u8]) -> Result<()> {
        let dir = self.folder.raw();
        let create = flags::O_WRONLY | flags::O_CREAT | flags::O_EXCL | flags::O_NOFOLLOW;
        let open_new = || file::open(dir, names::STATUS_NEW, create, 0o644);
        let new = match open_new() {
            Err(Errno(flags::EEXIST)) => {
                // Left by a supervise that was killed, or put there by somebody: not followed.
                file::unlink(dir, names::STATUS_NEW).and_then(|()| open_new())
            }
            answer => answer,
        };
        let renamed = new
            .and_then(|new| fd::write_at(new.raw(), bytes, 0))
            .and_then(|()| file::rename(dir, names::STATUS_NEW, names::STATUS));
        if renamed.is_ok() {
            return Ok(());
        }
        let _ = file::unlink(dir, names::STATUS_NEW);
        let in_place = flags::O_WRONLY | flags::O_NOFOLLOW | flags::O_NONBLOCK;
        file::open(dir, names::STATUS, in_place, 0)
            .and_then(|old| {
                if is_own_file(&old)? {
                    fd::write_at(old.raw(), bytes, 0)?;
                    file::cut(old.raw(), bytes.len())
                } else {
                    Err(Errno(flags::EINVAL))
                }
            })
            .or(renamed)
    }
}
