//! `github.metrics` of exporter.yaml: what the metrics of workflows are counted by.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::config::yaml::Invalid;
use crate::config::{duration, glob};
use crate::workflows::normalise::{self, OTHER};

/// Entries of each list below.
const MAX_ENTRIES: usize = 100;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Series of all families of workflows together, each bucket of a histogram counted. Every
    /// family has a share of them; what goes beyond it is counted under `other`.
    pub max_series: usize,
    /// A series that nothing was counted in for so long ends.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// Repositories, workflows and normalised label sets with series of their own, as patterns
    /// with `*` and `?`; all others are counted under `other`. Empty: all.
    pub repositories: Vec<String>,
    pub workflows: Vec<String>,
    pub labels: Vec<String>,
    /// Patterns of normalised job names with a duration of their own. Empty: none.
    pub jobs: Vec<String>,
    /// Default branches, where GitHub does not say which one it is.
    pub default_branches: Vec<String>,
    /// Patterns of branches and tags that are released from.
    pub release_branches: Vec<String>,
    /// What a minute on a runner costs; the first that fits counts.
    pub prices: Vec<Price>,
    /// Families under the names that other exporters use, besides our own.
    pub compatibility: Vec<Compatibility>,
}

/// The price of a class of runners.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What the class is called in metrics.
    pub class: String,
    /// Labels that a job must have asked for, case ignored; `[]` fits every job.
    pub labels: Vec<String>,
    /// In whatever currency the owner reckons in.
    pub per_minute: f64,
}

/// Whose names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    /// `github_runner_…`, as exporters of runners call them.
    GithubRunner,
    /// `gha_…`, as the listener of runner scale sets calls them.
    Gha,
    /// `github_workflow_job…`, as the metrics server of runner controllers calls them.
    GithubWorkflowJob,
}

impl Default for Settings {
    fn default() -> Settings {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Settings {
            max_series: 2000,
            idle: Duration::from_secs(8 * 86_400),
            repositories: Vec::new(),
            workflows: Vec::new(),
            labels: Vec::new(),
            jobs: Vec::new(),
            default_branches: list(&["main", "master"]),
            release_branches: list(&["release/*", "releases/*", "release-*", "hotfix/*", "v?*.*"]),
            prices: Vec::new(),
            compatibility: Vec::new(),
        }
    }
}

impl Settings {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found: String| {
            Err(Invalid::value(file, format!("github.metrics.{key}"), expected, found))
        };
        if !(500..=100_000).contains(&self.max_series) {
            return wrong("max_series", "500 to 100000", self.max_series.to_string());
        }
        let day = Duration::from_secs(86_400);
        if !(day / 24..=day * 400).contains(&self.idle) {
            return wrong("idle", "1h to 400d", duration::format(self.idle));
        }
        for (key, list) in [
            ("repositories", &self.repositories),
            ("workflows", &self.workflows),
            ("labels", &self.labels),
            ("jobs", &self.jobs),
            ("default_branches", &self.default_branches),
            ("release_branches", &self.release_branches),
        ] {
            if list.len() > MAX_ENTRIES {
                return wrong(key, "at most 100 entries", list.len().to_string());
            }
            if list.iter().any(String::is_empty) {
                return wrong(key, "entries that are not empty", "an empty one".to_owned());
            }
        }
        if self.prices.len() > MAX_ENTRIES {
            return wrong("prices", "at most 100 entries", self.prices.len().to_string());
        }
        for (at, price) in self.prices.iter().enumerate() {
            let key = |name: &str| format!("prices[{at}].{name}");
            if price.class.is_empty() || normalise::text(&price.class) != price.class {
                return wrong(&key("class"), "a name of at most 100 bytes", price.class.clone());
            }
            if !(price.per_minute.is_finite() && price.per_minute >= 0.0) {
                let found = price.per_minute.to_string();
                return wrong(&key("per_minute"), "0 or more", found);
            }
        }
        Ok(())
    }

    pub(in crate::workflows) fn repository<'a>(&self, name: &'a str) -> &'a str {
        if allowed(&self.repositories, name) { name } else { OTHER }
    }

    pub(in crate::workflows) fn workflow(&self, name: &str) -> String {
        allow(&self.workflows, normalise::workflow(name))
    }

    pub(in crate::workflows) fn labels(&self, labels: &[String]) -> String {
        allow(&self.labels, normalise::labels(labels))
    }

    /// The job's name without what its matrix adds, if its duration is counted by it.
    pub(in crate::workflows) fn job(&self, name: &str) -> Option<String> {
        let name = normalise::job(name);
        let listed = self.jobs.iter().any(|pattern| glob::matches(pattern, &name));
        listed.then_some(name)
    }

    /// The class of runners that these labels ask for, and what a minute costs there.
    pub(in crate::workflows) fn price(&self, labels: &[String]) -> Option<&Price> {
        let has = |name: &String| labels.iter().any(|label| label.eq_ignore_ascii_case(name));
        self.prices.iter().find(|price| price.labels.iter().all(has))
    }

    pub(in crate::workflows) fn speaks(&self, names: Compatibility) -> bool {
        self.compatibility.contains(&names)
    }
}

fn allow(patterns: &[String], value: String) -> String {
    if allowed(patterns, &value) { value } else { OTHER.to_owned() }
}

fn allowed(patterns: &[String], value: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| glob::matches(pattern, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn checked(text: &str) -> Result<Settings, Invalid> {
        let file = Path::new("exporter.yaml");
        let settings: Settings = yaml::parse(file, text)?;
        settings.check(file).map(|()| settings)
    }

    #[test]
    fn good_settings() {
        assert_eq!(checked("").unwrap(), Settings::default());
        let text = "{max_series: 5000, idle: 30d, repositories: ['octo/*'], labels: ['*gpu*'], \
                    jobs: ['build*'], \
                    prices: [{class: gpu, labels: [gpu], per_minute: 0.05}, \
                    {class: rest, labels: [], per_minute: 0}], \
                    compatibility: [github_runner, gha, github_workflow_job]}";
        let settings = checked(text).unwrap();
        assert_eq!(settings.repository("octo/a"), "octo/a");
        assert_eq!(settings.repository("evil/a"), OTHER);
        assert_eq!(settings.labels(&["Linux".into(), "GPU".into()]), "gpu,linux");
        assert_eq!(settings.labels(&["Linux".into()]), OTHER);
        assert_eq!(settings.job("build (ubuntu, 3.12)").as_deref(), Some("build"));
        assert_eq!((settings.job("test"), Settings::default().job("build")), (None, None));
        let class = |label: &str| settings.price(&[label.to_owned()]).unwrap().class.clone();
        assert_eq!((class("GPU"), class("x")), ("gpu".to_owned(), "rest".to_owned()));
        assert!(settings.speaks(Compatibility::Gha));
    }

    #[test]
    fn bad_settings_say_what_was_expected() {
        for (text, want) in [
            ("max_series: 10", "github.metrics.max_series: expected 500 to 100000, found 10"),
            ("idle: 1s", "github.metrics.idle: expected 1h to 400d, found 1s"),
            ("labels: ['']", "github.metrics.labels: expected entries that are not empty"),
            ("lables: []", "did you mean `labels`"),
            ("compatibility: [gah]", "gha"),
            (
                "prices: [{class: a, labels: [], per_minute: -1}]",
                "github.metrics.prices[0].per_minute: expected 0 or more, found -1",
            ),
            (
                "prices: [{class: '', labels: [], per_minute: 1}]",
                "prices[0].class: expected a name",
            ),
        ] {
            let message = checked(text).unwrap_err().to_string();
            assert!(message.contains(want), "{text}: {message}");
        }
    }
}
