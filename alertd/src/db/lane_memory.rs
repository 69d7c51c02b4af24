//! What a receiver's code wants to know again of a lane: the message it wrote, the issue it opened.

use rusqlite::{OptionalExtension, Transaction, params};

use super::notification_log::Lane;

pub(super) const SCHEMA: &str = "
CREATE TABLE lane_memory (
    group_key TEXT NOT NULL,
    integration TEXT NOT NULL,
    memory TEXT NOT NULL,
    PRIMARY KEY (group_key, integration)
) STRICT, WITHOUT ROWID;
";

/// A longer memory is not kept.
pub const MAX_MEMORY: usize = 16 * 1024;

pub(super) fn find(tx: &Transaction<'_>, lane: &Lane) -> rusqlite::Result<Option<String>> {
    tx.prepare_cached("SELECT memory FROM lane_memory WHERE group_key = ?1 AND integration = ?2")?
        .query_row(params![lane.group_key, lane.integration], |row| row.get(0))
        .optional()
}

/// Every lane of one integration that has a memory.
pub(super) fn of(tx: &Transaction<'_>, integration: &str) -> rusqlite::Result<Vec<(Lane, String)>> {
    let mut statement =
        tx.prepare_cached("SELECT group_key, memory FROM lane_memory WHERE integration = ?1")?;
    let rows = statement.query_map([integration], |row| {
        let lane = Lane { group_key: row.get(0)?, integration: integration.to_owned() };
        Ok((lane, row.get(1)?))
    })?;
    rows.collect()
}

/// Takes the place of what was remembered; nothing, or too much, forgets it.
pub(super) fn replace(
    tx: &Transaction<'_>,
    lane: &Lane,
    memory: Option<&str>,
) -> rusqlite::Result<()> {
    match memory.filter(|memory| memory.len() <= MAX_MEMORY) {
        Some(memory) => tx
            .prepare_cached("INSERT OR REPLACE INTO lane_memory VALUES (?1, ?2, ?3)")?
            .execute(params![lane.group_key, lane.integration, memory])?,
        None => tx
            .prepare_cached("DELETE FROM lane_memory WHERE group_key = ?1 AND integration = ?2")?
            .execute(params![lane.group_key, lane.integration])?,
    };
    Ok(())
}

/// Forgets lanes that the notification log has forgotten.
pub(super) fn prune(tx: &Transaction<'_>) -> rusqlite::Result<usize> {
    tx.execute(
        "DELETE FROM lane_memory AS m WHERE NOT EXISTS (SELECT 1 FROM notification_log AS l
             WHERE l.group_key = m.group_key AND l.integration = m.integration)",
        [],
    )
}
