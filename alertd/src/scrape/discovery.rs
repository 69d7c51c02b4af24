//! `file_sd_configs`: which files there are, which changed, and the targets they last said.

pub(super) mod http;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pitcrew_exporter::config::glob;
use pitcrew_exporter::config::stamp::Stamp;
use pitcrew_exporter::config::yaml::{self, Invalid};
use tracing::{info, warn};

use super::config::{FileSdConfig, GlobalConfig, ScrapeConfig, Settings, StaticConfig};
use super::metrics::ScrapeMetrics;
use super::target::{self, BadTarget, Found};

const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Most targets of one file or URL.
const MAX_TARGETS: usize = 10_000;

/// The target files of all jobs, each as last read.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    files: BTreeMap<(String, PathBuf), Known>,
}

#[derive(Debug)]
struct Known {
    /// `None`: read again in any case.
    stamp: Option<Stamp>,
    read_at: Instant,
    /// Of the last good read.
    found: Found,
    /// What is wrong with the file now.
    error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum BadFile {
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Yaml(#[from] Invalid),
    #[error("not JSON as expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Groups(#[from] BadGroups),
    #[error("expected at most {MAX_BYTES} bytes, found more")]
    TooLarge,
    #[error("expected a list of groups, [] for none, found an empty file")]
    Empty,
}

/// What is wrong with targets that could be read.
#[derive(Debug, thiserror::Error)]
enum BadGroups {
    #[error("{0}")]
    Group(#[from] Invalid),
    #[error("{0}")]
    Target(#[from] BadTarget),
    #[error("expected at most {MAX_TARGETS} targets, found more")]
    TooMany,
}

impl Discovery {
    /// Looks at every file of every job and reads those that changed or are due; reads all of them
    /// when `all`. A file that is gone takes its targets with it, a broken one keeps them.
    pub(super) fn refresh(
        &mut self,
        settings: &Settings,
        metrics: &ScrapeMetrics,
        now: Instant,
        all: bool,
    ) {
        let mut found = BTreeMap::new();
        for job in &settings.jobs {
            for config in &job.file_sd_configs {
                for path in config
                    .files
                    .iter()
                    .flat_map(|pattern| glob::expand(pattern))
                    .filter(|path| path.exists())
                {
                    let key = (job.job_name.clone(), path);
                    let mut known = self.files.remove(&key).or_else(|| found.remove(&key));
                    if all && let Some(known) = &mut known {
                        known.stamp = None;
                    }
                    let known = look(known, job, settings, config, &key.1, metrics, now);
                    found.insert(key, known);
                }
            }
        }
        self.files = found;
        let broken = self.files.values().filter(|known| known.error.is_some()).count();
        metrics.broken_files.set(i64::try_from(broken).unwrap_or(i64::MAX));
    }

    /// What the files of a job say.
    pub(super) fn of_job(&self, job: &str) -> impl Iterator<Item = &Found> {
        self.files.iter().filter(move |((name, _), _)| name == job).map(|(_, known)| &known.found)
    }
}

fn look(
    known: Option<Known>,
    job: &ScrapeConfig,
    settings: &Settings,
    config: &FileSdConfig,
    path: &Path,
    metrics: &ScrapeMetrics,
    now: Instant,
) -> Known {
    let stamp = Stamp::of(path);
    let mut known =
        known.unwrap_or(Known { stamp: None, read_at: now, found: Found::default(), error: None });
    let due = now.duration_since(known.read_at) >= config.refresh_interval;
    if stamp.is_some() && stamp == known.stamp && !due {
        return known;
    }
    (known.stamp, known.read_at) = (stamp, now);
    let (file, job_name) = (path.display(), &job.job_name);
    match read(path, job, settings) {
        Ok(found) => {
            if known.error.take().is_some() {
                info!(%file, job = job_name, "target file works again");
            }
            known.found = found;
        }
        Err(error) => {
            let error = error.to_string();
            metrics.file_failures.inc();
            if known.error.as_ref() != Some(&error) {
                let kept = known.found.targets.len();
                warn!(error, %file, job = job_name, kept, "target file broken, last good targets kept");
            }
            known.error = Some(error);
        }
    }
    known
}

fn read(path: &Path, job: &ScrapeConfig, settings: &Settings) -> Result<Found, BadFile> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(BadFile::TooLarge);
    }
    if text.trim().is_empty() {
        return Err(BadFile::Empty);
    }
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let groups: Vec<StaticConfig> =
        if json { serde_json::from_str(&text)? } else { yaml::parse(path, &text)? };
    let meta = ("__meta_filepath", path.display().to_string());
    Ok(of_groups(groups, meta, path, job, &settings.global)?)
}

/// Checks groups and makes of them what `job` wants; `from` is only for messages.
fn of_groups(
    mut groups: Vec<StaticConfig>,
    meta: (&str, String),
    from: &Path,
    job: &ScrapeConfig,
    global: &GlobalConfig,
) -> Result<Found, BadGroups> {
    let mut found = Found::default();
    for group in &mut groups {
        group.labels.insert(meta.0.to_owned(), meta.1.clone());
        group.check(from, "group", job.relabel_configs.is_empty())?;
        found.add(target::of_group(job, global, group)?);
        if found.targets.len() + found.dropped.len() > MAX_TARGETS {
            return Err(BadGroups::TooMany);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use pitcrew_exporter::clock::monotonic;
    use prometheus_client::registry::Registry;

    use crate::scrape::target::Target;

    #[test]
    fn a_broken_file_keeps_its_targets_and_a_removed_one_loses_them() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{job_name: j, file_sd_configs: [{files: ['*.yml', '*.json', a.yml]}]}";
        let job = yaml::parse(Path::new("c"), text).unwrap();
        let settings =
            Settings::new(Default::default(), vec![job], &folder.path().join("c.yaml")).unwrap();
        let metrics = ScrapeMetrics::new(&mut Registry::default());
        let mut discovery = Discovery::default();
        for (name, content, broken, want) in [
            ("a.yml", Some("- targets: [a:1, b:1]\n  labels: {x: y}\n"), 0, &["a:1", "b:1"][..]),
            ("b.json", Some(r#"[{"targets": ["c:1"]}]"#), 0, &["a:1", "b:1", "c:1"]),
            ("a.yml", Some("- targets: [a:1\n"), 1, &["a:1", "b:1", "c:1"]),
            ("a.yml", Some(""), 1, &["a:1", "b:1", "c:1"]),
            ("a.yml", Some("- targets: ['http://x/']\n"), 1, &["a:1", "b:1", "c:1"]),
            ("a.yml", Some("- target: [d:1]\n"), 1, &["a:1", "b:1", "c:1"]),
            (
                "a.yml",
                Some("[{targets: [d:1], labels: {__scheme__: gopher}}]\n"),
                1,
                &["a:1", "b:1", "c:1"],
            ),
            ("b.json", Some("{"), 2, &["a:1", "b:1", "c:1"]),
            ("a.yml", Some("- targets: [d:1]\n"), 1, &["c:1", "d:1"]),
            ("b.json", None, 0, &["d:1"]),
        ] {
            match content {
                Some(content) => fs::write(folder.path().join(name), content).unwrap(),
                None => fs::remove_file(folder.path().join(name)).unwrap(),
            }
            discovery.refresh(&settings, &metrics, monotonic(), false);
            let mut found: Vec<_> = discovery
                .of_job("j")
                .flat_map(|found| &found.targets)
                .map(Target::instance)
                .collect();
            found.sort_unstable();
            assert_eq!(found, want, "{name}: {content:?}");
            assert_eq!(metrics.broken_files.get(), broken, "{name}: {content:?}");
        }
    }
}
