//! Writes down what begins and what ends, from the alerts that come by; tells nobody.
//!
//! Routing never waits for it: changes go through a bounded queue to a task of their own, and what
//! does not fit is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock;
use crate::db::history::{Change, Episode, History};
use crate::model::alert::Alert;
use crate::model::labels::Fingerprint;
use crate::model::sample::Timestamp;

/// Alerts that are followed at a time; further ones are counted.
const MAX_FOLLOWED: u32 = 200_000;
/// Batches on their way to the database.
const QUEUE: usize = 256;
/// Changes written in one transaction: others have the database in between.
const BATCH: usize = 500;
/// How often ends without a word, and old rows, are looked for.
const SWEEP: Duration = Duration::from_secs(30);
const PRUNE: Duration = Duration::from_secs(3600);
/// How long an episode is remembered after its end.
const KEEP: Duration = Duration::from_secs(9 * 86_400);
/// After the database refused a batch.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Characters of an alert's labels that are kept.
const MAX_LABELS: usize = 300;

/// Routing's end: follows every alert from its first report to its end. Clones share it.
#[derive(Clone)]
pub struct Notes(Arc<Mutex<Followed>>);

struct Followed {
    lives: HashMap<Fingerprint, Life>,
    swept: Timestamp,
    queue: mpsc::Sender<Vec<Change>>,
    lost: Counter,
}

struct Life {
    started_at: Timestamp,
    /// When it is over unless a report comes before.
    lease: Timestamp,
}

/// Counts what the history did not take.
pub fn lost(registry: &mut Registry) -> Counter {
    let lost = Counter::default();
    let help = "Reports of alerts that the history for digests did not take";
    registry.register("pitcrew_alertd_alert_history_lost", help, lost.clone());
    lost
}

/// Both ends of the queue.
pub fn queue(lost: Counter) -> (Notes, mpsc::Receiver<Vec<Change>>) {
    let (queue, changes) = mpsc::channel(QUEUE);
    let followed = Followed { lives: HashMap::new(), swept: Timestamp(0), queue, lost };
    (Notes(Arc::new(Mutex::new(followed))), changes)
}

impl Notes {
    /// Takes notice of a batch; never waits.
    pub fn take(&self, alerts: &[Alert], now: Timestamp) {
        self.lock().take(alerts, now);
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Goes on with what was open at the end of the last run: it ends at `lease` unless a report
    /// comes before.
    fn restore(&mut self, open: Vec<Episode>, lease: Timestamp) {
        for Episode { fingerprint, started_at, .. } in open {
            if let Ok(fingerprint) = fingerprint.parse() {
                let life = || Life { started_at, lease };
                self.lives.entry(fingerprint).or_insert_with(life);
            }
        }
    }

    fn take(&mut self, alerts: &[Alert], now: Timestamp) {
        let mut changes = Vec::new();
        for alert in alerts {
            self.follow(alert, now, &mut changes);
        }
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.lives.retain(|fingerprint, life| {
                let over = life.lease <= now;
                if over {
                    changes.push(ended(*fingerprint, life.started_at, life.lease));
                }
                !over
            });
        }
        let count = changes.len() as u64;
        if count > 0 && self.queue.try_send(changes).is_err() {
            self.lost.inc_by(count);
        }
    }

    fn follow(&mut self, alert: &Alert, now: Timestamp, changes: &mut Vec<Change>) {
        let fingerprint = alert.fingerprint();
        let over = alert.is_resolved(now);
        let room = self.lives.len() < MAX_FOLLOWED as usize;
        match self.lives.get_mut(&fingerprint) {
            Some(life) if over => {
                // One that was overtaken by the alert's next life ends nothing.
                if alert.ends_at >= life.started_at {
                    changes.push(ended(fingerprint, life.started_at, alert.ends_at));
                    self.lives.remove(&fingerprint);
                }
            }
            Some(life) => life.lease = alert.ends_at,
            None if over => {}
            None if !room => drop(self.lost.inc()),
            None => {
                let life = Life { started_at: alert.starts_at, lease: alert.ends_at };
                self.lives.insert(fingerprint, life);
                changes.push(Change::Began(episode(alert, fingerprint)));
            }
        }
    }
}

/// Writes down what `notes` took notice of, until `stop`, and then what is still in the queue.
/// `resolve_timeout` is how long an alert of the last run may go unmentioned.
pub async fn record(
    history: History,
    notes: Notes,
    resolve_timeout: Duration,
    mut changes: mpsc::Receiver<Vec<Change>>,
    stop: CancellationToken,
) {
    match history.open(MAX_FOLLOWED).await {
        Ok(open) => notes.lock().restore(open, clock::now().plus(resolve_timeout)),
        Err(error) => error!(%error, "history of alerts not read"),
    }
    let mut prune = time::interval(PRUNE);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            batch = changes.recv() => {
                let Some(batch) = batch else { return };
                for part in batch.chunks(BATCH) {
                    write(&history, part.to_vec(), &stop).await;
                }
            }
            _ = prune.tick() => {
                if let Err(error) = history.prune(clock::now().minus(KEEP)).await {
                    error!(%error, "history of alerts not pruned");
                }
            }
        }
    }
    while let Ok(batch) = changes.try_recv() {
        write(&history, batch, &stop).await;
    }
}

/// Tried until the database takes it; while it does not, the queue fills and then counts.
async fn write(history: &History, part: Vec<Change>, stop: &CancellationToken) {
    while let Err(error) = history.write(part.clone()).await {
        error!(%error, "history of alerts not written");
        if stop.run_until_cancelled(time::sleep(TRY_AGAIN)).await.is_none() {
            return;
        }
    }
}

fn ended(fingerprint: Fingerprint, started_at: Timestamp, ended_at: Timestamp) -> Change {
    Change::Ended { fingerprint: fingerprint.to_string(), started_at, ended_at }
}

fn episode(alert: &Alert, fingerprint: Fingerprint) -> Episode {
    let others = alert.labels.iter().filter(|(name, _)| !["alertname", "severity"].contains(name));
    let labels: Vec<_> = others.map(|(name, value)| format!("{name}={value}")).collect();
    Episode {
        fingerprint: fingerprint.to_string(),
        started_at: alert.starts_at,
        name: alert.name().chars().take(MAX_LABELS).collect(),
        severity: alert.labels.get("severity").unwrap_or("").chars().take(40).collect(),
        labels: labels.join(", ").chars().take(MAX_LABELS).collect(),
        ended_at: None,
        told_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    fn alert(name: &str, starts: i64, ends: i64) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name), ("severity", "info"), ("job", "j")]),
            annotations: Default::default(),
            starts_at: Timestamp(starts * 1000),
            ends_at: Timestamp(ends * 1000),
            generator_url: Arc::default(),
        }
    }

    /// What is written, in short: `+A@10` or `-A@10:20`, by name where it is known.
    fn written(changes: &mut mpsc::Receiver<Vec<Change>>) -> Vec<String> {
        let mut out = Vec::new();
        while let Ok(batch) = changes.try_recv() {
            for change in batch {
                out.push(match change {
                    Change::Began(e) => {
                        format!("+{}@{} {}", e.name, e.started_at.0 / 1000, e.labels)
                    }
                    Change::Ended { started_at, ended_at, .. } => {
                        format!("-@{}:{}", started_at.0 / 1000, ended_at.0 / 1000)
                    }
                });
            }
        }
        out
    }

    #[test]
    fn each_life_is_written_once() {
        let (notes, mut changes) = queue(Counter::default());
        let at = |seconds: i64| Timestamp(seconds * 1000);
        for (now, report, want) in [
            (10, alert("A", 10, 100), vec!["+A@10 job=j"]),
            (20, alert("A", 10, 110), vec![]),
            (21, alert("B", 5, 20), vec![]),
            (30, alert("A", 10, 30), vec!["-@10:30"]),
            (31, alert("A", 10, 30), vec![]),
            (40, alert("A", 40, 60), vec!["+A@40 job=j"]),
            (41, alert("A", 10, 30), vec![]),
            // Nobody speaks of it until its lease is over.
            (90, alert("C", 90, 900), vec!["+C@90 job=j", "-@40:60"]),
        ] {
            notes.take(&[report], at(now));
            assert_eq!(written(&mut changes), want, "at {now}");
        }
    }

    #[test]
    fn what_was_open_goes_on_after_a_restart() {
        let (notes, mut changes) = queue(Counter::default());
        let (one, two) = (alert("A", 10, 900), alert("B", 10, 900));
        let open = [&one, &two].map(|alert| episode(alert, alert.fingerprint()));
        notes.lock().restore(open.to_vec(), Timestamp(300_000));
        notes.take(std::slice::from_ref(&one), Timestamp(200_000));
        notes.take(&[], Timestamp(301_000));
        assert_eq!(written(&mut changes), ["-@10:300"], "A goes on, B is not heard of");
    }

    #[test]
    fn a_full_queue_is_counted() {
        let lost = Counter::default();
        let (notes, _changes) = queue(lost.clone());
        for n in 0..=QUEUE {
            notes.take(&[alert(&n.to_string(), 1, 900)], Timestamp(2000));
        }
        assert_eq!(lost.get(), 1);
    }
}
