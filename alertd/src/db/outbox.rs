//! The outbox: notifications on their way, in order per lane, and what became of them.
//!
//! A row and its entry in the notification log are written in one transaction. A row goes
//! `waiting` → `sending` → `delivered`, `failed` or `skipped`; `sending` is on disk before the
//! receiver is asked, so a row found in that state at start is one whose answer was lost.

mod again;
pub mod failing;
mod outcome;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use tokio::sync::Notify;

use self::outcome::{finish, told};
use super::notification_log::{self as log, Hashes, Lane, LogEntry};
use super::{Db, DbError, lane_memory};
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id TEXT NOT NULL UNIQUE,
    group_key TEXT NOT NULL,
    integration TEXT NOT NULL,
    payload TEXT NOT NULL,
    firing TEXT NOT NULL,
    resolved TEXT NOT NULL,
    fired_at INTEGER,
    state TEXT NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'sending', 'delivered', 'skipped', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    finished_at INTEGER,
    error TEXT
) STRICT;
CREATE INDEX outbox_due ON outbox (integration, state, due_at);
CREATE INDEX outbox_lane ON outbox (group_key, integration, state, id);
";

/// What is asked for each delivery is found without looking at what else waits or is remembered.
pub(super) const INDEXES: &str = "
CREATE INDEX outbox_next ON outbox (due_at) WHERE state = 'waiting';
CREATE INDEX outbox_open ON outbox (state, created_at) WHERE state IN ('waiting', 'sending');
CREATE INDEX outbox_failed ON outbox (finished_at) WHERE state = 'failed';
CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;
";

/// Rows on their way beyond which nothing more is taken: the group asks again at its next flush.
const MAX_UNFINISHED: i64 = 100_000;
/// A clock that goes back by less is only corrected.
const SET_BACK: Duration = Duration::from_secs(30);
/// A row due later than this was put off by a clock that has since gone back.
const LATEST_DUE: Duration = Duration::from_secs(2 * 3600);

/// The handle that routing writes through and delivery reads from; clones share it.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    /// Rung after each commit that adds rows, so that delivery need not poll.
    bell: Arc<Notify>,
    /// The time of the last claim.
    claimed_at: Arc<AtomicI64>,
}

/// What one flush changes in one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub firing: Hashes,
    pub resolved: Hashes,
    pub memory: String,
    /// `None`: the log changes and nothing is sent.
    pub message: Option<Message>,
}

/// One notification to be delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Unique; every attempt carries it to the receiver.
    pub delivery_id: String,
    /// The notification as data; routing's own text.
    pub payload: String,
    /// Start of the oldest alert that this is the first to tell: for the latency figure.
    pub fired_at: Option<Timestamp>,
    /// Only says again what was said: not sent while an earlier row of the lane still waits.
    pub repeat: bool,
}

/// A row claimed for one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub id: i64,
    pub lane: Lane,
    pub delivery_id: String,
    pub payload: String,
    pub fired_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// Counts this attempt.
    pub attempts: u32,
    /// What the receiver believes to be firing; a resolve is told of these alone.
    pub told: Hashes,
    /// What the last delivery of the lane asked to be told again.
    pub memory: Option<String>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// `memory` takes the place of the lane's last one; `None` forgets it.
    Delivered { memory: Option<String> },
    /// Nothing was left to say.
    Skipped,
    /// `perhaps`: the receiver may have taken it all the same.
    Retry { due_at: Timestamp, error: String, perhaps: bool },
    /// Given up.
    Failed { error: String, perhaps: bool },
}

/// A notification that was given up, for the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub lane: Lane,
    pub delivery_id: String,
    pub attempts: u32,
    pub failed_at: Timestamp,
    pub error: String,
}

impl Outbox {
    pub fn new(db: Db) -> Outbox {
        Outbox { db, bell: Arc::default(), claimed_at: Arc::default() }
    }

    /// Waits until rows were added since the last call.
    pub async fn added(&self) {
        self.bell.notified().await;
    }

    /// Asks `decide` about each lane, with its log entry as it stands, and writes what it says,
    /// all in one transaction. Returns how many rows were added.
    ///
    /// # Errors
    /// When the database fails or the outbox is full; then nothing was written.
    pub async fn flush(
        &self,
        lanes: Vec<Lane>,
        now: Timestamp,
        mut decide: impl FnMut(&Lane, Option<&LogEntry>) -> Option<Update> + Send + 'static,
    ) -> Result<usize, DbError> {
        let work = move |tx: &Transaction<'_>| {
            let mut added = 0;
            for lane in &lanes {
                let entry = log::find(tx, lane)?;
                if let Some(update) = decide(lane, entry.as_ref()) {
                    added += usize::from(apply(tx, lane, entry, update, now)?);
                }
            }
            if added > 0 && unfinished(tx)? > MAX_UNFINISHED {
                return Err(full());
            }
            Ok(added)
        };
        let added = self.db.call(work).await?;
        if added > 0 {
            self.bell.notify_one();
        }
        Ok(added)
    }

    /// Every lane whose receiver was, or is about to be, told of a firing alert.
    pub async fn lanes_with_firing(&self) -> Result<Vec<LogEntry>, DbError> {
        self.db.call(log::with_firing).await
    }

    /// At start: puts rows whose answer was lost back to `waiting` and returns their lanes; each
    /// may be delivered a second time.
    pub async fn recover(&self, now: Timestamp) -> Result<Vec<Lane>, DbError> {
        self.db
            .call(move |tx| {
                let mut statement = tx.prepare(
                    "UPDATE outbox SET state = 'waiting', due_at = ?1
                     WHERE state IN ('waiting', 'sending') AND state = 'sending'
                     RETURNING group_key, integration, firing, resolved",
                )?;
                let rows = statement.query_map([now.0], |row| {
                    let lane = Lane { group_key: row.get(0)?, integration: row.get(1)? };
                    Ok((lane, log::split(&row.get::<_, String>(2)?)))
                })?;
                let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
                for (lane, firing) in &rows {
                    told(tx, lane, |told| told.extend(firing.iter().cloned()))?;
                }
                Ok(rows.into_iter().map(|(lane, _)| lane).collect())
            })
            .await
    }

    /// Rows on their way to integrations other than `known`, given up: nobody delivers them.
    pub async fn fail_unknown(
        &self,
        known: Vec<String>,
        now: Timestamp,
    ) -> Result<Vec<Lane>, DbError> {
        self.db
            .call(move |tx| {
                let mut statement = tx.prepare(
                    "SELECT id, group_key, integration FROM outbox
                     WHERE state IN ('waiting', 'sending') ORDER BY +id",
                )?;
                let rows = statement.query_map([], |row| {
                    let lane = Lane { group_key: row.get(1)?, integration: row.get(2)? };
                    Ok((row.get::<_, i64>(0)?, lane))
                })?;
                let mut lanes = Vec::new();
                for row in rows.collect::<rusqlite::Result<Vec<_>>>()? {
                    if !known.contains(&row.1.integration) {
                        let error = "receiver is no longer configured".to_owned();
                        finish(tx, row.0, &Outcome::Failed { error, perhaps: false }, now)?;
                        lanes.push(row.1);
                    }
                }
                Ok(lanes)
            })
            .await
    }

    /// Up to `limit` rows of one integration that are due and first in their lane, those due longest
    /// first, marked `sending` on disk.
    pub async fn claim(
        &self,
        integration: String,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, DbError> {
        let back = Timestamp(self.claimed_at.swap(now.0, Ordering::Relaxed)).since(now);
        self.db
            .call(move |tx| {
                if back >= SET_BACK {
                    hurry(tx, back, now)?;
                }
                let mut statement = tx.prepare_cached(
                    "SELECT id, group_key, integration, delivery_id, payload, fired_at,
                            created_at, attempts + 1
                     FROM outbox AS o
                     WHERE integration = ?1 AND state = 'waiting' AND (+due_at <= ?2 OR +due_at > ?3)
                     AND NOT EXISTS (SELECT 1 FROM outbox AS p WHERE p.group_key = o.group_key
                         AND p.integration = o.integration
                         AND p.state IN ('waiting', 'sending') AND p.id < o.id)
                     ORDER BY due_at, id LIMIT ?4",
                )?;
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let latest = now.plus(LATEST_DUE).0;
                let rows = statement
                    .query_map(params![integration, now.0, latest, limit], claimed)?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                rows.into_iter()
                    .map(|row| {
                        tx.prepare_cached(
                            "UPDATE outbox SET state = 'sending', attempts = ?2 WHERE id = ?1",
                        )?
                        .execute(params![row.id, row.attempts])?;
                        let told = log::find(tx, &row.lane)?.map(|entry| entry.told);
                        let memory = lane_memory::find(tx, &row.lane)?;
                        Ok(Claimed { told: told.unwrap_or_default(), memory, ..row })
                    })
                    .collect()
            })
            .await
    }

    /// Records what became of a claimed row, in the log too.
    pub async fn record(&self, id: i64, outcome: Outcome, now: Timestamp) -> Result<(), DbError> {
        self.db.call(move |tx| finish(tx, id, &outcome, now)).await
    }

    /// When the next row that waits for its time comes due, if that is after `now`.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
        self.db
            .call(move |tx| {
                tx.prepare_cached(
                    "SELECT due_at FROM outbox AS o WHERE state = 'waiting' AND due_at > ?1
                     AND NOT EXISTS (SELECT 1 FROM outbox AS p WHERE p.group_key = o.group_key
                         AND p.integration = o.integration
                         AND p.state IN ('waiting', 'sending') AND p.id < o.id)
                     ORDER BY due_at LIMIT 1",
                )?
                .query_row([now.0], |row| Ok(Timestamp(row.get(0)?)))
                .optional()
            })
            .await
    }

    /// How many rows are on their way, and when the oldest of them was added.
    pub async fn depth(&self) -> Result<(u64, Option<Timestamp>), DbError> {
        self.db
            .call(|tx| {
                tx.prepare_cached(
                    "SELECT count(*), min(created_at) FROM outbox
                     WHERE state IN ('waiting', 'sending')",
                )?
                .query_row([], |row| {
                    let count = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
                    Ok((count, row.get::<_, Option<i64>>(1)?.map(Timestamp)))
                })
            })
            .await
    }

    /// The last `limit` notifications that were given up, newest first.
    pub async fn failures(&self, limit: u32) -> Result<Vec<Failure>, DbError> {
        self.db
            .call(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT group_key, integration, delivery_id, attempts, finished_at, error
                     FROM outbox WHERE state = 'failed' ORDER BY finished_at DESC LIMIT ?1",
                )?;
                let rows = statement.query_map([limit], |row| {
                    Ok(Failure {
                        lane: Lane { group_key: row.get(0)?, integration: row.get(1)? },
                        delivery_id: row.get(2)?,
                        attempts: row.get(3)?,
                        failed_at: Timestamp(row.get(4)?),
                        error: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                    })
                })?;
                rows.collect()
            })
            .await
    }

    /// Forgets what was finished before `before`, and lanes with nothing left to tell.
    pub async fn prune(&self, before: Timestamp) -> Result<usize, DbError> {
        self.db
            .call(move |tx| {
                let rows = tx.execute("DELETE FROM outbox WHERE finished_at < ?1", [before.0])?;
                Ok(rows + log::prune(tx, before)? + lane_memory::prune(tx)?)
            })
            .await
    }
}

/// What waits for its time waits no longer because the clock was set back.
fn hurry(tx: &Transaction<'_>, back: Duration, now: Timestamp) -> rusqlite::Result<usize> {
    let back = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
    tx.execute(
        "UPDATE outbox SET due_at = max(due_at - ?1, ?2) WHERE state = 'waiting' AND due_at > ?2",
        [back, now.0],
    )
}

fn full() -> rusqlite::Error {
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(full, Some(format!("outbox holds {MAX_UNFINISHED} rows")))
}

fn unfinished(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    tx.prepare_cached("SELECT count(*) FROM outbox WHERE state IN ('waiting', 'sending')")?
        .query_row([], |row| row.get(0))
}

/// Whether the lane has a row on its way with an id above `after`.
fn waits(tx: &Transaction<'_>, lane: &Lane, after: i64) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT 1 FROM outbox WHERE group_key = ?1 AND integration = ?2
         AND state IN ('waiting', 'sending') AND id > ?3",
    )?
    .exists(params![lane.group_key, lane.integration, after])
}

fn apply(
    tx: &Transaction<'_>,
    lane: &Lane,
    entry: Option<LogEntry>,
    update: Update,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let Update { firing, resolved, memory, message } = update;
    let old = entry.unwrap_or_else(|| LogEntry {
        lane: lane.clone(),
        firing: Hashes::new(),
        resolved: Hashes::new(),
        told: Hashes::new(),
        memory: String::new(),
        sequence: 0,
        notified_at: now,
    });
    let mut added = false;
    let (mut sequence, mut notified_at) = (old.sequence, old.notified_at);
    if let Some(message) = &message {
        (sequence, notified_at) = (sequence + 1, now);
        // What a repeat would say, the row that still waits says when it gets through.
        if !(message.repeat && waits(tx, lane, 0)?) {
            insert(tx, lane, message, &firing, &resolved, now)?;
            added = true;
        }
    }
    log::save(tx, &LogEntry { firing, resolved, memory, sequence, notified_at, ..old })?;
    Ok(added)
}

fn insert(
    tx: &Transaction<'_>,
    lane: &Lane,
    message: &Message,
    firing: &Hashes,
    resolved: &Hashes,
    now: Timestamp,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO outbox (delivery_id, group_key, integration, payload, firing, resolved,
             fired_at, created_at, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
    )?
    .execute(params![
        message.delivery_id,
        lane.group_key,
        lane.integration,
        message.payload,
        log::join(firing),
        log::join(resolved),
        message.fired_at.map(|at| at.0),
        now.0,
    ])?;
    Ok(())
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    Ok(Claimed {
        id: row.get(0)?,
        lane: Lane { group_key: row.get(1)?, integration: row.get(2)? },
        delivery_id: row.get(3)?,
        payload: row.get(4)?,
        fired_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        created_at: Timestamp(row.get(6)?),
        attempts: row.get(7)?,
        told: Hashes::new(),
        memory: None,
    })
}

#[cfg(test)]
mod tests;
