//! Snapshots of a running alertd, in its data directory, for `backup` to take away.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use super::{BackupError, DATABASE, SAMPLES, failed, folder};
use crate::db::Db;
use crate::model::sample::Timestamp;
use crate::tsdb::Tsdb;

/// Within the data directory.
pub const FOLDER: &str = "snapshots";
/// Snapshots that nobody took away; with the next one the older ones go.
const MOST_KEPT: usize = 1;
/// And those older than this.
const MOST_AGE: Duration = Duration::from_secs(86_400);

/// Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    data_dir: PathBuf,
    db: Db,
    tsdb: Arc<Tsdb>,
    one: Arc<Mutex<()>>,
}

impl Snapshots {
    pub fn new(data_dir: &Path, db: Db, tsdb: Arc<Tsdb>) -> Snapshots {
        Snapshots { data_dir: data_dir.into(), db, tsdb, one: Arc::default() }
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Makes one and gives its name within the folder of snapshots.
    ///
    /// Blocks are linked, not copied. State is as it is at one moment, samples as at a moment
    /// shortly before.
    ///
    /// # Errors
    /// When one is being made already, or something cannot be written.
    pub fn make(&self, now: Timestamp) -> Result<String, BackupError> {
        let _one = match self.one.try_lock() {
            Ok(one) => one,
            Err(TryLockError::Poisoned(one)) => one.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(BackupError::Busy),
        };
        let all = self.data_dir.join(FOLDER);
        folder::create(&all)?;
        prune(&all, now)?;
        let name = format!("{:013}-{:08x}", now.0, fastrand::u32(..));
        let part = all.join(format!("{name}.part"));
        let made = self.write(&part).and_then(|()| {
            fs::rename(&part, all.join(&name)).map_err(failed("rename", &part))?;
            folder::sync(&all)
        });
        if let Err(error) = made {
            folder::delete(&part)?;
            return Err(error);
        }
        Ok(name)
    }

    fn write(&self, part: &Path) -> Result<(), BackupError> {
        folder::create(part)?;
        self.tsdb.snapshot(&part.join(SAMPLES))?;
        self.db.copy_to(&part.join(DATABASE))?;
        folder::sync_all(part)
    }
}

/// Deletes what is half made, too old, or more than is kept.
fn prune(all: &Path, now: Timestamp) -> Result<(), BackupError> {
    let mut whole = Vec::new();
    for entry in fs::read_dir(all).map_err(failed("list", all))? {
        let path = entry.map_err(failed("list", all))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let made_at = name.split_once('-').and_then(|(time, _)| time.parse().ok()).map(Timestamp);
        match made_at.filter(|made_at| now.since(*made_at) < MOST_AGE && !name.contains('.')) {
            Some(_) => whole.push(path),
            None => folder::delete(&path)?,
        }
    }
    whole.sort_unstable();
    whole.iter().rev().skip(MOST_KEPT).try_for_each(|path| folder::delete(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsdb::Limits;

    #[test]
    fn leftover_snapshots_are_few_and_young() {
        let data = tempfile::tempdir().unwrap();
        let tsdb = Arc::new(Tsdb::new(Limits::default()));
        let snapshots = Snapshots::new(data.path(), Db::in_memory().unwrap(), tsdb);
        let all = data.path().join(FOLDER);
        for round in 0..4 {
            let name = snapshots.make(Timestamp(1000 * round)).unwrap();
            assert!(all.join(&name).join(DATABASE).exists());
            fs::create_dir(all.join("half.part")).unwrap();
            let count = fs::read_dir(&all).unwrap().count();
            assert!(count <= 3, "{count}");
        }
        snapshots.make(Timestamp(1_000_000_000)).unwrap();
        assert_eq!(fs::read_dir(&all).unwrap().count(), 1);
        let busy = snapshots.one.lock().unwrap();
        assert!(matches!(snapshots.make(Timestamp(0)), Err(BackupError::Busy)));
        drop(busy);
    }
}
