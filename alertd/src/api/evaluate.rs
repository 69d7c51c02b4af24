//! Runs queries off the async threads, under limits, and stops those nobody waits for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pitcrew_exporter::clock::monotonic;
use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::error::{ApiError, Limit};
use super::watched::Watched;
use crate::model::querier::Querier;
use crate::promql::Options;

/// `query` in the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Longest time for one query, waiting for its turn included; a request may ask for less.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Queries that run at once; more of them wait.
    pub max_concurrency: usize,
    /// Samples that one query may load or produce.
    pub max_samples: usize,
    /// Series that one query may touch, or a list of series, names or values may hold.
    pub max_series: usize,
    /// How far back an instant selector looks.
    #[serde(with = "duration")]
    pub lookback_delta: Duration,
}

impl Default for QueryConfig {
    fn default() -> QueryConfig {
        QueryConfig {
            // Below the 60 s after which the server gives up on any request.
            timeout: Duration::from_secs(45),
            max_concurrency: 20,
            max_samples: Options::default().max_samples,
            max_series: 1_000_000,
            lookback_delta: Options::default().lookback,
        }
    }
}

impl QueryConfig {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &std::path::Path) -> Result<(), Invalid> {
        for (key, zero) in [
            ("query.timeout", self.timeout.is_zero()),
            ("query.max_concurrency", self.max_concurrency == 0),
            ("query.max_samples", self.max_samples == 0),
            ("query.max_series", self.max_series == 0),
            ("query.lookback_delta", self.lookback_delta.is_zero()),
        ] {
            if zero {
                return Err(Invalid::value(file, key, "more than 0", "0"));
            }
        }
        Ok(())
    }
}

/// The store behind the query API and the limits on asking it. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    pub store: Arc<dyn Querier>,
    config: Arc<QueryConfig>,
    turns: Arc<Semaphore>,
    /// In milliseconds.
    subquery_step: Arc<AtomicU64>,
    outcomes: Family<OutcomeLabels, Counter>,
    limits: Family<LimitLabels, Counter>,
    running: Gauge,
    waiting: Gauge,
}

/// What a query has when it is its turn.
pub struct Turn<'a> {
    pub store: &'a dyn Querier,
    pub options: &'a Options,
    /// How long it waited.
    pub waited: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// Stops the work when the request is dropped: its client is gone or its time is over.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts one for as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Queries {
    pub fn new(store: Arc<dyn Querier>, config: QueryConfig, registry: &mut Registry) -> Queries {
        // A semaphore cannot hold more than this.
        let turns = config.max_concurrency.min(Semaphore::MAX_PERMITS);
        let queries = Queries {
            store,
            config: Arc::new(config),
            turns: Arc::new(Semaphore::new(turns)),
            subquery_step: Arc::default(),
            outcomes: Family::default(),
            limits: Family::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
        };
        queries.set_subquery_step(Options::default().subquery_step);
        registry.register(
            "pitcrew_alertd_queries",
            "Requests to the query API by what came of them",
            queries.outcomes.clone(),
        );
        registry.register(
            "pitcrew_alertd_query_limits_hit",
            "Requests to the query API that a limit ended",
            queries.limits.clone(),
        );
        for limit in Limit::ALL {
            drop(queries.limits.get_or_create(&LimitLabels { limit: limit.name() }));
        }
        registry.register(
            "pitcrew_alertd_queries_active",
            "Queries that run now",
            queries.running.clone(),
        );
        registry.register(
            "pitcrew_alertd_queries_waiting",
            "Queries that wait for their turn",
            queries.waiting.clone(),
        );
        queries
    }

    pub fn config(&self) -> &QueryConfig {
        &self.config
    }

    /// The resolution of subqueries that name none, from now on.
    pub fn set_subquery_step(&self, step: Duration) {
        let millis = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        self.subquery_step.store(millis, Ordering::Relaxed);
    }

    /// Runs `work` on a thread of its own when its turn comes, for at most `limit`.
    ///
    /// # Errors
    /// What `work` returns, or a time-out.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        work: impl FnOnce(&Turn<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let done = self.limited(limit, work).await;
        let outcome = done.as_ref().err().map_or("success", ApiError::kind);
        self.outcomes.get_or_create(&OutcomeLabels { outcome }).inc();
        if let Some(limit) = done.as_ref().err().and_then(ApiError::limit) {
            self.limits.get_or_create(&LimitLabels { limit: limit.name() }).inc();
        }
        done
    }

    async fn limited<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        work: impl FnOnce(&Turn<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let limit = limit.unwrap_or(self.config.timeout).min(self.config.timeout);
        let (start, deadline) = (monotonic(), Instant::now() + limit);
        let late = |limit: Limit| move |_| ApiError::Limit(limit);
        let waiting = Counted::new(&self.waiting);
        let turn = timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(late(Limit::Concurrency))?;
        // A turn that is free is had however late it is.
        if limit.is_zero() {
            return Err(ApiError::Limit(Limit::Concurrency));
        }
        drop(waiting);
        let (waited, running) = (start.elapsed(), Counted::new(&self.running));
        let cancel = CancelOnDrop(Arc::default());
        let options = Options {
            lookback: self.config.lookback_delta,
            max_samples: self.config.max_samples,
            subquery_step: Duration::from_millis(self.subquery_step.load(Ordering::Relaxed)),
            cancel: Arc::clone(&cancel.0),
            ..Options::default()
        };
        let (store, max_series) = (Arc::clone(&self.store), self.config.max_series);
        let work = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, not with the request: a thread that has not noticed yet
            // still counts.
            let _turn = (turn, running);
            let store = Watched::new(&*store, max_series, &options.cancel);
            work(&Turn { store: &store, options: &options, waited })
        });
        let done = timeout_at(deadline, work).await.map_err(late(Limit::Time))?;
        done.unwrap_or_else(|panic| Err(ApiError::Internal { cause: panic.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::tsdb::{Limits, Tsdb};

    fn queries(max_concurrency: usize) -> Queries {
        let config = QueryConfig { max_concurrency, ..QueryConfig::default() };
        Queries::new(Arc::new(Tsdb::new(Limits::default())), config, &mut Registry::default())
    }

    /// Work that ends when it is cancelled, and says that it did.
    fn endless(
        ended: mpsc::Sender<()>,
    ) -> impl FnOnce(&Turn<'_>) -> Result<(), ApiError> + Send + 'static {
        move |turn| {
            while !turn.options.cancel.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn work_is_stopped_when_its_time_is_over_or_its_client_is_gone() {
        let queries = queries(1);
        let (ended, wait) = mpsc::channel();
        let limit = Some(Duration::from_millis(20));
        let late = queries.run(limit, endless(ended.clone())).await;
        assert_eq!(late, Err(ApiError::Limit(Limit::Time)));
        wait.recv_timeout(Duration::from_secs(5)).unwrap();

        let mut gone = Box::pin(queries.run(None, endless(ended)));
        let polled = tokio::time::timeout(Duration::from_millis(20), &mut gone).await;
        assert!(polled.is_err());
        // Its turn is taken, so another one waits in vain.
        let waited = queries.run(limit, |_| Ok(())).await;
        assert_eq!(waited, Err(ApiError::Limit(Limit::Concurrency)));
        assert_eq!((queries.running.get(), queries.waiting.get()), (1, 0));
        for limit in ["time", "concurrency"] {
            assert_eq!(queries.limits.get_or_create(&LimitLabels { limit }).get(), 1, "{limit}");
        }
        drop(gone);
        wait.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(queries.run(None, |_| Ok(1)).await, Ok(1));
    }
}
