//! The GitHub client and the GitHub simulator against each other.

use std::error::Error;
use std::time::Duration;

use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::config::GithubConfig;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_exporter::github::scope::Scope;
use pitcrew_tests::fake_github::FakeGithub;
use pitcrew_tests::fake_github::ledger::Event;
use pitcrew_tests::fake_github::registry::NewRunner;
use serde_json::json;
use tempfile::TempDir;

mod errors;
mod lists;
mod runners;
mod schemas;
mod sign_in;
mod webhooks;

const REPOSITORY: &str = "owner/name";

fn scope() -> Scope {
    Scope::Repository(REPOSITORY.parse().unwrap())
}

/// A folder for secrets, and the configuration that uses it.
fn config(github: &FakeGithub) -> (TempDir, GithubConfig) {
    let folder = tempfile::tempdir().unwrap();
    let config = GithubConfig { timeout: Duration::from_secs(5), ..github.config(folder.path()) };
    (folder, config)
}

fn client(config: &GithubConfig) -> Github {
    Github::new(config, GithubMetrics::default()).unwrap()
}

fn register(github: &FakeGithub, name: &str, labels: &[&str]) -> u64 {
    let new = json!({ "name": name, "scope": REPOSITORY, "labels": labels });
    let new: NewRunner = serde_json::from_value(new).unwrap();
    github.with(|sim, now| sim.register(&new, now).id)
}

/// The calls that reached the simulator, with the status of the answer.
fn calls(github: &FakeGithub) -> Vec<(String, u16)> {
    let entries = github.ledger().into_iter().filter(|entry| entry.event == Event::Call);
    entries.map(|entry| (entry.what.call.unwrap(), entry.what.status.unwrap())).collect()
}

/// An error with all its causes, as a person and as a debugger would see them.
fn told(error: &dyn Error) -> String {
    let mut text = format!("{error:?} {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error:?} {error}"));
        cause = error.source();
    }
    text
}
