//! The process that runs one job: lives for the job's time, ends with the agent's exit code.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::log::AgentLog;
use super::protocol::Assigned;

/// The agent's exit codes: 100 and the result's number.
pub const RESULTS: [(&str, u8); 3] = [("succeeded", 100), ("failed", 102), ("canceled", 103)];

/// Reads the job from standard input, as the agent's worker reads it from a pipe, and runs it.
///
/// # Errors
/// When the job cannot be read or the log not be written.
pub fn run(folder: &Path) -> anyhow::Result<ExitCode> {
    // The agent's worker ends with its listener, whose pipe breaks.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let job: Assigned = serde_json::from_str(&text)?;
    let mut log = AgentLog::create(folder, "Worker")?;
    log.info("Worker", "Waiting to receive the job message from the channel.");
    log.info("Worker", "Message received.");
    log.info("Worker", &format!("Job ID {}", job.job_guid));
    let work = folder.join("_work").join("name").join("name");
    std::fs::create_dir_all(&work)?;
    std::fs::write(work.join("output.txt"), format!("{}\n", job.run_id))?;
    thread::sleep(Duration::from_millis(job.duration_ms));
    let known = RESULTS.iter().find(|(name, _)| *name == job.result);
    let (result, code) = known.copied().unwrap_or(("failed", 102));
    log.info("JobRunner", &format!("Job result after all job steps finish: {result}"));
    log.info("Worker", "Job completed.");
    Ok(ExitCode::from(code))
}
