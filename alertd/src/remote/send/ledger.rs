//! Which records are settled, so that the queue's place can move on; and how long sending takes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::error;

use super::super::forward::Outlet;
use super::super::queue::Place;

/// The share of the backlog that should go in each second, beside what comes.
const CATCH_UP: f64 = 0.05;
/// A wish for fewer or more shards than this factor away is not followed: each change is a pause.
const TOLERANCE: f64 = 1.3;

pub(super) struct Ledger {
    shards: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// Of requests that the receiver took since it was last asked for.
    busy: Duration,
    sent: usize,
}

struct Entry {
    end: Place,
    samples: u32,
    open: usize,
}

/// What happened in the last while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) seconds: f64,
    /// Samples that were read from the queue.
    pub(super) came: u64,
    /// Samples that are in it.
    pub(super) pending: u64,
}

impl Ledger {
    pub(super) fn new(shards: usize) -> Ledger {
        Ledger { shards, state: Mutex::default() }
    }

    /// A record of so many pieces; the number to settle each of them with.
    pub(super) fn begin(&self, end: Place, samples: u32, pieces: usize) -> u64 {
        let mut state = self.state();
        // A record without pieces is settled by the one call that its reader makes.
        state.entries.push_back(Entry { end, samples, open: pieces.max(1) });
        state.first + state.entries.len() as u64 - 1
    }

    /// One piece is settled; the records that are done with it, oldest first.
    fn settle(&self, entry: u64) -> Vec<(Place, u32)> {
        let mut state = self.state();
        let at = entry.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = at.and_then(|at| state.entries.get_mut(at)) {
            entry.open = entry.open.saturating_sub(1);
        }
        let mut done = Vec::new();
        while let Some(entry) = state.entries.pop_front_if(|entry| entry.open == 0) {
            state.first += 1;
            done.push((entry.end, entry.samples));
        }
        done
    }

    /// Settles one piece, and moves the queue's place on if it can.
    pub(super) async fn settle_on(&self, outlet: &Arc<Outlet>, entry: u64) {
        let done = self.settle(entry);
        if done.is_empty() {
            return;
        }
        let (to, shards) = (Arc::clone(outlet), u32::try_from(self.shards).unwrap_or(u32::MAX));
        let noted = spawn_blocking(move || {
            let lost = to.queue.delivered(&done, shards)?;
            to.metrics.dropped("broken", lost.samples);
            to.metrics.queue(to.queue.size());
            std::io::Result::Ok(())
        });
        if let Ok(Err(error)) = noted.await {
            error!(remote = outlet.name, %error, "the queue's place cannot be written");
        }
    }

    pub(super) fn took(&self, time: Duration, samples: usize) {
        let mut state = self.state();
        state.busy += time;
        state.sent += samples;
    }

    /// How many shards would keep up, by the time that requests took since the last call.
    ///
    /// As many as now while nothing was sent: a receiver that is away needs no more of them.
    pub(super) fn wanted(&self, load: Load, least: usize, most: usize) -> usize {
        let mut state = self.state();
        let (busy, sent) = (std::mem::take(&mut state.busy), std::mem::take(&mut state.sent));
        if sent == 0 {
            return self.shards;
        }
        let time_per_sample = busy.as_secs_f64() / sent as f64;
        let per_second = load.came as f64 / load.seconds + CATCH_UP * load.pending as f64;
        let wanted = time_per_sample * per_second;
        let now = self.shards as f64;
        if wanted > now / TOLERANCE && wanted < now * TOLERANCE {
            return self.shards;
        }
        (wanted.ceil() as usize).clamp(least, most)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        Place { segment: 1, offset }
    }

    #[test]
    fn the_place_moves_over_what_is_settled_from_the_front() {
        let ledger = Ledger::new(1);
        let numbers: Vec<_> =
            [2, 0, 1, 1].iter().zip(1..).map(|(n, at)| ledger.begin(place(at), 5, *n)).collect();
        let done = |entry: usize| {
            ledger.settle(numbers[entry]).iter().map(|(end, _)| end.offset).collect::<Vec<_>>()
        };
        assert!(done(2).is_empty());
        assert!(done(0).is_empty());
        assert!(done(1).is_empty());
        assert_eq!(done(0), [1, 2, 3]);
        // A second time makes no difference.
        assert!(done(0).is_empty());
        assert_eq!(done(3), [4]);
    }

    #[test]
    fn as_many_shards_as_keep_up() {
        for (shards, busy, sent, came, pending, want) in [
            // Nothing was sent: the receiver is away.
            (3, 0, 0, 1000, 1_000_000, 3),
            // A second of sending for 1,000 samples, and 4,000 come in ten seconds.
            (1, 1, 1000, 4000, 0, 1),
            (1, 10, 1000, 4000, 0, 4),
            // Half an hour of backlog.
            (1, 1, 1000, 4000, 180_000, 10),
            (8, 1, 100_000, 4000, 0, 1),
            (4, 10, 1000, 4100, 0, 4),
        ] {
            let ledger = Ledger::new(shards);
            ledger.took(Duration::from_secs(busy), sent);
            let load = Load { seconds: 10.0, came, pending };
            assert_eq!(ledger.wanted(load, 1, 10), want, "{load:?} with {shards}");
        }
    }
}
