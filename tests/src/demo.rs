//! The demo's story: a simulated fleet with real programs, a dead primary, and what Pitcrew does.

pub mod stage;
pub mod watch;

use std::time::Duration;

use anyhow::Context;

use stage::{PRIMARY_RUNNERS, Stage};
use watch::Watch;

/// How long the parts of the story take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the first line to the kill.
    pub calm: Duration,
    /// From the label on the backup to the primary's return.
    pub away: Duration,
    /// Longest wait for any one thing to happen.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let seconds = Duration::from_secs;
        Pace { calm: seconds(20), away: seconds(8), patience: seconds(90) }
    }
}

/// What was measured, in seconds since the kill.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub noticed: f64,
    pub firing: f64,
    pub first_label: f64,
    pub all_labels: f64,
    pub first_job: f64,
    pub told: f64,
    /// The promise: scrape interval + evaluation interval + `for` + 1 s.
    pub promised: f64,
    /// Names of the jobs that ran on the primary when it died.
    pub in_flight: Vec<String>,
    /// Those of them that Pitcrew named as interrupted.
    pub named: Vec<String>,
    pub waiting_at_kill: usize,
    pub waiting_then_done: usize,
    pub jobs: usize,
    pub completed: usize,
    pub lost: usize,
    pub cancelled: usize,
    pub failed_back: f64,
    pub queue: Queue,
}

/// How long jobs waited, as the exporter told it.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    /// Queue times that the exporter told, and those that the simulator's ledger knows.
    pub told: usize,
    pub known: usize,
    /// Series that are not what the ledger says.
    pub wrong: Vec<String>,
    /// What held jobs back, as it was seen while it did.
    pub reasons: Vec<String>,
    /// As the page shows them at the end, in seconds.
    pub median: f64,
    pub p95: f64,
}

/// Plays the story and tells each line as it happens.
///
/// # Errors
/// When something that must happen does not within `pace.patience`.
pub async fn play(pace: Pace, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Figures> {
    let mut stage = Stage::set().await?;
    tell(&format!("page       {}/", stage.alertd_url));
    tell(&format!("simulator  {}", stage.github_url));
    let mut watch = Watch::new(&stage, tell);
    watch.say("started", "8 runners on the primary, 4 on the backup, failover in auto");
    watch.healthy(pace.patience).await.context("the fleet did not come up")?;
    watch.say("healthy", "jobs arrive all the time and run on the primary");
    stage.keep_queueing();
    let gated = stage.queue_gated().await?;
    watch.rest(pace.calm).await?;

    // The last jobs before the kill wait: the primary is full.
    stage.queue(PRIMARY_RUNNERS + 6, 4000).await?;
    watch.rest(Duration::from_millis(1500)).await?;
    watch.mark_kill();
    stage.kill_primary().await;
    watch.mark_dead();
    watch.say(
        "killed",
        &format!("kill -9 of the primary's {PRIMARY_RUNNERS} listeners and their workers"),
    );
    let mut figures = watch.until_on_backup(pace.patience).await?;
    figures.promised = stage::PROMISE.as_secs_f64();

    watch.queue_on_page(pace.patience).await?;
    watch.rest(pace.away).await?;
    stage.approve(gated).await?;
    stage.primary.restart()?;
    watch.say("repaired", "the primary's runners are started again");
    watch.until_normal(pace.patience, &mut figures).await?;
    stage.stop_queueing();
    watch.settle(pace.patience, &mut figures).await?;
    watch.compare_queue(pace.patience, &mut figures).await?;
    Ok(figures)
}

impl Figures {
    /// Everything that the story promises, or what was not so.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.first_label <= self.promised,
            "label on the backup after {:.2} s, promised within {:.2} s",
            self.first_label,
            self.promised
        );
        anyhow::ensure!(
            self.waiting_at_kill > 0 && self.waiting_then_done == self.waiting_at_kill,
            "{} jobs waited at the kill, {} of them were done",
            self.waiting_at_kill,
            self.waiting_then_done
        );
        anyhow::ensure!(self.cancelled == 0, "{} queued jobs were lost", self.cancelled);
        let unnamed: Vec<_> =
            self.in_flight.iter().filter(|job| !self.named.contains(job)).collect();
        anyhow::ensure!(!self.in_flight.is_empty(), "no job was in flight at the kill");
        anyhow::ensure!(unnamed.is_empty(), "interrupted jobs not named: {unnamed:?}");
        let once = self.named.len() == self.in_flight.len();
        anyhow::ensure!(once, "named {:?}, in flight {:?}", self.named, self.in_flight);
        let Queue { told, known, wrong, reasons, .. } = &self.queue;
        anyhow::ensure!(
            *known > 0 && told == known && wrong.is_empty(),
            "{told} queue times told, {known} known; not as the ledger says: {wrong:#?}"
        );
        let seen = |word: &str| reasons.iter().any(|reason| reason == word);
        anyhow::ensure!(
            seen("gate") && (seen("all_busy") || seen("offline")),
            "jobs waited at a gate and for runners, seen was {reasons:?}"
        );
        Ok(())
    }
}
