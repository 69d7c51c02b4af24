//! What GitHub gets wrong about single jobs, as users have reported it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How GitHub's zero looks.
const ZERO: &str = "0001-01-01T00:00:00Z";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Odd {
    #[default]
    No,
    /// It began before it was created.
    StartedBeforeCreated,
    /// No `created_at` at all, as in older payloads.
    NoCreated,
    /// While it runs, its beginning is the year one; the end tells it right.
    ZeroStarted,
    /// While it runs, its beginning is null; the end tells it right.
    NullStarted,
    /// What has not happened yet is the year one rather than null.
    ZeroCompleted,
    /// No runner is 0 and empty texts rather than null.
    RunnerZero,
    /// A gate is told by a `queued` event whose job is waiting.
    QueuedAtGate,
}

impl Odd {
    pub const ALL: [Odd; 8] = [
        Odd::No,
        Odd::StartedBeforeCreated,
        Odd::NoCreated,
        Odd::ZeroStarted,
        Odd::NullStarted,
        Odd::ZeroCompleted,
        Odd::RunnerZero,
        Odd::QueuedAtGate,
    ];

    /// When GitHub says that a job began which began now.
    pub(super) fn started(self, created: f64, now: f64) -> f64 {
        match self {
            Odd::StartedBeforeCreated => created - 3.0,
            _ => now,
        }
    }

    /// The job as GitHub tells it.
    pub(super) fn spoil(self, mut job: Value) -> Value {
        match self {
            Odd::NoCreated => {
                job.as_object_mut().map(|job| job.remove("created_at"));
            }
            Odd::ZeroStarted if job["status"] == "in_progress" => job["started_at"] = json!(ZERO),
            Odd::NullStarted if job["status"] == "in_progress" => job["started_at"] = Value::Null,
            Odd::ZeroCompleted if job["completed_at"].is_null() => {
                job["completed_at"] = json!(ZERO)
            }
            Odd::RunnerZero if job["runner_id"].is_null() => {
                job["runner_id"] = json!(0);
                job["runner_name"] = json!("");
                job["runner_group_id"] = json!(0);
                job["runner_group_name"] = json!("");
            }
            _ => {}
        }
        job
    }
}
