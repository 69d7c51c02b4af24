//! Which repositories' webhooks arrive, and when the last one did.

use std::collections::BTreeMap;

use super::event::{Event, Source, What};

/// Repositories that are remembered; the one that was silent longest goes first.
const MOST: usize = 10_000;

/// By repository, in seconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Heard(BTreeMap<String, f64>);

impl Heard {
    pub fn note(&mut self, event: &Event) {
        // Pull requests and deployments say nothing about jobs being told.
        let (Source::Webhook, repository) = (
            event.source,
            match &event.what {
                What::Job(job) => &job.repository,
                What::Run(run) => &run.repository,
                What::PullRequest(_) | What::Deployment(_) => return,
            },
        ) else {
            return;
        };
        if let Some(at) = self.0.get_mut(repository) {
            *at = at.max(event.received);
            return;
        }
        if self.0.len() >= MOST {
            let silent = self.0.iter().min_by(|a, b| a.1.total_cmp(b.1));
            if let Some(silent) = silent.map(|(name, _)| name.clone()) {
                self.0.remove(&silent);
            }
        }
        self.0.insert(repository.clone(), event.received);
    }

    /// When a webhook last told of a job or run of this repository.
    pub fn last(&self, repository: &str) -> Option<f64> {
        self.0.get(repository).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflows::event::Job;

    #[test]
    fn only_webhooks_count_and_memory_is_bounded() {
        let event = |repository: String, received, source| {
            let what = What::Job(Job { repository, ..Job::default() });
            Event { source, received, what }
        };
        let mut heard = Heard::default();
        for at in 0..=MOST {
            heard.note(&event(format!("o/{at}"), at as f64, Source::Webhook));
        }
        heard.note(&event("o/7".to_owned(), 1e9, Source::Poll));
        assert_eq!((heard.0.len(), heard.last("o/0"), heard.last("o/7")), (MOST, None, Some(7.0)));
        heard.note(&event("o/7".to_owned(), 1e9, Source::Webhook));
        assert_eq!(heard.last("o/7"), Some(1e9));
    }
}
