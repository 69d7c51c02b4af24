//! GitHub Actions runners on this host: their processes, services, jobs and room to work.
//!
//! A runner is a folder in which GitHub's agent was configured. Per scrape, without the API:
//!
//! - `.runner` gives its registered name, group, and repository or organisation;
//! - `/proc` tells whether its listener runs (the process that takes jobs) and whether it has a
//!   worker (the process that exists while a job runs, so: busy);
//! - `systemctl show` tells the state of its service, on hosts with systemd;
//! - the listener's logs in `_diag` tell which jobs ended, how, and how long they took.
//!
//! Whoever may start a job on the runner can write all of this but systemd's answer. So nothing is
//! followed out of the folder, everything is bounded, and a lie stays with the host that tells it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use tracing::warn;

use crate::clock;
use crate::collectors::{CollectError, Collector};
use crate::command::{self, CommandError};
use crate::config::yaml::Invalid;
use crate::config::{Config, duration};
use crate::metric::{Desc, Families};

mod beneath;
mod diag;
mod find;
mod host;
mod install;
mod jobs;
mod label;
mod process;
mod service;

use host::{Host, Runner, Snapshot};
use jobs::{BUCKETS, RESULTS};

/// `collectors.runner` of exporter.yaml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folders in which a runner is installed, or that hold such folders; `*` and `?` match within
    /// one name. Default: the places where people and images usually put it.
    pub roots: Vec<PathBuf>,
    /// Longest time until a new installation is found; one that registers anew is noticed at once.
    #[serde(with = "duration")]
    pub rescan: Duration,
    /// Whether the `GITHUB_*` variables of the jobs' processes may be read; no metric needs them,
    /// so only `false` is accepted.
    pub read_environ: bool,
}

impl Settings {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found: String| {
            Err(Invalid::value(file, format!("collectors.runner.{key}"), expected, found))
        };
        if let Some(root) = self.roots.iter().find(|root| !root.is_absolute()) {
            return wrong("roots", "an absolute path", root.display().to_string());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.rescan) {
            return wrong("rescan", "1s to 1d", duration::format(self.rescan));
        }
        if self.read_environ {
            let expected = "false, as no metric is made from processes' environment";
            return wrong("read_environ", expected, "true".to_owned());
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let roots = find::USUAL_PLACES.iter().map(PathBuf::from).collect();
        Settings { roots, rescan: Duration::from_secs(30), read_environ: false }
    }
}

const INFO: Desc = Desc::gauge(
    "runner_info",
    "1 for each runner installed on this host: version of its agent, runner group, the repository \
     or organisation it serves, and whether it takes one job only.",
)
.with_labels(&["runner", "version", "group", "scope", "ephemeral"]);

const HEALTH: Desc = Desc::gauge(
    "runner_health",
    "1 when the runner's listener process runs and its service, if it has one, is active; 0 when \
     not; absent when this cannot be told.",
)
.with_labels(&["runner"]);

const LISTENER_UP: Desc =
    Desc::gauge("runner_listener_up", "1 when the process that takes jobs runs.")
        .with_labels(&["runner"]);

const BUSY: Desc =
    Desc::gauge("runner_busy", "1 when a worker process is there, so a job is running.")
        .with_labels(&["runner"]);

const CONCURRENT_JOBS: Desc = Desc::gauge(
    "runner_concurrent_jobs",
    "Worker processes on this host, each running a job, of all runners together.",
);

const SERVICE_ACTIVE: Desc = Desc::gauge(
    "runner_service_active",
    "1 when systemd says that the runner's service is active; absent without a service.",
)
.with_labels(&["runner"]);

const SERVICE_STATE: Desc = Desc::gauge(
    "runner_service_state",
    "1 for the state that systemd gives the runner's service, 0 for the others.",
)
.with_labels(&["runner", "state"]);

const JOBS: Desc = Desc::counter(
    "runner_jobs_total",
    "Jobs that ended, from the listener's logs as far back as they are kept; abandoned are those \
     that nobody finished.",
)
.with_labels(&["runner", "result"]);

const JOB_DURATION: Desc = Desc::histogram(
    "runner_job_duration_seconds",
    "Time from handing a job to its worker until its end, in the whole seconds of the listener's \
     log.",
)
.with_labels(&["runner", "result"]);

const AVAIL_BYTES: Desc = Desc::gauge(
    "runner_filesystem_avail_bytes",
    "Bytes that the runner can still write where its _work or _diag folder lies; absent for a \
     folder outside the installation.",
)
.with_labels(&["runner", "folder"]);

const SIZE_BYTES: Desc = Desc::gauge(
    "runner_filesystem_size_bytes",
    "Size of the file system where the runner's _work or _diag folder lies.",
)
.with_labels(&["runner", "folder"]);

const FILES_FREE: Desc = Desc::gauge(
    "runner_filesystem_files_free",
    "Free inodes of the file system where the runner's _work or _diag folder lies.",
)
.with_labels(&["runner", "folder"]);

const REFUSED: Desc = Desc::gauge(
    "runner_installations_refused",
    "Folders that look like an installed runner and are not reported, by reason.",
)
.with_labels(&["reason"]);

const ELSEWHERE: Desc = Desc::gauge(
    "runner_listeners_elsewhere",
    "Listener processes that run from a folder which is not among collectors.runner.roots, or \
     which the exporter may not read.",
);

const CLOCK_WENT_BACK: Desc = Desc::counter(
    "runner_job_clock_went_back_total",
    "Jobs whose end was logged before their start; counted with a duration of 0 s.",
)
.with_labels(&["runner"]);

const LOG_SKIPPED: Desc = Desc::counter(
    "runner_log_skipped_bytes_total",
    "Bytes of the listener's logs that were never read, because there were more than 32 MiB of \
     them at once.",
)
.with_labels(&["runner"]);

/// What this collector exposes.
pub(super) const DESCS: &[Desc] = &[
    INFO,
    HEALTH,
    LISTENER_UP,
    BUSY,
    CONCURRENT_JOBS,
    SERVICE_ACTIVE,
    SERVICE_STATE,
    JOBS,
    JOB_DURATION,
    AVAIL_BYTES,
    SIZE_BYTES,
    FILES_FREE,
    REFUSED,
    ELSEWHERE,
    CLOCK_WENT_BACK,
    LOG_SKIPPED,
];

/// Results whose histogram is there before the first such job.
const USUAL_RESULTS: usize = 3;
/// A service's state is asked for at most this often: `systemctl` costs more than all the rest.
/// Whether the listener runs is looked at in every scrape.
const SERVICE_AGE: Duration = Duration::from_secs(10);
const SYSTEMCTL_TIME: Duration = Duration::from_secs(2);
const SYSTEMCTL_BYTES: usize = 64 * 1024;

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    let settings = &config.collectors.runner;
    let at = &config.collectors.host;
    let host = Host::new(&settings.roots, &at.proc_root, &at.root, settings.rescan);
    let proc_root = at.proc_root.clone();
    Box::new(Runners { proc_root, host: Mutex::new(host), asked: Mutex::new(None) })
}

struct Runners {
    proc_root: PathBuf,
    host: Mutex<Host>,
    asked: Mutex<Option<Asked>>,
}

/// State by unit; `None` on a host whose systemd cannot be asked, if it has one.
type States = Option<HashMap<String, &'static str>>;

/// What systemd said, when, and about which units.
struct Asked {
    at: Instant,
    units: Vec<String>,
    said: Result<States, NoAnswer>,
}

/// Systemd was asked and did not answer: the services' states are unknown.
#[derive(Debug, Clone, Copy)]
struct NoAnswer;

impl Runners {
    fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What systemd says about these units, at most [`SERVICE_AGE`] ago.
    async fn services(&self, units: Vec<String>) -> Result<States, NoAnswer> {
        if units.is_empty() || !process::has_systemd() {
            return Ok(None);
        }
        let now = clock::monotonic();
        if let Some(last) = &*self.asked.lock().unwrap_or_else(PoisonError::into_inner)
            && now.duration_since(last.at) < SERVICE_AGE
            && last.units == units
        {
            return last.said.clone();
        }
        let said = ask("systemctl", &units).await;
        let asked = Asked { at: now, units, said: said.clone() };
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        said
    }
}

/// Runs `systemctl`; where it cannot run, or has no bus to ask on, there is nothing to be known.
async fn ask(systemctl: &str, units: &[String]) -> Result<States, NoAnswer> {
    let words = service::arguments(units);
    match command::run(systemctl, &words, SYSTEMCTL_TIME, SYSTEMCTL_BYTES).await {
        Ok(output) if output.status.success() => {
            Ok(Some(service::parse(&String::from_utf8_lossy(&output.stdout))))
        }
        Ok(_) | Err(CommandError::Run { .. }) => Ok(None),
        Err(error) => {
            warn!(%error, "service states unknown");
            Err(NoAnswer)
        }
    }
}

#[async_trait]
impl Collector for Runners {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let now = clock::monotonic();
        let read = self.host().read(now, clock::unix_seconds() as i64);
        let path = || self.proc_root.clone();
        let snapshot = read.map_err(|source| CollectError::Read { path: path(), source })?;
        let units = snapshot.runners.iter().filter_map(|runner| runner.unit.clone()).collect();
        fill(out, &snapshot, self.services(units).await.as_ref());
        match snapshot.runners.is_empty() {
            true => Err(CollectError::Absent("no runner is installed on this host")),
            false => Ok(()),
        }
    }
}

fn fill(out: &mut Families, snapshot: &Snapshot, services: Result<&States, &NoAnswer>) {
    for runner in &snapshot.runners {
        let service = match (&runner.unit, services) {
            (Some(unit), Ok(Some(states))) => Service::of(states.get(unit).copied()),
            (Some(_), Err(NoAnswer)) => Service::Unknown,
            _ => Service::None,
        };
        fill_state(out, runner, &service);
        fill_jobs(out, runner);
        for (folder, space) in &runner.space {
            let labels = [runner.name.as_str(), folder];
            out.add(&AVAIL_BYTES, &labels, space.avail_bytes);
            out.add(&SIZE_BYTES, &labels, space.size_bytes);
            out.add(&FILES_FREE, &labels, space.files_free);
        }
    }
    if let Some(workers) = snapshot.workers.filter(|_| !snapshot.runners.is_empty()) {
        out.set(&CONCURRENT_JOBS, workers as f64);
    }
    if !snapshot.runners.is_empty() || snapshot.elsewhere > 0 {
        out.set(&ELSEWHERE, snapshot.elsewhere as f64);
    }
    let refused = &snapshot.refused;
    for (reason, count) in [
        ("duplicate_name", refused.duplicate_name),
        ("malformed", refused.malformed),
        ("too_many", refused.too_many),
        ("unreadable", refused.unreadable),
    ] {
        if !snapshot.runners.is_empty() || count > 0 {
            out.add(&REFUSED, &[reason], count as f64);
        }
    }
}

/// A runner's service as far as it decides about health.
enum Service {
    /// The runner was started by other means.
    None,
    Is(&'static str),
    Unknown,
}

impl Service {
    fn of(state: Option<&'static str>) -> Service {
        state.map_or(Service::None, Service::Is)
    }
}

fn fill_state(out: &mut Families, runner: &Runner, service: &Service) {
    let name = runner.name.as_str();
    let ephemeral = if runner.ephemeral { "true" } else { "false" };
    out.add(&INFO, &[name, &runner.version, &runner.group, &runner.scope, ephemeral], 1.0);
    let health = match (runner.listener_up, service) {
        (Some(false), _) => Some(false),
        (_, Service::Is(state)) if *state != "active" => Some(false),
        (Some(true), Service::None | Service::Is(_)) => Some(true),
        (None, _) | (Some(true), Service::Unknown) => None,
    };
    for (desc, value) in
        [(&HEALTH, health), (&LISTENER_UP, runner.listener_up), (&BUSY, runner.busy)]
    {
        if let Some(value) = value {
            out.add(desc, &[name], f64::from(u8::from(value)));
        }
    }
    if let Service::Is(found) = service {
        out.add(&SERVICE_ACTIVE, &[name], f64::from(u8::from(*found == "active")));
        for state in service::STATES {
            out.add(&SERVICE_STATE, &[name, state], f64::from(u8::from(state == *found)));
        }
    }
}

fn fill_jobs(out: &mut Families, runner: &Runner) {
    let name = runner.name.as_str();
    let Some(finished) = &runner.jobs else { return };
    for (at, result) in RESULTS.iter().enumerate() {
        let durations = &finished.durations[at];
        out.add(&JOBS, &[name, result], finished.counts[at] as f64);
        if at < USUAL_RESULTS || durations.count > 0 {
            let counts = BUCKETS.iter().copied().zip(durations.buckets);
            let buckets: Vec<(f64, u64)> = counts.collect();
            out.add_histogram(
                &JOB_DURATION,
                &[name, result],
                &buckets,
                durations.sum,
                durations.count,
            );
        }
    }
    out.add(&CLOCK_WENT_BACK, &[name], runner.clock_went_back as f64);
    out.add(&LOG_SKIPPED, &[name], runner.skipped_bytes as f64);
}

#[cfg(test)]
mod tests;
