//! Labels: in which order their jobs are taken, and how many there are.

use super::{Reader, queues};
use crate::trouble::Trouble;
use rusqlite::Row;
use std::collections::HashMap;

/// A label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its name; `""` = that of jobs without a label.
    pub name: String,
    /// The highest is first; `None` = nobody has given it one, and it comes last.
    pub priority: Option<i32>,
    /// Its jobs may be taken.
    pub active: bool,
    /// Jobs that are ready to be taken, as [`super::Queue::waiting`].
    pub waiting: u64,
    /// Jobs that wait for their time.
    pub later: u64,
    /// Jobs that somebody has in hand.
    pub in_hand: u64,
}

impl Reader {
    /// Returns all labels, in the order in which their jobs are taken.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn labels(&self) -> Result<Vec<Label>, Trouble> {
        let away = queues::away(&self.conn).map_err(|error| self.trouble(&error))?;
        let waiting = self.of_labels(&format!(
            "INDEXED BY job_ready WHERE state = 'ready' AND holder IS NULL AND due IS NULL
                AND NOT {away}"
        ))?;
        let later =
            self.of_labels(&format!("INDEXED BY job_due WHERE due IS NOT NULL AND NOT {away}"))?;
        let in_hand = self.of_labels("INDEXED BY job_held WHERE holder IS NOT NULL")?;
        let sql = "SELECT id, name, iif(known, priority, NULL), active FROM label
            ORDER BY known DESC, label.priority DESC, id";
        let read = |row: &Row<'_>| {
            let (name, priority, active) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, Label { name, priority, active, ..Label::default() }))
        };
        let count = |of: &HashMap<i64, u64>, id| of.get(&id).copied().unwrap_or_default();
        let counted = |(id, label)| Label {
            waiting: count(&waiting, id),
            later: count(&later, id),
            in_hand: count(&in_hand, id),
            ..label
        };
        Ok(self.all(sql, [], read)?.into_iter().map(counted).collect())
    }

    /// Counts jobs by the number of their label.
    fn of_labels(&self, which: &str) -> Result<HashMap<i64, u64>, Trouble> {
        let sql = format!("SELECT label, count(*) FROM job j {which} GROUP BY label");
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
        Ok(self.all(&sql, [], read)?.into_iter().collect())
    }
}
