//! Shell-like patterns: `*` and `?` within one name.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Files that one pattern may name.
const MAX_FILES: usize = 1000;

/// Whether all of `text` fits `pattern`. Quadratic at worst, whatever the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit here.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), retry) {
            (Some('*'), _) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            (Some(c), _) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            (_, Some((after, from))) => {
                retry = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// As `matches`, for the name of a file: a hidden one fits only a pattern that begins with a dot.
pub fn matches_name(pattern: &str, name: &str) -> bool {
    name.starts_with('.') == pattern.starts_with('.') && matches(pattern, name)
}

pub fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The files that a path names, sorted; wildcards may stand in any of its names.
///
/// A path without wildcards names itself, there or not; hidden names match only a pattern that
/// begins with a dot.
pub fn expand(path: &Path) -> Vec<PathBuf> {
    let (mut found, mut wild) = (vec![PathBuf::new()], false);
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => name.to_str().filter(|name| is_wild(name)),
            _ => None,
        };
        match name {
            None => found.iter_mut().for_each(|path| path.push(part)),
            Some(pattern) => {
                wild = true;
                let within = found.iter().flat_map(|folder| matching(folder, pattern));
                found = within.take(MAX_FILES).collect();
            }
        }
    }
    if !wild {
        return vec![path.to_owned()];
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

/// What lies in `folder` under a name that fits.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(here) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| matches_name(pattern, name))
        .map(|name| folder.join(name))
        .take(MAX_FILES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_marks() {
        for (pattern, text, want) in [
            ("a*", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxaxxbc", false),
            ("", "", true),
            ("", "a", false),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} on {text}");
        }
        for (pattern, name, want) in [
            ("actions-runner*", "actions-runner-8", true),
            ("actions-runner*", "my-actions-runner", false),
            ("*", ".hidden", false),
            ("?hidden", ".hidden", false),
            (".*", ".hidden", true),
        ] {
            assert_eq!(matches_name(pattern, name), want, "{pattern} on {name}");
        }
        assert!(!matches(&format!("{}b", "*a".repeat(60)), &"a".repeat(500)), "hostile, and ends");
    }

    #[test]
    fn files_of_a_pattern() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yaml", ".hidden.yaml", "c.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder.yaml")).unwrap();
        let found = expand(&folder.path().join("*.yaml"));
        assert_eq!(found, ["a.yaml", "b.yaml"].map(|name| folder.path().join(name)));
        assert_eq!(expand(Path::new("/nowhere/at/all")), [Path::new("/nowhere/at/all")]);
        assert!(expand(Path::new("/nowhere/*")).is_empty());
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/a.yaml"), "").unwrap();
        for (pattern, want) in [
            ("?/*.yaml", vec!["b/a.yaml"]),
            ("*/a.yaml", vec!["b/a.yaml"]),
            ("*/none.yaml", vec![]),
            (".h*", vec![".hidden.yaml"]),
        ] {
            let found = expand(&folder.path().join(pattern));
            let want: Vec<_> = want.iter().map(|name| folder.path().join(name)).collect();
            assert_eq!(found, want, "{pattern}");
        }
    }
}
