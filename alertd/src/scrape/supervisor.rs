//! Starts a loop for each new target and ends those whose target is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::clock::monotonic;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::config::{ScrapeConfig, Settings};
use super::cycle::{self, Shell};
use super::discovery::Discovery;
use super::discovery::http::Lists;
use super::fetch::Fetcher;
use super::target::{self, Found, Target};

/// How often target files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Dropped targets that are shown for each job that does not say how many.
const MAX_DROPPED: usize = 1000;

struct Running {
    job: Arc<ScrapeConfig>,
    gone: CancellationToken,
    task: JoinHandle<()>,
}

pub(super) async fn run(
    settings: &mut watch::Receiver<Arc<Settings>>,
    shell: Shell,
    stop: CancellationToken,
) {
    let mut running: BTreeMap<Arc<Target>, Running> = BTreeMap::new();
    let mut fetchers: Vec<Arc<Fetcher>> = Vec::new();
    let mut discovery = Discovery::default();
    let told = Arc::new(Notify::new());
    let mut lists = Lists::new(shell.metrics.clone(), Arc::clone(&told));
    let mut changed = true;
    loop {
        let current = Arc::clone(&settings.borrow_and_update());
        if changed {
            fetchers = fetchers_of(&current, &fetchers);
            lists.follow(&current);
        }
        lists.count();
        discovery = look(discovery, &current, &shell, changed).await.unwrap_or_default();
        let wanted = wanted(&current, &discovery, &lists, &fetchers, &shell);
        follow(&mut running, wanted, &shell, &stop).await;
        let files = current.jobs.iter().any(|job| !job.file_sd_configs.is_empty());
        changed = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // The sender may be gone: then there are no more changes, and `stop` ends this.
            Ok(()) = settings.changed() => true,
            () = told.notified() => false,
            () = tokio::time::sleep(LOOK), if files => false,
            else => { stop.cancelled().await; break }
        };
    }
    for (_, Running { task, .. }) in running {
        ended(task).await;
    }
}

/// A job that stays as it was keeps its connections.
fn fetchers_of(settings: &Settings, before: &[Arc<Fetcher>]) -> Vec<Arc<Fetcher>> {
    let of = |job: &ScrapeConfig| match before.iter().find(|fetcher| *fetcher.job == *job) {
        Some(fetcher) => Arc::clone(fetcher),
        None => Arc::new(Fetcher::new(Arc::new(job.clone()))),
    };
    settings.jobs.iter().map(of).collect()
}

/// Reads files away from the tasks that must stay quick. `None` when reading panicked.
async fn look(
    mut discovery: Discovery,
    settings: &Arc<Settings>,
    shell: &Shell,
    all: bool,
) -> Option<Discovery> {
    let (settings, metrics) = (Arc::clone(settings), shell.metrics.clone());
    let read = tokio::task::spawn_blocking(move || {
        discovery.refresh(&settings, &metrics, monotonic(), all);
        discovery
    });
    read.await.ok()
}

/// Each target once, with the fetcher of its job.
fn wanted(
    settings: &Settings,
    discovery: &Discovery,
    lists: &Lists,
    fetchers: &[Arc<Fetcher>],
    shell: &Shell,
) -> BTreeMap<Target, Arc<Fetcher>> {
    let mut wanted = BTreeMap::new();
    let mut dropped = Vec::new();
    for (job, fetcher) in settings.jobs.iter().zip(fetchers) {
        let mut found = Found::default();
        for group in &job.static_configs {
            // Checked when the configuration was read.
            found.add(target::of_group(job, &settings.global, group).unwrap_or_default());
        }
        discovery.of_job(&job.job_name).for_each(|more| found.add(more.clone()));
        lists.of_job(&job.job_name).into_iter().for_each(|more| found.add(more));
        let before = wanted.len();
        for target in found.targets {
            wanted.insert(target, Arc::clone(fetcher));
        }
        fetcher.count_targets(wanted.len() - before);
        let shown = match job.keep_dropped_targets {
            0 => MAX_DROPPED,
            limit => limit,
        };
        found.dropped.truncate(shown);
        dropped.append(&mut found.dropped);
    }
    shell.targets.set_dropped(dropped);
    wanted
}

async fn follow(
    running: &mut BTreeMap<Arc<Target>, Running>,
    mut wanted: BTreeMap<Target, Arc<Fetcher>>,
    shell: &Shell,
    stop: &CancellationToken,
) {
    let keeps = |target: &Target, run: &Running| {
        wanted.get(target).is_some_and(|fetcher| fetcher.job == run.job) && !run.task.is_finished()
    };
    let over: Vec<_> = running.extract_if(.., |target, run| !keeps(target, run)).collect();
    for (_, run) in &over {
        run.gone.cancel();
    }
    let mut restarted = Vec::new();
    for (target, run) in over {
        // Its stale markers come before the first sample of whoever takes its place.
        ended(run.task).await;
        match wanted.contains_key(&*target) {
            true => restarted.push(target),
            false => {
                shell.targets.remove(&target);
                debug!(job = target.job(), instance = target.instance(), "target removed");
            }
        }
    }
    wanted.retain(|target, _| !running.contains_key(target));
    for (target, fetcher) in wanted {
        let target = Arc::new(target);
        // A loop that starts over is scraped at once, so that its series do not stay ended.
        let eager = shell.eager || restarted.contains(&target);
        let shell = Shell { eager, ..shell.clone() };
        let (job, gone) = (Arc::clone(&fetcher.job), CancellationToken::new());
        shell.targets.add(Arc::clone(&target));
        debug!(job = target.job(), instance = target.instance(), "target added");
        let task =
            cycle::run(shell, fetcher, Arc::clone(&target), stop.child_token(), gone.clone());
        running.insert(target, Running { job, gone, task: tokio::spawn(task) });
    }
    shell.metrics.targets.set(i64::try_from(running.len()).unwrap_or(i64::MAX));
}

async fn ended(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        error!(%error, "scrape loop ended by a panic");
    }
}
