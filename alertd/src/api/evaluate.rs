//! Runs queries off the async threads, under limits, and stops those nobody waits for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
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
    outcomes: Family<OutcomeLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Stops the work when the request is dropped: its client is gone or its time is over.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Queries {
    pub fn new(store: Arc<dyn Querier>, config: QueryConfig, registry: &mut Registry) -> Queries {
        let outcomes = Family::<OutcomeLabels, Counter>::default();
        registry.register(
            "pitcrew_alertd_queries",
            "Requests to the query API by what came of them",
            outcomes.clone(),
        );
        // A semaphore cannot hold more than this.
        let turns = config.max_concurrency.min(Semaphore::MAX_PERMITS);
        let turns = Arc::new(Semaphore::new(turns));
        Queries { store, config: Arc::new(config), turns, outcomes }
    }

    /// Runs `work` on a thread of its own when its turn comes, for at most `limit`.
    ///
    /// # Errors
    /// What `work` returns, or a time-out.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        work: impl FnOnce(&dyn Querier, &Options) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let done = self.limited(limit, work).await;
        let outcome = done.as_ref().err().map_or("success", ApiError::kind);
        self.outcomes.get_or_create(&OutcomeLabels { outcome }).inc();
        done
    }

    async fn limited<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        work: impl FnOnce(&dyn Querier, &Options) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let limit = limit.unwrap_or(self.config.timeout).min(self.config.timeout);
        let deadline = Instant::now() + limit;
        let late =
            |_| ApiError::TimeOut(format!("query timed out after {}", duration::format(limit)));
        let turn = timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(late)?;
        let cancel = CancelOnDrop(Arc::default());
        let options = Options {
            lookback: self.config.lookback_delta,
            max_samples: self.config.max_samples,
            cancel: Arc::clone(&cancel.0),
            ..Options::default()
        };
        let store = Arc::clone(&self.store);
        let running = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, not with the request: a thread that has not noticed yet
            // still counts.
            let _turn = turn;
            work(&*store, &options)
        });
        let done = timeout_at(deadline, running).await.map_err(late)?;
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
    ) -> impl FnOnce(&dyn Querier, &Options) -> Result<(), ApiError> + Send + 'static {
        move |_, options| {
            while !options.cancel.load(Ordering::Relaxed) {
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
        assert_eq!(late, Err(ApiError::TimeOut("query timed out after 20ms".to_owned())));
        wait.recv_timeout(Duration::from_secs(5)).unwrap();

        let mut gone = Box::pin(queries.run(None, endless(ended)));
        let polled = tokio::time::timeout(Duration::from_millis(20), &mut gone).await;
        assert!(polled.is_err());
        // Its turn is taken, so another one waits in vain.
        let waited = queries.run(limit, |_, _| Ok(())).await;
        assert!(matches!(waited, Err(ApiError::TimeOut(_))), "{waited:?}");
        drop(gone);
        wait.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(queries.run(None, |_, _| Ok(1)).await, Ok(1));
    }
}
