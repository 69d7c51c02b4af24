//! What the page shows, as data: gathered once a request, rendered as HTML or JSON.

use serde::Serialize;

use crate::model::sample::Timestamp;

/// How a row should strike the eye.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Quiet,
    Good,
    Warn,
    Bad,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    pub now: Timestamp,
    pub version: &'static str,
    pub verdict: Verdict,
    /// Why no pool acts at all, when a person said so.
    pub hold: Option<String>,
    pub alerts: Vec<AlertRow>,
    pub pools: Vec<PoolRow>,
    pub runners: Vec<RunnerRow>,
    pub hosts: Vec<HostRow>,
    pub actions: Vec<ActionRow>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    pub level: Level,
    pub text: String,
    /// Age of the newest scrape, in seconds; absent before the first one.
    pub data_age_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct AlertRow {
    pub name: String,
    pub state: String,
    pub level: Level,
    /// The runner, else the instance, else nothing.
    pub place: String,
    pub since: Timestamp,
    pub summary: String,
    pub runbook: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct PoolRow {
    pub name: String,
    pub label: String,
    pub trust: String,
    pub state: String,
    pub level: Level,
    pub since: Timestamp,
    pub hold: Option<String>,
    pub error: Option<String>,
    pub members: Vec<MemberRow>,
    /// The last ones, newest first.
    pub transitions: Vec<TransitionRow>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct MemberRow {
    pub name: String,
    pub capacity: usize,
    pub runners: usize,
    pub healthy: usize,
    pub labelled: usize,
    pub busy: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct TransitionRow {
    pub at: Timestamp,
    pub to: String,
    pub cause: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct RunnerRow {
    pub name: String,
    pub instance: String,
    pub state: String,
    pub level: Level,
    pub version: String,
    /// Jobs finished since the exporter can tell.
    pub jobs: f64,
    /// Bytes left for the work folder.
    pub free: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct HostRow {
    pub job: String,
    pub instance: String,
    pub health: String,
    pub level: Level,
    /// The last error, or how old the data is.
    pub detail: String,
    pub load: Option<f64>,
    pub cpus: Option<f64>,
    /// Bytes.
    pub memory_used: Option<f64>,
    pub memory_total: Option<f64>,
    /// Bytes of the fullest file system.
    pub disk_used: Option<f64>,
    pub disk_total: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ActionRow {
    pub at: Timestamp,
    pub action: String,
    pub target: String,
    pub outcome: String,
    pub level: Level,
    pub detail: String,
    pub cause: String,
    pub who: String,
}
