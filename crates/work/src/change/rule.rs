//! Rules: jobs that fail in a way that is known to pass are tried again by themselves, so often and
//! no longer than until a date.

use super::asked::{By, Kept};
use super::fault::signature;
use super::row::{Job, step};
use super::tx::{Stop, Tx};
use super::{Applied, Ended, Policy, Refused, RuleId};
use crate::clock::Wall;
use crate::name;
use machine::work::{Backoff, Event, Kind, Next, State};
use rusqlite::{Row, params};
use std::time::Duration;

/// So many rules are enough: each costs every final fault a little.
const RULES: u32 = 1000;

/// A rule to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRule {
    /// Of which queue.
    pub queue: String,
    /// Class of faults that it is for.
    pub signature: String,
    /// How often it has one job tried again; at least once.
    pub limit: u32,
    /// How long a job rests before that.
    pub delay: Duration,
    /// When it ends.
    pub until: Wall,
}

impl Tx<'_> {
    pub(super) fn set_rule(&mut self, by: &By, new: &NewRule) -> Result<Applied, Stop> {
        if let Some(flaw) = name::queue_flaw(&new.queue) {
            return Err(Refused::Queue(new.queue.clone(), flaw).into());
        }
        if new.signature.is_empty() || new.limit == 0 {
            return Err(Refused::Senseless("a rule needs a class of faults and a limit").into());
        }
        if new.until <= self.now.wall {
            return Err(Refused::Senseless("the rule would have ended before it begins").into());
        }
        let others = "SELECT count(*) FROM rule WHERE NOT (queue = ?1 AND signature = ?2)";
        let names = [&new.queue, &new.signature];
        let count = self.first(others, names, |row| row.get::<_, u32>(0))?;
        if count.unwrap_or_default() >= RULES {
            return Err(Refused::Senseless("there are too many rules").into());
        }
        let delay = i64::try_from(new.delay.as_micros()).unwrap_or(i64::MAX);
        self.execute(
            "INSERT INTO rule (queue, signature, most, delay_us, until_at, used, uid, name, made_at)
                VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8) ON CONFLICT (queue, signature) DO UPDATE
                SET most = ?3, delay_us = ?4, until_at = ?5, uid = ?6, name = ?7, made_at = ?8",
            params![
                new.queue,
                new.signature,
                new.limit,
                delay,
                new.until.0,
                by.uid,
                by.name,
                self.now.wall.0
            ],
        )?;
        let sql = "SELECT id FROM rule WHERE queue = ?1 AND signature = ?2";
        let id = self.first(sql, [&new.queue, &new.signature], |row| row.get(0))?;
        let rule = RuleId(id.ok_or(Refused::Absent("rule"))?);
        let detail = format!("at most {} times a job: {}", new.limit, new.signature);
        self.keep_of_rule(by, "rule-set", &new.queue, detail, rule)?;
        Ok(Applied::Ruled(rule))
    }

    pub(super) fn drop_rule(&mut self, by: &By, rule: RuleId) -> Result<Applied, Stop> {
        let sql = "DELETE FROM rule WHERE id = ?1 RETURNING queue, signature";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
        let (queue, signature) = self.first(sql, [rule.0], read)?.ok_or(Refused::Absent("rule"))?;
        self.keep_of_rule(by, "rule-drop", &queue, signature, rule)
    }

    fn keep_of_rule(
        &mut self,
        by: &By,
        what: &'static str,
        queue: &str,
        detail: String,
        rule: RuleId,
    ) -> Result<Applied, Stop> {
        let (queue, detail, rule) = (queue.to_owned(), Some(detail), Some(rule));
        self.keep(by, &Kept { what, queue, detail, rule, ..Kept::default() })
    }

    /// Takes a job up again whose attempt has just ended for good, where a rule says so. Returns
    /// what is to be stored, and how long it rests.
    pub(super) fn by_rule(
        &mut self,
        job: &Job,
        ended: &Ended,
        next: Next,
        policy: Policy,
    ) -> Result<(Next, Policy), Stop> {
        let stands = next.subject().unwrap_or(job.subject);
        if stands.state != State::Stop || stands.fault.kind() != Kind::Final {
            return Ok((next, policy));
        }
        // The limit is for each job: what the rule did for it is counted.
        let sql = "SELECT id, delay_us, uid, name FROM rule r
            WHERE queue = ?1 AND signature = ?2 AND until_at > ?3
                AND most > (SELECT count(*) FROM act WHERE job = ?4 AND rule = r.id)";
        let params = params![job.queue, signature(ended), self.now.wall.0, job.id.0];
        let found = self.first(sql, params, |row| {
            let delay = Duration::from_micros(row.get::<_, i64>(1)?.unsigned_abs());
            Ok((RuleId(row.get(0)?), delay, By { uid: row.get(2)?, name: row.get(3)? }))
        })?;
        let Some((rule, delay, by)) = found else { return Ok((next, policy)) };
        let next = step(stands, Event::Reverted, policy.limit)?;
        self.execute("UPDATE rule SET used = used + 1 WHERE id = ?1", [rule.0])?;
        let kept = Kept {
            what: "requeue",
            queue: job.queue.clone(),
            job: Some(job.id),
            wfid: Some(job.wfid.clone()),
            detail: Some(format!("by rule {}", rule.0)),
            rule: Some(rule),
        };
        self.keep(&by, &kept)?;
        Ok((next, Policy { backoff: Backoff { first: delay, longest: delay }, ..policy }))
    }
}
