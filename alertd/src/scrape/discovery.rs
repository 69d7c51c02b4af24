//! `file_sd_configs`: which files there are, which changed, and the targets they last said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pitcrew_exporter::config::glob;
use pitcrew_exporter::config::stamp::Stamp;
use pitcrew_exporter::config::yaml::{self, Invalid};
use tracing::{info, warn};

use super::config::{FileSdConfig, ScrapeConfig, Settings, StaticConfig};
use super::metrics::ScrapeMetrics;
use super::target::{self, BadTarget, Target};

const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Most targets of one file.
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
    targets: Vec<Target>,
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
    Target(#[from] BadTarget),
    #[error("expected at most {limit} {what}, found more")]
    TooMuch { limit: u64, what: &'static str },
    #[error("expected a list of groups, [] for none, found an empty file")]
    Empty,
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

    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.files.values().flat_map(|known| &known.targets)
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
        known.unwrap_or(Known { stamp: None, read_at: now, targets: Vec::new(), error: None });
    let due = now.duration_since(known.read_at) >= config.refresh_interval;
    if stamp.is_some() && stamp == known.stamp && !due {
        return known;
    }
    (known.stamp, known.read_at) = (stamp, now);
    let (file, job_name) = (path.display(), &job.job_name);
    match read(path, job, settings) {
        Ok(targets) => {
            if known.error.take().is_some() {
                info!(%file, job = job_name, "target file works again");
            }
            known.targets = targets;
        }
        Err(error) => {
            let error = error.to_string();
            metrics.file_failures.inc();
            if known.error.as_ref() != Some(&error) {
                let kept = known.targets.len();
                warn!(error, %file, job = job_name, kept, "target file broken, last good targets kept");
            }
            known.error = Some(error);
        }
    }
    known
}

fn read(path: &Path, job: &ScrapeConfig, settings: &Settings) -> Result<Vec<Target>, BadFile> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(BadFile::TooMuch { limit: MAX_BYTES, what: "bytes" });
    }
    if text.trim().is_empty() {
        return Err(BadFile::Empty);
    }
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut groups: Vec<StaticConfig> =
        if json { serde_json::from_str(&text)? } else { yaml::parse(path, &text)? };
    let mut targets = Vec::new();
    for group in &mut groups {
        group.labels.insert("__meta_filepath".to_owned(), path.display().to_string());
        group.check(path, "group")?;
        targets.extend(target::of_group(job, &settings.global, group)?);
        if targets.len() > MAX_TARGETS {
            return Err(BadFile::TooMuch { limit: MAX_TARGETS as u64, what: "targets" });
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use pitcrew_exporter::clock::monotonic;
    use prometheus_client::registry::Registry;

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
            let mut found: Vec<_> = discovery.targets().map(Target::instance).collect();
            found.sort_unstable();
            assert_eq!(found, want, "{name}: {content:?}");
            assert_eq!(metrics.broken_files.get(), broken, "{name}: {content:?}");
        }
    }
}
