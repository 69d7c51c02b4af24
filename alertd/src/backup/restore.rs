//! The way back: a backup is laid ready in the data directory, whole and checked, and takes the
//! place of what is there while nobody uses that.
//!
//! A crash at any step leaves either what was there, or the next start goes on where it ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{BackupError, DATABASE, Manifest, SAMPLES, failed, folder};

/// Within the data directory: what is laid ready.
const STAGED: &str = "restore";
/// Within that: the swap has begun.
const BEGUN: &str = "begun";
/// Within the data directory: what the last restore replaced.
pub const REPLACED: &str = "before-restore";

/// Copies the backup `from` into `data_dir` and checks every byte of it; nothing is replaced yet.
pub fn stage(from: &Path, data_dir: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(from)?;
    folder::create(data_dir)?;
    let part = data_dir.join("restore.part");
    folder::delete(&part)?;
    folder::create(&part)?;
    let copied = manifest.files.iter().try_for_each(|file| {
        folder::copy_file(&from.join(&file.path), &part.join(&file.path), Some(file))
    });
    // The folder of samples is there also when none were.
    let copied = copied.and_then(|()| folder::create(&part.join(SAMPLES)));
    if let Err(error) = copied.and_then(|()| folder::sync_all(&part)) {
        folder::delete(&part)?;
        return Err(error);
    }
    unstage(data_dir)?;
    let staged = data_dir.join(STAGED);
    fs::rename(&part, &staged).map_err(failed("rename", &part))?;
    folder::sync(data_dir)?;
    Ok(manifest)
}

/// Whether a backup is laid ready.
pub fn is_staged(data_dir: &Path) -> bool {
    data_dir.join(STAGED).is_dir()
}

/// Takes away what is laid ready, unless it has begun to take its place.
pub fn unstage(data_dir: &Path) -> Result<(), BackupError> {
    let staged = data_dir.join(STAGED);
    if staged.join(BEGUN).exists() {
        return Err(BackupError::Bad {
            path: staged,
            expected: "no restore under way",
            found: "one that a crash ended: start alertd, which ends it".to_owned(),
        });
    }
    folder::delete(&staged)
}

/// Puts what is laid ready in its place and gives the folder of what was there before, of which the
/// last one is kept. `None` when nothing is ready. The caller holds the data directory's lock.
pub fn apply(data_dir: &Path) -> Result<Option<PathBuf>, BackupError> {
    if !is_staged(data_dir) {
        return Ok(None);
    }
    let (staged, replaced) = (data_dir.join(STAGED), data_dir.join(REPLACED));
    let begun = staged.join(BEGUN);
    if !begun.exists() {
        folder::delete(&replaced)?;
        File::create_new(&begun).map_err(failed("create", &begun))?;
        folder::sync(&staged)?;
    }
    folder::create(&replaced)?;
    // SQLite's journal goes with its file: with another one it would be the wrong one.
    let wal = ["-wal", "-shm", ""].map(|ending| format!("{DATABASE}{ending}"));
    for (name, goes) in [(DATABASE, wal.as_slice()), (SAMPLES, &[SAMPLES.to_owned()])] {
        let new = staged.join(name);
        if !new.exists() {
            continue;
        }
        for old in goes {
            let old = (data_dir.join(old), replaced.join(old));
            if old.0.exists() {
                fs::rename(&old.0, &old.1).map_err(failed("move", &old.0))?;
            }
        }
        folder::sync(&replaced)?;
        fs::rename(&new, data_dir.join(name)).map_err(failed("move", &new))?;
        folder::sync(data_dir)?;
    }
    folder::delete(&staged)?;
    folder::sync(data_dir)?;
    Ok(Some(replaced))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::Timestamp;

    fn put(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn text(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| error.kind().to_string())
    }

    fn backup(root: &Path) -> PathBuf {
        let from = root.join("backup");
        put(&from, &[("pitcrew.db", "new"), ("metrics/blocks/1-2/index", "new index")]);
        Manifest::write(&from, Timestamp(5)).unwrap();
        from
    }

    fn old_data(root: &Path) -> PathBuf {
        let data = root.join("data");
        let files =
            [("pitcrew.db", "old"), ("pitcrew.db-wal", "old wal"), ("metrics/wal/1", "old log")];
        put(&data, &[&files[..], &[("operator-token", "secret")]].concat());
        data
    }

    fn is_restored(data: &Path) {
        assert_eq!(text(data.join("pitcrew.db")), "new");
        assert_eq!(text(data.join("metrics/blocks/1-2/index")), "new index");
        assert_eq!(text(data.join("operator-token")), "secret");
        assert!(!data.join("pitcrew.db-wal").exists() && !data.join("metrics/wal").exists());
        let kept = data.join(REPLACED);
        assert_eq!(text(kept.join("pitcrew.db-wal")), "old wal");
        assert_eq!(
            (text(kept.join("pitcrew.db")), text(kept.join("metrics/wal/1"))),
            ("old".into(), "old log".into())
        );
        assert!(!is_staged(data));
    }

    #[test]
    fn a_backup_takes_the_place_of_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let (from, data) = (backup(root.path()), old_data(root.path()));
        assert_eq!(apply(&data).unwrap(), None);
        assert_eq!(stage(&from, &data).unwrap().made_at, Timestamp(5));
        assert_eq!(text(data.join("pitcrew.db")), "old", "nothing is replaced yet");
        assert_eq!(apply(&data).unwrap(), Some(data.join(REPLACED)));
        is_restored(&data);
        // And into an empty folder.
        let empty = root.path().join("empty");
        stage(&from, &empty).unwrap();
        apply(&empty).unwrap();
        assert_eq!(text(empty.join("pitcrew.db")), "new");
    }

    #[test]
    fn a_crash_at_any_step_is_ended_by_the_next_start() {
        // After so many moves, in the order in which they are made.
        let moves = ["pitcrew.db-wal", "pitcrew.db", "+pitcrew.db", "metrics", "+metrics"];
        for done in 0..=moves.len() {
            let root = tempfile::tempdir().unwrap();
            let (from, data) = (backup(root.path()), old_data(root.path()));
            stage(&from, &data).unwrap();
            put(&data, &[("restore/begun", "")]);
            fs::create_dir(data.join(REPLACED)).unwrap();
            for name in &moves[..done] {
                match name.strip_prefix('+') {
                    Some(name) => fs::rename(data.join(STAGED).join(name), data.join(name)),
                    None => fs::rename(data.join(name), data.join(REPLACED).join(name)),
                }
                .unwrap();
            }
            assert!(unstage(&data).is_err(), "it cannot be called back now");
            apply(&data).unwrap();
            is_restored(&data);
        }
    }

    #[test]
    fn what_is_not_the_backup_that_was_made_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let data = old_data(root.path());
        let from = backup(root.path());
        let json = text(from.join("backup.json"));
        for (file, content, want) in [
            ("pitcrew.db", "nEw", "expected what was there when the backup was made"),
            ("metrics/blocks/1-2/index", "", "found 0 bytes"),
            ("backup.json", "{}", "expected a manifest"),
            (
                "backup.json",
                &json.replace("\"version\": 1", "\"version\": 9"),
                "expected version 1",
            ),
            (
                "backup.json",
                &json.replace("metrics/blocks", "metrics/../.."),
                "found metrics/../..",
            ),
            ("backup.json", &json.replace("\"pitcrew.db", "\"/etc/x"), "found /etc/x"),
            ("backup.json", &json.replace("\"pitcrew.db", "\"operator-token"), "found operator"),
        ] {
            let good = fs::read(from.join(file)).unwrap();
            fs::write(from.join(file), content).unwrap();
            let error = stage(&from, &data).unwrap_err().to_string();
            assert!(error.contains(want), "{file}: {error}");
            assert!(!is_staged(&data) && !data.join("restore.part").exists());
            fs::write(from.join(file), good).unwrap();
        }
        stage(&from, &data).unwrap();
        let missing = stage(&root.path().join("nowhere"), &data).unwrap_err().to_string();
        assert!(missing.contains("nowhere/backup.json"), "{missing}");
    }
}
