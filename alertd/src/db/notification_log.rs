//! What was last told to whom, per alert group and integration: the basis of deduplication.

use std::collections::BTreeSet;
use std::fmt::Write;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::model::labels::Fingerprint;
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
CREATE TABLE notification_log (
    group_key TEXT NOT NULL,
    integration TEXT NOT NULL,
    firing TEXT NOT NULL,
    resolved TEXT NOT NULL,
    told TEXT NOT NULL,
    memory TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    notified_at INTEGER NOT NULL,
    PRIMARY KEY (group_key, integration)
) STRICT, WITHOUT ROWID;
";

/// One group at one integration (`receiver/kind[index]`): notifications of a lane stay in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub group_key: String,
    pub integration: String,
}

/// Alerts by the fingerprint of their labels.
pub type Hashes = BTreeSet<Fingerprint>;

/// The last notification of a lane, delivered or still in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    pub lane: Lane,
    /// Alerts it told as firing.
    pub firing: Hashes,
    /// Alerts it told as resolved.
    pub resolved: Hashes,
    /// Alerts the receiver believes to be firing: some delivery of it succeeded, or may have.
    pub told: Hashes,
    /// Routing's own text: what it needs to tell the end of these alerts after a restart.
    pub memory: String,
    /// Number of notifications so far; makes each one's id differ from the last.
    pub sequence: u64,
    pub notified_at: Timestamp,
}

pub(super) fn find(tx: &Transaction<'_>, lane: &Lane) -> rusqlite::Result<Option<LogEntry>> {
    tx.prepare_cached(
        "SELECT group_key, integration, firing, resolved, told, memory, sequence, notified_at
         FROM notification_log WHERE group_key = ?1 AND integration = ?2",
    )?
    .query_row(params![lane.group_key, lane.integration], entry)
    .optional()
}

pub(super) fn save(tx: &Transaction<'_>, entry: &LogEntry) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO notification_log
         (group_key, integration, firing, resolved, told, memory, sequence, notified_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        entry.lane.group_key,
        entry.lane.integration,
        join(&entry.firing),
        join(&entry.resolved),
        join(&entry.told),
        entry.memory,
        i64::try_from(entry.sequence).unwrap_or(i64::MAX),
        entry.notified_at.0,
    ])?;
    Ok(())
}

/// Every lane whose receiver was, or is about to be, told of a firing alert.
pub(super) fn with_firing(tx: &Transaction<'_>) -> rusqlite::Result<Vec<LogEntry>> {
    let mut statement = tx.prepare(
        "SELECT group_key, integration, firing, resolved, told, memory, sequence, notified_at
         FROM notification_log WHERE firing <> ''",
    )?;
    let rows = statement.query_map([], entry)?;
    rows.collect()
}

/// The same of one integration.
pub(super) fn of(tx: &Transaction<'_>, integration: &str) -> rusqlite::Result<Vec<LogEntry>> {
    let mut statement = tx.prepare_cached(
        "SELECT group_key, integration, firing, resolved, told, memory, sequence, notified_at
         FROM notification_log WHERE firing <> '' AND integration = ?1",
    )?;
    let rows = statement.query_map([integration], entry)?;
    rows.collect()
}

/// Forgets lanes with nothing firing, nothing on its way, and nothing told since `before`.
pub(super) fn prune(tx: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<usize> {
    tx.execute(
        "DELETE FROM notification_log AS l WHERE firing = '' AND notified_at < ?1
         AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.group_key = l.group_key
             AND o.integration = l.integration AND o.state IN ('waiting', 'sending'))",
        [before.0],
    )
}

/// Hashes as one text, and back: hexadecimal numbers need no quoting.
pub(super) fn join(hashes: &Hashes) -> String {
    let mut text = String::with_capacity(hashes.len() * 17);
    for hash in hashes {
        let gap = if text.is_empty() { "" } else { " " };
        write!(text, "{gap}{hash}").expect("a string takes any text");
    }
    text
}

pub(super) fn split(text: &str) -> Hashes {
    text.split_ascii_whitespace().filter_map(|hash| hash.parse().ok()).collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    let hashes = |at| row.get::<_, String>(at).map(|text| split(&text));
    Ok(LogEntry {
        lane: Lane { group_key: row.get(0)?, integration: row.get(1)? },
        firing: hashes(2)?,
        resolved: hashes(3)?,
        told: hashes(4)?,
        memory: row.get(5)?,
        sequence: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        notified_at: Timestamp(row.get(7)?),
    })
}
