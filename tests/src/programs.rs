//! The built programs that tests start, refused when missing or older than their source.

use std::env::current_exe;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

pub fn alertd() -> PathBuf {
    built("pitcrew-alertd")
}

pub fn exporter() -> PathBuf {
    built("pitcrew-exporter")
}

pub fn fake_github() -> PathBuf {
    built("fake-github")
}

pub fn fake_runner() -> PathBuf {
    built("fake-runner")
}

#[track_caller]
fn built(name: &str) -> PathBuf {
    let folder = match std::env::var_os("PITCREW_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        // The test itself lies in `deps`, one folder below the programs of the same build.
        None => current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf(),
    };
    let path = folder.join(name);
    let made = fs::metadata(&path).and_then(|meta| meta.modified());
    let made =
        made.unwrap_or_else(|_| panic!("{} is missing: run `make programs`", path.display()));
    let (source, changed) = newest_source();
    assert!(
        made >= *changed,
        "{} is older than {}: run `make programs`",
        path.display(),
        source.display()
    );
    path
}

pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace").to_path_buf()
}

/// The source file of the programs that was changed last.
fn newest_source() -> &'static (PathBuf, SystemTime) {
    static NEWEST: OnceLock<(PathBuf, SystemTime)> = OnceLock::new();
    NEWEST.get_or_init(|| {
        let mut newest = (PathBuf::new(), SystemTime::UNIX_EPOCH);
        let mut folders: Vec<_> =
            ["exporter/src", "alertd/src", "rules"].map(|at| workspace().join(at)).into();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let changed = entry.metadata().unwrap().modified().unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false if changed > newest.1 => newest = (entry.path(), changed),
                    false => {}
                }
            }
        }
        newest
    })
}
