//! The files that a path with `*`, `?` or `[…]` names, as `rule_files` writes them.

use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// Every existing path that `pattern` matches, sorted. A pattern without wildcards is its own match,
/// whether it exists or not, so that a missing file is reported by whoever opens it.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let wild = match part {
            Component::Normal(name) => name.to_str().and_then(wildcard),
            _ => None,
        };
        match wild {
            None => found.iter_mut().for_each(|path| path.push(part)),
            Some(wild) => {
                found = found.iter().flat_map(|folder| matching(folder, &wild)).collect();
            }
        }
    }
    found.sort();
    found
}

fn matching(folder: &Path, wild: &Regex) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(here) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| wild.is_match(name)).map(|name| folder.join(name)).collect()
}

/// `None` when the name has no wildcard, or a `[` that nothing closes.
fn wildcard(name: &str) -> Option<Regex> {
    if !name.contains(['*', '?', '[']) {
        return None;
    }
    let mut pattern = "^(?s:".to_owned();
    let mut rest = name.chars();
    while let Some(char) = rest.next() {
        match char {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '[' => {
                let class: String = rest.by_ref().take_while(|char| *char != ']').collect();
                let class = class.replace('\\', "\\\\").replace('[', "\\[").replace('&', "\\&");
                pattern.push_str(&format!("[{class}]"));
            }
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&(pattern + ")$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_any_part() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/one.yaml", "a/two.yml", "b/one.yaml", "b/x(1).yaml"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (pattern, want) in [
            ("a/*.yaml", vec!["a/one.yaml"]),
            ("*/one.yaml", vec!["a/one.yaml", "b/one.yaml"]),
            ("[ac]/t??.y*", vec!["a/two.yml"]),
            ("b/x(*).yaml", vec!["b/x(1).yaml"]),
            ("c/*.yaml", vec![]),
            ("a/none.yaml", vec!["a/none.yaml"]),
            ("a/[", vec!["a/["]),
        ] {
            let found = expand(&root.path().join(pattern));
            let found: Vec<_> =
                found.iter().map(|path| path.strip_prefix(root.path()).unwrap()).collect();
            let want: Vec<_> = want.iter().map(Path::new).collect();
            assert_eq!(found, want, "{pattern}");
        }
    }
}
