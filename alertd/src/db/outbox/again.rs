//! What a lane was told last, for who has something to add to it.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Message, Outbox, insert};
use crate::db::DbError;
use crate::db::lane_memory;
use crate::db::notification_log::{self as log, Hashes, Lane, LogEntry};
use crate::model::sample::Timestamp;

impl Outbox {
    /// Every lane of one integration that has a memory, with that memory.
    pub async fn remembered(
        &self,
        integration: String,
    ) -> Result<Vec<(LogEntry, String)>, DbError> {
        self.db
            .call(move |tx| {
                let mut found = Vec::new();
                for (lane, memory) in lane_memory::of(tx, &integration)? {
                    found.extend(log::find(tx, &lane)?.map(|entry| (entry, memory)));
                }
                Ok(found)
            })
            .await
    }

    /// Every lane of one integration that was told of one of these alerts as firing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn telling(
        &self,
        integration: String,
        alerts: Hashes,
    ) -> Result<Vec<LogEntry>, DbError> {
        self.db
            .call(move |tx| {
                let mut entries = log::of(tx, &integration)?;
                entries.retain(|entry| !entry.firing.is_disjoint(&alerts));
                Ok(entries)
            })
            .await
    }

    /// Adds a notification that says again what the lane was told last, as `change` makes it of
    /// that one's payload. Returns whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell_again(
        &self,
        lane: Lane,
        now: Timestamp,
        change: impl FnOnce(&LogEntry, &str) -> Option<Message> + Send + 'static,
    ) -> Result<bool, DbError> {
        let work = move |tx: &Transaction<'_>| {
            let Some(entry) = log::find(tx, &lane)? else { return Ok(false) };
            let Some(payload) = last(tx, &lane)? else { return Ok(false) };
            let Some(message) = change(&entry, &payload) else { return Ok(false) };
            insert(tx, &lane, &message, &entry.firing, &Hashes::new(), now)?;
            // The next one has another id.
            log::save(tx, &LogEntry { sequence: entry.sequence + 1, ..entry })?;
            Ok(true)
        };
        let added = self.db.call(work).await?;
        if added {
            self.bell.notify_one();
        }
        Ok(added)
    }
}

/// The payload of the last notification that the lane got or is about to get.
fn last(tx: &Transaction<'_>, lane: &Lane) -> rusqlite::Result<Option<String>> {
    tx.prepare_cached(
        "SELECT payload FROM outbox WHERE group_key = ?1 AND integration = ?2
         AND state IN ('waiting', 'sending', 'delivered') ORDER BY id DESC LIMIT 1",
    )?
    .query_row(params![lane.group_key, lane.integration], |row| row.get(0))
    .optional()
}
