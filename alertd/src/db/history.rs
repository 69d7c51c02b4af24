//! What fired when, when somebody was told, and when it ended: the material of the daily digest.
//!
//! When an alert was told is kept apart from the alert, because delivery and the recorder do not
//! wait for each other. Both are bounded: by age, and by a number of rows.

use rusqlite::{Transaction, params};

use super::{Db, DbError};
use crate::model::labels::Fingerprint;
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
CREATE TABLE alert_history (
    fingerprint TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    name TEXT NOT NULL,
    severity TEXT NOT NULL,
    labels TEXT NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (fingerprint, started_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_history_started ON alert_history (started_at);
CREATE INDEX alert_history_ended ON alert_history (ended_at);
CREATE TABLE alert_told (
    fingerprint TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, told_at)
) STRICT, WITHOUT ROWID;
CREATE TABLE digests (
    integration TEXT PRIMARY KEY,
    covered_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Rows of either table beyond which the oldest go.
const MAX_ROWS: i64 = 500_000;

/// One alert from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    pub fingerprint: String,
    pub started_at: Timestamp,
    pub name: String,
    pub severity: String,
    /// For people: `instance=a, job=b`.
    pub labels: String,
    /// `None` while it fires.
    pub ended_at: Option<Timestamp>,
    /// When the first receiver accepted a notification of it, if one has.
    pub told_at: Option<Timestamp>,
}

/// Something to be written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Began(Episode),
    Ended { fingerprint: String, started_at: Timestamp, ended_at: Timestamp },
}

/// The handle on the tables; clones share them.
#[derive(Clone)]
pub struct History(Db);

impl History {
    pub fn new(db: Db) -> History {
        History(db)
    }

    pub async fn write(&self, changes: Vec<Change>) -> Result<(), DbError> {
        self.0
            .call(move |tx| {
                for change in &changes {
                    apply(tx, change)?;
                }
                Ok(())
            })
            .await
    }

    /// Alerts that have begun and not ended, of which the oldest `limit`.
    pub async fn open(&self, limit: u32) -> Result<Vec<Episode>, DbError> {
        self.read("WHERE h.ended_at IS NULL ORDER BY h.started_at LIMIT ?1", [i64::from(limit)])
            .await
    }

    /// Alerts that began or ended from `from` on and before `to`, and those that fire still.
    pub async fn between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Episode>, DbError> {
        let condition = "WHERE (h.started_at >= ?1 AND h.started_at < ?2)
            OR (h.ended_at >= ?1 AND h.ended_at < ?2)
            OR (h.ended_at IS NULL AND h.started_at < ?2) ORDER BY h.started_at";
        self.read(condition, [from.0, to.0]).await
    }

    /// Up to when the integration's digests reach.
    pub async fn covered(&self, integration: String) -> Result<Option<Timestamp>, DbError> {
        self.0
            .call(move |tx| {
                let sql = "SELECT covered_until FROM digests WHERE integration = ?1";
                let mut statement = tx.prepare_cached(sql)?;
                let mut rows = statement.query([integration])?;
                rows.next()?.map(|row| row.get(0).map(Timestamp)).transpose()
            })
            .await
    }

    pub async fn cover(&self, integration: String, until: Timestamp) -> Result<(), DbError> {
        self.0
            .call(move |tx| {
                let sql = "INSERT OR REPLACE INTO digests VALUES (?1, ?2)";
                tx.execute(sql, params![integration, until.0]).map(drop)
            })
            .await
    }

    /// Forgets what ended before `before`, and the oldest of too many.
    pub async fn prune(&self, before: Timestamp) -> Result<(), DbError> {
        self.0
            .call(move |tx| {
                tx.execute("DELETE FROM alert_history WHERE ended_at < ?1", [before.0])?;
                tx.execute("DELETE FROM alert_told WHERE told_at < ?1", [before.0])?;
                for (table, column) in [("alert_history", "started_at"), ("alert_told", "told_at")]
                {
                    tx.execute(
                        &format!(
                            "DELETE FROM {table} WHERE {column} <= (SELECT {column} FROM {table}
                             ORDER BY {column} DESC LIMIT 1 OFFSET ?1)"
                        ),
                        [MAX_ROWS],
                    )?;
                }
                Ok(())
            })
            .await
    }

    async fn read<P: rusqlite::Params + Send + 'static>(
        &self,
        condition: &'static str,
        values: P,
    ) -> Result<Vec<Episode>, DbError> {
        self.0
            .call(move |tx| {
                let mut statement = tx.prepare_cached(&format!(
                    "SELECT h.fingerprint, h.started_at, h.name, h.severity, h.labels, h.ended_at,
                         (SELECT min(t.told_at) FROM alert_told AS t
                          WHERE t.fingerprint = h.fingerprint AND t.told_at >= h.started_at
                          AND (h.ended_at IS NULL OR t.told_at <= h.ended_at))
                     FROM alert_history AS h {condition}"
                ))?;
                let rows = statement.query_map(values, |row| {
                    Ok(Episode {
                        fingerprint: row.get(0)?,
                        started_at: Timestamp(row.get(1)?),
                        name: row.get(2)?,
                        severity: row.get(3)?,
                        labels: row.get(4)?,
                        ended_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                        told_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
                    })
                })?;
                rows.collect()
            })
            .await
    }
}

fn apply(tx: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Began(episode) => tx
            .prepare_cached(
                "INSERT OR IGNORE INTO alert_history VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
            )?
            .execute(params![
                episode.fingerprint,
                episode.started_at.0,
                episode.name,
                episode.severity,
                episode.labels
            ]),
        Change::Ended { fingerprint, started_at, ended_at } => tx
            .prepare_cached(
                "UPDATE alert_history SET ended_at = ?3 WHERE fingerprint = ?1 AND started_at = ?2",
            )?
            .execute(params![fingerprint, started_at.0, ended_at.0]),
    }
    .map(drop)
}

/// Notes of each alert in `told` that a receiver has just been told of it.
pub(super) fn told<'a>(
    tx: &Transaction<'_>,
    told: impl Iterator<Item = &'a Fingerprint>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    for fingerprint in told {
        tx.prepare_cached("INSERT OR IGNORE INTO alert_told VALUES (?1, ?2)")?
            .execute(params![fingerprint.to_string(), now.0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(fingerprint: &str, started_at: i64) -> Change {
        Change::Began(Episode {
            fingerprint: fingerprint.into(),
            started_at: Timestamp(started_at),
            name: "A".into(),
            severity: "info".into(),
            labels: String::new(),
            ended_at: None,
            told_at: None,
        })
    }

    fn ended(fingerprint: &str, started_at: i64, ended_at: i64) -> Change {
        let (started_at, ended_at) = (Timestamp(started_at), Timestamp(ended_at));
        Change::Ended { fingerprint: fingerprint.into(), started_at, ended_at }
    }

    const A: &str = "000000000000000a";
    const B: &str = "000000000000000b";
    const C: &str = "000000000000000c";

    #[tokio::test]
    async fn what_happened_in_a_period_and_when_it_was_told() {
        let db = Db::in_memory().unwrap();
        let history = History::new(db.clone());
        let changes = vec![
            began(A, 10),
            ended(A, 10, 20),
            began(A, 50),
            began(B, 60),
            began(B, 60),
            ended(B, 60, 150),
            began(C, 300),
        ];
        history.write(changes).await.unwrap();
        // Told before its start, of an earlier life, and twice.
        for (fingerprint, at) in [(A, 12), (A, 55), (A, 70), (C, 90)] {
            let hash = fingerprint.parse().unwrap();
            db.transact(|tx| told(tx, [&hash].into_iter(), Timestamp(at))).unwrap();
        }
        let found = history.between(Timestamp(40), Timestamp(200)).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|e| {
                (&*e.fingerprint, e.started_at.0, e.ended_at.map(|t| t.0), e.told_at.map(|t| t.0))
            })
            .collect();
        assert_eq!(found, [(A, 50, None, Some(55)), (B, 60, Some(150), None)]);
        assert_eq!(history.open(10).await.unwrap().len(), 2);
        history.prune(Timestamp(100)).await.unwrap();
        assert_eq!(history.between(Timestamp(0), Timestamp(1000)).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_digest_knows_how_far_it_has_come() {
        let history = History::new(Db::in_memory().unwrap());
        assert_eq!(history.covered("r".into()).await.unwrap(), None);
        for until in [5, 9] {
            history.cover("r".into(), Timestamp(until)).await.unwrap();
            assert_eq!(history.covered("r".into()).await.unwrap(), Some(Timestamp(until)));
        }
    }
}
