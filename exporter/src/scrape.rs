//! Runs every collector at once, each under its own deadline, and keeps their health.

mod lane;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::collectors::{COLLECTORS, CollectError, Collector, Entry};
use crate::config::Config;
use crate::metric::{Desc, Families};

const DURATION: Desc = Desc::gauge(
    "pitcrew_exporter_collector_duration_seconds",
    "How long the collector's last run took, or has been running if it has not come back.",
)
.with_labels(&["collector"]);
const SUCCESS: Desc = Desc::gauge(
    "pitcrew_exporter_collector_success",
    "Whether the collector's run for this page succeeded (1) or not (0).",
)
.with_labels(&["collector"]);
const LAST_SUCCESS: Desc = Desc::gauge(
    "pitcrew_exporter_collector_last_success_timestamp_seconds",
    "When the collector last succeeded, in unixtime; absent before the first time.",
)
.with_labels(&["collector"]);
pub const DESCS: &[Desc] = &[DURATION, SUCCESS, LAST_SUCCESS];

/// Left over of the scraper's own time-out, for writing and sending the page.
const SENDING: Duration = Duration::from_millis(200);

/// Who claims to wait less than this is not believed: no collector would be done, and each would
/// count and be logged as failing.
const SHORTEST: Duration = Duration::from_millis(50);

type Label = [(&'static str, &'static str); 1];

#[derive(Debug, Clone, Default)]
pub struct ScrapeMetrics {
    failures: Family<Label, Counter>,
    skipped: Family<Label, Counter>,
}

impl ScrapeMetrics {
    pub fn new(registry: &mut Registry) -> ScrapeMetrics {
        let metrics = ScrapeMetrics::default();
        registry.register(
            "pitcrew_exporter_collector_failures",
            "Runs of the collector that failed, panicked or missed their deadline",
            metrics.failures.clone(),
        );
        registry.register(
            "pitcrew_exporter_collector_skipped",
            "Runs of the collector that were left out because the last one still hangs",
            metrics.skipped.clone(),
        );
        metrics
    }
}

/// The collectors that are on, and what is known of each.
pub struct Scraper {
    slots: Vec<Arc<Slot>>,
    time_out: Duration,
    metrics: ScrapeMetrics,
}

impl Scraper {
    /// Builds the collectors that `config` turns on.
    ///
    /// `before` is the scraper that this one replaces: a run of its that hangs counts here too.
    pub fn new(config: &Config, metrics: ScrapeMetrics, before: Option<&Scraper>) -> Scraper {
        let build = |entry: &Entry| {
            let old = before.and_then(|before| before.slots.iter().find(|s| s.name == entry.name));
            let state = old.map(|slot| Arc::clone(&slot.state)).unwrap_or_default();
            Slot { name: entry.name, collector: (entry.build)(config).into(), state }
        };
        let slots = enabled(config).map(|entry| Arc::new(build(entry))).collect();
        Scraper { slots, time_out: config.collectors.timeout, metrics }
    }

    /// One run of all collectors, each waited for until its deadline: the configured time-out, or
    /// `limit` if that is shorter. In the order of `COLLECTORS`; the last part is their health.
    ///
    /// Two scrapes at the same time share the runs under way.
    pub async fn scrape(&self, limit: Option<Duration>) -> Vec<Arc<Families>> {
        let wait = limit.map_or(self.time_out, |limit| limit.min(self.time_out));
        let deadline = tokio::time::Instant::now() + wait;
        let mut jobs = Vec::with_capacity(self.slots.len());
        let runs: Vec<_> =
            self.slots.iter().map(|slot| slot.join(self.time_out, &mut jobs)).collect();
        // A task of its own, so that a client that hangs up stops nothing that others wait for.
        let work = tokio::spawn(lane::work_off(jobs));
        if let Ok(Err(error)) = timeout_at(deadline, work).await {
            error!(%error, "collectors could not be started");
        }
        let mut health = Families::default();
        let mut parts = Vec::with_capacity(self.slots.len() + 1);
        for (slot, run) in self.slots.iter().zip(runs) {
            let outcome = match run {
                Run::Hangs(for_long) => {
                    self.metrics.skipped.get_or_create(&[("collector", slot.name)]).inc();
                    Outcome { families: None, success: false, duration: for_long }
                }
                Run::UnderWay(started, mut done) => {
                    let outcome = timeout_at(deadline, done.wait_for(Option::is_some)).await;
                    match outcome {
                        Ok(Ok(outcome)) => outcome.clone().unwrap_or_default(),
                        // It panicked, or does not come back in time.
                        Ok(Err(_)) | Err(_) => {
                            slot.failed(|| {
                                error!(collector = slot.name, "collector gave no answer")
                            });
                            Outcome { duration: started.elapsed(), ..Outcome::default() }
                        }
                    }
                }
            };
            if !outcome.success {
                self.metrics.failures.get_or_create(&[("collector", slot.name)]).inc();
            }
            health.add(&DURATION, &[slot.name], outcome.duration.as_secs_f64());
            health.add(&SUCCESS, &[slot.name], f64::from(u8::from(outcome.success)));
            if let Some(at) = slot.lock().last_success {
                health.add(&LAST_SUCCESS, &[slot.name], at);
            }
            parts.extend(outcome.families);
        }
        parts.push(Arc::new(health));
        parts
    }
}

/// The entries of `COLLECTORS` that `config` leaves on.
pub fn enabled(config: &Config) -> impl Iterator<Item = &'static Entry> + use<'_> {
    let named = |names: &[String], name| names.iter().any(|known| known == name);
    let (on, off) = (&config.collectors.on, &config.collectors.off);
    COLLECTORS.iter().filter(move |entry| {
        ((entry.on)(config) || named(on, entry.name)) && !named(off, entry.name)
    })
}

/// How long the scraper that sent these headers can wait; `None` when it does not say, or says nonsense.
pub fn limit(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("x-prometheus-scrape-timeout-seconds")?.to_str().ok()?;
    let seconds: f64 = seconds.trim().parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| SHORTEST <= *time)?;
    Some(time.saturating_sub(SENDING).max(time / 2))
}

struct Slot {
    name: &'static str,
    collector: Arc<dyn Collector>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    last_success: Option<f64>,
    /// Whether its last run failed: only changes are logged, not every scrape.
    failing: bool,
}

struct Running {
    started: Instant,
    done: watch::Receiver<Option<Outcome>>,
}

#[derive(Clone, Default)]
struct Outcome {
    families: Option<Arc<Families>>,
    success: bool,
    duration: Duration,
}

enum Run {
    UnderWay(Instant, watch::Receiver<Option<Outcome>>),
    /// The last run missed its deadline and still has not come back; how long it runs by now.
    Hangs(Duration),
}

/// One run that a thread has to do.
struct Job {
    slot: Arc<Slot>,
    /// When it is dropped at its next `.await`: a little before the scrapes stop waiting.
    deadline: Instant,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Slot {
    /// Joins the run under way, or adds a new one to `jobs`.
    fn join(self: &Arc<Slot>, time_out: Duration, jobs: &mut Vec<Job>) -> Run {
        let mut state = self.lock();
        let now = clock::monotonic();
        if let Some(Running { started, done }) = &state.running
            && done.has_changed().is_ok()
            && done.borrow().is_none()
        {
            let age = now.duration_since(*started);
            return match age < time_out {
                true => Run::UnderWay(*started, done.clone()),
                false => Run::Hangs(age),
            };
        }
        let (outcome, done) = watch::channel(None);
        state.running = Some(Running { started: now, done: done.clone() });
        let deadline = now + time_out.mul_f64(0.95);
        jobs.push(Job { slot: Arc::clone(self), deadline, outcome });
        Run::UnderWay(now, done)
    }

    /// Logs by `log` unless the run before failed too.
    fn failed(&self, log: impl FnOnce()) {
        if !std::mem::replace(&mut self.lock().failing, true) {
            log();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Runs the collector on this thread, which it may block.
    fn run(self, handle: &Handle) {
        let Job { slot, deadline, outcome } = self;
        let started = clock::monotonic();
        let left = deadline.saturating_duration_since(started);
        let mut families = Families::default();
        let result = handle.block_on(timeout(left, slot.collector.collect(&mut families)));
        let duration = clock::monotonic().duration_since(started);
        let collector = slot.name;
        let success = match result {
            Ok(Ok(())) => true,
            Ok(Err(CollectError::Absent(what))) => {
                debug!(collector, what, "nothing to collect");
                true
            }
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                slot.failed(|| warn!(collector, %error, cause, "collector failed"));
                false
            }
            Err(_) => {
                slot.failed(|| warn!(collector, ?duration, "collector missed its deadline"));
                false
            }
        };
        if success {
            let mut state = slot.lock();
            state.last_success = Some(clock::unix_seconds());
            if std::mem::replace(&mut state.failing, false) {
                info!(collector, "collector works again");
            }
        }
        let families = success.then(|| Arc::new(families));
        outcome.send_replace(Some(Outcome { families, success, duration }));
    }
}

#[cfg(test)]
mod tests;
