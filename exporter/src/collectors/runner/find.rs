//! Which folders on this host may be runner installations: patterns to open folders.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::beneath::Folder;
use crate::config::glob::{is_wild, matches_name};

/// Where people and images put the agent, or a folder of agents, when the configuration names
/// nothing.
pub(super) const USUAL_PLACES: &[&str] = &[
    "/home/*/actions-runner*",
    "/home/runner",
    "/opt/actions-runner*",
    "/srv/actions-runner*",
    "/var/lib/actions-runner*",
    "/usr/local/actions-runner*",
    "/root/actions-runner*",
    "/actions-runner*",
    "/runner",
];

/// Folders looked into in one scan, over all patterns; a user may make any number of folders.
const MOST_FOLDERS: usize = 1024;
/// Names tried in a folder that a pattern names and that is no installation itself.
const MOST_BELOW: usize = 128;
/// Names read of one folder.
const MOST_NAMES: usize = 4096;

/// The file that makes a folder an installation.
pub(super) const MARK: &str = ".runner";

/// Opens every installation that a pattern names, or that lies directly in a folder it names, in
/// the order of the patterns, then by name. `*` and `?` stand for characters within one name.
///
/// The part before the first wildcard is the administrator's and may hold symlinks. Whatever a
/// wildcard matches may have been made by a job: no symlink is followed from there on.
pub(super) fn find<T>(
    patterns: &[PathBuf],
    mut keep: impl FnMut(PathBuf, Folder) -> Option<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    let mut left = MOST_FOLDERS;
    for pattern in patterns {
        let names: Vec<&OsStr> = pattern.components().map(Component::as_os_str).collect();
        let fixed =
            names.iter().position(|name| name.to_str().is_some_and(is_wild)).unwrap_or(names.len());
        let start: PathBuf = names[..fixed].iter().collect();
        // A place that is not there is the usual case, one that we may not read a permission the
        // administrator gives or not.
        let Ok(folder) = Folder::open(&start) else { continue };
        expand(start, folder, &names[fixed..], &mut left, &mut |path, folder| {
            if is_marked(&folder) {
                found.extend(keep(path, folder));
                return;
            }
            let mut names = folder.names(MOST_BELOW).unwrap_or_default();
            names.sort();
            for name in names {
                match folder.folder(Path::new(&name)) {
                    Ok(below) if is_marked(&below) => found.extend(keep(path.join(name), below)),
                    _ => {}
                }
            }
        });
    }
    found
}

fn is_marked(folder: &Folder) -> bool {
    folder.stat(OsStr::new(MARK)).is_ok()
}

fn expand(
    path: PathBuf,
    folder: Folder,
    names: &[&OsStr],
    left: &mut usize,
    reached: &mut dyn FnMut(PathBuf, Folder),
) {
    let Some((name, rest)) = names.split_first() else { return reached(path, folder) };
    let mut matching = match name.to_str().filter(|name| is_wild(name)) {
        Some(pattern) => {
            let mut names = folder.names(MOST_NAMES).unwrap_or_default();
            names.retain(|name| name.to_str().is_some_and(|name| matches_name(pattern, name)));
            names
        }
        None => vec![name.to_os_string()],
    };
    matching.sort();
    for candidate in matching {
        if *left == 0 {
            return;
        }
        *left -= 1;
        if let Ok(below) = folder.folder(Path::new(&candidate)) {
            expand(path.join(&candidate), below, rest, left, reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installations_are_found_without_following_a_symlink() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = root.path().join("home").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(MARK), "").unwrap();
            folder
        };
        make("b/runner");
        make("a/runner/one");
        make("a/runner/two");
        make("a/runner/two/_work");
        let elsewhere = make("elsewhere/runner");
        std::fs::create_dir(root.path().join("home/c")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.path().join("home/c/runner")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.path().join("home/a/runner/link")).unwrap();
        std::os::unix::fs::symlink(root.path().join("home"), root.path().join("link")).unwrap();
        std::fs::write(root.path().join("home/file"), "").unwrap();
        for (pattern, want) in [
            ("home/?/runner", &["home/a/runner/one", "home/a/runner/two", "home/b/runner"][..]),
            ("home/b/runner", &["home/b/runner"]),
            ("home/b/*", &["home/b/runner"]),
            ("link/b/runner", &["link/b/runner"]),
            ("link/*/two", &[]),
            ("home/a/*/two", &["home/a/runner/two"]),
            ("none/*", &[]),
        ] {
            let found = find(&[root.path().join(pattern)], |path, _| {
                Some(path.strip_prefix(root.path()).unwrap().to_owned())
            });
            assert_eq!(found, want.iter().map(PathBuf::from).collect::<Vec<_>>(), "{pattern}");
        }
    }

    #[test]
    fn a_scan_ends_however_many_folders_there_are() {
        let root = tempfile::tempdir().unwrap();
        for at in 0..MOST_FOLDERS + 10 {
            let folder = root.path().join(at.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(MARK), "").unwrap();
        }
        let pattern = root.path().join("*");
        assert_eq!(find(&[pattern], |_, _| Some(())).len(), MOST_FOLDERS);
        assert_eq!(find(&[root.path().to_owned()], |_, _| Some(())).len(), MOST_BELOW);
    }
}
