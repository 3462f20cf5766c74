//! Many bytes in and out of the database, without a copy of them in its own memory: it would make
//! two to take them whole, and one to give them.

use super::tx::Tx;
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{MAIN_DB, Result};
use std::ffi::CStr;

/// Bytes up to which they are taken and given whole, which costs fewer calls.
pub(super) const WHOLE: u32 = 256 << 10;

/// A table that has a row number, and a column of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column(&'static CStr, &'static CStr);

/// Work items.
pub(super) const ITEM: Column = Column(c"item", c"bytes");
/// Answers.
pub(super) const OUTPUT: Column = Column(c"attempt", c"output");
/// Dead items.
pub(super) const DEAD: Column = Column(c"dead", c"bytes");

/// Returns what the column is set to first: [`Tx::fill`] is to follow.
pub(super) fn room(bytes: &[u8]) -> Result<ToSqlOutput<'_>> {
    if is_whole(bytes) { bytes.to_sql() } else { Ok(ToSqlOutput::ZeroBlob(bytes.len() as u64)) }
}

const fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() <= WHOLE as usize
}

impl Tx<'_> {
    /// Puts bytes for which there is [`room`].
    pub(super) fn fill(&self, Column(table, name): Column, row: i64, bytes: &[u8]) -> Result<()> {
        if is_whole(bytes) {
            return Ok(());
        }
        self.conn.blob_open(MAIN_DB, table, name, row, false)?.write_all_at(bytes, 0)
    }

    /// Returns the bytes of a row that has some there: these, which the database gave whole, or what
    /// it did not give, because they are more than [`WHOLE`].
    pub(super) fn fetch(
        &self,
        Column(table, name): Column,
        row: i64,
        given: Option<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        if let Some(bytes) = given {
            return Ok(bytes);
        }
        let blob = self.conn.blob_open(MAIN_DB, table, name, row, true)?;
        let mut bytes = vec![0; blob.len()];
        blob.read_at_exact(&mut bytes, 0)?;
        Ok(bytes)
    }
}
