//! One transaction, from the inside.

use super::row::Job;
use super::take::Looked;
use super::{Applied, Change, Lease, Policy, Refused, TakerId};
use crate::bell::{Bell, Bells, Rung};
use crate::clock::Now;
use crate::trouble::Trouble;
use machine::time::Mono;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Why a change was not made.
pub(crate) enum Stop {
    /// It may not be.
    Refused(Refused),
    /// It could not be: the transaction is over.
    Trouble(Trouble),
    /// The same, in the database's words.
    Sql(rusqlite::Error),
    /// It may not be, and part of it is made: the transaction is to be made anew, with care.
    Halfway,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Whom to wake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ring {
    /// Who takes from this queue: something can be taken, or another delay ends first.
    Queue(String),
    /// Everybody.
    All,
    /// The holder of a job that was cancelled.
    Holder(TakerId),
}

/// A taker of this process.
pub(crate) struct Own {
    pub(crate) taker: TakerId,
    /// As long as nobody has fetched it.
    pub(crate) bell: Option<Bell>,
    pub(crate) policy: Policy,
}

/// What is done for a change of several steps, of which a later one may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Nothing: hardly any is refused. One that is, and has changed something, stops the transaction.
    Less,
    /// What it changes is kept apart until it is whole, which costs a copy of each page.
    More,
}

/// What the functions of all changes work with.
pub(crate) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) now: Now,
    pub(super) bells: &'a Bells,
    pub(super) own: &'a mut Vec<Own>,
    rings: BTreeSet<Ring>,
    care: Care,
    pub(super) looked: Looked,
    /// What was begun and is not written yet: with its end, where that comes soon.
    pub(super) begun: Vec<(Lease, Job)>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(
        conn: &'a Connection,
        now: Now,
        bells: &'a Bells,
        own: &'a mut Vec<Own>,
    ) -> Self {
        Self {
            conn,
            now,
            bells,
            own,
            rings: BTreeSet::new(),
            care: Care::More,
            looked: Looked::default(),
            begun: Vec::new(),
        }
    }

    /// Sets what is done for changes of several steps.
    pub(crate) fn with(self, care: Care) -> Self {
        Self { care, ..self }
    }

    /// Makes one change. A refused one has changed nothing.
    pub(crate) fn make(&mut self, change: &Change) -> Result<Applied, Stop> {
        if !matches!(change, Change::Take { .. }) {
            self.looked.stir();
        }
        if !matches!(change, Change::Begin { .. } | Change::End(..) | Change::Take { .. }) {
            self.write_begun()?;
        }
        match change {
            // Of several steps, of which a later one may be refused. All others check first.
            Change::Request(_)
            | Change::Expand { .. }
            | Change::Steer(..)
            | Change::Asked(..)
            | Change::Arrive { .. } => match self.care {
                Care::Less => self.make_or_stop(change),
                Care::More => self.make_apart(change),
            },
            _ => self.make_steps(change),
        }
    }

    fn make_or_stop(&mut self, change: &Change) -> Result<Applied, Stop> {
        let before = self.conn.total_changes();
        match self.make_steps(change) {
            Err(Stop::Refused(_)) if self.conn.total_changes() != before => Err(Stop::Halfway),
            made => made,
        }
    }

    fn make_apart(&mut self, change: &Change) -> Result<Applied, Stop> {
        self.conn.execute_batch("SAVEPOINT change")?;
        let made = self.make_steps(change);
        if let Err(Stop::Refused(_)) = made {
            self.conn.execute_batch("ROLLBACK TO change")?;
        }
        self.conn.execute_batch("RELEASE change")?;
        made
    }

    pub(super) fn make_steps(&mut self, change: &Change) -> Result<Applied, Stop> {
        match change {
            Change::Submit(job) => self.submit(job),
            Change::Request(request) => self.request(request),
            Change::Expand { request, jobs } => self.expand(*request, jobs),
            Change::Unparsed { request, fault } => self.unparsed(*request, *fault),
            Change::Steer(subject, steer) => self.steer(*subject, *steer),
            Change::Asked(by, asked) => self.asked(by, asked),
            Change::Prioritise { job, priority } => self.prioritise(*job, *priority),
            Change::OpenTaker { queue, policy } => self.open_taker(queue, policy),
            Change::SetErrorClass { queue, class } => self.set_error_class(queue, class),
            Change::Renew(taker) => self.renew(*taker),
            Change::CloseTaker(taker) => self.close_taker(*taker),
            Change::Sweep(taker) => self.sweep(*taker),
            Change::Take { taker, ask, instance } => self.take(*taker, *ask, instance),
            Change::Arrive { job, known, taker, ask, instance } => {
                self.arrive((job, *known), *taker, *ask, instance)
            }
            Change::Begin { lease, instance, at } => self.begin(*lease, instance, *at),
            Change::GiveBack(lease) => self.give_back(*lease),
            Change::HandBack(lease) => self.hand_back(*lease),
            Change::Interrupt(lease, ended) => self.interrupt(*lease, ended),
            Change::Stage { lease, stage } => self.stage(*lease, stage.as_deref()),
            Change::End(lease, ended) => self.end(*lease, ended),
            Change::CancelOverdue(lease, ended) => self.cancel_overdue(*lease, ended),
            Change::Answered(job, attempt) => self.confirmed(*job, *attempt),
            Change::Instead { job, answer, why } => self.instead(*job, answer, why),
            Change::Settled(jobs) => self.settled(jobs),
            Change::SentAgain(number) => self.sent_again(*number),
            Change::SetLabel { name, priority, active } => self.set_label(name, *priority, *active),
            Change::Need { kind, name, component, checker } => {
                self.need([kind, name, component], checker.as_deref())
            }
            Change::Resolve(dependency, fault) => self.resolve(*dependency, *fault),
            Change::Lock { name, holder, life } => self.lock(name, holder, *life),
            Change::Unlock { name, holder } => self.unlock(name, holder),
            Change::Bury { queue, owner, fault, reason, bytes } => {
                self.bury(queue, *owner, None, *fault, reason, bytes)
            }
            Change::Dropped { file, change } => self.dropped(*file, change),
            Change::Clean { before, most, after, at_most } => {
                self.clean(*before, *most, *after, *at_most)
            }
            Change::Compact { at_most } => self.compact(*at_most),
        }
    }

    pub(super) fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.conn.prepare_cached(sql)
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.statement(sql)?.query_row(params, read).optional()
    }

    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.statement(sql)?.query_map(params, read)?.collect()
    }

    /// Returns the moment `delay` from now, by both clocks, as they are stored.
    pub(super) fn due(&mut self, delay: Duration) -> (Mono, i64) {
        let micros = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
        self.looked.roused = None;
        (self.now.mono.after(delay), self.now.wall.0.saturating_add(micros))
    }

    pub(super) fn ring_later(&mut self, ring: Ring) {
        self.rings.insert(ring);
    }

    /// Writes what is not written yet, and wakes everybody who is to be, before the commit: who dies
    /// right after it has rung. Whoever is found dead on the way loses what it has, which may wake
    /// others.
    pub(crate) fn complete(&mut self) -> Result<(), Stop> {
        self.write_begun()?;
        let mut rung = BTreeSet::new();
        while let Some(ring) = self.rings.pop_first() {
            for taker in self.heard_by(&ring)? {
                if self.is_own(taker) || !rung.insert(taker) {
                    continue;
                }
                match self.bells.ring(taker) {
                    Rung::Heard => {}
                    Rung::Dead => self.end_taker(taker)?,
                    // Nobody would look: the change is made later, or whoever wants it is told.
                    Rung::Unheard(why) => return Err(self.bells.unheard(why).into()),
                }
            }
        }
        Ok(())
    }

    fn heard_by(&self, ring: &Ring) -> rusqlite::Result<Vec<TakerId>> {
        let read = |row: &Row<'_>| row.get(0).map(TakerId);
        match ring {
            Ring::Queue(queue) => self.all("SELECT id FROM taker WHERE queue = ?1", [queue], read),
            Ring::All => self.all("SELECT id FROM taker", [], read),
            Ring::Holder(taker) => Ok(vec![*taker]),
        }
    }

    pub(super) fn is_own(&self, taker: TakerId) -> bool {
        self.own.iter().any(|own| own.taker == taker)
    }

    /// Returns the policy of a taker that has something in hand, and so exists.
    pub(super) fn policy(&mut self, taker: TakerId) -> Result<Policy, Stop> {
        match self.own.iter().find(|own| own.taker == taker) {
            Some(own) => Ok(own.policy),
            None => self.taker(taker).map(|(_, policy)| policy),
        }
    }

    /// Returns queue and policy of a taker.
    pub(crate) fn taker(&mut self, taker: TakerId) -> Result<(Rc<str>, Policy), Stop> {
        if let Some((known, queue, policy)) = &self.looked.taker
            && *known == taker
        {
            return Ok((Rc::clone(queue), *policy));
        }
        let sql = "SELECT queue, lease_ns, tries, exhausted, first_ns, longest_ns
            FROM taker WHERE id = ?1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, super::row::policy(row)?));
        let (queue, policy) = self.first(sql, [taker.0], read)?.ok_or(Refused::Absent("taker"))?;
        self.looked.taker = Some((taker, Rc::clone(&queue), policy));
        Ok((queue, policy))
    }
}

impl Lease {
    pub(super) const fn is_of(self, holder: Option<i64>, number: i64) -> bool {
        matches!(holder, Some(holder) if holder == self.taker.0) && number == self.number
    }
}
