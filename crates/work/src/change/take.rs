//! Taking a job from a queue.

use super::blob;
use super::lease::SPOILT_ITEM;
use super::line::Line;
use super::row::{self, Job, columns, step};
use super::taker::holders;
use super::tx::{Stop, Tx};
use super::{Applied, Ask, Ended, JobId, Lease, Policy, Taken, TakerId};
use crate::item::{self, Invalid};
use machine::time::{Mono, earlier};
use machine::work::{Event, Fault};
use rusqlite::{Row, params};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::rc::Rc;

/// What is read of a job that is taken, and of its item, which is given whole up to so many bytes.
macro_rules! found {
    ($whole:literal) => {
        concat!(
            "SELECT ",
            // What rests is not taken.
            columns!("0"),
            ", sum, length(bytes), iif(length(bytes) > ",
            $whole,
            ", NULL, bytes) FROM job j LEFT JOIN item i ON i.job = j.id WHERE "
        )
    };
}

/// The jobs of a label of a queue of which some may be taken.
macro_rules! ready {
    () => {
        "queue = ?1 AND label = ?2 AND state = 'ready' AND holder IS NULL AND due IS NULL"
    };
}

/// Nothing but a lock keeps one of them from being taken. What does is told by `Reader::why_waiting` in
/// the same order.
macro_rules! fit {
    () => {
        "(?3 OR wary = 0 AND count = 0)
        AND (request IS NULL OR EXISTS (SELECT 1 FROM request r
            WHERE r.id = j.request AND r.fault = 0 AND r.state IN ('ready', 'run')))
        AND (dependency IS NULL OR EXISTS (SELECT 1 FROM dependency d
            WHERE d.id = j.dependency AND d.fault = 0 AND d.state = 'stop'))
        AND NOT EXISTS (SELECT 1 FROM job c WHERE c.parent = j.id AND c.state <> 'stop')"
    };
}

/// Nor does a lock.
macro_rules! free {
    () => {
        "(key IS NULL OR NOT EXISTS (SELECT 1 FROM lock WHERE name = j.key))"
    };
}

/// The first job of a label in the order of a queue that nothing keeps from being taken, where nobody is
/// behind another.
const FIRST: &str = concat!(
    found!("?4"),
    ready!(),
    " AND behind IS NULL AND ",
    fit!(),
    " AND ",
    free!(),
    " ORDER BY priority DESC, id LIMIT 1"
);

/// The same where somebody is: all who are in front, in the order of the queue, but for those whose lock
/// is somebody's. Without a key they may be taken; with one, they or somebody behind them.
pub(crate) const FRONTS: &str = concat!(
    "SELECT priority, id, key FROM job j LEFT JOIN item i ON i.job = j.id WHERE ",
    ready!(),
    " AND behind IS NULL AND (key IS NOT NULL OR ",
    fit!(),
    ") AND ",
    free!(),
    " ORDER BY priority DESC, id"
);

/// The first of a line that may be taken.
pub(crate) const OF_LINE: &str = concat!(
    "SELECT priority, id FROM job j LEFT JOIN item i ON i.job = j.id WHERE key = ?4 AND ",
    ready!(),
    " AND ",
    fit!(),
    " ORDER BY priority DESC, id LIMIT 1"
);

/// The active labels that have a job of a queue which may be taken, in the order of taking, and whether
/// somebody is behind another there.
pub(crate) const ACTIVE_LABELS: &str = "
    SELECT id, EXISTS (SELECT 1 FROM job WHERE queue = ?1 AND label = l.id AND behind = 1
        AND state = 'ready' AND holder IS NULL AND due IS NULL)
    FROM label l WHERE active = 1 AND EXISTS (SELECT 1 FROM job
        WHERE queue = ?1 AND label = l.id AND state = 'ready' AND holder IS NULL
        AND due IS NULL)
    ORDER BY known DESC, priority DESC, id";

/// Bytes of an item up to which it may be at hand, and a taker has any number in hand: there may be
/// many. What keeps a larger one is told by `Reader::why_waiting`.
pub(crate) const SMALL: i64 = 16 << 10;
/// Bytes that larger ones may have together, where it is more than one: however large one may be.
pub(crate) const TOGETHER: i64 = item::LARGEST as i64;

/// Why nobody can work on an item.
struct Unfit<'a> {
    left: &'a [u8],
    fault: Fault,
    signature: &'static str,
    why: String,
}

impl<'a> Unfit<'a> {
    fn damaged(left: &'a [u8]) -> Self {
        let why = SPOILT_ITEM.to_owned();
        Self { left, fault: Fault::SYSTEM, signature: "damaged item", why }
    }

    fn too_long(left: &'a [u8], limit: usize) -> Self {
        let why = Invalid::TooLong { bytes: left.len(), limit }.to_string();
        Self { left, fault: Fault::INVALID, signature: "item too long", why }
    }
}

/// An item as it is stored.
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    /// It is what was submitted.
    pub(super) is_whole: bool,
}

/// A job that may be taken, and what was read of its item.
struct Found {
    job: Job,
    sum: Option<i64>,
    bytes: Option<i64>,
    given: Option<Vec<u8>>,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let at = row::COLUMNS;
        let (sum, bytes, given) = (row.get(at)?, row.get(at + 1)?, row.get(at + 2)?);
        Ok(Self { job: row::job(row)?, sum, bytes, given })
    }
}

/// A label that has something to be taken.
#[derive(Clone, Copy)]
struct Label {
    id: i64,
    /// Somebody is behind another of the same key, or was.
    has_lines: bool,
}

/// Which of those that may be taken are looked for.
#[derive(Clone, Copy)]
enum Size {
    Any,
    /// Those with a small item.
    Small,
}

impl Size {
    /// Returns a question for what is fit, of this size.
    fn of(self, sql: &'static str) -> Cow<'static, str> {
        match self {
            Self::Any => sql.into(),
            Self::Small => {
                let small = format!("length(bytes) <= {SMALL} AND (?3 OR");
                sql.replace("(?3 OR", &small).into()
            }
        }
    }
}

/// Priority and number of a job: who is taken first is less.
type Place = (Reverse<i64>, i64);

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok((Reverse(row.get(0)?), row.get(1)?))
}

/// What a transaction has found out: nobody else changes anything meanwhile.
#[derive(Default)]
pub(super) struct Looked {
    /// A taker with its queue and policy.
    pub(super) taker: Option<(TakerId, Rc<str>, Policy)>,
    /// Whose lease is long enough.
    pub(super) prolonged: Option<TakerId>,
    /// The queue in which nothing rests whose delay is over.
    pub(super) roused: Option<Rc<str>>,
    /// All labels of a queue that have something to be taken, at least.
    labels: Option<(Rc<str>, Rc<[Label]>)>,
    /// Who asked like this found nothing, and nothing has changed since.
    dry: Option<(TakerId, Ask, Option<Mono>)>,
}

impl Looked {
    /// Something else was changed than what is taken: there may be more to take.
    pub(super) fn stir(&mut self) {
        (self.labels, self.dry) = (None, None);
    }
}

impl Tx<'_> {
    pub(super) fn take(
        &mut self,
        taker: TakerId,
        ask: Ask,
        instance: &str,
    ) -> Result<Applied, Stop> {
        if let Some((who, found_dry, next)) = self.looked.dry
            && who == taker
            && (found_dry == ask || found_dry == Ask::Now)
        {
            return Ok(Applied::Nothing { next });
        }
        let (queue, policy) = self.taker(taker)?;
        self.rouse(&queue)?;
        // The first one waits for room. It gets the next room there is, so that only small ones pass.
        let mut waits = false;
        for &label in &*self.labels(&queue)? {
            while let Some(found) = self.first_with_room(&queue, label, taker, ask, &mut waits)? {
                let stored = self.whole(found.job.id, found.sum, found.given)?;
                if let Some(taken) = self.seize(found.job, stored, taker, ask, instance, policy)? {
                    return Ok(taken);
                }
            }
        }
        self.nothing(&queue, taker, ask)
    }

    /// Makes what rests in a queue ready again where its delay is over.
    fn rouse(&mut self, queue: &Rc<str>) -> Result<(), Stop> {
        if self.looked.roused.as_ref() == Some(queue) {
            return Ok(());
        }
        let now = self.now.mono.0.cast_signed();
        // Looked for first: the change begins with a table of the jobs that it is for.
        let due = "SELECT 1 FROM job WHERE queue = ?1 AND due <= ?2 LIMIT 1";
        if self.first(due, params![queue, now], |_| Ok(()))?.is_some() {
            self.rouse_keyed(queue, now)?;
            self.execute(
                "UPDATE job SET due = NULL, due_at = NULL WHERE queue = ?1 AND due <= ?2",
                params![queue, now],
            )?;
        }
        self.looked.roused = Some(Rc::clone(queue));
        Ok(())
    }

    /// The same for those that stand in line then: one comes after the other.
    fn rouse_keyed(&self, queue: &str, now: i64) -> Result<(), Stop> {
        let sql = "SELECT id, label, key FROM job
            WHERE queue = ?1 AND due <= ?2 AND key IS NOT NULL";
        let read = |row: &Row<'_>| Ok((JobId(row.get(0)?), row.get(1)?, row.get::<_, String>(2)?));
        for (job, label, key) in self.all(sql, params![queue, now], read)? {
            self.execute("UPDATE job SET due = NULL, due_at = NULL WHERE id = ?1", [job.0])?;
            self.line_up(job, Line { queue, label, key: Some(&key) })?;
        }
        Ok(())
    }

    fn labels(&mut self, queue: &Rc<str>) -> Result<Rc<[Label]>, Stop> {
        if let Some((of, labels)) = &self.looked.labels
            && of == queue
        {
            return Ok(Rc::clone(labels));
        }
        let read = |row: &Row<'_>| Ok(Label { id: row.get(0)?, has_lines: row.get(1)? });
        let labels: Rc<[Label]> = self.all(ACTIVE_LABELS, [queue], read)?.into();
        self.looked.labels = Some((Rc::clone(queue), Rc::clone(&labels)));
        Ok(labels)
    }

    fn first_of(
        &self,
        size: Size,
        queue: &str,
        label: Label,
        ask: Ask,
    ) -> Result<Option<Found>, Stop> {
        // What is too large to be at hand is not read for that.
        let (wary_too, whole) = match ask {
            Ask::Now => (true, i64::from(blob::WHOLE)),
            Ask::Ahead => (false, SMALL),
        };
        if !label.has_lines {
            let params = params![queue, label.id, wary_too, whole];
            return Ok(self.first(&size.of(FIRST), params, Found::read)?);
        }
        let Some(id) = self.first_in_lines(size, queue, label.id, wary_too)? else {
            return Ok(None);
        };
        Ok(self.first(concat!(found!("?2"), "id = ?1"), params![id, whole], Found::read)?)
    }

    /// Returns the first of a label that may be taken. Whoever is behind another comes after that one, so
    /// nobody need be looked at who comes after what was found.
    fn first_in_lines(
        &self,
        size: Size,
        queue: &str,
        label: i64,
        wary_too: bool,
    ) -> Result<Option<i64>, Stop> {
        let of_line = size.of(OF_LINE);
        let mut fronts = self.statement(&size.of(FRONTS))?;
        let mut fronts = fronts.query(params![queue, label, wary_too])?;
        let mut first: Option<Place> = None;
        while let Some(row) = fronts.next()? {
            let front = place(row)?;
            let found = match row.get::<_, Option<String>>(2)? {
                None => Some(front),
                Some(key) => self.first(&of_line, params![queue, label, wary_too, key], place)?,
            };
            first = first.into_iter().chain(found).min();
            if first.is_some_and(|first| first <= front) {
                break;
            }
        }
        Ok(first.map(|(_, id)| id))
    }

    fn nothing(&mut self, queue: &str, taker: TakerId, ask: Ask) -> Result<Applied, Stop> {
        let next = self.next_change(queue, taker)?;
        self.looked.dry = Some((taker, ask, next));
        Ok(Applied::Nothing { next })
    }

    /// Returns the first job of a label that a taker has room for: a small one where another waits.
    fn first_with_room(
        &self,
        queue: &str,
        label: Label,
        taker: TakerId,
        ask: Ask,
        waits: &mut bool,
    ) -> Result<Option<Found>, Stop> {
        if !*waits {
            match self.first_of(Size::Any, queue, label, ask)? {
                Some(found) if !self.has_room(&found, taker, ask)? => *waits = true,
                first => return Ok(first),
            }
        }
        self.first_small(queue, label, ask)
    }

    /// Returns what may be taken while the first job waits for room: it is the next one as soon as
    /// there is some. Nothing to have at hand, where whoever has it would never come to the first.
    fn first_small(&self, queue: &str, label: Label, ask: Ask) -> Result<Option<Found>, Stop> {
        if ask == Ask::Ahead {
            return Ok(None);
        }
        self.first_of(Size::Small, queue, label, ask)
    }

    /// Tells whether a taker may have this job's item in memory beside what it has in hand.
    fn has_room(&self, found: &Found, taker: TakerId, ask: Ask) -> Result<bool, Stop> {
        let bytes = found.bytes.unwrap_or_default();
        if ask == Ask::Ahead || bytes <= SMALL {
            return Ok(bytes <= SMALL);
        }
        let sql = "SELECT coalesce(sum(length(bytes)), 0) FROM job JOIN item ON item.job = job.id
            WHERE holder = ?1 AND length(bytes) > ?2";
        let others: i64 =
            self.first(sql, params![taker.0, SMALL], |row| row.get(0))?.unwrap_or_default();
        Ok(others == 0 || others + bytes <= TOGETHER)
    }

    /// Returns when something may be to be taken without anybody ringing.
    fn next_change(&self, queue: &str, taker: TakerId) -> Result<Option<Mono>, Stop> {
        let mono = |row: &Row<'_>| {
            row.get::<_, Option<i64>>(0).map(|at| at.map(|at| Mono(at.unsigned_abs())))
        };
        let due = "SELECT min(due) FROM job WHERE queue = ?1 AND due IS NOT NULL";
        let due = self.first(due, [queue], mono)?.flatten();
        let lease = concat!(
            "SELECT min(lease_until) FROM taker t WHERE id <> ?2
                AND (queue = ?1 AND EXISTS (SELECT 1 FROM job WHERE holder = t.id) OR id IN ",
            holders!(),
            ")"
        );
        let lease = self.first(lease, params![queue, taker.0], mono)?.flatten();
        Ok(earlier(due, lease))
    }

    /// Gives a ready job to a taker: holder, lease number, lock, and the attempt where it begins.
    /// `None` = nobody can work on its item, and it has stopped.
    pub(super) fn seize(
        &mut self,
        job: Job,
        Stored { bytes: item, is_whole }: Stored,
        taker: TakerId,
        ask: Ask,
        instance: &str,
        policy: Policy,
    ) -> Result<Option<Applied>, Stop> {
        if !is_whole {
            self.spoil(job, &Unfit::damaged(&item), taker, instance, policy)?;
            return Ok(None);
        }
        let limit = self.policy(taker)?.largest;
        if item.len() > limit {
            self.spoil(job, &Unfit::too_long(&item, limit), taker, instance, policy)?;
            return Ok(None);
        }
        let leased = step(job.subject, Event::Leased, policy.limit)?;
        let next = match (ask, leased.subject()) {
            (Ask::Now, Some(leased)) => step(leased, Event::Begun, policy.limit)?,
            _ => leased,
        };
        if let Some(key) = &job.key {
            self.execute(
                "INSERT INTO lock (name, job, since_at) VALUES (?1, ?2, ?3)",
                params![key, job.id.0, self.now.wall.0],
            )?;
        }
        let mut seized = Job { holder: Some(taker.0), lease: job.lease + 1, ..job };
        let lease = Lease { job: seized.id, taker, number: seized.lease };
        let attempt = seized.tries + 1;
        if ask == Ask::Now {
            seized.start(taker, instance, self.now.wall);
            self.open_attempt(&mut seized)?;
        }
        self.put(&seized, next, policy)?;
        self.prolong(taker, policy)?;
        self.run_request(&seized)?;
        Ok(Some(Applied::Taken(Box::new(Taken {
            lease,
            attempt,
            begun: ask == Ask::Now,
            instance: instance.to_owned(),
            wfid: seized.wfid,
            identity: seized.identity,
            stage: seized.stage,
            owner: seized.owner,
            item,
        }))))
    }

    /// Ends a job whose item is not what was submitted: nobody could work on it. What is left of
    /// the item is kept with the dead.
    fn spoil(
        &mut self,
        job: Job,
        unfit: &Unfit<'_>,
        taker: TakerId,
        instance: &str,
        policy: Policy,
    ) -> Result<(), Stop> {
        // Its end may let others be taken.
        self.looked.stir();
        let leased = step(job.subject, Event::Leased, policy.limit)?;
        let begun = step(leased.subject().unwrap_or(job.subject), Event::Begun, policy.limit)?;
        let subject = begun.subject().unwrap_or(job.subject);
        let mut job = Job { subject, holder: Some(taker.0), lease: job.lease + 1, ..job };
        job.start(taker, instance, self.now.wall);
        let ended = Ended {
            fault: unfit.fault,
            text: Some(unfit.why.clone()),
            signature: Some(unfit.signature.to_owned()),
            ..Ended::default()
        };
        let next = step(job.subject, Event::Ended(ended.fault), policy.limit)?;
        self.bury(&job.queue, job.owner, Some(job.id), ended.fault, &unfit.why, unfit.left)?;
        self.close(&mut job, "ended", &ended, next, policy)?;
        Ok(())
    }

    /// Reads a job's item, also where it is not what was submitted any more.
    pub(super) fn stored(&self, job: JobId) -> Result<Stored, Stop> {
        let sql = "SELECT sum, iif(length(bytes) > ?2, NULL, bytes) FROM item WHERE job = ?1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (sum, given) = self.first(sql, params![job.0, blob::WHOLE], read)?.unwrap_or_default();
        self.whole(job, sum, given)
    }

    /// Reads what was not given of an item.
    fn whole(&self, job: JobId, sum: Option<i64>, given: Option<Vec<u8>>) -> Result<Stored, Stop> {
        // One that is gone is damaged, too.
        let Some(sum) = sum else { return Ok(Stored { is_whole: false, bytes: Vec::new() }) };
        let bytes = self.fetch(blob::ITEM, job.0, given)?;
        Ok(Stored { is_whole: item::checksum(&bytes) == sum, bytes })
    }

    pub(super) fn prolong(&mut self, taker: TakerId, policy: Policy) -> Result<(), Stop> {
        if self.looked.prolonged == Some(taker) {
            return Ok(());
        }
        // Not with each item: a third of the lease may pass.
        let until = self.now.mono.after(policy.lease).0.cast_signed();
        let soon = self.now.mono.after(policy.lease * 2 / 3).0.cast_signed();
        let sql = "UPDATE taker SET lease_until = ?2 WHERE id = ?1 AND lease_until < ?3";
        self.execute(sql, params![taker.0, until, soon])?;
        self.looked.prolonged = Some(taker);
        Ok(())
    }
}
