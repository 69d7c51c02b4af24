//! What the tests of collectors share: a host made of files.

use std::fs;
use std::path::Path;

use super::{CollectError, Collector};
use crate::config::Config;
use crate::exposition::{Format, render};
use crate::metric::Families;

/// Files below a temporary folder, and the samples or a piece of the error message they give.
pub(crate) struct Case<'a> {
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) want: Result<&'a str, &'a str>,
}

/// Builds the collector on each case's files, as `proc`, `sys` and `root`, and compares.
#[track_caller]
pub(crate) fn check(build: fn(&Config) -> Box<dyn Collector>, cases: &[Case<'_>]) {
    for Case { files, want } in cases {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in *files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let got = collect(build, folder.path());
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, *want, "{files:?}"),
            (Err(got), Err(want)) => {
                let got = got.to_string();
                assert!(got.contains(want), "{files:?}: expected {want}, found {got}");
            }
            (got, want) => panic!("{files:?}: expected {want:?}, found {got:?}"),
        }
    }
}

/// The samples of one run, without comments.
pub(crate) fn collect(
    build: fn(&Config) -> Box<dyn Collector>,
    folder: &Path,
) -> Result<String, CollectError> {
    let mut config = Config::default();
    config.collectors.host.proc_root = folder.join("proc");
    config.collectors.host.sys_root = folder.join("sys");
    config.collectors.host.root = folder.join("root");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut families = Families::default();
    runtime.block_on(build(&config).collect(&mut families))?;
    let page = render(&families, Format::Text004);
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    Ok(samples.map(|line| format!("{line}\n")).collect())
}
