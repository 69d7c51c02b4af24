//! The SQLite handle. This module and its children are the only ones that know rusqlite.

pub mod alerts;
pub mod board;
pub mod history;
pub mod journal;
pub mod lane_memory;
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
    _lock: Option<Lock>,
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

/// Held by the one process that uses a data directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Makes the folder when it is not there, and takes its lock.
///
/// # Errors
/// When another process has it.
pub fn lock(folder: &Path) -> Result<Lock, DbError> {
    let at_folder = |source| DbError::Folder { path: folder.into(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at_folder)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join("lock"))
        .map_err(at_folder)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(DbError::InUse(folder.into())),
        Err(TryLockError::Error(source)) => Err(at_folder(source)),
    }
}

impl Db {
    /// Opens or creates `folder/pitcrew.db`, takes the folder's lock and brings the schema up.
    pub fn open(folder: &Path) -> Result<Db, DbError> {
        Db::open_locked(folder, lock(folder)?)
    }

    /// As `open`, for who has taken the lock to do something before.
    pub fn open_locked(folder: &Path, lock: Lock) -> Result<Db, DbError> {
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

    fn prepare(mut connection: Connection, lock: Option<Lock>, path: &Path) -> Result<Db, DbError> {
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

    /// Writes all of it, as it is at this moment, into a new file, which is synced.
    pub fn copy_to(&self, path: &Path) -> Result<(), DbError> {
        let text = path.to_string_lossy();
        self.connection().execute("VACUUM INTO ?1", [&text])?;
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| DbError::Folder { path: path.into(), source })
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

    #[test]
    fn a_copy_has_what_was_there_at_that_moment() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path()).unwrap();
        let count = |db: &Db| {
            let rows = "SELECT count(*) FROM copied";
            db.transact(|sql| sql.query_row(rows, [], |row| row.get::<_, i64>(0))).unwrap()
        };
        let add = || db.transact(|sql| sql.execute("INSERT INTO copied VALUES (1)", [])).unwrap();
        db.transact(|sql| sql.execute("CREATE TABLE copied (n)", [])).unwrap();
        add();
        let other = tempfile::tempdir().unwrap();
        db.copy_to(&other.path().join("pitcrew.db")).unwrap();
        add();
        assert_eq!((count(&db), count(&Db::open(other.path()).unwrap())), (2, 1));
        assert!(db.copy_to(&other.path().join("pitcrew.db")).is_err(), "never over another");
    }
}
