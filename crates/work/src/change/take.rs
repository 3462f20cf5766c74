//! Taking a job from a queue.

use super::blob;
use super::lease::SPOILT_ITEM;
use super::row::{self, Job, columns, step};
use super::taker::holders;
use super::tx::{Stop, Tx};
use super::{Applied, Ask, Ended, JobId, Lease, Policy, Taken, TakerId};
use crate::item::{self, Invalid};
use machine::time::{Mono, earlier};
use machine::work::{Event, Fault};
use rusqlite::{Row, params};
use std::rc::Rc;

/// The first job of a label in the order of a queue that nothing keeps from being taken, and its
/// item, given whole up to so many bytes. What keeps it is told by `Reader::why_waiting` in the same
/// order.
const FIRST: &str = concat!(
    "SELECT ",
    columns!(),
    ", sum, length(bytes), iif(length(bytes) > ?4, NULL, bytes)
    FROM job j LEFT JOIN item i ON i.job = j.id
    WHERE queue = ?1 AND label = ?2 AND state = 'ready' AND holder IS NULL AND due IS NULL
        AND (?3 OR wary = 0 AND count = 0)
        AND (request IS NULL OR EXISTS (SELECT 1 FROM request r
            WHERE r.id = j.request AND r.fault = 0 AND r.state IN ('ready', 'run')))
        AND (dependency IS NULL OR EXISTS (SELECT 1 FROM dependency d
            WHERE d.id = j.dependency AND d.fault = 0 AND d.state = 'stop'))
        AND NOT EXISTS (SELECT 1 FROM job c WHERE c.parent = j.id AND c.state <> 'stop')
        AND (key IS NULL OR NOT EXISTS (SELECT 1 FROM lock WHERE name = j.key))
    ORDER BY priority DESC, id LIMIT 1"
);

/// The active labels that have a job of a queue which may be taken, in the order of taking.
pub(crate) const ACTIVE_LABELS: &str = "
    SELECT id FROM label l WHERE active = 1 AND EXISTS (SELECT 1 FROM job
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
    labels: Option<(Rc<str>, Rc<[i64]>)>,
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
            self.execute(
                "UPDATE job SET due = NULL, due_at = NULL WHERE queue = ?1 AND due <= ?2",
                params![queue, now],
            )?;
        }
        self.looked.roused = Some(Rc::clone(queue));
        Ok(())
    }

    fn labels(&mut self, queue: &Rc<str>) -> Result<Rc<[i64]>, Stop> {
        if let Some((of, labels)) = &self.looked.labels
            && of == queue
        {
            return Ok(Rc::clone(labels));
        }
        let labels: Rc<[i64]> = self.all(ACTIVE_LABELS, [queue], |row| row.get(0))?.into();
        self.looked.labels = Some((Rc::clone(queue), Rc::clone(&labels)));
        Ok(labels)
    }

    fn first_of(
        &self,
        sql: &str,
        queue: &str,
        label: i64,
        ask: Ask,
    ) -> Result<Option<Found>, Stop> {
        // What is too large to be at hand is not read for that.
        let (wary_too, whole) = match ask {
            Ask::Now => (true, i64::from(blob::WHOLE)),
            Ask::Ahead => (false, SMALL),
        };
        Ok(self.first(sql, params![queue, label, wary_too, whole], Found::read)?)
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
        label: i64,
        taker: TakerId,
        ask: Ask,
        waits: &mut bool,
    ) -> Result<Option<Found>, Stop> {
        if !*waits {
            match self.first_of(FIRST, queue, label, ask)? {
                Some(found) if !self.has_room(&found, taker, ask)? => *waits = true,
                first => return Ok(first),
            }
        }
        self.first_small(queue, label, ask)
    }

    /// Returns what may be taken while the first job waits for room: it is the next one as soon as
    /// there is some. Nothing to have at hand, where whoever has it would never come to the first.
    fn first_small(&self, queue: &str, label: i64, ask: Ask) -> Result<Option<Found>, Stop> {
        if ask == Ask::Ahead {
            return Ok(None);
        }
        let small = format!("AND length(bytes) <= {SMALL} ORDER BY");
        self.first_of(&FIRST.replace("ORDER BY", &small), queue, label, ask)
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
