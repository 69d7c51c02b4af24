//! `http_sd_configs`: one loop a URL, and the targets that each last told.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{BadGroups, MAX_BYTES, of_groups};
use crate::http_client::{ClientError, HttpClient};
use crate::model::causes::causes;
use crate::scrape::config::{GlobalConfig, HttpSdConfig, ScrapeConfig, Settings, StaticConfig};
use crate::scrape::metrics::ScrapeMetrics;
use crate::scrape::target::Found;

/// Longest wait for one answer; the refresh interval where that is shorter.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The lists of all jobs; ends its loops when dropped.
pub(in crate::scrape) struct Lists {
    lists: Vec<List>,
    metrics: ScrapeMetrics,
    changed: Arc<Notify>,
}

struct List {
    job: ScrapeConfig,
    config: HttpSdConfig,
    known: Arc<Mutex<Known>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Known {
    /// As told the last time that the answer was good; `None` before.
    groups: Option<Vec<StaticConfig>>,
    found: Found,
    /// What is wrong now.
    error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum BadList {
    #[error("no answer within {}", pitcrew_exporter::config::duration::format(*.0))]
    TimeOut(Duration),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("request failed")]
    Request(#[source] reqwest::Error),
    #[error("expected status 200, found {0}")]
    Status(StatusCode),
    #[error("expected content type application/json in UTF-8, found {0:?}")]
    ContentType(String),
    #[error("expected at most {MAX_BYTES} bytes, found more")]
    TooLarge,
    #[error("not JSON as expected")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Groups(#[from] BadGroups),
}

impl Lists {
    /// `changed` is told whenever targets may have changed.
    pub(in crate::scrape) fn new(metrics: ScrapeMetrics, changed: Arc<Notify>) -> Lists {
        Lists { lists: Vec::new(), metrics, changed }
    }

    /// Asks what `settings` name and nobody else; a list that stays keeps what it told.
    pub(in crate::scrape) fn follow(&mut self, settings: &Settings) {
        let mut before: Vec<List> = std::mem::take(&mut self.lists);
        for job in &settings.jobs {
            for config in &job.http_sd_configs {
                let same = |list: &List| list.job == *job && list.config == *config;
                let kept = before.iter().position(same).map(|at| before.swap_remove(at));
                let list = kept.filter(|list| !list.task.is_finished());
                let list = list.unwrap_or_else(|| {
                    // A job that only changed elsewhere keeps its targets until the next answer.
                    let told = before.iter().find(|list| {
                        list.job.job_name == job.job_name && list.config.url == config.url
                    });
                    let groups = told.and_then(|list| lock(&list.known).groups.clone());
                    self.start(job, config, &settings.global, groups)
                });
                self.lists.push(list);
            }
        }
        drop(before);
        self.count();
    }

    /// What the URLs of a job told.
    pub(in crate::scrape) fn of_job(&self, job: &str) -> Vec<Found> {
        let lists = self.lists.iter().filter(|list| list.job.job_name == job);
        lists.map(|list| lock(&list.known).found.clone()).collect()
    }

    /// Brings the metric up to date.
    pub(in crate::scrape) fn count(&self) {
        let broken = self.lists.iter().filter(|list| lock(&list.known).error.is_some()).count();
        self.metrics.broken_lists.set(i64::try_from(broken).unwrap_or(i64::MAX));
    }

    fn start(
        &self,
        job: &ScrapeConfig,
        config: &HttpSdConfig,
        global: &GlobalConfig,
        told: Option<Vec<StaticConfig>>,
    ) -> List {
        let mut first = Known::default();
        if let Some(groups) = told
            && let Ok(found) = found(groups.clone(), config, job, global)
        {
            first = Known { groups: Some(groups), found, error: None };
        }
        let known = Arc::new(Mutex::new(first));
        let asker = Asker {
            client: HttpClient::with_idle(config.http.clone(), 1),
            job: job.clone(),
            config: config.clone(),
            global: global.clone(),
            known: Arc::clone(&known),
            metrics: self.metrics.clone(),
            changed: Arc::clone(&self.changed),
        };
        let task = tokio::spawn(asker.run());
        List { job: job.clone(), config: config.clone(), known, task }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Asker {
    client: HttpClient,
    job: ScrapeConfig,
    config: HttpSdConfig,
    global: GlobalConfig,
    known: Arc<Mutex<Known>>,
    metrics: ScrapeMetrics,
    changed: Arc<Notify>,
}

impl Asker {
    async fn run(self) {
        let mut ticks = interval(self.config.refresh_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let timeout = TIMEOUT.min(self.config.refresh_interval);
            let asked = tokio::time::timeout(timeout, self.ask()).await;
            self.take(asked.unwrap_or(Err(BadList::TimeOut(timeout))));
            self.changed.notify_one();
        }
    }

    fn take(&self, told: Result<(Vec<StaticConfig>, Found), BadList>) {
        let job = &self.job.job_name;
        let mut known = lock(&self.known);
        match told {
            Ok((groups, found)) => {
                if known.error.take().is_some() {
                    info!(job, "target list works again");
                }
                *known = Known { groups: Some(groups), found, error: None };
            }
            Err(error) => {
                let error = causes(&error);
                self.metrics.list_failures.inc();
                if known.error.as_ref() != Some(&error) {
                    let kept = known.found.targets.len();
                    warn!(error, job, kept, "target list broken, last good targets kept");
                }
                known.error = Some(error);
            }
        }
    }

    async fn ask(&self) -> Result<(Vec<StaticConfig>, Found), BadList> {
        let refresh = self.config.refresh_interval.as_secs_f64().to_string();
        let request = self
            .client
            .request(Method::GET, &self.config.url)
            .await?
            .header(ACCEPT, "application/json")
            .header("X-Prometheus-Refresh-Interval-Seconds", refresh);
        let failed = |error: reqwest::Error| BadList::Request(error.without_url());
        let mut answer = request.send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(BadList::Status(answer.status()));
        }
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("").to_owned();
        if !is_json(&kind) {
            return Err(BadList::ContentType(kind.chars().take(100).collect()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > MAX_BYTES {
                return Err(BadList::TooLarge);
            }
        }
        let groups: Vec<StaticConfig> = serde_json::from_slice(&body)?;
        let found = found(groups.clone(), &self.config, &self.job, &self.global)?;
        Ok((groups, found))
    }
}

fn found(
    groups: Vec<StaticConfig>,
    config: &HttpSdConfig,
    job: &ScrapeConfig,
    global: &GlobalConfig,
) -> Result<Found, BadGroups> {
    let meta = ("__meta_url", config.url.clone());
    of_groups(groups, meta, Path::new("answer"), job, global)
}

fn is_json(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let (kind, parameter) = kind.split_once(';').unwrap_or((&kind, ""));
    kind == "application/json"
        && matches!(parameter.trim_start(), "" | "charset=utf-8" | "charset=\"utf-8\"")
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Every change is one step, so a panic elsewhere cannot have left half of one.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (kind, want) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(kind), want, "{kind}");
        }
    }
}
