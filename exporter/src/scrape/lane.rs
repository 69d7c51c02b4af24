//! Works off a scrape's runs on one thread, and on a further one whenever that one is held up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Job;

/// Waking a thread per collector costs more than most collectors do: they get one together, unless
/// it is not done after this time.
const HELD_UP: Duration = Duration::from_millis(10);

struct Lane {
    jobs: Mutex<VecDeque<Job>>,
    unfinished: AtomicUsize,
    finished: Notify,
}

/// Returns when every job has been run, or the last ones have their own threads.
///
/// There are never more threads than jobs, and a job that hangs keeps only its own.
pub(super) async fn work_off(jobs: Vec<Job>) {
    let lane = Arc::new(Lane {
        unfinished: AtomicUsize::new(jobs.len()),
        jobs: Mutex::new(jobs.into()),
        finished: Notify::new(),
    });
    while lane.waiting() {
        let (mine, handle) = (Arc::clone(&lane), Handle::current());
        tokio::task::spawn_blocking(move || mine.work(&handle));
        if timeout(HELD_UP, lane.finished.notified()).await.is_ok() {
            return;
        }
    }
}

impl Lane {
    fn work(&self, handle: &Handle) {
        while let Some(job) = self.next() {
            let _counted = Counted(self);
            job.run(handle);
        }
    }

    fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn waiting(&self) -> bool {
        !self.jobs.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Counts a job as finished, even when it panics.
struct Counted<'a>(&'a Lane);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.0.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.finished.notify_one();
        }
    }
}
