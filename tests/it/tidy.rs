//! The house rules that a machine can check: file length, header lines, import direction.

use std::fs;
use std::path::{Path, PathBuf};

use pitcrew_tests::programs::workspace;

const MAX_LINES: usize = 500;

/// alertd's modules from the lowest layer to the highest; those of one row may not know each other.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["promql", "tsdb", "db", "http_client", "relabel"],
    &["scrape", "remote", "backup"],
    &["rules"],
    &["route"],
    &["notify"],
    &["actions"],
    &["runbooks"],
    &["api"],
    &["app", "cli", "config"],
];

/// Modules without a layer: the clock, which every shell may read.
const ANYWHERE: &[&str] = &["clock"];

fn sources(folder: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![workspace().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => {
                    found.push(path);
                }
                false => {}
            }
        }
    }
    found
}

fn all_sources() -> Vec<PathBuf> {
    ["exporter", "alertd", "tests"].into_iter().flat_map(sources).collect()
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let files = all_sources();
    assert!(files.len() > 20, "only {} files found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
        assert!(text.starts_with("//!"), "{} has no `//!` header", file.display());
        assert_ne!(file.file_name().unwrap(), "mod.rs", "{}", file.display());
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The top-level module that a file of alertd belongs to.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(workspace().join("alertd/src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn alertd_imports_point_one_way() {
    let import = regex::Regex::new(r"\bcrate::(\w+)").unwrap();
    let mut seen = 0;
    for file in sources("alertd/src") {
        let from = module_of(&file);
        let Some(at) = layer(&from) else {
            assert!(
                ["lib", "main", "metrics"].contains(&from.as_str())
                    || ANYWHERE.contains(&from.as_str()),
                "{from} has no layer"
            );
            continue;
        };
        for found in import.captures_iter(&fs::read_to_string(&file).unwrap()) {
            let to = &found[1];
            let Some(target) = layer(to) else {
                assert!(
                    ANYWHERE.contains(&to) || to == "metrics",
                    "{}: crate::{to}",
                    file.display()
                );
                continue;
            };
            seen += 1;
            let right = target < at || to == from || (at == LAYERS.len() - 1 && target == at);
            assert!(right, "{}: {from} must not import {to}", file.display());
        }
    }
    assert!(seen > 1, "only {seen} imports found: the pattern is wrong");
}

#[test]
fn only_the_database_modules_know_rusqlite() {
    for file in all_sources() {
        let text = fs::read_to_string(&file).unwrap();
        let modules = ["alertd/src/db", "exporter/src/workflows/log"];
        let inside = modules.iter().any(|module| {
            let folder = workspace().join(module);
            file.starts_with(&folder) || file == folder.with_extension("rs")
        });
        let mentions = text.contains("rusqlite::") && !file.ends_with("it/tidy.rs");
        assert!(inside || !mentions, "{} imports rusqlite", file.display());
    }
}

#[test]
fn no_unfinished_marks() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "unimple".to_owned() + "mented!(",
        "#[ig".to_owned() + "nore",
    ];
    for file in all_sources() {
        let text = fs::read_to_string(&file).unwrap();
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} contains {mark}", file.display());
        }
    }
}
