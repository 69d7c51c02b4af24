//! The journal: what was about to be done to the fleet, and what came of it.
//!
//! A row is on disk before its call is made; one without an outcome is a call whose end nobody
//! saw, to be settled by reading the world.

use rusqlite::{Row, Transaction, params};
use serde::Serialize;

use super::{Db, DbError};
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pool TEXT NOT NULL,
    plan TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    cause TEXT NOT NULL,
    who TEXT NOT NULL,
    mode TEXT NOT NULL,
    intent_at INTEGER NOT NULL,
    outcome_at INTEGER,
    outcome TEXT,
    error TEXT
) STRICT;
CREATE INDEX journal_pool ON journal (pool, id);
CREATE INDEX journal_open ON journal (pool) WHERE outcome IS NULL;
";

/// Rows kept; the oldest finished ones beyond go.
const MOST: i64 = 100_000;

/// What is about to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intent {
    pub pool: String,
    /// What belongs together has one plan.
    pub plan: String,
    /// `add_label`, `remove_label`, `failover`, `denied`, `interrupted`, …
    pub action: String,
    /// The runner, member or job.
    pub target: String,
    pub cause: String,
    /// `pitcrew`, or a person's name.
    pub who: String,
    /// `shadow`, `approve`, `auto` or `person`.
    pub mode: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub id: i64,
    pub pool: String,
    pub plan: String,
    pub action: String,
    pub target: String,
    pub cause: String,
    pub who: String,
    pub mode: String,
    pub intent_at: Timestamp,
    pub outcome_at: Option<Timestamp>,
    /// `None` while the call is under way, or when nobody saw its end.
    pub outcome: Option<String>,
    pub error: Option<String>,
}

impl Db {
    /// Writes the intent; its id is on disk when this returns.
    pub fn journal_intent(&self, intent: &Intent, now: Timestamp) -> Result<i64, DbError> {
        self.transact(|transaction| insert(transaction, intent, now))
    }

    /// Writes what came of an intent.
    pub fn journal_outcome(
        &self,
        id: i64,
        outcome: &str,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.transact(|transaction| {
            let text = "UPDATE journal SET outcome = ?2, error = coalesce(?3, error), \
                        outcome_at = ?4 WHERE id = ?1 AND outcome IS NULL";
            transaction.execute(text, params![id, outcome, error, now.0]).map(|_| ())
        })
    }

    /// Notes why an outcome is not known, and leaves it open.
    pub fn journal_unknown(&self, id: i64, error: &str) -> Result<(), DbError> {
        self.transact(|transaction| {
            let text = "UPDATE journal SET error = ?2 WHERE id = ?1";
            transaction.execute(text, params![id, error]).map(|_| ())
        })
    }

    /// Writes rows that say all there is to say at once: what was denied, noticed or only planned.
    pub fn journal_notes(&self, notes: &[(Intent, &str)], now: Timestamp) -> Result<(), DbError> {
        self.transact(|transaction| {
            for (intent, outcome) in notes {
                let id = insert(transaction, intent, now)?;
                let text = "UPDATE journal SET outcome = ?2, outcome_at = ?3 WHERE id = ?1";
                transaction.execute(text, params![id, outcome, now.0])?;
            }
            Ok(())
        })
    }

    /// The pool's rows without an outcome, oldest first.
    pub fn journal_open(&self, pool: &str) -> Result<Vec<Entry>, DbError> {
        self.transact(|transaction| {
            let text = "SELECT * FROM journal WHERE pool = ?1 AND outcome IS NULL ORDER BY id";
            transaction.prepare_cached(text)?.query_map([pool], entry)?.collect()
        })
    }

    /// The last rows, newest first; of all pools without `pool`.
    pub fn journal_last(&self, pool: Option<&str>, most: usize) -> Result<Vec<Entry>, DbError> {
        self.transact(|transaction| {
            let text = "SELECT * FROM journal WHERE ?1 IS NULL OR pool = ?1 \
                        ORDER BY id DESC LIMIT ?2";
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            transaction.prepare_cached(text)?.query_map(params![pool, most], entry)?.collect()
        })
    }
}

fn insert(transaction: &Transaction<'_>, intent: &Intent, now: Timestamp) -> rusqlite::Result<i64> {
    let Intent { pool, plan, action, target, cause, who, mode } = intent;
    let text = "INSERT INTO journal (pool, plan, action, target, cause, who, mode, intent_at) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values = params![pool, plan, action, target, cause, who, mode, now.0];
    transaction.prepare_cached(text)?.execute(values)?;
    let id = transaction.last_insert_rowid();
    let old = "DELETE FROM journal WHERE id <= ?1 AND outcome IS NOT NULL";
    transaction.prepare_cached(old)?.execute([id - MOST])?;
    Ok(id)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get("id")?,
        pool: row.get("pool")?,
        plan: row.get("plan")?,
        action: row.get("action")?,
        target: row.get("target")?,
        cause: row.get("cause")?,
        who: row.get("who")?,
        mode: row.get("mode")?,
        intent_at: Timestamp(row.get("intent_at")?),
        outcome_at: row.get::<_, Option<i64>>("outcome_at")?.map(Timestamp),
        outcome: row.get("outcome")?,
        error: row.get("error")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(target: &str) -> Intent {
        Intent { pool: "ci".to_owned(), target: target.to_owned(), ..Intent::default() }
    }

    #[test]
    fn open_until_an_outcome_and_the_first_outcome_stays() {
        let db = Db::in_memory().unwrap();
        let now = Timestamp(5);
        let first = db.journal_intent(&intent("a"), now).unwrap();
        let second = db.journal_intent(&intent("b"), now).unwrap();
        db.journal_unknown(first, "no answer").unwrap();
        assert_eq!(db.journal_open("ci").unwrap().len(), 2);
        db.journal_outcome(first, "done", None, Timestamp(6)).unwrap();
        db.journal_outcome(first, "failed", Some("late"), Timestamp(7)).unwrap();
        let open: Vec<i64> = db.journal_open("ci").unwrap().iter().map(|row| row.id).collect();
        assert_eq!(open, [second]);
        let last = db.journal_last(Some("ci"), 9).unwrap();
        assert_eq!((last[0].id, last[1].outcome.as_deref()), (second, Some("done")));
        assert_eq!(last[1].error.as_deref(), Some("no answer"));
        assert_eq!(last[1].outcome_at, Some(Timestamp(6)));
        assert!(db.journal_last(Some("other"), 9).unwrap().is_empty());
        assert_eq!(db.journal_last(None, 1).unwrap().len(), 1);
    }

    #[test]
    fn notes_are_closed_at_once() {
        let db = Db::in_memory().unwrap();
        db.journal_notes(&[(intent("a"), "would have")], Timestamp(1)).unwrap();
        assert!(db.journal_open("ci").unwrap().is_empty());
        assert_eq!(db.journal_last(None, 9).unwrap()[0].outcome.as_deref(), Some("would have"));
    }
}
