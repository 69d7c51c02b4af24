//! Calls with everything around them: the budget, the credential, the cache, redirects.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::answer::{parse_json, refusal, retry_at};
use super::cache::Cache;
use super::config::GithubConfig;
use super::credential::{Credential, Token};
use super::error::GithubError;
use super::metrics::{ByResource, GithubMetrics, LimitLabels, ResourceLabels, UrgencyLabels};
use super::rate_limit::{RateLimit, Report, Urgency};
use super::transport::{Ask, Reply, Transport};
use crate::clock;

/// Routine reads at a time; GitHub allows 100 calls at a time to one credential in all.
const ROUTINE_READS: usize = 4;
/// What GitHub counts the calls of most endpoints against.
const CORE: &str = "core";
/// A GitHub App's own calls, apart from those of its installation.
const APP: &str = "app";
/// The other names that are told apart; `other` is what GitHub may think of next.
const RESOURCES: [&str; 6] = [
    "search",
    "code_search",
    "graphql",
    "integration_manifest",
    "actions_runner_registration",
    "audit_log",
];
/// Redirects that one call follows, such as after a repository was renamed.
const MAX_HOPS: usize = 3;

pub(super) struct Client {
    transport: Transport,
    credential: Credential,
    limit: Mutex<RateLimit>,
    /// Endpoints that GitHub counts against another resource than `core`.
    resources: Mutex<HashMap<&'static str, &'static str>>,
    /// Calls that GitHub counted.
    spent: AtomicU64,
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
        let auth = config.auth.as_ref().ok_or(GithubError::NoCredential)?;
        let limit = RateLimit::new(config.budget_share, config.write_burst, config.write_spacing);
        Ok(Client {
            transport: Transport::new(config, metrics.clone())?,
            credential: Credential::new(auth, metrics.clone())?,
            limit: Mutex::new(limit),
            resources: Mutex::default(),
            spent: AtomicU64::new(0),
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
            Urgency::Routine | Urgency::Background => self.reads.acquire().await.ok(),
        };
        if urgency == Urgency::Background {
            let wait = locked(&self.limit).take_read(self.now());
            tokio::time::sleep(wait).await;
        }
        let (reply, token) = self.call(ask, urgency).await?;
        let value = parse_json(ask, &reply, &token.secret)?;
        // Only what was understood is kept: a 304 would bring a mangled answer back for ever.
        if !ask.as_app {
            locked(&self.cache).keep(&ask.path, token.generation, &reply);
        }
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

    pub(super) fn is_app(&self) -> bool {
        self.credential.is_app()
    }

    /// Calls that GitHub counted so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Calls a second that such calls may spend now; `None` while GitHub names no limit.
    pub(super) fn pace(&self, urgency: Urgency) -> Option<f64> {
        locked(&self.limit).pace(self.now(), CORE, urgency)
    }

    /// How long such calls must wait.
    pub(super) fn wait(&self, urgency: Urgency) -> Duration {
        locked(&self.limit).wait(self.now(), CORE, urgency)
    }

    /// One call, signed in; again only where GitHub said that it did nothing (401, redirect).
    async fn call(&self, ask: &Ask, urgency: Urgency) -> Result<(Arc<Reply>, Token), GithubError> {
        let mut ask = ask.clone();
        let mut token = match ask.as_app {
            true => self.credential.app_token().await?,
            false => self.credential.token(&self.transport).await?,
        };
        let (mut replaced, mut hops) = (false, 0);
        loop {
            self.check_budget(&ask, urgency)?;
            let known = match ask.body {
                None if ask.method == http::Method::GET && !ask.as_app => {
                    locked(&self.cache).get(&ask.path, token.generation)
                }
                _ => None,
            };
            let etag = known.as_ref().and_then(|known| known.etag());
            let asked = clock::unix_seconds();
            let reply = self.transport.send(&ask, &token.secret, etag).await?;
            self.learn(&ask, &reply, asked);
            match (reply.status, known) {
                (200..=299, _) => return Ok((Arc::new(reply), token)),
                (304, Some(known)) => {
                    self.metrics.not_modified.inc();
                    return Ok((known, token));
                }
                (401, _) if !replaced && !ask.as_app => {
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
        let wait = locked(&self.limit).wait(self.now(), self.resource(ask), urgency);
        if wait.is_zero() {
            return Ok(());
        }
        let urgency = match urgency {
            Urgency::Background => "background",
            Urgency::Routine => "routine",
            Urgency::Urgent => "urgent",
        };
        self.metrics.withheld.get_or_create(&UrgencyLabels { urgency }).inc();
        Err(GithubError::RateLimited { call: ask.call(), retry_at: retry_at(wait) })
    }

    /// What the call will be counted against, as far as earlier answers told.
    fn resource(&self, ask: &Ask) -> &'static str {
        match ask.as_app {
            true => APP,
            false => locked(&self.resources).get(ask.endpoint).copied().unwrap_or(CORE),
        }
    }

    fn learn(&self, ask: &Ask, reply: &Reply, asked: f64) {
        let report = reply.report();
        if report.counted {
            self.spent.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(date) = reply.date() {
            // Somewhere within the call, and somewhere within the second that GitHub shows.
            let ours = f64::midpoint(asked, clock::unix_seconds());
            self.metrics.clock_skew.get_or_create(&[]).set(date as f64 + 0.5 - ours);
        }
        if report.refused {
            let limit = if report.is_primary() { "primary" } else { "secondary" };
            self.metrics.limit_hits.get_or_create(&LimitLabels { limit }).inc();
        }
        let said = reply.header("x-ratelimit-resource");
        let resource = match said {
            _ if ask.as_app => APP,
            None => self.resource(ask),
            Some(CORE) => CORE,
            Some(said) => RESOURCES.into_iter().find(|known| *known == said).unwrap_or("other"),
        };
        if resource != self.resource(ask) {
            locked(&self.resources).insert(ask.endpoint, resource);
        }
        locked(&self.limit).observe(self.now(), resource, &report);
        if said.is_some() {
            self.show(resource, &report);
        }
    }

    fn show(&self, resource: &'static str, report: &Report) {
        let labels = ResourceLabels { resource };
        let set = |gauge: &ByResource, value: Option<f64>| {
            if let Some(value) = value {
                gauge.get_or_create(&labels).set(value);
            }
        };
        let &Report { limit, remaining, .. } = report;
        let used = limit.zip(remaining).map(|(limit, left)| limit.saturating_sub(left));
        set(&self.metrics.rate_limit, limit.map(|limit| limit as f64));
        set(&self.metrics.rate_used, used.map(|used| used as f64));
        set(&self.metrics.rate_remaining, remaining.map(|left| left as f64));
        set(&self.metrics.rate_reset, report.reset.map(|reset| reset as f64));
    }

    fn refusal(&self, ask: &Ask, reply: &Reply, token: &Token) -> GithubError {
        let wait = locked(&self.limit).wait(self.now(), self.resource(ask), Urgency::Urgent);
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
