//! The SQLite handle. This module and its children are the only ones that know rusqlite.

pub mod alerts;
pub mod journal;
pub mod migrations;
pub mod notification_log;
pub mod outbox;
pub mod pools;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, time};

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// One process' handle on `pitcrew.db`; clones share it. Commits are synced to disk.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    connection: Mutex<Connection>,
    /// Held until the last clone goes: a second alertd on this folder is refused.
    _lock: Option<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("cannot use data directory {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("data directory {0} is in use by another alertd")]
    InUse(PathBuf),
    #[error("{path} was written by a newer version (schema {found}, this one knows {known})")]
    Newer { path: PathBuf, found: usize, known: usize },
    #[error("cannot use database {path}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("database failed")]
    Sqlite(#[from] rusqlite::Error),
    #[error("database task was stopped")]
    Stopped,
}

impl Db {
    /// Opens or creates `folder/pitcrew.db`, takes the folder's lock and brings the schema up.
    pub fn open(folder: &Path) -> Result<Db, DbError> {
        let at_folder = |source| DbError::Folder { path: folder.into(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at_folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(at_folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DbError::InUse(folder.into())),
            Err(TryLockError::Error(source)) => return Err(at_folder(source)),
        }
        let path = folder.join("pitcrew.db");
        let opened = Connection::open(&path).map_err(DbError::from);
        opened.and_then(|connection| Db::prepare(connection, Some(lock), &path)).map_err(|error| {
            match error {
                DbError::Sqlite(source) => DbError::Open { path, source },
                other => other,
            }
        })
    }

    /// A database that ends with its handle, for tests and one-shot commands.
    pub fn in_memory() -> Result<Db, DbError> {
        Db::prepare(Connection::open_in_memory()?, None, Path::new(":memory:"))
    }

    fn prepare(mut connection: Connection, lock: Option<File>, path: &Path) -> Result<Db, DbError> {
        connection.busy_timeout(time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrations::run(&mut connection, path)?;
        Ok(Db(Arc::new(Inner { connection: Mutex::new(connection), _lock: lock })))
    }

    /// Runs `work` in one immediate transaction; what it returned `Ok` for is on disk.
    pub fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// The same from async code, off the runtime's own threads.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        let db = self.clone();
        tokio::task::spawn_blocking(move || db.transact(work))
            .await
            .map_err(|_| DbError::Stopped)?
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction has rolled it back; the connection itself is sound.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_alertd_on_one_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Db::open(folder.path()).unwrap();
        assert!(matches!(Db::open(folder.path()), Err(DbError::InUse(_))));
        drop(first);
        Db::open(folder.path()).unwrap();
    }
}
