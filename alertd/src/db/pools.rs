//! Pools: their state, its history, who holds them, and where runners were last seen.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::{Db, DbError};
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
CREATE TABLE pool_states (
    pool TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pool_transitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pool TEXT NOT NULL,
    at INTEGER NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    cause TEXT NOT NULL
) STRICT;
CREATE INDEX pool_transitions_pool ON pool_transitions (pool, id);
CREATE TABLE holds (
    pool TEXT PRIMARY KEY,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE runner_places (
    runner TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Transitions kept of each pool.
const MOST: i64 = 1000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    pub at: Timestamp,
    pub from: String,
    pub to: String,
    pub cause: String,
}

/// A person's word that nothing may be changed, on one pool or, with an empty name, on all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    pub pool: String,
    pub who: String,
    pub reason: String,
    pub at: Timestamp,
}

/// The instance on which a runner was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerPlace {
    pub runner: String,
    pub instance: String,
    pub seen_at: Timestamp,
}

impl Db {
    /// The pool's state, as actions wrote it.
    pub fn pool_state(&self, pool: &str) -> Result<Option<String>, DbError> {
        self.transact(|transaction| {
            let text = "SELECT state FROM pool_states WHERE pool = ?1";
            transaction.query_row(text, [pool], |row| row.get(0)).optional()
        })
    }

    /// Writes the state and how it came about, both or neither.
    pub fn save_pool(
        &self,
        pool: &str,
        state: &str,
        transitions: &[Transition],
    ) -> Result<(), DbError> {
        self.transact(|transaction| {
            let text = "INSERT INTO pool_states (pool, state) VALUES (?1, ?2) \
                        ON CONFLICT (pool) DO UPDATE SET state = excluded.state";
            transaction.execute(text, params![pool, state])?;
            for Transition { at, from, to, cause } in transitions {
                let text = "INSERT INTO pool_transitions (pool, at, from_state, to_state, cause) \
                            VALUES (?1, ?2, ?3, ?4, ?5)";
                transaction.execute(text, params![pool, at.0, from, to, cause])?;
            }
            let text = "DELETE FROM pool_transitions WHERE pool = ?1 AND id <= (SELECT id FROM \
                        pool_transitions WHERE pool = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
            transaction.execute(text, params![pool, MOST]).map(|_| ())
        })
    }

    /// The pool's last transitions, newest first.
    pub fn pool_transitions(&self, pool: &str, most: usize) -> Result<Vec<Transition>, DbError> {
        self.transact(|transaction| {
            let text = "SELECT at, from_state, to_state, cause FROM pool_transitions \
                        WHERE pool = ?1 ORDER BY id DESC LIMIT ?2";
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let mut statement = transaction.prepare_cached(text)?;
            let rows = statement.query_map(params![pool, most], |row| {
                Ok(Transition {
                    at: Timestamp(row.get(0)?),
                    from: row.get(1)?,
                    to: row.get(2)?,
                    cause: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Every hold there is, by pool; the one on all pools first.
    pub fn holds(&self) -> Result<Vec<Hold>, DbError> {
        self.transact(|transaction| {
            let text = "SELECT pool, who, reason, at FROM holds ORDER BY pool";
            let mut statement = transaction.prepare_cached(text)?;
            let rows = statement.query_map([], |row| {
                Ok(Hold {
                    pool: row.get(0)?,
                    who: row.get(1)?,
                    reason: row.get(2)?,
                    at: Timestamp(row.get(3)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Puts a hold in place; one that is there already keeps its time.
    pub fn hold(&self, hold: &Hold) -> Result<(), DbError> {
        self.transact(|transaction| {
            let text = "INSERT INTO holds (pool, who, reason, at) VALUES (?1, ?2, ?3, ?4) \
                        ON CONFLICT (pool) DO UPDATE SET who = excluded.who, \
                        reason = excluded.reason";
            let Hold { pool, who, reason, at } = hold;
            transaction.execute(text, params![pool, who, reason, at.0]).map(|_| ())
        })
    }

    /// Ends a hold; says whether there was one.
    pub fn release(&self, pool: &str) -> Result<bool, DbError> {
        self.transact(|transaction| {
            transaction.execute("DELETE FROM holds WHERE pool = ?1", [pool]).map(|count| count > 0)
        })
    }

    pub fn runner_places(&self) -> Result<Vec<RunnerPlace>, DbError> {
        self.transact(|transaction| {
            let text = "SELECT runner, instance, seen_at FROM runner_places ORDER BY runner";
            let mut statement = transaction.prepare_cached(text)?;
            let rows = statement.query_map([], |row| {
                Ok(RunnerPlace {
                    runner: row.get(0)?,
                    instance: row.get(1)?,
                    seen_at: Timestamp(row.get(2)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Replaces all that is remembered of runners' places.
    pub fn save_runner_places(&self, places: &[RunnerPlace]) -> Result<(), DbError> {
        self.transact(|transaction| {
            transaction.execute("DELETE FROM runner_places", [])?;
            let text = "INSERT INTO runner_places (runner, instance, seen_at) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare_cached(text)?;
            for RunnerPlace { runner, instance, seen_at } in places {
                statement.execute(params![runner, instance, seen_at.0])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: i64) -> Transition {
        let text = |text: &str| text.to_owned();
        Transition { at: Timestamp(at), from: text("a"), to: text("b"), cause: text("c") }
    }

    #[test]
    fn state_and_history_come_back() {
        let db = Db::in_memory().unwrap();
        assert_eq!(db.pool_state("ci").unwrap(), None);
        for at in 0..MOST + 5 {
            db.save_pool("ci", &at.to_string(), &[step(at)]).unwrap();
        }
        assert_eq!(db.pool_state("ci").unwrap(), Some((MOST + 4).to_string()));
        let kept = db.pool_transitions("ci", 5000).unwrap();
        assert_eq!((kept.len() as i64, kept[0].at.0), (MOST, MOST + 4));
    }

    #[test]
    fn holds_and_places_come_back() {
        let db = Db::in_memory().unwrap();
        let hold = |pool: &str, who: &str, at| Hold {
            pool: pool.to_owned(),
            who: who.to_owned(),
            reason: "freeze".to_owned(),
            at: Timestamp(at),
        };
        db.hold(&hold("ci", "ann", 1)).unwrap();
        db.hold(&hold("", "bob", 2)).unwrap();
        db.hold(&hold("ci", "cat", 3)).unwrap();
        assert_eq!(db.holds().unwrap(), [hold("", "bob", 2), hold("ci", "cat", 1)]);
        assert!(db.release("ci").unwrap());
        assert!(!db.release("ci").unwrap());

        let place = |runner: &str| RunnerPlace {
            runner: runner.to_owned(),
            instance: "a:1".to_owned(),
            seen_at: Timestamp(7),
        };
        db.save_runner_places(&[place("x"), place("y")]).unwrap();
        db.save_runner_places(&[place("y")]).unwrap();
        assert_eq!(db.runner_places().unwrap(), [place("y")]);
    }
}
