//! What is known of jobs and runs, and the counts made from them: a pure function of the events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metric::Families;
use crate::workflows::event::{Event, Status};
use crate::workflows::fleet::Fleet;

pub mod settings;

pub use settings::Settings;

/// Everything that the metrics of workflows are made from.
///
/// Events may come in any order and any number of times: older news never undoes newer, and
/// nothing is counted twice. After `Default` or deserializing, [`State::configure`] gives the
/// settings, which are not stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    #[serde(skip)]
    settings: Arc<Settings>,
}

/// A job that has not ended as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJob {
    pub id: u64,
    pub run_id: u64,
    pub run_attempt: u32,
    /// `owner/name`.
    pub repository: String,
    pub status: Status,
    /// When the last news of it came, by our own clock, in seconds since the Unix epoch.
    pub heard: f64,
}

/// A run that has not ended as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRun {
    pub id: u64,
    pub attempt: u32,
    /// `owner/name`.
    pub repository: String,
    /// `Other` when only its jobs have been heard of.
    pub status: Status,
    /// When the last news of it or of one of its jobs came, as in [`OpenJob`].
    pub heard: f64,
}

impl State {
    /// What to count by, for events from now on.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Takes in what was said; its time is `event.received`.
    pub fn apply(&mut self, _event: &Event) {}

    /// Whether [`State::apply`] would change anything: what polls repeat need not be stored.
    pub fn tells_news(&self, _event: &Event) -> bool {
        true
    }

    /// Lets go of what `now`, in seconds since the Unix epoch, has made old.
    pub fn expire(&mut self, _now: f64) {}

    /// Adds all families, as they stand at `now`, in seconds since the Unix epoch.
    pub fn families(&self, _now: f64, _fleet: &Fleet, _out: &mut Families) {}

    /// Jobs that may have moved on unheard.
    pub fn open_jobs(&self) -> Vec<OpenJob> {
        Vec::new()
    }

    /// Runs that may have moved on unheard.
    pub fn open_runs(&self) -> Vec<OpenRun> {
        Vec::new()
    }
}
