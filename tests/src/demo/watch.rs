//! Who tells the demo's story: watches alertd, the simulator's ledger and Slack, and says each
//! thing once, with its time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pitcrew_exporter::clock;
use serde_json::Value;

use super::Figures;
use super::stage::{ASKED_FOR, BACKUP_RUNNERS, LABEL, PRIMARY_RUNNERS, Stage};
use crate::fake_github::ledger::{Entry, Event};
use crate::queue_times::{differences, observed, waits};

const LOOK: Duration = Duration::from_millis(50);
const READ_EVERY: Duration = Duration::from_millis(500);
/// Who changes labels in the simulator's ledger.
const PITCREW: &str = "pitcrew";

pub struct Watch<'a> {
    tell: &'a mut dyn FnMut(&str),
    exporter: String,
    reasons: BTreeSet<String>,
    /// When the exporter's page was last read for them.
    read: Instant,
    client: reqwest::Client,
    alertd: String,
    github: String,
    slack: crate::fake_webhook::Log,
    start: Instant,
    /// Seconds since the epoch, as the ledger counts: when the killing began, and when all were dead.
    killed_at: f64,
    killed_by: f64,
    ledger: Vec<Entry>,
    seen: usize,
    told: usize,
    state: String,
}

impl<'a> Watch<'a> {
    pub fn new(stage: &Stage, tell: &'a mut dyn FnMut(&str)) -> Watch<'a> {
        Watch {
            tell,
            exporter: stage.exporter_url.clone(),
            reasons: BTreeSet::new(),
            read: clock::monotonic(),
            client: reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap(),
            alertd: stage.alertd_url.clone(),
            github: stage.github_url.clone(),
            slack: stage.slack.log(),
            start: clock::monotonic(),
            killed_at: f64::INFINITY,
            killed_by: f64::INFINITY,
            ledger: Vec::new(),
            seen: 0,
            told: 0,
            state: "normal".to_owned(),
        }
    }

    /// One line of the story.
    pub fn say(&mut self, what: &str, text: &str) {
        let at = self.start.elapsed().as_secs_f64();
        (self.tell)(&format!("{at:7.2} s  {what:<12} {text}"));
    }

    pub fn mark_kill(&mut self) {
        self.killed_at = clock::unix_seconds();
    }

    pub fn mark_dead(&mut self) {
        self.killed_by = clock::unix_seconds();
    }

    /// Waits until alertd sees every runner and the pool is normal.
    pub async fn healthy(&mut self, patience: Duration) -> anyhow::Result<()> {
        let wanted = (PRIMARY_RUNNERS + BACKUP_RUNNERS) as f64;
        self.until(patience, "all runners healthy and the pool normal", async |watch| {
            let healthy = watch.query("sum(runner_health)").await?;
            Ok(healthy == Some(wanted) && watch.pool().await?["state"] == "normal")
        })
        .await
    }

    pub async fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = clock::monotonic() + time;
        while clock::monotonic() < end {
            self.look().await?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// From the kill until the pool is on the backup, verified, and Slack knows.
    pub async fn until_on_backup(&mut self, patience: Duration) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        self.look().await?;
        figures.waiting_at_kill = self.waiting_at_kill().len();
        self.until(patience, "alertd notices the dead runners", async |watch| {
            Ok(watch.query("count(runner_health == 0)").await?.is_some())
        })
        .await?;
        figures.noticed = self.since_kill();
        self.say(
            "noticed",
            &format!("runner_health is 0, {:.2} s after the kill", figures.noticed),
        );
        self.until(patience, "RunnerOffline fires", async |watch| {
            let firing = "count(ALERTS{alertname=\"RunnerOffline\",alertstate=\"firing\"})";
            Ok(watch.query(firing).await?.is_some())
        })
        .await?;
        figures.firing = self.since_kill();
        self.say("firing", &format!("RunnerOffline, {:.2} s after the kill", figures.firing));

        let on_backup = |entry: &&Entry| entry.event == Event::LabelAdded && is_backup(entry);
        self.until(patience, "the backup carries the label", async |watch| {
            Ok(watch.after_kill().filter(on_backup).count() >= BACKUP_RUNNERS)
        })
        .await?;
        let times: Vec<f64> =
            self.after_kill().filter(on_backup).map(|entry| entry.time - self.killed_at).collect();
        figures.first_label = times.first().copied().unwrap_or(f64::INFINITY);
        figures.all_labels = times.last().copied().unwrap_or(f64::INFINITY);

        let job = |entry: &&Entry| entry.event == Event::Assigned && is_backup(entry);
        self.until(patience, "a job runs on the backup", async |watch| {
            Ok(watch.after_kill().any(|entry| job(&entry)))
        })
        .await?;
        let first = self.after_kill().find(job).map(|entry| entry.time - self.killed_at);
        figures.first_job = first.unwrap_or(f64::INFINITY);
        self.until(patience, "Slack is told", async |watch| {
            Ok(watch.slack.mentions("RunnerOffline"))
        })
        .await?;
        figures.told = self.since_kill();
        self.until(patience, "the failover is verified", async |watch| {
            Ok(watch.pool().await?["state"] == "on_backup")
        })
        .await?;
        figures.in_flight = self.running_at_kill().iter().map(u64::to_string).collect();
        let in_flight = figures.in_flight.clone();
        self.until(patience, "interrupted jobs are named", async |watch| {
            let named = watch.named().await?;
            Ok(in_flight.iter().all(|job| named.contains(job)))
        })
        .await?;
        figures.named = self.named().await?;
        self.say("interrupted", &format!("jobs named: {}", figures.named.join(", ")));
        Ok(figures)
    }

    /// From the primary's return until it alone carries the label again.
    pub async fn until_normal(
        &mut self,
        patience: Duration,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        self.until(patience, "the pool is normal again", async |watch| {
            Ok(watch.pool().await?["state"] == "normal")
        })
        .await?;
        figures.failed_back = self.since_kill();
        Ok(())
    }

    /// Waits until every job has ended, and counts.
    pub async fn settle(
        &mut self,
        patience: Duration,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let url = format!("{}/_sim/ledger/check", self.github);
        let mut tally = Value::Null;
        let client = self.client.clone();
        self.until(patience, "every job has ended", async |_| {
            let answer = client.get(&url).send().await?;
            anyhow::ensure!(answer.status().is_success(), "ledger: {}", answer.text().await?);
            tally = answer.json().await?;
            Ok(tally["open"] == 0)
        })
        .await?;
        let count = |name: &str| tally[name].as_u64().map_or(0, |count| count as usize);
        (figures.jobs, figures.completed) = (count("queued"), count("completed"));
        (figures.lost, figures.cancelled) = (count("lost"), count("cancelled"));
        let waiting = self.waiting_at_kill();
        let done = |entry: &&Entry| {
            entry.event == Event::Completed
                && entry.what.job.is_some_and(|job| waiting.contains(&job))
        };
        figures.waiting_then_done = self.ledger.iter().filter(done).count();
        self.say("done", "every job has ended");
        Ok(())
    }

    /// Waits until the page shows who waits, and why.
    pub async fn queue_on_page(&mut self, patience: Duration) -> anyhow::Result<()> {
        let client = self.client.clone();
        self.until(patience, "the page shows the queue and its reasons", async |watch| {
            let page = client.get(format!("{}/", watch.alertd)).send().await?.text().await?;
            Ok(page.contains(ASKED_FOR) && page.contains(">gate 1<"))
        })
        .await
    }

    /// Compares every queue time that the exporter told with the ledger.
    pub async fn compare_queue(
        &mut self,
        patience: Duration,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let client = self.client.clone();
        let mut page = String::new();
        let told = |page: &str| observed(page).values().map(|times| times.count).sum::<usize>();
        let truth = waits(&self.ledger);
        let known = truth.values().map(|waits| waits.seconds.len()).sum();
        self.until(patience, "the exporter tells every queue time", async |watch| {
            let url = format!("{}/metrics", watch.exporter);
            page = client.get(url).send().await?.error_for_status()?.text().await?;
            Ok(told(&page) >= known)
        })
        .await?;
        let wrong = differences(&truth, &observed(&page));
        let queue = &mut figures.queue;
        (queue.told, queue.known) = (told(&page), known);
        queue.wrong = wrong.iter().map(|different| format!("{different:?}")).collect();
        queue.reasons = self.reasons.iter().cloned().collect();
        self.until(patience, "the page tells how long jobs waited", async |watch| {
            let status = format!("{}/status.json", watch.alertd);
            let status: Value = client.get(status).send().await?.json().await?;
            let rows = status["queue"]["rows"].as_array().context("the page's queue")?;
            let Some(row) = rows.iter().find(|row| row["labels"] == ASKED_FOR) else {
                return Ok(false);
            };
            let seconds = |name: &str| row[name].as_f64();
            let (Some(median), Some(p95)) = (seconds("median_seconds"), seconds("p95_seconds"))
            else {
                return Ok(false);
            };
            (figures.queue.median, figures.queue.p95) = (median, p95);
            Ok(row["waiting"] == 0.0)
        })
        .await?;
        let (median, p95) = (figures.queue.median, figures.queue.p95);
        self.say("queue", &format!("jobs waited {median:.1} s in the median, p95 {p95:.1} s"));
        Ok(())
    }

    /// Each reason for which jobs wait is told when it is first seen.
    async fn tell_reasons(&mut self) -> anyhow::Result<()> {
        if self.read.elapsed() < READ_EVERY {
            return Ok(());
        }
        self.read = clock::monotonic();
        let url = format!("{}/metrics", self.exporter);
        let page = self.client.get(url).send().await?.text().await?;
        let waiting = page.lines().filter(|line| line.starts_with("github_workflow_jobs_queued{"));
        for line in waiting.filter(|line| !line.ends_with(" 0")) {
            let reason = line.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"'));
            let Some((reason, _)) = reason else { continue };
            if self.reasons.insert(reason.to_owned()) {
                self.say("queue", &format!("jobs wait: {}", reason.replace('_', " ")));
            }
        }
        Ok(())
    }

    async fn until(
        &mut self,
        patience: Duration,
        what: &str,
        mut holds: impl AsyncFnMut(&mut Watch<'a>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = clock::monotonic() + patience;
        loop {
            self.look().await?;
            if holds(self).await.with_context(|| what.to_owned())? {
                return Ok(());
            }
            if clock::monotonic() >= end {
                let pool = self.pool().await.unwrap_or_default();
                bail!("waited {patience:?} in vain: {what}; pool: {pool:#}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads what is new everywhere and tells what matters.
    async fn look(&mut self) -> anyhow::Result<()> {
        let last = self.ledger.last().map_or(0, |entry| entry.seq);
        let url = format!("{}/_sim/ledger?after={last}", self.github);
        let mut answer: Value = self.client.get(url).send().await?.json().await?;
        let new: Vec<Entry> = serde_json::from_value(answer["entries"].take())?;
        self.ledger.extend(new);
        self.tell_labels();
        self.tell_reasons().await?;
        for message in self.slack.texts().into_iter().skip(self.told) {
            self.told += 1;
            self.say("slack", &message);
        }
        let pool = self.pool().await?;
        let state = pool["state"].as_str().unwrap_or("unknown").to_owned();
        if state != self.state && state != "unknown" {
            let cause = pool["cause"].as_str().unwrap_or("").to_owned();
            self.say("pool", &format!("{} → {}: {cause}", self.state, state));
            self.state = state;
        }
        Ok(())
    }

    /// Label changes that came together are one line; so is the first job on the backup.
    fn tell_labels(&mut self) {
        let mut moved: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        let mut first_job = None;
        for entry in self.ledger.iter().skip(self.seen) {
            let name = entry.what.runner_name.clone().unwrap_or_default();
            let side = if is_backup(entry) { "backup" } else { "primary" };
            let ours = entry.what.caller.as_deref() == Some(PITCREW)
                && entry.what.label.as_deref() == Some(LABEL);
            match entry.event {
                Event::LabelAdded if ours => moved.entry(("onto", side)).or_default().push(name),
                Event::LabelRemoved if ours => moved.entry(("off", side)).or_default().push(name),
                Event::Assigned if entry.time > self.killed_at && side == "backup" => {
                    let before = self.ledger.iter().take(self.seen);
                    let known = |old: &Entry| {
                        old.event == Event::Assigned && old.time > self.killed_at && is_backup(old)
                    };
                    if first_job.is_none() && !before.clone().any(known) {
                        let after = entry.time - self.killed_at;
                        first_job =
                            Some(format!("{name} took a waiting job, {after:.2} s after the kill"));
                    }
                }
                _ => {}
            }
        }
        self.seen = self.ledger.len();
        let lines: Vec<String> = moved
            .into_iter()
            .map(|((how, side), names)| format!("{LABEL} {how} the {side}: {}", names.join(", ")))
            .collect();
        for line in lines {
            self.say("label", &line);
        }
        if let Some(line) = first_job {
            self.say("first job", &line);
        }
    }

    fn since_kill(&self) -> f64 {
        clock::unix_seconds() - self.killed_at
    }

    fn after_kill(&self) -> impl Iterator<Item = &Entry> {
        self.ledger.iter().filter(|entry| entry.time >= self.killed_at)
    }

    /// Jobs that a primary runner had taken when it died, and never finished.
    fn running_at_kill(&self) -> BTreeSet<u64> {
        let taken = self.at_kill(|open, entry| match entry.event {
            Event::Assigned if !is_backup(entry) => open.insert(entry.what.job.unwrap_or(0)),
            _ => false,
        });
        let finished = |entry: &&Entry| entry.event == Event::Completed;
        let finished: BTreeSet<u64> =
            self.ledger.iter().filter(finished).filter_map(|entry| entry.what.job).collect();
        taken.difference(&finished).copied().collect()
    }

    /// Jobs that nobody had taken at the kill.
    fn waiting_at_kill(&self) -> BTreeSet<u64> {
        self.at_kill(|open, entry| match entry.event {
            Event::Queued => open.insert(entry.what.job.unwrap_or(0)),
            Event::Assigned | Event::Cancelled => open.remove(&entry.what.job.unwrap_or(0)),
            _ => false,
        })
    }

    fn at_kill(&self, step: impl Fn(&mut BTreeSet<u64>, &Entry) -> bool) -> BTreeSet<u64> {
        let mut open = BTreeSet::new();
        for entry in self.ledger.iter().filter(|entry| entry.time <= self.killed_by) {
            step(&mut open, entry);
        }
        open
    }

    /// The ids of the jobs that the journal names as interrupted.
    async fn named(&self) -> anyhow::Result<Vec<String>> {
        let url = format!("{}/api/journal?limit=500", self.alertd);
        let answer: Value = self.client.get(url).send().await?.json().await?;
        let rows = answer["data"].as_array().context("the journal's rows")?;
        let job = |row: &Value| {
            let cause = row["cause"].as_str()?;
            (row["action"] == "job_interrupted")
                .then(|| cause.rsplit('/').next().map(str::to_owned))?
        };
        Ok(rows.iter().filter_map(job).collect())
    }

    async fn pool(&self) -> anyhow::Result<Value> {
        let url = format!("{}/api/pools/ci", self.alertd);
        let mut answer: Value = self.client.get(url).send().await?.json().await?;
        // Until alertd has looked at the pool for the first time, it shows none.
        let known = answer["status"] == "success" || answer["errorType"] == "not_found";
        anyhow::ensure!(known, "pool: {answer}");
        Ok(answer["data"].take())
    }

    /// The value of a query that gives one series, or nothing.
    async fn query(&self, expr: &str) -> anyhow::Result<Option<f64>> {
        let url = format!("{}/api/v1/query", self.alertd);
        let answer: Value =
            self.client.get(url).query(&[("query", expr)]).send().await?.json().await?;
        anyhow::ensure!(answer["status"] == "success", "{expr}: {answer}");
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok(value.and_then(|text| text.parse().ok()))
    }
}

fn is_backup(entry: &Entry) -> bool {
    entry.what.runner_name.as_deref().is_some_and(|name| name.starts_with("serotonin"))
}
