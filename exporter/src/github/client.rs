//! Calls with everything around them: the budget, the credential, the cache, redirects.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::answer::{parse_json, refusal, retry_at};
use super::cache::Cache;
use super::config::GithubConfig;
use super::credential::{Credential, Token};
use super::error::GithubError;
use super::metrics::{GithubMetrics, ResourceLabels};
use super::rate_limit::{RateLimit, Urgency};
use super::transport::{Ask, Reply, Transport};
use crate::clock;

/// Routine reads at a time; GitHub allows 100 calls at a time to one credential in all.
const ROUTINE_READS: usize = 4;
/// Redirects that one call follows, such as after a repository was renamed.
const MAX_HOPS: usize = 3;

pub(super) struct Client {
    transport: Transport,
    credential: Credential,
    limit: Mutex<RateLimit>,
    cache: Mutex<Cache>,
    reads: Semaphore,
    /// Writes go out one after the other.
    writes: tokio::sync::Mutex<()>,
    started: Instant,
    metrics: GithubMetrics,
}

impl Client {
    pub(super) fn new(
        config: &GithubConfig,
        metrics: GithubMetrics,
    ) -> Result<Client, GithubError> {
        let limit = RateLimit::new(config.budget_share, config.write_burst, config.write_spacing);
        Ok(Client {
            transport: Transport::new(config, metrics.clone())?,
            credential: Credential::new(&config.auth, metrics.clone())?,
            limit: Mutex::new(limit),
            cache: Mutex::default(),
            reads: Semaphore::new(ROUTINE_READS),
            writes: tokio::sync::Mutex::default(),
            started: clock::monotonic(),
            metrics,
        })
    }

    /// Reads one page: its content, and the path of the next one on the same server.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        urgency: Urgency,
    ) -> Result<(T, Option<String>), GithubError> {
        let _place = match urgency {
            Urgency::Urgent => None,
            Urgency::Routine => self.reads.acquire().await.ok(),
        };
        let (reply, token) = self.call(ask, urgency).await?;
        let value = parse_json(ask, &reply, &token.secret)?;
        // Only what was understood is kept: a 304 would bring a mangled answer back for ever.
        locked(&self.cache).keep(&ask.path, token.generation, &reply);
        let next = match reply.next_page() {
            None => None,
            Some(link) => Some(self.transport.local(link).ok_or_else(|| {
                let to = super::error::words(link);
                GithubError::Moved { call: ask.call(), status: reply.status, to }
            })?),
        };
        Ok((value, next))
    }

    /// Sends one write when its turn has come; it is never repeated after it may have taken effect.
    pub(super) async fn write(&self, ask: &Ask) -> Result<(Arc<Reply>, Token), GithubError> {
        let _turn = self.writes.lock().await;
        self.check_budget(ask, Urgency::Urgent)?;
        let wait = locked(&self.limit).take_write(self.now());
        tokio::time::sleep(wait).await;
        self.call(ask, Urgency::Urgent).await
    }

    /// One call, signed in; again only where GitHub said that it did nothing (401, redirect).
    async fn call(&self, ask: &Ask, urgency: Urgency) -> Result<(Arc<Reply>, Token), GithubError> {
        let mut ask = ask.clone();
        let mut token = self.credential.token(&self.transport).await?;
        let (mut replaced, mut hops) = (false, 0);
        loop {
            self.check_budget(&ask, urgency)?;
            let known = match ask.body {
                None if ask.method == http::Method::GET => {
                    locked(&self.cache).get(&ask.path, token.generation)
                }
                _ => None,
            };
            let etag = known.as_ref().and_then(|known| known.etag());
            let reply = self.transport.send(&ask, &token.secret, etag).await?;
            self.learn(&reply);
            match (reply.status, known) {
                (200..=299, _) => return Ok((Arc::new(reply), token)),
                (304, Some(known)) => {
                    self.metrics.not_modified.inc();
                    return Ok((known, token));
                }
                (401, _) if !replaced => {
                    match self.credential.replace(&self.transport, token.generation).await? {
                        Some(other) => token = other,
                        None => return Err(self.refusal(&ask, &reply, &token)),
                    }
                    replaced = true;
                }
                (301 | 302 | 307 | 308, _) if hops < MAX_HOPS => {
                    hops += 1;
                    let keeps_method = reply.status > 302 || ask.method == http::Method::GET;
                    let to = reply.location().and_then(|to| self.transport.local(to));
                    match to {
                        Some(to) if keeps_method => ask.path = to,
                        _ => return Err(self.refusal(&ask, &reply, &token)),
                    }
                }
                _ => return Err(self.refusal(&ask, &reply, &token)),
            }
        }
    }

    fn check_budget(&self, ask: &Ask, urgency: Urgency) -> Result<(), GithubError> {
        let wait = locked(&self.limit).wait(self.now(), urgency);
        match wait.is_zero() {
            true => Ok(()),
            false => Err(GithubError::RateLimited { call: ask.call(), retry_at: retry_at(wait) }),
        }
    }

    fn learn(&self, reply: &Reply) {
        let report = reply.report();
        let resource = reply.header("x-ratelimit-resource").unwrap_or("core");
        // Other resources have budgets of their own, and none of these calls spends them.
        if resource == "core" || report.refused {
            locked(&self.limit).observe(self.now(), &report);
        }
        if resource == "core" {
            let labels = ResourceLabels { resource: resource.to_owned() };
            let set = |gauge: &super::metrics::ByResource, value: Option<f64>| {
                if let Some(value) = value {
                    gauge.get_or_create(&labels).set(value);
                }
            };
            set(&self.metrics.rate_limit, report.limit.map(|limit| limit as f64));
            set(&self.metrics.rate_remaining, report.remaining.map(|left| left as f64));
            set(&self.metrics.rate_reset, report.reset.map(|reset| reset as f64));
        }
    }

    fn refusal(&self, ask: &Ask, reply: &Reply, token: &Token) -> GithubError {
        let wait = locked(&self.limit).wait(self.now(), Urgency::Urgent);
        refusal(ask, reply, &token.secret, wait)
    }

    /// Time since the client was made, for the rate limit.
    fn now(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.started)
    }
}

/// What these locks guard is whole after every statement, even if a holder panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
