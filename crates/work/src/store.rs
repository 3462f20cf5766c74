//! The store: opened by whoever writes, changed by [`Store::apply`] alone.

mod log;
#[cfg(test)]
pub(crate) mod tests;

use crate::bell::{Bell, Bells};
use crate::change::tx::{Care, Own, Stop, Tx};
use crate::change::{Again, Applied, Change, JobId, Lease, Refused, TakerId};
use crate::clock::{Clock, Now};
use crate::gate::Gate;
use crate::open::{self, Safety};
use crate::place::{Identity, Place, identity};
use crate::trouble::Trouble;
use log::{fill, is_unflushed, move_log, shorten, unless_gone};
use machine::work::Fault;
use rusqlite::{Connection, Row, TransactionBehavior};
use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why one change was not made.
#[derive(Debug)]
pub enum Error {
    /// It may not be.
    Refused(Refused),
    /// It could not be; later it may.
    Trouble(Trouble),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Trouble(trouble) => trouble.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Transactions after which the log is moved into the file where there is time for it. `SQLite` does so by
/// itself behind the one that fills a thousand pages: of items that come alone behind some two hundred.
const UNMOVED: u32 = 60;

/// Whether changes are made only where none of them is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Together {
    Yes,
    No,
}

/// When what is made is to survive what all else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Now,
    Later,
}

impl Together {
    fn allows(self, answers: &[Result<Applied, Refused>]) -> bool {
        self == Self::No || answers.iter().all(Result::is_ok)
    }
}

/// A store, open for changes. Many processes may have it open; one changes it at a time.
///
/// The only way to change it is a [`Change`], which is a value:
///
/// ```
/// use work::{Applied, Change, Error, Store};
/// fn once(store: &mut Store, change: &Change) -> Result<Applied, Error> {
///     store.apply(change)
/// }
/// ```
///
/// So nobody can wait, or do anything else, while a transaction is open:
///
/// ```compile_fail,E0308
/// use work::{Applied, Error, Store};
/// fn once(store: &mut Store) -> Result<Applied, Error> {
///     store.apply(|_: &mut Store| std::thread::park())
/// }
/// ```
///
/// nor have what a transaction is made of:
///
/// ```
/// use work::Store;
/// fn raw(store: &mut Store) {
///     let _ = &mut *store;
/// }
/// ```
///
/// ```compile_fail,E0616
/// use work::Store;
/// fn raw(store: &mut Store) {
///     let _ = &mut store.conn;
/// }
/// ```
pub struct Store {
    /// `None` = it was locked, and is opened anew when it is used next: where a call that unlocks
    /// has failed, it holds its own locks against itself for ever.
    conn: Option<Connection>,
    place: Place,
    safety: Safety,
    gate: Gate,
    bells: Bells,
    clock: Arc<dyn Clock>,
    own: Vec<Own>,
    path: PathBuf,
    file: Identity,
    /// What was found out about the file. Nothing is written from then on.
    damage: Option<String>,
    /// What was committed may not be on the disk, and what is committed behind it be of no use there: the
    /// kernel takes for written what it could not write, and says so once.
    holes: bool,
    /// Transactions since [`Self::tidy`] moved the log into the file.
    unmoved: u32,
}

impl Store {
    /// Opens the store in a folder; makes it where there is none.
    ///
    /// Waits while another process is making a change.
    ///
    /// # Errors
    /// [`Trouble`], and nothing is changed: the file is another program's, newer than we know, or
    /// damaged; the folder cannot be written.
    pub fn open(place: &Place, clock: Arc<dyn Clock>, safety: Safety) -> Result<Self, Trouble> {
        place.make()?;
        let gate = Gate::open(place)?;
        let entered = gate.enter()?;
        let path = place.database();
        let boot = clock.boot();
        let before = identity(&path).ok();
        let mut conn = open::writer(place, safety, &boot)?;
        let file = identity(&path).map_err(|e| Trouble::io("look at", &path, e))?;
        has_its_name(&path, before.unwrap_or(file))?;
        let bells = Bells::open(place)?;
        let mut own = Vec::new();
        let now = clock.now();
        first_in_boot(&mut conn, &path, now, &bells, &mut own, &boot)?;
        drop(entered);
        let (conn, place) = (Some(conn), place.clone());
        Ok(Self {
            conn,
            place,
            safety,
            gate,
            bells,
            clock,
            own,
            path,
            file,
            damage: None,
            holes: false,
            unmoved: 0,
        })
    }

    /// Makes one change. When this returns it is safe on disk, as far as [`Safety`] says.
    ///
    /// # Errors
    /// [`Error::Refused`] where it may not be, [`Error::Trouble`] where it could not be; nothing
    /// has changed.
    pub fn apply(&mut self, change: &Change) -> Result<Applied, Error> {
        match self.apply_all(std::slice::from_ref(change))?.pop() {
            Some(applied) => applied.map_err(Error::Refused),
            None => Err(Error::Refused(Refused::Senseless("no change"))),
        }
    }

    /// Makes several changes in one transaction; each may be refused by itself. Answers in the
    /// same order.
    ///
    /// # Errors
    /// [`Trouble`]: none of them was made.
    pub fn apply_all(
        &mut self,
        changes: &[Change],
    ) -> Result<Vec<Result<Applied, Refused>>, Trouble> {
        self.make(changes, Together::No, Flush::Now)
    }

    /// As [`Self::apply_all`], for what nobody is answered yet: others see it, whoever is killed finds it,
    /// and a power cut may take it back until [`Self::flush`], or the next of the other changes.
    ///
    /// # Errors
    /// [`Trouble`]: none of them was made.
    pub(crate) fn apply_all_unflushed(
        &mut self,
        changes: &[Change],
    ) -> Result<Vec<Result<Applied, Refused>>, Trouble> {
        self.make(changes, Together::No, Flush::Later)
    }

    /// Has what [`Self::apply_all_unflushed`] made survive what all else does.
    ///
    /// # Errors
    /// [`Trouble`]: it may not.
    pub(crate) fn flush(&mut self) -> Result<(), Trouble> {
        if self.safety == Safety::Kill {
            return Ok(());
        }
        if self.holes {
            return self.look_behind(|_| Ok(()));
        }
        // No lock of the database is on this file, so that closing it lets go of none. Of a failure that
        // another descriptor was told before it hears nothing: the next commit does.
        let path = self.place.log();
        let flushed = unless_gone(File::open(&path).and_then(|log| log.sync_data()));
        self.holes = flushed.is_err();
        flushed.map_err(|e| Trouble::io("write", &path, e))
    }

    /// Makes several changes in one transaction, or where one of them is refused none. Answers in the
    /// same order, also for those that would have been made.
    ///
    /// # Errors
    /// [`Trouble`]: none of them was made.
    pub fn apply_all_or_none(
        &mut self,
        changes: &[Change],
    ) -> Result<Vec<Result<Applied, Refused>>, Trouble> {
        self.make(changes, Together::Yes, Flush::Now)
    }

    fn make(
        &mut self,
        changes: &[Change],
        together: Together,
        flush: Flush,
    ) -> Result<Vec<Result<Applied, Refused>>, Trouble> {
        if let Some(what) = &self.damage {
            return Err(Trouble::Damaged { path: self.path.clone(), what: what.clone() });
        }
        let own = self.own.len();
        self.unmoved = self.unmoved.saturating_add(1);
        let made = self.transact(changes, together, flush);
        if !made.as_ref().is_ok_and(|made| together.allows(made)) {
            // Takers that were to be opened are not.
            self.own.truncate(own);
        }
        if let Err(trouble) = &made {
            self.had(trouble);
        }
        made
    }

    fn had(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Damaged { what, .. } => self.damage = Some(what.clone()),
            Trouble::Locked { .. } => self.conn = None,
            _ => {}
        }
    }

    fn transact(
        &mut self,
        changes: &[Change],
        together: Together,
        flush: Flush,
    ) -> Result<Vec<Result<Applied, Refused>>, Trouble> {
        let Self { conn, place, safety, gate, bells, clock, own, path, file, holes, .. } = self;
        let _entered = gate.enter()?;
        has_its_name(path, *file)?;
        bells.follow(place)?;
        let conn = opened(conn, place, *safety, (&**clock, *file))?;
        fill(conn, place, holes)?;
        let is_later = flush == Flush::Later && *safety == Safety::Power;
        if is_later {
            open::put_off_flushes(conn, true).map_err(|error| Trouble::database(path, &error))?;
        }
        let takers = own.len();
        let mut make_all = |care| {
            own.truncate(takers);
            make_all(conn, (clock.now(), bells, own), (changes, together), care)
        };
        let mut made = make_all(Care::Less);
        if let Err(Stop::Halfway) = made {
            made = make_all(Care::More);
        }
        *holes = matches!(&made, Err(Stop::Sql(error)) if is_unflushed(error));
        let is_stuck = is_later && open::put_off_flushes(conn, false).is_err();
        let answers = made.map_err(|stop| trouble(path, stop));
        let is_compacted = |came: &_| matches!(came, Ok(Applied::Compacted { has_more: false }));
        if answers.as_ref().is_ok_and(|answers| answers.iter().any(is_compacted)) {
            *holes |= shorten(conn, path).is_err_and(|error| is_unflushed(&error));
        }
        if is_stuck {
            // Opened anew it flushes what comes next.
            self.conn = None;
        }
        answers
    }

    /// Moves the log into the file, where there is enough in it. That takes some milliseconds: whoever
    /// calls it has nothing else to do.
    ///
    /// # Errors
    /// The file is damaged. What else hinders it is passed over: everything is as safe as before.
    pub(crate) fn tidy(&mut self) -> Result<(), Trouble> {
        if self.conn.is_none() || self.unmoved < UNMOVED || self.damage.is_some() {
            return Ok(());
        }
        self.unmoved = 0;
        let tidied = self.move_and_begin_anew().inspect_err(|trouble| self.had(trouble));
        tidied.or_else(|trouble| if self.damage.is_some() { Err(trouble) } else { Ok(()) })
    }

    fn move_and_begin_anew(&mut self) -> Result<(), Trouble> {
        let Some(conn) = &self.conn else { return Ok(()) };
        let _entered = self.gate.enter()?;
        let moved = move_log(conn).and_then(|is_all| {
            // Whoever begins the log anew waits for the disk twice: that is done here, too. What does not
            // change anything would write nothing.
            let anew = "REPLACE INTO meta VALUES ('log', hex(randomblob(8)))";
            if is_all { conn.execute(anew, []).map(drop) } else { Ok(()) }
        });
        self.holes |= moved.as_ref().is_err_and(is_unflushed);
        moved.map_err(|error| Trouble::database(&self.path, &error))
    }

    /// Returns the bell of a taker that was opened here, once.
    pub(crate) fn bell(&mut self, taker: TakerId) -> Option<Bell> {
        self.own.iter_mut().find(|own| own.taker == taker)?.bell.take()
    }

    /// Tells whether others find a taker's socket, as far as one can see.
    pub(crate) fn is_named(&self, taker: TakerId) -> bool {
        // Who has another file does not ring here.
        let is_ours = has_its_name(&self.path, self.file);
        self.bells.has(taker) && !matches!(is_ours, Err(Trouble::Replaced { .. }))
    }

    /// Gives the socket of a taker that was opened here its name again, unless somebody took it for dead
    /// meanwhile; `None` = so it is.
    pub(crate) fn name_again(&mut self, taker: TakerId) -> Result<Option<Bell>, Trouble> {
        self.bind_again(taker).inspect_err(|trouble| self.had(trouble))
    }

    fn bind_again(&mut self, taker: TakerId) -> Result<Option<Bell>, Trouble> {
        let Self { conn, place, safety, gate, bells, clock, own, path, file, .. } = self;
        let _entered = gate.enter()?;
        has_its_name(path, *file)?;
        bells.follow(place)?;
        let conn = opened(conn, place, *safety, (&**clock, *file))?;
        let found = Tx::new(conn, clock.now(), bells, own).taker(taker).map(drop);
        match found {
            Ok(()) => bells.bind(taker).map(Some),
            Err(Stop::Refused(_)) => Ok(None),
            Err(stop) => Err(trouble(path, stop)),
        }
    }

    /// Ends the life of a taker that was opened here, where nobody else has: what it had is lost.
    pub(crate) fn end_life(&mut self, taker: TakerId) -> Result<(), Trouble> {
        let _ = self.apply_all(&[Change::CloseTaker(taker)])?;
        self.own.retain(|own| own.taker != taker);
        Ok(())
    }

    pub(crate) fn button(&self, taker: TakerId) -> Result<UnixDatagram, Trouble> {
        self.bells.button(taker).map_err(|e| Trouble::io("connect to a socket of", &self.path, e))
    }

    /// Returns what a taker has in hand, and why it is to stop where it is, by the reason's code. Waits
    /// for whoever writes: it is rung for before it is committed.
    pub(crate) fn in_hand(
        &mut self,
        taker: TakerId,
    ) -> Result<Vec<(Lease, Option<Fault>)>, Trouble> {
        let sql = "SELECT id, lease, iif(state = 'cancelling', fault, NULL) FROM job
            WHERE holder = ?1";
        let read = |row: &Row<'_>| {
            let (job, number) = (JobId(row.get(0)?), row.get(1)?);
            Ok((Lease { job, taker, number }, row.get::<_, Option<u16>>(2)?.map(Fault)))
        };
        self.look_behind(|tx| Ok(tx.all(sql, [taker.0], read)?))
    }

    /// Returns what of a queue another broker is to be sent again. Waits for whoever writes, as
    /// [`Self::in_hand`].
    pub(crate) fn unsent(&mut self, queue: &str) -> Result<Vec<Again>, Trouble> {
        self.look_behind(|tx| tx.unsent(queue))
    }

    /// Looks at what is there once whoever writes has done so.
    fn look_behind<T>(
        &mut self,
        at: impl FnOnce(&Tx<'_>) -> Result<T, Stop>,
    ) -> Result<T, Trouble> {
        self.found_behind(at).inspect_err(|trouble| self.had(trouble))
    }

    fn found_behind<T>(
        &mut self,
        at: impl FnOnce(&Tx<'_>) -> Result<T, Stop>,
    ) -> Result<T, Trouble> {
        let Self { conn, place, safety, gate, bells, clock, own, path, file, holes, .. } = self;
        let entered = gate.enter()?;
        let conn = opened(conn, place, *safety, (&**clock, *file))?;
        fill(conn, place, holes)?;
        let found = at(&Tx::new(conn, clock.now(), bells, own));
        drop(entered);
        found.map_err(|stop| trouble(path, stop))
    }

    /// Returns what is to be sent to the sender of a job that has stopped, and the number of the attempt
    /// that it is of; `None` = nothing.
    pub(crate) fn answer(&mut self, job: JobId) -> Result<Option<(Vec<u8>, u32)>, Trouble> {
        self.look(|tx| tx.answer_of(job))
    }

    /// Returns a job's queue and its item; `None` = it is gone, or damaged.
    pub(crate) fn item(&mut self, job: JobId) -> Result<Option<(String, Vec<u8>)>, Trouble> {
        self.look(|tx| tx.item_of(job))
    }

    /// Tells whether a job was ended by a cancel.
    pub(crate) fn is_cancelled(&mut self, job: JobId) -> Result<bool, Trouble> {
        Ok(self.look(|tx| tx.is_cancelled(job).map(Some))?.unwrap_or_default())
    }

    fn look<T>(
        &mut self,
        at: impl FnOnce(&Tx<'_>) -> Result<Option<T>, Stop>,
    ) -> Result<Option<T>, Trouble> {
        let Self { conn, place, safety, gate, bells, clock, own, path, file, .. } = self;
        let entered = if conn.is_none() { Some(gate.enter()?) } else { None };
        let conn = opened(conn, place, *safety, (&**clock, *file))?;
        drop(entered);
        match at(&Tx::new(conn, clock.now(), bells, own)) {
            Ok(found) => Ok(found),
            Err(Stop::Refused(_)) => Ok(None),
            Err(stop) => Err(trouble(path, stop)),
        }
    }

    /// Returns the moment it is, by the store's clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }
}

/// Opens it anew where it was locked: what cannot be read is not to read as empty.
fn opened<'a>(
    conn: &'a mut Option<Connection>,
    place: &Place,
    safety: Safety,
    (clock, file): (&dyn Clock, Identity),
) -> Result<&'a mut Connection, Trouble> {
    if conn.is_none() {
        has_its_name(&place.database(), file)?;
    }
    match conn {
        Some(conn) => Ok(conn),
        None => Ok(conn.insert(open::writer(place, safety, &clock.boot())?)),
    }
}

/// Makes changes in one transaction; of one that stops, or is not to be made, nothing is left, but for
/// takers in `own`.
fn make_all(
    conn: &mut Connection,
    (now, bells, own): (Now, &Bells, &mut Vec<Own>),
    (changes, together): (&[Change], Together),
    care: Care,
) -> Result<Vec<Result<Applied, Refused>>, Stop> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut within = Tx::new(&tx, now, bells, own).with(care);
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        answers.push(match within.make(change) {
            Ok(applied) => Ok(applied),
            Err(Stop::Refused(refused)) => Err(refused),
            Err(other) => return Err(other),
        });
    }
    if together.allows(&answers) {
        within.complete()?;
        tx.commit()?;
    }
    Ok(answers)
}

/// Says what a transaction was stopped by.
fn trouble(path: &Path, stop: Stop) -> Trouble {
    match stop {
        Stop::Sql(error) => Trouble::database(path, &error),
        Stop::Trouble(trouble) => trouble,
        Stop::Refused(refused) => {
            Trouble::Database { path: path.to_owned(), what: refused.to_string() }
        }
        Stop::Halfway => {
            let what = "a change was refused when part of it was made".to_owned();
            Trouble::Database { path: path.to_owned(), what }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Puts the store into this run of the machine, where it is of an earlier one.
fn first_in_boot(
    conn: &mut Connection,
    path: &Path,
    now: Now,
    bells: &Bells,
    own: &mut Vec<Own>,
    boot: &str,
) -> Result<(), Trouble> {
    let sql = |error: rusqlite::Error| Trouble::database(path, &error);
    if open::boot(conn).map_err(sql)?.as_deref() == Some(boot) {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    let mut within = Tx::new(&tx, now, bells, own);
    within.new_boot(boot).map_err(|stop| trouble(path, stop))?;
    tx.commit().map_err(sql)
}

/// Whoever writes to a file without a name is found by nobody.
fn has_its_name(path: &Path, file: Identity) -> Result<(), Trouble> {
    match identity(path) {
        Ok(found) if found == file => Ok(()),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Trouble::io("look at", path, e)),
        Ok(_) | Err(_) => Err(Trouble::Replaced { path: path.to_owned() }),
    }
}
