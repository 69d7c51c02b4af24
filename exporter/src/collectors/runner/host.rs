//! All runners of this host: finds them, tells their processes apart, and remembers their jobs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fd::AsFd;

use super::diag::Diag;
use super::find::find;
use super::install::{Installation, Refusal};
use super::jobs::{Durations, Jobs, RESULTS};
use super::process::{LISTENER, Process, Processes, Scanner, WORKER};

/// Installations reported of one host.
const MOST_INSTALLATIONS: usize = 64;
/// Log bytes read in one scrape, for all runners together.
const LOG_BUDGET: u64 = 64 * 1024 * 1024;

/// What was read before and is needed again.
#[derive(Debug)]
pub(super) struct Host {
    roots: Vec<PathBuf>,
    proc_root: PathBuf,
    /// Where the host's root is mounted; processes know their paths without it.
    root: PathBuf,
    rescan: Duration,
    searched: Option<Instant>,
    refused: Refused,
    runners: Vec<Tracked>,
    scanner: Scanner,
}

/// Folders with a `.runner` that are not reported, by reason.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub unreadable: u64,
    pub malformed: u64,
    pub duplicate_name: u64,
    pub too_many: u64,
}

#[derive(Debug)]
struct Tracked {
    install: Installation,
    diag: Diag,
    jobs: Jobs,
    /// Whether its name was its own in the last scrape, see [`claim_names`].
    reported: bool,
}

/// The host as of one scrape.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub runners: Vec<Runner>,
    pub refused: Refused,
    /// Worker processes; `None` when this host hides processes from us.
    pub workers: Option<usize>,
    /// Listeners that run from none of the installations found.
    pub elsewhere: usize,
}

#[derive(Debug)]
pub(super) struct Runner {
    pub name: String,
    pub version: String,
    pub group: String,
    pub scope: String,
    pub ephemeral: bool,
    pub unit: Option<String>,
    /// `None` when a process that we do not see may still be there.
    pub listener_up: Option<bool>,
    pub busy: Option<bool>,
    /// `None` until all that the logs held at first has been read.
    pub jobs: Option<Finished>,
    pub clock_went_back: u64,
    pub skipped_bytes: u64,
    pub space: Vec<(&'static str, Space)>,
}

/// Finished jobs in the order of [`RESULTS`].
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub counts: [u64; RESULTS.len()],
    pub durations: [Durations; RESULTS.len()],
}

/// Room in the file system that holds a folder, as any user may take it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub avail_bytes: f64,
    pub size_bytes: f64,
    pub files_free: f64,
}

impl Host {
    /// `roots` are paths on the host, whose root is mounted at `root`.
    pub(super) fn new(roots: &[PathBuf], proc_root: &Path, root: &Path, rescan: Duration) -> Host {
        let below = |path: &PathBuf| root.join(path.strip_prefix("/").unwrap_or(path));
        Host {
            roots: roots.iter().map(below).collect(),
            proc_root: proc_root.to_owned(),
            root: root.to_owned(),
            rescan,
            searched: None,
            refused: Refused::default(),
            runners: Vec::new(),
            scanner: Scanner::default(),
        }
    }

    /// Reads everything that may have changed; `now` paces the search for installations, `unix` is
    /// the wall clock in seconds.
    pub(super) fn read(&mut self, now: Instant, unix: i64) -> io::Result<Snapshot> {
        let due = self.searched.is_none_or(|at| now.duration_since(at) >= self.rescan);
        if due || self.runners.is_empty() || self.runners.iter().any(|it| it.install.is_stale()) {
            self.search();
            self.searched = Some(now);
        }
        let processes = self.scanner.scan(&self.proc_root)?;
        let running: Vec<_> =
            self.runners.iter().map(|it| Running::of(&it.install, &processes)).collect();
        let owned = |process: &&Process| {
            self.runners.iter().any(|it| it.install.owns(&process.executable, LISTENER))
        };
        let listeners = processes.running.iter().filter(|it| it.program == LISTENER);
        let elsewhere = listeners.filter(|process| !owned(process)).count();
        let mut refused = self.refused;
        refused.duplicate_name = claim_names(&mut self.runners, &running);
        let mut budget = LOG_BUDGET;
        let mut runners = Vec::new();
        for (tracked, running) in self.runners.iter_mut().zip(&running) {
            if tracked.reported {
                runners.push(tracked.report(running, processes.complete, &mut budget, unix));
            }
        }
        let workers = running.iter().map(|it| it.workers).sum();
        let workers = (processes.complete || workers > 0).then_some(workers);
        Ok(Snapshot { runners, refused, workers, elsewhere })
    }

    fn search(&mut self) {
        let mut refused = Refused::default();
        let mut found: Vec<Installation> = Vec::new();
        find(&self.roots, |path, folder| {
            let install = match Installation::read(&path, folder, &self.root)? {
                Ok(install) => install,
                Err(Refusal::Unreadable) => {
                    refused.unreadable += 1;
                    return None;
                }
                Err(Refusal::Malformed) => {
                    refused.malformed += 1;
                    return None;
                }
            };
            // Two patterns may lead to one folder.
            if found.iter().any(|other| other.identity == install.identity) {
                return None;
            }
            if found.len() == MOST_INSTALLATIONS {
                refused.too_many += 1;
                return None;
            }
            found.push(install);
            Some(())
        });
        let mut known: HashMap<_, _> = std::mem::take(&mut self.runners)
            .into_iter()
            .map(|it| ((it.install.identity, it.install.name.clone()), it))
            .collect();
        for install in found {
            let tracked = match known.remove(&(install.identity, install.name.clone())) {
                Some(tracked) => Tracked { install, ..tracked },
                None => {
                    let (diag, jobs) = (Diag::default(), Jobs::default());
                    Tracked { install, diag, jobs, reported: false }
                }
            };
            self.runners.push(tracked);
        }
        self.refused = refused;
    }
}

impl Tracked {
    fn report(&mut self, running: &Running, complete: bool, budget: &mut u64, unix: i64) -> Runner {
        let Tracked { install, diag, jobs, .. } = self;
        let logs = install.folder.folder(Path::new(DIAG));
        if let Ok(folder) = &logs {
            // A log that cannot be read leaves its runner's other figures alone.
            if let Err(error) = diag.read(folder, jobs, budget, unix) {
                tracing::debug!(%error, runner = install.name, "log not read");
            }
        }
        let known = |up: bool| (up || complete).then_some(up);
        let work = install.work_space();
        let space =
            [("_work", work), (DIAG, logs.ok())].into_iter().filter_map(|(name, folder)| {
                let stat = rustix::fs::fstatvfs(folder?.as_fd()).ok()?;
                // A file system of a user's own making may claim any number of blocks.
                let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
                let (avail_bytes, size_bytes) = (bytes(stat.f_bavail), bytes(stat.f_blocks));
                Some((name, Space { avail_bytes, size_bytes, files_free: stat.f_ffree as f64 }))
            });
        Runner {
            name: install.name.clone(),
            version: jobs.version.clone().or_else(|| install.version_of_bin()).unwrap_or_default(),
            group: install.group.clone(),
            scope: install.scope.clone(),
            ephemeral: install.ephemeral,
            unit: install.unit.clone(),
            listener_up: known(running.listener),
            busy: known(running.workers > 0),
            jobs: diag
                .caught_up
                .then(|| Finished { counts: jobs.finished, durations: jobs.durations.clone() }),
            clock_went_back: jobs.clock_went_back,
            skipped_bytes: diag.skipped_bytes,
            space: space.collect(),
        }
    }
}

const DIAG: &str = "_diag";

/// Which of the agent's processes run from one installation.
#[derive(Debug)]
struct Running {
    listener: bool,
    workers: usize,
}

impl Running {
    fn of(install: &Installation, processes: &Processes) -> Running {
        let count = |program| {
            let own = processes.running.iter().filter(|it| {
                it.program == program
                    // Root may run any installation; another user's process is a forgery.
                    && (it.uid == install.owner || it.uid == 0)
                    && install.owns(&it.executable, program)
            });
            own.count()
        };
        Running { listener: count(LISTENER) > 0, workers: count(WORKER) }
    }
}

/// Lets one installation bear each name and returns how many may not.
///
/// Somebody copied a folder, or a job's user claims a neighbour's name. The one whose listener runs
/// is the runner; if that does not decide, the one that was reported before, then the first found.
fn claim_names(runners: &mut [Tracked], running: &[Running]) -> u64 {
    let mut best: HashMap<&str, usize> = HashMap::new();
    let rank = |at: usize| (running[at].listener, runners[at].reported);
    for (at, tracked) in runners.iter().enumerate() {
        let holder = best.entry(&tracked.install.name).or_insert(at);
        if rank(at) > rank(*holder) {
            *holder = at;
        }
    }
    let kept: Vec<usize> = best.into_values().collect();
    for (at, tracked) in runners.iter_mut().enumerate() {
        tracked.reported = kept.contains(&at);
    }
    (runners.len() - kept.len()) as u64
}

#[cfg(test)]
mod tests;
