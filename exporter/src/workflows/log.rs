//! Events on disk: what was accepted and no snapshot of the state holds yet, that snapshot, and
//! the ids of deliveries. The exporter's only module that knows rusqlite.
//!
//! What [`Log::add`] returned `Ok` for is on disk, its delivery ids in the same transaction; a
//! delivery whose id is there already adds nothing.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, str};

use ring::digest::{SHA256, digest};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::event::Event;

/// The database's name in its folder.
pub const FILE: &str = "workflows.db";

/// Each step is run once, in order; one that has been released is never changed.
const STEPS: &[&str] = &["
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL
) STRICT;
CREATE TABLE snapshot (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    taken_at REAL NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    received REAL NOT NULL
) STRICT;
"];

/// How long an id is kept at least: GitHub delivers again for three days.
const KEPT: Duration = Duration::from_secs(4 * 86_400);
/// So many of the newest are kept whatever their age: a clock may leap.
const KEPT_ANYWAY: i64 = 100_000;
/// With more, the oldest go before their time.
const MAX_DELIVERIES: i64 = 1_000_000;
/// The journal is cut back to this size, in bytes, when it has been written into the database.
const JOURNAL: i64 = 16 << 20;

/// An open log; its file belongs to this process alone until it goes.
pub struct Log {
    connection: Connection,
    path: PathBuf,
    max_deliveries: i64,
}

/// What is written together: events, and the id of the delivery that brought them.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub delivery: Option<&'a str>,
    pub events: &'a [Event],
    /// In seconds since the Unix epoch.
    pub received: f64,
}

/// What the log holds when it is opened, in the order in which it was written.
#[derive(Debug)]
pub enum Stored<'a> {
    /// At most once, and first.
    Snapshot(&'a str),
    Event(&'a Event),
}

/// What a snapshot made superfluous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    pub events: usize,
    pub deliveries: usize,
    /// Ids that went before their time, since there were too many.
    pub early: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot use data_dir {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("{path} is in use by another exporter")]
    InUse { path: PathBuf },
    #[error("{path} was written by a newer version (schema {found}, this one knows {known})")]
    Newer { path: PathBuf, found: usize, known: usize },
    /// With it moved away the exporter starts, and counts anew.
    #[error("{path} is damaged: {what}; move it away to start without what it holds")]
    Damaged { path: PathBuf, what: String },
    #[error("no space left for {path}")]
    Full { path: PathBuf },
    #[error("cannot use {path}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

impl Log {
    /// Opens or creates the log in `folder` and gives `each` what it holds.
    ///
    /// # Errors
    /// Those of the file, and whatever `each` finds wrong: then the log is damaged.
    pub fn open(
        folder: &Path,
        each: impl FnMut(Stored<'_>) -> Result<(), String>,
    ) -> Result<Log, LogError> {
        let at_folder = |source| LogError::Folder { path: folder.into(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at_folder)?;
        let path = folder.join(FILE);
        // SQLite itself would let others read it.
        let mut options = fs::File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(&path).map_err(at_folder)?;
        let opened = Connection::open(&path).map_err(|error| told(&path, error));
        let log = Log { connection: opened?, path, max_deliveries: MAX_DELIVERIES };
        log.prepare()?.read(each)
    }

    /// Writes all of these in one transaction and syncs; tells for each whether it was new. One
    /// that was not has added nothing.
    ///
    /// # Errors
    /// Then nothing was written, as far as anybody sees: what a crash brings back later counts as
    /// delivered.
    pub fn add(&mut self, entries: &[Entry<'_>]) -> Result<Vec<bool>, LogError> {
        self.transact(|tx| {
            let mut new = Vec::with_capacity(entries.len());
            for entry in entries {
                new.push(add(tx, entry)?);
            }
            Ok(new)
        })
    }

    /// Puts a snapshot in the place of all events, and drops the ids of old deliveries.
    pub fn replace(&mut self, snapshot: &str, now: f64) -> Result<Trimmed, LogError> {
        let max = self.max_deliveries;
        self.transact(|tx| {
            tx.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (1, ?1, ?2)",
                params![now, snapshot],
            )?;
            let events = tx.execute("DELETE FROM events", [])?;
            let newest = "SELECT ifnull(max(number), 0) FROM deliveries";
            let newest: i64 = tx.query_row(newest, [], |row| row.get(0))?;
            let old = "DELETE FROM deliveries WHERE number <= ?1 AND received < ?2";
            let before = now - KEPT.as_secs_f64();
            let deliveries = tx.execute(old, params![newest - KEPT_ANYWAY.min(max), before])?;
            let early = tx.execute("DELETE FROM deliveries WHERE number <= ?1", [newest - max])?;
            Ok(Trimmed { events, deliveries, early })
        })
    }

    /// Whether a delivery of this id was accepted, as far as it is remembered.
    pub fn knows(&self, delivery: &str) -> Result<bool, LogError> {
        let text = "SELECT 1 FROM deliveries WHERE id = ?1";
        let found = self.connection.prepare_cached(text);
        let found = found.and_then(|mut found| found.exists([key(delivery)]));
        found.map_err(|error| told(&self.path, error))
    }

    /// Bytes of the file and its journal.
    pub fn size(&self) -> u64 {
        let journal = self.path.with_extension("db-wal");
        [&self.path, &journal]
            .map(|path| fs::metadata(path).map_or(0, |meta| meta.len()))
            .iter()
            .sum()
    }

    fn prepare(mut self) -> Result<Log, LogError> {
        let prepared = (|| {
            // Long enough for the one that it replaces to end.
            self.connection.busy_timeout(Duration::from_secs(5))?;
            // Before the journal is opened: then no other process can use it, and none sees it.
            self.connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            self.connection.pragma_update(None, "journal_mode", "WAL")?;
            self.connection.pragma_update(None, "synchronous", "FULL")?;
            self.connection.pragma_update(None, "journal_size_limit", JOURNAL)?;
            let version = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
            self.connection.pragma_query_value(None, "user_version", version)
        })();
        let done = prepared.map_err(|error| told(&self.path, error))? as usize;
        if done > STEPS.len() {
            let path = self.path.clone();
            return Err(LogError::Newer { path, found: done, known: STEPS.len() });
        }
        for (at, step) in STEPS.iter().enumerate().skip(done) {
            self.transact(|tx| {
                tx.execute_batch(step)?;
                tx.pragma_update(None, "user_version", at as i64 + 1)
            })?;
        }
        Ok(self)
    }

    fn read(self, mut each: impl FnMut(Stored<'_>) -> Result<(), String>) -> Result<Log, LogError> {
        let sqlite = |error| told(&self.path, error);
        let damaged = |what| LogError::Damaged { path: self.path.clone(), what };
        let sound = "PRAGMA quick_check(1)";
        let sound: String =
            self.connection.query_row(sound, [], |row| row.get(0)).map_err(sqlite)?;
        if sound != "ok" {
            return Err(damaged(sound));
        }
        let snapshot = "SELECT state FROM snapshot";
        let snapshot = self.connection.query_row(snapshot, [], |row| row.get::<_, String>(0));
        if let Some(snapshot) = snapshot.optional().map_err(sqlite)? {
            let read = each(Stored::Snapshot(&snapshot));
            read.map_err(|error| damaged(format!("snapshot: {error}")))?;
        }
        let mut events =
            self.connection.prepare("SELECT id, event FROM events ORDER BY id").map_err(sqlite)?;
        let mut rows = events.query([]).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            let id: i64 = row.get(0).map_err(sqlite)?;
            let text = row.get_ref(1).and_then(|text| Ok(text.as_str()?)).map_err(sqlite)?;
            let event = serde_json::from_str(text).map_err(|error| error.to_string());
            let read = event.and_then(|event| each(Stored::Event(&event)));
            read.map_err(|error| damaged(format!("event {id}: {error}")))?;
        }
        drop(rows);
        drop(events);
        Ok(self)
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LogError> {
        let done = (|| {
            let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        })();
        done.map_err(|error| told(&self.path, error))
    }
}

fn add(tx: &Transaction<'_>, entry: &Entry<'_>) -> rusqlite::Result<bool> {
    if let Some(delivery) = entry.delivery {
        let text = "INSERT OR IGNORE INTO deliveries (id, received) VALUES (?1, ?2)";
        if tx.prepare_cached(text)?.execute(params![key(delivery), entry.received])? == 0 {
            return Ok(false);
        }
    }
    let mut insert = tx.prepare_cached("INSERT INTO events (event) VALUES (?1)")?;
    for event in entry.events {
        let text = serde_json::to_string(event);
        insert.execute([
            text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?
        ])?;
    }
    Ok(true)
}

/// Of one size, whatever the sender calls a delivery.
fn key(delivery: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&digest(&SHA256, delivery.as_bytes()).as_ref()[..16]);
    key
}

/// SQLite's error, by what can be done about it.
fn told(path: &Path, error: rusqlite::Error) -> LogError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => LogError::Full { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LogError::InUse { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            LogError::Damaged { path, what: error.to_string() }
        }
        _ => LogError::Sqlite { path, source: error },
    }
}

#[cfg(test)]
mod tests;
