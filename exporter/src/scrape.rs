//! Runs every collector at once, each under its own deadline, and keeps their health.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

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
        let time_out = limit.map_or(self.time_out, |limit| limit.min(self.time_out));
        let runs: Vec<_> = self.slots.iter().map(|slot| slot.run(time_out)).collect();
        let deadline = tokio::time::Instant::now() + time_out;
        let mut health = Families::default();
        let mut parts = Vec::with_capacity(self.slots.len() + 1);
        for (slot, run) in self.slots.iter().zip(runs) {
            let outcome = match run {
                Run::Hangs(for_long) => {
                    self.metrics.skipped.get_or_create(&[("collector", slot.name)]).inc();
                    Outcome { families: None, success: false, duration: for_long }
                }
                Run::Started(started, mut done) => {
                    let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                    match timeout(left, done.wait_for(Option::is_some)).await {
                        Ok(Ok(outcome)) => outcome.clone().unwrap_or_default(),
                        // The task ended without an outcome: it panicked.
                        Ok(Err(_)) => Outcome { duration: started.elapsed(), ..Outcome::default() },
                        Err(_) => {
                            warn!(
                                collector = slot.name,
                                ?time_out,
                                "collector missed its deadline"
                            );
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
pub fn enabled(config: &Config) -> impl Iterator<Item = &'static Entry> {
    let named = |names: &[String], name| names.iter().any(|known| known == name);
    let (on, off) = (config.collectors.on.clone(), config.collectors.off.clone());
    COLLECTORS
        .iter()
        .filter(move |entry| (entry.on || named(&on, entry.name)) && !named(&off, entry.name))
}

/// How long the scraper that sent these headers can wait; `None` when it does not say.
pub fn limit(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("x-prometheus-scrape-timeout-seconds")?.to_str().ok()?;
    let seconds: f64 = seconds.trim().parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero())?;
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
}

struct Running {
    started: Instant,
    time_out: Duration,
    done: watch::Receiver<Option<Outcome>>,
}

#[derive(Clone, Default)]
struct Outcome {
    families: Option<Arc<Families>>,
    success: bool,
    duration: Duration,
}

enum Run {
    Started(Instant, watch::Receiver<Option<Outcome>>),
    /// The last run missed its deadline and still has not come back; how long it runs by now.
    Hangs(Duration),
}

impl Slot {
    /// Joins the run under way, or starts one on a thread of its own.
    fn run(self: &Arc<Slot>, time_out: Duration) -> Run {
        let mut state = self.lock();
        let now = clock::monotonic();
        if let Some(running) = &state.running
            && running.done.has_changed().is_ok()
            && running.done.borrow().is_none()
        {
            let age = now.duration_since(running.started);
            return match age < running.time_out {
                true => Run::Started(running.started, running.done.clone()),
                false => Run::Hangs(age),
            };
        }
        let (outcome, done) = watch::channel(None);
        state.running = Some(Running { started: now, time_out, done: done.clone() });
        let (slot, handle) = (Arc::clone(self), Handle::current());
        // One thread per collector at most, since one that hangs is not started again.
        tokio::task::spawn_blocking(move || {
            let mut families = Families::default();
            let work = timeout(time_out, slot.collector.collect(&mut families));
            let result = handle.block_on(work);
            let success = slot.report(result, time_out);
            let duration = clock::monotonic().duration_since(now);
            if success {
                slot.lock().last_success = Some(clock::unix_seconds());
            }
            let families = success.then(|| Arc::new(families));
            outcome.send_replace(Some(Outcome { families, success, duration }));
        });
        Run::Started(now, done)
    }

    /// Whether it counts as a success; what failed is logged here and nowhere else.
    fn report(
        &self,
        result: Result<Result<(), CollectError>, tokio::time::error::Elapsed>,
        time_out: Duration,
    ) -> bool {
        let collector = self.name;
        match result {
            Ok(Ok(())) => return true,
            Ok(Err(CollectError::Absent(what))) => {
                debug!(collector, what, "nothing to collect");
                return true;
            }
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(collector, %error, cause, "collector failed");
            }
            Err(_) => warn!(collector, ?time_out, "collector stopped at its deadline"),
        }
        false
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
