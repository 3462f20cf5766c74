//! The rows of attempts. One that begins and ends in the same transaction is written once, and its
//! job's row too.

use super::row::{Job, step};
use super::tx::{Stop, Tx};
use super::{Applied, Ended, Lasted, Lease, TakerId, blob};
use crate::clock::Wall;
use crate::item;
use machine::work::{Event, Fault};
use rusqlite::{ToSql, params};

/// Who began an attempt that is not written yet.
pub(super) struct Beginner {
    pub(super) taker: TakerId,
    pub(super) instance: String,
    pub(super) at: Wall,
}

impl Ended {
    /// Returns when it was; what nobody told ends as it is recorded.
    pub(super) fn at(&self, now: Wall) -> Wall {
        self.lasted.map_or(now, |Lasted { ended, .. }| ended)
    }
}

impl Tx<'_> {
    pub(super) fn begin(
        &mut self,
        lease: Lease,
        instance: &str,
        at: Wall,
    ) -> Result<Applied, Stop> {
        if self.begun.iter().any(|(begun, _)| *begun == lease) {
            // What is begun again is refused by what is written.
            self.write_begun()?;
        }
        let mut job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::Begun, policy.limit)?;
        job.subject = next.subject().unwrap_or(job.subject);
        job.start(lease.taker, instance, at);
        let begun = Applied::Begun(job.tries);
        self.begun.push((lease, job));
        Ok(begun)
    }

    /// Returns a job that was begun and is not written; it is the caller's to write.
    pub(super) fn take_begun(&mut self, lease: Lease) -> Option<Job> {
        let at = self.begun.iter().position(|(begun, _)| *begun == lease)?;
        Some(self.begun.swap_remove(at).1)
    }

    /// Puts back what [`Self::take_begun`] may have returned: it does not end.
    pub(super) fn keep_begun(&mut self, lease: Lease, job: Job) {
        if job.beginner.is_some() {
            self.begun.push((lease, job));
        }
    }

    /// Writes what was begun and has not ended.
    pub(super) fn write_begun(&mut self) -> Result<(), Stop> {
        for (_, mut job) in std::mem::take(&mut self.begun) {
            self.open_attempt(&mut job)?;
            self.write(&job, job.subject, job.holder, None)?;
        }
        Ok(())
    }

    /// Records an attempt that was started; the job is to be written with it.
    pub(super) fn open_attempt(&self, job: &mut Job) -> Result<(), Stop> {
        let Some(Beginner { taker, instance, at }) = job.beginner.take() else { return Ok(()) };
        self.execute(
            "INSERT INTO attempt (job, number, taker, instance, begun_at, queue)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![job.id.0, job.tries, taker.0, instance, at.0, job.queue],
        )?;
        job.attempt = Some(self.conn.last_insert_rowid());
        self.note_stage(job)
    }

    /// Records how far earlier attempts had come when this one began, which was just written.
    fn note_stage(&self, job: &Job) -> Result<(), Stop> {
        if let (Some(attempt), Some(stage)) = (job.attempt, &job.stage) {
            let sql = "INSERT INTO stage (attempt, stage) VALUES (?1, ?2)";
            self.execute(sql, params![attempt, stage])?;
        }
        Ok(())
    }

    /// Records the end of an attempt; `fault` stands for that of the end.
    pub(super) fn close_attempt(
        &self,
        job: &mut Job,
        how: &str,
        Fault(fault): Fault,
        ended: &Ended,
    ) -> Result<(), Stop> {
        let output = ended.output.as_deref();
        let (sum, room) = (output.map(item::checksum), output.map(blob::room).transpose()?);
        let told = ended.lasted.map(|Lasted { begun, .. }| begun);
        let Wall(end) = ended.at(self.now.wall);
        job.ended = Some(Wall(end));
        // Whoever sets a clock back makes nothing end before it began.
        let earlier = |at: Wall| told.unwrap_or(at).0.min(end);
        let begun = job.beginner.as_ref().map(|beginner| earlier(beginner.at));
        let told = told.map(|Wall(told)| told);
        let mut values: Vec<&dyn ToSql> = vec![&end, &how, &fault, &ended.code, &ended.signal];
        values.extend([&ended.text as &dyn ToSql, &ended.signature, &ended.log]);
        values.extend([&ended.cpu_us as &dyn ToSql, &ended.peak_kib, &sum, &room]);
        if let Some(Beginner { taker, instance, .. }) = &job.beginner {
            values.extend([&job.id.0 as &dyn ToSql, &job.tries, &taker.0, instance, &job.queue]);
            values.push(&begun);
            self.execute(
                "INSERT INTO attempt (ended_at, how, fault, code, signal, text, signature, log,
                    cpu_us, peak_kib, sum, output, job, number, taker, instance, queue, begun_at)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                    ?17, ?18)",
                values.as_slice(),
            )?;
            (job.attempt, job.beginner) = (Some(self.conn.last_insert_rowid()), None);
            self.note_stage(job)?;
        } else {
            values.extend([&job.attempt as &dyn ToSql, &told]);
            self.execute(
                "UPDATE attempt SET ended_at = ?1, how = ?2, fault = ?3, code = ?4, signal = ?5,
                    text = ?6, signature = ?7, log = ?8, cpu_us = ?9, peak_kib = ?10, sum = ?11,
                    output = ?12, begun_at = min(ifnull(?14, begun_at), ?1) WHERE id = ?13",
                values.as_slice(),
            )?;
        }
        if let (Some(row), Some(output)) = (job.attempt, output) {
            self.fill(blob::OUTPUT, row, output)?;
        }
        Ok(())
    }
}
