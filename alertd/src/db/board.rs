//! What people and other programs told routing: silences, acknowledgements, posted alerts.

use rusqlite::{Transaction, params};

use super::{Db, DbError};
use crate::model::sample::Timestamp;

pub(super) const SCHEMA: &str = "
CREATE TABLE board (
    kind TEXT NOT NULL CHECK (kind IN ('silence', 'acknowledgement', 'received')),
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX board_ends ON board (kind, ends_at);
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Silence,
    Acknowledgement,
    /// An alert that came over the API.
    Received,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Silence => "silence",
            Kind::Acknowledgement => "acknowledgement",
            Kind::Received => "received",
        }
    }
}

/// One entry, as routing wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique among its kind.
    pub key: String,
    /// Routing's own text.
    pub body: String,
    pub ends_at: Timestamp,
}

/// Entries to write and keys to forget, of one kind.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub written: Vec<Entry>,
    pub gone: Vec<String>,
}

impl Db {
    pub fn load_board(&self, kind: Kind) -> Result<Vec<Entry>, DbError> {
        self.transact(|transaction| {
            let mut select =
                transaction.prepare("SELECT key, body, ends_at FROM board WHERE kind = ?1")?;
            let rows = select.query_map([kind.name()], |row| {
                let ends_at = Timestamp(row.get(2)?);
                Ok(Entry { key: row.get(0)?, body: row.get(1)?, ends_at })
            })?;
            rows.collect()
        })
    }

    /// All of it in one transaction.
    pub async fn change_board(&self, kind: Kind, changes: Changes) -> Result<(), DbError> {
        self.call(move |transaction| write(transaction, kind, &changes)).await
    }

    /// Forgets what ended before `before`.
    pub async fn prune_board(&self, kind: Kind, before: Timestamp) -> Result<usize, DbError> {
        self.call(move |transaction| {
            let delete = "DELETE FROM board WHERE kind = ?1 AND ends_at < ?2";
            transaction.execute(delete, params![kind.name(), before.0])
        })
        .await
    }
}

fn write(transaction: &Transaction<'_>, kind: Kind, changes: &Changes) -> rusqlite::Result<()> {
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO board VALUES (?1, ?2, ?3, ?4)")?;
    for entry in &changes.written {
        put.execute(params![kind.name(), entry.key, entry.body, entry.ends_at.0])?;
    }
    let mut delete =
        transaction.prepare_cached("DELETE FROM board WHERE kind = ?1 AND key = ?2")?;
    for key in &changes.gone {
        delete.execute(params![kind.name(), key])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_there_after_a_restart_until_it_is_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |key: &str, ends_at| Entry {
            key: key.to_owned(),
            body: format!("'{key}'\n\u{0}é"),
            ends_at: Timestamp(ends_at),
        };
        let db = Db::open(folder.path()).unwrap();
        let written = vec![entry("a", 1), entry("b", 5), entry("c", 9)];
        db.change_board(Kind::Silence, Changes { written, gone: vec![] }).await.unwrap();
        let changes = Changes { written: vec![entry("b", 7)], gone: vec!["c".to_owned()] };
        db.change_board(Kind::Silence, changes.clone()).await.unwrap();
        db.change_board(Kind::Received, changes).await.unwrap();
        drop(db);
        let db = Db::open(folder.path()).unwrap();
        assert_eq!(db.load_board(Kind::Silence).unwrap(), [entry("a", 1), entry("b", 7)]);
        assert_eq!(db.prune_board(Kind::Silence, Timestamp(7)).await.unwrap(), 1);
        assert_eq!(db.load_board(Kind::Silence).unwrap(), [entry("b", 7)]);
        assert_eq!(db.load_board(Kind::Received).unwrap(), [entry("b", 7)]);
        assert_eq!(db.load_board(Kind::Acknowledgement).unwrap(), []);
    }
}
