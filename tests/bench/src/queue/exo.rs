//! exo at work on a store.

use super::rabbit::Queue;
use super::{Bed, Safe, wait_until};
use crate::peer::Peer;
use crate::processes;
use crate::stage::Lab;
use crate::trouble::{Result, Trouble, Unable};
use nix::unistd::{Gid, Uid, User, chown};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::rabbit::{PASSWORD, USER};

/// Who keeps the store, and who the participants are.
const KEEPER: &str = "daemon";
const PARTICIPANT: &str = "nobody";
/// The program beside this one that submits.
const SUBMIT: &str = "bench-queue";
/// The one that is a participant, and the one that is by the crate for authors.
const NOOP: &str = "bench-noop";
const CRATE: &str = "bench-kit";

/// How the participants of an exo are started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One for all items, which speaks the protocol itself.
    Persistent,
    /// One for all items, by the crate for authors.
    Crate,
    /// One for each: a program that ends at once.
    PerItem,
    /// One for each that does not end by itself.
    Sleeper,
    /// One for all items, in Python by the package `skynet`.
    Kit,
    /// Likewise, written for `SkyNET`.
    Older,
}

/// A store, and whatever works on it.
pub(crate) struct Exo<'a> {
    peer: &'a Peer,
    bed: Bed,
    nothing: PathBuf,
    account: (Uid, Gid),
}

impl<'a> Exo<'a> {
    /// Begins with an empty store.
    pub(crate) fn new(lab: &Lab, peer: &'a Peer, safe: Safe) -> Result<Self> {
        let bed = Bed::new(lab)?;
        let found = User::from_name(KEEPER).unable(|| format!("find the account {KEEPER}"))?;
        let user = found.ok_or_else(|| Trouble::new(format!("no account {KEEPER}")))?;
        let account = (user.uid, user.gid);
        for folder in [bed.disk.clone(), bed.memory.join("spool"), bed.memory.join("run")] {
            fs::create_dir_all(&folder).unable(|| format!("make {}", folder.display()))?;
            chown(&folder, Some(account.0), Some(account.1))
                .unable(|| format!("give {} away", folder.display()))?;
        }
        let safety = if safe == Safe::Power { "power" } else { "kill" };
        let (store, memory) = (bed.disk.join("store"), bed.memory.display());
        let site = format!(
            "store: {}\nspool: {memory}/spool\nrun: {memory}/run\nworker-user: {KEEPER}\nsafety: {safety}\n",
            store.display()
        );
        write(&bed.memory.join("etc"), "skynet.yaml", &site)?;
        for name in [NOOP, CRATE, SUBMIT] {
            let (from, to) = (beside(name)?, bed.memory.join(name));
            fs::copy(&from, &to).unable(|| format!("copy {}", from.display()))?;
        }
        Ok(Self { peer, bed, nothing: lab.tiny("next"), account })
    }

    /// Begins with an empty store, and a queue of a broker.
    pub(crate) fn of_broker(lab: &Lab, peer: &'a Peer, safe: Safe, queue: &Queue) -> Result<Self> {
        let exo = Self::new(lab, peer, safe)?;
        let password = exo.bed.memory.join("password");
        write(&exo.bed.memory, "password", PASSWORD)?;
        let lock = fs::set_permissions(&password, fs::Permissions::from_mode(0o600));
        lock.unable(|| format!("lock {}", password.display()))?;
        chown(&password, Some(exo.account.0), Some(exo.account.1))
            .unable(|| format!("give {} away", password.display()))?;
        let text = format!(
            "broker:\n  kind: rabbitmq\n  host: 127.0.0.1\n  port: {}\n  vhost: {}\n  user: {USER}\n  \
             password-file: {}\n  reply-queue: {}\n",
            queue.broker().port,
            queue.broker().vhost,
            password.display(),
            queue.answers(),
        );
        write(&exo.bed.memory.join("etc/conf.d"), "broker.yaml", &text)?;
        // So that there is a store to look into.
        exo.submit("fill", &queue.name, 0)?;
        Ok(exo)
    }

    /// Copies what is in Python to where whoever participates can read it, and nothing that is root's.
    fn bring_python(&self) -> Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let kit = here.join("../../crates/participant/python");
        for (from, name) in [(kit, "kit"), (here.join("python"), "python")] {
            let to = self.bed.memory.join(name);
            if to.exists() {
                continue;
            }
            let mut copy = Command::new("cp");
            let status = copy.arg("-r").arg(&from).arg(to).status();
            let status = status.unable(|| "run cp".into())?;
            if !status.success() {
                return Err(Trouble::new(format!("cp of {}: {status}", from.display())));
            }
        }
        Ok(())
    }

    /// Starts an exo with so many participants for a queue.
    pub(crate) fn start(&self, name: &str, queue: &str, mode: Mode, instances: u32) -> Result<()> {
        if matches!(mode, Mode::Kit | Mode::Older) {
            self.bring_python()?;
        }
        let memory = self.bed.memory.display();
        let (mode, command) = match mode {
            Mode::Crate => ("persistent", format!("{memory}/{CRATE}")),
            Mode::Persistent => ("persistent", format!("{memory}/{NOOP}")),
            Mode::PerItem => ("per-item", self.nothing.display().to_string()),
            Mode::Sleeper => ("per-item", "sleep 1000".to_owned()),
            Mode::Kit => ("persistent", format!("python3 {memory}/python/noop_kit.py")),
            Mode::Older => {
                ("persistent", format!("python3 -m SkyNET {memory}/python/noop_older.py"))
            }
        };
        let dir = self.bed.memory.join("services").join(name);
        let text = format!(
            "participant: {name}\nqueue: {queue}\nmode: {mode}\ncommand: {command}\nuser: {PARTICIPANT}\ninstances: {instances}\n\
             environment:\n  PYTHONPATH: {memory}/kit\n",
        );
        write(&dir, "exo.yaml", &text)?;
        let missing = || Trouble::new("no exo; tests/build makes it");
        let mut exo = self.peer.command("exo").ok_or_else(missing)?;
        exo.current_dir(&dir).env("SKYNET_CONFIG", self.bed.memory.join("etc"));
        // Its warnings are for whoever runs this. The bed ends it.
        exo.env("RUST_BACKTRACE", "0").stderr(self.log(name)?);
        exo.spawn().unable(|| "run exo".into()).map(|_| ())
    }

    fn log(&self, name: &str) -> Result<Stdio> {
        let path = self.bed.memory.join(format!("{name}.log"));
        fs::File::create(&path).map(Stdio::from).unable(|| format!("make {}", path.display()))
    }

    fn submit(&self, mode: &str, queue: &str, count: u64) -> Result<String> {
        let mut command = Command::new(self.bed.memory.join(SUBMIT));
        command.arg(mode).arg(self.bed.disk.join("store")).args([queue, &count.to_string()]);
        command.uid(self.account.0.as_raw()).gid(self.account.1.as_raw());
        command.env_clear().stderr(Stdio::inherit());
        let output = command.output().unable(|| format!("run {SUBMIT}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Trouble::new(format!("{SUBMIT} {mode}: {}", output.status)))
    }

    /// Puts items into a queue.
    pub(crate) fn fill(&self, queue: &str, count: u64) -> Result<()> {
        self.submit("fill", queue, count)?;
        self.settle()
    }

    /// Puts finished items into the store.
    pub(crate) fn finish(&self, queue: &str, count: u64) -> Result<()> {
        self.submit("finish", queue, count)?;
        self.settle()
    }

    /// Waits until the disk has all, so that it is not busy with that later.
    fn settle(&self) -> Result<()> {
        for name in ["work.db", "work.db-wal"] {
            let path = self.bed.disk.join("store").join(name);
            let synced = fs::File::open(&path).and_then(|file| file.sync_all());
            synced.unable(|| format!("sync {}", path.display()))?;
        }
        Ok(())
    }

    /// Asks so often; returns how long each answer took, in milliseconds.
    pub(crate) fn ask(&self, queue: &str, count: u64) -> Result<Vec<f64>> {
        let said = self.submit("ask", queue, count)?;
        let times: Vec<f64> = said.lines().filter_map(|line| line.parse().ok()).collect();
        if times.len() as u64 == count {
            return Ok(times);
        }
        Err(Trouble::new(format!("{} answers to {count} items", times.len())))
    }

    fn open(&self) -> Result<Connection> {
        let path = self.bed.disk.join("store/work.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&path, flags).unable(|| format!("open {}", path.display()))
    }

    /// Waits until so many items were begun.
    pub(crate) fn wait_for_tries(&self, count: u64) -> Result<()> {
        let sql = "SELECT coalesce(max(id), 0) >= ?1 FROM attempt";
        self.wait_for(sql, count)
    }

    /// Waits until nothing is ready and nothing in hand any more of so many items.
    pub(crate) fn wait_for_end(&self, count: u64) -> Result<()> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM job WHERE holder IS NOT NULL)
            AND (SELECT coalesce(max(id), 0) >= ?1 FROM attempt)
            AND NOT EXISTS (SELECT 1 FROM job
                WHERE state = 'ready' AND holder IS NULL AND due IS NULL)";
        self.wait_for(sql, count)
    }

    fn wait_for(&self, sql: &str, count: u64) -> Result<()> {
        let conn = self.open()?;
        let mut look = conn.prepare(sql).unable(|| "look into the store".into())?;
        wait_until(count, || {
            look.query_row([count.cast_signed()], |row| row.get(0))
                .unable(|| "look into the store".into())
        })
    }

    /// Returns which taker ended a try, and when, in microseconds; those of `finish` are none.
    fn ends(&self) -> Result<Vec<(i64, i64)>> {
        let conn = self.open()?;
        let sql = "SELECT a.taker, a.ended_at FROM attempt a JOIN job j ON j.id = a.job
            WHERE j.wfid LIKE 'new-%' AND how = 'ended' AND a.fault = 0 ORDER BY 2";
        let ends = || -> rusqlite::Result<Vec<_>> {
            conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        ends().unable(|| "read the store".into())
    }

    /// Waits until the item of this try was begun; returns the number in its name. A look for a cancel may
    /// have put it behind another.
    pub(crate) fn begun(&self, r#try: u64) -> Result<u64> {
        self.wait_for_tries(r#try)?;
        let sql = "SELECT CAST(substr(j.wfid, 5) AS INTEGER) FROM attempt a
            JOIN job j ON j.id = a.job WHERE a.id = ?1";
        let number = self.open()?.query_row(sql, [r#try.cast_signed()], |row| row.get::<_, i64>(0));
        number.map(i64::cast_unsigned).unable(|| "read the store".into())
    }

    /// Waits until all of `count` items are cancelled; returns when each had ended, in microseconds since
    /// 1970, in the order in which they were begun.
    pub(crate) fn cancelled(&self, count: u64) -> Result<Vec<i64>> {
        self.wait_for_end(count)?;
        let conn = self.open()?;
        let sql = "SELECT a.ended_at FROM attempt a JOIN job j ON j.id = a.job
            WHERE j.fault = 900 ORDER BY a.id";
        let ends = || -> rusqlite::Result<Vec<_>> {
            conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        ends().unable(|| "read the store".into())
    }

    /// Waits until all of `count` items are done; returns how many were done a second. The first
    /// tenth is none of it.
    pub(crate) fn rate(&self, count: u64) -> Result<f64> {
        self.wait_for_end(count)?;
        let ends = self.ends()?;
        let first = (count / 10) as usize;
        match (ends.get(first), ends.last()) {
            (Some((_, first_at)), Some((_, last_at))) if ends.len() as u64 == count => {
                Ok((ends.len() - 1 - first) as f64 * 1e6 / (last_at - first_at) as f64)
            }
            _ => {
                let said = self.last_words();
                Err(Trouble::new(format!("{} of {count} items were done: {said}", ends.len())))
            }
        }
    }

    /// Returns what the exos have said last.
    fn last_words(&self) -> String {
        let logs = fs::read_dir(&self.bed.memory).into_iter().flatten().flatten();
        let logs = logs.map(|entry| entry.path()).filter(|p| p.extension() == Some("log".as_ref()));
        let texts = logs.filter_map(|path| fs::read_to_string(path).ok());
        let last = texts.filter_map(|text| text.lines().last().map(str::to_owned));
        last.collect::<Vec<_>>().join("; ")
    }

    /// Waits likewise; returns what share of the items each of so many takers had, of 1, while all were
    /// at work that did anything.
    pub(crate) fn shares(&self, count: u64, takers: usize) -> Result<Vec<f64>> {
        self.wait_for_end(count)?;
        together(&self.ends()?, takers)
    }

    /// Returns the KiB that only exo's processes have.
    pub(crate) fn memory() -> Result<u64> {
        let mut sum = 0;
        for process in processes::all()?.iter().filter(|process| process.name.starts_with("exo")) {
            sum += process.memory()?.private;
        }
        Ok(sum)
    }
}

/// Returns the share of each taker of the ends, each with when it was, from when the last of them had its
/// first until one had its last. Whoever has none at all has 0.
fn together(ends: &[(i64, i64)], takers: usize) -> Result<Vec<f64>> {
    let mut spans: HashMap<i64, (i64, i64)> = HashMap::new();
    for &(taker, at) in ends {
        spans.entry(taker).or_insert((at, at)).1 = at;
    }
    let begun = spans.values().map(|span| span.0).max().unwrap_or(0);
    let ended = spans.values().map(|span| span.1).min().unwrap_or(0);
    let mut counts: HashMap<i64, f64> = spans.keys().map(|taker| (*taker, 0.0)).collect();
    for (taker, at) in ends {
        if (begun..ended).contains(at)
            && let Some(count) = counts.get_mut(taker)
        {
            *count += 1.0;
        }
    }
    let all: f64 = counts.values().sum();
    if all == 0.0 || counts.len() > takers {
        return Err(Trouble::new(format!(
            "{} of {takers} takers ended {} items, none while all were at work",
            counts.len(),
            ends.len()
        )));
    }
    let idle = std::iter::repeat_n(0.0, takers - counts.len());
    Ok(counts.into_values().map(|count| count / all).chain(idle).collect())
}

fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().unable(|| "find this program".into())?;
    Ok(own.with_file_name(name))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let done = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
    done.unable(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_nothing_has_no_share_and_counts() {
        let ends = [(1, 0), (2, 1), (1, 2), (1, 3), (2, 4), (2, 5), (1, 6)];
        let mut shares = together(&ends, 3).unwrap();
        shares.sort_by(f64::total_cmp);
        assert_eq!(shares, [0.0, 0.5, 0.5]);
        assert!(together(&ends, 1).is_err(), "there are two");
        assert!(together(&[(1, 0), (1, 1), (2, 2), (2, 3)], 2).is_err(), "one after the other");
        assert!(together(&[], 2).is_err());
    }
}
