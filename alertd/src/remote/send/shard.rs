//! One shard: pieces to requests, one after another, each again until it is settled.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::StatusCode;
use pitcrew_exporter::clock::monotonic;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{self, Instant, timeout_at};
use tracing::warn;

use super::super::encode;
use super::Shared;
use super::ledger::Ledger;
use super::post::Answer;
use crate::model::labels::Labels;
use crate::model::sample::{Sample, Timestamp};

/// How long a request under way may take after the stop.
const GRACE: Duration = Duration::from_millis(800);

/// Part of one record, sent as a whole.
pub(super) struct Piece {
    pub(super) entry: u64,
    pub(super) samples: Vec<(Labels, Sample)>,
    /// Its share of the memory for what is held.
    pub(super) _space: OwnedSemaphorePermit,
}

pub(super) struct Shard {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    inbox: mpsc::UnboundedReceiver<Piece>,
}

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Next,
    End,
}

impl Shard {
    pub(super) fn new(
        shared: Arc<Shared>,
        ledger: Arc<Ledger>,
        inbox: mpsc::UnboundedReceiver<Piece>,
    ) -> Shard {
        Shard { shared, ledger, inbox }
    }

    /// Until the inbox is closed and empty, or the stop.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let mut held = None;
        loop {
            let batch = match stop.run_until_cancelled(self.batch(&mut held)).await {
                None => return,
                Some(batch) if batch.is_empty() => return,
                Some(batch) => batch,
            };
            if self.deliver(batch).await == Then::End {
                return;
            }
        }
    }

    /// Pieces for one request; empty when there will be none. `held` is one that did not fit.
    async fn batch(&mut self, held: &mut Option<Piece>) -> Vec<Piece> {
        let queue = &self.shared.config.queue_config;
        let first = match held.take() {
            Some(piece) => piece,
            None => match self.inbox.recv().await {
                Some(piece) => piece,
                None => return Vec::new(),
            },
        };
        let deadline = Instant::now() + queue.batch_send_deadline;
        let mut count = first.samples.len();
        let mut batch = vec![first];
        while count < queue.max_samples_per_send
            && let Ok(Some(piece)) = timeout_at(deadline, self.inbox.recv()).await
        {
            count += piece.samples.len();
            if count > queue.max_samples_per_send {
                *held = Some(piece);
                break;
            }
            batch.push(piece);
        }
        batch
    }

    async fn deliver(&self, batch: Vec<Piece>) -> Then {
        match self.send(&batch).await {
            None => return Then::End,
            // One of several may have been sent by the last run, or be the only bad one.
            Some(StatusCode::BAD_REQUEST) if batch.len() > 1 => {
                for piece in batch {
                    let Some(refused) = self.send(std::slice::from_ref(&piece)).await else {
                        return Then::End;
                    };
                    self.settle(&[piece], refused).await;
                }
            }
            Some(answer) => self.settle(&batch, answer).await,
        }
        Then::Next
    }

    /// Takes note of what will not be sent again, or has arrived.
    async fn settle(&self, batch: &[Piece], answer: StatusCode) {
        if !answer.is_success() {
            let samples = batch.iter().map(|piece| piece.samples.len()).sum::<usize>();
            self.shared.outlet.metrics.dropped("refused", samples as u64);
        }
        for piece in batch {
            self.ledger.settle_on(&self.shared.outlet, piece.entry).await;
        }
    }

    /// Sends until there is an answer that counts; `None` after the stop.
    async fn send(&self, batch: &[Piece]) -> Option<StatusCode> {
        let Shared { outlet, config, poster, stop, .. } = &*self.shared;
        let (name, queue) = (&outlet.name, &config.queue_config);
        let mut body = encode::Body::new(poster.protocol());
        let mut newest = Timestamp(i64::MIN);
        let known = self.shared.known.current();
        for (labels, sample) in batch.iter().flat_map(|piece| &piece.samples) {
            let about = labels.metric_name().and_then(|name| known.about(name));
            body.series_about(labels.iter(), std::slice::from_ref(sample), about);
            newest = newest.max(sample.timestamp);
        }
        let samples = body.samples();
        let body = Bytes::from(body.finish());
        let mut backoff = queue.min_backoff;
        let mut complained = false;
        loop {
            let began = monotonic();
            let answer = tokio::select! {
                answer = poster.post(body.clone(), samples) => answer,
                () = async { stop.cancelled().await; time::sleep(GRACE).await } => return None,
            };
            match answer {
                Answer::Taken { missing } => {
                    self.ledger.took(began.elapsed(), samples);
                    outlet.metrics.sent(samples - missing, body.len(), newest);
                    if missing > 0 {
                        outlet.metrics.dropped("not_written", missing as u64);
                        warn!(
                            remote = name,
                            missing, "the receiver took a request and not all of its samples"
                        );
                    }
                    return Some(StatusCode::OK);
                }
                Answer::Refused { status, why } => {
                    warn!(remote = name, samples, why, "the receiver refused a request");
                    return Some(status);
                }
                Answer::Later { why, after } => {
                    if !complained {
                        warn!(
                            remote = name,
                            samples, why, "sending failed, it goes on until it succeeds"
                        );
                        complained = true;
                    }
                    outlet.metrics.retried(samples);
                    let wait =
                        backoff.mul_f64(0.5 + fastrand::f64() / 2.0).max(after.unwrap_or_default());
                    stop.run_until_cancelled(time::sleep(wait)).await?;
                    backoff = (backoff * 2).min(queue.max_backoff);
                }
            }
        }
    }
}
