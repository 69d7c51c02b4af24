//! The schema, step by step. A step that has been released is never changed; a new one follows.

use std::path::Path;

use rusqlite::Connection;

use super::DbError;

/// Each step is run once, in order, in one transaction with its number.
/// A table's text stands in its own file as `SCHEMA`; here is only the order.
const STEPS: &[&str] = &[
    super::notification_log::SCHEMA,
    super::outbox::SCHEMA,
    super::pools::SCHEMA,
    super::journal::SCHEMA,
    super::alerts::SCHEMA,
    super::lane_memory::SCHEMA,
    super::board::SCHEMA,
    super::history::SCHEMA,
    super::alerts::HISTORY,
    super::outbox::INDEXES,
];

pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<(), DbError> {
    let done: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = done as usize;
    if done > STEPS.len() {
        return Err(DbError::Newer { path: path.into(), found: done, known: STEPS.len() });
    }
    for (at, step) in STEPS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", at as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
