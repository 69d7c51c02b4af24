//! The built programs that tests start, refused when missing or older than their source.

use std::env::current_exe;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub fn alertd() -> PathBuf {
    built("pitcrew-alertd", &["exporter/src", "alertd/src", "rules"])
}

pub fn exporter() -> PathBuf {
    built("pitcrew-exporter", &["exporter/src"])
}

pub fn fake_github() -> PathBuf {
    built("fake-github", &["tests/src/fake_github"])
}

pub fn fake_runner() -> PathBuf {
    built("fake-runner", &["tests/src/fake_runner"])
}

pub fn ingest() -> PathBuf {
    built("ingest", &["alertd/src/tsdb", "tests/src/bin"])
}

/// The program `name`, made of what lies in the folders `from`.
#[track_caller]
fn built(name: &str, from: &[&str]) -> PathBuf {
    let folder = match std::env::var_os("PITCREW_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => beside_this_one(),
    };
    let path = folder.join(name);
    let made = fs::metadata(&path).and_then(|meta| meta.modified());
    let made =
        made.unwrap_or_else(|_| panic!("{} is missing: run `make programs`", path.display()));
    let (source, changed) = newest(from);
    assert!(
        made >= changed,
        "{} is older than {}: run `make programs`",
        path.display(),
        source.display()
    );
    path
}

/// The folder of the programs of this build; tests lie in its `deps`.
fn beside_this_one() -> PathBuf {
    let own = current_exe().unwrap();
    let folder = own.parent().unwrap();
    match folder.ends_with("deps") {
        true => folder.parent().unwrap().to_path_buf(),
        false => folder.to_path_buf(),
    }
}

pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace").to_path_buf()
}

/// The file in these folders that was changed last; `tests.rs` is no part of a program, so that a
/// build after its change leaves the program as old as it was.
fn newest(folders: &[&str]) -> (PathBuf, SystemTime) {
    let mut newest = (PathBuf::new(), SystemTime::UNIX_EPOCH);
    let mut folders: Vec<_> = folders.iter().map(|folder| workspace().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let changed = entry.metadata().unwrap().modified().unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if entry.file_name() == "tests.rs" => {}
                false if changed > newest.1 => newest = (entry.path(), changed),
                false => {}
            }
        }
    }
    newest
}
